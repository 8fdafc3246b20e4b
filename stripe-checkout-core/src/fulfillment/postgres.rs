//! The inbox in PostgreSQL. An attempt is two transactions on one connection: a statement that takes
//! the event and counts the attempt, so that it stays counted if the process dies; and a transaction
//! in which the handler writes, and the event's new state with it. Rows are always locked in one
//! order: the payment, the order, the event. All decisions are made from what is read after that.

#[macro_use]
mod transaction;
mod driver;
#[allow(clippy::duplicate_mod)] // Compiled for each database.
#[path = "sql/inbox.rs"]
mod inbox;
#[macro_use]
#[allow(clippy::duplicate_mod)] // Compiled for each database.
#[path = "sql/rows.rs"]
mod rows;
mod session;
#[allow(clippy::duplicate_mod)] // Compiled for each database.
#[path = "sql/upkeep.rs"]
mod upkeep;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::{PgConnection, PgPool, Postgres};
use tokio::sync::Semaphore;

use self::driver::{create_schema, dialect};
use self::transaction::Held;
use super::codec::unavailable;
use super::sql::PATIENCE;
use super::sql::statement::Dialect;
use super::sql::tables::tables;
use crate::error::InboxError;

/// How long a server may say nothing: its machine may have lost power, or a firewall the connection. What is done then is as with a connection that broke.
const SILENCE: Duration = Duration::from_secs(30);

/// The error then.
const SILENT: &str = "the database does not answer";

/// The schema of the tables.
const SCHEMA: &str = "stripe_checkout";

/// The roles that may write to one of the tables or create in their schema. Of all roles, if
/// `PUBLIC` may, only that.
const WRITERS: &str = "WITH it AS (SELECT c.oid AS tab, c.relowner, n.oid AS schema, n.nspowner \
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
    WHERE n.nspname = $1 AND c.relkind IN ('r', 'p') AND c.relname ~ '^stripe_checkout_'), \
    everybody AS (SELECT 'PUBLIC'::text AS role FROM it \
    WHERE has_table_privilege('public', tab, 'DELETE, TRUNCATE, TRIGGER') OR has_any_column_privilege('public', tab, 'INSERT, UPDATE') OR has_schema_privilege('public', schema, 'CREATE')), \
    single AS (SELECT rolname::text AS role FROM pg_roles, it \
    WHERE NOT rolsuper AND rolname <> current_user AND pg_roles.oid NOT IN (relowner, nspowner) AND rolname !~ '^pg_' \
    AND (has_table_privilege(pg_roles.oid, tab, 'DELETE, TRUNCATE, TRIGGER') OR has_any_column_privilege(pg_roles.oid, tab, 'INSERT, UPDATE') OR has_schema_privilege(pg_roles.oid, schema, 'CREATE'))) \
    SELECT role FROM everybody UNION SELECT role FROM single WHERE NOT EXISTS (SELECT FROM everybody) ORDER BY role LIMIT 10";

/// The schema of an inbox that the connection's `search_path` finds.
const FOUND_ELSEWHERE: &str = "SELECT n.nspname::text FROM pg_class c \
    JOIN pg_namespace n ON n.oid = c.relnamespace \
    WHERE c.oid = to_regclass('stripe_checkout_events') AND n.nspname <> $1";

/// How often processes that start at once may get into each other's way while they migrate.
const MIGRATIONS_TRIED: u32 = 20;

