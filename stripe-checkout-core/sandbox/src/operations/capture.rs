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
        params.only("final_capture", "true")?;
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
        if amount.is_some_and(|amount| amount > intent.amount_capturable) {
            return Err(ApiError::invalid(
                "The amount_to_capture is greater than the amount that can be captured.",
            )
            .code("amount_too_large")
            .param("amount_to_capture"));
        }
        if let Some(change) = metadata {
            merge_metadata(&mut intent.metadata, change)?;
            self.replace(intent);
        }
        self.capture_charge(&charge_id, amount, true);
        self.emit_charge(&cause, "charge.captured", &charge_id);
        self.succeed(&cause, id, &charge_id);
        self.rendered_intent(caller, id)
    }
}
