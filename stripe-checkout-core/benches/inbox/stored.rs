//! What it costs to have stored much: a step among a thousand events that are done, and among a million; and the bytes that an event takes.

use std::time::Instant;

use stripe_checkout_core::fulfillment::{EventState, Inbox, InboxExt as _, Stepped, Turn};

use crate::events::{Nothing, checkout, new_event, scope, terms};
use crate::measure::{median, whole};
use crate::places::{Postgres, Sqlite};

/// Steps that are measured at each size, all of which find an event that is due.
const STEPS: usize = 400;

/// Done events of the last days, a second apart, each with its payment and its order: what the steps before left.
const FILL_POSTGRES: &str = "\
    INSERT INTO stripe_checkout_events (application, mode, id, event_type, payment, order_account, order_reference, ours, settles, body, received, state, attempts, due, taken, claim) \
    SELECT 'shop', 'test', 'evt_3S0aBcLkdIwHu7iy' || lpad(n::text, 8, '0'), 'payment_intent.succeeded', 'pi_3S0aBcLkdIwHu7iy' || lpad(n::text, 8, '0'), '', 'old-' || lpad(n::text, 8, '0'), \
    true, true, '', 1790000000000000 + n * 1000000, 'done', 1, 1790000030000000 + n * 1000000, 0, 2 FROM generate_series(1, $1::bigint) AS n";
const FILL_PAYMENTS: &str = "\
    INSERT INTO stripe_checkout_payments (application, mode, id, success) \
    SELECT 'shop', 'test', 'pi_3S0aBcLkdIwHu7iy' || lpad(n::text, 8, '0'), 'fulfilled' FROM generate_series(1, $1::bigint) AS n";

const FILL_SQLITE: &str = "\
    WITH RECURSIVE series (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM series WHERE n < ?1) \
    INSERT INTO stripe_checkout_events (application, mode, id, event_type, payment, order_account, order_reference, ours, settles, body, received, state, attempts, due, claim, taken) \
    SELECT 'shop', 'test', printf('evt_3S0aBcLkdIwHu7iy%08d', n), 'payment_intent.succeeded', printf('pi_3S0aBcLkdIwHu7iy%08d', n), '', printf('old-%08d', n), \
    1, 1, x'', 1790000000000000 + n * 1000000, 'done', 1, 1790000030000000 + n * 1000000, 2, 0 FROM series";
const FILL_SQLITE_PAYMENTS: &str = "\
    WITH RECURSIVE series (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM series WHERE n < ?1) \
    INSERT INTO stripe_checkout_payments (application, mode, id, success, capturable, canceled, refunds, refunded_total, disputes) \
    SELECT 'shop', 'test', printf('pi_3S0aBcLkdIwHu7iy%08d', n), 'fulfilled', 0, 0, '{}', 0, '{}' FROM series";

pub(crate) async fn claim_table(sizes: &[i64]) {
    let mut rows = Vec::new();
    {
        let mut inboxes = Vec::new();
        for &size in sizes {
            let sqlite = Sqlite::new().await;
            for fill in [FILL_SQLITE, FILL_SQLITE_PAYMENTS] {
                sqlx::query(fill)
                    .bind(size)
                    .execute(&sqlite.pool)
                    .await
                    .unwrap();
            }
            receive(&sqlite.inbox, STEPS).await;
            sqlite.run("ANALYZE; PRAGMA wal_checkpoint(TRUNCATE)").await;
            inboxes.push(sqlite);
        }
        let inboxes: Vec<_> = inboxes.iter().map(|place| &place.inbox).collect();
        rows.push(("`SqliteInbox`", steps(&inboxes).await));
    }
    let mut inboxes = Vec::new();
    for &size in sizes {
        let Some(postgres) = Postgres::new(2).await else {
            break;
        };
        for fill in [FILL_POSTGRES, FILL_PAYMENTS] {
            sqlx::query(fill)
                .bind(size)
                .execute(&postgres.pool)
                .await
                .unwrap();
        }
        receive(&postgres.inbox, STEPS).await;
        postgres.run("VACUUM ANALYZE stripe_checkout_events").await;
        postgres
            .run("VACUUM ANALYZE stripe_checkout_payments")
            .await;
        postgres.checkpoint().await;
        inboxes.push(postgres);
    }
    if !inboxes.is_empty() {
        let inboxes: Vec<_> = inboxes.iter().map(|place| &place.inbox).collect();
        rows.push(("`PostgresInbox`", steps(&inboxes).await));
    }
    let heads = sizes.iter().map(|&size| whole(size as f64));
    println!("\n| inbox | {} |", heads.collect::<Vec<_>>().join(" | "));
    println!("| --- |{}", " --- |".repeat(sizes.len()));
    for (name, times) in rows {
        let cells = times
            .iter()
            .map(|time| format!("{time:.0} µs ({:.2})", time / times[0]));
        println!("| {name} | {} |", cells.collect::<Vec<_>>().join(" | "));
    }
}

