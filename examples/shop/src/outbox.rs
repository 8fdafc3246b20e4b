//! Work after an order was paid, outside the database.
//!
//! The fulfilment only records *that* an e-mail is due, in the same transaction as the order. This
//! task sends it: at least once, never for an order that was rolled back, and without keeping
//! Stripe waiting.

use std::{sync::Arc, time::Duration};

use tokio::sync::{Notify, watch};

use crate::{
    db::{now, on},
    order::short,
    store::{Store, StoreError},
};

const AGAIN: Duration = Duration::from_secs(1);

/// How long a process owns a row, in seconds: longer than it takes to hand over an e-mail. If the
/// process dies in between, the others take the row after that time.
const TAKEN: i64 = 60;

/// The running task.
#[derive(Debug)]
pub struct Outbox {
    stop: watch::Sender<bool>,
}

impl Outbox {
    /// Starts to send everything that is due: at once, whenever `bell` rings, and every second.
    ///
    /// The task looks every second because the bell rings before the commit.
    pub fn start(store: Store, bell: Arc<Notify>) -> Self {
        let (stop, mut stopped) = watch::channel(false);
        tokio::spawn(async move {
            loop {
                if let Err(error) = work(&store).await {
                    tracing::error!(error = %crate::causes(&error), "the outbox could not be worked off; it will be tried again");
                }
                tokio::select! {
                    () = bell.notified() => {}
                    () = tokio::time::sleep(AGAIN) => {}
                    _ = stopped.changed() => break,
                }
            }
        });
        Self { stop }
    }

    /// Stops the task after its current work. E-mails that are still due stay in the database for
    /// the next start.
    pub async fn stop(&self) {
        let _ = self.stop.send(true);
        // The task has the only receiver, and drops it at its end.
        self.stop.closed().await;
    }
}

/// Sends everything that is due, the oldest first, and returns how many e-mails it sent.
///
/// Any number of processes may do so at once: each row belongs to one process.
///
/// # Errors
/// [`StoreError`]. An e-mail that was not marked as sent is sent again.
pub async fn work(store: &Store) -> Result<u64, StoreError> {
    let pool = store.pool();
    let mut sent = 0;
    loop {
        let now = now();
        // The condition is there twice, because two processes may find the same row. The second
        // process then checks the row again, with the first one's changes.
        let taken: Option<(i64, String, String)> = on!(
            pool,
            sqlx::query_as(
                "UPDATE outbox SET taken_until = $1
                 WHERE sent_at IS NULL AND taken_until <= $2
                   AND id = (SELECT id FROM outbox WHERE sent_at IS NULL AND taken_until <= $2 ORDER BY id LIMIT 1)
                 RETURNING id, kind, order_id",
            )
            .bind(now + TAKEN)
            .bind(now)
            .fetch_optional(pool)
            .await?
        );
        let Some((id, kind, order)) = taken else {
            return Ok(sent);
        };
        // A real shop hands its e-mail over here. The row's id is the key by which the mail service
        // detects duplicates.
        tracing::info!(
            outbox = id,
            kind,
            order = short(&order),
            "e-mail to the buyer"
        );
        on!(
            pool,
            sqlx::query("UPDATE outbox SET sent_at = $1 WHERE id = $2")
                .bind(now)
                .bind(id)
                .execute(pool)
                .await
                .map(drop)
        )?;
        sent += 1;
    }
}
