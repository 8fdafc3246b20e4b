//! The disk of a SQLite shop is full, at each point at which it can become full.

use std::collections::BTreeSet;
use std::env;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use sqlx::AssertSqlSafe;
use sqlx::SqlitePool;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use stripe_checkout_core::fulfillment::EventState;

use crate::log::Log;
use crate::post::Post;
use crate::shop::{Pool, Shop, payment_of};
use crate::stripe::Stripe;

const CONNECTIONS: u32 = 4;

/// A pool on a file in this folder.
pub(crate) async fn file(folder: &Path) -> SqlitePool {
    let pool = SqlitePoolOptions::new().max_connections(CONNECTIONS);
    pool.connect_with(options(folder)).await.unwrap()
}

fn options(folder: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(folder.join("shop.db"))
        .create_if_missing(true)
}

/// For each number of pages that are left: a payment that does not fit is refused and not lost, and
/// ships once as soon as there is room.
async fn fills_up(pool: SqlitePool, pages: std::ops::Range<i64>, leave: impl AsyncFn(Option<i64>)) {
    let stripe = Stripe::start().await;
    let shop = Shop::open(Pool::Sqlite(pool), &stripe.sandbox.config()).await;
    let post = Post::default();
    let (log, _listening) = Log::listen();
    let mut all = Vec::new();
    let mut statuses = BTreeSet::new();
    for left in pages {
        let order = format!("full-{left:03}");
        let secret = shop.opened(&order).await;
        stripe.pay(payment_of(&secret)).await;
        all.push(order);

        leave(Some(left)).await;
        let refused = post.round(&stripe, &shop).await;
        for answer in &refused {
            match answer.status {
                500 => assert_eq!(answer.code.as_deref(), Some("handler_failed")),
                _ => answer.is_later("unavailable"),
            }
        }
        statuses.extend(refused.iter().map(|answer| answer.status));
        if left == 0 {
            assert!(!refused.is_empty(), "a full disk takes nothing");
            let new = shop.create("new").await;
            // Its row may fit into a page that is there.
            if new.status != 200 {
                new.is_later("unavailable");
            }
        }

        leave(None).await;
        for state in [EventState::Dead, EventState::Mismatch] {
            assert_eq!(shop.events(state).await, 0, "{left} pages left: {state:?}");
        }
        post.until_all_are_taken(&stripe, &shop).await;
        assert_eq!(shop.shipped().await, all, "{left} pages were left");
    }
    let both = BTreeSet::from([500, 503]);
    assert_eq!(statuses, both, "full under the inbox and under the handler");
    assert!(log.count("ERROR", "database or disk is full") > 0);
    assert_eq!(shop.checkout.alerts(Duration::ZERO).await.unwrap(), []);
}

#[tokio::test]
async fn a_file_that_may_not_grow_loses_no_payment_and_ships_none_twice() {
    let folder = tempfile::tempdir().unwrap();
    let most = Arc::new(AtomicI64::new(i64::from(u32::MAX - 1)));
    let limit = Arc::clone(&most);
    let pool = SqlitePoolOptions::new()
        .max_connections(CONNECTIONS)
        // The limit belongs to the connection.
        .before_acquire(move |connection, _| {
            let pragma = format!("PRAGMA max_page_count = {}", limit.load(Ordering::SeqCst));
            Box::pin(async move {
                sqlx::raw_sql(AssertSqlSafe(pragma))
                    .execute(connection)
                    .await?;
                Ok(true)
            })
        })
        .connect_with(options(folder.path()))
        .await
        .unwrap();
    let asking = pool.clone();
    fills_up(pool, 0..12, async |pages| {
        let count: i64 = sqlx::query_scalar("PRAGMA page_count")
            .fetch_one(&asking)
            .await
            .unwrap();
        if pages.is_some() {
            // No page is half empty.
            let fill = "CREATE TABLE IF NOT EXISTS filler (text TEXT); INSERT INTO filler VALUES (hex(randomblob(1000)))";
            let mut writing = asking.acquire().await.unwrap();
            let now = format!("PRAGMA max_page_count = {count}");
            sqlx::raw_sql(AssertSqlSafe(now)).execute(&mut *writing).await.unwrap();
            while sqlx::raw_sql(fill).execute(&mut *writing).await.is_ok() {}
        }
        let limit = pages.map_or(i64::from(u32::MAX - 1), |left| count + left);
        most.store(limit, Ordering::SeqCst);
        // A connection that is taken while it is idle runs no `before_acquire`: so each gets the
        // limit now.
        let mut all = Vec::new();
        for _ in 0..CONNECTIONS {
            all.push(asking.acquire().await.unwrap());
        }
    })
    .await;
}

/// A file system of two megabytes, while it lives.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    /// Returns `None` where this process may not mount one. The other test needs none.
    fn mount() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=2m", "faults"])
            .arg(folder.path())
            .output();
        let why = match mounted {
            Ok(ran) if ran.status.success() => return Some(Self(folder)),
            Ok(ran) => String::from_utf8_lossy(&ran.stderr).into_owned(),
            Err(error) => error.to_string(),
        };
        let may_not = ["denied", "not permitted", "must be superuser"];
        assert!(
            env::var_os("CI").is_none() || may_not.iter().any(|words| why.contains(words)),
            "a small file system cannot be mounted: {why}"
        );
        eprintln!("skipped: a small file system cannot be mounted: {why}");
        None
    }

    fn left(&self) -> u64 {
        let ran = Command::new("df")
            .args(["--output=avail", "--block-size=1"])
            .arg(self.0.path())
            .output();
        let text = String::from_utf8(ran.unwrap().stdout).unwrap();
        text.lines().nth(1).unwrap().trim().parse().unwrap()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[tokio::test]
async fn a_full_disk_loses_no_payment_and_ships_none_twice() {
    let Some(disk) = SmallDisk::mount() else {
        return;
    };
    let pool = file(disk.0.path()).await;
    let asking = pool.clone();
    let filler = disk.0.path().join("filler");
    fills_up(pool, 0..12, async |pages| {
        let _ = std::fs::remove_file(&filler);
        // The write-ahead log starts at its beginning and is as short as can be.
        let shorten = "PRAGMA wal_checkpoint(TRUNCATE)";
        sqlx::raw_sql(shorten).execute(&asking).await.unwrap();
        if let Some(pages) = pages {
            let bytes = disk.left().saturating_sub(pages.unsigned_abs() * 4096);
            std::fs::write(&filler, vec![0; usize::try_from(bytes).unwrap()]).unwrap();
        }
    })
    .await;
}
