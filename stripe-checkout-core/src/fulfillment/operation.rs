//! The operations that the merchant requests from Stripe under a reference of their own. Each is
//! stored before it is sent, so that a repeat requests the same operation.

use std::time::SystemTime;

use super::records::Scope;
use crate::amount::Amount;

/// The key of an operation at Stripe, with its application, mode and connected account. If a refund
/// and a capture have the same reference, they are two operations.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct OperationKey {
    /// The application and the mode.
    pub scope: Scope,
    /// The connected account of the operation, if any; never empty.
    pub account: Option<String>,
    /// The kind of operation.
    pub kind: OperationKind,
    /// The merchant's own reference of this one operation.
    pub reference: String,
}

/// The kind of an operation at Stripe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OperationKind {
    /// Refunds a payment.
    Refund,
    /// Captures an authorised payment.
    Capture,
    /// Names the capture of a payment that may be sent. The payment's id is the reference.
    CaptureClaim,
    /// Cancels a payment.
    Cancel,
    /// Charges a saved payment method while the buyer is away.
    Charge,
    /// Creates a customer.
    Customer,
}

impl OperationKind {
    /// Every kind.
    pub const ALL: [Self; 6] = [
        Self::Refund,
        Self::Capture,
        Self::CaptureClaim,
        Self::Cancel,
        Self::Charge,
        Self::Customer,
    ];

    /// The word for the kind in a database, and in the idempotency key.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Refund => "refund",
            Self::Capture => "capture",
            Self::CaptureClaim => "capturing",
            Self::Cancel => "cancel",
            Self::Charge => "charge",
            Self::Customer => "customer",
        }
    }

    /// The kind of this word. `None` if no version of this crate writes the word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }
}

/// The row of one operation. It is kept permanently: a repeat in a year must not make a second
/// operation.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(not(feature = "unstable-inbox"), non_exhaustive)]
pub struct OperationRecord {
    /// Counts the writes; `put_operation` compares it.
    pub version: u64,
    /// The number of the attempt, from 1: a part of the idempotency key.
    pub attempt: u32,
    /// SHA-256 of the request, in hex. It reveals a different request under the same reference,
    /// without personal data in the row. Up to 80 characters.
    pub fingerprint: String,
    /// The object of the operation at Stripe, if there is one: the `pi_…` of a refund.
    pub subject: Option<String>,
    /// The amount of the operation, if it has one and the caller named it.
    pub amount: Option<Amount>,
    /// The progress of the operation.
    pub state: OperationState,
    /// The object that Stripe created or changed: `re_…`, `cus_…`, `seti_…`, `pi_…`.
    pub result: Option<String>,
    /// When this attempt began, to the microsecond. For people: it never decides about a key.
    pub begun: SystemTime,
}

/// The progress of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum OperationState {
    /// It is stored, and perhaps sent: only Stripe knows whether it did the operation.
    Sending,
    /// Stripe did it.
    Done,
    /// Stripe refused it.
    Refused,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_read_as_it_is_written_and_no_other_word_is_one() {
        for kind in OperationKind::ALL {
            assert_eq!(OperationKind::parse(kind.as_str()), Some(kind));
        }
        for word in ["", "Refund", "refunds", "setup"] {
            assert_eq!(OperationKind::parse(word), None, "{word}");
        }
    }
}
