//! One open page per order, in spite of double clicks, lost answers and changed choices.

use std::collections::HashSet;

use stripe_checkout_core::requests::{CaptureMethod, PaymentRequest, SetupFutureUsage};
use stripe_checkout_core::stripe::Gateway;
use stripe_checkout_core::{ApiError, OrderCancellation, PaymentError};
use stripe_checkout_sandbox::Fault;
use tokio::task::JoinSet;

use super::world::{GOOD, World, eur, hosted, request};

#[tokio::test]
async fn who_clicks_twice_gets_one_session() {
    let world = World::new().await;
    let other = world.process(hosted()).await;
    let mut clicks = JoinSet::new();
    for click in 0..12 {
        let checkout = match click % 2 {
            0 => world.checkout.clone(),
            _ => other.clone(),
        };
        clicks.spawn(async move { checkout.create_session(&request("1")).await.unwrap() });
    }
    let mut given = HashSet::new();
    while let Some(session) = clicks.join_next().await {
        given.insert(session.unwrap().id().to_owned());
    }
    assert_eq!(given.len(), 1, "{given:?}");
    assert_eq!(world.sessions("open").await.len(), 1);
    assert_eq!(world.sessions("expired").await.len(), 0);
}

#[tokio::test]
async fn the_customer_pays_and_keeps_the_card_on_stripes_page_too() {
    let world = World::new().await;
    let customer = world.post("/customers", "name=Ada").await;
    let customer = customer["id"].as_str().unwrap();
    let request = request("1")
        .customer(customer)
        .setup_future_usage(SetupFutureUsage::OffSession);
    let session = world.checkout.create_session(&request).await.unwrap();
    let made = world
        .get(&format!("/checkout/sessions/{}", session.id()))
        .await;
    assert_eq!(made["customer"], customer);
    world.pay(session.id(), GOOD).await;
    let intent = world.intent_of(session.id()).await;
    let intent = world.get(&format!("/payment_intents/{intent}")).await;
    assert_eq!(intent["customer"], customer);
    assert_eq!(intent["setup_future_usage"], "off_session");
    let kept = world
        .get(&format!("/customers/{customer}/payment_methods"))
        .await;
    assert_eq!(kept["data"][0]["id"], intent["payment_method"]);
}

#[tokio::test]
async fn an_order_that_is_called_off_is_paid_on_no_page() {
    let world = World::new().await;
    let open = world.open("1").await;
    let expired = world.checkout.cancel_order("1").await.unwrap();
    assert!(
        matches!(expired, OrderCancellation::Canceled(_)),
        "{expired:?}"
    );
    assert_eq!(world.sessions("expired").await, [open.id()]);
    for _ in 0..2 {
        let refused = world.checkout.create_session(&request("1")).await;
        assert!(
            matches!(refused, Err(PaymentError::CalledOff)),
            "{refused:?}"
        );
    }
    let again = world.checkout.cancel_order("1").await.unwrap();
    assert!(matches!(again, OrderCancellation::Canceled(_)), "{again:?}");
    let reopened = request("1").reopen();
    let second = world.checkout.create_session(&reopened).await.unwrap();
    assert_ne!(second.id(), open.id());

    // The buyer was faster.
    world.pay(second.id(), GOOD).await;
    let paid = world.checkout.cancel_order("1").await.unwrap();
    let intent = world.intent_of(second.id()).await;
    assert!(
        matches!(&paid, OrderCancellation::Paid(payment) if payment.id() == intent),
        "{paid:?}"
    );
}

#[tokio::test]
async fn what_is_only_to_be_authorised_is_not_captured_on_stripes_page_either() {
    let world = World::new().await;
    let request = request("1").capture_method(CaptureMethod::Manual);
    let session = world.checkout.create_session(&request).await.unwrap();
    world.pay(session.id(), GOOD).await;
    let intent = world.intent_of(session.id()).await;
    let intent = world.get(&format!("/payment_intents/{intent}")).await;
    assert_eq!(intent["status"], "requires_capture");
}

