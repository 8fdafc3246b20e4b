//! Every event of `events/`, delivered to a shop: which of its hooks runs, and what it is given.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};

use stripe_checkout_core::fulfillment::{Due, FulfillmentHandler, MemoryInbox, Mismatch, Received};
use stripe_checkout_core::webhook::{
    Dispute, DisputeChange, EVENT_TYPES, Event, Failure, Payment, PaymentMethod, Refund,
    SetupIntent,
};
use stripe_checkout_core::{Amount, BoxError, Checkout, Config, Currency, WebhookSecret};

const PAID: &str = "payment_intent.succeeded.2026-09-30.endive.json";

/// Which hook hears of each file, and about what. Of refunds and disputes it hears once their payment is known, so [`PAID`] comes before them. Those of old times name
/// no payment: without keys nobody can be asked for it, so they go where everything goes. Nor does this inbox, which forgets, take in what is live.
const EXPECTED: &[(&str, &[&str])] = &[
    (
        "balance.available.2026-09-30.endive.json",
        &["not taken in"],
    ),
    (
        "charge.captured.2026-09-30.endive.json",
        &["event charge.captured"],
    ),
    (
        "charge.dispute.closed.2018-07-27.json",
        &["event charge.dispute.closed"],
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
        &["event charge.dispute.created"],
    ),
    (
        "charge.dispute.created.2026-09-30.endive.json",
        &["dispute_opened du_1S0aDPLkdIwHu7ixJ4jIEnQA"],
    ),
    (
        "charge.dispute.created.inquiry.json",
        &["dispute_opened du_1S0aDPLkdIwHu7ixJ4jIEnQA"],
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
        &["event charge.failed"],
    ),
    (
        "charge.refund.updated.2015-10-16.json",
        &["event charge.refund.updated"],
    ),
    (
        "charge.refund.updated.2026-09-30.endive.json",
        &["event charge.refund.updated"],
    ),
    (
        "charge.refunded.2015-10-16.json",
        &["event charge.refunded"],
    ),
    (
        "charge.refunded.2026-09-30.endive.json",
        &["event charge.refunded"],
    ),
    ("charge.refunded.in_part.json", &["event charge.refunded"]),
    (
        "charge.succeeded.2015-10-16.json",
        &["event charge.succeeded"],
    ),
    (
        "charge.succeeded.2026-09-30.endive.json",
        &["event charge.succeeded"],
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
        &["order_free cs_test_a11YYufWQzNY63zpQ6QSNRQhkUpVph4WRmzW0zWJO2znZKdVujZ0N0S22u"],
    ),
    (
        "checkout.session.completed.subscription.json",
        &["event checkout.session.completed"],
    ),
    (
        "checkout.session.expired.2026-09-30.endive.json",
        &["payment_canceled cs_test_a11YYufWQzNY63zpQ6QSNRQhkUpVph4WRmzW0zWJO2znZKdVujZ0N0S22u"],
    ),
    (
        "customer.discount.deleted.without_version.json",
        &["event customer.discount.deleted"],
    ),
    (
        "harvest.moon.rose.2031-01-01.future.json",
        &["event harvest.moon.rose"],
    ),
    (
        "payment_intent.amount_capturable_updated.2026-09-30.endive.json",
        &["capture_required pi_3S0aBcLkdIwHu7ix1VKx9xQz"],
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
        &["event payment_intent.created"],
    ),
    (
        "payment_intent.partially_funded.2026-09-30.endive.json",
        &["event payment_intent.partially_funded"],
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
        &["payment_requires_action pi_3S0aBcLkdIwHu7ix1VKx9xQz"],
    ),
    (
        "payment_intent.requires_action.2026-09-30.endive.json",
        &["payment_requires_action pi_3S0aBcLkdIwHu7ix1VKx9xQz"],
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
        &["event payment_method.updated"],
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
        &["refunded re_3S0aBcLkdIwHu7ix1Zy0aBcD"],
    ),
    (
        "setup_intent.canceled.2026-09-30.endive.json",
        &["event setup_intent.canceled"],
    ),
    (
        "setup_intent.created.2026-09-30.endive.json",
        &["event setup_intent.created"],
    ),
    (
        "setup_intent.requires_action.2026-09-30.endive.json",
        &["event setup_intent.requires_action"],
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
        &["event v2.money_management.transaction.created"],
    ),
];

/// Writes down which hook ran, and about what.
#[derive(Clone, Default)]
struct Diary(Arc<Mutex<Vec<String>>>);

