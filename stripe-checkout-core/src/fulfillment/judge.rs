//! The verdict on an event, by the decision and by the result of the handler.

use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use super::decide::{
    Decision, decide, intent_after, is_present, own_capture, payment_after, payment_event,
    went_back, with_figures,
};
use super::due::{Due, Mismatch};
use super::error_line;
use super::payment_event::{PaymentEvent, created};
use super::recheck::{self, Check, Recheck};
use super::records::{
    EventRecord, FulfillmentStatus, IntentRecord, IntentState, OrderKey, PaymentRecord,
    RequestState, WentBack,
};
use super::verdict::{Cause, Dispatch, Verdict};
use super::{BoxFuture, FulfillmentHandler, cause, debit, retry};
use crate::amount::Amount;
use crate::config::Config;
use crate::error::{BoxError, Escaped, EventError};
use crate::marks::Marks;
use crate::webhook::{CheckoutSession, Event, Outcome, Payment, ReadEvent};

/// How soon a worker looks again at an event that waits for another one. When that one is done, it
/// runs those that waited for it by itself.
const OVERTAKEN: Duration = Duration::from_secs(30);

/// What a handler of an inbox with one writer may have done wrong when it waited in vain.
const ONE_WRITER: &str = " (a handler must use the connection that it is given: until it ends, SQLite locks out every other one that writes, and the pool may have none left)";

/// Judges the events of one step.
pub(super) struct Judge<'a, H> {
    pub(super) handler: &'a H,
    pub(super) recheck: &'a Recheck,
    pub(super) config: &'a Config,
    /// How long the handler may take.
    pub(super) deadline: Duration,
    pub(super) max_attempts: u32,
    /// See [`Limits::has_one_writer`](super::inbox::Limits::has_one_writer).
    pub(super) has_one_writer: bool,
    /// The event that this step began with, if it was just delivered: it is read already.
    pub(super) delivered: Option<ReadEvent>,
}

/// The stored event, on the account that it is of.
pub(super) fn stored_event(record: &EventRecord, config: &Config) -> Result<Event, EventError> {
    let event = Event::parse(record.body.clone())?;
    Ok(event.unless_own(|account| config.is_of_keys(account)))
}

