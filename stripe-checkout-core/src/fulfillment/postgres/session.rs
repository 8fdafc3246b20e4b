//! The work on one event in PostgreSQL, on one connection.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Postgres};
use tokio::sync::OwnedSemaphorePermit;

use super::super::codec::unavailable;
use super::super::inbox::{Changes, Claim, CommitError, Locked, Session, Transaction};
use super::super::later::end_of;
use super::super::records::{
    EventRecord, EventState, Found, IntentRecord, NewEvent, OrderKey, PaymentRecord, Scope, Stored,
};
use super::super::sql::PATIENCE;
use super::super::verdict::{Cause, Terms};
use super::driver::{Dialect, Own, Pooler, Wait, failed, with_wait};
use super::rows::{self, LeftInside, text};
use super::transaction::{
    Held, Tx, after_handler, before_handler, is_broken, is_refusal, lock_timeout, undo_handler,
    wait_for_locks, words,
};
use super::{PostgresInbox, SILENCE, SILENT, in_time};
use crate::error::InboxError;

/// How long a statement that the handler left behind may still run before it is canceled.
const GRACE: Duration = Duration::from_millis(500);

/// How long the connection that cancels it may take.
const CANCELING: Duration = Duration::from_secs(5);

/// How long the write waits that gives an attempt back.
const AFTERWARDS: Duration = Duration::from_secs(1);

/// How often a statement that is a transaction of its own is tried. From the second time on, it
/// runs in an explicit transaction, on a new connection. The first connection may be inside a
/// transaction that others left open. A session's defaults may be read-only, or another isolation
/// level.
const TRIES: u32 = 2;

/// See [`Session`].
pub struct SqlSession {
    inbox: PostgresInbox,
    // Before the permit, because fields are dropped in this order.
    held: Option<Held>,
    /// An attempt's share of the pool.
    permit: Option<OwnedSemaphorePermit>,
}

/// See [`Transaction`].
pub struct SqlTransaction<'a> {
    tx: Tx<'a>,
    inbox: &'a PostgresInbox,
    own: Own,
    /// Whether a handler was cut off on the connection. If so, the connection is not reused.
    is_worn: bool,
    /// The payment's row as it was locked.
    payment: PaymentRecord,
    /// The number of the transaction.
    transaction: Option<i64>,
    /// The server's process behind the connection.
    backend: Option<i64>,
}

impl SqlSession {
    pub(super) fn new(inbox: PostgresInbox) -> Self {
        Self {
            inbox,
            held: None,
            permit: None,
        }
    }

    /// Takes an attempt's share of the pool. A session that waits for it holds no connection.
    async fn take_share(&mut self, until: Instant) -> Result<(), InboxError> {
        if self.permit.is_some() {
            return Ok(());
        }
        let steps = Arc::clone(&self.inbox.steps);
        let permit = match Arc::clone(&steps).try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => {
                self.held = None;
                let permit = tokio::time::timeout_at(until.into(), steps.acquire_owned()).await;
                permit.map_err(|_| InboxError::Busy)?.map_err(unavailable)?
            }
        };
        self.permit = Some(permit);
        Ok(())
    }

    /// Its connection. The pool has checked that it is alive. If the wait ends while the pool is
    /// about to return a connection, the pool closes that one.
    async fn hold(&mut self, until: Instant) -> Result<&mut Held, InboxError> {
        let held = match self.held.take() {
            Some(held) => held,
            None => {
                let conn = tokio::time::timeout_at(until.into(), self.inbox.pool.acquire()).await;
                let conn = conn.map_err(|_| match self.permit {
                    // Other attempts use the connections.
                    Some(_) => InboxError::Busy,
                    None => unavailable(sqlx::Error::PoolTimedOut),
                })?;
                Held::new(conn.map_err(failed)?)
            }
        };
        Ok(self.held.insert(held))
    }

    /// Takes an idle connection of the pool, without the round trip that checks whether it is
    /// alive. Its first statement only reads, and shows whether it is alive.
    fn hold_idle(&mut self) {
        if self.held.is_none() {
            self.held = self.inbox.pool.try_acquire().map(Held::new);
        }
    }

    /// Its connection, and when the server was seen on it. An explicit transaction needs no such
    /// check.
    async fn seen(&mut self, until: Instant) -> Result<(&mut Held, i64), InboxError> {
        if self.is_explicit(1) {
            return Ok((self.hold(until).await?, i64::MIN));
        }
        self.hold_idle();
        let sql = self.inbox.dialect.clone();
        let mut seen = self.held.as_ref().and_then(|held| held.seen);
        let mut tries = 1;
        while seen.is_none() {
            let db = self.hold(until).await?.db();
            let looked = sql.scalar::<Postgres, _>("SELECT {of connection}");
            let looked = async { looked.fetch_one(db).await.map_err(failed) };
            let looked = in_time(SILENCE, looked).await;
            match self.keep(looked) {
                Ok(now) => seen = Some(now),
                Err(_) if tries == 1 => tries += 1,
                Err(error) => return Err(error),
            }
        }
        let held = self.hold(until).await?;
        let seen = *held.seen.insert(seen.unwrap_or(i64::MAX));
        Ok((held, seen))
    }

    /// Whether a statement that could be a transaction of its own runs in an explicit one.
    fn is_explicit(&self, tries: u32) -> bool {
        tries > 1 || self.inbox.pooler == Pooler::Transaction
    }

    /// Keeps the connection if its statement, a transaction of its own, ended.
    fn keep<T>(&mut self, done: Result<T, InboxError>) -> Result<T, InboxError> {
        match (&done, &mut self.held) {
            (Ok(_) | Err(InboxError::Busy), Some(held)) => held.is_whole(),
            _ => self.held = None,
        }
        done
    }
}

