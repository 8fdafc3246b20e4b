//! The reconciler: asks Stripe for what never came.
//!
//! Webhooks are lost: an endpoint was down for longer than Stripe repeats, a secret was wrong, Stripe made no event at all. So now and then Stripe is asked, twice over:
//! for its list of events, and for every order that may still be paid. What it tells goes the way of every webhook, by the same ids, so that nothing happens twice,
//! whoever else is at it.
//!
//! Stripe lists the newest first, but a refund must not come before its success. So events are taken in oldest first, a stretch of time after the other, and how far
//! that has come is kept as a time. A time does not expire, as the id of an event does after 30 days.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use tokio::task::{JoinError, JoinSet};
use tracing::Instrument;

use super::retrieved::{event_of, event_of_session};
use super::{Checkout, Payments};
use crate::error::{ApiError, InboxError, ReconcileError};
use crate::fulfillment::{
    EventState, IntentRecord, IntentState, OrderKey, Received, Scope, is_session,
};
use crate::secret::Mode;
use crate::telemetry::Origin;
use crate::webhook::{EVENT_TYPES, Event, Payment, PaymentStatus, SessionStatus};

/// How far back Stripe lists events, and for how long it is asked for an order that waits for its buyer.
const REACH: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// What Stripe lists late, it lists within this time.
const OVERLAP: Duration = Duration::from_secs(60 * 60);

/// How many types Stripe takes in one list.
const TYPES: usize = 20;

/// How many events a page has: as many as Stripe gives, and few where so many are too large to be read.
const PAGES: [usize; 2] = [100, 10];

/// How many events are held at a time, in order to take the oldest of them in first.
const HELD: usize = 500;

/// After how many events it is written down how far the run has come.
const CHUNK: usize = 100;

/// How many events that are due a run tries again at most; what is left is the next one's, or the worker's.
const REDRIVEN: u64 = 1000;

/// How many payments Stripe is asked for at the same time: its rate limit is for the shop first.
const AT_ONCE: usize = 4;

/// How soon a run that failed is repeated first; then twice that, up to the interval.
const RETRY: Duration = Duration::from_secs(60);

/// The name of the note that says how far it has come.
const BOOKMARK: &str = "events";

/// Asks Stripe for what never came. See [`Checkout::reconcile`].
#[derive(Debug, Clone)]
#[must_use = "it asks nothing before `once` or `run` is awaited"]
pub struct Reconciler {
    checkout: Checkout,
    interval: Duration,
}

/// What a run of the [`Reconciler`] found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reconciled {
    /// How many events that had failed, or were queued, were due and tried again, before Stripe was asked for anything.
    pub redriven: u64,
    /// How many events Stripe listed. An hour of them it lists each time.
    pub events: u64,
    /// How many orders that may still be paid Stripe was asked for.
    pub intents: u64,
    /// How many of these are paid, canceled, or authorised.
    pub settled: u64,
    /// How many of these are on their way, or are not any more, and the inbox did not know.
    pub changed: u64,
    /// How many of these Stripe does not know, or does not tell of: it has other keys now, the connected account has left, the answer could not be read.
    pub unknown: u64,
    /// How many events and settled payments the inbox had not heard of: what webhooks had lost.
    pub new: u64,
    /// How many of all these ran, the old news among them; in a [`queued`](crate::CheckoutBuilder::queued) checkout none: its worker runs them.
    pub run: u64,
    /// How many failed. They stay in the inbox, with their attempts and their pauses, or are dead letters.
    pub failed: u64,
    /// How many wait in the inbox: for their turn, for the end of their pause, for a worker, or for other work on the same payment.
    pub waiting: u64,
    /// How long it took.
    pub took: Duration,
}

