//! Joins an inbox and a handler, whose types are gone behind [`Fulfillment`].

use std::time::{Duration, SystemTime};

use super::birth::Births;
use super::declines::Declines;
use super::fresh::Fresh;
use super::inbox::Inbox;
#[cfg(feature = "intent")]
use super::inbox::Session as _;
use super::inbox_ext::InboxExt as _;
use super::judge::{Judge, stored_event};
use super::lookup::Lookup;
#[cfg(feature = "intent")]
use super::operation::{OperationKey, OperationRecord};
use super::records::{EventFilter, EventRecord, EventState, Scope, Stats};
#[cfg(feature = "intent")]
use super::records::{IntentRecord, OrderKey};
#[cfg(feature = "intent")]
use super::step::At;
use super::step::{Attempt, Start};
use super::verdict::{Received, Step, Stepped, Terms, Turn};
use super::watch::Watched;
use super::{BoxFuture, FulfillmentHandler};
use crate::config::Config;
use crate::error::InboxError;
use crate::webhook::{Payment, ReadEvent};

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
    /// On the account that it is of: none for the account of the keys.
    pub(crate) event: ReadEvent,
    pub(crate) received: SystemTime,
    /// Whether it runs although its next attempt is due later: it does when Stripe repeats it, and not when a buyer reloads a page.
    pub(crate) at_once: bool,
}

/// An inbox and a handler whose types are gone.
pub(crate) trait Fulfillment: Send + Sync {
    fn survives_restart(&self) -> bool;
    fn accepts_live(&self) -> bool;
    /// Tells one inbox from another.
    fn identity(&self) -> String;
    /// The applications and modes of the inbox that have something due.
    fn due_scopes(&self) -> BoxFuture<'_, Result<Vec<Scope>, InboxError>>;
    /// When the application was born on this inbox. Every other call that moves anything checks
    /// first that the inbox is not that of another Stripe account.
    fn birth<'a>(&'a self, scope: &'a Scope) -> BoxFuture<'a, Result<SystemTime, InboxError>>;
    /// The error of every call, once it is known that the inbox is that of another account.
    #[cfg(feature = "intent")]
    fn refused(&self) -> Option<InboxError>;
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
    #[cfg(feature = "intent")]
    fn event<'a>(
        &'a self,
        scope: &'a Scope,
        event: &'a str,
    ) -> BoxFuture<'a, Result<Option<EventRecord>, InboxError>>;
    /// What is stored, if it is due: what failed has its pause.
    #[cfg(feature = "intent")]
    fn run_if_due<'a>(
        &'a self,
        event: &'a EventRecord,
    ) -> BoxFuture<'a, Result<Received, InboxError>>;
    fn step_due<'a>(&'a self, scope: &'a Scope) -> BoxFuture<'a, Result<bool, InboxError>>;
    fn stats<'a>(&'a self, scope: &'a Scope) -> BoxFuture<'a, Result<Stats, InboxError>>;
    fn prune<'a>(
        &'a self,
        scope: &'a Scope,
        before: SystemTime,
        most: usize,
    ) -> BoxFuture<'a, Result<usize, InboxError>>;
    #[cfg(feature = "intent")]
    fn open_intents<'a>(
        &'a self,
        scope: &'a Scope,
        after: Option<&'a OrderKey>,
        since: SystemTime,
        most: usize,
    ) -> BoxFuture<'a, Result<Vec<(OrderKey, IntentRecord)>, InboxError>>;
    #[cfg(feature = "intent")]
    fn accounts<'a>(
        &'a self,
        scope: &'a Scope,
        after: Option<&'a str>,
        since: SystemTime,
        most: usize,
    ) -> BoxFuture<'a, Result<Vec<String>, InboxError>>;
    #[cfg(feature = "intent")]
    fn operation<'a>(
        &'a self,
        key: &'a OperationKey,
    ) -> BoxFuture<'a, Result<Option<OperationRecord>, InboxError>>;
    #[cfg(feature = "intent")]
    fn put_operation<'a>(
        &'a self,
        key: &'a OperationKey,
        expected: Option<u64>,
        record: OperationRecord,
    ) -> BoxFuture<'a, Result<bool, InboxError>>;
    fn bookmark<'a>(
        &'a self,
        scope: &'a Scope,
        name: &'a str,
    ) -> BoxFuture<'a, Result<Option<String>, InboxError>>;
    fn put_bookmark<'a>(
        &'a self,
        scope: &'a Scope,
        name: &'a str,
        expected: Option<&'a str>,
        value: &'a str,
    ) -> BoxFuture<'a, Result<bool, InboxError>>;
    fn replay<'a>(&'a self, event: &'a EventRecord) -> BoxFuture<'a, Result<Received, InboxError>>;
    fn discard<'a>(&'a self, event: &'a EventRecord) -> BoxFuture<'a, Result<(), InboxError>>;
}

