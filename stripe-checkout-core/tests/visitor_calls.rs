//! The calls to Stripe that visitors cause: bounded, shared fairly, and apart from all other calls.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use stripe_checkout_core::fulfillment::{MemoryInbox, on_paid};
use stripe_checkout_core::requests::{CustomerRequest, PaymentRequest, SetupRequest};
use stripe_checkout_core::stripe::{Transport, TransportRequest, TransportResponse};
use stripe_checkout_core::testing::{EventBody, PaymentIntent};
use stripe_checkout_core::webhook::Event;
use stripe_checkout_core::{
    Amount, ApiError, Body, Call, Checkout, CheckoutBuilder, Config, Currency, PaymentError,
    Pricing, PricingError, PublishableKey, Reply, SecretKey, TransportError, Visitor,
    WebhookSecret,
};
use stripe_checkout_sandbox::{Fault, LoggedRequest, Sandbox};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

const PRICE: Amount = Amount::new(1999, Currency::EUR);
/// The sandbox takes so long for each answer, as Stripe may.
const LATENCY: Duration = Duration::from_millis(150);
const PATIENCE: Duration = Duration::from_secs(60);
/// Tests that measure how long buyers wait run one after the other.
static MEASURING: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// Fails where this does not come to an end.
async fn ends<T>(work: impl Future<Output = T>) -> T {
    let ended = tokio::time::timeout(PATIENCE, work).await;
    ended.expect("it never comes to an end")
}

struct OnePrice;

#[derive(serde::Deserialize)]
struct Order {
    order: String,
}

impl Pricing for OnePrice {
    type Order = Order;

    async fn price(&self, order: Order, _: &Visitor) -> Result<PaymentRequest, PricingError> {
        Ok(PaymentRequest::new(order.order, PRICE))
    }
}

fn builder(config: Config) -> CheckoutBuilder {
    Checkout::builder(config)
        .application("tea")
        .pricing(OnePrice)
        .client_key(|visitor| visitor.header_str("x-client").map(str::to_owned))
        .fulfillment(MemoryInbox::new(), on_paid(async |_| Ok(())))
}

fn call(shop: &Checkout, client: &str, path: &str, query: &str, body: &str) -> Call {
    let endpoints = shop.endpoints().iter();
    let endpoint = endpoints.rev().find(|known| known.path() == path).unwrap();
    Call::new(endpoint)
        .query(Some(query))
        .header("x-client", client.as_bytes())
        .header("content-type", b"application/json")
        .header("sec-fetch-site", b"same-origin")
        .body(Body::whole(body.as_bytes(), endpoint.body_limit()))
}

async fn ask(shop: &Checkout, client: &str, path: &str, query: &str, body: &str) -> Reply {
    shop.handle(call(shop, client, path, query, body)).await
}

