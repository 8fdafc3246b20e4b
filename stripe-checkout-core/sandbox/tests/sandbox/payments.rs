//! The course of a payment, and the events about it.

use std::time::Duration;

use serde_json::{Value, json};
use stripe_checkout_sandbox::Sandbox;

use crate::http::{Client, events_of, id};

#[tokio::test]
async fn an_intent_begins_as_stripes_does() {
    let sandbox = Sandbox::start().await.unwrap();
    let client = Client::new(&sandbox);
    let answer = client
        .post(
            "/v1/payment_intents",
            "amount=1999&currency=EUR&metadata[order_id]=7&receipt_email=a@example.com&description=Two+books&statement_descriptor_suffix=BOOKS\
             &shipping[name]=Ada&shipping[address][line1]=1+Road&shipping[address][country]=GB&setup_future_usage=off_session",
        )
        .await;
    assert_eq!(answer.status, 200);
    assert!(answer.header("request-id").unwrap().starts_with("req_"));
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let intent = answer.json();
    let secret = intent["client_secret"].as_str().unwrap();
    assert!(secret.starts_with(&format!("{}_secret_", id(&intent))));
    for (field, expected) in [
        ("object", json!("payment_intent")),
        ("amount", json!(1999)),
        ("amount_received", json!(0)),
        ("amount_capturable", json!(0)),
        ("currency", json!("eur")),
        ("status", json!("requires_payment_method")),
        ("livemode", json!(false)),
        ("capture_method", json!("automatic_async")),
        ("confirmation_method", json!("automatic")),
        (
            "automatic_payment_methods",
            json!({ "allow_redirects": "always", "enabled": true }),
        ),
        ("payment_method_types", json!(["card", "sepa_debit"])),
        ("metadata", json!({ "order_id": "7" })),
        ("receipt_email", json!("a@example.com")),
        ("description", json!("Two books")),
        ("statement_descriptor_suffix", json!("BOOKS")),
        ("setup_future_usage", json!("off_session")),
        ("payment_method", json!(null)),
        ("latest_charge", json!(null)),
        ("next_action", json!(null)),
    ] {
        assert_eq!(intent[field], expected, "{field}");
    }
    assert_eq!(intent["shipping"]["address"]["country"], "GB");
    assert_eq!(intent["shipping"]["address"]["line2"], json!(null));
    assert_eq!(
        client
            .get(&format!("/v1/payment_intents/{}", id(&intent)))
            .await
            .json(),
        intent
    );
    assert_eq!(
        events_of(&client, id(&intent)).await,
        ["payment_intent.created"]
    );
}

/// After this time even `automatic_async` shows a balance transaction.
const BOOKED: Duration = Duration::from_secs(5);

#[tokio::test]
async fn a_balance_transaction_comes_late_unless_the_capture_is_synchronous() {
    let sandbox = Sandbox::start().await.unwrap();
    let client = Client::new(&sandbox);
    let charge_of = |paid: &Value| {
        let charge = format!("/v1/charges/{}", paid["latest_charge"].as_str().unwrap());
        let client = client.clone();
        async move { client.get(&charge).await.json() }
    };
    for (method, at_once) in [("", false), ("automatic_async", false), ("automatic", true)] {
        let asked = match method {
            "" => String::new(),
            method => format!("&capture_method={method}"),
        };
        let paid = client
            .create(&format!(
                "confirm=true&payment_method=pm_card_visa&return_url=https://shop.example{asked}"
            ))
            .await;
        assert_eq!(paid["status"], "succeeded");
        assert_eq!(paid["amount_received"], 1999);
        let early = charge_of(&paid).await;
        assert_eq!(
            early["balance_transaction"].is_string(),
            at_once,
            "{method}"
        );
        // The merchant already has the money.
        assert_eq!(sandbox.balance(id(&paid)).unwrap().net, 1999 - 87);
        sandbox.pass_time(BOOKED);
        let late = charge_of(&paid).await;
        let booking = late["balance_transaction"].as_str().unwrap();
        assert_eq!(
            client
                .get(&format!("/v1/balance_transactions/{booking}"))
                .await
                .json()["net"],
            1999 - 87
        );
        assert_eq!(sandbox.balance(id(&paid)).unwrap().net, 1999 - 87);
        let mut expected = vec![
            "payment_intent.created",
            "charge.succeeded",
            "payment_intent.succeeded",
        ];
        expected.extend((!at_once).then_some("charge.updated"));
        assert_eq!(events_of(&client, id(&paid)).await, expected, "{method}");
        if !at_once {
            let events = client.get("/v1/events?type=charge.updated").await.json();
            let data = &events["data"][0]["data"];
            assert_eq!(data["object"]["balance_transaction"], booking);
            assert_eq!(
                data["previous_attributes"],
                json!({ "balance_transaction": null })
            );
        }
    }
}

