//! The worker: runs due events, in any number of processes.
//!
//! At each interval it asks each inbox which applications have due events. It issues a ticket for
//! each of these applications, and each ticket is one turn at one event. All tickets wait in one
//! queue. So an application with ten thousand events delays the others only by a few turns.

use std::collections::{HashMap, HashSet, VecDeque};
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};
use tracing::Instrument;

use super::state::Checkout;
use super::tenants::{Member, Tenants};
use super::wake::{Wake, wake};
use crate::error::InboxError;
use crate::fulfillment::Scope;

/// Retries failed events. If events are [`queued`](crate::CheckoutBuilder::queued), it runs all.
///
/// See [`Checkout::worker`].
#[derive(Debug)]
#[must_use = "a worker works while `run` is awaited"]
pub struct Worker {
    tenants: Tenants,
    /// Keeps the checkout alive if the worker serves only one.
    _one: Option<Checkout>,
    concurrency: usize,
    interval: Duration,
}

impl Checkout {
    /// Returns a worker for due events.
    ///
    /// It retries failed events after a pause: at first up to one second, later up to one hour. It
    /// runs all events if they are [`queued`](crate::CheckoutBuilder::queued). Any number of
    /// workers may run, in any number of processes on one database. For many checkouts on one
    /// inbox, use [`Tenants::worker`].
    ///
    /// ```no_run
    /// # async fn work(checkout: stripe_checkout_core::Checkout, stop: impl Future<Output = ()> + Send + 'static) {
    /// let worker = tokio::spawn(checkout.worker().run(stop));
    /// # }
    /// ```
    pub fn worker(&self) -> Worker {
        let tenants = Tenants::new();
        tenants.add(self);
        Worker {
            _one: Some(self.clone()),
            ..tenants.worker()
        }
    }

    /// Runs the event that has been due for the longest time, and returns whether one was due.
    ///
    /// This is one turn of a [`worker`](Self::worker).
    ///
    /// # Errors
    /// [`InboxError`]. Nothing is lost: the event is due again later.
    pub async fn run_due(&self) -> Result<bool, InboxError> {
        let checkout = self.clone();
        self.to_the_end(async move {
            let mut busy = None;
            for scope in checkout.scopes() {
                match checkout.inner.fulfillment.step_due(&scope).await {
                    Ok(false) => {}
                    // Work on one payment does not delay the other mode.
                    Err(InboxError::Busy) => busy = Some(InboxError::Busy),
                    ended => return ended,
                }
            }
            busy.map_or(Ok(false), Err)
        })
        .await
    }
}

impl Tenants {
    /// Returns one worker for all tenants, as [`Checkout::worker`] does for one.
    ///
    /// It also serves tenants that are added later. All tenants share its
    /// [`concurrency`](Worker::concurrency). They take turns: a tenant with many events does not
    /// delay the others.
    pub fn worker(&self) -> Worker {
        Worker {
            tenants: self.clone(),
            _one: None,
            concurrency: 4,
            interval: Duration::from_secs(1),
        }
    }
}

/// The bounds of a worker's interval.
const SHORTEST: Duration = Duration::from_millis(1);
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

impl Worker {
    /// Sets how many events it runs at the same time (default 4, at least 1).
    ///
    /// An inbox on a database uses at most half of its pool, even if you set more.
    pub fn concurrency(mut self, events: usize) -> Self {
        self.concurrency = events.max(1);
        self
    }

    /// Sets how often the worker checks for due events when nothing was due (default 1 s).
    ///
    /// The interval is at least 1 ms and at most one day.
    pub fn interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// Works until `stop` ends, and then finishes the events that are running.
    pub async fn run(self, stop: impl Future<Output = ()>) {
        let mut stop = pin!(stop);
        let mut running = Running::new();
        let mut tickets = Tickets::new(self.concurrency);
        // The inboxes that the worker is asking now.
        let mut asked = HashSet::new();
        // `interval` panics on a period of zero, and on a period that is too long.
        let mut looks = interval(self.interval.clamp(SHORTEST, LONGEST));
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            match wake(stop.as_mut(), &mut running, &mut looks).await {
                Wake::Stop => break,
                Wake::Look => ask(&self.tenants, &mut asked, &mut running),
                Wake::Ended(Ok(Ended::Looked(store, due))) => {
                    // Even while other events run: a handler that hangs delays only its own
                    // payment.
                    for member in members_with(&self.tenants, &store, due) {
                        tickets.add(&member);
                    }
                    asked.remove(&store);
                }
                Wake::Ended(Ok(Ended::Turn(member, ended))) => {
                    tickets.end(&member);
                    // If a turn found something, there may be more.
                    if found(&ended) {
                        tickets.add(&member);
                        tickets.add(&member);
                    }
                }
                Wake::Ended(Err(error)) => {
                    tracing::error!(
                        panicked = error.is_panic(),
                        "the worker lost a turn; it goes on"
                    );
                    // The lost turn may have been a look, and an inbox is not asked again while it
                    // is being asked.
                    asked.clear();
                }
            }
            while let Some((member, checkout)) = tickets.next() {
                let turn = async move { Ended::Turn(member, checkout.run_due().await) };
                running.spawn(turn.in_current_span());
            }
        }
        while running.join_next().await.is_some() {}
    }
}

