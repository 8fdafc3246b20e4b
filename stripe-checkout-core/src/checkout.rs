//! One value that holds everything: keys, prices, page, inbox and handler. An adapter turns a request into a [`Call`], hands it to
//! [`Checkout::handle`], and turns the [`Reply`] back; all that decides anything is behind it, once for every framework.

mod alerts;
mod builder;
#[cfg(feature = "intent")]
mod captures;
mod clock;
#[cfg(feature = "intent")]
mod customer_routes;
mod delivery_watch;
#[cfg(feature = "intent")]
mod expire;
#[cfg(feature = "intent")]
mod intents;
#[cfg(feature = "intent")]
mod operations;
#[cfg(feature = "intent")]
mod people;
#[cfg(feature = "intent")]
mod receipt;
#[cfg(feature = "intent")]
mod reconcile;
#[cfg(feature = "intent")]
mod refunds;
#[cfg(feature = "intent")]
mod retrieved;
mod routes;
#[cfg(feature = "intent")]
mod saved_charge;
mod schedule;
#[cfg(feature = "intent")]
mod sessions;
mod tasks;
mod tenants;
mod upkeep;
#[cfg(feature = "intent")]
mod visiting;
mod wake;
mod worker;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tracing::{Instrument, field};

pub use self::alerts::Alert;
pub use self::builder::{CheckoutBuilder, Ours};
#[cfg(feature = "intent")]
pub use self::captures::Totals;
use self::clock::Clock;
use self::delivery_watch::DeliveryWatch;
#[cfg(feature = "intent")]
pub use self::expire::Expired;
#[cfg(feature = "intent")]
pub use self::reconcile::{Reconciled, Reconciler};
pub use self::schedule::Upkeep;
use self::tasks::Tasks;
pub use self::tenants::Tenants;
pub use self::worker::Worker;
use crate::call::{Body, BodyFault, Call};
use crate::config::Config;
use crate::endpoint::{Endpoint, Group};
use crate::error::{InboxError, SignatureError, VerifyError};
use crate::fulfillment::{
    Delivery, EventFilter, EventRecord, Fulfillment, OursRule, Received, Scope,
};
use crate::reply::{Problem, Reply};
use crate::secret::Mode;
use crate::telemetry::{self, Origin};
use crate::webhook::{Event, Verifier};

/// A ready-made checkout. Cheap to clone; clones are one and the same.
#[derive(Clone)]
pub struct Checkout {
    inner: Arc<Inner>,
    endpoints: Arc<[Endpoint]>,
    /// The way to Stripe on behalf of one visitor.
    #[cfg(feature = "intent")]
    visiting: Option<crate::intent::Gateway>,
}

struct Inner {
    application: String,
    /// Its first name, under which the inbox keeps what it knows.
    stored_as: String,
    mode: Option<Mode>,
    verifier: Verifier,
    fulfillment: Arc<dyn Fulfillment>,
    ours: OursRule,
    body_limit: usize,
    body_deadline: Duration,
    #[cfg(feature = "intent")]
    payments: Option<Payments>,
    /// Whether a payment on a connected account is still known after a restart.
    #[cfg(feature = "intent")]
    knows_accounts: bool,
    tasks: Tasks,
    clock: Clock,
    deliveries: DeliveryWatch,
}

/// Tells one visitor from another.
#[cfg(feature = "intent")]
type ClientKey = dyn Fn(&crate::Visitor) -> Option<String> + Send + Sync;

/// What only a checkout with prices has.
#[cfg(feature = "intent")]
struct Payments {
    pricing: Arc<dyn crate::pricing::ErasedPricing>,
    gateway: crate::intent::Gateway,
    visitor_calls: Arc<crate::intent::VisitorCalls>,
    client_key: Option<Arc<ClientKey>>,
    guard: Option<Arc<dyn crate::guard::ErasedGuard>>,
    customers: Option<Arc<dyn crate::customers::ErasedCustomers>>,
    max_declines: u32,
    cap: u64,
    descriptor_prefix: Option<String>,
    refused_emails: receipt::RefusedEmails,
    origins: Vec<String>,
    #[cfg(feature = "sessions")]
    hosted: Option<crate::intent::HostedCheckout>,
    #[cfg(feature = "checkout")]
    front: builder::Front,
}

