//! The inbox in memory: every promise that memory can keep.

mod bounded;
mod locks;
mod rows;
mod session;
mod store;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::{Duration, SystemTime};

use self::locks::LockKey;
use self::session::MemorySession;
use self::store::Store;
use super::inbox::{Inbox, Key, Limits, Row, Swap};
use super::merge;
use super::records::{
    EventFilter, EventRecord, EventState, FulfillmentStatus, IntentRecord, IntentState, OrderKey,
    REFUNDED_RECENTLY, Scope, Stats, Stored,
};
use crate::error::InboxError;

/// How long a write waits for running work on the same order.
const PATIENCE: Duration = Duration::from_secs(8);

/// An inbox in memory, for tests and for learning.
///
/// It keeps every promise of [`Inbox`] but one: **a restart forgets everything**, and a second
/// process knows nothing of the first. So it refuses live keys.
///
/// # Live money
/// Live money needs an inbox that does not forget: `SqliteInbox` or `PostgresInbox`. If your orders
/// are in another kind of database, put the inbox beside your own store. Use a SQLite file if all
/// processes run on one machine, else a small PostgreSQL for all of them. Then also write a unique
/// key **on the order** in the transaction in which your handler writes, because the two stores do
/// not commit together.
///
/// No check of the handler alone replaces the inbox:
/// - A unique key on [`Payment::idempotency_key`](crate::webhook::Payment::idempotency_key) is a
///   key per payment. Two PaymentIntents of one order, across a restart or in two processes, have
///   two keys: both ship.
/// - The order's own state does not know that a payment was refunded or disputed. After a restart
///   the success of a refunded payment ships, if it is delivered again.
///
/// The inbox is bounded. At [`capacity`](Self::capacity) entries of a kind, it deletes the oldest
/// finished entries, and logs a warning. After [`time_to_live`](Self::time_to_live) it deletes
/// finished entries in any case. It never deletes entries that are pending or that an operator must
/// look at. If no other entries are left, it refuses new events, and Stripe keeps them.
///
/// Clones share their content.
#[derive(Clone)]
pub struct MemoryInbox {
    store: Store,
    live: bool,
}

impl Default for MemoryInbox {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for MemoryInbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemoryInbox")
            .field("limits", &self.store.state().limits)
            .finish_non_exhaustive()
    }
}

impl MemoryInbox {
    /// Creates an empty inbox with a capacity of 100,000 entries of a kind and a time to live of 35
    /// days.
    pub fn new() -> Self {
        Self {
            store: Store::default(),
            live: false,
        }
    }

    /// Sets how many events, payments and orders it holds, each.
    #[must_use]
    pub fn capacity(self, entries: usize) -> Self {
        self.store.state().limits.capacity = entries.max(1);
        self
    }

    /// Sets how long finished entries are kept.
    #[must_use]
    pub fn time_to_live(self, time: Duration) -> Self {
        self.store.state().limits.time_to_live = time;
        self
    }

    /// Allows live keys, for applications that ship nothing: a monitor, a ledger that records each
    /// event.
    ///
    /// # Warning
    /// After a restart, and in every second process, orders are shipped twice, and refunded
    /// payments are shipped. A unique key or the order's state in your own store does not prevent
    /// that: see [Live money](Self#live-money).
    #[must_use]
    pub fn allow_live(mut self) -> Self {
        self.live = true;
        self
    }
}

#[cfg(not(feature = "unstable-inbox"))]
impl super::inbox::sealed::Sealed for MemoryInbox {}

impl Inbox for MemoryInbox {
    type Connection = ();
    type Session = MemorySession;

    fn limits(&self) -> Limits {
        Limits {
            survives_restart: false,
            accepts_live: self.live,
            ..Limits::DURABLE
        }
    }

    fn identity(&self) -> String {
        self.store.identity()
    }

    fn session(&self) -> MemorySession {
        MemorySession::new(self.store.clone())
    }

