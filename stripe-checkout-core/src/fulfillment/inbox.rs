//! The inbox: what is remembered of events, payments and intents, and the promises that whoever stores them makes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::{Duration, SystemTime};

use bytes::Bytes;

use super::BoxFuture;
use super::operation::{OperationKey, OperationRecord};
use crate::amount::Amount;
use crate::error::InboxError;
use crate::secret::Mode;
use crate::webhook::{DisputeStatus, Refund, RefundStatus};

/// Stores events, payments and intents, and runs one event at a time through the handler.
///
/// # What an inbox promises
/// 1. **One event id, one effect.** What the handler wrote through [`Connection`](Self::Connection) and the event's new state commit together, or
///    neither does.
/// 2. **One at a time.** Events of one payment are never dispatched at the same time, nor are events of one order; what [`Dispatch::dispatch`] is given was
///    read under these locks, the payment's first.
/// 3. **Nothing acknowledged is lost.** When [`receive`](Self::receive) returns `Ok`, the event is stored as safely as this inbox stores anything.
/// 4. **Failures are kept.** A failed dispatch undoes the handler's writes and keeps the count of attempts, the error, and when the next one is due; after the
///    last attempt the event is a dead letter.
/// 5. **Bounded.** Only events that are done or superseded are ever forgotten.
///
/// Nothing is *decided* here: the verdict comes from `dispatch`, which is the same for every inbox.
pub trait Inbox: Send + Sync + 'static {
    /// What a handler may write through: the inbox's own transaction, or `()`.
    type Connection: Send;

    /// Whether what is stored outlives the process.
    fn survives_restart(&self) -> bool;

    /// How long a hook may run unless [`handler_deadline`](crate::CheckoutBuilder::handler_deadline) says otherwise.
    fn handler_deadline(&self) -> Duration {
        Duration::from_secs(20)
    }

    /// Whether it may hold live money. An inbox that does not survive a restart may not, unless somebody said that he knows.
    fn accepts_live(&self) -> bool {
        self.survives_restart()
    }

    /// The intent row of an order.
    fn intent(
        &self,
        order: &OrderKey,
    ) -> impl Future<Output = Result<Option<IntentRecord>, InboxError>> + Send;

    /// Writes the intent row of an order if its version is still `expected` (`None`: if there is no row), and says whether it did. The stored row's
    /// version is one higher; that of the first is 1.
    fn put_intent(
        &self,
        order: &OrderKey,
        expected: Option<u64>,
        record: IntentRecord,
    ) -> impl Future<Output = Result<bool, InboxError>> + Send;

    /// The order, and its row, to which a PaymentIntent belongs: its present one, an earlier one, or one of which an event said so.
    fn intent_of_payment(
        &self,
        scope: &Scope,
        payment: &str,
    ) -> impl Future<Output = Result<Option<(OrderKey, IntentRecord)>, InboxError>> + Send;

    /// What is known of a PaymentIntent's fulfilment.
    fn payment(
        &self,
        scope: &Scope,
        payment: &str,
    ) -> impl Future<Output = Result<Option<PaymentRecord>, InboxError>> + Send;

    /// A stored event.
    fn event(
        &self,
        scope: &Scope,
        event: &str,
    ) -> impl Future<Output = Result<Option<EventRecord>, InboxError>> + Send;

    /// Commits an event, unless its id is known, and gives what is stored. A new event is [noted](PaymentRecord::note_event) in its payment's row.
    fn receive(
        &self,
        event: NewEvent,
    ) -> impl Future<Output = Result<EventRecord, InboxError>> + Send;

    /// Takes the event whose [`Turn`] it is, if it is pending, counts an attempt, dispatches it under the locks of its payment and its order, and stores the
    /// verdict. Of an event that is not pending it just tells the state. `None` if it is nobody's turn.
    ///
    /// The attempt counts before the hook runs, and stays counted if the process dies; it is given back where no hook ran. An event that was taken
    /// [`Terms::max_attempts`] times without coming to a verdict takes its process with it each time: it is a dead letter, and not dispatched again.
    ///
    /// # Errors
    /// [`InboxError::Busy`] if other work on the same order or payment does not end within [`Terms::patience`].
    fn step(
        &self,
        scope: &Scope,
        turn: Turn<'_>,
        terms: Terms,
        dispatch: &dyn Dispatch<Self::Connection>,
    ) -> impl Future<Output = Result<Option<Step>, InboxError>> + Send;

    /// The events that fit the filter, the newest first.
    fn events(
        &self,
        filter: &EventFilter,
    ) -> impl Future<Output = Result<Vec<EventRecord>, InboxError>> + Send;

    /// Makes an event due at once, with all its attempts before it. A dead or mismatched event
    /// becomes pending again. Waits for running work up to `patience`.
    ///
    /// If the event was dead or mismatched and is one that [settles](EventRecord::settles), the
    /// success of its payment gets another chance: a [dead](Settled::Dead), a
    /// [broken](Settled::Broken) and a [mismatched](Settled::Mismatch) one becomes
    /// [pending](Settled::Pending). A pending event changes nothing there: if another event object
    /// of the same success is broken or a mismatch, this one is superseded.
    fn replay(
        &self,
        scope: &Scope,
        event: &str,
        patience: Duration,
    ) -> impl Future<Output = Result<(), InboxError>> + Send;

    /// Gives up a pending, dead or mismatched event for good: it will not run, and what waits for it goes on. If it was the last one of its payment's success,
    /// the payment is [given up](Settled::GivenUp). Waits for running work up to `patience`.
    fn discard(
        &self,
        scope: &Scope,
        event: &str,
        patience: Duration,
    ) -> impl Future<Output = Result<(), InboxError>> + Send;

    /// Counts events, and what somebody should look at.
    fn stats(&self, scope: &Scope) -> impl Future<Output = Result<Stats, InboxError>> + Send;

    /// Forgets about so many events that are done or superseded and were received before this time, and says how many it were; none, if there are no more. What they
    /// said of their payment stays known: of a payment whose success is forgotten, a second success is still old news.
    fn prune(
        &self,
        scope: &Scope,
        before: SystemTime,
        most: usize,
    ) -> impl Future<Output = Result<usize, InboxError>> + Send;

    /// The orders whose PaymentIntent is neither paid nor canceled as far as is known, in an order of its own, from behind this one on, at most so many. Of those that
    /// wait for the buyer only the ones whose row was written since then: most buyers that went away do not come back. One that is on its way is always among them.
    fn open_intents(
        &self,
        scope: &Scope,
        after: Option<&OrderKey>,
        since: SystemTime,
        most: usize,
    ) -> impl Future<Output = Result<Vec<(OrderKey, IntentRecord)>, InboxError>> + Send;

    /// Lists the connected accounts that have an order whose row was written since this time. They
    /// are sorted by their bytes and come after `after`, at most `most` of them.
    fn accounts(
        &self,
        scope: &Scope,
        after: Option<&str>,
        since: SystemTime,
        most: usize,
    ) -> impl Future<Output = Result<Vec<String>, InboxError>> + Send;

    /// The row of an operation at Stripe.
    fn operation(
        &self,
        key: &OperationKey,
    ) -> impl Future<Output = Result<Option<OperationRecord>, InboxError>> + Send;

    /// Writes the row of an operation if its version is still `expected` (`None`: if there is no row), and says whether it did. The stored row's version is one
    /// higher; that of the first is 1. It is never forgotten.
    fn put_operation(
        &self,
        key: &OperationKey,
        expected: Option<u64>,
        record: OperationRecord,
    ) -> impl Future<Output = Result<bool, InboxError>> + Send;

    /// A note of the core's own under this name: how far it has read.
    fn bookmark(
        &self,
        scope: &Scope,
        name: &str,
    ) -> impl Future<Output = Result<Option<String>, InboxError>> + Send;

    /// Writes a note if the stored one is still `expected` (`None`: if there is no note), and
    /// returns whether it did.
    fn put_bookmark(
        &self,
        scope: &Scope,
        name: &str,
        expected: Option<&str>,
        value: &str,
    ) -> impl Future<Output = Result<bool, InboxError>> + Send;

    /// The applications and modes that have a note under this name.
    fn scopes_with_bookmark(
        &self,
        name: &str,
    ) -> impl Future<Output = Result<Vec<Scope>, InboxError>> + Send;
}