/// How an inbox is worked through, as the merchant said.
pub(crate) struct Settings {
    pub(crate) deadline: Option<Duration>,
    pub(crate) max_attempts: u32,
    pub(crate) queued: bool,
    pub(crate) declines: Option<Declines>,
    pub(crate) config: Config,
    pub(crate) connect_application: Option<String>,
    /// Whether orders are paid on Stripe's own page.
    pub(crate) has_sessions: bool,
}

pub(crate) struct Engine<I, H> {
    pub(super) inbox: I,
    pub(super) handler: H,
    /// How long a handler may run.
    pub(super) deadline: Duration,
    /// How long a delivery waits for another one of the same payment.
    patience: Duration,
    /// After how many failed attempts an event is a dead letter.
    pub(super) max_attempts: u32,
    /// Whether a delivery is answered as soon as it is stored.
    pub(super) queued: bool,
    declines: Option<Declines>,
    births: Births,
    pub(super) fresh: Fresh,
    /// Tells by its keys which account is the merchant's own.
    pub(super) config: Config,
    /// Made the payments on connected accounts that a restart forgot.
    pub(super) connect_application: Option<String>,
    pub(super) has_sessions: bool,
}

/// The bounds of a handler's deadline. A process that dies leaves its event for that long.
const SHORTEST_DEADLINE: Duration = Duration::from_millis(1);
const LONGEST_DEADLINE: Duration = Duration::from_secs(24 * 60 * 60);

impl<I: Inbox, H: FulfillmentHandler<I::Connection>> Engine<I, H> {
    /// With a look-up at Stripe for what takes a payment back without saying whose it was, and for a success that comes late.
    pub(crate) fn new(
        inbox: I,
        handler: H,
        settings: Settings,
        lookup: Option<Box<dyn Lookup>>,
    ) -> Self {
        Self {
            deadline: settings
                .deadline
                .unwrap_or(inbox.limits().handler_deadline)
                .clamp(SHORTEST_DEADLINE, LONGEST_DEADLINE),
            inbox,
            handler,
            // A second delivery of the same payment waits a little less than Stripe waits for its answer.
            patience: Duration::from_secs(8),
            max_attempts: settings.max_attempts,
            queued: settings.queued,
            declines: settings.declines,
            births: Births::new(settings.config.account()),
            fresh: Fresh::new(lookup),
            config: settings.config,
            connect_application: settings.connect_application,
            has_sessions: settings.has_sessions,
        }
    }

    /// Runs one event, and then whatever of the same payment had waited for it.
    pub(super) async fn step(
        &self,
        scope: &Scope,
        start: Start<'_, I::Session>,
    ) -> Result<Received, InboxError> {
        let Some(step) = self.watched_step(scope, start).await? else {
            return Ok(Received::Queued);
        };
        let received = received(&step);
        self.step_those_who_waited(&step).await;
        Ok(received)
    }

    /// Runs the event that is due, if one is, and says whether one was.
    async fn step_due(&self, scope: &Scope) -> Result<bool, InboxError> {
        let Some(step) = self.watched_step(scope, Start::Turn(Turn::Due)).await? else {
            return Ok(false);
        };
        if is_now(&step) {
            self.step_those_who_waited(&step).await;
        }
        Ok(true)
    }

    async fn watched_step(
        &self,
        scope: &Scope,
        start: Start<'_, I::Session>,
    ) -> Result<Option<Step>, InboxError> {
        let mut step = self.one_step(scope, start).await?;
        // A success waits for nobody but Stripe.
        let waits = |step: &&Step| step.did == Stepped::Waiting;
        if let Some(waiting) = step.as_ref().filter(waits)
            && self.look(&waiting.event).await
        {
            let id = waiting.event.id.clone();
            step = self.one_step(scope, Start::Turn(Turn::Now(&id))).await?;
        }
        if let (Some(step), Some(declines)) = (&step, &self.declines)
            && is_now(step)
        {
            declines.after(&self.inbox, &step.event).await;
        }
        Ok(step)
    }

    /// Asks Stripe about a success that waits to be checked, and says whether it was asked.
    async fn look(&self, waiting: &EventRecord) -> bool {
        match stored_event(waiting, &self.config) {
            Ok(event) => self.fresh.look(&event, self.patience).await,
            Err(_) => false,
        }
    }

