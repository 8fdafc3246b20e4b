//! The inbox in PostgreSQL. An attempt has two transactions on one connection. The first is a
//! single statement: it claims the event and counts the attempt, so that the attempt stays counted
//! if the process dies. In the second, the handler writes, and the event's new state is written
//! with it. Rows are always locked in one order: the payment, the order, the event. All decisions
//! are based on data that is read after that.

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

use sqlx::Connection as _;
use sqlx::pool::PoolConnection;
use sqlx::{PgConnection, PgPool, Postgres};
use tokio::sync::Semaphore;

use self::driver::{Connection, Pooler, Read, create_schema, dialect, failed};
use self::transaction::Held;
use super::codec::unavailable;
use super::sql::PATIENCE;
use super::sql::statement::Dialect;
use super::sql::tables::{tables, tables_are_known, tables_are_new_enough};
use crate::error::InboxError;

/// How long a server may be silent: its machine may have lost power, or a firewall may have dropped
/// the connection. After this time the connection counts as broken.
const SILENCE: Duration = Duration::from_secs(30);

/// The error text after that time.
const SILENT: &str = "the database does not answer";

/// The schema of the tables.
const SCHEMA: &str = "stripe_checkout";

/// The roles that may write to one of the tables or create objects in their schema. If `PUBLIC`
/// may, it lists only `PUBLIC`.
const WRITERS: &str = "WITH it AS (SELECT c.oid AS tab, c.relowner, n.oid AS schema, n.nspowner \
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
    WHERE n.nspname = $1 AND c.relkind IN ('r', 'p') AND c.relname ~ '^stripe_checkout_'), \
    everybody AS (SELECT 'PUBLIC'::text AS role FROM it \
    WHERE has_table_privilege('public', tab, 'DELETE, TRUNCATE, TRIGGER') OR has_any_column_privilege('public', tab, 'INSERT, UPDATE') OR has_schema_privilege('public', schema, 'CREATE')), \
    single AS (SELECT rolname::text AS role FROM pg_roles, it \
    WHERE NOT rolsuper AND rolname <> current_user AND pg_roles.oid NOT IN (relowner, nspowner) AND rolname !~ '^pg_' \
    AND (has_table_privilege(pg_roles.oid, tab, 'DELETE, TRUNCATE, TRIGGER') OR has_any_column_privilege(pg_roles.oid, tab, 'INSERT, UPDATE') OR has_schema_privilege(pg_roles.oid, schema, 'CREATE'))) \
    SELECT role FROM everybody UNION SELECT role FROM single WHERE NOT EXISTS (SELECT FROM everybody) ORDER BY role LIMIT 10";

/// The schema of an inbox that the connection's `search_path` finds, or else any other one.
const FOUND_ELSEWHERE: &str = "SELECT n.nspname::text AS schema, COALESCE(c.oid = to_regclass('stripe_checkout_events'), FALSE) AS on_path \
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
    WHERE c.relname = 'stripe_checkout_events' AND c.relkind IN ('r', 'p') AND n.nspname <> $1 ORDER BY on_path DESC, schema LIMIT 1";

/// How often a migration is tried. Processes that start at once may get in each other's way.
const MIGRATIONS_TRIED: u32 = 20;

