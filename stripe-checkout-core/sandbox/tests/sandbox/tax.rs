//! Checkout Sessions with automatic tax: a known customer needs an address, or leave to save one.

use serde_json::{Value, json};
use stripe_checkout_sandbox::Sandbox;

use crate::http::{Client, id};

const LINES: &str = "mode=payment&success_url=https://shop.example&line_items[0][price_data][currency]=eur\
    &line_items[0][price_data][unit_amount]=1000&line_items[0][price_data][product_data][name]=Tea\
    &line_items[0][price_data][tax_behavior]=inclusive&line_items[0][quantity]=1";
const SHIPPING: &str = "shipping_address_collection[allowed_countries][0]=DE";

struct Stage {
    // It ends when it is dropped.
    _sandbox: Sandbox,
    client: Client,
}

impl Stage {
    async fn start() -> Self {
        let sandbox = Sandbox::start().await.unwrap();
        let client = Client::new(&sandbox);
        Self {
            _sandbox: sandbox,
            client,
        }
    }

    async fn customer(&self, details: &str) -> String {
        let made = self.client.post("/v1/customers", details).await;
        assert_eq!(made.status, 200, "{}", made.body);
        id(&made.json()).to_owned()
    }

    /// The session, or the code and the message of the refusal.
    async fn session(&self, more: &str) -> Result<Value, (Value, String)> {
        let body = format!("{LINES}&{more}");
        let answer = self.client.post("/v1/checkout/sessions", &body).await;
        match answer.status {
            200 => Ok(answer.json()),
            _ => {
                assert_eq!(answer.status, 400, "{}", answer.body);
                let error = &answer.json()["error"];
                let message = error["message"].as_str().unwrap().to_owned();
                Err((error["code"].clone(), message))
            }
        }
    }
}

#[tokio::test]
async fn a_customer_without_an_address_is_taxed_only_where_checkout_may_save_one() {
    let stage = Stage::start().await;
    let bare = stage.customer("name=Ada").await;
    let taxed = format!("customer={bare}&automatic_tax[enabled]=true");

    let (code, message) = stage.session(&taxed).await.unwrap_err();
    assert_eq!(code, json!("customer_tax_location_invalid"));
    assert!(
        message.starts_with("Automatic tax calculation in Checkout requires a valid address"),
        "{message}"
    );
    let never = format!("{taxed}&customer_update[address]=never");
    assert!(stage.session(&never).await.is_err());

    let saved = format!("{taxed}&customer_update[address]=auto");
    assert!(stage.session(&saved).await.is_ok());
    let untaxed = format!("customer={bare}");
    assert!(stage.session(&untaxed).await.is_ok());
    // A guest enters an address anyway.
    let guest = "customer_email=ada@example.com&automatic_tax[enabled]=true";
    assert!(stage.session(guest).await.is_ok());
    // An address that is known serves as well.
    let known = stage
        .customer("address[country]=DE&address[postal_code]=10115")
        .await;
    let taxed = format!("customer={known}&automatic_tax[enabled]=true");
    assert!(stage.session(&taxed).await.is_ok());
}

#[tokio::test]
async fn with_tax_a_shipping_address_must_be_saved_whatever_is_known() {
    let stage = Stage::start().await;
    for details in ["name=Ada", "address[country]=DE&address[postal_code]=10115"] {
        let customer = stage.customer(details).await;
        let shipped = format!("customer={customer}&automatic_tax[enabled]=true&{SHIPPING}");
        let address_only = format!("{shipped}&customer_update[address]=auto");
        let (_, message) = stage.session(&address_only).await.unwrap_err();
        assert!(
            message.starts_with("Automatic tax calculation uses fields saved on the Customer."),
            "{message}"
        );
        let both = format!("{address_only}&customer_update[shipping]=auto");
        assert!(stage.session(&both).await.is_ok());
    }
}

#[tokio::test]
async fn what_customer_update_needs_is_checked() {
    let stage = Stage::start().await;
    let customer = stage.customer("name=Ada").await;
    for (body, sentence) in [
        (
            "customer_update[address]=auto".to_owned(),
            "`customer_update` can only be used with `customer` or `customer_account`.",
        ),
        (
            format!("customer={customer}&customer_update[shipping]=auto"),
            "`customer_update[shipping]` can only be set",
        ),
        (
            format!("customer={customer}&customer_update[address]=always"),
            "Invalid customer_update[address]: must be one of auto or never",
        ),
        (
            format!("customer={customer}&customer_update[colour]=auto"),
            "Received unknown parameter: customer_update[colour]",
        ),
        ("customer=cus_unknown".to_owned(), "No such customer"),
    ] {
        let (_, message) = stage.session(&body).await.unwrap_err();
        assert!(message.starts_with(sentence), "{body}: {message}");
    }
}

#[tokio::test]
async fn tax_codes_are_stripes() {
    let stage = Stage::start().await;
    let shipping = "shipping_options[0][shipping_rate_data][display_name]=Post\
        &shipping_options[0][shipping_rate_data][type]=fixed_amount\
        &shipping_options[0][shipping_rate_data][fixed_amount][amount]=490\
        &shipping_options[0][shipping_rate_data][fixed_amount][currency]=eur";
    for (code, is_good) in [("txcd_92010001", true), ("txcd_1", false), ("food", false)] {
        let on_line = format!("line_items[0][price_data][product_data][tax_code]={code}");
        let on_rate =
            format!("{shipping}&shipping_options[0][shipping_rate_data][tax_code]={code}");
        for body in [on_line, on_rate] {
            assert_eq!(stage.session(&body).await.is_ok(), is_good, "{body}");
        }
    }
}

#[tokio::test]
async fn the_price_of_one_piece_comes_in_stripes_steps() {
    let stage = Stage::start().await;
    for (currency, unit, is_good) in [
        ("isk", 10_000, true),
        ("isk", 10_050, false),
        ("ugx", 200_050, false),
        ("kwd", 1_250, true),
        ("kwd", 1_255, false),
        ("jpy", 1_255, true),
    ] {
        let body = format!(
            "mode=payment&success_url=https://shop.example&line_items[0][price_data][currency]={currency}\
             &line_items[0][price_data][unit_amount]={unit}&line_items[0][price_data][product_data][name]=Tea&line_items[0][quantity]=20"
        );
        let answer = stage.client.post("/v1/checkout/sessions", &body).await;
        assert_eq!(
            answer.status == 200,
            is_good,
            "{currency} {unit}: {}",
            answer.body
        );
        if !is_good {
            let param = &answer.json()["error"]["param"];
            assert_eq!(param, "line_items[0][price_data][unit_amount]");
        }
    }
}
