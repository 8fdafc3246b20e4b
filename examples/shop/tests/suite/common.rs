//! A shop on a database of its own, with keys that lead nowhere: what these tests ask never leaves the machine.

use std::{ffi::OsString, sync::Arc};

use serde_json::Value;
use shop::{Answer, Parts, Shop, Store, Visit, admin::Admin};
use stripe_checkout_core::{
    Body, Call, Checkout, Config, WebhookSecret,
    testing::{self, PaymentIntent},
};
use tokio::sync::Notify;

use crate::Database;

pub(crate) const PASSWORD: &str = "correct horse battery";
const SIGNING_SECRET: &str = "whsec_of_these_tests";

pub(crate) struct Open {
    pub(crate) shop: Shop,
    pub(crate) store: Store,
    pub(crate) checkout: Checkout,
    pub(crate) url: String,
    // The database goes when this does.
    _database: Option<Database>,
}

/// Nothing, if there is no database to open it on.
pub(crate) async fn open() -> Option<Open> {
    let database = Database::new().await?;
    let url = database.url().await;
    let mut open = open_at(&url, false).await;
    open._database = Some(database);
    Some(open)
}

async fn open_at(url: &str, queued: bool) -> Open {
    let store = Store::open(url).await.unwrap();
    let vars = |name: &str| {
        let value = match name {
            "STRIPE_SECRET_KEY" => "sk_test_123",
            "STRIPE_PUBLISHABLE_KEY" => "pk_test_123",
            "STRIPE_WEBHOOK_SECRET" => SIGNING_SECRET,
            "STRIPE_API_BASE" => "http://127.0.0.1:9",
            _ => return None,
        };
        Some(OsString::from(value))
    };
    let config = Config::from_vars(vars).unwrap();
    let checkout = shop::checkout(config, &store, Arc::new(Notify::new()), queued, None).unwrap();
    let shop = Shop::new(Parts {
        store: store.clone(),
        checkout: checkout.clone(),
        admin: Admin::new(PASSWORD),
        sandbox: true,
        secure_cookies: false,
        metrics: None,
    })
    .unwrap();
    Open {
        shop,
        store,
        checkout,
        url: url.to_owned(),
        _database: None,
    }
}

impl Open {
    /// The same shop once more on the same database, as another process has it.
    pub(crate) async fn another(&self) -> Self {
        open_at(&self.url, false).await
    }

    /// Another one, which answers webhooks before they are worked on.
    pub(crate) async fn another_queued(&self) -> Self {
        open_at(&self.url, true).await
    }

    /// An order of two mugs and a packet of tea: 45.50 EUR.
    pub(crate) async fn order(&self) -> String {
        let body = r#"{"items":[{"sku":"mug","quantity":2},{"sku":"tea","quantity":1}]}"#;
        let answer = self.shop.api_create_order(&json(body)).await;
        assert_eq!(answer.status, 201, "{}", text(&answer));
        value(&answer)["id"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn api(&self, order: &str) -> Value {
        let answer = self.shop.api_order(order).await;
        assert_eq!(answer.status, 200, "{}", text(&answer));
        value(&answer)
    }

    pub(crate) async fn status(&self, order: &str) -> String {
        self.api(order).await["status"].as_str().unwrap().to_owned()
    }

    /// Delivers an event through the webhook's route, signed; gives the status of the answer.
    pub(crate) async fn deliver(&self, body: &[u8]) -> u16 {
        let secret = WebhookSecret::new(SIGNING_SECRET).unwrap();
        let signature = testing::sign(body, &secret, testing::now());
        let endpoint = self
            .checkout
            .endpoints()
            .iter()
            .find(|endpoint| endpoint.path() == "/webhook")
            .unwrap();
        let call = Call::new(endpoint)
            .header("stripe-signature", signature.as_bytes())
            .body(Body::whole(body, endpoint.body_limit()));
        self.checkout.handle(call).await.status()
    }

    /// Delivers news of this payment.
    pub(crate) async fn tell(&self, event_type: &str, payment: PaymentIntent) {
        let body = testing::event(event_type, payment.object());
        assert_eq!(self.deliver(&body).await, 200, "{event_type}");
    }
}

/// A PaymentIntent as the checkout makes it for this order.
pub(crate) fn payment(id: &str, order: &str, minor: u64) -> PaymentIntent {
    let amount = stripe_checkout_core::Amount::new(minor, shop::catalogue::CURRENCY);
    PaymentIntent::new(id, amount)
        .metadata("order_id", order)
        .metadata("checkout_application", "crab-and-kettle")
}

pub(crate) fn visit(headers: &[(&str, &str)], body: &str) -> Visit {
    let header = |name: &str| {
        let found = headers.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| value.as_bytes())
    };
    Visit::new(header, Some([127, 0, 0, 1].into()), body.into())
}

pub(crate) fn json(body: &str) -> Visit {
    visit(&[("content-type", "application/json")], body)
}

pub(crate) fn text(answer: &Answer) -> String {
    String::from_utf8(answer.body.clone()).unwrap()
}

pub(crate) fn value(answer: &Answer) -> Value {
    serde_json::from_slice(&answer.body).unwrap()
}

pub(crate) fn header<'a>(answer: &'a Answer, name: &str) -> &'a str {
    let found = answer.headers.iter().find(|(known, _)| *known == name);
    found.map(|(_, value)| value.as_str()).unwrap_or_default()
}

/// The value of a cookie that the answer sets.
pub(crate) fn cookie<'a>(answer: &'a Answer, name: &str) -> Option<&'a str> {
    answer
        .headers
        .iter()
        .filter(|(known, _)| *known == "set-cookie")
        .filter_map(|(_, value)| value.split(';').next()?.split_once('='))
        .find(|(known, _)| *known == name)
        .map(|(_, value)| value)
}