/// An inbox in PostgreSQL 11 or later, for any number of processes on one database.
///
/// The handler receives the connection on which the event is marked as done. The handler's writes
/// there and the mark commit together, or neither does. The handler must leave the transaction
/// open. The inbox detects a `COMMIT` or `ROLLBACK` by the handler. The event then becomes a dead
/// letter that is never retried automatically, because it is unknown what was written. Transactions
/// nested by [`begin`](sqlx::Connection::begin) are fine.
///
/// At most half of the pool's connections (at least one) run handlers at the same time. The rest is
/// yours.
///
/// # Session state
/// The connection goes back to your pool after the handler. So a handler must change nothing that
/// outlives its transaction:
/// - It uses `SET LOCAL`, or `set_config(…, true)`, never a plain `SET`. This matters most for
///   settings of your own such as `app.tenant`: the next user of the connection would find them.
/// - It locks with `pg_advisory_xact_lock`, and creates temporary tables `ON COMMIT DROP`.
///
/// As a guard, the inbox restores these settings of the session after each handler: `role`,
/// `search_path`, `statement_timeout`, `lock_timeout` and `idle_in_transaction_session_timeout`. It
/// also releases all advisory locks of the session. Other state of the session stays.
///
/// # Behind a pooler
/// A pooler in session mode needs nothing. For PgBouncer in transaction mode there are two ways:
/// - PgBouncer 1.21 or later with `max_prepared_statements` above zero needs no option here, and
///   costs no round trips.
/// - All other transaction poolers need [`transaction_pooler`](Self::transaction_pooler). So does
///   PgBouncer before 1.21, which does not support prepared statements.
///
/// In both cases:
/// - Set `ignore_startup_parameters = extra_float_digits` in PgBouncer, or
///   [`extra_float_digits(None)`](sqlx::postgres::PgConnectOptions::extra_float_digits) here.
/// - Set nothing for the session in `after_connect`: the next statement may run in another session.
///   Use `ALTER ROLE … SET` or `ALTER DATABASE … SET`.
/// - Each running handler keeps one connection of the server. Let the pooler have at least as many
///   (`default_pool_size`) as all your processes run handlers. Time in the pooler's queue does not
///   count towards the inbox's own limits: set `query_wait_timeout` to a few seconds.
/// - Pause and statement limits of PostgreSQL end connections of the server. The pooler must then
///   end the client's connection too, as PgBouncer does.
///
/// # Write access
/// A role that may write to the tables can insert an event, which is then fulfilled without a
/// payment. So the tables have a schema of their own, `stripe_checkout` unless
/// [`schema`](Self::schema) names another. In that schema no other role has any right by default.
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
    /// Whether the application named the schema.
    is_named: bool,
    pooler: Pooler,
    dialect: Dialect,
    steps: Arc<Semaphore>,
}

/// The inbox type in the code that both databases share.
type Store = PostgresInbox;

