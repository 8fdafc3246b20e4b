//! The limit on declined attempts per order. Thieves test stolen cards on a page without such a
//! limit.

use stripe_checkout_core::fulfillment::{
    EventFilter, InboxExt as _, IntentState, MemoryInbox, OrderKey, Scope, on_paid,
};
use stripe_checkout_core::requests::{CaptureMethod, PaymentRequest};
use stripe_checkout_core::stripe::Gateway;
use stripe_checkout_core::testing::{EventBody, PaymentIntent};
use stripe_checkout_core::webhook::Event;
use stripe_checkout_core::{
    Amount, Checkout, Currency, Mode, PaymentError, Pricing, PricingError, Visitor,
};
use stripe_checkout_sandbox::{Fault, Sandbox};

const PRICE: Amount = Amount::new(1999, Currency::EUR);

struct Prices;

impl Pricing for Prices {
    type Order = String;

    async fn price(&self, order: String, _: &Visitor) -> Result<PaymentRequest, PricingError> {
        Ok(PaymentRequest::new(order, PRICE))
    }
}

fn checkout(sandbox: &Sandbox, inbox: &MemoryInbox) -> Checkout {
    Checkout::builder(sandbox.config())
        .application("shop")
        .pricing(Prices)
        .max_declines(3)
        .fulfillment(inbox.clone(), on_paid(async |_| Ok(())))
        .build()
        .unwrap()
}

fn order() -> OrderKey {
    OrderKey {
        scope: Scope {
            application: "shop".into(),
            mode: Mode::Test,
        },
        account: None,
        reference: "order-1".into(),
    }
}

/// Delivers events of failed attempts to pay, one for each number.
async fn declined(checkout: &Checkout, payment: &str, times: std::ops::Range<u32>) {
    for attempt in times {
        let intent = PaymentIntent::new(payment, PRICE)
            .metadata("order_id", "order-1")
            .metadata("checkout_application", "shop")
            .failed("card_declined", Some("generic_decline"));
        let event = EventBody::new("payment_intent.payment_failed", intent.object())
            .id(&format!("evt_{attempt}"))
            .body();
        checkout
            .receive(Event::parse(event).unwrap())
            .await
            .unwrap();
    }
}

fn canceled(sandbox: &Sandbox) -> usize {
    let cancels = sandbox.requests();
    cancels
        .iter()
        .filter(|request| request.path.ends_with("/cancel"))
        .count()
}

#[tokio::test]
async fn after_so_many_declines_the_payment_is_canceled_and_no_other_is_made() {
    let sandbox = Sandbox::start().await.unwrap();
    let inbox = MemoryInbox::new();
    let checkout = checkout(&sandbox, &inbox);
    let request = PaymentRequest::new("order-1", PRICE);

    let payment = checkout.create_intent(&request).await.unwrap();
    declined(&checkout, payment.id(), 0..2).await;
    assert_eq!(canceled(&sandbox), 0);
    let again = checkout.create_intent(&request).await.unwrap();
    assert_eq!(again.id(), payment.id(), "a buyer may try another card");

    declined(&checkout, payment.id(), 2..3).await;
    assert_eq!(canceled(&sandbox), 1, "nobody can try cards on it any more");
    for _ in 0..2 {
        let refused = checkout.create_intent(&request).await;
        assert!(
            matches!(refused, Err(PaymentError::TooManyDeclines { declines: 3 })),
            "{refused:?}"
        );
    }
    let row = inbox.intent(&order()).await.unwrap().unwrap();
    assert_eq!(row.declines, 3);

    let other = PaymentRequest::new("order-2", PRICE);
    assert!(checkout.create_intent(&other).await.is_ok());
}

