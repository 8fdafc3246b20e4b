//! The PaymentMethod: <https://docs.stripe.com/api/payment_methods/object>.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::super::{
    banks::TestAccount,
    cards::{Behaviour, TestCard},
};

/// What a buyer pays with. Of its number only what Stripe shows is kept.
#[derive(Debug, Clone)]
pub(crate) struct PaymentMethod {
    pub(crate) id: String,
    pub(crate) account: Option<String>,
    pub(crate) created: i64,
    pub(crate) instrument: Instrument,
    pub(crate) billing_details: Value,
    pub(crate) metadata: BTreeMap<String, String>,
    /// Whether the buyer agreed that it is shown to him again.
    pub(crate) allow_redisplay: &'static str,
    /// The customer that it is attached to.
    pub(crate) customer: Option<String>,
    /// Whether the buyer agreed at his bank that it is charged while he is away.
    pub(crate) set_up: bool,
    /// Used or detached without a customer to keep it: nobody can use it again.
    pub(crate) spent: bool,
}

/// A card or a bank account.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Instrument {
    Card(Card),
    SepaDebit(&'static TestAccount),
}

/// A card as it was typed in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Card {
    pub(crate) test: &'static TestCard,
    pub(crate) exp_month: u64,
    pub(crate) exp_year: u64,
    pub(crate) has_cvc: bool,
}

impl PaymentMethod {
    /// `type`.
    pub(crate) fn kind(&self) -> &'static str {
        match self.instrument {
            Instrument::Card(_) => "card",
            Instrument::SepaDebit(_) => "sepa_debit",
        }
    }

    /// What a card comes to. `None` for a bank account, which is another story.
    pub(crate) fn card_behaviour(&self) -> Option<Behaviour> {
        match self.instrument {
            Instrument::Card(card) => Some(card.test.behaviour),
            Instrument::SepaDebit(_) => None,
        }
    }

    /// What a charge says about how it was paid.
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

    /// What a browser sees: nothing by which it could tell that two cards are the same.
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

/// Stripe's is the same for the same number, and so is this.
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
                "country": "US",
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

    /// Stripe's is the same for the same number, and so is this.
    pub(crate) fn fingerprint(self) -> String {
        format!("sandbox{:0>9}", self.test.last4())
    }

    fn render(self, checks: &Value) -> Value {
        json!({
                "brand": self.test.brand,
                "checks": checks,
                "country": "US",
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
