//! Requests that the sandbox refuses, and Stripe's error texts.

use std::net::SocketAddr;

use stripe_checkout_sandbox::{PUBLISHABLE_KEY, SECRET_KEY, Sandbox, SandboxError};

use crate::http::{Client, id};

#[tokio::test]
async fn parameters() {
    let sandbox = Sandbox::start().await.unwrap();
    let client = Client::new(&sandbox);
    let long = |length: usize| "x".repeat(length);
    let many: String = (0..51)
        .map(|number| format!("&metadata[k{number}]=v"))
        .collect();
    let good = "amount=1999&currency=eur";
    for (body, code, param) in [
        (String::new(), "parameter_missing", "amount"),
        ("currency=eur".to_owned(), "parameter_missing", "amount"),
        ("amount=1999".to_owned(), "parameter_missing", "currency"),
        (
            "amount=&currency=eur".to_owned(),
            "parameter_invalid_empty",
            "amount",
        ),
        (
            "amount=abc&currency=eur".to_owned(),
            "parameter_invalid_integer",
            "amount",
        ),
        (
            "amount=19.99&currency=eur".to_owned(),
            "parameter_invalid_integer",
            "amount",
        ),
        (
            "amount=-1&currency=eur".to_owned(),
            "parameter_invalid_integer",
            "amount",
        ),
        (
            "amount=0&currency=eur".to_owned(),
            "parameter_invalid_integer",
            "amount",
        ),
        (
            "amount=99999999999999999999999&currency=eur".to_owned(),
            "parameter_invalid_integer",
            "amount",
        ),
        ("amount[a]=1&currency=eur".to_owned(), "", "amount"),
        (
            "amount=49&currency=eur".to_owned(),
            "amount_too_small",
            "amount",
        ),
        (
            "amount=29&currency=gbp".to_owned(),
            "amount_too_small",
            "amount",
        ),
        (
            "amount=49&currency=jpy".to_owned(),
            "amount_too_small",
            "amount",
        ),
        (
            "amount=17499&currency=huf".to_owned(),
            "amount_too_small",
            "amount",
        ),
        (
            "amount=1000000000000&currency=eur".to_owned(),
            "amount_too_large",
            "amount",
        ),
        (
            "amount=12345&currency=isk".to_owned(),
            "parameter_invalid_integer",
            "amount",
        ),
        ("amount=1999&currency=xyz".to_owned(), "", "currency"),
        ("amount=1999&currency=euro".to_owned(), "", "currency"),
        (format!("{good}&colour=red"), "parameter_unknown", "colour"),
        (
            format!("{good}&shipping[name]=a&shipping[address][line1]=b&shipping[colour]=red"),
            "parameter_unknown",
            "shipping[colour]",
        ),
        (
            format!("{good}&shipping[address][line1]=b"),
            "parameter_missing",
            "shipping[name]",
        ),
        (
            format!("{good}&shipping[name]=a"),
            "parameter_missing",
            "shipping[address]",
        ),
        (
            format!("{good}&automatic_payment_methods[enabled]=yes"),
            "",
            "automatic_payment_methods[enabled]",
        ),
        (
            format!("{good}&automatic_payment_methods[allow_redirects]=never"),
            "parameter_missing",
            "automatic_payment_methods[enabled]",
        ),
        (
            format!("{good}&automatic_payment_methods[enabled]=true&payment_method_types[]=card"),
            "",
            "automatic_payment_methods",
        ),
        (
            format!("{good}&payment_method_types[]=ideal"),
            "payment_intent_invalid_parameter",
            "payment_method_types",
        ),
        (
            format!("{good}&payment_method_types=card"),
            "",
            "payment_method_types",
        ),
        (format!("{good}&capture_method=later"), "", "capture_method"),
        (format!("{good}&confirm=1"), "", "confirm"),
        (
            format!("{good}&receipt_email=nobody"),
            "email_invalid",
            "receipt_email",
        ),
        (
            format!("{good}&receipt_email=nobody@localhost"),
            "email_invalid",
            "receipt_email",
        ),
        (
            format!("{good}&receipt_email=a..b@example.com"),
            "email_invalid",
            "receipt_email",
        ),
        (
            format!("{good}&receipt_email=a@example..com"),
            "email_invalid",
            "receipt_email",
        ),
        (
            format!("{good}&receipt_email=j%C3%B6rg@example.com"),
            "email_invalid",
            "receipt_email",
        ),
        (
            format!("{good}&statement_descriptor_suffix={}", long(23)),
            "invalid_statement_descriptor",
            "statement_descriptor_suffix",
        ),
        (
            format!("{good}&statement_descriptor_suffix=12345"),
            "invalid_statement_descriptor",
            "statement_descriptor_suffix",
        ),
        (
            format!("{good}&statement_descriptor_suffix=A*BCD"),
            "invalid_statement_descriptor",
            "statement_descriptor_suffix",
        ),
        // "SANDBOX* " has nine characters, and the limit for both is 22.
        (
            format!("{good}&statement_descriptor_suffix={}", long(14)),
            "invalid_statement_descriptor",
            "statement_descriptor_suffix",
        ),
        (
            format!("{good}&statement_descriptor_suffix=Caf%C3%A9+7"),
            "invalid_statement_descriptor",
            "statement_descriptor_suffix",
        ),
        (
            "amount=12345&currency=kwd".to_owned(),
            "parameter_invalid_integer",
            "amount",
        ),
        (
            format!("{good}&description={}", long(1001)),
            "parameter_invalid_string",
            "description",
        ),
        (
            format!("{good}&metadata[{}]=v", long(41)),
            "",
            &format!("metadata[{}]", long(41)),
        ),
        (
            format!("{good}&metadata[k]={}", long(501)),
            "",
            "metadata[k]",
        ),
        (format!("{good}{many}"), "", "metadata"),
        (format!("{good}&metadata[a][b]=c"), "", "metadata[a]"),
        (
            format!("{good}&payment_method=pm_nothing"),
            "resource_missing",
            "payment_method",
        ),
        (
            format!("{good}&confirmation_token=ctoken_1"),
            "parameter_unknown",
            "confirmation_token",
        ),
        (
            format!("{good}&return_url=https://shop.example/"),
            "",
            "return_url",
        ),
        (
            format!("{good}&confirm=true&return_url=shop"),
            "url_invalid",
            "return_url",
        ),
        (
            format!(
                "{good}&confirm=true&return_url=https://shop.example/&payment_method_data[type]=klarna"
            ),
            "payment_method_unactivated",
            "payment_method_data[type]",
        ),
        (
            format!("{good}&payment_method_data[card][number]=1"),
            "parameter_missing",
            "payment_method_data[type]",
        ),
        (
            format!("{good}&payment_method_data[type]=card"),
            "parameter_missing",
            "payment_method_data[card]",
        ),
        (format!("{good}&amount[=1"), "", "amount["),
    ] {
        let answer = client.post("/v1/payment_intents", &body).await;
        assert_eq!(answer.status, 400, "{body}");
        assert_eq!(
            answer.error(),
            ("invalid_request_error".to_owned(), code.to_owned()),
            "{body}"
        );
        assert_eq!(answer.json()["error"]["param"], *param, "{body}");
        assert!(answer.header("request-id").is_some());
    }
    assert_eq!(
        client.get("/v1/payment_intents").await.json()["data"]
            .as_array()
            .unwrap()
            .len(),
        0
    );
    assert!(
        sandbox.events().is_empty(),
        "a refused request does nothing"
    );
}

