//! The calls to Stripe about customers and what they save.

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::saved::{Customer, SetupFutureUsage};
use super::{Gateway, IdempotencyKey, Unsuccessful};
use crate::error::ApiError;
use crate::secret::ClientSecret;
use crate::webhook::{Payment, PaymentMethod, SetupIntent};

/// Customers found under this metadata, so that nobody becomes two.
const USER: &str = "checkout_user";
const APPLICATION: &str = "checkout_application";

/// As many as Stripe lists in one page.
const PAGE: &str = "100";
/// Whoever saved more cards than that sees the newest of them.
const MAX_METHODS: usize = 500;

#[derive(Deserialize)]
struct List<T> {
    data: Vec<T>,
    #[serde(default)]
    has_more: bool,
}

/// What makes a user of this application's a customer: always the same bytes for the same user, whatever else is known of him.
pub(crate) fn customer_form(application: &str, user: &str) -> Result<String, ApiError> {
    form(&[
        (&format!("metadata[{APPLICATION}]"), application),
        (&format!("metadata[{USER}]"), user),
    ])
}

/// Pairs in the order in which they stand.
pub(crate) fn form(pairs: &[(&str, &str)]) -> Result<String, ApiError> {
    serde_html_form::to_string(pairs).map_err(|_| super::gateway::unsendable("form"))
}

impl Gateway {
    pub(crate) async fn create_customer(
        &self,
        form: &str,
        key: &IdempotencyKey,
        account: Option<&str>,
    ) -> Result<(Customer, bool), Unsuccessful> {
        let (customer, replayed) = self.operate("/customers", form, key, account).await?;
        Ok((Customer::on_account(customer, account), replayed))
    }

    /// The customer; `None` if there is none any more.
    pub(crate) async fn customer(
        &self,
        id: &str,
        account: Option<&str>,
    ) -> Result<Option<Customer>, ApiError> {
        let path = path_of("customers", id, "cus_")?;
        match self.fetch::<Customer>(&path, &[], account).await {
            Ok(customer) if customer.is_deleted() => Ok(None),
            Ok(customer) => Ok(Some(customer.on_account(account))),
            Err(ApiError::InvalidRequest { status: 404, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(crate) async fn update_customer(
        &self,
        customer: &Customer,
        form: &str,
    ) -> Result<Customer, ApiError> {
        let path = path_of("customers", customer.id(), "cus_")?;
        let account = customer.account();
        // Twice the same is as good as once.
        let (updated, _) = self
            .operate::<Customer>(&path, form, &IdempotencyKey::once(), account)
            .await
            .map_err(|unsuccessful| unsuccessful.error)?;
        Ok(updated.on_account(account))
    }

    /// The customer that was made of a user, by the marks in its metadata. Stripe's search is some seconds behind, and is not to be had in every country.
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
            // The first that was made, if there are several.
            Ok(list) => Ok(list
                .data
                .into_iter()
                .rfind(|customer| !customer.is_deleted())
                .map(|customer| customer.on_account(account))),
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
                    .map(|method| method.on_account(account)),
            );
            if !more || all.len() >= MAX_METHODS {
                return Ok(all);
            }
        }
    }

    /// The payment method, if it is this customer's.
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
            // Said twice: that it is this customer's decides about money.
            Ok(method) if method.id() == id && method.customer() == Some(customer.id()) => {
                Ok(Some(method.on_account(account)))
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
        Ok(detached.on_account(account))
    }

    /// Opens a session with which the customer's browser shows, saves and removes payment methods.
    /// Without a usage the PaymentIntent names one.
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
        let usage = feature("payment_method_save_usage");
        let (redisplay, remove, save) = (
            feature("payment_method_redisplay"),
            feature("payment_method_remove"),
            feature("payment_method_save"),
        );
        let mut pairs = vec![
            ("components[payment_element][enabled]", "true"),
            (&*redisplay, "enabled"),
            (&*remove, "enabled"),
            (&*save, "enabled"),
        ];
        pairs.extend(save_usage.map(|save_usage| (&*usage, save_usage.as_str())));
        pairs.push(("customer", customer.id()));
        let form = form(&pairs)?;
        let (session, _) = self
            .operate::<Session>(
                "/customer_sessions",
                &form,
                &IdempotencyKey::once(),
                customer.account(),
            )
            .await
            .map_err(|unsuccessful| unsuccessful.error)?;
        Ok(session.client_secret)
    }

    pub(crate) async fn create_setup_intent(
        &self,
        form: &str,
        key: &IdempotencyKey,
        account: Option<&str>,
    ) -> Result<SetupIntent, ApiError> {
        let (setup, replayed) = self
            .operate::<SetupIntent>("/setup_intents", form, key, account)
            .await
            .map_err(|unsuccessful| unsuccessful.error)?;
        // It may have succeeded since.
        match replayed {
            true => match self.setup_intent(setup.id(), account).await? {
                Some(now) => Ok(now),
                None => Ok(setup.on_account(account)),
            },
            false => Ok(setup.on_account(account)),
        }
    }

    /// The SetupIntent; `None` if there is none.
    pub(crate) async fn setup_intent(
        &self,
        id: &str,
        account: Option<&str>,
    ) -> Result<Option<SetupIntent>, ApiError> {
        let Ok(path) = path_of("setup_intents", id, "seti_") else {
            return Ok(None);
        };
        match self.fetch::<SetupIntent>(&path, &[], account).await {
            Ok(setup) => Ok(Some(setup.on_account(account))),
            Err(ApiError::InvalidRequest { status: 404, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Confirms a PaymentIntent with a saved payment method while the buyer is away. Also returns
    /// whether Stripe repeated an earlier answer.
    pub(crate) async fn confirm_off_session(
        &self,
        payment: &str,
        form: &str,
        key: &IdempotencyKey,
        account: Option<&str>,
    ) -> Result<(Payment, bool), Unsuccessful> {
        let path = format!("{}/confirm", path_of("payment_intents", payment, "pi_")?);
        let (payment, replayed) = self.operate::<Payment>(&path, form, key, account).await?;
        Ok((payment.on_account(account), replayed))
    }

    /// Adds metadata to a PaymentIntent.
    pub(crate) async fn add_metadata(
        &self,
        payment: &str,
        metadata: &[(&str, &str)],
        account: Option<&str>,
    ) -> Result<(), ApiError> {
        let path = path_of("payment_intents", payment, "pi_")?;
        let pairs: Vec<(String, &str)> = metadata
            .iter()
            .map(|(key, value)| (format!("metadata[{key}]"), *value))
            .collect();
        let pairs: Vec<(&str, &str)> = pairs.iter().map(|(key, value)| (&**key, *value)).collect();
        let form = form(&pairs)?;
        // Twice the same is as good as once.
        self.operate::<IgnoredAny>(&path, &form, &IdempotencyKey::once(), account)
            .await
            .map_err(|unsuccessful| unsuccessful.error)?;
        Ok(())
    }
}

/// `/customers/cus_1`. Ids may come from a browser: nothing in them can leave its place in the path.
fn path_of(kind: &str, id: &str, prefix: &str) -> Result<String, ApiError> {
    if super::gateway::is_id(id, prefix) {
        Ok(format!("/{kind}/{id}"))
    } else {
        Err(super::gateway::unsendable("id"))
    }
}
