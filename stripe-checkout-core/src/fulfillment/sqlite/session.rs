//! The work on one event in SQLite: one turn of writing, with two transactions in it.

use std::time::{Duration, Instant};

use sqlx::pool::PoolConnection;
use sqlx::{Sqlite, SqliteConnection};

use super::super::codec::{mode, unavailable};
use super::super::inbox::{Changes, Claim, CommitError, Locked, Session, Transaction};
use super::super::later::end_of;
use super::super::records::{
    EventRecord, EventState, Found, NewEvent, PaymentRecord, Scope, Stored,
};
use super::super::sql::{PATIENCE, UNWRITTEN};
use super::super::verdict::{Cause, Terms};
use super::SqliteInbox;
use super::driver::{Dialect, Own, Wait, failed};
use super::handler_transaction::HandlerTransaction;
use super::rows::{self, account, text};
use super::writer::{Settings, Tx, Writer};
use crate::error::{Chain, InboxError};

/// How long a note about what happened may wait for the database.
const AFTERWARDS: Duration = Duration::from_secs(5);

/// Behind our savepoint is the handler's work.
macro_rules! release {
    () => {
        "RELEASE stripe_checkout_handler; "
    };
}
const UNDO: &str = "ROLLBACK TO stripe_checkout_handler; RELEASE stripe_checkout_handler";

/// Writes the changes to the rows. The claim ends. An event that is over keeps no body, because it
/// holds the buyer's name and address.
macro_rules! save {
    () => {
        concat!(
            "UPDATE {}payments SET success = $5, capturable = $6, canceled = $7, refunds = $8, refunded_total = $9, received = $10, released = $11, disputes = $12, notified = $13 ",
            "WHERE application = $1 AND mode = $2 AND id = $4 AND $14 RETURNING 1; ",
            "UPDATE {}intents SET version = $18, attempt = $19, fingerprint = $20, amount = $21, currency = $22, capture = $23, payment = $24, secret_hash = $25, ",
            "request = $26, state = $27, paid_by = $28, declines = $29, changed = {clock} ",
            "WHERE application = $1 AND mode = $2 AND account = $15 AND reference = $16 AND version = $18 - 1 AND $17 RETURNING 1; ",
            "INSERT INTO {}orders_of_payments AS w (application, mode, payment, account, reference) ",
            "SELECT $1, $2, payment, $15, $16 FROM (SELECT $24 AS payment UNION SELECT $28) AS these WHERE $17 AND ",
            is_no_known_order!(),
            on_conflict_of_order!(),
            "; UPDATE {}events SET state = $30, attempts = $31, due = COALESCE({clock} + $32, due), last_error = $33, body = CASE WHEN $34 THEN x'' ELSE body END, ",
            "taken = 0, claim = claim + 1 WHERE application = $1 AND mode = $2 AND id = $3 RETURNING 1"
        )
    };
}

/// See [`Session`].
pub struct SqlSession {
    inbox: SqliteInbox,
    reader: Option<PoolConnection<Sqlite>>,
    /// The settings of the reader's connection, if they were read.
    settings: Option<Settings>,
    writer: Option<Writer>,
    /// The longest wait that the caller allowed.
    until: Instant,
}

/// See [`Transaction`].
pub struct SqlTransaction<'a> {
    tx: Tx<'a>,
    sql: Dialect,
    handler: Option<HandlerTransaction>,
    /// Whether the handler's savepoint is still to be released. Only a transaction that is still
    /// there has one.
    is_apart: bool,
    /// The payment's row as it was locked.
    payment: PaymentRecord,
}

impl SqlSession {
    pub(super) fn new(inbox: SqliteInbox) -> Self {
        Self {
            inbox,
            reader: None,
            settings: None,
            writer: None,
            until: Instant::now(),
        }
    }

    /// A connection outside of a transaction. A read waits for no writer.
    async fn read(&mut self) -> Result<&mut SqliteConnection, InboxError> {
        if let Some(writer) = &mut self.writer {
            return Ok(writer.db());
        }
        let reader = match self.reader.take() {
            Some(reader) => reader,
            None => match self.inbox.pool.try_acquire() {
                Some(reader) => reader,
                None => self.inbox.reader().await?,
            },
        };
        Ok(self.reader.insert(reader))
    }

