//! Handlers as they should be: what compiles this can judge the wrong ones.

use sqlx::SqliteConnection;
use stripe_checkout_core::BoxError;
use stripe_checkout_core::fulfillment::{Due, FulfillmentHandler, SqliteInbox};
use stripe_checkout_core::webhook::Payment;
use stripe_checkout_core::{CheckoutBuilder, fulfillment::MemoryInbox};

struct Ship;

impl FulfillmentHandler<SqliteConnection> for Ship {
    async fn payment_succeeded(
        &self,
        _: &Payment,
        _: &mut SqliteConnection,
    ) -> Result<(), BoxError> {
        Ok(())
    }

    async fn amount_due(&self, _: &Payment, _: &mut SqliteConnection) -> Result<Due, BoxError> {
        Ok(Due::AsAsked)
    }
}

struct Everywhere;

impl<C: Send> FulfillmentHandler<C> for Everywhere {
    async fn payment_succeeded(&self, _: &Payment, _: &mut C) -> Result<(), BoxError> {
        Ok(())
    }

    async fn amount_due(&self, _: &Payment, _: &mut C) -> Result<Due, BoxError> {
        Ok(Due::AsAsked)
    }
}

pub fn shops(builders: [CheckoutBuilder; 3], inbox: [SqliteInbox; 2]) {
    let [a, b, c] = builders;
    let [first, second] = inbox;
    let _ = a.fulfillment(first, Ship);
    let _ = b.fulfillment(second, Everywhere);
    let _ = c.fulfillment(MemoryInbox::new(), Everywhere);
}
