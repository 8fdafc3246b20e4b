use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;

use super::{
    CheckoutSession, Event, Failure, SessionPaymentStatus, SessionStatus,
    json::{Lenient, Minor, Named, Reference, open_enum},
};
use crate::{
    amount::Amount, currency::Currency, error::EventError, marks, metadata::Metadata,
    secret::ClientSecret,
};

open_enum! {
    /// Where a PaymentIntent stands. See <https://docs.stripe.com/payments/paymentintents/lifecycle>.
    PaymentStatus {
        /// It waits for a payment method: at the beginning, and again after each failed attempt.
        RequiresPaymentMethod = "requires_payment_method" | "requires_source",
        /// It waits to be confirmed.
        RequiresConfirmation = "requires_confirmation",
        /// It waits for the buyer, for example for 3-D Secure.
        RequiresAction = "requires_action" | "requires_source_action",
        /// The payment is on its way; it may still fail, days later.
        Processing = "processing",
        /// The money is reserved and waits to be captured.
        RequiresCapture = "requires_capture",
        /// It was given up. Final.
        Canceled = "canceled",
        /// The money was collected. Final.
        Succeeded = "succeeded",
    }
}

impl PaymentStatus {
    /// Whether nothing can follow any more: succeeded or canceled.
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Succeeded | Self::Canceled)
    }
}

/// A PaymentIntent, as far as a shop needs it: one type for events, retrievals and lists, of any API version.
///
/// What decides about money (id, amounts, currency, status) must be there and in order, or there is no `Payment`. The rest may be missing or unknown.
///
/// See <https://docs.stripe.com/api/payment_intents/object>.
///
/// ```
/// use stripe_checkout_core::{Amount, Currency, webhook::{Payment, PaymentStatus}};
///
/// let payment: Payment = serde_json::from_str(
///     r#"{"id":"pi_1","object":"payment_intent","amount":1999,"amount_received":1999,
///         "currency":"eur","status":"succeeded","metadata":{"order_id":"42"}}"#,
/// )?;
/// assert_eq!(payment.amount_received(), Amount::new(1999, Currency::EUR));
/// assert_eq!(payment.status(), &PaymentStatus::Succeeded);
/// assert_eq!(payment.order_id(), Some("42"));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Named<Object>")]
pub struct Payment {
    id: String,
    amount: Amount,
    amount_received: Amount,
    amount_capturable: Amount,
    status: PaymentStatus,
    metadata: Metadata,
    livemode: Option<bool>,
    created: i64,
    client_secret: Option<ClientSecret>,
    latest_charge: Option<String>,
    returned: Option<Returned>,
    receipt_email: Option<String>,
    description: Option<String>,
    customer: Option<String>,
    saves_payment_method: bool,
    captures_manually: bool,
    destination: Option<String>,
    on_behalf_of: Option<String>,
    application_fee: Option<Amount>,
    application: Option<String>,
    capture_before: Option<i64>,
    payment_method_types: Vec<String>,
    last_error: Option<Failure>,
    account: Option<String>,
    session: Option<Box<CheckoutSession>>,
}

impl Payment {
    /// The PaymentIntent's id, like `pi_3MtwBwLkdIwHu7ix28a3tqPa`; that of its Checkout Session, like `cs_…`, where there is no PaymentIntent: nothing was to be paid,
    /// or nobody tried.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What was asked for.
    pub fn amount(&self) -> Amount {
        self.amount
    }

    /// What was collected: only this is paid. It is less than the amount where only a part was captured, and zero before success.
    pub fn amount_received(&self) -> Amount {
        self.amount_received
    }

    /// Whether there was nothing to pay: a promotion took off the whole price of a Checkout
    /// Session. Then there is no PaymentIntent, and nothing to refund.
    pub fn is_free(&self) -> bool {
        self.status == PaymentStatus::Succeeded && self.amount.is_zero()
    }

