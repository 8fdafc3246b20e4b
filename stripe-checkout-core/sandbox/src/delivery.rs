//! Webhook delivery. Every event goes to every endpoint that wants it until the endpoint
//! acknowledges it. The order is not guaranteed, and each attempt has a new signature.
//!
//! See <https://docs.stripe.com/webhooks#behaviors>.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use tokio::{
    sync::{Semaphore, mpsc},
    task::JoinSet,
    time::Instant,
};

use super::{ids, objects::event::Event, shared::Shared, store::event_body};

/// The most attempts to one endpoint at the same time. One that hangs does not delay the others.
const MAX_IN_FLIGHT: usize = 32;
/// The most bytes of an endpoint's answer that are read.
const MAX_ANSWER: usize = 64 * 1024;
/// The most attempts that are remembered.
const MAX_REMEMBERED: usize = 10_000;

/// One attempt to deliver one event to one endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeliveryAttempt {
    /// The event's id.
    pub event: String,
    /// The event's type, like `payment_intent.succeeded`.
    pub event_type: String,
    /// The endpoint's address.
    pub endpoint: String,
    /// The number of the attempt; the first is 1.
    pub attempt: u32,
    /// The `t` of the signature, in seconds since 1970.
    pub timestamp: i64,
    /// The result of the attempt.
    pub result: DeliveryResult,
}

/// The result of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum DeliveryResult {
    /// The endpoint answered with this status. Any 2xx acknowledges the event. The sandbox retries
    /// after every other status, including redirects.
    Answered(u16),
    /// The endpoint did not answer in time.
    TimedOut,
    /// There was no connection, or it broke.
    Failed,
}

impl DeliveryResult {
    /// Returns whether this result acknowledges the event.
    pub fn is_acknowledged(&self) -> bool {
        matches!(self, Self::Answered(200..=299))
    }
}

/// The settings of deliveries.
#[derive(Debug)]
pub(crate) struct Controls {
    /// The wait before each further attempt. After the last attempt the event is given up.
    pub(crate) retry_after: Vec<Duration>,
    /// The wait before the first attempt.
    pub(crate) delay: Duration,
    /// How many additional times every event is delivered, at the same time.
    pub(crate) copies: usize,
    /// Events made within this time of each other are delivered in a different order.
    pub(crate) shuffle: Option<Duration>,
    /// How long an endpoint may take to answer.
    pub(crate) timeout: Duration,
    /// How many of the next changes get two event objects.
    pub(crate) doubled: usize,
    /// How many of the next changes get no event object.
    pub(crate) lost: usize,
    /// How many of the next attempts never reach their endpoint.
    pub(crate) deliveries_to_lose: usize,
    /// How many attempts after those reach their endpoint but lose the answer.
    pub(crate) answers_to_lose: usize,
}

/// The fate of one attempt on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Arrives,
    LostOnTheWay,
    AnswerLost,
}

impl Controls {
    pub(crate) fn new(retry_after: Vec<Duration>) -> Self {
        Self {
            retry_after,
            delay: Duration::ZERO,
            copies: 0,
            shuffle: None,
            timeout: Duration::from_secs(20),
            doubled: 0,
            lost: 0,
            deliveries_to_lose: 0,
            answers_to_lose: 0,
        }
    }

    fn fate_of_next_attempt(&mut self) -> Fate {
        if self.deliveries_to_lose > 0 {
            self.deliveries_to_lose -= 1;
            Fate::LostOnTheWay
        } else if self.answers_to_lose > 0 {
            self.answers_to_lose -= 1;
            Fate::AnswerLost
        } else {
            Fate::Arrives
        }
    }

    /// Returns how many event objects the next change gets: nearly always one.
    pub(crate) fn events_for_next_change(&mut self) -> usize {
        if self.lost > 0 {
            self.lost -= 1;
            0
        } else if self.doubled > 0 {
            self.doubled -= 1;
            2
        } else {
            1
        }
    }
}

/// An event that waits for delivery to an endpoint.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    pub(crate) event: String,
    event_type: &'static str,
    endpoint: String,
    body: Bytes,
    // The settings at the time of the event, so that they can differ for later events.
    delay: Duration,
    copies: usize,
    shuffle: Option<Duration>,
}

impl Job {
    pub(crate) fn new(event: &Event, endpoint: String, controls: &Controls) -> Self {
        Self {
            event: event.id.clone(),
            event_type: event.event_type,
            endpoint,
            body: event_body(event),
            delay: controls.delay,
            copies: controls.copies,
            shuffle: controls.shuffle,
        }
    }
}

/// Delivers jobs until the sandbox is dropped.
pub(crate) async fn run(shared: Arc<Shared>, mut jobs: mpsc::UnboundedReceiver<Job>) {
    let courier = Arc::new(Courier {
        shared,
        client: Client::builder(TokioExecutor::new()).build_http(),
        in_flight: Mutex::default(),
    });
    let mut tasks = JoinSet::new();
    while let Some(job) = jobs.recv().await {
        while tasks.try_join_next().is_some() {}
        let window = job.shuffle;
        let mut batch = vec![job];
        if let Some(window) = window {
            let end = Instant::now() + window;
            while let Ok(Some(job)) = tokio::time::timeout_at(end, jobs.recv()).await {
                batch.push(job);
            }
        }
        for job in &batch {
            for _ in 0..job.copies {
                courier.shared.store().under_way(&job.event);
                tasks.spawn(Arc::clone(&courier).deliver(job.clone()));
            }
        }
        if window.is_some() {
            let mut apart: BTreeMap<String, Vec<Job>> = BTreeMap::new();
            for job in batch {
                apart.entry(job.endpoint.clone()).or_default().push(job);
            }
            for mut jobs in apart.into_values() {
                shuffle_for_certain(&mut jobs);
                tasks.spawn(Arc::clone(&courier).deliver_one_after_another(jobs));
            }
        } else {
            for job in batch {
                tasks.spawn(Arc::clone(&courier).deliver(job));
            }
        }
    }
}

