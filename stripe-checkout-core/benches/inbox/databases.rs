//! The databases: a schema in PostgreSQL or a file of SQLite, new for each measurement, and
//! PostgreSQL's benchmark tool.

use std::path::PathBuf;
use std::process::{Command, id};
use std::sync::atomic::{AtomicU32, Ordering};
use std::{env, fs};

use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use sqlx::{AssertSqlSafe, PgPool, SqlitePool};
use stripe_checkout_core::fulfillment::{PostgresInbox, SqliteInbox};

use crate::measure::TIME;
use crate::postgres_server::Database;
use crate::postgres_server::programs::find;

/// A schema with the inbox's tables.
pub(crate) struct Postgres {
    database: Database,
    pub(crate) pool: PgPool,
    pub(crate) inbox: PostgresInbox,
}

impl Postgres {
    /// `None` if there is no PostgreSQL.
    pub(crate) async fn new(connections: u32) -> Option<Self> {
        let database = Database::new().await?;
        let pool = database.pool(connections, "").await;
        let inbox = PostgresInbox::new(pool.clone()).schema(&*database.schema);
        inbox.migrate().await.unwrap();
        Some(Self {
            database,
            pool,
            inbox,
        })
    }

    /// Returns the same tables with a pool of another size, with all of its connections open.
    pub(crate) async fn inbox_with(&self, connections: u32) -> PostgresInbox {
        let pool = self.database.pool(connections, "").await;
        let mut open = Vec::new();
        for _ in 0..connections {
            open.push(pool.acquire().await.unwrap());
        }
        drop(open);
        PostgresInbox::new(pool).schema(&*self.database.schema)
    }

    pub(crate) async fn run(&self, sql: &'static str) {
        sqlx::raw_sql(sql).execute(&self.pool).await.unwrap();
    }

    pub(crate) async fn number(&self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql).fetch_one(&self.pool).await.unwrap()
    }

    /// Empties the tables, so that every run begins with the same state and the same work for the
    /// server.
    pub(crate) async fn empty(&self) {
        self.run("TRUNCATE stripe_checkout_events, stripe_checkout_payments, stripe_checkout_intents, stripe_checkout_orders_of_payments")
            .await;
        self.checkpoint().await;
    }

    /// Updates the server's statistics of the inbox's tables.
    pub(crate) async fn vacuum(&self) {
        for table in ["events", "payments", "intents", "orders_of_payments"] {
            let vacuum = format!("VACUUM ANALYZE stripe_checkout_{table}");
            let vacuum = sqlx::raw_sql(AssertSqlSafe(vacuum));
            vacuum.execute(&self.pool).await.unwrap();
        }
    }

    pub(crate) async fn checkpoint(&self) {
        // Not every role may do this. It only makes runs more alike.
        let _ = sqlx::raw_sql("CHECKPOINT").execute(&self.pool).await;
    }

    /// Returns the transactions per second of this script, with this number of clients, in this
    /// schema.
    pub(crate) fn pgbench(&self, script: &str, body: Option<&str>, clients: u32) -> f64 {
        let program = find("pgbench").expect("pgbench is beside the server's programs");
        let file = env::temp_dir().join(format!("stripe-checkout-pgbench-{}", id()));
        fs::write(&file, script).unwrap();
        let options = format!(
            "-c search_path={} -c synchronous_commit=on",
            self.database.schema
        );
        let mut command = Command::new(program);
        command
            .env("PGOPTIONS", options)
            .args(["--no-vacuum", "--protocol=prepared", "--jobs=2"])
            .arg(format!("--client={clients}"))
            .arg(format!("--time={}", TIME.as_secs()))
            .args(body.map(|body| format!("--define=body={body}")))
            .arg("--file")
            .arg(&file);
        match env::var("DATABASE_URL") {
            Ok(url) => command.arg(url),
            Err(_) => {
                let options = &self.database.options;
                command
                    .arg("--host")
                    .arg(options.get_socket().unwrap())
                    .arg(format!("--port={}", options.get_port()))
                    .arg(format!("--username={}", options.get_username()))
                    .arg(options.get_database().unwrap())
            }
        };
        let output = command.output().unwrap();
        let _ = fs::remove_file(&file);
        let said = String::from_utf8_lossy(&output.stdout);
        let rate = said
            .lines()
            .find_map(|line| line.strip_prefix("tps = ")?.split(' ').next())
            .and_then(|rate| rate.parse().ok());
        rate.unwrap_or_else(|| panic!("{said}{}", String::from_utf8_lossy(&output.stderr)))
    }
}

/// A folder for SQLite files, which is deleted when it is dropped.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = env::temp_dir().join(format!("stripe-checkout-bench-{}-{count}", id()));
        fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A file with the inbox's tables.
pub(crate) struct Sqlite {
    pub(crate) pool: SqlitePool,
    pub(crate) inbox: SqliteInbox,
    _folder: Folder,
}

impl Sqlite {
    pub(crate) async fn new() -> Self {
        let folder = Folder::new();
        let options = SqliteConnectOptions::new()
            .filename(folder.file("shop.db"))
            .create_if_missing(true);
        let pool = SqlitePoolOptions::new()
            .max_connections(4)
            .connect_with(options)
            .await
            .unwrap();
        let inbox = SqliteInbox::new(pool.clone());
        inbox.migrate().await.unwrap();
        Self {
            pool,
            inbox,
            _folder: folder,
        }
    }

    pub(crate) async fn run(&self, sql: &'static str) {
        sqlx::raw_sql(sql).execute(&self.pool).await.unwrap();
    }

    pub(crate) async fn number(&self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql).fetch_one(&self.pool).await.unwrap()
    }
}
