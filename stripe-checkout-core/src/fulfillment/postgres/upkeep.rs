//! What is read and written besides the steps: counts, what may be forgotten, orders that may still be paid, bookmarks.

use std::time::{Duration, SystemTime};

use sqlx::PgConnection;
use tokio::time::Instant;

use super::PostgresInbox;
use super::rows::{
    Patience, Tables, account, get, intent_columns, read_account, read_intent, text,
};
use super::transaction::{begin, busy_or};
use crate::error::InboxError;
use crate::fulfillment::inbox::{IntentRecord, OrderKey, Scope, Stats};
use crate::fulfillment::stored::{
    mode, not_refunded, read_event_state, read_number, read_scope, read_time, time, unavailable,
};

/// How long forgetting waits for a payment that is worked on: it can be forgotten next time.
const PATIENCE: Duration = Duration::from_secs(1);

impl PostgresInbox {
    /// Forgets events that are over: first those that nothing is to be kept of, then those that said something of their payment, one payment after the other.
    pub(super) async fn forget(
        &self,
        scope: &Scope,
        before: SystemTime,
        most: usize,
    ) -> Result<usize, InboxError> {
        let mut held = self.held().await?;
        let mut tx = begin(held.conn(), Some(PATIENCE))
            .await
            .map_err(unavailable)?;
        let mut forgotten = self
            .tables
            .delete_plain(&mut tx, scope, before, most)
            .await?;
        tx.commit().await.map_err(unavailable)?;
        if forgotten < most {
            let mut tx = begin(held.conn(), Some(PATIENCE))
                .await
                .map_err(unavailable)?;
            let payments = self
                .tables
                .noted_payments(&mut tx, scope, before, most - forgotten);
            let payments = payments.await?;
            tx.commit().await.map_err(unavailable)?;
            for payment in payments {
                let mut tx = begin(held.conn(), Some(PATIENCE))
                    .await
                    .map_err(unavailable)?;
                match self
                    .tables
                    .delete_noted(&mut tx, scope, before, &payment)
                    .await
                {
                    Ok(deleted) => {
                        tx.commit().await.map_err(unavailable)?;
                        forgotten += deleted;
                    }
                    Err(InboxError::Busy) => tx.rollback().await.map_err(unavailable)?,
                    Err(error) => return Err(error),
                }
            }
        }
        held.release();
        Ok(forgotten)
    }
}

/// What may be forgotten of what is called `e`.
macro_rules! over {
    () => {
        "e.application = $1 AND e.mode = $2 AND e.state IN ('done', 'superseded') AND e.received < $3 "
    };
}

/// All notes of a payment go at once, or none: read again on top of the row, what is left of them must be the latest.
macro_rules! all_over {
    () => {
        "AND NOT EXISTS (SELECT FROM {}events AS o WHERE o.application = $1 AND o.mode = $2 AND o.payment = e.payment AND o.note IS NOT NULL \
         AND (o.received >= $3 OR o.state NOT IN ('done', 'superseded'))) "
    };
}

impl Tables {
    async fn delete_plain(
        &self,
        conn: &mut PgConnection,
        scope: &Scope,
        before: SystemTime,
        most: usize,
    ) -> Result<usize, InboxError> {
        let sql = concat!(
            "DELETE FROM {}events WHERE (application, mode, id) IN (SELECT application, mode, id FROM {}events AS e WHERE ",
            over!(),
            "AND (note IS NULL OR payment IS NULL) ORDER BY received LIMIT $4 FOR UPDATE SKIP LOCKED)"
        );
        let done = sqlx::query(self.sql(sql))
            .bind(text(&scope.application))
            .bind(mode(scope.mode))
            .bind(time(before))
            .bind(limit(most))
            .execute(conn)
            .await
            .map_err(busy_or)?;
        Ok(done.rows_affected().try_into().unwrap_or(usize::MAX))
    }

