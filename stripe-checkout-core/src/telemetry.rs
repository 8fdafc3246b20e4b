//! The metrics: one function for each thing that happens, so that the code reports it in one line.
//! Without the feature `metrics`, these functions do nothing.
//!
//! Labels have few values: the name of a call, an outcome, the application's name. A label is never
//! an id, because each id would stay a series forever.

mod names;
#[cfg(feature = "metrics")]
mod recorded;
#[cfg(feature = "metrics")]
pub(crate) use recorded::describe;
#[cfg(feature = "metrics")]
use recorded::{count, measure, set};

use std::time::{Instant, SystemTime};

use self::names::*;
use crate::error::InboxError;
use crate::fulfillment::{EventState, Received, Scope, Stats};

/// The source of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Stripe sent it.
    Webhook,
    /// Stripe listed the events that it had sent.
    #[cfg_attr(not(feature = "intent"), expect(dead_code))]
    Listed,
    /// Stripe returned the state of a payment.
    #[cfg_attr(not(feature = "intent"), expect(dead_code))]
    Retrieved,
}

/// The outcome of a received event, in one word.
pub(crate) fn outcome_of(received: &Result<Received, InboxError>) -> &'static str {
    match received {
        Ok(Received::Done(state)) => state.as_str(),
        Ok(Received::Duplicate(_)) => "duplicate",
        Ok(Received::Ignored) => "ignored",
        Ok(Received::Failed) => "failed",
        Ok(Received::Queued) => "queued",
        Ok(Received::Waiting) => "waiting",
        Err(InboxError::Busy) => "busy",
        Err(InboxError::Full { .. }) => "full",
        Err(_) => "unavailable",
    }
}

/// Counts a received event.
pub(crate) fn delivered(scope: &Scope, origin: Origin, outcome: &'static str) {
    let origin = match origin {
        Origin::Webhook => "webhook",
        Origin::Listed => "listed",
        Origin::Retrieved => "retrieved",
    };
    count(
        DELIVERIES,
        Some(scope),
        &[("origin", origin), ("outcome", outcome)],
        1,
    );
}

/// The reason why a webhook did not become an event. Anyone can cause the first three.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It has no signature header.
    NoHeader,
    /// Its header or its body cannot be read.
    Malformed,
    /// No secret of this checkout made its signature.
    WrongSignature,
    /// It is genuine, and older than the tolerance.
    TooOld,
    /// It is genuine, but not an event.
    NotAnEvent,
}

/// Counts a refused webhook.
pub(crate) fn refused(refusal: Refusal) {
    let reason = match refusal {
        Refusal::NoHeader => "no_header",
        Refusal::Malformed => "malformed",
        Refusal::WrongSignature => "wrong_signature",
        Refusal::TooOld => "too_old",
        Refusal::NotAnEvent => "not_an_event",
    };
    count(REFUSED, None, &[("reason", reason)], 1);
}

/// Counts a call to Stripe that a visitor caused: it was sent, was answered from memory, or was not
/// sent.
#[cfg(feature = "intent")]
pub(crate) fn visitor_call(outcome: &'static str) {
    count(VISITOR_CALLS, None, &[("outcome", outcome)], 1);
}

/// Counts an attempt of an event.
pub(crate) fn attempted(scope: &Scope, outcome: &'static str) {
    count(ATTEMPTS, Some(scope), &[("outcome", outcome)], 1);
}

/// Counts an event that became a dead letter.
pub(crate) fn died(scope: &Scope) {
    count(DEAD_LETTERS, Some(scope), &[], 1);
}

/// Counts a mismatch: a payment that does not match its order, or an event that cannot be read.
pub(crate) fn mismatched(scope: &Scope) {
    count(MISMATCHES, Some(scope), &[], 1);
}

/// Counts another payment of an order that was paid already.
pub(crate) fn paid_twice(scope: &Scope) {
    count(DUPLICATES, Some(scope), &[], 1);
}

/// Counts deleted events.
pub(crate) fn pruned(scope: &Scope, events: usize) {
    count(PRUNED, Some(scope), &[], events as u64);
}

/// Measures a call of the handler until it is dropped, even if the call is cut off or panics.
pub(crate) struct Timer {
    call: &'static str,
    began: Instant,
}

impl Timer {
    pub(crate) fn start(call: &'static str) -> Self {
        Self {
            call,
            began: Instant::now(),
        }
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        measure(HANDLER, &[("call", self.call)], self.began.elapsed());
    }
}

/// Sets the gauges of the inbox's present content.
pub(crate) fn counted(scope: &Scope, stats: &Stats) {
    let age = |since: Option<SystemTime>| {
        let age = since.and_then(|since| since.elapsed().ok());
        age.unwrap_or_default().as_secs_f64()
    };
    // States without events are set too: a gauge must fall back to zero when nothing is pending any
    // more.
    for state in EventState::ALL {
        let labels = [("state", state.as_str())];
        set(EVENTS, Some(scope), &labels, stats.count(state) as f64);
    }
    let gauges = [
        (DUE, stats.due as f64),
        (OLDEST_PENDING, age(stats.oldest_pending)),
        (UNFULFILLED, stats.unfulfilled as f64),
        (OLDEST_UNFULFILLED, age(stats.unfulfilled_since)),
        (DUPLICATES_OPEN, stats.duplicate_payments as f64),
        (REFUNDED_BEFORE, stats.refunded_before_fulfillment as f64),
    ];
    for (name, value) in gauges {
        set(name, Some(scope), &[], value);
    }
}

/// Sets how far this machine's clock is ahead of Stripe's, in seconds, as far as is known.
pub(crate) fn clock(ahead: i64) {
    set(CLOCK_SKEW, None, &[], ahead as f64);
}

#[cfg(not(feature = "metrics"))]
pub(crate) fn describe() {}

#[cfg(not(feature = "metrics"))]
fn count(_: &'static str, _: Option<&Scope>, _: &[(&'static str, &'static str)], _: u64) {}

#[cfg(not(feature = "metrics"))]
fn set(_: &'static str, _: Option<&Scope>, _: &[(&'static str, &'static str)], _: f64) {}

#[cfg(not(feature = "metrics"))]
fn measure(_: &'static str, _: &[(&'static str, &'static str)], _: std::time::Duration) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_taken_in_has_a_word_of_its_own() {
        let word = |error| outcome_of(&Err(error));
        assert_eq!(word(InboxError::Busy), "busy");
        assert_eq!(word(InboxError::Full { capacity: 1 }), "full");
        assert_eq!(word(InboxError::Unavailable("away".into())), "unavailable");
        assert_eq!(outcome_of(&Ok(Received::Queued)), "queued");
    }
}
