//! The Customer: <https://docs.stripe.com/api/customers/object>.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// Somebody who buys more than once.
#[derive(Debug, Clone)]
pub(crate) struct Customer {
    pub(crate) id: String,
    pub(crate) account: Option<String>,
    pub(crate) created: i64,
    /// Stripe still knows that there was one.
    pub(crate) deleted: bool,
    pub(crate) email: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) phone: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) address: Option<Value>,
    pub(crate) shipping: Option<Value>,
    pub(crate) metadata: BTreeMap<String, String>,
    pub(crate) preferred_locales: Vec<String>,
    pub(crate) default_payment_method: Option<String>,
}

impl Customer {
    pub(crate) fn render(&self) -> Value {
        if self.deleted {
            return json!({ "id": self.id, "object": "customer", "deleted": true });
        }
        json!({
            "id": self.id,
            "object": "customer",
            "address": self.address,
            "balance": 0,
            "created": self.created,
            "currency": null,
            "customer_account": null,
            "default_source": null,
            "delinquent": false,
            "description": self.description,
            "discount": null,
            "email": self.email,
            "invoice_prefix": "SANDBOX1",
            "invoice_settings": {
                "custom_fields": null,
                "default_payment_method": self.default_payment_method,
                "footer": null,
                "rendering_options": null,
            },
            "livemode": false,
            "metadata": self.metadata,
            "name": self.name,
            "next_invoice_sequence": 1,
            "phone": self.phone,
            "preferred_locales": self.preferred_locales,
            "shipping": self.shipping,
            "tax_exempt": "none",
            "test_clock": null,
        })
    }
}
