//! When what failed is tried again.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::time::Duration;

use crate::error::InboxError;

/// The pause after a first failure is between nothing and this; it doubles with every further one.
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60 * 60);

/// How long who may take any event waits for the payment of the one that it took.
pub(super) const PATIENCE_WHEN_DUE: Duration = Duration::from_millis(200);

/// When an event that was taken because it was due, and did not run, is due again: not at once, so that it does not stand before all others for ever.
pub(super) fn after_no_attempt(error: &InboxError) -> Duration {
    match error {
        // Its payment is worked on.
        InboxError::Busy => Duration::from_secs(1),
        // Something is wrong with it, which somebody has to mend.
        _ => Duration::from_secs(30),
    }
}

/// How long to wait after this many failed attempts: anything up to a limit that doubles, so that what failed together does not come back together.
pub(super) fn pause(attempts: u32) -> Duration {
    // The standard library's own random keys: nobody is harmed who guesses a pause.
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
