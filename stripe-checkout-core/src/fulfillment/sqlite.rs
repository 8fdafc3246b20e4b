//! The inbox in a SQLite database: every promise of an inbox, for one machine.

mod driver;
mod handler_transaction;
#[path = "sql/inbox.rs"]
mod inbox;
#[macro_use]
#[path = "sql/rows.rs"]
mod rows;
mod session;
#[path = "sql/upkeep.rs"]
mod upkeep;
mod writer;

use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::pool::PoolConnection;
use sqlx::{Sqlite, SqliteConnection, SqlitePool};
use tokio::sync::Mutex;

use self::driver::{Connection, failed};
use self::writer::{SETTINGS, Writer, is_wal};
use super::later::end_of;
use super::sql::PATIENCE;
use super::sql::statement::Dialect;
use super::sql::tables::{tables, tables_are_known, tables_are_new_enough};
use crate::error::InboxError;

/// An inbox in a SQLite database.
///
/// It uses the same file as the merchant's own tables. So the writes of a handler and the mark that
/// its event is done are one transaction.
///
/// ```no_run
/// # use stripe_checkout_core::fulfillment::SqliteInbox;
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let pool = sqlx::SqlitePool::connect("sqlite://shop.db?mode=rwc").await?;
/// let inbox = SqliteInbox::migrated(pool.clone()).await?;
/// # Ok(()) }
/// ```
///
/// Its tables begin with `stripe_checkout_`. The file must be in WAL mode, which
/// [`migrate`](Self::migrate) sets. The inbox refuses a database in memory, because that would lose
/// everything at a restart. The inbox commits with `synchronous = FULL`, whatever the settings of
/// the pool's connections are.
///
/// # Handlers
/// SQLite has one writer at a time, across all processes. While a handler runs, nothing else can
/// write: no other event, no webhook that waits to be stored, no order of the shop. So a handler
/// should take milliseconds and make no network calls. Its
/// [deadline](crate::CheckoutBuilder::handler_deadline) is 2 s unless you set another. Other
/// writers wait in the order in which they asked, for a few seconds at most.
///
/// A handler must use the connection that it receives, and no other connection to the same
/// database. Another connection would wait for the handler to end, while the handler waits for that
/// connection. The handler must not end the transaction (`COMMIT`, `ROLLBACK`, `ON CONFLICT
/// ROLLBACK`). If it does, none of its writes are kept, and the event becomes a dead letter whose
/// error begins with `broken_transaction`. A nested transaction, by `begin()` of the connection, is
/// a savepoint and is allowed. While the handler runs, the inbox uses the commit hook and the
/// progress handler of the connection.
///
/// At most one connection of the pool writes at any time. Clones share one queue: make one inbox
/// for each file in a process, and clone it.
#[derive(Clone)]
pub struct SqliteInbox {
    pool: SqlitePool,
    queue: Arc<Mutex<()>>,
    dialect: Dialect,
}

impl SqliteInbox {
    /// The connection for reads. Each statement reads the state of one moment.
    async fn read_on<'a>(&self, db: &'a mut Connection) -> Result<&'a mut Connection, InboxError> {
        Ok(db)
    }
}

#[cfg(not(feature = "unstable-inbox"))]
impl super::inbox::sealed::Sealed for SqliteInbox {}

impl std::fmt::Debug for SqliteInbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqliteInbox").finish_non_exhaustive()
    }
}

/// The inbox type in the code that both databases share.
type Store = SqliteInbox;

/// How long a migration waits for other writers.
const MIGRATION_PATIENCE: Duration = Duration::from_secs(30);

/// The pause before a migration tries again.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// The time when the statement began, in microseconds. SQLite's own resolution is a millisecond.
const CLOCK: &str = "CAST(unixepoch('subsec') * 1000000 AS INTEGER)";

impl SqliteInbox {
    /// The statements that create the tables, one for each step, if you run migrations yourself.
    /// Run them in this order. You can run each one again: then it changes nothing. The file must
    /// also be in WAL mode.
    pub const MIGRATIONS: &[&str] = &[tables! {
        text: "TEXT",
        integer: "INTEGER",
        flag: "INTEGER",
        bytes: "BLOB",
        end: " STRICT",
        bodies: " STRICT",
        keyed: " STRICT, WITHOUT ROWID",
    }];

