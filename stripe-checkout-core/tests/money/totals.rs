//! The totals of a payment after one capture or several, by our own call or elsewhere.

use stripe_checkout_core::Amount;
use stripe_checkout_core::requests::CaptureRequest;

use crate::world::{PRICE, World, eur, refund_of};

/// Charged, refunded, and net.
async fn figures(world: &World, payment: &str) -> (Amount, Amount, Amount) {
    let totals = world.checkout.totals(payment).await.unwrap();
    (totals.charged, totals.refunded, totals.net())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refund_after_a_partial_capture_shows_whoever_captured() {
    for own in [true, false] {
        // Half or less of it, so that the released part is as much as what was captured, or more.
        for part in [400, 999, 1500] {
            let world = World::new().await;
            let payment = world.reserved("order-1").await;
            let capture = CaptureRequest::new("shipped-1", &payment).amount(eur(part));
            if own {
                world.checkout.capture(&capture).await.unwrap();
            } else {
                let path = format!("/payment_intents/{payment}/capture");
                world
                    .post(&path, &format!("amount_to_capture={part}"))
                    .await;
            }
            let kept = eur(part);
            assert_eq!(figures(&world, &payment).await, (kept, eur(0), kept));
            let all = refund_of("return-1", &payment, part);
            world.checkout.refund(&all).await.unwrap();
            assert_eq!(figures(&world, &payment).await, (kept, kept, eur(0)));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refund_between_several_captures_shows() {
    let world = World::new().await;
    let payment = world.reserved_for_several_captures("order-1").await;
    let path = format!("/payment_intents/{payment}/capture");
    world
        .post(&path, "amount_to_capture=500&final_capture=false")
        .await;
    let totals = world.checkout.totals(&payment).await.unwrap();
    assert_eq!((totals.charged, totals.capturable), (eur(500), eur(1499)));
    let back = refund_of("return-1", &payment, 300);
    world.checkout.refund(&back).await.unwrap();
    assert_eq!(
        figures(&world, &payment).await,
        (eur(500), eur(300), eur(200))
    );
    // Our own capture takes the rest: all of the payment is expected.
    let rest = CaptureRequest::new("shipped-1", &payment);
    world.checkout.capture(&rest).await.unwrap();
    assert_eq!(
        figures(&world, &payment).await,
        (PRICE, eur(300), eur(1699))
    );
    world.deliver().await;
    let told = world.diary.take();
    assert!(told.contains(&"paid order-1 1999".to_owned()), "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn more_than_was_authorised_is_captured_and_paid() {
    let world = World::new().await;
    let payment = world.reserved_for_more("order-1").await;
    let capture = CaptureRequest::new("shipped-1", &payment).amount(eur(2300));
    world.checkout.capture(&capture).await.unwrap();
    assert_eq!(figures(&world, &payment).await.0, eur(2300));
    world.deliver().await;
    let told = world.diary.take();
    assert!(told.contains(&"paid order-1 2300".to_owned()), "{told:?}");
}
