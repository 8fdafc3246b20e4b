//! The rows that an inbox keeps: events, payments, orders, and their counts.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::{Duration, SystemTime};

use bytes::Bytes;

use crate::amount::Amount;
use crate::secret::Mode;
use crate::webhook::{DisputeStatus, Refund, RefundStatus};

/// The application and the mode: two applications on one store never see each other's events.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Scope {
    /// The application's name. See
    /// [`CheckoutBuilder::application`](crate::CheckoutBuilder::application).
    pub application: String,
    /// Test or live.
    pub mode: Mode,
}

/// The key of an order, with its application, mode and connected account.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct OrderKey {
    /// The application and the mode.
    pub scope: Scope,
    /// The connected account, if any; never empty.
    pub account: Option<String>,
    /// The merchant's unique reference of the order.
    pub reference: String,
}

/// The row of one order: the PaymentIntent that is open for it, or that paid it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(not(feature = "unstable-inbox"), non_exhaustive)]
pub struct IntentRecord {
    /// Counts the writes; `put_intent` compares it.
    pub version: u64,
    /// The number of the attempt, from 1: a part of the idempotency key.
    pub attempt: u32,
    /// SHA-256 of all parameters of the last request to Stripe. It reveals a change without
    /// personal data in the row. Up to 80 characters.
    pub fingerprint: String,
    /// The requested price, before discount, shipping and tax.
    pub asked: Amount,
    /// The minor units that our own capture brings the payment to, in the currency of `asked`. It
    /// is written before the capture is sent. None without a capture of ours.
    pub capture: Option<u64>,
    /// The PaymentIntent, once Stripe has created it.
    pub payment: Option<String>,
    /// SHA-256 of the PaymentIntent's client secret, in hex: enough to check a secret, not enough
    /// to use it.
    pub secret_hash: Option<String>,
    /// Whether Stripe has the parameters of the fingerprint.
    pub request: RequestState,
    /// The progress of the intent.
    pub state: IntentState,
    /// The PaymentIntent that paid the order. A second one is a duplicate payment.
    pub paid_by: Option<String>,
    /// How many attempts to pay the order failed, over all its PaymentIntents.
    pub declines: u32,
}

/// Whether Stripe has the parameters of an order's row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RequestState {
    /// Stripe has them.
    Sent,
    /// They are on their way: Stripe may or may not have them.
    Sending,
    /// The order is canceled: no request may be sent to Stripe until the order is open again.
    OrderCanceled,
}

/// The progress of an order's intent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum IntentState {
    /// Stored before a PaymentIntent is requested from Stripe, or a replacement for one.
    Creating,
    /// Created, and waiting for the buyer.
    Open,
    /// The payment is on its way.
    Processing,
    /// Paid.
    Paid,
    /// Canceled: the next attempt creates another.
    Canceled,
}

/// The state of one PaymentIntent's fulfilment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PaymentRecord {
    /// The status of its success.
    pub success: FulfillmentStatus,
    /// Whether it was authorised. A late `processing` or `payment_failed` is then superseded.
    pub capturable: bool,
    /// Whether it was canceled.
    pub canceled: bool,
    /// Minor units of each refund, by its id.
    pub refunds: BTreeMap<String, u64>,
    /// Minor units refunded, as the charge counts them.
    pub refunded_total: u64,
    /// Minor units received, as its success says.
    pub received: u64,
    /// Minor units that were authorised and not captured, if the capture was not our own call. A
    /// request of an API version before 2025-03-31.basil makes a refund object of them.
    pub released: u64,
    /// The last status of each dispute, by its id.
    pub disputes: BTreeMap<String, DisputeStatus>,
    /// The news of its refunds and disputes that the handler received, by their ids, in the core's
    /// own words. So the handler receives each news once, and superseded news not at all.
    pub notified: BTreeMap<String, BTreeSet<String>>,
}

impl PaymentRecord {
    /// Minor units that went back. Of the two counts, the larger one counts.
    pub fn returned(&self) -> u64 {
        let sum = self
            .refunds
            .values()
            .fold(0, |sum: u64, amount| sum.saturating_add(*amount));
        sum.max(self.refunded_total)
    }

    /// Whether a dispute is open or lost.
    pub fn disputed(&self) -> bool {
        self.disputes.values().any(DisputeStatus::stops_fulfillment)
    }

