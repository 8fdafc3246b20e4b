//! Buyers: order, page, payment, return, and a look at the order until its parcel is there.

use std::{
    net::Ipv4Addr,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use serde_json::{Value, json};
use tokio::{
    task::JoinSet,
    time::{Instant, interval, sleep},
};

use crate::{
    client::{Answer, Client},
    tally::Tally,
};

/// A purchase begins this often: four a second.
const EVERY: Duration = Duration::from_millis(250);

/// The wait for a parcel.
const PATIENCE: Duration = Duration::from_secs(60);

/// The pause between two looks at an order.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// An address that no other buyer has.
pub(crate) fn address() -> Ipv4Addr {
    static LAST: AtomicU32 = AtomicU32::new(u32::from_be_bytes([10, 0, 0, 0]));
    Ipv4Addr::from(LAST.fetch_add(1, Ordering::Relaxed) + 1)
}

/// Buys until the end, and returns when the last purchase came to its end.
pub(crate) async fn buy(client: Client, sandbox: String, tally: Arc<Tally>, end: Instant) {
    let mut ticks = interval(EVERY);
    let mut purchases = JoinSet::new();
    while Instant::now() < end {
        ticks.tick().await;
        let buyer = Buyer {
            client: client.clone(),
            sandbox: sandbox.clone(),
            tally: Arc::clone(&tally),
            address: address(),
        };
        purchases.spawn(async move {
            let ended = buyer.purchase().await;
            buyer.tally.purchase(ended);
        });
        while purchases.try_join_next().is_some() {}
    }
    while purchases.join_next().await.is_some() {}
}

/// An order that may be paid.
pub(crate) async fn order(client: &Client, from: Ipv4Addr) -> Option<Answer> {
    let items = json!({"items": [{"sku": "mug", "quantity": fastrand::u8(1..4)}]});
    client.post(from, "/api/orders", items.to_string()).await
}

struct Buyer {
    client: Client,
    sandbox: String,
    tally: Arc<Tally>,
    address: Ipv4Addr,
}

impl Buyer {
    async fn purchase(&self) -> Result<(), String> {
        let made = order(&self.client, self.address).await;
        let made = self.good("order", made, 201)?;
        let order = text(&made, "id")?;

        let page = format!("/checkout?order={order}");
        self.good("page", self.client.get(self.address, &page).await, 200)?;

        let pay = json!({ "order": order }).to_string();
        let opened = self.post("/create-payment-intent", pay).await;
        let opened = self.good("payment", opened, 200)?;
        let secret = text(&opened, "clientSecret")?;
        let (payment, _) = secret.split_once("_secret_").ok_or("no client secret")?;
        self.confirm(payment, &secret).await?;
        self.tally.pay(&order, payment);

        let back = [
            ("payment_intent", payment),
            ("payment_intent_client_secret", &secret),
            ("redirect_status", "succeeded"),
        ];
        let query = serde_html_form::to_string(back).map_err(|error| error.to_string())?;
        let complete = format!("/checkout/complete?{query}");
        let complete = self.client.get(self.address, &complete).await;
        self.good("return", complete, 200)?;
        let back = json!({
            "payment_intent": payment,
            "payment_intent_client_secret": secret,
        });
        let status = self.post("/checkout/status", back.to_string()).await;
        self.good("status", status, 200)?;
        self.parcel(&order).await
    }

    async fn post(&self, path: &str, body: String) -> Option<Answer> {
        self.client.post(self.address, path, body).await
    }

    /// As Stripe.js does it.
    async fn confirm(&self, payment: &str, secret: &str) -> Result<(), String> {
        let url = format!("{}/v1/payment_intents/{payment}/confirm", self.sandbox);
        let fields = [
            ("key", "pk_test_sandbox"),
            ("client_secret", secret),
            ("return_url", "https://shop.example/checkout/complete"),
            ("use_stripe_sdk", "true"),
            ("payment_method_data[type]", "card"),
            ("payment_method_data[card][number]", "4242424242424242"),
            ("payment_method_data[card][exp_month]", "12"),
            ("payment_method_data[card][exp_year]", "2040"),
            ("payment_method_data[card][cvc]", "123"),
        ];
        let answer = self.client.post_form(&url, &fields).await;
        let answer = answer.ok_or("the sandbox does not answer")?;
        match answer.json()["status"].as_str() {
            Some("succeeded") => Ok(()),
            status => Err(format!("the sandbox does not take the card: {status:?}")),
        }
    }

    /// Waits until the order is paid and has one parcel.
    async fn parcel(&self, order: &str) -> Result<(), String> {
        let end = Instant::now() + PATIENCE;
        let path = format!("/api/orders/{order}");
        loop {
            let answer = self.client.get(self.address, &path).await;
            let order = self.good("order's status", answer, 200)?;
            let parcels = order["shipments"].as_array().map_or(0, Vec::len);
            if order["status"] == "paid" {
                return match parcels {
                    1 => Ok(()),
                    other => Err(format!("a paid order has {other} parcels")),
                };
            }
            if Instant::now() > end {
                return Err("an order that was paid is not fulfilled".to_owned());
            }
            sleep(LOOK_AGAIN).await;
        }
    }

    fn good(&self, what: &str, answer: Option<Answer>, status: u16) -> Result<Value, String> {
        let answered = answer.as_ref().map(|answer| answer.status);
        self.tally.honest(what, answered);
        match answer {
            Some(answer) if answer.status == status => Ok(answer.json()),
            _ => Err(format!("{what}: {answered:?}")),
        }
    }
}

fn text(value: &Value, field: &str) -> Result<String, String> {
    let text = value[field].as_str().map(str::to_owned);
    text.ok_or_else(|| format!("no {field}"))
}
