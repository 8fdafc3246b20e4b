//! Customers.

use std::fmt;

use serde::Deserialize;

use super::error::RequestError;
use super::limits::{check_reference, is_email};
use crate::metadata::Metadata;

/// Stripe's limit for a name, in characters.
const MAX_NAME: usize = 256;

/// One of the merchant's users, who becomes a customer at Stripe.
///
/// [`Checkout::customer`](crate::Checkout::customer) finds or creates the customer.
///
/// ```
/// use stripe_checkout_core::requests::CustomerRequest;
///
/// let ada = CustomerRequest::new("user-7").email("ada@example.com").name("Ada Lovelace");
/// assert!(ada.validate().is_ok());
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct CustomerRequest {
    user: String,
    email: Option<String>,
    name: Option<String>,
    account: Option<String>,
}

impl CustomerRequest {
    /// A user with this id of the merchant's own.
    ///
    /// The id has 1 to 200 characters and no control character. It never changes, so do not use an
    /// e-mail address.
    pub fn new(user: impl Into<String>) -> Self {
        Self {
            user: user.into(),
            email: None,
            name: None,
            account: None,
        }
    }

    /// Sets the user's e-mail address, which the Dashboard shows.
    ///
    /// If Stripe has another one, this address replaces it.
    #[must_use]
    pub fn email(mut self, address: impl Into<String>) -> Self {
        self.email = Some(address.into());
        self
    }

    /// Sets the user's name, which the Dashboard shows: at most 256 characters.
    ///
    /// If Stripe has another one, this name replaces it.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Names the connected account (`acct_…`): each account has its own customers.
    #[must_use]
    pub fn connected_account(mut self, account: impl Into<String>) -> Self {
        self.account = Some(account.into());
        self
    }

    /// The user's id.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The connected account.
    pub fn account(&self) -> Option<&str> {
        self.account.as_deref()
    }

    /// Checks everything against Stripe's limits.
    ///
    /// # Errors
    /// The first [`RequestError`] found.
    pub fn validate(&self) -> Result<(), RequestError> {
        check_reference(&self.user)?;
        if self.has_bad_email() {
            return Err(RequestError::ReceiptEmail);
        }
        let fits = |name: &str| name.chars().count() <= MAX_NAME;
        if !self.name.as_deref().is_none_or(fits) {
            return Err(RequestError::Description);
        }
        Ok(())
    }

    /// The parameters of this user that differ from what Stripe knows.
    pub(crate) fn news(&self, known: &Customer) -> Vec<(&'static str, &str)> {
        let wanted = [
            ("email", &self.email, &known.email),
            ("name", &self.name, &known.name),
        ];
        let changed = wanted
            .into_iter()
            .filter(|(_, wanted, known)| wanted != known);
        changed
            .filter_map(|(name, wanted, _)| Some((name, wanted.as_deref()?)))
            .collect()
    }

    /// Whether the e-mail address is invalid.
    pub(crate) fn has_bad_email(&self) -> bool {
        let address = self.email.as_deref();
        address.is_some_and(|address| !is_email(address))
    }

    /// The e-mail address.
    pub(crate) fn address(&self) -> Option<&str> {
        self.email.as_deref()
    }

    /// The same request, without an e-mail address.
    pub(crate) fn without_email(mut self) -> Self {
        self.email = None;
        self
    }
}

// The address and the name are the buyer's personal data: neither belongs in logs.
impl fmt::Debug for CustomerRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CustomerRequest")
            .field("user", &self.user)
            .field("account", &self.account)
            .finish_non_exhaustive()
    }
}

/// A customer at Stripe. See <https://docs.stripe.com/api/customers/object>.
#[derive(Clone, PartialEq, Eq, Deserialize)]
pub struct Customer {
    id: String,
    #[serde(default)]
    email: Option<String>,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    metadata: Metadata,
    #[serde(default)]
    deleted: bool,
    #[serde(skip)]
    account: Option<String>,
}

impl Customer {
    /// The customer's id, like `cus_NffrFeUfNV2Hib`.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The e-mail address at Stripe. Personal data.
    pub fn email(&self) -> Option<&str> {
        self.email.as_deref()
    }

    /// The name at Stripe. Personal data.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// The customer's metadata.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// The connected account of the customer; none for your own account.
    pub fn account(&self) -> Option<&str> {
        self.account.as_deref()
    }

    pub(crate) fn is_deleted(&self) -> bool {
        self.deleted
    }

    pub(crate) fn connected_account(mut self, account: Option<&str>) -> Self {
        self.account = account.map(str::to_owned);
        self
    }
}

/// Shows no personal data.
impl fmt::Debug for Customer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Customer")
            .field("id", &self.id)
            .field("account", &self.account)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stripe_knows_is_not_sent_again() {
        let known: Customer = serde_json::from_str(
            r#"{"id":"cus_1","object":"customer","email":"a@example.com","name":null,"metadata":{}}"#,
        )
        .unwrap();
        let ada = CustomerRequest::new("7");
        assert_eq!(ada.news(&known), []);
        assert_eq!(ada.clone().email("a@example.com").news(&known), []);
        let both = ada.email("b@example.com").name("A & B");
        assert_eq!(
            both.news(&known),
            [("email", "b@example.com"), ("name", "A & B")]
        );
    }

    #[test]
    fn a_user_has_an_id_and_a_real_address() {
        for user in ["", "a\nb", &"x".repeat(201)] {
            let refused = CustomerRequest::new(user).validate();
            assert_eq!(refused, Err(RequestError::Reference), "{user:?}");
        }
        let ada = CustomerRequest::new("7");
        assert!(ada.clone().email("nobody").validate().is_err());
        assert!(ada.clone().name("x".repeat(257)).validate().is_err());
        assert!(ada.name("x".repeat(256)).validate().is_ok());
    }

    #[test]
    fn debug_shows_nothing_of_the_buyer() {
        let ada = CustomerRequest::new("user-7")
            .email("ada@hidden.example")
            .name("hidden");
        let known: Customer =
            serde_json::from_str(r#"{"id":"cus_1","email":"ada@hidden.example"}"#).unwrap();
        let printed = format!("{ada:?} {known:?}");
        assert!(!printed.contains("hidden"), "{printed}");
        assert!(printed.contains("user-7") && printed.contains("cus_1"));
    }
}
