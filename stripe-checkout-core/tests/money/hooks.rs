//! What the handler hears of refunds and disputes that the sandbox tells of.

use stripe_checkout_core::fulfillment::{EventState, Received};
use stripe_checkout_core::requests::RefundRequest;

use crate::world::{World, refund_of};

#[tokio::test(flavor = "multi_thread")]
async fn each_refund_is_told_once_also_one_of_the_dashboards() {
    let world = World::new().await;
    let payment = world.paid("order-1").await;
    world.deliver().await;
    assert_eq!(world.diary.take(), ["paid order-1 1999"]);
    let request = refund_of("return-1", &payment, 1000);
    world.checkout.refund(&request).await.unwrap();
    world.checkout.refund(&request).await.unwrap();
    world
        .post("/refunds", &format!("payment_intent={payment}&amount=500"))
        .await;
    let rest = RefundRequest::new("return-2", &payment);
    world.checkout.refund(&rest).await.unwrap();
    world.deliver().await;
    assert_eq!(
        world.diary.take(),
        [
            "event charge.refunded",
            "refunded return-1 1000",
            "event charge.refunded",
            "refunded none 500",
            "event charge.refunded",
            "refunded return-2 499",
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn two_event_objects_of_one_refund_are_one_refund() {
    let world = World::new().await;
    let payment = world.paid("order-1").await;
    world.deliver().await;
    world.sandbox.webhooks().double_events(9);
    world
        .checkout
        .refund(&refund_of("return-1", &payment, 1000))
        .await
        .unwrap();
    let received = world.deliver().await;
    let superseded = Received::Done(EventState::Superseded);
    assert_eq!(
        received.iter().filter(|told| **told == superseded).count(),
        1
    );
    let told = world.diary.lines();
    let refunds = told.iter().filter(|line| line.starts_with("refunded"));
    assert_eq!(refunds.count(), 1, "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dispute_is_opened_once() {
    let world = World::new().await;
    let payment = world.paid("order-1").await;
    world.deliver().await;
    world.diary.take();
    world.sandbox.webhooks().double_events(1);
    assert!(world.sandbox.dispute(&payment));
    world.deliver().await;
    assert_eq!(world.diary.take()[0], "dispute opened 1999");
}
