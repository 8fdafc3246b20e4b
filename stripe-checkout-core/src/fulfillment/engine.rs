//! Joins an inbox and a handler: takes deliveries in, and is what the inbox dispatches to.

use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::decide::{Decision, decide, intent_after, note, payment_after, settles};
use super::inbox::{
    Dispatch, EventFilter, EventRecord, EventState, Inbox, IntentRecord, IntentState, NewEvent,
    OrderKey, PaymentRecord, Scope, Settled, Stepped, Verdict,
};
use super::{BoxFuture, Due, FulfillmentHandler, Mismatch};
use crate::error::{BoxError, InboxError};
use crate::marks::Marks;
use crate::webhook::{Event, Outcome, Payment};

/// Which payments are this application's.
#[derive(Clone)]
pub(crate) enum OursRule {
    Marked(Vec<String>),
    All,
    By(std::sync::Arc<dyn Fn(&Payment) -> bool + Send + Sync>),
}

/// A verified event on its way in.
pub(crate) struct Delivery {
    pub(crate) scope: Scope,
    pub(crate) event: Event,
    pub(crate) received: SystemTime,
}

/// What became of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Received {
    /// Dealt with now. Answer 200.
    Done(EventState),
    /// Dealt with before. Answer 200.
    Duplicate(EventState),
    /// A test event at a live configuration. Answer 200.
    Ignored,
    /// The hook failed. Answer 500, so that Stripe delivers again.
    Failed,
    /// Something else must come first, like the success before its refund. Answer 503, so that Stripe delivers again.
    Waiting,
}

/// An inbox and a handler whose types are gone.
pub(crate) trait Fulfillment: Send + Sync {
    fn survives_restart(&self) -> bool;
    fn deliver<'a>(
        &'a self,
        delivery: Delivery,
        ours: &'a OursRule,
    ) -> BoxFuture<'a, Result<Received, InboxError>>;
    #[cfg(feature = "intent")]
    fn intent<'a>(
        &'a self,
        order: &'a OrderKey,
    ) -> BoxFuture<'a, Result<Option<IntentRecord>, InboxError>>;
    #[cfg(feature = "intent")]
    fn put_intent<'a>(
        &'a self,
        order: &'a OrderKey,
        expected: Option<u64>,
        record: IntentRecord,
    ) -> BoxFuture<'a, Result<bool, InboxError>>;
    #[cfg(feature = "intent")]
    fn intent_of_payment<'a>(
        &'a self,
        scope: &'a Scope,
        payment: &'a str,
    ) -> BoxFuture<'a, Result<Option<(OrderKey, IntentRecord)>, InboxError>>;
    fn events<'a>(
        &'a self,
        filter: &'a EventFilter,
    ) -> BoxFuture<'a, Result<Vec<EventRecord>, InboxError>>;
    fn replay<'a>(
        &'a self,
        scope: &'a Scope,
        event: &'a str,
    ) -> BoxFuture<'a, Result<Received, InboxError>>;
    fn discard<'a>(
        &'a self,
        scope: &'a Scope,
        event: &'a str,
    ) -> BoxFuture<'a, Result<(), InboxError>>;
}

pub(crate) struct Engine<I, H> {
    pub(crate) inbox: I,
    pub(crate) handler: H,
    /// How long a handler may run.
    pub(crate) deadline: Duration,
    /// How long a delivery waits for another one of the same payment.
    pub(crate) patience: Duration,
}

impl<I: Inbox, H: FulfillmentHandler<I::Connection>> Engine<I, H> {
    /// Steps one event, and then whatever of the same payment had waited for it.
    async fn step(&self, scope: &Scope, event: &str) -> Result<Received, InboxError> {
        let receipt = match self.inbox.step(scope, event, self.patience, self).await? {
            Stepped::Now(state) => Received::Done(state),
            // A dead letter stays loud: as long as it is not dropped or replayed, Stripe is not told that all is well.
            Stepped::Already(EventState::Dead) | Stepped::Failed => Received::Failed,
            Stepped::Already(state) => Received::Duplicate(state),
            Stepped::Waiting => Received::Waiting,
        };
        Ok(match receipt {
            Received::Done(EventState::Dead) => Received::Failed,
            other => other,
        })
    }

