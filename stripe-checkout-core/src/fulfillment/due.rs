//! The price of an order, and the ways in which a payment can miss it.

use std::fmt;

use crate::amount::Amount;

/// The price of an order now, by the merchant's own records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Due {
    /// Exactly this price, before discount, shipping and tax. It does not change when a part is
    /// captured.
    Exactly(Amount),
    /// The price that was asked for this payment: for orders whose price cannot change. If neither
    /// the inbox nor the payment's metadata knows it, the payment is a mismatch.
    AsAsked,
    /// This much of the money must have arrived, whatever the price. You vouch for it: use it for a
    /// payment that was captured in part elsewhere, such as in Stripe's Dashboard.
    Received(Amount),
}

/// Why a payment does not fit its order.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mismatch {
    /// The price of the payment is not the price that was asked for it ([`Due::AsAsked`]).
    NotAsAsked {
        /// The price that was asked for.
        asked: Amount,
        /// The price of the payment, before discount, shipping and tax.
        price: Amount,
    },
    /// Neither the inbox nor the metadata of the payment says which price was asked for it
    /// ([`Due::AsAsked`]).
    AskedUnknown {
        /// The price of the payment, before discount, shipping and tax.
        price: Amount,
    },
    /// Another amount arrived than was to be taken: the total, or the amount of your own capture,
    /// or what [`Due::Received`] says.
    NotAsExpected {
        /// The amount that was to be taken.
        expected: Amount,
        /// The amount that arrived.
        received: Amount,
    },
    /// A part was captured elsewhere, and the refunds fit two readings: a full refund, or the
    /// release of the part that was never captured.
    RefundUnclear {
        /// The amount that arrived.
        received: Amount,
    },
    /// The PaymentIntent was made for one order, and its metadata names another one now.
    OtherOrder {
        /// The reference of the order that it was made for.
        made_for: String,
        /// The order that its metadata names.
        named: Option<String>,
    },
    /// The price of the payment is not what the order costs now ([`Due::Exactly`]).
    NotAsDue {
        /// The price of the order.
        due: Amount,
        /// The price of the payment, before discount, shipping and tax.
        price: Amount,
    },
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAsAsked { asked, price } => {
                write!(f, "the price asked was {asked}, the payment is for {price}")
            }
            Self::AskedUnknown { price } => write!(
                f,
                "the price asked is not known, the payment is for {price}"
            ),
            Self::NotAsExpected { expected, received } => {
                write!(f, "expected {expected}, received {received}")
            }
            Self::RefundUnclear { received } => write!(
                f,
                "the refunds may be a full refund of {received}, or the part that was never captured: look at the payment in the Dashboard"
            ),
            Self::NotAsDue { due, price } => {
                write!(f, "the order costs {due}, the payment is for {price}")
            }
            Self::OtherOrder { made_for, named } => {
                write!(
                    f,
                    "made for order {made_for}, names order {}",
                    named.as_deref().unwrap_or("none")
                )
            }
        }
    }
}
