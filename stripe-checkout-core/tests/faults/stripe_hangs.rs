//! Stripe's API takes connections and requests, and never answers.

use std::time::Duration;

use serde_json::Value;
use stripe_checkout_core::ReconcileError;
use stripe_checkout_core::fulfillment::EventState;
use stripe_checkout_sandbox::Fault;
use tokio::task::JoinSet;

use crate::post::Post;
use crate::shop::{Answer, Pool, Shop, orders, payment_of};
use crate::stripe::Stripe;

/// Money may have gone back within this time, so an old success waits for Stripe.
const HOUR: Duration = Duration::from_secs(60 * 60);

/// More requests than a test sends.
const ALL: usize = 10_000;

/// Delivers these events one after the other. Returns the type of each and the answer to it.
async fn deliver(shop: Shop, events: Vec<Value>) -> Vec<(Value, Answer)> {
    let mut answers = Vec::new();
    for event in events {
        let answer = shop.webhook(&event).await;
        answers.push((event["type"].clone(), answer));
    }
    answers
}

#[tokio::test]
async fn a_stripe_that_never_answers_holds_up_no_route_and_loses_no_payment() {
    let (stripe, folder) = (Stripe::start().await, tempfile::tempdir().unwrap());
    let pool = Pool::Sqlite(crate::disk_full::file(folder.path()).await);
    let shop = Shop::open(pool, &stripe.sandbox.config()).await;
    let all = orders("hangs", 0..4);
    let mut secrets = Vec::new();
    for order in &all {
        let secret = shop.opened(order).await;
        stripe.pay(payment_of(&secret)).await;
        secrets.push(secret);
    }
    stripe.sandbox.pass_time(HOUR);
    let events = stripe.events().await;
    let before = stripe.sandbox.requests().len();

    stripe.sandbox.faults().next(ALL, Fault::Hang);
    let mut webhooks = JoinSet::new();
    for secret in &secrets {
        let mut events = events.clone();
        events.retain(|event| event.to_string().contains(payment_of(secret)));
        webhooks.spawn(deliver(shop.clone(), events));
    }
    let reconciler = shop.checkout.reconcile();
    let visitors_and_webhooks = async {
        // Each of them fails the test if it takes longer than a call to Stripe may.
        let (new, page, status, answers) = tokio::join!(
            shop.create("new"),
            shop.page("new"),
            shop.status(&secrets[3]),
            webhooks.join_all(),
        );
        new.is_later("payment_unavailable");
        status.is_later("payment_unavailable");
        assert_eq!(page.status, 200, "the page itself needs no Stripe");
        for (kind, answer) in answers.into_iter().flatten() {
            match kind.as_str() {
                Some("payment_intent.succeeded") => answer.is_later("waiting"),
                _ => assert_eq!(answer.status, 200, "{kind}: {answer:?}"),
            }
        }
        assert_eq!(shop.shipped().await.len(), 0);
        assert_eq!(shop.events(EventState::Pending).await, all.len());
        stripe.sandbox.faults().clear();
    };
    let ((), failed) = tokio::join!(visitors_and_webhooks, reconciler.once());
    assert!(
        matches!(failed, Err(ReconcileError::Incomplete { .. })),
        "{failed:?}"
    );
    let mut keys: Vec<_> = stripe.sandbox.requests().split_off(before);
    keys.retain(|request| request.method == "POST" && request.path == "/v1/payment_intents");
    let mut keys: Vec<_> = keys.into_iter().map(|post| post.idempotency_key).collect();
    assert!(keys.len() > 1, "a second try: {keys:?}");
    keys.dedup();
    assert_eq!(keys.len(), 1, "each try has the same key: {keys:?}");

    let post = Post::default();
    post.until_all_are_taken(&stripe, &shop).await;
    assert_eq!(shop.shipped().await, all);
    let secret = shop.opened("new").await;
    stripe.pay(payment_of(&secret)).await;
    post.until_all_are_taken(&stripe, &shop).await;
    shop.checkout.reconcile().once().await.unwrap();
    let all = [all, vec!["new".to_owned()]].concat();
    assert_eq!(shop.shipped().await, all);
    assert_eq!(stripe.orders("succeeded").await, all);
    assert_eq!(stripe.orders("requires_payment_method").await.len(), 0);
    assert_eq!(shop.checkout.alerts(Duration::ZERO).await.unwrap(), []);
}
