//! No host name resolves.

use std::time::Duration;

use stripe_checkout_core::ReconcileError;

use crate::log::Log;
use crate::post::Post;
use crate::shop::{Pool, Shop, orders, payment_of};
use crate::stripe::Stripe;

#[tokio::test]
async fn without_dns_webhooks_ship_and_buyers_are_asked_to_come_back() {
    let (stripe, folder) = (Stripe::start().await, tempfile::tempdir().unwrap());
    let pool = Pool::Sqlite(crate::disk_full::file(folder.path()).await);
    let config = stripe.sandbox.config();
    let shop = Shop::open(pool.clone(), &config).await;
    let all = orders("dns", 0..4);
    let mut secrets = Vec::new();
    for order in &all {
        let secret = shop.opened(order).await;
        stripe.pay(payment_of(&secret)).await;
        secrets.push(secret);
    }

    // RFC 6761 keeps this domain from ever having a name.
    let nowhere = config.with_api_base("https://api.stripe.invalid").unwrap();
    let lost = Shop::open(pool, &nowhere).await;
    let (log, _listening) = Log::listen();
    let (new, page, status) = tokio::join!(
        lost.create("new"),
        lost.page("new"),
        lost.status(&secrets[0])
    );
    new.is_later("payment_unavailable");
    status.is_later("payment_unavailable");
    assert_eq!(page.status, 200, "the page itself needs no Stripe");
    assert!(log.count("ERROR", "no PaymentIntent") == 1);
    let failed = lost.checkout.reconcile().once().await;
    assert!(
        matches!(failed, Err(ReconcileError::Incomplete { .. })),
        "{failed:?}"
    );
    let post = Post::default();
    post.until_all_are_taken(&stripe, &lost).await;
    assert_eq!(lost.shipped().await, all, "news needs no Stripe");

    // Names resolve again.
    let secret = shop.opened("new").await;
    stripe.pay(payment_of(&secret)).await;
    shop.checkout.reconcile().once().await.unwrap();
    let all = [all, vec!["new".to_owned()]].concat();
    assert_eq!(shop.shipped().await, all);
    assert_eq!(stripe.orders("succeeded").await, all);
    post.until_all_are_taken(&stripe, &shop).await;
    assert_eq!(shop.shipped().await, all);
    assert_eq!(shop.checkout.alerts(Duration::ZERO).await.unwrap(), []);
}
