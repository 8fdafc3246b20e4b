//! What is asked of a Checkout Session: the buyer pays on Stripe's own page, or in a frame with it.
//!
//! A session cannot be changed once it is made, as a PaymentIntent can. So whatever is different the next time makes another one, and the first is expired.

use std::fmt;

use stripe::StripeRequest as _;
use stripe_checkout::checkout_session::{
    CreateCheckoutSession, CreateCheckoutSessionAutomaticTax, CreateCheckoutSessionCustomerUpdate,
    CreateCheckoutSessionCustomerUpdateAddress as SaveAddress,
    CreateCheckoutSessionCustomerUpdateShipping as SaveShipping, CreateCheckoutSessionLineItems,
    CreateCheckoutSessionLineItemsPriceData,
    CreateCheckoutSessionLineItemsPriceDataTaxBehavior as LineTax,
    CreateCheckoutSessionPaymentIntentData,
    CreateCheckoutSessionPaymentIntentDataCaptureMethod as CaptureMethod,
    CreateCheckoutSessionPaymentIntentDataSetupFutureUsage as SavesFor,
    CreateCheckoutSessionPaymentIntentDataTransferData,
    CreateCheckoutSessionShippingAddressCollection, CreateCheckoutSessionShippingOptions,
    CreateCheckoutSessionShippingOptionsShippingRateData,
    CreateCheckoutSessionShippingOptionsShippingRateDataFixedAmount,
    CreateCheckoutSessionShippingOptionsShippingRateDataTaxBehavior as ShippingTax,
    CreateCheckoutSessionShippingOptionsShippingRateDataType, ProductData,
};
use stripe_checkout::{CheckoutSessionMode, CheckoutSessionUiMode};
use stripe_client_core::RequestBuilder;

use super::request::{IntentParams, PaymentRequest, sorted};
use super::saved::SetupFutureUsage;
use super::tax::{Tax, TaxBehavior};
use crate::amount::Amount;
use crate::error::{AmountError, RequestError};
use crate::marks::marked_session;
use crate::metadata::Metadata;

/// More lines Stripe does not take.
const MAX_LINES: usize = 100;
/// More ways to ship Stripe does not take.
const MAX_SHIPPING: usize = 5;
/// What Stripe puts the session's id in place of.
const SESSION_ID: &str = "{CHECKOUT_SESSION_ID}";

/// How orders are paid on Stripe's own page: with [`CheckoutBuilder::hosted_checkout`](crate::CheckoutBuilder::hosted_checkout) comes the route
/// `POST /create-checkout-session`, which sends the buyer there.
///
/// The page is in the buyer's language, takes every payment method that is switched on in the Dashboard, and can take promotion codes, offer ways to ship and add
/// tax. What these change about the price the merchant need not know beforehand: what is compared with the order is the
/// [subtotal](crate::webhook::CheckoutSession::subtotal).
///
/// ```
/// use stripe_checkout_core::intent::HostedCheckout;
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
    return_url: String,
    cancel_url: Option<String>,
    embedded: bool,
    promotion_codes: bool,
    automatic_tax: bool,
    tax_behavior: Option<TaxBehavior>,
    shipping_options: Vec<ShippingOption>,
    countries: Vec<String>,
}

/// One way to ship that Stripe's page offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShippingOption {
    name: String,
    price: Amount,
    tax: Tax,
}

impl ShippingOption {
    /// A way to ship, as the buyer reads it, and its price.
    pub fn new(name: impl Into<String>, price: Amount) -> Self {
        Self {
            name: name.into(),
            price,
            tax: Tax::default(),
        }
    }

    /// Its code for [Stripe Tax](https://docs.stripe.com/tax/tax-codes). Stripe's code for shipping
    /// is `txcd_92010001`.
    #[must_use]
    pub fn tax_code(mut self, code: impl Into<String>) -> Self {
        self.tax.code = Some(code.into());
        self
    }

