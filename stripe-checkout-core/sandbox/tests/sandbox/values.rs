//! Values that Stripe refuses although it knows their parameter.

use serde_json::json;
use stripe_checkout_sandbox::{PUBLISHABLE_KEY, Sandbox};

use crate::http::{Client, id};

const SESSION: &str = "mode=payment&success_url=https://shop.example&line_items[0][quantity]=1\
    &line_items[0][price_data][currency]=eur&line_items[0][price_data][unit_amount]=1000\
    &line_items[0][price_data][product_data][name]=Tea";

/// Asks for a session with these parameters too, and expects a sentence with these words.
async fn refused(client: &Client, more: &str, words: &str) {
    let body = format!("{SESSION}&{more}");
    let answer = client.post("/v1/checkout/sessions", &body).await;
    assert_eq!(answer.status, 400, "{more}: {}", answer.body);
    assert!(answer.body.contains(words), "{more}: {}", answer.body);
}

#[tokio::test]
async fn a_session_is_refused_before_a_buyer_comes() {
    let sandbox = Sandbox::start().await.unwrap();
    let client = Client::new(&sandbox);
    for (more, words) in [
        ("discounts[coupon]=SANDBOX10", "Invalid array"),
        ("discounts[0]=SANDBOX10", "Invalid array"),
        (
            "line_items[0][quantity]=0",
            "This value must be greater than or equal to 1",
        ),
        ("customer_email=jenny", "Invalid email address: jenny"),
        (
            "shipping_address_collection[allowed_countries][0]=XX",
            "XX is not a country code",
        ),
        (
            "shipping_address_collection[allowed_countries][0]=CU",
            "CU is not a country code",
        ),
        (
            "payment_intent_data[application_fee_amount]=10",
            "application_fee_amount when the PaymentIntent is attempting a direct payment",
        ),
        (
            "payment_method_types[]=sepa_debit&payment_intent_data[capture_method]=manual",
            "does not support a `capture_method` of `manual`",
        ),
        (
            "line_items[0][price_data][product_data][images][0]=tea.png",
            "Invalid images",
        ),
        ("payment_method_collection=if_required", "The sandbox"),
    ] {
        refused(&client, more, words).await;
    }
    let no_quantity = SESSION.replace("&line_items[0][quantity]=1", "");
    let answer = client.post("/v1/checkout/sessions", &no_quantity).await;
    assert_eq!(answer.status, 400);
    let sentence = "Quantity is required. Add `quantity` to `line_items[0]`";
    assert!(answer.body.contains(sentence), "{}", answer.body);
    // A list without an element is no discount.
    let body = format!("{SESSION}&discounts=");
    let answer = client.post("/v1/checkout/sessions", &body).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
}

#[tokio::test]
async fn an_address_has_a_country_of_iso_3166() {
    let sandbox = Sandbox::start().await.unwrap();
    let client = Client::new(&sandbox);
    let address = |country: &str| {
        format!(
            "amount=1999&currency=eur&shipping[name]=Ada&shipping[address][line1]=Teeweg+2\
             &shipping[address][country]={country}"
        )
    };
    for country in ["DE", "de", "CU", "XK"] {
        let answer = client.post("/v1/payment_intents", &address(country)).await;
        assert_eq!(answer.status, 200, "{country}: {}", answer.body);
    }
    for country in ["Germany", "DEU", "XX"] {
        let answer = client.post("/v1/payment_intents", &address(country)).await;
        let error = &answer.json()["error"];
        assert_eq!(answer.status, 400, "{country}");
        assert_eq!(error["param"], "shipping[address][country]");
        let sentence = format!("Country '{country}' is unknown.");
        assert!(answer.body.contains(&sentence), "{}", answer.body);
    }
}

#[tokio::test]
async fn a_payment_method_has_an_address_for_mail_and_a_date_of_a_card() {
    let sandbox = Sandbox::start().await.unwrap();
    let client = Client::new(&sandbox);
    let body = "type=card&card[token]=tok_visa&billing_details[email]=jenny";
    let answer = client.post("/v1/payment_methods", body).await;
    assert_eq!(
        (answer.status, answer.error().1.as_str()),
        (400, "email_invalid")
    );
    assert_eq!(answer.json()["error"]["param"], "billing_details[email]");

    let customer = client.post("/v1/customers", "").await.json();
    let attach = format!("customer={}", id(&customer));
    let path = "/v1/payment_methods/pm_card_visa/attach";
    let method = client.post(path, &attach).await.json();
    let path = format!("/v1/payment_methods/{}", id(&method));
    for (card, code) in [
        ("card[exp_month]=99", "invalid_expiry_month"),
        (
            "card[exp_month]=1&card[exp_year]=2019",
            "invalid_expiry_year",
        ),
    ] {
        let answer = client.post(&path, card).await;
        assert_eq!(
            (answer.status, answer.error().1.as_str()),
            (402, code),
            "{card}"
        );
    }
    let answer = client
        .post(&path, "card[exp_month]=1&card[exp_year]=2060")
        .await;
    assert_eq!(
        answer.json()["card"]["exp_year"],
        json!(2060),
        "{}",
        answer.body
    );

    let list = format!("/v1/payment_methods?customer={}&type=", id(&customer));
    assert_eq!(client.get(&format!("{list}crad")).await.status, 400);
    assert_eq!(client.get(&format!("{list}card")).await.status, 200);
    // Stripe has this type, and this customer has none of it.
    let none = client.get(&format!("{list}us_bank_account")).await.json();
    assert_eq!(none["data"], json!([]));
}

