//! The turn to write. SQLite lets one connection write at a time, and others that ask sleep and ask
//! again, in no order. So the tasks of a process stand in a queue of their own first, and only its
//! first one asks SQLite.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::pool::PoolConnection;
use sqlx::sqlite::SqliteRow;
use sqlx::{
    AssertSqlSafe, Connection as _, Row as _, Sqlite, SqliteConnection, SqlitePool, Transaction,
};
use tokio::sync::{Mutex, OwnedMutexGuard};

use super::super::codec::unavailable;
use super::driver::failed;
use crate::error::InboxError;

/// The connection of the one who may write. A connection with an open transaction, or with settings
/// that are not the pool's, goes back to the pool only by [`finish`](Self::finish). It is closed
/// otherwise, and SQLite takes back what was not committed.
pub(super) struct Writer {
    connection: PoolConnection<Sqlite>,
    found: Settings,
    /// Whether the settings are those of the pool.
    is_as_found: bool,
    /// Whether a transaction is open, or may be.
    is_open: bool,
    // Behind the connection: fields are dropped in this order.
    _turn: OwnedMutexGuard<()>,
}

/// The settings of a connection as the merchant's pool made them, which it gets back.
#[derive(Clone, Copy, Default)]
pub(super) struct Settings {
    busy_timeout: i64,
    synchronous: i64,
}

/// The columns of [`Settings::read`].
pub(super) const SETTINGS: &str = "(SELECT journal_mode FROM pragma_journal_mode) AS journal, (SELECT synchronous FROM pragma_synchronous) AS synchronous, (SELECT timeout FROM pragma_busy_timeout) AS busy_timeout";

impl Settings {
    /// Reads the settings, and refuses a file that is not in WAL mode.
    pub(super) fn read(row: &SqliteRow) -> Result<Self, InboxError> {
        is_wal(row.try_get("journal").map_err(unavailable)?)?;
        Ok(Self {
            busy_timeout: row.try_get("busy_timeout").map_err(unavailable)?,
            synchronous: row.try_get("synchronous").map_err(unavailable)?,
        })
    }
}

/// The shortest patience with the pool: a writer without patience needs a connection too.
const LEAST: Duration = Duration::from_secs(1);

/// The longest time-out that SQLite is given.
const LONGEST: Duration = Duration::from_secs(3600);

/// `PRAGMA synchronous = FULL`: a commit survives a power cut.
const FULL: i64 = 2;

impl Writer {
    /// Waits for its turn, in the order of asking. `connection` is used if it is given, with the
    /// settings that were read on it.
    pub(super) async fn new(
        pool: &SqlitePool,
        queue: &Arc<Mutex<()>>,
        connection: Option<(PoolConnection<Sqlite>, Option<Settings>)>,
        until: Instant,
    ) -> Result<Self, InboxError> {
        let turn = match Arc::clone(queue).try_lock_owned() {
            Ok(turn) => Ok((turn, connection)),
            Err(_) => {
                // A task that waits takes nothing of the pool.
                drop(connection);
                let turn = Arc::clone(queue).lock_owned();
                let turn = tokio::time::timeout_at(until.into(), turn).await;
                turn.map(|turn| (turn, None))
            }
        };
        let (turn, connection) = turn.map_err(|_: tokio::time::error::Elapsed| InboxError::Busy)?;
        let (connection, settings) = match connection {
            Some(connection) => connection,
            None => {
                let until = until.max(Instant::now() + LEAST);
                let acquired = tokio::time::timeout_at(until.into(), pool.acquire()).await;
                let acquired = acquired.map_err(|_| InboxError::Busy)?;
                (acquired.map_err(unavailable)?, None)
            }
        };
        let mut writer = Self {
            connection,
            found: settings.unwrap_or_default(),
            is_as_found: true,
            is_open: true,
            _turn: turn,
        };
        if settings.is_none() {
            let sql = AssertSqlSafe(["SELECT ", SETTINGS].concat());
            let read = sqlx::query(sql).fetch_one(&mut *writer.connection).await;
            writer.found = Settings::read(&read.map_err(failed)?)?;
        }
        writer.is_open = false;
        Ok(writer)
    }

