//! Deliveries: signed, at least once, in no fixed order, until acknowledged or given up.

use std::time::Duration;

use serde_json::json;
use stripe_checkout_core::{
    WebhookSecret,
    webhook::{Event, Verifier},
};
use stripe_checkout_sandbox::{DeliveryResult, Sandbox, SandboxError, TestCard, test_cards};

use crate::{
    http::{Client, id},
    receiver::{Delivery, Receiver},
};

const SOON: [Duration; 2] = [Duration::from_millis(5), Duration::from_millis(5)];

async fn sandbox() -> Sandbox {
    Sandbox::builder().retry_after(SOON).start().await.unwrap()
}

fn verified(secret: &WebhookSecret, delivery: &Delivery) -> bool {
    Verifier::new([secret])
        .verify(
            &delivery.body,
            delivery.header("stripe-signature").as_bytes(),
        )
        .is_ok()
}

#[tokio::test]
async fn a_delivery_is_signed_and_whole() {
    let sandbox = sandbox().await;
    let receiver = Receiver::start(|_| 200).await;
    let secret = sandbox.webhook_endpoint(&receiver.url).unwrap();
    let client = Client::new(&sandbox);
    let paid = client.pay("pm_card_visa").await.json();
    sandbox.wait_idle().await;

    let mut types = receiver.types();
    types.sort();
    assert_eq!(
        types,
        [
            "charge.succeeded",
            "payment_intent.created",
            "payment_intent.succeeded"
        ]
    );
    for delivery in receiver.deliveries() {
        assert!(delivery.head.starts_with("POST /webhook HTTP/1.1"));
        assert_eq!(
            delivery.header("content-type"),
            "application/json; charset=utf-8"
        );
        assert!(verified(&secret, &delivery));
        let header = delivery.header("stripe-signature");
        assert!(header.contains(",v0="), "{header}");
        let mut changed = delivery.clone();
        changed.body[10] ^= 1;
        assert!(!verified(&secret, &changed));
        // The same event as in the API, except for the deliveries that were still open then.
        let event = delivery.event();
        let mut listed = client
            .get(&format!("/v1/events/{}", id(&event)))
            .await
            .json();
        assert_eq!(
            (&event["pending_webhooks"], &listed["pending_webhooks"]),
            (&json!(1), &json!(0))
        );
        listed["pending_webhooks"] = json!(1);
        assert_eq!(event, listed);
    }
    let succeeded = receiver
        .deliveries()
        .into_iter()
        .find(|delivery| delivery.event_type() == "payment_intent.succeeded")
        .unwrap();
    assert_eq!(succeeded.event()["data"]["object"], paid);
    assert_eq!(
        succeeded.event()["api_version"],
        stripe_checkout_core::API_VERSION
    );
    assert_eq!(
        Event::parse(succeeded.body).unwrap().object_id(),
        paid["id"].as_str()
    );
}

/// Types every event with async-stripe. Its types fail if a field is missing or has the wrong kind.
#[tokio::test]
async fn async_stripe_can_type_every_event() {
    let sandbox = sandbox().await;
    let receiver = Receiver::start(|_| 200).await;
    let secret = sandbox.webhook_endpoint(&receiver.url).unwrap();
    let client = Client::new(&sandbox);
    for payment_method in test_cards().iter().filter_map(TestCard::payment_method) {
        client.pay(payment_method).await;
    }
    let paid = client.pay("pm_card_visa").await.json();
    client
        .post(
            "/v1/refunds",
            &format!("payment_intent={}&amount=5", id(&paid)),
        )
        .await;
    let held = client.create("capture_method=manual&confirm=true&payment_method=pm_card_visa&return_url=https://shop.example/&shipping[name]=a&shipping[address][line1]=b").await;
    client
        .post(&format!("/v1/payment_intents/{}/capture", id(&held)), "")
        .await;
    let open = client.create("").await;
    client
        .post(&format!("/v1/payment_intents/{}/cancel", id(&open)), "")
        .await;
    sandbox.wait_idle().await;
    let mut refused = Vec::new();
    for delivery in receiver.deliveries() {
        let typed = stripe_webhook::Webhook::construct_event(
            std::str::from_utf8(&delivery.body).unwrap(),
            delivery.header("stripe-signature"),
            secret.expose(),
        );
        if let Err(error) = typed {
            refused.push(format!("{} {error}", delivery.event_type()));
        }
    }
    // A limit of async-stripe: it refuses every dispute, including Stripe's own.
    refused.retain(|refusal| !refusal.starts_with("charge.dispute."));
    assert_eq!(refused, Vec::<String>::new());
}

