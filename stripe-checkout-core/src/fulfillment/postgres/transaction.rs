//! Connections and transactions whose state is always known.

use std::time::{Duration, Instant};

use sqlx::pool::PoolConnection;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Postgres, Transaction};

use super::super::codec::unavailable;
use crate::error::InboxError;

/// A connection that is closed unless its work is [known to be whole](Self::is_whole): a connection
/// whose work was cut off, or failed half-way, may be inside a transaction.
pub(super) struct Held {
    conn: PoolConnection<Postgres>,
    is_whole: bool,
    /// When the server was last seen on it, in microseconds by the server's clock. A transaction
    /// that was left on it by others is older.
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

    /// For work that may leave it in an unknown state, until [`is_whole`](Self::is_whole).
    pub(super) fn db(&mut self) -> &mut PgConnection {
        self.is_whole = false;
        &mut self.conn
    }

    /// All that was begun on it has ended.
    pub(super) fn is_whole(&mut self) {
        self.is_whole = true;
    }

    /// Begins a transaction in which a lock is waited for until then.
    pub(super) async fn begin(&mut self, until: Instant) -> Result<Tx<'_>, InboxError> {
        self.begin_with("", Some(until)).await
    }

    /// As [`begin`](Self::begin), without a limit for locks.
    pub(super) async fn begin_unlimited(&mut self) -> Result<Tx<'_>, InboxError> {
        self.begin_with("", None).await
    }

    /// As [`begin`](Self::begin), for a handler, who gets back the settings that the session would
    /// have without us.
    pub(super) async fn begin_for_handler(&mut self, until: Instant) -> Result<Tx<'_>, InboxError> {
        self.begin_with(KEEP, Some(until)).await
    }

    /// One message to the server and its answer, and as few statements in it as can be: no
    /// transaction goes without.
    async fn begin_with(
        &mut self,
        keep: &str,
        until: Option<Instant>,
    ) -> Result<Tx<'_>, InboxError> {
        // The level by name, because a database's default may be another: under REPEATABLE READ, a
        // duplicate that waited gets an error instead of an answer.
        let mut begin = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; ".to_owned();
        begin.push_str(keep);
        begin.push_str(DURABLE);
        // Nothing of ours makes the server wait: a process that stands still must not keep its
        // locks.
        begin.push_str("SET LOCAL idle_in_transaction_session_timeout = '10s'; ");
        if let Some(until) = until {
            let wait = until.saturating_duration_since(Instant::now());
            begin.push_str(&set_lock_timeout(wait));
        }
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

/// A commit waits for the disk. `remote_apply` promises even more, so it stays.
macro_rules! durable {
    () => {
        "set_config('synchronous_commit', CASE current_setting('synchronous_commit') WHEN 'remote_apply' THEN 'remote_apply' ELSE 'on' END, true)"
    };
}

/// Calls a macro for each setting that is set back after a handler. Each one costs time in each
/// fulfilment, so these are the ones that break the next user of the connection.
macro_rules! each_setting {
    ($of:ident) => {
        concat!(
            $of!("role"),
            ", ",
            $of!("search_path"),
            ", ",
            $of!("statement_timeout"),
            ", ",
            $of!("lock_timeout"),
            ", ",
            $of!("idle_in_transaction_session_timeout"),
        )
    };
}

/// Where the session's own settings stand while ours are set.
macro_rules! kept {
    ($setting:literal) => {
        concat!(
            "set_config('stripe_checkout.",
            $setting,
            "', current_setting('",
            $setting,
            "'), true)"
        )
    };
}

/// Sets the session's own setting again: for the session, because what a handler sets for the
/// session would otherwise go back to the pool with the connection.
macro_rules! restored {
    ($setting:literal) => {
        concat!(
            "set_config('",
            $setting,
            "', current_setting('stripe_checkout.",
            $setting,
            "'), false)"
        )
    };
}

const KEEP: &str = concat!("SELECT ", each_setting!(kept), "; ");

/// After the handler: the session's own settings and none of its advisory locks, and then our
/// limits for the rest of the transaction.
const AS_BEFORE: &str = concat!(
    "SELECT ",
    each_setting!(restored),
    ", pg_advisory_unlock_all(), ",
    "set_config('idle_in_transaction_session_timeout', '10s', true), ",
    "set_config('statement_timeout', '30s', true), ",
    durable!(),
    "; "
);

const DURABLE: &str = concat!("SELECT ", durable!(), "; ");

fn set_lock_timeout(wait: Duration) -> String {
    format!("SET LOCAL lock_timeout = {}; ", milliseconds(wait))
}

