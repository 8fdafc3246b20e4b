//! The worker: runs what is due, in any number of processes.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use tokio::task::{JoinError, JoinSet};
use tokio::time::{Interval, MissedTickBehavior, interval};
use tracing::Instrument;

use super::state::Checkout;
use crate::error::InboxError;

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
    /// # async fn work(checkout: stripe_checkout_core::Checkout, stop: impl Future<Output = ()> + Send + 'static) {
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
            let mut busy = None;
            for scope in checkout.scopes() {
                match checkout.inner.fulfillment.step_due(&scope).await {
                    Ok(false) => {}
                    // Work on one payment holds up nobody of the other mode.
                    Err(InboxError::Busy) => busy = Some(InboxError::Busy),
                    ended => return ended,
                }
            }
            busy.map_or(Ok(false), Err)
        })
        .await
    }
}

/// The bounds of a worker's interval.
const SHORTEST: Duration = Duration::from_millis(1);
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

impl Worker {
    /// How many events it runs at the same time (default 4, at least 1). An inbox on a database takes no more than half of its pool, whatever is said here.
    pub fn concurrency(mut self, events: usize) -> Self {
        self.concurrency = events.max(1);
        self
    }

    /// How often it looks whether something is due when nothing was (default 1 s, at least 1 ms,
    /// at most one day).
    pub fn interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// Works until `stop` ends, and then lets what it runs come to its end.
    pub async fn run(self, stop: impl Future<Output = ()>) {
        let mut stop = pin!(stop);
        let mut running = Turns::new();
        // An interval of nothing would panic, and so would one that leads out of time.
        let mut looks = interval(self.interval.clamp(SHORTEST, LONGEST));
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let wanted = match next(stop.as_mut(), &mut running, &mut looks).await {
                Next::Stop => break,
                // Also while others run: a handler that hangs delays only its own payment.
                Next::Look => 1,
                // Where one finds something, there may be more.
                Next::Ended(ended) if found(&ended) => 2,
                Next::Ended(_) => 0,
            };
            let free = self.concurrency.saturating_sub(running.len());
            for _ in 0..free.min(wanted) {
                let checkout = self.checkout.clone();
                let turn = async move { checkout.run_due().await };
                running.spawn(turn.in_current_span());
            }
        }
        while running.join_next().await.is_some() {}
    }
}

type Turns = JoinSet<Result<bool, InboxError>>;
type Ended = Result<Result<bool, InboxError>, JoinError>;

/// What a worker waits for.
enum Next {
    Stop,
    Ended(Ended),
    Look,
}

/// By hand, because `tokio::select!` would bring tokio's macros to everybody.
async fn next(
    mut stop: Pin<&mut impl Future<Output = ()>>,
    running: &mut Turns,
    looks: &mut Interval,
) -> Next {
    poll_fn(|context| {
        if stop.as_mut().poll(context).is_ready() {
            return Poll::Ready(Next::Stop);
        }
        if let Poll::Ready(Some(ended)) = running.poll_join_next(context) {
            return Poll::Ready(Next::Ended(ended));
        }
        looks.poll_tick(context).map(|_| Next::Look)
    })
    .await
}

fn found(ended: &Ended) -> bool {
    match ended {
        Ok(Ok(found)) => *found,
        // The payment of one event is worked on elsewhere: the next event may be of another.
        Ok(Err(InboxError::Busy)) => true,
        Ok(Err(error)) => {
            tracing::error!(error = %crate::error::Chain(error), "the worker could not take an event; it goes on");
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
