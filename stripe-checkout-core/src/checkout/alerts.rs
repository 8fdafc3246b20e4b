//! Problems that an operator must look at now: paid orders that are not fulfilled, and their
//! causes.

use std::fmt;
use std::time::{Duration, SystemTime};

use crate::fulfillment::{EventState, Stats};

/// A problem that does not go away by itself.
///
/// It prints as a sentence that says what is wrong and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Alert {
    /// Buyers have paid and received nothing for longer than is normal.
    Unfulfilled {
        /// How many payments are paid and not fulfilled, regardless of their age.
        payments: u64,
        /// When the success of the oldest payment was received.
        since: SystemTime,
        /// The age of that success at the time of this call.
        oldest: Duration,
    },
    /// Events that failed at every attempt. They do not run again by themselves.
    DeadLetters {
        /// The number of events.
        events: u64,
    },
    /// Payments that do not match their order, or events about a payment that cannot be read.
    ///
    /// Nothing was fulfilled. It also covers refunds that may represent a part that was never
    /// captured.
    Mismatches {
        /// The number of events.
        events: u64,
    },
    /// Payments of orders that were already paid, if nothing was refunded.
    DuplicatePayments {
        /// The number of payments.
        payments: u64,
    },
    /// Payments that were refunded or disputed before they were fulfilled: nothing was shipped.
    ///
    /// They count for 24 hours.
    RefundedBeforeFulfillment {
        /// The number of payments.
        payments: u64,
    },
    /// Payments that were found by asking Stripe, while no webhook was accepted for an hour.
    ///
    /// The return page or the reconciler found them.
    NoWebhooks {
        /// The number of payments that were found since the last webhook.
        payments: u64,
    },
    /// This machine's clock and Stripe's differ by a minute or more, or by your shorter tolerance.
    ClockSkew {
        /// By how many seconds this machine's clock is ahead, or behind if negative. See
        /// [`Checkout::clock_skew`](crate::Checkout::clock_skew).
        ahead_seconds: i64,
    },
}

impl Alert {
    /// Returns the stable name of the alert, for metrics, pagers and style sheets.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Unfulfilled { .. } => "unfulfilled",
            Self::DeadLetters { .. } => "dead_letters",
            Self::Mismatches { .. } => "mismatches",
            Self::DuplicatePayments { .. } => "duplicate_payments",
            Self::RefundedBeforeFulfillment { .. } => "refunded_before_fulfillment",
            Self::NoWebhooks { .. } => "no_webhooks",
            Self::ClockSkew { .. } => "clock_skew",
        }
    }
}

impl fmt::Display for Alert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unfulfilled {
                payments: 1,
                oldest,
                ..
            } => write!(
                f,
                "1 payment is paid and not fulfilled, for {}: see what its event says, and whether a worker runs.",
                Words(oldest.as_secs())
            ),
            Self::Unfulfilled {
                payments, oldest, ..
            } => write!(
                f,
                "{payments} payments are paid and not fulfilled, the oldest for {}: see what their events say, and whether a worker runs.",
                Words(oldest.as_secs())
            ),
            Self::DeadLetters { events: 1 } => f.write_str(
                "1 event failed at every attempt and does not run again by itself: mend what its error says, then replay it, or drop it.",
            ),
            Self::DeadLetters { events } => write!(
                f,
                "{events} events failed at every attempt and do not run again by themselves: mend what their errors say, then replay them, or drop them."
            ),
            Self::Mismatches { events: 1 } => f.write_str(
                "1 payment does not fit its order or cannot be read, and nothing was delivered for it: see why, then replay its event, or drop it and refund the buyer.",
            ),
            Self::Mismatches { events } => write!(
                f,
                "{events} payments do not fit their orders or cannot be read, and nothing was delivered for them: see why, then replay their events, or drop them and refund the buyers."
            ),
            Self::DuplicatePayments { payments: 1 } => {
                f.write_str("1 order was paid twice: refund its second payment.")
            }
            Self::DuplicatePayments { payments } => write!(
                f,
                "{payments} payments were for orders that had been paid already: refund them."
            ),
            Self::RefundedBeforeFulfillment { payments: 1 } => f.write_str(
                "1 payment of the last 24 hours was refunded or disputed before it was fulfilled, and nothing was shipped: see whether that is right.",
            ),
            Self::RefundedBeforeFulfillment { payments } => write!(
                f,
                "{payments} payments of the last 24 hours were refunded or disputed before they were fulfilled, and nothing was shipped: see whether that is right."
            ),
            Self::NoWebhooks { payments: 1 } => f.write_str(
                "1 payment was found by asking Stripe, and no webhook was accepted for an hour: compare the signing secret with that of the endpoint in Stripe's Dashboard, and see there whether Stripe reaches it.",
            ),
            Self::NoWebhooks { payments } => write!(
                f,
                "{payments} payments were found by asking Stripe, and no webhook was accepted for an hour: compare the signing secret with that of the endpoint in Stripe's Dashboard, and see there whether Stripe reaches it."
            ),
            Self::ClockSkew { ahead_seconds } if *ahead_seconds < 0 => write!(
                f,
                "This machine's clock is {} behind Stripe's: old deliveries pass for new ones. Set it by NTP.",
                Words(ahead_seconds.unsigned_abs())
            ),
            Self::ClockSkew { ahead_seconds } => write!(
                f,
                "This machine's clock is {} ahead of Stripe's, or somebody sends old deliveries again: webhooks that seem too old are refused. Set it by NTP.",
                Words(ahead_seconds.unsigned_abs())
            ),
        }
    }
}

/// Prints seconds as a short text, such as `15 min`.
struct Words(u64);

