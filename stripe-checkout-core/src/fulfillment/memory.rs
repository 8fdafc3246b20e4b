//! The inbox in memory: every promise that memory can keep.

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use tokio::sync::OwnedMutexGuard;

use super::inbox::{
    Dispatch, EventFilter, EventRecord, EventState, Inbox, IntentRecord, NewEvent, OrderKey,
    PaymentRecord, Scope, Settled, Stepped, Verdict,
};
use crate::error::InboxError;

/// An inbox in memory, for tests, for learning, and for applications whose handler needs no database.
///
/// It keeps every promise of [`Inbox`] but one: **a restart forgets everything**. An event that Stripe delivers again after a restart is fulfilled
/// again, so live keys are refused unless [`allow_live`](Self::allow_live) says that the handler itself can tell (by
/// [`Payment::idempotency_key`](crate::webhook::Payment::idempotency_key) or by its own order's state).
///
/// It is bounded: at [`capacity`](Self::capacity) entries of a kind the oldest that is dealt with goes, and a warning in the log says so; after
/// [`time_to_live`](Self::time_to_live) they go anyway. What is pending or needs somebody to look is never forgotten: if nothing else is left, new
/// events are refused, and Stripe keeps them.
///
/// Clones share what they hold.
#[derive(Clone)]
pub struct MemoryInbox {
    shared: Arc<Shared>,
    capacity: usize,
    time_to_live: Duration,
    max_attempts: u32,
    live: bool,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// One lock for each order that is being worked on (or payment, or event, where that is all we know).
    locks: Mutex<HashMap<LockKey, Arc<tokio::sync::Mutex<()>>>>,
}

#[derive(Clone, PartialEq, Eq, Hash)]
enum LockKey {
    Order(OrderKey),
    Payment(Scope, String),
    Event(Scope, String),
}

type Key = (Scope, String);

#[derive(Default)]
struct State {
    events: Bounded<Key, EventRecord>,
    payments: Bounded<Key, PaymentRecord>,
    intents: Bounded<OrderKey, IntentRecord>,
    orders: Bounded<Key, OrderKey>,
    /// The events that are pending, so that finding those of one payment does not mean reading them all.
    pending: HashSet<Key>,
}

/// A map that knows in which order its entries may go.
struct Bounded<K, V> {
    entries: HashMap<K, (V, u64)>,
    /// Entries that may go, oldest first. One that was touched since has a newer stamp, and is passed over.
    leaving: VecDeque<(K, u64, SystemTime)>,
    stamps: u64,
}

impl<K, V> Default for Bounded<K, V> {
    fn default() -> Self {
        Self {
            entries: HashMap::new(),
            leaving: VecDeque::new(),
            stamps: 0,
        }
    }
}

impl<K: Hash + Eq + Clone, V> Bounded<K, V> {
    fn get(&self, key: &K) -> Option<&V> {
        self.entries.get(key).map(|(value, _)| value)
    }

    /// Stores a value; `may_leave` says that it may be forgotten.
    fn put(&mut self, key: K, value: V, may_leave: bool, now: SystemTime) {
        self.stamps += 1;
        if may_leave {
            self.leaving.push_back((key.clone(), self.stamps, now));
        }
        self.entries.insert(key, (value, self.stamps));
        // Entries that are touched again and again must not make the queue grow beyond what it serves.
        if self.leaving.len() > 2 * self.entries.len() + 64 {
            let entries = &self.entries;
            self.leaving.retain(|(key, stamp, _)| {
                entries
                    .get(key)
                    .is_some_and(|(_, current)| current == stamp)
            });
        }
    }

    /// Makes room for one more: forgets what is too old, and the oldest where there is no room.
    ///
    /// Gives how many were forgotten for want of room, or `None` if there is no room to be made.
    fn make_room(&mut self, capacity: usize, before: Option<SystemTime>) -> Option<usize> {
        let mut forgotten = 0;
        while let Some((key, stamp, since)) = self.leaving.front() {
            let current = self.entries.get(key).is_some_and(|(_, now)| now == stamp);
            let old = before.is_some_and(|before| *since < before);
            let full = self.entries.len() >= capacity;
            if current && !old && !full {
                break;
            }
            if current {
                self.entries.remove(key);
                forgotten += usize::from(!old);
            }
            self.leaving.pop_front();
        }
        (self.entries.len() < capacity).then_some(forgotten)
    }
}

impl Default for MemoryInbox {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for MemoryInbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemoryInbox")
            .field("capacity", &self.capacity)
            .field("time_to_live", &self.time_to_live)
            .finish_non_exhaustive()
    }
}

