//! The BalanceTransaction: <https://docs.stripe.com/api/balance_transactions/object>.

use serde_json::{Value, json};

use crate::currency::Currency;

/// Money that came to the merchant's balance or left it.
#[derive(Debug, Clone)]
pub(in crate::sandbox) struct BalanceTransaction {
    pub(in crate::sandbox) id: String,
    pub(in crate::sandbox) account: Option<String>,
    pub(in crate::sandbox) created: i64,
    /// Below zero where it left.
    pub(in crate::sandbox) amount: i64,
    pub(in crate::sandbox) fee: i64,
    pub(in crate::sandbox) currency: Currency,
    /// `type`.
    pub(in crate::sandbox) kind: &'static str,
    pub(in crate::sandbox) category: &'static str,
    pub(in crate::sandbox) description: Option<String>,
    /// The charge, the refund or the dispute.
    pub(in crate::sandbox) source: String,
}

impl BalanceTransaction {
    pub(in crate::sandbox) fn render(&self) -> Value {
        let about = if self.kind == "adjustment" {
            "Dispute fee"
        } else {
            "Stripe processing fees"
        };
        let fee_details = if self.fee == 0 {
            Vec::new()
        } else {
            vec![json!({
                "amount": self.fee,
                "application": null,
                "currency": self.currency.code(),
                "description": about,
                "type": "stripe_fee",
            })]
        };
        json!({
            "id": self.id,
            "object": "balance_transaction",
            "amount": self.amount,
            "available_on": self.created,
            "balance_type": "payments",
            "created": self.created,
            "currency": self.currency.code(),
            "description": self.description,
            "exchange_rate": null,
            "fee": self.fee,
            "fee_details": fee_details,
            "net": self.amount.saturating_sub(self.fee),
            "reporting_category": self.category,
            "source": self.source,
            "status": "pending",
            "type": self.kind,
        })
    }
}