/// Whose turn it is to be dispatched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Turn<'a> {
    /// This event's, although its next attempt may be due later: it was delivered again, or somebody asks for it.
    Now(&'a str),
    /// This event's, if it is due.
    IfDue(&'a str),
    /// That of the pending event that has been due for the longest time. One that somebody else is at is not due.
    Due,
}

/// How long a step may wait, and for how long the event is its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Terms {
    /// How long it waits for other work on the same payment or order, all in all.
    pub patience: Duration,
    /// For how long the event is not due for anybody else: longer than all waits and the handler's deadline together. A process that dies leaves it for so long.
    pub lease: Duration,
    /// How many attempts an event has.
    pub max_attempts: u32,
}

impl Terms {
    /// Terms of this patience, lease and number of attempts.
    pub fn new(patience: Duration, lease: Duration, max_attempts: u32) -> Self {
        Self {
            patience,
            lease,
            max_attempts,
        }
    }
}

/// What a step took, and what it did with it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Step {
    /// The event, as it was found.
    pub event: EventRecord,
    /// What became of it.
    pub did: Stepped,
}

impl Step {
    /// This event, and what became of it.
    pub fn new(event: EventRecord, did: Stepped) -> Self {
        Self { event, did }
    }
}

/// What runs an event: made by the core, called by an inbox inside its transaction.
pub trait Dispatch<C>: Send + Sync {
    /// Decides and runs the hook. Never panics; a handler that panics or passes its deadline comes back as [`Verdict::Failed`].
    fn dispatch<'a>(
        &'a self,
        event: &'a EventRecord,
        payment: &'a PaymentRecord,
        intent: Option<&'a IntentRecord>,
        db: &'a mut C,
    ) -> BoxFuture<'a, Verdict>;
}

