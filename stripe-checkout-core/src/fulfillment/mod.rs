//! What happens when money arrives: the merchant's hook, and the inbox that makes it happen once.
//!
//! A payment's news comes by several ways, repeatedly, concurrently and out of order. So nothing is decided on the way in: a verified event is first
//! committed to an [`Inbox`], then *one* step takes it, decides from what is stored, runs the hook and marks the event, all or nothing.
//! What to decide is in `decide.rs`, once for every inbox; an inbox only stores and locks.

mod birth;
mod cause;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod codec;
mod debit;
mod decide;
mod declines;
mod engine;
mod fresh;
mod handler;
mod inbox;
mod inbox_ext;
mod intake;
mod judge;
mod later;
mod lookup;
mod memory;
mod merge;
mod operation;
mod operator;
#[cfg(feature = "postgres")]
mod postgres;
mod records;
mod retry;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod sql;
#[cfg(feature = "sqlite")]
mod sqlite;
mod step;
mod timed;
mod verdict;
mod watch;

use std::pin::Pin;

#[cfg(feature = "intent")]
pub(crate) use decide::{is_present, is_session};
#[cfg(feature = "intent")]
pub(crate) use declines::{Cancel, Declines};
pub use engine::Received;
pub(crate) use engine::{Delivery, Engine, Fulfillment, OursRule, Settings};
pub use handler::{Due, FulfillmentHandler, Mismatch, OnPaid, on_paid};
pub use inbox::{
    Changes, Claim, CommitError, Inbox, Key, Limits, Locked, Row, Session, Swap, Transaction,
};
pub use inbox_ext::InboxExt;
#[cfg(feature = "intent")]
pub(crate) use judge::row_of;
pub(crate) use lookup::Lookup;
#[cfg(feature = "intent")]
pub(crate) use lookup::{Answer, Standing};
pub use memory::MemoryInbox;
pub use operation::{OperationKey, OperationKind, OperationRecord, OperationState};
#[cfg(feature = "postgres")]
pub use postgres::PostgresInbox;
#[cfg(feature = "sqlite")]
pub use sqlite::SqliteInbox;
pub use records::{
    EventFilter, EventRecord, EventState, Found, IntentRecord, IntentState, NewEvent, Note,
    OrderKey, PaymentRecord, RequestState, Scope, Settled, Stats, Stored,
};
pub(crate) use timed::Timed;
pub use verdict::{Cause, Dispatch, Step, Stepped, Terms, Turn, Verdict};

/// A future whose type is gone.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;
