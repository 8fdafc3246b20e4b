//! Stripe's API does not answer for an hour.

use std::time::Duration;

use stripe_checkout_core::ReconcileError;
use stripe_checkout_core::fulfillment::EventState;
use stripe_checkout_sandbox::Fault;

use crate::post::Post;
use crate::shop::{Pool, Shop, orders, payment_of};
use crate::stripe::Stripe;

const HOUR: Duration = Duration::from_secs(60 * 60);

/// More requests than a test sends.
const ALL: usize = 10_000;

#[tokio::test]
async fn an_hour_without_stripe_loses_no_payment_and_opens_none_twice() {
    for fault in [Fault::Status(503), Fault::Reset] {
        away(fault).await;
    }
}

async fn away(fault: Fault) {
    let (stripe, folder) = (Stripe::start().await, tempfile::tempdir().unwrap());
    let pool = Pool::Sqlite(crate::disk_full::file(folder.path()).await);
    let shop = Shop::open(pool, &stripe.sandbox.config()).await;
    let all = orders("away", 0..6);
    let mut secrets = Vec::new();
    for order in &all {
        let secret = shop.opened(order).await;
        stripe.pay(payment_of(&secret)).await;
        secrets.push(secret);
    }
    let events = stripe.events().await;
    // Half of them arrive as soon as Stripe is away, the others an hour later.
    let is_early = |event: &serde_json::Value| {
        let text = event.to_string();
        secrets[..3]
            .iter()
            .any(|secret| text.contains(payment_of(secret)))
    };
    let (early, late): (Vec<_>, Vec<_>) = events.iter().partition(|event| is_early(event));

    stripe.sandbox.faults().next(ALL, fault.clone());
    for event in early {
        assert_eq!(
            shop.webhook(event).await.status,
            200,
            "news needs no Stripe"
        );
    }
    assert_eq!(shop.shipped().await, all[..3]);
    let (new, page, status) = tokio::join!(
        shop.create("new"),
        shop.page("new"),
        shop.status(&secrets[5])
    );
    new.is_later("payment_unavailable");
    status.is_later("payment_unavailable");
    assert_eq!(page.status, 200, "the page itself needs no Stripe");
    let failed = shop.checkout.reconcile().once().await;
    assert!(
        matches!(failed, Err(ReconcileError::Incomplete { .. })),
        "{failed:?}"
    );

    stripe.sandbox.faults().clear();
    stripe.sandbox.pass_time(HOUR);
    let older: Vec<_> = stripe.events().await;
    let older = |late: &serde_json::Value| older.iter().find(|event| event["id"] == late["id"]);
    let late: Vec<_> = late.into_iter().filter_map(older).collect();
    stripe.sandbox.faults().next(ALL, fault);
    // Money may have gone back within an hour, so an old success waits for Stripe.
    for event in &late {
        let answer = shop.webhook(event).await;
        match event["type"].as_str() {
            Some("payment_intent.succeeded") => answer.is_later("waiting"),
            _ => assert_eq!(answer.status, 200, "{answer:?}"),
        }
    }
    assert_eq!(shop.shipped().await, all[..3]);
    assert_eq!(shop.events(EventState::Pending).await, 3);

    stripe.sandbox.faults().clear();
    let post = Post::default();
    post.until_all_are_taken(&stripe, &shop).await;
    assert_eq!(shop.shipped().await, all);
    shop.checkout.reconcile().once().await.unwrap();
    assert_eq!(shop.shipped().await, all, "after the reconciler");
    let secret = shop.opened("new").await;
    stripe.pay(payment_of(&secret)).await;
    post.until_all_are_taken(&stripe, &shop).await;
    let mut all = [all, vec!["new".to_owned()]].concat();
    all.sort();
    assert_eq!(shop.shipped().await, all);
    assert_eq!(stripe.orders("succeeded").await, all);
    assert_eq!(stripe.orders("requires_payment_method").await.len(), 0);
    assert_eq!(shop.checkout.alerts(Duration::ZERO).await.unwrap(), []);
}
