//! The world of every case.
//!
//! It has a store, a merchant, processes that receive deliveries, and inboxes without any of these.
//! The case sets how the merchant's handlers behave.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::Semaphore;

use super::subject::Subject;
use crate::call::{Body, Call};
use crate::checkout::{Checkout, CheckoutBuilder};
use crate::config::Config;
use crate::endpoint::Endpoint;
use crate::error::BoxError;
use crate::fulfillment::{
    BoxFuture, Dispatch, Due, EventFilter, EventRecord, EventState, FulfillmentHandler,
    FulfillmentStatus, Inbox, InboxExt as _, IntentRecord, IntentState, NewEvent, OrderKey,
    PaymentEvent, PaymentRecord, PendingNote, Scope, Step, Stepped, Terms, Verdict, Which,
};
use crate::secret::{Mode, WebhookSecret};
use crate::testing::{EventBody, PaymentIntent, now, sign};
use crate::webhook::{DisputeStatus, Payment};
use crate::{Amount, Currency};

/// The result of a case.
pub(super) type Told = Result<(), BoxError>;
pub(super) type Connection<S> = <<S as Subject>::Inbox as Inbox>::Connection;

pub(super) const PRICE: Amount = Amount::new(1999, Currency::EUR);
pub(super) const HOUR: Duration = Duration::from_secs(60 * 60);

const SECRET: &str = "whsec_of_the_inboxes";
/// The longest time that a case waits for an expected change.
const SOON: Duration = Duration::from_secs(30);

pub(super) fn check(right: bool, what: impl Into<String>) -> Told {
    if right {
        Ok(())
    } else {
        Err(what.into().into())
    }
}

pub(super) fn same<T, U>(what: &str, found: T, expected: U) -> Told
where
    T: PartialEq<U> + fmt::Debug,
    U: fmt::Debug,
{
    check(
        found == expected,
        format!("{what}: {found:?}, not {expected:?}"),
    )
}

