//! The actions that a person can start from the page.

use std::time::Duration;

use http::StatusCode;
use serde::Deserialize;

use stripe_checkout_core::Amount;

use crate::{
    api_error::ApiError, objects::dispute::Decision, operations::Opening, scheduler::BankDelays,
    store::Store,
};

/// The most copies of one event. More would flood the endpoint and test nothing.
const MOST_COPIES: usize = 20;
/// The most attempts that can be lost.
const MOST_LOST: usize = 1_000;
/// The longest wait in milliseconds: ten minutes.
const LONGEST: u64 = 10 * 60 * 1_000;

#[derive(Debug, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
enum Action {
    /// Delivers an event again `times` times at once.
    Redeliver {
        event: String,
        times: usize,
    },
    /// Sets how events are delivered from now on. A setting that is not named stays.
    Webhooks {
        copies: Option<usize>,
        /// In milliseconds.
        delay: Option<u64>,
        /// In milliseconds.
        shuffle: Option<u64>,
        lose_deliveries: Option<usize>,
        lose_answers: Option<usize>,
    },
    /// Registers a webhook endpoint for every type of event.
    Listen {
        url: String,
    },
    /// Sets whether the banks wait until the page ends their work.
    Banks {
        wait: bool,
    },
    Settle {
        intent: String,
        paid: bool,
    },
    /// Refunds an amount in major units, or everything that is left.
    Refund {
        intent: String,
        amount: Option<String>,
    },
    SettleRefund {
        refund: String,
        arrives: bool,
    },
    Dispute {
        intent: String,
        inquiry: bool,
    },
    Decide {
        intent: String,
        decision: Told,
    },
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Told {
    Won,
    Lost,
    Escalated,
}

/// Executes the action and returns a message about it.
pub(crate) fn execute(store: &mut Store, body: &[u8]) -> Result<String, ApiError> {
    let action: Action = serde_json::from_slice(body)
        .map_err(|error| ApiError::invalid(format!("The sandbox does not know this: {error}")))?;
    match action {
        Action::Redeliver { event, times } => {
            if !(1..=MOST_COPIES).contains(&times) {
                return Err(too_many("times", MOST_COPIES));
            }
            if !store.redeliver(&event, times) {
                return Err(ApiError::no_such(
                    StatusCode::NOT_FOUND,
                    "event",
                    &event,
                    "event",
                ));
            }
            Ok(match times {
                1 => "The event is delivered again.".to_owned(),
                _ => format!("The event is delivered again, {times} times at once."),
            })
        }
        Action::Webhooks {
            copies,
            delay,
            shuffle,
            lose_deliveries,
            lose_answers,
        } => {
            let most = |value: Option<usize>, most| value.is_none_or(|value| value <= most);
            if !most(copies, MOST_COPIES) {
                return Err(too_many("copies", MOST_COPIES));
            }
            if !most(lose_deliveries.max(lose_answers), MOST_LOST) {
                return Err(too_many("lost attempts", MOST_LOST));
            }
            if delay.max(shuffle).is_some_and(|wait| wait > LONGEST) {
                return Err(ApiError::invalid(
                    "The sandbox waits for ten minutes at most.",
                ));
            }
            let controls = &mut store.controls;
            controls.copies = copies.unwrap_or(controls.copies);
            controls.delay = delay.map_or(controls.delay, Duration::from_millis);
            if let Some(window) = shuffle {
                controls.shuffle = (window > 0).then(|| Duration::from_millis(window));
            }
            controls.deliveries_to_lose = lose_deliveries.unwrap_or(controls.deliveries_to_lose);
            controls.answers_to_lose = lose_answers.unwrap_or(controls.answers_to_lose);
            Ok("Set, for the events from now on.".to_owned())
        }
        Action::Listen { url } => {
            if store.listen(&url, vec!["*".to_owned()]).is_none() {
                return Err(ApiError::invalid(
                    "The sandbox sends webhooks only to this machine by plain http, as to http://127.0.0.1:3000/webhook.",
                ));
            }
            Ok(format!("Events go to {url}."))
        }
        Action::Banks { wait } => {
            store.patience = if wait {
                BankDelays::FOR_EVER
            } else {
                BankDelays::default()
            };
            Ok(if wait {
                "Banks wait until you tell them, for what begins from now on.".to_owned()
            } else {
                "Banks decide by themselves again, for what begins from now on.".to_owned()
            })
        }
        Action::Settle { intent, paid } => {
            if !store.settle(&intent, paid) {
                return Err(not_now("This payment is not processing."));
            }
            Ok(if paid {
                "The payment succeeded."
            } else {
                "The payment failed."
            }
            .to_owned())
        }
        Action::Refund { intent, amount } => {
            let currency = store.intents.find(&intent).map(|intent| intent.currency);
            let amount = match (amount, currency) {
                (Some(text), Some(currency)) => {
                    let amount = Amount::parse_major(text.trim(), currency).map_err(|error| {
                        ApiError::invalid(format!("This is no amount: {error}."))
                    })?;
                    Some(amount.minor())
                }
                _ => None,
            };
            store.refund_payment(&intent, amount)?;
            Ok("Money was given back.".to_owned())
        }
        Action::SettleRefund { refund, arrives } => {
            if !store.settle_refund(&refund, arrives) {
                return Err(not_now("This refund does not wait for that."));
            }
            Ok(if arrives {
                "The refund arrived."
            } else {
                "The refund came back."
            }
            .to_owned())
        }
        Action::Dispute { intent, inquiry } => {
            let opening = if inquiry {
                Opening::Inquiry
            } else {
                Opening::Chargeback("fraudulent")
            };
            if !store.dispute_payment(&intent, opening) {
                return Err(not_now(
                    "There is no payment here that a bank could dispute.",
                ));
            }
            Ok(if inquiry {
                "The buyer's bank asks about it."
            } else {
                "The buyer's bank disputes it."
            }
            .to_owned())
        }
        Action::Decide { intent, decision } => {
            let (decision, said) = match decision {
                Told::Won => (Decision::Won, "The dispute is closed in your favour."),
                Told::Lost => (
                    Decision::Lost,
                    "The dispute is closed in the buyer's favour.",
                ),
                Told::Escalated => (Decision::Escalated, "The inquiry became a dispute."),
            };
            if !store.decide_payment(&intent, decision) {
                return Err(not_now("No dispute of this payment waits for that."));
            }
            Ok(said.to_owned())
        }
    }
}

fn too_many(what: &str, most: usize) -> ApiError {
    ApiError::invalid(format!(
        "So many {what} make no sense: {most} are the most."
    ))
}

/// 409: the object exists, but its state does not allow the action.
fn not_now(why: &str) -> ApiError {
    ApiError::invalid_with_status(StatusCode::CONFLICT, why)
}
