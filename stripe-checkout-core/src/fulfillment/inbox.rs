//! The storage and the locks of an inbox. An inbox decides nothing: the engine does, once for every
//! inbox.

use std::time::{Duration, SystemTime};

use super::operation::{OperationKey, OperationRecord};
use super::records::{
    EventFilter, EventRecord, EventState, Found, IntentRecord, NewEvent, OrderKey, PaymentRecord,
    Scope, Stats, Stored,
};
use super::verdict::{Cause, Terms};
use crate::error::InboxError;

/// Stores events, payments, orders and operations.
///
/// # Promises
/// 1. **One event id, one effect.** The handler's writes through [`Connection`](Self::Connection)
///    and the event's new state commit together, or neither does.
/// 2. **One at a time.** [`Session::begin`] locks the payment, the order and the event, in this
///    order, and reads them under these locks.
/// 3. **Nothing acknowledged is lost.** When [`Session::receive`] returns `Ok`, the event is stored
///    as safely as this inbox stores anything.
/// 4. **Bounded.** Only events that are done or superseded are ever deleted.
///
/// The trait is sealed. The feature `unstable-inbox` opens it, without any promise of stability.
pub trait Inbox: sealed::Sealed + Send + Sync + 'static {
    /// The connection on which a handler may write: the inbox's own transaction, or `()`.
    type Connection: Send;
    /// The work on one event.
    type Session: Session<Connection = Self::Connection>;

    /// Returns the limits of what the inbox promises.
    fn limits(&self) -> Limits;

    /// Identifies the store: inboxes of the same identity hold the same rows.
    fn identity(&self) -> String;

    /// Starts the work on one event. It touches the store only when it is used.
    fn session(&self) -> Self::Session;

    /// Reads a row.
    fn load(&self, key: Key<'_>) -> impl Future<Output = Result<Option<Row>, InboxError>> + Send;

    /// Writes a row if the stored one is still the expected one, and returns whether it did. The
    /// stored version is one higher than the expected one; the first is 1. It waits for running
    /// work on the same order.
    fn swap(&self, swap: Swap<'_>) -> impl Future<Output = Result<bool, InboxError>> + Send;

    /// Lists the events that fit the filter, the newest first.
    fn events(
        &self,
        filter: &EventFilter,
    ) -> impl Future<Output = Result<Vec<EventRecord>, InboxError>> + Send;

    /// Lists the orders whose payment is neither paid nor canceled, sorted by account and
    /// reference, after `after`, at most `most`. Orders that wait for the buyer are listed only if
    /// their row was written since `since`. Orders that are processing are always listed.
    fn open_intents(
        &self,
        scope: &Scope,
        after: Option<&OrderKey>,
        since: SystemTime,
        most: usize,
    ) -> impl Future<Output = Result<Vec<(OrderKey, IntentRecord)>, InboxError>> + Send;

    /// Lists the connected accounts that have an order whose row was written since `since`. They
    /// are sorted by their bytes and come after `after`, at most `most` of them.
    fn accounts(
        &self,
        scope: &Scope,
        after: Option<&str>,
        since: SystemTime,
        most: usize,
    ) -> impl Future<Output = Result<Vec<String>, InboxError>> + Send;

    /// Lists the applications and modes that have a bookmark of this name.
    fn scopes_with_bookmark(
        &self,
        name: &str,
    ) -> impl Future<Output = Result<Vec<Scope>, InboxError>> + Send;

    /// Lists the applications and modes that have a pending event which is due. The worker asks
    /// once a second, so the cost must not grow with the number of events.
    fn due_scopes(&self) -> impl Future<Output = Result<Vec<Scope>, InboxError>> + Send;

    /// Counts events, and payments that an operator should look at.
    fn stats(&self, scope: &Scope) -> impl Future<Output = Result<Stats, InboxError>> + Send;

    /// Deletes up to about `most` events that are done or superseded and were received before
    /// `before`, and returns how many. The payments keep what these events said of them.
    fn prune(
        &self,
        scope: &Scope,
        before: SystemTime,
        most: usize,
    ) -> impl Future<Output = Result<usize, InboxError>> + Send;
}

/// The work on one event, from the look-up to the commit.
pub trait Session: Send {
    /// See [`Inbox::Connection`].
    type Connection: Send;
    /// The transaction in which the handler writes.
    type Transaction<'a>: Transaction<Connection = Self::Connection>
    where
        Self: 'a;

    /// Reads the event, the order of the first payment that has one, and whether the success of
    /// the first payment was ever received.
    fn find(
        &mut self,
        scope: &Scope,
        event: &str,
        payments: [Option<&str>; 2],
    ) -> impl Future<Output = Result<Found, InboxError>> + Send;

    /// Stores an event durably unless its id is known. `None` if it is known. With a lease the
    /// event is claimed at once.
    fn receive(
        &mut self,
        event: &NewEvent,
        lease: Option<Duration>,
    ) -> impl Future<Output = Result<Option<Stored>, InboxError>> + Send;

    /// Claims a pending event for the time of the lease and counts an attempt, durably. `None` if
    /// no event can be claimed. An event that has had all its attempts is claimed too, as
    /// [spent](Stored::is_spent), and no attempt is counted.
    fn claim(
        &mut self,
        scope: &Scope,
        which: Claim<'_>,
        terms: Terms,
    ) -> impl Future<Output = Result<Option<Stored>, InboxError>> + Send;

    /// Gives back an attempt that ran no handler. If the claim still holds, the event is due after
    /// `again`, or at the due time of `claimed`.
    fn give_back(
        &mut self,
        claimed: &Stored,
        again: Option<Duration>,
    ) -> impl Future<Output = Result<(), InboxError>> + Send;

    /// Begins the transaction: locks the payment, the order and the event, in this order, and reads
    /// them. All waits together take at most `patience`. `None` if the event is not stored.
    fn begin(
        &mut self,
        event: &EventRecord,
        patience: Duration,
    ) -> impl Future<Output = Result<Option<(Self::Transaction<'_>, Locked)>, InboxError>> + Send;

    /// Ends the work.
    fn finish(self) -> impl Future<Output = ()> + Send;
}

/// The transaction in which the handler writes. If it is dropped, it is rolled back.
pub trait Transaction: Send {
    /// See [`Inbox::Connection`].
    type Connection: Send;

    /// Reads the states of the other event objects of the same success, under the locks.
    fn copies(
        &mut self,
        event: &EventRecord,
    ) -> impl Future<Output = Result<Vec<EventState>, InboxError>> + Send;

    /// Puts the handler's work into a savepoint, so that it can be undone. Statements and pauses of
    /// the handler end after `limit`.
    fn protect(&mut self, limit: Duration) -> impl Future<Output = Result<(), InboxError>> + Send;

    /// The connection on which the handler writes, after [`protect`](Self::protect).
    fn connection(&mut self) -> &mut Self::Connection;

    /// Keeps the handler's work, or undoes it if it failed.
    fn end(
        &mut self,
        failed: Option<Cause>,
    ) -> impl Future<Output = Result<(), CommitError>> + Send;

    /// Writes the changes and commits them.
    fn commit(self, changes: Changes) -> impl Future<Output = Result<(), CommitError>> + Send;

    /// Ends the transaction without a change.
    fn rollback(self) -> impl Future<Output = Result<(), InboxError>> + Send;

    /// Whether the database knows that nothing of this transaction was kept.
    fn was_undone(
        &mut self,
        transaction: i64,
    ) -> impl Future<Output = Result<bool, InboxError>> + Send;
}

/// The promises of an inbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Whether the rows outlive the process.
    pub survives_restart: bool,
    /// Whether it may hold live money.
    pub accepts_live: bool,
    /// How long a handler may run, unless
    /// [`handler_deadline`](crate::CheckoutBuilder::handler_deadline) says otherwise.
    pub handler_deadline: Duration,
    /// Whether a running handler keeps all others from writing.
    pub has_one_writer: bool,
}

impl Limits {
    /// The limits of an inbox that survives a restart, with a handler's deadline of 20 s.
    pub const DURABLE: Self = Self {
        survives_restart: true,
        accepts_live: true,
        handler_deadline: Duration::from_secs(20),
        has_one_writer: false,
    };
}

/// Which row to read.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Key<'a> {
    /// An order.
    Order(&'a OrderKey),
    /// The order to which a payment belongs. The payment is the order's present one, an earlier
    /// one, or one that an event named.
    OrderOf(&'a Scope, &'a str),
    /// A payment.
    Payment(&'a Scope, &'a str),
    /// An event.
    Event(&'a Scope, &'a str),
    /// An operation at Stripe.
    Operation(&'a OperationKey),
    /// A bookmark: the position up to which the core has read something.
    Bookmark(&'a Scope, &'a str),
}

/// A row.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Row {
    /// See [`Key::Order`].
    Order(IntentRecord),
    /// See [`Key::OrderOf`].
    OrderOf(OrderKey, IntentRecord),
    /// See [`Key::Payment`].
    Payment(PaymentRecord),
    /// See [`Key::Event`].
    Event(EventRecord),
    /// See [`Key::Operation`].
    Operation(OperationRecord),
    /// See [`Key::Bookmark`].
    Bookmark(String),
}

/// The row to write, and the version or value that it replaces. `None` expects that there is no
/// row.
#[derive(Debug)]
#[non_exhaustive]
pub enum Swap<'a> {
    /// The row of an order, if it has this version.
    Order(&'a OrderKey, Option<u64>, IntentRecord),
    /// The row of an operation, if it has this version. It is never deleted.
    Operation(&'a OperationKey, Option<u64>, OperationRecord),
    /// A bookmark, if it has this value.
    Bookmark(&'a Scope, &'a str, Option<&'a str>, &'a str),
}

/// Which event to claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Claim<'a> {
    /// This event, although it may be due later. It is not claimed if it has had this many attempts
    /// or more, unless the process that claimed it last is gone.
    Now(&'a str, u32),
    /// This event, if it is due.
    IfDue(&'a str),
    /// The event that has been due for the longest time.
    Due,
}

/// The facts on which an attempt bases its decision, read under the locks.
#[derive(Debug)]
#[cfg_attr(not(feature = "unstable-inbox"), non_exhaustive)]
pub struct Locked {
    /// The event.
    pub event: Stored,
    /// All that is known of the payment.
    pub payment: PaymentRecord,
    /// The order's row.
    pub order: Option<IntentRecord>,
    /// The transaction, if the database can tell later whether it was kept.
    pub transaction: Option<i64>,
}

/// The changes of an attempt.
#[derive(Debug, Clone)]
#[cfg_attr(not(feature = "unstable-inbox"), non_exhaustive)]
pub struct Changes {
    /// The event as it is from now on: `state`, `attempts` and `last_error`. The claim ends.
    pub event: EventRecord,
    /// The time after which the event is due. `None`: as before.
    pub due: Option<Duration>,
    /// The payment as it is from now on.
    pub payment: PaymentRecord,
    /// The order as it is from now on, if it changes.
    pub order: Option<IntentRecord>,
}

/// The reason why the handler's work could not be kept or undone.
#[derive(Debug)]
pub enum CommitError {
    /// The database refused the handler's work. The work is undone, and the transaction is still
    /// open.
    Refused(String),
    /// The connection or the transaction is lost, and nothing was kept.
    Lost(String),
    /// The handler ended the transaction. The database says that nothing was kept.
    Ended(String),
    /// The transaction no longer exists. This number tells later whether it was kept.
    Gone(Option<i64>),
}

pub(super) mod sealed {
    /// Only the crate's own types are inboxes, unless `unstable-inbox` opens the trait.
    pub trait Sealed {}

    #[cfg(feature = "unstable-inbox")]
    impl<T: ?Sized> Sealed for T {}
}

impl From<CommitError> for InboxError {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Refused(text) | CommitError::Lost(text) | CommitError::Ended(text) => {
                Self::Unavailable(text.into())
            }
            CommitError::Gone(_) => Self::Unavailable("the transaction is gone".into()),
        }
    }
}
