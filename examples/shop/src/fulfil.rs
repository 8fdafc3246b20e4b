//! Changes an order when something happens to its payment.
//!
//! The handler writes through the connection that it is given. That is the transaction of the
//! inbox, so the order, its shipment and the mark that the event is done commit together, or none
//! of them does. Each `UPDATE` says from which states it may come, and checks how many rows it
//! touched: none is a mistake, and must show.

use std::sync::Arc;

use stripe_checkout_core::{
    Amount, BoxError,
    fulfillment::{Due, FulfillmentHandler, Mismatch, PaymentEvent},
    webhook::{Failure, Payment},
};
use tokio::sync::Notify;

use crate::{
    db::{Connection, now, on},
    ledger::{self, Kind, Line},
    order::short,
    reversal, store,
};

/// The shop's fulfilment.
#[derive(Debug)]
pub struct Fulfil {
    outbox: Arc<Notify>,
}

impl Fulfil {
    /// Rings when there is something in the outbox.
    pub fn new(outbox: Arc<Notify>) -> Self {
        Self { outbox }
    }
}

/// A shop on one database writes `impl FulfillmentHandler<PgConnection> for Fulfil` (or `SqliteConnection`), and needs no `on!`.
impl<C: Connection> FulfillmentHandler<C> for Fulfil {
    async fn payment_succeeded(&self, payment: &Payment, db: &mut C) -> Result<(), BoxError> {
        let order = order_of(payment)?;
        let paid = on!(
            db,
            sqlx::query(
                "UPDATE orders SET status = 'paid', payment_intent = $1, updated_at = $2
                 WHERE id = $3 AND status IN ('pending', 'processing', 'failed', 'review', 'reserved', 'canceled')",
            )
            .bind(payment.id())
            .bind(now())
            .bind(order)
            .execute(db)
            .await?
            .rows_affected()
        );
        if paid == 0 {
            return self.paid_before(payment, order, db).await;
        }
        taken(payment, db).await?;
        on!(
            db,
            sqlx::query("INSERT INTO shipments (order_id, payment_intent) VALUES ($1, $2)")
                .bind(order)
                .bind(payment.id())
                .execute(db)
                .await
                .map(drop)
        )?;
        // The e-mail is not sent from here: if the commit fails, it would thank for nothing; and the mail server would hold up the database.
        on!(
            db,
            sqlx::query("INSERT INTO outbox (kind, order_id) VALUES ('order_paid', $1)")
                .bind(order)
                .execute(db)
                .await
                .map(drop)
        )?;
        tracing::info!(
            order = short(order),
            payment = payment.id(),
            "order paid, shipment written"
        );
        // It may look before the commit, and find nothing: it looks again soon.
        self.outbox.notify_one();
        Ok(())
    }

    async fn amount_due(&self, payment: &Payment, db: &mut C) -> Result<Due, BoxError> {
        let order = order_of(payment)?;
        let row: Option<(i64, String)> = on!(
            db,
            // Always the price of the order. The library knows how much of it a capture was to
            // take.
            sqlx::query_as("SELECT amount, currency FROM orders WHERE id = $1")
                .bind(order)
                .fetch_optional(db)
                .await?
        );
        let (amount, currency) = row.ok_or_else(|| unknown_order(payment))?;
        Ok(Due::Exactly(store::amount(amount, &currency)?))
    }

    async fn on_event(&self, event: &PaymentEvent<'_>, db: &mut C) -> Result<(), BoxError> {
        match event {
            PaymentEvent::PaymentProcessing { payment, .. } => processing(payment, db).await,
            PaymentEvent::PaymentFailed {
                payment, failure, ..
            } => failed(payment, failure, db).await,
            PaymentEvent::PaymentCanceled { payment, .. } => canceled(payment, db).await,
            PaymentEvent::RequiresCapture { payment, .. } => authorised(payment, db).await,
            PaymentEvent::DuplicatePayment { payment, .. } => paid_twice(payment, db).await,
            PaymentEvent::Mismatch {
                payment, mismatch, ..
            } => does_not_fit(payment, mismatch, db).await,
            PaymentEvent::RefundedBeforeFulfillment { payment, .. } => {
                refunded_early(payment, db).await
            }
            PaymentEvent::RefundPending { refund, .. }
            | PaymentEvent::RefundSucceeded { refund, .. }
            | PaymentEvent::RefundFailed { refund, .. } => reversal::refund(refund, db).await,
            PaymentEvent::DisputeCreated { dispute, .. } => {
                reversal::dispute_created(dispute, db).await
            }
            PaymentEvent::DisputeUpdated {
                dispute, change, ..
            } => reversal::dispute_updated(dispute, *change, db).await,
            PaymentEvent::DisputeClosed { dispute, .. } => {
                reversal::dispute_closed(dispute, db).await
            }
            _ => Ok(()),
        }
    }
}

