//! SEPA Direct Debit: days between the buyer's word and the money.

use std::time::Duration;

use serde_json::{Value, json};
use stripe_checkout_sandbox::{PUBLISHABLE_KEY, Sandbox, test_accounts};

use crate::http::{Answer, Client, events_of, id};

const AGREED: &str = "mandate_data[customer_acceptance][type]=online&mandate_data[customer_acceptance][online][ip_address]=203.0.113.7\
                      &mandate_data[customer_acceptance][online][user_agent]=Firefox";
const DAYS: Duration = Duration::from_secs(5 * 24 * 60 * 60);
const BEGUN: &[&str] = &[
    "payment_intent.created",
    "charge.pending",
    "payment_intent.processing",
];

async fn debit(client: &Client, account: &str) -> Value {
    let answer = client.pay(&format!("{account}&{AGREED}")).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.json()
}

async fn now(client: &Client, intent: &Value) -> Value {
    client
        .get(&format!(
            "/v1/payment_intents/{}?expand[]=latest_charge.balance_transaction",
            id(intent)
        ))
        .await
        .json()
}

/// A sandbox whose banks take days.
async fn slow() -> (Sandbox, Client) {
    let sandbox = Sandbox::start().await.unwrap();
    sandbox.banks().settle_debits_after(DAYS);
    let client = Client::new(&sandbox);
    (sandbox, client)
}

#[tokio::test]
async fn each_account_does_what_it_is_for() {
    let (sandbox, client) = slow().await;
    for account in test_accounts() {
        let begun = debit(&client, account.payment_method()).await;
        assert_eq!(begun["status"], "processing", "{}", account.iban());
        assert_eq!(
            (&begun["amount_received"], &begun["processing"]),
            (&json!(0), &json!(null))
        );
        assert_eq!(events_of(&client, id(&begun)).await, BEGUN);

        sandbox.pass_time(DAYS);
        let late = account.payment_method().contains("Delayed");
        if late {
            assert_eq!(now(&client, &begun).await["status"], "processing");
            sandbox.pass_time(Duration::from_secs(180));
        }
        let ended = now(&client, &begun).await;
        let succeeds = account.payment_method().contains("success");
        let (status, more): (&str, &[&str]) = match account.payment_method() {
            disputed if disputed.contains("disputed") => (
                "succeeded",
                &[
                    "charge.succeeded",
                    "payment_intent.succeeded",
                    "charge.dispute.created",
                    "charge.dispute.funds_withdrawn",
                    "charge.dispute.closed",
                ],
            ),
            _ if succeeds => (
                "succeeded",
                &["charge.succeeded", "payment_intent.succeeded"],
            ),
            _ => (
                "requires_payment_method",
                &["charge.failed", "payment_intent.payment_failed"],
            ),
        };
        assert_eq!(ended["status"], status, "{}", account.iban());
        assert_eq!(
            events_of(&client, id(&begun)).await,
            [BEGUN, more].concat(),
            "{}",
            account.iban()
        );
    }
}

#[tokio::test]
async fn a_debit_leaves_a_payment_with_a_mandate() {
    let (sandbox, client) = slow().await;
    let begun = debit(&client, "pm_sepaDebit_success_de").await;
    sandbox.pass_time(DAYS);
    let paid = now(&client, &begun).await;
    let charge = &paid["latest_charge"];
    assert!(id(charge).starts_with("py_"));
    assert_eq!(
        (&charge["status"], &charge["amount"]),
        (&json!("succeeded"), &json!(1999))
    );
    let details = &charge["payment_method_details"];
    assert_eq!(details["type"], "sepa_debit");
    for (field, expected) in [
        ("bank_code", "37040044"),
        ("country", "DE"),
        ("last4", "3000"),
    ] {
        assert_eq!(details["sepa_debit"][field], expected);
    }
    let booking = &charge["balance_transaction"];
    assert_eq!(
        (
            &booking["type"],
            &booking["amount"],
            &booking["fee"],
            &booking["net"]
        ),
        (&json!("payment"), &json!(1999), &json!(35), &json!(1964))
    );
    let mandate = client
        .get(&format!(
            "/v1/mandates/{}",
            details["sepa_debit"]["mandate"].as_str().unwrap()
        ))
        .await
        .json();
    assert_eq!(mandate["payment_method"], paid["payment_method"]);
    assert_eq!(
        (&mandate["type"], &mandate["single_use"], &mandate["status"]),
        (
            &json!("single_use"),
            &json!({ "amount": 1999, "currency": "eur" }),
            &json!("active")
        )
    );
    assert_eq!(
        mandate["customer_acceptance"]["online"],
        json!({ "ip_address": "203.0.113.7", "user_agent": "Firefox" })
    );
    assert_eq!(client.get("/v1/mandates/mandate_x").await.status, 404);
    let balance = sandbox.balance(id(&paid)).unwrap();
    assert_eq!(
        (balance.charged, balance.fees, balance.net),
        (1999, 35, 1964)
    );
}

