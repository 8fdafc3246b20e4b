//! Several processes side by side on one database, as far as one process can imitate them: each
//! shop here has its own pool.

use std::sync::Arc;

use stripe_checkout_core::testing;
use tokio::task::JoinSet;

use super::common::{open, payment};
use crate::Database;

const TOTAL: u64 = 4550;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn they_may_all_start_at_once() {
    let Some(database) = Database::new().await else {
        return;
    };
    let url = database.url().await;
    let mut starts = JoinSet::new();
    for _ in 0..4 {
        let url = url.clone();
        starts.spawn(async move { shop::Store::open(&url).await.map(drop) });
    }
    for started in starts.join_all().await {
        started.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_payment_told_to_both_is_shipped_once() {
    let Some(open) = open().await else { return };
    let another = Arc::new(open.another().await);
    let open = Arc::new(open);
    for number in 0..10 {
        let id = open.order().await;
        let intent = format!("pi_{number}");
        let mut deliveries = JoinSet::new();
        for teller in [&open, &another, &open, &another] {
            // Each delivery has its own event object.
            let body = testing::event(
                "payment_intent.succeeded",
                payment(&intent, &id, TOTAL).status("succeeded").object(),
            );
            let teller = Arc::clone(teller);
            deliveries.spawn(async move { teller.deliver(&body).await });
        }
        for status in deliveries.join_all().await {
            assert!([200, 503].contains(&status), "{status}");
        }
        // Refused deliveries run again, and now nothing is in the way.
        while open.checkout.run_due().await.unwrap() {}
        let order = another.api(&id).await;
        assert_eq!(order["status"], "paid");
        assert_eq!(order["shipments"].as_array().unwrap().len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn each_email_is_sent_by_one_of_them() {
    let Some(open) = open().await else { return };
    let others = [
        open.another().await,
        open.another().await,
        open.another().await,
    ];
    for number in 0..40 {
        let id = open.order().await;
        let intent = format!("pi_{number}");
        open.tell(
            "payment_intent.succeeded",
            payment(&intent, &id, TOTAL).status("succeeded"),
        )
        .await;
    }
    let mut workers = JoinSet::new();
    for shop in others {
        workers.spawn(async move {
            let mut sent = 0;
            // A worker that loses a row to another one stops early. So each worker looks several
            // times.
            for _ in 0..40 {
                sent += shop::work_off_outbox(&shop.store).await.unwrap();
            }
            sent
        });
    }
    let sent: u64 = workers.join_all().await.into_iter().sum();
    assert_eq!(sent, 40);
    assert_eq!(shop::work_off_outbox(&open.store).await.unwrap(), 0);
}

#[tokio::test]
async fn what_is_queued_is_run_by_any_of_them() {
    let Some(open) = open().await else { return };
    let queued = open.another_queued().await;
    let id = queued.order().await;
    queued
        .tell(
            "payment_intent.succeeded",
            payment("pi_1", &id, TOTAL).status("succeeded"),
        )
        .await;
    assert_eq!(
        queued.status(&id).await,
        "pending",
        "acknowledged, and not run"
    );
    assert!(open.checkout.run_due().await.unwrap());
    assert_eq!(queued.status(&id).await, "paid");
    assert!(!queued.checkout.run_due().await.unwrap(), "it is done");
}
