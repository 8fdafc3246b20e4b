//! The shop's side of step 5: orders and shipments in SQLite, in the same file as the inbox's
//! events.

use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use sqlx::{SqliteConnection, SqlitePool};
use stripe_checkout_core::fulfillment::{Due, FulfillmentHandler, PaymentEvent, SqliteInbox};
use stripe_checkout_core::requests::PaymentRequest;
use stripe_checkout_core::webhook::Payment;
use stripe_checkout_core::{BoxError, Pricing, PricingError, Visitor};
use uuid::Uuid;

use crate::{Cart, OrderId, teapots};

/// The orders and their payment status.
#[derive(Debug, Clone)]
pub struct Database(SqlitePool);

const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS orders (id TEXT PRIMARY KEY, teapots INTEGER NOT NULL, currency TEXT NOT NULL, status TEXT NOT NULL DEFAULT 'open');
    CREATE TABLE IF NOT EXISTS shipments (order_id TEXT NOT NULL);
";

impl Database {
    /// Opens or creates the file, with the shop's tables and the inbox's.
    ///
    /// # Errors
    /// The file cannot be opened, or its tables cannot be created.
    pub async fn open(file: &str) -> anyhow::Result<(Self, SqliteInbox)> {
        let file = SqliteConnectOptions::new()
            .filename(file)
            .create_if_missing(true);
        let pool = SqlitePoolOptions::new().connect_with(file).await?;
        let inbox = SqliteInbox::migrated(pool.clone()).await?;
        sqlx::raw_sql(TABLES).execute(&pool).await?;
        Ok((Self(pool), inbox))
    }

    /// Places a new order and returns its id.
    ///
    /// # Errors
    /// The database fails.
    pub async fn place(&self, cart: Cart) -> sqlx::Result<Uuid> {
        let id = Uuid::new_v4();
        sqlx::query("INSERT INTO orders (id, teapots, currency) VALUES (?, ?, ?)")
            .bind(id.to_string())
            .bind(cart.teapots.get())
            .bind(cart.currency.code())
            .execute(&self.0)
            .await?;
        Ok(id)
    }

    /// Returns the status of an order in words, or `None` if there is no such order.
    ///
    /// # Errors
    /// The database fails.
    pub async fn status(&self, id: Uuid) -> sqlx::Result<Option<String>> {
        sqlx::query_scalar(
            "SELECT status || ', shipments: ' || (SELECT count(*) FROM shipments WHERE order_id = id) FROM orders WHERE id = ?",
        )
        .bind(id.to_string())
        .fetch_optional(&self.0)
        .await
    }
}

impl Pricing for Database {
    type Order = OrderId;

    async fn price(&self, asked: OrderId, _: &Visitor) -> Result<PaymentRequest, PricingError> {
        let mut db = self.0.acquire().await?;
        let cart = cart(&mut db, &asked.order.to_string()).await?;
        let cart = cart.ok_or_else(|| PricingError::refused("We do not know this order."))?;
        let price = teapots(cart).ok_or_else(|| PricingError::refused("We have no such price."))?;
        let quantity = cart.teapots.get().into();
        Ok(PaymentRequest::new(asked.order, price).line("Teapot", quantity, price))
    }
}

impl FulfillmentHandler<SqliteConnection> for Database {
    async fn payment_succeeded(
        &self,
        payment: &Payment,
        db: &mut SqliteConnection,
    ) -> Result<(), BoxError> {
        let order = payment.order_id().ok_or("a payment without an order")?;
        set_status(db, order, "paid").await?;
        sqlx::query("INSERT INTO shipments (order_id) VALUES (?)")
            .bind(order)
            .execute(db)
            .await?;
        Ok(())
    }

    async fn amount_due(
        &self,
        payment: &Payment,
        db: &mut SqliteConnection,
    ) -> Result<Due, BoxError> {
        let order = payment.order_id().ok_or("a payment without an order")?;
        let cart = cart(db, order).await?.ok_or("an unknown order")?;
        Ok(Due::Exactly(teapots(cart).ok_or("no price")?))
    }

    async fn on_event(
        &self,
        event: &PaymentEvent<'_>,
        db: &mut SqliteConnection,
    ) -> Result<(), BoxError> {
        match event {
            PaymentEvent::Mismatch { payment, .. } => {
                let order = payment.order_id().ok_or("a payment without an order")?;
                set_status(db, order, "paid, but not what it costs").await
            }
            _ => Ok(()),
        }
    }
}

async fn set_status(db: &mut SqliteConnection, order: &str, status: &str) -> Result<(), BoxError> {
    let updated = sqlx::query("UPDATE orders SET status = ? WHERE id = ?")
        .bind(status)
        .bind(order)
        .execute(db)
        .await?;
    // A missing order is a mistake that must not go unnoticed.
    match updated.rows_affected() {
        1 => Ok(()),
        _ => Err("an unknown order".into()),
    }
}

async fn cart(db: &mut SqliteConnection, order: &str) -> Result<Option<Cart>, BoxError> {
    let row: Option<(u8, String)> =
        sqlx::query_as("SELECT teapots, currency FROM orders WHERE id = ?")
            .bind(order)
            .fetch_optional(db)
            .await?;
    let Some((teapots, currency)) = row else {
        return Ok(None);
    };
    Ok(Some(Cart {
        teapots: teapots.try_into()?,
        currency: currency.parse()?,
    }))
}
