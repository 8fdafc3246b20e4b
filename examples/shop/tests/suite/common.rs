//! A shop on its own database, with keys that lead nowhere: the requests of these tests never leave
//! the machine.

use std::{ffi::OsString, sync::Arc, time::Duration};

use serde_json::Value;
use shop::{Answer, OrderPrices, OrderReference, Parts, Shop, Store, Visit, admin::Admin};
use stripe_checkout_core::{
    Body, Call, Checkout, Config, Pricing as _, Visitor, WebhookSecret,
    requests::PaymentRequest,
    testing::{self, PaymentIntent},
};
use stripe_checkout_sandbox::Sandbox;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::Notify,
    time::timeout,
};

use crate::Database;

pub(crate) const PASSWORD: &str = "correct horse battery";
pub(crate) const SITE: &str = "http://127.0.0.1:3000";
const SIGNING_SECRET: &str = "whsec_of_these_tests";

pub(crate) struct Open {
    pub(crate) shop: Shop,
    pub(crate) store: Store,
    pub(crate) checkout: Checkout,
    pub(crate) url: String,
    /// The shop's Stripe, if it has one.
    sandbox: Option<Sandbox>,
    // The database is deleted with this value.
    _database: Option<Database>,
}

/// Opens a shop with its own Stripe, which sends its webhooks to the shop.
pub(crate) async fn open_with_stripe() -> Option<Open> {
    let database = Database::new().await?;
    let url = database.url().await;
    let sandbox = Sandbox::start().await.unwrap();
    sandbox.banks().wait_to_be_told();
    let mut open = open_with(&url, sandbox.config(), false).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let webhook = format!("http://{}/webhook", listener.local_addr().unwrap());
    let routes = stripe_checkout_axum::router(open.checkout.clone());
    tokio::spawn(async move { axum::serve(listener, routes).await });
    sandbox.webhook_endpoint(&webhook).unwrap();
    open.sandbox = Some(sandbox);
    open._database = Some(database);
    Some(open)
}

/// Opens a shop. Returns `None` if there is no database for it.
pub(crate) async fn open() -> Option<Open> {
    let database = Database::new().await?;
    let url = database.url().await;
    let mut open = open_at(&url, false).await;
    open._database = Some(database);
    Some(open)
}

async fn open_at(url: &str, queued: bool) -> Open {
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
    open_with(url, Config::from_vars(vars).unwrap(), queued).await
}

