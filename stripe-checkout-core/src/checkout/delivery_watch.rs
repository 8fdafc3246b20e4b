//! Notices that webhooks do not arrive, by signs that no stranger can forge.
//!
//! Anyone can post to the webhook's route, so a refused request means little. A payment that Stripe
//! itself confirms means much: if payments are found by asking Stripe, and no webhook passes its
//! check meanwhile, the signing secret is wrong, or Stripe does not reach the route.
//!
//! Another process may accept the webhooks. So each process notes in the inbox when it did.

use std::error::Error;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use crate::error::Chain;
use crate::fulfillment::{EventState, Received};
use crate::quiet::Quiet;
use crate::telemetry::{self, Refusal};
use crate::webhook::{Outcome, ReadEvent};

/// For how long no webhook was accepted.
pub(super) const SILENCE: Duration = Duration::from_secs(60 * 60);
/// How long a webhook may take longer than the buyer's return.
const PATIENCE: Duration = Duration::from_secs(5 * 60);
/// A process notes that it accepts webhooks at most this often.
const NOTE_EVERY: Duration = Duration::from_secs(5 * 60);
/// The bookmark with the time of the last note, in seconds since 1970.
pub(super) const NOTE: &str = "webhook_accepted";

#[derive(Default)]
pub(super) struct DeliveryWatch {
    no_header: Quiet,
    malformed: Quiet,
    wrong_signature: Quiet,
    not_an_event: Quiet,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    /// When this process noted for the others that it accepts webhooks.
    noted: Option<Instant>,
    found: Option<Found>,
}

/// The payments that were found since this process accepted a webhook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Found {
    first: Instant,
    pub(super) last: SystemTime,
    pub(super) count: u64,
}

impl DeliveryWatch {
    /// A webhook was refused. It is counted, and logged once a minute for each class.
    pub(super) fn refused(&self, refusal: Refusal, error: &(dyn Error + 'static)) {
        telemetry::refused(refusal);
        match refusal {
            Refusal::NoHeader => say(&self.no_header, "without a signature header", error),
            Refusal::Malformed => say(&self.malformed, "malformed", error),
            Refusal::WrongSignature => say(&self.wrong_signature, "with a wrong signature", error),
            // The clock says more of it.
            Refusal::TooOld => {}
            Refusal::NotAnEvent => {
                if let Some(refused) = self.not_an_event.say() {
                    tracing::error!(refused, error = %Chain(error), "a genuine webhook cannot be read");
                }
            }
        }
    }

    /// A webhook came. Returns whether to note that for the other processes.
    pub(super) fn accepted(&self) -> bool {
        let now = Instant::now();
        let mut seen = self.lock();
        seen.found = None;
        let is_due = seen.noted.is_none_or(|at| now - at >= NOTE_EVERY);
        if is_due {
            seen.noted = Some(now);
        }
        is_due
    }

    /// Stripe was asked for this event, and this became of it.
    pub(super) fn found(&self, event: &ReadEvent, received: &Received, now: SystemTime) {
        let is_new = matches!(
            received,
            Received::Done(EventState::Done | EventState::Mismatch)
                | Received::Failed
                | Received::Queued
                | Received::Waiting
        );
        // The endpoint at Stripe may leave out other events, but no success.
        if is_new && is_success(event) {
            let mut seen = self.lock();
            let (first, count) = match seen.found {
                Some(found) => (found.first, found.count),
                None => (Instant::now(), 0),
            };
            seen.found = Some(Found {
                first,
                last: now,
                count: count.saturating_add(1),
            });
        }
    }

    /// The payments whose webhooks should be here by now.
    pub(super) fn overdue(&self) -> Option<Found> {
        self.lock()
            .found
            .filter(|found| found.first.elapsed() >= PATIENCE)
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}

fn is_success(event: &ReadEvent) -> bool {
    matches!(event.outcome(), Outcome::Succeeded(_))
}

fn say(quiet: &Quiet, how: &str, error: &dyn Error) {
    if let Some(refused) = quiet.say() {
        tracing::warn!(refused, %error, "webhooks were refused: they came {how}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::amount::Amount;
    use crate::currency::Currency;
    use crate::testing::{EventBody, PaymentIntent};
    use crate::webhook::Event;

    fn success(id: &str) -> ReadEvent {
        let intent = PaymentIntent::new("pi_1", Amount::new(1, Currency::EUR)).status("succeeded");
        let event = EventBody::new("payment_intent.succeeded", intent.object()).id(id);
        Event::parse(event.body()).unwrap().into()
    }

    fn find(watch: &DeliveryWatch, id: &str) {
        let done = Received::Done(EventState::Done);
        watch.found(&success(id), &done, SystemTime::now());
    }

    fn count(watch: &DeliveryWatch) -> Option<u64> {
        watch.overdue().map(|found| found.count)
    }

    #[tokio::test(start_paused = true)]
    async fn a_webhook_may_come_some_minutes_after_the_buyer() {
        let watch = DeliveryWatch::default();
        find(&watch, "evt_1");
        find(&watch, "evt_2");
        assert_eq!(count(&watch), None);
        tokio::time::advance(PATIENCE).await;
        assert_eq!(count(&watch), Some(2));
        watch.accepted();
        assert_eq!(count(&watch), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_process_notes_its_webhooks_every_five_minutes() {
        let watch = DeliveryWatch::default();
        assert!(watch.accepted() && !watch.accepted());
        tokio::time::advance(NOTE_EVERY).await;
        assert!(watch.accepted() && !watch.accepted());
    }

    #[tokio::test(start_paused = true)]
    async fn neither_duplicates_nor_other_events_count_as_found() {
        let watch = DeliveryWatch::default();
        let now = SystemTime::now();
        let event = success("evt_1");
        for received in [
            Received::Duplicate(EventState::Done),
            Received::Done(EventState::Superseded),
            Received::Ignored,
        ] {
            watch.found(&event, &received, now);
        }
        let other = EventBody::new("product.created", serde_json::json!({"object": "product"}));
        let other = Event::parse(other.body()).unwrap().into();
        watch.found(&other, &Received::Done(EventState::Done), now);
        tokio::time::advance(PATIENCE).await;
        assert_eq!(count(&watch), None);
    }
}
