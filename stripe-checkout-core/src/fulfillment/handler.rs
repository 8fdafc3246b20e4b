//! The hook: the only part of a payment that the merchant writes.

use std::fmt;
use std::sync::Arc;

use crate::amount::Amount;
use crate::error::BoxError;
use crate::marks::Marks;
use crate::webhook::{
    Dispute, DisputeChange, Event, Failure, Payment, PaymentMethod, Refund, SetupIntent,
};

/// What the merchant does when something happens to a payment.
///
/// `C` is the connection of the inbox: `()` for [`MemoryInbox`](super::MemoryInbox); a database's inbox gives its own transaction, so that what the
/// handler writes and the mark *done* commit together or not at all. A handler for every inbox is `impl<C: Send> FulfillmentHandler<C>`.
///
/// # Rules
/// - An `Err`, a panic, or a handler that passes its deadline (20 s) counts as failed: Stripe delivers again, and the hook runs again. So return
///   `Err` whenever the work was not done, and let an `UPDATE` that touched no row be an error.
/// - `payment_succeeded` runs once per PaymentIntent to the extent that the inbox can promise. Work outside the inbox's own database (an e-mail, another
///   service) can be at least once only: pass on [`Payment::idempotency_key`], which is the same each time.
/// - Use only the connection you are given, and never `Checkout` itself: a refund from inside a handler would wait for its own payment. What must
///   happen afterwards, write down as a row of its own.
/// - Leave nothing in the session of that connection, because it goes back to your pool. On
///   PostgreSQL use `SET LOCAL`, `pg_advisory_xact_lock` and `ON COMMIT DROP`. See "Session state"
///   at `PostgresInbox`.
///
/// ```
/// use stripe_checkout_core::BoxError;
/// use stripe_checkout_core::fulfillment::{Due, FulfillmentHandler};
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
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not handle payments with the connection `{C}` of this inbox",
    label = "needs `impl FulfillmentHandler<{C}> for {Self}`",
    note = "the handler's type parameter is the inbox's `Connection`: `()` for `MemoryInbox`, `sqlx::SqliteConnection` for `SqliteInbox`, `sqlx::PgConnection` for `PostgresInbox`; write `impl<C: Send> FulfillmentHandler<C> for …` to serve every inbox"
)]
pub trait FulfillmentHandler<C = ()>: Send + Sync + 'static {
    /// The money is there: deliver what was bought.
    fn payment_succeeded(
        &self,
        payment: &Payment,
        db: &mut C,
    ) -> impl Future<Output = Result<(), BoxError>> + Send;

    /// What the order of this payment costs *now*, read from the merchant's own records.
    ///
    /// It is asked just before [`payment_succeeded`](Self::payment_succeeded), and two things are
    /// compared. A payment that fails one of them goes to
    /// [`mismatch`](Self::mismatch) instead.
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

    /// The payment is on its way and may take days (a bank debit). Deliver nothing yet.
    fn payment_processing(
        &self,
        payment: &Payment,
        db: &mut C,
    ) -> impl Future<Output = Result<(), BoxError>> + Send {
        let _ = (payment, db);
        async { Ok(()) }
    }

    /// An attempt failed. The buyer may try again on the same PaymentIntent, so the order is not lost yet.
    fn payment_failed(
        &self,
        payment: &Payment,
        failure: &Failure,
        db: &mut C,
    ) -> impl Future<Output = Result<(), BoxError>> + Send {
        let _ = (payment, failure, db);
        async { Ok(()) }
    }

    /// The PaymentIntent was canceled: nobody will pay it any more.
    fn payment_canceled(
        &self,
        payment: &Payment,
        db: &mut C,
    ) -> impl Future<Output = Result<(), BoxError>> + Send {
        let _ = (payment, db);
        async { Ok(()) }
    }

    /// The buyer has to do something (3-D Secure, a bank's page).
    fn payment_requires_action(
        &self,
        payment: &Payment,
        db: &mut C,
    ) -> impl Future<Output = Result<(), BoxError>> + Send {
        let _ = (payment, db);
        async { Ok(()) }
    }

    /// The amount is authorised and waits to be captured. Comes once per PaymentIntent.
    fn capture_required(
        &self,
        payment: &Payment,
        db: &mut C,
    ) -> impl Future<Output = Result<(), BoxError>> + Send {
        let _ = (payment, db);
        async { Ok(()) }
    }

    /// The buyer ordered in a Checkout Session in which nothing was to be paid: a promotion took off all of it. Deliver what was bought; unless you write this hook,
    /// [`payment_succeeded`](Self::payment_succeeded) does. There is no PaymentIntent: [`Payment::id`] is the session's, and there is nothing to refund. Comes once
    /// per session, and not for an order that is paid already.
    fn order_free(
        &self,
        payment: &Payment,
        db: &mut C,
    ) -> impl Future<Output = Result<(), BoxError>> + Send {
        self.payment_succeeded(payment, db)
    }

    /// A second PaymentIntent of an order that is paid already succeeded: deliver nothing, give the money back.
    fn duplicate_payment(
        &self,
        payment: &Payment,
        db: &mut C,
    ) -> impl Future<Output = Result<(), BoxError>> + Send {
        let _ = (payment, db);
        async { Ok(()) }
    }

    /// Money arrived that does not fit the order: deliver nothing, look at it.
    fn mismatch(
        &self,
        payment: &Payment,
        mismatch: &Mismatch,
        db: &mut C,
    ) -> impl Future<Output = Result<(), BoxError>> + Send {
        let _ = (payment, mismatch, db);
        async { Ok(()) }
    }

    /// Money is on its way back to the buyer, and not there yet, or waits for the buyer to say where it shall go: see [`Refund::status`].
    ///
    /// Of a refund each status is told once, and nothing that came before it afterwards: no `refund_pending` after [`refunded`](Self::refunded) or
    /// [`refund_failed`](Self::refund_failed). All three come only after the success of the payment was dealt with, and also for refunds that somebody made in Stripe's
    /// Dashboard; [`Refund::reference`] tells your own.
    fn refund_pending(
        &self,
        refund: &Refund,
        db: &mut C,
    ) -> impl Future<Output = Result<(), BoxError>> + Send {
        let _ = (refund, db);
        async { Ok(()) }
    }

    /// Money went back: the buyer has it, or will have it in a few days. It may still come back to you, weeks later: then [`refund_failed`](Self::refund_failed) runs.
    fn refunded(
        &self,
        refund: &Refund,
        db: &mut C,
    ) -> impl Future<Output = Result<(), BoxError>> + Send {
        let _ = (refund, db);
        async { Ok(()) }
    }

    /// Money did not go back, or came back to you (the card was closed, the bank refused it), or the refund was given up: see [`Refund::failure_reason`]. The buyer still has
    /// to get it, in another way.
    fn refund_failed(
        &self,
        refund: &Refund,
        db: &mut C,
    ) -> impl Future<Output = Result<(), BoxError>> + Send {
        let _ = (refund, db);
        async { Ok(()) }
    }

    /// The payment succeeded, but was refunded in full or disputed before it could be fulfilled: deliver nothing.
    fn refunded_before_fulfillment(
        &self,
        payment: &Payment,
        db: &mut C,
    ) -> impl Future<Output = Result<(), BoxError>> + Send {
        let _ = (payment, db);
        async { Ok(()) }
    }

    /// The buyer's bank takes the payment back, or asks about it: see [`Dispute::due_by`] for how long you can answer. Once for each dispute, and only after the success of
    /// its payment was dealt with.
    fn dispute_opened(
        &self,
        dispute: &Dispute,
        db: &mut C,
    ) -> impl Future<Output = Result<(), BoxError>> + Send {
        let _ = (dispute, db);
        async { Ok(()) }
    }

    /// A dispute changed, or moved money: each movement is told once, also one that comes after [`dispute_closed`](Self::dispute_closed), because no order is promised. Of
    /// one that is closed no older state is told.
    fn dispute_updated(
        &self,
        dispute: &Dispute,
        change: DisputeChange,
        db: &mut C,
    ) -> impl Future<Output = Result<(), BoxError>> + Send {
        let _ = (dispute, change, db);
        async { Ok(()) }
    }

    /// A dispute was decided: won, lost, or an early warning that came to nothing; see [`Dispute::status`]. Each decision once.
    fn dispute_closed(
        &self,
        dispute: &Dispute,
        db: &mut C,
    ) -> impl Future<Output = Result<(), BoxError>> + Send {
        let _ = (dispute, db);
        async { Ok(()) }
    }

    /// A payment method was saved without a payment. Comes once per SetupIntent.
    fn setup_succeeded(
        &self,
        setup: &SetupIntent,
        db: &mut C,
    ) -> impl Future<Output = Result<(), BoxError>> + Send {
        let _ = (setup, db);
        async { Ok(()) }
    }

    /// An attempt to save a payment method failed. The buyer may try again on the same SetupIntent.
    fn setup_failed(
        &self,
        setup: &SetupIntent,
        failure: &Failure,
        db: &mut C,
    ) -> impl Future<Output = Result<(), BoxError>> + Send {
        let _ = (setup, failure, db);
        async { Ok(()) }
    }

    /// A payment method was saved for a customer, with or without a payment. Comes once per payment method, and not after it was detached.
    ///
    /// Customers belong to the Stripe account and not to one application on it: look whether [`PaymentMethod::customer`] is one of yours.
    fn payment_method_attached(
        &self,
        method: &PaymentMethod,
        db: &mut C,
    ) -> impl Future<Output = Result<(), BoxError>> + Send {
        let _ = (method, db);
        async { Ok(()) }
    }

    /// A payment method was taken from its customer, [whose it was](PaymentMethod::former_customer): it can never be charged again. Comes once per payment method.
    fn payment_method_detached(
        &self,
        method: &PaymentMethod,
        db: &mut C,
    ) -> impl Future<Output = Result<(), BoxError>> + Send {
        let _ = (method, db);
        async { Ok(()) }
    }

    /// Every other verified event: of other types, of payments that are not this application's, or of a shape that cannot be read.
    fn event(
        &self,
        event: &Event,
        db: &mut C,
    ) -> impl Future<Output = Result<(), BoxError>> + Send {
        let _ = (event, db);
        async { Ok(()) }
    }
}

