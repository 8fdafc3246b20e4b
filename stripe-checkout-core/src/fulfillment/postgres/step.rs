//! One step: an event is taken, run, and put down.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use sqlx::{Connection, PgConnection, Postgres, Transaction};
use tokio::time::Instant;

use super::PostgresInbox;
use super::rows::{EventRow, Locked, Wait};
use super::transaction::{
    Held, after_handler, before_handler, begin, begin_for_handler, busy_or, is_broken, is_refusal,
    undo_handler, words,
};
use crate::error::{Escaped, InboxError};
use crate::fulfillment::inbox::{
    Cause, Dispatch, EventRecord, EventState, Scope, Settled, Step, Stepped, Terms, Turn, Verdict,
};
use crate::fulfillment::later::end_of;
use crate::fulfillment::stored::unavailable;
use crate::fulfillment::{retry, settle};

/// How long a statement that the handler left behind may still run before it is canceled.
const GRACE: Duration = Duration::from_millis(500);

/// How long the connection on which it is canceled may take.
const CANCELING: Duration = Duration::from_secs(5);

/// What stands in the dead letter of a handler that did not leave the transaction open.
const BROKEN: &str = "broken_transaction: the handler ended the transaction that it was given: look whether its work was done, then replay or discard this event";

/// Pauses between looks at an event that somebody else has just taken.
const FIRST_LOOK: Duration = Duration::from_millis(5);
const LAST_LOOK: Duration = Duration::from_millis(100);

/// How the first transaction went.
enum Take {
    Nothing,
    /// It is not pending.
    Over(EventRecord),
    /// Somebody else took it, and is about to run it, or died.
    Elsewhere,
    /// It ran in other hands while this one waited, and failed.
    Failed(EventRecord),
    /// It has had all its attempts.
    Spent(EventRow),
    Mine(Taken),
}

struct Taken {
    /// As it was before it was taken.
    found: EventRecord,
    claim: i64,
}

/// Why the handler's transaction cannot be committed.
enum Undone {
    /// It is not there any more, and nobody here knows what was written.
    Broken {
        /// How the hook failed, if it did: it may have been cut off, or lost its connection, while it began or ended a transaction inside. Then the server knows that all was
        /// rolled back, and it is an ordinary failure.
        failure: Option<Failure>,
    },
    /// It is rolled back, or will be with the connection.
    Failed(Failure),
}

/// What went wrong, and after which time it is tried again; never, if this was the last attempt.
struct Failure {
    error: String,
    again: Option<Duration>,
}

impl PostgresInbox {
    pub(super) async fn take_and_run(
        &self,
        scope: &Scope,
        turn: Turn<'_>,
        terms: Terms,
        dispatch: &dyn Dispatch<PgConnection>,
    ) -> Result<Option<Step>, InboxError> {
        let until = Instant::from_std(end_of(terms.patience));
        let mut pause = FIRST_LOOK;
        // Reading waits for nobody: who has nothing to do takes no step's connection.
        let seen = match turn {
            Turn::Due => None,
            Turn::Now(id) | Turn::IfDue(id) => {
                let found = self.look(scope, id).await?;
                let state = found.record.state;
                if state != EventState::Pending {
                    return Ok(Some(Step::new(found.record, Stepped::Already(state))));
                }
                Some(found)
            }
        };
        loop {
            // One connection for both transactions: an event that is taken must not wait for the pool.
            let mut held = self.held_for_a_step(until).await?;
            let take = match self
                .take(held.conn(), scope, turn, seen.as_ref(), terms, until)
                .await
            {
                Err(InboxError::Busy) => {
                    held.release();
                    return Err(InboxError::Busy);
                }
                take => take?,
            };
            match take {
                Take::Nothing => {
                    held.release();
                    return Ok(None);
                }
                Take::Over(record) => {
                    held.release();
                    let state = record.state;
                    return Ok(Some(Step::new(record, Stepped::Already(state))));
                }
                Take::Failed(record) => {
                    held.release();
                    return Ok(Some(Step::new(record, Stepped::Failed)));
                }
                Take::Spent(row) => {
                    if let Some(step) = self.bury(held, row, until).await? {
                        return Ok(Some(step));
                    }
                }
                Take::Mine(taken) => {
                    if let Some(step) = self.run(held, taken, turn, terms, until, dispatch).await? {
                        return Ok(Some(step));
                    }
                }
                Take::Elsewhere => held.release(),
            }
            if Instant::now() + pause >= until {
                return Err(InboxError::Busy);
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LAST_LOOK);
        }
    }

