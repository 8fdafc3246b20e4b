//! The SetupIntent: <https://docs.stripe.com/api/setup_intents/object>.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::payment_intent::{Challenge, Status};

/// A payment method on its way to be saved without a payment.
#[derive(Debug, Clone)]
pub(crate) struct SetupIntent {
    pub(crate) id: String,
    pub(crate) client_secret: String,
    pub(crate) account: Option<String>,
    pub(crate) created: i64,
    /// Never `RequiresCapture`.
    pub(crate) status: Status,
    /// `allow_redirects`, where the payment methods are chosen automatically.
    pub(crate) automatic: Option<&'static str>,
    pub(crate) payment_method_types: Vec<String>,
    pub(crate) usage: &'static str,
    pub(crate) cancellation_reason: Option<&'static str>,
    pub(crate) metadata: BTreeMap<String, String>,
    pub(crate) description: Option<String>,
    pub(crate) customer: Option<String>,
    pub(crate) on_behalf_of: Option<String>,
    pub(crate) payment_method: Option<String>,
    pub(crate) latest_attempt: Option<String>,
    pub(crate) last_setup_error: Option<Value>,
    pub(crate) next_action: Option<Value>,
    pub(crate) challenge: Option<Challenge>,
}

impl SetupIntent {
    /// The whole object, as the merchant's secret key sees it.
    pub(crate) fn render(&self) -> Value {
        let automatic = self
            .automatic
            .map(|allow_redirects| json!({ "allow_redirects": allow_redirects, "enabled": true }));
        let configuration = self
            .automatic
            .map(|_| json!({ "id": "pmc_sandbox000000000000000", "parent": null }));
        json!({
            "id": self.id,
            "object": "setup_intent",
            "allowed_payment_method_types": null,
            "application": null,
            "automatic_payment_methods": automatic,
            "cancellation_reason": self.cancellation_reason,
            "client_secret": self.client_secret,
            "created": self.created,
            "customer": self.customer,
            "customer_account": null,
            "description": self.description,
            "excluded_payment_method_types": null,
            "flow_directions": null,
            "last_setup_error": self.last_setup_error,
            "latest_attempt": self.latest_attempt,
            "livemode": false,
            "managed_payments": null,
            "mandate": null,
            "metadata": self.metadata,
            "next_action": self.next_action,
            "on_behalf_of": self.on_behalf_of,
            "payment_method": self.payment_method,
            "payment_method_configuration_details": configuration,
            "payment_method_options": {
                "card": {
                    "mandate_options": null,
                    "network": null,
                    "request_three_d_secure": "automatic",
                },
            },
            "payment_method_types": self.payment_method_types,
            "single_use_mandate": null,
            "status": self.status.as_str(),
            "usage": self.usage,
        })
    }

    /// What a browser sees.
    pub(crate) fn render_for_browser(&self) -> Value {
        const SHOWN: &[&str] = &[
            "id",
            "object",
            "automatic_payment_methods",
            "cancellation_reason",
            "client_secret",
            "created",
            "description",
            "last_setup_error",
            "livemode",
            "next_action",
            "payment_method",
            "payment_method_configuration_details",
            "payment_method_types",
            "status",
            "usage",
        ];
        let mut shown = self.render();
        if let Some(fields) = shown.as_object_mut() {
            fields.retain(|name, _| SHOWN.contains(&name.as_str()));
        }
        shown
    }
}
