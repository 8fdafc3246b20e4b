//! The inbox in a SQLite database: every promise of [`Inbox`], for one machine.

mod contain;
mod operations;
mod rows;
mod step;
mod upkeep;
mod writer;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use sqlx::pool::PoolConnection;
use sqlx::{Sqlite, SqliteConnection, SqlitePool};
use tokio::sync::Mutex;

use self::rows::failed;
use self::step::Tried;
use self::writer::{Writer, is_wal};
use super::inbox::{
    Dispatch, EventFilter, EventRecord, EventState, Inbox, IntentRecord, NewEvent, OrderKey,
    PaymentRecord, Scope, Stats, Step, Stepped, Terms, Turn,
};
use super::later::end_of;
use super::operation::{OperationKey, OperationRecord};
use super::settle;
use super::stored::{time, unavailable};
use crate::error::InboxError;

/// An inbox in a SQLite database, in the same file as the merchant's own tables, so that what a handler writes and the mark that its event is done are one
/// transaction.
///
/// ```no_run
/// # use stripe_checkout_core::fulfillment::SqliteInbox;
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let pool = sqlx::SqlitePool::connect("sqlite://shop.db?mode=rwc").await?;
/// let inbox = SqliteInbox::migrated(pool.clone()).await?;
/// # Ok(()) }
/// ```
///
/// Its tables begin with `stripe_checkout_`. The file must be in WAL mode, which [`migrate`](Self::migrate) sets; an inbox in memory would forget at a restart, and is refused.
/// What it commits it writes with `synchronous = FULL`, whatever the pool's connections are set to.
///
/// # Handlers
/// SQLite has one writer at a time, in all processes together. While a handler runs, nobody else writes: no other event, no webhook that is to be stored, no order of
/// the shop's. So a handler should take milliseconds: no network in it. Its [deadline](crate::CheckoutBuilder::handler_deadline) is 2 s unless you set another.
/// Who waits, waits in the order of asking, and no more than a few seconds.
///
/// A handler uses the connection that it is given, and no other one to the same database: that one waits until the handler ends, which waits for it. It must not end
/// the transaction (`COMMIT`, `ROLLBACK`, `ON CONFLICT ROLLBACK`): then nothing of it is kept, and the event is a dead letter that begins with `broken_transaction`. A
/// transaction inside of it, by `begin()` of the connection, is a savepoint, and welcome. While the handler runs, the connection's commit hook and progress handler
/// are the inbox's.
///
/// At most one connection of the pool is used for writing at any time. Clones share their place in the queue: make one inbox for each file in a process and clone it.
#[derive(Clone)]
pub struct SqliteInbox {
    pool: SqlitePool,
    queue: Arc<Mutex<()>>,
}

impl std::fmt::Debug for SqliteInbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqliteInbox").finish_non_exhaustive()
    }
}

/// While a hook runs nobody else writes, in no process.
const HANDLER_DEADLINE: Duration = Duration::from_secs(2);

/// The longest wait for a connection of the pool, and of an event for its turn to be stored. Stripe
/// waits longer for an answer.
const PATIENCE: Duration = Duration::from_secs(8);

/// How long a migration waits for others.
const MIGRATION_PATIENCE: Duration = Duration::from_secs(30);

/// How long to wait before it is looked again whether another process still has an event.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

impl SqliteInbox {
    /// The statements that make its tables, a step each, to be run in this order: for whoever runs migrations by himself. Each may be run again and changes nothing then.
    /// The file must be in WAL mode besides.
    pub const MIGRATIONS: &[&str] = &[include_str!("sqlite/1.sql")];

    /// An inbox in the database of this pool, with its tables and the file in WAL mode: see
    /// [`migrate`](Self::migrate).
    ///
    /// # Errors
    /// As [`migrate`](Self::migrate).
    pub async fn migrated(pool: SqlitePool) -> Result<Self, InboxError> {
        let inbox = Self::new(pool);
        inbox.migrate().await?;
        Ok(inbox)
    }

    /// An inbox in the database of this pool, which it does not touch yet: see [`migrate`](Self::migrate).
    pub fn new(pool: SqlitePool) -> Self {
        Self {
            pool,
            queue: Arc::default(),
        }
    }

