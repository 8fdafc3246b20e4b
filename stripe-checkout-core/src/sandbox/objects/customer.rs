//! The Customer: <https://docs.stripe.com/api/customers/object>.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// Somebody who buys more than once.
#[derive(Debug, Clone)]
pub(in crate::sandbox) struct Customer {
    pub(in crate::sandbox) id: String,
    pub(in crate::sandbox) account: Option<String>,
    pub(in crate::sandbox) created: i64,
    /// Stripe still knows that there was one.
    pub(in crate::sandbox) deleted: bool,
    pub(in crate::sandbox) email: Option<String>,
    pub(in crate::sandbox) name: Option<String>,
    pub(in crate::sandbox) phone: Option<String>,
    pub(in crate::sandbox) description: Option<String>,
    pub(in crate::sandbox) address: Option<Value>,
    pub(in crate::sandbox) shipping: Option<Value>,
    pub(in crate::sandbox) metadata: BTreeMap<String, String>,
    pub(in crate::sandbox) preferred_locales: Vec<String>,
    pub(in crate::sandbox) default_payment_method: Option<String>,
}

impl Customer {
    pub(in crate::sandbox) fn render(&self) -> Value {
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
