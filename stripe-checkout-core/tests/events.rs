//! Every event of `events/`, read as a shop reads it.

use std::{collections::BTreeMap, fs, path::Path};

use stripe_checkout_core::webhook::{Event, Outcome, Payment};

/// The expected outcome of each file.
const EXPECTED: &[(&str, &str)] = &[
    (
        "balance.available.2026-09-30.endive.json",
        "not about a payment",
    ),
    (
        "charge.captured.2026-09-30.endive.json",
        "not about a payment",
    ),
    (
        "charge.dispute.closed.2018-07-27.json",
        "dispute closed dp_1CvRdF2eZvKYlo2Cq1w2e3r4 - 19.99 EUR charge_refunded fraudulent due 1790899199",
    ),
    (
        "charge.dispute.closed.2026-09-30.endive.json",
        "dispute closed du_1S0aDPLkdIwHu7ixJ4jIEnQA pi_3S0aBcLkdIwHu7ix1VKx9xQz 19.99 EUR lost fraudulent due 1790899199",
    ),
    (
        "charge.dispute.closed.unknown_status.json",
        "dispute closed du_1S0aDPLkdIwHu7ixJ4jIEnQA pi_3S0aBcLkdIwHu7ix1VKx9xQz 19.99 EUR a_status_of_2031 fraudulent due 1790899199",
    ),
    (
        "charge.dispute.created.2015-10-16.json",
        "dispute opened dp_16vRdF2eZvKYlo2Cq1w2e3r4 - 19.99 EUR needs_response fraudulent",
    ),
    (
        "charge.dispute.created.2026-09-30.endive.json",
        "dispute opened du_1S0aDPLkdIwHu7ixJ4jIEnQA pi_3S0aBcLkdIwHu7ix1VKx9xQz 19.99 EUR needs_response fraudulent due 1790899199",
    ),
    (
        "charge.dispute.created.inquiry.json",
        "dispute opened du_1S0aDPLkdIwHu7ixJ4jIEnQA pi_3S0aBcLkdIwHu7ix1VKx9xQz 25.00 EUR warning_needs_response not_a_reason_that_we_know",
    ),
    (
        "charge.dispute.funds_reinstated.2026-09-30.endive.json",
        "dispute FundsReinstated du_1S0aDPLkdIwHu7ixJ4jIEnQA pi_3S0aBcLkdIwHu7ix1VKx9xQz 19.99 EUR won fraudulent due 1790899199",
    ),
    (
        "charge.dispute.funds_withdrawn.2026-09-30.endive.json",
        "dispute FundsWithdrawn du_1S0aDPLkdIwHu7ixJ4jIEnQA pi_3S0aBcLkdIwHu7ix1VKx9xQz 19.99 EUR needs_response fraudulent due 1790899199",
    ),
    (
        "charge.dispute.updated.2026-09-30.endive.json",
        "dispute Updated du_1S0aDPLkdIwHu7ixJ4jIEnQA pi_3S0aBcLkdIwHu7ix1VKx9xQz 19.99 EUR under_review fraudulent due 1790899199",
    ),
    (
        "charge.failed.2026-09-30.endive.json",
        "not about a payment",
    ),
    (
        "charge.refund.updated.2015-10-16.json",
        "charge refund updated re_3S0aBcLkdIwHu7ix1Zy0aBcD - 5.00 EUR -",
    ),
    (
        "charge.refund.updated.2026-09-30.endive.json",
        "charge refund updated re_3S0aBcLkdIwHu7ix1Zy0aBcD pi_3S0aBcLkdIwHu7ix1VKx9xQz 5.00 EUR succeeded",
    ),
    (
        "charge.refunded.2015-10-16.json",
        "charge refunded ch_16vRbz2eZvKYlo2CkmaEwN2S - 19.99 USD in full",
    ),
    (
        "charge.refunded.2026-09-30.endive.json",
        "charge refunded ch_3S0aBcLkdIwHu7ix1qYkTzQ0 pi_3S0aBcLkdIwHu7ix1VKx9xQz 19.99 EUR in full",
    ),
    (
        "charge.refunded.in_part.json",
        "charge refunded ch_3S0aBcLkdIwHu7ix1qYkTzQ0 pi_3S0aBcLkdIwHu7ix1VKx9xQz 5.00 EUR in part",
    ),
    ("charge.succeeded.2015-10-16.json", "not about a payment"),
    (
        "charge.succeeded.2026-09-30.endive.json",
        "not about a payment",
    ),
    (
        "checkout.session.async_payment_failed.2026-09-30.endive.json",
        "failed pi_3S0aBcLkdIwHu7ix1VKx9xQz 19.99 EUR order 6735: - -",
    ),
    (
        "checkout.session.async_payment_succeeded.2026-09-30.endive.json",
        "succeeded pi_3S0aBcLkdIwHu7ix1VKx9xQz 19.99 EUR order 6735",
    ),
    (
        "checkout.session.completed.2026-09-30.endive.json",
        "succeeded pi_3S0aBcLkdIwHu7ix1VKx9xQz 19.99 EUR order 6735",
    ),
    (
        "checkout.session.completed.delayed.json",
        "processing pi_3S0aBcLkdIwHu7ix1VKx9xQz 19.99 EUR order 6735",
    ),
    (
        "checkout.session.completed.discounted.json",
        "succeeded pi_3S0aBcLkdIwHu7ix1VKx9xQz 22.89 EUR order 6735 for 19.99 EUR",
    ),
    (
        "checkout.session.completed.free.json",
        "free cs_test_a11YYufWQzNY63zpQ6QSNRQhkUpVph4WRmzW0zWJO2znZKdVujZ0N0S22u 0.00 EUR order 6735 for 19.99 EUR",
    ),
    (
        "checkout.session.completed.subscription.json",
        "not about a payment",
    ),
    (
        "checkout.session.expired.2026-09-30.endive.json",
        "canceled cs_test_a11YYufWQzNY63zpQ6QSNRQhkUpVph4WRmzW0zWJO2znZKdVujZ0N0S22u 19.99 EUR order 6735",
    ),
    (
        "customer.discount.deleted.without_version.json",
        "not about a payment",
    ),
    (
        "harvest.moon.rose.2031-01-01.future.json",
        "not about a payment",
    ),
    (
        "payment_intent.amount_capturable_updated.2026-09-30.endive.json",
        "capturable pi_3S0aBcLkdIwHu7ix1VKx9xQz 19.99 EUR order 6735",
    ),
    (
        "payment_intent.canceled.2026-09-30.endive.json",
        "canceled pi_3S0aBcLkdIwHu7ix1VKx9xQz 19.99 EUR order 6735",
    ),
    (
        "payment_intent.canceled.by_stripe.json",
        "canceled pi_3S0aBcLkdIwHu7ix1VKx9xQz 19.99 EUR",
    ),
    (
        "payment_intent.created.2026-09-30.endive.json",
        "not about a payment",
    ),
    (
        "payment_intent.partially_funded.2026-09-30.endive.json",
        "not about a payment",
    ),
    (
        "payment_intent.payment_failed.2018-09-24.json",
        "failed pi_3S0aBcLkdIwHu7ix1VKx9xQz 19.99 EUR order 6735: card_declined generic_decline",
    ),
    (
        "payment_intent.payment_failed.2026-09-30.endive.json",
        "failed pi_3S0aBcLkdIwHu7ix1VKx9xQz 19.99 EUR order 6735: card_declined insufficient_funds",
    ),
    (
        "payment_intent.payment_failed.3ds.json",
        "failed pi_3S0aBcLkdIwHu7ix1VKx9xQz 19.99 EUR order 6735: payment_intent_authentication_failure -",
    ),
    (
        "payment_intent.processing.2026-09-30.endive.json",
        "processing pi_3S0aBcLkdIwHu7ix1VKx9xQz 19.99 EUR order 6735",
    ),
    (
        "payment_intent.requires_action.2018-11-08.json",
        "requires action pi_3S0aBcLkdIwHu7ix1VKx9xQz 19.99 EUR order 6735",
    ),
    (
        "payment_intent.requires_action.2026-09-30.endive.json",
        "requires action pi_3S0aBcLkdIwHu7ix1VKx9xQz 19.99 EUR order 6735",
    ),
    (
        "payment_intent.succeeded.2019-02-11.json",
        "succeeded pi_3S0aBcLkdIwHu7ix1VKx9xQz 19.99 EUR order 6735",
    ),
    (
        "payment_intent.succeeded.2020-08-27.json",
        "succeeded pi_3S0aBcLkdIwHu7ix1VKx9xQz 19.99 EUR order 6735",
    ),
    (
        "payment_intent.succeeded.2022-11-15.json",
        "succeeded pi_3S0aBcLkdIwHu7ix1VKx9xQz 19.99 EUR order 6735",
    ),
    (
        "payment_intent.succeeded.2024-06-20.json",
        "succeeded pi_3S0aBcLkdIwHu7ix1VKx9xQz 12.345 KWD",
    ),
    (
        "payment_intent.succeeded.2026-09-30.endive.json",
        "succeeded pi_3S0aBcLkdIwHu7ix1VKx9xQz 19.99 EUR order 6735",
    ),
    (
        "payment_intent.succeeded.captured_in_part.json",
        "succeeded pi_3S0aBcLkdIwHu7ix1VKx9xQz 15.00 EUR order 6735",
    ),
    (
        "payment_intent.succeeded.expanded_live.json",
        "succeeded pi_3S0aBcLkdIwHu7ix1VKx9xQz 500 JPY order 6735",
    ),
    (
        "payment_intent.succeeded.unknown_currency.json",
        "succeeded pi_3S0aBcLkdIwHu7ix1VKx9xQz 1.00 XYZ order 6735",
    ),
    (
        "payment_method.attached.2026-09-30.endive.json",
        "attached pm_1S0aBcLkdIwHu7ixQm2Y0wYb of cus_T4kJ8sQh2bVxYz",
    ),
    (
        "payment_method.detached.2026-09-30.endive.json",
        "detached pm_1S0aBcLkdIwHu7ixQm2Y0wYb of cus_T4kJ8sQh2bVxYz",
    ),
    (
        "payment_method.updated.2026-09-30.endive.json",
        "not about a payment",
    ),
    (
        "refund.created.2026-09-30.endive.json",
        "refunded re_3S0aBcLkdIwHu7ix1Zy0aBcD pi_3S0aBcLkdIwHu7ix1VKx9xQz 5.00 EUR pending",
    ),
    (
        "refund.failed.2026-09-30.endive.json",
        "refunded re_3S0aBcLkdIwHu7ix1Zy0aBcD pi_3S0aBcLkdIwHu7ix1VKx9xQz 5.00 EUR failed lost_or_stolen_card",
    ),
    (
        "refund.updated.2026-09-30.endive.json",
        "refunded re_3S0aBcLkdIwHu7ix1Zy0aBcD pi_3S0aBcLkdIwHu7ix1VKx9xQz 5.00 EUR succeeded",
    ),
    (
        "setup_intent.canceled.2026-09-30.endive.json",
        "not about a payment",
    ),
    (
        "setup_intent.created.2026-09-30.endive.json",
        "not about a payment",
    ),
    (
        "setup_intent.requires_action.2026-09-30.endive.json",
        "not about a payment",
    ),
    (
        "setup_intent.setup_failed.2026-09-30.endive.json",
        "setup failed seti_1S0aEfLkdIwHu7ixnEs1Wm0X of cus_T4kJ8sQh2bVxYz: insufficient_funds",
    ),
    (
        "setup_intent.succeeded.2026-09-30.endive.json",
        "set up seti_1S0aEfLkdIwHu7ixnEs1Wm0X of cus_T4kJ8sQh2bVxYz",
    ),
    (
        "v1.billing.meter.error_report_triggered.thin.json",
        "not about a payment",
    ),
    (
        "v2.money_management.transaction.created.thin.json",
        "not about a payment",
    ),
];

