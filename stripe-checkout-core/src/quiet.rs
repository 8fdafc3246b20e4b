//! Keeps a log line that strangers can cause down to one a minute.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How often a line is logged.
const QUIET: Duration = Duration::from_secs(60);

/// Counts what happens, and says it at most once a minute.
#[derive(Default)]
pub(crate) struct Quiet(Mutex<Counted>);

#[derive(Default)]
struct Counted {
    said: Option<Instant>,
    since: u64,
}

impl Quiet {
    /// It happened. Returns how often it did since it was last said, if it may be said now.
    pub(crate) fn say(&self) -> Option<u64> {
        self.say_at(Instant::now())
    }

    pub(crate) fn say_at(&self, now: Instant) -> Option<u64> {
        let mut counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counted.since = counted.since.saturating_add(1);
        let quiet = counted
            .said
            .is_some_and(|said| now.saturating_duration_since(said) < QUIET);
        if quiet {
            return None;
        }
        counted.said = Some(now);
        Some(std::mem::take(&mut counted.since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_is_told_once_a_minute_and_how_often_it_happened() {
        let (quiet, start) = (Quiet::default(), Instant::now());
        assert_eq!(quiet.say_at(start), Some(1));
        assert_eq!(quiet.say_at(start + QUIET - Duration::from_millis(1)), None);
        assert_eq!(quiet.say_at(start + QUIET), Some(2));
        assert_eq!(quiet.say_at(start + QUIET), None);
    }
}
