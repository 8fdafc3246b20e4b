//! The spans of the log's lines: every line of the merchant's hook carries the event that it is
//! about.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use stripe_checkout_core::fulfillment::{Due, FulfillmentHandler, Inbox, MemoryInbox, SqliteInbox};
use stripe_checkout_core::testing::{EventBody, PaymentIntent, now, sign};
use stripe_checkout_core::webhook::Payment;
use stripe_checkout_core::{
    Amount, Body, BoxError, Call, Checkout, CheckoutBuilder, Config, Currency, WebhookSecret,
};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::DefaultGuard;
use tracing::{Event, Instrument, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::{LookupSpan, Registry};

const PRICE: Amount = Amount::new(1999, Currency::EUR);
const NOTE: &str = "hidden words of the buyer's";

type Fields = BTreeMap<&'static str, String>;

/// A subscriber that keeps the spans and the hook's lines.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Heard>>);

#[derive(Default)]
struct Heard {
    /// Each finished span, with its fields.
    spans: Vec<(&'static str, Fields)>,
    /// Each line of the hook, with its spans, the outermost first.
    lines: Vec<(String, Vec<(&'static str, Fields)>)>,
}

struct Write<'a>(&'a mut Fields);

impl Visit for Write<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Log {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields::new();
        attributes.record(&mut Write(&mut fields));
        let span = context.span(id).unwrap();
        span.extensions_mut().insert(fields);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let span = context.span(id).unwrap();
        let mut extensions = span.extensions_mut();
        values.record(&mut Write(extensions.get_mut::<Fields>().unwrap()));
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::new();
        event.record(&mut Write(&mut fields));
        let Some(line) = fields.remove("hook_says") else {
            return;
        };
        let spans = context.event_scope(event).into_iter();
        let spans = spans.flat_map(|scope| scope.from_root()).map(|span| {
            let fields = span.extensions().get::<Fields>().unwrap().clone();
            (span.name(), fields)
        });
        self.0.lock().unwrap().lines.push((line, spans.collect()));
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let span = context.span(&id).unwrap();
        let fields = span.extensions().get::<Fields>().unwrap().clone();
        self.0.lock().unwrap().spans.push((span.name(), fields));
    }
}

impl Log {
    /// Listens to this thread while the guard lives. A test's runtime runs all spawned tasks on it.
    fn listen() -> (Self, DefaultGuard) {
        let log = Self::default();
        let subscriber = Registry::default().with(log.clone());
        (log, tracing::subscriber::set_default(subscriber))
    }

    /// Returns the finished spans of this name, each as `field=value`s.
    fn spans(&self, name: &str) -> Vec<String> {
        let heard = self.0.lock().unwrap();
        let spans = heard.spans.iter().filter(|(known, _)| *known == name);
        spans.map(|(_, fields)| print(fields)).collect()
    }

    /// Returns the same, as soon as there are `count` spans. The database's own thread may keep a
    /// span a little longer.
    async fn ended(&self, name: &str, count: usize) -> Vec<String> {
        let ended = async {
            while self.spans(name).len() < count {
                tokio::task::yield_now().await;
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(60), ended).await;
        waited.expect(name);
        self.spans(name)
    }

    fn lines(&self) -> Vec<(String, Vec<(&'static str, Fields)>)> {
        self.0.lock().unwrap().lines.clone()
    }
}

fn print(fields: &Fields) -> String {
    let fields = fields.iter().map(|(name, value)| format!("{name}={value}"));
    fields.collect::<Vec<_>>().join(" ")
}

struct Ship;

impl<C: Send> FulfillmentHandler<C> for Ship {
    async fn payment_succeeded(&self, payment: &Payment, _: &mut C) -> Result<(), BoxError> {
        tracing::info!(hook_says = "packing");
        tokio::task::yield_now().await;
        match payment.id() {
            "pi_fails" => Err("the printer is out of paper".into()),
            "pi_panics" => panic!("on purpose"),
            _ => Ok(()),
        }
    }

    async fn amount_due(&self, _: &Payment, _: &mut C) -> Result<Due, BoxError> {
        Ok(Due::Exactly(PRICE))
    }
}

fn secret() -> WebhookSecret {
    WebhookSecret::new("whsec_of_this_test").unwrap()
}

fn shop<I: Inbox>(inbox: I, more: impl FnOnce(CheckoutBuilder) -> CheckoutBuilder) -> Checkout {
    let builder = Checkout::builder(Config::new([secret()]).unwrap())
        .application("tea")
        .fulfillment(inbox, Ship);
    more(builder).build().unwrap()
}

async fn sqlite(folder: &tempfile::TempDir) -> SqliteInbox {
    let options = SqliteConnectOptions::new()
        .filename(folder.path().join("shop.db"))
        .create_if_missing(true);
    let pool = SqlitePoolOptions::new().max_connections(4);
    let inbox = SqliteInbox::new(pool.connect_with(options).await.unwrap());
    inbox.migrate().await.unwrap();
    inbox
}

async fn send(shop: &Checkout, event: &str, payment: &str) {
    let intent = PaymentIntent::new(payment, PRICE).status("succeeded");
    let intent = intent
        .metadata("order_id", payment)
        .with("description", NOTE);
    let body = EventBody::new("payment_intent.succeeded", intent.object());
    let body = body.id(event).body();
    let header = sign(&body, &secret(), now());
    let webhook = &shop.endpoints()[0];
    let call = Call::new(webhook).header("Stripe-Signature", header.as_bytes());
    let call = call.body(Body::whole(&body, webhook.body_limit()));
    shop.handle(call).await;
}

const ABOUT_1: &str = "event=evt_1 event_type=payment_intent.succeeded";

/// Checks the nesting: the hook's lines are in the attempt, the attempt is in the delivery, and the
/// delivery is in the framework's span. All of it runs as another task.
async fn nested<I: Inbox>(inbox: I) {
    let (log, _listening) = Log::listen();
    let shop = shop(inbox, |builder| builder);
    let request = tracing::info_span!("request", path = "/webhook");
    send(&shop, "evt_1", "pi_1").instrument(request).await;
    shop.drain().await;
    let lines = log.lines();
    let [(line, spans)] = &lines[..] else {
        panic!("{lines:?}");
    };
    assert_eq!(line, "packing");
    let names: Vec<_> = spans.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["request", "delivery", "attempt"]);
    assert_eq!(print(&spans[0].1), "path=/webhook");
    assert_eq!(print(&spans[1].1), format!("{ABOUT_1} payment=pi_1"));
    assert_eq!(
        print(&spans[2].1),
        format!("attempt=1 {ABOUT_1} payment=pi_1")
    );
    assert_eq!(
        log.ended("delivery", 1).await,
        [format!("{ABOUT_1} outcome=done payment=pi_1")]
    );
    assert_eq!(
        log.ended("attempt", 1).await,
        [format!("attempt=1 {ABOUT_1} outcome=done payment=pi_1")]
    );
}

#[tokio::test]
async fn the_hooks_lines_carry_the_event_in_memory() {
    nested(MemoryInbox::new()).await;
}

#[tokio::test]
async fn the_hooks_lines_carry_the_event_in_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    nested(sqlite(&folder).await).await;
}

#[tokio::test]
async fn each_attempt_has_its_number_and_what_became_of_it() {
    let (log, _listening) = Log::listen();
    let shop = shop(MemoryInbox::new(), |builder| builder.max_attempts(2));
    send(&shop, "evt_1", "pi_fails").await;
    send(&shop, "evt_1", "pi_fails").await;
    send(&shop, "evt_1", "pi_fails").await;
    send(&shop, "evt_2", "pi_panics").await;
    send(&shop, "evt_3", "pi_1").await;
    send(&shop, "evt_3", "pi_1").await;
    let outcomes = |name: &str| -> Vec<_> {
        let spans = log.spans(name);
        let fields = spans.iter().map(|span| {
            let fields = span.split(' ');
            let told = fields.filter(|field| {
                ["attempt=", "event=", "outcome=", "payment="]
                    .iter()
                    .any(|name| field.starts_with(name))
            });
            told.collect::<Vec<_>>().join(" ")
        });
        fields.collect()
    };
    assert_eq!(
        outcomes("attempt"),
        [
            "attempt=1 event=evt_1 outcome=failed payment=pi_fails",
            "attempt=2 event=evt_1 outcome=dead payment=pi_fails",
            "attempt=1 event=evt_2 outcome=failed payment=pi_panics",
            "attempt=1 event=evt_3 outcome=done payment=pi_1",
        ]
    );
    assert_eq!(
        outcomes("delivery"),
        [
            "event=evt_1 outcome=failed payment=pi_fails",
            "event=evt_1 outcome=failed payment=pi_fails",
            "event=evt_1 outcome=failed payment=pi_fails",
            "event=evt_2 outcome=failed payment=pi_panics",
            "event=evt_3 outcome=done payment=pi_1",
            "event=evt_3 outcome=duplicate payment=pi_1",
        ]
    );
}

#[tokio::test]
async fn a_workers_attempts_stand_in_the_workers_span() {
    let (log, _listening) = Log::listen();
    let folder = tempfile::tempdir().unwrap();
    let shop = shop(sqlite(&folder).await, CheckoutBuilder::queued);
    send(&shop, "evt_1", "pi_1").await;
    let done = async {
        while log.spans("attempt").is_empty() {
            tokio::task::yield_now().await;
        }
    };
    let worker = tracing::info_span!("my worker");
    let work = shop.worker().run(done).instrument(worker);
    let ended = tokio::time::timeout(Duration::from_secs(60), work).await;
    ended.unwrap();
    let lines = log.lines();
    let [(_, spans)] = &lines[..] else {
        panic!("{lines:?}");
    };
    let names: Vec<_> = spans.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["my worker", "attempt"]);
    assert_eq!(
        log.ended("delivery", 1).await,
        [format!("{ABOUT_1} outcome=queued payment=pi_1")]
    );
}

#[tokio::test]
async fn nothing_of_the_buyers_stands_in_a_span() {
    let (log, _listening) = Log::listen();
    let shop = shop(MemoryInbox::new(), |builder| builder);
    send(&shop, "evt_1", "pi_1").await;
    let heard = log.0.lock().unwrap();
    assert_eq!(heard.spans.len(), 2);
    for (name, fields) in &heard.spans {
        let known = ["event", "event_type", "payment", "attempt", "outcome"];
        for (field, value) in fields {
            assert!(known.contains(field), "{name}: {field}");
            assert!(!value.contains("hidden") && !value.contains("_secret_"));
        }
    }
}
