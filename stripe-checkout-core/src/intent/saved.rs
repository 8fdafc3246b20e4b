//! Who buys more than once, and with what: customers, and the payment methods that they let the merchant keep.

use std::fmt;

use serde::Deserialize;

use super::PaymentRequest;
use crate::error::RequestError;
use crate::metadata::Metadata;
use crate::webhook::{Failure, Payment};

/// Stripe's limit for a name, in characters.
const MAX_NAME: usize = 256;

/// What a payment method that is saved will be used for. Say to the buyer what you ask for: the terms of a later charge are a matter of the law.
///
/// See [`setup_future_usage`](https://docs.stripe.com/api/payment_intents/create#create_payment_intent-setup_future_usage).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SetupFutureUsage {
    /// Payments that the buyer is there for.
    OnSession,
    /// Also charges while the buyer is away. The buyer's bank may want to be asked now, so that it need not be asked then.
    OffSession,
}

impl SetupFutureUsage {
    /// As Stripe writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OnSession => "on_session",
            Self::OffSession => "off_session",
        }
    }
}

/// One of the merchant's users, to be found or made as a customer at Stripe: see [`Checkout::customer`](crate::Checkout::customer).
///
/// ```
/// use stripe_checkout_core::intent::CustomerRequest;
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
    /// The user with this id of the merchant's own: 1 to 200 characters, no control character, for ever the same. Not an e-mail address, which changes.
    pub fn new(user: impl Into<String>) -> Self {
        Self {
            user: user.into(),
            email: None,
            name: None,
            account: None,
        }
    }

    /// The user's e-mail address, shown in the Dashboard. Another one than Stripe has replaces it.
    #[must_use]
    pub fn email(mut self, address: impl Into<String>) -> Self {
        self.email = Some(address.into());
        self
    }

    /// The user's name, shown in the Dashboard: at most 256 characters. Another one than Stripe has replaces it.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// On this connected account (`acct_…`): each account has customers of its own.
    #[must_use]
    pub fn on_account(mut self, account: impl Into<String>) -> Self {
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
        super::check_reference(&self.user)?;
        if self.has_bad_email() {
            return Err(RequestError::ReceiptEmail);
        }
        let fits = |name: &str| name.chars().count() <= MAX_NAME;
        if !self.name.as_deref().is_none_or(fits) {
            return Err(RequestError::Description);
        }
        Ok(())
    }

    /// What Stripe does not know yet of this user, as a form; none if it knows all.
    pub(crate) fn news(&self, known: &Customer) -> Option<String> {
        let changed = |wanted: &Option<String>, known: &Option<String>| {
            wanted.clone().filter(|_| wanted != known)
        };
        let mut pairs = Vec::new();
        pairs.extend(changed(&self.email, &known.email).map(|email| ("email", email)));
        pairs.extend(changed(&self.name, &known.name).map(|name| ("name", name)));
        (!pairs.is_empty())
            .then(|| serde_html_form::to_string(pairs).ok())
            .flatten()
    }
}

impl CustomerRequest {
    /// Whether the e-mail address can be none.
    pub(crate) fn has_bad_email(&self) -> bool {
        let address = self.email.as_deref();
        address.is_some_and(|address| !super::request::is_email(address))
    }

    /// The e-mail address.
    pub(crate) fn address(&self) -> Option<&str> {
        self.email.as_deref()
    }

    /// The same, without an e-mail address.
    pub(crate) fn without_email(mut self) -> Self {
        self.email = None;
        self
    }
}

// The address and the name are the buyer's: neither is for logs.
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

    /// The e-mail address that Stripe has. Personal data.
    pub fn email(&self) -> Option<&str> {
        self.email.as_deref()
    }

    /// The name that Stripe has. Personal data.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// The customer's metadata.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// The connected account that the customer is of; none for your own.
    pub fn account(&self) -> Option<&str> {
        self.account.as_deref()
    }

    pub(crate) fn is_deleted(&self) -> bool {
        self.deleted
    }

    pub(crate) fn on_account(mut self, account: Option<&str>) -> Self {
        self.account = account.map(str::to_owned);
        self
    }
}

