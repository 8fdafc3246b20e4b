//! The same work, written by hand: the tables, the statements and the commits that a careful shop
//! would write for itself.

use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::{Connection, Transaction, TransactionBehavior, params};

/// The tables of both databases, by the types of texts and bytes.
macro_rules! tables {
    ($bytes:literal) => {
        concat!(
            "CREATE TABLE hand_events (application text, mode text, id text, event_type text, payment text, body ", $bytes, ", state text NOT NULL DEFAULT 'pending', attempts int NOT NULL DEFAULT 0, due bigint, received bigint, PRIMARY KEY (application, mode, id)); ",
            "CREATE INDEX hand_events_due ON hand_events (application, mode, due) WHERE state = 'pending'; ",
            "CREATE INDEX hand_events_payment ON hand_events (application, mode, payment); ",
            "CREATE TABLE hand_payments (application text, mode text, id text, success text, order_reference text, PRIMARY KEY (application, mode, id)); ",
            "CREATE TABLE hand_orders (application text, mode text, reference text, amount bigint, state text, payment text, PRIMARY KEY (application, mode, reference)); ",
            "CREATE TABLE hand_shipments (payment text NOT NULL)"
        )
    };
}

pub(crate) const POSTGRES_TABLES: &str = tables!("bytea");
pub(crate) const POSTGRES_VACUUM: [&str; 4] = [
    "VACUUM ANALYZE hand_events",
    "VACUUM ANALYZE hand_payments",
    "VACUUM ANALYZE hand_orders",
    "VACUUM ANALYZE hand_shipments",
];

/// Stores an event of 2.5 KB and commits. Then locks and reads the payment, the order and the
/// event, ships, writes all three, and commits.
pub(crate) const PGBENCH: &str = r"
\set a random(1, 2000000000)
\set b random(1, 2000000000)
INSERT INTO hand_events (application, mode, id, event_type, payment, body, due, received) VALUES ('shop', 'test', 'evt_' || :a || '_' || :b, 'payment_intent.succeeded', 'pi_' || :a || '_' || :b, decode(repeat('7b', 2500), 'hex'), 1, 1) ON CONFLICT DO NOTHING;
BEGIN;
INSERT INTO hand_payments (application, mode, id) VALUES ('shop', 'test', 'pi_' || :a || '_' || :b) ON CONFLICT DO NOTHING;
SELECT success, order_reference FROM hand_payments WHERE application = 'shop' AND mode = 'test' AND id = 'pi_' || :a || '_' || :b FOR UPDATE;
INSERT INTO hand_orders (application, mode, reference, amount, state) VALUES ('shop', 'test', 'order_' || :a || '_' || :b, 1999, 'open') ON CONFLICT DO NOTHING;
SELECT amount, state FROM hand_orders WHERE application = 'shop' AND mode = 'test' AND reference = 'order_' || :a || '_' || :b FOR UPDATE;
SELECT state, attempts, body FROM hand_events WHERE application = 'shop' AND mode = 'test' AND id = 'evt_' || :a || '_' || :b FOR UPDATE;
INSERT INTO hand_shipments (payment) VALUES ('pi_' || :a || '_' || :b);
UPDATE hand_orders SET state = 'paid', payment = 'pi_' || :a || '_' || :b WHERE application = 'shop' AND mode = 'test' AND reference = 'order_' || :a || '_' || :b;
UPDATE hand_payments SET success = 'done', order_reference = 'order_' || :a || '_' || :b WHERE application = 'shop' AND mode = 'test' AND id = 'pi_' || :a || '_' || :b;
UPDATE hand_events SET state = 'done', attempts = attempts + 1, body = NULL WHERE application = 'shop' AND mode = 'test' AND id = 'evt_' || :a || '_' || :b;
COMMIT;
";

/// The same in SQLite, on one thread that does nothing else: how often a second.
pub(crate) fn sqlite(file: &Path, time: Duration) -> f64 {
    let mut db = Connection::open(file).unwrap();
    db.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL")
        .unwrap();
    db.execute_batch(tables!("blob")).unwrap();
    let body = vec![b'x'; 2500];
    // A connection that has just been opened has nothing prepared.
    for number in 0..100 {
        sqlite_once(&mut db, &body, number).unwrap();
    }
    let (mut number, start) = (100, Instant::now());
    while start.elapsed() < time {
        sqlite_once(&mut db, &body, number).unwrap();
        number += 1;
    }
    f64::from(number - 100) / start.elapsed().as_secs_f64()
}

fn sqlite_once(db: &mut Connection, body: &[u8], number: u32) -> rusqlite::Result<()> {
    let event = format!("evt_{number}");
    let payment = format!("pi_{number}");
    let order = format!("order_{number}");
    let tx = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    write(
        &tx,
        "INSERT INTO hand_events VALUES ('shop', 'test', ?1, 'payment_intent.succeeded', ?2, ?3, 'pending', 0, 1, 1) ON CONFLICT DO NOTHING",
        params![event, payment, body],
    )?;
    tx.commit()?;
    let tx = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    write(
        &tx,
        "INSERT INTO hand_payments (application, mode, id) VALUES ('shop', 'test', ?1) ON CONFLICT DO NOTHING",
        params![payment],
    )?;
    read(
        &tx,
        "SELECT * FROM hand_payments WHERE application = 'shop' AND mode = 'test' AND id = ?1",
        &payment,
    )?;
    write(
        &tx,
        "INSERT INTO hand_orders (application, mode, reference, amount, state) VALUES ('shop', 'test', ?1, 1999, 'open') ON CONFLICT DO NOTHING",
        params![order],
    )?;
    read(
        &tx,
        "SELECT * FROM hand_orders WHERE application = 'shop' AND mode = 'test' AND reference = ?1",
        &order,
    )?;
    read(
        &tx,
        "SELECT * FROM hand_events WHERE application = 'shop' AND mode = 'test' AND id = ?1",
        &event,
    )?;
    write(
        &tx,
        "INSERT INTO hand_shipments VALUES (?1)",
        params![payment],
    )?;
    write(
        &tx,
        "UPDATE hand_orders SET state = 'paid', payment = ?1 WHERE application = 'shop' AND mode = 'test' AND reference = ?2",
        params![payment, order],
    )?;
    write(
        &tx,
        "UPDATE hand_payments SET success = 'done', order_reference = ?1 WHERE application = 'shop' AND mode = 'test' AND id = ?2",
        params![order, payment],
    )?;
    write(
        &tx,
        "UPDATE hand_events SET state = 'done', attempts = attempts + 1, body = NULL WHERE application = 'shop' AND mode = 'test' AND id = ?1",
        params![event],
    )?;
    tx.commit()
}

fn write(tx: &Transaction<'_>, sql: &str, values: impl rusqlite::Params) -> rusqlite::Result<()> {
    tx.prepare_cached(sql)?.execute(values).map(drop)
}

fn read(tx: &Transaction<'_>, sql: &str, key: &str) -> rusqlite::Result<()> {
    let mut statement = tx.prepare_cached(sql)?;
    let mut rows = statement.query([key])?;
    while rows.next()?.is_some() {}
    Ok(())
}
