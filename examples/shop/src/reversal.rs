//! Refunds, also those from the Dashboard, and disputes. The handler calls these functions in the
//! inbox's own transaction.

use stripe_checkout_core::{
    BoxError,
    webhook::{Dispute, DisputeChange, DisputeStatus, Refund, RefundStatus},
};

use crate::{
    db::{Connection, now, on},
    fulfil::note,
    ledger::{self, Kind, Line},
    order::short,
    store::to_sql,
};

/// Records the status of a refund, and updates its order.
pub(crate) async fn refund(refund: &Refund, db: &mut impl Connection) -> Result<(), BoxError> {
    let payment = refund
        .payment_intent()
        .ok_or("a refund without a payment")?;
    let (order, paid_by_it) = order_of(payment, db)
        .await?
        .ok_or("a refund of a payment that no order knows")?;
    let status = refund.status().unwrap_or(&RefundStatus::Pending);
    let failed = matches!(status, RefundStatus::Failed | RefundStatus::Canceled);
    let before: Option<(String,)> = on!(
        db,
        sqlx::query_as("SELECT status FROM refunds WHERE id = $1")
            .bind(refund.id())
            .fetch_optional(db)
            .await?
    );
    let had_arrived = before.is_some_and(|(status,)| status == RefundStatus::Succeeded.as_str());
    // Each status comes once, and "pending" never comes after another one.
    let amount = to_sql(refund.amount())?;
    on!(
        db,
        sqlx::query(
            "INSERT INTO refunds (id, order_id, payment_intent, amount, status, reason, failure_reason, created_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
             ON CONFLICT (id) DO UPDATE SET status = excluded.status, failure_reason = excluded.failure_reason",
        )
        .bind(refund.id())
        .bind(&order)
        .bind(payment)
        .bind(amount)
        .bind(status.as_str())
        .bind(refund.reason())
        .bind(refund.failure_reason())
        .bind(now())
        .execute(db)
        .await
        .map(drop)
    )?;
    // If the shop requested this refund and the answer never arrived, this is the answer.
    if let Some(reference) = refund.reference() {
        on!(
            db,
            sqlx::query("UPDATE requests SET state = 'done', answer = $1 WHERE id = $2 AND kind = 'refund' AND payment_intent = $3")
                .bind(refund.id())
                .bind(reference)
                .bind(payment)
                .execute(db)
                .await
                .map(drop)
        )?;
    }
    let kind = match status {
        RefundStatus::Succeeded => Kind::RefundSucceeded,
        _ if failed && had_arrived => Kind::RefundReturned,
        _ if failed => Kind::RefundFailed,
        _ => Kind::RefundPending,
    };
    let line = Line {
        kind,
        order: Some(&order),
        payment,
        object: Some(refund.id()),
        amount: refund.amount(),
        detail: if failed {
            refund.failure_reason()
        } else {
            refund.reason()
        },
    };
    ledger::write(line, db).await?;
    if paid_by_it {
        turn(&order, db).await?;
    } else {
        // The second payment of an order goes back: the order itself stays paid.
        let detail = format!("{} ({})", refund.amount(), status.as_str());
        note(db, "refund", Some(&order), Some(payment), &detail).await?;
    }
    if failed {
        let detail = format!(
            "{} could not be given back: {}",
            refund.amount(),
            refund.failure_reason().unwrap_or("no reason given")
        );
        note(db, "refund failed", Some(&order), Some(payment), &detail).await?;
    }
    tracing::info!(
        order = short(&order),
        refund = refund.id(),
        status = status.as_str(),
        "refund"
    );
    Ok(())
}

/// Marks an order as refunded if everything that was charged went back.
///
/// A refund can still fail after it had succeeded. Then the order is paid again, or under review if
/// nothing was ever shipped for it.
async fn turn(order: &str, db: &mut impl Connection) -> Result<(), BoxError> {
    on!(
        db,
        sqlx::query(
            "UPDATE orders SET updated_at = $1, status = CASE
                 WHEN coalesce((SELECT sum(amount) FROM ledger WHERE payment_intent = orders.payment_intent AND kind IN ('taking', 'capture')), amount)
                   <= (SELECT coalesce(sum(amount), 0) FROM refunds WHERE payment_intent = orders.payment_intent AND status = 'succeeded') THEN 'refunded'
                 WHEN status = 'refunded' AND EXISTS (SELECT 1 FROM shipments WHERE order_id = orders.id) THEN 'paid'
                 WHEN status = 'refunded' THEN 'review'
                 ELSE status END
             WHERE id = $2 AND status IN ('paid', 'review', 'refunded')",
        )
        .bind(now())
        .bind(order)
        .execute(db)
        .await
        .map(drop)
    )?;
    Ok(())
}

