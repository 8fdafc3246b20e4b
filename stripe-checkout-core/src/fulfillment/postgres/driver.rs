//! What the shared rows need to know of PostgreSQL.

use std::time::Duration;

use sqlx::AssertSqlSafe;
pub(super) use sqlx::postgres::PgRow as SqlRow;
use sqlx::query::Query;
pub(super) use sqlx::{PgConnection as Connection, Postgres as Database};

pub(super) use super::super::sql::statement::Dialect;
pub(super) use super::PostgresInbox as Store;
use super::transaction::{busy_or, milliseconds};
use super::super::inbox::Limits;
use crate::error::InboxError;

pub(super) const LIMITS: Limits = Limits::DURABLE;

/// The server's clock in microseconds, because the clocks of several processes differ.
macro_rules! clock {
    ($function:literal) => {
        concat!("(extract(epoch FROM ", $function, "()) * 1000000)::bigint")
    };
}

/// The statements of tables in this schema.
pub(super) fn dialect(schema: &str) -> Dialect {
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
        outside: concat!(clock!("now"), " >= $9"),
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

/// What a statement that is a transaction of its own needs.
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
