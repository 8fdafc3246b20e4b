//! The rows and the locks that all clones of an inbox share.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::locks::Locks;
use super::rows::State;

#[derive(Clone, Default)]
pub(super) struct Store {
    state: Arc<Mutex<State>>,
    pub(super) locks: Locks,
}

impl Store {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        // No code that can panic runs under this lock, so what it protects is whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells these rows from all others of this process.
    pub(super) fn identity(&self) -> String {
        format!("memory {:p}", Arc::as_ptr(&self.state))
    }
}
