//! Handlers for another inbox than their own, and none at all.

use stripe_checkout_core::BoxError;
use stripe_checkout_core::CheckoutBuilder;
use stripe_checkout_core::fulfillment::{Due, FulfillmentHandler, MemoryInbox, SqliteInbox};
use stripe_checkout_core::webhook::Payment;

struct WithoutDatabase;

impl FulfillmentHandler for WithoutDatabase {
    async fn payment_succeeded(&self, _: &Payment, _: &mut ()) -> Result<(), BoxError> {
        Ok(())
    }

    async fn amount_due(&self, _: &Payment, _: &mut ()) -> Result<Due, BoxError> {
        Ok(Due::AsAsked)
    }
}

struct NotAtAll;

pub fn shops(builders: [CheckoutBuilder; 2], inbox: SqliteInbox) {
    let [a, b] = builders;
    let _ = a.fulfillment(inbox, WithoutDatabase);
    let _ = b.fulfillment(MemoryInbox::new(), NotAtAll);
}
