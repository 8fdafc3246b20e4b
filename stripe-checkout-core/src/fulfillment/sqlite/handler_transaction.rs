//! What a handler may not do with the transaction it is given, and what goes on when it was cut off.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use sqlx::SqliteConnection;

use super::driver::failed;
use crate::error::InboxError;

/// How many instructions of SQLite's a statement runs before it is looked whether it shall go on: well below a millisecond.
const INSTRUCTIONS: i32 = 1000;

/// As long as this lasts, nothing can be committed on the connection: a `COMMIT` of the handler's becomes a rollback, and so does what it writes after a `ROLLBACK`.
/// So nothing half done stays, whatever it says.
pub(super) struct HandlerTransaction {
    cut_off: Arc<AtomicBool>,
    interrupted: Arc<AtomicBool>,
}

impl HandlerTransaction {
    pub(super) async fn begin(db: &mut SqliteConnection) -> Result<Self, InboxError> {
        let handler = Self {
            cut_off: Arc::default(),
            interrupted: Arc::default(),
        };
        let cut_off = Arc::clone(&handler.cut_off);
        let interrupted = Arc::clone(&handler.interrupted);
        let mut handle = db.lock_handle().await.map_err(failed)?;
        handle.set_commit_hook(|| false);
        handle.set_progress_handler(INSTRUCTIONS, move || {
            let go_on = !cut_off.load(Ordering::Relaxed);
            if !go_on {
                interrupted.store(true, Ordering::Relaxed);
            }
            go_on
        });
        Ok(handler)
    }

    /// Ends it. A handler that failed may have been cut off at its deadline in the middle of a statement, which would go on, with the whole database locked: it is
    /// interrupted. Says whether one was.
    pub(super) async fn end(
        self,
        db: &mut SqliteConnection,
        has_failed: bool,
    ) -> Result<bool, sqlx::Error> {
        self.cut_off.store(has_failed, Ordering::Relaxed);
        // The handle is to be had when the last statement has ended.
        let mut handle = db.lock_handle().await?;
        handle.remove_progress_handler();
        handle.remove_commit_hook();
        Ok(self.interrupted.load(Ordering::Relaxed))
    }
}
