//! The reconciler: asks Stripe for payments and events that the application missed.
//!
//! Webhooks get lost: the endpoint was down for longer than Stripe retries, the secret was wrong,
//! or Stripe made no event at all. So the reconciler asks Stripe at intervals, in two ways. It asks
//! for the list of events, and for every order that may still be paid. It handles the answers as it
//! handles webhooks, with the same ids. So nothing happens twice, even if other processes handle
//! the same payment.
//!
//! Stripe lists the newest events first, but the handler must not receive a refund before its
//! success. So the reconciler receives the oldest events first, one stretch of time after the
//! other. It stores its progress as a time. A time does not expire, while the id of an event
//! expires after 30 days.

mod accounts;
mod event_list;
mod orders;
mod report;

use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::task::JoinError;
use tracing::Instrument;

pub use report::{ReconcileError, ReconcileFailure, ReconcilePart, Reconciled};

use super::retrieved::{event_of, event_of_session};
use super::state::{Checkout, Payments};
use crate::error::InboxError;
use crate::fulfillment::{
    EventState, IntentRecord, IntentState, OrderKey, Received, Scope, is_session,
};
use crate::secret::Mode;
use crate::stripe::ApiError;
use crate::telemetry::Origin;
use crate::webhook::{Event, Payment, PaymentStatus, SessionStatus};

/// How far back Stripe lists events. The reconciler also asks for this long for an order that waits
/// for its buyer.
const REACH: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// How long before its birth an inbox receives events. They were on their way at the birth.
const BEFORE_BIRTH: Duration = Duration::from_secs(60 * 60);

/// About how many requests a run makes by default.
const REQUESTS: u32 = 2_000;

/// A part of a run ends after this many calls in a row without an answer.
const NO_ANSWERS: u32 = 8;

/// How many due events a run retries at most. The next run or the worker takes the rest.
const REDRIVEN: u64 = 1000;

/// The pause after a first failed run. Each further failure doubles it, up to the interval.
const RETRY: Duration = Duration::from_secs(60);

/// Asks Stripe for events and payments that the inbox missed. See [`Checkout::reconcile`].
#[derive(Debug, Clone)]
#[must_use = "it asks nothing before `once` or `run` is awaited"]
pub struct Reconciler {
    checkout: Checkout,
    interval: Duration,
    since: Option<Since>,
    max_requests: u32,
}

/// A time that the merchant asked for, and how far the runs since that time have come. The
/// bookmarks are later than that time, so they do not show this progress.
#[derive(Debug, Clone, Default)]
struct Since {
    /// In seconds since 1970.
    time: u64,
    /// Up to which time each list of events was received, by the name of its bookmark.
    reached: HashMap<String, u64>,
    /// Whether the first run began. It begins at the first account and the first order.
    begun: bool,
    /// Whether a run failed. The bookmarks may be past its failures, so another round follows.
    failed: bool,
}

impl Since {
    /// Returns the work of the next run, if any is left.
    fn after(mut self, ended: &Result<Reconciled, ReconcileError>) -> Option<Self> {
        self.begun = true;
        match ended {
            Ok(report) if !report.limited && !self.failed => None,
            Ok(report) if !report.limited => {
                self.failed = false;
                Some(self)
            }
            ended => {
                self.failed |= ended.is_err();
                Some(self)
            }
        }
    }
}

