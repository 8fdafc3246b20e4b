//! Captures of authorised money.

use super::error::RequestError;
use super::limits::check_reference;
use crate::amount::Amount;

/// One capture of one payment that was [authorised only](super::PaymentRequest::capture_method):
/// what [`Checkout::capture`](crate::Checkout::capture) does once.
///
/// ```
/// use stripe_checkout_core::requests::CaptureRequest;
/// use stripe_checkout_core::{Amount, Currency};
///
/// let all = CaptureRequest::new("order-1042-shipped", "pi_3MtwBwLkdIwHu7ix28a3tqPa");
/// let part = all.clone().amount(Amount::new(1500, Currency::EUR));
/// assert!(all.validate().is_ok() && part.validate().is_ok());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaptureRequest {
    reference: String,
    payment: String,
    amount: Option<Amount>,
    account: Option<String>,
}

impl CaptureRequest {
    /// Captures all that was authorised for this payment (`pi_…`). The reference is the capture's
    /// own: 1 to 200 characters, no control character.
    pub fn new(reference: impl Into<String>, payment: impl Into<String>) -> Self {
        Self {
            reference: reference.into(),
            payment: payment.into(),
            amount: None,
            account: None,
        }
    }

    /// Captures only this amount. Stripe releases the rest: a payment can be captured once.
    #[must_use]
    pub fn amount(mut self, amount: Amount) -> Self {
        self.amount = Some(amount);
        self
    }

    /// The payment is one of this connected account's (`acct_…`). Not needed for a payment that
    /// this checkout made: there it is known.
    #[must_use]
    pub fn connected_account(mut self, account: impl Into<String>) -> Self {
        self.account = Some(account.into());
        self
    }

    /// The capture's own reference.
    pub fn reference(&self) -> &str {
        &self.reference
    }

    /// The payment's id.
    pub fn payment(&self) -> &str {
        &self.payment
    }

    /// How much, if not all.
    pub fn partial_amount(&self) -> Option<Amount> {
        self.amount
    }

    /// Checks what can be checked without Stripe.
    ///
    /// # Errors
    /// [`RequestError::Reference`], [`RequestError::Amount`].
    pub fn validate(&self) -> Result<(), RequestError> {
        check_reference(&self.reference)?;
        match self.amount {
            Some(amount) => Ok(amount.chargeable(u64::MAX)?),
            None => Ok(()),
        }
    }

    pub(crate) fn account(&self) -> Option<&str> {
        self.account.as_deref()
    }
}
