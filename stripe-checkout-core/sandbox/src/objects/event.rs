//! The Event: <https://docs.stripe.com/api/events/object>.

use serde_json::{Value, json};

/// Something that happened, with the object as it was at that moment.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    pub(crate) id: String,
    pub(crate) account: Option<String>,
    pub(crate) created: i64,
    pub(crate) event_type: &'static str,
    pub(crate) object: Value,
    pub(crate) previous_attributes: Option<Value>,
    /// The API request that caused it; none where time or the buyer's bank did.
    pub(crate) request_id: Option<String>,
    pub(crate) idempotency_key: Option<String>,
    /// The endpoints that it was sent to.
    pub(crate) sent_to: Vec<String>,
    /// Those that have not acknowledged it yet.
    pub(crate) waiting: Vec<String>,
}

impl Event {
    pub(crate) fn render(&self, api_version: &str) -> Value {
        let mut data = json!({ "object": self.object });
        if let Some(previous) = &self.previous_attributes
            && let Some(fields) = data.as_object_mut()
        {
            fields.insert("previous_attributes".to_owned(), previous.clone());
        }
        let mut event = json!({
            "id": self.id,
            "object": "event",
            "api_version": api_version,
            "created": self.created,
            "data": data,
            "livemode": false,
            "pending_webhooks": self.waiting.len(),
            "request": { "id": self.request_id, "idempotency_key": self.idempotency_key },
            "type": self.event_type,
        });
        // Only events of connected accounts have it.
        if let Some(account) = &self.account
            && let Some(fields) = event.as_object_mut()
        {
            fields.insert("account".to_owned(), json!(account));
        }
        event
    }
}