/// All of Stripe's event types about payments.
const TYPES: &[&str] = &[
    "payment_intent.created",
    "payment_intent.processing",
    "payment_intent.requires_action",
    "payment_intent.amount_capturable_updated",
    "payment_intent.partially_funded",
    "payment_intent.payment_failed",
    "payment_intent.canceled",
    "payment_intent.succeeded",
    "charge.succeeded",
    "charge.failed",
    "charge.captured",
    "charge.refunded",
    "charge.refund.updated",
    "charge.dispute.created",
    "charge.dispute.updated",
    "charge.dispute.closed",
    "charge.dispute.funds_withdrawn",
    "charge.dispute.funds_reinstated",
    "refund.created",
    "refund.updated",
    "refund.failed",
    "setup_intent.created",
    "setup_intent.requires_action",
    "setup_intent.succeeded",
    "setup_intent.setup_failed",
    "setup_intent.canceled",
    "payment_method.attached",
    "payment_method.detached",
    "payment_method.updated",
    "checkout.session.completed",
    "checkout.session.async_payment_succeeded",
    "checkout.session.async_payment_failed",
    "checkout.session.expired",
];

fn events() -> BTreeMap<String, Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/events");
    let files = fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().path());
    files
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "json")
        })
        .map(|path| {
            (
                path.file_name().unwrap().to_str().unwrap().to_owned(),
                fs::read(&path).unwrap(),
            )
        })
        .collect()
}

