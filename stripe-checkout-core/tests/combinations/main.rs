//! Every combination keeps every promise about money: a generated matrix of cases.
//!
//! A fault lives where two features meet. So cases are generated until every possible pair of
//! values of any two [dimensions] has met in one. Each case is an order with a life of its own
//! against the sandbox; in the end Stripe's ledger and the calls of the handler must agree.
//!
//! - `cargo test --all-features --test combinations` runs about 300 cases with a fixed seed.
//! - `COMBINATIONS=5000` runs at least 5,000 cases with another seed, which the first line names.
//!   `COMBINATIONS_SEED` sets the seed.
//! - `COMBINATIONS_CASE='…'` runs one case and shows all that happened: the line of a failure.

mod covering;
mod dimensions;
mod ledger;
mod life;
mod oracle;
mod post;
mod shop;
mod stripe;

#[path = "../postgres_server/mod.rs"]
mod postgres_server;

use std::collections::BTreeMap;
use std::env;
use std::io::Write;
use std::sync::Arc;
use std::time::Instant;

use stripe_checkout_core::PaymentError;
use stripe_checkout_core::fulfillment::PostgresInbox;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::dimensions::{Case, IMPOSSIBLE_PAIRS, Page};
use crate::ledger::Ledger;
use crate::life::{Fault, Life};
use crate::post::Post;
use crate::shop::Databases;

/// The seed of every run that does not ask for more.
const SEED: u64 = 2025;
const CASES: usize = 300;
const AT_ONCE: usize = 8;
/// How many cases of each kind of fault are printed, unless `COMBINATIONS_SHOWN` says otherwise.
const SHOWN: usize = 6;

/// Past the test harness, which shows only the output of failing tests.
fn say(line: &str) {
    let _ = std::io::stderr().write_all(format!("{line}\n").as_bytes());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_combination_keeps_every_promise_about_money() {
    let database = postgres_server::Database::new().await;
    let postgres = match &database {
        Some(database) => Some(database.pool(40, "").await),
        None => None,
    };
    if let Some(pool) = &postgres {
        let inbox = PostgresInbox::new(pool.clone()).schema("stripe_checkout");
        inbox.migrate().await.unwrap();
    }
    let databases = Arc::new(Databases { postgres });
    if let Ok(line) = env::var("COMBINATIONS_CASE") {
        let case: Case = line.parse().unwrap();
        let (faults, log) = run(&case, 1, &databases).await;
        say(&format!("{case}\n{}", log.join("\n")));
        assert!(faults.is_empty(), "{}", faults.join("\n"));
        return;
    }
    let number = |name: &str| env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let asked = number("COMBINATIONS");
    let seed = number("COMBINATIONS_SEED");
    let seed = seed.unwrap_or_else(|| asked.map_or(SEED, |_| fastrand::u64(..1_000_000)));
    let shown = number("COMBINATIONS_SHOWN").map_or(Ok(SHOWN), usize::try_from);
    let cases = asked.map_or(CASES, |cases| usize::try_from(cases).unwrap());
    let covering = covering::cover(cases, seed);
    say(&format!(
        "combinations: seed {seed}, {} cases, {} pairs covered of {} possible; {} pairs are impossible:",
        covering.cases.len(),
        covering.covered,
        covering.possible,
        covering.impossible
    ));
    for ((one, ones), (other, others), reason) in IMPOSSIBLE_PAIRS {
        say(&format!(
            "  {one} {ones:?} with {other} {others:?}: {reason}"
        ));
    }
    assert_eq!(covering.covered, covering.possible);

    let began = Instant::now();
    let (mut running, places) = (JoinSet::new(), Arc::new(Semaphore::new(AT_ONCE)));
    let many = covering.cases.len();
    for (number, case) in covering.cases.into_iter().enumerate() {
        let place = Arc::clone(&places).acquire_owned().await.unwrap();
        let databases = Arc::clone(&databases);
        running.spawn(async move {
            let _place = place;
            // A panic of one case is a failure of that case only.
            let ran = tokio::spawn({
                let case = case.clone();
                async move { run(&case, number, &databases).await.0 }
            });
            let faults = ran
                .await
                .unwrap_or_else(|error| vec![format!("panics ({error})")]);
            (case, faults)
        });
    }
    let mut by_fault: BTreeMap<String, Vec<(String, Fault)>> = BTreeMap::new();
    let mut failed = 0;
    while let Some(ended) = running.join_next().await {
        let (case, faults) = ended.unwrap();
        failed += usize::from(!faults.is_empty());
        for fault in faults {
            // Of the same kind of fault the details differ.
            let kind = fault.split(" (").next().unwrap_or_default().to_owned();
            by_fault
                .entry(kind)
                .or_default()
                .push((case.to_string(), fault));
        }
    }
    say(&format!(
        "combinations: {failed} of {many} cases failed, in {:?}",
        began.elapsed()
    ));
    for (kind, cases) in &by_fault {
        say(&format!("{} ×: {kind}", cases.len()));
        for (case, fault) in cases.iter().take(shown.unwrap()) {
            say(&format!("    {fault}"));
            say(&format!("    COMBINATIONS_CASE='{case}'"));
        }
    }
    assert_eq!(failed, 0, "cases failed");
}

/// Runs a case, and gives the promises that it broke, and all that happened.
async fn run(case: &Case, number: usize, databases: &Databases) -> (Vec<Fault>, Vec<String>) {
    let mut life = Life::new(case, number, databases).await;
    let mut post = Post::default();
    let mut faults = Vec::new();
    faults.extend(life.pass(&mut post).await.err());
    faults.extend(post.at_the_end(&life).await.err());
    let ledger = Ledger::read(&life).await;
    faults.extend(ledger.check(&life));
    let events = post::events(&life).await;
    faults.extend(oracle::judge(&life, &post, &ledger, &events));
    faults.extend(charged_again(&life).await);
    let mut log = post.log;
    log.extend(life.shop.told().iter().map(|told| format!("{told:?}")));
    (faults, log)
}

/// An order that is paid is not charged again.
async fn charged_again(life: &Life) -> Option<Fault> {
    let told = life.shop.told();
    let paid = ["payment_succeeded", "free_order"];
    if !told.iter().any(|told| paid.contains(&told.call)) {
        return None;
    }
    let request = life.request().await;
    let again = match life.case.page() {
        Page::Own => life.checkout().create_intent(&request).await.err(),
        _ => life.checkout().create_session(&request).await.err(),
    };
    match again {
        Some(PaymentError::AlreadyPaid) => None,
        other => Some(format!("a paid order may be paid again: {other:?}")),
    }
}
