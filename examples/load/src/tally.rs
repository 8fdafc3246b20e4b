//! Counts of purchases, webhooks and attacks, and of their answers.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::{parcels::Parcel, processes::Memory};

/// Counts of everything so far.
#[derive(Debug, Default)]
pub(crate) struct Tally(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    purchases: usize,
    /// Orders that the sandbox took the money for.
    paid: Vec<Parcel>,
    /// Purchases that did not end with one parcel, in words.
    failed: Vec<String>,
    /// How long the answer to each webhook took.
    webhooks: Vec<Duration>,
    /// Honest requests that were answered with 5xx or not at all, in words.
    broken: Vec<String>,
    /// How often each kind of attack was answered with each status; 0 is no answer.
    attacks: BTreeMap<&'static str, BTreeMap<u16, usize>>,
}

impl Tally {
    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn purchase(&self, ended: Result<(), String>) {
        let mut counts = self.lock();
        counts.purchases += 1;
        counts.failed.extend(ended.err());
    }

    /// The sandbox took the money for this order.
    pub(crate) fn pay(&self, order: &str, payment: &str) {
        self.lock().paid.push(Parcel {
            order: order.to_owned(),
            payment: payment.to_owned(),
        });
    }

    pub(crate) fn paid(&self) -> Vec<Parcel> {
        self.lock().paid.clone()
    }

    pub(crate) fn webhook(&self, took: Duration) {
        self.lock().webhooks.push(took);
    }

    /// An honest request was answered with this status, or not at all.
    pub(crate) fn honest(&self, what: &str, status: Option<u16>) {
        match status {
            Some(status) if status < 500 => {}
            Some(status) => self.lock().broken.push(format!("{what}: {status}")),
            None => self.lock().broken.push(format!("{what}: no answer")),
        }
    }

    pub(crate) fn attack(&self, kind: &'static str, status: Option<u16>) {
        let mut counts = self.lock();
        let statuses = counts.attacks.entry(kind).or_default();
        *statuses.entry(status.unwrap_or(0)).or_default() += 1;
    }

    pub(crate) fn purchases(&self) -> usize {
        self.lock().purchases
    }

    pub(crate) fn failed(&self) -> Vec<String> {
        self.lock().failed.clone()
    }

    pub(crate) fn broken(&self) -> Vec<String> {
        self.lock().broken.clone()
    }

    /// The time within which this share of the webhooks was answered.
    pub(crate) fn percentile(&self, percent: usize) -> Option<Duration> {
        let mut sorted = self.lock().webhooks.clone();
        sorted.sort_unstable();
        let last = sorted.len().checked_sub(1)?;
        sorted.get(last * percent / 100).copied()
    }

    /// A line of the table.
    pub(crate) fn line(&self, memory: Option<&Memory>) -> String {
        let ms = |percent| self.percentile(percent).unwrap_or_default().as_millis();
        let (p50, p99) = (ms(50), ms(99));
        let counts = self.lock();
        let mut line = format!(
            "{:9}  {:8}  {p50:6}  {p99:6}  {:3}",
            counts.purchases,
            counts.webhooks.len(),
            counts.broken.len()
        );
        for bytes in memory.into_iter().flat_map(Memory::all) {
            // Writing into a string cannot fail.
            let _ = write!(line, "  {:.1}", bytes as f64 / 1024.0 / 1024.0);
        }
        line
    }

    /// How attacks were answered.
    pub(crate) fn attacks(&self) -> String {
        let mut text = "Attacks, and how often each status answered them (0: none):".to_owned();
        for (kind, statuses) in &self.lock().attacks {
            let _ = write!(text, "\n  {kind}:");
            for (status, count) in statuses {
                let _ = write!(text, "  {status} × {count}");
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_the_time_within_which_so_many_were_answered() {
        let tally = Tally::default();
        assert_eq!(tally.percentile(99), None);
        for ms in (1..=200).rev() {
            tally.webhook(Duration::from_millis(ms));
        }
        assert_eq!(tally.percentile(50), Some(Duration::from_millis(100)));
        assert_eq!(tally.percentile(99), Some(Duration::from_millis(198)));
    }

    #[test]
    fn only_errors_of_the_server_break_an_honest_request() {
        let tally = Tally::default();
        for status in [Some(200), Some(429), Some(503), None] {
            tally.honest("page", status);
        }
        assert_eq!(tally.broken(), ["page: 503", "page: no answer"]);
    }
}
