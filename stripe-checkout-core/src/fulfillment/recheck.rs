//! Asks Stripe how a payment stands now, if its success is no longer recent.
//!
//! An event says how things stood when Stripe made it. A late event may be about money that has
//! since gone back, and the event that reported this may be lost. So before an old success is
//! fulfilled, Stripe is asked again. This happens outside the inbox's transaction, because others
//! cannot write while that transaction waits for the network.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use super::lookup::{Lookup, Standing};
use super::records::{PaymentRecord, PendingNote};
use crate::error::{BoxError, Chain};
use crate::webhook::{DisputeStatus, Event, Outcome, Payment};

/// The age up to which a success is recent.
const NEWS: Duration = Duration::from_secs(15 * 60);

/// The shortest and the longest pause before Stripe is asked again after it did not answer.
const AGAIN: [Duration; 2] = [Duration::from_secs(60), Duration::from_secs(10 * 60)];

/// How long Stripe's answer counts as current: long enough to wait for a payment's turn.
const HOLDS: Duration = Duration::from_secs(60);

/// The largest number of stored answers. A success without a stored answer asks again.
const KEPT: usize = 1000;

/// Asks Stripe, and keeps its answers for a moment.
pub(super) struct Recheck {
    lookup: Option<Box<dyn Lookup>>,
    answers: Mutex<HashMap<String, Answer>>,
}

/// An answer about one payment.
#[derive(Clone)]
pub(super) enum Known {
    /// How its money stands, and the payment in its Checkout Session.
    Standing(Vec<PendingNote>, Payment),
    /// Only the payment in its Checkout Session: its success is recent.
    Session(Payment),
    /// Nothing, for this reason.
    Nothing(String),
}

struct Answer {
    since: Instant,
    known: Known,
}

/// Whether a success may be fulfilled, as far as this depends on Stripe's answer.
pub(super) enum Check {
    /// It may be fulfilled. The payment has its Checkout Session, if Stripe was asked for that.
    Passed(Box<Payment>),
    /// It waits. The reason is known once a request to Stripe has failed.
    Waits(Option<String>),
}

impl Recheck {
    /// Without a look-up (the application has no keys), every event is trusted.
    pub(super) fn new(lookup: Option<Box<dyn Lookup>>) -> Self {
        Self {
            lookup,
            answers: Mutex::default(),
        }
    }

    pub(super) fn lookup(&self) -> Option<&dyn Lookup> {
        self.lookup.as_deref()
    }

    /// Whether this success may be fulfilled. It may if
    /// - it is recent, and did not come with a disputed charge; or
    /// - Stripe said a moment ago how much of its charge went back, and how each dispute stands.
    ///
    /// A payment that was authorised in a Checkout Session needs its session too: no event of the
    /// session reports its capture.
    pub(super) fn check(&self, seen: Option<&Known>, event: &Event, payment: &Payment) -> Check {
        if self.lookup.is_none() {
            return Check::Passed(Box::new(payment.clone()));
        }
        let needs_standing = needs_standing(event, payment);
        match seen {
            Some(Known::Standing(_, now)) => Check::Passed(Box::new(in_session(payment, now))),
            Some(Known::Session(now)) if !needs_standing => {
                Check::Passed(Box::new(in_session(payment, now)))
            }
            _ if !needs_standing && !payment.is_told_by_session() => {
                Check::Passed(Box::new(payment.clone()))
            }
            Some(Known::Nothing(reason)) => Check::Waits(Some(reason.clone())),
            _ => Check::Waits(None),
        }
    }

    /// Whether this success counts as disputed. If it is not recent, the event of the dispute's end
    /// may be lost, so Stripe is asked first.
    pub(super) fn check_dispute(
        &self,
        seen: Option<&Known>,
        event: &Event,
        payment: &Payment,
    ) -> Check {
        match needs_standing(event, payment) {
            true => self.check(seen, event, payment),
            false => Check::Passed(Box::new(payment.clone())),
        }
    }

    /// The known facts of the payment, with Stripe's answer of now, or from the time of its
    /// retrieval.
    pub(super) fn known(
        &self,
        seen: Option<&Known>,
        before: &PaymentRecord,
        payment: &Payment,
    ) -> PaymentRecord {
        let mut known = before.clone();
        if let Some(Known::Standing(notes, _)) = seen {
            notes.iter().for_each(|note| known.note(note));
        }
        if let Some(returned) = payment.returned() {
            known.note(&PendingNote::RefundedTotal(returned.refunded));
            // Without keys its disputes cannot be read, so it counts as disputed.
            if returned.disputed && self.lookup.is_none() {
                known.note(&PendingNote::Dispute {
                    id: payment.latest_charge().unwrap_or_default().to_owned(),
                    status: DisputeStatus::NeedsResponse,
                });
            }
        }
        known
    }

