//! Stripe's customers for the merchant's users, and their saved payment methods.
//!
//! Only the merchant's own code says which user a visitor is.

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
    /// Returns Stripe's customer for one of the merchant's users, and creates it if there is none.
    ///
    /// One user has one customer, even under concurrent calls, after a crash, and after Stripe
    /// forgot the request. If the customer was deleted in the Dashboard, this creates a new one.
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
        // The application's oldest name, as in the inbox. Under another name the user would get
        // another customer.
        let application = &self.inner.stored_as;
        let form = customer_form(application, request.user());
        let doing = Doing {
            checkout: self,
            key: self.operation_key(OperationKind::Customer, request.user(), request.account()),
            subject: None,
            amount: None,
            // Changing data, such as an address, is not in the form: it does not make another
            // customer.
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

    /// Returns the payment methods that a customer saved, the newest first, at most 500.
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

    /// Removes a payment method from this customer: it can never be charged again.
    ///
    /// You must make sure that the caller is this customer, or may act for them. Another customer's
    /// payment method is never touched, whatever its id is.
    ///
    /// See <https://docs.stripe.com/api/payment_methods/detach>.
    ///
    /// # Errors
    /// [`PaymentError::NotTheirs`] if the payment method is not this customer's, or not any more.
    /// [`PaymentError::Api`] if the call to Stripe fails.
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

    /// Opens a [customer session](https://docs.stripe.com/api/customer_sessions) and returns its
    /// client secret.
    ///
    /// The secret is valid for half an hour. With it the Payment Element in the customer's own
    /// browser shows the saved payment methods. It also offers to save a new one, and to remove
    /// one.
    ///
    /// # Security warning
    /// The secret lets its holder see and use the customer's saved payment methods. Give it only to
    /// the customer.
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
    /// Stripe.js refuses a usage in both places, so this session sets none.
    ///
    /// # Errors
    /// The same as for [`customer_session`](Self::customer_session).
    pub async fn customer_session_of_saving_payment(
        &self,
        customer: &Customer,
    ) -> Result<ClientSecret, PaymentError> {
        let gateway = self.gateway()?;
        Ok(gateway.customer_session(customer, None).await?)
    }

    /// Creates a SetupIntent, with which a customer saves a payment method without paying.
    ///
    /// The customer's browser uses it. A SetupIntent moves no money, and an extra one does no harm.
    /// So the inbox has no row for it. The same reference returns the same SetupIntent for a day.
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
            // The key can only bring this error again.
            Err(
                ApiError::IdempotencyMismatch { .. } | ApiError::Unavailable { replayed: true, .. },
            ) => {
                let key = IdempotencyKey::once();
                Ok(gateway.create_setup_intent(&form, &key, account).await?)
            }
            created => Ok(created?),
        }
    }

    /// Returns the SetupIntent whose client secret the buyer knows.
    ///
    /// `None` if there is no such SetupIntent, or if the secret belongs to another one. The caller
    /// cannot tell which.
    ///
    /// # Errors
    /// [`PaymentError::Api`].
    pub async fn retrieve_setup_intent(
        &self,
        setup: &str,
        client_secret: &str,
    ) -> Result<Option<SetupIntent>, PaymentError> {
        // Stripe's client secrets begin with the id. Any other secret is not worth a call.
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

/// Sends the customer's changed data to Stripe, and returns the customer.
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
            // The search lags by some seconds, so the customer may have been deleted.
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
