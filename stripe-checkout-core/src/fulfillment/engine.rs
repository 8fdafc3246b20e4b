//! Joins an inbox and a handler: takes deliveries in, and is what the inbox dispatches to.

use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::birth::Births;
use super::debit;
use super::decide::{
    Decision, decide, intent_after, is_present, is_session, note, own_capture, payment_after,
    payment_event, settles, went_back, with_figures,
};
use super::declines::Declines;
use super::due::{Due, Mismatch};
use super::error_line;
use super::fresh::{self, Check, Fresh};
use super::inbox::{
    Cause, Dispatch, EventFilter, EventRecord, EventState, Inbox, IntentRecord, IntentState,
    NewEvent, OrderKey, PaymentRecord, RequestState, Scope, Settled, Stats, Step, Stepped, Terms,
    Turn, Verdict, WentBack,
};
use super::lookup::Lookup;
#[cfg(feature = "intent")]
use super::operation::{OperationKey, OperationRecord};
use super::payment_event::{PaymentEvent, created};
use super::watch::Watched;
use super::{BoxFuture, FulfillmentHandler, cause, retry};
use crate::amount::Amount;
use crate::config::Config;
use crate::error::{BoxError, Escaped, EventError, InboxError};
use crate::marks::Marks;
use crate::metadata::Metadata;
use crate::webhook::{CheckoutSession, Event, Outcome, Payment, ReadEvent};

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

/// What became of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Received {
    /// Dealt with now. Answer 200.
    Done(EventState),
    /// Dealt with before. Answer 200.
    Duplicate(EventState),
    /// A test event at a live configuration. Answer 200.
    Ignored,
    /// The hook failed. Answer 500, so that Stripe delivers again.
    Failed,
    /// Stored; a worker runs it. Answer 200.
    Queued,
    /// Something else must come first, like the success before its refund. Answer 503, so that Stripe delivers again.
    Waiting,
}

/// An inbox and a handler whose types are gone.
pub(crate) trait Fulfillment: Send + Sync {
    fn survives_restart(&self) -> bool;
    fn accepts_live(&self) -> bool;
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
    inbox: I,
    handler: H,
    /// How long a handler may run.
    deadline: Duration,
    /// How long a delivery waits for another one of the same payment.
    patience: Duration,
    /// After how many failed attempts an event is a dead letter.
    max_attempts: u32,
    /// Whether a delivery is answered as soon as it is stored.
    queued: bool,
    declines: Option<Declines>,
    births: Births,
    fresh: Fresh,
    /// Tells by its keys which account is the merchant's own.
    config: Config,
    /// Made the payments on connected accounts that a restart forgot.
    connect_application: Option<String>,
    has_sessions: bool,
}

/// The bounds of a handler's deadline. A process that dies leaves its event for that long.
const SHORTEST_DEADLINE: Duration = Duration::from_millis(1);
const LONGEST_DEADLINE: Duration = Duration::from_secs(24 * 60 * 60);