    async fn noted_payments(
        &self,
        conn: &mut PgConnection,
        scope: &Scope,
        before: SystemTime,
        most: usize,
    ) -> Result<Vec<String>, InboxError> {
        let sql = concat!(
            "SELECT DISTINCT payment FROM (SELECT payment FROM {}events AS e WHERE ",
            over!(),
            "AND note IS NOT NULL AND payment IS NOT NULL ",
            all_over!(),
            "ORDER BY received LIMIT $4) AS oldest"
        );
        sqlx::query_scalar(self.sql(sql))
            .bind(text(&scope.application))
            .bind(mode(scope.mode))
            .bind(time(before))
            .bind(limit(most))
            .fetch_all(conn)
            .await
            .map_err(busy_or)
    }

    async fn delete_noted(
        &self,
        conn: &mut PgConnection,
        scope: &Scope,
        before: SystemTime,
        payment: &str,
    ) -> Result<usize, InboxError> {
        let mut patience = Patience::until(Instant::now() + PATIENCE);
        self.lock_payment(conn, scope, payment, &mut patience)
            .await?;
        let (row, known) = self.payment(conn, scope, payment).await?;
        self.put_payment_row(conn, scope, payment, row.as_ref(), &known)
            .await
            .map_err(busy_or)?;
        let sql = concat!(
            "DELETE FROM {}events AS e WHERE ",
            over!(),
            "AND e.payment = $4 AND e.note IS NOT NULL ",
            all_over!(),
        );
        let done = sqlx::query(self.sql(sql))
            .bind(text(&scope.application))
            .bind(mode(scope.mode))
            .bind(time(before))
            .bind(text(payment))
            .execute(conn)
            .await
            .map_err(busy_or)?;
        Ok(done.rows_affected().try_into().unwrap_or(usize::MAX))
    }

    pub(super) async fn stats(
        &self,
        conn: &mut PgConnection,
        scope: &Scope,
    ) -> Result<Stats, InboxError> {
        let mut stats = Stats::default();
        let sql = "SELECT state, count(*) AS events FROM {}events WHERE application = $1 AND mode = $2 GROUP BY state";
        let counts = sqlx::query(self.sql(sql))
            .bind(text(&scope.application))
            .bind(mode(scope.mode))
            .fetch_all(&mut *conn)
            .await
            .map_err(busy_or)?;
        for row in counts {
            let state = read_event_state(get(&row, "state")?)?;
            stats
                .events
                .insert(state, read_number(get(&row, "events")?));
        }
        let sql = "SELECT (SELECT count(*) FROM {}events WHERE application = $1 AND mode = $2 AND state = 'pending' \
            AND due <= (extract(epoch FROM statement_timestamp()) * 1000000)::bigint) AS due, \
            (SELECT min(received) FROM {}events WHERE application = $1 AND mode = $2 AND state = 'pending') AS oldest, \
            count(DISTINCT e.payment) AS unfulfilled, min(e.received) AS since FROM {}events AS e \
            LEFT JOIN {}payments AS p ON p.application = e.application AND p.mode = e.mode AND p.id = e.payment \
            WHERE e.application = $1 AND e.mode = $2 AND e.state IN ('pending', 'dead') AND e.settles AND COALESCE(p.success, 'no') IN ('no', 'dead', 'broken')";
        let row = sqlx::query(self.sql(sql))
            .bind(text(&scope.application))
            .bind(mode(scope.mode))
            .fetch_one(&mut *conn)
            .await
            .map_err(busy_or)?;
        let moment = |column| Ok::<_, InboxError>(get::<Option<i64>>(&row, column)?.map(read_time));
        stats.due = read_number(get(&row, "due")?);
        stats.oldest_pending = moment("oldest")?;
        stats.unfulfilled = read_number(get(&row, "unfulfilled")?);
        stats.unfulfilled_since = moment("since")?;
        let sql = "SELECT refunds FROM {}payments WHERE application = $1 AND mode = $2 AND success = 'duplicate' AND refunded_total = 0";
        let duplicates: Vec<String> = sqlx::query_scalar(self.sql(sql))
            .bind(text(&scope.application))
            .bind(mode(scope.mode))
            .fetch_all(conn)
            .await
            .map_err(busy_or)?;
        stats.duplicate_payments = not_refunded(&duplicates)?;
        Ok(stats)
    }