impl Checkout {
    /// Asks Stripe for what never came: a webhook that was lost, an event that Stripe never made, a debit of days ago. Run it once an hour beside the server, in any
    /// number of processes; nothing happens twice. It needs prices with their keys, and an inbox that survives a restart.
    ///
    /// A run
    /// 1. tries again what failed and is due, as a [`worker`](Self::worker) does;
    /// 2. takes in Stripe's list of events of the merchant's own account (the types of [`EVENT_TYPES`]), the oldest first, from an hour before the newest that it
    ///    took in last time, and at most the 30 days that Stripe keeps them;
    /// 3. asks for every PaymentIntent and Checkout Session that the inbox takes to be unpaid, on its connected account: those that are on their way, however long ago, and those that wait for
    ///    their buyer whose order was last changed within 30 days.
    ///
    /// What fails once more is counted and stays in the inbox. What Stripe cannot be asked or the inbox cannot store ends the run; the next one goes on there.
    ///
    /// ```no_run
    /// # async fn work(checkout: stripe_checkout_core::Checkout, stop: impl Future<Output = ()> + Send + 'static) {
    /// let reconciler = tokio::spawn(checkout.reconcile().run(stop));
    /// # }
    /// ```
    pub fn reconcile(&self) -> Reconciler {
        Reconciler {
            checkout: self.clone(),
            interval: Duration::from_secs(60 * 60),
        }
    }

    fn reconcilable(&self) -> Result<&Payments, ReconcileError> {
        let payments = self.inner.payments.as_ref();
        let payments = payments.ok_or(ReconcileError::NoPricing)?;
        match self.inner.fulfillment.survives_restart() {
            true => Ok(payments),
            false => Err(ReconcileError::Forgetful),
        }
    }
}

impl Reconciler {
    /// How long [`run`](Self::run) pauses between two runs (default 1 hour, at least 1 s). After a run that failed it is a minute, and twice that each further time,
    /// up to the interval.
    pub fn interval(mut self, interval: Duration) -> Self {
        self.interval = interval.max(Duration::from_secs(1));
        self
    }

    /// Runs once. Where nobody waits for it any more, it ends with what it is at, and the next run goes on there.
    ///
    /// # Errors
    /// [`ReconcileError`].
    pub async fn once(&self) -> Result<Reconciled, ReconcileError> {
        let stop = StopWhenDropped::default();
        self.checkout.reconcilable()?;
        self.begin(&stop.0).await
    }

    /// Runs at once, and then each [`interval`](Self::interval), until `stop` ends; then what it is at comes to its end.
    ///
    /// # Errors
    /// [`ReconcileError::NoPricing`] and [`ReconcileError::Forgetful`], at once: that will not pass. All others go to the log.
    pub async fn run(self, stop: impl Future<Output = ()>) -> Result<(), ReconcileError> {
        let mut stop = pin!(stop);
        if let Err(error) = self.checkout.reconcilable() {
            tracing::error!(error = %crate::error::Chain(&error), "nothing is reconciled");
            return Err(error);
        }
        let mut failures = 0;
        loop {
            let halt = StopWhenDropped::default();
            let mut run = pin!(self.begin(&halt.0));
            let Some(ended) = unless(stop.as_mut(), run.as_mut()).await else {
                halt.0.store(true, Ordering::Relaxed);
                // The run's own log tells how it went.
                let _ = run.await;
                return Ok(());
            };
            failures = if ended.is_err() { failures + 1 } else { 0 };
            let mut pause = pin!(tokio::time::sleep(self.pause(failures)));
            if unless(stop.as_mut(), pause.as_mut()).await.is_none() {
                return Ok(());
            }
        }
    }

    fn pause(&self, failures: u32) -> Duration {
        match failures {
            0 => self.interval,
            again => {
                let doubled = 2_u32.saturating_pow(again - 1);
                RETRY.saturating_mul(doubled).min(self.interval)
            }
        }
    }

    /// A run, as a task of its own: what it does with the inbox must not be cut off.
    async fn begin(&self, stop: &Arc<AtomicBool>) -> Result<Reconciled, ReconcileError> {
        let run = Run {
            scope: self.checkout.scope(self.checkout.mode()),
            checkout: self.checkout.clone(),
            stop: Arc::clone(stop),
            report: Reconciled::default(),
        };
        let span = tracing::info_span!("reconcile");
        let task = self.checkout.inner.tasks.spawn(run.go().instrument(span));
        task.await.unwrap_or_else(|error| Err(lost(error)))
    }
}