impl<H> Judge<'_, H> {
    fn read(&self, record: &EventRecord) -> Result<ReadEvent, EventError> {
        let same = |event: &&ReadEvent| event.body().as_bytes() == &*record.body;
        match self.delivered.as_ref().filter(same) {
            Some(event) => Ok(event.clone()),
            None => stored_event(record, self.config).map(ReadEvent::from),
        }
    }

    /// Calls the handler with what the decision asks for.
    async fn run<C: Send>(
        &self,
        decision: Decision,
        outcome: &Outcome,
        event: &Event,
        db: &mut C,
    ) -> Result<(), BoxError>
    where
        H: FulfillmentHandler<C>,
    {
        match (decision, outcome) {
            (Decision::Superseded | Decision::Wait | Decision::WriteDown, _) => Ok(()),
            // An order with nothing to pay is a success too.
            (Decision::Fulfill, Outcome::Succeeded(payment) | Outcome::Free(payment)) => {
                self.handler.payment_succeeded(payment, db).await
            }
            _ => {
                let news = payment_event(decision, outcome, event);
                self.tell(&news, event, db).await
            }
        }
    }

    /// Gives the event to the handler. A line of the log says what a person must look at, before
    /// the handler can fail.
    async fn tell<C: Send>(
        &self,
        news: &PaymentEvent<'_>,
        event: &Event,
        db: &mut C,
    ) -> Result<(), BoxError>
    where
        H: FulfillmentHandler<C>,
    {
        error_line::log(news, event);
        self.handler.on_event(news, db).await
    }

    /// Compares the price of the payment with what is due, and what arrived with what was to be
    /// taken.
    async fn mismatch<C: Send>(
        &self,
        payment: &Payment,
        order: Option<&OrderKey>,
        intent: Option<&IntentRecord>,
        known: &PaymentRecord,
        db: &mut C,
    ) -> Result<Option<Mismatch>, BoxError>
    where
        H: FulfillmentHandler<C>,
    {
        if let Some(order) = order.filter(|order| payment.order_id() != Some(&order.reference)) {
            return Ok(Some(Mismatch::OtherOrder {
                made_for: order.reference.clone(),
                named: payment.order_id().map(str::to_owned),
            }));
        }
        let row = intent.filter(|row| is_present(row, payment));
        let (price, received) = (payment.price(), payment.amount_received());
        let mut expected = expected_of(payment, row);
        let wrong_price = match self.handler.amount_due(payment, db).await? {
            Due::Exactly(due) if due != price => Some(Mismatch::NotAsDue { due, price }),
            Due::Exactly(_) => None,
            Due::AsAsked => match asked_of(payment, row) {
                None => Some(Mismatch::AskedUnknown { price }),
                Some(asked) if asked != price => Some(Mismatch::NotAsAsked { asked, price }),
                Some(_) => None,
            },
            Due::Received(due) => {
                expected = due;
                None
            }
        };
        let missing =
            (received != expected).then_some(Mismatch::NotAsExpected { expected, received });
        let unclear = (went_back(known, payment, intent) == WentBack::Unclear)
            .then_some(Mismatch::RefundUnclear { received });
        Ok(wrong_price.or(missing).or(unclear))
    }

    async fn verdict<C: Send>(
        &self,
        record: &EventRecord,
        before: &PaymentRecord,
        intent: Option<&IntentRecord>,
        db: &mut C,
    ) -> Result<Verdict, BoxError>
    where
        H: FulfillmentHandler<C>,
    {
        let event = self.read(record)?;
        let outcome = event.outcome();
        if let Outcome::Unreadable(error) = outcome {
            self.run(Decision::TellAsEvent, outcome, &event, db).await?;
            let payment = before.clone();
            return Ok(match record.ours {
                true => {
                    let reason = chain(error);
                    error_line::log_unclear(&event, record.payment.as_deref(), &reason);
                    Verdict::Mismatch { payment, reason }
                }
                false => Verdict::Done {
                    payment,
                    intent: None,
                },
            });
        }
        let outcome = match record.ours {
            true => outcome,
            false => &Outcome::NotAboutPayment,
        };
        let seen = match outcome {
            Outcome::Succeeded(payment) => self.recheck.seen(payment),
            _ => None,
        };
        let seen = seen.as_ref();
        let known = match outcome {
            Outcome::Succeeded(payment) => &self.recheck.known(seen, before, payment),
            _ => before,
        };
        let decision = decide(outcome, event.age(), known, intent);
        let decision = debit::told_once(decision, outcome, &event, known);
        match (decision, outcome) {
            (Decision::Superseded, _) => return Ok(Verdict::Superseded),
            (Decision::Wait, _) => {
                let (again, reason) = (OVERTAKEN, None);
                return Ok(Verdict::Waiting { again, reason });
            }
            (Decision::RefundedBefore, Outcome::Succeeded(payment)) if known.disputed() => {
                if let Check::Waits(reason) = self.recheck.check_dispute(seen, &event, payment) {
                    let again = recheck::again(record.received);
                    return Ok(Verdict::Waiting { again, reason });
                }
            }
            _ => {}
        }
        let checked;
        let outcome = match outcome {
            Outcome::Succeeded(payment) if decision == Decision::Fulfill => {
                match self.recheck.check(seen, &event, payment) {
                    Check::Passed(payment) => {
                        checked = Outcome::Succeeded(*payment);
                        &checked
                    }
                    Check::Waits(reason) => {
                        let again = recheck::again(record.received);
                        return Ok(Verdict::Waiting { again, reason });
                    }
                }
            }
            other => other,
        };
        if let (Decision::Fulfill, Some(payment)) = (decision, outcome.settled())
            && let Some(mismatch) = self
                .mismatch(payment, record.order.as_ref(), intent, known, db)
                .await?
        {
            let news = PaymentEvent::Mismatch {
                payment,
                mismatch: &mismatch,
                created: created(&event),
            };
            self.tell(&news, &event, db).await?;
            let payment = PaymentRecord {
                success: FulfillmentStatus::Mismatch,
                ..with_figures(known, payment, intent)
            };
            return Ok(Verdict::Mismatch {
                payment,
                reason: mismatch.to_string(),
            });
        }
        self.run(decision, outcome, &event, db).await?;
        if decision == Decision::Unclear {
            error_line::log_unclear(&event, record.payment.as_deref(), UNCLEAR_REFUND);
            return Ok(Verdict::Mismatch {
                payment: known.clone(),
                reason: UNCLEAR_REFUND.to_owned(),
            });
        }
        let after = match (intent, outcome.payment()) {
            (Some(row), _) => intent_after(outcome, decision, row),
            // Ours, but the row was lost with a restart, or never was: from now on the order
            // knows its payment. A session's PaymentIntent does not name its session, but a
            // payment is stored.
            (None, Some(payment))
                if record.order.is_some()
                    && (!payment.is_told_by_session()
                        || matches!(decision, Decision::Fulfill | Decision::RefundedBefore)) =>
            {
                let row = row_of(payment);
                intent_after(outcome, decision, &row).or(Some(row))
            }
            _ => None,
        };
        let mut payment = match outcome {
            Outcome::Succeeded(paid) => {
                payment_after(outcome, decision, &with_figures(known, paid, intent))
            }
            _ => payment_after(outcome, decision, known),
        };
        debit::write_down(&mut payment, outcome, &event);
        Ok(Verdict::Done {
            payment,
            intent: after,
        })
    }
}