#[tokio::test]
async fn the_words_of_the_best_known_refusals() {
    let sandbox = Sandbox::start().await.unwrap();
    let client = Client::new(&sandbox);
    for (body, message) in [
        ("currency=eur", "Missing required param: amount."),
        ("amount=10&currency=eur", "Amount must be at least 0.50 eur"),
        (
            "amount=1999&currency=eur&a=1&b=2",
            "Received unknown parameters: a, b. The sandbox does not implement them.",
        ),
        (
            "amount=1999&currency=eur&capture_method=x",
            "Invalid capture_method: must be one of automatic, automatic_async, or manual",
        ),
        ("amount=x&currency=eur", "Invalid integer: x"),
        (
            "amount=0&currency=eur",
            "This value must be greater than or equal to 1.",
        ),
    ] {
        let answer = client.post("/v1/payment_intents", body).await;
        assert_eq!(answer.json()["error"]["message"], message);
    }
    let missing = client.get("/v1/payment_intents/pi_nothing").await;
    assert_eq!(
        missing.json()["error"]["message"],
        "No such payment_intent: 'pi_nothing'"
    );
}

#[tokio::test]
async fn every_route_knows_what_does_not_exist_and_what_it_does_not_take() {
    let sandbox = Sandbox::start().await.unwrap();
    let client = Client::new(&sandbox);
    for (method, path) in [
        ("GET", "/v1/payment_intents/pi_nothing"),
        ("POST", "/v1/payment_intents/pi_nothing"),
        ("POST", "/v1/payment_intents/pi_nothing/confirm"),
        ("POST", "/v1/payment_intents/pi_nothing/capture"),
        ("POST", "/v1/payment_intents/pi_nothing/cancel"),
        ("GET", "/v1/charges/ch_nothing"),
        ("GET", "/v1/payment_methods/pm_nothing"),
        ("GET", "/v1/refunds/re_nothing"),
        ("GET", "/v1/events/evt_nothing"),
        ("GET", "/v1/webhook_endpoints/we_nothing"),
        ("DELETE", "/v1/webhook_endpoints/we_nothing"),
    ] {
        let answer = client.send(method, path, "").await.unwrap();
        assert_eq!(answer.status, 404, "{method} {path}");
        assert_eq!(answer.error().1, "resource_missing", "{method} {path}");
    }
    let intent = client.create("").await;
    let own = format!("/v1/payment_intents/{}", id(&intent));
    for (method, path) in [
        ("GET", own.clone()),
        ("POST", own.clone()),
        ("POST", format!("{own}/confirm")),
        ("POST", format!("{own}/capture")),
        ("POST", format!("{own}/cancel")),
        ("GET", "/v1/payment_intents".to_owned()),
        ("GET", "/v1/events".to_owned()),
        ("GET", "/v1/charges".to_owned()),
        ("GET", "/v1/refunds".to_owned()),
        ("POST", "/v1/refunds".to_owned()),
        ("GET", "/v1/webhook_endpoints".to_owned()),
    ] {
        let answer = if method == "GET" {
            client.get(&format!("{path}?colour=red")).await
        } else {
            client.post(&path, "colour=red").await
        };
        assert_eq!(answer.status, 400, "{method} {path}");
        assert_eq!(answer.error().1, "parameter_unknown", "{method} {path}");
    }
    for (method, path) in [
        ("GET", "/v1/nothing"),
        ("GET", "/v1"),
        ("GET", "/"),
        ("DELETE", "/v1/payment_intents"),
        ("GET", "/v1/payment_intents/pi_1/confirm"),
        ("POST", "/v1/events"),
        ("PUT", "/v1/payment_intents"),
    ] {
        let answer = client.send(method, path, "").await.unwrap();
        assert_eq!(answer.status, 404, "{method} {path}");
        let message = answer.json()["error"]["message"].to_string();
        assert!(message.contains("Unrecognized request URL"), "{message}");
        assert!(
            message.contains("The sandbox has only a part of Stripe's API"),
            "{message}"
        );
        // A browser gets the same answer, not one that asks for another key.
        let answer = Client::browser(&sandbox)
            .send(method, path, "")
            .await
            .unwrap();
        assert_eq!(answer.status, 404, "{method} {path}");
    }
    // A search that the sandbox does not have must not become an object with the id `search`.
    for object in ["charges", "payment_intents"] {
        let search = client.get(&format!("/v1/{object}/search?query=x")).await;
        assert_eq!(search.status, 404, "{object}");
        assert!(
            search.body.contains("Unrecognized request URL"),
            "{}",
            search.body
        );
    }
}