    async fn one_step(
        &self,
        scope: &Scope,
        start: Start<'_, I::Session>,
    ) -> Result<Option<Step>, InboxError> {
        let delivered = match &start {
            Start::Claimed(_, _, event) => Some(event.clone()),
            _ => None,
        };
        let judge = Judge {
            handler: &self.handler,
            fresh: &self.fresh,
            config: &self.config,
            deadline: self.deadline,
            max_attempts: self.max_attempts,
            has_one_writer: self.inbox.limits().has_one_writer,
            delivered,
        };
        let watched = Watched::new(&judge);
        let attempt = Attempt {
            inbox: &self.inbox,
            scope,
            terms: self.terms(),
            dispatch: &watched,
        };
        let step = attempt.run(start).await;
        watched.ended(&step);
        step
    }

    pub(super) fn terms(&self) -> Terms {
        let rest = self.patience + Duration::from_secs(5);
        let lease = self.deadline.saturating_add(rest);
        Terms::new(self.patience, lease, self.max_attempts)
    }

    /// At once, if the success came to its end now. What failed has its own time: a page that is reloaded must not use up its attempts.
    async fn step_those_who_waited(&self, success: &Step) {
        if !success.awaited {
            return;
        }
        let now = is_now(success);
        let Some(payment) = success.event.payment.as_deref() else {
            return;
        };
        let mut filter = EventFilter::default()
            .payment(payment)
            .state(EventState::Pending);
        filter.scope = Some(success.event.scope.clone());
        let pending = self.inbox.events(&filter).await.unwrap_or_default();
        for event in pending.iter().rev().filter(|event| !event.settles) {
            let turn = match now && event.last_error.is_none() {
                true => Turn::Now(&event.id),
                false => Turn::IfDue(&event.id),
            };
            if let Err(error) = self.watched_step(&event.scope, Start::Turn(turn)).await {
                tracing::warn!(event = event.id, error = %crate::error::Chain(&error), "a waiting event stays pending");
            }
        }
    }
}

/// Whether the event came to its end now.
fn is_now(step: &Step) -> bool {
    matches!(step.did, Stepped::Now(_))
}

fn received(step: &Step) -> Received {
    match step.did {
        // A dead letter stays loud: as long as it is not dropped or replayed, Stripe is not told that all is well.
        Stepped::Now(EventState::Dead) | Stepped::Already(EventState::Dead) => Received::Failed,
        Stepped::Failed => Received::Failed,
        Stepped::Now(state) => Received::Done(state),
        Stepped::Already(state) => Received::Duplicate(state),
        Stepped::Waiting => Received::Waiting,
    }
}

impl<I: Inbox, H: FulfillmentHandler<I::Connection>> Fulfillment for Engine<I, H> {
    fn survives_restart(&self) -> bool {
        self.inbox.limits().survives_restart
    }

    fn accepts_live(&self) -> bool {
        self.inbox.limits().accepts_live
    }

    fn identity(&self) -> String {
        self.inbox.identity()
    }

