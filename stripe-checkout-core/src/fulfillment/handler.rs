//! The handler: the only part of a payment that the merchant writes.

use std::fmt;
use std::sync::Arc;

use super::due::Due;
use super::payment_event::PaymentEvent;
use crate::error::BoxError;
use crate::marks::Marks;
use crate::webhook::Payment;

/// The merchant's answer to each event of a payment.
///
/// `C` is the connection of the inbox: `()` for [`MemoryInbox`](super::MemoryInbox). The inbox of a
/// database gives its own transaction. So the writes of the handler and the mark *done* commit
/// together or not at all. A handler for every inbox is `impl<C: Send> FulfillmentHandler<C>`.
///
/// # Rules
/// - An `Err`, a panic, or a handler that passes its deadline (20 s) counts as failed. Stripe sends
///   the event again, and the handler runs again. So return `Err` whenever the work was not done,
///   and let an `UPDATE` that touched no row be an error.
/// - `payment_succeeded` runs once per payment to the extent that the inbox can promise. Work
///   outside the database of the inbox (an e-mail, another service) can be at least once only: pass
///   on [`Payment::idempotency_key`], which is the same each time.
/// - Use only the connection that you are given, and never `Checkout` itself. A refund from inside
///   a handler would wait for its own payment. Write down later work as a row of its own.
/// - A handler that wraps another one passes all three calls on.
/// - Leave nothing in the session of that connection, because it goes back to your pool. On
///   PostgreSQL use `SET LOCAL`, `pg_advisory_xact_lock` and `ON COMMIT DROP`. See "Session state"
///   at `PostgresInbox`.
///
/// ```
/// use stripe_checkout_core::BoxError;
/// use stripe_checkout_core::fulfillment::{Due, FulfillmentHandler, PaymentEvent};
/// use stripe_checkout_core::webhook::Payment;
///
/// struct Ship;
///
/// impl FulfillmentHandler for Ship {
///     async fn payment_succeeded(&self, payment: &Payment, _: &mut ()) -> Result<(), BoxError> {
///         println!("ship order {}", payment.order_id().ok_or("a payment without an order")?);
///         Ok(())
///     }
///
///     async fn amount_due(&self, _: &Payment, _: &mut ()) -> Result<Due, BoxError> {
///         Ok(Due::AsAsked)
///     }
///
///     async fn on_event(&self, event: &PaymentEvent<'_>, _: &mut ()) -> Result<(), BoxError> {
///         match event {
///             PaymentEvent::PaymentFailed { payment, failure, .. } => {
///                 println!("{}: {}", payment.id(), failure.message_for_buyer());
///             }
///             PaymentEvent::Mismatch { payment, mismatch, .. } => {
///                 println!("look at {}: {mismatch}", payment.id());
///             }
///             _ => {}
///         }
///         Ok(())
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not handle payments with the connection `{C}` of this inbox",
    label = "needs `impl FulfillmentHandler<{C}> for {Self}`",
    note = "the handler's type parameter is the inbox's `Connection`: `()` for `MemoryInbox`, `sqlx::SqliteConnection` for `SqliteInbox`, `sqlx::PgConnection` for `PostgresInbox`; write `impl<C: Send> FulfillmentHandler<C> for …` to serve every inbox"
)]
pub trait FulfillmentHandler<C = ()>: Send + Sync + 'static {
    /// The order is paid, or has nothing to pay: deliver what the buyer bought.
    ///
    /// A Checkout Session has nothing to pay if a promotion takes off the whole price. Then
    /// [`Payment::is_free`] is true, [`Payment::amount_received`] is zero, and there is nothing to
    /// refund. There is no PaymentIntent, so [`Payment::id`] is the id of the session. A free order
    /// comes once per session, and not if the order is already paid.
    fn payment_succeeded(
        &self,
        payment: &Payment,
        db: &mut C,
    ) -> impl Future<Output = Result<(), BoxError>> + Send;

    /// Returns what the order of this payment costs *now*, by the merchant's own records.
    ///
    /// It is asked just before [`payment_succeeded`](Self::payment_succeeded), and two things are
    /// compared. A payment that fails one of them comes as [`PaymentEvent::Mismatch`] instead.
    ///
    /// - *Is the price right?* [`Due::Exactly`] is the price of the order before discount, shipping
    ///   and tax. It is compared with the amount of the PaymentIntent; in a Checkout Session with
    ///   the [subtotal](crate::webhook::CheckoutSession::subtotal). So a cheap cart cannot pay for
    ///   an expensive order.
    /// - *Did all of it arrive?* The amount received is compared with the amount of the payment, or
    ///   with the amount of your own [`capture`](crate::Checkout). So the answer stays the price of
    ///   the order after you capture a part of it.
    ///
    /// If you capture a part elsewhere, such as in Stripe's Dashboard, answer [`Due::Received`].
    fn amount_due(
        &self,
        payment: &Payment,
        db: &mut C,
    ) -> impl Future<Output = Result<Due, BoxError>> + Send;

    /// Everything else that happened: see [`PaymentEvent`]. Unless you write it, it does nothing.
    fn on_event(
        &self,
        event: &PaymentEvent<'_>,
        db: &mut C,
    ) -> impl Future<Output = Result<(), BoxError>> + Send {
        let _ = (event, db);
        async { Ok(()) }
    }
}

/// Makes a handler from a closure, for applications without a database: it runs when an
/// order is paid, or has nothing to pay. It ignores every [`PaymentEvent`].
///
/// ```
/// use stripe_checkout_core::fulfillment::on_paid;
///
/// let handler = on_paid(async |payment| {
///     println!("paid: {}", payment.id());
///     Ok(())
/// });
/// # fn is_handler<H: stripe_checkout_core::fulfillment::FulfillmentHandler>(_: H) {}
/// # is_handler(handler);
/// ```
pub fn on_paid<F, Fut>(run: F) -> OnPaid<F>
where
    F: Fn(Payment) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<(), BoxError>> + Send,
{
    OnPaid(run)
}

/// See [`on_paid`].
#[derive(Clone)]
pub struct OnPaid<F>(F);

impl<F> fmt::Debug for OnPaid<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnPaid")
    }
}

impl<C, F, Fut> FulfillmentHandler<C> for OnPaid<F>
where
    C: Send,
    F: Fn(Payment) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<(), BoxError>> + Send,
{
    async fn payment_succeeded(&self, payment: &Payment, _: &mut C) -> Result<(), BoxError> {
        (self.0)(payment.clone()).await
    }

    async fn amount_due(&self, payment: &Payment, _: &mut C) -> Result<Due, BoxError> {
        // Without marks, another program made the payment: its own amount is all that was asked.
        Ok(match Marks::of(payment.metadata()) {
            Some(_) => Due::AsAsked,
            None => Due::Exactly(payment.price()),
        })
    }
}

/// Forwards each call to a handler behind an `Arc`, so that the application can keep one too.
impl<C: Send, H: FulfillmentHandler<C>> FulfillmentHandler<C> for Arc<H> {
    async fn payment_succeeded(&self, payment: &Payment, db: &mut C) -> Result<(), BoxError> {
        H::payment_succeeded(self, payment, db).await
    }

    async fn amount_due(&self, payment: &Payment, db: &mut C) -> Result<Due, BoxError> {
        H::amount_due(self, payment, db).await
    }

    async fn on_event(&self, event: &PaymentEvent<'_>, db: &mut C) -> Result<(), BoxError> {
        H::on_event(self, event, db).await
    }
}