    async fn look(&self, scope: &Scope, id: &str) -> Result<EventRow, InboxError> {
        let mut conn = self.conn().await?;
        let found = self.tables.event_row(&mut conn, scope, id).await?;
        found.ok_or(InboxError::UnknownEvent)
    }

    async fn held_for_a_step(&self, until: Instant) -> Result<Held, InboxError> {
        let steps = Arc::clone(&self.steps);
        let permit = tokio::time::timeout_at(until, steps.acquire_owned()).await;
        let permit = permit
            .map_err(|_| InboxError::Busy)?
            .map_err(|error| InboxError::Unavailable(error.into()))?;
        // The pool closes a connection that it was about to hand out: nothing has begun on it.
        let conn = tokio::time::timeout_at(until, self.pool.acquire()).await;
        let conn = conn.map_err(|_| InboxError::Busy)?.map_err(busy_or)?;
        Ok(Held::of_a_step(conn, permit))
    }

    /// The first transaction: the attempt counts, and stays counted whatever happens to this process.
    async fn take(
        &self,
        conn: &mut PgConnection,
        scope: &Scope,
        turn: Turn<'_>,
        seen: Option<&EventRow>,
        terms: Terms,
        until: Instant,
    ) -> Result<Take, InboxError> {
        let left = until.saturating_duration_since(Instant::now());
        let mut tx = begin(conn, Some(left)).await.map_err(unavailable)?;
        let row = match turn {
            Turn::Now(id) | Turn::IfDue(id) => self.tables.lock_event(&mut tx, scope, id).await,
            Turn::Due => self.tables.lock_due_event(&mut tx, scope).await,
        };
        let row = match row {
            Ok(row) => row,
            Err(error) => {
                tx.rollback().await.map_err(unavailable)?;
                return Err(error);
            }
        };
        let take = match row {
            None => Take::Nothing,
            Some(row) if row.record.state != EventState::Pending => Take::Over(row.record),
            // By this process's clock: it is only about not trying too often.
            Some(row) if matches!(turn, Turn::IfDue(_)) && row.record.due > SystemTime::now() => {
                Take::Nothing
            }
            // That of a process that died is free again when it is due.
            Some(row) if row.leased => Take::Elsewhere,
            // Fifty deliveries at once are one attempt, not fifty.
            Some(row)
                if matches!(turn, Turn::Now(_))
                    && seen.is_some_and(|seen| row.failed_since(seen)) =>
            {
                Take::Failed(row.record)
            }
            Some(row) if row.record.attempts >= terms.max_attempts => Take::Spent(row),
            Some(row) => {
                let claim = self.tables.claim(&mut tx, &row.record, terms.lease).await;
                let taken = Taken {
                    claim: claim.map_err(busy_or)?,
                    found: row.record,
                };
                tx.commit().await.map_err(unavailable)?;
                return Ok(Take::Mine(taken));
            }
        };
        tx.rollback().await.map_err(unavailable)?;
        Ok(take)
    }

    /// Makes an event that took its process with it at every attempt a dead letter. Nothing if it is not what it was.
    async fn bury(
        &self,
        mut held: Held,
        row: EventRow,
        until: Instant,
    ) -> Result<Option<Step>, InboxError> {
        let left = until.saturating_duration_since(Instant::now());
        let mut tx = begin(held.conn(), Some(left)).await.map_err(unavailable)?;
        let locked = self.tables.lock(&mut tx, &row.record, until).await?;
        if locked.claim != row.claim || locked.record.state != EventState::Pending {
            tx.rollback().await.map_err(unavailable)?;
            held.release();
            return Ok(None);
        }
        let attempts = locked.record.attempts;
        let before = match &locked.record.last_error {
            Some(error) => format!("; before that: {error}"),
            None => String::new(),
        };
        let error = format!(
            "all {attempts} attempts are used up, and the last one did not come to its end{before}"
        );
        tracing::error!(event = row.record.id, error = %Escaped(&error), dead_letter = true, "fulfilment failed");
        let failed = Verdict::Failed {
            cause: Cause::Inbox,
            error,
            again: None,
        };
        let did = self.put(&mut tx, &locked, failed).await.map_err(busy_or)?;
        tx.commit().await.map_err(unavailable)?;
        held.release();
        Ok(Some(Step::new(locked.record, did)))
    }

