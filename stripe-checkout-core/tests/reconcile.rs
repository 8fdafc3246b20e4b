//! The reconciler finds lost payments: lost webhooks, events that Stripe never made, debits of days
//! ago. It handles each once, even beside other processes and after any number of interrupted runs.

use std::future::pending;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use sqlx::SqlitePool;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use stripe_checkout_core::fulfillment::{
    Due, EventFilter, EventState, FulfillmentHandler, InboxExt as _, IntentRecord, IntentState,
    MemoryInbox, OrderKey, PaymentEvent, PostgresInbox, Received, Scope, SqliteInbox,
};
use stripe_checkout_core::requests::PaymentRequest;
use stripe_checkout_core::stripe::{
    Gateway, IdempotencyKey, Transport, TransportRequest, TransportResponse,
};
use stripe_checkout_core::testing::{EventBody, PaymentIntent, now};
use stripe_checkout_core::webhook::{EVENT_TYPES, Event, Payment};
use stripe_checkout_core::{
    Alert, Amount, BoxError, Checkout, Config, Currency, Mode, Pricing, PricingError,
    PublishableKey, ReconcileError, ReconcilePart, Reconciled, Reconciler, SecretKey, Tenants,
    TransportError, Visitor, WebhookSecret,
};
use stripe_checkout_sandbox::{Fault, Sandbox};
use tokio::sync::oneshot;

#[path = "postgres_server/mod.rs"]
mod postgres_server;
use postgres_server::Database;

const PRICE: Amount = Amount::new(1999, Currency::EUR);
const DAY: i64 = 24 * 60 * 60;
const BOOKMARK: &str = "events";

struct OnePrice;

#[derive(serde::Deserialize)]
struct Nothing {}

impl Pricing for OnePrice {
    type Order = Nothing;

    async fn price(&self, _: Nothing, _: &Visitor) -> Result<PaymentRequest, PricingError> {
        Ok(PaymentRequest::new("order-1", PRICE))
    }
}

/// Writes a line for each call.
#[derive(Clone, Default)]
struct Shop {
    lines: Arc<Mutex<Vec<String>>>,
    fails: Arc<AtomicBool>,
}

impl Shop {
    fn line(&self, what: &str, of: &str) -> Result<(), BoxError> {
        self.lines.lock().unwrap().push(format!("{what} {of}"));
        match self.fails.load(Ordering::SeqCst) {
            true => Err("no parcel left".into()),
            false => Ok(()),
        }
    }

    fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    fn sorted(&self) -> Vec<String> {
        let mut lines = self.lines();
        lines.sort();
        lines
    }
}

impl<C: Send> FulfillmentHandler<C> for Shop {
    async fn payment_succeeded(&self, payment: &Payment, _: &mut C) -> Result<(), BoxError> {
        self.line("ship", payment.order_id().unwrap())
    }

    async fn amount_due(&self, _: &Payment, _: &mut C) -> Result<Due, BoxError> {
        Ok(Due::Exactly(PRICE))
    }

    async fn on_event(&self, event: &PaymentEvent<'_>, _: &mut C) -> Result<(), BoxError> {
        match event {
            PaymentEvent::RequiresCapture { payment, .. } => {
                self.line("capture", payment.order_id().unwrap())
            }
            PaymentEvent::PaymentCanceled { payment, .. } => {
                self.line("cancel", payment.order_id().unwrap())
            }
            PaymentEvent::RefundSucceeded { refund, .. } => {
                self.line("refund", &refund.amount().minor().to_string())
            }
            PaymentEvent::RefundedBeforeFulfillment { payment, .. } => {
                self.line("keep", payment.order_id().unwrap())
            }
            PaymentEvent::Other { event, .. } => self.line("event", event.id()),
            _ => Ok(()),
        }
    }
}

/// The place of an inbox. Each `open` is another process.
enum Store {
    Sqlite(tempfile::TempDir),
    Postgres(Box<Database>),
}

impl Store {
    async fn sqlite() -> Self {
        let store = Self::Sqlite(tempfile::tempdir().unwrap());
        store.open_sqlite().await.migrate().await.unwrap();
        store
    }

    /// `None` if there is no server. A printed line says so.
    async fn postgres() -> Option<Self> {
        let store = Self::Postgres(Box::new(Database::new().await?));
        store.open_postgres().await.migrate().await.unwrap();
        Some(store)
    }

    async fn each() -> Vec<Self> {
        let mut stores = vec![Self::sqlite().await];
        stores.extend(Self::postgres().await);
        stores
    }

    async fn pool(&self) -> SqlitePool {
        let Self::Sqlite(folder) = self else {
            panic!("another database");
        };
        let options = SqliteConnectOptions::new()
            .filename(folder.path().join("shop.db"))
            .create_if_missing(true);
        let pool = SqlitePoolOptions::new().max_connections(4);
        pool.connect_with(options).await.unwrap()
    }

    async fn open_sqlite(&self) -> SqliteInbox {
        SqliteInbox::new(self.pool().await)
    }

    async fn open_postgres(&self) -> PostgresInbox {
        let Self::Postgres(database) = self else {
            panic!("another database");
        };
        PostgresInbox::new(database.pool(6, "").await).schema(&*database.schema)
    }

    async fn checkout(&self, config: &Config, shop: &Shop) -> Checkout {
        let builder = Checkout::builder(config.clone())
            .application("tea")
            .max_attempts(60)
            .pricing(OnePrice);
        let builder = match self {
            Self::Sqlite(_) => builder.fulfillment(self.open_sqlite().await, shop.clone()),
            Self::Postgres(_) => builder.fulfillment(self.open_postgres().await, shop.clone()),
        };
        builder.build().unwrap()
    }

    async fn bookmark(&self, value: Option<&str>) -> Option<String> {
        let scope = scope();
        let inbox = self.open_sqlite().await;
        if let Some(value) = value {
            let stored = inbox.bookmark(&scope, BOOKMARK).await.unwrap();
            let put = inbox.put_bookmark(&scope, BOOKMARK, stored.as_deref(), value);
            assert!(put.await.unwrap());
        }
        inbox.bookmark(&scope, BOOKMARK).await.unwrap()
    }
}

fn scope() -> Scope {
    Scope {
        application: "tea".into(),
        mode: Mode::Test,
    }
}

/// A shop that receives no webhooks.
struct World {
    sandbox: Sandbox,
    gateway: Gateway,
    store: Store,
    shop: Shop,
    checkout: Checkout,
}

impl World {
    async fn on(store: Store) -> Self {
        let sandbox = Sandbox::start().await.unwrap();
        let gateway = Gateway::new(&sandbox.config()).unwrap();
        let shop = Shop::default();
        let checkout = store.checkout(&sandbox.config(), &shop).await;
        Self {
            sandbox,
            gateway,
            store,
            shop,
            checkout,
        }
    }

    async fn new() -> Self {
        Self::on(Store::sqlite().await).await
    }

    async fn order(&self, order: &str) -> String {
        let request = PaymentRequest::new(order, PRICE);
        let payment = self.checkout.create_intent(&request).await.unwrap();
        payment.id().to_owned()
    }

    async fn post(&self, path: &str, form: &str, account: Option<&str>) -> serde_json::Value {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let key = format!("test-{}", COUNT.fetch_add(1, Ordering::SeqCst));
        let key: IdempotencyKey = key.parse().unwrap();
        let answer = self.gateway.post(path, form, &key, account).await.unwrap();
        serde_json::from_slice(&answer).unwrap()
    }

    async fn confirm(&self, payment: &str, card: &str, account: Option<&str>) {
        let form = format!("payment_method={card}&return_url=https://shop.example/");
        let path = format!("/payment_intents/{payment}/confirm");
        self.post(&path, &form, account).await;
    }

    /// Makes an order that is paid.
    async fn paid(&self, order: &str) -> String {
        let payment = self.order(order).await;
        self.confirm(&payment, "pm_card_visa", None).await;
        payment
    }

    async fn refund(&self, payment: &str, amount: u64) {
        let form = format!("payment_intent={payment}&amount={amount}");
        self.post("/refunds", &form, None).await;
    }

    /// From here on Stripe makes no events.
    fn lose_events(&self) {
        self.sandbox.webhooks().lose_events(usize::MAX);
    }

    async fn reconcile(&self) -> Reconciled {
        self.checkout.reconcile().once().await.unwrap()
    }

    async fn state_of(&self, order: &str) -> IntentState {
        self.row(&order_key(order, None)).await.unwrap().state
    }

