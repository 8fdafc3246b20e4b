//! The payment of a buyer who comes back. If it is settled, it is taken in, whether or not its
//! webhook has come.

use super::fingerprint::fingerprint;
use super::payment_error::PaymentError;
use super::state::Checkout;
use crate::fulfillment::IntentRecord;
use crate::secret::ClientSecret;
use crate::stripe::ApiError;
use crate::webhook::Payment;

impl Checkout {
    /// The PaymentIntent of a payment that this application made, for the buyer who knows its
    /// client secret.
    ///
    /// Returns `None` if the payment is unknown or the secret is another's: the caller cannot tell
    /// which.
    ///
    /// # Errors
    /// [`PaymentError::Api`], [`PaymentError::Inbox`].
    pub async fn retrieve_intent(
        &self,
        payment: &str,
        client_secret: &str,
    ) -> Result<Option<Payment>, PaymentError> {
        let mut gateway = self.look_up()?;
        let scope = self.scope(self.mode());
        let row = self
            .inner
            .fulfillment
            .intent_of_payment(&scope, payment)
            .await?;
        let account = match &row {
            // A wrong secret costs no call to Stripe.
            Some((_, row)) if !fits(row, payment, client_secret) => return Ok(None),
            Some((order, _)) => order.account.clone(),
            None if self.inner.fulfillment.survives_restart() => return Ok(None),
            // The inbox forgot at a restart. A buyer who has paid must not read that the payment is
            // unknown.
            None => {
                gateway = self.guess()?;
                None
            }
        };
        let (payment, whole) = match gateway
            .retrieve_intent_and_charge(payment, account.as_deref())
            .await
        {
            Ok(found) => found,
            Err(ApiError::InvalidRequest { status: 404, .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let known = payment
            .client_secret()
            .is_some_and(|secret| secret.matches(client_secret));
        if known {
            self.take_in_retrieved(&payment, &whole).await;
        }
        Ok(known.then_some(payment))
    }

    /// The payment of a buyer who comes back from Stripe's page with the session's id.
    ///
    /// Returns `None` if the session is not one of this application's. The id is too long to be
    /// guessed, so it is enough to see how the payment stands.
    ///
    /// # Errors
    /// [`PaymentError::Api`], [`PaymentError::Inbox`].
    pub async fn retrieve_session(&self, session: &str) -> Result<Option<Payment>, PaymentError> {
        let mut gateway = self.look_up()?;
        let scope = self.scope(self.mode());
        let fulfillment = &self.inner.fulfillment;
        let mut is_guess = false;
        let account = match fulfillment.intent_of_payment(&scope, session).await? {
            Some((order, _)) => order.account,
            None if fulfillment.survives_restart() => return Ok(None),
            // The inbox forgot at a restart. A buyer who has paid must not read that the payment is
            // unknown.
            None => {
                is_guess = true;
                gateway = self.guess()?;
                None
            }
        };
        let found = match gateway.retrieve_session(session, account.as_deref()).await {
            Ok(found) => found,
            Err(ApiError::InvalidRequest { status: 404, .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let payment = Payment::of_session(found.clone()).connected_account(account.as_deref());
        if is_guess && !self.bears_our_mark(&payment) {
            return Ok(None);
        }
        self.take_in_retrieved_session(&gateway, &found, &payment)
            .await;
        Ok(Some(payment))
    }
}

/// Whether a client secret may be this payment's. Only the row's present PaymentIntent has a hash
/// here; for an earlier one Stripe tells.
fn fits(row: &IntentRecord, payment: &str, client_secret: &str) -> bool {
    match &row.secret_hash {
        Some(known) if row.payment.as_deref() == Some(payment) => {
            ClientSecret::new(fingerprint(client_secret)).matches(known)
        }
        _ => true,
    }
}
