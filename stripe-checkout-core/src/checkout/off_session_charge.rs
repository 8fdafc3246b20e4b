//! Charges a saved payment method while the buyer is away.
//!
//! The charge confirms the order's own PaymentIntent, which the checkout page would also use. So an
//! order is paid only once, by the first of the two. If the buyer's bank asks for authentication,
//! the buyer finds the PaymentIntent waiting on the page. A PaymentIntent succeeds only once, no
//! matter how often it is confirmed.

use serde::Deserialize;

use super::operations::{Doing, Work};
use super::payment_error::PaymentError;
use super::state::Checkout;
use crate::error::InboxError;
use crate::fulfillment::{OperationKind, OrderKey};
use crate::marks::{CHARGE, Marks};
use crate::metadata::Metadata;
use crate::requests::{Customer, OffSessionCharge, OffSessionOutcome, check_reference};
use crate::stripe::{ApiError, Gateway, IdempotencyKey, Unsuccessful, check_id, form, is_id};
use crate::webhook::{Failure, Payment, PaymentStatus};

impl Checkout {
    /// Charges a saved payment method while the customer is away: for a renewal or an instalment.
    ///
    /// It also serves purchases with one click. An order is paid once. If it is already paid, in
    /// any way, that is the outcome, and nothing is charged.
    ///
    /// The library sends the same [attempt](OffSessionCharge::attempt) with the same payment method
    /// to the bank only once. That also holds after a crash, after a year, or after a restored
    /// backup: a second call returns the result of the attempt. The key needs read access to
    /// charges.
    ///
    /// Deliver in `payment_succeeded`, as for every payment. See
    /// <https://docs.stripe.com/payments/save-and-reuse?platform=web#charge-saved-payment-method>.
    ///
    /// ```no_run
    /// # use stripe_checkout_core::requests::{Customer, PaymentRequest};
    /// # use stripe_checkout_core::requests::{OffSessionCharge, OffSessionOutcome};
    /// # use stripe_checkout_core::{Amount, Checkout, Currency, PaymentError};
    /// # async fn renew(checkout: Checkout, ada: Customer) -> Result<(), PaymentError> {
    /// let renewal = PaymentRequest::new("subscription-7-may", Amount::new(900, Currency::EUR));
    /// match checkout.charge_off_session(&OffSessionCharge::new(renewal, &ada, "pm_123")).await? {
    ///     OffSessionOutcome::AuthenticationRequired(_) => {
    ///         println!("mail: please come to /checkout?order=subscription-7-may");
    ///     }
    ///     OffSessionOutcome::Declined(_, failure) => {
    ///         println!("mail: {}", failure.message_for_buyer());
    ///     }
    ///     _ => {}
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`PaymentError::NotTheirs`] if the payment method is not this customer's: nothing was
    /// charged. Otherwise the errors of [`create_intent`](Self::create_intent). After
    /// [`PaymentError::Api`] and [`PaymentError::Inbox`] the payment method may have been charged:
    /// call it again with the same attempt.
    pub async fn charge_off_session(
        &self,
        charge: &OffSessionCharge,
    ) -> Result<OffSessionOutcome, PaymentError> {
        // The inbox must learn what Stripe did, even if the caller goes away.
        let (checkout, charge) = (self.clone(), charge.clone());
        let task = self
            .inner
            .tasks
            .spawn(async move { checkout.charge(&charge).await });
        task.await
            .unwrap_or_else(|error| Err(InboxError::Unavailable(error.into()).into()))
    }

    async fn charge(&self, charge: &OffSessionCharge) -> Result<OffSessionOutcome, PaymentError> {
        let gateway = self.gateway()?;
        let customer = &charge.customer;
        let account = customer.account();
        let request = charge
            .request
            .clone()
            .customer(customer.id())
            .saving_nothing();
        // A customer belongs to one account, and so do the customer's payments.
        let request = match account {
            Some(account) => request.connected_account(account),
            None => request,
        };
        let order = self.order_key_on(request.reference(), account);
        // The order may be paid already, even with this card, which may be removed by now. Do not
        // charge it again.
        if let Some(paid) = self.settled(&order).await? {
            return Ok(outcome(paid));
        }
        check_reference(request.reference())?;
        let method = &*charge.payment_method;
        if !is_id(method, "") {
            return Err(PaymentError::NotTheirs);
        }
        let attempt = Attempt {
            gateway,
            customer,
            method,
            names: self.names(),
            order: &order.reference,
            number: charge.attempt.to_string(),
        };
        let key = self.operation_key(OperationKind::Charge, &attempt.reference(), account);
        let row = self.inner.fulfillment.operation(&key).await?;
        if let Some(id) = row.and_then(|row| row.result) {
            let made = attempt.get(&id).await?;
            return self.told(gateway, made, account).await;
        }
        if gateway.payment_method_of(customer, method).await?.is_none() {
            // The customer may have removed it after this attempt.
            return match attempt.find().await? {
                Some(made) => self.told(gateway, made, account).await,
                None => Err(PaymentError::NotTheirs),
            };
        }
        let marks = if request.captures_manually() { 2 } else { 1 };
        request
            .intent_params(&self.inner.application)?
            .check_room(marks)?;
        let open = match self.create_intent(&request).await {
            Ok(open) => open,
            Err(error @ (PaymentError::AlreadyPaid | PaymentError::Processing)) => {
                return self.settled(&order).await?.map(outcome).ok_or(error);
            }
            Err(error) => return Err(error),
        };
        let work = Charging {
            form: form([("off_session", "true"), ("payment_method", method)]),
            open: open.id(),
            attempt,
        };
        let doing = Doing {
            checkout: self,
            key,
            // The order may get another PaymentIntent, but the attempt stays the same.
            subject: None,
            amount: Some(request.amount()),
            form: work.form.clone(),
        };
        match doing.run(&work).await {
            Ok(made) => self.told(gateway, made, account).await,
            // The buyer is confirming it at this moment.
            Err(PaymentError::Api(ApiError::InvalidRequest {
                code: Some(code), ..
            })) if code == "payment_intent_unexpected_state" => {
                let made = Charged::without_charge(open.id(), None);
                self.told(gateway, made, account).await
            }
            Err(error) => Err(error),
        }
    }

    /// Returns the result of an attempt, and receives the payment if it is settled.
    async fn told(
        &self,
        gateway: &Gateway,
        made: Charged,
        account: Option<&str>,
    ) -> Result<OffSessionOutcome, PaymentError> {
        let gateway = gateway.to_the_end();
        let told = gateway.retrieve_intent_and_charge(&made.payment, account);
        let (payment, whole) = told.await?;
        if is_settled(&payment) {
            self.take_in_retrieved(&payment, &whole).await;
            return Ok(outcome(payment));
        }
        Ok(match made.failure {
            Some(failure) => failed(payment, failure),
            None => outcome(payment),
        })
    }

    /// Returns the payment of an order that is paid, or whose payment is on its way.
    async fn settled(&self, order: &OrderKey) -> Result<Option<Payment>, PaymentError> {
        let Some(row) = self.inner.fulfillment.intent(order).await? else {
            return Ok(None);
        };
        let Some(id) = row.paid_by.or(row.payment) else {
            return Ok(None);
        };
        let gateway = self.gateway()?;
        let retrieved = gateway
            .retrieve_intent_and_charge(&id, order.account.as_deref())
            .await;
        let (payment, whole) = match retrieved {
            Ok(found) => found,
            Err(ApiError::InvalidRequest { status: 404, .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        if is_settled(&payment) {
            self.take_in_retrieved(&payment, &whole).await;
            return Ok(Some(payment));
        }
        Ok(None)
    }
}

/// One attempt to charge a customer's payment method for an order.
struct Attempt<'a> {
    gateway: &'a Gateway,
    customer: &'a Customer,
    method: &'a str,
    /// All names of the application, present and former.
    names: Vec<&'a str>,
    order: &'a str,
    /// The caller's number of the attempt.
    number: String,
}

/// The result of an attempt.
struct Charged {
    /// The id of the charge, or of the PaymentIntent if Stripe made no charge.
    id: String,
    payment: String,
    failure: Option<Failure>,
}

impl Charged {
    fn without_charge(payment: &str, failure: Option<Failure>) -> Self {
        Self {
            id: payment.to_owned(),
            payment: payment.to_owned(),
            failure,
        }
    }
}

impl Attempt<'_> {
    /// Returns the reference of the attempt's row. Only the order's reference may contain a `#`.
    fn reference(&self) -> String {
        let (customer, method) = (self.customer.id(), self.method);
        format!("{}#{}#{customer}#{method}", self.order, self.number)
    }

    /// Searches the customer's charges for a charge of this attempt, or one that paid the order.
    ///
    /// A charge has the metadata that its PaymentIntent had when the charge was made.
    async fn find(&self) -> Result<Option<Charged>, ApiError> {
        let account = self.customer.account();
        let mut charges = self.gateway.charges_of(self.customer).await?;
        charges.retain(|charge| {
            let order = charge.metadata.order_id();
            order == Some(self.order)
                && Marks::of(&charge.metadata)
                    .is_some_and(|marks| self.names.contains(&marks.application))
        });
        for charge in &charges {
            if !charge.is_failed()
                && let Some(payment) = &charge.payment_intent
                && is_settled(&self.gateway.retrieve_intent(payment, account).await?)
            {
                return Ok(charge.charged());
            }
        }
        let is_mine = |charge: &&Charge| {
            charge.metadata.get(CHARGE) == Some(&self.number)
                && charge.payment_method.as_deref() == Some(self.method)
        };
        Ok(charges.iter().find(is_mine).and_then(Charge::charged))
    }

    async fn get(&self, id: &str) -> Result<Charged, ApiError> {
        if id.starts_with("pi_") {
            return Ok(Charged::without_charge(id, None));
        }
        check_id(id, "ch_").or_else(|_| check_id(id, "py_"))?;
        let path = format!("/charges/{id}");
        let account = self.customer.account();
        let charge: Charge = self.gateway.fetch(&path, &[], account).await?;
        charge.charged().ok_or(ApiError::UnexpectedAnswer {
            status: 200,
            request_id: None,
        })
    }
}

