//! Decides which visitor may start a payment, and look one up. Thieves try stolen cards where a
//! page lets any visitor start as many payments as they like: see Stripe's
//! [card testing](https://docs.stripe.com/disputes/prevention/card-testing).

use std::time::Duration;

use crate::call::Visitor;
use crate::error::BoxError;
use crate::fulfillment::BoxFuture;
use crate::requests::PaymentRequest;

/// Why a [`Guard`] does not let a buyer start a payment. A guard can return any error with `?`.
#[derive(Debug)]
#[non_exhaustive]
pub enum GuardError {
    /// This buyer may not (403). The text is shown to the buyer.
    Refused {
        /// A sentence that the buyer may read.
        message: String,
        /// A stable `snake_case` code for the browser.
        code: &'static str,
    },
    /// Too many attempts (429).
    TooMany {
        /// When it may be tried again: whole seconds, at least one.
        retry_after: Duration,
    },
    /// The guard cannot decide now (503). The cause is logged, never shown.
    Unavailable(BoxError),
}

impl GuardError {
    /// Refuses with a sentence that the buyer may read.
    pub fn refused(message: impl Into<String>) -> Self {
        Self::Refused {
            message: message.into(),
            code: "visitor_refused",
        }
    }
}

// As with `PricingError`: neither `Display` nor `Error`, so that `?` takes any other error.
impl<E: Into<BoxError>> From<E> for GuardError {
    fn from(error: E) -> Self {
        Self::Unavailable(error.into())
    }
}

/// Lets a buyer start a payment, or refuses: a limit per address, a captcha, a list of one's own.
///
/// It is asked each time before Stripe is, when a buyer presses *Pay*, after the order got its price. Whoever is refused has started nothing.
///
/// It is also asked before each look-up of a payment, which the checkout page may need too, and
/// before saved cards are shown. The return page asks again and again while a payment is processed,
/// so a limit for payments should let [`Attempt::LookUp`] and [`Attempt::CustomerSession`] pass.
/// Look-ups have a bound of their own:
/// [`max_visitor_calls`](crate::CheckoutBuilder::max_visitor_calls).
///
/// ```
/// use std::collections::HashSet;
/// use std::net::IpAddr;
///
/// use stripe_checkout_core::{Attempt, Guard, GuardError, Visitor};
///
/// struct Banned(HashSet<IpAddr>);
///
/// impl Guard for Banned {
///     async fn admit(&self, visitor: &Visitor, _: Attempt<'_>) -> Result<(), GuardError> {
///         match visitor.peer() {
///             Some(peer) if self.0.contains(&peer) => Err(GuardError::refused("Please contact the shop.")),
///             _ => Ok(()),
///         }
///     }
/// }
/// ```
pub trait Guard: Send + Sync + 'static {
    /// Whether this visitor may do that now.
    ///
    /// # Errors
    /// [`GuardError::refused`] with a sentence for the buyer (403), [`GuardError::TooMany`] (429); any other error by `?` says that nobody can tell now (503).
    fn admit(
        &self,
        visitor: &Visitor,
        attempt: Attempt<'_>,
    ) -> impl Future<Output = Result<(), GuardError>> + Send;
}

/// What a visitor is about to do.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Attempt<'a> {
    /// To pay this.
    Payment(&'a PaymentRequest),
    /// To save a card without paying: what thieves like best.
    SaveCard,
    /// To see how a payment stands, or whether a card was saved, with the payment's id and secret.
    LookUp,
    /// To see the saved cards of the customer that the visitor is.
    CustomerSession,
}

/// A guard whose type is gone.
pub(crate) trait ErasedGuard: Send + Sync {
    fn admit<'a>(
        &'a self,
        visitor: &'a Visitor,
        attempt: Attempt<'a>,
    ) -> BoxFuture<'a, Result<(), GuardError>>;
}

impl<G: Guard> ErasedGuard for G {
    fn admit<'a>(
        &'a self,
        visitor: &'a Visitor,
        attempt: Attempt<'a>,
    ) -> BoxFuture<'a, Result<(), GuardError>> {
        Box::pin(Guard::admit(self, visitor, attempt))
    }
}
