//! The shop on SQLite: each test has a file of its own.

mod suite;

struct Database(tempfile::TempDir);

impl Database {
    async fn new() -> Option<Self> {
        Some(Self(tempfile::tempdir().unwrap()))
    }

    async fn url(&self) -> String {
        format!("sqlite://{}/shop.db", self.0.path().display())
    }
}