/// How soon a worker looks again at an event that waits for another one, which looks itself for those that waited for it when it is done.
const OVERTAKEN: Duration = Duration::from_secs(30);

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
                .unwrap_or(inbox.handler_deadline())
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

    /// Steps one event, and then whatever of the same payment had waited for it.
    async fn step(&self, event: &EventRecord, turn: Turn<'_>) -> Result<Received, InboxError> {
        let (received, now) = self.step_alone(event, turn).await?;
        self.step_those_who_waited(event, now).await;
        Ok(received)
    }

    /// Also says whether the event came to its end now.
    async fn step_alone(
        &self,
        event: &EventRecord,
        turn: Turn<'_>,
    ) -> Result<(Received, bool), InboxError> {
        let Some(step) = self.watched_step(&event.scope, turn).await? else {
            return Ok((Received::Queued, false));
        };
        self.look_after_declines(&step).await;
        let received = match step.did {
            // A dead letter stays loud: as long as it is not dropped or replayed, Stripe is not told that all is well.
            Stepped::Now(EventState::Dead) | Stepped::Already(EventState::Dead) => Received::Failed,
            Stepped::Failed => Received::Failed,
            Stepped::Now(state) => Received::Done(state),
            Stepped::Already(state) => Received::Duplicate(state),
            Stepped::Waiting => Received::Waiting,
        };
        Ok((received, matches!(step.did, Stepped::Now(_))))
    }

    /// Steps the event that is due, if one is, and says whether one was.
    async fn step_due(&self, scope: &Scope) -> Result<bool, InboxError> {
        let Some(step) = self.watched_step(scope, Turn::Due).await? else {
            return Ok(false);
        };
        self.look_after_declines(&step).await;
        if matches!(step.did, Stepped::Now(_)) {
            self.step_those_who_waited(&step.event, true).await;
        }
        Ok(true)
    }

    async fn look_after_declines(&self, step: &Step) {
        if let Some(declines) = self
            .declines
            .as_ref()
            .filter(|_| matches!(step.did, Stepped::Now(_)))
        {
            declines.after(&self.inbox, &step.event).await;
        }
    }

    async fn watched_step(
        &self,
        scope: &Scope,
        turn: Turn<'_>,
    ) -> Result<Option<Step>, InboxError> {
        let step = self.one_step(scope, turn).await?;
        // A success waits for nobody but Stripe.
        let waits = |step: &&Step| step.did == Stepped::Waiting;
        match step.as_ref().filter(waits) {
            Some(waiting) if self.look(&waiting.event).await => {
                self.one_step(scope, Turn::Now(&waiting.event.id)).await
            }
            _ => Ok(step),
        }
    }

    /// Asks Stripe about a success that waits to be checked, and says whether it was asked.
    async fn look(&self, waiting: &EventRecord) -> bool {
        match self.read(waiting) {
            Ok(event) => self.fresh.look(&event, self.patience).await,
            Err(_) => false,
        }
    }

    /// The stored event, on the account that it is of.
    fn read(&self, record: &EventRecord) -> Result<Event, EventError> {
        Ok(self.own(Event::parse(record.body.clone())?))
    }

    fn own(&self, event: Event) -> Event {
        event.unless_own(|account| self.config.is_of_keys(account))
    }

    async fn one_step(&self, scope: &Scope, turn: Turn<'_>) -> Result<Option<Step>, InboxError> {
        let watched = Watched::new(self);
        let step = self.inbox.step(scope, turn, self.terms(), &watched).await;
        watched.ended(&step);
        step
    }

    fn terms(&self) -> Terms {
        let rest = self.patience + Duration::from_secs(5);
        let lease = self.deadline.saturating_add(rest);
        Terms::new(self.patience, lease, self.max_attempts)
    }

    /// At once, if the success came to its end now. What failed has its own time: a page that is reloaded must not use up its attempts.
    async fn step_those_who_waited(&self, success: &EventRecord, now: bool) {
        let Some(payment) = success.payment.as_deref().filter(|_| success.settles) else {
            return;
        };
        let mut filter = EventFilter::default()
            .payment(payment)
            .state(EventState::Pending);
        filter.scope = Some(success.scope.clone());
        let pending = self.inbox.events(&filter).await.unwrap_or_default();
        for event in pending.iter().rev().filter(|event| !event.settles) {
            let turn = match now && event.last_error.is_none() {
                true => Turn::Now(&event.id),
                false => Turn::IfDue(&event.id),
            };
            if let Err(error) = self.step_alone(event, turn).await {
                tracing::warn!(event = event.id, error = %crate::error::Chain(&error), "a waiting event stays pending");
            }
        }
    }

    async fn deliver(&self, delivery: Delivery, ours: &OursRule) -> Result<Received, InboxError> {
        let id = delivery.event.id();
        if let Some(known) = self.inbox.event(&delivery.scope, id).await? {
            tracing::Span::current().record("payment", known.payment.as_deref());
            return self.stored(&known, delivery.at_once).await;
        }
        let at_once = delivery.at_once;
        let outcome = delivery.event.outcome();
        tracing::Span::current().record("payment", outcome.payment_id());
        if let Outcome::Unreadable(error) = outcome {
            tracing::error!(event = delivery.event.id(), event_type = delivery.event.event_type(), error = %crate::error::Chain(error), "genuine, and about a payment, but it cannot be read");
        }
        let order = self.whose(&delivery, outcome, ours).await?;
        let Delivery {
            scope,
            event,
            received,
            ..
        } = &delivery;
        let is_ours = order.is_some();
        let record = self
            .inbox
            .receive(NewEvent {
                scope: scope.clone(),
                id: event.id().to_owned(),
                event_type: event.event_type().to_owned(),
                payment: outcome.payment_id().map(str::to_owned),
                order: order.flatten(),
                ours: is_ours,
                settles: is_ours && settles(outcome),
                // Also of what is not known as ours, yet: a note only ever stops a delivery.
                note: note(outcome),
                body: event.body_without_client_secrets().into(),
                received: *received,
            })
            .await?;
        self.stored(&record, at_once).await
    }

    /// What is stored is run at once, or left to a worker.
    async fn stored(&self, event: &EventRecord, at_once: bool) -> Result<Received, InboxError> {
        if !self.queued {
            let turn = match at_once {
                true => Turn::Now(&event.id),
                false => Turn::IfDue(&event.id),
            };
            return self.step(event, turn).await;
        }
        Ok(match event.state {
            EventState::Pending => Received::Queued,
            EventState::Dead => Received::Failed,
            state => Received::Duplicate(state),
        })
    }

    /// Whether the payment is this application's (`None` if not), and its order, as far as it has one.
    async fn whose(
        &self,
        delivery: &Delivery,
        outcome: &Outcome,
        ours: &OursRule,
    ) -> Result<Option<Option<OrderKey>>, InboxError> {
        let event = &delivery.event;
        let account = event.account();
        let unreadable = matches!(outcome, Outcome::Unreadable(_)).then(|| event.object_id());
        let Some(id) = outcome.payment_id().or(unreadable.flatten()) else {
            return Ok(None);
        };
        // Before a buyer pays, the order knows the session only.
        let session = outcome.payment().and_then(Payment::session);
        let session = session
            .map(CheckoutSession::id)
            .filter(|known| *known != id);
        for known in [Some(id), session].into_iter().flatten() {
            if let Some((order, _)) = self.inbox.intent_of_payment(&delivery.scope, known).await? {
                // An event of another account is not about our money. An organisation names the own
                // account too, and ids of Stripe's are unique.
                let own = order.account.is_none() && self.may_name_own(event);
                let same = order.account.as_deref() == account;
                return Ok((same || own).then_some(Some(order)));
            }
        }
        let order_of = |payment: &Payment| {
            payment.order_id().map(|reference| OrderKey {
                scope: delivery.scope.clone(),
                account: account.map(str::to_owned),
                reference: reference.to_owned(),
            })
        };
        let heard_of = self.inbox.payment(&delivery.scope, id).await?;
        if heard_of.is_some_and(|payment| payment.success != Settled::No) {
            // With its order: who fulfils it must also write down that the order is paid.
            return Ok(Some(outcome.payment().and_then(order_of)));
        }
        if account.is_some() {
            let payment = outcome.payment();
            if let Some(order) = self
                .order_of_session(&delivery.scope, id, account, payment)
                .await?
            {
                return Ok(Some(Some(order)));
            }
            if let Some(order) = self
                .forgotten_order(&delivery.scope, id, account, outcome, ours)
                .await?
            {
                return Ok(Some(Some(order)));
            }
        }
        let looked_up = match (self.fresh.lookup(), ours) {
            (_, OursRule::All) => None,
            (_, OursRule::Marked(_)) if account.is_some() => None,
            (Some(lookup), _) if takes_back(outcome) => {
                let found = lookup.payment(id, account).await;
                found.map_err(InboxError::Unavailable)?
            }
            _ => None,
        };
        let payment = outcome.payment().or(looked_up.as_ref());
        let bare = event.object::<Bare>().ok();
        let metadata = payment
            .map(Payment::metadata)
            .or(bare.as_ref().map(|bare| &bare.metadata));
        let marks = metadata.and_then(Marks::of);
        let is_marked = |names: &[String]| {
            let application = marks.as_ref().map(|marks| marks.application);
            names.iter().any(|name| application == Some(name.as_str()))
        };
        let is_ours = match ours {
            // A payment method has no mark, and a rule about payments says nothing of a card that is saved.
            _ if is_a_method(outcome) => account.is_none(),
            OursRule::By(_) if is_a_setup(outcome) => account.is_none(),
            OursRule::All => account.is_none(),
            OursRule::Marked(names) => account.is_none() && is_marked(names),
            OursRule::By(rule) => payment.is_some_and(|payment| rule(payment)),
        };
        if !is_ours && self.may_name_own(event) {
            let may_be_ours = match ours {
                OursRule::All => outcome.payment().is_some(),
                OursRule::Marked(names) => is_marked(names),
                OursRule::By(_) => false,
            };
            if may_be_ours {
                tracing::error!(
                    event = event.id(),
                    account,
                    payment = id,
                    "an organisation's event may be about your own account, and the keys do not tell which one that is: it is not acknowledged"
                );
                return Err(InboxError::Unavailable(
                    "the keys do not tell which account of the organisation is your own".into(),
                ));
            }
        }
        Ok(is_ours.then(|| payment.and_then(order_of)))
    }

    /// Whether an organisation's event names an account that may be the merchant's own. Keys from
    /// before 2019, and no keys, do not tell.
    fn may_name_own(&self, event: &Event) -> bool {
        event.is_named_by_context() && self.config.account().is_none()
    }

    /// The order of a PaymentIntent that was made in a Checkout Session on a connected account.
    ///
    /// Until the session is complete, the order's row has the session only. A connected account
    /// writes any metadata itself, so the marks only tell which row to look at. Stripe tells which
    /// session the PaymentIntent was made in, and that must be a session of this application.
    async fn order_of_session(
        &self,
        scope: &Scope,
        id: &str,
        account: Option<&str>,
        payment: Option<&Payment>,
    ) -> Result<Option<OrderKey>, InboxError> {
        let named = match payment {
            Some(payment) if payment.session().is_some() => return Ok(None),
            Some(payment) => {
                let marks = payment.order_id().zip(payment.session_attempt());
                let Some((reference, attempt)) = marks else {
                    return Ok(None);
                };
                let order = OrderKey {
                    scope: scope.clone(),
                    account: account.map(str::to_owned),
                    reference: reference.to_owned(),
                };
                let Some(row) = self.inbox.intent(&order).await? else {
                    return Ok(None);
                };
                let open = row.payment.as_deref().is_some_and(is_session);
                Some((order, open && row.attempt == attempt))
            }
            // A refund or a dispute bears no marks. Without Stripe's page there is no session, and
            // the key may not look for one.
            None if !self.has_sessions => return Ok(None),
            None => None,
        };
        let Some(lookup) = self.fresh.lookup() else {
            return Ok(named.and_then(|(order, is_open)| is_open.then_some(order)));
        };
        let session = lookup.session(id, account).await;
        let Some(session) = session.map_err(InboxError::Unavailable)? else {
            return Ok(None);
        };
        let known = self.inbox.intent_of_payment(scope, session.id()).await?;
        Ok(known
            .map(|(order, _)| order)
            .filter(|order| order.account.as_deref() == account))
    }

    /// The order of a payment on a connected account that an inbox in memory forgot at a restart.
    ///
    /// Stripe writes into a PaymentIntent which Connect application made it. The connected account
    /// cannot choose that, so the marks of such a PaymentIntent are this application's own.
    async fn forgotten_order(
        &self,
        scope: &Scope,
        id: &str,
        account: Option<&str>,
        outcome: &Outcome,
        ours: &OursRule,
    ) -> Result<Option<OrderKey>, InboxError> {
        let (Some(lookup), Some(connect), OursRule::Marked(names)) =
            (self.fresh.lookup(), &self.connect_application, ours)
        else {
            return Ok(None);
        };
        let is_marked = |payment: &Payment| {
            let marks = Marks::of(payment.metadata());
            marks.is_some_and(|marks| names.iter().any(|name| name == marks.application))
        };
        let may_be_ours = match outcome.payment() {
            Some(payment) => is_marked(payment),
            None => takes_back(outcome),
        };
        if self.inbox.survives_restart() || !may_be_ours {
            return Ok(None);
        }
        let found = lookup.payment(id, account).await;
        let found = found
            .map_err(InboxError::Unavailable)?
            .filter(|found| found.application() == Some(connect.as_str()) && is_marked(found));
        Ok(found.and_then(|found| {
            Some(OrderKey {
                scope: scope.clone(),
                account: account.map(str::to_owned),
                reference: found.order_id()?.to_owned(),
            })
        }))
    }

    /// Calls the handler with what the decision asks for.
    async fn run(
        &self,
        decision: Decision,
        outcome: &Outcome,
        event: &Event,
        db: &mut I::Connection,
    ) -> Result<(), BoxError> {
        match (decision, outcome) {
            (Decision::Superseded | Decision::Wait | Decision::WriteDown, _) => Ok(()),
            // An order with nothing to pay is a success too.
            (Decision::Fulfill, Outcome::Succeeded(payment) | Outcome::Free(payment)) => {
                self.handler.payment_succeeded(payment, db).await
            }
            _ => {
                let news = payment_event(decision, outcome, event);
                self.tell(&news, event, db).await
            }
        }
    }

    /// Gives the event to the handler. A line of the log says what a person must look at, before
    /// the handler can fail.
    async fn tell(
        &self,
        news: &PaymentEvent<'_>,
        event: &Event,
        db: &mut I::Connection,
    ) -> Result<(), BoxError> {
        error_line::log(news, event);
        self.handler.on_event(news, db).await
    }

    /// Compares the price of the payment with what is due, and what arrived with what was to be
    /// taken.
    async fn mismatch(
        &self,
        payment: &Payment,
        order: Option<&OrderKey>,
        intent: Option<&IntentRecord>,
        known: &PaymentRecord,
        db: &mut I::Connection,
    ) -> Result<Option<Mismatch>, BoxError> {
        if let Some(order) = order.filter(|order| payment.order_id() != Some(&order.reference)) {
            return Ok(Some(Mismatch::OtherOrder {
                made_for: order.reference.clone(),
                named: payment.order_id().map(str::to_owned),
            }));
        }
        let row = intent.filter(|row| is_present(row, payment));
        let (price, received) = (payment.price(), payment.amount_received());
        let mut expected = expected_of(payment, row);
        let wrong_price = match self.handler.amount_due(payment, db).await? {
            Due::Exactly(due) if due != price => Some(Mismatch::NotAsDue { due, price }),
            Due::Exactly(_) => None,
            Due::AsAsked => match asked_of(payment, row) {
                None => Some(Mismatch::AskedUnknown { price }),
                Some(asked) if asked != price => Some(Mismatch::NotAsAsked { asked, price }),
                Some(_) => None,
            },
            Due::Received(due) => {
                expected = due;
                None
            }
        };
        let missing =
            (received != expected).then_some(Mismatch::NotAsExpected { expected, received });
        let unclear = (went_back(known, payment, intent) == WentBack::Unclear)
            .then_some(Mismatch::RefundUnclear { received });
        Ok(wrong_price.or(missing).or(unclear))
    }

    async fn verdict(
        &self,
        record: &EventRecord,
        before: &PaymentRecord,
        intent: Option<&IntentRecord>,
        db: &mut I::Connection,
    ) -> Result<Verdict, BoxError> {
        let event = self.read(record)?;
        let outcome = Outcome::of(&event);
        if let Outcome::Unreadable(error) = &outcome {
            self.run(Decision::TellAsEvent, &outcome, &event, db)
                .await?;
            let payment = before.clone();
            return Ok(match record.ours {
                true => {
                    let reason = chain(error);
                    error_line::log_unclear(&event, record.payment.as_deref(), &reason);
                    Verdict::Mismatch { payment, reason }
                }
                false => Verdict::Done {
                    payment,
                    intent: None,
                },
            });
        }
        let outcome = if record.ours {
            outcome
        } else {
            Outcome::NotAboutPayment
        };
        let seen = match &outcome {
            Outcome::Succeeded(payment) => self.fresh.seen(payment),
            _ => None,
        };
        let seen = seen.as_ref();
        let known = match &outcome {
            Outcome::Succeeded(payment) => &self.fresh.known(seen, before, payment),
            _ => before,
        };
        let decision = decide(&outcome, age(&event), known, intent);
        let decision = debit::told_once(decision, &outcome, &event, known);
        match (decision, &outcome) {
            (Decision::Superseded, _) => return Ok(Verdict::Superseded),
            (Decision::Wait, _) => {
                let (again, reason) = (OVERTAKEN, None);
                return Ok(Verdict::Waiting { again, reason });
            }
            (Decision::RefundedBefore, Outcome::Succeeded(payment)) if known.disputed() => {
                if let Check::Waits(reason) = self.fresh.check_dispute(seen, &event, payment) {
                    let again = fresh::again(record.received);
                    return Ok(Verdict::Waiting { again, reason });
                }
            }
            _ => {}
        }
        let outcome = match outcome {
            Outcome::Succeeded(payment) if decision == Decision::Fulfill => {
                match self.fresh.check(seen, &event, &payment) {
                    Check::Passed(payment) => Outcome::Succeeded(*payment),
                    Check::Waits(reason) => {
                        let again = fresh::again(record.received);
                        return Ok(Verdict::Waiting { again, reason });
                    }
                }
            }
            other => other,
        };
        if let (Decision::Fulfill, Some(payment)) = (decision, outcome.settled())
            && let Some(mismatch) = self
                .mismatch(payment, record.order.as_ref(), intent, known, db)
                .await?
        {
            let news = PaymentEvent::Mismatch {
                payment,
                mismatch: &mismatch,
                created: created(&event),
            };
            self.tell(&news, &event, db).await?;
            let payment = PaymentRecord {
                success: Settled::Mismatch,
                ..with_figures(known, payment, intent)
            };
            return Ok(Verdict::Mismatch {
                payment,
                reason: mismatch.to_string(),
            });
        }
        self.run(decision, &outcome, &event, db).await?;
        if decision == Decision::Unclear {
            error_line::log_unclear(&event, record.payment.as_deref(), UNCLEAR_REFUND);
            return Ok(Verdict::Mismatch {
                payment: known.clone(),
                reason: UNCLEAR_REFUND.to_owned(),
            });
        }
        let after = match (intent, outcome.payment()) {
            (Some(row), _) => intent_after(&outcome, decision, row),
            // Ours, but the row was lost with a restart, or never was: from now on the order knows its payment. A session's PaymentIntent does not say of which one, but
            // that it paid is to be known.
            (None, Some(payment))
                if record.order.is_some()
                    && (!payment.is_told_by_session()
                        || matches!(decision, Decision::Fulfill | Decision::RefundedBefore)) =>
            {
                let row = row_of(payment);
                intent_after(&outcome, decision, &row).or(Some(row))
            }
            _ => None,
        };
        let mut payment = match &outcome {
            Outcome::Succeeded(paid) => {
                payment_after(&outcome, decision, &with_figures(known, paid, intent))
            }
            _ => payment_after(&outcome, decision, known),
        };
        debit::write_down(&mut payment, &outcome, &event);
        Ok(Verdict::Done {
            payment,
            intent: after,
        })
    }
}

