//! A map that deletes its oldest entries.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::time::{Duration, SystemTime};

/// How many entries of a kind are kept, and how long.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) capacity: usize,
    pub(super) time_to_live: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            capacity: 100_000,
            time_to_live: Duration::from_secs(35 * 24 * 60 * 60),
        }
    }
}

/// A map that knows in which order its entries may be deleted.
pub(super) struct Bounded<K, V> {
    pub(super) entries: HashMap<K, (V, u64)>,
    /// Entries that may be deleted, oldest first. An entry that was touched since has a newer stamp
    /// and stays.
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
    pub(super) fn get(&self, key: &K) -> Option<&V> {
        self.entries.get(key).map(|(value, _)| value)
    }

    /// Stores a value, and deletes old entries. `may_leave` says whether this one may be deleted.
    pub(super) fn put(
        &mut self,
        key: K,
        value: V,
        may_leave: bool,
        now: SystemTime,
        limits: Limits,
    ) {
        self.stamps += 1;
        if may_leave {
            self.leaving.push_back((key.clone(), self.stamps, now));
        }
        self.entries.insert(key, (value, self.stamps));
        self.forget(limits.capacity, now.checked_sub(limits.time_to_live));
        // Entries that are touched again and again must not make the queue grow without limit.
        if self.leaving.len() > 2 * self.entries.len() + 64 {
            let entries = &self.entries;
            self.leaving.retain(|(key, stamp, _)| {
                entries
                    .get(key)
                    .is_some_and(|(_, current)| current == stamp)
            });
        }
    }

    /// Deletes the entries that may leave and are older than this time, and then the oldest until
    /// the capacity suffices.
    pub(super) fn forget(&mut self, capacity: usize, before: Option<SystemTime>) {
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
