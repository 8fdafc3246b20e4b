//! Decides when a failed event is retried.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::time::Duration;

use crate::error::InboxError;

/// The longest pause after a first failure. The pause is random, from zero up to this limit, which
/// doubles with every further failure.
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60 * 60);

/// How long a worker waits for the payment of a due event that it claimed. Other events may be due
/// too.
pub(super) const PATIENCE_WHEN_DUE: Duration = Duration::from_millis(200);

/// When a due event that was claimed, but did not run, is due again. It is not due at once, so that
/// it does not stay ahead of all others forever.
pub(super) fn after_no_attempt(error: &InboxError) -> Duration {
    match error {
        // Other work on its payment is running.
        InboxError::Busy => Duration::from_secs(1),
        // Something is wrong with it, which a person has to fix.
        _ => Duration::from_secs(30),
    }
}

/// How long to wait after this many failed attempts: a random time up to a limit that doubles. So
/// events that failed together do not return together.
pub(super) fn pause(attempts: u32) -> Duration {
    // The standard library's own random keys are enough: a guessed pause does no harm.
    let random = RandomState::new().build_hasher().finish();
    limit(attempts).mul_f64(random as f64 / u64::MAX as f64)
}

fn limit(attempts: u32) -> Duration {
    let doubled = 2_u32.saturating_pow(attempts.saturating_sub(1));
    FIRST.saturating_mul(doubled).min(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_an_hour_and_are_anything_below() {
        let seconds: Vec<_> = [0, 1, 2, 3, 12, 13, 40, u32::MAX]
            .map(|attempts| limit(attempts).as_secs())
            .into();
        assert_eq!(seconds, [1, 1, 2, 4, 2048, 3600, 3600, 3600]);
        let pauses: Vec<_> = (0..100).map(|_| pause(13)).collect();
        assert!(pauses.iter().all(|pause| *pause <= LONGEST));
        assert!(pauses.iter().any(|pause| *pause < LONGEST / 2));
        assert!(pauses.iter().any(|pause| *pause > LONGEST / 2));
    }
}
