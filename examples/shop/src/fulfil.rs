//! Changes an order when something happens to its payment.
//!
//! The handler writes through the connection that it receives. This is the inbox's transaction, so
//! the order, its shipment and the mark that the event is done commit together, or none of them
//! does. Each `UPDATE` names the states that it may change, and checks how many rows it changed. If
//! no row changed, that is a mistake, and it must be visible.

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
    /// Creates the handler. It notifies `outbox` when the outbox has a new row.
    pub fn new(outbox: Arc<Notify>) -> Self {
        Self { outbox }
    }
}

/// A shop on one database implements it for `PgConnection` or `SqliteConnection`, without `on!`.
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
        // The e-mail is not sent from here. If the commit fails, the e-mail would thank for
        // nothing; and the mail server would hold up the database.
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
        // The task may look before the commit, and find nothing. It looks again soon.
        self.outbox.notify_one();
        Ok(())
    }

    async fn amount_due(&self, payment: &Payment, db: &mut C) -> Result<Due, BoxError> {
        let order = order_of(payment)?;
        let row: Option<(i64, String)> = on!(
            db,
            // Always the price of the order. The library knows which part of it a capture should
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
    /// Handles an update that changed no row.
    ///
    /// The order does not exist, or it was paid before, by this payment or by another one.
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

/// Handles a payment that is on its way.
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

/// Handles a failed attempt to pay.
async fn failed(
    payment: &Payment,
    failure: &Failure,
    db: &mut impl Connection,
) -> Result<(), BoxError> {
    let order = order_of(payment)?;
    // An older intent of the order may be declined while a newer one is on its way. The newer one
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

/// Handles a canceled payment: it can no longer pay the order.
async fn canceled(payment: &Payment, db: &mut impl Connection) -> Result<(), BoxError> {
    let order = order_of(payment)?;
    // An older intent of the order may be canceled while a newer one is on its way. The newer one
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
    // The authorised money is free again: the shop released it, or its time has passed.
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

/// Handles money that is authorised, or more of it than before.
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
    // Only the increase: the lines of one payment are added up.
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

/// Handles a second payment of an order.
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

/// Handles a payment that does not match its order.
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

/// Handles a payment that was refunded or disputed before anything was shipped.
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

/// The order that the checkout wrote into the payment when it created it.
fn order_of(payment: &Payment) -> Result<&str, BoxError> {
    payment
        .order_id()
        .ok_or_else(|| format!("the payment {} names no order", payment.id()).into())
}

// This must be an error: a buyer paid, and this database does not know the order.
fn unknown_order(payment: &Payment) -> BoxError {
    format!(
        "the order of the payment {} is not in this database",
        payment.id()
    )
    .into()
}

/// Checks that one row changed.
///
/// Zero rows are right only if the order exists and later news has overtaken this event.
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

/// Keeps the buyer from paying again until a person has looked.
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

/// A line of the ledger about this payment. It can be there once.
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

/// Records that money arrived, whether or not it matches the order.
async fn taken(payment: &Payment, db: &mut impl Connection) -> Result<(), BoxError> {
    let kind = if payment.captures_manually() {
        Kind::Capture
    } else {
        Kind::Taking
    };
    ledger::write(line(kind, payment), db).await
}

/// Writes a notice for a person to look at, once.
pub(crate) async fn note(
    db: &mut impl Connection,
    kind: &str,
    order: Option<&str>,
    payment: Option<&str>,
    detail: &str,
) -> Result<(), sqlx::Error> {
    // If the event has no order, the payment gives it.
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
