//! Refunds that take their time, and refunds that come back.

use std::time::Duration;

use serde_json::{Value, json};
use stripe_checkout_sandbox::Sandbox;

use crate::http::{Client, events_of, id};

const A_WHILE: Duration = Duration::from_secs(3600);

async fn slow() -> (Sandbox, Client) {
    let sandbox = Sandbox::start().await.unwrap();
    sandbox.banks().settle_refunds_after(A_WHILE);
    let client = Client::new(&sandbox);
    (sandbox, client)
}

async fn refund(client: &Client, intent: &Value, more: &str) -> Value {
    let answer = client
        .post(
            "/v1/refunds",
            &format!("payment_intent={}&{more}", id(intent)),
        )
        .await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.json()
}

async fn now(client: &Client, refund: &Value) -> Value {
    client
        .get(&format!("/v1/refunds/{}", id(refund)))
        .await
        .json()
}

async fn charge(client: &Client, intent: &Value) -> Value {
    client
        .get(&format!(
            "/v1/charges/{}",
            intent["latest_charge"].as_str().unwrap()
        ))
        .await
        .json()
}

const PAID: &[&str] = &[
    "payment_intent.created",
    "charge.succeeded",
    "payment_intent.succeeded",
];

#[tokio::test]
async fn a_refund_is_pending_and_arrives() {
    let (sandbox, client) = slow().await;
    let paid = client.pay("pm_card_pendingRefund").await.json();
    let begun = refund(&client, &paid, "amount=500").await;
    assert_eq!(
        (
            &begun["status"],
            &begun["pending_reason"],
            &begun["balance_transaction"]
        ),
        (&json!("pending"), &json!("processing"), &json!(null))
    );
    let balance = sandbox.balance(id(&paid)).unwrap();
    assert_eq!((balance.refunding, balance.refunded), (500, 0));
    assert_eq!(charge(&client, &paid).await["amount_refunded"], 500);

    sandbox.pass_time(A_WHILE);
    let arrived = now(&client, &begun).await;
    assert_eq!(arrived["status"], "succeeded");
    assert_eq!(arrived.get("pending_reason"), None);
    let booking = client
        .get(&format!(
            "/v1/balance_transactions/{}",
            arrived["balance_transaction"].as_str().unwrap()
        ))
        .await
        .json();
    assert_eq!(
        (&booking["amount"], &booking["type"], &booking["source"]),
        (&json!(-500), &json!("refund"), &begun["id"])
    );
    let balance = sandbox.balance(id(&paid)).unwrap();
    assert_eq!((balance.refunding, balance.refunded), (0, 500));
    assert_eq!(
        events_of(&client, id(&paid)).await,
        [
            PAID,
            &[
                "charge.refunded",
                "refund.created",
                "charge.updated",
                "charge.refund.updated",
                "refund.updated"
            ]
        ]
        .concat()
    );
    let event = client.get("/v1/events?type=refund.updated").await.json();
    assert_eq!(
        event["data"][0]["data"]["previous_attributes"]["status"],
        "pending"
    );
}

#[tokio::test]
async fn a_refund_arrives_and_comes_back() {
    let (sandbox, client) = slow().await;
    let paid = client.pay("pm_card_refundFail").await.json();
    let before = sandbox.balance(id(&paid)).unwrap();
    let begun = refund(&client, &paid, "").await;
    assert_eq!(begun["status"], "succeeded");
    assert_eq!(charge(&client, &paid).await["refunded"], true);

    sandbox.pass_time(A_WHILE);
    let back = now(&client, &begun).await;
    assert_eq!(
        (&back["status"], &back["failure_reason"]),
        (&json!("failed"), &json!("unknown"))
    );
    let booking = client
        .get(&format!(
            "/v1/balance_transactions/{}",
            back["failure_balance_transaction"].as_str().unwrap()
        ))
        .await
        .json();
    assert_eq!(
        (&booking["amount"], &booking["type"]),
        (&json!(1999), &json!("refund_failure"))
    );
    assert_eq!(
        sandbox.balance(id(&paid)).unwrap(),
        before,
        "as if nothing had been"
    );
    assert_eq!(
        events_of(&client, id(&paid)).await,
        [
            PAID,
            &[
                "charge.refunded",
                "refund.created",
                "charge.updated",
                "charge.refund.updated",
                "refund.updated",
                "refund.failed"
            ]
        ]
        .concat()
    );
    // The money is the merchant's again, and can be given back again.
    let charge = charge(&client, &paid).await;
    assert_eq!(
        (&charge["amount_refunded"], &charge["refunded"]),
        (&json!(0), &json!(false))
    );
    assert_eq!(refund(&client, &paid, "").await["amount"], 1999);
}

