//! The bytes that a stored event takes.

use stripe_checkout_core::fulfillment::{FulfillmentHandler, Inbox};

use crate::databases::{Postgres, Sqlite};
use crate::events::{Nothing, checkout, store};
use crate::measure::whole;

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

pub(crate) async fn table() {
    let each = |bytes: i64| whole(bytes as f64 / WEIGHED as f64);
    println!("\n| inbox | event | row and body | indexes | its payment and its order |");
    println!("| --- | --- | --- | --- | --- |");
    let sqlite = Sqlite::new().await;
    store(&sqlite.inbox, WEIGHED).await;
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
    store(&postgres.inbox, WEIGHED).await;
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
    Nothing: FulfillmentHandler<I::Connection>,
{
    let checkout = checkout(inbox.clone(), Nothing, |builder| builder.queued());
    while checkout.run_due().await.unwrap() {}
}