#[tokio::test]
async fn a_confirmation_needs_a_card_and_a_way_back() {
    let sandbox = Sandbox::start().await.unwrap();
    let client = Client::new(&sandbox);
    let intent = client.create("").await;
    let path = format!("/v1/payment_intents/{}/confirm", id(&intent));
    let answer = client.post(&path, "payment_method=pm_card_visa").await;
    assert_eq!(answer.status, 400);
    assert!(answer.body.contains("`return_url`"));
    let answer = client.post(&path, "return_url=https://shop.example/").await;
    assert_eq!(answer.error().1, "payment_intent_unexpected_state");
    let plain = client.create("automatic_payment_methods[enabled]=true&automatic_payment_methods[allow_redirects]=never").await;
    let paid = client
        .post(
            &format!("/v1/payment_intents/{}/confirm", id(&plain)),
            "payment_method=pm_card_visa",
        )
        .await;
    assert_eq!(paid.json()["status"], "succeeded");
}

#[tokio::test]
async fn card_numbers_do_not_come_from_servers() {
    let sandbox = Sandbox::start().await.unwrap();
    let client = Client::new(&sandbox);
    let card = "payment_method_data[type]=card&payment_method_data[card][number]=4242424242424242&payment_method_data[card][exp_month]=12\
                &payment_method_data[card][exp_year]=2099&payment_method_data[card][cvc]=123";
    let answer = client
        .post(
            "/v1/payment_intents",
            &format!("amount=1999&currency=eur&{card}"),
        )
        .await;
    assert_eq!(answer.status, 402);
    assert!(answer.body.contains("generally unsafe"));
    let by_token = client
        .create("payment_method_data[type]=card&payment_method_data[card][token]=tok_mastercard")
        .await;
    assert_eq!(by_token["status"], "requires_confirmation");
}

