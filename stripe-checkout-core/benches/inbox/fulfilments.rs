//! How many payments a second are fulfilled: on the task that brought them, or from the queue by workers. The handler writes one row.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use sqlx::{PgConnection, SqliteConnection};
use stripe_checkout_core::fulfillment::{
    Due, FulfillmentHandler, Inbox, InboxExt as _, MemoryInbox, Received,
};
use stripe_checkout_core::webhook::Payment;
use stripe_checkout_core::{BoxError, Checkout};
use tokio::sync::{Notify, Semaphore};

use crate::events::{Nothing, checkout, delivered, new_event};
use crate::measure::{median, rate, whole};
use crate::places::{Postgres, Sqlite};

const ROUNDS: usize = 3;
const TIME: Duration = Duration::from_millis(1500);
const QUEUED: usize = 1000;
const SHIPMENTS: &str = "CREATE TABLE shipments (payment TEXT NOT NULL)";

/// Ships, and counts what it shipped.
#[derive(Clone, Default)]
struct Ship {
    shipped: Arc<AtomicUsize>,
    changed: Arc<Notify>,
}

impl Ship {
    fn count(&self) {
        self.shipped.fetch_add(1, Ordering::Relaxed);
        self.changed.notify_one();
    }
}

macro_rules! ships {
    ($connection:ty, |$payment:ident, $db:ident| $write:expr) => {
        impl FulfillmentHandler<$connection> for Ship {
            async fn payment_succeeded(
                &self,
                $payment: &Payment,
                $db: &mut $connection,
            ) -> Result<(), BoxError> {
                $write;
                self.count();
                Ok(())
            }

            async fn amount_due(
                &self,
                payment: &Payment,
                _: &mut $connection,
            ) -> Result<Due, BoxError> {
                Ok(Due::Exactly(payment.amount()))
            }
        }
    };
}

ships!((), |_payment, _db| std::future::ready(()).await);
ships!(SqliteConnection, |payment, db| {
    sqlx::query("INSERT INTO shipments (payment) VALUES (?1)")
        .bind(payment.id())
        .execute(db)
        .await?
});
ships!(PgConnection, |payment, db| {
    sqlx::query("INSERT INTO shipments (payment) VALUES ($1)")
        .bind(payment.id())
        .execute(db)
        .await?
});

pub(crate) async fn inline_table() {
    println!("\n| inbox | one task | 16 tasks |");
    println!("| --- | --- | --- |");
    let mut rates: [[Vec<f64>; 2]; 3] = Default::default();
    for _ in 0..ROUNDS {
        for (column, tasks) in [1, 16].into_iter().enumerate() {
            let memory = checkout(MemoryInbox::new(), Ship::default(), |builder| builder);
            rates[0][column].push(fulfilments(memory, tasks).await);
            let sqlite = Sqlite::new().await;
            sqlite.run(SHIPMENTS).await;
            let of_sqlite = checkout(sqlite.inbox.clone(), Ship::default(), |builder| builder);
            rates[1][column].push(fulfilments(of_sqlite, tasks).await);
            // Half of the pool runs handlers.
            let Some(postgres) = Postgres::new(2 * tasks).await else {
                continue;
            };
            postgres.run(SHIPMENTS).await;
            let of_postgres = checkout(postgres.inbox.clone(), Ship::default(), |builder| builder);
            rates[2][column].push(fulfilments(of_postgres, tasks).await);
        }
    }
    let names = ["`MemoryInbox`", "`SqliteInbox`", "`PostgresInbox`"];
    for (name, [one, sixteen]) in names.into_iter().zip(rates) {
        if !one.is_empty() {
            let (one, sixteen) = (whole(median(one)), whole(median(sixteen)));
            println!("| {name} | {one} | {sixteen} |");
        }
    }
}

async fn fulfilments(checkout: Checkout, tasks: u32) -> f64 {
    let work = move || {
        let checkout = checkout.clone();
        async move {
            let event = delivered(&checkout);
            let received = checkout.receive(event).await.unwrap();
            assert!(matches!(received, Received::Done(_)), "{received:?}");
        }
    };
    rate(tasks, TIME, work).await
}

pub(crate) async fn queue_table() {
    println!("\n| inbox | 1 worker | 4 workers |");
    println!("| --- | --- | --- |");
    let mut rates: [[Vec<f64>; 2]; 2] = Default::default();
    for _ in 0..ROUNDS {
        for (column, workers) in [1, 4].into_iter().enumerate() {
            let sqlite = Sqlite::new().await;
            sqlite.run(SHIPMENTS).await;
            rates[0][column].push(drained(sqlite.inbox.clone(), workers).await);
            let Some(postgres) = Postgres::new(8).await else {
                continue;
            };
            postgres.run(SHIPMENTS).await;
            rates[1][column].push(drained(postgres.inbox.clone(), workers).await);
        }
    }
    for (name, [one, four]) in ["`SqliteInbox`", "`PostgresInbox`"].into_iter().zip(rates) {
        if !one.is_empty() {
            println!(
                "| {name} | {} | {} |",
                whole(median(one)),
                whole(median(four))
            );
        }
    }
}

/// Events a second that so many workers, each with one event at a time, take from a full queue.
async fn drained<I: Inbox + Clone>(inbox: I, workers: usize) -> f64
where
    Ship: FulfillmentHandler<I::Connection>,
    Nothing: FulfillmentHandler<I::Connection>,
{
    for _ in 0..QUEUED {
        inbox.receive(new_event()).await.unwrap();
    }
    let ship = Ship::default();
    let checkout = checkout(inbox, ship.clone(), |builder| builder.queued());
    let stop = Arc::new(Semaphore::new(0));
    let start = Instant::now();
    let workers: Vec<_> = (0..workers)
        .map(|_| {
            let stop = stop.clone();
            let stop = async move { stop.acquire().await.unwrap().forget() };
            tokio::spawn(checkout.worker().concurrency(1).run(stop))
        })
        .collect();
    while ship.shipped.load(Ordering::Relaxed) < QUEUED {
        ship.changed.notified().await;
    }
    let time = start.elapsed();
    stop.add_permits(workers.len());
    for worker in workers {
        // Who is told to stop ends what it runs.
        tokio::time::timeout(Duration::from_secs(30), worker)
            .await
            .unwrap()
            .unwrap();
    }
    QUEUED as f64 / time.as_secs_f64()
}
