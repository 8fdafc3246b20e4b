//! The effects of a payment's events on an order, with the orders and repetitions that Stripe may
//! send.

use std::sync::Arc;

use super::common::{Open, open, payment};
use stripe_checkout_core::{
    Amount,
    fulfillment::{Due, FulfillmentHandler as _},
    testing::{self, PaymentIntent},
    webhook::{Event, Payment},
};
use tokio::sync::Notify;

const TOTAL: u64 = 4550;

fn read(intent: PaymentIntent) -> Payment {
    serde_json::from_value(intent.object()).unwrap()
}

/// Returns the event with which this payment reaches this status.
fn news(status: &str, intent: PaymentIntent) -> Event {
    let object = intent.status(status).object();
    Event::parse(testing::event(&format!("payment_intent.{status}"), object)).unwrap()
}

fn handler() -> shop::Fulfil {
    shop::Fulfil::new(Arc::new(Notify::new()))
}

/// Returns a connection that commits each statement, instead of the inbox's transaction.
async fn db(open: &Open) -> impl shop::Connection {
    open.store.acquire().await.unwrap()
}

async fn kinds(open: &Open) -> Vec<String> {
    let notices = open.store.newest_notices(None, 10).await.unwrap();
    notices.into_iter().map(|notice| notice.kind).collect()
}

#[tokio::test]
async fn a_paid_order_is_shipped_once_however_often_it_is_told() {
    let Some(open) = open().await else { return };
    let id = open.order().await;
    let body = testing::event(
        "payment_intent.succeeded",
        payment("pi_1", &id, TOTAL).status("succeeded").object(),
    );
    for _ in 0..3 {
        assert_eq!(open.deliver(&body).await, 200);
    }
    // Another event object for the same change.
    open.tell(
        "payment_intent.succeeded",
        payment("pi_1", &id, TOTAL).status("succeeded"),
    )
    .await;
    let order = open.api(&id).await;
    assert_eq!(
        (order["status"].as_str(), order["payment_intent"].as_str()),
        (Some("paid"), Some("pi_1"))
    );
    assert_eq!(order["shipments"].as_array().unwrap().len(), 1);
    assert_eq!(shop::work_off_outbox(&open.store).await.unwrap(), 1);
    assert_eq!(shop::work_off_outbox(&open.store).await.unwrap(), 0);
}

#[tokio::test]
async fn deliveries_at_the_same_time_ship_once() {
    let Some(open) = open().await else { return };
    let id = open.order().await;
    let open = Arc::new(open);
    let deliveries: Vec<_> = (0..8)
        .map(|_| {
            let (open, id) = (Arc::clone(&open), id.clone());
            tokio::spawn(async move {
                // Past the inbox, as after a restart. Only the order's row prevents eight calls
                // from shipping eight parcels.
                let paid = read(payment("pi_1", &id, TOTAL).status("succeeded"));
                handler()
                    .payment_succeeded(&paid, &mut db(&open).await)
                    .await
                    .map_err(|error| error.to_string())
            })
        })
        .collect();
    for delivery in deliveries {
        delivery.await.unwrap().unwrap();
    }
    assert_eq!(
        open.api(&id).await["shipments"].as_array().unwrap().len(),
        1
    );
    assert!(kinds(&open).await.is_empty());
}

#[tokio::test]
async fn a_second_payment_is_noticed_and_not_shipped() {
    let Some(open) = open().await else { return };
    let id = open.order().await;
    open.tell(
        "payment_intent.succeeded",
        payment("pi_1", &id, TOTAL).status("succeeded"),
    )
    .await;
    open.tell(
        "payment_intent.succeeded",
        payment("pi_2", &id, TOTAL).status("succeeded"),
    )
    .await;
    // The same after a restart, when only the row remembers.
    let again = read(payment("pi_2", &id, TOTAL).status("succeeded"));
    handler()
        .payment_succeeded(&again, &mut db(&open).await)
        .await
        .unwrap();
    let order = open.api(&id).await;
    assert_eq!(
        (order["status"].as_str(), order["payment_intent"].as_str()),
        (Some("paid"), Some("pi_1"))
    );
    assert_eq!(order["shipments"].as_array().unwrap().len(), 1);
    assert_eq!(
        kinds(&open).await,
        ["duplicate payment"],
        "one notice, not two"
    );
    // The second payment is refunded, and the order stays paid.
    let refund = testing::refund(
        "re_2",
        "pi_2",
        Amount::new(TOTAL, shop::catalogue::CURRENCY),
    );
    assert_eq!(
        open.deliver(&testing::event("refund.created", refund))
            .await,
        200
    );
    assert_eq!(open.status(&id).await, "paid");
}

