//! How a payment stands at Stripe now, where its success is no news any more.
//!
//! An event says how things stood when Stripe made it. One that comes late may be about money that went back since, and the event that said so may be lost. So before
//! an old success is fulfilled Stripe is asked again: outside of the inbox's transaction, in which nobody else can write while somebody waits for the network.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use super::lookup::{Lookup, Standing};
use super::records::{PaymentRecord, PendingNote};
use crate::error::{BoxError, Chain};
use crate::webhook::{DisputeStatus, Event, Outcome, Payment};

/// For how long a success is news.
const NEWS: Duration = Duration::from_secs(15 * 60);

/// The shortest and the longest pause before Stripe is asked again, where it did not answer.
const AGAIN: [Duration; 2] = [Duration::from_secs(60), Duration::from_secs(10 * 60)];

/// For how long what it answered is how things stand: long enough to wait for a payment's turn.
const HOLDS: Duration = Duration::from_secs(60);

/// How many answers are kept at most. Whoever finds none asks again.
const KEPT: usize = 1000;

/// Asks Stripe, and keeps what it answered for a moment.
pub(super) struct Recheck {
    lookup: Option<Box<dyn Lookup>>,
    answers: Mutex<HashMap<String, Answer>>,
}

/// An answer about one payment.
#[derive(Clone)]
pub(super) enum Known {
    /// How its money stands, and the payment in its Checkout Session.
    Standing(Vec<PendingNote>, Payment),
    /// Only the payment in its Checkout Session: its success is news.
    Session(Payment),
    /// Nothing, for this reason.
    Nothing(String),
}

struct Answer {
    since: Instant,
    known: Known,
}

/// Whether a success may be fulfilled, as far as Stripe must be asked about it.
pub(super) enum Check {
    /// It may. In its Checkout Session, if Stripe was asked for that.
    Passed(Box<Payment>),
    /// It waits. The reason is known as soon as Stripe was asked in vain.
    Waits(Option<String>),
}

impl Recheck {
    /// Without a look-up, of an application that has no keys, every event is taken at its word.
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
    /// - it is news, and no charge came with it that is disputed; or
    /// - Stripe said a moment ago what of its charge went back, and how each dispute stands.
    ///
    /// A payment that was authorised in a Checkout Session needs its session too: no event of the
    /// session tells that it was captured.
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

    /// Whether this success counts as disputed. If it is no news, the end of the dispute may have
    /// been lost, and Stripe is asked first.
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

    /// What is known of the payment, with what Stripe says of it now, or said when it was retrieved.
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

    /// Asks Stripe about a success that waits to be checked, within this time, and says whether it
    /// was asked.
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

    /// Returns Stripe's answer about this payment, if it is a moment old. A decision reads it once:
    /// another delivery may ask meanwhile.
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
/// with the wait, so that a key without permission does not cost a request a minute for each.
pub(super) fn again(received: SystemTime) -> Duration {
    let [shortest, longest] = AGAIN;
    let waited = received.elapsed().unwrap_or_default();
    (waited / 10).clamp(shortest, longest)
}

/// Whether the event alone does not say how the payment's money stands. A charge that was ever
/// disputed says only that.
fn needs_standing(event: &Event, payment: &Payment) -> bool {
    let disputed = payment.returned().is_some_and(|charge| charge.disputed);
    event.age() > NEWS || disputed
}

/// The payment of the event, in the session that Stripe told.
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

    /// Stripe, which never answers.
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