async fn create(shop: &Checkout, client: &str, order: &str) -> Reply {
    let body = format!(r#"{{"order":{{"order":"{order}"}}}}"#);
    ask(shop, client, "/create-payment-intent", "", &body).await
}

fn text(reply: &Reply) -> String {
    String::from_utf8_lossy(reply.body()).into_owned()
}

/// The id and the client secret.
#[derive(Clone)]
struct Made(String, String);

impl Made {
    fn of(reply: &Reply) -> Self {
        assert_eq!(reply.status(), 200, "{}", text(reply));
        let body: serde_json::Value = serde_json::from_slice(reply.body()).unwrap();
        Self::with_secret(body["clientSecret"].as_str().unwrap())
    }

    fn with_secret(secret: &str) -> Self {
        let (id, _) = secret.split_once("_secret_").unwrap();
        Self(id.to_owned(), secret.to_owned())
    }

    async fn status(&self, shop: &Checkout, client: &str) -> Reply {
        let Self(id, secret) = self;
        let body = serde_json::json!({
            "payment_intent": id,
            "payment_intent_client_secret": secret,
        });
        ask(shop, client, "/checkout/status", "", &body.to_string()).await
    }

    async fn complete(&self, shop: &Checkout, client: &str) -> Reply {
        let Self(id, secret) = self;
        let query = format!("payment_intent={id}&payment_intent_client_secret={secret}");
        ask(shop, client, "/checkout/complete", &query, "").await
    }

    /// The buyer's browser confirms the payment at the sandbox.
    async fn pay(&self, sandbox: &Sandbox) {
        let Self(id, secret) = self;
        let key = sandbox.config();
        let key = key.publishable_key().unwrap().expose();
        let body = format!(
            "client_secret={secret}&payment_method_data[type]=card\
             &payment_method_data[card][number]=4242424242424242\
             &payment_method_data[card][exp_month]=12&payment_method_data[card][exp_year]=2040\
             &payment_method_data[card][cvc]=123&return_url=https%3A%2F%2Fshop.example"
        );
        let host = sandbox.url().strip_prefix("http://").unwrap();
        let request = format!(
            "POST /v1/payment_intents/{id}/confirm HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\
             Authorization: Bearer {key}\r\nContent-Type: application/x-www-form-urlencoded\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut stream = TcpStream::connect(host).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
}

/// The shop's own requests, without those of the buyers' browsers.
fn requests_of_shop(sandbox: &Sandbox) -> Vec<LoggedRequest> {
    let mut requests = sandbox.requests();
    requests.retain(|request| !request.path.ends_with("/confirm"));
    requests
}

fn most_under_way(requests: &[LoggedRequest]) -> usize {
    let under_way = |at: Instant| {
        let requests = requests.iter();
        requests
            .filter(|other| other.received <= at && other.answered.is_none_or(|end| end > at))
            .count()
    };
    let counts = requests.iter().map(|request| under_way(request.received));
    counts.max().unwrap_or(0)
}

/// Each endpoint got at most this many requests a second, and as many more at the start. A busy
/// machine may bring some of them late, and so nearer to the next ones.
fn check_rate(requests: &[LoggedRequest], per_second: usize) -> Result<(), String> {
    let mut endpoints: HashMap<(&str, bool), Vec<Instant>> = HashMap::new();
    for request in requests {
        let of_one = request.path.contains("/pi_");
        let key = (request.method.as_str(), of_one);
        endpoints.entry(key).or_default().push(request.received);
    }
    for (endpoint, times) in endpoints {
        let took = *times.iter().max().unwrap() - *times.iter().min().unwrap();
        let most = per_second as f64 * (took.as_secs_f64() + 1.0);
        if times.len() as f64 > most {
            return Err(format!("{endpoint:?}: {} in {took:?}", times.len()));
        }
    }
    Ok(())
}

const SOON: Duration = Duration::from_secs(3);

/// A machine that is busy with other work may spoil one round of measuring, but not three.
async fn in_one_of_three_rounds(round: impl AsyncFn() -> Result<(), String>) {
    let _measuring = MEASURING.lock().await;
    let mut failures = Vec::new();
    for _ in 0..3 {
        match round().await {
            Ok(()) => return,
            Err(failure) => failures.push(failure),
        }
    }
    panic!("{failures:#?}");
}

/// A buyer who began then has this answer, soon enough.
fn served(reply: &Reply, began: Instant) -> Result<Duration, String> {
    let took = began.elapsed();
    match reply.status() {
        200 if took <= SOON => Ok(took),
        status => Err(format!("{status} after {took:?}: {}", text(reply))),
    }
}

/// Thirty connections ask for their own payments without end, while twenty buyers pay.
async fn thirty_hammer_and_twenty_pay(stranger: fn(usize) -> String) -> Result<(), String> {
    let sandbox = Sandbox::start().await.unwrap();
    let shop = builder(sandbox.config()).build().unwrap();
    let mut theirs = Vec::new();
    for n in 0..30 {
        let request = PaymentRequest::new(format!("stranger-{n}"), PRICE);
        let made = shop.create_intent(&request).await.unwrap();
        theirs.push(Made::with_secret(made.client_secret().unwrap().expose()));
    }
    let before = sandbox.requests().len();
    sandbox.faults().next(10_000, Fault::Slow(LATENCY));

    let stop = Arc::new(AtomicBool::new(false));
    let refused = Arc::new(AtomicUsize::new(0));
    let mut strangers = JoinSet::new();
    for (n, made) in theirs.into_iter().enumerate() {
        let (shop, stop, refused) = (shop.clone(), Arc::clone(&stop), Arc::clone(&refused));
        strangers.spawn(async move {
            let client = stranger(n);
            while !stop.load(Ordering::Relaxed) {
                let order = format!("stranger-{n}");
                for reply in [
                    made.status(&shop, &client).await,
                    create(&shop, &client, &order).await,
                ] {
                    match reply.status() {
                        200 => {}
                        429 => {
                            assert!(text(&reply).contains("rate_limited"), "{}", text(&reply));
                            assert_eq!(reply.header("retry-after"), Some("1"));
                            refused.fetch_add(1, Ordering::Relaxed);
                            // A connection takes some time to ask again.
                            tokio::time::sleep(Duration::from_millis(5)).await;
                        }
                        other => panic!("{other}: {}", text(&reply)),
                    }
                }
            }
        });
    }
    ends(sandbox.wait_for(|sandbox| sandbox.requests().len() > before + 10)).await;

    let sandbox = Arc::new(sandbox);
    let mut buyers = JoinSet::new();
    for n in 0..20 {
        let (shop, sandbox) = (shop.clone(), Arc::clone(&sandbox));
        buyers.spawn(async move {
            let client = format!("buyer {n}");
            let began = Instant::now();
            let made = create(&shop, &client, &format!("order-{n}")).await;
            served(&made, began)?;
            let made = Made::of(&made);
            made.pay(&sandbox).await;
            let page = made.complete(&shop, &client).await;
            served(&page, began)?;
            let status = made.status(&shop, &client).await;
            assert!(text(&status).contains("succeeded"), "{}", text(&status));
            served(&status, began)
        });
    }
    let took = ends(buyers.join_all()).await;
    stop.store(true, Ordering::Relaxed);
    ends(strangers.join_all()).await;

    let slowest = took.into_iter().try_fold(Duration::ZERO, |slowest, took| {
        took.map(|took| slowest.max(took))
    })?;
    let requests = requests_of_shop(&sandbox).split_off(before);
    let at_once = most_under_way(&requests);
    println!(
        "slowest buyer {slowest:?}, {} requests, at most {at_once} at once, {} refused",
        requests.len(),
        refused.load(Ordering::Relaxed)
    );
    assert!(at_once <= 16, "{at_once}");
    check_rate(&requests, 20)
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_buyers_pay_within_three_seconds_while_one_client_hammers() {
    in_one_of_three_rounds(async || thirty_hammer_and_twenty_pay(|_| "stranger".to_owned()).await)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_buyers_pay_within_three_seconds_while_thirty_clients_hammer() {
    in_one_of_three_rounds(async || {
        thirty_hammer_and_twenty_pay(|n| format!("stranger {n}")).await
    })
    .await;
}

/// Strangers guess ids of saved cards without end. Buyers come back from paying, and one comes back
/// from saving a card.
async fn thirty_guess_and_buyers_come_back(
    stranger: fn(usize) -> String,
    has_saved_card: bool,
) -> Result<(), String> {
    let sandbox = Sandbox::start().await.unwrap();
    let shop = builder(sandbox.config()).build().unwrap();
    let customer = shop.customer(&CustomerRequest::new("ada")).await.unwrap();
    let setup = SetupRequest::new("card", &customer);
    let setup = shop.create_setup_intent(&setup).await.unwrap();
    let mut paid = Vec::new();
    for n in 0..10 {
        let request = PaymentRequest::new(format!("order-{n}"), PRICE);
        let made = shop.create_intent(&request).await.unwrap();
        paid.push(Made::with_secret(made.client_secret().unwrap().expose()));
    }
    let before = sandbox.requests().len();
    sandbox.faults().next(10_000, Fault::Slow(LATENCY));
    let look = |id: &str, secret: &str| {
        serde_json::json!({"setup_intent": id, "setup_intent_client_secret": secret}).to_string()
    };
    let stop = Arc::new(AtomicBool::new(false));
    let mut strangers = JoinSet::new();
    for n in 0..30 {
        let (shop, stop) = (shop.clone(), Arc::clone(&stop));
        strangers.spawn(async move {
            for guess in 0.. {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                let id = format!("seti_{n}x{guess}");
                let body = look(&id, &format!("{id}_secret_x"));
                let reply = ask(&shop, &stranger(n), "/checkout/status", "", &body).await;
                assert!(matches!(reply.status(), 404 | 429), "{}", text(&reply));
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
    }
    ends(sandbox.wait_for(|sandbox| sandbox.requests().len() > before + 4)).await;
    let mut returns = JoinSet::new();
    for (n, made) in paid.into_iter().enumerate() {
        let shop = shop.clone();
        returns.spawn(async move {
            let began = Instant::now();
            let reply = made.status(&shop, &format!("buyer {n}")).await;
            served(&reply, began)
        });
    }
    if has_saved_card {
        let shop = shop.clone();
        let body = look(setup.id(), setup.client_secret().unwrap().expose());
        returns.spawn(async move {
            let began = Instant::now();
            let reply = ask(&shop, "saver", "/checkout/status", "", &body).await;
            served(&reply, began)
        });
    }
    let returned = ends(returns.join_all()).await;
    stop.store(true, Ordering::Relaxed);
    ends(strangers.join_all()).await;
    returned.into_iter().try_for_each(|took| took.map(drop))
}

#[tokio::test(flavor = "multi_thread")]
async fn guesses_of_one_client_keep_no_buyer_waiting() {
    in_one_of_three_rounds(async || {
        thirty_guess_and_buyers_come_back(|_| "stranger".to_owned(), true).await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn guesses_of_thirty_clients_keep_no_paying_buyer_waiting() {
    in_one_of_three_rounds(async || {
        thirty_guess_and_buyers_come_back(|n| format!("stranger {n}"), false).await
    })
    .await;
}

#[tokio::test]
async fn a_second_look_up_of_one_payment_within_a_second_is_answered_from_memory() {
    let sandbox = Sandbox::start().await.unwrap();
    let shop = builder(sandbox.config()).build().unwrap();
    let made = Made::of(&create(&shop, "ada", "1").await);
    let looked_up = || {
        let requests = sandbox.requests();
        let gets = requests.iter().filter(|request| request.method == "GET");
        gets.count()
    };
    let began = Instant::now();
    let mut at_once = JoinSet::new();
    for _ in 0..30 {
        let (shop, made) = (shop.clone(), made.clone());
        at_once.spawn(async move { made.status(&shop, "ada").await.status() });
    }
    assert_eq!(ends(at_once.join_all()).await, [200; 30]);
    assert_eq!(made.complete(&shop, "bob").await.status(), 200);
    let seconds = began.elapsed().as_secs_f64();
    assert!(
        looked_up() as f64 <= 1.0 + seconds,
        "{} in {seconds} s",
        looked_up()
    );
    // A call that decides about money is never answered from there.
    let known = looked_up();
    create(&shop, "ada", "1").await;
    assert_eq!(looked_up(), known + 1);
    // That was news of the payment. So the next look-up asks Stripe, and one a second later too.
    let began = Instant::now();
    assert_eq!(made.status(&shop, "ada").await.status(), 200);
    let known = looked_up();
    let again = async {
        while looked_up() == known {
            tokio::time::sleep(Duration::from_millis(100)).await;
            made.status(&shop, "ada").await;
        }
    };
    ends(again).await;
    assert!(began.elapsed() >= Duration::from_secs(1));
}

/// The buyer tries again on the page, or Stripe tells, within the second.
#[tokio::test]
async fn a_look_up_after_news_of_its_payment_asks_stripe() {
    for told_by_webhook in [false, true] {
        let sandbox = Sandbox::start().await.unwrap();
        let shop = builder(sandbox.config()).build().unwrap();
        let made = Made::of(&create(&shop, "ada", "1").await);
        let before = text(&made.status(&shop, "ada").await);
        assert!(before.contains("requires_payment_method"), "{before}");
        if told_by_webhook {
            made.pay(&sandbox).await;
            let body = serde_json::json!({
                "id": made.0, "object": "payment_intent", "status": "processing",
                "amount": 1999, "currency": "eur",
            });
            let told = EventBody::new("payment_intent.processing", body).body();
            let event = Event::parse(told).unwrap();
            shop.receive(event).await.unwrap();
        } else {
            create(&shop, "ada", "1").await;
            made.pay(&sandbox).await;
        }
        let after = text(&made.status(&shop, "ada").await);
        assert!(after.contains("succeeded"), "{told_by_webhook}: {after}");
    }
}

/// A Stripe that answers as soon as it may.
#[derive(Clone)]
struct Gated {
    asked: Arc<Mutex<Vec<String>>>,
    pass: Arc<Semaphore>,
}

impl Gated {
    fn shut() -> Self {
        Self {
            asked: Arc::default(),
            pass: Arc::new(Semaphore::new(0)),
        }
    }

    fn asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }

    async fn asked_for(&self, count: usize) {
        let asked = async {
            while self.asked() < count {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        ends(asked).await;
    }

    fn open(&self, answers: usize) {
        self.pass.add_permits(answers);
    }
}

impl Transport for Gated {
    async fn send(&self, request: &TransportRequest) -> Result<TransportResponse, TransportError> {
        let (_, path) = request.url.split_once("/v1").unwrap();
        self.asked
            .lock()
            .unwrap()
            .push(format!("{} {path}", request.method));
        self.pass.acquire().await.unwrap().forget();
        let form: HashMap<String, String> = serde_html_form::from_bytes(&request.body).unwrap();
        let order = form.get("metadata[order_id]").map_or("1", String::as_str);
        let intent = PaymentIntent::new(&format!("pi_{order}"), PRICE).metadata("order_id", order);
        Ok(TransportResponse {
            status: 200,
            headers: Vec::new(),
            body: intent.object().to_string().into(),
        })
    }
}

fn gated(stripe: &Gated, at_once: u32) -> Checkout {
    let config = Config::new([WebhookSecret::new("whsec_of_this_test").unwrap()]).unwrap();
    let keys = (
        SecretKey::new("sk_test_1").unwrap(),
        PublishableKey::new("pk_test_1").unwrap(),
    );
    builder(config.with_keys(keys.0, keys.1).unwrap())
        .transport(stripe.clone())
        .max_visitor_calls(at_once)
        .build()
        .unwrap()
}

#[tokio::test]
async fn a_call_that_was_not_sent_ends_with_its_visitor() {
    let stripe = Gated::shut();
    let shop = gated(&stripe, 1);
    let first = tokio::spawn({
        let shop = shop.clone();
        async move { create(&shop, "ada", "1").await.status() }
    });
    stripe.asked_for(1).await;
    // In the queue, then gone.
    let hangs_up = create(&shop, "bob", "2");
    assert!(
        tokio::time::timeout(Duration::from_millis(200), hangs_up)
            .await
            .is_err()
    );
    // Its task sees that, and leaves the queue.
    tokio::time::timeout(Duration::from_millis(200), shop.drain())
        .await
        .unwrap_err();
    stripe.open(10);
    assert_eq!(first.await.unwrap(), 200);
    assert_eq!(create(&shop, "cleo", "3").await.status(), 200);
    assert_eq!(stripe.asked(), 2, "{:?}", stripe.asked.lock().unwrap());
}

#[tokio::test]
async fn a_call_that_was_sent_goes_on_without_its_visitor() {
    let stripe = Gated::shut();
    let shop = gated(&stripe, 1);
    let hangs_up = tokio::spawn({
        let shop = shop.clone();
        async move { create(&shop, "ada", "1").await.status() }
    });
    stripe.asked_for(1).await;
    hangs_up.abort();
    stripe.open(1);
    ends(shop.drain()).await;
    // The payment is written down: the next call looks it up, and makes no other one.
    stripe.open(1);
    let request = PaymentRequest::new("1", PRICE);
    assert_eq!(shop.create_intent(&request).await.unwrap().id(), "pi_1");
    let asked = stripe.asked.lock().unwrap().clone();
    assert_eq!(
        asked,
        ["POST /payment_intents", "GET /payment_intents/pi_1"]
    );
}

#[tokio::test]
async fn the_applications_own_calls_do_not_wait_for_visitors() {
    let stripe = Gated::shut();
    let shop = gated(&stripe, 1);
    let mut visitors = JoinSet::new();
    for n in 0..5 {
        let shop = shop.clone();
        visitors.spawn(async move { create(&shop, &n.to_string(), &n.to_string()).await.status() });
    }
    stripe.asked_for(1).await;
    let own = tokio::spawn({
        let shop = shop.clone();
        async move {
            shop.create_intent(&PaymentRequest::new("own", PRICE))
                .await
                .is_ok()
        }
    });
    stripe.asked_for(2).await;
    // A route by hand can make its calls a visitor's.
    let by_hand = shop.for_client(Some("ada"));
    let refused = by_hand
        .create_intent(&PaymentRequest::new("by hand", PRICE))
        .await;
    assert!(
        matches!(
            refused,
            Err(PaymentError::Api(ApiError::TooManyCalls { .. }))
        ),
        "{refused:?}"
    );
    assert_eq!(stripe.asked(), 2);
    stripe.open(100);
    assert!(own.await.unwrap());
    let statuses = ends(visitors.join_all()).await;
    assert!(
        statuses.contains(&200) && statuses.contains(&429),
        "{statuses:?}"
    );
}
