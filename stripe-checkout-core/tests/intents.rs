//! One open PaymentIntent per order, and every answer of the routes: `Checkout::handle` against a
//! small fake Stripe that this test can break at any time.

#[path = "support/log_interest.rs"]
mod log_interest;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::Deserialize;
use stripe_checkout_core::fulfillment::{
    Due, EventFilter, FulfillmentHandler, MemoryInbox, PaymentEvent, on_paid,
};
use stripe_checkout_core::requests::{CaptureMethod, PaymentRequest};
use stripe_checkout_core::stripe::{Transport, TransportRequest, TransportResponse};
use stripe_checkout_core::testing::{EventBody, PaymentIntent, now, refund, sign};
use stripe_checkout_core::webhook::Payment;
use stripe_checkout_core::{
    Amount, Body, BoxError, BuildError, Call, Checkout, Config, Currency, PaymentError, Pricing,
    PricingError, PublishableKey, Reply, RequestError, SecretKey, TransportError, Visitor,
    WebhookSecret,
};

/// The fault of the next request, instead of its work or after it.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    Status(u16),
    /// A 500 that Stripe stored under the key.
    Replayed,
    /// Stripe does the work, and the answer is lost.
    LostAnswer,
}

#[derive(Default)]
struct State {
    intents: HashMap<String, serde_json::Value>,
    keys: HashMap<String, (String, String)>,
    faults: VecDeque<Fault>,
    /// The method, path and key of each request.
    log: Vec<(String, String, Option<String>)>,
}

/// A small fake Stripe: it creates, retrieves, updates and cancels PaymentIntents, and knows
/// idempotency keys.
#[derive(Clone, Default)]
struct FakeStripe(Arc<Mutex<State>>);

impl FakeStripe {
    fn fault(&self, fault: Fault, times: usize) {
        self.0
            .lock()
            .unwrap()
            .faults
            .extend(std::iter::repeat_n(fault, times));
    }

    fn heal(&self) {
        self.0.lock().unwrap().faults.clear();
    }

    fn made(&self) -> usize {
        self.0.lock().unwrap().intents.len()
    }

    fn open(&self) -> Vec<String> {
        let state = self.0.lock().unwrap();
        let open = state
            .intents
            .iter()
            .filter(|(_, intent)| intent["status"] != "canceled");
        open.map(|(id, _)| id.clone()).collect()
    }

    fn set(&self, id: &str, field: &str, value: &str) {
        self.0.lock().unwrap().intents.get_mut(id).unwrap()[field] = value.into();
    }

    fn forget(&self, id: &str) {
        self.0.lock().unwrap().intents.remove(id);
    }

    fn keys(&self) -> Vec<Option<String>> {
        let state = self.0.lock().unwrap();
        state.log.iter().map(|(_, _, key)| key.clone()).collect()
    }

    fn requests(&self) -> Vec<String> {
        let state = self.0.lock().unwrap();
        state
            .log
            .iter()
            .map(|(method, path, _)| format!("{method} {path}"))
            .collect()
    }
}

impl State {
    /// Returns the status, the body, and whether the answer is a repeated one.
    fn answer(&mut self, request: &TransportRequest) -> (u16, String, bool) {
        let path = request.url.split("/v1").nth(1).unwrap();
        // The fields to expand make no difference here.
        let path = path.split('?').next().unwrap().to_owned();
        let key = request.header("idempotency-key").map(str::to_owned);
        self.log
            .push((request.method.to_owned(), path.clone(), key.clone()));
        let form = String::from_utf8(request.body.to_vec()).unwrap();
        let form: HashMap<String, String> = form
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .map(|(k, v)| (decode(k), decode(v)))
            .collect();
        if let Some(key) = &key
            && let Some((before, answer)) = self.keys.get(key)
        {
            assert_eq!(
                *before, path,
                "a key must not come back on another endpoint"
            );
            return (200, answer.clone(), true);
        }
        let parts: Vec<_> = path.trim_matches('/').split('/').collect();
        let answer = match (request.method, &parts[..]) {
            ("POST", ["payment_intents"]) => {
                let id = format!("pi_{}", self.intents.len() + 1);
                let currency: Currency = form["currency"].parse().unwrap();
                let mut intent =
                    PaymentIntent::new(&id, Amount::new(form["amount"].parse().unwrap(), currency));
                for (name, value) in &form {
                    if let Some(key) = name.strip_prefix("metadata[") {
                        intent = intent.metadata(key.trim_end_matches(']'), value);
                    }
                }
                self.intents.insert(id.clone(), intent.object());
                self.intents[&id].to_string()
            }
            ("GET", ["payment_intents", id]) => match self.intents.get(*id) {
                Some(intent) => intent.to_string(),
                None => return (404, error("resource_missing"), false),
            },
            ("POST", ["payment_intents", id]) => {
                let intent = self.intents.get_mut(*id).unwrap();
                if intent["status"] != "requires_payment_method" {
                    return (400, error("payment_intent_unexpected_state"), false);
                }
                intent["amount"] = form["amount"].parse::<u64>().unwrap().into();
                for (name, value) in &form {
                    if let Some(key) = name.strip_prefix("metadata[") {
                        intent["metadata"][key.trim_end_matches(']')] = value.clone().into();
                    }
                }
                intent.to_string()
            }
            ("POST", ["payment_intents", id, "cancel"]) => {
                let intent = self.intents.get_mut(*id).unwrap();
                if intent["status"] == "succeeded" || intent["status"] == "canceled" {
                    return (400, error("payment_intent_unexpected_state"), false);
                }
                intent["status"] = "canceled".into();
                intent.to_string()
            }
            other => panic!("{other:?}"),
        };
        if let Some(key) = key {
            self.keys.insert(key, (path, answer.clone()));
        }
        (200, answer, false)
    }
}

fn decode(text: &str) -> String {
    text.replace('+', " ")
        .replace("%5B", "[")
        .replace("%5D", "]")
}

fn error(code: &str) -> String {
    serde_json::json!({"error": {"type": "invalid_request_error", "code": code}}).to_string()
}

impl Transport for FakeStripe {
    async fn send(&self, request: &TransportRequest) -> Result<TransportResponse, TransportError> {
        // Other tasks run here, so that concurrent calls really interleave.
        tokio::task::yield_now().await;
        let mut state = self.0.lock().unwrap();
        let fault = state.faults.pop_front();
        let respond = |status, body: String, headers: &[(&str, &str)]| {
            let headers = headers
                .iter()
                .map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec()))
                .collect();
            Ok(TransportResponse {
                status,
                headers,
                body: body.into(),
            })
        };
        match fault {
            Some(Fault::Status(status)) => {
                let key = request.header("idempotency-key").map(str::to_owned);
                state
                    .log
                    .push((request.method.to_owned(), "fault".into(), key));
                let body = match status {
                    402 => serde_json::json!({"error": {"type": "card_error", "code": "card_declined", "decline_code": "generic_decline"}}).to_string(),
                    403 => error("account_invalid"),
                    _ => error("amount_too_small"),
                };
                respond(status, body, &[("retry-after", "7")])
            }
            Some(Fault::Replayed) => {
                let key = request.header("idempotency-key").map(str::to_owned);
                state
                    .log
                    .push((request.method.to_owned(), "fault".into(), key));
                respond(500, error("oops"), &[("idempotent-replayed", "true")])
            }
            Some(Fault::LostAnswer) => {
                state.answer(request);
                Err(TransportError::Broken("reset".into()))
            }
            None => {
                let (status, body, repeated) = state.answer(request);
                let headers = [("idempotent-replayed", "true")];
                respond(status, body, if repeated { &headers } else { &[] })
            }
        }
    }
}