    /// Whether its price contains the tax. Without it, [`HostedCheckout::tax_behavior`] counts.
    #[must_use]
    pub fn tax_behavior(mut self, behavior: TaxBehavior) -> Self {
        self.tax.behavior = Some(behavior);
        self
    }
}

impl HostedCheckout {
    /// `site` is the address under which the checkout's routes are mounted, like `https://shop.example` or `https://shop.example/pay`: the buyer comes back to
    /// `checkout/complete` below it, where the session is looked up and taken in, whether or not its webhook has come.
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

    /// Another address to come back to. In it Stripe replaces `{CHECKOUT_SESSION_ID}`, and `{reference}` is the order's reference. What only looks at the order there
    /// should also ask [`Checkout::retrieve_session`](crate::Checkout::retrieve_session), so that a lost webhook is not noticed by the buyer.
    #[must_use]
    pub fn success_url(mut self, url: impl Into<String>) -> Self {
        self.return_url = url.into();
        self
    }

    /// Where the buyer gets from Stripe's page without having paid; without it the page has no way back. `{reference}` is the order's reference. Has no meaning for
    /// an [embedded](Self::embedded) page.
    #[must_use]
    pub fn cancel_url(mut self, url: impl Into<String>) -> Self {
        self.cancel_url = Some(url.into());
        self
    }

    /// Shows the page in a frame of a page of the merchant's: the route answers `{"clientSecret": …}`, which is for
    /// [`stripe.createEmbeddedCheckoutPage`](https://docs.stripe.com/checkout/embedded/quickstart), and not `{"url": …}`.
    #[must_use]
    pub fn embedded(mut self) -> Self {
        self.embedded = true;
        self
    }

    /// Lets buyers enter promotion codes, which are made in the Dashboard. A code of 100 % leads to
    /// [`order_free`](crate::fulfillment::FulfillmentHandler::order_free).
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

    /// Offers a way to ship, at most five; the first is chosen beforehand. Those in another currency than the order's are not offered. The price is added to that of
    /// the order, so an order that is shipped this way has no shipping among its lines.
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

    /// The parameters of a session for this request.
    pub(crate) fn params(
        &self,
        request: &PaymentRequest,
        application: &str,
    ) -> Result<SessionParams, RequestError> {
        let params = request.intent_params(application)?;
        // That there is room for the mark is found out now.
        marked_session(params.all_metadata().clone(), u32::MAX)?;
        let currency = request.amount().currency();
        let options = self.shipping_options.iter();
        let shipping_options: Vec<_> = options
            .filter(|option| option.price.currency() == currency)
            .cloned()
            .collect();
        if shipping_options.len() > MAX_SHIPPING
            || (shipping_options.is_empty() && !self.shipping_options.is_empty())
        {
            return Err(RequestError::ShippingOptions);
        }
        Ok(SessionParams {
            items: items(request, &params)?,
            reference: request.reference().to_owned(),
            hosted: Self {
                return_url: placed(&self.return_url, request.reference()),
                cancel_url: self
                    .cancel_url
                    .as_deref()
                    .map(|url| placed(url, request.reference())),
                shipping_options,
                ..self.clone()
            },
            params,
        })
    }
}

/// The reference, percent-encoded, in its place of the address.
fn placed(url: &str, reference: &str) -> String {
    url.replace("{reference}", &percent_encoded(reference))
}

/// RFC 3986: everything but unreserved characters.
pub(crate) fn percent_encoded(text: &str) -> String {
    text.bytes()
        .fold(String::with_capacity(text.len()), |mut encoded, byte| {
            if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                encoded.push(char::from(byte));
            } else {
                encoded.push_str(&format!("%{byte:02X}"));
            }
            encoded
        })
}

/// A line as Stripe has it: so many pieces of one price.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Item {
    name: String,
    quantity: u64,
    unit: Amount,
    tax: Tax,
}

