//! Orders in the database.

use std::{
    str::FromStr as _,
    time::{Duration, Instant},
};

use sqlx::{
    Postgres, SqlSafeStr as _, Sqlite, SqlitePool,
    migrate::{Migration, MigrationType, Migrator},
    pool::PoolConnection,
    postgres::PgPoolOptions,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use stripe_checkout_core::{
    Amount, AmountError, Currency, InboxError,
    fulfillment::{PostgresInbox, SqliteInbox},
    webhook::RefundStatus,
};
use tokio::{runtime::Handle, task::JoinError};

use crate::{
    cart::{self, Cart},
    db::{Either, Pool, now, on},
    order::{Order, OrderItem, OrderRefund, Shipment, Status, short},
    private_file::make_private,
    random::{self, NoRandom},
};

/// An error of the order database.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The address is of no supported database.
    #[error("it is neither sqlite://… nor postgres://…")]
    Address,
    /// The database is unreachable, or refused a statement.
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
    /// The tables could not be created or updated.
    #[error("the database could not be migrated")]
    Migrate(#[from] sqlx::migrate::MigrateError),
    /// The inbox's tables could not be created or updated.
    #[error("the inbox could not be migrated")]
    Inbox(#[from] InboxError),
    /// The cart's amount is too large to compute with.
    #[error(transparent)]
    Amount(#[from] AmountError),
    /// No order id could be generated.
    #[error(transparent)]
    Random(#[from] NoRandom),
    /// The program is shutting down.
    #[error("the work was cut off")]
    CutOff(#[from] JoinError),
    /// A row has a value that this program does not understand.
    #[error("the row of {table} cannot be read: {column} is not what it should be")]
    Row {
        /// The table.
        table: &'static str,
        /// The column.
        column: &'static str,
    },
}

/// The database.
#[derive(Debug, Clone)]
pub struct Store {
    pool: Pool,
    runtime: Handle,
}

/// One line of the admin's list of orders.
#[derive(Debug)]
pub struct OrderSummary {
    /// The order's id.
    pub id: String,
    /// Its status.
    pub status: Status,
    /// The total price.
    pub total: Amount,
    /// The PaymentIntent, once there is one.
    pub payment_intent: Option<String>,
    /// How many shipments were recorded. More than one is a bug.
    pub shipments: i64,
    /// When it was created, in seconds since 1970, UTC.
    pub created: i64,
}

/// Something that a person has to look at.
#[derive(Debug)]
pub struct Notice {
    /// The kind: `duplicate payment`, `mismatch`, `dispute`, …
    pub kind: String,
    /// The order, if one is known.
    pub order_id: Option<String>,
    /// The payment.
    pub payment_intent: Option<String>,
    /// Details for the merchant.
    pub detail: String,
    /// When it was written, in seconds since 1970, UTC.
    pub created: i64,
}

impl Store {
    /// Opens the database and brings its tables up to date.
    ///
    /// Any number of processes may do so at once. SQLite's file is created if it does not exist;
    /// PostgreSQL's database has to exist.
    ///
    /// Call it inside the tokio runtime that runs as long as the shop.
    ///
    /// # Errors
    /// [`StoreError`] if the address is of neither database, if the database cannot be opened, or
    /// if a newer version of the shop created its tables.
    pub async fn open(url: &str) -> Result<Self, StoreError> {
        let pool = match url.split(':').next() {
            Some("sqlite") => Either::Sqlite(
                open_sqlite(
                    SqliteConnectOptions::from_str(url)?
                        .create_if_missing(true)
                        // Readers do not wait for the writer, and events that were answered with
                        // 200 survive a power cut.
                        .journal_mode(SqliteJournalMode::Wal)
                        .synchronous(SqliteSynchronous::Full)
                        .foreign_keys(true)
                        // Two writers take turns instead of failing.
                        .busy_timeout(PATIENCE),
                )
                .await?,
            ),
            Some("postgres" | "postgresql") => Either::Postgres(
                PgPoolOptions::new()
                    .max_connections(10)
                    .acquire_timeout(PATIENCE)
                    .connect(url)
                    .await?,
            ),
            _ => return Err(StoreError::Address),
        };
        match &pool {
            Either::Sqlite(pool) => {
                // PostgreSQL runs the migrations of one process after the other. SQLite needs this
                // lock for that.
                let mut alone = pool.begin_with("BEGIN IMMEDIATE").await?;
                migrations(SQLITE)
                    .run_direct(None, &mut *alone, false)
                    .await?;
                alone.commit().await?;
                SqliteInbox::new(pool.clone()).migrate().await?;
            }
            Either::Postgres(pool) => {
                migrations(POSTGRES).run(pool).await?;
                PostgresInbox::new(pool.clone()).migrate().await?;
            }
        }
        Ok(Self {
            pool,
            runtime: Handle::current(),
        })
    }

    /// The pool, for work outside the checkout.
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// A connection on which each statement is its own transaction.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn acquire(
        &self,
    ) -> Result<Either<PoolConnection<Sqlite>, PoolConnection<Postgres>>, StoreError> {
        Ok(match &self.pool {
            Either::Sqlite(pool) => Either::Sqlite(pool.acquire().await?),
            Either::Postgres(pool) => Either::Postgres(pool.acquire().await?),
        })
    }

    /// Closes the database properly: SQLite moves the rest of its write-ahead log into the file.
    pub async fn close(&self) {
        let pool = &self.pool;
        on!(pool, pool.close().await);
    }

    /// Runs this work to its end, on the runtime that opened the store.
    ///
    /// If a buyer hangs up, only the future that waits here ends, not the work. A `begin` that is
    /// dropped half-way would leave its connection in a transaction that nothing ends (sqlx 0.9.0,
    /// transact-rs/sqlx#4393). And a connection that is opened on one of actix-web's runtimes dies
    /// with it.
    pub(crate) async fn to_the_end<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.runtime.spawn(work).await?
    }

    /// Creates an order from the cart, at today's prices, and returns its id.
    ///
    /// # Errors
    /// [`StoreError`]. Nothing is written then.
    pub async fn create_order(&self, cart: &Cart) -> Result<String, StoreError> {
        self.create_order_of(cart, None, None).await
    }

    /// Creates an order of this account.
    ///
    /// With a wish, the order is created once: the same wish again returns the id of the first
    /// order.
    pub(crate) async fn create_order_of(
        &self,
        cart: &Cart,
        account: Option<String>,
        wish: Option<String>,
    ) -> Result<String, StoreError> {
        let lines = cart.lines()?;
        let total = cart::total(&lines)?;
        let (id, amount) = (random::token()?, to_sql(total)?);
        let on_order = lines.iter().any(|line| line.product.on_order);
        let pool = self.pool.clone();
        self.to_the_end(async move {
            // SQLite takes the write lock at once. Later, after it has read, it could only fail.
            let begin = match pool {
                Either::Sqlite(_) => "BEGIN IMMEDIATE",
                Either::Postgres(_) => "BEGIN",
            };
            on!(pool, {
                let mut transaction = pool.begin_with(begin).await?;
                let made = sqlx::query(
                    "INSERT INTO orders (id, amount, currency, on_order, account_id, wish) VALUES ($1, $2, $3, $4, $5, $6)
                     ON CONFLICT (account_id, wish) DO NOTHING",
                )
                .bind(&id)
                .bind(amount)
                .bind(total.currency().code())
                .bind(i64::from(on_order))
                .bind(&account)
                .bind(&wish)
                .execute(&mut *transaction)
                .await?
                .rows_affected();
                if made == 0 {
                    let (known,): (String,) =
                        sqlx::query_as("SELECT id FROM orders WHERE account_id = $1 AND wish = $2")
                            .bind(&account)
                            .bind(&wish)
                            .fetch_one(&mut *transaction)
                            .await?;
                    return Ok(known);
                }
                for line in lines {
                    sqlx::query("INSERT INTO order_items (order_id, sku, name, quantity, unit_amount) VALUES ($1, $2, $3, $4, $5)")
                        .bind(&id)
                        .bind(line.product.sku)
                        .bind(line.product.name)
                        .bind(i64::from(line.quantity))
                        .bind(to_sql(line.product.price)?)
                        .execute(&mut *transaction)
                        .await?;
                }
                transaction.commit().await?;
            });
            tracing::info!(order = short(&id), amount = %total, "order made");
            Ok(id)
        })
        .await
    }

    /// The order with this id, if there is one.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn order(&self, id: &str) -> Result<Option<Order>, StoreError> {
        if !random::is_token(id) {
            return Ok(None);
        }
        let (pool, id) = (self.pool.clone(), id.to_owned());
        self.to_the_end(async move {
            type Row = (String, i64, String, Option<String>, i64, i64, Option<i64>);
            let row: Option<Row> = on!(
                pool,
                sqlx::query_as(
                    "SELECT status, amount, currency, payment_intent, created_at, on_order, capture_before FROM orders WHERE id = $1",
                )
                .bind(&id)
                .fetch_optional(pool)
                .await?
            );
            let Some((word, minor, currency, payment_intent, created, on_order, capture_before)) = row
            else {
                return Ok(None);
            };
            let (charged,): (Option<i64>,) = on!(
                pool,
                sqlx::query_as(
                    "SELECT CAST(sum(amount) AS BIGINT) FROM ledger WHERE payment_intent = $1 AND kind IN ('taking', 'capture')",
                )
                .bind(&payment_intent)
                .fetch_one(pool)
                .await?
            );
            let items: Vec<(String, String, i64, i64)> = on!(
                pool,
                sqlx::query_as(
                    "SELECT sku, name, quantity, unit_amount FROM order_items WHERE order_id = $1 ORDER BY rowid",
                )
                .bind(&id)
                .fetch_all(pool)
                .await?
            );
            let shipments: Vec<(i64, i64)> = on!(
                pool,
                sqlx::query_as("SELECT id, created_at FROM shipments WHERE order_id = $1 ORDER BY id")
                    .bind(&id)
                    .fetch_all(pool)
                    .await?
            );
            let total = amount(minor, &currency)?;
            let refunds = match &payment_intent {
                Some(payment) => refunds(&pool, payment, total.currency()).await?,
                None => Vec::new(),
            };
            let charged = charged.map(|minor| amount_of("ledger", minor, &currency));
            let items = items.into_iter().map(|(sku, name, quantity, unit)| {
                Ok(OrderItem {
                    sku,
                    name,
                    quantity: unsigned(quantity, "order_items", "quantity")?,
                    unit: Amount::new(
                        unsigned(unit, "order_items", "unit_amount")?,
                        total.currency(),
                    ),
                })
            });
            let shipments = shipments
                .into_iter()
                .map(|(id, created)| Shipment { id, created });
            Ok(Some(Order {
                status: status(&word)?,
                total,
                payment_intent,
                on_order: on_order != 0,
                capture_before,
                charged: charged.transpose()?,
                refunds,
                created,
                items: items.collect::<Result<_, StoreError>>()?,
                shipments: shipments.collect(),
                id,
            }))
        })
        .await
    }

    /// The newest orders, for the admin.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn newest_orders(&self, limit: u32) -> Result<Vec<OrderSummary>, StoreError> {
        self.summaries(None, limit).await
    }

    /// The newest orders: of all accounts, or of one account.
    pub(crate) async fn summaries(
        &self,
        account: Option<String>,
        limit: u32,
    ) -> Result<Vec<OrderSummary>, StoreError> {
        macro_rules! select {
            ($condition:literal) => {
                concat!(
                    "SELECT id, status, amount, currency, payment_intent, created_at,
                            (SELECT count(*) FROM shipments WHERE order_id = orders.id)
                     FROM orders WHERE ",
                    $condition,
                    " ORDER BY created_at DESC, rowid DESC LIMIT $1"
                )
            };
        }
        // One statement for both cases would use neither index.
        let select = match account {
            Some(_) => select!("account_id = $2"),
            None => select!("CAST($2 AS TEXT) IS NULL"),
        };
        type Row = (String, String, i64, String, Option<String>, i64, i64);
        let pool = self.pool.clone();
        self.to_the_end(async move {
            let rows: Vec<Row> = on!(
                pool,
                sqlx::query_as(select)
                    .bind(i64::from(limit))
                    .bind(&account)
                    .fetch_all(pool)
                    .await?
            );
            rows.into_iter()
                .map(
                    |(id, word, minor, currency, payment_intent, created, shipments)| {
                        Ok(OrderSummary {
                            id,
                            status: status(&word)?,
                            total: amount(minor, &currency)?,
                            payment_intent,
                            shipments,
                            created,
                        })
                    },
                )
                .collect()
        })
        .await
    }

    /// The order that this payment paid, or is about to pay.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn order_of(&self, payment: &str) -> Result<Option<Order>, StoreError> {
        if !is_stripes_id(payment) {
            return Ok(None);
        }
        let (pool, payment) = (self.pool.clone(), payment.to_owned());
        let id: Option<(String,)> = self
            .to_the_end(async move {
                Ok(on!(
                    pool,
                    sqlx::query_as("SELECT id FROM orders WHERE payment_intent = $1")
                        .bind(&payment)
                        .fetch_optional(pool)
                        .await?
                ))
            })
            .await?;
        match id {
            Some((id,)) => self.order(&id).await,
            None => Ok(None),
        }
    }

    /// The newest notices, for the admin: of all payments, or of one payment.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn newest_notices(
        &self,
        payment: Option<&str>,
        limit: u32,
    ) -> Result<Vec<Notice>, StoreError> {
        type Row = (String, Option<String>, Option<String>, String, i64);
        let (pool, payment) = (self.pool.clone(), payment.map(str::to_owned));
        self.to_the_end(async move {
            let rows: Vec<Row> = on!(
                pool,
                sqlx::query_as(
                    "SELECT kind, order_id, payment_intent, detail, created_at FROM notices
                     WHERE CAST($1 AS TEXT) IS NULL OR payment_intent = $1 ORDER BY id DESC LIMIT $2",
                )
                .bind(&payment)
                .bind(i64::from(limit))
                .fetch_all(pool)
                .await?
            );
            let notices = rows.into_iter().map(
                |(kind, order_id, payment_intent, detail, created)| Notice {
                    kind,
                    order_id,
                    payment_intent,
                    detail,
                    created,
                },
            );
            Ok(notices.collect())
        })
        .await
    }

    /// Opens an admin session for `lifetime`, and deletes the sessions that have ended.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn open_session(
        &self,
        id: String,
        csrf: String,
        lifetime: Duration,
    ) -> Result<(), StoreError> {
        let pool = self.pool.clone();
        self.to_the_end(async move {
            let ends = now().saturating_add_unsigned(lifetime.as_secs());
            on!(pool, {
                sqlx::query("DELETE FROM sessions WHERE ends_at <= $1")
                    .bind(now())
                    .execute(pool)
                    .await?;
                sqlx::query("INSERT INTO sessions (id, csrf, ends_at) VALUES ($1, $2, $3)")
                    .bind(id)
                    .bind(csrf)
                    .bind(ends)
                    .execute(pool)
                    .await?;
            });
            Ok(())
        })
        .await
    }

    /// The token for the forms of this session, if the session has not ended.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn session(&self, id: String) -> Result<Option<String>, StoreError> {
        let pool = self.pool.clone();
        self.to_the_end(async move {
            let row: Option<(String,)> = on!(
                pool,
                sqlx::query_as("SELECT csrf FROM sessions WHERE id = $1 AND ends_at > $2")
                    .bind(id)
                    .bind(now())
                    .fetch_optional(pool)
                    .await?
            );
            Ok(row.map(|(csrf,)| csrf))
        })
        .await
    }

    /// Ends a session.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn end_session(&self, id: String) -> Result<(), StoreError> {
        let pool = self.pool.clone();
        self.to_the_end(async move {
            on!(
                pool,
                sqlx::query("DELETE FROM sessions WHERE id = $1")
                    .bind(id)
                    .execute(pool)
                    .await
                    .map(drop)
            )?;
            Ok(())
        })
        .await
    }
}