    /// The second transaction. Nothing if the event was taken from us while we were away.
    async fn run(
        &self,
        mut held: Held,
        taken: Taken,
        turn: Turn<'_>,
        terms: Terms,
        until: Instant,
        dispatch: &dyn Dispatch<PgConnection>,
    ) -> Result<Option<Step>, InboxError> {
        // Who may take any event does not wait for one whose payment is worked on: others are due too.
        let until = match turn {
            Turn::Due => until.min(Instant::now() + retry::PATIENCE_WHEN_DUE),
            Turn::Now(_) | Turn::IfDue(_) => until,
        };
        let left = until.saturating_duration_since(Instant::now());
        let mut tx = begin_for_handler(held.conn(), left)
            .await
            .map_err(unavailable)?;
        let locked = match self.tables.lock(&mut tx, &taken.found, until).await {
            Ok(locked) => locked,
            Err(error) => {
                let rolled_back = tx.rollback().await;
                let again = matches!(turn, Turn::Due).then(|| retry::after_no_attempt(&error));
                self.give_back(held, rolled_back, &taken, again).await;
                return Err(error);
            }
        };
        let state = locked.record.state;
        if state != EventState::Pending {
            tx.rollback().await.map_err(unavailable)?;
            held.release();
            return Ok(Some(Step::new(locked.record, Stepped::Already(state))));
        }
        if locked.claim != taken.claim {
            // It is somebody else's now; that we took it too was no attempt.
            self.tables
                .uncount(&mut tx, &locked.record)
                .await
                .map_err(busy_or)?;
            tx.commit().await.map_err(unavailable)?;
            held.release();
            return Ok(None);
        }
        // By its terms the lease is longer than all waits and the handler's deadline together.
        let limit = terms.lease.saturating_sub(terms.patience);
        before_handler(&mut tx, limit.max(Duration::from_secs(1)))
            .await
            .map_err(unavailable)?;
        let intent = locked.intent.as_ref();
        let verdict = dispatch
            .dispatch(&locked.record, &locked.payment, intent, &mut tx)
            .await;
        let failed = matches!(verdict, Verdict::Failed { .. });
        let ended = match self.finish(&mut tx, &locked, verdict, terms).await {
            Ok(did) => match tx.commit().await {
                Ok(()) => Ok(did),
                Err(error) => Err(failed_at(&locked, terms, words(&error))),
            },
            Err(undone) => {
                drop(tx);
                Err(undone)
            }
        };
        let did = match ended {
            Ok(did) => {
                // One whose handler was cut off in the middle of a statement is not used again.
                if !failed {
                    held.release();
                }
                did
            }
            Err(undone) => {
                drop(held);
                self.record(&taken, locked.transaction, undone, terms)
                    .await?
            }
        };
        Ok(Some(Step::new(locked.record, did)))
    }

    /// Writes the verdict, and with it what the handler wrote, or not.
    async fn finish(
        &self,
        tx: &mut Transaction<'_, Postgres>,
        locked: &Locked,
        verdict: Verdict,
        terms: Terms,
    ) -> Result<Stepped, Undone> {
        // A nested transaction whose beginning was cut off takes ours with it, and sqlx would commit nothing without a word.
        if !tx.is_in_transaction() {
            let failure = match verdict {
                Verdict::Failed { error, again, .. } => Some(Failure { error, again }),
                _ => None,
            };
            return Err(Undone::Broken { failure });
        }
        let verdict = match verdict {
            Verdict::Failed {
                cause,
                error,
                again,
            } => {
                self.undo(tx, locked).await.map_err(|undoing| {
                    let failure = Failure {
                        error: error.clone(),
                        again,
                    };
                    match is_broken(&undoing) {
                        true => Undone::Broken {
                            failure: Some(failure),
                        },
                        false => Undone::Failed(failure),
                    }
                })?;
                Verdict::Failed {
                    cause,
                    error,
                    again,
                }
            }
            verdict => match after_handler(tx).await {
                Ok(()) => verdict,
                Err(error) => {
                    let (text, again) = (words(&error), again(locked, terms));
                    if !is_refusal(&error) || is_broken(&error) {
                        return Err(undone(&error, text, again));
                    }
                    tracing::error!(event = locked.record.id, error = %Escaped(&text), "what the handler did cannot be committed");
                    self.undo(tx, locked)
                        .await
                        .map_err(|undoing| undone(&undoing, text.clone(), again))?;
                    Verdict::Failed {
                        cause: Cause::Inbox,
                        error: text,
                        again,
                    }
                }
            },
        };
        let put = self.put(tx, locked, verdict).await;
        put.map_err(|error| failed_at(locked, terms, words(&error)))
    }

