//! A payment from the button to the fulfilled order, against the sandbox, with all its faults.

mod support;

use std::net::SocketAddr;
use std::time::Duration;

use stripe_checkout_axum::router;
use stripe_checkout_core::Checkout;
use stripe_checkout_core::fulfillment::MemoryInbox;
use stripe_checkout_sandbox::{Fault, Sandbox};
use support::{Answer, OnePrice, Ship, post_json, reserve, send};

struct Shop {
    sandbox: Sandbox,
    address: SocketAddr,
    ship: Ship,
}

impl Shop {
    async fn start() -> Self {
        let waits = vec![Duration::from_millis(20); 8];
        let sandbox = Sandbox::builder().retry_after(waits).start().await.unwrap();
        let ship = Ship::default();
        let checkout = Checkout::builder(sandbox.config())
            .application("my-shop")
            .pricing(OnePrice)
            .fulfillment(MemoryInbox::new(), ship.clone())
            .build()
            .unwrap();
        let (listener, address) = reserve().await;
        sandbox
            .webhook_endpoint(&format!("http://{address}/webhook"))
            .unwrap();
        tokio::spawn(async move { axum::serve(listener, router(checkout)).await.unwrap() });
        Self {
            sandbox,
            address,
            ship,
        }
    }

    async fn create(&self, order: &str) -> Answer {
        post_json(
            self.address,
            "/create-payment-intent",
            &format!("{{\"order\":\"{order}\"}}"),
        )
        .await
    }

    /// Returns the id and the client secret of the order's PaymentIntent.
    async fn intent(&self, order: &str) -> (String, String) {
        let answer = self.create(order).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        let secret = answer.json()["clientSecret"].as_str().unwrap().to_owned();
        (secret.split("_secret_").next().unwrap().to_owned(), secret)
    }

    /// Pays as Stripe.js does for the buyer.
    async fn pay(&self, intent: &(String, String), card: &str) -> Answer {
        let form = format!(
            "key=pk_test_sandbox&client_secret={}&return_url=http://{}/checkout/complete&use_stripe_sdk=true\
             &payment_method_data[type]=card&payment_method_data[card][number]={card}\
             &payment_method_data[card][exp_month]=12&payment_method_data[card][exp_year]=2040&payment_method_data[card][cvc]=123",
            intent.1, self.address
        );
        let stripe: SocketAddr = self
            .sandbox
            .url()
            .trim_start_matches("http://")
            .parse()
            .unwrap();
        let kind = [("Content-Type", &b"application/x-www-form-urlencoded"[..])];
        let target = format!("/v1/payment_intents/{}/confirm", intent.0);
        send(stripe, "POST", &target, &kind, form.as_bytes()).await
    }

    async fn status(&self, intent: &(String, String)) -> String {
        let (id, secret) = intent;
        let body = format!(
            "{{\"payment_intent\":\"{id}\",\"payment_intent_client_secret\":\"{secret}\"}}"
        );
        let answer = post_json(self.address, "/checkout/status", &body).await;
        answer.json()["status"].as_str().unwrap().to_owned()
    }

    fn intents(&self) -> usize {
        self.sandbox
            .events()
            .iter()
            .filter(|(_, kind)| kind == "payment_intent.created")
            .count()
    }
}

const GOOD: &str = "4242424242424242";
const DECLINED: &str = "4000000000000002";
const PROCESSING: &str = "4000000000001000";

#[tokio::test]
async fn a_decline_a_second_card_and_the_order_is_fulfilled_once() {
    let shop = Shop::start().await;
    let intent = shop.intent("order-1").await;
    let declined = shop.pay(&intent, DECLINED).await;
    assert_eq!(declined.status, 402, "{}", declined.body);
    assert_eq!(
        shop.intent("order-1").await,
        intent,
        "the second try is on the same intent"
    );
    assert_eq!(shop.pay(&intent, GOOD).await.status, 200);
    shop.sandbox.wait_idle().await;
    assert_eq!(shop.ship.shipped(), ["order-1"]);
    assert_eq!(shop.status(&intent).await, "succeeded");
    let again = shop.create("order-1").await;
    assert_eq!(
        (again.status, again.json()["code"].as_str()),
        (409, Some("order_paid"))
    );
    let page = send(shop.address, "GET", "/checkout?order=order-1", &[], b"").await;
    assert_eq!(page.status, 409);
    assert_eq!(shop.intents(), 1);
}

