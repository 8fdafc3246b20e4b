//! The PaymentIntent: <https://docs.stripe.com/api/payment_intents/object>.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use stripe_checkout_core::Currency;

/// Where a payment stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    RequiresPaymentMethod,
    RequiresConfirmation,
    RequiresAction,
    Processing,
    RequiresCapture,
    Canceled,
    Succeeded,
}

impl Status {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::RequiresPaymentMethod => "requires_payment_method",
            Self::RequiresConfirmation => "requires_confirmation",
            Self::RequiresAction => "requires_action",
            Self::Processing => "processing",
            Self::RequiresCapture => "requires_capture",
            Self::Canceled => "canceled",
            Self::Succeeded => "succeeded",
        }
    }
}

/// A 3-D Secure challenge that waits for the buyer.
#[derive(Debug, Clone)]
pub(crate) struct Challenge {
    /// Names this one challenge, so that an old page cannot answer a newer one.
    pub(crate) id: String,
    /// Where the hosted page sends the buyer back to.
    pub(crate) return_url: Option<String>,
}

/// `payment_method_options`: settings for one kind of payment method.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct MethodOptions {
    /// `manual` or nothing.
    pub(crate) card_capture_method: Option<&'static str>,
    /// `none` overrides the intent's own `setup_future_usage`.
    pub(crate) card_usage: Option<&'static str>,
    pub(crate) debit_usage: Option<&'static str>,
    /// Whether a card may be captured several times: `if_available` or `never`.
    pub(crate) multicapture: Option<&'static str>,
    /// Whether more may be captured than was authorised.
    pub(crate) overcapture: Option<&'static str>,
}

/// One payment.
#[derive(Debug, Clone)]
pub(crate) struct PaymentIntent {
    pub(crate) id: String,
    pub(crate) client_secret: String,
    pub(crate) account: Option<String>,
    pub(crate) created: i64,
    pub(crate) amount: u64,
    pub(crate) amount_capturable: u64,
    pub(crate) amount_received: u64,
    pub(crate) currency: Currency,
    pub(crate) status: Status,
    /// `allow_redirects`, where the payment methods are chosen automatically.
    pub(crate) automatic: Option<&'static str>,
    pub(crate) payment_method_types: Vec<String>,
    pub(crate) capture_method: &'static str,
    pub(crate) confirmation_method: &'static str,
    pub(crate) method_options: MethodOptions,
    pub(crate) setup_future_usage: Option<&'static str>,
    pub(crate) canceled_at: Option<i64>,
    pub(crate) cancellation_reason: Option<&'static str>,
    pub(crate) metadata: BTreeMap<String, String>,
    pub(crate) description: Option<String>,
    pub(crate) receipt_email: Option<String>,
    pub(crate) statement_descriptor: Option<String>,
    pub(crate) statement_descriptor_suffix: Option<String>,
    pub(crate) customer: Option<String>,
    pub(crate) on_behalf_of: Option<String>,
    pub(crate) transfer_group: Option<String>,
    pub(crate) transfer_data: Option<Value>,
    pub(crate) application_fee_amount: Option<u64>,
    pub(crate) shipping: Option<Value>,
    /// Whether a secret key wrote the address. A publishable key cannot change it then.
    pub(crate) shipping_is_from_server: bool,
    pub(crate) payment_method: Option<String>,
    pub(crate) latest_charge: Option<String>,
    pub(crate) last_payment_error: Option<Value>,
    pub(crate) next_action: Option<Value>,
    pub(crate) challenge: Option<Challenge>,
    /// The payment method that passed 3-D Secure, where the merchant's server still has to confirm.
    pub(crate) authenticated: Option<String>,
}

/// Parameters and their values.
pub(crate) type Usages = [(&'static str, Option<&'static str>); 3];

impl PaymentIntent {
    /// Whether a payment of this kind is only authorised at first.
    pub(crate) fn captures_manually(&self, kind: &str) -> bool {
        self.capture_method == "manual"
            || (kind == "card" && self.method_options.card_capture_method == Some("manual"))
    }

    /// Whether its card may be captured several times.
    pub(crate) fn has_multicapture(&self) -> bool {
        self.method_options.multicapture == Some("if_available")
    }

    /// The most that can be captured of this authorisation. With overcapture it is a fifth more: an
    /// example, because each card network has limits of its own.
    pub(crate) fn most_to_capture(&self) -> u64 {
        match self.method_options.overcapture {
            Some("if_available") => self.amount.saturating_add(self.amount / 5),
            _ => self.amount,
        }
    }