fn event(file: &str) -> Event {
    Event::parse(events().remove(file).unwrap()).unwrap()
}

fn payment(file: &str) -> Payment {
    event(file).object().unwrap()
}

fn summary(outcome: &Outcome) -> String {
    let payment = |payment: &Payment| {
        let received = payment.amount_received();
        let amount = if received.is_zero() {
            payment.amount()
        } else {
            received
        };
        let order = payment
            .order_id()
            .map(|order| format!(" order {order}"))
            .unwrap_or_default();
        let price = payment.session().map(|session| session.subtotal());
        let price = price.filter(|price| *price != payment.amount());
        let price = price
            .map(|price| format!(" for {price}"))
            .unwrap_or_default();
        format!("{} {amount}{order}{price}", payment.id())
    };
    let or_dash = |text: Option<&str>| text.unwrap_or("-").to_owned();
    match outcome {
        Outcome::Succeeded(it) => format!("succeeded {}", payment(it)),
        Outcome::Free(it) => format!("free {}", payment(it)),
        Outcome::Processing(it) => format!("processing {}", payment(it)),
        Outcome::Canceled(it) => format!("canceled {}", payment(it)),
        Outcome::Capturable(it) => format!("capturable {}", payment(it)),
        Outcome::RequiresAction(it) => format!("requires action {}", payment(it)),
        Outcome::Failed(it, failure) => {
            format!(
                "failed {}: {} {}",
                payment(it),
                or_dash(failure.code()),
                or_dash(failure.decline_code())
            )
        }
        Outcome::Refunded(it) | Outcome::ChargeRefundUpdated(it) => {
            let news = match outcome {
                Outcome::Refunded(_) => "refunded",
                _ => "charge refund updated",
            };
            let (intent, status) = (
                or_dash(it.payment_intent()),
                or_dash(it.status().map(|status| status.as_str())),
            );
            let reason = it
                .failure_reason()
                .map(|reason| format!(" {reason}"))
                .unwrap_or_default();
            format!(
                "{news} {} {intent} {} {status}{reason}",
                it.id(),
                it.amount()
            )
        }
        Outcome::ChargeRefunded(it) => {
            let (charge, intent) = (or_dash(it.charge()), or_dash(it.payment_intent()));
            let part = if it.is_full() { "full" } else { "part" };
            format!(
                "charge refunded {charge} {intent} {} in {part}",
                it.amount_refunded()
            )
        }
        Outcome::DisputeOpened(it)
        | Outcome::DisputeUpdated(it, _)
        | Outcome::DisputeClosed(it) => {
            let news = match outcome {
                Outcome::DisputeOpened(_) => "opened".to_owned(),
                Outcome::DisputeUpdated(_, change) => format!("{change:?}"),
                _ => "closed".to_owned(),
            };
            let (intent, reason) = (or_dash(it.payment_intent()), or_dash(it.reason()));
            let due = it
                .due_by()
                .map(|due| format!(" due {due}"))
                .unwrap_or_default();
            format!(
                "dispute {news} {} {intent} {} {} {reason}{due}",
                it.id(),
                it.amount(),
                it.status()
            )
        }
        Outcome::SetupSucceeded(it) => {
            format!("set up {} of {}", it.id(), or_dash(it.customer()))
        }
        Outcome::SetupFailed(it, failure) => {
            let code = or_dash(failure.decline_code());
            format!(
                "setup failed {} of {}: {code}",
                it.id(),
                or_dash(it.customer())
            )
        }
        Outcome::PaymentMethodAttached(it) => {
            format!("attached {} of {}", it.id(), or_dash(it.customer()))
        }
        Outcome::PaymentMethodDetached(it) => {
            format!("detached {} of {}", it.id(), or_dash(it.former_customer()))
        }
        Outcome::NotAboutPayment => "not about a payment".into(),
        other => format!("{other:?}"),
    }
}

