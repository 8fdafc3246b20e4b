//! The Customer: <https://docs.stripe.com/api/customers/object>.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// A returning buyer.
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
    /// `tax`, which is part of a customer only when a request expands it.
    pub(crate) fn render_tax(&self) -> Value {
        let address = self.tax_address();
        let location = address.map(|(source, address)| {
            json!({ "country": address.get("country"), "source": source, "state": address.get("state") })
        });
        json!({
            "automatic_tax": if location.is_some() { "supported" } else { "unrecognized_location" },
            "ip_address": null,
            "location": location,
            "provider": "stripe",
        })
    }

    /// The address that decides about taxes, and where it stands.
    pub(crate) fn tax_address(&self) -> Option<(&'static str, &Value)> {
        let shipping = self
            .shipping
            .as_ref()
            .and_then(|shipping| shipping.get("address"));
        [
            ("shipping_destination", shipping),
            ("billing_address", self.address.as_ref()),
        ]
        .into_iter()
        .find_map(|(source, address)| {
            let address = address?;
            let country = address.get("country").and_then(Value::as_str);
            country.map(|_| (source, address))
        })
    }

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