impl Checkout {
    /// The header in which Stripe signs a webhook, in lower case.
    pub const SIGNATURE_HEADER: &'static str = "stripe-signature";

    /// Begins a checkout with this configuration; see the crate's documentation for the ten lines that follow.
    pub fn builder(config: Config) -> CheckoutBuilder {
        CheckoutBuilder::new(config)
    }

    /// The routes to mount: all of them if it has prices, only the webhook's if not.
    pub fn endpoints(&self) -> &[Endpoint] {
        &self.endpoints
    }

    /// The same checkout with the routes of one group only, so that groups can be mounted apart: a log-in layer around the page must not stand
    /// before the webhook.
    #[must_use]
    pub fn only(&self, group: Group) -> Self {
        let endpoints = self
            .endpoints
            .iter()
            .filter(|endpoint| endpoint.group() == group)
            .cloned()
            .collect();
        Self {
            endpoints,
            ..self.clone()
        }
    }

    /// Answers a call.
    ///
    /// The work runs as a task of its own, so that a client that hangs up cannot cut off a fulfilment half-way; [`drain`](Self::drain) waits for it
    /// at shutdown. It runs on the tokio runtime in which the checkout was built: a framework's worker threads may have runtimes of their own, which end with
    /// them (actix-web's do). A panic in the merchant's code is an answer of 500.
    ///
    /// A call to Stripe that a visitor causes waits for its turn, at most 2 s: see
    /// [`max_visitor_calls`](CheckoutBuilder::max_visitor_calls). If the visitor hangs up before it
    /// was sent, it is not sent.
    pub async fn handle(&self, call: Call) -> Reply {
        // At once and without a task: actix-web closes a connection with a broken body if the
        // answer is not ready then.
        if call.is_refused() {
            return self.answer(call).await;
        }
        let checkout = self.clone();
        // Closes when this future is dropped.
        #[cfg(feature = "intent")]
        let (_here, left) = tokio::sync::watch::channel(());
        let work = async move {
            #[cfg(feature = "intent")]
            let checkout = match call.endpoint.group() {
                // Stripe is no visitor.
                Group::Webhook => checkout,
                _ => checkout.visited(&call.visitor, left),
            };
            checkout.answer(call).await
        };
        match self.inner.tasks.spawn(work).await {
            Ok(reply) => reply,
            Err(error) => {
                // Not the error itself: it repeats the panic's message, which may hold anything.
                tracing::error!(panicked = error.is_panic(), "a request was not answered");
                Problem::internal().json()
            }
        }
    }

    /// Waits until every call that began has ended. Call it at shutdown, after the server stopped to accept connections.
    pub async fn drain(&self) {
        self.inner.tasks.drain().await;
    }

    /// Verifies a webhook's raw body against its `Stripe-Signature` headers, for whoever writes the route by hand. The event is *not* taken in:
    /// [`receive`](Self::receive) does that.
    ///
    /// # Errors
    /// [`VerifyError`]: `Reply::from` makes the answer, which tells the sender nothing more.
    pub fn verify<'a>(
        &self,
        body: Body,
        signatures: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<Event, VerifyError> {
        self.verified(body, signatures)
            .inspect_err(|error| self.inner.deliveries.refused(error))
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

    /// How large a webhook's body may be, in bytes.
    pub fn body_limit(&self) -> usize {
        self.inner.body_limit
    }

    /// How long the whole body of a request may take to arrive.
    pub fn body_deadline(&self) -> Duration {
        self.inner.body_deadline
    }

    /// Takes a verified event in and runs its hook: what the webhook route does, for whoever writes it by hand.
    ///
    /// # Errors
    /// [`InboxError`]: nothing was taken in, so answer with 503 and Stripe delivers again.
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

    /// Work that is not cut off half-way if whoever asked for it goes away.
    async fn to_the_end<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, InboxError>> + Send + 'static,
    ) -> Result<T, InboxError> {
        let task = self.inner.tasks.spawn(work);
        task.await
            .unwrap_or_else(|error| Err(InboxError::Unavailable(error.into())))
    }