impl Checkout {
    /// Asks Stripe for events and payments that the inbox missed.
    ///
    /// Examples are a webhook that was lost, an event that Stripe never made, or a debit that
    /// settled days later. Run it once an hour beside the server, in any number of processes:
    /// nothing happens twice. It needs prices with their keys, and an inbox that survives a
    /// restart.
    ///
    /// A run has four parts. They are independent: if a part fails, the others still do their work,
    /// and the error of the run names the failed part.
    /// 1. It runs events that failed and are due, as a [`worker`](Self::worker) does.
    /// 2. It receives Stripe's list of events of the merchant's own account, of the types in
    ///    [`EVENT_TYPES`](crate::webhook::EVENT_TYPES). The oldest come first. The list begins an
    ///    hour before the newest event that the last run received.
    /// 3. It receives the same list of each connected account that has an order which changed
    ///    within 180 days. It counts a disconnected account as `unknown`. If a list fails, it
    ///    counts the failure and goes on with the next account. The handler's `event` receives the
    ///    account's other events of these types.
    /// 4. It looks up every PaymentIntent and Checkout Session that is unpaid according to the
    ///    inbox, on its connected account. These are payments that are being processed, however old
    ///    they are. They are also payments that wait for their buyer, if their order changed within
    ///    30 days. If an order fails, it counts the failure and goes on with the next order.
    ///
    /// The first run on an inbox begins one hour before the inbox's birth: the first start of this
    /// application and mode on it. The inbox does not know what was fulfilled before. Use
    /// [`since`](Reconciler::since) to go further back. See
    /// [`guide::moving`](crate::guide::moving).
    ///
    /// A restricted key needs read access to Events for the lists of events. For the orders it
    /// needs read access to PaymentIntents, Checkout Sessions and Charges. For connected accounts
    /// the key needs the same access there.
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
            since: None,
            max_requests: REQUESTS,
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
    /// Sets the pause of [`run`](Self::run) between two runs (default 1 hour, at least 1 s).
    ///
    /// After a failed run the pause is one minute. Each further failure doubles it, up to the
    /// interval.
    pub fn interval(mut self, interval: Duration) -> Self {
        self.interval = interval.max(Duration::from_secs(1));
        self
    }

    /// Also receives events and looks up orders from before the inbox's birth.
    ///
    /// It goes back to this time, but at most 30 days. [`run`](Self::run) does so until a run
    /// succeeds. After that it works as usual.
    ///
    /// # Warning
    /// An inbox knows nothing of what another inbox fulfilled before its birth: those orders are
    /// **fulfilled again**, unless your handler knows them.
    pub fn since(mut self, time: SystemTime) -> Self {
        self.since = Some(Since {
            time: seconds(time),
            ..Since::default()
        });
        self
    }

    /// Sets about how many requests to Stripe a run makes (default 2,000, at least 100).
    ///
    /// Each page of a list of events counts as one request, and so does each order. Retried
    /// requests do not count. Look-ups that an event or an order causes, such as that of a charge,
    /// do not count either.
    ///
    /// Half of the requests are kept for orders, and a quarter for connected accounts, if there are
    /// any. An account without news takes two. The next run goes on where this one stopped.
    pub fn max_requests(mut self, requests: u32) -> Self {
        self.max_requests = requests.max(100);
        self
    }

    /// Runs once.
    ///
    /// If you drop the future, the run finishes its current step and then stops. The next run goes
    /// on there.
    ///
    /// # Errors
    /// [`ReconcileError`].
    pub async fn once(&self) -> Result<Reconciled, ReconcileError> {
        let stop = StopWhenDropped::default();
        self.checkout.reconcilable()?;
        self.begin(&stop.0).await.0
    }

    /// Runs at once and then after each [`interval`](Self::interval), until `stop` ends.
    ///
    /// Then the current step comes to its end.
    ///
    /// # Errors
    /// [`ReconcileError::NoPricing`] and [`ReconcileError::Forgetful`], both at once, because a
    /// retry cannot help. The log has all other errors.
    pub async fn run(mut self, stop: impl Future<Output = ()>) -> Result<(), ReconcileError> {
        let mut stop = pin!(stop);
        if let Err(error) = self.checkout.reconcilable() {
            tracing::error!(error = %crate::error::Chain(&error), "nothing is reconciled");
            return Err(error);
        }
        let mut failures = 0;
        loop {
            let halt = StopWhenDropped::default();
            let turn = self.clone();
            let mut run = pin!(turn.begin(&halt.0));
            let Some((ended, since)) = unless(stop.as_mut(), run.as_mut()).await else {
                halt.0.store(true, Ordering::Relaxed);
                // The run's own log shows how it ended.
                let _ = run.await;
                return Ok(());
            };
            failures = if ended.is_err() { failures + 1 } else { 0 };
            let pause = self.pause(&ended, failures);
            self.since = since.and_then(|since| since.after(&ended));
            let mut pause = pin!(tokio::time::sleep(pause));
            if unless(stop.as_mut(), pause.as_mut()).await.is_none() {
                return Ok(());
            }
        }
    }

