//! A shop of which everything can be told how it goes: the merchant's hooks, the clock of leases and pauses, and when its process dies.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::{Duration, SystemTime};

use serde_json::json;
use stripe_checkout_core::fulfillment::{
    BoxFuture, Dispatch, Due, EventFilter, EventRecord, EventState, FulfillmentHandler, Inbox,
    IntentRecord, NewEvent, OperationKey, OperationRecord, OrderKey, PaymentEvent, PaymentRecord,
    Scope, Stats, Step, Stepped, Terms, Turn, Verdict,
};
use stripe_checkout_core::testing::{
    EventBody, PaymentIntent, charge_refunded, dispute, now, refund,
};
use stripe_checkout_core::webhook::{Event as Stripes, Payment};
use stripe_checkout_core::{
    Amount, BoxError, Checkout, Config, Currency, InboxError, Mode, WebhookSecret,
};
use tokio::sync::{Notify, watch};

use crate::model::{Behave, Event, Moment, Order, PART, Pay, REST, Script, WHOLE, What, line};
use crate::stores::Store;

const HOUR: Duration = Duration::from_secs(60 * 60);

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn amount(minor: u64) -> Amount {
    Amount::new(minor, Currency::EUR)
}

/// The event as Stripe sends it.
pub(crate) fn body(event: Event) -> Stripes {
    let payment = event.pay.id();
    let intent = |status: &str| {
        let mut intent = PaymentIntent::new(&payment, amount(WHOLE)).status(status);
        if let Some(order) = event.pay.order() {
            intent = intent.metadata("order_id", order.reference());
        }
        if let Some(attempt) = event.pay.attempt() {
            intent = intent.metadata("checkout_session", &attempt.to_string());
        }
        if event.is_manual() {
            intent = intent.with("capture_method", "manual");
        }
        intent
    };
    let session = |status: &str, payment_status: &str| {
        let free = event.pay == Pay::F;
        json!({
            "id": event.pay.shown(), "object": "checkout.session", "mode": "payment", "status": status, "payment_status": payment_status,
            "currency": "eur", "amount_subtotal": WHOLE, "amount_total": if free { 0 } else { WHOLE },
            "payment_intent": (!free).then_some(&payment),
            "metadata": {
                "order_id": event.pay.order().map(Order::reference),
                "checkout_session": event.pay.attempt().unwrap_or_default().to_string(),
            },
        })
    };
    let back = |id: &str, minor| refund(&format!("re_{payment}_{id}"), &payment, amount(minor));
    let disputed = |status| dispute(&format!("dp_{payment}"), &payment, amount(WHOLE), status);
    let moved = |status, movements: &[&str]| {
        let mut moved = disputed(status);
        moved["balance_transactions"] = movements.iter().map(|id| json!({ "id": id })).collect();
        moved
    };
    let (event_type, object) = match event.what {
        What::Succeeded => ("payment_intent.succeeded", intent("succeeded").object()),
        What::Processing => ("payment_intent.processing", intent("processing").object()),
        What::Failed => (
            "payment_intent.payment_failed",
            intent("requires_payment_method")
                .failed("card_declined", None)
                .object(),
        ),
        What::RequiresAction => (
            "payment_intent.requires_action",
            intent("requires_action").object(),
        ),
        What::Capturable => (
            "payment_intent.amount_capturable_updated",
            intent("requires_capture").object(),
        ),
        What::CapturableMore => (
            "payment_intent.amount_capturable_updated",
            intent("requires_capture")
                .with("amount_capturable", WHOLE + PART)
                .object(),
        ),
        What::Canceled => ("payment_intent.canceled", intent("canceled").object()),
        What::PartRefunded => ("refund.created", back("part", PART)),
        What::RestPending => {
            let mut pending = back("rest", REST);
            pending["status"] = "pending".into();
            ("refund.created", pending)
        }
        What::RestRefunded => ("refund.updated", back("rest", REST)),
        What::RestFailed => {
            let mut failed = back("rest", REST);
            failed["status"] = "failed".into();
            ("refund.failed", failed)
        }
        What::LongAgoRefunded => ("refund.updated", back("long_ago", PART)),
        What::AllRefunded => (
            "charge.refunded",
            charge_refunded("ch_test", &payment, amount(WHOLE), WHOLE),
        ),
        What::DisputeOpened => ("charge.dispute.created", disputed("needs_response")),
        What::DisputeUpdated => ("charge.dispute.updated", disputed("under_review")),
        What::FundsWithdrawn => (
            "charge.dispute.funds_withdrawn",
            moved("needs_response", &["txn_1"]),
        ),
        What::FundsReinstated => (
            "charge.dispute.funds_reinstated",
            moved("won", &["txn_1", "txn_2"]),
        ),
        What::DisputeWon => ("charge.dispute.closed", disputed("won")),
        What::DisputeLost => ("charge.dispute.closed", disputed("lost")),
        What::SessionPaid => ("checkout.session.completed", session("complete", "paid")),
        What::SessionUnpaid => ("checkout.session.completed", session("complete", "unpaid")),
        What::SessionArrived => (
            "checkout.session.async_payment_succeeded",
            session("complete", "paid"),
        ),
        What::SessionFailed => (
            "checkout.session.async_payment_failed",
            session("complete", "unpaid"),
        ),
        What::SessionExpired => ("checkout.session.expired", session("expired", "unpaid")),
        What::SessionFree => (
            "checkout.session.completed",
            session("complete", "no_payment_required"),
        ),
        What::Unrelated => (
            "customer.created",
            json!({ "id": "cus_1", "object": "customer" }),
        ),
    };
    let long_ago = event.what == What::LongAgoRefunded;
    // A card is declined on the page, then the session completes, and later its debit fails.
    let earlier = match event.what {
        _ if long_ago => 2 * 60 * 60,
        What::Failed => 600,
        What::SessionUnpaid => 300,
        _ => 0,
    };
    let created = now() - earlier;
    let body = EventBody::new(event_type, object)
        .id(&event.id())
        .created(created);
    let body = match event.pay.account() {
        Some(account) => body.account(account),
        None => body,
    };
    Stripes::parse(body.body()).unwrap()
}

