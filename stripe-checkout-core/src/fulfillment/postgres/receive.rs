//! How events are taken in. Those that come at the same time are stored together, by one statement that is a transaction of its own: they share the round trip and
//! the wait for the disk. Nobody waits for company: while some are stored, the next ones gather.
//!
//! Who stores them is a task of its own, the desk, which nobody cuts off. Whatever goes wrong there, nobody is told anything by it: then each event is stored alone, in
//! an explicit transaction, by the one that brought it.

use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use super::transaction::{Held, begin, busy_or, end_forgotten};
use super::{PATIENCE, PostgresInbox};
use crate::error::InboxError;
use crate::fulfillment::inbox::{EventRecord, NewEvent};
use crate::fulfillment::stored::unavailable;

/// How many events, and about how many bytes, are stored together.
const MOST: usize = 64;
const MOST_BYTES: usize = 1 << 20;

/// How long all of them wait for a row that somebody else has locked, and for an answer. Then each waits for its own.
const LOCKED: Duration = Duration::from_millis(100);
const UNANSWERED: Duration = Duration::from_secs(2);

/// The events that wait to be stored.
#[derive(Default)]
pub(super) struct Arrivals(Mutex<Queue>);

#[derive(Default)]
struct Queue {
    waiting: Vec<Waiting>,
    /// There is a desk, which looks again before it goes.
    open: bool,
}

struct Waiting {
    event: Arc<NewEvent>,
    /// Dropped where it was not stored with others.
    tell: oneshot::Sender<EventRecord>,
}

impl Arrivals {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        // No code that can panic runs under this lock, so what it protects is whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Those who have waited for the longest time.
    fn take(&self) -> Vec<Waiting> {
        let mut queue = self.lock();
        let mut bytes = 0;
        let many = queue.waiting.iter().take(MOST).take_while(|one| {
            let fits = bytes < MOST_BYTES;
            bytes += one.event.body.len();
            fits
        });
        let many = many.count();
        queue.waiting.drain(..many).collect()
    }
}

impl PostgresInbox {
    pub(super) async fn store(&self, event: NewEvent) -> Result<EventRecord, InboxError> {
        let event = Arc::new(event);
        match self.bring(&event).await {
            Ok(stored) => Ok(stored),
            // It was known, or could not be stored with others.
            Err(_) => self.store_alone(&event).await,
        }
    }

    /// To the desk, which is opened for it if need be.
    fn bring(&self, event: &Arc<NewEvent>) -> oneshot::Receiver<EventRecord> {
        let (tell, told) = oneshot::channel();
        let event = Arc::clone(event);
        let was_open = {
            let mut queue = self.arrivals.lock();
            queue.waiting.push(Waiting { event, tell });
            mem::replace(&mut queue.open, true)
        };
        if !was_open {
            let (inbox, open) = (self.clone(), true);
            tokio::spawn(Desk { inbox, open }.serve());
        }
        told
    }

    async fn store_alone(&self, event: &NewEvent) -> Result<EventRecord, InboxError> {
        let mut held = self.held().await?;
        loop {
            let mut tx = begin(held.conn(), Some(PATIENCE))
                .await
                .map_err(unavailable)?;
            let mut new = self
                .tables
                .insert_events(&mut tx, &[event], PATIENCE)
                .await?;
            let stored = match new.pop().flatten() {
                Some(new) => Some(new),
                // A statement of its own: it sees what others committed while the insert waited for them.
                None => self.tables.event(&mut tx, &event.scope, &event.id).await?,
            };
            tx.commit().await.map_err(busy_or)?;
            // Otherwise it was known, and pruned in between.
            if let Some(stored) = stored {
                held.release();
                return Ok(stored);
            }
        }
    }
}

/// Stores what comes, as long as something comes.
struct Desk {
    inbox: PostgresInbox,
    open: bool,
}

impl Desk {
    async fn serve(mut self) {
        if let Err(error) = self.store().await {
            tracing::debug!(error = %crate::error::Chain(&error), "events could not be stored together: each is stored alone");
        }
    }

    async fn store(&mut self) -> Result<(), InboxError> {
        let mut held = self.inbox.held().await?;
        let alone = async { end_forgotten(held.conn()).await.map_err(unavailable) };
        PostgresInbox::in_time(UNANSWERED, alone).await?;
        while self.somebody_is_there().await {
            let storing = self.store_together(&mut held);
            PostgresInbox::in_time(UNANSWERED, storing).await?;
        }
        held.release();
        Ok(())
    }

    /// If not, the desk is closed.
    async fn somebody_is_there(&mut self) -> bool {
        // Who was told just now may come again at once.
        tokio::task::yield_now().await;
        let mut queue = self.inbox.arrivals.lock();
        queue.open = !queue.waiting.is_empty();
        self.open = queue.open;
        self.open
    }

    async fn store_together(&self, held: &mut Held) -> Result<(), InboxError> {
        let together = self.inbox.arrivals.take();
        let events: Vec<&NewEvent> = together.iter().map(|one| &*one.event).collect();
        let tables = &self.inbox.tables;
        let stored = tables.insert_events(held.conn(), &events, LOCKED).await?;
        for (one, stored) in together.into_iter().zip(stored) {
            if let Some(stored) = stored {
                // Who went away does not want to know.
                let _ = one.tell.send(stored);
            }
        }
        Ok(())
    }
}

impl Drop for Desk {
    /// Whatever ended it before its time: nobody waits for nobody.
    fn drop(&mut self) {
        if self.open {
            let left = mem::take(&mut *self.inbox.arrivals.lock());
            drop(left);
        }
    }
}
