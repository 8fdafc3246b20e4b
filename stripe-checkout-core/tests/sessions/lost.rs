//! Webhooks that never came.

use std::time::Duration;

use stripe_checkout_core::fulfillment::Received;

use super::fulfilment::by_hand;
use super::world::{DELAYED, GOOD, Shop, World};

#[tokio::test]
async fn the_buyer_who_comes_back_settles_what_no_webhook_told() {
    let world = World::new().await;
    let session = world.open("1").await;
    let waiting = world.checkout.retrieve_session(session.id()).await.unwrap();
    assert_eq!(
        waiting.unwrap().status().as_str(),
        "requires_payment_method",
        "who comes back without having paid"
    );
    world.pay(session.id(), GOOD).await;
    for _ in 0..3 {
        let back = world.checkout.retrieve_session(session.id()).await.unwrap();
        assert_eq!(back.unwrap().status().as_str(), "succeeded");
    }
    assert_eq!(world.shop.lines(), ["ship for 20.00 EUR of 20.00 EUR 1"]);
    assert_eq!(
        world.deliver().await,
        [""; 0],
        "the webhook comes after all"
    );
}

#[tokio::test]
async fn an_unknown_id_tells_nothing_and_leaves_the_path_alone() {
    let world = World::new().await;
    for id in [
        "cs_test_unknown",
        "cs_",
        "",
        "../payment_intents/pi_1",
        "cs_1?expand[]=customer",
        "pi_1",
    ] {
        assert!(
            world.checkout.retrieve_session(id).await.unwrap().is_none(),
            "{id}"
        );
    }
}

#[tokio::test]
async fn a_shop_that_forgot_knows_its_own_sessions_by_their_mark() {
    let world = World::new().await;
    let own = world.open("1").await;
    let other = world
        .post(
            "/checkout/sessions",
            &by_hand("").replace("]=tea", "]=coffee"),
        )
        .await;
    let newcomer = world.newcomer(&Shop::default());
    let found = newcomer.retrieve_session(own.id()).await.unwrap();
    assert_eq!(found.unwrap().order_id(), Some("1"));
    let other = other["id"].as_str().unwrap();
    assert!(newcomer.retrieve_session(other).await.unwrap().is_none());
}

#[tokio::test]
async fn the_reconciler_finds_money_that_was_authorised() {
    let world = World::new().await;
    let form = by_hand("&payment_intent_data[capture_method]=manual");
    let session = world.post("/checkout/sessions", &form).await;
    let id = session["id"].as_str().unwrap();
    world.put_open("1", id).await;
    world.sandbox.webhooks().lose_events(100);
    world.pay(id, GOOD).await;
    let run = world.checkout.reconcile().once().await.unwrap();
    assert_eq!((run.intents, run.settled), (1, 1), "{run:?}");
    assert_eq!(world.shop.lines(), ["collect 1"]);
    let run = world.checkout.reconcile().once().await.unwrap();
    assert_eq!((run.intents, run.changed), (1, 0), "{run:?}");
    assert_eq!(world.shop.lines(), [""; 0]);
}

/// Which kind of end, and what the shop hears.
#[tokio::test]
async fn the_reconciler_finds_what_became_of_a_session_whose_events_never_came() {
    let world = World::new().await;
    let paid = world.open("paid").await;
    let free = world.open("free").await;
    let late = world.open("late").await;
    let failed = world.open("failed").await;
    let left = world.open("left").await;
    world.sandbox.webhooks().lose_events(1000);
    world.pay(paid.id(), GOOD).await;
    world.on_page(free.id(), "code", "code=SANDBOXFREE").await;
    world
        .on_page(free.id(), "pay", "email=j%40example.com")
        .await;
    for session in [&late, &failed] {
        world.pay(session.id(), DELAYED).await;
    }
    let run = world.checkout.reconcile().once().await.unwrap();
    assert_eq!(
        (run.intents, run.settled, run.changed),
        (5, 2, 2),
        "{run:?}"
    );
    let mut lines = world.shop.lines();
    lines.sort();
    assert_eq!(lines, ["give free", "ship for 20.00 EUR of 20.00 EUR paid"]);

    assert!(
        world
            .sandbox
            .settle(&world.intent_of(late.id()).await, true)
    );
    assert!(
        world
            .sandbox
            .settle(&world.intent_of(failed.id()).await, false)
    );
    world.sandbox.pass_time(Duration::from_secs(24 * 60 * 60));
    let run = world.checkout.reconcile().once().await.unwrap();
    assert_eq!((run.intents, run.settled), (3, 3), "{run:?}");
    let mut lines = world.shop.lines();
    lines.sort();
    assert_eq!(
        lines,
        [
            "failed failed",
            "over left",
            "ship for 20.00 EUR of 20.00 EUR late"
        ]
    );
    assert_eq!(world.sessions("expired").await, [left.id()]);
    let run = world.checkout.reconcile().once().await.unwrap();
    assert_eq!((run.intents, run.new), (0, 0), "{run:?}");
}

#[tokio::test]
async fn the_reconciler_lists_what_webhooks_lost_and_ships_once() {
    let world = World::new().await;
    let session = world.open("1").await;
    world.pay(session.id(), GOOD).await;
    let run = world.checkout.reconcile().once().await.unwrap();
    assert!(run.new >= 2, "{run:?}");
    assert_eq!(world.shop.lines(), ["ship for 20.00 EUR of 20.00 EUR 1"]);
    let completed = world.events().await.pop().unwrap();
    assert_eq!(completed.event_type(), "checkout.session.completed");
    let received = world.checkout.receive(completed).await.unwrap();
    assert!(matches!(received, Received::Duplicate(_)), "{received:?}");
}