#[test]
fn every_event_is_read_as_what_it_is() {
    let read: BTreeMap<String, String> = events()
        .into_iter()
        .map(|(file, body)| {
            let event = Event::parse(body).unwrap_or_else(|error| panic!("{file}: {error:?}"));
            assert!(file.starts_with(event.event_type()), "{file}");
            (file, summary(&Outcome::of(&event)))
        })
        .collect();
    let expected = EXPECTED
        .iter()
        .map(|(file, summary)| ((*file).to_owned(), (*summary).to_owned()))
        .collect();
    assert_eq!(read, expected);
}

#[test]
fn there_is_an_event_of_every_type() {
    for event_type in TYPES {
        assert!(
            EXPECTED
                .iter()
                .any(|(file, _)| file.starts_with(&format!("{event_type}.2026"))),
            "{event_type}"
        );
    }
}

#[test]
fn the_envelope_of_today() {
    let event = event("payment_intent.succeeded.expanded_live.json");
    assert!(event.id().starts_with("evt_"));
    assert_eq!(event.event_type(), "payment_intent.succeeded");
    assert_eq!(event.created(), 1_790_000_000);
    assert!(event.livemode());
    assert_eq!(event.account(), Some("acct_1032D82eZvKYlo2C"));
    assert_eq!(event.api_version(), Some("2026-09-30.endive"));
    assert_eq!(event.request_id().as_deref(), Some("req_Kq7Xz1yvW0d5Ta"));
    assert_eq!(
        event.request_idempotency_key().as_deref(),
        Some("4f1b5c0e-8f0b-4f5e-9f07-3f5e1f2a7c11")
    );
    assert_eq!(event.object_id(), Some("pi_3S0aBcLkdIwHu7ix1VKx9xQz"));
    assert!(!event.is_thin());
    assert_eq!(event.related_object(), None);
}