    /// The turn of writing.
    async fn turn(&mut self, patience: Duration) -> Result<(&mut Writer, Instant), InboxError> {
        self.until = self.until.max(end_of(patience));
        let writer = match self.writer.take() {
            Some(writer) => writer,
            None => {
                let (pool, queue) = (&self.inbox.pool, &self.inbox.queue);
                let settings = self.settings.take();
                let reader = self.reader.take().map(|reader| (reader, settings));
                Writer::new(pool, queue, reader, self.until).await?
            }
        };
        Ok((self.writer.insert(writer), self.until))
    }

    /// Begins a transaction, in this one's turn of writing.
    async fn write(&mut self, patience: Duration) -> Result<Tx<'_>, InboxError> {
        let (writer, until) = self.turn(patience).await?;
        writer.begin(until).await
    }

    /// Lets the next one write.
    async fn next(&mut self) {
        if let Some(mut writer) = self.writer.take() {
            writer.finish().await;
        }
    }
}

impl Session for SqlSession {
    type Connection = SqliteConnection;
    type Transaction<'a> = SqlTransaction<'a>;

    async fn find(
        &mut self,
        scope: &Scope,
        event: &str,
        payments: [Option<&str>; 2],
    ) -> Result<Found, InboxError> {
        let sql = self.inbox.dialect.clone();
        let found = rows::find(self.read().await?, &sql, scope, event, payments).await?;
        self.settings = Some(Settings::read(&found.1)?);
        Ok(found.0)
    }

    async fn receive(
        &mut self,
        event: &NewEvent,
        lease: Option<Duration>,
    ) -> Result<Option<Stored>, InboxError> {
        let sql = self.inbox.dialect.clone();
        let (writer, until) = self.turn(PATIENCE).await?;
        let stored = insert_event(writer.at_once(until).await?, &sql, event, lease).await?;
        writer.committed();
        if lease.is_none() || stored.is_none() {
            self.next().await;
        }
        Ok(stored)
    }

    async fn claim(
        &mut self,
        scope: &Scope,
        which: Claim<'_>,
        terms: Terms,
    ) -> Result<Option<Stored>, InboxError> {
        let sql = self.inbox.dialect.clone();
        // A worker that has nothing to do does not stand in the queue of writers.
        if which == Claim::Due && !is_due(self.read().await?, &sql, scope).await? {
            return Ok(None);
        }
        let (writer, until) = self.turn(terms.patience).await?;
        let db = writer.at_once(until).await?;
        let claimed = rows::claim(db, &sql, scope, which, terms, Wait).await?;
        writer.committed();
        if claimed.is_none() {
            self.next().await;
        }
        Ok(claimed)
    }

    async fn give_back(
        &mut self,
        claimed: &Stored,
        again: Option<Duration>,
    ) -> Result<(), InboxError> {
        // The connection may be broken.
        self.writer = None;
        let sql = self.inbox.dialect.clone();
        let mut tx = self.write(AFTERWARDS).await?;
        rows::give_back(tx.db(), &sql, claimed, again).await?;
        tx.commit().await
    }

    async fn begin(
        &mut self,
        event: &EventRecord,
        patience: Duration,
    ) -> Result<Option<(SqlTransaction<'_>, Locked)>, InboxError> {
        let sql = self.inbox.dialect.clone();
        // From here on no one else writes: that locks the payment, the order and all others.
        let mut tx = self.write(patience).await?;
        let Some((stored, locked)) = lock(tx.db(), &sql, event).await? else {
            return Ok(None);
        };
        let transaction = SqlTransaction {
            tx,
            sql,
            handler: None,
            is_apart: false,
            payment: stored,
        };
        Ok(Some((transaction, locked)))
    }

    async fn finish(mut self) {
        self.next().await;
    }
}