impl Session for SqlSession {
    type Connection = PgConnection;
    type Transaction<'a> = SqlTransaction<'a>;

    async fn find(
        &mut self,
        scope: &Scope,
        event: &str,
        payments: [Option<&str>; 2],
    ) -> Result<Found, InboxError> {
        let inbox = self.inbox.clone();
        self.hold_idle();
        let mut tries = 1;
        loop {
            let held = self.hold(end_of(PATIENCE)).await?;
            let found = async {
                let mut db = inbox.read_on(held.db()).await?;
                let found = rows::find(&mut db, &inbox.dialect, scope, event, payments).await?;
                db.end().await?;
                Ok(found)
            };
            let found = in_time(SILENCE, found).await;
            let found = found.and_then(|(found, row)| {
                held.seen = Some(rows::get(&row, "seen")?);
                Ok(found)
            });
            match self.keep(found) {
                Ok(found) => return Ok(found),
                Err(_) if tries == 1 => tries += 1,
                Err(error) => return Err(error),
            }
        }
    }

    async fn receive(
        &mut self,
        event: &NewEvent,
        lease: Option<Duration>,
    ) -> Result<Option<Stored>, InboxError> {
        let sql = self.inbox.dialect.clone();
        let mut tries = 1;
        loop {
            let until = end_of(PATIENCE);
            let is_explicit = self.is_explicit(tries);
            let (held, seen) = self.seen(until).await?;
            let wait = Wait {
                patience: PATIENCE,
                seen,
            };
            let storing = async {
                if !is_explicit {
                    return insert_event(held.db(), &sql, event, lease, wait).await;
                }
                let mut tx = held.begin(until).await?;
                let stored = insert_event(tx.db(), &sql, event, lease, wait).await?;
                tx.commit().await?;
                Ok(stored)
            };
            let stored = in_time(SILENCE, storing).await;
            match self.keep(stored) {
                Err(InboxError::Unavailable(_)) if tries < TRIES => tries += 1,
                stored => return stored,
            }
        }
    }

    async fn claim(
        &mut self,
        scope: &Scope,
        which: Claim<'_>,
        terms: Terms,
    ) -> Result<Option<Stored>, InboxError> {
        let until = end_of(terms.patience);
        let sql = self.inbox.dialect.clone();
        let mut tries = 1;
        loop {
            self.take_share(until).await?;
            let is_explicit = self.is_explicit(tries);
            let (held, seen) = self.seen(until).await?;
            let patience = until.saturating_duration_since(Instant::now());
            let wait = Wait { patience, seen };
            let claiming = async {
                if !is_explicit {
                    return rows::claim(held.db(), &sql, scope, which, terms, wait).await;
                }
                let mut tx = held.begin(until).await?;
                let claimed = rows::claim(tx.db(), &sql, scope, which, terms, wait).await?;
                tx.commit().await?;
                Ok(claimed)
            };
            let claimed = in_time(patience.saturating_add(SILENCE), claiming).await;
            match self.keep(claimed) {
                Err(InboxError::Unavailable(_)) if tries < TRIES => tries += 1,
                claimed => return claimed,
            }
        }
    }

