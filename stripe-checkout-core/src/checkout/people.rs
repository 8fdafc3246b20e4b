//! The merchant's users as Stripe's customers, and what they saved. Who a user is the merchant's own code says, and nobody else.

use std::borrow::Cow;

use super::operations::{Doing, Work};
use super::payment_error::PaymentError;
use super::receipt;
use super::state::Checkout;
use crate::fulfillment::OperationKind;
use crate::marks::with_application;
use crate::requests::{
    Customer, CustomerRequest, RequestError, SetupFutureUsage, SetupRequest, check_reference,
};
use crate::secret::ClientSecret;
use crate::stripe::{
    ApiError, Gateway, IdempotencyKey, Operation, Unsuccessful, customer_form, form, metadata_name,
};
use crate::webhook::{PaymentMethod, SetupIntent};

impl Checkout {
    /// Stripe's customer for one of the merchant's users: found, or made. One user is one customer, also under concurrent calls, after a crash, and when Stripe's own
    /// memory of the request is gone. One that was deleted in the Dashboard is made anew.
    ///
    /// See <https://docs.stripe.com/api/customers>.
    ///
    /// # Errors
    /// [`PaymentError`].
    pub async fn customer(&self, request: &CustomerRequest) -> Result<Customer, PaymentError> {
        let mut request = request.clone();
        if request.has_bad_email() {
            tracing::warn!(user = request.user(), "{NO_EMAIL}");
            request = request.without_email();
        }
        request.validate()?;
        let checkout = self.clone();
        self.operate(async move { checkout.one_customer(&request).await })
            .await
    }

    async fn one_customer(&self, request: &CustomerRequest) -> Result<Customer, PaymentError> {
        let payments = self.payments()?;
        let (gateway, refused) = (self.gateway()?, &payments.refused_emails);
        // The application's first name, as in the inbox: under another one the user would become another customer.
        let application = &self.inner.stored_as;
        let form = customer_form(application, request.user());
        let doing = Doing {
            checkout: self,
            key: self.operation_key(OperationKind::Customer, request.user(), request.account()),
            subject: None,
            amount: None,
            // What changes in a user's life is not in it: an address is no other customer.
            form: form.clone(),
        };
        let work = MakeCustomer {
            gateway,
            application,
            request,
            form,
        };
        let customer = doing.run(&work).await?;
        let email = request.address();
        let sendable = match refused.has(email) {
            true => Cow::Owned(request.clone().without_email()),
            false => Cow::Borrowed(request),
        };
        match told(gateway, &sendable, &customer).await {
            Err(error) if receipt::is_refused(&error) => {
                let request_id = error.request_id();
                tracing::warn!(user = request.user(), request_id, "{NO_EMAIL}");
                refused.add(email);
                let request = request.clone().without_email();
                Ok(told(gateway, &request, &customer).await?)
            }
            told => Ok(told?),
        }
    }

    /// The payment methods that a customer saved, the newest first; at most 500 of them.
    ///
    /// See <https://docs.stripe.com/api/payment_methods/customer_list>.
    ///
    /// # Errors
    /// [`PaymentError::Api`], [`PaymentError::NoPricing`].
    pub async fn payment_methods(
        &self,
        customer: &Customer,
    ) -> Result<Vec<PaymentMethod>, PaymentError> {
        Ok(self.gateway()?.payment_methods(customer).await?)
    }

    /// Takes a payment method from this customer: it can never be charged again. Who asks is the customer himself, or somebody who may speak for him: that is for the
    /// caller to make sure. Another customer's payment method is never touched, whatever its id.
    ///
    /// See <https://docs.stripe.com/api/payment_methods/detach>.
    ///
    /// # Errors
    /// [`PaymentError::NotTheirs`] if it is not this customer's, or not any more;
    /// [`PaymentError::Api`].
    pub async fn detach(
        &self,
        customer: &Customer,
        payment_method: &str,
    ) -> Result<PaymentMethod, PaymentError> {
        let gateway = self.gateway()?;
        let method = gateway
            .payment_method_of(customer, payment_method)
            .await?
            .ok_or(PaymentError::NotTheirs)?;
        Ok(gateway.detach(customer, &method).await?)
    }

    /// A [customer session](https://docs.stripe.com/api/customer_sessions): with its client secret, good for half an hour, the Payment Element in the customer's own
    /// browser shows the payment methods that he saved, offers to save a new one, and to remove one.
    ///
    /// # Security warning
    /// Whoever has it sees and uses what the customer saved. Give it to nobody but the customer.
    ///
    /// # Errors
    /// [`PaymentError::Api`], [`PaymentError::NoPricing`].
    pub async fn customer_session(
        &self,
        customer: &Customer,
    ) -> Result<ClientSecret, PaymentError> {
        let usage = Some(SetupFutureUsage::OffSession);
        let gateway = self.gateway()?;
        Ok(gateway.customer_session(customer, usage).await?)
    }

