//! Decides which visitor may start a payment, or look one up.
//!
//! Thieves test stolen cards on pages that let a visitor start any number of payments: see Stripe's
//! page on [card testing](https://docs.stripe.com/disputes/prevention/card-testing).

use std::time::Duration;

use crate::call::Visitor;
use crate::error::BoxError;
use crate::fulfillment::BoxFuture;
use crate::requests::PaymentRequest;

/// Why a [`PaymentGuard`] refuses a visitor. A guard can return any error with `?`.
#[derive(Debug)]
#[non_exhaustive]
pub enum GuardError {
    /// The guard refuses this visitor (403). The page shows the message to the buyer.
    Refused {
        /// A sentence that the buyer may read.
        message: String,
        /// A stable `snake_case` code for the browser.
        code: &'static str,
    },
    /// Too many attempts (429).
    TooMany {
        /// How long to wait before the next attempt: whole seconds, at least one.
        retry_after: Duration,
    },
    /// The guard cannot decide now (503). The log has the cause, and the buyer never sees it.
    Unavailable(BoxError),
}

impl GuardError {
    /// Refuses with a message for the buyer.
    pub fn refused(message: impl Into<String>) -> Self {
        Self::Refused {
            message: message.into(),
            code: "visitor_refused",
        }
    }
}

// As with `PricingError`: neither `Display` nor `Error`, so that `?` converts any other error.
impl<E: Into<BoxError>> From<E> for GuardError {
    fn from(error: E) -> Self {
        Self::Unavailable(error.into())
    }
}

/// Lets a buyer start a payment, or refuses: a limit per address, a captcha, or your own list.
///
/// The guard runs each time a buyer presses *Pay*: after the order has its price, and before any
/// call to Stripe. If it refuses, nothing has been started.
///
/// It also runs before each look-up of a payment, which the checkout page may need too, and before
/// saved cards are shown. The return page asks again and again while a payment is processed. So a
/// limit for payments should allow [`GuardedAction::LookUp`] and
/// [`GuardedAction::CustomerSession`]. Look-ups have their own bound:
/// [`max_visitor_calls`](crate::CheckoutBuilder::max_visitor_calls).
///
/// ```
/// use std::collections::HashSet;
/// use std::net::IpAddr;
///
/// use stripe_checkout_core::{GuardedAction, PaymentGuard, GuardError, Visitor};
///
/// struct Banned(HashSet<IpAddr>);
///
/// impl PaymentGuard for Banned {
///     async fn check(&self, visitor: &Visitor, _: GuardedAction<'_>) -> Result<(), GuardError> {
///         match visitor.peer() {
///             Some(peer) if self.0.contains(&peer) => Err(GuardError::refused("Please contact the shop.")),
///             _ => Ok(()),
///         }
///     }
/// }
/// ```
pub trait PaymentGuard: Send + Sync + 'static {
    /// Checks whether this visitor may do this now.
    ///
    /// # Errors
    /// [`GuardError::refused`] with a message for the buyer (403), or [`GuardError::TooMany`]
    /// (429). Any other error that you return with `?` means that the guard cannot decide now
    /// (503).
    fn check(
        &self,
        visitor: &Visitor,
        action: GuardedAction<'_>,
    ) -> impl Future<Output = Result<(), GuardError>> + Send;
}

/// The action that a visitor is about to take.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum GuardedAction<'a> {
    /// Pays this request.
    Payment(&'a PaymentRequest),
    /// Saves a card without paying, which thieves prefer.
    SaveCard,
    /// Looks up the status of a payment, or whether a card was saved, with the payment's id and
    /// secret.
    LookUp,
    /// Shows the saved cards of the customer that the visitor is.
    CustomerSession,
}

/// A [`PaymentGuard`] without its type.
pub(crate) trait ErasedGuard: Send + Sync {
    fn check<'a>(
        &'a self,
        visitor: &'a Visitor,
        action: GuardedAction<'a>,
    ) -> BoxFuture<'a, Result<(), GuardError>>;
}

impl<G: PaymentGuard> ErasedGuard for G {
    fn check<'a>(
        &'a self,
        visitor: &'a Visitor,
        action: GuardedAction<'a>,
    ) -> BoxFuture<'a, Result<(), GuardError>> {
        Box::pin(PaymentGuard::check(self, visitor, action))
    }
}