#[tokio::test]
async fn the_order_follows_its_payment() {
    let Some(open) = open().await else { return };
    let id = open.order().await;
    let intent = || payment("pi_1", &id, TOTAL);
    open.tell(
        "payment_intent.payment_failed",
        intent().failed("card_declined", Some("stolen_card")),
    )
    .await;
    assert_eq!(open.status(&id).await, "failed");
    let html = super::common::text(&open.shop.order(&super::common::visit(&[], ""), &id).await);
    assert!(
        html.contains("Try again") && !html.contains("stolen"),
        "{html}"
    );
    open.tell("payment_intent.processing", intent().status("processing"))
        .await;
    assert_eq!(open.status(&id).await, "processing");
    open.tell("payment_intent.succeeded", intent().status("succeeded"))
        .await;
    assert_eq!(open.status(&id).await, "paid");
    // Late events, past the inbox.
    for late in ["processing", "canceled"] {
        let late = news(late, intent());
        testing::handle(&handler(), &late, &mut db(&open).await)
            .await
            .unwrap();
    }
    assert_eq!(open.status(&id).await, "paid");
}

#[tokio::test]
async fn a_canceled_payment_cancels_its_order_but_not_a_newer_payments() {
    let Some(open) = open().await else { return };
    let id = open.order().await;
    open.tell(
        "payment_intent.processing",
        payment("pi_2", &id, TOTAL).status("processing"),
    )
    .await;
    open.tell(
        "payment_intent.canceled",
        payment("pi_1", &id, TOTAL).status("canceled"),
    )
    .await;
    assert_eq!(open.status(&id).await, "processing");
    open.tell(
        "payment_intent.canceled",
        payment("pi_2", &id, TOTAL).status("canceled"),
    )
    .await;
    assert_eq!(open.status(&id).await, "canceled");
}

#[tokio::test]
async fn a_declined_payment_fails_its_order_but_not_a_newer_payments() {
    let Some(open) = open().await else { return };
    let id = open.order().await;
    open.tell(
        "payment_intent.processing",
        payment("pi_2", &id, TOTAL).status("processing"),
    )
    .await;
    for (declined, status) in [("pi_1", "processing"), ("pi_2", "failed")] {
        let declined = payment(declined, &id, TOTAL).status("requires_payment_method");
        open.tell("payment_intent.payment_failed", declined).await;
        assert_eq!(open.status(&id).await, status);
    }
}

#[tokio::test]
async fn an_order_that_is_not_there_is_an_error_and_not_a_shrug() {
    let Some(open) = open().await else { return };
    let strange = "0".repeat(32);
    let paid = read(payment("pi_1", &strange, TOTAL).status("succeeded"));
    let handler = handler();
    assert!(
        handler
            .payment_succeeded(&paid, &mut db(&open).await)
            .await
            .is_err()
    );
    assert!(
        handler
            .amount_due(&paid, &mut db(&open).await)
            .await
            .is_err()
    );
    for late in ["processing", "canceled"] {
        let late = news(late, payment("pi_1", &strange, TOTAL));
        let told = testing::handle(&handler, &late, &mut db(&open).await).await;
        assert!(told.is_err());
    }
    let nameless = read(
        PaymentIntent::new("pi_1", Amount::new(TOTAL, shop::catalogue::CURRENCY))
            .status("succeeded"),
    );
    assert!(
        handler
            .payment_succeeded(&nameless, &mut db(&open).await)
            .await
            .is_err()
    );
    // Stripe gets a 500, so that it sends the event again, even if the money was refunded before.
    for id in ["pi_1", "pi_2"] {
        if id == "pi_2" {
            let all = Amount::new(TOTAL, shop::catalogue::CURRENCY);
            let back = testing::event("refund.created", testing::refund("re_2", id, all));
            assert_eq!(open.deliver(&back).await, 503);
        }
        let body = testing::event(
            "payment_intent.succeeded",
            payment(id, &strange, TOTAL).status("succeeded").object(),
        );
        assert_eq!(open.deliver(&body).await, 500);
    }
}

#[tokio::test]
async fn what_is_due_is_what_the_row_says() {
    let Some(open) = open().await else { return };
    let id = open.order().await;
    let paid = read(payment("pi_1", &id, 1).status("succeeded"));
    let due = handler()
        .amount_due(&paid, &mut db(&open).await)
        .await
        .unwrap();
    assert_eq!(
        due,
        Due::Exactly(Amount::new(TOTAL, shop::catalogue::CURRENCY))
    );
}

