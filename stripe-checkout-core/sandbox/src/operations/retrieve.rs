//! Reading one object.

use http::StatusCode;
use serde_json::Value;

use super::super::{
    api_error::ApiError,
    auth::{Caller, Role},
    objects::{
        balance_transaction::BalanceTransaction, charge::Charge, mandate::Mandate,
        payment_intent::PaymentIntent, payment_method::PaymentMethod, refund::Refund,
    },
    params::Params,
    store::Store,
};
use stripe_checkout_core::API_VERSION;

impl Store {
    pub(crate) fn retrieve_intent(
        &mut self,
        caller: &Caller,
        id: &str,
        mut params: Params,
    ) -> Result<Value, ApiError> {
        let client_secret = params.text("client_secret")?;
        params.finish()?;
        let intent = self.admitted_intent(caller, id, client_secret.as_deref())?;
        Ok(caller.render(intent))
    }

    /// The intent, if it is this account's, and if a browser names its client secret.
    pub(crate) fn admitted_intent(
        &self,
        caller: &Caller,
        id: &str,
        client_secret: Option<&str>,
    ) -> Result<&PaymentIntent, ApiError> {
        // A page that forgets the connected account does not find its intent at Stripe either.
        let intent = self
            .intents
            .get(caller.account.as_deref(), id)
            .ok_or_else(|| {
                ApiError::no_such(StatusCode::NOT_FOUND, "payment_intent", id, "intent")
            })?;
        match (caller.role, client_secret) {
            (Role::Secret, None) => Ok(intent),
            (Role::Publishable, None) => Err(ApiError::invalid(
                "Missing required param: client_secret.",
            )
            .code("parameter_missing")
            .param("client_secret")),
            (_, Some(secret)) if secret == intent.client_secret => Ok(intent),
            (_, Some(_)) => Err(ApiError::invalid(
                "The client_secret provided does not match any associated PaymentIntent on this account. Ensure the client_secret hasn't been \
                 modified, and that the associated PaymentIntent has not been deleted.",
            )
            .param("client_secret")),
        }
    }

    /// The intent as this caller sees it now.
    pub(crate) fn rendered_intent(&self, caller: &Caller, id: &str) -> Result<Value, ApiError> {
        self.intents
            .find(id)
            .map(|intent| caller.render(intent))
            .ok_or_else(|| ApiError::no_such(StatusCode::NOT_FOUND, "payment_intent", id, "intent"))
    }

    /// 400: the intent's status does not allow this. Execution had begun.
    pub(crate) fn unexpected_state(&self, caller: &Caller, id: &str, message: String) -> ApiError {
        let refusal = ApiError::invalid(message)
            .code("payment_intent_unexpected_state")
            .executed();
        match self.intents.find(id) {
            Some(intent) => refusal.with("payment_intent", caller.render(intent)),
            None => refusal,
        }
    }

    pub(crate) fn retrieve_charge(
        &mut self,
        caller: &Caller,
        id: &str,
        params: Params,
    ) -> Result<Value, ApiError> {
        params.finish()?;
        self.charges
            .get(caller.account.as_deref(), id)
            .map(Charge::render)
            .ok_or_else(|| ApiError::no_such(StatusCode::NOT_FOUND, "charge", id, "id"))
    }

    pub(crate) fn retrieve_payment_method(
        &mut self,
        caller: &Caller,
        id: &str,
        params: Params,
    ) -> Result<Value, ApiError> {
        params.finish()?;
        self.payment_methods
            .get(caller.account.as_deref(), id)
            .map(PaymentMethod::render)
            .ok_or_else(|| {
                ApiError::no_such(StatusCode::NOT_FOUND, "PaymentMethod", id, "payment_method")
            })
    }

    pub(crate) fn retrieve_refund(
        &mut self,
        caller: &Caller,
        id: &str,
        params: Params,
    ) -> Result<Value, ApiError> {
        params.finish()?;
        self.admitted_refund(caller, id).map(Refund::render)
    }

    pub(crate) fn admitted_refund(&self, caller: &Caller, id: &str) -> Result<&Refund, ApiError> {
        self.refunds
            .get(caller.account.as_deref(), id)
            .ok_or_else(|| ApiError::no_such(StatusCode::NOT_FOUND, "refund", id, "id"))
    }

    pub(crate) fn retrieve_mandate(
        &mut self,
        caller: &Caller,
        id: &str,
        params: Params,
    ) -> Result<Value, ApiError> {
        params.finish()?;
        self.mandates
            .get(caller.account.as_deref(), id)
            .map(Mandate::render)
            .ok_or_else(|| ApiError::no_such(StatusCode::NOT_FOUND, "mandate", id, "mandate"))
    }

    pub(crate) fn retrieve_balance_transaction(
        &mut self,
        caller: &Caller,
        id: &str,
        params: Params,
    ) -> Result<Value, ApiError> {
        params.finish()?;
        self.balance_transactions
            .get(caller.account.as_deref(), id)
            .map(BalanceTransaction::render)
            .ok_or_else(|| {
                ApiError::no_such(StatusCode::NOT_FOUND, "balance transaction", id, "id")
            })
    }

    pub(crate) fn retrieve_event(
        &mut self,
        caller: &Caller,
        id: &str,
        params: Params,
    ) -> Result<Value, ApiError> {
        params.finish()?;
        self.events
            .get(caller.account.as_deref(), id)
            .map(|event| event.render(API_VERSION))
            .ok_or_else(|| ApiError::no_such(StatusCode::NOT_FOUND, "event", id, "id"))
    }
}