    async fn step_those_who_waited(&self, scope: &Scope, payment: &str) {
        let mut filter = EventFilter::default()
            .payment(payment)
            .state(EventState::Pending);
        filter.scope = Some(scope.clone());
        let waiting = self.inbox.events(&filter).await.unwrap_or_default();
        for event in waiting.iter().rev() {
            if let Err(error) = self.step(scope, &event.id).await {
                tracing::warn!(event = %event.id, %error, "a waiting event stays pending");
            }
        }
    }

    async fn deliver(&self, delivery: Delivery, ours: &OursRule) -> Result<Received, InboxError> {
        let Delivery {
            scope,
            event,
            received,
        } = delivery;
        let outcome = Outcome::of(&event);
        if let Outcome::Unreadable(error) = &outcome {
            tracing::error!(event = %event.id(), event_type = event.event_type(), %error, "verified, but its object cannot be read: it goes to the hook `event`");
        }
        let payment = outcome.payment_id().map(str::to_owned);
        let known = match &payment {
            Some(payment) => self.inbox.intent_of_payment(&scope, payment).await?,
            None => None,
        };
        let of_payment = about_payment(&outcome);
        let is_ours = match ours {
            _ if payment.is_none() => false,
            _ if known.is_some() => true,
            OursRule::All => true,
            OursRule::Marked(names) => of_payment
                .and_then(|payment| Marks::of(payment.metadata()))
                .is_some_and(|marks| names.iter().any(|name| name == marks.application)),
            OursRule::By(rule) => of_payment.is_some_and(|payment| rule(payment)),
        };
        let order = is_ours.then_some(()).and_then(|()| match known {
            Some((order, _)) => Some(order),
            None => of_payment
                .and_then(Payment::order_id)
                .map(|reference| OrderKey {
                    scope: scope.clone(),
                    account: event.account().map(str::to_owned),
                    reference: reference.to_owned(),
                }),
        });
        let id = event.id().to_owned();
        let settled = self
            .inbox
            .receive(NewEvent {
                scope: scope.clone(),
                id: id.clone(),
                event_type: event.event_type().to_owned(),
                payment: payment.clone(),
                order,
                ours: is_ours,
                settles: is_ours && settles(&outcome),
                note: if is_ours { note(&outcome) } else { None },
                body: event.body_without_client_secrets().into(),
                received,
            })
            .await?
            .settles;
        let receipt = self.step(&scope, &id).await?;
        if let (true, Received::Done(_), Some(payment)) = (settled, receipt, &payment) {
            self.step_those_who_waited(&scope, payment).await;
        }
        Ok(receipt)
    }

    /// Runs the hook that the decision asks for.
    async fn run(
        &self,
        decision: Decision,
        outcome: &Outcome,
        event: &Event,
        intent: Option<&IntentRecord>,
        db: &mut I::Connection,
    ) -> Result<Option<Mismatch>, BoxError> {
        let handler = &self.handler;
        match (decision, outcome) {
            (Decision::Superseded | Decision::Wait, _) => {}
            (Decision::Fulfill, Outcome::Succeeded(payment)) => {
                if let Some(mismatch) = self.mismatch(payment, intent, db).await? {
                    handler.mismatch(payment, &mismatch, db).await?;
                    return Ok(Some(mismatch));
                }
                handler.payment_succeeded(payment, db).await?;
            }
            (Decision::Duplicate, Outcome::Succeeded(payment)) => {
                handler.duplicate_payment(payment, db).await?;
            }
            (Decision::RefundedBefore, Outcome::Succeeded(payment)) => {
                handler.refunded_before_fulfillment(payment, db).await?;
            }
            (_, Outcome::Processing(payment)) => handler.payment_processing(payment, db).await?,
            (_, Outcome::Failed(payment, failure)) => {
                handler.payment_failed(payment, failure, db).await?;
            }
            (_, Outcome::Canceled(payment)) => handler.payment_canceled(payment, db).await?,
            (_, Outcome::Capturable(payment)) => handler.capture_required(payment, db).await?,
            (_, Outcome::RequiresAction(payment)) => {
                handler.payment_requires_action(payment, db).await?;
            }
            (_, Outcome::Refunded(refund)) => handler.refunded(refund, db).await?,
            (_, Outcome::Disputed(dispute)) => handler.disputed(dispute, db).await?,
            _ => handler.event(event, db).await?,
        }
        Ok(None)
    }

