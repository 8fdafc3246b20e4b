//! The adapter over a real socket: mounting, limits, and bytes that no well-behaved client sends.

mod support;

use axum::extract::{DefaultBodyLimit, FromRef, Request};
use axum::middleware::Next;
use axum::routing::post;
use axum::{Extension, Router};
use stripe_checkout_axum::{Answer, VerifiedEvent, router, verify};
use stripe_checkout_core::fulfillment::MemoryInbox;
use stripe_checkout_core::testing::{EventBody, PaymentIntent, now, sign};
use stripe_checkout_core::{
    Checkout, Config, Group, PublishableKey, Reply, SecretKey, VisitorData, WebhookSecret,
};
use support::{Member, OnePrice, PRICE, Ship, post_json, raw, read, send, serve};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

fn secret() -> WebhookSecret {
    WebhookSecret::new("whsec_of_this_test").unwrap()
}

fn checkout(ship: &Ship) -> Checkout {
    let config = Config::new([secret()])
        .unwrap()
        .with_keys(
            SecretKey::new("sk_test_1").unwrap(),
            PublishableKey::new("pk_test_1").unwrap(),
        )
        .unwrap()
        // Nobody listens there: whatever reaches for Stripe is a 503.
        .with_api_base("http://127.0.0.1:9")
        .unwrap();
    Checkout::builder(config)
        .application("my-shop")
        .pricing(OnePrice)
        .ours(stripe_checkout_core::Ours::All)
        .fulfillment(MemoryInbox::new(), ship.clone())
        .build()
        .unwrap()
}

fn event() -> Vec<u8> {
    let intent = PaymentIntent::new("pi_1", PRICE).metadata("order_id", "order-1");
    EventBody::new(
        "payment_intent.succeeded",
        intent.status("succeeded").object(),
    )
    .body()
}

fn signature(body: &[u8]) -> String {
    sign(body, &secret(), now())
}

#[tokio::test]
async fn all_routes_are_there_under_any_prefix_and_with_any_state() {
    #[derive(Clone)]
    struct Mine;
    let app: Router = Router::new()
        .nest("/shop", router(checkout(&Ship::default())))
        .merge(router(checkout(&Ship::default())))
        .with_state(Mine);
    let address = serve(app).await;
    for prefix in ["", "/shop"] {
        let page = send(
            address,
            "GET",
            &format!("{prefix}/checkout?order=a"),
            &[],
            b"",
        )
        .await;
        assert_eq!(page.status, 200, "{}", page.head);
        assert!(
            page.head
                .contains("content-security-policy: default-src 'none'")
        );
        assert!(page.body.contains("payment-element"));
        for asset in ["checkout.js", "complete.js", "checkout.css"] {
            let target = format!("{prefix}/checkout/{asset}");
            assert_eq!(
                send(address, "GET", &target, &[], b"").await.status,
                200,
                "{target}"
            );
            let head = send(address, "HEAD", &target, &[], b"").await;
            assert_eq!((head.status, head.body.as_str()), (200, ""), "{target}");
        }
        assert_eq!(
            send(
                address,
                "GET",
                &format!("{prefix}/checkout/complete"),
                &[],
                b""
            )
            .await
            .status,
            400
        );
        let unpayable = post_json(address, &format!("{prefix}/create-payment-intent"), "{}").await;
        assert_eq!(
            (unpayable.status, unpayable.json()["code"].as_str()),
            (400, Some("invalid_order"))
        );
        assert_eq!(
            post_json(address, &format!("{prefix}/checkout/status"), "{}")
                .await
                .status,
            400
        );
        assert_eq!(
            send(address, "POST", &format!("{prefix}/webhook"), &[], b"{}")
                .await
                .status,
            400
        );
    }
}

#[tokio::test]
async fn groups_can_be_mounted_apart() {
    let checkout = checkout(&Ship::default());
    let address = serve(router(checkout.only(Group::Webhook))).await;
    assert_eq!(
        send(address, "POST", "/webhook", &[], b"").await.status,
        400
    );
    assert_eq!(
        send(address, "GET", "/checkout?order=a", &[], b"")
            .await
            .status,
        404
    );
}

