//! Idempotency keys: one key, one execution, one answer.

use std::time::Duration;

use serde_json::json;
use stripe_checkout_sandbox::{Fault, Sandbox};

use crate::http::{Client, id};

const PATH: &str = "/v1/payment_intents";
const BODY: &str = "amount=1999&currency=eur&metadata[a]=1&metadata[b]=2";

fn made(sandbox: &Sandbox) -> usize {
    sandbox
        .events()
        .iter()
        .filter(|(_, event_type)| event_type == "payment_intent.created")
        .count()
}

#[tokio::test]
async fn the_first_answer_comes_again() {
    let sandbox = Sandbox::start().await.unwrap();
    let client = Client::new(&sandbox).with_key("key-1");
    let first = client.post(PATH, BODY).await;
    assert_eq!(first.header("idempotent-replayed"), None);
    assert_eq!(first.header("idempotency-key"), Some("key-1"));
    // Whatever the order of the parameters.
    let second = client
        .post(PATH, "metadata[b]=2&currency=eur&metadata[a]=1&amount=1999")
        .await;
    assert_eq!(second.header("idempotent-replayed"), Some("true"));
    assert_eq!(second.body, first.body);
    assert_eq!(second.status, 200);
    assert_eq!(
        second.header("original-request"),
        first.header("request-id")
    );
    assert_ne!(second.header("request-id"), first.header("request-id"));
    assert_eq!(made(&sandbox), 1);
    let log = sandbox.requests();
    assert_eq!((log[0].replayed, log[1].replayed), (false, true));
    assert_eq!(log[1].idempotency_key.as_deref(), Some("key-1"));
    // The event tells which key caused it.
    let event = client.get("/v1/events").await.json()["data"][0].clone();
    assert_eq!(event["request"]["idempotency_key"], "key-1");
    assert_eq!(event["request"]["id"].as_str(), first.header("request-id"));
}

#[tokio::test]
async fn a_decline_and_a_wrong_state_come_again_too() {
    let sandbox = Sandbox::start().await.unwrap();
    let client = Client::new(&sandbox);
    let body = "amount=1999&currency=eur&confirm=true&payment_method=pm_card_chargeDeclined&return_url=https://shop.example/";
    let first = client.with_key("key-1").post(PATH, body).await;
    let second = client.with_key("key-1").post(PATH, body).await;
    assert_eq!((first.status, second.status), (402, 402));
    assert_eq!(second.body, first.body);
    assert_eq!(made(&sandbox), 1);

    let intent = client.create("").await;
    let capture = format!("{PATH}/{}/capture", id(&intent));
    client.with_key("key-2").post(&capture, "").await;
    let again = client.with_key("key-2").post(&capture, "").await;
    assert_eq!(
        (again.status, again.header("idempotent-replayed")),
        (400, Some("true"))
    );
}

#[tokio::test]
async fn another_request_with_the_key_is_refused() {
    let sandbox = Sandbox::start().await.unwrap();
    let client = Client::new(&sandbox).with_key("key-1");
    let intent = client.post(PATH, BODY).await.json();
    for (path, body) in [
        (
            PATH.to_owned(),
            "amount=2000&currency=eur&metadata[a]=1&metadata[b]=2",
        ),
        (PATH.to_owned(), "amount=1999&currency=eur&metadata[a]=1"),
        (PATH.to_owned(), ""),
        (format!("{PATH}/{}", id(&intent)), BODY),
    ] {
        let answer = client.post(&path, body).await;
        assert_eq!(answer.status, 400, "{path} {body}");
        assert_eq!(answer.error().0, "idempotency_error");
        assert_eq!(answer.header("idempotent-replayed"), None);
    }
    assert_eq!(made(&sandbox), 1);
    // Each account has its own keys.
    let other = client
        .with("Stripe-Account", "acct_1")
        .post(PATH, "amount=2000&currency=eur")
        .await;
    assert_eq!(other.status, 200);
}