fn lost(error: JoinError) -> ReconcileError {
    InboxError::Unavailable(error.into()).into()
}

/// Tells a run to end, also where whoever asked for it went away.
#[derive(Default)]
struct StopWhenDropped(Arc<AtomicBool>);

impl Drop for StopWhenDropped {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What the work gives, or `None` if `stop` was first. By hand, because `tokio::select!` would bring tokio's macros to everybody.
async fn unless<T>(
    mut stop: Pin<&mut impl Future<Output = ()>>,
    mut work: Pin<&mut impl Future<Output = T>>,
) -> Option<T> {
    poll_fn(|context| {
        if stop.as_mut().poll(context).is_ready() {
            return Poll::Ready(None);
        }
        work.as_mut().poll(context).map(Some)
    })
    .await
}

/// The events of a stretch of time.
enum Listed {
    /// The oldest first.
    All(VecDeque<Event>),
    /// They are too many to be held. Before this time there are fewer by [`HELD`].
    TooMany { until: u64 },
}

/// In seconds since 1970.
fn created(event: &Event) -> u64 {
    event.created().max(0).unsigned_abs()
}

/// How far the list of events was taken in.
#[derive(Serialize, Deserialize)]
struct Bookmark {
    /// When the newest event that was taken in was created, in seconds since 1970 by Stripe's clock.
    created: u64,
}

struct Run {
    checkout: Checkout,
    scope: Scope,
    stop: Arc<AtomicBool>,
    report: Reconciled,
}

impl Run {
    async fn go(mut self) -> Result<Reconciled, ReconcileError> {
        let began = Instant::now();
        let ended = self.work().await;
        self.report.took = began.elapsed();
        let Reconciled {
            redriven,
            events,
            intents,
            settled,
            changed,
            unknown,
            new,
            run,
            failed,
            waiting,
            took,
        } = &self.report;
        match ended {
            Ok(()) => {
                let complete = !self.is_stopped();
                tracing::info!(
                    complete,
                    redriven,
                    events,
                    intents,
                    settled,
                    changed,
                    unknown,
                    new,
                    run,
                    failed,
                    waiting,
                    ?took,
                    "reconciled with Stripe"
                );
                Ok(self.report)
            }
            Err(error) => {
                tracing::error!(error = %crate::error::Chain(&error), redriven, events, intents, settled, changed, unknown, new, run, failed, waiting, ?took, "not reconciled with Stripe to the end; the next run goes on");
                Err(error)
            }
        }
    }

