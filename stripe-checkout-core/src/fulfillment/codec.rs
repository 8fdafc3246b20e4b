//! The form of records in a database's columns: words, numbers, and maps and notes as JSON.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::operation::OperationState;
use super::records::{
    EventState, FulfillmentStatus, IntentState, PendingNote, RequestState, Scope,
};
use crate::amount::Amount;
use crate::error::{BoxError, InboxError};
use crate::secret::Mode;
use crate::webhook::DisputeStatus;

/// The error for a value that no version of this crate writes: something else wrote it.
fn strange(column: &'static str, value: &str) -> InboxError {
    InboxError::Unavailable(format!("the column {column} holds {value:?}").into())
}

pub(super) fn unavailable(error: impl Into<BoxError>) -> InboxError {
    InboxError::Unavailable(error.into())
}

/// The words of a column. One table serves both writing and reading.
macro_rules! words {
    ($column:literal, $type:ty, $write:ident, $read:ident, $($value:path = $word:literal,)*) => {
        pub(super) fn $write(value: $type) -> &'static str {
            match value {
                $($value => $word,)*
            }
        }

        pub(super) fn $read(word: &str) -> Result<$type, InboxError> {
            match word {
                $($word => Ok($value),)*
                other => Err(strange($column, other)),
            }
        }
    };
}

words! { "mode", Mode, mode, read_mode,
    Mode::Live = "live",
    Mode::Test = "test",
}

words! { "state", EventState, event_state, read_event_state,
    EventState::Pending = "pending",
    EventState::Done = "done",
    EventState::Superseded = "superseded",
    EventState::Mismatch = "mismatch",
    EventState::Dead = "dead",
    EventState::Discarded = "discarded",
}

words! { "state", IntentState, intent_state, read_intent_state,
    IntentState::Creating = "creating",
    IntentState::Open = "open",
    IntentState::Processing = "processing",
    IntentState::Paid = "paid",
    IntentState::Canceled = "canceled",
}

words! { "request", RequestState, request_state, read_request_state,
    RequestState::Sent = "sent",
    RequestState::Sending = "sending",
    RequestState::OrderCanceled = "order_canceled",
}

words! { "state", OperationState, operation_state, read_operation_state,
    OperationState::Sending = "sending",
    OperationState::Done = "done",
    OperationState::Refused = "refused",
}

words! { "success", FulfillmentStatus, settled, read_fulfillment_status,
    FulfillmentStatus::No = "no",
    FulfillmentStatus::Pending = "pending",
    FulfillmentStatus::Fulfilled = "fulfilled",
    FulfillmentStatus::Duplicate = "duplicate",
    FulfillmentStatus::Refunded = "refunded",
    FulfillmentStatus::Mismatch = "mismatch",
    FulfillmentStatus::Dead = "dead",
    FulfillmentStatus::Broken = "broken",
    FulfillmentStatus::GivenUp = "given_up",
}

/// The application and the mode.
pub(super) fn read_scope((application, mode): (String, String)) -> Result<Scope, InboxError> {
    let mode = read_mode(&mode)?;
    Ok(Scope { application, mode })
}

/// Reads an amount from two columns. Both are empty if there is none.
pub(super) fn read_amount(
    minor: Option<i64>,
    currency: Option<&str>,
) -> Result<Option<Amount>, InboxError> {
    let Some((minor, code)) = minor.zip(currency) else {
        return Ok(None);
    };
    let currency = code.parse().map_err(|_| strange("currency", code))?;
    Ok(Some(Amount::new(read_number(minor), currency)))
}

/// Refunds by id, as a JSON object of minor units.
pub(super) fn refunds(refunds: &BTreeMap<String, u64>) -> String {
    serde_json::to_string(refunds).unwrap_or_default()
}

pub(super) fn read_refunds(json: &str) -> Result<BTreeMap<String, u64>, InboxError> {
    serde_json::from_str(json).map_err(|_| strange("refunds", json))
}

/// Statuses of disputes by id, as a JSON object.
pub(super) fn disputes(disputes: &BTreeMap<String, DisputeStatus>) -> String {
    let words = disputes.iter().map(|(id, status)| (id, status.as_str()));
    serde_json::to_string(&words.collect::<BTreeMap<_, _>>()).unwrap_or_default()
}

pub(super) fn read_disputes(json: &str) -> Result<BTreeMap<String, DisputeStatus>, InboxError> {
    serde_json::from_str(json).map_err(|_| strange("disputes", json))
}

/// The news that the handler received, by id, as a JSON object of lists of words.
pub(super) fn notified(notified: &BTreeMap<String, BTreeSet<String>>) -> String {
    serde_json::to_string(notified).unwrap_or_default()
}

