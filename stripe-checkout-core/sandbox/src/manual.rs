//! What a test has the sandbox do, or a person on its page: what nobody asks Stripe's API for.

use std::collections::BTreeMap;

use http::StatusCode;
use serde_json::Value;

use super::{
    api_error::ApiError,
    auth::{Caller, Role},
    delivery::Job,
    endpoint::{self, Endpoint},
    form::Node,
    ids,
    objects::dispute::Decision,
    operations::Opening,
    params::Params,
    store::Store,
};

impl Store {
    /// Registers a webhook endpoint; its signing secret, or nothing if the sandbox may not send there.
    pub(crate) fn listen(&mut self, url: &str, event_types: Vec<String>) -> Option<String> {
        let endpoint = Endpoint::new(endpoint::parse(url)?, url.to_owned(), event_types);
        Some(self.register(endpoint))
    }

    /// Delivers an event again, so many times at once. Whether there is such an event.
    pub(crate) fn redeliver(&mut self, event: &str, times: usize) -> bool {
        let Some(event) = self.events.find_mut(event) else {
            return false;
        };
        let mut jobs = Vec::new();
        for endpoint in &self.endpoints {
            if !endpoint.wants(event.event_type, event.account.as_deref()) {
                continue;
            }
            if !event.sent_to.contains(&endpoint.id) {
                // It came later than the event did.
                event.sent_to.push(endpoint.id.clone());
                event.waiting.push(endpoint.id.clone());
            }
            let job = Job::new(event, endpoint.id.clone(), &self.controls);
            jobs.extend(std::iter::repeat_n(job, times));
        }
        self.enqueue(jobs);
        true
    }

    /// The buyer's bank begins. Whether there is a payment to dispute.
    pub(crate) fn dispute_payment(&mut self, payment_intent: &str, opening: Opening) -> bool {
        let charge = self
            .intents
            .find(payment_intent)
            .and_then(|intent| intent.latest_charge.clone());
        charge.is_some_and(|charge| self.dispute(&charge, opening))
    }

    /// The buyer's bank decides. Whether it had anything to decide.
    pub(crate) fn decide_payment(&mut self, payment_intent: &str, decision: Decision) -> bool {
        self.open_dispute_of(payment_intent)
            .is_some_and(|dispute| self.decide(&dispute, decision))
    }

    /// The merchant gives money back in the Dashboard; the refund's id.
    pub(crate) fn refund_payment(
        &mut self,
        payment_intent: &str,
        amount: Option<u64>,
    ) -> Result<String, ApiError> {
        let intent = self.intents.find(payment_intent).ok_or_else(|| {
            ApiError::no_such(
                StatusCode::NOT_FOUND,
                "payment_intent",
                payment_intent,
                "intent",
            )
        })?;
        let caller = Caller {
            role: Role::Secret,
            account: intent.account.clone(),
            request_id: ids::id("req"),
            idempotency_key: None,
        };
        let text = |text: String| Node::Text(text);
        let mut params =
            BTreeMap::from([("payment_intent".to_owned(), text(payment_intent.to_owned()))]);
        if let Some(amount) = amount {
            params.insert("amount".to_owned(), text(amount.to_string()));
        }
        let refund = self.create_refund(&caller, Params::new(params))?;
        let id = refund.get("id").and_then(Value::as_str);
        Ok(id.unwrap_or_default().to_owned())
    }

    /// The buyer's bank takes a refund, or sends it back. Whether the refund waited for that.
    pub(crate) fn settle_refund(&mut self, refund: &str, arrives: bool) -> bool {
        if arrives {
            self.refund_arrives(refund)
        } else {
            self.refund_comes_back(refund, "unknown")
        }
    }
}
