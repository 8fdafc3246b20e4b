//! The application holds every connection of the pool that it shares with the inbox.

use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::{Postgres, Sqlite};

use crate::cluster::Cluster;
use crate::post::Post;
use crate::shop::{Pool, Shop, orders, payment_of};
use crate::stripe::Stripe;

/// Connections that the application holds.
enum Held {
    Sqlite(Vec<PoolConnection<Sqlite>>),
    Postgres(Vec<PoolConnection<Postgres>>),
}

impl Held {
    /// Takes all of them.
    async fn all(pool: &Pool) -> Self {
        match pool {
            Pool::Sqlite(pool) => {
                let mut held = Vec::new();
                for _ in 0..pool.options().get_max_connections() {
                    held.push(pool.acquire().await.unwrap());
                }
                Self::Sqlite(held)
            }
            Pool::Postgres(pool) => {
                let mut held = Vec::new();
                for _ in 0..pool.options().get_max_connections() {
                    held.push(pool.acquire().await.unwrap());
                }
                Self::Postgres(held)
            }
        }
    }

    fn give_back(self) {
        match self {
            Self::Sqlite(held) => drop(held),
            Self::Postgres(held) => drop(held),
        }
    }
}

async fn all_connections_are_held(pool: Pool) {
    let stripe = Stripe::start().await;
    let shop = Shop::open(pool, &stripe.sandbox.config()).await;
    let all = orders("held", 0..10);
    let mut secrets = Vec::new();
    for order in &all {
        let secret = shop.opened(order).await;
        stripe.pay(payment_of(&secret)).await;
        secrets.push(secret);
    }
    let held = Held::all(&shop.pool).await;
    let post = Post::default();
    let (refused, new, page, status) = tokio::join!(
        post.round(&stripe, &shop),
        shop.create("new"),
        shop.page("new"),
        shop.status(&secrets[0]),
    );
    assert_eq!(refused.len(), stripe.events().await.len());
    for answer in refused.iter().chain([&new, &page, &status]) {
        answer.is_later("unavailable");
    }
    held.give_back();
    post.until_all_are_taken(&stripe, &shop).await;
    assert_eq!(shop.shipped().await, all);
    assert_eq!(shop.status(&secrets[0]).await.status, 200);
    assert_eq!(shop.checkout.alerts(Duration::ZERO).await.unwrap(), []);
}

#[tokio::test]
async fn a_pool_of_postgres_without_connections_is_answered_in_time_and_nothing_is_lost() {
    let Some(server) = Cluster::start() else {
        return;
    };
    all_connections_are_held(Pool::Postgres(server.pool().await)).await;
}

#[tokio::test]
async fn a_pool_of_sqlite_without_connections_is_answered_in_time_and_nothing_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let pool = crate::disk_full::file(folder.path()).await;
    all_connections_are_held(Pool::Sqlite(pool)).await;
}
