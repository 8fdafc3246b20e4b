//! The ledger: every movement of money that the shop knows of. Rows are added and never changed.
//!
//! A row is written in the transaction of the event that reports the movement. So it exists if and
//! only if the event's other changes exist. An order's status shows the present; the ledger shows
//! the history, and the figures of a day.

use std::fmt;

use stripe_checkout_core::{Amount, BoxError};

use crate::{
    db::{Connection, now, on},
    store::{self, Store, StoreError, to_sql},
};

/// A kind of movement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// A payment arrived.
    Taking,
    /// The shop captured authorised money, or a part of it.
    Capture,
    /// Money was authorised.
    Reserved,
    /// Authorised money was released.
    Released,
    /// An attempt to pay failed.
    Failure,
    /// A refund is on its way.
    RefundPending,
    /// A refund arrived, or will arrive soon.
    RefundSucceeded,
    /// A refund did not arrive.
    RefundFailed,
    /// A refund that had arrived came back to the shop.
    RefundReturned,
    /// The buyer's bank disputes a payment, or asks about it.
    DisputeOpened,
    /// The bank took the money.
    FundsWithdrawn,
    /// The bank returned the money.
    FundsReinstated,
    /// The dispute was decided for the shop.
    DisputeWon,
    /// The dispute was decided for the buyer.
    DisputeLost,
    /// The dispute ended without a decision.
    DisputeClosed,
}

impl Kind {
    const ALL: [Self; 15] = [
        Self::Taking,
        Self::Capture,
        Self::Reserved,
        Self::Released,
        Self::Failure,
        Self::RefundPending,
        Self::RefundSucceeded,
        Self::RefundFailed,
        Self::RefundReturned,
        Self::DisputeOpened,
        Self::FundsWithdrawn,
        Self::FundsReinstated,
        Self::DisputeWon,
        Self::DisputeLost,
        Self::DisputeClosed,
    ];

    /// The word in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Taking => "taking",
            Self::Capture => "capture",
            Self::Reserved => "reserved",
            Self::Released => "released",
            Self::Failure => "failure",
            Self::RefundPending => "refund_pending",
            Self::RefundSucceeded => "refund_succeeded",
            Self::RefundFailed => "refund_failed",
            Self::RefundReturned => "refund_returned",
            Self::DisputeOpened => "dispute_opened",
            Self::FundsWithdrawn => "funds_withdrawn",
            Self::FundsReinstated => "funds_reinstated",
            Self::DisputeWon => "dispute_won",
            Self::DisputeLost => "dispute_lost",
            Self::DisputeClosed => "dispute_closed",
        }
    }

    /// The title for the merchant.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Taking => "Paid",
            Self::Capture => "Reserved money taken",
            Self::Reserved => "Reserved",
            Self::Released => "Reserved money let go",
            Self::Failure => "Attempt failed",
            Self::RefundPending => "Refund on its way",
            Self::RefundSucceeded => "Refunded",
            Self::RefundFailed => "Refund failed",
            Self::RefundReturned => "Refund came back",
            Self::DisputeOpened => "Dispute opened",
            Self::FundsWithdrawn => "Taken by the bank",
            Self::FundsReinstated => "Given back by the bank",
            Self::DisputeWon => "Dispute won",
            Self::DisputeLost => "Dispute lost",
            Self::DisputeClosed => "Dispute closed",
        }
    }

    fn parse(word: &str) -> Result<Self, StoreError> {
        let found = Self::ALL.into_iter().find(|kind| kind.as_str() == word);
        found.ok_or(StoreError::Row {
            table: "ledger",
            column: "kind",
        })
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A line to write.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Line<'a> {
    pub(crate) kind: Kind,
    /// `None` if only the payment is known. Earlier lines, or `orders`, then name the order.
    pub(crate) order: Option<&'a str>,
    pub(crate) payment: &'a str,
    /// A key that can have only one line of this kind.
    pub(crate) object: Option<&'a str>,
    pub(crate) amount: Amount,
    pub(crate) detail: Option<&'a str>,
}

