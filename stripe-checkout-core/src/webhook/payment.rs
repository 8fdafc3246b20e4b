use std::fmt;

use serde::Deserialize;

use super::intent::{Intent, PaymentStatus, Returned};
use super::{CheckoutSession, Event, Failure, SessionPaymentStatus, SessionStatus};
use crate::amount::Amount;
use crate::currency::Currency;
use crate::error::EventError;
use crate::marks;
use crate::metadata::Metadata;
use crate::secret::ClientSecret;

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
#[serde(from = "Intent")]
pub struct Payment {
    intent: Intent,
    account: Option<String>,
    session: Option<Box<CheckoutSession>>,
}

impl From<Intent> for Payment {
    fn from(intent: Intent) -> Self {
        Self {
            intent,
            account: None,
            session: None,
        }
    }
}

impl Payment {
    /// The PaymentIntent's id, like `pi_3MtwBwLkdIwHu7ix28a3tqPa`; that of its Checkout Session, like `cs_…`, where there is no PaymentIntent: nothing was to be paid,
    /// or nobody tried.
    pub fn id(&self) -> &str {
        &self.intent.id
    }

    /// What was asked for.
    pub fn amount(&self) -> Amount {
        self.intent.amount
    }

    /// What was collected: only this is paid. It is less than the amount where only a part was captured, and zero before success.
    pub fn amount_received(&self) -> Amount {
        self.intent.amount_received
    }

    /// Whether there was nothing to pay: a promotion took off the whole price of a Checkout
    /// Session. Then there is no PaymentIntent, and nothing to refund.
    pub fn is_free(&self) -> bool {
        self.intent.status == PaymentStatus::Succeeded && self.intent.amount.is_zero()
    }

    /// The amount that is authorised and can be captured.
    pub fn amount_capturable(&self) -> Amount {
        self.intent.amount_capturable
    }

    /// The currency of all its amounts.
    pub fn currency(&self) -> Currency {
        self.intent.amount.currency()
    }

    /// Where it stands. In an event: where it stood when Stripe made the event.
    pub fn status(&self) -> &PaymentStatus {
        &self.intent.status
    }

    /// The metadata that was set when it was made.
    pub fn metadata(&self) -> &Metadata {
        &self.intent.metadata
    }

    /// The order that it pays: the metadata's `order_id`.
    pub fn order_id(&self) -> Option<&str> {
        self.intent.metadata.order_id()
    }

    /// Whether this is real money. What does not say so is not.
    pub fn livemode(&self) -> bool {
        self.intent.livemode.unwrap_or_default()
    }

    /// When it was made, in seconds since 1970; 0 if it does not say so.
    pub fn created(&self) -> i64 {
        self.intent.created
    }

    /// The secret with which the buyer's browser confirms it.
    pub fn client_secret(&self) -> Option<&ClientSecret> {
        self.intent.client_secret.as_ref()
    }

    /// The id of the latest attempt's charge, like `ch_3MmlLrLkdIwHu7ix0snN0B15`.
    pub fn latest_charge(&self) -> Option<&str> {
        self.intent.latest_charge.as_deref()
    }

    /// What went back of it; known only where whoever retrieved it had its latest charge expanded.
    pub(crate) fn returned(&self) -> Option<Returned> {
        self.intent.returned
    }

    /// Where Stripe sends the receipt. Personal data.
    pub fn receipt_email(&self) -> Option<&str> {
        self.intent.receipt_email.as_deref()
    }

    /// The description that was set when it was made.
    pub fn description(&self) -> Option<&str> {
        self.intent.description.as_deref()
    }

    /// The id of the customer, like `cus_NffrFeUfNV2Hib`.
    pub fn customer(&self) -> Option<&str> {
        self.intent.customer.as_deref()
    }

    /// Whether paying saves the payment method for the customer.
    pub fn saves_payment_method(&self) -> bool {
        self.intent.saves_payment_method
    }

    /// Whether paying only reserves the amount, which you then [`capture`](crate::Checkout): for
    /// every payment method, or for one of them.
    pub fn captures_manually(&self) -> bool {
        self.intent.captures_manually
    }

    /// The connected account to which the money goes on (`acct_…`), if it is a destination charge.
    pub fn destination(&self) -> Option<&str> {
        self.intent.destination.as_deref()
    }

