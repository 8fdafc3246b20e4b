//! The buyer returns before the webhook arrives: the payment is settled once, and the later webhook
//! is superseded.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use stripe_checkout_core::fulfillment::{
    Due, EventFilter, FulfillmentHandler, Inbox, InboxExt as _, IntentRecord, IntentState,
    MemoryInbox, OrderKey, PaymentEvent, Received, Scope, SqliteInbox,
};
use stripe_checkout_core::requests::PaymentRequest;
use stripe_checkout_core::stripe::{Transport, TransportRequest, TransportResponse};
use stripe_checkout_core::testing::{EventBody, PaymentIntent, now, refund, sign};
use stripe_checkout_core::webhook::{Event, Payment};
use stripe_checkout_core::{
    Alert, Amount, ApiError, Body, BoxError, Checkout, Config, Currency, Mode, PaymentError,
    Pricing, PricingError, PublishableKey, SecretKey, TransportError, Visitor, WebhookSecret,
};

const PRICE: Amount = Amount::new(1999, Currency::EUR);

/// A Stripe with one PaymentIntent, which is paid as soon as it is made.
#[derive(Clone, Default)]
struct Stripe(Arc<Mutex<Option<PaymentIntent>>>);

impl Transport for Stripe {
    async fn send(&self, request: &TransportRequest) -> Result<TransportResponse, TransportError> {
        let mut made = self.0.lock().unwrap();
        let form: Vec<(String, String)> = serde_html_form::from_bytes(&request.body).unwrap();
        let body = if request.method == "POST" {
            let intent = form.iter().fold(
                PaymentIntent::new("pi_1", PRICE),
                |intent, (name, value)| {
                    let key = name
                        .strip_prefix("metadata[")
                        .and_then(|name| name.strip_suffix(']'));
                    key.map_or(intent.clone(), |key| intent.metadata(key, value))
                },
            );
            made.insert(intent).clone().object()
        } else {
            made.clone().unwrap().status("succeeded").object()
        };
        Ok(TransportResponse {
            status: 200,
            headers: Vec::new(),
            body: body.to_string().into(),
        })
    }
}

/// The path and the connected account.
type Call = (String, Option<String>);

/// The same Stripe, with the calls that it received.
#[derive(Clone, Default)]
struct Asked {
    stripe: Stripe,
    seen: Arc<Mutex<Vec<Call>>>,
}

impl Asked {
    fn seen(&self) -> Vec<Call> {
        std::mem::take(&mut self.seen.lock().unwrap())
    }
}

impl Transport for Asked {
    async fn send(&self, request: &TransportRequest) -> Result<TransportResponse, TransportError> {
        let (_, path) = request.url.split_once("/v1").unwrap();
        let account = request.header("stripe-account").map(str::to_owned);
        self.seen.lock().unwrap().push((path.to_owned(), account));
        self.stripe.send(request).await
    }
}

struct OnePrice;

#[derive(serde::Deserialize)]
struct Nothing {}

impl Pricing for OnePrice {
    type Order = Nothing;

    async fn price(&self, _: Nothing, _: &Visitor) -> Result<PaymentRequest, PricingError> {
        Ok(PaymentRequest::new("order-1", PRICE))
    }
}

#[derive(Clone, Default)]
struct Ship {
    tried: Arc<AtomicU32>,
    shipped: Arc<AtomicU32>,
    fails: Arc<AtomicBool>,
    refunds: Arc<AtomicU32>,
}