/// The application and the mode, so that two applications on one store never see each other's events.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Scope {
    /// The application's name, as [`CheckoutBuilder::application`](crate::CheckoutBuilder::application) set it.
    pub application: String,
    /// Test or live.
    pub mode: Mode,
}

/// Which order, of which application, mode and connected account.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct OrderKey {
    /// The application and the mode.
    pub scope: Scope,
    /// The connected account, if any; never empty.
    pub account: Option<String>,
    /// The merchant's unique reference of the order.
    pub reference: String,
}

/// One order's row: the PaymentIntent that is open for it, or that paid it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IntentRecord {
    /// Counts the writes; `put_intent` compares it.
    pub version: u64,
    /// The number of the attempt, from 1: a part of the idempotency key.
    pub attempt: u32,
    /// What Stripe was told last: SHA-256 of all parameters of the request, so that a change is seen without storing personal data. Up to 80 characters.
    pub fingerprint: String,
    /// The price that was asked for, before discount, shipping and tax.
    pub asked: Amount,
    /// The minor units that our own capture brings the payment to, in the currency of `asked`. It
    /// is written before the capture is sent; none without one.
    pub capture: Option<u64>,
    /// The PaymentIntent, as soon as Stripe made it.
    pub payment: Option<String>,
    /// SHA-256 of its client secret, in hex: enough to check one, not enough to use it.
    pub secret_hash: Option<String>,
    /// Whether Stripe has the parameters of the fingerprint.
    pub request: RequestState,
    /// How far it is.
    pub state: IntentState,
    /// The PaymentIntent that paid the order: a second one is a duplicate payment.
    pub paid_by: Option<String>,
    /// How many attempts to pay the order failed, with all its PaymentIntents.
    pub declines: u32,
}

/// Whether Stripe has the parameters that an order's row stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RequestState {
    /// Stripe has them.
    Sent,
    /// They are on their way: Stripe may or may not have them.
    Sending,
    /// The order is canceled: nothing may be asked of Stripe until the order is open again.
    OrderCanceled,
}

/// How far an order's intent is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum IntentState {
    /// Written down before Stripe is asked for one, or for another one.
    Creating,
    /// Made, and waiting for the buyer.
    Open,
    /// On its way.
    Processing,
    /// Paid.
    Paid,
    /// Canceled: the next attempt makes another.
    Canceled,
}

/// What is known of one PaymentIntent's fulfilment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PaymentRecord {
    /// How its success was dealt with.
    pub success: Settled,
    /// Whether it was authorised: a late `processing` or `payment_failed` is then old news.
    pub capturable: bool,
    /// Whether it was canceled.
    pub canceled: bool,
    /// Minor units of each refund, by its id.
    pub refunds: BTreeMap<String, u64>,
    /// Minor units refunded, as the charge counts them.
    pub refunded_total: u64,
    /// Minor units received, as its success says.
    pub received: u64,
    /// Minor units that were authorised and not captured, where the capture was not our own call.
    /// A request of an API version before 2025-03-31.basil makes a refund object of them.
    pub released: u64,
    /// The last status of each dispute, by its id.
    pub disputes: BTreeMap<String, DisputeStatus>,
    /// What the hooks were told of its refunds and disputes, by their ids, in words of the core's own: so that each is told once, and old news not at all.
    pub told: BTreeMap<String, BTreeSet<String>>,
}

impl PaymentRecord {
    /// Minor units that went back, by whichever count knows of more.
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

    /// Says whether all that was received went back. `released` was authorised and not captured, by
    /// a call that is not ours.
    ///
    /// Stripe does not count the released part as refunded since API version 2025-03-31.basil.
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

