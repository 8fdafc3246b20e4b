//! The settings of Stripe's own page, on which the buyer pays, or of a frame with it.
//!
//! A session cannot be changed once it is made, as a PaymentIntent can. So whatever is different
//! the next time makes another one, and the first is expired.

use super::shipping::ShippingOption;
use super::tax::TaxBehavior;
use crate::amount::Amount;

/// What Stripe puts the session's id in place of.
const SESSION_ID: &str = "{CHECKOUT_SESSION_ID}";

/// How orders are paid on Stripe's own page: with
/// [`CheckoutBuilder::hosted_checkout`](crate::CheckoutBuilder::hosted_checkout) comes the route
/// `POST /create-checkout-session`, which sends the buyer there.
///
/// The page is in the buyer's language, takes every payment method that is switched on in the
/// Dashboard, and can take promotion codes, offer ways to ship and add tax. What these change about
/// the price the merchant need not know beforehand: what is compared with the order is the
/// [subtotal](crate::webhook::CheckoutSession::subtotal).
///
/// ```
/// use stripe_checkout_core::requests::HostedCheckout;
/// use stripe_checkout_core::{Amount, Currency};
///
/// let hosted = HostedCheckout::new("https://shop.example")
///     .cancel_url("https://shop.example/orders/{reference}")
///     .promotion_codes()
///     .shipping_option("Post, 2 to 4 days", Amount::new(490, Currency::EUR))
///     .shipping_to(["DE", "AT", "CH"]);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostedCheckout {
    pub(crate) return_url: String,
    pub(crate) cancel_url: Option<String>,
    pub(crate) embedded: bool,
    pub(crate) promotion_codes: bool,
    pub(crate) automatic_tax: bool,
    pub(crate) tax_behavior: Option<TaxBehavior>,
    pub(crate) shipping_options: Vec<ShippingOption>,
    pub(crate) countries: Vec<String>,
}

impl HostedCheckout {
    /// `site` is the address under which the checkout's routes are mounted, like
    /// `https://shop.example` or `https://shop.example/pay`: the buyer comes back to
    /// `checkout/complete` below it, where the session is looked up and taken in, whether or not
    /// its webhook has come.
    pub fn new(site: impl AsRef<str>) -> Self {
        let site = site.as_ref().trim_end_matches('/');
        Self {
            return_url: format!("{site}/checkout/complete?session_id={SESSION_ID}"),
            cancel_url: None,
            embedded: false,
            promotion_codes: false,
            automatic_tax: false,
            tax_behavior: None,
            shipping_options: Vec::new(),
            countries: Vec::new(),
        }
    }

    /// Another address to come back to. In it Stripe replaces `{CHECKOUT_SESSION_ID}`, and
    /// `{reference}` is the order's reference. A page there that looks at the order should also ask
    /// [`Checkout::retrieve_session`](crate::Checkout::retrieve_session), so that the buyer does not
    /// notice a lost webhook.
    #[must_use]
    pub fn success_url(mut self, url: impl Into<String>) -> Self {
        self.return_url = url.into();
        self
    }

    /// Where the buyer gets from Stripe's page without having paid; without it the page has no way
    /// back. `{reference}` is the order's reference. Has no meaning for an
    /// [embedded](Self::embedded) page.
    #[must_use]
    pub fn cancel_url(mut self, url: impl Into<String>) -> Self {
        self.cancel_url = Some(url.into());
        self
    }

    /// Shows the page in a frame of a page of the merchant's: the route answers `{"clientSecret":
    /// …}`, which is for
    /// [`stripe.createEmbeddedCheckoutPage`](https://docs.stripe.com/checkout/embedded/quickstart),
    /// and not `{"url": …}`.
    #[must_use]
    pub fn embedded(mut self) -> Self {
        self.embedded = true;
        self
    }

    /// Lets buyers enter promotion codes, which you make in the Dashboard. After a code of 100 %
    /// there is nothing to pay: see [`Payment::is_free`](crate::webhook::Payment::is_free).
    #[must_use]
    pub fn promotion_codes(mut self) -> Self {
        self.promotion_codes = true;
        self
    }

    /// Has Stripe Tax compute the tax, as the Dashboard says how. The addresses that a known
    /// customer enters are saved on the customer, because Stripe taxes by those. See Stripe's [tax
    /// in Checkout](https://docs.stripe.com/tax/checkout).
    ///
    /// Stripe refuses a line or a way to ship that has no [tax behavior](Self::tax_behavior) if the
    /// account has no default either.
    #[must_use]
    pub fn automatic_tax(mut self) -> Self {
        self.automatic_tax = true;
        self
    }

    /// Whether prices contain the tax: of all lines and ways to ship that do not say so themselves.
    #[must_use]
    pub fn tax_behavior(mut self, behavior: TaxBehavior) -> Self {
        self.tax_behavior = Some(behavior);
        self
    }

    /// Offers a way to ship, at most five; the first is chosen beforehand. Those in another
    /// currency than the order's are not offered. The price is added to that of the order, so an
    /// order that is shipped this way has no shipping among its lines.
    #[must_use]
    pub fn shipping_option(self, name: impl Into<String>, price: Amount) -> Self {
        self.offer_shipping(ShippingOption::new(name, price))
    }

    /// Offers a way to ship that says how it is taxed; else as
    /// [`shipping_option`](Self::shipping_option).
    #[must_use]
    pub fn offer_shipping(mut self, option: ShippingOption) -> Self {
        self.shipping_options.push(option);
        self
    }

    /// Asks for an address in one of these countries (two letters each, like `DE`).
    #[must_use]
    pub fn shipping_to<C: Into<String>>(mut self, countries: impl IntoIterator<Item = C>) -> Self {
        self.countries = countries.into_iter().map(Into::into).collect();
        self
    }

    /// Whether the page is shown in a frame.
    pub(crate) fn is_embedded(&self) -> bool {
        self.embedded
    }

    /// What no session could be made with, whatever the order: found at start.
    pub(crate) fn flaw(&self) -> Option<&'static str> {
        let absolute = |url: &str| {
            let host = url
                .strip_prefix("https://")
                .or_else(|| url.strip_prefix("http://"));
            host.is_some_and(|host| !host.is_empty() && !host.starts_with('/'))
                && url.bytes().all(|byte| byte.is_ascii_graphic())
        };
        let country =
            |code: &String| code.len() == 2 && code.bytes().all(|b| b.is_ascii_uppercase());
        if !absolute(&self.return_url) {
            Some("the address of the site must begin with https:// or http:// and have no spaces")
        } else if self.cancel_url.as_deref().is_some_and(|url| !absolute(url)) {
            Some("the cancel URL must begin with https:// or http:// and have no spaces")
        } else if !self.countries.iter().all(country) {
            Some("a country to ship to is written as two capital letters")
        } else if self
            .shipping_options
            .iter()
            .any(|option| option.tax.check().is_err())
        {
            Some("the tax code of a way to ship is txcd_ and eight digits")
        } else if self
            .shipping_options
            .iter()
            .any(|option| option.price.in_whole_steps().is_err())
        {
            Some("the price of a way to ship is between two steps of its currency")
        } else {
            None
        }
    }
}
