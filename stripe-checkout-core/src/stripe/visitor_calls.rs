//! The bound that all calls to Stripe caused by visitors share.
//!
//! Stripe counts the requests of an account, for each endpoint apart. A stranger who spends this
//! quota locks honest buyers out. So visitors' calls wait in one queue for a place. A client with
//! many calls waits behind a client with few of them.
//!
//! The counts hold the calls of the last ten seconds, the calls under way and the queue, and
//! nothing else. The bound itself keeps all three small.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::quiet::Quiet;
use crate::telemetry;

/// How long a call waits for a place.
pub(super) const LONGEST_WAIT: Duration = Duration::from_secs(2);
/// The time over which the rate is counted.
const WINDOW: Duration = Duration::from_secs(1);
/// When a refused visitor may ask again.
pub(super) const RETRY_AFTER: Duration = WINDOW;
/// One client gets the bound divided by this, and so do guesses.
const SHARE: usize = 4;
/// All clients of one site together get the bound divided by this.
const SITE_SHARE: usize = 2;
/// The queue holds as many calls for each place.
const QUEUE_PER_PLACE: usize = 16;
/// The queue never holds more: each free place looks at all of it.
const LONGEST_QUEUE: usize = 256;
/// A client with fewer calls to an endpoint within this time goes first.
const HISTORY: Duration = Duration::from_secs(10);

/// How many calls visitors may cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CallLimits {
    /// Under way at the same time, at all of Stripe's endpoints together.
    pub(crate) at_once: usize,
    /// Sent within any second, to each of Stripe's endpoints.
    pub(crate) per_second: usize,
}

impl Default for CallLimits {
    fn default() -> Self {
        Self {
            at_once: 16,
            per_second: 20,
        }
    }
}

impl CallLimits {
    /// Stripe takes no more a second from one account: <https://docs.stripe.com/rate-limits>.
    const MOST: u32 = 100;
    /// Stripe takes 20 searches a second, and not 25.
    const SEARCHES: usize = 15;

    pub(crate) fn bounded(limit: u32) -> usize {
        usize::try_from(limit.clamp(1, Self::MOST)).unwrap_or(1)
    }

    fn of(self, endpoint: &str) -> Self {
        let per_second = match endpoint.rsplit('/').next() {
            Some("search") => self.per_second.min(Self::SEARCHES),
            _ => self.per_second,
        };
        Self { per_second, ..self }
    }

    fn share(self, share: usize) -> Self {
        Self {
            at_once: (self.at_once / share).max(1),
            per_second: (self.per_second / share).max(1),
        }
    }
}

/// What tells one visitor from another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Client {
    pub(crate) name: String,
    /// A larger network that this client may have to itself, or the name again.
    pub(crate) site: String,
}

/// A client in the counts: a number, so that a long name takes no room and no log shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct ClientKey(u64);

/// The shared bound of one checkout.
pub(crate) struct VisitorCalls {
    limits: CallLimits,
    keys: RandomState,
    state: Mutex<State>,
    quiet: Quiet,
}

/// On whose behalf a call is sent.
#[derive(Clone)]
pub(crate) struct Caller {
    calls: Arc<VisitorCalls>,
    who: Who,
    /// Whether an answer of the last second is good enough.
    remembers: bool,
    /// Closes when the visitor is gone. Without it the call does not end with its visitor.
    left: Option<watch::Receiver<()>>,
}

/// Why a call was not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unsent {
    AtBound,
    VisitorLeft,
}

/// A place among the calls under way, as long as it lives.
pub(super) struct Place {
    calls: Arc<VisitorCalls>,
    who: Who,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Who {
    /// Without one, visitors cannot be told apart. They may take the whole bound.
    client: Option<ClientKey>,
    site: Option<ClientKey>,
    /// Whether a stranger may have made up the id that is looked up.
    guess: bool,
}

#[derive(Default)]
struct State {
    next: u64,
    under_way: Vec<Who>,
    /// The calls of the last ten seconds by Stripe's endpoint, the oldest first.
    sent: HashMap<Arc<str>, VecDeque<(Instant, Who)>>,
    /// In the order of arrival.
    waiting: Vec<Waiting>,
    timer: Option<(Instant, AbortHandle)>,
}

struct Waiting {
    number: u64,
    who: Who,
    endpoint: Arc<str>,
    grant: oneshot::Sender<Place>,
}

/// Leaves the queue when it is dropped.
struct Ticket {
    calls: Arc<VisitorCalls>,
    number: u64,
}

impl VisitorCalls {
    pub(crate) fn new(limits: CallLimits) -> Self {
        Self {
            limits,
            keys: RandomState::new(),
            state: Mutex::default(),
            quiet: Quiet::default(),
        }
    }