#[tokio::test]
async fn while_the_first_runs_a_second_does_not_start() {
    let sandbox = Sandbox::start().await.unwrap();
    let client = Client::new(&sandbox).with_key("key-1");
    // Both are held for so long that the one answer that comes can only be the refusal.
    sandbox
        .faults()
        .next(2, Fault::Slow(Duration::from_secs(600)));
    let answer = tokio::select! {
        answer = client.post(PATH, BODY) => answer,
        answer = client.post(PATH, BODY) => answer,
    };
    assert_eq!(answer.status, 409);
    assert_eq!(
        answer.error(),
        (
            "idempotency_error".to_owned(),
            "idempotency_key_in_use".to_owned()
        )
    );
    assert_eq!(made(&sandbox), 0);
}

#[tokio::test]
async fn a_request_that_began_is_ended_even_if_nobody_waits() {
    let sandbox = Sandbox::start().await.unwrap();
    let client = Client::new(&sandbox).with_key("key-1");
    sandbox
        .faults()
        .next(1, Fault::Slow(Duration::from_millis(20)));
    let connection = client.open("POST", PATH, BODY).await.unwrap();
    sandbox
        .wait_for(|sandbox| sandbox.requests().len() == 1)
        .await;
    drop(connection);
    let done = async {
        loop {
            let answer = client.post(PATH, BODY).await;
            if answer.status != 409 {
                break answer.status;
            }
            tokio::task::yield_now().await;
        }
    };
    let status = tokio::time::timeout(Duration::from_secs(30), done)
        .await
        .expect("the first request never ended");
    assert_eq!(status, 200);
    assert_eq!(made(&sandbox), 1);
}

#[tokio::test]
async fn validation_errors_free_the_key() {
    let sandbox = Sandbox::start().await.unwrap();
    let client = Client::new(&sandbox).with_key("key-1");
    assert_eq!(client.post(PATH, "amount=1&currency=eur").await.status, 400);
    assert_eq!(client.post(PATH, BODY).await.status, 200);
}

#[tokio::test]
async fn a_failure_in_the_middle_is_kept_and_one_before_is_not() {
    let sandbox = Sandbox::start().await.unwrap();
    let client = Client::new(&sandbox);
    sandbox.faults().next(1, Fault::Status(500));
    assert_eq!(client.with_key("key-1").post(PATH, BODY).await.status, 500);
    assert_eq!(client.with_key("key-1").post(PATH, BODY).await.status, 200);

    sandbox.faults().next(1, Fault::StatusAndKeep(500));
    let first = client.with_key("key-2").post(PATH, BODY).await;
    let second = client.with_key("key-2").post(PATH, BODY).await;
    assert_eq!((first.status, second.status), (500, 500));
    assert_eq!(second.header("idempotent-replayed"), Some("true"));
    assert_eq!(second.error().0, "api_error");
    assert_eq!(client.with_key("key-3").post(PATH, BODY).await.status, 200);
    assert_eq!(made(&sandbox), 2);
}

#[tokio::test]
async fn keys_have_limits_and_count_for_post_only() {
    let sandbox = Sandbox::start().await.unwrap();
    let client = Client::new(&sandbox);
    assert_eq!(
        client
            .with_key(&"k".repeat(256))
            .post(PATH, BODY)
            .await
            .status,
        400
    );
    assert_eq!(client.with_key("").post(PATH, BODY).await.status, 400);
    assert_eq!(
        client
            .with_key(&"k".repeat(255))
            .post(PATH, BODY)
            .await
            .status,
        200
    );
    let list = client.with_key("key-1").get(PATH).await;
    client.create("").await;
    let longer = client.with_key("key-1").get(PATH).await;
    assert_eq!(list.json()["data"].as_array().unwrap().len(), 1);
    assert_eq!(longer.json()["data"].as_array().unwrap().len(), 2);
    assert_eq!(longer.header("idempotent-replayed"), None);
    // Without a key each request is its own.
    assert_ne!(client.create("").await["id"], client.create("").await["id"]);
    assert_eq!(
        client.create("metadata[x]=1").await["metadata"],
        json!({ "x": "1" })
    );
}
