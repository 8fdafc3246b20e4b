//! The time of a claim among many stored events, which are finished and have no body.

use std::time::Instant;

use stripe_checkout_core::fulfillment::{Claim, Inbox, Session as _};

use crate::databases::{Postgres, Sqlite};
use crate::events::{scope, store, terms};
use crate::measure::{Pairs, TURNS, median, whole};

/// The fewest stored events.
const FEW: i64 = 1000;

/// Claims at each size and in each turn. All of them find an event that is due.
const CLAIMS: usize = 100;

/// Finished events, a second apart, numbered by `series`.
macro_rules! fill {
    ($number:literal, $no_bytes:literal, $series:literal) => {
        concat!(
            "INSERT INTO stripe_checkout_events (application, mode, id, event_type, payment, order_account, order_reference, ours, settles, body, received, state, attempts, due, taken, claim) ",
            "SELECT 'shop', 'test', 'evt_3S0aBcLkdIwHu7iy' || ", $number, ", 'payment_intent.succeeded', 'pi_3S0aBcLkdIwHu7iy' || ", $number, ", '', 'old-' || ", $number, ", ",
            "TRUE, TRUE, ",
            $no_bytes,
            ", 1790000000000000 + n * 1000000, 'done', 1, 1790000030000000 + n * 1000000, 0, 2 FROM ", $series
        )
    };
}

const FILL_POSTGRES: &str = fill!(
    "lpad(n::text, 8, '0')",
    "''::bytea",
    "generate_series(1, $1::bigint) AS n"
);
const FILL_SQLITE: &str = fill!(
    "printf('%08d', n)",
    "x''",
    "(WITH RECURSIVE series (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM series WHERE n < ?1) SELECT n FROM series)"
);

pub(crate) async fn table(many: i64) {
    println!(
        "\n| one claim, µs | among {} events | among {} | ratio | the ratio of each turn |",
        whole(FEW as f64),
        whole(many as f64)
    );
    println!("| --- | --- | --- | --- | --- |");
    if let (Some(few), Some(more)) = (postgres(FEW).await, postgres(many).await) {
        let pairs = claims(&few.inbox, &more.inbox).await;
        println!("| PostgreSQL | {} |", pairs.cells());
    }
    let (few, more) = (sqlite(FEW).await, sqlite(many).await);
    let pairs = claims(&few.inbox, &more.inbox).await;
    println!("| SQLite | {} |", pairs.cells());
}

async fn postgres(events: i64) -> Option<Postgres> {
    let server = Postgres::new(4).await?;
    let fill = sqlx::query(FILL_POSTGRES).bind(events);
    fill.execute(&server.pool).await.unwrap();
    store(&server.inbox, CLAIMS * (TURNS + 1)).await;
    server.vacuum().await;
    server.checkpoint().await;
    Some(server)
}

async fn sqlite(events: i64) -> Sqlite {
    let sqlite = Sqlite::new().await;
    let fill = sqlx::query(FILL_SQLITE).bind(events);
    fill.execute(&sqlite.pool).await.unwrap();
    store(&sqlite.inbox, CLAIMS * (TURNS + 1)).await;
    sqlite.run("ANALYZE; PRAGMA wal_checkpoint(TRUNCATE)").await;
    sqlite
}

/// The median time of a claim in both, one after the other.
async fn claims<I: Inbox>(few: &I, many: &I) -> Pairs {
    let mut pairs = Pairs::default();
    for turn in 0..=TURNS {
        let mut times = [Vec::new(), Vec::new()];
        for _ in 0..CLAIMS {
            for (inbox, times) in [few, many].into_iter().zip(&mut times) {
                let start = Instant::now();
                let mut session = inbox.session();
                let claimed = session.claim(&scope(), Claim::Due, terms()).await;
                times.push(start.elapsed().as_secs_f64() * 1e6);
                assert!(claimed.unwrap().is_some());
                session.finish().await;
            }
        }
        // The first turn prepares the statements.
        if turn > 0 {
            let [few, many] = times.map(median);
            pairs.push(few, many);
        }
    }
    pairs
}
