//! Money that is authorised on Stripe's page, and captured later.

use std::time::Duration;

use serde_json::Value;
use stripe_checkout_core::fulfillment::{Due, EventFilter, EventState};
use stripe_checkout_core::requests::{CancelRequest, CaptureRequest};
use stripe_checkout_core::webhook::{Event, PaymentStatus};
use stripe_checkout_core::{OrderCancellation, PaymentError};

use super::fulfilment::orders;
use super::world::{GOOD, PRICE, Shop, World, eur, hosted, request};

/// Authorises the money of an order on Stripe's page, with a promotion code. Returns the session
/// and its PaymentIntent.
async fn authorised(world: &World, reference: &str) -> (String, String) {
    let session = world.open_manual(reference).await;
    world.on_page(session.id(), "code", "code=SANDBOX10").await;
    world.pay(session.id(), GOOD).await;
    let intent = world.intent_of(session.id()).await;
    (session.id().to_owned(), intent)
}

/// A capture in the Dashboard.
async fn capture_elsewhere(world: &World, intent: &str, minor: u64) {
    let form = format!("amount_to_capture={minor}");
    let path = format!("/payment_intents/{intent}/capture");
    world.post(&path, &form).await;
}

#[tokio::test]
async fn in_any_order_of_its_events_authorised_money_ships_once() {
    let world = World::new().await;
    let (_, intent) = authorised(&world, "1").await;
    let capture = CaptureRequest::new("shipped-1", &intent);
    world.checkout.capture(&capture).await.unwrap();
    let told = [
        "payment_intent.amount_capturable_updated",
        "checkout.session.completed",
        "payment_intent.succeeded",
    ];
    let mut events = world.events().await;
    events.retain(|event| told.contains(&event.event_type()));
    let orders = orders(&events);
    assert_eq!(orders.len(), 6);
    for order in orders {
        let shop = Shop::default();
        let checkout = world.newcomer(&shop);
        let types: Vec<_> = order
            .iter()
            .map(|event| event.event_type().to_owned())
            .collect();
        for event in order {
            checkout.receive(event).await.unwrap();
        }
        let mut lines = shop.lines();
        lines.retain(|line| !line.starts_with("collect") && !line.starts_with("wait"));
        assert_eq!(lines, ["ship for 18.00 EUR of 20.00 EUR 1"], "{types:?}");
    }
}

/// The same event, as if the authorised amount had grown to this.
fn grown(event: &Event, minor: u64) -> Event {
    let mut body: Value = serde_json::from_str(event.body()).unwrap();
    body["id"] = format!("evt_grown_{minor}").into();
    body["data"]["object"]["amount_capturable"] = minor.into();
    Event::parse(body.to_string()).unwrap()
}

#[tokio::test]
async fn each_larger_authorised_amount_of_a_session_comes_once_before_the_success() {
    let world = World::new().await;
    let (_, intent) = authorised(&world, "1").await;
    let capture = CaptureRequest::new("shipped-1", &intent);
    world.checkout.capture(&capture).await.unwrap();
    let is = |kind: &'static str| move |event: &Event| event.event_type() == kind;
    let authorisation = is("payment_intent.amount_capturable_updated");
    let success = is("payment_intent.succeeded");
    let mut events = world.events().await;
    events.retain(|event| {
        authorisation(event) || success(event) || is("checkout.session.completed")(event)
    });
    let first = events.iter().find(|event| authorisation(event)).unwrap();
    let larger = grown(first, 24_00);
    events.push(larger.clone());
    let orders = orders(&events);
    assert_eq!(orders.len(), 24);
    for order in orders {
        let shop = Shop::default();
        let checkout = world.newcomer(&shop);
        let ids: Vec<_> = order.iter().map(|event| event.id().to_owned()).collect();
        let paid = order.iter().position(success).unwrap();
        let amounts = order[..paid].iter().filter(|event| authorisation(event));
        let mut amounts: Vec<_> = amounts.map(Event::id).collect();
        // The first amount comes too late after the larger one.
        if amounts.first() == Some(&larger.id()) {
            amounts.truncate(1);
        }
        let collected = amounts.len();
        for event in order {
            checkout.receive(event).await.unwrap();
        }
        let mut lines = shop.lines();
        let times = lines.iter().filter(|line| *line == "collect 1").count();
        assert_eq!(times, collected, "{ids:?}");
        lines.retain(|line| !line.starts_with("collect") && !line.starts_with("wait"));
        assert_eq!(lines, ["ship for 18.00 EUR of 20.00 EUR 1"], "{ids:?}");
    }
}

#[tokio::test]
async fn an_own_capture_ships_whatever_part_it_takes_of_a_discounted_total() {
    for due in [Due::Exactly(PRICE), Due::AsAsked] {
        for part in [None, Some(eur(5_00)), Some(eur(18_00))] {
            let world = World::with(hosted(), Shop::due(due)).await;
            let (session, intent) = authorised(&world, "1").await;
            let mut capture = CaptureRequest::new("shipped-1", &intent);
            if let Some(part) = part {
                capture = capture.amount(part);
            }
            // The row knows the session only: no event has told of the PaymentIntent.
            world.checkout.capture(&capture).await.unwrap();
            assert_eq!(
                world.deliver().await.last().unwrap(),
                "ship for 18.00 EUR of 20.00 EUR 1",
                "{due:?} {part:?}"
            );
            let back = world.checkout.retrieve_session(&session).await.unwrap();
            let received = back.unwrap().amount_received();
            assert_eq!(received, part.unwrap_or(eur(18_00)));
            assert_eq!(world.shop.lines(), [""; 0]);
        }
    }
}

