//! The calls to Stripe about customers and their saved payment methods.

use serde::Deserialize;

use super::api_error::{ApiError, Unsuccessful};
use super::form::{form, metadata_name};
use super::gateway::Gateway;
use super::id::path_of;
use super::idempotency::IdempotencyKey;
use crate::requests::{Customer, SetupFutureUsage};
use crate::secret::ClientSecret;
use crate::webhook::PaymentMethod;

/// The metadata by which a customer is found, so that no user becomes two customers.
const USER: &str = "checkout_user";
const APPLICATION: &str = "checkout_application";

/// The number of objects in one of Stripe's pages, at most.
const PAGE: &str = "100";
/// The largest number of payment methods that are read. A customer with more sees the newest of
/// them.
const MAX_METHODS: usize = 500;

#[derive(Deserialize)]
struct List<T> {
    data: Vec<T>,
    #[serde(default)]
    has_more: bool,
}

/// The parameters that create the customer of a user: always the same bytes for the same user,
/// whatever else is known of them.
pub(crate) fn customer_form(application: &str, user: &str) -> String {
    form([
        (metadata_name(APPLICATION), application),
        (metadata_name(USER), user),
    ])
}

impl Gateway {
    pub(crate) async fn create_customer(
        &self,
        form: &str,
        key: &IdempotencyKey,
        account: Option<&str>,
    ) -> Result<(Customer, bool), Unsuccessful> {
        let (customer, replayed) = self.operate("/customers", form, key, account).await?;
        Ok((Customer::connected_account(customer, account), replayed))
    }

    /// The customer; `None` if it no longer exists.
    pub(crate) async fn customer(
        &self,
        id: &str,
        account: Option<&str>,
    ) -> Result<Option<Customer>, ApiError> {
        let path = path_of("customers", id, "cus_")?;
        match self.fetch::<Customer>(&path, &[], account).await {
            Ok(customer) if customer.is_deleted() => Ok(None),
            Ok(customer) => Ok(Some(customer.connected_account(account))),
            Err(ApiError::InvalidRequest { status: 404, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(crate) async fn update_customer(
        &self,
        customer: &Customer,
        changes: &[(&str, &str)],
    ) -> Result<Customer, ApiError> {
        let path = path_of("customers", customer.id(), "cus_")?;
        let account = customer.account();
        // Sending the same changes twice does no harm.
        let (updated, _) = self
            .operate::<Customer>(
                &path,
                &form(changes.iter().copied()),
                &IdempotencyKey::once(),
                account,
            )
            .await
            .map_err(|unsuccessful| unsuccessful.error)?;
        Ok(updated.connected_account(account))
    }

    /// Finds the customer of a user by the marks in its metadata. Stripe's search is some seconds
    /// behind, and is not available in every country.
    pub(crate) async fn find_customer(
        &self,
        application: &str,
        user: &str,
        account: Option<&str>,
    ) -> Result<Option<Customer>, ApiError> {
        let quoted = |text: &str| text.replace('\\', "\\\\").replace('\'', "\\'");
        let query = format!(
            "metadata['{APPLICATION}']:'{}' AND metadata['{USER}']:'{}'",
            quoted(application),
            quoted(user)
        );
        let found = self
            .fetch::<List<Customer>>(
                "/customers/search",
                &[("query", &query), ("limit", "10")],
                account,
            )
            .await;
        match found {
            // The oldest customer, if there are several.
            Ok(list) => Ok(list
                .data
                .into_iter()
                .rfind(|customer| !customer.is_deleted())
                .map(|customer| customer.connected_account(account))),
            Err(
                error @ (ApiError::InvalidRequest { .. }
                | ApiError::Permission { .. }
                | ApiError::UnexpectedAnswer { .. }),
            ) => {
                tracing::warn!(%error, "Stripe's search for a customer is not to be had; another one is made");
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// The customer's payment methods, the newest first.
    pub(crate) async fn payment_methods(
        &self,
        customer: &Customer,
    ) -> Result<Vec<PaymentMethod>, ApiError> {
        let path = format!(
            "{}/payment_methods",
            path_of("customers", customer.id(), "cus_")?
        );
        let account = customer.account();
        let mut all: Vec<PaymentMethod> = Vec::new();
        loop {
            let after = all.last().map(|last| last.id().to_owned());
            let mut query = vec![("limit", PAGE)];
            query.extend(after.as_deref().map(|after| ("starting_after", after)));
            let page: List<PaymentMethod> = self.fetch(&path, &query, account).await?;
            let more = page.has_more && !page.data.is_empty();
            all.extend(
                page.data
                    .into_iter()
                    .map(|method| method.connected_account(account)),
            );
            if !more || all.len() >= MAX_METHODS {
                return Ok(all);
            }
        }
    }

    /// The payment method, if it belongs to this customer.
    pub(crate) async fn payment_method_of(
        &self,
        customer: &Customer,
        id: &str,
    ) -> Result<Option<PaymentMethod>, ApiError> {
        let whose = path_of("customers", customer.id(), "cus_")?;
        let Some(path) = path_of(
            &format!("{}/payment_methods", whose.trim_start_matches('/')),
            id,
            "",
        )
        .ok() else {
            return Ok(None);
        };
        let account = customer.account();
        match self.fetch::<PaymentMethod>(&path, &[], account).await {
            // Checked again here: money depends on whose payment method it is.
            Ok(method) if method.id() == id && method.customer() == Some(customer.id()) => {
                Ok(Some(method.connected_account(account)))
            }
            Ok(_) => Ok(None),
            Err(ApiError::InvalidRequest { status: 404, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(crate) async fn detach(
        &self,
        customer: &Customer,
        method: &PaymentMethod,
    ) -> Result<PaymentMethod, ApiError> {
        let path = format!("{}/detach", path_of("payment_methods", method.id(), "")?);
        let account = customer.account();
        let (detached, _) = self
            .operate::<PaymentMethod>(&path, "", &IdempotencyKey::once(), account)
            .await
            .map_err(|unsuccessful| unsuccessful.error)?;
        Ok(detached.connected_account(account))
    }

    /// Opens a session with which the customer's browser shows, saves and removes payment methods.
    /// Without a usage here, the PaymentIntent names one.
    pub(crate) async fn customer_session(
        &self,
        customer: &Customer,
        save_usage: Option<SetupFutureUsage>,
    ) -> Result<ClientSecret, ApiError> {
        #[derive(Deserialize)]
        struct Session {
            client_secret: ClientSecret,
        }
        let feature = |name: &str| format!("components[payment_element][features][{name}]");
        let mut parameters = vec![
            ("components[payment_element][enabled]".into(), "true"),
            (feature("payment_method_redisplay"), "enabled"),
            (feature("payment_method_remove"), "enabled"),
            (feature("payment_method_save"), "enabled"),
            ("customer".into(), customer.id()),
        ];
        let usage = save_usage.map(|usage| (feature("payment_method_save_usage"), usage.as_str()));
        parameters.extend(usage);
        let (session, _) = self
            .operate::<Session>(
                "/customer_sessions",
                &form(parameters),
                &IdempotencyKey::once(),
                customer.account(),
            )
            .await
            .map_err(|unsuccessful| unsuccessful.error)?;
        Ok(session.client_secret)
    }
}