impl<I: Inbox, H: FulfillmentHandler<I::Connection>> Dispatch<I::Connection> for Engine<I, H> {
    fn dispatch<'a>(
        &'a self,
        event: &'a EventRecord,
        payment: &'a PaymentRecord,
        intent: Option<&'a IntentRecord>,
        db: &'a mut I::Connection,
    ) -> BoxFuture<'a, Verdict> {
        Box::pin(async move {
            let work = catch_panic(self.verdict(event, payment, intent, db));
            let attempt = event.attempts;
            let failed = |cause, error| Verdict::Failed {
                cause,
                error,
                again: (attempt < self.max_attempts).then(|| retry::pause(attempt)),
            };
            let verdict = match tokio::time::timeout(self.deadline, work).await {
                Ok(Some(Ok(verdict))) => verdict,
                Ok(Some(Err(error))) => failed(cause::of(&*error), chain(&*error)),
                Ok(None) => failed(Cause::Panicked, "the handler panicked".into()),
                Err(_) => {
                    let seconds = self.deadline.as_secs_f64();
                    let error = format!("the handler did not end within {seconds} s");
                    failed(Cause::Deadline, error)
                }
            };
            let payment = event.payment.as_deref().unwrap_or_default();
            match &verdict {
                Verdict::Failed { error, again, .. } => {
                    let dead_letter = again.is_none();
                    tracing::error!(event = event.id, event_type = event.event_type, payment, attempt, error = %Escaped(error), dead_letter, "fulfilment failed");
                }
                // Logged where the handler is called.
                Verdict::Mismatch { .. } => {}
                Verdict::Done { .. } => {
                    tracing::info!(
                        event = event.id,
                        event_type = event.event_type,
                        payment,
                        attempt,
                        "event handled"
                    );
                }
                Verdict::Superseded | Verdict::Waiting { .. } => {
                    tracing::debug!(event = event.id, event_type = event.event_type, payment, verdict = ?verdict, "no hook ran");
                }
            }
            verdict
        })
    }
}

