//! `payment_method_options`: settings of a PaymentIntent for one kind of payment method.

use super::super::{
    api_error::ApiError,
    auth::{Caller, Role},
    objects::payment_intent::MethodOptions,
    params::Params,
};

const REQUESTS: &[&str] = &["if_available", "never"];
const USAGES: &[&str] = &["none", "off_session", "on_session"];

/// What a request changes. An empty text unsets a setting: `Some(None)`.
#[derive(Debug, Default)]
pub(crate) struct MethodOptionsChange {
    card_capture_method: Option<Option<&'static str>>,
    card_usage: Option<Option<&'static str>>,
    multicapture: Option<Option<&'static str>>,
    overcapture: Option<Option<&'static str>>,
    debit_usage: Option<Option<&'static str>>,
}

impl MethodOptionsChange {
    /// Reads what the sandbox implements and refuses the rest by name.
    pub(crate) fn read(caller: &Caller, params: &mut Params) -> Result<Self, ApiError> {
        let mut change = Self::default();
        let Some(Some(mut options)) = params.group("payment_method_options")? else {
            return Ok(change);
        };
        if let Some(Some(mut card)) = options.group("card")? {
            // For a publishable key it is an unknown parameter.
            if caller.role == Role::Secret {
                change.card_capture_method = card.choice_setting("capture_method", &["manual"])?;
                change.multicapture = card.choice_setting("request_multicapture", REQUESTS)?;
                change.overcapture = card.choice_setting("request_overcapture", REQUESTS)?;
            }
            change.card_usage = card.choice_setting("setup_future_usage", USAGES)?;
            card.only("request_three_d_secure", "automatic")?;
            card.finish()?;
        }
        if let Some(Some(mut debit)) = options.group("sepa_debit")? {
            change.debit_usage = debit.choice_setting("setup_future_usage", USAGES)?;
            debit.finish()?;
        }
        options.finish()?;
        Ok(change)
    }

    pub(crate) fn apply(&self, options: &mut MethodOptions) {
        let set = |field: &mut Option<&'static str>, given: Option<Option<&'static str>>| {
            *field = given.unwrap_or(*field);
        };
        set(&mut options.card_capture_method, self.card_capture_method);
        set(&mut options.card_usage, self.card_usage);
        set(&mut options.multicapture, self.multicapture);
        set(&mut options.overcapture, self.overcapture);
        set(&mut options.debit_usage, self.debit_usage);
    }
}
