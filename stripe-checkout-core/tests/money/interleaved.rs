//! Two processes at the same operation, request by request.

use std::time::Duration;

use stripe_checkout_core::requests::PaymentRequest;
use stripe_checkout_core::{ApiError, PaymentError};
use stripe_checkout_sandbox::Fault;

use crate::generated::{Fate, KINDS, Kind, Story};
use crate::world::{PRICE, World};

/// Releases the requests of the one call that runs. A POST to this path has the fate.
async fn until_posted(story: &Story, path: &str, fate: Fate) {
    loop {
        let waiting = story.gate.next().await;
        let is_it = waiting.is_post && waiting.path.ends_with(path);
        waiting.release(if is_it { fate } else { Fate::Pass });
        if is_it {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_was_overtaken_sends_the_same_key() {
    let story = Story::new(0, Kind::RefundOfAPart).await;
    story.gate.set_open(false);
    let first = tokio::spawn(story.call(0));
    story.gate.next().await.release(Fate::Pass);
    // It has looked, and is about to send.
    let sends = story.gate.next().await;
    assert!(sends.is_post);
    // Another process loses its connection, and asks again.
    let second = tokio::spawn(story.call(1));
    until_posted(&story, "/refunds", Fate::Lost).await;
    assert!(second.await.unwrap().is_err());
    let second = tokio::spawn(story.call(1));
    until_posted(&story, "/refunds", Fate::Pass).await;
    let second = second.await.unwrap().unwrap();
    story.gate.set_open(true);
    sends.release(Fate::Pass);
    assert_eq!(first.await.unwrap().unwrap(), second);
    story.is_done_once().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_look_that_is_a_day_old_sends_nothing() {
    let story = Story::new(0, Kind::RefundOfAPart).await;
    story.gate.set_open(false);
    let first = tokio::spawn(story.call(0));
    story.gate.next().await.release(Fate::AnswerWaits);
    let looked = story.gate.next().await;
    // Stripe refuses another process and keeps that: the key changes, and the refund is made.
    let second = tokio::spawn(story.call(1));
    until_posted(&story, "/refunds", Fate::Kept(400)).await;
    story.gate.next().await.release(Fate::Pass);
    assert!(second.await.unwrap().is_err());
    story.gate.set_open(true);
    let second = story.call(1).await.unwrap();
    // Stripe forgets the first key.
    story.sandbox.pass_time(Duration::from_secs(25 * 60 * 60));
    looked.release(Fate::Pass);
    assert_eq!(first.await.unwrap().unwrap(), second);
    story.is_done_once().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_because_another_process_was_faster_is_a_success() {
    let story = Story::new(0, Kind::Cancel).await;
    story.gate.set_open(false);
    let first = tokio::spawn(story.call(0));
    story.gate.next().await.release(Fate::Pass);
    let sends = story.gate.next().await;
    assert!(sends.is_post);
    story.gate.set_open(true);
    let path = sends.path.clone();
    story.post(&path, "").await;
    sends.release(Fate::Pass);
    assert!(first.await.unwrap().is_ok());
    story.is_done_once().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_has_other_parameters_is_replaced() {
    for (seed, kind) in (0..).zip(KINDS) {
        let story = Story::new(seed, kind).await;
        let path = match kind {
            Kind::RefundOfAPart | Kind::RefundOfAll => "/refunds",
            Kind::CaptureOfAPart | Kind::CaptureOfAll => "/capture",
            Kind::Cancel => "/cancel",
            Kind::Charge | Kind::DeclinedCharge => "/confirm",
            Kind::Customer => "/customers",
        };
        story.gate.set_open(false);
        let first = tokio::spawn(story.call(0));
        until_posted(&story, path, Fate::Refused).await;
        story.gate.set_open(true);
        // The look after the refusal may wait there already.
        let looks = async { story.gate.next().await.release(Fate::Pass) };
        let first = tokio::select! {
            first = first => first.unwrap(),
            () = async { looks.await; std::future::pending().await } => unreachable!(),
        };
        assert!(first.is_err(), "{kind:?}: {first:?}");
        let requests = story.sandbox.requests();
        let is_it = |path_of: &str| path_of.ends_with(path);
        let mut posts = requests.iter().filter(|request| request.method == "POST");
        let refused = posts.rfind(|request| is_it(&request.path));
        let key = refused.unwrap().idempotency_key.clone().unwrap();
        story.post_with("/customers", "name=Other", &key).await;
        let second = story.call(1).await;
        assert!(
            matches!(
                second,
                Err(PaymentError::Api(ApiError::IdempotencyMismatch { .. }))
            ),
            "{kind:?}: {second:?}"
        );
        story.call(0).await.unwrap();
        if kind != Kind::Customer {
            story.is_done_once().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_an_order_that_has_other_parameters_is_replaced() {
    let world = World::new().await;
    let request = PaymentRequest::new("order-1", PRICE);
    world.sandbox.faults().next(4, Fault::Status(503));
    assert!(world.checkout.create_intent(&request).await.is_err());
    let requests = world.sandbox.requests();
    let key = requests.last().unwrap().idempotency_key.clone().unwrap();
    let other = "name=Other";
    let key = key.parse().unwrap();
    let taken = world.gateway.post("/customers", other, &key, None);
    taken.await.unwrap();
    let refused = world.checkout.create_intent(&request).await;
    assert!(
        matches!(
            refused,
            Err(PaymentError::Api(ApiError::IdempotencyMismatch { .. }))
        ),
        "{refused:?}"
    );
    world.checkout.create_intent(&request).await.unwrap();
}
