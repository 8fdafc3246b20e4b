//! `POST /checkout/status`: tells a buyer who comes back how a payment, or a saved card, stands.

use serde::{Deserialize, Serialize};

use crate::call::Call;
use crate::checkout::state::Checkout;
use crate::error::Chain;
use crate::guard::GuardedAction;
use crate::reply::{Problem, Reply};
use crate::webhook::{Payment, PaymentStatus, SetupIntent, SetupStatus};

impl Checkout {
    pub(super) async fn status(&self, call: Call) -> Result<Reply, Problem> {
        #[derive(Serialize)]
        struct Status<'a> {
            status: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            message: Option<&'a str>,
        }
        let Call { visitor, body, .. } = call;
        let body = self.json_body(&visitor, body)?;
        self.check_guard(&visitor, GuardedAction::LookUp).await?;
        let asked: ReturnQuery = serde_json::from_slice(&body).map_err(|_| Problem::malformed())?;
        if let Some(asked) = asked.setup() {
            let setup = self.returned_setup(&asked).await?;
            let status = Status {
                status: setup.status().as_str(),
                message: setup_message_for_buyer(&setup),
            };
            return Ok(Reply::json(200, &status));
        }
        let asked = asked.payment().ok_or_else(Problem::malformed)?;
        let payment = self.returned(&asked).await?;
        Ok(Reply::json(
            200,
            &Status {
                status: payment.status().as_str(),
                message: message_for_buyer(&payment),
            },
        ))
    }

    /// The payment of a buyer who comes back with its id and client secret.
    pub(super) async fn returned(&self, asked: &ReturnedPayment<'_>) -> Result<Payment, Problem> {
        let found = match asked {
            ReturnedPayment::Session { id } => self.retrieve_session(id).await,
            ReturnedPayment::Intent { id, secret } => self.retrieve_intent(id, secret).await,
        };
        let found = found.map_err(|error| {
            if !error.is_expected() {
                tracing::error!(error = %Chain(&error), "a payment could not be looked up");
            }
            Problem::from(&error)
        })?;
        found.ok_or_else(Problem::unknown_payment)
    }

    /// The SetupIntent of a buyer who comes back with its id and client secret.
    pub(super) async fn returned_setup(
        &self,
        asked: &ReturnedSetup<'_>,
    ) -> Result<SetupIntent, Problem> {
        let found = self
            .retrieve_setup_intent(asked.id, asked.secret)
            .await
            .map_err(|error| {
                if !error.is_expected() {
                    tracing::error!(error = %Chain(&error), "a SetupIntent could not be looked up");
                }
                Problem::from(&error)
            })?;
        found.ok_or_else(Problem::unknown_payment)
    }
}

/// The parameters that Stripe adds to a return address, and that the page sends on. They name a
/// payment or a saved card. One pass reads all of them, because strangers choose the text.
#[derive(Deserialize)]
pub(super) struct ReturnQuery {
    payment_intent: Option<String>,
    payment_intent_client_secret: Option<String>,
    setup_intent: Option<String>,
    setup_intent_client_secret: Option<String>,
    /// From Stripe's own page.
    session_id: Option<String>,
}

/// The payment that a buyer who comes back asks about.
pub(super) enum ReturnedPayment<'a> {
    Intent { id: &'a str, secret: &'a str },
    Session { id: &'a str },
}

/// The saved card that a buyer who comes back asks about.
pub(super) struct ReturnedSetup<'a> {
    id: &'a str,
    secret: &'a str,
}

impl ReturnQuery {
    pub(super) fn payment(&self) -> Option<ReturnedPayment<'_>> {
        match (&self.payment_intent, &self.payment_intent_client_secret) {
            (Some(id), Some(secret)) => Some(ReturnedPayment::Intent { id, secret }),
            _ => {
                let id = self.session_id.as_deref()?;
                Some(ReturnedPayment::Session { id })
            }
        }
    }

    pub(super) fn setup(&self) -> Option<ReturnedSetup<'_>> {
        let id = self.setup_intent.as_deref()?;
        let secret = self.setup_intent_client_secret.as_deref()?;
        Some(ReturnedSetup { id, secret })
    }
}

/// The buyer's sentence about the last attempt, if it is what the status means.
pub(super) fn message_for_buyer(payment: &Payment) -> Option<&'static str> {
    let failed = *payment.status() == PaymentStatus::RequiresPaymentMethod;
    payment
        .last_error()
        .filter(|_| failed)
        .map(|failure| failure.message_for_buyer())
}

pub(super) fn setup_message_for_buyer(setup: &SetupIntent) -> Option<&'static str> {
    let failed = *setup.status() == SetupStatus::RequiresPaymentMethod;
    setup
        .last_error()
        .filter(|_| failed)
        .map(|failure| failure.message_for_buyer())
}
