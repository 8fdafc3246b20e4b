//! Every fault does what it says, to as many requests as it says, and nothing else.

use std::{io::ErrorKind, time::Duration};

use stripe_checkout_sandbox::{Fault, Sandbox};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::http::Client;

const PATH: &str = "/v1/payment_intents";
const BODY: &str = "amount=1999&currency=eur";

#[tokio::test]
async fn statuses() {
    let sandbox = Sandbox::start().await.unwrap();
    let client = Client::new(&sandbox);
    for (status, kind, code) in [
        (400, "invalid_request_error", ""),
        (401, "invalid_request_error", ""),
        (402, "card_error", "card_declined"),
        (403, "invalid_request_error", ""),
        (404, "invalid_request_error", "resource_missing"),
        (409, "invalid_request_error", "lock_timeout"),
        (424, "invalid_request_error", ""),
        (429, "invalid_request_error", "rate_limit"),
        (500, "api_error", ""),
        (502, "api_error", ""),
        (503, "api_error", ""),
        (504, "api_error", ""),
    ] {
        sandbox.faults().next(2, Fault::Status(status));
        for _ in 0..2 {
            let answer = client.post(PATH, BODY).await;
            assert_eq!(answer.status, status);
            assert_eq!(answer.error(), (kind.to_owned(), code.to_owned()));
            assert!(answer.header("request-id").is_some());
        }
        assert_eq!(sandbox.faults().waiting(), 0);
    }
    assert!(sandbox.events().is_empty());
    assert_eq!(client.post(PATH, BODY).await.status, 200);
    assert_eq!(
        sandbox
            .requests()
            .iter()
            .filter_map(|request| request.status)
            .next_back(),
        Some(200)
    );
}

#[tokio::test]
async fn headers_that_steer_a_retry() {
    let sandbox = Sandbox::start().await.unwrap();
    let headers = vec![
        ("Retry-After".to_owned(), "7".to_owned()),
        ("Stripe-Should-Retry".to_owned(), "false".to_owned()),
    ];
    sandbox.faults().next(
        1,
        Fault::StatusWith {
            status: 503,
            headers,
        },
    );
    let answer = Client::new(&sandbox).post(PATH, BODY).await;
    assert_eq!(answer.status, 503);
    assert_eq!(answer.header("retry-after"), Some("7"));
    assert_eq!(answer.header("stripe-should-retry"), Some("false"));
}

#[tokio::test]
async fn a_reset_before_the_work_and_one_after() {
    let sandbox = Sandbox::start().await.unwrap();
    let client = Client::new(&sandbox).with_key("key-1");
    sandbox.faults().next(1, Fault::Reset);
    let error = client.send("POST", PATH, BODY).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    assert!(sandbox.events().is_empty());

    sandbox.faults().next(1, Fault::ResetAfterExecution);
    let error = client.send("POST", PATH, BODY).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    assert_eq!(sandbox.events().len(), 1, "it was done");
    let answer = client.post(PATH, BODY).await;
    assert_eq!(
        (answer.status, answer.header("idempotent-replayed")),
        (200, Some("true"))
    );
    assert_eq!(sandbox.events().len(), 1, "once");
    let statuses: Vec<_> = sandbox
        .requests()
        .iter()
        .map(|request| request.status)
        .collect();
    assert_eq!(statuses, [None, None, Some(200)]);
}

#[tokio::test]
async fn a_hang_before_the_work_and_one_after() {
    let sandbox = Sandbox::start().await.unwrap();
    let client = Client::new(&sandbox).with_key("key-1");
    sandbox.faults().next(1, Fault::Hang);
    let waiting = tokio::spawn({
        let client = client.clone();
        async move { client.send("POST", PATH, BODY).await }
    });
    sandbox
        .wait_for(|sandbox| sandbox.requests().len() == 1)
        .await;
    // Others are answered meanwhile, with the same key too: nothing had begun.
    assert_eq!(client.post(PATH, BODY).await.status, 200);
    assert_eq!(sandbox.events().len(), 1);
    assert!(!waiting.is_finished());

    let other = Client::new(&sandbox).with_key("key-2");
    sandbox.faults().next(1, Fault::HangAfterExecution);
    let waiting_too = tokio::spawn({
        let client = other.clone();
        async move { client.send("POST", PATH, BODY).await }
    });
    sandbox
        .wait_for(|sandbox| sandbox.events().len() == 2)
        .await;
    while other.post(PATH, BODY).await.header("idempotent-replayed") != Some("true") {}
    assert_eq!(sandbox.events().len(), 2);
    assert!(!waiting_too.is_finished());
    drop(sandbox);
    assert!(
        waiting.await.unwrap().is_err(),
        "it ends with the sandbox, without an answer"
    );
    assert!(waiting_too.await.unwrap().is_err());
}

#[tokio::test]
async fn a_slow_answer_is_an_answer() {
    let sandbox = Sandbox::start().await.unwrap();
    sandbox
        .faults()
        .next(1, Fault::Slow(Duration::from_millis(30)));
    let before = std::time::Instant::now();
    assert_eq!(Client::new(&sandbox).post(PATH, BODY).await.status, 200);
    assert!(before.elapsed() >= Duration::from_millis(30));
}

#[tokio::test]
async fn an_answer_that_is_not_stripes() {
    let sandbox = Sandbox::start().await.unwrap();
    sandbox.faults().next(1, Fault::NotJson);
    let answer = Client::new(&sandbox).post(PATH, BODY).await;
    assert_eq!(answer.status, 200);
    assert!(serde_json::from_str::<serde_json::Value>(&answer.body).is_err());
    assert!(sandbox.events().is_empty());
}

#[tokio::test]
async fn faults_come_in_order_hit_the_api_only_and_can_be_forgotten() {
    let sandbox = Sandbox::start().await.unwrap();
    let client = Client::new(&sandbox);
    sandbox.faults().next(1, Fault::Status(503));
    sandbox.faults().next(1, Fault::Status(429));
    assert_eq!(client.get("/stripe.js").await.status, 200);
    assert_eq!(client.send("OPTIONS", PATH, "").await.unwrap().status, 200);
    assert_eq!(client.get(PATH).await.status, 503);
    sandbox.faults().clear();
    assert_eq!(client.get(PATH).await.status, 200);
}

#[tokio::test]
async fn connections_are_counted_and_kept() {
    let sandbox = Sandbox::start().await.unwrap();
    let address = sandbox.url().strip_prefix("http://").unwrap().to_owned();
    let mut stream = tokio::net::TcpStream::connect(&address).await.unwrap();
    let request = format!(
        "GET /v1/events HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer sk_test_sandbox\r\n\r\n"
    );
    let mut buffer = [0; 4096];
    for _ in 0..3 {
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        while !answer.contains("\"url\": \"/v1/events\"") {
            let read = stream.read(&mut buffer).await.unwrap();
            assert_ne!(read, 0);
            answer.push_str(std::str::from_utf8(&buffer[..read]).unwrap());
        }
        assert!(answer.starts_with("HTTP/1.1 200"));
    }
    assert_eq!(sandbox.connections(), 1);
    Client::new(&sandbox).get("/v1/events").await;
    assert_eq!(sandbox.connections(), 2);
    assert_eq!(sandbox.requests().len(), 4);
}