#[tokio::test]
async fn webhooks_that_come_twice_shuffled_doubled_and_late_fulfil_each_order_once() {
    let shop = Shop::start().await;
    shop.sandbox.webhooks().duplicate(2);
    shop.sandbox.webhooks().double_events(1000);
    shop.sandbox.webhooks().shuffle(Duration::from_millis(200));
    let mut expected = Vec::new();
    for n in 0..20 {
        let order = format!("order-{n:02}");
        let intent = shop.intent(&order).await;
        shop.pay(&intent, DECLINED).await;
        assert_eq!(shop.pay(&intent, GOOD).await.status, 200);
        expected.push(order);
    }
    shop.sandbox.wait_idle().await;
    let mut shipped = shop.ship.shipped();
    shipped.sort();
    assert_eq!(shipped, expected);
    assert!(
        shop.sandbox
            .deliveries()
            .iter()
            .all(|attempt| attempt.result.is_acknowledged())
    );
}

#[tokio::test]
async fn whatever_breaks_on_the_way_to_stripe_there_is_one_intent_and_the_order_can_be_paid() {
    let faults = [
        Fault::Status(429),
        Fault::Status(500),
        Fault::Status(503),
        Fault::Status(409),
        Fault::StatusAndKeep(500),
        Fault::Reset,
        Fault::ResetAfterExecution,
        Fault::Slow(Duration::from_millis(50)),
        Fault::NotJson,
        Fault::Status(400),
        Fault::Status(402),
    ];
    for fault in faults {
        let shop = Shop::start().await;
        shop.sandbox.faults().next(1, fault.clone());
        let first = shop.create("order-1").await;
        assert!(
            [200, 402, 409, 429, 502, 503].contains(&first.status),
            "{fault:?}: {}",
            first.status
        );
        let intent = shop.intent("order-1").await;
        assert_eq!(shop.pay(&intent, GOOD).await.status, 200, "{fault:?}");
        shop.sandbox.wait_idle().await;
        assert_eq!(shop.ship.shipped(), ["order-1"], "{fault:?}");
        assert_eq!(shop.intents(), 1, "{fault:?}");
    }
}

#[tokio::test]
async fn twenty_clicks_at_once_are_one_intent() {
    let shop = std::sync::Arc::new(Shop::start().await);
    let clicks: Vec<_> = (0..20)
        .map(|_| {
            let shop = std::sync::Arc::clone(&shop);
            tokio::spawn(async move { shop.intent("order-1").await })
        })
        .collect();
    let mut intents = Vec::new();
    for click in clicks {
        intents.push(click.await.unwrap());
    }
    intents.dedup();
    assert_eq!(intents.len(), 1);
    assert_eq!(shop.intents(), 1);
}

#[tokio::test]
async fn a_hundred_orders_in_a_row_use_one_connection() {
    let shop = Shop::start().await;
    for n in 0..100 {
        shop.intent(&format!("order-{n}")).await;
    }
    assert_eq!(shop.sandbox.connections(), 1);
}

#[tokio::test]
async fn a_debit_that_takes_its_time_is_shipped_when_it_settled_and_not_before() {
    let shop = Shop::start().await;
    let intent = shop.intent("order-1").await;
    assert_eq!(
        shop.pay(&intent, PROCESSING).await.json()["status"],
        "processing"
    );
    shop.sandbox.wait_idle().await;
    assert_eq!(shop.status(&intent).await, "processing");
    assert!(shop.ship.shipped().is_empty());
    assert_eq!(
        shop.create("order-1").await.json()["code"],
        "payment_processing"
    );
    assert!(shop.sandbox.settle(&intent.0, true));
    shop.sandbox.wait_idle().await;
    assert_eq!(shop.ship.shipped(), ["order-1"]);
}
