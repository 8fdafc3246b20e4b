//! The step: one event is taken, dispatched, and marked.

use std::time::{Duration, Instant, SystemTime};

use sqlx::SqliteConnection;

use super::super::inbox::{
    Cause, Dispatch, EventRecord, EventState, IntentRecord, PaymentRecord, Scope, Step, Stepped,
    Terms, Turn, Verdict,
};
use super::super::later::time_after;
use super::super::stored::{time, unavailable};
use super::super::{retry, settle};
use super::contain::Contained;
use super::rows::{self, Known, Stored, failed};
use super::writer::Writer;
use crate::error::{Escaped, InboxError};

/// How long a note about what happened may wait for the database, when the patience for the work itself is over.
const AFTERWARDS: Duration = Duration::from_secs(5);

/// What came of trying once.
pub(super) enum Tried {
    /// It is nobody's turn.
    Nobody,
    Ended(Box<Step>),
    /// Another process has taken the event and has not begun to work, or has died.
    Elsewhere,
}

fn ended(event: EventRecord, did: Stepped) -> Tried {
    Tried::Ended(Box::new(Step::new(event, did)))
}

/// An event that is ours until somebody else takes it.
struct Claim {
    seq: i64,
    number: i64,
    /// As it was found.
    before: EventRecord,
}

/// Takes the event whose turn it is, runs it, and writes down what came of it. `seen` is how often it had been attempted before anybody was waited for.
pub(super) async fn try_once(
    writer: &mut Writer,
    scope: &Scope,
    turn: Turn<'_>,
    seen: &Stored,
    terms: Terms,
    until: Instant,
    dispatch: &dyn Dispatch<SqliteConnection>,
) -> Result<Tried, InboxError> {
    let claim = match take(writer, scope, turn, seen, terms, until).await? {
        Ok(claim) => claim,
        Err(tried) => return Ok(tried),
    };
    let ran = run(writer, &claim, terms, until, dispatch).await;
    match ran {
        Ok(tried) => Ok(tried),
        Err(NotRun(error)) => {
            writer.close().await;
            let due = match turn {
                Turn::Due => SystemTime::now() + retry::after_no_attempt(&error),
                Turn::Now(_) | Turn::IfDue(_) => claim.before.due,
            };
            if let Err(error) = give_back(writer, &claim, due).await {
                tracing::warn!(event = claim.before.id, error = %crate::error::Chain(&error), "an attempt that was none stays counted");
            }
            Err(error)
        }
    }
}

/// Counts the attempt and says from when on the event is anybody's again: committed before anything else, so that a process which dies of the event leaves a trace.
async fn take(
    writer: &mut Writer,
    scope: &Scope,
    turn: Turn<'_>,
    seen: &Stored,
    terms: Terms,
    until: Instant,
) -> Result<Result<Claim, Tried>, InboxError> {
    let mut tx = writer.begin(until).await?;
    let now = SystemTime::now();
    let found = match turn {
        Turn::Now(id) | Turn::IfDue(id) => Some(
            rows::event(&mut tx, scope, id)
                .await?
                .ok_or(InboxError::UnknownEvent)?,
        ),
        Turn::Due => rows::due(&mut tx, scope, time(now)).await?,
    };
    let Some(mut event) = found else {
        return Ok(Err(Tried::Nobody));
    };
    let before = event.record.clone();
    if before.state != EventState::Pending {
        let state = before.state;
        return Ok(Err(ended(before, Stepped::Already(state))));
    }
    if matches!(turn, Turn::IfDue(_)) && before.due > now {
        return Ok(Err(Tried::Nobody));
    }
    if matches!(turn, Turn::Now(_)) && event.failed_since(seen) {
        // Fifty deliveries at once are one attempt, not fifty.
        return Ok(Err(ended(before, Stepped::Failed)));
    }
    if event.taken && before.due > now {
        // Another process has it, and may just be about to run it: taken from there, it would count an attempt that is none.
        return Ok(Err(Tried::Elsewhere));
    }
    if before.attempts >= terms.max_attempts {
        // What went wrong before tells more than that nothing was heard.
        let error = before.last_error.clone();
        let error = error.unwrap_or_else(|| "no attempt came to an end".to_owned());
        tracing::error!(event = before.id, event_type = before.event_type, attempts = before.attempts, error = %Escaped(&error), dead_letter = true, "no attempt came to an end: the process ended each time");
        let did = fail(&mut tx, &mut event, error, None).await?;
        tx.commit().await.map_err(failed)?;
        return Ok(Err(ended(before, did)));
    }
    event.record.attempts += 1;
    event.record.due = time_after(now, terms.lease);
    event.claim += 1;
    event.taken = true;
    rows::update_event(&mut tx, &event).await?;
    tx.commit().await.map_err(failed)?;
    Ok(Ok(Claim {
        seq: event.seq,
        number: event.claim,
        before,
    }))
}