    /// A visitor. `left` closes when the visitor is gone.
    pub(crate) fn caller(
        self: &Arc<Self>,
        client: Option<&Client>,
        left: Option<watch::Receiver<()>>,
    ) -> Caller {
        let key = |name: &String| ClientKey(self.keys.hash_one(name));
        Caller {
            calls: Arc::clone(self),
            who: Who {
                client: client.map(|client| key(&client.name)),
                site: client.map(|client| key(&client.site)),
                guess: false,
            },
            remembers: false,
            left,
        }
    }

    fn enqueue(
        self: &Arc<Self>,
        who: Who,
        endpoint: &str,
    ) -> Option<(Ticket, oneshot::Receiver<Place>)> {
        let (grant, granted) = oneshot::channel();
        let mut state = self.lock();
        let evicted = state.make_room(who, self.limits)?;
        let number = state.next;
        state.next = state.next.wrapping_add(1);
        state.waiting.push(Waiting {
            number,
            who,
            endpoint: endpoint.into(),
            grant,
        });
        drop(state);
        // Its call ends as soon as this is dropped.
        drop(evicted);
        let calls = Arc::clone(self);
        self.admit();
        Some((Ticket { calls, number }, granted))
    }

    /// Gives free places to those whose turn it is.
    fn admit(self: &Arc<Self>) {
        let mut granted = Vec::new();
        {
            let mut state = self.lock();
            let now = Instant::now();
            state.forget(now);
            while let Some(next) = state.next_in_turn(self.limits, now) {
                state.under_way.push(next.who);
                let sent = state.sent.entry(next.endpoint).or_default();
                sent.push_back((now, next.who));
                let calls = Arc::clone(self);
                granted.push((
                    next.grant,
                    Place {
                        calls,
                        who: next.who,
                    },
                ));
            }
            self.wake(&mut state, now);
        }
        for (grant, place) in granted {
            // If its caller is gone, the place is free again as it is dropped.
            let _ = grant.send(place);
        }
    }

    /// Looks again when the first of the counted calls is a second old.
    fn wake(self: &Arc<Self>, state: &mut State, now: Instant) {
        let Some(at) = state.next_change(now) else {
            return;
        };
        if let Some((armed, timer)) = &state.timer {
            // One that is long over stood in a runtime that ended.
            if *armed <= at && *armed + WINDOW > now {
                return;
            }
            timer.abort();
        }
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        let calls = Arc::downgrade(self);
        let timer = runtime.spawn(async move {
            tokio::time::sleep_until(at).await;
            if let Some(calls) = calls.upgrade() {
                calls.lock().timer = None;
                calls.admit();
            }
        });
        state.timer = Some((at, timer.abort_handle()));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn refused(&self, client: Option<ClientKey>) {
        telemetry::visitor_call("refused");
        if let Some(refused) = self.quiet.say() {
            let hint = match client {
                Some(_) => "",
                None => ": this server does not know its visitors' addresses",
            };
            tracing::warn!(
                refused,
                "calls to Stripe that visitors cause are at their bound{hint}. Behind a proxy, name \
                 each visitor with client_key; see also max_visitor_calls"
            );
        }
    }
}

impl State {
    fn forget(&mut self, now: Instant) {
        self.sent.retain(|_, sent| {
            while sent.front().is_some_and(|(at, _)| *at + HISTORY <= now) {
                sent.pop_front();
            }
            !sent.is_empty()
        });
    }

    /// Takes the call out of the queue that may go next: of those with room, that of the site and
    /// the client with the fewest calls, then the first one. A stranger with many addresses of one
    /// site so has no newer turn with each of them.
    fn next_in_turn(&mut self, limits: CallLimits, now: Instant) -> Option<Waiting> {
        let free = self.waiting.iter().enumerate().filter(|(_, waiting)| {
            !waiting.grant.is_closed() && self.has_room(waiting, limits, now)
        });
        let (position, _) = free.min_by_key(|(_, waiting)| self.used(waiting))?;
        Some(self.waiting.remove(position))
    }

    fn has_room(&self, waiting: &Waiting, limits: CallLimits, now: Instant) -> bool {
        let fits = |limits: CallLimits, counts: &dyn Fn(&Who) -> bool| {
            let under_way = self.under_way.iter().filter(|who| counts(who));
            let sent = self.sent_to(&waiting.endpoint).rev();
            let sent = sent.take_while(|(at, _)| *at + WINDOW > now);
            let sent = sent.filter(|(_, who)| counts(who));
            under_way.count() < limits.at_once && sent.count() < limits.per_second
        };
        let limits = limits.of(&waiting.endpoint);
        let Who {
            client,
            site,
            guess,
        } = waiting.who;
        fits(limits, &|_| true)
            && (client.is_none() || fits(limits.share(SHARE), &|who| who.client == client))
            && (site.is_none() || fits(limits.share(SITE_SHARE), &|who| who.site == site))
            && (!guess || fits(limits.share(SHARE), &|who| who.guess))
    }

