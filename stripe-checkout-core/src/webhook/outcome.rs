use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use super::{
    ChargeRefunded, CheckoutSession, Dispute, DisputeChange, Event, Failure, Payment,
    PaymentMethod, PaymentStatus, Refund, SessionPaymentStatus, SessionStatus, SetupIntent,
    SetupStatus,
};
use crate::error::EventError;

/// The event types from which an [`Outcome`] is read. Request them from Stripe for a webhook
/// endpoint, or for a list, which takes 20 of them at a time. If your handler reads other types in
/// [`PaymentEvent::Other`](crate::fulfillment::PaymentEvent::Other), add those to the endpoint.
pub const EVENT_TYPES: &[&str] = &[
    "payment_intent.succeeded",
    "payment_intent.processing",
    "payment_intent.canceled",
    "payment_intent.amount_capturable_updated",
    "payment_intent.requires_action",
    "payment_intent.payment_failed",
    "checkout.session.completed",
    "checkout.session.async_payment_succeeded",
    "checkout.session.async_payment_failed",
    "checkout.session.expired",
    "refund.created",
    "refund.updated",
    "refund.failed",
    "charge.refund.updated",
    "charge.refunded",
    "charge.dispute.created",
    "charge.dispute.updated",
    "charge.dispute.funds_withdrawn",
    "charge.dispute.funds_reinstated",
    "charge.dispute.closed",
    "setup_intent.succeeded",
    "setup_intent.setup_failed",
    "payment_method.attached",
    "payment_method.detached",
];

/// The outcome of an event: the change to a payment that it reports.
///
/// Money counts as paid only if the event's name and its object agree. The object of a
/// `payment_intent.succeeded` must be a PaymentIntent with the status `succeeded` and a received
/// amount above zero. Otherwise it is [`Unreadable`](Self::Unreadable). The code that knows the
/// order must check the rest: whether the amount is *enough*, whether the currency and the mode are
/// right, and whether the payment is yours at all.
///
/// See <https://docs.stripe.com/api/events/types>.
///
/// ```
/// # use stripe_checkout_core::webhook::{Event, Outcome};
/// # fn fulfil(order: &str) {}
/// # fn handle(event: &Event) {
/// match Outcome::of(event) {
///     Outcome::Succeeded(payment) => fulfil(payment.order_id().unwrap_or_default()),
///     Outcome::Failed(payment, failure) => println!("{}: {}", payment.id(), failure.message_for_buyer()),
///     _ => {}
/// }
/// # }
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum Outcome {
    /// The money was collected.
    Succeeded(Payment),
    /// The payment is on its way. It may still fail, days later. Do not ship yet.
    Processing(Payment),
    /// An attempt failed. The buyer may try again on the same PaymentIntent.
    Failed(Payment, Failure),
    /// The PaymentIntent was canceled.
    Canceled(Payment),
    /// The money is authorised and waits for its capture.
    Capturable(Payment),
    /// The buyer must do something, for example 3-D Secure.
    RequiresAction(Payment),
    /// A refund was created, changed, or failed: see its status. Read from `refund.*` only.
    Refunded(Refund),
    /// The same news of a refund once more, as `charge.refund.updated` reports it.
    ChargeRefundUpdated(Refund),
    /// A part or all of a charge has been refunded. The object contains the sum.
    ChargeRefunded(ChargeRefunded),
    /// A dispute was opened.
    DisputeOpened(Dispute),
    /// A dispute changed, or moved money.
    DisputeUpdated(Dispute, DisputeChange),
    /// A dispute was closed: see its status.
    DisputeClosed(Dispute),
    /// A payment method was saved without a payment.
    SetupSucceeded(SetupIntent),
    /// An attempt to save a payment method failed. The buyer may try again on the same SetupIntent.
    SetupFailed(SetupIntent, Failure),
    /// A payment method was attached to a customer.
    PaymentMethodAttached(PaymentMethod),
    /// A payment method was detached from its customer, permanently.
    PaymentMethodDetached(PaymentMethod),
    /// A Checkout Session with nothing to pay was completed: a promotion took off the whole price.
    /// There is no PaymentIntent; the session is the payment.
    Free(Payment),
    /// Nothing that decides about a payment. Most events are of this kind.
    NotAboutPayment,
    /// It should be about a payment, but its object cannot be read, or contradicts the event's
    /// name. The event is genuine. Tell the people who run the shop, and do not return an error to
    /// Stripe, because a redelivery would contain the same object.
    Unreadable(EventError),
}

impl Outcome {
    /// Reads the event.
    pub fn of(event: &Event) -> Self {
        Self::read(event).unwrap_or_else(Self::Unreadable)
    }