async fn receive<I: Inbox>(inbox: &I, events: usize) {
    for _ in 0..events {
        inbox.receive(new_event()).await.unwrap();
    }
}

/// The median microseconds of a step in each, one after the other, a step at a time.
async fn steps<I: Inbox>(inboxes: &[&I]) -> Vec<f64> {
    let mut times = vec![Vec::new(); inboxes.len()];
    for _ in 0..STEPS {
        for (inbox, times) in inboxes.iter().zip(&mut times) {
            let start = Instant::now();
            let step = inbox.step(&scope(), Turn::Due, terms(), &Nothing).await;
            times.push(start.elapsed().as_secs_f64() * 1e6);
            let step = step.unwrap().unwrap();
            assert_eq!(step.did, Stepped::Now(EventState::Done));
        }
    }
    times.into_iter().map(median).collect()
}

/// Events that are stored to see how many bytes they take.
const WEIGHED: usize = 1000;

const POSTGRES_BYTES: [&str; 3] = [
    "SELECT pg_table_size('stripe_checkout_events')",
    "SELECT pg_indexes_size('stripe_checkout_events')",
    "SELECT (pg_total_relation_size('stripe_checkout_payments') + pg_total_relation_size('stripe_checkout_intents') + pg_total_relation_size('stripe_checkout_orders_of_payments'))::bigint",
];
macro_rules! pages {
    ($which:literal) => {
        concat!(
            "SELECT sum(pgsize) FROM dbstat WHERE name IN (SELECT name FROM sqlite_master WHERE ",
            $which,
            ")"
        )
    };
}
const SQLITE_BYTES: [&str; 3] = [
    pages!("name = 'stripe_checkout_events'"),
    pages!("type = 'index' AND tbl_name = 'stripe_checkout_events'"),
    pages!(
        "tbl_name IN ('stripe_checkout_payments', 'stripe_checkout_intents', 'stripe_checkout_orders_of_payments')"
    ),
];

pub(crate) async fn bytes_table() {
    let each = |bytes: i64| whole(bytes as f64 / WEIGHED as f64);
    println!("\n| inbox | event | row and body | indexes | its payment and its order |");
    println!("| --- | --- | --- | --- | --- |");
    let sqlite = Sqlite::new().await;
    receive(&sqlite.inbox, WEIGHED).await;
    for state in ["pending", "done"] {
        if state == "done" {
            finish(&sqlite.inbox).await;
        }
        sqlite.run("VACUUM").await;
        let mut cells = Vec::new();
        for sql in SQLITE_BYTES {
            cells.push(each(sqlite.number(sql).await));
        }
        println!("| `SqliteInbox` | {state} | {} |", cells.join(" | "));
    }
    let Some(postgres) = Postgres::new(4).await else {
        return;
    };
    receive(&postgres.inbox, WEIGHED).await;
    for state in ["pending", "done"] {
        if state == "done" {
            finish(&postgres.inbox).await;
        }
        // Without the gaps that the server uses again later.
        for table in [
            "VACUUM FULL stripe_checkout_events",
            "VACUUM FULL stripe_checkout_payments",
            "VACUUM FULL stripe_checkout_intents",
            "VACUUM FULL stripe_checkout_orders_of_payments",
        ] {
            postgres.run(table).await;
        }
        let mut cells = Vec::new();
        for sql in POSTGRES_BYTES {
            cells.push(each(postgres.number(sql).await));
        }
        println!("| `PostgresInbox` | {state} | {} |", cells.join(" | "));
    }
}

async fn finish<I: Inbox + Clone>(inbox: &I)
where
    Nothing: stripe_checkout_core::fulfillment::FulfillmentHandler<I::Connection>,
{
    let checkout = checkout(inbox.clone(), Nothing, |builder| builder.queued());
    while checkout.run_due().await.unwrap() {}
}