impl<I: Inbox, H: FulfillmentHandler<I::Connection>> Fulfillment for Engine<I, H> {
    fn survives_restart(&self) -> bool {
        self.inbox.survives_restart()
    }

    fn accepts_live(&self) -> bool {
        self.inbox.accepts_live()
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
            self.stored(event, false).await
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
            self.step(event, Turn::Now(&event.id)).await
        })
    }

    fn discard<'a>(&'a self, event: &'a EventRecord) -> BoxFuture<'a, Result<(), InboxError>> {
        Box::pin(async move {
            self.births.of(&self.inbox, &event.scope).await?;
            let patience = self.deadline + self.patience;
            self.inbox
                .discard(&event.scope, &event.id, patience)
                .await?;
            self.step_those_who_waited(event, true).await;
            Ok(())
        })
    }
}

fn is_a_method(outcome: &Outcome) -> bool {
    matches!(
        outcome,
        Outcome::PaymentMethodAttached(_) | Outcome::PaymentMethodDetached(_)
    )
}

fn is_a_setup(outcome: &Outcome) -> bool {
    matches!(
        outcome,
        Outcome::SetupSucceeded(_) | Outcome::SetupFailed(..)
    )
}

/// Whether the event takes a payment back, and does not say whose it was.
fn takes_back(outcome: &Outcome) -> bool {
    matches!(
        outcome,
        Outcome::Refunded(_) | Outcome::ChargeRefundUpdated(_) | Outcome::ChargeRefunded(_)
    ) || outcome.dispute().is_some()
}

