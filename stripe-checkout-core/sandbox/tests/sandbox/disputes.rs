//! Disputes, from the bank's first question to its decision.

use std::time::Duration;

use serde_json::{Value, json};
use stripe_checkout_sandbox::Sandbox;

use crate::http::{Client, events_of, id};

const A_WHILE: Duration = Duration::from_secs(3600);
const WEEK: Duration = Duration::from_secs(7 * 24 * 60 * 60);

async fn slow() -> (Sandbox, Client) {
    let sandbox = Sandbox::start().await.unwrap();
    sandbox.banks().decide_disputes_after(A_WHILE);
    let client = Client::new(&sandbox);
    (sandbox, client)
}

/// A payment with this card, and its dispute.
async fn disputed(client: &Client, card: &str) -> (Value, Value) {
    let paid = client.pay(card).await.json();
    let dispute = dispute_of(client, &paid).await;
    (paid, dispute)
}

async fn dispute_of(client: &Client, paid: &Value) -> Value {
    client
        .get(&format!("/v1/disputes?payment_intent={}", id(paid)))
        .await
        .json()["data"][0]
        .clone()
}

async fn now(client: &Client, dispute: &Value) -> Value {
    client
        .get(&format!("/v1/disputes/{}", id(dispute)))
        .await
        .json()
}

async fn answer(client: &Client, dispute: &Value, text: &str) -> Value {
    let answer = client
        .post(
            &format!("/v1/disputes/{}", id(dispute)),
            &format!("evidence[uncategorized_text]={text}"),
        )
        .await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.json()
}

/// The types of the events about the dispute only.
async fn told(client: &Client, paid: &Value) -> Vec<String> {
    let mut types = events_of(client, id(paid)).await;
    types.retain(|name| name.starts_with("charge.dispute."));
    types
}

fn amounts(dispute: &Value) -> Vec<(i64, i64)> {
    dispute["balance_transactions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|booking| {
            (
                booking["amount"].as_i64().unwrap(),
                booking["fee"].as_i64().unwrap(),
            )
        })
        .collect()
}

#[tokio::test]
async fn a_dispute_takes_the_money_at_once() {
    let (sandbox, client) = slow().await;
    let (paid, dispute) = disputed(&client, "pm_card_createDispute").await;
    for (field, expected) in [
        ("status", json!("needs_response")),
        ("reason", json!("fraudulent")),
        ("amount", json!(1999)),
        ("charge", paid["latest_charge"].clone()),
        ("payment_intent", paid["id"].clone()),
        ("is_charge_refundable", json!(false)),
    ] {
        assert_eq!(dispute[field], expected, "{field}");
    }
    let due = dispute["evidence_details"]["due_by"].as_i64().unwrap();
    assert_eq!(due - dispute["created"].as_i64().unwrap(), 7 * 24 * 60 * 60);
    assert_eq!(amounts(&dispute), [(-1999, 1500)]);
    let balance = sandbox.balance(id(&paid)).unwrap();
    assert_eq!((balance.disputed, balance.fees), (1999, 87 + 1500));
    assert_eq!(balance.net, -87 - 1500);
    assert_eq!(
        told(&client, &paid).await,
        ["charge.dispute.created", "charge.dispute.funds_withdrawn"]
    );
    let charge = client
        .get(&format!(
            "/v1/charges/{}",
            paid["latest_charge"].as_str().unwrap()
        ))
        .await
        .json();
    assert_eq!(charge["disputed"], true);
}

#[tokio::test]
async fn winning_evidence_brings_the_money_back() {
    let (sandbox, client) = slow().await;
    let (paid, dispute) = disputed(&client, "pm_card_createDispute").await;
    let sent = answer(&client, &dispute, "winning_evidence").await;
    assert_eq!(
        (
            &sent["status"],
            &sent["evidence_details"]["submission_count"],
            &sent["evidence_details"]["has_evidence"]
        ),
        (&json!("under_review"), &json!(1), &json!(true))
    );
    assert_eq!(now(&client, &dispute).await["status"], "under_review");
    sandbox.pass_time(A_WHILE);
    let won = now(&client, &dispute).await;
    assert_eq!(
        (&won["status"], &won["is_charge_refundable"]),
        (&json!("won"), &json!(true))
    );
    assert_eq!(amounts(&won), [(-1999, 1500), (1999, 0)], "but for the fee");
    assert_eq!(
        told(&client, &paid).await,
        [
            "charge.dispute.created",
            "charge.dispute.funds_withdrawn",
            "charge.dispute.updated",
            "charge.dispute.funds_reinstated",
            "charge.dispute.closed"
        ]
    );
    let updated = client
        .get("/v1/events?type=charge.dispute.updated")
        .await
        .json();
    let previous = &updated["data"][0]["data"]["previous_attributes"];
    assert_eq!(
        (&previous["status"], &previous["evidence"]),
        (
            &json!("needs_response"),
            &json!({ "uncategorized_text": null })
        )
    );
    assert_eq!(sandbox.balance(id(&paid)).unwrap().disputed, 0);
    // The merchant may still be kind.
    let refund = client
        .post("/v1/refunds", &format!("payment_intent={}", id(&paid)))
        .await;
    assert_eq!(refund.status, 200, "{}", refund.body);
}

