//! The operator's alerts, after real deliveries.

#[path = "support/log_interest.rs"]
mod log_interest;

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use stripe_checkout_core::fulfillment::{Due, FulfillmentHandler, MemoryInbox, Received};
use stripe_checkout_core::testing::{EventBody, PaymentIntent, now, refund, sign};
use stripe_checkout_core::webhook::Payment;
use stripe_checkout_core::{
    Alert, Amount, Body, BoxError, Call, Checkout, Config, Currency, Group, InboxError, Reply,
    WebhookSecret,
};

const PRICE: Amount = Amount::new(1999, Currency::EUR);
const HOUR: Duration = Duration::from_secs(3600);

struct Ship;

impl<C: Send> FulfillmentHandler<C> for Ship {
    async fn payment_succeeded(&self, payment: &Payment, _: &mut C) -> Result<(), BoxError> {
        match payment.id() {
            "pi_fails" => Err("the printer is out of paper".into()),
            _ => Ok(()),
        }
    }

    async fn amount_due(&self, _: &Payment, _: &mut C) -> Result<Due, BoxError> {
        Ok(Due::Exactly(PRICE))
    }
}

fn secret() -> WebhookSecret {
    WebhookSecret::new("whsec_of_this_test").unwrap()
}

fn shop(attempts: u32) -> Checkout {
    log_interest::log_interest();
    Checkout::builder(Config::new([secret()]).unwrap())
        .application("tea")
        .max_attempts(attempts)
        .fulfillment(MemoryInbox::new(), Ship)
        .build()
        .unwrap()
}

/// Sends one delivery that Stripe sent this number of seconds ago, by this machine's clock.
async fn send(shop: &Checkout, event: EventBody, ago: i64) -> u16 {
    let body = event.body();
    let header = sign(&body, &secret(), now() - ago);
    post(shop, &body, &header).await
}

async fn post(shop: &Checkout, body: &[u8], header: &str) -> u16 {
    let webhook = &shop.only(Group::Webhook).endpoints()[0].clone();
    let call = Call::new(webhook)
        .header("Stripe-Signature", header.as_bytes())
        .body(Body::whole(body, webhook.body_limit()));
    shop.handle(call).await.status()
}

fn paid(payment: &str, order: &str, amount: Amount) -> EventBody {
    let intent = PaymentIntent::new(payment, amount).metadata("order_id", order);
    EventBody::new(
        "payment_intent.succeeded",
        intent.status("succeeded").object(),
    )
}

fn harmless() -> EventBody {
    EventBody::new("product.created", serde_json::json!({"object": "product"}))
}

async fn alerts(shop: &Checkout) -> Vec<Alert> {
    shop.alerts(Duration::ZERO).await.unwrap()
}

#[tokio::test]
async fn a_good_day_gives_no_alert() {
    let shop = shop(20);
    assert_eq!(alerts(&shop).await, []);
    send(&shop, paid("pi_1", "1", PRICE), 0).await;
    assert_eq!(alerts(&shop).await, []);
}

#[tokio::test]
async fn who_paid_and_got_nothing_is_told_after_the_time_that_was_given() {
    let shop = shop(20);
    send(&shop, paid("pi_fails", "1", PRICE), 0).await;
    assert_eq!(shop.alerts(HOUR).await.unwrap(), []);
    let told = alerts(&shop).await;
    assert!(
        matches!(told[..], [Alert::Unfulfilled { payments: 1, oldest, .. }] if oldest < HOUR),
        "{told:?}"
    );
}

#[tokio::test]
async fn dead_letters_mismatches_and_second_payments_are_told_until_they_are_dealt_with() {
    let shop = shop(1);
    send(&shop, paid("pi_fails", "1", PRICE), 0).await;
    let told = shop.alerts(HOUR).await.unwrap();
    assert_eq!(told, [Alert::DeadLetters { events: 1 }]);

    let cheap = Amount::new(1, Currency::EUR);
    send(&shop, paid("pi_2", "2", cheap), 0).await;
    send(&shop, paid("pi_3", "3", PRICE), 0).await;
    send(&shop, paid("pi_4", "3", PRICE), 0).await;
    let told = shop.alerts(HOUR).await.unwrap();
    let all = [
        Alert::DeadLetters { events: 1 },
        Alert::Mismatches { events: 1 },
        Alert::DuplicatePayments { payments: 1 },
    ];
    assert_eq!(told, all);
    assert_eq!(
        alerts(&shop).await.len(),
        4,
        "a dead success is unfulfilled too"
    );

    let back = refund("re_1", "pi_4", PRICE);
    send(&shop, EventBody::new("refund.created", back), 0).await;
    for event in shop.events(Default::default()).await.unwrap() {
        if ["dead", "mismatch"].contains(&event.state.as_str()) {
            shop.discard(&event).await.unwrap();
        }
    }
    assert_eq!(alerts(&shop).await, []);
}

fn skew(alerts: &[Alert]) -> Option<i64> {
    alerts.iter().find_map(|alert| match alert {
        Alert::ClockSkew { ahead_seconds } => Some(*ahead_seconds),
        _ => None,
    })
}

#[tokio::test]
async fn a_clock_that_is_ahead_is_measured_by_what_it_refuses() {
    let shop = shop(20);
    assert_eq!(shop.clock_skew(), None);
    assert_eq!(send(&shop, harmless(), 1000).await, 400);
    // A second may pass between signing and reading.
    assert!((1000..1060).contains(&shop.clock_skew().unwrap()));
    assert!((1000..1060).contains(&skew(&alerts(&shop).await).unwrap()));
}

