//! A shop under full control of the test: the merchant's hooks, the clock of leases and pauses, and
//! the moment when its process dies.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use serde_json::json;
use stripe_checkout_core::fulfillment::{
    Cause, Changes, Claim, CommitError, Due, EventFilter, EventRecord, EventState, Found,
    FulfillmentHandler, Inbox, IntentRecord, Key, Limits, Locked, NewEvent, OrderKey, PaymentEvent,
    Row, Scope, Session, Stats, Stored, Swap, Terms, Transaction,
};
use stripe_checkout_core::testing::{
    EventBody, PaymentIntent, charge_refunded, dispute, now, refund,
};
use stripe_checkout_core::webhook::{Event as Stripes, Payment};
use stripe_checkout_core::{
    Amount, BoxError, Checkout, Config, Currency, InboxError, Mode, WebhookSecret,
};
use tokio::sync::watch;

use crate::model::{Behave, Event, Moment, Order, PART, Pay, REST, Script, WHOLE, What, line};
use crate::stores::Store;

const HOUR: Duration = Duration::from_secs(60 * 60);

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn amount(minor: u64) -> Amount {
    Amount::new(minor, Currency::EUR)
}

/// Returns the event as Stripe sends it.
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
    // On the page a card is declined, then the session completes, and later its debit fails.
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

/// The state that all processes of one application share: how steps go, and the merchant's prices.
pub(crate) struct Stage<S> {
    pub(crate) store: S,
    plan: Mutex<Plan>,
    prices: Mutex<BTreeMap<Order, Amount>>,
    events: HashMap<String, Event>,
    /// The hooks that run now, by payment and by order, and those of which two ran at once.
    running: Mutex<Vec<String>>,
    collided: Mutex<Vec<String>>,
    /// Pauses that were too long, and deliveries that were wrong.
    wrong: Mutex<Vec<String>>,
    /// The number of waits until the process dies.
    fuse: Mutex<Option<u8>>,
    /// The number of hooks that ended.
    ended: AtomicUsize,
    /// The number of attempts of each event, counted by the test itself.
    attempted: Mutex<HashMap<String, i64>>,
    /// The events that are certainly stored.
    received: Mutex<BTreeSet<Event>>,
    terms: Mutex<Option<(Duration, Duration)>>,
    /// The handlers that run, by their tasks.
    acts: Mutex<HashMap<tokio::task::Id, Act>>,
}

/// How steps go.
enum Plan {
    /// The first requested step goes like `this`, and all others go like `others`.
    Script(Script, AtomicUsize),
    /// The attempts of each event, one after the other. Later attempts succeed.
    Attempts(HashMap<String, VecDeque<Behave>>),
}

/// The step whose hook runs.
#[derive(Clone)]
struct Act {
    event: Event,
    behave: Behave,
    dead: watch::Sender<bool>,
    ended: Ended,
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
            acts: Mutex::default(),
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

    /// Sets how long a step waits for others, and how long an event is leased.
    pub(crate) fn terms(&self, patience: Duration, lease: Duration) {
        *lock(&self.terms) = Some((patience, lease));
    }

    /// Returns the number of attempts of an event.
    pub(crate) fn attempted(&self, event: Event) -> i64 {
        let attempted = lock(&self.attempted);
        attempted.get(&event.id()).copied().unwrap_or_default()
    }

    fn count(&self, id: &str, by: i64) {
        *lock(&self.attempted).entry(id.to_owned()).or_default() += by;
    }

    /// Whether the stored events show that all of a payment was refunded.
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

    /// Returns every broken rule.
    pub(crate) fn complaints(&self) -> Vec<String> {
        let mut complaints = lock(&self.collided).clone();
        complaints.extend(lock(&self.wrong).iter().cloned());
        complaints
    }

    /// Starts a process.
    pub(crate) async fn start(self: &Arc<Self>) -> Process<S> {
        Process {
            life: Arc::new(Life {
                inbox: self.store.open().await,
                stage: Arc::clone(self),
                dead: watch::Sender::new(false),
                scripted: Mutex::default(),
                operator: AtomicBool::new(false),
            }),
            queued: false,
        }
    }
}

