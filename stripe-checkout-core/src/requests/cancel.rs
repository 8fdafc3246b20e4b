//! The end of payments that are not paid.

/// The end of one payment that is not paid.
/// [`Checkout::cancel_payment`](crate::Checkout::cancel_payment) does it once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CancelRequest {
    reference: String,
    payment: String,
    reason: Option<CancelReason>,
    account: Option<String>,
}

/// Why a payment is canceled, for Stripe and the Dashboard. See
/// <https://docs.stripe.com/api/payment_intents/cancel>.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum CancelReason {
    /// There is another payment for the same purchase.
    Duplicate,
    /// The visitor who wanted to pay was not the card's owner.
    Fraudulent,
    /// The buyer does not want it any more.
    RequestedByCustomer,
    /// The buyer went away.
    Abandoned,
}

impl CancelRequest {
    /// Cancels this payment (`pi_…`), and releases what was authorised for it. The reference is the
    /// cancellation's own: 1 to 200 characters, no control character.
    pub fn new(reference: impl Into<String>, payment: impl Into<String>) -> Self {
        Self {
            reference: reference.into(),
            payment: payment.into(),
            reason: None,
            account: None,
        }
    }

    /// Why.
    #[must_use]
    pub fn reason(mut self, reason: CancelReason) -> Self {
        self.reason = Some(reason);
        self
    }

    /// The payment is one of this connected account's (`acct_…`). Not needed for a payment that
    /// this checkout made: there it is known.
    #[must_use]
    pub fn connected_account(mut self, account: impl Into<String>) -> Self {
        self.account = Some(account.into());
        self
    }

    /// The cancellation's own reference.
    pub fn reference(&self) -> &str {
        &self.reference
    }

    /// The payment's id.
    pub fn payment(&self) -> &str {
        &self.payment
    }

    pub(crate) fn account(&self) -> Option<&str> {
        self.account.as_deref()
    }

    pub(crate) fn why(&self) -> Option<CancelReason> {
        self.reason
    }
}
