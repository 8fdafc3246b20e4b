//! The background work of an open shop, in each of its processes. It ends when the shop closes.

use std::{pin::Pin, time::Duration};

use stripe_checkout_core::Checkout;
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::{
    abandoned,
    closing::Closing,
    metrics::Metrics,
    moving,
    store::{Store, StoreError},
};

/// A payment that is older than this and not fulfilled needs attention. By then, a handler that
/// failed has been retried several times.
pub(crate) const UNFULFILLED: Duration = Duration::from_secs(15 * 60);

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);

/// Starts all of it. [`Checkout::drain`] waits for the work that runs when the shop closes.
pub(crate) fn start(
    checkout: &Checkout,
    store: &Store,
    reconcile: bool,
    metrics: Option<Metrics>,
    closing: &Closing,
) {
    // The worker retries failed events, whether or not Stripe repeats them.
    tokio::spawn(checkout.worker().run(closing.clone().told()));
    // Once an hour, the shop asks Stripe for events and payments that it missed.
    if reconcile {
        tokio::spawn(checkout.reconcile().run(closing.clone().told()));
    }
    let (watched, mut minutes) = (checkout.clone(), Ticks::new(MINUTE, closing));
    let (store, orders) = (store.clone(), store.clone());
    tokio::spawn(async move {
        let mut known = Vec::new();
        while minutes.next().await {
            known = watch(&watched, known).await;
            if let Err(error) = learn(&watched, &store).await {
                tracing::error!(error = %crate::causes(&error), "it cannot be written down until when money is reserved");
            }
            if let Some(metrics) = &metrics {
                metrics.tidy();
            }
        }
    });
    let (pruned, mut hours) = (checkout.clone(), Ticks::new(HOUR, closing));
    tokio::spawn(async move {
        while hours.next().await {
            match pruned.prune().await {
                Ok(0) => {}
                Ok(events) => tracing::info!(events, "old events were forgotten"),
                Err(error) => {
                    tracing::error!(error = %crate::causes(&error), "old events could not be forgotten; it will be tried again");
                }
            }
        }
    });
    tokio::spawn(cancel_abandoned(checkout.clone(), orders, closing.clone()));
}

/// Cancels abandoned orders, a few each minute.
async fn cancel_abandoned(checkout: Checkout, store: Store, closing: Closing) {
    let (mut minutes, mut after) = (Ticks::new(MINUTE, &closing), 0);
    while minutes.next().await {
        let run = abandoned::cancel(&checkout, &store, abandoned::since(), after);
        let run = tokio::select! {
            () = closing.clone().told() => return,
            run = run => run,
        };
        match run {
            Ok(run) => {
                after = run.next;
                if run.canceled > 0 {
                    tracing::info!(orders = run.canceled, "abandoned orders were canceled");
                }
            }
            Err(error) => {
                tracing::error!(error = %crate::causes(&error), "abandoned orders could not be canceled; it will be tried again");
            }
        }
    }
}

/// Logs the problems that need attention, each kind once until it is gone.
///
/// This call also updates the counts of the stored events.
async fn watch(checkout: &Checkout, known: Vec<&'static str>) -> Vec<&'static str> {
    let alerts = match checkout.alerts(UNFULFILLED).await {
        Ok(alerts) => alerts,
        Err(error) => {
            tracing::error!(error = %crate::causes(&error), "the inbox cannot be asked how it is");
            return known;
        }
    };
    for alert in &alerts {
        if !known.contains(&alert.as_str()) {
            tracing::warn!(kind = alert.as_str(), "{alert}");
        }
    }
    alerts.iter().map(|alert| alert.as_str()).collect()
}

/// Asks Stripe until when the money of pre-orders is authorised, because no event reports it.
///
/// It asks for ten orders at most.
async fn learn(checkout: &Checkout, store: &Store) -> Result<(), StoreError> {
    let unknown = store.reserved().await?.into_iter();
    for reserved in unknown.filter(|reserved| reserved.until.is_none()).take(10) {
        moving::capture_before(checkout, store, &reserved).await?;
    }
    Ok(())
}

/// Ticks at once, and then after each pause, until the shop closes.
struct Ticks {
    interval: Interval,
    told: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Ticks {
    fn new(pause: Duration, closing: &Closing) -> Self {
        let mut interval = interval(pause);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            interval,
            told: Box::pin(closing.clone().told()),
        }
    }

    async fn next(&mut self) -> bool {
        tokio::select! {
            () = &mut self.told => false,
            _ = self.interval.tick() => true,
        }
    }
}