    /// Rolls back what the handler wrote. A statement that it left behind is canceled: the server would go on with it although nobody waits.
    async fn undo(&self, conn: &mut PgConnection, locked: &Locked) -> Result<(), sqlx::Error> {
        let undone = {
            let mut undoing = pin!(undo_handler(conn));
            // By reference: what does not end in time is waited for again, never dropped.
            match tokio::time::timeout(GRACE, undoing.as_mut()).await {
                Ok(undone) => undone,
                Err(_) => {
                    self.cancel(locked.backend).await;
                    undoing.await
                }
            }
        };
        match undone {
            // Where the end of a nested transaction was cut off, sqlx first takes back what is not there any more. Ours may still be.
            Err(error) if is_broken(&error) => undo_handler(conn).await,
            undone => undone,
        }
    }

    async fn cancel(&self, backend: i32) {
        // Not from the pool, which may be exhausted by just those who wait for this.
        let options = self.pool.connect_options();
        let canceling = async {
            let mut conn = PgConnection::connect_with(&options).await?;
            sqlx::query("SELECT pg_cancel_backend($1)")
                .bind(backend)
                .execute(&mut conn)
                .await?;
            conn.close().await
        };
        // A connection of its own, so nothing is lost with one that is cut off.
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

    /// Writes what became of an event whose rows are locked.
    async fn put(
        &self,
        conn: &mut PgConnection,
        locked: &Locked,
        verdict: Verdict,
    ) -> Result<Stepped, sqlx::Error> {
        let mut record = locked.record.clone();
        let before = &locked.payment;
        let mut payment = before.clone();
        let mut wait = Wait::AsItIs;
        let did = match verdict {
            Verdict::Waiting { again, reason } => {
                record.attempts = record.attempts.saturating_sub(1);
                record.last_error = reason.or(record.last_error);
                wait = Wait::For(again);
                Stepped::Waiting
            }
            Verdict::Superseded => {
                record.attempts = record.attempts.saturating_sub(1);
                Stepped::Now(EventState::Superseded)
            }
            Verdict::Done {
                payment: after,
                intent,
            } => {
                payment = settle::payment(before, before, &after);
                let current = locked.intent.as_ref();
                let row = intent.and_then(|after| settle::intent(current, current, after));
                if let (Some(order), Some(row)) = (&record.order, row) {
                    let version = current.map_or(0, |row| row.version);
                    if !self.tables.put_intent(conn, order, version, &row).await? {
                        return Err(sqlx::Error::RowNotFound);
                    }
                }
                Stepped::Now(EventState::Done)
            }
            Verdict::Mismatch {
                payment: after,
                reason,
            } => {
                payment = settle::payment(before, before, &after);
                record.last_error = Some(reason);
                Stepped::Now(EventState::Mismatch)
            }
            Verdict::Failed {
                error,
                again: Some(again),
                ..
            } => {
                record.last_error = Some(error);
                wait = Wait::For(again);
                Stepped::Failed
            }
            Verdict::Failed {
                error, again: None, ..
            } => {
                record.last_error = Some(error);
                let others = self.tables.other_copies(conn, &record).await;
                let others = others.map_err(|error| sqlx::Error::Decode(error.into()))?;
                if let Some(died) = settle::died(&record, before, &others) {
                    payment = died;
                }
                Stepped::Now(EventState::Dead)
            }
        };
        if let Stepped::Now(state) = did {
            record.state = state;
        }
        let row = locked.row.as_ref();
        self.tables
            .put_payment(conn, &record, row, &payment)
            .await?;
        self.tables.put_event(conn, &record, wait).await?;
        Ok(did)
    }

    /// Writes a failure on a new connection, because the one on which it happened cannot be used. If that cannot be done either, the event is due again when
    /// its lease is over.
    async fn record(
        &self,
        taken: &Taken,
        transaction: Option<i64>,
        undone: Undone,
        terms: Terms,
    ) -> Result<Stepped, InboxError> {
        let mut tries = 1;
        loop {
            match self.record_once(taken, transaction, &undone, terms).await {
                Err(error) if tries < 3 => {
                    tracing::warn!(event = taken.found.id, error = %crate::error::Chain(&error), "its failure could not be written down yet");
                    tries += 1;
                    tokio::time::sleep(GRACE).await;
                }
                recorded => return recorded,
            }
        }
    }

    async fn record_once(
        &self,
        taken: &Taken,
        transaction: Option<i64>,
        undone: &Undone,
        terms: Terms,
    ) -> Result<Stepped, InboxError> {
        let until = Instant::from_std(end_of(terms.patience.max(Duration::from_secs(1))));
        let mut held = self.held().await?;
        let mut tx = begin(held.conn(), None).await.map_err(unavailable)?;
        // What the server still does with the lost transaction is waited for here: its locks last as long as it does.
        let locked = self.tables.lock(&mut tx, &taken.found, until).await?;
        let did = if locked.record.state != EventState::Pending {
            // It was committed after all, or somebody else was faster.
            Stepped::Now(locked.record.state)
        } else if locked.claim != taken.claim {
            Stepped::Failed
        } else {
            let failure = match undone {
                Undone::Failed(failure) => Some(failure),
                Undone::Broken { failure } => match failure {
                    Some(failure) if was_rolled_back(&mut tx, transaction).await? => Some(failure),
                    _ => None,
                },
            };
            let (error, again) = match failure {
                Some(failure) => (failure.error.as_str(), failure.again),
                None => (BROKEN, None),
            };
            tracing::error!(
                event = taken.found.id,
                error,
                dead_letter = again.is_none(),
                "the handler's transaction is lost; its failure is written down apart"
            );
            let verdict = Verdict::Failed {
                cause: Cause::Inbox,
                error: error.to_owned(),
                again,
            };
            let did = self.put(&mut tx, &locked, verdict).await.map_err(busy_or)?;
            if failure.is_none() {
                // Its work may have been kept: no other event of the same success may do it again.
                let row = settle::given_up(&locked.record, &locked.payment, Settled::Broken);
                let row = row.unwrap_or(locked.payment);
                self.tables
                    .put_payment(&mut tx, &locked.record, None, &row)
                    .await
                    .map_err(busy_or)?;
            }
            did
        };
        tx.commit().await.map_err(unavailable)?;
        held.release();
        Ok(did)
    }

    /// Gives an attempt back that did not run: whoever only lost the wait for a payment that is worked on must not use them up.
    async fn give_back(
        &self,
        mut held: Held,
        rolled_back: Result<(), sqlx::Error>,
        taken: &Taken,
        again: Option<Duration>,
    ) {
        let given = async {
            rolled_back?;
            let mut tx = begin(held.conn(), Some(Duration::from_secs(1))).await?;
            self.tables
                .give_back(&mut tx, &taken.found, taken.claim, again)
                .await?;
            tx.commit().await
        };
        match given.await {
            Ok(()) => held.release(),
            Err(error) => {
                tracing::warn!(event = taken.found.id, error = %crate::error::Chain(&error), "an attempt that did not run stays counted");
            }
        }
    }
}

/// After which time a failure that the handler did not tell of is tried again.
fn again(locked: &Locked, terms: Terms) -> Option<Duration> {
    let attempts = locked.record.attempts;
    (attempts < terms.max_attempts).then(|| retry::pause(attempts))
}

fn failed_at(locked: &Locked, terms: Terms, error: String) -> Undone {
    Undone::Failed(Failure {
        error,
        again: again(locked, terms),
    })
}

/// Whether the server knows that nothing of this transaction was kept.
async fn was_rolled_back(
    conn: &mut PgConnection,
    transaction: Option<i64>,
) -> Result<bool, InboxError> {
    let status: Option<String> = sqlx::query_scalar("SELECT txid_status($1)")
        .bind(transaction)
        .fetch_one(conn)
        .await
        .map_err(busy_or)?;
    Ok(status.as_deref() == Some("aborted"))
}

/// What could not be undone or released: because the transaction is not there any more, or because the connection is not.
fn undone(cause: &sqlx::Error, error: String, again: Option<Duration>) -> Undone {
    if is_broken(cause) {
        Undone::Broken { failure: None }
    } else {
        Undone::Failed(Failure { error, again })
    }
}
