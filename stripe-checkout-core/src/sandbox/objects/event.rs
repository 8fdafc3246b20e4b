//! The Event: <https://docs.stripe.com/api/events/object>.

use serde_json::{Value, json};

/// Something that happened, with the object as it was at that moment.
#[derive(Debug, Clone)]
pub(in crate::sandbox) struct Event {
    pub(in crate::sandbox) id: String,
    pub(in crate::sandbox) account: Option<String>,
    pub(in crate::sandbox) created: i64,
    pub(in crate::sandbox) event_type: &'static str,
    pub(in crate::sandbox) object: Value,
    pub(in crate::sandbox) previous_attributes: Option<Value>,
    /// The API request that caused it; none where time or the buyer's bank did.
    pub(in crate::sandbox) request_id: Option<String>,
    pub(in crate::sandbox) idempotency_key: Option<String>,
    /// The endpoints that it was sent to.
    pub(in crate::sandbox) sent_to: Vec<String>,
    /// Those that have not acknowledged it yet.
    pub(in crate::sandbox) waiting: Vec<String>,
}

impl Event {
    pub(in crate::sandbox) fn render(&self, api_version: &str) -> Value {
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
