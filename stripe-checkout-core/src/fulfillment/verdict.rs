//! The terms of an attempt, and its results.

use std::time::Duration;

use super::BoxFuture;
use super::records::{EventRecord, EventState, IntentRecord, PaymentRecord, Stored};

/// Which event runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Which<'a> {
    /// This event, although its next attempt may be due later: Stripe delivered it again, or an
    /// operator asks for it.
    Now(&'a str),
    /// This event, if it is due.
    IfDue(&'a str),
    /// The pending event that has been due for the longest time. An event that runs elsewhere is
    /// not due.
    Due,
}

/// How long a step may wait, and for how long the event is its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Terms {
    /// How long it waits for other work on the same payment or order, all in all.
    pub patience: Duration,
    /// For how long the event is not due in other processes: longer than all waits and the
    /// handler's deadline together. The event of a process that dies waits for this time.
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

/// The event of a step, and the result.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Step {
    /// The event, as it was found.
    pub event: EventRecord,
    /// Whether other events of its payment waited for it.
    pub awaited: bool,
    /// The result.
    pub did: Stepped,
}

impl Step {
    pub(super) fn new(found: Stored, did: Stepped) -> Self {
        Self {
            event: found.record,
            awaited: found.awaited,
            did,
        }
    }

    /// A pending success that is not due: others may wait for it, and be due.
    pub(super) fn not_due(event: EventRecord) -> Self {
        Self {
            event,
            awaited: true,
            did: Stepped::Waiting,
        }
    }

    /// An event that an operator discarded: others may wait for it.
    pub(super) fn discarded(event: &EventRecord) -> Self {
        Self {
            event: event.clone(),
            awaited: event.settles,
            did: Stepped::Now(EventState::Discarded),
        }
    }
}

/// Runs an event inside the transaction of an attempt.
pub trait Dispatch<C>: Send + Sync {
    /// Decides, and calls the handler. It never panics: a handler that panics or passes its
    /// deadline comes back as [`Verdict::Failed`].
    fn dispatch<'a>(
        &'a self,
        event: &'a EventRecord,
        payment: &'a PaymentRecord,
        intent: Option<&'a IntentRecord>,
        db: &'a mut C,
    ) -> BoxFuture<'a, Verdict>;
}

/// The decision of `dispatch`, which the engine stores.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// The handler ran: commit, and mark the event done.
    Done {
        /// The payment's row from now on.
        payment: PaymentRecord,
        /// The order's row from now on, if it changes.
        intent: Option<IntentRecord>,
    },
    /// Old news: mark the event superseded.
    Superseded,
    /// Its turn has not come: leave it pending, give the attempt back, and look at it again later.
    Waiting {
        /// After which time.
        again: Duration,
        /// The reason, if an operator must act. It is kept as the event's last error.
        reason: Option<String>,
    },
    /// The handler received the mismatch: commit, and mark the event so.
    Mismatch {
        /// The payment's row from now on.
        payment: PaymentRecord,
        /// The reason, for an operator.
        reason: String,
    },
    /// The handler failed: roll back, and keep the failure.
    Failed {
        /// Where it failed. Only this decides: `error` may be the merchant's own words.
        cause: Cause,
        /// What went wrong, for the operator.
        error: String,
        /// After which time it is due again. After the last attempt never: it is a dead letter.
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

/// The result of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stepped {
    /// The event is now in this state, by this step.
    Now(EventState),
    /// The event was in this state already.
    Already(EventState),
    /// Its turn has not come.
    Waiting,
    /// The handler failed, and will be called again.
    Failed,
}

/// The result of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Received {
    /// Dealt with now. Answer 200.
    Done(EventState),
    /// Dealt with before. Answer 200.
    Duplicate(EventState),
    /// A test event at a live configuration. Answer 200.
    Ignored,
    /// The handler failed. Answer 500, so that Stripe delivers again.
    Failed,
    /// Stored; a worker runs it. Answer 200.
    Queued,
    /// Another event must come first, as the success before its refund. Answer 503, so that Stripe
    /// delivers again.
    Waiting,
}