#[tokio::test]
async fn what_is_not_acknowledged_is_tried_again_with_a_signature_of_its_own() {
    let sandbox = Sandbox::builder()
        .retry_after([Duration::from_millis(1100), Duration::from_millis(1)])
        .start()
        .await
        .unwrap();
    // Redirects also count as failures, and are not followed.
    let receiver = Receiver::start(|nth| [500, 302, 204][nth]).await;
    let secret = sandbox.webhook_endpoint(&receiver.url).unwrap();
    Client::new(&sandbox).create("").await;
    sandbox.wait_idle().await;
    let deliveries = receiver.deliveries();
    assert_eq!(deliveries.len(), 3);
    assert!(
        deliveries
            .iter()
            .all(|delivery| verified(&secret, delivery))
    );
    assert!(
        deliveries
            .iter()
            .all(|delivery| delivery.body == deliveries[0].body)
    );
    assert_ne!(
        deliveries[0].header("stripe-signature"),
        deliveries[1].header("stripe-signature")
    );
    let attempts = sandbox.deliveries();
    let results: Vec<_> = attempts
        .iter()
        .map(|attempt| (attempt.attempt, attempt.result.clone()))
        .collect();
    assert_eq!(
        results,
        [
            (1, DeliveryResult::Answered(500)),
            (2, DeliveryResult::Answered(302)),
            (3, DeliveryResult::Answered(204))
        ]
    );
    assert!(attempts[1].timestamp > attempts[0].timestamp);
    assert_eq!(attempts[0].event, sandbox.events()[0].0);
    assert_eq!(
        (
            attempts[0].event_type.as_str(),
            attempts[0].endpoint.as_str()
        ),
        ("payment_intent.created", receiver.url.as_str())
    );
}

#[tokio::test]
async fn what_fails_for_good_is_given_up_listed_and_can_be_sent_again() {
    let sandbox = sandbox().await;
    let receiver = Receiver::start(|nth| if nth < 3 { 503 } else { 200 }).await;
    sandbox.webhook_endpoint(&receiver.url).unwrap();
    let client = Client::new(&sandbox);
    client.create("").await;
    sandbox.wait_idle().await;
    assert_eq!(receiver.deliveries().len(), 3);
    let (event, _) = sandbox.events()[0].clone();
    let failed = client.get("/v1/events?delivery_success=false").await.json();
    assert_eq!(
        (
            id(&failed["data"][0]),
            &failed["data"][0]["pending_webhooks"]
        ),
        (event.as_str(), &json!(1))
    );
    assert_eq!(
        client.get("/v1/events?delivery_success=true").await.json()["data"],
        json!([])
    );

    assert!(sandbox.redeliver(&event));
    assert!(!sandbox.redeliver("evt_nothing"));
    sandbox.wait_idle().await;
    assert_eq!(receiver.ids(), vec![event; 4]);
    assert_eq!(
        client.get("/v1/events?delivery_success=false").await.json()["data"],
        json!([])
    );
    assert!(
        sandbox
            .deliveries()
            .last()
            .unwrap()
            .result
            .is_acknowledged()
    );
}

