//! The webhook: from the raw body of Stripe's request to the inbox.
//!
//! The library parses the body once, and reads the outcome of the parsed [`Event`] once.

use std::time::SystemTime;

use thiserror::Error;
use tracing::{Instrument, field};

use super::delivery_watch::{NOTE, seconds};
use super::state::Checkout;
use crate::call::{Body, BodyFault, Call};
use crate::error::{EventError, InboxError};
use crate::fulfillment::{Delivery, Received, Scope};
use crate::reply::{Problem, Reply};
use crate::secret::Mode;
use crate::telemetry::{self, Origin, Refusal};
use crate::webhook::signature::SignatureError;
use crate::webhook::{Event, ReadEvent};

/// Why a delivery could not be turned into an event.
///
/// It is the one error type for a webhook route that you write by hand.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// The signature is refused.
    #[error(transparent)]
    Signature(#[from] SignatureError),
    /// The payload is genuine, but it is not an event.
    #[error(transparent)]
    Event(#[from] EventError),
    /// The body is larger than the limit.
    #[error("the body is larger than {limit} bytes")]
    TooLarge {
        /// The limit, in bytes.
        limit: usize,
    },
    /// The body did not arrive within its deadline.
    #[error("the body did not arrive in time")]
    TooSlow,
    /// The body did not arrive completely.
    #[error("the body did not arrive whole")]
    Incomplete,
}

impl From<&VerifyError> for Problem {
    fn from(error: &VerifyError) -> Self {
        match error {
            VerifyError::TooLarge { .. } => Self::too_large(),
            VerifyError::TooSlow => Self::too_slow(),
            VerifyError::Incomplete => Self::incomplete(),
            VerifyError::Signature(_) | VerifyError::Event(_) => Self::bad_webhook(),
        }
    }
}

/// For routes that you write by hand: the response of the webhook route.
impl From<VerifyError> for Reply {
    fn from(error: VerifyError) -> Self {
        Problem::from(&error).json()
    }
}

impl Checkout {
    /// The name of the header with Stripe's signature of a webhook, in lower case.
    pub const SIGNATURE_HEADER: &'static str = "stripe-signature";

    /// Handles a request to the webhook's route.
    pub(super) async fn webhook(&self, call: Call) -> Reply {
        let Call { visitor, body, .. } = call;
        match self.verify(body, visitor.headers(Self::SIGNATURE_HEADER)) {
            Ok(event) => self.take_in(event, Origin::Webhook).await.into(),
            Err(error) => error.into(),
        }
    }

    /// Verifies a webhook's raw body against its `Stripe-Signature` headers.
    ///
    /// Use it in a route that you write by hand. It does *not* store the event:
    /// [`receive`](Self::receive) does that.
    ///
    /// # Errors
    /// [`VerifyError`]. `Reply::from` turns it into the response, which tells the sender nothing
    /// more.
    pub fn verify<'a>(
        &self,
        body: Body,
        signatures: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<Event, VerifyError> {
        self.verified(body, signatures)
            .inspect_err(|error| self.inner.deliveries.refused(class(error), error))
    }

    fn verified<'a>(
        &self,
        body: Body,
        signatures: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<Event, VerifyError> {
        let limit = body.limit();
        let payload = body.finish().map_err(|fault| match fault {
            BodyFault::TooLarge => VerifyError::TooLarge { limit },
            BodyFault::TooSlow => VerifyError::TooSlow,
            BodyFault::Incomplete => VerifyError::Incomplete,
        })?;
        let mut signatures = signatures.into_iter();
        let header = signatures.next().ok_or(SignatureError::Missing)?;
        if signatures.next().is_some() {
            return Err(SignatureError::Repeated.into());
        }
        let now = SystemTime::now();
        let signed = self.inner.verifier.verify_at(&payload, header, now);
        self.inner.clock.heard(&signed, now);
        signed?;
        Ok(Event::parse(payload)?)
    }

    /// Receives a verified event and calls the handler, as the webhook route does.
    ///
    /// Use it in a route that you write by hand.
    ///
    /// # Errors
    /// [`InboxError`]. It is not certain that the event was stored: answer with 503, and Stripe
    /// delivers it again.
    pub async fn receive(&self, event: Event) -> Result<Received, InboxError> {
        let checkout = self.clone();
        self.to_the_end(async move { checkout.take_in(event, Origin::Webhook).await })
            .await
    }

    #[cfg(all(feature = "intent", feature = "testing"))]
    pub(crate) async fn receive_if_due(&self, event: Event) -> Result<Received, InboxError> {
        let checkout = self.clone();
        self.to_the_end(async move { checkout.take_in(event, Origin::Retrieved).await })
            .await
    }

    pub(super) async fn take_in(
        &self,
        event: Event,
        origin: Origin,
    ) -> Result<Received, InboxError> {
        self.take_in_read(&self.read(event), origin).await
    }

    /// Returns the event as it is stored, with the account that it belongs to.
    ///
    /// An organisation's events also name the account of the API keys.
    pub(super) fn read(&self, event: Event) -> ReadEvent {
        let own = self.inner.own_account.as_deref();
        let event = event.unless_own(|account| own == Some(account));
        event.without_client_secrets().into()
    }

    pub(super) async fn take_in_read(
        &self,
        event: &ReadEvent,
        origin: Origin,
    ) -> Result<Received, InboxError> {
        let scope = self.scope(Mode::from_livemode(event.livemode()));
        let span = tracing::info_span!(
            "delivery",
            event = event.id(),
            event_type = event.event_type(),
            payment = field::Empty,
            outcome = field::Empty,
        );
        #[cfg(feature = "intent")]
        self.forget_look_ups(event, origin);
        let work = self.deliver(event.clone(), &scope, origin);
        let received = work.instrument(span.clone()).await;
        let outcome = telemetry::outcome_of(&received);
        span.record("outcome", outcome);
        telemetry::delivered(&scope, origin, outcome);
        if let Ok(received) = &received {
            self.watch_delivery(event, origin, received);
        }
        received
    }

    /// Forgets remembered look-ups, so that a returning buyer sees the payment after this event.
    #[cfg(feature = "intent")]
    fn forget_look_ups(&self, event: &ReadEvent, origin: Origin) {
        // An event from a look-up tells that look-up nothing new.
        if origin != Origin::Webhook {
            return;
        }
        let Some(payments) = self.inner.payments.as_ref() else {
            return;
        };
        let ids = [event.object_id(), event.outcome().payment_id()];
        ids.into_iter()
            .flatten()
            .for_each(|id| payments.gateway.heard_of(id));
    }

    async fn deliver(
        &self,
        event: ReadEvent,
        scope: &Scope,
        origin: Origin,
    ) -> Result<Received, InboxError> {
        let mode = scope.mode;
        match self.inner.mode {
            Some(Mode::Live) if mode == Mode::Test => {
                tracing::info!(
                    event = event.id(),
                    "a test event at a live configuration: not taken in"
                );
                return Ok(Received::Ignored);
            }
            Some(Mode::Test) if mode == Mode::Live => {
                tracing::error!(
                    event = event.id(),
                    "a LIVE event at a test configuration: real money that nobody fulfils; refused, so that Stripe keeps it"
                );
                return Ok(Received::Failed);
            }
            None if mode == Mode::Live && !self.inner.fulfillment.accepts_live() => {
                tracing::error!(
                    event = event.id(),
                    "a LIVE event, and an inbox that forgets at a restart: refused, so that Stripe keeps it; use SqliteInbox or PostgresInbox, also beside a store of your own"
                );
                return Ok(Received::Failed);
            }
            _ => {}
        }
        let delivery = Delivery {
            scope: scope.clone(),
            event,
            received: SystemTime::now(),
            at_once: origin == Origin::Webhook,
        };
        self.inner
            .fulfillment
            .deliver(delivery, &self.inner.ours)
            .await
    }

    /// Records that an event came from this origin, and its result.
    fn watch_delivery(&self, event: &ReadEvent, origin: Origin, received: &Received) {
        match origin {
            Origin::Webhook if self.inner.deliveries.accepted() => {
                // The webhook does not wait for this. The next note follows in five minutes.
                let checkout = self.clone();
                self.inner.tasks.spawn(async move {
                    if let Err(error) = checkout.note_webhook(SystemTime::now()).await {
                        tracing::debug!(%error, "the time of the last webhook was not noted");
                    }
                });
            }
            Origin::Webhook => {}
            Origin::Listed | Origin::Retrieved => {
                let now = SystemTime::now();
                self.inner.deliveries.found(event, received, now);
            }
        }
    }

    async fn note_webhook(&self, now: SystemTime) -> Result<(), InboxError> {
        let inbox = &self.inner.fulfillment;
        let scope = self.watched();
        let now = seconds(now).to_string();
        let before = inbox.bookmark(&scope, NOTE).await?;
        // If the note changed meanwhile, another process has just written it.
        inbox
            .put_bookmark(&scope, NOTE, before.as_deref(), &now)
            .await?;
        Ok(())
    }

    /// Returns the application and mode of the note.
    pub(super) fn watched(&self) -> Scope {
        self.scope(self.inner.mode.unwrap_or(Mode::Test))
    }
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
