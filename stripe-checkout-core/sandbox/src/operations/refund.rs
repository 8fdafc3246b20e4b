//! Refunds: <https://docs.stripe.com/api/refunds>.
//!
//! With most cards a refund succeeds at once. With one test card it is pending for a while, and
//! with another it fails later (<https://docs.stripe.com/testing#refunds>).

use std::collections::BTreeMap;

use http::StatusCode;
use serde_json::{Value, json};

use super::{
    super::{
        api_error::ApiError,
        auth::Caller,
        cards::Behaviour,
        ids,
        objects::{
            balance_transaction::BalanceTransaction,
            charge::{Charge, ChargeStatus},
            payment_method::Instrument,
            refund::{Refund, RefundStatus},
        },
        params::Params,
        scheduler::Due,
        store::{Cause, Store},
    },
    shared_params::{merge_metadata, written},
};

const REASONS: &[&str] = &["duplicate", "fraudulent", "requested_by_customer"];

impl Store {
    pub(crate) fn create_refund(
        &mut self,
        caller: &Caller,
        mut params: Params,
    ) -> Result<Value, ApiError> {
        let amount = params.integer("amount", 1)?;
        let named_charge = params.text("charge")?;
        let named_intent = params.text("payment_intent")?;
        let reason = params.choice("reason", REASONS)?;
        let metadata = params.metadata()?;
        let reverses_transfer = params.boolean("reverse_transfer")?.unwrap_or(false);
        let refunds_fee = params.boolean("refund_application_fee")?.unwrap_or(false);
        params.finish()?;

        let account = caller.account.as_deref();
        let charge_id = match (named_charge, named_intent) {
            (Some(_), Some(_)) => {
                return Err(ApiError::invalid(
                    "You may only specify one of these parameters: charge, payment_intent.",
                )
                .param("charge"));
            }
            (Some(charge), None) => charge,
            (None, Some(intent)) => self
                .intents
                .get(account, &intent)
                .ok_or_else(|| {
                    ApiError::no_such(
                        StatusCode::NOT_FOUND,
                        "payment_intent",
                        &intent,
                        "payment_intent",
                    )
                })?
                .latest_charge
                .clone()
                .ok_or_else(|| {
                    ApiError::invalid(format!(
                        "This PaymentIntent ({intent}) does not have a successful charge to refund."
                    ))
                    .param("payment_intent")
                })?,
            (None, None) => {
                return Err(ApiError::invalid(
                    "One of the following params should be provided for this request: payment_intent or charge.",
                ));
            }
        };
        let charge = self.charges.get(account, &charge_id).ok_or_else(|| {
            ApiError::no_such(StatusCode::NOT_FOUND, "charge", &charge_id, "charge")
        })?;
        let left = charge
            .amount_captured
            .saturating_sub(charge.amount_refunded);
        if !matches!(charge.status, ChargeStatus::Succeeded) || !charge.captured {
            return Err(ApiError::invalid(format!(
                "This Charge ({charge_id}) has not been paid, so it cannot be refunded."
            ))
            .param("charge"));
        }
        if self.is_charged_back(charge) {
            return Err(ApiError::invalid(format!(
                "Charge {charge_id} has been charged back; cannot issue a refund."
            ))
            .code("charge_disputed")
            .executed());
        }
        if left == 0 {
            return Err(ApiError::invalid(format!(
                "Charge {charge_id} has already been refunded."
            ))
            .code("charge_already_refunded")
            .executed());
        }
        let lacking = [
            (
                "reverse_transfer",
                "an associated transfer",
                reverses_transfer && charge.transfer_data.is_none(),
            ),
            (
                "refund_application_fee",
                "an application fee",
                refunds_fee && charge.application_fee_amount.is_none(),
            ),
        ];
        if let Some((name, thing, _)) = lacking.into_iter().find(|(_, _, lacks)| *lacks) {
            return Err(ApiError::invalid(format!(
                "You cannot set {name} because charge {charge_id} does not have {thing}."
            ))
            .param(name));
        }
        let amount = amount.unwrap_or(left);
        if amount > left {
            return Err(ApiError::invalid(format!(
                "Refund amount ({}) is greater than unrefunded amount on charge ({})",
                written(amount, charge.currency),
                written(left, charge.currency)
            ))
            .param("amount"));
        }
        let instrument = self
            .payment_methods
            .find(&charge.payment_method)
            .map(|method| method.instrument);
        let behaviour = match instrument {
            Some(Instrument::Card(card)) => Some(card.test.behaviour),
            _ => None,
        };
        let to_card = behaviour.is_some();
        let pending = matches!(behaviour, Some(Behaviour::RefundLater));
        let id = ids::id(if to_card { "re" } else { "pyr" });
        let mut refund = Refund {
            id: id.clone(),
            account: caller.account.clone(),
            created: ids::now(),
            amount,
            currency: charge.currency,
            status: if pending {
                RefundStatus::Pending
            } else {
                RefundStatus::Succeeded
            },
            charge: charge_id.clone(),
            payment_intent: charge.payment_intent.clone(),
            payment_method: charge.payment_method.clone(),
            to_card,
            reason,
            metadata: BTreeMap::new(),
            balance_transaction: None,
            transfer_reversal: reverses_transfer.then(|| ids::id("trr")),
            failure_balance_transaction: None,
        };
        if let Some(change) = metadata {
            merge_metadata(&mut refund.metadata, change)?;
        }
        if !pending {
            refund.balance_transaction = Some(self.book_refund(&refund, -1));
        }
        let cause = Cause::request(caller);
        let rendered = refund.render();
        self.refunds.insert(refund);
        if let Some(charge) = self.charges.find_mut(&charge_id) {
            let before = json!({
                "amount_refunded": charge.amount_refunded,
                "refunded": charge.is_refunded(),
            });
            charge.amount_refunded = charge.amount_refunded.saturating_add(amount);
            let object = Charge::render(charge);
            self.emit_change(&cause, "charge.refunded", object, Some(before));
        }
        self.emit(&cause, "refund.created", rendered.clone());
        if let Some(wait) = self.patience.refund {
            match behaviour {
                Some(Behaviour::RefundLater) => {
                    self.agenda.add(wait, Due::Refund { id, arrived: true });
                }
                Some(Behaviour::RefundComesBack) => {
                    self.agenda.add(wait, Due::Refund { id, arrived: false });
                }
                _ => {}
            }
        }
        Ok(rendered)
    }

