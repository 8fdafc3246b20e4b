//! The promises of the inbox in SQLite, on a database file. The handler writes into its own table.
//! That table only grows and has no unique key, so it cannot hide a second effect.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Connection, SqliteConnection, SqlitePool};
use stripe_checkout_core::fulfillment::{
    BoxFuture, Claim, Dispatch, Due, EventFilter, EventRecord, EventState, FulfillmentHandler,
    FulfillmentStatus, Inbox, InboxExt as _, IntentRecord, IntentState, NewEvent, OrderKey,
    PaymentEvent, PaymentRecord, PendingNote, Scope, Session as _, SqliteInbox, Stepped, Terms,
    Verdict, Which,
};
use stripe_checkout_core::testing::{EventBody, PaymentIntent, now, refund, sign};
use stripe_checkout_core::webhook::{DisputeStatus, Payment};
use stripe_checkout_core::{
    Amount, Body, BoxError, Call, Checkout, CheckoutBuilder, Config, Currency, Endpoint, Group,
    InboxError, Mode, Ownership, PublishableKey, SecretKey, WebhookSecret,
};
use tokio::sync::Semaphore;

const PRICE: Amount = Amount::new(1999, Currency::EUR);
const LONG: Duration = Duration::from_secs(30);
const NOW: Duration = Duration::ZERO;

fn secret() -> WebhookSecret {
    WebhookSecret::new("whsec_of_this_test").unwrap()
}

/// A database file in its own folder, which is deleted when the test ends.
struct File(PathBuf);

impl File {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let folder = std::env::temp_dir().join(format!(
            "stripe-checkout-sqlite-{}-{}",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        ));
        std::fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    fn options(&self) -> SqliteConnectOptions {
        SqliteConnectOptions::new()
            .filename(self.0.join("shop.db"))
            .create_if_missing(true)
    }