impl SqlTransaction<'_> {
    async fn try_end(&mut self, failed: Option<Cause>) -> Result<(), (sqlx::Error, bool)> {
        let Some(handler) = self.handler.take() else {
            return Ok(());
        };
        let patience_of_others = self.tx.patience_of_others();
        let db = self.tx.db();
        let interrupted = handler.end(db, failed.is_some());
        let interrupted = interrupted.await.map_err(|error| (error, false))?;
        if !interrupted && failed == Some(Cause::Deadline) {
            // A statement that it began on another connection waits for us, in SQLite's own code,
            // which cannot be cut off. It has to give up before we end, or it would be committed
            // although the handler failed, once for each attempt.
            tokio::time::sleep(patience_of_others).await;
        }
        self.is_apart = failed.is_none();
        if self.is_apart {
            return Ok(());
        }
        let undone = sqlx::raw_sql(UNDO).execute(db).await;
        undone.map(drop).map_err(|error| (error, interrupted))
    }

    async fn try_commit(mut self, changes: Changes) -> Result<(), InboxError> {
        let statement = match self.is_apart {
            true => concat!(release!(), save!()),
            false => save!(),
        };
        let (db, stored) = (self.tx.db(), &self.payment);
        let saved = rows::save(db, &self.sql, statement, stored, changes, &Own).await;
        if !saved.map_err(failed)? {
            return Err(unavailable(UNWRITTEN));
        }
        self.tx.commit().await
    }
}

impl Transaction for SqlTransaction<'_> {
    type Connection = SqliteConnection;

    async fn copies(&mut self, event: &EventRecord) -> Result<Vec<EventState>, InboxError> {
        rows::copies(self.tx.db(), &self.sql, event).await
    }

    async fn protect(&mut self, _: Duration) -> Result<(), InboxError> {
        self.handler = Some(HandlerTransaction::begin(self.tx.db()).await?);
        Ok(())
    }

    fn connection(&mut self) -> &mut SqliteConnection {
        self.tx.db()
    }

    async fn end(&mut self, failed: Option<Cause>) -> Result<(), CommitError> {
        let Err((error, interrupted)) = self.try_end(failed).await else {
            return Ok(());
        };
        // After an interruption, or where the disk is full, it was SQLite that undid the
        // transaction.
        let undone = interrupted || failed == Some(Cause::Database);
        Err(match is_broken_transaction(&error) && !undone {
            true => CommitError::Ended(BROKEN.to_owned()),
            false => CommitError::Lost(format!("what the handler wrote was not accepted: {error}")),
        })
    }

    async fn commit(self, changes: Changes) -> Result<(), CommitError> {
        let committed = self.try_commit(changes).await;
        committed.map_err(|error| match &error {
            // It left a transaction of its own open inside of ours.
            InboxError::Unavailable(cause) if is_broken(&**cause) => {
                CommitError::Ended(BROKEN.to_owned())
            }
            _ => CommitError::Lost(format!("the inbox could not commit: {}", Chain(&error))),
        })
    }

    async fn rollback(self) -> Result<(), InboxError> {
        self.tx.rollback().await
    }

    async fn was_undone(&mut self, _: i64) -> Result<bool, InboxError> {
        Ok(true)
    }
}

/// The last error of an event whose handler ended the transaction.
const BROKEN: &str = "broken_transaction: the handler ended the transaction that it was given, or left one of its own open in it (COMMIT, ROLLBACK, ON CONFLICT ROLLBACK, a BEGIN without its end); nothing of it was kept";

