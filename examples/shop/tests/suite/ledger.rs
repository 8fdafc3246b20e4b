//! The ledger records each movement of money once, and a day's figures come from it.

use super::{
    admin::session,
    common::{Open, header, open, payment, text, visit},
};
use shop::Kind::{self, *};
use stripe_checkout_core::{Amount, Currency, testing};

const TOTAL: u64 = 4550;

fn eur(minor: u64) -> Amount {
    Amount::new(minor, shop::catalogue::CURRENCY)
}

async fn kinds(open: &Open, payment: &str) -> Vec<(Kind, u64)> {
    let entries = open.store.ledger_of(payment).await.unwrap();
    let line = |entry: &shop::Entry| (entry.kind, entry.amount.minor());
    entries.iter().map(line).collect()
}

async fn deliver(open: &Open, event_type: &str, object: serde_json::Value) {
    let body = testing::event(event_type, object);
    assert_eq!(open.deliver(&body).await, 200, "{event_type}");
}

async fn back_room(open: &Open, path: Option<&str>) -> shop::Answer {
    let cookies = session(open).await;
    let visit = visit(&[("cookie", cookies.as_str())], "");
    match path {
        None => open.shop.admin(&visit).await,
        Some(day) => open.shop.day(&visit, day).await,
    }
}

#[tokio::test]
async fn a_payment_is_one_line_however_often_it_is_told() {
    let Some(open) = open().await else { return };
    let id = open.order().await;
    for _ in 0..3 {
        // Two event objects for one change, and a repetition.
        let news = payment("pi_1", &id, TOTAL).status("succeeded");
        open.tell("payment_intent.succeeded", news).await;
    }
    assert_eq!(kinds(&open, "pi_1").await, [(Taking, TOTAL)]);
}

#[tokio::test]
async fn failures_are_written_with_their_decline_code() {
    let Some(open) = open().await else { return };
    let id = open.order().await;
    for (code, decline_code) in [
        ("card_declined", Some("insufficient_funds")),
        ("card_declined", Some("insufficient_funds")),
        ("expired_card", None),
    ] {
        let news = payment("pi_1", &id, TOTAL).failed(code, decline_code);
        open.tell("payment_intent.payment_failed", news).await;
    }
    let entries = open.store.ledger_of("pi_1").await.unwrap();
    let codes: Vec<_> = entries
        .iter()
        .map(|entry| (entry.kind, entry.detail.as_deref().unwrap()))
        .collect();
    assert_eq!(
        codes,
        [
            (Failure, "insufficient_funds"),
            (Failure, "insufficient_funds"),
            (Failure, "expired_card")
        ]
    );
    let html = text(&back_room(&open, None).await);
    assert!(
        html.contains("<title>insufficient funds: 2</title>"),
        "{html}"
    );
    assert!(html.contains("<title>expired card: 1</title>"), "{html}");
}

#[tokio::test]
async fn a_refund_is_written_at_each_of_its_steps() {
    let Some(open) = open().await else { return };
    let id = open.order().await;
    let paid = payment("pi_1", &id, TOTAL).status("succeeded");
    open.tell("payment_intent.succeeded", paid).await;
    let refund = |name: &str, minor, status: &str| {
        let mut object = testing::refund(name, "pi_1", eur(minor));
        object["status"] = status.into();
        object
    };
    for (event_type, object) in [
        ("refund.created", refund("re_1", 1000, "pending")),
        ("refund.updated", refund("re_1", 1000, "succeeded")),
        ("refund.created", refund("re_2", 500, "pending")),
        ("refund.failed", refund("re_2", 500, "failed")),
        // Weeks later the card turns out to be closed.
        ("refund.failed", refund("re_1", 1000, "failed")),
    ] {
        deliver(&open, event_type, object).await;
    }
    assert_eq!(
        kinds(&open, "pi_1").await,
        [
            (Taking, TOTAL),
            (RefundPending, 1000),
            (RefundSucceeded, 1000),
            (RefundPending, 500),
            (RefundFailed, 500),
            (RefundReturned, 1000),
        ]
    );
}

