//! What an operator asks, and what is to be done now and then.

use std::time::{Duration, SystemTime};

use super::alerts::{self, Alert};
use super::delivery_watch::{NOTE, SILENCE, seconds};
use super::state::Checkout;
use crate::error::InboxError;
use crate::fulfillment::{EventFilter, EventRecord, Received, Stats};
use crate::telemetry;

/// How long events are remembered that are done or superseded: a little longer than Stripe lists them, which is 30 days.
const REMEMBERED: Duration = Duration::from_secs(35 * 24 * 60 * 60);

/// How many events are forgotten at a time: few, so that nobody waits for it.
const BATCH: usize = 500;

impl Checkout {
    /// The events received, the newest first, for an operator's page.
    ///
    /// # Errors
    /// [`InboxError::Unavailable`].
    pub async fn events(&self, mut filter: EventFilter) -> Result<Vec<EventRecord>, InboxError> {
        // Without keys in both modes, but never another application's on the same database.
        let mut events = Vec::new();
        for scope in self.scopes() {
            filter.scope = Some(scope);
            events.extend(self.inner.fulfillment.events(&filter).await?);
        }
        events.sort_by(|a, b| b.received.cmp(&a.received).then_with(|| b.id.cmp(&a.id)));
        events.truncate(filter.limit);
        Ok(events)
    }

    /// Runs an event that is pending, dead or mismatched again, from its first attempt. A pending
    /// event ends as it would have ended by itself, only sooner.
    ///
    /// # Errors
    /// [`InboxError::UnknownEvent`]; [`InboxError::WrongState`] if it is done, superseded or
    /// dropped; [`InboxError::Busy`].
    pub async fn replay(&self, event: &EventRecord) -> Result<Received, InboxError> {
        let (checkout, event) = (self.clone(), event.clone());
        self.to_the_end(async move { checkout.inner.fulfillment.replay(&event).await })
            .await
    }

    /// Discards an event for good: the handler never receives it, and refunds that waited for it go
    /// on.
    ///
    /// # Errors
    /// [`InboxError::UnknownEvent`]; [`InboxError::WrongState`] if it is done, superseded or
    /// dropped; [`InboxError::Busy`].
    pub async fn discard(&self, event: &EventRecord) -> Result<(), InboxError> {
        let (checkout, event) = (self.clone(), event.clone());
        self.to_the_end(async move { checkout.inner.fulfillment.discard(&event).await })
            .await
    }

    /// The problems that an operator must look at, the most urgent first; none if all is well.
    ///
    /// A payment counts as unfulfilled when its success was received longer ago than
    /// `unfulfilled_after` and is not fulfilled: a quarter of an hour leaves room for a few
    /// attempts. It counts all events that are stored, as [`stats`](Self::stats) does: ask once a
    /// minute, not once a request.
    ///
    /// ```no_run
    /// # use stripe_checkout_core::{Checkout, InboxError};
    /// # async fn look(checkout: Checkout) -> Result<(), InboxError> {
    /// for alert in checkout.alerts(std::time::Duration::from_secs(15 * 60)).await? {
    ///     println!("{}: {alert}", alert.as_str());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`InboxError::Unavailable`]: that is one, too.
    pub async fn alerts(&self, unfulfilled_after: Duration) -> Result<Vec<Alert>, InboxError> {
        let stats = self.stats().await?;
        let clock = self.inner.clock.alert();
        let mut alerts = alerts::of(&stats, unfulfilled_after, SystemTime::now());
        alerts.extend(self.silence().await?);
        alerts.extend(clock);
        Ok(alerts)
    }

    /// By how many seconds this machine's clock is ahead of Stripe's, or behind if negative; `None`
    /// before the first webhook.
    ///
    /// It is the smallest difference between now and the time of a genuine signature in the last
    /// five to ten minutes. A second or two of it is the way. A single old delivery that is sent
    /// again does not pass for a wrong clock, unless nothing else came meanwhile. Refused
    /// deliveries count if their signature is good.
    pub fn clock_skew(&self) -> Option<i64> {
        self.inner.clock.ahead()
    }

    /// Whether payments were found while no process had accepted a webhook for an hour.
    async fn silence(&self) -> Result<Option<Alert>, InboxError> {
        let Some(found) = self.inner.deliveries.overdue() else {
            return Ok(None);
        };
        let inbox = &self.inner.fulfillment;
        let noted = inbox.bookmark(&self.watched(), NOTE).await?;
        let noted: Option<u64> = noted.and_then(|text| text.parse().ok());
        let last = seconds(found.last);
        let is_silent = noted.is_none_or(|noted| noted.saturating_add(SILENCE.as_secs()) <= last);
        let payments = found.count;
        Ok(is_silent.then_some(Alert::NoWebhooks { payments }))
    }

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
