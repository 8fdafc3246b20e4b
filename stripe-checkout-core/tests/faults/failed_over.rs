//! The PostgreSQL server dies, and a copy takes over that was behind: acknowledged events, orders
//! and a refund are gone, and so is the reconciler's newest bookmark.

use sqlx::PgPool;
use stripe_checkout_core::Amount;
use stripe_checkout_core::requests::RefundRequest;

use crate::cluster::{Address, Cluster};
use crate::post::Post;
use crate::shop::{PATIENCE, PRICE, Pool, Shop, orders, payment_of};
use crate::stripe::Stripe;

/// Repeats a query until its answer is yes.
async fn until(pool: &PgPool, sql: &'static str) {
    let end = tokio::time::Instant::now() + PATIENCE;
    loop {
        let yes: Option<bool> = sqlx::query_scalar(sql).fetch_one(pool).await.unwrap();
        if yes == Some(true) {
            return;
        }
        assert!(tokio::time::Instant::now() < end, "{sql}");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

/// How far the reconciler received Stripe's events, in seconds since 1970.
async fn bookmark(pool: &PgPool) -> i64 {
    let sql = "SELECT (value::json ->> 'created')::bigint FROM stripe_checkout.stripe_checkout_bookmarks WHERE name = 'events'";
    sqlx::query_scalar(sql).fetch_one(pool).await.unwrap()
}

/// Moves the bookmark on, as runs of the next two hours do. Each run lists an hour once more.
async fn two_hours_later(pool: &PgPool) {
    let sql = "UPDATE stripe_checkout.stripe_checkout_bookmarks SET value = json_build_object('created', (value::json ->> 'created')::bigint + 7200)::text WHERE name = 'events'";
    let moved = sqlx::raw_sql(sql).execute(pool).await.unwrap();
    assert_eq!(moved.rows_affected(), 1);
}

async fn paid(stripe: &Stripe, shop: &Shop, orders: &[String]) -> Vec<String> {
    let mut payments = Vec::new();
    for order in orders {
        let secret = shop.opened(order).await;
        stripe.pay(payment_of(&secret)).await;
        payments.push(payment_of(&secret).to_owned());
    }
    payments
}

#[tokio::test]
async fn one_run_of_the_reconciler_finds_all_that_a_copy_did_not_have() {
    let Some(mut server) = Cluster::start() else {
        return;
    };
    let mut copy = server.replica();
    let address = Address::of(&server);
    let stripe = Stripe::start().await;
    let pool = address.hasty_pool().await;
    let shop = Shop::open(Pool::Postgres(pool.clone()), &stripe.sandbox.config()).await;
    let post = Post::default();

    // The copy has all of these.
    let copied = orders("copied", 0..5);
    let payments = paid(&stripe, &shop, &copied).await;
    post.until_all_are_taken(&stripe, &shop).await;
    shop.checkout.reconcile().once().await.unwrap();
    // The buyer of this one pays later.
    let waiting = shop.opened("waiting").await;
    let all_was_replayed = "SELECT count(*) = 1 AND bool_and(replay_lsn >= pg_current_wal_lsn()) FROM pg_stat_replication";
    until(&pool, all_was_replayed).await;

    // The copy loses its server and has none of these.
    let copys_pool = copy.pool().await;
    for sql in [
        "ALTER SYSTEM SET primary_conninfo = ''",
        "SELECT pg_reload_conf()",
    ] {
        sqlx::raw_sql(sql).execute(&copys_pool).await.unwrap();
    }
    until(&copys_pool, "SELECT count(*) = 0 FROM pg_stat_wal_receiver").await;
    let lost = orders("lost", 0..5);
    paid(&stripe, &shop, &lost).await;
    stripe.pay(payment_of(&waiting)).await;
    let open = shop.opened("open").await;
    let refund =
        RefundRequest::new("return-1", &*payments[0]).amount(Amount::new(500, PRICE.currency()));
    let refunded = shop.checkout.refund(&refund).await.unwrap();
    post.until_all_are_taken(&stripe, &shop).await;
    shop.checkout.reconcile().once().await.unwrap();
    assert_eq!(shop.shipped().await.len(), 11);
    // A run that begins there finds none of the lost orders.
    two_hours_later(&pool).await;
    shop.checkout.reconcile().once().await.unwrap();
    let reached = bookmark(&pool).await;

    server.kill();
    shop.create("new").await.is_later("unavailable");
    copy.promote();
    address.move_to(&copy);
    // A buyer of a lost order presses Pay once more, and another one pays late.
    let again = shop.create(&lost[0]).await;
    assert_eq!(again.status, 409, "an order that is paid: {again:?}");
    assert_eq!(again.code.as_deref(), Some("order_paid"));
    assert_eq!(shop.opened("open").await, open, "the same payment");
    assert_eq!(shop.shipped().await, copied, "the copy was behind");
    let copys = bookmark(&pool).await;
    assert!(copys <= reached - 7200, "{copys}, {reached}");

    let found = shop.checkout.reconcile().once().await.unwrap();
    let mut all = [copied, lost, vec!["waiting".to_owned()]].concat();
    all.sort();
    assert_eq!(shop.shipped().await, all, "{found:?}");
    assert_eq!(found.failed, 0, "{found:?}");

    // All that is repeated now does nothing twice.
    Post::default().until_all_are_taken(&stripe, &shop).await;
    shop.checkout.reconcile().once().await.unwrap();
    assert_eq!(shop.shipped().await, all);
    let repeated = shop.checkout.refund(&refund).await.unwrap();
    assert_eq!(repeated.id(), refunded.id(), "the same refund");
    assert_eq!(stripe.list("/refunds").await.len(), 1);
    stripe.pay(payment_of(&open)).await;
    post.until_all_are_taken(&stripe, &shop).await;
    all.push("open".to_owned());
    all.sort();
    assert_eq!(shop.shipped().await, all);
    assert_eq!(stripe.orders("succeeded").await, all, "none paid twice");
    let pause = std::time::Duration::ZERO;
    assert_eq!(shop.checkout.alerts(pause).await.unwrap(), []);
}
