//! Who the visitor is, as the merchant's own code says: never the browser.

use crate::call::Visitor;
use crate::fulfillment::BoxFuture;
use crate::pricing::PricingError;
use crate::requests::CustomerRequest;

/// Tells which of the merchant's users a visitor is, so that he pays as a customer of Stripe's: the page shows the cards that he saved and offers to save another, and
/// there is a page to save one without paying.
///
/// It is asked at each request, before Stripe is. Whoever it names sees, uses and removes the saved cards of that user: believe a session of your own, and nothing
/// that a browser can write.
///
/// ```
/// use stripe_checkout_core::requests::CustomerRequest;
/// use stripe_checkout_core::{Customers, PricingError, Visitor};
///
/// struct User {
///     id: String,
///     email: String,
/// }
///
/// struct Users;
///
/// impl Customers for Users {
///     async fn customer(&self, visitor: &Visitor) -> Result<Option<CustomerRequest>, PricingError> {
///         // Put there by the application's own log-in layer, see `VisitorData`.
///         let user = visitor.data::<User>();
///         Ok(user.map(|user| CustomerRequest::new(&user.id).email(&user.email)))
///     }
/// }
/// ```
pub trait Customers: Send + Sync + 'static {
    /// The user who asks, or `None` for a guest.
    ///
    /// # Errors
    /// As [`Pricing::price`](crate::Pricing::price): any error by `?` says that nobody can tell now (503).
    fn customer(
        &self,
        visitor: &Visitor,
    ) -> impl Future<Output = Result<Option<CustomerRequest>, PricingError>> + Send;
}

/// Customers whose type is gone.
pub(crate) trait ErasedCustomers: Send + Sync {
    fn customer<'a>(
        &'a self,
        visitor: &'a Visitor,
    ) -> BoxFuture<'a, Result<Option<CustomerRequest>, PricingError>>;
}

impl<T: Customers> ErasedCustomers for T {
    fn customer<'a>(
        &'a self,
        visitor: &'a Visitor,
    ) -> BoxFuture<'a, Result<Option<CustomerRequest>, PricingError>> {
        Box::pin(Customers::customer(self, visitor))
    }
}
