//! `POST /v1/payment_intents/{id}/capture`: <https://docs.stripe.com/api/payment_intents/capture>.

use serde_json::Value;

use super::{
    super::{
        api_error::ApiError,
        auth::Caller,
        objects::payment_intent::Status,
        params::Params,
        store::{Cause, Store},
    },
    shared_params::merge_metadata,
};

impl Store {
    pub(crate) fn capture_intent(
        &mut self,
        caller: &Caller,
        id: &str,
        mut params: Params,
    ) -> Result<Value, ApiError> {
        let amount = params.integer("amount_to_capture", 1)?;
        let metadata = params.metadata()?;
        let is_final = params.boolean("final_capture")?.unwrap_or(true);
        params.finish()?;
        let cause = Cause::request(caller);
        let mut intent = self.admitted_intent(caller, id, None)?.clone();
        let charge_id = intent.latest_charge.clone();
        let (Status::RequiresCapture, Some(charge_id)) = (intent.status, charge_id) else {
            return Err(self.unexpected_state(
                caller,
                id,
                format!(
                    "This PaymentIntent could not be captured because it has a status of {}. Only a PaymentIntent with one of the following \
                     statuses may be captured: requires_capture.",
                    intent.status.as_str()
                ),
            ));
        };
        if !is_final && !intent.has_multicapture() {
            return Err(ApiError::invalid(
                "You cannot set final_capture to false because multicapture is not available for this PaymentIntent.",
            )
            .param("final_capture"));
        }
        let captured = intent.amount_received;
        let most = intent.most_to_capture().saturating_sub(captured);
        if amount.is_some_and(|amount| amount > most) {
            return Err(ApiError::invalid(
                "The amount_to_capture is greater than the amount that can be captured.",
            )
            .code("amount_too_large")
            .param("amount_to_capture"));
        }
        if let Some(change) = metadata {
            merge_metadata(&mut intent.metadata, change)?;
            self.replace(intent.clone());
        }
        let amount = amount.unwrap_or(intent.amount_capturable);
        self.capture_charge(&charge_id, Some(amount), true);
        self.emit_charge(&cause, "charge.captured", &charge_id);
        if is_final {
            self.succeed(&cause, id, &charge_id);
        } else {
            self.capture_part(&cause, id, amount);
        }
        self.rendered_intent(caller, id)
    }

    /// More captures may follow: the payment still waits for them.
    fn capture_part(&mut self, cause: &Cause, id: &str, amount: u64) {
        if let Some(intent) = self.intents.find_mut(id) {
            intent.amount_received = intent.amount_received.saturating_add(amount);
            intent.amount_capturable = intent.amount_capturable.saturating_sub(amount);
        }
        self.emit_intent(cause, "payment_intent.amount_capturable_updated", id);
    }
}
