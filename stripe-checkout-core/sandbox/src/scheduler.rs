//! Actions that the banks take after a while: a debit settles, a refund arrives, a bank decides a
//! dispute. In reality that takes days; here it takes as long as the settings say.

use std::{sync::Arc, time::Duration};

use tokio::{sync::Notify, time::Instant};

use super::{objects::dispute::Decision, shared::Shared};

/// An action that a bank takes on its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Due {
    /// The debit of this charge ends.
    Debit { charge: String, paid: bool },
    /// The balance transaction of a charge appears.
    Booking { charge: String },
    /// A refund arrives at the buyer's bank, or fails.
    Refund { id: String, arrived: bool },
    /// The bank has read the evidence.
    Decision { dispute: String, decision: Decision },
    /// The time for evidence is over.
    Deadline { dispute: String },
}

/// How long banks take. `None` means until a test or the page ends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BankDelays {
    /// How long a captured charge of `automatic_async` has no balance transaction.
    pub(crate) booking: Option<Duration>,
    pub(crate) debit: Option<Duration>,
    pub(crate) refund: Option<Duration>,
    pub(crate) decision: Option<Duration>,
}

impl BankDelays {
    /// Nothing ends by itself.
    pub(crate) const FOR_EVER: Self = Self {
        booking: None,
        debit: None,
        refund: None,
        decision: None,
    };
}

impl Default for BankDelays {
    fn default() -> Self {
        Self {
            booking: Some(Duration::from_secs(5)),
            debit: Some(Duration::from_secs(10)),
            refund: Some(Duration::from_secs(5)),
            decision: Some(Duration::from_secs(5)),
        }
    }
}

/// The actions that wait for their time.
#[derive(Debug)]
pub(crate) struct Agenda {
    start: Instant,
    /// How much time [`pass`](Self::pass) added to the real time.
    passed: Duration,
    waiting: Vec<(Duration, Due)>,
    changed: Arc<Notify>,
}

impl Default for Agenda {
    fn default() -> Self {
        Self {
            start: Instant::now(),
            passed: Duration::ZERO,
            waiting: Vec::new(),
            changed: Arc::default(),
        }
    }
}

impl Agenda {
    fn now(&self) -> Duration {
        self.start.elapsed().saturating_add(self.passed)
    }

    pub(crate) fn add(&mut self, wait: Duration, due: Due) {
        self.waiting.push((self.now().saturating_add(wait), due));
        self.changed.notify_one();
    }

    /// Lets this much time pass at once.
    pub(crate) fn pass(&mut self, time: Duration) {
        self.passed = self.passed.saturating_add(time);
        self.changed.notify_one();
    }

    /// Takes the next due action, in the order of time. Of two actions with the same time, the one
    /// that was added first comes first.
    pub(crate) fn take_due(&mut self) -> Option<Due> {
        let now = self.now();
        let (place, _) = self
            .waiting
            .iter()
            .enumerate()
            .filter(|(_, (at, _))| *at <= now)
            .min_by_key(|(_, (at, _))| *at)?;
        Some(self.waiting.remove(place).1)
    }

    /// Returns how long it takes until the next action is due.
    fn quiet_for(&self) -> Option<Duration> {
        let next = self.waiting.iter().map(|(at, _)| *at).min()?;
        Some(next.saturating_sub(self.now()))
    }
}

/// Does the due actions until the sandbox is dropped.
pub(crate) async fn run(shared: Arc<Shared>) {
    let changed = Arc::clone(&shared.store().agenda.changed);
    loop {
        let (did, quiet) = {
            let mut store = shared.store();
            (store.do_what_is_due(), store.agenda.quiet_for())
        };
        if did {
            shared.changed();
        }
        match quiet {
            // Both the timeout and a change end the wait, and both only mean to look again.
            Some(quiet) => {
                let _ = tokio::time::timeout(quiet, changed.notified()).await;
            }
            None => changed.notified().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_is_due_first_is_done_first() {
        let deadline = |name: &str| Due::Deadline {
            dispute: name.to_owned(),
        };
        let mut agenda = Agenda::default();
        for (seconds, name) in [(3, "late"), (1, "early"), (1, "early too"), (9, "never")] {
            agenda.add(Duration::from_secs(seconds), deadline(name));
        }
        assert_eq!(agenda.take_due(), None);
        assert_eq!(agenda.quiet_for(), Some(Duration::from_secs(1)));
        tokio::time::advance(Duration::from_secs(1)).await;
        agenda.pass(Duration::from_secs(2));
        for name in ["early", "early too", "late"] {
            assert_eq!(agenda.take_due(), Some(deadline(name)));
        }
        assert_eq!(agenda.take_due(), None);
        assert_eq!(agenda.quiet_for(), Some(Duration::from_secs(6)));
    }
}