#[tokio::test]
async fn an_endpoint_that_is_not_there_or_does_not_answer() {
    let sandbox = sandbox().await;
    let receiver = Receiver::start(|_| 0).await;
    sandbox.webhooks().timeout(Duration::from_millis(20));
    sandbox.webhooks().retry_after([]);
    sandbox.webhook_endpoint(&receiver.url).unwrap();
    // Port 1 has no listener.
    sandbox.webhook_endpoint("http://127.0.0.1:1/").unwrap();
    Client::new(&sandbox).create("").await;
    sandbox.wait_idle().await;
    let mut results: Vec<_> = sandbox
        .deliveries()
        .into_iter()
        .map(|attempt| (attempt.endpoint, attempt.result))
        .collect();
    results.sort_by_key(|(endpoint, _)| *endpoint == receiver.url);
    assert_eq!(
        results,
        [
            ("http://127.0.0.1:1/".to_owned(), DeliveryResult::Failed),
            (receiver.url.clone(), DeliveryResult::TimedOut)
        ]
    );
}

#[tokio::test]
async fn duplicates() {
    let sandbox = sandbox().await;
    let receiver = Receiver::start(|_| 200).await;
    sandbox.webhook_endpoint(&receiver.url).unwrap();
    let client = Client::new(&sandbox);
    sandbox.webhooks().duplicate(2);
    client.create("").await;
    sandbox.wait_idle().await;
    assert_eq!(receiver.ids(), vec![sandbox.events()[0].0.clone(); 3]);
    sandbox.webhooks().duplicate(0);
    client.create("").await;
    sandbox.wait_idle().await;
    assert_eq!(receiver.deliveries().len(), 4);
}

#[tokio::test]
async fn shuffled() {
    let sandbox = sandbox().await;
    let receiver = Receiver::start(|nth| if nth == 0 { 500 } else { 200 }).await;
    sandbox.webhook_endpoint(&receiver.url).unwrap();
    let client = Client::new(&sandbox);
    // Long enough for one request on any machine: a payment makes all its events at once.
    sandbox.webhooks().shuffle(Duration::from_millis(300));
    client.pay("pm_card_createDispute").await;
    sandbox.wait_idle().await;
    let made: Vec<String> = sandbox
        .events()
        .into_iter()
        .map(|(event, _)| event)
        .collect();
    let received = receiver.ids();
    // The first delivery failed and was repeated.
    assert_eq!(received.len(), made.len() + 1);
    assert_ne!(received[..made.len()], made);
    assert!(made.iter().all(|event| received.contains(event)));
}

#[tokio::test]
async fn late() {
    let sandbox = sandbox().await;
    let receiver = Receiver::start(|_| 200).await;
    sandbox.webhook_endpoint(&receiver.url).unwrap();
    let client = Client::new(&sandbox);
    sandbox.webhooks().delay(Duration::from_secs(3600));
    client.create("").await;
    sandbox.webhooks().delay(Duration::ZERO);
    client.create("").await;
    sandbox
        .wait_for(|sandbox| !sandbox.deliveries().is_empty())
        .await;
    assert_eq!(
        receiver.ids(),
        [sandbox.events()[1].0.clone()],
        "the second overtook the first"
    );
}

#[tokio::test]
async fn one_change_two_events_or_none() {
    let sandbox = sandbox().await;
    let receiver = Receiver::start(|_| 200).await;
    sandbox.webhook_endpoint(&receiver.url).unwrap();
    let client = Client::new(&sandbox);
    sandbox.webhooks().double_events(1);
    let intent = client.create("").await;
    sandbox.wait_idle().await;
    let deliveries = receiver.deliveries();
    assert_eq!(deliveries.len(), 2);
    assert_ne!(deliveries[0].event_id(), deliveries[1].event_id());
    assert!(
        deliveries
            .iter()
            .all(|delivery| delivery.event()["data"]["object"]["id"] == intent["id"])
    );

    sandbox.webhooks().lose_events(1);
    let lost = client.create("").await;
    client.create("").await;
    sandbox.wait_idle().await;
    assert_eq!(receiver.deliveries().len(), 3);
    assert_eq!(
        client
            .get(&format!("/v1/payment_intents/{}", id(&lost)))
            .await
            .status,
        200
    );
}

