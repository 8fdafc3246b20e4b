//! The Mandate: <https://docs.stripe.com/api/mandates/object>.

use serde_json::{Value, json};

use stripe_checkout_core::Currency;

/// A buyer's permission to take money from a bank account.
#[derive(Debug, Clone)]
pub(crate) struct Mandate {
    pub(crate) id: String,
    pub(crate) account: Option<String>,
    pub(crate) created: i64,
    pub(crate) payment_method: String,
    /// What the buyer sees on the bank statement.
    pub(crate) reference: String,
    pub(crate) acceptance: Acceptance,
    /// When the merchant says that the buyer agreed; else when the mandate was made.
    pub(crate) accepted_at: Option<i64>,
    /// For one payment of this amount and currency only; else for later ones too.
    pub(crate) single_use: Option<(u64, Currency)>,
}

/// How the buyer agreed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Acceptance {
    Online {
        ip_address: Option<String>,
        user_agent: Option<String>,
    },
    Offline,
}

impl Mandate {
    pub(crate) fn render(&self) -> Value {
        let mut acceptance = json!({ "accepted_at": self.accepted_at.unwrap_or(self.created) });
        let (kind, details) = match &self.acceptance {
            Acceptance::Online {
                ip_address,
                user_agent,
            } => (
                "online",
                json!({ "ip_address": ip_address, "user_agent": user_agent }),
            ),
            Acceptance::Offline => ("offline", json!({})),
        };
        if let Some(fields) = acceptance.as_object_mut() {
            fields.insert("type".to_owned(), json!(kind));
            fields.insert(kind.to_owned(), details);
        }
        let mut mandate = json!({
            "id": self.id,
            "object": "mandate",
            "customer_acceptance": acceptance,
            "livemode": false,
            "payment_method": self.payment_method,
            "payment_method_details": {
                "sepa_debit": {
                    "reference": self.reference,
                    "url": format!("https://hooks.stripe.com/adapter/sepa_debit/file/{}", self.reference),
                },
                "type": "sepa_debit",
            },
            "status": "active",
        });
        if let Some(fields) = mandate.as_object_mut() {
            let (kind, use_) = match self.single_use {
                Some((amount, currency)) => (
                    "single_use",
                    json!({ "amount": amount, "currency": currency.code() }),
                ),
                None => ("multi_use", json!({})),
            };
            fields.insert("type".to_owned(), json!(kind));
            fields.insert(kind.to_owned(), use_);
        }
        mandate
    }
}
