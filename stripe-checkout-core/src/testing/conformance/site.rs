//! A running application, and the report on it.

use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::client::{self, Answer, Request};
use super::driver::{Difference, Driver};
use super::world::{self, Application, State};

pub(super) fn report(name: &str, count: usize, what: &str, failures: &[String]) {
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
pub(super) struct Site {
    pub(super) address: SocketAddr,
    pub(super) state: Arc<State>,
    pub(super) own_headers: &'static [&'static str],
    pub(super) differences: &'static [Difference],
}

impl Site {
    pub(super) async fn start(driver: &impl Driver) -> Self {
        let (application, state) = world::application(BODY_DEADLINE);
        Self::of(driver, application, state).await
    }

    pub(super) async fn of(
        driver: &impl Driver,
        application: Application,
        state: Arc<State>,
    ) -> Self {
        Self {
            address: driver.start(application).await,
            state,
            own_headers: driver.own_headers(),
            differences: driver.differences(),
        }
    }

    pub(super) async fn send(&self, request: &Request) -> Answer {
        client::send(self.address, request).await
    }

    /// How answers differ from the reference's, if they do.
    pub(super) fn differs(&self, expected: &[Answer], answered: &[Answer]) -> Option<String> {
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