/// What everybody of one application shares: how it goes, and what the merchant charges.
pub(crate) struct Stage<S> {
    pub(crate) store: S,
    plan: Mutex<Plan>,
    prices: Mutex<BTreeMap<Order, Amount>>,
    events: HashMap<String, Event>,
    /// Hooks that run now, by payment and by order, and those of which two did.
    running: Mutex<Vec<String>>,
    collided: Mutex<Vec<String>>,
    /// Pauses that were longer than they may be, and deliveries that should not have been.
    wrong: Mutex<Vec<String>>,
    /// How often what goes on may still have to wait before its process dies.
    fuse: Mutex<Option<u8>>,
    /// How many hooks came to their end.
    ended: AtomicUsize,
    /// How often each event was attempted, counted by whoever attempts.
    attempted: Mutex<HashMap<String, i64>>,
    /// What was stored without a doubt.
    received: Mutex<BTreeSet<Event>>,
    terms: Mutex<Option<(Duration, Duration)>>,
}

/// How steps go.
enum Plan {
    /// The first step that is asked for goes like this one, and all others like those.
    Script(Script, AtomicUsize),
    /// Attempts of an event, one after the other; and then well.
    Attempts(HashMap<String, VecDeque<Behave>>),
}

/// Of the step in whose hook one is.
#[derive(Clone)]
struct Act {
    event: Event,
    behave: Behave,
    death: Arc<Notify>,
    ended: Arc<Mutex<Vec<(usize, String)>>>,
}

tokio::task_local! {
    static ACT: Act;
}

