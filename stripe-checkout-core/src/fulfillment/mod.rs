//! What happens when money arrives: the merchant's hook, and the inbox that makes it happen once.
//!
//! A payment's news comes by several ways, repeatedly, concurrently and out of order. So nothing is decided on the way in: a verified event is first
//! committed to an [`Inbox`], then *one* step takes it, decides from what is stored, runs the hook and marks the event, all or nothing.
//! What to decide is in `decide.rs`, once for every inbox; an inbox only stores and locks.

mod decide;
mod declines;
mod engine;
mod fresh;
mod handler;
mod inbox;
mod memory;
mod operation;
#[cfg(feature = "postgres")]
mod postgres;
mod retry;
mod settle;
#[cfg(feature = "sqlite")]
mod sqlite;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod stored;
mod timed;
mod watch;

use std::pin::Pin;

#[cfg(feature = "intent")]
pub(crate) use decide::{is_present, is_session};
#[cfg(feature = "intent")]
pub(crate) use declines::{Cancel, Declines};
pub use engine::Received;
#[cfg(feature = "intent")]
pub(crate) use engine::row_of;
pub(crate) use engine::{Delivery, Engine, Fulfillment, Lookup, OursRule, Settings};
pub use handler::{Due, FulfillmentHandler, Mismatch, OnPaid, on_paid};
pub use inbox::{
    Dispatch, EventFilter, EventRecord, EventState, Inbox, IntentRecord, IntentState, NewEvent,
    Note, OrderKey, PaymentRecord, Scope, Settled, Stats, Step, Stepped, Terms, Turn, Verdict,
};
pub use memory::MemoryInbox;
pub use operation::{OperationKey, OperationRecord, OperationState};
#[cfg(feature = "postgres")]
pub use postgres::PostgresInbox;
#[cfg(feature = "sqlite")]
pub use sqlite::SqliteInbox;
pub(crate) use timed::Timed;

/// A future whose type is gone.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;
