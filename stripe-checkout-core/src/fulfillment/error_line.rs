//! The lines at `ERROR` about money that a person must look at, whether or not the handler does.

use super::payment_event::PaymentEvent;
use crate::error::Escaped;
use crate::webhook::Event;

/// Logs the event that the handler is about to receive, if a person must look at it.
pub(super) fn log(news: &PaymentEvent<'_>, event: &Event) {
    let (payment, reason, sentence) = match news {
        PaymentEvent::Mismatch {
            payment, mismatch, ..
        } => (
            payment,
            Some(mismatch.to_string()),
            "the payment does not fit its order: nothing was fulfilled",
        ),
        PaymentEvent::DuplicatePayment { payment, .. } => (
            payment,
            None,
            "a second payment of an order that is already paid: nothing was fulfilled, refund it",
        ),
        PaymentEvent::RefundedBeforeFulfillment { payment, .. } => (
            payment,
            None,
            "the payment was refunded or disputed before it was fulfilled: nothing was fulfilled",
        ),
        _ => return,
    };
    let reason = reason.as_deref().map(Escaped);
    tracing::error!(
        event = event.id(),
        payment = payment.id(),
        order = payment.order_id(),
        amount = %payment.amount(),
        received = %payment.amount_received(),
        reason = reason.map(tracing::field::display),
        "{sentence}"
    );
}

/// Logs an event about a payment that only a person can judge.
pub(super) fn log_unclear(event: &Event, payment: Option<&str>, reason: &str) {
    tracing::error!(event = event.id(), payment, reason = %Escaped(reason), "a person must look at this event about a payment");
}
