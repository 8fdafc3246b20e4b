//! The permissions of a browser with the publishable key and a client secret, and 3-D Secure.

use serde_json::{Value, json};
use stripe_checkout_sandbox::{PUBLISHABLE_KEY, Sandbox};

use crate::http::{Answer, Client, id};

struct Checkout {
    sandbox: Sandbox,
    server: Client,
    intent: Value,
}

impl Checkout {
    async fn start() -> Self {
        let sandbox = Sandbox::start().await.unwrap();
        let server = Client::new(&sandbox);
        let intent = server
            .create("metadata[order_id]=7&receipt_email=a@example.com")
            .await;
        Self {
            sandbox,
            server,
            intent,
        }
    }

    /// Returns the parameters as Stripe.js sends them: the key is one of them.
    fn auth(&self) -> String {
        format!(
            "key={PUBLISHABLE_KEY}&client_secret={}",
            self.intent["client_secret"].as_str().unwrap()
        )
    }

    async fn confirm(&self, number: &str, more: &str) -> Answer {
        let body = format!(
            "{}&payment_method_data[type]=card&payment_method_data[card][number]={number}&payment_method_data[card][exp_month]=12\
             &payment_method_data[card][exp_year]=34&payment_method_data[card][cvc]=123&payment_method_data[billing_details][address][postal_code]=12345\
             &{more}",
            self.auth()
        );
        Client::anonymous(&self.sandbox)
            .post(
                &format!("/v1/payment_intents/{}/confirm", id(&self.intent)),
                &body,
            )
            .await
    }

    async fn now(&self) -> Value {
        self.server
            .get(&format!("/v1/payment_intents/{}", id(&self.intent)))
            .await
            .json()
    }
}

#[tokio::test]
async fn a_browser_sees_its_intent_and_not_what_concerns_the_merchant() {
    let checkout = Checkout::start().await;
    let nobody = Client::anonymous(&checkout.sandbox);
    let path = format!("/v1/payment_intents/{}", id(&checkout.intent));
    let answer = nobody.get(&format!("{path}?{}", checkout.auth())).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    let seen = answer.json();
    assert_eq!(
        (&seen["status"], &seen["amount"]),
        (&json!("requires_payment_method"), &json!(1999))
    );
    for hidden in [
        "metadata",
        "latest_charge",
        "application_fee_amount",
        "customer",
        "transfer_data",
    ] {
        assert!(seen.get(hidden).is_none(), "{hidden}");
    }
    let key = format!("{path}?key={PUBLISHABLE_KEY}");
    assert_eq!(nobody.get(&key).await.error().1, "parameter_missing");
    for wrong in [
        "x",
        "pi_1_secret_2",
        &format!("{}_secret_x", id(&checkout.intent)),
    ] {
        let answer = nobody.get(&format!("{key}&client_secret={wrong}")).await;
        assert_eq!(answer.status, 400);
        assert_eq!(answer.json()["error"]["param"], "client_secret");
        let answer = nobody
            .post(
                &format!("{path}/confirm"),
                &format!("key={PUBLISHABLE_KEY}&client_secret={wrong}&payment_method=pm_card_visa"),
            )
            .await;
        assert_eq!(answer.status, 400);
    }
    assert_eq!(checkout.now().await["status"], "requires_payment_method");
}

#[tokio::test]
async fn a_page_cannot_use_the_secret_key_that_everyone_knows() {
    let sandbox = Sandbox::start().await.unwrap();
    let page = Client::new(&sandbox).with("Origin", "https://evil.example");
    for (method, path) in [
        ("GET", "/v1/events"),
        ("POST", "/v1/payment_intents"),
        ("POST", "/v1/webhook_endpoints"),
    ] {
        assert_eq!(page.send(method, path, "").await.unwrap().status, 403);
    }
}

#[tokio::test]
async fn a_preflight_is_answered() {
    let sandbox = Sandbox::start().await.unwrap();
    let answer = Client::anonymous(&sandbox)
        .send("OPTIONS", "/v1/payment_intents/pi_1/confirm", "")
        .await
        .unwrap();
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    assert!(
        answer
            .header("access-control-allow-methods")
            .unwrap()
            .contains("POST")
    );
}