    /// Returns whether all the received money went back. `released` was authorised and not
    /// captured, by a call that is not ours.
    ///
    /// Since API version 2025-03-31.basil, Stripe does not count the released part as refunded.
    /// After a request of an older version it does, and makes a refund object of it. A count above
    /// `received` proves the older version, and a count below `released` proves the newer one.
    pub(super) fn went_back(&self, received: u64, released: u64) -> WentBack {
        let counted = self.returned();
        if counted < received {
            return WentBack::NotAll;
        }
        if released == 0 || counted < released {
            return WentBack::All;
        }
        let refunds = || self.refunds.values();
        let sum = refunds().fold(0, |sum: u64, amount| sum.saturating_add(*amount));
        let has_release = refunds().any(|amount| *amount == released);
        if counted > received {
            let refunded = sum.saturating_sub(if has_release { released } else { 0 });
            let refunded = refunded.max(self.refunded_total.saturating_sub(released));
            return match refunded >= received {
                true => WentBack::All,
                false => WentBack::NotAll,
            };
        }
        match sum == counted && !has_release {
            true => WentBack::All,
            false => WentBack::Unclear,
        }
    }

    /// Returns whether this refund object stands for the part that was never captured. `No` if
    /// Stripe cannot have made it for that.
    pub(super) fn stands_for_release(&self, refund: &Refund) -> Release {
        let amount = refund.amount().minor();
        let possible = self.released > 0
            && amount == self.released
            && refund.reference().is_none()
            && refund.status() == Some(&RefundStatus::Succeeded);
        if !possible {
            return Release::No;
        }
        if self.returned() <= self.received {
            return Release::Unclear;
        }
        // The count proves the older version. Of two objects of this amount, one is a refund.
        let mut others = self.refunds.iter().filter(|(id, _)| *id != refund.id());
        match others.any(|(id, minor)| *minor == amount && !self.notified.contains_key(id)) {
            true => Release::No,
            false => Release::Yes,
        }
    }

    /// Writes down the facts of a new event, although its turn has not come.
    pub fn note_event(&mut self, event: &NewEvent) {
        if event.settles && self.success == FulfillmentStatus::No {
            self.success = FulfillmentStatus::Pending;
        }
        if let Some(note) = &event.note {
            self.note(note);
        }
    }

    pub(super) fn note(&mut self, note: &PendingNote) {
        match note {
            PendingNote::Refund { id, amount } => {
                // A refund's amount only ever changes to zero, when the refund fails. Late news
                // does not change it back.
                let known = self.refunds.entry(id.clone()).or_insert(*amount);
                *known = (*known).min(*amount);
            }
            PendingNote::RefundedTotal(total) => {
                self.refunded_total = self.refunded_total.max(*total)
            }
            PendingNote::Dispute { id, status } => {
                // Events of one dispute arrive in any order.
                let known = self.disputes.entry(id.clone()).or_insert(status.clone());
                *known = known.or_later(status);
            }
        }
    }
}

/// How much of a payment went back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WentBack {
    NotAll,
    All,
    /// The figures fit both a full refund and the release of a part that was never captured.
    Unclear,
}

/// Whether a refund object stands for money that was never captured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Release {
    No,
    Yes,
    /// The figures fit a refund too.
    Unclear,
}

/// News of an event that counts even before its turn comes: money that went back stops a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum PendingNote {
    /// A refund of this id has this many minor units (zero if it failed).
    Refund {
        /// The refund's id.
        id: String,
        /// Its minor units.
        amount: u64,
    },
    /// The charge counts this many minor units as refunded.
    RefundedTotal(u64),
    /// The dispute of this id has this status.
    Dispute {
        /// The dispute's id.
        id: String,
        /// Its status.
        status: DisputeStatus,
    },
}

/// The status of a payment's success.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum FulfillmentStatus {
    /// The success has not arrived.
    #[default]
    No,
    /// The success has arrived, and waits for its turn or for another attempt.
    Pending,
    /// `payment_succeeded` ran. For a SetupIntent or a payment method: the handler received its
    /// event.
    Fulfilled,
    /// The handler received `DuplicatePayment`.
    Duplicate,
    /// The handler received `RefundedBeforeFulfillment`.
    Refunded,
    /// The handler received `Mismatch`.
    Mismatch,
    /// All attempts failed.
    Dead,
    /// The handler ended the transaction that it received, so its work may be kept or lost. No
    /// other event of the same success runs it again. An operator must look, and replay or discard
    /// the event.
    Broken,
    /// An operator discarded the event.
    GivenUp,
}

