//! Questions to Stripe about a payment, where an event does not say enough.

use super::BoxFuture;
use super::records::PendingNote;
use crate::error::BoxError;
use crate::webhook::{CheckoutSession, Payment};

/// An answer of Stripe. An error means that Stripe must be asked again: the event is not
/// acknowledged, or stays pending.
pub(crate) type Answer<'a, T> = BoxFuture<'a, Result<T, BoxError>>;

/// Asks Stripe about a PaymentIntent, by its id and on its connected account.
pub(crate) trait Lookup: Send + Sync {
    /// The PaymentIntent. `None` if Stripe does not know it, or if the account is not connected
    /// any more.
    fn payment<'a>(&'a self, id: &'a str, account: Option<&'a str>) -> Answer<'a, Option<Payment>>;

    /// The Checkout Session that the PaymentIntent was made in. `None` if there is none, or if the
    /// account is not connected any more.
    fn session<'a>(
        &'a self,
        id: &'a str,
        account: Option<&'a str>,
    ) -> Answer<'a, Option<CheckoutSession>>;

    /// How the payment's money stands now. It is an error if any part of it cannot be read.
    fn standing<'a>(&'a self, id: &'a str, account: Option<&'a str>) -> Answer<'a, Standing>;
}

/// How the money of a payment stands at Stripe.
pub(crate) struct Standing {
    /// The payment, in its Checkout Session if it was made in one.
    pub(crate) payment: Payment,
    /// The refunds as the charge counts them, and the status of each dispute.
    pub(crate) notes: Vec<PendingNote>,
}