    /// Compares what arrived with what was asked, and with what the order costs now.
    async fn mismatch(
        &self,
        payment: &Payment,
        intent: Option<&IntentRecord>,
        db: &mut I::Connection,
    ) -> Result<Option<Mismatch>, BoxError> {
        let received = payment.amount_received();
        let asked = match intent {
            // The row knows best, but only of its own PaymentIntent.
            Some(row) if row.payment.as_deref() == Some(payment.id()) => Some(row.asked),
            _ => Marks::of(payment.metadata()).and_then(|marks| marks.asked),
        };
        if let Some(asked) = asked.filter(|asked| *asked != received) {
            return Ok(Some(Mismatch::NotAsAsked { asked, received }));
        }
        Ok(match self.handler.amount_due(payment, db).await? {
            Due::Exactly(due) if due != received => Some(Mismatch::NotAsDue { due, received }),
            _ => None,
        })
    }

    async fn verdict(
        &self,
        record: &EventRecord,
        before: &PaymentRecord,
        intent: Option<&IntentRecord>,
        db: &mut I::Connection,
    ) -> Result<Verdict, BoxError> {
        let event = Event::parse(record.body.clone())?;
        let outcome = if record.ours {
            Outcome::of(&event)
        } else {
            Outcome::NotAboutPayment
        };
        let decision = decide(&outcome, age(&event), before, intent);
        match decision {
            Decision::Superseded => return Ok(Verdict::Superseded),
            Decision::Wait => return Ok(Verdict::Waiting),
            _ => {}
        }
        let mismatch = self.run(decision, &outcome, &event, intent, db).await?;
        let mut payment = payment_after(&outcome, decision, before);
        if let Some(mismatch) = mismatch {
            payment.success = Settled::Mismatch;
            return Ok(Verdict::Mismatch {
                payment,
                reason: mismatch.to_string(),
            });
        }
        let row = match (intent, about_payment(&outcome)) {
            (Some(row), _) => Some(row.clone()),
            // Marked as ours, but the row was lost with a restart, or is another process's: from now on the order knows its payment.
            (None, Some(payment)) if record.order.is_some() => Some(row_of(payment)),
            _ => None,
        };
        let intent = match (row, intent) {
            (Some(row), Some(_)) => intent_after(&outcome, decision, &row),
            (Some(row), None) => Some(intent_after(&outcome, decision, &row).unwrap_or(row)),
            (None, _) => None,
        };
        Ok(Verdict::Done { payment, intent })
    }
}

impl<I: Inbox, H: FulfillmentHandler<I::Connection>> Dispatch<I::Connection> for Engine<I, H> {
    fn dispatch<'a>(
        &'a self,
        event: &'a EventRecord,
        payment: &'a PaymentRecord,
        intent: Option<&'a IntentRecord>,
        db: &'a mut I::Connection,
    ) -> BoxFuture<'a, Verdict> {
        Box::pin(async move {
            let work = catch_panic(self.verdict(event, payment, intent, db));
            let verdict = match tokio::time::timeout(self.deadline, work).await {
                Ok(Some(Ok(verdict))) => verdict,
                Ok(Some(Err(error))) => Verdict::Failed {
                    error: chain(&*error),
                },
                Ok(None) => Verdict::Failed {
                    error: "the handler panicked".into(),
                },
                Err(_) => Verdict::Failed {
                    error: format!(
                        "the handler did not end within {} s",
                        self.deadline.as_secs()
                    ),
                },
            };
            let attempt = event.attempts.saturating_add(1);
            let payment = event.payment.as_deref().unwrap_or_default();
            match &verdict {
                Verdict::Failed { error } => {
                    tracing::error!(event = %event.id, event_type = %event.event_type, payment, attempt, %error, "fulfilment failed");
                }
                Verdict::Mismatch { reason, .. } => {
                    tracing::error!(event = %event.id, payment, %reason, "money that does not fit its order: nothing was fulfilled");
                }
                Verdict::Done { .. } => {
                    tracing::info!(event = %event.id, event_type = %event.event_type, payment, attempt, "event handled");
                }
                Verdict::Superseded | Verdict::Waiting => {
                    tracing::debug!(event = %event.id, event_type = %event.event_type, payment, verdict = ?verdict, "no hook ran");
                }
            }
            verdict
        })
    }
}