    async fn take_in(&self, event: Event, origin: Origin) -> Result<Received, InboxError> {
        let scope = self.scope(Mode::from_livemode(event.livemode()));
        let span = tracing::info_span!(
            "delivery",
            event = event.id(),
            event_type = event.event_type(),
            payment = field::Empty,
            outcome = field::Empty,
        );
        #[cfg(feature = "intent")]
        self.forget_look_ups(&event, origin);
        let work = self.deliver(event.clone(), &scope, origin);
        let received = work.instrument(span.clone()).await;
        let outcome = telemetry::outcome_of(&received);
        span.record("outcome", outcome);
        telemetry::delivered(&scope, origin, outcome);
        if let Ok(received) = &received {
            self.watch_delivery(&event, origin, received);
        }
        received
    }

    /// A buyer who comes back does not see how the payment stood before this event.
    #[cfg(feature = "intent")]
    fn forget_look_ups(&self, event: &Event, origin: Origin) {
        let Some(payments) = self.inner.payments.as_ref() else {
            return;
        };
        // A look-up is no news to itself.
        if origin == Origin::Webhook {
            let outcome = crate::webhook::Outcome::of(event);
            let ids = [event.object_id(), outcome.payment_id()];
            ids.into_iter()
                .flatten()
                .for_each(|id| payments.gateway.heard_of(id));
        }
    }

    async fn deliver(
        &self,
        event: Event,
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

    /// The events received, the newest first, for an operator's page.
    ///
    /// # Errors
    /// [`InboxError::Unavailable`].
    pub async fn events(&self, mut filter: EventFilter) -> Result<Vec<EventRecord>, InboxError> {
        // Without keys in both modes, but never another application's on the same database.
        let mut events = Vec::new();
        for scope in self.scopes() {
            filter.scope = Some(scope);
            events.extend(self.inner.fulfillment.events(&filter).await?);
        }
        events.sort_by(|a, b| b.received.cmp(&a.received).then_with(|| b.id.cmp(&a.id)));
        events.truncate(filter.limit);
        Ok(events)
    }

    /// Runs an event that is pending, dead or mismatched again, from its first attempt. A pending
    /// event ends as it would have ended by itself, only sooner.
    ///
    /// # Errors
    /// [`InboxError::UnknownEvent`]; [`InboxError::WrongState`] if it is done, superseded or dropped; [`InboxError::Busy`].
    pub async fn replay(&self, event: &EventRecord) -> Result<Received, InboxError> {
        let (checkout, event) = (self.clone(), event.clone());
        self.to_the_end(async move { checkout.inner.fulfillment.replay(&event).await })
            .await
    }

    /// Gives up an event for good: its hook will not run, and refunds that waited for it go on.
    ///
    /// # Errors
    /// [`InboxError::UnknownEvent`]; [`InboxError::WrongState`] if it is done, superseded or dropped; [`InboxError::Busy`].
    pub async fn discard(&self, event: &EventRecord) -> Result<(), InboxError> {
        let (checkout, event) = (self.clone(), event.clone());
        self.to_the_end(async move { checkout.inner.fulfillment.discard(&event).await })
            .await
    }

    fn scope(&self, mode: Mode) -> Scope {
        Scope {
            application: self.inner.stored_as.clone(),
            mode,
        }
    }
}

impl fmt::Debug for Checkout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Checkout")
            .field("application", &self.inner.application)
            .field("mode", &self.inner.mode)
            .field(
                "endpoints",
                &self
                    .endpoints
                    .iter()
                    .map(Endpoint::path)
                    .collect::<Vec<_>>(),
            )
            .finish_non_exhaustive()
    }
}
