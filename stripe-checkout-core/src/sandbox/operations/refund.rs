//! `POST /v1/refunds`: <https://docs.stripe.com/api/refunds/create>.

use std::collections::BTreeMap;

use http::StatusCode;
use serde_json::{Value, json};

use super::{
    super::{
        caller::Caller,
        ids,
        objects::{
            charge::{Charge, ChargeStatus},
            refund::Refund,
        },
        params::Params,
        refusal::Refusal,
        store::{Cause, Store},
    },
    shared_params::{merge_metadata, written},
};

const REASONS: &[&str] = &["duplicate", "fraudulent", "requested_by_customer"];

impl Store {
    pub(in crate::sandbox) fn create_refund(
        &mut self,
        caller: &Caller,
        mut params: Params,
    ) -> Result<Value, Refusal> {
        let amount = params.integer("amount", 1)?;
        let named_charge = params.text("charge")?;
        let named_intent = params.text("payment_intent")?;
        let reason = params.choice("reason", REASONS)?;
        let metadata = params.metadata()?;
        params.accept(&[
            "instructions_email",
            "refund_application_fee",
            "reverse_transfer",
        ]);
        params.finish()?;

        let account = caller.account.as_deref();
        let charge_id = match (named_charge, named_intent) {
            (Some(charge), _) => charge,
            (None, Some(intent)) => self
                .intents
                .get(account, &intent)
                .ok_or_else(|| {
                    Refusal::no_such(
                        StatusCode::NOT_FOUND,
                        "payment_intent",
                        &intent,
                        "payment_intent",
                    )
                })?
                .latest_charge
                .clone()
                .ok_or_else(|| {
                    Refusal::invalid(format!(
                        "This PaymentIntent ({intent}) does not have a successful charge to refund."
                    ))
                    .param("payment_intent")
                })?,
            (None, None) => {
                return Err(Refusal::invalid(
                    "One of the following params should be provided for this request: payment_intent or charge.",
                ));
            }
        };
        let charge = self.charges.get(account, &charge_id).ok_or_else(|| {
            Refusal::no_such(StatusCode::NOT_FOUND, "charge", &charge_id, "charge")
        })?;
        let left = charge.amount.saturating_sub(charge.amount_refunded);
        if !matches!(charge.status, ChargeStatus::Succeeded) || !charge.captured {
            return Err(Refusal::invalid(format!(
                "This Charge ({charge_id}) has not been paid, so it cannot be refunded."
            ))
            .param("charge"));
        }
        if charge.disputed {
            return Err(Refusal::invalid(format!(
                "Charge {charge_id} has been charged back; cannot issue a refund."
            ))
            .code("charge_disputed")
            .executed());
        }
        if left == 0 {
            return Err(
                Refusal::invalid(format!("Charge {charge_id} has already been refunded."))
                    .code("charge_already_refunded")
                    .executed(),
            );
        }
        let amount = amount.unwrap_or(left);
        if amount > left {
            return Err(Refusal::invalid(format!(
                "Refund amount ({}) is greater than unrefunded amount on charge ({})",
                written(amount, charge.currency),
                written(left, charge.currency)
            ))
            .param("amount"));
        }
        let mut refund = Refund {
            id: ids::id("re"),
            account: caller.account.clone(),
            created: ids::now(),
            amount,
            currency: charge.currency,
            charge: charge_id.clone(),
            payment_intent: charge.payment_intent.clone(),
            payment_method: charge.payment_method.clone(),
            reason,
            metadata: BTreeMap::new(),
        };
        if let Some(change) = metadata {
            merge_metadata(&mut refund.metadata, change)?;
        }
        let cause = Cause::request(caller);
        let rendered = refund.render();
        self.refunds.insert(refund);
        if let Some(charge) = self.charges.find_mut(&charge_id) {
            let before = json!({
                "amount_refunded": charge.amount_refunded,
                "refunded": charge.amount_refunded == charge.amount,
            });
            charge.amount_refunded = charge.amount_refunded.saturating_add(amount);
            let object = Charge::render(charge);
            self.emit_change(&cause, "charge.refunded", object, Some(before));
        }
        self.emit(&cause, "refund.created", rendered.clone());
        Ok(rendered)
    }
}