/// The order of a payment, and whether this payment paid it.
///
/// If this is a second payment of an order, the ledger and the notices give the order.
async fn order_of(
    payment: &str,
    db: &mut impl Connection,
) -> Result<Option<(String, bool)>, BoxError> {
    let row: Option<(String,)> = on!(
        db,
        sqlx::query_as("SELECT id FROM orders WHERE payment_intent = $1")
            .bind(payment)
            .fetch_optional(db)
            .await?
    );
    if let Some((order,)) = row {
        return Ok(Some((order, true)));
    }
    let row: Option<(String,)> = on!(
        db,
        sqlx::query_as(
            "SELECT order_id FROM ledger WHERE payment_intent = $1 AND order_id IS NOT NULL
             UNION SELECT order_id FROM notices WHERE payment_intent = $1 AND order_id IS NOT NULL LIMIT 1",
        )
        .bind(payment)
        .fetch_optional(db)
        .await?
    );
    Ok(row.map(|(order,)| (order, false)))
}

/// Records that the buyer's bank takes a payment back, or asks about it.
pub(crate) async fn dispute_created(
    dispute: &Dispute,
    db: &mut impl Connection,
) -> Result<(), BoxError> {
    keep(dispute, db).await?;
    enter(Kind::DisputeOpened, dispute, Some(dispute.id()), db).await?;
    dispute_note("dispute", dispute, db).await
}

/// Records that a dispute changed, or moved money.
pub(crate) async fn dispute_updated(
    dispute: &Dispute,
    change: DisputeChange,
    db: &mut impl Connection,
) -> Result<(), BoxError> {
    keep(dispute, db).await?;
    // The bank may take the money a second time, so nothing merges two movements. Each event comes
    // once.
    match change {
        DisputeChange::FundsWithdrawn => enter(Kind::FundsWithdrawn, dispute, None, db).await,
        DisputeChange::FundsReinstated => enter(Kind::FundsReinstated, dispute, None, db).await,
        _ => Ok(()),
    }
}

/// Records that a dispute is closed.
pub(crate) async fn dispute_closed(
    dispute: &Dispute,
    db: &mut impl Connection,
) -> Result<(), BoxError> {
    keep(dispute, db).await?;
    let kind = match dispute.status() {
        DisputeStatus::Won => Kind::DisputeWon,
        DisputeStatus::Lost => Kind::DisputeLost,
        _ => Kind::DisputeClosed,
    };
    enter(kind, dispute, Some(dispute.id()), db).await?;
    dispute_note("dispute closed", dispute, db).await
}

/// Records the status of a dispute.
///
/// A movement of money may be reported after the decision, with the status at the time of the
/// movement. A decided status therefore stays.
async fn keep(dispute: &Dispute, db: &mut impl Connection) -> Result<(), BoxError> {
    // A charge of another program, without a PaymentIntent, only has a notice.
    let Some(payment) = dispute.payment_intent() else {
        return Ok(());
    };
    let amount = to_sql(dispute.amount())?;
    on!(
        db,
        sqlx::query(
            "INSERT INTO disputes (id, payment_intent, order_id, amount, currency, reason, status, due_by, created_at)
             VALUES ($1, $2, coalesce((SELECT id FROM orders WHERE payment_intent = $2), (SELECT min(order_id) FROM ledger WHERE payment_intent = $2)),
                     $3, $4, $5, $6, $7, $8)
             ON CONFLICT (id) DO UPDATE SET amount = excluded.amount, reason = excluded.reason, due_by = excluded.due_by,
                 status = CASE WHEN disputes.status IN ('won', 'lost', 'warning_closed', 'prevented', 'charge_refunded')
                          AND excluded.status NOT IN ('won', 'lost', 'warning_closed', 'prevented', 'charge_refunded')
                          THEN disputes.status ELSE excluded.status END",
        )
        .bind(dispute.id())
        .bind(payment)
        .bind(amount)
        .bind(dispute.amount().currency().code())
        .bind(dispute.reason())
        .bind(dispute.status().as_str())
        .bind(dispute.due_by())
        .bind(now())
        .execute(db)
        .await
        .map(drop)
    )?;
    Ok(())
}

async fn enter(
    kind: Kind,
    dispute: &Dispute,
    object: Option<&str>,
    db: &mut impl Connection,
) -> Result<(), BoxError> {
    let Some(payment) = dispute.payment_intent() else {
        return Ok(());
    };
    let line = Line {
        kind,
        order: None,
        payment,
        object,
        amount: dispute.amount(),
        detail: dispute.reason(),
    };
    ledger::write(line, db).await
}

async fn dispute_note(
    kind: &str,
    dispute: &Dispute,
    db: &mut impl Connection,
) -> Result<(), BoxError> {
    let detail = format!(
        "{}, {}, {}",
        dispute.id(),
        dispute.amount(),
        dispute.status().as_str()
    );
    note(db, kind, None, dispute.payment_intent(), &detail).await?;
    Ok(())
}
