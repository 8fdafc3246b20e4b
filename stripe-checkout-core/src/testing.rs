//! Tools for your own tests: events in Stripe's format, signed as Stripe signs them.
//!
//! ```
//! use serde_json::json;
//! use stripe_checkout_core::{Amount, Currency, WebhookSecret, testing, webhook::{Event, Outcome, Verifier}};
//!
//! let secret = WebhookSecret::new("whsec_for_tests")?;
//! let intent = testing::PaymentIntent::new("pi_1", Amount::new(1999, Currency::EUR))
//!     .status("succeeded")
//!     .metadata("order_id", "42");
//! let body = testing::event("payment_intent.succeeded", intent.object());
//! let header = testing::sign(&body, &secret, testing::now());
//!
//! Verifier::new([&secret]).verify(&body, header.as_bytes())?;
//! let outcome = Outcome::of(&Event::parse(body)?);
//! assert!(matches!(outcome, Outcome::Succeeded(payment) if payment.order_id() == Some("42")));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#[cfg(feature = "checkout")]
pub mod conformance;
mod handle;
#[cfg(feature = "unstable-inbox")]
pub mod inbox;

use std::{
    fmt::Write,
    sync::atomic::{AtomicU64, Ordering},
    time::{SystemTime, UNIX_EPOCH},
};

use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Map, Value, json};
use sha2::Sha256;

pub use handle::handle;

use crate::{amount::Amount, config::API_VERSION, secret::WebhookSecret};

/// Receives an event from a look-up at Stripe.
///
/// If the event is stored and waits for its next attempt, it runs only if that attempt is due.
///
/// # Errors
/// As [`Checkout::receive`](crate::Checkout::receive).
#[cfg(feature = "intent")]
pub async fn receive_if_due(
    checkout: &crate::Checkout,
    event: crate::webhook::Event,
) -> Result<crate::fulfillment::Received, crate::InboxError> {
    checkout.receive_if_due(event).await
}

/// The current time for a signature, in seconds since 1970.
pub fn now() -> i64 {
    let since_1970 = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    since_1970.as_secs().cast_signed()
}

/// The `Stripe-Signature` header of this body, signed at this time (seconds since 1970).
///
/// Stripe's own headers also contain a `v0`, which has no effect; so does this one.
pub fn sign(payload: &[u8], secret: &WebhookSecret, timestamp: i64) -> String {
    let mut header = format!("t={timestamp},v1=");
    // HMAC accepts a key of any length, so this never fails.
    if let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes()) {
        mac.update(format!("{timestamp}.").as_bytes());
        mac.update(payload);
        for byte in mac.finalize().into_bytes() {
            let _ = write!(header, "{byte:02x}");
        }
    }
    header + ",v0=" + &"0".repeat(64)
}

/// The body of an event of this type about this object.
///
/// Its id is unique in this process. Use [`EventBody`] to set more fields.
pub fn event(event_type: &str, object: Value) -> Vec<u8> {
    EventBody::new(event_type, object).body()
}

/// The body of an event, field by field.
#[derive(Debug, Clone)]
pub struct EventBody(Map<String, Value>);

impl EventBody {
    /// An event of this type about this object.
    ///
    /// It happens now, in the object's mode.
    pub fn new(event_type: &str, object: Value) -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(1);
        let livemode = object
            .get("livemode")
            .and_then(Value::as_bool)
            .unwrap_or_default();
        let fields = json!({
            "id": format!("evt_test_{}", COUNT.fetch_add(1, Ordering::Relaxed)),
            "object": "event",
            "account": null,
            "api_version": API_VERSION,
            "created": now(),
            "data": { "object": object },
            "livemode": livemode,
            "pending_webhooks": 1,
            "request": { "id": "req_test", "idempotency_key": null },
            "type": event_type,
        });
        Self(object_of(fields))
    }

    /// Sets the id. The same event again has the same id.
    #[must_use]
    pub fn id(self, id: &str) -> Self {
        self.with("id", id)
    }

    /// Sets the time of the event, in seconds since 1970.
    #[must_use]
    pub fn created(self, seconds: i64) -> Self {
        self.with("created", seconds)
    }

    /// Sets the connected account.
    #[must_use]
    pub fn account(self, account: &str) -> Self {
        self.with("account", account)
    }

    /// Sets any field of the envelope to any value.
    #[must_use]
    pub fn with(mut self, field: &str, value: impl Into<Value>) -> Self {
        self.0.insert(field.to_owned(), value.into());
        self
    }

    /// The bytes that Stripe would send.
    pub fn body(self) -> Vec<u8> {
        Value::Object(self.0).to_string().into_bytes()
    }
}

/// A PaymentIntent as in an event, with every field of Stripe's.
#[derive(Debug, Clone)]
pub struct PaymentIntent {
    amount: Amount,
    fields: Map<String, Value>,
}

