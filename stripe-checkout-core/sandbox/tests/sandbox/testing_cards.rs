//! Every card number and IBAN of Stripe's testing page: the sandbox simulates it as documented, or
//! refuses it and says so.

use std::time::Duration;

use serde_json::{Value, json};
use stripe_checkout_sandbox::{PUBLISHABLE_KEY, Sandbox};

use crate::http::{Answer, Client, events_of, id};

const NOT_SIMULATED: &str = "The sandbox does not simulate this card.";
const CREATED: &str = "payment_intent.created";
const PAID: [&str; 3] = [CREATED, "charge.succeeded", "payment_intent.succeeded"];
const DECLINED: [&str; 3] = [CREATED, "charge.failed", "payment_intent.payment_failed"];
/// Longer than any bank takes.
const LATER: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// The list, read without the sandbox's own code.
fn listed(name: &str) -> Vec<Value> {
    let list: Value = serde_json::from_str(include_str!("../../src/testing-cards.json")).unwrap();
    assert!(list["read"].is_string() && list["page"].is_string());
    list[name].as_array().unwrap().clone()
}

/// The cards, those that only the sandbox has among them.
fn cards() -> Vec<Value> {
    [listed("cards"), listed("cards_of_the_sandbox_alone")].concat()
}

fn text<'a>(row: &'a Value, field: &str) -> &'a str {
    row[field].as_str().unwrap_or_default()
}

struct World {
    sandbox: Sandbox,
    server: Client,
    browser: Client,
}

impl World {
    async fn start() -> Self {
        let sandbox = Sandbox::start().await.unwrap();
        sandbox.banks().settle_debits_after(LATER);
        sandbox.banks().settle_refunds_after(LATER);
        let server = Client::new(&sandbox);
        let browser = Client::anonymous(&sandbox);
        Self {
            sandbox,
            server,
            browser,
        }
    }

    /// Types a card's number into a form, as Stripe.js sends it.
    async fn type_in(&self, number: &str) -> Answer {
        let intent = self.server.create("capture_method=automatic").await;
        let cvc = if number.len() == 15 { "1234" } else { "123" };
        let body = format!(
            "key={PUBLISHABLE_KEY}&client_secret={}&return_url=https://shop.example/\
             &payment_method_data[type]=card&payment_method_data[card][number]={number}\
             &payment_method_data[card][exp_month]=12&payment_method_data[card][exp_year]=34\
             &payment_method_data[card][cvc]={cvc}",
            text(&intent, "client_secret")
        );
        let path = format!("/v1/payment_intents/{}/confirm", id(&intent));
        self.browser.post(&path, &body).await
    }

    async fn now(&self, intent: &Value) -> Value {
        let path = format!("/v1/payment_intents/{}?expand[]=latest_charge", id(intent));
        self.server.get(&path).await.json()
    }

    /// Answers the bank's challenge.
    async fn authenticate(&self, intent: &Value) {
        let body = format!(
            "client_secret={}&outcome=succeed",
            text(intent, "client_secret")
        );
        let path = format!("/sandbox/3ds/{}", id(intent));
        self.browser.post(&path, &body).await;
    }

    /// Charges a ready-made PaymentMethod while the buyer is away, saved first if asked to.
    async fn charge_off_session(&self, payment_method: &str, save: bool) -> Answer {
        let customer = self.server.post("/v1/customers", "").await.json();
        let customer = id(&customer);
        let mut payment_method = payment_method.to_owned();
        if save {
            let body = format!(
                "customer={customer}&payment_method={payment_method}&confirm=true\
                 &return_url=https://shop.example/"
            );
            let setup = self.server.post("/v1/setup_intents", &body).await.json();
            self.authenticate(&setup).await;
            payment_method = text(&setup, "payment_method").to_owned();
        } else {
            let path = format!("/v1/payment_methods/{payment_method}/attach");
            let attached = self
                .server
                .post(&path, &format!("customer={customer}"))
                .await;
            payment_method = id(&attached.json()).to_owned();
        }
        let body = format!(
            "amount=1999&currency=eur&customer={customer}&payment_method={payment_method}\
             &off_session=true&confirm=true"
        );
        self.server.post("/v1/payment_intents", &body).await
    }
}