/// The lines of the order, or one for each way to be taxed. Stripe takes no line whose amount is
/// between the steps of its currency, and not too many lines.
fn items(request: &PaymentRequest, params: &IntentParams) -> Result<Vec<Item>, RequestError> {
    let lines = request.lines();
    let whole = |amount, tax| Item {
        name: params
            .described()
            .map_or_else(|| format!("Order {}", request.reference()), str::to_owned),
        quantity: 1,
        unit: amount,
        tax,
    };
    if lines.is_empty() {
        let amount = request.amount().in_whole_steps()?;
        return Ok(vec![whole(amount, Tax::default())]);
    }
    let is_payable = |line: &super::Line| line.amount().off_multiple().is_none();
    if lines.len() <= MAX_LINES && lines.iter().all(is_payable) {
        return Ok(lines.iter().map(item).collect());
    }
    // Lines that are taxed otherwise stay apart.
    let mut sums: Vec<Item> = Vec::new();
    for line in lines {
        match sums.iter_mut().find(|sum| sum.tax == *line.tax()) {
            Some(sum) => sum.unit = sum.unit.checked_add(line.amount())?,
            None => sums.push(whole(line.amount(), line.tax().clone())),
        }
    }
    if sums.len() > MAX_LINES {
        return Err(RequestError::Lines);
    }
    for sum in &sums {
        sum.unit.in_whole_steps()?;
    }
    Ok(sums)
}

fn item(line: &super::Line) -> Item {
    let (amount, quantity) = (line.amount(), line.quantity());
    let name = match line.name().trim() {
        "" => "–",
        name => name,
    };
    let unit = amount.minor().checked_div(quantity).unwrap_or_default();
    let unit = Amount::new(unit, amount.currency());
    // The price of one piece comes in Stripe's steps. A line that cannot be divided so is one
    // piece.
    let is_even =
        quantity > 0 && unit.times(quantity) == Ok(amount) && unit.off_multiple().is_none();
    let (name, quantity, unit) = match is_even {
        true => (name.to_owned(), quantity, unit),
        false => (format!("{quantity} × {name}"), 1, amount),
    };
    Item {
        name,
        quantity,
        unit,
        tax: line.tax().clone(),
    }
}

/// The parameters of a Checkout Session, as they are sent.
#[derive(Clone)]
pub(crate) struct SessionParams {
    items: Vec<Item>,
    reference: String,
    hosted: HostedCheckout,
    params: IntentParams,
}

impl SessionParams {
    /// The parameters of its PaymentIntent.
    pub(crate) fn intent(&self) -> &IntentParams {
        &self.params
    }

    /// The form without the mark of the attempt: two attempts of the same are the same.
    pub(crate) fn form(&self) -> Result<String, RequestError> {
        let metadata = self.params.all_metadata().clone();
        Ok(self.build(&metadata)?.body.unwrap_or_default())
    }

    /// What is sent for this attempt. The session and its PaymentIntent bear the same marks, so that each is known by itself.
    pub(crate) fn create(&self, attempt: u32) -> Result<RequestBuilder, RequestError> {
        let metadata = marked_session(self.params.all_metadata().clone(), attempt)?;
        Ok(self.build(&metadata)?)
    }