#[tokio::test]
async fn the_cores_limit_counts_and_not_the_frameworks() {
    let ship = Ship::default();
    let app = router(checkout(&ship)).layer(DefaultBodyLimit::max(10));
    let address = serve(app).await;
    let padded = |length: usize| {
        let mut body = event();
        body.resize(length, b' ');
        body
    };
    let limit = 1024 * 1024;
    for (length, status) in [
        (limit - 1, 200),
        (limit, 200),
        (limit + 1, 413),
        (limit * 3, 413),
    ] {
        let body = padded(length);
        let header = signature(&body);
        let answer = send(
            address,
            "POST",
            "/webhook",
            &[("stripe-signature", header.as_bytes())],
            &body,
        )
        .await;
        // What is far too large is answered before it is read; a client that goes on writing may see the connection close instead.
        assert!(
            answer.status == status || (length > limit + 1 && answer.status == 0),
            "{length}: {}",
            answer.status
        );
    }
    assert_eq!(ship.shipped(), ["order-1"]);
}

#[tokio::test]
async fn a_chunked_body_is_one_body_and_header_names_have_any_case() {
    let ship = Ship::default();
    let address = serve(router(checkout(&ship))).await;
    let body = event();
    let mut request = format!(
        "POST /webhook HTTP/1.1\r\nhOsT: x\r\nConnection: close\r\nsTrIpE-sIgNaTuRe: {}\r\nTransfer-Encoding: chunked\r\n\r\n",
        signature(&body)
    )
    .into_bytes();
    for chunk in body.chunks(100) {
        request.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        request.extend_from_slice(chunk);
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"0\r\n\r\n");
    assert_eq!(raw(address, &request).await.status, 200);
    assert_eq!(ship.shipped(), ["order-1"]);
}

#[tokio::test]
async fn a_body_that_is_cut_short_is_not_taken_for_a_whole_one() {
    let ship = Ship::default();
    let address = serve(router(checkout(&ship))).await;
    let body = event();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "POST /webhook HTTP/1.1\r\nHost: x\r\nStripe-Signature: {}\r\nContent-Length: {}\r\n\r\n",
        signature(&body),
        body.len() + 10
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&body).await.unwrap();
    stream.shutdown().await.unwrap();
    let answer = read(&mut stream).await;
    assert!([0, 400].contains(&answer.status), "{}", answer.status);
    assert!(ship.shipped().is_empty());
}

#[tokio::test]
async fn strange_headers_are_refused_and_nothing_panics() {
    let ship = Ship::default();
    let address = serve(router(checkout(&ship))).await;
    let body = event();
    let good = signature(&body);
    let good = good.as_bytes();
    let refused: [&[(&str, &[u8])]; 5] = [
        &[],
        &[("stripe-signature", b"")],
        &[("stripe-signature", b"t=1,v1=\xff\xfe")],
        &[("stripe-signature", good), ("Stripe-Signature", good)],
        &[("stripe-signature", b"t=1,v1=00")],
    ];
    for headers in refused {
        let answer = send(address, "POST", "/webhook", headers, &body).await;
        assert_eq!(
            (answer.status, answer.json()["code"].as_str()),
            (400, Some("invalid_webhook"))
        );
    }
    let odd = [
        ("x-odd", &b"\xff\xfe"[..]),
        ("cookie", b"\xf0"),
        ("stripe-signature", good),
    ];
    assert_eq!(
        send(address, "POST", "/webhook", &odd, &body).await.status,
        200
    );
    for query in [
        "order=%ff%fe",
        "order=%",
        "order=a&order=b",
        "=&=&",
        "order=a%00b",
    ] {
        let answer = send(address, "GET", &format!("/checkout?{query}"), &[], b"").await;
        assert!(
            [200, 400, 422].contains(&answer.status),
            "{query}: {}",
            answer.status
        );
    }
    assert_eq!(ship.shipped(), ["order-1"]);
}

#[tokio::test]
async fn what_axum_answers_itself() {
    let address = serve(router(checkout(&Ship::default()))).await;
    for (method, target, status) in [
        ("POST", "/checkout?order=a", 405),
        ("GET", "/webhook", 405),
        ("GET", "/create-payment-intent", 405),
        ("GET", "/checkout/nothing", 404),
        ("POST", "/webhook/", 404),
        ("GET", "/checkout/?order=a", 308),
        ("HEAD", "/checkout?order=a", 200),
    ] {
        assert_eq!(
            send(address, method, target, &[], b"").await.status,
            status,
            "{method} {target}"
        );
    }
}

