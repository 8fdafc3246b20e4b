//! PostgreSQL is killed while webhooks arrive, and starts again.

use std::time::Duration;

use crate::cluster::Cluster;
use crate::log::Log;
use crate::post::Post;
use crate::shop::{PATIENCE, Pool, Shop, orders, payment_of};
use crate::stripe::Stripe;

/// How many events the shop acknowledges before each time that the server dies.
const BETWEEN: usize = 25;

#[tokio::test]
async fn a_killed_postgres_loses_no_payment_and_ships_none_twice() {
    let Some(mut server) = Cluster::start() else {
        return;
    };
    let stripe = Stripe::start().await;
    let pool = Pool::Postgres(server.hasty_pool().await);
    let shop = Shop::open(pool, &stripe.sandbox.config()).await;
    let all = orders("killed", 0..30);
    for order in &all {
        let secret = shop.opened(order).await;
        stripe.pay(payment_of(&secret)).await;
    }

    let post = Post::default();
    for death in 1..=2 {
        let round = post.round(&stripe, &shop);
        let killed = async {
            let end = tokio::time::Instant::now() + PATIENCE;
            while post.acknowledged() < death * BETWEEN {
                assert!(tokio::time::Instant::now() < end, "no event is taken");
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            server.kill();
        };
        let (refused, ()) = tokio::join!(round, killed);
        assert!(!refused.is_empty(), "all were taken before the server died");
        // 500 is the answer where the handler's own statement failed.
        for answer in &refused {
            assert!(matches!(answer.status, 500 | 503), "{answer:?}");
        }

        let (log, _listening) = Log::listen();
        let refused = post.round(&stripe, &shop).await;
        assert!(!refused.is_empty());
        for answer in &refused {
            answer.is_later("unavailable");
        }
        let lines = log.count("ERROR", "an event was not taken in");
        assert_eq!(lines, refused.len(), "a line for each event");
        let reconciler = shop.checkout.reconcile();
        let (create, page, alerts, due, reconciled) = tokio::join!(
            shop.create("new"),
            shop.page("new"),
            shop.checkout.alerts(Duration::ZERO),
            shop.checkout.run_due(),
            reconciler.once(),
        );
        create.is_later("unavailable");
        page.is_later("unavailable");
        assert!(alerts.is_err() && due.is_err() && reconciled.is_err());
        server.restart();
    }

    post.until_all_are_taken(&stripe, &shop).await;
    assert_eq!(shop.shipped().await, all);
    shop.checkout.reconcile().once().await.unwrap();
    assert_eq!(shop.shipped().await, all, "after the reconciler");
    assert_eq!(shop.checkout.alerts(Duration::ZERO).await.unwrap(), []);
    shop.opened("new").await;
}
