//! The objects that a buyer saves for the next time: payment methods, and the SetupIntents that
//! save them without a payment.

use std::fmt;

use serde::Deserialize;

use super::{
    Event, Failure,
    json::{Lenient, Named, Reference, open_enum},
};
use crate::{error::EventError, metadata::Metadata, secret::ClientSecret};

open_enum! {
    /// The status of a SetupIntent. See
    /// <https://docs.stripe.com/payments/paymentintents/lifecycle?intent=setup>.
    SetupStatus {
        /// It waits for a payment method: at the beginning, and again after each failed attempt.
        RequiresPaymentMethod = "requires_payment_method" | "requires_source",
        /// It waits for its confirmation.
        RequiresConfirmation = "requires_confirmation",
        /// It waits for the buyer, for example for 3-D Secure.
        RequiresAction = "requires_action" | "requires_source_action",
        /// On its way; it may still fail.
        Processing = "processing",
        /// It was canceled. Final.
        Canceled = "canceled",
        /// The payment method is saved. Final.
        Succeeded = "succeeded",
    }
}

/// A SetupIntent: it saves a payment method without a payment. One type serves events and
/// retrievals, of any API version.
///
/// See <https://docs.stripe.com/api/setup_intents/object>.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Named<SetupObject>")]
pub struct SetupIntent {
    id: String,
    status: SetupStatus,
    customer: Option<String>,
    payment_method: Option<String>,
    usage: Option<String>,
    metadata: Metadata,
    client_secret: Option<ClientSecret>,
    last_error: Option<Failure>,
    livemode: bool,
    account: Option<String>,
}

impl SetupIntent {
    /// The SetupIntent's id, like `seti_1PIt05RqrB0raspaMlvZkFU5`.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The status. In an event: the status at the moment when Stripe made the event.
    pub fn status(&self) -> &SetupStatus {
        &self.status
    }

    /// The id of the customer whose payment method is saved, like `cus_NffrFeUfNV2Hib`.
    pub fn customer(&self) -> Option<&str> {
        self.customer.as_deref()
    }

    /// The id of the payment method, like `pm_1MqLiJLkdIwHu7ixUEgbFdYF`.
    pub fn payment_method(&self) -> Option<&str> {
        self.payment_method.as_deref()
    }

    /// The intended use: `off_session` or `on_session`.
    pub fn usage(&self) -> Option<&str> {
        self.usage.as_deref()
    }

    /// The metadata that was set when the SetupIntent was created.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// The secret with which the buyer's browser confirms the SetupIntent.
    pub fn client_secret(&self) -> Option<&ClientSecret> {
        self.client_secret.as_ref()
    }

    /// The reason why the latest attempt failed.
    pub fn last_error(&self) -> Option<&Failure> {
        self.last_error.as_ref()
    }

    /// Whether this is a real payment method.
    pub fn livemode(&self) -> bool {
        self.livemode
    }

    /// The connected account of the SetupIntent; none for your own.
    pub fn account(&self) -> Option<&str> {
        self.account.as_deref()
    }

    /// Sets the connected account of the SetupIntent.
    #[must_use]
    pub fn connected_account(mut self, account: Option<&str>) -> Self {
        self.account = account.map(str::to_owned);
        self
    }

    pub(super) fn of(event: &Event) -> Result<Self, EventError> {
        let mut this: Self = event.object()?;
        this.livemode = event.livemode();
        Ok(this.connected_account(event.account()))
    }
}

/// Shows no client secret and no personal data.
impl fmt::Debug for SetupIntent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SetupIntent")
            .field("id", &self.id)
            .field("status", &self.status)
            .field("customer", &self.customer)
            .field("payment_method", &self.payment_method)
            .field("livemode", &self.livemode)
            .field("account", &self.account)
            .finish_non_exhaustive()
    }
}

