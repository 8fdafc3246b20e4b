//! The end of open payments.

use super::api_error::ApiError;
use super::gateway::Gateway;
use super::idempotency::IdempotencyKey;
use crate::fulfillment::{Cancel, is_session};
use crate::webhook::Payment;

impl Gateway {
    /// Cancels a PaymentIntent that waits for its buyer. It leaves a payment that is authorised, on
    /// its way or paid, and returns it.
    pub(crate) async fn cancel_unpaid(
        &self,
        id: &str,
        key: &IdempotencyKey,
        account: Option<&str>,
    ) -> Result<Payment, ApiError> {
        let found = self.retrieve_intent(id, account).await?;
        match found.is_unpaid() {
            true => self.cancel_intent(id, key, account).await,
            false => Ok(found),
        }
    }

    /// Closes an open payment: cancels its PaymentIntent or expires its Checkout Session.
    /// Authorised money stays authorised.
    pub(crate) async fn close(
        &self,
        id: &str,
        key: &IdempotencyKey,
        account: Option<&str>,
    ) -> Result<(), ApiError> {
        if is_session(id) {
            self.expire_session(id, key, account).await?;
        } else {
            self.cancel_unpaid(id, key, account).await?;
        }
        Ok(())
    }

    /// For the inbox, which ends an order that was declined too often.
    pub(crate) fn into_cancel(self) -> Cancel {
        Box::new(move |id, account| {
            let gateway = self.clone();
            Box::pin(async move {
                // To cancel twice does no harm, so the key is nothing to remember.
                let key = IdempotencyKey::once();
                match gateway.close(&id, &key, account.as_deref()).await {
                    // Paid in this moment, or canceled already.
                    Ok(()) | Err(ApiError::InvalidRequest { .. }) => Ok(()),
                    Err(error) => Err(error.into()),
                }
            })
        })
    }
}
