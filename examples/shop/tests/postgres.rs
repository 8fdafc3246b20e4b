//! The shop on PostgreSQL: the one that `DATABASE_URL` names, or a throw-away one. Each test has a
//! database of its own, because the inbox's schema has one name in all of them.

#[path = "../../../stripe-checkout-core/tests/postgres_server/mod.rs"]
mod postgres_server;
mod suite;

use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _};

/// The server, and the database's name there.
struct Database(postgres_server::Database);

impl Database {
    async fn new() -> Option<Self> {
        let database = Self(postgres_server::Database::new().await?);
        let pool = database.0.pool(1, "").await;
        let create = format!("CREATE DATABASE {}", database.0.schema);
        let created = sqlx::raw_sql(AssertSqlSafe(create)).execute(&pool);
        created.await.unwrap();
        Some(database)
    }

    async fn url(&self) -> String {
        let options = self.0.options.clone().database(&self.0.schema);
        options.to_url_lossy().into()
    }
}

async fn run(options: PgConnectOptions, statement: String) -> sqlx::Result<()> {
    let mut conn = options.connect().await?;
    sqlx::raw_sql(AssertSqlSafe(statement))
        .execute(&mut conn)
        .await?;
    conn.close().await
}

impl Drop for Database {
    fn drop(&mut self) {
        // A server of our own goes with the process.
        if std::env::var_os("DATABASE_URL").is_none() {
            return;
        }
        let options = self.0.options.clone();
        let drop = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.0.schema);
        let dropping = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread();
            let runtime = { runtime }.enable_all().build();
            runtime.map(|runtime| runtime.block_on(run(options, drop)))
        });
        // A test does not fail for what cannot be cleaned up.
        let _ = dropping.join();
    }
}
