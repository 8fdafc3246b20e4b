//! The routes for visitors whom the merchant knows.

use serde::{Deserialize, Serialize};

use super::request::MERCHANT_DEADLINE;
use crate::call::{Call, Visitor};
use crate::checkout::payment_error::PaymentError;
use crate::checkout::state::Checkout;
use crate::error::Chain;
use crate::guard::GuardedAction;
use crate::pricing::PricingError;
use crate::reply::{Problem, Reply};
use crate::requests::{Customer, CustomerRequest, PaymentRequest, SetupFutureUsage, SetupRequest};

/// The usage of a card that the page saves without a payment. Stripe Elements get the same usage.
pub(super) const SETUP_USAGE: SetupFutureUsage = SetupFutureUsage::OffSession;

impl Checkout {
    /// Returns the user that the visitor is, according to the merchant.
    pub(super) async fn user(&self, visitor: &Visitor) -> Result<Option<CustomerRequest>, Problem> {
        let payments = self.payments().map_err(|error| Problem::from(&error))?;
        let Some(customers) = &payments.customers else {
            return Ok(None);
        };
        let asked = tokio::time::timeout(MERCHANT_DEADLINE, customers.customer(visitor)).await;
        let told = asked.unwrap_or_else(|_| Err("no answer in time".into()));
        told.map_err(|error| match &error {
            PricingError::Unavailable(cause) => {
                tracing::error!(cause = %Chain(&**cause), "nobody can tell who a visitor is");
                Problem::unknown_visitor()
            }
            refused => Problem::from(refused),
        })
    }

    async fn customer_of(&self, visitor: &Visitor) -> Result<Option<Customer>, Problem> {
        let Some(user) = self.user(visitor).await? else {
            return Ok(None);
        };
        let customer = self.customer(&user).await.map_err(|error| {
            if !error.is_expected() {
                tracing::error!(user = user.user(), error = %Chain(&error), "no customer");
            }
            problem_of(&error)
        })?;
        Ok(Some(customer))
    }

    /// Returns the request with the visitor as its customer.
    pub(super) async fn paid_by_visitor(
        &self,
        request: PaymentRequest,
        visitor: &Visitor,
    ) -> Result<PaymentRequest, Problem> {
        // A customer of the platform does not exist on a connected account.
        if request.customer_id().is_some() || request.account().is_some() {
            return Ok(request);
        }
        Ok(match self.customer_of(visitor).await? {
            Some(customer) => request.customer(customer.id()),
            None => request,
        })
    }

    pub(super) async fn create_setup(&self, call: Call) -> Result<Reply, Problem> {
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Wish {
            reference: Option<String>,
        }
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Created<'a> {
            client_secret: &'a str,
        }
        let Call { visitor, body, .. } = call;
        let body = self.json_body(&visitor, body)?;
        let wish: Wish = serde_json::from_slice(&body).map_err(|_| Problem::malformed())?;
        // The page names its request, so a repeated press makes the same request. Another visitor's
        // request with the same name is a different one, because it has another customer.
        let reference = wish
            .reference
            .unwrap_or_else(|| format!("{:032x}", fastrand::u128(..)));
        if crate::requests::check_reference(&reference).is_err() {
            return Err(Problem::malformed());
        }
        let Some(user) = self.user(&visitor).await? else {
            return Err(Problem::not_signed_in());
        };
        self.check_guard(&visitor, GuardedAction::SaveCard).await?;
        let setup = async {
            let customer = self.customer(&user).await?;
            let request = SetupRequest::new(reference, &customer).usage(SETUP_USAGE);
            self.create_setup_intent(&request).await
        };
        let setup = setup.await.map_err(|error| {
            if !error.is_expected() {
                tracing::error!(user = user.user(), error = %Chain(&error), "no SetupIntent");
            }
            problem_of(&error)
        })?;
        let Some(secret) = setup.client_secret() else {
            tracing::error!(setup = setup.id(), "Stripe gave no client secret");
            return Err(Problem::internal());
        };
        let created = Created {
            client_secret: secret.expose(),
        };
        Ok(Reply::json(200, &created))
    }

    pub(super) async fn open_customer_session(&self, call: Call) -> Result<Reply, Problem> {
        /// The page reports whether its payment saves the payment method.
        #[derive(Default, Deserialize)]
        #[serde(default, rename_all = "camelCase")]
        struct Asked {
            setup_future_usage: Option<String>,
        }
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Session<'a> {
            customer_session_client_secret: Option<&'a str>,
        }
        let Call { visitor, body, .. } = call;
        let body = self.json_body(&visitor, body)?;
        let asked: Asked = serde_json::from_slice(&body).map_err(|_| Problem::malformed())?;
        self.check_guard(&visitor, GuardedAction::CustomerSession)
            .await?;
        let secret = match self.customer_of(&visitor).await? {
            Some(customer) => {
                let session = match asked.setup_future_usage {
                    Some(_) => self.customer_session_of_saving_payment(&customer).await,
                    None => self.customer_session(&customer).await,
                };
                Some(session.map_err(|error| {
                    if !error.is_expected() {
                        tracing::error!(customer = customer.id(), error = %Chain(&error), "no customer session");
                    }
                    problem_of(&error)
                })?)
            }
            None => None,
        };
        let session = Session {
            customer_session_client_secret: secret.as_ref().map(|secret| secret.expose()),
        };
        Ok(Reply::json(200, &session))
    }
}

/// A customer that Stripe refuses is a mistake in the merchant's code, not in an order.
fn problem_of(error: &PaymentError) -> Problem {
    match error {
        PaymentError::Request(_) => Problem::internal(),
        error => error.into(),
    }
}
