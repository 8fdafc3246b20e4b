//! What the merchant asked of Stripe under a reference of his own: written down before it is sent, so that whoever asks again asks for the same.

use std::time::SystemTime;

use super::records::Scope;
use crate::amount::Amount;

/// Which operation at Stripe, of which application, mode and connected account. The same reference may stand for a refund and for a capture: those are two.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct OperationKey {
    /// The application and the mode.
    pub scope: Scope,
    /// The connected account on which it is done, if any; never empty.
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
    /// Says which capture of a payment may be sent. The payment's id is the reference.
    CaptureClaim,
    /// Cancels a payment.
    Cancel,
    /// Charges a saved payment method while the buyer is away.
    Charge,
    /// Makes a customer.
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

    /// The word that stands in a database, and in the idempotency key.
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

    /// The kind of this word. `None` if no version of this crate writes it.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }
}

/// One operation's row, kept for good: who asks again in a year must not get a second one.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(not(feature = "unstable-inbox"), non_exhaustive)]
pub struct OperationRecord {
    /// Counts the writes; `put_operation` compares it.
    pub version: u64,
    /// The number of the attempt, from 1: a part of the idempotency key.
    pub attempt: u32,
    /// SHA-256 of what was asked, in hex, so that another one under the same reference is seen without storing personal data. Up to 80 characters.
    pub fingerprint: String,
    /// The object at Stripe on which it is done, if there is one: the `pi_…` of a refund.
    pub subject: Option<String>,
    /// The amount that it is about, if it is about one and the caller named it.
    pub amount: Option<Amount>,
    /// How far it is.
    pub state: OperationState,
    /// What Stripe made of it: `re_…`, `cus_…`, `seti_…`, `pi_…`.
    pub result: Option<String>,
    /// When this attempt began, to the microsecond. For people: it never decides about a key.
    pub begun: SystemTime,
}

/// How far an operation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum OperationState {
    /// Written down, and perhaps sent: whether Stripe did it, Stripe knows.
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
