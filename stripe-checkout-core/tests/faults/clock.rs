//! The shop's clock is ten minutes ahead of Stripe's, or behind it.

use std::time::Duration;

use stripe_checkout_core::testing::now;
use stripe_checkout_core::{Alert, Checkout};

use crate::log::Log;
use crate::shop::{PATIENCE, Pool, Shop, orders, payment_of};
use crate::stripe::{OtherClock, Stripe};

const TEN_MINUTES: i64 = 10 * 60;

/// A shop whose Stripe is ahead by these seconds, with five paid orders.
async fn shop(stripe: &Stripe, ahead: i64, folder: &tempfile::TempDir) -> (Shop, Vec<String>) {
    let config = stripe.sandbox.config();
    let pool = Pool::Sqlite(crate::disk_full::file(folder.path()).await);
    let way = OtherClock::new(ahead);
    let shop = Shop::open_with(pool, &config, |builder| builder.transport(way)).await;
    let all = orders("clock", 0..5);
    for order in &all {
        let secret = shop.opened(order).await;
        stripe.pay(payment_of(&secret)).await;
    }
    (shop, all)
}

/// Delivers everything, signed by a clock that is ahead by these seconds. Returns the statuses.
async fn deliver(stripe: &Stripe, shop: &Shop, ahead: i64) -> Vec<u16> {
    let mut statuses = Vec::new();
    for mut event in stripe.events().await {
        OtherClock::new(ahead).shift(&mut event);
        statuses.push(shop.webhook_at(&event, now() + ahead).await.status);
    }
    statuses
}

async fn skew(checkout: &Checkout) -> Option<i64> {
    let alerts = checkout.alerts(PATIENCE).await.unwrap();
    alerts.iter().find_map(|alert| match alert {
        Alert::ClockSkew { ahead_seconds } => Some(*ahead_seconds),
        _ => None,
    })
}

#[tokio::test]
async fn a_clock_ten_minutes_ahead_is_told_and_the_reconciler_ships() {
    let (stripe, folder) = (Stripe::start().await, tempfile::tempdir().unwrap());
    let (shop, all) = shop(&stripe, -TEN_MINUTES, &folder).await;
    let (log, _listening) = Log::listen();
    let statuses = deliver(&stripe, &shop, -TEN_MINUTES).await;
    // The signature is older than Stripe's own tolerance of five minutes.
    assert!(statuses.iter().all(|status| *status == 400), "{statuses:?}");
    assert_eq!(
        log.count("ERROR", "a GENUINE webhook was refused as too old"),
        1
    );
    let ahead = skew(&shop.checkout).await.unwrap();
    assert!((TEN_MINUTES..TEN_MINUTES + 60).contains(&ahead), "{ahead}");
    assert_eq!(shop.shipped().await.len(), 0);

    let found = shop.checkout.reconcile().once().await.unwrap();
    assert_eq!(shop.shipped().await, all, "{found:?}");

    // The clock is put right, and Stripe repeats everything.
    let statuses = deliver(&stripe, &shop, 0).await;
    assert!(statuses.iter().all(|status| *status == 200), "{statuses:?}");
    assert_eq!(skew(&shop.checkout).await, None);
    assert_eq!(shop.shipped().await, all);
}

#[tokio::test]
async fn a_clock_ten_minutes_behind_is_told_and_ships_at_once() {
    let (stripe, folder) = (Stripe::start().await, tempfile::tempdir().unwrap());
    let (shop, all) = shop(&stripe, TEN_MINUTES, &folder).await;
    let (log, _listening) = Log::listen();
    let statuses = deliver(&stripe, &shop, TEN_MINUTES).await;
    assert!(statuses.iter().all(|status| *status == 200), "{statuses:?}");
    assert_eq!(shop.shipped().await, all);
    assert_eq!(log.count("ERROR", "clock is 10 min behind Stripe's"), 1);
    let ahead = skew(&shop.checkout).await.unwrap();
    assert!((-TEN_MINUTES..60 - TEN_MINUTES).contains(&ahead), "{ahead}");

    // A payment whose webhook was lost, later than now by the shop's own clock.
    let secret = shop.opened("lost").await;
    stripe.pay(payment_of(&secret)).await;
    let found = shop.checkout.reconcile().once().await.unwrap();
    let all = [all, vec!["lost".to_owned()]].concat();
    assert_eq!(shop.shipped().await, all, "{found:?}");

    // The clock is put right, and Stripe repeats everything.
    let statuses = deliver(&stripe, &shop, 0).await;
    assert!(statuses.iter().all(|status| *status == 200), "{statuses:?}");
    shop.checkout.reconcile().once().await.unwrap();
    assert_eq!(shop.shipped().await, all);
    let unfulfilled = shop.checkout.alerts(Duration::ZERO).await.unwrap();
    let is_clock = |alert: &Alert| matches!(alert, Alert::ClockSkew { .. });
    assert!(unfulfilled.iter().all(is_clock), "{unfulfilled:?}");
}