#[tokio::test]
async fn each_endpoint_has_its_own_secret_and_its_own_types() {
    let sandbox = sandbox().await;
    let (first, second) = (
        Receiver::start(|_| 200).await,
        Receiver::start(|_| 200).await,
    );
    let first_secret = sandbox.webhook_endpoint(&first.url).unwrap();
    let second_secret = sandbox
        .webhook_endpoint_for(&second.url, ["payment_intent.succeeded"])
        .unwrap();
    assert_eq!(
        first_secret.expose(),
        sandbox.config().webhook_secrets()[0].expose()
    );
    assert_ne!(first_secret.expose(), second_secret.expose());
    Client::new(&sandbox).pay("pm_card_visa").await;
    sandbox.wait_idle().await;
    assert_eq!(first.deliveries().len(), 3);
    assert_eq!(second.types(), ["payment_intent.succeeded"]);
    assert!(verified(&second_secret, &second.deliveries()[0]));
    assert!(!verified(&first_secret, &second.deliveries()[0]));
}

#[tokio::test]
async fn an_endpoint_that_hangs_holds_up_no_other() {
    let sandbox = sandbox().await;
    let hanging = Receiver::start(|_| 0).await;
    let receiver = Receiver::start(|_| 200).await;
    sandbox.webhook_endpoint(&hanging.url).unwrap();
    sandbox.webhook_endpoint(&receiver.url).unwrap();
    let client = Client::new(&sandbox);
    // More deliveries than the limit at the same time, and shuffled, so that some go one after
    // another.
    sandbox.webhooks().duplicate(40);
    sandbox.webhooks().shuffle(Duration::from_millis(20));
    client.pay("pm_card_visa").await;
    sandbox
        .wait_for(|sandbox| sandbox.deliveries().len() == 3 * 41)
        .await;
    assert_eq!(receiver.deliveries().len(), 3 * 41);
    assert_eq!(sandbox.take_deliveries().len(), 3 * 41);
    assert!(sandbox.take_deliveries().is_empty() && sandbox.deliveries().is_empty());
}

#[tokio::test]
async fn a_rolled_secret_and_the_old_one_both_verify() {
    let sandbox = sandbox().await;
    let receiver = Receiver::start(|_| 200).await;
    let old = sandbox.webhook_endpoint(&receiver.url).unwrap();
    let new = sandbox.roll_webhook_secret(&receiver.url).unwrap();
    assert!(sandbox.roll_webhook_secret("http://127.0.0.1:1/").is_none());
    Client::new(&sandbox).create("").await;
    sandbox.wait_idle().await;
    let delivery = &receiver.deliveries()[0];
    assert!(verified(&old, delivery) && verified(&new, delivery));
}

#[tokio::test]
async fn webhooks_go_to_this_machine_only() {
    let sandbox = sandbox().await;
    let client = Client::new(&sandbox);
    for url in [
        "https://127.0.0.1/webhook",
        "http://shop.example/webhook",
        "http://192.0.2.1/",
        "http://127.0.0.1.shop.example/",
        "ftp://localhost/",
        "nonsense",
        "",
    ] {
        let error = sandbox.webhook_endpoint(url).unwrap_err();
        assert!(matches!(&error, SandboxError::EndpointNotLocal { url: named } if named == url));
        let answer = client
            .post(
                "/v1/webhook_endpoints",
                &format!("url={url}&enabled_events[]=*"),
            )
            .await;
        assert_eq!(answer.status, 400, "{url}");
    }
}

