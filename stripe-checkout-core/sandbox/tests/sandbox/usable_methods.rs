//! A payment method that waits on an intent can become unusable before it is charged.

use serde_json::{Value, json};
use stripe_checkout_sandbox::Sandbox;

use crate::http::{Answer, Client, id};

const BACK: &str = "return_url=https://shop.example/";

async fn start() -> (Sandbox, Client) {
    let sandbox = Sandbox::start().await.unwrap();
    let client = Client::new(&sandbox);
    (sandbox, client)
}

async fn customer(client: &Client) -> String {
    id(&client.post("/v1/customers", "").await.json()).to_owned()
}

async fn typed_in(client: &Client, token: &str) -> String {
    let body = format!("type=card&card[token]={token}");
    id(&client.post("/v1/payment_methods", &body).await.json()).to_owned()
}

async fn saved(client: &Client, customer: &str) -> String {
    let method = typed_in(client, "tok_visa").await;
    let path = format!("/v1/payment_methods/{method}/attach");
    let answer = client.post(&path, &format!("customer={customer}")).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    method
}

/// A PaymentIntent and a SetupIntent that wait with this method.
async fn waiting(client: &Client, method: &str, more: &str) -> Vec<String> {
    let payment = format!("amount=1999&currency=eur&payment_method={method}&{more}");
    let setup = format!("payment_method={method}&{more}");
    let mut paths = Vec::new();
    for (path, body) in [
        ("/v1/payment_intents", payment),
        ("/v1/setup_intents", setup),
    ] {
        let made = client.post(path, &body).await;
        assert_eq!(made.status, 200, "{}", made.body);
        paths.push(format!("{path}/{}", id(&made.json())));
    }
    paths
}

#[track_caller]
fn assert_refused(answer: &Answer, words: &str) {
    assert_eq!(answer.status, 400, "{}", answer.body);
    assert!(answer.body.contains(words), "{}", answer.body);
}

async fn assert_unpaid(client: &Client) {
    let charges = client.get("/v1/charges").await.json();
    assert_eq!(charges["data"], json!([]));
}

#[tokio::test]
async fn another_customer_cannot_take_over_a_saved_card() {
    let (_sandbox, client) = start().await;
    let (ada, bob) = (customer(&client).await, customer(&client).await);
    let card = saved(&client, &ada).await;
    for path in waiting(&client, &card, &format!("customer={ada}")).await {
        let moved = client.post(&path, &format!("customer={bob}")).await;
        assert_refused(&moved, "does not have a payment method with the ID");
        assert_eq!(client.get(&path).await.json()["customer"], ada.as_str());
        // A card of this customer's own is fine.
        let body = format!("customer={bob}&payment_method=pm_card_visa");
        let moved = client.post(&path, &body).await;
        assert_eq!(moved.status, 200, "{}", moved.body);
    }
    let [payment, _] = &waiting(&client, &card, &format!("customer={ada}")).await[..] else {
        unreachable!("two intents wait")
    };
    let unset = client.post(payment, "customer=").await;
    assert_refused(&unset, "is attached to a customer");
    assert_unpaid(&client).await;
}

#[tokio::test]
async fn a_card_that_a_customer_saves_later_is_hers() {
    let (_sandbox, client) = start().await;
    let ada = customer(&client).await;
    let card = typed_in(&client, "tok_visa").await;
    let paths = waiting(&client, &card, "").await;
    let attach = format!("/v1/payment_methods/{card}/attach");
    client.post(&attach, &format!("customer={ada}")).await;
    for path in paths {
        let answer = client.post(&format!("{path}/confirm"), BACK).await;
        assert_refused(&answer, "is attached to a customer");
    }
    assert_unpaid(&client).await;
}

#[tokio::test]
async fn a_card_that_is_detached_meanwhile_is_not_charged() {
    let (_sandbox, client) = start().await;
    let ada = customer(&client).await;
    let card = saved(&client, &ada).await;
    let paths = waiting(&client, &card, &format!("customer={ada}")).await;
    client
        .post(&format!("/v1/payment_methods/{card}/detach"), "")
        .await;
    for path in paths {
        let body = format!("{BACK}&use_stripe_sdk=true");
        let answer = client.post(&format!("{path}/confirm"), &body).await;
        assert_refused(&answer, "may not be used again");
        let status = &client.get(&path).await.json()["status"];
        assert_eq!(status, "requires_confirmation");
    }
    assert_unpaid(&client).await;
}

#[tokio::test]
async fn a_card_without_a_customer_pays_once() {
    let (_sandbox, client) = start().await;
    let card = typed_in(&client, "tok_visa").await;
    let first = &waiting(&client, &card, "").await[0];
    let others = waiting(&client, &card, "").await;
    let paid = client.post(&format!("{first}/confirm"), BACK).await;
    assert_eq!(paid.json()["status"], "succeeded", "{}", paid.body);
    for path in others {
        // A refusal changes nothing.
        let body = if path.contains("payment_intents") {
            format!("{BACK}&receipt_email=ada@example.com")
        } else {
            BACK.to_owned()
        };
        let before = client.get(&path).await.json();
        let again = client.post(&format!("{path}/confirm"), &body).await;
        assert_refused(&again, "may not be used again");
        assert_eq!(client.get(&path).await.json(), before);
    }
    let charges = client.get("/v1/charges").await.json();
    assert_eq!(charges["data"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn a_card_that_is_used_during_a_challenge_is_not_charged_again() {
    let (_sandbox, client) = start().await;
    let card = typed_in(&client, "tok_threeDSecure2Required").await;
    let mut challenged: Vec<(String, Value)> = Vec::new();
    for path in [
        waiting(&client, &card, "").await,
        waiting(&client, &card, "").await,
    ]
    .concat()
    {
        let answer = client.post(&format!("{path}/confirm"), BACK).await.json();
        assert_eq!(answer["status"], "requires_action", "{answer}");
        challenged.push((path, answer));
    }
    let mut ends = Vec::new();
    for (path, intent) in challenged {
        let secret = intent["client_secret"].as_str().unwrap();
        let challenge = format!("/sandbox/3ds/{}", id(&intent));
        let body = format!("outcome=succeed&client_secret={secret}");
        let answer = client.post(&challenge, &body).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        ends.push(client.get(&path).await.json());
    }
    assert_eq!(ends[0]["status"], "succeeded");
    for (end, error) in [
        (&ends[1], "last_setup_error"),
        (&ends[2], "last_payment_error"),
        (&ends[3], "last_setup_error"),
    ] {
        assert_eq!(end["status"], "requires_payment_method", "{end}");
        let message = end[error]["message"].as_str().unwrap();
        assert!(message.contains("may not be used again"), "{message}");
    }
    let charges = client.get("/v1/charges").await.json();
    assert_eq!(charges["data"].as_array().map(Vec::len), Some(1));
}
