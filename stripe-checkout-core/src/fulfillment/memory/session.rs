//! The work on one event in memory.

use std::time::{Duration, SystemTime};

use super::super::inbox::{Changes, Claim, CommitError, Locked, Session, Transaction};
use super::super::later::time_after;
use super::super::records::{
    EventRecord, EventState, Found, FulfillmentStatus, NewEvent, PaymentRecord, Scope, Stored,
};
use super::super::verdict::{Cause, Terms};
use super::locks::{self, LockKey};
use super::rows::RowKey;
use super::store::Store;
use crate::error::InboxError;

/// See [`Session`].
pub struct MemorySession {
    store: Store,
}

/// See [`Transaction`].
pub struct MemoryTransaction<'a> {
    store: &'a Store,
    _locked: Vec<locks::Locked>,
    /// The payment as it was read under the locks.
    before: PaymentRecord,
    connection: (),
}

impl MemorySession {
    pub(super) fn new(store: Store) -> Self {
        Self { store }
    }

    /// Claims the event if it may be claimed now.
    fn try_claim(&self, key: &RowKey, which: Claim<'_>, terms: Terms) -> Option<Stored> {
        let mut state = self.store.state();
        let now = SystemTime::now();
        let mut stored = state.events.get(key)?.clone();
        let is_due = stored.record.due <= now;
        let may = match which {
            _ if stored.record.state != EventState::Pending => false,
            Claim::Now(_, attempts) if !stored.taken => stored.record.attempts < attempts,
            _ => is_due,
        };
        if !may {
            return None;
        }
        stored.claim += 1;
        stored.taken = true;
        stored.is_spent = stored.record.attempts >= terms.max_attempts;
        stored.record.attempts += u32::from(!stored.is_spent);
        stored.record.due = time_after(now, terms.lease);
        state.put_event(stored.clone(), now);
        Some(stored)
    }

    /// The event that has been due for the longest time and does not run.
    fn due(&self, scope: &Scope) -> Option<RowKey> {
        let state = self.store.state();
        let now = SystemTime::now();
        let pending = state.pending.iter().filter(|(of, id)| {
            let key = LockKey::Event(scope.clone(), id.clone());
            of == scope && !self.store.locks.is_wanted(&key)
        });
        let due = pending.filter_map(|key| Some((state.events.get(key)?.record.due, key)));
        let due = due
            .filter(|(due, _)| *due <= now)
            .min_by_key(|(due, _)| *due);
        due.map(|(_, key)| key.clone())
    }
}

impl Session for MemorySession {
    type Connection = ();
    type Transaction<'a> = MemoryTransaction<'a>;

    async fn find(
        &mut self,
        scope: &Scope,
        event: &str,
        payments: [Option<&str>; 2],
    ) -> Result<Found, InboxError> {
        let state = self.store.state();
        let order = payments
            .into_iter()
            .flatten()
            .find_map(|id| state.order_of(scope, id));
        let known = payments[0].and_then(|id| state.payments.get(&(scope.clone(), id.to_owned())));
        Ok(Found {
            event: state.look(&(scope.clone(), event.to_owned())),
            order: order.map(|(key, row)| (key.clone(), row.clone())),
            is_known: known.is_some_and(|payment| payment.success != FulfillmentStatus::No),
        })
    }

    async fn receive(
        &mut self,
        event: &NewEvent,
        lease: Option<Duration>,
    ) -> Result<Option<Stored>, InboxError> {
        let now = event.received;
        let mut state = self.store.state();
        let event_key = (event.scope.clone(), event.id.clone());
        if state.events.get(&event_key).is_some() {
            return Ok(None);
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
            let before = state.payments.get(&key);
            let mut after = before.cloned().unwrap_or_default();
            after.note_event(event);
            if after != before.cloned().unwrap_or_default() {
                state.put_payment(&event.scope, payment, after, now);
            }
            if let Some(order) = &event.order {
                state.orders.put(key, order.clone(), true, now, limits);
            }
        }
        let stored = Stored {
            record: event.clone().into(),
            claim: 0,
            taken: false,
            is_spent: false,
            awaited: false,
        };
        state.put_event(stored, now);
        drop(state);
        Ok(match lease {
            Some(lease) => {
                let terms = Terms::new(Duration::ZERO, lease, 1);
                self.try_claim(&event_key, Claim::Now(&event.id, 1), terms)
            }
            None => self.store.state().look(&event_key),
        })
    }

    async fn claim(
        &mut self,
        scope: &Scope,
        which: Claim<'_>,
        terms: Terms,
    ) -> Result<Option<Stored>, InboxError> {
        let id = match which {
            Claim::Now(id, _) | Claim::IfDue(id) => id.to_owned(),
            Claim::Due => {
                let due = self.due(scope);
                return Ok(due.and_then(|key| self.try_claim(&key, which, terms)));
            }
        };
        let lock = LockKey::Event(scope.clone(), id.clone());
        let _locked = self.store.locks.take([lock], terms.patience).await?;
        Ok(self.try_claim(&(scope.clone(), id), which, terms))
    }

