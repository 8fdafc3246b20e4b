//! The webhook's promises about fulfilment, with the inbox in memory. The tests send signed bytes
//! to `Checkout::handle`, and check the calls of the merchant's hooks. The promises of every inbox
//! are in `inbox.rs`.

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use stripe_checkout_core::fulfillment::{
    Due, EventFilter, EventRecord, EventState, FulfillmentHandler, InboxExt as _, IntentRecord,
    IntentState, MemoryInbox, OrderKey, PaymentEvent, Scope,
};
use stripe_checkout_core::testing::{
    EventBody, PaymentIntent, charge_refunded, dispute, now, refund, sign,
};
use stripe_checkout_core::webhook::Payment;
use stripe_checkout_core::{
    Amount, Body, BoxError, Call, Checkout, CheckoutBuilder, Config, Currency, Endpoint, Group,
    Mode, Ownership, PublishableKey, Reply, SecretKey, WebhookSecret,
};
use tokio::sync::Semaphore;

const PRICE: Amount = Amount::new(1999, Currency::EUR);

fn secret() -> WebhookSecret {
    WebhookSecret::new("whsec_of_this_test").unwrap()
}

/// The calls of the hooks, and the behaviour of `payment_succeeded`.
#[derive(Clone)]
struct Seen {
    hooks: Arc<Mutex<Vec<String>>>,
    behave: Arc<Mutex<Behave>>,
    due: Arc<Mutex<Due>>,
    /// A hook that hangs waits for one of these.
    release: Arc<Semaphore>,
    started: Arc<Semaphore>,
}

#[derive(Clone, Copy, PartialEq)]
enum Behave {
    Well,
    Fail,
    /// All hooks fail except the success.
    FailOnEvents,
    Hang,
}

impl Seen {
    fn new() -> Self {
        Self {
            hooks: Arc::default(),
            behave: Arc::new(Mutex::new(Behave::Well)),
            due: Arc::new(Mutex::new(Due::Exactly(PRICE))),
            release: Arc::new(Semaphore::new(0)),
            started: Arc::new(Semaphore::new(0)),
        }
    }

    fn behave(&self, how: Behave) {
        *self.behave.lock().unwrap() = how;
    }

    fn saw(&self, what: impl Into<String>) -> Result<(), BoxError> {
        self.hooks.lock().unwrap().push(what.into());
        Ok(())
    }

    fn hooks(&self) -> Vec<String> {
        self.hooks.lock().unwrap().clone()
    }
}

impl<C: Send> FulfillmentHandler<C> for Seen {
    async fn payment_succeeded(&self, payment: &Payment, _: &mut C) -> Result<(), BoxError> {
        let behave = *self.behave.lock().unwrap();
        self.started.add_permits(1);
        match behave {
            Behave::Well | Behave::FailOnEvents => {}
            Behave::Fail => return Err("the printer is out of paper".into()),
            Behave::Hang => self.release.acquire().await?.forget(),
        }
        self.saw(format!("succeeded {}", payment.id()))
    }

    async fn amount_due(&self, _: &Payment, _: &mut C) -> Result<Due, BoxError> {
        Ok(*self.due.lock().unwrap())
    }

    async fn on_event(&self, event: &PaymentEvent<'_>, _: &mut C) -> Result<(), BoxError> {
        if *self.behave.lock().unwrap() == Behave::FailOnEvents {
            return Err("the printer is out of paper".into());
        }
        match event {
            PaymentEvent::PaymentProcessing { payment, .. } => {
                self.saw(format!("processing {}", payment.id()))
            }
            PaymentEvent::PaymentFailed {
                payment, failure, ..
            } => self.saw(format!(
                "failed {} {}",
                payment.id(),
                failure.decline_code().unwrap_or("-")
            )),
            PaymentEvent::PaymentCanceled { payment, .. } => {
                self.saw(format!("canceled {}", payment.id()))
            }
            PaymentEvent::RequiresAction { payment, .. } => {
                self.saw(format!("requires_action {}", payment.id()))
            }
            PaymentEvent::RequiresCapture { payment, .. } => {
                self.saw(format!("capture {}", payment.id()))
            }
            PaymentEvent::DuplicatePayment { payment, .. } => {
                self.saw(format!("duplicate {}", payment.id()))
            }
            PaymentEvent::Mismatch {
                payment, mismatch, ..
            } => self.saw(format!("mismatch {}: {mismatch}", payment.id())),
            PaymentEvent::RefundSucceeded { refund, .. } => {
                self.saw(format!("refunded {}", refund.id()))
            }
            PaymentEvent::RefundedBeforeFulfillment { payment, .. } => {
                self.saw(format!("refunded before {}", payment.id()))
            }
            PaymentEvent::DisputeCreated { dispute, .. } => {
                self.saw(format!("dispute opened {}", dispute.id()))
            }
            PaymentEvent::Other { event, .. } => self.saw(format!("event {}", event.event_type())),
            _ => Ok(()),
        }
    }
}

struct Shop {
    checkout: Checkout,
    seen: Seen,
    webhook: Endpoint,
}

impl Shop {
    fn new() -> Self {
        Self::with(MemoryInbox::new(), None, Ownership::AllPayments)
    }

    /// Makes a shop with this limit of attempts per event.
    fn attempts(attempts: u32) -> Self {
        Self::built(MemoryInbox::new(), None, |builder| {
            builder
                .ownership(Ownership::AllPayments)
                .max_attempts(attempts)
        })
    }

    fn with(inbox: MemoryInbox, keys: Option<(&str, &str)>, ours: Ownership) -> Self {
        Self::built(inbox, keys, |builder| builder.ownership(ours))
    }

    fn built(
        inbox: MemoryInbox,
        keys: Option<(&str, &str)>,
        more: impl FnOnce(CheckoutBuilder) -> CheckoutBuilder,
    ) -> Self {
        let mut config = Config::new([secret()]).unwrap();
        if let Some((secret_key, publishable)) = keys {
            let secret_key = SecretKey::new(secret_key).unwrap();
            config = config
                .with_keys(secret_key, PublishableKey::new(publishable).unwrap())
                .unwrap();
        }
        let seen = Seen::new();
        let builder = Checkout::builder(config)
            .application("tea")
            .fulfillment(inbox, seen.clone());
        let checkout = more(builder).build().unwrap();
        let webhook = checkout.only(Group::Webhook).endpoints()[0].clone();
        Self {
            checkout,
            seen,
            webhook,
        }
    }

    async fn send(&self, event: EventBody) -> Reply {
        self.deliver(event.body()).await
    }