#[tokio::test]
async fn a_payment_leaves_a_charge_with_the_money() {
    let sandbox = Sandbox::start().await.unwrap();
    let client = Client::new(&sandbox);
    let paid = client.pay("pm_card_visa").await.json();
    assert_eq!(paid["amount_received"], 1999);
    sandbox.pass_time(BOOKED);
    let charge = client
        .get(&format!(
            "/v1/charges/{}?expand[]=balance_transaction",
            paid["latest_charge"].as_str().unwrap()
        ))
        .await
        .json();
    for (field, expected) in [
        ("status", json!("succeeded")),
        ("paid", json!(true)),
        ("captured", json!(true)),
        ("amount", json!(1999)),
        ("amount_captured", json!(1999)),
        ("amount_refunded", json!(0)),
        ("refunded", json!(false)),
        ("disputed", json!(false)),
        ("payment_intent", paid["id"].clone()),
        ("payment_method", paid["payment_method"].clone()),
    ] {
        assert_eq!(charge[field], expected, "{field}");
    }
    let booking = &charge["balance_transaction"];
    assert_eq!(
        booking["net"].as_u64().unwrap() + booking["fee"].as_u64().unwrap(),
        1999
    );
    let method = client
        .get(&format!(
            "/v1/payment_methods/{}",
            paid["payment_method"].as_str().unwrap()
        ))
        .await
        .json();
    assert_eq!(method["card"]["last4"], "4242");
}

#[tokio::test]
async fn a_decline_tells_why_and_a_second_card_succeeds_on_the_same_intent() {
    let sandbox = Sandbox::start().await.unwrap();
    let client = Client::new(&sandbox);
    let declined = client.pay("pm_card_chargeDeclinedInsufficientFunds").await;
    assert_eq!(declined.status, 402);
    let error = &declined.json()["error"];
    assert_eq!(error["type"], "card_error");
    assert_eq!(error["code"], "card_declined");
    assert_eq!(error["decline_code"], "insufficient_funds");
    assert_eq!(error["message"], "Your card has insufficient funds.");
    assert_eq!(
        error["doc_url"],
        "https://stripe.com/docs/error-codes/card-declined"
    );
    let intent = &error["payment_intent"];
    assert_eq!(intent["payment_method"], json!(null));
    assert_eq!(
        intent["last_payment_error"]["decline_code"],
        "insufficient_funds"
    );
    assert_eq!(intent["last_payment_error"]["charge"], error["charge"]);
    let charge = client
        .get(&format!(
            "/v1/charges/{}",
            error["charge"].as_str().unwrap()
        ))
        .await
        .json();
    assert_eq!(
        (&charge["status"], &charge["paid"]),
        (&json!("failed"), &json!(false))
    );
    assert_eq!(charge["outcome"]["reason"], "insufficient_funds");

    let paid = client
        .post(
            &format!("/v1/payment_intents/{}/confirm", id(intent)),
            "payment_method=pm_card_visa&return_url=https://shop.example/complete",
        )
        .await;
    assert_eq!(paid.json()["status"], "succeeded");
    assert_eq!(paid.json()["last_payment_error"], json!(null));
    assert_eq!(
        events_of(&client, id(intent)).await,
        [
            "payment_intent.created",
            "charge.failed",
            "payment_intent.payment_failed",
            "charge.succeeded",
            "payment_intent.succeeded"
        ]
    );
}