/// An inbox in PostgreSQL, for any number of processes on one database.
///
/// The handler is given the connection on which the event is marked as done: what it writes there and the mark commit together, or neither does. It
/// must leave the transaction open: a `COMMIT` or `ROLLBACK` of its own is detected, and the event becomes a dead letter that is never run again by
/// itself, because nobody can know what was written. Transactions nested by [`begin`](sqlx::Connection::begin) are fine.
///
/// At most half of the pool's connections (at least one) run handlers at the same time; the rest is yours.
///
/// # Who may write
/// A role that may write to its tables can insert an event, which is then fulfilled without a
/// payment. So the tables have a schema of their own, `stripe_checkout` unless
/// [`schema`](Self::schema) names another, in which no other role has any right by default.
/// [`migrate`](Self::migrate) revokes nothing. It logs a warning if another role may write to the
/// tables or create anything in their schema.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use stripe_checkout_core::fulfillment::PostgresInbox;
///
/// let pool = sqlx::PgPool::connect("postgres://localhost/shop").await?;
/// let inbox = PostgresInbox::migrated(pool).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct PostgresInbox {
    pool: PgPool,
    schema: Arc<str>,
    dialect: Dialect,
    steps: Arc<Semaphore>,
}

/// The inbox whose text both databases share.
type Store = PostgresInbox;

#[cfg(not(feature = "unstable-inbox"))]
impl super::inbox::sealed::Sealed for PostgresInbox {}

impl fmt::Debug for PostgresInbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresInbox")
            .field("schema", &self.schema)
            .finish_non_exhaustive()
    }
}

impl PostgresInbox {
    /// The statements that make its tables, a step each, to be run in this order, if you run
    /// migrations by yourself. They create the tables in the first schema of the connection's
    /// `search_path`: create `stripe_checkout` and name it there. Each may be run again and changes
    /// nothing then.
    pub const MIGRATIONS: &[&str] = &[tables! {
        text: "text COLLATE \"C\"",
        integer: "bigint",
        flag: "boolean",
        bytes: "bytea",
        end: "",
        keyed: "",
    }];

    /// An inbox on this pool, with its tables in the schema `stripe_checkout`: see
    /// [`migrate`](Self::migrate).
    ///
    /// # Errors
    /// [`InboxError::Unavailable`].
    pub async fn migrated(pool: PgPool) -> Result<Self, InboxError> {
        let inbox = Self::new(pool);
        inbox.migrate().await?;
        Ok(inbox)
    }

    /// An inbox on this pool. It does not touch the database yet: call [`migrate`](Self::migrate) at start.
    pub fn new(pool: PgPool) -> Self {
        let half = pool.options().get_max_connections() / 2;
        Self {
            steps: Arc::new(Semaphore::new(half.max(1).try_into().unwrap_or(1))),
            pool,
            schema: SCHEMA.into(),
            dialect: dialect(SCHEMA),
        }
    }

    /// In this schema instead of `stripe_checkout`.
    #[must_use]
    pub fn schema(mut self, schema: impl Into<String>) -> Self {
        let schema: Arc<str> = schema.into().into();
        self.dialect = dialect(&schema);
        self.schema = schema;
        self
    }