#[tokio::test]
async fn the_stand_in_for_stripe_js_is_there() {
    let sandbox = Sandbox::start().await.unwrap();
    // The first address is the sandbox's own. Stripe's loaders use the others.
    for path in [
        "/stripe.js",
        "/v3",
        "/v3/",
        "/v3/?advancedFraudSignals=false",
        "/clover/stripe.js",
        "/endive/stripe.js",
    ] {
        let answer = Client::anonymous(&sandbox).get(path).await;
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (200, Some("text/javascript; charset=utf-8")),
            "{path}"
        );
        assert!(!answer.body.is_empty());
    }
}

#[tokio::test]
async fn a_card_that_was_typed_in_pays() {
    let checkout = Checkout::start().await;
    let answer = checkout
        .confirm(
            "4242 4242 4242 4242",
            "use_stripe_sdk=true&return_url=https://shop.example/complete",
        )
        .await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(answer.json()["status"], "succeeded");
    assert!(answer.json().get("metadata").is_none());
    let paid = checkout
        .server
        .get(&format!(
            "/v1/payment_intents/{}?expand[]=latest_charge",
            id(&checkout.intent)
        ))
        .await
        .json();
    let details = &paid["latest_charge"]["payment_method_details"]["card"];
    assert_eq!(
        (&details["last4"], &details["exp_year"]),
        (&json!("4242"), &json!(2034))
    );
    assert_eq!(
        details["checks"],
        json!({ "address_line1_check": null, "address_postal_code_check": "pass", "cvc_check": "pass" })
    );
    assert_eq!(
        paid["latest_charge"]["billing_details"]["address"]["postal_code"],
        "12345"
    );
    let types: Vec<_> = checkout
        .sandbox
        .events()
        .into_iter()
        .map(|(_, event_type)| event_type)
        .collect();
    assert_eq!(
        types,
        [
            "payment_intent.created",
            "charge.succeeded",
            "payment_intent.succeeded"
        ]
    );
}

#[tokio::test]
async fn a_card_that_is_refused_or_mistyped() {
    let checkout = Checkout::start().await;
    let declined = checkout.confirm("4000000000000002", "").await;
    assert_eq!(
        (declined.status, declined.error()),
        (402, ("card_error".to_owned(), "card_declined".to_owned()))
    );
    let json = declined.json();
    assert_eq!(
        json["error"]["payment_intent"]["status"],
        "requires_payment_method"
    );
    assert!(json["error"]["payment_intent"].get("metadata").is_none());
    let before = checkout.now().await;
    for (number, code) in [
        ("4242424242424241", "incorrect_number"),
        ("4111111111111111", "card_declined"),
    ] {
        let answer = checkout.confirm(number, "").await;
        assert_eq!((answer.status, answer.error().1.as_str()), (402, code));
        assert!(!answer.body.contains(number), "a number is never repeated");
    }
    assert_eq!(checkout.now().await, before);
    assert_eq!(
        checkout.confirm("5555555555554444", "").await.json()["status"],
        "succeeded"
    );
}

