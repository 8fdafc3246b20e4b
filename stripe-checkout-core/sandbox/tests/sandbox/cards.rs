//! Customers, the cards that they saved, and charges of these while they are away.

use serde_json::{Value, json};
use stripe_checkout_sandbox::Sandbox;

use crate::http::{Answer, Client, id};

async fn customer(client: &Client) -> String {
    let answer = client.post("/v1/customers", "email=ada@example.com").await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    id(&answer.json()).to_owned()
}

/// A card that was saved by a SetupIntent, its bank having been asked where it wants to be.
async fn saved(client: &Client, customer: &str, card: &str) -> String {
    let setup = client
        .post(
            "/v1/setup_intents",
            &format!("customer={customer}&confirm=true&payment_method={card}&return_url=https://shop.example/"),
        )
        .await
        .json();
    if setup["status"] == "requires_action" {
        let answer = client
            .post(
                &format!("/sandbox/3ds/{}", id(&setup)),
                &format!(
                    "outcome=succeed&client_secret={}",
                    setup["client_secret"].as_str().unwrap()
                ),
            )
            .await;
        assert_eq!(answer.status, 200, "{}", answer.body);
    }
    let setup = client
        .get(&format!("/v1/setup_intents/{}", id(&setup)))
        .await
        .json();
    assert_eq!(setup["status"], "succeeded", "{setup}");
    setup["payment_method"].as_str().unwrap().to_owned()
}

async fn charge_away(client: &Client, customer: &str, method: &str) -> Answer {
    client
        .post(
            "/v1/payment_intents",
            &format!("amount=1999&currency=eur&customer={customer}&payment_method={method}&confirm=true&off_session=true"),
        )
        .await
}

async fn types(client: &Client) -> Vec<String> {
    let list = client.get("/v1/events?limit=100").await.json();
    let mut types: Vec<String> = list["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["type"].as_str().unwrap().to_owned())
        .collect();
    types.reverse();
    types
}

fn refused(answer: &Answer, status: u16) -> Value {
    assert_eq!(answer.status, status, "{}", answer.body);
    answer.json()["error"].clone()
}

#[tokio::test]
async fn a_customer_is_made_read_changed_found_and_deleted() {
    let sandbox = Sandbox::start().await.unwrap();
    let client = Client::new(&sandbox);
    let made = client
        .post(
            "/v1/customers",
            "email=ada@example.com&name=Ada&metadata[user]=7&phone=123&address[city]=London",
        )
        .await
        .json();
    let cus = id(&made).to_owned();
    assert!(cus.starts_with("cus_"));
    assert_eq!(made["address"]["city"], "London");
    let path = format!("/v1/customers/{cus}");
    assert_eq!(client.get(&path).await.json(), made);
    let changed = client
        .post(&path, "name=Ada+L&metadata[user]=8")
        .await
        .json();
    assert_eq!(changed["name"], "Ada L");
    assert_eq!(changed["metadata"], json!({ "user": "8" }));
    let events = client.get("/v1/events?type=customer.updated").await.json();
    assert_eq!(
        events["data"][0]["data"]["previous_attributes"],
        json!({ "name": "Ada", "metadata": { "user": "7" } })
    );
    let found = |query: &'static str| {
        let client = client.clone();
        async move { client.get(&format!("/v1/customers{query}")).await.json()["data"].clone() }
    };
    assert_eq!(found("?email=ada@example.com").await[0]["id"], *cus);
    assert_eq!(found("?email=other@example.com").await, json!([]));
    assert_eq!(
        found("/search?query=metadata%5B'user'%5D:'8'").await[0]["id"],
        *cus
    );
    assert_eq!(
        found("/search?query=metadata%5B'user'%5D:'7'").await,
        json!([])
    );
    refused(
        &client.get("/v1/customers/search?query=nonsense").await,
        400,
    );
    refused(&client.post("/v1/customers", "email=nobody").await, 400);

    let deleted = client.send("DELETE", &path, "").await.unwrap().json();
    assert_eq!(
        deleted,
        json!({ "id": cus, "object": "customer", "deleted": true })
    );
    assert_eq!(client.get(&path).await.json(), deleted);
    assert_eq!(found("").await, json!([]));
    let error = refused(
        &client
            .post(
                "/v1/payment_intents",
                &format!("amount=1999&currency=eur&customer={cus}"),
            )
            .await,
        400,
    );
    assert_eq!(
        (&error["code"], &error["param"]),
        (&json!("resource_missing"), &json!("customer"))
    );
    assert_eq!(
        types(&client).await,
        ["customer.created", "customer.updated", "customer.deleted"]
    );
}