/// Waits until the condition holds.
pub(super) async fn until<F: Future<Output = Result<bool, BoxError>>>(
    what: &str,
    is_so: impl Fn() -> F,
) -> Told {
    let began = Instant::now();
    while !is_so().await? {
        check(began.elapsed() < SOON, format!("never: {what}"))?;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A store for one case, and the merchant's side of it.
pub(super) struct World<S> {
    pub(super) subject: Arc<S>,
    pub(super) hooks: Hooks<S>,
}

impl<S: Subject> World<S> {
    pub(super) fn new(subject: S) -> Self {
        let subject = Arc::new(subject);
        let hooks = Hooks {
            subject: Arc::clone(&subject),
            told: Arc::default(),
        };
        Self { subject, hooks }
    }

    pub(super) async fn open(&self) -> S::Inbox {
        self.subject.open().await
    }

    /// A process of the shop.
    pub(super) async fn shop(&self) -> Result<Shop, BoxError> {
        self.built(|builder| builder).await
    }

    pub(super) async fn built(
        &self,
        more: impl FnOnce(CheckoutBuilder) -> CheckoutBuilder,
    ) -> Result<Shop, BoxError> {
        let config = Config::new([WebhookSecret::new(SECRET)?])?;
        let builder = Checkout::builder(config)
            .application("tea")
            .fulfillment(self.open().await, self.hooks.clone());
        let checkout = more(builder).build()?;
        let webhook = checkout.endpoints().first().cloned();
        let webhook = webhook.ok_or("a checkout without a webhook")?;
        Ok(Shop { checkout, webhook })
    }

    /// The lasting effects of the handlers, in order.
    pub(super) async fn effects(&self) -> Result<Vec<String>, BoxError> {
        if self.subject.transactional() {
            self.subject.written().await
        } else {
            Ok(lock(&self.hooks.told.ended).clone())
        }
    }

    pub(super) async fn did<const N: usize>(&self, lines: [&str; N]) -> Told {
        same("what the hooks did", self.effects().await?, lines)?;
        self.hooks.told.kept_apart()
    }

    /// Checks that undone writes are gone, if the store can undo them.
    pub(super) async fn wrote<const N: usize>(&self, lines: [&str; N]) -> Told {
        if !self.subject.transactional() {
            return Ok(());
        }
        same("what was written", self.subject.written().await?, lines)
    }

    pub(super) fn script(&self, verdict: fn(&EventRecord, &PaymentRecord) -> Verdict) -> Script<S> {
        Script {
            subject: Arc::clone(&self.subject),
            verdict,
            hangs: false,
            gate: Gate::default(),
            ran: Mutex::default(),
        }
    }

    /// A process that runs an event and dies while the handler runs.
    ///
    /// It runs the given event or the next due one. None of its work goes on, and its handle is
    /// gone.
    pub(super) async fn dies(&self, event: Option<&'static str>, terms: Terms) -> Told {
        let inbox = self.open().await;
        let script = Arc::new(self.script(done).hangs());
        let running = tokio::spawn({
            let script = Arc::clone(&script);
            async move {
                let turn = event.map_or(Which::Due, Which::Now);
                inbox.step(&tea(), turn, terms, &*script).await.map(drop)
            }
        });
        script.gate.started().await?;
        running.abort();
        match running.await {
            Err(error) if error.is_cancelled() => Ok(()),
            other => Err(format!("it was to die, and came to {other:?}").into()),
        }
    }
}

/// A process that receives deliveries.
pub(super) struct Shop {
    pub(super) checkout: Checkout,
    webhook: Endpoint,
}

impl Shop {
    /// Sends one delivery and returns the response's status.
    ///
    /// Each delivery has its own signature, as Stripe's have.
    pub(super) async fn send(&self, event: EventBody) -> Result<u16, BoxError> {
        let body = event.body();
        let header = sign(&body, &WebhookSecret::new(SECRET)?, now());
        let call = Call::new(&self.webhook)
            .header("Stripe-Signature", header.as_bytes())
            .body(Body::whole(&body, self.webhook.body_limit()));
        Ok(self.checkout.handle(call).await.status())
    }

    /// Sends a delivery and checks the response's status.
    pub(super) async fn told(&self, event: EventBody, status: u16) -> Told {
        same("the answer", self.send(event).await?, status)
    }

    pub(super) async fn record(&self, id: &str) -> Result<EventRecord, BoxError> {
        let events = self.checkout.events(EventFilter::default()).await?;
        let found = events.into_iter().find(|event| event.id == id);
        found.ok_or_else(|| format!("{id} is not in the inbox").into())
    }

    pub(super) async fn is(&self, id: &str, state: EventState) -> Told {
        same(id, self.record(id).await?.state, state)
    }
}

pub(super) fn intent(payment: &str, order: &str, status: &str) -> PaymentIntent {
    PaymentIntent::new(payment, PRICE)
        .asked_by("tea")
        .metadata("order_id", order)
        .status(status)
}

/// An event about a payment of the order `order-1`.
pub(super) fn news(what: &str, payment: &str) -> EventBody {
    news_of(what, payment, "order-1")
}

pub(super) fn news_of(what: &str, payment: &str, order: &str) -> EventBody {
    let event_type = format!("payment_intent.{what}");
    let status = match what {
        "amount_capturable_updated" => "requires_capture",
        "payment_failed" => "requires_payment_method",
        other => other,
    };
    EventBody::new(&event_type, intent(payment, order, status).object())
}

pub(super) fn paid(event: &str, payment: &str) -> EventBody {
    news("succeeded", payment).id(event)
}

/// How a handler behaves after it wrote its line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Behave {
    Well,
    /// Takes some time, so that others can run in between.
    Slowly,
    Fail,
    Panic,
    /// Waits for its release.
    Hang,
}

/// The merchant's handlers.
pub(super) struct Hooks<S> {
    subject: Arc<S>,
    pub(super) told: Arc<Merchant>,
}

impl<S> Clone for Hooks<S> {
    fn clone(&self) -> Self {
        Self {
            subject: Arc::clone(&self.subject),
            told: Arc::clone(&self.told),
        }
    }
}

/// What the handlers of all processes saw, and how they behave.
pub(super) struct Merchant {
    /// By the line that a handler writes; all others use the entry "".
    behave: Mutex<HashMap<String, Behave>>,
    pub(super) due: Mutex<Due>,
    pub(super) gate: Gate,
    begun: Mutex<Vec<String>>,
    ended: Mutex<Vec<String>>,
    /// The payments and orders of the running handlers.
    ///
    /// The next fields are the present and the largest number of running handlers, and the payments
    /// and orders of which two ran at the same time.
    running: Mutex<HashSet<String>>,
    hooks: Mutex<(usize, usize)>,
    collided: Mutex<Vec<String>>,
}

impl Default for Merchant {
    fn default() -> Self {
        Self {
            behave: Mutex::default(),
            due: Mutex::new(Due::AsAsked),
            gate: Gate::default(),
            begun: Mutex::default(),
            ended: Mutex::default(),
            running: Mutex::default(),
            hooks: Mutex::default(),
            collided: Mutex::default(),
        }
    }
}

impl Merchant {
    pub(super) fn all(&self, how: Behave) {
        self.behave("", how);
    }

    pub(super) fn behave(&self, line: &str, how: Behave) {
        lock(&self.behave).insert(line.to_owned(), how);
    }

    fn behaviour(&self, line: &str) -> Behave {
        let behave = lock(&self.behave);
        let how = behave.get(line).or_else(|| behave.get(""));
        how.copied().unwrap_or(Behave::Well)
    }

    pub(super) fn costs(&self, due: Due) {
        *lock(&self.due) = due;
    }

    /// The handlers that began, whatever their result.
    pub(super) fn begun(&self) -> Vec<String> {
        lock(&self.begun).clone()
    }

    /// The largest number of handlers that ran at the same time.
    pub(super) fn most(&self) -> usize {
        lock(&self.hooks).1
    }

    /// Checks that no two handlers of one payment or of one order ran at the same time.
    pub(super) fn kept_apart(&self) -> Told {
        let collided = lock(&self.collided).clone();
        same("ran at the same time", collided, [""; 0])
    }

    fn enter(&self, keys: Vec<String>) -> Entered<'_> {
        let mut hooks = lock(&self.hooks);
        hooks.0 += 1;
        hooks.1 = hooks.1.max(hooks.0);
        let mut running = lock(&self.running);
        let (entered, collided) = keys
            .into_iter()
            .partition(|key| running.insert(key.clone()));
        lock(&self.collided).extend::<Vec<_>>(collided);
        Entered {
            merchant: self,
            keys: entered,
        }
    }
}