    /// Says whether this refund object stands for the part that was never captured. `No` if Stripe
    /// cannot have made it for that.
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
        match others.any(|(id, minor)| *minor == amount && !self.told.contains_key(id)) {
            true => Release::No,
            false => Release::Yes,
        }
    }

    /// Writes down what a new event says, although its turn has not come.
    pub fn note_event(&mut self, event: &NewEvent) {
        if event.settles && self.success == Settled::No {
            self.success = Settled::Pending;
        }
        if let Some(note) = &event.note {
            self.note(note);
        }
    }

    pub(super) fn note(&mut self, note: &Note) {
        match note {
            Note::Refund { id, amount } => {
                // A refund only ever changes to nothing, when it fails; news that come late change nothing back.
                let known = self.refunds.entry(id.clone()).or_insert(*amount);
                *known = (*known).min(*amount);
            }
            Note::RefundedTotal(total) => self.refunded_total = self.refunded_total.max(*total),
            Note::Dispute { id, status } => {
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
    /// The figures fit a full refund, and the release of a part that was never captured.
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

/// What an event says that must be known even before its turn comes: money that went back stops a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Note {
    /// A refund of this id has this many minor units (none if it failed).
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

/// How the success of a payment was dealt with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Settled {
    /// It has not come.
    #[default]
    No,
    /// It has come, and waits for its turn or for another attempt.
    Pending,
    /// `payment_succeeded` ran.
    Fulfilled,
    /// `duplicate_payment` ran.
    Duplicate,
    /// `refunded_before_fulfillment` ran.
    Refunded,
    /// `mismatch` ran.
    Mismatch,
    /// All attempts failed.
    Dead,
    /// The hook ended the transaction that it was given: whether its work was kept, nobody knows. No other event of the same success runs it again; somebody has to look,
    /// and to replay or discard the event.
    Broken,
    /// Somebody dropped the event.
    GivenUp,
}

/// An event to be stored.
#[derive(Clone)]
pub struct NewEvent {
    /// The application and the mode.
    pub scope: Scope,
    /// The event's id.
    pub id: String,
    /// The event's type.
    pub event_type: String,
    /// The PaymentIntent that it is about.
    pub payment: Option<String>,
    /// The order of that payment.
    pub order: Option<OrderKey>,
    /// Whether the payment is this application's: otherwise it goes to the hook `event`.
    pub ours: bool,
    /// Whether it is the success of its payment, which refunds and disputes wait for.
    pub settles: bool,
    /// What must be known before its turn comes.
    pub note: Option<Note>,
    /// The payload, without client secrets.
    pub body: Bytes,
    /// When it came.
    pub received: SystemTime,
}

// By hand, here and below: in the body are the buyer's name and address.
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
pub struct EventRecord {
    /// The application and the mode.
    pub scope: Scope,
    /// The event's id.
    pub id: String,
    /// The event's type.
    pub event_type: String,
    /// The PaymentIntent that it is about.
    pub payment: Option<String>,
    /// The order of that payment.
    pub order: Option<OrderKey>,
    /// Whether the payment is this application's.
    pub ours: bool,
    /// Whether it is the success of its payment.
    pub settles: bool,
    /// The payload, without client secrets; an inbox may let it go when the event is done or superseded.
    pub body: Bytes,
    /// When it came first.
    pub received: SystemTime,
    /// How far it is.
    pub state: EventState,
    /// How often it was dispatched; while it is, this time counts.
    pub attempts: u32,
    /// Not before this is its next attempt due, as long as it is pending.
    pub due: SystemTime,
    /// What went wrong last, or what does not fit.
    pub last_error: Option<String>,
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

/// How far an event is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum EventState {
    /// To be dispatched, again if it failed.
    Pending,
    /// Its hook ran.
    Done,
    /// Old news: no hook ran.
    Superseded,
    /// Money that does not fit its order, or an event about a payment that cannot be read: somebody must look.
    Mismatch,
    /// A dead letter: every attempt failed.
    Dead,
    /// Given up by somebody.
    Dropped,
}

impl EventState {
    pub(crate) const ALL: [Self; 6] = [
        Self::Pending,
        Self::Done,
        Self::Superseded,
        Self::Mismatch,
        Self::Dead,
        Self::Dropped,
    ];

    /// The state's name, for logs, lists and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Done => "done",
            Self::Superseded => "superseded",
            Self::Mismatch => "mismatch",
            Self::Dead => "dead",
            Self::Dropped => "dropped",
        }
    }
}

