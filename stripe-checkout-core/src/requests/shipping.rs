//! The ways to ship that Stripe's page offers.

use super::tax::{Tax, TaxBehavior};
use crate::amount::Amount;

/// One way to ship that Stripe's page offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShippingOption {
    pub(crate) name: String,
    pub(crate) price: Amount,
    pub(crate) tax: Tax,
}

impl ShippingOption {
    /// A way to ship, in words for the buyer, and its price.
    pub fn new(name: impl Into<String>, price: Amount) -> Self {
        Self {
            name: name.into(),
            price,
            tax: Tax::default(),
        }
    }

    /// Sets its code for [Stripe Tax](https://docs.stripe.com/tax/tax-codes).
    ///
    /// Stripe's code for shipping is `txcd_92010001`.
    #[must_use]
    pub fn tax_code(mut self, code: impl Into<String>) -> Self {
        self.tax.code = Some(code.into());
        self
    }

    /// Sets whether its price contains the tax.
    ///
    /// Without it, [`tax_behavior`](super::HostedCheckout::tax_behavior) applies.
    #[must_use]
    pub fn tax_behavior(mut self, behavior: TaxBehavior) -> Self {
        self.tax.behavior = Some(behavior);
        self
    }
}