/// A new event for the inbox.
#[derive(Clone)]
#[cfg_attr(not(feature = "unstable-inbox"), non_exhaustive)]
pub struct NewEvent {
    /// The application and the mode.
    pub scope: Scope,
    /// The event's id.
    pub id: String,
    /// The event's type.
    pub event_type: String,
    /// The PaymentIntent of the event.
    pub payment: Option<String>,
    /// The order of that payment.
    pub order: Option<OrderKey>,
    /// Whether the payment is this application's. If not, the handler receives the event as
    /// `Other`.
    pub ours: bool,
    /// Whether it is the success of its payment. Refunds and disputes wait for that.
    pub settles: bool,
    /// News that counts before its turn comes.
    pub note: Option<PendingNote>,
    /// The payload, without client secrets.
    pub body: Bytes,
    /// When it was received.
    pub received: SystemTime,
}

// Written by hand, here and below, because the body holds the buyer's name and address.
impl fmt::Debug for NewEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewEvent")
            .field("id", &self.id)
            .field("event_type", &self.event_type)
            .field("payment", &self.payment)
            .field("order", &self.order)
            .field("ours", &self.ours)
            .field("settles", &self.settles)
            .field("note", &self.note)
            .field("body_len", &self.body.len())
            .finish_non_exhaustive()
    }
}

/// A stored event.
#[derive(Clone)]
#[cfg_attr(not(feature = "unstable-inbox"), non_exhaustive)]
pub struct EventRecord {
    /// The application and the mode.
    pub scope: Scope,
    /// The event's id.
    pub id: String,
    /// The event's type.
    pub event_type: String,
    /// The PaymentIntent of the event.
    pub payment: Option<String>,
    /// The order of that payment.
    pub order: Option<OrderKey>,
    /// Whether the payment is this application's.
    pub ours: bool,
    /// Whether it is the success of its payment.
    pub settles: bool,
    /// The payload, without client secrets. An inbox may delete it when the event is done or
    /// superseded.
    pub body: Bytes,
    /// When it was first received.
    pub received: SystemTime,
    /// The state of the event.
    pub state: EventState,
    /// How many attempts it has had. A running attempt counts.
    pub attempts: u32,
    /// When its next attempt is due, as long as it is pending.
    pub due: SystemTime,
    /// The last error, or the reason of a mismatch.
    pub last_error: Option<String>,
}

/// A new event is pending, and due at once.
impl From<NewEvent> for EventRecord {
    fn from(event: NewEvent) -> Self {
        Self {
            scope: event.scope,
            id: event.id,
            event_type: event.event_type,
            payment: event.payment,
            order: event.order,
            ours: event.ours,
            settles: event.settles,
            body: event.body,
            received: event.received,
            state: EventState::Pending,
            attempts: 0,
            due: event.received,
            last_error: None,
        }
    }
}

impl fmt::Debug for EventRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventRecord")
            .field("id", &self.id)
            .field("event_type", &self.event_type)
            .field("payment", &self.payment)
            .field("order", &self.order)
            .field("ours", &self.ours)
            .field("settles", &self.settles)
            .field("state", &self.state)
            .field("attempts", &self.attempts)
            .field("due", &self.due)
            .field("last_error", &self.last_error)
            .field("body_len", &self.body.len())
            .finish_non_exhaustive()
    }
}

/// A stored event, and its claim.
#[derive(Debug, Clone)]
#[cfg_attr(not(feature = "unstable-inbox"), non_exhaustive)]
pub struct Stored {
    /// The event.
    pub record: EventRecord,
    /// Rises with each claim and each verdict. So a process that was away for long finds that it no
    /// longer holds the event.
    pub claim: i64,
    /// Whether a process has claimed it and given no verdict.
    pub taken: bool,
    /// Whether that process found that the event has had all its attempts.
    pub is_spent: bool,
    /// Whether it is a success for which other events of its payment wait.
    pub awaited: bool,
}