    async fn give_back(
        &mut self,
        claimed: &Stored,
        again: Option<Duration>,
    ) -> Result<(), InboxError> {
        let sql = self.inbox.dialect.clone();
        let held = self.hold(end_of(PATIENCE)).await?;
        let given = async {
            let mut tx = held.begin(end_of(AFTERWARDS)).await?;
            rows::give_back(tx.db(), &sql, claimed, again).await?;
            tx.commit().await
        };
        in_time(SILENCE, given).await
    }

    async fn begin(
        &mut self,
        event: &EventRecord,
        patience: Duration,
    ) -> Result<Option<(SqlTransaction<'_>, Locked)>, InboxError> {
        let until = end_of(patience);
        self.take_share(until).await?;
        self.hold(until).await?;
        let Some(held) = &mut self.held else {
            return Err(InboxError::Busy);
        };
        let limit = until.saturating_duration_since(Instant::now());
        let inbox = &self.inbox;
        let locked = lock(held, inbox, event, until);
        in_time(limit.saturating_add(SILENCE), locked).await
    }

    async fn finish(self) {}
}

/// Locks each row by a statement of its own. All waits together end at this time.
async fn lock<'a>(
    held: &'a mut Held,
    inbox: &'a PostgresInbox,
    event: &EventRecord,
    until: Instant,
) -> Result<Option<(SqlTransaction<'a>, Locked)>, InboxError> {
    let mut tx = held.begin_for_handler().await?;
    match lock_rows(tx.db(), &inbox.dialect, event, until).await {
        Ok((own, payment, Some((locked, backend)))) => {
            let transaction = SqlTransaction {
                tx,
                inbox,
                own,
                is_worn: false,
                payment,
                transaction: locked.transaction,
                backend,
            };
            Ok(Some((transaction, locked)))
        }
        Ok((_, _, None)) => {
            tx.rollback().await?;
            Ok(None)
        }
        Err(error) => {
            if matches!(error, InboxError::Busy) {
                tx.rollback().await?;
            }
            Err(error)
        }
    }
}

async fn lock_rows(
    db: &mut PgConnection,
    sql: &Dialect,
    event: &EventRecord,
    until: Instant,
) -> Result<(Own, PaymentRecord, Option<(Locked, Option<i64>)>), InboxError> {
    let mut patience = Patience::new(until);
    let (own, stored) = match &event.payment {
        Some(payment) => lock_payment(db, sql, &event.scope, payment, until).await?,
        None => {
            let own = Own::take_over(db, sql, until).await?;
            (own, PaymentRecord::default())
        }
    };
    patience.set(db).await?;
    let order = match &event.order {
        Some(order) => lock_order(db, sql, order).await?,
        None => None,
    };
    patience.set(db).await?;
    let mut payment = stored.clone();
    let found = lock_event(db, sql, event, &mut payment).await?;
    let locked = found.map(|found| {
        let locked = Locked {
            event: found.event,
            payment,
            order,
            transaction: found.transaction,
        };
        (locked, found.backend)
    });
    Ok((own, stored, locked))
}

impl SqlTransaction<'_> {
    async fn try_end(&mut self, failed: bool) -> Result<(), CommitError> {
        let db = self.tx.db();
        // If the start of a nested transaction was cut off, it takes ours with it, and sqlx would
        // commit nothing without an error.
        if !db.is_in_transaction() {
            return Err(CommitError::Gone(self.transaction));
        }
        let transaction = self.transaction;
        let lost = |error: &sqlx::Error, text: String| match is_broken(error) {
            true => CommitError::Gone(transaction),
            false => CommitError::Lost(text),
        };
        if failed {
            let undone = undo(self.inbox, db, &self.own, self.backend).await;
            return undone.map_err(|error| lost(&error, words(&error)));
        }
        let Err(error) = after_handler(db, &self.own).await else {
            return Ok(());
        };
        let text = words(&error);
        if !is_refusal(&error) || is_broken(&error) {
            return Err(lost(&error, text));
        }
        match undo(self.inbox, db, &self.own, self.backend).await {
            Ok(()) => Err(CommitError::Refused(text)),
            Err(undoing) => Err(lost(&undoing, text)),
        }
    }
}

