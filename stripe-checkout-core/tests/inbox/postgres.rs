//! The inbox in PostgreSQL keeps what every inbox promises.

use sqlx::{PgConnection, PgPool};
use stripe_checkout_core::BoxError;
use stripe_checkout_core::fulfillment::PostgresInbox;
use stripe_checkout_core::testing::inbox::{Subject, run};

#[path = "../postgres_server/mod.rs"]
mod postgres_server;
use postgres_server::Database;

/// A schema, and a pool to look at it from outside.
struct Schema {
    outside: PgPool,
    database: Database,
}

impl Schema {
    async fn new(database: Database) -> Self {
        let outside = database.pool(2, "").await;
        sqlx::raw_sql("CREATE TABLE lines (id bigserial PRIMARY KEY, line text)")
            .execute(&outside)
            .await
            .unwrap();
        let schema = Self { outside, database };
        schema.open().await.migrate().await.unwrap();
        schema
    }
}

impl Subject for Schema {
    type Inbox = PostgresInbox;

    async fn open(&self) -> PostgresInbox {
        let pool = self.database.pool(8, "").await;
        PostgresInbox::new(pool).schema(&*self.database.schema)
    }

    async fn write(&self, db: &mut PgConnection, line: &str) -> Result<(), BoxError> {
        sqlx::query("INSERT INTO lines (line) VALUES ($1)")
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
    let fresh = async || Schema::new(Database::new().await.unwrap()).await;
    let cases = run("PostgresInbox", fresh).await;
    assert!(cases >= 90, "{cases}");
}
