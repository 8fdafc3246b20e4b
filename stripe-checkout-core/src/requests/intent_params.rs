//! The parameters of one PaymentIntent.

use std::fmt;

use super::connect::Connect;
use super::error::RequestError;
use super::future_usage::SetupFutureUsage;
use crate::amount::Amount;
use crate::marks::KEYS;
use crate::metadata::Metadata;
use crate::metadata::MetadataError;
use crate::webhook::Payment;

/// The parameters of a PaymentIntent, as they are sent.
///
/// The form-encoded body is always in the same order, because an
/// [idempotency key](crate::stripe::IdempotencyKey) stands for the very bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct IntentParams {
    pub(crate) amount: Amount,
    pub(crate) metadata: Metadata,
    pub(crate) receipt_email: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) statement_descriptor_suffix: Option<String>,
    pub(crate) customer: Option<String>,
    pub(crate) setup_future_usage: Option<SetupFutureUsage>,
    pub(crate) manual_capture: bool,
    pub(crate) connect: Connect,
}

impl IntentParams {
    /// An amount and nothing else. `PaymentRequest::intent_params` makes them complete.
    pub fn new(amount: Amount) -> Self {
        Self {
            amount,
            metadata: Metadata::new(),
            receipt_email: None,
            description: None,
            statement_descriptor_suffix: None,
            customer: None,
            setup_future_usage: None,
            manual_capture: false,
            connect: Connect::default(),
        }
    }

    /// The same parameters with this metadata.
    #[must_use]
    pub fn metadata(mut self, metadata: Metadata) -> Self {
        self.metadata = metadata;
        self
    }

    /// The amount asked.
    pub fn amount(&self) -> Amount {
        self.amount
    }

    /// The address of the receipt.
    pub(crate) fn receipt_to(&self) -> Option<&str> {
        self.receipt_email.as_deref()
    }

    /// Whether an open PaymentIntent can be brought to these parameters. It cannot get another
    /// customer, lose its customer, or forget that it is to save a payment method. A guest never
    /// pays on the PaymentIntent of a customer.
    pub(crate) fn can_follow(&self, open: &Payment) -> bool {
        let saves = self.setup_future_usage.is_some();
        let keeps_customer =
            open.customer().is_none() || open.customer() == self.customer.as_deref();
        keeps_customer
            && (saves || !open.saves_payment_method())
            && self.manual_capture == open.captures_manually()
            && self.connect.can_follow(open)
    }

    /// Checks that this many more marks fit into the metadata.
    pub(crate) fn check_room(&self, marks: usize) -> Result<(), RequestError> {
        if self.metadata.len().saturating_add(marks) > Metadata::MAX_KEYS {
            let limit = Metadata::MAX_KEYS
                .saturating_sub(KEYS)
                .saturating_sub(marks);
            return Err(MetadataError::TooManyKeys { limit }.into());
        }
        Ok(())
    }
}

impl fmt::Debug for IntentParams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IntentParams")
            .field("amount", &self.amount)
            .field("metadata", &self.metadata)
            .finish_non_exhaustive()
    }
}