impl<C: Send> FulfillmentHandler<C> for Ship {
    async fn payment_succeeded(&self, _: &Payment, _: &mut C) -> Result<(), BoxError> {
        self.tried.fetch_add(1, Ordering::SeqCst);
        if self.fails.load(Ordering::SeqCst) {
            return Err("no parcel left".into());
        }
        self.shipped.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    async fn amount_due(&self, _: &Payment, _: &mut C) -> Result<Due, BoxError> {
        Ok(Due::Exactly(PRICE))
    }

    async fn on_event(&self, event: &PaymentEvent<'_>, _: &mut C) -> Result<(), BoxError> {
        match event {
            PaymentEvent::RefundSucceeded { .. } => {
                self.refunds.fetch_add(1, Ordering::SeqCst);
                Err("the books are closed".into())
            }
            _ => Ok(()),
        }
    }
}

fn checkout<I: Inbox>(inbox: I, stripe: &(impl Transport + Clone), ship: &Ship) -> Checkout {
    let config = Config::new([WebhookSecret::new("whsec_of_this_test").unwrap()]).unwrap();
    let config = config
        .with_keys(
            SecretKey::new("sk_test_1").unwrap(),
            PublishableKey::new("pk_test_1").unwrap(),
        )
        .unwrap();
    Checkout::builder(config)
        .application("tea")
        .pricing(OnePrice)
        .transport(stripe.clone())
        .fulfillment(inbox, ship.clone())
        .build()
        .unwrap()
}

async fn sqlite(folder: &Path) -> SqliteInbox {
    let options = SqliteConnectOptions::new()
        .filename(folder.join("shop.db"))
        .create_if_missing(true);
    let pool = SqlitePoolOptions::new().max_connections(4);
    let inbox = SqliteInbox::new(pool.connect_with(options).await.unwrap());
    inbox.migrate().await.unwrap();
    inbox
}

/// The order is paid, and the buyer returns with the parameters of Stripe's redirect.
async fn comes_back(checkout: &Checkout, times: usize) {
    let request = PaymentRequest::new("order-1", PRICE);
    let secret = match checkout.create_intent(&request).await {
        Ok(payment) => payment.client_secret().unwrap().expose().to_owned(),
        Err(_) => "pi_1_secret_test".to_owned(),
    };
    for _ in 0..times {
        let found = checkout.retrieve_intent("pi_1", &secret).await.unwrap();
        assert_eq!(found.unwrap().amount_received(), PRICE);
    }
}

fn webhook(stripe: &Stripe) -> Event {
    let paid = stripe
        .0
        .lock()
        .unwrap()
        .clone()
        .unwrap()
        .status("succeeded");
    let event = EventBody::new("payment_intent.succeeded", paid.object());
    Event::parse(event.body()).unwrap()
}

#[tokio::test]
async fn who_is_back_first_settles_the_payment_and_the_webhook_is_old_news() {
    let folder = tempfile::tempdir().unwrap();
    let (stripe, ship) = (Stripe::default(), Ship::default());
    let shop = checkout(sqlite(folder.path()).await, &stripe, &ship);
    comes_back(&shop, 3).await;
    assert_eq!(ship.shipped.load(Ordering::SeqCst), 1);
    let received = shop.receive(webhook(&stripe)).await.unwrap();
    assert!(matches!(received, Received::Done(state) if state.as_str() == "superseded"));
    // Another process, later: a buyer reloads the page.
    let shop = checkout(sqlite(folder.path()).await, &stripe, &ship);
    comes_back(&shop, 1).await;
    assert_eq!(ship.tried.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_page_that_is_reloaded_burns_no_attempts_of_a_handler_that_fails() {
    let folder = tempfile::tempdir().unwrap();
    let (stripe, ship) = (Stripe::default(), Ship::default());
    ship.fails.store(true, Ordering::SeqCst);
    let shop = checkout(sqlite(folder.path()).await, &stripe, &ship);
    // Each failure doubles the longest pause. So the next attempt is not due at once, long before
    // the last of these calls.
    comes_back(&shop, 200).await;
    let tried = ship.tried.load(Ordering::SeqCst);
    assert!((1..15).contains(&tried), "{tried} attempts");
    ship.fails.store(false, Ordering::SeqCst);
    let event = shop.events(EventFilter::default()).await.unwrap().remove(0);
    assert_eq!(event.attempts, tried);
    // Stripe's own delivery does not have to wait.
    shop.receive(webhook(&stripe)).await.unwrap();
    assert_eq!(ship.shipped.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn an_inbox_that_forgets_ships_nothing_for_a_page() {
    let (stripe, ship) = (Stripe::default(), Ship::default());
    let shop = checkout(MemoryInbox::new(), &stripe, &ship);
    comes_back(&shop, 2).await;
    assert_eq!(ship.tried.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_page_that_is_reloaded_burns_no_attempts_of_a_refund_hook_that_fails() {
    let folder = tempfile::tempdir().unwrap();
    let (stripe, ship) = (Stripe::default(), Ship::default());
    let shop = checkout(sqlite(folder.path()).await, &stripe, &ship);
    comes_back(&shop, 1).await;
    assert_eq!(ship.shipped.load(Ordering::SeqCst), 1);
    let part = refund("re_1", "pi_1", Amount::new(500, Currency::EUR));
    let event = Event::parse(EventBody::new("refund.created", part).body()).unwrap();
    assert!(matches!(
        shop.receive(event).await.unwrap(),
        Received::Failed
    ));
    comes_back(&shop, 30).await;
    let tried = ship.refunds.load(Ordering::SeqCst);
    let events = shop.events(EventFilter::default()).await.unwrap();
    let refund = events
        .iter()
        .find(|event| event.event_type == "refund.created")
        .unwrap();
    assert!(
        tried < 15,
        "{tried} attempts by reloading a page, and now it is {:?}",
        refund.state
    );
}

#[tokio::test]
async fn who_asks_for_a_payment_that_is_unknown_or_has_no_secret_costs_no_call_to_stripe() {
    let folder = tempfile::tempdir().unwrap();
    let (stripe, ship) = (Asked::default(), Ship::default());
    let shop = checkout(sqlite(folder.path()).await, &stripe, &ship);
    let request = PaymentRequest::new("order-1", PRICE);
    let made = shop.create_intent(&request).await.unwrap();
    let secret = made.client_secret().unwrap().expose();
    stripe.seen();
    for (payment, secret) in [
        ("pi_2", secret),
        ("pi_1", "pi_1_secret_guessed"),
        ("pi_1", ""),
    ] {
        let found = shop.retrieve_intent(payment, secret).await.unwrap();
        assert!(found.is_none());
        assert_eq!(stripe.seen(), [], "{payment} {secret}");
    }
    assert!(
        shop.retrieve_intent("pi_1", secret)
            .await
            .unwrap()
            .is_some()
    );
    let (path, account) = stripe.seen().remove(0);
    // The charge is included: it contains the refunds.
    assert!(path.starts_with("/payment_intents/pi_1?expand"), "{path}");
    assert_eq!(account, None);
}

#[tokio::test]
async fn the_account_of_a_payment_is_the_one_of_its_order() {
    let folder = tempfile::tempdir().unwrap();
    let (stripe, ship) = (Asked::default(), Ship::default());
    let inbox = sqlite(folder.path()).await;
    let made = PaymentIntent::new("pi_1", PRICE).metadata("order_id", "theirs");
    *stripe.stripe.0.lock().unwrap() = Some(made);
    let order = OrderKey {
        scope: Scope {
            application: "tea".into(),
            mode: Mode::Test,
        },
        account: Some("acct_1".into()),
        reference: "theirs".into(),
    };
    let row = IntentRecord {
        version: 0,
        attempt: 1,
        fingerprint: String::new(),
        request: stripe_checkout_core::fulfillment::RequestState::Sent,
        asked: PRICE,
        payment: Some("pi_1".into()),
        secret_hash: None,
        state: IntentState::Open,
        paid_by: None,
        declines: 0,
        capture: None,
    };
    assert!(inbox.put_intent(&order, None, row).await.unwrap());
    let shop = checkout(inbox, &stripe, &ship);
    let found = shop.retrieve_intent("pi_1", "pi_1_secret_test").await;
    assert_eq!(found.unwrap().unwrap().account(), Some("acct_1"));
    assert_eq!(stripe.seen().remove(0).1.as_deref(), Some("acct_1"));
    assert_eq!(ship.shipped.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_page_that_is_reloaded_burns_no_attempts_of_a_webhook_that_fails() {
    let folder = tempfile::tempdir().unwrap();
    let (stripe, ship) = (Stripe::default(), Ship::default());
    let shop = checkout(sqlite(folder.path()).await, &stripe, &ship);
    let request = PaymentRequest::new("order-1", PRICE);
    let made = shop.create_intent(&request).await.unwrap();
    let secret = made.client_secret().unwrap().expose();
    ship.fails.store(true, Ordering::SeqCst);
    let event = webhook(&stripe);
    // Fails until the next attempt is not due for long. The pause is random, so this takes some
    // attempts.
    let stored = loop {
        shop.receive(event.clone()).await.unwrap();
        let stored = shop.events(EventFilter::default()).await.unwrap().remove(0);
        assert!(stored.last_error.is_some());
        if stored.due > SystemTime::now() + Duration::from_secs(30) {
            break stored;
        }
    };
    let tried = ship.tried.load(Ordering::SeqCst);
    for _ in 0..20 {
        shop.retrieve_intent("pi_1", secret).await.unwrap().unwrap();
    }
    assert_eq!(ship.tried.load(Ordering::SeqCst), tried);
    let events = shop.events(EventFilter::default()).await.unwrap();
    assert_eq!(events.len(), 1, "{events:?}");
    assert_eq!(events[0].attempts, stored.attempts);
    assert_eq!(events[0].due, stored.due);
}

/// A Stripe that never answers.
#[derive(Clone, Default)]
struct Slow(Arc<AtomicU32>);

impl Transport for Slow {
    async fn send(&self, _: &TransportRequest) -> Result<TransportResponse, TransportError> {
        self.0.fetch_add(1, Ordering::SeqCst);
        std::future::pending().await
    }
}

/// After a restart, an inbox that forgets does not know which orders are paid, so it asks Stripe.
/// Guesses must not use up the shop's rate limit.
#[tokio::test]
async fn an_inbox_that_forgets_asks_for_what_it_does_not_know_and_for_few_at_a_time() {
    let (stripe, ship) = (Slow::default(), Ship::default());
    let shop = checkout(MemoryInbox::new(), &stripe, &ship);
    let mut waiting = tokio::task::JoinSet::new();
    for n in 0..4 {
        let shop = shop.clone();
        waiting.spawn(async move { shop.retrieve_intent(&format!("pi_{n}"), "x").await });
    }
    while stripe.0.load(Ordering::SeqCst) < 4 {
        tokio::task::yield_now().await;
    }
    let refused = shop.retrieve_intent("pi_4", "x").await.unwrap_err();
    assert!(
        matches!(refused, PaymentError::Api(ApiError::TooManyCalls { .. })),
        "{refused:?}"
    );
    assert_eq!(stripe.0.load(Ordering::SeqCst), 4);
}

/// Only confirmations by Stripe itself show that the secret is wrong: anyone can post a bad
/// webhook.
#[tokio::test]
async fn payments_without_webhooks_are_an_alert_and_refused_webhooks_alone_are_none() {
    let folder = tempfile::tempdir().unwrap();
    let (stripe, ship) = (Stripe::default(), Ship::default());
    let shop = checkout(sqlite(folder.path()).await, &stripe, &ship);
    let bad = || {
        let wrong = WebhookSecret::new("whsec_of_another_endpoint").unwrap();
        let body = br#"{"id":"evt_1","object":"event","type":"a"}"#;
        let header = sign(body, &wrong, now());
        let body = Body::whole(body, shop.body_limit());
        assert!(shop.verify(body, [header.as_bytes()]).is_err());
    };
    for _ in 0..100 {
        bad();
    }
    assert_eq!(shop.alerts(HOUR).await.unwrap(), []);

    comes_back(&shop, 1).await;
    assert_eq!(
        shop.alerts(HOUR).await.unwrap(),
        [],
        "its webhook may be on its way"
    );
    later(HOUR).await;
    let told = shop.alerts(HOUR).await.unwrap();
    assert_eq!(told, [Alert::NoWebhooks { payments: 1 }]);
}

#[tokio::test]
async fn a_webhook_that_another_process_accepted_is_none_that_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let (stripe, ship) = (Stripe::default(), Ship::default());
    let shop = checkout(sqlite(folder.path()).await, &stripe, &ship);
    comes_back(&shop, 1).await;
    later(HOUR).await;
    // The minutes between another process's note of a webhook and the find.
    for (minutes, is_missing) in [(120, true), (61, true), (58, false), (0, false)] {
        let (database, note) = (folder.path().to_owned(), now() - minutes * 60);
        std::thread::spawn(move || note_webhook(&database, note))
            .join()
            .unwrap();
        let expected = match is_missing {
            true => vec![Alert::NoWebhooks { payments: 1 }],
            false => vec![],
        };
        assert_eq!(
            shop.alerts(HOUR).await.unwrap(),
            expected,
            "{minutes} minutes"
        );
    }
}

/// Notes an accepted webhook at this time, like another process whose clock did not move.
fn note_webhook(folder: &Path, at: i64) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let (inbox, scope, at) = (sqlite(folder).await, scope(), at.to_string());
        let before = inbox.bookmark(&scope, NOTE).await.unwrap();
        let noted = inbox.put_bookmark(&scope, NOTE, before.as_deref(), &at);
        assert!(noted.await.unwrap());
    });
}

fn scope() -> Scope {
    Scope {
        application: "tea".to_owned(),
        mode: Mode::Test,
    }
}

#[tokio::test]
async fn a_process_notes_the_time_of_its_webhooks() {
    let folder = tempfile::tempdir().unwrap();
    let (stripe, ship) = (Stripe::default(), Ship::default());
    let inbox = sqlite(folder.path()).await;
    let shop = checkout(inbox.clone(), &stripe, &ship);
    let began = now();
    let product = serde_json::json!({"object": "product"});
    let product = EventBody::new("product.created", product).body();
    shop.receive(Event::parse(product).unwrap()).await.unwrap();
    shop.drain().await;
    let noted = inbox.bookmark(&scope(), NOTE).await.unwrap().unwrap();
    let noted: i64 = noted.parse().unwrap();
    assert!((began..=now()).contains(&noted), "{noted}");
}

/// The bookmark with the time of the last accepted webhook.
const NOTE: &str = "webhook_accepted";
const HOUR: Duration = Duration::from_secs(60 * 60);

/// Moves the clock of the timers.
async fn later(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}
