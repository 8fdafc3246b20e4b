//! Orders in SQLite.

use std::{str::FromStr as _, time::Duration};

use sqlx::{
    Row as _, SqlSafeStr as _,
    migrate::{Migration, MigrationType, Migrator},
    sqlite::{
        SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteRow,
        SqliteSynchronous,
    },
};
use stripe_checkout_core::{Amount, AmountError, Currency, InboxError, fulfillment::SqliteInbox};

use crate::{
    cart::{self, Cart},
    order::{Order, OrderItem, Shipment, Status, short},
    random::{self, NoRandom},
};

/// What can go wrong with the orders.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The database cannot be reached, or refused.
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
    /// The tables could not be made.
    #[error("the database could not be migrated")]
    Migrate(#[from] sqlx::migrate::MigrateError),
    /// The inbox's tables could not be made.
    #[error("the inbox could not be migrated")]
    Inbox(#[from] InboxError),
    /// The cart is too dear to compute with.
    #[error(transparent)]
    Amount(#[from] AmountError),
    /// No order id could be made.
    #[error(transparent)]
    Random(#[from] NoRandom),
    /// Somebody wrote into the database what this program does not understand.
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
    pool: SqlitePool,
}

/// One line of the admin's list.
#[derive(Debug)]
pub struct OrderSummary {
    /// The order's id.
    pub id: String,
    /// Where it stands.
    pub status: Status,
    /// What it costs.
    pub total: Amount,
    /// The PaymentIntent, once there is one.
    pub payment_intent: Option<String>,
    /// How many shipments were written. More than one is a bug.
    pub shipments: i64,
    /// When it was made, as text in UTC.
    pub created: String,
}

/// Something that a person has to look at.
#[derive(Debug)]
pub struct Notice {
    /// What it is: `duplicate_payment`, `mismatch`, `dispute`, …
    pub kind: String,
    /// The order, if one is known.
    pub order_id: Option<String>,
    /// The payment.
    pub payment_intent: Option<String>,
    /// What is known about it.
    pub detail: String,
    /// When it was written, as text in UTC.
    pub created: String,
}

impl Store {
    /// Opens the database, makes the file if there is none, and brings its tables up to date.
    ///
    /// # Errors
    /// [`StoreError`] if the address is not one of SQLite's, the file cannot be opened, or it was made by a newer version of the shop.
    pub async fn open(url: &str) -> Result<Self, StoreError> {
        let options = SqliteConnectOptions::from_str(url)?
            .create_if_missing(true)
            // Readers do not wait for the writer, and what was answered with 200 survives a power cut.
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            // Two writers take turns instead of failing.
            .busy_timeout(Duration::from_secs(5));
        let pool = SqlitePoolOptions::new()
            .max_connections(8)
            // Together with the wait for the lock this ends well before a webhook's handler has to (20 s).
            .acquire_timeout(Duration::from_secs(5))
            .connect_with(options)
            .await?;
        migrations().run(&pool).await?;
        let store = Self { pool };
        store.inbox().migrate().await?;
        Ok(store)
    }

    /// The inbox beside the orders: an order, its shipment and the mark that its event is done commit together.
    pub(crate) fn inbox(&self) -> SqliteInbox {
        SqliteInbox::new(self.pool.clone())
    }

    /// The pool, for what goes on outside of the checkout.
    pub fn pool(&self) -> &SqlitePool {
        &self.pool
    }

    /// Closes the file properly: what is still in the write-ahead log moves into it.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    /// Makes an order of what is in the cart, at today's prices, and gives its id.
    ///
    /// # Errors
    /// [`StoreError`]. Nothing is written then.
    pub async fn create_order(&self, cart: &Cart) -> Result<String, StoreError> {
        let lines = cart.lines()?;
        let total = cart::total(&lines)?;
        let id = random::token()?;
        // A browser that hangs up may end this anywhere: SQLite then rolls back. Elsewhere run it in a task of its own: on PostgreSQL a `begin` that is
        // dropped half-way leaves its connection in a transaction that nobody ends (sqlx 0.9.0, transact-rs/sqlx#4393).
        let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        sqlx::query("INSERT INTO orders (id, amount, currency) VALUES (?, ?, ?)")
            .bind(&id)
            .bind(to_sql(total)?)
            .bind(total.currency().code())
            .execute(&mut *transaction)
            .await?;
        for line in lines {
            sqlx::query("INSERT INTO order_items (order_id, sku, name, quantity, unit_amount) VALUES (?, ?, ?, ?, ?)")
                .bind(&id)
                .bind(line.product.sku)
                .bind(line.product.name)
                .bind(i64::from(line.quantity))
                .bind(to_sql(line.product.price)?)
                .execute(&mut *transaction)
                .await?;
        }
        transaction.commit().await?;
        tracing::info!(order = short(&id), amount = %total, "order made");
        Ok(id)
    }

    /// The order with this id, if there is one.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn order(&self, id: &str) -> Result<Option<Order>, StoreError> {
        if !random::is_token(id) {
            return Ok(None);
        }
        let Some(row) = sqlx::query(
            "SELECT id, status, amount, currency, payment_intent, created_at FROM orders WHERE id = ?",
        )
        .bind(id)
        .fetch_optional(&self.pool)
        .await?
        else {
            return Ok(None);
        };
        let total = amount(&row, "amount")?;
        let items = sqlx::query("SELECT sku, name, quantity, unit_amount FROM order_items WHERE order_id = ? ORDER BY rowid")
            .bind(id)
            .fetch_all(&self.pool)
            .await?;
        let shipments =
            sqlx::query("SELECT id, created_at FROM shipments WHERE order_id = ? ORDER BY id")
                .bind(id)
                .fetch_all(&self.pool)
                .await?;
        Ok(Some(Order {
            id: row.try_get("id")?,
            status: status(&row)?,
            total,
            payment_intent: row.try_get("payment_intent")?,
            created: row.try_get("created_at")?,
            items: items
                .iter()
                .map(|row| {
                    Ok(OrderItem {
                        sku: row.try_get("sku")?,
                        name: row.try_get("name")?,
                        quantity: unsigned(row.try_get("quantity")?, "order_items", "quantity")?,
                        unit: Amount::new(
                            unsigned(row.try_get("unit_amount")?, "order_items", "unit_amount")?,
                            total.currency(),
                        ),
                    })
                })
                .collect::<Result<_, StoreError>>()?,
            shipments: shipments
                .iter()
                .map(|row| {
                    Ok(Shipment {
                        id: row.try_get("id")?,
                        created: row.try_get("created_at")?,
                    })
                })
                .collect::<Result<_, StoreError>>()?,
        }))
    }

    /// The newest orders, for the admin.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn newest_orders(&self, limit: u32) -> Result<Vec<OrderSummary>, StoreError> {
        let rows = sqlx::query(
            "SELECT id, status, amount, currency, payment_intent, datetime(created_at, 'unixepoch') AS created,
                    (SELECT count(*) FROM shipments WHERE order_id = orders.id) AS shipments
             FROM orders ORDER BY created_at DESC, rowid DESC LIMIT ?",
        )
        .bind(i64::from(limit))
        .fetch_all(&self.pool)
        .await?;
        rows.iter()
            .map(|row| {
                Ok(OrderSummary {
                    id: row.try_get("id")?,
                    status: status(row)?,
                    total: amount(row, "amount")?,
                    payment_intent: row.try_get("payment_intent")?,
                    shipments: row.try_get("shipments")?,
                    created: row.try_get("created")?,
                })
            })
            .collect()
    }

    /// The newest notices, for the admin.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn newest_notices(&self, limit: u32) -> Result<Vec<Notice>, StoreError> {
        let rows = sqlx::query(
            "SELECT kind, order_id, payment_intent, detail, datetime(created_at, 'unixepoch') AS created
             FROM notices ORDER BY id DESC LIMIT ?",
        )
        .bind(i64::from(limit))
        .fetch_all(&self.pool)
        .await?;
        rows.iter()
            .map(|row| {
                Ok(Notice {
                    kind: row.try_get("kind")?,
                    order_id: row.try_get("order_id")?,
                    payment_intent: row.try_get("payment_intent")?,
                    detail: row.try_get("detail")?,
                    created: row.try_get("created")?,
                })
            })
            .collect()
    }
}