/// One attempt on the order's open PaymentIntent.
struct Charging<'a> {
    attempt: Attempt<'a>,
    open: &'a str,
    form: String,
}

impl Work for Charging<'_> {
    type Made = Charged;

    async fn send(&self, key: &IdempotencyKey) -> Result<(Charged, bool), Unsuccessful> {
        let attempt = &self.attempt;
        let (gateway, account) = (attempt.gateway, attempt.customer.account());
        // A confirmation takes no metadata: the charge takes it from the PaymentIntent. Two
        // concurrent attempts may swap their marks, but the PaymentIntent still succeeds only once.
        let mark = [(CHARGE, &*attempt.number)];
        gateway.add_metadata(self.open, &mark, account).await?;
        let confirmed = gateway.confirm_off_session(self.open, &self.form, key, account);
        match confirmed.await {
            Ok((payment, replayed)) => {
                let id = payment.latest_charge().unwrap_or(self.open).to_owned();
                let made = Charged {
                    id,
                    ..Charged::without_charge(self.open, None)
                };
                Ok((made, replayed))
            }
            // A decline is a final answer: the next attempt has another number.
            Err(Unsuccessful {
                error:
                    ApiError::Declined {
                        code, decline_code, ..
                    },
                ..
            }) => {
                let found = attempt.find().await.ok().flatten();
                let failure = Failure::new(Some(code), decline_code);
                let unseen = || Charged::without_charge(self.open, Some(failure));
                Ok((found.unwrap_or_else(unseen), false))
            }
            Err(unsuccessful) => Err(unsuccessful),
        }
    }

    async fn find(&self) -> Result<Option<Charged>, PaymentError> {
        Ok(self.attempt.find().await?)
    }

    async fn get(&self, id: &str) -> Result<Option<Charged>, ApiError> {
        self.attempt.get(id).await.map(Some)
    }

    fn id(made: &Charged) -> &str {
        &made.id
    }
}

