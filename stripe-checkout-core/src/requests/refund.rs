//! Refunds: the merchant's request, and the parameters that Stripe receives.

use std::fmt;

use super::error::RequestError;
use super::limits::check_reference;
use crate::amount::Amount;
use crate::metadata::Metadata;

/// One refund of one payment, which [`Checkout::refund`](crate::Checkout::refund) makes once.
///
/// The reference belongs to the refund and is unique among the merchant's refunds. Two refunds of
/// 10 with two references are two refunds. A request with the same reference is the same refund,
/// also a year later. Save the reference together with the decision to refund, before you make the
/// request.
///
/// ```
/// use stripe_checkout_core::requests::{RefundReason, RefundRequest};
/// use stripe_checkout_core::{Amount, Currency};
///
/// let request = RefundRequest::new("return-7", "pi_3MtwBwLkdIwHu7ix28a3tqPa")
///     .amount(Amount::new(1000, Currency::EUR))
///     .reason(RefundReason::RequestedByCustomer);
/// assert!(request.validate().is_ok());
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct RefundRequest {
    reference: String,
    payment: String,
    amount: Option<Amount>,
    pub(crate) reason: Option<RefundReason>,
    pub(crate) metadata: Metadata,
    pub(crate) reverse_transfer: bool,
    pub(crate) refund_application_fee: bool,
    account: Option<String>,
}

/// The reason of a refund, for Stripe and the Dashboard.
///
/// See <https://docs.stripe.com/api/refunds/create#create_refund-reason>.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RefundReason {
    /// The buyer paid twice.
    Duplicate,
    /// The payer was not the card's owner. Stripe then blocks the card and the e-mail address.
    Fraudulent,
    /// The buyer asked for the refund.
    RequestedByCustomer,
}

impl RefundRequest {
    /// A refund of all that is left of this payment (`pi_…`).
    ///
    /// The reference has 1 to 200 characters and no control character.
    pub fn new(reference: impl Into<String>, payment: impl Into<String>) -> Self {
        Self {
            reference: reference.into(),
            payment: payment.into(),
            amount: None,
            reason: None,
            metadata: Metadata::new(),
            reverse_transfer: false,
            refund_application_fee: false,
            account: None,
        }
    }

    /// Refunds only this amount, in the payment's own currency.
    ///
    /// More than the rest of the payment is refused, also if two refunds come at the same time.
    #[must_use]
    pub fn amount(mut self, amount: Amount) -> Self {
        self.amount = Some(amount);
        self
    }

    /// Sets the reason.
    #[must_use]
    pub fn reason(mut self, reason: RefundReason) -> Self {
        self.reason = Some(reason);
        self
    }

    /// Sets the merchant's own metadata, which comes back in every event of the refund.
    ///
    /// This crate adds two keys that begin with `checkout_`.
    #[must_use]
    pub fn metadata(mut self, metadata: Metadata) -> Self {
        self.metadata = metadata;
        self
    }

    /// For a destination charge: takes the money back from the connected account, in proportion.
    ///
    /// Otherwise the platform pays it.
    #[must_use]
    pub fn reverse_transfer(mut self) -> Self {
        self.reverse_transfer = true;
        self
    }

    /// Also refunds the platform's application fee, in proportion.
    #[must_use]
    pub fn refund_application_fee(mut self) -> Self {
        self.refund_application_fee = true;
        self
    }

    /// Names the connected account (`acct_…`) of the payment.
    ///
    /// It is not needed for a payment that this checkout created: that account is known.
    #[must_use]
    pub fn connected_account(mut self, account: impl Into<String>) -> Self {
        self.account = Some(account.into());
        self
    }

    /// The refund's own reference.
    pub fn reference(&self) -> &str {
        &self.reference
    }

    /// The payment's id.
    pub fn payment(&self) -> &str {
        &self.payment
    }

    /// The amount, unless the refund is for all that is left.
    pub fn partial_amount(&self) -> Option<Amount> {
        self.amount
    }

    /// Checks everything that can be checked without Stripe.
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

impl fmt::Debug for RefundRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RefundRequest")
            .field("reference", &self.reference)
            .field("payment", &self.payment)
            .field("amount", &self.amount)
            .field("reason", &self.reason)
            .field("account", &self.account)
            .finish_non_exhaustive()
    }
}
