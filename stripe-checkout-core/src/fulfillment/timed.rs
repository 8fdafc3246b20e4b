//! How long each call of the handler takes.

use super::{Due, FulfillmentHandler, PaymentEvent};
use crate::error::BoxError;
use crate::telemetry::Timer;
use crate::webhook::Payment;

/// A handler whose calls are measured.
pub(crate) struct Timed<H>(pub(crate) H);

impl<C: Send, H: FulfillmentHandler<C>> FulfillmentHandler<C> for Timed<H> {
    async fn payment_succeeded(&self, payment: &Payment, db: &mut C) -> Result<(), BoxError> {
        let _timer = Timer::start("payment_succeeded");
        self.0.payment_succeeded(payment, db).await
    }

    async fn amount_due(&self, payment: &Payment, db: &mut C) -> Result<Due, BoxError> {
        let _timer = Timer::start("amount_due");
        self.0.amount_due(payment, db).await
    }

    async fn on_event(&self, event: &PaymentEvent<'_>, db: &mut C) -> Result<(), BoxError> {
        let _timer = Timer::start(event.as_str());
        self.0.on_event(event, db).await
    }
}
