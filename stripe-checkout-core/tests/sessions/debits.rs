//! Debits that end days later: whatever the order of their events, and whatever failed before.

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use stripe_checkout_core::BoxError;
use stripe_checkout_core::fulfillment::{Due, FulfillmentHandler, PaymentEvent, Received};
use stripe_checkout_core::webhook::{Event, Payment};

use super::world::{DECLINED, DELAYED, PRICE, World};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The events of a debit that failed a day after its session completed.
const NEWS: [&str; 4] = [
    "payment_intent.processing",
    "checkout.session.completed",
    "payment_intent.payment_failed",
    "checkout.session.async_payment_failed",
];

/// Every way to take some of these, in every order.
fn arrangements(of: &[usize]) -> Vec<Vec<usize>> {
    let mut all = vec![Vec::new()];
    for (place, first) in of.iter().enumerate() {
        let mut others = of.to_vec();
        others.remove(place);
        for mut rest in arrangements(&others) {
            rest.insert(0, *first);
            all.push(rest);
        }
    }
    all
}

/// A debit that failed; its events; and whether a card was declined on the page before.
async fn failed(declined: bool) -> (World, Vec<Event>, String) {
    let world = World::new().await;
    let session = world.open("1").await;
    if declined {
        world.pay(session.id(), DECLINED).await;
        world.sandbox.pass_time(Duration::from_secs(60));
    }
    let before = world.events().await.len();
    world.pay(session.id(), DELAYED).await;
    world.sandbox.pass_time(DAY);
    let intent = world.intent_of(session.id()).await;
    assert!(world.sandbox.settle(&intent, false));
    let mut events = world.events().await;
    let news = events.split_off(before);
    for event in events {
        world.checkout.receive(event).await.unwrap();
    }
    let declines: &[&str] = if declined { &["failed 1"] } else { &[] };
    assert_eq!(world.shop.lines(), declines);
    (world, news, session.id().to_owned())
}

#[tokio::test]
async fn a_debit_that_fails_is_told_once_whatever_the_order_of_its_events() {
    let all: Vec<usize> = (0..NEWS.len()).collect();
    for declined in [false, true] {
        for order in arrangements(&all) {
            // With a decline before, only whole permutations: the rest is alike.
            if declined && order.len() < NEWS.len() {
                continue;
            }
            let (world, news, session) = failed(declined).await;
            for index in &order {
                let is_it = |event: &&Event| event.event_type() == NEWS[*index];
                let event = news.iter().find(is_it).unwrap();
                let received = world.checkout.receive(event.clone()).await.unwrap();
                assert_ne!(received, Received::Failed, "{order:?}");
            }
            // The reconciler finds the rest by the order's session.
            world.sandbox.webhooks().lose_events(usize::MAX);
            for _ in 0..2 {
                world.checkout.reconcile().once().await.unwrap();
            }
            let everything = world.checkout.reconcile().since(SystemTime::UNIX_EPOCH);
            everything.once().await.unwrap();
            let lines = world.shop.lines();
            let count = |line: &str| lines.iter().filter(|known| *known == line).count();
            assert_eq!(count("failed 1"), 1, "{declined} {order:?}: {lines:?}");
            assert!(count("wait 1") <= 1, "{declined} {order:?}: {lines:?}");
            // The buyer may try again.
            let next = world.open("1").await;
            assert_ne!(next.id(), session, "{declined} {order:?}");
        }
    }
}

/// Its `payment_processing` never works.
#[derive(Clone, Default)]
struct NoPatience(Arc<Mutex<Vec<String>>>);

impl<C: Send> FulfillmentHandler<C> for NoPatience {
    async fn payment_succeeded(&self, payment: &Payment, _: &mut C) -> Result<(), BoxError> {
        let order = payment.order_id().unwrap().to_owned();
        self.0.lock().unwrap().push(order);
        Ok(())
    }

    async fn amount_due(&self, _: &Payment, _: &mut C) -> Result<Due, BoxError> {
        Ok(Due::Exactly(PRICE))
    }

    async fn on_event(&self, event: &PaymentEvent<'_>, _: &mut C) -> Result<(), BoxError> {
        match event {
            PaymentEvent::PaymentProcessing { .. } => Err("no mail server".into()),
            _ => Ok(()),
        }
    }
}

#[tokio::test]
async fn a_success_is_found_although_its_processing_failed_for_good() {
    for comes_back in [false, true] {
        let world = World::new().await;
        let shop = NoPatience::default();
        let checkout = world.with_one_attempt(shop.clone()).await;
        let session = world.open("1").await;
        world.pay(session.id(), DELAYED).await;
        for event in world.events().await {
            let dead = event.event_type() == "checkout.session.completed";
            let received = checkout.receive(event).await.unwrap();
            assert_eq!(received == Received::Failed, dead);
        }
        world.sandbox.webhooks().lose_events(usize::MAX);
        let intent = world.intent_of(session.id()).await;
        assert!(world.sandbox.settle(&intent, true));
        match comes_back {
            true => drop(checkout.retrieve_session(session.id()).await.unwrap()),
            false => drop(checkout.reconcile().once().await.unwrap()),
        }
        assert_eq!(*shop.0.lock().unwrap(), ["1"], "{comes_back}");
    }
}