/// A running handler, until it ends, panics or its future is dropped.
struct Entered<'a> {
    merchant: &'a Merchant,
    keys: Vec<String>,
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        lock(&self.merchant.hooks).0 -= 1;
        let mut running = lock(&self.merchant.running);
        for key in &self.keys {
            running.remove(key);
        }
    }
}

/// The gate at which hanging handlers report that they began, and wait.
pub(super) struct Gate {
    began: Semaphore,
    release: Semaphore,
}

impl Default for Gate {
    fn default() -> Self {
        Self {
            began: Semaphore::new(0),
            release: Semaphore::new(0),
        }
    }
}

impl Gate {
    async fn pass(&self) -> Told {
        self.began.add_permits(1);
        self.release.acquire().await?.forget();
        Ok(())
    }

    /// Waits until one more handler hangs.
    pub(super) async fn started(&self) -> Told {
        let began = tokio::time::timeout(SOON, self.began.acquire()).await;
        began.map_err(|_| "no hook began")??.forget();
        Ok(())
    }

    /// Releases all handlers that hang or will hang.
    pub(super) fn open(&self) {
        self.release.add_permits(1000);
    }
}

impl<S: Subject> Hooks<S> {
    async fn hook(
        &self,
        line: String,
        payment: Option<&str>,
        order: Option<&str>,
        db: &mut Connection<S>,
    ) -> Result<(), BoxError> {
        let payment = payment.map(|id| format!("payment {id}"));
        let order = order.map(|id| format!("order {id}"));
        let _entered = self.told.enter(payment.into_iter().chain(order).collect());
        lock(&self.told.begun).push(line.clone());
        self.subject.write(db, &line).await?;
        match self.told.behaviour(&line) {
            Behave::Well => tokio::task::yield_now().await,
            Behave::Slowly => tokio::time::sleep(Duration::from_millis(3)).await,
            Behave::Fail => return Err("the printer is out of paper".into()),
            // Unlike `panic!` it prints nothing, because the test did not fail.
            Behave::Panic => std::panic::resume_unwind(Box::new("a bug of the merchant's")),
            Behave::Hang => self.told.gate.pass().await?,
        }
        lock(&self.told.ended).push(line);
        Ok(())
    }

    async fn paid(
        &self,
        what: &str,
        payment: &Payment,
        db: &mut Connection<S>,
    ) -> Result<(), BoxError> {
        let line = format!("{what} {}", payment.id());
        self.hook(line, Some(payment.id()), payment.order_id(), db)
            .await
    }
}

impl<S: Subject> FulfillmentHandler<Connection<S>> for Hooks<S> {
    async fn payment_succeeded(
        &self,
        payment: &Payment,
        db: &mut Connection<S>,
    ) -> Result<(), BoxError> {
        let what = match payment.is_free() {
            true => "free",
            false => "succeeded",
        };
        self.paid(what, payment, db).await
    }

