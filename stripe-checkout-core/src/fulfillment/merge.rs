//! The state of a payment's success when one of its events dies, is replayed or is discarded.

use super::records::{EventRecord, EventState, FulfillmentStatus, PaymentRecord};

/// The payment's row after this event was discarded, or nothing if that changes nothing. `left` has
/// the states of the other events of the same success. Refunds wait for a pending one. A dead or
/// mismatched one may be replayed, but refunds do not wait for that.
pub(super) fn discarded(
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

/// The payment's row when its success does not run any more. Nothing if this event is not the
/// success, or if that changes nothing: a success that another event object dealt with stays so,
/// and so does one that an operator discarded.
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

/// The payment's row when this success has had its last attempt, or nothing if that changes
/// nothing. A pending event object of the same success is its next chance.
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
