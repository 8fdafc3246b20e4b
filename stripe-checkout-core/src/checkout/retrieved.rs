//! Receives a payment that was retrieved from Stripe, as if Stripe had sent an event.
//!
//! The buyer often returns before the webhook arrives, and some events never come. So a retrieved
//! payment that is settled is handled as an event: it has an id of its own, it is stored first, and
//! it has one effect. The webhook that follows is another event object of the same success.

use std::collections::BTreeMap;
use std::time::UNIX_EPOCH;

use serde::Serialize;
use serde_json::{
    json,
    value::{RawValue, to_raw_value},
};

use super::state::Checkout;
use crate::config::API_VERSION;
use crate::error::InboxError;
use crate::fulfillment::{EventFilter, EventState, OwnershipRule, Received};
use crate::marks::Marks;
use crate::secret::Mode;
use crate::stripe::ApiError;
use crate::stripe::{Gateway, REMEMBERED};
use crate::telemetry::Origin;
use crate::webhook::{
    CheckoutSession, Event, Payment, PaymentStatus, SessionPaymentStatus, SessionStatus,
};

impl Checkout {
    /// Receives a retrieved payment if it is settled.
    ///
    /// Errors only go to the log: the buyer sees the payment's status, whether or not the order is
    /// fulfilled now.
    ///
    /// This needs an inbox that survives a restart. Another inbox would ship again if a buyer
    /// reloads a page of last week.
    pub(super) async fn take_in_retrieved(&self, payment: &Payment, whole: &[u8]) {
        if !self.inner.fulfillment.survives_restart() {
            return;
        }
        let Some(event) = event_of(payment, whole) else {
            return;
        };
        let checkout = self.clone();
        let taken = self.to_the_end(async move { checkout.take_in_settled(event).await });
        if let Err(error) = taken.await {
            not_taken(payment, &error);
        }
    }

    /// Receives a retrieved Checkout Session if it is settled or waits for its capture.
    pub(super) async fn take_in_retrieved_session(
        &self,
        gateway: &Gateway,
        session: &CheckoutSession,
        payment: &Payment,
    ) {
        if !self.inner.fulfillment.survives_restart() {
            return;
        }
        let event = match event_of_session(gateway, session, payment).await {
            Ok(Some(event)) => event,
            Ok(None) => return,
            Err(error) if error.is_expected() => return,
            Err(error) => {
                tracing::warn!(payment = payment.id(), error = %crate::error::Chain(&error), "the PaymentIntent of a retrieved Checkout Session could not be looked up; its webhook tells");
                return;
            }
        };
        let checkout = self.clone();
        let taken = self.to_the_end(async move { checkout.take_in_settled(event).await });
        if let Err(error) = taken.await {
            not_taken(payment, &error);
        }
    }

    /// Returns the present and former names of the application.
    ///
    /// If marks do not decide which payments are ours, it returns the present name and the name of
    /// the rows.
    pub(super) fn names(&self) -> Vec<&str> {
        match &self.inner.ours {
            OwnershipRule::ByMetadata(names) => names.iter().map(String::as_str).collect(),
            OwnershipRule::AllPayments | OwnershipRule::Custom(_) => {
                vec![&self.inner.application, &self.inner.stored_as]
            }
        }
    }

    /// Whether the payment is marked with one of this application's names, or the merchant's rule
    /// accepts it.
    pub(super) fn bears_our_mark(&self, payment: &Payment) -> bool {
        let marks = Marks::of(payment.metadata());
        match &self.inner.ours {
            OwnershipRule::AllPayments => true,
            OwnershipRule::ByMetadata(names) => {
                marks.is_some_and(|marks| names.iter().any(|name| name == marks.application))
            }
            OwnershipRule::Custom(rule) => rule(payment),
        }
    }

    /// Receives the event that [`event_of`] made.
    ///
    /// If Stripe's own event is stored already and its handler fails, nothing is new. That event
    /// has its own attempts and pauses, and another event object would have as many again.
    pub(super) async fn take_in_settled(&self, event: Event) -> Result<Received, InboxError> {
        let fulfillment = &self.inner.fulfillment;
        let event = self.read(event);
        let outcome = event.outcome();
        let mut filter = EventFilter::default().payment(outcome.payment_id().unwrap_or_default());
        filter.scope = Some(self.scope(Mode::from_livemode(event.livemode())));
        let told = fulfillment.events(&filter).await?;
        let told = told.iter().find(|told| {
            // Events of one type may report different things: a session completes paid or unpaid.
            // The stored event reports the same success if it settles a payment.
            let same = match outcome.settled() {
                Some(_) => told.settles,
                None => !told.settles && told.event_type == event.event_type(),
            };
            same && told.id != event.id()
                && matches!(told.state, EventState::Pending | EventState::Dead)
        });
        match told {
            Some(told) => fulfillment.run_if_due(told).await,
            None => self.take_in_read(&event, Origin::Retrieved).await,
        }
    }
}