    /// Makes its tables, or what is new in them, and sets the file to WAL mode. It may be run at every start, by several processes at once.
    ///
    /// # Errors
    /// [`InboxError::Unavailable`]; [`InboxError::Busy`] if the database stays locked for 30 s.
    pub async fn migrate(&self) -> Result<(), InboxError> {
        let until = Instant::now() + MIGRATION_PATIENCE;
        loop {
            match self.migrate_once(until).await {
                // SQLite does not wait for others when the mode of the file changes.
                Err(InboxError::Busy) if Instant::now() < until => {
                    tokio::time::sleep(LOOK_AGAIN).await;
                }
                ended => return ended,
            }
        }
    }

    async fn migrate_once(&self, until: Instant) -> Result<(), InboxError> {
        let mut connection = self.pool.acquire().await.map_err(failed)?;
        let journal: String = sqlx::query_scalar("PRAGMA journal_mode = WAL")
            .fetch_one(&mut *connection)
            .await
            .map_err(failed)?;
        // Most times nothing is to be done: then nobody is waited for.
        if version(&mut connection).await? >= Self::MIGRATIONS.len() {
            return is_wal(&journal);
        }
        drop(connection);
        let mut writer = self.writer(until).await?;
        let mut tx = writer.begin(until).await?;
        let done = version(&mut tx).await?;
        for migration in Self::MIGRATIONS.iter().skip(done) {
            sqlx::raw_sql(*migration)
                .execute(&mut *tx)
                .await
                .map_err(failed)?;
        }
        tx.commit().await.map_err(failed)?;
        writer.finish().await;
        Ok(())
    }

    /// A connection for reading. The pool itself may wait for half a minute, which is longer than
    /// Stripe waits for an answer.
    async fn conn(&self) -> Result<PoolConnection<Sqlite>, InboxError> {
        let acquired = tokio::time::timeout(PATIENCE, self.pool.acquire()).await;
        let acquired = acquired.unwrap_or(Err(sqlx::Error::PoolTimedOut));
        acquired.map_err(failed)
    }

    async fn writer(&self, until: Instant) -> Result<Writer, InboxError> {
        Writer::new(&self.pool, &self.queue, until).await
    }
}

impl Inbox for SqliteInbox {
    type Connection = SqliteConnection;

    fn survives_restart(&self) -> bool {
        true
    }

    fn handler_deadline(&self) -> Duration {
        HANDLER_DEADLINE
    }

    async fn intent(&self, order: &OrderKey) -> Result<Option<IntentRecord>, InboxError> {
        let mut db = self.conn().await?;
        rows::intent(&mut db, order).await
    }

    async fn put_intent(
        &self,
        order: &OrderKey,
        expected: Option<u64>,
        mut record: IntentRecord,
    ) -> Result<bool, InboxError> {
        let until = Instant::now() + PATIENCE;
        record.version = expected.map_or(1, |version| version + 1);
        let mut writer = self.writer(until).await?;
        let mut tx = writer.begin(until).await?;
        let done = rows::put_intent(&mut tx, order, &record, expected).await?;
        tx.commit().await.map_err(failed)?;
        writer.finish().await;
        Ok(done)
    }

    async fn intent_of_payment(
        &self,
        scope: &Scope,
        payment: &str,
    ) -> Result<Option<(OrderKey, IntentRecord)>, InboxError> {
        let mut db = self.conn().await?;
        rows::intent_of_payment(&mut db, scope, payment).await
    }

    async fn payment(
        &self,
        scope: &Scope,
        payment: &str,
    ) -> Result<Option<PaymentRecord>, InboxError> {
        let mut db = self.conn().await?;
        let known = rows::payment(&mut db, scope, payment).await?;
        Ok(known.is_known().then_some(known.record))
    }

    async fn event(&self, scope: &Scope, event: &str) -> Result<Option<EventRecord>, InboxError> {
        let mut db = self.conn().await?;
        let stored = rows::event(&mut db, scope, event).await?;
        Ok(stored.map(|stored| stored.record))
    }

    async fn receive(&self, event: NewEvent) -> Result<EventRecord, InboxError> {
        let until = Instant::now() + PATIENCE;
        let mut writer = self.writer(until).await?;
        let mut tx = writer.begin(until).await?;
        let new = rows::insert_event(&mut tx, &event).await?;
        if let (true, Some(payment), Some(order)) = (new, &event.payment, &event.order) {
            rows::put_order_of_payment(&mut tx, payment, order).await?;
        }
        let stored = rows::event(&mut tx, &event.scope, &event.id).await?;
        tx.commit().await.map_err(failed)?;
        writer.finish().await;
        stored
            .map(|stored| stored.record)
            .ok_or_else(|| unavailable("an event that was stored cannot be read"))
    }