impl<S: Store> Stage<S> {
    pub(crate) fn new(store: S) -> Arc<Self> {
        let mut events = HashMap::new();
        for what in What::ALL {
            for pay in Pay::ALL {
                for copy in 0..2 {
                    let event = Event { what, pay, copy };
                    events.insert(event.id(), event);
                }
            }
        }
        Arc::new(Self {
            store,
            plan: Mutex::new(Plan::Attempts(HashMap::new())),
            prices: Mutex::default(),
            events,
            running: Mutex::default(),
            collided: Mutex::default(),
            wrong: Mutex::default(),
            fuse: Mutex::default(),
            ended: AtomicUsize::new(0),
            attempted: Mutex::default(),
            received: Mutex::default(),
            terms: Mutex::default(),
        })
    }

    pub(crate) fn scope(&self) -> Scope {
        Scope {
            application: self.store.application().to_owned(),
            mode: Mode::Test,
        }
    }

    pub(crate) fn event(&self, id: &str) -> Event {
        self.events[id]
    }

    pub(crate) fn script(&self, script: Script) {
        *lock(&self.fuse) = match script.this {
            Behave::DieSomewhere(waits) => Some(waits),
            _ => None,
        };
        *lock(&self.plan) = Plan::Script(script, AtomicUsize::new(0));
    }

    pub(crate) fn attempts(&self, attempts: HashMap<String, VecDeque<Behave>>) {
        *lock(&self.plan) = Plan::Attempts(attempts);
    }

    pub(crate) fn price(&self, order: Order, right: bool) {
        let price = amount(if right { WHOLE } else { WHOLE + 1 });
        lock(&self.prices).insert(order, price);
    }

    /// How long is waited for others, and how long an event is leased.
    pub(crate) fn terms(&self, patience: Duration, lease: Duration) {
        *lock(&self.terms) = Some((patience, lease));
    }

    /// How often an event was attempted.
    pub(crate) fn attempted(&self, event: Event) -> i64 {
        let attempted = lock(&self.attempted);
        attempted.get(&event.id()).copied().unwrap_or_default()
    }

    fn count(&self, id: &str, by: i64) {
        *lock(&self.attempted).entry(id.to_owned()).or_default() += by;
    }

    /// Whether all of a payment was refunded, by what is stored without a doubt.
    fn all_went_back(&self, pay: Pay) -> bool {
        let received = lock(&self.received);
        let heard = |what| {
            let mut copies = (0..2).map(|copy| Event { what, pay, copy });
            copies.any(|event| received.contains(&event))
        };
        heard(What::AllRefunded)
            || (heard(What::PartRefunded)
                && (heard(What::RestPending) || heard(What::RestRefunded))
                && !heard(What::RestFailed))
    }

    /// What must never be, and was.
    pub(crate) fn complaints(&self) -> Vec<String> {
        let mut complaints = lock(&self.collided).clone();
        complaints.extend(lock(&self.wrong).iter().cloned());
        complaints
    }

    /// A process.
    pub(crate) async fn start(self: &Arc<Self>) -> Process<S> {
        Process {
            life: Arc::new(Life {
                inbox: self.store.open().await,
                stage: Arc::clone(self),
                dead: watch::Sender::new(false),
                page: AtomicBool::new(false),
            }),
        }
    }
}

/// An inbox in a process that can die: from then on nothing of it goes on, and nobody is answered.
pub(crate) struct Process<S: Store> {
    life: Arc<Life<S>>,
}

impl<S: Store> Clone for Process<S> {
    fn clone(&self) -> Self {
        Self {
            life: Arc::clone(&self.life),
        }
    }
}

struct Life<S: Store> {
    inbox: S::Inbox,
    stage: Arc<Stage<S>>,
    dead: watch::Sender<bool>,
    page: AtomicBool,
}

impl<S: Store> Process<S> {
    pub(crate) fn checkout(&self, queued: bool, max_attempts: u32) -> Checkout {
        let config = Config::new([WebhookSecret::new("whsec_of_the_model").unwrap()]).unwrap();
        let mut builder = Checkout::builder(config)
            .application(self.life.stage.store.application())
            .max_attempts(max_attempts)
            .fulfillment(self.clone(), Merchant(Arc::clone(&self.life.stage)));
        if queued {
            builder = builder.queued();
        }
        builder.build().unwrap()
    }