    /// Runs once in a schedule that others share.
    ///
    /// Returns the pause after the run and how many runs in a row failed. Returns `None` if nothing
    /// can be reconciled.
    pub(super) async fn turn(
        &self,
        halt: &Arc<AtomicBool>,
        failures: u32,
    ) -> Option<(Duration, u32)> {
        self.checkout.reconcilable().ok()?;
        let (ended, _) = self.begin(halt).await;
        let failures = if ended.is_err() { failures + 1 } else { 0 };
        Some((self.pause(&ended, failures), failures))
    }

    fn pause(&self, ended: &Result<Reconciled, ReconcileError>, failures: u32) -> Duration {
        let soon = match (ended, failures) {
            (Ok(report), _) if report.limited => RETRY,
            (_, 0) => self.interval,
            (_, again) => RETRY.saturating_mul(2_u32.saturating_pow(again - 1)),
        };
        let asked = ended.as_ref().err().and_then(retry_after);
        soon.max(asked.unwrap_or_default()).min(self.interval)
    }

    /// Starts a run as a task of its own: its work with the inbox must not be cut off.
    async fn begin(
        &self,
        stop: &Arc<AtomicBool>,
    ) -> (Result<Reconciled, ReconcileError>, Option<Since>) {
        let mut run = Run {
            scope: self.checkout.scope(self.checkout.mode()),
            checkout: self.checkout.clone(),
            stop: Arc::clone(stop),
            since: self.since.clone(),
            requests: self.max_requests,
            failures: Vec::new(),
            report: Reconciled::default(),
        };
        let span = tracing::info_span!("reconcile");
        let work = async move { (run.go().await, run.since) };
        let task = self.checkout.inner.tasks.spawn(work.instrument(span));
        let ended = task.await;
        ended.unwrap_or_else(|error| (Err(lost(error)), self.since.clone()))
    }
}

fn lost(error: JoinError) -> ReconcileError {
    InboxError::Unavailable(error.into()).into()
}

/// How long Stripe asks the caller to wait.
fn retry_after(error: &ReconcileError) -> Option<Duration> {
    match error {
        ReconcileError::Api(ApiError::RateLimited { retry_after, .. }) => *retry_after,
        ReconcileError::Incomplete { failures, .. } => {
            let waits = failures.iter().map(|failure| retry_after(&failure.error));
            waits.flatten().max()
        }
        _ => None,
    }
}

/// Tells a run to end, even if its caller dropped the future.
#[derive(Default)]
struct StopWhenDropped(Arc<AtomicBool>);