#[tokio::test]
async fn an_authorized_payment_is_captured_in_part() {
    let sandbox = Sandbox::start().await.unwrap();
    let client = Client::new(&sandbox);
    let held = client.create("capture_method=manual&confirm=true&payment_method=pm_card_visa&return_url=https://shop.example/").await;
    assert_eq!(held["status"], "requires_capture");
    assert_eq!(
        (&held["amount_capturable"], &held["amount_received"]),
        (&json!(1999), &json!(0))
    );
    let capture = format!("/v1/payment_intents/{}/capture", id(&held));
    assert_eq!(
        client
            .post(&capture, "amount_to_capture=2000")
            .await
            .error()
            .1,
        "amount_too_large"
    );
    let captured = client.post(&capture, "amount_to_capture=500").await.json();
    assert_eq!(captured["status"], "succeeded");
    assert_eq!(
        (&captured["amount_capturable"], &captured["amount_received"]),
        (&json!(0), &json!(500))
    );
    assert_eq!(
        client.post(&capture, "").await.error().1,
        "payment_intent_unexpected_state"
    );
    assert_eq!(
        events_of(&client, id(&held)).await,
        [
            "payment_intent.created",
            "charge.succeeded",
            "payment_intent.amount_capturable_updated",
            "charge.captured",
            "payment_intent.succeeded"
        ]
    );
    let charge = |more: &'static str| {
        let path = format!(
            "/v1/charges/{}{more}",
            held["latest_charge"].as_str().unwrap()
        );
        let client = client.clone();
        async move { client.get(&path).await.json() }
    };
    // Since API version 2025-03-31.basil the rest is released and does not count as a refund.
    let part = charge("").await;
    assert_eq!(
        (
            &part["amount_captured"],
            &part["amount_refunded"],
            &part["refunded"]
        ),
        (&json!(500), &json!(0), &json!(false))
    );
    assert!(part["balance_transaction"].is_string());
    // A refund cannot exceed the captured part.
    let refund = |body: String| {
        let client = client.clone();
        async move { client.post("/v1/refunds", &body).await }
    };
    assert_eq!(
        refund(format!("payment_intent={}&amount=501", id(&held)))
            .await
            .status,
        400
    );
    assert_eq!(
        refund(format!("payment_intent={}", id(&held))).await.json()["amount"],
        500
    );
    let refunded = charge("?expand[]=refunds").await;
    assert_eq!(
        (&refunded["amount_refunded"], &refunded["refunded"]),
        (&json!(500), &json!(true))
    );
    assert_eq!(refunded["refunds"]["data"][0]["amount"], 500);
}

/// Authorises a payment of 19.99 EUR with these options of its card.
async fn held(client: &Client, options: &str) -> Value {
    let form = "capture_method=manual&confirm=true&payment_method=pm_card_visa&return_url=https://shop.example/";
    client.create(&format!("{form}{options}")).await
}

#[tokio::test]
async fn a_payment_is_captured_several_times() {
    let sandbox = Sandbox::start().await.unwrap();
    let client = Client::new(&sandbox);
    let once = held(&client, "").await;
    let path = format!("/v1/payment_intents/{}/capture", id(&once));
    let refused = client
        .post(&path, "amount_to_capture=500&final_capture=false")
        .await;
    assert_eq!(refused.status, 400, "{}", refused.body);

    let option = "&payment_method_options[card][request_multicapture]=if_available";
    let held = held(&client, option).await;
    let path = format!("/v1/payment_intents/{}/capture", id(&held));
    let figures = |intent: &Value| {
        let of = |name: &str| intent[name].as_u64().unwrap();
        (of("amount_received"), of("amount_capturable"))
    };
    let part = "amount_to_capture=500&final_capture=false";
    let first = client.post(&path, part).await.json();
    assert_eq!(first["status"], "requires_capture");
    assert_eq!(figures(&first), (500, 1499));
    // The first part can be refunded before the rest is captured.
    let refund = format!("payment_intent={}&amount=300", id(&held));
    assert_eq!(client.post("/v1/refunds", &refund).await.status, 200);
    let more = client.post(&path, "amount_to_capture=1500").await;
    assert_eq!(more.error().1, "amount_too_large");
    let last = client.post(&path, "amount_to_capture=1000").await.json();
    assert_eq!(last["status"], "succeeded");
    assert_eq!(figures(&last), (1500, 0));
    let path = format!("/v1/charges/{}", held["latest_charge"].as_str().unwrap());
    let charge = client.get(&path).await.json();
    assert_eq!(charge["amount_captured"], 1500);
    assert_eq!(charge["amount_refunded"], 300);
    let events = events_of(&client, id(&held)).await;
    assert_eq!(
        events[3..],
        [
            "charge.captured",
            "payment_intent.amount_capturable_updated",
            "charge.refunded",
            "refund.created",
            "charge.captured",
            "payment_intent.succeeded"
        ]
    );
}