pub(super) fn read_notified(json: &str) -> Result<BTreeMap<String, BTreeSet<String>>, InboxError> {
    serde_json::from_str(json).map_err(|_| strange("notified", json))
}

/// The number of payments without a refund. A failed refund does not count.
pub(super) fn not_refunded(payments: &[String]) -> Result<u64, InboxError> {
    payments.iter().try_fold(0, |count, refunds| {
        let refunded = read_refunds(refunds)?.values().any(|amount| *amount > 0);
        Ok(count + u64::from(!refunded))
    })
}

/// A note, as a JSON array: its kind and its values.
pub(super) fn note(note: &PendingNote) -> String {
    let json = match note {
        PendingNote::Refund { id, amount } => serde_json::json!(["refund", id, amount]),
        PendingNote::RefundedTotal(total) => serde_json::json!(["refunded_total", total]),
        PendingNote::Dispute { id, status } => serde_json::json!(["dispute", id, status.as_str()]),
    };
    json.to_string()
}

pub(super) fn read_note(json: &str) -> Result<PendingNote, InboxError> {
    let strange = || strange("note", json);
    let values: Vec<serde_json::Value> = serde_json::from_str(json).map_err(|_| strange())?;
    let note = match (
        values.first().and_then(|kind| kind.as_str()),
        values.get(1..),
    ) {
        (Some("refund"), Some([id, amount])) => id
            .as_str()
            .map(str::to_owned)
            .zip(amount.as_u64())
            .map(|(id, amount)| PendingNote::Refund { id, amount }),
        (Some("refunded_total"), Some([total])) => total.as_u64().map(PendingNote::RefundedTotal),
        (Some("dispute"), Some([id, status])) => {
            let texts = id.as_str().zip(status.as_str());
            texts.map(|(id, status)| PendingNote::Dispute {
                id: id.to_owned(),
                status: DisputeStatus::from(status.to_owned()),
            })
        }
        _ => None,
    };
    note.ok_or_else(strange)
}

/// Reads notes that are separated by commas.
pub(super) fn read_notes(notes: Option<&str>) -> Result<Vec<PendingNote>, InboxError> {
    let Some(notes) = notes else {
        return Ok(Vec::new());
    };
    let notes = format!("[{notes}]");
    let notes: Vec<&serde_json::value::RawValue> =
        serde_json::from_str(&notes).map_err(|_| strange("note", &notes))?;
    notes
        .into_iter()
        .map(|note| read_note(note.get()))
        .collect()
}

/// Microseconds since 1970.
pub(super) fn time(time: SystemTime) -> i64 {
    let since_1970 = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    since_1970.as_micros().try_into().unwrap_or(i64::MAX)
}

pub(super) fn read_time(micros: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_micros(micros.max(0).unsigned_abs())
}

/// Minor units and counters as signed numbers, because a database's integers have a sign.
pub(super) fn number(number: u64) -> i64 {
    number.try_into().unwrap_or(i64::MAX)
}

pub(super) fn read_number(number: i64) -> u64 {
    number.max(0).unsigned_abs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_can_be_read() {
        let refunds_of = BTreeMap::from([("re_1".to_owned(), 0), ("re_2".to_owned(), 250)]);
        assert_eq!(read_refunds(&refunds(&refunds_of)).unwrap(), refunds_of);
        let refund = PendingNote::Refund {
            id: "re_\"1\"".to_owned(),
            amount: u64::MAX,
        };
        let statuses = [
            DisputeStatus::Won,
            DisputeStatus::Other("\"new\"".to_owned()),
        ];
        let dispute = |status: &DisputeStatus| PendingNote::Dispute {
            id: "dp_1".to_owned(),
            status: status.clone(),
        };
        let [won, new] = statuses.each_ref().map(dispute);
        let ids = ["dp_1".to_owned(), "dp_2".to_owned()];
        let disputes_of = BTreeMap::from_iter(ids.into_iter().zip(statuses));
        assert_eq!(read_disputes(&disputes(&disputes_of)).unwrap(), disputes_of);
        for written in [refund, PendingNote::RefundedTotal(7), won, new] {
            assert_eq!(read_note(&note(&written)).unwrap(), written);
        }
        let now = read_time(time(SystemTime::now()));
        assert_eq!(read_time(time(now)), now);
        assert_eq!(
            read_fulfillment_status(settled(FulfillmentStatus::GivenUp)).unwrap(),
            FulfillmentStatus::GivenUp
        );
    }

    #[test]
    fn what_nobody_wrote_is_an_error() {
        for json in [
            "",
            "[]",
            "[\"refund\"]",
            "[\"refund\",\"re_1\",-1]",
            "[\"x\",1]",
        ] {
            assert!(read_note(json).is_err(), "{json}");
        }
        assert!(read_event_state("Done").is_err());
        assert!(read_refunds("[1]").is_err());
    }
}
