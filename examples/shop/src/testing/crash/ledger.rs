//! Reads the shop's database directly, without the shop.

use std::{
    collections::{BTreeMap, HashSet},
    path::Path,
};

use sqlx::{
    Connection as _, FromRow, PgConnection, SqliteConnection, postgres::PgRow, sqlite::SqliteRow,
};

/// The shop's database.
#[derive(Debug)]
pub(super) enum Ledger {
    Sqlite(String),
    Postgres(String),
}

/// What the comparison found in the database.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) paid: usize,
    pub(super) shipments: usize,
    /// Orders with more than one shipment.
    pub(super) double: usize,
    /// Paid orders without a shipment.
    pub(super) missing: usize,
    /// Shipments of orders that are not paid, or not by the payment that the shipment names.
    pub(super) unpaid: usize,
    /// Attempts at events beyond the first one.
    pub(super) repeated: usize,
    /// Descriptions of everything that is wrong.
    pub(super) wrong: Vec<String>,
}

type EventRow = (String, Option<String>, String, i64, Option<String>);

/// An event in the inbox.
#[derive(Debug)]
struct Event {
    id: String,
    payment: Option<String>,
    state: String,
    attempts: i64,
    last_error: Option<String>,
}

impl Event {
    fn words(&self) -> String {
        let error = self.last_error.as_deref().unwrap_or("no error");
        format!(
            "{} is {} after {} attempts, {error}",
            self.id, self.state, self.attempts
        )
    }
}

impl Ledger {
    pub(super) fn sqlite(file: &Path) -> Self {
        Self::Sqlite(format!("sqlite://{}", file.display()))
    }

    pub(super) fn postgres(url: &str) -> Self {
        Self::Postgres(url.to_owned())
    }

    /// Returns its `DATABASE_URL`.
    pub(super) fn url(&self) -> &str {
        match self {
            Self::Sqlite(url) | Self::Postgres(url) => url,
        }
    }

    /// Queries on a new connection, because the server may have stopped since the last query.
    async fn rows<T>(&self, sql: &'static str) -> Result<Vec<T>, sqlx::Error>
    where
        T: for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin,
    {
        match self {
            Self::Sqlite(url) => {
                let mut conn = SqliteConnection::connect(url).await?;
                let rows = sqlx::query_as(sql).fetch_all(&mut conn).await?;
                conn.close().await?;
                Ok(rows)
            }
            Self::Postgres(url) => {
                let mut conn = PgConnection::connect(url).await?;
                // The inbox's tables are in their own schema beside the shop's.
                sqlx::query("SELECT set_config('search_path', current_setting('search_path') || ', stripe_checkout', false)")
                    .execute(&mut conn)
                    .await?;
                let rows = sqlx::query_as(sql).fetch_all(&mut conn).await?;
                conn.close().await?;
                Ok(rows)
            }
        }
    }

    /// Returns the number of pending events.
    pub(super) async fn pending(&self) -> Result<i64, sqlx::Error> {
        let sql = "SELECT count(*) FROM stripe_checkout_events WHERE state = 'pending'";
        let rows: Vec<(i64,)> = self.rows(sql).await?;
        Ok(rows[0].0)
    }

    /// Expires the leases of all events that a process has taken.
    pub(super) async fn expire_leases(&self) -> Result<(), sqlx::Error> {
        let sql = "UPDATE stripe_checkout_events SET due = 0 WHERE state = 'pending' AND taken <> 0 RETURNING id";
        let _: Vec<(String,)> = self.rows(sql).await?;
        Ok(())
    }

    async fn events(&self) -> Result<Vec<Event>, sqlx::Error> {
        let sql = "SELECT id, payment, state, attempts, last_error FROM stripe_checkout_events";
        let rows = self.rows::<EventRow>(sql).await?;
        let event = |(id, payment, state, attempts, last_error)| Event {
            id,
            payment,
            state,
            attempts,
            last_error,
        };
        Ok(rows.into_iter().map(event).collect())
    }

    /// Compares the database with the payments made, by order, and with the acknowledged events.
    pub(super) async fn compare(
        &self,
        paid: &BTreeMap<String, Vec<String>>,
        acknowledged: &HashSet<String>,
    ) -> Result<Found, sqlx::Error> {
        let shipped: Vec<(String, String)> = self
            .rows("SELECT order_id, payment_intent FROM shipments")
            .await?;
        let marked: Vec<(String,)> = self
            .rows("SELECT id FROM orders WHERE status <> 'pending' AND status <> 'failed'")
            .await?;
        let notices: Vec<(String, String)> = self.rows("SELECT kind, detail FROM notices").await?;
        let events = self.events().await?;

        let mut found = Found {
            paid: paid.len(),
            shipments: shipped.len(),
            ..Found::default()
        };
        let mut shipments: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (order, payment) in &shipped {
            shipments.entry(order).or_default().push(payment);
        }
        let events_of = |payment: &str| -> Vec<String> {
            let of_it = |event: &&Event| event.payment.as_deref() == Some(payment);
            events.iter().filter(of_it).map(Event::words).collect()
        };
        for (order, payments) in paid {
            let [payment] = payments.as_slice() else {
                let wrong = format!("the order {order} was paid more than once: {payments:?}");
                found.wrong.push(wrong);
                continue;
            };
            if !shipments.contains_key(order.as_str()) {
                found.missing += 1;
                let events = events_of(payment);
                let wrong = format!("the order {order} is paid and not shipped: {events:?}");
                found.wrong.push(wrong);
            }
        }
        for (order, payments) in &shipments {
            if payments.len() > 1 {
                found.double += 1;
                let events = events_of(payments[0]);
                let wrong = format!(
                    "the order {order} is shipped {} times: {events:?}",
                    payments.len()
                );
                found.wrong.push(wrong);
            }
            for payment in payments {
                let paid = paid.get(*order);
                if !paid.is_some_and(|paid| paid.iter().any(|paid| paid == payment)) {
                    found.unpaid += 1;
                    let wrong =
                        format!("the order {order} is shipped for {payment}, which did not pay it");
                    found.wrong.push(wrong);
                }
            }
        }
        // The shop writes an order and its shipment together.
        for (order,) in &marked {
            if !shipments.contains_key(order.as_str()) {
                let wrong = format!("the order {order} is marked as paid and not shipped");
                found.wrong.push(wrong);
            }
        }
        if marked.len() != shipments.len() {
            let wrong = format!(
                "{} orders are marked as paid, {} are shipped",
                marked.len(),
                shipments.len()
            );
            found.wrong.push(wrong);
        }
        for notice in notices {
            found
                .wrong
                .push(format!("somebody has to look at this: {notice:?}"));
        }
        let known: HashSet<&str> = events.iter().map(|event| event.id.as_str()).collect();
        for event in acknowledged {
            if !known.contains(event.as_str()) {
                let wrong = format!("the event {event} was acknowledged and is not there");
                found.wrong.push(wrong);
            }
        }
        for event in &events {
            let attempts = usize::try_from(event.attempts).unwrap_or_default();
            match event.state.as_str() {
                "done" => found.repeated += attempts.saturating_sub(1),
                // `attempts` does not include the attempt that found the event superseded.
                "superseded" => found.repeated += attempts,
                _ => found
                    .wrong
                    .push(format!("not dealt with: {}", event.words())),
            }
        }
        Ok(found)
    }
}