/// Nothing personal.
impl fmt::Debug for Customer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Customer")
            .field("id", &self.id)
            .field("account", &self.account)
            .finish_non_exhaustive()
    }
}

/// A payment method to be saved without a payment: see [`Checkout::create_setup_intent`](crate::Checkout::create_setup_intent).
#[derive(Debug, Clone)]
pub struct SetupRequest {
    pub(crate) reference: String,
    pub(crate) customer: Customer,
    pub(crate) usage: SetupFutureUsage,
    pub(crate) metadata: Metadata,
}

impl SetupRequest {
    /// For this customer, and to be charged also while he is away. The reference is the caller's own of this one wish: the same one again, within a day, gives the same
    /// SetupIntent.
    pub fn new(reference: impl Into<String>, customer: &Customer) -> Self {
        Self {
            reference: reference.into(),
            customer: customer.clone(),
            usage: SetupFutureUsage::OffSession,
            metadata: Metadata::new(),
        }
    }

    /// What it will be used for.
    #[must_use]
    pub fn usage(mut self, usage: SetupFutureUsage) -> Self {
        self.usage = usage;
        self
    }

    /// The merchant's own metadata. It comes back in every event of the SetupIntent.
    #[must_use]
    pub fn metadata(mut self, metadata: Metadata) -> Self {
        self.metadata = metadata;
        self
    }
}

/// A charge of a saved payment method while the buyer is away: see [`Checkout::charge_saved`](crate::Checkout::charge_saved).
#[derive(Debug, Clone)]
pub struct SavedCharge {
    pub(crate) request: PaymentRequest,
    pub(crate) customer: Customer,
    pub(crate) payment_method: String,
    pub(crate) attempt: u32,
}

impl SavedCharge {
    /// Charges this customer's payment method (`pm_…`) what the request asks for. The request's reference is that of the order, so that an order is paid once, in
    /// whichever way.
    pub fn new(
        request: PaymentRequest,
        customer: &Customer,
        payment_method: impl Into<String>,
    ) -> Self {
        Self {
            request,
            customer: customer.clone(),
            payment_method: payment_method.into(),
            attempt: 1,
        }
    }

    /// The caller's own number of this attempt, 1 unless set. The same number again is the same
    /// attempt: the call returns its outcome, and the bank is not asked again. To charge a declined
    /// card once more, use 2.
    #[must_use]
    pub fn attempt(mut self, number: u32) -> Self {
        self.attempt = number;
        self
    }
}

/// How a charge of a saved payment method went.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum SavedChargeOutcome {
    /// Paid. Deliver in `payment_succeeded`, not here.
    Succeeded(Payment),
    /// On its way; it may still fail, days later.
    Processing(Payment),
    /// Authorised, and waiting to be captured.
    RequiresCapture(Payment),
    /// The buyer's bank wants to ask the buyer. Send them to the checkout page of the same order.
    /// The same PaymentIntent waits there if they are signed in as this customer. A guest gets
    /// another one.
    ///
    /// The page offers the saved card if the buyer agreed to see it again, as where the page saves
    /// it (Stripe's `allow_redisplay` is `always`). The number of a card that only
    /// [`setup_future_usage`](super::PaymentRequest::setup_future_usage) saved must be typed again.
    AuthenticationRequired(Payment),
    /// Declined. The PaymentIntent stays open: the order's checkout page takes another card, or [another attempt](SavedCharge::attempt) is made later.
    Declined(Payment, Failure),
}

impl SavedChargeOutcome {
    /// The order's PaymentIntent as it stands now.
    pub fn payment(&self) -> &Payment {
        match self {
            Self::Succeeded(payment)
            | Self::Processing(payment)
            | Self::RequiresCapture(payment)
            | Self::AuthenticationRequired(payment)
            | Self::Declined(payment, _) => payment,
        }
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
        assert_eq!(ada.news(&known), None);
        assert_eq!(ada.clone().email("a@example.com").news(&known), None);
        let both = ada.email("b@example.com").name("A & B");
        assert_eq!(
            both.news(&known).as_deref(),
            Some("email=b%40example.com&name=A+%26+B")
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