#[tokio::test]
async fn cross_site_requests_are_refused_and_stripe_away_is_a_503() {
    let address = serve(router(checkout(&Ship::default()))).await;
    let json = ("Content-Type", &b"application/json"[..]);
    let cross = [json, ("Sec-Fetch-Site", b"cross-site")];
    let answer = send(
        address,
        "POST",
        "/create-payment-intent",
        &cross,
        b"{\"order\":\"a\"}",
    )
    .await;
    assert_eq!(answer.status, 403);
    let foreign = [json, ("Origin", b"https://evil.example")];
    let answer = send(
        address,
        "POST",
        "/create-payment-intent",
        &foreign,
        b"{\"order\":\"a\"}",
    )
    .await;
    assert_eq!(answer.status, 403);
    let own = format!("http://{address}");
    let same = [json, ("Origin", own.as_bytes())];
    let answer = send(
        address,
        "POST",
        "/create-payment-intent",
        &same,
        b"{\"order\":\"a\"}",
    )
    .await;
    assert_eq!(answer.status, 503, "{}", answer.body);
    assert!(answer.head.contains("retry-after: "));
}

#[tokio::test]
async fn the_applications_own_user_reaches_the_prices() {
    let member = async |mut request: Request, next: Next| {
        if request.headers().contains_key("x-member") {
            request.extensions_mut().insert(VisitorData::new(Member));
        }
        next.run(request).await
    };
    let app = router(checkout(&Ship::default())).layer(axum::middleware::from_fn(member));
    let address = serve(app).await;
    let page = |headers: &'static [(&'static str, &'static [u8])]| {
        send(address, "GET", "/checkout?order=members", headers, b"")
    };
    assert_eq!(page(&[]).await.status, 422);
    assert_eq!(page(&[("x-member", b"1")]).await.status, 200);
}

#[derive(Clone)]
struct Own {
    checkout: Checkout,
}

impl FromRef<Own> for Checkout {
    fn from_ref(state: &Own) -> Self {
        state.checkout.clone()
    }
}

#[tokio::test]
async fn whoever_writes_the_route_by_hand_gets_genuine_events_only() {
    let ship = Ship::default();
    let state = Own {
        checkout: checkout(&ship),
    };
    let extracted = async |VerifiedEvent(event): VerifiedEvent| event.event_type().to_owned();
    let by_call = async |Extension(checkout): Extension<Checkout>, request: Request| {
        let event = verify(&checkout, request).await?;
        Ok::<_, Answer>(Answer(Reply::from(checkout.receive(event).await)))
    };
    let app = Router::new()
        .route("/extracted", post(extracted))
        .route("/called", post(by_call))
        .layer(Extension(state.checkout.clone()))
        .with_state(state);
    let address = serve(app).await;
    let body = event();
    let good = signature(&body);
    let headers = [("stripe-signature", good.as_bytes())];
    for path in ["/extracted", "/called"] {
        let forged = send(
            address,
            "POST",
            path,
            &[("stripe-signature", b"t=1,v1=00")],
            &body,
        )
        .await;
        assert_eq!(
            (forged.status, forged.json()["code"].as_str()),
            (400, Some("invalid_webhook"))
        );
        let huge = send(
            address,
            "POST",
            path,
            &headers,
            &vec![b' '; 1024 * 1024 + 1],
        )
        .await;
        assert_eq!(huge.status, 413);
    }
    let answer = send(address, "POST", "/extracted", &headers, &body).await;
    assert_eq!(
        (answer.status, answer.body.as_str()),
        (200, "payment_intent.succeeded")
    );
    assert!(ship.shipped().is_empty(), "the extractor only verifies");
    let answer = send(address, "POST", "/called", &headers, &body).await;
    assert_eq!(
        (answer.status, answer.body.as_str()),
        (200, r#"{"status":"done"}"#)
    );
    assert_eq!(ship.shipped(), ["order-1"]);
}