/// Orders `a`, `b`, …, each at the price that the test sets. Some references have another meaning.
#[derive(Clone)]
struct Prices(Arc<Mutex<u64>>);

#[derive(Deserialize)]
struct Order {
    order: String,
}

impl Pricing for Prices {
    type Order = Order;

    async fn price(&self, order: Order, visitor: &Visitor) -> Result<PaymentRequest, PricingError> {
        match order.order.as_str() {
            "refused" => return Err(PricingError::refused("Sold out, sorry.")),
            "paid" => {
                return Err(PricingError::AlreadyPaid {
                    reference: order.order,
                });
            }
            "down" => return Err(std::io::Error::other("the database is down").into()),
            "processing" => {
                return Err(PricingError::Processing {
                    reference: order.order,
                });
            }
            "slow" => std::future::pending().await,
            "panic" => panic!("a bug of the merchant's"),
            "data" => assert_eq!(visitor.data::<u8>(), Some(&7)),
            _ => {}
        }
        let minor = *self.0.lock().unwrap();
        let amount = Amount::new(minor, Currency::EUR);
        let is_connected = order.order == "connected";
        let request = PaymentRequest::new(order.order, amount).line("Tea <b>", 1, amount);
        Ok(match is_connected {
            true => request.connected_account("acct_9"),
            false => request,
        })
    }
}

struct Shop {
    checkout: Checkout,
    stripe: FakeStripe,
    price: Arc<Mutex<u64>>,
}

fn secret() -> WebhookSecret {
    WebhookSecret::new("whsec_of_this_test").unwrap()
}

impl Shop {
    fn new() -> Self {
        log_interest::log_interest();
        let stripe = FakeStripe::default();
        let price = Arc::new(Mutex::new(1999));
        let config = Config::new([secret()])
            .unwrap()
            .with_keys(
                SecretKey::new("sk_test_1").unwrap(),
                PublishableKey::new("pk_test_1").unwrap(),
            )
            .unwrap();
        let checkout = Checkout::builder(config)
            .application("tea")
            .connect_application("ca_of_this_test")
            .pricing(Prices(Arc::clone(&price)))
            .transport(stripe.clone())
            .fulfillment(MemoryInbox::new(), on_paid(async |_| Ok(())))
            .shop_name("Tea & <Co>")
            .order_url("/orders/{reference}")
            .build()
            .unwrap();
        Self {
            checkout,
            stripe,
            price,
        }
    }

    fn price(&self, minor: u64) {
        *self.price.lock().unwrap() = minor;
    }

    async fn intent(&self, order: &str) -> Result<Payment, PaymentError> {
        let amount = Amount::new(*self.price.lock().unwrap(), Currency::EUR);
        self.checkout
            .create_intent(&PaymentRequest::new(order, amount))
            .await
    }

    fn call(&self, method: &str, path: &str, query: &str) -> Call {
        let find =
            |e: &&stripe_checkout_core::Endpoint| e.path() == path && e.method().as_str() == method;
        let endpoint = self.checkout.endpoints().iter().find(find).unwrap();
        Call::new(endpoint).query(Some(query))
    }

    async fn get(&self, path: &str, query: &str) -> Reply {
        self.checkout.handle(self.call("GET", path, query)).await
    }

    async fn post(&self, path: &str, query: &str, body: &str) -> Reply {
        let call = self
            .call("POST", path, query)
            .header("content-type", b"application/json");
        self.checkout
            .handle(call.body(Body::whole(body.as_bytes(), 1 << 20)))
            .await
    }

    async fn event(&self, event_type: &str, id: &str, status: &str) {
        self.stripe.set(id, "status", status);
        let mut object = self.stripe.0.lock().unwrap().intents[id].clone();
        if status == "succeeded" {
            object["amount_received"] = object["amount"].clone();
        }
        let body = EventBody::new(event_type, object).body();
        let header = sign(&body, &secret(), now());
        let call = self
            .call("POST", "/webhook", "")
            .header("stripe-signature", header.as_bytes());
        let reply = self
            .checkout
            .handle(call.body(Body::whole(&body, 1 << 20)))
            .await;
        assert_eq!(reply.status(), 200, "{event_type}");
    }
}

/// Returns the body, with the one entity decoded that the templates make of a slash.
fn text(reply: &Reply) -> String {
    String::from_utf8(reply.body().to_vec())
        .unwrap()
        .replace("&#x2f;", "/")
}