/// An inbox in a process that can die. After its death nothing in it runs, and no caller gets an
/// answer.
pub(crate) struct Process<S: Store> {
    life: Arc<Life<S>>,
    queued: bool,
}

impl<S: Store> Clone for Process<S> {
    fn clone(&self) -> Self {
        Self {
            life: Arc::clone(&self.life),
            queued: self.queued,
        }
    }
}

struct Life<S: Store> {
    inbox: S::Inbox,
    stage: Arc<Stage<S>>,
    dead: watch::Sender<bool>,
    /// How the last requested step goes.
    scripted: Mutex<Option<Behave>>,
    operator: AtomicBool,
}

impl<S: Store> Process<S> {
    pub(crate) fn checkout(&self, queued: bool, max_attempts: u32) -> Checkout {
        let config = Config::new([WebhookSecret::new("whsec_of_the_model").unwrap()]).unwrap();
        let mut builder = Checkout::builder(config)
            .application(self.life.stage.store.application())
            .max_attempts(max_attempts)
            .fulfillment(
                Self {
                    life: Arc::clone(&self.life),
                    queued,
                },
                Merchant(Arc::clone(&self.life.stage)),
            );
        if queued {
            builder = builder.queued();
        }
        builder.build().unwrap()
    }

    /// Returns the inbox itself, without the faults of the process.
    pub(crate) fn inbox(&self) -> &S::Inbox {
        &self.life.inbox
    }

    pub(crate) fn is_dead(&self) -> bool {
        *self.life.dead.borrow()
    }

    /// Marks the next look-up as an operator's: it is not a step.
    pub(crate) fn as_an_operator(&self) {
        self.life.operator.store(true, Ordering::SeqCst);
    }

    /// Ends the process where it is. Nothing in it goes on, and everything that it holds is closed.
    fn die(&self) -> ! {
        self.life.dead.send_replace(true);
        // Unlike `panic!` this prints nothing: the test has not failed.
        std::panic::resume_unwind(Box::new("the process is dead"))
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

    /// Runs work of this process. When the process dies, the work stops where it is.
    async fn living<T>(&self, work: impl Future<Output = T>) -> T {
        let mut dead = self.life.dead.subscribe();
        let mut work = pin!(work);
        let work = poll_fn(|context| {
            let done = work.as_mut().poll(context);
            if done.is_pending() && self.stage().burns_down() {
                self.die();
            }
            done
        });
        // The result is a lock, and `die` needs that lock.
        let dead = async { drop(dead.wait_for(|dead| *dead).await) };
        tokio::select! {
            biased;
            () = dead => self.die(),
            done = work => done,
        }
    }

    fn patience(&self, patience: Duration) -> Duration {
        lock(&self.stage().terms).map_or(patience, |(patience, _)| patience)
    }
}

fn died() -> InboxError {
    InboxError::Unavailable("the process is dead".into())
}

type Inner<S> = <<S as Store>::Inbox as Inbox>::Session;

/// A session of a process. It decides how its step goes, and where the step dies.
pub(crate) struct Mortal<S: Store> {
    process: Process<S>,
    inner: Inner<S>,
    /// How the step goes, if that is known beforehand.
    scripted: Option<Option<Behave>>,
}

impl<S: Store> Mortal<S> {
    /// Returns how the requested step goes. The step continues in another session of the process.
    fn asked(&mut self) -> Option<Behave> {
        let scripted = match self.scripted {
            Some(scripted) => scripted,
            None => *lock(&self.process.life.scripted),
        };
        *self.scripted.insert(scripted)
    }

    fn asks(&mut self) {
        if self.scripted.is_none() && !self.process.life.operator.swap(false, Ordering::SeqCst) {
            let scripted = self.process.stage().scripted();
            self.scripted = Some(scripted);
            *lock(&self.process.life.scripted) = scripted;
        }
    }

    fn lease(&mut self, lease: Duration) -> Duration {
        if let Some((_, lease)) = *lock(&self.process.stage().terms) {
            return lease;
        }
        match self.asked() {
            // As if the lease had ended meanwhile.
            Some(Behave::Die { leased: false, .. } | Behave::DieSomewhere(_)) => Duration::ZERO,
            _ => lease,
        }
    }
}

impl<S: Store> Session for Mortal<S> {
    type Connection = Db<S>;
    type Transaction<'a> = MortalTransaction<'a, S>;