#[tokio::test]
async fn a_shop_that_forgot_the_order_still_knows_what_it_captured() {
    let world = World::new().await;
    let (_, intent) = authorised(&world, "1").await;
    let shop = Shop::default();
    let newcomer = world.newcomer(&shop);
    let capture = CaptureRequest::new("shipped-1", &intent).amount(eur(5_00));
    newcomer.capture(&capture).await.unwrap();
    for event in world.events().await {
        newcomer.receive(event).await.unwrap();
    }
    let lines = shop.lines();
    assert!(lines.contains(&"ship for 18.00 EUR of 20.00 EUR 1".to_owned()));
}

#[tokio::test]
async fn a_part_captured_elsewhere_is_the_same_mismatch_on_every_path() {
    let mismatch = "mismatch (expected 18.00 EUR, received 5.00 EUR) 1";
    for path in ["webhook", "return page", "reconciler"] {
        let world = World::new().await;
        let (session, intent) = authorised(&world, "1").await;
        capture_elsewhere(&world, &intent, 500).await;
        let lines = match path {
            "webhook" => world.deliver().await,
            "return page" => {
                let back = world.checkout.retrieve_session(&session).await.unwrap();
                assert_eq!(back.unwrap().amount_received(), eur(5_00));
                world.shop.lines()
            }
            _ => {
                world.sandbox.pass_time(Duration::from_secs(60));
                world.checkout.reconcile().once().await.unwrap();
                world.shop.lines()
            }
        };
        assert_eq!(lines.last().unwrap(), mismatch, "{path}");
        assert!(!lines.iter().any(|line| line.starts_with("ship")), "{path}");
        // The other ways bring nothing new.
        world.deliver().await;
        world.checkout.retrieve_session(&session).await.unwrap();
        world.checkout.reconcile().once().await.unwrap();
        assert_eq!(world.shop.lines(), [""; 0], "{path}");
    }
}

#[tokio::test]
async fn a_mismatch_ships_when_it_is_replayed_after_the_merchant_vouches_for_the_part() {
    let world = World::new().await;
    let (_, intent) = authorised(&world, "1").await;
    capture_elsewhere(&world, &intent, 500).await;
    world.deliver().await;
    let filter = || EventFilter::default().state(EventState::Mismatch);
    let mismatch = world.checkout.events(filter()).await.unwrap();
    assert_eq!(mismatch.len(), 1);
    // Another amount is no better.
    world.shop.costs(Due::Received(eur(6_00)));
    world.checkout.replay(&mismatch[0]).await.unwrap();
    assert_eq!(
        world.shop.lines(),
        ["mismatch (expected 6.00 EUR, received 5.00 EUR) 1"]
    );
    world.shop.costs(Due::Received(eur(5_00)));
    world.checkout.replay(&mismatch[0]).await.unwrap();
    assert_eq!(world.shop.lines(), ["ship for 18.00 EUR of 20.00 EUR 1"]);
    assert!(world.checkout.events(filter()).await.unwrap().is_empty());
}

#[tokio::test]
async fn authorised_money_without_any_event_is_found_by_the_buyer_who_comes_back() {
    let world = World::new().await;
    let (session, intent) = authorised(&world, "1").await;
    for _ in 0..2 {
        let back = world.checkout.retrieve_session(&session).await.unwrap();
        let back = back.unwrap();
        assert_eq!(*back.status(), PaymentStatus::RequiresCapture);
        assert_eq!(back.amount_received(), eur(0));
    }
    assert_eq!(world.shop.lines(), ["collect 1"]);
    let capture = CaptureRequest::new("shipped-1", &intent);
    world.checkout.capture(&capture).await.unwrap();
    world.checkout.retrieve_session(&session).await.unwrap();
    assert_eq!(world.shop.lines(), ["ship for 18.00 EUR of 20.00 EUR 1"]);
    assert_eq!(world.deliver().await, [""; 0]);
}

#[tokio::test]
async fn authorised_money_that_was_released_is_told_by_the_reconciler() {
    let world = World::new().await;
    let (_, intent) = authorised(&world, "1").await;
    world.deliver().await;
    world.sandbox.webhooks().lose_events(100);
    let cancel = CancelRequest::new("off-1", &intent);
    world.checkout.cancel_payment(&cancel).await.unwrap();
    world.checkout.reconcile().once().await.unwrap();
    assert_eq!(world.shop.lines(), ["over 1"]);
}

#[tokio::test]
async fn an_order_that_is_called_off_releases_money_authorised_on_stripes_page() {
    let world = World::new().await;
    let (session, intent) = authorised(&world, "1").await;
    let expired = world.checkout.cancel_order("1").await.unwrap();
    let OrderCancellation::Canceled(payment) = expired else {
        panic!("{expired:?}");
    };
    assert_eq!(*payment.status(), PaymentStatus::Canceled);
    assert_eq!(payment.session().unwrap().id(), session);
    let stripes = world.get(&format!("/payment_intents/{intent}")).await;
    assert_eq!(stripes["status"], "canceled");
    assert_eq!(stripes["amount_capturable"], 0);
    assert_eq!(world.deliver().await.last().unwrap(), "over 1");
    let again = world.checkout.cancel_order("1").await.unwrap();
    assert!(matches!(again, OrderCancellation::Canceled(_)), "{again:?}");
    let again = world.checkout.create_session(&request("1")).await;
    assert!(matches!(again, Err(PaymentError::CalledOff)), "{again:?}");

    // Money that was captured meanwhile stays.
    let (_, intent) = authorised(&world, "2").await;
    capture_elsewhere(&world, &intent, 500).await;
    let paid = world.checkout.cancel_order("2").await.unwrap();
    assert!(matches!(paid, OrderCancellation::Paid(_)), "{paid:?}");
}