/// What an order costs now, by the merchant's own records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Due {
    /// Exactly this price, before discount, shipping and tax. It does not change when a part is
    /// captured.
    Exactly(Amount),
    /// The price that was asked for this payment: for orders whose price cannot change. If neither
    /// the inbox nor the payment's metadata knows it, the payment is a mismatch.
    AsAsked,
    /// This much of the money must have arrived, whatever the price. You vouch for it: use it for a
    /// payment that was captured in part elsewhere, such as in Stripe's Dashboard.
    Received(Amount),
}

/// Why a payment does not fit its order.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mismatch {
    /// The price of the payment is not the price that was asked for it ([`Due::AsAsked`]).
    NotAsAsked {
        /// The price that was asked for.
        asked: Amount,
        /// The price of the payment, before discount, shipping and tax.
        price: Amount,
    },
    /// Neither the inbox nor the metadata of the payment says which price was asked for it
    /// ([`Due::AsAsked`]).
    AskedUnknown {
        /// The price of the payment, before discount, shipping and tax.
        price: Amount,
    },
    /// Another amount arrived than was to be taken: the total, or the amount of your own capture,
    /// or what [`Due::Received`] says.
    NotAsExpected {
        /// The amount that was to be taken.
        expected: Amount,
        /// The amount that arrived.
        received: Amount,
    },
    /// A part was captured elsewhere, and the refunds fit two readings: a full refund, or the
    /// release of the part that was never captured.
    RefundUnclear {
        /// The amount that arrived.
        received: Amount,
    },
    /// The PaymentIntent was made for one order, and its metadata names another one now.
    OtherOrder {
        /// The reference of the order that it was made for.
        made_for: String,
        /// The order that its metadata names.
        named: Option<String>,
    },
    /// The price of the payment is not what the order costs now ([`Due::Exactly`]).
    NotAsDue {
        /// What the order costs.
        due: Amount,
        /// The price of the payment, before discount, shipping and tax.
        price: Amount,
    },
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAsAsked { asked, price } => {
                write!(f, "the price asked was {asked}, the payment is for {price}")
            }
            Self::AskedUnknown { price } => write!(
                f,
                "the price asked is not known, the payment is for {price}"
            ),
            Self::NotAsExpected { expected, received } => {
                write!(f, "expected {expected}, received {received}")
            }
            Self::RefundUnclear { received } => write!(
                f,
                "the refunds may be a full refund of {received}, or the part that was never captured: look at the payment in the Dashboard"
            ),
            Self::NotAsDue { due, price } => {
                write!(f, "the order costs {due}, the payment is for {price}")
            }
            Self::OtherOrder { made_for, named } => {
                write!(
                    f,
                    "made for order {made_for}, names order {}",
                    named.as_deref().unwrap_or("none")
                )
            }
        }
    }
}