#[tokio::test]
async fn an_old_delivery_beside_new_ones_is_no_wrong_clock() {
    let shop = shop(20);
    assert_eq!(send(&shop, harmless(), 1000).await, 400);
    assert_eq!(send(&shop, harmless(), 0).await, 200);
    assert_eq!(send(&shop, harmless(), 1000).await, 400);
    assert!((0..60).contains(&shop.clock_skew().unwrap()));
    assert_eq!(alerts(&shop).await, []);
}

#[tokio::test]
async fn a_clock_that_is_behind_refuses_nothing_and_is_told() {
    let shop = shop(20);
    assert_eq!(send(&shop, harmless(), -1000).await, 200);
    assert!((-1000..-940).contains(&shop.clock_skew().unwrap()));
    assert!(skew(&alerts(&shop).await).unwrap() < -900);
}

#[tokio::test]
async fn what_is_not_genuine_says_nothing_of_the_clock() {
    let shop = shop(20);
    let body = harmless().body();
    let other = WebhookSecret::new("whsec_of_somebody_else").unwrap();
    let header = sign(&body, &other, now() - 1000);
    assert_eq!(post(&shop, &body, &header).await, 400);
    assert_eq!(post(&shop, &body, "t=1,v1=00").await, 400);
    assert_eq!(shop.clock_skew(), None);
}

/// A genuine delivery shows the time, even if it is not an event.
#[tokio::test]
async fn what_is_no_event_tells_the_time_too() {
    let shop = shop(20);
    let header = sign(b"{}", &secret(), now());
    assert_eq!(post(&shop, b"{}", &header).await, 400);
    assert!((0..60).contains(&shop.clock_skew().unwrap()));
}

#[derive(Clone, Default)]
struct Said(Arc<Mutex<Vec<u8>>>);

impl io::Write for Said {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Said {
    /// Returns how many lines of this level contain this text.
    fn count(&self, level: &str, text: &str) -> usize {
        let said = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        said.lines()
            .filter(|line| line.contains(level) && line.contains(text))
            .count()
    }
}

/// Collects all log lines of this thread while the guard lives.
fn listen() -> (Said, tracing::subscriber::DefaultGuard) {
    let said = Said::default();
    let writer = said.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    (said, tracing::subscriber::set_default(subscriber))
}

#[tokio::test]
async fn a_wrong_clock_is_said_loudly_and_not_for_each_webhook() {
    let (said, _listening) = listen();
    let shop = shop(20);
    for _ in 0..5 {
        assert_eq!(send(&shop, harmless(), 1000).await, 400);
    }
    assert_eq!(said.count("WARN", "refused"), 0);
    assert_eq!(said.count("ERROR", "GENUINE webhook was refused"), 1);
    assert_eq!(said.count("ERROR", "clock is 16 min ahead of Stripe's"), 1);
}

#[tokio::test]
async fn an_old_delivery_is_said_to_be_one() {
    let (said, _listening) = listen();
    let shop = shop(20);
    send(&shop, harmless(), 0).await;
    for _ in 0..5 {
        assert_eq!(send(&shop, harmless(), 1000).await, 400);
    }
    assert_eq!(said.count("WARN", "an old delivery was sent again"), 1);
    assert_eq!(said.count("ERROR", ""), 0);
}

#[tokio::test]
async fn a_clock_that_is_behind_is_said_too() {
    let (said, _listening) = listen();
    let shop = shop(20);
    for _ in 0..5 {
        send(&shop, harmless(), -1000).await;
    }
    assert_eq!(said.count("ERROR", "min behind Stripe's"), 1);
}

/// Anyone can post a bad webhook: it neither fills the log nor raises an alert.
#[tokio::test]
async fn refused_webhooks_are_said_once_a_minute_for_each_class_and_are_no_alert() {
    let (said, _listening) = listen();
    let shop = shop(20);
    let body = harmless().body();
    let wrong = WebhookSecret::new("whsec_of_a_stranger").unwrap();
    let wrong = sign(&body, &wrong, now());
    let webhook = shop.only(Group::Webhook).endpoints()[0].clone();
    for _ in 0..50 {
        let bare = Call::new(&webhook).body(Body::whole(&body, webhook.body_limit()));
        assert_eq!(shop.handle(bare).await.status(), 400);
        assert_eq!(post(&shop, &body, "nonsense").await, 400);
        assert_eq!(post(&shop, &body, "t=1").await, 400);
        assert_eq!(post(&shop, &body, &wrong).await, 400);
    }
    for class in [
        "without a signature header",
        "malformed",
        "with a wrong signature",
    ] {
        assert_eq!(said.count("WARN", class), 1, "{class}");
    }
    assert_eq!(said.count("", "refused"), 3);
    assert_eq!(said.count("ERROR", ""), 0);
    assert_eq!(shop.alerts(Duration::ZERO).await.unwrap(), []);
}

#[test]
fn a_busy_inbox_is_an_answer_and_a_full_one_is_an_error() {
    let (said, _listening) = listen();
    let answer = |error| Reply::from(Err::<Received, _>(error)).status();
    assert_eq!(answer(InboxError::Busy), 503);
    assert_eq!(said.count("", "not taken in"), 0);
    assert_eq!(answer(InboxError::Full { capacity: 1 }), 503);
    assert_eq!(said.count("ERROR", "not taken in"), 1);
}