impl Fulfil {
    /// No row was touched: the order does not exist, or it was paid before, by this payment or by another one.
    async fn paid_before(
        &self,
        payment: &Payment,
        order: &str,
        db: &mut impl Connection,
    ) -> Result<(), BoxError> {
        let row: Option<(Option<String>,)> = on!(
            db,
            sqlx::query_as("SELECT payment_intent FROM orders WHERE id = $1")
                .bind(order)
                .fetch_optional(db)
                .await?
        );
        let (paid_by,) = row.ok_or_else(|| unknown_order(payment))?;
        if paid_by.as_deref() == Some(payment.id()) {
            tracing::info!(
                order = short(order),
                payment = payment.id(),
                "this payment was fulfilled before"
            );
            return Ok(());
        }
        paid_twice(payment, db).await
    }
}

/// The payment is on its way.
async fn processing(payment: &Payment, db: &mut impl Connection) -> Result<(), BoxError> {
    let order = order_of(payment)?;
    let updated = on!(
        db,
        sqlx::query(
            "UPDATE orders SET status = 'processing', payment_intent = $1, updated_at = $2
             WHERE id = $3 AND status IN ('pending', 'processing', 'failed')",
        )
        .bind(payment.id())
        .bind(now())
        .bind(order)
        .execute(db)
        .await?
        .rows_affected()
    );
    one_or_overtaken(updated, payment, db).await
}

/// An attempt to pay failed.
async fn failed(
    payment: &Payment,
    failure: &Failure,
    db: &mut impl Connection,
) -> Result<(), BoxError> {
    let order = order_of(payment)?;
    // An older intent of the order may be declined while a newer one is on its way: the newer one
    // decides.
    let updated = on!(
        db,
        sqlx::query(
            "UPDATE orders SET status = 'failed', updated_at = $1
             WHERE id = $2 AND (status IN ('pending', 'failed') OR (status = 'processing' AND (payment_intent IS NULL OR payment_intent = $3)))",
        )
        .bind(now())
        .bind(order)
        .bind(payment.id())
        .execute(db)
        .await?
        .rows_affected()
    );
    one_or_overtaken(updated, payment, db).await?;
    // The decline code is for the merchant only: it may say that the card was stolen.
    let code = failure.decline_code().or(failure.code());
    let line = Line {
        object: None,
        amount: payment.amount(),
        detail: code,
        ..line(Kind::Failure, payment)
    };
    ledger::write(line, db).await?;
    tracing::info!(
        order = short(order),
        code = failure.code(),
        decline_code = failure.decline_code(),
        "payment failed"
    );
    Ok(())
}

/// The payment was canceled: it can no longer pay the order.
async fn canceled(payment: &Payment, db: &mut impl Connection) -> Result<(), BoxError> {
    let order = order_of(payment)?;
    // An older intent of the order may be canceled while a newer one is on its way: the newer one
    // decides.
    let updated = on!(
        db,
        sqlx::query(
            "UPDATE orders SET status = 'canceled', updated_at = $1
             WHERE id = $2 AND status IN ('pending', 'processing', 'failed', 'reserved') AND (payment_intent IS NULL OR payment_intent = $3)",
        )
        .bind(now())
        .bind(order)
        .bind(payment.id())
        .execute(db)
        .await?
        .rows_affected()
    );
    one_or_overtaken(updated, payment, db).await?;
    // The authorised money is free again: the shop released it, or its time was over.
    on!(
        db,
        sqlx::query(
            "INSERT INTO ledger (kind, order_id, payment_intent, object, amount, currency, detail, created_at)
             SELECT 'released', min(order_id), payment_intent, payment_intent, CAST(sum(amount) AS BIGINT), currency, NULL, $1 FROM ledger
             WHERE kind = 'reserved' AND payment_intent = $2
             GROUP BY payment_intent, currency
             ON CONFLICT (kind, object) DO NOTHING",
        )
        .bind(now())
        .bind(payment.id())
        .execute(db)
        .await
        .map(drop)
    )?;
    Ok(())
}

/// Money is authorised, or more of it than before.
async fn authorised(payment: &Payment, db: &mut impl Connection) -> Result<(), BoxError> {
    let order = order_of(payment)?;
    let reserved = on!(
        db,
        sqlx::query(
            "UPDATE orders SET status = 'reserved', payment_intent = $1, updated_at = $2
             WHERE id = $3 AND status IN ('pending', 'processing', 'failed')",
        )
        .bind(payment.id())
        .bind(now())
        .bind(order)
        .execute(db)
        .await?
        .rows_affected()
    );
    one_or_overtaken(reserved, payment, db).await?;
    // Only by how much it grew: the lines of one payment are added up.
    let before: i64 = on!(
        db,
        sqlx::query_scalar(
            "SELECT CAST(coalesce(sum(amount), 0) AS BIGINT) FROM ledger WHERE kind = 'reserved' AND payment_intent = $1",
        )
        .bind(payment.id())
        .fetch_one(db)
        .await?
    );
    let authorised = payment.amount_capturable();
    let more = authorised.minor().saturating_sub(before.unsigned_abs());
    let object = format!("{} {}", payment.id(), authorised.minor());
    let line = Line {
        object: Some(&object),
        amount: Amount::new(more, authorised.currency()),
        ..line(Kind::Reserved, payment)
    };
    ledger::write(line, db).await?;
    tracing::info!(
        order = short(order),
        payment = payment.id(),
        "order reserved"
    );
    Ok(())
}

