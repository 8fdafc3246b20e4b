//! Every option is set to nothing, to almost nothing and to the most that its type holds, and a
//! payment goes through. No option panics, and no extreme loses a payment.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use stripe_checkout_core::fulfillment::{
    Due, FulfillmentHandler, Inbox, MemoryInbox, PostgresInbox, SqliteInbox,
};
use stripe_checkout_core::requests::PaymentRequest;
use stripe_checkout_core::stripe::Gateway;
use stripe_checkout_core::testing::{EventBody, PaymentIntent, now, sign};
use stripe_checkout_core::webhook::Payment;
use stripe_checkout_core::{
    Amount, Body, BoxError, Call, Checkout, CheckoutBuilder, Config, Currency, Pricing,
    PricingError, Visitor,
};
use stripe_checkout_sandbox::Sandbox;
use tokio::sync::Notify;

#[path = "postgres_server/mod.rs"]
mod postgres_server;
use postgres_server::Database;

const PRICE: Amount = Amount::new(1999, Currency::EUR);

const DURATIONS: [Duration; 3] = [Duration::ZERO, Duration::from_nanos(1), Duration::MAX];
const NUMBERS: [u64; 3] = [0, 1, u64::MAX];

struct OnePrice;

#[derive(serde::Deserialize)]
struct Nothing {}

impl Pricing for OnePrice {
    type Order = Nothing;

    async fn price(&self, _: Nothing, _: &Visitor) -> Result<PaymentRequest, PricingError> {
        Ok(PaymentRequest::new("order-1", PRICE))
    }
}

#[derive(Clone, Default)]
struct Shop {
    shipped: Arc<Mutex<Vec<String>>>,
    ships: Arc<Notify>,
}

impl<C: Send> FulfillmentHandler<C> for Shop {
    async fn payment_succeeded(&self, payment: &Payment, _: &mut C) -> Result<(), BoxError> {
        let order = payment.order_id().unwrap().to_owned();
        self.shipped.lock().unwrap().push(order);
        self.ships.notify_one();
        Ok(())
    }

    async fn amount_due(&self, _: &Payment, _: &mut C) -> Result<Due, BoxError> {
        Ok(Due::Exactly(PRICE))
    }
}

type Setting = fn(CheckoutBuilder, Duration, u64) -> CheckoutBuilder;

