//! One lock for each payment, order and event that is worked on.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::OwnedMutexGuard;

use super::super::records::{OrderKey, Scope};
use crate::error::InboxError;

#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) enum LockKey {
    Payment(Scope, String),
    Order(OrderKey),
    Event(Scope, String),
}

#[derive(Clone, Default)]
pub(super) struct Locks(Arc<Mutex<HashMap<LockKey, Arc<tokio::sync::Mutex<()>>>>>);

impl Locks {
    fn table(&self) -> MutexGuard<'_, HashMap<LockKey, Arc<tokio::sync::Mutex<()>>>> {
        // No code that can panic runs under this lock, so what it protects is whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the lock is held or waited for.
    pub(super) fn is_wanted(&self, key: &LockKey) -> bool {
        self.table().contains_key(key)
    }

    /// Takes the locks in this order. All waits together take at most `patience`.
    pub(super) async fn take(
        &self,
        keys: impl IntoIterator<Item = LockKey>,
        patience: Duration,
    ) -> Result<Vec<Locked>, InboxError> {
        let locking = async {
            let mut locked = Vec::new();
            for key in keys {
                locked.push(self.take_one(key).await);
            }
            locked
        };
        let locked = tokio::time::timeout(patience, locking).await;
        locked.map_err(|_| InboxError::Busy)
    }

    async fn take_one(&self, key: LockKey) -> Locked {
        let lock = Arc::clone(self.table().entry(key.clone()).or_default());
        // Made before it waits: a wait that is cut off leaves nothing in the table either.
        let mut locked = Locked {
            guard: None,
            key,
            locks: self.clone(),
        };
        locked.guard = Some(lock.lock_owned().await);
        locked
    }
}

/// Holds a lock. It leaves the table when no one else wants it.
pub(super) struct Locked {
    guard: Option<OwnedMutexGuard<()>>,
    key: LockKey,
    locks: Locks,
}

impl Drop for Locked {
    fn drop(&mut self) {
        let mut table = self.locks.table();
        self.guard = None;
        // Only the table itself holds it.
        if table
            .get(&self.key)
            .is_some_and(|lock| Arc::strong_count(lock) == 1)
        {
            table.remove(&self.key);
        }
    }
}