type Running = JoinSet<Ended>;

/// The result of a task of the worker.
enum Ended {
    /// The worker asked the inbox of this name which applications have due events.
    Looked(String, Result<Vec<Scope>, InboxError>),
    Turn(Arc<Member>, Result<bool, InboxError>),
}

/// Turns that wait, in the order in which they run.
///
/// A tenant has at most as many tickets, waiting and running, as the worker runs turns at once.
struct Tickets {
    most: usize,
    running: usize,
    waiting: VecDeque<Arc<Member>>,
    /// How many tickets each tenant has.
    of: HashMap<u64, usize>,
}

impl Tickets {
    fn new(most: usize) -> Self {
        Self {
            most,
            running: 0,
            waiting: VecDeque::new(),
            of: HashMap::new(),
        }
    }

    fn add(&mut self, member: &Arc<Member>) {
        let tickets = self.of.entry(member.id).or_default();
        if *tickets < self.most {
            *tickets += 1;
            self.waiting.push_back(Arc::clone(member));
        }
    }

    /// Returns the next turn, if one may begin. A tenant that left has no more turns.
    fn next(&mut self) -> Option<(Arc<Member>, Checkout)> {
        while self.running < self.most {
            let member = self.waiting.pop_front()?;
            match member.checkout() {
                Some(checkout) => {
                    self.running += 1;
                    return Some((member, checkout));
                }
                None => self.give_back(member.id),
            }
        }
        None
    }

    fn end(&mut self, member: &Member) {
        self.running = self.running.saturating_sub(1);
        self.give_back(member.id);
    }

    fn give_back(&mut self, id: u64) {
        let left = self.of.get(&id).map_or(0, |tickets| tickets - 1);
        match left {
            0 => self.of.remove(&id),
            left => self.of.insert(id, left),
        };
    }
}

/// Asks each inbox which applications have due events, unless it is being asked.
fn ask(tenants: &Tenants, asked: &mut HashSet<String>, running: &mut Running) {
    for member in tenants.members() {
        if asked.contains(&member.store) {
            continue;
        }
        let Some(checkout) = member.checkout() else {
            continue;
        };
        let store = member.store.clone();
        asked.insert(store.clone());
        let look = async move {
            let fulfillment = Arc::clone(&checkout.inner.fulfillment);
            let due = checkout.to_the_end(async move { fulfillment.due_scopes().await });
            Ended::Looked(store, due.await)
        };
        running.spawn(look.in_current_span());
    }
}

/// Returns the tenants on this inbox that have due events.
fn members_with(
    tenants: &Tenants,
    store: &str,
    due: Result<Vec<Scope>, InboxError>,
) -> Vec<Arc<Member>> {
    let due: HashSet<Scope> = match due {
        Ok(due) => due.into_iter().collect(),
        Err(error) => {
            tracing::error!(error = %crate::error::Chain(&error), "the worker could not ask what is due; it goes on");
            return Vec::new();
        }
    };
    if due.is_empty() {
        return Vec::new();
    }
    let mut members = tenants.members();
    members.retain(|member| {
        member.store == store && member.scopes.iter().any(|scope| due.contains(scope))
    });
    members
}

fn found(ended: &Result<bool, InboxError>) -> bool {
    match ended {
        Ok(found) => *found,
        // Other work holds this payment, but the next event may belong to another payment.
        Err(InboxError::Busy) => true,
        Err(error) => {
            tracing::error!(error = %crate::error::Chain(error), "the worker could not take an event; it goes on");
            false
        }
    }
}
