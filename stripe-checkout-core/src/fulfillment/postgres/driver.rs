//! The part of the shared text that is PostgreSQL's own.

use std::ops::{Deref, DerefMut};
use std::time::Duration;

pub(super) use sqlx::postgres::PgRow as SqlRow;
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, Transaction};
pub(super) use sqlx::{PgConnection as Connection, Postgres as Database};

use super::super::inbox::Limits;
pub(super) use super::super::sql::statement::Dialect;
pub(super) use super::transaction::{Own, with_own};
use super::transaction::{busy_or, milliseconds};
use crate::error::InboxError;

pub(super) const LIMITS: Limits = Limits::DURABLE;

/// The server's clock in microseconds, because the clocks of several processes differ.
macro_rules! clock {
    ($function:literal) => {
        concat!("(extract(epoch FROM ", $function, "()) * 1000000)::bigint")
    };
}

/// The statements of tables in this schema.
pub(super) fn dialect(schema: &str, pooler: Pooler) -> Dialect {
    let schema = quoted(schema);
    Dialect {
        prefix: format!("{schema}.stripe_checkout_").into(),
        now: clock!("statement_timestamp"),
        clock: clock!("clock_timestamp"),
        skip_locked: "FOR UPDATE SKIP LOCKED",
        settings: concat!(
            "WITH settings AS (SELECT set_config('lock_timeout', $8, true), ",
            durable!(),
            ") "
        ),
        from_settings: "FROM settings ",
        end: "",
        outside: concat!(clock!("now"), " >= $9"),
        keeps_statements: pooler == Pooler::None,
        of_connection: concat!(clock!("clock_timestamp"), " AS seen"),
    }
}

fn quoted(schema: &str) -> String {
    format!("\"{}\"", schema.replace('"', "\"\""))
}

pub(super) fn create_schema(schema: &str) -> AssertSqlSafe<String> {
    AssertSqlSafe(format!("CREATE SCHEMA IF NOT EXISTS {}", quoted(schema)))
}

/// A wait came to its end, or the database cannot be used.
pub(super) fn failed(error: sqlx::Error) -> InboxError {
    busy_or(error)
}

/// The kind of pooler between the inbox and the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pooler {
    /// Nothing, or a pooler that gives a client one connection of the server for its whole session.
    None,
    /// A pooler that gives a client another connection of the server for each transaction.
    ///
    /// The driver sends a statement with parameters in two parts. The pooler may pass the second
    /// part to another connection, where it would run a statement of another client. So each
    /// statement stands in an explicit transaction.
    Transaction,
}

/// A connection that is read from.
pub(super) enum Read<'a> {
    Connection(&'a mut Connection),
    Transaction(Transaction<'a, Database>),
}

impl Deref for Read<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        match self {
            Self::Connection(db) => db,
            Self::Transaction(tx) => tx,
        }
    }
}

impl DerefMut for Read<'_> {
    fn deref_mut(&mut self) -> &mut Connection {
        match self {
            Self::Connection(db) => db,
            Self::Transaction(tx) => tx,
        }
    }
}

impl Read<'_> {
    /// Ends the reads. Reads that are dropped end when the connection goes back to the pool.
    pub(super) async fn end(self) -> Result<(), InboxError> {
        match self {
            Self::Connection(_) => Ok(()),
            Self::Transaction(tx) => tx.rollback().await.map_err(failed),
        }
    }
}

/// The limits of a statement that is a transaction of its own.
#[derive(Clone, Copy)]
pub(super) struct Wait {
    /// How long it waits for a lock.
    pub(super) patience: Duration,
    /// When the server was last seen on the connection.
    pub(super) seen: i64,
}

/// Binds how long the statement waits, and after which time its transaction must have begun.
pub(super) fn with_wait<'q>(
    query: Query<'q, Database, <Database as sqlx::Database>::Arguments>,
    wait: Wait,
) -> Query<'q, Database, <Database as sqlx::Database>::Arguments> {
    query
        .bind(milliseconds(wait.patience).to_string())
        .bind(wait.seen)
}
