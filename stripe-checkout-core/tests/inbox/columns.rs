//! Both databases have the same tables, with the same columns and keys.

use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use stripe_checkout_core::fulfillment::{PostgresInbox, SqliteInbox};

use crate::postgres::postgres_server::Database;

/// The table, the column, its kind, whether it may be NULL, and its place in the primary key.
type Column = (String, String, String, bool, i64);

const OF_SQLITE: &str = "SELECT t.name, c.name, \
    CASE c.type WHEN 'BLOB' THEN 'bytes' ELSE lower(c.type) END, c.\"notnull\" = 0 AND c.pk = 0, c.pk \
    FROM sqlite_master AS t JOIN pragma_table_info(t.name) AS c \
    WHERE t.type = 'table' AND t.name LIKE 'stripe_checkout_%' ORDER BY t.name, c.cid";

/// SQLite has no type of its own for truth values.
const OF_POSTGRES: &str = "SELECT c.relname::text, a.attname::text, \
    CASE a.atttypid::regtype::text WHEN 'bytea' THEN 'bytes' WHEN 'bigint' THEN 'integer' WHEN 'boolean' THEN 'integer' ELSE a.atttypid::regtype::text END, \
    NOT a.attnotnull, COALESCE(array_position(k.conkey, a.attnum), 0)::bigint \
    FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped \
    LEFT JOIN pg_constraint AS k ON k.conrelid = c.oid AND k.contype = 'p' \
    WHERE c.relnamespace = $1::regnamespace AND c.relkind = 'r' ORDER BY c.relname COLLATE \"C\", a.attnum";

#[tokio::test]
async fn both_databases_have_the_same_columns() {
    let Some(db) = Database::new().await else {
        return;
    };
    let pool = db.pool(1, "").await;
    let inbox = PostgresInbox::new(pool.clone()).schema(&*db.schema);
    inbox.migrate().await.unwrap();
    let of_postgres: Vec<Column> = sqlx::query_as(OF_POSTGRES)
        .bind(&db.schema)
        .fetch_all(&pool)
        .await
        .unwrap();

    let folder = tempfile::tempdir().unwrap();
    let options = SqliteConnectOptions::new()
        .filename(folder.path().join("shop.db"))
        .create_if_missing(true);
    let pool = SqlitePoolOptions::new()
        .connect_with(options)
        .await
        .unwrap();
    SqliteInbox::migrated(pool.clone()).await.unwrap();
    let of_sqlite: Vec<Column> = sqlx::query_as(OF_SQLITE).fetch_all(&pool).await.unwrap();

    assert!(of_sqlite.len() > 60, "{}", of_sqlite.len());
    assert_eq!(of_sqlite, of_postgres);
}