fn not_taken(payment: &Payment, error: &InboxError) {
    const SENTENCE: &str = "a retrieved payment was not taken in; its webhook will be";
    let payment = payment.id();
    match error.is_expected() {
        true => tracing::debug!(payment, %error, "{SENTENCE}"),
        false => tracing::warn!(payment, error = %crate::error::Chain(error), "{SENTENCE}"),
    }
}

/// Returns the event that Stripe sends, or has sent, when a payment reaches this status.
///
/// It covers payments that succeeded, were canceled, or are authorised. `None` for any other
/// status: more events follow.
pub(super) fn event_of(payment: &Payment, whole: &[u8]) -> Option<Event> {
    #[derive(Serialize)]
    struct Envelope<'a> {
        id: String,
        object: &'static str,
        api_version: &'static str,
        account: Option<&'a str>,
        created: u64,
        livemode: bool,
        #[serde(rename = "type")]
        event_type: &'static str,
        data: Data<'a>,
    }
    #[derive(Serialize)]
    struct Data<'a> {
        object: BTreeMap<String, &'a RawValue>,
    }
    #[derive(Serialize)]
    struct Charge<'a> {
        id: &'a str,
        object: &'static str,
        amount_refunded: u64,
        disputed: bool,
    }
    let event_type = match payment.status() {
        PaymentStatus::Succeeded => "payment_intent.succeeded",
        PaymentStatus::Canceled => "payment_intent.canceled",
        PaymentStatus::RequiresCapture => "payment_intent.amount_capturable_updated",
        _ => return None,
    };
    let mut object: BTreeMap<String, &RawValue> = serde_json::from_slice(whole).ok()?;
    let mut charge = None;
    if let (Some(id), Some(returned)) = (payment.latest_charge(), payment.returned()) {
        // Keep only the fields of the charge that decide. The rest is the buyer's name, address and
        // card.
        let kept = Charge {
            id,
            object: "charge",
            amount_refunded: returned.refunded,
            disputed: returned.disputed,
        };
        charge = Some(to_raw_value(&kept).ok()?);
    }
    if let Some(charge) = &charge {
        object.insert("latest_charge".to_owned(), charge);
    }
    let envelope = Envelope {
        id: retrieved_id(payment),
        object: "event",
        api_version: API_VERSION,
        account: payment.account(),
        created: known_since(payment),
        livemode: payment.livemode(),
        event_type,
        data: Data { object },
    };
    Event::parse(serde_json::to_vec(&envelope).ok()?).ok()
}

/// Returns the id of the event. An authorisation that grew is another event.
///
/// The id is the same each time, so that a reloaded page adds nothing new. It is never an id of
/// Stripe's.
fn retrieved_id(payment: &Payment) -> String {
    let id = format!("retrieved_{}_{}", payment.id(), payment.status().as_str());
    match payment.status() {
        PaymentStatus::RequiresCapture => {
            format!("{id}_{}", payment.amount_capturable().minor())
        }
        _ => id,
    }
}

/// Returns as of when the event reports the payment, in seconds since 1970.
///
/// If the payment was read with its charge, that is now, less the second for which an answer is
/// remembered. If the key may not read charges, a refund is not visible. The event then counts as
/// old as the payment, so that an old event is checked before it is fulfilled.
fn known_since(payment: &Payment) -> u64 {
    match payment.returned() {
        Some(_) => {
            let now = UNIX_EPOCH.elapsed().unwrap_or_default();
            now.saturating_sub(REMEMBERED).as_secs()
        }
        None => payment.created().max(0).unsigned_abs(),
    }
}

/// Returns the event of a session that is settled, or that waits for its capture.
///
/// A session does not know how much of the authorised money was captured. So its PaymentIntent
/// decides, as if it had been retrieved alone.
pub(super) async fn event_of_session(
    gateway: &Gateway,
    session: &CheckoutSession,
    payment: &Payment,
) -> Result<Option<Event>, ApiError> {
    let over = session.status() == Some(&SessionStatus::Expired);
    match session.intent() {
        Some(intent) if intent.captures_manually && !over => {
            let account = payment.account();
            let found = gateway.retrieve_intent_and_charge(&intent.id, account);
            let (intent, whole) = found.await?;
            Ok(event_of(&intent, &whole))
        }
        // The key may not read the PaymentIntent.
        None if session.payment_intent().is_some() && !over => Ok(None),
        _ => Ok(event_told_by_session(payment)),
    }
}

