//! The Refund: <https://docs.stripe.com/api/refunds/object>.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::currency::Currency;

/// Money given back.
#[derive(Debug, Clone)]
pub(in crate::sandbox) struct Refund {
    pub(in crate::sandbox) id: String,
    pub(in crate::sandbox) account: Option<String>,
    pub(in crate::sandbox) created: i64,
    pub(in crate::sandbox) amount: u64,
    pub(in crate::sandbox) currency: Currency,
    pub(in crate::sandbox) charge: String,
    pub(in crate::sandbox) payment_intent: String,
    pub(in crate::sandbox) payment_method: String,
    pub(in crate::sandbox) reason: Option<&'static str>,
    pub(in crate::sandbox) metadata: BTreeMap<String, String>,
}

impl Refund {
    pub(in crate::sandbox) fn render(&self) -> Value {
        json!({
            "id": self.id,
            "object": "refund",
            "amount": self.amount,
            "balance_transaction": null,
            "charge": self.charge,
            "created": self.created,
            "currency": self.currency.code(),
            "customer": null,
            "customer_account": null,
            "destination_details": {
                "card": {
                    "reference_status": "pending",
                    "reference_type": "acquirer_reference_number",
                    "type": "refund",
                },
                "type": "card",
            },
            "metadata": self.metadata,
            "payment_intent": self.payment_intent,
            "payment_method": self.payment_method,
            "reason": self.reason,
            "receipt_number": null,
            "source_transfer_reversal": null,
            "status": "succeeded",
            "transfer_reversal": null,
        })
    }
}