#[tokio::test]
async fn authentication_in_the_page() {
    for (outcome, status, last) in [
        ("succeed", "succeeded", "payment_intent.succeeded"),
        (
            "fail",
            "requires_payment_method",
            "payment_intent.payment_failed",
        ),
    ] {
        let checkout = Checkout::start().await;
        let asked = checkout
            .confirm(
                "4000002500003155",
                "use_stripe_sdk=true&return_url=https://shop.example/complete",
            )
            .await
            .json();
        assert_eq!(asked["status"], "requires_action");
        let action = &asked["next_action"];
        assert_eq!(
            (&action["type"], &action["use_stripe_sdk"]["type"]),
            (&json!("use_stripe_sdk"), &json!("three_d_secure_redirect"))
        );
        let address = format!("/sandbox/3ds/{}", id(&asked));
        assert_eq!(
            action["use_stripe_sdk"]["stripe_js"],
            format!("{}{address}", checkout.sandbox.url())
        );

        let nobody = Client::anonymous(&checkout.sandbox);
        let secret = checkout.intent["client_secret"].as_str().unwrap();
        assert_eq!(
            nobody
                .post(&address, &format!("client_secret=wrong&outcome={outcome}"))
                .await
                .status,
            404
        );
        assert_eq!(
            nobody
                .post(&address, &format!("client_secret={secret}&outcome=maybe"))
                .await
                .status,
            400
        );
        let answer = nobody
            .post(
                &address,
                &format!("client_secret={secret}&outcome={outcome}"),
            )
            .await;
        assert_eq!(
            (answer.status, &answer.json()["status"]),
            (200, &json!(status))
        );
        assert_eq!(answer.json()["next_action"], json!(null));
        let error = &answer.json()["last_payment_error"];
        if outcome == "fail" {
            assert_eq!(error["code"], "payment_intent_authentication_failure");
        } else {
            assert_eq!(*error, json!(null));
        }
        // Only the first answer counts.
        let again = nobody
            .post(&address, &format!("client_secret={secret}&outcome=succeed"))
            .await;
        assert_eq!(again.status, 400);
        assert_eq!(checkout.sandbox.events().last().unwrap().1, last);
    }
}

#[tokio::test]
async fn authentication_on_a_page_of_its_own() {
    for (outcome, redirect_status, status) in [
        ("succeed", "succeeded", "succeeded"),
        ("fail", "failed", "requires_payment_method"),
    ] {
        let checkout = Checkout::start().await;
        let asked = checkout
            .confirm(
                "4000000000003220",
                "return_url=https://shop.example/complete?a=b%23top",
            )
            .await
            .json();
        let action = &asked["next_action"];
        assert_eq!(action["type"], "redirect_to_url");
        let url = action["redirect_to_url"]["url"].as_str().unwrap();
        let path = url.strip_prefix(checkout.sandbox.url()).unwrap();
        let nobody = Client::anonymous(&checkout.sandbox);
        let page = nobody.get(path).await;
        assert_eq!(
            page.header("content-type"),
            Some("text/html; charset=utf-8")
        );
        assert!(
            page.body.contains("19.99 EUR") && page.body.contains("no real money"),
            "{}",
            page.body
        );
        assert!(!page.body.contains("{{") && !page.body.contains("_secret_"));
        assert_eq!(
            nobody.get(path.split_once('?').unwrap().0).await.status,
            404,
            "the source must be named"
        );

        let (address, source) = path.split_once('?').unwrap();
        let answer = nobody
            .post(address, &format!("{source}&outcome={outcome}"))
            .await;
        assert_eq!(answer.status, 303);
        assert_eq!(
            answer.header("location").unwrap(),
            format!(
                "https://shop.example/complete?a=b&payment_intent={}&payment_intent_client_secret={}&redirect_status={redirect_status}#top",
                id(&asked),
                checkout.intent["client_secret"].as_str().unwrap()
            )
        );
        assert_eq!(checkout.now().await["status"], status);
        assert_eq!(nobody.get(path).await.status, 404, "the page is gone");
        assert_eq!(
            nobody
                .post(address, &format!("{source}&outcome=succeed"))
                .await
                .status,
            404
        );
    }
}