    async fn find(
        &mut self,
        scope: &Scope,
        event: &str,
        payments: [Option<&str>; 2],
    ) -> Result<Found, InboxError> {
        self.process.alive()?;
        if scope.mode == Mode::Live {
            return self.inner.find(scope, event, payments).await;
        }
        let find = self.inner.find(scope, event, payments);
        let found = self.process.living(find).await?;
        if !self.process.queued {
            self.asks();
            // No claim follows if the event is over, or not due.
            if found.event.is_some()
                && self
                    .scripted
                    .flatten()
                    .is_some_and(|behave| dies(behave, Moment::Asked))
            {
                self.process.die();
            }
        }
        Ok(found)
    }

    async fn receive(
        &mut self,
        event: &NewEvent,
        lease: Option<Duration>,
    ) -> Result<Option<Stored>, InboxError> {
        self.process.alive()?;
        if event.scope.mode == Mode::Live {
            return self.inner.receive(event, lease).await;
        }
        let scripted = self.asked().filter(|_| lease.is_some());
        let asked = scripted.is_some_and(|behave| dies(behave, Moment::Asked));
        let dies = asked || self.process.stage().dies_when_stored();
        let lease = lease.filter(|_| !dies).map(|lease| self.lease(lease));
        let receive = self.inner.receive(event, lease);
        let received = self.process.living(receive).await?;
        if received.is_some() {
            let stage = self.process.stage();
            lock(&stage.received).insert(stage.event(&event.id));
        }
        match dies {
            true => self.process.die(),
            false => Ok(received),
        }
    }

    async fn claim(
        &mut self,
        scope: &Scope,
        which: Claim<'_>,
        mut terms: Terms,
    ) -> Result<Option<Stored>, InboxError> {
        self.process.alive()?;
        if scope.mode == Mode::Live {
            return self.inner.claim(scope, which, terms).await;
        }
        if which == Claim::Due {
            self.asks();
        }
        if self
            .asked()
            .is_some_and(|behave| dies(behave, Moment::Asked))
        {
            self.process.die();
        }
        terms.lease = self.lease(terms.lease);
        terms.patience = self.process.patience(terms.patience);
        let claim = self.inner.claim(scope, which, terms);
        self.process.living(claim).await
    }

    async fn give_back(
        &mut self,
        claimed: &Stored,
        again: Option<Duration>,
    ) -> Result<(), InboxError> {
        self.process.alive()?;
        self.process
            .living(self.inner.give_back(claimed, again))
            .await
    }

    async fn begin(
        &mut self,
        event: &EventRecord,
        patience: Duration,
    ) -> Result<Option<(MortalTransaction<'_, S>, Locked)>, InboxError> {
        self.process.alive()?;
        let scripted = self.scripted.flatten();
        let patience = match event.scope.mode {
            Mode::Live => patience,
            Mode::Test => self.process.patience(patience),
        };
        // Determined before the inbox reads the rows.
        let stage = self.process.stage();
        let gone = Pay::ALL.into_iter().filter(|pay| stage.all_went_back(*pay));
        let gone = gone.collect();
        let begun = self
            .process
            .living(self.inner.begin(event, patience))
            .await?;
        Ok(begun.map(|(inner, locked)| {
            let transaction = MortalTransaction {
                process: &self.process,
                inner,
                scripted,
                event: event.clone(),
                attempts: locked.event.record.attempts,
                is_spent: locked.event.is_spent,
                gone,
                running: None,
                failed: false,
            };
            (transaction, locked)
        }))
    }

    async fn finish(self) {
        self.inner.finish().await;
    }
}

/// A transaction of a process. It decides when the handler runs, and how long the pause is.
pub(crate) struct MortalTransaction<'a, S: Store> {
    process: &'a Process<S>,
    inner: <Inner<S> as Session>::Transaction<'a>,
    scripted: Option<Behave>,
    event: EventRecord,
    attempts: u32,
    is_spent: bool,
    /// The payments that were refunded in full before the rows were read.
    gone: Vec<Pay>,
    running: Option<Running>,
    failed: bool,
}

