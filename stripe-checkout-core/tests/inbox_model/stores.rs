//! The three stores. One of each serves all cases, and each case has its own application name. That
//! is cheaper than a store for each case, and it tests that applications stay separate.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use stripe_checkout_core::BoxError;
use stripe_checkout_core::fulfillment::{Inbox, MemoryInbox};

/// A store as one application sees it, with an append-only table beside the inbox's tables. The
/// table has no key that would hide a duplicate.
pub(crate) trait Store: Send + Sync + Sized + 'static {
    type Inbox: Inbox;

    /// Makes the store for another application. `None` if there is no such store.
    fn fresh() -> impl Future<Output = Option<Self>> + Send;

    /// Returns the application's name.
    fn application(&self) -> &str;

    /// Waits until all work of a dead process has ended, even its earlier requests to a server. All
    /// of its handles are dropped.
    fn is_quiet(&self) -> impl Future<Output = ()> + Send {
        async {}
    }

    /// Opens the inbox as another process does.
    fn open(&self) -> impl Future<Output = Self::Inbox> + Send;

    /// Writes a line in the inbox's own transaction.
    fn write(
        &self,
        db: &mut <Self::Inbox as Inbox>::Connection,
        line: &str,
    ) -> impl Future<Output = Result<(), BoxError>> + Send;

    /// Notes the lines of a committed step, each with its place in the order, for a store without
    /// transactions.
    fn commit(&self, _lines: Vec<(usize, String)>) {}

    /// Returns the lines that every reader can see, in order.
    fn lines(&self) -> impl Future<Output = Vec<String>> + Send;
}

fn next_application() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(1);
    format!("shop-{}", COUNT.fetch_add(1, Ordering::Relaxed))
}

pub(crate) struct Memory {
    application: String,
    inbox: MemoryInbox,
    lines: Mutex<BTreeMap<usize, String>>,
}

impl Store for Memory {
    type Inbox = MemoryInbox;

    async fn fresh() -> Option<Self> {
        Some(Self {
            application: next_application(),
            inbox: MemoryInbox::new(),
            lines: Mutex::default(),
        })
    }

    fn application(&self) -> &str {
        &self.application
    }

    async fn open(&self) -> MemoryInbox {
        self.inbox.clone()
    }

    async fn write(&self, (): &mut (), _: &str) -> Result<(), BoxError> {
        Ok(())
    }

    fn commit(&self, lines: Vec<(usize, String)>) {
        let mut written = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        written.extend(lines);
    }

    async fn lines(&self) -> Vec<String> {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.values().cloned().collect()
    }
}

#[cfg(feature = "sqlite")]
pub(crate) use sqlite::Sqlite;

#[cfg(feature = "sqlite")]
mod sqlite {
    use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
    use sqlx::{SqliteConnection, SqlitePool};
    use stripe_checkout_core::fulfillment::SqliteInbox;
    use tempfile::TempDir;
    use tokio::sync::OnceCell;

    use super::{BoxError, Store, next_application};

    /// A database file in a temporary folder, which is deleted with it.
    struct File {
        folder: TempDir,
        outside: SqlitePool,
    }

    pub(crate) struct Sqlite {
        application: String,
        file: &'static File,
    }