    /// Asks Stripe about a success that waits for its check, within this time. Returns whether it
    /// asked.
    pub(super) async fn look(&self, event: &Event, patience: Duration) -> bool {
        let Some(lookup) = self.lookup() else {
            return false;
        };
        let Outcome::Succeeded(payment) = Outcome::of(event) else {
            return false;
        };
        let seen = self.seen(&payment);
        if matches!(self.check(seen.as_ref(), event, &payment), Check::Passed(_)) {
            return false;
        }
        let asking = ask(lookup, &payment, needs_standing(event, &payment));
        let known = match tokio::time::timeout(patience, asking).await {
            Ok(Ok(known)) => known,
            Ok(Err(error)) => Known::Nothing(Chain(&*error).to_string()),
            Err(_) => Known::Nothing("Stripe did not answer in time".to_owned()),
        };
        if let Known::Nothing(reason) = &known {
            tracing::error!(
                event = event.id(),
                payment = payment.id(),
                reason,
                "a success cannot be checked at Stripe: it stays pending"
            );
        }
        let mut answers = self.answers();
        answers.retain(|_, answer| answer.holds());
        if answers.len() >= KEPT {
            answers.clear();
        }
        let since = Instant::now();
        answers.insert(payment.idempotency_key(), Answer { since, known });
        true
    }

    /// Returns Stripe's answer about this payment, if the answer is at most a moment old. A
    /// decision reads it once, because another delivery may ask meanwhile.
    pub(super) fn seen(&self, payment: &Payment) -> Option<Known> {
        let answers = self.answers();
        let answer = answers.get(&payment.idempotency_key());
        let answer = answer.filter(|answer| answer.holds())?;
        Some(answer.known.clone())
    }

    /// Nothing is ever half-written, so a panic elsewhere leaves it usable.
    fn answers(&self) -> MutexGuard<'_, HashMap<String, Answer>> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Answer {
    fn holds(&self) -> bool {
        self.since.elapsed() < HOLDS
    }
}

/// The pause before Stripe is asked again about a success that was received at this time. It grows
/// with the wait, so that a key without permission does not cost one request a minute for each
/// success.
pub(super) fn again(received: SystemTime) -> Duration {
    let [shortest, longest] = AGAIN;
    let waited = received.elapsed().unwrap_or_default();
    (waited / 10).clamp(shortest, longest)
}

/// Whether the event alone does not say how the payment's money stands. A charge with any dispute,
/// even a past one, says only that it was disputed.
fn needs_standing(event: &Event, payment: &Payment) -> bool {
    let disputed = payment.returned().is_some_and(|charge| charge.disputed);
    event.age() > NEWS || disputed
}

/// The payment of the event, with the session that Stripe named.
fn in_session(payment: &Payment, now: &Payment) -> Payment {
    match payment.is_told_by_session() && now.session().is_some() {
        true => now.clone(),
        false => payment.clone(),
    }
}

async fn ask(
    lookup: &dyn Lookup,
    payment: &Payment,
    needs_standing: bool,
) -> Result<Known, BoxError> {
    let (id, account) = (payment.id(), payment.account());
    if needs_standing {
        let Standing { payment, notes } = lookup.standing(id, account).await?;
        return Ok(Known::Standing(notes, payment));
    }
    let payment = payment.clone();
    Ok(Known::Session(match lookup.session(id, account).await? {
        Some(session) => payment.in_session(session),
        None => payment,
    }))
}

#[cfg(test)]
mod tests {
    use super::super::lookup::Answer as Asked;
    use super::*;
    use crate::webhook::CheckoutSession;

    /// A Stripe that never answers.
    struct Silent;

    impl Lookup for Silent {
        fn payment<'a>(&'a self, _: &'a str, _: Option<&'a str>) -> Asked<'a, Option<Payment>> {
            Box::pin(std::future::pending())
        }

        fn session<'a>(
            &'a self,
            _: &'a str,
            _: Option<&'a str>,
        ) -> Asked<'a, Option<CheckoutSession>> {
            Box::pin(std::future::pending())
        }

        fn standing<'a>(&'a self, _: &'a str, _: Option<&'a str>) -> Asked<'a, Standing> {
            Box::pin(std::future::pending())
        }
    }

    #[test]
    fn the_pause_grows_with_the_wait() {
        let pause = |minutes: u64| {
            let pause = again(SystemTime::now() - Duration::from_secs(minutes * 60));
            pause.as_secs() / 60
        };
        assert_eq!([0, 5, 30, 60, 10_000].map(pause), [1, 1, 3, 6, 10]);
        let ahead = SystemTime::now() + Duration::from_secs(60);
        assert_eq!(again(ahead), Duration::from_secs(60));
    }

    #[tokio::test]
    async fn without_an_answer_in_time_an_old_success_waits_and_says_why() {
        let body = r#"{"id":"evt_1","type":"payment_intent.succeeded","created":1700000000,"data":{"object":
            {"id":"pi_1","object":"payment_intent","amount":1,"currency":"eur","status":"succeeded"}}}"#;
        let fresh = Recheck::new(Some(Box::new(Silent)));
        let event = Event::parse(body).unwrap();
        let Outcome::Succeeded(payment) = Outcome::of(&event) else {
            panic!("it is a success");
        };
        let check = fresh.check(None, &event, &payment);
        assert!(matches!(check, Check::Waits(None)));
        assert!(fresh.look(&event, Duration::from_millis(1)).await);
        let seen = fresh.seen(&payment);
        let Check::Waits(Some(reason)) = fresh.check(seen.as_ref(), &event, &payment) else {
            panic!("it was not checked");
        };
        assert_eq!(reason, "Stripe did not answer in time");
    }
}