/// Adds a line. If a line of this kind already has the same object, it adds nothing: the same news
/// arrived in two ways.
pub(crate) async fn write(line: Line<'_>, db: &mut impl Connection) -> Result<(), BoxError> {
    // A free order moves no money.
    if line.amount.is_zero() {
        return Ok(());
    }
    let minor = to_sql(line.amount)?;
    on!(
        db,
        sqlx::query(
            "INSERT INTO ledger (kind, order_id, payment_intent, object, amount, currency, detail, created_at)
             VALUES ($1, coalesce($2, (SELECT min(order_id) FROM ledger WHERE payment_intent = $3), (SELECT id FROM orders WHERE payment_intent = $3)),
                     $3, $4, $5, $6, $7, $8)
             ON CONFLICT (kind, object) DO NOTHING",
        )
        .bind(line.kind.as_str())
        .bind(line.order)
        .bind(line.payment)
        .bind(line.object)
        .bind(minor)
        .bind(line.amount.currency().code())
        .bind(line.detail)
        .bind(now())
        .execute(db)
        .await
        .map(drop)
    )?;
    Ok(())
}

/// A line of the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The kind of movement.
    pub kind: Kind,
    /// How much money.
    pub amount: Amount,
    /// A decline code, the reason of a dispute, or the reason why a refund failed.
    pub detail: Option<String>,
    /// When the shop recorded it, in seconds since 1970, UTC.
    pub created: i64,
}

/// The lines of one hour that have the same kind, currency and code, added up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sum {
    pub(crate) kind: Kind,
    /// The sum of all these lines.
    pub(crate) amount: Amount,
    /// How many lines these are.
    pub(crate) count: u64,
    /// The start of the hour, in seconds since 1970, UTC.
    pub(crate) hour: i64,
    /// The decline code of a failure.
    pub(crate) code: Option<String>,
}

impl Store {
    /// The movements of a payment's money, the oldest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn ledger_of(&self, payment: &str) -> Result<Vec<Entry>, StoreError> {
        type Row = (String, i64, String, Option<String>, i64);
        let (pool, payment) = (self.pool().clone(), payment.to_owned());
        self.to_the_end(async move {
            let rows: Vec<Row> = on!(
                pool,
                sqlx::query_as(
                    "SELECT kind, amount, currency, detail, created_at FROM ledger WHERE payment_intent = $1 ORDER BY id",
                )
                .bind(&payment)
                .fetch_all(pool)
                .await?
            );
            rows.into_iter()
                .map(|(kind, minor, currency, detail, created)| {
                    Ok(Entry {
                        kind: Kind::parse(&kind)?,
                        amount: store::amount_of("ledger", minor, &currency)?,
                        detail,
                        created,
                    })
                })
                .collect()
        })
        .await
    }

    /// The movements from one second to just before another, the oldest first.
    ///
    /// They are added up by hour, kind and currency; failures also by their code.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn sums(&self, from: i64, to: i64) -> Result<Vec<Sum>, StoreError> {
        type Row = (String, String, i64, Option<String>, i64, i64);
        let pool = self.pool().clone();
        self.to_the_end(async move {
            let rows: Vec<Row> = on!(
                pool,
                sqlx::query_as(
                    "SELECT kind, currency, created_at / 3600 AS hour, CASE WHEN kind = 'failure' THEN detail END AS code,
                            count(*), CAST(sum(amount) AS BIGINT)
                     FROM ledger WHERE created_at >= $1 AND created_at < $2
                     GROUP BY 1, 2, 3, 4 ORDER BY 3, 1, 2, 4",
                )
                .bind(from)
                .bind(to)
                .fetch_all(pool)
                .await?
            );
            rows.into_iter()
                .map(|(kind, currency, hour, code, count, minor)| {
                    Ok(Sum {
                        kind: Kind::parse(&kind)?,
                        amount: store::amount_of("ledger", minor, &currency)?,
                        count: store::unsigned(count, "ledger", "count")?,
                        hour: hour.saturating_mul(3600),
                        code,
                    })
                })
                .collect()
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_survives_the_database() {
        for kind in Kind::ALL {
            assert_eq!(Kind::parse(kind.as_str()).ok(), Some(kind));
            assert!(!kind.title().is_empty());
        }
        assert!(Kind::parse("Taking").is_err());
    }
}
