//! How what was decided meets what was written meanwhile: the same in every inbox.

use super::inbox::{EventRecord, EventState, IntentRecord, PaymentRecord, Settled};

/// The payment's row: what was decided about it, and what was noted since it was read.
pub(super) fn payment(
    current: &PaymentRecord,
    before: &PaymentRecord,
    after: &PaymentRecord,
) -> PaymentRecord {
    let mut row = current.clone();
    if after.success != before.success {
        row.success = after.success;
    }
    row.capturable |= after.capturable;
    row.canceled |= after.canceled;
    // What Stripe said of money that went back when it was asked: no event may ever say it.
    row.refunded_total = row.refunded_total.max(after.refunded_total);
    row.received = row.received.max(after.received);
    row.released = row.released.max(after.released);
    for (id, status) in &after.disputes {
        let known = row.disputes.entry(id.clone()).or_insert(status.clone());
        *known = known.or_later(status);
    }
    for (id, told) in &after.told {
        row.told
            .entry(id.clone())
            .or_default()
            .extend(told.iter().cloned());
    }
    row
}

/// The order's row as it is to be written, with its next version, or nothing. Meanwhile [`put_intent`](super::Inbox::put_intent) may have written another one, of
/// another attempt perhaps: then only that the order is paid, or that somebody failed to, still counts.
pub(super) fn intent(
    current: Option<&IntentRecord>,
    before: Option<&IntentRecord>,
    after: IntentRecord,
) -> Option<IntentRecord> {
    let version = current.map_or(0, |row| row.version);
    let row = match current {
        Some(current) if Some(version) != before.map(|row| row.version) => {
            let known = before.map_or(0, |row| row.declines);
            let declines = current
                .declines
                .saturating_add(after.declines.saturating_sub(known));
            let paid = after.paid_by.is_some();
            if !paid && declines == current.declines {
                return None;
            }
            IntentRecord {
                state: if paid { after.state } else { current.state },
                paid_by: after.paid_by.or(current.paid_by.clone()),
                declines,
                ..current.clone()
            }
        }
        _ => after,
    };
    Some(IntentRecord {
        version: version + 1,
        ..row
    })
}

/// The payment's row after this event was dropped, or nothing if that changes nothing. `left` is how the other events stand that are the success of the same payment: as
/// long as one is pending, it is waited for; of those that are dead or mismatched one may be replayed, but until somebody does nobody waits.
pub(super) fn dropped(
    event: &EventRecord,
    current: &PaymentRecord,
    left: &[EventState],
) -> Option<PaymentRecord> {
    let success = if left.contains(&EventState::Pending) {
        return None;
    } else if left.contains(&EventState::Dead) {
        Settled::Dead
    } else if left.contains(&EventState::Mismatch) {
        Settled::Mismatch
    } else {
        return given_up(event, current, Settled::GivenUp);
    };
    let waits = matches!(current.success, Settled::No | Settled::Pending);
    (event.settles && waits).then(|| PaymentRecord {
        success,
        ..current.clone()
    })
}

/// The payment's row when its success will not run any more, or nothing if this event is not it, or that changes nothing: what was dealt with by another event
/// object of the same success stays dealt with, and what somebody gave up does not come to life again.
pub(super) fn given_up(
    event: &EventRecord,
    current: &PaymentRecord,
    how: Settled,
) -> Option<PaymentRecord> {
    let open = match current.success {
        Settled::No | Settled::Pending => true,
        Settled::Dead | Settled::Broken | Settled::Mismatch => how == Settled::GivenUp,
        Settled::Fulfilled | Settled::Duplicate | Settled::Refunded | Settled::GivenUp => false,
    };
    (event.settles && open).then(|| PaymentRecord {
        success: how,
        ..current.clone()
    })
}

/// The payment's row when this success has had its last attempt, or nothing if that changes nothing. Of the states of the other event objects of the same success one
/// that is pending is its next chance.
pub(super) fn died(
    event: &EventRecord,
    current: &PaymentRecord,
    others: &[EventState],
) -> Option<PaymentRecord> {
    if others.contains(&EventState::Pending) {
        return None;
    }
    given_up(event, current, Settled::Dead)
}

/// How the success of a payment stands when this event, as it was before, is replayed; nothing if
/// that changes nothing. A pending event would have run anyway: it ends as it would have ended,
/// and what another event object of the same success came to stays.
pub(super) fn replayed(event: &EventRecord, success: Settled) -> Option<Settled> {
    match success {
        _ if !event.settles || event.state == EventState::Pending => None,
        Settled::Dead | Settled::Broken | Settled::Mismatch => Some(Settled::Pending),
        _ => None,
    }
}

/// Whether a payment whose success has come, and whose event is pending or dead, is not fulfilled.
pub(super) fn is_unfulfilled(success: Settled) -> bool {
    matches!(
        success,
        Settled::No | Settled::Pending | Settled::Dead | Settled::Broken
    )
}