/// The migrations, as part of the program: it needs no files beside it, and no database while it is compiled.
fn migrations() -> Migrator {
    Migrator::with_migrations(vec![Migration::new(
        1,
        "shop".into(),
        MigrationType::Simple,
        include_str!("../migrations/1_shop.sql").into_sql_str(),
        false,
    )])
}

/// An amount's minor units for SQLite, whose integers are signed.
pub(crate) fn to_sql(amount: Amount) -> Result<i64, AmountError> {
    i64::try_from(amount.minor()).map_err(|_| AmountError::OutOfRange)
}

/// Reads an amount from a row of `orders`.
pub(crate) fn amount(row: &SqliteRow, column: &'static str) -> Result<Amount, StoreError> {
    let code: String = row.try_get("currency")?;
    let currency = Currency::from_str(&code).map_err(|_| StoreError::Row {
        table: "orders",
        column: "currency",
    })?;
    Ok(Amount::new(
        unsigned(row.try_get(column)?, "orders", column)?,
        currency,
    ))
}

fn status(row: &SqliteRow) -> Result<Status, StoreError> {
    let word: String = row.try_get("status")?;
    Status::parse(&word).ok_or(StoreError::Row {
        table: "orders",
        column: "status",
    })
}

fn unsigned(value: i64, table: &'static str, column: &'static str) -> Result<u64, StoreError> {
    u64::try_from(value).map_err(|_| StoreError::Row { table, column })
}
