//! Joins an inbox and a handler: runs one event, and what waited for it.

use std::time::{Duration, SystemTime};

use super::birth::Births;
use super::decline_limit::DeclineLimit;
use super::handler::FulfillmentHandler;
use super::inbox::Inbox;
use super::instrument::Watched;
use super::judge::{Judge, stored_event};
use super::lookup::Lookup;
use super::recheck::Recheck;
use super::records::{EventFilter, EventRecord, EventState, Scope};
use super::step::{Attempt, Start};
use super::verdict::{Received, Step, Stepped, Terms, Which};
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

/// How an inbox is worked through, as the merchant said.
pub(crate) struct Settings {
    pub(crate) deadline: Option<Duration>,
    pub(crate) max_attempts: u32,
    pub(crate) queued: bool,
    pub(crate) declines: Option<DeclineLimit>,
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
    pub(super) patience: Duration,
    /// After how many failed attempts an event is a dead letter.
    pub(super) max_attempts: u32,
    /// Whether a delivery is answered as soon as it is stored.
    pub(super) queued: bool,
    declines: Option<DeclineLimit>,
    pub(super) births: Births,
    pub(super) recheck: Recheck,
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
            recheck: Recheck::new(lookup),
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
    pub(super) async fn step_due(&self, scope: &Scope) -> Result<bool, InboxError> {
        let Some(step) = self.watched_step(scope, Start::Which(Which::Due)).await? else {
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
            step = self.one_step(scope, Start::Which(Which::Now(&id))).await?;
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
            Ok(event) => self.recheck.look(&event, self.patience).await,
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
            recheck: &self.recheck,
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
    pub(super) async fn step_those_who_waited(&self, success: &Step) {
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
                true => Which::Now(&event.id),
                false => Which::IfDue(&event.id),
            };
            if let Err(error) = self.watched_step(&event.scope, Start::Which(turn)).await {
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
        // A dead letter stays loud: until it is discarded or replayed, Stripe receives an error.
        Stepped::Now(EventState::Dead) | Stepped::Already(EventState::Dead) => Received::Failed,
        Stepped::Failed => Received::Failed,
        Stepped::Now(state) => Received::Done(state),
        Stepped::Already(state) => Received::Duplicate(state),
        Stepped::Waiting => Received::Waiting,
    }
}