impl<C: Send, H: FulfillmentHandler<C>> Dispatch<C> for Judge<'_, H> {
    fn dispatch<'a>(
        &'a self,
        event: &'a EventRecord,
        payment: &'a PaymentRecord,
        intent: Option<&'a IntentRecord>,
        db: &'a mut C,
    ) -> BoxFuture<'a, Verdict> {
        Box::pin(async move {
            let work = catch_panic(self.verdict(event, payment, intent, db));
            let attempt = event.attempts;
            let failed = |cause, mut error: String| {
                if self.has_one_writer && matches!(cause, Cause::LockedOut | Cause::Deadline) {
                    error.push_str(ONE_WRITER);
                }
                Verdict::Failed {
                    cause,
                    error,
                    again: (attempt < self.max_attempts).then(|| retry::pause(attempt)),
                }
            };
            let verdict = match tokio::time::timeout(self.deadline, work).await {
                Ok(Some(Ok(verdict))) => verdict,
                Ok(Some(Err(error))) => failed(cause::of(&*error), chain(&*error)),
                Ok(None) => failed(Cause::Panicked, "the handler panicked".into()),
                Err(_) => {
                    let seconds = self.deadline.as_secs_f64();
                    let error = format!("the handler did not end within {seconds} s");
                    failed(Cause::Deadline, error)
                }
            };
            let payment = event.payment.as_deref().unwrap_or_default();
            match &verdict {
                Verdict::Failed { error, again, .. } => {
                    let dead_letter = again.is_none();
                    tracing::error!(event = event.id, event_type = event.event_type, payment, attempt, error = %Escaped(error), dead_letter, "fulfilment failed");
                }
                // Logged where the handler is called.
                Verdict::Mismatch { .. } => {}
                Verdict::Done { .. } => {
                    tracing::info!(
                        event = event.id,
                        event_type = event.event_type,
                        payment,
                        attempt,
                        "event handled"
                    );
                }
                Verdict::Superseded | Verdict::Waiting { .. } => {
                    tracing::debug!(event = event.id, event_type = event.event_type, payment, verdict = ?verdict, "no hook ran");
                }
            }
            verdict
        })
    }
}

/// The reason of a refund event that a person must look at.
const UNCLEAR_REFUND: &str = "the refund may stand for the part of the payment that was never captured: look at the payment in the Dashboard";

/// Returns the price that was asked for this payment. Its marks change together with its amount, in
/// one request of ours. On a connected account others write metadata too: there the row knows best.
fn asked_of(payment: &Payment, row: Option<&IntentRecord>) -> Option<Amount> {
    let marked = Marks::of(payment.metadata()).and_then(|marks| marks.asked);
    let written = row.map(|row| row.asked);
    match payment.account() {
        None => marked.or(written),
        Some(_) => written.or(marked),
    }
}

/// Returns the amount that the capture of this payment was to bring.
fn expected_of(payment: &Payment, row: Option<&IntentRecord>) -> Amount {
    let captured = row.filter(|row| row.asked.currency() == payment.currency());
    let captured = captured.and_then(|row| own_capture(row, payment));
    captured.map_or(payment.amount(), |minor| {
        Amount::new(minor, payment.currency())
    })
}

/// The row of an order of which only this payment is known.
pub(crate) fn row_of(payment: &Payment) -> IntentRecord {
    IntentRecord {
        version: 0,
        attempt: payment.session_attempt().unwrap_or(1),
        fingerprint: String::new(),
        request: RequestState::Sent,
        asked: Marks::of(payment.metadata())
            .and_then(|marks| marks.asked)
            .unwrap_or(payment.price()),
        capture: None,
        payment: Some(
            payment
                .session()
                .map_or(payment.id(), CheckoutSession::id)
                .to_owned(),
        ),
        secret_hash: None,
        state: IntentState::Open,
        paid_by: None,
        declines: 0,
    }
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

    fn event(id: &str, payment: &str) -> Event {
        let object = serde_json::json!({ "object": "payment_intent", "id": payment });
        let event = serde_json::json!({
            "object": "event",
            "id": id,
            "type": "payment_intent.created",
            "livemode": false,
            "created": 1,
            "data": { "object": object },
        });
        Event::parse(event.to_string()).unwrap()
    }

    #[test]
    fn an_event_that_differs_from_the_delivered_one_is_read_from_the_store() {
        let config = Config::new([crate::WebhookSecret::new("whsec_of_this_test").unwrap()]);
        let judge = Judge {
            handler: &(),
            recheck: &Recheck::new(None),
            config: &config.unwrap(),
            deadline: Duration::from_secs(1),
            max_attempts: 1,
            has_one_writer: false,
            delivered: Some(event("evt_1", "pi_1").into()),
        };
        for payment in ["pi_1", "pi_2"] {
            let stored = event("evt_1", payment);
            let record = EventRecord::from(super::super::records::NewEvent {
                scope: crate::fulfillment::Scope {
                    application: "tea".into(),
                    mode: crate::Mode::Test,
                },
                id: "evt_1".into(),
                event_type: stored.event_type().to_owned(),
                payment: None,
                order: None,
                ours: true,
                settles: false,
                note: None,
                body: stored.body().to_owned().into(),
                received: std::time::SystemTime::now(),
            });
            let read = judge.read(&record).unwrap();
            assert_eq!(read.object_id(), Some(payment));
        }
    }
}