impl PostgresInbox {
    /// The connection for reads. Behind a transaction pooler, reads run in a transaction.
    async fn read_on<'a>(&self, db: &'a mut Connection) -> Result<Read<'a>, InboxError> {
        Ok(match self.pooler {
            Pooler::None => Read::Connection(db),
            Pooler::Transaction => {
                let begin = "BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY";
                Read::Transaction(db.begin_with(begin).await.map_err(failed)?)
            }
        })
    }
}

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
    /// The statements that create the tables, one for each step, if you run migrations yourself.
    /// Run them in this order. They create the tables in the first schema of the connection's
    /// `search_path`: create `stripe_checkout` and name it there. You can run each one again: then
    /// it changes nothing.
    pub const MIGRATIONS: &[&str] = &[tables! {
        text: "text COLLATE \"C\"",
        integer: "bigint",
        flag: "boolean",
        bytes: "bytea",
        end: "",
        // A typical body is stored in its row. Compression costs more than the write, and the body
        // is stored for a short time only. Pages of 4 KB accept this number, too.
        bodies: " WITH (toast_tuple_target = 4000)",
        keyed: "",
    }];

    /// Creates an inbox on this pool, with its tables in the schema `stripe_checkout`: see
    /// [`migrate`](Self::migrate).
    ///
    /// # Errors
    /// As [`migrate`](Self::migrate).
    pub async fn migrated(pool: PgPool) -> Result<Self, InboxError> {
        let inbox = Self::new(pool);
        inbox.migrate().await?;
        Ok(inbox)
    }

    /// Opens an inbox on this pool whose tables already exist, in the schema `stripe_checkout`: see
    /// [`check`](Self::check).
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub async fn open(pool: PgPool) -> Result<Self, InboxError> {
        let inbox = Self::new(pool);
        inbox.check().await?;
        Ok(inbox)
    }

    /// Creates an inbox on this pool. It does not touch the database yet: call
    /// [`migrate`](Self::migrate) at start, or [`check`](Self::check) if you run the migrations
    /// yourself.
    pub fn new(pool: PgPool) -> Self {
        let half = pool.options().get_max_connections() / 2;
        Self {
            steps: Arc::new(Semaphore::new(half.max(1).try_into().unwrap_or(1))),
            pool,
            schema: SCHEMA.into(),
            is_named: false,
            pooler: Pooler::None,
            dialect: dialect(SCHEMA, Pooler::None),
        }
    }

    /// Uses this schema instead of `stripe_checkout`. With a schema that you name,
    /// [`migrate`](Self::migrate) also creates an inbox beside another one in the same database.
    #[must_use]
    pub fn schema(mut self, schema: impl Into<String>) -> Self {
        let schema: Arc<str> = schema.into().into();
        self.dialect = dialect(&schema, self.pooler);
        self.schema = schema;
        self.is_named = true;
        self
    }

    /// Supports a pooler that gives each transaction another connection of the server, and keeps no
    /// prepared statements: PgBouncer before 1.21 in transaction mode. See [Behind a
    /// pooler](Self#behind-a-pooler).
    ///
    /// The inbox then prepares each statement each time, inside an explicit transaction. That costs
    /// round trips to the pooler.
    ///
    /// # Handlers
    /// A statement of a handler must not stay prepared either, because its name may already be in
    /// use on the server's connection. Call [`persistent(false)`](sqlx::query::Query::persistent)
    /// on each query with parameters. A statement cache of capacity zero does not help: the driver
    /// names the statements nevertheless.
    ///
    /// Use the pool itself only inside of transactions, for the same reason.
    #[must_use]
    pub fn transaction_pooler(mut self) -> Self {
        self.pooler = Pooler::Transaction;
        self.dialect = dialect(&self.schema, self.pooler);
        self
    }

    /// Creates what is missing: the schema and the tables. Any number of processes may call it at
    /// once. It needs the right `CREATE` on the database to create the schema. It needs no right if
    /// everything is there.
    ///
    /// It creates no second, empty inbox by mistake. If another schema of the database has the
    /// tables of an inbox, you must name the [`schema`](Self::schema). If the `search_path` of the
    /// connection finds these other tables, the inbox logs a warning.
    ///
    /// # Errors
    /// [`InboxError::Unavailable`], [`InboxError::NewerTables`], [`InboxError::OtherInbox`].
    pub async fn migrate(&self) -> Result<(), InboxError> {
        let mut tried = 1;
        loop {
            match self.migrate_once().await {
                // `IF NOT EXISTS` checks first and creates then. The slower of two processes gets
                // an error, and finds everything the next time.
                Err(error @ InboxError::Unavailable(_)) if tried < MIGRATIONS_TRIED => {
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

    /// Checks the tables and changes nothing.
    ///
    /// # Errors
    /// [`InboxError::OlderTables`] if they are missing or were made by an older version of this
    /// crate, [`InboxError::NewerTables`], [`InboxError::Unavailable`].
    pub async fn check(&self) -> Result<(), InboxError> {
        let mut held = self.reader().await?;
        let mut db = self.read_on(&mut held).await?;
        let found = self.version(&mut db).await.map_err(unavailable)?;
        tables_are_known(found, Self::MIGRATIONS.len())?;
        tables_are_new_enough(found, Self::MIGRATIONS.len())
    }

    async fn migrate_once(&self) -> Result<(), InboxError> {
        let mut held = self.hold().await?;
        let mut tx = held.begin_unlimited().await?;
        let done = self.version(tx.db()).await.map_err(unavailable)?;
        let allowed = match done {
            0 => self.may_be_made(tx.db()).await,
            _ => tables_are_known(done, Self::MIGRATIONS.len()),
        };
        if let Err(refused) = allowed {
            tx.rollback().await?;
            return Err(refused);
        }
        if done < Self::MIGRATIONS.len() {
            self.apply(tx.db(), done).await.map_err(unavailable)?;
        }
        tx.commit().await
    }

    /// The number of migrations that the database has. It exceeds this crate's number if a later
    /// version of the crate migrated the database.
    async fn version(&self, conn: &mut PgConnection) -> Result<usize, sqlx::Error> {
        let sql = &self.dialect;
        let exists: bool = sql
            .scalar::<Postgres, _>("SELECT to_regclass($1) IS NOT NULL")
            .bind(format!("{}migrations", self.dialect.prefix))
            .fetch_one(&mut *conn)
            .await?;
        if !exists {
            return Ok(0);
        }
        let newest = "SELECT COALESCE(max(version), 0) FROM {}migrations";
        let newest: i64 = sql.scalar::<Postgres, _>(newest).fetch_one(conn).await?;
        Ok(newest.try_into().unwrap_or_default())
    }

    async fn apply(&self, conn: &mut PgConnection, done: usize) -> Result<(), sqlx::Error> {
        let sql = &self.dialect;
        let exists = "SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = $1)";
        let exists: bool = sql
            .scalar::<Postgres, _>(exists)
            .bind(self.schema.to_string())
            .fetch_one(&mut *conn)
            .await?;
        if !exists {
            sqlx::raw_sql(create_schema(&self.schema))
                .execute(&mut *conn)
                .await?;
        }
        sql.query::<Postgres>("SELECT set_config('search_path', quote_ident($1), true)")
            .bind(self.schema.to_string())
            .execute(&mut *conn)
            .await?;
        // Another process may just have created these objects. Notices about that are not useful.
        sqlx::raw_sql("SET LOCAL client_min_messages = warning")
            .execute(&mut *conn)
            .await?;
        for migration in Self::MIGRATIONS.iter().skip(done) {
            sqlx::raw_sql(*migration).execute(&mut *conn).await?;
        }
        Ok(())
    }

    /// Refuses an empty inbox beside another one, unless the schema was named. Perhaps the merchant
    /// meant to move the tables, or they are in the schema of a `search_path`.
    async fn may_be_made(&self, conn: &mut PgConnection) -> Result<(), InboxError> {
        let other = self.dialect.query_as::<Postgres, _>(FOUND_ELSEWHERE);
        let other = other
            .bind(self.schema.to_string())
            .fetch_optional(conn)
            .await;
        let other: Option<(String, bool)> = other.map_err(unavailable)?;
        let Some((other, on_path)) = other else {
            return Ok(());
        };
        let schema = self.schema.to_string();
        if !self.is_named {
            return Err(InboxError::OtherInbox { schema, other });
        }
        if on_path {
            tracing::warn!(
                schema,
                other,
                "this schema has no tables, so the inbox is a new and empty one, but another schema has the tables of an inbox. To go on with those, stop all processes and move them with ALTER TABLE … SET SCHEMA: see the chapter \"Moving an inbox\""
            );
        }
        Ok(())
    }

    /// Logs which roles may forge an event: all but superusers, the owners and this role.
    async fn warn_of_writers(&self) {
        match self.writers().await {
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

    /// The server, the database and the schema.
    fn place(&self) -> String {
        let options = self.pool.connect_options();
        let (host, port) = (options.get_host(), options.get_port());
        let (socket, schema) = (options.get_socket(), &self.schema);
        let database = options.get_database().unwrap_or(options.get_username());
        format!("PostgreSQL {host} {port} {socket:?} {database} {schema}")
    }

    async fn writers(&self) -> Result<Vec<String>, InboxError> {
        let mut held = self.reader().await?;
        let mut db = self.read_on(&mut held).await?;
        let roles = self.dialect.scalar::<Postgres, _>(WRITERS);
        let roles = roles
            .bind(self.schema.to_string())
            .fetch_all(&mut *db)
            .await;
        roles.map_err(unavailable)
    }

    /// A connection of the pool. The pool's own limit may be half a minute, which is longer than
    /// Stripe waits for a response.
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

/// Ends work that waits for a silent server.
async fn in_time<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, InboxError>>,
) -> Result<T, InboxError> {
    let ended = tokio::time::timeout(limit, work).await;
    ended.unwrap_or_else(|_| Err(unavailable(SILENT)))
}