/// Shuffles the jobs into a random order that is never the original one.
fn shuffle_for_certain(batch: &mut [Job]) {
    let before: Vec<String> = batch.iter().map(|job| job.event.clone()).collect();
    fastrand::shuffle(batch);
    if batch.iter().map(|job| &job.event).eq(before.iter()) {
        batch.reverse();
    }
}

struct Courier {
    shared: Arc<Shared>,
    client: Client<HttpConnector, Full<Bytes>>,
    /// The free places for attempts, by endpoint.
    in_flight: Mutex<HashMap<String, Arc<Semaphore>>>,
}

impl Courier {
    /// Delivers the jobs one after another, each after the answer to the one before.
    ///
    /// So the receiver sees exactly this order. A separate task retries each job that fails.
    async fn deliver_one_after_another(self: Arc<Self>, batch: Vec<Job>) {
        let mut again = JoinSet::new();
        for job in batch {
            tokio::time::sleep(job.delay).await;
            if self.attempt(&job, 1).await {
                self.finished(&job);
            } else {
                again.spawn(Arc::clone(&self).retry(job));
            }
        }
        while again.join_next().await.is_some() {}
    }

    async fn deliver(self: Arc<Self>, job: Job) {
        tokio::time::sleep(job.delay).await;
        if self.attempt(&job, 1).await {
            self.finished(&job);
        } else {
            self.retry(job).await;
        }
    }

    /// Retries from the second attempt on, until the event is acknowledged or given up.
    async fn retry(self: Arc<Self>, job: Job) {
        let mut attempt = 2;
        while let Some(wait) = self.wait_before(attempt) {
            tokio::time::sleep(wait).await;
            if self.attempt(&job, attempt).await {
                break;
            }
            attempt = attempt.saturating_add(1);
        }
        self.finished(&job);
    }

    fn wait_before(&self, attempt: u32) -> Option<Duration> {
        let place = usize::try_from(attempt).ok()?.checked_sub(2)?;
        self.shared.store().controls.retry_after.get(place).copied()
    }

    fn finished(&self, job: &Job) {
        self.shared.store().arrived(&job.event);
        self.shared.changed();
    }

    fn place_for(&self, job: &Job) -> Arc<Semaphore> {
        let mut in_flight = self
            .in_flight
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let places = in_flight
            .entry(job.endpoint.clone())
            .or_insert_with(|| Arc::new(Semaphore::new(MAX_IN_FLIGHT)));
        Arc::clone(places)
    }

    /// Makes one attempt. Returns whether the delivery is over.
    async fn attempt(&self, job: &Job, attempt: u32) -> bool {
        let Ok(_permit) = self.place_for(job).acquire_owned().await else {
            return true;
        };
        let timestamp = ids::now();
        let (signature, url, address, timeout, fate) = {
            let mut store = self.shared.store();
            let Some(endpoint) = store
                .endpoints
                .iter()
                .find(|endpoint| endpoint.id == job.endpoint)
                .cloned()
            else {
                // The endpoint was removed meanwhile, so the event does not wait for it any more.
                store.acknowledge(&job.event, &job.endpoint);
                return true;
            };
            (
                endpoint.signature(timestamp, &job.body),
                endpoint.url,
                endpoint.address,
                store.controls.timeout,
                store.controls.fate_of_next_attempt(),
            )
        };
        let result = if fate == Fate::LostOnTheWay {
            DeliveryResult::Failed
        } else {
            let posted = tokio::time::timeout(timeout, self.post(url, signature, job)).await;
            match posted {
                _ if fate == Fate::AnswerLost => DeliveryResult::Failed,
                Ok(Some(status)) => DeliveryResult::Answered(status.as_u16()),
                Ok(None) => DeliveryResult::Failed,
                Err(_) => DeliveryResult::TimedOut,
            }
        };
        let acknowledged = result.is_acknowledged();
        tracing::debug!(event = %job.event, event_type = job.event_type, attempt, ?result, "delivered");
        {
            let mut store = self.shared.store();
            if acknowledged {
                store.acknowledge(&job.event, &job.endpoint);
            }
            if store.attempts.len() >= MAX_REMEMBERED {
                store.attempts.drain(..MAX_REMEMBERED / 10);
            }
            store.attempts.push(DeliveryAttempt {
                event: job.event.clone(),
                event_type: job.event_type.to_owned(),
                endpoint: address,
                attempt,
                timestamp,
                result,
            });
        }
        self.shared.changed();
        acknowledged
    }

    async fn post(&self, url: Uri, signature: String, job: &Job) -> Option<StatusCode> {
        let request = Request::post(url)
            .header(header::CONTENT_TYPE, "application/json; charset=utf-8")
            .header(
                header::USER_AGENT,
                "Stripe/1.0 (+https://stripe.com/docs/webhooks)",
            )
            .header(header::ACCEPT, "*/*; q=0.5, application/xml")
            .header(header::CACHE_CONTROL, "no-cache")
            .header("stripe-signature", signature)
            .body(Full::new(job.body.clone()))
            .ok()?;
        let response = self.client.request(request).await.ok()?;
        let status = response.status();
        // Reads the body to its end, so that the connection can be used again. Its content does not
        // matter.
        let _ = Limited::new(response.into_body(), MAX_ANSWER)
            .collect()
            .await;
        Some(status)
    }
}
