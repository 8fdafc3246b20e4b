//! How a run of the reconciler ended: its counts, and the parts that failed.

use std::fmt;
use std::time::Duration;

use thiserror::Error;

use crate::error::InboxError;
use crate::stripe::ApiError;

/// The report of a run of the [`Reconciler`](crate::Reconciler).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reconciled {
    /// How many stored events were due and tried again, before Stripe was asked for anything. They
    /// had failed, or were queued.
    pub redriven: u64,
    /// How many events Stripe listed. An hour of them it lists each time.
    pub events: u64,
    /// How many connected accounts had their list of events received to its end.
    pub accounts: u64,
    /// How many orders that may still be paid Stripe was asked for.
    pub intents: u64,
    /// How many of these are paid, canceled, or authorised.
    pub settled: u64,
    /// How many of these are on their way, or are not any more, and the inbox did not know.
    pub changed: u64,
    /// How many orders, and lists of connected accounts, Stripe does not know or does not tell of:
    /// the keys are others now, the account was disconnected, or the answer could not be read.
    pub unknown: u64,
    /// How many events and settled payments the inbox had not heard of: what webhooks had lost.
    pub new: u64,
    /// How many of all these ran, superseded ones too. In a
    /// [`queued`](crate::CheckoutBuilder::queued) checkout none: its worker runs them.
    pub run: u64,
    /// How many failed. They stay in the inbox, with their attempts and their pauses, or are dead
    /// letters.
    pub failed: u64,
    /// How many wait in the inbox: for their turn, for the end of their pause, for a worker, or for
    /// other work on the same payment.
    pub waiting: u64,
    /// Whether the run stopped at [`max_requests`](crate::Reconciler::max_requests) or at Stripe's
    /// rate limit. The next run goes on there.
    pub limited: bool,
    /// How long it took.
    pub took: Duration,
}

/// Why a run of the [reconciler](crate::Checkout::reconcile) did not do all of its work. The next
/// run goes on where this one stopped.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ReconcileError {
    /// This checkout was built without pricing and keys, so it cannot ask Stripe.
    #[error("a checkout without pricing and keys cannot ask Stripe what it missed")]
    NoPricing,
    /// The inbox forgets at a restart: what Stripe tells of last week would be done again.
    #[error(
        "MemoryInbox forgets everything at a restart, so orders would be fulfilled again: use SqliteInbox or PostgresInbox"
    )]
    Forgetful,
    /// Stripe, or the way to it.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// The inbox could not take in what Stripe told.
    #[error(transparent)]
    Inbox(#[from] InboxError),
    /// Some parts of the run failed. The other parts did their work.
    #[error("some parts of the reconciliation failed: {}", list(.failures))]
    Incomplete {
        /// The work that was done.
        report: Box<Reconciled>,
        /// The parts that failed, at least one.
        failures: Vec<ReconcileFailure>,
    },
}

/// A part of the [reconciler](crate::Checkout::reconcile)'s work. None needs the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReconcilePart {
    /// Running events that are stored and due.
    DueEvents,
    /// Reading Stripe's list of events of the merchant's own account.
    EventList,
    /// Reading the lists of events of the connected accounts.
    AccountEvents,
    /// Looking at every order that may still be paid.
    Orders,
}

/// A part of a run that failed.
#[derive(Debug)]
#[non_exhaustive]
pub struct ReconcileFailure {
    /// Which part.
    pub part: ReconcilePart,
    /// How many events, accounts or orders failed.
    pub count: u64,
    /// The connected account of the first one that failed.
    pub account: Option<String>,
    /// The reference of the first order that failed.
    pub order: Option<String>,
    /// The first error: [`Api`](ReconcileError::Api) or [`Inbox`](ReconcileError::Inbox).
    pub error: ReconcileError,
}

impl fmt::Display for ReconcileFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            part,
            count,
            account,
            order,
            error,
        } = self;
        match (part, order.as_ref().or(account.as_ref())) {
            (ReconcilePart::DueEvents, _) => write!(f, "events that are due: {error}"),
            (ReconcilePart::EventList, _) => write!(f, "Stripe's list of events: {error}"),
            (ReconcilePart::AccountEvents, Some(account)) => write!(
                f,
                "events of connected accounts ({count} failed, the first of {account}): {error}"
            ),
            (ReconcilePart::AccountEvents, None) => {
                write!(f, "events of connected accounts: {error}")
            }
            (ReconcilePart::Orders, Some(order)) => {
                write!(f, "orders ({count} failed, the first is {order}): {error}")
            }
            (ReconcilePart::Orders, None) => write!(f, "orders: {error}"),
        }
    }
}

fn list(failures: &[ReconcileFailure]) -> String {
    let failures: Vec<_> = failures.iter().map(ToString::to_string).collect();
    failures.join("; ")
}