#[tokio::test]
async fn more_than_was_authorised_is_captured_where_that_was_asked_for() {
    let sandbox = Sandbox::start().await.unwrap();
    let client = Client::new(&sandbox);
    let option = "&payment_method_options[card][request_overcapture]=if_available";
    let held = held(&client, option).await;
    let path = format!("/v1/payment_intents/{}/capture", id(&held));
    let most = client.post(&path, "amount_to_capture=2399").await;
    assert_eq!(most.error().1, "amount_too_large");
    let captured = client.post(&path, "amount_to_capture=2398").await.json();
    assert_eq!(captured["status"], "succeeded");
    assert_eq!(captured["amount"], 1999);
    assert_eq!(captured["amount_received"], 2398);
}

#[tokio::test]
async fn what_is_over_cannot_be_confirmed_canceled_or_changed() {
    let sandbox = Sandbox::start().await.unwrap();
    let client = Client::new(&sandbox);
    let paid = client.pay("pm_card_visa").await.json();
    let processing = client.pay("pm_card_sandboxProcessing").await.json();
    let canceled = client.create("").await;
    let canceled = client
        .post(
            &format!("/v1/payment_intents/{}/cancel", id(&canceled)),
            "cancellation_reason=abandoned",
        )
        .await
        .json();
    assert_eq!(
        (&canceled["status"], &canceled["cancellation_reason"]),
        (&json!("canceled"), &json!("abandoned"))
    );
    assert!(canceled["canceled_at"].is_i64());
    for over in [paid, processing, canceled] {
        for (action, body) in [
            (
                "/confirm",
                "payment_method=pm_card_visa&return_url=https://shop.example/",
            ),
            ("/cancel", ""),
            ("/capture", ""),
            ("", "amount=2000"),
            ("", "currency=usd"),
            ("", "payment_method=pm_card_visa"),
        ] {
            let answer = client
                .post(&format!("/v1/payment_intents/{}{action}", id(&over)), body)
                .await;
            assert_eq!(answer.status, 400, "{} {action}", over["status"]);
            assert_eq!(answer.error().1, "payment_intent_unexpected_state");
            assert_eq!(
                answer.json()["error"]["payment_intent"]["status"],
                over["status"]
            );
        }
        // Descriptive fields can still change.
        let described = client
            .post(
                &format!("/v1/payment_intents/{}", id(&over)),
                "metadata[note]=x",
            )
            .await;
        assert_eq!(described.json()["metadata"]["note"], "x");
        assert_eq!(described.json()["status"], over["status"]);
    }
}

#[tokio::test]
async fn canceling_lets_an_authorization_go() {
    let sandbox = Sandbox::start().await.unwrap();
    let client = Client::new(&sandbox);
    let held = client.create("capture_method=manual&confirm=true&payment_method=pm_card_visa&return_url=https://shop.example/").await;
    let canceled = client
        .post(&format!("/v1/payment_intents/{}/cancel", id(&held)), "")
        .await
        .json();
    assert_eq!(
        (&canceled["status"], &canceled["amount_capturable"]),
        (&json!("canceled"), &json!(0))
    );
    let charge = client
        .get(&format!(
            "/v1/charges/{}",
            held["latest_charge"].as_str().unwrap()
        ))
        .await
        .json();
    assert_eq!(
        (
            &charge["captured"],
            &charge["refunded"],
            &charge["amount_refunded"]
        ),
        (&json!(false), &json!(false), &json!(0))
    );
    assert!(
        charge["payment_method_details"]["card"]
            .get("capture_before")
            .is_none()
    );
    // Since API version 2025-03-31.basil there is no refund of money that was never captured.
    assert_eq!(
        events_of(&client, id(&held)).await,
        [
            "payment_intent.created",
            "charge.succeeded",
            "payment_intent.amount_capturable_updated",
            "charge.expired",
            "payment_intent.canceled"
        ]
    );
    let refund = format!("payment_intent={}", id(&held));
    assert_eq!(client.post("/v1/refunds", &refund).await.status, 400);
}

