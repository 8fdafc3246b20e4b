//! Opens the PaymentIntent of an order, for the merchant's own page.

use super::{At, Created, Opens};
use crate::checkout::fingerprint::fingerprint;
use crate::checkout::payment_error::PaymentError;
use crate::checkout::receipt;
use crate::checkout::state::Checkout;
use crate::fulfillment::IntentRecord;
use crate::requests::{IntentParams, PaymentRequest};
use crate::stripe::ApiError;
use crate::webhook::Payment;

impl Checkout {
    /// Creates the PaymentIntent of an order, or returns the open one, updated if the order
    /// changed. It expires an open Checkout Session of the order first.
    ///
    /// # Errors
    /// [`PaymentError`]; [`AlreadyPaid`](PaymentError::AlreadyPaid) and
    /// [`Processing`](PaymentError::Processing) if there is nothing to pay (any more).
    pub async fn create_intent(&self, request: &PaymentRequest) -> Result<Payment, PaymentError> {
        if let Some(minimum) = request.amount().below_minimum() {
            tracing::warn!(order = request.reference(), amount = %request.amount(), %minimum, "below Stripe's minimum, if this is the settlement currency");
        }
        // Of what the merchant asked for, also where Stripe refuses the receipt's address.
        let asked = request.intent_params(&self.inner.application)?;
        let asked = fingerprint(&asked.create_form()?);
        let sent = receipt::sendable(request);
        let opened = self.open_intent(&sent, &asked).await;
        match receipt::refused(&sent, &opened) {
            Some(sent) => self.open_intent(&sent, &asked).await,
            None => opened,
        }
    }

    async fn open_intent(
        &self,
        request: &PaymentRequest,
        asked: &str,
    ) -> Result<Payment, PaymentError> {
        self.check(self.payments()?, request)?;
        let params = request.intent_params(&self.inner.application)?;
        let form = params.create_form()?;
        let kind = Intent { params, form };
        self.open_payment(&kind, request, asked).await
    }
}

struct Intent {
    params: IntentParams,
    form: String,
}

impl Opens for Intent {
    type Open = Payment;

    fn params(&self) -> &IntentParams {
        &self.params
    }

    async fn create(
        &self,
        at: &At<'_>,
        row: &IntentRecord,
    ) -> Result<Created<Payment>, PaymentError> {
        let key = at.key("create", row, self.form.as_bytes());
        let created = at.gateway.create(&self.params, &key, at.account());
        let (open, replayed) = created.await?;
        Ok(Created {
            open,
            is_current: !replayed,
        })
    }

    fn has_amount(&self, open: &Payment) -> bool {
        open.amount() == self.params.amount()
    }

    fn can_update(&self, open: &Payment) -> bool {
        self.params.can_follow(open)
    }

    async fn update(
        &self,
        at: &At<'_>,
        row: &IntentRecord,
        open: &Payment,
    ) -> Result<Option<Payment>, PaymentError> {
        // Back to an earlier price is another update and not a repeat of the first one, and an
        // update that is made twice does no harm: so each update has a key of its own.
        let nonce = fastrand::u128(..).to_be_bytes();
        let key = at.key("update", row, &nonce);
        let params = &self.params;
        match at
            .gateway
            .update_intent(open.id(), params, &key, at.account())
            .await
        {
            Ok(updated) => Ok(Some(updated)),
            Err(ApiError::InvalidRequest {
                code: Some(code), ..
            }) if code == "payment_intent_unexpected_state" => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}
