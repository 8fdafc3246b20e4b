//! The parameters of one Checkout Session.

use std::fmt;

use super::error::RequestError;
use super::hosted::HostedCheckout;
use super::intent_params::IntentParams;
use super::payment::PaymentRequest;
use super::session_items::{Item, items};
use crate::address::percent_encoded;
use crate::marks::marked_session;

/// More ways to ship Stripe does not take.
const MAX_SHIPPING: usize = 5;

/// The parameters of a Checkout Session, as they are sent.
#[derive(Clone)]
pub(crate) struct SessionParams {
    pub(crate) items: Vec<Item>,
    pub(crate) reference: String,
    pub(crate) hosted: HostedCheckout,
    pub(crate) params: IntentParams,
}

impl HostedCheckout {
    /// The parameters of a session for this request.
    pub(crate) fn params(
        &self,
        request: &PaymentRequest,
        application: &str,
    ) -> Result<SessionParams, RequestError> {
        let params = request.intent_params(application)?;
        // That there is room for the mark is found out now.
        marked_session(params.metadata.clone(), u32::MAX)?;
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

impl SessionParams {
    /// The parameters of its PaymentIntent.
    pub(crate) fn intent(&self) -> &IntentParams {
        &self.params
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::amount::Amount;
    use crate::amount::AmountError;
    use crate::currency::Currency;
    use crate::metadata::Metadata;
    use crate::metadata::MetadataError;
    use crate::requests::{Line, ShippingOption, TaxBehavior};

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
        let body = params.post(7).unwrap().form;
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
        let book = Line::new("Book", 1, eur(1000))
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
            let line = Line::new("Book", 1, isk(minor));
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
            params().post(1).unwrap().form,
            params().post(1).unwrap().form
        );
        assert_ne!(
            params().post(1).unwrap().form,
            params().post(2).unwrap().form
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
