//! What the command `webhook-endpoint` sends, held against the official Python SDK.

#[path = "../../../stripe-checkout-core/tests/parameters/judge.rs"]
mod judge;

use shop::Subscribed;
use stripe_checkout_core::stripe::Gateway;
use stripe_checkout_sandbox::Sandbox;

const URL: &str = "http://127.0.0.1:3000/webhook";

#[tokio::test]
async fn a_webhook_endpoint_is_made_and_changed_as_the_official_sdk_would() {
    let sandbox = Sandbox::start().await.unwrap();
    let gateway = Gateway::new(&sandbox.config()).unwrap();
    let made = shop::subscribe(&gateway, URL).await.unwrap();
    assert!(matches!(made, Subscribed::Created { .. }));
    // The merchant switched it off, and left one type.
    let requests = sandbox.requests();
    let made = requests.iter().find(|request| request.method == "POST");
    assert_eq!(made.unwrap().path, "/v1/webhook_endpoints");
    let list = gateway.get("/webhook_endpoints", None).await.unwrap();
    let list: serde_json::Value = serde_json::from_slice(&list).unwrap();
    let id = list["data"][0]["id"].as_str().unwrap();
    let path = format!("/webhook_endpoints/{id}");
    let off = "disabled=true&enabled_events[]=charge.failed";
    let key = "off".parse().unwrap();
    gateway.post(&path, off, &key, None).await.unwrap();
    let changed = shop::subscribe(&gateway, URL).await.unwrap();
    assert!(matches!(changed, Subscribed::Updated { was_off: true, .. }));
    let again = shop::subscribe(&gateway, URL).await.unwrap();
    assert!(matches!(again, Subscribed::Unchanged));

    let requests = sandbox.requests();
    for operation in ["GET", "POST"] {
        assert!(requests.iter().any(|request| request.method == operation));
    }
    if let Some((is_good, said)) = judge::judge(&requests) {
        assert!(is_good, "{said}");
        println!("{said}");
    }
}
