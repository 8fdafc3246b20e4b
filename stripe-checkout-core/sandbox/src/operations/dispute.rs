//! Disputes, from the bank's first inquiry to its decision.
//!
//! See <https://docs.stripe.com/disputes/how-disputes-work>.
//!
//! `winning_evidence`, `losing_evidence` and `escalate_inquiry_evidence` as
//! `evidence[uncategorized_text]` set the bank's decision, as in Stripe's test mode
//! (<https://docs.stripe.com/testing#evidence>). With any other evidence the dispute stays under
//! review until a test or the page decides it.

use std::{collections::BTreeMap, time::Duration};

use http::StatusCode;
use serde_json::{Map, Value, json};

use super::{
    super::{
        api_error::ApiError,
        auth::Caller,
        ids,
        objects::{
            balance_transaction::BalanceTransaction,
            charge::Charge,
            dispute::{Decision, Dispute, DisputeStatus, EVIDENCE, TIME_TO_RESPOND},
            payment_method::Instrument,
            refund::RefundStatus,
        },
        params::Params,
        scheduler::Due,
        store::{Cause, Store},
    },
    refund::signed,
    shared_params::merge_metadata,
};

/// The fee for a dispute, in minor units: an example, not the price in any contract.
const FEE: i64 = 1500;
/// The limit for all evidence together, in characters.
const MAX_EVIDENCE: usize = 150_000;

/// How the bank opens a dispute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Opening {
    Chargeback(&'static str),
    Inquiry,
}

impl Store {
    /// Opens a dispute or an inquiry of the buyer's bank. Returns whether the charge can be
    /// disputed.
    pub(crate) fn dispute(&mut self, charge_id: &str, opening: Opening) -> bool {
        let Some(charge) = self
            .charges
            .find_mut(charge_id)
            .filter(|charge| charge.captured && !charge.disputed)
        else {
            return false;
        };
        charge.disputed = true;
        let charge = charge.clone();
        let brand =
            self.payment_methods
                .find(&charge.payment_method)
                .and_then(|method| match method.instrument {
                    Instrument::Card(card) => Some(card.test.brand),
                    Instrument::SepaDebit(_) => None,
                });
        let (reason, status) = match opening {
            Opening::Chargeback(reason) => (reason, DisputeStatus::NeedsResponse),
            Opening::Inquiry => ("fraudulent", DisputeStatus::WarningNeedsResponse),
        };
        let id = ids::id("du");
        let cause = Cause::outside(charge.account.clone());
        self.disputes.insert(Dispute {
            id: id.clone(),
            account: charge.account.clone(),
            created: ids::now(),
            amount: charge.amount_captured,
            currency: charge.currency,
            charge: charge.id.clone(),
            payment_intent: charge.payment_intent.clone(),
            reason,
            status,
            brand,
            evidence: BTreeMap::new(),
            submissions: 0,
            metadata: BTreeMap::new(),
            balance_transactions: Vec::new(),
        });
        self.emit_dispute(&cause, "charge.dispute.created", &id, None);
        if opening != Opening::Inquiry {
            self.withdraw(&cause, &id);
        }
        if brand.is_none() {
            // The merchant cannot contest a disputed debit: the money is gone.
            self.close(&cause, &id, DisputeStatus::Lost);
        } else if let Ok(time) = u64::try_from(TIME_TO_RESPOND) {
            self.agenda
                .add(Duration::from_secs(time), Due::Deadline { dispute: id });
        }
        true
    }

    /// Returns the id of a payment's open dispute.
    pub(crate) fn open_dispute_of(&self, payment_intent: &str) -> Option<String> {
        self.disputes
            .iter()
            .find(|dispute| dispute.payment_intent == payment_intent && !dispute.status.is_closed())
            .map(|dispute| dispute.id.clone())
    }

    /// Applies the bank's decision. Returns whether there was anything to decide.
    pub(crate) fn decide(&mut self, id: &str, decision: Decision) -> bool {
        let Some(dispute) = self
            .disputes
            .find(id)
            .filter(|dispute| !dispute.status.is_closed())
        else {
            return false;
        };
        let cause = Cause::outside(dispute.account.clone());
        let inquiry = dispute.status.is_inquiry();
        match decision {
            Decision::Escalated if inquiry => self.escalate(&cause, id),
            Decision::Escalated => return false,
            _ if inquiry => self.close(&cause, id, DisputeStatus::WarningClosed),
            Decision::Won => {
                self.reinstate(&cause, id);
                self.close(&cause, id, DisputeStatus::Won);
            }
            Decision::Lost => self.close(&cause, id, DisputeStatus::Lost),
        }
        true
    }