#[tokio::test]
async fn an_answer_that_was_lost_after_the_work_was_done_makes_no_second_session() {
    let world = World::new().await;
    world.sandbox.faults().next(1, Fault::ResetAfterExecution);
    let session = world.open("1").await;
    assert_eq!(world.sessions("open").await, [session.id()]);

    // All tries of one call fail, and the buyer clicks again.
    world.sandbox.faults().next(4, Fault::ResetAfterExecution);
    let lost = world.checkout.create_session(&request("2")).await;
    assert!(matches!(lost, Err(PaymentError::Api(_))), "{lost:?}");
    world.sandbox.faults().clear();
    let session = world.open("2").await;
    assert_eq!(world.sessions("open").await.len(), 2);
    assert!(
        world
            .sessions("open")
            .await
            .contains(&session.id().to_owned())
    );
}

#[tokio::test]
async fn an_answer_that_stripe_keeps_repeating_ends_an_attempt_and_not_the_order() {
    let world = World::new().await;
    world.sandbox.faults().next(1, Fault::StatusAndKeep(500));
    assert!(world.checkout.create_session(&request("1")).await.is_err());
    let session = world.open("1").await;
    assert_eq!(world.sessions("open").await, [session.id()]);
}

#[tokio::test]
async fn a_key_that_has_other_parameters_ends_an_attempt_and_not_the_order() {
    let world = World::new().await;
    world.sandbox.faults().next(4, Fault::Status(503));
    assert!(world.checkout.create_session(&request("1")).await.is_err());
    let requests = world.sandbox.requests();
    let key = requests.last().unwrap().idempotency_key.clone().unwrap();
    let gateway = Gateway::new(&world.sandbox.config()).unwrap();
    let other = "name=Other";
    gateway
        .post("/customers", other, &key.parse().unwrap(), None)
        .await
        .unwrap();
    let refused = world.checkout.create_session(&request("1")).await;
    assert!(
        matches!(
            refused,
            Err(PaymentError::Api(ApiError::IdempotencyMismatch { .. }))
        ),
        "{refused:?}"
    );
    let session = world.open("1").await;
    assert_eq!(world.sessions("open").await, [session.id()]);
}

#[tokio::test]
async fn an_order_that_changed_gets_another_session_and_the_first_is_over() {
    let world = World::new().await;
    let first = world.open("1").await;
    let dearer = PaymentRequest::new("1", eur(25_00));
    let second = world.checkout.create_session(&dearer).await.unwrap();
    assert_eq!(second.subtotal(), eur(25_00));
    assert_eq!(world.sessions("expired").await, [first.id()]);
    assert_eq!(world.sessions("open").await, [second.id()]);
    assert_eq!(world.deliver().await, [""; 0], "the order goes on: no news");
    let late = world.pay(first.id(), GOOD).await;
    assert!(late["error"].is_object(), "{late}");
    // The same with another frame: embedded.
    let framed = world.process(hosted().embedded()).await;
    let third = framed.create_session(&dearer).await.unwrap();
    assert!(third.url().is_none() && third.client_secret().is_some());
    assert_eq!(world.sessions("open").await, [third.id()]);
}

#[tokio::test]
async fn who_pays_the_first_while_it_is_replaced_has_paid() {
    let world = World::new().await;
    let first = world.open("1").await;
    world.pay(first.id(), GOOD).await;
    // The webhook has not arrived.
    let dearer = PaymentRequest::new("1", eur(25_00));
    let second = world.checkout.create_session(&dearer).await;
    assert!(
        matches!(second, Err(PaymentError::AlreadyPaid)),
        "{second:?}"
    );
    let second = world.checkout.create_intent(&dearer).await;
    assert!(
        matches!(second, Err(PaymentError::AlreadyPaid)),
        "{second:?}"
    );
}

#[tokio::test]
async fn paid_in_the_very_moment_in_which_it_is_expired_is_paid_or_over_and_never_both() {
    for _ in 0..20 {
        let world = World::new().await;
        let first = world.open("1").await;
        let dearer = PaymentRequest::new("1", eur(25_00));
        let (paid, second) = tokio::join!(
            world.pay(first.id(), GOOD),
            world.checkout.create_session(&dearer)
        );
        match second {
            Ok(second) => {
                assert!(paid["error"].is_object(), "{paid}");
                assert_eq!(world.sessions("open").await, [second.id()]);
                assert_eq!(world.deliver().await, [""; 0]);
            }
            Err(error) => {
                assert!(matches!(error, PaymentError::AlreadyPaid), "{error}");
                assert_eq!(paid["status"], "complete", "{paid}");
                assert_eq!(world.deliver().await.len(), 1);
            }
        }
    }
}