/// The longest wait for a connection, and in SQLite for the write lock. Both waits together end
/// well before a webhook's handler has to (20 s).
const PATIENCE: Duration = Duration::from_secs(5);

/// Opens SQLite's file, and retries while another process creates it.
///
/// The first connection to a new file creates the write-ahead log. If several processes do that at
/// once, SQLite lets one succeed and does not let the others wait: they try again.
async fn open_sqlite(options: SqliteConnectOptions) -> Result<SqlitePool, sqlx::Error> {
    const LOCKED: &str = "5";
    let file = options.get_filename();
    // A database in memory has a made-up name.
    if !file.to_string_lossy().starts_with("file:") {
        make_private(file).map_err(sqlx::Error::Io)?;
    }
    let pool = SqlitePoolOptions::new()
        .max_connections(8)
        .acquire_timeout(PATIENCE);
    let begun = Instant::now();
    loop {
        match pool.clone().connect_with(options.clone()).await {
            Err(sqlx::Error::Database(error))
                if error.code().as_deref() == Some(LOCKED) && begun.elapsed() < PATIENCE =>
            {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            opened => return opened,
        }
    }
}

/// The migrations are a part of the program. It needs no files beside it, and no database when it
/// is compiled.
const SQLITE: &[&str] = &[
    include_str!("../migrations/sqlite/1_shop.sql"),
    include_str!("../migrations/sqlite/2_processes.sql"),
    include_str!("../migrations/sqlite/3_money.sql"),
    include_str!("../migrations/sqlite/4_accounts.sql"),
];
const POSTGRES: &[&str] = &[
    include_str!("../migrations/postgres/1_shop.sql"),
    include_str!("../migrations/postgres/2_money.sql"),
    include_str!("../migrations/postgres/3_accounts.sql"),
];

fn migrations(files: &'static [&'static str]) -> Migrator {
    let versions = (1..).zip(files).map(|(version, sql)| {
        let kind = MigrationType::Simple;
        Migration::new(version, "shop".into(), kind, sql.into_sql_str(), false)
    });
    Migrator::with_migrations(versions.collect())
}