#[tokio::test]
async fn a_customer_session_shows_ten_payment_methods_at_most() {
    let sandbox = Sandbox::start().await.unwrap();
    let client = Client::new(&sandbox);
    let customer = client.post("/v1/customers", "").await.json();
    for (limit, status) in [(10, 200), (11, 400)] {
        let body = format!(
            "customer={}&components[payment_element][enabled]=true\
             &components[payment_element][features][payment_method_redisplay_limit]={limit}",
            id(&customer)
        );
        let answer = client.post("/v1/customer_sessions", &body).await;
        assert_eq!(answer.status, status, "{}", answer.body);
    }
}

#[tokio::test]
async fn a_version_has_a_name_since_there_are_names() {
    let sandbox = Sandbox::start().await.unwrap();
    let client = Client::new(&sandbox);
    for (version, status) in [
        ("2024-06-20", 200),
        ("2024-09-30.acacia", 200),
        ("2026-10-28.endive", 200),
        ("2025-03-31", 400),
        ("2024-06-20.acacia", 400),
        ("foo", 400),
    ] {
        let asked = client.with("Stripe-Version", version);
        assert_eq!(
            asked.get("/v1/payment_intents").await.status,
            status,
            "{version}"
        );
        // Stripe.js names its version in a parameter.
        let body = format!(
            "key={PUBLISHABLE_KEY}&_stripe_version={version}&card[number]=4242424242424242\
             &card[exp_month]=12&card[exp_year]=2040"
        );
        let answer = Client::anonymous(&sandbox).post("/v1/tokens", &body).await;
        assert_eq!(answer.status, status, "{version}: {}", answer.body);
    }
}

#[tokio::test]
async fn the_sandbox_forgets_old_requests_before_their_bodies_fill_the_memory() {
    let sandbox = Sandbox::start().await.unwrap();
    let client = Client::anonymous(&sandbox);
    let large = format!("a={}", "x".repeat(1024 * 1024 - 2));
    for _ in 0..70 {
        assert_eq!(client.post("/v1/payment_intents", &large).await.status, 401);
    }
    let kept: usize = sandbox
        .requests()
        .iter()
        .map(|request| request.body.len())
        .sum();
    assert!(kept <= 64 * 1024 * 1024 && kept > 0, "{kept}");
}

#[tokio::test]
async fn an_intent_stays_in_a_currency_that_its_listed_types_take() {
    let sandbox = Sandbox::start().await.unwrap();
    let client = Client::new(&sandbox);
    let intent = client.create("payment_method_types[]=sepa_debit").await;
    let path = format!("/v1/payment_intents/{}", id(&intent));
    let answer = client.post(&path, "currency=usd").await;
    assert_eq!(answer.status, 400, "{}", answer.body);
    assert!(
        answer
            .body
            .contains("The currency provided (usd) is invalid"),
        "{}",
        answer.body
    );
    assert_eq!(client.get(&path).await.json()["currency"], "eur");
}

#[tokio::test]
async fn a_connected_account_has_the_name_of_one() {
    let sandbox = Sandbox::start().await.unwrap();
    let client = Client::new(&sandbox);
    let list = "/v1/payment_intents";
    let good = client.with("Stripe-Account", "acct_1").get(list).await;
    assert_eq!(good.status, 200);
    let bad = client.with("Stripe-Account", "foo").get(list).await;
    assert_eq!(
        (bad.status, bad.error().1.as_str()),
        (403, "account_invalid")
    );
    let body = format!("key={PUBLISHABLE_KEY}&_stripe_account=foo&card[number]=4242424242424242");
    let bad = Client::anonymous(&sandbox).post("/v1/tokens", &body).await;
    assert_eq!(
        (bad.status, bad.error().1.as_str()),
        (403, "account_invalid")
    );
}
