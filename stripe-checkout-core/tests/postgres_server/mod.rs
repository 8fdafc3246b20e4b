//! A PostgreSQL to test with: the one that `DATABASE_URL` names, or our own cluster in a temporary
//! folder, with a socket there. Each test has its own schema.

pub(crate) mod programs;

use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};
use std::{env, fs, process, thread};

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool};

use self::programs::{command, find, other_user, output};

/// Whether our own cluster waits for the disk at each commit. Tests do not need that: every write
/// goes to the operating system at once.
pub(crate) static WAITS_FOR_THE_DISK: AtomicBool = AtomicBool::new(false);

/// A schema for one test.
pub(crate) struct Database {
    pub(crate) options: PgConnectOptions,
    pub(crate) schema: String,
}

impl Database {
    /// `None` if there is no PostgreSQL. In continuous integration there has to be one.
    pub(crate) async fn new() -> Option<Self> {
        static SERVER: OnceLock<Result<PgConnectOptions, String>> = OnceLock::new();
        let server = SERVER.get_or_init(|| {
            let server = server();
            if let Err(why) = &server {
                // This line bypasses the test harness, which shows only the output of failing
                // tests.
                let line = format!("skipped, all that needs PostgreSQL: {why}\n");
                std::io::stderr().write_all(line.as_bytes()).unwrap();
            }
            server
        });
        let options = match server {
            Ok(options) => options.clone(),
            Err(why) if env::var_os("CI").is_some() => panic!("no PostgreSQL: {why}"),
            Err(_) => return None,
        };
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let schema = format!("test_{}_{count}", process::id());
        let mut conn = PgConnection::connect_with(&options).await.unwrap();
        let create = format!("DROP SCHEMA IF EXISTS {schema} CASCADE; CREATE SCHEMA {schema}");
        sqlx::raw_sql(AssertSqlSafe(create))
            .execute(&mut conn)
            .await
            .unwrap();
        conn.close().await.unwrap();
        Some(Self { options, schema })
    }

    /// Opens a separate pool, like another process, whose sessions have these settings.
    pub(crate) async fn pool(&self, size: u32, set: &'static str) -> PgPool {
        let options = self.options.clone();
        let set = format!("SET search_path = {}; {set}", self.schema);
        PgPoolOptions::new()
            .max_connections(size)
            .acquire_timeout(Duration::from_secs(60))
            .after_connect(move |conn, _| {
                let set = AssertSqlSafe(set.clone());
                Box::pin(async move { sqlx::raw_sql(set).execute(conn).await.map(drop) })
            })
            .connect_with(options)
            .await
            .unwrap()
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if env::var_os("DATABASE_URL").is_none() {
            return;
        }
        let (options, schema) = (self.options.clone(), self.schema.clone());
        let dropping = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            runtime.block_on(async {
                let mut conn = PgConnection::connect_with(&options).await?;
                let drop = format!("SET lock_timeout = '5s'; DROP SCHEMA {schema} CASCADE");
                sqlx::raw_sql(AssertSqlSafe(drop))
                    .execute(&mut conn)
                    .await?;
                conn.close().await
            })
        });
        // A failed clean-up does not make a test fail.
        let _ = dropping.join();
    }
}

fn server() -> Result<PgConnectOptions, String> {
    if let Ok(url) = env::var("DATABASE_URL") {
        return url
            .parse()
            .map_err(|error| format!("DATABASE_URL: {error}"));
    }
    start().map_err(|why| format!("DATABASE_URL is not set, and {why}"))
}

/// Starts a cluster that ends with this process, however the process ends. Its folder is deleted
/// then too.
fn start() -> Result<PgConnectOptions, String> {
    let initdb = find("initdb").ok_or("initdb is not installed")?;
    let postgres = find("postgres").ok_or("postgres is not installed")?;
    let folder = env::temp_dir().join(format!("stripe-checkout-pg-{}", process::id()));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir(&folder).map_err(|error| error.to_string())?;
    // PostgreSQL refuses to run as root.
    let as_whom = if output("id", &["-u"]).as_deref() == Some("0") {
        let (user, as_whom) = other_user()?;
        let chown = Command::new("chown").arg(user).arg(&folder).status();
        if !chown.is_ok_and(|status| status.success()) {
            return Err(format!("the folder cannot be given to {user}"));
        }
        as_whom
    } else {
        Vec::new()
    };
    let data = folder.join("data");
    let made = command(&as_whom, &initdb)
        .args(["--no-sync", "-A", "trust", "-U", "postgres", "-E", "UTF8"])
        .args(["--locale=C", "-D"])
        .arg(&data)
        .current_dir(&folder)
        .output()
        .map_err(|error| error.to_string())?;
    if !made.status.success() {
        let why = String::from_utf8_lossy(&made.stderr);
        return Err(format!("initdb failed: {why}"));
    }
    let child = serve(&as_whom, &postgres, &folder).map_err(|error| error.to_string())?;
    // The child is never dropped: its standard input closes when this process ends.
    static CHILD: OnceLock<Child> = OnceLock::new();
    let _ = CHILD.set(child);
    let socket = folder.join(".s.PGSQL.5432");
    let give_up = Instant::now() + Duration::from_secs(60);
    let log = folder.join("log");
    while std::os::unix::net::UnixStream::connect(&socket).is_err()
        || !fs::read_to_string(&log).is_ok_and(|log| log.contains("ready to accept connections"))
    {
        if Instant::now() > give_up {
            let log = fs::read_to_string(&log).unwrap_or_default();
            return Err(format!("postgres does not start: {log}"));
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(PgConnectOptions::new_without_pgpass()
        .socket(&folder)
        .port(5432)
        .username("postgres")
        .database("postgres"))
}

/// Starts a shell that runs the server. It waits for the end of its standard input, which is the
/// end of this process.
fn serve(as_whom: &[String], postgres: &Path, folder: &Path) -> std::io::Result<Child> {
    let disk = match WAITS_FOR_THE_DISK.load(Ordering::Relaxed) {
        true => "on",
        false => "off",
    };
    let script = r#"
        cd "$1" && "$0" -D data -k "$1" -h '' -p 5432 -c fsync=$2 -c full_page_writes=$2 -c max_connections=300 -c log_line_prefix='%a %x ' >log 2>&1 </dev/null &
        server=$!
        cat >/dev/null
        kill -QUIT $server
        wait $server
        cd / && rm -rf "$1"
    "#;
    command(as_whom, Path::new("sh"))
        .arg("-c")
        .arg(script)
        .arg(postgres)
        .arg(folder)
        .arg(disk)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
}
