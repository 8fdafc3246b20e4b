//! The names of all metrics.

pub(super) const DELIVERIES: &str = "stripe_checkout_deliveries_total";
pub(super) const REFUSED: &str = "stripe_checkout_webhooks_refused_total";
pub(super) const ATTEMPTS: &str = "stripe_checkout_attempts_total";
pub(super) const HANDLER: &str = "stripe_checkout_handler_duration_seconds";
pub(super) const DEAD_LETTERS: &str = "stripe_checkout_dead_letters_total";
pub(super) const MISMATCHES: &str = "stripe_checkout_mismatches_total";
pub(super) const DUPLICATES: &str = "stripe_checkout_duplicate_payments_total";
pub(super) const PRUNED: &str = "stripe_checkout_pruned_events_total";
pub(super) const EVENTS: &str = "stripe_checkout_events";
pub(super) const DUE: &str = "stripe_checkout_due_events";
pub(super) const OLDEST_PENDING: &str = "stripe_checkout_oldest_pending_event_age_seconds";
pub(super) const UNFULFILLED: &str = "stripe_checkout_unfulfilled_payments";
pub(super) const OLDEST_UNFULFILLED: &str =
    "stripe_checkout_oldest_unfulfilled_payment_age_seconds";
pub(super) const DUPLICATES_OPEN: &str = "stripe_checkout_open_duplicate_payments";
pub(super) const REFUNDED_BEFORE: &str = "stripe_checkout_refunded_before_fulfillment_payments";
#[cfg_attr(not(feature = "intent"), allow(dead_code))]
pub(super) const VISITOR_CALLS: &str = "stripe_checkout_visitor_calls_total";
pub(super) const CLOCK_SKEW: &str = "stripe_checkout_clock_skew_seconds";