#[tokio::test]
async fn with_manual_confirmation_only_the_server_takes_the_money() {
    let sandbox = Sandbox::start().await.unwrap();
    let server = Client::new(&sandbox);
    let intent = server
        .create("confirmation_method=manual&payment_method_types[]=card&payment_method=pm_card_threeDSecure2Required")
        .await;
    let checkout = Checkout {
        sandbox,
        server,
        intent,
    };
    let refused = checkout
        .confirm("4242424242424242", "use_stripe_sdk=true")
        .await;
    assert_eq!(refused.status, 400);
    assert!(
        refused
            .body
            .contains("cannot be confirmed using your publishable key"),
        "{}",
        refused.body
    );

    let path = format!("/v1/payment_intents/{}/confirm", id(&checkout.intent));
    let asked = checkout.server.post(&path, "use_stripe_sdk=true").await;
    assert_eq!(asked.json()["status"], "requires_action", "{}", asked.body);
    let answer = format!(
        "client_secret={}&outcome=succeed",
        checkout.intent["client_secret"].as_str().unwrap()
    );
    let authenticated = Client::anonymous(&checkout.sandbox)
        .post(&format!("/sandbox/3ds/{}", id(&checkout.intent)), &answer)
        .await;
    assert_eq!(authenticated.json()["status"], "requires_confirmation");
    assert_eq!(checkout.now().await["latest_charge"], json!(null));

    // The sandbox does not ask the buyer a second time.
    let paid = checkout.server.post(&path, "").await.json();
    assert_eq!(paid["status"], "succeeded");

    // An authentication is valid only for the amount and the card that the buyer saw.
    for change in [
        "amount=9900",
        "payment_method=pm_card_authenticationRequired",
    ] {
        let intent = checkout
            .server
            .create("confirmation_method=manual&payment_method_types[]=card&payment_method=pm_card_threeDSecure2Required&confirm=true&use_stripe_sdk=true")
            .await;
        let secret = intent["client_secret"].as_str().unwrap();
        let answer = format!("client_secret={secret}&outcome=succeed");
        let path = format!("/sandbox/3ds/{}", id(&intent));
        let nobody = Client::anonymous(&checkout.sandbox);
        assert_eq!(
            nobody.post(&path, &answer).await.json()["status"],
            "requires_confirmation"
        );
        let path = format!("/v1/payment_intents/{}", id(&intent));
        assert_eq!(checkout.server.post(&path, change).await.status, 200);
        let again = checkout
            .server
            .post(&format!("{path}/confirm"), "use_stripe_sdk=true")
            .await;
        assert_eq!(again.json()["status"], "requires_action", "{change}");
    }
}

#[tokio::test]
async fn an_old_challenge_does_not_answer_a_newer_one() {
    let checkout = Checkout::start().await;
    let first = checkout
        .confirm("4000000000003220", "return_url=https://shop.example/")
        .await
        .json();
    let old = first["next_action"]["redirect_to_url"]["url"]
        .as_str()
        .unwrap()
        .strip_prefix(checkout.sandbox.url())
        .unwrap()
        .to_owned();
    checkout
        .confirm("4000000000003220", "return_url=https://shop.example/")
        .await;
    let nobody = Client::anonymous(&checkout.sandbox);
    assert_eq!(nobody.get(&old).await.status, 404);
    let (address, source) = old.split_once('?').unwrap();
    assert_eq!(
        nobody
            .post(address, &format!("{source}&outcome=succeed"))
            .await
            .status,
        404
    );
    assert_eq!(checkout.now().await["status"], "requires_action");
    // The buyer did not agree to a changed amount.
    let changed = checkout
        .server
        .post(
            &format!("/v1/payment_intents/{}", id(&checkout.intent)),
            "amount=9900",
        )
        .await
        .json();
    assert_eq!(
        (&changed["status"], &changed["next_action"]),
        (&json!("requires_confirmation"), &json!(null))
    );
    // A canceled payment cannot be authenticated.
    checkout
        .confirm("4000000000003220", "use_stripe_sdk=true")
        .await;
    checkout
        .server
        .post(
            &format!("/v1/payment_intents/{}/cancel", id(&checkout.intent)),
            "",
        )
        .await;
    let secret = checkout.intent["client_secret"].as_str().unwrap();
    assert_eq!(
        nobody
            .post(address, &format!("client_secret={secret}&outcome=succeed"))
            .await
            .status,
        400
    );
    assert_eq!(checkout.now().await["status"], "canceled");
    for (method, path) in [
        ("GET", "/sandbox/3ds/pi_nothing"),
        ("PUT", address),
        ("POST", "/sandbox/3ds/pi_nothing"),
    ] {
        let status = nobody
            .send(method, path, "outcome=succeed")
            .await
            .unwrap()
            .status;
        assert_eq!(status, if method == "PUT" { 405 } else { 404 });
    }
}
