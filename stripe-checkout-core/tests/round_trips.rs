//! The cost of one webhook: round trips to PostgreSQL and commits, without the handler's own
//! statement. Each connection has prepared its statements before.

mod postgres_server;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use sqlx::postgres::PgPoolOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use sqlx::{AssertSqlSafe, PgConnection, PgPool, Postgres, SqliteConnection};
use stripe_checkout_core::fulfillment::{
    Due, FulfillmentHandler, Inbox, InboxExt as _, IntentRecord, IntentState, OrderKey,
    PostgresInbox, RequestState, Scope, SqliteInbox,
};
use stripe_checkout_core::testing::{EventBody, PaymentIntent, now, sign};
use stripe_checkout_core::webhook::Payment;
use stripe_checkout_core::{
    Amount, Body, BoxError, Call, Checkout, Config, Currency, Endpoint, Group, Mode, Ownership,
    WebhookSecret,
};

use self::postgres_server::Database;

const PRICE: Amount = Amount::new(1999, Currency::EUR);
const SHIPMENTS: &str = "CREATE TABLE shipments (payment text NOT NULL)";

fn secret() -> WebhookSecret {
    WebhookSecret::new("whsec_of_this_test").unwrap()
}

/// Writes one row, by one statement.
#[derive(Clone, Copy)]
struct Ship;

const OF_THE_HANDLER: usize = 1;

macro_rules! ships {
    ($connection:ty) => {
        impl FulfillmentHandler<$connection> for Ship {
            async fn payment_succeeded(
                &self,
                payment: &Payment,
                db: &mut $connection,
            ) -> Result<(), BoxError> {
                sqlx::query("INSERT INTO shipments (payment) VALUES ($1)")
                    .bind(payment.id())
                    .execute(db)
                    .await?;
                Ok(())
            }

            async fn amount_due(&self, _: &Payment, _: &mut $connection) -> Result<Due, BoxError> {
                Ok(Due::Exactly(PRICE))
            }
        }
    };
}

ships!(PgConnection);
ships!(SqliteConnection);

struct Shop<I, D: sqlx::Database> {
    pool: sqlx::Pool<D>,
    inbox: I,
    checkout: Checkout,
    webhook: Endpoint,
}

