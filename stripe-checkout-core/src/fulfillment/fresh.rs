//! How a payment stands at Stripe now, where its success is no news any more.
//!
//! An event says how things stood when Stripe made it. One that comes late may be about money that went back since, and the event that said so may be lost. So before
//! an old success is fulfilled Stripe is asked again: outside of the inbox's transaction, in which nobody else can write while somebody waits for the network.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::engine::{Lookup, age};
use super::inbox::{EventRecord, Note, PaymentRecord};
use crate::webhook::{Event, Outcome, Payment};

/// For how long a success is news.
const NEWS: Duration = Duration::from_secs(15 * 60);

/// How soon Stripe is asked again, where it did not answer.
pub(super) const AGAIN: Duration = Duration::from_secs(60);

/// For how long what it answered is how things stand: long enough to wait for a payment's turn.
const HOLDS: Duration = Duration::from_secs(60);

/// How many answers are kept at most. Whoever finds none asks again.
const KEPT: usize = 1000;

/// Asks Stripe, and keeps what it answered for a moment.
pub(super) struct Fresh {
    lookup: Option<Lookup>,
    answers: Mutex<HashMap<String, Answer>>,
}

struct Answer {
    since: Instant,
    /// What went back, where Stripe told.
    notes: Vec<Note>,
    /// The payment with its Checkout Session, of one that does not know it itself.
    in_session: Option<Payment>,
}

impl Fresh {
    /// Without a look-up, of an application that has no keys, every event is taken at its word.
    pub(super) fn new(lookup: Option<Lookup>) -> Self {
        Self {
            lookup,
            answers: Mutex::default(),
        }
    }

    pub(super) fn lookup(&self) -> Option<&Lookup> {
        self.lookup.as_ref()
    }

    /// Whether Stripe must be asked before this success is fulfilled.
    pub(super) fn is_missing(&self, event: &Event, payment: &Payment) -> bool {
        self.lookup.is_some() && age(event) > NEWS && !self.is_known(payment)
    }

    /// A payment that was authorised in a Checkout Session, whose session tells nothing when it is captured: with that session, as soon as Stripe was asked for it. `None`
    /// if it must be asked first.
    pub(super) fn in_session(&self, payment: &Payment) -> Option<Payment> {
        if self.lookup.is_none() {
            return Some(payment.clone());
        }
        let answers = self.answers();
        let answer = answers.get(&payment.idempotency_key());
        let answer = answer.filter(|answer| answer.holds())?;
        let known = answer.in_session.as_ref();
        Some(known.unwrap_or(payment).clone())
    }

    fn is_known(&self, payment: &Payment) -> bool {
        let answers = self.answers();
        let answer = answers.get(&payment.idempotency_key());
        answer.is_some_and(Answer::holds)
    }

    /// What is known of the payment, with what Stripe says of it now, or said when it was retrieved.
    pub(super) fn known(&self, before: &PaymentRecord, payment: &Payment) -> PaymentRecord {
        let mut known = before.clone();
        let answers = self.answers();
        let answer = answers.get(&payment.idempotency_key());
        let answer = answer.filter(|answer| answer.holds());
        for note in answer.iter().flat_map(|answer| &answer.notes) {
            known.note(note);
        }
        for note in notes(payment) {
            known.note(&note);
        }
        known
    }

    /// Asks Stripe about a success that was not fulfilled because it is no news, within this time, and says whether it answered.
    pub(super) async fn look(&self, event: &EventRecord, patience: Duration) -> bool {
        let Some(lookup) = &self.lookup else {
            return false;
        };
        let Ok(body) = Event::parse(event.body.clone()) else {
            return false;
        };
        let Outcome::Succeeded(payment) = Outcome::of(&body) else {
            return false;
        };
        let in_session = payment.is_told_by_session() && !self.is_known(&payment);
        if !in_session && !self.is_missing(&body, &payment) {
            return false;
        }
        let account = payment.account().map(str::to_owned);
        let asked = tokio::time::timeout(patience, lookup(payment.id().to_owned(), account));
        let mut in_session = None;
        let notes = match asked.await {
            Ok(Ok(Some(now))) => {
                let notes = notes(&now);
                in_session = now.session().is_some().then_some(now);
                notes
            }
            Ok(Ok(None)) => {
                tracing::warn!(event = %event.id, payment = payment.id(), "Stripe does not tell how an old success stands now: its event is taken at its word");
                Vec::new()
            }
            Ok(Err(error)) => {
                tracing::warn!(event = %event.id, payment = payment.id(), error = &*error as &dyn std::error::Error, "Stripe could not be asked how an old success stands now: it waits");
                return false;
            }
            Err(_) => {
                tracing::warn!(event = %event.id, payment = payment.id(), "Stripe did not say in time how an old success stands now: it waits");
                return false;
            }
        };
        let mut answers = self.answers();
        answers.retain(|_, answer| answer.holds());
        if answers.len() >= KEPT {
            answers.clear();
        }
        let since = Instant::now();
        let answer = Answer {
            since,
            notes,
            in_session,
        };
        answers.insert(payment.idempotency_key(), answer);
        true
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

/// What went back, where the payment came with its charge. That it was not disputed is no news: a dispute that was won stays one in the charge, so a payment of
/// which it is all that is known is not fulfilled without somebody who looks.
fn notes(payment: &Payment) -> Vec<Note> {
    let Some(returned) = payment.returned() else {
        return Vec::new();
    };
    let mut notes = vec![Note::RefundedTotal(returned.refunded)];
    notes.extend(returned.disputed.then_some(Note::Disputed(true)));
    notes
}