    async fn give_back(
        &mut self,
        claimed: &Stored,
        again: Option<Duration>,
    ) -> Result<(), InboxError> {
        let mut state = self.store.state();
        let key = (claimed.record.scope.clone(), claimed.record.id.clone());
        let stored = state.events.get(&key).cloned();
        let pending = |stored: &Stored| stored.record.state == EventState::Pending;
        if let Some(mut stored) = stored.filter(pending) {
            let now = SystemTime::now();
            let counted = u32::from(!claimed.is_spent);
            stored.record.attempts = stored.record.attempts.saturating_sub(counted);
            if stored.claim == claimed.claim {
                stored.taken = false;
                stored.record.due =
                    again.map_or(claimed.record.due, |again| time_after(now, again));
            }
            state.put_event(stored, now);
        }
        Ok(())
    }

    async fn begin(
        &mut self,
        event: &EventRecord,
        patience: Duration,
    ) -> Result<Option<(MemoryTransaction<'_>, Locked)>, InboxError> {
        let scope = &event.scope;
        let payment = event.payment.clone();
        let keys = [
            payment.map(|payment| LockKey::Payment(scope.clone(), payment)),
            event.order.clone().map(LockKey::Order),
            Some(LockKey::Event(scope.clone(), event.id.clone())),
        ];
        let keys = keys.into_iter().flatten();
        let locked = self.store.locks.take(keys, patience).await?;
        let state = self.store.state();
        let Some(stored) = state.look(&(scope.clone(), event.id.clone())) else {
            return Ok(None);
        };
        let before = state.payment(event);
        let order = event.order.as_ref().and_then(|order| state.intent(order));
        let found = Locked {
            event: stored,
            payment: before.clone(),
            order: order.cloned(),
            transaction: None,
        };
        let transaction = MemoryTransaction {
            store: &self.store,
            _locked: locked,
            before,
            connection: (),
        };
        Ok(Some((transaction, found)))
    }

    async fn finish(self) {}
}

impl Transaction for MemoryTransaction<'_> {
    type Connection = ();

    async fn copies(&mut self, event: &EventRecord) -> Result<Vec<EventState>, InboxError> {
        Ok(self.store.state().copies(event))
    }

    async fn protect(&mut self, _: Duration) -> Result<(), InboxError> {
        Ok(())
    }

    fn connection(&mut self) -> &mut () {
        &mut self.connection
    }

    async fn end(&mut self, _: Option<Cause>) -> Result<(), CommitError> {
        Ok(())
    }

    async fn commit(self, changes: Changes) -> Result<(), CommitError> {
        let now = SystemTime::now();
        let mut state = self.store.state();
        let event = changes.event;
        if let Some(payment) = event
            .payment
            .as_deref()
            .filter(|_| changes.payment != self.before)
        {
            let row = merged(&state.payment(&event), &self.before, changes.payment);
            state.put_payment(&event.scope, payment, row, now);
        }
        if let (Some(order), Some(row)) = (&event.order, changes.order) {
            state.put_intent(order, row, now);
        }
        let key = (event.scope.clone(), event.id.clone());
        let before = state.events.get(&key);
        let (claim, due) = before.map_or((0, event.due), |row| (row.claim, row.record.due));
        let due = changes.due.map_or(due, |due| time_after(now, due));
        let stored = Stored {
            record: EventRecord { due, ..event },
            claim: claim + 1,
            taken: false,
            is_spent: false,
            awaited: false,
        };
        state.put_event(stored, now);
        Ok(())
    }

    async fn rollback(self) -> Result<(), InboxError> {
        Ok(())
    }

    async fn was_undone(&mut self, _: i64) -> Result<bool, InboxError> {
        Ok(false)
    }
}

/// The payment's row with what was decided about it, and what was noted since it was read.
fn merged(current: &PaymentRecord, before: &PaymentRecord, after: PaymentRecord) -> PaymentRecord {
    let mut row = after;
    if row.success == before.success {
        row.success = current.success;
    }
    row.capturable |= current.capturable;
    row.canceled |= current.canceled;
    row.refunded_total = row.refunded_total.max(current.refunded_total);
    row.received = row.received.max(current.received);
    row.released = row.released.max(current.released);
    for (id, amount) in &current.refunds {
        let known = row.refunds.entry(id.clone()).or_insert(*amount);
        *known = (*known).min(*amount);
    }
    let disputes = std::mem::replace(&mut row.disputes, current.disputes.clone());
    for (id, status) in disputes {
        let known = row.disputes.entry(id).or_insert(status.clone());
        *known = known.or_later(&status);
    }
    row
}
