//! Connections and transactions whose state is always known.

use std::time::{Duration, Instant};

use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Postgres, Row as _, Transaction};

use super::super::codec::unavailable;
use super::super::sql::UNWRITTEN;
use super::super::sql::statement::Dialect;
use crate::error::InboxError;

/// A connection that is closed unless its work is [known to be whole](Self::is_whole). If its work
/// was cut off, or failed half-way, the connection may be inside a transaction.
pub(super) struct Held {
    conn: PoolConnection<Postgres>,
    is_whole: bool,
    /// When the server was last seen on it, in microseconds by the server's clock. A transaction
    /// that others left open on it is older.
    pub(super) seen: Option<i64>,
}

impl Held {
    pub(super) fn new(conn: PoolConnection<Postgres>) -> Self {
        Self {
            conn,
            is_whole: true,
            seen: None,
        }
    }

    /// The connection for work that may leave it in an unknown state, until
    /// [`is_whole`](Self::is_whole).
    pub(super) fn db(&mut self) -> &mut PgConnection {
        self.is_whole = false;
        &mut self.conn
    }

    /// Declares that all work on the connection has ended.
    pub(super) fn is_whole(&mut self) {
        self.is_whole = true;
    }

    /// Begins a transaction that waits for locks until this time.
    pub(super) async fn begin(&mut self, until: Instant) -> Result<Tx<'_>, InboxError> {
        let limits = [DURABLE, PAUSES, &set_lock_timeout(until)].concat();
        self.begin_with(&limits).await
    }

    /// Begins like [`begin`](Self::begin), without a limit for locks.
    pub(super) async fn begin_unlimited(&mut self) -> Result<Tx<'_>, InboxError> {
        self.begin_with(&[DURABLE, PAUSES].concat()).await
    }

    /// Begins a transaction for a handler. [`Own::take_over`] sets its limits.
    pub(super) async fn begin_for_handler(&mut self) -> Result<Tx<'_>, InboxError> {
        self.begin_with("").await
    }

    /// Begins a transaction with one message to the server. The message contains as little as
    /// possible, because the server plans each `SELECT` of such a message again.
    async fn begin_with(&mut self, limits: &str) -> Result<Tx<'_>, InboxError> {
        // The isolation level is named, because a database's default may be another. Under
        // REPEATABLE READ, a duplicate that waited would get an error instead of a result.
        let begin = ["BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; ", limits].concat();
        self.is_whole = false;
        let tx = self.conn.begin_with(AssertSqlSafe(begin)).await;
        Ok(Tx {
            tx: tx.map_err(unavailable)?,
            is_whole: &mut self.is_whole,
        })
    }

    /// Gives the connection back.
    pub(super) async fn finish(self) {}
}

impl Drop for Held {
    fn drop(&mut self) {
        if !self.is_whole {
            self.conn.close_on_drop();
        }
    }
}

/// A transaction whose commit is durable.
pub(super) struct Tx<'a> {
    tx: Transaction<'a, Postgres>,
    is_whole: &'a mut bool,
}

impl Tx<'_> {
    pub(super) fn db(&mut self) -> &mut PgConnection {
        &mut self.tx
    }

    pub(super) async fn commit(self) -> Result<(), InboxError> {
        self.tx.commit().await.map_err(unavailable)?;
        *self.is_whole = true;
        Ok(())
    }

    /// Commits. The connection is closed nevertheless if it is `worn`.
    pub(super) async fn commit_worn(self, worn: bool) -> Result<(), sqlx::Error> {
        self.tx.commit().await?;
        *self.is_whole = !worn;
        Ok(())
    }

    pub(super) async fn rollback(self) -> Result<(), InboxError> {
        self.tx.rollback().await.map_err(unavailable)?;
        *self.is_whole = true;
        Ok(())
    }
}

/// Makes a commit wait for the disk. `remote_apply` promises even more, so it stays.
macro_rules! durable {
    () => {
        "set_config('synchronous_commit', CASE current_setting('synchronous_commit') WHEN 'remote_apply' THEN 'remote_apply' ELSE 'on' END, true)"
    };
}

/// The settings of a session as they are without us. A handler gets them, and so does the next user
/// of the connection. They are read in the transaction of the handler, because behind a pooler each
/// transaction may have a session of its own.
#[derive(Debug, Clone)]
pub(super) struct Own {
    role: String,
    search_path: String,
    /// In milliseconds, as the next two. Zero means no limit.
    statement_timeout: i64,
    lock_timeout: i64,
    idle_in_transaction: i64,
    /// `on`, or `remote_apply`.
    synchronous_commit: String,
    /// Whether the server continues a long statement after its client is gone.
    forgets_clients: bool,
}