    /// The inbox itself, without whatever can happen to the process.
    pub(crate) fn inbox(&self) -> &S::Inbox {
        &self.life.inbox
    }

    pub(crate) fn is_dead(&self) -> bool {
        *self.life.dead.borrow()
    }

    /// Whether a delivery runs what is due only, as a page does that somebody reloads.
    pub(crate) fn as_a_page(&self, page: bool) {
        self.life.page.store(page, Ordering::SeqCst);
    }

    fn die<T>(&self) -> Result<T, InboxError> {
        self.life.dead.send_replace(true);
        Err(died())
    }

    fn alive(&self) -> Result<&S::Inbox, InboxError> {
        match self.is_dead() {
            true => Err(died()),
            false => Ok(&self.life.inbox),
        }
    }

    fn stage(&self) -> &Stage<S> {
        &self.life.stage
    }

    /// Work of this process: cut off where it stands when the process dies, which closes what it holds.
    async fn living<T>(
        &self,
        work: impl Future<Output = Result<T, InboxError>>,
    ) -> Result<T, InboxError> {
        let mut dead = self.life.dead.subscribe();
        let mut work = pin!(work);
        let work = poll_fn(|context| {
            let done = work.as_mut().poll(context);
            if done.is_pending() && self.stage().burns_down() {
                return Poll::Ready(self.die());
            }
            done
        });
        tokio::select! {
            biased;
            _ = dead.wait_for(|dead| *dead) => Err(died()),
            done = work => done,
        }
    }
}

fn died() -> InboxError {
    InboxError::Unavailable("the process is dead".into())
}

/// Between the inbox and the core: says when a hook runs, and how long its pause is.
struct Watched<'a, S: Store> {
    stage: &'a Stage<S>,
    inner: &'a dyn Dispatch<<S::Inbox as Inbox>::Connection>,
    scripted: Option<Behave>,
    death: Arc<Notify>,
    ended: Arc<Mutex<Vec<(usize, String)>>>,
    dispatched: AtomicBool,
}

impl<S: Store> Dispatch<<S::Inbox as Inbox>::Connection> for Watched<'_, S> {
    fn dispatch<'a>(
        &'a self,
        record: &'a EventRecord,
        payment: &'a PaymentRecord,
        intent: Option<&'a IntentRecord>,
        db: &'a mut <S::Inbox as Inbox>::Connection,
    ) -> BoxFuture<'a, Verdict> {
        Box::pin(async move {
            let event = self.stage.event(&record.id);
            self.dispatched.store(true, Ordering::SeqCst);
            self.stage.count(&record.id, 1);
            let behave = self.scripted.unwrap_or_else(|| self.stage.next(&record.id));
            let act = Act {
                event,
                behave,
                death: Arc::clone(&self.death),
                ended: Arc::clone(&self.ended),
            };
            if dies(behave, Moment::Taken) {
                self.death.notify_one();
                std::future::pending::<()>().await;
            }
            let running = self.inner.dispatch(record, payment, intent, db);
            let mut verdict = ACT.scope(act, running).await;
            if dies(behave, Moment::Ran) {
                self.death.notify_one();
                std::future::pending::<()>().await;
            }
            match &mut verdict {
                Verdict::Failed {
                    again: Some(again), ..
                } => {
                    let most = Duration::from_secs(1 << record.attempts.saturating_sub(1).min(12));
                    if *again > most {
                        let what = format!("{} pauses {again:?}, not {most:?}", record.id);
                        lock(&self.stage.wrong).push(what);
                    }
                    *again = match behave {
                        Behave::FailForLong => HOUR,
                        _ => Duration::ZERO,
                    };
                }
                Verdict::Waiting { again, .. } => *again = Duration::ZERO,
                _ => {}
            }
            verdict
        })
    }
}

