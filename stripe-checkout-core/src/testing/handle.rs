//! One event for a handler, without an inbox.

use crate::error::BoxError;
use crate::fulfillment::{Decision, FulfillmentHandler, payment_event};
use crate::webhook::{Event, Outcome};

/// Calls the handler with this event, as an inbox does that knows nothing else of the payment.
///
/// It compares no price and no signature, and commits nothing. Use it to test how a handler copes
/// with late or repeated events, and with orders that it does not know.
///
/// ```
/// use stripe_checkout_core::fulfillment::{Due, FulfillmentHandler, PaymentEvent};
/// use stripe_checkout_core::testing::{PaymentIntent, event, handle};
/// use stripe_checkout_core::webhook::{Event, Payment};
/// use stripe_checkout_core::{Amount, BoxError, Currency};
///
/// struct Shop;
///
/// impl FulfillmentHandler for Shop {
///     async fn payment_succeeded(&self, _: &Payment, _: &mut ()) -> Result<(), BoxError> {
///         Ok(())
///     }
///
///     async fn amount_due(&self, _: &Payment, _: &mut ()) -> Result<Due, BoxError> {
///         Ok(Due::AsAsked)
///     }
///
///     async fn on_event(&self, event: &PaymentEvent<'_>, _: &mut ()) -> Result<(), BoxError> {
///         match event {
///             PaymentEvent::PaymentCanceled { payment, .. } if payment.order_id().is_none() => {
///                 Err("an unknown order".into())
///             }
///             _ => Ok(()),
///         }
///     }
/// }
///
/// # async fn test() -> Result<(), BoxError> {
/// let intent = PaymentIntent::new("pi_1", Amount::new(1999, Currency::EUR)).status("canceled");
/// let canceled = Event::parse(event("payment_intent.canceled", intent.object()))?;
/// assert!(handle(&Shop, &canceled, &mut ()).await.is_err());
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// The handler's.
pub async fn handle<C: Send>(
    handler: &impl FulfillmentHandler<C>,
    event: &Event,
    db: &mut C,
) -> Result<(), BoxError> {
    let outcome = Outcome::of(event);
    match outcome.settled() {
        Some(payment) => handler.payment_succeeded(payment, db).await,
        None => {
            let news = payment_event(Decision::Tell, &outcome, event);
            handler.on_event(&news, db).await
        }
    }
}