impl Diary {
    fn write(&self, hook: &str, about: impl std::fmt::Display) -> Result<(), BoxError> {
        self.0.lock().unwrap().push(format!("{hook} {about}"));
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

    async fn order_free(&self, payment: &Payment, _: &mut C) -> Result<(), BoxError> {
        self.write("order_free", payment.id())
    }

    async fn payment_processing(&self, payment: &Payment, _: &mut C) -> Result<(), BoxError> {
        self.write("payment_processing", payment.id())
    }

    async fn payment_failed(
        &self,
        payment: &Payment,
        failure: &Failure,
        _: &mut C,
    ) -> Result<(), BoxError> {
        let code = failure.decline_code().or(failure.code()).unwrap_or("-");
        self.write("payment_failed", format_args!("{} {code}", payment.id()))
    }

    async fn payment_canceled(&self, payment: &Payment, _: &mut C) -> Result<(), BoxError> {
        self.write("payment_canceled", payment.id())
    }

    async fn payment_requires_action(&self, payment: &Payment, _: &mut C) -> Result<(), BoxError> {
        self.write("payment_requires_action", payment.id())
    }

    async fn capture_required(&self, payment: &Payment, _: &mut C) -> Result<(), BoxError> {
        self.write("capture_required", payment.id())
    }

    async fn duplicate_payment(&self, payment: &Payment, _: &mut C) -> Result<(), BoxError> {
        self.write("duplicate_payment", payment.id())
    }

    async fn mismatch(&self, _: &Payment, mismatch: &Mismatch, _: &mut C) -> Result<(), BoxError> {
        self.write("mismatch", mismatch)
    }

    async fn refund_pending(&self, refund: &Refund, _: &mut C) -> Result<(), BoxError> {
        self.write("refund_pending", refund.id())
    }

    async fn refunded(&self, refund: &Refund, _: &mut C) -> Result<(), BoxError> {
        self.write("refunded", refund.id())
    }

    async fn refund_failed(&self, refund: &Refund, _: &mut C) -> Result<(), BoxError> {
        self.write("refund_failed", refund.id())
    }

    async fn refunded_before_fulfillment(
        &self,
        payment: &Payment,
        _: &mut C,
    ) -> Result<(), BoxError> {
        self.write("refunded_before_fulfillment", payment.id())
    }

    async fn dispute_opened(&self, dispute: &Dispute, _: &mut C) -> Result<(), BoxError> {
        self.write("dispute_opened", dispute.id())
    }

    async fn dispute_updated(
        &self,
        dispute: &Dispute,
        change: DisputeChange,
        _: &mut C,
    ) -> Result<(), BoxError> {
        self.write(
            "dispute_updated",
            format_args!("{} {change:?}", dispute.id()),
        )
    }

    async fn dispute_closed(&self, dispute: &Dispute, _: &mut C) -> Result<(), BoxError> {
        self.write("dispute_closed", dispute.id())
    }

    async fn setup_succeeded(&self, setup: &SetupIntent, _: &mut C) -> Result<(), BoxError> {
        self.write("setup_succeeded", setup.id())
    }

    async fn setup_failed(
        &self,
        setup: &SetupIntent,
        failure: &Failure,
        _: &mut C,
    ) -> Result<(), BoxError> {
        let code = failure.decline_code().unwrap_or("-");
        self.write("setup_failed", format_args!("{} {code}", setup.id()))
    }

    async fn payment_method_attached(
        &self,
        method: &PaymentMethod,
        _: &mut C,
    ) -> Result<(), BoxError> {
        self.write("payment_method_attached", method.id())
    }

    async fn payment_method_detached(
        &self,
        method: &PaymentMethod,
        _: &mut C,
    ) -> Result<(), BoxError> {
        self.write("payment_method_detached", method.id())
    }

    async fn event(&self, event: &Event, _: &mut C) -> Result<(), BoxError> {
        self.write("event", event.event_type())
    }
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

/// What the hooks of a shop hear of it.
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
    let received = checkout.receive(event).await.unwrap();
    let mut heard = diary.take();
    if matches!(received, Received::Failed) {
        heard.push("not taken in".to_owned());
    }
    heard
}

#[tokio::test]
async fn every_recorded_event_comes_to_its_hook() {
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
fn each_type_that_is_subscribed_to_comes_to_a_hook_of_its_own() {
    // These only say again what a refund's own events say.
    let repeat = ["charge.refund.updated", "charge.refunded"];
    for subscribed in EVENT_TYPES {
        let prefix = format!("{subscribed}.");
        let mut of_its_own = EXPECTED
            .iter()
            .filter(|(file, _)| file.starts_with(&prefix))
            .flat_map(|(_, heard)| heard.iter())
            .filter(|heard| !heard.starts_with("event "));
        assert_eq!(
            of_its_own.next().is_none(),
            repeat.contains(subscribed),
            "{subscribed}"
        );
    }
}
