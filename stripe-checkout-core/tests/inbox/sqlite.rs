//! The inbox in SQLite keeps what every inbox promises.

use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use sqlx::{SqliteConnection, SqlitePool};
use stripe_checkout_core::BoxError;
use stripe_checkout_core::fulfillment::SqliteInbox;
use stripe_checkout_core::testing::inbox::{Subject, run};
use tempfile::TempDir;

/// A database file in a folder that goes with it, and a pool to look at it from outside.
struct File {
    folder: TempDir,
    outside: SqlitePool,
}

impl File {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let outside = pool(&folder).await;
        sqlx::raw_sql("CREATE TABLE lines (id INTEGER PRIMARY KEY AUTOINCREMENT, line TEXT)")
            .execute(&outside)
            .await
            .unwrap();
        let file = Self { folder, outside };
        file.open().await.migrate().await.unwrap();
        file
    }
}

async fn pool(folder: &TempDir) -> SqlitePool {
    let options = SqliteConnectOptions::new()
        .filename(folder.path().join("shop.db"))
        .create_if_missing(true);
    SqlitePoolOptions::new()
        .max_connections(8)
        .connect_with(options)
        .await
        .unwrap()
}

impl Subject for File {
    type Inbox = SqliteInbox;

    async fn open(&self) -> SqliteInbox {
        SqliteInbox::new(pool(&self.folder).await)
    }

    async fn write(&self, db: &mut SqliteConnection, line: &str) -> Result<(), BoxError> {
        sqlx::query("INSERT INTO lines (line) VALUES (?)")
            .bind(line)
            .execute(db)
            .await?;
        Ok(())
    }

    async fn written(&self) -> Result<Vec<String>, BoxError> {
        let lines = sqlx::query_scalar("SELECT line FROM lines ORDER BY id");
        Ok(lines.fetch_all(&self.outside).await?)
    }

    fn one_writer(&self) -> bool {
        true
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sqlite_keeps_every_promise() {
    let cases = run("SqliteInbox", File::new).await;
    assert!(cases >= 90, "{cases}");
}
