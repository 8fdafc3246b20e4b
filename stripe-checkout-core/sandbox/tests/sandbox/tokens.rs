//! What `createToken` and `createPaymentMethod` of Stripe.js ask for.

use serde_json::json;
use stripe_checkout_sandbox::{PUBLISHABLE_KEY, Sandbox};

use crate::http::{Client, id};

const CARD: &str =
    "card[number]=4242424242424242&card[exp_month]=12&card[exp_year]=34&card[cvc]=123";
const TELEMETRY: &str = "guid=a&muid=b&sid=c&payment_user_agent=stripe.js&time_on_page=7&pasted_fields=number\
     &client_attribution_metadata[client_session_id]=x&referrer=http://localhost";

#[tokio::test]
async fn a_browser_makes_a_token_that_pays_once() {
    let sandbox = Sandbox::start().await.unwrap();
    let browser = Client::anonymous(&sandbox);
    let server = Client::new(&sandbox);
    let made = browser
        .post(
            "/v1/tokens",
            &format!(
                "key={PUBLISHABLE_KEY}&{CARD}&card[name]=Jenny&card[address_zip]=12345&card[address_city]=Berlin\
                 &card[address_country]=DE&card[address_line1]=Teeweg+1&card[address_line2]=2&card[address_state]=BE&{TELEMETRY}"
            ),
        )
        .await;
    assert_eq!(made.status, 200, "{}", made.body);
    let token = made.json();
    assert!(id(&token).starts_with("tok_"));
    assert_eq!(
        (&token["object"], &token["type"], &token["used"]),
        (&json!("token"), &json!("card"), &json!(false))
    );
    let card = &token["card"];
    assert_eq!(
        (&card["brand"], &card["last4"], &card["exp_year"]),
        (&json!("Visa"), &json!("4242"), &json!(2034))
    );
    assert_eq!(
        (&card["name"], &card["address_zip"], &card["cvc_check"]),
        (&json!("Jenny"), &json!("12345"), &json!("unchecked"))
    );
    for (field, value) in [
        ("address_city", "Berlin"),
        ("address_country", "DE"),
        ("address_line1", "Teeweg 1"),
        ("address_line2", "2"),
        ("address_state", "BE"),
    ] {
        assert_eq!(card[field], value, "{field}");
    }
    assert!(card.get("fingerprint").is_none());

    let body = format!(
        "amount=1999&currency=eur&confirm=true&payment_method_types[]=card&payment_method_data[type]=card\
         &payment_method_data[card][token]={}",
        id(&token)
    );
    let paid = server
        .post("/v1/payment_intents?expand[]=payment_method", &body)
        .await;
    assert_eq!(paid.status, 200, "{}", paid.body);
    let paid = paid.json();
    assert_eq!(paid["status"], "succeeded");
    let billing = &paid["payment_method"]["billing_details"];
    assert_eq!(billing["name"], "Jenny");
    assert_eq!(billing["address"]["postal_code"], "12345");
    let again = server.post("/v1/payment_intents", &body).await;
    assert_eq!(again.status, 400);
    assert_eq!(again.error().1, "token_already_used");
    let read = server
        .get(&format!("/v1/tokens/{}", id(&token)))
        .await
        .json();
    assert_eq!(read["used"], true);
    assert!(read["card"]["fingerprint"].is_string());
    let unknown = server.get("/v1/tokens/tok_nothing").await;
    assert_eq!(
        (unknown.status, unknown.error().1.as_str()),
        (404, "resource_missing")
    );
}

#[tokio::test]
async fn a_token_is_refused_as_a_card_form_refuses() {
    let sandbox = Sandbox::start().await.unwrap();
    let browser = Client::browser(&sandbox);
    for (body, status, code) in [
        ("", 400, "parameter_missing"),
        ("card[number]=4242424242424242", 400, "parameter_missing"),
        (
            "card[number]=4242424242424241&card[exp_month]=12&card[exp_year]=34",
            402,
            "incorrect_number",
        ),
        (
            "card[number]=4242424242424242&card[exp_month]=13&card[exp_year]=34",
            402,
            "invalid_expiry_month",
        ),
        ("bank_account[country]=DE", 400, "parameter_missing"),
    ] {
        let answer = browser.post("/v1/tokens", body).await;
        assert_eq!(
            (answer.status, answer.error().1.as_str()),
            (status, code),
            "{body}"
        );
    }
    let unknown = browser
        .post("/v1/tokens", &format!("{CARD}&customer=cus_1"))
        .await;
    assert_eq!(unknown.error().1, "parameter_unknown");
    // Stripe takes card numbers from browsers only.
    assert_eq!(
        Client::new(&sandbox).post("/v1/tokens", CARD).await.status,
        402
    );
    // A browser makes tokens and does not read them.
    assert_eq!(browser.get("/v1/tokens/tok_nothing").await.status, 403);
}

