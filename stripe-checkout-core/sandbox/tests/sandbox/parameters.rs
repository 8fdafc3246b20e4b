//! Parameters and values: each one has an effect, or the sandbox refuses it.

use serde_json::{Value, json};
use stripe_checkout_sandbox::Sandbox;

use crate::{
    http::{Client, events_of, id},
    receiver::Receiver,
};

const BACK: &str = "return_url=https://shop.example/back";
const SESSION: &str = "mode=payment&success_url=https://shop.example&line_items[0][price_data][currency]=eur\
    &line_items[0][price_data][unit_amount]=1000&line_items[0][price_data][product_data][name]=Tea&line_items[0][quantity]=1";
const CARD: &str = "email=a%40example.com&name=Jenny&country=DE&line1=Teeweg+1&postal_code=10115&city=Berlin\
    &payment_method_data[type]=card&payment_method_data[card][number]=4242424242424242\
    &payment_method_data[card][exp_month]=12&payment_method_data[card][exp_year]=2040&payment_method_data[card][cvc]=123";

async fn start() -> (Sandbox, Client) {
    let sandbox = Sandbox::start().await.unwrap();
    let client = Client::new(&sandbox);
    (sandbox, client)
}

/// Pays a session as its page does, and returns the payment.
async fn pay(sandbox: &Sandbox, client: &Client, session: &Value) -> Value {
    let page = format!("/sandbox/checkout/{}/pay", id(session));
    let paid = Client::anonymous(sandbox)
        .with("Origin", sandbox.url())
        .post(&page, CARD)
        .await;
    assert_eq!(paid.json()["status"], "complete", "{}", paid.body);
    let path = format!(
        "/v1/checkout/sessions/{}?expand[]=payment_intent",
        id(session)
    );
    client.get(&path).await.json()["payment_intent"].clone()
}

#[tokio::test]
async fn a_refusal_names_the_whole_parameter_and_the_sandbox() {
    let (_sandbox, client) = start().await;
    for (path, body, param) in [
        (
            "/v1/payment_intents",
            "amount=1999&currency=eur&payment_method_options[card][installments][enabled]=true",
            "payment_method_options[card][installments][enabled]",
        ),
        (
            "/v1/payment_intents",
            "amount=1999&currency=eur&payment_method_options[klarna][capture_method]=manual",
            "payment_method_options[klarna][capture_method]",
        ),
        (
            "/v1/payment_intents",
            "amount=1999&currency=eur&radar_options[session]=rse_1",
            "radar_options[session]",
        ),
        ("/v1/customers", "tax_exempt=exempt", "tax_exempt"),
        (
            "/v1/checkout/sessions",
            &format!("{SESSION}&line_items[0][adjustable_quantity][enabled]=true"),
            "line_items[0][adjustable_quantity][enabled]",
        ),
        (
            "/v1/checkout/sessions",
            &format!("{SESSION}&custom_fields[0][key]=size&custom_fields[0][type]=text"),
            "custom_fields[0][key]",
        ),
    ] {
        let answer = client.post(path, body).await;
        assert_eq!(answer.status, 400, "{body}");
        let error = &answer.json()["error"];
        assert_eq!(
            (&error["code"], &error["param"]),
            (&json!("parameter_unknown"), &json!(param))
        );
        let message = error["message"].as_str().unwrap();
        assert!(
            message.contains(param) && message.contains("sandbox"),
            "{message}"
        );
    }
}

#[tokio::test]
async fn a_value_that_the_sandbox_lacks_is_refused_by_name() {
    let (_sandbox, client) = start().await;
    for (path, good, bad) in [
        (
            "/v1/payment_intents",
            "amount=1999&currency=eur&payment_method_options[card][request_three_d_secure]=automatic",
            "amount=1999&currency=eur&payment_method_options[card][request_three_d_secure]=any",
        ),
        (
            "/v1/checkout/sessions",
            &format!("{SESSION}&invoice_creation[enabled]=false"),
            &format!("{SESSION}&invoice_creation[enabled]=true"),
        ),
        (
            "/v1/checkout/sessions",
            &format!("{SESSION}&tax_id_collection[enabled]=false"),
            &format!("{SESSION}&tax_id_collection[enabled]=true"),
        ),
    ] {
        let answer = client.post(path, bad).await;
        assert_eq!(answer.status, 400, "{bad}");
        assert!(
            answer.body.contains("the sandbox does not implement"),
            "{}",
            answer.body
        );
        let answer = client.post(path, good).await;
        assert_eq!(answer.status, 200, "{good}: {}", answer.body);
    }
}

