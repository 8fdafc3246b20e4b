//! A request that the sandbox refuses moves no money, and its idempotency key says so.

use serde_json::{Value, json};
use stripe_checkout_sandbox::{PUBLISHABLE_KEY, Sandbox};

use crate::http::{Client, id};

const PATH: &str = "/v1/payment_intents";
const PAY: &str = "amount=1999&currency=eur&confirm=true&payment_method=pm_card_visa&return_url=https://shop.example/";

async fn start() -> (Sandbox, Client) {
    let sandbox = Sandbox::start().await.unwrap();
    let client = Client::new(&sandbox);
    (sandbox, client)
}

async fn list(client: &Client, path: &str) -> Value {
    client.get(path).await.json()["data"].clone()
}

#[tokio::test]
async fn a_wrong_expansion_is_refused_before_the_payment() {
    let (sandbox, client) = start().await;
    for wrong in [
        "nothing",
        "data.latest_charge",
        "latest_charge.nothing",
        "review.nothing",
    ] {
        let body = format!("{PAY}&expand[]={wrong}");
        let answer = client.with_key("key").post(PATH, &body).await;
        assert_eq!(answer.status, 400, "{}", answer.body);
        assert_eq!(answer.json()["error"]["param"], "expand");
        assert_eq!(list(&client, PATH).await, json!([]));
        assert_eq!(sandbox.events(), []);
    }
    // No request began with the key: it is free.
    let paid = client.with_key("key").post(PATH, PAY).await;
    assert_eq!(paid.json()["status"], "succeeded", "{}", paid.body);
}

#[tokio::test]
async fn an_unpaid_intent_has_no_property_of_any_name() {
    let (_sandbox, client) = start().await;
    let unpaid = client.create("").await;
    let path = format!("{PATH}/{}", id(&unpaid));
    for (expansion, status) in [
        ("latest_charge", 200),
        ("latest_charge.balance_transaction.source", 200),
        ("latest_charge.nonsense", 400),
        ("customer.invoice_settings.default_payment_method", 200),
        ("customer.invoice_settings", 400),
    ] {
        let answer = client.get(&format!("{path}?expand[]={expansion}")).await;
        assert_eq!(answer.status, status, "{expansion}: {}", answer.body);
    }
}

#[tokio::test]
async fn a_browser_expands_what_it_sees() {
    let (sandbox, client) = start().await;
    let intent = client.create("").await;
    let path = format!("{PATH}/{}/confirm", id(&intent));
    let secret = intent["client_secret"].as_str().unwrap();
    let browser = Client::anonymous(&sandbox);
    for (expansion, status) in [
        ("latest_charge", 400),
        ("customer", 400),
        ("payment_method", 200),
    ] {
        let body = format!(
            "key={PUBLISHABLE_KEY}&client_secret={secret}&payment_method=pm_card_visa&return_url=https://shop.example/\
             &expand[]={expansion}"
        );
        let answer = browser.post(&path, &body).await;
        assert_eq!(answer.status, status, "{}", answer.body);
    }
}

#[tokio::test]
async fn a_payment_that_cannot_begin_leaves_nothing_behind() {
    let create = "amount=1999&currency=eur&confirm=true&return_url=https://shop.example/";
    for (refused, words) in [
        (
            "payment_method_types[]=card&payment_method=pm_sepaDebit_success_de",
            "is not allowed for this PaymentIntent",
        ),
        (
            "payment_method=pm_sepaDebit_success_de",
            "requires a mandate",
        ),
    ] {
        let (sandbox, client) = start().await;
        let body = format!("{create}&{refused}");
        let answer = client.with_key("key").post(PATH, &body).await;
        assert_eq!(answer.status, 400, "{}", answer.body);
        assert!(answer.body.contains(words), "{}", answer.body);
        assert_eq!(list(&client, PATH).await, json!([]));
        assert_eq!(sandbox.events(), []);
        // The key is free, because nothing happened.
        let paid = client.with_key("key").post(PATH, PAY).await;
        assert_eq!(paid.status, 200, "{}", paid.body);
    }
}

#[tokio::test]
async fn an_expansion_that_fails_after_the_payment_keeps_the_key() {
    let (_sandbox, client) = start().await;
    let paid = client.post(PATH, PAY).await.json();
    let body = format!(
        "payment_intent={}&expand[]=balance_transaction.source.balance_transaction.source",
        id(&paid)
    );
    let refund = client.with_key("key").post("/v1/refunds", &body).await;
    assert_eq!(refund.status, 200, "{}", refund.body);
    // A charge could have stood there. A refund has no refunds.
    let paid = client.post(PATH, PAY).await.json();
    let body = format!(
        "payment_intent={}&expand[]=balance_transaction.source.refunds",
        id(&paid)
    );
    let first = client.with_key("key-2").post("/v1/refunds", &body).await;
    let again = client.with_key("key-2").post("/v1/refunds", &body).await;
    assert_eq!((first.status, again.status), (400, 400), "{}", first.body);
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
}

#[tokio::test]
async fn two_payment_methods_in_one_request_are_refused() {
    let (_sandbox, client) = start().await;
    let both = "payment_method=pm_card_visa&payment_method_data[type]=card&payment_method_data[card][token]=tok_amex";
    let intent = format!("{PATH}/{}", id(&client.create("").await));
    let setup = client.post("/v1/setup_intents", "").await.json();
    let setup = format!("/v1/setup_intents/{}", id(&setup));
    for (path, more) in [
        (PATH, "amount=1999&currency=eur"),
        (&intent, ""),
        (
            &format!("{intent}/confirm"),
            "return_url=https://shop.example/",
        ),
        ("/v1/setup_intents", ""),
        (&setup, ""),
        (
            &format!("{setup}/confirm"),
            "return_url=https://shop.example/",
        ),
    ] {
        let answer = client.post(path, &format!("{both}&{more}")).await;
        assert_eq!(answer.status, 400, "{path}: {}", answer.body);
        let message = answer.json()["error"]["message"].clone();
        assert!(
            message
                .as_str()
                .unwrap()
                .contains("payment_method, payment_method_data"),
            "{message}"
        );
    }
}

#[tokio::test]
async fn a_refund_names_one_payment() {
    let (_sandbox, client) = start().await;
    let paid = client.post(PATH, PAY).await.json();
    let charge = paid["latest_charge"].as_str().unwrap();
    let other = client.post(PATH, PAY).await.json();
    for intent in [id(&paid), id(&other)] {
        let body = format!("charge={charge}&payment_intent={intent}");
        let answer = client.post("/v1/refunds", &body).await;
        assert_eq!(answer.status, 400, "{}", answer.body);
        assert_eq!(answer.json()["error"]["param"], "charge");
    }
    assert_eq!(list(&client, "/v1/refunds").await, json!([]));
}