#[tokio::test]
async fn a_debit_that_failed_says_why_and_can_be_tried_again() {
    let (sandbox, client) = slow().await;
    let begun = debit(&client, "pm_sepaDebit_insufficientFunds_de").await;
    sandbox.pass_time(DAYS);
    let failed = now(&client, &begun).await;
    let error = &failed["last_payment_error"];
    assert_eq!(
        (
            &error["code"],
            &error["type"],
            &error["payment_method"]["type"]
        ),
        (
            &json!("insufficient_funds"),
            &json!("invalid_request_error"),
            &json!("sepa_debit")
        )
    );
    // Only issuers of cards have one.
    assert_eq!(error.get("decline_code"), None);
    assert_eq!(
        failed["latest_charge"]["failure_code"],
        "insufficient_funds"
    );
    assert_eq!(sandbox.balance(id(&begun)).unwrap().charged, 0);
    let answer = client
        .post(
            &format!("/v1/payment_intents/{}/confirm", id(&begun)),
            "payment_method=pm_card_visa&return_url=https://shop.example/",
        )
        .await;
    assert_eq!(answer.json()["status"], "succeeded", "{}", answer.body);
}

#[tokio::test]
async fn nothing_ends_by_itself_where_the_banks_wait_to_be_told() {
    let (sandbox, client) = slow().await;
    sandbox.banks().wait_to_be_told();
    let one = debit(&client, "pm_sepaDebit_success_de").await;
    let other = debit(&client, "pm_sepaDebit_success_de").await;
    sandbox.pass_time(100 * DAYS);
    assert_eq!(now(&client, &one).await["status"], "processing");
    assert!(sandbox.settle(id(&one), true));
    assert!(sandbox.settle(id(&other), false));
    assert!(!sandbox.settle(id(&one), false), "only once");
    assert_eq!(now(&client, &one).await["status"], "succeeded");
    let failed = now(&client, &other).await;
    assert_eq!(failed["status"], "requires_payment_method");
    assert_eq!(
        failed["last_payment_error"]["code"],
        "payment_intent_payment_attempt_failed"
    );
}

#[tokio::test]
async fn what_was_settled_by_hand_is_not_settled_again() {
    let (sandbox, client) = slow().await;
    let begun = debit(&client, "pm_sepaDebit_failed_de").await;
    assert!(sandbox.settle(id(&begun), true));
    sandbox.pass_time(DAYS);
    assert_eq!(now(&client, &begun).await["status"], "succeeded");
    // Nor does the end of an old attempt end a new one.
    let begun = debit(&client, "pm_sepaDebit_failed_de").await;
    assert!(sandbox.settle(id(&begun), false));
    sandbox.pass_time(DAYS / 2);
    let answer = client
        .post(
            &format!("/v1/payment_intents/{}/confirm", id(&begun)),
            &format!(
                "payment_method=pm_sepaDebit_success_de&return_url=https://shop.example/&{AGREED}"
            ),
        )
        .await;
    assert_eq!(answer.json()["status"], "processing");
    sandbox.pass_time(DAYS / 2);
    assert_eq!(now(&client, &begun).await["status"], "processing");
    sandbox.pass_time(DAYS / 2);
    assert_eq!(now(&client, &begun).await["status"], "succeeded");
}

#[tokio::test(start_paused = true)]
async fn a_debit_settles_by_itself() {
    let sandbox = Sandbox::start().await.unwrap();
    let client = Client::new(&sandbox);
    let begun = debit(&client, "pm_sepaDebit_success_de").await;
    sandbox
        .wait_for(|sandbox| {
            sandbox
                .events()
                .iter()
                .any(|(_, event_type)| event_type == "payment_intent.succeeded")
        })
        .await;
    assert_eq!(now(&client, &begun).await["status"], "succeeded");
}