#[tokio::test]
async fn an_endpoint_that_registers_itself() {
    let sandbox = sandbox().await;
    let receiver = Receiver::start(|_| 200).await;
    let client = Client::new(&sandbox);
    let path = "/v1/webhook_endpoints";
    for (body, param) in [
        (String::new(), "url"),
        (format!("url={}", receiver.url), "enabled_events"),
        (
            format!("url={}&enabled_events=*", receiver.url),
            "enabled_events",
        ),
    ] {
        let answer = client.post(path, &body).await;
        assert_eq!(
            (answer.status, &answer.json()["error"]["param"]),
            (400, &json!(param)),
            "{body}"
        );
    }
    let made = client
        .post(
            path,
            &format!(
                "url={}&enabled_events[]=payment_intent.created&description=Shop&metadata[a]=b",
                receiver.url
            ),
        )
        .await
        .json();
    let secret = WebhookSecret::new(made["secret"].as_str().unwrap()).unwrap();
    assert_eq!(
        secret.expose(),
        sandbox.config().webhook_secrets()[0].expose(),
        "the first has the configuration's"
    );
    let kept = client.get(&format!("{path}/{}", id(&made))).await.json();
    assert!(kept.get("secret").is_none());
    assert_eq!(
        (&kept["url"], &kept["description"], &kept["metadata"]["a"]),
        (&json!(receiver.url), &json!("Shop"), &json!("b"))
    );
    assert_eq!(client.get(path).await.json()["data"], json!([kept]));
    client.create("").await;
    sandbox.wait_idle().await;
    assert!(verified(&secret, &receiver.deliveries()[0]));

    let gone = client
        .send("DELETE", &format!("{path}/{}", id(&made)), "")
        .await
        .unwrap()
        .json();
    assert_eq!(gone["deleted"], true);
    client.create("").await;
    sandbox.wait_idle().await;
    assert_eq!(receiver.deliveries().len(), 1);
}

#[tokio::test]
async fn events_of_a_connected_account_name_it() {
    let sandbox = sandbox().await;
    let receiver = Receiver::start(|_| 200).await;
    sandbox.webhook_endpoint(&receiver.url).unwrap();
    let client = Client::new(&sandbox);
    client.with("Stripe-Account", "acct_1").create("").await;
    sandbox.wait_idle().await;
    assert_eq!(receiver.deliveries()[0].event()["account"], "acct_1");
    client.create("").await;
    sandbox.wait_idle().await;
    assert!(receiver.deliveries()[1].event().get("account").is_none());
}

#[tokio::test]
async fn a_hundred_deliveries_use_few_connections() {
    let sandbox = sandbox().await;
    let receiver = Receiver::start(|_| 200).await;
    sandbox.webhook_endpoint(&receiver.url).unwrap();
    let client = Client::new(&sandbox);
    for _ in 0..100 {
        client.create("").await;
        sandbox.wait_idle().await;
    }
    assert_eq!(receiver.deliveries().len(), 100);
    assert!(receiver.connections() < 5, "{}", receiver.connections());
}

#[tokio::test]
async fn an_endpoint_can_be_changed_and_switched_off() {
    let sandbox = sandbox().await;
    let client = Client::new(&sandbox);
    let old = Receiver::start(|_| 200).await;
    let new = Receiver::start(|_| 200).await;
    let made = client
        .post(
            "/v1/webhook_endpoints",
            &format!("url={}&enabled_events[]=*", old.url),
        )
        .await
        .json();
    let path = format!("/v1/webhook_endpoints/{}", id(&made));
    let changed = client
        .post(
            &path,
            &format!(
                "url={}&enabled_events[]=payment_intent.succeeded&description=Shop&metadata[a]=b",
                new.url
            ),
        )
        .await
        .json();
    assert_eq!(
        (
            &changed["url"],
            &changed["enabled_events"],
            &changed["description"],
            &changed["metadata"],
            changed.get("secret")
        ),
        (
            &json!(new.url),
            &json!(["payment_intent.succeeded"]),
            &json!("Shop"),
            &json!({ "a": "b" }),
            None
        )
    );
    client.pay("pm_card_visa").await;
    sandbox.wait_idle().await;
    assert!(old.types().is_empty());
    assert_eq!(new.types(), ["payment_intent.succeeded"]);
    let off = client.post(&path, "disabled=true").await.json();
    assert_eq!(off["status"], "disabled");
    client.pay("pm_card_visa").await;
    sandbox.wait_idle().await;
    assert_eq!(new.types().len(), 1);
    for (body, param) in [
        ("url=https://example.com/", "url"),
        ("colour=red", "colour"),
    ] {
        let answer = client.post(&path, body).await;
        assert_eq!(
            (answer.status, &answer.json()["error"]["param"]),
            (400, &json!(param))
        );
    }
    assert_eq!(
        client.post("/v1/webhook_endpoints/we_x", "").await.status,
        404
    );
}
