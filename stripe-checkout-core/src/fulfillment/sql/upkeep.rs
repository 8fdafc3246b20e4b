//! Counts, lists and what may be deleted, in one text for both databases.

use std::time::{Duration, SystemTime};

use super::super::codec::{
    mode, not_refunded, read_event_state, read_number, read_scope, read_time, time,
};
use super::super::later::end_of;
use super::super::records::{IntentRecord, OrderKey, REFUNDED_RECENTLY, Scope, Stats};
use super::Store;
use super::driver::{Connection, Database, Dialect, failed};
use super::rows::{account, get, read_intent, read_order, scoped, text};
use crate::error::InboxError;

/// How long a deletion waits for other writers: the next one deletes as well.
const PATIENCE: Duration = Duration::from_secs(1);

/// Deletes the oldest events that are over. The rows of their payments have had their notes since
/// they ran.
pub(super) async fn prune(
    store: &Store,
    scope: &Scope,
    before: SystemTime,
    most: usize,
) -> Result<usize, InboxError> {
    let statement = concat!(
        "DELETE FROM {}events WHERE (id, application, mode) IN (SELECT id, application, mode FROM {}events WHERE ",
        "application = $1 AND mode = $2 AND state IN ('done', 'superseded') AND received < $3 ORDER BY received LIMIT $4 {skip locked})"
    );
    let mut held = store.hold().await?;
    let mut tx = held.begin(end_of(PATIENCE)).await?;
    let deleted = store
        .dialect
        .query::<Database>(statement)
        .bind(text(&scope.application))
        .bind(mode(scope.mode))
        .bind(time(before))
        .bind(limit(most))
        .execute(tx.db())
        .await
        .map_err(failed)?;
    tx.commit().await?;
    held.finish().await;
    Ok(deleted.rows_affected().try_into().unwrap_or(usize::MAX))
}

/// Counts the events of a scope.
pub(super) async fn stats(
    db: &mut Connection,
    sql: &Dialect,
    scope: &Scope,
) -> Result<Stats, InboxError> {
    let mut stats = Stats::default();
    let statement = "SELECT state, count(*) AS events FROM {}events WHERE application = $1 AND mode = $2 AND state IN ('done', 'superseded') GROUP BY state \
        UNION ALL SELECT state, count(*) AS events FROM {}events WHERE application = $1 AND mode = $2 AND state NOT IN ('done', 'superseded') GROUP BY state";
    let counts = scoped(sql, statement, scope)
        .fetch_all(&mut *db)
        .await
        .map_err(failed)?;
    for row in counts {
        let state = read_event_state(get(&row, "state")?)?;
        stats
            .events
            .insert(state, read_number(get(&row, "events")?));
    }
    let statement = "SELECT (SELECT count(*) FROM {}events WHERE application = $1 AND mode = $2 AND state = 'pending' AND due <= {now}) AS due, \
        (SELECT min(received) FROM {}events WHERE application = $1 AND mode = $2 AND state = 'pending') AS oldest, \
        count(DISTINCT e.payment) AS unfulfilled, min(e.received) AS since FROM {}events AS e \
        LEFT JOIN {}payments AS p ON p.application = e.application AND p.mode = e.mode AND p.id = e.payment \
        WHERE e.application = $1 AND e.mode = $2 AND e.state NOT IN ('done', 'superseded') AND e.state IN ('pending', 'dead') AND e.settles AND COALESCE(p.success, 'no') IN ('no', 'dead', 'broken')";
    let row = scoped(sql, statement, scope)
        .fetch_one(&mut *db)
        .await
        .map_err(failed)?;
    let moment = |column| Ok::<_, InboxError>(get::<Option<i64>>(&row, column)?.map(read_time));
    stats.due = read_number(get(&row, "due")?);
    stats.oldest_pending = moment("oldest")?;
    stats.unfulfilled = read_number(get(&row, "unfulfilled")?);
    stats.unfulfilled_since = moment("since")?;
    let statement = "SELECT refunds FROM {}payments WHERE application = $1 AND mode = $2 AND success = 'duplicate' AND refunded_total = 0";
    let duplicates: Vec<String> = sql
        .scalar::<Database, _>(statement)
        .bind(text(&scope.application))
        .bind(mode(scope.mode))
        .fetch_all(&mut *db)
        .await
        .map_err(failed)?;
    stats.duplicate_payments = not_refunded(&duplicates)?;
    let statement = "SELECT count(DISTINCT p.id) FROM {}payments AS p JOIN {}events AS e ON e.application = p.application AND e.mode = p.mode AND e.payment = p.id \
        WHERE p.application = $1 AND p.mode = $2 AND p.success = 'refunded' AND e.settles AND e.state = 'done' AND e.received > $3";
    let since = SystemTime::now().checked_sub(REFUNDED_RECENTLY);
    let refunded: i64 = sql
        .scalar::<Database, _>(statement)
        .bind(text(&scope.application))
        .bind(mode(scope.mode))
        .bind(time(since.unwrap_or(SystemTime::UNIX_EPOCH)))
        .fetch_one(db)
        .await
        .map_err(failed)?;
    stats.refunded_before_fulfillment = read_number(refunded);
    Ok(stats)
}

