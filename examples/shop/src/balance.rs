//! One payment's money, by the shop's own rows: the reports of events, and the requests since then.

use stripe_checkout_core::{Amount, Currency, webhook::DisputeStatus, webhook::RefundStatus};

use crate::{
    db::on,
    ledger::{Entry, Kind},
    order::OrderRefund,
    request::{Progress, Request, Wish},
    store::{self, Store, StoreError, is_stripes_id},
};

/// A dispute, as the last event reported it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderDispute {
    /// Its id at Stripe, like `dp_…`.
    pub id: String,
    /// The disputed amount.
    pub amount: Amount,
    /// The reason that the bank gives.
    pub reason: Option<String>,
    /// Its status.
    pub status: DisputeStatus,
    /// Until when the bank accepts evidence, in seconds since 1970, UTC; `None` if it accepts none.
    pub due_by: Option<i64>,
}

/// Everything that the shop knows of a payment's money.
#[derive(Debug)]
pub(crate) struct Balance {
    /// The order that the payment is for.
    pub(crate) order: String,
    pub(crate) currency: Currency,
    pub(crate) entries: Vec<Entry>,
    pub(crate) refunds: Vec<OrderRefund>,
    pub(crate) requests: Vec<Request>,
    pub(crate) disputes: Vec<OrderDispute>,
}

impl Balance {
    /// The charged amount.
    pub(crate) fn charged(&self) -> Amount {
        self.sum(|kind| matches!(kind, Kind::Taking | Kind::Capture))
    }

    /// The amount that is authorised and can be captured.
    pub(crate) fn reserved(&self) -> Amount {
        let over = |entry: &Entry| matches!(entry.kind, Kind::Capture | Kind::Released);
        if self.entries.iter().any(over) {
            return Amount::zero(self.currency);
        }
        self.sum(|kind| kind == Kind::Reserved)
    }

    /// The amount that was refunded, is on its way back, or was requested.
    pub(crate) fn gone(&self) -> Amount {
        let refunds = self.refunds.iter().filter(|refund| {
            !matches!(refund.status, RefundStatus::Failed | RefundStatus::Canceled)
        });
        let refunds = refunds.map(|refund| refund.amount.minor());
        let requests = self.on_the_way().map(|request| request.amount.minor());
        self.of(refunds.chain(requests))
    }

    /// The amount that can still be refunded. Stripe's own count decides.
    pub(crate) fn left(&self) -> Amount {
        let left = self.charged().minor().saturating_sub(self.gone().minor());
        Amount::new(left, self.currency)
    }

    /// The requested refunds that no event has reported.
    pub(crate) fn on_the_way(&self) -> impl Iterator<Item = &Request> {
        self.requests.iter().filter(|request| {
            request.wish == Wish::Refund
                && match request.progress {
                    Progress::Asked => true,
                    Progress::Done => !self.knows(request.answer.as_deref()),
                    Progress::Refused => false,
                }
        })
    }

    fn knows(&self, refund: Option<&str>) -> bool {
        self.refunds
            .iter()
            .any(|known| Some(known.id.as_str()) == refund)
    }

    /// A dispute that is not decided.
    pub(crate) fn open_dispute(&self) -> Option<&OrderDispute> {
        let mut open = self
            .disputes
            .iter()
            .filter(|dispute| !dispute.status.is_closed());
        open.next()
    }

    /// Whether the buyer's bank holds the money, or has taken it for good. Stripe then refunds
    /// nothing.
    ///
    /// During an inquiry Stripe still refunds, and a full refund ends the inquiry.
    pub(crate) fn is_withheld(&self) -> bool {
        use DisputeStatus::{Lost, NeedsResponse, UnderReview};
        let withholds = |status: &_| matches!(status, NeedsResponse | UnderReview | Lost);
        self.disputes
            .iter()
            .any(|dispute| withholds(&dispute.status))
    }

    fn sum(&self, counts: impl Fn(Kind) -> bool) -> Amount {
        let entries = self.entries.iter().filter(|entry| counts(entry.kind));
        self.of(entries.map(|entry| entry.amount.minor()))
    }

    fn of(&self, minors: impl Iterator<Item = u64>) -> Amount {
        let minor = minors.fold(0_u64, u64::saturating_add);
        Amount::new(minor, self.currency)
    }
}

impl Store {
    /// The money of a payment; `None` if no order knows the payment.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn balance(&self, payment: &str) -> Result<Option<Balance>, StoreError> {
        if !is_stripes_id(payment) {
            return Ok(None);
        }
        let (pool, id) = (self.pool().clone(), payment.to_owned());
        let rest = self.to_the_end(async move {
            let row: Option<(String, String)> = on!(
                pool,
                sqlx::query_as(
                    "SELECT id, currency FROM orders WHERE payment_intent = $1
                     UNION SELECT order_id, currency FROM ledger WHERE payment_intent = $1 AND order_id IS NOT NULL LIMIT 1",
                )
                .bind(&id)
                .fetch_optional(pool)
                .await?
            );
            let Some((order, currency)) = row else {
                return Ok(None);
            };
            let currency = store::amount_of("ledger", 0, &currency)?.currency();
            let refunds = store::refunds(&pool, &id, currency).await?;
            let disputes = disputes(&pool, &id).await?;
            Ok(Some((order, currency, refunds, disputes)))
        });
        let Some((order, currency, refunds, disputes)) = rest.await? else {
            return Ok(None);
        };
        Ok(Some(Balance {
            order,
            currency,
            entries: self.ledger_of(payment).await?,
            refunds,
            requests: self.requests_of(payment).await?,
            disputes,
        }))
    }

    /// The disputes that are not decided, with their payments; 100 at most.
    ///
    /// The one with the earliest deadline comes first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn open_disputes(&self) -> Result<Vec<(String, OrderDispute)>, StoreError> {
        let pool = self.pool().clone();
        self.to_the_end(async move {
            let rows: Vec<Row> = on!(
                pool,
                sqlx::query_as(
                    "SELECT id, payment_intent, amount, currency, reason, status, due_by FROM disputes
                     WHERE status NOT IN ('won', 'lost', 'warning_closed', 'prevented', 'charge_refunded')
                     ORDER BY CASE WHEN due_by IS NULL THEN 1 ELSE 0 END, due_by, created_at LIMIT 100",
                )
                .fetch_all(pool)
                .await?
            );
            rows.into_iter().map(read).collect()
        })
        .await
    }
}

type Row = (
    String,
    String,
    i64,
    String,
    Option<String>,
    String,
    Option<i64>,
);

fn read(row: Row) -> Result<(String, OrderDispute), StoreError> {
    let (id, payment, minor, currency, reason, status, due_by) = row;
    let dispute = OrderDispute {
        id,
        amount: store::amount_of("disputes", minor, &currency)?,
        reason,
        status: DisputeStatus::from(status),
        due_by,
    };
    Ok((payment, dispute))
}

async fn disputes(pool: &crate::Pool, payment: &str) -> Result<Vec<OrderDispute>, StoreError> {
    let rows: Vec<Row> = on!(
        pool,
        sqlx::query_as(
            "SELECT id, payment_intent, amount, currency, reason, status, due_by FROM disputes WHERE payment_intent = $1 ORDER BY created_at, id",
        )
        .bind(payment)
        .fetch_all(pool)
        .await?
    );
    rows.into_iter().map(|row| Ok(read(row)?.1)).collect()
}
