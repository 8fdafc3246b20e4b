//! A debit that fails on Stripe's page comes to the handler once, in any order of its events.
//!
//! Stripe sends two events for the one failure: `payment_intent.payment_failed` and
//! `checkout.session.async_payment_failed`. A card that is declined on the page has the first one
//! only, and may have several before the session completes. So the row of the payment keeps when
//! its failures happened and when the session completed, by the clock of Stripe's events.

use serde::Deserialize;

use super::decide::Decision;
use super::records::PaymentRecord;
use crate::webhook::{Event, Outcome, Payment};

/// Methods of which Stripe learns days later that they failed. See
/// <https://docs.stripe.com/payments/payment-methods#delayed-notification>.
const DELAYED: [&str; 13] = [
    "acss_debit",
    "au_becs_debit",
    "bacs_debit",
    "boleto",
    "customer_balance",
    "konbini",
    "multibanco",
    "nz_bank_account",
    "oxxo",
    "sepa_debit",
    "sofort",
    "us_bank_account",
    "zengin",
];

/// The words of a payment's row in its column `told`, under the payment's own id.
struct Known {
    /// When each attempt failed, and whether by a delayed method.
    failures: Vec<(i64, bool)>,
    /// When the session completed, unpaid.
    completed: Option<i64>,
    /// The handler heard that the session's debit failed.
    session_failed: bool,
}

const COMPLETED: &str = "completed";
const SESSION_FAILED: &str = "session failed";
const FAILED: &str = "failed";
const FAILED_LATE: &str = "failed late";

impl Known {
    fn of(row: &PaymentRecord, payment: &Payment) -> Self {
        let mut known = Self {
            failures: Vec::new(),
            completed: None,
            session_failed: false,
        };
        for word in row.notified.get(payment.id()).into_iter().flatten() {
            let (word, at) = word.split_once(" at ").unwrap_or((word, ""));
            match (word, at.parse().ok()) {
                (SESSION_FAILED, _) => known.session_failed = true,
                (COMPLETED, at) => known.completed = at,
                (FAILED, Some(at)) => known.failures.push((at, false)),
                (FAILED_LATE, Some(at)) => known.failures.push((at, true)),
                _ => {}
            }
        }
        known
    }

    /// Whether the handler heard, by an event of the PaymentIntent, of the failure that ended the
    /// session. Before the session completed, an attempt failed on the page, in front of the buyer.
    fn heard_by_intent(&self, completed: Option<i64>, now: i64) -> bool {
        self.failures.iter().any(|(at, late)| match completed {
            Some(completed) => *at > completed || (*at == completed && *late),
            // Stripe makes both events of the failure at once.
            None => *late || now.abs_diff(*at) <= 1,
        })
    }
}

/// Changes a decision about a Checkout Session's payment if one failure would be told twice.
pub(super) fn told_once(
    decision: Decision,
    outcome: &Outcome,
    event: &Event,
    row: &PaymentRecord,
) -> Decision {
    if decision != Decision::Tell {
        return decision;
    }
    match outcome {
        Outcome::Failed(payment, _) if payment.session().is_some() => {
            let known = Known::of(row, payment);
            if known.session_failed {
                Decision::Superseded
            } else if known.heard_by_intent(known.completed, event.created()) {
                Decision::WriteDown
            } else {
                Decision::Tell
            }
        }
        Outcome::Failed(payment, _) if payment.is_told_by_session() => {
            let known = Known::of(row, payment);
            let after_completion = known.completed.is_some_and(|at| event.created() >= at);
            if known.session_failed || after_completion {
                Decision::Superseded
            } else {
                Decision::Tell
            }
        }
        Outcome::Processing(payment) if payment.session().is_some() => {
            let known = Known::of(row, payment);
            if known.session_failed {
                Decision::Superseded
            } else if known.heard_by_intent(Some(event.created()), event.created()) {
                Decision::WriteDown
            } else {
                Decision::Tell
            }
        }
        _ => decision,
    }
}

/// Writes down what the next event of the same payment must know.
pub(super) fn write_down(row: &mut PaymentRecord, outcome: &Outcome, event: &Event) {
    let at = event.created();
    let (payment, word) = match outcome {
        Outcome::Failed(payment, _) if payment.session().is_some() => {
            (payment, SESSION_FAILED.to_owned())
        }
        Outcome::Failed(payment, _) if payment.is_told_by_session() => {
            let word = if is_delayed(event) {
                FAILED_LATE
            } else {
                FAILED
            };
            (payment, format!("{word} at {at}"))
        }
        Outcome::Processing(payment) if payment.session().is_some() => {
            (payment, format!("{COMPLETED} at {at}"))
        }
        _ => return,
    };
    let notified = row.notified.entry(payment.id().to_owned()).or_default();
    notified.insert(word);
}

/// Whether the method that failed is one that fails days later.
fn is_delayed(event: &Event) -> bool {
    #[derive(Deserialize)]
    struct Intent {
        last_payment_error: Option<LastError>,
    }
    #[derive(Deserialize)]
    struct LastError {
        payment_method: Option<Method>,
    }
    #[derive(Deserialize)]
    struct Method {
        r#type: String,
    }
    let intent: Option<Intent> = event.object().ok();
    let method = intent
        .and_then(|intent| intent.last_payment_error)
        .and_then(|error| error.payment_method);
    method.is_some_and(|method| DELAYED.contains(&method.r#type.as_str()))
}