    /// Creates an inbox in the database of this pool, makes its tables and sets the file to WAL
    /// mode: see [`migrate`](Self::migrate).
    ///
    /// # Errors
    /// As [`migrate`](Self::migrate).
    pub async fn migrated(pool: SqlitePool) -> Result<Self, InboxError> {
        let inbox = Self::new(pool);
        inbox.migrate().await?;
        Ok(inbox)
    }

    /// Opens an inbox whose tables are already in the database of this pool: see
    /// [`check`](Self::check).
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub async fn open(pool: SqlitePool) -> Result<Self, InboxError> {
        let inbox = Self::new(pool);
        inbox.check().await?;
        Ok(inbox)
    }

    /// Creates an inbox in the database of this pool, without any access to it yet: see
    /// [`migrate`](Self::migrate).
    pub fn new(pool: SqlitePool) -> Self {
        Self {
            pool,
            queue: Arc::default(),
            dialect: Dialect {
                prefix: "stripe_checkout_".into(),
                now: CLOCK,
                clock: CLOCK,
                skip_locked: "",
                // Begins as a writer at once: see `Writer::begin`.
                settings: "BEGIN IMMEDIATE; ",
                from_settings: "",
                end: "; COMMIT",
                outside: "TRUE",
                keeps_statements: true,
                of_connection: SETTINGS,
            },
        }
    }

    /// Creates the tables, or the missing part of them, and sets the file to WAL mode. You can call
    /// it at every start, from several processes at once.
    ///
    /// # Errors
    /// [`InboxError::Unavailable`]; [`InboxError::NewerTables`]; [`InboxError::Busy`] if the
    /// database stays locked for 30 s.
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

    /// Checks the tables and the file's mode, and changes nothing.
    ///
    /// # Errors
    /// [`InboxError::OlderTables`] if the tables are missing or were made by an older version of
    /// this crate, [`InboxError::NewerTables`], [`InboxError::Unavailable`].
    pub async fn check(&self) -> Result<(), InboxError> {
        let mut connection = self.reader().await?;
        let journal: String = sqlx::query_scalar("PRAGMA journal_mode")
            .fetch_one(&mut *connection)
            .await
            .map_err(failed)?;
        let found = version(&mut connection).await?;
        tables_are_known(found, Self::MIGRATIONS.len())?;
        tables_are_new_enough(found, Self::MIGRATIONS.len())?;
        is_wal(&journal)
    }

    async fn migrate_once(&self, until: Instant) -> Result<(), InboxError> {
        let mut connection = self.pool.acquire().await.map_err(failed)?;
        let journal: String = sqlx::query_scalar("PRAGMA journal_mode = WAL")
            .fetch_one(&mut *connection)
            .await
            .map_err(failed)?;
        // Usually there is nothing to do. Then the migration waits for no other writer.
        let found = version(&mut connection).await?;
        tables_are_known(found, Self::MIGRATIONS.len())?;
        if found == Self::MIGRATIONS.len() {
            return is_wal(&journal);
        }
        drop(connection);
        let mut writer = Writer::new(&self.pool, &self.queue, None, until).await?;
        let mut tx = writer.begin(until).await?;
        let done = version(tx.db()).await?;
        tables_are_known(done, Self::MIGRATIONS.len())?;
        for migration in Self::MIGRATIONS.iter().skip(done) {
            sqlx::raw_sql(*migration)
                .execute(tx.db())
                .await
                .map_err(failed)?;
        }
        tx.commit().await?;
        writer.finish().await;
        Ok(())
    }

    /// A connection for reading. The pool's own limit may be half a minute, which is longer than
    /// Stripe waits for a response.
    async fn reader(&self) -> Result<PoolConnection<Sqlite>, InboxError> {
        let acquired = tokio::time::timeout(PATIENCE, self.pool.acquire()).await;
        let acquired = acquired.unwrap_or(Err(sqlx::Error::PoolTimedOut));
        acquired.map_err(failed)
    }

    /// The file of the database.
    fn place(&self) -> String {
        let options = self.pool.connect_options();
        format!("SQLite {}", options.get_filename().display())
    }

    /// A connection for writing. Callers get it in the order in which they asked.
    async fn hold(&self) -> Result<Writer, InboxError> {
        Writer::new(&self.pool, &self.queue, None, end_of(PATIENCE)).await
    }
}

/// The number of migrations that the database has. It exceeds this crate's number if a later
/// version of the crate migrated the database.
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
