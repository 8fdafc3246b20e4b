//! The lines of an order's summary.

use super::tax::{Tax, TaxBehavior};
use crate::amount::Amount;

/// One line of the summary that the buyer sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    name: String,
    quantity: u64,
    amount: Amount,
    tax: Tax,
}

impl Line {
    /// So many of something. `amount` is that of the whole line, not of one piece.
    pub fn new(name: impl Into<String>, quantity: u64, amount: Amount) -> Self {
        Self {
            name: name.into(),
            quantity,
            amount,
            tax: Tax::default(),
        }
    }

    /// Its code for [Stripe Tax](https://docs.stripe.com/tax/tax-codes), like `txcd_30011000`.
    /// Without a code, the Dashboard's preset counts. Only Stripe's own page uses it, with
    /// [`automatic_tax`](super::HostedCheckout::automatic_tax).
    #[must_use]
    pub fn tax_code(mut self, code: impl Into<String>) -> Self {
        self.tax.code = Some(code.into());
        self
    }

    /// Whether its amount contains the tax. Without it,
    /// [`HostedCheckout::tax_behavior`](super::HostedCheckout::tax_behavior) counts.
    #[must_use]
    pub fn tax_behavior(mut self, behavior: TaxBehavior) -> Self {
        self.tax.behavior = Some(behavior);
        self
    }

    pub(crate) fn tax(&self) -> &Tax {
        &self.tax
    }

    /// The name of the goods.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How many.
    pub fn quantity(&self) -> u64 {
        self.quantity
    }

    /// The price of all of them together.
    pub fn amount(&self) -> Amount {
        self.amount
    }
}