    async fn row(&self, order: &OrderKey) -> Option<IntentRecord> {
        match &self.store {
            Store::Sqlite(_) => self.store.open_sqlite().await.intent(order).await,
            Store::Postgres(_) => self.store.open_postgres().await.intent(order).await,
        }
        .unwrap()
    }

    async fn put_row(&self, order: &OrderKey, row: IntentRecord) {
        let put = match &self.store {
            Store::Sqlite(_) => {
                let inbox = self.store.open_sqlite().await;
                inbox.put_intent(order, None, row).await
            }
            Store::Postgres(_) => {
                let inbox = self.store.open_postgres().await;
                inbox.put_intent(order, None, row).await
            }
        };
        assert!(put.unwrap());
    }

    /// Returns the requests to Stripe, as `GET path`, after the first `since` ones.
    fn asked(&self, since: usize) -> Vec<String> {
        let requests = self.sandbox.requests();
        requests[since..]
            .iter()
            .map(|request| format!("{} {}", request.method, request.path))
            .collect()
    }
}

/// The parts of a run that failed, each with its error.
fn failures(ended: Result<Reconciled, ReconcileError>) -> Vec<(ReconcilePart, u64, String)> {
    match ended {
        Err(ReconcileError::Incomplete { failures, .. }) => failures
            .into_iter()
            .map(|failure| (failure.part, failure.count, failure.error.to_string()))
            .collect(),
        other => panic!("{other:?}"),
    }
}

fn order_key(order: &str, account: Option<&str>) -> OrderKey {
    OrderKey {
        scope: scope(),
        account: account.map(str::to_owned),
        reference: order.to_owned(),
    }
}