/// The refunds of a payment, the oldest first.
pub(crate) async fn refunds(
    pool: &Pool,
    payment: &str,
    currency: Currency,
) -> Result<Vec<OrderRefund>, StoreError> {
    type Row = (String, i64, String, Option<String>, Option<String>, i64);
    let rows: Vec<Row> = on!(
        pool,
        sqlx::query_as(
            "SELECT id, amount, status, reason, failure_reason, created_at FROM refunds WHERE payment_intent = $1 ORDER BY created_at, id",
        )
        .bind(payment)
        .fetch_all(pool)
        .await?
    );
    rows.into_iter()
        .map(|(id, minor, status, reason, failure_reason, created)| {
            Ok(OrderRefund {
                id,
                amount: Amount::new(unsigned(minor, "refunds", "amount")?, currency),
                status: RefundStatus::from(status),
                reason,
                failure_reason,
                created,
            })
        })
        .collect()
}

/// Whether a text may be one of Stripe's ids. Anything else need not be looked up: PostgreSQL
/// refuses some characters, like NUL, with an error.
pub(crate) fn is_stripes_id(text: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    (1..=255).contains(&text.len()) && text.bytes().all(is_part)
}

/// An amount's minor units for SQL, whose integers are signed.
pub(crate) fn to_sql(amount: Amount) -> Result<i64, AmountError> {
    i64::try_from(amount.minor()).map_err(|_| AmountError::OutOfRange)
}

