//! Requests to Stripe that move money. Each one is stored before Stripe is asked.
//!
//! The row's id is the operation's own reference. The page generates it with its form. So a form
//! that is sent twice (a double click, a reload) is one operation, and the form of a new page is
//! another one. If the shop dies between the row and Stripe's answer, the row shows the request.
//! The merchant can then ask again: the operation runs once.

use stripe_checkout_core::Amount;

use crate::{
    db::{now, on},
    store::{self, Store, StoreError, to_sql},
};

/// The kind of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wish {
    /// A refund.
    Refund,
    /// A capture of authorised money.
    Capture,
}

impl Wish {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Refund => "refund",
            Self::Capture => "capture",
        }
    }
}

/// The progress of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// It was sent, or is about to be; Stripe has not answered.
    Asked,
    /// Stripe did it.
    Done,
    /// Stripe did not do it, and never will.
    Refused,
}

impl Progress {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Asked => "asked",
            Self::Done => "done",
            Self::Refused => "refused",
        }
    }
}

/// A request that moves money.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    /// The operation's reference.
    pub(crate) id: String,
    pub(crate) wish: Wish,
    pub(crate) order: String,
    pub(crate) payment: String,
    pub(crate) amount: Amount,
    pub(crate) reason: Option<String>,
    pub(crate) progress: Progress,
    /// The result: the id of the refund or of the captured payment, or the reason of the refusal.
    pub(crate) answer: Option<String>,
    pub(crate) created: i64,
}

type Row = (
    String,
    String,
    String,
    String,
    i64,
    String,
    Option<String>,
    String,
    Option<String>,
    i64,
);

impl Request {
    fn read(row: Row) -> Result<Self, StoreError> {
        let (id, wish, order, payment, minor, currency, reason, progress, answer, created) = row;
        let row = |column| StoreError::Row {
            table: "requests",
            column,
        };
        Ok(Self {
            id,
            wish: match wish.as_str() {
                "refund" => Wish::Refund,
                "capture" => Wish::Capture,
                _ => return Err(row("kind")),
            },
            order,
            payment,
            amount: store::amount_of("requests", minor, &currency)?,
            reason,
            progress: match progress.as_str() {
                "asked" => Progress::Asked,
                "done" => Progress::Done,
                "refused" => Progress::Refused,
                _ => return Err(row("state")),
            },
            answer,
            created,
        })
    }

    /// Whether both ask for the same operation.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        (self.wish, &self.payment, self.amount, &self.reason)
            == (other.wish, &other.payment, other.amount, &other.reason)
    }
}

/// A statement that reads whole rows, 1,000 at most.
macro_rules! select {
    ($condition:literal) => {
        concat!(
            "SELECT id, kind, order_id, payment_intent, amount, currency, reason, state, answer, created_at FROM requests WHERE ",
            $condition,
            " ORDER BY created_at, id LIMIT 1000"
        )
    };
}

impl Store {
    /// Stores a request unless it is stored already, and returns it as it is stored then.
    ///
    /// `None` if another capture of the same payment is in the way.
    pub(crate) async fn ask(&self, request: Request) -> Result<Option<Request>, StoreError> {
        let pool = self.pool().clone();
        let id = request.id.clone();
        self.to_the_end(async move {
            let minor = to_sql(request.amount)?;
            on!(
                pool,
                sqlx::query(
                    "INSERT INTO requests (id, kind, order_id, payment_intent, amount, currency, reason, created_at)
                     VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING",
                )
                .bind(&request.id)
                .bind(request.wish.as_str())
                .bind(&request.order)
                .bind(&request.payment)
                .bind(minor)
                .bind(request.amount.currency().code())
                .bind(&request.reason)
                .bind(now())
                .execute(pool)
                .await
                .map(drop)
            )?;
            Ok(())
        })
        .await?;
        self.request(&id).await
    }

    /// The request with this reference.
    pub(crate) async fn request(&self, id: &str) -> Result<Option<Request>, StoreError> {
        let found = self.requests(select!("id = $1"), id.to_owned()).await?;
        Ok(found.into_iter().next())
    }

    /// The requests of a payment, the oldest first.
    pub(crate) async fn requests_of(&self, payment: &str) -> Result<Vec<Request>, StoreError> {
        self.requests(select!("payment_intent = $1"), payment.to_owned())
            .await
    }

    /// The requests that Stripe has not answered, the oldest first.
    pub(crate) async fn unanswered(&self) -> Result<Vec<Request>, StoreError> {
        let asked = Progress::Asked.as_str().to_owned();
        self.requests(select!("state = $1"), asked).await
    }

    async fn requests(&self, sql: &'static str, value: String) -> Result<Vec<Request>, StoreError> {
        let pool = self.pool().clone();
        self.to_the_end(async move {
            let rows: Vec<Row> = on!(pool, sqlx::query_as(sql).bind(value).fetch_all(pool).await?);
            rows.into_iter().map(Request::read).collect()
        })
        .await
    }

    /// Records the result. A request that is done stays done: the event may have reported it
    /// already.
    pub(crate) async fn answered(
        &self,
        id: &str,
        progress: Progress,
        answer: &str,
    ) -> Result<(), StoreError> {
        let (pool, id, answer) = (self.pool().clone(), id.to_owned(), answer.to_owned());
        self.to_the_end(async move {
            on!(
                pool,
                sqlx::query(
                    "UPDATE requests SET state = $1, answer = $2 WHERE id = $3 AND state <> 'done'",
                )
                .bind(progress.as_str())
                .bind(&answer)
                .bind(&id)
                .execute(pool)
                .await
                .map(drop)
            )?;
            Ok(())
        })
        .await
    }
}