impl fmt::Display for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(seconds) = *self;
        let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
        match seconds {
            0..120 => write!(f, "{seconds} s"),
            120..7200 => write!(f, "{minutes} min"),
            7200..172_800 => write!(f, "{hours} h {} min", minutes % 60),
            _ => write!(f, "{days} days"),
        }
    }
}

/// Returns the alerts of these statistics.
pub(super) fn of(stats: &Stats, unfulfilled_after: Duration, now: SystemTime) -> Vec<Alert> {
    let unfulfilled = stats.unfulfilled_since.and_then(|since| {
        // If the clock was set back since then, the age is zero.
        let oldest = now.duration_since(since).unwrap_or_default();
        (oldest >= unfulfilled_after).then_some(Alert::Unfulfilled {
            payments: stats.unfulfilled,
            since,
            oldest,
        })
    });
    let some = |count: u64| (count > 0).then_some(count);
    let dead = some(stats.count(EventState::Dead)).map(|events| Alert::DeadLetters { events });
    let mismatches =
        some(stats.count(EventState::Mismatch)).map(|events| Alert::Mismatches { events });
    let duplicates =
        some(stats.duplicate_payments).map(|payments| Alert::DuplicatePayments { payments });
    let refunded = some(stats.refunded_before_fulfillment)
        .map(|payments| Alert::RefundedBeforeFulfillment { payments });
    [unfulfilled, dead, mismatches, duplicates, refunded]
        .into_iter()
        .flatten()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_is_well_when_nothing_is_wrong() {
        let now = SystemTime::now();
        let mut stats = Stats::default();
        stats.events.insert(EventState::Done, 1000);
        stats.events.insert(EventState::Pending, 3);
        stats.unfulfilled = 1;
        stats.unfulfilled_since = Some(now - Duration::from_secs(899));
        assert_eq!(of(&stats, Duration::from_secs(900), now), []);
    }

    #[test]
    fn each_thing_that_is_wrong_is_told_with_what_to_do() {
        let now = SystemTime::now();
        let since = now - Duration::from_secs(900);
        let mut stats = Stats {
            unfulfilled: 2,
            unfulfilled_since: Some(since),
            duplicate_payments: 3,
            refunded_before_fulfillment: 6,
            ..Stats::default()
        };
        stats.events.insert(EventState::Dead, 4);
        stats.events.insert(EventState::Mismatch, 5);
        let alerts = of(&stats, Duration::from_secs(900), now);
        assert_eq!(
            alerts,
            [
                Alert::Unfulfilled {
                    payments: 2,
                    since,
                    oldest: Duration::from_secs(900)
                },
                Alert::DeadLetters { events: 4 },
                Alert::Mismatches { events: 5 },
                Alert::DuplicatePayments { payments: 3 },
                Alert::RefundedBeforeFulfillment { payments: 6 },
            ]
        );
        assert!(alerts.iter().map(Alert::as_str).eq([
            "unfulfilled",
            "dead_letters",
            "mismatches",
            "duplicate_payments",
            "refunded_before_fulfillment"
        ]));
        let said: Vec<_> = alerts.iter().map(Alert::to_string).collect();
        assert_eq!(
            said,
            [
                "2 payments are paid and not fulfilled, the oldest for 15 min: see what their events say, and whether a worker runs.",
                "4 events failed at every attempt and do not run again by themselves: mend what their errors say, then replay them, or drop them.",
                "5 payments do not fit their orders or cannot be read, and nothing was delivered for them: see why, then replay their events, or drop them and refund the buyers.",
                "3 payments were for orders that had been paid already: refund them.",
                "6 payments of the last 24 hours were refunded or disputed before they were fulfilled, and nothing was shipped: see whether that is right.",
            ]
        );
    }

    #[test]
    fn one_is_one() {
        let one = [
            Alert::Unfulfilled {
                payments: 1,
                since: SystemTime::UNIX_EPOCH,
                oldest: Duration::from_secs(7500),
            },
            Alert::DeadLetters { events: 1 },
            Alert::Mismatches { events: 1 },
            Alert::DuplicatePayments { payments: 1 },
            Alert::RefundedBeforeFulfillment { payments: 1 },
            Alert::NoWebhooks { payments: 1 },
        ];
        for (alert, begins) in one.iter().zip([
            "1 payment is paid and not fulfilled, for 2 h 5 min: ",
            "1 event failed ",
            "1 payment does not fit its order ",
            "1 order was paid twice: ",
            "1 payment of the last 24 hours was refunded ",
            "1 payment was found by asking Stripe, ",
        ]) {
            assert!(alert.to_string().starts_with(begins), "{alert}");
        }
    }

    #[test]
    fn a_clock_is_ahead_or_behind() {
        let clock = |ahead_seconds| Alert::ClockSkew { ahead_seconds };
        assert_eq!(clock(1).as_str(), "clock_skew");
        assert!(
            clock(420)
                .to_string()
                .starts_with("This machine's clock is 7 min ahead of Stripe's, or somebody ")
        );
        assert!(
            clock(-90)
                .to_string()
                .starts_with("This machine's clock is 90 s behind Stripe's: ")
        );
        assert!(
            clock(i64::MIN)
                .to_string()
                .contains(" days behind Stripe's")
        );
    }

    #[test]
    fn what_was_received_by_a_clock_that_was_ahead_is_not_unfulfilled_for_long() {
        let now = SystemTime::now();
        let stats = Stats {
            unfulfilled: 1,
            unfulfilled_since: Some(now + Duration::from_secs(3600)),
            ..Stats::default()
        };
        assert_eq!(of(&stats, Duration::from_secs(1), now), []);
    }
}
