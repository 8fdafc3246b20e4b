//! Events: from the body to the typed outcome, beside what `serde_json::Value` says of the same
//! JSON.

use std::hint::black_box;

use serde_json::{Map, Value};
use stripe_checkout_core::webhook::{
    CheckoutSession, Dispute, Event, Failure, Outcome, Payment, PaymentMethod, PaymentStatus,
    Refund, SessionPaymentStatus, SessionStatus, SetupIntent, SetupStatus,
};

/// Reads an event.
pub fn check(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let parsed = Event::parse(input);
    // `Value` also refuses what this crate does not look at: numbers out of range, deep nesting.
    let value: Option<Value> = serde_json::from_str(&text).ok();
    if let Some(value) = &value {
        // Without names that stand twice: of those a `Value` keeps the last.
        let canonical = value.to_string();
        let readable = Event::parse(canonical.as_str()).is_ok();
        assert_eq!(readable, is_event(value), "{canonical}");
    }
    let Ok(event) = parsed else {
        return;
    };
    assert_eq!(event.body(), text);
    let outcome = Outcome::of(&event);
    check_copies(&event, &outcome, value.as_ref());
    if let Some(Value::Object(fields)) = &value {
        check_envelope(&event, fields);
        check_outcome(&event, &outcome, fields);
    }
    read_outcome(&outcome);
}

fn text<'a>(fields: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    fields.get(name)?.as_str()
}

/// Whether this is an event, by the fields of its envelope.
fn is_event(value: &Value) -> bool {
    let Some(fields) = value.as_object() else {
        return false;
    };
    let field = |name: &str| fields.get(name).unwrap_or(&Value::Null);
    let is_named = |name: &str| text(fields, name).is_some_and(|text| !text.is_empty());
    let is_text = |name: &str| field(name).is_null() || field(name).is_string();
    let kind = match fields.get("object") {
        None => true,
        Some(kind) => matches!(kind.as_str(), Some("" | "event" | "v2.core.event")),
    };
    is_named("id")
        && is_named("type")
        && kind
        && (field("livemode").is_null() || field("livemode").is_boolean())
        && is_text("account")
        && is_text("api_version")
        && (field("data").is_null() || field("data").is_object())
}

fn check_envelope(event: &Event, fields: &Map<String, Value>) {
    assert_eq!(Some(event.id()), text(fields, "id"));
    assert_eq!(Some(event.event_type()), text(fields, "type"));
    let livemode = fields.get("livemode").and_then(Value::as_bool);
    assert_eq!(event.livemode(), livemode.unwrap_or_default());
    assert_eq!(event.api_version(), text(fields, "api_version"));
    assert_eq!(
        event.is_thin(),
        text(fields, "object") == Some("v2.core.event")
    );
    if let Some(account) = text(fields, "account").filter(|account| !account.is_empty()) {
        assert_eq!(event.account(), Some(account));
    } else if let Some(account) = event.account() {
        let context = text(fields, "context").unwrap_or_default();
        assert!(context.split('/').any(|part| part == account), "{account}");
    }
    let data = fields.get("data");
    for (found, name) in [
        (event.object_json(), "object"),
        (event.previous_attributes_json(), "previous_attributes"),
    ] {
        let found: Value = found.map_or(Value::Null, |json| {
            serde_json::from_str(json).unwrap_or_else(|error| panic!("{error}"))
        });
        let expected = data.and_then(|data| data.get(name)).cloned();
        assert_eq!(found, expected.unwrap_or_default());
    }
    if let Some(created) = fields.get("created").and_then(Value::as_i64) {
        assert_eq!(event.created(), created);
    }
    let is_absent = |name: &str| fields.get(name).is_none_or(Value::is_null);
    if is_absent("request") && is_absent("reason") {
        assert_eq!(
            (event.request_id(), event.request_idempotency_key()),
            (None, None)
        );
    } else {
        black_box((event.request_id(), event.request_idempotency_key()));
    }
    if let Some(related) = event.related_object() {
        black_box((related.id(), related.object_type(), related.url()));
    }
    black_box(event.object_id());
}

/// The stored body says the same, and no client secret.
fn check_copies(event: &Event, outcome: &Outcome, value: Option<&Value>) {
    let printed = format!("{outcome:?}");
    let again = Event::parse(event.body()).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(format!("{:?}", Outcome::of(&again)), printed);
    assert_eq!(format!("{again:?}"), format!("{event:?}"));
    let hidden = event.clone().without_client_secrets();
    let kept = hidden.body();
    let stored = Event::parse(kept).unwrap_or_else(|error| panic!("{error}: {kept}"));
    assert_eq!(
        (stored.id(), stored.account()),
        (event.id(), event.account())
    );
    assert_eq!(hidden.object_json(), stored.object_json());
    assert_eq!(stored.clone().without_client_secrets().body(), kept);
    // Stripe escapes no letter of a name.
    if let Some(value) = value.filter(|_| !event.body().contains('\\')) {
        let mut expected = value.clone();
        hide(&mut expected);
        let kept: Value = serde_json::from_str(kept).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(kept, expected);
        if !matches!(outcome, Outcome::Unreadable(_)) {
            assert_eq!(format!("{:?}", Outcome::of(&stored)), printed);
        }
    }
}

