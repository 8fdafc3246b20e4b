//! The inbox in memory: every promise that memory can keep.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use tokio::sync::OwnedMutexGuard;

use super::inbox::{
    Dispatch, EventFilter, EventRecord, EventState, Inbox, IntentRecord, IntentState, NewEvent,
    OrderKey, PaymentRecord, Scope, Settled, Stats, Step, Stepped, Terms, Turn, Verdict,
};
use super::later::time_after;
use super::operation::{OperationKey, OperationRecord};
use super::{retry, settle};
use crate::error::InboxError;

/// An inbox in memory, for tests and for learning.
///
/// It keeps every promise of [`Inbox`] but one: **a restart forgets everything**, and a second
/// process knows nothing of the first. So live keys are refused.
///
/// # Live money
/// Live money needs an inbox that does not forget: `SqliteInbox` or `PostgresInbox`. If your orders
/// are in another kind of database, put the inbox beside your own store: a SQLite file if all
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
/// It is bounded: at [`capacity`](Self::capacity) entries of a kind the oldest that is dealt with goes, and a warning in the log says so; after
/// [`time_to_live`](Self::time_to_live) they go anyway. What is pending or needs somebody to look is never forgotten: if nothing else is left, new
/// events are refused, and Stripe keeps them.
///
/// Clones share what they hold.
#[derive(Clone)]
pub struct MemoryInbox {
    shared: Arc<Shared>,
    live: bool,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// One lock for each payment and each order that is being worked on.
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
    limits: Limits,
    events: Bounded<Key, EventRecord>,
    payments: Bounded<Key, PaymentRecord>,
    intents: Bounded<OrderKey, IntentRow>,
    orders: Bounded<Key, OrderKey>,
    operations: Bounded<OperationKey, OperationRecord>,
    bookmarks: HashMap<Key, String>,
    /// The events that are pending, so that finding those of one payment does not mean reading them all.
    pending: HashSet<Key>,
    /// Of these, those whose hook runs, or was cut off.
    running: HashSet<Key>,
}

/// An order's row, and when it was written.
struct IntentRow {
    record: IntentRecord,
    changed: SystemTime,
}

/// How much is remembered, and how long.
#[derive(Debug, Clone, Copy)]
struct Limits {
    capacity: usize,
    time_to_live: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            capacity: 100_000,
            time_to_live: Duration::from_secs(35 * 24 * 60 * 60),
        }
    }
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

    /// Stores a value, `may_leave` says whether it may be forgotten, and forgets what is too old or too much.
    fn put(&mut self, key: K, value: V, may_leave: bool, now: SystemTime, limits: Limits) {
        self.stamps += 1;
        if may_leave {
            self.leaving.push_back((key.clone(), self.stamps, now));
        }
        self.entries.insert(key, (value, self.stamps));
        self.forget(limits.capacity, now.checked_sub(limits.time_to_live));
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

    /// Forgets what left before this time, and the oldest that may leave until no more than so many are left.
    fn forget(&mut self, capacity: usize, before: Option<SystemTime>) {
        let mut forgotten = 0;
        while let Some((key, stamp, since)) = self.leaving.front() {
            let current = self.entries.get(key).is_some_and(|(_, now)| now == stamp);
            let old = before.is_some_and(|before| *since < before);
            if current && !old && self.entries.len() <= capacity {
                break;
            }
            if current {
                self.entries.remove(key);
                forgotten += usize::from(!old);
            }
            self.leaving.pop_front();
        }
        if forgotten > 0 {
            tracing::warn!(
                forgotten,
                capacity,
                "the memory inbox is full and forgets its oldest: a repeat of it would count as new"
            );
        }
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
            .field("limits", &self.state().limits)
            .finish_non_exhaustive()
    }
}

impl MemoryInbox {
    /// An empty inbox with a capacity of 100,000 entries of a kind and a time to live of 35 days.
    pub fn new() -> Self {
        Self {
            shared: Arc::default(),
            live: false,
        }
    }

    /// How many events, payments and orders it holds, each.
    #[must_use]
    pub fn capacity(self, entries: usize) -> Self {
        self.state().limits.capacity = entries.max(1);
        self
    }