    /// The settings with which it writes, as far as the pool's are others.
    fn settings(&mut self, until: Instant) -> String {
        let mut sql = String::new();
        let left = until.saturating_duration_since(Instant::now()).min(LONGEST);
        // The pool's own limit is kept if it is about as long as what is left.
        let own = Duration::from_millis(self.found.busy_timeout.max(0).unsigned_abs());
        if own > left || own < left / 2 || !self.is_as_found {
            self.is_as_found = false;
            sql.push_str(&format!("PRAGMA busy_timeout = {}; ", left.as_millis()));
        }
        if self.found.synchronous < FULL {
            self.is_as_found = false;
            sql.push_str("PRAGMA synchronous = FULL; ");
        }
        sql
    }

    /// Its connection, for one text that begins a transaction and commits it. Each text is a trip
    /// to the connection's thread. The transaction counts as open until
    /// [`committed`](Self::committed).
    pub(super) async fn at_once(
        &mut self,
        until: Instant,
    ) -> Result<&mut SqliteConnection, InboxError> {
        let settings = self.settings(until);
        self.is_open = true;
        if !settings.is_empty() {
            let settings = sqlx::raw_sql(AssertSqlSafe(settings));
            let set = settings.execute(&mut *self.connection).await;
            set.map_err(failed)?;
        }
        Ok(&mut self.connection)
    }

    pub(super) fn committed(&mut self) {
        self.is_open = false;
    }

    /// Begins to write, as soon as no other process does.
    pub(super) async fn begin(&mut self, until: Instant) -> Result<Tx<'_>, InboxError> {
        let mut sql = self.settings(until);
        // At once for writing: a transaction that reads first and writes then is refused without
        // waiting when another one wrote in between.
        sql.push_str("BEGIN IMMEDIATE");
        self.is_open = true;
        let begun = self.connection.begin_with(AssertSqlSafe(sql)).await;
        match begun {
            Ok(tx) => Ok(Tx {
                tx,
                is_open: &mut self.is_open,
                patience_of_others: Duration::from_millis(
                    self.found.busy_timeout.max(0).unsigned_abs(),
                ),
            }),
            Err(error) => Err(failed(error)),
        }
    }

    pub(super) fn db(&mut self) -> &mut SqliteConnection {
        &mut self.connection
    }

    /// Gives the connection back as it was found, and lets the next one write.
    pub(super) async fn finish(&mut self) {
        if self.is_as_found || self.is_open {
            return;
        }
        let Settings {
            busy_timeout,
            synchronous,
        } = self.found;
        let settings =
            format!("PRAGMA busy_timeout = {busy_timeout}; PRAGMA synchronous = {synchronous}");
        let restored = sqlx::raw_sql(AssertSqlSafe(settings))
            .execute(&mut *self.connection)
            .await;
        self.is_as_found = restored.is_ok();
    }
}

/// A transaction for writing. The database is locked for others as long as it is open.
pub(super) struct Tx<'a> {
    tx: Transaction<'a, Sqlite>,
    is_open: &'a mut bool,
    patience_of_others: Duration,
}

impl Tx<'_> {
    /// How long the other connections of the pool wait for a writer, if they are set as this one
    /// was found.
    pub(super) fn patience_of_others(&self) -> Duration {
        self.patience_of_others
    }

    pub(super) fn db(&mut self) -> &mut SqliteConnection {
        &mut self.tx
    }

    pub(super) async fn commit(self) -> Result<(), InboxError> {
        self.tx.commit().await.map_err(failed)?;
        *self.is_open = false;
        Ok(())
    }

    pub(super) async fn rollback(self) -> Result<(), InboxError> {
        self.tx.rollback().await.map_err(failed)?;
        *self.is_open = false;
        Ok(())
    }
}

pub(super) fn is_wal(journal: &str) -> Result<(), InboxError> {
    if journal.eq_ignore_ascii_case("wal") {
        return Ok(());
    }
    Err(unavailable(format!(
        "the inbox needs a database file with `PRAGMA journal_mode = WAL`, which `SqliteInbox::migrate` sets, but this one is in mode `{journal}`"
    )))
}

impl Drop for Writer {
    fn drop(&mut self) {
        if self.is_open || !self.is_as_found {
            self.connection.close_on_drop();
        }
    }
}
