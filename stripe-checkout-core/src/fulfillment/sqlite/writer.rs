//! Who may write. SQLite lets one connection write at a time, and whoever asks for it in vain sleeps and asks again, in no order: so the tasks of a process stand
//! in a queue of their own first, and only its first one asks SQLite.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::pool::PoolConnection;
use sqlx::{AssertSqlSafe, Connection, Row, Sqlite, SqlitePool, Transaction};
use tokio::sync::{Mutex, OwnedMutexGuard};

use super::super::stored::unavailable;
use super::rows::failed;
use crate::error::InboxError;

/// A connection of the pool, for the one who may write. It goes back to the pool only by [`finish`](Self::finish); in whatever state it is dropped otherwise, it is
/// closed, and SQLite takes back what was not committed.
pub(super) struct Writer {
    connection: Option<PoolConnection<Sqlite>>,
    found: Found,
    pool: SqlitePool,
    // Behind the connection: fields are dropped in this order.
    _turn: OwnedMutexGuard<()>,
}

/// The settings of a connection as the merchant's pool made them, which it gets back.
#[derive(Clone, Copy, Default)]
struct Found {
    busy_timeout: i64,
    synchronous: i64,
}

/// How long a connection is waited for at least: also who does not wait for others needs one.
const LEAST: Duration = Duration::from_secs(1);

/// `PRAGMA synchronous = FULL`: what is committed survives a power cut.
const FULL: i64 = 2;

impl Writer {
    /// Waits for its turn, in the order of asking.
    pub(super) async fn new(
        pool: &SqlitePool,
        queue: &Arc<Mutex<()>>,
        until: Instant,
    ) -> Result<Self, InboxError> {
        let turn = tokio::time::timeout_at(until.into(), Arc::clone(queue).lock_owned());
        let turn = turn.await.map_err(|_| InboxError::Busy)?;
        let mut writer = Self {
            connection: None,
            found: Found::default(),
            pool: pool.clone(),
            _turn: turn,
        };
        writer.open(until).await?;
        Ok(writer)
    }

    async fn open(&mut self, until: Instant) -> Result<(), InboxError> {
        let acquired = tokio::time::timeout_at(
            until.max(Instant::now() + LEAST).into(),
            self.pool.acquire(),
        );
        let acquired = acquired.await;
        let connection = acquired
            .map_err(|_| InboxError::Busy)?
            .map_err(unavailable)?;
        // Held from here on, so that one with which something is wrong is closed.
        let connection = self.connection.insert(connection);
        let row = sqlx::query(
            "SELECT (SELECT journal_mode FROM pragma_journal_mode), (SELECT synchronous FROM pragma_synchronous), (SELECT timeout FROM pragma_busy_timeout)",
        )
        .fetch_one(&mut **connection)
        .await
        .map_err(failed)?;
        let journal: String = row.try_get(0).map_err(failed)?;
        is_wal(&journal)?;
        self.found = Found {
            synchronous: row.try_get(1).map_err(failed)?,
            busy_timeout: row.try_get(2).map_err(failed)?,
        };
        if self.found.synchronous < FULL {
            sqlx::raw_sql("PRAGMA synchronous = FULL")
                .execute(&mut **connection)
                .await
                .map_err(failed)?;
        }
        Ok(())
    }

    /// Begins to write, as soon as no other process does.
    pub(super) async fn begin(
        &mut self,
        until: Instant,
    ) -> Result<Transaction<'_, Sqlite>, InboxError> {
        if self.connection.is_none() {
            self.open(until).await?;
        }
        let connection = self.connection.as_mut().ok_or(InboxError::Busy)?;
        let left = until.saturating_duration_since(Instant::now()).as_millis();
        let left = left.min(Duration::from_secs(3600).as_millis());
        sqlx::raw_sql(AssertSqlSafe(format!("PRAGMA busy_timeout = {left}")))
            .execute(&mut **connection)
            .await
            .map_err(failed)?;
        // At once for writing: a transaction that reads first and writes then is refused without waiting when somebody wrote in between.
        connection
            .begin_with("BEGIN IMMEDIATE")
            .await
            .map_err(failed)
    }

    /// How long the other connections of the pool wait for whoever writes, if they are set as this one was found.
    pub(super) fn patience_of_others(&self) -> Duration {
        Duration::from_millis(self.found.busy_timeout.max(0).unsigned_abs())
    }

    /// Closes the connection and with it whatever is open on it; the next [`begin`](Self::begin) takes another one. It stays this one's turn.
    pub(super) async fn close(&mut self) {
        if let Some(connection) = self.connection.take() {
            // Closing is all that is wanted of it; what it says about it changes nothing.
            let _ = connection.close().await;
        }
    }

    /// Gives the connection back as it was found, and lets the next one write.
    pub(super) async fn finish(mut self) {
        let Some(mut connection) = self.connection.take() else {
            return;
        };
        let Found {
            busy_timeout,
            synchronous,
        } = self.found;
        let settings =
            format!("PRAGMA busy_timeout = {busy_timeout}; PRAGMA synchronous = {synchronous}");
        let restored = sqlx::raw_sql(AssertSqlSafe(settings))
            .execute(&mut *connection)
            .await;
        if restored.is_err() {
            connection.close_on_drop();
        }
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
        if let Some(connection) = &mut self.connection {
            connection.close_on_drop();
        }
    }
}
