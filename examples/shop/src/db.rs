//! The databases of the shop: SQLite for one machine, PostgreSQL for as many as you like.
//!
//! Their SQL is the same here, down to the `$1`; only sqlx's types differ. So each statement is
//! there once, and [`on!`](crate::db::on) compiles it for both. A shop that has chosen one database
//! needs nothing of this file: it has a `PgPool`, and its handler is one for `PgConnection`.

use std::{
    ops::DerefMut,
    time::{SystemTime, UNIX_EPOCH},
};

use sqlx::{PgConnection, PgPool, SqliteConnection, SqlitePool};

/// A value for one of the two databases.
#[derive(Debug, Clone)]
pub enum Either<S, P> {
    /// SQLite's.
    Sqlite(S),
    /// PostgreSQL's.
    Postgres(P),
}

/// Connections to either database.
pub type Pool = Either<SqlitePool, PgPool>;

impl Pool {
    pub(crate) fn either(&self) -> Either<&SqlitePool, &PgPool> {
        match self {
            Self::Sqlite(pool) => Either::Sqlite(pool),
            Self::Postgres(pool) => Either::Postgres(pool),
        }
    }
}

/// A connection to either database, with the transaction that is open on it.
pub trait Connection: Send {
    /// The connection of the database that this is.
    fn either(&mut self) -> Either<&mut SqliteConnection, &mut PgConnection>;
}

impl Connection for SqliteConnection {
    fn either(&mut self) -> Either<&mut SqliteConnection, &mut PgConnection> {
        Either::Sqlite(self)
    }
}

impl Connection for PgConnection {
    fn either(&mut self) -> Either<&mut SqliteConnection, &mut PgConnection> {
        Either::Postgres(self)
    }
}

impl<S, P> Connection for Either<S, P>
where
    S: DerefMut<Target = SqliteConnection> + Send,
    P: DerefMut<Target = PgConnection> + Send,
{
    fn either(&mut self) -> Either<&mut SqliteConnection, &mut PgConnection> {
        match self {
            Self::Sqlite(connection) => Either::Sqlite(connection),
            Self::Postgres(connection) => Either::Postgres(connection),
        }
    }
}

/// Runs code for the database that `db` belongs to: `on!(db, sqlx::query("…").execute(db).await)`.
///
/// In the code, `db` is that database's own pool or connection.
macro_rules! on {
    ($db:ident, $body:expr) => {
        match $db.either() {
            $crate::db::Either::Sqlite($db) => $body,
            $crate::db::Either::Postgres($db) => $body,
        }
    };
}
pub(crate) use on;

/// The current time for a row, in seconds since 1970, UTC. No SQL function gives it in both
/// databases.
pub(crate) fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| now.as_secs().cast_signed())
}