#[tokio::test]
async fn the_shops_own_page_and_stripes_are_never_open_together() {
    let world = World::new().await;
    let intent = world.checkout.create_intent(&request("1")).await.unwrap();
    let session = world.open("1").await;
    let canceled = world
        .get(&format!("/payment_intents/{}", intent.id()))
        .await;
    assert_eq!(canceled["status"], "canceled");
    let intent = world.checkout.create_intent(&request("1")).await.unwrap();
    assert_eq!(world.sessions("expired").await, [session.id()]);
    assert_eq!(intent.status().as_str(), "requires_payment_method");
    assert_eq!(world.deliver().await, [""; 0], "the order goes on: no news");
    let session = world.open("1").await;
    assert_eq!(world.sessions("open").await, [session.id()]);
    world.pay(session.id(), GOOD).await;
    assert_eq!(world.deliver().await.len(), 1);
}

#[tokio::test]
async fn buttons_of_both_pages_pressed_at_the_same_time_never_leave_two() {
    let world = World::new().await;
    for round in 0..10 {
        let reference = format!("order-{round}");
        let open = async || {
            let intents = world.get("/payment_intents?limit=100").await;
            let open = intents["data"].as_array().unwrap().iter().filter(|intent| {
                intent["status"] != "canceled" && intent["metadata"]["order_id"] == reference
            });
            let sessions = world.get("/checkout/sessions?limit=100&status=open").await;
            let pages = sessions["data"].as_array().unwrap().iter();
            let pages = pages.filter(|page| page["client_reference_id"] == reference);
            open.count() + pages.count()
        };
        let mut clicks = JoinSet::new();
        for click in 0..6 {
            let (checkout, request) = (world.checkout.clone(), request(&reference));
            clicks.spawn(async move {
                match click % 2 {
                    0 => checkout.create_session(&request).await.map(|_| ()),
                    _ => checkout.create_intent(&request).await.map(|_| ()),
                }
            });
        }
        while let Some(clicked) = clicks.join_next().await {
            let clicked = clicked.unwrap();
            let lost = matches!(clicked, Ok(()) | Err(PaymentError::InFlight));
            assert!(lost, "{clicked:?}");
        }
        // Each call expires the other's page, so the last call may have failed.
        assert!(open().await <= 1, "round {round}");
        let last = world.open(&reference).await;
        assert!(world.sessions("open").await.contains(&last.id().to_owned()));
        assert_eq!(open().await, 1, "round {round}");
    }
}

#[tokio::test]
async fn an_order_that_was_declined_too_often_is_closed_on_stripes_page_too() {
    let world = World::new().await;
    let session = world.open("1").await;
    for _ in 0..10 {
        world.pay(session.id(), super::world::DECLINED).await;
    }
    world.deliver().await;
    assert_eq!(world.sessions("expired").await, [session.id()]);
    let again = world.checkout.create_session(&request("1")).await;
    assert!(
        matches!(again, Err(PaymentError::TooManyDeclines { .. })),
        "{again:?}"
    );
}

#[tokio::test]
async fn a_guest_never_pays_in_the_session_or_on_the_payment_of_a_customer() {
    let world = World::new().await;
    let customer = world.post("/customers", "email=jane%40example.com").await;
    let customer = customer["id"].as_str().unwrap();
    let theirs = || request("1").customer(customer);
    let known = world.checkout.create_session(&theirs()).await.unwrap();
    let guest = world.open("1").await;
    assert_ne!(guest.id(), known.id());
    assert_eq!(world.sessions("open").await, [guest.id()]);
    let path = format!("/checkout/sessions/{}", guest.id());
    assert_eq!(world.get(&path).await["customer"], serde_json::Value::Null);
    // From one page to the other, and back.
    let known = world.checkout.create_intent(&theirs()).await.unwrap();
    assert_eq!(known.customer(), Some(customer));
    let guest = world.open("1").await;
    let path = format!("/payment_intents/{}", known.id());
    assert_eq!(world.get(&path).await["status"], "canceled");
    assert_eq!(world.sessions("open").await, [guest.id()]);
    let known = world.checkout.create_session(&theirs()).await.unwrap();
    let guest = world.checkout.create_intent(&request("1")).await.unwrap();
    assert_eq!(guest.customer(), None);
    assert_eq!(world.sessions("open").await, [""; 0]);
    let path = format!("/checkout/sessions/{}", known.id());
    assert_eq!(world.get(&path).await["status"], "expired");
}