impl MemoryInbox {
    /// An empty inbox with a capacity of 100,000 entries of a kind, a time to live of 35 days, and 20 attempts for each event.
    pub fn new() -> Self {
        Self {
            shared: Arc::default(),
            capacity: 100_000,
            time_to_live: Duration::from_secs(35 * 24 * 60 * 60),
            max_attempts: 20,
            live: false,
        }
    }

    /// How many events, payments and orders it holds, each.
    #[must_use]
    pub fn capacity(mut self, entries: usize) -> Self {
        self.capacity = entries.max(1);
        self
    }

    /// How long what is dealt with is remembered.
    #[must_use]
    pub fn time_to_live(mut self, time: Duration) -> Self {
        self.time_to_live = time;
        self
    }

    /// After how many failed attempts an event is a dead letter.
    #[must_use]
    pub fn max_attempts(mut self, attempts: u32) -> Self {
        self.max_attempts = attempts.max(1);
        self
    }

    /// Allows live keys: you know that a restart forgets everything, and your handler can tell what it has done.
    #[must_use]
    pub fn allow_live(mut self) -> Self {
        self.live = true;
        self
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No code that can panic runs under this lock, so what it protects is whole.
        self.shared
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn room<K: Hash + Eq + Clone, V>(
        &self,
        what: &'static str,
        map: &mut Bounded<K, V>,
        now: SystemTime,
    ) -> Result<(), InboxError> {
        match map.make_room(self.capacity, now.checked_sub(self.time_to_live)) {
            Some(0) => Ok(()),
            Some(forgotten) => {
                tracing::warn!(
                    what,
                    forgotten,
                    capacity = self.capacity,
                    "the memory inbox forgets its oldest: a repeat of these would count as new"
                );
                Ok(())
            }
            None => Err(InboxError::Full {
                capacity: self.capacity,
            }),
        }
    }

    /// Waits for whoever works on the same order, payment or event.
    async fn lock(&self, key: LockKey, patience: Duration) -> Result<Locked, InboxError> {
        let lock = {
            let mut locks = self
                .shared
                .locks
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            Arc::clone(locks.entry(key.clone()).or_default())
        };
        let guard = tokio::time::timeout(patience, lock.lock_owned()).await;
        let locked = Locked {
            guard: guard.ok(),
            key,
            shared: Arc::clone(&self.shared),
        };
        if locked.guard.is_some() {
            Ok(locked)
        } else {
            Err(InboxError::Busy)
        }
    }
}

/// Holds the lock, and takes it out of the table when nobody else wants it.
struct Locked {
    guard: Option<OwnedMutexGuard<()>>,
    key: LockKey,
    shared: Arc<Shared>,
}

impl Drop for Locked {
    fn drop(&mut self) {
        let mut locks = self
            .shared
            .locks
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        self.guard = None;
        // Only the table itself holds it: whoever comes next may as well make a new one.
        if locks
            .get(&self.key)
            .is_some_and(|lock| Arc::strong_count(lock) == 1)
        {
            locks.remove(&self.key);
        }
    }
}

impl State {
    fn lock_key(event: &EventRecord) -> LockKey {
        match (&event.order, &event.payment) {
            (Some(order), _) => LockKey::Order(order.clone()),
            (None, Some(payment)) => LockKey::Payment(event.scope.clone(), payment.clone()),
            (None, None) => LockKey::Event(event.scope.clone(), event.id.clone()),
        }
    }

    fn payment(&self, event: &EventRecord) -> PaymentRecord {
        let key = event
            .payment
            .clone()
            .map(|payment| (event.scope.clone(), payment));
        key.and_then(|key| self.payments.get(&key).cloned())
            .unwrap_or_default()
    }

    fn put_payment(&mut self, scope: &Scope, id: &str, record: PaymentRecord, now: SystemTime) {
        let may_leave = record.success != Settled::Pending;
        self.payments
            .put((scope.clone(), id.to_owned()), record, may_leave, now);
    }

    fn put_payment_of(&mut self, event: &EventRecord, record: PaymentRecord, now: SystemTime) {
        if let Some(payment) = &event.payment {
            self.put_payment(&event.scope, payment, record, now);
        }
    }

    fn put_event(&mut self, mut event: EventRecord, now: SystemTime) {
        let over = matches!(
            event.state,
            EventState::Done | EventState::Superseded | EventState::Dropped
        );
        if over {
            event.body = Bytes::new();
        }
        let key = (event.scope.clone(), event.id.clone());
        if event.state == EventState::Pending {
            self.pending.insert(key.clone());
        } else {
            self.pending.remove(&key);
        }
        self.events.put(key, event, over, now);
    }