impl PaymentIntent {
    /// A test-mode PaymentIntent that waits for a payment method.
    pub fn new(id: &str, amount: Amount) -> Self {
        let fields = json!({
            "id": id,
            "object": "payment_intent",
            "amount": amount.minor(),
            "amount_capturable": 0,
            "amount_details": { "tip": {} },
            "amount_received": 0,
            "application": null,
            "application_fee_amount": null,
            "automatic_payment_methods": { "allow_redirects": "always", "enabled": true },
            "canceled_at": null,
            "cancellation_reason": null,
            "capture_method": "automatic_async",
            "client_secret": format!("{id}_secret_test"),
            "confirmation_method": "automatic",
            "created": now(),
            "currency": amount.currency(),
            "customer": null,
            "description": null,
            "last_payment_error": null,
            "latest_charge": null,
            "livemode": false,
            "metadata": {},
            "next_action": null,
            "on_behalf_of": null,
            "payment_method": null,
            "payment_method_configuration_details": null,
            "payment_method_options": { "card": { "request_three_d_secure": "automatic" } },
            "payment_method_types": ["card"],
            "processing": null,
            "receipt_email": null,
            "review": null,
            "setup_future_usage": null,
            "shipping": null,
            "source": null,
            "statement_descriptor": null,
            "statement_descriptor_suffix": null,
            "status": "requires_payment_method",
            "transfer_data": null,
            "transfer_group": null,
        });
        Self {
            amount,
            fields: object_of(fields),
        }
    }

    /// Sets this status, and the received and capturable amounts that go with it.
    #[must_use]
    pub fn status(self, status: &str) -> Self {
        let all_if = |wanted| {
            if status == wanted {
                self.amount.minor()
            } else {
                0
            }
        };
        let (received, capturable) = (all_if("succeeded"), all_if("requires_capture"));
        self.with("status", status)
            .with("amount_received", received)
            .with("amount_capturable", capturable)
    }

    /// Adds an attempt that failed with this code and, from the issuer, this decline code.
    #[must_use]
    pub fn failed(self, code: &str, decline_code: Option<&str>) -> Self {
        let error = json!({
            "code": code,
            "decline_code": decline_code,
            "doc_url": format!("https://stripe.com/docs/error-codes/{code}"),
            "message": "Your card was declined.",
            "type": "card_error",
        });
        self.status("requires_payment_method")
            .with("last_payment_error", error)
    }

    /// Adds this metadata.
    #[must_use]
    pub fn metadata(mut self, key: &str, value: &str) -> Self {
        if let Some(Value::Object(metadata)) = self.fields.get_mut("metadata") {
            metadata.insert(key.to_owned(), value.into());
        }
        self
    }

    /// Adds the marks that this application writes when it requests a payment.
    ///
    /// They are its name, and the amount as the price.
    #[must_use]
    pub fn asked_by(self, application: &str) -> Self {
        let (minor, currency) = (self.amount.minor().to_string(), self.amount.currency());
        self.metadata("checkout_application", application)
            .metadata("checkout_amount", &minor)
            .metadata("checkout_currency", currency.code())
    }

    /// Sets live or test mode.
    #[must_use]
    pub fn livemode(self, livemode: bool) -> Self {
        self.with("livemode", livemode)
    }

    /// Sets any field to any value.
    #[must_use]
    pub fn with(mut self, field: &str, value: impl Into<Value>) -> Self {
        self.fields.insert(field.to_owned(), value.into());
        self
    }

    /// The object, for [`event`].
    pub fn object(self) -> Value {
        Value::Object(self.fields)
    }
}

/// A refund of this amount, as in an event.
pub fn refund(id: &str, payment_intent: &str, amount: Amount) -> Value {
    json!({
        "id": id,
        "object": "refund",
        "amount": amount.minor(),
        "balance_transaction": null,
        "charge": "ch_test",
        "created": now(),
        "currency": amount.currency(),
        "destination_details": { "card": { "type": "refund" }, "type": "card" },
        "metadata": {},
        "payment_intent": payment_intent,
        "reason": "requested_by_customer",
        "receipt_number": null,
        "source_transfer_reversal": null,
        "status": "succeeded",
        "transfer_reversal": null,
    })
}

/// A charge of this amount with this much refunded, as in a `charge.refunded` event.
///
/// `refunded` is in minor units.
pub fn charge_refunded(id: &str, payment_intent: &str, amount: Amount, refunded: u64) -> Value {
    json!({
        "id": id,
        "object": "charge",
        "amount": amount.minor(),
        "amount_captured": amount.minor(),
        "amount_refunded": refunded,
        "captured": true,
        "created": now(),
        "currency": amount.currency(),
        "disputed": false,
        "livemode": false,
        "metadata": {},
        "paid": true,
        "payment_intent": payment_intent,
        "refunded": refunded >= amount.minor(),
        "status": "succeeded",
    })
}

/// A dispute about this amount, as in an event.
///
/// A new dispute has the status `needs_response`.
pub fn dispute(id: &str, payment_intent: &str, amount: Amount, status: &str) -> Value {
    json!({
        "id": id,
        "object": "dispute",
        "amount": amount.minor(),
        "balance_transactions": [],
        "charge": "ch_test",
        "created": now(),
        "currency": amount.currency(),
        "enhanced_eligibility_types": [],
        "evidence": {},
        "evidence_details": {
            "due_by": now() + 7 * 86_400,
            "enhanced_eligibility": {},
            "has_evidence": false,
            "past_due": false,
            "submission_count": 0,
        },
        "is_charge_refundable": false,
        "livemode": false,
        "metadata": {},
        "payment_intent": payment_intent,
        "reason": "fraudulent",
        "status": status,
    })
}

fn object_of(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}