impl Stored {
    /// The event's number of attempts once an attempt that begins after this look has failed.
    pub(super) fn failed_at(&self) -> u32 {
        self.record.attempts + u32::from(!self.taken)
    }

    /// Whether an attempt failed since an earlier look.
    pub(super) fn failed_since(&self, seen: &Self) -> bool {
        !self.taken && self.record.attempts >= seen.failed_at()
    }
}

/// The result of [`Session::find`](super::inbox::Session::find).
#[derive(Debug, Default)]
#[cfg_attr(not(feature = "unstable-inbox"), non_exhaustive)]
pub struct Found {
    /// The event.
    pub event: Option<Stored>,
    /// The order of the payment.
    pub order: Option<(OrderKey, IntentRecord)>,
    /// Whether the success of the payment was ever received.
    pub is_known: bool,
}

/// The state of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum EventState {
    /// It waits for its turn, or for another attempt after a failure.
    Pending,
    /// It was handled. The handler ran, or had received the same news by another event.
    Done,
    /// The event is out of date, or another event reports the same. The handler did not run.
    Superseded,
    /// A payment that does not match its order, or an event about a payment that cannot be read. An
    /// operator must look.
    Mismatch,
    /// A dead letter: every attempt failed.
    Dead,
    /// An operator discarded it.
    Discarded,
}

impl EventState {
    pub(crate) const ALL: [Self; 6] = [
        Self::Pending,
        Self::Done,
        Self::Superseded,
        Self::Mismatch,
        Self::Dead,
        Self::Discarded,
    ];

    /// Whether nothing remains to do for the event.
    pub(super) const fn is_over(self) -> bool {
        matches!(self, Self::Done | Self::Superseded | Self::Discarded)
    }

    /// The state's name, for logs, lists and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Done => "done",
            Self::Superseded => "superseded",
            Self::Mismatch => "mismatch",
            Self::Dead => "dead",
            Self::Discarded => "discarded",
        }
    }
}

/// Counts of events, and of payments that an operator should look at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// How many events are in each state. A state that is missing has none.
    pub events: BTreeMap<EventState, u64>,
    /// How many pending events are due. An event that runs is not due.
    pub due: u64,
    /// When the oldest pending event was received.
    pub oldest_pending: Option<SystemTime>,
    /// How many payments are paid at Stripe and not fulfilled: their success is pending or dead.
    pub unfulfilled: u64,
    /// When the success of the oldest of these was received.
    pub unfulfilled_since: Option<SystemTime>,
    /// How many payments paid an order that was paid already, without any refund yet.
    pub duplicate_payments: u64,
    /// How many payments were refunded or disputed before they were fulfilled, with a success that
    /// was received in the last 24 hours.
    pub refunded_before_fulfillment: u64,
}

/// How long [`Stats::refunded_before_fulfillment`] counts a payment. Nothing else ends it.
pub(crate) const REFUNDED_RECENTLY: Duration = Duration::from_secs(24 * 60 * 60);

impl Stats {
    /// How many events are in this state.
    pub fn count(&self, state: EventState) -> u64 {
        self.events.get(&state).copied().unwrap_or_default()
    }

    /// Adds the counts of another scope.
    pub(crate) fn add(&mut self, other: Self) {
        for (state, count) in other.events {
            *self.events.entry(state).or_default() += count;
        }
        self.due += other.due;
        self.oldest_pending = earlier(self.oldest_pending, other.oldest_pending);
        self.unfulfilled += other.unfulfilled;
        self.unfulfilled_since = earlier(self.unfulfilled_since, other.unfulfilled_since);
        self.duplicate_payments += other.duplicate_payments;
        self.refunded_before_fulfillment += other.refunded_before_fulfillment;
    }
}

fn earlier(one: Option<SystemTime>, other: Option<SystemTime>) -> Option<SystemTime> {
    one.into_iter().chain(other).min()
}

/// Selects the events to list.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct EventFilter {
    /// Only events of this application and mode.
    pub scope: Option<Scope>,
    /// Only events of this PaymentIntent.
    pub payment: Option<String>,
    /// Only events in this state.
    pub state: Option<EventState>,
    /// The largest number of events.
    pub limit: usize,
}

