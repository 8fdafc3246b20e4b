//! `POST /create-checkout-session`, and the page that the buyer comes back to.

use std::time::Duration;

use serde_json::Value;
use stripe_checkout_core::requests::{CustomerRequest, HostedCheckout};
use stripe_checkout_core::{Body, BuildError, Call, Checkout, Reply};

use super::world::{DELAYED, GOOD, Shop, World, hosted};

const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";

async fn ask(
    checkout: &Checkout,
    path: &str,
    query: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Reply {
    let endpoints = checkout.endpoints().iter();
    let endpoint = endpoints.rev().find(|known| known.path() == path).unwrap();
    let call = Call::new(endpoint)
        .query(Some(query))
        .header("host", b"shop.example");
    let call = headers.iter().fold(call, |call, (name, value)| {
        call.header(name, value.as_bytes())
    });
    checkout
        .handle(call.body(Body::whole(body.as_bytes(), endpoint.body_limit())))
        .await
}

pub(crate) async fn create(
    checkout: &Checkout,
    query: &str,
    content_type: &str,
    body: &str,
) -> Reply {
    let headers = [
        ("content-type", content_type),
        ("sec-fetch-site", "same-origin"),
    ];
    ask(checkout, "/create-checkout-session", query, &headers, body).await
}

fn json(reply: &Reply) -> Value {
    serde_json::from_slice(reply.body()).unwrap()
}

#[tokio::test]
async fn a_form_is_sent_to_stripes_page_and_a_script_is_told_its_address() {
    let world = World::new().await;
    let form = create(&world.checkout, "", FORM, "order=a+b").await;
    assert_eq!(form.status(), 303);
    let page = form.header("location").unwrap();
    assert!(
        page.starts_with(&format!("{}/sandbox/checkout/cs_", world.sandbox.url())),
        "{page}"
    );
    assert_eq!(form.header("cache-control"), Some("no-store"));
    assert_eq!(form.header("referrer-policy"), Some("no-referrer"));
    for (query, content_type, body) in [
        ("", JSON, r#"{"order":"a b"}"#),
        ("", JSON, r#"{"order":{"order":"a b"}}"#),
        ("order=a%20b", JSON, "{}"),
        ("order=a%20b", FORM, "order=other"),
        (
            "",
            "application/x-www-form-urlencoded; charset=UTF-8",
            "order=a%20b",
        ),
    ] {
        let reply = create(&world.checkout, query, content_type, body).await;
        let url = match reply.status() {
            200 => json(&reply)["url"].as_str().unwrap().to_owned(),
            _ => reply.header("location").unwrap().to_owned(),
        };
        assert_eq!(
            url, page,
            "{query} {content_type} {body}: the same order, the same page"
        );
    }
}

#[tokio::test]
async fn an_embedded_page_is_a_secret_and_no_address() {
    let world = World::with(hosted().embedded(), Shop::default()).await;
    let reply = create(&world.checkout, "", JSON, r#"{"order":"1"}"#).await;
    assert_eq!(reply.status(), 200);
    let told = json(&reply);
    assert!(
        told["clientSecret"]
            .as_str()
            .unwrap()
            .starts_with("cs_test_")
    );
    assert!(told.get("url").is_none());
    assert_eq!(
        create(&world.checkout, "", FORM, "order=1").await.status(),
        415
    );
}

#[tokio::test]
async fn what_cannot_be_paid_is_told_as_a_page_or_as_json() {
    let world = World::new().await;
    for (content_type, body, status, code) in [
        (JSON, "[", 400, "invalid_order"),
        (JSON, r#"{"order":"none"}"#, 422, "order_refused"),
        ("text/plain", "order=1", 415, "not_json"),
        ("", "", 415, "not_json"),
    ] {
        let reply = create(&world.checkout, "", content_type, body).await;
        assert_eq!(reply.status(), status, "{content_type} {body}");
        assert_eq!(json(&reply)["code"], code, "{content_type} {body}");
    }
    for (body, status) in [("", 400), ("what=1", 400), ("order=none", 422)] {
        let reply = create(&world.checkout, "", FORM, body).await;
        assert_eq!(reply.status(), status, "{body}");
        let kind = reply.header("content-type").unwrap();
        assert!(kind.starts_with("text/html"), "{body}: {kind}");
    }
    let cross = [("content-type", FORM), ("sec-fetch-site", "cross-site")];
    let reply = ask(
        &world.checkout,
        "/create-checkout-session",
        "",
        &cross,
        "order=1",
    )
    .await;
    assert_eq!(reply.status(), 403);
    assert_eq!(
        world.sandbox.requests().len(),
        0,
        "Stripe was asked for none of these"
    );

    let id = world.open("1").await.id().to_owned();
    world.pay(&id, GOOD).await;
    assert_eq!(
        create(&world.checkout, "", JSON, r#"{"order":"1"}"#)
            .await
            .status(),
        409
    );
    assert_eq!(
        create(&world.checkout, "", FORM, "order=1").await.status(),
        409
    );
}

/// Looks again and again until there is something.
async fn until<T>(look: impl AsyncFn() -> Option<T>) -> T {
    let found = async {
        loop {
            if let Some(found) = look().await {
                break found;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(60), found).await;
    waited.unwrap()
}

#[tokio::test]
async fn the_buyer_who_is_back_sees_how_it_went() {
    let world = World::new().await;
    let session = world.open("1").await;
    let id = session.id();
    let complete =
        async |query: &str| ask(&world.checkout, "/checkout/complete", query, &[], "").await;
    let state = |page: &Reply| {
        let html = String::from_utf8(page.body().to_vec()).unwrap();
        let (_, behind) = html.split_once("data-state=\"").unwrap();
        behind.split_once('"').unwrap().0.to_owned()
    };
    let page = complete(&format!("session_id={id}")).await;
    assert_eq!(
        (page.status(), state(&page).as_str()),
        (200, "requires_payment_method")
    );
    world.pay(id, DELAYED).await;
    // Each look-up may be answered from memory for a second.
    let page = until(async || {
        let page = complete(&format!("session_id={id}")).await;
        (state(&page) == "processing").then_some(page)
    });
    assert_eq!(page.await.status(), 200);
    let status = async |body: &str| {
        let headers = [("content-type", JSON)];
        ask(&world.checkout, "/checkout/status", "", &headers, body).await
    };
    let ticket = serde_json::json!({ "session_id": id }).to_string();
    assert_eq!(json(&status(&ticket).await)["status"], "processing");
    assert!(world.sandbox.settle(&world.intent_of(id).await, true));
    until(async || (json(&status(&ticket).await)["status"] == "succeeded").then_some(())).await;
    let page = complete(&format!("session_id={id}")).await;
    assert_eq!((page.status(), state(&page).as_str()), (200, "succeeded"));
    assert_eq!(world.shop.lines(), ["ship for 20.00 EUR of 20.00 EUR 1"]);
    for unknown in ["cs_test_other", "x", ""] {
        let page = complete(&format!("session_id={unknown}")).await;
        assert_eq!(
            (page.status(), state(&page).as_str()),
            (404, "unknown"),
            "{unknown}"
        );
        let ticket = serde_json::json!({ "session_id": unknown }).to_string();
        assert_eq!(status(&ticket).await.status(), 404);
    }
}

#[tokio::test]
async fn the_route_is_there_only_where_it_was_asked_for() {
    let world = World::new().await;
    let has = |checkout: &Checkout| {
        let mut endpoints = checkout.endpoints().iter();
        endpoints.any(|known| known.path() == "/create-checkout-session")
    };
    assert!(has(&world.checkout));
    let config = world.sandbox.config();
    let without = Checkout::builder(config.clone())
        .fulfillment(
            stripe_checkout_core::fulfillment::MemoryInbox::new(),
            Shop::default(),
        )
        .hosted_checkout(hosted())
        .build()
        .unwrap();
    assert!(!has(&without), "without prices");
    let broken = world.try_build(HostedCheckout::new("shop.example"));
    assert!(
        matches!(broken, Err(BuildError::HostedCheckout { .. })),
        "{broken:?}"
    );
}

#[tokio::test]
async fn who_is_known_pays_on_stripes_page_as_the_customer_that_he_is() {
    let world = World::new().await;
    let checkout = world.visited_by("user-7").await;
    let user = CustomerRequest::new("user-7").email("jane@example.com");
    let known = checkout.customer(&user).await.unwrap();
    // Of a connected account the platform's customers are none.
    for (order, customer, account) in [
        ("7", Some(known.id()), None),
        ("theirs", None, Some("acct_1")),
    ] {
        let created = create(&checkout, "", JSON, &format!(r#"{{"order":"{order}"}}"#)).await;
        let created = json(&created);
        let (_, session) = created["url"].as_str().unwrap().rsplit_once('/').unwrap();
        let session = session.split(['?', '#']).next().unwrap();
        let made = world
            .get_of(account, &format!("/checkout/sessions/{session}"))
            .await;
        assert_eq!(made["customer"].as_str(), customer, "{order}");
    }
}