    async fn load(&self, key: Key<'_>) -> Result<Option<Row>, InboxError> {
        let state = self.store.state();
        Ok(match key {
            Key::Order(order) => state.intent(order).cloned().map(Row::Order),
            Key::OrderOf(scope, payment) => state
                .order_of(scope, payment)
                .map(|(order, row)| Row::OrderOf(order.clone(), row.clone())),
            Key::Payment(scope, id) => state
                .payments
                .get(&(scope.clone(), id.to_owned()))
                .cloned()
                .map(Row::Payment),
            Key::Event(scope, id) => state
                .events
                .get(&(scope.clone(), id.to_owned()))
                .map(|stored| Row::Event(stored.record.clone())),
            Key::Operation(key) => state.operations.get(key).cloned().map(Row::Operation),
            Key::Bookmark(scope, name) => state
                .bookmarks
                .get(&(scope.clone(), name.to_owned()))
                .cloned()
                .map(Row::Bookmark),
        })
    }

    async fn swap(&self, swap: Swap<'_>) -> Result<bool, InboxError> {
        let now = SystemTime::now();
        let next = |expected: Option<u64>| expected.map_or(1, |version| version + 1);
        match swap {
            Swap::Order(order, expected, mut record) => {
                let _locked = self
                    .store
                    .locks
                    .take([LockKey::Order(order.clone())], PATIENCE)
                    .await?;
                let mut state = self.store.state();
                if state.intent(order).map(|row| row.version) != expected {
                    return Ok(false);
                }
                record.version = next(expected);
                state.put_intent(order, record, now);
            }
            Swap::Operation(key, expected, mut record) => {
                let mut state = self.store.state();
                if state.operations.get(key).map(|row| row.version) != expected {
                    return Ok(false);
                }
                record.version = next(expected);
                let limits = state.limits;
                // The caller of a forgotten operation looks at Stripe first, as after a restart.
                state.operations.put(key.clone(), record, true, now, limits);
            }
            Swap::Bookmark(scope, name, expected, value) => {
                let key = (scope.clone(), name.to_owned());
                let mut state = self.store.state();
                if state.bookmarks.get(&key).map(String::as_str) != expected {
                    return Ok(false);
                }
                state.bookmarks.insert(key, value.to_owned());
            }
        }
        Ok(true)
    }

    async fn events(&self, filter: &EventFilter) -> Result<Vec<EventRecord>, InboxError> {
        let state = self.store.state();
        let fits = |stored: &&Stored| {
            let event = &stored.record;
            filter
                .scope
                .as_ref()
                .is_none_or(|scope| *scope == event.scope)
                && filter.state.is_none_or(|state| state == event.state)
                && (filter.payment.is_none() || filter.payment == event.payment)
        };
        let mut found: Vec<_> = if filter.state == Some(EventState::Pending) {
            state
                .pending
                .iter()
                .filter_map(|key| state.events.get(key))
                .filter(fits)
                .collect()
        } else {
            state
                .events
                .entries
                .values()
                .map(|(event, _)| event)
                .filter(fits)
                .collect()
        };
        found.sort_by(|a, b| {
            let (a, b) = (&a.record, &b.record);
            b.received.cmp(&a.received).then_with(|| b.id.cmp(&a.id))
        });
        let found = found.into_iter().take(filter.limit);
        Ok(found.map(|stored| stored.record.clone()).collect())
    }

    async fn open_intents(
        &self,
        scope: &Scope,
        after: Option<&OrderKey>,
        since: SystemTime,
        most: usize,
    ) -> Result<Vec<(OrderKey, IntentRecord)>, InboxError> {
        fn place(order: &OrderKey) -> (&str, &str) {
            (
                order.account.as_deref().unwrap_or_default(),
                &order.reference,
            )
        }
        let state = self.store.state();
        let rows = state.intents.entries.iter();
        let mut open: Vec<_> = rows
            .filter(|(order, (row, _))| {
                let wanted = match row.record.state {
                    IntentState::Processing => true,
                    IntentState::Creating | IntentState::Open => row.changed >= since,
                    IntentState::Paid | IntentState::Canceled => false,
                };
                wanted
                    && row.record.payment.is_some()
                    && order.scope == *scope
                    && after.is_none_or(|after| place(order) > place(after))
            })
            .map(|(order, (row, _))| (order, &row.record))
            .collect();
        open.sort_by(|(a, _), (b, _)| place(a).cmp(&place(b)));
        let open = open.into_iter().take(most);
        Ok(open
            .map(|(order, row)| (order.clone(), row.clone()))
            .collect())
    }