/// No hook ran, for this reason.
struct NotRun(InboxError);

impl From<InboxError> for NotRun {
    fn from(error: InboxError) -> Self {
        Self(error)
    }
}

/// Our savepoint: what is behind it is the handler's.
const SAVEPOINT: &str = "SAVEPOINT stripe_checkout_handler";
const RELEASE: &str = "RELEASE stripe_checkout_handler";
const UNDO: &str = "ROLLBACK TO stripe_checkout_handler; RELEASE stripe_checkout_handler";

async fn run(
    writer: &mut Writer,
    claim: &Claim,
    terms: Terms,
    until: Instant,
    dispatch: &dyn Dispatch<SqliteConnection>,
) -> Result<Tried, NotRun> {
    let patience_of_others = writer.patience_of_others();
    let mut tx = writer.begin(until).await?;
    // From here on nobody else writes: that is the lock of the payment, of its order, and of all others.
    let event = rows::event(&mut tx, &claim.before.scope, &claim.before.id).await?;
    let Some(mut event) = event.filter(|event| event.seq == claim.seq) else {
        return Err(NotRun(InboxError::UnknownEvent));
    };
    if event.record.state != EventState::Pending {
        let state = event.record.state;
        return Ok(ended(event.record, Stepped::Already(state)));
    }
    if event.claim != claim.number {
        // Somebody else took it before we began. It is theirs; that we took it too was no attempt.
        event.record.attempts = event.record.attempts.saturating_sub(1);
        rows::update_event(&mut tx, &event).await?;
        tx.commit().await.map_err(failed)?;
        return Ok(Tried::Elsewhere);
    }
    let known = match &event.record.payment {
        Some(payment) => rows::payment(&mut tx, &event.record.scope, payment).await?,
        None => Known::nothing(),
    };
    let intent = match &event.record.order {
        Some(order) => rows::intent(&mut tx, order).await?,
        None => None,
    };
    sqlx::raw_sql(SAVEPOINT)
        .execute(&mut *tx)
        .await
        .map_err(failed)?;
    let contained = Contained::begin(&mut tx).await?;
    let taken = event.record.clone();

    let verdict = dispatch
        .dispatch(&taken, &known.record, intent.as_ref(), &mut tx)
        .await;

    let verdict = explained(verdict);
    let has_failed = matches!(verdict, Verdict::Failed { .. });
    let mut interrupted = false;
    let written = async {
        interrupted = contained.end(&mut tx, has_failed).await?;
        if !interrupted && was_cut_off(&verdict) {
            // What it began on another connection waits for us, in SQLite's own code, which nobody can cut off: it has to give up before we end, or it would be committed
            // although the hook failed, once for each attempt.
            tokio::time::sleep(patience_of_others).await;
        }
        sqlx::raw_sql(if has_failed { UNDO } else { RELEASE })
            .execute(&mut *tx)
            .await?;
        let did = write(&mut tx, event, &known, intent.as_ref(), verdict.clone())
            .await
            .map_err(Trouble::Inbox)?;
        tx.commit().await?;
        Ok(did)
    }
    .await;
    let trouble = match written {
        Ok(did) => return Ok(ended(taken, did)),
        Err(trouble) => trouble,
    };
    // Nothing of this transaction shall stay, whatever state it is in; that it failed is written down on another connection.
    writer.close().await;
    let (error, again) = after(&taken, terms, verdict, trouble, interrupted);
    tracing::error!(event = taken.id, event_type = taken.event_type, attempt = taken.attempts, error = %Escaped(&error), dead_letter = again.is_none(), "fulfilment failed");
    match keep_failure(writer, claim, error, again).await {
        Ok(did) => Ok(ended(taken, did)),
        Err(error) => {
            tracing::error!(event = taken.id, error = %crate::error::Chain(&error), "a failure could not be written down: the event is due again when its lease is over");
            // The hook did run: the attempt stays counted.
            Ok(ended(taken, Stepped::Failed))
        }
    }
}

