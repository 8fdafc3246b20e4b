//! One attempt at one event: claim it, lock its rows, run it, and write what came of it.
//!
//! The attempt is counted and committed before the handler runs, so that an event that takes its
//! process with it leaves a trace. It is given back where no handler ran.

use std::time::{Duration, Instant, SystemTime};

use super::inbox::{Changes, Claim, CommitError, Inbox, Locked, Session, Transaction};
use super::later::end_of;
use super::records::{EventState, FulfillmentStatus, IntentRecord, PaymentRecord, Scope, Stored};
use super::verdict::{Cause, Dispatch, Step, Stepped, Terms, Verdict, Which};
use super::{merge, retry};
use crate::error::{Chain, Escaped, InboxError};
use crate::webhook::ReadEvent;

/// Pauses between looks at an event that another process has claimed.
const FIRST_LOOK: Duration = Duration::from_millis(5);
const LAST_LOOK: Duration = Duration::from_millis(100);

/// How often, and with which pause, a failure is written down whose transaction was lost.
const RECORDED: u32 = 3;
const RECORDED_AGAIN: Duration = Duration::from_millis(500);

/// The last error of an event whose handler did not leave the transaction open.
const BROKEN: &str = "broken_transaction: the handler ended the transaction that it was given: look whether its work was done, then replay or discard this event";

/// Where an attempt starts.
pub(super) enum Start<'a, S> {
    /// At an event whose turn it is.
    Which(Which<'a>),
    /// At an event that was just looked up.
    Found(S, Box<Stored>, At),
    /// At this event, which was just stored and claimed.
    Claimed(S, Box<Stored>, ReadEvent),
}

/// When a pending event may run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum At {
    /// Now, although its next attempt is due later.
    Once,
    /// If it is due.
    Due,
}

/// What all steps of an attempt need.
pub(super) struct Attempt<'a, I: Inbox> {
    pub(super) inbox: &'a I,
    pub(super) scope: &'a Scope,
    pub(super) terms: Terms,
    pub(super) dispatch: &'a dyn Dispatch<I::Connection>,
}

/// What went wrong, and after which time it is tried again; never, if this was the last attempt.
struct Failure {
    error: String,
    again: Option<Duration>,
}

/// How an attempt ended whose transaction was lost.
enum Loss {
    Failed(Failure),
    /// Whether the handler's work was kept, this transaction's number may tell.
    Gone(Option<i64>, Option<Failure>),
}

/// Why an attempt did not come to its end.
enum Halt {
    /// No handler ran, for this reason.
    NotRun(InboxError),
    /// Another process has the event now.
    NotMine,
    /// The handler ran, and its transaction is lost.
    Lost(Box<Stored>, Loss),
}

