//! Stripe's clock, by the `Date` header of its answers.

use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use super::transport::TransportResponse;

/// How far this machine's clock is from Stripe's.
#[derive(Default)]
pub(super) struct StripeClock(Mutex<Option<i64>>);

impl StripeClock {
    /// Reads the clock from an answer that came just now. An answer without a readable date changes
    /// nothing.
    pub(super) fn answered(&self, answer: &TransportResponse) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.ok().and_then(|now| i64::try_from(now.as_secs()).ok());
        let Some((now, date)) = now.zip(answer.header("date").and_then(seconds)) else {
            return;
        };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(now.saturating_sub(date));
    }

    /// Seconds by which this machine's clock is ahead.
    pub(super) fn ahead(&self) -> Option<i64> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Seconds since 1970 of a date like `Sun, 06 Nov 1994 08:49:37 GMT`, the one form that servers
/// send.
fn seconds(date: &str) -> Option<i64> {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let (_, date) = date.strip_suffix(" GMT")?.split_once(", ")?;
    let mut parts = date.split(' ');
    let day: i64 = number(parts.next()?)?;
    let month = parts.next()?;
    let month = MONTHS.iter().position(|name| *name == month)?;
    let year: i64 = number(parts.next()?)?;
    let mut time = parts.next()?.split(':');
    let (hour, minute, second) = (
        number(time.next()?)?,
        number(time.next()?)?,
        number(time.next()?)?,
    );
    let in_range = (1970..=9999).contains(&year) && (1..=31).contains(&day);
    if parts.next().is_some() || time.next().is_some() || !in_range {
        return None;
    }
    // Years begin in March here, so that the leap day is the last of its year.
    let month = i64::try_from(month).ok()?;
    let (year, month) = match month {
        0 | 1 => (year - 1, month + 10),
        later => (year, later - 2),
    };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1;
    Some((days - 719_468) * 86_400 + hour * 3_600 + minute * 60 + second)
}

/// Up to four digits.
fn number(text: &str) -> Option<i64> {
    let digits = (1..=4).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_read_and_anything_else_is_not() {
        for (date, expected) in [
            ("Thu, 01 Jan 1970 00:00:00 GMT", Some(0)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(784_111_777)),
            ("Thu, 29 Feb 2024 23:59:59 GMT", Some(1_709_251_199)),
            ("Fri, 01 Mar 2024 00:00:00 GMT", Some(1_709_251_200)),
            ("Tue, 31 Dec 2030 12:00:00 GMT", Some(1_924_948_800)),
            ("", None),
            ("Sunday, 06-Nov-94 08:49:37 GMT", None),
            ("Sun Nov  6 08:49:37 1994", None),
            ("Sun, 06 Nov 1994 08:49:37", None),
            ("Sun, 06 Nov 99999999999999999999 08:49:37 GMT", None),
            ("Sun, -6 Nov 1994 08:49:37 GMT", None),
        ] {
            assert_eq!(seconds(date), expected, "{date}");
        }
    }

    #[test]
    fn the_last_answer_with_a_date_counts() {
        let clock = StripeClock::default();
        let answer = |headers: Vec<(String, Vec<u8>)>| TransportResponse {
            status: 200,
            headers,
            body: Default::default(),
        };
        clock.answered(&answer(Vec::new()));
        assert_eq!(clock.ahead(), None);
        let date = "Thu, 01 Jan 1970 00:01:40 GMT";
        clock.answered(&answer(vec![("date".into(), date.into())]));
        assert!(clock.ahead() > Some(1_700_000_000));
    }
}
