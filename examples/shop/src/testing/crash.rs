//! The crash test: buyers buy in the shop while the test kills, freezes and resumes its processes.
//!
//! On PostgreSQL, the test also stops and starts the database server. At the end it compares the
//! table `shipments` in the database with the payments that succeeded at the sandbox. Each paid
//! order must have exactly one shipment, and no other order may have any. That table is append-only
//! and has no unique key on orders, which would hide a double.
//!
//! The sandbox delivers every event of a payment several times, shuffled and concurrently. It
//! delivers them to two processes on one PostgreSQL, or to one process on SQLite. Some changes
//! create two event objects. Some buyers come back and ask for the status of their payment, some
//! are declined first, and some walk away.
//!
//! ```text
//! shop::crash_tests!(env!("CARGO_BIN_EXE_shop-axum"));
//! ```
//!
//! By default, this takes half a minute. `CRASH=long` runs the full test for each variant: 2,000
//! payments, 200 kills, and freezes that last longer than every deadline of the inbox.
//! `CRASH_PAYMENTS` and `CRASH_KILLS` set other numbers. `CRASH_SEED` repeats the random decisions
//! of another run, but not the machine's timing.

mod buyer;
pub mod cluster;
mod ledger;
mod process;
mod tally;

use std::{
    collections::BTreeMap,
    env,
    ffi::OsStr,
    fmt::Write as _,
    path::Path,
    sync::{
        Arc, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use fastrand::Rng;
use stripe_checkout_sandbox::{self as sandbox, Sandbox};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::Mutex,
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

use self::{cluster::Cluster, ledger::Ledger, process::Process, tally::Tally};
use super::{STEP, http::Http};

/// Which kind of shop the test disturbs, and how it receives its events.
#[derive(Debug, Clone, Copy)]
pub struct Variant {
    /// Its name in the table.
    pub name: &'static str,
    /// Whether two processes on PostgreSQL run, instead of one on SQLite.
    pub postgres: bool,
    /// Whether the shop answers as soon as it has stored an event, and its worker handles the event
    /// later.
    pub queued: bool,
    /// Whether the sandbox delivers nothing again after a 2xx. Then there are no duplicates, no
    /// second endpoint, no second event object, no returning buyer and no reconciler. So an event
    /// that the shop acknowledges and loses stays lost.
    pub acknowledged_once: bool,
}

/// Defines one test for each variant, against the program at this path.
#[macro_export]
macro_rules! crash_tests {
    ($program:expr) => {
        $crate::crash_tests! { $program;
            sqlite_inline: false false false,
            sqlite_queued_acknowledged_once: false true true,
            postgres_inline: true false false,
            postgres_queued: true true false,
            postgres_inline_acknowledged_once: true false true,
            postgres_queued_acknowledged_once: true true true,
        }
    };
    ($program:expr; $($test:ident: $postgres:literal $queued:literal $once:literal,)*) => {
        $(
            #[test]
            fn $test() {
                $crate::testing::crash::run($program, $crate::testing::crash::Variant {
                    name: stringify!($test),
                    postgres: $postgres,
                    queued: $queued,
                    acknowledged_once: $once,
                });
            }
        )*
    };
}

/// How much of everything a run has.
#[derive(Debug, Clone)]
struct Plan {
    payments: usize,
    kills: usize,
    freezes: usize,
    /// How long a process stays frozen.
    freeze: Duration,
    /// How often the test stops the database server.
    stops: usize,
    /// The longest time that a process lives before the test kills it, if a kill is due.
    life: Duration,
    /// The number of concurrent buyers.
    buyers: usize,
    /// How long the whole plan may take.
    patience: Duration,
    /// Whether the run waits until the leases of killed processes expire.
    long: bool,
    seed: u64,
}

impl Plan {
    fn of(variant: Variant) -> Self {
        let number = |name: &str| -> Option<u64> {
            let text = env::var(name).ok()?;
            let number = text.parse();
            Some(number.unwrap_or_else(|_| panic!("{name} is no number")))
        };
        let long = match env::var("CRASH").as_deref() {
            Ok("long") => true,
            Err(_) | Ok("short") => false,
            Ok(other) => panic!("CRASH is short or long, not {other}"),
        };
        let seed = number("CRASH_SEED").unwrap_or_else(|| std::process::id().into());
        let payments = number("CRASH_PAYMENTS").map(|number| number as usize);
        let kills = number("CRASH_KILLS").map(|number| number as usize);
        if long {
            Self {
                payments: payments.unwrap_or(2_000),
                kills: kills.unwrap_or(200),
                freezes: 5,
                freeze: Duration::from_secs(40),
                stops: if variant.postgres { 20 } else { 0 },
                life: Duration::from_secs(4),
                buyers: 8,
                patience: Duration::from_secs(60 * 60),
                long,
                seed,
            }
        } else {
            Self {
                payments: payments.unwrap_or(60),
                kills: kills.unwrap_or(6),
                freezes: 1,
                freeze: Duration::from_secs(2),
                stops: if variant.postgres { 1 } else { 0 },
                life: Duration::from_millis(600),
                buyers: 4,
                patience: Duration::from_secs(120),
                long,
                seed,
            }
        }
    }
}

/// Returns the waits between attempts to deliver an event.
///
/// They are short, and there are more than needed, so that the sandbox never gives up while the
/// shop is down.
fn waits() -> Vec<Duration> {
    let mut waits = [100, 200, 400, 800].map(Duration::from_millis).to_vec();
    waits.resize(10_000, Duration::from_secs(1));
    waits
}

/// After this time every paid charge has its balance transaction.
const BOOKED: Duration = Duration::from_secs(60);
/// How long the sandbox waits for the response to a delivery. The inbox lets a delivery wait for
/// another one for less time than this.
const ANSWER: Duration = Duration::from_secs(10);
/// How many duplicates of each event the sandbox delivers.
const COPIES: usize = 2;
/// Buyers wait while more deliveries than this are outstanding.
const BACKLOG: usize = 1_000;

/// The state that all parts of a run share.
#[derive(Debug)]
struct Run {
    variant: Variant,
    plan: Plan,
    sandbox: Sandbox,
    http: Http,
    /// The processes' addresses, as in `127.0.0.1:3000`.
    hosts: Vec<String>,
    tally: Tally,
    /// From now on the test disturbs nothing any more.
    calm: AtomicBool,
    /// The task that holds it may freeze a process, so that only one process is frozen at a time.
    freezing: Mutex<()>,
    /// Counts up when the database server stops, and again when it is back.
    outages: AtomicUsize,
    /// The failures found so far.
    wrong: std::sync::Mutex<Vec<String>>,
}

impl Run {
    /// Whether the next of `of` disturbances is due at this point of the run.
    fn is_due(&self, done: &AtomicUsize, of: usize) -> bool {
        let (done, payments) = (done.load(Relaxed), self.tally.payments.load(Relaxed));
        // Due in the middle of its share of the payments, so that the last one comes before the
        // last payment.
        done < of && (2 * done + 1) * self.plan.payments <= 2 * payments * of
    }

    fn is_calm(&self) -> bool {
        self.calm.load(Relaxed)
    }

    /// Whether the whole plan is done, or something went wrong.
    fn is_over(&self) -> bool {
        let (plan, tally) = (&self.plan, &self.tally);
        let enough = |done: &AtomicUsize, of: usize| done.load(Relaxed) >= of;
        enough(&tally.payments, plan.payments)
            && enough(&tally.kills, plan.kills)
            && enough(&tally.freezes, plan.freezes)
            && enough(&tally.stops, plan.stops)
            || !self.wrong().is_empty()
    }

    fn wrong(&self) -> std::sync::MutexGuard<'_, Vec<String>> {
        self.wrong.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs one variant against the program, or prints in one line why it cannot.
///
/// Where `CI` is set, it must be able to.
///
/// # Panics
/// If a paid order does not have exactly one shipment, or if any other check fails.
pub fn run(program: impl AsRef<OsStr>, variant: Variant) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    let folder = tempfile::Builder::new().prefix("crash-").tempdir();
    let folder = folder.expect("a folder");
    let played = play(program.as_ref(), variant, folder.path());
    if let Err(wrong) = runtime.expect("a runtime").block_on(played) {
        let folder = folder.keep();
        panic!(
            "{}: {wrong}\nThe logs are in {}.",
            variant.name,
            folder.display()
        );
    }
}

async fn play(program: &OsStr, variant: Variant, folder: &Path) -> Result<(), String> {
    let begin = Instant::now();
    let plan = Plan::of(variant);
    let mut rng = Rng::with_seed(plan.seed.wrapping_add(variant.name.len() as u64));
    let (cluster, ledger) = if variant.postgres {
        match Cluster::start(cluster::NOTHING_IS_DURABLE).await {
            Ok(cluster) => {
                let ledger = Ledger::postgres(&cluster.url());
                (Some(cluster), ledger)
            }
            Err(why) => {
                assert!(env::var_os("CI").is_none(), "no PostgreSQL: {why}");
                tally::say(&format!("skipped, {}: {why}", variant.name));
                return Ok(());
            }
        }
    } else {
        (None, Ledger::sqlite(&folder.join("shop.db")))
    };

    let sandbox = Sandbox::builder().retry_after(waits()).start().await;
    let sandbox = sandbox.expect("a sandbox");
    sandbox.webhooks().timeout(ANSWER);
    sandbox.webhooks().shuffle(Duration::from_millis(50));
    if !variant.acknowledged_once {
        sandbox.webhooks().duplicate(COPIES);
    }
    let hosts: Vec<String> = (0..if variant.postgres { 2 } else { 1 })
        .map(|_| format!("127.0.0.1:{}", free_port(&mut rng)))
        .collect();
    let mut tasks = JoinSet::new();
    let endpoints = if variant.acknowledged_once {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        tasks.spawn(balance(listener, hosts.clone(), rng.fork()));
        vec![address.to_string()]
    } else {
        hosts.clone()
    };
    let secrets: Vec<_> = endpoints
        .iter()
        .map(|host| {
            let secret = sandbox.webhook_endpoint(&format!("http://{host}/webhook"));
            secret.expect("a local address")
        })
        .collect();
    let copies = if variant.acknowledged_once { 0 } else { COPIES };
    let run = Arc::new(Run {
        variant,
        tally: Tally::new(endpoints.len() * (1 + copies)),
        plan,
        sandbox,
        http: Http::new(),
        hosts,
        calm: AtomicBool::new(false),
        freezing: Mutex::default(),
        outages: AtomicUsize::new(0),
        wrong: std::sync::Mutex::default(),
    });
    for (place, host) in run.hosts.iter().enumerate() {
        // Processes that share an endpoint share its secret. Otherwise each has its own.
        let secret = secrets.get(place).unwrap_or(&secrets[0]);
        let log = folder.join(format!("shop-{place}.log"));
        let process = Process::new(program, &run, host, ledger.url(), secret, log);
        tasks.spawn(process.live(Arc::clone(&run), rng.fork()));
    }
    let stopping = cluster.map(|cluster| {
        let stopping = cluster.stop_and_start(Arc::clone(&run), rng.fork());
        tokio::spawn(stopping)
    });
    tasks.spawn(tally::collect(Arc::clone(&run)));
    let mut buyers = JoinSet::new();
    for _ in 0..run.plan.buyers {
        buyers.spawn(buyer::buy_again_and_again(Arc::clone(&run), rng.fork()));
    }

    let over = async {
        while !run.is_over() {
            sleep(STEP).await;
        }
    };
    let in_time = timeout(run.plan.patience, over).await.is_ok();
    run.calm.store(true, Relaxed);
    while let Some(ended) = buyers.join_next().await {
        ended.map_err(|error| error.to_string())?;
    }
    let cluster = match stopping {
        Some(stopping) => Some(stopping.await.map_err(|error| error.to_string())?),
        None => None,
    };
    let settled = settle(&run, &ledger).await;
    run.tally.count(&run.sandbox);
    let mut wrong = std::mem::take(&mut *run.wrong());
    if !in_time {
        wrong.push("the plan was not done in time".to_owned());
    }
    if let Err(why) = settled {
        wrong.push(why);
    }
    let paid = paid_at_the_sandbox(&run).await;
    let found = ledger.compare(&paid, &run.tally.acknowledged()).await;
    let found = found.map_err(|error| error.to_string())?;
    run.tally.print(&run, &found, begin.elapsed());
    wrong.extend(found.wrong);
    tasks.shutdown().await;
    if let Some(cluster) = cluster {
        cluster.end().await;
    }
    if wrong.is_empty() {
        return Ok(());
    }
    let more = wrong.len().saturating_sub(50);
    wrong.truncate(50);
    let mut text = format!("the seed was {}\n{}", run.plan.seed, wrong.join("\n"));
    if more > 0 {
        let _ = write!(text, "\nand {more} more");
    }
    Err(text)
}

/// Waits until no delivery is outstanding and no event is pending in the inbox.
async fn settle(run: &Run, ledger: &Ledger) -> Result<(), String> {
    let limit = if run.plan.long { 300 } else { 60 };
    let end = Instant::now() + Duration::from_secs(limit);
    let mut looks = 0;
    loop {
        // A paid charge gets one more event when its balance transaction appears.
        run.sandbox.pass_time(BOOKED);
        let idle = timeout(STEP, run.sandbox.wait_idle()).await.is_ok();
        let pending = ledger.pending().await;
        if idle && matches!(pending, Ok(0)) {
            return Ok(());
        }
        if Instant::now() > end {
            return Err(format!(
                "it does not come to an end: deliveries are {}, pending events: {pending:?}",
                if idle { "done" } else { "outstanding" }
            ));
        }
        // After half a minute, any process may take over the work of a killed one. The short run
        // does not wait for that. Expiring the leases may also hit the work of a live process,
        // which must do no harm.
        looks += 1;
        if !run.plan.long && looks % 10 == 0 {
            let expired = ledger.expire_leases().await;
            expired.map_err(|error| error.to_string())?;
        }
        sleep(STEP).await;
    }
}

/// Returns the PaymentIntents that succeeded, by order, according to the sandbox and not to the
/// buyers.
async fn paid_at_the_sandbox(run: &Run) -> BTreeMap<String, Vec<String>> {
    let mut paid: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut after = String::new();
    loop {
        let url = format!("{}/v1/payment_intents?limit=100{after}", run.sandbox.url());
        let page = run.http.get(&url, Some(sandbox::SECRET_KEY)).await;
        let intents = page["data"].as_array().expect("a list");
        for intent in intents {
            let id = intent["id"].as_str().expect("an id");
            if intent["status"] == "succeeded" {
                let order = intent["metadata"]["order_id"].as_str().expect("an order");
                paid.entry(order.to_owned())
                    .or_default()
                    .push(id.to_owned());
            }
            after = format!("&starting_after={id}");
        }
        if page["has_more"] != true {
            return paid;
        }
    }
}

/// Passes each connection to a random process that accepts it, like a simple load balancer.
async fn balance(listener: TcpListener, mut hosts: Vec<String>, mut rng: Rng) {
    let mut connections = JoinSet::new();
    while let Ok((mut stream, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        rng.shuffle(&mut hosts);
        let hosts = hosts.clone();
        connections.spawn(async move {
            for host in hosts {
                if let Ok(mut shop) = TcpStream::connect(host).await {
                    // The copy fails when the test kills the process.
                    let _ = copy_bidirectional(&mut stream, &mut shop).await;
                    return;
                }
            }
        });
    }
}

/// Returns a free port below the range that the system gives to clients.
///
/// A restarted process must get the same port again.
fn free_port(rng: &mut Rng) -> u16 {
    static GIVEN: std::sync::Mutex<Vec<u16>> = std::sync::Mutex::new(Vec::new());
    let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        let port = rng.u16(15_000..32_000);
        if !given.contains(&port) && std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            given.push(port);
            return port;
        }
    }
}

/// Returns a random duration up to `most`.
fn millis(rng: &mut Rng, most: Duration) -> Duration {
    most.mul_f64(rng.f64())
}
