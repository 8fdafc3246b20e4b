//! Why Stripe was not asked for a payment, a refund or a customer, or did not do it.

use thiserror::Error;

use crate::error::InboxError;
use crate::reply::Problem;
use crate::requests::RequestError;
use crate::stripe::ApiError;

/// Why a payment could not be opened, or why an operation under your own reference (a refund, a
/// capture, a charge, a customer) has no result.
///
/// After [`Api`](Self::Api) and [`Inbox`](Self::Inbox) the work may or may not be done: call again
/// with the same reference and the same parameters, and it is done once.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PaymentError {
    /// The request is not one that Stripe takes: of a payment, a mistake in the merchant's prices.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The order is paid.
    #[error("the order is paid already")]
    AlreadyPaid,
    /// A payment of the order is on its way.
    #[error("a payment of the order is being processed")]
    Processing,
    /// Other calls for the same order, or with the same reference, were faster several times in a
    /// row.
    #[error("another call for the same order or reference is in flight")]
    InFlight,
    /// The order was canceled: see [`Checkout::cancel_order`](crate::Checkout::cancel_order).
    #[error("the order was called off")]
    CalledOff,
    /// So many attempts to pay the order were declined that it takes no other one: see
    /// [`max_declines`](crate::CheckoutBuilder::max_declines).
    #[error("{declines} attempts to pay this order were declined, and it takes no more")]
    TooManyDeclines {
        /// How many.
        declines: u32,
    },
    /// The reference was used before, with other parameters. Nothing was sent: each operation has a
    /// reference of its own.
    #[error("this reference was already used with different parameters")]
    Differs,
    /// Nothing is left of the payment: all of it was refunded, or is being refunded.
    #[error("nothing is left of the payment")]
    NothingLeft,
    /// The amount is more than is left of the payment.
    #[error("the amount is more than is left of the payment")]
    MoreThanLeft,
    /// The payment is not, or no longer, in a state that allows this: nothing is authorised, it is
    /// paid, or on its way.
    #[error("the payment is in a state in which this cannot be done")]
    WrongState,
    /// The payment is disputed: the bank took the money, and it cannot go back a second time.
    #[error("the payment is disputed, so nothing of it can be refunded")]
    Disputed,
    /// The payment method is not this customer's, or not any more. Nothing was done.
    #[error("the payment method is not this customer's")]
    NotTheirs,
    /// Stripe, or the way to it.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// The inbox could not read or write the row.
    #[error(transparent)]
    Inbox(#[from] InboxError),
    /// This checkout was built without pricing and keys.
    #[error("this checkout has no pricing and keys, so it cannot ask Stripe for anything")]
    NoPricing,
}

impl PaymentError {
    /// Whether a visitor can cause it at will, and nothing is wrong: no line for the log.
    pub(crate) fn is_expected(&self) -> bool {
        match self {
            Self::Api(error) => error.is_expected(),
            Self::Inbox(error) => error.is_expected(),
            _ => false,
        }
    }
}

impl From<&PaymentError> for Problem {
    fn from(error: &PaymentError) -> Self {
        match error {
            PaymentError::Request(_) => Self::new(
                422,
                "order_not_payable",
                "This order cannot be paid online. Please contact the shop.",
            ),
            PaymentError::AlreadyPaid => Self::already_paid(),
            PaymentError::Processing => Self::processing(),
            PaymentError::InFlight => Self::in_flight(),
            PaymentError::CalledOff => Self::new(
                409,
                "order_called_off",
                "This order was canceled, so it cannot be paid any more. Please order again.",
            ),
            PaymentError::TooManyDeclines { .. } => Self::new(
                403,
                "too_many_declines",
                "Too many payments for this order were declined. Please contact the shop.",
            ),
            PaymentError::NotTheirs => Self::new(
                404,
                "unknown_payment_method",
                "We do not know this card. Please choose another one.",
            ),
            PaymentError::Api(error) => error.into(),
            PaymentError::Inbox(error) => error.into(),
            // No route refunds or captures.
            PaymentError::Differs
            | PaymentError::NothingLeft
            | PaymentError::MoreThanLeft
            | PaymentError::WrongState
            | PaymentError::Disputed
            | PaymentError::NoPricing => Self::internal(),
        }
    }
}
