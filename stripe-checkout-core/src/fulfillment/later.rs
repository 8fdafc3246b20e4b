//! Points in time that cannot overflow, whatever duration the merchant or a caller names.

use std::time::{Duration, Instant, SystemTime};

/// As good as for ever.
const LONGEST: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);

/// The time that is `wait` after `now`, at most 30 years.
pub(super) fn time_after(now: SystemTime, wait: Duration) -> SystemTime {
    now.checked_add(wait.min(LONGEST)).unwrap_or(now)
}

/// The end of a wait that begins now, at most 30 years away.
pub(super) fn end_of(wait: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(wait.min(LONGEST)).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_duration_is_far_away_and_panics_nowhere() {
        let now = SystemTime::now();
        assert_eq!(time_after(now, Duration::MAX), now + LONGEST);
        assert!(end_of(Duration::MAX) > Instant::now() + LONGEST / 2);
        assert_eq!(time_after(now, Duration::ZERO), now);
    }
}