/// Why what was decided could not be committed.
enum Trouble {
    Sql(sqlx::Error),
    Inbox(InboxError),
}

impl From<sqlx::Error> for Trouble {
    fn from(error: sqlx::Error) -> Self {
        Self::Sql(error)
    }
}

impl Trouble {
    /// Whether the savepoint, ours or one of sqlx's, is gone: the transaction is not the one that the handler was given.
    fn is_broken_transaction(&self) -> bool {
        let Self::Sql(sqlx::Error::Database(error)) = self else {
            return false;
        };
        // SQLite's own words about our own statements: it has only the general code for these.
        error.code().as_deref() == Some("1")
            && ["no such savepoint", "no transaction is active"]
                .iter()
                .any(|message| error.message().contains(message))
    }
}

/// What is to be written down of an event whose transaction came to no good end.
fn after(
    event: &EventRecord,
    terms: Terms,
    verdict: Verdict,
    trouble: Trouble,
    interrupted: bool,
) -> (String, Option<Duration>) {
    let broken = trouble.is_broken_transaction();
    match verdict {
        // After such an error of the database it was SQLite that took the transaction back.
        Verdict::Failed {
            cause,
            error,
            again,
        } if !broken || interrupted || cause == Cause::Database => (error, again),
        verdict if broken => {
            let error = match verdict {
                Verdict::Failed { error, .. } => format!("; it said: {error}"),
                _ => String::new(),
            };
            let error = format!(
                "broken_transaction: the handler ended the transaction that it was given, or left one of its own open in it (COMMIT, ROLLBACK, ON CONFLICT ROLLBACK, a BEGIN without its end); nothing of it was kept{error}"
            );
            (error, None)
        }
        _ => {
            let error = match trouble {
                Trouble::Sql(error) => format!("what the handler wrote was not accepted: {error}"),
                Trouble::Inbox(InboxError::Unavailable(error)) => {
                    format!("what was decided could not be written: {error}")
                }
                Trouble::Inbox(error) => format!("what was decided could not be written: {error}"),
            };
            let again = event.attempts < terms.max_attempts;
            (error, again.then(|| retry::pause(event.attempts)))
        }
    }
}

/// Whether the hook did not end by itself.
fn was_cut_off(verdict: &Verdict) -> bool {
    matches!(
        verdict,
        Verdict::Failed {
            cause: Cause::Deadline,
            ..
        }
    )
}

/// A handler that uses another connection than its own gets errors that do not tell why.
fn explained(verdict: Verdict) -> Verdict {
    let Verdict::Failed {
        cause,
        mut error,
        again,
    } = verdict
    else {
        return verdict;
    };
    if matches!(cause, Cause::LockedOut | Cause::Deadline) {
        error.push_str(
            " (a handler must use the connection that it is given: until it ends, SQLite locks out every other one that writes, and the pool may have none left)",
        );
    }
    Verdict::Failed {
        cause,
        error,
        again,
    }
}

/// Writes the verdict.
async fn write(
    db: &mut SqliteConnection,
    mut event: Stored,
    known: &Known,
    intent: Option<&IntentRecord>,
    verdict: Verdict,
) -> Result<Stepped, InboxError> {
    event.taken = false;
    let did = match verdict {
        Verdict::Failed { error, again, .. } => return fail(db, &mut event, error, again).await,
        Verdict::Waiting { again, reason } => {
            event.record.attempts = event.record.attempts.saturating_sub(1);
            event.record.last_error = reason.or(event.record.last_error);
            event.record.due = time_after(SystemTime::now(), again);
            Stepped::Waiting
        }
        Verdict::Superseded => {
            event.record.attempts = event.record.attempts.saturating_sub(1);
            event.record.state = EventState::Superseded;
            Stepped::Now(EventState::Superseded)
        }
        Verdict::Done {
            payment,
            intent: after,
        } => {
            put_payment(db, &event, known, payment).await?;
            if let (Some(order), Some(after)) = (&event.record.order, after)
                && let Some(row) = settle::intent(intent, intent, after)
                && !rows::put_intent(db, order, &row, intent.map(|intent| intent.version)).await?
            {
                return Err(unavailable("the order's row changed under its lock"));
            }
            event.record.state = EventState::Done;
            Stepped::Now(EventState::Done)
        }
        Verdict::Mismatch { payment, reason } => {
            put_payment(db, &event, known, payment).await?;
            event.record.state = EventState::Mismatch;
            event.record.last_error = Some(reason);
            Stepped::Now(EventState::Mismatch)
        }
    };
    rows::update_event(db, &event).await?;
    Ok(did)
}