/// A running handler.
struct Running {
    behave: Behave,
    ended: Ended,
}

type Ended = Arc<Mutex<Vec<(usize, String)>>>;

impl<S: Store> MortalTransaction<'_, S> {
    fn dies(&self, at: Moment) -> bool {
        let running = self.running.as_ref();
        running.is_some_and(|running| dies(running.behave, at))
    }
}

impl<S: Store> Stage<S> {
    /// Notes the facts when a handler's transaction is committed.
    fn committed(&self, event: &EventRecord, attempts: u32, running: &Running, gone: &[Pay]) {
        let stage = self;
        // An event that did not run had no attempt.
        if event.attempts < attempts {
            stage.count(&event.id, -1);
        }
        if !matches!(event.state, EventState::Done | EventState::Mismatch) {
            return;
        }
        let known = stage.event(&event.id);
        let ended = std::mem::take(&mut *lock(&running.ended));
        let succeeded = line(known, "payment_succeeded");
        let succeeded = ended.iter().any(|(_, ended)| *ended == succeeded);
        if succeeded && gone.contains(&known.pay) && stage.all_went_back(known.pay) {
            let wrong = format!("{} was delivered after all of it went back", event.id);
            lock(&stage.wrong).push(wrong);
        }
        stage.store.commit(ended);
    }
}

impl<S: Store> Transaction for MortalTransaction<'_, S> {
    type Connection = Db<S>;

    async fn copies(&mut self, event: &EventRecord) -> Result<Vec<EventState>, InboxError> {
        self.process.living(self.inner.copies(event)).await
    }

    async fn protect(&mut self, limit: Duration) -> Result<(), InboxError> {
        self.process.living(self.inner.protect(limit)).await?;
        if self.event.scope.mode == Mode::Live {
            return Ok(());
        }
        if self.is_spent {
            return Ok(());
        }
        let stage = self.process.stage();
        stage.count(&self.event.id, 1);
        let behave = self.scripted.unwrap_or_else(|| stage.next(&self.event.id));
        let ended = Ended::default();
        let act = Act {
            event: stage.event(&self.event.id),
            behave,
            dead: self.process.life.dead.clone(),
            ended: Arc::clone(&ended),
        };
        lock(&stage.acts).insert(tokio::task::id(), act);
        self.running = Some(Running { behave, ended });
        match self.dies(Moment::Taken) {
            true => self.process.die(),
            false => Ok(()),
        }
    }

    fn connection(&mut self) -> &mut Db<S> {
        self.inner.connection()
    }

    async fn end(&mut self, failed: Option<Cause>) -> Result<(), CommitError> {
        if self.process.is_dead() || self.dies(Moment::Ran) {
            self.process.die();
        }
        self.failed = failed.is_some();
        self.process.living(self.inner.end(failed)).await
    }

    async fn commit(self, mut changes: Changes) -> Result<(), CommitError> {
        if let Some(running) = &self.running
            && let Some(due) = &mut changes.due
        {
            let attempts = changes.event.attempts;
            let most = Duration::from_secs(1 << attempts.saturating_sub(1).min(12));
            if self.failed && *due > most {
                let what = format!("{} pauses {due:?}, not {most:?}", self.event.id);
                lock(&self.process.stage().wrong).push(what);
            }
            *due = match running.behave {
                Behave::FailForLong if self.failed => HOUR,
                _ => Duration::ZERO,
            };
        }
        let event = changes.event.clone();
        let Self {
            process,
            inner,
            attempts,
            gone,
            running,
            failed,
            ..
        } = self;
        process.living(inner.commit(changes)).await?;
        *lock(&process.stage().fuse) = None;
        if let Some(running) = running {
            process.stage().committed(&event, attempts, &running, &gone);
            let is_told = !failed || event.state != EventState::Pending;
            if is_told && dies(running.behave, Moment::Committed) {
                process.die();
            }
        }
        Ok(())
    }

    async fn rollback(self) -> Result<(), InboxError> {
        self.process.living(self.inner.rollback()).await
    }

    async fn was_undone(&mut self, transaction: i64) -> Result<bool, InboxError> {
        self.process
            .living(self.inner.was_undone(transaction))
            .await
    }
}

