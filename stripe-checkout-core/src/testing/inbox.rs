//! One suite of promises for every inbox.
//!
//! The promises of an [`Inbox`](crate::fulfillment::Inbox) are about money. A broken promise shows
//! only under concurrency, after a crash, or on the second delivery. So this suite tests the
//! promises instead of each inbox's own tests. [`run`] gives each case its own store. The case then
//! acts as Stripe does, as operators do, and as dying processes do.
//! [`MemoryInbox`](crate::fulfillment::MemoryInbox) runs the same suite, so that it stays a correct
//! model.
//!
//! **Not part of the stable interface**: any release may add and change cases.

mod captures;
mod cards;
mod case;
mod crashes;
mod failures;
mod once;
mod operations;
mod order;
mod sessions;
mod store;
mod subject;
mod upkeep;
mod worker;
mod world;

use std::collections::BTreeSet;
use std::io::Write as _;
use std::time::Duration;

use tokio::task::JoinSet;

use self::case::Case;
pub use self::subject::Subject;
use self::world::World;

/// The number of cases that run at the same time. Each has a store, and two or three handles on it.
const AT_ONCE: usize = 4;

/// The longest time of a case.
///
/// No case takes more than a few seconds. A case that takes this long waits for something that will
/// not happen.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs every case on its own store, and returns the number of cases.
///
/// It needs a runtime with several threads: half of the cases are about concurrency.
///
/// # Panics
/// If a promise is broken. The message lists all broken promises.
pub async fn run<S: Subject>(name: &str, fresh: impl AsyncFn() -> S) -> usize {
    let mut failures = Vec::new();
    let cases = all();
    let names: BTreeSet<_> = cases.iter().map(|case| case.name).collect();
    let count = names.len();
    assert_eq!(count, cases.len(), "each case has a name of its own");
    let mut running: JoinSet<Option<String>> = JoinSet::new();
    for case in cases {
        if running.len() == AT_ONCE {
            failures.extend(next(&mut running).await);
        }
        let world = World::new(fresh().await);
        // A task in a task, so that a case that panics is a failure with a name.
        running.spawn(async move {
            let told = tokio::spawn(tokio::time::timeout(PATIENCE, (case.tell)(world)));
            let failure = match told.await {
                Ok(Ok(Ok(()))) => return None,
                Ok(Ok(Err(failure))) => failure.to_string(),
                Ok(Err(_)) => format!("not over after {} s", PATIENCE.as_secs()),
                Err(error) => error.to_string(),
            };
            Some(format!("{}: {failure}", case.name))
        });
    }
    while !running.is_empty() {
        failures.extend(next(&mut running).await);
    }
    assert!(
        failures.is_empty(),
        "{name}: {} of {count} cases failed\n{}",
        failures.len(),
        failures.join("\n")
    );
    // Not by `println!`, which the test harness would hide: the output shows that all inboxes run
    // the same number of cases.
    let _ = writeln!(std::io::stdout(), "{name}: {count} promises kept");
    count
}

async fn next(running: &mut JoinSet<Option<String>>) -> Option<String> {
    match running.join_next().await? {
        Ok(failure) => failure,
        Err(error) => Some(error.to_string()),
    }
}

fn all<S: Subject>() -> Vec<Case<S>> {
    let mut cases = once::all();
    cases.extend(order::all());
    cases.extend(captures::all());
    cases.extend(sessions::all());
    cases.extend(failures::all());
    cases.extend(crashes::all());
    cases.extend(store::all());
    cases.extend(operations::all());
    cases.extend(cards::all());
    cases.extend(upkeep::all());
    cases.extend(worker::all());
    cases
}
