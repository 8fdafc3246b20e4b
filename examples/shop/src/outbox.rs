//! What is done after an order was paid, outside the database.
//!
//! The fulfilment only writes down *that* an e-mail is due, in the same transaction as the order. This task sends it: at least once, never for an order
//! that was rolled back, and without keeping Stripe waiting.

use std::{sync::Arc, time::Duration};

use sqlx::Row as _;
use tokio::sync::{Notify, watch};

use crate::order::short;
use crate::store::{Store, StoreError};

const AGAIN: Duration = Duration::from_secs(1);

/// The running task.
#[derive(Debug)]
pub struct Outbox {
    stop: watch::Sender<bool>,
}

impl Outbox {
    /// Starts to work off what is due: now, whenever `bell` rings, and every second: the bell rings before the commit.
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

    /// Lets it finish what it is doing. What is still due stays in the database for the next start.
    pub async fn stop(&self) {
        let _ = self.stop.send(true);
        // The task has the only receiver, and drops it at its end.
        self.stop.closed().await;
    }
}

/// Sends everything that is due, the oldest first, and gives how much that was.
///
/// # Errors
/// [`StoreError`]; what was not marked as sent is sent again.
pub async fn work(store: &Store) -> Result<u64, StoreError> {
    let mut sent = 0;
    while let Some(row) = sqlx::query(
        "SELECT id, kind, order_id FROM outbox WHERE sent_at IS NULL ORDER BY id LIMIT 1",
    )
    .fetch_optional(store.pool())
    .await?
    {
        let (id, kind, order): (i64, String, String) = (
            row.try_get("id")?,
            row.try_get("kind")?,
            row.try_get("order_id")?,
        );
        // Here a real shop hands its e-mail over, with the row's id as the key by which the mail service knows a repetition.
        tracing::info!(
            outbox = id,
            kind,
            order = short(&order),
            "e-mail to the buyer"
        );
        sqlx::query("UPDATE outbox SET sent_at = unixepoch() WHERE id = ?")
            .bind(id)
            .execute(store.pool())
            .await?;
        sent += 1;
    }
    Ok(sent)
}
