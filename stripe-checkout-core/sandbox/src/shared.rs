//! The state that the server, the deliveries and the handle share.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::{auth::Keys, store::Store};
use stripe_checkout_core::Config;

pub(crate) struct Shared {
    pub(crate) url: String,
    pub(crate) config: Config,
    any_test_key: bool,
    store: Mutex<Store>,
    /// Counts up after every change that a test may wait for.
    pub(crate) changes: watch::Sender<u64>,
    /// Deliveries that are neither acknowledged nor given up.
    pub(crate) unfinished: watch::Sender<usize>,
}

impl Shared {
    pub(crate) fn new(
        config: Config,
        any_test_key: bool,
        store: Store,
        unfinished: watch::Sender<usize>,
    ) -> Self {
        Self {
            url: store.url.clone(),
            config,
            any_test_key,
            store: Mutex::new(store),
            changes: watch::Sender::new(0),
            unfinished,
        }
    }

    /// Locks the store. A panic elsewhere leaves it usable: in a sandbox nothing stays half-written
    /// for long.
    pub(crate) fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes the tasks that wait for a condition.
    pub(crate) fn changed(&self) {
        self.changes
            .send_modify(|count| *count = count.wrapping_add(1));
    }

    pub(crate) fn keys(&self) -> Keys<'_> {
        Keys {
            secret: self.config.secret_key().map_or("", |key| key.expose()),
            publishable: self.config.publishable_key().map_or("", |key| key.expose()),
            any_test_key: self.any_test_key,
        }
    }
}