/// Undoes the handler's writes. It cancels a statement that the handler left behind, because the
/// server would otherwise continue it for no client.
async fn undo(
    inbox: &PostgresInbox,
    db: &mut PgConnection,
    own: &Own,
    backend: Option<i64>,
) -> Result<(), sqlx::Error> {
    let undone = {
        let mut undoing = pin!(undo_handler(db, own));
        // By reference: work that does not end in time is awaited again, never dropped.
        match tokio::time::timeout(GRACE, undoing.as_mut()).await {
            Ok(undone) => undone,
            Err(_) => {
                inbox.cancel(backend).await;
                undoing.await
            }
        }
    };
    match undone {
        // If the end of a nested transaction was cut off, sqlx first rolls back a savepoint that no
        // longer exists. Ours may still exist.
        Err(error) if is_broken(&error) => undo_handler(db, own).await,
        undone => undone,
    }
}

impl Transaction for SqlTransaction<'_> {
    type Connection = PgConnection;

    async fn copies(&mut self, event: &EventRecord) -> Result<Vec<EventState>, InboxError> {
        let copies = rows::copies(self.tx.db(), &self.inbox.dialect, event);
        in_time(SILENCE, copies).await
    }

    async fn protect(&mut self, limit: Duration) -> Result<(), InboxError> {
        let (db, own) = (self.tx.db(), &self.own);
        let protected = async { before_handler(db, own, limit).await.map_err(unavailable) };
        in_time(SILENCE, protected).await
    }

    fn connection(&mut self) -> &mut PgConnection {
        self.tx.db()
    }

    async fn end(&mut self, failed: Option<Cause>) -> Result<(), CommitError> {
        self.is_worn = failed.is_some_and(|cause| cause != Cause::Handler);
        let ended = tokio::time::timeout(SILENCE, self.try_end(failed.is_some())).await;
        ended.unwrap_or_else(|_| Err(CommitError::Lost(SILENT.to_owned())))
    }

    async fn commit(mut self, changes: Changes) -> Result<(), CommitError> {
        let committing = async {
            let (db, sql) = (self.tx.db(), &self.inbox.dialect);
            save(db, sql, &self.payment, changes, &self.own).await?;
            self.tx.commit_worn(self.is_worn).await
        };
        match tokio::time::timeout(SILENCE, committing).await {
            Ok(committed) => committed.map_err(|error| CommitError::Lost(words(&error))),
            Err(_) => Err(CommitError::Lost(SILENT.to_owned())),
        }
    }

    async fn rollback(self) -> Result<(), InboxError> {
        in_time(SILENCE, self.tx.rollback()).await
    }

    async fn was_undone(&mut self, transaction: i64) -> Result<bool, InboxError> {
        let (db, sql) = (self.tx.db(), &self.inbox.dialect);
        let status = async {
            let status: Option<String> = sql
                .scalar::<Postgres, _>("SELECT txid_status($1)")
                .bind(transaction)
                .fetch_one(db)
                .await
                .map_err(failed)?;
            Ok(status.as_deref() == Some("aborted"))
        };
        in_time(SILENCE, status).await
    }
}

impl PostgresInbox {
    async fn cancel(&self, backend: Option<i64>) {
        let Some(backend) = backend.and_then(|backend| i32::try_from(backend).ok()) else {
            return;
        };
        // Not from the pool: the callers that wait for this may use all its connections.
        let options = self.pool.connect_options();
        let canceling = async {
            let mut conn = PgConnection::connect_with(&options).await?;
            // Without parameters: behind a pooler, a statement with parameters needs a transaction.
            let cancel = AssertSqlSafe(format!("SELECT pg_cancel_backend({backend})"));
            sqlx::raw_sql(cancel).execute(&mut conn).await?;
            conn.close().await
        };
        // It has a connection of its own, so nothing else is lost if this is cut off.
        match tokio::time::timeout(CANCELING, canceling).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(error = %crate::error::Chain(&error), "a statement of a handler that was cut off goes on until its time limit");
            }
            Err(_) => {
                tracing::warn!(
                    "a statement of a handler that was cut off goes on until its time limit"
                );
            }
        }
    }
}