    async fn work(&mut self) -> Result<(), ReconcileError> {
        self.redrive().await?;
        self.list_events().await?;
        self.look_at_intents().await
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Tries again what is due.
    async fn redrive(&mut self) -> Result<(), ReconcileError> {
        let mut busy = 0;
        while self.report.redriven < REDRIVEN && !self.is_stopped() {
            match self.checkout.run_due().await {
                Ok(true) => self.report.redriven += 1,
                Ok(false) => break,
                // Others may be due behind it, but each of these takes its time.
                Err(InboxError::Busy) if busy < 3 => busy += 1,
                Err(InboxError::Busy) => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Takes in Stripe's list of events, the oldest first.
    async fn list_events(&mut self) -> Result<(), ReconcileError> {
        let oldest = now().saturating_sub(REACH.as_secs());
        let mut mark = self.bookmark().await?;
        let begins = mark.map_or(0, |mark| mark.saturating_sub(OVERLAP.as_secs()));
        let mut from = begins.max(oldest);
        // Where the stretches end that are too long to be taken in at once, the next one last. Behind them is one without an end: what is new is in it, whatever our
        // clock says.
        let mut ends: Vec<u64> = Vec::new();
        while !self.is_stopped() {
            let until = ends.last().copied();
            match self.listed(from, until).await? {
                Listed::TooMany { until } => ends.push(until),
                Listed::All(events) => {
                    tracing::debug!(from, until, events = events.len(), "Stripe's events");
                    if !self.take_in(events, &mut mark).await? {
                        break;
                    }
                    let Some(until) = ends.pop() else { break };
                    from = until;
                }
            }
        }
        Ok(())
    }

    /// The events of a stretch of time, of all types.
    async fn listed(&self, from: u64, until: Option<u64>) -> Result<Listed, ReconcileError> {
        let mut all = VecDeque::new();
        for types in EVENT_TYPES.chunks(TYPES) {
            match self.listed_of(types, from, until).await? {
                Listed::All(events) => all.extend(events),
                too_many => return Ok(too_many),
            }
        }
        // Of one second those come first whose types do.
        all.make_contiguous().sort_by_key(Event::created);
        Ok(Listed::All(all))
    }

    /// The events of a stretch of time, of these types.
    async fn listed_of(
        &self,
        types: &[&str],
        from: u64,
        until: Option<u64>,
    ) -> Result<Listed, ReconcileError> {
        let mut events = VecDeque::new();
        let mut anew = true;
        loop {
            let after = events.front().map(Event::id);
            let page = match self.page(types, from, until, after).await {
                // What the last page ended with has become too old for Stripe meanwhile.
                Err(ApiError::InvalidRequest {
                    code: Some(code), ..
                }) if code == "resource_missing" && after.is_some() && anew => {
                    anew = false;
                    events.clear();
                    continue;
                }
                page => page?,
            };
            let last = page.events.is_empty() || !page.has_more;
            for event in page.events {
                events.push_front(event);
            }
            if last {
                // Stripe's order is by this time already; where it is not, this is what the bookmark goes by.
                events.make_contiguous().sort_by_key(Event::created);
                return Ok(Listed::All(events));
            }
            let reached = events.front().map_or(from, created);
            // What is left is older, but a second cannot be parted.
            if events.len() >= HELD && reached > from {
                return Ok(Listed::TooMany { until: reached });
            }
        }
    }

    async fn page(
        &self,
        types: &[&str],
        from: u64,
        until: Option<u64>,
        after: Option<&str>,
    ) -> Result<crate::intent::EventPage, ApiError> {
        let gateway = &self.payments()?.gateway;
        let mut answer = Err(ApiError::Timeout);
        for limit in PAGES {
            answer = gateway.list_events(types, from, until, after, limit).await;
            if !matches!(answer, Err(ApiError::UnexpectedAnswer { .. })) {
                break;
            }
        }
        answer
    }
}

impl Run {
    /// Takes events in, and writes down after each chunk how far that is. `false` if it was stopped before all were.
    async fn take_in(
        &mut self,
        events: VecDeque<Event>,
        mark: &mut Option<u64>,
    ) -> Result<bool, ReconcileError> {
        let mut events = events.into_iter();
        loop {
            let chunk: Vec<_> = events.by_ref().take(CHUNK).collect();
            let Some(newest) = chunk
                .last()
                .map(|event| event.created().max(0).unsigned_abs())
            else {
                return Ok(true);
            };
            if self.is_stopped() {
                return Ok(false);
            }
            for event in chunk {
                self.report.events += 1;
                let taken = taken(&self.checkout, event, false).await?;
                self.count(taken);
            }
            if mark.is_none_or(|mark| mark < newest) {
                *mark = Some(newest);
                self.put_bookmark(newest).await?;
            }
        }
    }

    async fn bookmark(&self) -> Result<Option<u64>, ReconcileError> {
        let fulfillment = &self.checkout.inner.fulfillment;
        let Some(text) = fulfillment.bookmark(&self.scope, BOOKMARK).await? else {
            return Ok(None);
        };
        match serde_json::from_str::<Bookmark>(&text) {
            Ok(bookmark) => Ok(Some(bookmark.created)),
            Err(error) => {
                tracing::warn!(error = %crate::error::Chain(&error), "how far Stripe's events were taken in cannot be read: all of them are looked at");
                Ok(None)
            }
        }
    }

    async fn put_bookmark(&self, created: u64) -> Result<(), ReconcileError> {
        let text = serde_json::to_string(&Bookmark { created })
            .map_err(|error| InboxError::Unavailable(error.into()))?;
        let fulfillment = &self.checkout.inner.fulfillment;
        Ok(fulfillment
            .put_bookmark(&self.scope, BOOKMARK, &text)
            .await?)
    }

    /// Asks for every order that may still be paid.
    async fn look_at_intents(&mut self) -> Result<(), ReconcileError> {
        let since = SystemTime::now().checked_sub(REACH).unwrap_or(UNIX_EPOCH);
        let mut after: Option<OrderKey> = None;
        while !self.is_stopped() {
            let fulfillment = &self.checkout.inner.fulfillment;
            let page = fulfillment
                .open_intents(&self.scope, after.as_ref(), since, CHUNK)
                .await?;
            let Some((last, _)) = page.last() else { break };
            after = Some(last.clone());
            self.look_at(page).await?;
        }
        Ok(())
    }

    async fn look_at(
        &mut self,
        orders: Vec<(OrderKey, IntentRecord)>,
    ) -> Result<(), ReconcileError> {
        let mut orders = orders.into_iter();
        let mut running = JoinSet::new();
        let mut ended = Ok(());
        loop {
            // Those that run come to their end, also if one of them finds Stripe or the inbox gone.
            while running.len() < AT_ONCE && ended.is_ok() && !self.is_stopped() {
                let Some((order, row)) = orders.next() else {
                    break;
                };
                let checkout = self.checkout.clone();
                running.spawn(async move { look(&checkout, order, row).await }.in_current_span());
            }
            match running.join_next().await {
                None => return ended,
                Some(Ok(Ok(look))) => self.count_look(look),
                Some(Ok(Err(error))) => ended = Err(error),
                Some(Err(error)) => ended = Err(lost(error)),
            }
        }
    }

    fn count_look(&mut self, look: Look) {
        self.report.intents += 1;
        match look {
            Look::Settled(taken) => {
                self.report.settled += 1;
                self.count(taken);
            }
            Look::Changed => self.report.changed += 1,
            Look::Unknown => self.report.unknown += 1,
            Look::Same => {}
        }
    }

    fn count(&mut self, taken: Taken) {
        let report = &mut self.report;
        report.new += u64::from(taken.is_new);
        match taken.how {
            How::Known => {}
            How::Run => report.run += 1,
            How::Failed => report.failed += 1,
            How::Waits => report.waiting += 1,
        }
    }

    fn payments(&self) -> Result<&Payments, ApiError> {
        payments(&self.checkout)
    }
}

/// What became of something that Stripe told.
struct Taken {
    is_new: bool,
    how: How,
}

enum How {
    /// It was dealt with before.
    Known,
    Run,
    Failed,
    Waits,
}

/// What Stripe says of an order that may still be paid.
enum Look {
    Settled(Taken),
    Changed,
    Unknown,
    /// What the inbox knows.
    Same,
}

/// Takes an event in as a webhook does, but never before it is due. `settled`: it is one that [`event_of`] made.
async fn taken(checkout: &Checkout, event: Event, settled: bool) -> Result<Taken, InboxError> {
    let scope = checkout.scope(Mode::from_livemode(event.livemode()));
    let fulfillment = &checkout.inner.fulfillment;
    let id = event.id().to_owned();
    let known = fulfillment.event(&scope, &id).await?;
    if known
        .as_ref()
        .is_some_and(|known| known.state != EventState::Pending)
    {
        let (is_new, how) = (false, How::Known);
        return Ok(Taken { is_new, how });
    }
    let received = match settled {
        true => checkout.take_in_settled(event).await,
        false => checkout.take_in(event, Origin::Listed).await,
    };
    let how = match received {
        Ok(Received::Done(_)) => How::Run,
        Ok(Received::Failed) => How::Failed,
        Ok(Received::Queued | Received::Waiting) => How::Waits,
        Ok(Received::Duplicate(_) | Received::Ignored) => How::Known,
        // Busy may be the payment, whose event is stored then, or the whole inbox.
        Err(InboxError::Busy) if fulfillment.event(&scope, &id).await?.is_some() => How::Waits,
        Err(error) => return Err(error),
    };
    let is_new = known.is_none() && fulfillment.event(&scope, &id).await?.is_some();
    tracing::debug!(event = id, is_new, "taken in");
    Ok(Taken { is_new, how })
}

/// Asks for one order's PaymentIntent, and takes in what is settled.
async fn look(
    checkout: &Checkout,
    order: OrderKey,
    row: IntentRecord,
) -> Result<Look, ReconcileError> {
    let Some(id) = &row.payment else {
        return Ok(Look::Same);
    };
    let gateway = &payments(checkout)?.gateway;
    let account = order.account.as_deref();
    if is_session(id) {
        let session = match gateway.retrieve_session(id, account).await {
            Ok(session) => session,
            Err(error) if is_about_this_one(&error, account) => {
                tracing::warn!(order = order.reference, session = id, account, error = %crate::error::Chain(&error), "an order's Checkout Session could not be looked at");
                return Ok(Look::Unknown);
            }
            Err(error) => return Err(error.into()),
        };
        let open = session.status() == Some(&SessionStatus::Open);
        let payment = Payment::of_session(session.clone()).on_account(account);
        let event = event_of_session(gateway, &session, &payment).await?;
        return settle(checkout, order, row, &payment, event, open).await;
    }
    let (payment, whole) = match gateway.retrieve_intent_and_charge(id, account).await {
        Ok(found) => found,
        Err(error) if is_about_this_one(&error, account) => {
            tracing::warn!(order = order.reference, payment = id, account, error = %crate::error::Chain(&error), "an order's PaymentIntent could not be looked at");
            return Ok(Look::Unknown);
        }
        Err(error) => return Err(error.into()),
    };
    let event = event_of(&payment, &whole);
    settle(checkout, order, row, &payment, event, true).await
}

/// Takes in what is settled, and writes down how an order stands whose payment is not. `open`: the buyer may still pay.
async fn settle(
    checkout: &Checkout,
    order: OrderKey,
    row: IntentRecord,
    payment: &Payment,
    event: Option<Event>,
    open: bool,
) -> Result<Look, ReconcileError> {
    tracing::debug!(
        order = order.reference,
        payment = payment.id(),
        status = payment.status().as_str(),
        "looked at"
    );
    if let Some(event) = event {
        return Ok(Look::Settled(taken(checkout, event, true).await?));
    }
    let Some(state) = state_of(payment, open).filter(|state| {
        *state != row.state && matches!(row.state, IntentState::Open | IntentState::Processing)
    }) else {
        return Ok(Look::Same);
    };
    let version = row.version;
    let next = IntentRecord { state, ..row };
    // Who was first knows better.
    let put = checkout
        .inner
        .fulfillment
        .put_intent(&order, Some(version), next);
    Ok(match put.await? {
        true => Look::Changed,
        false => Look::Same,
    })
}

/// Whether another PaymentIntent may fare better.
fn is_about_this_one(error: &ApiError, account: Option<&str>) -> bool {
    match error {
        ApiError::InvalidRequest { status: 404, .. } | ApiError::UnexpectedAnswer { .. } => true,
        // The account is not connected any more. Of the merchant's own it is the key that may not.
        ApiError::Permission { .. } => account.is_some(),
        _ => false,
    }
}

/// Where an order stands whose PaymentIntent is not settled. On its way it is watched for as long as it takes, and waiting for its buyer not.
fn state_of(payment: &Payment, open: bool) -> Option<IntentState> {
    match payment.status() {
        PaymentStatus::Processing => Some(IntentState::Processing),
        // Authorised, or waiting for the buyer's bank, in a session that is complete.
        _ if !open => Some(IntentState::Processing),
        PaymentStatus::RequiresPaymentMethod
        | PaymentStatus::RequiresConfirmation
        | PaymentStatus::RequiresAction => Some(IntentState::Open),
        _ => None,
    }
}

/// Who reconciles has them; that is checked before anything else.
fn payments(checkout: &Checkout) -> Result<&Payments, ApiError> {
    checkout
        .inner
        .payments
        .as_ref()
        .ok_or(ApiError::Authentication { request_id: None })
}

fn now() -> u64 {
    UNIX_EPOCH.elapsed().unwrap_or_default().as_secs()
}