    /// Closes a dispute that the merchant did not answer in time. An answered dispute waits for its
    /// decision.
    pub(crate) fn dispute_deadline(&mut self, id: &str) {
        let Some(dispute) = self.disputes.find(id) else {
            return;
        };
        let cause = Cause::outside(dispute.account.clone());
        match dispute.status {
            DisputeStatus::NeedsResponse => self.close(&cause, id, DisputeStatus::Lost),
            DisputeStatus::WarningNeedsResponse => {
                self.close(&cause, id, DisputeStatus::WarningClosed);
            }
            _ => {}
        }
    }

    fn escalate(&mut self, cause: &Cause, id: &str) {
        let Some(dispute) = self.disputes.find_mut(id) else {
            return;
        };
        let before = json!({ "status": dispute.status.as_str() });
        dispute.status = DisputeStatus::NeedsResponse;
        let charge = dispute.charge.clone();
        self.withdraw(cause, id);
        self.emit_dispute(cause, "charge.dispute.updated", id, Some(before));
        // The buyer would now receive the money of earlier refunds twice, so those refunds fail.
        let refunds: Vec<String> = self
            .refunds
            .iter()
            .filter(|refund| {
                refund.charge == charge
                    && matches!(
                        refund.status,
                        RefundStatus::Pending | RefundStatus::Succeeded
                    )
            })
            .map(|refund| refund.id.clone())
            .collect();
        for refund in refunds {
            self.refund_comes_back(&refund, "charge_for_pending_refund_disputed");
        }
    }

    fn withdraw(&mut self, cause: &Cause, id: &str) {
        self.book_dispute(id, -1, FEE, "dispute", "Chargeback withdrawal");
        self.emit_dispute(cause, "charge.dispute.funds_withdrawn", id, None);
    }

    fn reinstate(&mut self, cause: &Cause, id: &str) {
        if let Some(dispute) = self.disputes.find_mut(id) {
            dispute.status = DisputeStatus::Won;
        }
        // Stripe keeps the fee.
        self.book_dispute(id, 1, 0, "dispute_reversal", "Chargeback reversal");
        self.emit_dispute(cause, "charge.dispute.funds_reinstated", id, None);
    }

    fn close(&mut self, cause: &Cause, id: &str, status: DisputeStatus) {
        if let Some(dispute) = self.disputes.find_mut(id) {
            dispute.status = status;
        }
        self.emit_dispute(cause, "charge.dispute.closed", id, None);
    }

    fn book_dispute(&mut self, id: &str, sign: i64, fee: i64, category: &'static str, words: &str) {
        let Some(dispute) = self.disputes.find_mut(id) else {
            return;
        };
        let booking = BalanceTransaction {
            id: ids::id("txn"),
            account: dispute.account.clone(),
            created: ids::now(),
            amount: signed(dispute.amount).saturating_mul(sign),
            fee,
            currency: dispute.currency,
            kind: "adjustment",
            category,
            description: Some(format!("{words} for {}", dispute.charge)),
            source: dispute.id.clone(),
            available: false,
        };
        dispute.balance_transactions.push(booking.id.clone());
        self.balance_transactions.insert(booking);
    }

    fn emit_dispute(
        &mut self,
        cause: &Cause,
        event_type: &'static str,
        id: &str,
        before: Option<Value>,
    ) {
        if let Some(object) = self
            .disputes
            .find(id)
            .map(|dispute| self.rendered_dispute(dispute))
        {
            self.emit_change(cause, event_type, object, before);
        }
    }

    pub(crate) fn rendered_dispute(&self, dispute: &Dispute) -> Value {
        let bookings: Vec<Value> = dispute
            .balance_transactions
            .iter()
            .filter_map(|id| self.balance_transactions.find(id))
            .map(BalanceTransaction::render)
            .collect();
        dispute.render(&bookings)
    }

    /// Returns whether a dispute has taken this charge's money from the merchant.
    pub(crate) fn is_charged_back(&self, charge: &Charge) -> bool {
        charge.disputed
            && self
                .disputes
                .iter()
                .any(|dispute| dispute.charge == charge.id && dispute.status.holds_the_money())
    }

    pub(crate) fn retrieve_dispute(
        &mut self,
        caller: &Caller,
        id: &str,
        params: Params,
    ) -> Result<Value, ApiError> {
        params.finish()?;
        let dispute = self.admitted_dispute(caller, id)?;
        Ok(self.rendered_dispute(dispute))
    }

    fn admitted_dispute(&self, caller: &Caller, id: &str) -> Result<&Dispute, ApiError> {
        self.disputes
            .get(caller.account.as_deref(), id)
            .ok_or_else(|| ApiError::no_such(StatusCode::NOT_FOUND, "dispute", id, "dispute"))
    }