/// The time for all locks of an attempt together. The server counts the time for each lock alone.
struct Patience {
    until: Instant,
    /// When the limit was last sent to the server.
    notified: Instant,
}

impl Patience {
    fn new(until: Instant) -> Self {
        Self {
            until,
            notified: Instant::now(),
        }
    }

    /// Gives the next lock the remaining time. If no time remains, a free lock is still taken: the
    /// limit is for waits on others, not for a slow server.
    async fn set(&mut self, db: &mut PgConnection) -> Result<(), InboxError> {
        let now = Instant::now();
        // As long as no lock made us wait, the limit on the server is still right.
        if now - self.notified > Duration::from_millis(20) {
            wait_for_locks(db, self.until).await.map_err(failed)?;
            self.notified = now;
        }
        Ok(())
    }
}

/// Locks a payment, and creates its row first if there is none. Before it waits, it takes over the
/// session, as [`Own::take_over`] does.
async fn lock_payment(
    db: &mut PgConnection,
    sql: &Dialect,
    scope: &Scope,
    id: &str,
    until: Instant,
) -> Result<(Own, PaymentRecord), InboxError> {
    // An upsert returns the row in its state after the wait.
    let statement = concat!(
        "WITH found AS (SELECT ",
        own_settings!(),
        " AS own), limits AS (SELECT own, ",
        limits!("$4"),
        " FROM found) INSERT INTO {}payments (application, mode, id) SELECT $1, $2, $3 FROM limits ",
        "ON CONFLICT (application, mode, id) DO UPDATE SET id = excluded.id RETURNING (SELECT own FROM found) AS own, ",
        payment_columns!()
    );
    let row = rows::scoped(sql, statement, scope)
        .bind(text(id))
        .bind(lock_timeout(until).to_string())
        .fetch_one(db)
        .await
        .map_err(failed)?;
    Ok((Own::read(&row)?, rows::read_payment(&row)?))
}

/// Locks an order. An order without a row gets an empty one, because it too may have only one step
/// at a time.
async fn lock_order(
    db: &mut PgConnection,
    sql: &Dialect,
    order: &OrderKey,
) -> Result<Option<IntentRecord>, InboxError> {
    let statement = concat!(
        "INSERT INTO {}intents (application, mode, account, reference) VALUES ($1, $2, $3, $4) ",
        "ON CONFLICT (application, mode, account, reference) DO UPDATE SET reference = excluded.reference RETURNING ",
        intent_columns!()
    );
    let row = rows::ordered(sql, statement, order)
        .fetch_one(db)
        .await
        .map_err(failed)?;
    match rows::get::<i64>(&row, "version")? {
        0 => Ok(None),
        _ => rows::read_intent(&row).map(Some),
    }
}

/// Locks an event, and adds the facts of the payment's events to the facts of the payment's row.
async fn lock_event(
    db: &mut PgConnection,
    sql: &Dialect,
    event: &EventRecord,
    payment: &mut PaymentRecord,
) -> Result<Option<LockedEvent>, InboxError> {
    // The notes are read after the payment is locked. A later note can only stop a delivery that
    // has not begun.
    let statement = concat!(
        "SELECT ",
        event_columns!(),
        ", notes, settling, settles AND others AS awaited, txid_current_if_assigned() AS txid, pg_backend_pid()::bigint AS backend FROM {}events AS e, ",
        said!("$4"),
        " AS said WHERE ",
        of_scope!(),
        "AND id = $3 FOR UPDATE OF e"
    );
    let row = rows::scoped(sql, statement, &event.scope)
        .bind(text(&event.id))
        .bind(event.payment.as_deref().map(text))
        .fetch_optional(db)
        .await
        .map_err(failed)?;
    let Some(row) = row else {
        return Ok(None);
    };
    Ok(Some(LockedEvent {
        event: rows::read_locked(&row, payment)?,
        transaction: rows::get(&row, "txid")?,
        backend: rows::get(&row, "backend")?,
    }))
}

/// An event that is locked.
struct LockedEvent {
    event: Stored,
    /// The number of the transaction, if it has one.
    transaction: Option<i64>,
    /// The server's process behind the connection.
    backend: Option<i64>,
}

