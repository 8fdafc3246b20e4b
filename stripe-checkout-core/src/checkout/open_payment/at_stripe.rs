//! An order's PaymentIntent or Checkout Session, as Stripe knows it now.

use crate::checkout::fingerprint::fingerprint;
use crate::checkout::payment_error::PaymentError;
use crate::fulfillment::is_session;
use crate::stripe::{ApiError, Gateway};
use crate::webhook::{
    CheckoutSession, Payment, PaymentStatus, SessionPaymentStatus, SessionStatus,
};

/// Whether a buyer can still pay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::checkout) enum Standing {
    /// The buyer can pay.
    Open,
    /// The buyer can never pay again: it is canceled, expired or failed.
    Over,
}

/// A PaymentIntent or a Checkout Session.
pub(in crate::checkout) trait OpenPayment: Send + Sync + Sized {
    fn id(&self) -> &str;

    /// How it stands.
    ///
    /// # Errors
    /// [`PaymentError::AlreadyPaid`] or [`PaymentError::Processing`]: there is nothing to pay.
    fn standing(&self) -> Result<Standing, PaymentError>;

    /// The fingerprint of the client secret with which a buyer comes back.
    fn secret_hash(&self) -> Option<String>;

    /// The object, if it is of this kind.
    fn of_kind(found: AtStripe) -> Option<Self>;
}

/// The object at Stripe under the id that an order's row names.
pub(in crate::checkout) enum AtStripe {
    Intent(Payment),
    Session(CheckoutSession),
}

impl AtStripe {
    pub(in crate::checkout) async fn retrieve(
        gateway: &Gateway,
        id: &str,
        account: Option<&str>,
    ) -> Result<Self, ApiError> {
        Ok(match is_session(id) {
            true => Self::Session(gateway.retrieve_session(id, account).await?),
            false => Self::Intent(gateway.retrieve_intent(id, account).await?),
        })
    }

    pub(in crate::checkout) fn standing(&self) -> Result<Standing, PaymentError> {
        match self {
            Self::Intent(payment) => payment.standing(),
            Self::Session(session) => session.standing(),
        }
    }
}

impl OpenPayment for Payment {
    fn id(&self) -> &str {
        self.id()
    }

    fn standing(&self) -> Result<Standing, PaymentError> {
        match self.status() {
            PaymentStatus::Succeeded => Err(PaymentError::AlreadyPaid),
            PaymentStatus::Processing | PaymentStatus::RequiresCapture => {
                Err(PaymentError::Processing)
            }
            PaymentStatus::Canceled => Ok(Standing::Over),
            _ => Ok(Standing::Open),
        }
    }

    fn secret_hash(&self) -> Option<String> {
        self.client_secret()
            .map(|secret| fingerprint(secret.expose()))
    }

    fn of_kind(found: AtStripe) -> Option<Self> {
        match found {
            AtStripe::Intent(payment) => Some(payment),
            AtStripe::Session(_) => None,
        }
    }
}

impl OpenPayment for CheckoutSession {
    fn id(&self) -> &str {
        self.id()
    }

    fn standing(&self) -> Result<Standing, PaymentError> {
        match (self.payment_status(), self.status()) {
            (SessionPaymentStatus::Paid, _) => Err(PaymentError::AlreadyPaid),
            (_, Some(SessionStatus::Open)) => Ok(Standing::Open),
            (_, Some(SessionStatus::Expired)) => Ok(Standing::Over),
            (SessionPaymentStatus::NoPaymentRequired, _) => Err(PaymentError::AlreadyPaid),
            // The session is complete and not paid. Only its PaymentIntent knows whether the
            // payment is on its way or has failed.
            _ => match self.intent().map(|intent| &intent.status) {
                Some(
                    PaymentStatus::RequiresPaymentMethod
                    | PaymentStatus::Canceled
                    | PaymentStatus::RequiresConfirmation,
                ) => Ok(Standing::Over),
                Some(PaymentStatus::Succeeded) => Err(PaymentError::AlreadyPaid),
                _ => Err(PaymentError::Processing),
            },
        }
    }

    /// A buyer comes back from Stripe's page with the session's id alone.
    fn secret_hash(&self) -> Option<String> {
        None
    }

    fn of_kind(found: AtStripe) -> Option<Self> {
        match found {
            AtStripe::Session(session) => Some(session),
            AtStripe::Intent(_) => None,
        }
    }
}