pub(super) async fn open_intents(
    db: &mut Connection,
    sql: &Dialect,
    scope: &Scope,
    after: Option<&OrderKey>,
    since: SystemTime,
    most: usize,
) -> Result<Vec<(OrderKey, IntentRecord)>, InboxError> {
    // No reference is empty, so no order stands before ('', '').
    let statement = concat!(
        "SELECT account, reference, ",
        intent_columns!(),
        " FROM {}intents WHERE application = $1 AND mode = $2 AND state IN ('creating', 'open', 'processing') AND version > 0 AND payment IS NOT NULL ",
        "AND (state = 'processing' OR changed >= $3) AND (account, reference) > ($4, $5) ORDER BY account, reference LIMIT $6"
    );
    let rows = scoped(sql, statement, scope)
        .bind(time(since))
        .bind(account(after))
        .bind(after.map_or("".into(), |order| text(&order.reference)))
        .bind(limit(most))
        .fetch_all(db)
        .await
        .map_err(failed)?;
    let orders = rows
        .iter()
        .map(|row| Ok((read_order(row, scope)?, read_intent(row)?)));
    orders.collect()
}

pub(super) async fn accounts(
    db: &mut Connection,
    sql: &Dialect,
    scope: &Scope,
    after: Option<&str>,
    since: SystemTime,
    most: usize,
) -> Result<Vec<String>, InboxError> {
    let statement = "SELECT DISTINCT account FROM {}intents WHERE application = $1 AND mode = $2 AND account <> '' \
        AND account > $3 AND changed >= $4 AND version > 0 ORDER BY account LIMIT $5";
    sql.scalar::<Database, _>(statement)
        .bind(text(&scope.application))
        .bind(mode(scope.mode))
        .bind(text(after.unwrap_or_default()))
        .bind(time(since))
        .bind(limit(most))
        .fetch_all(db)
        .await
        .map_err(failed)
}

pub(super) async fn scopes_with_bookmark(
    db: &mut Connection,
    sql: &Dialect,
    name: &str,
) -> Result<Vec<Scope>, InboxError> {
    let statement = "SELECT application, mode FROM {}bookmarks WHERE name = $1";
    let rows: Vec<(String, String)> = sql
        .query_as::<Database, _>(statement)
        .bind(text(name))
        .fetch_all(db)
        .await
        .map_err(failed)?;
    rows.into_iter().map(read_scope).collect()
}

/// Lists the scopes that have something due. It goes from one scope with a pending event to the
/// next by the index, so that a scope with many events costs no more than one with a single event.
pub(super) async fn due_scopes(
    db: &mut Connection,
    sql: &Dialect,
) -> Result<Vec<Scope>, InboxError> {
    macro_rules! next {
        ($column:literal) => {
            concat!(
                "(SELECT ",
                $column,
                " FROM {}events AS e WHERE e.state = 'pending' AND (e.application, e.mode) > (s.application, s.mode) ORDER BY e.application, e.mode LIMIT 1)"
            )
        };
    }
    let statement = concat!(
        "WITH RECURSIVE scopes (application, mode) AS (",
        "SELECT * FROM (SELECT application, mode FROM {}events WHERE state = 'pending' ORDER BY application, mode LIMIT 1) AS first ",
        "UNION ALL SELECT ",
        next!("e.application"),
        ", ",
        next!("e.mode"),
        " FROM scopes AS s WHERE s.application IS NOT NULL) ",
        "SELECT application, mode FROM scopes AS s WHERE EXISTS (SELECT 1 FROM {}events AS e ",
        "WHERE e.application = s.application AND e.mode = s.mode AND e.state = 'pending' AND e.due <= {now})"
    );
    let rows: Vec<(String, String)> = sql
        .query_as::<Database, _>(statement)
        .fetch_all(db)
        .await
        .map_err(failed)?;
    rows.into_iter().map(read_scope).collect()
}

fn limit(most: usize) -> i64 {
    most.try_into().unwrap_or(i64::MAX)
}
