//! The Charge: <https://docs.stripe.com/api/charges/object>.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{super::cards::Decline, balance_transaction::BalanceTransaction};
use stripe_checkout_core::Currency;

/// How long a card's authorisation lasts, in seconds: most have 7 days.
pub(crate) const AUTHORIZED_FOR: i64 = 7 * 24 * 60 * 60;

/// What every line of a bank statement begins with: the account's prefix.
pub(crate) const DESCRIPTOR_PREFIX: &str = "SANDBOX";

/// How one attempt to take the money went.
#[derive(Debug, Clone, Copy)]
pub(crate) enum ChargeStatus {
    Succeeded,
    Pending,
    Failed(&'static Decline),
}

/// One attempt to take the money of a PaymentIntent.
#[derive(Debug, Clone)]
pub(crate) struct Charge {
    pub(crate) id: String,
    pub(crate) account: Option<String>,
    pub(crate) created: i64,
    pub(crate) amount: u64,
    pub(crate) amount_captured: u64,
    pub(crate) amount_refunded: u64,
    pub(crate) currency: Currency,
    pub(crate) status: ChargeStatus,
    pub(crate) captured: bool,
    /// The authorisation was released: nothing can be captured any more.
    pub(crate) released: bool,
    pub(crate) disputed: bool,
    pub(crate) payment_intent: String,
    pub(crate) payment_method: String,
    pub(crate) payment_method_details: Value,
    pub(crate) billing_details: Value,
    /// Made when the money is captured.
    pub(crate) balance_transaction: Option<String>,
    /// The balance transaction that appears after a while.
    pub(crate) coming_booking: Option<BalanceTransaction>,
    // Copied from the PaymentIntent, as Stripe does.
    pub(crate) metadata: BTreeMap<String, String>,
    pub(crate) description: Option<String>,
    pub(crate) receipt_email: Option<String>,
    pub(crate) customer: Option<String>,
    pub(crate) on_behalf_of: Option<String>,
    pub(crate) transfer_group: Option<String>,
    pub(crate) application_fee_amount: Option<u64>,
    pub(crate) transfer_data: Option<Value>,
    pub(crate) shipping: Option<Value>,
    pub(crate) statement_descriptor: Option<String>,
    pub(crate) statement_descriptor_suffix: Option<String>,
}

impl Charge {
    /// Whether all that was captured went back to the buyer.
    pub(crate) fn is_refunded(&self) -> bool {
        self.captured && self.amount_refunded >= self.amount_captured
    }

    pub(crate) fn render(&self) -> Value {
        let (status, paid, failure) = match self.status {
            ChargeStatus::Succeeded => ("succeeded", true, None),
            ChargeStatus::Pending => ("pending", true, None),
            ChargeStatus::Failed(decline) => ("failed", false, Some(decline)),
        };
        let outcome = match failure {
            None => json!({
                "advice_code": null,
                "network_advice_code": null,
                "network_decline_code": null,
                "network_status": "approved_by_network",
                "reason": null,
                "risk_level": "normal",
                "risk_score": 12,
                "seller_message": "Payment complete.",
                "type": "authorized",
            }),
            Some(decline) => json!({
                "advice_code": decline.advice_code,
                "network_advice_code": null,
                "network_decline_code": "01",
                "network_status": "declined_by_network",
                "reason": decline.decline_code,
                "risk_level": "normal",
                "risk_score": 12,
                "seller_message": decline.seller_message,
                "type": "issuer_declined",
            }),
        };
        let calculated_descriptor = match &self.statement_descriptor_suffix {
            Some(suffix) => format!("{DESCRIPTOR_PREFIX}* {}", suffix.to_uppercase()),
            None => self
                .statement_descriptor
                .clone()
                .unwrap_or_else(|| DESCRIPTOR_PREFIX.to_owned()),
        };
        let transfer_data = self.transfer_data.as_ref().map(
            |data| json!({ "amount": data.get("amount"), "destination": data.get("destination") }),
        );
        let mut details = self.payment_method_details.clone();
        let reserved = paid && !self.captured && !self.released;
        if reserved && let Some(Value::Object(card)) = details.get_mut("card") {
            let until = self.created.saturating_add(AUTHORIZED_FOR);
            card.insert("capture_before".to_owned(), until.into());
        }
        json!({
            "id": self.id,
            "object": "charge",
            "amount": self.amount,
            "amount_captured": self.amount_captured,
            "amount_refunded": self.amount_refunded,
            // The account's own payments have none. The sandbox has only the platform's.
            "application": self.account.as_ref().map(|_| crate::CONNECT_APPLICATION),
            "application_fee": null,
            "application_fee_amount": self.application_fee_amount,
            "balance_transaction": self.balance_transaction,
            "billing_details": self.billing_details,
            "calculated_statement_descriptor": calculated_descriptor,
            "captured": self.captured,
            "created": self.created,
            "currency": self.currency.code(),
            "customer": self.customer,
            "description": self.description,
            "disputed": self.disputed,
            "failure_balance_transaction": null,
            "failure_code": failure.map(|decline| decline.code),
            "failure_message": failure.map(|decline| decline.message),
            "fraud_details": {},
            "livemode": false,
            "metadata": self.metadata,
            "on_behalf_of": self.on_behalf_of,
            "outcome": outcome,
            "paid": paid,
            "payment_intent": self.payment_intent,
            "payment_method": self.payment_method,
            "payment_method_details": details,
            "radar_options": {},
            "receipt_email": self.receipt_email,
            "receipt_number": null,
            "receipt_url": null,
            "refunded": self.is_refunded(),
            "review": null,
            "shipping": self.shipping,
            "source": null,
            "source_transfer": null,
            "statement_descriptor": self.statement_descriptor,
            "statement_descriptor_suffix": self.statement_descriptor_suffix,
            "status": status,
            "transfer_data": transfer_data,
            "transfer_group": self.transfer_group,
        })
    }
}
