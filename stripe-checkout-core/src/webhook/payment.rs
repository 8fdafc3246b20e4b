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

/// A PaymentIntent, with the fields that a shop needs.
///
/// One type serves events, retrievals and lists, of any API version. The fields that decide about
/// money (id, amounts, currency, status) must be present and valid, or there is no `Payment`. The
/// other fields may be missing or unknown.
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
    /// The PaymentIntent's id, like `pi_3MtwBwLkdIwHu7ix28a3tqPa`.
    ///
    /// If there is no PaymentIntent, it is the id of the Checkout Session, like `cs_…`. Then there
    /// was nothing to pay, or no buyer tried to pay.
    pub fn id(&self) -> &str {
        &self.intent.id
    }

    /// The requested amount.
    pub fn amount(&self) -> Amount {
        self.intent.amount
    }

    /// The collected amount: only this is paid. It is less than the amount if only a part was
    /// captured, and zero before success.
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

    /// The currency of all amounts of the payment.
    pub fn currency(&self) -> Currency {
        self.intent.amount.currency()
    }

    /// The status. In an event: the status at the moment when Stripe made the event.
    pub fn status(&self) -> &PaymentStatus {
        &self.intent.status
    }

    /// The metadata that was set when the payment was created.
    pub fn metadata(&self) -> &Metadata {
        &self.intent.metadata
    }

    /// The order that the payment pays: the metadata's `order_id`.
    pub fn order_id(&self) -> Option<&str> {
        self.intent.metadata.order_id()
    }

    /// Whether this is real money; false if the object does not say.
    pub fn livemode(&self) -> bool {
        self.intent.livemode.unwrap_or_default()
    }

    /// The time of creation, in seconds since 1970; 0 if the object does not say.
    pub fn created(&self) -> i64 {
        self.intent.created
    }

    /// The secret with which the buyer's browser confirms the payment.
    pub fn client_secret(&self) -> Option<&ClientSecret> {
        self.intent.client_secret.as_ref()
    }

    /// The id of the latest attempt's charge, like `ch_3MmlLrLkdIwHu7ix0snN0B15`.
    pub fn latest_charge(&self) -> Option<&str> {
        self.intent.latest_charge.as_deref()
    }

    /// The money that went back. It is known only if the retrieval expanded the latest charge.
    pub(crate) fn returned(&self) -> Option<Returned> {
        self.intent.returned
    }

    /// The address to which Stripe sends the receipt. Personal data.
    pub fn receipt_email(&self) -> Option<&str> {
        self.intent.receipt_email.as_deref()
    }

    /// The description that was set when the payment was created.
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

    /// Whether paying only authorises the amount, which you then [`capture`](crate::Checkout). This
    /// may apply to every payment method, or to one of them.
    pub fn captures_manually(&self) -> bool {
        self.intent.captures_manually
    }

    /// The connected account that receives the money (`acct_…`), if this is a destination charge.
    pub fn transfer_destination(&self) -> Option<&str> {
        self.intent.destination.as_deref()
    }

    /// The connected account that is the business of record, if the platform is not.
    pub fn on_behalf_of(&self) -> Option<&str> {
        self.intent.on_behalf_of.as_deref()
    }

    /// The amount that the platform keeps of a payment with a connected account.
    pub fn application_fee_amount(&self) -> Option<Amount> {
        self.intent.application_fee
    }

    /// The Connect application that created the payment on a connected account (`ca_…`). Stripe
    /// sets it, so the connected account cannot choose it.
    pub fn application(&self) -> Option<&str> {
        self.intent.application.as_deref()
    }

    /// The time until which the authorised amount can be captured, in seconds since 1970. It is
    /// known only if the retrieval expanded the latest charge.
    pub fn capture_before(&self) -> Option<i64> {
        self.intent.capture_before
    }

    /// The payment methods that the buyer can use, like `card`.
    pub fn payment_method_types(&self) -> &[String] {
        &self.intent.payment_method_types
    }

    /// The reason why the latest attempt failed. Stripe keeps it until the next attempt.
    pub fn last_error(&self) -> Option<&Failure> {
        self.intent.last_error.as_ref()
    }

    /// Sets the session of the payment.
    pub(crate) fn in_session(mut self, session: CheckoutSession) -> Self {
        self.session = Some(Box::new(session.into_parts().session));
        self
    }

    /// The Checkout Session of the payment, if this is news of that session. The session has the
    /// order's own price, the amounts taken off and the amounts added. News of the PaymentIntent
    /// alone, such as a declined card, does not contain it.
    pub fn session(&self) -> Option<&CheckoutSession> {
        self.session.as_deref()
    }

    /// The price of the order, before discount, shipping and tax: the subtotal of the session, or
    /// the payment's amount if there is no session.
    pub(crate) fn price(&self) -> Amount {
        self.session()
            .map_or(self.intent.amount, CheckoutSession::subtotal)
    }

    /// The number of the order's attempt for which the Checkout Session was created; none if the
    /// payment has no session.
    pub(crate) fn session_attempt(&self) -> Option<u32> {
        marks::session_attempt(&self.intent.metadata)
    }

    /// Whether a call of this crate captured it.
    pub(crate) fn is_captured_by_us(&self) -> bool {
        self.intent.metadata.get(marks::CAPTURE).is_some()
    }

    /// Whether it waits for its buyer: nothing is authorised, on its way or paid.
    #[cfg(feature = "intent")]
    pub(crate) fn is_unpaid(&self) -> bool {
        self.intent.is_unpaid()
    }

    /// Whether only the Checkout Session can say how this payment stands. The PaymentIntent itself
    /// does not know what was taken off and what was added.
    pub(crate) fn is_told_by_session(&self) -> bool {
        self.session.is_none() && self.session_attempt().is_some()
    }

    /// The connected account of the payment; none for your own. It comes from the event, not from
    /// the PaymentIntent.
    pub fn account(&self) -> Option<&str> {
        self.account.as_deref()
    }

    /// Returns an idempotency key for work outside the database, which must not be done twice: at a
    /// parcel service or an e-mail service, for example.
    ///
    /// It is always the same for the same payment, and differs for every other payment. It has at
    /// most 255 characters with Stripe's ids. To use it for more than one thing, put your own
    /// prefix before it.
    pub fn idempotency_key(&self) -> String {
        match &self.account {
            Some(account) => format!("{account}/{}", self.intent.id),
            None => self.intent.id.clone(),
        }
    }

    /// Sets the connected account of the payment.
    #[must_use]
    pub fn connected_account(mut self, account: Option<&str>) -> Self {
        self.account = account.map(str::to_owned);
        self
    }

    /// Reads the payment of a Checkout Session. The PaymentIntent, if it is at hand, says how the
    /// payment stands and how much was received. A session does not know how much was captured.
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
            // The buyer may pay the session with another PaymentIntent.
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

    /// Marks the payment as failed. Its Checkout Session does not say how it failed, only that it
    /// is over.
    pub(super) fn failed(mut self) -> Self {
        self.intent.status = PaymentStatus::RequiresPaymentMethod;
        self
    }

    /// Reads the event's object, and adds the facts that only the event has.
    pub(super) fn of(event: &Event) -> Result<Self, EventError> {
        let mut payment: Self = event.object()?;
        if *payment.intent.livemode.get_or_insert(event.livemode()) != event.livemode() {
            return Err(event.unexpected::<Self>("it is of another mode than the event"));
        }
        Ok(payment.connected_account(event.account()))
    }
}

/// Shows no client secret and no personal data.
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