    fn build(&self, metadata: &Metadata) -> Result<RequestBuilder, AmountError> {
        let map = || {
            metadata
                .iter()
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .collect::<std::collections::HashMap<_, _>>()
        };
        let hosted = &self.hosted;
        let mut paying = CreateCheckoutSessionPaymentIntentData::new();
        paying.metadata = Some(map());
        paying.description = self.params.described().map(str::to_owned);
        paying.receipt_email = self.params.receipt_to().map(str::to_owned);
        paying.statement_descriptor_suffix = self.params.suffix().map(str::to_owned);
        paying.capture_method = self
            .params
            .captures_manually()
            .then_some(CaptureMethod::Manual);
        paying.setup_future_usage = self.params.saves().map(|usage| match usage {
            SetupFutureUsage::OnSession => SavesFor::OnSession,
            SetupFutureUsage::OffSession => SavesFor::OffSession,
        });
        paying.application_fee_amount = self.params.application_fee().map(minor).transpose()?;
        paying.on_behalf_of = self.params.on_behalf_of().map(str::to_owned);
        paying.transfer_data = self
            .params
            .destination()
            .map(CreateCheckoutSessionPaymentIntentDataTransferData::new);

        let items = self
            .items
            .iter()
            .map(|item| item.param(hosted.tax_behavior));
        let mut request = CreateCheckoutSession::new()
            .mode(CheckoutSessionMode::Payment)
            .client_reference_id(self.reference.as_str())
            .line_items(items.collect::<Result<Vec<_>, _>>()?)
            .metadata(map())
            .payment_intent_data(paying);
        // One or the other: a customer has an address already.
        match (self.params.customer_id(), self.params.receipt_to()) {
            (Some(customer), _) => {
                request = request.customer(customer);
                // A known customer is taxed by the saved addresses: without leave to save one,
                // Stripe refuses the session.
                if hosted.automatic_tax {
                    let mut saves = CreateCheckoutSessionCustomerUpdate::new();
                    saves.address = Some(SaveAddress::Auto);
                    saves.shipping = (!hosted.countries.is_empty()).then_some(SaveShipping::Auto);
                    request = request.customer_update(saves);
                }
            }
            (None, Some(address)) => request = request.customer_email(address),
            (None, None) => {}
        }
        request = if hosted.embedded {
            request
                .ui_mode(CheckoutSessionUiMode::EmbeddedPage)
                .return_url(hosted.return_url.as_str())
        } else {
            request
                .ui_mode(CheckoutSessionUiMode::HostedPage)
                .success_url(hosted.return_url.as_str())
        };
        if let Some(url) = hosted.cancel_url.as_deref().filter(|_| !hosted.embedded) {
            request = request.cancel_url(url);
        }
        if hosted.promotion_codes {
            request = request.allow_promotion_codes(true);
        }
        if hosted.automatic_tax {
            request = request.automatic_tax(CreateCheckoutSessionAutomaticTax::new(true));
        }
        if !hosted.shipping_options.is_empty() {
            let options = hosted.shipping_options.iter();
            let options = options.map(|option| option.param(hosted.tax_behavior));
            request = request.shipping_options(options.collect::<Result<Vec<_>, _>>()?);
        }
        if !hosted.countries.is_empty() {
            // Cannot fail: a code that async-stripe does not know is sent as it is.
            let known = hosted.countries.iter().map(|code| {
                let Ok(country) = code.parse();
                country
            });
            request = request.shipping_address_collection(
                CreateCheckoutSessionShippingAddressCollection::new(known.collect::<Vec<_>>()),
            );
        }
        Ok(sorted(request.build()))
    }
}

// The address is a buyer's, and the rest is the merchant's own business.
impl fmt::Debug for SessionParams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionParams")
            .field("params", &self.params)
            .finish_non_exhaustive()
    }
}

impl Item {
    fn param(
        &self,
        by_default: Option<TaxBehavior>,
    ) -> Result<CreateCheckoutSessionLineItems, AmountError> {
        let mut product = ProductData::new(self.name.as_str());
        product.tax_code.clone_from(&self.tax.code);
        let mut price = CreateCheckoutSessionLineItemsPriceData::new(currency(self.unit));
        price.unit_amount = Some(minor(self.unit)?);
        price.product_data = Some(product);
        price.tax_behavior = self
            .tax
            .behavior
            .or(by_default)
            .map(|behavior| match behavior {
                TaxBehavior::Inclusive => LineTax::Inclusive,
                TaxBehavior::Exclusive => LineTax::Exclusive,
            });
        let mut item = CreateCheckoutSessionLineItems::new();
        item.price_data = Some(price);
        item.quantity = Some(self.quantity);
        Ok(item)
    }
}