#[tokio::test]
async fn a_browser_makes_a_payment_method_and_sees_what_concerns_it() {
    let sandbox = Sandbox::start().await.unwrap();
    let browser = Client::anonymous(&sandbox);
    let server = Client::new(&sandbox);
    let made = browser
        .post(
            "/v1/payment_methods",
            &format!(
                "type=card&{CARD}&billing_details[name]=Jenny&{TELEMETRY}&key={PUBLISHABLE_KEY}"
            ),
        )
        .await;
    assert_eq!(made.status, 200, "{}", made.body);
    let method = made.json();
    assert_eq!(method["billing_details"]["name"], "Jenny");
    assert_eq!(method["card"]["last4"], "4242");
    assert!(method["card"].get("fingerprint").is_none());
    assert!(method.get("metadata").is_none());
    let paid = server.pay(id(&method)).await;
    assert_eq!(paid.json()["status"], "succeeded", "{}", paid.body);
    for other in [
        format!("/v1/payment_methods/{}", id(&method)),
        "/v1/payment_methods?customer=cus_1".to_owned(),
    ] {
        assert_eq!(
            Client::browser(&sandbox).get(&other).await.status,
            403,
            "{other}"
        );
    }
    // Stripe.js describes the browser; a server has nothing of this to say.
    let told = server
        .post(
            "/v1/payment_methods",
            &format!("type=card&card[token]=tok_visa&{TELEMETRY}"),
        )
        .await;
    assert_eq!(told.error().1, "parameter_unknown");
}

#[tokio::test]
async fn a_browser_works_in_the_account_that_it_names() {
    let sandbox = Sandbox::start().await.unwrap();
    let browser = Client::browser(&sandbox);
    let connected = Client::new(&sandbox).with("Stripe-Account", "acct_1");
    let token = browser
        .post("/v1/tokens", &format!("{CARD}&_stripe_account=acct_1"))
        .await
        .json();
    let path = format!("/v1/tokens/{}", id(&token));
    assert_eq!(connected.get(&path).await.status, 200);
    assert_eq!(Client::new(&sandbox).get(&path).await.status, 404);

    // A page that forgets the account does not find the intent, whatever secret it has.
    let intent = connected.create("").await;
    let path = format!("/v1/payment_intents/{}/confirm", id(&intent));
    let body = format!(
        "client_secret={}&payment_method_data[type]=card&payment_method_data[card][token]=tok_visa",
        intent["client_secret"].as_str().unwrap()
    );
    let lost = browser.post(&path, &body).await;
    assert_eq!(
        (lost.status, lost.error().1.as_str()),
        (404, "resource_missing")
    );
    let setup = connected
        .post("/v1/setup_intents", "payment_method_types[]=card")
        .await
        .json();
    let secret = setup["client_secret"].as_str().unwrap();
    let setup_path = format!("/v1/setup_intents/{}?client_secret={secret}", id(&setup));
    assert_eq!(browser.get(&setup_path).await.status, 404);
    let named = format!("{setup_path}&_stripe_account=acct_1");
    assert_eq!(browser.get(&named).await.status, 200);

    // A payment method that the browser collects belongs to the account of the intent.
    let paid = browser
        .post(&path, &format!("{body}&_stripe_account=acct_1"))
        .await;
    assert_eq!(paid.json()["status"], "succeeded", "{}", paid.body);
    let method = paid.json()["payment_method"].as_str().unwrap().to_owned();
    let path = format!("/v1/payment_methods/{method}");
    assert_eq!(connected.get(&path).await.status, 200);
}