    async fn pool(&self, connections: u32) -> SqlitePool {
        SqlitePoolOptions::new()
            .max_connections(connections)
            .connect_with(self.options())
            .await
            .unwrap()
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The behaviour of `payment_succeeded` after it wrote its effect.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Behave {
    Well,
    Fail,
    FailWith(&'static str),
    Panic,
    Hang,
    LongStatement,
    Say(&'static str),
    SayAndGoOn(&'static str),
    LeaveOneOpen,
    Nested,
    NestedAndForgotten,
    OwnPool,
    Full,
    SayNothingOfPragmas,
}

#[derive(Clone)]
struct Shop {
    behave: Arc<Mutex<Behave>>,
    due: Arc<Mutex<Due>>,
    calls: Arc<AtomicU32>,
    started: Arc<Semaphore>,
    release: Arc<Semaphore>,
    pool: SqlitePool,
    /// The connection's setting that the handler saw.
    synchronous: Arc<AtomicU64>,
}

async fn effect(db: &mut SqliteConnection, what: &str) -> Result<(), BoxError> {
    sqlx::query("INSERT INTO effects (what) VALUES (?1)")
        .bind(what)
        .execute(db)
        .await?;
    Ok(())
}

impl FulfillmentHandler<SqliteConnection> for Shop {
    async fn payment_succeeded(
        &self,
        payment: &Payment,
        db: &mut SqliteConnection,
    ) -> Result<(), BoxError> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let what = format!("succeeded {}", payment.id());
        let behave = *self.behave.lock().unwrap();
        effect(db, &what).await?;
        self.started.add_permits(1);
        match behave {
            Behave::Well => {}
            Behave::Fail => return Err("the printer is out of paper".into()),
            Behave::FailWith(text) => return Err(text.into()),
            Behave::Panic => panic!("a bug of the merchant's"),
            Behave::Hang => self.release.acquire().await?.forget(),
            Behave::LongStatement => {
                sqlx::query("INSERT INTO effects (what) WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n WHERE i < 0")
                    .execute(db)
                    .await?;
            }
            Behave::Say(what) => {
                sqlx::raw_sql(what).execute(db).await?;
            }
            Behave::SayAndGoOn(what) => {
                let _ = sqlx::raw_sql(what).execute(&mut *db).await;
                effect(db, "after what it said").await.ok();
            }
            Behave::LeaveOneOpen => {
                sqlx::raw_sql("ROLLBACK; BEGIN").execute(&mut *db).await?;
                effect(db, "in a transaction of its own").await?;
            }
            Behave::Nested => {
                let mut inner = db.begin().await?;
                effect(&mut inner, "inner, kept").await?;
                inner.commit().await?;
                let mut inner = db.begin().await?;
                effect(&mut inner, "inner, undone").await?;
                drop(inner);
            }
            Behave::NestedAndForgotten => {
                let mut inner = db.begin().await?;
                effect(&mut inner, "inner").await?;
                std::mem::forget(inner);
            }
            Behave::OwnPool => effect(&mut *self.pool.acquire().await?, "by its own pool").await?,
            Behave::Full => {
                sqlx::raw_sql("PRAGMA max_page_count = 1")
                    .execute(&mut *db)
                    .await?;
                sqlx::query("INSERT INTO effects (what) VALUES (zeroblob(10000000))")
                    .execute(db)
                    .await?;
            }
            Behave::SayNothingOfPragmas => {
                let synchronous: i64 = sqlx::query_scalar("PRAGMA synchronous")
                    .fetch_one(db)
                    .await?;
                self.synchronous
                    .store(synchronous.unsigned_abs(), Ordering::Relaxed);
            }
        }
        Ok(())
    }

    async fn amount_due(&self, _: &Payment, _: &mut SqliteConnection) -> Result<Due, BoxError> {
        Ok(*self.due.lock().unwrap())
    }

    async fn on_event(
        &self,
        event: &PaymentEvent<'_>,
        db: &mut SqliteConnection,
    ) -> Result<(), BoxError> {
        match event {
            PaymentEvent::Mismatch {
                payment, mismatch, ..
            } => effect(db, &format!("mismatch {}: {mismatch}", payment.id())).await,
            PaymentEvent::RefundSucceeded { refund, .. } => {
                effect(db, &format!("refunded {}", refund.id())).await
            }
            PaymentEvent::RefundedBeforeFulfillment { payment, .. } => {
                effect(db, &format!("refunded before {}", payment.id())).await
            }
            PaymentEvent::DuplicatePayment { payment, .. } => {
                effect(db, &format!("duplicate {}", payment.id())).await
            }
            _ => Ok(()),
        }
    }
}

struct Running {
    checkout: Checkout,
    shop: Shop,
    inbox: SqliteInbox,
    pool: SqlitePool,
    webhook: Endpoint,
}

/// Starts a process with its own pool on this file.
async fn process(
    file: &File,
    more: impl FnOnce(CheckoutBuilder) -> CheckoutBuilder,
) -> Arc<Running> {
    on(file.pool(5).await, more).await
}

async fn on(
    pool: SqlitePool,
    more: impl FnOnce(CheckoutBuilder) -> CheckoutBuilder,
) -> Arc<Running> {
    let inbox = SqliteInbox::new(pool.clone());
    inbox.migrate().await.unwrap();
    sqlx::raw_sql("CREATE TABLE IF NOT EXISTS effects (n INTEGER PRIMARY KEY, what TEXT NOT NULL)")
        .execute(&pool)
        .await
        .unwrap();
    let shop = Shop {
        behave: Arc::new(Mutex::new(Behave::Well)),
        due: Arc::new(Mutex::new(Due::Exactly(PRICE))),
        calls: Arc::default(),
        started: Arc::new(Semaphore::new(0)),
        release: Arc::new(Semaphore::new(0)),
        pool: pool.clone(),
        synchronous: Arc::default(),
    };
    let builder = Checkout::builder(Config::new([secret()]).unwrap())
        .application("tea")
        .ownership(Ownership::AllPayments)
        .fulfillment(inbox.clone(), shop.clone());
    let checkout = more(builder).build().unwrap();
    // The checkout writes its birth, with a connection that a test may need.
    checkout.drain().await;
    let webhook = checkout.only(Group::Webhook).endpoints()[0].clone();
    Arc::new(Running {
        checkout,
        shop,
        inbox,
        pool,
        webhook,
    })
}

impl Running {
    async fn send(&self, event: EventBody) -> u16 {
        let body = event.body();
        let header = sign(&body, &secret(), now());
        let call = Call::new(&self.webhook)
            .header("Stripe-Signature", header.as_bytes())
            .body(Body::whole(&body, self.webhook.body_limit()));
        self.checkout.handle(call).await.status()
    }

    /// Sends an event, and does not wait for the answer.
    fn sending(self: &Arc<Self>, event: EventBody) -> tokio::task::JoinHandle<u16> {
        let running = Arc::clone(self);
        tokio::spawn(async move { running.send(event).await })
    }

    fn behave(&self, how: Behave) {
        *self.shop.behave.lock().unwrap() = how;
    }

    async fn effects(&self) -> Vec<String> {
        sqlx::query_scalar("SELECT what FROM effects ORDER BY n")
            .fetch_all(&self.pool)
            .await
            .unwrap()
    }

    async fn record(&self, id: &str) -> EventRecord {
        self.inbox.event(&scope(), id).await.unwrap().unwrap()
    }

    async fn payment(&self, id: &str) -> PaymentRecord {
        self.inbox.payment(&scope(), id).await.unwrap().unwrap()
    }

    /// Makes the event due, as if its lease or pause were over.
    async fn let_it_be_due(&self, id: &str) {
        let done = sqlx::query("UPDATE stripe_checkout_events SET due = 1 WHERE id = ?1")
            .bind(id)
            .execute(&self.pool)
            .await
            .unwrap();
        assert_eq!(done.rows_affected(), 1);
    }
}

fn scope() -> Scope {
    Scope {
        application: "tea".into(),
        mode: Mode::Test,
    }
}

fn order(reference: &str) -> OrderKey {
    OrderKey {
        scope: scope(),
        account: None,
        reference: reference.into(),
    }
}

fn paid(event: &str, payment: &str, order: &str) -> EventBody {
    let object = PaymentIntent::new(payment, PRICE)
        .metadata("order_id", order)
        .status("succeeded")
        .object();
    EventBody::new("payment_intent.succeeded", object).id(event)
}

fn new_event(id: &str, payment: &str) -> NewEvent {
    NewEvent {
        scope: scope(),
        id: id.into(),
        event_type: "payment_intent.succeeded".into(),
        payment: Some(payment.into()),
        order: None,
        ours: true,
        settles: true,
        note: None,
        body: paid(id, payment, "order-1").body().into(),
        received: SystemTime::now(),
    }
}

fn terms() -> Terms {
    Terms::new(LONG, LONG, 3)
}

/// A dispatch that writes an effect, and then behaves as the test says.
struct Told {
    verdict: Verdict,
    hangs: bool,
    started: Semaphore,
    release: Semaphore,
    ran: AtomicU32,
}

impl Told {
    fn new(verdict: Verdict) -> Arc<Self> {
        Arc::new(Self {
            verdict,
            hangs: false,
            started: Semaphore::new(0),
            release: Semaphore::new(0),
            ran: AtomicU32::new(0),
        })
    }

    fn done() -> Arc<Self> {
        Self::new(Verdict::Done {
            payment: fulfilled(),
            intent: None,
        })
    }

    fn hangs() -> Arc<Self> {
        Arc::new(Self {
            hangs: true,
            ..Arc::into_inner(Self::done()).unwrap()
        })
    }

    fn ran(&self) -> u32 {
        self.ran.load(Ordering::Relaxed)
    }
}

fn fulfilled() -> PaymentRecord {
    let mut record = PaymentRecord::default();
    record.success = FulfillmentStatus::Fulfilled;
    record
}

impl Dispatch<SqliteConnection> for Told {
    fn dispatch<'a>(
        &'a self,
        event: &'a EventRecord,
        _: &'a PaymentRecord,
        _: Option<&'a IntentRecord>,
        db: &'a mut SqliteConnection,
    ) -> BoxFuture<'a, Verdict> {
        Box::pin(async move {
            self.ran.fetch_add(1, Ordering::Relaxed);
            effect(db, &format!("ran {}", event.id)).await.unwrap();
            self.started.add_permits(1);
            if self.hangs {
                self.release.acquire().await.unwrap().forget();
            }
            self.verdict.clone()
        })
    }
}

#[tokio::test]
async fn one_effect_per_event_and_per_payment() {
    let file = File::new();
    let shop = process(&file, |builder| builder).await;
    for _ in 0..3 {
        assert_eq!(shop.send(paid("evt_1", "pi_1", "order-1")).await, 200);
    }
    assert_eq!(shop.send(paid("evt_2", "pi_1", "order-1")).await, 200);
    // Another PaymentIntent of the same order.
    assert_eq!(shop.send(paid("evt_3", "pi_2", "order-1")).await, 200);
    assert_eq!(shop.effects().await, ["succeeded pi_1", "duplicate pi_2"]);
    assert_eq!(shop.record("evt_2").await.state, EventState::Superseded);
    assert_eq!(
        shop.payment("pi_1").await.success,
        FulfillmentStatus::Fulfilled
    );
    assert_eq!(
        shop.payment("pi_2").await.success,
        FulfillmentStatus::Duplicate
    );
    let row = shop.inbox.intent(&order("order-1")).await.unwrap().unwrap();
    assert_eq!(
        (row.state, row.paid_by.as_deref()),
        (IntentState::Paid, Some("pi_1"))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn fifty_concurrent_deliveries_of_one_payment_are_one_effect() {
    let file = File::new();
    let shop = process(&file, |builder| builder).await;
    let deliveries: Vec<_> = (0..50)
        .map(|n| {
            let event = ["evt_1", "evt_2"][n % 2];
            shop.sending(paid(event, "pi_1", "order-1"))
        })
        .collect();
    for delivery in deliveries {
        assert_eq!(delivery.await.unwrap(), 200);
    }
    assert_eq!(shop.effects().await, ["succeeded pi_1"]);
    let attempts = shop.record("evt_1").await.attempts + shop.record("evt_2").await.attempts;
    assert_eq!(attempts, 1, "who only waited has not tried");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn forty_payments_at_once_in_two_processes_are_forty_effects() {
    let file = File::new();
    let processes = [
        process(&file, |builder| builder).await,
        process(&file, |builder| builder).await,
    ];
    let mut deliveries = Vec::new();
    for n in 0..40 {
        for process in [&processes[0], &processes[1], &processes[n % 2]] {
            let event = paid(
                &format!("evt_{n}"),
                &format!("pi_{n}"),
                &format!("order-{n}"),
            );
            deliveries.push(process.sending(event));
        }
    }
    let mut answers = BTreeMap::<u16, u32>::new();
    for delivery in deliveries {
        *answers.entry(delivery.await.unwrap()).or_default() += 1;
    }
    // A slow machine may refuse a delivery with 503. The sender then delivers it again.
    assert!(
        answers.keys().all(|status| [200, 503].contains(status)),
        "{answers:?}"
    );
    for n in 0..40 {
        let event = paid(
            &format!("evt_{n}"),
            &format!("pi_{n}"),
            &format!("order-{n}"),
        );
        assert_eq!(processes[n % 2].send(event).await, 200);
    }
    let mut effects = processes[0].effects().await;
    effects.sort();
    let mut expected: Vec<_> = (0..40).map(|n| format!("succeeded pi_{n}")).collect();
    expected.sort();
    assert_eq!(effects, expected);
}

#[tokio::test]
async fn what_a_failing_handler_wrote_goes_and_that_it_failed_stays() {
    let cases = [
        (Behave::Fail, "the printer is out of paper"),
        (Behave::Panic, "the handler panicked"),
        (Behave::Hang, "the handler did not end within 1 s"),
        (Behave::LongStatement, "the handler did not end within 1 s"),
        (
            Behave::Say("SELECT * FROM nowhere"),
            "no such table: nowhere",
        ),
    ];
    for (behave, error) in cases {
        let file = File::new();
        let shop = process(&file, |builder| {
            builder.handler_deadline(Duration::from_secs(1))
        })
        .await;
        shop.behave(behave);
        for attempt in 1..=2 {
            let sending = shop.send(paid("evt_1", "pi_1", "order-1"));
            let sent = tokio::time::timeout(Duration::from_secs(20), sending).await;
            assert_eq!(sent, Ok(500), "{behave:?}: work that nobody waits for ends");
            let record = shop.record("evt_1").await;
            assert_eq!(
                (record.state, record.attempts),
                (EventState::Pending, attempt),
                "{behave:?}"
            );
            let last = record.last_error.unwrap();
            assert!(last.contains(error), "{behave:?}: {last}");
            assert!(!record.body.is_empty());
        }
        assert!(shop.effects().await.is_empty(), "{behave:?}");
        shop.behave(Behave::Well);
        assert_eq!(shop.send(paid("evt_1", "pi_1", "order-1")).await, 200);
        assert_eq!(shop.effects().await, ["succeeded pi_1"], "{behave:?}");
        assert_eq!(shop.record("evt_1").await.attempts, 3);
    }
}

#[tokio::test]
async fn the_words_of_an_error_do_not_steer_the_inbox() {
    let file = File::new();
    let shop = process(&file, |builder| builder).await;
    for (n, text) in [
        "the warehouse did not end within its slot",
        "database is locked",
        "pool timed out while waiting for an open connection",
        "error returned from database: (code: 13) database or disk is full",
    ]
    .into_iter()
    .enumerate()
    {
        let (event, payment) = (format!("evt_{n}"), format!("pi_{n}"));
        shop.behave(Behave::FailWith(text));
        let began = Instant::now();
        let order = format!("order-{n}");
        assert_eq!(shop.send(paid(&event, &payment, &order)).await, 500);
        assert!(
            began.elapsed() < Duration::from_secs(4),
            "{text}: the writer is held for {:?}",
            began.elapsed()
        );
        let record = shop.record(&event).await;
        assert_eq!(record.last_error.as_deref(), Some(text));
    }
}

#[tokio::test]
async fn a_dead_letter_stays_loud_and_is_replayed_or_discarded() {
    let file = File::new();
    let shop = process(&file, |builder| builder.max_attempts(2)).await;
    shop.behave(Behave::Fail);
    for _ in 0..4 {
        assert_eq!(shop.send(paid("evt_1", "pi_1", "order-1")).await, 500);
        assert_eq!(shop.send(paid("evt_2", "pi_2", "order-2")).await, 500);
    }
    assert_eq!(shop.shop.calls.load(Ordering::Relaxed), 4);
    let dead = shop
        .checkout
        .events(EventFilter::default().state(EventState::Dead))
        .await
        .unwrap();
    let ids: Vec<_> = dead.iter().map(|event| event.id.as_str()).collect();
    assert_eq!((ids, dead[0].attempts), (vec!["evt_2", "evt_1"], 2));
    assert_eq!(shop.payment("pi_1").await.success, FulfillmentStatus::Dead);
    let back = EventBody::new("refund.created", refund("re_2", "pi_2", PRICE)).id("evt_r");
    shop.behave(Behave::Well);
    shop.checkout.replay(&dead[1]).await.unwrap();
    shop.checkout.discard(&dead[0]).await.unwrap();
    assert_eq!(shop.send(back).await, 200);
    // A late copy of a discarded success is not fulfilled.
    assert_eq!(shop.send(paid("evt_2", "pi_2", "order-2")).await, 200);
    assert_eq!(shop.send(paid("evt_3", "pi_2", "order-2")).await, 200);
    assert_eq!(shop.effects().await, ["succeeded pi_1", "refunded re_2"]);
    assert_eq!(shop.record("evt_1").await.state, EventState::Done);
    assert_eq!(shop.record("evt_2").await.state, EventState::Discarded);
    assert_eq!(
        shop.payment("pi_2").await.success,
        FulfillmentStatus::GivenUp
    );
    for event in &dead {
        let again = shop.checkout.replay(event).await.unwrap_err();
        assert!(matches!(again, InboxError::WrongState { .. }));
        let again = shop.checkout.discard(event).await.unwrap_err();
        assert!(matches!(again, InboxError::WrongState { .. }));
    }
}

#[tokio::test]
async fn dropping_one_of_two_copies_does_not_give_the_payment_up() {
    let file = File::new();
    let shop = process(&file, |builder| builder).await;
    shop.behave(Behave::Fail);
    shop.send(paid("evt_1", "pi_1", "order-1")).await;
    shop.send(paid("evt_2", "pi_1", "order-1")).await;
    shop.checkout
        .discard(&shop.record("evt_2").await)
        .await
        .unwrap();
    assert_eq!(
        shop.payment("pi_1").await.success,
        FulfillmentStatus::Pending
    );
    shop.behave(Behave::Well);
    assert_eq!(shop.send(paid("evt_1", "pi_1", "order-1")).await, 200);
    assert_eq!(shop.effects().await, ["succeeded pi_1"]);
}

#[tokio::test]
async fn a_refund_before_its_success_waits_and_goes_on() {
    let file = File::new();
    let shop = process(&file, |builder| builder).await;
    let part = Amount::new(500, Currency::EUR);
    let back = || EventBody::new("refund.created", refund("re_1", "pi_1", part)).id("evt_r");
    for _ in 0..3 {
        assert_eq!(shop.send(back()).await, 503, "Stripe keeps it");
    }
    let waiting = shop.record("evt_r").await;
    assert_eq!(
        (waiting.state, waiting.attempts),
        (EventState::Pending, 0),
        "waiting is no attempt"
    );
    assert_eq!(shop.payment("pi_1").await.returned(), 500);
    assert_eq!(shop.send(paid("evt_1", "pi_1", "order-1")).await, 200);
    assert_eq!(shop.effects().await, ["succeeded pi_1", "refunded re_1"]);
    assert_eq!(shop.send(back()).await, 200);
    assert_eq!(shop.effects().await.len(), 2);
    // The whole payment is refunded, so it is not shipped.
    let all = EventBody::new("refund.created", refund("re_2", "pi_2", PRICE));
    shop.send(all).await;
    assert_eq!(shop.send(paid("evt_2", "pi_2", "order-2")).await, 200);
    assert_eq!(
        shop.effects().await[2..],
        ["refunded before pi_2", "refunded re_2"]
    );
}

/// The inbox prunes finished events one day. Their information about refunds and disputes must
/// stay.
#[tokio::test]
async fn what_an_event_said_outlives_it() {
    let file = File::new();
    let shop = process(&file, |builder| builder).await;
    let mut note = new_event("evt_r", "pi_1");
    note.settles = false;
    note.note = Some(PendingNote::RefundedTotal(1999));
    shop.inbox.receive(note).await.unwrap();
    let unchanged = Told::new(Verdict::Done {
        payment: shop.payment("pi_1").await,
        intent: None,
    });
    let turn = Which::Now("evt_r");
    shop.inbox
        .step(&scope(), turn, terms(), &*unchanged)
        .await
        .unwrap();
    sqlx::raw_sql("DELETE FROM stripe_checkout_events")
        .execute(&shop.pool)
        .await
        .unwrap();
    assert_eq!(shop.payment("pi_1").await.returned(), 1999);
    // The dispute was won after it was opened, and the later event is gone.
    for (id, status) in [
        ("evt_2", DisputeStatus::NeedsResponse),
        ("evt_3", DisputeStatus::Won),
    ] {
        let mut event = new_event(id, "pi_1");
        event.settles = false;
        event.note = Some(PendingNote::Dispute {
            id: "dp_1".to_owned(),
            status,
        });
        shop.inbox.receive(event).await.unwrap();
    }
    assert!(!shop.payment("pi_1").await.disputed());
    let unchanged = Told::new(Verdict::Done {
        payment: shop.payment("pi_1").await,
        intent: None,
    });
    let turn = Which::Now("evt_3");
    shop.inbox
        .step(&scope(), turn, terms(), &*unchanged)
        .await
        .unwrap();
    sqlx::raw_sql("DELETE FROM stripe_checkout_events WHERE id = 'evt_3'")
        .execute(&shop.pool)
        .await
        .unwrap();
    assert!(!shop.payment("pi_1").await.disputed());
    assert_eq!(shop.payment("pi_1").await.returned(), 1999);
}

#[tokio::test]
async fn money_that_does_not_fit_is_committed_as_such_and_listed() {
    let file = File::new();
    let shop = process(&file, |builder| builder).await;
    *shop.shop.due.lock().unwrap() = Due::Exactly(Amount::new(9999, Currency::EUR));
    assert_eq!(shop.send(paid("evt_1", "pi_1", "order-1")).await, 200);
    let reason = "the order costs 99.99 EUR, the payment is for 19.99 EUR";
    assert_eq!(shop.effects().await, [format!("mismatch pi_1: {reason}")]);
    let listed = shop
        .checkout
        .events(EventFilter::default().state(EventState::Mismatch))
        .await
        .unwrap();
    assert_eq!(
        (listed.len(), listed[0].last_error.as_deref()),
        (1, Some(reason))
    );
    assert_eq!(
        shop.payment("pi_1").await.success,
        FulfillmentStatus::Mismatch
    );
    *shop.shop.due.lock().unwrap() = Due::Exactly(PRICE);
    shop.checkout.replay(&listed[0]).await.unwrap();
    assert_eq!(shop.effects().await[1..], ["succeeded pi_1"]);
}

fn row(payment: Option<&str>) -> IntentRecord {
    IntentRecord {
        version: 77,
        attempt: 3,
        fingerprint: "f".repeat(64),
        request: stripe_checkout_core::fulfillment::RequestState::Sent,
        asked: Amount::new(i64::MAX.unsigned_abs(), Currency::JPY),
        payment: payment.map(str::to_owned),
        secret_hash: Some("hash".into()),
        state: IntentState::Open,
        paid_by: None,
        declines: 0,
        capture: None,
    }
}

#[tokio::test]
async fn events_and_orders_survive_a_restart() {
    let file = File::new();
    let shop = process(&file, |builder| builder).await;
    shop.behave(Behave::Fail);
    assert_eq!(shop.send(paid("evt_1", "pi_1", "order-1")).await, 500);
    shop.behave(Behave::Well);
    assert_eq!(shop.send(paid("evt_2", "pi_2", "order-2")).await, 200);
    let of_account = OrderKey {
        account: Some("acct_1".into()),
        ..order("order-9")
    };
    let put = async |order: &OrderKey, expected, payment| {
        shop.inbox
            .put_intent(order, expected, row(payment))
            .await
            .unwrap()
    };
    assert!(put(&order("order-9"), None, None).await);
    assert!(put(&of_account, None, Some("pi_8")).await);
    assert!(put(&order("order-9"), Some(1), Some("pi_9")).await);
    let before = (
        format!("{:?}", shop.record("evt_1").await),
        shop.inbox.intent(&order("order-9")).await.unwrap(),
    );
    shop.pool.close().await;
    drop(shop);

    let shop = process(&file, |builder| builder).await;
    let after = (
        format!("{:?}", shop.record("evt_1").await),
        shop.inbox.intent(&order("order-9")).await.unwrap(),
    );
    assert_eq!(before, after);
    let stored = after.1.unwrap();
    assert_eq!(
        stored,
        IntentRecord {
            version: 2,
            ..row(Some("pi_9"))
        }
    );
    // One open intent per order: a writer that does not know the row's version does not write it.
    for wrong in [None, Some(1), Some(3)] {
        let put = shop
            .inbox
            .put_intent(&order("order-9"), wrong, row(Some("pi_x")))
            .await;
        assert!(!put.unwrap());
    }
    let of_payment = async |payment: &str| {
        let found = shop.inbox.intent_of_payment(&scope(), payment).await;
        found.unwrap().map(|(order, row)| (order, row.version))
    };
    assert_eq!(of_payment("pi_9").await, Some((order("order-9"), 2)));
    assert_eq!(of_payment("pi_8").await, Some((of_account, 1)));
    assert_eq!(of_payment("pi_x").await, None);
    // Deliveries of finished events are known. The failed event goes on.
    assert_eq!(shop.send(paid("evt_2", "pi_2", "order-2")).await, 200);
    assert_eq!(shop.send(paid("evt_3", "pi_2", "order-2")).await, 200);
    assert_eq!(shop.send(paid("evt_1", "pi_1", "order-1")).await, 200);
    assert_eq!(shop.effects().await, ["succeeded pi_2", "succeeded pi_1"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_who_write_an_order_at_once_one_does() {
    let file = File::new();
    let shop = process(&file, |builder| builder).await;
    let other = process(&file, |builder| builder).await;
    for expected in [None, Some(1), Some(2)] {
        let writing: Vec<_> = (0..20)
            .map(|n| {
                let inbox = [&shop, &other][n % 2].inbox.clone();
                tokio::spawn(async move {
                    let row = row(Some(&format!("pi_{n}")));
                    inbox.put_intent(&order("order-1"), expected, row).await
                })
            })
            .collect();
        let mut won = 0;
        for one in writing {
            won += u32::from(one.await.unwrap().unwrap());
        }
        assert_eq!(won, 1, "{expected:?}");
    }
}

#[tokio::test]
async fn what_a_dead_process_had_is_due_when_its_lease_is_over() {
    let file = File::new();
    // The process dies with its only connection.
    let dying = on(file.pool(1).await, |builder| builder).await;
    let heir = process(&file, |builder| builder).await;
    dying
        .inbox
        .receive(new_event("evt_1", "pi_1"))
        .await
        .unwrap();
    let hangs = Told::hangs();
    let task = tokio::spawn({
        let (inbox, hangs) = (dying.inbox.clone(), Arc::clone(&hangs));
        async move { inbox.step(&scope(), Which::Due, terms(), &*hangs).await }
    });
    hangs.started.acquire().await.unwrap().forget();
    task.abort();
    assert!(task.await.unwrap_err().is_cancelled());

    let done = Told::done();
    // Its writes and its lock are gone, and its attempt counts.
    let nobody = heir.inbox.step(&scope(), Which::Due, terms(), &*done).await;
    assert!(nobody.unwrap().is_none(), "its lease is not over");
    let record = heir.record("evt_1").await;
    assert_eq!((record.state, record.attempts), (EventState::Pending, 1));
    assert!(record.due > SystemTime::now() + LONG / 2);
    heir.let_it_be_due("evt_1").await;
    let step = heir.inbox.step(&scope(), Which::Due, terms(), &*done).await;
    assert_eq!(step.unwrap().unwrap().did, Stepped::Now(EventState::Done));
    assert_eq!(heir.effects().await, ["ran evt_1"]);
    assert_eq!(heir.record("evt_1").await.attempts, 2);
    // The connections of the dead process work.
    dying
        .inbox
        .receive(new_event("evt_2", "pi_2"))
        .await
        .unwrap();
    let step = dying
        .inbox
        .step(&scope(), Which::Now("evt_2"), terms(), &*done)
        .await;
    assert_eq!(step.unwrap().unwrap().did, Stepped::Now(EventState::Done));
}

/// A process is killed in the middle of a handler, and another one continues with its data.
#[tokio::test]
async fn a_killed_process_leaves_nothing_half_done() {
    const FOLDER: &str = "STRIPE_CHECKOUT_TEST_FOLDER";
    if let Some(folder) = std::env::var_os(FOLDER) {
        let file = std::mem::ManuallyDrop::new(File(folder.into()));
        let shop = process(&file, |builder| builder).await;
        let hangs = Told::hangs();
        let running = shop.inbox.clone();
        let dispatch = Arc::clone(&hangs);
        tokio::spawn(async move {
            running
                .step(&scope(), Which::Due, terms(), &*dispatch)
                .await
        });
        hangs.started.acquire().await.unwrap().forget();
        std::fs::write(file.0.join("running"), "").unwrap();
        return std::future::pending().await;
    }
    let file = File::new();
    let shop = process(&file, |builder| builder).await;
    shop.inbox
        .receive(new_event("evt_1", "pi_1"))
        .await
        .unwrap();
    let mut child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_killed_process_leaves_nothing_half_done"])
        .env(FOLDER, &file.0)
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    until(async || file.0.join("running").exists()).await;
    let done = Told::done();
    let impatient = Terms::new(NOW, LONG, 3);
    let busy = shop
        .inbox
        .step(&scope(), Which::Now("evt_1"), impatient, &*done)
        .await;
    assert!(matches!(busy, Err(InboxError::Busy)), "{busy:?}");
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(shop.effects().await.is_empty());
    let record = shop.record("evt_1").await;
    assert_eq!((record.state, record.attempts), (EventState::Pending, 1));
    shop.let_it_be_due("evt_1").await;
    let step = shop.inbox.step(&scope(), Which::Due, terms(), &*done).await;
    assert_eq!(step.unwrap().unwrap().did, Stepped::Now(EventState::Done));
    assert_eq!(shop.effects().await, ["ran evt_1"]);
}

#[tokio::test]
async fn an_event_that_is_known_is_not_stored_again() {
    let file = File::new();
    let shop = process(&file, |builder| builder).await;
    let other = process(&file, |builder| builder).await;
    let mut first = new_event("evt_1", "pi_1");
    first.order = Some(order("order-1"));
    let first = shop.inbox.receive(first).await.unwrap();
    assert_eq!(
        (first.state, first.order),
        (EventState::Pending, Some(order("order-1")))
    );
    // From now on, the inbox knows to which order the payment belongs.
    let order_1 = order("order-1");
    let made = shop.inbox.put_intent(&order_1, None, row(None)).await;
    assert!(made.unwrap());
    let of_payment = shop.inbox.intent_of_payment(&scope(), "pi_1").await;
    assert_eq!(of_payment.unwrap().unwrap().0, order("order-1"));
    let done = Told::done();
    let step = shop.inbox.step(&scope(), Which::Due, terms(), &*done).await;
    step.unwrap().unwrap();
    let mut again = new_event("evt_1", "pi_9");
    again.order = Some(order("order-9"));
    let stored = other.inbox.receive(again).await.unwrap();
    assert_eq!(
        (stored.state, stored.payment.as_deref()),
        (EventState::Done, Some("pi_1"))
    );
    assert!(stored.body.is_empty());
    assert_eq!(shop.record("evt_1").await.state, EventState::Done);
    let of_payment = shop.inbox.intent_of_payment(&scope(), "pi_9").await;
    assert_eq!(of_payment.unwrap(), None);
}

#[tokio::test]
async fn an_event_that_takes_its_process_with_it_each_time_dies_without_running_again() {
    let file = File::new();
    let shop = process(&file, |builder| builder).await;
    shop.inbox
        .receive(new_event("evt_1", "pi_1"))
        .await
        .unwrap();
    let impatient = Terms::new(Duration::from_millis(100), LONG, 2);
    for attempt in 1..=2 {
        let hangs = Told::hangs();
        let task = tokio::spawn({
            let (inbox, hangs) = (shop.inbox.clone(), Arc::clone(&hangs));
            async move {
                inbox
                    .step(&scope(), Which::Now("evt_1"), terms(), &*hangs)
                    .await
            }
        });
        hangs.started.acquire().await.unwrap().forget();
        task.abort();
        let _ = task.await;
        assert_eq!(shop.record("evt_1").await.attempts, attempt);
    }
    let done = Told::done();
    // The other process may be alive, and about to begin its last attempt.
    let early = shop
        .inbox
        .step(&scope(), Which::Now("evt_1"), impatient, &*done)
        .await;
    assert!(matches!(early, Err(InboxError::Busy)), "{early:?}");
    shop.let_it_be_due("evt_1").await;
    let step = shop
        .inbox
        .step(&scope(), Which::Due, impatient, &*done)
        .await;
    assert_eq!(step.unwrap().unwrap().did, Stepped::Now(EventState::Dead));
    assert_eq!((done.ran(), shop.effects().await.len()), (0, 0));
    let record = shop.record("evt_1").await;
    assert_eq!((record.state, record.attempts), (EventState::Dead, 2));
    assert!(
        record
            .last_error
            .unwrap()
            .contains("did not come to its end")
    );
    assert_eq!(shop.payment("pi_1").await.success, FulfillmentStatus::Dead);
    let replayed = shop.checkout.replay(&shop.record("evt_1").await).await;
    replayed.unwrap();
    assert_eq!(shop.effects().await, ["succeeded pi_1"]);
}

#[tokio::test]
async fn an_attempt_without_a_hook_is_given_back() {
    let file = File::new();
    let shop = process(&file, |builder| builder).await;
    let other = process(&file, |builder| builder).await;
    let hangs = Told::hangs();
    shop.inbox
        .receive(new_event("evt_1", "pi_1"))
        .await
        .unwrap();
    shop.inbox
        .receive(new_event("evt_2", "pi_1"))
        .await
        .unwrap();
    let before = shop.record("evt_2").await;
    let task = tokio::spawn({
        let (inbox, hangs) = (shop.inbox.clone(), Arc::clone(&hangs));
        async move {
            inbox
                .step(&scope(), Which::Now("evt_1"), terms(), &*hangs)
                .await
        }
    });
    hangs.started.acquire().await.unwrap().forget();
    let done = Told::done();
    for inbox in [&shop.inbox, &other.inbox] {
        for patience in [NOW, Duration::from_millis(100)] {
            let terms = Terms::new(patience, LONG, 3);
            let began = Instant::now();
            let busy = inbox
                .step(&scope(), Which::Now("evt_2"), terms, &*done)
                .await;
            assert!(matches!(busy, Err(InboxError::Busy)), "{busy:?}");
            assert!(began.elapsed() < Duration::from_secs(4));
        }
    }
    // A reader does not wait.
    let after = shop.record("evt_2").await;
    assert_eq!(format!("{before:?}"), format!("{after:?}"));
    let discarded = shop.inbox.discard(&scope(), "evt_2", NOW).await;
    assert!(matches!(discarded, Err(InboxError::Busy)));
    let replayed = shop.inbox.replay(&scope(), "evt_2", NOW).await;
    assert!(matches!(replayed, Err(InboxError::Busy)));
    hangs.release.add_permits(1);
    task.await.unwrap().unwrap();
    let waiting = Verdict::Waiting {
        again: LONG,
        reason: None,
    };
    for verdict in [waiting, Verdict::Superseded] {
        let told = Told::new(verdict);
        let turn = Which::Now("evt_2");
        other
            .inbox
            .step(&scope(), turn, terms(), &*told)
            .await
            .unwrap();
        assert_eq!(shop.record("evt_2").await.attempts, 0);
    }
}

/// As if another process claimed the event between our claim and the start of our transaction.
#[tokio::test]
async fn an_event_that_was_taken_by_somebody_else_meanwhile_is_theirs() {
    let file = File::new();
    let shop = process(&file, |builder| builder).await;
    shop.inbox
        .receive(new_event("evt_1", "pi_1"))
        .await
        .unwrap();
    sqlx::raw_sql(
        "CREATE TRIGGER thief AFTER UPDATE OF claim ON stripe_checkout_events WHEN NEW.claim = 1 BEGIN \
         UPDATE stripe_checkout_events SET claim = 2, attempts = attempts + 1 WHERE rowid = NEW.rowid; END",
    )
    .execute(&shop.pool)
    .await
    .unwrap();
    let done = Told::done();
    let turn = Which::Now("evt_1");
    let impatient = Terms::new(NOW, LONG, 3);
    let busy = shop.inbox.step(&scope(), turn, impatient, &*done).await;
    assert!(matches!(busy, Err(InboxError::Busy)), "{busy:?}");
    let record = shop.record("evt_1").await;
    assert_eq!(
        (record.attempts, done.ran()),
        (1, 0),
        "only the thief's counts"
    );
    assert!(record.due > SystemTime::now());
    // The other process died.
    let step = shop.inbox.step(&scope(), turn, terms(), &*done).await;
    assert_eq!(step.unwrap().unwrap().did, Stepped::Now(EventState::Done));
    assert_eq!(shop.effects().await, ["ran evt_1"]);
}

#[tokio::test]
async fn an_event_that_somebody_else_finished_meanwhile_does_not_run() {
    let file = File::new();
    let shop = process(&file, |builder| builder).await;
    shop.inbox
        .receive(new_event("evt_1", "pi_1"))
        .await
        .unwrap();
    sqlx::raw_sql(
        "CREATE TRIGGER faster AFTER UPDATE OF claim ON stripe_checkout_events WHEN NEW.claim = 1 BEGIN \
         UPDATE stripe_checkout_events SET state = 'done' WHERE rowid = NEW.rowid; END",
    )
    .execute(&shop.pool)
    .await
    .unwrap();
    let done = Told::done();
    let step = shop.inbox.step(&scope(), Which::Due, terms(), &*done).await;
    assert_eq!(
        step.unwrap().unwrap().did,
        Stepped::Already(EventState::Done)
    );
    assert_eq!(done.ran(), 0);
}

#[tokio::test]
async fn an_event_whose_payment_cannot_be_read_has_not_been_tried() {
    let file = File::new();
    let shop = process(&file, |builder| builder).await;
    shop.inbox
        .receive(new_event("evt_1", "pi_1"))
        .await
        .unwrap();
    sqlx::raw_sql("INSERT INTO stripe_checkout_payments (application, mode, id, success, capturable, canceled, refunds, refunded_total, disputes) VALUES ('tea', 'test', 'pi_1', 'sold', 0, 0, '{}', 0, '{}')")
        .execute(&shop.pool)
        .await
        .unwrap();
    let done = Told::done();
    for _ in 0..5 {
        let step = shop.inbox.step(&scope(), Which::Due, terms(), &*done).await;
        assert!(matches!(step, Err(InboxError::Unavailable(_))), "{step:?}");
        let after = shop.record("evt_1").await;
        assert_eq!((after.state, after.attempts), (EventState::Pending, 0));
        // The event lets others go first.
        assert!(after.due > SystemTime::now());
        sqlx::raw_sql("UPDATE stripe_checkout_events SET due = received")
            .execute(&shop.pool)
            .await
            .unwrap();
    }
    sqlx::raw_sql("DELETE FROM stripe_checkout_payments")
        .execute(&shop.pool)
        .await
        .unwrap();
    let step = shop.inbox.step(&scope(), Which::Due, terms(), &*done).await;
    assert_eq!(step.unwrap().unwrap().did, Stepped::Now(EventState::Done));
}

/// A delivery waits without a connection, so that the rest of the shop goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn waiting_takes_nothing_of_the_pool() {
    let file = File::new();
    let shop = on(file.pool(2).await, |builder| builder).await;
    shop.behave(Behave::Hang);
    let mut deliveries = vec![shop.sending(paid("evt_0", "pi_0", "order-0"))];
    shop.shop.started.acquire().await.unwrap().forget();
    for n in 1..20 {
        deliveries.push(shop.sending(paid(
            &format!("evt_{n}"),
            &format!("pi_{n}"),
            &format!("order-{n}"),
        )));
    }
    let began = Instant::now();
    // Each delivery has used a connection to check whether its event is known.
    for _ in 0..200 {
        assert!(shop.effects().await.is_empty());
    }
    assert!(began.elapsed() < Duration::from_secs(5), "the shop waits");
    shop.shop.release.add_permits(20);
    for delivery in deliveries {
        assert_eq!(delivery.await.unwrap(), 200);
    }
    assert_eq!(shop.effects().await.len(), 20);
}

#[tokio::test]
async fn what_has_been_due_longest_runs_first_and_what_is_not_due_does_not() {
    let file = File::new();
    let shop = process(&file, |builder| builder).await;
    let early = SystemTime::now() - Duration::from_secs(60);
    for (n, id) in ["evt_b", "evt_a", "evt_c", "evt_later"]
        .into_iter()
        .enumerate()
    {
        let mut event = new_event(id, &format!("pi_{n}"));
        event.received = early + Duration::from_secs(10 * n as u64);
        shop.inbox.receive(event).await.unwrap();
    }
    sqlx::raw_sql("UPDATE stripe_checkout_events SET due = due + 3600000000 WHERE id = 'evt_later'; UPDATE stripe_checkout_events SET due = 1 WHERE id = 'evt_c'")
        .execute(&shop.pool)
        .await
        .unwrap();
    let done = Told::done();
    let mut ran = Vec::new();
    while let Some(step) = shop
        .inbox
        .step(&scope(), Which::Due, terms(), &*done)
        .await
        .unwrap()
    {
        ran.push(step.event.id);
    }
    assert_eq!(ran, ["evt_c", "evt_b", "evt_a"]);
    let turn = Which::Now("evt_nowhere");
    let unknown = shop.inbox.step(&scope(), turn, terms(), &*done).await;
    assert!(matches!(unknown, Err(InboxError::UnknownEvent)));
    let failing = Told::new(Verdict::Failed {
        cause: stripe_checkout_core::fulfillment::Cause::Handler,
        error: "no".into(),
        again: Some(LONG),
    });
    let turn = Which::Now("evt_later");
    let failed = shop.inbox.step(&scope(), turn, terms(), &*failing).await;
    assert_eq!(failed.unwrap().unwrap().did, Stepped::Failed);
    let due = shop.record("evt_later").await.due;
    assert!(due > SystemTime::now() + LONG / 2 && due < SystemTime::now() + 2 * LONG);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_processes_on_one_file_never_run_one_event_twice() {
    let file = File::new();
    let processes = [
        process(&file, |builder| builder).await,
        process(&file, |builder| builder).await,
    ];
    for n in 0..30 {
        let event = new_event(&format!("evt_{n}"), &format!("pi_{}", n % 10));
        processes[0].inbox.receive(event).await.unwrap();
    }
    let done = Told::done();
    let working: Vec<_> = (0..8)
        .map(|n| {
            let inbox = processes[n % 2].inbox.clone();
            let done = Arc::clone(&done);
            tokio::spawn(async move {
                loop {
                    match inbox.step(&scope(), Which::Due, terms(), &*done).await {
                        Ok(None) => return,
                        Ok(Some(_)) | Err(InboxError::Busy) => {}
                        Err(error) => panic!("{error:?}"),
                    }
                }
            })
        })
        .collect();
    for one in working {
        one.await.unwrap();
    }
    let mut effects = processes[1].effects().await;
    effects.sort();
    let mut expected: Vec<_> = (0..30).map(|n| format!("ran evt_{n}")).collect();
    expected.sort();
    assert_eq!((effects, done.ran()), (expected, 30));
    for n in 0..30 {
        assert_eq!(processes[0].record(&format!("evt_{n}")).await.attempts, 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn queued_events_are_answered_at_once_and_run_by_workers() {
    let file = File::new();
    let shops = [
        process(&file, CheckoutBuilder::queued).await,
        process(&file, CheckoutBuilder::queued).await,
    ];
    shops[0].behave(Behave::Fail);
    shops[1].behave(Behave::Fail);
    for n in 0..10 {
        let event = paid(
            &format!("evt_{n}"),
            &format!("pi_{n}"),
            &format!("order-{n}"),
        );
        assert_eq!(shops[n % 2].send(event).await, 200);
    }
    assert!(shops[0].effects().await.is_empty(), "nobody works yet");
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let workers: Vec<_> = shops
        .iter()
        .map(|shop| {
            let mut stopped = stopped.clone();
            let worker = shop.checkout.worker().interval(Duration::from_millis(10));
            tokio::spawn(worker.run(async move { drop(stopped.wait_for(|stop| *stop).await) }))
        })
        .collect();
    let calls = || {
        shops
            .iter()
            .map(|shop| shop.shop.calls.load(Ordering::Relaxed))
            .sum::<u32>()
    };
    until(async || calls() > 3).await;
    shops[0].behave(Behave::Well);
    shops[1].behave(Behave::Well);
    until(async || {
        let filter = EventFilter::default().state(EventState::Done);
        shops[0].inbox.events(&filter).await.unwrap().len() == 10
    })
    .await;
    stop.send(true).unwrap();
    for worker in workers {
        worker.await.unwrap();
    }
    let mut effects = shops[0].effects().await;
    effects.sort();
    let expected: Vec<_> = (0..10).map(|n| format!("succeeded pi_{n}")).collect();
    assert_eq!(effects, expected);
}

/// Waits until the condition holds. Fails after far longer than that should take.
async fn until(mut is_so: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !is_so().await {
        assert!(began.elapsed() < LONG, "it did not come to be");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_handler_that_breaks_its_transaction_leaves_nothing_but_a_dead_letter() {
    let cases = [
        Behave::Say("COMMIT"),
        Behave::SayAndGoOn("COMMIT"),
        Behave::Say("ROLLBACK"),
        Behave::SayAndGoOn("ROLLBACK"),
        Behave::Say(
            "ROLLBACK; BEGIN IMMEDIATE; INSERT INTO effects (what) VALUES ('by itself'); COMMIT",
        ),
        Behave::Say("RELEASE stripe_checkout_handler"),
        Behave::LeaveOneOpen,
        Behave::NestedAndForgotten,
        Behave::Say(
            "CREATE TEMP TABLE once (n UNIQUE); INSERT INTO once VALUES (1); INSERT OR ROLLBACK INTO once VALUES (1)",
        ),
        Behave::SayAndGoOn(
            "CREATE TEMP TABLE once (n UNIQUE); INSERT INTO once VALUES (1); INSERT OR ROLLBACK INTO once VALUES (1)",
        ),
    ];
    for connections in [1, 5] {
        for behave in cases {
            let file = File::new();
            let shop = on(file.pool(connections).await, |builder| builder).await;
            shop.behave(behave);
            assert_eq!(
                shop.send(paid("evt_1", "pi_1", "order-1")).await,
                500,
                "{behave:?}"
            );
            let record = shop.record("evt_1").await;
            assert_eq!(
                (record.state, record.attempts),
                (EventState::Dead, 1),
                "{behave:?}"
            );
            let error = record.last_error.clone().unwrap();
            assert!(
                error.starts_with("broken_transaction: "),
                "{behave:?}: {error}"
            );
            assert!(shop.effects().await.is_empty(), "{behave:?}");
            assert_eq!(shop.payment("pi_1").await.success, FulfillmentStatus::Dead);
            // The event does not run again by itself, all connections work, and an operator can run
            // it.
            assert_eq!(shop.send(paid("evt_1", "pi_1", "order-1")).await, 500);
            assert!(!shop.checkout.run_due().await.unwrap());
            assert_eq!(shop.shop.calls.load(Ordering::Relaxed), 1, "{behave:?}");
            shop.behave(Behave::Well);
            for n in 2..8 {
                let event = paid(
                    &format!("evt_{n}"),
                    &format!("pi_{n}"),
                    &format!("order-{n}"),
                );
                assert_eq!(shop.send(event).await, 200);
            }
            shop.checkout.replay(&record).await.unwrap();
            assert_eq!(shop.effects().await.len(), 7, "{behave:?}");
            assert_eq!(shop.effects().await[6], "succeeded pi_1");
            let mut connections = Vec::new();
            for _ in 0..shop.pool.options().get_max_connections() {
                connections.push(shop.pool.acquire().await.unwrap());
            }
            for connection in &mut connections {
                effect(connection, "by the merchant").await.unwrap();
            }
        }
    }
}

#[tokio::test]
async fn a_transaction_inside_of_the_handlers_is_welcome() {
    let file = File::new();
    let shop = process(&file, |builder| builder).await;
    shop.behave(Behave::Nested);
    assert_eq!(shop.send(paid("evt_1", "pi_1", "order-1")).await, 200);
    assert_eq!(shop.effects().await, ["succeeded pi_1", "inner, kept"]);
    // SQLite refuses a plain BEGIN inside a transaction, and that breaks nothing.
    shop.behave(Behave::Say("BEGIN"));
    assert_eq!(shop.send(paid("evt_2", "pi_2", "order-2")).await, 500);
    let record = shop.record("evt_2").await;
    assert_eq!(record.state, EventState::Pending);
    assert_eq!(shop.effects().await.len(), 2);
}

#[tokio::test]
async fn what_is_refused_only_at_the_commit_is_an_ordinary_failure() {
    let file = File::new();
    let shop = process(&file, |builder| builder.max_attempts(2)).await;
    sqlx::raw_sql("CREATE TABLE parents (id PRIMARY KEY); CREATE TABLE children (parent REFERENCES parents DEFERRABLE INITIALLY DEFERRED)")
        .execute(&shop.pool)
        .await
        .unwrap();
    shop.behave(Behave::Say("INSERT INTO children VALUES (7)"));
    assert_eq!(shop.send(paid("evt_1", "pi_1", "order-1")).await, 500);
    let record = shop.record("evt_1").await;
    assert_eq!((record.state, record.attempts), (EventState::Pending, 1));
    assert!(
        record
            .last_error
            .unwrap()
            .contains("FOREIGN KEY constraint failed")
    );
    assert!(record.due > SystemTime::now() - Duration::from_secs(60));
    assert_eq!(shop.send(paid("evt_1", "pi_1", "order-1")).await, 500);
    assert_eq!(shop.record("evt_1").await.state, EventState::Dead);
    assert!(shop.effects().await.is_empty());
    shop.behave(Behave::Well);
    shop.checkout
        .replay(&shop.record("evt_1").await)
        .await
        .unwrap();
    assert_eq!(shop.effects().await, ["succeeded pi_1"]);
}

#[tokio::test]
async fn a_full_disk_is_not_the_handlers_fault() {
    let file = File::new();
    let shop = process(&file, |builder| builder).await;
    shop.behave(Behave::Full);
    assert_eq!(shop.send(paid("evt_1", "pi_1", "order-1")).await, 500);
    let record = shop.record("evt_1").await;
    assert_eq!((record.state, record.attempts), (EventState::Pending, 1));
    let error = record.last_error.unwrap();
    assert!(error.contains("database or disk is full"), "{error}");
    shop.behave(Behave::Well);
    assert_eq!(shop.send(paid("evt_1", "pi_1", "order-1")).await, 200);
    assert_eq!(shop.effects().await, ["succeeded pi_1"]);
}

#[tokio::test]
async fn a_handler_that_uses_its_own_pool_is_told_why_it_waits() {
    for connections in [1, 5] {
        let file = File::new();
        let options = file
            .options()
            .busy_timeout(Duration::from_millis(if connections == 1 {
                5000
            } else {
                50
            }));
        let pool = SqlitePoolOptions::new()
            .max_connections(connections)
            .connect_with(options)
            .await
            .unwrap();
        let shop = on(pool, |builder| {
            builder.handler_deadline(Duration::from_secs(1))
        })
        .await;
        shop.behave(Behave::OwnPool);
        assert_eq!(shop.send(paid("evt_1", "pi_1", "order-1")).await, 500);
        let record = shop.record("evt_1").await;
        assert_eq!(record.state, EventState::Pending);
        let error = record.last_error.unwrap();
        let cause = if connections == 1 {
            "did not end within"
        } else {
            "database is locked"
        };
        assert!(error.contains(cause), "{error}");
        assert!(
            error.contains("a handler must use the connection that it is given"),
            "{error}"
        );
        assert!(shop.effects().await.is_empty());
        shop.behave(Behave::Well);
        assert_eq!(shop.send(paid("evt_1", "pi_1", "order-1")).await, 200);
    }
}

#[tokio::test]
async fn applications_and_modes_on_one_database_do_not_see_each_other() {
    let file = File::new();
    let keys = |mode: &str| {
        let secret_key = SecretKey::new(format!("sk_{mode}_1")).unwrap();
        let publishable = PublishableKey::new(format!("pk_{mode}_1")).unwrap();
        Config::new([secret()])
            .unwrap()
            .with_keys(secret_key, publishable)
            .unwrap()
    };
    let pool = file.pool(5).await;
    let tea = on(pool.clone(), |builder| builder).await;
    let shop_of = |application: &str, mode: &str| {
        Checkout::builder(keys(mode))
            .application(application)
            .ownership(Ownership::AllPayments)
            .queued()
            .fulfillment(tea.inbox.clone(), tea.shop.clone())
            .build()
            .unwrap()
    };
    let shops = [
        ("tea", "test", shop_of("tea", "test")),
        ("coffee", "test", shop_of("coffee", "test")),
        ("tea", "live", shop_of("tea", "live")),
    ];
    for (application, mode, shop) in &shops {
        let webhook = shop.only(Group::Webhook).endpoints()[0].clone();
        let payment = format!("pi_{application}_{mode}");
        // Each has the same event id and the same order.
        let body = EventBody::new(
            "payment_intent.succeeded",
            PaymentIntent::new(&payment, PRICE)
                .metadata("order_id", "order-1")
                .livemode(*mode == "live")
                .status("succeeded")
                .object(),
        )
        .id("evt_1")
        .body();
        let header = sign(&body, &secret(), now());
        let call = Call::new(&webhook)
            .header("Stripe-Signature", header.as_bytes())
            .body(Body::whole(&body, webhook.body_limit()));
        assert_eq!(shop.handle(call).await.status(), 200);
    }
    for (n, (application, mode, shop)) in shops.iter().enumerate() {
        assert!(shop.run_due().await.unwrap());
        assert!(!shop.run_due().await.unwrap(), "only its own");
        let expected = format!("succeeded pi_{application}_{mode}");
        assert_eq!(tea.effects().await[n..], [expected]);
        let events = shop.events(EventFilter::default()).await.unwrap();
        assert_eq!((events.len(), events[0].state), (1, EventState::Done));
        assert_eq!(events[0].scope.application, *application);
    }
    // An application without keys has both modes, but no other application's events.
    let all = tea.checkout.events(EventFilter::default()).await.unwrap();
    let mut all: Vec<_> = all.into_iter().map(|event| event.scope).collect();
    all.sort_by_key(|scope| scope.mode.is_live());
    let live = Scope {
        mode: Mode::Live,
        ..scope()
    };
    assert_eq!(all, [scope(), live]);
    let newest = tea.checkout.events(EventFilter::default().limit(1)).await;
    assert_eq!(newest.unwrap().len(), 1);
    let mine = order("order-1");
    let paid_by = |row: Option<IntentRecord>| row.unwrap().paid_by.unwrap();
    assert_eq!(
        paid_by(tea.inbox.intent(&mine).await.unwrap()),
        "pi_tea_test"
    );
    let foreign = tea.inbox.payment(&scope(), "pi_coffee_test").await;
    assert!(foreign.unwrap().is_none());
    let foreign = tea.inbox.intent_of_payment(&scope(), "pi_tea_live").await;
    assert!(foreign.unwrap().is_none());
}

#[tokio::test]
async fn bodies_go_when_their_event_is_over_and_no_client_secret_is_ever_stored() {
    let file = File::new();
    let shop = process(&file, |builder| builder.max_attempts(2)).await;
    let secret_of = "pi_1_secret_YrKJUKribcBjcG8HVhfZluoGH";
    let with_secret = |event: &str, payment: &str| {
        let object = PaymentIntent::new(payment, PRICE)
            .metadata("order_id", "order-1")
            .status("succeeded")
            .with("client_secret", secret_of)
            .object();
        EventBody::new("payment_intent.succeeded", object).id(event)
    };
    let body = async |event: &str| shop.record(event).await.body;
    shop.behave(Behave::Fail);
    shop.send(with_secret("evt_1", "pi_1")).await;
    assert!(!body("evt_1").await.is_empty(), "it will be needed again");
    shop.send(with_secret("evt_1", "pi_1")).await;
    assert_eq!(shop.record("evt_1").await.state, EventState::Dead);
    assert!(!body("evt_1").await.is_empty(), "it may be replayed");
    // The secret is in none of the files, whatever their names are.
    for entry in std::fs::read_dir(&file.0).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        let found = bytes
            .windows(25)
            .any(|window| window == b"YrKJUKribcBjcG8HVhfZluoGH");
        assert!(!found);
    }
    shop.checkout
        .discard(&shop.record("evt_1").await)
        .await
        .unwrap();
    shop.behave(Behave::Well);
    shop.send(with_secret("evt_2", "pi_2")).await;
    shop.send(with_secret("evt_3", "pi_2")).await;
    for (event, state) in [
        ("evt_1", EventState::Discarded),
        ("evt_2", EventState::Done),
        ("evt_3", EventState::Superseded),
    ] {
        assert_eq!(shop.record(event).await.state, state);
        assert!(body(event).await.is_empty(), "{event}");
    }
    *shop.shop.due.lock().unwrap() = Due::Exactly(Amount::new(1, Currency::EUR));
    shop.send(paid("evt_4", "pi_4", "order-4")).await;
    assert!(!body("evt_4").await.is_empty(), "somebody must look at it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn migrations_may_run_twice_by_many_at_once_and_by_hand() {
    for _ in 0..5 {
        let file = File::new();
        let migrating: Vec<_> = (0..6)
            .map(|_| {
                let options = file.options();
                tokio::spawn(async move {
                    let pool = SqlitePoolOptions::new()
                        .max_connections(2)
                        .connect_with(options)
                        .await
                        .unwrap();
                    let inbox = SqliteInbox::new(pool);
                    inbox.migrate().await.unwrap();
                    inbox.migrate().await.unwrap();
                })
            })
            .collect();
        for one in migrating {
            one.await.unwrap();
        }
        let shop = process(&file, |builder| builder).await;
        assert_eq!(shop.send(paid("evt_1", "pi_1", "order-1")).await, 200);
        let versions: Vec<i64> =
            sqlx::query_scalar("SELECT version FROM stripe_checkout_migrations")
                .fetch_all(&shop.pool)
                .await
                .unwrap();
        assert_eq!(versions, [1]);
        // A later version of this crate migrated the file. A running process goes on, and no
        // process starts.
        sqlx::raw_sql("INSERT INTO stripe_checkout_migrations VALUES (99)")
            .execute(&shop.pool)
            .await
            .unwrap();
        let refused = shop.inbox.migrate().await.unwrap_err();
        assert!(matches!(refused, InboxError::NewerTables { found: 99, .. }));
        assert_eq!(shop.send(paid("evt_2", "pi_2", "order-2")).await, 200);
    }
    let file = File::new();
    let pool = SqlitePoolOptions::new()
        .connect_with(file.options().journal_mode(SqliteJournalMode::Wal))
        .await
        .unwrap();
    for _ in 0..2 {
        for migration in SqliteInbox::MIGRATIONS {
            sqlx::raw_sql(*migration).execute(&pool).await.unwrap();
        }
    }
    let inbox = SqliteInbox::new(pool);
    let stored = inbox.receive(new_event("evt_1", "pi_1")).await.unwrap();
    assert_eq!(stored.state, EventState::Pending);
}

#[tokio::test]
async fn a_migration_waits_for_whoever_reads() {
    let file = File::new();
    let reading = file.pool(1).await;
    sqlx::raw_sql(
        "CREATE TABLE goods (id); INSERT INTO goods VALUES (1); BEGIN; SELECT * FROM goods",
    )
    .execute(&reading)
    .await
    .unwrap();
    let options = file.options().busy_timeout(Duration::from_millis(1));
    let pool = SqlitePoolOptions::new()
        .connect_with(options)
        .await
        .unwrap();
    let inbox = SqliteInbox::new(pool);
    let mut migrating = tokio::spawn({
        let inbox = inbox.clone();
        async move { inbox.migrate().await }
    });
    // The mode of the file cannot change while another connection reads.
    let early = tokio::time::timeout(Duration::from_millis(300), &mut migrating).await;
    assert!(early.is_err(), "{early:?}");
    sqlx::raw_sql("COMMIT").execute(&reading).await.unwrap();
    migrating.await.unwrap().unwrap();
    inbox.receive(new_event("evt_1", "pi_1")).await.unwrap();
}

#[tokio::test]
async fn tables_of_a_newer_version_are_refused() {
    let file = File::new();
    let pool = file.pool(2).await;
    let missing = SqliteInbox::open(pool.clone()).await.unwrap_err();
    assert!(
        matches!(missing, InboxError::OlderTables { found: 0, .. }),
        "{missing:?}"
    );
    let inbox = SqliteInbox::migrated(pool.clone()).await.unwrap();
    SqliteInbox::open(pool.clone()).await.unwrap();
    sqlx::raw_sql("INSERT INTO stripe_checkout_migrations (version) VALUES (99)")
        .execute(&pool)
        .await
        .unwrap();
    for refused in [inbox.migrate().await, inbox.check().await] {
        let refused = refused.unwrap_err();
        assert!(
            matches!(refused, InboxError::NewerTables { found: 99, .. }),
            "{refused:?}"
        );
    }
}

#[tokio::test]
async fn a_database_that_would_forget_is_refused() {
    let memory = SqlitePool::connect("sqlite::memory:").await.unwrap();
    let refused = SqliteInbox::new(memory).migrate().await.unwrap_err();
    assert!(
        format!("{refused:?}").contains("in mode `memory`"),
        "{refused:?}"
    );
    let file = File::new();
    let pool = file.pool(2).await;
    for migration in SqliteInbox::MIGRATIONS {
        sqlx::raw_sql(*migration).execute(&pool).await.unwrap();
    }
    let refused = SqliteInbox::new(pool)
        .receive(new_event("evt_1", "pi_1"))
        .await;
    assert!(
        format!("{refused:?}").contains("in mode `delete`"),
        "{refused:?}"
    );
    assert!(
        SqliteInbox::new(file.pool(1).await)
            .limits()
            .survives_restart
    );
}

#[tokio::test]
async fn what_is_acknowledged_is_on_the_disk_and_the_pool_gets_its_settings_back() {
    let file = File::new();
    let options = file
        .options()
        .synchronous(SqliteSynchronous::Off)
        .busy_timeout(Duration::from_millis(1234));
    let pool = SqlitePoolOptions::new()
        .max_connections(1)
        .connect_with(options)
        .await
        .unwrap();
    let shop = on(pool, |builder| builder).await;
    shop.behave(Behave::SayNothingOfPragmas);
    assert_eq!(shop.send(paid("evt_1", "pi_1", "order-1")).await, 200);
    assert_eq!(shop.shop.synchronous.load(Ordering::Relaxed), 2);
    shop.behave(Behave::Fail);
    assert_eq!(shop.send(paid("evt_2", "pi_2", "order-2")).await, 500);
    assert_eq!(settings(&shop.pool).await, (0, 1234));
    // The same holds if the work ends between two transactions.
    shop.inbox
        .receive(new_event("evt_3", "pi_3"))
        .await
        .unwrap();
    let mut session = shop.inbox.session();
    let claim = Claim::IfDue("evt_3");
    let claimed = session.claim(&scope(), claim, terms()).await.unwrap();
    assert!(claimed.is_some());
    drop(session);
    assert_eq!(settings(&shop.pool).await, (0, 1234));
}

/// Returns the settings of a connection of the pool: `synchronous` and `busy_timeout`.
async fn settings(pool: &SqlitePool) -> (i64, i64) {
    sqlx::query_as(
        "SELECT (SELECT synchronous FROM pragma_synchronous), (SELECT timeout FROM pragma_busy_timeout)",
    )
    .fetch_one(pool)
    .await
    .unwrap()
}

/// The transaction of such an event reads before it writes.
#[tokio::test]
async fn an_event_without_a_payment_keeps_others_from_writing() {
    let file = File::new();
    let shop = process(&file, |builder| builder).await;
    let mut event = new_event("evt_1", "pi_1");
    event.payment = None;
    event.settles = false;
    let event = shop.inbox.receive(event).await.unwrap();
    let mut session = shop.inbox.session();
    let begun = session.begin(&event, LONG).await.unwrap();
    let options = file.options().busy_timeout(NOW);
    let mut other = SqliteConnection::connect_with(&options).await.unwrap();
    let writing = sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut other).await;
    assert!(begun.is_some() && writing.is_err(), "{writing:?}");
}

/// The merchant's code left a connection of the pool in the middle of a transaction.
#[tokio::test]
async fn a_connection_in_an_odd_state_does_not_lose_an_event() {
    for by in ["raw", "forgotten"] {
        let file = File::new();
        let shop = on(file.pool(1).await, |builder| builder).await;
        let mut connection = shop.pool.acquire().await.unwrap();
        if by == "raw" {
            sqlx::raw_sql("BEGIN")
                .execute(&mut *connection)
                .await
                .unwrap();
        } else {
            std::mem::forget(connection.begin().await.unwrap());
        }
        drop(connection);
        let mut answers = Vec::new();
        while answers.last() != Some(&200) && answers.len() < 3 {
            answers.push(shop.send(paid("evt_1", "pi_1", "order-1")).await);
        }
        assert_eq!(answers.last(), Some(&200), "{by}: {answers:?}");
        shop.pool.close().await;
        let shop = process(&file, |builder| builder).await;
        assert_eq!(shop.effects().await, ["succeeded pi_1"], "{by}");
        assert_eq!(shop.record("evt_1").await.state, EventState::Done);
    }
}

#[tokio::test]
async fn a_client_that_hangs_up_does_not_cut_off_a_fulfilment() {
    let file = File::new();
    let shop = process(&file, |builder| builder).await;
    shop.behave(Behave::Hang);
    let client = shop.sending(paid("evt_1", "pi_1", "order-1"));
    shop.shop.started.acquire().await.unwrap().forget();
    client.abort();
    assert!(client.await.unwrap_err().is_cancelled());
    shop.shop.release.add_permits(1);
    shop.checkout.drain().await;
    assert_eq!(shop.effects().await, ["succeeded pi_1"]);
    assert_eq!(shop.record("evt_1").await.state, EventState::Done);
}

/// A later version of this crate may have written the row.
#[tokio::test]
async fn a_row_that_cannot_be_read_does_not_stop_the_queue() {
    let file = File::new();
    let shop = process(&file, |builder| builder).await;
    shop.inbox
        .receive(new_event("evt_1", "pi_1"))
        .await
        .unwrap();
    shop.inbox
        .receive(new_event("evt_2", "pi_2"))
        .await
        .unwrap();
    sqlx::raw_sql("INSERT INTO stripe_checkout_payments (application, mode, id, success, capturable, canceled, refunds, refunded_total, disputes) VALUES ('tea', 'test', 'pi_1', 'sold', 0, 0, '{}', 0, '{}')")
        .execute(&shop.pool)
        .await
        .unwrap();
    let done = Told::done();
    for _ in 0..10 {
        let _ = shop.inbox.step(&scope(), Which::Due, terms(), &*done).await;
    }
    assert_eq!(shop.record("evt_2").await.state, EventState::Done);
}

/// We cut off the handler's write, but SQLite does not: there it waits for our lock.
#[tokio::test]
async fn what_a_handler_began_by_its_own_pool_is_not_committed_after_it_failed() {
    let file = File::new();
    let shop = process(&file, |builder| {
        builder.handler_deadline(Duration::from_secs(1))
    })
    .await;
    shop.behave(Behave::OwnPool);
    assert_eq!(shop.send(paid("evt_1", "pi_1", "order-1")).await, 500);
    // The remaining write ends, one way or the other, within the time that SQLite waits.
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(shop.effects().await, Vec::<String>::new());
}

#[tokio::test]
async fn an_application_that_changed_its_name_does_not_ship_again_what_is_delivered_again() {
    let file = File::new();
    let before = process(&file, |builder| builder).await;
    assert_eq!(before.send(paid("evt_1", "pi_1", "order-1")).await, 200);
    let after = process(&file, |builder| {
        builder.application("coffee").former_application("tea")
    })
    .await;
    assert_eq!(after.send(paid("evt_1", "pi_1", "order-1")).await, 200);
    assert_eq!(after.effects().await, ["succeeded pi_1"]);
}

#[tokio::test]
async fn an_application_that_changed_its_name_runs_what_it_acknowledged_before() {
    let file = File::new();
    let before = process(&file, |builder| builder.queued()).await;
    assert_eq!(before.send(paid("evt_1", "pi_1", "order-1")).await, 200);
    let after = process(&file, |builder| {
        builder
            .queued()
            .application("coffee")
            .former_application("tea")
    })
    .await;
    after.checkout.run_due().await.unwrap();
    assert_eq!(after.effects().await, ["succeeded pi_1"]);
}