#[tokio::test]
async fn a_card_is_authorised_only_where_its_options_say_so() {
    let (_sandbox, client) = start().await;
    let options = "payment_method_options[card][capture_method]=manual";
    let confirmed = format!("confirm=true&payment_method=pm_card_visa&{BACK}");
    let held = client.create(&format!("{options}&{confirmed}")).await;
    assert_eq!(held["status"], "requires_capture");
    assert_eq!(held["amount_capturable"], 1999);
    assert_eq!(held["capture_method"], "automatic_async");
    assert_eq!(
        held["payment_method_options"]["card"]["capture_method"],
        "manual"
    );
    let path = format!("/v1/payment_intents/{}", id(&held));
    let captured = client.post(&format!("{path}/capture"), "").await.json();
    assert_eq!(
        (&captured["status"], &captured["amount_received"]),
        (&json!("succeeded"), &json!(1999))
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
    // With a confirmation, and unset again by an update.
    let open = client.create("").await;
    let path = format!("/v1/payment_intents/{}", id(&open));
    let set = client.post(&path, options).await.json();
    assert_eq!(
        set["payment_method_options"]["card"]["capture_method"],
        "manual"
    );
    let unset = client
        .post(&path, "payment_method_options[card][capture_method]=")
        .await
        .json();
    assert!(
        unset["payment_method_options"]["card"]
            .get("capture_method")
            .is_none()
    );
    let paid = client
        .post(
            &format!("{path}/confirm"),
            &format!("{options}&payment_method=pm_card_visa&{BACK}"),
        )
        .await;
    assert_eq!(paid.json()["status"], "requires_capture");
}

#[tokio::test]
async fn a_debit_cannot_be_authorised_first() {
    let (_sandbox, client) = start().await;
    let types = "payment_method_types[]=card&payment_method_types[]=sepa_debit";
    let manual = "capture_method=manual";
    let body = format!("amount=1999&currency=eur&{types}&{manual}");
    let refused = client.post("/v1/payment_intents", &body).await;
    assert_eq!(
        (refused.status, &refused.json()["error"]["param"]),
        (400, &json!("capture_method"))
    );
    let listed = client.create(types).await;
    let path = format!("/v1/payment_intents/{}", id(&listed));
    assert_eq!(client.post(&path, manual).await.status, 400);
    // Of the methods that are chosen automatically only a card is left.
    let chosen = client.create(manual).await;
    assert_eq!(chosen["payment_method_types"], json!(["card"]));
    let path = format!("{path}/confirm");
    let paid = client
        .post(
            &path,
            &format!("payment_method=pm_card_visa&{BACK}&{manual}"),
        )
        .await;
    assert_eq!(paid.status, 400);
    let unchanged = client.get(path.trim_end_matches("/confirm")).await.json();
    assert_eq!(unchanged["capture_method"], "automatic_async");
    assert_eq!(unchanged["payment_method"], Value::Null);
}

#[tokio::test]
async fn a_method_is_saved_as_its_own_options_say() {
    let (_sandbox, client) = start().await;
    let customer = client.post("/v1/customers", "").await.json();
    for (options, saved) in [
        (
            "payment_method_options[card][setup_future_usage]=off_session",
            true,
        ),
        (
            "payment_method_options[sepa_debit][setup_future_usage]=off_session",
            false,
        ),
        ("setup_future_usage=off_session", true),
        (
            "setup_future_usage=off_session&payment_method_options[card][setup_future_usage]=none",
            false,
        ),
    ] {
        let paid = client
            .create(&format!(
                "customer={}&confirm=true&payment_method=pm_card_visa&{BACK}&{options}",
                id(&customer)
            ))
            .await;
        let path = format!(
            "/v1/payment_methods/{}",
            paid["payment_method"].as_str().unwrap()
        );
        let method = client.get(&path).await.json();
        assert_eq!(method["customer"].is_string(), saved, "{options}");
    }
}

#[tokio::test]
async fn a_browser_cannot_change_an_address_that_the_server_wrote() {
    let (sandbox, client) = start().await;
    let browser = Client::browser(&sandbox);
    let card = "payment_method_data[type]=card&payment_method_data[card][token]=tok_visa";
    let address = "shipping[name]=Ada&shipping[address][line1]=Teeweg+1";
    let confirm = |intent: &Value| {
        let path = format!("/v1/payment_intents/{}/confirm", id(intent));
        let body = format!(
            "client_secret={}&{card}&{address}",
            intent["client_secret"].as_str().unwrap()
        );
        let browser = browser.clone();
        async move { browser.post(&path, &body).await }
    };
    let written = client
        .create("shipping[name]=Jenny&shipping[address][line1]=Weg+2")
        .await;
    let refused = confirm(&written).await;
    assert_eq!(refused.status, 400);
    let error = &refused.json()["error"];
    assert_eq!(error["code"], "payment_intent_invalid_parameter");
    assert!(
        error["message"]
            .as_str()
            .unwrap()
            .contains("was last set with a secret key"),
        "{error}"
    );
    let free = client.create("").await;
    let paid = confirm(&free).await.json();
    assert_eq!(
        (&paid["status"], &paid["shipping"]["name"]),
        (&json!("succeeded"), &json!("Ada"))
    );
}

#[tokio::test]
async fn a_card_payment_has_no_statement_descriptor_of_its_own() {
    let (_sandbox, client) = start().await;
    let body = "amount=1999&currency=eur&statement_descriptor=Tea+and+books";
    for (more, taken) in [
        ("", false),
        ("&payment_method_types[]=card", false),
        (
            "&payment_method_types[]=card&payment_method_types[]=sepa_debit",
            false,
        ),
        ("&payment_method_types[]=sepa_debit", true),
    ] {
        let answer = client
            .post("/v1/payment_intents", &format!("{body}{more}"))
            .await;
        assert_eq!(answer.status == 200, taken, "{more}: {}", answer.body);
        if !taken {
            let error = &answer.json()["error"];
            assert_eq!(error["param"], "statement_descriptor");
            assert!(
                error["message"].as_str().unwrap().contains("`card`"),
                "{error}"
            );
        }
    }
    let open = client.create("").await;
    let path = format!("/v1/payment_intents/{}", id(&open));
    assert_eq!(
        client
            .post(&path, "statement_descriptor=Tea+and+books")
            .await
            .status,
        400
    );
    let session = format!("{SESSION}&payment_intent_data[statement_descriptor]=Tea+and+books");
    let refused = client.post("/v1/checkout/sessions", &session).await;
    assert_eq!(
        refused.json()["error"]["param"],
        "payment_intent_data[statement_descriptor]"
    );
}

#[tokio::test]
async fn a_fee_needs_another_account_and_is_no_more_than_the_payment() {
    let (_sandbox, client) = start().await;
    let body = "amount=1999&currency=eur&application_fee_amount";
    let theirs = client.with("Stripe-Account", "acct_1");
    for (client, fee, taken) in [
        (&client, "=100", false),
        (&client, "=100&transfer_data[destination]=acct_1", true),
        (&client, "=2000&transfer_data[destination]=acct_1", false),
        (
            &client,
            "=100&transfer_data[destination]=acct_1&transfer_data[amount]=5",
            false,
        ),
        (&client, "=100&transfer_data[destination]=nobody", false),
        (&client, "=100&transfer_data[amount]=5", false),
        (&theirs, "=100", true),
    ] {
        let answer = client
            .post("/v1/payment_intents", &format!("{body}{fee}"))
            .await;
        assert_eq!(answer.status == 200, taken, "{fee}: {}", answer.body);
    }
}

#[tokio::test]
async fn a_refund_takes_back_only_what_was_sent_on() {
    let (_sandbox, client) = start().await;
    let confirmed = format!("confirm=true&payment_method=pm_card_visa&{BACK}");
    let own = client.create(&confirmed).await;
    let sent = client
        .create(&format!(
            "{confirmed}&transfer_data[destination]=acct_1&application_fee_amount=100"
        ))
        .await;
    for name in ["reverse_transfer", "refund_application_fee"] {
        let body =
            |payment: &Value| format!("payment_intent={}&amount=10&{name}=true", id(payment));
        let refused = client.post("/v1/refunds", &body(&own)).await;
        assert_eq!(
            (refused.status, &refused.json()["error"]["param"]),
            (400, &json!(name))
        );
        let taken = client.post("/v1/refunds", &body(&sent)).await;
        assert_eq!(taken.status, 200, "{}", taken.body);
        assert_eq!(
            taken.json()["transfer_reversal"].is_string(),
            name == "reverse_transfer"
        );
    }
}

#[tokio::test]
async fn what_a_session_says_about_its_payment_reaches_the_payment() {
    let (sandbox, client) = start().await;
    let data = |name: &str, value: &str| format!("&payment_intent_data{name}={value}");
    let body = [
        ("[application_fee_amount]", "10"),
        ("[capture_method]", "manual"),
        ("[description]", "Two+books"),
        ("[metadata][key]", "value"),
        ("[on_behalf_of]", "acct_1"),
        ("[receipt_email]", "a@example.com"),
        ("[setup_future_usage]", "off_session"),
        ("[shipping][name]", "Jenny"),
        ("[shipping][phone]", "030"),
        ("[shipping][carrier]", "Post"),
        ("[shipping][tracking_number]", "7"),
        ("[shipping][address][city]", "Berlin"),
        ("[shipping][address][country]", "DE"),
        ("[shipping][address][line1]", "Teeweg+1"),
        ("[shipping][address][line2]", "2"),
        ("[shipping][address][postal_code]", "10115"),
        ("[shipping][address][state]", "BE"),
        ("[statement_descriptor_suffix]", "O+7"),
        ("[transfer_data][destination]", "acct_1"),
        ("[transfer_group]", "group"),
    ]
    .map(|(name, value)| data(name, value))
    .concat();
    let made = client
        .post("/v1/checkout/sessions", &format!("{SESSION}{body}"))
        .await;
    assert_eq!(made.status, 200, "{}", made.body);
    let payment = pay(&sandbox, &client, &made.json()).await;
    assert_eq!(payment["status"], "requires_capture");
    for (field, value) in [
        ("application_fee_amount", json!(10)),
        ("description", json!("Two books")),
        ("metadata", json!({ "key": "value" })),
        ("on_behalf_of", json!("acct_1")),
        ("receipt_email", json!("a@example.com")),
        ("setup_future_usage", json!("off_session")),
        ("statement_descriptor_suffix", json!("O 7")),
        ("transfer_data", json!({ "destination": "acct_1" })),
        ("transfer_group", json!("group")),
    ] {
        assert_eq!(payment[field], value, "{field}");
    }
    assert_eq!(
        payment["shipping"],
        json!({
            "address": {
                "city": "Berlin", "country": "DE", "line1": "Teeweg 1", "line2": "2", "postal_code": "10115", "state": "BE",
            },
            "carrier": "Post", "name": "Jenny", "phone": "030", "tracking_number": "7",
        })
    );
    for unfit in [
        "[customer]=cus_1",
        "[payment_method_options][card][capture_method]=manual",
    ] {
        let refused = client
            .post(
                "/v1/checkout/sessions",
                &format!("{SESSION}&payment_intent_data{unfit}"),
            )
            .await;
        assert_eq!(refused.error().1, "parameter_unknown", "{unfit}");
    }
    // Only an account is the business of record.
    for (path, name) in [
        ("/v1/payment_intents", "on_behalf_of"),
        ("/v1/setup_intents", "on_behalf_of"),
        ("/v1/checkout/sessions", "payment_intent_data[on_behalf_of]"),
    ] {
        let more = match path {
            "/v1/payment_intents" => "amount=500&currency=eur",
            "/v1/setup_intents" => "",
            _ => SESSION,
        };
        let refused = client.post(path, &format!("{more}&{name}=cus_1")).await;
        assert_eq!(refused.status, 400, "{path}: {}", refused.body);
        assert_eq!(refused.error().1, "resource_missing", "{path}");
        assert_eq!(refused.json()["error"]["param"], name, "{path}");
    }
    // A debit has a whole statement descriptor, and the session's types reach the payment.
    let debit = format!(
        "{SESSION}&payment_method_types[]=sepa_debit&payment_intent_data[statement_descriptor]=Tea+and+books"
    );
    let made = client.post("/v1/checkout/sessions", &debit).await.json();
    assert_eq!(made["payment_method_types"], json!(["sepa_debit"]));
}

#[tokio::test]
async fn customer_update_saves_what_the_buyer_enters() {
    let (sandbox, client) = start().await;
    let customer = client.post("/v1/customers", "").await.json();
    let body = format!(
        "{SESSION}&customer={}&customer_update[address]=auto&customer_update[shipping]=auto\
         &shipping_address_collection[allowed_countries][]=DE",
        id(&customer)
    );
    let made = client.post("/v1/checkout/sessions", &body).await;
    assert_eq!(made.status, 200, "{}", made.body);
    pay(&sandbox, &client, &made.json()).await;
    let path = format!("/v1/customers/{}?expand[]=tax", id(&customer));
    let saved = client.get(&path).await.json();
    assert_eq!(saved["address"]["line1"], "Teeweg 1");
    assert_eq!(saved["shipping"]["address"]["country"], "DE");
    assert_eq!(saved["tax"]["location"]["country"], "DE");
    // Without `expand` it is no part of the customer.
    let plain = client
        .get(&format!("/v1/customers/{}", id(&customer)))
        .await
        .json();
    assert!(plain.get("tax").is_none());
    let bare = client.post("/v1/customers?expand[]=tax", "").await.json();
    assert_eq!(bare["tax"]["automatic_tax"], "unrecognized_location");
}

#[tokio::test]
async fn lines_and_ways_to_ship_say_if_tax_is_included() {
    let (_sandbox, client) = start().await;
    let taxed = format!("{SESSION}&automatic_tax[enabled]=true");
    let line = "&line_items[0][price_data][tax_behavior]=exclusive";
    let rate = "&shipping_options[0][shipping_rate_data][display_name]=Post\
        &shipping_options[0][shipping_rate_data][type]=fixed_amount\
        &shipping_options[0][shipping_rate_data][fixed_amount][amount]=490\
        &shipping_options[0][shipping_rate_data][fixed_amount][currency]=eur";
    let included = "&shipping_options[0][shipping_rate_data][tax_behavior]=inclusive";
    for (more, taken) in [
        (String::new(), false),
        (
            "&line_items[0][price_data][tax_behavior]=unspecified".to_owned(),
            false,
        ),
        (line.to_owned(), true),
        (format!("{line}{rate}"), false),
        (format!("{line}{rate}{included}"), true),
    ] {
        let answer = client
            .post("/v1/checkout/sessions", &format!("{taxed}{more}"))
            .await;
        assert_eq!(answer.status == 200, taken, "{more}: {}", answer.body);
        if !taken {
            assert!(
                answer.body.contains("does not have a `tax_behavior` set"),
                "{}",
                answer.body
            );
        }
    }
}

#[tokio::test]
async fn sessions_are_listed() {
    let (sandbox, client) = start().await;
    let customer = client.post("/v1/customers", "").await.json();
    let one = client.post("/v1/checkout/sessions", SESSION).await.json();
    let two = client
        .post(
            "/v1/checkout/sessions",
            &format!("{SESSION}&customer={}", id(&customer)),
        )
        .await
        .json();
    let payment = pay(&sandbox, &client, &one).await;
    for (query, found) in [
        (String::new(), vec![&two, &one]),
        (format!("?customer={}", id(&customer)), vec![&two]),
        (format!("?payment_intent={}", id(&payment)), vec![&one]),
        ("?status=open".to_owned(), vec![&two]),
        ("?status=complete".to_owned(), vec![&one]),
        (format!("?starting_after={}", id(&two)), vec![&one]),
        ("?limit=1&=".to_owned(), vec![&two]),
    ] {
        let list = client
            .get(&format!("/v1/checkout/sessions{query}"))
            .await
            .json();
        let ids: Vec<&str> = list["data"].as_array().unwrap().iter().map(id).collect();
        let expected: Vec<&str> = found.into_iter().map(id).collect();
        assert_eq!(ids, expected, "{query}");
    }
}

/// The ids in a list.
async fn listed(client: &Client, path: &str) -> Vec<String> {
    let list = client.get(path).await;
    assert_eq!(list.status, 200, "{path}: {}", list.body);
    let list = list.json();
    let rows = list["data"].as_array().unwrap().iter();
    rows.map(|row| id(row).to_owned()).collect()
}

#[tokio::test]
async fn lists_hold_what_their_filters_name() {
    let (_sandbox, client) = start().await;
    let customer = client.post("/v1/customers", "name=Jenny").await.json();
    let other = client.post("/v1/customers", "name=Jenny").await.json();
    let customer = id(&customer);
    let confirmed = format!("confirm=true&payment_method=pm_card_visa&{BACK}");
    let plain = client.create(&confirmed).await;
    let theirs = client
        .create(&format!(
            "{confirmed}&customer={customer}&transfer_group=group"
        ))
        .await;
    let charge = |payment: &Value| payment["latest_charge"].as_str().unwrap().to_owned();
    let methods = |word: &'static str| {
        let client = client.clone();
        let body = format!("type=card&card[token]=tok_visa&allow_redisplay={word}");
        async move {
            let made = client.post("/v1/payment_methods", &body).await.json();
            let path = format!("/v1/payment_methods/{}/attach", id(&made));
            let attached = client.post(&path, &format!("customer={customer}")).await;
            id(&attached.json()).to_owned()
        }
    };
    let (always, limited) = (methods("always").await, methods("limited").await);
    let setup = client
        .post(
            "/v1/setup_intents",
            &format!("customer={customer}&payment_method={always}"),
        )
        .await
        .json();
    client.post("/v1/setup_intents", "").await;
    let owner = format!("customer={customer}");
    for (path, expected) in [
        (
            "/v1/charges?transfer_group=group".to_owned(),
            vec![charge(&theirs)],
        ),
        (format!("/v1/charges?{owner}"), vec![charge(&theirs)]),
        (
            "/v1/charges".to_owned(),
            vec![charge(&theirs), charge(&plain)],
        ),
        (
            format!("/v1/payment_intents?{owner}"),
            vec![id(&theirs).to_owned()],
        ),
        (
            format!("/v1/setup_intents?{owner}"),
            vec![id(&setup).to_owned()],
        ),
        (
            format!("/v1/setup_intents?payment_method={always}"),
            vec![id(&setup).to_owned()],
        ),
        (
            format!("/v1/payment_methods?{owner}"),
            vec![limited.clone(), always.clone()],
        ),
        (
            format!("/v1/payment_methods?{owner}&allow_redisplay=always"),
            vec![always.clone()],
        ),
        (
            format!("/v1/customers/{customer}/payment_methods?allow_redisplay=limited"),
            vec![limited],
        ),
        (
            "/v1/customers/search?query=name:'Jenny'&limit=1".to_owned(),
            vec![id(&other).to_owned()],
        ),
    ] {
        assert_eq!(listed(&client, &path).await, expected, "{path}");
    }
}