#[test]
fn the_envelope_of_2015() {
    let event = event("charge.refunded.2015-10-16.json");
    assert_eq!(event.request_id().as_deref(), Some("req_7AbCdEfGhIjKlM"));
    assert_eq!(event.request_idempotency_key().as_deref(), None);
    assert_eq!(event.account(), None);
    assert_eq!(event.object_id(), Some("ch_16vRbz2eZvKYlo2CkmaEwN2S"));
    let before: serde_json::Value =
        serde_json::from_str(event.previous_attributes_json().unwrap()).unwrap();
    assert_eq!(before["amount_refunded"], 0);
}

#[test]
fn an_object_without_an_id() {
    let event = event("balance.available.2026-09-30.endive.json");
    assert_eq!(event.object_id(), None);
    assert!(event.object_json().unwrap().contains("source_types"));
    assert_eq!(event.request_id().as_deref(), None);
}

#[test]
fn thin_notifications() {
    let transaction = event("v2.money_management.transaction.created.thin.json");
    assert!(transaction.is_thin());
    assert_eq!(transaction.created(), 1_790_000_000);
    assert_eq!(
        transaction.request_id().as_deref(),
        Some("req_v2Kq7Xz1yvW0d5Ta")
    );
    assert_eq!(
        transaction.request_idempotency_key().as_deref(),
        Some("5a1d")
    );
    assert_eq!(transaction.object_json(), None);
    assert_eq!(transaction.object_id(), Some("trxn_test_65RS0gPz"));
    let related = transaction.related_object().unwrap();
    assert_eq!(related.object_type(), "v2.money_management.transaction");
    assert_eq!(
        related.url(),
        "/v2/money_management/transactions/trxn_test_65RS0gPz"
    );
    assert!(transaction.object::<Payment>().is_err());

    let meter = event("v1.billing.meter.error_report_triggered.thin.json");
    assert!(meter.livemode());
    // 2026-02-28T23:59:59Z, the last second of a February.
    assert_eq!(meter.created(), 1_772_323_199);
}