impl ShippingOption {
    fn param(
        &self,
        by_default: Option<TaxBehavior>,
    ) -> Result<CreateCheckoutSessionShippingOptions, AmountError> {
        let name = self.name.as_str();
        let mut rate = CreateCheckoutSessionShippingOptionsShippingRateData::new(name);
        rate.type_ = Some(CreateCheckoutSessionShippingOptionsShippingRateDataType::FixedAmount);
        let fixed = CreateCheckoutSessionShippingOptionsShippingRateDataFixedAmount::new(
            minor(self.price)?,
            currency(self.price),
        );
        rate.fixed_amount = Some(fixed);
        rate.tax_code.clone_from(&self.tax.code);
        rate.tax_behavior = self
            .tax
            .behavior
            .or(by_default)
            .map(|behavior| match behavior {
                TaxBehavior::Inclusive => ShippingTax::Inclusive,
                TaxBehavior::Exclusive => ShippingTax::Exclusive,
            });
        let mut option = CreateCheckoutSessionShippingOptions::new();
        option.shipping_rate_data = Some(rate);
        Ok(option)
    }
}

fn currency(amount: Amount) -> stripe_types::Currency {
    // Cannot fail: a code that async-stripe does not know is sent as it is.
    let Ok(currency) = amount.currency().code().parse();
    currency
}