#[tokio::test]
async fn a_customer_has_a_default_among_its_own_payment_methods() {
    let (_sandbox, client) = start().await;
    let method = client
        .post("/v1/payment_methods", "type=card&card[token]=tok_visa")
        .await
        .json();
    let default = format!("invoice_settings[default_payment_method]={}", id(&method));
    let refused = client.post("/v1/customers", &default).await;
    assert_eq!(
        (refused.status, &refused.json()["error"]["param"]),
        (400, &json!("invoice_settings[default_payment_method]"))
    );
    let both = format!("{default}&payment_method={}", id(&method));
    let made = client.post("/v1/customers", &both).await.json();
    assert_eq!(
        made["invoice_settings"]["default_payment_method"],
        method["id"]
    );
    let other = client.post("/v1/customers", "").await.json();
    let path = format!("/v1/customers/{}", id(&other));
    assert_eq!(client.post(&path, &default).await.status, 400);
    let expanded = format!(
        "/v1/customers/{}?expand[]=invoice_settings.default_payment_method",
        id(&made)
    );
    let expanded = client.get(&expanded).await.json();
    assert_eq!(
        expanded["invoice_settings"]["default_payment_method"]["object"],
        "payment_method"
    );
}

#[tokio::test]
async fn a_mandate_says_when_and_how_the_buyer_agreed() {
    let (_sandbox, client) = start().await;
    let agreed = "mandate_data[customer_acceptance]";
    let paid = client
        .create(&format!(
            "confirm=true&payment_method=pm_success_de&{BACK}&{agreed}[type]=online&{agreed}[accepted_at]=1700000000\
             &{agreed}[online][ip_address]=10.0.0.7&{agreed}[online][user_agent]=browser"
        ))
        .await;
    let path = format!("/v1/charges/{}", paid["latest_charge"].as_str().unwrap());
    let charge = client.get(&path).await.json();
    let mandate = charge["payment_method_details"]["sepa_debit"]["mandate"]
        .as_str()
        .unwrap();
    let mandate = client.get(&format!("/v1/mandates/{mandate}")).await.json();
    assert_eq!(
        mandate["customer_acceptance"],
        json!({
            "accepted_at": 1_700_000_000,
            "online": { "ip_address": "10.0.0.7", "user_agent": "browser" },
            "type": "online",
        })
    );
}