/// What can be read of an object that cannot be read otherwise.
#[derive(serde::Deserialize)]
struct Bare {
    #[serde(default)]
    metadata: Metadata,
}

/// The reason of a refund event that a person must look at.
const UNCLEAR_REFUND: &str = "the refund may stand for the part of the payment that was never captured: look at the payment in the Dashboard";

/// Returns the price that was asked for this payment. Its marks change together with its amount, in
/// one request of ours. On a connected account others write metadata too: there the row knows best.
fn asked_of(payment: &Payment, row: Option<&IntentRecord>) -> Option<Amount> {
    let marked = Marks::of(payment.metadata()).and_then(|marks| marks.asked);
    let written = row.map(|row| row.asked);
    match payment.account() {
        None => marked.or(written),
        Some(_) => written.or(marked),
    }
}

/// Returns the amount that the capture of this payment was to bring.
fn expected_of(payment: &Payment, row: Option<&IntentRecord>) -> Amount {
    let captured = row.filter(|row| row.asked.currency() == payment.currency());
    let captured = captured.and_then(|row| own_capture(row, payment));
    captured.map_or(payment.amount(), |minor| {
        Amount::new(minor, payment.currency())
    })
}

/// The row of an order of which only this payment is known.
pub(crate) fn row_of(payment: &Payment) -> IntentRecord {
    IntentRecord {
        version: 0,
        attempt: payment.session_attempt().unwrap_or(1),
        fingerprint: String::new(),
        request: RequestState::Sent,
        asked: Marks::of(payment.metadata())
            .and_then(|marks| marks.asked)
            .unwrap_or(payment.price()),
        capture: None,
        payment: Some(
            payment
                .session()
                .map_or(payment.id(), CheckoutSession::id)
                .to_owned(),
        ),
        secret_hash: None,
        state: IntentState::Open,
        paid_by: None,
        declines: 0,
    }
}

/// How long ago an event happened. One that does not say when is as old as can be.
pub(super) fn age(event: &Event) -> Duration {
    let created = Duration::from_secs(event.created().max(0).unsigned_abs());
    UNIX_EPOCH
        .elapsed()
        .unwrap_or_default()
        .saturating_sub(created)
}

/// The error and its causes, in one line, for the operator.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text.truncate(text.floor_char_boundary(1000));
    text
}

/// `None` if the future panics.
async fn catch_panic<F: Future>(work: F) -> Option<F::Output> {
    let mut work = pin!(work);
    std::future::poll_fn(move |context| {
        // Nothing of the handler's is looked at after a panic, so no broken invariant can be seen.
        match std::panic::catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(context))) {
            Ok(poll) => poll.map(Some),
            Err(_) => Poll::Ready(None),
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_caught_where_it_happens() {
        assert_eq!(catch_panic(async { 1 }).await, Some(1));
        assert_eq!(
            catch_panic(async {
                tokio::task::yield_now().await;
                panic!("boom")
            })
            .await,
            None::<()>
        );
    }
}