#[tokio::test]
async fn one_that_could_not_be_canceled_is_canceled_when_it_is_asked_for() {
    let sandbox = Sandbox::start().await.unwrap();
    let inbox = MemoryInbox::new();
    let checkout = checkout(&sandbox, &inbox);
    let request = PaymentRequest::new("order-1", PRICE);
    let payment = checkout.create_intent(&request).await.unwrap();

    declined(&checkout, payment.id(), 0..2).await;
    sandbox.faults().next(20, Fault::Status(500));
    declined(&checkout, payment.id(), 2..3).await;
    sandbox.faults().clear();
    let state = || async {
        checkout
            .retrieve_intent(payment.id(), payment.client_secret().unwrap().expose())
            .await
            .unwrap()
            .unwrap()
            .status()
            .as_str()
            .to_owned()
    };
    assert_eq!(state().await, "requires_payment_method");

    let refused = checkout.create_intent(&request).await;
    assert!(matches!(refused, Err(PaymentError::TooManyDeclines { .. })));
    assert_eq!(state().await, "canceled");
}

#[tokio::test]
async fn the_same_news_twice_is_one_decline_and_those_of_an_earlier_payment_count_too() {
    let sandbox = Sandbox::start().await.unwrap();
    let inbox = MemoryInbox::new();
    let checkout = checkout(&sandbox, &inbox);
    let request = PaymentRequest::new("order-1", PRICE);
    let payment = checkout.create_intent(&request).await.unwrap();
    declined(&checkout, payment.id(), 0..1).await;
    declined(&checkout, payment.id(), 0..1).await;
    let row = inbox.intent(&order()).await.unwrap().unwrap();
    assert_eq!((row.declines, row.state), (1, IntentState::Open));

    // Another attempt of the same order does not reset the count.
    let canceled = inbox
        .put_intent(
            &order(),
            Some(row.version),
            stripe_checkout_core::fulfillment::IntentRecord {
                state: IntentState::Canceled,
                ..row
            },
        )
        .await
        .unwrap();
    assert!(canceled);
    let second = checkout.create_intent(&request).await.unwrap();
    assert_ne!(second.id(), payment.id());
    declined(&checkout, payment.id(), 5..6).await;
    declined(&checkout, second.id(), 6..7).await;
    let row = inbox.intent(&order()).await.unwrap().unwrap();
    assert_eq!(row.declines, 3);
    assert!(matches!(
        checkout.create_intent(&request).await,
        Err(PaymentError::TooManyDeclines { .. })
    ));
    let all = checkout.events(EventFilter::default()).await.unwrap();
    assert_eq!(all.len(), 3);
}

/// Posts a form to the sandbox, as another program does.
async fn post(sandbox: &Sandbox, path: &str, form: &str) -> serde_json::Value {
    let gateway = Gateway::new(&sandbox.config()).unwrap();
    let key = format!("key-{}", fastrand::u64(..)).parse().unwrap();
    let answer = gateway.post(path, form, &key, None).await.unwrap();
    serde_json::from_slice(&answer).unwrap()
}

#[tokio::test]
async fn declines_that_are_processed_late_leave_authorised_money_alone() {
    let sandbox = Sandbox::start().await.unwrap();
    let inbox = MemoryInbox::new();
    let checkout = checkout(&sandbox, &inbox);
    let request = PaymentRequest::new("order-1", PRICE).capture_method(CaptureMethod::Manual);
    let payment = checkout.create_intent(&request).await.unwrap();
    // After three declines the fourth card is good, and the events of the declines arrive late.
    let confirm = format!("/payment_intents/{}/confirm", payment.id());
    let form = "payment_method=pm_card_visa&return_url=https://shop.example/";
    let held = post(&sandbox, &confirm, form).await;
    assert_eq!(held["status"], "requires_capture");
    declined(&checkout, payment.id(), 0..3).await;
    // The buyer reloads the page.
    for _ in 0..2 {
        let refused = checkout.create_intent(&request).await;
        assert!(
            matches!(refused, Err(PaymentError::TooManyDeclines { .. })),
            "{refused:?}"
        );
    }
    assert_eq!(canceled(&sandbox), 0, "authorised money is not released");
    let secret = payment.client_secret().unwrap().expose();
    let found = checkout.retrieve_intent(payment.id(), secret).await;
    let status = found.unwrap().unwrap().status().as_str().to_owned();
    assert_eq!(status, "requires_capture");
}