    fn read(event: &Event) -> Result<Self, EventError> {
        if !EVENT_TYPES.contains(&event.event_type()) {
            return Ok(Self::NotAboutPayment);
        }
        Ok(match event.event_type() {
            "payment_intent.succeeded" => Self::Succeeded(paid(event)?),
            "payment_intent.processing" => {
                Self::Processing(payment(event, PaymentStatus::Processing)?)
            }
            "payment_intent.canceled" => Self::Canceled(payment(event, PaymentStatus::Canceled)?),
            "payment_intent.amount_capturable_updated" => {
                Self::Capturable(payment(event, PaymentStatus::RequiresCapture)?)
            }
            "payment_intent.requires_action" => {
                Self::RequiresAction(payment(event, PaymentStatus::RequiresAction)?)
            }
            "payment_intent.payment_failed" => {
                let payment = failed(event)?;
                let failure = payment.last_error().cloned().unwrap_or_default();
                Self::Failed(payment, failure)
            }
            "checkout.session.completed"
            | "checkout.session.async_payment_succeeded"
            | "checkout.session.async_payment_failed"
            | "checkout.session.expired" => return of_session(event),
            "refund.created" | "refund.updated" | "refund.failed" => {
                Self::Refunded(Refund::of(event)?)
            }
            "charge.refund.updated" => Self::ChargeRefundUpdated(Refund::of(event)?),
            "charge.refunded" => Self::ChargeRefunded(ChargeRefunded::of(event)?),
            "charge.dispute.created" => Self::DisputeOpened(Dispute::of(event)?),
            "charge.dispute.updated" => {
                Self::DisputeUpdated(Dispute::of(event)?, DisputeChange::Updated)
            }
            "charge.dispute.funds_withdrawn" => {
                Self::DisputeUpdated(Dispute::of(event)?, DisputeChange::FundsWithdrawn)
            }
            "charge.dispute.funds_reinstated" => {
                Self::DisputeUpdated(Dispute::of(event)?, DisputeChange::FundsReinstated)
            }
            "charge.dispute.closed" => Self::DisputeClosed(Dispute::of(event)?),
            "setup_intent.succeeded" => Self::SetupSucceeded(set_up(event)?),
            "setup_intent.setup_failed" => {
                let setup = SetupIntent::of(event)?;
                let failure = setup.last_error().cloned().unwrap_or_default();
                Self::SetupFailed(setup, failure)
            }
            "payment_method.attached" => Self::PaymentMethodAttached(PaymentMethod::of(event)?),
            "payment_method.detached" => Self::PaymentMethodDetached(PaymentMethod::of(event)?),
            _ => Self::NotAboutPayment,
        })
    }

    /// The payment, if the event contains it. A refund or a dispute contains only the payment's
    /// [id](Self::payment_id).
    pub fn payment(&self) -> Option<&Payment> {
        match self {
            Self::Succeeded(payment)
            | Self::Processing(payment)
            | Self::Failed(payment, _)
            | Self::Canceled(payment)
            | Self::Capturable(payment)
            | Self::RequiresAction(payment)
            | Self::Free(payment) => Some(payment),
            _ => None,
        }
    }

    /// The dispute, if the event is about one.
    pub fn dispute(&self) -> Option<&Dispute> {
        match self {
            Self::DisputeOpened(dispute)
            | Self::DisputeUpdated(dispute, _)
            | Self::DisputeClosed(dispute) => Some(dispute),
            _ => None,
        }
    }

    /// The payment whose order must be delivered, if the event reports one: it is paid, or there
    /// was nothing to pay.
    pub(crate) fn settled(&self) -> Option<&Payment> {
        match self {
            Self::Succeeded(payment) | Self::Free(payment) => Some(payment),
            _ => None,
        }
    }

    /// The id of the event's subject: a PaymentIntent, or a Checkout Session without one; a
    /// SetupIntent or a payment method if the event is not about a payment.
    pub fn payment_id(&self) -> Option<&str> {
        match self {
            Self::Refunded(refund) | Self::ChargeRefundUpdated(refund) => refund.payment_intent(),
            Self::ChargeRefunded(charge) => charge.payment_intent(),
            Self::SetupSucceeded(setup) | Self::SetupFailed(setup, _) => Some(setup.id()),
            Self::PaymentMethodAttached(method) | Self::PaymentMethodDetached(method) => {
                Some(method.id())
            }
            _ if self.dispute().is_some() => self.dispute()?.payment_intent(),
            _ => self.payment().map(Payment::id),
        }
    }
}

/// An event whose outcome is read once. Clones share it.
#[derive(Clone)]
pub(crate) struct ReadEvent(Arc<(Event, OnceLock<Outcome>)>);

impl ReadEvent {
    pub(crate) fn outcome(&self) -> &Outcome {
        let (event, outcome) = &*self.0;
        outcome.get_or_init(|| Outcome::of(event))
    }
}