fn size(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

fn count(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// Every option of the builder that takes a duration, a count or a size.
const SETTINGS: [(&str, Setting); 7] = [
    ("handler_deadline", |builder, duration, _| {
        builder.handler_deadline(duration)
    }),
    ("webhook_tolerance", |builder, duration, _| {
        builder.webhook_tolerance(duration)
    }),
    ("max_attempts", |builder, _, number| {
        builder.max_attempts(count(number))
    }),
    ("max_declines", |builder, _, number| {
        builder.max_declines(count(number))
    }),
    ("max_amount", |builder, _, number| {
        builder.max_amount(number)
    }),
    ("body_limit", |builder, _, number| {
        builder.body_limit(size(number))
    }),
    ("all", |builder, duration, number| {
        builder
            .handler_deadline(duration)
            .webhook_tolerance(duration)
            .max_attempts(count(number))
            .max_declines(count(number))
            .max_amount(number)
            .body_limit(size(number))
    }),
];

fn built<I: Inbox>(
    config: &Config,
    inbox: I,
    shop: &Shop,
    set: impl FnOnce(CheckoutBuilder) -> CheckoutBuilder,
) -> Checkout {
    let builder = Checkout::builder(config.clone())
        .application("tea")
        .pricing(OnePrice)
        .fulfillment(inbox, shop.clone());
    set(builder).build().unwrap()
}

async fn send(checkout: &Checkout, config: &Config, order: &str) -> u16 {
    let object = PaymentIntent::new(&format!("pi_{order}"), PRICE)
        .metadata("order_id", order)
        .metadata("checkout_application", "tea")
        .status("succeeded")
        .object();
    let event = EventBody::new("payment_intent.succeeded", object);
    let body = event.id(&format!("evt_{order}")).body();
    let header = sign(&body, &config.webhook_secrets()[0], now());
    let endpoints = checkout.endpoints();
    let webhook = endpoints.iter().find(|one| one.path() == "/webhook");
    let webhook = webhook.unwrap();
    let call = Call::new(webhook)
        .header("Stripe-Signature", header.as_bytes())
        .body(Body::whole(&body, webhook.body_limit()));
    checkout.handle(call).await.status()
}

static PANICS: AtomicUsize = AtomicUsize::new(0);

async fn try_all<I: Inbox + Clone>(name: &str, config: &Config, inbox: I) {
    let shop = Shop::default();
    let mut orders = Vec::new();
    for (duration, number) in DURATIONS.into_iter().zip(NUMBERS) {
        for (option, set) in SETTINGS {
            let what = format!("{name}: {option} {duration:?} {number}");
            let order = format!("{}-{option}", number.min(2));
            let extreme = built(config, inbox.clone(), &shop, |builder| {
                set(builder, duration, number)
            });
            let status = send(&extreme, config, &order).await;
            if number == u64::MAX {
                assert_eq!(status, 200, "{what}");
            }
            // With a sane setting the payment goes through, if it has not yet.
            let sane = built(config, inbox.clone(), &shop, |builder| builder);
            if send(&sane, config, &order).await != 200 {
                let events = sane.events(Default::default()).await.unwrap();
                let id = format!("evt_{order}");
                let dead = events.iter().find(|event| event.id == id).unwrap();
                sane.replay(dead).await.unwrap();
            }
            orders.push(order);
            assert_eq!(PANICS.load(Ordering::SeqCst), 0, "{what}");
            extreme.alerts(duration).await.unwrap();
        }
    }
    let mut shipped = shop.shipped.lock().unwrap().clone();
    shipped.sort();
    orders.sort();
    assert_eq!(shipped, orders, "{name}: each order is shipped once");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_extreme_setting_panics_or_loses_a_payment() {
    let shown = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        PANICS.fetch_add(1, Ordering::SeqCst);
        shown(panic);
    }));
    let sandbox = Sandbox::start().await.unwrap();
    let secret = sandbox.webhook_endpoint("http://127.0.0.1:9/").unwrap();
    let config = sandbox.config();
    let config = Config::new([secret])
        .and_then(|new| {
            new.with_keys(
                config.secret_key().unwrap().clone(),
                config.publishable_key().unwrap().clone(),
            )
        })
        .and_then(|new| new.with_plain_http_api_base(sandbox.url()))
        .unwrap();

    try_all("memory", &config, MemoryInbox::new()).await;
    for number in NUMBERS {
        let shop = Shop::default();
        let inbox = MemoryInbox::new().capacity(size(number));
        let checkout = built(&config, inbox, &shop, |builder| builder);
        assert_eq!(send(&checkout, &config, "order-1").await, 200);
    }
    for duration in DURATIONS {
        let shop = Shop::default();
        let inbox = MemoryInbox::new().time_to_live(duration);
        let checkout = built(&config, inbox, &shop, |builder| builder);
        assert_eq!(send(&checkout, &config, "order-1").await, 200);
    }

    let folder = tempfile::tempdir().unwrap();
    let options = SqliteConnectOptions::new()
        .filename(folder.path().join("shop.db"))
        .create_if_missing(true);
    let pool = SqlitePoolOptions::new().max_connections(4);
    let inbox = SqliteInbox::new(pool.connect_with(options).await.unwrap());
    inbox.migrate().await.unwrap();
    try_all("sqlite", &config, inbox.clone()).await;

    for (duration, number) in DURATIONS.into_iter().zip(NUMBERS) {
        // The gateway, the worker and the reconciler.
        let gateway = Gateway::new(&config).unwrap();
        let gateway = gateway.deadline(duration).max_tries(count(number));
        assert!(gateway.retrieve_intent("pi_none", None).await.is_err());
        let shop = Shop::default();
        let queued = built(&config, inbox.clone(), &shop, CheckoutBuilder::queued);
        assert_eq!(
            send(&queued, &config, &format!("queued-{number}")).await,
            200
        );
        let worker = queued.worker().interval(duration);
        let worker = worker.concurrency(size(number));
        let ships = Arc::clone(&shop.ships);
        worker.run(async move { ships.notified().await }).await;
        let seen = sandbox.requests().len();
        let lists = |sandbox: &Sandbox| {
            let requests = sandbox.requests();
            requests[seen..].iter().any(|one| one.path == "/v1/events")
        };
        let reconciler = queued.reconcile().interval(duration);
        reconciler.run(sandbox.wait_for(lists)).await.unwrap();
    }
    if let Some(database) = Database::new().await {
        let inbox = PostgresInbox::new(database.pool(6, "").await).schema(&*database.schema);
        inbox.migrate().await.unwrap();
        try_all("postgres", &config, inbox).await;
    }
    assert_eq!(PANICS.load(Ordering::SeqCst), 0);
}
