//! Joins an inbox and a handler: runs one event, and the events that waited for it.

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

/// The rule that says which payments belong to this application.
#[derive(Clone)]
pub(crate) enum OwnershipRule {
    ByMetadata(Vec<String>),
    AllPayments,
    Custom(std::sync::Arc<dyn Fn(&Payment) -> bool + Send + Sync>),
}

/// A verified event on its way into the inbox.
pub(crate) struct Delivery {
    pub(crate) scope: Scope,
    /// It names the account that it belongs to: none for the account of the keys.
    pub(crate) event: ReadEvent,
    pub(crate) received: SystemTime,
    /// Whether it runs although its next attempt is due later. It does when Stripe repeats it, and
    /// does not when a buyer reloads a page.
    pub(crate) at_once: bool,
}

/// The merchant's settings for the work on an inbox.
pub(crate) struct Settings {
    pub(crate) deadline: Option<Duration>,
    pub(crate) max_attempts: u32,
    pub(crate) queued: bool,
    pub(crate) declines: Option<DeclineLimit>,
    pub(crate) config: Config,
    pub(crate) connect_application: Option<String>,
    /// Whether orders can be paid on Stripe's own page.
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
    /// Whether a delivery is acknowledged as soon as it is stored.
    pub(super) queued: bool,
    declines: Option<DeclineLimit>,
    pub(super) births: Births,
    pub(super) recheck: Recheck,
    /// Its keys tell which account is the merchant's own.
    pub(super) config: Config,
    /// The Connect application of the payments on connected accounts. It identifies the payments
    /// that an inbox in memory forgot at a restart.
    pub(super) connect_application: Option<String>,
    pub(super) has_sessions: bool,
}

/// The bounds of a handler's deadline. The event of a process that dies stays claimed for at least
/// that long.
const SHORTEST_DEADLINE: Duration = Duration::from_millis(1);
const LONGEST_DEADLINE: Duration = Duration::from_secs(24 * 60 * 60);

impl<I: Inbox, H: FulfillmentHandler<I::Connection>> Engine<I, H> {
    /// Creates an engine. The look-up asks Stripe about a refund or a dispute that does not say
    /// whose payment it takes back, and about a late success.
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
            // A second delivery of the same payment waits a little less than Stripe waits for the
            // response.
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

    /// Runs one event, and then the events of the same payment that waited for it.
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

    /// Runs the event that is due, if there is one, and returns whether there was one.
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
        // A success waits for nothing but Stripe's answer.
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

    /// Asks Stripe about a success that waits for its check. Returns whether it asked.
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

    /// Runs the events that waited for this success: at once, if the success was finished in this
    /// step. A failed event keeps its own due time, so that a reloaded page does not use up its
    /// attempts.
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

/// Whether the event was finished in this step.
fn is_now(step: &Step) -> bool {
    matches!(step.did, Stepped::Now(_))
}

fn received(step: &Step) -> Received {
    match step.did {
        // A dead letter keeps failing: Stripe receives an error until the event is discarded or
        // replayed.
        Stepped::Now(EventState::Dead) | Stepped::Already(EventState::Dead) => Received::Failed,
        Stepped::Failed => Received::Failed,
        Stepped::Now(state) => Received::Done(state),
        Stepped::Already(state) => Received::Duplicate(state),
        Stepped::Waiting => Received::Waiting,
    }
}