#[tokio::test]
async fn a_buyer_who_is_away_gets_no_challenge() {
    let (_sandbox, client) = start().await;
    let body = format!(
        "amount=1999&currency=eur&confirm=true&payment_method=pm_card_authenticationRequired&{BACK}"
    );
    let there = client.post("/v1/payment_intents", &body).await;
    assert_eq!(there.json()["status"], "requires_action", "{}", there.body);
    let away = client
        .post("/v1/payment_intents", &format!("{body}&off_session=true"))
        .await;
    assert_eq!(
        (away.status, away.error().1.as_str()),
        (402, "authentication_required")
    );
}

#[tokio::test]
async fn short_lists_have_pages_too() {
    let (_sandbox, client) = start().await;
    let lines: String = (1..4)
        .map(|at| {
            format!(
                "&line_items[{at}][price_data][currency]=eur&line_items[{at}][price_data][unit_amount]=1000\
                 &line_items[{at}][price_data][product_data][name]=Tea{at}&line_items[{at}][quantity]=1"
            )
        })
        .collect();
    let session = client
        .post("/v1/checkout/sessions", &format!("{SESSION}{lines}"))
        .await
        .json();
    let path = format!("/v1/checkout/sessions/{}/line_items", id(&session));
    let all = client.get(&path).await.json();
    let ids: Vec<&str> = all["data"].as_array().unwrap().iter().map(id).collect();
    assert_eq!((ids.len(), &all["has_more"]), (4, &json!(false)));
    for (query, expected, more) in [
        ("limit=3".to_owned(), &ids[..3], true),
        (format!("starting_after={}", ids[2]), &ids[3..], false),
        (
            format!("starting_after={}&limit=1", ids[0]),
            &ids[1..2],
            true,
        ),
        (
            format!("ending_before={}&limit=1", ids[2]),
            &ids[1..2],
            true,
        ),
        (format!("ending_before={}", ids[2]), &ids[..2], false),
    ] {
        let page = client.get(&format!("{path}?{query}")).await.json();
        let found: Vec<&str> = page["data"].as_array().unwrap().iter().map(id).collect();
        assert_eq!(
            (found.as_slice(), &page["has_more"]),
            (expected, &json!(more)),
            "{query}"
        );
    }
    assert_eq!(
        client
            .get(&format!("{path}?starting_after=li_x"))
            .await
            .status,
        400
    );
}