fn minor(amount: Amount) -> Result<i64, AmountError> {
    amount
        .minor()
        .try_into()
        .map_err(|_| AmountError::OutOfRange)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::currency::Currency;
    use crate::error::MetadataError;

    fn eur(minor: u64) -> Amount {
        Amount::new(minor, Currency::EUR)
    }

    fn request() -> PaymentRequest {
        PaymentRequest::new("order 1", eur(1999))
            .line("Tea", 3, eur(1500))
            .line("Post", 1, eur(499))
            .receipt_email("jane@example.com")
    }

    fn pairs(hosted: &HostedCheckout, request: &PaymentRequest) -> BTreeMap<String, String> {
        let params = hosted.params(request, "tea-shop").unwrap();
        let body = params.create(7).unwrap().body.unwrap();
        serde_html_form::from_str(&body).unwrap()
    }

    #[test]
    fn the_order_is_sent_as_lines_that_add_up_and_bears_its_marks_twice() {
        let hosted = HostedCheckout::new("https://shop.example/pay/")
            .cancel_url("https://shop.example/orders/{reference}");
        let sent = pairs(&hosted, &request());
        let is = |name: &str, value: &str| assert_eq!(sent[name], value, "{name}");
        is("mode", "payment");
        is("ui_mode", "hosted_page");
        is("client_reference_id", "order 1");
        is("line_items[0][price_data][unit_amount]", "500");
        is("line_items[0][quantity]", "3");
        is("line_items[0][price_data][product_data][name]", "Tea");
        is("line_items[1][price_data][unit_amount]", "499");
        is("customer_email", "jane@example.com");
        for place in ["", "payment_intent_data"] {
            let name = |key: &str| match place {
                "" => format!("metadata[{key}]"),
                place => format!("{place}[metadata][{key}]"),
            };
            is(&name("order_id"), "order 1");
            is(&name("checkout_application"), "tea-shop");
            is(&name("checkout_amount"), "1999");
            is(&name("checkout_session"), "7");
        }
        is(
            "success_url",
            "https://shop.example/pay/checkout/complete?session_id={CHECKOUT_SESSION_ID}",
        );
        is("cancel_url", "https://shop.example/orders/order%201");
        for unasked in [
            "return_url",
            "allow_promotion_codes",
            "automatic_tax[enabled]",
            "shipping_options[0][shipping_rate_data][display_name]",
        ] {
            assert!(!sent.contains_key(unasked), "{unasked}");
        }
    }

    #[test]
    fn what_the_merchant_switches_on_is_sent() {
        let hosted = HostedCheckout::new("http://localhost:3000")
            .embedded()
            .promotion_codes()
            .automatic_tax()
            .tax_behavior(TaxBehavior::Inclusive)
            .offer_shipping(
                ShippingOption::new("Post", eur(490))
                    .tax_code("txcd_92010001")
                    .tax_behavior(TaxBehavior::Exclusive),
            )
            .shipping_option("Mail", Amount::new(500, Currency::USD))
            .shipping_to(["DE", "CH"]);
        let sent = pairs(&hosted, &request());
        let is = |name: &str, value: &str| assert_eq!(sent[name], value, "{name}");
        is("ui_mode", "embedded_page");
        is(
            "return_url",
            "http://localhost:3000/checkout/complete?session_id={CHECKOUT_SESSION_ID}",
        );
        is("allow_promotion_codes", "true");
        is("automatic_tax[enabled]", "true");
        let rate = "shipping_options[0][shipping_rate_data]";
        is(&format!("{rate}[display_name]"), "Post");
        is(&format!("{rate}[fixed_amount][amount]"), "490");
        is(&format!("{rate}[type]"), "fixed_amount");
        is(&format!("{rate}[tax_code]"), "txcd_92010001");
        is(&format!("{rate}[tax_behavior]"), "exclusive");
        is("line_items[0][price_data][tax_behavior]", "inclusive");
        assert!(
            !sent.keys().any(|name| name.starts_with("customer_update")),
            "nobody is known"
        );
        is("shipping_address_collection[allowed_countries][1]", "CH");
        assert!(
            !sent
                .keys()
                .any(|name| name.starts_with("shipping_options[1]")),
            "another currency"
        );
        assert!(!sent.contains_key("success_url") && !sent.contains_key("cancel_url"));
    }

    #[test]
    fn tax_saves_the_addresses_of_a_known_customer() {
        let known = request().customer("cus_1");
        let update = |hosted: &HostedCheckout| {
            let sent = pairs(hosted, &known);
            assert_eq!(sent["customer"], "cus_1");
            assert!(!sent.contains_key("customer_email"));
            ["address", "shipping", "name"]
                .map(|what| sent.get(&format!("customer_update[{what}]")).cloned())
        };
        let auto = || Some("auto".to_owned());
        let hosted = HostedCheckout::new("https://shop.example");
        assert_eq!(update(&hosted), [None, None, None]);
        let taxed = hosted.automatic_tax();
        assert_eq!(update(&taxed), [auto(), None, None]);
        let shipped = taxed.shipping_to(["DE"]);
        assert_eq!(update(&shipped), [auto(), auto(), None]);
    }

    #[test]
    fn lines_say_how_they_are_taxed() {
        let hosted = HostedCheckout::new("https://shop.example")
            .automatic_tax()
            .tax_behavior(TaxBehavior::Exclusive);
        let book = crate::intent::Line::new("Book", 1, eur(1000))
            .tax_code("txcd_35010000")
            .tax_behavior(TaxBehavior::Inclusive);
        let request = PaymentRequest::new("7", eur(1500))
            .line_item(book.clone())
            .line("Tea", 1, eur(500));
        let sent = pairs(&hosted, &request);
        let price = |n: usize| format!("line_items[{n}][price_data]");
        assert_eq!(sent[&format!("{}[tax_behavior]", price(0))], "inclusive");
        assert_eq!(
            sent[&format!("{}[product_data][tax_code]", price(0))],
            "txcd_35010000"
        );
        assert_eq!(sent[&format!("{}[tax_behavior]", price(1))], "exclusive");
        assert!(!sent.contains_key(&format!("{}[product_data][tax_code]", price(1))));

        // Too many lines become one for each way to be taxed.
        let many = (0..101).fold(request, |request, _| request.line("Leaf", 1, eur(1)));
        let sent = pairs(&hosted, &many);
        assert_eq!(sent[&format!("{}[unit_amount]", price(0))], "1000");
        assert_eq!(sent[&format!("{}[unit_amount]", price(1))], "601");
        assert_eq!(sent["line_items[1][quantity]"], "1");
        assert!(!sent.contains_key("line_items[2][quantity]"));

        let unknown = PaymentRequest::new("7", eur(1000)).line_item(book.tax_code("books"));
        assert_eq!(unknown.validate(10_000), Err(RequestError::TaxCode));
        let shipping = ShippingOption::new("Post", eur(1)).tax_code("post");
        assert!(hosted.offer_shipping(shipping).flaw().is_some());
    }

    #[test]
    fn a_line_is_divided_in_the_steps_of_its_currency() {
        let hosted = HostedCheckout::new("https://shop.example");
        let sent = |quantity, minor, currency| {
            let amount = Amount::new(minor, currency);
            let request = PaymentRequest::new("7", amount).line("Tea", quantity, amount);
            let sent = pairs(&hosted, &request);
            let item = "line_items[0]";
            (
                sent[&format!("{item}[quantity]")].parse::<u64>().unwrap(),
                sent[&format!("{item}[price_data][unit_amount]")]
                    .parse::<u64>()
                    .unwrap(),
            )
        };
        for (quantity, minor, currency, expected) in [
            (2, 100_000, Currency::ISK, (2, 50_000)),
            // 500 krónur and a half.
            (2, 100_100, Currency::ISK, (1, 100_100)),
            (8, 100_000, Currency::UGX, (8, 12_500)),
            (16, 100_000, Currency::UGX, (1, 100_000)),
            (2, 2_500, Currency::KWD, (2, 1_250)),
            (4, 2_500, Currency::KWD, (1, 2_500)),
            (2, 25, Currency::JPY, (1, 25)),
            (5, 25, Currency::JPY, (5, 5)),
            (0, 25, Currency::JPY, (1, 25)),
        ] {
            assert_eq!(
                sent(quantity, minor, currency),
                expected,
                "{quantity} {currency}"
            );
        }
    }

    #[test]
    fn lines_between_the_steps_of_their_currency_become_one() {
        let hosted = HostedCheckout::new("https://shop.example");
        let one = "line_items[0][price_data][unit_amount]";
        for (currency, first, second) in [
            (Currency::ISK, 150, 50),
            (Currency::UGX, 99, 1),
            (Currency::KWD, 2_505, 2_495),
        ] {
            let of = |minor| Amount::new(minor, currency);
            let order = PaymentRequest::new("7", of(first + second));
            let request = order.line("Tea", 1, of(first)).line("Post", 1, of(second));
            assert_eq!(request.validate(10_000), Ok(()), "{currency}");
            let sent = pairs(&hosted, &request);
            assert_eq!(sent[one], (first + second).to_string(), "{currency}");
            assert!(!sent.contains_key("line_items[1][quantity]"), "{currency}");
        }

        // Two ways to be taxed stay two lines, so each needs a sum that Stripe takes.
        let isk = |minor| Amount::new(minor, Currency::ISK);
        let taxed = |minor| {
            let line = crate::intent::Line::new("Book", 1, isk(minor));
            line.tax_behavior(TaxBehavior::Inclusive)
        };
        let order = |total| PaymentRequest::new("7", isk(total));
        let apart = order(500)
            .line("Tea", 1, isk(150))
            .line_item(taxed(250))
            .line("Post", 1, isk(50))
            .line_item(taxed(50));
        let sent = pairs(&hosted, &apart);
        assert_eq!(sent[one], "200");
        assert_eq!(sent["line_items[1][price_data][unit_amount]"], "300");

        let refused = |request: &PaymentRequest, currency, multiple| {
            let error = AmountError::NotAMultiple { currency, multiple };
            let built = hosted.params(request, "tea-shop");
            assert_eq!(built.err(), Some(RequestError::Amount(error)));
        };
        let unequal = order(200).line("Tea", 1, isk(150)).line_item(taxed(50));
        refused(&unequal, Currency::ISK, 100);
        assert!(
            hosted
                .clone()
                .shipping_option("Post", isk(150))
                .flaw()
                .is_some()
        );

        // Whether Stripe still insists on the last 0 of three decimals is not certain: the order is
        // sent, in one piece.
        let odd = Amount::new(2_505, Currency::KWD);
        let odd_order = PaymentRequest::new("7", odd);
        assert_eq!(pairs(&hosted, &odd_order)[one], "2505");
        let sent = pairs(&hosted, &odd_order.line("Tea", 5, odd));
        assert_eq!(
            (&*sent[one], &*sent["line_items[0][quantity]"]),
            ("2505", "1")
        );
        assert_eq!(hosted.shipping_option("Post", odd).flaw(), None);
    }

    #[test]
    fn a_line_that_cannot_be_parted_is_one_piece_and_no_lines_are_one() {
        let hosted = HostedCheckout::new("https://shop.example");
        let odd = PaymentRequest::new("7", eur(1000)).line("Tea", 3, eur(1000));
        let sent = pairs(&hosted, &odd);
        let item = "line_items[0]";
        assert_eq!(
            sent[&format!("{item}[price_data][product_data][name]")],
            "3 × Tea"
        );
        assert_eq!(sent[&format!("{item}[quantity]")], "1");
        assert_eq!(sent[&format!("{item}[price_data][unit_amount]")], "1000");

        let bare = PaymentRequest::new("7", eur(1000));
        let name = |request| {
            pairs(&hosted, &request)["line_items[0][price_data][product_data][name]"].clone()
        };
        assert_eq!(name(bare.clone()), "Order 7");
        assert_eq!(name(bare.clone().description("Tea")), "Tea");
        let many = (0..101).fold(PaymentRequest::new("7", eur(101)), |request, _| {
            request.line("Leaf", 1, eur(1))
        });
        let sent = pairs(&hosted, &many);
        assert_eq!(sent["line_items[0][price_data][unit_amount]"], "101");
        assert!(!sent.contains_key("line_items[1][quantity]"));
    }

    #[test]
    fn the_same_is_the_same_bytes_and_only_the_attempt_makes_two() {
        let hosted = HostedCheckout::new("https://shop.example");
        let params = || hosted.params(&request(), "tea-shop").unwrap();
        assert_eq!(params().form().unwrap(), params().form().unwrap());
        assert_eq!(
            params().create(1).unwrap().body,
            params().create(1).unwrap().body
        );
        assert_ne!(
            params().create(1).unwrap().body,
            params().create(2).unwrap().body
        );
    }

    #[test]
    fn what_no_session_can_be_made_with_is_found() {
        assert_eq!(HostedCheckout::new("https://shop.example").flaw(), None);
        for bad in [
            "shop.example",
            "",
            "https://",
            "ftp://shop.example",
            "https://a b",
        ] {
            assert!(HostedCheckout::new(bad).flaw().is_some(), "{bad}");
        }
        let hosted = HostedCheckout::new("https://shop.example");
        assert!(hosted.clone().cancel_url("/cart").flaw().is_some());
        assert!(hosted.clone().shipping_to(["de"]).flaw().is_some());
        let dollars = hosted.shipping_option("Mail", Amount::new(500, Currency::USD));
        assert_eq!(
            dollars.params(&request(), "tea-shop").err(),
            Some(RequestError::ShippingOptions),
            "no way to ship at all"
        );
    }

    #[test]
    fn the_mark_of_the_session_needs_room_too() {
        let metadata = (0..46).fold(Metadata::new(), |metadata, n| {
            metadata.with(format!("k{n}"), "v").unwrap()
        });
        let hosted = HostedCheckout::new("https://shop.example");
        assert_eq!(
            hosted
                .params(&request().metadata(metadata), "tea-shop")
                .err(),
            Some(MetadataError::TooManyKeys { limit: 45 }.into())
        );
    }
}
