//! Money that was reserved: what of it is taken, or that it is let go.

use stripe::StripeRequest as _;
use stripe_client_core::RequestBuilder;
use stripe_core::payment_intent::{
    CancelPaymentIntent, CancelPaymentIntentCancellationReason, CapturePaymentIntent,
};

use super::request::{check_reference, sorted};
use crate::amount::Amount;
use crate::error::{AmountError, RequestError};
use crate::marks::CAPTURE;

/// One capture of one payment that was [authorised only](super::PaymentRequest::capture_manually): what [`Checkout::capture`](crate::Checkout::capture) does once.
///
/// ```
/// use stripe_checkout_core::intent::CaptureRequest;
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
    /// Takes all that was reserved for this payment (`pi_…`). The reference is the capture's own: 1 to 200 characters, no control character.
    pub fn new(reference: impl Into<String>, payment: impl Into<String>) -> Self {
        Self {
            reference: reference.into(),
            payment: payment.into(),
            amount: None,
            account: None,
        }
    }

    /// Only this much. The rest is let go: a payment can be captured once.
    #[must_use]
    pub fn amount(mut self, amount: Amount) -> Self {
        self.amount = Some(amount);
        self
    }

    /// The payment is one of this connected account's (`acct_…`). Not needed for a payment that this checkout made: there it is known.
    #[must_use]
    pub fn on_account(mut self, account: impl Into<String>) -> Self {
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
    /// [`RequestError::Reference`], [`RequestError::Zero`], [`RequestError::Amount`].
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

    /// What is sent, with the mark by which the capture is known in the PaymentIntent.
    pub(crate) fn build(&self) -> Result<RequestBuilder, RequestError> {
        let mark = [(CAPTURE.to_owned(), self.reference.clone())];
        let mut request = CapturePaymentIntent::new(self.payment.as_str())
            .metadata(std::collections::HashMap::from(mark));
        if let Some(amount) = self.amount {
            let minor: i64 = amount
                .minor()
                .try_into()
                .map_err(|_| AmountError::OutOfRange)?;
            request = request.amount_to_capture(minor);
        }
        Ok(sorted(request.build()))
    }
}

/// The end of one payment that is not paid: what [`Checkout::cancel`](crate::Checkout::cancel) does once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CancelRequest {
    reference: String,
    payment: String,
    reason: Option<CancelReason>,
    account: Option<String>,
}

/// Why a payment is given up, for Stripe and the Dashboard. See <https://docs.stripe.com/api/payment_intents/cancel>.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum CancelReason {
    /// There is another one for the same.
    Duplicate,
    /// Whoever wanted to pay was not the card's owner.
    Fraudulent,
    /// The buyer does not want it any more.
    RequestedByCustomer,
    /// The buyer went away.
    Abandoned,
}

impl CancelRequest {
    /// Gives this payment (`pi_…`) up, and lets go what was reserved for it. The reference is the cancellation's own: 1 to 200 characters, no control character.
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

    /// The payment is one of this connected account's (`acct_…`). Not needed for a payment that this checkout made: there it is known.
    #[must_use]
    pub fn on_account(mut self, account: impl Into<String>) -> Self {
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

    pub(crate) fn build(&self) -> RequestBuilder {
        use CancelPaymentIntentCancellationReason as Stripes;
        let mut request = CancelPaymentIntent::new(self.payment.as_str());
        if let Some(reason) = self.reason {
            request = request.cancellation_reason(match reason {
                CancelReason::Duplicate => Stripes::Duplicate,
                CancelReason::Fraudulent => Stripes::Fraudulent,
                CancelReason::RequestedByCustomer => Stripes::RequestedByCustomer,
                CancelReason::Abandoned => Stripes::Abandoned,
            });
        }
        request.build()
    }
}