impl<I: Inbox, H: FulfillmentHandler<I::Connection>> Fulfillment for Engine<I, H> {
    fn survives_restart(&self) -> bool {
        self.inbox.survives_restart()
    }

    fn deliver<'a>(
        &'a self,
        delivery: Delivery,
        ours: &'a OursRule,
    ) -> BoxFuture<'a, Result<Received, InboxError>> {
        Box::pin(Engine::deliver(self, delivery, ours))
    }

    #[cfg(feature = "intent")]
    fn intent<'a>(
        &'a self,
        order: &'a OrderKey,
    ) -> BoxFuture<'a, Result<Option<IntentRecord>, InboxError>> {
        Box::pin(self.inbox.intent(order))
    }

    #[cfg(feature = "intent")]
    fn put_intent<'a>(
        &'a self,
        order: &'a OrderKey,
        expected: Option<u64>,
        record: IntentRecord,
    ) -> BoxFuture<'a, Result<bool, InboxError>> {
        Box::pin(self.inbox.put_intent(order, expected, record))
    }

    #[cfg(feature = "intent")]
    fn intent_of_payment<'a>(
        &'a self,
        scope: &'a Scope,
        payment: &'a str,
    ) -> BoxFuture<'a, Result<Option<(OrderKey, IntentRecord)>, InboxError>> {
        Box::pin(self.inbox.intent_of_payment(scope, payment))
    }

    fn events<'a>(
        &'a self,
        filter: &'a EventFilter,
    ) -> BoxFuture<'a, Result<Vec<EventRecord>, InboxError>> {
        Box::pin(self.inbox.events(filter))
    }

    fn replay<'a>(
        &'a self,
        scope: &'a Scope,
        event: &'a str,
    ) -> BoxFuture<'a, Result<Received, InboxError>> {
        Box::pin(async move {
            self.inbox.replay(scope, event).await?;
            self.step(scope, event).await
        })
    }

    fn discard<'a>(
        &'a self,
        scope: &'a Scope,
        event: &'a str,
    ) -> BoxFuture<'a, Result<(), InboxError>> {
        Box::pin(self.inbox.discard(scope, event))
    }
}

fn about_payment(outcome: &Outcome) -> Option<&Payment> {
    match outcome {
        Outcome::Succeeded(payment)
        | Outcome::Processing(payment)
        | Outcome::Failed(payment, _)
        | Outcome::Canceled(payment)
        | Outcome::Capturable(payment)
        | Outcome::RequiresAction(payment) => Some(payment),
        _ => None,
    }
}

fn row_of(payment: &Payment) -> IntentRecord {
    IntentRecord {
        version: 0,
        attempt: 1,
        fingerprint: String::new(),
        asked: Marks::of(payment.metadata())
            .and_then(|marks| marks.asked)
            .unwrap_or(payment.amount()),
        payment: Some(payment.id().to_owned()),
        secret_hash: None,
        state: IntentState::Open,
        paid_by: None,
    }
}

/// How long ago an event happened. One that does not say when is as old as can be.
fn age(event: &Event) -> Duration {
    let created = Duration::from_secs(event.created().max(0).unsigned_abs());
    UNIX_EPOCH
        .elapsed()
        .unwrap_or_default()
        .saturating_sub(created)
}

/// The error and its causes, in one line, for the operator.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text.truncate(text.floor_char_boundary(1000));
    text
}

/// `None` if the future panics.
async fn catch_panic<F: Future>(work: F) -> Option<F::Output> {
    let mut work = pin!(work);
    std::future::poll_fn(move |context| {
        // Nothing of the handler's is looked at after a panic, so no broken invariant can be seen.
        match std::panic::catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(context))) {
            Ok(poll) => poll.map(Some),
            Err(_) => Poll::Ready(None),
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_caught_where_it_happens() {
        assert_eq!(catch_panic(async { 1 }).await, Some(1));
        assert_eq!(
            catch_panic(async {
                tokio::task::yield_now().await;
                panic!("boom")
            })
            .await,
            None::<()>
        );
    }
}
