//! The shop on PostgreSQL: the one that `DATABASE_URL` names, or a throw-away one. Each test has a schema of its own.

#[path = "../../../stripe-checkout-core/tests/postgres_server/mod.rs"]
mod postgres_server;
mod suite;

use sqlx::ConnectOptions as _;

struct Database(postgres_server::Database);

impl Database {
    async fn new() -> Option<Self> {
        Some(Self(postgres_server::Database::new().await?))
    }

    async fn url(&self) -> String {
        let pool = self.0.pool(1, "").await;
        let mut url = pool.connect_options().to_url_lossy();
        url.query_pairs_mut()
            .append_pair("options[search_path]", &self.0.schema);
        url.into()
    }
}