    pub(super) async fn open_intents(
        &self,
        conn: &mut PgConnection,
        scope: &Scope,
        after: Option<&OrderKey>,
        since: SystemTime,
        most: usize,
    ) -> Result<Vec<(OrderKey, IntentRecord)>, InboxError> {
        // No reference is empty, so nobody's place is before ('', '').
        let sql = concat!(
            "SELECT account, reference, ",
            intent_columns!(),
            " FROM {}intents AS i WHERE application = $1 AND mode = $2 AND state IN ('creating', 'open', 'processing') AND version > 0 AND payment IS NOT NULL ",
            "AND (state = 'processing' OR changed >= $3) AND (account, reference) > ($4, $5) ORDER BY account, reference LIMIT $6"
        );
        let rows = sqlx::query(self.sql(sql))
            .bind(text(&scope.application))
            .bind(mode(scope.mode))
            .bind(time(since))
            .bind(account(after))
            .bind(after.map_or("".into(), |order| text(&order.reference)))
            .bind(limit(most))
            .fetch_all(conn)
            .await
            .map_err(busy_or)?;
        rows.iter()
            .map(|row| {
                let order = OrderKey {
                    scope: scope.clone(),
                    account: read_account(get(row, "account")?),
                    reference: get(row, "reference")?,
                };
                Ok((order, read_intent(row)?))
            })
            .collect()
    }

    pub(super) async fn accounts(
        &self,
        conn: &mut PgConnection,
        scope: &Scope,
        after: Option<&str>,
        since: SystemTime,
        most: usize,
    ) -> Result<Vec<String>, InboxError> {
        // The own account is ''.
        let sql = "SELECT DISTINCT account FROM {}intents WHERE application = $1 AND mode = $2 AND account <> '' \
            AND account > $3 AND changed >= $4 AND version > 0 ORDER BY account LIMIT $5";
        sqlx::query_scalar(self.sql(sql))
            .bind(text(&scope.application))
            .bind(mode(scope.mode))
            .bind(text(after.unwrap_or_default()))
            .bind(time(since))
            .bind(limit(most))
            .fetch_all(conn)
            .await
            .map_err(busy_or)
    }

    pub(super) async fn bookmark(
        &self,
        conn: &mut PgConnection,
        scope: &Scope,
        name: &str,
    ) -> Result<Option<String>, InboxError> {
        let sql =
            "SELECT value FROM {}bookmarks WHERE application = $1 AND mode = $2 AND name = $3";
        sqlx::query_scalar(self.sql(sql))
            .bind(text(&scope.application))
            .bind(mode(scope.mode))
            .bind(text(name))
            .fetch_optional(conn)
            .await
            .map_err(busy_or)
    }

    pub(super) async fn put_bookmark(
        &self,
        conn: &mut PgConnection,
        scope: &Scope,
        name: &str,
        expected: Option<&str>,
        value: &str,
    ) -> Result<bool, InboxError> {
        let sql = match expected {
            None => {
                "INSERT INTO {}bookmarks (application, mode, name, value) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING"
            }
            Some(_) => {
                "UPDATE {}bookmarks SET value = $4 WHERE application = $1 AND mode = $2 AND name = $3 AND value = $5"
            }
        };
        let query = sqlx::query(self.sql(sql))
            .bind(text(&scope.application))
            .bind(mode(scope.mode))
            .bind(text(name))
            .bind(text(value));
        let query = match expected {
            None => query,
            Some(expected) => query.bind(text(expected)),
        };
        let done = query.execute(conn).await.map_err(busy_or)?;
        Ok(done.rows_affected() == 1)
    }

    pub(super) async fn scopes_with_bookmark(
        &self,
        conn: &mut PgConnection,
        name: &str,
    ) -> Result<Vec<Scope>, InboxError> {
        let sql = "SELECT application, mode FROM {}bookmarks WHERE name = $1";
        let rows: Vec<(String, String)> = sqlx::query_as(self.sql(sql))
            .bind(text(name))
            .fetch_all(conn)
            .await
            .map_err(busy_or)?;
        rows.into_iter().map(read_scope).collect()
    }
}

fn limit(most: usize) -> i64 {
    most.try_into().unwrap_or(i64::MAX)
}
