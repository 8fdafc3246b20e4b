//! The Refund: <https://docs.stripe.com/api/refunds/object>.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::currency::Currency;

/// Where a refund stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sandbox) enum RefundStatus {
    Pending,
    Succeeded,
    /// The money came back to the merchant; why.
    Failed(&'static str),
    Canceled,
}

impl RefundStatus {
    pub(in crate::sandbox) fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Succeeded => "succeeded",
            Self::Failed(_) => "failed",
            Self::Canceled => "canceled",
        }
    }
}

/// Money given back.
#[derive(Debug, Clone)]
pub(in crate::sandbox) struct Refund {
    pub(in crate::sandbox) id: String,
    pub(in crate::sandbox) account: Option<String>,
    pub(in crate::sandbox) created: i64,
    pub(in crate::sandbox) amount: u64,
    pub(in crate::sandbox) currency: Currency,
    pub(in crate::sandbox) status: RefundStatus,
    pub(in crate::sandbox) charge: String,
    pub(in crate::sandbox) payment_intent: String,
    pub(in crate::sandbox) payment_method: String,
    /// Whether it goes to a card, and not to a bank account.
    pub(in crate::sandbox) to_card: bool,
    pub(in crate::sandbox) reason: Option<&'static str>,
    pub(in crate::sandbox) metadata: BTreeMap<String, String>,
    /// Made when the money leaves the merchant's balance.
    pub(in crate::sandbox) balance_transaction: Option<String>,
    /// Made when it comes back.
    pub(in crate::sandbox) failure_balance_transaction: Option<String>,
}

impl Refund {
    pub(in crate::sandbox) fn render(&self) -> Value {
        let mut refund = json!({
            "id": self.id,
            "object": "refund",
            "amount": self.amount,
            "balance_transaction": self.balance_transaction,
            "charge": self.charge,
            "created": self.created,
            "currency": self.currency.code(),
            "customer": null,
            "customer_account": null,
            "metadata": self.metadata,
            "payment_intent": self.payment_intent,
            "payment_method": self.payment_method,
            "reason": self.reason,
            "receipt_number": null,
            "source_transfer_reversal": null,
            "status": self.status.as_str(),
            "transfer_reversal": null,
        });
        // Stripe leaves these out where there is nothing to say.
        let optional = [
            (
                "destination_details",
                self.to_card.then(|| {
                    json!({
                        "card": {
                            "reference_status": "pending",
                            "reference_type": "acquirer_reference_number",
                            "type": "refund",
                        },
                        "type": "card",
                    })
                }),
            ),
            (
                "failure_reason",
                match self.status {
                    RefundStatus::Failed(reason) => Some(json!(reason)),
                    _ => None,
                },
            ),
            (
                "failure_balance_transaction",
                self.failure_balance_transaction
                    .as_ref()
                    .map(|id| json!(id)),
            ),
            (
                "pending_reason",
                (self.status == RefundStatus::Pending).then(|| json!("processing")),
            ),
        ];
        if let Some(fields) = refund.as_object_mut() {
            for (name, value) in optional {
                if let Some(value) = value {
                    fields.insert(name.to_owned(), value);
                }
            }
        }
        refund
    }
}