/// Returns the event that Stripe sends, or has sent, when a Checkout Session reaches its status.
///
/// `None` if more events follow. The event has only the fields that were read from the session: the
/// rest is the buyer's name and address.
fn event_told_by_session(payment: &Payment) -> Option<Event> {
    let session = payment.session()?;
    let over = match payment.status() {
        // Its PaymentIntent may be a moment ahead of it: the next look-up sees both.
        PaymentStatus::Succeeded if *session.payment_status() == SessionPaymentStatus::Unpaid => {
            return None;
        }
        PaymentStatus::Succeeded => "checkout.session.completed",
        // If the session is complete, the PaymentIntent failed. If it is open, it waits for its
        // buyer.
        PaymentStatus::RequiresPaymentMethod | PaymentStatus::Canceled
            if session.status() == Some(&SessionStatus::Complete) =>
        {
            "checkout.session.async_payment_failed"
        }
        PaymentStatus::Canceled => "checkout.session.expired",
        _ => return None,
    };
    let charge = payment.latest_charge().zip(payment.returned());
    // The received and refunded amounts decide.
    let charge = charge.map(|(id, returned)| {
        json!({
            "id": id,
            "object": "charge",
            "amount_refunded": returned.refunded,
            "disputed": returned.disputed,
        })
    });
    let intent = session.payment_intent().map(|id| {
        json!({
            "id": id,
            "object": "payment_intent",
            "amount": payment.amount().minor(),
            "amount_received": payment.amount_received().minor(),
            "currency": payment.currency().code(),
            "status": payment.status().as_str(),
            "latest_charge": charge.or(payment.latest_charge().map(Into::into)),
        })
    });
    let metadata: BTreeMap<_, _> = session.metadata().iter().collect();
    let event = json!({
        // The id is the same each time, so that a reloaded page adds nothing new. It is never an id
        // of Stripe's.
        "id": format!("retrieved_{}_{}", session.id(), payment.status().as_str()),
        "object": "event",
        "api_version": API_VERSION,
        "account": payment.account(),
        "created": known_since(payment),
        "livemode": session.livemode(),
        "type": over,
        "data": { "object": {
            "id": session.id(),
            "object": "checkout.session",
            "mode": "payment",
            "status": session.status().map(SessionStatus::as_str),
            "payment_status": session.payment_status().as_str(),
            "currency": session.total().currency().code(),
            "amount_subtotal": session.subtotal().minor(),
            "amount_total": session.total().minor(),
            "total_details": {
                "amount_discount": session.discount().minor(),
                "amount_shipping": session.shipping().minor(),
                "amount_tax": session.tax().minor(),
            },
            "created": session.created(),
            "livemode": session.livemode(),
            "metadata": metadata,
            "payment_intent": intent,
            "customer": payment.customer(),
            "customer_details": { "email": session.email() },
            "payment_method_types": payment.payment_method_types(),
        } },
    });
    Event::parse(event.to_string()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::webhook::Outcome;

    fn retrieved(status: &str) -> Option<Event> {
        authorised(status, 0)
    }

    fn authorised(status: &str, capturable: u64) -> Option<Event> {
        let object = serde_json::json!({
            "id": "pi_1", "object": "payment_intent", "amount": 1999, "amount_received": 1999, "currency": "eur", "status": status,
            "amount_capturable": capturable,
            "livemode": false, "metadata": {"order_id": "7"}, "client_secret": "pi_1_secret_x",
        });
        let body = object.to_string();
        event_of(&serde_json::from_str(&body).unwrap(), body.as_bytes())
    }

    #[test]
    fn of_an_expanded_charge_only_what_went_back_is_kept() {
        let object = serde_json::json!({
            "id": "pi_1", "object": "payment_intent", "amount": 1999, "amount_received": 1999, "currency": "eur", "status": "succeeded",
            "livemode": false, "metadata": {},
            "latest_charge": {"id": "ch_1", "object": "charge", "amount_refunded": 500, "disputed": true, "billing_details": {"email": "jane@example.com"}},
        });
        let body = object.to_string();
        let event = event_of(&serde_json::from_str(&body).unwrap(), body.as_bytes()).unwrap();
        assert!(!event.body().contains("jane"), "{}", event.body());
        let payment: Payment = event.object().unwrap();
        assert_eq!(payment.latest_charge(), Some("ch_1"));
        let returned = payment.returned().unwrap();
        assert_eq!((returned.refunded, returned.disputed), (500, true));
    }

    #[test]
    fn an_authorisation_that_grew_is_another_event() {
        let id = |minor| {
            let event = authorised("requires_capture", minor).unwrap();
            event.id().to_owned()
        };
        assert_eq!(id(1999), id(1999));
        assert_ne!(id(1999), id(2599));
    }

    #[test]
    fn a_settled_payment_is_an_event_and_the_same_one_each_time() {
        let event = retrieved("succeeded").unwrap();
        assert_eq!(event.id(), "retrieved_pi_1_succeeded");
        assert!(
            matches!(Outcome::of(&event), Outcome::Succeeded(payment) if payment.order_id() == Some("7"))
        );
        assert_eq!(retrieved("succeeded").unwrap().id(), event.id());
        assert!(matches!(
            Outcome::of(&retrieved("canceled").unwrap()),
            Outcome::Canceled(_)
        ));
        assert!(matches!(
            Outcome::of(&retrieved("requires_capture").unwrap()),
            Outcome::Capturable(_)
        ));
        for status in [
            "processing",
            "requires_action",
            "requires_payment_method",
            "new",
        ] {
            assert!(retrieved(status).is_none(), "{status}");
        }
    }
}
