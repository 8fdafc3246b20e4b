//! The Refund: <https://docs.stripe.com/api/refunds/object>.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use stripe_checkout_core::Currency;

/// Where a refund stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RefundStatus {
    Pending,
    Succeeded,
    /// The money came back to the merchant; why.
    Failed(&'static str),
    Canceled,
}

impl RefundStatus {
    pub(crate) fn as_str(self) -> &'static str {
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
pub(crate) struct Refund {
    pub(crate) id: String,
    pub(crate) account: Option<String>,
    pub(crate) created: i64,
    pub(crate) amount: u64,
    pub(crate) currency: Currency,
    pub(crate) status: RefundStatus,
    pub(crate) charge: String,
    pub(crate) payment_intent: String,
    pub(crate) payment_method: String,
    /// Whether it goes to a card, and not to a bank account.
    pub(crate) to_card: bool,
    pub(crate) reason: Option<&'static str>,
    pub(crate) metadata: BTreeMap<String, String>,
    /// Made when the money leaves the merchant's balance.
    pub(crate) balance_transaction: Option<String>,
    /// Made where the refund takes the money back from another account.
    pub(crate) transfer_reversal: Option<String>,
    /// Made when it comes back.
    pub(crate) failure_balance_transaction: Option<String>,
}

impl Refund {
    pub(crate) fn render(&self) -> Value {
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
            "transfer_reversal": self.transfer_reversal,
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