/// The values of [`Own::read`] in one array. A setting makes the server check whether its client is
/// still there. It exists since version 14, and not on every system.
macro_rules! own_settings {
    () => {
        concat!(
            "ARRAY[current_setting('role'), current_setting('search_path'), ",
            "(extract(epoch FROM current_setting('statement_timeout')::interval) * 1000)::bigint::text, ",
            "(extract(epoch FROM current_setting('lock_timeout')::interval) * 1000)::bigint::text, ",
            "(extract(epoch FROM current_setting('idle_in_transaction_session_timeout')::interval) * 1000)::bigint::text, ",
            "CASE current_setting('synchronous_commit') WHEN 'remote_apply' THEN 'remote_apply' ELSE 'on' END, ",
            "(COALESCE(current_setting('client_connection_check_interval', true) = '0', FALSE) AND version() ~* 'linux')::text]"
        )
    };
}

/// Sets our limits for the transaction, and limits the wait for a lock to the parameter.
macro_rules! limits {
    ($lock_timeout:literal) => {
        concat!(
            "set_config('lock_timeout', ",
            $lock_timeout,
            ", true), set_config('idle_in_transaction_session_timeout', '10s', true), ",
            durable!()
        )
    };
}

impl Own {
    /// Reads the settings and sets our limits, by a statement of its own. Locking a payment does
    /// the same without an extra statement.
    pub(super) async fn take_over(
        db: &mut PgConnection,
        sql: &Dialect,
        until: Instant,
    ) -> Result<Self, InboxError> {
        let statement = concat!("SELECT ", own_settings!(), " AS own, ", limits!("$1"));
        let query = sql.query::<Postgres>(statement);
        let query = query.bind(lock_timeout(until).to_string());
        Self::read(&query.fetch_one(db).await.map_err(busy_or)?)
    }

    pub(super) fn read(row: &PgRow) -> Result<Self, InboxError> {
        let values: Vec<String> = row.try_get("own").map_err(unavailable)?;
        let mut values = values.into_iter();
        let mut next = || {
            values
                .next()
                .ok_or_else(|| unavailable("a setting is missing"))
        };
        let number = |text: String| text.parse().map_err(unavailable);
        Ok(Self {
            role: next()?,
            search_path: next()?,
            statement_timeout: number(next()?)?,
            lock_timeout: number(next()?)?,
            idle_in_transaction: number(next()?)?,
            synchronous_commit: next()?,
            forgets_clients: next()? == "true",
        })
    }

    /// The message after the handler's work. It sets the role that may write the inbox's rows, a
    /// path on which nothing shadows the names in our statement, and our limits for the rest of the
    /// transaction. That statement restores the other settings.
    fn after_handler(&self) -> String {
        let role = self.role.replace('\\', "\\\\").replace('\'', "''");
        let lock_timeout = self.lock_timeout;
        format!(
            "SET ROLE E'{role}'; SET LOCAL search_path = pg_catalog; SET lock_timeout = {lock_timeout}; SET LOCAL statement_timeout = '30s'; {PAUSES}"
        )
    }
}

/// Restores the session's own settings in a prepared statement, and releases its advisory locks. It
/// does so for the session, because a handler's session settings would otherwise return to the pool
/// with the connection. Then it sets our limits for the rest of the transaction.
macro_rules! restored {
    () => {
        concat!(
            "SELECT set_config('search_path', $35, false), set_config('statement_timeout', $36, false), set_config('statement_timeout', '30s', true), ",
            "set_config('idle_in_transaction_session_timeout', $37, false), set_config('idle_in_transaction_session_timeout', '10s', true), ",
            "set_config('synchronous_commit', $38, true), pg_advisory_unlock_all()"
        )
    };
}

/// Binds the values that [`restored`] sets.
pub(super) fn with_own<'q>(
    query: Query<'q, Postgres, PgArguments>,
    own: &Own,
) -> Query<'q, Postgres, PgArguments> {
    query
        .bind(own.search_path.clone())
        .bind(own.statement_timeout.to_string())
        .bind(own.idle_in_transaction.to_string())
        .bind(own.synchronous_commit.clone())
}

const DURABLE: &str = concat!("SELECT ", durable!(), "; ");

/// The limit for pauses. None of our own work makes the server wait, and a process that hangs must
/// not keep its locks.
const PAUSES: &str = "SET LOCAL idle_in_transaction_session_timeout = '10s'; ";