/// Stores an event unless its id is known, and records to which order its payment belongs. It is
/// one statement, and a transaction of its own.
async fn insert_event(
    db: &mut PgConnection,
    sql: &Dialect,
    event: &NewEvent,
    lease: Option<Duration>,
    wait: Wait,
) -> Result<Option<Stored>, InboxError> {
    // The server does not return the body, because we have it. A process that hangs would not read
    // a long result, and would keep its locks.
    let statement = concat!(
        "WITH settings AS (SELECT set_config('lock_timeout', $16, true), ",
        durable!(),
        "), new AS (INSERT INTO {}events (application, mode, id, event_type, payment, order_account, order_reference, ours, settles, note, body, received, state, attempts, due, taken, claim) ",
        "SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, CASE WHEN $14 > 0 THEN {clock} + $15 ELSE LEAST($12, {now}) END, $14, $14 FROM settings ",
        "ON CONFLICT (application, mode, id) DO NOTHING RETURNING application, mode, payment, order_account, order_reference, due, claim), ",
        "whose AS (INSERT INTO {}orders_of_payments AS w (application, mode, payment, account, reference) ",
        "SELECT application, mode, payment, order_account, order_reference FROM new WHERE payment IS NOT NULL AND order_reference IS NOT NULL ",
        on_conflict_of_order!(),
        ") SELECT (extract(epoch FROM now()) * 1000000)::bigint >= $17 AS outside, due, claim FROM new"
    );
    let query = rows::with_event(sql.query(statement), event, lease);
    // Fetches all rows: the server reports its commit after the last row.
    let rows = with_wait(query, wait).fetch_all(db).await.map_err(failed)?;
    let Some(row) = rows.first() else {
        return Ok(None);
    };
    if !rows::get::<bool>(row, "outside")? {
        return Err(unavailable(LeftInside));
    }
    let mut record = EventRecord::from(event.clone());
    record.attempts = u32::from(lease.is_some());
    record.due = super::super::codec::read_time(rows::get(row, "due")?);
    Ok(Some(Stored {
        record,
        claim: rows::get(row, "claim")?,
        taken: lease.is_some(),
        is_spent: false,
        awaited: false,
    }))
}

/// Writes the changes to the rows, which are locked, in one statement.
async fn save(
    db: &mut PgConnection,
    sql: &Dialect,
    stored: &PaymentRecord,
    changes: Changes,
    own: &Own,
) -> Result<(), sqlx::Error> {
    let statement = concat!(
        "WITH p AS (UPDATE {}payments SET success = $5, capturable = $6, canceled = $7, refunds = $8, refunded_total = $9, received = $10, released = $11, disputes = $12, notified = $13 ",
        "WHERE application = $1 AND mode = $2 AND id = $4 AND $14 RETURNING 1), ",
        "i AS (UPDATE {}intents SET version = $18, attempt = $19, fingerprint = $20, amount = $21, currency = $22, capture = $23, payment = $24, secret_hash = $25, ",
        "request = $26, state = $27, paid_by = $28, declines = $29, changed = {clock} ",
        "WHERE application = $1 AND mode = $2 AND account = $15 AND reference = $16 AND version = $18 - 1 AND $17 RETURNING 1), ",
        "w AS (INSERT INTO {}orders_of_payments AS w (application, mode, payment, account, reference) ",
        "SELECT $1, $2, payment, $15, $16 FROM (SELECT $24 AS payment UNION ALL SELECT $28 WHERE $28 IS DISTINCT FROM $24) AS these WHERE $17 AND ",
        is_no_known_order!(),
        on_conflict_of_order!(),
        "), e AS (UPDATE {}events SET state = $30, attempts = $31, due = COALESCE({clock} + $32, due), last_error = $33, body = CASE WHEN $34 THEN ''::bytea ELSE body END, ",
        "taken = 0, claim = claim + 1 WHERE application = $1 AND mode = $2 AND id = $3 RETURNING 1), s AS (",
        restored!(),
        ") SELECT 1 FROM s CROSS JOIN (SELECT 1 FROM p UNION ALL SELECT 1 FROM i UNION ALL SELECT 1 FROM e) AS written"
    );
    match rows::save(db, sql, statement, stored, changes, own).await? {
        true => Ok(()),
        false => Err(sqlx::Error::RowNotFound),
    }
}
