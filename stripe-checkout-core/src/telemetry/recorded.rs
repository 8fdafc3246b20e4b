//! Sends the measurements to the recorder that the application has installed.

use std::time::Duration;

use ::metrics::{
    Label, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};

use super::names::*;
use crate::fulfillment::Scope;

/// The counters. They only rise, from the start of the process. The gauges below hold the last
/// count of the inbox.
const COUNTERS: [(&str, &str); 8] = [
    (
        DELIVERIES,
        "Events that came, by where they came from and what became of them.",
    ),
    (
        REFUSED,
        "Webhooks that were refused, by reason. Nothing was taken in.",
    ),
    (
        ATTEMPTS,
        "Attempts of events, by outcome; of one event up to its limit of attempts.",
    ),
    (DEAD_LETTERS, "Events that became dead letters."),
    (
        MISMATCHES,
        "Events about payments that do not match their orders, or that cannot be read.",
    ),
    (
        DUPLICATES,
        "Payments of an order that was paid already by another one.",
    ),
    (PRUNED, "Events that were forgotten."),
    (
        VISITOR_CALLS,
        "Calls to Stripe that visitors caused, by what became of them.",
    ),
];

const GAUGES: [(&str, Unit, &str); 8] = [
    (EVENTS, Unit::Count, "Events that are stored, by state."),
    (
        DUE,
        Unit::Count,
        "Pending events that are due now, and that nobody is at.",
    ),
    (
        OLDEST_PENDING,
        Unit::Seconds,
        "Since when the oldest pending event is there; 0 if there is none.",
    ),
    (
        UNFULFILLED,
        Unit::Count,
        "Payments that are paid at Stripe and not fulfilled.",
    ),
    (
        OLDEST_UNFULFILLED,
        Unit::Seconds,
        "Since when the oldest of the unfulfilled payments is known; 0 if there is none.",
    ),
    (
        DUPLICATES_OPEN,
        Unit::Count,
        "Payments of an order that was paid already, of which nothing was refunded yet.",
    ),
    (
        REFUNDED_BEFORE,
        Unit::Count,
        "Payments of the last 24 hours that were refunded or disputed before they were fulfilled.",
    ),
    (
        CLOCK_SKEW,
        Unit::Seconds,
        "How far this machine's clock is ahead of Stripe's; negative if it is behind. Missing until a webhook came.",
    ),
];

/// Describes each metric to the recorder. It can be called again, for a recorder that was installed
/// later.
pub(crate) fn describe() {
    for (name, meaning) in COUNTERS {
        describe_counter!(name, Unit::Count, meaning);
    }
    for (name, unit, meaning) in GAUGES {
        describe_gauge!(name, unit, meaning);
    }
    describe_histogram!(
        HANDLER,
        Unit::Seconds,
        "How long a call of the handler took, by its name; also one that failed, panicked, or was cut off."
    );
}

pub(super) fn count(
    name: &'static str,
    scope: Option<&Scope>,
    labels: &[(&'static str, &'static str)],
    by: u64,
) {
    counter!(name, all(scope, labels)).increment(by);
}

pub(super) fn set(
    name: &'static str,
    scope: Option<&Scope>,
    labels: &[(&'static str, &'static str)],
    value: f64,
) {
    gauge!(name, all(scope, labels)).set(value);
}

pub(super) fn measure(
    name: &'static str,
    labels: &[(&'static str, &'static str)],
    value: Duration,
) {
    histogram!(name, all(None, labels)).record(value);
}

/// Adds labels for the application and the mode. Without them, two checkouts of one process, or the
/// two modes of one, would overwrite each other's gauges.
fn all(scope: Option<&Scope>, labels: &[(&'static str, &'static str)]) -> Vec<Label> {
    let scope = scope.into_iter().flat_map(|scope| {
        [
            Label::new("application", scope.application.clone()),
            Label::new("mode", scope.mode.to_string()),
        ]
    });
    let labels = labels
        .iter()
        .map(|(name, value)| Label::from_static_parts(name, value));
    scope.chain(labels).collect()
}
