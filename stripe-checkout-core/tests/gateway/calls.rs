//! The gateway over real sockets: its requests, its result for each answer, and its connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::server::{Act, SECRET_KEY, Server, config};
use stripe_checkout_core::requests::{IntentParams, PaymentRequest};
use stripe_checkout_core::stripe::{
    Gateway, IdempotencyKey, PooledTransport, Transport, TransportRequest, TransportResponse,
};
use stripe_checkout_core::webhook::PaymentStatus;
use stripe_checkout_core::{API_VERSION, Amount, ApiError, Currency, TransportError};

fn intent(id: &str) -> String {
    format!(
        r#"{{"id":"{id}","object":"payment_intent","amount":1999,"amount_received":0,"currency":"eur","status":"requires_payment_method","client_secret":"{id}_secret_hidden","metadata":{{"order_id":"order-1"}},"livemode":false,"created":1700000000}}"#
    )
}

fn good() -> Act {
    Act::Answer(200, "Request-Id: req_1\r\n", intent("pi_1"))
}

fn error(status: u16, headers: &'static str, body: &str) -> Act {
    Act::Answer(status, headers, format!(r#"{{"error":{body}}}"#))
}

fn params() -> IntentParams {
    PaymentRequest::new("order-1", Amount::new(1999, Currency::EUR))
        .receipt_email("jane@example.com")
        .intent_params("tea-shop")
        .unwrap()
}

fn key() -> IdempotencyKey {
    "key-1".parse().unwrap()
}

#[tokio::test]
async fn create_sends_what_stripe_wants() {
    let server = Server::start([good()]).await;
    let gateway = Gateway::new(&server.config()).unwrap();
    let payment = gateway
        .create_intent(&params(), &key(), None)
        .await
        .unwrap();

    assert_eq!(payment.id(), "pi_1");
    assert_eq!(payment.amount(), Amount::new(1999, Currency::EUR));
    assert_eq!(payment.status(), &PaymentStatus::RequiresPaymentMethod);
    assert_eq!(
        payment.client_secret().unwrap().expose(),
        "pi_1_secret_hidden"
    );
    assert_eq!(payment.order_id(), Some("order-1"));
    assert_eq!(payment.account(), None);

    let seen = &server.seen()[0];
    assert!(
        seen.head
            .starts_with("POST /v1/payment_intents HTTP/1.1\r\n"),
        "{}",
        seen.head
    );
    assert_eq!(
        seen.header("host"),
        Some(server.address.to_string().as_str())
    );
    assert_eq!(
        seen.header("authorization"),
        Some(format!("Bearer {SECRET_KEY}").as_str())
    );
    assert_eq!(seen.header("stripe-version"), Some(API_VERSION));
    assert_eq!(seen.header("idempotency-key"), Some("key-1"));
    assert_eq!(
        seen.header("content-type"),
        Some("application/x-www-form-urlencoded")
    );
    assert!(
        seen.header("user-agent")
            .unwrap()
            .starts_with("stripe-checkout/")
    );
    assert_eq!(seen.header("stripe-account"), None);
    assert_eq!(seen.body, params().create_form().unwrap());
}

#[tokio::test]
async fn each_call_has_its_path_and_its_account() {
    let server = Server::start([good()]).await;
    let gateway = Gateway::new(&server.config()).unwrap();
    let account = Some("acct_1");
    let payments = [
        gateway
            .create_intent(&params(), &key(), account)
            .await
            .unwrap(),
        gateway
            .update_intent("pi_1", &params(), &key(), account)
            .await
            .unwrap(),
        gateway
            .cancel_intent("pi_1", &key(), account)
            .await
            .unwrap(),
        gateway.retrieve_intent("pi_1", account).await.unwrap(),
    ];
    assert!(payments.iter().all(|payment| payment.account() == account));
    gateway
        .get("/events?limit=3&types[0]=a", account)
        .await
        .unwrap();
    let body = gateway
        .post("/refunds", "payment_intent=pi_1", &key(), account)
        .await
        .unwrap();
    assert_eq!(body, intent("pi_1"));

    let seen = server.seen();
    let lines: Vec<_> = seen
        .iter()
        .map(|seen| seen.head.lines().next().unwrap())
        .collect();
    assert_eq!(
        lines,
        [
            "POST /v1/payment_intents HTTP/1.1",
            "POST /v1/payment_intents/pi_1 HTTP/1.1",
            "POST /v1/payment_intents/pi_1/cancel HTTP/1.1",
            "GET /v1/payment_intents/pi_1 HTTP/1.1",
            "GET /v1/events?limit=3&types[0]=a HTTP/1.1",
            "POST /v1/refunds HTTP/1.1",
        ]
    );
    for seen in &seen {
        assert_eq!(seen.header("stripe-account"), account);
        // Stripe ignores a key on a GET. A reader could mistake such a key for a promise.
        assert_eq!(
            seen.header("idempotency-key").is_some(),
            seen.head.starts_with("POST")
        );
    }
    assert_eq!(seen[1].body, params().update_form().unwrap());
    assert_eq!(seen[5].body, "payment_intent=pi_1");
}

#[tokio::test]
async fn an_id_may_be_made_of_a_uuid_as_other_implementations_do() {
    let server = Server::start([good()]).await;
    let gateway = Gateway::new(&server.config()).unwrap();
    let id = "pi_0b0d1b6e-6f0c-4f0e-9a35-4a0f6c7f2d11";
    gateway.retrieve_intent(id, None).await.unwrap();
    let path = format!("GET /v1/payment_intents/{id} HTTP/1.1");
    assert!(server.seen()[0].head.starts_with(&path));
}

#[tokio::test]
async fn an_id_from_a_browser_cannot_leave_its_path() {
    let server = Server::start([good()]).await;
    let gateway = Gateway::new(&server.config()).unwrap();
    let long = format!("pi_{}", "a".repeat(300));
    for id in [
        "",
        "pi_",
        "ch_1",
        "pi_1/capture",
        "pi_1/../../v1/charges",
        "pi_1?expand[]=x",
        "pi_1#",
        "pi_%2e",
        "pi_ä",
        "pi_1\r\nX: y",
        &long,
    ] {
        let missing = ApiError::InvalidRequest {
            status: 404,
            code: Some("resource_missing".into()),
            param: Some("intent".into()),
            request_id: None,
        };
        assert_eq!(
            gateway.retrieve_intent(id, None).await.unwrap_err(),
            missing,
            "{id:?}"
        );
        assert_eq!(
            gateway.cancel_intent(id, &key(), None).await.unwrap_err(),
            missing
        );
        assert_eq!(
            gateway
                .update_intent(id, &params(), &key(), None)
                .await
                .unwrap_err(),
            missing
        );
    }
    for account in ["", "acct_", "acct_1\r\nX: y", "pi_1"] {
        let refused = gateway.retrieve_intent("pi_1", Some(account)).await;
        assert!(
            matches!(refused, Err(ApiError::InvalidRequest { status: 400, .. })),
            "{account:?}"
        );
    }
    for path in [
        "",
        "events",
        "@evil.example/",
        "/events/../charges",
        "/a b",
        "/a\r\nX: y",
        "/a#b",
        "/ä",
        "/a?b c",
    ] {
        let refused = gateway.get(path, None).await;
        assert!(
            matches!(refused, Err(ApiError::InvalidRequest { status: 400, .. })),
            "{path:?}"
        );
    }
    let too_much = IntentParams::new(Amount::new(u64::MAX, Currency::EUR));
    let refused = gateway.create_intent(&too_much, &key(), None).await;
    assert!(matches!(
        refused,
        Err(ApiError::InvalidRequest { status: 400, .. })
    ));
    assert_eq!(server.seen(), []);
}

#[tokio::test]
async fn every_error_of_stripes_becomes_one_of_ours() {
    let id = || Some("req_7".to_owned());
    let text = |text: &str| Some(text.to_owned());
    let cases = [
        (
            402,
            r#"{"type":"card_error","code":"card_declined","decline_code":"insufficient_funds"}"#,
            ApiError::Declined {
                code: "card_declined".into(),
                decline_code: text("insufficient_funds"),
                request_id: id(),
            },
        ),
        (
            402,
            r#"{}"#,
            ApiError::Declined {
                code: "card_declined".into(),
                decline_code: None,
                request_id: id(),
            },
        ),
        (
            400,
            r#"{"type":"invalid_request_error","code":"parameter_unknown","param":"metadata[a b]"}"#,
            // A name that is no plain word may hold anything, so the error omits it.
            ApiError::InvalidRequest {
                status: 400,
                code: text("parameter_unknown"),
                param: None,
                request_id: id(),
            },
        ),
        (
            400,
            r#"{"type":"invalid_request_error","code":"amount_too_small","param":"amount"}"#,
            ApiError::InvalidRequest {
                status: 400,
                code: text("amount_too_small"),
                param: text("amount"),
                request_id: id(),
            },
        ),
        (
            404,
            r#"{"type":"invalid_request_error","code":"resource_missing","param":"intent"}"#,
            ApiError::InvalidRequest {
                status: 404,
                code: text("resource_missing"),
                param: text("intent"),
                request_id: id(),
            },
        ),
        (
            400,
            r#"{"type":"idempotency_error"}"#,
            ApiError::IdempotencyMismatch { request_id: id() },
        ),
        (
            409,
            r#"{"type":"invalid_request_error","code":"idempotency_key_in_use"}"#,
            ApiError::IdempotencyConflict { request_id: id() },
        ),
        (
            409,
            r#"{"type":"idempotency_error","code":"idempotency_key_in_use"}"#,
            ApiError::IdempotencyConflict { request_id: id() },
        ),
        (
            409,
            r#"{"type":"invalid_request_error"}"#,
            ApiError::IdempotencyConflict { request_id: id() },
        ),
        (
            409,
            r#"{"code":"resource_already_exists"}"#,
            ApiError::InvalidRequest {
                status: 409,
                code: text("resource_already_exists"),
                param: None,
                request_id: id(),
            },
        ),
        (
            401,
            r#"{"type":"invalid_request_error"}"#,
            ApiError::Authentication { request_id: id() },
        ),
        (
            403,
            r#"{"type":"invalid_request_error"}"#,
            ApiError::Permission {
                sentence: None,
                account_is_gone: false,
                request_id: id(),
            },
        ),
        (
            403,
            r#"{"message":"The provided key 'rk_test_*1' does not have the required permissions. Having the 'rak_charge_read' permission would allow this."}"#,
            ApiError::Permission {
                sentence: text("Having the 'rak_charge_read' permission would allow this"),
                account_is_gone: false,
                request_id: id(),
            },
        ),
        // A message that may hold a secret.
        (
            403,
            r#"{"message":"The key 'rk_test_51Secret' has no permission."}"#,
            ApiError::Permission {
                sentence: None,
                account_is_gone: false,
                request_id: id(),
            },
        ),
        (
            403,
            r#"{"code":"account_invalid"}"#,
            ApiError::Permission {
                sentence: None,
                account_is_gone: true,
                request_id: id(),
            },
        ),
        (
            429,
            r#"{"code":"rate_limit"}"#,
            ApiError::RateLimited {
                retry_after: Some(Duration::from_secs(3)),
                request_id: id(),
            },
        ),
        (
            424,
            r#"{}"#,
            ApiError::Unavailable {
                status: Some(424),
                replayed: false,
                request_id: id(),
            },
        ),
        (
            500,
            r#"{"type":"api_error"}"#,
            ApiError::Unavailable {
                status: Some(500),
                replayed: false,
                request_id: id(),
            },
        ),
        (
            503,
            r#""<html>""#,
            ApiError::Unavailable {
                status: Some(503),
                replayed: false,
                request_id: id(),
            },
        ),
        (
            302,
            r#"{}"#,
            ApiError::UnexpectedAnswer {
                status: 302,
                request_id: id(),
            },
        ),
    ];
    for (status, body, expected) in cases {
        let server = Server::start([error(
            status,
            "Request-Id: req_7\r\nRetry-After: 3\r\n",
            body,
        )])
        .await;
        let gateway = Gateway::new(&server.config()).unwrap().max_tries(1);
        let found = gateway
            .create_intent(&params(), &key(), None)
            .await
            .unwrap_err();
        assert_eq!(found, expected, "{status} {body}");
    }
}

#[tokio::test]
async fn a_replayed_failure_says_so_and_is_not_asked_for_again() {
    let replayed = error(
        500,
        "Idempotent-Replayed: true\r\nRequest-Id: req_2\r\n",
        r#"{"type":"api_error"}"#,
    );
    let server = Server::start([replayed, good()]).await;
    let gateway = Gateway::new(&server.config()).unwrap();
    assert_eq!(
        gateway
            .create_intent(&params(), &key(), None)
            .await
            .unwrap_err(),
        ApiError::Unavailable {
            status: Some(500),
            replayed: true,
            request_id: Some("req_2".into())
        }
    );
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn an_answer_that_is_no_payment_intent_is_an_error_without_its_text() {
    for body in [
        "",
        "[]",
        "<html>hidden</html>",
        r#"{"id":"pi_1","object":"charge","hidden":1}"#,
        r#"{"id":"pi_1","object":"payment_intent","amount":"hidden"}"#,
    ] {
        let server = Server::start([Act::Answer(200, "Request-Id: req_1\r\n", body.into())]).await;
        let gateway = Gateway::new(&server.config()).unwrap();
        let found = gateway.retrieve_intent("pi_1", None).await.unwrap_err();
        assert_eq!(
            found,
            ApiError::UnexpectedAnswer {
                status: 200,
                request_id: Some("req_1".into())
            }
        );
        assert!(!format!("{found} {found:?}").contains("hidden"));
    }
}

#[tokio::test]
async fn what_stripe_says_is_repeated_only_where_it_is_a_plain_word() {
    let body = r#"{"type":"card_error","code":"sent by jane@example.com","decline_code":"<b>\r\n","param":"x y","message":"hidden"}"#;
    let server = Server::start([error(402, "Request-Id: req 1 hidden\r\n", body)]).await;
    let gateway = Gateway::new(&server.config()).unwrap();
    assert_eq!(
        gateway
            .create_intent(&params(), &key(), None)
            .await
            .unwrap_err(),
        ApiError::Declined {
            code: "card_declined".into(),
            decline_code: None,
            request_id: None
        }
    );
}

#[tokio::test]
async fn every_try_is_the_same_bytes_whatever_broke() {
    let half = "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{\"id\":";
    let faults = [
        Act::Answer(503, "", String::new()),
        Act::Answer(409, "Stripe-Should-Retry: true\r\n", "{}".into()),
        Act::Close,
        Act::Raw("HTTP/1.1 200 OK\r\n".into()),
        Act::Raw(half.into()),
        Act::Raw("not HTTP at all\r\n\r\n".into()),
    ];
    let calls = faults.map(|fault| {
        tokio::spawn(async move {
            let server = Server::start([fault.clone(), fault, good()]).await;
            let gateway = Gateway::new(&server.config()).unwrap();
            let payment = gateway
                .create_intent(&params(), &key(), None)
                .await
                .unwrap();
            assert_eq!(payment.id(), "pi_1");
            let seen = server.seen();
            assert_eq!(seen.len(), 3);
            for again in &seen {
                assert_eq!((&again.head, &again.body), (&seen[0].head, &seen[0].body));
            }
        })
    });
    for call in calls {
        call.await.unwrap();
    }
}

#[tokio::test]
async fn a_refused_connection_is_unavailable() {
    let address = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    };
    let gateway = Gateway::new(&config(&format!("http://{address}")))
        .unwrap()
        .max_tries(2);
    assert_eq!(
        gateway.retrieve_intent("pi_1", None).await.unwrap_err(),
        ApiError::Unavailable {
            status: None,
            replayed: false,
            request_id: None
        }
    );
}

#[tokio::test]
async fn what_speaks_no_tls_gets_no_key() {
    let server = Server::start([good()]).await;
    let gateway = Gateway::new(&config(&format!("https://{}", server.address))).unwrap();
    let gateway = gateway.max_tries(1).deadline(Duration::from_millis(500));
    gateway.retrieve_intent("pi_1", None).await.unwrap_err();
    assert_eq!(server.seen(), []);
}

#[tokio::test]
async fn a_server_that_hangs_costs_a_try_and_then_the_deadline() {
    let server = Server::start([Act::Hang, good()]).await;
    let gateway = Gateway::new(&server.config())
        .unwrap()
        .deadline(Duration::from_secs(3));
    let payment = gateway
        .create_intent(&params(), &key(), None)
        .await
        .unwrap();
    assert_eq!(payment.id(), "pi_1");
    let seen = server.seen();
    assert_eq!(
        (&seen[0].head, &seen[0].body),
        (&seen[1].head, &seen[1].body)
    );
    // The answer to the first request may still come, so its connection is not used again.
    assert_ne!(seen[0].connection, seen[1].connection);

    let server = Server::start([Act::Hang]).await;
    let gateway = Gateway::new(&server.config())
        .unwrap()
        .deadline(Duration::from_millis(200));
    assert_eq!(
        gateway.retrieve_intent("pi_1", None).await.unwrap_err(),
        ApiError::Timeout
    );

    // An answer whose body never ends hangs in the same way.
    let server = Server::start([Act::Answer(200, "Content-Length: 9\r\n", String::new())]).await;
    let gateway = Gateway::new(&server.config())
        .unwrap()
        .deadline(Duration::from_millis(200));
    gateway.retrieve_intent("pi_1", None).await.unwrap_err();
}

#[tokio::test]
async fn an_answer_without_end_is_not_read() {
    let huge = "x".repeat(5 << 20);
    let server = Server::start([Act::Answer(200, "", huge)]).await;
    let gateway = Gateway::new(&server.config()).unwrap();
    assert_eq!(
        gateway.get("/events", None).await.unwrap_err(),
        ApiError::UnexpectedAnswer {
            status: 200,
            request_id: None
        }
    );
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_hundred_intents_in_a_row_use_one_connection() {
    let server = Server::start([good()]).await;
    let gateway = Gateway::new(&server.config()).unwrap();
    for n in 0..100 {
        let key = format!("key-{n}").parse().unwrap();
        gateway.create_intent(&params(), &key, None).await.unwrap();
    }
    assert_eq!(server.seen().len(), 100);
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn an_error_leaves_the_connection_usable() {
    let server = Server::start([error(402, "", "{}"), good()]).await;
    let gateway = Gateway::new(&server.config()).unwrap();
    gateway
        .create_intent(&params(), &key(), None)
        .await
        .unwrap_err();
    gateway.clone().retrieve_intent("pi_1", None).await.unwrap();
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn a_connection_that_the_server_closed_is_not_the_callers_affair() {
    // There is no more than one try per request, whether the close is noticed before or after
    // sending.
    let closing = Act::AnswerAndClose(200, "", intent("pi_1"));
    let server = Server::start([closing]).await;
    let gateway = Gateway::new(&server.config()).unwrap();
    for _ in 0..20 {
        gateway.retrieve_intent("pi_1", None).await.unwrap();
    }
    assert_eq!(server.connections(), 20);

    let polite = Act::Answer(200, "Connection: close\r\n", intent("pi_1"));
    let server = Server::start([polite]).await;
    let gateway = Gateway::new(&server.config()).unwrap().max_tries(1);
    for _ in 0..20 {
        gateway.retrieve_intent("pi_1", None).await.unwrap();
    }
}

#[tokio::test]
async fn a_kept_connection_that_breaks_is_told_from_a_new_one() {
    let server = Server::start([good(), Act::Close]).await;
    let gateway = Gateway::new(&server.config()).unwrap();
    // A request of the gateway, for the test to send itself.
    let (recorder, recorded) = Recorder::new();
    let _ = gateway
        .transport(recorder)
        .retrieve_intent("pi_1", None)
        .await;
    let request = recorded.lock().unwrap().take().unwrap();

    let transport = PooledTransport::new().unwrap();
    assert_eq!(transport.send(&request).await.unwrap().status, 200);
    assert!(matches!(
        transport.send(&request).await,
        Err(TransportError::Stale(_))
    ));
    assert!(matches!(
        transport.send(&request).await,
        Err(TransportError::Broken(_))
    ));
}

type Recorded = Arc<std::sync::Mutex<Option<TransportRequest>>>;

struct Recorder(Recorded);

impl Recorder {
    fn new() -> (Self, Recorded) {
        let recorded = Recorded::default();
        (Self(recorded.clone()), recorded)
    }
}

impl Transport for Recorder {
    async fn send(&self, request: &TransportRequest) -> Result<TransportResponse, TransportError> {
        *self.0.lock().unwrap() = Some(request.clone());
        Err(TransportError::Request("only recorded".into()))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn calls_at_once_are_independent_and_keep_their_connections() {
    let server = Server::start([good()]).await;
    let gateway = Gateway::new(&server.config()).unwrap();
    for _ in 0..3 {
        let calls = (0..20).map(|n| {
            let gateway = gateway.clone();
            tokio::spawn(async move {
                let key = format!("key-{n}").parse().unwrap();
                gateway.create_intent(&params(), &key, None).await.unwrap();
            })
        });
        for call in calls.collect::<Vec<_>>() {
            call.await.unwrap();
        }
    }
    assert_eq!(server.seen().len(), 60);
    assert!(server.connections() <= 20, "{}", server.connections());
}

#[tokio::test]
async fn a_call_that_is_given_up_leaves_nothing_behind() {
    let server = Server::start([Act::Hang, good()]).await;
    let gateway = Gateway::new(&server.config()).unwrap();
    let call = tokio::spawn({
        let gateway = gateway.clone();
        async move { gateway.retrieve_intent("pi_1", None).await }
    });
    while server.seen().is_empty() {
        tokio::task::yield_now().await;
    }
    call.abort();
    assert!(call.await.unwrap_err().is_cancelled());
    gateway.retrieve_intent("pi_1", None).await.unwrap();
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn a_transport_of_ones_own() {
    struct Flaky(AtomicUsize);
    impl Transport for Flaky {
        async fn send(&self, _: &TransportRequest) -> Result<TransportResponse, TransportError> {
            if self.0.fetch_add(1, Ordering::Relaxed) == 0 {
                return Err(TransportError::Connect("no route".into()));
            }
            Ok(TransportResponse {
                status: 200,
                headers: vec![],
                body: intent("pi_9").into(),
            })
        }
    }
    let gateway = Gateway::new(&config("https://api.stripe.com")).unwrap();
    let gateway = gateway.transport(Flaky(AtomicUsize::new(0)));
    assert_eq!(
        gateway.retrieve_intent("pi_9", None).await.unwrap().id(),
        "pi_9"
    );
}

#[test]
fn without_keys_there_is_no_gateway() {
    let config =
        stripe_checkout_core::Config::new([
            stripe_checkout_core::WebhookSecret::new("whsec_1").unwrap()
        ])
        .unwrap();
    let error = Gateway::new(&config).unwrap_err();
    assert_eq!(error.to_string(), "STRIPE_SECRET_KEY is not set");
}
