//! An inbox that is new ships nothing old, a name belongs to one Stripe account, and what was paid
//! meanwhile is shipped once.

#[path = "support/log_interest.rs"]
mod log_interest;

use std::error::Error;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use sqlx::SqlitePool;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use stripe_checkout_core::fulfillment::{
    Due, FulfillmentHandler, Inbox, InboxExt as _, MemoryInbox, PostgresInbox, Scope, SqliteInbox,
};
use stripe_checkout_core::requests::{PaymentRequest, RefundRequest};
use stripe_checkout_core::stripe::{Gateway, IdempotencyKey};
use stripe_checkout_core::testing::{now, sign};
use stripe_checkout_core::webhook::{Event, Payment};
use stripe_checkout_core::{
    Amount, Body, BoxError, Call, Checkout, CheckoutBuilder, Config, Currency, Endpoint,
    InboxError, Mode, Ownership, PaymentError, Pricing, PricingError, PublishableKey,
    ReconcileError, Reply, SecretKey, Visitor, WebhookSecret,
};
use stripe_checkout_sandbox::Sandbox;

#[path = "postgres_server/mod.rs"]
mod postgres_server;
use postgres_server::Database;

const PRICE: Amount = Amount::new(1999, Currency::EUR);
const ADA: &str = "1AdaAdaAdaAdaAda";
const BOB: &str = "1BobBobBobBobBob";

struct OnePrice;

#[derive(serde::Deserialize)]
struct Nothing {}

impl Pricing for OnePrice {
    type Order = Nothing;

    async fn price(&self, _: Nothing, _: &Visitor) -> Result<PaymentRequest, PricingError> {
        Ok(PaymentRequest::new("order-1", PRICE))
    }
}

/// Writes down which orders it ships.
#[derive(Clone, Default)]
struct Shop(Arc<Mutex<Vec<String>>>);