/// At least one, because none means no limit.
pub(super) fn milliseconds(time: Duration) -> u64 {
    let most = i32::MAX.unsigned_abs().into();
    u64::try_from(time.as_millis())
        .unwrap_or(most)
        .clamp(1, most)
}

/// Each lock is waited for no longer than this from now on.
pub(super) async fn wait_for_locks(
    conn: &mut PgConnection,
    wait: Duration,
) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(AssertSqlSafe(set_lock_timeout(wait)))
        .execute(conn)
        .await?;
    Ok(())
}

/// Makes the transaction ready for the handler, whose work is set apart by a savepoint: with the locks' time limit that it would have without us, and limits after
/// which the server ends what a process left that died or stands still.
pub(super) async fn before_handler(
    conn: &mut PgConnection,
    limit: Duration,
) -> Result<(), sqlx::Error> {
    let limit = milliseconds(limit);
    // A limit of the session's that is closer stays.
    let closest = |own: &str| {
        format!(
            "CASE WHEN {own}::interval BETWEEN interval '1 microsecond' AND interval '{limit} milliseconds' THEN {own} ELSE '{limit}' END"
        )
    };
    // One statement, because the server plans each statement again. A server that checks whether its
    // client is still there ends the long statement of a lost client. It has this setting since
    // version 14, and refuses it on Windows.
    let sql = format!(
        "SELECT set_config('lock_timeout', current_setting('stripe_checkout.lock_timeout'), true), \
        set_config('idle_in_transaction_session_timeout', {}, true), \
        set_config('statement_timeout', {}, true), \
        CASE WHEN current_setting('client_connection_check_interval', true) = '0' AND version() !~* 'msvc|visual c|mingw' \
        THEN set_config('client_connection_check_interval', '2s', true) END; \
        SAVEPOINT stripe_checkout_handler",
        closest("current_setting('stripe_checkout.idle_in_transaction_session_timeout')"),
        closest("current_setting('statement_timeout')"),
    );
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(conn).await?;
    Ok(())
}

/// Takes over from a handler that ended well. What it left to be checked at the end is checked now, so that it fails as its own; and what it set is unset, because
/// the inbox's tables are where they were.
pub(super) async fn after_handler(conn: &mut PgConnection) -> Result<(), sqlx::Error> {
    let sql = [
        "SET CONSTRAINTS ALL IMMEDIATE; RELEASE SAVEPOINT stripe_checkout_handler; ",
        AS_BEFORE,
    ]
    .concat();
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(conn).await?;
    Ok(())
}

/// Undoes what the handler wrote. The transaction and its locks stay.
pub(super) async fn undo_handler(conn: &mut PgConnection) -> Result<(), sqlx::Error> {
    let sql = [
        "ROLLBACK TO SAVEPOINT stripe_checkout_handler; ",
        "RELEASE SAVEPOINT stripe_checkout_handler; ",
        AS_BEFORE,
    ]
    .concat();
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(conn).await?;
    Ok(())
}

fn code(error: &sqlx::Error) -> Option<String> {
    Some(error.as_database_error()?.code()?.into_owned())
}

/// The transaction in which the handler was to write is not there any more.
pub(super) fn is_broken(error: &sqlx::Error) -> bool {
    // No transaction; no such savepoint; or one that sqlx does not know of.
    matches!(code(error).as_deref(), Some("25P01" | "3B001"))
}

/// The server refused what it was asked, and the transaction is still there.
pub(super) fn is_refusal(error: &sqlx::Error) -> bool {
    // Class 57 is the server's own end, but for a statement that was canceled.
    code(error).is_some_and(|code| code == "57014" || !(code.starts_with("57") || code == "25P03"))
}

/// The words for an error of the handler's transaction.
pub(super) fn words(error: &sqlx::Error) -> String {
    if matches!(error, sqlx::Error::RowNotFound) {
        return "a row of the inbox's own could not be written: does row security, a trigger, or a setting of the handler's keep it from that?".into();
    }
    if code(error).as_deref() == Some("25P02") {
        return "the handler went on after an SQL error instead of returning it".into();
    }
    error.to_string()
}

/// Waiting came to its end, or the store cannot be used.
pub(super) fn busy_or(error: sqlx::Error) -> InboxError {
    match code(&error).as_deref() {
        // A lock was not to be had in time, by our limit or by the session's; or two waited for each other.
        Some("55P03" | "57014" | "40P01") => InboxError::Busy,
        _ => InboxError::Unavailable(error.into()),
    }
}
