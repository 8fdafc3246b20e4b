//! Opens the Checkout Session of an order, for Stripe's own page. A session cannot be changed, so
//! other parameters make another session, after the first one is expired.

use super::{At, Created, Opens};
use crate::checkout::fingerprint::fingerprint;
use crate::checkout::payment_error::PaymentError;
use crate::checkout::receipt;
use crate::checkout::state::Checkout;
use crate::fulfillment::IntentRecord;
use crate::requests::{HostedCheckout, IntentParams, PaymentRequest, SessionParams};
use crate::webhook::CheckoutSession;

impl Checkout {
    /// Creates the Checkout Session of an order, or returns the one that is open for it. If the
    /// order has an open PaymentIntent, or a session with other parameters, that one is closed
    /// first: an order is paid once, on whichever page.
    ///
    /// # Errors
    /// [`PaymentError`]; [`AlreadyPaid`](PaymentError::AlreadyPaid) and
    /// [`Processing`](PaymentError::Processing) if there is nothing to pay (any more);
    /// [`NoPricing`](PaymentError::NoPricing) also without
    /// [`hosted_checkout`](crate::CheckoutBuilder::hosted_checkout).
    pub async fn create_session(
        &self,
        request: &PaymentRequest,
    ) -> Result<CheckoutSession, PaymentError> {
        let payments = self.payments()?;
        let hosted = payments.hosted.as_ref().ok_or(PaymentError::NoPricing)?;
        // Of what the merchant asked for, also where Stripe refuses the receipt's address.
        let asked = hosted.params(request, &self.inner.application)?;
        let asked = fingerprint(&asked.form()?);
        let sent = receipt::sendable(request);
        let opened = self.open_session(hosted, &sent, &asked).await;
        match receipt::refused(&sent, &opened) {
            Some(sent) => self.open_session(hosted, &sent, &asked).await,
            None => opened,
        }
    }

    async fn open_session(
        &self,
        hosted: &HostedCheckout,
        request: &PaymentRequest,
        asked: &str,
    ) -> Result<CheckoutSession, PaymentError> {
        self.check(self.payments()?, request)?;
        let kind = hosted.params(request, &self.inner.application)?;
        self.open_payment(&kind, request, asked).await
    }
}

impl Opens for SessionParams {
    type Open = CheckoutSession;

    fn params(&self) -> &IntentParams {
        self.intent()
    }

    async fn create(
        &self,
        at: &At<'_>,
        row: &IntentRecord,
    ) -> Result<Created<CheckoutSession>, PaymentError> {
        let request = self.post(row.attempt)?;
        let key = at.key("create-session", row, request.form.as_bytes());
        let created = at.gateway.create_session(&request, &key, at.account());
        Ok(Created {
            open: created.await?,
            is_current: true,
        })
    }

    /// A session's lines are in the fingerprint, and nothing changes them.
    fn has_amount(&self, _: &CheckoutSession) -> bool {
        true
    }

    fn can_update(&self, _: &CheckoutSession) -> bool {
        false
    }

    async fn update(
        &self,
        _: &At<'_>,
        _: &IntentRecord,
        _: &CheckoutSession,
    ) -> Result<Option<CheckoutSession>, PaymentError> {
        Ok(None)
    }
}