    /// The connected account that is the business of record, if the platform is not.
    pub fn on_behalf_of(&self) -> Option<&str> {
        self.intent.on_behalf_of.as_deref()
    }

    /// What the platform keeps of a payment with a connected account.
    pub fn application_fee(&self) -> Option<Amount> {
        self.intent.application_fee
    }

    /// The Connect application that made it on a connected account (`ca_…`). Stripe sets it, so the
    /// connected account cannot choose it.
    pub fn application(&self) -> Option<&str> {
        self.intent.application.as_deref()
    }

    /// Until when what is reserved can be captured, in seconds since 1970; known only where whoever retrieved it had its latest charge expanded.
    pub fn capture_before(&self) -> Option<i64> {
        self.intent.capture_before
    }

    /// The payment methods that it may be paid with, like `card`.
    pub fn payment_method_types(&self) -> &[String] {
        &self.intent.payment_method_types
    }

    /// Why the latest attempt failed. Stripe keeps it until the next attempt.
    pub fn last_error(&self) -> Option<&Failure> {
        self.intent.last_error.as_ref()
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
            .map_or(self.intent.amount, CheckoutSession::subtotal)
    }

    /// As which attempt of its order its Checkout Session was made; none if it was paid otherwise.
    pub(crate) fn session_attempt(&self) -> Option<u32> {
        marks::session_attempt(&self.intent.metadata)
    }

    /// Whether a call of ours captured it.
    pub(crate) fn is_captured_by_us(&self) -> bool {
        self.intent.metadata.get(marks::CAPTURE).is_some()
    }

    /// Whether it waits for its buyer: nothing is authorised, on its way or paid.
    #[cfg(feature = "intent")]
    pub(crate) fn is_unpaid(&self) -> bool {
        self.intent.is_unpaid()
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
            Some(account) => format!("{account}/{}", self.intent.id),
            None => self.intent.id.clone(),
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
            intent: Intent {
                id: session.payment_intent().unwrap_or(session.id()).to_owned(),
                amount: session.total(),
                amount_received: received,
                amount_capturable: intent.map_or(zero(session), |intent| intent.amount_capturable),
                status,
                metadata: session.metadata().clone(),
                livemode: Some(session.livemode()),
                created: session.created(),
                client_secret: None,
                latest_charge: intent.and_then(|intent| intent.latest_charge.clone()),
                returned: intent.and_then(|intent| intent.returned),
                receipt_email: session.email().map(str::to_owned),
                description: intent.and_then(|intent| intent.description.clone()),
                customer: parts.customer(),
                saves_payment_method: intent.is_some_and(|intent| intent.saves_payment_method),
                captures_manually: intent.is_some_and(|intent| intent.captures_manually),
                destination: intent.and_then(|intent| intent.destination.clone()),
                on_behalf_of: intent.and_then(|intent| intent.on_behalf_of.clone()),
                application_fee: intent.and_then(|intent| intent.application_fee),
                application: intent.and_then(|intent| intent.application.clone()),
                capture_before: intent.and_then(|intent| intent.capture_before),
                payment_method_types: parts.payment_method_types(),
                last_error: intent.and_then(|intent| intent.last_error.clone()),
            },
            account: None,
            session: Some(Box::new(parts.session)),
        }
    }

    /// The same payment, failed: its Checkout Session does not say how, only that it is over.
    pub(super) fn failed(mut self) -> Self {
        self.intent.status = PaymentStatus::RequiresPaymentMethod;
        self
    }

    /// Reads the event's object, and adds what only the event says.
    pub(super) fn of(event: &Event) -> Result<Self, EventError> {
        let mut payment: Self = event.object()?;
        if *payment.intent.livemode.get_or_insert(event.livemode()) != event.livemode() {
            return Err(event.unexpected::<Self>("it is of another mode than the event"));
        }
        Ok(payment.on_account(event.account()))
    }
}

/// No client secret and nothing personal.
impl fmt::Debug for Payment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Payment")
            .field("id", &self.intent.id)
            .field("amount", &self.intent.amount)
            .field("amount_received", &self.intent.amount_received)
            .field("status", &self.intent.status)
            .field("order_id", &self.order_id())
            .field("livemode", &self.intent.livemode)
            .field("account", &self.account)
            .field("session", &self.session)
            .finish_non_exhaustive()
    }
}

fn zero(session: &CheckoutSession) -> Amount {
    Amount::new(0, session.total().currency())
}