    /// How long what is dealt with is remembered.
    #[must_use]
    pub fn time_to_live(self, time: Duration) -> Self {
        self.state().limits.time_to_live = time;
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

    fn state(&self) -> MutexGuard<'_, State> {
        // No code that can panic runs under this lock, so what it protects is whole.
        self.shared
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for whoever works on the same payment or order, all in all no longer than `patience`.
    ///
    /// The payment's lock always comes first, so that no two can wait for each other.
    async fn lock(
        &self,
        event: &EventRecord,
        patience: Duration,
    ) -> Result<Vec<Locked>, InboxError> {
        let first = match &event.payment {
            Some(payment) => LockKey::Payment(event.scope.clone(), payment.clone()),
            None => LockKey::Event(event.scope.clone(), event.id.clone()),
        };
        let second = event.order.clone().map(LockKey::Order);
        let locking = async {
            let mut locked = Vec::new();
            for key in [Some(first), second].into_iter().flatten() {
                locked.push(Locked::take(Arc::clone(&self.shared), key).await);
            }
            locked
        };
        tokio::time::timeout(patience, locking)
            .await
            .map_err(|_| InboxError::Busy)
    }

    /// The event that is due, if one is, leased at once, so that nobody else takes it while this one waits for the locks; and until when.
    fn lease(&self, scope: &Scope, terms: Terms) -> Option<(Key, SystemTime)> {
        let mut state = self.state();
        let now = SystemTime::now();
        let pending = state.pending.iter().filter(|(of, _)| of == scope);
        let due = pending.filter_map(|key| Some((state.events.get(key)?.due, key)));
        let (_, id) = due
            .filter(|(due, _)| *due <= now)
            .min_by_key(|(due, _)| *due)?;
        let id = id.clone();
        let mut record = state.events.get(&id)?.clone();
        let until = time_after(now, terms.lease);
        record.due = until;
        state.put_event(record, now);
        Some((id, until))
    }

    /// Ends a lease without a dispatch: the event is due again after this time, unless somebody else was at it.
    fn give_back(&self, id: &Key, leased_until: SystemTime, again: Duration) {
        let mut state = self.state();
        let record = state.events.get(id).cloned();
        let untouched = |record: &EventRecord| record.due == leased_until;
        if let Some(mut record) = record.filter(untouched) {
            let now = SystemTime::now();
            record.due = time_after(now, again);
            state.put_event(record, now);
        }
    }

    fn find(&self, id: &Key) -> Result<EventRecord, InboxError> {
        self.state()
            .events
            .get(id)
            .cloned()
            .ok_or(InboxError::UnknownEvent)
    }
}

/// Holds the lock, and takes it out of the table when nobody else wants it.
struct Locked {
    guard: Option<OwnedMutexGuard<()>>,
    key: LockKey,
    shared: Arc<Shared>,
}

impl Shared {
    fn locks(&self) -> MutexGuard<'_, HashMap<LockKey, Arc<tokio::sync::Mutex<()>>>> {
        self.locks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Locked {
    async fn take(shared: Arc<Shared>, key: LockKey) -> Self {
        let lock = Arc::clone(shared.locks().entry(key.clone()).or_default());
        // Made before it waits, so that one that is given up while it waits leaves nothing in the table either.
        let mut locked = Self {
            guard: None,
            key,
            shared,
        };
        locked.guard = Some(lock.lock_owned().await);
        locked
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        let mut locks = self.shared.locks();
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
        let key = (scope.clone(), id.to_owned());
        self.payments.put(key, record, may_leave, now, self.limits);
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
            self.running.remove(&key);
        }
        self.events.put(key, event, over, now, self.limits);
    }

    fn intent(&self, order: &OrderKey) -> Option<&IntentRecord> {
        self.intents.get(order).map(|row| &row.record)
    }

    fn put_intent(&mut self, order: &OrderKey, record: IntentRecord, now: SystemTime) {
        for payment in [&record.payment, &record.paid_by].into_iter().flatten() {
            let key = (order.scope.clone(), payment.clone());
            self.orders.put(key, order.clone(), true, now, self.limits);
        }
        // An order that nobody pays may go too: a payment that comes after all is known by its metadata.
        let row = IntentRow {
            record,
            changed: now,
        };
        self.intents.put(order.clone(), row, true, now, self.limits);
    }
}

impl Inbox for MemoryInbox {
    type Connection = ();

    fn survives_restart(&self) -> bool {
        false
    }

    fn accepts_live(&self) -> bool {
        self.live
    }

    async fn intent(&self, order: &OrderKey) -> Result<Option<IntentRecord>, InboxError> {
        Ok(self.state().intent(order).cloned())
    }