#[tokio::test]
async fn nobody_is_debited_who_did_not_agree() {
    let (sandbox, client) = slow().await;
    let answer = client.pay("pm_sepaDebit_success_de").await;
    assert_eq!(answer.status, 400);
    let message = answer.json()["error"]["message"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(message.contains("requires a mandate"), "{message}");
    for (more, param) in [
        ("mandate_data[x]=1", "mandate_data[customer_acceptance]"),
        (
            "mandate_data[customer_acceptance][type]=online",
            "mandate_data[customer_acceptance][online]",
        ),
        (
            "mandate_data[customer_acceptance][type]=online&mandate_data[customer_acceptance][online][ip_address]=::1",
            "mandate_data[customer_acceptance][online][user_agent]",
        ),
        (
            "mandate_data[customer_acceptance][type]=phone",
            "mandate_data[customer_acceptance][type]",
        ),
    ] {
        let answer = client.pay(&format!("pm_sepaDebit_success_de&{more}")).await;
        assert_eq!(
            (answer.status, &answer.json()["error"]["param"]),
            (400, &json!(param)),
            "{}",
            answer.body
        );
    }
    assert!(
        !sandbox
            .events()
            .iter()
            .any(|(_, name)| name == "charge.pending")
    );
    // One that was given for later payments too is enough for them.
    let first = debit(
        &client,
        "pm_sepaDebit_success_de&setup_future_usage=off_session",
    )
    .await;
    let again = client.pay(first["payment_method"].as_str().unwrap()).await;
    assert_eq!(again.json()["status"], "processing", "{}", again.body);
}

#[tokio::test]
async fn euros_only_and_never_captured_later() {
    let (_sandbox, client) = slow().await;
    for (body, types) in [
        ("amount=1999&currency=eur", json!(["card", "sepa_debit"])),
        ("amount=1999&currency=usd", json!(["card"])),
        (
            "amount=1999&currency=eur&capture_method=manual",
            json!(["card"]),
        ),
        (
            "amount=1999&currency=eur&payment_method_types[]=sepa_debit",
            json!(["sepa_debit"]),
        ),
        (
            "amount=1999&currency=eur&automatic_payment_methods[enabled]=false",
            json!(["card"]),
        ),
    ] {
        let intent = client.post("/v1/payment_intents", body).await.json();
        assert_eq!(intent["payment_method_types"], types, "{body}");
    }
    let intent = client.create("").await;
    let changed = client
        .post(
            &format!("/v1/payment_intents/{}", id(&intent)),
            "currency=usd",
        )
        .await
        .json();
    assert_eq!(changed["payment_method_types"], json!(["card"]));
    let answer = client
        .post(
            "/v1/payment_intents",
            "amount=1999&currency=usd&payment_method_types[]=sepa_debit",
        )
        .await;
    assert_eq!(answer.error().1, "payment_intent_invalid_parameter");
    for body in ["payment_method_types[]=card", "capture_method=manual"] {
        let answer = client
            .pay(&format!("pm_sepaDebit_success_de&{body}&{AGREED}"))
            .await;
        assert_eq!(
            answer.error().1,
            "payment_intent_incompatible_payment_method"
        );
    }
}

/// As Stripe.js sends it.
async fn typed(sandbox: &Sandbox, intent: &Value, more: &str) -> Answer {
    Client::anonymous(sandbox)
        .post(
            &format!("/v1/payment_intents/{}/confirm", id(intent)),
            &format!(
                "key={PUBLISHABLE_KEY}&client_secret={}&payment_method_data[type]=sepa_debit&{more}",
                intent["client_secret"].as_str().unwrap()
            ),
        )
        .await
}

#[tokio::test]
async fn a_buyer_types_an_iban() {
    let (sandbox, client) = slow().await;
    let intent = client.create("").await;
    let whose = "payment_method_data[billing_details][name]=Ada&payment_method_data[billing_details][email]=ada@example.com";
    for (iban, code) in [
        ("DE89+3704+0044+0532+0130+01", "invalid_bank_account_iban"),
        ("GB29NWBK60161331926819", "invalid_bank_account_iban"),
        ("", "parameter_invalid_empty"),
    ] {
        let answer = typed(
            &sandbox,
            &intent,
            &format!("{whose}&payment_method_data[sepa_debit][iban]={iban}"),
        )
        .await;
        assert_eq!(
            (answer.status, answer.error().1.as_str()),
            (400, code),
            "{iban}"
        );
        assert!(
            iban.is_empty() || !answer.body.contains(iban),
            "it is not repeated"
        );
    }
    let account = "payment_method_data[sepa_debit][iban]=de89+3704+0044+0532+0130+00";
    let answer = typed(&sandbox, &intent, account).await;
    assert_eq!(answer.json()["error"]["param"], "billing_details[name]");
    let answer = typed(&sandbox, &intent, &format!("{whose}&{account}")).await;
    assert_eq!(answer.json()["status"], "processing", "{}", answer.body);
    let method = client
        .get(&format!(
            "/v1/payment_methods/{}",
            answer.json()["payment_method"].as_str().unwrap()
        ))
        .await
        .json();
    assert_eq!(
        (
            &method["type"],
            &method["sepa_debit"]["last4"],
            &method["billing_details"]["name"]
        ),
        (&json!("sepa_debit"), &json!("3000"), &json!("Ada"))
    );
    assert_eq!(method.get("card"), None);
}