impl<I: Inbox> Attempt<'_, I> {
    /// Runs the event whose turn it is. `None` if none is.
    ///
    /// # Errors
    /// [`InboxError::Busy`] if other work on the same payment or order does not end within
    /// [`Terms::patience`].
    pub(super) async fn run(
        &self,
        start: Start<'_, I::Session>,
    ) -> Result<Option<Step>, InboxError> {
        let until = end_of(self.terms.patience);
        let (id, at) = match start {
            Start::Which(Which::Due) => return self.run_due(until).await,
            Start::Which(Which::Now(id)) => (id, At::Once),
            Start::Which(Which::IfDue(id)) => (id, At::Due),
            Start::Found(session, seen, at) => {
                return self.run_found(session, *seen, at, until).await;
            }
            Start::Claimed(session, mut claimed, _) => {
                claimed.record.due = claimed.record.received;
                let scope = claimed.record.scope.clone();
                let id = claimed.record.id.clone();
                if let Some(step) = self.run_claimed(session, *claimed, until, false).await? {
                    return Ok(Some(step));
                }
                let mut session = self.inbox.session();
                let seen = session.find(&scope, &id, [None; 2]).await?.event;
                let seen = seen.ok_or(InboxError::UnknownEvent)?;
                return self.run_found(session, seen, At::Once, until).await;
            }
        };
        let mut session = self.inbox.session();
        let seen = session.find(self.scope, id, [None; 2]).await?.event;
        let seen = seen.ok_or(InboxError::UnknownEvent)?;
        self.run_found(session, seen, at, until).await
    }

    async fn run_due(&self, until: Instant) -> Result<Option<Step>, InboxError> {
        loop {
            let mut session = self.inbox.session();
            let claim = session.claim(self.scope, Claim::Due, self.terms);
            let Some(claimed) = claim.await? else {
                return Ok(None);
            };
            if let Some(step) = self.run_claimed(session, claimed, until, true).await? {
                return Ok(Some(step));
            }
        }
    }

    async fn run_found(
        &self,
        session: I::Session,
        seen: Stored,
        at: At,
        until: Instant,
    ) -> Result<Option<Step>, InboxError> {
        let is_later = |row: &Stored| at == At::Due && row.record.due > SystemTime::now();
        if seen.record.state != EventState::Pending {
            return Ok(Some(already(seen)));
        }
        if is_later(&seen) {
            return Ok(None);
        }
        let id = seen.record.id.as_str();
        let which = match at {
            At::Once => Claim::Now(id, seen.failed_at()),
            At::Due => Claim::IfDue(id),
        };
        let mut pause = FIRST_LOOK;
        let mut session = Some(session);
        loop {
            let mut session = session.take().unwrap_or_else(|| self.inbox.session());
            let patience = until.saturating_duration_since(Instant::now());
            let terms = Terms {
                patience,
                ..self.terms
            };
            match session.claim(self.scope, which, terms).await? {
                Some(mut claimed) => {
                    // An attempt that is given back leaves the event due as it was.
                    claimed.record.due = seen.record.due;
                    let step = self.run_claimed(session, claimed, until, false).await?;
                    if step.is_some() {
                        return Ok(step);
                    }
                }
                None => {
                    let row = session.find(self.scope, id, [None; 2]).await?.event;
                    let row = row.ok_or(InboxError::UnknownEvent)?;
                    if row.record.state != EventState::Pending {
                        return Ok(Some(already(row)));
                    }
                    if is_later(&row) {
                        return Ok(None);
                    }
                    // It ran in other hands while this one waited, and failed. Fifty deliveries at
                    // once are one attempt, not fifty.
                    if at == At::Once && row.failed_since(&seen) {
                        return Ok(Some(Step::new(row, Stepped::Failed)));
                    }
                    drop(session);
                }
            }
            // Another process has claimed it and is about to run it, or died.
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(InboxError::Busy);
            }
            tokio::time::sleep(pause.min(left)).await;
            pause = (pause * 2).min(LAST_LOOK);
        }
    }

    /// Runs an event that is claimed. `None` if another process claimed it meanwhile.
    async fn run_claimed(
        &self,
        mut session: I::Session,
        claimed: Stored,
        until: Instant,
        is_due: bool,
    ) -> Result<Option<Step>, InboxError> {
        let mut patience = until.saturating_duration_since(Instant::now());
        if is_due {
            // Other events are due too: it does not wait for a payment that is worked on.
            patience = patience.min(retry::PATIENCE_WHEN_DUE);
        }
        let ran = match session.begin(&claimed.record, patience).await {
            Ok(Some((tx, locked))) => self.run_locked(tx, locked, &claimed).await,
            Ok(None) => Err(Halt::NotRun(InboxError::UnknownEvent)),
            Err(error) => Err(Halt::NotRun(error)),
        };
        match ran {
            Ok(step) => {
                session.finish().await;
                Ok(Some(step))
            }
            Err(Halt::NotRun(error)) => {
                let again = is_due.then(|| retry::after_no_attempt(&error));
                give_back(&mut session, &claimed, again).await;
                session.finish().await;
                Err(error)
            }
            Err(Halt::NotMine) => {
                give_back(&mut session, &claimed, None).await;
                session.finish().await;
                Ok(None)
            }
            Err(Halt::Lost(event, loss)) => {
                // Its connection is closed before the failure is written on another one.
                drop(session);
                let did = self.record(&claimed, loss).await;
                Ok(Some(Step::new(*event, did)))
            }
        }
    }

    async fn run_locked<T: Transaction<Connection = I::Connection>>(
        &self,
        mut tx: T,
        locked: Locked,
        claimed: &Stored,
    ) -> Result<Step, Halt> {
        let found = &locked.event;
        if found.record.state != EventState::Pending {
            tx.rollback().await.map_err(Halt::NotRun)?;
            return Ok(already(locked.event));
        }
        if found.claim != claimed.claim {
            tx.rollback().await.map_err(Halt::NotRun)?;
            return Err(Halt::NotMine);
        }
        // The lease is longer than all waits and the handler's deadline together.
        let limit = self.terms.lease.saturating_sub(self.terms.patience);
        let limit = limit.max(Duration::from_secs(1));
        tx.protect(limit).await.map_err(Halt::NotRun)?;
        let verdict = match found.is_spent {
            true => self.spent(found),
            false => {
                let order = locked.order.as_ref();
                let work =
                    self.dispatch
                        .dispatch(&found.record, &locked.payment, order, tx.connection());
                work.await
            }
        };
        match self.finish(tx, &locked, verdict).await {
            Ok(did) => Ok(Step::new(locked.event, did)),
            Err(loss) => Err(Halt::Lost(Box::new(locked.event), loss)),
        }
    }

    /// The verdict on an event that took its process with it at every attempt.
    fn spent(&self, found: &Stored) -> Verdict {
        let record = &found.record;
        let before = match &record.last_error {
            Some(error) => format!("; before that: {error}"),
            None => String::new(),
        };
        let attempts = record.attempts;
        let error = format!(
            "all {attempts} attempts are used up, and the last one did not come to its end{before}"
        );
        tracing::error!(event = record.id, event_type = record.event_type, error = %Escaped(&error), dead_letter = true, "fulfilment failed");
        Verdict::Failed {
            cause: Cause::Inbox,
            error,
            again: None,
        }
    }

    /// Ends the handler's part of the transaction, writes the verdict and commits.
    async fn finish<T: Transaction>(
        &self,
        mut tx: T,
        locked: &Locked,
        verdict: Verdict,
    ) -> Result<Stepped, Loss> {
        let cause = match &verdict {
            Verdict::Failed { cause, .. } => Some(*cause),
            _ => None,
        };
        let verdict = match tx.end(cause).await {
            Ok(()) => verdict,
            Err(CommitError::Refused(error)) => {
                tracing::error!(event = locked.event.record.id, error = %Escaped(&error), "what the handler did cannot be committed");
                self.failed(locked, error)
            }
            Err(error) => return Err(self.loss(locked, verdict, error)),
        };
        let changed = self.changes(&mut tx, locked, verdict.clone()).await;
        let (changes, did) = match changed {
            Ok(changed) => changed,
            Err(error) => {
                let error = CommitError::Lost(Chain(&error).to_string());
                return Err(self.loss(locked, verdict, error));
            }
        };
        let committed = tx.commit(changes).await;
        committed.map_err(|error| self.loss(locked, verdict, error))?;
        Ok(did)
    }

    /// The verdict on an attempt that failed beside the handler.
    fn failed(&self, locked: &Locked, error: String) -> Verdict {
        let attempts = locked.event.record.attempts;
        Verdict::Failed {
            cause: Cause::Inbox,
            error,
            again: (attempts < self.terms.max_attempts).then(|| retry::pause(attempts)),
        }
    }

    fn loss(&self, locked: &Locked, verdict: Verdict, error: CommitError) -> Loss {
        let failure = match verdict {
            Verdict::Failed { error, again, .. } => Some(Failure { error, again }),
            _ => None,
        };
        let text = match (error, failure) {
            (CommitError::Gone(transaction), failure) => return Loss::Gone(transaction, failure),
            (CommitError::Ended(text), failure) => {
                let said = failure.map(|failure| format!("; it said: {}", failure.error));
                let error = text + &said.unwrap_or_default();
                return Loss::Failed(Failure { error, again: None });
            }
            (_, Some(failure)) => return Loss::Failed(failure),
            (CommitError::Refused(text) | CommitError::Lost(text), None) => text,
        };
        match self.failed(locked, text) {
            Verdict::Failed { error, again, .. } => Loss::Failed(Failure { error, again }),
            _ => Loss::Gone(None, None),
        }
    }

    /// What a verdict changes in the rows.
    async fn changes<T: Transaction>(
        &self,
        tx: &mut T,
        locked: &Locked,
        verdict: Verdict,
    ) -> Result<(Changes, Stepped), InboxError> {
        let mut event = locked.event.record.clone();
        let mut payment: PaymentRecord = locked.payment.clone();
        let mut order = None;
        let mut due = None;
        let did = match verdict {
            Verdict::Waiting { again, reason } => {
                event.attempts = event.attempts.saturating_sub(1);
                event.last_error = reason.or(event.last_error);
                due = Some(again);
                Stepped::Waiting
            }
            Verdict::Superseded => {
                event.attempts = event.attempts.saturating_sub(1);
                Stepped::Now(EventState::Superseded)
            }
            Verdict::Done {
                payment: after,
                intent,
            } => {
                payment = after;
                let version = locked.order.as_ref().map_or(0, |row| row.version) + 1;
                order = intent.map(|after| IntentRecord { version, ..after });
                Stepped::Now(EventState::Done)
            }
            Verdict::Mismatch {
                payment: after,
                reason,
            } => {
                payment = after;
                event.last_error = Some(reason);
                Stepped::Now(EventState::Mismatch)
            }
            Verdict::Failed {
                error,
                again: Some(again),
                ..
            } => {
                event.last_error = Some(error);
                due = Some(again);
                Stepped::Failed
            }
            Verdict::Failed {
                error, again: None, ..
            } => {
                event.last_error = Some(error);
                if event.settles {
                    let others = tx.copies(&event).await?;
                    payment = merge::died(&event, &payment, &others).unwrap_or(payment);
                }
                Stepped::Now(EventState::Dead)
            }
        };
        if let Stepped::Now(state) = did {
            event.state = state;
        }
        let changes = Changes {
            event,
            due,
            payment,
            order,
        };
        Ok((changes, did))
    }

    /// Writes down a failure whose transaction was lost. If that fails too, the event is due again
    /// when its lease is over.
    async fn record(&self, claimed: &Stored, loss: Loss) -> Stepped {
        let event = &claimed.record;
        for tries in 1..=RECORDED {
            match self.record_once(claimed, &loss).await {
                Ok(did) => return did,
                Err(error) if tries < RECORDED => {
                    tracing::warn!(event = event.id, error = %Chain(&error), "the failure of an event could not be written down yet");
                    tokio::time::sleep(RECORDED_AGAIN).await;
                }
                Err(error) => {
                    tracing::error!(event = event.id, error = %Chain(&error), "the failure of an event could not be written down: it is due again when its lease is over");
                }
            }
        }
        // The handler did run: the attempt stays counted.
        Stepped::Failed
    }

    async fn record_once(&self, claimed: &Stored, loss: &Loss) -> Result<Stepped, InboxError> {
        let mut session = self.inbox.session();
        let patience = self.terms.patience.max(Duration::from_secs(1));
        // The locks of the lost transaction last as long as the server works on it.
        let begun = session.begin(&claimed.record, patience).await?;
        let (mut tx, locked) = begun.ok_or(InboxError::UnknownEvent)?;
        let record = &locked.event.record;
        if record.state != EventState::Pending {
            // It was committed after all, or another process was faster.
            return Ok(Stepped::Now(record.state));
        }
        if locked.event.claim != claimed.claim {
            return Ok(Stepped::Failed);
        }
        let failure = match loss {
            Loss::Failed(failure) => Some(failure),
            Loss::Gone(Some(transaction), Some(failure)) => {
                let undone = tx.was_undone(*transaction).await?;
                undone.then_some(failure)
            }
            Loss::Gone(..) => None,
        };
        let (error, again) = match failure {
            Some(failure) => (failure.error.as_str(), failure.again),
            None => (BROKEN, None),
        };
        tracing::error!(
            event = record.id,
            event_type = record.event_type,
            attempt = record.attempts,
            error = %Escaped(error),
            dead_letter = again.is_none(),
            "fulfilment failed, and the handler's transaction is lost"
        );
        let verdict = Verdict::Failed {
            cause: Cause::Inbox,
            error: error.to_owned(),
            again,
        };
        let (mut changes, did) = self.changes(&mut tx, &locked, verdict).await?;
        if failure.is_none() {
            // Its work may have been kept: no other event of the same success may do it again.
            let row = merge::given_up(record, &locked.payment, FulfillmentStatus::Broken);
            changes.payment = row.unwrap_or(changes.payment);
        }
        tx.commit(changes).await?;
        session.finish().await;
        Ok(did)
    }
}

fn already(row: Stored) -> Step {
    let state = row.record.state;
    Step::new(row, Stepped::Already(state))
}

/// Gives an attempt back that ran no handler: it must not use up the event's attempts.
async fn give_back<S: Session>(session: &mut S, claimed: &Stored, again: Option<Duration>) {
    if let Err(error) = session.give_back(claimed, again).await {
        tracing::warn!(event = claimed.record.id, error = %Chain(&error), "an attempt that ran no handler stays counted");
    }
}