#[tokio::test]
async fn an_endpoint_gets_the_events_of_its_accounts() {
    let (sandbox, client) = start().await;
    let mut receivers = Vec::new();
    for connect in ["", "&connect=false", "&connect=true"] {
        let receiver = Receiver::start(|_| 200).await;
        let body = format!(
            "url={}&enabled_events[]=payment_intent.created{connect}",
            receiver.url
        );
        let made = client.post("/v1/webhook_endpoints", &body).await;
        assert_eq!(made.status, 200, "{}", made.body);
        receivers.push((connect, receiver));
    }
    client.create("").await;
    client.with("Stripe-Account", "acct_1").create("").await;
    sandbox.wait_idle().await;
    for (connect, receiver) in receivers {
        let deliveries = receiver.deliveries();
        let accounts: Vec<Value> = deliveries
            .iter()
            .map(|delivery| delivery.event()["account"].clone())
            .collect();
        let expected = match connect {
            "&connect=true" => json!("acct_1"),
            _ => Value::Null,
        };
        assert_eq!(accounts, [expected], "{connect}");
    }
}

#[tokio::test]
async fn an_endpoint_knows_stripes_event_types_and_speaks_one_version() {
    let (_sandbox, client) = start().await;
    let url = "url=http://127.0.0.1:1/webhook";
    for (more, param) in [
        ("enabled_events[]=*", None),
        (
            "enabled_events[]=charge.updated&enabled_events[]=customer.subscription.created",
            None,
        ),
        (
            "enabled_events[]=charge.failed&enabled_events[]=charge.exploded",
            Some("enabled_events[1]"),
        ),
        ("enabled_events[]=charge.*", Some("enabled_events[0]")),
        (
            "enabled_events[]=*&api_version=2024-06-20",
            Some("api_version"),
        ),
        (
            &format!(
                "enabled_events[]=*&api_version={}",
                stripe_checkout_core::API_VERSION
            ),
            None,
        ),
    ] {
        let answer = client
            .post("/v1/webhook_endpoints", &format!("{url}&{more}"))
            .await;
        assert_eq!(
            answer.status == 200,
            param.is_none(),
            "{more}: {}",
            answer.body
        );
        if let Some(param) = param {
            assert_eq!(answer.json()["error"]["param"], param);
        } else {
            let path = format!("/v1/webhook_endpoints/{}", id(&answer.json()));
            assert_eq!(
                client
                    .post(&path, "enabled_events[]=charge.exploded")
                    .await
                    .status,
                400
            );
        }
    }
}