fn dies(behave: Behave, at: Moment) -> bool {
    matches!(behave, Behave::Die { when, .. } if when == at)
}

impl<S: Store> Stage<S> {
    /// How the step goes that is asked for now, where that is known beforehand.
    fn scripted(&self) -> Option<Behave> {
        match &*lock(&self.plan) {
            Plan::Script(script, count) => Some(match count.fetch_add(1, Ordering::SeqCst) {
                0 => script.this,
                _ => script.others,
            }),
            Plan::Attempts(_) => None,
        }
    }

    /// How the next attempt of this event goes.
    fn next(&self, id: &str) -> Behave {
        match &mut *lock(&self.plan) {
            Plan::Script(..) => Behave::Well,
            Plan::Attempts(attempts) => attempts
                .get_mut(id)
                .and_then(VecDeque::pop_front)
                .unwrap_or(Behave::Well),
        }
    }

    /// Whether that was the last wait.
    fn burns_down(&self) -> bool {
        let mut fuse = lock(&self.fuse);
        let Some(left) = &mut *fuse else {
            return false;
        };
        *left = left.saturating_sub(1);
        *left == 0
    }

    fn is_crowded(&self) -> bool {
        matches!(*lock(&self.plan), Plan::Attempts(_))
    }

    fn dies_when_stored(&self) -> bool {
        match &*lock(&self.plan) {
            Plan::Script(script, _) => dies(script.this, Moment::Stored),
            Plan::Attempts(_) => false,
        }
    }
}

impl<S: Store> Inbox for Process<S> {
    type Connection = <S::Inbox as Inbox>::Connection;

    /// It does here: so memory is queued too.
    fn survives_restart(&self) -> bool {
        true
    }

    fn handler_deadline(&self) -> Duration {
        self.life.inbox.handler_deadline()
    }

    async fn intent(&self, order: &OrderKey) -> Result<Option<IntentRecord>, InboxError> {
        self.alive()?.intent(order).await
    }

    async fn put_intent(
        &self,
        order: &OrderKey,
        expected: Option<u64>,
        record: IntentRecord,
    ) -> Result<bool, InboxError> {
        self.alive()?.put_intent(order, expected, record).await
    }

    async fn intent_of_payment(
        &self,
        scope: &Scope,
        payment: &str,
    ) -> Result<Option<(OrderKey, IntentRecord)>, InboxError> {
        self.alive()?.intent_of_payment(scope, payment).await
    }

    async fn payment(
        &self,
        scope: &Scope,
        payment: &str,
    ) -> Result<Option<PaymentRecord>, InboxError> {
        self.alive()?.payment(scope, payment).await
    }

    async fn event(&self, scope: &Scope, event: &str) -> Result<Option<EventRecord>, InboxError> {
        self.alive()?.event(scope, event).await
    }

    async fn receive(&self, event: NewEvent) -> Result<EventRecord, InboxError> {
        let id = event.id.clone();
        let received = self.living(self.alive()?.receive(event)).await?;
        lock(&self.stage().received).insert(self.stage().event(&id));
        match self.stage().dies_when_stored() {
            true => self.die(),
            false => Ok(received),
        }
    }