#[tokio::test]
async fn keys() {
    let sandbox = Sandbox::start().await.unwrap();
    let nobody = Client::anonymous(&sandbox);
    let list = "/v1/payment_intents";
    let answer = nobody.get(list).await;
    assert_eq!(answer.status, 401);
    assert_eq!(
        answer.header("www-authenticate"),
        Some("Basic realm=\"Stripe\"")
    );
    assert!(answer.body.contains("You did not provide an API key"));
    for key in [
        "sk_test_another_key_0123456789",
        "rk_test_sandbox",
        "whsec_x",
        "",
    ] {
        let answer = nobody
            .with("Authorization", &format!("Bearer {key}"))
            .get(list)
            .await;
        assert_eq!(answer.status, 401, "{key}");
        assert!(
            key.is_empty() || !answer.body.contains(key),
            "a key is never repeated"
        );
    }
    for live in [
        "sk_live_0123456789",
        "rk_live_0123456789",
        "pk_live_0123456789",
    ] {
        for answer in [
            nobody
                .with("Authorization", &format!("Bearer {live}"))
                .get(list)
                .await,
            nobody.get(&format!("{list}?key={live}")).await,
        ] {
            assert_eq!(answer.status, 401);
            assert!(answer.body.contains("refuses live keys"), "{}", answer.body);
            assert!(!answer.body.contains(live));
        }
    }
    // curl -u sk_test_sandbox:
    let basic = nobody.with("Authorization", "Basic c2tfdGVzdF9zYW5kYm94Og==");
    assert_eq!(basic.get(list).await.status, 200);
    for (method, path) in [
        ("GET", list),
        ("POST", list),
        ("GET", "/v1/events"),
        ("POST", "/v1/payment_intents/pi_1"),
        ("POST", "/v1/payment_intents/pi_1/cancel"),
        ("POST", "/v1/payment_intents/pi_1/capture"),
        ("POST", "/v1/refunds"),
        ("POST", "/v1/webhook_endpoints"),
    ] {
        let answer = Client::browser(&sandbox)
            .send(method, path, "")
            .await
            .unwrap();
        assert_eq!(
            (answer.status, answer.error().1.as_str()),
            (403, "secret_key_required"),
            "{method} {path}"
        );
    }
    assert!(SECRET_KEY.starts_with("sk_test_") && PUBLISHABLE_KEY.starts_with("pk_test_"));
}