#[tokio::test]
async fn too_little_money_ships_nothing_and_asks_for_a_look() {
    let Some(open) = open().await else { return };
    let id = open.order().await;
    open.tell(
        "payment_intent.succeeded",
        payment("pi_1", &id, 100).status("succeeded"),
    )
    .await;
    let order = open.api(&id).await;
    assert_eq!(
        (
            order["status"].as_str(),
            order["shipments"].as_array().unwrap().len()
        ),
        (Some("review"), 0)
    );
    assert_eq!(kinds(&open).await, ["mismatch"]);
}

#[tokio::test]
async fn refunds_add_up() {
    let Some(open) = open().await else { return };
    let id = open.order().await;
    open.tell(
        "payment_intent.succeeded",
        payment("pi_1", &id, TOTAL).status("succeeded"),
    )
    .await;
    let refund = |refund_id: &str, minor, status: &str| {
        let mut object = testing::refund(
            refund_id,
            "pi_1",
            Amount::new(minor, shop::catalogue::CURRENCY),
        );
        object["status"] = status.into();
        object
    };
    for (event_type, object, status) in [
        ("refund.created", refund("re_1", 1000, "succeeded"), "paid"),
        ("refund.updated", refund("re_1", 1000, "succeeded"), "paid"),
        ("refund.created", refund("re_2", 3550, "pending"), "paid"),
        (
            "refund.updated",
            refund("re_2", 3550, "succeeded"),
            "refunded",
        ),
        // Stripe guarantees no order of events.
        (
            "refund.updated",
            refund("re_2", 3550, "pending"),
            "refunded",
        ),
        ("refund.failed", refund("re_2", 3550, "failed"), "paid"),
    ] {
        assert_eq!(
            open.deliver(&testing::event(event_type, object)).await,
            200,
            "{event_type}"
        );
        assert_eq!(open.status(&id).await, status, "{event_type}");
    }
    assert_eq!(kinds(&open).await, ["refund failed"]);
}

#[tokio::test]
async fn a_refund_that_fails_ships_nothing_and_does_not_say_so() {
    let Some(open) = open().await else { return };
    let id = open.order().await;
    let too_little = payment("pi_1", &id, 100).status("succeeded");
    open.tell("payment_intent.succeeded", too_little).await;
    for (event_type, refund, status) in [
        ("refund.created", "succeeded", "refunded"),
        ("refund.failed", "failed", "review"),
    ] {
        let amount = Amount::new(100, shop::catalogue::CURRENCY);
        let mut object = testing::refund("re_1", "pi_1", amount);
        object["status"] = refund.into();
        let told = open.deliver(&testing::event(event_type, object)).await;
        assert_eq!(told, 200, "{event_type}");
        let order = open.api(&id).await;
        assert_eq!(order["status"], status, "{event_type}");
        assert_eq!(order["shipments"].as_array().map(Vec::len), Some(0));
    }
}

#[tokio::test]
async fn the_prices_refuse_what_cannot_be_paid() {
    use stripe_checkout_core::{Pricing as _, PricingError, Visitor};
    let Some(open) = open().await else { return };
    let prices = shop::OrderPrices::new(open.store.clone());
    let ask = |order: &str| {
        let reference = shop::OrderReference {
            order: order.to_owned(),
        };
        let prices = prices.clone();
        async move { prices.price(reference, &Visitor::default()).await }
    };
    let id = open.order().await;
    let request = ask(&id).await.unwrap();
    assert_eq!(
        (
            request.reference(),
            request.amount().minor(),
            request.lines().len()
        ),
        (id.as_str(), TOTAL, 2)
    );
    assert!(matches!(
        ask("nonsense").await,
        Err(PricingError::Refused { .. })
    ));

    open.tell(
        "payment_intent.succeeded",
        payment("pi_1", &id, TOTAL).status("succeeded"),
    )
    .await;
    assert!(
        matches!(ask(&id).await, Err(PricingError::AlreadyPaid { reference }) if reference == id)
    );

    let canceled = open.order().await;
    open.tell(
        "payment_intent.canceled",
        payment("pi_2", &canceled, TOTAL).status("canceled"),
    )
    .await;
    assert!(matches!(
        ask(&canceled).await,
        Err(PricingError::Refused { .. })
    ));

    let odd = open.order().await;
    open.tell(
        "payment_intent.succeeded",
        payment("pi_3", &odd, 1).status("succeeded"),
    )
    .await;
    assert!(matches!(ask(&odd).await, Err(PricingError::Refused { .. })));
}