#[tokio::test]
async fn a_dispute_is_written_from_the_first_word_to_the_last() {
    let Some(open) = open().await else { return };
    let id = open.order().await;
    let paid = payment("pi_1", &id, TOTAL).status("succeeded");
    open.tell("payment_intent.succeeded", paid).await;
    let dispute = |status: &str, movements: usize| {
        let mut object = testing::dispute("dp_1", "pi_1", eur(TOTAL), status);
        object["balance_transactions"] =
            vec![serde_json::json!({"object": "balance_transaction"}); movements].into();
        object
    };
    for (event_type, object) in [
        ("charge.dispute.created", dispute("needs_response", 0)),
        (
            "charge.dispute.funds_withdrawn",
            dispute("needs_response", 1),
        ),
        ("charge.dispute.updated", dispute("under_review", 1)),
        ("charge.dispute.closed", dispute("won", 1)),
        // Stripe guarantees no order of events.
        ("charge.dispute.funds_reinstated", dispute("won", 2)),
    ] {
        deliver(&open, event_type, object).await;
    }
    assert_eq!(
        kinds(&open, "pi_1").await,
        [
            (Taking, TOTAL),
            (DisputeOpened, TOTAL),
            (FundsWithdrawn, TOTAL),
            (DisputeWon, TOTAL),
            (FundsReinstated, TOTAL),
        ]
    );
    assert!(open.store.open_disputes().await.unwrap().is_empty());
}

#[tokio::test]
async fn what_is_decided_of_a_dispute_stays_decided() {
    let Some(open) = open().await else { return };
    let id = open.order().await;
    let paid = payment("pi_1", &id, TOTAL).status("succeeded");
    open.tell("payment_intent.succeeded", paid).await;
    let dispute = |status: &str, movements: usize| {
        let mut object = testing::dispute("dp_1", "pi_1", eur(TOTAL), status);
        object["balance_transactions"] =
            vec![serde_json::json!({"object": "balance_transaction"}); movements].into();
        object
    };
    deliver(
        &open,
        "charge.dispute.created",
        dispute("needs_response", 0),
    )
    .await;
    assert_eq!(open.store.open_disputes().await.unwrap().len(), 1);
    deliver(&open, "charge.dispute.closed", dispute("lost", 1)).await;
    // The status when the money moved, delivered late.
    let late = dispute("needs_response", 1);
    deliver(&open, "charge.dispute.funds_withdrawn", late).await;
    assert!(open.store.open_disputes().await.unwrap().is_empty());
    assert_eq!(
        kinds(&open, "pi_1").await.last(),
        Some(&(FundsWithdrawn, TOTAL))
    );
}

#[tokio::test]
async fn other_days_are_in_their_own_bars_and_not_in_the_days_figures() {
    let Some(open) = open().await else { return };
    let id = open.order().await;
    let paid = payment("pi_1", &id, TOTAL).status("succeeded");
    open.tell("payment_intent.succeeded", paid).await;
    for (kind, minor, days) in [
        ("taking", 100, 1),
        ("capture", 23, 1),
        ("taking", 700, 14),
        ("refund_succeeded", 300, 2),
        ("refund_failed", 11, 2),
        ("funds_withdrawn", 400, 3),
        ("dispute_opened", 400, 3),
        ("failure", 12, 1),
    ] {
        let entry = "INSERT INTO ledger (kind, payment_intent, amount, currency, created_at)
             SELECT $1, 'pi_old', $2, 'eur', created_at - $3 FROM ledger WHERE payment_intent = 'pi_1'";
        let ago = i64::from(days) * 24 * 60 * 60;
        match open.store.pool() {
            shop::Either::Sqlite(pool) => {
                let entry = sqlx::query(entry)
                    .bind(kind)
                    .bind(i64::from(minor))
                    .bind(ago);
                entry.execute(pool).await.map(drop)
            }
            shop::Either::Postgres(pool) => {
                let entry = sqlx::query(entry)
                    .bind(kind)
                    .bind(i64::from(minor))
                    .bind(ago);
                entry.execute(pool).await.map(drop)
            }
        }
        .unwrap();
    }
    let html = text(&back_room(&open, None).await);
    for part in [
        "<strong>€45.50</strong>",
        "1 payment · €1.23 the day before",
        ">0 refunds<",
        ">0 opened<",
        ": €3.00</title>",
        ": €4.00</title>",
        "None yet.",
    ] {
        assert!(html.contains(part), "{part} is missing in {html}");
    }
    assert!(!html.contains("€7.00"), "that is too long ago: {html}");
    let bars = html.matches("<rect").count();
    assert_eq!(bars, 3, "an hour, and two days: {html}");
}