/// Checks that an answer is the documented decline.
fn assert_declined(row: &Value, answer: &Answer) {
    let error = &answer.json()["error"];
    assert_eq!(answer.status, 402, "{row}");
    assert_eq!(
        (&error["type"], &error["code"]),
        (&json!("card_error"), &row["code"]),
        "{row}"
    );
    if !row["decline_code"].is_null() {
        assert_eq!(error["decline_code"], row["decline_code"], "{row}");
    }
}

async fn check(world: &World, row: &Value) {
    let number = text(row, "number");
    let answer = world.type_in(number).await;
    let json = answer.json();
    if row["does"].is_null() {
        let error = &json["error"];
        assert_eq!(answer.status, 402, "{row}");
        assert!(
            text(error, "message").contains(NOT_SIMULATED),
            "{row}: {error}"
        );
        return;
    }
    let intent = if answer.status == 200 {
        json.clone()
    } else {
        json["error"]["payment_intent"].clone()
    };
    let now = world.now(&intent).await;
    let charge = &now["latest_charge"];
    let expected: Vec<&str> = match text(row, "does") {
        "succeed" => PAID.to_vec(),
        "available_at_once" => {
            let booking = text(charge, "balance_transaction");
            let path = format!("/v1/balance_transactions/{booking}");
            let booking = world.server.get(&path).await.json();
            assert_eq!(booking["status"], "available", "{row}");
            PAID.to_vec()
        }
        "dispute" => {
            let path = format!("/v1/disputes?payment_intent={}", id(&now));
            let disputes = world.server.get(&path).await.json();
            assert_eq!(disputes["data"][0]["reason"], row["reason"], "{row}");
            let opened = ["charge.dispute.created", "charge.dispute.funds_withdrawn"];
            [&PAID[..], &opened].concat()
        }
        "inquiry" => [&PAID[..], &["charge.dispute.created"]].concat(),
        "refund_later" | "refund_fails" => {
            let body = format!("payment_intent={}", id(&now));
            let refund = world.server.post("/v1/refunds", &body).await.json();
            let path = format!("/v1/refunds/{}", id(&refund));
            world.sandbox.pass_time(LATER);
            let later = world.server.get(&path).await.json();
            let (first, then) = match text(row, "does") {
                "refund_later" => ("pending", "succeeded"),
                _ => ("succeeded", "failed"),
            };
            assert_eq!(
                (text(&refund, "status"), text(&later, "status")),
                (first, then),
                "{row}"
            );
            return;
        }
        "process" => vec![CREATED, "charge.pending", "payment_intent.processing"],
        "decline" | "decline_charges" => {
            assert_declined(row, &answer);
            DECLINED.to_vec()
        }
        "authenticate" => {
            assert_eq!(now["status"], "requires_action", "{row}");
            world.authenticate(&now).await;
            let after = world.now(&now).await;
            let error = &after["last_payment_error"];
            if row["code"].is_null() {
                assert_eq!(after["status"], "succeeded", "{row}");
            } else {
                assert_eq!(after["status"], "requires_payment_method", "{row}");
                assert_eq!(
                    (&error["code"], &error["decline_code"]),
                    (&row["code"], &row["decline_code"]),
                    "{row}"
                );
            }
            return;
        }
        other => panic!("{other}"),
    };
    assert_eq!(events_of(&world.server, id(&now)).await, expected, "{row}");
    let card = &charge["payment_method_details"]["card"];
    for field in ["brand", "funding", "country"] {
        assert_eq!(card[field], row[field], "{row}");
    }
}

#[tokio::test]
async fn each_number_is_simulated_as_documented_or_refused() {
    let world = World::start().await;
    let cards = cards();
    assert!(cards.len() > 140);
    for row in &cards {
        check(&world, row).await;
    }
}

#[tokio::test]
async fn each_ready_made_payment_method_is_its_card_or_refused() {
    let world = World::start().await;
    let mut asked = 0;
    for row in &cards() {
        let also = row["also"].as_array().cloned().unwrap_or_default();
        let names = row["payment_method"].as_str().into_iter();
        for name in names.chain(also.iter().filter_map(Value::as_str)) {
            asked += 1;
            let body = format!("amount=1999&currency=eur&payment_method={name}");
            let answer = world.server.post("/v1/payment_intents", &body).await;
            let json = answer.json();
            if row["does"].is_null() {
                let message = text(&json["error"], "message");
                assert_eq!(answer.status, 400, "{name}");
                assert!(message.contains(NOT_SIMULATED), "{name}: {message}");
                continue;
            }
            assert_eq!(answer.status, 200, "{name}: {json}");
            let path = format!("/v1/payment_methods/{}", text(&json, "payment_method"));
            let method = world.server.get(&path).await.json();
            let number = text(row, "number");
            assert!(
                number.ends_with(text(&method["card"], "last4")),
                "{name}: {method}"
            );
        }
    }
    assert!(asked > 100, "{asked}");
}