#[test]
fn a_payment_with_everything() {
    let payment = payment("payment_intent.succeeded.2026-09-30.endive.json");
    assert_eq!(payment.id(), "pi_3S0aBcLkdIwHu7ix1VKx9xQz");
    assert_eq!(payment.amount().to_string(), "19.99 EUR");
    assert!(payment.amount_capturable().is_zero());
    assert_eq!(payment.currency().code(), "eur");
    assert!(payment.status().is_final());
    assert_eq!(payment.metadata().get("checkout_application"), Some("shop"));
    assert!(!payment.livemode());
    assert_eq!(payment.created(), 1_789_999_980);
    assert!(
        payment
            .client_secret()
            .unwrap()
            .matches("pi_3S0aBcLkdIwHu7ix1VKx9xQz_secret_O2qWqTz5dHqYB4hV9rK1mZfXc")
    );
    assert_eq!(payment.latest_charge(), Some("ch_3S0aBcLkdIwHu7ix1qYkTzQ0"));
    assert_eq!(payment.receipt_email(), Some("jenny.rosen@example.com"));
    assert_eq!(payment.description(), Some("Order 6735"));
    assert_eq!(payment.customer(), None);
    assert_eq!(payment.payment_method_types(), ["card", "link"]);
    assert_eq!(payment.last_error(), None);
    assert_eq!(payment.account(), None);
    assert_eq!(payment.idempotency_key(), "pi_3S0aBcLkdIwHu7ix1VKx9xQz");
}

#[test]
fn references_are_ids_whether_expanded_or_not() {
    let Outcome::Succeeded(payment) =
        Outcome::of(&event("payment_intent.succeeded.expanded_live.json"))
    else {
        panic!()
    };
    assert_eq!(payment.customer(), Some("cus_T4kJ8sQh2bVxYz"));
    assert_eq!(payment.latest_charge(), Some("ch_3S0aBcLkdIwHu7ix1qYkTzQ0"));
    assert_eq!(payment.account(), Some("acct_1032D82eZvKYlo2C"));
    assert_eq!(
        payment.idempotency_key(),
        "acct_1032D82eZvKYlo2C/pi_3S0aBcLkdIwHu7ix1VKx9xQz"
    );
    assert!(payment.livemode());

    let Outcome::ChargeRefundUpdated(refund) =
        Outcome::of(&event("charge.refund.updated.2026-09-30.endive.json"))
    else {
        panic!()
    };
    assert_eq!(refund.charge(), Some("ch_3S0aBcLkdIwHu7ix1qYkTzQ0"));
    assert_eq!(refund.reason(), Some("requested_by_customer"));
    assert_eq!((refund.livemode(), refund.account()), (false, None));
}

#[test]
fn the_latest_charge_of_the_years_before_2022_11_15() {
    assert_eq!(
        payment("payment_intent.succeeded.2020-08-27.json").latest_charge(),
        Some("ch_3S0aBcLkdIwHu7ix1qYkTzQ0")
    );
    assert_eq!(
        payment("payment_intent.requires_action.2018-11-08.json").latest_charge(),
        None
    );
}

#[test]
fn an_outcome_names_its_payment() {
    for (file, id) in [
        (
            "payment_intent.succeeded.2026-09-30.endive.json",
            Some("pi_3S0aBcLkdIwHu7ix1VKx9xQz"),
        ),
        (
            "refund.created.2026-09-30.endive.json",
            Some("pi_3S0aBcLkdIwHu7ix1VKx9xQz"),
        ),
        (
            "charge.refunded.2026-09-30.endive.json",
            Some("pi_3S0aBcLkdIwHu7ix1VKx9xQz"),
        ),
        (
            "charge.dispute.created.2026-09-30.endive.json",
            Some("pi_3S0aBcLkdIwHu7ix1VKx9xQz"),
        ),
        ("charge.dispute.created.2015-10-16.json", None),
        ("charge.succeeded.2026-09-30.endive.json", None),
    ] {
        assert_eq!(Outcome::of(&event(file)).payment_id(), id, "{file}");
    }
}