/// A handler from a closure, for applications without a database: it runs when money arrives, and every other hook does nothing.
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

/// Writes something for every hook: whoever wraps a handler must forget none, because a hook that is not forwarded does nothing.
macro_rules! for_each_hook {
    ($write:ident) => {
        $write! {
            payment_succeeded(payment: &Payment) -> ();
            order_free(payment: &Payment) -> ();
            amount_due(payment: &Payment) -> Due;
            payment_processing(payment: &Payment) -> ();
            payment_failed(payment: &Payment, failure: &Failure) -> ();
            payment_canceled(payment: &Payment) -> ();
            payment_requires_action(payment: &Payment) -> ();
            capture_required(payment: &Payment) -> ();
            duplicate_payment(payment: &Payment) -> ();
            mismatch(payment: &Payment, mismatch: &Mismatch) -> ();
            refund_pending(refund: &Refund) -> ();
            refunded(refund: &Refund) -> ();
            refund_failed(refund: &Refund) -> ();
            refunded_before_fulfillment(payment: &Payment) -> ();
            dispute_opened(dispute: &Dispute) -> ();
            dispute_updated(dispute: &Dispute, change: DisputeChange) -> ();
            dispute_closed(dispute: &Dispute) -> ();
            setup_succeeded(setup: &SetupIntent) -> ();
            setup_failed(setup: &SetupIntent, failure: &Failure) -> ();
            payment_method_attached(method: &PaymentMethod) -> ();
            payment_method_detached(method: &PaymentMethod) -> ();
            event(event: &Event) -> ();
        }
    };
}
pub(super) use for_each_hook;

/// Forwards every hook to a handler behind an `Arc`, so that the application can keep one too.
macro_rules! forward {
    ($($hook:ident($($argument:ident: $type:ty),*) -> $output:ty;)*) => {
        impl<C: Send, H: FulfillmentHandler<C>> FulfillmentHandler<C> for Arc<H> {
            $(async fn $hook(&self, $($argument: $type,)* db: &mut C) -> Result<$output, BoxError> {
                H::$hook(self, $($argument,)* db).await
            })*
        }
    };
}

for_each_hook!(forward);