    /// Delivers the body once, with a new signature, as Stripe does.
    async fn deliver(&self, body: Vec<u8>) -> Reply {
        let header = sign(&body, &secret(), now());
        let call = Call::new(&self.webhook)
            .header("Stripe-Signature", header.as_bytes())
            .body(Body::whole(&body, self.webhook.body_limit()));
        self.checkout.handle(call).await
    }

    async fn state(&self, id: &str) -> EventState {
        let events = self.checkout.events(EventFilter::default()).await.unwrap();
        events
            .into_iter()
            .find(|event| event.id == id)
            .unwrap()
            .state
    }
}

fn intent(id: &str, status: &str) -> PaymentIntent {
    PaymentIntent::new(id, PRICE)
        .metadata("order_id", "order-1")
        .status(status)
}

fn succeeded(event: &str, payment: &str) -> EventBody {
    EventBody::new(
        "payment_intent.succeeded",
        intent(payment, "succeeded").object(),
    )
    .id(event)
}

#[tokio::test]
async fn a_paid_order_is_fulfilled_once_however_often_it_is_delivered() {
    let shop = Shop::new();
    let first = shop.send(succeeded("evt_1", "pi_1")).await;
    assert_eq!(
        (first.status(), &first.body()[..]),
        (200, &br#"{"status":"done"}"#[..])
    );
    for _ in 0..3 {
        assert_eq!(shop.send(succeeded("evt_1", "pi_1")).await.status(), 200);
    }
    assert_eq!(shop.seen.hooks(), ["succeeded pi_1"]);
}

#[tokio::test]
async fn two_event_objects_of_one_success_are_one_success() {
    let shop = Shop::new();
    shop.send(succeeded("evt_1", "pi_1")).await;
    let second = shop.send(succeeded("evt_2", "pi_1")).await;
    assert_eq!(
        (second.status(), &second.body()[..]),
        (200, &br#"{"status":"superseded"}"#[..])
    );
    assert_eq!(shop.seen.hooks(), ["succeeded pi_1"]);
}

#[tokio::test]
async fn a_failing_handler_is_run_again_and_then_the_order_is_fulfilled() {
    let shop = Shop::new();
    shop.seen.behave(Behave::Fail);
    for attempt in 1..=2 {
        assert_eq!(shop.send(succeeded("evt_1", "pi_1")).await.status(), 500);
        let event = &shop.checkout.events(EventFilter::default()).await.unwrap()[0];
        assert_eq!(
            (event.attempts, event.state),
            (attempt, EventState::Pending)
        );
        assert_eq!(
            event.last_error.as_deref(),
            Some("the printer is out of paper")
        );
    }
    shop.seen.behave(Behave::Well);
    assert_eq!(shop.send(succeeded("evt_1", "pi_1")).await.status(), 200);
    assert_eq!(shop.send(succeeded("evt_1", "pi_1")).await.status(), 200);
    assert_eq!(shop.seen.hooks(), ["succeeded pi_1"]);
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_hangs_counts_as_failed_at_its_deadline() {
    let shop = Shop::new();
    shop.seen.behave(Behave::Hang);
    assert_eq!(shop.send(succeeded("evt_1", "pi_1")).await.status(), 500);
    let event = &shop.checkout.events(EventFilter::default()).await.unwrap()[0];
    assert_eq!(
        event.last_error.as_deref(),
        Some("the handler did not end within 20 s")
    );
    assert_eq!(shop.state("evt_1").await, EventState::Pending);
}

#[tokio::test(start_paused = true)]
async fn while_an_event_is_worked_on_a_duplicate_waits_and_is_then_sent_away() {
    let shop = Arc::new(Shop::new());
    shop.seen.behave(Behave::Hang);
    let first = tokio::spawn({
        let shop = Arc::clone(&shop);
        async move { shop.send(succeeded("evt_1", "pi_1")).await.status() }
    });
    shop.seen.started.acquire().await.unwrap().forget();
    // In paused time the duplicate's patience runs out before the first one's deadline.
    let duplicate = shop.send(succeeded("evt_1", "pi_1")).await;
    assert_eq!(
        duplicate.status(),
        503,
        "an event in flight is not acknowledged"
    );
    assert!(duplicate.header("retry-after").is_some());
    shop.seen.release.add_permits(1);
    assert_eq!(first.await.unwrap(), 200);
    assert_eq!(shop.send(succeeded("evt_1", "pi_1")).await.status(), 200);
    assert_eq!(shop.seen.hooks(), ["succeeded pi_1"]);
}

#[tokio::test(start_paused = true)]
async fn a_duplicate_that_waited_long_enough_is_told_the_end() {
    let shop = Arc::new(Shop::new());
    shop.seen.behave(Behave::Hang);
    let send = |shop: &Arc<Shop>| {
        let shop = Arc::clone(shop);
        tokio::spawn(async move { shop.send(succeeded("evt_1", "pi_1")).await.status() })
    };
    let first = send(&shop);
    shop.seen.started.acquire().await.unwrap().forget();
    let duplicate = send(&shop);
    tokio::time::sleep(Duration::from_secs(1)).await;
    shop.seen.release.add_permits(1);
    assert_eq!((first.await.unwrap(), duplicate.await.unwrap()), (200, 200));
    assert_eq!(shop.seen.hooks(), ["succeeded pi_1"]);
}

#[tokio::test]
async fn after_its_last_attempt_an_event_is_a_dead_letter_that_can_be_replayed() {
    let shop = Shop::attempts(2);
    shop.seen.behave(Behave::Fail);
    for _ in 0..4 {
        assert_eq!(
            shop.send(succeeded("evt_1", "pi_1")).await.status(),
            500,
            "a dead letter stays loud"
        );
    }
    let dead = shop
        .checkout
        .events(EventFilter::default().state(EventState::Dead))
        .await
        .unwrap();
    assert_eq!(
        (dead.len(), dead[0].attempts),
        (1, 2),
        "a dead letter is not run by redeliveries"
    );
    shop.seen.behave(Behave::Well);
    shop.checkout.replay(&dead[0]).await.unwrap();
    assert_eq!(shop.seen.hooks(), ["succeeded pi_1"]);
    assert_eq!(shop.state("evt_1").await, EventState::Done);
    let again = shop.checkout.replay(&dead[0]).await.unwrap_err();
    assert_eq!(
        again.to_string(),
        "the event is done, so this cannot be done to it"
    );
}

#[tokio::test]
async fn a_discarded_success_lets_the_refund_go_on_and_never_ships() {
    let shop = Shop::attempts(1);
    shop.seen.behave(Behave::Fail);
    shop.send(succeeded("evt_1", "pi_1")).await;
    let dead = shop
        .checkout
        .events(EventFilter::default())
        .await
        .unwrap()
        .remove(0);
    shop.checkout.discard(&dead).await.unwrap();
    shop.seen.behave(Behave::Well);
    assert_eq!(shop.send(succeeded("evt_1", "pi_1")).await.status(), 200);
    assert_eq!(shop.send(succeeded("evt_2", "pi_1")).await.status(), 200);
    let back = EventBody::new("refund.created", refund("re_1", "pi_1", PRICE));
    assert_eq!(shop.send(back).await.status(), 200);
    assert_eq!(shop.seen.hooks(), ["refunded re_1"]);
}

#[tokio::test]
async fn a_partial_refund_that_overtakes_waits_for_its_success() {
    let shop = Shop::new();
    let part = Amount::new(500, Currency::EUR);
    let back = || EventBody::new("refund.created", refund("re_1", "pi_1", part)).id("evt_r");
    let early = shop.send(back()).await;
    assert_eq!(early.status(), 503, "not acknowledged: Stripe keeps it");
    assert!(shop.seen.hooks().is_empty());
    assert_eq!(shop.send(succeeded("evt_1", "pi_1")).await.status(), 200);
    assert_eq!(shop.seen.hooks(), ["succeeded pi_1", "refunded re_1"]);
    assert_eq!(shop.send(back()).await.status(), 200);
    assert_eq!(shop.seen.hooks().len(), 2);
}

#[tokio::test]
async fn a_refund_of_a_payment_from_before_this_inbox_does_not_wait_for_ever() {
    let back = |age: i64| {
        let part = Amount::new(500, Currency::EUR);
        let event = EventBody::new("refund.created", refund("re_1", "pi_1", part));
        event.id("evt_r").created(now() - age)
    };
    let shop = Shop::new();
    assert_eq!(
        shop.send(back(3500)).await.status(),
        503,
        "the success may be on its way"
    );
    let shop = Shop::new();
    assert_eq!(shop.send(back(3601)).await.status(), 200);
    assert_eq!(shop.seen.hooks(), ["refunded re_1"]);
    // But a refund never runs before a success that is known and fails.
    let shop = Shop::new();
    shop.seen.behave(Behave::Fail);
    shop.send(succeeded("evt_1", "pi_1")).await;
    assert_eq!(shop.send(back(9999)).await.status(), 503);
    shop.seen.behave(Behave::Well);
    shop.send(succeeded("evt_1", "pi_1")).await;
    assert_eq!(shop.seen.hooks(), ["succeeded pi_1", "refunded re_1"]);
}

#[tokio::test]
async fn what_was_refunded_in_full_or_disputed_meanwhile_is_not_shipped() {
    let overtaking = [
        (
            "refund.created",
            refund("re_1", "pi_1", PRICE),
            "refunded re_1",
        ),
        (
            "charge.refunded",
            charge_refunded("ch_1", "pi_1", PRICE, 1999),
            "event charge.refunded",
        ),
        (
            "charge.dispute.created",
            dispute("dp_1", "pi_1", PRICE, "needs_response"),
            "dispute opened dp_1",
        ),
    ];
    for (event_type, object, hook) in overtaking {
        let shop = Shop::new();
        shop.send(EventBody::new(event_type, object)).await;
        assert_eq!(shop.send(succeeded("evt_1", "pi_1")).await.status(), 200);
        let mut hooks = shop.seen.hooks();
        hooks.sort();
        let mut expected = [hook, "refunded before pi_1"];
        expected.sort();
        assert_eq!(hooks, expected, "{event_type}");
    }
}

#[tokio::test]
async fn a_refund_that_failed_and_a_dispute_that_was_won_do_not_stop_a_delivery() {
    let shop = Shop::new();
    let mut failed = refund("re_1", "pi_1", PRICE);
    failed["status"] = "failed".into();
    shop.send(EventBody::new("refund.failed", failed)).await;
    for status in ["needs_response", "won"] {
        shop.send(EventBody::new(
            "charge.dispute.updated",
            dispute("dp_1", "pi_1", PRICE, status),
        ))
        .await;
    }
    shop.send(succeeded("evt_1", "pi_1")).await;
    assert_eq!(shop.seen.hooks()[0], "succeeded pi_1");
}

#[tokio::test]
async fn late_news_is_superseded() {
    let shop = Shop::new();
    let tell = async |event_type: &str, payment: PaymentIntent| {
        let reply = shop
            .send(EventBody::new(event_type, payment.object()))
            .await;
        assert_eq!(reply.status(), 200, "{event_type}");
    };
    tell("payment_intent.processing", intent("pi_1", "processing")).await;
    tell(
        "payment_intent.payment_failed",
        intent("pi_1", "x").failed("card_declined", Some("lost_card")),
    )
    .await;
    tell("payment_intent.succeeded", intent("pi_1", "succeeded")).await;
    tell("payment_intent.processing", intent("pi_1", "processing")).await;
    tell(
        "payment_intent.payment_failed",
        intent("pi_1", "x").failed("card_declined", None),
    )
    .await;
    tell("payment_intent.canceled", intent("pi_1", "canceled")).await;
    assert_eq!(
        shop.seen.hooks(),
        ["processing pi_1", "failed pi_1 lost_card", "succeeded pi_1"]
    );
    // Authorised outranks processing and failed, and the handler receives it once.
    let other = |status| intent("pi_2", status).metadata("order_id", "order-2");
    let capturable = || other("requires_capture");
    tell("payment_intent.amount_capturable_updated", capturable()).await;
    tell("payment_intent.amount_capturable_updated", capturable()).await;
    tell("payment_intent.processing", other("processing")).await;
    tell("payment_intent.canceled", other("canceled")).await;
    tell("payment_intent.canceled", other("canceled")).await;
    tell("payment_intent.requires_action", other("requires_action")).await;
    assert_eq!(shop.seen.hooks()[3..], ["capture pi_2", "canceled pi_2"]);
}

#[tokio::test]
async fn a_second_paid_intent_of_an_order_is_a_duplicate_payment() {
    let shop = Shop::with(MemoryInbox::new(), None, Ownership::ByMetadata);
    let paid = |event: &str, payment: &str| {
        let object = marked(payment, "succeeded").object();
        EventBody::new("payment_intent.succeeded", object).id(event)
    };
    shop.send(paid("evt_1", "pi_1")).await;
    assert_eq!(shop.send(paid("evt_2", "pi_2")).await.status(), 200);
    assert_eq!(shop.send(paid("evt_3", "pi_2")).await.status(), 200);
    assert_eq!(shop.seen.hooks(), ["succeeded pi_1", "duplicate pi_2"]);
    let back = EventBody::new("refund.created", refund("re_2", "pi_2", PRICE));
    assert_eq!(shop.send(back).await.status(), 200);
    assert_eq!(shop.seen.hooks().last().unwrap(), "refunded re_2");
}

#[tokio::test]
async fn money_that_does_not_fit_is_never_fulfilled_and_can_be_replayed() {
    let shop = Shop::new();
    *shop.seen.due.lock().unwrap() = Due::Exactly(Amount::new(9999, Currency::EUR));
    assert_eq!(shop.send(succeeded("evt_1", "pi_1")).await.status(), 200);
    assert_eq!(
        shop.seen.hooks(),
        ["mismatch pi_1: the order costs 99.99 EUR, the payment is for 19.99 EUR"]
    );
    assert_eq!(shop.state("evt_1").await, EventState::Mismatch);
    let event = shop
        .checkout
        .events(EventFilter::default())
        .await
        .unwrap()
        .remove(0);
    *shop.seen.due.lock().unwrap() = Due::Exactly(PRICE);
    shop.checkout.replay(&event).await.unwrap();
    assert_eq!(shop.seen.hooks()[1..], ["succeeded pi_1"]);
}

#[tokio::test]
async fn an_amount_that_was_not_asked_for_is_a_mismatch() {
    let shop = Shop::with(MemoryInbox::new(), None, Ownership::ByMetadata);
    *shop.seen.due.lock().unwrap() = Due::AsAsked;
    let marked = |minor: &str, currency: &str| {
        intent("pi_1", "succeeded")
            .metadata("checkout_application", "tea")
            .metadata("checkout_amount", minor)
            .metadata("checkout_currency", currency)
    };
    for (event, minor, currency) in [("evt_1", "2999", "eur"), ("evt_2", "1999", "usd")] {
        let shop = Shop::with(MemoryInbox::new(), None, Ownership::ByMetadata);
        *shop.seen.due.lock().unwrap() = Due::AsAsked;
        shop.send(
            EventBody::new("payment_intent.succeeded", marked(minor, currency).object()).id(event),
        )
        .await;
        assert!(
            shop.seen.hooks()[0].starts_with("mismatch pi_1: the price asked was "),
            "{:?}",
            shop.seen.hooks()
        );
    }
    shop.send(EventBody::new(
        "payment_intent.succeeded",
        marked("1999", "eur").object(),
    ))
    .await;
    assert_eq!(shop.seen.hooks(), ["succeeded pi_1"]);
}

#[tokio::test]
async fn another_applications_payment_goes_to_the_hook_event() {
    let shop = Shop::with(MemoryInbox::new(), None, Ownership::ByMetadata);
    let theirs = intent("pi_1", "succeeded").metadata("checkout_application", "coffee");
    shop.send(EventBody::new("payment_intent.succeeded", theirs.object()))
        .await;
    shop.send(succeeded("evt_unmarked", "pi_2")).await;
    assert_eq!(
        shop.seen.hooks(),
        [
            "event payment_intent.succeeded",
            "event payment_intent.succeeded"
        ]
    );
    let by = Ownership::Custom(Arc::new(|payment| payment.id() == "pi_2"));
    let shop = Shop::with(MemoryInbox::new(), None, by);
    shop.send(succeeded("evt_1", "pi_1")).await;
    shop.send(succeeded("evt_2", "pi_2")).await;
    assert_eq!(
        shop.seen.hooks(),
        ["event payment_intent.succeeded", "succeeded pi_2"]
    );
}

#[tokio::test]
async fn another_applications_success_is_no_payment_that_waits_for_fulfilment() {
    let shop = Shop::with(MemoryInbox::new(), None, Ownership::ByMetadata);
    shop.seen.behave(Behave::FailOnEvents);
    let theirs = succeeded("evt_1", "pi_1");
    assert_eq!(shop.send(theirs).await.status(), 500);
    assert_eq!(shop.state("evt_1").await, EventState::Pending);
    assert_eq!(shop.checkout.stats().await.unwrap().unfulfilled, 0);
}

#[tokio::test]
async fn what_is_genuine_but_unknown_or_unreadable_is_taken_and_told_as_an_event() {
    let shop = Shop::new();
    let odd = EventBody::new(
        "payment_intent.succeeded",
        serde_json::json!({"id": "pi_1", "object": "payment_intent", "status": 7}),
    );
    let other = EventBody::new(
        "customer.created",
        serde_json::json!({"id": "cus_1", "object": "customer"}),
    );
    let thin = br#"{"id":"evt_thin","object":"v2.core.event","type":"v1.billing.meter.error_report_triggered","created":"2026-11-01T00:00:00.000Z","livemode":false,"related_object":{"id":"mtr_1","type":"billing.meter","url":"/v1/billing/meters/mtr_1"}}"#;
    assert_eq!(shop.send(odd).await.status(), 200);
    assert_eq!(shop.send(other).await.status(), 200);
    assert_eq!(shop.deliver(thin.to_vec()).await.status(), 200);
    assert_eq!(
        shop.seen.hooks(),
        [
            "event payment_intent.succeeded",
            "event customer.created",
            "event v1.billing.meter.error_report_triggered"
        ]
    );
}

#[tokio::test]
async fn modes_are_kept_apart() {
    let live = || {
        EventBody::new(
            "payment_intent.succeeded",
            intent("pi_1", "succeeded").livemode(true).object(),
        )
    };
    let test_shop = Shop::with(
        MemoryInbox::new(),
        Some(("sk_test_1", "pk_test_1")),
        Ownership::AllPayments,
    );
    assert_eq!(
        test_shop.send(live()).await.status(),
        500,
        "real money: Stripe must keep it"
    );
    assert!(test_shop.seen.hooks().is_empty());
    let live_shop = Shop::with(
        MemoryInbox::new().allow_live(),
        Some(("sk_live_1", "pk_live_1")),
        Ownership::AllPayments,
    );
    let reply = live_shop.send(succeeded("evt_1", "pi_1")).await;
    assert_eq!(
        (reply.status(), &reply.body()[..]),
        (200, &br#"{"status":"ignored"}"#[..])
    );
    assert!(live_shop.seen.hooks().is_empty());
    assert_eq!(live_shop.send(live()).await.status(), 200);
    assert_eq!(live_shop.seen.hooks(), ["succeeded pi_1"]);
}

#[tokio::test]
async fn memory_is_bounded_and_what_is_pending_is_never_forgotten() {
    let shop = Shop::with(MemoryInbox::new().capacity(3), None, Ownership::AllPayments);
    shop.seen.behave(Behave::Fail);
    for n in 0..2 {
        shop.send(succeeded(&format!("evt_{n}"), &format!("pi_{n}")))
            .await;
    }
    shop.seen.behave(Behave::Well);
    for n in 10..20 {
        let event =
            EventBody::new("customer.created", serde_json::json!({})).id(&format!("evt_{n}"));
        assert_eq!(shop.send(event).await.status(), 200);
    }
    let events = shop.checkout.events(EventFilter::default()).await.unwrap();
    assert_eq!(events.len(), 3);
    assert_eq!(shop.state("evt_0").await, EventState::Pending);
    shop.seen.behave(Behave::Fail);
    shop.send(succeeded("evt_2", "pi_2")).await;
    let full = shop.send(succeeded("evt_3", "pi_3")).await;
    assert_eq!(full.status(), 503, "no room: Stripe keeps it");
    shop.seen.behave(Behave::Well);
    assert_eq!(shop.send(succeeded("evt_0", "pi_0")).await.status(), 200);
    assert_eq!(shop.send(succeeded("evt_3", "pi_3")).await.status(), 200);
}

#[tokio::test]
async fn what_is_old_leaves_the_memory() {
    let shop = Shop::with(
        MemoryInbox::new().time_to_live(Duration::ZERO),
        None,
        Ownership::AllPayments,
    );
    for n in 0..5 {
        shop.send(
            EventBody::new("customer.created", serde_json::json!({})).id(&format!("evt_{n}")),
        )
        .await;
    }
    assert!(
        shop.checkout
            .events(EventFilter::default())
            .await
            .unwrap()
            .len()
            <= 1
    );
}

#[tokio::test]
async fn what_is_not_signed_is_refused_with_one_generic_answer() {
    let shop = Shop::new();
    let body = succeeded("evt_1", "pi_1").body();
    let good = sign(&body, &secret(), now());
    let old = sign(&body, &secret(), now() - 301);
    let other = sign(&body, &WebhookSecret::new("whsec_other").unwrap(), now());
    let call = |headers: &[&[u8]], body: &[u8]| {
        let call = Call::new(&shop.webhook).body(Body::whole(body, shop.webhook.body_limit()));
        headers
            .iter()
            .fold(call, |call, value| call.header("stripe-signature", value))
    };
    let mut changed = body.clone();
    changed[10] ^= 1;
    let not_an_event = b"{}".to_vec();
    let signed_nonsense = sign(&not_an_event, &secret(), now());
    let refused = [
        call(&[], &body),
        call(&[b""], &body),
        call(&[b"\xff\xfe"], &body),
        call(&[old.as_bytes()], &body),
        call(&[other.as_bytes()], &body),
        call(&[good.as_bytes(), good.as_bytes()], &body),
        call(&[good.as_bytes()], &changed),
        call(&[good.as_bytes()], b""),
        call(&[signed_nonsense.as_bytes()], &not_an_event),
    ];
    for (n, call) in refused.into_iter().enumerate() {
        let reply = shop.checkout.handle(call).await;
        assert_eq!(reply.status(), 400, "case {n}");
        assert_eq!(
            reply.body(),
            &br#"{"error":"The signature or the payload is not valid.","code":"invalid_webhook"}"#
                [..],
            "case {n}"
        );
    }
    assert!(shop.seen.hooks().is_empty());
    assert_eq!(
        shop.checkout
            .handle(call(&[good.as_bytes()], &body))
            .await
            .status(),
        200
    );
}

#[tokio::test]
async fn a_body_is_taken_up_to_the_limit_and_only_whole() {
    let shop = Shop::new();
    let limit = shop.webhook.body_limit();
    assert_eq!(limit, 1024 * 1024);
    let padded = |length: usize| {
        let mut body = succeeded("evt_1", "pi_1").body();
        body.resize(length, b' ');
        body
    };
    assert_eq!(shop.deliver(padded(limit)).await.status(), 200);
    let too_large = shop.deliver(padded(limit + 1)).await;
    assert_eq!(too_large.status(), 413);
    let body = padded(2000);
    let mut cut = Body::whole(&body, limit);
    cut.set_incomplete();
    let header = sign(&body, &secret(), now());
    let call = Call::new(&shop.webhook)
        .header("stripe-signature", header.as_bytes())
        .body(cut);
    assert_eq!(shop.checkout.handle(call).await.status(), 400);
}

#[test]
fn a_checkout_that_would_lose_money_is_not_built() {
    let config = || Config::new([secret()]).unwrap();
    let live = || {
        config()
            .with_keys(
                SecretKey::new("sk_live_1").unwrap(),
                PublishableKey::new("pk_live_1").unwrap(),
            )
            .unwrap()
    };
    let error = Checkout::builder(config()).build().unwrap_err();
    assert!(
        error.to_string().contains("a paid order would be lost"),
        "{error}"
    );
    let error = Checkout::builder(live())
        .fulfillment(MemoryInbox::new(), Seen::new())
        .build()
        .unwrap_err();
    assert!(
        error.to_string().contains("refused with live keys"),
        "{error}"
    );
    for path in [
        "webhook", "/", "/a/", "/{id}", "/a?b", "/<x>", "/a b", "//a", "/a//b", "/a/../b", "/./a",
    ] {
        let builder = Checkout::builder(config()).fulfillment(MemoryInbox::new(), Seen::new());
        let error = builder.webhook_path(path).build().unwrap_err();
        assert!(
            error.to_string().contains("must begin with '/'"),
            "{path}: {error}"
        );
    }
    let built = Checkout::builder(config())
        .fulfillment(MemoryInbox::new(), Arc::new(Seen::new()))
        .webhook_path("/api/stripe")
        .build()
        .unwrap();
    let paths: Vec<_> = built.endpoints().iter().map(Endpoint::path).collect();
    assert_eq!(
        paths,
        ["/api/stripe"],
        "without prices there is only the webhook"
    );
}

impl Shop {
    async fn record(&self, id: &str) -> EventRecord {
        let events = self.checkout.events(EventFilter::default()).await.unwrap();
        events.into_iter().find(|event| event.id == id).unwrap()
    }
}

fn marked(payment: &str, status: &str) -> PaymentIntent {
    intent(payment, status)
        .metadata("checkout_application", "tea")
        .metadata("checkout_amount", "1999")
        .metadata("checkout_currency", "eur")
}

fn tea() -> Scope {
    Scope {
        application: "tea".into(),
        mode: Mode::Test,
    }
}

fn order() -> OrderKey {
    OrderKey {
        scope: tea(),
        account: None,
        reference: "order-1".into(),
    }
}

fn row(payment: &str) -> IntentRecord {
    IntentRecord {
        version: 0,
        attempt: 1,
        fingerprint: String::new(),
        request: stripe_checkout_core::fulfillment::RequestState::Sent,
        asked: PRICE,
        payment: Some(payment.into()),
        secret_hash: None,
        state: IntentState::Open,
        paid_by: None,
        declines: 0,
        capture: None,
    }
}

#[tokio::test]
async fn an_event_that_failed_and_is_not_redelivered_can_be_run_by_an_operator() {
    let shop = Shop::new();
    shop.seen.behave(Behave::Fail);
    assert_eq!(shop.send(succeeded("evt_1", "pi_1")).await.status(), 500);
    shop.seen.behave(Behave::Well);
    // Stripe stopped its retries (test mode: after 3 tries). Only an operator can help.
    let event = shop.record("evt_1").await;
    shop.checkout.replay(&event).await.unwrap();
    assert_eq!(shop.seen.hooks(), ["succeeded pi_1"]);
}

#[tokio::test]
async fn a_replay_that_fails_can_be_replayed() {
    let shop = Shop::new();
    *shop.seen.due.lock().unwrap() = Due::Exactly(Amount::new(1, Currency::EUR));
    assert_eq!(shop.send(succeeded("evt_1", "pi_1")).await.status(), 200);
    *shop.seen.due.lock().unwrap() = Due::Exactly(PRICE);
    shop.seen.behave(Behave::Fail);
    let event = shop.record("evt_1").await;
    shop.checkout.replay(&event).await.unwrap();
    shop.seen.behave(Behave::Well);
    shop.checkout.replay(&event).await.unwrap();
    assert_eq!(shop.seen.hooks().last().unwrap(), "succeeded pi_1");
}

#[tokio::test]
async fn declined_payments_do_not_close_the_inbox_for_ever() {
    let inbox = MemoryInbox::new().capacity(3).time_to_live(Duration::ZERO);
    let shop = Shop::with(inbox, None, Ownership::AllPayments);
    for n in 0..3 {
        let declined =
            intent(&format!("pi_{n}"), "requires_payment_method").failed("card_declined", None);
        assert_eq!(
            shop.send(EventBody::new(
                "payment_intent.payment_failed",
                declined.object()
            ))
            .await
            .status(),
            200
        );
    }
    assert_eq!(shop.send(succeeded("evt_1", "pi_9")).await.status(), 200);
}

#[tokio::test]
async fn money_on_a_connected_account_does_not_pay_the_platforms_order() {
    let shop = Shop::with(MemoryInbox::new(), None, Ownership::ByMetadata);
    let event = EventBody::new(
        "payment_intent.succeeded",
        marked("pi_1", "succeeded").object(),
    )
    .account("acct_stranger");
    shop.send(event).await;
    assert!(
        !shop.seen.hooks().contains(&"succeeded pi_1".to_owned()),
        "{:?}",
        shop.seen.hooks()
    );
}

#[tokio::test]
async fn an_event_of_an_organisation_counts_for_the_account_that_its_context_names() {
    let rest = "x".repeat(82);
    let secret = format!("sk_test_51H8AbCdEfGhIjKlM{rest}");
    let publishable = format!("pk_test_51H8AbCdEfGhIjKlM{rest}");
    let keys = (secret.as_str(), publishable.as_str());
    let shop = Shop::with(MemoryInbox::new(), Some(keys), Ownership::AllPayments);
    for (payment, context) in [
        ("pi_1", "acct_1H8OfAnotherAccount"),
        ("pi_2", "acct_1H8AbCdEfGhIjKlM/acct_1H8OfAnotherAccount"),
        ("pi_3", "acct_1H8AbCdEfGhIjKlM"),
    ] {
        let event = succeeded(&format!("evt_{payment}"), payment);
        assert_eq!(
            shop.send(event.with("context", context)).await.status(),
            200
        );
    }
    let others = "event payment_intent.succeeded";
    assert_eq!(shop.seen.hooks(), [others, others, "succeeded pi_3"]);
}

#[tokio::test]
async fn an_event_of_an_organisation_that_may_be_about_the_own_account_is_not_acknowledged() {
    // Without keys, the checkout does not know its own account in the organisation.
    let shop = Shop::with(MemoryInbox::new(), None, Ownership::AllPayments);
    let event = succeeded("evt_1", "pi_1").with("context", "acct_1H8AbCdEfGhIjKlM");
    assert_eq!(shop.send(event).await.status(), 503);
    assert!(shop.seen.hooks().is_empty());
}

#[tokio::test]
async fn orders_are_bounded_too() {
    let inbox = MemoryInbox::new().capacity(5);
    let shop = Shop::with(inbox.clone(), None, Ownership::AllPayments);
    for n in 0..100 {
        let paid = PaymentIntent::new(&format!("pi_{n}"), PRICE)
            .metadata("order_id", &format!("order-{n}"))
            .status("succeeded");
        assert_eq!(
            shop.send(EventBody::new("payment_intent.succeeded", paid.object()))
                .await
                .status(),
            200
        );
    }
    let mut kept = 0;
    for n in 0..100 {
        let key = OrderKey {
            reference: format!("order-{n}"),
            ..OrderKey {
                scope: Scope {
                    application: "tea".into(),
                    mode: Mode::Test,
                },
                account: None,
                reference: String::new(),
            }
        };
        kept += usize::from(inbox.intent(&key).await.unwrap().is_some());
    }
    assert!(kept <= 6, "{kept} of 100 are kept, the capacity is 5");
}

#[tokio::test]
async fn an_unreadable_success_is_not_simply_done() {
    let shop = Shop::with(MemoryInbox::new(), None, Ownership::ByMetadata);
    let odd = marked("pi_1", "succeeded").with("amount_received", serde_json::json!("1999"));
    let reply = shop
        .send(EventBody::new("payment_intent.succeeded", odd.object()).id("evt_1"))
        .await;
    let record = shop.record("evt_1").await;
    assert!(
        record.state != EventState::Done && !record.body.is_empty(),
        "{} {:?}, body of {} bytes",
        reply.status(),
        record.state,
        record.body.len()
    );
}

#[tokio::test]
async fn a_payment_that_was_not_as_asked_can_be_accepted_by_replay() {
    let shop = Shop::with(MemoryInbox::new(), None, Ownership::ByMetadata);
    *shop.seen.due.lock().unwrap() = Due::Exactly(Amount::new(2999, Currency::EUR));
    let part = marked("pi_1", "succeeded").metadata("checkout_amount", "2999"); // captured in part
    shop.send(EventBody::new("payment_intent.succeeded", part.object()).id("evt_1"))
        .await;
    // The merchant agrees: the order now costs the received amount.
    *shop.seen.due.lock().unwrap() = Due::Exactly(PRICE);
    let event = shop.record("evt_1").await;
    shop.checkout.replay(&event).await.unwrap();
    assert_eq!(
        shop.seen.hooks().last().unwrap(),
        "succeeded pi_1",
        "{:?}",
        shop.seen.hooks()
    );
}

#[tokio::test]
async fn live_money_is_not_given_to_a_memory_inbox_that_was_not_allowed_it() {
    let shop = Shop::new();
    let live = EventBody::new(
        "payment_intent.succeeded",
        intent("pi_1", "succeeded").livemode(true).object(),
    );
    assert_eq!(shop.send(live).await.status(), 500);
}

/// A handler whose calls for `charge.refunded` (`Other`) and refunds hang until released.
#[derive(Clone)]
struct Slow(Seen);

impl FulfillmentHandler for Slow {
    async fn payment_succeeded(&self, payment: &Payment, db: &mut ()) -> Result<(), BoxError> {
        self.0.payment_succeeded(payment, db).await
    }
    async fn amount_due(&self, payment: &Payment, db: &mut ()) -> Result<Due, BoxError> {
        self.0.amount_due(payment, db).await
    }

    async fn on_event(&self, event: &PaymentEvent<'_>, db: &mut ()) -> Result<(), BoxError> {
        let hangs = matches!(
            event,
            PaymentEvent::RefundSucceeded { .. } | PaymentEvent::Other { .. }
        );
        if hangs {
            self.0.started.add_permits(1);
            self.0.release.acquire().await?.forget();
        }
        self.0.on_event(event, db).await
    }
}

fn slow(inbox: MemoryInbox) -> Arc<Shop> {
    let seen = Seen::new();
    let checkout = Checkout::builder(Config::new([secret()]).unwrap())
        .application("tea")
        .ownership(Ownership::AllPayments)
        .fulfillment(inbox, Slow(seen.clone()))
        .build()
        .unwrap();
    let webhook = checkout.only(Group::Webhook).endpoints()[0].clone();
    Arc::new(Shop {
        checkout,
        seen,
        webhook,
    })
}

#[tokio::test(start_paused = true)]
async fn events_of_one_payment_never_run_at_the_same_time() {
    let shop = slow(MemoryInbox::new());
    // A part is refunded at once, and its `charge.refunded` is being handled…
    let charge = EventBody::new(
        "charge.refunded",
        charge_refunded("ch_1", "pi_1", PRICE, 100),
    );
    let refunding = tokio::spawn({
        let shop = Arc::clone(&shop);
        async move { shop.send(charge).await.status() }
    });
    shop.seen.started.acquire().await.unwrap().forget();
    // …when the success arrives.
    let paid = tokio::spawn({
        let shop = Arc::clone(&shop);
        async move { shop.send(succeeded("evt_1", "pi_1")).await.status() }
    });
    // In paused time this ends when everything else waits.
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(
        shop.seen.hooks().is_empty(),
        "the success waits for its turn"
    );
    shop.seen.release.add_permits(10);
    assert_eq!((refunding.await.unwrap(), paid.await.unwrap()), (200, 200));
    // Stripe's second event object of the same success.
    shop.send(succeeded("evt_2", "pi_1")).await;
    let shipped = shop
        .seen
        .hooks()
        .iter()
        .filter(|hook| *hook == "succeeded pi_1")
        .count();
    let told = shop
        .send(EventBody::new(
            "refund.created",
            refund("re_1", "pi_1", Amount::new(100, Currency::EUR)),
        ))
        .await
        .status();
    assert_eq!((shipped, told), (1, 200), "{:?}", shop.seen.hooks());
}

#[tokio::test(start_paused = true)]
async fn a_replay_beside_a_refund_is_not_lost() {
    let inbox = MemoryInbox::new();
    inbox.put_intent(&order(), None, row("pi_1")).await.unwrap();
    let shop = slow(inbox);
    *shop.seen.due.lock().unwrap() = Due::Exactly(Amount::new(1, Currency::EUR));
    shop.send(succeeded("evt_1", "pi_1")).await;
    *shop.seen.due.lock().unwrap() = Due::Exactly(PRICE);
    let part = EventBody::new(
        "refund.created",
        refund("re_1", "pi_1", Amount::new(100, Currency::EUR)),
    );
    let refunding = tokio::spawn({
        let shop = Arc::clone(&shop);
        async move { shop.send(part).await.status() }
    });
    shop.seen.started.acquire().await.unwrap().forget();
    let event = shop.record("evt_1").await;
    let replaying = tokio::spawn({
        let shop = Arc::clone(&shop);
        async move { shop.checkout.replay(&event).await.unwrap() }
    });
    // In paused time this ends when everything else waits.
    tokio::time::sleep(Duration::from_millis(100)).await;
    shop.seen.release.add_permits(10);
    let (refunded, replayed) = (refunding.await.unwrap(), replaying.await.unwrap());
    assert!(
        shop.seen.hooks().contains(&"succeeded pi_1".to_owned()),
        "{refunded} {replayed:?} {:?} {:?}",
        shop.state("evt_1").await,
        shop.seen.hooks()
    );
}

#[tokio::test]
async fn what_waited_goes_on_when_the_success_is_dead_discarded_or_replayed() {
    for how in ["dead", "discarded", "replayed"] {
        let shop = Shop::attempts(1);
        let early = EventBody::new(
            "refund.created",
            refund("re_1", "pi_1", Amount::new(100, Currency::EUR)),
        );
        assert_eq!(shop.send(early).await.status(), 503);
        shop.seen.behave(Behave::Fail);
        if how == "replayed" {
            shop.seen.behave(Behave::Well);
            *shop.seen.due.lock().unwrap() = Due::Exactly(Amount::new(1, Currency::EUR));
        }
        shop.send(succeeded("evt_1", "pi_1")).await;
        *shop.seen.due.lock().unwrap() = Due::Exactly(PRICE);
        let event = shop.record("evt_1").await;
        match how {
            "discarded" => shop.checkout.discard(&event).await.unwrap(),
            "replayed" => drop(shop.checkout.replay(&event).await.unwrap()),
            _ => {}
        }
        assert!(
            shop.seen.hooks().contains(&"refunded re_1".to_owned()),
            "{how}: {:?}",
            shop.seen.hooks()
        );
    }
}

#[tokio::test]
async fn a_refund_that_failed_keeps_its_pause_when_its_success_is_replayed() {
    let shop = Shop::attempts(100);
    let refunded = || {
        let refund = refund("re_1", "pi_1", Amount::new(100, Currency::EUR));
        EventBody::new("refund.created", refund).id("evt_refund")
    };
    *shop.seen.due.lock().unwrap() = Due::Exactly(Amount::new(1, Currency::EUR));
    shop.send(succeeded("evt_1", "pi_1")).await;
    assert_eq!(shop.state("evt_1").await, EventState::Mismatch);
    // A pause is random, and grows with each failure.
    shop.seen.behave(Behave::FailOnEvents);
    let for_long = Duration::from_secs(300);
    while shop.send(refunded()).await.status() == 500
        && shop.record("evt_refund").await.due < SystemTime::now() + for_long
    {}
    shop.seen.behave(Behave::Well);
    *shop.seen.due.lock().unwrap() = Due::Exactly(PRICE);
    let success = shop.record("evt_1").await;
    shop.checkout.replay(&success).await.unwrap();
    assert_eq!(shop.state("evt_1").await, EventState::Done);
    assert_eq!(shop.state("evt_refund").await, EventState::Pending);
}

#[tokio::test]
async fn an_intent_that_was_replaced_does_not_cancel_the_order() {
    let inbox = MemoryInbox::new();
    inbox.put_intent(&order(), None, row("pi_1")).await.unwrap();
    inbox
        .put_intent(&order(), Some(1), row("pi_2"))
        .await
        .unwrap();
    let shop = Shop::with(inbox, None, Ownership::ByMetadata);
    shop.send(EventBody::new(
        "payment_intent.canceled",
        marked("pi_1", "canceled").object(),
    ))
    .await;
    assert!(
        !shop.seen.hooks().contains(&"canceled pi_1".to_owned()),
        "{:?}",
        shop.seen.hooks()
    );
}

#[tokio::test(start_paused = true)]
async fn events_of_one_payment_never_run_at_the_same_time_even_where_one_counts_as_not_ours() {
    let seen = Seen::new();
    let checkout = Checkout::builder(Config::new([secret()]).unwrap())
        .application("tea")
        .ownership(Ownership::ByMetadata)
        .fulfillment(MemoryInbox::new(), Slow(seen.clone()))
        .build()
        .unwrap();
    let webhook = checkout.only(Group::Webhook).endpoints()[0].clone();
    let shop = Arc::new(Shop {
        checkout,
        seen,
        webhook,
    });
    let part = EventBody::new(
        "refund.created",
        refund("re_1", "pi_1", Amount::new(100, Currency::EUR)),
    );
    let refunding = tokio::spawn({
        let shop = Arc::clone(&shop);
        async move { shop.send(part).await.status() }
    });
    shop.seen.started.acquire().await.unwrap().forget();
    let paid = |id: &str| {
        EventBody::new(
            "payment_intent.succeeded",
            marked("pi_1", "succeeded").object(),
        )
        .id(id)
    };
    let first = tokio::spawn({
        let (shop, event) = (Arc::clone(&shop), paid("evt_1"));
        async move { shop.send(event).await.status() }
    });
    // In paused time this ends when everything else waits.
    tokio::time::sleep(Duration::from_millis(100)).await;
    shop.seen.release.add_permits(10);
    assert_eq!((refunding.await.unwrap(), first.await.unwrap()), (200, 200));
    shop.send(paid("evt_2")).await;
    let shipped = shop
        .seen
        .hooks()
        .iter()
        .filter(|hook| *hook == "succeeded pi_1")
        .count();
    assert_eq!(shipped, 1, "{:?}", shop.seen.hooks());
}

#[tokio::test]
async fn a_payment_whose_order_id_was_edited_does_not_ship_the_other_order() {
    let inbox = MemoryInbox::new();
    inbox.put_intent(&order(), None, row("pi_1")).await.unwrap();
    let shop = Shop::with(inbox, None, Ownership::ByMetadata);
    let edited = marked("pi_1", "succeeded").metadata("order_id", "order-2");
    shop.send(EventBody::new("payment_intent.succeeded", edited.object()))
        .await;
    assert!(
        !shop.seen.hooks().contains(&"succeeded pi_1".to_owned()),
        "row says order-1, the handler shipped order-2: {:?}",
        shop.seen.hooks()
    );
}

#[tokio::test]
async fn refunds_of_payments_known_by_a_rule_reach_their_hook() {
    let shop = Shop::with(
        MemoryInbox::new(),
        None,
        Ownership::Custom(Arc::new(|_| true)),
    );
    let paid = PaymentIntent::new("pi_1", PRICE)
        .status("succeeded")
        .object();
    shop.send(EventBody::new("payment_intent.succeeded", paid).id("evt_1"))
        .await;
    shop.send(EventBody::new("refund.created", refund("re_1", "pi_1", PRICE)).id("evt_2"))
        .await;
    assert_eq!(shop.seen.hooks(), ["succeeded pi_1", "refunded re_1"]);
}

#[tokio::test]
async fn an_overtaking_full_refund_stops_the_shipper_by_rule() {
    let shop = Shop::with(
        MemoryInbox::new(),
        None,
        Ownership::Custom(Arc::new(|_| true)),
    );
    shop.send(EventBody::new("refund.created", refund("re_1", "pi_1", PRICE)).id("evt_2"))
        .await;
    shop.send(succeeded("evt_1", "pi_1")).await;
    assert!(
        !shop.seen.hooks().contains(&"succeeded pi_1".to_owned()),
        "{:?}",
        shop.seen.hooks()
    );
}

#[tokio::test]
async fn a_success_that_failed_first_still_marks_its_order_as_paid() {
    for ours in [Ownership::AllPayments, Ownership::ByMetadata] {
        let shop = Shop::with(MemoryInbox::new(), None, ours);
        let paid = |event: &str, payment: &str| {
            let object = marked(payment, "succeeded").object();
            EventBody::new("payment_intent.succeeded", object).id(event)
        };
        shop.seen.behave(Behave::Fail);
        assert_eq!(shop.send(paid("evt_1", "pi_1")).await.status(), 500);
        shop.seen.behave(Behave::Well);
        // Stripe's second event object of the same success, then another PaymentIntent of the same
        // order.
        assert_eq!(shop.send(paid("evt_2", "pi_1")).await.status(), 200);
        assert_eq!(shop.send(paid("evt_3", "pi_2")).await.status(), 200);
        assert_eq!(shop.seen.hooks(), ["succeeded pi_1", "duplicate pi_2"]);
    }
}