    fn put_intent(&mut self, order: &OrderKey, record: IntentRecord, now: SystemTime) {
        if let Some(payment) = &record.payment {
            self.orders.put(
                (order.scope.clone(), payment.clone()),
                order.clone(),
                true,
                now,
            );
        }
        if let Some(payment) = &record.paid_by {
            self.orders.put(
                (order.scope.clone(), payment.clone()),
                order.clone(),
                true,
                now,
            );
        }
        // An order that nobody pays may go too: a payment that comes after all is known by its metadata.
        self.intents.put(order.clone(), record, true, now);
    }
}

impl Inbox for MemoryInbox {
    type Connection = ();

    fn survives_restart(&self) -> bool {
        self.live
    }

    async fn intent(&self, order: &OrderKey) -> Result<Option<IntentRecord>, InboxError> {
        Ok(self.state().intents.get(order).cloned())
    }

    async fn put_intent(
        &self,
        order: &OrderKey,
        expected: Option<u64>,
        mut record: IntentRecord,
    ) -> Result<bool, InboxError> {
        let now = SystemTime::now();
        let mut state = self.state();
        let version = state.intents.get(order).map(|row| row.version);
        if version != expected {
            return Ok(false);
        }
        if version.is_none() {
            self.room("orders", &mut state.intents, now)?;
            self.room("payments of orders", &mut state.orders, now)?;
        }
        record.version = expected.map_or(1, |version| version + 1);
        state.put_intent(order, record, now);
        Ok(true)
    }

    async fn intent_of_payment(
        &self,
        scope: &Scope,
        payment: &str,
    ) -> Result<Option<(OrderKey, IntentRecord)>, InboxError> {
        let state = self.state();
        let order = state.orders.get(&(scope.clone(), payment.to_owned()));
        Ok(order.and_then(|order| Some((order.clone(), state.intents.get(order)?.clone()))))
    }

    async fn receive(&self, event: NewEvent) -> Result<EventRecord, InboxError> {
        let now = event.received;
        let mut state = self.state();
        if let Some(known) = state.events.get(&(event.scope.clone(), event.id.clone())) {
            return Ok(known.clone());
        }
        self.room("events", &mut state.events, now)?;
        self.room("payments", &mut state.payments, now)?;
        if let Some(payment) = &event.payment {
            let key = (event.scope.clone(), payment.clone());
            let before = state.payments.get(&key).cloned().unwrap_or_default();
            let mut after = before.clone();
            after.note_event(&event);
            if after != before {
                state.put_payment(&event.scope, payment, after, now);
            }
        }
        let record = EventRecord {
            scope: event.scope,
            id: event.id,
            event_type: event.event_type,
            payment: event.payment,
            order: event.order,
            ours: event.ours,
            settles: event.settles,
            body: event.body,
            received: event.received,
            state: EventState::Pending,
            attempts: 0,
            last_error: None,
        };
        state.put_event(record.clone(), now);
        Ok(record)
    }

    async fn step(
        &self,
        scope: &Scope,
        event: &str,
        patience: Duration,
        dispatch: &dyn Dispatch<()>,
    ) -> Result<Stepped, InboxError> {
        let id = (scope.clone(), event.to_owned());
        let find = || {
            self.state()
                .events
                .get(&id)
                .cloned()
                .ok_or(InboxError::UnknownEvent)
        };
        let before = find()?;
        if before.state != EventState::Pending {
            return Ok(Stepped::Already(before.state));
        }
        let _locked = self.lock(State::lock_key(&before), patience).await?;
        // Only what is read under the lock counts: whoever held it before may have dealt with this very event.
        let mut record = find()?;
        if record.state != EventState::Pending {
            return Ok(Stepped::Already(record.state));
        }
        let (payment, intent) = {
            let state = self.state();
            let intent = record
                .order
                .as_ref()
                .and_then(|order| state.intents.get(order).cloned());
            (state.payment(&record), intent)
        };
        let verdict = dispatch
            .dispatch(&record, &payment, intent.as_ref(), &mut ())
            .await;

        let now = SystemTime::now();
        let mut state = self.state();
        // An operator may have dropped the event meanwhile; what the handler did stands all the same.
        let stepped = match verdict {
            Verdict::Waiting => return Ok(Stepped::Waiting),
            Verdict::Done {
                payment: after,
                intent: row,
            } => {
                state.settle(&record, after, now);
                if let (Some(order), Some(after)) = (&record.order, row) {
                    state.put_decided(order, intent.as_ref(), after, now);
                }
                record.state = EventState::Done;
                record.attempts += 1;
                Stepped::Now(EventState::Done)
            }
            Verdict::Superseded => {
                record.state = EventState::Superseded;
                Stepped::Now(EventState::Superseded)
            }
            Verdict::Mismatch {
                payment: after,
                reason,
            } => {
                state.settle(&record, after, now);
                record.state = EventState::Mismatch;
                record.attempts += 1;
                record.last_error = Some(reason);
                Stepped::Now(EventState::Mismatch)
            }
            Verdict::Failed { error } => {
                record.attempts += 1;
                record.last_error = Some(error);
                if record.attempts < self.max_attempts {
                    Stepped::Failed
                } else {
                    tracing::error!(event = %record.id, attempts = record.attempts, "dead letter: every attempt failed");
                    record.state = EventState::Dead;
                    state.give_up(&record, Settled::Dead, now);
                    Stepped::Now(EventState::Dead)
                }
            }
        };
        state.put_event(record, now);
        Ok(stepped)
    }