    /// Creates what is missing: the schema and the tables. Any number of processes may do so at
    /// once. It needs the right `CREATE` on the database to create the schema, and none if it finds
    /// everything. It logs a warning if it makes an empty inbox while the `search_path` of the
    /// connection finds the tables of another one.
    ///
    /// # Errors
    /// [`InboxError::Unavailable`].
    pub async fn migrate(&self) -> Result<(), InboxError> {
        let mut tried = 1;
        loop {
            match self.migrate_once().await {
                // `IF NOT EXISTS` looks first and creates then: who is second gets an error, and finds all of it the next time.
                Err(error) if tried < MIGRATIONS_TRIED => {
                    tracing::debug!(error = %crate::error::Chain(&error), tried, "the inbox's tables could not be made yet");
                    tried += 1;
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                Ok(()) => {
                    self.warn_of_writers().await;
                    return Ok(());
                }
                ended => return ended,
            }
        }
    }

    async fn migrate_once(&self) -> Result<(), InboxError> {
        let mut held = self.hold().await?;
        let mut tx = held.begin_unlimited().await?;
        let done = self.version(tx.db()).await.map_err(unavailable)?;
        if done == 0 {
            let warned = self.warn_of_another_inbox(tx.db()).await;
            warned.map_err(unavailable)?;
        }
        if done < Self::MIGRATIONS.len() {
            self.apply(tx.db(), done).await.map_err(unavailable)?;
        }
        tx.commit().await
    }

    /// How many migrations the database has seen: more than there are, if a later version of this crate was there.
    async fn version(&self, conn: &mut PgConnection) -> Result<usize, sqlx::Error> {
        let exists: bool = sqlx::query_scalar("SELECT to_regclass($1) IS NOT NULL")
            .bind(format!("{}migrations", self.dialect.prefix))
            .fetch_one(&mut *conn)
            .await?;
        if !exists {
            return Ok(0);
        }
        let newest = "SELECT COALESCE(max(version), 0) FROM {}migrations";
        let newest: i64 = sqlx::query_scalar(self.dialect.sql(newest))
            .fetch_one(conn)
            .await?;
        Ok(newest.try_into().unwrap_or_default())
    }

    async fn apply(&self, conn: &mut PgConnection, done: usize) -> Result<(), sqlx::Error> {
        let exists: bool =
            sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = $1)")
                .bind(&*self.schema)
                .fetch_one(&mut *conn)
                .await?;
        if !exists {
            sqlx::raw_sql(create_schema(&self.schema))
                .execute(&mut *conn)
                .await?;
        }
        sqlx::query("SELECT set_config('search_path', quote_ident($1), true)")
            .bind(&*self.schema)
            .execute(&mut *conn)
            .await?;
        // What the other one just created is told by notices, which are nobody's worry.
        sqlx::raw_sql("SET LOCAL client_min_messages = warning")
            .execute(&mut *conn)
            .await?;
        for migration in Self::MIGRATIONS.iter().skip(done) {
            sqlx::raw_sql(*migration).execute(&mut *conn).await?;
        }
        Ok(())
    }

    /// Logs an empty inbox beside another one: perhaps its tables were to be moved.
    async fn warn_of_another_inbox(&self, conn: &mut PgConnection) -> Result<(), sqlx::Error> {
        let other = sqlx::query_scalar(FOUND_ELSEWHERE).bind(&*self.schema);
        let other: Option<String> = other.fetch_optional(conn).await?;
        if let Some(other) = other {
            tracing::warn!(
                schema = &*self.schema,
                other,
                "this schema has no tables, so the inbox is a new and empty one, but another schema has the tables of an inbox. To go on with those, stop all processes and move them with ALTER TABLE … SET SCHEMA: see the chapter \"Moving an inbox\""
            );
        }
        Ok(())
    }

    /// Logs which roles may forge an event: all but superusers, the owners and this role.
    async fn warn_of_writers(&self) {
        let roles = sqlx::query_scalar(WRITERS).bind(&*self.schema);
        let roles: Result<Vec<String>, _> = roles.fetch_all(&self.pool).await;
        match roles {
            Ok(roles) if roles.is_empty() => {}
            Ok(roles) => tracing::warn!(
                schema = &*self.schema,
                ?roles,
                "other roles may write to the inbox's tables or create in their schema. A role that can write an event there can obtain goods without paying. Revoke these rights, or move the tables to a schema of their own"
            ),
            Err(error) => {
                tracing::debug!(error = %crate::error::Chain(&error), "the rights on the inbox's tables cannot be read");
            }
        }
    }

    /// A connection of the pool. The pool itself may wait for half a minute, which is longer than
    /// Stripe waits for an answer.
    async fn reader(&self) -> Result<PoolConnection<Postgres>, InboxError> {
        let acquired = tokio::time::timeout(PATIENCE, self.pool.acquire()).await;
        let acquired = acquired.unwrap_or(Err(sqlx::Error::PoolTimedOut));
        acquired.map_err(unavailable)
    }

    /// A connection for a transaction outside of an attempt.
    async fn hold(&self) -> Result<Held, InboxError> {
        Ok(Held::new(self.reader().await?))
    }
}

/// Ends work that waits for a server which says nothing any more.
async fn in_time<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, InboxError>>,
) -> Result<T, InboxError> {
    let ended = tokio::time::timeout(limit, work).await;
    ended.unwrap_or_else(|_| Err(unavailable(SILENT)))
}
