//! Which of the merchant's users a visitor is: the merchant's own code says so, never the browser.

use crate::call::Visitor;
use crate::fulfillment::BoxFuture;
use crate::pricing::PricingError;
use crate::requests::CustomerRequest;

/// Finds out which of the merchant's users a visitor is.
///
/// The visitor then pays as a customer of Stripe. The checkout page shows their saved cards and
/// offers to save another one. A page to save a card without paying becomes available too.
///
/// The library calls it at each request, before it calls Stripe.
///
/// # Security warning
/// The visitor can see, use and remove the saved cards of the user that you return. Trust only your
/// own session, and nothing that a browser can write.
///
/// ```
/// use stripe_checkout_core::requests::CustomerRequest;
/// use stripe_checkout_core::{CustomerResolver, PricingError, Visitor};
///
/// struct User {
///     id: String,
///     email: String,
/// }
///
/// struct Users;
///
/// impl CustomerResolver for Users {
///     async fn customer(&self, visitor: &Visitor) -> Result<Option<CustomerRequest>, PricingError> {
///         // Put there by the application's own log-in layer, see `VisitorData`.
///         let user = visitor.data::<User>();
///         Ok(user.map(|user| CustomerRequest::new(&user.id).email(&user.email)))
///     }
/// }
/// ```
pub trait CustomerResolver: Send + Sync + 'static {
    /// Returns the user who makes the request, or `None` for a guest.
    ///
    /// # Errors
    /// As for [`Pricing::price`](crate::Pricing::price). Any other error that you return with `?`
    /// means that the user cannot be found out now (503).
    fn customer(
        &self,
        visitor: &Visitor,
    ) -> impl Future<Output = Result<Option<CustomerRequest>, PricingError>> + Send;
}

/// A [`CustomerResolver`] without its type.
pub(crate) trait ErasedCustomerResolver: Send + Sync {
    fn customer<'a>(
        &'a self,
        visitor: &'a Visitor,
    ) -> BoxFuture<'a, Result<Option<CustomerRequest>, PricingError>>;
}

impl<T: CustomerResolver> ErasedCustomerResolver for T {
    fn customer<'a>(
        &'a self,
        visitor: &'a Visitor,
    ) -> BoxFuture<'a, Result<Option<CustomerRequest>, PricingError>> {
        Box::pin(CustomerResolver::customer(self, visitor))
    }
}
