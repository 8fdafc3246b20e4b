//! `POST /v1/payment_intents/{id}/cancel`: <https://docs.stripe.com/api/payment_intents/cancel>.

use serde_json::Value;

use super::super::{
    api_error::ApiError,
    auth::Caller,
    ids,
    objects::payment_intent::Status,
    params::Params,
    store::{Cause, Store},
};

const REASONS: &[&str] = &[
    "duplicate",
    "fraudulent",
    "requested_by_customer",
    "abandoned",
];

impl Store {
    pub(crate) fn cancel_intent(
        &mut self,
        caller: &Caller,
        id: &str,
        mut params: Params,
    ) -> Result<Value, ApiError> {
        let reason = params.choice("cancellation_reason", REASONS)?;
        params.finish()?;
        let cause = Cause::request(caller);
        let mut intent = self.admitted_intent(caller, id, None)?.clone();
        if intent.status != Status::RequiresCapture && self.session_of_intent(id).is_some() {
            return Err(self.unexpected_state(
                caller,
                id,
                "You cannot cancel this PaymentIntent because it was created by Checkout. Expire the Checkout Session instead.".to_owned(),
            ));
        }
        if intent.amount_received > 0 && intent.status == Status::RequiresCapture {
            return Err(ApiError::invalid(
                "the sandbox does not implement the cancellation of a PaymentIntent of which a part was captured",
            ));
        }
        match intent.status {
            Status::RequiresPaymentMethod
            | Status::RequiresConfirmation
            | Status::RequiresAction
            | Status::RequiresCapture => {}
            // Stripe cancels a processing payment only "in rare cases"; a card's is none of them.
            status => {
                return Err(self.unexpected_state(
                    caller,
                    id,
                    format!(
                        "You cannot cancel this PaymentIntent because it has a status of {}. Only a PaymentIntent with one of the following \
                         statuses may be canceled: requires_payment_method, requires_capture, requires_confirmation, requires_action, processing.",
                        status.as_str()
                    ),
                ));
            }
        }
        let authorized = (intent.status == Status::RequiresCapture)
            .then(|| intent.latest_charge.clone())
            .flatten();
        intent.status = Status::Canceled;
        intent.canceled_at = Some(ids::now());
        intent.cancellation_reason = reason;
        intent.amount_capturable = 0;
        self.replace(intent);
        if let Some(charge_id) = authorized
            && let Some(charge) = self.charges.find_mut(&charge_id)
        {
            // Since API version 2025-03-31.basil a released authorisation is no refund.
            charge.released = true;
            self.emit_charge(&cause, "charge.expired", &charge_id);
        }
        self.emit_intent(&cause, "payment_intent.canceled", id);
        self.rendered_intent(caller, id)
    }
}
