//! What an inbox costs: how many events a second are taken in, beside `pgbench` on the same server; how many are fulfilled; what a step costs among a million of
//! stored events; and what they weigh.
//!
//! `cargo bench -p stripe-checkout-core --features sqlite,postgres,testing --bench inbox` prints it all as tables, in about four minutes. What stands side by side in
//! a table was measured in turns, so that whatever else the machine does slows all of it; the medians count. PostgreSQL is the one of `DATABASE_URL`, or a new one that
//! waits for the disk as a real one does; without either, its rows are missing.
//!
//! With words behind `--` it makes only those tables: `receives`, `inline`, `queued`, `claims`, `bytes`. `STRIPE_CHECKOUT_BENCH_EVENTS` adds another size to `claims`:
//!
//! ```sh
//! STRIPE_CHECKOUT_BENCH_EVENTS=10000000 cargo bench -p stripe-checkout-core --features sqlite,postgres,testing --bench inbox -- claims
//! ```

#[path = "inbox/events.rs"]
mod events;
#[path = "inbox/fulfilments.rs"]
mod fulfilments;
#[path = "inbox/measure.rs"]
mod measure;
#[path = "inbox/places.rs"]
mod places;
#[path = "../tests/postgres_server/mod.rs"]
mod postgres_server;
#[path = "inbox/receives.rs"]
mod receives;
#[path = "inbox/stored.rs"]
mod stored;

use std::env;
use std::sync::atomic::Ordering;

#[tokio::main]
async fn main() {
    let words: Vec<String> = env::args().skip(1).collect();
    // `cargo test` runs benches too, to see that they work: nothing is measured then.
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
    if wanted("receives") {
        println!("\nEvents of 2.5 KB taken in for good, a second; in brackets, `receive` to that:");
        receives::table().await;
    }
    if wanted("inline") {
        println!("\nPayments fulfilled inline, a second, with a handler that writes one row:");
        fulfilments::inline_table().await;
    }
    if wanted("queued") {
        println!("\nQueued payments fulfilled, a second, with the same handler:");
        fulfilments::queue_table().await;
    }
    if wanted("claims") {
        println!(
            "\nOne step with an empty handler, by the number of stored events; in brackets, to the first:"
        );
        let mut sizes = vec![1_000, 100_000, 1_000_000];
        if let Ok(more) = env::var("STRIPE_CHECKOUT_BENCH_EVENTS") {
            sizes.push(
                more.parse()
                    .expect("STRIPE_CHECKOUT_BENCH_EVENTS is a number"),
            );
        }
        stored::claim_table(&sizes).await;
    }
    if wanted("bytes") {
        println!("\nBytes of a stored event:");
        stored::bytes_table().await;
    }
}