impl From<Event> for ReadEvent {
    fn from(event: Event) -> Self {
        Self(Arc::new((event, OnceLock::new())))
    }
}

impl Deref for ReadEvent {
    type Target = Event;

    fn deref(&self) -> &Event {
        &self.0.0
    }
}

fn payment(event: &Event, status: PaymentStatus) -> Result<Payment, EventError> {
    let payment = Payment::of(event)?;
    if *payment.status() == status {
        Ok(payment)
    } else {
        Err(contradiction(event))
    }
}

fn paid(event: &Event) -> Result<Payment, EventError> {
    let payment = payment(event, PaymentStatus::Succeeded)?;
    if payment.amount_received().is_zero() {
        return Err(event.unexpected::<Payment>("it succeeded, but nothing was received"));
    }
    Ok(payment)
}

fn set_up(event: &Event) -> Result<SetupIntent, EventError> {
    let setup = SetupIntent::of(event)?;
    if *setup.status() == SetupStatus::Succeeded {
        Ok(setup)
    } else {
        Err(event.unexpected::<SetupIntent>("its status contradicts the event's name"))
    }
}

/// Reads a failed payment. After a failed attempt, a PaymentIntent waits for the next one, or is
/// canceled.
fn failed(event: &Event) -> Result<Payment, EventError> {
    use PaymentStatus::{Processing, RequiresCapture, Succeeded};
    let payment = Payment::of(event)?;
    match payment.status() {
        Succeeded | Processing | RequiresCapture => Err(contradiction(event)),
        _ => Ok(payment),
    }
}

/// Reads the outcome of a session. A session knows what its PaymentIntent does not: the price of
/// the order, the amounts taken off, and the amounts added.
fn of_session(event: &Event) -> Result<Outcome, EventError> {
    use SessionPaymentStatus::{NoPaymentRequired, Paid, Unpaid};
    let Some(session) = CheckoutSession::of(event)? else {
        return Ok(Outcome::NotAboutPayment);
    };
    let paid = session.payment_status().clone();
    let expired = session.status() == Some(&SessionStatus::Expired);
    let is_free = session.payment_intent().is_none() && session.total().is_zero();
    let no_total = session.total().is_zero();
    let payment = Payment::of_session(session).connected_account(event.account());
    Ok(match (event.event_type(), paid) {
        ("checkout.session.expired", Unpaid | NoPaymentRequired) if expired => {
            Outcome::Canceled(payment)
        }
        ("checkout.session.completed" | "checkout.session.async_payment_succeeded", Paid)
            if !expired =>
        {
            if no_total
                || payment
                    .session()
                    .is_none_or(|of| of.payment_intent().is_none())
            {
                return Err(event.unexpected::<CheckoutSession>("it is paid, but with nothing"));
            }
            if *payment.status() != PaymentStatus::Succeeded {
                return Err(contradiction(event));
            }
            Outcome::Succeeded(payment)
        }
        ("checkout.session.completed", Unpaid) if !expired => Outcome::Processing(payment),
        ("checkout.session.completed", NoPaymentRequired) if !expired && is_free => {
            Outcome::Free(payment)
        }
        ("checkout.session.async_payment_failed", Unpaid) if !expired => {
            let failure = payment.last_error().cloned().unwrap_or_default();
            Outcome::Failed(payment.failed(), failure)
        }
        _ => {
            return Err(
                event.unexpected::<CheckoutSession>("its status contradicts the event's name")
            );
        }
    })
}