/// A second payment of an order came.
async fn paid_twice(payment: &Payment, db: &mut impl Connection) -> Result<(), BoxError> {
    taken(payment, db).await?;
    let detail = format!(
        "paid a second time, {}: give it back",
        payment.amount_received()
    );
    note(
        db,
        "duplicate payment",
        payment.order_id(),
        Some(payment.id()),
        &detail,
    )
    .await?;
    Ok(())
}

/// The payment does not fit its order.
async fn does_not_fit(
    payment: &Payment,
    mismatch: &Mismatch,
    db: &mut impl Connection,
) -> Result<(), BoxError> {
    review(payment, db).await?;
    taken(payment, db).await?;
    note(
        db,
        "mismatch",
        payment.order_id(),
        Some(payment.id()),
        &mismatch.to_string(),
    )
    .await?;
    Ok(())
}

/// The money went back before anything was shipped.
async fn refunded_early(payment: &Payment, db: &mut impl Connection) -> Result<(), BoxError> {
    review(payment, db).await?;
    taken(payment, db).await?;
    let detail = "refunded or disputed before it was shipped: nothing was shipped";
    note(
        db,
        "refunded early",
        payment.order_id(),
        Some(payment.id()),
        detail,
    )
    .await?;
    Ok(())
}

/// The order that the checkout wrote into the payment when it made it.
fn order_of(payment: &Payment) -> Result<&str, BoxError> {
    payment
        .order_id()
        .ok_or_else(|| format!("the payment {} names no order", payment.id()).into())
}

// An error, not a shrug: somebody paid, and this database does not know for what.
fn unknown_order(payment: &Payment) -> BoxError {
    format!(
        "the order of the payment {} is not in this database",
        payment.id()
    )
    .into()
}

/// One row was meant. None is right only if the order is there and later news has overtaken this.
async fn one_or_overtaken(
    updated: u64,
    payment: &Payment,
    db: &mut impl Connection,
) -> Result<(), BoxError> {
    if updated == 1 {
        return Ok(());
    }
    let order = order_of(payment)?;
    let known = on!(
        db,
        sqlx::query("SELECT 1 FROM orders WHERE id = $1")
            .bind(order)
            .fetch_optional(db)
            .await?
            .is_some()
    );
    if known {
        Ok(())
    } else {
        Err(unknown_order(payment))
    }
}

/// Keeps the buyer from paying again until somebody has looked.
async fn review(payment: &Payment, db: &mut impl Connection) -> Result<(), BoxError> {
    let order = order_of(payment)?;
    let updated = on!(
        db,
        sqlx::query(
            "UPDATE orders SET status = 'review', payment_intent = $1, updated_at = $2
             WHERE id = $3 AND status IN ('pending', 'processing', 'failed', 'review', 'reserved', 'canceled')",
        )
        .bind(payment.id())
        .bind(now())
        .bind(order)
        .execute(db)
        .await?
        .rows_affected()
    );
    one_or_overtaken(updated, payment, db).await
}

/// A line of the ledger about this payment, which can be there once.
fn line(kind: Kind, payment: &Payment) -> Line<'_> {
    Line {
        kind,
        order: payment.order_id(),
        payment: payment.id(),
        object: Some(payment.id()),
        amount: payment.amount_received(),
        detail: None,
    }
}

/// Money came, whatever it was for.
async fn taken(payment: &Payment, db: &mut impl Connection) -> Result<(), BoxError> {
    let kind = if payment.captures_manually() {
        Kind::Capture
    } else {
        Kind::Taking
    };
    ledger::write(line(kind, payment), db).await
}

/// Writes something for a person to look at, once.
pub(crate) async fn note(
    db: &mut impl Connection,
    kind: &str,
    order: Option<&str>,
    payment: Option<&str>,
    detail: &str,
) -> Result<(), sqlx::Error> {
    // Without an order in the event, the payment tells.
    on!(
        db,
        sqlx::query(
            "INSERT INTO notices (kind, order_id, payment_intent, detail)
             VALUES ($1, coalesce($2, (SELECT id FROM orders WHERE payment_intent = $3)), $3, $4) ON CONFLICT DO NOTHING",
        )
        .bind(kind)
        .bind(order)
        .bind(payment)
        .bind(detail)
        .execute(db)
        .await
        .map(drop)
    )?;
    tracing::warn!(
        kind,
        order = order.map(short),
        payment,
        detail,
        "somebody has to look at this"
    );
    Ok(())
}