    /// How many calls of this site, and of this client, are under way or were sent to this endpoint
    /// lately.
    fn used(&self, waiting: &Waiting) -> (usize, usize) {
        let sent = self.sent_to(&waiting.endpoint).map(|(_, who)| who);
        let known = sent.chain(&self.under_way);
        known.fold((0, 0), |(site, client), who| {
            (
                site + usize::from(who.site == waiting.who.site),
                client + usize::from(who.client == waiting.who.client),
            )
        })
    }

    fn sent_to(&self, endpoint: &str) -> impl DoubleEndedIterator<Item = &(Instant, Who)> {
        self.sent.get(endpoint).into_iter().flatten()
    }

    /// When a call that waits may have its turn though no place becomes free.
    fn next_change(&self, now: Instant) -> Option<Instant> {
        let endpoints = self.waiting.iter().map(|waiting| &waiting.endpoint);
        let next = |endpoint| {
            let mut ends = self.sent_to(endpoint).map(|(at, _)| *at + WINDOW);
            ends.find(|end| *end > now)
        };
        endpoints.filter_map(|endpoint| next(endpoint)).min()
    }

    /// `None` if the queue has no room for this client. A full queue loses the newest call of the
    /// site with the most calls in it, if the newcomer's has fewer.
    fn make_room(&mut self, newcomer: Who, limits: CallLimits) -> Option<Option<Waiting>> {
        let most = limits.at_once.saturating_mul(QUEUE_PER_PLACE);
        let waiting = || self.waiting.iter().map(|waiting| waiting.who);
        let is_own = |who: &Who| who.client == newcomer.client;
        if newcomer.client.is_some() && waiting().filter(is_own).count() >= limits.at_once {
            return None;
        }
        if self.waiting.len() < most.min(LONGEST_QUEUE) {
            return Some(None);
        }
        let of = |site| waiting().filter(|who| who.site == site).count();
        let counted = waiting().map(|who| of(who.site)).enumerate();
        let (newest, count) = counted.max_by_key(|(_, count)| *count)?;
        (count > of(newcomer.site) + 1).then(|| Some(self.waiting.remove(newest)))
    }
}

impl Caller {
    /// A look-up of an id that a stranger may have made up.
    pub(super) fn guessing(mut self) -> Self {
        self.who.guess = true;
        self
    }

    /// A look-up that an answer of the last second also answers.
    pub(super) fn remembering(mut self) -> Self {
        self.remembers = true;
        self
    }

    pub(super) fn remembers(&self) -> bool {
        self.remembers
    }

    pub(super) fn client(&self) -> Option<ClientKey> {
        self.who.client
    }

    /// Waits until the visitor is gone.
    pub(super) async fn left(&self) {
        match self.left.clone() {
            Some(mut left) => while left.changed().await.is_ok() {},
            None => std::future::pending().await,
        }
    }

    /// Waits for a place among the calls to this endpoint of Stripe's. A call that was `sent`
    /// before does not end with its visitor.
    pub(super) async fn place(
        &self,
        endpoint: &str,
        until: Instant,
        sent: bool,
    ) -> Result<Place, Unsent> {
        let waited = async {
            // Gone already: it does not even join the queue.
            let gone = || {
                self.left
                    .as_ref()
                    .is_some_and(|left| left.has_changed().is_err())
            };
            if !sent && gone() {
                return Err(Unsent::VisitorLeft);
            }
            let (_ticket, granted) = self
                .calls
                .enqueue(self.who, endpoint)
                .ok_or(Unsent::AtBound)?;
            tokio::select! {
                biased;
                () = self.left(), if !sent => Err(Unsent::VisitorLeft),
                place = granted => place.map_err(|_| Unsent::AtBound),
                () = tokio::time::sleep_until(until) => Err(Unsent::AtBound),
            }
        };
        let waited = waited.await;
        match waited {
            Ok(_) => telemetry::visitor_call("sent"),
            Err(Unsent::AtBound) => self.calls.refused(self.who.client),
            Err(Unsent::VisitorLeft) => telemetry::visitor_call("left"),
        }
        waited
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.calls.lock();
        let own = state.under_way.iter().position(|who| *who == self.who);
        own.map(|own| state.under_way.swap_remove(own));
        drop(state);
        self.calls.admit();
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut state = self.calls.lock();
        let own = state
            .waiting
            .iter()
            .position(|waiting| waiting.number == self.number);
        let own = own.map(|own| state.waiting.remove(own));
        drop(state);
        // With it goes the sender of its place.
        drop(own);
    }
}

/// Stripe's endpoint of a path, as Stripe counts requests: all ids are alike.
pub(super) fn endpoint(method: &str, path: &str) -> String {
    match object_id(path) {
        Some(id) => format!("{method} {}", path.replacen(id, "{id}", 1)),
        None => format!("{method} {path}"),
    }
}

/// The id of the object that a path is about.
pub(super) fn object_id(path: &str) -> Option<&str> {
    let mut segments = path.trim_start_matches('/').split('/');
    if segments.next() == Some("checkout") {
        segments.next();
    }
    segments.next().filter(|segment| *segment != "search")
}

#[cfg(test)]
mod tests;
