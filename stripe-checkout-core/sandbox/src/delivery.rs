//! Deliveries: every event goes to every endpoint that wants it until it is acknowledged, in no promised order, each attempt signed anew.
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

/// Attempts that are on their way to one endpoint at the same time: one that hangs does not hold up the others.
const MAX_IN_FLIGHT: usize = 32;
/// Of an endpoint's answer no more than this is read.
const MAX_ANSWER: usize = 64 * 1024;
/// Attempts that are remembered.
const MAX_REMEMBERED: usize = 10_000;

/// One try to deliver one event to one endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeliveryAttempt {
    /// The event's id.
    pub event: String,
    /// The event's type, like `payment_intent.succeeded`.
    pub event_type: String,
    /// The endpoint's address.
    pub endpoint: String,
    /// 1 for the first try.
    pub attempt: u32,
    /// The `t` of the signature, in seconds since 1970.
    pub timestamp: i64,
    /// How it went.
    pub result: DeliveryResult,
}

/// How a try went.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum DeliveryResult {
    /// The endpoint answered with this status. Any 2xx acknowledges the event; everything else, redirects too, is tried again.
    Answered(u16),
    /// The endpoint did not answer in time.
    TimedOut,
    /// There was no connection, or it broke.
    Failed,
}

impl DeliveryResult {
    /// Whether the event is acknowledged by this.
    pub fn is_acknowledged(&self) -> bool {
        matches!(self, Self::Answered(200..=299))
    }
}

/// How deliveries behave.
#[derive(Debug)]
pub(crate) struct Controls {
    /// The wait before each further attempt. After the last one the event is given up.
    pub(crate) retry_after: Vec<Duration>,
    /// The wait before the first attempt.
    pub(crate) delay: Duration,
    /// How many times more every event is delivered, at the same time.
    pub(crate) copies: usize,
    /// Events that are made within this time of each other are delivered in another order than they were made.
    pub(crate) shuffle: Option<Duration>,
    /// How long an endpoint may take to answer.
    pub(crate) timeout: Duration,
    /// The next changes that get two event objects.
    pub(crate) doubled: usize,
    /// The next changes that get no event object.
    pub(crate) lost: usize,
    /// The next attempts that never reach their endpoint.
    pub(crate) deliveries_to_lose: usize,
    /// The next attempts after them that reach their endpoint, and whose answer is lost.
    pub(crate) answers_to_lose: usize,
}

/// What becomes of one attempt on its way.
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

    /// How many event objects the next change gets: nearly always one.
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

/// An event that is to be delivered to an endpoint.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    pub(crate) event: String,
    event_type: &'static str,
    endpoint: String,
    body: Bytes,
    // As they were told when the event was made, so that later events can be told otherwise.
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

/// Takes jobs until the sandbox is dropped.
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

/// A random order that is never the one of before.
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
    /// By endpoint.
    in_flight: Mutex<HashMap<String, Arc<Semaphore>>>,
}

impl Courier {
    /// Each waits for the answer to the one before, so that the receiver sees just this order. What fails is tried again apart.
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

    /// Goes on from the second attempt until the event is acknowledged or given up.
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

    /// One try. Whether the delivery is over.
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
                // It was removed meanwhile, and waits for nothing.
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
        // Read to its end, so that the connection can be used again. What it says does not matter.
        let _ = Limited::new(response.into_body(), MAX_ANSWER)
            .collect()
            .await;
        Some(status)
    }
}