async fn put_payment(
    db: &mut SqliteConnection,
    event: &Stored,
    known: &Known,
    after: PaymentRecord,
) -> Result<(), InboxError> {
    let Some(payment) = &event.record.payment else {
        return Ok(());
    };
    if after == known.record && !known.is_behind() {
        return Ok(());
    }
    let row = settle::payment(&known.record, &known.record, &after);
    rows::put_payment(db, &event.record.scope, payment, &row, known).await
}

/// Writes down that an attempt failed, or that it was the last one.
async fn fail(
    db: &mut SqliteConnection,
    event: &mut Stored,
    error: String,
    again: Option<Duration>,
) -> Result<Stepped, InboxError> {
    event.taken = false;
    event.record.last_error = Some(error);
    let Some(again) = again else {
        event.record.state = EventState::Dead;
        rows::update_event(db, event).await?;
        give_up(db, event, settle::died).await?;
        return Ok(Stepped::Now(EventState::Dead));
    };
    event.record.due = time_after(SystemTime::now(), again);
    rows::update_event(db, event).await?;
    Ok(Stepped::Failed)
}

/// Writes that the success of the event's payment will not run any more, if this event is it, and as the other event objects of it stand.
pub(super) async fn give_up(
    db: &mut SqliteConnection,
    event: &Stored,
    how: fn(&EventRecord, &PaymentRecord, &[EventState]) -> Option<PaymentRecord>,
) -> Result<(), InboxError> {
    let record = &event.record;
    let Some(payment) = record.payment.as_deref().filter(|_| record.settles) else {
        return Ok(());
    };
    let others = rows::other_copies(db, event).await?;
    let known = rows::payment(db, &record.scope, payment).await?;
    match how(record, &known.record, &others) {
        Some(row) => rows::put_payment(db, &record.scope, payment, &row, &known).await,
        None => Ok(()),
    }
}

/// Writes a failure in a transaction of its own, if the event is still ours.
async fn keep_failure(
    writer: &mut Writer,
    claim: &Claim,
    error: String,
    again: Option<Duration>,
) -> Result<Stepped, InboxError> {
    let mut tx = writer.begin(Instant::now() + AFTERWARDS).await?;
    let event = rows::event(&mut tx, &claim.before.scope, &claim.before.id).await?;
    let Some(mut event) = event.filter(|event| event.seq == claim.seq) else {
        return Err(InboxError::UnknownEvent);
    };
    if event.record.state != EventState::Pending {
        return Ok(Stepped::Already(event.record.state));
    }
    if event.claim != claim.number {
        return Ok(Stepped::Failed);
    }
    let did = fail(&mut tx, &mut event, error, again).await?;
    tx.commit().await.map_err(failed)?;
    Ok(did)
}

/// Gives an attempt back in which no hook ran.
async fn give_back(writer: &mut Writer, claim: &Claim, due: SystemTime) -> Result<(), InboxError> {
    let mut tx = writer.begin(Instant::now() + AFTERWARDS).await?;
    let event = rows::event(&mut tx, &claim.before.scope, &claim.before.id).await?;
    let Some(mut event) = event.filter(|event| event.seq == claim.seq) else {
        return Ok(());
    };
    if event.record.state != EventState::Pending {
        return Ok(());
    }
    event.record.attempts = event.record.attempts.saturating_sub(1);
    if event.claim == claim.number {
        event.record.due = due;
        event.taken = false;
    }
    rows::update_event(&mut tx, &event).await?;
    tx.commit().await.map_err(failed)
}