    async fn step(
        &self,
        scope: &Scope,
        turn: Turn<'_>,
        terms: Terms,
        dispatch: &dyn Dispatch<SqliteConnection>,
    ) -> Result<Option<Step>, InboxError> {
        let until = end_of(terms.patience);
        let mut first = None;
        loop {
            // Reading waits for nobody: who has nothing to do does not stand in the queue.
            let seen = match self.look(scope, turn).await? {
                Looked::Nothing(step) => return Ok(step.map(|step| *step)),
                Looked::Pending(seen) => &*first.get_or_insert(seen),
            };
            let mut writer = self.writer(until).await?;
            let tried =
                step::try_once(&mut writer, scope, turn, seen, terms, until, dispatch).await;
            match tried {
                Ok(tried) => {
                    writer.finish().await;
                    match tried {
                        Tried::Nobody => return Ok(None),
                        Tried::Ended(step) => return Ok(Some(*step)),
                        Tried::Elsewhere => {}
                    }
                }
                Err(error) => {
                    if matches!(error, InboxError::Busy) {
                        writer.finish().await;
                    }
                    return Err(error);
                }
            }
            if Instant::now() >= until {
                return Err(InboxError::Busy);
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    async fn events(&self, filter: &EventFilter) -> Result<Vec<EventRecord>, InboxError> {
        let mut db = self.conn().await?;
        rows::events(&mut db, filter).await
    }

    async fn replay(
        &self,
        scope: &Scope,
        event: &str,
        patience: Duration,
    ) -> Result<(), InboxError> {
        let until = end_of(patience);
        let mut writer = self.writer(until).await?;
        let mut tx = writer.begin(until).await?;
        let mut event = to_decide_anew(&mut tx, scope, event).await?;
        if let Some(payment) = &event.record.payment {
            let known = rows::payment(&mut tx, scope, payment).await?;
            if let Some(success) = settle::replayed(&event.record, known.record.success) {
                let record = PaymentRecord {
                    success,
                    ..known.record.clone()
                };
                rows::put_payment(&mut tx, scope, payment, &record, &known).await?;
            }
        }
        event.record.state = EventState::Pending;
        event.record.attempts = 0;
        event.record.due = SystemTime::now();
        // Whoever took it before, and has not begun, begins anew.
        event.claim += 1;
        event.taken = false;
        rows::update_event(&mut tx, &event).await?;
        tx.commit().await.map_err(failed)?;
        writer.finish().await;
        Ok(())
    }

    async fn discard(
        &self,
        scope: &Scope,
        event: &str,
        patience: Duration,
    ) -> Result<(), InboxError> {
        let until = end_of(patience);
        let mut writer = self.writer(until).await?;
        let mut tx = writer.begin(until).await?;
        let mut event = to_decide_anew(&mut tx, scope, event).await?;
        event.record.state = EventState::Dropped;
        event.taken = false;
        rows::update_event(&mut tx, &event).await?;
        step::give_up(&mut tx, &event, settle::dropped).await?;
        tx.commit().await.map_err(failed)?;
        writer.finish().await;
        Ok(())
    }

    async fn stats(&self, scope: &Scope) -> Result<Stats, InboxError> {
        let mut db = self.conn().await?;
        upkeep::stats(&mut db, scope).await
    }

    async fn prune(
        &self,
        scope: &Scope,
        before: SystemTime,
        most: usize,
    ) -> Result<usize, InboxError> {
        let until = Instant::now() + PATIENCE;
        let mut writer = self.writer(until).await?;
        let mut tx = writer.begin(until).await?;
        let forgotten = upkeep::prune(&mut tx, scope, before, most).await?;
        tx.commit().await.map_err(failed)?;
        writer.finish().await;
        Ok(forgotten)
    }

    async fn open_intents(
        &self,
        scope: &Scope,
        after: Option<&OrderKey>,
        since: SystemTime,
        most: usize,
    ) -> Result<Vec<(OrderKey, IntentRecord)>, InboxError> {
        let mut db = self.conn().await?;
        upkeep::open_intents(&mut db, scope, after, since, most).await
    }

    async fn accounts(
        &self,
        scope: &Scope,
        after: Option<&str>,
        since: SystemTime,
        most: usize,
    ) -> Result<Vec<String>, InboxError> {
        let mut db = self.conn().await?;
        upkeep::accounts(&mut db, scope, after, since, most).await
    }

    async fn operation(&self, key: &OperationKey) -> Result<Option<OperationRecord>, InboxError> {
        let mut db = self.conn().await?;
        operations::read(&mut db, key).await
    }

    async fn put_operation(
        &self,
        key: &OperationKey,
        expected: Option<u64>,
        mut record: OperationRecord,
    ) -> Result<bool, InboxError> {
        let until = Instant::now() + PATIENCE;
        record.version = expected.map_or(1, |version| version + 1);
        let mut writer = self.writer(until).await?;
        let mut tx = writer.begin(until).await?;
        let done = operations::write(&mut tx, key, &record, expected).await?;
        tx.commit().await.map_err(failed)?;
        writer.finish().await;
        Ok(done)
    }

    async fn bookmark(&self, scope: &Scope, name: &str) -> Result<Option<String>, InboxError> {
        let mut db = self.conn().await?;
        upkeep::bookmark(&mut db, scope, name).await
    }

    async fn put_bookmark(
        &self,
        scope: &Scope,
        name: &str,
        expected: Option<&str>,
        value: &str,
    ) -> Result<bool, InboxError> {
        let until = Instant::now() + PATIENCE;
        let mut writer = self.writer(until).await?;
        let mut tx = writer.begin(until).await?;
        let done = upkeep::put_bookmark(&mut tx, scope, name, expected, value).await?;
        tx.commit().await.map_err(failed)?;
        writer.finish().await;
        Ok(done)
    }

    async fn scopes_with_bookmark(&self, name: &str) -> Result<Vec<Scope>, InboxError> {
        let mut db = self.conn().await?;
        upkeep::scopes_with_bookmark(&mut db, name).await
    }
}

/// What there is to be done.
enum Looked {
    /// Nothing: this is what the step gives.
    Nothing(Option<Box<Step>>),
    /// This event, which may be run.
    Pending(Box<rows::Stored>),
}

impl SqliteInbox {
    async fn look(&self, scope: &Scope, turn: Turn<'_>) -> Result<Looked, InboxError> {
        let mut db = self.conn().await?;
        let event = match turn {
            Turn::Now(id) | Turn::IfDue(id) => rows::event(&mut db, scope, id)
                .await?
                .ok_or(InboxError::UnknownEvent)?,
            Turn::Due => match rows::due(&mut db, scope, time(SystemTime::now())).await? {
                Some(event) => event,
                None => return Ok(Looked::Nothing(None)),
            },
        };
        let state = event.record.state;
        if state != EventState::Pending {
            let step = Step::new(event.record, Stepped::Already(state));
            return Ok(Looked::Nothing(Some(Box::new(step))));
        }
        if matches!(turn, Turn::IfDue(_)) && event.record.due > SystemTime::now() {
            return Ok(Looked::Nothing(None));
        }
        Ok(Looked::Pending(Box::new(event)))
    }
}

/// How many migrations the database has seen: more than there are, if a later version of this crate was there.
async fn version(db: &mut SqliteConnection) -> Result<usize, InboxError> {
    let any: bool = sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'stripe_checkout_migrations')",
    )
    .fetch_one(&mut *db)
    .await
    .map_err(failed)?;
    if !any {
        return Ok(0);
    }
    let version: i64 =
        sqlx::query_scalar("SELECT coalesce(max(version), 0) FROM stripe_checkout_migrations")
            .fetch_one(db)
            .await
            .map_err(failed)?;
    Ok(usize::try_from(version).unwrap_or_default())
}

/// The event, if an operator may still decide about it.
async fn to_decide_anew(
    db: &mut SqliteConnection,
    scope: &Scope,
    id: &str,
) -> Result<rows::Stored, InboxError> {
    let event = rows::event(db, scope, id).await?;
    let event = event.ok_or(InboxError::UnknownEvent)?;
    match event.record.state {
        EventState::Pending | EventState::Dead | EventState::Mismatch => Ok(event),
        other => Err(InboxError::WrongState {
            state: other.as_str(),
        }),
    }
}