#[tokio::test]
async fn money_that_is_reserved_is_no_taking_until_it_is_taken() {
    let Some(open) = open().await else { return };
    let [taken, let_go] = [open.pre_order().await, open.pre_order().await];
    let reserved = |id: &str, order: &str| {
        payment(id, order, 11_400)
            .status("requires_capture")
            .with("capture_method", "manual")
    };
    for (id, order) in [("pi_1", &taken), ("pi_2", &let_go)] {
        let event = "payment_intent.amount_capturable_updated";
        open.tell(event, reserved(id, order)).await;
        assert_eq!(open.status(order).await, "reserved");
    }
    let captured = payment("pi_1", &taken, 11_400)
        .status("succeeded")
        .with("capture_method", "manual");
    open.tell("payment_intent.succeeded", captured).await;
    let canceled = payment("pi_2", &let_go, 11_400).status("canceled");
    open.tell("payment_intent.canceled", canceled).await;
    assert_eq!(
        kinds(&open, "pi_1").await,
        [(Reserved, 11_400), (Capture, 11_400)]
    );
    assert_eq!(
        kinds(&open, "pi_2").await,
        [(Reserved, 11_400), (Released, 11_400)]
    );
    assert_eq!(open.status(&let_go).await, "canceled");
    let shipped = open.api(&let_go).await["shipments"].clone();
    assert_eq!(shipped, serde_json::json!([]));
}

#[tokio::test]
async fn an_authorisation_that_grows_is_written_by_how_much_it_grew() {
    let Some(open) = open().await else { return };
    let order = open.pre_order().await;
    let authorised = |minor| {
        payment("pi_1", &order, minor)
            .status("requires_capture")
            .with("capture_method", "manual")
    };
    for minor in [11_400, 13_000, 13_000, 12_000] {
        let event = "payment_intent.amount_capturable_updated";
        open.tell(event, authorised(minor)).await;
    }
    assert_eq!(open.status(&order).await, "reserved");
    let grown = [(Reserved, 11_400), (Reserved, 1_600)];
    assert_eq!(kinds(&open, "pi_1").await, grown);
    let canceled = payment("pi_1", &order, 13_000).status("canceled");
    open.tell("payment_intent.canceled", canceled).await;
    let last = kinds(&open, "pi_1").await[2];
    assert_eq!(last, (Released, 13_000));
}

#[tokio::test]
async fn money_that_fits_no_order_is_written_too() {
    let Some(open) = open().await else { return };
    let id = open.order().await;
    let odd = payment("pi_1", &id, 100).status("succeeded");
    open.tell("payment_intent.succeeded", odd).await;
    let twice = open.order().await;
    for intent in ["pi_2", "pi_3"] {
        let news = payment(intent, &twice, TOTAL).status("succeeded");
        open.tell("payment_intent.succeeded", news).await;
    }
    assert_eq!(kinds(&open, "pi_1").await, [(Taking, 100)]);
    assert_eq!(kinds(&open, "pi_3").await, [(Taking, TOTAL)]);
}

#[tokio::test]
async fn nobody_changes_the_ledger() {
    let Some(open) = open().await else { return };
    let id = open.order().await;
    let paid = payment("pi_1", &id, TOTAL).status("succeeded");
    open.tell("payment_intent.succeeded", paid).await;
    for change in [
        "UPDATE ledger SET amount = 1",
        "DELETE FROM ledger WHERE payment_intent = 'pi_1'",
    ] {
        let refused = match open.store.pool() {
            shop::Either::Sqlite(pool) => sqlx::query(change).execute(pool).await.map(drop),
            shop::Either::Postgres(pool) => sqlx::query(change).execute(pool).await.map(drop),
        };
        let error = refused.expect_err(change).to_string();
        assert!(error.contains("the ledger is only added to"), "{error}");
    }
    assert_eq!(kinds(&open, "pi_1").await, [(Taking, TOTAL)]);
}

#[tokio::test]
async fn an_empty_day_is_told_in_words() {
    let Some(open) = open().await else { return };
    let html = text(&back_room(&open, None).await);
    for part in [
        "How the day goes",
        "<strong>€0.00</strong>",
        "0 payments · €0.00 the day before",
        "Nothing yet.",
        "Nothing in 14 days.",
        "None yet.",
    ] {
        assert!(html.contains(part), "{part} is missing in {html}");
    }
    assert!(!html.contains("<rect"), "no bar");
    assert!(!html.contains("As a table"), "no empty table");
}

