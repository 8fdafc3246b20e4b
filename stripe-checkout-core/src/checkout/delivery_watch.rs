//! Notices that webhooks do not arrive, by signs that no stranger can forge.
//!
//! Anyone can post to the webhook's route, so a refused request means little. A payment that Stripe
//! itself confirms means much: if payments are found by asking Stripe, and no webhook passes its
//! check meanwhile, the signing secret is wrong, or Stripe does not reach the route.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::{Alert, Checkout};
use crate::error::{Chain, InboxError, SignatureError, VerifyError};
use crate::fulfillment::{EventFilter, EventRecord, EventState, Received};
use crate::quiet::Quiet;
use crate::telemetry::{self, Origin, Refusal};
use crate::webhook::{Event, Outcome};

/// For how long no webhook was accepted.
const SILENCE: Duration = Duration::from_secs(60 * 60);
/// How long a webhook may take longer than the buyer's return.
const PATIENCE: Duration = Duration::from_secs(5 * 60);
/// How many found events are remembered by their ids.
const REMEMBERED: usize = 1000;

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
    /// When this process accepted a webhook last.
    accepted: Option<Instant>,
    /// When the first payment was found since then, and how many were.
    found: Option<(Instant, u64)>,
    /// The events that were found.
    ids: VecDeque<String>,
}

impl DeliveryWatch {
    /// A webhook was refused. It is counted, and logged once a minute for each class.
    pub(super) fn refused(&self, error: &VerifyError) {
        let refusal = class(error);
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

    /// A webhook with a good signature came.
    pub(super) fn accepted(&self) {
        let mut seen = self.lock();
        seen.accepted = Some(Instant::now());
        seen.found = None;
    }

    /// An event came from this origin, and this became of it.
    pub(super) fn received(&self, event: &Event, origin: Origin, received: &Received) {
        let is_new = matches!(
            received,
            Received::Done(EventState::Done | EventState::Mismatch)
                | Received::Failed
                | Received::Queued
                | Received::Waiting
        );
        if origin == Origin::Webhook {
            return;
        }
        let mut seen = self.lock();
        if seen.ids.len() == REMEMBERED {
            seen.ids.pop_front();
        }
        seen.ids.push_back(event.id().to_owned());
        // The endpoint at Stripe may leave out other events, but no success.
        if is_new && is_success(event) {
            let (since, count) = seen.found.unwrap_or((Instant::now(), 0));
            seen.found = Some((since, count.saturating_add(1)));
        }
    }

    /// How many payments were found, if this process accepted no webhook since, and for an hour.
    fn found(&self) -> Option<u64> {
        let seen = self.lock();
        let (since, count) = seen.found?;
        let silent = seen.accepted.is_none_or(|at| at.elapsed() >= SILENCE);
        (silent && since.elapsed() >= PATIENCE).then_some(count)
    }

    /// Whether a webhook brought this event, perhaps to another process.
    fn was_delivered(&self, event: &EventRecord, now: SystemTime) -> bool {
        let age = now.duration_since(event.received).unwrap_or_default();
        let found = |id: &str| self.lock().ids.iter().any(|found| found == id);
        age < SILENCE && !event.id.starts_with("retrieved_") && !found(&event.id)
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Checkout {
    pub(super) async fn silence(&self) -> Result<Option<Alert>, InboxError> {
        let watch = &self.inner.deliveries;
        let Some(payments) = watch.found() else {
            return Ok(None);
        };
        let now = SystemTime::now();
        let newest = self.events(EventFilter::default()).await?;
        let delivered = newest.iter().any(|event| watch.was_delivered(event, now));
        Ok((!delivered).then_some(Alert::NoWebhooks { payments }))
    }
}

fn is_success(event: &Event) -> bool {
    matches!(Outcome::of(event), Outcome::Succeeded(_))
}

fn class(error: &VerifyError) -> Refusal {
    match error {
        VerifyError::Signature(SignatureError::Missing) => Refusal::NoHeader,
        VerifyError::Signature(SignatureError::Mismatch) => Refusal::WrongSignature,
        VerifyError::Signature(SignatureError::TooOld { .. }) => Refusal::TooOld,
        VerifyError::Event(_) => Refusal::NotAnEvent,
        VerifyError::Signature(
            SignatureError::Repeated | SignatureError::Timestamp | SignatureError::NoSignature,
        )
        | VerifyError::TooLarge { .. }
        | VerifyError::TooSlow
        | VerifyError::Incomplete => Refusal::Malformed,
    }
}

fn say(quiet: &Quiet, how: &str, error: &VerifyError) {
    if let Some(refused) = quiet.say() {
        tracing::warn!(refused, %error, "webhooks were refused: they came {how}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{EventBody, PaymentIntent};
    use crate::{Amount, Currency};

    fn success(id: &str) -> Event {
        let intent = PaymentIntent::new("pi_1", Amount::new(1, Currency::EUR)).status("succeeded");
        let event = EventBody::new("payment_intent.succeeded", intent.object()).id(id);
        Event::parse(event.body()).unwrap()
    }

    fn find(watch: &DeliveryWatch, id: &str) {
        let done = Received::Done(EventState::Done);
        watch.received(&success(id), Origin::Listed, &done);
    }

    #[tokio::test(start_paused = true)]
    async fn payments_without_webhooks_are_told_after_an_hour_of_silence() {
        let watch = DeliveryWatch::default();
        watch.accepted();
        find(&watch, "evt_1");
        find(&watch, "evt_2");
        tokio::time::advance(SILENCE - Duration::from_secs(1)).await;
        assert_eq!(watch.found(), None);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(watch.found(), Some(2));
        watch.accepted();
        assert_eq!(watch.found(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_webhook_may_come_some_minutes_after_the_buyer() {
        let watch = DeliveryWatch::default();
        tokio::time::advance(SILENCE * 5).await;
        find(&watch, "evt_1");
        assert_eq!(watch.found(), None);
        tokio::time::advance(PATIENCE).await;
        assert_eq!(watch.found(), Some(1));
    }

    #[tokio::test(start_paused = true)]
    async fn neither_duplicates_nor_other_events_count_as_found() {
        let watch = DeliveryWatch::default();
        let event = success("evt_1");
        let done = Received::Done(EventState::Done);
        watch.received(&event, Origin::Webhook, &done);
        for received in [
            Received::Duplicate(EventState::Done),
            Received::Done(EventState::Superseded),
            Received::Ignored,
        ] {
            watch.received(&event, Origin::Retrieved, &received);
        }
        let other = EventBody::new("product.created", serde_json::json!({"object": "product"}));
        let other = Event::parse(other.body()).unwrap();
        watch.received(&other, Origin::Listed, &done);
        tokio::time::advance(SILENCE).await;
        assert_eq!(watch.found(), None);
    }
}