/// What `dispatch` decided; the inbox stores it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// The hook ran: commit, and mark the event done.
    Done {
        /// The payment's row from now on.
        payment: PaymentRecord,
        /// The order's row from now on, if it changes.
        intent: Option<IntentRecord>,
    },
    /// Old news: mark the event superseded.
    Superseded,
    /// Its turn has not come: leave it pending, give the attempt back, and look at it again after this time.
    Waiting {
        /// How long.
        again: Duration,
        /// The reason, if an operator must act. It is kept as the event's last error.
        reason: Option<String>,
    },
    /// The hook `mismatch` ran: commit, and mark the event so.
    Mismatch {
        /// The payment's row from now on.
        payment: PaymentRecord,
        /// What does not fit.
        reason: String,
    },
    /// The hook failed: roll back, and keep the failure.
    Failed {
        /// Where it failed. Only this decides: `error` may be the merchant's own words.
        cause: Cause,
        /// What went wrong, for the operator.
        error: String,
        /// After which time it is due again; never, if this was its last attempt: then it is a dead letter.
        again: Option<Duration>,
    },
}

/// Where an attempt failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause {
    /// The handler returned an error.
    Handler,
    /// The handler waited in vain for another connection than its own: the database was locked, or
    /// the pool was empty.
    LockedOut,
    /// The database undid the transaction itself: its disk is full, or it cannot read or write.
    Database,
    /// The handler panicked.
    Panicked,
    /// The handler did not end within its deadline.
    Deadline,
    /// The inbox could not keep the handler's work, or no attempt came to its end.
    Inbox,
}

/// What a step did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stepped {
    /// The event is now in this state, by this step.
    Now(EventState),
    /// The event was in this state already.
    Already(EventState),
    /// Its turn has not come.
    Waiting,
    /// The hook failed, and will be tried again.
    Failed,
}

/// How many events there are, and what somebody should look at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// How many events are in each state; none of those that are missing.
    pub events: BTreeMap<EventState, u64>,
    /// How many of the pending ones are due. What somebody is at is not.
    pub due: u64,
    /// When the oldest of the pending ones was received.
    pub oldest_pending: Option<SystemTime>,
    /// How many payments are paid at Stripe and not fulfilled: their success is pending or dead.
    pub unfulfilled: u64,
    /// When the success of the oldest of these was received.
    pub unfulfilled_since: Option<SystemTime>,
    /// How many payments paid an order that was paid already, and nothing of them was refunded yet.
    pub duplicate_payments: u64,
}

impl Stats {
    /// How many events are in this state.
    pub fn count(&self, state: EventState) -> u64 {
        self.events.get(&state).copied().unwrap_or_default()
    }

    /// Adds what another one counted elsewhere.
    pub(crate) fn add(&mut self, other: Self) {
        for (state, count) in other.events {
            *self.events.entry(state).or_default() += count;
        }
        self.due += other.due;
        self.oldest_pending = earlier(self.oldest_pending, other.oldest_pending);
        self.unfulfilled += other.unfulfilled;
        self.unfulfilled_since = earlier(self.unfulfilled_since, other.unfulfilled_since);
        self.duplicate_payments += other.duplicate_payments;
    }
}

fn earlier(one: Option<SystemTime>, other: Option<SystemTime>) -> Option<SystemTime> {
    one.into_iter().chain(other).min()
}

/// Which events to list.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct EventFilter {
    /// Of this application and mode only.
    pub scope: Option<Scope>,
    /// Of this PaymentIntent only.
    pub payment: Option<String>,
    /// In this state only.
    pub state: Option<EventState>,
    /// At most so many.
    pub limit: usize,
}

impl Default for EventFilter {
    /// The newest hundred, of whatever kind.
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
    /// Of this PaymentIntent only.
    #[must_use]
    pub fn payment(mut self, payment: impl Into<String>) -> Self {
        self.payment = Some(payment.into());
        self
    }

    /// In this state only.
    #[must_use]
    pub fn state(mut self, state: EventState) -> Self {
        self.state = Some(state);
        self
    }

    /// At most so many.
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
        let refund = |id: &str, amount| Note::Refund {
            id: id.into(),
            amount,
        };
        payment.note(&refund("re_1", 300));
        payment.note(&refund("re_1", 300));
        payment.note(&refund("re_2", 200));
        assert_eq!(payment.returned(), 500);
        payment.note(&Note::RefundedTotal(900));
        payment.note(&Note::RefundedTotal(100));
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

    /// Every order of these.
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
                    payment.note(&Note::Dispute {
                        id: (*id).to_owned(),
                        status: DisputeStatus::from((*status).to_owned()),
                    });
                }
                assert_eq!(payment.disputed(), disputed, "{order:?}");
            }
        }
    }
}
