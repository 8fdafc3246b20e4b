//! What is read and written besides the steps: counts, what may be forgotten, orders that may still be paid, bookmarks.

use std::collections::BTreeSet;
use std::time::SystemTime;

use sqlx::{Row, SqliteConnection};

use super::super::inbox::{IntentRecord, OrderKey, Scope, Stats};
use super::super::stored::{
    mode, not_refunded, read_event_state, read_number, read_scope, read_time, time,
};
use super::rows::{self, failed, read_intent};
use crate::error::InboxError;

pub(super) async fn stats(db: &mut SqliteConnection, scope: &Scope) -> Result<Stats, InboxError> {
    let mut stats = Stats::default();
    let counts = sqlx::query(
        "SELECT state, count(*) AS events FROM stripe_checkout_events WHERE application = ?1 AND mode = ?2 GROUP BY state",
    )
    .bind(&scope.application)
    .bind(mode(scope.mode))
    .fetch_all(&mut *db)
    .await
    .map_err(failed)?;
    for row in counts {
        let state = read_event_state(row.try_get("state").map_err(failed)?)?;
        let events = read_number(row.try_get("events").map_err(failed)?);
        stats.events.insert(state, events);
    }
    let row = sqlx::query(
        "SELECT (SELECT count(*) FROM stripe_checkout_events WHERE application = ?1 AND mode = ?2 AND state = 'pending' AND due <= ?3) AS due, \
         (SELECT min(received) FROM stripe_checkout_events WHERE application = ?1 AND mode = ?2 AND state = 'pending') AS oldest, \
         unfulfilled, since \
         FROM (SELECT count(DISTINCT e.payment) AS unfulfilled, min(e.received) AS since FROM stripe_checkout_events e \
         LEFT JOIN stripe_checkout_payments p ON p.application = e.application AND p.mode = e.mode AND p.id = e.payment \
         WHERE e.application = ?1 AND e.mode = ?2 AND e.state IN ('pending', 'dead') AND e.settles AND coalesce(p.success, 'no') IN ('no', 'dead', 'broken'))",
    )
    .bind(&scope.application)
    .bind(mode(scope.mode))
    .bind(time(SystemTime::now()))
    .fetch_one(&mut *db)
    .await
    .map_err(failed)?;
    let number = |column| row.try_get(column).map(read_number).map_err(failed);
    let moment = |column| {
        let micros: Option<i64> = row.try_get(column).map_err(failed)?;
        Ok::<_, InboxError>(micros.map(read_time))
    };
    stats.due = number("due")?;
    stats.oldest_pending = moment("oldest")?;
    stats.unfulfilled = number("unfulfilled")?;
    stats.unfulfilled_since = moment("since")?;
    let duplicates: Vec<String> = sqlx::query_scalar(
        "SELECT refunds FROM stripe_checkout_payments WHERE application = ?1 AND mode = ?2 AND success = 'duplicate' AND refunded_total = 0",
    )
    .bind(&scope.application)
    .bind(mode(scope.mode))
    .fetch_all(db)
    .await
    .map_err(failed)?;
    stats.duplicate_payments = not_refunded(&duplicates)?;
    Ok(stats)
}

/// Forgets the oldest events that are over, and first writes into their payments' rows what only they said.
pub(super) async fn prune(
    db: &mut SqliteConnection,
    scope: &Scope,
    before: SystemTime,
    most: usize,
) -> Result<usize, InboxError> {
    let old = sqlx::query(
        "SELECT seq, CASE WHEN note IS NOT NULL THEN payment END AS noted FROM stripe_checkout_events \
         WHERE application = ?1 AND mode = ?2 AND state IN ('done', 'superseded') AND received < ?3 ORDER BY received LIMIT ?4",
    )
    .bind(&scope.application)
    .bind(mode(scope.mode))
    .bind(time(before))
    .bind(i64::try_from(most).unwrap_or(i64::MAX))
    .fetch_all(&mut *db)
    .await
    .map_err(failed)?;
    let mut payments = BTreeSet::new();
    for row in &old {
        payments.extend(row.try_get::<Option<String>, _>("noted").map_err(failed)?);
    }
    for payment in payments {
        let known = rows::payment(db, scope, &payment).await?;
        if known.is_behind() {
            rows::put_payment(db, scope, &payment, &known.record, &known).await?;
        }
    }
    for row in &old {
        let seq: i64 = row.try_get("seq").map_err(failed)?;
        sqlx::query("DELETE FROM stripe_checkout_events WHERE seq = ?1")
            .bind(seq)
            .execute(&mut *db)
            .await
            .map_err(failed)?;
    }
    Ok(old.len())
}