fn set_lock_timeout(until: Instant) -> String {
    format!("SET LOCAL lock_timeout = {}; ", lock_timeout(until))
}

/// The longest wait for a lock from now on, in milliseconds.
pub(super) fn lock_timeout(until: Instant) -> u64 {
    milliseconds(until.saturating_duration_since(Instant::now()))
}

/// Milliseconds, at least one, because zero means no limit.
pub(super) fn milliseconds(time: Duration) -> u64 {
    let most = i32::MAX.unsigned_abs().into();
    u64::try_from(time.as_millis())
        .unwrap_or(most)
        .clamp(1, most)
}

async fn run(conn: &mut PgConnection, sql: String) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(conn).await?;
    Ok(())
}

/// Limits all waits for locks to this time.
pub(super) async fn wait_for_locks(
    conn: &mut PgConnection,
    until: Instant,
) -> Result<(), sqlx::Error> {
    run(conn, set_lock_timeout(until)).await
}

/// Makes the transaction ready for the handler, and puts its work into a savepoint. The handler
/// gets the lock timeout that it would have without us. Other limits let the server end the work of
/// a process that died or hangs.
pub(super) async fn before_handler(
    conn: &mut PgConnection,
    own: &Own,
    limit: Duration,
) -> Result<(), sqlx::Error> {
    let limit = i64::try_from(milliseconds(limit)).unwrap_or(i64::MAX);
    // A stricter limit of the session stays.
    let closest = |own: i64| if own > 0 { own.min(limit) } else { limit };
    // A server that checks whether its client is still there ends the long statement of a lost
    // client.
    let check = match own.forgets_clients {
        true => "SET LOCAL client_connection_check_interval = '2s'; ",
        false => "",
    };
    let sql = format!(
        "SET LOCAL lock_timeout = {}; SET LOCAL idle_in_transaction_session_timeout = {}; SET LOCAL statement_timeout = {}; {check}SAVEPOINT stripe_checkout_handler",
        own.lock_timeout,
        closest(own.idle_in_transaction),
        closest(own.statement_timeout),
    );
    run(conn, sql).await
}

/// Continues after a handler that succeeded. Deferred constraints are checked now, so that the
/// handler's work fails as its own.
pub(super) async fn after_handler(conn: &mut PgConnection, own: &Own) -> Result<(), sqlx::Error> {
    let kept = "SET CONSTRAINTS ALL IMMEDIATE; RELEASE SAVEPOINT stripe_checkout_handler; ";
    run(conn, [kept, &own.after_handler()].concat()).await
}

/// Undoes the handler's writes. The transaction and its locks stay.
pub(super) async fn undo_handler(conn: &mut PgConnection, own: &Own) -> Result<(), sqlx::Error> {
    let undone = "ROLLBACK TO SAVEPOINT stripe_checkout_handler; RELEASE SAVEPOINT stripe_checkout_handler; ";
    run(conn, [undone, &own.after_handler()].concat()).await
}

fn code(error: &sqlx::Error) -> Option<String> {
    Some(error.as_database_error()?.code()?.into_owned())
}

/// Whether the transaction of the handler no longer exists.
pub(super) fn is_broken(error: &sqlx::Error) -> bool {
    // No transaction, no such savepoint, or one that sqlx does not know.
    matches!(code(error).as_deref(), Some("25P01" | "3B001"))
}

/// Whether the server refused a statement while the transaction is still there.
pub(super) fn is_refusal(error: &sqlx::Error) -> bool {
    // Class 57 means that the server itself shuts down, except for a canceled statement.
    code(error).is_some_and(|code| code == "57014" || !(code.starts_with("57") || code == "25P03"))
}

/// The text for an error of the handler's transaction.
pub(super) fn words(error: &sqlx::Error) -> String {
    if matches!(error, sqlx::Error::RowNotFound) {
        return UNWRITTEN.to_owned();
    }
    if code(error).as_deref() == Some("25P02") {
        return "the handler went on after an SQL error instead of returning it".into();
    }
    error.to_string()
}

/// The error of a wait that ended, or of a store that cannot be used.
pub(super) fn busy_or(error: sqlx::Error) -> InboxError {
    match code(&error).as_deref() {
        // A lock was not available in time, by our limit or by the session's, or there was a
        // deadlock.
        Some("55P03" | "57014" | "40P01") => InboxError::Busy,
        _ => InboxError::Unavailable(error.into()),
    }
}
