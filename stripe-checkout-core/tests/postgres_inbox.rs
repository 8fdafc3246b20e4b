//! The promises of the inbox in PostgreSQL. The tests send signed bytes to `Checkout::handle`. The
//! handler writes through its connection into a table that shows every duplicate.

mod postgres_server;

#[path = "support/log_interest.rs"]
mod log_interest;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::{Duration, Instant, SystemTime};

use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool};
use stripe_checkout_core::fulfillment::{
    BoxFuture, Dispatch, Due, EventFilter, EventRecord, EventState, FulfillmentHandler,
    FulfillmentStatus, Inbox, InboxExt as _, IntentRecord, IntentState, NewEvent, OrderKey,
    PaymentEvent, PaymentRecord, PostgresInbox, Scope, Step, Stepped, Terms, Verdict, Which,
};
use stripe_checkout_core::testing::{EventBody, PaymentIntent, dispute, now, refund, sign};
use stripe_checkout_core::webhook::{Event, Payment};
use stripe_checkout_core::{
    Amount, Body, BoxError, Call, Checkout, CheckoutBuilder, Config, Currency, Endpoint, Group,
    InboxError, Mode, Ownership, Reply, WebhookSecret,
};
use tokio::sync::Semaphore;

use self::postgres_server::Database;

const PRICE: Amount = Amount::new(1999, Currency::EUR);

fn secret() -> WebhookSecret {
    WebhookSecret::new("whsec_of_this_test").unwrap()
}

