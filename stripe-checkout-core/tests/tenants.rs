//! One worker and one schedule of upkeep for the checkouts of many tenants on one inbox.

mod postgres_server;

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool};
use stripe_checkout_core::fulfillment::{
    Due, EventState, FulfillmentHandler, Inbox, InboxExt as _, MemoryInbox, NewEvent,
    PostgresInbox, Scope, SqliteInbox,
};
use stripe_checkout_core::testing::{EventBody, PaymentIntent};
use stripe_checkout_core::webhook::{Event, Payment};
use stripe_checkout_core::{
    Amount, BoxError, Checkout, Config, Currency, Mode, Ownership, Tenants, WebhookSecret,
};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use self::postgres_server::Database;

const PRICE: Amount = Amount::new(1999, Currency::EUR);

/// Counts what was fulfilled for each tenant.
#[derive(Clone, Default)]
struct Shipped(Arc<Mutex<HashMap<String, usize>>>);

impl Shipped {
    fn of(&self, tenant: &str) -> usize {
        self.0.lock().unwrap().get(tenant).copied().unwrap_or(0)
    }
}

struct Ships {
    tenant: String,
    shipped: Shipped,
}

impl<C: Send> FulfillmentHandler<C> for Ships {
    async fn payment_succeeded(&self, _: &Payment, _: &mut C) -> Result<(), BoxError> {
        let mut shipped = self.shipped.0.lock().unwrap();
        *shipped.entry(self.tenant.clone()).or_default() += 1;
        Ok(())
    }

    async fn amount_due(&self, _: &Payment, _: &mut C) -> Result<Due, BoxError> {
        Ok(Due::Exactly(PRICE))
    }
}

/// The checkout of a tenant, after it wrote its birth down.
async fn tenant<I: Inbox + Clone>(inbox: &I, name: &str, shipped: &Shipped) -> Checkout
where
    Ships: FulfillmentHandler<I::Connection>,
{
    let secret = WebhookSecret::new("whsec_of_this_test").unwrap();
    let ships = Ships {
        tenant: name.to_owned(),
        shipped: shipped.clone(),
    };
    let checkout = Checkout::builder(Config::new([secret]).unwrap())
        .application(name)
        .ownership(Ownership::AllPayments)
        .fulfillment(inbox.clone(), ships)
        .build()
        .unwrap();
    checkout.drain().await;
    checkout
}

fn scope(tenant: &str) -> Scope {
    Scope {
        application: tenant.to_owned(),
        mode: Mode::Test,
    }
}

/// A paid payment of a tenant, as it is stored before it runs.
fn paid(tenant: &str, number: usize, received: SystemTime) -> NewEvent {
    let (id, payment) = (
        format!("evt_{tenant}_{number}"),
        format!("pi_{tenant}_{number}"),
    );
    let object = PaymentIntent::new(&payment, PRICE)
        .status("succeeded")
        .object();
    let body = EventBody::new("payment_intent.succeeded", object)
        .id(&id)
        .body();
    let event = Event::parse(body).unwrap();
    NewEvent {
        scope: scope(tenant),
        id,
        event_type: event.event_type().to_owned(),
        payment: Some(payment),
        order: None,
        ours: true,
        settles: true,
        note: None,
        body: event.without_client_secrets().body().to_owned().into(),
        received,
    }
}

async fn state(inbox: &impl Inbox, tenant: &str, number: usize) -> EventState {
    let id = format!("evt_{tenant}_{number}");
    inbox
        .event(&scope(tenant), &id)
        .await
        .unwrap()
        .unwrap()
        .state
}

/// Runs until it is told to stop.
struct Task {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Task {
    fn new<F: Future<Output = ()> + Send + 'static>(
        run: impl FnOnce(std::pin::Pin<Box<dyn Future<Output = ()> + Send>>) -> F,
    ) -> Self {
        let (stop, stopped) = oneshot::channel();
        let stopped = Box::pin(async move {
            let _ = stopped.await;
        });
        Self {
            stop,
            task: tokio::spawn(run(stopped)),
        }
    }

