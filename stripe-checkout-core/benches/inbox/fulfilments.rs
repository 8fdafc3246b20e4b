//! Fulfilled payments per second, relative to the same work by hand: on the task of the delivery,
//! or by workers from the queue. The handler writes one row.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use sqlx::{PgConnection, SqliteConnection};
use stripe_checkout_core::fulfillment::{Due, FulfillmentHandler, Inbox, MemoryInbox, Received};
use stripe_checkout_core::webhook::Payment;
use stripe_checkout_core::{BoxError, Checkout};
use tokio::sync::{Notify, Semaphore};

use crate::by_hand;
use crate::databases::{Folder, Postgres, Sqlite};
use crate::events::{checkout, delivered, store};
use crate::measure::{Pairs, TIME, TURNS, median, rate, whole};

const QUEUED: usize = 2000;
const WORKERS: u32 = 4;
const SHIPMENTS: &str = "CREATE TABLE shipments (payment text NOT NULL)";

/// A handler that counts its shipments.
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

/// Returns a PostgreSQL database in which both sides have worked for a while.
async fn warm_postgres() -> Option<Postgres> {
    let server = Postgres::new(4).await?;
    server.run(SHIPMENTS).await;
    server.run(by_hand::POSTGRES_TABLES).await;
    server.pgbench(by_hand::PGBENCH, None, 4);
    fulfilments(&with_ship(server.inbox_with(8).await), 4).await;
    for vacuum in by_hand::POSTGRES_VACUUM {
        server.run(vacuum).await;
    }
    server.vacuum().await;
    Some(server)
}

fn with_ship<I: Inbox>(inbox: I) -> Checkout
where
    Ship: FulfillmentHandler<I::Connection>,
{
    checkout(inbox, Ship::default(), |builder| builder)
}

pub(crate) async fn inline_table() {
    println!("\n| fulfilled inline | by hand | the inbox | ratio | the ratio of each turn |");
    println!("| --- | --- | --- | --- | --- |");
    if let Some(server) = warm_postgres().await {
        for tasks in [1, 16] {
            let mut pairs = Pairs::default();
            for _ in 0..TURNS {
                server.checkpoint().await;
                let by_hand = server.pgbench(by_hand::PGBENCH, None, tasks);
                server.checkpoint().await;
                // Half of the pool runs handlers.
                let inbox = server.inbox_with(2 * tasks).await;
                pairs.push(by_hand, fulfilments(&with_ship(inbox), tasks).await);
            }
            println!("| PostgreSQL, tasks: {tasks} | {} |", pairs.cells());
        }
    }
    for tasks in [1, 16] {
        let mut pairs = Pairs::default();
        for _ in 0..TURNS {
            let folder = Folder::new();
            let file = folder.file("by_hand.db");
            let by_hand = tokio::task::spawn_blocking(move || by_hand::sqlite(&file, TIME));
            let by_hand = by_hand.await.unwrap();
            let sqlite = Sqlite::new().await;
            sqlite.run(SHIPMENTS).await;
            let inbox = sqlite.inbox.clone();
            pairs.push(by_hand, fulfilments(&with_ship(inbox), tasks).await);
        }
        // By hand there is always one task: SQLite has one writer.
        println!("| SQLite, tasks: {tasks} | {} |", pairs.cells());
    }
    for tasks in [1, 16] {
        let mut rates = Vec::new();
        for _ in 0..TURNS {
            rates.push(fulfilments(&with_ship(MemoryInbox::new()), tasks).await);
        }
        println!(
            "| memory, tasks: {tasks} | | {} | | |",
            whole(median(rates))
        );
    }
}

async fn fulfilments(checkout: &Checkout, tasks: u32) -> f64 {
    let work = || {
        let checkout = checkout.clone();
        move || {
            let checkout = checkout.clone();
            async move {
                let event = delivered(&checkout);
                let received = checkout.receive(event).await.unwrap();
                assert!(matches!(received, Received::Done(_)), "{received:?}");
            }
        }
    };
    rate(tasks, work).await
}

pub(crate) async fn queued_table() {
    println!(
        "\n| fulfilled from the queue | by hand | the inbox | ratio | the ratio of each turn |"
    );
    println!("| --- | --- | --- | --- | --- |");
    if let Some(server) = warm_postgres().await {
        let mut pairs = Pairs::default();
        for _ in 0..TURNS {
            let inbox = server.inbox_with(2 * WORKERS).await;
            store(&inbox, QUEUED).await;
            server.checkpoint().await;
            let by_hand = server.pgbench(by_hand::PGBENCH, None, WORKERS);
            pairs.push(by_hand, drained(inbox, WORKERS).await);
        }
        println!("| PostgreSQL, workers: {WORKERS} | {} |", pairs.cells());
    }
    let mut pairs = Pairs::default();
    for _ in 0..TURNS {
        let folder = Folder::new();
        let file = folder.file("by_hand.db");
        let by_hand = tokio::task::spawn_blocking(move || by_hand::sqlite(&file, TIME));
        let by_hand = by_hand.await.unwrap();
        let sqlite = Sqlite::new().await;
        sqlite.run(SHIPMENTS).await;
        store(&sqlite.inbox, QUEUED).await;
        pairs.push(by_hand, drained(sqlite.inbox.clone(), WORKERS).await);
    }
    println!("| SQLite, workers: {WORKERS} | {} |", pairs.cells());
}

/// Returns the events per second that this number of workers, each with one event at a time, take
/// from a full queue.
async fn drained<I: Inbox>(inbox: I, workers: u32) -> f64
where
    Ship: FulfillmentHandler<I::Connection>,
{
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
        // A worker that gets the signal to stop completes its present event.
        tokio::time::timeout(Duration::from_secs(30), worker)
            .await
            .unwrap()
            .unwrap();
    }
    QUEUED as f64 / time.as_secs_f64()
}
