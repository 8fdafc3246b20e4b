//! Every event of `events/`, delivered to a shop: which call its handler receives, and its content.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use stripe_checkout_core::fulfillment::{
    Due, FulfillmentHandler, MemoryInbox, PaymentEvent, Received,
};
use stripe_checkout_core::webhook::{EVENT_TYPES, Event, Failure, Payment};
use stripe_checkout_core::{Amount, BoxError, Checkout, Config, Currency, WebhookSecret};

const PAID: &str = "payment_intent.succeeded.2026-09-30.endive.json";

/// Which call comes of each file, and about what. Refunds and disputes come after the success of
/// their payment, so [`PAID`] is delivered before them. Those of old times name no payment: without
/// keys Stripe cannot be asked for it, so they are `other`. This inbox forgets, so it refuses live
/// events.
const EXPECTED: &[(&str, &[&str])] = &[
    (
        "balance.available.2026-09-30.endive.json",
        &["not taken in"],
    ),
    (
        "charge.captured.2026-09-30.endive.json",
        &["other charge.captured"],
    ),
    (
        "charge.dispute.closed.2018-07-27.json",
        &["other charge.dispute.closed"],
    ),
    (
        "charge.dispute.closed.2026-09-30.endive.json",
        &["dispute_closed du_1S0aDPLkdIwHu7ixJ4jIEnQA"],
    ),
    (
        "charge.dispute.closed.unknown_status.json",
        &["dispute_closed du_1S0aDPLkdIwHu7ixJ4jIEnQA"],
    ),
    (
        "charge.dispute.created.2015-10-16.json",
        &["other charge.dispute.created"],
    ),
    (
        "charge.dispute.created.2026-09-30.endive.json",
        &["dispute_created du_1S0aDPLkdIwHu7ixJ4jIEnQA"],
    ),
    (
        "charge.dispute.created.inquiry.json",
        &["dispute_created du_1S0aDPLkdIwHu7ixJ4jIEnQA"],
    ),
    (
        "charge.dispute.funds_reinstated.2026-09-30.endive.json",
        &["dispute_updated du_1S0aDPLkdIwHu7ixJ4jIEnQA FundsReinstated"],
    ),
    (
        "charge.dispute.funds_withdrawn.2026-09-30.endive.json",
        &["dispute_updated du_1S0aDPLkdIwHu7ixJ4jIEnQA FundsWithdrawn"],
    ),
    (
        "charge.dispute.updated.2026-09-30.endive.json",
        &["dispute_updated du_1S0aDPLkdIwHu7ixJ4jIEnQA Updated"],
    ),
    (
        "charge.failed.2026-09-30.endive.json",
        &["other charge.failed"],
    ),
    (
        "charge.refund.updated.2015-10-16.json",
        &["other charge.refund.updated"],
    ),
    (
        "charge.refund.updated.2026-09-30.endive.json",
        &["other charge.refund.updated"],
    ),
    (
        "charge.refunded.2015-10-16.json",
        &["other charge.refunded"],
    ),
    (
        "charge.refunded.2026-09-30.endive.json",
        &["other charge.refunded"],
    ),
    ("charge.refunded.in_part.json", &["other charge.refunded"]),
    (
        "charge.succeeded.2015-10-16.json",
        &["other charge.succeeded"],
    ),
    (
        "charge.succeeded.2026-09-30.endive.json",
        &["other charge.succeeded"],
    ),
    (
        "checkout.session.async_payment_failed.2026-09-30.endive.json",
        &["payment_failed pi_3S0aBcLkdIwHu7ix1VKx9xQz -"],
    ),
    (
        "checkout.session.async_payment_succeeded.2026-09-30.endive.json",
        &["payment_succeeded pi_3S0aBcLkdIwHu7ix1VKx9xQz"],
    ),
    (
        "checkout.session.completed.2026-09-30.endive.json",
        &["payment_succeeded pi_3S0aBcLkdIwHu7ix1VKx9xQz"],
    ),
    (
        "checkout.session.completed.delayed.json",
        &["payment_processing pi_3S0aBcLkdIwHu7ix1VKx9xQz"],
    ),
    (
        "checkout.session.completed.discounted.json",
        &["payment_succeeded pi_3S0aBcLkdIwHu7ix1VKx9xQz"],
    ),
    (
        "checkout.session.completed.free.json",
        &["payment_succeeded cs_test_a11YYufWQzNY63zpQ6QSNRQhkUpVph4WRmzW0zWJO2znZKdVujZ0N0S22u"],
    ),
    (
        "checkout.session.completed.subscription.json",
        &["other checkout.session.completed"],
    ),
    (
        "checkout.session.expired.2026-09-30.endive.json",
        &["payment_canceled cs_test_a11YYufWQzNY63zpQ6QSNRQhkUpVph4WRmzW0zWJO2znZKdVujZ0N0S22u"],
    ),
    (
        "customer.discount.deleted.without_version.json",
        &["other customer.discount.deleted"],
    ),
    (
        "harvest.moon.rose.2031-01-01.future.json",
        &["other harvest.moon.rose"],
    ),
    (
        "payment_intent.amount_capturable_updated.2026-09-30.endive.json",
        &["requires_capture pi_3S0aBcLkdIwHu7ix1VKx9xQz"],
    ),
    (
        "payment_intent.canceled.2026-09-30.endive.json",
        &["payment_canceled pi_3S0aBcLkdIwHu7ix1VKx9xQz"],
    ),
    (
        "payment_intent.canceled.by_stripe.json",
        &["payment_canceled pi_3S0aBcLkdIwHu7ix1VKx9xQz"],
    ),
    (
        "payment_intent.created.2026-09-30.endive.json",
        &["other payment_intent.created"],
    ),
    (
        "payment_intent.partially_funded.2026-09-30.endive.json",
        &["other payment_intent.partially_funded"],
    ),
    (
        "payment_intent.payment_failed.2018-09-24.json",
        &["payment_failed pi_3S0aBcLkdIwHu7ix1VKx9xQz generic_decline"],
    ),
    (
        "payment_intent.payment_failed.2026-09-30.endive.json",
        &["payment_failed pi_3S0aBcLkdIwHu7ix1VKx9xQz insufficient_funds"],
    ),
    (
        "payment_intent.payment_failed.3ds.json",
        &["payment_failed pi_3S0aBcLkdIwHu7ix1VKx9xQz payment_intent_authentication_failure"],
    ),
    (
        "payment_intent.processing.2026-09-30.endive.json",
        &["payment_processing pi_3S0aBcLkdIwHu7ix1VKx9xQz"],
    ),
    (
        "payment_intent.requires_action.2018-11-08.json",
        &["requires_action pi_3S0aBcLkdIwHu7ix1VKx9xQz"],
    ),
    (
        "payment_intent.requires_action.2026-09-30.endive.json",
        &["requires_action pi_3S0aBcLkdIwHu7ix1VKx9xQz"],
    ),
    (
        "payment_intent.succeeded.2019-02-11.json",
        &["payment_succeeded pi_3S0aBcLkdIwHu7ix1VKx9xQz"],
    ),
    (
        "payment_intent.succeeded.2020-08-27.json",
        &["payment_succeeded pi_3S0aBcLkdIwHu7ix1VKx9xQz"],
    ),
    (
        "payment_intent.succeeded.2022-11-15.json",
        &["payment_succeeded pi_3S0aBcLkdIwHu7ix1VKx9xQz"],
    ),
    (
        "payment_intent.succeeded.2024-06-20.json",
        &["mismatch the order costs 19.99 EUR, the payment is for 12.345 KWD"],
    ),
    (
        "payment_intent.succeeded.2026-09-30.endive.json",
        &["payment_succeeded pi_3S0aBcLkdIwHu7ix1VKx9xQz"],
    ),
    (
        "payment_intent.succeeded.captured_in_part.json",
        &["mismatch expected 19.99 EUR, received 15.00 EUR"],
    ),
    (
        "payment_intent.succeeded.expanded_live.json",
        &["not taken in"],
    ),
    (
        "payment_intent.succeeded.unknown_currency.json",
        &["mismatch the order costs 19.99 EUR, the payment is for 1.00 XYZ"],
    ),
    (
        "payment_method.attached.2026-09-30.endive.json",
        &["payment_method_attached pm_1S0aBcLkdIwHu7ixQm2Y0wYb"],
    ),
    (
        "payment_method.detached.2026-09-30.endive.json",
        &["payment_method_detached pm_1S0aBcLkdIwHu7ixQm2Y0wYb"],
    ),
    (
        "payment_method.updated.2026-09-30.endive.json",
        &["other payment_method.updated"],
    ),
    (
        "refund.created.2026-09-30.endive.json",
        &["refund_pending re_3S0aBcLkdIwHu7ix1Zy0aBcD"],
    ),
    (
        "refund.failed.2026-09-30.endive.json",
        &["refund_failed re_3S0aBcLkdIwHu7ix1Zy0aBcD"],
    ),
    (
        "refund.updated.2026-09-30.endive.json",
        &["refund_succeeded re_3S0aBcLkdIwHu7ix1Zy0aBcD"],
    ),
    (
        "setup_intent.canceled.2026-09-30.endive.json",
        &["other setup_intent.canceled"],
    ),
    (
        "setup_intent.created.2026-09-30.endive.json",
        &["other setup_intent.created"],
    ),
    (
        "setup_intent.requires_action.2026-09-30.endive.json",
        &["other setup_intent.requires_action"],
    ),
    (
        "setup_intent.setup_failed.2026-09-30.endive.json",
        &["setup_failed seti_1S0aEfLkdIwHu7ixnEs1Wm0X insufficient_funds"],
    ),
    (
        "setup_intent.succeeded.2026-09-30.endive.json",
        &["setup_succeeded seti_1S0aEfLkdIwHu7ixnEs1Wm0X"],
    ),
    (
        "v1.billing.meter.error_report_triggered.thin.json",
        &["not taken in"],
    ),
    (
        "v2.money_management.transaction.created.thin.json",
        &["other v2.money_management.transaction.created"],
    ),
];

