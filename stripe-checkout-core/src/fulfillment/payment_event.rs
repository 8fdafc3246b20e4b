//! The events of payments that the handler receives, beside the success.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::due::Mismatch;
use crate::webhook::{
    Dispute, DisputeChange, Event, Failure, Payment, PaymentMethod, Refund, SetupIntent,
};

/// An event for [`FulfillmentHandler::on_event`](super::FulfillmentHandler::on_event).
///
/// The names are Stripe's. An order that is paid, or that has nothing to pay, comes to
/// [`payment_succeeded`](super::FulfillmentHandler::payment_succeeded) instead.
///
/// Each variant has `created`: when Stripe made the event, to the second. Several events can have
/// the same second, so it does not tell which of them came first. If Checkout itself asked Stripe
/// about a payment, as the return page and the reconciler do, it is about the time of the answer.
/// An event that does not say when it was made has 1970.
///
/// Variants and fields may be added later. So end each pattern with `..`, and each `match` with
/// `_ => {}`.
///
/// ```
/// use stripe_checkout_core::fulfillment::PaymentEvent;
///
/// fn line(event: &PaymentEvent<'_>) -> Option<String> {
///     Some(match event {
///         PaymentEvent::PaymentFailed { payment, failure, .. } => {
///             format!("{}: {}", payment.id(), failure.message_for_buyer())
///         }
///         PaymentEvent::RefundSucceeded { refund, .. } => format!("back: {}", refund.amount()),
///         _ => return None,
///     })
/// }
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum PaymentEvent<'a> {
    /// The payment is on its way and may take days, such as a bank debit. Deliver nothing yet.
    ///
    /// It does not come any more after the payment is authorised, canceled or succeeded.
    #[non_exhaustive]
    PaymentProcessing {
        /// The payment.
        payment: &'a Payment,
        /// When Stripe made the event.
        created: SystemTime,
    },
    /// An attempt to pay failed. The buyer may try again on the same PaymentIntent, so the order is
    /// not lost yet.
    ///
    /// It comes once for each attempt, and not any more after the payment is authorised, canceled
    /// or succeeded.
    #[non_exhaustive]
    PaymentFailed {
        /// The payment.
        payment: &'a Payment,
        /// Why the attempt failed.
        failure: &'a Failure,
        /// When Stripe made the event.
        created: SystemTime,
    },
    /// The PaymentIntent was canceled, or its Checkout Session expired: it can no longer be paid.
    ///
    /// It comes once per payment. It does not come for a PaymentIntent that Checkout replaced by
    /// another one of the same order.
    #[non_exhaustive]
    PaymentCanceled {
        /// The payment.
        payment: &'a Payment,
        /// When Stripe made the event.
        created: SystemTime,
    },
    /// The buyer must do something, such as 3-D Secure or a page of the bank.
    #[non_exhaustive]
    RequiresAction {
        /// The payment.
        payment: &'a Payment,
        /// When Stripe made the event.
        created: SystemTime,
    },
    /// An amount is authorised and waits for your [`capture`](crate::Checkout):
    /// [`Payment::amount_capturable`].
    ///
    /// It comes once for each larger amount of a payment. So it comes again if the authorisation
    /// grows (an incremental authorisation). A smaller or equal amount does not come, nor does any
    /// amount after the payment succeeded or was canceled.
    ///
    /// The price of the payment grows with the authorisation. Let [`amount_due`] answer with the
    /// new price, or the captured payment is a [`Mismatch`](Self::Mismatch).
    ///
    /// [`amount_due`]: crate::fulfillment::FulfillmentHandler::amount_due
    #[non_exhaustive]
    RequiresCapture {
        /// The payment.
        payment: &'a Payment,
        /// When Stripe made the event.
        created: SystemTime,
    },
    /// A second payment of an order that is already paid succeeded. Deliver nothing and refund it.
    ///
    /// Checkout also logs it at `ERROR`.
    #[non_exhaustive]
    DuplicatePayment {
        /// The second payment.
        payment: &'a Payment,
        /// When Stripe made the event.
        created: SystemTime,
    },
    /// Money arrived that does not fit the order. Deliver nothing and look at it.
    ///
    /// The event is kept as a mismatch. You can replay it after you fixed the cause, or discard it
    /// and refund the buyer. Checkout also logs it at `ERROR`.
    #[non_exhaustive]
    Mismatch {
        /// The payment.
        payment: &'a Payment,
        /// The difference between payment and order.
        mismatch: &'a Mismatch,
        /// When Stripe made the event.
        created: SystemTime,
    },
    /// The payment succeeded, but it was refunded in full or disputed before it could be fulfilled.
    /// Deliver nothing.
    ///
    /// Checkout also logs it at `ERROR`.
    #[non_exhaustive]
    RefundedBeforeFulfillment {
        /// The payment.
        payment: &'a Payment,
        /// When Stripe made the event.
        created: SystemTime,
    },
    /// A refund is on its way and not there yet, or it waits for the buyer to say where the money
    /// goes: see [`Refund::status`].
    ///
    /// Each status of a refund comes once, and no earlier status comes after a later one. So no
    /// pending refund follows [`RefundSucceeded`](Self::RefundSucceeded) or
    /// [`RefundFailed`](Self::RefundFailed). All three come only after the success of the payment
    /// was handled. They also come for refunds that were made in Stripe's Dashboard;
    /// [`Refund::reference`] tells your own.
    #[non_exhaustive]
    RefundPending {
        /// The refund.
        refund: &'a Refund,
        /// When Stripe made the event.
        created: SystemTime,
    },
    /// The refund succeeded: the buyer has the money, or gets it in a few days.
    ///
    /// The money may still come back to you, weeks later. Then
    /// [`RefundFailed`](Self::RefundFailed) comes.
    #[non_exhaustive]
    RefundSucceeded {
        /// The refund.
        refund: &'a Refund,
        /// When Stripe made the event.
        created: SystemTime,
    },
    /// The refund failed, or the money came back to you (the card was closed, the bank refused it),
    /// or the refund was canceled: see [`Refund::failure_reason`].
    ///
    /// The buyer still has to get the money, in another way.
    #[non_exhaustive]
    RefundFailed {
        /// The refund.
        refund: &'a Refund,
        /// When Stripe made the event.
        created: SystemTime,
    },
    /// The buyer's bank takes the payment back, or asks about it: see [`Dispute::due_by`] for how
    /// long you can answer.
    ///
    /// It comes once for each dispute, and only after the success of its payment was handled.
    #[non_exhaustive]
    DisputeCreated {
        /// The dispute.
        dispute: &'a Dispute,
        /// When Stripe made the event.
        created: SystemTime,
    },
    /// A dispute changed, or moved money.
    ///
    /// Each movement comes once. It may come after [`DisputeClosed`](Self::DisputeClosed), because
    /// Stripe promises no order. No older state comes after a dispute is closed.
    #[non_exhaustive]
    DisputeUpdated {
        /// The dispute.
        dispute: &'a Dispute,
        /// What changed.
        change: DisputeChange,
        /// When Stripe made the event.
        created: SystemTime,
    },
    /// A dispute was decided: won, lost, or an early warning that came to nothing; see
    /// [`Dispute::status`].
    ///
    /// Each decision comes once.
    #[non_exhaustive]
    DisputeClosed {
        /// The dispute.
        dispute: &'a Dispute,
        /// When Stripe made the event.
        created: SystemTime,
    },
    /// A payment method was saved without a payment. It comes once per SetupIntent.
    #[non_exhaustive]
    SetupSucceeded {
        /// The SetupIntent.
        setup: &'a SetupIntent,
        /// When Stripe made the event.
        created: SystemTime,
    },
    /// An attempt to save a payment method failed. The buyer may try again on the same SetupIntent.
    #[non_exhaustive]
    SetupFailed {
        /// The SetupIntent.
        setup: &'a SetupIntent,
        /// Why the attempt failed.
        failure: &'a Failure,
        /// When Stripe made the event.
        created: SystemTime,
    },
    /// A payment method was saved for a customer, with or without a payment.
    ///
    /// It comes once per payment method, and not after the payment method was detached. Customers
    /// belong to the Stripe account and not to one application on it. So check whether
    /// [`PaymentMethod::customer`] is one of yours.
    #[non_exhaustive]
    PaymentMethodAttached {
        /// The payment method.
        method: &'a PaymentMethod,
        /// When Stripe made the event.
        created: SystemTime,
    },
    /// A payment method was detached from [its customer](PaymentMethod::former_customer): it can
    /// never be charged again. It comes once per payment method.
    #[non_exhaustive]
    PaymentMethodDetached {
        /// The payment method.
        method: &'a PaymentMethod,
        /// When Stripe made the event.
        created: SystemTime,
    },
    /// Every other verified event: of another type, of a payment that is not this application's, or
    /// of a shape that cannot be read.
    #[non_exhaustive]
    Other {
        /// The event.
        event: &'a Event,
        /// When Stripe made the event.
        created: SystemTime,
    },
}

