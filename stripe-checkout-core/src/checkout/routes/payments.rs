//! `POST /create-payment-intent`: opens the payment of an order on the merchant's own page.

use serde::Serialize;

use crate::call::Call;
use crate::checkout::payment_error::PaymentError;
use crate::checkout::state::Checkout;
use crate::error::Chain;
use crate::guard::GuardedAction;
use crate::reply::{Problem, Reply};
use crate::requests::{PaymentRequest, SetupFutureUsage};
use crate::stripe::ApiError;

impl Checkout {
    pub(super) async fn create(&self, call: Call) -> Result<Reply, Problem> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Created<'a> {
            client_secret: &'a str,
            amount: u64,
            currency: &'a str,
            /// For Stripe.js, which refuses an intent that differs from its Elements.
            capture_method: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            setup_future_usage: Option<&'a str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            on_behalf_of: Option<&'a str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            stripe_account: Option<&'a str>,
        }
        let Call { visitor, body, .. } = call;
        let body = self.json_body(&visitor, body)?;
        let request = self.price(&body, &visitor).await?;
        self.check_guard(&visitor, GuardedAction::Payment(&request))
            .await?;
        let request = self.paid_by_visitor(request, &visitor).await?;
        let payment = self
            .create_intent(&request)
            .await
            .map_err(|error| logged(&error, &request))?;
        let Some(secret) = payment.client_secret() else {
            tracing::error!(payment = payment.id(), "Stripe gave no client secret");
            return Err(Problem::internal());
        };
        Ok(Reply::json(
            200,
            &Created {
                client_secret: secret.expose(),
                amount: payment.amount().minor(),
                currency: payment.amount().currency().code(),
                capture_method: capture_method(&request),
                setup_future_usage: request.future_usage().map(SetupFutureUsage::as_str),
                on_behalf_of: request.business_of_record(),
                stripe_account: payment.account(),
            },
        ))
    }
}

/// When the money of an order is taken, in Stripe's words.
pub(super) fn capture_method(request: &PaymentRequest) -> &'static str {
    if request.captures_manually() {
        "manual"
    } else {
        "automatic"
    }
}

/// Logs once what the buyer is not told.
pub(super) fn logged(error: &PaymentError, request: &PaymentRequest) -> Problem {
    let order = request.reference();
    match error {
        error if error.is_expected() => tracing::debug!(order, %error, "no PaymentIntent"),
        PaymentError::AlreadyPaid
        | PaymentError::Processing
        | PaymentError::InFlight
        | PaymentError::CalledOff => {
            tracing::info!(order, %error, "no PaymentIntent");
        }
        PaymentError::Api(ApiError::Declined { .. }) => {
            tracing::info!(order, %error, "no PaymentIntent");
        }
        PaymentError::TooManyDeclines { .. } => {
            tracing::warn!(order, %error, "no PaymentIntent");
        }
        _ => tracing::error!(order, error = %Chain(error), "no PaymentIntent"),
    }
    Problem::from(error)
}