#[tokio::test]
async fn booleans_may_have_a_capital_letter() {
    let (_sandbox, client) = start().await;
    let paid = client
        .create(&format!(
            "confirm=True&payment_method=pm_card_visa&automatic_payment_methods[enabled]=True&off_session=False&{BACK}"
        ))
        .await;
    assert_eq!(paid["status"], "succeeded");
    for wrong in ["1", "TRUE", "yes"] {
        let answer = client
            .post(
                "/v1/payment_intents",
                &format!("amount=1999&currency=eur&confirm={wrong}"),
            )
            .await;
        assert_eq!(
            answer.json()["error"]["message"],
            format!("Invalid boolean: {wrong}")
        );
    }
}

#[tokio::test]
async fn an_unknown_payment_method_cannot_be_attached() {
    let (_sandbox, client) = start().await;
    let customer = client.post("/v1/customers", "").await.json();
    let body = format!("customer={}", id(&customer));
    let answer = client
        .post("/v1/payment_methods/pm_nothing/attach", &body)
        .await;
    assert_eq!(
        (answer.status, answer.error().1.as_str()),
        (404, "resource_missing")
    );
    let answer = client
        .post("/v1/payment_methods/pm_card_visa/attach", &body)
        .await;
    assert_eq!(answer.status, 200, "{}", answer.body);
}