fn open_row(payment: &str) -> IntentRecord {
    IntentRecord {
        version: 0,
        attempt: 1,
        fingerprint: String::new(),
        request: stripe_checkout_core::fulfillment::RequestState::Sent,
        asked: PRICE,
        payment: Some(payment.to_owned()),
        secret_hash: None,
        state: IntentState::Open,
        paid_by: None,
        declines: 0,
        capture: None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn webhooks_that_were_lost_are_found_in_stripes_list_and_once() {
    for store in Store::each().await {
        let world = World::on(store).await;
        for order in ["a", "b", "c"] {
            world.paid(order).await;
        }
        let report = world.reconcile().await;
        assert_eq!(world.shop.sorted(), ["ship a", "ship b", "ship c"]);
        assert_eq!((report.events, report.new, report.run), (3, 3, 3));
        // The orders are paid, so the reconciler asks Stripe for none of them.
        assert_eq!((report.intents, report.failed, report.waiting), (0, 0, 0));
        assert_eq!(world.state_of("a").await, IntentState::Paid);
        // Stripe lists the events of one hour again.
        let report = world.reconcile().await;
        assert_eq!((report.events, report.new, report.run), (3, 0, 0));
        assert_eq!(world.shop.lines().len(), 3);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_whose_event_was_never_made_is_found_by_its_order() {
    for store in Store::each().await {
        let world = World::on(store).await;
        let still_open = world.order("open").await;
        world.lose_events();
        world.paid("paid").await;
        let canceled = world.order("canceled").await;
        let path = format!("/payment_intents/{canceled}/cancel");
        world.post(&path, "", None).await;
        assert!(
            world
                .sandbox
                .events()
                .iter()
                .all(|(_, t)| t == "payment_intent.created")
        );

        let before = world.sandbox.requests().len();
        let report = world.reconcile().await;
        assert_eq!(world.shop.sorted(), ["cancel canceled", "ship paid"]);
        assert_eq!((report.events, report.new, report.run), (0, 2, 2));
        assert_eq!((report.intents, report.settled), (3, 2));
        let asked = world.asked(before);
        assert!(
            asked.contains(&format!("GET /v1/payment_intents/{still_open}")),
            "{asked:?}"
        );
        // The reconciler does not ask again for an order that is over.
        let report = world.reconcile().await;
        assert_eq!((report.intents, report.settled, report.new), (1, 0, 0));
        assert_eq!(world.state_of("canceled").await, IntentState::Canceled);
    }
}

#[tokio::test]
async fn a_debit_that_settles_days_later_is_found() {
    let world = World::new().await;
    let payment = world.order("debit").await;
    let fails = world.order("fails").await;
    world.lose_events();
    for payment in [&payment, &fails] {
        world
            .confirm(payment, "pm_card_sandboxProcessing", None)
            .await;
    }
    let report = world.reconcile().await;
    assert_eq!((report.intents, report.changed, report.settled), (2, 2, 0));
    assert_eq!(world.state_of("debit").await, IntentState::Processing);
    assert_eq!(world.reconcile().await.changed, 0, "known by now");

    world
        .sandbox
        .pass_time(Duration::from_secs(40 * 24 * 60 * 60));
    assert!(world.sandbox.settle(&payment, true));
    assert!(world.sandbox.settle(&fails, false));
    let report = world.reconcile().await;
    assert_eq!(world.shop.lines(), ["ship debit"]);
    assert_eq!((report.settled, report.changed, report.run), (1, 1, 1));
    // The buyer may try again.
    assert_eq!(world.state_of("fails").await, IntentState::Open);
    world.confirm(&fails, "pm_card_visa", None).await;
    world.reconcile().await;
    assert_eq!(world.shop.lines(), ["ship debit", "ship fails"]);
}

#[tokio::test]
async fn an_authorised_payment_waits_to_be_captured_and_is_told_of_once() {
    let world = World::new().await;
    let form = format!(
        "amount=1999&currency=eur&capture_method=manual&metadata[order_id]=later&{}",
        "payment_method=pm_card_visa&confirm=true&return_url=https://shop.example/"
    );
    world.lose_events();
    let made = world.post("/payment_intents", &form, None).await;
    let row = open_row(made["id"].as_str().unwrap());
    world.put_row(&order_key("later", None), row).await;
    assert_eq!(world.reconcile().await.run, 1);
    let report = world.reconcile().await;
    assert_eq!((report.settled, report.new, report.run), (1, 0, 0));
    assert_eq!(world.shop.lines(), ["capture later"]);
    assert_eq!(world.state_of("later").await, IntentState::Processing);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_of_a_connected_account_is_asked_for_there() {
    for store in Store::each().await {
        let world = World::on(store).await;
        let account = Some("acct_1");
        let request = PaymentRequest::new("theirs", PRICE);
        let params = request.intent_params("tea").unwrap();
        let key: IdempotencyKey = "theirs-1".parse().unwrap();
        let made = world.gateway.create_intent(&params, &key, account).await;
        let made = made.unwrap().id().to_owned();
        world
            .put_row(&order_key("theirs", account), open_row(&made))
            .await;
        world.lose_events();
        world.confirm(&made, "pm_card_visa", account).await;
        world.paid("ours").await;

        let report = world.reconcile().await;
        assert_eq!((report.intents, report.settled, report.unknown), (2, 2, 0));
        assert_eq!(world.shop.sorted(), ["ship ours", "ship theirs"]);
        let theirs = world.row(&order_key("theirs", account)).await.unwrap();
        assert_eq!(theirs.state, IntentState::Paid);
    }
}

#[tokio::test]
async fn what_stripe_does_not_know_is_counted_and_stops_nobody() {
    let world = World::new().await;
    for (order, payment) in [("0", "pi_gone"), ("1", "of another kind")] {
        let order = order_key(order, None);
        world.put_row(&order, open_row(payment)).await;
    }
    world.lose_events();
    world.paid("z").await;
    let report = world.reconcile().await;
    assert_eq!((report.intents, report.unknown, report.settled), (3, 2, 1));
    assert_eq!(world.shop.lines(), ["ship z"]);
}

#[tokio::test]
async fn an_account_that_left_is_counted_and_a_key_that_may_not_ask_is_an_error() {
    let world = World::new().await;
    let order = order_key("theirs", Some("acct_1"));
    world.put_row(&order, open_row("pi_1")).await;
    // The lists of both accounts come first, then the payment with its charge, and then without it.
    let slow = Fault::Slow(Duration::ZERO);
    world.sandbox.faults().next(2 * lists_a_run(), slow.clone());
    world.sandbox.faults().next(2, Fault::Status(403));
    assert_eq!(world.reconcile().await.unknown, 1);

    world.paid("a").await;
    world.shop.fails.store(true, Ordering::SeqCst);
    world.lose_events();
    world.order("ours").await;
    world.sandbox.faults().next(1, Fault::Status(403));
    let failed = failures(world.checkout.reconcile().once().await);
    let denied = "the key has no permission for this request: ";
    let [(ReconcilePart::EventList, 1, error)] = &failed[..] else {
        panic!("{failed:?}");
    };
    assert!(error.starts_with(denied.trim_end_matches(": ")), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_at_once_do_nothing_twice() {
    for store in Store::each().await {
        let world = World::on(store).await;
        let other = world
            .store
            .checkout(&world.sandbox.config(), &world.shop)
            .await;
        let mut orders = Vec::new();
        for n in 0..6 {
            world.paid(&format!("listed-{n}")).await;
            orders.push(format!("ship listed-{n}"));
        }
        world.lose_events();
        for n in 0..6 {
            world.paid(&format!("never-{n}")).await;
            orders.push(format!("ship never-{n}"));
        }
        let (one, two) = (world.checkout.reconcile(), other.reconcile());
        let (one, two) = tokio::join!(one.once(), two.once());
        let (one, two) = (one.unwrap(), two.unwrap());
        orders.sort();
        assert_eq!(world.shop.sorted(), orders, "{one:?} {two:?}");
        assert_eq!((one.failed, two.failed), (0, 0));
        let report = world.reconcile().await;
        assert_eq!((report.new, report.run, report.waiting), (0, 0, 0));
        assert_eq!(world.shop.lines().len(), 12);
    }
}

#[tokio::test]
async fn a_refund_comes_after_its_success_however_late_both_come() {
    let world = World::new().await;
    let payment = world.paid("a").await;
    world.refund(&payment, 500).await;
    // After an hour, the reconciler treats the success of a refunded payment as older than the
    // inbox.
    world.sandbox.pass_time(Duration::from_secs(2 * 60 * 60));
    // The inbox is younger than these events, because time passes in the sandbox only.
    let all = world.checkout.reconcile().since(SystemTime::UNIX_EPOCH);
    all.once().await.unwrap();
    let lines = world.shop.lines();
    assert_eq!(lines[0], "ship a");
    assert!(
        lines[1..].iter().any(|line| line == "refund 500"),
        "{lines:?}"
    );
}

#[tokio::test]
async fn a_handler_that_fails_keeps_its_attempts_and_its_pause() {
    let world = World::new().await;
    world.shop.fails.store(true, Ordering::SeqCst);
    world.paid("a").await;
    let one = || async {
        let mut events = world.checkout.events(EventFilter::default()).await.unwrap();
        assert_eq!(events.len(), 1, "{events:?}");
        events.remove(0)
    };
    // The pause is random, so the order may have caused one more attempt right after the list.
    let failed = world.reconcile().await.failed;
    assert!((1..=2).contains(&failed), "{failed}");
    // Each failure doubles the longest pause. The pause is random, so the test fails until it is a
    // long one.
    let mut event = one().await;
    let soon = |due: SystemTime| due < SystemTime::now() + Duration::from_secs(120);
    while soon(event.due) {
        let again = Event::parse(event.body.clone()).unwrap();
        assert_eq!(
            world.checkout.receive(again).await.unwrap(),
            Received::Failed
        );
        event = one().await;
    }
    let tried = world.shop.lines().len();
    for _ in 0..3 {
        let report = world.reconcile().await;
        // Stripe lists the event, and also reports the order as paid. Both concern the same event,
        // which waits.
        assert_eq!((report.events, report.settled, report.waiting), (1, 1, 2));
        assert_eq!((report.new, report.run, report.failed), (0, 0, 0));
    }
    assert_eq!(world.shop.lines().len(), tried);
    assert_eq!(one().await.attempts, event.attempts);
    assert_eq!(event.state, EventState::Pending);
}

#[tokio::test]
async fn what_failed_and_is_due_is_tried_again_first() {
    let world = World::new().await;
    world.shop.fails.store(true, Ordering::SeqCst);
    world.paid("a").await;
    world.reconcile().await;
    world.shop.fails.store(false, Ordering::SeqCst);
    // The first pause is a second at most.
    let event = world
        .checkout
        .events(EventFilter::default())
        .await
        .unwrap()
        .remove(0);
    while SystemTime::now() <= event.due {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let report = world.reconcile().await;
    assert_eq!((report.redriven, report.run), (1, 0), "{report:?}");
    // The pause is random, so the order may have caused one more attempt right after the list.
    let tried = usize::try_from(event.attempts).unwrap();
    assert_eq!(world.shop.lines(), vec!["ship a"; tried + 1]);
    assert_eq!(world.state_of("a").await, IntentState::Paid);
}

#[tokio::test]
async fn a_rate_limit_is_waited_out_and_a_list_that_fails_keeps_no_order_waiting() {
    let world = World::new().await;
    world.paid("a").await;
    world.lose_events();
    world.paid("b").await;
    let limited = Fault::StatusWith {
        status: 429,
        headers: vec![("Retry-After".into(), "0".into())],
    };
    world.sandbox.faults().next(1, limited);
    world.reconcile().await;
    assert_eq!(world.shop.sorted(), ["ship a", "ship b"]);

    world.paid("c").await;
    let never = Fault::StatusWith {
        status: 503,
        headers: vec![("Stripe-Should-Retry".into(), "false".into())],
    };
    world.sandbox.faults().next(1, never);
    let failed = failures(world.checkout.reconcile().once().await);
    let unavailable = "Stripe is unavailable (status 503)".to_owned();
    assert_eq!(failed, [(ReconcilePart::EventList, 1, unavailable)]);
    // The reconciler still looked at the orders.
    assert_eq!(world.shop.lines().len(), 3);
    world.reconcile().await;
    assert_eq!(world.shop.lines().len(), 3);
}

#[tokio::test]
async fn an_inbox_that_stores_nothing_fails_the_run_and_nothing_counts_as_done() {
    let world = World::new().await;
    world.paid("a").await;
    let pool = world.store.pool().await;
    let broken = Checkout::builder(world.sandbox.config())
        .application("tea")
        .pricing(OnePrice)
        .fulfillment(SqliteInbox::new(pool.clone()), world.shop.clone())
        .build()
        .unwrap();
    sqlx::raw_sql("CREATE TRIGGER full BEFORE INSERT ON stripe_checkout_events BEGIN SELECT RAISE(ABORT, 'full'); END")
        .execute(&pool)
        .await
        .unwrap();
    let failed = failures(broken.reconcile().once().await);
    let gone = "the inbox is unavailable".to_owned();
    assert_eq!(
        failed,
        [
            (ReconcilePart::EventList, 1, gone.clone()),
            (ReconcilePart::Orders, 1, gone)
        ]
    );
    assert_eq!(world.store.bookmark(None).await, None);
    sqlx::raw_sql("DROP TRIGGER full")
        .execute(&pool)
        .await
        .unwrap();
    world.reconcile().await;
    assert_eq!(world.shop.lines(), ["ship a"]);
}

#[tokio::test]
async fn refused_without_keys_or_with_an_inbox_that_forgets() {
    let sandbox = Sandbox::start().await.unwrap();
    let forgetful = Checkout::builder(sandbox.config())
        .application("tea")
        .pricing(OnePrice)
        .fulfillment(MemoryInbox::new(), Shop::default())
        .build()
        .unwrap();
    let store = Store::sqlite().await;
    let config = Config::new([WebhookSecret::new("whsec_of_this_test").unwrap()]).unwrap();
    let keyless = Checkout::builder(config)
        .application("tea")
        .fulfillment(store.open_sqlite().await, Shop::default())
        .build()
        .unwrap();
    for checkout in [forgetful, keyless] {
        let once = checkout.reconcile().once().await.unwrap_err();
        // `run` ends at once, without a signal to stop.
        let run = checkout.reconcile().run(pending()).await.unwrap_err();
        assert_eq!(once.to_string(), run.to_string());
        assert!(matches!(
            once,
            ReconcileError::NoPricing | ReconcileError::Forgetful
        ));
    }
    assert!(sandbox.requests().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_upkeep_of_tenants_finds_what_was_lost_for_each_of_them() {
    let (tenants, worlds) = (Tenants::new(), [World::new().await, World::new().await]);
    for world in &worlds {
        tenants.add(&world.checkout);
        world.paid("a").await;
    }
    let (stop, stopped) = oneshot::channel::<()>();
    let upkeep = tenants.upkeep().interval(Duration::ZERO).concurrency(0);
    let running = tokio::spawn(upkeep.run(async {
        let _ = stopped.await;
    }));
    for order in ["b", "c"] {
        for world in &worlds {
            let lists = |sandbox: &Sandbox| {
                let requests = sandbox.requests();
                requests.iter().filter(|r| r.path == "/v1/events").count()
            };
            // Waits for two more runs: one may have listed its events before the payment.
            let before = lists(&world.sandbox);
            world.paid(order).await;
            let again = before + 2 * lists_a_run();
            world
                .sandbox
                .wait_for(|sandbox| lists(sandbox) >= again)
                .await;
        }
    }
    stop.send(()).unwrap();
    running.await.unwrap();
    for world in &worlds {
        world.checkout.drain().await;
        assert_eq!(world.shop.sorted(), ["ship a", "ship b", "ship c"]);
    }
}

#[tokio::test]
async fn it_runs_at_once_and_then_again_until_it_is_stopped() {
    let world = World::new().await;
    world.paid("a").await;
    let (stop, stopped) = oneshot::channel::<()>();
    let reconciler = world.checkout.reconcile().interval(Duration::ZERO);
    let running = tokio::spawn(reconciler.run(async {
        let _ = stopped.await;
    }));
    let lists = |sandbox: &Sandbox| {
        let requests = sandbox.requests();
        requests.iter().filter(|r| r.path == "/v1/events").count()
    };
    world
        .sandbox
        .wait_for(|sandbox| lists(sandbox) >= lists_a_run())
        .await;
    let long_ago = world.sandbox.requests().len();
    world.paid("b").await;
    world
        .sandbox
        .wait_for(|sandbox| lists(sandbox) >= 2 * lists_a_run())
        .await;
    stop.send(()).unwrap();
    running.await.unwrap().unwrap();
    assert!(world.sandbox.requests().len() > long_ago);
    let lists_then = lists(&world.sandbox);
    world.reconcile().await;
    assert_eq!(world.shop.sorted(), ["ship a", "ship b"]);
    assert_eq!(lists(&world.sandbox), lists_then + lists_a_run());
}

/// The number of lists in which a run asks for events. Stripe takes 20 types in each.
fn lists_a_run() -> usize {
    EVENT_TYPES.len().div_ceil(20)
}

/// A Stripe that has only events, of any age, and knows no payment.
#[derive(Clone, Default)]
struct Archive(Arc<Mutex<Shelves>>);

#[derive(Default)]
struct Shelves {
    /// The creation time and the id of each event, the newest first.
    events: Vec<(i64, String)>,
    /// The requests: from which time, before which time, after which event.
    asked: Vec<Asked>,
    /// The number of answers after which no more come.
    ends: Option<usize>,
    /// An event after which Stripe refuses to list more, for this number of requests.
    expired: Option<(String, usize)>,
    /// The date in its answers.
    date: Option<&'static str>,
}

#[derive(Debug, Clone, Default, PartialEq)]
struct Asked {
    from: i64,
    until: Option<i64>,
    after: Option<String>,
}

impl Archive {
    /// Makes this number of events, one every `every` seconds. The newest one is of now.
    fn with(count: usize, every: i64) -> Self {
        let archive = Self::default();
        let newest = now();
        archive.0.lock().unwrap().events = (0..count)
            .map(|n| {
                let age = i64::try_from(n).unwrap() * every;
                (newest - age, format!("evt_{:05}", count - n))
            })
            .collect();
        archive
    }

    fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut self.0.lock().unwrap().asked)
    }

    fn body(created: i64, id: &str) -> serde_json::Value {
        let paid = PaymentIntent::new(&format!("pi_of_{id}"), PRICE).status("succeeded");
        let event = EventBody::new("payment_intent.succeeded", paid.object());
        serde_json::from_slice(&event.id(id).created(created).body()).unwrap()
    }
}

impl Transport for Archive {
    async fn send(&self, request: &TransportRequest) -> Result<TransportResponse, TransportError> {
        let mut shelves = self.0.lock().unwrap();
        if let Some(ends) = &mut shelves.ends {
            match ends.checked_sub(1) {
                Some(left) => *ends = left,
                None => return Err(TransportError::Connect("unplugged".into())),
            }
        }
        let (path, query) = request.url.split_once('?').unwrap();
        assert!(path.ends_with("/v1/events"), "{path}");
        let query: Vec<(String, String)> = serde_html_form::from_str(query).unwrap();
        let get = |name: &str| {
            let found = query.iter().find(|(known, _)| known == name);
            found.map(|(_, value)| value.clone())
        };
        let number = |name: &str| get(name).map(|value| value.parse::<i64>().unwrap());
        let types = query.iter().filter(|(name, _)| name == "types[]");
        let types: Vec<_> = types.map(|(_, wanted)| wanted.as_str()).collect();
        assert!((1..=20).contains(&types.len()));
        if !types.contains(&"payment_intent.succeeded") {
            // A separate list asks for the other types. The archive has no events of those types.
            let none = serde_json::json!({"object": "list", "data": [], "has_more": false});
            return Ok(TransportResponse {
                status: 200,
                headers: Vec::new(),
                body: none.to_string().into(),
            });
        }
        let asked = Asked {
            from: number("created[gte]").unwrap(),
            until: number("created[lt]"),
            after: get("starting_after"),
        };
        shelves.asked.push(asked.clone());
        let date = shelves.date.map(|date| ("Date".to_owned(), date.into()));
        let answer = |status, body: serde_json::Value| {
            Ok(TransportResponse {
                status,
                headers: date.clone().into_iter().collect(),
                body: body.to_string().into(),
            })
        };
        if let Some((expired, times)) = shelves.expired.clone()
            && asked.after.as_ref() == Some(&expired)
            && times > 0
        {
            shelves.expired = Some((expired, times - 1));
            let error = serde_json::json!({"error": {
                "type": "invalid_request_error", "code": "resource_missing", "param": "starting_after", "message": "No such notification",
            }});
            return answer(400, error);
        }
        let limit = usize::try_from(number("limit").unwrap()).unwrap();
        let mut wanted: Vec<_> = shelves
            .events
            .iter()
            .skip_while(|(_, id)| asked.after.is_some() && asked.after.as_ref() != Some(id))
            .skip(usize::from(asked.after.is_some()))
            .filter(|(created, _)| {
                *created >= asked.from && asked.until.is_none_or(|until| *created < until)
            })
            .take(limit + 1)
            .collect();
        let has_more = wanted.len() > limit;
        wanted.truncate(limit);
        let data: Vec<_> = wanted
            .into_iter()
            .map(|(created, id)| Self::body(*created, id))
            .collect();
        answer(
            200,
            serde_json::json!({"object": "list", "data": data, "has_more": has_more}),
        )
    }
}

/// Makes a shop with an archive as Stripe. The events belong to no order, so their hook is `event`.
async fn over(archive: &Archive, store: &Store, shop: &Shop) -> Checkout {
    let config = Config::new([WebhookSecret::new("whsec_of_this_test").unwrap()]).unwrap();
    let config = config
        .with_keys(
            SecretKey::new("sk_test_1").unwrap(),
            PublishableKey::new("pk_test_1").unwrap(),
        )
        .unwrap();
    Checkout::builder(config)
        .application("tea")
        .pricing(OnePrice)
        .transport(archive.clone())
        .fulfillment(store.open_sqlite().await, shop.clone())
        .build()
        .unwrap()
}

fn told(range: std::ops::RangeInclusive<usize>) -> Vec<String> {
    range.map(|n| format!("event evt_{n:05}")).collect()
}

#[tokio::test]
async fn a_run_begins_an_hour_before_the_inbox_and_goes_back_thirty_days_if_asked() {
    let (archive, store, shop) = (
        Archive::with(250, 4 * 60 * 60 + 1),
        Store::sqlite().await,
        Shop::default(),
    );
    let checkout = over(&archive, &store, &shop).await;
    // The inbox knows nothing about the time before it.
    let report = checkout.reconcile().once().await.unwrap();
    assert_eq!((report.events, shop.lines()), (1, told(250..=250)));
    let asked = archive.asked();
    assert_eq!(asked.len(), 1, "{asked:?}");
    assert!((now() - 3600 - asked[0].from).abs() < 60, "{asked:?}");

    let all = checkout.reconcile().since(SystemTime::UNIX_EPOCH);
    let report = all.once().await.unwrap();
    // Six a day, for 30 days.
    assert_eq!((report.events, report.new), (180, 179));
    let mut lines = told(250..=250);
    lines.extend(told(71..=249));
    assert_eq!(shop.lines(), lines);
    let asked = archive.asked();
    assert_eq!(asked.len(), 2, "{asked:?}");
    assert!((now() - 30 * DAY - asked[0].from).abs() < 60, "{asked:?}");
}

#[tokio::test]
async fn a_bookmark_overlaps_by_an_hour_and_does_not_reach_back_beyond_thirty_days() {
    let (archive, store, shop) = (Archive::with(3, 60), Store::sqlite().await, Shop::default());
    let checkout = over(&archive, &store, &shop).await;
    let newest = archive.0.lock().unwrap().events[0].0;
    checkout.reconcile().once().await.unwrap();
    let mark = store.bookmark(None).await.unwrap();
    assert_eq!(mark, format!("{{\"created\":{newest}}}"));
    archive.asked();
    // Stripe lists one event late. It is older than the events that Stripe listed before.
    archive
        .0
        .lock()
        .unwrap()
        .events
        .push((newest - 3000, "evt_late".into()));
    let report = checkout.reconcile().once().await.unwrap();
    let from = archive.asked()[0].from;
    // The application's birth is a moment after the newest event, and no run looks back further
    // than an hour before its birth.
    assert!((newest - 3600..=now() - 3600).contains(&from), "{from}");
    assert_eq!((report.events, report.new), (4, 1));
    assert_eq!(shop.lines().last().unwrap(), "event evt_late");
    assert_eq!(
        store.bookmark(None).await.unwrap(),
        mark,
        "it never goes back"
    );

    for (old, age) in [
        ("{\"created\":1600000000}", 30 * DAY),
        ("from another version", 3600),
    ] {
        store.bookmark(Some(old)).await;
        checkout.reconcile().once().await.unwrap();
        let from = archive.asked()[0].from;
        assert!((now() - age - from).abs() < 60, "{old}: {from}");
    }
    assert_eq!(shop.lines().len(), 4);
}

#[tokio::test]
async fn more_than_can_be_held_comes_in_parts_that_lose_and_repeat_nothing() {
    let (archive, store, shop) = (
        Archive::with(1300, 97),
        Store::sqlite().await,
        Shop::default(),
    );
    {
        // Most events are at the end, and many are in one second.
        let mut shelves = archive.0.lock().unwrap();
        let newest = shelves.events[0].0;
        for (created, _) in shelves.events.iter_mut().take(600) {
            *created = newest;
        }
    }
    let checkout = over(&archive, &store, &shop).await;
    let all = checkout.reconcile().since(SystemTime::UNIX_EPOCH);
    let report = all.once().await.unwrap();
    assert_eq!((report.events, report.run), (1300, 1300));
    assert_eq!(shop.lines(), told(1..=1300));
    let asked = archive.asked().len();
    // Each page is requested twice at most.
    assert!(asked <= 26, "{asked}");
}

#[tokio::test]
async fn a_run_that_broke_off_half_way_goes_on_from_there() {
    let (archive, store, shop) = (
        Archive::with(700, 600),
        Store::sqlite().await,
        Shop::default(),
    );
    let checkout = over(&archive, &store, &shop).await;
    // Five pages are too many to hold. Two pages of older events follow, and then Stripe is
    // unavailable.
    archive.0.lock().unwrap().ends = Some(8);
    let all = checkout.reconcile().since(SystemTime::UNIX_EPOCH);
    let failed = failures(all.once().await);
    let unavailable = "Stripe is unavailable".to_owned();
    assert_eq!(failed, [(ReconcilePart::EventList, 1, unavailable)]);
    let first = shop.lines();
    assert!((100..600).contains(&first.len()), "{}", first.len());
    assert_eq!(first, told(1..=first.len()));
    archive.asked();

    archive.0.lock().unwrap().ends = None;
    let report = over(&archive, &store, &shop)
        .await
        .reconcile()
        .once()
        .await
        .unwrap();
    assert_eq!(shop.lines(), told(1..=700));
    assert_eq!(report.new, 700 - u64::try_from(first.len()).unwrap());
    // One hour of them again: six.
    assert_eq!(report.events, report.new + 7);
}

#[tokio::test]
async fn a_page_behind_an_event_that_expired_meanwhile_is_asked_for_anew() {
    let (archive, store, shop) = (
        Archive::with(150, 60),
        Store::sqlite().await,
        Shop::default(),
    );
    let checkout = over(&archive, &store, &shop).await;
    archive.0.lock().unwrap().expired = Some(("evt_00051".into(), 1));
    let all = checkout.reconcile().since(SystemTime::UNIX_EPOCH);
    let report = all.once().await.unwrap();
    assert_eq!(report.events, 150);
    assert_eq!(shop.lines(), told(1..=150));
    let asked: Vec<_> = archive
        .asked()
        .into_iter()
        .map(|asked| asked.after)
        .collect();
    let last = Some("evt_00051".to_owned());
    assert_eq!(asked, [None, last.clone(), None, last]);
    // Only once: if the error stays, the run fails and does not loop forever.
    archive.0.lock().unwrap().expired = Some(("evt_00051".into(), 9));
    store.bookmark(Some("{\"created\":0}")).await;
    let failed = failures(checkout.reconcile().once().await);
    assert!(failed[0].2.contains("resource_missing"), "{failed:?}");
}

/// Returns the event that Stripe would deliver now: the success of this payment, as old as it is.
async fn late_success(world: &World, payment: &str) -> Event {
    let query = "/events?type=payment_intent.succeeded&limit=100";
    let list = world.gateway.get(query, None).await.unwrap();
    let list: serde_json::Value = serde_json::from_slice(&list).unwrap();
    let events = list["data"].as_array().unwrap();
    let event = events
        .iter()
        .find(|event| event["data"]["object"]["id"] == payment);
    Event::parse(event.unwrap().to_string()).unwrap()
}

const LATE: Duration = Duration::from_secs(16 * 60);

#[tokio::test(flavor = "multi_thread")]
async fn an_old_success_whose_money_went_back_unheard_is_not_shipped() {
    for store in Store::each().await {
        let world = World::on(store).await;
        let refunded = world.paid("refunded").await;
        let disputed = world.paid("disputed").await;
        let in_part = world.paid("in part").await;
        let good = world.paid("good").await;
        world.lose_events();
        world.refund(&refunded, PRICE.minor()).await;
        world.refund(&in_part, 1998).await;
        assert!(world.sandbox.dispute(&disputed));
        world.sandbox.pass_time(LATE);
        let before = world.sandbox.requests().len();
        for payment in [&refunded, &disputed, &in_part, &good] {
            let event = late_success(&world, payment).await;
            let received = world.checkout.receive(event.clone()).await.unwrap();
            assert_eq!(received, Received::Done(EventState::Done));
            let received = world.checkout.receive(event).await.unwrap();
            assert_eq!(received, Received::Duplicate(EventState::Done));
        }
        let lines = [
            "keep refunded",
            "keep disputed",
            "ship in part",
            "ship good",
        ];
        assert_eq!(world.shop.lines(), lines);
        let asked = world.asked(before);
        let asked = asked
            .iter()
            .filter(|r| r.contains("/payment_intents/pi_"))
            .count();
        assert_eq!(asked, 4, "each once");
        // The calls to Stripe used up no attempt.
        for event in world.checkout.events(EventFilter::default()).await.unwrap() {
            assert_eq!(event.attempts, 1, "{event:?}");
        }
        // The inbox stores it for later events.
        let (all, part) = match &world.store {
            Store::Sqlite(_) => {
                let inbox = world.store.open_sqlite().await;
                (
                    inbox.payment(&scope(), &refunded).await,
                    inbox.payment(&scope(), &in_part).await,
                )
            }
            Store::Postgres(_) => {
                let inbox = world.store.open_postgres().await;
                (
                    inbox.payment(&scope(), &refunded).await,
                    inbox.payment(&scope(), &in_part).await,
                )
            }
        };
        assert_eq!(all.unwrap().unwrap().refunded_total, 1999);
        assert_eq!(part.unwrap().unwrap().refunded_total, 1998);
    }
}

#[tokio::test]
async fn a_success_that_is_news_costs_no_call() {
    let world = World::new().await;
    let payment = world.paid("a").await;
    world.sandbox.pass_time(Duration::from_secs(14 * 60));
    let event = late_success(&world, &payment).await;
    let before = world.sandbox.requests().len();
    world.checkout.receive(event).await.unwrap();
    assert_eq!(world.shop.lines(), ["ship a"]);
    assert_eq!(world.asked(before), Vec::<String>::new());
}

#[tokio::test]
async fn an_old_success_waits_for_stripe_and_is_never_lost() {
    let world = World::new().await;
    let payment = world.paid("a").await;
    world.sandbox.pass_time(LATE);
    let event = late_success(&world, &payment).await;
    let away = Fault::StatusWith {
        status: 503,
        headers: vec![("Stripe-Should-Retry".into(), "false".into())],
    };
    for _ in 0..3 {
        world.sandbox.faults().next(1, away.clone());
        let received = world.checkout.receive(event.clone()).await.unwrap();
        assert_eq!(received, Received::Waiting);
        assert_eq!(world.sandbox.faults().waiting(), 0);
    }
    let stored = world
        .checkout
        .events(EventFilter::default())
        .await
        .unwrap()
        .remove(0);
    assert_eq!((stored.state, stored.attempts), (EventState::Pending, 0));
    let pause = stored.due.duration_since(SystemTime::now()).unwrap();
    assert!(pause > Duration::from_secs(30), "{pause:?}");
    assert!(world.shop.lines().is_empty());
    // A replay by an operator, or another delivery by Stripe, completes it.
    let received = world.checkout.replay(&stored).await.unwrap();
    assert_eq!(received, Received::Done(EventState::Done));
    assert_eq!(world.shop.lines(), ["ship a"]);
}

fn denied(permission: &str) -> Fault {
    Fault::Denied(permission.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_success_that_cannot_be_checked_stays_pending_and_raises_an_alert() {
    for store in Store::each().await {
        let world = World::on(store).await;
        let away = Fault::StatusWith {
            status: 500,
            headers: vec![("Stripe-Should-Retry".into(), "false".into())],
        };
        for (number, (fault, reason)) in [
            (denied("rak_charge_read"), "rak_charge_read"),
            (Fault::Status(403), "no permission"),
            (Fault::Status(404), "status 404"),
            (Fault::NotJson, "could not be read"),
            (away, "unavailable"),
        ]
        .into_iter()
        .enumerate()
        {
            let order = format!("order {number}");
            let payment = world.paid(&order).await;
            world.sandbox.pass_time(LATE);
            let event = late_success(&world, &payment).await;
            for _ in 0..3 {
                world.sandbox.faults().next(1, fault.clone());
                let received = world.checkout.receive(event.clone()).await.unwrap();
                assert_eq!(received, Received::Waiting, "{reason}");
                assert_eq!(world.sandbox.faults().waiting(), 0);
            }
            assert!(!world.shop.lines().contains(&format!("ship {order}")));
            let filter = EventFilter::default().payment(&payment);
            let stored = world.checkout.events(filter).await.unwrap().remove(0);
            assert_eq!((stored.state, stored.attempts), (EventState::Pending, 0));
            let error = stored.last_error.clone().unwrap_or_default();
            assert!(error.contains(reason), "{error}");
            let alerts = world.checkout.alerts(Duration::ZERO).await.unwrap();
            let unfulfilled = |alert: &Alert| matches!(alert, Alert::Unfulfilled { .. });
            assert!(alerts.iter().any(unfulfilled), "{alerts:?}");
            // With the permission, another delivery by Stripe or a replay completes it.
            let received = world.checkout.receive(event).await.unwrap();
            assert_eq!(received, Received::Done(EventState::Done));
            assert!(world.shop.lines().contains(&format!("ship {order}")));
            let alerts = world.checkout.alerts(Duration::ZERO).await.unwrap();
            assert!(!alerts.iter().any(unfulfilled), "{alerts:?}");
        }
    }
}

#[tokio::test]
async fn a_dispute_that_was_won_does_not_stop_an_old_success_and_a_lost_one_does() {
    let world = World::new().await;
    let nothing = Fault::Slow(Duration::ZERO);
    for (order, decided, line) in [
        ("open", None, "keep open"),
        ("won", Some(true), "ship won"),
        ("lost", Some(false), "keep lost"),
    ] {
        world.sandbox.webhooks().lose_events(0);
        let payment = world.paid(order).await;
        world.lose_events();
        assert!(world.sandbox.dispute(&payment));
        if let Some(won) = decided {
            assert!(world.sandbox.decide_dispute(&payment, won));
        }
        world.sandbox.pass_time(LATE);
        let event = late_success(&world, &payment).await;
        // The charge is first, and then its disputes, which the key may not read.
        world.sandbox.faults().next(1, nothing.clone());
        world.sandbox.faults().next(1, denied("rak_dispute_read"));
        let received = world.checkout.receive(event.clone()).await.unwrap();
        assert_eq!(received, Received::Waiting, "{order}");
        let filter = EventFilter::default().payment(&payment);
        let stored = world.checkout.events(filter).await.unwrap().remove(0);
        let error = stored.last_error.unwrap_or_default();
        assert!(error.contains("rak_dispute_read"), "{error}");
        let received = world.checkout.receive(event).await.unwrap();
        assert_eq!(received, Received::Done(EventState::Done), "{order}");
        assert_eq!(world.shop.lines().last().unwrap(), line);
    }
}

#[tokio::test]
async fn a_dispute_whose_end_was_lost_does_not_stop_an_old_success() {
    for (won, line) in [(true, "ship a"), (false, "keep a")] {
        let world = World::new().await;
        let payment = world.paid("a").await;
        assert!(world.sandbox.dispute(&payment));
        let query = "/events?type=charge.dispute.created";
        let list = world.gateway.get(query, None).await.unwrap();
        let list: serde_json::Value = serde_json::from_slice(&list).unwrap();
        let opened = Event::parse(list["data"][0].to_string()).unwrap();
        let received = world.checkout.receive(opened).await.unwrap();
        assert_eq!(received, Received::Waiting);
        world.lose_events();
        assert!(world.sandbox.decide_dispute(&payment, won));
        world.sandbox.pass_time(LATE);
        let event = late_success(&world, &payment).await;
        world.checkout.receive(event).await.unwrap();
        assert_eq!(world.shop.lines(), [line]);
    }
}

#[tokio::test]
async fn a_payment_that_is_retrieved_with_a_dispute_is_checked_however_new_it_is() {
    for (won, line) in [(true, "ship a"), (false, "keep a")] {
        let world = World::new().await;
        world.lose_events();
        let payment = world.paid("a").await;
        assert!(world.sandbox.dispute(&payment));
        assert!(world.sandbox.decide_dispute(&payment, won));
        let report = world.reconcile().await;
        assert_eq!((report.settled, report.run), (1, 1));
        assert_eq!(world.shop.lines(), [line]);
    }
}

#[tokio::test]
async fn an_old_payment_that_is_retrieved_without_its_charge_is_not_shipped() {
    let world = World::new().await;
    world.lose_events();
    world.paid("a").await;
    world.sandbox.pass_time(LATE);
    let nothing = Fault::Slow(Duration::ZERO);
    world.sandbox.faults().next(lists_a_run(), nothing.clone());
    // The key may not read the charge: not with the payment, and not when the success is checked.
    world.sandbox.faults().next(1, denied("rak_charge_read"));
    world.sandbox.faults().next(1, nothing);
    world.sandbox.faults().next(1, denied("rak_charge_read"));
    let report = world.reconcile().await;
    assert_eq!((report.settled, report.waiting), (1, 1));
    assert!(world.shop.lines().is_empty());
    let stored = world.checkout.events(EventFilter::default()).await.unwrap();
    let error = stored[0].last_error.clone().unwrap_or_default();
    assert!(error.contains("rak_charge_read"), "{error}");
    world.checkout.replay(&stored[0]).await.unwrap();
    assert_eq!(world.shop.lines(), ["ship a"]);
}

#[tokio::test]
async fn a_restricted_key_that_may_not_see_charges_still_reads_the_payment() {
    let world = World::new().await;
    world.lose_events();
    world.paid("a").await;
    world
        .sandbox
        .faults()
        .next(lists_a_run(), Fault::Slow(Duration::ZERO));
    world.sandbox.faults().next(1, Fault::Status(403));
    let report = world.reconcile().await;
    assert_eq!((report.settled, report.run), (1, 1));
    assert_eq!(world.shop.lines(), ["ship a"]);
}

#[tokio::test]
async fn a_worker_asks_as_well() {
    let world = World::new().await;
    let queued = Checkout::builder(world.sandbox.config())
        .application("tea")
        .pricing(OnePrice)
        .queued()
        .fulfillment(world.store.open_sqlite().await, world.shop.clone())
        .build()
        .unwrap();
    let payment = world.paid("a").await;
    world.lose_events();
    world.refund(&payment, PRICE.minor()).await;
    world.sandbox.pass_time(LATE);
    let event = late_success(&world, &payment).await;
    assert_eq!(queued.receive(event).await.unwrap(), Received::Queued);
    assert!(queued.run_due().await.unwrap());
    assert_eq!(world.shop.lines(), ["keep a"]);
    assert!(!queued.run_due().await.unwrap());
}

#[tokio::test]
async fn money_that_went_back_before_anybody_heard_of_it_is_not_shipped_by_the_reconciler() {
    let world = World::new().await;
    let listed = world.paid("listed").await;
    world.lose_events();
    let never = world.paid("never").await;
    world.refund(&listed, PRICE.minor()).await;
    world.refund(&never, PRICE.minor()).await;
    world.sandbox.pass_time(LATE);
    let report = world.reconcile().await;
    assert_eq!((report.run, report.waiting, report.failed), (2, 0, 0));
    assert_eq!(world.shop.sorted(), ["keep listed", "keep never"]);
}

#[tokio::test]
async fn without_keys_an_old_success_is_taken_at_its_word() {
    let store = Store::sqlite().await;
    let shop = Shop::default();
    let config = Config::new([WebhookSecret::new("whsec_of_this_test").unwrap()]).unwrap();
    let keyless = Checkout::builder(config)
        .application("tea")
        .fulfillment(store.open_sqlite().await, shop.clone())
        .build()
        .unwrap();
    let paid = PaymentIntent::new("pi_1", PRICE)
        .status("succeeded")
        .metadata("order_id", "a");
    let event = EventBody::new("payment_intent.succeeded", paid.object());
    let event = Event::parse(event.created(now() - DAY).body()).unwrap();
    keyless.receive(event).await.unwrap();
    assert_eq!(shop.lines(), ["ship a"]);
}

#[tokio::test]
async fn an_event_that_cannot_be_stored_keeps_none_behind_it_waiting() {
    // The events are further apart than the hour that each run lists again.
    let (archive, store, shop) = (
        Archive::with(5, 2 * 60 * 60),
        Store::sqlite().await,
        Shop::default(),
    );
    let mark = format!("{{\"created\":{}}}", now() - DAY);
    store.bookmark(Some(&mark)).await;
    let checkout = over(&archive, &store, &shop).await;
    let pool = store.pool().await;
    let trigger = "CREATE TRIGGER bad BEFORE INSERT ON stripe_checkout_events WHEN NEW.id = 'evt_00002' \
        BEGIN SELECT RAISE(ABORT, 'bad'); END";
    sqlx::raw_sql(trigger).execute(&pool).await.unwrap();
    let failed = failures(checkout.reconcile().once().await);
    let gone = "the inbox is unavailable".to_owned();
    assert_eq!(failed, [(ReconcilePart::EventList, 1, gone)]);
    let mut lines = told(1..=1);
    lines.extend(told(3..=5));
    assert_eq!(shop.lines(), lines);
    // The next run begins at the event that failed.
    sqlx::raw_sql("DROP TRIGGER bad")
        .execute(&pool)
        .await
        .unwrap();
    checkout.reconcile().once().await.unwrap();
    lines.extend(told(2..=2));
    assert_eq!(shop.lines(), lines);
}

#[tokio::test]
async fn the_birth_is_compared_by_stripes_clock() {
    let (archive, store, shop) = (Archive::with(2, 60), Store::sqlite().await, Shop::default());
    // This machine's clock is behind, by years.
    archive.0.lock().unwrap().date = Some("Tue, 01 Jan 2980 00:00:00 GMT");
    const NEW_YEAR: i64 = 31_872_528_000;
    let checkout = over(&archive, &store, &shop).await;
    checkout.reconcile().once().await.unwrap();
    let asked = archive.asked();
    assert_eq!(asked.len(), 2, "{asked:?}");
    assert!((NEW_YEAR - 3600 - asked[1].from).abs() < 60, "{asked:?}");
    assert_eq!(shop.lines(), [""; 0], "both are older than the inbox");
    // A later correction of the clock does not change the birth.
    archive.0.lock().unwrap().date = None;
    checkout.reconcile().once().await.unwrap();
    assert!((NEW_YEAR - 3600 - archive.asked()[0].from).abs() < 60);
}

#[tokio::test]
async fn a_birth_that_a_fast_clock_wrote_stays_at_the_first_run() {
    let world = World::new().await;
    world.checkout.drain().await;
    const HOUR: i64 = 60 * 60;
    let inbox = world.store.open_sqlite().await;
    let scope = scope();
    let put = async |before: Option<&str>, at: i64| {
        let note = format!("{{\"at\":{at},\"account\":null}}");
        let put = inbox.put_bookmark(&scope, "birth", before, &note);
        assert!(put.await.unwrap());
        note
    };
    // The clock was a day ahead when it wrote the birth, and shows the right time at the first run.
    let before = inbox.bookmark(&scope, "birth").await.unwrap();
    let born = put(before.as_deref(), now() + 24 * HOUR).await;
    let again = async || {
        world
            .store
            .checkout(&world.sandbox.config(), &world.shop)
            .await
    };
    again().await.reconcile().once().await.unwrap();
    // An outage of five hours. No time passes in the test, so the birth moves instead.
    put(Some(&born), now() + 19 * HOUR).await;
    let (archive, shop) = (Archive::with(9, 70 * 60), Shop::default());
    let checkout = over(&archive, &world.store, &shop).await;
    checkout.reconcile().once().await.unwrap();
    let from = archive.asked()[0].from;
    assert!((now() - 6 * HOUR - from).abs() < 60, "{}", now() - from);
    assert_eq!(shop.lines(), told(4..=9), "six hours of events");
}

/// A Stripe that has no events. It answers requests for a payment with a fixed status.
#[derive(Clone)]
struct Payments(Arc<Mutex<Asking>>);

struct Asking {
    /// The orders that the reconciler asked for, in this order.
    asked: Vec<String>,
    /// The status with which an order is refused, by its reference and by the number of requests so
    /// far.
    refuses: fn(&str, usize) -> Option<u16>,
    status: &'static str,
}

const FORBIDDEN: &str = "The provided key 'rk_test_*****1234' does not have the required permissions for this endpoint \
    on account 'acct_1'. Having the 'rak_event_read' permission would allow this request to continue.";

impl Payments {
    fn new(status: &'static str, refuses: fn(&str, usize) -> Option<u16>) -> Self {
        Self(Arc::new(Mutex::new(Asking {
            asked: Vec::new(),
            refuses,
            status,
        })))
    }

    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap().asked)
    }
}

impl Transport for Payments {
    async fn send(&self, request: &TransportRequest) -> Result<TransportResponse, TransportError> {
        let mut asking = self.0.lock().unwrap();
        let answer = |status: u16, body: serde_json::Value| {
            let never = ("Stripe-Should-Retry".to_owned(), "false".into());
            let later = ("Retry-After".to_owned(), "3600".into());
            Ok(TransportResponse {
                status,
                headers: vec![never, later],
                body: body.to_string().into(),
            })
        };
        let refused = |status: u16| {
            let message = FORBIDDEN;
            answer(status, serde_json::json!({"error": {"message": message}}))
        };
        let path = request.url.split('?').next().unwrap();
        let Some((_, order)) = path.split_once("/payment_intents/pi_") else {
            return match (asking.refuses)("events", 0) {
                Some(status) => refused(status),
                None => answer(
                    200,
                    serde_json::json!({"object": "list", "data": [], "has_more": false}),
                ),
            };
        };
        asking.asked.push(order.to_owned());
        if let Some(status) = (asking.refuses)(order, asking.asked.len()) {
            return refused(status);
        }
        let intent = PaymentIntent::new(&format!("pi_{order}"), PRICE).status(asking.status);
        answer(200, intent.metadata("order_id", order).object())
    }
}

/// Makes a shop with this number of open orders.
async fn with_orders(stripe: &Payments, store: &Store, shop: &Shop, orders: usize) -> Checkout {
    let config = Config::new([WebhookSecret::new("whsec_of_this_test").unwrap()]).unwrap();
    let secret = SecretKey::new("rk_test_1").unwrap();
    let config = config.with_keys(secret, PublishableKey::new("pk_test_1").unwrap());
    let inbox = store.open_sqlite().await;
    for order in (0..orders).map(|n| format!("o{n:03}")) {
        let row = open_row(&format!("pi_{order}"));
        assert!(
            inbox
                .put_intent(&order_key(&order, None), None, row)
                .await
                .unwrap()
        );
    }
    Checkout::builder(config.unwrap())
        .application("tea")
        .pricing(OnePrice)
        .transport(stripe.clone())
        .fulfillment(inbox, shop.clone())
        .build()
        .unwrap()
}

fn orders(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("o{n:03}")).collect()
}

#[tokio::test]
async fn a_key_without_the_list_of_events_still_finds_orders_and_the_error_says_what_it_needs() {
    let (store, shop) = (Store::sqlite().await, Shop::default());
    let stripe = Payments::new("succeeded", |asked, _| (asked == "events").then_some(403));
    let checkout = with_orders(&stripe, &store, &shop, 3).await;
    let ended = checkout.reconcile().once().await;
    let text = ended.as_ref().unwrap_err().to_string();
    let list = "some parts of the reconciliation failed: Stripe's list of events: ";
    let denied = "the key has no permission for this request: ";
    let missing = "Having the 'rak_event_read' permission would allow this request to continue";
    assert_eq!(text, format!("{list}{denied}{missing}"));
    let Err(ReconcileError::Incomplete { report, .. }) = ended else {
        panic!("{text}");
    };
    assert_eq!((report.intents, report.settled, report.run), (3, 3, 3));
    assert_eq!(shop.sorted(), ["ship o000", "ship o001", "ship o002"]);
}

#[tokio::test]
async fn a_key_without_payments_still_reads_the_list_of_events() {
    let world = World::new().await;
    world.paid("listed").await;
    let order = order_key("broken", None);
    world.put_row(&order, open_row("pi_broken")).await;
    // After the lists come the payment with its charge, and the payment without it.
    let faults = world.sandbox.faults();
    faults.next(lists_a_run(), Fault::Slow(Duration::ZERO));
    faults.next(2, Fault::Status(403));
    let failed = failures(world.checkout.reconcile().once().await);
    assert_eq!(failed.len(), 1, "{failed:?}");
    assert_eq!((failed[0].0, failed[0].1), (ReconcilePart::Orders, 1));
    assert_eq!(world.shop.lines(), ["ship listed"]);
}

#[tokio::test]
async fn an_order_that_always_fails_keeps_none_of_300_waiting() {
    let (store, shop) = (Store::sqlite().await, Shop::default());
    let stripe = Payments::new("succeeded", |order, _| (order == "o150").then_some(500));
    let checkout = with_orders(&stripe, &store, &shop, 300).await;
    for run in 0..2 {
        let ended = checkout.reconcile().once().await;
        let Err(ReconcileError::Incomplete { failures, .. }) = ended else {
            panic!("{run}: {ended:?}");
        };
        assert_eq!(failures.len(), 1, "{failures:?}");
        let failure = &failures[0];
        assert_eq!((failure.part, failure.count), (ReconcilePart::Orders, 1));
        assert_eq!(failure.order.as_deref(), Some("o150"));
        assert_eq!(shop.lines().len(), 299, "{run}");
    }
}

#[tokio::test]
async fn a_rate_limit_in_each_run_keeps_no_order_waiting_for_long() {
    let (store, shop) = (Store::sqlite().await, Shop::default());
    // The limit applies after 60 orders in a run, and always to the first order.
    let limit = |order: &str, asked| (asked > 60 || order == "o000").then_some(429);
    let stripe = Payments::new("requires_payment_method", limit);
    let checkout = with_orders(&stripe, &store, &shop, 300).await;
    let mut looked_at = std::collections::BTreeSet::new();
    let mut runs = 0;
    while looked_at.len() < 299 {
        runs += 1;
        assert!(runs <= 10, "{} looked at", looked_at.len());
        let ended = checkout.reconcile().once().await;
        let asked = stripe.asked();
        assert!(asked.len() <= 60 + 4, "it goes on although Stripe refuses");
        looked_at.extend(asked.into_iter().take(60).filter(|order| order != "o000"));
        match ended {
            Err(ReconcileError::Incomplete { report, .. }) => assert!(report.limited),
            ended => {
                assert!(!ended.unwrap().limited);
                assert_eq!(looked_at.len(), 299, "the last run ends at the last order");
            }
        }
    }
}

#[tokio::test]
async fn a_run_makes_so_many_requests_and_the_next_one_goes_on() {
    let (store, shop) = (Store::sqlite().await, Shop::default());
    let stripe = Payments::new("requires_payment_method", |_, _| None);
    let checkout = with_orders(&stripe, &store, &shop, 300).await;
    let mut asked = Vec::new();
    for run in 0..4 {
        let report = checkout.reconcile().max_requests(100).once().await.unwrap();
        assert_eq!(report.limited, run < 3, "{report:?}");
        let now = stripe.asked();
        assert!(now.len() <= 100 - lists_a_run(), "{}", now.len());
        asked.extend(now);
    }
    asked.sort();
    assert_eq!(
        asked,
        orders(300),
        "each once, and the last run ends at the last"
    );
    checkout.reconcile().once().await.unwrap();
    let mut again = stripe.asked();
    again.sort();
    assert_eq!(again, orders(300), "the next one begins at the first");
}

#[tokio::test]
async fn an_order_from_before_the_birth_is_looked_at_only_if_asked() {
    let (store, shop) = (Store::sqlite().await, Shop::default());
    let stripe = Payments::new("succeeded", |_, _| None);
    let checkout = with_orders(&stripe, &store, &shop, 2).await;
    // As if the first order were copied from another inbox.
    let pool = store.pool().await;
    let older = "UPDATE stripe_checkout_intents SET changed = changed - 7200000000 WHERE reference = 'o000'";
    sqlx::raw_sql(older).execute(&pool).await.unwrap();
    checkout.reconcile().once().await.unwrap();
    assert_eq!(shop.lines(), ["ship o001"]);
    let all = checkout.reconcile().since(SystemTime::UNIX_EPOCH);
    all.once().await.unwrap();
    assert_eq!(shop.lines(), ["ship o001", "ship o000"]);
}

/// Runs the reconciler with short pauses until the shop has this number of lines.
async fn run_until(reconciler: Reconciler, shop: &Shop, lines: usize) {
    let (stop, stopped) = oneshot::channel::<()>();
    let reconciler = reconciler.interval(Duration::ZERO);
    let running = tokio::spawn(reconciler.run(async {
        let _ = stopped.await;
    }));
    let all = async {
        while shop.lines().len() < lines {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let all = tokio::time::timeout(Duration::from_secs(60), all).await;
    assert!(all.is_ok(), "{} of {lines}", shop.lines().len());
    stop.send(()).unwrap();
    running.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_backlog_that_needs_several_runs_is_received_to_its_end() {
    let (archive, store, shop) = (
        Archive::with(4000, 600),
        Store::sqlite().await,
        Shop::default(),
    );
    let checkout = over(&archive, &store, &shop).await;
    let all = checkout.reconcile().since(SystemTime::UNIX_EPOCH);
    let all = all.max_requests(100);
    assert!(all.once().await.unwrap().limited);
    assert!((100..3000).contains(&shop.lines().len()));
    run_until(all, &shop, 4000).await;
    assert_eq!(shop.lines(), told(1..=4000));
}

#[tokio::test]
async fn orders_from_before_the_birth_are_looked_at_wherever_the_last_run_stopped() {
    let (store, shop) = (Store::sqlite().await, Shop::default());
    let stripe = Payments::new("requires_payment_method", |_, _| None);
    let checkout = with_orders(&stripe, &store, &shop, 300).await;
    let limited = checkout.reconcile().max_requests(100).once().await;
    assert!(limited.unwrap().limited);
    stripe.asked();
    let all = checkout.reconcile().since(SystemTime::UNIX_EPOCH);
    all.once().await.unwrap();
    let mut asked = stripe.asked();
    asked.sort();
    assert_eq!(asked, orders(300));
}

#[tokio::test]
async fn an_order_from_before_the_birth_that_failed_is_looked_at_in_another_round() {
    let (store, shop) = (Store::sqlite().await, Shop::default());
    // The first run ends at the eighth failure, with three more requests in flight. The second run
    // begins after all of them.
    let fails = |order: &str, asked| (order != "events" && asked <= 11).then_some(500);
    let stripe = Payments::new("succeeded", fails);
    let checkout = with_orders(&stripe, &store, &shop, 20).await;
    let pool = store.pool().await;
    let older = "UPDATE stripe_checkout_intents SET changed = changed - 7200000000";
    sqlx::raw_sql(older).execute(&pool).await.unwrap();
    let all = checkout.reconcile().since(SystemTime::UNIX_EPOCH);
    run_until(all, &shop, 20).await;
}
