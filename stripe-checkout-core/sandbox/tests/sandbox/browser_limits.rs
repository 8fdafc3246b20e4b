//! A confirmation with a publishable key changes little of what the merchant set.

use serde_json::{Value, json};
use stripe_checkout_sandbox::{PUBLISHABLE_KEY, Sandbox};

use crate::http::{Answer, Client, id};

const CARD: &str = "payment_method_options[card]";

struct Page {
    sandbox: Sandbox,
    server: Client,
}

impl Page {
    async fn start() -> Self {
        let sandbox = Sandbox::start().await.unwrap();
        let server = Client::new(&sandbox);
        Self { sandbox, server }
    }

    async fn confirm(&self, intent: &Value, more: &str) -> Answer {
        let body = format!(
            "key={PUBLISHABLE_KEY}&client_secret={}&payment_method=pm_card_visa&return_url=https://shop.example/&{more}",
            intent["client_secret"].as_str().unwrap()
        );
        let path = format!("/v1/payment_intents/{}/confirm", id(intent));
        Client::anonymous(&self.sandbox).post(&path, &body).await
    }

    async fn now(&self, intent: &Value) -> Value {
        let path = format!("/v1/payment_intents/{}", id(intent));
        self.server.get(&path).await.json()
    }
}

#[tokio::test]
async fn a_browser_cannot_take_back_a_usage() {
    let page = Page::start().await;
    for (set, changed, param) in [
        (
            "setup_future_usage=off_session",
            "setup_future_usage=".to_owned(),
            "setup_future_usage",
        ),
        (
            "setup_future_usage=off_session",
            "setup_future_usage=on_session".to_owned(),
            "setup_future_usage",
        ),
        (
            "setup_future_usage=off_session",
            format!("{CARD}[setup_future_usage]=none"),
            "payment_method_options[card][setup_future_usage]",
        ),
        (
            "payment_method_options[card][setup_future_usage]=off_session",
            format!("{CARD}[setup_future_usage]="),
            "payment_method_options[card][setup_future_usage]",
        ),
        (
            "payment_method_options[card][setup_future_usage]=none",
            format!("{CARD}[setup_future_usage]=off_session"),
            "payment_method_options[card][setup_future_usage]",
        ),
        (
            "payment_method_options[sepa_debit][setup_future_usage]=off_session",
            "payment_method_options[sepa_debit][setup_future_usage]=none".to_owned(),
            "payment_method_options[sepa_debit][setup_future_usage]",
        ),
    ] {
        let intent = page.server.create(set).await;
        let answer = page.confirm(&intent, &changed).await;
        assert_eq!(answer.status, 400, "{set} {changed}: {}", answer.body);
        assert_eq!(answer.json()["error"]["param"], param, "{set} {changed}");
        assert_eq!(page.now(&intent).await, intent);
    }
}

#[tokio::test]
async fn a_browser_may_agree_to_more() {
    let page = Page::start().await;
    for (set, changed) in [
        ("", "setup_future_usage=off_session"),
        (
            "",
            "payment_method_options[card][setup_future_usage]=on_session",
        ),
        (
            "",
            "payment_method_options[card][setup_future_usage]=off_session",
        ),
        (
            "setup_future_usage=on_session",
            "setup_future_usage=off_session",
        ),
        (
            "setup_future_usage=on_session",
            "payment_method_options[card][setup_future_usage]=off_session",
        ),
        (
            "setup_future_usage=off_session",
            "setup_future_usage=off_session",
        ),
    ] {
        let intent = page.server.create(set).await;
        let answer = page.confirm(&intent, changed).await;
        assert_eq!(answer.status, 200, "{set} {changed}: {}", answer.body);
        assert_eq!(answer.json()["status"], "succeeded");
    }
}

#[tokio::test]
async fn a_browser_does_not_decide_how_the_money_is_taken() {
    let page = Page::start().await;
    let held = page
        .server
        .create("payment_method_options[card][capture_method]=manual")
        .await;
    for (changed, param) in [
        ("payment_method_options[card][capture_method]=", None),
        ("payment_method_options[card][capture_method]=manual", None),
        ("off_session=true", Some("off_session")),
        ("off_session=false", Some("off_session")),
        (
            "error_on_requires_action=true",
            Some("error_on_requires_action"),
        ),
    ] {
        let param = param.unwrap_or("payment_method_options[card][capture_method]");
        let answer = page.confirm(&held, changed).await;
        assert_eq!(answer.status, 400, "{changed}: {}", answer.body);
        let error = answer.json()["error"].clone();
        assert_eq!(
            (&error["code"], &error["param"]),
            (&json!("parameter_unknown"), &json!(param))
        );
    }
    let answer = page.confirm(&held, "").await;
    assert_eq!(answer.json()["status"], "requires_capture");
}

#[tokio::test]
async fn an_agreement_is_not_dropped_unread() {
    let page = Page::start().await;
    let agreed = "mandate_data[customer_acceptance]";
    let create = "amount=1999&currency=eur&payment_method=pm_sepaDebit_success_de";
    let answer = page
        .server
        .post(
            "/v1/payment_intents",
            &format!("{create}&{agreed}[type]=offline"),
        )
        .await;
    assert_eq!(answer.status, 400, "{}", answer.body);
    assert_eq!(answer.json()["error"]["param"], "mandate_data");
    // It is offline, or it has an address.
    let intent = page.server.create("").await;
    let path = format!("/v1/payment_intents/{}/confirm", id(&intent));
    let body = format!(
        "payment_method=pm_sepaDebit_success_de&return_url=https://shop.example/&{agreed}[type]=offline\
         &{agreed}[online][ip_address]=203.0.113.7"
    );
    let answer = page.server.post(&path, &body).await;
    assert_eq!(answer.status, 400, "{}", answer.body);
    assert_eq!(
        answer.json()["error"]["param"],
        "mandate_data[customer_acceptance][online][ip_address]"
    );
}