#[tokio::test]
async fn currencies_are_kept_apart() {
    let Some(open) = open().await else { return };
    let id = open.order().await;
    let paid = payment("pi_1", &id, TOTAL).status("succeeded");
    open.tell("payment_intent.succeeded", paid).await;
    // An order from the time when the shop sold in dollars. None of its amounts may be added to
    // euros.
    let id = open.order().await;
    let change = "UPDATE orders SET currency = 'usd', amount = 999 WHERE id = $1";
    match open.store.pool() {
        shop::Either::Sqlite(pool) => sqlx::query(change).bind(&id).execute(pool).await.map(drop),
        shop::Either::Postgres(pool) => sqlx::query(change).bind(&id).execute(pool).await.map(drop),
    }
    .unwrap();
    let paid = testing::PaymentIntent::new("pi_2", Amount::new(999, Currency::USD))
        .metadata("order_id", &id)
        .metadata("checkout_application", "crab-and-kettle")
        .status("succeeded");
    open.tell("payment_intent.succeeded", paid).await;
    let html = text(&back_room(&open, None).await);
    let mut from = 0;
    for part in [
        "<h3>EUR</h3>",
        "<strong>€45.50</strong>",
        "1 payment · €0.00 the day before",
        "<h3>USD</h3>",
        "<strong>$9.99</strong>",
        "<h3>All currencies</h3>",
        "by decline code",
    ] {
        let at = html[from..].find(part);
        from += at.unwrap_or_else(|| panic!("{part} is missing, or too early, in {html}"));
    }
}

#[tokio::test]
async fn every_chart_has_its_words_and_a_table_behind_it() {
    let Some(open) = open().await else { return };
    let id = open.order().await;
    let failed = payment("pi_1", &id, TOTAL).failed("card_declined", Some("<b>odd</b>"));
    open.tell("payment_intent.payment_failed", failed).await;
    let paid = payment("pi_1", &id, TOTAL).status("succeeded");
    open.tell("payment_intent.succeeded", paid).await;
    let refund = testing::refund("re_1", "pi_1", eur(550));
    deliver(&open, "refund.created", refund).await;
    let page = back_room(&open, None).await;
    let policy = header(&page, "content-security-policy");
    assert!(!policy.contains("unsafe") && policy.contains("style-src 'self'"));
    let html = text(&page);
    for inline in [" style=", "<style", "<script", "onload"] {
        assert!(!html.contains(inline), "{inline} in {html}");
    }
    assert!(!html.contains("<b>odd"), "a decline code is text: {html}");
    let drawings: Vec<&str> = html.split("<figure").skip(1).collect();
    assert_eq!(drawings.len(), 4);
    for drawing in drawings {
        let (figure, _) = drawing.split_once("</figure>").unwrap();
        assert!(
            figure.contains(r#"role="img" aria-labelledby=""#),
            "{figure}"
        );
        assert!(figure.contains("<desc id="), "{figure}");
        let bars = figure.matches("<rect").count();
        let rows = figure.matches("<tr><th scope=\"row\">").count();
        assert_eq!(bars, rows, "a row for each bar: {figure}");
    }
    for part in ["€45.50</title>", "€5.50</title>", "1 refund"] {
        assert!(html.contains(part), "{part} is missing in {html}");
    }
}

#[tokio::test]
async fn a_day_has_a_page_of_its_own() {
    let Some(open) = open().await else { return };
    let page = back_room(&open, Some("2020-02-29")).await;
    let html = text(&page);
    assert_eq!(page.status, 200);
    for part in [
        "29 February 2020",
        "/admin/days/2020-02-28",
        "/admin/days/2020-03-01",
        "Nothing on that day.",
    ] {
        assert!(html.contains(part), "{part} is missing in {html}");
    }
    for day in ["2020-02-30", "yesterday", "9999-12-31", ""] {
        assert_eq!(back_room(&open, Some(day)).await.status, 404, "{day}");
    }
    let stranger = open.shop.day(&visit(&[], ""), "2020-02-29").await;
    assert_eq!(
        (stranger.status, header(&stranger, "location")),
        (303, "/admin/login")
    );
}
