//! The order that a browser names: `POST /create-payment-intent`, with a query or a JSON body.

use std::{cell::RefCell, thread::LocalKey};

use serde::{
    Deserialize,
    de::{DeserializeOwned, IgnoredAny},
};
use serde_json::Value;
use stripe_checkout_core::{
    Amount, Body, Call, Checkout, ClientAmount, Config, Currency, Endpoint, Pricing, PricingError,
    PublishableKey, SecretKey, Visitor, WebhookSecret,
    fulfillment::{MemoryInbox, on_paid},
    requests::PaymentRequest,
};
use tokio::runtime::Runtime;

/// An order with a field of each kind.
#[derive(Debug, Clone, PartialEq, Deserialize)]
struct Cart {
    order: String,
    #[serde(default)]
    items: Vec<u8>,
    gift: Option<bool>,
}

thread_local! {
    static READ: RefCell<Option<Cart>> = const { RefCell::new(None) };
    static READ_TEXT: RefCell<Option<String>> = const { RefCell::new(None) };
    static CARTS: Shop = Shop::new(Noting(&READ));
    static TEXTS: Shop = Shop::new(Noting(&READ_TEXT));
}

/// Reads an order. The first line is the query, the rest is the body.
pub fn check(input: &[u8]) {
    let (line, body) = match input.iter().position(|byte| *byte == b'\n') {
        Some(end) => (&input[..end], &input[end + 1..]),
        None => (&b""[..], input),
    };
    let query = String::from_utf8_lossy(line);
    let cart = CARTS.with(|shop| shop.read(&query, body, &READ));
    let text = TEXTS.with(|shop| shop.read(&query, body, &READ_TEXT));
    if !query.is_empty() {
        assert_eq!(cart, cart_of(&query), "{query:?}");
        let named = cart.map(|cart| cart.order).unwrap_or_default();
        check_named_amount(&named);
        return;
    }
    let Ok(value) = serde_json::from_slice::<Value>(body) else {
        // serde_json skips what no field reads: it looks at neither its bytes nor its numbers.
        if serde_json::from_slice::<IgnoredAny>(body).is_err() {
            assert_eq!((cart, text), (None, None));
        }
        return;
    };
    // Without names that stand twice.
    let canonical = value.to_string();
    let cart = CARTS.with(|shop| shop.read("", canonical.as_bytes(), &READ));
    let text = TEXTS.with(|shop| shop.read("", canonical.as_bytes(), &READ_TEXT));
    let wrapped = value.get("order").filter(|_| value.is_object());
    let expected = wrapped.and_then(cart_in).or_else(|| cart_in(&value));
    assert_eq!(cart, expected, "{canonical}");
    let order = wrapped.and_then(Value::as_str).or(value.as_str());
    assert_eq!(text.as_deref(), order, "{canonical}");
}

/// An amount that the buyer names stays within its limits.
fn check_named_amount(text: &str) {
    let limits = ClientAmount::new(Currency::EUR, 100, 50_000);
    let named = Amount::parse_major(text.trim(), Currency::EUR);
    let named = named
        .ok()
        .filter(|named| (100..=50_000).contains(&named.minor()));
    match limits.accept(text) {
        Ok(amount) => assert_eq!(Some(amount), named),
        Err(PricingError::Refused { message, .. }) => {
            assert_eq!(named, None);
            assert_eq!(
                message,
                "Please choose an amount from 1.00 EUR to 500.00 EUR."
            );
        }
        Err(error) => panic!("{error:?}"),
    }
}

/// The cart in a JSON object.
fn cart_in(value: &Value) -> Option<Cart> {
    // serde also reads the fields of a struct out of an array, in their order.
    let field = |at: usize, name: &str| match value {
        Value::Array(items) => items.get(at),
        fields => fields.get(name),
    };
    if value.as_array().is_some_and(|items| items.len() > 3) {
        return None;
    }
    let items = match field(1, "items") {
        None => Vec::new(),
        Some(items) => {
            let small = |item: &Value| u8::try_from(item.as_u64()?).ok();
            let items = items.as_array()?.iter().map(small);
            items.collect::<Option<_>>()?
        }
    };
    let gift = match field(2, "gift") {
        None if value.is_array() => return None,
        None | Some(Value::Null) => None,
        Some(gift) => Some(gift.as_bool()?),
    };
    Some(Cart {
        order: field(0, "order")?.as_str()?.to_owned(),
        items,
        gift,
    })
}

/// The cart in a query.
fn cart_of(query: &str) -> Option<Cart> {
    let pairs: Vec<(String, String)> = serde_html_form::from_str(query).ok()?;
    let all = |name: &str| {
        let of_name = pairs.iter().filter(move |(found, _)| found == name);
        of_name.map(|(_, value)| value.as_str()).collect::<Vec<_>>()
    };
    let (orders, gifts) = (all("order"), all("gift"));
    let items: Option<Vec<u8>> = all("items").iter().map(|item| item.parse().ok()).collect();
    let ([order], [] | [_]) = (orders.as_slice(), gifts.as_slice()) else {
        return None;
    };
    let gift = match gifts.first() {
        None | Some(&"") => None,
        Some(gift) => Some(gift.parse().ok()?),
    };
    Some(Cart {
        order: (*order).to_owned(),
        items: items?,
        gift,
    })
}

/// Notes the order and refuses it, so that no call to Stripe follows.
struct Noting<T: 'static>(&'static LocalKey<RefCell<Option<T>>>);

impl<T: DeserializeOwned + Send + 'static> Pricing for Noting<T> {
    type Order = T;

    async fn price(&self, order: T, _: &Visitor) -> Result<PaymentRequest, PricingError> {
        self.0.set(Some(order));
        Err(PricingError::refused("noted"))
    }
}

struct Shop {
    checkout: Checkout,
    endpoint: Endpoint,
    runtime: Runtime,
}

impl Shop {
    fn new(pricing: impl Pricing) -> Self {
        Self::try_new(pricing).unwrap_or_else(|error| panic!("{error}"))
    }

    fn try_new(pricing: impl Pricing) -> Result<Self, Box<dyn std::error::Error>> {
        let keys = (
            SecretKey::new("sk_test_fuzz")?,
            PublishableKey::new("pk_test_fuzz")?,
        );
        let config = Config::new([WebhookSecret::new("whsec_fuzz")?])?.with_keys(keys.0, keys.1)?;
        let checkout = Checkout::builder(config)
            .application("fuzz")
            .pricing(pricing)
            .fulfillment(MemoryInbox::new(), on_paid(async |_| Ok(())))
            .build()?;
        let mut endpoints = checkout.endpoints().iter();
        let endpoint = endpoints.find(|endpoint| endpoint.path() == "/create-payment-intent");
        Ok(Self {
            endpoint: endpoint.cloned().ok_or("no such route")?,
            checkout,
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .build()?,
        })
    }

    /// The order that the pricing was asked about; none if the order could not be read.
    fn read<T>(
        &self,
        query: &str,
        body: &[u8],
        noted: &'static LocalKey<RefCell<Option<T>>>,
    ) -> Option<T> {
        noted.set(None);
        let call = Call::new(&self.endpoint)
            .query(Some(query))
            .header("content-type", b"application/json")
            .body(Body::whole(body, usize::MAX));
        let reply = self.runtime.block_on(self.checkout.handle(call));
        let order = noted.take();
        let status = if order.is_some() { 422 } else { 400 };
        assert_eq!(reply.status(), status, "{query:?} {body:?}");
        order
    }
}
