//! Identifiers that look like Stripe's, so that code which checks a prefix or a length works against both.

use std::time::{SystemTime, UNIX_EPOCH};

/// A new identifier: the prefix, an underscore, 24 letters and digits.
pub(crate) fn id(prefix: &str) -> String {
    format!("{prefix}_{}", random(24))
}

/// Letters and digits. Good enough for a server that only this machine reaches; nothing here guards money.
pub(crate) fn random(length: usize) -> String {
    std::iter::repeat_with(fastrand::alphanumeric)
        .take(length)
        .collect()
}

/// Seconds since 1970, Stripe's only unit of time.
pub(crate) fn now() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |elapsed| {
            i64::try_from(elapsed.as_secs()).unwrap_or(i64::MAX)
        })
}
