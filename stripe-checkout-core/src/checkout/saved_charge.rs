//! Charges a saved payment method while the buyer is away.
//!
//! It is the order's own PaymentIntent that is confirmed, the one that its page would give to the buyer: so an order is paid once, by whoever is first, and a buyer
//! whose bank wants to ask him finds it waiting on the page. A PaymentIntent succeeds once, however often it is confirmed.

use super::Checkout;
use crate::error::{ApiError, InboxError, IntentError};
use crate::fulfillment::OrderKey;
use crate::intent::{IdempotencyKey, Operation, SavedCharge, SavedChargeOutcome, form};
use crate::webhook::{Payment, PaymentStatus};

impl Checkout {
    /// Charges a payment method that a customer saved, while he is away: a renewal, a part that is due, one click.
    ///
    /// The order of the request is paid once: if it is paid already, in whichever way, that is the outcome, and nothing is charged. Called again with the same
    /// [attempt](SavedCharge::attempt), also after a crash or a lost answer, it tells how that attempt went.
    ///
    /// Deliver in the hook `payment_succeeded`, as for every payment. See <https://docs.stripe.com/payments/save-and-reuse?platform=web#charge-saved-payment-method>.
    ///
    /// ```no_run
    /// # use stripe_checkout_core::intent::{Customer, PaymentRequest, SavedCharge, SavedChargeOutcome};
    /// # use stripe_checkout_core::{Amount, Checkout, Currency, IntentError};
    /// # async fn renew(checkout: Checkout, ada: Customer) -> Result<(), IntentError> {
    /// let renewal = PaymentRequest::new("subscription-7-may", Amount::new(900, Currency::EUR));
    /// match checkout.charge_saved(&SavedCharge::new(renewal, &ada, "pm_123")).await? {
    ///     SavedChargeOutcome::AuthenticationRequired(_) => println!("mail: please come to /checkout?order=subscription-7-may"),
    ///     SavedChargeOutcome::Declined(_, failure) => println!("mail: {}", failure.message_for_buyer()),
    ///     _ => {}
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`IntentError::NotTheirs`] if the payment method is not this customer's: nothing was charged. Else as [`create_intent`](Self::create_intent); after
    /// [`IntentError::Api`] and [`IntentError::Inbox`] it is not known whether it was charged: call it again with the same attempt.
    pub async fn charge_saved(
        &self,
        charge: &SavedCharge,
    ) -> Result<SavedChargeOutcome, IntentError> {
        // What Stripe did must be told to the inbox, even if whoever asked goes away.
        let (checkout, charge) = (self.clone(), charge.clone());
        let task = self
            .inner
            .tasks
            .spawn(async move { checkout.charge(&charge).await });
        task.await
            .unwrap_or_else(|error| Err(InboxError::Unavailable(error.into()).into()))
    }

    async fn charge(&self, charge: &SavedCharge) -> Result<SavedChargeOutcome, IntentError> {
        let gateway = &self.payments()?.gateway;
        let customer = &charge.customer;
        let account = customer.account();
        let request = charge
            .request
            .clone()
            .customer(customer.id())
            .saving_nothing();
        // A customer is one of his account's, and so is what he pays.
        let request = match account {
            Some(account) => request.on_account(account),
            None => request,
        };
        let order = self.order_key_on(request.reference(), account);
        // Paid already, perhaps with this very card, which may be gone since: not to be asked again.
        if let Some(paid) = self.settled(&order).await? {
            return Ok(outcome(paid));
        }
        let theirs = gateway.payment_method_of(customer, &charge.payment_method);
        let Some(method) = theirs.await? else {
            return Err(IntentError::NotTheirs);
        };
        let open = match self.create_intent(&request).await {
            Ok(open) => open,
            Err(error @ (IntentError::AlreadyPaid | IntentError::Processing)) => {
                return self.settled(&order).await?.map(outcome).ok_or(error);
            }
            Err(error) => return Err(error),
        };
        let form = form(&[("off_session", "true"), ("payment_method", method.id())])?;
        let operation = Operation {
            name: &format!("confirm {}", open.id()),
            application: &order.scope.application,
            mode: order.scope.mode,
            account,
            reference: &order.reference,
            attempt: charge.attempt,
        };
        let key = IdempotencyKey::derive(&operation, form.as_bytes());
        let confirm = async |key| {
            gateway
                .confirm_off_session(open.id(), &form, key, account)
                .await
        };
        let answer = match confirm(&key).await {
            // Where Stripe failed in the middle it can only say so again under this key. Another one is safe: a PaymentIntent succeeds once.
            Err(ApiError::Unavailable { replayed: true, .. }) => {
                confirm(&IdempotencyKey::once()).await
            }
            answer => answer,
        };
        match answer {
            Ok((payment, whole)) => {
                self.take_in_retrieved(&payment, &whole).await;
                Ok(outcome(payment))
            }
            Err(ApiError::Declined { code, .. }) => {
                let (payment, _) = gateway
                    .retrieve_intent_and_charge(open.id(), account)
                    .await?;
                if !matches!(
                    payment.status(),
                    PaymentStatus::RequiresPaymentMethod | PaymentStatus::RequiresConfirmation
                ) {
                    // The buyer has been quicker since.
                    return Ok(outcome(payment));
                }
                Ok(match &*code {
                    "authentication_required" => {
                        SavedChargeOutcome::AuthenticationRequired(payment)
                    }
                    _ => declined(payment),
                })
            }
            // Somebody else confirmed it in this moment.
            Err(ApiError::InvalidRequest {
                code: Some(code), ..
            }) if code == "payment_intent_unexpected_state" => {
                let (payment, whole) = gateway
                    .retrieve_intent_and_charge(open.id(), account)
                    .await?;
                self.take_in_retrieved(&payment, &whole).await;
                Ok(outcome(payment))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The payment of an order that is paid, or on its way.
    async fn settled(&self, order: &OrderKey) -> Result<Option<Payment>, IntentError> {
        let Some(row) = self.inner.fulfillment.intent(order).await? else {
            return Ok(None);
        };
        let Some(id) = row.paid_by.or(row.payment) else {
            return Ok(None);
        };
        let gateway = &self.payments()?.gateway;
        let retrieved = gateway
            .retrieve_intent_and_charge(&id, order.account.as_deref())
            .await;
        let (payment, whole) = match retrieved {
            Ok(found) => found,
            Err(ApiError::InvalidRequest { status: 404, .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let settled = matches!(
            payment.status(),
            PaymentStatus::Succeeded | PaymentStatus::Processing | PaymentStatus::RequiresCapture
        );
        if settled {
            self.take_in_retrieved(&payment, &whole).await;
        }
        Ok(settled.then_some(payment))
    }
}

fn outcome(payment: Payment) -> SavedChargeOutcome {
    match payment.status() {
        PaymentStatus::Succeeded => SavedChargeOutcome::Succeeded(payment),
        PaymentStatus::RequiresCapture => SavedChargeOutcome::RequiresCapture(payment),
        PaymentStatus::RequiresAction => SavedChargeOutcome::AuthenticationRequired(payment),
        PaymentStatus::RequiresPaymentMethod | PaymentStatus::Canceled => declined(payment),
        _ => SavedChargeOutcome::Processing(payment),
    }
}

fn declined(payment: Payment) -> SavedChargeOutcome {
    let failure = payment.last_error().cloned().unwrap_or_default();
    SavedChargeOutcome::Declined(payment, failure)
}