#[tokio::test]
async fn bodies_are_forms_and_not_too_large() {
    let sandbox = Sandbox::start().await.unwrap();
    let client = Client::new(&sandbox);
    let answer = client
        .with("Content-Type", "application/json")
        .post("/v1/payment_intents", r#"{"amount":1999,"currency":"eur"}"#)
        .await;
    assert_eq!(answer.status, 400);
    assert!(answer.body.contains("application/x-www-form-urlencoded"));
    let answer = client
        .post("/v1/payment_intents", &"x".repeat(1024 * 1024 + 1))
        .await;
    assert_eq!(answer.status, 413);
}

#[tokio::test]
async fn versions_are_echoed() {
    let sandbox = Sandbox::start().await.unwrap();
    let client = Client::new(&sandbox);
    assert_eq!(
        client.get("/v1/events").await.header("stripe-version"),
        Some(stripe_checkout_core::API_VERSION)
    );
    let old = client.with("Stripe-Version", "2020-08-27");
    assert_eq!(
        old.get("/v1/events").await.header("stripe-version"),
        Some("2020-08-27")
    );
    for (version, refusal) in [
        (stripe_checkout_core::API_VERSION, None),
        ("2011-01-01", None),
        ("2030-12-31.someday", None),
        ("foo", Some("Invalid Stripe API version: foo")),
        ("2020-8-27", Some("Invalid Stripe API version: 2020-8-27")),
        ("2020-13-27", Some("Invalid Stripe API version: 2020-13-27")),
        ("1999-01-01", Some("Invalid Stripe API version: 1999-01-01")),
        (
            "2020-08-27.",
            Some("Invalid Stripe API version: 2020-08-27."),
        ),
        (
            "2025-04-30.preview",
            Some("The sandbox does not implement previews"),
        ),
        (
            "2024-06-20; custom_checkout_beta=v1",
            Some("The sandbox does not implement previews"),
        ),
    ] {
        let answer = client
            .with("Stripe-Version", version)
            .get("/v1/events")
            .await;
        let taken = if refusal.is_none() { 200 } else { 400 };
        assert_eq!(answer.status, taken, "{version}");
        assert!(
            answer.body.contains(refusal.unwrap_or_default()),
            "{}",
            answer.body
        );
    }
    let context = client
        .with("Stripe-Context", "acct_1")
        .get("/v1/events")
        .await;
    assert_eq!(context.status, 400);
    assert!(
        context
            .body
            .contains("The sandbox does not implement the header Stripe-Context")
    );
}

#[tokio::test]
async fn it_listens_on_this_machine_only() {
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0"] {
        let address: SocketAddr = address.parse().unwrap();
        let error = Sandbox::builder()
            .address(address)
            .start()
            .await
            .unwrap_err();
        assert!(matches!(error, SandboxError::NotLoopback { address: named } if named == address));
    }
    let sandbox = Sandbox::start().await.unwrap();
    let taken: SocketAddr = sandbox
        .url()
        .strip_prefix("http://")
        .unwrap()
        .parse()
        .unwrap();
    let error = Sandbox::builder().address(taken).start().await.unwrap_err();
    assert!(matches!(error, SandboxError::Listen { .. }));
    drop(sandbox);
    // The port is free again once the sandbox is gone.
    while Sandbox::builder().address(taken).start().await.is_err() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn its_configuration_is_complete_and_it_keeps_its_secrets() {
    let sandbox = Sandbox::start().await.unwrap();
    let config = sandbox.config();
    assert_eq!(config.api_base(), sandbox.url());
    assert_eq!(
        config.stripe_js_url(),
        format!("{}/stripe.js", sandbox.url())
    );
    let (secret, publishable) = config.require_keys().unwrap();
    assert_eq!(
        (secret.expose(), publishable.expose()),
        (SECRET_KEY, PUBLISHABLE_KEY)
    );
    let registered = sandbox
        .webhook_endpoint("http://127.0.0.1:1/webhook")
        .unwrap();
    assert_eq!(config.webhook_secrets()[0].expose(), registered.expose());
    Client::new(&sandbox)
        .create("receipt_email=a@example.com")
        .await;
    let printed = format!(
        "{sandbox:?}{:?}{:?}{:?}",
        sandbox.requests(),
        sandbox.faults(),
        sandbox.webhooks()
    );
    for secret in [registered.expose(), "a@example.com"] {
        assert!(!printed.contains(secret), "{printed}");
    }
}