    async fn put_intent(
        &self,
        order: &OrderKey,
        expected: Option<u64>,
        mut record: IntentRecord,
    ) -> Result<bool, InboxError> {
        let now = SystemTime::now();
        let mut state = self.state();
        let version = state.intent(order).map(|row| row.version);
        if version != expected {
            return Ok(false);
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
        Ok(order.and_then(|order| Some((order.clone(), state.intent(order)?.clone()))))
    }

    async fn payment(
        &self,
        scope: &Scope,
        payment: &str,
    ) -> Result<Option<PaymentRecord>, InboxError> {
        Ok(self
            .state()
            .payments
            .get(&(scope.clone(), payment.to_owned()))
            .cloned())
    }

    async fn event(&self, scope: &Scope, event: &str) -> Result<Option<EventRecord>, InboxError> {
        Ok(self
            .state()
            .events
            .get(&(scope.clone(), event.to_owned()))
            .cloned())
    }

    async fn receive(&self, event: NewEvent) -> Result<EventRecord, InboxError> {
        let now = event.received;
        let mut state = self.state();
        if let Some(known) = state.events.get(&(event.scope.clone(), event.id.clone())) {
            return Ok(known.clone());
        }
        let limits = state.limits;
        state
            .events
            .forget(limits.capacity - 1, now.checked_sub(limits.time_to_live));
        if state.events.entries.len() >= limits.capacity {
            return Err(InboxError::Full {
                capacity: limits.capacity,
            });
        }
        if let Some(payment) = &event.payment {
            let key = (event.scope.clone(), payment.clone());
            let before = state.payments.get(&key).cloned().unwrap_or_default();
            let mut after = before.clone();
            after.note_event(&event);
            if after != before {
                state.put_payment(&event.scope, payment, after, now);
            }
            if let Some(order) = &event.order {
                let limits = state.limits;
                state.orders.put(key, order.clone(), true, now, limits);
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
            due: now,
            last_error: None,
        };
        state.put_event(record.clone(), now);
        Ok(record)
    }

    async fn step(
        &self,
        scope: &Scope,
        turn: Turn<'_>,
        terms: Terms,
        dispatch: &dyn Dispatch<()>,
    ) -> Result<Option<Step>, InboxError> {
        let (id, leased) = match turn {
            Turn::Now(id) | Turn::IfDue(id) => ((scope.clone(), id.to_owned()), None),
            Turn::Due => match self.lease(scope, terms) {
                Some((id, leased)) => (id, Some(leased)),
                None => return Ok(None),
            },
        };
        let before = self.find(&id)?;
        if before.state != EventState::Pending {
            let state = before.state;
            return Ok(Some(Step::new(before, Stepped::Already(state))));
        }
        // What is counted already if nobody else counts until it is this one's turn.
        let counted = before.attempts + u32::from(!self.state().running.contains(&id));
        let later =
            |record: &EventRecord| matches!(turn, Turn::IfDue(_)) && record.due > SystemTime::now();
        if later(&before) {
            return Ok(None);
        }
        let patience = match leased {
            // Others are due too.
            Some(_) => terms.patience.min(retry::PATIENCE_WHEN_DUE),
            None => terms.patience,
        };
        let _locked = match self.lock(&before, patience).await {
            Ok(locked) => locked,
            Err(busy) => {
                if let Some(until) = leased {
                    self.give_back(&id, until, retry::after_no_attempt(&busy));
                }
                return Err(busy);
            }
        };
        // Only what is read under the locks counts: whoever held them before may have dealt with this very event.
        let mut record = self.find(&id)?;
        if record.state != EventState::Pending {
            let state = record.state;
            return Ok(Some(Step::new(record, Stepped::Already(state))));
        }
        if later(&record) {
            return Ok(None);
        }
        let running = self.state().running.contains(&id);
        if matches!(turn, Turn::Now(_)) && !running && record.attempts >= counted {
            // It ran in other hands while this one waited, and failed. Fifty deliveries at once are one attempt, not fifty.
            return Ok(Some(Step::new(record, Stepped::Failed)));
        }
        if leased.is_some_and(|until| until != record.due) {
            // It ran meanwhile in other hands, and failed: its turn comes again after its pause.
            return Ok(Some(Step::new(record, Stepped::Waiting)));
        }
        if record.attempts >= terms.max_attempts {
            let mut state = self.state();
            let now = SystemTime::now();
            let taken = record.clone();
            record.state = EventState::Dead;
            record
                .last_error
                .get_or_insert_with(|| "no attempt came to an end".to_owned());
            state.die(&record, now);
            state.put_event(record, now);
            return Ok(Some(Step::new(taken, Stepped::Now(EventState::Dead))));
        }
        let (payment, intent) = {
            let mut state = self.state();
            record.attempts += 1;
            let now = SystemTime::now();
            record.due = time_after(now, terms.lease);
            state.put_event(record.clone(), now);
            state.running.insert(id.clone());
            let intent = record
                .order
                .as_ref()
                .and_then(|order| state.intent(order).cloned());
            (state.payment(&record), intent)
        };
        let taken = record.clone();
        let verdict = dispatch
            .dispatch(&record, &payment, intent.as_ref(), &mut ())
            .await;
        let now = SystemTime::now();
        let mut state = self.state();
        state.running.remove(&id);
        let did = match verdict {
            Verdict::Waiting { again, reason } => {
                record.attempts -= 1;
                record.last_error = reason.or(record.last_error);
                record.due = time_after(now, again);
                Stepped::Waiting
            }
            Verdict::Done {
                payment: after,
                intent: row,
            } => {
                state.settle(&record, &payment, after, now);
                if let (Some(order), Some(after)) = (&record.order, row) {
                    state.put_decided(order, intent.as_ref(), after, now);
                }
                record.state = EventState::Done;
                Stepped::Now(EventState::Done)
            }
            Verdict::Superseded => {
                record.attempts -= 1;
                record.state = EventState::Superseded;
                Stepped::Now(EventState::Superseded)
            }
            Verdict::Mismatch {
                payment: after,
                reason,
            } => {
                state.settle(&record, &payment, after, now);
                record.state = EventState::Mismatch;
                record.last_error = Some(reason);
                Stepped::Now(EventState::Mismatch)
            }
            Verdict::Failed {
                error,
                again: Some(again),
                ..
            } => {
                record.last_error = Some(error);
                record.due = time_after(now, again);
                Stepped::Failed
            }
            Verdict::Failed {
                error, again: None, ..
            } => {
                record.last_error = Some(error);
                record.state = EventState::Dead;
                state.die(&record, now);
                Stepped::Now(EventState::Dead)
            }
        };
        state.put_event(record, now);
        Ok(Some(Step::new(taken, did)))
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

    async fn replay(
        &self,
        scope: &Scope,
        event: &str,
        patience: Duration,
    ) -> Result<(), InboxError> {
        let id = (scope.clone(), event.to_owned());
        let _locked = self.lock(&self.find(&id)?, patience).await?;
        let found = self.find(&id)?;
        let mut record = found.clone();
        record.state = match record.state {
            EventState::Pending | EventState::Dead | EventState::Mismatch => EventState::Pending,
            other => {
                return Err(InboxError::WrongState {
                    state: other.as_str(),
                });
            }
        };
        let now = SystemTime::now();
        record.attempts = 0;
        record.due = now;
        let mut state = self.state();
        let mut payment = state.payment(&record);
        if let Some(success) = settle::replayed(&found, payment.success) {
            payment.success = success;
            state.put_payment_of(&record, payment, now);
        }
        state.put_event(record, now);
        Ok(())
    }

    async fn discard(
        &self,
        scope: &Scope,
        event: &str,
        patience: Duration,
    ) -> Result<(), InboxError> {
        let id = (scope.clone(), event.to_owned());
        let _locked = self.lock(&self.find(&id)?, patience).await?;
        let mut record = self.find(&id)?;
        record.state = match record.state {
            EventState::Pending | EventState::Dead | EventState::Mismatch => EventState::Dropped,
            other => {
                return Err(InboxError::WrongState {
                    state: other.as_str(),
                });
            }
        };
        let now = SystemTime::now();
        let mut state = self.state();
        let others = state.other_copies(&record);
        if let Some(row) = settle::dropped(&record, &state.payment(&record), &others) {
            state.put_payment_of(&record, row, now);
        }
        state.put_event(record, now);
        Ok(())
    }

    async fn stats(&self, scope: &Scope) -> Result<Stats, InboxError> {
        let state = self.state();
        let now = SystemTime::now();
        let mut stats = Stats::default();
        let mut unfulfilled: HashMap<&str, SystemTime> = HashMap::new();
        let events = state.events.entries.values().map(|(event, _)| event);
        for event in events.filter(|event| event.scope == *scope) {
            *stats.events.entry(event.state).or_default() += 1;
            let pending = event.state == EventState::Pending;
            if pending {
                stats.due += u64::from(event.due <= now);
                let oldest = stats.oldest_pending.unwrap_or(event.received);
                stats.oldest_pending = Some(oldest.min(event.received));
            }
            let open = event.settles && (pending || event.state == EventState::Dead);
            if let Some(payment) = event.payment.as_deref().filter(|_| open)
                && settle::is_unfulfilled(state.payment(event).success)
            {
                let since = unfulfilled.entry(payment).or_insert(event.received);
                *since = (*since).min(event.received);
            }
        }
        stats.unfulfilled = unfulfilled.len() as u64;
        stats.unfulfilled_since = unfulfilled.into_values().min();
        let payments = state.payments.entries.iter();
        let kept_twice = payments.filter(|((of, _), (payment, _))| {
            of == scope && payment.success == Settled::Duplicate && payment.returned() == 0
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
        let mut state = self.state();
        let events = state.events.entries.iter();
        let old = events.filter(|((of, _), (event, _))| {
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
        let state = self.state();
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
        let state = self.state();
        let rows = state.intents.entries.iter();
        let recent = rows.filter(|(order, (row, _))| order.scope == *scope && row.changed >= since);
        let accounts: BTreeSet<_> = recent
            .filter_map(|(order, _)| order.account.as_deref())
            .filter(|account| after.is_none_or(|after| *account > after))
            .collect();
        Ok(accounts.into_iter().take(most).map(str::to_owned).collect())
    }

    async fn operation(&self, key: &OperationKey) -> Result<Option<OperationRecord>, InboxError> {
        Ok(self.state().operations.get(key).cloned())
    }

    async fn put_operation(
        &self,
        key: &OperationKey,
        expected: Option<u64>,
        mut record: OperationRecord,
    ) -> Result<bool, InboxError> {
        let now = SystemTime::now();
        let mut state = self.state();
        let version = state.operations.get(key).map(|row| row.version);
        if version != expected {
            return Ok(false);
        }
        record.version = expected.map_or(1, |version| version + 1);
        let limits = state.limits;
        // Who asks again for one that was forgotten looks at Stripe first, as after a restart.
        state.operations.put(key.clone(), record, true, now, limits);
        Ok(true)
    }

    async fn bookmark(&self, scope: &Scope, name: &str) -> Result<Option<String>, InboxError> {
        let key = (scope.clone(), name.to_owned());
        Ok(self.state().bookmarks.get(&key).cloned())
    }

    async fn put_bookmark(
        &self,
        scope: &Scope,
        name: &str,
        expected: Option<&str>,
        value: &str,
    ) -> Result<bool, InboxError> {
        let key = (scope.clone(), name.to_owned());
        let mut state = self.state();
        let stored = state.bookmarks.get(&key).map(String::as_str);
        if stored != expected {
            return Ok(false);
        }
        state.bookmarks.insert(key, value.to_owned());
        Ok(true)
    }

    async fn scopes_with_bookmark(&self, name: &str) -> Result<Vec<Scope>, InboxError> {
        let state = self.state();
        let named = state.bookmarks.keys().filter(|(_, known)| known == name);
        Ok(named.map(|(scope, _)| scope.clone()).collect())
    }
}

impl State {
    /// Writes an order's row as it was decided.
    fn put_decided(
        &mut self,
        order: &OrderKey,
        before: Option<&IntentRecord>,
        after: IntentRecord,
        now: SystemTime,
    ) {
        if let Some(row) = settle::intent(self.intent(order), before, after) {
            self.put_intent(order, row, now);
        }
    }

    /// Writes what was decided about the payment, and keeps what was noted meanwhile.
    fn settle(
        &mut self,
        event: &EventRecord,
        before: &PaymentRecord,
        after: PaymentRecord,
        now: SystemTime,
    ) {
        if after != *before {
            let row = settle::payment(&self.payment(event), before, &after);
            self.put_payment_of(event, row, now);
        }
    }

    /// The states of the other event objects of this success.
    fn other_copies(&self, event: &EventRecord) -> Vec<EventState> {
        let events = self.events.entries.values().map(|(event, _)| event);
        events
            .filter(|other| {
                other.settles
                    && other.payment == event.payment
                    && other.scope == event.scope
                    && other.id != event.id
            })
            .map(|other| other.state)
            .collect()
    }

    /// Writes that a success has had its last attempt.
    fn die(&mut self, event: &EventRecord, now: SystemTime) {
        // Only then all events are looked through.
        let others = match event.settles {
            true => self.other_copies(event),
            false => Vec::new(),
        };
        if let Some(row) = settle::died(event, &self.payment(event), &others) {
            self.put_payment_of(event, row, now);
        }
    }
}