fn hide(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value {
                    Value::String(text) if name == "client_secret" => match text.len() {
                        // `null` does not fit into its place.
                        0 | 1 => text.clear(),
                        _ => *value = Value::Null,
                    },
                    value => hide(value),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(hide),
        _ => {}
    }
}

/// Money counts as paid only where the JSON says so in every place.
fn check_outcome(event: &Event, outcome: &Outcome, fields: &Map<String, Value>) {
    let empty = Map::new();
    let object = fields.get("data").and_then(|data| data.get("object"));
    let object = object.and_then(Value::as_object).unwrap_or(&empty);
    let word = |name: &str| text(object, name).unwrap_or_default();
    let number = |name: &str| object.get(name).and_then(Value::as_u64);
    let is_session = event.event_type().starts_with("checkout.session.");
    if let Some(payment) = outcome.payment() {
        assert_eq!(payment.livemode(), event.livemode());
        assert_eq!(payment.account(), event.account());
        assert_eq!(
            payment.currency().code(),
            word("currency").to_ascii_lowercase()
        );
        let (id, amount) = match is_session {
            true => (None, number("amount_total").or(Some(0))),
            false => (Some(word("id")), number("amount")),
        };
        assert!(id.is_none_or(|id| id == payment.id()));
        assert!(is_session || amount == Some(payment.amount().minor()));
        let kind = if is_session {
            "checkout.session"
        } else {
            "payment_intent"
        };
        assert_eq!(word("object"), kind);
        assert!(!payment.id().is_empty());
        let order = object
            .get("metadata")
            .and_then(|metadata| metadata.get("order_id"));
        if let Some(order) = order
            .and_then(Value::as_str)
            .filter(|order| !order.is_empty())
        {
            assert_eq!(payment.order_id(), Some(order));
        }
    }
    match outcome {
        Outcome::Succeeded(payment) if is_session => {
            assert_eq!(word("payment_status"), "paid");
            assert_ne!(word("status"), "expired");
            assert!(number("amount_total").is_some_and(|total| total > 0));
            assert_eq!(payment.status(), &PaymentStatus::Succeeded);
            assert!(
                object
                    .get("payment_intent")
                    .is_some_and(|intent| !intent.is_null())
            );
        }
        Outcome::Succeeded(payment) => {
            assert_eq!(event.event_type(), "payment_intent.succeeded");
            assert_eq!(word("status"), "succeeded");
            let received = number("amount_received").or(number("amount"));
            assert_eq!(Some(payment.amount_received().minor()), received);
            assert!(received > Some(0));
        }
        Outcome::Free(payment) => {
            assert_eq!(word("payment_status"), "no_payment_required");
            assert!(payment.amount().is_zero() && payment.amount_received().is_zero());
            assert!(
                object
                    .get("payment_intent")
                    .is_none_or(|intent| !intent.is_string() || intent == "")
            );
        }
        Outcome::Canceled(_) if is_session => assert_eq!(word("status"), "expired"),
        Outcome::Canceled(_) => assert_eq!(word("status"), "canceled"),
        Outcome::Capturable(_) => assert_eq!(word("status"), "requires_capture"),
        Outcome::Failed(payment, _) => {
            assert!(!payment.status().is_final() || *payment.status() == PaymentStatus::Canceled)
        }
        Outcome::Refunded(refund) | Outcome::ChargeRefundUpdated(refund) => {
            assert_eq!(word("object"), "refund");
            assert_eq!(
                (refund.id(), number("amount")),
                (word("id"), Some(refund.amount().minor()))
            );
        }
        Outcome::ChargeRefunded(charge) => {
            assert_eq!(word("object"), "charge");
            assert_eq!(
                number("amount_refunded"),
                Some(charge.amount_refunded().minor())
            );
        }
        Outcome::DisputeOpened(dispute)
        | Outcome::DisputeUpdated(dispute, _)
        | Outcome::DisputeClosed(dispute) => {
            assert_eq!(word("object"), "dispute");
            assert_eq!(
                (dispute.id(), number("amount")),
                (word("id"), Some(dispute.amount().minor()))
            );
        }
        Outcome::SetupSucceeded(setup) => {
            assert_eq!((setup.id(), word("status")), (word("id"), "succeeded"));
        }
        Outcome::PaymentMethodAttached(method) | Outcome::PaymentMethodDetached(method) => {
            assert_eq!(
                (method.id(), word("object")),
                (word("id"), "payment_method")
            );
        }
        _ => {}
    }
}

