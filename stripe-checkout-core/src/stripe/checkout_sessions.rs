//! The calls to Stripe about Checkout Sessions.

use super::answer::read_as;
use super::api_error::ApiError;
use super::call::Call;
#[cfg(feature = "sessions")]
use super::form::Post;
use super::gateway::Gateway;
use super::id::check_session_id;
use super::idempotency::IdempotencyKey;
#[cfg(feature = "sessions")]
use super::retry::is_replayed;
use crate::webhook::CheckoutSession;

impl Gateway {
    /// Retrieves a Checkout Session, with its PaymentIntent and that one's charge: [`GET
    /// /v1/checkout/sessions/{id}`](https://docs.stripe.com/api/checkout/sessions/retrieve).
    ///
    /// # Errors
    /// As [`retrieve_intent`](Self::retrieve_intent).
    pub async fn retrieve_session(
        &self,
        id: &str,
        account: Option<&str>,
    ) -> Result<CheckoutSession, ApiError> {
        check_session_id(id)?;
        let path = format!("/checkout/sessions/{id}");
        let get = |query| Call::get(&path, query, account);
        let expanded = "expand%5B%5D=payment_intent.latest_charge";
        let answer = match self.send(get(Some(expanded))).await {
            // A restricted key may be for sessions and not for charges, or not even for payments.
            Err(ApiError::Permission { .. }) => {
                match self.send(get(Some("expand%5B%5D=payment_intent"))).await {
                    Err(ApiError::Permission { .. }) => self.send(get(None)).await?,
                    answered => answered?,
                }
            }
            answered => answered?,
        };
        read_as(&answer)
    }

    /// Expires a Checkout Session, so that it can no longer be paid: [`POST
    /// /v1/checkout/sessions/{id}/expire`](https://docs.stripe.com/api/checkout/sessions/expire).
    ///
    /// # Errors Any [`ApiError`]; [`InvalidRequest`](ApiError::InvalidRequest) where it is not open
    /// any more.
    pub async fn expire_session(
        &self,
        id: &str,
        key: &IdempotencyKey,
        account: Option<&str>,
    ) -> Result<CheckoutSession, ApiError> {
        check_session_id(id)?;
        let path = format!("/checkout/sessions/{id}/expire");
        let answer = self.send(Call::post(&path, "", key, account)).await?;
        read_as(&answer)
    }

    /// Makes a Checkout Session, and says whether Stripe only repeated an earlier answer: then it
    /// is retrieved as it stands now.
    #[cfg(feature = "sessions")]
    pub(crate) async fn create_session(
        &self,
        request: &Post,
        key: &IdempotencyKey,
        account: Option<&str>,
    ) -> Result<CheckoutSession, ApiError> {
        let answer = self.send(Call::of(request, key, account)).await?;
        let session: CheckoutSession = read_as(&answer)?;
        match is_replayed(&answer) {
            // It may have been paid since, or be over.
            true => self.retrieve_session(session.id(), account).await,
            false => Ok(session),
        }
    }
}
