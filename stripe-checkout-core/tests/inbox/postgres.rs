//! The inbox in PostgreSQL keeps what every inbox promises.

use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, PgConnection, PgPool};
use stripe_checkout_core::BoxError;
use stripe_checkout_core::fulfillment::PostgresInbox;
use stripe_checkout_core::testing::inbox::{Subject, run};

#[path = "../postgres_server/mod.rs"]
pub(crate) mod postgres_server;
use postgres_server::Database;
#[path = "../postgres_server/pgbouncer.rs"]
mod pgbouncer;

/// A schema, and a pool to look at it from outside.
struct Schema {
    outside: PgPool,
    database: Database,
    /// The way through a transaction pooler.
    pooler: Option<PgConnectOptions>,
}

impl Schema {
    async fn new(database: Database, pooler: Option<PgConnectOptions>) -> Self {
        let outside = database.pool(2, "").await;
        sqlx::raw_sql("CREATE TABLE lines (id bigserial PRIMARY KEY, line text)")
            .execute(&outside)
            .await
            .unwrap();
        let schema = Self {
            outside,
            database,
            pooler,
        };
        schema.open().await.migrate().await.unwrap();
        schema
    }
}

impl Subject for Schema {
    type Inbox = PostgresInbox;

    async fn open(&self) -> PostgresInbox {
        let schema = &*self.database.schema;
        let Some(pooler) = &self.pooler else {
            let pool = self.database.pool(8, "").await;
            return PostgresInbox::new(pool).schema(schema);
        };
        let pool = PgPoolOptions::new()
            .max_connections(8)
            .acquire_timeout(Duration::from_secs(60));
        let pool = pool.connect_with(pooler.clone()).await.unwrap();
        PostgresInbox::new(pool).schema(schema).transaction_pooler()
    }

    async fn write(&self, db: &mut PgConnection, line: &str) -> Result<(), BoxError> {
        let insert = format!(
            "INSERT INTO {}.lines (line) VALUES ($1)",
            self.database.schema
        );
        sqlx::query(AssertSqlSafe(insert))
            .persistent(self.pooler.is_none())
            .bind(line)
            .execute(db)
            .await?;
        Ok(())
    }

    async fn written(&self) -> Result<Vec<String>, BoxError> {
        let lines = sqlx::query_scalar("SELECT line FROM lines ORDER BY id");
        Ok(lines.fetch_all(&self.outside).await?)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn postgres_keeps_every_promise() {
    // Where there is no server, one line has said so.
    if Database::new().await.is_none() {
        return;
    }
    let fresh = async || Schema::new(Database::new().await.unwrap(), None).await;
    let cases = run("PostgresInbox", fresh).await;
    assert!(cases >= 90, "{cases}");
}

/// The oldest PgBouncer that Debian still has knows no prepared statements.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn postgres_behind_a_transaction_pooler_keeps_every_promise() {
    let Some(database) = Database::new().await else {
        return;
    };
    let Some(pooler) = pgbouncer::start(&database.options) else {
        return;
    };
    let fresh = async || {
        let database = Database::new().await.unwrap();
        Schema::new(database, Some(pooler.clone())).await
    };
    let cases = run("PostgresInbox behind a pooler", fresh).await;
    assert!(cases >= 90, "{cases}");
}