#[tokio::test]
async fn a_dispute_is_lost_by_bad_evidence_by_none_and_by_giving_in() {
    let (sandbox, client) = slow().await;
    let (_, badly) = disputed(&client, "pm_card_createDispute").await;
    answer(&client, &badly, "losing_evidence").await;
    let (_, silently) = disputed(&client, "pm_card_createDisputeProductNotReceived").await;
    assert_eq!(silently["reason"], "product_not_received");
    let (paid, at_once) = disputed(&client, "pm_card_createDispute").await;
    let (_, waiting) = disputed(&client, "pm_card_createDispute").await;
    answer(&client, &waiting, "Please believe us.").await;
    let close = format!("/v1/disputes/{}/close", id(&at_once));
    assert_eq!(client.post(&close, "").await.json()["status"], "lost");
    let again = client.post(&close, "").await;
    assert_eq!(
        (again.status, &again.json()["error"]["message"]),
        (400, &json!("This dispute is already closed"))
    );
    assert_eq!(
        told(&client, &paid).await,
        [
            "charge.dispute.created",
            "charge.dispute.funds_withdrawn",
            "charge.dispute.closed"
        ]
    );
    sandbox.pass_time(WEEK);
    for dispute in [&badly, &silently] {
        let lost = now(&client, dispute).await;
        assert_eq!(lost["status"], "lost");
        assert_eq!(amounts(&lost), [(-1999, 1500)], "nothing comes back");
    }
    assert_eq!(
        now(&client, &silently).await["evidence_details"]["past_due"],
        true
    );
    assert_eq!(
        now(&client, &waiting).await["status"],
        "under_review",
        "an answer has no deadline"
    );
    let refund = client
        .post("/v1/refunds", &format!("payment_intent={}", id(&paid)))
        .await;
    assert_eq!(refund.error().1, "charge_disputed");
}

#[tokio::test]
async fn an_inquiry_moves_no_money_until_it_escalates() {
    let (sandbox, client) = slow().await;
    let (paid, inquiry) = disputed(&client, "pm_card_createDisputeInquiry").await;
    assert_eq!(
        (&inquiry["status"], &inquiry["is_charge_refundable"]),
        (&json!("warning_needs_response"), &json!(true))
    );
    assert_eq!(amounts(&inquiry), []);
    assert_eq!(told(&client, &paid).await, ["charge.dispute.created"]);
    let refund = client
        .post(
            "/v1/refunds",
            &format!("payment_intent={}&amount=500", id(&paid)),
        )
        .await
        .json();
    assert_eq!(refund["status"], "succeeded");

    let sent = answer(&client, &inquiry, "escalate_inquiry_evidence").await;
    assert_eq!(sent["status"], "warning_under_review");
    sandbox.pass_time(A_WHILE);
    let escalated = now(&client, &inquiry).await;
    assert_eq!(escalated["status"], "needs_response");
    assert_eq!(amounts(&escalated), [(-1999, 1500)]);
    assert_eq!(
        told(&client, &paid).await,
        [
            "charge.dispute.created",
            "charge.dispute.updated",
            "charge.dispute.funds_withdrawn",
            "charge.dispute.updated"
        ]
    );
    let refund = client
        .get(&format!("/v1/refunds/{}", id(&refund)))
        .await
        .json();
    assert_eq!(
        (&refund["status"], &refund["failure_reason"]),
        (
            &json!("failed"),
            &json!("charge_for_pending_refund_disputed")
        ),
        "nobody is paid back twice"
    );
}

#[tokio::test]
async fn an_inquiry_is_closed_by_an_answer_by_none_and_by_a_word() {
    let (sandbox, client) = slow().await;
    let (_, answered) = disputed(&client, "pm_card_createDisputeInquiry").await;
    answer(&client, &answered, "losing_evidence").await;
    let (_, silent) = disputed(&client, "pm_card_createDisputeInquiry").await;
    let paid = client.pay("pm_card_visa").await.json();
    assert!(sandbox.inquire(id(&paid)));
    assert!(sandbox.decide_dispute(id(&paid), false));
    assert!(!sandbox.decide_dispute(id(&paid), false), "only once");
    let told_to = dispute_of(&client, &paid).await;
    sandbox.pass_time(WEEK);
    for inquiry in [&answered, &silent, &told_to] {
        let closed = now(&client, inquiry).await;
        assert_eq!(closed["status"], "warning_closed");
        assert_eq!(amounts(&closed), []);
    }
}