    /// Opens the customer session of a payment that sets
    /// [`setup_future_usage`](crate::requests::PaymentRequest::setup_future_usage).
    ///
    /// Stripe.js refuses a usage in both places, so this session names none.
    ///
    /// # Errors
    /// As for [`customer_session`](Self::customer_session).
    pub async fn customer_session_of_saving_payment(
        &self,
        customer: &Customer,
    ) -> Result<ClientSecret, PaymentError> {
        let gateway = self.gateway()?;
        Ok(gateway.customer_session(customer, None).await?)
    }

    /// Makes the SetupIntent with which a customer's browser saves a payment method without paying.
    ///
    /// It moves no money, and one too many does no harm; so there is no row for it, and the same reference gives the same SetupIntent for a day.
    ///
    /// See <https://docs.stripe.com/api/setup_intents/create>.
    ///
    /// # Errors
    /// [`PaymentError::Request`], [`PaymentError::Api`], [`PaymentError::NoPricing`].
    pub async fn create_setup_intent(
        &self,
        request: &SetupRequest,
    ) -> Result<SetupIntent, PaymentError> {
        check_reference(&request.reference)?;
        let gateway = self.gateway()?;
        let metadata = with_application(request.metadata.clone(), &self.inner.application)
            .map_err(RequestError::from)?;
        let metadata = metadata.iter();
        let mut parameters = vec![
            ("automatic_payment_methods[enabled]".into(), "true"),
            ("customer".into(), request.customer.id()),
            ("usage".into(), request.usage.as_str()),
        ];
        parameters.extend(metadata.map(|(key, value)| (metadata_name(key), value)));
        let form = form(parameters);
        let scope = self.scope(self.mode());
        let account = request.customer.account();
        let operation = Operation {
            name: "setup",
            application: &scope.application,
            mode: scope.mode,
            account,
            reference: &request.reference,
            attempt: 1,
        };
        let key = IdempotencyKey::derive(&operation, form.as_bytes());
        match gateway.create_setup_intent(&form, &key, account).await {
            // The key brings nothing else any more.
            Err(
                ApiError::IdempotencyMismatch { .. } | ApiError::Unavailable { replayed: true, .. },
            ) => {
                let key = IdempotencyKey::once();
                Ok(gateway.create_setup_intent(&form, &key, account).await?)
            }
            created => Ok(created?),
        }
    }

    /// The SetupIntent of the buyer who knows its client secret. `None` if there is none, or if the secret is another's: who asks cannot tell which.
    ///
    /// # Errors
    /// [`PaymentError::Api`].
    pub async fn retrieve_setup_intent(
        &self,
        setup: &str,
        client_secret: &str,
    ) -> Result<Option<SetupIntent>, PaymentError> {
        // Stripe's client secrets begin with the id: what does not is worth no call.
        if !client_secret.starts_with(setup) {
            return Ok(None);
        }
        // No row tells an id that Stripe gave from one that a stranger made up.
        let found = self.guess()?.setup_intent(setup, None).await?;
        Ok(found.filter(|setup| {
            setup
                .client_secret()
                .is_some_and(|secret| secret.matches(client_secret))
        }))
    }
}

const NO_EMAIL: &str =
    "Stripe refuses the e-mail address of a customer: the customer goes on without it";

/// The customer, after Stripe was told what is new.
async fn told(
    gateway: &Gateway,
    request: &CustomerRequest,
    customer: &Customer,
) -> Result<Customer, ApiError> {
    match &*request.news(customer) {
        [] => Ok(customer.clone()),
        news => gateway.update_customer(customer, news).await,
    }
}

struct MakeCustomer<'a> {
    gateway: &'a Gateway,
    application: &'a str,
    request: &'a CustomerRequest,
    form: String,
}

impl Work for MakeCustomer<'_> {
    type Made = Customer;

    async fn send(&self, key: &IdempotencyKey) -> Result<(Customer, bool), Unsuccessful> {
        let account = self.request.account();
        self.gateway.create_customer(&self.form, key, account).await
    }

    async fn find(&self) -> Result<Option<Customer>, PaymentError> {
        let (user, account) = (self.request.user(), self.request.account());
        let found = self.gateway.find_customer(self.application, user, account);
        match found.await? {
            // The search is some seconds behind: the customer may be deleted.
            Some(found) => Ok(self.gateway.customer(found.id(), account).await?),
            None => Ok(None),
        }
    }

    async fn get(&self, id: &str) -> Result<Option<Customer>, ApiError> {
        self.gateway.customer(id, self.request.account()).await
    }

    fn id(customer: &Customer) -> &str {
        customer.id()
    }
}
