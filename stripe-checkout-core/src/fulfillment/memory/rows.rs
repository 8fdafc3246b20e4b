//! The rows in memory.

use std::collections::{HashMap, HashSet};
use std::time::SystemTime;

use bytes::Bytes;

use super::super::operation::{OperationKey, OperationRecord};
use super::super::records::{
    EventRecord, EventState, FulfillmentStatus, IntentRecord, OrderKey, PaymentRecord, Scope,
    Stored,
};
use super::bounded::{Bounded, Limits};

pub(super) type RowKey = (Scope, String);

#[derive(Default)]
pub(super) struct State {
    pub(super) limits: Limits,
    pub(super) events: Bounded<RowKey, Stored>,
    pub(super) payments: Bounded<RowKey, PaymentRecord>,
    pub(super) intents: Bounded<OrderKey, IntentRow>,
    pub(super) orders: Bounded<RowKey, OrderKey>,
    pub(super) operations: Bounded<OperationKey, OperationRecord>,
    pub(super) bookmarks: HashMap<RowKey, String>,
    /// The pending events, so that a look-up of those of one payment does not read all events.
    pub(super) pending: HashSet<RowKey>,
}

/// An order's row, and when it was written.
pub(super) struct IntentRow {
    pub(super) record: IntentRecord,
    pub(super) changed: SystemTime,
}

impl State {
    pub(super) fn payment(&self, event: &EventRecord) -> PaymentRecord {
        let payment = event.payment.clone();
        let key = payment.map(|payment| (event.scope.clone(), payment));
        key.and_then(|key| self.payments.get(&key).cloned())
            .unwrap_or_default()
    }

    pub(super) fn put_payment(
        &mut self,
        scope: &Scope,
        id: &str,
        record: PaymentRecord,
        now: SystemTime,
    ) {
        let may_leave = record.success != FulfillmentStatus::Pending;
        let key = (scope.clone(), id.to_owned());
        self.payments.put(key, record, may_leave, now, self.limits);
    }

    pub(super) fn put_event(&mut self, mut stored: Stored, now: SystemTime) {
        let event = &mut stored.record;
        let over = event.state.is_over();
        if over {
            event.body = Bytes::new();
        }
        let key = (event.scope.clone(), event.id.clone());
        match event.state {
            EventState::Pending => self.pending.insert(key.clone()),
            _ => self.pending.remove(&key),
        };
        self.events.put(key, stored, over, now, self.limits);
    }

    pub(super) fn intent(&self, order: &OrderKey) -> Option<&IntentRecord> {
        self.intents.get(order).map(|row| &row.record)
    }

    pub(super) fn order_of(
        &self,
        scope: &Scope,
        payment: &str,
    ) -> Option<(&OrderKey, &IntentRecord)> {
        let order = self.orders.get(&(scope.clone(), payment.to_owned()))?;
        Some((order, self.intent(order)?))
    }

    pub(super) fn put_intent(&mut self, order: &OrderKey, record: IntentRecord, now: SystemTime) {
        for payment in [&record.payment, &record.paid_by].into_iter().flatten() {
            let key = (order.scope.clone(), payment.clone());
            self.orders.put(key, order.clone(), true, now, self.limits);
        }
        let row = IntentRow {
            record,
            changed: now,
        };
        // An unpaid order may go too: its metadata tells of a payment that comes late.
        self.intents.put(order.clone(), row, true, now, self.limits);
    }

    /// The event, and whether other events of its payment wait for it.
    pub(super) fn look(&self, key: &RowKey) -> Option<Stored> {
        let mut stored = self.events.get(key)?.clone();
        let event = &stored.record;
        stored.awaited = event.settles
            && event.payment.is_some()
            && self.pending.iter().any(|other| {
                let waiting = self.events.get(other).map(|other| &other.record);
                waiting.is_some_and(|other| {
                    !other.settles && other.payment == event.payment && other.scope == event.scope
                })
            });
        Some(stored)
    }

    /// The states of the other event objects of this success.
    pub(super) fn copies(&self, event: &EventRecord) -> Vec<EventState> {
        let events = self.events.entries.values();
        let others = events.map(|(stored, _)| &stored.record).filter(|other| {
            other.settles
                && other.payment == event.payment
                && other.scope == event.scope
                && other.id != event.id
        });
        others.map(|other| other.state).collect()
    }
}
