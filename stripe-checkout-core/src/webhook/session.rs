use std::fmt;

use serde::Deserialize;

use super::Event;
use super::intent::Intent;
use super::json::{Lenient, Minor, Named, Reference, open_enum};
use crate::amount::Amount;
use crate::currency::Currency;
use crate::error::EventError;
use crate::metadata::Metadata;
use crate::secret::ClientSecret;

open_enum! {
    /// The status of a Checkout Session.
    SessionStatus {
        /// The buyer can still pay.
        Open = "open",
        /// The buyer has finished. The money may still be on its way: check
        /// [`SessionPaymentStatus`].
        Complete = "complete",
        /// The session can no longer be paid.
        Expired = "expired",
    }
}

open_enum! {
    /// The status of the money of a Checkout Session.
    SessionPaymentStatus {
        /// The money has arrived.
        Paid = "paid",
        /// The money is not there: not yet, or no longer.
        Unpaid = "unpaid",
        /// There is nothing to pay, for example after a promotion of 100 %.
        NoPaymentRequired = "no_payment_required",
    }
}

/// A Checkout Session in payment mode: the prices on Stripe's own page, and the result.
///
/// On that page the buyer may have changed what they pay, within the limits that the merchant set.
/// A promotion code takes something off. The choice of a shipping rate and the tax of the buyer's
/// country add something. So the order's own price is the [subtotal](Self::subtotal), and the buyer
/// pays the [total](Self::total).
///
/// See <https://docs.stripe.com/api/checkout/sessions/object>.
///
/// ```
/// use stripe_checkout_core::webhook::CheckoutSession;
///
/// let session: CheckoutSession = serde_json::from_str(
///     r#"{"id":"cs_1","object":"checkout.session","mode":"payment","status":"complete","payment_status":"paid","currency":"eur",
///         "amount_subtotal":2000,"amount_total":2290,"payment_intent":"pi_1","metadata":{},
///         "total_details":{"amount_discount":200,"amount_shipping":490,"amount_tax":0}}"#,
/// )?;
/// assert_eq!(session.subtotal().minor(), 2000);
/// assert_eq!(session.total().minor(), 2000 - 200 + 490);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Named<Object>")]
pub struct CheckoutSession {
    id: String,
    status: Option<SessionStatus>,
    payment_status: SessionPaymentStatus,
    subtotal: Amount,
    total: Amount,
    discount: Amount,
    shipping: Amount,
    tax: Amount,
    metadata: Metadata,
    livemode: Option<bool>,
    created: i64,
    payment_intent: Option<String>,
    /// The PaymentIntent itself, if the retrieval of the session expanded it.
    intent: Option<Box<Intent>>,
    url: Option<String>,
    client_secret: Option<ClientSecret>,
    email: Option<String>,
    customer: Option<String>,
    payment_method_types: Vec<String>,
}

impl CheckoutSession {
    /// The session's id, like `cs_test_a11YYufWQzNY63zpQ6QSNRQhkUpVph4WRmzW0zWJO2znZKdVujZ0N0S22u`.
    /// The address to which the buyer returns contains it.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The status of the session. Sessions of old API versions have none.
    pub fn status(&self) -> Option<&SessionStatus> {
        self.status.as_ref()
    }

    /// The status of the money.
    pub fn payment_status(&self) -> &SessionPaymentStatus {
        &self.payment_status
    }

    /// The sum of all lines, before discounts, shipping and tax: the price of the order.
    pub fn subtotal(&self) -> Amount {
        self.subtotal
    }

    /// The amount that the buyer pays.
    pub fn total(&self) -> Amount {
        self.total
    }

    /// The amount that promotion codes and coupons take off.
    pub fn discount(&self) -> Amount {
        self.discount
    }

    /// The amount that the chosen shipping adds.
    pub fn shipping(&self) -> Amount {
        self.shipping
    }

    /// The tax, whether it is added to the prices or a part of them.
    pub fn tax(&self) -> Amount {
        self.tax
    }

    /// The metadata that was set when the session was created.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// The order that the session is for: the metadata's `order_id`.
    pub fn order_id(&self) -> Option<&str> {
        self.metadata.order_id()
    }

    /// The time of creation, in seconds since 1970; 0 if the session does not say.
    pub fn created(&self) -> i64 {
        self.created
    }

    /// The id of the PaymentIntent that pays the session: none before the buyer tries to pay, and
    /// none if there is nothing to pay.
    pub fn payment_intent(&self) -> Option<&str> {
        self.payment_intent.as_deref()
    }

    /// The address of Stripe's page, while the session is [open](SessionStatus::Open) and hosted
    /// there. Anyone who has the address can pay.
    pub fn url(&self) -> Option<&str> {
        self.url.as_deref()
    }

    /// The secret with which the buyer's browser shows the session inside a page of the merchant.
    pub fn client_secret(&self) -> Option<&ClientSecret> {
        self.client_secret.as_ref()
    }

    /// The e-mail address that the buyer entered on Stripe's page. Personal data.
    pub fn email(&self) -> Option<&str> {
        self.email.as_deref()
    }

    /// Whether this is real money; false if the session does not say.
    pub fn livemode(&self) -> bool {
        self.livemode.unwrap_or_default()
    }