/// Reads everything that an outcome says.
fn read_outcome(outcome: &Outcome) {
    black_box((outcome.payment_id(), outcome.dispute()));
    if let Some(payment) = outcome.payment() {
        read_payment(payment);
    }
    match outcome {
        Outcome::Failed(_, failure) => read_failure(failure),
        Outcome::Refunded(refund) | Outcome::ChargeRefundUpdated(refund) => read_refund(refund),
        Outcome::ChargeRefunded(charge) => {
            black_box((charge.is_full(), charge.amount()));
            black_box((charge.payment_intent(), charge.charge(), charge.livemode()));
            black_box(charge.account());
        }
        Outcome::SetupSucceeded(setup) => read_setup(setup),
        Outcome::SetupFailed(setup, failure) => {
            read_setup(setup);
            read_failure(failure);
        }
        Outcome::PaymentMethodAttached(method) | Outcome::PaymentMethodDetached(method) => {
            read_method(method);
        }
        Outcome::Unreadable(error) => {
            assert!(outcome.payment_id().is_none() && !error.to_string().is_empty());
        }
        _ => {}
    }
    if let Some(dispute) = outcome.dispute() {
        read_dispute(dispute);
    }
}

fn read_payment(payment: &Payment) {
    // Of a session, the PaymentIntent says what was received: a difference is a mismatch.
    if payment.session().is_none() {
        assert_eq!(payment.amount_received().currency(), payment.currency());
        assert_eq!(payment.amount_capturable().currency(), payment.currency());
    }
    assert!(payment.idempotency_key().ends_with(payment.id()));
    let status = PaymentStatus::from(payment.status().as_str().to_owned());
    assert_eq!(
        (&status, status.to_string()),
        (payment.status(), status.to_string())
    );
    black_box((
        payment.created(),
        payment.latest_charge(),
        payment.receipt_email(),
    ));
    black_box((
        payment.description(),
        payment.customer(),
        payment.transfer_destination(),
    ));
    black_box((
        payment.on_behalf_of(),
        payment.application_fee_amount(),
        payment.application(),
    ));
    black_box((payment.saves_payment_method(), payment.captures_manually()));
    black_box((payment.capture_before(), payment.payment_method_types()));
    black_box((payment.metadata(), payment.order_id()));
    if let Some(secret) = payment.client_secret() {
        assert!(secret.matches(secret.expose()));
        assert_eq!(format!("{secret:?}"), "[redacted]");
    }
    if let Some(failure) = payment.last_error() {
        read_failure(failure);
    }
    if let Some(session) = payment.session() {
        read_session(session);
    }
}

fn read_session(session: &CheckoutSession) {
    let currency = session.total().currency();
    for amount in [
        session.subtotal(),
        session.discount(),
        session.shipping(),
        session.tax(),
    ] {
        assert_eq!(amount.currency(), currency);
    }
    let status = session.payment_status().as_str().to_owned();
    assert_eq!(
        &SessionPaymentStatus::from(status),
        session.payment_status()
    );
    if let Some(status) = session.status() {
        assert_eq!(SessionStatus::from(status.as_str().to_owned()), *status);
    }
    black_box((
        session.id(),
        session.order_id(),
        session.created(),
        session.url(),
    ));
    black_box((
        session.payment_intent(),
        session.client_secret(),
        session.email(),
    ));
    black_box((session.livemode(), session.metadata()));
}

fn read_failure(failure: &Failure) {
    let code = failure.code().map(str::to_owned);
    let decline_code = failure.decline_code().map(str::to_owned);
    let again = Failure::new(code, decline_code);
    assert_eq!(again.message_for_buyer(), failure.message_for_buyer());
    assert!(!failure.message_for_buyer().is_empty());
}

fn read_refund(refund: &Refund) {
    black_box((refund.status(), refund.reason(), refund.metadata()));
    black_box((refund.reference(), refund.failure_reason(), refund.charge()));
    black_box((refund.payment_intent(), refund.livemode(), refund.account()));
}

fn read_dispute(dispute: &Dispute) {
    black_box((
        dispute.status().is_closed(),
        dispute.reason(),
        dispute.due_by(),
    ));
    black_box((
        dispute.payment_intent(),
        dispute.charge(),
        dispute.livemode(),
    ));
    black_box(dispute.account());
}

fn read_setup(setup: &SetupIntent) {
    assert_eq!(
        SetupStatus::from(setup.status().as_str().to_owned()),
        *setup.status()
    );
    black_box((setup.customer(), setup.payment_method(), setup.usage()));
    black_box((
        setup.metadata(),
        setup.client_secret(),
        setup.livemode(),
        setup.account(),
    ));
    if let Some(failure) = setup.last_error() {
        read_failure(failure);
    }
}

fn read_method(method: &PaymentMethod) {
    black_box((method.kind(), method.customer(), method.former_customer()));
    black_box((method.livemode(), method.account()));
    if let Some(card) = method.card() {
        black_box((
            card.brand(),
            card.last4(),
            card.exp_month(),
            card.exp_year(),
        ));
    }
}
