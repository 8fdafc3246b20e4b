//! `POST /v1/payment_intents/{id}/confirm`: <https://docs.stripe.com/api/payment_intents/confirm>.
//!
//! It also handles the requests of Stripe.js from the browser.

use serde_json::Value;

use super::{
    super::{
        api_error::ApiError,
        auth::{Caller, Role},
        objects::payment_intent::Status,
        params::Params,
        store::Store,
    },
    Attempt,
    create::CAPTURE_METHODS,
    payment_method_data,
    shared_params::Details,
};

impl Store {
    pub(crate) fn confirm_intent(
        &mut self,
        caller: &Caller,
        id: &str,
        mut params: Params,
    ) -> Result<Value, ApiError> {
        let client_secret = params.text("client_secret")?;
        let wanted = payment_method_data::read(&mut params)?.flatten();
        let capture_method = match caller.role {
            Role::Secret => params.choice("capture_method", CAPTURE_METHODS)?,
            Role::Publishable => None,
        };
        let details = Details::read_for_confirmation(caller, &mut params)?;
        let attempt = Attempt::read(caller, &mut params)?;
        params.finish()?;

        self.admitted_intent(caller, id, client_secret.as_deref())?;
        self.must_be_confirmable(caller, id)?;
        self.must_be_the_browsers(caller, id)?;
        if let Some(intent) = self.intents.find(id) {
            attempt.check_return_url(caller, intent)?;
        }
        let method = match wanted {
            Some(wanted) => Some(self.wanted_payment_method(caller, wanted)?),
            None => None,
        };
        // A refused request changes nothing.
        if let Some(mut changed) = self.intents.find(id).cloned() {
            changed.payment_method = method.or(changed.payment_method);
            changed.capture_method = capture_method.unwrap_or(changed.capture_method);
            changed.choose_types();
            details.apply(caller, &mut changed)?;
            self.must_be_attemptable(caller, &changed, &attempt)?;
            if let Some(intent) = self.intents.find_mut(id) {
                *intent = changed;
            }
        }
        self.confirm(caller, id, attempt)?;
        self.rendered_intent(caller, id)
    }

    /// Refuses browsers if the intent needs manual confirmation by the merchant's server.
    fn must_be_the_browsers(&self, caller: &Caller, id: &str) -> Result<(), ApiError> {
        let manual = self
            .intents
            .find(id)
            .is_some_and(|intent| intent.confirmation_method == "manual");
        if caller.role == Role::Publishable && manual {
            return Err(ApiError::invalid(format!(
                "This PaymentIntent {id} cannot be confirmed using your publishable key because its `confirmation_method` is set to `manual`. \
                 Please use your secret key instead, or create a PaymentIntent with `confirmation_method` set to `automatic`."
            )));
        }
        Ok(())
    }

    /// Confirms with the intent's current payment method.
    pub(crate) fn confirm(
        &mut self,
        caller: &Caller,
        id: &str,
        attempt: Attempt,
    ) -> Result<(), ApiError> {
        let has_method = self
            .intents
            .find(id)
            .is_some_and(|intent| intent.payment_method.is_some());
        if !has_method {
            return Err(self.unexpected_state(
                caller,
                id,
                "You cannot confirm this PaymentIntent because it's missing a payment method. You can either update the PaymentIntent with a \
                 payment method and then confirm it again, or confirm it again directly with a payment method or ConfirmationToken."
                    .to_owned(),
            ));
        }
        self.attempt(caller, id, attempt)
    }

    fn must_be_confirmable(&self, caller: &Caller, id: &str) -> Result<(), ApiError> {
        let Some(intent) = self.intents.find(id) else {
            return Ok(());
        };
        let why = match intent.status {
            Status::RequiresPaymentMethod
            | Status::RequiresConfirmation
            | Status::RequiresAction => return Ok(()),
            Status::Succeeded => {
                "it has already succeeded after being previously confirmed.".to_owned()
            }
            Status::RequiresCapture => {
                "it has already succeeded after being previously confirmed. Capture it instead."
                    .to_owned()
            }
            status => format!(
                "it has a status of {}. Only a PaymentIntent with one of the following statuses may be confirmed: requires_confirmation, \
                 requires_action, requires_payment_method.",
                status.as_str()
            ),
        };
        Err(self.unexpected_state(
            caller,
            id,
            format!("You cannot confirm this PaymentIntent because {why}"),
        ))
    }
}
