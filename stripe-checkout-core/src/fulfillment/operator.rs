//! The acts of an operator: replay an event, or discard it.

use std::time::Duration;

use super::inbox::{Changes, Inbox, Locked, Session, Transaction as _};
use super::merge;
use super::records::{EventState, Scope};
use crate::error::InboxError;

/// Makes an event due at once, with all its attempts before it. Waits for running work up to
/// `patience`.
///
/// If the event was dead or mismatched and is one that settles, the success of its payment gets
/// another chance. A pending event changes nothing there: if another event object of the same
/// success is broken or a mismatch, this one is superseded.
///
/// # Errors
/// [`InboxError::UnknownEvent`], [`InboxError::WrongState`], [`InboxError::Busy`].
pub(super) async fn replay<I: Inbox>(
    inbox: &I,
    scope: &Scope,
    event: &str,
    patience: Duration,
) -> Result<(), InboxError> {
    let mut session = inbox.session();
    let (tx, locked) = lock_open(&mut session, scope, event, patience).await?;
    let mut event = locked.event.record;
    let mut payment = locked.payment;
    if let Some(success) = merge::replayed(&event, payment.success) {
        payment.success = success;
    }
    event.state = EventState::Pending;
    event.attempts = 0;
    let changes = Changes {
        event,
        due: Some(Duration::ZERO),
        payment,
        order: None,
    };
    tx.commit(changes).await?;
    session.finish().await;
    Ok(())
}

/// Discards a pending, dead or mismatched event for good: it does not run, and events that wait for
/// it go on. If it was the last one of its payment's success, the payment is given up. Waits for
/// running work up to `patience`.
///
/// # Errors
/// As [`replay`].
pub(super) async fn discard<I: Inbox>(
    inbox: &I,
    scope: &Scope,
    event: &str,
    patience: Duration,
) -> Result<(), InboxError> {
    let mut session = inbox.session();
    let (mut tx, locked) = lock_open(&mut session, scope, event, patience).await?;
    let mut event = locked.event.record;
    event.state = EventState::Discarded;
    let mut payment = locked.payment;
    if event.settles {
        let others = tx.copies(&event).await?;
        payment = merge::discarded(&event, &payment, &others).unwrap_or(payment);
    }
    let changes = Changes {
        event,
        due: None,
        payment,
        order: None,
    };
    tx.commit(changes).await?;
    session.finish().await;
    Ok(())
}

/// Locks an event about which an operator may still decide.
async fn lock_open<'a, S: Session>(
    session: &'a mut S,
    scope: &Scope,
    event: &str,
    patience: Duration,
) -> Result<(S::Transaction<'a>, Locked), InboxError> {
    let found = session.find(scope, event, [None; 2]).await?.event;
    let found = found.ok_or(InboxError::UnknownEvent)?;
    let begun = session.begin(&found.record, patience).await?;
    let (tx, locked) = begun.ok_or(InboxError::UnknownEvent)?;
    match locked.event.record.state {
        EventState::Pending | EventState::Dead | EventState::Mismatch => Ok((tx, locked)),
        other => {
            tx.rollback().await?;
            Err(InboxError::WrongState {
                state: other.as_str(),
            })
        }
    }
}