fn code(reply: &Reply) -> String {
    let body: serde_json::Value = serde_json::from_slice(reply.body()).unwrap();
    assert!(
        !body["error"].as_str().unwrap().is_empty(),
        "a sentence for the buyer"
    );
    body["code"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn asked_twice_it_is_the_same_intent_and_orders_never_share_one() {
    let shop = Shop::new();
    let first = shop.intent("a").await.unwrap();
    let again = shop.intent("a").await.unwrap();
    assert_eq!(first.id(), again.id());
    let other = shop.intent("b").await.unwrap();
    assert_ne!(first.id(), other.id());
    assert_eq!(shop.stripe.made(), 2);
    assert_eq!(first.order_id(), Some("a"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn clicked_at_the_same_moment_it_is_one_intent() {
    for _ in 0..20 {
        let shop = Arc::new(Shop::new());
        let clicks: Vec<_> = (0..20)
            .map(|_| {
                let shop = Arc::clone(&shop);
                tokio::spawn(async move { shop.intent("a").await.unwrap().id().to_owned() })
            })
            .collect();
        for click in clicks {
            assert_eq!(click.await.unwrap(), "pi_1");
        }
        assert_eq!(shop.stripe.made(), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_price_that_changes_under_concurrent_clicks_leaves_one_open_intent() {
    for _ in 0..50 {
        let shop = Arc::new(Shop::new());
        let clicks: Vec<_> = (0..8)
            .map(|n: u64| {
                let checkout = shop.checkout.clone();
                let amount = Amount::new(1000 + n % 3, Currency::EUR);
                tokio::spawn(async move {
                    checkout
                        .create_intent(&PaymentRequest::new("a", amount))
                        .await
                })
            })
            .collect();
        for click in clicks {
            match click.await.unwrap() {
                Ok(_) | Err(PaymentError::InFlight) => {}
                Err(other) => panic!("{other:?}"),
            }
        }
        assert_eq!(shop.stripe.open().len(), 1, "{:?}", shop.stripe.requests());
    }
}

#[tokio::test]
async fn a_changed_price_updates_the_open_intent_there_and_back() {
    let shop = Shop::new();
    let first = shop.intent("a").await.unwrap();
    for price in [2999, 1999, 2999] {
        shop.price(price);
        let updated = shop.intent("a").await.unwrap();
        assert_eq!(
            (updated.id(), updated.amount().minor()),
            (first.id(), price)
        );
        assert_eq!(
            updated.metadata().get("checkout_amount"),
            Some(price.to_string().as_str())
        );
    }
    assert_eq!(shop.stripe.made(), 1);
}

#[tokio::test]
async fn where_it_is_too_late_to_update_the_old_intent_is_canceled_first() {
    let shop = Shop::new();
    let first = shop.intent("a").await.unwrap();
    shop.stripe.set(first.id(), "status", "requires_action");
    shop.price(2999);
    let second = shop.intent("a").await.unwrap();
    assert_ne!(first.id(), second.id());
    assert_eq!(second.amount().minor(), 2999);
    assert_eq!(shop.stripe.open(), [second.id()]);
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_does_not_make_a_second_intent() {
    let shop = Shop::new();
    shop.stripe.fault(Fault::LostAnswer, 2);
    shop.intent("a").await.unwrap();
    assert_eq!(shop.stripe.made(), 1, "the retries had the same key");
    let shop = Shop::new();
    shop.stripe.fault(Fault::LostAnswer, 50);
    let error = shop.intent("a").await.unwrap_err();
    assert!(matches!(error, PaymentError::Api(_)), "{error:?}");
    shop.stripe.heal();
    shop.intent("a").await.unwrap();
    assert_eq!(shop.stripe.made(), 1, "and the buyer's next try, too");
}

#[tokio::test(start_paused = true)]
async fn after_a_refusal_or_a_stored_error_the_key_is_a_new_one() {
    for fault in [
        Fault::Status(400),
        Fault::Status(402),
        Fault::Status(403),
        Fault::Replayed,
    ] {
        let shop = Shop::new();
        shop.stripe.fault(fault, 1);
        shop.intent("a").await.unwrap_err();
        shop.intent("a").await.unwrap();
        let keys = shop.stripe.keys();
        assert_ne!(keys[0], keys[1], "{fault:?}");
    }
    let shop = Shop::new();
    shop.stripe.fault(Fault::Status(500), 4);
    shop.intent("a").await.unwrap_err();
    shop.intent("a").await.unwrap();
    let keys: HashSet<_> = shop.stripe.keys().into_iter().collect();
    assert_eq!(
        keys.len(),
        1,
        "whether a 500 did it is unknown: the same key tells"
    );
}

#[tokio::test]
async fn what_is_paid_or_on_its_way_is_not_asked_for_again() {
    let shop = Shop::new();
    let payment = shop.intent("a").await.unwrap();
    shop.stripe.set(payment.id(), "status", "processing");
    assert!(matches!(
        shop.intent("a").await,
        Err(PaymentError::Processing)
    ));
    shop.stripe.set(payment.id(), "status", "succeeded");
    assert!(matches!(
        shop.intent("a").await,
        Err(PaymentError::AlreadyPaid)
    ));
    shop.event("payment_intent.succeeded", payment.id(), "succeeded")
        .await;
    let calls = shop.stripe.requests().len();
    assert!(matches!(
        shop.intent("a").await,
        Err(PaymentError::AlreadyPaid)
    ));
    assert_eq!(
        shop.stripe.requests().len(),
        calls,
        "the webhook told: no call to Stripe"
    );
    assert_eq!(shop.stripe.made(), 1);
}

#[tokio::test]
async fn a_canceled_intent_is_replaced_and_a_failed_debit_can_be_paid_again() {
    let shop = Shop::new();
    let first = shop.intent("a").await.unwrap();
    shop.stripe.set(first.id(), "status", "canceled");
    let second = shop.intent("a").await.unwrap();
    assert_ne!(first.id(), second.id());
    shop.event("payment_intent.canceled", second.id(), "canceled")
        .await;
    let third = shop.intent("a").await.unwrap();
    assert_eq!(shop.stripe.open(), [third.id()]);
    shop.event("payment_intent.processing", third.id(), "processing")
        .await;
    assert!(matches!(
        shop.intent("a").await,
        Err(PaymentError::Processing)
    ));
    shop.event(
        "payment_intent.payment_failed",
        third.id(),
        "requires_payment_method",
    )
    .await;
    assert_eq!(shop.intent("a").await.unwrap().id(), third.id());
}

#[tokio::test]
async fn an_intent_that_stripe_does_not_know_is_replaced_unless_money_was_on_its_way() {
    let shop = Shop::new();
    let first = shop.intent("a").await.unwrap();
    shop.stripe.forget(first.id());
    shop.intent("a").await.unwrap();
    assert_eq!(
        shop.stripe.requests(),
        [
            "POST /payment_intents",
            "GET /payment_intents/pi_1",
            "POST /payment_intents"
        ]
    );
    // The call has another key: the first key would return the deleted intent.
    let keys = shop.stripe.keys();
    assert_ne!(keys[0], keys[2]);

    shop.event("payment_intent.processing", "pi_1", "processing")
        .await;
    shop.stripe.forget("pi_1");
    let refused = shop.intent("a").await.unwrap_err();
    assert!(matches!(refused, PaymentError::Api(_)), "{refused:?}");
    assert_eq!(shop.stripe.made(), 0);
}

#[tokio::test]
async fn the_route_gives_the_client_secret_and_the_amount() {
    let shop = Shop::new();
    let expected = r#"{"clientSecret":"pi_1_secret_test","amount":1999,"currency":"eur","captureMethod":"automatic"}"#;
    for (query, body) in [
        ("order=a", "{}"),
        ("", r#"{"order":"a"}"#),
        ("", r#"{"order":{"order":"a"}}"#),
    ] {
        let reply = shop.post("/create-payment-intent", query, body).await;
        assert_eq!((reply.status(), text(&reply).as_str()), (200, expected));
    }
    assert_eq!(shop.stripe.made(), 1);
}

#[tokio::test(start_paused = true)]
async fn every_refusal_of_create_payment_intent() {
    let refuse = async |order: &str, fault: Option<(Fault, usize)>| {
        let shop = Shop::new();
        if let Some((fault, times)) = fault {
            shop.stripe.fault(fault, times);
        }
        let reply = shop
            .post(
                "/create-payment-intent",
                "",
                &format!("{{\"order\":\"{order}\"}}"),
            )
            .await;
        (
            reply.status(),
            code(&reply),
            reply.header("retry-after").is_some(),
        )
    };
    let is = |status: u16, code: &str, later: bool| (status, code.to_owned(), later);
    assert_eq!(
        refuse("refused", None).await,
        is(422, "order_refused", false)
    );
    assert_eq!(refuse("paid", None).await, is(409, "order_paid", false));
    assert_eq!(
        refuse("down", None).await,
        is(503, "pricing_unavailable", true)
    );
    assert_eq!(
        refuse("panic", None).await,
        is(500, "internal_error", false)
    );
    assert_eq!(
        refuse("", None).await,
        is(422, "order_not_payable", false),
        "a reference is never empty"
    );
    assert_eq!(
        refuse("a", Some((Fault::Status(402), 1))).await,
        is(402, "declined", false)
    );
    for status in [400, 401, 403, 404] {
        assert_eq!(
            refuse("a", Some((Fault::Status(status), 1))).await,
            is(502, "payment_refused", false),
            "{status}"
        );
    }
    assert_eq!(
        refuse("a", Some((Fault::Status(429), 9))).await,
        is(429, "rate_limited", true)
    );
    for status in [500, 503] {
        assert_eq!(
            refuse("a", Some((Fault::Status(status), 9))).await,
            is(503, "payment_unavailable", true),
            "{status}"
        );
    }
    assert_eq!(
        refuse("a", Some((Fault::LostAnswer, 9))).await,
        is(503, "payment_unavailable", true)
    );

    let shop = Shop::new();
    for body in ["", "{", "[]", "{}", "{\"order\":1}", "\u{0}"] {
        let reply = shop.post("/create-payment-intent", "", body).await;
        assert_eq!(
            (reply.status(), code(&reply)),
            (400, "invalid_order".into()),
            "{body:?}"
        );
    }
    let path = "/create-payment-intent";
    let plain = shop
        .call("POST", path, "order=a")
        .body(Body::whole(b"{}", 9));
    let reply = shop.checkout.handle(plain).await;
    assert_eq!((reply.status(), code(&reply)), (415, "not_json".into()));
    let json = || {
        shop.call("POST", path, "order=a")
            .header("content-type", b"application/json")
    };
    let reply = shop
        .checkout
        .handle(json().header("sec-fetch-site", b"cross-site"))
        .await;
    assert_eq!((reply.status(), code(&reply)), (403, "cross_site".into()));
    let reply = shop
        .checkout
        .handle(json().body(Body::whole(b"{}", 1)))
        .await;
    assert_eq!(
        (reply.status(), code(&reply)),
        (413, "body_too_large".into())
    );
    let mut cut = Body::new(10);
    cut.set_incomplete();
    let reply = shop.checkout.handle(json().body(cut)).await;
    assert_eq!(
        (reply.status(), code(&reply)),
        (400, "body_incomplete".into())
    );
    assert_eq!(shop.stripe.made(), 0, "nothing of that reached Stripe");
}

#[tokio::test]
async fn the_page_shows_the_order_and_its_problems() {
    let shop = Shop::new();
    let page = shop.get("/checkout", "order=a").await;
    assert_eq!(page.status(), 200);
    assert_eq!(page.header("cache-control"), Some("no-store"));
    let policy = page.header("content-security-policy").unwrap();
    assert!(
        policy.contains("https://js.stripe.com") && !policy.contains("unsafe"),
        "{policy}"
    );
    let html = text(&page);
    assert!(
        html.contains("Tea &lt;b&gt;")
            && html.contains("Tea &amp; &lt;Co&gt;")
            && html.contains("pk_test_1")
    );
    assert!(!html.contains("sk_test_1"));
    assert_eq!(
        shop.stripe.made(),
        0,
        "who only looks makes no PaymentIntent"
    );
    for (query, status) in [
        ("", 400),
        ("x=1", 400),
        ("order=refused", 422),
        ("order=down", 503),
        ("order=paid", 409),
    ] {
        let page = shop.get("/checkout", query).await;
        assert_eq!(page.status(), status, "{query}");
        assert_eq!(
            page.header("content-type"),
            Some("text/html; charset=utf-8")
        );
        assert!(text(&page).contains("<h1"), "a page for people: {query}");
        assert_eq!(page.header("retry-after").is_some(), status == 503);
    }
    assert!(text(&shop.get("/checkout", "order=refused").await).contains("Sold out, sorry."));
    assert!(
        !text(&shop.get("/checkout", "order=down").await).contains("database"),
        "causes are not for buyers"
    );
    let slash = shop.get("/checkout/", "order=a&b=%20").await;
    assert_eq!(
        (slash.status(), slash.header("location")),
        (308, Some("../checkout?order=a&b=%20"))
    );
}

#[tokio::test]
async fn the_page_of_a_paid_order_has_no_form() {
    let shop = Shop::new();
    let payment = shop.intent("a").await.unwrap();
    shop.event("payment_intent.processing", payment.id(), "processing")
        .await;
    let page = shop.get("/checkout", "order=a").await;
    assert_eq!(page.status(), 409);
    assert!(text(&page).contains("being processed") && text(&page).contains("/orders/a"));
    shop.event("payment_intent.succeeded", payment.id(), "succeeded")
        .await;
    let page = shop.get("/checkout", "order=a").await;
    assert_eq!(page.status(), 409);
    assert!(text(&page).contains("paid") && !text(&page).contains("payment-form"));
}

/// The page shows a form if, and only if, the route would make a payment.
#[tokio::test]
async fn the_page_refuses_an_order_with_the_code_of_the_route() {
    let shop = Shop::new();
    let declined = shop.intent("declined").await.unwrap();
    for _ in 0..10 {
        shop.event(
            "payment_intent.payment_failed",
            declined.id(),
            "requires_payment_method",
        )
        .await;
    }
    shop.intent("canceled").await.unwrap();
    for order in ["untouched", "canceled"] {
        shop.checkout.cancel_order(order).await.unwrap();
    }
    let processing = shop.intent("pending").await.unwrap();
    shop.event("payment_intent.processing", processing.id(), "processing")
        .await;
    let done = shop.intent("done").await.unwrap();
    shop.event("payment_intent.succeeded", done.id(), "succeeded")
        .await;
    let long = "x".repeat(201);
    for (order, status, code_of, title) in [
        (
            "declined",
            403,
            "too_many_declines",
            "Too many payments were declined",
        ),
        (
            "untouched",
            409,
            "order_called_off",
            "This order was canceled",
        ),
        (
            "canceled",
            409,
            "order_called_off",
            "This order was canceled",
        ),
        (
            "pending",
            409,
            "payment_processing",
            "Your payment is being processed",
        ),
        (
            "done",
            409,
            "order_paid",
            "This order has already been paid",
        ),
        (
            "paid",
            409,
            "order_paid",
            "This order has already been paid",
        ),
        (
            "processing",
            409,
            "payment_processing",
            "Your payment is being processed",
        ),
        ("refused", 422, "order_refused", "This order cannot be paid"),
        (&long, 422, "order_not_payable", "This order cannot be paid"),
        ("down", 503, "pricing_unavailable", "Please try again"),
    ] {
        let query = format!("order={order}");
        let reply = shop.post("/create-payment-intent", &query, "{}").await;
        assert_eq!(
            (reply.status(), &*code(&reply)),
            (status, code_of),
            "{order}"
        );
        let page = shop.get("/checkout", &query).await;
        let html = text(&page);
        assert_eq!(page.status(), status, "{order}: {html}");
        assert!(html.contains(&format!("data-code=\"{code_of}\"")), "{html}");
        assert!(html.contains(&format!("<h1>{title}</h1>")), "{html}");
        assert!(!html.contains("payment-form"), "{html}");
    }
    // The page of an order that can be paid has its form.
    assert_eq!(shop.get("/checkout", "order=a").await.status(), 200);
}

#[tokio::test]
async fn assets_are_cacheable_and_answer_304_to_who_has_them() {
    let shop = Shop::new();
    for (path, kind) in [
        ("/checkout/checkout.js", "text/javascript; charset=utf-8"),
        ("/checkout/complete.js", "text/javascript; charset=utf-8"),
        ("/checkout/old-browser.js", "text/javascript; charset=utf-8"),
        ("/checkout/checkout.css", "text/css; charset=utf-8"),
    ] {
        let first = shop.get(path, "").await;
        assert_eq!(
            (first.status(), first.header("content-type")),
            (200, Some(kind))
        );
        assert!(first.header("cache-control").unwrap().contains("max-age"));
        let etag = first.header("etag").unwrap();
        let call = shop
            .call("GET", path, "")
            .header("if-none-match", etag.as_bytes());
        let second = shop.checkout.handle(call).await;
        assert_eq!((second.status(), second.body().len()), (304, 0));
        let call = shop
            .call("GET", path, "")
            .header("if-none-match", b"\"other\"");
        assert_eq!(shop.checkout.handle(call).await.status(), 200);
    }
}

#[tokio::test(start_paused = true)]
async fn who_comes_back_sees_how_the_payment_stands() {
    let shop = Shop::new();
    shop.intent("a").await.unwrap();
    let query = "payment_intent=pi_1&payment_intent_client_secret=pi_1_secret_test&redirect_status=x&redirect_pm_type=card&checkout_query=order%3Da";
    for (status, words) in [
        ("succeeded", "data-state=\"succeeded\""),
        ("processing", "data-state=\"processing\""),
        (
            "requires_payment_method",
            "data-state=\"requires_payment_method\"",
        ),
        ("canceled", "data-state=\"canceled\""),
    ] {
        shop.stripe.set("pi_1", "status", status);
        // The checkout remembers an answer for one second.
        tokio::time::sleep(Duration::from_secs(1)).await;
        let page = shop.get("/checkout/complete", query).await;
        assert_eq!(page.status(), 200);
        assert!(text(&page).contains(words), "{status}");
        assert!(text(&page).contains("/orders/a"));
        assert!(
            !text(&page).contains("pi_1_secret_test"),
            "the secret does not stand in the page"
        );
        let body = r#"{"payment_intent":"pi_1","payment_intent_client_secret":"pi_1_secret_test"}"#;
        let reply = shop.post("/checkout/status", "", body).await;
        assert_eq!(
            (reply.status(), text(&reply)),
            (200, format!("{{\"status\":\"{status}\"}}"))
        );
    }
    shop.stripe.set("pi_1", "status", "requires_payment_method");
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(
        text(&shop.get("/checkout/complete", query).await).contains("../checkout?order=a"),
        "a way to try again"
    );
    let another = query.replace("&checkout_query=order%3Da", "");
    assert!(
        text(&shop.get("/checkout/complete", &another).await)
            .contains("href=\"\" hidden>Try again"),
        "what Stripe adds is no order"
    );
    let reloaded = shop.get("/checkout/complete", "payment_intent=pi_1").await;
    assert_eq!(reloaded.status(), 200);
    assert!(
        text(&reloaded).contains("data-state=\"unknown\"")
            && !text(&reloaded).contains("/orders/a")
    );
}

#[tokio::test]
async fn a_payment_is_shown_to_nobody_without_its_secret() {
    let shop = Shop::new();
    shop.intent("a").await.unwrap();
    let calls = shop.stripe.requests().len();
    for (id, secret) in [("pi_1", "pi_1_secret_tesT"), ("pi_1", "")] {
        let query = format!("payment_intent={id}&payment_intent_client_secret={secret}");
        assert_eq!(shop.get("/checkout/complete", &query).await.status(), 404);
        let body = format!(
            "{{\"payment_intent\":\"{id}\",\"payment_intent_client_secret\":\"{secret}\"}}"
        );
        let reply = shop.post("/checkout/status", "", &body).await;
        assert_eq!(
            (reply.status(), code(&reply)),
            (404, "unknown_payment".into())
        );
    }
    assert_eq!(
        shop.stripe.requests().len(),
        calls,
        "a guess costs no call to Stripe"
    );
    let unknown = "payment_intent=pi_99&payment_intent_client_secret=x";
    assert_eq!(shop.get("/checkout/complete", unknown).await.status(), 404);
    let climbing = "payment_intent=..%2Fcharges&payment_intent_client_secret=x";
    assert_eq!(shop.get("/checkout/complete", climbing).await.status(), 404);
    assert_eq!(shop.get("/checkout/complete", "").await.status(), 400);
    let reply = shop.post("/checkout/status", "", "{}").await;
    assert_eq!(
        (reply.status(), code(&reply)),
        (400, "invalid_request".into())
    );
    // The same holds after a restart, when only Stripe knows the secret.
    let shop = shop.restarted(MemoryInbox::new());
    let with = |secret: &str| format!("payment_intent=pi_1&payment_intent_client_secret={secret}");
    let right = shop
        .get("/checkout/complete", &with("pi_1_secret_test"))
        .await;
    let wrong = shop
        .get("/checkout/complete", &with("pi_1_secret_tesT"))
        .await;
    assert_eq!((right.status(), wrong.status()), (200, 404));
}

#[tokio::test]
async fn the_merchants_own_user_reaches_the_prices() {
    let shop = Shop::new();
    let call = shop
        .call("POST", "/create-payment-intent", "order=data")
        .header("content-type", b"application/json")
        .visitor_data(Some(stripe_checkout_core::VisitorData::new(7u8)));
    assert_eq!(shop.checkout.handle(call).await.status(), 200);
}

#[tokio::test]
async fn every_answer_has_the_security_headers() {
    let shop = Shop::new();
    let mut replies = vec![
        shop.get("/checkout", "order=a").await,
        shop.get("/checkout", "").await,
        shop.get("/checkout/", "").await,
        shop.get("/checkout/complete", "").await,
        shop.get("/checkout/checkout.js", "").await,
        shop.post("/create-payment-intent", "order=a", "{}").await,
        shop.post("/create-payment-intent", "order=panic", "{}")
            .await,
        shop.post("/checkout/status", "", "{}").await,
        shop.post("/webhook", "", "{}").await,
    ];
    for reply in replies.drain(..) {
        assert_eq!(reply.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(reply.header("referrer-policy"), Some("no-referrer"));
        assert!(
            reply
                .header("content-security-policy")
                .unwrap()
                .contains("frame-ancestors 'none'")
        );
        assert!(reply.header("cache-control").is_some());
    }
}

#[derive(Clone)]
struct Exact(Arc<Mutex<Vec<String>>>, Amount);

impl FulfillmentHandler for Exact {
    async fn payment_succeeded(&self, payment: &Payment, _: &mut ()) -> Result<(), BoxError> {
        self.0
            .lock()
            .unwrap()
            .push(format!("succeeded {}", payment.id()));
        Ok(())
    }
    async fn amount_due(&self, _: &Payment, _: &mut ()) -> Result<Due, BoxError> {
        Ok(Due::Exactly(self.1))
    }

    async fn on_event(&self, event: &PaymentEvent<'_>, _: &mut ()) -> Result<(), BoxError> {
        match event {
            PaymentEvent::RefundSucceeded { refund, .. } => {
                self.0
                    .lock()
                    .unwrap()
                    .push(format!("refunded {}", refund.id()));
                Ok(())
            }
            PaymentEvent::Mismatch { mismatch, .. } => {
                self.0.lock().unwrap().push(format!("mismatch: {mismatch}"));
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

fn keys() -> Config {
    Config::new([secret()])
        .unwrap()
        .with_keys(
            SecretKey::new("sk_test_1").unwrap(),
            PublishableKey::new("pk_test_1").unwrap(),
        )
        .unwrap()
}

impl Shop {
    /// Restarts the process: the same Stripe, another inbox.
    fn restarted(&self, inbox: MemoryInbox) -> Self {
        let checkout = Checkout::builder(keys())
            .application("tea")
            .pricing(Prices(Arc::clone(&self.price)))
            .transport(self.stripe.clone())
            .fulfillment(inbox, on_paid(async |_| Ok(())))
            .order_url("/orders/{reference}")
            .build()
            .unwrap();
        Self {
            checkout,
            stripe: self.stripe.clone(),
            price: Arc::clone(&self.price),
        }
    }
}

#[tokio::test]
async fn news_out_of_order_does_not_lock_the_buyer_out() {
    let shop = Shop::new();
    let payment = shop.intent("a").await.unwrap();
    // The events arrive in the wrong order. At Stripe the intent waits for another card.
    shop.event(
        "payment_intent.payment_failed",
        payment.id(),
        "requires_payment_method",
    )
    .await;
    shop.event("payment_intent.processing", payment.id(), "processing")
        .await;
    shop.stripe
        .set(payment.id(), "status", "requires_payment_method");
    assert!(shop.intent("a").await.is_ok());
    let page = shop.get("/checkout", "order=a").await;
    assert_eq!(page.status(), 200, "{}", text(&page));
}

#[tokio::test]
async fn an_update_after_a_restart_is_really_made() {
    let shop = Shop::new();
    let payment = shop.intent("a").await.unwrap(); // 1999
    shop.price(2999);
    shop.intent("a").await.unwrap();
    shop.price(1999);
    shop.intent("a").await.unwrap();
    let shop = shop.restarted(MemoryInbox::new());
    shop.intent("a").await.unwrap();
    shop.price(2999);
    let told = shop.intent("a").await.unwrap();
    let really = shop.stripe.0.lock().unwrap().intents[payment.id()]["amount"]
        .as_u64()
        .unwrap();
    assert_eq!(
        told.amount().minor(),
        really,
        "told the browser / at Stripe"
    );
}

#[tokio::test]
async fn a_created_intent_that_was_replayed_is_shown_as_it_is_now() {
    let shop = Shop::new();
    let payment = shop.intent("a").await.unwrap();
    shop.stripe.set(payment.id(), "status", "processing");
    let shop = shop.restarted(MemoryInbox::new());
    let again = shop.intent("a").await;
    assert!(matches!(again, Err(PaymentError::Processing)), "{again:?}");
}

#[tokio::test]
async fn who_paid_before_a_restart_is_not_told_that_the_payment_is_unknown() {
    let shop = Shop::new();
    let payment = shop.intent("a").await.unwrap();
    shop.stripe.set(payment.id(), "status", "succeeded");
    let query = format!(
        "payment_intent={}&payment_intent_client_secret={}",
        payment.id(),
        payment.client_secret().unwrap().expose()
    );
    let plain = shop.restarted(MemoryInbox::new());
    assert_eq!(plain.get("/checkout/complete", &query).await.status(), 200);
    // As in `examples/shop`.
    let shop = shop.restarted(MemoryInbox::new().allow_live());
    let page = shop.get("/checkout/complete", &query).await;
    assert_eq!(page.status(), 200, "{}", text(&page));
}

/// A Stripe that can be down: then a GET succeeds, and all four tries of a POST fail.
struct Flaky(FakeStripe, Arc<Mutex<bool>>);

impl Transport for Flaky {
    async fn send(&self, request: &TransportRequest) -> Result<TransportResponse, TransportError> {
        if *self.1.lock().unwrap() && request.method == "POST" {
            return Ok(TransportResponse {
                status: 503,
                headers: vec![],
                body: Default::default(),
            });
        }
        self.0.send(request).await
    }
}

impl Shop {
    /// Starts another process with its own inbox. Returns it with the switch that takes Stripe down
    /// for it.
    fn flaky(&self) -> (Checkout, Arc<Mutex<bool>>) {
        let down = Arc::new(Mutex::new(false));
        let checkout = Checkout::builder(keys())
            .application("tea")
            .pricing(Prices(Arc::clone(&self.price)))
            .transport(Flaky(self.stripe.clone(), Arc::clone(&down)))
            .fulfillment(MemoryInbox::new(), on_paid(async |_| Ok(())))
            .build()
            .unwrap();
        (checkout, down)
    }
}

#[tokio::test(start_paused = true)]
async fn metadata_that_changed_at_the_same_price_reaches_stripe() {
    use stripe_checkout_core::Metadata;
    let shop = Shop::new();
    let of = |size: &str| {
        PaymentRequest::new("a", Amount::new(1999, Currency::EUR))
            .metadata(Metadata::new().with("size", size).unwrap())
    };
    shop.checkout.create_intent(&of("S")).await.unwrap();
    let (checkout, down) = shop.flaky();
    checkout.create_intent(&of("S")).await.unwrap();
    *down.lock().unwrap() = true;
    checkout.create_intent(&of("XL")).await.unwrap_err();
    *down.lock().unwrap() = false;
    let payment = checkout.create_intent(&of("XL")).await.unwrap();
    assert_eq!(payment.metadata().get("size"), Some("XL"));
}

#[tokio::test(start_paused = true)]
async fn an_intent_that_another_call_was_closing_is_given_to_no_buyer() {
    let shop = Shop::new();
    let (checkout, down) = shop.flaky();
    let request = PaymentRequest::new("a", Amount::new(1999, Currency::EUR));
    checkout.create_intent(&request).await.unwrap();
    *down.lock().unwrap() = true;
    // From now on the row says that pi_1 is closed, and then the call to Stripe fails.
    let authorise = request.clone().capture_method(CaptureMethod::Manual);
    checkout.create_intent(&authorise).await.unwrap_err();
    *down.lock().unwrap() = false;
    let payment = checkout.create_intent(&request).await.unwrap();
    assert_eq!(payment.id(), "pi_2");
    assert_eq!(shop.stripe.open(), ["pi_2"]);
}

/// Acts once, just before a request of this method and path goes on.
struct Before<F>(FakeStripe, &'static str, Mutex<Option<F>>);

impl<F: FnOnce(&FakeStripe) + Send + 'static> Transport for Before<F> {
    async fn send(&self, request: &TransportRequest) -> Result<TransportResponse, TransportError> {
        if format!("{} {}", request.method, request.url).ends_with(self.1)
            && let Some(act) = self.2.lock().unwrap().take()
        {
            act(&self.0);
        }
        self.0.send(request).await
    }
}

#[tokio::test]
async fn an_order_paid_in_full_is_fulfilled_whatever_a_slow_request_with_an_old_price_did() {
    let hooks = Arc::new(Mutex::new(Vec::new()));
    let stripe = FakeStripe::default();
    let pay = |stripe: &FakeStripe| stripe.set("pi_1", "status", "succeeded");
    let checkout = Checkout::builder(keys())
        .application("tea")
        .pricing(Prices(Arc::new(Mutex::new(1999))))
        .transport(Before(
            stripe.clone(),
            "POST https://api.stripe.com/v1/payment_intents/pi_1",
            Mutex::new(Some(pay)),
        ))
        .fulfillment(
            MemoryInbox::new(),
            Exact(Arc::clone(&hooks), Amount::new(1999, Currency::EUR)),
        )
        .build()
        .unwrap();
    let of = |minor| PaymentRequest::new("a", Amount::new(minor, Currency::EUR));
    checkout.create_intent(&of(1999)).await.unwrap();
    // A request with an earlier price of 999 arrives late. The buyer's other tab pays 1999 in
    // between.
    assert!(matches!(
        checkout.create_intent(&of(999)).await,
        Err(PaymentError::AlreadyPaid)
    ));
    let shop = Shop {
        checkout,
        stripe,
        price: Arc::default(),
    };
    shop.event("payment_intent.succeeded", "pi_1", "succeeded")
        .await;
    let event = shop
        .checkout
        .events(EventFilter::default())
        .await
        .unwrap()
        .remove(0);
    let _ = shop.checkout.replay(&event).await;
    let hooks = hooks.lock().unwrap().clone();
    assert_eq!(hooks.last().unwrap(), "succeeded pi_1", "{hooks:?}");
}

#[tokio::test]
async fn an_open_3d_secure_dialog_survives_an_update_that_stripe_refuses_for_another_reason() {
    let shop = Shop::new();
    struct TooSmall(FakeStripe);
    impl Transport for TooSmall {
        async fn send(
            &self,
            request: &TransportRequest,
        ) -> Result<TransportResponse, TransportError> {
            if request.method == "POST" && request.url.ends_with("/pi_1") {
                return Ok(TransportResponse {
                    status: 400,
                    headers: vec![],
                    body: error("amount_too_small").into(),
                });
            }
            self.0.send(request).await
        }
    }
    let inbox = MemoryInbox::new();
    let checkout = Checkout::builder(keys())
        .application("tea")
        .pricing(Prices(Arc::clone(&shop.price)))
        .transport(TooSmall(shop.stripe.clone()))
        .fulfillment(inbox, on_paid(async |_| Ok(())))
        .build()
        .unwrap();
    checkout
        .create_intent(&PaymentRequest::new("a", Amount::new(1999, Currency::EUR)))
        .await
        .unwrap();
    let _ = checkout
        .create_intent(&PaymentRequest::new("a", Amount::new(1, Currency::EUR)))
        .await;
    assert!(
        shop.stripe.open().contains(&"pi_1".to_owned()),
        "{:?}",
        shop.stripe.requests()
    );
}

#[tokio::test(start_paused = true)]
async fn who_has_paid_is_not_told_that_nothing_was_charged() {
    let shop = Shop::new();
    let payment = shop.intent("a").await.unwrap();
    shop.stripe.set(payment.id(), "status", "succeeded");
    let query = format!(
        "payment_intent={}&payment_intent_client_secret={}",
        payment.id(),
        payment.client_secret().unwrap().expose()
    );
    shop.stripe.fault(Fault::Status(503), 20);
    let page = text(&shop.get("/checkout/complete", &query).await);
    assert!(!page.contains("not charged"), "{page}");
    assert!(
        page.contains("complete.js"),
        "nothing takes the secret out of the address: {page}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_refund_reaches_its_hook_although_a_restart_forgot_the_payment() {
    let before = Shop::new();
    let payment = before.intent("a").await.unwrap();
    before
        .event("payment_intent.succeeded", payment.id(), "succeeded")
        .await;

    let hooks = Arc::new(Mutex::new(Vec::new()));
    let price = Amount::new(1999, Currency::EUR);
    let checkout = Checkout::builder(keys())
        .application("tea")
        .pricing(Prices(Arc::clone(&before.price)))
        .transport(before.stripe.clone())
        .fulfillment(MemoryInbox::new(), Exact(Arc::clone(&hooks), price))
        .build()
        .unwrap();
    let shop = Shop {
        checkout,
        stripe: before.stripe.clone(),
        price: Arc::default(),
    };
    let send = async |payment: &str, age: i64| {
        let event = EventBody::new("refund.created", refund("re_1", payment, price));
        let body = event.created(now() - age).body();
        let header = sign(&body, &secret(), now());
        let call = shop
            .call("POST", "/webhook", "")
            .header("stripe-signature", header.as_bytes());
        shop.checkout
            .handle(call.body(Body::whole(&body, 1 << 20)))
            .await
            .status()
    };
    // The refund may have overtaken its success, so it waits. An hour later, the success was
    // handled before this process began.
    assert_eq!(send("pi_1", 10).await, 503);
    assert_eq!(send("pi_1", 3700).await, 200);
    assert_eq!(*hooks.lock().unwrap(), ["refunded re_1"]);
    assert_eq!(
        send("pi_of_nobody", 3700).await,
        200,
        "unknown to Stripe: an event like others"
    );
    shop.stripe.fault(Fault::Status(503), 50);
    assert_eq!(
        send("pi_2", 3700).await,
        503,
        "Stripe is away: not acknowledged"
    );
    assert_eq!(hooks.lock().unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn prices_that_hang_are_unavailable_and_a_debit_on_its_way_has_no_form() {
    let shop = Shop::new();
    let page = shop.get("/checkout", "order=slow").await;
    assert_eq!(page.status(), 503);
    let page = shop.get("/checkout", "order=processing").await;
    assert_eq!(page.status(), 409);
    assert!(text(&page).contains("being processed") && text(&page).contains("/orders/processing"));
}

#[test]
fn a_shop_without_a_name_is_not_built() {
    let build = |name: Option<&str>| {
        let builder = Checkout::builder(keys())
            .pricing(Prices(Arc::default()))
            .fulfillment(MemoryInbox::new(), on_paid(async |_| Ok(())));
        match name {
            Some(name) => builder.application(name).build(),
            None => builder.build(),
        }
    };
    for name in [None, Some("")] {
        let error = build(name).unwrap_err();
        assert!(error.to_string().contains(".application("), "{error}");
    }
    assert!(build(Some("tea")).is_ok());
}

#[test]
fn the_webhook_takes_no_other_routes_path() {
    let build = |path: &str| {
        Checkout::builder(keys())
            .application("tea")
            .pricing(Prices(Arc::default()))
            .fulfillment(MemoryInbox::new(), on_paid(async |_| Ok(())))
            .webhook_path(path)
            .build()
    };
    // In actix-web the page would answer the webhook with a 405.
    for path in ["/checkout", "/checkout/status", "/create-payment-intent"] {
        let error = build(path).unwrap_err();
        assert!(error.to_string().contains("other paths"), "{error}");
    }
    assert!(build("/checkout/webhook").is_ok());
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn what_a_panic_said_is_not_repeated() {
    struct Panics;

    impl Pricing for Panics {
        type Order = Order;

        async fn price(&self, _: Order, _: &Visitor) -> Result<PaymentRequest, PricingError> {
            panic!("on purpose, with a s3cr3t")
        }
    }

    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone());
    let _default = tracing::subscriber::set_default(subscriber.finish());
    let checkout = Checkout::builder(keys())
        .application("tea")
        .pricing(Panics)
        .fulfillment(MemoryInbox::new(), on_paid(async |_| Ok(())))
        .build()
        .unwrap();
    let page = Call::new(&checkout.endpoints()[0]).query(Some("order=a"));
    assert_eq!(checkout.handle(page).await.status(), 500);
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(
        log.contains("not answered") && !log.contains("s3cr3t"),
        "{log}"
    );
}

#[tokio::test]
async fn a_replayed_create_never_gives_another_price() {
    let shop = Shop::new();
    shop.intent("a").await.unwrap(); // 1999
    shop.price(2999);
    shop.intent("a").await.unwrap(); // updated
    let shop = shop.restarted(MemoryInbox::new());
    shop.price(1999); // the price comes back
    let told = shop.intent("a").await.unwrap();
    assert_eq!(told.amount().minor(), 1999, "what the buyer is charged");
}

#[tokio::test]
async fn other_parameters_after_a_replayed_create_reach_stripe() {
    let shop = Shop::new();
    let amount = Amount::new(1999, Currency::EUR);
    let with = |seat: &str| PaymentRequest::new("a", amount).description(seat);
    shop.checkout.create_intent(&with("1")).await.unwrap();
    shop.checkout.create_intent(&with("2")).await.unwrap();
    let shop = shop.restarted(MemoryInbox::new());
    let before = shop.stripe.requests().len();
    shop.checkout.create_intent(&with("1")).await.unwrap();
    let after = shop.stripe.requests()[before..].to_vec();
    assert!(
        after.iter().any(|r| r == "POST /payment_intents/pi_1"),
        "{after:?}"
    );
}

struct Slow(FakeStripe);
impl Transport for Slow {
    async fn send(&self, request: &TransportRequest) -> Result<TransportResponse, TransportError> {
        let ms = if request.method == "GET" { 100 } else { 500 };
        tokio::time::sleep(std::time::Duration::from_millis(ms)).await;
        self.0.send(request).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_double_click_after_a_price_change_can_pay() {
    let shop = Shop::new();
    let checkout = Checkout::builder(keys())
        .application("tea")
        .pricing(Prices(Arc::clone(&shop.price)))
        .transport(Slow(shop.stripe.clone()))
        .fulfillment(MemoryInbox::new(), on_paid(async |_| Ok(())))
        .build()
        .unwrap();
    let ask = |minor| PaymentRequest::new("a", Amount::new(minor, Currency::EUR));
    checkout.create_intent(&ask(1999)).await.unwrap();
    let click = async |delay: u64| {
        tokio::time::sleep(std::time::Duration::from_millis(delay)).await;
        checkout
            .create_intent(&ask(2999))
            .await
            .map(|p| p.amount().minor())
    };
    let (a, b) = tokio::join!(click(0), click(50));
    let updates = shop
        .stripe
        .requests()
        .iter()
        .filter(|r| *r == "POST /payment_intents/pi_1")
        .count();
    assert!(
        a.is_ok() && b.is_ok(),
        "{a:?} {b:?} after {updates} updates"
    );
}

#[tokio::test(start_paused = true)]
async fn a_refund_on_a_connected_account_that_left_is_taken() {
    let shop = Shop::new();
    shop.stripe.fault(Fault::Status(403), 50);
    let event = EventBody::new(
        "refund.created",
        refund("re_1", "pi_9", Amount::new(1, Currency::EUR)),
    );
    let body = event.account("acct_1").body();
    let header = sign(&body, &secret(), now());
    let call = shop
        .call("POST", "/webhook", "")
        .header("stripe-signature", header.as_bytes());
    let reply = shop
        .checkout
        .handle(call.body(Body::whole(&body, 1 << 20)))
        .await;
    assert_eq!(reply.status(), 200, "{:?}", shop.stripe.requests());
}

#[derive(Clone)]
struct SlowWithEvents(FakeStripe, Arc<std::sync::OnceLock<Checkout>>);
impl Transport for SlowWithEvents {
    async fn send(&self, request: &TransportRequest) -> Result<TransportResponse, TransportError> {
        let answer = self.0.send(request).await;
        if request.url.ends_with("/cancel")
            && let Some(checkout) = self.1.get()
        {
            // Stripe's webhooks arrive before the next request, and one of them is late.
            let canceled = self.0.0.lock().unwrap().intents["pi_1"].clone();
            let mut acting = canceled.clone();
            acting["status"] = "requires_action".into();
            for (event_type, object) in [
                ("payment_intent.requires_action", acting),
                ("payment_intent.canceled", canceled),
            ] {
                let body = EventBody::new(event_type, object).body();
                let header = sign(&body, &secret(), now());
                let body = Body::whole(&body, 1 << 20);
                let event = checkout.verify(body, [header.as_bytes()]).unwrap();
                checkout.receive(event).await.unwrap();
            }
        }
        answer
    }
}
#[derive(Clone)]
struct Cancels(Arc<Mutex<Vec<String>>>);
impl FulfillmentHandler for Cancels {
    async fn payment_succeeded(&self, _: &Payment, _: &mut ()) -> Result<(), BoxError> {
        Ok(())
    }
    async fn amount_due(&self, _: &Payment, _: &mut ()) -> Result<Due, BoxError> {
        Ok(Due::AsAsked)
    }

    async fn on_event(&self, event: &PaymentEvent<'_>, _: &mut ()) -> Result<(), BoxError> {
        match event {
            PaymentEvent::PaymentCanceled { payment, .. } => {
                self.0.lock().unwrap().push(payment.id().to_owned());
                Ok(())
            }
            _ => Ok(()),
        }
    }
}
#[tokio::test]
async fn an_intent_that_we_replace_does_not_cancel_the_order() {
    let (shop, canceled, own) = (Shop::new(), Cancels(Arc::default()), Arc::default());
    let checkout = Checkout::builder(keys())
        .application("tea")
        .pricing(Prices(Arc::clone(&shop.price)))
        .transport(SlowWithEvents(shop.stripe.clone(), Arc::clone(&own)))
        .fulfillment(MemoryInbox::new(), canceled.clone())
        .build()
        .unwrap();
    own.set(checkout.clone()).ok();
    let ask = |minor| PaymentRequest::new("a", Amount::new(minor, Currency::EUR));
    checkout.create_intent(&ask(1999)).await.unwrap();
    shop.stripe.set("pi_1", "status", "requires_action");
    assert_eq!(
        checkout.create_intent(&ask(2999)).await.unwrap().id(),
        "pi_2"
    );
    assert!(
        canceled.0.lock().unwrap().is_empty(),
        "the merchant's order is canceled while its buyer pays"
    );
}

#[tokio::test]
async fn a_payment_on_a_connected_account_tells_the_browser_so() {
    let shop = Shop::new();
    for (order, account) in [("connected", Some("acct_9")), ("a", None)] {
        let page = shop.get("/checkout", &format!("order={order}")).await;
        let page = String::from_utf8(page.body().to_vec()).unwrap();
        let attribute = r#"data-stripe-account="acct_9""#;
        assert_eq!(page.contains(attribute), account.is_some(), "{page}");
        let query = format!("order={order}");
        let made = shop.post("/create-payment-intent", &query, "{}").await;
        assert_eq!(made.status(), 200);
        let made: serde_json::Value = serde_json::from_slice(made.body()).unwrap();
        assert_eq!(
            made.get("stripeAccount").and_then(|it| it.as_str()),
            account
        );
    }
}

fn with_prefix(prefix: &str, stripe: FakeStripe) -> Result<Checkout, BuildError> {
    Checkout::builder(keys())
        .application("tea")
        .connect_application("ca_of_this_test")
        .pricing(Prices(Arc::default()))
        .transport(stripe)
        .statement_descriptor_prefix(prefix)
        .fulfillment(MemoryInbox::new(), on_paid(async |_| Ok(())))
        .build()
}

#[test]
fn a_prefix_that_no_account_can_have_is_found_at_start() {
    for prefix in ["T", "TEASHOP.COM", "1234", "TEA*"] {
        let error = with_prefix(prefix, FakeStripe::default()).unwrap_err();
        let refused = matches!(error, BuildError::StatementDescriptorPrefix);
        assert!(refused, "{prefix}: {error:?}");
    }
}

#[tokio::test]
async fn a_suffix_that_is_too_long_behind_the_prefix_never_reaches_stripe() {
    let stripe = FakeStripe::default();
    let checkout = with_prefix("TEASHOP", stripe.clone()).unwrap();
    let order = |suffix: &str| {
        PaymentRequest::new("order-1", Amount::new(1999, Currency::EUR))
            .statement_descriptor_suffix(suffix)
    };
    // After a prefix of seven characters and a separator of two, 13 of 22 characters are left.
    let error = checkout.create_intent(&order("TEA AND CUP 77")).await;
    let error = error.unwrap_err();
    let refused = matches!(
        error,
        PaymentError::Request(RequestError::StatementDescriptorSuffix)
    );
    assert!(refused, "{error:?}");
    assert_eq!(stripe.requests(), Vec::<String>::new());

    // A connected account has its own prefix, which may be shorter.
    let connected = order("TEA AND CUP 77").connected_account("acct_9");
    checkout.create_intent(&connected).await.unwrap();
    checkout
        .create_intent(&order("TEA AND CUP 7"))
        .await
        .unwrap();
    assert_eq!(stripe.made(), 2);
}
