//! Measures how far this machine's clock is from Stripe's.
//!
//! A clock that is wrong by minutes refuses every webhook, or accepts old webhooks as new.
//!
//! Stripe signs every attempt of a delivery with the time at which it is sent. So now less that
//! time is how far this clock is ahead, plus the time that the delivery takes. That time only adds
//! to the difference. A sender that replays an old delivery also only adds to it. Without the
//! secret, no sender can sign a smaller difference. So the *smallest* difference of the last
//! minutes counts. Refused deliveries count too: if the clock is wrong, there are no others.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::alerts::Alert;
use crate::quiet::Quiet;
use crate::webhook::Signed;
use crate::webhook::signature::SignatureError;

/// A difference counts for one to two windows. If no webhooks arrive any more, the last differences
/// stay.
const WINDOW: Duration = Duration::from_secs(5 * 60);

pub(super) struct Clock {
    /// A difference of this many seconds or more raises an alert.
    limit: u64,
    heard: Mutex<Heard>,
    quiet: Quiet,
}

#[derive(Default)]
struct Heard {
    /// When the present window began, and its smallest difference.
    now: Option<(Instant, i64)>,
    /// The smallest difference of the window before.
    before: Option<i64>,
}

impl Clock {
    pub(super) fn new(tolerance: Duration) -> Self {
        Self {
            // No delivery takes as long as a minute. With a tolerance below a minute, a smaller
            // difference already refuses webhooks.
            limit: tolerance.as_secs().clamp(2, 60),
            heard: Mutex::default(),
            quiet: Quiet::default(),
        }
    }

    /// Returns by how many seconds this clock is ahead, if known.
    pub(super) fn ahead(&self) -> Option<i64> {
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.ahead()
    }

    pub(super) fn alert(&self) -> Option<Alert> {
        self.worth_telling(self.ahead()?)
    }

    fn worth_telling(&self, ahead_seconds: i64) -> Option<Alert> {
        let far = ahead_seconds.unsigned_abs() >= self.limit;
        far.then_some(Alert::ClockSkew { ahead_seconds })
    }

    /// Notes the time of a webhook that was verified, or refused as too old. A webhook that is not
    /// genuine has no effect.
    pub(super) fn heard(&self, signed: &Result<Signed, SignatureError>, now: SystemTime) {
        let (difference, refused) = match signed {
            Ok(signed) => (seconds(now).saturating_sub(signed.timestamp), false),
            Err(SignatureError::TooOld { age_seconds, .. }) => {
                (i64::try_from(*age_seconds).unwrap_or(i64::MAX), true)
            }
            Err(_) => return,
        };
        let at = Instant::now();
        let ahead_seconds = self.note(difference, at);
        let alert = self.worth_telling(ahead_seconds);
        if (alert.is_none() && !refused) || self.quiet.say_at(at).is_none() {
            return;
        }
        match alert {
            Some(alert) if refused => tracing::error!(
                ahead_seconds,
                age_seconds = difference,
                "a GENUINE webhook was refused as too old. {alert}"
            ),
            Some(alert) => tracing::error!(ahead_seconds, "{alert}"),
            None => tracing::warn!(
                ahead_seconds,
                age_seconds = difference,
                "an old delivery was sent again and refused: it is genuine, and this machine's clock agrees with those of the last minutes"
            ),
        }
    }

    /// Adds a difference, and returns the difference that counts now.
    fn note(&self, difference: i64, at: Instant) -> i64 {
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.now = Some(match heard.now {
            Some((began, least)) if at.duration_since(began) < WINDOW => {
                (began, least.min(difference))
            }
            window => {
                let recent = window.filter(|(began, _)| at.duration_since(*began) < WINDOW * 2);
                heard.before = recent.map(|(_, least)| least);
                (at, difference)
            }
        });
        heard.ahead().unwrap_or(difference)
    }
}

impl Heard {
    fn ahead(&self) -> Option<i64> {
        let (_, least) = self.now?;
        Some(self.before.map_or(least, |before| before.min(least)))
    }
}

/// Seconds since 1970. Negative if the clock is set to a time before that.
fn seconds(now: SystemTime) -> i64 {
    match now.duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_secs()).map_or(i64::MIN, |by| -by),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn clock() -> Clock {
        Clock::new(Duration::from_secs(300))
    }

    #[test]
    fn the_way_and_who_sends_again_only_ever_add() {
        let (clock, start) = (clock(), Instant::now());
        assert_eq!(clock.ahead(), None);
        assert_eq!(clock.note(100_000, start), 100_000, "there is nothing else");
        assert_eq!(clock.note(1, start), 1);
        assert_eq!(clock.note(40, start), 1, "a slow way");
        assert_eq!(clock.note(100_000, start), 1, "an old delivery");
        assert_eq!(clock.note(-200, start), -200, "the clock was put back");
        assert_eq!(clock.ahead(), Some(-200));
    }

    #[test]
    fn a_clock_that_was_put_forward_is_believed_within_ten_minutes_and_none_forgets_the_last() {
        let (clock, start) = (clock(), Instant::now());
        clock.note(1, start);
        assert_eq!(
            clock.note(500, start + MINUTE * 6),
            1,
            "may be an old delivery"
        );
        assert_eq!(clock.note(501, start + MINUTE * 10), 1);
        assert_eq!(clock.note(502, start + MINUTE * 11), 500);
        assert_eq!(clock.ahead(), Some(500));
        assert_eq!(
            clock.note(2, start + MINUTE * 600),
            2,
            "what was hours ago says nothing of now"
        );
        assert_eq!(clock.note(700, start + MINUTE * 1200), 700);
    }

    #[test]
    fn a_minute_is_worth_telling_and_less_where_less_refuses_webhooks() {
        let told = |tolerance, ahead_seconds| {
            let clock = Clock::new(Duration::from_secs(tolerance));
            clock.note(ahead_seconds, Instant::now());
            clock.alert().is_some()
        };
        assert_eq!(
            [-60, -59, 0, 59, 60].map(|ahead| told(300, ahead)),
            [true, false, false, false, true]
        );
        assert_eq!([9, 10].map(|ahead| told(10, ahead)), [false, true]);
        assert!(!told(0, 1), "the way takes as long");
        assert!(told(u64::MAX, i64::MIN));
    }

    #[test]
    fn a_clock_before_1970_is_far_behind() {
        assert_eq!(seconds(UNIX_EPOCH - MINUTE), -60);
        assert_eq!(seconds(UNIX_EPOCH + MINUTE), 60);
    }
}
