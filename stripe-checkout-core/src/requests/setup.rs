//! Payment methods that are saved without a payment.

use super::customer::Customer;
use super::future_usage::SetupFutureUsage;
use crate::metadata::Metadata;

/// A payment method to be saved without a payment: see
/// [`Checkout::create_setup_intent`](crate::Checkout::create_setup_intent).
#[derive(Debug, Clone)]
pub struct SetupRequest {
    pub(crate) reference: String,
    pub(crate) customer: Customer,
    pub(crate) usage: SetupFutureUsage,
    pub(crate) metadata: Metadata,
}

impl SetupRequest {
    /// Saves a payment method of this customer, to be charged also while they are away. The
    /// reference is your own: the same one again, within a day, gives the same SetupIntent.
    pub fn new(reference: impl Into<String>, customer: &Customer) -> Self {
        Self {
            reference: reference.into(),
            customer: customer.clone(),
            usage: SetupFutureUsage::OffSession,
            metadata: Metadata::new(),
        }
    }

    /// Sets how the payment method is used later.
    #[must_use]
    pub fn usage(mut self, usage: SetupFutureUsage) -> Self {
        self.usage = usage;
        self
    }

    /// The merchant's own metadata. It comes back in every event of the SetupIntent.
    #[must_use]
    pub fn metadata(mut self, metadata: Metadata) -> Self {
        self.metadata = metadata;
        self
    }
}