impl Drop for StopWhenDropped {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Returns the result of the work, or `None` if `stop` ended first.
///
/// It is written by hand, because `tokio::select!` would force tokio's macros on every user of this
/// crate.
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

struct Run {
    checkout: Checkout,
    scope: Scope,
    stop: Arc<AtomicBool>,
    /// The merchant asked to go back to this time, beyond the bookmark and the birth.
    since: Option<Since>,
    /// How many requests are left.
    requests: u32,
    failures: Vec<ReconcileFailure>,
    report: Reconciled,
}

impl Run {
    async fn go(&mut self) -> Result<Reconciled, ReconcileError> {
        let began = Instant::now();
        let worked = self.work().await;
        self.report.took = began.elapsed();
        let Reconciled {
            redriven,
            events,
            accounts,
            intents,
            settled,
            changed,
            unknown,
            new,
            run,
            failed,
            waiting,
            limited,
            took,
        } = &self.report;
        let complete = worked.is_ok() && self.failures.is_empty() && !self.is_stopped();
        tracing::info!(
            complete,
            redriven,
            events,
            accounts,
            intents,
            settled,
            changed,
            unknown,
            new,
            run,
            failed,
            waiting,
            limited,
            ?took,
            "reconciled with Stripe"
        );
        if let Err(error) = worked {
            tracing::error!(error = %crate::error::Chain(&error), "the reconciler did nothing; the next run tries again");
            return Err(error);
        }
        let report = std::mem::take(&mut self.report);
        let failures = std::mem::take(&mut self.failures);
        for failure in &failures {
            tracing::error!(part = ?failure.part, count = failure.count, account = failure.account, order = failure.order, error = %crate::error::Chain(&failure.error), "a part of the reconciler's run failed; the next run goes on there");
        }
        if failures.is_empty() {
            return Ok(report);
        }
        Err(ReconcileError::Incomplete {
            report: Box::new(report),
            failures,
        })
    }

    /// Runs all parts. They are independent.
    async fn work(&mut self) -> Result<(), ReconcileError> {
        let birth = self.checkout.inner.fulfillment.birth(&self.scope).await?;
        if let Err(error) = self.redrive().await {
            self.fail(ReconcilePart::DueEvents, None, None, error);
        }
        let for_orders = self.requests / 2;
        let for_accounts = match self.has_accounts().await {
            Ok(true) => self.requests / 4,
            Ok(false) => 0,
            Err(error) => {
                self.fail(ReconcilePart::AccountEvents, None, None, error.into());
                0
            }
        };
        self.requests -= for_orders + for_accounts;
        if let Err(error) = self.list_events(birth, None).await {
            self.fail(ReconcilePart::EventList, None, None, error);
        }
        self.requests += for_accounts;
        if for_accounts > 0
            && let Err(error) = self.list_accounts(birth).await
        {
            self.fail(ReconcilePart::AccountEvents, None, None, error);
        }
        self.requests += for_orders;
        if let Err(error) = self.look_at_orders(birth).await {
            self.fail(ReconcilePart::Orders, None, None, error);
        }
        Ok(())
    }

    /// Counts a failure, and keeps the first one of each part.
    fn fail(
        &mut self,
        part: ReconcilePart,
        account: Option<&str>,
        order: Option<&str>,
        error: ReconcileError,
    ) {
        let limited = matches!(error, ReconcileError::Api(ApiError::RateLimited { .. }));
        self.report.limited |= limited;
        match self.failures.iter_mut().find(|known| known.part == part) {
            Some(known) => known.count += 1,
            None => self.failures.push(ReconcileFailure {
                part,
                count: 1,
                account: account.map(str::to_owned),
                order: order.map(str::to_owned),
                error,
            }),
        }
    }

    /// Uses one of the requests that are left. Returns `false` if none is left.
    fn may_ask(&mut self) -> bool {
        let left = self.requests.checked_sub(1);
        self.report.limited |= left.is_none();
        self.requests = left.unwrap_or_default();
        left.is_some()
    }