#[tokio::test]
async fn a_card_is_attached_listed_and_detached_for_good() {
    let sandbox = Sandbox::start().await.unwrap();
    let client = Client::new(&sandbox);
    let (ada, bob) = (customer(&client).await, customer(&client).await);
    let attached = client
        .post(
            "/v1/payment_methods/pm_card_visa/attach",
            &format!("customer={ada}"),
        )
        .await
        .json();
    let method = id(&attached).to_owned();
    assert_ne!(method, "pm_card_visa");
    assert_eq!(attached["customer"], *ada);
    let of = |who: String| {
        let client = client.clone();
        async move {
            client
                .get(&format!("/v1/customers/{who}/payment_methods"))
                .await
                .json()["data"]
                .clone()
        }
    };
    assert_eq!(of(ada.clone()).await[0]["id"], *method);
    assert_eq!(of(bob.clone()).await, json!([]));
    assert_eq!(
        client
            .get(&format!("/v1/payment_methods?customer={ada}&type=card"))
            .await
            .json()["data"][0]["id"],
        *method
    );
    let theirs = |who: &str| format!("/v1/customers/{who}/payment_methods/{method}");
    assert_eq!(client.get(&theirs(&ada)).await.status, 200);
    assert_eq!(client.get(&theirs(&bob)).await.status, 404);

    // Another customer's card can be neither attached nor charged, with or without saying whose.
    refused(
        &client
            .post(
                &format!("/v1/payment_methods/{method}/attach"),
                &format!("customer={bob}"),
            )
            .await,
        400,
    );
    refused(&charge_away(&client, &bob, &method).await, 400);
    refused(&client.pay(&method).await, 400);
    assert_eq!(
        charge_away(&client, &ada, &method).await.json()["status"],
        "succeeded"
    );
    assert_eq!(
        charge_away(&client, &ada, &method).await.json()["status"],
        "succeeded"
    );

    let path = format!("/v1/payment_methods/{method}/detach");
    assert_eq!(client.post(&path, "").await.json()["customer"], json!(null));
    let error = refused(&client.post(&path, "").await, 400);
    assert!(
        error["message"]
            .as_str()
            .unwrap()
            .contains("not attached to a customer")
    );
    refused(&charge_away(&client, &ada, &method).await, 400);
    let detached = client
        .get("/v1/events?type=payment_method.detached")
        .await
        .json();
    assert_eq!(detached["data"].as_array().unwrap().len(), 1);
    assert_eq!(
        detached["data"][0]["data"]["previous_attributes"],
        json!({ "customer": ada })
    );
    assert_eq!(
        refused(
            &client
                .post(
                    "/v1/payment_methods/pm_card_chargeDeclined/attach",
                    &format!("customer={ada}")
                )
                .await,
            402
        )["code"],
        "card_declined"
    );
}

#[tokio::test]
async fn a_card_that_paid_once_without_a_customer_pays_never_again() {
    let sandbox = Sandbox::start().await.unwrap();
    let client = Client::new(&sandbox);
    let paid = client.pay("pm_card_visa").await.json();
    let method = paid["payment_method"].as_str().unwrap();
    let error = refused(&client.pay(method).await, 400);
    assert!(
        error["message"]
            .as_str()
            .unwrap()
            .contains("may not be used again")
    );
}