    /// The amount that is authorised and can be captured.
    pub fn amount_capturable(&self) -> Amount {
        self.amount_capturable
    }

    /// The currency of all its amounts.
    pub fn currency(&self) -> Currency {
        self.amount.currency()
    }

    /// Where it stands. In an event: where it stood when Stripe made the event.
    pub fn status(&self) -> &PaymentStatus {
        &self.status
    }

    /// The metadata that was set when it was made.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// The order that it pays: the metadata's `order_id`.
    pub fn order_id(&self) -> Option<&str> {
        self.metadata.order_id()
    }

    /// Whether this is real money. What does not say so is not.
    pub fn livemode(&self) -> bool {
        self.livemode.unwrap_or_default()
    }

    /// When it was made, in seconds since 1970; 0 if it does not say so.
    pub fn created(&self) -> i64 {
        self.created
    }

    /// The secret with which the buyer's browser confirms it.
    pub fn client_secret(&self) -> Option<&ClientSecret> {
        self.client_secret.as_ref()
    }

    /// The id of the latest attempt's charge, like `ch_3MmlLrLkdIwHu7ix0snN0B15`.
    pub fn latest_charge(&self) -> Option<&str> {
        self.latest_charge.as_deref()
    }

    /// What went back of it; known only where whoever retrieved it had its latest charge expanded.
    pub(crate) fn returned(&self) -> Option<Returned> {
        self.returned
    }

    /// Where Stripe sends the receipt. Personal data.
    pub fn receipt_email(&self) -> Option<&str> {
        self.receipt_email.as_deref()
    }

    /// The description that was set when it was made.
    pub fn description(&self) -> Option<&str> {
        self.description.as_deref()
    }

    /// The id of the customer, like `cus_NffrFeUfNV2Hib`.
    pub fn customer(&self) -> Option<&str> {
        self.customer.as_deref()
    }

    /// Whether paying saves the payment method for the customer.
    pub fn saves_payment_method(&self) -> bool {
        self.saves_payment_method
    }

    /// Whether paying only reserves the amount, which you then [`capture`](crate::Checkout): for
    /// every payment method, or for one of them.
    pub fn captures_manually(&self) -> bool {
        self.captures_manually
    }

    /// The connected account to which the money goes on (`acct_…`), if it is a destination charge.
    pub fn destination(&self) -> Option<&str> {
        self.destination.as_deref()
    }

    /// The connected account that is the business of record, if the platform is not.
    pub fn on_behalf_of(&self) -> Option<&str> {
        self.on_behalf_of.as_deref()
    }

    /// What the platform keeps of a payment with a connected account.
    pub fn application_fee(&self) -> Option<Amount> {
        self.application_fee
    }

    /// The Connect application that made it on a connected account (`ca_…`). Stripe sets it, so the
    /// connected account cannot choose it.
    pub fn application(&self) -> Option<&str> {
        self.application.as_deref()
    }

    /// Until when what is reserved can be captured, in seconds since 1970; known only where whoever retrieved it had its latest charge expanded.
    pub fn capture_before(&self) -> Option<i64> {
        self.capture_before
    }

    /// The payment methods that it may be paid with, like `card`.
    pub fn payment_method_types(&self) -> &[String] {
        &self.payment_method_types
    }

    /// Why the latest attempt failed. Stripe keeps it until the next attempt.
    pub fn last_error(&self) -> Option<&Failure> {
        self.last_error.as_ref()
    }

    /// The same payment, in this session.
    pub(crate) fn in_session(mut self, session: CheckoutSession) -> Self {
        self.session = Some(Box::new(session.into_parts().session));
        self
    }

    /// The Checkout Session that it was paid in, in news of that session: there are the order's own price, what was taken off, and what was added. News of the
    /// PaymentIntent alone, such as a declined card, do not bring it.
    pub fn session(&self) -> Option<&CheckoutSession> {
        self.session.as_deref()
    }