async fn open_with(url: &str, config: Config, queued: bool) -> Open {
    let store = Store::open(url).await.unwrap();
    let hosted = Some(shop::hosted_page(&config));
    let bell = Arc::new(Notify::new());
    let checkout = shop::checkout(config, &store, bell, queued, None, None, Some(SITE)).unwrap();
    let shop = Shop::new(Parts {
        store: store.clone(),
        checkout: checkout.clone(),
        admin: Admin::new(PASSWORD),
        hosted,
        proxy_header: None,
        orders_per_minute: None,
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
        sandbox: None,
        _database: None,
    }
}

impl Open {
    /// Opens the same shop again on the same database, as another process would.
    pub(crate) async fn another(&self) -> Self {
        open_at(&self.url, false).await
    }

    /// Opens another one, which answers webhooks before it works on them.
    pub(crate) async fn another_queued(&self) -> Self {
        open_at(&self.url, true).await
    }

    pub(crate) fn stripe_goes_away(&mut self) {
        self.sandbox = None;
    }

    pub(crate) fn sandbox(&self) -> &Sandbox {
        self.sandbox.as_ref().expect("a shop with a Stripe")
    }

    /// Waits until the shop has acknowledged every event of Stripe.
    pub(crate) async fn told(&self) {
        let told = timeout(Duration::from_secs(60), self.sandbox().wait_idle());
        told.await.expect("the webhooks are acknowledged");
        for delivery in self.sandbox().deliveries() {
            assert!(delivery.result.is_acknowledged(), "{delivery:?}");
        }
    }

    /// Pays an order with one of Stripe's ready-made payment methods, whether that succeeds or not.
    /// Returns the payment's id.
    pub(crate) async fn pay(&self, order: &str, method: &str) -> String {
        let request = self.request(order).await;
        let intent = self.checkout.create_intent(&request).await.unwrap();
        let confirm = format!("/v1/payment_intents/{}/confirm", intent.id());
        let mut form = format!("payment_method={method}&return_url=https://shop.example/");
        if method.contains("sepa") {
            form.push_str("&mandate_data[customer_acceptance][type]=offline");
        }
        self.post(&confirm, &form).await;
        self.told().await;
        intent.id().to_owned()
    }

    /// Pays an order on Stripe's page, with courier shipping. Returns the id of its PaymentIntent.
    pub(crate) async fn pay_on_stripes_page(&self, order: &str) -> String {
        let request = self.request(order).await;
        let session = self.checkout.create_session(&request).await.unwrap();
        let page = format!("/sandbox/checkout/{}", session.id());
        self.post(&format!("{page}/shipping"), "shipping=1").await;
        let buyer = "email=ada%40example.com&name=Ada&country=DE&line1=Teeweg+1&postal_code=20457&city=Hamburg";
        let card = "payment_method_data[type]=card&payment_method_data[card][number]=4242424242424242\
                    &payment_method_data[card][exp_month]=12&payment_method_data[card][exp_year]=2040&payment_method_data[card][cvc]=123";
        let paid = self
            .post(&format!("{page}/pay"), &format!("{buyer}&{card}"))
            .await;
        assert_eq!(paid["status"], "complete", "{paid}");
        self.told().await;
        let path = format!("/v1/checkout/sessions/{}", session.id());
        let session = self.get(&path).await;
        session["payment_intent"].as_str().unwrap().to_owned()
    }

    /// Returns the payment request for an order.
    pub(crate) async fn request(&self, order: &str) -> PaymentRequest {
        let prices = OrderPrices::new(self.store.clone());
        let reference = OrderReference {
            order: order.to_owned(),
        };
        prices.price(reference, &Visitor::default()).await.unwrap()
    }

    /// Posts to Stripe, as another program with the same key would.
    pub(crate) async fn post(&self, path: &str, form: &str) -> Value {
        self.ask("POST", path, form).await
    }

    async fn get(&self, path: &str) -> Value {
        self.ask("GET", path, "").await
    }

    async fn ask(&self, method: &str, path: &str, form: &str) -> Value {
        let sandbox = self.sandbox();
        let host = sandbox.url().strip_prefix("http://").unwrap();
        let config = sandbox.config();
        let key = config.secret_key().unwrap().expose().to_owned();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {key}\r\nContent-Type: application/x-www-form-urlencoded\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n{form}",
            form.len()
        );
        let mut stream = TcpStream::connect(host).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        serde_json::from_str(body).unwrap()
    }

    /// Places an order of two mugs and a packet of tea: 45.50 EUR.
    pub(crate) async fn order(&self) -> String {
        self.order_of(r#"{"items":[{"sku":"mug","quantity":2},{"sku":"tea","quantity":1}]}"#)
            .await
    }

    /// Places an order of a kettle, which is made to order, and a mug: 114.00 EUR.
    pub(crate) async fn pre_order(&self) -> String {
        self.order_of(r#"{"items":[{"sku":"kettle","quantity":1},{"sku":"mug","quantity":1}]}"#)
            .await
    }

    /// Places an order of a kettle, which is made to order: 96.00 EUR.
    pub(crate) async fn kettle(&self) -> String {
        self.order_of(r#"{"items":[{"sku":"kettle","quantity":1}]}"#)
            .await
    }

    async fn order_of(&self, body: &str) -> String {
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

    /// Delivers a signed event through the webhook's route. Returns the status of the response.
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

    /// Delivers an event of this payment.
    pub(crate) async fn tell(&self, event_type: &str, payment: PaymentIntent) {
        let body = testing::event(event_type, payment.object());
        assert_eq!(self.deliver(&body).await, 200, "{event_type}");
    }
}

/// Returns a PaymentIntent as the checkout creates it for this order.
pub(crate) fn payment(id: &str, order: &str, minor: u64) -> PaymentIntent {
    let amount = stripe_checkout_core::Amount::new(minor, shop::catalogue::CURRENCY);
    PaymentIntent::new(id, amount)
        .metadata("order_id", order)
        .metadata("checkout_application", "crab-and-kettle")
}

pub(crate) fn visit(headers: &[(&str, &str)], body: &str) -> Visit {
    visit_from([127, 0, 0, 1], headers, body)
}

pub(crate) fn visit_from(from: [u8; 4], headers: &[(&str, &str)], body: &str) -> Visit {
    let header = |name: &str| {
        let found = headers.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| value.as_bytes())
    };
    Visit::new(header, Some(from.into()), body.into())
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

/// Returns the value of a cookie that the response sets.
pub(crate) fn cookie<'a>(answer: &'a Answer, name: &str) -> Option<&'a str> {
    answer
        .headers
        .iter()
        .filter(|(known, _)| *known == "set-cookie")
        .filter_map(|(_, value)| value.split(';').next()?.split_once('='))
        .find(|(known, _)| *known == name)
        .map(|(_, value)| value)
}
