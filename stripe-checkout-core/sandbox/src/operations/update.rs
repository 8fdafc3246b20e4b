//! `POST /v1/payment_intents/{id}`: <https://docs.stripe.com/api/payment_intents/update>.

use serde_json::Value;

use super::{
    super::{
        api_error::ApiError, auth::Caller, objects::payment_intent::Status, params::Params,
        store::Store,
    },
    create::{CAPTURE_METHODS, checked_types},
    payment_method_data,
    shared_params::{self, Details},
};

impl Store {
    pub(crate) fn update_intent(
        &mut self,
        caller: &Caller,
        id: &str,
        mut params: Params,
    ) -> Result<Value, ApiError> {
        let amount = params.integer("amount", 1)?;
        let currency = shared_params::currency(&mut params)?;
        let capture_method = params.choice("capture_method", CAPTURE_METHODS)?;
        let details = Details::read_for_update(caller, &mut params)?;
        let wanted = payment_method_data::read(&mut params)?;
        params.finish()?;

        let mut changed = self.admitted_intent(caller, id, None)?.clone();
        let open = matches!(
            changed.status,
            Status::RequiresPaymentMethod | Status::RequiresConfirmation | Status::RequiresAction
        );
        let closed_for = [
            ("amount", amount.is_some()),
            ("currency", currency.is_some()),
            ("payment_method", wanted.is_some()),
            ("capture_method", capture_method.is_some()),
        ]
        .into_iter()
        .find_map(|(name, given)| (given && !open).then_some(name));
        if let Some(name) = closed_for {
            return Err(self.unexpected_state(
                caller,
                id,
                format!(
                    "This PaymentIntent's {name} could not be updated because it has a status of {}. You may only update the {name} of a \
                     PaymentIntent with one of the following statuses: requires_payment_method, requires_confirmation, requires_action.",
                    changed.status.as_str()
                ),
            ));
        }
        changed.amount = amount.unwrap_or(changed.amount);
        changed.currency = currency.unwrap_or(changed.currency);
        shared_params::check_amount(changed.amount, changed.currency)?;
        self.must_be_customer(caller, details.customer())?;
        let customer_before = changed.customer.clone();
        changed.capture_method = capture_method.unwrap_or(changed.capture_method);
        changed.choose_types();
        // A listed payment method type may not support the new currency.
        checked_types(changed.payment_method_types.clone(), changed.currency)?;
        details.apply(caller, &mut changed)?;

        let method = match wanted {
            Some(Some(wanted)) => Some(Some(self.wanted_payment_method(caller, wanted)?)),
            Some(None) => Some(None),
            None => None,
        };
        let moved = open && changed.customer != customer_before;
        let judged = match &method {
            Some(new) => new.as_deref(),
            None => changed.payment_method.as_deref().filter(|_| moved),
        };
        if let Some(method) = judged {
            self.must_be_usable(caller, method, changed.customer.as_deref())?;
        }
        // The buyer would agree to something else now, so the intent must be confirmed again.
        let stale = amount.is_some() || currency.is_some() || method.is_some();
        if let Some(method) = method {
            changed.payment_method = method;
        }
        if stale && open {
            changed.next_action = None;
            changed.challenge = None;
            changed.authenticated = None;
            changed.status = if changed.payment_method.is_some() {
                Status::RequiresConfirmation
            } else {
                Status::RequiresPaymentMethod
            };
        }
        if let Some(intent) = self.intents.find_mut(id) {
            *intent = changed;
        }
        self.rendered_intent(caller, id)
    }
}