    /// Completes a pending refund. Returns whether it was pending.
    pub(crate) fn refund_arrives(&mut self, id: &str) -> bool {
        let Some(mut refund) = self
            .refunds
            .find(id)
            .filter(|refund| refund.status == RefundStatus::Pending)
            .cloned()
        else {
            return false;
        };
        refund.balance_transaction = Some(self.book_refund(&refund, -1));
        let before = json!({ "balance_transaction": null, "status": refund.status.as_str() });
        refund.status = RefundStatus::Succeeded;
        let cause = Cause::outside(refund.account.clone());
        self.refund_changed(&cause, refund, before);
        true
    }

    /// Fails a refund that the buyer's bank does not accept. The merchant gets the money back.
    ///
    /// Returns whether the refund was pending or had succeeded.
    pub(crate) fn refund_comes_back(&mut self, id: &str, why: &'static str) -> bool {
        let Some(mut refund) = self
            .refunds
            .find(id)
            .filter(|refund| {
                matches!(
                    refund.status,
                    RefundStatus::Pending | RefundStatus::Succeeded
                )
            })
            .cloned()
        else {
            return false;
        };
        if refund.balance_transaction.is_some() {
            refund.failure_balance_transaction = Some(self.book_refund(&refund, 1));
        }
        let before = json!({ "status": refund.status.as_str() });
        refund.status = RefundStatus::Failed(why);
        let cause = Cause::outside(refund.account.clone());
        self.give_up_refund(&refund);
        let rendered = refund.render();
        self.refund_changed(&cause, refund, before.clone());
        self.emit_change(&cause, "refund.failed", rendered, Some(before));
        true
    }

    /// `POST /v1/refunds/{id}/cancel`: <https://docs.stripe.com/api/refunds/cancel>.
    pub(crate) fn cancel_refund(
        &mut self,
        caller: &Caller,
        id: &str,
        params: Params,
    ) -> Result<Value, ApiError> {
        params.finish()?;
        let mut refund = self.admitted_refund(caller, id)?.clone();
        if refund.status != RefundStatus::Pending {
            return Err(ApiError::invalid("Canceling this refund is unsupported.").executed());
        }
        let before = json!({ "status": refund.status.as_str() });
        refund.status = RefundStatus::Canceled;
        self.give_up_refund(&refund);
        let rendered = refund.render();
        self.refund_changed(&Cause::request(caller), refund, before);
        Ok(rendered)
    }

    /// `POST /v1/refunds/{id}`: <https://docs.stripe.com/api/refunds/update>.
    pub(crate) fn update_refund(
        &mut self,
        caller: &Caller,
        id: &str,
        mut params: Params,
    ) -> Result<Value, ApiError> {
        let metadata = params.metadata()?;
        params.finish()?;
        let mut refund = self.admitted_refund(caller, id)?.clone();
        let before = json!({ "metadata": refund.metadata });
        if let Some(change) = metadata {
            merge_metadata(&mut refund.metadata, change)?;
        }
        let rendered = refund.render();
        self.refund_changed(&Cause::request(caller), refund, before);
        Ok(rendered)
    }

    /// Makes the amount of a failed or canceled refund refundable again.
    fn give_up_refund(&mut self, refund: &Refund) {
        if let Some(charge) = self.charges.find_mut(&refund.charge) {
            charge.amount_refunded = charge.amount_refunded.saturating_sub(refund.amount);
        }
    }

    /// Stores a changed refund and sends two events. The older of the two types is from the time
    /// before refunds had events of their own.
    fn refund_changed(&mut self, cause: &Cause, changed: Refund, before: Value) {
        let rendered = changed.render();
        if let Some(refund) = self.refunds.find_mut(&changed.id) {
            *refund = changed;
        }
        self.emit_change(
            cause,
            "charge.refund.updated",
            rendered.clone(),
            Some(before.clone()),
        );
        self.emit_change(cause, "refund.updated", rendered, Some(before));
    }

    fn book_refund(&mut self, refund: &Refund, sign: i64) -> String {
        let (kind, category) = match (sign > 0, refund.to_card) {
            (true, _) => ("refund_failure", "refund_failure"),
            (false, true) => ("refund", "refund"),
            (false, false) => ("payment_refund", "refund"),
        };
        let id = ids::id("txn");
        self.balance_transactions.insert(BalanceTransaction {
            id: id.clone(),
            account: refund.account.clone(),
            created: ids::now(),
            amount: signed(refund.amount).saturating_mul(sign),
            fee: 0,
            currency: refund.currency,
            kind,
            category,
            description: Some("REFUND FOR CHARGE".to_owned()),
            source: refund.id.clone(),
            available: false,
        });
        id
    }
}

/// Converts an amount for the balance, which can be below zero.
pub(crate) fn signed(amount: u64) -> i64 {
    i64::try_from(amount).unwrap_or(i64::MAX)
}