    async fn accounts(
        &self,
        scope: &Scope,
        after: Option<&str>,
        since: SystemTime,
        most: usize,
    ) -> Result<Vec<String>, InboxError> {
        let state = self.store.state();
        let rows = state.intents.entries.iter();
        let recent = rows.filter(|(order, (row, _))| order.scope == *scope && row.changed >= since);
        let accounts: BTreeSet<_> = recent
            .filter_map(|(order, _)| order.account.as_deref())
            .filter(|account| after.is_none_or(|after| *account > after))
            .collect();
        Ok(accounts.into_iter().take(most).map(str::to_owned).collect())
    }

    async fn scopes_with_bookmark(&self, name: &str) -> Result<Vec<Scope>, InboxError> {
        let state = self.store.state();
        let named = state.bookmarks.keys().filter(|(_, known)| known == name);
        Ok(named.map(|(scope, _)| scope.clone()).collect())
    }

    async fn due_scopes(&self) -> Result<Vec<Scope>, InboxError> {
        let state = self.store.state();
        let now = SystemTime::now();
        let pending = state.pending.iter();
        let due = pending.filter(|key| {
            let event = state.events.get(key);
            event.is_some_and(|stored| stored.record.due <= now)
        });
        let scopes: HashSet<_> = due.map(|(scope, _)| scope).collect();
        Ok(scopes.into_iter().cloned().collect())
    }

    async fn stats(&self, scope: &Scope) -> Result<Stats, InboxError> {
        let state = self.store.state();
        let now = SystemTime::now();
        let mut stats = Stats::default();
        let mut unfulfilled: HashMap<&str, SystemTime> = HashMap::new();
        let mut refunded = BTreeSet::new();
        let events = state
            .events
            .entries
            .values()
            .map(|(event, _)| &event.record);
        for event in events.filter(|event| event.scope == *scope) {
            *stats.events.entry(event.state).or_default() += 1;
            let pending = event.state == EventState::Pending;
            if pending {
                stats.due += u64::from(event.due <= now);
                let oldest = stats.oldest_pending.unwrap_or(event.received);
                stats.oldest_pending = Some(oldest.min(event.received));
            }
            if let Some(payment) = event.payment.as_deref()
                && event.settles
                && event.state == EventState::Done
                && state.payment(event).success == FulfillmentStatus::Refunded
                && now.duration_since(event.received).unwrap_or_default() < REFUNDED_RECENTLY
            {
                refunded.insert(payment);
            }
            let open = event.settles && (pending || event.state == EventState::Dead);
            if let Some(payment) = event.payment.as_deref().filter(|_| open)
                && merge::is_unfulfilled(state.payment(event).success)
            {
                let since = unfulfilled.entry(payment).or_insert(event.received);
                *since = (*since).min(event.received);
            }
        }
        stats.refunded_before_fulfillment = refunded.len() as u64;
        stats.unfulfilled = unfulfilled.len() as u64;
        stats.unfulfilled_since = unfulfilled.into_values().min();
        let payments = state.payments.entries.iter();
        let kept_twice = payments.filter(|((of, _), (payment, _))| {
            of == scope
                && payment.success == FulfillmentStatus::Duplicate
                && payment.returned() == 0
        });
        stats.duplicate_payments = kept_twice.count() as u64;
        Ok(stats)
    }

    async fn prune(
        &self,
        scope: &Scope,
        before: SystemTime,
        most: usize,
    ) -> Result<usize, InboxError> {
        let mut state = self.store.state();
        let events = state.events.entries.iter();
        let old = events.filter(|((of, _), (stored, _))| {
            let event = &stored.record;
            of == scope
                && event.received < before
                && matches!(event.state, EventState::Done | EventState::Superseded)
        });
        let old: Vec<_> = old.map(|(key, _)| key.clone()).take(most).collect();
        for key in &old {
            state.events.entries.remove(key);
        }
        Ok(old.len())
    }
}
