//! Identifiers that look like Stripe's. Code that checks a prefix or a length works with both.

use std::time::{SystemTime, UNIX_EPOCH};

/// Makes a new identifier: the prefix, an underscore, 24 letters and digits.
pub(crate) fn id(prefix: &str) -> String {
    format!("{prefix}_{}", random(24))
}

/// Makes a random text of letters and digits. This is good enough for a server that only this
/// machine reaches: nothing here protects money.
pub(crate) fn random(length: usize) -> String {
    std::iter::repeat_with(fastrand::alphanumeric)
        .take(length)
        .collect()
}

/// Returns the current time in seconds since 1970, Stripe's only unit of time.
pub(crate) fn now() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |elapsed| {
            i64::try_from(elapsed.as_secs()).unwrap_or(i64::MAX)
        })
}
