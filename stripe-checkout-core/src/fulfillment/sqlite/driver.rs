//! The part of the shared text that is SQLite's own.

use std::time::Duration;

use sqlx::query::Query;
pub(super) use sqlx::sqlite::SqliteRow as SqlRow;
pub(super) use sqlx::{Sqlite as Database, SqliteConnection as Connection};

use super::super::codec::unavailable;
use super::super::inbox::Limits;
pub(super) use super::super::sql::statement::Dialect;
use crate::error::InboxError;

/// While a handler runs no one else writes, in no process.
pub(super) const LIMITS: Limits = Limits {
    handler_deadline: Duration::from_secs(2),
    has_one_writer: true,
    ..Limits::DURABLE
};

/// Another connection has locked the database, or it cannot be used.
pub(super) fn failed(error: sqlx::Error) -> InboxError {
    // SQLITE_BUSY and SQLITE_LOCKED, and all that are derived from them.
    let code = error.as_database_error().and_then(|error| error.code());
    let code = code.and_then(|code| code.parse::<u32>().ok());
    match code.map(|code| code & 0xff) {
        Some(5 | 6) => InboxError::Busy,
        _ => unavailable(error),
    }
}

/// A statement waits for its database, and not for a row.
pub(super) struct Wait;

pub(super) fn with_wait<'q>(
    query: Query<'q, Database, <Database as sqlx::Database>::Arguments>,
    _: Wait,
) -> Query<'q, Database, <Database as sqlx::Database>::Arguments> {
    query
}

/// Settings of a connection that a handler may change: none, because they are the writer's affair.
pub(super) struct Own;

pub(super) fn with_own<'q>(
    query: Query<'q, Database, <Database as sqlx::Database>::Arguments>,
    _: &Own,
) -> Query<'q, Database, <Database as sqlx::Database>::Arguments> {
    query
}
