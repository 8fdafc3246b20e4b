//! Requests of other pages and of strangers on this machine: the sandbox refuses them by their
//! head, before it parses a body.

use std::io;

use serde_json::json;
use stripe_checkout_sandbox::{Fault, PUBLISHABLE_KEY, SECRET_KEY, Sandbox};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::http::Client;

/// A body that the parser refuses with 400, and a body that is no JSON.
const MALFORMED: &str = "a[b=1";

/// Sends these bytes and returns the status of the answer.
async fn status(sandbox: &Sandbox, request: &str) -> io::Result<u16> {
    let address = sandbox.url().strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let status = answer.split(' ').nth(1).unwrap_or_default();
    Ok(status.parse().unwrap_or_default())
}

#[tokio::test]
async fn only_a_host_of_this_machine_is_answered() {
    let sandbox = Sandbox::start().await.unwrap();
    let own = sandbox.url().strip_prefix("http://").unwrap().to_owned();
    for (target, host, expected) in [
        ("", own.clone(), 200),
        ("", "localhost".to_owned(), 200),
        ("", "[::1]:1".to_owned(), 200),
        ("", format!("{own}.evil.example"), 403),
        ("", format!("{own}:80"), 403),
        ("", format!("user@{own}"), 403),
        ("", format!("{own}@evil.example"), 403),
        ("", "localhost.".to_owned(), 403),
        ("", "[::1].evil.example".to_owned(), 403),
        ("", "[::1%25lo]".to_owned(), 403),
        ("", "evil.example".to_owned(), 403),
        ("http://evil.example", own.clone(), 403),
        ("http://localhost", own.clone(), 200),
    ] {
        let request = format!(
            "GET {target}/v1/events HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\
             Authorization: Bearer {SECRET_KEY}\r\n\r\n"
        );
        let found = status(&sandbox, &request).await.unwrap();
        assert_eq!(found, expected, "{target} {host}");
    }
    // Targets that are no address, and hosts that are no text, do not even reach the routes.
    for head in [
        format!("GET http://{own}.evil.example/v1/events HTTP/1.1\r\nHost: {own}\r\n"),
        "GET /v1/events HTTP/1.1\r\nHost: \u{e9}\r\n".to_owned(),
        "GET /v1/events HTTP/1.1\r\n".to_owned(),
        format!("GET /v1/events HTTP/1.1\r\nHost: {own}\r\nHost: {own}\r\n"),
    ] {
        let request =
            format!("{head}Connection: close\r\nAuthorization: Bearer {SECRET_KEY}\r\n\r\n");
        let found = status(&sandbox, &request).await.unwrap();
        assert!([400, 403].contains(&found), "{head}: {found}");
    }
}

#[tokio::test]
async fn the_key_is_judged_before_the_body_is_parsed() {
    let sandbox = Sandbox::start().await.unwrap();
    sandbox.faults().next(1, Fault::Status(500));
    let anyone = Client::anonymous(&sandbox);
    let wrong = anyone.with("Authorization", "Bearer sk_test_wrong");
    let path = "/v1/payment_intents";
    let in_body = |key: &str| format!("{MALFORMED}&key={key}");
    let no_body = String::new;
    for (client, path, body, status) in [
        (&wrong, path.to_owned(), MALFORMED.to_owned(), 401),
        (&anyone, path.to_owned(), MALFORMED.to_owned(), 401),
        (&anyone, path.to_owned(), in_body("sk_test_wrong"), 401),
        (&anyone, path.to_owned(), in_body("sk_live_wrong"), 401),
        (
            &anyone,
            format!("{path}?key=sk_test_wrong&{MALFORMED}"),
            no_body(),
            401,
        ),
    ] {
        let answer = client.post(&path, &body).await;
        assert_eq!(answer.status, status, "{path} {body}: {}", answer.body);
    }
    assert_eq!(wrong.get("/v1/events?a[b=1").await.status, 401);
    let known = sandbox.requests();
    assert_eq!(known.len(), 6);
    assert!(known[0].body.is_empty(), "{:?}", known[0].body);
    // Faults are for the merchant's own requests.
    assert_eq!(sandbox.faults().waiting(), 1);
    assert_eq!(
        Client::new(&sandbox).post(path, MALFORMED).await.status,
        500
    );

    let good = Client::new(&sandbox).post(path, MALFORMED).await;
    assert_eq!(good.status, 400, "{}", good.body);
    let good = anyone.post(path, &in_body(PUBLISHABLE_KEY)).await;
    assert_eq!(good.status, 400, "{}", good.body);
}