    fn due_scopes(&self) -> BoxFuture<'_, Result<Vec<Scope>, InboxError>> {
        Box::pin(self.inbox.due_scopes())
    }

    fn birth<'a>(&'a self, scope: &'a Scope) -> BoxFuture<'a, Result<SystemTime, InboxError>> {
        Box::pin(self.births.of(&self.inbox, scope))
    }

    #[cfg(feature = "intent")]
    fn refused(&self) -> Option<InboxError> {
        self.births.refused()
    }

    fn deliver<'a>(
        &'a self,
        delivery: Delivery,
        ours: &'a OursRule,
    ) -> BoxFuture<'a, Result<Received, InboxError>> {
        Box::pin(async move {
            self.births.of(&self.inbox, &delivery.scope).await?;
            Engine::deliver(self, delivery, ours).await
        })
    }

    #[cfg(feature = "intent")]
    fn intent<'a>(
        &'a self,
        order: &'a OrderKey,
    ) -> BoxFuture<'a, Result<Option<IntentRecord>, InboxError>> {
        Box::pin(async move {
            self.births.of(&self.inbox, &order.scope).await?;
            self.inbox.intent(order).await
        })
    }

    #[cfg(feature = "intent")]
    fn put_intent<'a>(
        &'a self,
        order: &'a OrderKey,
        expected: Option<u64>,
        record: IntentRecord,
    ) -> BoxFuture<'a, Result<bool, InboxError>> {
        Box::pin(async move {
            self.births.of(&self.inbox, &order.scope).await?;
            self.inbox.put_intent(order, expected, record).await
        })
    }

    #[cfg(feature = "intent")]
    fn intent_of_payment<'a>(
        &'a self,
        scope: &'a Scope,
        payment: &'a str,
    ) -> BoxFuture<'a, Result<Option<(OrderKey, IntentRecord)>, InboxError>> {
        Box::pin(async move {
            self.births.of(&self.inbox, scope).await?;
            self.inbox.intent_of_payment(scope, payment).await
        })
    }

    fn events<'a>(
        &'a self,
        filter: &'a EventFilter,
    ) -> BoxFuture<'a, Result<Vec<EventRecord>, InboxError>> {
        Box::pin(self.inbox.events(filter))
    }

    #[cfg(feature = "intent")]
    fn event<'a>(
        &'a self,
        scope: &'a Scope,
        event: &'a str,
    ) -> BoxFuture<'a, Result<Option<EventRecord>, InboxError>> {
        Box::pin(self.inbox.event(scope, event))
    }

    #[cfg(feature = "intent")]
    fn run_if_due<'a>(
        &'a self,
        event: &'a EventRecord,
    ) -> BoxFuture<'a, Result<Received, InboxError>> {
        Box::pin(async move {
            self.births.of(&self.inbox, &event.scope).await?;
            let mut session = self.inbox.session();
            let found = session.find(&event.scope, &event.id, [None; 2]).await?;
            let found = found.event.ok_or(InboxError::UnknownEvent)?;
            self.stored(session, found, At::Due).await
        })
    }

    fn step_due<'a>(&'a self, scope: &'a Scope) -> BoxFuture<'a, Result<bool, InboxError>> {
        Box::pin(async move {
            self.births.of(&self.inbox, scope).await?;
            Engine::step_due(self, scope).await
        })
    }

    fn stats<'a>(&'a self, scope: &'a Scope) -> BoxFuture<'a, Result<Stats, InboxError>> {
        Box::pin(self.inbox.stats(scope))
    }

    fn prune<'a>(
        &'a self,
        scope: &'a Scope,
        before: SystemTime,
        most: usize,
    ) -> BoxFuture<'a, Result<usize, InboxError>> {
        Box::pin(self.inbox.prune(scope, before, most))
    }

    #[cfg(feature = "intent")]
    fn open_intents<'a>(
        &'a self,
        scope: &'a Scope,
        after: Option<&'a OrderKey>,
        since: SystemTime,
        most: usize,
    ) -> BoxFuture<'a, Result<Vec<(OrderKey, IntentRecord)>, InboxError>> {
        Box::pin(async move {
            self.births.of(&self.inbox, scope).await?;
            self.inbox.open_intents(scope, after, since, most).await
        })
    }

    #[cfg(feature = "intent")]
    fn accounts<'a>(
        &'a self,
        scope: &'a Scope,
        after: Option<&'a str>,
        since: SystemTime,
        most: usize,
    ) -> BoxFuture<'a, Result<Vec<String>, InboxError>> {
        Box::pin(async move {
            self.births.of(&self.inbox, scope).await?;
            self.inbox.accounts(scope, after, since, most).await
        })
    }

    #[cfg(feature = "intent")]
    fn operation<'a>(
        &'a self,
        key: &'a OperationKey,
    ) -> BoxFuture<'a, Result<Option<OperationRecord>, InboxError>> {
        Box::pin(async move {
            self.births.of(&self.inbox, &key.scope).await?;
            self.inbox.operation(key).await
        })
    }

    #[cfg(feature = "intent")]
    fn put_operation<'a>(
        &'a self,
        key: &'a OperationKey,
        expected: Option<u64>,
        record: OperationRecord,
    ) -> BoxFuture<'a, Result<bool, InboxError>> {
        Box::pin(async move {
            self.births.of(&self.inbox, &key.scope).await?;
            self.inbox.put_operation(key, expected, record).await
        })
    }

    fn bookmark<'a>(
        &'a self,
        scope: &'a Scope,
        name: &'a str,
    ) -> BoxFuture<'a, Result<Option<String>, InboxError>> {
        Box::pin(self.inbox.bookmark(scope, name))
    }

    fn put_bookmark<'a>(
        &'a self,
        scope: &'a Scope,
        name: &'a str,
        expected: Option<&'a str>,
        value: &'a str,
    ) -> BoxFuture<'a, Result<bool, InboxError>> {
        Box::pin(self.inbox.put_bookmark(scope, name, expected, value))
    }

    fn replay<'a>(&'a self, event: &'a EventRecord) -> BoxFuture<'a, Result<Received, InboxError>> {
        Box::pin(async move {
            self.births.of(&self.inbox, &event.scope).await?;
            let patience = self.deadline + self.patience;
            self.inbox.replay(&event.scope, &event.id, patience).await?;
            let start = Start::Turn(Turn::Now(&event.id));
            self.step(&event.scope, start).await
        })
    }

    fn discard<'a>(&'a self, event: &'a EventRecord) -> BoxFuture<'a, Result<(), InboxError>> {
        Box::pin(async move {
            self.births.of(&self.inbox, &event.scope).await?;
            let patience = self.deadline + self.patience;
            self.inbox
                .discard(&event.scope, &event.id, patience)
                .await?;
            self.step_those_who_waited(&Step::discarded(event)).await;
            Ok(())
        })
    }
}
