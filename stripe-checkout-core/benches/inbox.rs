//! The costs of an inbox, relative to the same work by hand.
//!
//! ```sh
//! cargo bench -p stripe-checkout-core --features sqlite,postgres,unstable-inbox --bench inbox
//! ```
//!
//! The bench prints tables, in about five minutes. Each ratio is the median of five turns. In a
//! turn both sides run one after the other, so that other work on the machine slows both.
//! PostgreSQL is the server of `DATABASE_URL`, or a new one that waits for the disk. Without
//! either, its rows are missing.
//!
//! With words after `--` the bench prints only those tables: `inline`, `queued`, `receive`,
//! `claims`, `bytes`. `STRIPE_CHECKOUT_BENCH_EVENTS` is the number of events that `claims` stores.
//! The default is a million:
//!
//! ```sh
//! STRIPE_CHECKOUT_BENCH_EVENTS=10000000 \
//!     cargo bench -p stripe-checkout-core --features sqlite,postgres,unstable-inbox --bench inbox -- claims
//! ```

#[path = "inbox/by_hand.rs"]
mod by_hand;
#[path = "inbox/claims.rs"]
mod claims;
#[path = "inbox/databases.rs"]
mod databases;
#[path = "inbox/events.rs"]
mod events;
#[path = "inbox/fulfilments.rs"]
mod fulfilments;
#[path = "inbox/measure.rs"]
mod measure;
#[path = "../tests/postgres_server/mod.rs"]
mod postgres_server;
#[path = "inbox/receipts.rs"]
mod receipts;
#[path = "inbox/storage_size.rs"]
mod storage_size;

use std::env;
use std::sync::atomic::Ordering;

const EVENTS: &str = "STRIPE_CHECKOUT_BENCH_EVENTS";

#[tokio::main]
async fn main() {
    let words: Vec<String> = env::args().skip(1).collect();
    // `cargo test` runs benches too, to check that they work. Then nothing is measured.
    if !words.iter().any(|word| word == "--bench") {
        return;
    }
    postgres_server::WAITS_FOR_THE_DISK.store(true, Ordering::Relaxed);
    let only: Vec<&str> = words
        .iter()
        .map(String::as_str)
        .filter(|word| !word.starts_with('-'))
        .collect();
    let wanted = |table| only.is_empty() || only.contains(&table);
    if wanted("inline") {
        println!("\nPayments fulfilled inline, a second, with a handler that writes one row:");
        fulfilments::inline_table().await;
    }
    if wanted("queued") {
        println!("\nQueued payments fulfilled, a second, with the same handler:");
        fulfilments::queued_table().await;
    }
    if wanted("receive") {
        println!("\nEvents of 2.5 KB received for good, a second:");
        receipts::table().await;
    }
    if wanted("claims") {
        println!("\nOne claim, by the number of stored events:");
        let events = env::var(EVENTS).unwrap_or_else(|_| "1000000".to_owned());
        claims::table(events.parse().expect(EVENTS)).await;
    }
    if wanted("bytes") {
        println!("\nBytes of a stored event:");
        storage_size::table().await;
    }
}