impl<I: Inbox + Clone, D: sqlx::Database> Shop<I, D>
where
    Ship: FulfillmentHandler<I::Connection>,
{
    async fn new(pool: sqlx::Pool<D>, inbox: I) -> Self {
        let checkout = Checkout::builder(Config::new([secret()]).unwrap())
            .application("tea")
            .ownership(Ownership::AllPayments)
            .fulfillment(inbox.clone(), Ship)
            .build()
            .unwrap();
        let webhook = checkout.only(Group::Webhook).endpoints()[0].clone();
        let shop = Self {
            pool,
            inbox,
            checkout,
            webhook,
        };
        // It writes its birth down.
        shop.rest().await;
        shop
    }

    /// Delivers the success of this payment, and checks the answer.
    async fn send(&self, payment: &str) {
        let object = PaymentIntent::new(payment, PRICE)
            .metadata("order_id", &order(payment).reference)
            .status("succeeded")
            .object();
        let body = EventBody::new("payment_intent.succeeded", object)
            .id(&format!("evt_{payment}"))
            .body();
        let header = sign(&body, &secret(), now());
        let call = Call::new(&self.webhook)
            .header("Stripe-Signature", header.as_bytes())
            .body(Body::whole(&body, self.webhook.body_limit()));
        let reply = self.checkout.handle(call).await;
        let text = String::from_utf8_lossy(reply.body());
        assert_eq!(reply.status(), 200, "{text}");
        assert_eq!(text, r#"{"status":"done"}"#);
        self.rest().await;
    }

    /// Waits for the work beside: the note of the last webhook, and the pool's look at a connection
    /// that comes back.
    async fn rest(&self) {
        self.checkout.drain().await;
        while self.pool.num_idle() < self.pool.size() as usize {
            tokio::task::yield_now().await;
        }
    }

    /// Stores the order of this payment, as the page does before the buyer pays.
    async fn open_order(&self, payment: &str) {
        let row = IntentRecord {
            version: 0,
            attempt: 1,
            fingerprint: "f".into(),
            request: RequestState::Sent,
            asked: PRICE,
            payment: Some(payment.into()),
            secret_hash: Some("h".into()),
            state: IntentState::Open,
            paid_by: None,
            declines: 0,
            capture: None,
        };
        let written = self.inbox.put_intent(&order(payment), None, row).await;
        assert!(written.unwrap());
        self.rest().await;
    }
}

fn order(payment: &str) -> OrderKey {
    OrderKey {
        scope: Scope {
            application: "tea".into(),
            mode: Mode::Test,
        },
        account: None,
        reference: format!("order of {payment}"),
    }
}

/// The statements of the counted sessions, in the server's log.
struct Log {
    file: PathBuf,
    /// The sessions' name there.
    name: String,
    read: usize,
    /// How often the pool asked whether an idle connection is alive. The log does not show that.
    pings: Arc<AtomicUsize>,
}

#[derive(Debug, PartialEq)]
struct Cost {
    round_trips: usize,
    commits: usize,
}

impl Log {
    /// The cost of all that the sessions did since the last time.
    fn cost(&mut self) -> Cost {
        let all = fs::read(&self.file).unwrap();
        let new = String::from_utf8_lossy(&all[self.read..]).into_owned();
        self.read = all.len();
        let mut round_trips = self.pings.swap(0, Ordering::SeqCst);
        let mut transactions = BTreeSet::new();
        for line in new.lines() {
            let Some((transaction, said)) = line
                .strip_prefix(self.name.as_str())
                .and_then(|line| line.trim_start().split_once(" LOG:  duration: "))
            else {
                continue;
            };
            // Only a transaction that writes has a number.
            if transaction != "0" {
                transactions.insert(transaction.to_owned());
            }
            let (_, did) = said.split_once(" ms  ").unwrap();
            // `bind` and `execute` go in one message; `parse` has one of its own.
            if !did.starts_with("bind ") {
                round_trips += 1;
            }
        }
        Cost {
            round_trips,
            commits: transactions.len(),
        }
    }
}

/// A shop on one connection, whose statements the server logs.
async fn logged(db: &Database) -> Option<(Shop<PostgresInbox, Postgres>, Log)> {
    // Another server's log cannot be read.
    let file = db.options.get_socket()?.join("log");
    let read = fs::metadata(&file).ok()?.len().try_into().unwrap();
    let pings = Arc::new(AtomicUsize::new(0));
    let asked = Arc::clone(&pings);
    let set = format!(
        "SET search_path = {}; SET log_min_duration_statement = 0",
        db.schema
    );
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .after_connect(move |db, _| {
            let set = AssertSqlSafe(set.clone());
            Box::pin(async move { sqlx::raw_sql(set).execute(db).await.map(drop) })
        })
        .before_acquire(move |_, _| {
            asked.fetch_add(1, Ordering::SeqCst);
            Box::pin(std::future::ready(Ok(true)))
        })
        .connect_with(db.options.clone().application_name(&db.schema))
        .await
        .unwrap();
    sqlx::raw_sql(SHIPMENTS).execute(&pool).await.unwrap();
    let inbox = PostgresInbox::new(pool.clone()).schema(&*db.schema);
    inbox.migrate().await.unwrap();
    let log = Log {
        file,
        name: format!("{} ", db.schema),
        read,
        pings,
    };
    Some((Shop::new(pool, inbox).await, log))
}

#[tokio::test]
async fn an_inline_webhook_costs_ten_round_trips_and_two_commits() {
    let Some(db) = Database::new().await else {
        return;
    };
    let Some((shop, mut log)) = logged(&db).await else {
        return;
    };
    let most = Cost {
        round_trips: 10 + OF_THE_HANDLER,
        commits: 2,
    };
    // The first ones prepare the statements.
    shop.send("pi_1").await;
    shop.open_order("pi_2").await;
    shop.send("pi_2").await;
    log.cost();
    shop.send("pi_new").await;
    assert_eq!(log.cost(), most, "a new order");
    shop.open_order("pi_known").await;
    log.cost();
    shop.send("pi_known").await;
    assert_eq!(log.cost(), most, "a known order");
    let shipped: i64 = sqlx::query_scalar("SELECT count(*) FROM shipments")
        .fetch_one(&db.pool(1, "").await)
        .await
        .unwrap();
    assert_eq!(shipped, 4);
}

#[tokio::test]
async fn a_duplicate_of_a_finished_event_costs_one_round_trip() {
    let Some(db) = Database::new().await else {
        return;
    };
    let Some((shop, mut log)) = logged(&db).await else {
        return;
    };
    shop.send("pi_1").await;
    log.cost();
    shop.send("pi_1").await;
    let one = Cost {
        round_trips: 1,
        commits: 0,
    };
    assert_eq!(log.cost(), one);
}

/// How many rows and entries of indexes the server has read in this schema.
async fn read(pool: &PgPool, schema: &str) -> i64 {
    // Counts of a session are told to others later, unless it asks for that.
    sqlx::query("SELECT pg_stat_force_next_flush()")
        .execute(pool)
        .await
        .unwrap();
    let read = "SELECT ((SELECT sum(idx_tup_read) FROM pg_stat_user_indexes WHERE schemaname = $1) \
        + (SELECT sum(seq_tup_read) FROM pg_stat_user_tables WHERE schemaname = $1))::bigint";
    sqlx::query_scalar(read)
        .bind(schema)
        .fetch_one(pool)
        .await
        .unwrap()
}

/// Without statistics two indexes may look the same to the server, and it takes either.
#[tokio::test]
async fn a_webhook_reads_as_little_among_many_events_that_the_server_has_never_counted() {
    let Some(db) = Database::new().await else {
        return;
    };
    let Some((shop, _)) = logged(&db).await else {
        return;
    };
    for table in ["events", "payments", "intents", "orders_of_payments"] {
        let off = format!("ALTER TABLE stripe_checkout_{table} SET (autovacuum_enabled = false)");
        let off = sqlx::raw_sql(AssertSqlSafe(off));
        off.execute(&shop.pool).await.unwrap();
    }
    let mut payments = 0..;
    let mut deliver = async |count: usize| {
        for number in payments.by_ref().take(count) {
            let payment = format!("pi_{number}");
            shop.open_order(&payment).await;
            shop.send(&payment).await;
            shop.send(&payment).await;
        }
    };
    deliver(10).await;
    let begun = read(&shop.pool, &db.schema).await;
    deliver(10).await;
    let among_few = read(&shop.pool, &db.schema).await - begun;
    deliver(300).await;
    let begun = read(&shop.pool, &db.schema).await;
    deliver(10).await;
    let among_many = read(&shop.pool, &db.schema).await - begun;
    assert!(
        among_many < 2 * among_few,
        "{among_few} rows among few events, {among_many} among many"
    );
}

/// How often something was committed to this file. The last page of each commit says how large the
/// file is then.
fn commits(file: &Path) -> usize {
    let mut name = file.as_os_str().to_owned();
    name.push("-wal");
    let wal = fs::read(name).unwrap();
    let number = |at: usize| u32::from_be_bytes(wal[at..at + 4].try_into().unwrap());
    let page = number(8) as usize;
    let frames = (32..wal.len()).step_by(24 + page);
    let last = |frame: &usize| number(frame + 4) > 0 && wal[frame + 8..frame + 16] == wal[16..24];
    frames.filter(last).count()
}

#[tokio::test]
async fn an_inline_webhook_costs_two_commits_of_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("shop.db");
    let options = SqliteConnectOptions::new()
        .filename(&file)
        .create_if_missing(true);
    let pool = SqlitePoolOptions::new()
        .connect_with(options)
        .await
        .unwrap();
    let shop = Shop::new(
        pool.clone(),
        SqliteInbox::migrated(pool.clone()).await.unwrap(),
    )
    .await;
    sqlx::raw_sql(SHIPMENTS).execute(&pool).await.unwrap();
    shop.send("pi_1").await;
    let before = commits(&file);
    shop.send("pi_new").await;
    assert_eq!(commits(&file) - before, 2, "a new order");
    shop.open_order("pi_known").await;
    let before = commits(&file);
    shop.send("pi_known").await;
    assert_eq!(commits(&file) - before, 2, "a known order");
    let before = commits(&file);
    shop.send("pi_known").await;
    assert_eq!(commits(&file) - before, 0, "a duplicate");
}
