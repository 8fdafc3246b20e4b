//! Charges of saved payment methods while the buyer is away.

use super::customer::Customer;
use super::payment::PaymentRequest;
use crate::webhook::{Failure, Payment};

/// A charge of a saved payment method while the buyer is away: see
/// [`Checkout::charge_off_session`](crate::Checkout::charge_off_session).
#[derive(Debug, Clone)]
pub struct OffSessionCharge {
    pub(crate) request: PaymentRequest,
    pub(crate) customer: Customer,
    pub(crate) payment_method: String,
    pub(crate) attempt: u32,
}

impl OffSessionCharge {
    /// Charges this customer's payment method (`pm_…`) what the request asks for. The request's
    /// reference is that of the order, so that an order is paid once, in whichever way.
    pub fn new(
        request: PaymentRequest,
        customer: &Customer,
        payment_method: impl Into<String>,
    ) -> Self {
        Self {
            request,
            customer: customer.clone(),
            payment_method: payment_method.into(),
            attempt: 1,
        }
    }

    /// The caller's own number of this attempt, 1 unless set. The same number again is the same
    /// attempt: the call returns its outcome, and the bank is not asked again. To charge a declined
    /// card once more, use 2.
    #[must_use]
    pub fn attempt(mut self, number: u32) -> Self {
        self.attempt = number;
        self
    }
}

/// How a charge of a saved payment method went.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum OffSessionOutcome {
    /// Paid. Deliver in `payment_succeeded`, not here.
    Succeeded(Payment),
    /// On its way; it may still fail, days later.
    Processing(Payment),
    /// Authorised, and waiting to be captured.
    RequiresCapture(Payment),
    /// The buyer's bank wants to ask the buyer. Send them to the checkout page of the same order.
    /// The same PaymentIntent waits there if they are signed in as this customer. A guest gets
    /// another one.
    ///
    /// The page offers the saved card if the buyer agreed to see it again, as where the page saves
    /// it (Stripe's `allow_redisplay` is `always`). The number of a card that only
    /// [`setup_future_usage`](super::PaymentRequest::setup_future_usage) saved must be typed again.
    AuthenticationRequired(Payment),
    /// Declined. The PaymentIntent stays open: the order's checkout page takes another card, or
    /// [another attempt](OffSessionCharge::attempt) is made later.
    Declined(Payment, Failure),
}

impl OffSessionOutcome {
    /// The order's PaymentIntent as it stands now.
    pub fn payment(&self) -> &Payment {
        match self {
            Self::Succeeded(payment)
            | Self::Processing(payment)
            | Self::RequiresCapture(payment)
            | Self::AuthenticationRequired(payment)
            | Self::Declined(payment, _) => payment,
        }
    }
}
