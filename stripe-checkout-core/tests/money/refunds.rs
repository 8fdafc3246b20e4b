//! Refunds: one per reference, whatever breaks, and never more than the paid amount.

use std::time::Duration;

use stripe_checkout_core::fulfillment::{OperationKind, OperationState};
use stripe_checkout_core::requests::{RefundReason, RefundRequest};
use stripe_checkout_core::webhook::{Refund, RefundStatus};
use stripe_checkout_core::{
    Amount, AmountError, ApiError, Checkout, Currency, Metadata, PaymentError, RequestError,
};
use stripe_checkout_sandbox::Fault;
use tokio::task::JoinSet;

use crate::world::{World, eur, refund_of};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Sends this request until it gets an answer, like a merchant who noted that they want the refund.
async fn until_answered(
    checkout: &Checkout,
    request: &RefundRequest,
) -> Result<Refund, PaymentError> {
    for _ in 0..20 {
        match checkout.refund(request).await {
            Err(PaymentError::Api(
                ApiError::Timeout
                | ApiError::Unavailable { .. }
                | ApiError::IdempotencyConflict { .. }
                | ApiError::RateLimited { .. },
            )) => {}
            answered => return answered,
        }
    }
    panic!("no answer after twenty calls");
}

fn own(references: &[(&str, u64)]) -> Vec<(String, u64)> {
    let owned = references
        .iter()
        .map(|(reference, minor)| ((*reference).to_owned(), *minor));
    owned.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_deliberate_refunds_are_two_and_a_repeated_one_is_one() {
    let world = World::new().await;
    let payment = world.paid("order-1").await;
    let first = refund_of("return-1", &payment, 1000)
        .reason(RefundReason::RequestedByCustomer)
        .metadata(Metadata::new().with("clerk", "7").unwrap());
    let made = world.checkout.refund(&first).await.unwrap();
    assert_eq!(made.amount(), eur(1000));
    assert_eq!(made.status(), Some(&RefundStatus::Succeeded));
    assert_eq!(made.reason(), Some("requested_by_customer"));
    assert_eq!(made.payment_intent(), Some(&*payment));
    assert_eq!(made.reference(), Some("return-1"));
    assert_eq!(made.metadata().get("clerk"), Some("7"));
    assert!(!made.livemode());
    let sent = world.refunding().len();
    // A reload, a double click, another process: the row says that the refund is done.
    for checkout in [world.checkout.clone(), world.another().await] {
        let again = checkout.refund(&first).await.unwrap();
        assert_eq!(again.id(), made.id());
    }
    assert_eq!(world.refunding().len(), sent, "nothing was sent again");
    let second = refund_of("return-2", &payment, 999);
    let second = world.checkout.refund(&second).await.unwrap();
    assert_ne!(second.id(), made.id());
    assert_eq!(
        world.refunds(&payment).await,
        own(&[("return-1", 1000), ("return-2", 999)])
    );
    let row = world
        .operation(OperationKind::Refund, "return-1")
        .await
        .unwrap();
    assert_eq!(row.state, OperationState::Done);
    assert_eq!(row.result.as_deref(), Some(made.id()));
    assert_eq!(row.subject.as_deref(), Some(&*payment));
    assert_eq!(row.amount, Some(eur(1000)));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_amount_all_that_is_left_goes_back() {
    let world = World::new().await;
    let payment = world.paid("order-1").await;
    world
        .checkout
        .refund(&refund_of("part", &payment, 500))
        .await
        .unwrap();
    let rest = RefundRequest::new("rest", &payment);
    let rest = world.checkout.refund(&rest).await.unwrap();
    assert_eq!(rest.amount(), eur(1499));
    let more = world.checkout.refund(&refund_of("more", &payment, 1)).await;
    assert!(matches!(more, Err(PaymentError::NothingLeft)), "{more:?}");
    // The same request again returns the refund that was made, although nothing is left now.
    let again = RefundRequest::new("rest", &payment);
    let again = world.checkout.refund(&again).await.unwrap();
    assert_eq!(again.id(), rest.id());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_reference_with_other_parameters_is_refused_and_nothing_is_sent() {
    let world = World::new().await;
    let payment = world.paid("order-1").await;
    let other = world.paid("order-2").await;
    let first = refund_of("return-1", &payment, 500);
    world.checkout.refund(&first).await.unwrap();
    let sent = world.refunding().len();
    for differs in [
        refund_of("return-1", &payment, 501),
        refund_of("return-1", &other, 500),
        RefundRequest::new("return-1", &payment),
        first.clone().reason(RefundReason::Fraudulent),
        first.clone().refund_application_fee(),
        first
            .clone()
            .metadata(Metadata::new().with("a", "b").unwrap()),
    ] {
        let refused = world.checkout.refund(&differs).await;
        assert!(matches!(refused, Err(PaymentError::Differs)), "{refused:?}");
    }
    assert_eq!(world.refunding().len(), sent);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_right_is_refused_before_stripe_is_asked() {
    let world = World::new().await;
    let payment = world.paid("order-1").await;
    let asked = world.refunding().len();
    let request = |error| matches!(error, Err(PaymentError::Request(_)));
    for bad in ["", "a\nb", &"x".repeat(201)] {
        let refused = world
            .checkout
            .refund(&RefundRequest::new(bad, &payment))
            .await;
        assert!(request(refused), "{bad:?}");
    }
    let zero = world.checkout.refund(&refund_of("zero", &payment, 0)).await;
    assert!(matches!(
        zero,
        Err(PaymentError::Request(RequestError::Amount(
            AmountError::Zero
        )))
    ));
    // 500 yen are 500 minor units, and so are 5 euros.
    let yen = RefundRequest::new("yen", &payment).amount(Amount::new(500, Currency::JPY));
    let yen = world.checkout.refund(&yen).await;
    assert!(
        matches!(
            yen,
            Err(PaymentError::Request(RequestError::Amount(
                AmountError::CurrencyMismatch { .. }
            )))
        ),
        "{yen:?}"
    );
    for id in ["", "ch_1", "pi_1/../../customers", "pi_"] {
        let refused = world.checkout.refund(&RefundRequest::new("id", id)).await;
        assert!(
            matches!(
                refused,
                Err(PaymentError::Api(ApiError::InvalidRequest {
                    status: 404,
                    ..
                }))
            ),
            "{id:?}"
        );
    }
    assert_eq!(world.refunding().len(), asked);
}

#[tokio::test(flavor = "multi_thread")]
async fn at_once_with_one_reference_it_is_one_and_with_many_never_more_than_was_paid() {
    let world = World::new().await;
    let payment = world.paid("order-1").await;
    let another = world.another().await;
    let mut running = JoinSet::new();
    for n in 0..20 {
        let checkout = [&world.checkout, &another][n % 2].clone();
        let request = refund_of("return-1", &payment, 300);
        running.spawn(async move { until_answered(&checkout, &request).await });
    }
    let mut ids = Vec::new();
    while let Some(ended) = running.join_next().await {
        ids.push(ended.unwrap().unwrap().id().to_owned());
    }
    ids.dedup();
    assert_eq!(ids.len(), 1, "{ids:?}");
    // 1699 are left, and 20 requests ask for 300 each.
    for n in 0..20 {
        let checkout = [&world.checkout, &another][n % 2].clone();
        let request = refund_of(&format!("other-{n}"), &payment, 300);
        running.spawn(async move { until_answered(&checkout, &request).await });
    }
    let (mut made, mut refused) = (0, 0);
    while let Some(ended) = running.join_next().await {
        match ended.unwrap() {
            Ok(_) => made += 1,
            Err(PaymentError::MoreThanLeft | PaymentError::NothingLeft) => refused += 1,
            Err(error) => panic!("{error:?}"),
        }
    }
    assert_eq!((made, refused), (5, 15));
    let refunds = world.refunds(&payment).await;
    assert_eq!(refunds.len(), 6);
    assert_eq!(refunds.iter().map(|(_, minor)| minor).sum::<u64>(), 1800);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_was_lost_after_execution_brings_no_second_refund() {
    for fault in [
        Fault::ResetAfterExecution,
        Fault::Reset,
        Fault::Status(500),
        Fault::Status(429),
        Fault::Status(409),
        Fault::NotJson,
    ] {
        let world = World::new().await;
        let payment = world.paid("order-1").await;
        // The fault happens more often than one call tries.
        world.sandbox.faults().next(6, fault.clone());
        let request = refund_of("return-1", &payment, 300);
        let mut refund = world.checkout.refund(&request).await;
        for _ in 0..6 {
            if refund.is_err() {
                refund = world.another().await.refund(&request).await;
            }
        }
        let refund = refund.unwrap();
        assert_eq!(refund.amount(), eur(300), "{fault:?}");
        assert_eq!(
            world.refunds(&payment).await,
            own(&[("return-1", 300)]),
            "{fault:?}"
        );
        let keys: std::collections::BTreeSet<_> = world
            .refunding()
            .into_iter()
            .map(|request| request.idempotency_key)
            .collect();
        assert_eq!(keys.len(), 1, "one key: {fault:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_500_that_stripe_keeps_is_looked_behind_before_the_next_attempt() {
    // Stripe did nothing, or everything: its answer is the same.
    for fault in [Fault::StatusAndKeep(500), Fault::StatusAfterExecution(500)] {
        let world = World::new().await;
        let payment = world.paid("order-1").await;
        world.fail_after_the_look(1, fault.clone());
        let request = refund_of("return-1", &payment, 300);
        let failed = world.checkout.refund(&request).await;
        assert!(
            matches!(
                failed,
                Err(PaymentError::Api(ApiError::Unavailable {
                    replayed: true,
                    ..
                }))
            ),
            "{failed:?}"
        );
        let refund = world.another().await.refund(&request).await.unwrap();
        assert_eq!(refund.reference(), Some("return-1"));
        assert_eq!(
            world.refunds(&payment).await,
            own(&[("return-1", 300)]),
            "{fault:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_between_row_and_call_or_call_and_row_is_made_good_by_whoever_asks_again() {
    let world = World::new().await;
    let payment = world.paid("order-1").await;
    for (reference, fault) in [
        ("before", Fault::Hang),
        ("after", Fault::HangAfterExecution),
    ] {
        world.sandbox.faults().next(1, fault);
        let request = refund_of(reference, &payment, 300);
        let seen = world.refunding().len();
        // A separate process, which dies while it waits for Stripe.
        let dies = std::thread::spawn({
            let config = world.sandbox.config();
            let inbox = world.inbox.clone();
            let request = request.clone();
            move || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .unwrap();
                runtime.block_on(async move {
                    let checkout = Checkout::builder(config)
                        .application("tea")
                        .pricing(crate::world::OnePrice)
                        .fulfillment(inbox, crate::world::Diary::default())
                        .build()
                        .unwrap();
                    let call = checkout.refund(&request);
                    let _ = tokio::time::timeout(Duration::from_millis(1500), call).await;
                });
                runtime.shutdown_timeout(Duration::ZERO);
            }
        });
        world
            .sandbox
            .wait_for(|sandbox| {
                let posts = sandbox.requests().into_iter();
                posts
                    .filter(|request| request.path == "/v1/refunds")
                    .count()
                    > seen
            })
            .await;
        dies.join().unwrap();
        world.sandbox.faults().clear();
        let row = world
            .operation(OperationKind::Refund, reference)
            .await
            .unwrap();
        assert_eq!(row.state, OperationState::Sending);
        let refund = world.checkout.refund(&request).await.unwrap();
        assert_eq!(refund.reference(), Some(reference));
    }
    assert_eq!(
        world.refunds(&payment).await,
        own(&[("before", 300), ("after", 300)])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_day_it_is_looked_first_and_sent_then() {
    let world = World::new().await;
    let payment = world.paid("order-1").await;
    // Stripe executed it, and the answer was lost.
    world.fail_after_the_look(8, Fault::ResetAfterExecution);
    let done = refund_of("done", &payment, 300);
    assert!(world.checkout.refund(&done).await.is_err());
    world.sandbox.faults().clear();
    // Stripe never executed it.
    world.fail_after_the_look(8, Fault::Reset);
    let lost = refund_of("lost", &payment, 300);
    assert!(world.checkout.refund(&lost).await.is_err());
    world.sandbox.faults().clear();
    world.sandbox.pass_time(DAY * 2);
    world.sandbox.pass_time(DAY * 2);
    let sent = world.refunding().len();
    let done = world.checkout.refund(&done).await.unwrap();
    assert_eq!(done.reference(), Some("done"));
    assert_eq!(world.refunding().len(), sent, "it was found, not sent");
    let lost = world.checkout.refund(&lost).await.unwrap();
    assert_eq!(lost.reference(), Some("lost"));
    assert_eq!(world.refunding().len(), sent + 1);
    assert_eq!(
        world.refunds(&payment).await,
        own(&[("done", 300), ("lost", 300)])
    );
    let row = world
        .operation(OperationKind::Refund, "lost")
        .await
        .unwrap();
    assert_eq!((row.attempt, row.state), (1, OperationState::Done));
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_day_twenty_who_ask_again_at_once_send_one() {
    let world = World::new().await;
    let payment = world.paid("order-1").await;
    world.fail_after_the_look(8, Fault::Reset);
    let request = refund_of("return-1", &payment, 300);
    assert!(world.checkout.refund(&request).await.is_err());
    world.sandbox.faults().clear();
    world.sandbox.pass_time(DAY * 2);
    let another = world.another().await;
    let mut running = JoinSet::new();
    for n in 0..20 {
        let checkout = [&world.checkout, &another][n % 2].clone();
        let request = request.clone();
        running.spawn(async move { until_answered(&checkout, &request).await });
    }
    while let Some(ended) = running.join_next().await {
        ended.unwrap().unwrap();
    }
    assert_eq!(world.refunds(&payment).await, own(&[("return-1", 300)]));
}

#[tokio::test(flavor = "multi_thread")]
async fn among_many_refunds_of_one_payment_the_own_one_is_found() {
    let world = World::new().await;
    let payment = world.paid("order-1").await;
    world.fail_after_the_look(8, Fault::ResetAfterExecution);
    let request = refund_of("return-1", &payment, 300);
    assert!(world.checkout.refund(&request).await.is_err());
    world.sandbox.faults().clear();
    // Newer refunds follow, more than fit on a page. They belong to another application, with the
    // same reference.
    for n in 0..120 {
        let form = format!(
            "payment_intent={payment}&amount=1&metadata[checkout_operation]=return-1&metadata[checkout_application]=coffee&metadata[n]={n}"
        );
        world.post("/refunds", &form).await;
    }
    world.sandbox.pass_time(DAY * 2);
    let sent = world.refunding().len();
    let found = world.checkout.refund(&request).await.unwrap();
    assert_eq!(found.amount(), eur(300));
    assert_eq!(world.refunding().len(), sent, "it was found, not sent");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stripe_refused_can_be_asked_for_again_with_the_same_reference() {
    let world = World::new().await;
    let request = PaymentBefore::of(&world).await;
    // The payment is not paid yet. Stripe refuses the refund, and may keep the refusal under its
    // key.
    for _ in 0..3 {
        let refused = world.checkout.refund(&request).await;
        assert!(
            matches!(
                refused,
                Err(PaymentError::Api(ApiError::InvalidRequest { .. }))
            ),
            "{refused:?}"
        );
    }
    let row = world
        .operation(OperationKind::Refund, "return-1")
        .await
        .unwrap();
    assert_eq!(row.state, OperationState::Refused);
    // The key is not used up: another process may be about to send with it, and then it must be the
    // same key.
    assert_eq!(row.attempt, 1);
    world.confirm(request.payment(), "pm_card_visa").await;
    let refund = world.checkout.refund(&request).await.unwrap();
    assert_eq!(refund.amount(), eur(300));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_that_stripe_keeps_is_got_over_by_the_next_call() {
    let world = World::new().await;
    let payment = world.paid("order-1").await;
    world.fail_after_the_look(1, Fault::StatusAndKeep(400));
    let request = refund_of("return-1", &payment, 300);
    assert!(world.checkout.refund(&request).await.is_err());
    let refund = world.checkout.refund(&request).await.unwrap();
    assert_eq!(refund.amount(), eur(300));
    let row = world
        .operation(OperationKind::Refund, "return-1")
        .await
        .unwrap();
    assert_eq!((row.attempt, row.state), (2, OperationState::Done));
    assert_eq!(world.refunds(&payment).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disputed_payment_is_not_refunded_a_second_time() {
    let world = World::new().await;
    let payment = world.paid("order-1").await;
    assert!(world.sandbox.dispute(&payment));
    let refused = world
        .checkout
        .refund(&RefundRequest::new("return-1", &payment))
        .await;
    assert!(
        matches!(refused, Err(PaymentError::Disputed)),
        "{refused:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_inbox_that_forgot_looks_first() {
    let world = World::new().await;
    let payment = world.paid("order-1").await;
    let request = refund_of("return-1", &payment, 300);
    let first = world.forgetful().refund(&request).await.unwrap();
    // Two days later and after a restart, the key does not help either.
    world.sandbox.pass_time(DAY * 2);
    let again = world.forgetful().refund(&request).await.unwrap();
    assert_eq!(again.id(), first.id());
    assert_eq!(world.refunds(&payment).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refund_that_failed_is_told_and_not_made_again() {
    let world = World::new().await;
    let payment = world.paid("order-1").await;
    let request = refund_of("return-1", &payment, 300);
    let made = world.checkout.refund(&request).await.unwrap();
    assert!(world.sandbox.settle_refund(made.id(), false));
    // The answer comes from the row, or from a look at Stripe if the inbox has no row.
    for checkout in [world.checkout.clone(), world.forgetful()] {
        let again = checkout.refund(&request).await.unwrap();
        assert_eq!(again.id(), made.id());
        assert_eq!(again.status(), Some(&RefundStatus::Failed));
    }
    assert_eq!(world.refunds(&payment).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_found_refund_of_another_amount_is_another_operation() {
    let world = World::new().await;
    let payment = world.paid("order-1").await;
    let request = refund_of("return-1", &payment, 300);
    world.checkout.refund(&request).await.unwrap();
    let other = refund_of("return-1", &payment, 500);
    let refused = world.forgetful().refund(&other).await;
    assert!(matches!(refused, Err(PaymentError::Differs)), "{refused:?}");
    assert_eq!(world.refunds(&payment).await, own(&[("return-1", 300)]));
}

/// A refund of a payment that is not paid.
struct PaymentBefore;

impl PaymentBefore {
    async fn of(world: &World) -> RefundRequest {
        let request =
            stripe_checkout_core::requests::PaymentRequest::new("order-1", crate::world::PRICE);
        let payment = world.checkout.create_intent(&request).await.unwrap();
        refund_of("return-1", payment.id(), 300)
    }
}
