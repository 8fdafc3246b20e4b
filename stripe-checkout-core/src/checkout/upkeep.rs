//! What an operator asks, and what is to be done now and then.

use std::time::{Duration, SystemTime};

use super::Checkout;
use crate::error::InboxError;
use crate::fulfillment::Stats;
use crate::telemetry;

/// How long events are remembered that are done or superseded: a little longer than Stripe lists them, which is 30 days.
const REMEMBERED: Duration = Duration::from_secs(35 * 24 * 60 * 60);

/// How many events are forgotten at a time: few, so that nobody waits for it.
const BATCH: usize = 500;

impl Checkout {
    /// How many events are in which state, and what somebody should look at. It counts all events that are stored: ask once a minute, not once a request.
    ///
    /// With the feature `metrics` it also sets the gauges: call it whenever they are read, or once a minute. Without it they stand still.
    ///
    /// # Errors
    /// [`InboxError::Unavailable`].
    pub async fn stats(&self) -> Result<Stats, InboxError> {
        // A recorder that was installed after this checkout was built does not know what the metrics mean.
        telemetry::describe();
        let mut stats = Stats::default();
        for scope in self.scopes() {
            let these = self.inner.fulfillment.stats(&scope).await?;
            telemetry::counted(&scope, &these);
            stats.add(these);
        }
        if let Some(ahead) = self.clock_skew() {
            telemetry::clock(ahead);
        }
        Ok(stats)
    }

    /// Forgets events that are done or superseded and older than 35 days, in small batches, and says how many. Call it once a day. What is pending, dead, mismatched
    /// or dropped stays, and so does what is known of each payment: a success is never run again.
    ///
    /// # Errors
    /// [`InboxError`]: what was forgotten until then is forgotten.
    pub async fn prune(&self) -> Result<usize, InboxError> {
        let before = SystemTime::now() - REMEMBERED;
        let checkout = self.clone();
        self.to_the_end(async move {
            let mut forgotten = 0;
            for scope in checkout.scopes() {
                loop {
                    let fulfillment = &checkout.inner.fulfillment;
                    let batch = fulfillment.prune(&scope, before, BATCH).await?;
                    telemetry::pruned(&scope, batch);
                    forgotten += batch;
                    if batch < BATCH {
                        break;
                    }
                }
            }
            Ok(forgotten)
        })
        .await
    }
}