    impl File {
        async fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let outside = pool(&folder).await;
            sqlx::raw_sql("CREATE TABLE lines (id INTEGER PRIMARY KEY AUTOINCREMENT, shop TEXT, line TEXT); CREATE INDEX by_shop ON lines (shop)")
                .execute(&outside)
                .await
                .unwrap();
            SqliteInbox::new(pool(&folder).await)
                .migrate()
                .await
                .unwrap();
            Self { folder, outside }
        }
    }

    async fn pool(folder: &TempDir) -> SqlitePool {
        let options = SqliteConnectOptions::new()
            .filename(folder.path().join("shop.db"))
            .create_if_missing(true);
        SqlitePoolOptions::new()
            .max_connections(4)
            .connect_with(options)
            .await
            .unwrap()
    }

    impl Store for Sqlite {
        type Inbox = SqliteInbox;

        async fn fresh() -> Option<Self> {
            static FILE: OnceCell<File> = OnceCell::const_new();
            Some(Self {
                application: next_application(),
                file: FILE.get_or_init(File::new).await,
            })
        }

        fn application(&self) -> &str {
            &self.application
        }

        async fn open(&self) -> SqliteInbox {
            SqliteInbox::new(pool(&self.file.folder).await)
        }

        async fn is_quiet(&self) {
            // A process that is about to commit locks out all other writers.
            let outside = self.file.outside.begin_with("BEGIN IMMEDIATE");
            outside.await.unwrap().commit().await.unwrap();
        }

        async fn write(&self, db: &mut SqliteConnection, line: &str) -> Result<(), BoxError> {
            sqlx::query("INSERT INTO lines (shop, line) VALUES (?, ?)")
                .bind(&self.application)
                .bind(line)
                .execute(db)
                .await?;
            Ok(())
        }

        async fn lines(&self) -> Vec<String> {
            sqlx::query_scalar("SELECT line FROM lines WHERE shop = ? ORDER BY id")
                .bind(&self.application)
                .fetch_all(&self.file.outside)
                .await
                .unwrap()
        }
    }
}

#[cfg(feature = "postgres")]
pub(crate) use postgres::Postgres;

#[cfg(feature = "postgres")]
mod postgres {
    use std::time::Duration;

    use sqlx::{PgConnection, PgPool};
    use stripe_checkout_core::fulfillment::PostgresInbox;
    use tokio::sync::OnceCell;

    use super::{BoxError, Store, next_application};
    use crate::postgres_server::Database;

    struct Schema {
        outside: PgPool,
        database: Database,
    }

    pub(crate) struct Postgres {
        application: String,
        schema: &'static Schema,
    }

    impl Schema {
        async fn new() -> Option<Self> {
            let database = Database::new().await?;
            let outside = database.pool(2, "").await;
            sqlx::raw_sql("CREATE TABLE lines (id bigserial PRIMARY KEY, shop text, line text); CREATE INDEX ON lines (shop)")
                .execute(&outside)
                .await
                .unwrap();
            PostgresInbox::new(database.pool(2, "").await)
                .schema(&*database.schema)
                .migrate()
                .await
                .unwrap();
            Some(Self { outside, database })
        }
    }

    impl Store for Postgres {
        type Inbox = PostgresInbox;

        async fn fresh() -> Option<Self> {
            static SCHEMA: OnceCell<Option<Schema>> = OnceCell::const_new();
            let schema = SCHEMA.get_or_init(Schema::new).await.as_ref()?;
            Some(Self {
                application: next_application(),
                schema,
            })
        }

        fn application(&self) -> &str {
            &self.application
        }

        async fn open(&self) -> PostgresInbox {
            // By this name, the server shows which of its processes work for which application.
            // There are few of them.
            let name = format!("SET application_name = '{}'", self.application);
            let database = &self.schema.database;
            PostgresInbox::new(database.pool(4, name.leak()).await).schema(&*database.schema)
        }

        async fn is_quiet(&self) {
            let working = "SELECT count(*) FROM pg_stat_activity WHERE application_name = $1";
            let working = || {
                sqlx::query_scalar::<_, i64>(working)
                    .bind(&self.application)
                    .fetch_one(&self.schema.outside)
            };
            while working().await.unwrap() > 0 {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }

        async fn write(&self, db: &mut PgConnection, line: &str) -> Result<(), BoxError> {
            sqlx::query("INSERT INTO lines (shop, line) VALUES ($1, $2)")
                .bind(&self.application)
                .bind(line)
                .execute(db)
                .await?;
            Ok(())
        }

        async fn lines(&self) -> Vec<String> {
            sqlx::query_scalar("SELECT line FROM lines WHERE shop = $1 ORDER BY id")
                .bind(&self.application)
                .fetch_all(&self.schema.outside)
                .await
                .unwrap()
        }
    }
}