#[tokio::test]
async fn a_dispute_does_as_it_is_told() {
    let (sandbox, client) = slow().await;
    let paid = client.pay("pm_card_visa").await.json();
    for nothing in [
        sandbox.decide_dispute(id(&paid), true),
        sandbox.escalate_inquiry(id(&paid)),
        sandbox.dispute("pi_nothing"),
        sandbox.inquire("pi_nothing"),
    ] {
        assert!(!nothing);
    }
    assert!(sandbox.inquire(id(&paid)));
    assert!(!sandbox.dispute(id(&paid)), "there is one");
    assert!(sandbox.escalate_inquiry(id(&paid)));
    assert!(
        !sandbox.escalate_inquiry(id(&paid)),
        "it is no inquiry any more"
    );
    assert!(sandbox.decide_dispute(id(&paid), true));
    assert_eq!(dispute_of(&client, &paid).await["status"], "won");
    let held = client
        .pay("pm_card_visa&capture_method=manual")
        .await
        .json();
    assert!(!sandbox.dispute(id(&held)), "nothing was taken yet");
}

#[tokio::test]
async fn evidence_is_gathered_before_it_is_sent() {
    let (_sandbox, client) = slow().await;
    let (paid, dispute) = disputed(&client, "pm_card_createDispute").await;
    let path = format!("/v1/disputes/{}", id(&dispute));
    let draft = client
        .post(
            &path,
            "evidence[customer_name]=Ada&evidence[product_description]=Two+books&submit=false&metadata[case]=7",
        )
        .await
        .json();
    assert_eq!(
        (
            &draft["status"],
            &draft["evidence_details"]["submission_count"],
            &draft["metadata"]
        ),
        (&json!("needs_response"), &json!(0), &json!({ "case": "7" }))
    );
    let changed = client
        .post(&path, "evidence[customer_name]=&submit=false")
        .await
        .json();
    assert_eq!(
        (
            &changed["evidence"]["customer_name"],
            &changed["evidence"]["product_description"]
        ),
        (&json!(null), &json!("Two books"))
    );
    let only_metadata = client.post(&path, "metadata[case]=8").await.json();
    assert_eq!(only_metadata["status"], "needs_response");
    let sent = client.post(&path, "submit=true").await.json();
    assert_eq!(sent["status"], "under_review");
    assert_eq!(
        told(&client, &paid).await.len(),
        2 + 4,
        "each change is told"
    );
    for (body, code) in [
        ("evidence[colour]=red", "parameter_unknown"),
        ("evidence=x", ""),
        ("colour=red", "parameter_unknown"),
    ] {
        let answer = client.post(&path, body).await;
        assert_eq!(
            (answer.status, answer.error().1.as_str()),
            (400, code),
            "{body}"
        );
    }
    let missing = client.get("/v1/disputes/du_nothing").await;
    assert_eq!(
        (missing.status, &missing.json()["error"]["param"]),
        (404, &json!("dispute"))
    );
}

#[tokio::test]
async fn disputes_are_listed() {
    let (_sandbox, client) = slow().await;
    let (first, dispute) = disputed(&client, "pm_card_createDispute").await;
    let (second, _) = disputed(&client, "pm_card_createDispute").await;
    let charge = first["latest_charge"].as_str().unwrap();
    for (query, intents) in [
        (String::new(), vec![&second["id"], &first["id"]]),
        (format!("?charge={charge}"), vec![&first["id"]]),
        (
            format!("?payment_intent={}", id(&second)),
            vec![&second["id"]],
        ),
        ("?created[lt]=1000".to_owned(), vec![]),
    ] {
        let list = client.get(&format!("/v1/disputes{query}")).await.json();
        let found: Vec<&Value> = list["data"]
            .as_array()
            .unwrap()
            .iter()
            .map(|dispute| &dispute["payment_intent"])
            .collect();
        assert_eq!(found, intents, "{query}");
    }
    let expanded = client
        .get(&format!(
            "/v1/disputes/{}?expand[]=charge&expand[]=payment_intent",
            id(&dispute)
        ))
        .await
        .json();
    assert_eq!(expanded["charge"]["object"], "charge");
    assert_eq!(expanded["payment_intent"]["id"], first["id"]);
    let other = client.with("Stripe-Account", "acct_other");
    assert_eq!(
        other
            .get(&format!("/v1/disputes/{}", id(&dispute)))
            .await
            .status,
        404
    );
}