    /// The price that it is for, before discount, shipping and tax: the subtotal of its session, or
    /// its amount.
    pub(crate) fn price(&self) -> Amount {
        self.session()
            .map_or(self.amount, CheckoutSession::subtotal)
    }

    /// As which attempt of its order its Checkout Session was made; none if it was paid otherwise.
    pub(crate) fn session_attempt(&self) -> Option<u32> {
        marks::session_attempt(&self.metadata)
    }

    /// Whether a call of ours captured it.
    pub(crate) fn is_captured_by_us(&self) -> bool {
        self.metadata.get(marks::CAPTURE).is_some()
    }

    /// Whether it waits for its buyer: nothing is authorised, on its way or paid.
    pub(crate) fn is_unpaid(&self) -> bool {
        use PaymentStatus::{RequiresAction, RequiresConfirmation, RequiresPaymentMethod};
        matches!(
            self.status,
            RequiresPaymentMethod | RequiresConfirmation | RequiresAction
        )
    }

    /// Whether only its Checkout Session knows how it stands: it does not know itself what was taken off and what was added.
    pub(crate) fn is_told_by_session(&self) -> bool {
        self.session.is_none() && self.session_attempt().is_some()
    }

    /// The connected account that it belongs to; none for your own. It stands in the event, not in the PaymentIntent.
    pub fn account(&self) -> Option<&str> {
        self.account.as_deref()
    }

    /// The same text for the same payment, always, and for no other payment: to pass on as idempotency key where work outside the database (a parcel service, an
    /// e-mail service) must not be done twice. At most 255 characters with Stripe's ids; put your own prefix before it to use it for more than one thing.
    pub fn idempotency_key(&self) -> String {
        match &self.account {
            Some(account) => format!("{account}/{}", self.id),
            None => self.id.clone(),
        }
    }

    /// The same payment, on this connected account.
    #[must_use]
    pub fn on_account(mut self, account: Option<&str>) -> Self {
        self.account = account.map(str::to_owned);
        self
    }

    /// Reads the payment of a Checkout Session. The PaymentIntent, where it is at hand, says how it
    /// stands and how much was received. A session does not know how much was captured.
    pub(crate) fn of_session(session: CheckoutSession) -> Self {
        use PaymentStatus::{Canceled, Processing, RequiresPaymentMethod, Succeeded};
        let parts = session.into_parts();
        let session = &parts.session;
        let intent = parts.intent.as_deref();
        let (status, received) = match (session.payment_status(), session.status(), intent) {
            (SessionPaymentStatus::NoPaymentRequired, Some(SessionStatus::Complete) | None, _) => {
                (Succeeded, session.total())
            }
            // The session is over, whatever its PaymentIntent waits for.
            (_, Some(SessionStatus::Expired), Some(intent)) if intent.is_unpaid() => {
                (Canceled, zero(session))
            }
            // It may be paid with another PaymentIntent.
            (_, Some(SessionStatus::Open), Some(intent)) if intent.status == Canceled => {
                (RequiresPaymentMethod, zero(session))
            }
            (_, _, Some(intent)) => (intent.status.clone(), intent.amount_received),
            (SessionPaymentStatus::Paid, _, None) => (Succeeded, session.total()),
            (_, Some(SessionStatus::Expired), None) => (Canceled, zero(session)),
            (_, Some(SessionStatus::Complete), None) => (Processing, zero(session)),
            (_, _, None) => (RequiresPaymentMethod, zero(session)),
        };
        Self {
            id: session.payment_intent().unwrap_or(session.id()).to_owned(),
            amount: session.total(),
            amount_received: received,
            amount_capturable: intent.map_or(zero(session), Self::amount_capturable),
            status,
            metadata: session.metadata().clone(),
            livemode: Some(session.livemode()),
            created: session.created(),
            client_secret: None,
            latest_charge: intent.and_then(|intent| intent.latest_charge.clone()),
            returned: intent.and_then(Self::returned),
            receipt_email: session.email().map(str::to_owned),
            description: intent.and_then(|intent| intent.description.clone()),
            customer: parts.customer(),
            saves_payment_method: intent.is_some_and(Self::saves_payment_method),
            captures_manually: intent.is_some_and(Self::captures_manually),
            destination: intent.and_then(|intent| intent.destination.clone()),
            on_behalf_of: intent.and_then(|intent| intent.on_behalf_of.clone()),
            application_fee: intent.and_then(Self::application_fee),
            application: intent.and_then(|intent| intent.application.clone()),
            capture_before: intent.and_then(Self::capture_before),
            payment_method_types: parts.payment_method_types(),
            last_error: intent.and_then(|intent| intent.last_error.clone()),
            account: None,
            session: Some(Box::new(parts.session)),
        }
    }