#[tokio::test]
async fn a_page_cannot_use_the_secret_key_however_it_sends_it() {
    let sandbox = Sandbox::start().await.unwrap();
    let own = sandbox.url().to_owned();
    for (name, value) in [
        ("Origin", "https://evil.example"),
        ("Origin", "null"),
        ("Origin", &own),
        // An image or a script sends no origin.
        ("Sec-Fetch-Site", "cross-site"),
        ("Sec-Fetch-Site", "same-site"),
        ("Sec-Fetch-Site", "same-origin"),
    ] {
        let page = Client::anonymous(&sandbox).with(name, value);
        let header = page.with("Authorization", &format!("Bearer {SECRET_KEY}"));
        for answer in [
            header.get("/v1/events").await,
            header.post("/v1/customers", MALFORMED).await,
            page.get(&format!("/v1/events?key={SECRET_KEY}")).await,
            page.post("/v1/customers", &format!("{MALFORMED}&key={SECRET_KEY}"))
                .await,
        ] {
            assert_eq!(answer.status, 403, "{name} {value}: {}", answer.body);
        }
        let public = format!("key={PUBLISHABLE_KEY}&type=card&card[token]=tok_visa");
        let answer = page.post("/v1/payment_methods", &public).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
    }
    // A person typed the address.
    let person = Client::new(&sandbox).with("Sec-Fetch-Site", "none");
    assert_eq!(person.get("/v1/events").await.status, 200);
}

#[tokio::test]
async fn another_page_is_refused_before_its_body_is_parsed() {
    let sandbox = Sandbox::start().await.unwrap();
    let server = Client::new(&sandbox);
    let session = server
        .post(
            "/v1/checkout/sessions",
            "mode=payment&success_url=https://shop.example/&line_items[0][quantity]=1\
             &line_items[0][price_data][currency]=eur&line_items[0][price_data][unit_amount]=1999\
             &line_items[0][price_data][product_data][name]=Tea",
        )
        .await;
    assert_eq!(session.status, 200, "{}", session.body);
    let id = session.json()["id"].as_str().unwrap().to_owned();
    let anyone = Client::anonymous(&sandbox);
    let pay = format!("/sandbox/checkout/{id}/pay");
    for (name, value) in [
        ("Origin", "https://evil.example"),
        ("Sec-Fetch-Site", "cross-site"),
    ] {
        let other = anyone.with(name, value);
        let json = other.with("Content-Type", "application/json");
        for answer in [
            other.post("/sandbox/do", MALFORMED).await,
            json.post("/sandbox/do", MALFORMED).await,
            other.post(&pay, MALFORMED).await,
        ] {
            assert_eq!(answer.status, 403, "{name} {value}: {}", answer.body);
        }
    }
    let own = anyone
        .with("Origin", sandbox.url())
        .with("Sec-Fetch-Site", "same-origin");
    assert_eq!(own.post("/sandbox/do", MALFORMED).await.status, 415);
    assert_eq!(own.post(&pay, MALFORMED).await.status, 400);
    let state = server.get(&format!("/v1/checkout/sessions/{id}")).await;
    assert_eq!(state.json()["payment_status"], json!("unpaid"));
}

#[tokio::test]
async fn a_refused_request_is_answered_after_its_whole_body() {
    let sandbox = Sandbox::start().await.unwrap();
    let wrong = Client::anonymous(&sandbox).with("Authorization", "Bearer sk_test_wrong");
    let body = "a[]&".repeat(250_000);
    assert_eq!(wrong.post("/v1/customers", &body).await.status, 401);
    let answer = Client::new(&sandbox).post("/v1/customers", &body).await;
    assert_eq!(answer.status, 400);
}