#[tokio::test]
async fn an_update_changes_what_it_names() {
    let sandbox = Sandbox::start().await.unwrap();
    let client = Client::new(&sandbox);
    let intent = client
        .create("metadata[a]=1&metadata[b]=2&description=x&receipt_email=a@example.com")
        .await;
    let path = format!("/v1/payment_intents/{}", id(&intent));
    let changed = client.post(&path, "amount=500&currency=usd&metadata[b]=&metadata[c]=3&description=&receipt_email=b@example.com").await.json();
    assert_eq!(
        (&changed["amount"], &changed["currency"]),
        (&json!(500), &json!("usd"))
    );
    assert_eq!(changed["metadata"], json!({ "a": "1", "c": "3" }));
    assert_eq!(
        (&changed["description"], &changed["receipt_email"]),
        (&json!(null), &json!("b@example.com"))
    );
    assert_eq!(changed["client_secret"], intent["client_secret"]);
    assert_eq!(
        client.post(&path, "metadata=").await.json()["metadata"],
        json!({})
    );
    let with_card = client
        .post(&path, "payment_method=pm_card_visa")
        .await
        .json();
    assert_eq!(with_card["status"], "requires_confirmation");
    // A refused update changes nothing.
    assert_eq!(
        client.post(&path, "amount=900&currency=xyz").await.status,
        400
    );
    assert_eq!(
        client.post(&path, "amount=10").await.error().1,
        "amount_too_small"
    );
    assert_eq!(client.get(&path).await.json(), with_card);
    let paid = client
        .post(
            &format!("{path}/confirm"),
            "return_url=https://shop.example/",
        )
        .await
        .json();
    assert_eq!(
        (&paid["status"], &paid["amount_received"]),
        (&json!("succeeded"), &json!(500))
    );
}

#[tokio::test]
async fn a_processing_payment_ends_when_it_is_told() {
    let sandbox = Sandbox::start().await.unwrap();
    let client = Client::new(&sandbox);
    for (paid, status, event) in [
        (true, "succeeded", "payment_intent.succeeded"),
        (
            false,
            "requires_payment_method",
            "payment_intent.payment_failed",
        ),
    ] {
        let intent = client.pay("pm_card_sandboxProcessing").await.json();
        assert_eq!(
            (&intent["status"], &intent["processing"]["type"]),
            (&json!("processing"), &json!("card"))
        );
        assert!(sandbox.settle(id(&intent), paid));
        assert!(!sandbox.settle(id(&intent), paid), "only once");
        let ended = client
            .get(&format!("/v1/payment_intents/{}", id(&intent)))
            .await
            .json();
        assert_eq!(ended["status"], status);
        assert_eq!(events_of(&client, id(&intent)).await.last().unwrap(), event);
    }
    assert!(!sandbox.settle("pi_nothing", true));
}

#[tokio::test]
async fn refunds_go_to_the_last_cent_and_no_further() {
    let sandbox = Sandbox::start().await.unwrap();
    let client = Client::new(&sandbox);
    let paid = client.pay("pm_card_visa").await.json();
    let by_intent = format!("payment_intent={}", id(&paid));
    let first = client
        .post(
            "/v1/refunds",
            &format!("{by_intent}&amount=500&reason=duplicate&metadata[why]=x"),
        )
        .await
        .json();
    assert_eq!(
        (&first["amount"], &first["status"], &first["reason"]),
        (&json!(500), &json!("succeeded"), &json!("duplicate"))
    );
    assert_eq!(
        client
            .post("/v1/refunds", &format!("{by_intent}&amount=1500"))
            .await
            .status,
        400
    );
    let second = client
        .post(
            "/v1/refunds",
            &format!("charge={}", paid["latest_charge"].as_str().unwrap()),
        )
        .await
        .json();
    assert_eq!(second["amount"], 1499);
    assert_eq!(
        client.post("/v1/refunds", &by_intent).await.error().1,
        "charge_already_refunded"
    );
    assert_eq!(client.post("/v1/refunds", "").await.status, 400);
    assert_eq!(
        client
            .post("/v1/refunds", "payment_intent=pi_nothing")
            .await
            .error()
            .1,
        "resource_missing"
    );
    let unpaid = client.create("").await;
    assert_eq!(
        client
            .post("/v1/refunds", &format!("payment_intent={}", id(&unpaid)))
            .await
            .status,
        400
    );

    let charge = client
        .get(&format!(
            "/v1/charges/{}",
            paid["latest_charge"].as_str().unwrap()
        ))
        .await
        .json();
    assert_eq!(
        (&charge["amount_refunded"], &charge["refunded"]),
        (&json!(1999), &json!(true))
    );
    assert_eq!(
        client
            .get(&format!("/v1/refunds/{}", id(&first)))
            .await
            .json(),
        first
    );
    let listed = client.get(&format!("/v1/refunds?{by_intent}")).await.json();
    assert_eq!(listed["data"], json!([second, first]));
    let events = client.get("/v1/events?type=charge.refunded").await.json();
    assert_eq!(
        events["data"][1]["data"]["previous_attributes"],
        json!({ "amount_refunded": 0, "refunded": false })
    );
    assert_eq!(events["data"][0]["data"]["object"]["amount_refunded"], 1999);
}

