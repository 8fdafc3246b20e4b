//! Actions that a test or a person on the page starts, and that Stripe's API does not offer.

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
    /// Registers a webhook endpoint. Returns its signing secret, or `None` if the sandbox may not
    /// send to the address.
    pub(crate) fn listen(&mut self, url: &str, event_types: Vec<String>) -> Option<String> {
        let endpoint = Endpoint::new(endpoint::parse(url)?, url.to_owned(), event_types);
        Some(self.register(endpoint))
    }

    /// Delivers an event again `times` times at once. Returns whether there is such an event.
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
                // The endpoint was registered after the event.
                event.sent_to.push(endpoint.id.clone());
                event.waiting.push(endpoint.id.clone());
            }
            let job = Job::new(event, endpoint.id.clone(), &self.controls);
            jobs.extend(std::iter::repeat_n(job, times));
        }
        self.enqueue(jobs);
        true
    }

    /// Makes the buyer's bank open a dispute. Returns whether there is a payment to dispute.
    pub(crate) fn dispute_payment(&mut self, payment_intent: &str, opening: Opening) -> bool {
        let charge = self
            .intents
            .find(payment_intent)
            .and_then(|intent| intent.latest_charge.clone());
        charge.is_some_and(|charge| self.dispute(&charge, opening))
    }

    /// Makes the buyer's bank decide a dispute. Returns whether there was anything to decide.
    pub(crate) fn decide_payment(&mut self, payment_intent: &str, decision: Decision) -> bool {
        self.open_dispute_of(payment_intent)
            .is_some_and(|dispute| self.decide(&dispute, decision))
    }

    /// Refunds a payment as the merchant does in Stripe's Dashboard. Returns the refund's id.
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

    /// Makes a refund succeed or fail. Returns whether the refund was in a state that allows it.
    pub(crate) fn settle_refund(&mut self, refund: &str, arrives: bool) -> bool {
        if arrives {
            self.refund_arrives(refund)
        } else {
            self.refund_comes_back(refund, "unknown")
        }
    }
}