    async fn events(&self, filter: &EventFilter) -> Result<Vec<EventRecord>, InboxError> {
        let state = self.state();
        let fits = |event: &&EventRecord| {
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
        found.sort_by(|a, b| b.received.cmp(&a.received).then_with(|| b.id.cmp(&a.id)));
        Ok(found.into_iter().take(filter.limit).cloned().collect())
    }

    async fn replay(&self, scope: &Scope, event: &str) -> Result<(), InboxError> {
        let now = SystemTime::now();
        let mut state = self.state();
        let id = (scope.clone(), event.to_owned());
        let mut record = state
            .events
            .get(&id)
            .cloned()
            .ok_or(InboxError::UnknownEvent)?;
        match record.state {
            EventState::Dead | EventState::Mismatch => {}
            other => {
                return Err(InboxError::WrongState {
                    state: other.as_str(),
                });
            }
        }
        record.state = EventState::Pending;
        record.attempts = 0;
        let mut payment = state.payment(&record);
        if record.settles && matches!(payment.success, Settled::Dead | Settled::Mismatch) {
            payment.success = Settled::Pending;
            state.put_payment_of(&record, payment, now);
        }
        state.put_event(record, now);
        Ok(())
    }

    async fn discard(&self, scope: &Scope, event: &str) -> Result<(), InboxError> {
        let id = (scope.clone(), event.to_owned());
        let find = || {
            self.state()
                .events
                .get(&id)
                .cloned()
                .ok_or(InboxError::UnknownEvent)
        };
        // Not while it is being worked on.
        let _locked = self
            .lock(State::lock_key(&find()?), Duration::from_secs(30))
            .await?;
        let mut record = find()?;
        match record.state {
            EventState::Pending | EventState::Dead | EventState::Mismatch => {}
            other => {
                return Err(InboxError::WrongState {
                    state: other.as_str(),
                });
            }
        }
        let now = SystemTime::now();
        let mut state = self.state();
        record.state = EventState::Dropped;
        state.give_up(&record, Settled::GivenUp, now);
        state.put_event(record, now);
        Ok(())
    }
}

impl State {
    /// Writes an order's row as it was decided. Meanwhile `put_intent` may have written another one, of another attempt perhaps: then only that the order is paid
    /// still counts.
    fn put_decided(
        &mut self,
        order: &OrderKey,
        before: Option<&IntentRecord>,
        after: IntentRecord,
        now: SystemTime,
    ) {
        let current = self.intents.get(order);
        let version = current.map_or(0, |row| row.version);
        let row = match current {
            Some(current) if Some(version) != before.map(|row| row.version) => {
                if after.paid_by.is_none() {
                    return;
                }
                IntentRecord {
                    state: after.state,
                    paid_by: after.paid_by,
                    ..current.clone()
                }
            }
            _ => after,
        };
        self.put_intent(
            order,
            IntentRecord {
                version: version + 1,
                ..row
            },
            now,
        );
    }

    /// Writes how the event left its payment, and keeps what was noted meanwhile.
    fn settle(&mut self, event: &EventRecord, after: PaymentRecord, now: SystemTime) {
        let noted = self.payment(event);
        let merged = PaymentRecord {
            refunds: noted.refunds,
            refunded_total: noted.refunded_total,
            disputed: noted.disputed,
            ..after
        };
        self.put_payment_of(event, merged, now);
    }

    fn give_up(&mut self, event: &EventRecord, how: Settled, now: SystemTime) {
        let mut payment = self.payment(event);
        if event.settles && payment.success != Settled::Fulfilled {
            payment.success = how;
            self.put_payment_of(event, payment, now);
        }
    }
}
