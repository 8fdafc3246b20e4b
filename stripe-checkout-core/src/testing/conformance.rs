//! One suite of answers for every adapter, over real sockets.
//!
//! An adapter only translates. Its response must be the core's response without any framework.
//! [`run`] starts both, sends each the same bytes, and compares status, headers and body. Each case
//! also contains the expected response, so that the suite checks the reference itself:
//! [`Reference`] is a driver like any other.
//!
//! **Not part of the stable interface**: any release may add and change cases.

mod attacks;
mod bounds;
mod client;
mod driver;
mod exchanges;
mod readme;
mod reference;
mod site;
mod stories;
mod world;

use std::collections::BTreeSet;

use tokio::task::JoinSet;

pub use self::attacks::withstand;
pub use self::bounds::still_open;
pub use self::driver::{Difference, Driver};
pub use self::readme::answers_as_written;
pub use self::reference::Reference;
use self::site::{Site, report};
pub use self::world::{Application, MEMBER_HEADER, Mount};

/// Runs every case against this driver's application and against the core without a framework.
///
/// Returns the number of cases.
///
/// # Panics
/// If a response is not the expected one. The message lists all differences.
pub async fn run(name: &str, driver: impl Driver) -> usize {
    let subject = Site::start(&driver).await;
    let reference = Site::start(&Reference).await;
    let mut failures = Vec::new();
    let exchanges = exchanges::all();
    let stories = stories::all();
    let names: BTreeSet<_> = exchanges
        .iter()
        .map(|exchange| exchange.name.as_str())
        .collect();
    let cases = names.len() + stories.len();
    assert_eq!(
        names.len(),
        exchanges.len(),
        "each exchange has a name of its own"
    );

    // These cases wait for each other inside, so they all run at once.
    let mut running = JoinSet::new();
    for story in stories {
        let (reference, subject) = (reference.clone(), subject.clone());
        running.spawn(async move {
            let (expected, answered) =
                tokio::join!((story.tell)(reference), (story.tell)(subject.clone()));
            let failure = match (expected, answered) {
                (Err(failure), _) => Some(format!("the reference: {failure}")),
                (_, Err(failure)) => Some(failure),
                (Ok(expected), Ok(answered)) => subject.differs(&expected, &answered),
            };
            failure.map(|failure| format!("{}: {failure}", story.name))
        });
    }
    for exchange in exchanges {
        let expected = reference.send(&exchange.request).await;
        let answered = subject.send(&exchange.request).await;
        let failure = exchange
            .judge(&expected, &[])
            .map(|failure| format!("the reference: {failure}"))
            .or_else(|| exchange.judge(&answered, subject.differences))
            .or_else(|| {
                let other = exchange.is_touched_by(subject.differences);
                subject.differs(&[expected], &[answered]).filter(|_| !other)
            });
        failures.extend(failure.map(|failure| format!("{}: {failure}", exchange.name)));
    }
    while let Some(ended) = running.join_next().await {
        match ended {
            Ok(failure) => failures.extend(failure),
            Err(error) => failures.push(error.to_string()),
        }
    }
    report(name, cases, "cases as the core answers them", &failures);
    cases
}