impl Default for EventFilter {
    /// The newest hundred events of any kind.
    fn default() -> Self {
        Self {
            scope: None,
            payment: None,
            state: None,
            limit: 100,
        }
    }
}

impl EventFilter {
    /// Lists only events of this PaymentIntent.
    #[must_use]
    pub fn payment(mut self, payment: impl Into<String>) -> Self {
        self.payment = Some(payment.into());
        self
    }

    /// Lists only events in this state.
    #[must_use]
    pub fn state(mut self, state: EventState) -> Self {
        self.state = Some(state);
        self
    }

    /// Sets the largest number of events.
    #[must_use]
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refunds_are_counted_once_by_id_and_by_whichever_count_knows_more() {
        let mut payment = PaymentRecord::default();
        let refund = |id: &str, amount| PendingNote::Refund {
            id: id.into(),
            amount,
        };
        payment.note(&refund("re_1", 300));
        payment.note(&refund("re_1", 300));
        payment.note(&refund("re_2", 200));
        assert_eq!(payment.returned(), 500);
        payment.note(&PendingNote::RefundedTotal(900));
        payment.note(&PendingNote::RefundedTotal(100));
        assert_eq!(
            payment.returned(),
            900,
            "a late, smaller total takes nothing back"
        );
        payment.note(&refund("re_1", 0));
        payment.note(&refund("re_1", 300));
        assert_eq!(payment.refunds["re_1"], 0, "what failed stays failed");
        payment.note(&refund("re_3", u64::MAX));
        assert_eq!(payment.returned(), u64::MAX);
    }

    /// Every permutation of these.
    fn orders<T: Clone>(all: &[T]) -> Vec<Vec<T>> {
        if all.is_empty() {
            return vec![Vec::new()];
        }
        let mut orders_of_all = Vec::new();
        for at in 0..all.len() {
            let mut rest = all.to_vec();
            let first = rest.remove(at);
            for mut order in orders(&rest) {
                order.insert(0, first.clone());
                orders_of_all.push(order);
            }
        }
        orders_of_all
    }

    #[test]
    fn disputes_count_by_id_and_by_their_last_status_in_every_order() {
        let stories = [
            (vec![("dp_1", "needs_response")], true),
            (
                vec![
                    ("dp_1", "needs_response"),
                    ("dp_1", "under_review"),
                    ("dp_1", "won"),
                ],
                false,
            ),
            (
                vec![
                    ("dp_1", "needs_response"),
                    ("dp_1", "under_review"),
                    ("dp_1", "lost"),
                ],
                true,
            ),
            (
                vec![
                    ("dp_1", "warning_needs_response"),
                    ("dp_1", "warning_closed"),
                ],
                false,
            ),
            (
                vec![
                    ("dp_1", "warning_under_review"),
                    ("dp_1", "needs_response"),
                    ("dp_1", "won"),
                ],
                false,
            ),
            (
                vec![("dp_1", "needs_response"), ("dp_1", "prevented")],
                false,
            ),
            (
                vec![("dp_1", "under_review"), ("dp_1", "charge_refunded")],
                false,
            ),
            (
                vec![
                    ("dp_1", "needs_response"),
                    ("dp_1", "won"),
                    ("dp_2", "needs_response"),
                ],
                true,
            ),
            (
                vec![
                    ("dp_1", "needs_response"),
                    ("dp_1", "lost"),
                    ("dp_2", "needs_response"),
                    ("dp_2", "won"),
                ],
                true,
            ),
            (
                vec![
                    ("dp_1", "needs_response"),
                    ("dp_1", "won"),
                    ("dp_2", "under_review"),
                    ("dp_2", "won"),
                ],
                false,
            ),
            (
                vec![("dp_1", "won"), ("dp_1", "a status of another year")],
                false,
            ),
            (vec![("dp_1", "a status of another year")], true),
        ];
        for (story, disputed) in stories {
            for order in orders(&story) {
                let mut payment = PaymentRecord::default();
                for (id, status) in &order {
                    payment.note(&PendingNote::Dispute {
                        id: (*id).to_owned(),
                        status: DisputeStatus::from((*status).to_owned()),
                    });
                }
                assert_eq!(payment.disputed(), disputed, "{order:?}");
            }
        }
    }
}