    async fn amount_due(&self, _: &Payment, _: &mut Connection<S>) -> Result<Due, BoxError> {
        Ok(*lock(&self.told.due))
    }

    async fn on_event(
        &self,
        event: &PaymentEvent<'_>,
        db: &mut Connection<S>,
    ) -> Result<(), BoxError> {
        match event {
            PaymentEvent::PaymentProcessing { payment, .. } => {
                self.paid("processing", payment, db).await
            }
            PaymentEvent::PaymentFailed { payment, .. } => self.paid("failed", payment, db).await,
            PaymentEvent::PaymentCanceled { payment, .. } => {
                self.paid("canceled", payment, db).await
            }
            PaymentEvent::RequiresAction { payment, .. } => {
                self.paid("requires_action", payment, db).await
            }
            PaymentEvent::RequiresCapture { payment, .. } => {
                self.paid("capture", payment, db).await
            }
            PaymentEvent::DuplicatePayment { payment, .. } => {
                self.paid("duplicate", payment, db).await
            }
            PaymentEvent::Mismatch { payment, .. } => self.paid("mismatch", payment, db).await,
            PaymentEvent::RefundPending { refund, .. } => {
                let line = format!("refund pending {}", refund.id());
                self.hook(line, refund.payment_intent(), None, db).await
            }
            PaymentEvent::RefundSucceeded { refund, .. } => {
                let line = format!("refunded {}", refund.id());
                self.hook(line, refund.payment_intent(), None, db).await
            }
            PaymentEvent::RefundFailed { refund, .. } => {
                let line = format!("refund failed {}", refund.id());
                self.hook(line, refund.payment_intent(), None, db).await
            }
            PaymentEvent::RefundedBeforeFulfillment { payment, .. } => {
                self.paid("refunded before", payment, db).await
            }
            PaymentEvent::DisputeCreated { dispute, .. } => {
                let line = format!("dispute opened {}", dispute.id());
                self.hook(line, dispute.payment_intent(), None, db).await
            }
            PaymentEvent::DisputeUpdated {
                dispute, change, ..
            } => {
                let line = format!("dispute {change:?} {}", dispute.id());
                self.hook(line, dispute.payment_intent(), None, db).await
            }
            PaymentEvent::DisputeClosed { dispute, .. } => {
                let line = format!("dispute {} {}", dispute.status(), dispute.id());
                self.hook(line, dispute.payment_intent(), None, db).await
            }
            PaymentEvent::SetupSucceeded { setup, .. } => {
                let line = format!("set up {}", setup.id());
                self.hook(line, Some(setup.id()), None, db).await
            }
            PaymentEvent::SetupFailed { setup, .. } => {
                let line = format!("setup failed {}", setup.id());
                self.hook(line, Some(setup.id()), None, db).await
            }
            PaymentEvent::PaymentMethodAttached { method, .. } => {
                let line = format!("attached {}", method.id());
                self.hook(line, Some(method.id()), None, db).await
            }
            PaymentEvent::PaymentMethodDetached { method, .. } => {
                let line = format!("detached {}", method.id());
                self.hook(line, Some(method.id()), None, db).await
            }
            PaymentEvent::Other { event, .. } => {
                let line = format!("event {}", event.event_type());
                self.hook(line, None, None, db).await
            }
        }
    }
}

/// A script for an inbox without an engine.
///
/// It writes the event's id, hangs if it should, and returns its verdict.
pub(super) struct Script<S> {
    subject: Arc<S>,
    verdict: fn(&EventRecord, &PaymentRecord) -> Verdict,
    hangs: bool,
    pub(super) gate: Gate,
    ran: Mutex<Vec<EventRecord>>,
}

impl<S> Script<S> {
    pub(super) fn hangs(mut self) -> Self {
        self.hangs = true;
        self
    }

    /// The ids of the events that ran, in order.
    pub(super) fn ran(&self) -> Vec<String> {
        lock(&self.ran)
            .iter()
            .map(|event| event.id.clone())
            .collect()
    }

    /// The events that ran, as the inbox passed them.
    pub(super) fn events(&self) -> Vec<EventRecord> {
        lock(&self.ran).clone()
    }
}

