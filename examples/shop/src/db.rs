//! The two databases that the shop runs on: SQLite for one machine, PostgreSQL for as many as you like.
//!
//! Their SQL is one and the same here, down to the `$1`; only sqlx's types differ. So a statement stands once, and [`on!`](crate::db::on) compiles it for both. A
//! shop with a database of its own choice needs nothing of this file: it has a `PgPool`, and its handler is one for `PgConnection`.

use std::{
    ops::DerefMut,
    time::{SystemTime, UNIX_EPOCH},
};

use sqlx::{PgConnection, PgPool, SqliteConnection, SqlitePool};

/// The same thing of either database.
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
    /// Which one it is.
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

/// `on!(db, sqlx::query("…").execute(db).await)`: whichever database `db` is of, inside it is that one's own pool or connection.
macro_rules! on {
    ($db:ident, $body:expr) => {
        match $db.either() {
            $crate::db::Either::Sqlite($db) => $body,
            $crate::db::Either::Postgres($db) => $body,
        }
    };
}
pub(crate) use on;

/// The time for a row: seconds since 1970, UTC. SQL has no function for it that both databases know.
pub(crate) fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| now.as_secs().cast_signed())
}