/// A payment method that a buyer has, or had, saved.
///
/// See <https://docs.stripe.com/api/payment_methods/object>.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Named<MethodObject>")]
pub struct PaymentMethod {
    id: String,
    kind: String,
    card: Option<Card>,
    customer: Option<String>,
    former_customer: Option<String>,
    livemode: bool,
    account: Option<String>,
}

impl PaymentMethod {
    /// The payment method's id, like `pm_1MqLiJLkdIwHu7ixUEgbFdYF`.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The type of the payment method, like `card` or `sepa_debit`.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// The details of the card that may be shown, if it is a card.
    pub fn card(&self) -> Option<&Card> {
        self.card.as_ref()
    }

    /// The id of the customer that has it attached, like `cus_NffrFeUfNV2Hib`.
    pub fn customer(&self) -> Option<&str> {
        self.customer.as_deref()
    }

    /// The id of the customer that had it attached before, if an event says so. It tells whose card
    /// was detached.
    pub fn former_customer(&self) -> Option<&str> {
        self.former_customer.as_deref()
    }

    /// Whether this is a real payment method.
    pub fn livemode(&self) -> bool {
        self.livemode
    }

    /// The connected account of the payment method; none for your own.
    pub fn account(&self) -> Option<&str> {
        self.account.as_deref()
    }

    /// Sets the connected account of the payment method.
    #[must_use]
    pub fn connected_account(mut self, account: Option<&str>) -> Self {
        self.account = account.map(str::to_owned);
        self
    }

    pub(super) fn of(event: &Event) -> Result<Self, EventError> {
        #[derive(Deserialize)]
        struct Previous {
            #[serde(default)]
            customer: Lenient<Reference>,
        }
        let mut this: Self = event.object()?;
        this.former_customer = event
            .previous_attributes_json()
            .and_then(|json| serde_json::from_str::<Previous>(json).ok())
            .and_then(|previous| previous.customer.id());
        this.livemode = event.livemode();
        Ok(this.connected_account(event.account()))
    }
}

/// Shows nothing of the card: a buyer's payment details must not get into logs.
impl fmt::Debug for PaymentMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PaymentMethod")
            .field("id", &self.id)
            .field("kind", &self.kind)
            .field("customer", &self.customer)
            .field("former_customer", &self.former_customer)
            .field("livemode", &self.livemode)
            .field("account", &self.account)
            .finish_non_exhaustive()
    }
}

/// The details of a saved card that may be shown.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Card {
    #[serde(default)]
    brand: String,
    #[serde(default)]
    last4: String,
    #[serde(default)]
    exp_month: u8,
    #[serde(default)]
    exp_year: u16,
}

impl Card {
    /// The brand, like `visa`, `mastercard`, `amex`.
    pub fn brand(&self) -> &str {
        &self.brand
    }

    /// The last four digits.
    pub fn last4(&self) -> &str {
        &self.last4
    }

    /// The month in which it expires, 1 to 12.
    pub fn exp_month(&self) -> u8 {
        self.exp_month
    }

    /// The year in which it expires, with four digits.
    pub fn exp_year(&self) -> u16 {
        self.exp_year
    }
}

#[derive(Deserialize)]
struct SetupObject {
    id: String,
    object: String,
    status: SetupStatus,
    #[serde(default)]
    customer: Lenient<Reference>,
    #[serde(default)]
    payment_method: Lenient<Reference>,
    #[serde(default)]
    usage: Lenient<String>,
    #[serde(default)]
    metadata: Lenient<Metadata>,
    #[serde(default)]
    client_secret: Lenient<ClientSecret>,
    #[serde(default)]
    last_setup_error: Lenient<Failure>,
    #[serde(default)]
    livemode: bool,
}

impl TryFrom<Named<SetupObject>> for SetupIntent {
    type Error = &'static str;