fn contradiction(event: &Event) -> EventError {
    event.unexpected::<Payment>("its status contradicts the event's name")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_of_an_event_share_one_outcome() {
        let event = Event::parse(r#"{"id":"evt_1","type":"product.created"}"#).unwrap();
        let event = ReadEvent::from(event);
        assert!(std::ptr::eq(event.outcome(), event.clone().outcome()));
    }

    #[test]
    fn every_type_that_is_asked_for_is_read() {
        for event_type in EVENT_TYPES {
            let event =
                format!(r#"{{"id":"evt_1","type":"{event_type}","data":{{"object":{{}}}}}}"#);
            let outcome = Outcome::of(&Event::parse(event).unwrap());
            assert!(matches!(outcome, Outcome::Unreadable(_)), "{event_type}");
        }
    }

    /// A session in an event of this type, with these fields changed.
    fn session(event_type: &str, changes: serde_json::Value) -> Outcome {
        let mut object = serde_json::json!({
            "id": "cs_1", "object": "checkout.session", "mode": "payment", "status": "complete", "payment_status": "paid", "currency": "eur",
            "amount_subtotal": 2000, "amount_total": 1800, "payment_intent": "pi_1", "livemode": false, "metadata": {"order_id": "7"},
        });
        let fields = object.as_object_mut().unwrap();
        fields.extend(changes.as_object().unwrap().clone());
        let event = serde_json::json!({
            "id": "evt_1", "type": format!("checkout.session.{event_type}"), "livemode": false, "data": {"object": object},
        });
        Outcome::of(&Event::parse(event.to_string()).unwrap())
    }

    #[test]
    fn a_session_is_paid_only_where_its_event_its_status_and_its_money_agree() {
        use serde_json::json;
        let paid = session("completed", json!({}));
        assert!(matches!(&paid, Outcome::Succeeded(it) if it.price().minor() == 2000));
        let nothing = json!({});
        for (event_type, changes) in [
            ("completed", json!({"status": "expired"})),
            ("completed", json!({"payment_status": "refunded"})),
            ("completed", json!({"payment_intent": null})),
            ("completed", json!({"amount_total": 0})),
            ("completed", json!({"amount_total": null})),
            ("completed", json!({"amount_subtotal": -1})),
            ("completed", json!({"currency": null})),
            ("completed", json!({"object": "payment_intent"})),
            ("completed", json!({"livemode": true})),
            // There is nothing to pay, and yet something is paid.
            (
                "completed",
                json!({"payment_status": "no_payment_required"}),
            ),
            (
                "completed",
                json!({"payment_status": "no_payment_required", "payment_intent": null}),
            ),
            ("async_payment_failed", nothing.clone()),
            (
                "async_payment_succeeded",
                json!({"payment_status": "unpaid"}),
            ),
            ("expired", nothing.clone()),
            ("expired", json!({"payment_status": "unpaid"})),
        ] {
            let outcome = session(event_type, changes.clone());
            assert!(
                matches!(outcome, Outcome::Unreadable(_)),
                "{event_type} {changes}: {outcome:?}"
            );
        }
        for mode in ["setup", "subscription", "new"] {
            let other = session("completed", json!({"mode": mode, "amount_total": null}));
            assert!(matches!(other, Outcome::NotAboutPayment), "{mode}");
        }
    }

    #[test]
    fn an_expanded_payment_intent_is_the_same_payment_and_tells_what_went_back() {
        let intent = serde_json::json!({
            "id": "pi_1", "object": "payment_intent", "amount": 1800, "currency": "eur", "status": "succeeded",
            "latest_charge": {"id": "ch_1", "object": "charge", "amount_refunded": 500, "disputed": false},
        });
        let Outcome::Succeeded(payment) =
            session("completed", serde_json::json!({"payment_intent": intent}))
        else {
            panic!("it is paid");
        };
        assert_eq!(payment.id(), "pi_1");
        assert_eq!(payment.amount_received().minor(), 1800);
        assert_eq!(
            payment.returned().map(|returned| returned.refunded),
            Some(500)
        );
    }

    #[test]
    fn the_payment_intent_says_what_was_received_where_it_is_at_hand() {
        let with = |status: &str, received: u64| {
            let intent = serde_json::json!({
                "id": "pi_1", "object": "payment_intent", "amount": 1800, "amount_received": received, "currency": "eur",
                "status": status, "capture_method": "manual",
            });
            session("completed", serde_json::json!({"payment_intent": intent}))
        };
        let Outcome::Succeeded(part) = with("succeeded", 500) else {
            panic!("it is paid");
        };
        assert_eq!(part.amount_received().minor(), 500);
        assert_eq!((part.amount().minor(), part.price().minor()), (1800, 2000));
        assert!(part.captures_manually());
        let held = with("requires_capture", 0);
        assert!(matches!(held, Outcome::Unreadable(_)), "{held:?}");
    }

    #[test]
    fn money_is_authorised_first_for_every_payment_method_or_for_one() {
        let manual = |changes: serde_json::Value| {
            let mut intent = serde_json::json!({
                "id": "pi_1", "object": "payment_intent", "amount": 1800, "currency": "eur", "status": "succeeded",
            });
            let fields = intent.as_object_mut().unwrap();
            fields.extend(changes.as_object().unwrap().clone());
            let intent: Payment = serde_json::from_value(intent).unwrap();
            intent.captures_manually()
        };
        use serde_json::json;
        assert!(manual(json!({"capture_method": "manual"})));
        let of_card = json!({"card": {"capture_method": "manual"}, "link": null});
        assert!(manual(
            json!({"capture_method": "automatic", "payment_method_options": of_card})
        ));
        for automatic in [
            json!({}),
            json!({"capture_method": "automatic_async"}),
            json!({"payment_method_options": {"card": {"capture_method": "automatic"}}}),
            json!({"payment_method_options": {"card": {"request_three_d_secure": "any"}}}),
            json!({"payment_method_options": 7}),
        ] {
            assert!(!manual(automatic.clone()), "{automatic}");
        }
    }
}
