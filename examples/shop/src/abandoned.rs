//! Unpaid orders: after a day the shop cancels them, and they can no longer be paid.

use std::time::Duration;

use stripe_checkout_core::{Checkout, Expired};

use crate::{
    db::{now, on},
    order::short,
    store::{Store, StoreError},
};

/// How long an order waits for its payment.
pub(crate) const ABANDONED: Duration = Duration::from_secs(24 * 60 * 60);

/// So many orders are read at once.
const PAGE: i64 = 100;

/// Cancels the orders that were made before this time (in seconds since 1970) and are not paid.
/// Returns how many. An order that fails, or is paid at this moment, keeps no other one waiting.
///
/// # Errors
/// [`StoreError`] if the orders cannot be read or written.
pub async fn cancel(checkout: &Checkout, store: &Store, before: i64) -> Result<u64, StoreError> {
    let (mut canceled, mut last) = (0, 0);
    loop {
        let page = store.unpaid(before, last).await?;
        let Some((end, _)) = page.last() else {
            return Ok(canceled);
        };
        last = *end;
        for (_, order) in page {
            match checkout.expire(&order).await {
                // Stripe also tells of a payment that was canceled.
                Ok(Expired::Expired(_) | Expired::NothingOpen) => {
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
    }
}

/// The time before which an unpaid order is abandoned.
pub(crate) fn since() -> i64 {
    now().saturating_sub_unsigned(ABANDONED.as_secs())
}

impl Store {
    /// The orders behind this row that are not paid and were made before this time.
    async fn unpaid(&self, before: i64, after: i64) -> Result<Vec<(i64, String)>, StoreError> {
        let pool = self.pool().clone();
        self.to_the_end(async move {
            Ok(on!(
                pool,
                sqlx::query_as(
                    "SELECT rowid, id FROM orders
                     WHERE status IN ('pending', 'failed') AND created_at < $1 AND rowid > $2
                     ORDER BY rowid LIMIT $3",
                )
                .bind(before)
                .bind(after)
                .bind(PAGE)
                .fetch_all(pool)
                .await?
            ))
        })
        .await
    }
}