    /// The same payment, failed: its Checkout Session does not say how, only that it is over.
    pub(super) fn failed(mut self) -> Self {
        self.status = PaymentStatus::RequiresPaymentMethod;
        self
    }

    /// Reads the event's object, and adds what only the event says.
    pub(super) fn of(event: &Event) -> Result<Self, EventError> {
        let mut payment: Self = event.object()?;
        if *payment.livemode.get_or_insert(event.livemode()) != event.livemode() {
            return Err(event.unexpected::<Self>("it is of another mode than the event"));
        }
        Ok(payment.on_account(event.account()))
    }
}

/// No client secret and nothing personal.
impl fmt::Debug for Payment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Payment")
            .field("id", &self.id)
            .field("amount", &self.amount)
            .field("amount_received", &self.amount_received)
            .field("status", &self.status)
            .field("order_id", &self.order_id())
            .field("livemode", &self.livemode)
            .field("account", &self.account)
            .field("session", &self.session)
            .finish_non_exhaustive()
    }
}

fn zero(session: &CheckoutSession) -> Amount {
    Amount::new(0, session.total().currency())
}

/// What a charge says of money that went back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Returned {
    /// Minor units refunded.
    pub(crate) refunded: u64,
    /// Whether it was ever disputed. Stripe leaves that so when the dispute is won.
    pub(crate) disputed: bool,
}

/// What Stripe sends. Every field without `Lenient` must be right, or the whole is refused.
#[derive(Deserialize)]
struct Object {
    id: String,
    object: String,
    amount: Minor,
    amount_received: Option<Minor>,
    amount_capturable: Option<Minor>,
    currency: Currency,
    status: PaymentStatus,
    #[serde(default)]
    metadata: Metadata,
    livemode: Option<bool>,
    #[serde(default)]
    created: Lenient<i64>,
    #[serde(default)]
    client_secret: Lenient<ClientSecret>,
    #[serde(default)]
    latest_charge: Lenient<LatestCharge>,
    #[serde(default)]
    charges: Lenient<Charges>,
    #[serde(default)]
    receipt_email: Lenient<String>,
    #[serde(default)]
    description: Lenient<String>,
    #[serde(default)]
    customer: Lenient<Reference>,
    #[serde(default)]
    capture_method: Lenient<String>,
    #[serde(default)]
    payment_method_options: Lenient<BTreeMap<String, Lenient<MethodOption>>>,
    #[serde(default)]
    transfer_data: Lenient<TransferData>,
    #[serde(default)]
    on_behalf_of: Lenient<Reference>,
    #[serde(default)]
    application_fee_amount: Lenient<Minor>,
    #[serde(default)]
    application: Lenient<Reference>,
    #[serde(default)]
    setup_future_usage: Lenient<String>,
    #[serde(default)]
    payment_method_types: Lenient<Vec<String>>,
    #[serde(default)]
    last_payment_error: Lenient<Failure>,
}

/// Its id, or the whole of it where whoever asked had it expanded.
#[derive(Deserialize)]
#[serde(untagged)]
enum LatestCharge {
    Id(String),
    Expanded {
        id: String,
        amount_refunded: Minor,
        disputed: bool,
        #[serde(default)]
        payment_method_details: Lenient<BTreeMap<String, Lenient<Method>>>,
    },
    Other(Reference),
}