/// Writes down which call came, and about what.
#[derive(Clone, Default)]
struct Diary(Arc<Mutex<Vec<String>>>, Arc<Mutex<Vec<SystemTime>>>);

impl Diary {
    fn write(&self, call: &str, about: impl std::fmt::Display) -> Result<(), BoxError> {
        self.0.lock().unwrap().push(format!("{call} {about}"));
        Ok(())
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl<C: Send> FulfillmentHandler<C> for Diary {
    async fn payment_succeeded(&self, payment: &Payment, _: &mut C) -> Result<(), BoxError> {
        self.write("payment_succeeded", payment.id())
    }

    async fn amount_due(&self, _: &Payment, _: &mut C) -> Result<Due, BoxError> {
        Ok(Due::Exactly(Amount::new(1999, Currency::EUR)))
    }

    async fn on_event(&self, event: &PaymentEvent<'_>, _: &mut C) -> Result<(), BoxError> {
        let name = event.as_str();
        assert_eq!(name, snake_case(&format!("{event:?}")));
        self.1.lock().unwrap().push(event.created());
        let code = |failure: &Failure| {
            let code = failure.decline_code().or(failure.code());
            code.unwrap_or("-").to_owned()
        };
        match event {
            PaymentEvent::PaymentProcessing { payment, .. }
            | PaymentEvent::PaymentCanceled { payment, .. }
            | PaymentEvent::RequiresAction { payment, .. }
            | PaymentEvent::RequiresCapture { payment, .. }
            | PaymentEvent::DuplicatePayment { payment, .. }
            | PaymentEvent::RefundedBeforeFulfillment { payment, .. } => {
                self.write(name, payment.id())
            }
            PaymentEvent::PaymentFailed {
                payment, failure, ..
            } => self.write(name, format_args!("{} {}", payment.id(), code(failure))),
            PaymentEvent::Mismatch { mismatch, .. } => self.write(name, mismatch),
            PaymentEvent::RefundPending { refund, .. }
            | PaymentEvent::RefundSucceeded { refund, .. }
            | PaymentEvent::RefundFailed { refund, .. } => self.write(name, refund.id()),
            PaymentEvent::DisputeCreated { dispute, .. }
            | PaymentEvent::DisputeClosed { dispute, .. } => self.write(name, dispute.id()),
            PaymentEvent::DisputeUpdated {
                dispute, change, ..
            } => self.write(name, format_args!("{} {change:?}", dispute.id())),
            PaymentEvent::SetupSucceeded { setup, .. } => self.write(name, setup.id()),
            PaymentEvent::SetupFailed { setup, failure, .. } => {
                self.write(name, format_args!("{} {}", setup.id(), code(failure)))
            }
            PaymentEvent::PaymentMethodAttached { method, .. }
            | PaymentEvent::PaymentMethodDetached { method, .. } => self.write(name, method.id()),
            PaymentEvent::Other { event, .. } => self.write(name, event.event_type()),
            _ => self.write(name, "is unknown"),
        }
    }
}

/// The name of the variant that stands first in this text.
fn snake_case(text: &str) -> String {
    let variant = text.split(|letter: char| !letter.is_alphanumeric()).next();
    let mut name = String::new();
    for letter in variant.unwrap().chars() {
        if letter.is_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(letter.to_ascii_lowercase());
    }
    name
}

fn recorded() -> BTreeMap<String, Event> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/events");
    let files = fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().path());
    files
        .filter(|path| path.extension().is_some_and(|ending| ending == "json"))
        .map(|path| {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (name, Event::parse(fs::read(&path).unwrap()).unwrap())
        })
        .collect()
}