    fn try_from(Named(object): Named<SetupObject>) -> Result<Self, Self::Error> {
        if object.object != "setup_intent" {
            return Err("another object than a SetupIntent");
        }
        if object.id.is_empty() {
            return Err("a SetupIntent without an id");
        }
        Ok(Self {
            id: object.id,
            status: object.status,
            customer: object.customer.id(),
            payment_method: object.payment_method.id(),
            usage: object.usage.ok(),
            metadata: object.metadata.ok().unwrap_or_default(),
            client_secret: object.client_secret.ok(),
            last_error: object.last_setup_error.ok(),
            livemode: object.livemode,
            account: None,
        })
    }
}

#[derive(Deserialize)]
struct MethodObject {
    id: String,
    object: String,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    card: Lenient<Card>,
    #[serde(default)]
    customer: Lenient<Reference>,
    #[serde(default)]
    livemode: bool,
}

impl TryFrom<Named<MethodObject>> for PaymentMethod {
    type Error = &'static str;

    fn try_from(Named(object): Named<MethodObject>) -> Result<Self, Self::Error> {
        if object.object != "payment_method" {
            return Err("another object than a PaymentMethod");
        }
        if object.id.is_empty() {
            return Err("a PaymentMethod without an id");
        }
        Ok(Self {
            id: object.id,
            kind: object.kind,
            card: object.card.ok(),
            customer: object.customer.id(),
            former_customer: None,
            livemode: object.livemode,
            account: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event(object: serde_json::Value, previous: serde_json::Value) -> Event {
        let body = json!({
            "id": "evt_1", "type": "payment_method.detached", "livemode": true, "account": "acct_1",
            "data": { "object": object, "previous_attributes": previous },
        });
        Event::parse(body.to_string()).unwrap()
    }

    #[test]
    fn a_detached_card_says_whose_it_was() {
        let card = json!({
            "id": "pm_1", "object": "payment_method", "type": "card", "customer": null,
            "card": { "brand": "visa", "last4": "4242", "exp_month": 12, "exp_year": 2040, "country": "US" },
        });
        let method =
            PaymentMethod::of(&event(card.clone(), json!({ "customer": "cus_1" }))).unwrap();
        assert_eq!(
            (method.customer(), method.former_customer()),
            (None, Some("cus_1"))
        );
        assert_eq!(
            (method.livemode(), method.account()),
            (true, Some("acct_1"))
        );
        let shown = method.card().unwrap();
        assert_eq!(
            (
                shown.brand(),
                shown.last4(),
                shown.exp_month(),
                shown.exp_year()
            ),
            ("visa", "4242", 12, 2040)
        );
        assert!(!format!("{method:?}").contains("4242"));
        let method = PaymentMethod::of(&event(card, json!(null))).unwrap();
        assert_eq!(method.former_customer(), None);
    }

    #[test]
    fn a_setup_intent_keeps_its_secret() {
        let setup: SetupIntent = serde_json::from_value(json!({
            "id": "seti_1", "object": "setup_intent", "status": "requires_payment_method", "customer": { "id": "cus_1", "object": "customer" },
            "client_secret": "seti_1_secret_hidden", "metadata": null, "usage": "off_session",
            "last_setup_error": { "code": "card_declined", "decline_code": "insufficient_funds" },
        }))
        .unwrap();
        assert_eq!(setup.customer(), Some("cus_1"));
        assert_eq!(
            setup.last_error().unwrap().decline_code(),
            Some("insufficient_funds")
        );
        assert!(!format!("{setup:?}").contains("hidden"));
    }

    #[test]
    fn another_object_is_neither() {
        for object in [
            json!({ "id": "x", "object": "card", "type": "card", "status": "succeeded" }),
            json!({ "id": "", "object": "payment_method", "type": "card" }),
            json!({ "id": "", "object": "setup_intent", "status": "succeeded" }),
            json!(["pm_1", "payment_method", "card"]),
        ] {
            assert!(serde_json::from_value::<PaymentMethod>(object.clone()).is_err());
            assert!(serde_json::from_value::<SetupIntent>(object).is_err());
        }
    }
}