#[tokio::test]
async fn paying_saves_the_card_if_that_is_agreed() {
    let sandbox = Sandbox::start().await.unwrap();
    let client = Client::new(&sandbox);
    let ada = customer(&client).await;
    for (more, saved) in [
        ("", json!(null)),
        ("&setup_future_usage=off_session", json!(ada)),
        ("&setup_future_usage=on_session", json!(ada)),
    ] {
        let paid = client
            .create(&format!(
                "customer={ada}&confirm=true&payment_method=pm_card_visa&return_url=https://shop.example/{more}"
            ))
            .await;
        assert_eq!(paid["status"], "succeeded");
        let method = paid["payment_method"].as_str().unwrap();
        let method = client
            .get(&format!("/v1/payment_methods/{method}"))
            .await
            .json();
        assert_eq!(method["customer"], saved, "{more}");
    }
    let attached = types(&client).await;
    assert_eq!(
        attached
            .iter()
            .filter(|kind| *kind == "payment_method.attached")
            .count(),
        2
    );
}

#[tokio::test]
async fn setting_up_a_card_ends_well_or_not() {
    let sandbox = Sandbox::start().await.unwrap();
    let client = Client::new(&sandbox);
    let ada = customer(&client).await;
    let create = |more: &str| {
        let (client, body) = (client.clone(), format!("customer={ada}&{more}"));
        async move { client.post("/v1/setup_intents", &body).await }
    };
    let begun = create("metadata[a]=b&usage=on_session").await.json();
    assert_eq!(begun["status"], "requires_payment_method");
    assert_eq!(begun["usage"], "on_session");
    assert!(
        begun["client_secret"]
            .as_str()
            .unwrap()
            .starts_with(&format!("{}_secret_", id(&begun)))
    );
    let path = format!("/v1/setup_intents/{}", id(&begun));
    let canceled = client.post(&format!("{path}/cancel"), "").await.json();
    assert_eq!(canceled["status"], "canceled");
    let error = refused(&client.post(&format!("{path}/cancel"), "").await, 400);
    assert_eq!(error["code"], "setup_intent_unexpected_state");

    let error = refused(
        &create("confirm=true&payment_method=pm_card_chargeDeclined&return_url=https://a.example/")
            .await,
        402,
    );
    assert_eq!(error["setup_intent"]["status"], "requires_payment_method");
    assert_eq!(
        error["setup_intent"]["last_setup_error"]["decline_code"],
        "generic_decline"
    );
    let again = format!("/v1/setup_intents/{}/confirm", id(&error["setup_intent"]));
    let done = client
        .post(
            &again,
            "payment_method=pm_card_visa&return_url=https://a.example/",
        )
        .await
        .json();
    assert_eq!(done["status"], "succeeded");
    assert_eq!(done["last_setup_error"], json!(null));
    refused(
        &client
            .post(
                &again,
                "payment_method=pm_card_visa&return_url=https://a.example/",
            )
            .await,
        400,
    );
    assert_eq!(
        types(&client).await,
        [
            "customer.created",
            "setup_intent.created",
            "setup_intent.canceled",
            "setup_intent.created",
            "setup_intent.setup_failed",
            "payment_method.attached",
            "setup_intent.succeeded",
        ]
    );
    let list = client
        .get(&format!("/v1/setup_intents?customer={ada}"))
        .await
        .json();
    assert_eq!(list["data"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_browser_sets_up_a_card_with_its_bank() {
    let sandbox = Sandbox::start().await.unwrap();
    let client = Client::new(&sandbox);
    let browser = Client::browser(&sandbox);
    let ada = customer(&client).await;
    let setup = client
        .post("/v1/setup_intents", &format!("customer={ada}"))
        .await
        .json();
    let secret = setup["client_secret"].as_str().unwrap().to_owned();
    let path = format!("/v1/setup_intents/{}", id(&setup));
    let card = "payment_method_data[type]=card&payment_method_data[card][number]=4000002500003155\
                &payment_method_data[card][exp_month]=12&payment_method_data[card][exp_year]=2040\
                &payment_method_data[card][cvc]=123&payment_method_data[allow_redisplay]=always";
    refused(&browser.get(&path).await, 400);
    refused(
        &browser.get(&format!("{path}?client_secret=wrong")).await,
        400,
    );
    refused(&browser.post("/v1/setup_intents", "").await, 403);
    let confirm = format!("{path}/confirm");
    let asked = browser
        .post(
            &confirm,
            &format!(
                "client_secret={secret}&use_stripe_sdk=true&return_url=https://a.example/&{card}"
            ),
        )
        .await
        .json();
    assert_eq!(asked["status"], "requires_action");
    assert_eq!(asked["next_action"]["type"], "use_stripe_sdk");
    assert_eq!(asked["metadata"], json!(null), "a browser sees no metadata");
    let bank = Client::anonymous(&sandbox);
    let page = format!("/sandbox/3ds/{}", id(&setup));
    refused(
        &bank
            .post(&page, "outcome=succeed&client_secret=wrong")
            .await,
        404,
    );
    let refused_by_bank = bank
        .post(&page, &format!("outcome=fail&client_secret={secret}"))
        .await
        .json();
    assert_eq!(refused_by_bank["status"], "requires_payment_method");
    assert_eq!(
        refused_by_bank["last_setup_error"]["code"],
        "setup_intent_authentication_failure"
    );

    // Sent to the bank's page, and back.
    let asked = browser
        .post(
            &confirm,
            &format!("client_secret={secret}&return_url=https://a.example/x?y=1&{card}"),
        )
        .await
        .json();
    let url = asked["next_action"]["redirect_to_url"]["url"]
        .as_str()
        .unwrap();
    let page = url.strip_prefix(sandbox.url()).unwrap();
    let shown = bank.get(page).await;
    assert!(
        shown.body.contains("whether your card may be saved"),
        "{}",
        shown.body
    );
    let (path, source) = page.split_once("?source=").unwrap();
    let back = bank
        .post(path, &format!("outcome=succeed&source={source}"))
        .await;
    assert_eq!(back.status, 303);
    assert_eq!(
        back.header("location").unwrap(),
        format!(
            "https://a.example/x?y=1&setup_intent={}&setup_intent_client_secret={secret}&redirect_status=succeeded",
            id(&setup)
        )
    );
    let methods = client
        .get(&format!("/v1/customers/{ada}/payment_methods"))
        .await
        .json();
    assert_eq!(methods["data"][0]["card"]["last4"], "3155");
    assert_eq!(methods["data"][0]["allow_redisplay"], "always");
}

#[tokio::test]
async fn what_a_bank_wants_of_a_buyer_who_is_away() {
    let sandbox = Sandbox::start().await.unwrap();
    let client = Client::new(&sandbox);
    let ada = customer(&client).await;
    for (card, outcome) in [
        ("pm_card_visa", None),
        ("pm_card_authenticationRequiredOnSetup", None),
        ("pm_card_authenticationRequiredSetupForOffSession", None),
        (
            "pm_card_authenticationRequired",
            Some(("authentication_required", "authentication_required")),
        ),
        (
            "pm_card_authenticationRequiredChargeDeclinedInsufficientFunds",
            Some(("card_declined", "insufficient_funds")),
        ),
        (
            "pm_card_chargeCustomerFail",
            Some(("card_declined", "generic_decline")),
        ),
    ] {
        let method = saved(&client, &ada, card).await;
        let answer = charge_away(&client, &ada, &method).await;
        match outcome {
            None => assert_eq!(answer.json()["status"], "succeeded", "{card}"),
            Some((code, decline_code)) => {
                let error = refused(&answer, 402);
                assert_eq!(error["code"], code, "{card}");
                assert_eq!(error["decline_code"], decline_code, "{card}");
                assert_eq!(error["payment_method"]["id"], *method);
                let intent = &error["payment_intent"];
                assert_eq!(intent["status"], "requires_payment_method");
                assert_eq!(
                    intent["last_payment_error"]["payment_method"]["id"],
                    *method
                );
            }
        }
    }
    // Attached is not set up: the bank wants to ask.
    let attached = client
        .post(
            "/v1/payment_methods/pm_card_authenticationRequiredOnSetup/attach",
            &format!("customer={ada}"),
        )
        .await
        .json();
    let error = refused(&charge_away(&client, &ada, id(&attached)).await, 402);
    assert_eq!(error["code"], "authentication_required");

    // The buyer comes back, and pays the same intent with the same card.
    let intent = id(&error["payment_intent"]).to_owned();
    let asked = client
        .post(
            &format!("/v1/payment_intents/{intent}/confirm"),
            &format!(
                "payment_method={}&return_url=https://a.example/",
                id(&attached)
            ),
        )
        .await
        .json();
    assert_eq!(asked["status"], "requires_action");
    let bank = Client::anonymous(&sandbox);
    let paid = bank
        .post(
            &format!("/sandbox/3ds/{intent}"),
            &format!(
                "outcome=succeed&client_secret={}",
                asked["client_secret"].as_str().unwrap()
            ),
        )
        .await
        .json();
    assert_eq!(paid["status"], "succeeded");
}

#[tokio::test]
async fn a_customer_session_shows_what_may_be_shown() {
    let sandbox = Sandbox::start().await.unwrap();
    let client = Client::new(&sandbox);
    let browser = Client::browser(&sandbox);
    let (ada, bob) = (customer(&client).await, customer(&client).await);
    let method = saved(&client, &ada, "pm_card_visa").await;
    let others = saved(&client, &bob, "pm_card_visa").await;
    let session = |customer: &str, features: &str| {
        let (client, body) = (
            client.clone(),
            format!("customer={customer}&components[payment_element][enabled]=true{features}"),
        );
        async move {
            let session = client.post("/v1/customer_sessions", &body).await.json();
            session["client_secret"].as_str().unwrap().to_owned()
        }
    };
    let shown = |secret: String| {
        let browser = browser.clone();
        async move {
            browser
                .get(&format!(
                    "/v1/elements/saved_payment_methods?client_secret={secret}"
                ))
                .await
        }
    };
    const REDISPLAY: &str =
        "&components[payment_element][features][payment_method_redisplay]=enabled";
    let plain = session(&ada, REDISPLAY).await;
    assert_eq!(
        shown(plain.clone()).await.json()["payment_methods"],
        json!([]),
        "the buyer did not agree to it"
    );
    client
        .post(
            &format!("/v1/payment_methods/{method}"),
            "allow_redisplay=always",
        )
        .await;
    assert_eq!(
        shown(plain.clone()).await.json()["payment_methods"][0]["id"],
        *method
    );
    let off = session(&ada, "").await;
    assert_eq!(
        shown(off).await.json()["payment_methods"],
        json!([]),
        "redisplay is off"
    );
    assert_eq!(shown("cuss_secret_wrong".to_owned()).await.status, 400);

    let forget = |secret: String, method: String| {
        let browser = browser.clone();
        async move {
            browser
                .post(
                    "/v1/elements/saved_payment_methods",
                    &format!("client_secret={secret}&payment_method={method}"),
                )
                .await
                .status
        }
    };
    assert_eq!(forget(plain, method.clone()).await, 404, "removing is off");
    let remove = session(
        &ada,
        &format!(
            "{REDISPLAY}&components[payment_element][features][payment_method_remove]=enabled"
        ),
    )
    .await;
    assert_eq!(
        forget(remove.clone(), others).await,
        404,
        "another customer's"
    );
    assert_eq!(forget(remove.clone(), method).await, 200);
    assert_eq!(
        shown(remove.clone()).await.json()["payment_methods"],
        json!([])
    );
    sandbox.pass_time(std::time::Duration::from_secs(31 * 60));
    assert_eq!(shown(remove).await.status, 400, "it has expired");
}

#[tokio::test]
async fn one_accounts_customers_do_not_exist_for_another() {
    let sandbox = Sandbox::start().await.unwrap();
    let client = Client::new(&sandbox);
    let other = client.with("Stripe-Account", "acct_1");
    let ada = customer(&client).await;
    let method = saved(&client, &ada, "pm_card_visa").await;
    assert_eq!(other.get(&format!("/v1/customers/{ada}")).await.status, 404);
    assert_eq!(
        other
            .get(&format!("/v1/payment_methods/{method}"))
            .await
            .status,
        404
    );
    refused(&charge_away(&other, &ada, &method).await, 400);
    refused(
        &other
            .post("/v1/setup_intents", &format!("customer={ada}"))
            .await,
        400,
    );
}