    async fn stop(self) {
        let _ = self.stop.send(());
        self.task.await.unwrap();
    }
}

/// Waits for a condition, not for luck.
async fn until<F: Future<Output = bool>>(condition: impl Fn() -> F) {
    let give_up = Instant::now() + Duration::from_secs(60);
    while !condition().await {
        assert!(Instant::now() < give_up, "not within a minute");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A database of its own, whose statistics count no other test.
struct Counted {
    admin: PgConnection,
    name: String,
    pool: PgPool,
}

impl Counted {
    async fn new(database: &Database) -> Self {
        let mut admin = PgConnection::connect_with(&database.options).await.unwrap();
        let name = format!("{}_counted", database.schema);
        let create = AssertSqlSafe(format!("CREATE DATABASE {name}"));
        sqlx::raw_sql(create).execute(&mut admin).await.unwrap();
        let options = database.options.clone().database(&name);
        let pool = PgPool::connect_with(options).await.unwrap();
        Self { admin, name, pool }
    }

    /// How many transactions were committed. A session that ends reports all of its own.
    async fn commits(&mut self) -> i64 {
        let give_up = Instant::now() + Duration::from_secs(60);
        loop {
            // Also those that came back to the pool only now.
            while let Some(idle) = self.pool.try_acquire() {
                idle.close().await.unwrap();
            }
            let sessions = "SELECT count(*) FROM pg_stat_activity WHERE datname = $1";
            let sessions: i64 = sqlx::query_scalar(sessions)
                .bind(&self.name)
                .fetch_one(&mut self.admin)
                .await
                .unwrap();
            if sessions == 0 {
                break;
            }
            assert!(Instant::now() < give_up, "sessions do not end");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        sqlx::query_scalar("SELECT xact_commit FROM pg_stat_database WHERE datname = $1")
            .bind(&self.name)
            .fetch_one(&mut self.admin)
            .await
            .unwrap()
    }

    async fn close(mut self) {
        self.pool.close().await;
        let drop = AssertSqlSafe(format!("DROP DATABASE {} WITH (FORCE)", self.name));
        sqlx::raw_sql(drop).execute(&mut self.admin).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_idle_tenants_cost_at_most_five_transactions_a_second() {
    let Some(database) = Database::new().await else {
        return;
    };
    let mut counted = Counted::new(&database).await;
    let inbox = PostgresInbox::migrated(counted.pool.clone()).await.unwrap();
    let (tenants, shipped) = (Tenants::new(), Shipped::default());
    let mut shops = Vec::new();
    for number in 0..1_000 {
        let shop = tenant(&inbox, &format!("tenant-{number}"), &shipped).await;
        tenants.add(&shop);
        shops.push(shop);
    }
    // The last tenant has had its first upkeep when this old event is gone.
    let long_ago = SystemTime::now() - Duration::from_secs(40 * 24 * 60 * 60);
    let last = "tenant-999";
    inbox.receive(paid(last, 0, long_ago)).await.unwrap();
    assert!(shops[999].run_due().await.unwrap());
    let upkeep = Task::new(|stop| tenants.upkeep().run(stop));
    until(|| async {
        inbox
            .event(&scope(last), "evt_tenant-999_0")
            .await
            .unwrap()
            .is_none()
    })
    .await;
    until_idle(&counted.pool).await;

    let (before, began) = (counted.commits().await, Instant::now());
    let worker = Task::new(|stop| tenants.worker().run(stop));
    let seconds = 8;
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    worker.stop().await;
    upkeep.stop().await;
    let commits = counted.commits().await - before;
    let took = began.elapsed().as_secs_f64();
    println!("{commits} transactions of 1,000 idle tenants in {took:.1} s");
    assert!(commits >= seconds as i64 - 1, "the worker looks: {commits}");
    assert!((commits as f64) <= 5.0 * took, "{commits} in {took:.1} s");

    // All of them are served.
    let some = ["tenant-0", "tenant-500", "tenant-998"];
    for name in some {
        inbox
            .receive(paid(name, 1, SystemTime::now()))
            .await
            .unwrap();
    }
    let worker = Task::new(|stop| tenants.worker().run(stop));
    until(|| async { some.iter().all(|name| shipped.of(name) == 1) }).await;
    worker.stop().await;
    drop((shops, inbox));
    counted.close().await;
}

/// Waits until the first upkeep of the other tenants has ended too: nothing uses a connection for
/// many looks of the schedule.
async fn until_idle(pool: &PgPool) {
    let mut calm = 0;
    while calm < 100 {
        let is_calm = pool.num_idle() == usize::try_from(pool.size()).unwrap();
        calm = if is_calm { calm + 1 } else { 0 };
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_with_ten_thousand_events_does_not_starve_the_others() {
    let Some(database) = Database::new().await else {
        return;
    };
    let pool = database.pool(8, "").await;
    let inbox = PostgresInbox::new(pool.clone()).schema(&*database.schema);
    inbox.migrate().await.unwrap();
    let (tenants, shipped) = (Tenants::new(), Shipped::default());
    let mut shops = vec![tenant(&inbox, "big", &shipped).await];
    inbox
        .receive(paid("big", 0, SystemTime::now()))
        .await
        .unwrap();
    // More of the same, each with an id and a payment of its own.
    let copies = "INSERT INTO stripe_checkout_events (application, mode, id, event_type, payment, order_account, ours, settles, body, received, state, attempts, due, taken, claim) \
        SELECT application, mode, 'evt_big_' || n, event_type, 'pi_big_' || n, '', ours, settles, \
        convert_to(replace(convert_from(body, 'UTF8'), '_big_0', '_big_' || n), 'UTF8'), received, state, 0, due, 0, 0 \
        FROM stripe_checkout_events, generate_series(1, 9999) AS n WHERE id = 'evt_big_0'";
    sqlx::raw_sql(copies).execute(&pool).await.unwrap();
    for number in 0..20 {
        let name = format!("small-{number}");
        shops.push(tenant(&inbox, &name, &shipped).await);
        // They are due later than all of the big one's.
        inbox
            .receive(paid(&name, 0, SystemTime::now()))
            .await
            .unwrap();
    }
    for shop in &shops {
        tenants.add(shop);
    }
    let worker = tenants.worker().interval(Duration::from_millis(10));
    let worker = Task::new(|stop| worker.run(stop));
    let names: Vec<_> = (0..20).map(|number| format!("small-{number}")).collect();
    until(|| async { names.iter().all(|name| shipped.of(name) == 1) }).await;
    let big = shipped.of("big");
    assert!(big < 500, "{big} events of the big tenant came first");
    // A tenant whose event comes while the big one is busy.
    until(|| async { shipped.of("big") > 0 }).await;
    inbox
        .receive(paid("small-3", 1, SystemTime::now()))
        .await
        .unwrap();
    until(|| async { shipped.of("small-3") == 2 }).await;
    assert!(shipped.of("big") < 10_000, "it waited for all of them");
    worker.stop().await;
}

async fn dropped_tenants_leave<I: Inbox + Clone>(inbox: I)
where
    Ships: FulfillmentHandler<I::Connection>,
{
    let (tenants, shipped) = (Tenants::new(), Shipped::default());
    let left = tenant(&inbox, "left", &shipped).await;
    let stays = tenant(&inbox, "stays", &shipped).await;
    // A clone that has other routes is the same tenant.
    let clone = stays.clone();
    for shop in [&left, &stays, &clone] {
        tenants.add(shop);
    }
    let worker = tenants.worker().interval(Duration::from_millis(10));
    let worker = Task::new(|stop| worker.run(stop));
    for name in ["left", "stays"] {
        inbox
            .receive(paid(name, 0, SystemTime::now()))
            .await
            .unwrap();
    }
    until(|| async { shipped.of("left") + shipped.of("stays") == 2 }).await;
    until(|| async { state(&inbox, "left", 0).await == EventState::Done }).await;
    drop(left);
    drop(clone);
    until(|| async { format!("{tenants:?}").contains("tenants: 1") }).await;
    for name in ["left", "stays"] {
        inbox
            .receive(paid(name, 1, SystemTime::now()))
            .await
            .unwrap();
    }
    // Several looks after it, what is due for the tenant that left is due still.
    for number in 2..5 {
        inbox
            .receive(paid("stays", number, SystemTime::now()))
            .await
            .unwrap();
        until(|| async { shipped.of("stays") == number + 1 }).await;
    }
    assert_eq!(state(&inbox, "left", 1).await, EventState::Pending);
    assert_eq!(shipped.of("left"), 1);
    // It comes back.
    tenants.add(&tenant(&inbox, "gone at once", &shipped).await);
    let back = tenant(&inbox, "left", &shipped).await;
    tenants.add(&back);
    until(|| async { shipped.of("left") == 2 }).await;
    worker.stop().await;
    drop((stays, back));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_that_is_dropped_leaves_the_worker() {
    dropped_tenants_leave(MemoryInbox::new()).await;
    let folder = tempfile::tempdir().unwrap();
    dropped_tenants_leave(sqlite(&folder, "shop.db").await).await;
    if let Some(database) = Database::new().await {
        let inbox = PostgresInbox::new(database.pool(8, "").await).schema(&*database.schema);
        inbox.migrate().await.unwrap();
        dropped_tenants_leave(inbox).await;
    }
}

async fn sqlite(folder: &tempfile::TempDir, file: &str) -> SqliteInbox {
    let options = sqlx::sqlite::SqliteConnectOptions::new()
        .filename(folder.path().join(file))
        .create_if_missing(true);
    let pool = sqlx::SqlitePool::connect_with(options).await.unwrap();
    SqliteInbox::migrated(pool).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tenants_with_files_of_their_own_are_served_together() {
    let folder = tempfile::tempdir().unwrap();
    let (tenants, shipped) = (Tenants::new(), Shipped::default());
    let mut shops = Vec::new();
    for name in ["one", "two", "three"] {
        let inbox = sqlite(&folder, name).await;
        let shop = tenant(&inbox, name, &shipped).await;
        tenants.add(&shop);
        inbox
            .receive(paid(name, 0, SystemTime::now()))
            .await
            .unwrap();
        shops.push(shop);
    }
    let worker = tenants.worker().interval(Duration::from_millis(10));
    let worker = Task::new(|stop| worker.run(stop));
    until(|| async {
        ["one", "two", "three"]
            .iter()
            .all(|name| shipped.of(name) == 1)
    })
    .await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn upkeep_prunes_each_tenant_and_those_who_come_later() {
    let inbox = MemoryInbox::new();
    let (tenants, shipped) = (Tenants::new(), Shipped::default());
    let long_ago = SystemTime::now() - Duration::from_secs(40 * 24 * 60 * 60);
    let upkeep = Task::new(|stop| tenants.upkeep().run(stop));
    let mut shops = Vec::new();
    for name in ["one", "two"] {
        let shop = tenant(&inbox, name, &shipped).await;
        inbox.receive(paid(name, 0, long_ago)).await.unwrap();
        assert!(shop.run_due().await.unwrap());
        assert_eq!(state(&inbox, name, 0).await, EventState::Done);
        tenants.add(&shop);
        let id = format!("evt_{name}_0");
        until(|| async { inbox.event(&scope(name), &id).await.unwrap().is_none() }).await;
        shops.push(shop);
    }
    upkeep.stop().await;
}