    async fn step(
        &self,
        scope: &Scope,
        turn: Turn<'_>,
        mut terms: Terms,
        dispatch: &dyn Dispatch<Self::Connection>,
    ) -> Result<Option<Step>, InboxError> {
        let inbox = self.alive()?;
        if scope.mode == Mode::Live {
            return inbox.step(scope, turn, terms, dispatch).await;
        }
        let scripted = self.stage().scripted();
        if scripted.is_some_and(|behave| dies(behave, Moment::Asked)) {
            return self.die();
        }
        if let Some(Behave::Die { leased: false, .. } | Behave::DieSomewhere(_)) = scripted {
            // As if the lease had been over since.
            terms.lease = Duration::ZERO;
        }
        if let Some((patience, lease)) = *lock(&self.stage().terms) {
            terms.patience = patience;
            terms.lease = lease;
        }
        let turn = match turn {
            Turn::Now(id) if self.life.page.swap(false, Ordering::SeqCst) => Turn::IfDue(id),
            turn => turn,
        };
        let watched = Watched {
            stage: self.stage(),
            inner: dispatch,
            scripted,
            death: Arc::default(),
            ended: Arc::default(),
            dispatched: AtomicBool::new(false),
        };
        let gone: Vec<_> = Pay::ALL
            .into_iter()
            .filter(|pay| self.stage().all_went_back(*pay))
            .collect();
        let step = tokio::select! {
            biased;
            () = watched.death.notified() => return self.die(),
            step = self.living(inbox.step(scope, turn, terms, &watched)) => step?,
        };
        *lock(&self.stage().fuse) = None;
        let ended = std::mem::take(&mut *lock(&watched.ended));
        match step.as_ref().map(|step| (step.did, &step.event.id)) {
            Some((Stepped::Now(EventState::Done | EventState::Mismatch), id)) => {
                let event = self.stage().event(id);
                let succeeded = ended
                    .iter()
                    .any(|(_, ended)| *ended == line(event, "payment_succeeded"));
                if succeeded && gone.contains(&event.pay) && self.stage().all_went_back(event.pay) {
                    let wrong = format!("{id} was delivered after all of it went back");
                    lock(&self.stage().wrong).push(wrong);
                }
                self.stage().store.commit(ended);
            }
            // What did not run was no attempt.
            Some((Stepped::Now(EventState::Superseded) | Stepped::Waiting, id))
                if watched.dispatched.load(Ordering::SeqCst) =>
            {
                self.stage().count(id, -1);
            }
            _ => {}
        }
        let committed = step
            .as_ref()
            .is_some_and(|step| matches!(step.did, Stepped::Now(_) | Stepped::Waiting));
        match scripted {
            Some(behave) if committed && dies(behave, Moment::Committed) => self.die(),
            _ => Ok(step),
        }
    }

    async fn events(&self, filter: &EventFilter) -> Result<Vec<EventRecord>, InboxError> {
        self.alive()?.events(filter).await
    }

    async fn replay(
        &self,
        scope: &Scope,
        event: &str,
        patience: Duration,
    ) -> Result<(), InboxError> {
        self.alive()?.replay(scope, event, patience).await
    }

    async fn discard(
        &self,
        scope: &Scope,
        event: &str,
        patience: Duration,
    ) -> Result<(), InboxError> {
        self.alive()?.discard(scope, event, patience).await
    }

    async fn stats(&self, scope: &Scope) -> Result<Stats, InboxError> {
        self.alive()?.stats(scope).await
    }

    async fn prune(
        &self,
        scope: &Scope,
        before: SystemTime,
        most: usize,
    ) -> Result<usize, InboxError> {
        self.alive()?.prune(scope, before, most).await
    }

    async fn open_intents(
        &self,
        scope: &Scope,
        after: Option<&OrderKey>,
        since: SystemTime,
        most: usize,
    ) -> Result<Vec<(OrderKey, IntentRecord)>, InboxError> {
        self.alive()?.open_intents(scope, after, since, most).await
    }

    async fn accounts(
        &self,
        scope: &Scope,
        after: Option<&str>,
        since: SystemTime,
        most: usize,
    ) -> Result<Vec<String>, InboxError> {
        self.alive()?.accounts(scope, after, since, most).await
    }

    async fn operation(&self, key: &OperationKey) -> Result<Option<OperationRecord>, InboxError> {
        self.alive()?.operation(key).await
    }

    async fn put_operation(
        &self,
        key: &OperationKey,
        expected: Option<u64>,
        record: OperationRecord,
    ) -> Result<bool, InboxError> {
        self.alive()?.put_operation(key, expected, record).await
    }

    async fn bookmark(&self, scope: &Scope, name: &str) -> Result<Option<String>, InboxError> {
        self.alive()?.bookmark(scope, name).await
    }