impl PaymentEvent<'_> {
    /// When Stripe made the event, to the second; 1970 if the event does not say so.
    pub fn created(&self) -> SystemTime {
        match self {
            Self::PaymentProcessing { created, .. }
            | Self::PaymentFailed { created, .. }
            | Self::PaymentCanceled { created, .. }
            | Self::RequiresAction { created, .. }
            | Self::RequiresCapture { created, .. }
            | Self::DuplicatePayment { created, .. }
            | Self::Mismatch { created, .. }
            | Self::RefundedBeforeFulfillment { created, .. }
            | Self::RefundPending { created, .. }
            | Self::RefundSucceeded { created, .. }
            | Self::RefundFailed { created, .. }
            | Self::DisputeCreated { created, .. }
            | Self::DisputeUpdated { created, .. }
            | Self::DisputeClosed { created, .. }
            | Self::SetupSucceeded { created, .. }
            | Self::SetupFailed { created, .. }
            | Self::PaymentMethodAttached { created, .. }
            | Self::PaymentMethodDetached { created, .. }
            | Self::Other { created, .. } => *created,
        }
    }

    /// A stable name in `snake_case`, such as `payment_failed`: for logs and metrics.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::PaymentProcessing { .. } => "payment_processing",
            Self::PaymentFailed { .. } => "payment_failed",
            Self::PaymentCanceled { .. } => "payment_canceled",
            Self::RequiresAction { .. } => "requires_action",
            Self::RequiresCapture { .. } => "requires_capture",
            Self::DuplicatePayment { .. } => "duplicate_payment",
            Self::Mismatch { .. } => "mismatch",
            Self::RefundedBeforeFulfillment { .. } => "refunded_before_fulfillment",
            Self::RefundPending { .. } => "refund_pending",
            Self::RefundSucceeded { .. } => "refund_succeeded",
            Self::RefundFailed { .. } => "refund_failed",
            Self::DisputeCreated { .. } => "dispute_created",
            Self::DisputeUpdated { .. } => "dispute_updated",
            Self::DisputeClosed { .. } => "dispute_closed",
            Self::SetupSucceeded { .. } => "setup_succeeded",
            Self::SetupFailed { .. } => "setup_failed",
            Self::PaymentMethodAttached { .. } => "payment_method_attached",
            Self::PaymentMethodDetached { .. } => "payment_method_detached",
            Self::Other { .. } => "other",
        }
    }
}

/// When Stripe made the event. A time before 1970, or one that the system's clock cannot hold,
/// counts as 1970.
pub(super) fn created(event: &Event) -> SystemTime {
    let seconds = Duration::from_secs(event.created().max(0).unsigned_abs());
    UNIX_EPOCH.checked_add(seconds).unwrap_or(UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_of_any_second_has_a_time() {
        let at = |seconds: i64| {
            let event = format!(r#"{{"id":"evt_1","type":"a","created":{seconds}}}"#);
            created(&Event::parse(event).unwrap())
        };
        assert_eq!(
            at(1_700_000_000),
            UNIX_EPOCH + Duration::from_secs(1_700_000_000)
        );
        assert_eq!(at(0), UNIX_EPOCH);
        assert_eq!(at(-1), UNIX_EPOCH);
        assert_eq!(at(i64::MIN), UNIX_EPOCH);
        assert!(at(i64::MAX) >= UNIX_EPOCH);
    }
}
