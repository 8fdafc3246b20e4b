//! The Token of a card: <https://docs.stripe.com/api/tokens/object>.

use serde_json::{Value, json};

use super::payment_method::Card;

/// A card that can become one PaymentMethod.
#[derive(Debug, Clone)]
pub(crate) struct Token {
    pub(crate) id: String,
    pub(crate) account: Option<String>,
    pub(crate) created: i64,
    /// The id of the card inside the token.
    pub(crate) card_id: String,
    pub(crate) card: Card,
    /// The buyer's name and address, as `billing_details` has them.
    pub(crate) billing_details: Value,
    pub(crate) used: bool,
}

impl Token {
    /// The whole object, as the merchant's secret key sees it.
    pub(crate) fn render(&self) -> Value {
        let address = |field: &str| {
            self.billing_details
                .pointer(&format!("/address/{field}"))
                .cloned()
                .unwrap_or(Value::Null)
        };
        let check = |field: &str| (!address(field).is_null()).then_some("unchecked");
        json!({
            "id": self.id,
            "object": "token",
            "card": {
                "id": self.card_id,
                "object": "card",
                "address_city": address("city"),
                "address_country": address("country"),
                "address_line1": address("line1"),
                "address_line1_check": check("line1"),
                "address_line2": address("line2"),
                "address_state": address("state"),
                "address_zip": address("postal_code"),
                "address_zip_check": check("postal_code"),
                "brand": brand(self.card.test.brand),
                "country": "US",
                "cvc_check": self.card.has_cvc.then_some("unchecked"),
                "dynamic_last4": null,
                "exp_month": self.card.exp_month,
                "exp_year": self.card.exp_year,
                "fingerprint": self.card.fingerprint(),
                "funding": self.card.test.funding,
                "last4": self.card.test.last4(),
                "metadata": {},
                "name": self.billing_details.get("name"),
                "networks": { "preferred": null },
                "regulated_status": "unregulated",
                "tokenization_method": null,
                "wallet": null,
            },
            "client_ip": "127.0.0.1",
            "created": self.created,
            "livemode": false,
            "type": "card",
            "used": self.used,
        })
    }

    /// A browser does not see the fingerprint, which would tell it that two cards are the same.
    pub(crate) fn render_for_browser(&self) -> Value {
        let mut shown = self.render();
        if let Some(Value::Object(card)) = shown.get_mut("card") {
            card.remove("fingerprint");
        }
        shown
    }
}

/// Cards have longer names here than in a PaymentMethod.
fn brand(brand: &'static str) -> &'static str {
    match brand {
        "amex" => "American Express",
        "cartes_bancaires" => "Cartes Bancaires",
        "diners" => "Diners Club",
        "discover" => "Discover",
        "jcb" => "JCB",
        "mastercard" => "MasterCard",
        "unionpay" => "UnionPay",
        "visa" => "Visa",
        other => other,
    }
}