pub(super) async fn open_intents(
    db: &mut SqliteConnection,
    scope: &Scope,
    after: Option<&OrderKey>,
    since: SystemTime,
    most: usize,
) -> Result<Vec<(OrderKey, IntentRecord)>, InboxError> {
    // An account is never empty, so nobody's place is before ('', '').
    let account = after.and_then(|order| order.account.as_deref());
    let rows = sqlx::query(
        "SELECT account, reference, version, attempt, fingerprint, amount, currency, capture, payment, secret_hash, request, state, paid_by, declines FROM stripe_checkout_intents \
         WHERE application = ?1 AND mode = ?2 AND state IN ('creating', 'open', 'processing') AND payment IS NOT NULL \
         AND (state = 'processing' OR changed >= ?3) AND (coalesce(account, ''), reference) > (?4, ?5) \
         ORDER BY coalesce(account, ''), reference LIMIT ?6",
    )
    .bind(&scope.application)
    .bind(mode(scope.mode))
    .bind(time(since))
    .bind(account.unwrap_or_default())
    .bind(after.map_or("", |order| &order.reference))
    .bind(i64::try_from(most).unwrap_or(i64::MAX))
    .fetch_all(db)
    .await
    .map_err(failed)?;
    rows.iter()
        .map(|row| {
            let order = OrderKey {
                scope: scope.clone(),
                account: row.try_get("account").map_err(failed)?,
                reference: row.try_get("reference").map_err(failed)?,
            };
            Ok((order, read_intent(row)?))
        })
        .collect()
}

pub(super) async fn accounts(
    db: &mut SqliteConnection,
    scope: &Scope,
    after: Option<&str>,
    since: SystemTime,
    most: usize,
) -> Result<Vec<String>, InboxError> {
    sqlx::query_scalar(
        "SELECT DISTINCT account FROM stripe_checkout_intents \
         WHERE application = ?1 AND mode = ?2 AND account IS NOT NULL AND account > ?3 AND changed >= ?4 \
         ORDER BY account LIMIT ?5",
    )
    .bind(&scope.application)
    .bind(mode(scope.mode))
    .bind(after.unwrap_or_default())
    .bind(time(since))
    .bind(i64::try_from(most).unwrap_or(i64::MAX))
    .fetch_all(db)
    .await
    .map_err(failed)
}

pub(super) async fn bookmark(
    db: &mut SqliteConnection,
    scope: &Scope,
    name: &str,
) -> Result<Option<String>, InboxError> {
    sqlx::query_scalar(
        "SELECT value FROM stripe_checkout_bookmarks WHERE application = ?1 AND mode = ?2 AND name = ?3",
    )
    .bind(&scope.application)
    .bind(mode(scope.mode))
    .bind(name)
    .fetch_optional(db)
    .await
    .map_err(failed)
}

pub(super) async fn put_bookmark(
    db: &mut SqliteConnection,
    scope: &Scope,
    name: &str,
    expected: Option<&str>,
    value: &str,
) -> Result<bool, InboxError> {
    let sql = match expected {
        None => {
            "INSERT INTO stripe_checkout_bookmarks (application, mode, name, value) VALUES (?1, ?2, ?3, ?4) \
             ON CONFLICT DO NOTHING"
        }
        Some(_) => {
            "UPDATE stripe_checkout_bookmarks SET value = ?4 \
             WHERE application = ?1 AND mode = ?2 AND name = ?3 AND value = ?5"
        }
    };
    let query = sqlx::query(sql)
        .bind(&scope.application)
        .bind(mode(scope.mode))
        .bind(name)
        .bind(value);
    let query = match expected {
        None => query,
        Some(expected) => query.bind(expected),
    };
    let done = query.execute(db).await.map_err(failed)?;
    Ok(done.rows_affected() == 1)
}

pub(super) async fn scopes_with_bookmark(
    db: &mut SqliteConnection,
    name: &str,
) -> Result<Vec<Scope>, InboxError> {
    let rows: Vec<(String, String)> =
        sqlx::query_as("SELECT application, mode FROM stripe_checkout_bookmarks WHERE name = ?1")
            .bind(name)
            .fetch_all(db)
            .await
            .map_err(failed)?;
    rows.into_iter().map(read_scope).collect()
}