/// The calls that the handler of a shop receives.
async fn heard(event: Event) -> Vec<String> {
    let diary = Diary::default();
    let secret = WebhookSecret::new("whsec_of_this_test").unwrap();
    let checkout = Checkout::builder(Config::new([secret]).unwrap())
        .application("shop")
        .fulfillment(MemoryInbox::new(), diary.clone())
        .build()
        .unwrap();
    if ["refund.", "charge."]
        .iter()
        .any(|about| event.event_type().starts_with(about))
    {
        checkout
            .receive(recorded().remove(PAID).unwrap())
            .await
            .unwrap();
        assert_eq!(diary.take().len(), 1);
    }
    let created = Duration::from_secs(event.created().unsigned_abs());
    let received = checkout.receive(event).await.unwrap();
    let mut times = diary.1.lock().unwrap().clone();
    times.retain(|time| *time != UNIX_EPOCH + created);
    assert!(times.is_empty(), "{times:?}");
    let mut heard = diary.take();
    if matches!(received, Received::Failed) {
        heard.push("not taken in".to_owned());
    }
    heard
}

#[tokio::test]
async fn every_recorded_event_comes_as_what_it_is() {
    let mut wrong = Vec::new();
    let recorded = recorded();
    let files: BTreeSet<&str> = recorded.keys().map(String::as_str).collect();
    let expected: BTreeMap<&str, &[&str]> = EXPECTED.iter().copied().collect();
    for (file, event) in recorded.clone() {
        let heard = heard(event).await;
        if expected
            .get(file.as_str())
            .is_none_or(|expected| heard != *expected)
        {
            wrong.push(format!("(\"{file}\", &{heard:?}),"));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    let known: BTreeSet<&str> = expected.into_keys().collect();
    assert_eq!(files, known);
}

#[test]
fn each_type_that_is_subscribed_to_comes_as_more_than_other() {
    // These only say again what a refund's own events say.
    let repeat = ["charge.refund.updated", "charge.refunded"];
    for subscribed in EVENT_TYPES {
        let prefix = format!("{subscribed}.");
        let mut of_its_own = EXPECTED
            .iter()
            .filter(|(file, _)| file.starts_with(&prefix))
            .flat_map(|(_, heard)| heard.iter())
            .filter(|heard| !heard.starts_with("other "));
        assert_eq!(
            of_its_own.next().is_none(),
            repeat.contains(subscribed),
            "{subscribed}"
        );
    }
}