fn is_broken(cause: &(dyn std::error::Error + 'static)) -> bool {
    cause.downcast_ref().is_some_and(is_broken_transaction)
}

/// Whether the savepoint, ours or one of sqlx's, is gone: the transaction is not the one that the
/// handler was given.
fn is_broken_transaction(error: &sqlx::Error) -> bool {
    let sqlx::Error::Database(error) = error else {
        return false;
    };
    // SQLite's own words about our own statements: it has only the general code for these.
    error.code().as_deref() == Some("1")
        && ["no such savepoint", "no transaction is active"]
            .iter()
            .any(|message| error.message().contains(message))
}

/// Stores an event unless its id is known, and to which order its payment belongs.
async fn insert_event(
    db: &mut SqliteConnection,
    sql: &Dialect,
    event: &NewEvent,
    lease: Option<Duration>,
) -> Result<Option<Stored>, InboxError> {
    let statement = concat!(
        "{settings}INSERT INTO {}events (application, mode, id, event_type, payment, order_account, order_reference, ours, settles, note, body, received, state, attempts, due, taken, claim) ",
        "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, CASE WHEN $14 > 0 THEN {clock} + $15 WHEN $12 < {now} THEN $12 ELSE {now} END, $14, $14) ",
        "ON CONFLICT (application, mode, id) DO NOTHING RETURNING ",
        event_columns!(),
        "; INSERT INTO {}orders_of_payments AS w (application, mode, payment, account, reference) ",
        "SELECT $1, $2, $5, $6, $7 WHERE changes() > 0 AND $5 IS NOT NULL AND $7 IS NOT NULL ",
        on_conflict_of_order!(),
        "{end}"
    );
    let query = rows::with_event(sql.query(statement), event, lease);
    let rows = query.fetch_all(db).await.map_err(failed)?;
    rows.first().map(rows::read_event).transpose()
}

/// Whether an event is due.
async fn is_due(
    db: &mut SqliteConnection,
    sql: &Dialect,
    scope: &Scope,
) -> Result<bool, InboxError> {
    let statement = concat!(
        "SELECT EXISTS (SELECT 1 FROM {}events WHERE ",
        of_scope!(),
        "AND state = 'pending' AND due <= {now})"
    );
    sql.scalar::<Sqlite, _>(statement)
        .bind(text(&scope.application))
        .bind(mode(scope.mode))
        .fetch_one(db)
        .await
        .map_err(failed)
}

/// Reads the payment, the order and the event, and makes the rows of the first two if there are
/// none. Then sets the savepoint. Each text is a trip to the connection's thread, so all of it is
/// one text. Also returns the payment's row.
async fn lock(
    db: &mut SqliteConnection,
    sql: &Dialect,
    event: &EventRecord,
) -> Result<Option<(PaymentRecord, Locked)>, InboxError> {
    let statement = concat!(
        "INSERT INTO {}payments (application, mode, id) SELECT $1, $2, $3 WHERE $3 IS NOT NULL ",
        "ON CONFLICT (application, mode, id) DO UPDATE SET id = excluded.id RETURNING 'payment' AS kind, ",
        payment_columns!(),
        "; INSERT INTO {}intents (application, mode, account, reference) SELECT $1, $2, $4, $5 WHERE $5 IS NOT NULL ",
        "ON CONFLICT (application, mode, account, reference) DO UPDATE SET reference = excluded.reference RETURNING 'order' AS kind, ",
        intent_columns!(),
        "; SELECT 'event' AS kind, ",
        event_columns!(),
        ", notes, settling, settles AND others AS awaited FROM {}events AS e, ",
        said!("$3"),
        " AS said WHERE ",
        of_scope!(),
        "AND id = $6; SAVEPOINT stripe_checkout_handler"
    );
    let rows = rows::scoped(sql, statement, &event.scope)
        .bind(event.payment.as_deref().map(text))
        .bind(account(event.order.as_ref()))
        .bind(event.order.as_ref().map(|order| text(&order.reference)))
        .bind(text(&event.id))
        .fetch_all(db)
        .await
        .map_err(failed)?;
    let mut stored = PaymentRecord::default();
    let mut order = None;
    for row in &rows {
        match rows::get::<&str>(row, "kind")? {
            "payment" => stored = rows::read_payment(row)?,
            "order" if rows::get::<i64>(row, "version")? > 0 => {
                order = Some(rows::read_intent(row)?);
            }
            "order" => {}
            _ => {
                let mut payment = stored.clone();
                let locked = Locked {
                    event: rows::read_locked(row, &mut payment)?,
                    payment,
                    order,
                    transaction: None,
                };
                return Ok(Some((stored, locked)));
            }
        }
    }
    Ok(None)
}