#[tokio::test]
async fn a_refund_ends_as_it_is_told_and_once() {
    let (sandbox, client) = slow().await;
    sandbox.banks().wait_to_be_told();
    let paid = client.pay("pm_card_pendingRefund").await.json();
    let one = refund(&client, &paid, "amount=500").await;
    let other = refund(&client, &paid, "amount=600").await;
    sandbox.pass_time(A_WHILE);
    assert_eq!(now(&client, &one).await["status"], "pending");
    assert!(sandbox.settle_refund(id(&one), true));
    assert!(!sandbox.settle_refund(id(&one), true), "only once");
    assert!(sandbox.settle_refund(id(&other), false));
    assert!(!sandbox.settle_refund(id(&other), false));
    assert!(!sandbox.settle_refund("re_nothing", true));
    let failed = now(&client, &other).await;
    assert_eq!(failed["status"], "failed");
    // It never left the balance.
    assert_eq!(failed.get("failure_balance_transaction"), None);
    assert_eq!(charge(&client, &paid).await["amount_refunded"], 500);
    let instant = client.pay("pm_card_visa").await.json();
    let instant = refund(&client, &instant, "").await;
    assert!(!sandbox.settle_refund(id(&instant), true));
    assert!(
        sandbox.settle_refund(id(&instant), false),
        "any refund can come back"
    );
}

#[tokio::test]
async fn a_pending_refund_can_be_called_off() {
    let (sandbox, client) = slow().await;
    let paid = client.pay("pm_card_pendingRefund").await.json();
    let begun = refund(&client, &paid, "").await;
    let cancel = format!("/v1/refunds/{}/cancel", id(&begun));
    assert_eq!(client.post(&cancel, "").await.json()["status"], "canceled");
    assert_eq!(client.post(&cancel, "").await.status, 400);
    sandbox.pass_time(A_WHILE);
    assert_eq!(now(&client, &begun).await["status"], "canceled");
    assert_eq!(charge(&client, &paid).await["amount_refunded"], 0);
    let paid = client.pay("pm_card_visa").await.json();
    let done = refund(&client, &paid, "").await;
    assert_eq!(
        client
            .post(&format!("/v1/refunds/{}/cancel", id(&done)), "")
            .await
            .status,
        400
    );
}

#[tokio::test]
async fn a_refunds_metadata_can_be_changed_and_nothing_else() {
    let (_sandbox, client) = slow().await;
    let paid = client.pay("pm_card_visa").await.json();
    let done = refund(&client, &paid, "metadata[case]=7").await;
    let path = format!("/v1/refunds/{}", id(&done));
    let changed = client.post(&path, "metadata[case]=8").await.json();
    assert_eq!(changed["metadata"], json!({ "case": "8" }));
    assert_eq!(
        client.post(&path, "amount=1").await.error().1,
        "parameter_unknown"
    );
    let missing = client.post("/v1/refunds/re_nothing", "metadata[a]=b").await;
    assert_eq!(missing.status, 404);
}

#[tokio::test]
async fn the_balance_is_listed() {
    let (sandbox, client) = slow().await;
    let paid = client.pay("pm_card_visa").await.json();
    sandbox.pass_time(Duration::from_secs(5));
    let done = refund(&client, &paid, "amount=5").await;
    let charge = paid["latest_charge"].as_str().unwrap();
    for (query, amounts) in [
        ("".to_owned(), vec![-5, 1999]),
        (format!("?source={charge}"), vec![1999]),
        (format!("?source={}", id(&done)), vec![-5]),
        ("?type=refund".to_owned(), vec![-5]),
        ("?currency=usd".to_owned(), vec![]),
    ] {
        let list = client
            .get(&format!("/v1/balance_transactions{query}"))
            .await
            .json();
        let found: Vec<i64> = list["data"]
            .as_array()
            .unwrap()
            .iter()
            .map(|booking| booking["amount"].as_i64().unwrap())
            .collect();
        assert_eq!(found, amounts, "{query}");
    }
    assert_eq!(
        client.get("/v1/balance_transactions/txn_x").await.status,
        404
    );
}