    /// Whether the run begins at the first account and the first order. It then ignores where the
    /// last run stopped, because that run did not look back as far.
    fn begins_anew(&self) -> bool {
        self.since.as_ref().is_some_and(|since| !since.begun)
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Writes how far a part has come.
    ///
    /// Returns the stored note: another process may have written another one.
    async fn put_bookmark(
        &self,
        name: &str,
        before: Option<&str>,
        now: String,
    ) -> Result<Option<String>, InboxError> {
        let fulfillment = &self.checkout.inner.fulfillment;
        let put = fulfillment.put_bookmark(&self.scope, name, before, &now);
        match put.await? {
            true => Ok(Some(now)),
            false => fulfillment.bookmark(&self.scope, name).await,
        }
    }

    /// Runs the events that are due.
    async fn redrive(&mut self) -> Result<(), ReconcileError> {
        let mut busy = 0;
        while self.report.redriven < REDRIVEN && !self.is_stopped() {
            match self.checkout.run_due().await {
                Ok(true) => self.report.redriven += 1,
                Ok(false) => break,
                // Other events may be due behind it, but each busy one takes time.
                Err(InboxError::Busy) if busy < 3 => busy += 1,
                Err(InboxError::Busy) => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
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
}

/// Whether an error means that nothing answers now, so that the next call would wait as long.
fn is_no_answer(error: &ReconcileError) -> bool {
    matches!(
        error,
        ReconcileError::Inbox(_)
            | ReconcileError::Api(ApiError::Unavailable { .. } | ApiError::Timeout)
    )
}

/// The result of an event or a payment that Stripe reported.
struct Taken {
    is_new: bool,
    how: How,
}

enum How {
    /// It was handled before.
    Known,
    Run,
    Failed,
    Waits,
}

/// Stripe's answer about an order that may still be paid.
enum Look {
    FulfillmentStatus(Taken),
    Changed,
    Unknown,
    /// The inbox knows it already.
    Same,
}

/// Receives an event as the webhook route does, but never before it is due.
///
/// `settled` means that [`event_of`] made the event.
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
        // Either the payment is busy, and its event is stored, or the whole inbox is busy.
        Err(InboxError::Busy) if fulfillment.event(&scope, &id).await?.is_some() => How::Waits,
        Err(error) => return Err(error),
    };
    let is_new = known.is_none() && fulfillment.event(&scope, &id).await?.is_some();
    tracing::debug!(event = id, is_new, "taken in");
    Ok(Taken { is_new, how })
}

/// Asks for one order's PaymentIntent, and receives it if it is settled.
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
        let payment = Payment::of_session(session.clone()).connected_account(account);
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

/// Receives a settled payment, or writes the state of an order whose payment is not settled.
///
/// `open` means that the buyer may still pay.
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
        return Ok(Look::FulfillmentStatus(taken(checkout, event, true).await?));
    }
    let Some(state) = state_of(payment, open).filter(|state| {
        *state != row.state && matches!(row.state, IntentState::Open | IntentState::Processing)
    }) else {
        return Ok(Look::Same);
    };
    let version = row.version;
    let next = IntentRecord { state, ..row };
    // A row that changed meanwhile is newer than this look-up, so it stays.
    let put = checkout
        .inner
        .fulfillment
        .put_intent(&order, Some(version), next);
    Ok(match put.await? {
        true => Look::Changed,
        false => Look::Same,
    })
}

/// Whether the error concerns only this PaymentIntent, so that another one may succeed.
fn is_about_this_one(error: &ApiError, account: Option<&str>) -> bool {
    match error {
        ApiError::InvalidRequest { status: 404, .. } | ApiError::UnexpectedAnswer { .. } => true,
        // The account is not connected any more. For the merchant's own account, the key lacks the
        // permission.
        ApiError::Permission { .. } => account.is_some(),
        _ => false,
    }
}

/// Returns the state of an order whose PaymentIntent is not settled.
///
/// The reconciler watches a payment on its way for as long as it takes. It watches a payment that
/// waits for its buyer only for [`REACH`].
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

/// Returns the payments settings. A reconciler always has them, because they are checked first.
fn payments(checkout: &Checkout) -> Result<&Payments, ApiError> {
    checkout
        .inner
        .payments
        .as_ref()
        .ok_or(ApiError::Authentication { request_id: None })
}

fn now() -> u64 {
    seconds(SystemTime::now())
}

/// Seconds since 1970.
fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}

fn time(seconds: u64) -> SystemTime {
    UNIX_EPOCH
        .checked_add(Duration::from_secs(seconds))
        .unwrap_or(UNIX_EPOCH)
}
