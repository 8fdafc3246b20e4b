//! When to try again, and when to stop.
//!
//! A payment that may or may not exist is asked for again with the very same key and bytes, because that is the only question whose answer cannot make a
//! second payment. What is tried again, and what never, follows [Stripe's advanced error handling](https://docs.stripe.com/error-low-level).

use std::error::Error;
use std::time::Duration;

use tokio::time::Instant;

use super::transport::{AnyTransport, TransportRequest, TransportResponse};
use crate::error::TransportError;

/// The pause before the second try is between nothing and this; it doubles with every further try.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// No pause of our own choosing is longer.
const LONGEST_PAUSE: Duration = Duration::from_secs(4);

/// How often and how long one call may try.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// All tries and the pauses between them together.
    pub(super) deadline: Duration,
    /// The number of tries, at least one.
    pub(super) tries: u32,
}

impl Limits {
    /// Two fifths of the whole, so that a first try that hangs leaves room for a second as long as itself, the pause between them, and a short third.
    fn per_try(&self) -> Duration {
        self.deadline * 2 / 5
    }

    /// With less than a twentieth left a try would be cut off before Stripe can answer, and a clear error would turn into a time-out.
    fn least(&self) -> Duration {
        self.deadline / 20
    }
}

/// Why there is no final answer.
#[derive(Debug)]
pub(super) enum NoAnswer {
    /// The last try was given up because its time was over.
    TimedOut,
    /// The last try found no connection, or lost it.
    Transport(TransportError),
}

/// Sends until there is an answer that trying again cannot better, or until the limits are reached: then whatever the last try brought.
/// `tried` is told the number of each try as it begins.
pub(super) async fn send(
    transport: &dyn AnyTransport,
    request: &TransportRequest,
    limits: Limits,
    mut tried: impl FnMut(u32),
) -> Result<TransportResponse, NoAnswer> {
    let began = Instant::now();
    let mut at_once_left = true;
    let mut tries = 0;
    loop {
        tries += 1;
        tried(tries);
        let left = limits.deadline.saturating_sub(began.elapsed());
        let outcome = transport
            .try_once(request, left.min(limits.per_try()))
            .await;

        let mut pause = backoff(tries);
        let outcome = match outcome {
            Some(Ok(answer)) => {
                match judge(&answer) {
                    Verdict::Final => return Ok(answer),
                    Verdict::Again(at_least) => pause = pause.max(at_least),
                }
                tracing::debug!(
                    status = answer.status,
                    tries,
                    "Stripe asks to be tried again"
                );
                Ok(answer)
            }
            Some(Err(error)) => {
                tracing::debug!(cause = %chain(&error), tries, "no answer from Stripe");
                match error {
                    TransportError::AnswerTooLarge { .. } | TransportError::Request(_) => {
                        return Err(NoAnswer::Transport(error));
                    }
                    TransportError::Stale(_) if at_once_left => {
                        at_once_left = false;
                        pause = Duration::ZERO;
                    }
                    _ => {}
                }
                Err(NoAnswer::Transport(error))
            }
            None => {
                tracing::debug!(tries, "Stripe did not answer this try in time");
                Err(NoAnswer::TimedOut)
            }
        };

        let left = limits.deadline.saturating_sub(began.elapsed());
        if tries >= limits.tries || pause.saturating_add(limits.least()) > left {
            return outcome;
        }
        tokio::time::sleep(pause).await;
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Final,
    /// Try again, not before this time is over.
    Again(Duration),
}

fn judge(answer: &TransportResponse) -> Verdict {
    if (200..300).contains(&answer.status) || is_replayed(answer) {
        // A replayed error comes back for this key for at least a day, whatever `Stripe-Should-Retry` says: only another key can help.
        return Verdict::Final;
    }
    let again = match answer.header("stripe-should-retry") {
        Some("true") => true,
        Some("false") => false,
        _ => matches!(answer.status, 409 | 424 | 429 | 500..=504),
    };
    if again {
        Verdict::Again(retry_after(answer).unwrap_or_default())
    } else {
        Verdict::Final
    }
}

/// Whether Stripe answered from its memory of this idempotency key, without doing anything.
pub(super) fn is_replayed(answer: &TransportResponse) -> bool {
    answer
        .header("idempotent-replayed")
        .is_some_and(|value| value.eq_ignore_ascii_case("true"))
}

/// `Retry-After` in whole seconds, the form that Stripe sends. A date is not read: it would need clocks that agree.
pub(super) fn retry_after(answer: &TransportResponse) -> Option<Duration> {
    answer
        .header("retry-after")?
        .parse()
        .ok()
        .map(Duration::from_secs)
}

/// Full jitter: anything between nothing and the doubled limit, so that many clients that failed together do not come back together.
fn backoff(tries: u32) -> Duration {
    let doubled = 2_u32.saturating_pow(tries.saturating_sub(1));
    let most = FIRST_PAUSE.saturating_mul(doubled).min(LONGEST_PAUSE);
    Duration::from_micros(fastrand::u64(
        0..=u64::try_from(most.as_micros()).unwrap_or(u64::MAX),
    ))
}

/// An error and its causes in one line.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
