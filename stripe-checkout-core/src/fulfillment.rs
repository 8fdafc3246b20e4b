//! Fulfilment: the merchant's handler, and the inbox that calls it once.
//!
//! The events of a payment come by several ways, repeatedly, concurrently and out of order. So
//! nothing is decided on the way in. A verified event is first committed to an [`Inbox`]. Then
//! *one* step takes it, decides from what is stored, calls the handler and marks the event, all or
//! nothing. `decide.rs` decides, once for every inbox; an inbox only stores and locks.

mod birth;
mod cause;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod codec;
mod debit;
mod decide;
mod decline_limit;
mod due;
mod engine;
mod erased;
mod error_line;
mod future;
mod handler;
mod inbox;
mod inbox_ext;
mod instrument;
mod intake;
mod judge;
mod later;
mod lookup;
mod memory;
mod merge;
mod operation;
mod operator;
mod payment_event;
#[cfg(feature = "postgres")]
mod postgres;
mod recheck;
mod records;
mod retry;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod sql;
#[cfg(feature = "sqlite")]
mod sqlite;
mod step;
mod timed;
mod verdict;

#[cfg(feature = "testing")]
pub(crate) use decide::{Decision, payment_event};
#[cfg(feature = "intent")]
pub(crate) use decide::{is_present, is_session};
#[cfg(feature = "intent")]
pub(crate) use decline_limit::{Cancel, DeclineLimit};
pub use due::{Due, Mismatch};
pub(crate) use engine::{Delivery, Engine, OwnershipRule, Settings};
pub(crate) use erased::Fulfillment;
pub use future::BoxFuture;
pub use handler::{FulfillmentHandler, OnPaid, on_paid};
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
pub use payment_event::PaymentEvent;
#[cfg(feature = "postgres")]
pub use postgres::PostgresInbox;
pub use records::{
    EventFilter, EventRecord, EventState, Found, FulfillmentStatus, IntentRecord, IntentState,
    NewEvent, OrderKey, PaymentRecord, PendingNote, RequestState, Scope, Stats, Stored,
};
#[cfg(feature = "sqlite")]
pub use sqlite::SqliteInbox;
pub(crate) use timed::Timed;
pub use verdict::{Cause, Dispatch, Received, Step, Stepped, Terms, Verdict, Which};