    /// What the buyer agreed to for a payment method of this kind, beside this payment.
    pub(crate) fn usage_of(&self, kind: &str) -> Option<&'static str> {
        let own = match kind {
            "card" => self.method_options.card_usage,
            _ => self.method_options.debit_usage,
        };
        own.or(self.setup_future_usage)
            .filter(|usage| *usage != "none")
    }

    /// Each parameter that sets a usage, and what it comes to.
    pub(crate) fn usages(&self) -> Usages {
        let intent = self.setup_future_usage;
        let options = &self.method_options;
        [
            ("setup_future_usage", intent),
            (
                "payment_method_options[card][setup_future_usage]",
                options.card_usage.or(intent),
            ),
            (
                "payment_method_options[sepa_debit][setup_future_usage]",
                options.debit_usage.or(intent),
            ),
        ]
    }

    /// The whole object, as the merchant's secret key sees it.
    pub(crate) fn render(&self) -> Value {
        let automatic = self
            .automatic
            .map(|allow_redirects| json!({ "allow_redirects": allow_redirects, "enabled": true }));
        let configuration = self
            .automatic
            .map(|_| json!({ "id": "pmc_sandbox000000000000000", "parent": null }));
        // Only a card's says more.
        let by_card = self
            .latest_charge
            .as_ref()
            .is_some_and(|charge| charge.starts_with("ch_"));
        let processing =
            (self.status == Status::Processing && by_card).then(|| json!({ "type": "card" }));
        let mut options = Map::new();
        for kind in &self.payment_method_types {
            let (mut option, usage) = match kind.as_str() {
                "card" => (
                    json!({
                        "installments": null,
                        "mandate_options": null,
                        "network": null,
                        "request_three_d_secure": "automatic",
                    }),
                    self.method_options.card_usage,
                ),
                _ => (json!({}), self.method_options.debit_usage),
            };
            if let Some(fields) = option.as_object_mut() {
                if let Some(usage) = usage {
                    fields.insert("setup_future_usage".to_owned(), json!(usage));
                }
                let of_card = [
                    ("capture_method", self.method_options.card_capture_method),
                    ("request_multicapture", self.method_options.multicapture),
                    ("request_overcapture", self.method_options.overcapture),
                ];
                for (name, value) in of_card {
                    if let Some(value) = value
                        && kind == "card"
                    {
                        fields.insert(name.to_owned(), json!(value));
                    }
                }
            }
            options.insert(kind.clone(), option);
        }
        json!({
            "id": self.id,
            "object": "payment_intent",
            "allowed_payment_method_types": null,
            "amount": self.amount,
            "amount_capturable": self.amount_capturable,
            "amount_details": { "tip": {} },
            "amount_received": self.amount_received,
            "application": null,
            "application_fee_amount": self.application_fee_amount,
            "automatic_payment_methods": automatic,
            "canceled_at": self.canceled_at,
            "cancellation_reason": self.cancellation_reason,
            "capture_method": self.capture_method,
            "client_secret": self.client_secret,
            "confirmation_method": self.confirmation_method,
            "created": self.created,
            "currency": self.currency.code(),
            "customer": self.customer,
            "customer_account": null,
            "description": self.description,
            "excluded_payment_method_types": null,
            "last_payment_error": self.last_payment_error,
            "latest_charge": self.latest_charge,
            "livemode": false,
            "managed_payments": null,
            "metadata": self.metadata,
            "next_action": self.next_action,
            "on_behalf_of": self.on_behalf_of,
            "payment_method": self.payment_method,
            "payment_method_configuration_details": configuration,
            "payment_method_options": options,
            "payment_method_types": self.payment_method_types,
            "payment_record": null,
            "processing": processing,
            "receipt_email": self.receipt_email,
            "review": null,
            "setup_future_usage": self.setup_future_usage,
            "shipping": self.shipping,
            "source": null,
            "statement_descriptor": self.statement_descriptor,
            "statement_descriptor_suffix": self.statement_descriptor_suffix,
            "status": self.status.as_str(),
            "transfer_data": self.transfer_data,
            "transfer_group": self.transfer_group,
        })
    }

    /// What a browser sees: the metadata and what concerns only the merchant are not in it.
    pub(crate) fn render_for_browser(&self) -> Value {
        const SHOWN: &[&str] = &[
            "id",
            "object",
            "amount",
            "amount_details",
            "automatic_payment_methods",
            "canceled_at",
            "cancellation_reason",
            "capture_method",
            "client_secret",
            "confirmation_method",
            "created",
            "currency",
            "description",
            "last_payment_error",
            "livemode",
            "next_action",
            "payment_method",
            "payment_method_configuration_details",
            "payment_method_types",
            "processing",
            "receipt_email",
            "setup_future_usage",
            "shipping",
            "source",
            "status",
        ];
        let mut shown = self.render();
        if let Some(fields) = shown.as_object_mut() {
            fields.retain(|name, _| SHOWN.contains(&name.as_str()));
        }
        shown
    }
}