    /// The PaymentIntent, if it was expanded.
    #[cfg(feature = "intent")]
    pub(crate) fn intent(&self) -> Option<&Intent> {
        self.intent.as_deref()
    }

    /// Reads the event's object, and adds the facts that only the event has. `None` if the object
    /// is not a session in payment mode.
    pub(super) fn of(event: &Event) -> Result<Option<Self>, EventError> {
        #[derive(Default, Deserialize)]
        struct Kind {
            #[serde(default)]
            mode: Lenient<String>,
        }
        // Sessions for subscriptions and for saving cards are not payments.
        let kind = event.object::<Kind>().unwrap_or_default();
        if kind.mode.ok().is_some_and(|mode| mode != "payment") {
            return Ok(None);
        }
        let mut session: Self = event.object()?;
        if *session.livemode.get_or_insert(event.livemode()) != event.livemode() {
            return Err(event.unexpected::<Self>("it is of another mode than the event"));
        }
        Ok(Some(session))
    }

    /// Splits the session into the parts of a payment.
    pub(super) fn into_parts(mut self) -> Parts {
        Parts {
            intent: self.intent.take(),
            session: self,
        }
    }
}

/// A session, and its PaymentIntent if that is known.
pub(super) struct Parts {
    pub(super) intent: Option<Box<Intent>>,
    pub(super) session: CheckoutSession,
}

impl Parts {
    pub(super) fn customer(&self) -> Option<String> {
        self.session.customer.clone()
    }

    pub(super) fn payment_method_types(&self) -> Vec<String> {
        self.session.payment_method_types.clone()
    }
}

/// Shows no client secret, no address that lets anyone pay, and no personal data.
impl fmt::Debug for CheckoutSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CheckoutSession")
            .field("id", &self.id)
            .field("status", &self.status)
            .field("payment_status", &self.payment_status)
            .field("subtotal", &self.subtotal)
            .field("total", &self.total)
            .field("payment_intent", &self.payment_intent)
            .field("order_id", &self.order_id())
            .finish_non_exhaustive()
    }
}

/// The fields of Stripe's object. Every field without `Lenient` must be valid, or the whole object
/// is refused.
#[derive(Deserialize)]
struct Object {
    id: String,
    object: String,
    status: Option<SessionStatus>,
    payment_status: SessionPaymentStatus,
    amount_subtotal: Minor,
    amount_total: Minor,
    currency: Currency,
    total_details: Option<TotalDetails>,
    #[serde(default)]
    metadata: Option<Metadata>,
    livemode: Option<bool>,
    #[serde(default)]
    created: Lenient<i64>,
    payment_intent: Option<Paying>,
    #[serde(default)]
    url: Lenient<String>,
    #[serde(default)]
    client_secret: Lenient<ClientSecret>,
    #[serde(default)]
    customer_details: Lenient<CustomerDetails>,
    #[serde(default)]
    customer: Lenient<Reference>,
    #[serde(default)]
    payment_method_types: Lenient<Vec<String>>,
}

#[derive(Deserialize)]
struct TotalDetails {
    amount_discount: Option<Minor>,
    amount_shipping: Option<Minor>,
    amount_tax: Option<Minor>,
}

#[derive(Deserialize)]
struct CustomerDetails {
    email: Option<String>,
}

/// The PaymentIntent, expanded or not.
#[derive(Deserialize)]
#[serde(untagged)]
enum Paying {
    Whole(Box<Intent>),
    Other(Reference),
}

impl TryFrom<Named<Object>> for CheckoutSession {
    type Error = &'static str;

    fn try_from(Named(object): Named<Object>) -> Result<Self, Self::Error> {
        if object.object != "checkout.session" {
            return Err("another object than a Checkout Session");
        }
        if object.id.is_empty() {
            return Err("a Checkout Session without an id");
        }
        let amount = |Minor(minor)| Amount::new(minor, object.currency);
        let detail = |of: fn(&TotalDetails) -> Option<Minor>| {
            let detail = object.total_details.as_ref().and_then(of);
            amount(detail.unwrap_or(Minor(0)))
        };
        let discount = detail(|details| details.amount_discount);
        let shipping = detail(|details| details.amount_shipping);
        let tax = detail(|details| details.amount_tax);
        let (payment_intent, intent) = match object.payment_intent {
            Some(Paying::Whole(intent)) => (Some(intent.id.clone()), Some(intent)),
            Some(Paying::Other(reference)) => (reference.id(), None),
            None => (None, None),
        };
        Ok(Self {
            id: object.id,
            status: object.status,
            payment_status: object.payment_status,
            subtotal: amount(object.amount_subtotal),
            total: amount(object.amount_total),
            discount,
            shipping,
            tax,
            metadata: object.metadata.unwrap_or_default(),
            livemode: object.livemode,
            created: object.created.ok().unwrap_or_default(),
            payment_intent,
            intent,
            url: object.url.ok(),
            client_secret: object.client_secret.ok(),
            email: object
                .customer_details
                .ok()
                .and_then(|details| details.email),
            customer: object.customer.id(),
            payment_method_types: object.payment_method_types.ok().unwrap_or_default(),
        })
    }
}
