//! Canceled orders: later payments are not possible, and earlier payments are reported.

use std::time::Duration;

use stripe_checkout_core::Checkout;
use stripe_checkout_core::OrderCancellation;
use stripe_checkout_core::PaymentError;
use stripe_checkout_core::requests::PaymentRequest;
use stripe_checkout_core::webhook::PaymentStatus;
use stripe_checkout_sandbox::Fault;
use tokio::task::JoinSet;

use crate::world::{PRICE, World};

fn request(order: &str) -> PaymentRequest {
    PaymentRequest::new(order, PRICE)
}

async fn status(world: &World, payment: &str) -> String {
    let intent = world.get(&format!("/payment_intents/{payment}")).await;
    intent["status"].as_str().unwrap().to_owned()
}

fn called_off<T: std::fmt::Debug>(result: Result<T, PaymentError>) {
    assert!(matches!(result, Err(PaymentError::CalledOff)), "{result:?}");
}

/// Returns how many PaymentIntents can be paid.
async fn open(world: &World) -> usize {
    let list = world.get("/payment_intents?limit=100").await;
    let open = list["data"].as_array().unwrap().iter();
    open.filter(|intent| intent["status"] == "requires_payment_method")
        .count()
}

async fn expired(checkout: &Checkout, order: &str) -> OrderCancellation {
    checkout.cancel_order(order).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_open_is_canceled_and_stays_so_until_somebody_says_otherwise() {
    let world = World::new().await;
    let made = world.checkout.create_intent(&request("order-1")).await;
    let made = made.unwrap().id().to_owned();
    for checkout in [world.checkout.clone(), world.another().await] {
        let OrderCancellation::Canceled(payment) = expired(&checkout, "order-1").await else {
            panic!("it was open");
        };
        assert_eq!(payment.id(), made);
        assert_eq!(*payment.status(), PaymentStatus::Canceled);
    }
    called_off(world.checkout.create_intent(&request("order-1")).await);
    world.deliver().await;
    assert_eq!(world.diary.take(), ["canceled order-1"]);
    // The event of the cancellation does not open the order again.
    called_off(
        world
            .another()
            .await
            .create_intent(&request("order-1"))
            .await,
    );
    let again = request("order-1").reopen();
    let again = world.checkout.create_intent(&again).await.unwrap();
    assert_ne!(again.id(), made);
    world.confirm(again.id(), "pm_card_visa").await;
    world.deliver().await;
    assert_eq!(world.diary.take(), ["paid order-1 1999"]);
    // From now on, the order is open for every call.
    let paid = world.checkout.create_intent(&request("order-1")).await;
    assert!(matches!(paid, Err(PaymentError::AlreadyPaid)), "{paid:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_nobody_began_to_pay_is_refused_afterwards() {
    let world = World::new().await;
    assert_eq!(
        expired(&world.checkout, "order-1").await,
        OrderCancellation::NothingOpen
    );
    called_off(
        world
            .another()
            .await
            .create_intent(&request("order-1"))
            .await,
    );
    assert_eq!(open(&world).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn if_somebody_has_paid_or_is_paying_it_says_so() {
    let world = World::new().await;
    // It makes no difference whether Stripe's events about it have arrived.
    for (order, told) in [("order-1", true), ("order-2", false)] {
        let payment = world.paid(order).await;
        if told {
            world.deliver().await;
        }
        let OrderCancellation::Paid(paid) = expired(&world.checkout, order).await else {
            panic!("it was paid");
        };
        assert_eq!(paid.id(), payment);
    }
    world.deliver().await;
    assert_eq!(
        world.diary.take(),
        ["paid order-1 1999", "paid order-2 1999"]
    );
    let made = world.checkout.create_intent(&request("order-3")).await;
    let made = made.unwrap().id().to_owned();
    world.confirm(&made, "pm_card_sandboxProcessing").await;
    let on_its_way = expired(&world.checkout, "order-3").await;
    assert!(
        matches!(on_its_way, OrderCancellation::Processing(_)),
        "{on_its_way:?}"
    );
    called_off(world.checkout.create_intent(&request("order-3")).await);
    // The payment fails after all, so now the order can be canceled.
    assert!(world.sandbox.settle(&made, false));
    world.deliver().await;
    let ended = expired(&world.checkout, "order-3").await;
    assert!(matches!(ended, OrderCancellation::Canceled(_)), "{ended:?}");
    assert_eq!(status(&world, &made).await, "canceled");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_reserved_is_let_go() {
    let world = World::new().await;
    let payment = world.reserved("order-1").await;
    world.deliver().await;
    let ended = expired(&world.checkout, "order-1").await;
    assert!(matches!(ended, OrderCancellation::Canceled(_)), "{ended:?}");
    assert_eq!(status(&world, &payment).await, "canceled");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_is_made_good_by_calling_it_again() {
    for fault in [Fault::Reset, Fault::ResetAfterExecution, Fault::Status(500)] {
        let world = World::new().await;
        let made = world.checkout.create_intent(&request("order-1")).await;
        let made = made.unwrap().id().to_owned();
        world.sandbox.faults().next(8, fault.clone());
        assert!(world.checkout.cancel_order("order-1").await.is_err());
        world.sandbox.faults().clear();
        // The result is uncertain, but no buyer gets a new payment.
        called_off(world.checkout.create_intent(&request("order-1")).await);
        let ended = expired(&world.another().await, "order-1").await;
        assert!(
            matches!(ended, OrderCancellation::Canceled(_)),
            "{fault:?}: {ended:?}"
        );
        assert_eq!(status(&world, &made).await, "canceled");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn buyers_and_the_merchant_at_the_same_time_leave_nothing_open() {
    for round in 0..10 {
        let world = World::new().await;
        if round % 2 == 0 {
            // Stripe is slow for the first calls.
            let slow = Fault::Slow(Duration::from_millis(30));
            world.sandbox.faults().next(3, slow);
        }
        let another = world.another().await;
        let mut running = JoinSet::new();
        for n in 0..6 {
            let checkout = [&world.checkout, &another][n % 2].clone();
            running.spawn(async move {
                tokio::time::sleep(Duration::from_millis(5 * n as u64)).await;
                match n {
                    2 => checkout.cancel_order("order-1").await.map(drop),
                    _ => checkout.create_intent(&request("order-1")).await.map(drop),
                }
            });
        }
        while let Some(ended) = running.join_next().await {
            match ended.unwrap() {
                Ok(()) | Err(PaymentError::CalledOff | PaymentError::InFlight) => {}
                Err(error) => panic!("{error:?}"),
            }
        }
        // After a conflict with another call, the caller cancels again.
        world.checkout.cancel_order("order-1").await.unwrap();
        assert_eq!(open(&world).await, 0, "round {round}");
        called_off(world.checkout.create_intent(&request("order-1")).await);
    }
}
