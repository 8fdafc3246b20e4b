//! What becomes of a payment's success when one of its events dies, is replayed or is discarded.

use super::records::{EventRecord, EventState, FulfillmentStatus, PaymentRecord};

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
        FulfillmentStatus::Dead
    } else if left.contains(&EventState::Mismatch) {
        FulfillmentStatus::Mismatch
    } else {
        return given_up(event, current, FulfillmentStatus::GivenUp);
    };
    let waits = matches!(
        current.success,
        FulfillmentStatus::No | FulfillmentStatus::Pending
    );
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
    how: FulfillmentStatus,
) -> Option<PaymentRecord> {
    let open = match current.success {
        FulfillmentStatus::No | FulfillmentStatus::Pending => true,
        FulfillmentStatus::Dead | FulfillmentStatus::Broken | FulfillmentStatus::Mismatch => {
            how == FulfillmentStatus::GivenUp
        }
        FulfillmentStatus::Fulfilled
        | FulfillmentStatus::Duplicate
        | FulfillmentStatus::Refunded
        | FulfillmentStatus::GivenUp => false,
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
    given_up(event, current, FulfillmentStatus::Dead)
}

/// How the success of a payment stands when this event, as it was before, is replayed; nothing if
/// that changes nothing. A pending event would have run anyway: it ends as it would have ended,
/// and what another event object of the same success came to stays.
pub(super) fn replayed(
    event: &EventRecord,
    success: FulfillmentStatus,
) -> Option<FulfillmentStatus> {
    match success {
        _ if !event.settles || event.state == EventState::Pending => None,
        FulfillmentStatus::Dead | FulfillmentStatus::Broken | FulfillmentStatus::Mismatch => {
            Some(FulfillmentStatus::Pending)
        }
        _ => None,
    }
}

/// Whether a payment whose success has come, and whose event is pending or dead, is not fulfilled.
pub(super) fn is_unfulfilled(success: FulfillmentStatus) -> bool {
    matches!(
        success,
        FulfillmentStatus::No
            | FulfillmentStatus::Pending
            | FulfillmentStatus::Dead
            | FulfillmentStatus::Broken
    )
}
