//! Refunds: they return money to the buyer.

use serde::Deserialize;

use super::operations::{Doing, Work};
use super::payment_error::PaymentError;
use super::state::Checkout;
use crate::amount::AmountError;
use crate::currency::Currency;
use crate::fulfillment::OperationKind;
use crate::marks::operation_of;
use crate::requests::{RefundRequest, RequestError};
use crate::stripe::{ApiError, Gateway, IdempotencyKey, Post, Unsuccessful, check_id};
use crate::webhook::{Refund, RefundStatus};

impl Checkout {
    /// Refunds a payment: all that is left of it, or a part.
    ///
    /// Each [reference](RefundRequest::reference) makes one refund. A retried call, a double click
    /// or a reload returns the refund that was made, with its current status. That also holds after
    /// the 24 hours for which Stripe remembers a request.
    ///
    /// The answer is the refund, not its final result. The money of a [`pending`] refund is on its
    /// way. The handler receives [`RefundSucceeded`] or [`RefundFailed`] later. Stripe never
    /// refunds more than was paid.
    ///
    /// After [`Api`](PaymentError::Api) or [`Inbox`](PaymentError::Inbox), call it again with the
    /// same request. Do not call it inside the handler. Instead let the handler write down the
    /// refund, and call this method afterwards.
    ///
    /// [`pending`]: crate::webhook::RefundStatus::Pending
    /// [`RefundSucceeded`]: crate::fulfillment::PaymentEvent::RefundSucceeded
    /// [`RefundFailed`]: crate::fulfillment::PaymentEvent::RefundFailed
    ///
    /// See <https://docs.stripe.com/api/refunds/create>.
    ///
    /// ```no_run
    /// # use stripe_checkout_core::{Checkout, requests::RefundRequest};
    /// # async fn give_back(checkout: &Checkout) -> Result<(), Box<dyn std::error::Error>> {
    /// let refund = checkout.refund(&RefundRequest::new("return-7", "pi_3MtwBwLkdIwHu7ix28a3tqPa")).await?;
    /// println!("{} is on its way", refund.amount());
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`PaymentError`]. It is [`NothingLeft`](PaymentError::NothingLeft),
    /// [`MoreThanLeft`](PaymentError::MoreThanLeft) or [`Disputed`](PaymentError::Disputed) if
    /// Stripe refuses the refund. After a refusal you can try again with the same reference.
    pub async fn refund(&self, request: &RefundRequest) -> Result<Refund, PaymentError> {
        let (checkout, request) = (self.clone(), request.clone());
        self.operate(async move { checkout.give_back(&request).await })
            .await
    }

    async fn give_back(&self, request: &RefundRequest) -> Result<Refund, PaymentError> {
        let gateway = self.gateway()?;
        request.validate()?;
        check_id(request.payment(), "pi_")?;
        let account = self
            .account_of(request.payment(), request.account())
            .await?;
        if let Some(amount) = request.partial_amount() {
            let currency = self
                .currency_of(request.payment(), account.as_deref())
                .await?;
            if currency != amount.currency() {
                // Stripe reads the amount as minor units of the payment's currency.
                let mixed = AmountError::CurrencyMismatch {
                    left: amount.currency(),
                    right: currency,
                };
                return Err(RequestError::Amount(mixed).into());
            }
        }
        let key = self.operation_key(
            OperationKind::Refund,
            request.reference(),
            account.as_deref(),
        );
        let post = request.post(&key.scope.application)?;
        let work = Refunding {
            gateway,
            request,
            application: &key.scope.application,
            account: account.as_deref(),
            post,
            livemode: self.mode().is_live(),
        };
        let doing = Doing {
            checkout: self,
            subject: Some(request.payment().to_owned()),
            amount: request.partial_amount(),
            form: work.post.form.clone(),
            key: key.clone(),
        };
        doing.run(&work).await.map_err(refused)
    }

    /// Returns the connected account of a payment: from its order's row, or else from the caller.
    pub(super) async fn account_of(
        &self,
        payment: &str,
        named: Option<&str>,
    ) -> Result<Option<String>, PaymentError> {
        let scope = self.scope(self.mode());
        let fulfillment = &self.inner.fulfillment;
        let row = fulfillment.intent_of_payment(&scope, payment).await?;
        Ok(match row {
            Some((order, _)) => order.account,
            None => named.map(str::to_owned),
        })
    }

    async fn currency_of(
        &self,
        payment: &str,
        account: Option<&str>,
    ) -> Result<Currency, PaymentError> {
        let scope = self.scope(self.mode());
        let fulfillment = &self.inner.fulfillment;
        if let Some((_, row)) = fulfillment.intent_of_payment(&scope, payment).await?
            && row.payment.as_deref() == Some(payment)
        {
            return Ok(row.asked.currency());
        }
        let gateway = self.gateway()?;
        Ok(gateway.retrieve_intent(payment, account).await?.currency())
    }
}

