//! Unpaid orders: after two weeks the shop cancels them, and they can no longer be paid.

use std::time::Duration;

use stripe_checkout_core::{Checkout, OrderCancellation};

use crate::{
    db::{now, on},
    order::short,
    store::{Store, StoreError},
};

/// How long an order waits for its payment. Buyers may pay a voucher days after they got it, like
/// one of Multibanco within 7 days.
const ABANDONED: Duration = Duration::from_secs(14 * 24 * 60 * 60);

/// How many orders one run looks at, at most.
const MOST: i64 = 100;

/// The result of one run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// How many orders it canceled.
    pub canceled: u64,
    /// Where the next run goes on: 0 is the first order.
    pub next: i64,
}

/// Cancels the orders behind this row that were made before this time (in seconds since 1970) and
/// are not paid: at most 100. An order that fails, or is paid at this moment, keeps no other one
/// waiting.
///
/// Pre-orders stay. Their money may be authorised although no event has told it yet, and canceling
/// would give it back.
///
/// # Errors
/// [`StoreError`] if the orders cannot be read or written.
pub async fn cancel(
    checkout: &Checkout,
    store: &Store,
    before: i64,
    after: i64,
) -> Result<Run, StoreError> {
    let orders = store.unpaid(before, after).await?;
    let next = orders.last().map_or(0, |(row, _)| *row);
    let mut canceled = 0;
    for (_, order) in orders {
        match checkout.cancel_order(&order).await {
            // Stripe also tells of a payment that was canceled.
            Ok(OrderCancellation::Canceled(_) | OrderCancellation::NothingOpen) => {
                store.called_off(&order).await?;
                canceled += 1;
            }
            // Its events decide.
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(order = short(&order), error = %crate::causes(&error), "an abandoned order could not be canceled; it will be tried again");
            }
        }
    }
    Ok(Run { canceled, next })
}

/// The time before which an unpaid order is abandoned.
pub(crate) fn since() -> i64 {
    now().saturating_sub_unsigned(ABANDONED.as_secs())
}

impl Store {
    /// The orders behind this row that are not paid, are no pre-orders, and were made before this
    /// time.
    async fn unpaid(&self, before: i64, after: i64) -> Result<Vec<(i64, String)>, StoreError> {
        let pool = self.pool().clone();
        self.to_the_end(async move {
            Ok(on!(
                pool,
                sqlx::query_as(
                    "SELECT rowid, id FROM orders
                     WHERE status IN ('pending', 'failed') AND on_order = 0 AND created_at < $1 AND rowid > $2
                     ORDER BY rowid LIMIT $3",
                )
                .bind(before)
                .bind(after)
                .bind(MOST)
                .fetch_all(pool)
                .await?
            ))
        })
        .await
    }
}
