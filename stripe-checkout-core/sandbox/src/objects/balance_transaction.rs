//! The BalanceTransaction: <https://docs.stripe.com/api/balance_transactions/object>.

use serde_json::{Value, json};

use stripe_checkout_core::Currency;

/// Money that came to the merchant's balance or left it.
#[derive(Debug, Clone)]
pub(crate) struct BalanceTransaction {
    pub(crate) id: String,
    pub(crate) account: Option<String>,
    pub(crate) created: i64,
    /// Below zero where it left.
    pub(crate) amount: i64,
    pub(crate) fee: i64,
    pub(crate) currency: Currency,
    /// `type`.
    pub(crate) kind: &'static str,
    pub(crate) category: &'static str,
    pub(crate) description: Option<String>,
    /// The charge, the refund or the dispute.
    pub(crate) source: String,
    /// Whether the money can be paid out already.
    pub(crate) available: bool,
}

impl BalanceTransaction {
    pub(crate) fn render(&self) -> Value {
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
            "status": if self.available { "available" } else { "pending" },
            "type": self.kind,
        })
    }
}