#[tokio::test]
async fn a_card_that_needs_authentication_is_charged_off_session_as_documented() {
    let world = World::start().await;
    for row in cards().iter().filter(|row| row["does"] == "authenticate") {
        let Some(payment_method) = row["payment_method"].as_str() else {
            continue;
        };
        for saved in [false, true] {
            let answer = world.charge_off_session(payment_method, saved).await;
            let charged = match text(row, "off_session") {
                "never" => false,
                "if_set_up" => saved,
                "always" => true,
                other => panic!("{other}"),
            };
            if !charged {
                assert_eq!(answer.error().1, "authentication_required", "{row}");
            } else if row["code"].is_null() {
                assert_eq!(
                    answer.json()["status"],
                    "succeeded",
                    "{row}, saved: {saved}"
                );
            } else {
                assert_declined(row, &answer);
            }
        }
    }
}

#[tokio::test]
async fn a_card_that_declines_charges_can_be_attached_and_the_others_cannot() {
    let world = World::start().await;
    let customer = world.server.post("/v1/customers", "").await.json();
    let declines = ["decline", "decline_charges"];
    for row in cards()
        .iter()
        .filter(|row| declines.contains(&text(row, "does")))
    {
        let path = format!("/v1/payment_methods/{}/attach", text(row, "payment_method"));
        let body = format!("customer={}", id(&customer));
        let answer = world.server.post(&path, &body).await;
        if row["does"] == "decline" {
            assert_declined(row, &answer);
        } else {
            assert_eq!(answer.status, 200, "{row}");
        }
    }
}

#[tokio::test]
async fn a_number_with_a_wrong_check_digit_is_incorrect() {
    let world = World::start().await;
    let answer = world.type_in("4242424242424241").await;
    assert_eq!(answer.status, 402);
    assert_eq!(answer.error().1, "incorrect_number");
}

#[tokio::test]
async fn each_iban_is_debited_as_documented() {
    let world = World::start().await;
    let ibans = listed("ibans");
    assert_eq!(ibans.len(), 152);
    for row in &ibans {
        let iban = text(row, "iban");
        let body = format!(
            "payment_method_types[]=sepa_debit&confirm=true&payment_method_data[type]=sepa_debit\
             &payment_method_data[sepa_debit][iban]={iban}\
             &payment_method_data[billing_details][name]=Jenny%20Rosen\
             &payment_method_data[billing_details][email]=jenny@example.com\
             &mandate_data[customer_acceptance][type]=offline"
        );
        let begun = world.server.create(&body).await;
        assert_eq!(begun["status"], "processing", "{row}");
        world.sandbox.pass_time(LATER);
        let does = text(row, "does");
        if does.ends_with("_late") {
            assert_eq!(world.now(&begun).await["status"], "processing", "{row}");
            world.sandbox.pass_time(Duration::from_secs(180));
        }
        let ended = world.now(&begun).await;
        let (status, disputed) = match does {
            "settle" | "settle_late" => ("succeeded", false),
            "dispute" => ("succeeded", true),
            "fail" | "fail_late" => ("requires_payment_method", false),
            other => panic!("{other}"),
        };
        let charge = &ended["latest_charge"];
        assert_eq!(
            (&ended["status"], &charge["disputed"]),
            (&json!(status), &json!(disputed)),
            "{row}"
        );
        if !row["code"].is_null() {
            assert_eq!(charge["failure_code"], row["code"], "{row}");
        }
        let details = &charge["payment_method_details"]["sepa_debit"];
        let bank_code = text(details, "bank_code");
        assert_eq!(details["country"], iban[..2], "{row}");
        assert!(
            !bank_code.is_empty() && iban[4..].starts_with(bank_code),
            "{row}"
        );
        assert!(iban.ends_with(text(details, "last4")), "{row}");
    }
}
