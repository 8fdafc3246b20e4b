//! The worker: runs what is due, in any number of processes.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use tokio::task::{JoinError, JoinSet};

use super::Checkout;
use crate::error::InboxError;
use crate::fulfillment::Scope;
use crate::secret::Mode;

/// Runs events that failed before, and with [`queued`](crate::CheckoutBuilder::queued) all of them. See [`Checkout::worker`].
#[derive(Debug)]
#[must_use = "a worker works while `run` is awaited"]
pub struct Worker {
    checkout: Checkout,
    concurrency: usize,
    interval: Duration,
}

impl Checkout {
    /// A worker for what is due: events that failed, after a pause that doubles up to an hour; and all events, if they are
    /// [`queued`](crate::CheckoutBuilder::queued). Any number may run, in any number of processes on one database.
    ///
    /// ```no_run
    /// # async fn main(checkout: stripe_checkout_core::Checkout, stop: impl Future<Output = ()> + Send + 'static) {
    /// let worker = tokio::spawn(checkout.worker().run(stop));
    /// # }
    /// ```
    pub fn worker(&self) -> Worker {
        Worker {
            checkout: self.clone(),
            concurrency: 4,
            interval: Duration::from_secs(1),
        }
    }

    /// Runs the event that has been due for the longest time, if one is due, and says whether one was: one turn of a [`worker`](Self::worker).
    ///
    /// # Errors
    /// [`InboxError`]: nothing is lost, and the event is due again later.
    pub async fn run_due(&self) -> Result<bool, InboxError> {
        let checkout = self.clone();
        self.to_the_end(async move {
            for scope in checkout.scopes() {
                if checkout.inner.fulfillment.step_due(&scope).await? {
                    return Ok(true);
                }
            }
            Ok(false)
        })
        .await
    }

    /// Where its events are: in the mode of its keys, or without keys in both.
    pub(super) fn scopes(&self) -> Vec<Scope> {
        let modes = self
            .inner
            .mode
            .map_or(vec![Mode::Live, Mode::Test], |mode| vec![mode]);
        modes.into_iter().map(|mode| self.scope(mode)).collect()
    }
}

impl Worker {
    /// How many events it runs at the same time (default 4, at least 1). An inbox on a database takes no more than half of its pool, whatever is said here.
    pub fn concurrency(mut self, events: usize) -> Self {
        self.concurrency = events.max(1);
        self
    }

    /// How often it looks whether something is due when nothing was (default 1 s).
    pub fn interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// Works until `stop` ends, and then lets what it runs come to its end.
    pub async fn run(self, stop: impl Future<Output = ()>) {
        let mut stop = pin!(stop);
        let mut running: JoinSet<Result<bool, InboxError>> = JoinSet::new();
        loop {
            // One looks; where it finds something, there may be more.
            let mut wanted = 1;
            while wanted > 0 {
                while running.len() < wanted {
                    let checkout = self.checkout.clone();
                    running.spawn(async move { checkout.run_due().await });
                }
                tokio::select! {
                    biased;
                    () = &mut stop => return while running.join_next().await.is_some() {},
                    Some(ended) = running.join_next() => {
                        wanted = if found(ended) { self.concurrency.min(wanted + 1) } else { 0 };
                    }
                }
            }
            tokio::select! {
                biased;
                () = &mut stop => return while running.join_next().await.is_some() {},
                () = tokio::time::sleep(self.interval) => {}
            }
        }
    }
}

fn found(ended: Result<Result<bool, InboxError>, JoinError>) -> bool {
    match ended {
        Ok(Ok(found)) => found,
        // The payment of one event is worked on elsewhere: the next event may be of another.
        Ok(Err(InboxError::Busy)) => true,
        Ok(Err(error)) => {
            tracing::error!(%error, "the worker could not take an event; it goes on");
            false
        }
        Err(error) => {
            tracing::error!(
                panicked = error.is_panic(),
                "the worker lost a turn; it goes on"
            );
            false
        }
    }
}