fn dies(behave: Behave, at: Moment) -> bool {
    matches!(behave, Behave::Die { when, .. } if when == at)
}

impl<S: Store> Stage<S> {
    /// Returns how the requested step goes, if that is known beforehand.
    fn scripted(&self) -> Option<Behave> {
        match &*lock(&self.plan) {
            Plan::Script(script, count) => Some(match count.fetch_add(1, Ordering::SeqCst) {
                0 => script.this,
                _ => script.others,
            }),
            Plan::Attempts(_) => None,
        }
    }

    /// Returns how the next attempt of this event goes.
    fn next(&self, id: &str) -> Behave {
        match &mut *lock(&self.plan) {
            Plan::Script(..) => Behave::Well,
            Plan::Attempts(attempts) => attempts
                .get_mut(id)
                .and_then(VecDeque::pop_front)
                .unwrap_or(Behave::Well),
        }
    }

    /// Counts a wait, and returns whether it was the last one.
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
    type Connection = Db<S>;
    type Session = Mortal<S>;

    /// The store outlives the process here, so the memory inbox can queue too.
    fn limits(&self) -> Limits {
        let mut limits = self.life.inbox.limits();
        limits.survives_restart = true;
        limits.accepts_live = true;
        limits
    }

    fn identity(&self) -> String {
        self.life.inbox.identity()
    }

    async fn due_scopes(&self) -> Result<Vec<Scope>, InboxError> {
        self.alive()?.due_scopes().await
    }

    fn session(&self) -> Mortal<S> {
        Mortal {
            process: self.clone(),
            inner: self.life.inbox.session(),
            scripted: None,
        }
    }

    async fn load(&self, key: Key<'_>) -> Result<Option<Row>, InboxError> {
        self.alive()?.load(key).await
    }

    async fn swap(&self, swap: Swap<'_>) -> Result<bool, InboxError> {
        self.alive()?.swap(swap).await
    }

    async fn events(&self, filter: &EventFilter) -> Result<Vec<EventRecord>, InboxError> {
        self.alive()?.events(filter).await
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

    async fn scopes_with_bookmark(&self, name: &str) -> Result<Vec<Scope>, InboxError> {
        self.alive()?.scopes_with_bookmark(name).await
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
}

/// The merchant: each hook writes a line, and then behaves as the test says.
struct Merchant<S>(Arc<Stage<S>>);

type Db<S> = <<S as Store>::Inbox as Inbox>::Connection;

impl<S: Store> Merchant<S> {
    async fn hook(&self, hook: &str, db: &mut Db<S>) -> Result<(), BoxError> {
        let act = lock(&self.0.acts)[&tokio::task::id()].clone();
        let _alone = Alone::enter(&self.0, act.event);
        let line = line(act.event, hook);
        self.0.store.write(db, &line).await?;
        match act.behave {
            Behave::Fail | Behave::FailForLong => return Err("the printer is out of paper".into()),
            // Unlike `panic!` this prints nothing: the test has not failed.
            Behave::Panic => std::panic::resume_unwind(Box::new("a bug of the merchant's")),
            behave if dies(behave, Moment::InHook) => {
                act.dead.send_replace(true);
                return Err("the process is dead".into());
            }
            // This gives other steps time to run in between, if there are any.
            _ if self.0.is_crowded() => tokio::time::sleep(Duration::from_millis(3)).await,
            _ => tokio::task::yield_now().await,
        }
        // No other hook works on this payment now, so the numbers show the order.
        let number = self.0.ended.fetch_add(1, Ordering::SeqCst);
        lock(&act.ended).push((number, line));
        Ok(())
    }
}

/// A guard that checks that no two hooks of one payment or of one order run at the same time.
struct Alone<'a> {
    running: &'a Mutex<Vec<String>>,
    keys: Vec<String>,
}

impl<'a> Alone<'a> {
    fn enter<S>(stage: &'a Stage<S>, event: Event) -> Self {
        let pay = event.payment();
        // A refund or dispute does not name its order, so only its own payment is exclusive.
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