#[derive(Deserialize)]
struct TransferData {
    #[serde(default)]
    destination: Lenient<Reference>,
}

/// The settings of one payment method, which differ from the PaymentIntent's.
#[derive(Deserialize)]
struct MethodOption {
    capture_method: Option<String>,
}

/// What the charge says of the payment method, under the name of its type.
#[derive(Deserialize)]
struct Method {
    capture_before: Option<i64>,
}

impl LatestCharge {
    fn capture_before(&self) -> Option<i64> {
        let Self::Expanded {
            payment_method_details: Lenient::Is(methods),
            ..
        } = self
        else {
            return None;
        };
        methods.values().find_map(|method| match method {
            Lenient::Is(method) => method.capture_before,
            _ => None,
        })
    }

    fn returned(&self) -> Option<Returned> {
        match self {
            Self::Expanded {
                amount_refunded,
                disputed,
                ..
            } => Some(Returned {
                refunded: amount_refunded.0,
                disputed: *disputed,
            }),
            _ => None,
        }
    }

    fn id(self) -> Option<String> {
        match self {
            Self::Id(id) | Self::Expanded { id, .. } => Some(id).filter(|id| !id.is_empty()),
            Self::Other(reference) => reference.id(),
        }
    }
}

/// Before 2022-11-15 there was a list of charges, the latest first, in place of `latest_charge`.
#[derive(Deserialize)]
struct Charges {
    data: Vec<Lenient<Reference>>,
}

impl TryFrom<Named<Object>> for Payment {
    type Error = &'static str;

    fn try_from(Named(object): Named<Object>) -> Result<Self, Self::Error> {
        if object.object != "payment_intent" {
            return Err("another object than a PaymentIntent");
        }
        if object.id.is_empty() {
            return Err("a PaymentIntent without an id");
        }
        let amount = |Minor(minor)| Amount::new(minor, object.currency);
        let received = match object.amount_received {
            // Stripe's specification lets it be absent; then success means all of it.
            None if object.status == PaymentStatus::Succeeded => object.amount,
            other => other.unwrap_or(Minor(0)),
        };
        let charge = object.latest_charge.ok();
        let is_manual = |method: &str| method == "manual";
        let options = object.payment_method_options.ok().unwrap_or_default();
        let method_is_manual = options.into_values().any(|option| {
            let option = option.ok().and_then(|option| option.capture_method);
            option.as_deref().is_some_and(is_manual)
        });
        let capture_before = charge.as_ref().and_then(LatestCharge::capture_before);
        let former_charge = || object.charges.ok()?.data.into_iter().next()?.id();
        Ok(Self {
            id: object.id,
            amount: amount(object.amount),
            amount_received: amount(received),
            amount_capturable: amount(object.amount_capturable.unwrap_or(Minor(0))),
            status: object.status,
            metadata: object.metadata,
            livemode: object.livemode,
            created: object.created.ok().unwrap_or_default(),
            client_secret: object.client_secret.ok(),
            returned: charge.as_ref().and_then(LatestCharge::returned),
            latest_charge: charge.and_then(LatestCharge::id).or_else(former_charge),
            receipt_email: object.receipt_email.ok(),
            description: object.description.ok(),
            customer: object.customer.id(),
            captures_manually: method_is_manual
                || object.capture_method.ok().as_deref().is_some_and(is_manual),
            destination: object
                .transfer_data
                .ok()
                .and_then(|transfer| transfer.destination.id()),
            on_behalf_of: object.on_behalf_of.id(),
            application_fee: object.application_fee_amount.ok().map(amount),
            application: object.application.id(),
            capture_before,
            saves_payment_method: object.setup_future_usage.ok().is_some(),
            payment_method_types: object.payment_method_types.ok().unwrap_or_default(),
            last_error: object.last_payment_error.ok(),
            account: None,
            session: None,
        })
    }
}