/// The amount in a row of `orders`.
pub(crate) fn amount(minor: i64, currency: &str) -> Result<Amount, StoreError> {
    amount_of("orders", minor, currency)
}

/// The amount in a row of this table.
pub(crate) fn amount_of(
    table: &'static str,
    minor: i64,
    currency: &str,
) -> Result<Amount, StoreError> {
    let currency = Currency::from_str(currency).map_err(|_| StoreError::Row {
        table,
        column: "currency",
    })?;
    Ok(Amount::new(unsigned(minor, table, "amount")?, currency))
}

fn status(word: &str) -> Result<Status, StoreError> {
    Status::parse(word).ok_or(StoreError::Row {
        table: "orders",
        column: "status",
    })
}

pub(crate) fn unsigned(
    value: i64,
    table: &'static str,
    column: &'static str,
) -> Result<u64, StoreError> {
    u64::try_from(value).map_err(|_| StoreError::Row { table, column })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn orders_of_the_time_before_the_ledger_are_kept_and_entered() -> Result<(), StoreError> {
        let file = std::env::temp_dir().join(format!("shop-before-{}.db", std::process::id()));
        let url = format!("sqlite://{}", file.display());
        let options = SqliteConnectOptions::from_str(&url)?.create_if_missing(true);
        let old = sqlx::SqlitePool::connect_with(options).await?;
        migrations(&SQLITE[..2]).run(&old).await?;
        let [paid, open] = [random::token()?, random::token()?];
        for (id, status, payment) in [(&paid, "paid", Some("pi_1")), (&open, "failed", None)] {
            sqlx::query("INSERT INTO orders (id, status, amount, currency, payment_intent) VALUES ($1, $2, 4550, 'EUR', $3)")
                .bind(id)
                .bind(status)
                .bind(payment)
                .execute(&old)
                .await?;
            sqlx::query("INSERT INTO order_items VALUES ($1, 'mug', 'Harbour mug', 1, 4550)")
                .bind(id)
                .execute(&old)
                .await?;
        }
        for change in [
            "INSERT INTO shipments (order_id, payment_intent, created_at) VALUES ($1, 'pi_1', 1000)",
            "INSERT INTO refunds VALUES ('re_1', $1, 550, 'succeeded')",
        ] {
            sqlx::query(change).bind(&paid).execute(&old).await?;
        }
        old.close().await;

        let store = Store::open(&url).await?;
        let order = store.order(&paid).await?.expect("the order");
        let eur = |minor| Amount::new(minor, Currency::EUR);
        assert_eq!(
            (order.status, order.charged),
            (Status::Paid, Some(eur(4550)))
        );
        assert_eq!((order.items.len(), order.shipments.len()), (1, 1));
        assert_eq!(order.refunds[0].amount, eur(550));
        let other = store.order(&open).await?.expect("the other order");
        assert_eq!((other.status, other.charged), (Status::Failed, None));
        let entries = store.ledger_of("pi_1").await?;
        assert_eq!((entries.len(), entries[0].created), (1, 1000));
        store.close().await;
        for end in ["", "-wal", "-shm"] {
            let _ = std::fs::remove_file(format!("{}{end}", file.display()));
        }
        Ok(())
    }
}