impl<S: Subject> Dispatch<Connection<S>> for Script<S> {
    fn dispatch<'a>(
        &'a self,
        event: &'a EventRecord,
        payment: &'a PaymentRecord,
        _: Option<&'a IntentRecord>,
        db: &'a mut Connection<S>,
    ) -> BoxFuture<'a, Verdict> {
        Box::pin(async move {
            lock(&self.ran).push(event.clone());
            let broken = |error: BoxError| Verdict::Failed {
                cause: crate::fulfillment::Cause::Handler,
                error: format!("the suite's own: {error}"),
                again: None,
            };
            if let Err(error) = self.subject.write(db, &event.id).await {
                return broken(error);
            }
            if self.hangs
                && let Err(error) = self.gate.pass().await
            {
                return broken(error);
            }
            (self.verdict)(event, payment)
        })
    }
}

/// The verdict of a handler that ran; a success is fulfilled.
pub(super) fn done(event: &EventRecord, payment: &PaymentRecord) -> Verdict {
    let mut payment = payment.clone();
    if event.settles {
        payment.success = FulfillmentStatus::Fulfilled;
    }
    Verdict::Done {
        payment,
        intent: None,
    }
}

/// The verdict of a handler that failed and is retried in an hour.
pub(super) fn fails(_: &EventRecord, _: &PaymentRecord) -> Verdict {
    Verdict::Failed {
        cause: crate::fulfillment::Cause::Handler,
        error: "no paper".to_owned(),
        again: Some(HOUR),
    }
}

/// The verdict of a handler that failed for the last time.
pub(super) fn fails_for_good(_: &EventRecord, _: &PaymentRecord) -> Verdict {
    Verdict::Failed {
        cause: crate::fulfillment::Cause::Handler,
        error: "no paper".to_owned(),
        again: None,
    }
}

pub(super) fn mismatched(_: &EventRecord, payment: &PaymentRecord) -> Verdict {
    Verdict::Mismatch {
        payment: PaymentRecord {
            success: FulfillmentStatus::Mismatch,
            ..payment.clone()
        },
        reason: "too little".to_owned(),
    }
}

pub(super) fn superseded(_: &EventRecord, _: &PaymentRecord) -> Verdict {
    Verdict::Superseded
}

pub(super) fn scope(application: &str, mode: Mode) -> Scope {
    Scope {
        application: application.to_owned(),
        mode,
    }
}

pub(super) fn tea() -> Scope {
    scope("tea", Mode::Test)
}

pub(super) fn order_key(reference: &str) -> OrderKey {
    OrderKey {
        scope: tea(),
        account: None,
        reference: reference.to_owned(),
    }
}

/// The row of an order whose PaymentIntent is open.
pub(super) fn row(payment: &str) -> IntentRecord {
    IntentRecord {
        version: 0,
        attempt: 1,
        fingerprint: "f".repeat(80),
        request: crate::fulfillment::RequestState::Sent,
        asked: PRICE,
        payment: Some(payment.to_owned()),
        secret_hash: Some("0123456789abcdef".repeat(4)),
        state: IntentState::Open,
        paid_by: None,
        declines: 0,
        capture: None,
    }
}

/// Terms that are long enough for everything, with three attempts.
pub(super) fn terms() -> Terms {
    Terms::new(Duration::from_secs(8), HOUR, 3)
}

/// A new event about a payment, before anything is known about the payment.
///
/// `settles` says whether it is the payment's success.
pub(super) fn new_event(id: &str, payment: &str, settles: bool) -> NewEvent {
    NewEvent {
        scope: tea(),
        id: id.to_owned(),
        event_type: "payment_intent.succeeded".to_owned(),
        payment: Some(payment.to_owned()),
        order: None,
        ours: true,
        settles,
        note: None,
        body: format!("{{\"id\":\"{id}\"}}").into_bytes().into(),
        received: SystemTime::now(),
    }
}

/// A note that the dispute of this id has this status.
pub(super) fn disputed(id: &str, status: &str) -> PendingNote {
    PendingNote::Dispute {
        id: id.to_owned(),
        status: DisputeStatus::from(status.to_owned()),
    }
}

/// The id of the event that a step took, and what the step did.
pub(super) fn took(step: &Option<Step>) -> Option<(&str, Stepped)> {
    step.as_ref().map(|step| (step.event.id.as_str(), step.did))
}

/// The event of this id in the inbox.
pub(super) async fn stored(inbox: &impl Inbox, id: &str) -> Result<EventRecord, BoxError> {
    let found = inbox.event(&tea(), id).await?;
    found.ok_or_else(|| format!("{id} is not in the inbox").into())
}

pub(super) async fn success_of(
    inbox: &impl Inbox,
    payment: &str,
) -> Result<FulfillmentStatus, BoxError> {
    let found = inbox.payment(&tea(), payment).await?;
    Ok(found.unwrap_or_default().success)
}