impl Shop {
    fn shipped(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

impl<C: Send> FulfillmentHandler<C> for Shop {
    async fn payment_succeeded(&self, payment: &Payment, _: &mut C) -> Result<(), BoxError> {
        let order = payment.order_id().unwrap_or("none");
        self.0.lock().unwrap().push(order.to_owned());
        Ok(())
    }

    async fn amount_due(&self, _: &Payment, _: &mut C) -> Result<Due, BoxError> {
        Ok(Due::Exactly(PRICE))
    }
}

struct World {
    sandbox: Sandbox,
    gateway: Gateway,
    shop: Shop,
    folder: tempfile::TempDir,
}

impl World {
    async fn new() -> Self {
        log_interest::log_interest();
        let sandbox = Sandbox::builder().accept_any_test_key();
        let sandbox = sandbox.start().await.unwrap();
        Self {
            gateway: Gateway::new(&sandbox.config()).unwrap(),
            sandbox,
            shop: Shop::default(),
            folder: tempfile::tempdir().unwrap(),
        }
    }

    /// A database in a file of this name.
    async fn sqlite(&self, file: &str) -> SqliteInbox {
        let options = SqliteConnectOptions::new()
            .filename(self.folder.path().join(file))
            .create_if_missing(true);
        let pool = SqlitePoolOptions::new().max_connections(4);
        let pool: SqlitePool = pool.connect_with(options).await.unwrap();
        SqliteInbox::migrated(pool).await.unwrap()
    }

    fn builder(&self, name: &str) -> CheckoutBuilder {
        let builder = Checkout::builder(self.sandbox.config());
        builder.application(name).pricing(OnePrice)
    }

    fn checkout<I: Inbox>(&self, name: &str, inbox: I) -> Checkout {
        let builder = self.builder(name).fulfillment(inbox, self.shop.clone());
        builder.build().unwrap()
    }

    async fn open(&self, checkout: &Checkout, order: &str) -> String {
        let request = PaymentRequest::new(order, PRICE);
        let payment = checkout.create_intent(&request).await.unwrap();
        payment.id().to_owned()
    }

    async fn pay(&self, payment: &str) {
        let key: IdempotencyKey = format!("pay-{payment}").parse().unwrap();
        let path = format!("/payment_intents/{payment}/confirm");
        let form = "payment_method=pm_card_visa&return_url=https://shop.example/";
        let paid = self.gateway.post(&path, form, &key, None).await;
        paid.unwrap();
    }

    /// The webhook of a payment that was paid.
    async fn webhook_of(&self, payment: &str) -> Event {
        let query = "/events?type=payment_intent.succeeded&limit=100";
        let list = self.gateway.get(query, None).await.unwrap();
        let list: serde_json::Value = serde_json::from_slice(&list).unwrap();
        let mut events = list["data"].as_array().unwrap().iter();
        let event = events.find(|event| event["data"]["object"]["id"] == payment);
        Event::parse(event.unwrap().to_string()).unwrap()
    }

    /// The old inbox fulfils one payment. Two others are open when it ends.
    async fn before(&self, old: &Checkout) -> [String; 2] {
        let paid = self.open(old, "old").await;
        self.pay(&paid).await;
        old.receive(self.webhook_of(&paid).await).await.unwrap();
        let open = [
            self.open(old, "webhook").await,
            self.open(old, "lost").await,
        ];
        self.sandbox.pass_time(Duration::from_secs(2 * 60 * 60));
        open
    }

    /// The new inbox ships both, and nothing that the old one shipped.
    async fn after(&self, new: &Checkout, [webhook, lost]: [String; 2], what: &str) {
        new.reconcile().once().await.unwrap();
        assert_eq!(self.shop.shipped(), ["old"], "{what}: before they are paid");
        self.pay(&webhook).await;
        self.pay(&lost).await;
        let event = self.webhook_of(&webhook).await;
        new.receive(event.clone()).await.unwrap();
        assert_eq!(self.shop.shipped(), ["old", "webhook"], "{what}");
        for _ in 0..2 {
            new.reconcile().once().await.unwrap();
            new.receive(event.clone()).await.unwrap();
        }
        let shipped = ["old", "webhook", "lost"];
        assert_eq!(self.shop.shipped(), shipped, "{what}");
        // Only the operator can ask for more, and gets what the documentation warns of.
        let all = new.reconcile().since(SystemTime::UNIX_EPOCH);
        all.once().await.unwrap();
        assert_eq!(self.shop.shipped(), ["old", "webhook", "lost", "old"]);
    }
}

#[tokio::test]
async fn from_memory_to_a_database_nothing_old_is_shipped() {
    let world = World::new().await;
    let open = world
        .before(&world.checkout("tea", MemoryInbox::new()))
        .await;
    let new = world.checkout("tea", world.sqlite("new").await);
    world.after(&new, open, "memory to SQLite").await;
}

#[tokio::test]
async fn from_one_database_to_another_nothing_old_is_shipped() {
    let world = World::new().await;
    let old = world.checkout("tea", world.sqlite("old").await);
    let open = world.before(&old).await;
    let new = world.checkout("tea", world.sqlite("new").await);
    world.after(&new, open, "SQLite to SQLite").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn to_another_schema_nothing_old_is_shipped() {
    let Some(database) = Database::new().await else {
        return;
    };
    let world = World::new().await;
    let inbox = |schema: String, pool| PostgresInbox::new(pool).schema(schema);
    let other = format!("{} moved", database.schema);
    let mut inboxes = Vec::new();
    for schema in [database.schema.clone(), other.clone()] {
        let inbox = inbox(schema, database.pool(6, "").await);
        inbox.migrate().await.unwrap();
        inboxes.push(inbox);
    }
    let new = inboxes.pop().unwrap();
    let old = world.checkout("tea", inboxes.pop().unwrap());
    let open = world.before(&old).await;
    let new = world.checkout("tea", new);
    world.after(&new, open, "to another schema").await;
    let drop = format!("DROP SCHEMA \"{other}\" CASCADE");
    let pool = database.pool(1, "").await;
    let dropped = sqlx::raw_sql(sqlx::AssertSqlSafe(drop)).execute(&pool);
    dropped.await.unwrap();
}

#[tokio::test]
async fn under_a_new_name_that_owns_all_payments_nothing_old_is_shipped() {
    let world = World::new().await;
    let old = world.checkout("tea", world.sqlite("one").await);
    let open = world.before(&old).await;
    let new = world
        .builder("tea-room")
        .ownership(Ownership::AllPayments)
        .fulfillment(world.sqlite("one").await, world.shop.clone())
        .build()
        .unwrap();
    world.after(&new, open, "a new name").await;
}

#[tokio::test]
async fn under_a_new_name_with_the_former_one_all_is_as_before() {
    let world = World::new().await;
    let old = world.checkout("tea", world.sqlite("one").await);
    let [webhook, lost] = world.before(&old).await;
    let new = world
        .builder("tea-room")
        .former_application("tea")
        .fulfillment(world.sqlite("one").await, world.shop.clone())
        .build()
        .unwrap();
    for payment in [&webhook, &lost] {
        world.pay(payment).await;
    }
    new.reconcile().once().await.unwrap();
    new.reconcile().once().await.unwrap();
    let mut shipped = world.shop.shipped();
    shipped.sort();
    assert_eq!(shipped, ["lost", "old", "webhook"]);
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// The lines since the last time.
    fn take(&self) -> String {
        String::from_utf8(std::mem::take(&mut *self.0.lock().unwrap())).unwrap()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn log() -> (Log, tracing::subscriber::DefaultGuard) {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    (log, tracing::subscriber::set_default(subscriber))
}

#[tokio::test]
async fn two_applications_in_one_database_are_legal_and_the_second_is_told_once() {
    let (log, _guard) = log();
    let world = World::new().await;
    let file = world.sqlite("one").await;
    let tea = world.checkout("tea", file.clone());
    tea.drain().await;
    assert!(!log.take().contains("former_application"));
    let coffee = world.checkout("coffee", file.clone());
    coffee.drain().await;
    let lines = log.take();
    assert!(lines.contains("WARN"), "{lines}");
    assert!(lines.contains(r#"others=["tea"]"#), "{lines}");
    assert!(lines.contains(".former_application("), "{lines}");
    for name in ["tea", "coffee"] {
        world.checkout(name, file.clone()).drain().await;
        assert!(!log.take().contains("former_application"), "{name}");
    }
    // Each ships its own, of whichever the other one hears too.
    for (checkout, order) in [(&tea, "of tea"), (&coffee, "of coffee")] {
        let payment = world.open(checkout, order).await;
        world.pay(&payment).await;
    }
    for checkout in [&tea, &coffee, &tea, &coffee] {
        checkout.reconcile().once().await.unwrap();
    }
    assert_eq!(world.shop.shipped(), ["of tea", "of coffee"]);
}

const SECRET: &str = "whsec_of_this_test";

/// Keys as Stripe makes them for this account. Each number is a key that was rolled.
fn config(world: &World, account: &str, number: u8) -> Config {
    let key = |kind: &str| format!("{kind}_test_5{account}{}", number.to_string().repeat(60));
    let config = Config::new([WebhookSecret::new(SECRET).unwrap()]).unwrap();
    let secret = SecretKey::new(key("sk")).unwrap();
    let publishable = PublishableKey::new(key("pk")).unwrap();
    let config = config.with_keys(secret, publishable).unwrap();
    config.with_api_base(world.sandbox.url()).unwrap()
}

fn with(config: Config, name: &str, world: &World, inbox: SqliteInbox) -> Checkout {
    Checkout::builder(config)
        .application(name)
        .pricing(OnePrice)
        .fulfillment(inbox, world.shop.clone())
        .build()
        .unwrap()
}

async fn ask(checkout: &Checkout, path: &str, body: &[u8], signature: Option<String>) -> Reply {
    let is_it = |endpoint: &&Endpoint| endpoint.path() == path;
    let endpoint = checkout.endpoints().iter().find(is_it).unwrap();
    let call = Call::new(endpoint).query(Some("order=1"));
    let call = call.header("Content-Type", b"application/json");
    let call = match &signature {
        Some(signature) => call.header("Stripe-Signature", signature.as_bytes()),
        None => call,
    };
    checkout
        .handle(call.body(Body::whole(body, 1024 * 1024)))
        .await
}

#[tokio::test]
async fn a_name_belongs_to_one_stripe_account() {
    let (log, _guard) = log();
    let world = World::new().await;
    let file = world.sqlite("one").await;
    let ada = with(config(&world, ADA, 1), "tea", &world, file.clone());
    let payment = world.open(&ada, "order-1").await;
    world.pay(&payment).await;
    let event = world.webhook_of(&payment).await;
    ada.receive(event.clone()).await.unwrap();
    assert_eq!(world.shop.shipped(), ["order-1"]);
    // A key that was rolled, and one that does not tell its account.
    for accepted in [config(&world, ADA, 2), world.sandbox.config()] {
        let same = with(accepted, "tea", &world, file.clone());
        same.receive(event.clone()).await.unwrap();
        same.reconcile().once().await.unwrap();
    }
    log.take();

    let bob = with(config(&world, BOB, 1), "tea", &world, file.clone());
    let sentence = format!(
        "the application \"tea\" belongs to the Stripe account acct_{ADA}, and these keys are of \
         acct_{BOB}: use the keys of acct_{ADA}, or give this application a new name with \
         .application(…) and no .former_application(…)"
    );
    let before = world.sandbox.requests().len();
    let request = PaymentRequest::new("order-1", PRICE);
    let refused = bob.create_intent(&request).await.unwrap_err();
    assert!(matches!(
        &refused,
        PaymentError::Inbox(InboxError::OtherAccount { .. })
    ));
    assert_eq!(refused.to_string(), sentence);
    let refund = RefundRequest::new("refund-1", &payment);
    let refused = bob.refund(&refund).await.unwrap_err();
    assert!(matches!(
        &refused,
        PaymentError::Inbox(InboxError::OtherAccount { .. })
    ));
    let refused = bob.reconcile().once().await.unwrap_err();
    assert!(matches!(
        &refused,
        ReconcileError::Inbox(InboxError::OtherAccount { .. })
    ));
    for refused in [
        bob.receive(event.clone()).await.map(drop),
        bob.run_due().await.map(drop),
    ] {
        assert_eq!(refused.unwrap_err().to_string(), sentence);
    }
    let body = event.body();
    let secret = WebhookSecret::new(SECRET).unwrap();
    let signature = sign(body.as_bytes(), &secret, now());
    let webhook = ask(&bob, "/webhook", body.as_bytes(), Some(signature)).await;
    assert_eq!(webhook.status(), 503, "Stripe keeps the event");
    for path in ["/create-payment-intent", "/checkout"] {
        let answer = ask(&bob, path, b"{}", None).await;
        assert_eq!(answer.status(), 503, "{path}");
    }
    // Nothing was sent to the other account.
    assert_eq!(world.sandbox.requests().len(), before);
    assert_eq!(world.shop.shipped(), ["order-1"]);
    let lines = log.take();
    let said = lines
        .lines()
        .filter(|line| line.contains("ERROR") && line.contains("answers every call that reads"));
    assert_eq!(said.count(), 1, "{lines}");
    assert!(lines.contains(&sentence.replace('"', "\\\"")) || lines.contains(&sentence));

    // Under a name of its own, the same reference is another order.
    let bob = with(config(&world, BOB, 1), "tea of Bob", &world, file);
    let payment = world.open(&bob, "order-1").await;
    world.pay(&payment).await;
    bob.receive(world.webhook_of(&payment).await).await.unwrap();
    assert_eq!(world.shop.shipped(), ["order-1", "order-1"]);
}

#[tokio::test]
async fn a_birth_that_cannot_be_read_names_its_row_and_the_way_out() {
    let (log, _guard) = log();
    let world = World::new().await;
    let inbox = world.sqlite("one").await;
    let scope = Scope {
        application: "tea".into(),
        mode: Mode::Test,
    };
    let put = inbox.put_bookmark(&scope, "birth", None, "from another version");
    assert!(put.await.unwrap());
    let refused = world.checkout("tea", inbox).run_due().await.unwrap_err();
    let text = refused.source().unwrap().to_string();
    let lines = log.take();
    for words in [
        "the note \"birth\" of the application \"tea\" (test)",
        "stripe_checkout_bookmarks",
        "delete it",
    ] {
        assert!(text.contains(words), "{text}");
        let said = |line: &str| line.contains("ERROR") && line.contains(words);
        assert!(lines.lines().any(said), "{lines}");
    }
}

#[tokio::test]
async fn the_first_key_that_tells_its_account_is_written_down() {
    let world = World::new().await;
    let file = world.sqlite("one").await;
    let untold = with(world.sandbox.config(), "tea", &world, file.clone());
    world.open(&untold, "order-1").await;
    let ada = with(config(&world, ADA, 1), "tea", &world, file.clone());
    world.open(&ada, "order-2").await;
    let bob = with(config(&world, BOB, 1), "tea", &world, file);
    let request = PaymentRequest::new("order-3", PRICE);
    let refused = bob.create_intent(&request).await.unwrap_err();
    assert!(matches!(
        refused,
        PaymentError::Inbox(InboxError::OtherAccount { .. })
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_that_start_at_once_agree_on_one_birth() {
    let world = World::new().await;
    let file = world.sqlite("one").await;
    let bob = config(&world, BOB, 1);
    let starts = [config(&world, ADA, 1), bob.clone(), bob.clone(), bob];
    let mut running = Vec::new();
    for config in starts {
        let checkout = with(config, "tea", &world, file.clone());
        running.push(tokio::spawn(
            async move { checkout.run_due().await.is_ok() },
        ));
    }
    let mut accepted = Vec::new();
    for start in running {
        accepted.push(start.await.unwrap());
    }
    let one = [true, false, false, false];
    assert!(
        accepted == one || accepted == one.map(|first| !first),
        "{accepted:?}"
    );
}

#[tokio::test]
async fn a_restricted_key_is_told_its_permissions_at_start() {
    let (log, _guard) = log();
    let world = World::new().await;
    for (secret, told) in [("sk_test_1", false), ("rk_test_1", true)] {
        let config = Config::new([WebhookSecret::new(SECRET).unwrap()]).unwrap();
        let secret = SecretKey::new(secret).unwrap();
        let publishable = PublishableKey::new("pk_test_1").unwrap();
        let config = config.with_keys(secret, publishable).unwrap();
        with(config, "tea", &world, world.sqlite("one").await);
        let lines = log.take();
        assert_eq!(
            lines.contains("read: Events, Charges and Disputes")
                && lines.contains("Customers, Customer Sessions, SetupIntents, PaymentMethods"),
            told,
            "{lines}"
        );
    }
}
