//! The PaymentMethod: <https://docs.stripe.com/api/payment_methods/object>.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::super::{
    banks::TestAccount,
    cards::{Behaviour, TestCard},
};

/// A buyer's payment method. It keeps only the part of the number that Stripe shows.
#[derive(Debug, Clone)]
pub(crate) struct PaymentMethod {
    pub(crate) id: String,
    pub(crate) account: Option<String>,
    pub(crate) created: i64,
    pub(crate) instrument: Instrument,
    pub(crate) billing_details: Value,
    pub(crate) metadata: BTreeMap<String, String>,
    /// Whether the buyer agreed that it is shown to them again.
    pub(crate) allow_redisplay: &'static str,
    /// The customer to which it is attached.
    pub(crate) customer: Option<String>,
    /// Whether the buyer agreed at their bank that it is charged while they are away.
    pub(crate) set_up: bool,
    /// Used or detached without a customer to keep it: it cannot be used again.
    pub(crate) spent: bool,
}

/// A card or a bank account.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Instrument {
    Card(Card),
    SepaDebit(&'static TestAccount),
}

/// A card as the buyer entered it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Card {
    pub(crate) test: &'static TestCard,
    pub(crate) exp_month: u64,
    pub(crate) exp_year: u64,
    pub(crate) has_cvc: bool,
}

impl PaymentMethod {
    /// Returns Stripe's `type`.
    pub(crate) fn kind(&self) -> &'static str {
        match self.instrument {
            Instrument::Card(_) => "card",
            Instrument::SepaDebit(_) => "sepa_debit",
        }
    }

    /// Returns how a card behaves. Returns `None` for a bank account, which has its own rules.
    pub(crate) fn card_behaviour(&self) -> Option<Behaviour> {
        match self.instrument {
            Instrument::Card(card) => Some(card.test.behaviour),
            Instrument::SepaDebit(_) => None,
        }
    }

    /// Returns the details of the payment method that a charge shows.
    pub(crate) fn details(&self, amount: u64, authenticated: bool, mandate: Option<&str>) -> Value {
        match self.instrument {
            Instrument::Card(card) => card.details(amount, authenticated, &self.checks(card)),
            Instrument::SepaDebit(account) => json!({
                "type": "sepa_debit",
                "sepa_debit": {
                    "bank_code": account.bank_code(),
                    "branch_code": "",
                    "country": account.country(),
                    "fingerprint": account_fingerprint(account),
                    "last4": account.last4(),
                    "mandate": mandate,
                },
            }),
        }
    }

    fn checks(&self, card: Card) -> Value {
        let cvc = match (card.has_cvc, card.test.number()) {
            (false, _) => Value::Null,
            (true, "4000000000000127") => json!("fail"),
            (true, _) => json!("pass"),
        };
        let given = |field: &str| {
            self.billing_details
                .pointer(&format!("/address/{field}"))
                .filter(|value| !value.is_null())
                .map_or(Value::Null, |_| json!("pass"))
        };
        json!({
            "address_line1_check": given("line1"),
            "address_postal_code_check": given("postal_code"),
            "cvc_check": cvc,
        })
    }

    pub(crate) fn render(&self) -> Value {
        let details = match self.instrument {
            Instrument::Card(card) => card.render(&self.checks(card)),
            Instrument::SepaDebit(account) => json!({
                "bank_code": account.bank_code(),
                "branch_code": "",
                "country": account.country(),
                "fingerprint": account_fingerprint(account),
                "generated_from": { "charge": null, "setup_attempt": null },
                "last4": account.last4(),
            }),
        };
        let kind = self.kind();
        json!({
            "id": self.id,
            "object": "payment_method",
            "allow_redisplay": self.allow_redisplay,
            "billing_details": self.billing_details,
            kind: details,
            "created": self.created,
            "customer": self.customer,
            "customer_account": null,
            "livemode": false,
            "metadata": self.metadata,
            "radar_options": {},
            "type": kind,
        })
    }

    /// Renders it for a browser, without anything that shows that two cards are the same.
    pub(crate) fn render_for_browser(&self) -> Value {
        let mut shown = self.render();
        if let Some(fields) = shown.as_object_mut() {
            fields.remove("metadata");
            fields.remove("radar_options");
            if let Some(Value::Object(details)) = fields.get_mut(self.kind()) {
                details.remove("fingerprint");
            }
        }
        shown
    }
}

/// Returns a fingerprint. As with Stripe, the same number always has the same fingerprint.
fn account_fingerprint(account: &TestAccount) -> String {
    format!("sandbox{:0>9}", account.last4())
}

impl Card {
    fn details(self, amount: u64, authenticated: bool, checks: &Value) -> Value {
        let three_d_secure = authenticated.then(|| {
            json!({
                "authentication_flow": "challenge",
                "electronic_commerce_indicator": "05",
                "exemption_indicator": null,
                "exemption_indicator_applied": false,
                "result": "authenticated",
                "result_reason": null,
                "transaction_id": "00000000-0000-4000-8000-000000000000",
                "version": "2.2.0",
            })
        });
        json!({
            "type": "card",
            "card": {
                "amount_authorized": amount,
                "authorization_code": "123456",
                "brand": self.test.brand,
                "checks": checks,
                "country": self.test.country,
                "electronic_commerce_indicator": null,
                "exp_month": self.exp_month,
                "exp_year": self.exp_year,
                "extended_authorization": { "status": "disabled" },
                "fingerprint": self.fingerprint(),
                "funding": self.test.funding,
                "incremental_authorization": { "status": "unavailable" },
                "installments": null,
                "last4": self.test.last4(),
                "mandate": null,
                "multicapture": { "status": "unavailable" },
                "network": self.test.brand,
                "network_token": { "used": false },
                "network_transaction_id": "123456789012345",
                "overcapture": { "maximum_amount_capturable": amount, "status": "unavailable" },
                "regulated_status": "unregulated",
                "three_d_secure": three_d_secure,
                "transaction_link_id": null,
                "wallet": null,
            },
        })
    }

    /// Returns a fingerprint. As with Stripe, the same number always has the same fingerprint.
    pub(crate) fn fingerprint(self) -> String {
        format!("sandbox{:0>9}", self.test.last4())
    }

    fn render(self, checks: &Value) -> Value {
        json!({
                "brand": self.test.brand,
                "checks": checks,
                "country": self.test.country,
                "display_brand": self.test.brand,
                "exp_month": self.exp_month,
                "exp_year": self.exp_year,
                "fingerprint": self.fingerprint(),
                "funding": self.test.funding,
                "generated_from": null,
                "last4": self.test.last4(),
                "networks": { "available": [self.test.brand], "preferred": null },
                "regulated_status": "unregulated",
                "three_d_secure_usage": { "supported": true },
                "wallet": null,
        })
    }
}
