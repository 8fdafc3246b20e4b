//! Reports for operators, and regular maintenance of the inbox.

use std::time::{Duration, SystemTime};

use super::alerts::{self, Alert};
use super::delivery_watch::{NOTE, SILENCE, seconds};
use super::state::Checkout;
use crate::error::InboxError;
use crate::fulfillment::{EventFilter, EventRecord, Received, Stats};
use crate::telemetry;

/// How long the inbox keeps events that are done or superseded.
///
/// It is a little longer than the 30 days for which Stripe lists them.
const REMEMBERED: Duration = Duration::from_secs(35 * 24 * 60 * 60);

/// How many events one batch deletes: few, so that no other work waits for it.
const BATCH: usize = 500;

impl Checkout {
    /// Returns the received events, the newest first, for an operator's page.
    ///
    /// # Errors
    /// [`InboxError::Unavailable`].
    pub async fn events(&self, mut filter: EventFilter) -> Result<Vec<EventRecord>, InboxError> {
        // Without keys it lists both modes, but never the events of another application on the same
        // database.
        let mut events = Vec::new();
        for scope in self.scopes() {
            filter.scope = Some(scope);
            events.extend(self.inner.fulfillment.events(&filter).await?);
        }
        events.sort_by(|a, b| b.received.cmp(&a.received).then_with(|| b.id.cmp(&a.id)));
        events.truncate(filter.limit);
        Ok(events)
    }

    /// Runs a pending, dead or mismatched event again, from its first attempt.
    ///
    /// A pending event ends as it would have ended without this call, only sooner.
    ///
    /// # Errors
    /// [`InboxError::UnknownEvent`]. [`InboxError::WrongState`] if the event is done, superseded or
    /// discarded. [`InboxError::Busy`].
    pub async fn replay(&self, event: &EventRecord) -> Result<Received, InboxError> {
        let (checkout, event) = (self.clone(), event.clone());
        self.to_the_end(async move { checkout.inner.fulfillment.replay(&event).await })
            .await
    }

    /// Discards an event for good: the handler never receives it.
    ///
    /// Refunds that waited for the event go on.
    ///
    /// # Errors
    /// [`InboxError::UnknownEvent`]. [`InboxError::WrongState`] if the event is done, superseded or
    /// discarded. [`InboxError::Busy`].
    pub async fn discard(&self, event: &EventRecord) -> Result<(), InboxError> {
        let (checkout, event) = (self.clone(), event.clone());
        self.to_the_end(async move { checkout.inner.fulfillment.discard(&event).await })
            .await
    }

    /// Returns the problems that an operator must look at, the most urgent first.
    ///
    /// It returns an empty list if all is well. A payment counts as unfulfilled if its success was
    /// received longer ago than `unfulfilled_after` and is not fulfilled. A quarter of an hour
    /// leaves room for a few attempts. It counts all stored events, as [`stats`](Self::stats) does:
    /// call it once a minute, not once a request.
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
    /// [`InboxError::Unavailable`]. This is a problem for the operator too.
    pub async fn alerts(&self, unfulfilled_after: Duration) -> Result<Vec<Alert>, InboxError> {
        let stats = self.stats().await?;
        let clock = self.inner.clock.alert();
        let mut alerts = alerts::of(&stats, unfulfilled_after, SystemTime::now());
        alerts.extend(self.silence().await?);
        alerts.extend(clock);
        Ok(alerts)
    }

    /// Returns how many seconds this machine's clock is ahead of Stripe's (negative: behind).
    ///
    /// `None` before the first webhook. It is the smallest difference between now and the time of a
    /// genuine signature in the last five to ten minutes. The delivery itself takes a second or two
    /// of it. A single old delivery that is sent again does not look like a wrong clock, unless no
    /// other delivery came in that time. Refused deliveries count if their signature is valid.
    pub fn clock_skew(&self) -> Option<i64> {
        self.inner.clock.ahead()
    }

    /// Reports payments that were found while no process had accepted a webhook for an hour.
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

    /// Returns how many events are in each state, and the counts that an operator should look at.
    ///
    /// It counts all stored events: call it once a minute, not once a request.
    ///
    /// With the feature `metrics` it also sets the gauges. Call it whenever they are read, or once
    /// a minute: otherwise they keep their old values.
    ///
    /// # Errors
    /// [`InboxError::Unavailable`].
    pub async fn stats(&self) -> Result<Stats, InboxError> {
        // A recorder that was installed after this checkout was built lacks the descriptions of the
        // metrics.
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

    /// Deletes events that are done or superseded and older than 35 days, and returns how many.
    ///
    /// It works in small batches. Call it once a day. Pending, dead, mismatched and discarded
    /// events stay. The record of each payment stays too, so that a success never runs again.
    ///
    /// # Errors
    /// [`InboxError`]. The events that were deleted before the error stay deleted.
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
