//! Guards the transaction of a handler: the handler cannot commit it, and a statement that goes on
//! after the handler was cut off is interrupted.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use sqlx::SqliteConnection;

use super::driver::failed;
use crate::error::InboxError;

/// How many SQLite instructions a statement runs between two checks whether it may go on: well
/// below a millisecond.
const INSTRUCTIONS: i32 = 1000;

/// While this exists, nothing can be committed on the connection. A `COMMIT` by the handler becomes
/// a rollback, and writes after a `ROLLBACK` by the handler are rolled back too. So no half-done
/// work stays, whatever the handler reports.
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

    /// Ends the guard, and returns whether it interrupted a statement. A handler that failed may
    /// have been cut off at its deadline in the middle of a statement. That statement would go on
    /// and keep the whole database locked, so it is interrupted.
    pub(super) async fn end(
        self,
        db: &mut SqliteConnection,
        has_failed: bool,
    ) -> Result<bool, sqlx::Error> {
        self.cut_off.store(has_failed, Ordering::Relaxed);
        // The handle is available when the last statement has ended.
        let mut handle = db.lock_handle().await?;
        handle.remove_progress_handler();
        handle.remove_commit_hook();
        Ok(self.interrupted.load(Ordering::Relaxed))
    }
}
