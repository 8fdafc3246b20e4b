//! Odd requests of strangers, and orders that they leave behind.

use super::{
    admin::{session, token},
    common::{header, json, open, open_with_stripe, text, visit},
};
use stripe_checkout_core::PaymentError;

#[tokio::test]
async fn an_id_that_no_database_can_look_for_is_not_found() {
    let Some(open) = open().await else { return };
    let cookies = session(&open).await;
    let headers = [("cookie", cookies.as_str())];
    let page = open.shop.admin(&visit(&headers, "")).await;
    let csrf = format!("csrf={}", token(&page));
    let long = "x".repeat(4000);
    for id in ["pi_\0", "\0", "pi_\u{fc}", "pi 1", "../pi_1", "", &long] {
        let get = visit(&headers, "");
        let money = format!("{csrf}&reference={}&amount=1", "0".repeat(32));
        let money = visit(&headers, &money);
        let form = visit(&headers, &csrf);
        for (what, answer) in [
            ("order", open.shop.order(&get, id).await),
            ("api", open.shop.api_order(id).await),
            ("payment", open.shop.payment(&get, id).await),
            ("refund", open.shop.refund(&money, id).await),
            ("capture", open.shop.capture(&money, id).await),
            ("cancel", open.shop.call_off(&form, id).await),
            ("replay", open.shop.replay(&form, id).await),
        ] {
            assert_eq!(answer.status, 404, "{what} {id:?}: {}", text(&answer));
        }
        if id.is_empty() {
            continue;
        }
        let of = serde_html_form::to_string([("payment", id)]).unwrap();
        let form = format!("{csrf}&{of}");
        for answer in [
            open.shop.replay(&visit(&headers, &form), "evt_1").await,
            open.shop.drop_event(&visit(&headers, &form), "evt_1").await,
            open.shop.call_off(&visit(&headers, &form), id).await,
        ] {
            assert_eq!(answer.status, 404, "{id:?}: {}", text(&answer));
        }
    }
    // A day is no id, and neither is a card.
    let day = open.shop.day(&visit(&headers, ""), "2030-01-\0").await;
    assert_eq!(day.status, 404);
}

#[tokio::test]
async fn every_answer_forbids_frames() {
    let Some(open) = open().await else { return };
    let get = visit(&[], "");
    for answer in [
        open.shop.home(&get),
        open.shop.cart(&get).await,
        open.shop.enter_page(&get).await,
        open.shop.log_in_page(&get).await,
        open.shop.admin(&get).await,
        open.shop.api_products(),
        open.shop.asset("shop.css"),
        open.shop.problem(shop::Problem::Busy),
        open.shop.api_create_order(&json("{")).await,
    ] {
        assert_eq!(header(&answer, "x-frame-options"), "DENY");
        // Play money travels as it likes.
        assert_eq!(header(&answer, "strict-transport-security"), "");
    }
    let busy = open.shop.problem(shop::Problem::Busy);
    assert_eq!((busy.status, header(&busy, "retry-after")), (503, "5"));
}

#[tokio::test]
async fn abandoned_orders_are_canceled_and_others_are_not() {
    let Some(open) = open_with_stripe().await else {
        return;
    };
    let (untouched, opened, paid) = (open.order().await, open.order().await, open.order().await);
    let request = open.request(&opened).await;
    open.checkout.create_intent(&request).await.unwrap();
    open.pay(&paid, "pm_card_visa").await;
    // Its money may be authorised although no event has told it.
    let pre_order = open.kettle().await;
    let declined = open.order().await;
    open.pay(&declined, "pm_card_chargeDeclined").await;
    assert_eq!(open.status(&declined).await, "failed");

    let canceled = async |before| {
        let run = shop::cancel_abandoned(&open.checkout, &open.store, before, 0);
        run.await.unwrap().canceled
    };
    // All of them are younger.
    assert_eq!(canceled(1_000_000_000).await, 0);
    assert_eq!(open.status(&untouched).await, "pending");

    assert_eq!(canceled(i64::MAX).await, 3);
    open.told().await;
    for order in [&untouched, &opened, &declined] {
        assert_eq!(open.status(order).await, "canceled");
    }
    assert_eq!(open.status(&paid).await, "paid");
    assert_eq!(open.status(&pre_order).await, "pending");
    assert_eq!(canceled(i64::MAX).await, 0);
    // A page that is still open takes no money any more.
    let late = open.checkout.create_intent(&request).await;
    assert!(matches!(late, Err(PaymentError::CalledOff)), "{late:?}");
}

#[tokio::test]
async fn an_order_that_cannot_be_canceled_keeps_no_other_one_waiting() {
    let Some(mut open) = open_with_stripe().await else {
        return;
    };
    let (first, second) = (open.order().await, open.order().await);
    let request = open.request(&first).await;
    open.checkout.create_intent(&request).await.unwrap();
    open.stripe_goes_away();
    let run = shop::cancel_abandoned(&open.checkout, &open.store, i64::MAX, 0);
    let run = run.await.unwrap();
    assert_eq!(run.canceled, 1);
    // The next run goes on behind them, and the one after it begins again.
    let run = shop::cancel_abandoned(&open.checkout, &open.store, i64::MAX, run.next);
    let begin = shop::AbandonedRun {
        canceled: 0,
        next: 0,
    };
    assert_eq!(run.await.unwrap(), begin);
    assert_eq!(open.status(&first).await, "pending");
    assert_eq!(open.status(&second).await, "canceled");
}