#[tokio::test]
async fn a_disputed_charge_cannot_be_refunded() {
    let sandbox = Sandbox::start().await.unwrap();
    let client = Client::new(&sandbox);
    let disputed = client.pay("pm_card_createDispute").await.json();
    let answer = client
        .post("/v1/refunds", &format!("payment_intent={}", id(&disputed)))
        .await;
    assert_eq!(answer.error().1, "charge_disputed");
    assert!(!sandbox.dispute(id(&disputed)), "once is enough");
    let paid = client.pay("pm_card_visa").await.json();
    assert!(sandbox.dispute(id(&paid)));
    assert!(!sandbox.dispute("pi_nothing"));
    let events = client
        .get("/v1/events?type=charge.dispute.created")
        .await
        .json();
    let dispute = &events["data"][0]["data"]["object"];
    assert_eq!(
        (
            &dispute["payment_intent"],
            &dispute["amount"],
            &dispute["status"]
        ),
        (&paid["id"], &json!(1999), &json!("needs_response"))
    );
    assert_eq!(
        events["data"][0]["request"],
        json!({ "id": null, "idempotency_key": null })
    );
}

#[tokio::test]
async fn without_a_buyer_3d_secure_is_a_decline() {
    let sandbox = Sandbox::start().await.unwrap();
    let client = Client::new(&sandbox);
    for how in ["off_session=true", "error_on_requires_action=true"] {
        let answer = client
            .post(
                "/v1/payment_intents",
                &format!("amount=1999&currency=eur&confirm=true&payment_method=pm_card_threeDSecure2Required&return_url=https://shop.example/&{how}"),
            )
            .await;
        assert_eq!(answer.status, 402);
        assert_eq!(
            answer.error(),
            (
                "card_error".to_owned(),
                "authentication_required".to_owned()
            )
        );
    }
}

#[tokio::test]
async fn connected_accounts_do_not_see_each_other() {
    let sandbox = Sandbox::start().await.unwrap();
    let own = Client::new(&sandbox);
    let theirs = own.with("Stripe-Account", "acct_1");
    let intent = theirs.pay("pm_card_visa").await.json();
    let path = format!("/v1/payment_intents/{}", id(&intent));
    assert_eq!(theirs.get(&path).await.status, 200);
    for stranger in [&own, &own.with("Stripe-Account", "acct_2")] {
        assert_eq!(stranger.get(&path).await.error().1, "resource_missing");
        assert_eq!(
            stranger.post(&format!("{path}/cancel"), "").await.status,
            404
        );
        assert_eq!(stranger.get("/v1/events").await.json()["data"], json!([]));
    }
    let events = theirs.get("/v1/events").await.json();
    assert_eq!(events["data"][0]["account"], "acct_1");
}

#[tokio::test]
async fn expand_puts_objects_in_the_place_of_ids() {
    let sandbox = Sandbox::start().await.unwrap();
    let client = Client::new(&sandbox);
    let paid = client.pay("pm_card_visa").await.json();
    sandbox.pass_time(BOOKED);
    let path = format!("/v1/payment_intents/{}", id(&paid));
    let expanded = client
        .get(&format!("{path}?expand[]=latest_charge.balance_transaction&expand[]=payment_method&expand[]=customer"))
        .await
        .json();
    assert_eq!(expanded["latest_charge"]["id"], paid["latest_charge"]);
    assert_eq!(
        expanded["latest_charge"]["balance_transaction"]["object"],
        "balance_transaction"
    );
    assert_eq!(expanded["payment_method"]["object"], "payment_method");
    assert_eq!(expanded["customer"], json!(null));
    let list = client
        .get("/v1/payment_intents?expand[]=data.latest_charge")
        .await
        .json();
    assert_eq!(list["data"][0]["latest_charge"]["object"], "charge");
    for wrong in [
        "nothing",
        "amount",
        "status",
        "metadata",
        "latest_charge.nothing",
        "a.b.c.d.e",
    ] {
        let answer = client.get(&format!("{path}?expand[]={wrong}")).await;
        assert_eq!(answer.status, 400, "{wrong}");
        assert_eq!(answer.json()["error"]["param"], "expand");
    }
}
