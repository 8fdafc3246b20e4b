//! Counts what the test did and how the shop answered.

use std::{
    collections::{BTreeMap, HashSet},
    fmt::Write as _,
    io::Write as _,
    sync::{
        Arc, Mutex, MutexGuard, Once, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use stripe_checkout_sandbox::{DeliveryResult, Sandbox};
use tokio::time::sleep;

use super::{Run, ledger::Found};

/// The counts of a run.
#[derive(Debug)]
pub(super) struct Tally {
    pub(super) payments: AtomicUsize,
    pub(super) kills: AtomicUsize,
    pub(super) freezes: AtomicUsize,
    /// Stops of the database server.
    pub(super) stops: AtomicUsize,
    /// Starts of processes that failed because the database was down.
    pub(super) failed_starts: AtomicUsize,
    /// Deliveries for each event.
    per_event: usize,
    answers: Mutex<Answers>,
}

#[derive(Debug, Default)]
struct Answers {
    deliveries: usize,
    /// Acknowledged deliveries, which the sandbox does not repeat.
    over: usize,
    by_status: BTreeMap<String, usize>,
    acknowledged: HashSet<String>,
}

impl Tally {
    pub(super) fn new(per_event: usize) -> Self {
        Self {
            payments: AtomicUsize::new(0),
            kills: AtomicUsize::new(0),
            freezes: AtomicUsize::new(0),
            stops: AtomicUsize::new(0),
            failed_starts: AtomicUsize::new(0),
            per_event,
            answers: Mutex::default(),
        }
    }

    fn answers(&self) -> MutexGuard<'_, Answers> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts the deliveries that ended since the last call.
    pub(super) fn count(&self, sandbox: &Sandbox) {
        let mut answers = self.answers();
        for attempt in sandbox.take_deliveries() {
            let status = match attempt.result {
                DeliveryResult::Answered(status) => status.to_string(),
                DeliveryResult::TimedOut => "late".to_owned(),
                _ => "none".to_owned(),
            };
            *answers.by_status.entry(status).or_default() += 1;
            answers.deliveries += 1;
            if attempt.result.is_acknowledged() {
                answers.over += 1;
                answers.acknowledged.insert(attempt.event);
            }
        }
    }

    /// Returns the number of deliveries that the shop has yet to acknowledge.
    pub(super) fn outstanding(&self, sandbox: &Sandbox) -> usize {
        let all = sandbox.events().len() * self.per_event;
        all.saturating_sub(self.answers().over)
    }

    /// Returns the events that the shop has acknowledged at least once.
    pub(super) fn acknowledged(&self) -> HashSet<String> {
        self.answers().acknowledged.clone()
    }

    /// Prints one line of the table, and its head before the first line.
    pub(super) fn print(&self, run: &Run, found: &Found, took: Duration) {
        static HEAD: Once = Once::new();
        let columns: [(&str, usize); 13] = [
            ("payments", found.paid),
            ("events", run.sandbox.events().len()),
            ("deliveries", self.answers().deliveries),
            ("kills", self.kills.load(Relaxed)),
            ("freezes", self.freezes.load(Relaxed)),
            ("server stops", self.stops.load(Relaxed)),
            ("failed starts", self.failed_starts.load(Relaxed)),
            ("attempts repeated", found.repeated),
            ("shipments", found.shipments),
            ("double", found.double),
            ("missing", found.missing),
            ("unpaid", found.unpaid),
            ("seconds", took.as_secs() as usize),
        ];
        HEAD.call_once(|| {
            let mut head = format!("{:34}", "crash test");
            for (name, _) in columns {
                let _ = write!(head, " | {name}");
            }
            say(&format!("{head} | answers | seed"));
        });
        let mut line = format!("{:34}", run.variant.name);
        for (name, count) in columns {
            let _ = write!(line, " | {count:>width$}", width = name.len());
        }
        let answers: Vec<String> = self
            .answers()
            .by_status
            .iter()
            .map(|(status, count)| format!("{status}: {count}"))
            .collect();
        let _ = write!(line, " | {} | {}", answers.join(", "), run.plan.seed);
        say(&line);
    }
}

/// Counts deliveries before the sandbox forgets them.
pub(super) async fn collect(run: Arc<Run>) {
    loop {
        run.tally.count(&run.sandbox);
        sleep(Duration::from_millis(100)).await;
    }
}

/// Prints a line past the test harness, which shows only the output of failing tests.
pub(super) fn say(line: &str) {
    let _ = std::io::stderr().write_all(format!("{line}\n").as_bytes());
}