/// Translates a refusal of Stripe into our own error.
fn refused(error: PaymentError) -> PaymentError {
    let PaymentError::Api(ApiError::InvalidRequest { code, param, .. }) = &error else {
        return error;
    };
    match (code.as_deref(), param.as_deref()) {
        (Some("charge_already_refunded"), _) => PaymentError::NothingLeft,
        (Some("charge_disputed"), _) => PaymentError::Disputed,
        // Stripe has no code for this refusal.
        (None | Some("amount_too_large"), Some("amount")) => PaymentError::MoreThanLeft,
        _ => error,
    }
}

struct Refunding<'a> {
    gateway: &'a Gateway,
    request: &'a RefundRequest,
    application: &'a str,
    account: Option<&'a str>,
    post: Post,
    livemode: bool,
}

impl Refunding<'_> {
    fn seen(&self, refund: Refund) -> Refund {
        refund.asked_for(self.livemode, self.account)
    }
}

impl Work for Refunding<'_> {
    type Made = Refund;

    async fn send(&self, key: &IdempotencyKey) -> Result<(Refund, bool), Unsuccessful> {
        let (refund, replayed) = self
            .gateway
            .operate(&self.post.path, &self.post.form, key, self.account)
            .await?;
        Ok((self.seen(refund), replayed))
    }

    async fn find(&self) -> Result<Option<Refund>, PaymentError> {
        let mut refunds = self
            .gateway
            .refunds_of(self.request.payment(), self.account)
            .await?;
        refunds.retain(|refund| {
            operation_of(refund.metadata(), self.application) == Some(self.request.reference())
        });
        // A failed refund counts as made too: another refund has another reference.
        let moves_money = |refund: &Refund| {
            !matches!(
                refund.status(),
                Some(RefundStatus::Failed | RefundStatus::Canceled)
            )
        };
        let at = refunds.iter().position(moves_money).unwrap_or_default();
        let Some(found) = refunds.into_iter().nth(at) else {
            return Ok(None);
        };
        let asked = self.request.partial_amount();
        if asked.is_some_and(|asked| asked != found.amount()) {
            return Err(PaymentError::Differs);
        }
        Ok(Some(self.seen(found)))
    }

    async fn get(&self, id: &str) -> Result<Option<Refund>, ApiError> {
        check_id(id, "re_").or_else(|_| check_id(id, "pyr_"))?;
        let refund = self
            .gateway
            .fetch(&format!("/refunds/{id}"), &[], self.account)
            .await?;
        Ok(Some(self.seen(refund)))
    }

    fn id(refund: &Refund) -> &str {
        refund.id()
    }
}

impl Gateway {
    /// Returns all refunds of a payment, the newest first.
    pub(super) async fn refunds_of(
        &self,
        payment: &str,
        account: Option<&str>,
    ) -> Result<Vec<Refund>, ApiError> {
        #[derive(Deserialize)]
        struct List {
            data: Vec<Refund>,
            has_more: bool,
        }
        let mut refunds: Vec<Refund> = Vec::new();
        loop {
            let mut query = vec![("payment_intent", payment), ("limit", "100")];
            let last = refunds.last().map(|refund| refund.id().to_owned());
            if let Some(last) = &last {
                query.push(("starting_after", last));
            }
            let page: List = self.fetch("/refunds", &query, account).await?;
            let is_empty = page.data.is_empty();
            refunds.extend(page.data);
            if !page.has_more || is_empty {
                return Ok(refunds);
            }
        }
    }
}