    fn must_be_open(&self, caller: &Caller, id: &str) -> Result<Dispute, ApiError> {
        let dispute = self.admitted_dispute(caller, id)?;
        if dispute.status.is_closed() {
            return Err(ApiError::invalid("This dispute is already closed").executed());
        }
        Ok(dispute.clone())
    }

    /// `POST /v1/disputes/{id}`: <https://docs.stripe.com/api/disputes/update>.
    pub(crate) fn update_dispute(
        &mut self,
        caller: &Caller,
        id: &str,
        mut params: Params,
    ) -> Result<Value, ApiError> {
        let given = match params.group("evidence")? {
            Some(Some(group)) => Some(read_evidence(group)?),
            Some(None) | None => None,
        };
        let metadata = params.metadata()?;
        let submit = params.boolean("submit")?;
        params.finish()?;
        let mut dispute = self.must_be_open(caller, id)?;
        let mut before = Map::new();
        if let Some(change) = metadata {
            before.insert("metadata".to_owned(), json!(dispute.metadata));
            merge_metadata(&mut dispute.metadata, change)?;
        }
        // Changed evidence is submitted unless the request says otherwise. `submit` alone also
        // submits.
        let submits = submit.unwrap_or(given.is_some()) && (given.is_some() || submit.is_some());
        let mut changed_evidence = Map::new();
        for (name, value) in given.into_iter().flatten() {
            changed_evidence.insert(name.clone(), json!(dispute.evidence.get(&name)));
            match value {
                Some(value) => dispute.evidence.insert(name, value),
                None => dispute.evidence.remove(&name),
            };
        }
        let length: usize = dispute
            .evidence
            .values()
            .map(|text| text.chars().count())
            .sum();
        if length > MAX_EVIDENCE {
            return Err(ApiError::invalid(format!(
                "The combined character count of all evidence is limited to {MAX_EVIDENCE}."
            ))
            .param("evidence"));
        }
        if !changed_evidence.is_empty() {
            before.insert("evidence".to_owned(), Value::Object(changed_evidence));
        }
        if submits {
            before.insert("status".to_owned(), json!(dispute.status.as_str()));
            before.insert(
                "evidence_details".to_owned(),
                json!({ "submission_count": dispute.submissions }),
            );
            dispute.submissions = dispute.submissions.saturating_add(1);
            dispute.status = if dispute.status.is_inquiry() {
                DisputeStatus::WarningUnderReview
            } else {
                DisputeStatus::UnderReview
            };
        }
        let text = dispute.evidence.get("uncategorized_text").cloned();
        let answer = self.rendered_dispute(&dispute);
        if let Some(row) = self.disputes.find_mut(id) {
            *row = dispute;
        }
        self.emit_dispute(
            &Cause::request(caller),
            "charge.dispute.updated",
            id,
            Some(Value::Object(before)),
        );
        let decision = match text.as_deref() {
            Some("winning_evidence") => Some(Decision::Won),
            Some("losing_evidence") => Some(Decision::Lost),
            Some("escalate_inquiry_evidence") => Some(Decision::Escalated),
            _ => None,
        };
        if let (true, Some(decision), Some(wait)) = (submits, decision, self.patience.decision) {
            self.agenda.add(
                wait,
                Due::Decision {
                    dispute: id.to_owned(),
                    decision,
                },
            );
        }
        Ok(answer)
    }

    /// `POST /v1/disputes/{id}/close`: the merchant accepts the loss.
    /// <https://docs.stripe.com/api/disputes/close>.
    pub(crate) fn close_dispute(
        &mut self,
        caller: &Caller,
        id: &str,
        params: Params,
    ) -> Result<Value, ApiError> {
        params.finish()?;
        let dispute = self.must_be_open(caller, id)?;
        let status = if dispute.status.is_inquiry() {
            DisputeStatus::WarningClosed
        } else {
            DisputeStatus::Lost
        };
        self.close(&Cause::request(caller), id, status);
        let dispute = self.admitted_dispute(caller, id)?;
        Ok(self.rendered_dispute(dispute))
    }
}

/// Reads the pieces of evidence by name. An empty text removes a piece.
fn read_evidence(mut group: Params) -> Result<Vec<(String, Option<String>)>, ApiError> {
    let mut given = Vec::new();
    for name in EVIDENCE {
        if let Some(value) = group.setting_up_to(name, 20_000)? {
            given.push(((*name).to_owned(), value));
        }
    }
    group.finish()?;
    Ok(given)
}
