//! Authorised money is captured or released, once.

use std::time::Duration;

use serde_json::Value;
use stripe_checkout_core::fulfillment::{
    InboxExt as _, IntentRecord, OperationKind, OperationState, OrderKey,
};
use stripe_checkout_core::requests::{
    CancelReason, CancelRequest, CaptureMethod, CaptureRequest, PaymentRequest,
};
use stripe_checkout_core::testing::now;
use stripe_checkout_core::webhook::{Event, PaymentStatus};
use stripe_checkout_core::{Amount, ApiError, Checkout, Currency, PaymentError};
use stripe_checkout_sandbox::Fault;
use tokio::task::JoinSet;

use crate::world::{PRICE, World, eur, key, refund_of};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn all(reference: &str, payment: &str) -> CaptureRequest {
    CaptureRequest::new(reference, payment)
}

fn part(reference: &str, payment: &str, minor: u64) -> CaptureRequest {
    all(reference, payment).amount(eur(minor))
}

/// Returns how many requests asked for a capture, or for a cancellation.
fn asked(world: &World, what: &str) -> usize {
    let requests = world.sandbox.requests().into_iter();
    requests
        .filter(|request| request.method == "POST" && request.path.ends_with(what))
        .count()
}

async fn until_answered(
    checkout: &Checkout,
    request: &CaptureRequest,
) -> Result<PaymentStatus, PaymentError> {
    for _ in 0..20 {
        match checkout.capture(request).await {
            Err(PaymentError::Api(
                ApiError::Timeout
                | ApiError::Unavailable { .. }
                | ApiError::IdempotencyConflict { .. },
            )) => {}
            answered => return answered.map(|payment| payment.status().clone()),
        }
    }
    panic!("no answer after twenty calls");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_reserved_is_told_once_and_captured_in_full() {
    let world = World::new().await;
    let payment = world.reserved("order-1").await;
    world.deliver().await;
    assert_eq!(world.diary.take(), ["capture order-1 1999"]);
    let before = world.checkout.totals(&payment).await.unwrap();
    assert_eq!((before.capturable, before.charged), (PRICE, eur(0)));
    let days = (before.capture_before.unwrap() - now()) / (24 * 60 * 60);
    assert!((6..=7).contains(&days), "{days}");
    // The order cannot be paid a second time meanwhile.
    let again = PaymentRequest::new("order-1", PRICE).capture_method(CaptureMethod::Manual);
    let again = world.checkout.create_intent(&again).await;
    assert!(matches!(again, Err(PaymentError::Processing)), "{again:?}");
    let request = all("shipped-1", &payment);
    let captured = world.checkout.capture(&request).await.unwrap();
    assert_eq!(captured.amount_received(), PRICE);
    // A double click.
    let again = world.another().await.capture(&request).await.unwrap();
    assert_eq!(*again.status(), PaymentStatus::Succeeded);
    assert_eq!(asked(&world, "/capture"), 1);
    world.deliver().await;
    assert_eq!(world.diary.take(), ["paid order-1 1999"]);
    let after = world.checkout.totals(&payment).await.unwrap();
    assert_eq!((after.capturable, after.charged), (eur(0), PRICE));
    assert_eq!((after.refunded, after.capture_before), (eur(0), None));
}

/// Returns the newest event of an authorised amount, as if it had grown to this amount.
fn grown(events: &[Value], minor: u64) -> Event {
    let authorised = events
        .iter()
        .find(|event| event["type"] == "payment_intent.amount_capturable_updated");
    let mut event = authorised.unwrap().clone();
    event["id"] = format!("evt_grown_{minor}").into();
    event["data"]["object"]["amount_capturable"] = minor.into();
    Event::parse(event.to_string()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authorisation_that_grew_is_captured_once_and_none_comes_after_it() {
    for grown_before_capture in [true, false] {
        let world = World::new().await;
        let payment = world.reserved_for_more("order-1").await;
        let list = world.get("/events?limit=100").await;
        let grown = |minor| grown(list["data"].as_array().unwrap(), minor);
        world.deliver().await;
        if grown_before_capture {
            world.checkout.receive(grown(2200)).await.unwrap();
            world.checkout.receive(grown(2100)).await.unwrap();
        }
        let request = part("shipped-1", &payment, 2200);
        let captured = world.checkout.capture(&request).await.unwrap();
        assert_eq!(captured.amount_received(), eur(2200));
        world.deliver().await;
        world.checkout.receive(grown(2300)).await.unwrap();
        let lines = match grown_before_capture {
            true => vec![
                "capture order-1 1999",
                "capture order-1 2200",
                "paid order-1 2200",
            ],
            false => vec!["capture order-1 1999", "paid order-1 2200"],
        };
        assert_eq!(world.diary.take(), lines);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_part_only_the_part_is_asked_and_the_rest_is_no_refund() {
    let world = World::new().await;
    let payment = world.reserved("order-1").await;
    let request = part("shipped-1", &payment, 400);
    let captured = world.checkout.capture(&request).await.unwrap();
    assert_eq!(captured.amount_received(), eur(400));
    world.deliver().await;
    assert_eq!(
        world.diary.take(),
        ["capture order-1 1999", "paid order-1 400"]
    );
    let totals = world.checkout.totals(&payment).await.unwrap();
    assert_eq!((totals.charged, totals.refunded), (eur(400), eur(0)));
    assert_eq!(totals.net(), eur(400));
    world
        .checkout
        .refund(&refund_of("return-1", &payment, 150))
        .await
        .unwrap();
    let totals = world.checkout.totals(&payment).await.unwrap();
    assert_eq!(totals.refunded, eur(150));
    assert_eq!(totals.net(), eur(250));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_that_was_refused_leaves_the_whole_to_be_captured() {
    let world = World::new().await;
    let payment = world.reserved("order-1").await;
    let more = part("more", &payment, 2000);
    let more = world.checkout.capture(&more).await;
    assert!(matches!(more, Err(PaymentError::MoreThanLeft)), "{more:?}");
    let yen = all("yen", &payment).amount(Amount::new(400, Currency::JPY));
    let yen = world.checkout.capture(&yen).await;
    assert!(matches!(yen, Err(PaymentError::Request(_))), "{yen:?}");
    world
        .checkout
        .capture(&all("shipped-1", &payment))
        .await
        .unwrap();
    world.deliver().await;
    assert_eq!(world.diary.take().last().unwrap(), "paid order-1 1999");
}

#[tokio::test(flavor = "multi_thread")]
async fn at_once_with_several_references_one_captures_and_the_others_hear_so() {
    let world = World::new().await;
    let payment = world.reserved("order-1").await;
    let another = world.another().await;
    let mut running = JoinSet::new();
    for n in 0..10_u64 {
        let checkout = [&world.checkout, &another][usize::from(n % 2 == 0)].clone();
        let request = part(&format!("shipped-{n}"), &payment, 400 + n);
        running.spawn(async move { until_answered(&checkout, &request).await });
    }
    let (mut made, mut refused) = (0, 0);
    while let Some(ended) = running.join_next().await {
        match ended.unwrap() {
            Ok(status) => {
                assert_eq!(status, PaymentStatus::Succeeded);
                made += 1;
            }
            Err(PaymentError::WrongState | PaymentError::InFlight) => refused += 1,
            Err(error) => panic!("{error:?}"),
        }
    }
    assert_eq!((made, refused), (1, 9));
    world.deliver().await;
    let told = world.diary.take();
    assert!(
        told.last().unwrap().starts_with("paid order-1 40"),
        "{told:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_a_kept_failure_and_a_day_capture_once() {
    for (fault, days) in [
        (Fault::ResetAfterExecution, 0),
        (Fault::ResetAfterExecution, 2),
        (Fault::Reset, 2),
        (Fault::StatusAfterExecution(500), 0),
        (Fault::StatusAndKeep(500), 0),
    ] {
        let world = World::new().await;
        let payment = world.reserved("order-1").await;
        let request = part("shipped-1", &payment, 400);
        // The first request reads the payment.
        world.sandbox.faults().next(1, Fault::Slow(Duration::ZERO));
        world.fail_after_the_look(8, fault.clone());
        assert!(world.checkout.capture(&request).await.is_err(), "{fault:?}");
        world.sandbox.faults().clear();
        if days > 0 {
            let row = world
                .operation(OperationKind::Capture, "shipped-1")
                .await
                .unwrap();
            assert_eq!(row.state, OperationState::Sending);
            world.sandbox.pass_time(DAY * days);
        }
        let captured = world.another().await.capture(&request).await.unwrap();
        assert_eq!(captured.amount_received(), eur(400), "{fault:?}");
        let list = world.get("/events?limit=100&type=charge.captured").await;
        assert_eq!(list["data"].as_array().unwrap().len(), 1, "{fault:?}");
        world.deliver().await;
        assert_eq!(world.diary.take().last().unwrap(), "paid order-1 400");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_else_captured_is_not_taken_for_the_own_capture() {
    let world = World::new().await;
    let payment = world.reserved("order-1").await;
    let request = all("shipped-1", &payment);
    world.sandbox.faults().next(1, Fault::Slow(Duration::ZERO));
    world.fail_after_the_look(8, Fault::Reset);
    assert!(world.checkout.capture(&request).await.is_err());
    world.sandbox.faults().clear();
    // Two days later, the merchant captures in the Dashboard.
    world.sandbox.pass_time(DAY * 2);
    world
        .post(
            &format!("/payment_intents/{payment}/capture"),
            "amount_to_capture=100",
        )
        .await;
    let refused = world.checkout.capture(&request).await;
    assert!(
        matches!(refused, Err(PaymentError::WrongState)),
        "{refused:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn another_amount_under_the_same_reference_does_not_change_what_must_arrive() {
    let world = World::new().await;
    let payment = world.reserved("order-1").await;
    let request = part("shipped-1", &payment, 400);
    world.sandbox.faults().next(1, Fault::Slow(Duration::ZERO));
    world.fail_after_the_look(8, Fault::Reset);
    assert!(world.checkout.capture(&request).await.is_err());
    world.sandbox.faults().clear();
    let other = part("shipped-1", &payment, 700);
    let other = world.checkout.capture(&other).await;
    assert!(matches!(other, Err(PaymentError::Differs)), "{other:?}");
    // The first call reaches Stripe after all.
    world
        .post(
            &format!("/payment_intents/{payment}/capture"),
            "amount_to_capture=400&metadata[checkout_capture]=shipped-1",
        )
        .await;
    world.deliver().await;
    assert_eq!(world.diary.take().last().unwrap(), "paid order-1 400");
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_capture_that_failed_all_may_be_captured_elsewhere() {
    let world = World::new().await;
    let payment = world.reserved("order-1").await;
    world.sandbox.faults().next(1, Fault::Slow(Duration::ZERO));
    world.fail_after_the_look(8, Fault::Reset);
    let request = part("shipped-1", &payment, 400);
    assert!(world.checkout.capture(&request).await.is_err());
    world.sandbox.faults().clear();
    world
        .post(&format!("/payment_intents/{payment}/capture"), "")
        .await;
    world.deliver().await;
    assert_eq!(world.diary.take().last().unwrap(), "paid order-1 1999");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_backup_learns_again_what_our_capture_took() {
    let world = World::new().await;
    let payment = world.reserved("order-1").await;
    let order = OrderKey {
        scope: key(OperationKind::Capture, "shipped-1").scope,
        account: None,
        reference: "order-1".into(),
    };
    let request = part("shipped-1", &payment, 400);
    world.checkout.capture(&request).await.unwrap();
    let row = world.inbox.intent(&order).await.unwrap().unwrap();
    assert_eq!(row.capture, Some(400));
    // The row of the backup has no capture.
    let version = row.version;
    let before = IntentRecord {
        capture: None,
        ..row
    };
    let put = world.inbox.put_intent(&order, Some(version), before).await;
    assert!(put.unwrap());
    world.checkout.capture(&request).await.unwrap();
    world.deliver().await;
    assert_eq!(world.diary.take().last().unwrap(), "paid order-1 400");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_canceled_is_let_go_once_and_cannot_be_captured() {
    let world = World::new().await;
    let payment = world.reserved("order-1").await;
    world.deliver().await;
    let request = CancelRequest::new("off-1", &payment).reason(CancelReason::RequestedByCustomer);
    world.fail_after_the_look(1, Fault::ResetAfterExecution);
    let canceled = world.checkout.cancel_payment(&request).await.unwrap();
    assert_eq!(*canceled.status(), PaymentStatus::Canceled);
    // A repetition, another reference, another process or two days later: the payment is canceled.
    world.sandbox.pass_time(DAY * 2);
    for reference in ["off-1", "off-2"] {
        let again =
            CancelRequest::new(reference, &payment).reason(CancelReason::RequestedByCustomer);
        let again = world.another().await.cancel_payment(&again).await.unwrap();
        assert_eq!(*again.status(), PaymentStatus::Canceled);
    }
    world.deliver().await;
    let told = world.diary.take();
    let canceled = told.iter().filter(|line| *line == "canceled order-1");
    assert_eq!(canceled.count(), 1, "{told:?}");
    assert!(!told.iter().any(|line| line.starts_with("refunded")));
    let late = world.checkout.capture(&all("shipped-1", &payment)).await;
    assert!(matches!(late, Err(PaymentError::WrongState)), "{late:?}");
    let totals = world.checkout.totals(&payment).await.unwrap();
    assert_eq!((totals.charged, totals.refunded), (eur(0), eur(0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_paid_is_not_canceled() {
    let world = World::new().await;
    let payment = world.paid("order-1").await;
    let refused = world
        .checkout
        .cancel_payment(&CancelRequest::new("off-1", &payment))
        .await;
    assert!(
        matches!(refused, Err(PaymentError::WrongState)),
        "{refused:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_is_to_be_reserved_now_gets_another_payment() {
    let world = World::new().await;
    let request = PaymentRequest::new("order-1", PRICE);
    let first = world.checkout.create_intent(&request).await.unwrap();
    assert!(!first.captures_manually());
    let manual = request.clone().capture_method(CaptureMethod::Manual);
    let second = world.checkout.create_intent(&manual).await.unwrap();
    assert!(second.captures_manually());
    assert_ne!(first.id(), second.id());
    let again = world.checkout.create_intent(&manual).await.unwrap();
    assert_eq!(again.id(), second.id());
    let old = world.get(&format!("/payment_intents/{}", first.id())).await;
    assert_eq!(old["status"], "canceled");
}

#[tokio::test(flavor = "multi_thread")]
async fn totals_know_what_is_disputed_and_what_came_back() {
    let world = World::new().await;
    let payment = world.paid("order-1").await;
    assert!(world.sandbox.dispute(&payment));
    let open = world.checkout.totals(&payment).await.unwrap();
    assert_eq!((open.charged, open.disputed), (PRICE, PRICE));
    assert_eq!(open.net(), eur(0));
    let disputes = world
        .get(&format!("/disputes?payment_intent={payment}"))
        .await;
    let id = disputes["data"][0]["id"].as_str().unwrap().to_owned();
    world
        .post(
            &format!("/disputes/{id}"),
            "evidence[uncategorized_text]=winning_evidence&submit=true",
        )
        .await;
    world.sandbox.pass_time(DAY * 100);
    let won = world.checkout.totals(&payment).await.unwrap();
    assert_eq!((won.charged, won.disputed), (PRICE, eur(0)));
    assert!(
        world
            .inbox
            .operation(&key(OperationKind::Refund, "none"))
            .await
            .unwrap()
            .is_none()
    );
}