/// The behaviour of `payment_succeeded` after it wrote its effect.
#[derive(Clone, Copy, PartialEq)]
enum Behave {
    Well,
    Fail,
    FailWithNul,
    Panic,
    /// Waits until the test releases it.
    Hang,
    /// Runs these statements on its connection.
    Sql(&'static str),
    /// Runs these statements, and does not return their errors.
    SwallowedSql(&'static str),
    /// Begins and commits a nested transaction.
    Nested,
    /// Begins a nested transaction, and the beginning is cut off.
    CutOffNested,
}

#[derive(Clone)]
struct Ledger {
    behave: Arc<Mutex<Behave>>,
    due: Arc<Mutex<Due>>,
    started: Arc<Semaphore>,
    release: Arc<Semaphore>,
}

impl Ledger {
    fn behave(&self, how: Behave) {
        *self.behave.lock().unwrap() = how;
    }
}

async fn write(db: &mut PgConnection, what: String) -> Result<(), BoxError> {
    sqlx::query("INSERT INTO effects (what) VALUES ($1)")
        .bind(what)
        .execute(db)
        .await?;
    Ok(())
}

impl FulfillmentHandler<PgConnection> for Ledger {
    async fn payment_succeeded(
        &self,
        payment: &Payment,
        db: &mut PgConnection,
    ) -> Result<(), BoxError> {
        let behave = *self.behave.lock().unwrap();
        write(db, format!("succeeded {}", payment.id())).await?;
        self.started.add_permits(1);
        match behave {
            Behave::Well => {}
            Behave::Fail => return Err("the printer is out of paper".into()),
            Behave::FailWithNul => return Err("out\0of paper".into()),
            Behave::Panic => panic!("a bug of the merchant's"),
            Behave::Hang => self.release.acquire().await?.forget(),
            Behave::Sql(sql) => {
                sqlx::raw_sql(sql).execute(db).await?;
            }
            Behave::SwallowedSql(sql) => {
                let _ = sqlx::raw_sql(sql).execute(db).await;
            }
            Behave::Nested => {
                let mut nested = db.begin().await?;
                write(&mut nested, "nested".into()).await?;
                nested.commit().await?;
                let mut nested = db.begin().await?;
                write(&mut nested, "never".into()).await?;
                nested.rollback().await?;
                // A nested transaction that is dropped.
                let mut nested = db.begin().await?;
                write(&mut nested, "never".into()).await?;
            }
            Behave::CutOffNested => {
                // The server is sometimes faster than the cut-off.
                while cut_off(db.begin(), 1).await {}
            }
        }
        Ok(())
    }

    async fn amount_due(&self, _: &Payment, _: &mut PgConnection) -> Result<Due, BoxError> {
        Ok(*self.due.lock().unwrap())
    }

    async fn on_event(
        &self,
        event: &PaymentEvent<'_>,
        db: &mut PgConnection,
    ) -> Result<(), BoxError> {
        match event {
            PaymentEvent::DuplicatePayment { payment, .. } => {
                write(db, format!("duplicate {}", payment.id())).await
            }
            PaymentEvent::RefundedBeforeFulfillment { payment, .. } => {
                write(db, format!("refunded before {}", payment.id())).await
            }
            PaymentEvent::Mismatch { payment, .. } => {
                write(db, format!("mismatch {}", payment.id())).await
            }
            PaymentEvent::RefundSucceeded { refund, .. } => {
                write(db, format!("refunded {}", refund.id())).await
            }
            PaymentEvent::DisputeCreated { dispute, .. } => {
                write(db, format!("dispute opened {}", dispute.id())).await
            }
            PaymentEvent::Other { event, .. } => {
                write(db, format!("event {}", event.event_type())).await
            }
            _ => Ok(()),
        }
    }
}

/// One process: a pool, an inbox, a checkout.
#[derive(Clone)]
struct Shop {
    pool: PgPool,
    inbox: PostgresInbox,
    checkout: Checkout,
    ledger: Ledger,
    webhook: Endpoint,
}

impl Shop {
    async fn new(db: &Database) -> Self {
        Self::with(db, 10, "", |builder| builder).await
    }

    async fn with(
        db: &Database,
        pool: u32,
        set: &'static str,
        more: impl FnOnce(CheckoutBuilder) -> CheckoutBuilder,
    ) -> Self {
        log_interest::log_interest();
        let pool = db.pool(pool, set).await;
        let inbox = PostgresInbox::new(pool.clone()).schema(&*db.schema);
        inbox.migrate().await.unwrap();
        sqlx::query("CREATE TABLE IF NOT EXISTS effects (number bigserial, what text NOT NULL)")
            .execute(&pool)
            .await
            .unwrap();
        let ledger = Ledger {
            behave: Arc::new(Mutex::new(Behave::Well)),
            due: Arc::new(Mutex::new(Due::Exactly(PRICE))),
            started: Arc::new(Semaphore::new(0)),
            release: Arc::new(Semaphore::new(0)),
        };
        let builder = Checkout::builder(Config::new([secret()]).unwrap())
            .application("tea")
            .ownership(Ownership::AllPayments)
            .fulfillment(inbox.clone(), ledger.clone());
        let checkout = more(builder).build().unwrap();
        // The checkout writes its birth, with a connection that a test may need.
        checkout.drain().await;
        let webhook = checkout.only(Group::Webhook).endpoints()[0].clone();
        Self {
            pool,
            inbox,
            checkout,
            ledger,
            webhook,
        }
    }

    async fn send(&self, event: EventBody) -> Reply {
        let body = event.body();
        let header = sign(&body, &secret(), now());
        let call = Call::new(&self.webhook)
            .header("Stripe-Signature", header.as_bytes())
            .body(Body::whole(&body, self.webhook.body_limit()));
        self.checkout.handle(call).await
    }

    /// Sends an event, and returns the answer's status.
    async fn sent(&self, event: EventBody) -> u16 {
        self.send(event).await.status()
    }

    fn sending(&self, event: EventBody) -> tokio::task::JoinHandle<u16> {
        let shop = self.clone();
        tokio::spawn(async move { shop.sent(event).await })
    }

    async fn effects(&self) -> Vec<String> {
        sqlx::query_scalar("SELECT what FROM effects ORDER BY number")
            .fetch_all(&self.pool)
            .await
            .unwrap()
    }

    async fn record(&self, id: &str) -> EventRecord {
        self.inbox.event(&tea(), id).await.unwrap().unwrap()
    }

    async fn number(&self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql).fetch_one(&self.pool).await.unwrap()
    }

    /// Returns the settings of a session that belong to the merchant.
    async fn settings(&self) -> String {
        let settings = "SELECT string_agg(name || '=' || current_setting(name), ', ') FROM unnest(ARRAY['role', 'search_path', 'synchronous_commit', \
            'statement_timeout', 'lock_timeout', 'idle_in_transaction_session_timeout']) AS name";
        sqlx::query_scalar(settings)
            .fetch_one(&self.pool)
            .await
            .unwrap()
    }

    async fn execute(&self, sql: &'static str) {
        sqlx::raw_sql(sql).execute(&self.pool).await.unwrap();
    }

    /// Stores an event without running it.
    async fn store(&self, event: EventBody) -> EventRecord {
        let queued = Checkout::builder(Config::new([secret()]).unwrap())
            .application("tea")
            .ownership(Ownership::AllPayments)
            .queued()
            .fulfillment(self.inbox.clone(), self.ledger.clone())
            .build()
            .unwrap();
        let event = Event::parse(event.body()).unwrap();
        let id = event.id().to_owned();
        queued.receive(event).await.unwrap();
        self.record(&id).await
    }
}

fn tea() -> Scope {
    Scope {
        application: "tea".into(),
        mode: Mode::Test,
    }
}

fn order() -> OrderKey {
    OrderKey {
        scope: tea(),
        account: None,
        reference: "order-1".into(),
    }
}

fn row(payment: &str) -> IntentRecord {
    IntentRecord {
        version: 0,
        attempt: 1,
        fingerprint: "f".into(),
        request: stripe_checkout_core::fulfillment::RequestState::Sent,
        asked: PRICE,
        payment: Some(payment.into()),
        secret_hash: Some("h".into()),
        state: IntentState::Open,
        paid_by: None,
        declines: 0,
        capture: None,
    }
}

fn paid(payment: &str, order: &str) -> PaymentIntent {
    PaymentIntent::new(payment, PRICE)
        .metadata("order_id", order)
        .status("succeeded")
}

fn succeeded(event: &str, payment: &str) -> EventBody {
    let object = paid(payment, &format!("order of {payment}")).object();
    EventBody::new("payment_intent.succeeded", object).id(event)
}

fn processing(payment: &str) -> EventBody {
    let object = PaymentIntent::new(payment, PRICE).status("processing");
    EventBody::new("payment_intent.processing", object.object())
}

fn refunded(event: &str, payment: &str, minor: u64) -> EventBody {
    let object = refund(
        &format!("re_{event}"),
        payment,
        Amount::new(minor, Currency::EUR),
    );
    EventBody::new("refund.created", object).id(event)
}

/// Waits for a condition, for a minute at most.
async fn until<F: Future<Output = bool>>(what: &str, condition: impl Fn() -> F) {
    let give_up = Instant::now() + Duration::from_secs(60);
    while !condition().await {
        assert!(Instant::now() < give_up, "not within a minute: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A dispatch that counts its runs, and always returns the same verdict.
struct Count {
    runs: AtomicUsize,
    verdict: fn(&PaymentRecord) -> Verdict,
    sql: &'static str,
}

impl Count {
    fn new() -> Self {
        Self {
            runs: AtomicUsize::new(0),
            verdict: |payment| Verdict::Done {
                payment: payment.clone(),
                intent: None,
            },
            sql: "",
        }
    }

    fn runs(&self) -> usize {
        self.runs.load(Ordering::SeqCst)
    }
}

impl Dispatch<PgConnection> for Count {
    fn dispatch<'a>(
        &'a self,
        _: &'a EventRecord,
        payment: &'a PaymentRecord,
        _: Option<&'a IntentRecord>,
        db: &'a mut PgConnection,
    ) -> BoxFuture<'a, Verdict> {
        Box::pin(async move {
            self.runs.fetch_add(1, Ordering::SeqCst);
            sqlx::raw_sql(self.sql).execute(db).await.unwrap();
            (self.verdict)(payment)
        })
    }
}

fn terms(patience: u64, lease: u64, max_attempts: u32) -> Terms {
    let milliseconds = Duration::from_millis;
    Terms::new(milliseconds(patience), milliseconds(lease), max_attempts)
}

/// Locks the row of a payment until the transaction is dropped or rolled back, as a step of another
/// process does.
async fn locked_payment(shop: &Shop, payment: &str) -> sqlx::Transaction<'static, sqlx::Postgres> {
    let mut tx = shop.pool.begin().await.unwrap();
    for sql in [
        "INSERT INTO stripe_checkout_payments (application, mode, id) VALUES ('tea', 'test', $1) ON CONFLICT DO NOTHING",
        "SELECT 1 FROM stripe_checkout_payments WHERE id = $1 FOR UPDATE",
    ] {
        sqlx::query(sql)
            .bind(payment)
            .execute(&mut *tx)
            .await
            .unwrap();
    }
    tx
}

#[tokio::test]
async fn one_event_is_one_effect_however_often_it_is_delivered() {
    let Some(db) = Database::new().await else {
        return;
    };
    let shop = Shop::new(&db).await;
    assert_eq!(shop.sent(succeeded("evt_1", "pi_1")).await, 200);
    let done = shop.send(succeeded("evt_1", "pi_1")).await;
    assert_eq!(done.status(), 200);
    // Another event object of the same success.
    let second = shop.send(succeeded("evt_2", "pi_1")).await;
    assert_eq!(&second.body()[..], br#"{"status":"superseded"}"#);
    assert_eq!(shop.effects().await, ["succeeded pi_1"]);
    let payment = shop.inbox.payment(&tea(), "pi_1").await.unwrap().unwrap();
    assert_eq!(payment.success, FulfillmentStatus::Fulfilled);
    let (order, intent) = shop
        .inbox
        .intent_of_payment(&tea(), "pi_1")
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (
            order.reference.as_str(),
            intent.state,
            intent.paid_by.as_deref(),
            intent.version
        ),
        ("order of pi_1", IntentState::Paid, Some("pi_1"), 1)
    );
    assert_eq!(shop.record("evt_1").await.attempts, 1);
    assert_eq!(shop.record("evt_2").await.attempts, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn fifty_concurrent_deliveries_to_two_processes_are_one() {
    let Some(db) = Database::new().await else {
        return;
    };
    let one_attempt = |builder: CheckoutBuilder| builder.max_attempts(1);
    let shops = [
        Shop::with(&db, 10, "", one_attempt).await,
        Shop::with(&db, 10, "", one_attempt).await,
    ];
    // One attempt: an attempt that counts by mistake would make a dead letter.
    let deliveries: Vec<_> = (0..50)
        .map(|n| shops[n % 2].sending(succeeded(["evt_1", "evt_2"][n / 2 % 2], "pi_1")))
        .collect();
    for delivery in deliveries {
        assert_eq!(delivery.await.unwrap(), 200);
    }
    assert_eq!(shops[0].effects().await, ["succeeded pi_1"]);
    let attempts =
        shops[0].record("evt_1").await.attempts + shops[0].record("evt_2").await.attempts;
    assert_eq!(attempts, 1, "nobody who only waited counts");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_hundred_payments_delivered_twice_to_two_processes_are_a_hundred() {
    let Some(db) = Database::new().await else {
        return;
    };
    let shops = [Shop::new(&db).await, Shop::new(&db).await];
    let deliveries: Vec<_> = (0..400)
        .map(|n| {
            let payment = n % 100;
            // Half of them have a second event object.
            let event = format!("evt_{payment}_{}", n / 200);
            shops[n / 100 % 2].sending(succeeded(&event, &format!("pi_{payment}")))
        })
        .collect();
    for delivery in deliveries {
        assert_eq!(delivery.await.unwrap(), 200);
    }
    let mut effects = shops[0].effects().await;
    effects.sort();
    let mut expected: Vec<_> = (0..100).map(|n| format!("succeeded pi_{n}")).collect();
    expected.sort();
    assert_eq!(effects, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_event_objects_of_a_payment_without_an_order_are_one_success() {
    let Some(db) = Database::new().await else {
        return;
    };
    let shops = [Shop::new(&db).await, Shop::new(&db).await];
    for shop in &shops {
        shop.ledger.behave(Behave::Sql("SELECT pg_sleep(0.1)"));
    }
    // The row of the payment exists already, so its insertion does not protect it.
    assert_eq!(shops[0].sent(processing("pi_1")).await, 200);
    let deliveries: Vec<_> = (0..10)
        .map(|n| {
            let object = PaymentIntent::new("pi_1", PRICE).status("succeeded");
            let event = EventBody::new("payment_intent.succeeded", object.object());
            shops[n % 2].sending(event.id(&format!("evt_{n}")))
        })
        .collect();
    for delivery in deliveries {
        assert_eq!(delivery.await.unwrap(), 200);
    }
    assert_eq!(shops[0].effects().await, ["succeeded pi_1"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_payments_of_one_order_at_once_are_a_success_and_a_duplicate() {
    let Some(db) = Database::new().await else {
        return;
    };
    let shops = [Shop::new(&db).await, Shop::new(&db).await];
    for n in 0..10 {
        let event = |payment: &str| {
            let object = paid(payment, &format!("order-{n}")).object();
            EventBody::new("payment_intent.succeeded", object)
        };
        let (a, b) = (format!("pi_{n}a"), format!("pi_{n}b"));
        let sending = [shops[0].sending(event(&a)), shops[1].sending(event(&b))];
        for delivery in sending {
            assert_eq!(delivery.await.unwrap(), 200);
        }
    }
    let mut kinds = shops[0].effects().await;
    for what in &mut kinds {
        what.truncate(9);
    }
    kinds.sort();
    assert_eq!(kinds[..10], ["duplicate"; 10]);
    assert_eq!(kinds[10..], ["succeeded"; 10]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn all_kinds_of_news_at_once_do_not_wait_for_each_other_in_a_circle() {
    let Some(db) = Database::new().await else {
        return;
    };
    let shops = [Shop::new(&db).await, Shop::new(&db).await];
    for round in 0..5 {
        let order = format!("order-{round}");
        let mut sending = Vec::new();
        for n in 0..3 {
            let payment = format!("pi_{round}_{n}");
            let object = |status| paid(&payment, &order).status(status).object();
            let object_of_dispute = dispute("dp_1", &payment, PRICE, "needs_response");
            for (n, event) in [
                EventBody::new("payment_intent.processing", object("processing")),
                EventBody::new("payment_intent.succeeded", object("succeeded")),
                EventBody::new("payment_intent.succeeded", object("succeeded")),
                EventBody::new("payment_intent.canceled", object("canceled")),
                EventBody::new("charge.dispute.created", object_of_dispute),
                refunded(&format!("evt_r{payment}"), &payment, 100),
            ]
            .into_iter()
            .enumerate()
            {
                sending.push(shops[n % 2].sending(event));
            }
        }
        for delivery in sending {
            // 503 if a refund arrived before its success: never an error.
            let status = delivery.await.unwrap();
            assert!([200, 503].contains(&status), "{status}");
        }
    }
    assert_eq!(
        shops[0]
            .number("SELECT count(*) FROM stripe_checkout_events WHERE last_error IS NOT NULL")
            .await,
        0
    );
}

#[tokio::test]
async fn what_a_handler_wrote_before_it_failed_is_undone_and_the_failure_is_kept() {
    let Some(db) = Database::new().await else {
        return;
    };
    let shop = Shop::with(&db, 10, "", |builder| {
        builder.handler_deadline(Duration::from_secs(1))
    })
    .await;
    let failures = [
        (Behave::Fail, "the printer is out of paper"),
        (Behave::FailWithNul, "out\u{fffd}of paper"),
        (Behave::Panic, "the handler panicked"),
        (Behave::Hang, "the handler did not end within 1 s"),
        (
            Behave::Sql("SELECT 1 / 0"),
            "error returned from database: division by zero",
        ),
        (
            Behave::SwallowedSql("SELECT 1 / 0"),
            "the handler went on after an SQL error instead of returning it",
        ),
    ];
    for (attempt, (behave, error)) in (1..).zip(failures) {
        shop.ledger.behave(behave);
        assert_eq!(shop.sent(succeeded("evt_1", "pi_1")).await, 500);
        let record = shop.record("evt_1").await;
        let kept = record.last_error.as_deref().unwrap();
        assert!(kept.starts_with(error), "{kept}");
        assert_eq!(
            (record.state, record.attempts),
            (EventState::Pending, attempt)
        );
        assert!(shop.effects().await.is_empty());
    }
    shop.ledger.behave(Behave::Well);
    assert_eq!(shop.sent(succeeded("evt_1", "pi_1")).await, 200);
    assert_eq!(shop.effects().await, ["succeeded pi_1"]);
}

#[tokio::test]
async fn a_statement_that_runs_at_the_deadline_is_ended_and_holds_nothing() {
    let Some(db) = Database::new().await else {
        return;
    };
    // The same holds if the pool has no other connection with which to cancel it.
    for pool in [1, 10] {
        let shop = Shop::with(&db, pool, "", |builder| {
            builder.handler_deadline(Duration::from_secs(1))
        })
        .await;
        shop.ledger.behave(Behave::Sql(
            "SELECT pg_sleep(100), 'a statement that runs at the deadline'",
        ));
        let (event, payment) = (format!("evt_{pool}"), format!("pi_{pool}"));
        let start = Instant::now();
        assert_eq!(shop.sent(succeeded(&event, &payment)).await, 500);
        assert!(
            start.elapsed() < Duration::from_secs(5),
            "{:?}",
            start.elapsed()
        );
        let record = shop.record(&event).await;
        assert_eq!(
            record.last_error.as_deref(),
            Some("the handler did not end within 1 s")
        );
        assert_eq!((record.state, record.attempts), (EventState::Pending, 1));
        let running = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%runs at the deadline%' AND state <> 'idle' AND pid <> pg_backend_pid()";
        assert_eq!(shop.number(running).await, 0);
        assert_eq!(
            shop.number("SELECT count(*) FROM effects WHERE what LIKE 'succeeded %'")
                .await,
            0
        );
        shop.pool.close().await;
    }
}

#[tokio::test]
async fn a_connection_on_which_a_handler_was_cut_off_is_closed() {
    let Some(db) = Database::new().await else {
        return;
    };
    let shop = Shop::with(&db, 1, "", |builder| {
        builder.handler_deadline(Duration::from_secs(1))
    })
    .await;
    for (n, behave, is_closed) in [
        (1, Behave::Fail, false),
        (2, Behave::Panic, true),
        (3, Behave::Sql("SELECT pg_sleep(100)"), true),
    ] {
        shop.ledger.behave(behave);
        let before = shop.number(BACKEND).await;
        let event = succeeded(&format!("evt_{n}"), &format!("pi_{n}"));
        assert_eq!(shop.sent(event).await, 500, "{n}");
        let after = shop.number(BACKEND).await;
        assert_eq!(before != after, is_closed, "{n}");
    }
}

/// Selects the server's process behind a connection.
const BACKEND: &str = "SELECT pg_backend_pid()::bigint";

#[tokio::test]
async fn a_process_that_stands_still_before_its_handler_runs_keeps_its_locks_for_ten_seconds() {
    let Some(db) = Database::new().await else {
        return;
    };
    let shop = Shop::new(&db).await;
    shop.execute(
        "CREATE FUNCTION limits() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            INSERT INTO effects (what) VALUES ('idle for ' || current_setting('idle_in_transaction_session_timeout'));
            RETURN new;
        END $$;
        CREATE TRIGGER limits BEFORE INSERT ON stripe_checkout_payments FOR EACH ROW EXECUTE FUNCTION limits()",
    )
    .await;
    assert_eq!(shop.sent(succeeded("evt_1", "pi_1")).await, 200);
    assert_eq!(shop.effects().await, ["idle for 10s", "succeeded pi_1"]);
}

#[tokio::test]
async fn a_process_that_died_in_a_long_statement_keeps_its_locks_only_until_the_time_limit() {
    let Some(db) = Database::new().await else {
        return;
    };
    let shop = Shop::new(&db).await;
    shop.store(succeeded("evt_1", "pi_1")).await;
    let inbox = shop.inbox.clone();
    let dying = tokio::spawn(async move {
        let mut long = Count::new();
        long.sql = "SELECT pg_sleep(100)";
        let turn = Which::Now("evt_1");
        // With these terms the handler has one second.
        let step = inbox.step(&tea(), turn, terms(100, 1100, 5), &long).await;
        step.map(drop)
    });
    let sleeping = "SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(100)' AND state = 'active'";
    until("it sleeps", async || shop.number(sleeping).await > 0).await;
    dying.abort();
    assert!(dying.await.unwrap_err().is_cancelled());
    let count = Count::new();
    let step = shop
        .inbox
        .step(
            &tea(),
            Which::Now("evt_1"),
            terms(30_000, 40_000, 5),
            &count,
        )
        .await
        .unwrap()
        .unwrap();
    assert_eq!(step.did, Stepped::Now(EventState::Done));
    assert_eq!((count.runs(), shop.record("evt_1").await.attempts), (1, 2));
}

#[tokio::test]
async fn a_lost_connection_is_a_failure_that_is_written_on_another_one() {
    let Some(db) = Database::new().await else {
        return;
    };
    let shop = Shop::new(&db).await;
    for end in [
        "SELECT pg_terminate_backend(pg_backend_pid())",
        // A transaction that is idle for longer than the server allows.
        "SET LOCAL idle_in_transaction_session_timeout = '100ms'",
    ] {
        shop.ledger.behave(match end.starts_with("SET") {
            false => Behave::Sql(end),
            true => Behave::SwallowedSql(end),
        });
        let id = format!("evt_{}", end.len());
        let payment = format!("pi_{}", end.len());
        let sending = if end.starts_with("SET") {
            let lingering = Lingering(shop.ledger.clone());
            let checkout = Checkout::builder(Config::new([secret()]).unwrap())
                .application("tea")
                .ownership(Ownership::AllPayments)
                .fulfillment(shop.inbox.clone(), lingering)
                .build()
                .unwrap();
            let mut shop = shop.clone();
            shop.checkout = checkout;
            shop.sending(succeeded(&id, &payment))
        } else {
            shop.sending(succeeded(&id, &payment))
        };
        assert_eq!(sending.await.unwrap(), 500);
        let record = shop.record(&id).await;
        assert_eq!(
            (record.state, record.attempts),
            (EventState::Pending, 1),
            "{record:?}"
        );
        assert!(record.last_error.is_some());
        assert!(shop.effects().await.is_empty());
        shop.ledger.behave(Behave::Well);
        assert_eq!(shop.sent(succeeded(&id, &payment)).await, 200);
        assert_eq!(shop.effects().await, [format!("succeeded {payment}")]);
        shop.execute("TRUNCATE effects").await;
    }
}

/// Does the ledger's work, and then leaves its transaction idle until the server ends it.
struct Lingering(Ledger);

impl FulfillmentHandler<PgConnection> for Lingering {
    async fn payment_succeeded(
        &self,
        payment: &Payment,
        db: &mut PgConnection,
    ) -> Result<(), BoxError> {
        self.0.payment_succeeded(payment, db).await?;
        tokio::time::sleep(Duration::from_millis(500)).await;
        Ok(())
    }

    async fn amount_due(&self, _: &Payment, _: &mut PgConnection) -> Result<Due, BoxError> {
        Ok(Due::Exactly(PRICE))
    }
}

#[tokio::test]
async fn a_handler_that_ends_the_transaction_makes_a_dead_letter_that_is_never_run_by_itself() {
    let Some(db) = Database::new().await else {
        return;
    };
    let shop = Shop::new(&db).await;
    let endings = [
        Behave::Sql("COMMIT"),
        Behave::Sql("ROLLBACK"),
        Behave::Sql("COMMIT; BEGIN"),
        Behave::SwallowedSql("COMMIT; SELECT 1 / 0"),
        // The handler fails, and its writes are kept.
        Behave::Sql("COMMIT; SELECT 1 / 0"),
        Behave::CutOffNested,
    ];
    for (n, behave) in endings.into_iter().enumerate() {
        shop.ledger.behave(behave);
        let (event, payment) = (format!("evt_{n}"), format!("pi_{n}"));
        assert_eq!(shop.sent(succeeded(&event, &payment)).await, 500, "{n}");
        let record = shop.record(&event).await;
        assert_eq!(record.state, EventState::Dead, "{n}: {record:?}");
        let error = record.last_error.unwrap();
        assert!(error.starts_with("broken_transaction: "), "{error}");
        let payment = shop.inbox.payment(&tea(), &payment).await.unwrap().unwrap();
        assert_eq!(payment.success, FulfillmentStatus::Broken);
        shop.ledger.behave(Behave::Well);
        let before = shop.effects().await;
        assert_eq!(
            shop.sent(succeeded(&event, &format!("pi_{n}"))).await,
            500,
            "a dead letter stays loud"
        );
        assert!(!shop.checkout.run_due().await.unwrap());
        assert_eq!(shop.effects().await, before);
    }
    // The pool does not reuse a connection that was left in a transaction.
    for _ in 0..20 {
        shop.execute("INSERT INTO effects (what) VALUES ('safe')")
            .await;
    }
    let other = db.pool(1, "").await;
    let safe: i64 = sqlx::query_scalar("SELECT count(*) FROM effects WHERE what = 'safe'")
        .fetch_one(&other)
        .await
        .unwrap();
    assert_eq!(safe, 20);
}

#[tokio::test]
async fn what_is_checked_at_the_end_fails_as_the_handlers_own() {
    let Some(db) = Database::new().await else {
        return;
    };
    let shop = Shop::with(&db, 1, "", |builder| builder).await;
    let backend = shop.number(BACKEND).await;
    shop.execute(
        "CREATE TABLE orders (id int PRIMARY KEY);
        CREATE TABLE parcels (of int REFERENCES orders (id) DEFERRABLE INITIALLY DEFERRED)",
    )
    .await;
    shop.ledger
        .behave(Behave::Sql("INSERT INTO parcels VALUES (1)"));
    assert_eq!(shop.sent(succeeded("evt_1", "pi_1")).await, 500);
    let record = shop.record("evt_1").await;
    assert_eq!((record.state, record.attempts), (EventState::Pending, 1));
    let error = record.last_error.unwrap();
    assert!(error.contains("foreign key"), "{error}");
    assert!(shop.effects().await.is_empty());
    // The error does not come at the commit, which would also cost the connection.
    assert_eq!(shop.number(BACKEND).await, backend);
    shop.execute("INSERT INTO orders VALUES (1)").await;
    assert_eq!(shop.sent(succeeded("evt_1", "pi_1")).await, 200);
    assert_eq!(shop.number("SELECT count(*) FROM parcels").await, 1);
}

#[tokio::test]
async fn nested_transactions_of_the_handler_are_fine() {
    let Some(db) = Database::new().await else {
        return;
    };
    let shop = Shop::new(&db).await;
    shop.ledger.behave(Behave::Nested);
    assert_eq!(shop.sent(succeeded("evt_1", "pi_1")).await, 200);
    assert_eq!(shop.effects().await, ["succeeded pi_1", "nested"]);
}

#[tokio::test]
async fn the_handler_finds_the_settings_it_would_have_without_us() {
    let Some(db) = Database::new().await else {
        return;
    };
    // The limit is the deadline plus five seconds. A lower limit of the session stays.
    for (limits, statement, idle) in [
        ("SET idle_in_transaction_session_timeout = '9s'", "8s", "8s"),
        (
            "SET idle_in_transaction_session_timeout = '5s'; SET statement_timeout = '6s'",
            "6s",
            "5s",
        ),
    ] {
        let set = format!(
            "SET lock_timeout = '7s'; SET synchronous_commit = off; SET default_transaction_isolation = 'repeatable read'; {limits}"
        );
        let shop = Shop::with(&db, 1, set.leak(), |builder| {
            builder.handler_deadline(Duration::from_secs(3))
        })
        .await;
        shop.execute("DELETE FROM effects").await;
        shop.ledger.behave(Behave::Sql(
            "INSERT INTO effects (what) SELECT name || ' ' || COALESCE(current_setting(name, true), 'unknown') FROM unnest(ARRAY['lock_timeout', 'synchronous_commit', \
                'transaction_isolation', 'statement_timeout', 'idle_in_transaction_session_timeout', 'client_connection_check_interval']) AS name",
        ));
        let before = shop.settings().await;
        let payment = format!("pi_{idle}");
        let event = format!("evt_{idle}");
        assert_eq!(shop.sent(succeeded(&event, &payment)).await, 200);
        let mut settings = shop.effects().await.split_off(1);
        // Servers before version 14 do not have this setting.
        let check = settings.pop();
        let check = check
            .as_deref()
            .and_then(|check| check.strip_prefix("client_connection_check_interval "));
        assert!(matches!(check, Some("2s" | "unknown")), "{check:?}");
        assert_eq!(
            settings,
            [
                "lock_timeout 7s".to_owned(),
                "synchronous_commit on".to_owned(),
                "transaction_isolation read committed".to_owned(),
                format!("statement_timeout {statement}"),
                format!("idle_in_transaction_session_timeout {idle}"),
            ]
        );
        assert_eq!(shop.settings().await, before, "and nothing of it stays");
    }
}

#[tokio::test]
async fn what_the_handler_sets_does_not_reach_the_inbox() {
    let Some(db) = Database::new().await else {
        return;
    };
    let set = "SET synchronous_commit = off";
    let shop = Shop::with(&db, 10, set, |builder| builder).await;
    shop.execute(
        "CREATE FUNCTION told() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            INSERT INTO effects (what) VALUES (new.state || ' ' || current_setting('synchronous_commit'));
            RETURN new;
        END $$;
        CREATE TRIGGER told BEFORE UPDATE ON stripe_checkout_events FOR EACH ROW WHEN (new.state = 'done') EXECUTE FUNCTION told()",
    )
    .await;
    shop.ledger.behave(Behave::Sql(
        "SET LOCAL synchronous_commit = off; SET LOCAL search_path = pg_catalog",
    ));
    assert_eq!(shop.sent(succeeded("evt_1", "pi_1")).await, 200);
    assert_eq!(shop.effects().await, ["succeeded pi_1", "done on"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn another_default_isolation_changes_nothing() {
    let Some(db) = Database::new().await else {
        return;
    };
    for set in [
        "SET default_transaction_isolation = 'repeatable read'",
        "SET default_transaction_isolation = 'serializable'",
    ] {
        let shops = [
            Shop::with(&db, 10, set, |builder| builder).await,
            Shop::with(&db, 10, set, |builder| builder).await,
        ];
        let payment = format!("pi_{}", set.len());
        let deliveries: Vec<_> = (0..40)
            .map(|n| {
                let event = format!("evt_{}_{}", set.len(), n / 2 % 2);
                shops[n % 2].sending(succeeded(&event, &payment))
            })
            .collect();
        for delivery in deliveries {
            assert_eq!(delivery.await.unwrap(), 200);
        }
        assert_eq!(
            shops[0].effects().await.last(),
            Some(&format!("succeeded {payment}"))
        );
    }
    let shop = Shop::new(&db).await;
    assert_eq!(shop.effects().await.len(), 2);
}

#[tokio::test]
async fn after_the_last_attempt_a_dead_letter_can_be_replayed() {
    let Some(db) = Database::new().await else {
        return;
    };
    let shop = Shop::with(&db, 10, "", |builder| builder.max_attempts(2)).await;
    shop.ledger.behave(Behave::Fail);
    for _ in 0..4 {
        assert_eq!(shop.sent(succeeded("evt_1", "pi_1")).await, 500);
    }
    let filter = EventFilter::default().state(EventState::Dead);
    let dead = shop.checkout.events(filter).await.unwrap();
    assert_eq!((dead.len(), dead[0].attempts), (1, 2));
    let payment = shop.inbox.payment(&tea(), "pi_1").await.unwrap().unwrap();
    assert_eq!(payment.success, FulfillmentStatus::Dead);
    shop.checkout.replay(&dead[0]).await.unwrap();
    assert_eq!(shop.record("evt_1").await.attempts, 1, "counted anew");
    let payment = shop.inbox.payment(&tea(), "pi_1").await.unwrap().unwrap();
    assert_eq!(payment.success, FulfillmentStatus::Pending);
    shop.ledger.behave(Behave::Well);
    shop.checkout.replay(&dead[0]).await.unwrap();
    assert_eq!(shop.effects().await, ["succeeded pi_1"]);
    let again = shop.checkout.replay(&dead[0]).await.unwrap_err();
    assert!(
        matches!(again, InboxError::WrongState { state: "done" }),
        "{again}"
    );
}

#[tokio::test]
async fn a_discarded_success_lets_the_refund_go_on_and_never_ships() {
    let Some(db) = Database::new().await else {
        return;
    };
    let shop = Shop::with(&db, 10, "", |builder| builder.max_attempts(1)).await;
    shop.ledger.behave(Behave::Fail);
    shop.sent(succeeded("evt_1", "pi_1")).await;
    shop.checkout
        .discard(&shop.record("evt_1").await)
        .await
        .unwrap();
    shop.ledger.behave(Behave::Well);
    assert_eq!(shop.sent(succeeded("evt_1", "pi_1")).await, 200);
    assert_eq!(shop.sent(succeeded("evt_2", "pi_1")).await, 200);
    assert_eq!(shop.sent(refunded("evt_r", "pi_1", 1999)).await, 200);
    assert_eq!(shop.effects().await, ["refunded re_evt_r"]);
    let payment = shop.inbox.payment(&tea(), "pi_1").await.unwrap().unwrap();
    assert_eq!(payment.success, FulfillmentStatus::GivenUp);
    assert!(shop.record("evt_1").await.body.is_empty());
    let unknown = shop
        .inbox
        .discard(&tea(), "evt_x", Duration::from_secs(1))
        .await;
    assert!(matches!(unknown, Err(InboxError::UnknownEvent)));
}

#[tokio::test]
async fn discarding_one_of_two_copies_does_not_give_the_payment_up() {
    let Some(db) = Database::new().await else {
        return;
    };
    let shop = Shop::new(&db).await;
    shop.ledger.behave(Behave::Fail);
    shop.sent(succeeded("evt_1", "pi_1")).await;
    shop.sent(succeeded("evt_2", "pi_1")).await;
    shop.checkout
        .discard(&shop.record("evt_2").await)
        .await
        .unwrap();
    let payment = shop.inbox.payment(&tea(), "pi_1").await.unwrap().unwrap();
    assert_eq!(payment.success, FulfillmentStatus::Pending);
    shop.ledger.behave(Behave::Well);
    shop.sent(succeeded("evt_1", "pi_1")).await;
    assert_eq!(shop.effects().await, ["succeeded pi_1"]);
}

#[tokio::test]
async fn a_refund_that_overtakes_waits_for_its_success_and_goes_on_with_it() {
    let Some(db) = Database::new().await else {
        return;
    };
    let shop = Shop::new(&db).await;
    assert_eq!(shop.sent(refunded("evt_r", "pi_1", 500)).await, 503);
    let waiting = shop.record("evt_r").await;
    assert_eq!((waiting.state, waiting.attempts), (EventState::Pending, 0));
    assert!(waiting.due > SystemTime::now());
    assert_eq!(shop.sent(succeeded("evt_1", "pi_1")).await, 200);
    assert_eq!(
        shop.effects().await,
        ["succeeded pi_1", "refunded re_evt_r"]
    );
    assert_eq!(shop.sent(refunded("evt_r", "pi_1", 500)).await, 200);
    assert_eq!(shop.effects().await.len(), 2);
    // The refund of the whole payment is known before, so nothing is shipped.
    assert_eq!(shop.sent(refunded("evt_r2", "pi_2", 1999)).await, 503);
    assert_eq!(shop.sent(succeeded("evt_2", "pi_2")).await, 200);
    assert_eq!(
        shop.effects().await[2..],
        ["refunded before pi_2", "refunded re_evt_r2"]
    );
}

#[tokio::test]
async fn what_was_noted_outlives_the_event_that_said_so() {
    let Some(db) = Database::new().await else {
        return;
    };
    let shop = Shop::new(&db).await;
    shop.sent(succeeded("evt_1", "pi_1")).await;
    shop.sent(refunded("evt_r", "pi_1", 500)).await;
    let opened = dispute("dp_1", "pi_1", PRICE, "needs_response");
    shop.sent(EventBody::new("charge.dispute.created", opened))
        .await;
    let before = shop.inbox.payment(&tea(), "pi_1").await.unwrap().unwrap();
    assert_eq!((before.returned(), before.disputed()), (500, true));
    shop.execute("DELETE FROM stripe_checkout_events").await;
    let after = shop.inbox.payment(&tea(), "pi_1").await.unwrap().unwrap();
    assert_eq!(after, before);
}

#[tokio::test]
async fn a_mismatch_commits_and_is_listed() {
    let Some(db) = Database::new().await else {
        return;
    };
    let shop = Shop::new(&db).await;
    *shop.ledger.due.lock().unwrap() = Due::Exactly(Amount::new(5000, Currency::EUR));
    assert_eq!(shop.sent(succeeded("evt_1", "pi_1")).await, 200);
    assert_eq!(shop.effects().await, ["mismatch pi_1"]);
    let filter = EventFilter::default()
        .state(EventState::Mismatch)
        .payment("pi_1");
    let listed = shop.checkout.events(filter).await.unwrap();
    assert_eq!(listed.len(), 1);
    assert!(
        listed[0]
            .last_error
            .as_deref()
            .unwrap()
            .starts_with("the order costs 50"),
        "{listed:?}"
    );
    assert!(!listed[0].body.is_empty(), "somebody must look at it");
    *shop.ledger.due.lock().unwrap() = Due::Exactly(PRICE);
    shop.checkout.replay(&listed[0]).await.unwrap();
    assert_eq!(shop.effects().await, ["mismatch pi_1", "succeeded pi_1"]);
}

#[tokio::test]
async fn everything_survives_a_restart() {
    let Some(db) = Database::new().await else {
        return;
    };
    let one_attempt = |builder: CheckoutBuilder| builder.max_attempts(1);
    let shop = Shop::with(&db, 10, "", one_attempt).await;
    assert!(shop.inbox.limits().survives_restart && shop.inbox.limits().accepts_live);
    shop.sent(succeeded("evt_1", "pi_1")).await;
    shop.ledger.behave(Behave::Fail);
    shop.sent(succeeded("evt_2", "pi_2")).await;
    shop.sent(refunded("evt_r", "pi_3", 700)).await;
    assert!(
        shop.inbox
            .put_intent(&order(), None, row("pi_9"))
            .await
            .unwrap()
    );
    shop.pool.close().await;
    let down = shop.sent(succeeded("evt_4", "pi_4")).await;
    assert_eq!(
        down, 503,
        "nothing is acknowledged that could not be stored"
    );

    let shop = Shop::with(&db, 10, "", one_attempt).await;
    assert_eq!(shop.sent(succeeded("evt_1", "pi_1")).await, 200);
    assert_eq!(shop.sent(succeeded("evt_9", "pi_1")).await, 200);
    assert_eq!(shop.effects().await, ["succeeded pi_1"]);
    let dead = shop.record("evt_2").await;
    assert_eq!(dead.state, EventState::Dead);
    assert_eq!(
        dead.last_error.as_deref(),
        Some("the printer is out of paper")
    );
    let payment = shop.inbox.payment(&tea(), "pi_3").await.unwrap().unwrap();
    assert_eq!(
        (payment.returned(), payment.success),
        (700, FulfillmentStatus::No),
        "noted, although its turn has not come"
    );
    let expected = IntentRecord {
        version: 1,
        ..row("pi_9")
    };
    assert_eq!(
        shop.inbox.intent(&order()).await.unwrap(),
        Some(expected.clone())
    );
    let of_payment = shop.inbox.intent_of_payment(&tea(), "pi_9").await.unwrap();
    assert_eq!(of_payment, Some((order(), expected)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_order_has_one_open_intent() {
    let Some(db) = Database::new().await else {
        return;
    };
    let shops = [Shop::new(&db).await, Shop::new(&db).await];
    assert_eq!(shops[0].inbox.intent(&order()).await.unwrap(), None);
    assert!(
        !shops[0]
            .inbox
            .put_intent(&order(), Some(1), row("pi_0"))
            .await
            .unwrap()
    );
    assert_eq!(shops[0].inbox.intent(&order()).await.unwrap(), None);
    for expected in [None, Some(1), Some(2)] {
        let writing: Vec<_> = (0..50)
            .map(|n| {
                let inbox = shops[n % 2].inbox.clone();
                tokio::spawn(async move {
                    let row = row(&format!("pi_{n}_{expected:?}"));
                    inbox.put_intent(&order(), expected, row).await.unwrap()
                })
            })
            .collect();
        let mut written = 0;
        for write in writing {
            written += usize::from(write.await.unwrap());
        }
        assert_eq!(written, 1);
        let row = shops[0].inbox.intent(&order()).await.unwrap().unwrap();
        assert_eq!(row.version, expected.unwrap_or(0) + 1);
    }
    assert_eq!(
        shops[0]
            .number("SELECT count(*) FROM stripe_checkout_orders_of_payments")
            .await,
        3,
        "only of what was written"
    );
}

/// Lets a process claim an event, and die before its second transaction.
async fn taken_and_dead(shop: &Shop, lease: u64) {
    shop.store(succeeded("evt_1", "pi_1")).await;
    let lock = locked_payment(shop, "pi_1").await;
    let inbox = shop.inbox.clone();
    let dying = tokio::spawn(async move {
        let terms = terms(lease - 1, lease, 20);
        let step = inbox.step(&tea(), Which::Due, terms, &Count::new()).await;
        step.map(drop)
    });
    until("it is taken", async || {
        shop.record("evt_1").await.attempts == 1
    })
    .await;
    dying.abort();
    assert!(dying.await.unwrap_err().is_cancelled());
    lock.rollback().await.unwrap();
}

#[tokio::test]
async fn a_process_that_died_leaves_its_event_due_after_the_lease() {
    let Some(db) = Database::new().await else {
        return;
    };
    let shop = Shop::new(&db).await;
    taken_and_dead(&shop, 3000).await;
    let count = Count::new();
    let step = async |turn, patience| {
        let terms = terms(patience, 9000, 20);
        shop.inbox.step(&tea(), turn, terms, &count).await
    };
    assert!(step(Which::Due, 100).await.unwrap().is_none());
    let now = step(Which::Now("evt_1"), 100).await;
    assert!(
        matches!(now, Err(InboxError::Busy)),
        "it may be alive: {now:?}"
    );
    assert_eq!((count.runs(), shop.record("evt_1").await.attempts), (0, 1));
    let found: Mutex<Option<Step>> = Mutex::new(None);
    until("it is due", async || {
        let due = step(Which::Due, 100).await.unwrap();
        let is_due = due.is_some();
        *found.lock().unwrap() = due;
        is_due
    })
    .await;
    let did = found.lock().unwrap().take().unwrap().did;
    assert_eq!(did, Stepped::Now(EventState::Done));
    assert_eq!((count.runs(), shop.record("evt_1").await.attempts), (1, 2));
}

#[tokio::test]
async fn whoever_was_away_for_too_long_sees_that_the_event_is_not_his_any_more() {
    let Some(db) = Database::new().await else {
        return;
    };
    let shop = Shop::new(&db).await;
    shop.store(succeeded("evt_1", "pi_1")).await;
    let lock = locked_payment(&shop, "pi_1").await;
    let inbox = shop.inbox.clone();
    let count = Arc::new(Count::new());
    let counting = Arc::clone(&count);
    let away = tokio::spawn(async move {
        let terms = terms(30_000, 40_000, 20);
        let turn = Which::Now("evt_1");
        inbox.step(&tea(), turn, terms, &*counting).await
    });
    until("it is taken", async || {
        shop.record("evt_1").await.attempts == 1
    })
    .await;
    // As if another process had claimed it meanwhile, and an operator had replayed it.
    shop.execute("UPDATE stripe_checkout_events SET claim = claim + 2, taken = 0, attempts = 0")
        .await;
    lock.rollback().await.unwrap();
    let step = away.await.unwrap().unwrap().unwrap();
    assert_eq!(step.did, Stepped::Now(EventState::Done));
    assert_eq!(count.runs(), 1);
    let attempts = shop.record("evt_1").await.attempts;
    assert_eq!(attempts, 1, "what runs is counted");
}

#[tokio::test]
async fn whoever_waits_for_it_takes_over_when_the_lease_of_the_dead_is_over() {
    let Some(db) = Database::new().await else {
        return;
    };
    let shop = Shop::new(&db).await;
    taken_and_dead(&shop, 2000).await;
    let count = Count::new();
    let turn = Which::Now("evt_1");
    let step = shop
        .inbox
        .step(&tea(), turn, terms(30_000, 40_000, 20), &count)
        .await;
    assert_eq!(step.unwrap().unwrap().did, Stepped::Now(EventState::Done));
    assert_eq!(count.runs(), 1);
}

#[tokio::test]
async fn an_event_that_killed_its_process_at_every_attempt_is_a_dead_letter_without_running() {
    let Some(db) = Database::new().await else {
        return;
    };
    let shop = Shop::new(&db).await;
    taken_and_dead(&shop, 1000).await;
    let count = Count::new();
    let step = async |turn| {
        let terms = terms(100, 9000, 1);
        shop.inbox.step(&tea(), turn, terms, &count).await
    };
    let early = step(Which::Now("evt_1")).await;
    assert!(matches!(early, Err(InboxError::Busy)), "{early:?}");
    until("it is due", async || {
        step(Which::Due).await.unwrap().is_some()
    })
    .await;
    let record = shop.record("evt_1").await;
    assert_eq!(record.state, EventState::Dead);
    assert!(record.last_error.is_some());
    assert_eq!(count.runs(), 0);
    let payment = shop.inbox.payment(&tea(), "pi_1").await.unwrap().unwrap();
    assert_eq!(payment.success, FulfillmentStatus::Dead);
    let did = step(Which::Now("evt_1")).await.unwrap().unwrap().did;
    assert_eq!(did, Stepped::Already(EventState::Dead));
}

#[tokio::test]
async fn whoever_lost_the_wait_gives_the_attempt_back() {
    let Some(db) = Database::new().await else {
        return;
    };
    let shop = Shop::new(&db).await;
    let before = shop.store(succeeded("evt_1", "pi_1")).await;
    let order = before.order.clone().unwrap();
    assert!(
        shop.inbox
            .put_intent(&order, None, row("pi_1"))
            .await
            .unwrap()
    );
    let count = Count::new();
    for turn in [Which::Now("evt_1"), Which::Due] {
        for order_too in [false, true] {
            let mut lock = shop.pool.begin().await.unwrap();
            if order_too {
                sqlx::query("SELECT 1 FROM stripe_checkout_intents FOR UPDATE")
                    .execute(&mut *lock)
                    .await
                    .unwrap();
            } else {
                lock.rollback().await.unwrap();
                lock = locked_payment(&shop, "pi_1").await;
            }
            let start = Instant::now();
            let busy = shop
                .inbox
                .step(&tea(), turn, terms(300, 9000, 20), &count)
                .await;
            assert!(matches!(busy, Err(InboxError::Busy)), "{busy:?}");
            assert!(
                start.elapsed() < Duration::from_secs(5),
                "{:?}",
                start.elapsed()
            );
            let after = shop.record("evt_1").await;
            assert_eq!(after.attempts, 0);
            if turn == Which::Due {
                // The event lets others go first, but not for as long as the lease.
                let due = "UPDATE stripe_checkout_events SET due = received";
                let soon = SystemTime::now() + Duration::from_secs(4);
                assert!(after.due > before.due && after.due < soon, "{after:?}");
                shop.execute(due).await;
            } else {
                assert_eq!(after.due, before.due);
            }
            lock.rollback().await.unwrap();
        }
    }
    assert_eq!(count.runs(), 0);
    let done = shop
        .inbox
        .step(&tea(), Which::Due, terms(300, 9000, 1), &count)
        .await;
    assert!(done.unwrap().is_some());
    assert_eq!((count.runs(), shop.record("evt_1").await.attempts), (1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_waits_together_are_no_longer_than_the_patience() {
    let Some(db) = Database::new().await else {
        return;
    };
    let shop = Shop::new(&db).await;
    let event = shop.store(succeeded("evt_1", "pi_1")).await;
    let order = event.order.unwrap();
    shop.inbox
        .put_intent(&order, None, row("pi_1"))
        .await
        .unwrap();
    let payment = locked_payment(&shop, "pi_1").await;
    let mut intent = shop.pool.begin().await.unwrap();
    sqlx::query("SELECT 1 FROM stripe_checkout_intents FOR UPDATE")
        .execute(&mut *intent)
        .await
        .unwrap();
    let inbox = shop.inbox.clone();
    let start = Instant::now();
    let stepping = tokio::spawn(async move {
        let turn = Which::Now("evt_1");
        let terms = terms(2000, 9000, 20);
        let step = inbox.step(&tea(), turn, terms, &Count::new()).await;
        matches!(step, Err(InboxError::Busy))
    });
    // The first wait takes most of the time limit.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    payment.rollback().await.unwrap();
    assert!(stepping.await.unwrap());
    assert!(
        start.elapsed() < Duration::from_millis(3000),
        "{:?}",
        start.elapsed()
    );
    intent.rollback().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_workers_never_run_one_event_twice() {
    let Some(db) = Database::new().await else {
        return;
    };
    let queued = |builder: CheckoutBuilder| builder.queued();
    let shops = [
        Shop::with(&db, 10, "", queued).await,
        Shop::with(&db, 10, "", queued).await,
    ];
    for n in 0..60 {
        let event = succeeded(&format!("evt_{n}"), &format!("pi_{n}"));
        let answer = shops[0].send(event).await;
        assert_eq!(answer.status(), 200);
    }
    assert!(shops[0].effects().await.is_empty());
    let turns: Vec<_> = (0..10)
        .map(|n| {
            let checkout = shops[n % 2].checkout.clone();
            tokio::spawn(async move { while checkout.run_due().await.unwrap() {} })
        })
        .collect();
    for turn in turns {
        turn.await.unwrap();
    }
    let mut effects = shops[0].effects().await;
    effects.sort();
    let mut expected: Vec<_> = (0..60).map(|n| format!("succeeded pi_{n}")).collect();
    expected.sort();
    assert_eq!(effects, expected);
    let attempts = "SELECT sum(attempts)::bigint FROM stripe_checkout_events";
    assert_eq!(shops[0].number(attempts).await, 60);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn workers_drain_what_was_queued_and_what_failed() {
    let Some(db) = Database::new().await else {
        return;
    };
    let queued = |builder: CheckoutBuilder| builder.queued();
    let shops = [
        Shop::with(&db, 10, "", queued).await,
        Shop::with(&db, 10, "", queued).await,
    ];
    shops[0].ledger.behave(Behave::Fail);
    let stop = Arc::new(Semaphore::new(0));
    let workers: Vec<_> = shops
        .iter()
        .map(|shop| {
            let stop = Arc::clone(&stop);
            let worker = shop.checkout.worker().interval(Duration::from_millis(20));
            tokio::spawn(worker.run(async move { stop.acquire().await.unwrap().forget() }))
        })
        .collect();
    for n in 0..20 {
        // Successes of ten payments, each with a refund that comes first.
        let payment = format!("pi_{}", n % 10);
        let event = match n < 10 {
            true => refunded(&format!("evt_{n}"), &payment, 100),
            false => succeeded(&format!("evt_{n}"), &payment),
        };
        assert_eq!(shops[n % 2].sent(event).await, 200);
    }
    until("one failed, or all are done", async || {
        let failed = "SELECT count(*) FROM stripe_checkout_events WHERE last_error IS NOT NULL OR state = 'done'";
        shops[0].number(failed).await > 0
    })
    .await;
    shops[0].ledger.behave(Behave::Well);
    until("all are done", async || {
        let open = "SELECT count(*) FROM stripe_checkout_events WHERE state <> 'done'";
        shops[0].number(open).await == 0
    })
    .await;
    stop.add_permits(2);
    for worker in workers {
        worker.await.unwrap();
    }
    let mut effects = shops[0].effects().await;
    effects.sort();
    let mut expected: Vec<_> = (0..10)
        .flat_map(|n| [format!("succeeded pi_{n}"), format!("refunded re_evt_{n}")])
        .collect();
    expected.sort();
    assert_eq!(effects, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_refund_is_stored_at_once_while_the_handler_of_its_payment_runs() {
    let Some(db) = Database::new().await else {
        return;
    };
    let shop = Shop::new(&db).await;
    // The payment has a row that the step locks.
    assert_eq!(shop.sent(processing("pi_1")).await, 200);
    shop.ledger.behave(Behave::Hang);
    let success = shop.sending(succeeded("evt_1", "pi_1"));
    shop.ledger.started.acquire().await.unwrap().forget();
    let refund = shop.sending(refunded("evt_r", "pi_1", 500));
    until("the refund is stored", async || {
        let found = shop.inbox.event(&tea(), "evt_r").await.unwrap();
        found.is_some()
    })
    .await;
    let payment = shop.inbox.payment(&tea(), "pi_1").await.unwrap().unwrap();
    assert_eq!(
        (payment.success, payment.returned()),
        (FulfillmentStatus::Pending, 500)
    );
    assert!(shop.effects().await.is_empty(), "the handler still runs");
    shop.ledger.release.add_permits(1);
    assert_eq!((success.await.unwrap(), refund.await.unwrap()), (200, 200));
    assert_eq!(
        shop.effects().await,
        ["succeeded pi_1", "refunded re_evt_r"]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn while_an_event_is_worked_on_a_duplicate_is_not_acknowledged() {
    let Some(db) = Database::new().await else {
        return;
    };
    let shop = Shop::new(&db).await;
    shop.ledger.behave(Behave::Hang);
    let first = shop.sending(succeeded("evt_1", "pi_1"));
    shop.ledger.started.acquire().await.unwrap().forget();
    let duplicate = shop.send(succeeded("evt_1", "pi_1")).await;
    assert_eq!(duplicate.status(), 503);
    assert!(duplicate.header("retry-after").is_some());
    shop.ledger.release.add_permits(1);
    assert_eq!(first.await.unwrap(), 200);
    assert_eq!(shop.sent(succeeded("evt_1", "pi_1")).await, 200);
    assert_eq!(shop.effects().await, ["succeeded pi_1"]);
    assert_eq!(shop.record("evt_1").await.attempts, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn steps_take_no_more_than_half_of_the_pool() {
    let Some(db) = Database::new().await else {
        return;
    };
    let shop = Shop::with(&db, 4, "", |builder| builder).await;
    shop.ledger.behave(Behave::Hang);
    let sending: Vec<_> = (0..4)
        .map(|n| shop.sending(succeeded(&format!("evt_{n}"), &format!("pi_{n}"))))
        .collect();
    shop.ledger.started.acquire_many(2).await.unwrap().forget();
    until("all four are stored", async || {
        let stored = "SELECT count(*) FROM stripe_checkout_events";
        shop.number(stored).await == 4
    })
    .await;
    assert_eq!(shop.ledger.started.available_permits(), 0);
    // The other half of the pool is free.
    let free = [
        shop.pool.acquire().await.unwrap(),
        shop.pool.acquire().await.unwrap(),
    ];
    drop(free);
    shop.ledger.release.add_permits(4);
    for delivery in sending {
        assert_eq!(delivery.await.unwrap(), 200);
    }
}

#[tokio::test]
async fn two_applications_and_two_modes_do_not_see_each_other() {
    let Some(db) = Database::new().await else {
        return;
    };
    let tea = Shop::with(&db, 5, "", |builder| builder.queued()).await;
    let coffee = Shop::with(&db, 5, "", |builder| builder.queued().application("coffee")).await;
    let live = |event: &str| {
        let object = paid("pi_1", "order-1").livemode(true).object();
        EventBody::new("payment_intent.succeeded", object).id(event)
    };
    // Every scope has the same ids.
    for shop in [&tea, &coffee] {
        assert_eq!(shop.sent(succeeded("evt_1", "pi_1")).await, 200);
        assert_eq!(shop.sent(live("evt_1")).await, 200);
    }
    let count = Count::new();
    let live_only = Scope {
        application: "tea".into(),
        mode: Mode::Live,
    };
    let terms = terms(1000, 9000, 20);
    while let Some(step) = tea
        .inbox
        .step(&live_only, Which::Due, terms, &count)
        .await
        .unwrap()
    {
        assert_eq!(step.event.scope, live_only);
    }
    assert_eq!(count.runs(), 1);
    while tea.checkout.run_due().await.unwrap() {}
    assert_eq!(tea.effects().await, ["succeeded pi_1"]);
    let pending = "SELECT count(*) FROM stripe_checkout_events WHERE state = 'pending' AND application = 'coffee'";
    assert_eq!(tea.number(pending).await, 2);
    let scope = |application: &str, mode| Scope {
        application: application.into(),
        mode,
    };
    for (application, mode, success) in [
        ("tea", Mode::Test, FulfillmentStatus::Fulfilled),
        ("coffee", Mode::Test, FulfillmentStatus::Pending),
        ("coffee", Mode::Live, FulfillmentStatus::Pending),
    ] {
        let scope = scope(application, mode);
        let payment = tea.inbox.payment(&scope, "pi_1").await.unwrap().unwrap();
        assert_eq!(payment.success, success, "{application} {mode:?}");
        let mut filter = EventFilter::default();
        filter.scope = Some(scope.clone());
        let events = tea.inbox.events(&filter).await.unwrap();
        assert_eq!(events.len(), 1);
        assert_eq!(events[0].scope, scope);
    }
    while coffee.checkout.run_due().await.unwrap() {}
    assert_eq!(tea.effects().await.len(), 3);
    let other = scope("cocoa", Mode::Test);
    assert!(tea.inbox.event(&other, "evt_1").await.unwrap().is_none());
    assert!(tea.inbox.payment(&other, "pi_1").await.unwrap().is_none());
    assert!(
        tea.inbox
            .intent_of_payment(&other, "pi_1")
            .await
            .unwrap()
            .is_none()
    );
}

#[tokio::test]
async fn bodies_are_kept_as_long_as_they_are_needed_and_without_client_secrets() {
    let Some(db) = Database::new().await else {
        return;
    };
    let shop = Shop::new(&db).await;
    shop.ledger.behave(Behave::Fail);
    let object = paid("pi_1", "order-1")
        .with("description", "a tin\u{0} of tea")
        .object();
    let event = || EventBody::new("payment_intent.succeeded", object.clone()).id("evt_1");
    shop.sent(event()).await;
    let stored = shop.record("evt_1").await;
    let body = String::from_utf8(stored.body.to_vec()).unwrap();
    assert!(body.contains("a tin\\u0000 of tea"), "{body}");
    let secrets = "SELECT count(*) FROM stripe_checkout_events WHERE position('_secret_' IN encode(body, 'escape')) > 0";
    assert_eq!(shop.number(secrets).await, 0);
    shop.ledger.behave(Behave::Well);
    assert_eq!(shop.sent(event()).await, 200);
    assert_eq!(shop.sent(event().id("evt_2")).await, 200);
    let kept = "SELECT count(*) FROM stripe_checkout_events WHERE length(body) > 0";
    assert_eq!(shop.number(kept).await, 0, "done, and superseded");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn migrations_may_be_applied_by_many_at_once_and_again() {
    let Some(db) = Database::new().await else {
        return;
    };
    let pool = db.pool(8, "").await;
    let named = format!("{} \"of its own\"", db.schema);
    for schema in [db.schema.clone(), named.clone()] {
        let inbox = |pool: &PgPool| PostgresInbox::new(pool.clone()).schema(&*schema);
        let migrating: Vec<_> = (0..8)
            .map(|_| {
                let inbox = inbox(&pool);
                tokio::spawn(async move { inbox.migrate().await })
            })
            .collect();
        for migration in migrating {
            migration.await.unwrap().unwrap();
        }
        inbox(&pool).migrate().await.unwrap();
        // Merchants may also run the migrations themselves.
        if schema == db.schema {
            for migration in PostgresInbox::MIGRATIONS {
                sqlx::raw_sql(*migration).execute(&pool).await.unwrap();
            }
        }
        assert!(
            inbox(&pool)
                .put_intent(&order(), None, row("pi_1"))
                .await
                .unwrap(),
            "tables of its own"
        );
        assert!(
            inbox(&pool)
                .intent_of_payment(&tea(), "pi_1")
                .await
                .unwrap()
                .is_some()
        );
    }
    let drop = format!("DROP SCHEMA \"{}\" CASCADE", named.replace('"', "\"\""));
    sqlx::raw_sql(AssertSqlSafe(drop))
        .execute(&pool)
        .await
        .unwrap();
}

/// The test has its own database, like a new project.
#[tokio::test]
async fn the_tables_stand_in_a_schema_of_their_own_and_other_writers_are_named() {
    let Some(db) = Database::new().await else {
        return;
    };
    let (log, _guard) = log();
    let other = db.pool(1, "").await;
    let run = async |pool: &PgPool, sql: String| {
        sqlx::raw_sql(AssertSqlSafe(sql))
            .execute(pool)
            .await
            .unwrap();
    };
    let own = format!("{}_own", db.schema);
    run(&other, format!("CREATE DATABASE {own}")).await;
    let options = db.options.clone().database(&own);
    let pool = PgPool::connect_with(options).await.unwrap();
    PostgresInbox::migrated(pool.clone()).await.unwrap();
    let schema = "SELECT table_schema::text FROM information_schema.tables WHERE table_name = 'stripe_checkout_events'";
    let schemas: Vec<String> = sqlx::query_scalar(schema).fetch_all(&pool).await.unwrap();
    assert_eq!(schemas, ["stripe_checkout"]);
    let lines = log.take();
    assert!(!lines.contains("WARN"), "{lines}");

    // One role may read, and one may write.
    let (reads, writes) = (format!("{own}_reads"), format!("{own}_writes"));
    let table = "stripe_checkout.stripe_checkout_events";
    run(&pool, format!("CREATE ROLE {reads}; GRANT USAGE ON SCHEMA stripe_checkout TO {reads}; GRANT SELECT ON {table} TO {reads}")).await;
    PostgresInbox::migrated(pool.clone()).await.unwrap();
    assert!(!log.take().contains("WARN"));
    run(
        &pool,
        format!("CREATE ROLE {writes}; GRANT INSERT ON {table} TO {writes}"),
    )
    .await;
    PostgresInbox::migrated(pool.clone()).await.unwrap();
    let lines = log.take();
    assert!(lines.contains(&format!("roles=[\"{writes}\"]")), "{lines}");
    // The warning also names a role that may write to another table, or to one column alone.
    let columns = "stripe_checkout.stripe_checkout_operations";
    for (grant, table) in [
        ("INSERT", "stripe_checkout.stripe_checkout_bookmarks"),
        ("UPDATE (state)", columns),
    ] {
        let revoke = format!("REVOKE ALL ON ALL TABLES IN SCHEMA stripe_checkout FROM {writes}");
        run(&pool, revoke).await;
        run(&pool, format!("GRANT {grant} ON {table} TO {writes}")).await;
        PostgresInbox::migrated(pool.clone()).await.unwrap();
        let lines = log.take();
        assert!(
            lines.contains(&format!("roles=[\"{writes}\"]")),
            "{grant}: {lines}"
        );
    }
    // Before PostgreSQL 15, `public` had this grant.
    run(&pool, "GRANT CREATE ON SCHEMA public TO PUBLIC".to_owned()).await;
    let public = PostgresInbox::new(pool.clone()).schema("public");
    public.migrate().await.unwrap();
    let lines = log.take();
    assert!(lines.contains("roles=[\"PUBLIC\"]"), "{lines}");

    pool.close().await;
    run(&other, format!("DROP DATABASE {own} WITH (FORCE)")).await;
    run(&other, format!("DROP ROLE {reads}; DROP ROLE {writes}")).await;
}

#[tokio::test]
async fn an_empty_inbox_beside_another_one_is_warned_of_once() {
    let Some(db) = Database::new().await else {
        return;
    };
    let (log, _guard) = log();
    // The inbox is in the schema of the `search_path`, as after the merchant's own run of the
    // migrations.
    let pool = db.pool(2, "").await;
    for migration in PostgresInbox::MIGRATIONS {
        sqlx::raw_sql(*migration).execute(&pool).await.unwrap();
    }
    let same = PostgresInbox::new(pool.clone()).schema(&*db.schema);
    same.migrate().await.unwrap();
    let forgotten = |lines: &str| lines.contains("WARN") && lines.contains("SET SCHEMA");
    assert!(!forgotten(&log.take()));
    let other = format!("{}_other", db.schema);
    let empty = PostgresInbox::new(pool.clone()).schema(&*other);
    empty.migrate().await.unwrap();
    let lines = log.take();
    assert!(forgotten(&lines), "{lines}");
    assert!(
        lines.contains(&format!("other=\"{}\"", db.schema)),
        "{lines}"
    );
    empty.migrate().await.unwrap();
    assert!(!forgotten(&log.take()));
    let drop = AssertSqlSafe(format!("DROP SCHEMA {other} CASCADE"));
    sqlx::raw_sql(drop).execute(&pool).await.unwrap();
}

#[tokio::test]
async fn an_inbox_is_not_made_beside_another_one_unless_its_schema_is_named() {
    let Some(db) = Database::new().await else {
        return;
    };
    let mut admin = PgConnection::connect_with(&db.options).await.unwrap();
    let own = format!("{}_beside", db.schema);
    let run = |sql: String| AssertSqlSafe(sql);
    let create = run(format!("CREATE DATABASE {own}"));
    sqlx::raw_sql(create).execute(&mut admin).await.unwrap();
    let pool = PgPool::connect_with(db.options.clone().database(&own));
    let pool = pool.await.unwrap();
    // The merchant ran the migrations, with another `search_path`.
    sqlx::raw_sql("CREATE SCHEMA shop")
        .execute(&pool)
        .await
        .unwrap();
    let mut conn = pool.acquire().await.unwrap();
    sqlx::raw_sql("SET search_path = shop")
        .execute(&mut *conn)
        .await
        .unwrap();
    for migration in PostgresInbox::MIGRATIONS {
        sqlx::raw_sql(*migration).execute(&mut *conn).await.unwrap();
    }
    // It makes no difference whether the connection finds these tables.
    for path in ["SET search_path = shop", "SET search_path = public"] {
        sqlx::raw_sql(path).execute(&mut *conn).await.unwrap();
        let refused = PostgresInbox::migrated(pool.clone()).await.unwrap_err();
        let InboxError::OtherInbox { schema, other } = &refused else {
            panic!("{refused:?}");
        };
        assert_eq!((&**schema, &**other), ("stripe_checkout", "shop"));
        assert!(
            refused.to_string().contains(".schema(\"shop\")"),
            "{refused}"
        );
    }
    drop(conn);
    let made = "SELECT count(*) FROM pg_class WHERE relname = 'stripe_checkout_events'";
    let made = async || -> i64 { sqlx::query_scalar(made).fetch_one(&pool).await.unwrap() };
    assert_eq!(made().await, 1, "nothing was made");
    let open = PostgresInbox::open(pool.clone()).await.unwrap_err();
    assert!(
        matches!(open, InboxError::OlderTables { found: 0, .. }),
        "{open:?}"
    );
    // The two solutions.
    let inbox = |schema: &str| PostgresInbox::new(pool.clone()).schema(schema);
    inbox("shop").migrate().await.unwrap();
    inbox("shop").check().await.unwrap();
    assert_eq!(made().await, 1, "it goes on with the tables");
    inbox("stripe_checkout").migrate().await.unwrap();
    assert_eq!(made().await, 2, "an empty inbox, as it was asked");
    // From now on, the inbox's own schema has tables too.
    PostgresInbox::migrated(pool.clone()).await.unwrap();
    PostgresInbox::open(pool.clone()).await.unwrap();
    pool.close().await;
    let drop = run(format!("DROP DATABASE {own} WITH (FORCE)"));
    sqlx::raw_sql(drop).execute(&mut admin).await.unwrap();
}

#[tokio::test]
async fn tables_of_a_newer_version_are_refused() {
    let Some(db) = Database::new().await else {
        return;
    };
    let shop = Shop::new(&db).await;
    shop.inbox.check().await.unwrap();
    shop.execute("INSERT INTO stripe_checkout_migrations (version) VALUES (99)")
        .await;
    for refused in [shop.inbox.migrate().await, shop.inbox.check().await] {
        let refused = refused.unwrap_err();
        let known = PostgresInbox::MIGRATIONS.len();
        assert!(
            matches!(refused, InboxError::NewerTables { found: 99, known: k } if k == known),
            "{refused:?}"
        );
        assert!(refused.to_string().contains("update stripe-checkout"));
    }
    shop.execute("DELETE FROM stripe_checkout_migrations").await;
    let older = shop.inbox.check().await.unwrap_err();
    assert!(
        matches!(older, InboxError::OlderTables { found: 0, .. }),
        "{older:?}"
    );
}

#[tokio::test]
async fn what_a_handler_sets_for_the_session_does_not_leak_into_the_pool() {
    let Some(db) = Database::new().await else {
        return;
    };
    let shop = Shop::with(&db, 1, "SET statement_timeout = '90s'", |builder| builder).await;
    let locks =
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()";
    let before = shop.settings().await;
    assert!(before.contains("statement_timeout=90s"), "{before}");
    shop.execute("CREATE ROLE of_the_handler; GRANT of_the_handler TO CURRENT_USER")
        .await;
    let sets = "SET statement_timeout = '5s'; SET lock_timeout = '6s'; SET idle_in_transaction_session_timeout = '7s'; \
        SET search_path = pg_catalog; SELECT pg_advisory_lock(7); SET ROLE of_the_handler";
    for (event, how, status) in [
        ("evt_1", Behave::Sql(sets), 200),
        // A handler that fails halfway.
        (
            "evt_2",
            Behave::Sql("SET lock_timeout = '6s'; SELECT pg_advisory_lock(8); SELECT 1 / 0"),
            500,
        ),
    ] {
        shop.ledger.behave(how);
        let payment = format!("pi_of_{event}");
        assert_eq!(
            shop.sent(succeeded(event, &payment)).await,
            status,
            "{event}"
        );
        assert_eq!(shop.settings().await, before, "{event}");
        assert_eq!(shop.number(locks).await, 0, "{event}");
    }
    shop.execute("DROP ROLE of_the_handler").await;
}

#[tokio::test]
async fn a_session_keeps_its_role_whatever_the_name() {
    let Some(db) = Database::new().await else {
        return;
    };
    let pool = db.pool(1, "").await;
    let name = format!("\"it's \\ {}\"", db.schema);
    let role = async |sql: String| {
        let done = sqlx::raw_sql(AssertSqlSafe(sql)).execute(&pool).await;
        done.unwrap();
    };
    role(format!("CREATE ROLE {name} SUPERUSER")).await;
    let set = format!("SET ROLE {name}");
    let shop = Shop::with(&db, 1, set.leak(), |builder| builder).await;
    let before = shop.settings().await;
    assert!(before.contains("role=it's \\ "), "{before}");
    shop.ledger.behave(Behave::Sql("RESET ROLE"));
    assert_eq!(shop.sent(succeeded("evt_1", "pi_1")).await, 200);
    assert_eq!(shop.settings().await, before);
    shop.pool.close().await;
    role(format!(
        "REASSIGN OWNED BY {name} TO CURRENT_USER; DROP ROLE {name}"
    ))
    .await;
}

/// Polls the work this number of times, and then drops it at one of its waits. Returns whether it
/// ended before.
async fn cut_off<F: Future>(work: F, polls: usize) -> bool {
    let mut work = std::pin::pin!(work);
    let mut left = polls;
    std::future::poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(false);
        }
        left -= 1;
        work.as_mut().poll(context).map(|_| true)
    })
    .await
}

#[tokio::test]
async fn work_that_is_cut_off_leaves_no_connection_in_a_transaction() {
    let Some(db) = Database::new().await else {
        return;
    };
    let shop = Shop::with(&db, 1, "", |builder| builder).await;
    let other = db.pool(1, "").await;
    let mut safe = 0;
    let mut is_safe = async |what: &str, polls: usize| {
        // A write without a transaction, on the pool's only connection: others must see it.
        shop.execute("INSERT INTO effects (what) VALUES ('safe')")
            .await;
        safe += 1;
        let seen: i64 = sqlx::query_scalar("SELECT count(*) FROM effects")
            .fetch_one(&other)
            .await
            .unwrap();
        assert_eq!(seen, safe, "{what} cut off at {polls}");
    };
    let count = Count::new();
    // The scheduler decides how far a poll gets, so each run cuts the work at other places.
    let mut cut = [0; 4];
    for polls in 1..60 {
        let id = format!("evt_{polls}");
        let receiving = shop.inbox.receive(new_event(&id));
        cut[0] += usize::from(!cut_off(receiving, polls).await);
        is_safe("receive", polls).await;
        // The next delivery finds the event, or stores it.
        shop.inbox.receive(new_event(&id)).await.unwrap();

        let (scope, terms) = (tea(), terms(5000, 9000, 20));
        let stepping = shop.inbox.step(&scope, Which::Now(&id), terms, &count);
        cut[1] += usize::from(!cut_off(stepping, polls).await);
        is_safe("step", polls).await;

        let order = OrderKey {
            reference: id,
            ..order()
        };
        let putting = shop.inbox.put_intent(&order, None, row("pi_1"));
        cut[2] += usize::from(!cut_off(putting, polls).await);
        is_safe("put_intent", polls).await;

        let migrating = PostgresInbox::new(shop.pool.clone()).schema(&*db.schema);
        cut[3] += usize::from(!cut_off(migrating.migrate(), polls).await);
        is_safe("migrate", polls).await;
    }
    for cut in cut {
        assert!((1..59).contains(&cut), "{cut}");
    }
}

fn new_event(id: &str) -> NewEvent {
    let event = Event::parse(succeeded(id, &format!("pi of {id}")).body()).unwrap();
    NewEvent {
        scope: tea(),
        id: id.to_owned(),
        event_type: event.event_type().to_owned(),
        payment: Some(format!("pi of {id}")),
        order: Some(order()),
        ours: true,
        settles: true,
        note: None,
        body: event.without_client_secrets().body().to_owned().into(),
        received: SystemTime::now(),
    }
}

#[tokio::test]
async fn what_may_have_been_shipped_is_not_shipped_again_by_another_event_object() {
    let Some(db) = Database::new().await else {
        return;
    };
    let shop = Shop::new(&db).await;
    shop.ledger.behave(Behave::Sql("COMMIT"));
    assert_eq!(shop.sent(succeeded("evt_1", "pi_1")).await, 500);
    assert_eq!(shop.effects().await, ["succeeded pi_1"]);
    shop.sent(succeeded("evt_2", "pi_1")).await;
    assert_eq!(shop.effects().await, ["succeeded pi_1"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_payment_that_is_worked_on_for_long_does_not_stop_the_worker() {
    let Some(db) = Database::new().await else {
        return;
    };
    let shop = Shop::with(&db, 10, "", |builder| {
        builder.handler_deadline(Duration::from_secs(90))
    })
    .await;
    shop.ledger.behave(Behave::Hang);
    shop.store(succeeded("evt_hot", "pi_hot")).await;
    for n in 0..4 {
        shop.store(processing("pi_hot").id(&format!("evt_hot_{n}")))
            .await;
    }
    let worker = tokio::spawn(shop.checkout.worker().run(std::future::pending()));
    shop.ledger.started.acquire().await.unwrap().forget();
    shop.ledger.behave(Behave::Well);
    shop.store(succeeded("evt_other", "pi_other")).await;
    let begun = Instant::now();
    let mut effects = shop.effects().await;
    while effects.is_empty() && begun.elapsed() < Duration::from_secs(40) {
        tokio::time::sleep(Duration::from_millis(100)).await;
        effects = shop.effects().await;
    }
    worker.abort();
    shop.ledger.release.add_permits(1);
    shop.checkout.drain().await;
    assert_eq!(
        effects,
        ["succeeded pi_other"],
        "after {:?}",
        begun.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_slow_server_is_nobody_who_is_waited_for() {
    let Some(db) = Database::new().await else {
        return;
    };
    let shop = Shop::new(&db).await;
    shop.execute(
        "CREATE FUNCTION slowly() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.4); RETURN NEW; END'; \
         CREATE TRIGGER slowly BEFORE INSERT ON stripe_checkout_payments FOR EACH ROW EXECUTE FUNCTION slowly()",
    )
    .await;
    shop.store(succeeded("evt_1", "pi_1")).await;
    // A worker waits for less time than that, but only for work on the same payment.
    assert!(shop.checkout.run_due().await.unwrap());
    assert_eq!(shop.effects().await, ["succeeded pi_1"]);
}

/// A later version of this crate may have written the row.
#[tokio::test]
async fn a_row_that_cannot_be_read_does_not_stop_the_queue() {
    let Some(db) = Database::new().await else {
        return;
    };
    let shop = Shop::new(&db).await;
    shop.store(succeeded("evt_1", "pi_1")).await;
    shop.store(succeeded("evt_2", "pi_2")).await;
    shop.execute("INSERT INTO stripe_checkout_payments (application, mode, id, success) VALUES ('tea', 'test', 'pi_1', 'of_the_next_version')")
        .await;
    for _ in 0..10 {
        let _ = shop.checkout.run_due().await;
    }
    assert_eq!(shop.effects().await, ["succeeded pi_2"]);
}

#[tokio::test]
async fn what_a_handler_sets_for_the_session_does_not_stop_the_next_step() {
    let Some(db) = Database::new().await else {
        return;
    };
    let shop = Shop::with(&db, 2, "", |builder| builder).await;
    shop.ledger
        .behave(Behave::Sql("SET search_path = pg_catalog"));
    assert_eq!(shop.sent(succeeded("evt_1", "pi_1")).await, 200);
    shop.ledger.behave(Behave::Well);
    for n in 2..6 {
        let (event, payment) = (format!("evt_{n}"), format!("pi_{n}"));
        assert_eq!(shop.sent(succeeded(&event, &payment)).await, 200, "{n}");
    }
}

/// The server's machine lost power, or a firewall forgot the connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_server_that_says_nothing_any_more_does_not_keep_a_step_for_ever() {
    use std::sync::atomic::AtomicBool;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let Some(db) = Database::new().await else {
        return;
    };
    let direct = Shop::new(&db).await;
    let options = direct.pool.connect_options();
    let socket = options.get_socket().unwrap().join(".s.PGSQL.5432");
    let silent = Arc::new(AtomicBool::new(false));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let quiet = Arc::clone(&silent);
    tokio::spawn(async move {
        loop {
            let (client, _) = listener.accept().await.unwrap();
            let server = tokio::net::UnixStream::connect(&socket).await.unwrap();
            let (mut from_client, mut to_client) = client.into_split();
            let (mut from_server, mut to_server) = server.into_split();
            let up = Arc::clone(&quiet);
            tokio::spawn(async move {
                let mut buffer = [0; 4096];
                while let Ok(n @ 1..) = from_client.read(&mut buffer).await {
                    if up.load(Ordering::SeqCst) {
                        return std::future::pending().await;
                    }
                    to_server.write_all(&buffer[..n]).await.unwrap();
                }
            });
            let down = Arc::clone(&quiet);
            tokio::spawn(async move {
                let mut buffer = [0; 4096];
                while let Ok(n @ 1..) = from_server.read(&mut buffer).await {
                    if down.load(Ordering::SeqCst) {
                        return std::future::pending().await;
                    }
                    to_client.write_all(&buffer[..n]).await.unwrap();
                }
            });
        }
    });
    let options = sqlx::postgres::PgConnectOptions::new_without_pgpass()
        .host("127.0.0.1")
        .port(port)
        .username("postgres")
        .database("postgres")
        .ssl_mode(sqlx::postgres::PgSslMode::Disable)
        .options([("search_path", db.schema.as_str())]);
    let pool = sqlx::postgres::PgPoolOptions::new()
        .max_connections(4)
        .acquire_timeout(Duration::from_secs(5))
        .connect_with(options)
        .await
        .unwrap();
    let inbox = PostgresInbox::new(pool).schema(&*db.schema);
    let ledger = direct.ledger.clone();
    let checkout = Checkout::builder(Config::new([secret()]).unwrap())
        .application("tea")
        .ownership(Ownership::AllPayments)
        .handler_deadline(Duration::from_secs(1))
        .fulfillment(inbox, ledger.clone())
        .build()
        .unwrap();
    ledger.behave(Behave::Hang);
    let event = Event::parse(succeeded("evt_1", "pi_1").body()).unwrap();
    let receiving = tokio::spawn(async move { checkout.receive(event).await });
    ledger.started.acquire().await.unwrap().forget();
    silent.store(true, Ordering::SeqCst);
    let ended = tokio::time::timeout(Duration::from_secs(60), receiving).await;
    assert!(
        ended.is_ok(),
        "a deadline of 1 s, and after a minute it still waits"
    );
}

/// A careless handler.
struct Careless {
    ledger: Ledger,
    how: Careful,
}

#[derive(Clone, Copy)]
enum Careful {
    Commits,
    BeginsAtTheDeadline,
    CommitsNestedAtTheDeadline,
    LosesItsServerAndBegins,
}

/// Begins the work, and has not ended it when the deadline comes.
async fn still_at_it<F: Future>(work: F) {
    let mut work = std::pin::pin!(work);
    std::future::poll_fn(|context| {
        let _ = work.as_mut().poll(context);
        Poll::Ready(())
    })
    .await;
    std::future::pending().await
}

impl FulfillmentHandler<PgConnection> for Careless {
    async fn payment_succeeded(
        &self,
        payment: &Payment,
        db: &mut PgConnection,
    ) -> Result<(), BoxError> {
        write(db, format!("succeeded {}", payment.id())).await?;
        match self.how {
            Careful::Commits => {
                sqlx::raw_sql("COMMIT").execute(db).await?;
                self.ledger.started.add_permits(1);
                self.ledger.release.acquire().await?.forget();
            }
            Careful::BeginsAtTheDeadline => still_at_it(db.begin()).await,
            Careful::CommitsNestedAtTheDeadline => {
                let mut nested = db.begin().await?;
                write(&mut nested, "nested".into()).await?;
                still_at_it(nested.commit()).await;
            }
            Careful::LosesItsServerAndBegins => {
                let _ = sqlx::query("SELECT pg_terminate_backend(pg_backend_pid())")
                    .execute(&mut *db)
                    .await;
                db.begin().await?.commit().await?;
            }
        }
        Ok(())
    }

    async fn amount_due(&self, _: &Payment, _: &mut PgConnection) -> Result<Due, BoxError> {
        Ok(Due::Exactly(PRICE))
    }
}

async fn careless(shop: &mut Shop, how: Careful, deadline: u64) {
    let ledger = shop.ledger.clone();
    shop.checkout = Checkout::builder(Config::new([secret()]).unwrap())
        .application("tea")
        .ownership(Ownership::AllPayments)
        .handler_deadline(Duration::from_millis(deadline))
        .fulfillment(shop.inbox.clone(), Careless { ledger, how })
        .build()
        .unwrap();
}

/// The handler releases the locks with its transaction. Half a second later, a second delivery
/// claims the event while the first handler still runs.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_handler_that_committed_and_still_runs_is_not_run_a_second_time() {
    let Some(db) = Database::new().await else {
        return;
    };
    let mut shop = Shop::new(&db).await;
    careless(&mut shop, Careful::Commits, 20_000).await;
    let first = shop.sending(succeeded("evt_1", "pi_1"));
    shop.ledger.started.acquire().await.unwrap().forget();
    let second = shop.sending(succeeded("evt_1", "pi_1"));
    let again = tokio::time::timeout(Duration::from_secs(5), shop.ledger.started.acquire()).await;
    let effects = shop.effects().await;
    shop.ledger.release.add_permits(10);
    first.await.unwrap();
    second.await.unwrap();
    assert!(again.is_err(), "{effects:?}");
}

/// Checks that a deadline at the start or the end of a nested transaction is an ordinary failure:
/// everything was rolled back.
async fn no_dead_letter(how: Careful) {
    let Some(db) = Database::new().await else {
        return;
    };
    let mut shop = Shop::new(&db).await;
    careless(&mut shop, how, 150).await;
    let mut dead = 0;
    for n in 0..10 {
        let id = format!("evt_{n}");
        shop.sent(succeeded(&id, &format!("pi_{n}"))).await;
        dead += u32::from(shop.record(&id).await.state == EventState::Dead);
    }
    assert!(shop.effects().await.is_empty());
    assert_eq!(dead, 0, "dead letters at their first of 20 attempts");
}

#[tokio::test]
async fn a_deadline_in_a_nested_begin_is_no_dead_letter() {
    no_dead_letter(Careful::BeginsAtTheDeadline).await;
}

#[tokio::test]
async fn a_deadline_in_a_nested_commit_is_no_dead_letter() {
    no_dead_letter(Careful::CommitsNestedAtTheDeadline).await;
}

/// The server restarts, and the handler's next statement begins a nested transaction.
#[tokio::test]
async fn a_lost_connection_in_a_nested_begin_is_no_dead_letter() {
    no_dead_letter(Careful::LosesItsServerAndBegins).await;
}

/// The mark "done" may touch no row, because of a trigger, or of row security that reads a setting
/// of the handler's. Then the inbox must not commit and acknowledge the event.
#[tokio::test]
async fn a_mark_that_touched_no_row_commits_nothing() {
    let Some(db) = Database::new().await else {
        return;
    };
    let shop = Shop::new(&db).await;
    shop.execute(
        "DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'limited_shop') THEN CREATE ROLE limited_shop; END IF; END $$;
        DO $$ BEGIN EXECUTE format('GRANT USAGE, CREATE ON SCHEMA %I TO limited_shop', current_schema()); END $$",
    )
    .await;
    shop.execute(&*Box::leak(format!(
        "GRANT ALL ON ALL TABLES IN SCHEMA {0} TO limited_shop; GRANT ALL ON ALL SEQUENCES IN SCHEMA {0} TO limited_shop;
        ALTER TABLE stripe_checkout_events ENABLE ROW LEVEL SECURITY;
        ALTER TABLE stripe_checkout_payments ENABLE ROW LEVEL SECURITY;
        CREATE POLICY tenants ON stripe_checkout_events USING (COALESCE(current_setting('app.tenant', true), '') = '');
        CREATE POLICY tenants ON stripe_checkout_payments USING (COALESCE(current_setting('app.tenant', true), '') = '')",
        db.schema
    ).into_boxed_str()))
    .await;
    let limited = Shop::with(&db, 4, "SET ROLE limited_shop", |builder| builder);
    let limited = limited.await;
    limited
        .ledger
        .behave(Behave::Sql("SET LOCAL app.tenant = '7'"));
    for _ in 0..2 {
        assert_eq!(limited.sent(succeeded("evt_1", "pi_1")).await, 500);
        assert_eq!(shop.effects().await, Vec::<String>::new());
    }
    assert_eq!(shop.record("evt_1").await.state, EventState::Pending);
}

/// Makes this number of events, each with its own payment and order.
fn many_events(prefix: &str, count: usize) -> Vec<NewEvent> {
    let events = (0..count).map(|number| {
        let mut event = new_event(&format!("{prefix}_{number}"));
        event.body = format!("body of {prefix}_{number}").into();
        event.order = Some(OrderKey {
            reference: format!("order of {prefix}_{number}"),
            ..order()
        });
        event
    });
    events.collect()
}

/// Receives the events at the same time, in this order.
fn receiving(
    inbox: &PostgresInbox,
    events: Vec<NewEvent>,
) -> Vec<tokio::task::JoinHandle<Result<EventRecord, InboxError>>> {
    let receive = |event| {
        let inbox = inbox.clone();
        tokio::spawn(async move { inbox.receive(event).await })
    };
    events.into_iter().map(receive).collect()
}

#[tokio::test]
async fn events_that_come_at_once_are_stored_each_as_it_is() {
    let Some(db) = Database::new().await else {
        return;
    };
    let shop = Shop::new(&db).await;
    let events = many_events("evt", 100);
    // Some of them are known, and all arrive two more times, with other content.
    let known = [3, 4, 40, 99];
    for number in known {
        shop.inbox.receive(events[number].clone()).await.unwrap();
    }
    for task in receiving(&shop.inbox, events.clone()) {
        task.await.unwrap().unwrap();
    }
    let mut again = [events.clone(), events.clone()].concat();
    for again in &mut again {
        again.body = "not the first".into();
    }
    let first = events.iter().cycle();
    for (told, event) in receiving(&shop.inbox, again).into_iter().zip(first) {
        let stored = told.await.unwrap().unwrap();
        assert_eq!((&stored.id, &stored.body), (&event.id, &event.body));
        assert_eq!(
            (&stored.payment, &stored.order),
            (&event.payment, &event.order)
        );
        assert_eq!((stored.state, stored.attempts), (EventState::Pending, 0));
        let read = shop.record(&event.id).await;
        assert_eq!(read.body, event.body);
        assert_eq!((read.received, read.due), (stored.received, stored.due));
    }
    let orders = "SELECT count(*) FROM stripe_checkout_orders_of_payments";
    assert_eq!(shop.number(orders).await, 100);
    // The later event decides to which order a payment belongs.
    let mut later = many_events("later", 1).remove(0);
    later.payment = events[7].payment.clone();
    shop.inbox.receive(later).await.unwrap();
    let whose = "SELECT count(*) FROM stripe_checkout_orders_of_payments WHERE payment = 'pi of evt_7' AND reference = 'order of later_0'";
    assert_eq!(shop.number(whose).await, 1);
}

#[tokio::test]
async fn an_event_that_waits_for_a_row_does_not_hold_up_others() {
    let Some(db) = Database::new().await else {
        return;
    };
    let shop = Shop::new(&db).await;
    // Another process is about to commit the same event.
    let mut other = shop.pool.begin().await.unwrap();
    sqlx::query(
        "INSERT INTO stripe_checkout_events (application, mode, id, event_type, order_account, ours, settles, body, received, state, attempts, due, taken, claim) \
         VALUES ('tea', 'test', 'evt_0', 'payment_intent.succeeded', '', true, true, 'the first', 0, 'pending', 0, 0, 0, 0)",
    )
    .execute(&mut *other)
    .await
    .unwrap();
    let mut tasks = receiving(&shop.inbox, many_events("evt", 30)).into_iter();
    let waiting = tasks.next().unwrap();
    for task in tasks {
        let stored = task.await.unwrap().unwrap();
        assert_eq!(shop.record(&stored.id).await.state, EventState::Pending);
    }
    assert!(!waiting.is_finished(), "acknowledged what is not committed");
    other.commit().await.unwrap();
    let stored = waiting.await.unwrap().unwrap();
    assert_eq!(stored.body, "the first");
}

#[tokio::test]
async fn what_was_received_is_on_the_disk_whatever_the_session_has_set() {
    let Some(db) = Database::new().await else {
        return;
    };
    let shop = Shop::new(&db).await;
    // Notes the settings at the moment when the row is written, and the place in the log. The
    // commit comes after that place.
    shop.execute(
        "CREATE TABLE held (synchronous text, patience text, place pg_lsn);
         CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             INSERT INTO held VALUES (current_setting('synchronous_commit'), current_setting('lock_timeout'), pg_current_wal_insert_lsn());
             RETURN NEW;
         END $$;
         CREATE TRIGGER hold BEFORE INSERT ON stripe_checkout_events FOR EACH ROW EXECUTE FUNCTION hold()",
    )
    .await;
    for (set, held) in [
        (
            "SET synchronous_commit = off; SET lock_timeout = 7000",
            "on",
        ),
        (
            "SET synchronous_commit = local; SET lock_timeout = 7000",
            "on",
        ),
        (
            "SET synchronous_commit = remote_apply; SET lock_timeout = 7000",
            "remote_apply",
        ),
    ] {
        let pool = db.pool(1, set).await;
        let before: String = sqlx::query_scalar("SHOW synchronous_commit")
            .fetch_one(&pool)
            .await
            .unwrap();
        let inbox = PostgresInbox::new(pool.clone()).schema(&*db.schema);
        inbox.receive(new_event(&before)).await.unwrap();
        let (synchronous, patience, flushed): (String, String, bool) = sqlx::query_as(
            "DELETE FROM held RETURNING synchronous, patience, place < pg_current_wal_flush_lsn()",
        )
        .fetch_one(&shop.pool)
        .await
        .unwrap();
        assert_eq!(synchronous, held, "{set}");
        assert_eq!(patience, "8s");
        assert!(flushed, "{set}: acknowledged what a crash undoes");
        // The next user of the connection gets the earlier settings.
        let after: (String, String) = sqlx::query_as(
            "SELECT current_setting('synchronous_commit'), current_setting('lock_timeout')",
        )
        .fetch_one(&pool)
        .await
        .unwrap();
        assert_eq!(after, (before, "7s".to_owned()));
    }
}

/// A trap of the driver: a `begin` that is cut off returns its connection to the pool in a
/// transaction. A write there without its own transaction is lost.
#[tokio::test]
async fn a_connection_that_somebody_left_in_a_transaction_loses_no_event() {
    let Some(db) = Database::new().await else {
        return;
    };
    let shop = Shop::with(&db, 1, "", |builder| builder).await;
    let other = db.pool(1, "").await;
    for n in 0..10 {
        let mut conn = shop.pool.acquire().await.unwrap();
        let backend: i32 = sqlx::query_scalar("SELECT pg_backend_pid()")
            .fetch_one(&mut *conn)
            .await
            .unwrap();
        // The server is sometimes faster than the cut-off.
        while cut_off(conn.begin(), 1).await {}
        drop(conn);
        until("the connection is in a transaction", || async {
            let state: String =
                sqlx::query_scalar("SELECT state FROM pg_stat_activity WHERE pid = $1")
                    .bind(backend)
                    .fetch_one(&other)
                    .await
                    .unwrap();
            state == "idle in transaction"
        })
        .await;
        let id = format!("evt_{n}");
        shop.inbox.receive(new_event(&id)).await.unwrap();
        let stored: i64 =
            sqlx::query_scalar("SELECT count(*) FROM stripe_checkout_events WHERE id = $1")
                .bind(&id)
                .fetch_one(&other)
                .await
                .unwrap();
        assert_eq!(stored, 1, "acknowledged, and not there");
    }
}

/// Notes the attempts that another process sees while the handler runs.
struct SeenByOthers {
    other: PgPool,
    attempts: Mutex<Vec<i64>>,
}

impl Dispatch<PgConnection> for SeenByOthers {
    fn dispatch<'a>(
        &'a self,
        _: &'a EventRecord,
        payment: &'a PaymentRecord,
        _: Option<&'a IntentRecord>,
        _: &'a mut PgConnection,
    ) -> BoxFuture<'a, Verdict> {
        Box::pin(async move {
            let attempts = "SELECT attempts FROM stripe_checkout_events WHERE state = 'pending'";
            let attempts: i64 = sqlx::query_scalar(attempts)
                .fetch_one(&self.other)
                .await
                .unwrap();
            self.attempts.lock().unwrap().push(attempts);
            Verdict::Done {
                payment: payment.clone(),
                intent: None,
            }
        })
    }
}

/// An attempt must be committed before the handler runs. Otherwise it would not count if the
/// process dies.
#[tokio::test]
async fn a_connection_that_was_left_in_a_transaction_claims_no_event() {
    let Some(db) = Database::new().await else {
        return;
    };
    let shop = Shop::with(&db, 1, "", |builder| builder).await;
    let seen = SeenByOthers {
        other: db.pool(1, "").await,
        attempts: Mutex::default(),
    };
    for n in 0..6 {
        let id = format!("evt_{n}");
        shop.inbox.receive(new_event(&id)).await.unwrap();
        let mut conn = shop.pool.acquire().await.unwrap();
        let backend: i32 = sqlx::query_scalar("SELECT pg_backend_pid()")
            .fetch_one(&mut *conn)
            .await
            .unwrap();
        // The server is sometimes faster than the cut-off.
        while cut_off(conn.begin(), 1).await {}
        drop(conn);
        until("the connection is in a transaction", || async {
            let state: String =
                sqlx::query_scalar("SELECT state FROM pg_stat_activity WHERE pid = $1")
                    .bind(backend)
                    .fetch_one(&seen.other)
                    .await
                    .unwrap();
            state == "idle in transaction"
        })
        .await;
        let turn = match n % 2 {
            0 => Which::Due,
            _ => Which::Now(&id),
        };
        let terms = terms(5000, 9000, 20);
        let step = shop.inbox.step(&tea(), turn, terms, &seen).await;
        let did = step.unwrap().unwrap().did;
        assert_eq!(did, Stepped::Now(EventState::Done));
        assert_eq!(shop.record(&id).await.state, EventState::Done);
    }
    assert_eq!(*seen.attempts.lock().unwrap(), [1; 6]);
}

#[tokio::test]
async fn whoever_is_cut_off_takes_nobody_with_him() {
    let Some(db) = Database::new().await else {
        return;
    };
    let shop = Shop::with(&db, 1, "", |builder| builder).await;
    for polls in 1..6 {
        let first = many_events(&format!("first_{polls}"), 1).remove(0);
        let inbox = shop.inbox.clone();
        let cut = tokio::spawn(async move { cut_off(inbox.receive(first), polls).await });
        let tasks = receiving(&shop.inbox, many_events(&format!("evt_{polls}"), 10));
        cut.await.unwrap();
        for task in tasks {
            let stored = task.await.unwrap().unwrap();
            assert_eq!(shop.record(&stored.id).await.state, EventState::Pending);
        }
    }
}

#[tokio::test]
async fn the_defaults_of_a_session_do_not_keep_an_event_from_being_stored() {
    let Some(db) = Database::new().await else {
        return;
    };
    let shop = Shop::new(&db).await;
    let set = "SET default_transaction_read_only = on; SET default_transaction_isolation = 'serializable'";
    let inbox = PostgresInbox::new(db.pool(4, set).await).schema(&*db.schema);
    for task in receiving(&inbox, many_events("read_only", 20)) {
        let stored = task.await.unwrap().unwrap();
        assert_eq!(shop.record(&stored.id).await.state, EventState::Pending);
    }
    // The merchant's own rule refuses one of them.
    shop.execute("ALTER TABLE stripe_checkout_events ADD CHECK (id <> 'evt_7')")
        .await;
    let mut refused = 0;
    for (n, task) in receiving(&shop.inbox, many_events("evt", 20))
        .into_iter()
        .enumerate()
    {
        match task.await.unwrap() {
            Ok(stored) => assert_eq!(shop.record(&stored.id).await.id, format!("evt_{n}")),
            Err(error) => {
                assert!(matches!(error, InboxError::Unavailable(_)), "{error:?}");
                assert_eq!(n, 7);
                refused += 1;
            }
        }
    }
    assert_eq!(refused, 1);
}

#[tokio::test]
async fn a_table_that_is_locked_is_waited_for_no_longer_than_a_row() {
    let Some(db) = Database::new().await else {
        return;
    };
    let shop = Shop::new(&db).await;
    let mut other = shop.pool.begin().await.unwrap();
    sqlx::raw_sql("LOCK TABLE stripe_checkout_events IN ACCESS EXCLUSIVE MODE")
        .execute(&mut *other)
        .await
        .unwrap();
    let error = shop.inbox.receive(new_event("evt_1")).await.unwrap_err();
    assert!(matches!(error, InboxError::Busy), "{error:?}");
    other.rollback().await.unwrap();
    shop.inbox.receive(new_event("evt_1")).await.unwrap();
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// Returns the lines since the last call.
    fn take(&self) -> String {
        String::from_utf8(std::mem::take(&mut *self.0.lock().unwrap())).unwrap()
    }
}

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
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
