//! One suite of answers for every adapter, over real sockets.
//!
//! An adapter only translates, so whatever it answers must be what the core answers without any framework: [`run`] starts both, sends each the same bytes, and
//! compares status, headers and body. What the answer has to be stands in each case too, so that the reference itself is judged: [`Reference`] is a driver like
//! any other.
//!
//! **Not part of the stable interface**: cases are added and changed in any release.

mod attacks;
mod bounds;
mod client;
mod exchanges;
mod readme;
mod reference;
mod stories;
mod world;

use std::collections::BTreeSet;
use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

pub use self::attacks::withstand;
pub use self::bounds::still_open;
use self::client::{Answer, Request};
pub use self::readme::answers_as_written;
pub use self::reference::Reference;
use self::world::State;
pub use self::world::{Application, MEMBER_HEADER, Mount};

/// An adapter, as the suite starts it.
pub trait Driver {
    /// Serves the application on a loopback port, to the end of the process, and answers its address. What is to be served is told by [`Application`].
    fn start(&self, application: Application) -> impl Future<Output = SocketAddr>;

    /// Names, in lower case, of the headers that the framework adds to every answer.
    fn own_headers(&self) -> &'static [&'static str] {
        &[]
    }

    /// What the framework does to requests before an adapter sees them: in the cases that it touches, another answer is right.
    fn differences(&self) -> &'static [Difference] {
        &[]
    }
}

/// What a framework does to a request, for good or ill, before an adapter sees it. Each is listed in the README of the adapter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Difference {
    /// Headers whose values are not UTF-8 are dropped, as if they had not been sent.
    DropsNonUtf8Headers,
    /// A target that names its host (`GET http://shop.example/checkout`) loses it; the `Host` header counts.
    ForgetsAuthority,
    /// An adapter sees a request only after the first bytes of its body. No deadline bounds them.
    AwaitsFirstBytes,
}

/// Runs every case against this driver's application and against the core without a framework, and says how many there were.
///
/// # Panics
/// If an answer is not what it has to be, with all that differs.
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

    // These wait for each other inside, so they all run at once.
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

fn report(name: &str, count: usize, what: &str, failures: &[String]) {
    assert!(
        failures.is_empty(),
        "{name}: {} of {count} failed: {what}\n{}",
        failures.len(),
        failures.join("\n")
    );
    // Not by `println!`, which the test harness hides. All adapters must show the same number.
    let _ = writeln!(std::io::stdout(), "{name}: {count} {what}");
}

/// Longer than an honest body takes on a busy machine.
const BODY_DEADLINE: Duration = Duration::from_secs(60);

/// A running application, and what the merchant's side of it has seen.
#[derive(Clone)]
struct Site {
    address: SocketAddr,
    state: Arc<State>,
    own_headers: &'static [&'static str],
    differences: &'static [Difference],
}

impl Site {
    async fn start(driver: &impl Driver) -> Self {
        let (application, state) = world::application(BODY_DEADLINE);
        Self::of(driver, application, state).await
    }

    async fn of(driver: &impl Driver, application: Application, state: Arc<State>) -> Self {
        Self {
            address: driver.start(application).await,
            state,
            own_headers: driver.own_headers(),
            differences: driver.differences(),
        }
    }

    async fn send(&self, request: &Request) -> Answer {
        client::send(self.address, request).await
    }

    /// How answers differ from the reference's, if they do.
    fn differs(&self, expected: &[Answer], answered: &[Answer]) -> Option<String> {
        if expected.len() != answered.len() {
            return Some(format!(
                "{} answers, not {}",
                answered.len(),
                expected.len()
            ));
        }
        let pairs = expected.iter().zip(answered);
        pairs
            .filter_map(|(expected, answered)| answered.differs(expected, self.own_headers))
            .next()
    }
}
