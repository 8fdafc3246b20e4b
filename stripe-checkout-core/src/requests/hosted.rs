//! The settings of Stripe's own page, on which the buyer pays, or of a frame with it.
//!
//! Unlike a PaymentIntent, an existing session cannot be changed. So if anything differs the next
//! time, the checkout creates another session and expires the first one.

use super::shipping::ShippingOption;
use super::tax::TaxBehavior;
use crate::amount::Amount;

/// The placeholder that Stripe replaces with the session's id.
const SESSION_ID: &str = "{CHECKOUT_SESSION_ID}";

/// The settings for payments on Stripe's own page.
///
/// [`CheckoutBuilder::hosted_checkout`](crate::CheckoutBuilder::hosted_checkout) adds the route
/// `POST /create-checkout-session`, which sends the buyer there.
///
/// The page is in the buyer's language and accepts every payment method that is switched on in the
/// Dashboard. It can accept promotion codes, offer ways to ship and add tax. The merchant need not
/// know beforehand how these change the price. The checkout compares the
/// [subtotal](crate::webhook::CheckoutSession::subtotal) with the order.
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
    /// Settings for the site under which the checkout's routes are mounted.
    ///
    /// `site` is an address like `https://shop.example` or `https://shop.example/pay`. The buyer
    /// comes back to `checkout/complete` below it. That page looks up the session and receives it,
    /// whether or not its webhook has come.
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

    /// Sets another address for the buyer's return.
    ///
    /// Stripe replaces `{CHECKOUT_SESSION_ID}` in it, and `{reference}` is the order's reference.
    /// If a page there shows the order, it should also call
    /// [`Checkout::retrieve_session`](crate::Checkout::retrieve_session), so that the buyer does
    /// not notice a lost webhook.
    #[must_use]
    pub fn success_url(mut self, url: impl Into<String>) -> Self {
        self.return_url = url.into();
        self
    }

    /// Sets the address to which the buyer leaves Stripe's page without paying.
    ///
    /// Without it, the page has no way back. `{reference}` is the order's reference. It has no
    /// effect on an [embedded](Self::embedded) page.
    #[must_use]
    pub fn cancel_url(mut self, url: impl Into<String>) -> Self {
        self.cancel_url = Some(url.into());
        self
    }

    /// Shows the page in a frame of one of the merchant's pages.
    ///
    /// The route returns `{"clientSecret": …}` instead of `{"url": …}`. Pass the secret to
    /// [`stripe.createEmbeddedCheckoutPage`](https://docs.stripe.com/checkout/embedded/quickstart).
    #[must_use]
    pub fn embedded(mut self) -> Self {
        self.embedded = true;
        self
    }

    /// Lets buyers enter promotion codes, which you create in the Dashboard.
    ///
    /// After a code of 100 % there is nothing to pay: see
    /// [`Payment::is_free`](crate::webhook::Payment::is_free).
    #[must_use]
    pub fn promotion_codes(mut self) -> Self {
        self.promotion_codes = true;
        self
    }

    /// Lets Stripe Tax compute the tax, with the settings of the Dashboard.
    ///
    /// Stripe saves the addresses that a known customer enters on the customer, because it taxes by
    /// those addresses. See Stripe's [tax in Checkout](https://docs.stripe.com/tax/checkout).
    ///
    /// Stripe refuses a line or a way to ship without a [tax behavior](Self::tax_behavior) if the
    /// account has no default either.
    #[must_use]
    pub fn automatic_tax(mut self) -> Self {
        self.automatic_tax = true;
        self
    }

    /// Sets whether prices contain the tax.
    ///
    /// This applies to all lines and ways to ship without their own setting.
    #[must_use]
    pub fn tax_behavior(mut self, behavior: TaxBehavior) -> Self {
        self.tax_behavior = Some(behavior);
        self
    }

    /// Offers a way to ship, at most five; the first one is preselected.
    ///
    /// Ways to ship in a currency other than the order's are not offered. The price is added to the
    /// order's price, so an order that is shipped this way has no shipping among its lines.
    #[must_use]
    pub fn shipping_option(self, name: impl Into<String>, price: Amount) -> Self {
        self.offer_shipping(ShippingOption::new(name, price))
    }

    /// Offers a way to ship with its own tax settings.
    ///
    /// Otherwise as [`shipping_option`](Self::shipping_option).
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

    /// The reason why these settings are invalid for every order.
    ///
    /// It is checked at start.
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
