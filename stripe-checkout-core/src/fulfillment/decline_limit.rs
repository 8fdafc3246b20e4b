//! Cancels the PaymentIntent of an order that was declined too often. Otherwise anyone with its
//! client secret could go on to try cards on it without asking us. A decline may be processed late,
//! when the payment is authorised or paid: such a payment stays as it is.

use super::BoxFuture;
use super::decide::is_session;
use super::inbox::Inbox;
use super::inbox_ext::InboxExt as _;
use super::records::{EventRecord, IntentState};
use crate::error::BoxError;

/// Cancels a PaymentIntent that waits for its buyer, by its id and its connected account.
pub(crate) type Cancel =
    Box<dyn Fn(String, Option<String>) -> BoxFuture<'static, Result<(), BoxError>> + Send + Sync>;

/// The number of declined attempts that an order may have, and the call that ends them.
pub(crate) struct DeclineLimit {
    pub(crate) max: u32,
    pub(crate) cancel: Cancel,
}

impl DeclineLimit {
    /// Applies the limit after this event was handled. If anything fails here, it is done again
    /// after the next attempt, or when the buyer asks for the PaymentIntent.
    pub(super) async fn after<I: Inbox>(&self, inbox: &I, event: &EventRecord) {
        if event.event_type != "payment_intent.payment_failed" {
            return;
        }
        let Some(payment) = event.payment.as_deref().filter(|_| event.ours) else {
            return;
        };
        let Ok(Some((order, row))) = inbox.intent_of_payment(&event.scope, payment).await else {
            return;
        };
        let closed = matches!(row.state, IntentState::Paid | IntentState::Canceled);
        if closed || row.declines < self.max {
            return;
        }
        let declines = row.declines;
        tracing::warn!(
            order = order.reference,
            payment,
            declines,
            "too many attempts to pay an order were declined: its PaymentIntent is canceled"
        );
        // In a Checkout Session, the PaymentIntent belongs to the session, so the session is
        // expired instead.
        let open = row.payment.as_deref().filter(|open| is_session(open));
        let open = open.unwrap_or(payment).to_owned();
        if let Err(error) = (self.cancel)(open, order.account).await {
            tracing::warn!(payment, error = %crate::error::Chain(&*error), "a PaymentIntent that was declined too often stays open");
        }
    }
}