/// The fields of a charge that show an attempt. See <https://docs.stripe.com/api/charges/object>.
#[derive(Deserialize)]
struct Charge {
    id: String,
    status: String,
    #[serde(default)]
    metadata: Metadata,
    payment_intent: Option<String>,
    payment_method: Option<String>,
    failure_code: Option<String>,
    outcome: Option<ChargeOutcome>,
}

#[derive(Deserialize)]
struct ChargeOutcome {
    reason: Option<String>,
}

impl Charge {
    fn is_failed(&self) -> bool {
        self.status == "failed"
    }

    fn charged(&self) -> Option<Charged> {
        let reason = self.outcome.as_ref().and_then(|told| told.reason.clone());
        let failure = || Failure::new(self.failure_code.clone(), reason);
        Some(Charged {
            id: self.id.clone(),
            payment: self.payment_intent.clone()?,
            failure: self.is_failed().then(failure),
        })
    }
}

impl Gateway {
    /// Returns all charges of a customer, the newest first.
    async fn charges_of(&self, customer: &Customer) -> Result<Vec<Charge>, ApiError> {
        #[derive(Deserialize)]
        struct List {
            data: Vec<Charge>,
            has_more: bool,
        }
        let mut charges: Vec<Charge> = Vec::new();
        loop {
            let last = charges.last().map(|charge| charge.id.clone());
            let mut query = vec![("customer", customer.id()), ("limit", "100")];
            query.extend(last.as_deref().map(|last| ("starting_after", last)));
            let page: List = self.fetch("/charges", &query, customer.account()).await?;
            let is_last = !page.has_more || page.data.is_empty();
            charges.extend(page.data);
            if is_last {
                return Ok(charges);
            }
        }
    }
}

fn is_settled(payment: &Payment) -> bool {
    matches!(
        payment.status(),
        PaymentStatus::Succeeded | PaymentStatus::Processing | PaymentStatus::RequiresCapture
    )
}

fn outcome(payment: Payment) -> OffSessionOutcome {
    match payment.status() {
        PaymentStatus::Succeeded => OffSessionOutcome::Succeeded(payment),
        PaymentStatus::RequiresCapture => OffSessionOutcome::RequiresCapture(payment),
        PaymentStatus::RequiresAction => OffSessionOutcome::AuthenticationRequired(payment),
        PaymentStatus::RequiresPaymentMethod | PaymentStatus::Canceled => {
            let failure = payment.last_error().cloned().unwrap_or_default();
            failed(payment, failure)
        }
        _ => OffSessionOutcome::Processing(payment),
    }
}

fn failed(payment: Payment, failure: Failure) -> OffSessionOutcome {
    let asks_the_buyer = [failure.code(), failure.decline_code()]
        .into_iter()
        .flatten()
        .any(|code| code == "authentication_required");
    match asks_the_buyer {
        true => OffSessionOutcome::AuthenticationRequired(payment),
        false => OffSessionOutcome::Declined(payment, failure),
    }
}