    async fn put_bookmark(
        &self,
        scope: &Scope,
        name: &str,
        expected: Option<&str>,
        value: &str,
    ) -> Result<bool, InboxError> {
        let inbox = self.alive()?;
        inbox.put_bookmark(scope, name, expected, value).await
    }

    async fn scopes_with_bookmark(&self, name: &str) -> Result<Vec<Scope>, InboxError> {
        self.alive()?.scopes_with_bookmark(name).await
    }
}

/// The merchant: each hook writes a line, and then does as it is told.
struct Merchant<S>(Arc<Stage<S>>);

type Db<S> = <<S as Store>::Inbox as Inbox>::Connection;

impl<S: Store> Merchant<S> {
    async fn hook(&self, hook: &str, db: &mut Db<S>) -> Result<(), BoxError> {
        let act = ACT.with(Clone::clone);
        let _alone = Alone::enter(&self.0, act.event);
        let line = line(act.event, hook);
        self.0.store.write(db, &line).await?;
        match act.behave {
            Behave::Fail | Behave::FailForLong => return Err("the printer is out of paper".into()),
            // Unlike `panic!` it prints nothing: it is no failure of the test's.
            Behave::Panic => std::panic::resume_unwind(Box::new("a bug of the merchant's")),
            behave if dies(behave, Moment::InHook) => {
                act.death.notify_one();
                std::future::pending::<()>().await;
            }
            // Time for others to come in between, where there are any.
            _ if self.0.is_crowded() => tokio::time::sleep(Duration::from_millis(3)).await,
            _ => tokio::task::yield_now().await,
        }
        // While nobody else works on this payment: so the numbers tell the order.
        let number = self.0.ended.fetch_add(1, Ordering::SeqCst);
        lock(&act.ended).push((number, line));
        Ok(())
    }
}

/// That no two hooks of one payment or of one order run at the same time.
struct Alone<'a> {
    running: &'a Mutex<Vec<String>>,
    keys: Vec<String>,
}

impl<'a> Alone<'a> {
    fn enter<S>(stage: &'a Stage<S>, event: Event) -> Self {
        let pay = event.payment();
        // What goes back does not say whose it was, so it keeps only its own payment to itself.
        let order = pay.filter(|_| !event.what.is_noted()).and_then(Pay::order);
        let keys = pay.map(Pay::id).into_iter();
        let keys: Vec<_> = keys
            .chain(order.map(|order| format!("{order:?}")))
            .collect();
        let mut running = lock(&stage.running);
        for key in &keys {
            if running.contains(key) {
                lock(&stage.collided).push(format!("two hooks of {key} at the same time"));
            }
        }
        running.extend(keys.iter().cloned());
        Self {
            running: &stage.running,
            keys,
        }
    }
}

impl Drop for Alone<'_> {
    fn drop(&mut self) {
        let mut running = lock(self.running);
        for key in &self.keys {
            if let Some(at) = running.iter().position(|other| other == key) {
                running.swap_remove(at);
            }
        }
    }
}

impl<S: Store> FulfillmentHandler<Db<S>> for Merchant<S> {
    async fn payment_succeeded(&self, payment: &Payment, db: &mut Db<S>) -> Result<(), BoxError> {
        let call = match payment.is_free() {
            true => "free_order",
            false => "payment_succeeded",
        };
        self.hook(call, db).await
    }

    async fn amount_due(&self, payment: &Payment, _: &mut Db<S>) -> Result<Due, BoxError> {
        let prices = lock(&self.0.prices);
        let mut orders = Order::ALL.into_iter();
        let order = orders.find(|order| {
            (Some(order.reference()), order.account()) == (payment.order_id(), payment.account())
        });
        Ok(match order.and_then(|order| prices.get(&order)) {
            Some(price) => Due::Exactly(*price),
            None => Due::Exactly(amount(WHOLE)),
        })
    }

    async fn on_event(&self, event: &PaymentEvent<'_>, db: &mut Db<S>) -> Result<(), BoxError> {
        self.hook(event.as_str(), db).await
    }
}
