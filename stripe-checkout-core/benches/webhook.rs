//! The cost of a webhook: the signature check beside its minimum, one HMAC; and the check with the
//! envelope beside `async-stripe-webhook`.
//!
//! `cargo bench -p stripe-checkout-core --no-default-features --bench webhook` prints the ratios at
//! the end. The two sides of a ratio run in turns of some calls each, so that other work on the
//! machine slows both. The medians count.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use stripe_checkout_core::{
    WebhookSecret,
    webhook::{Event, Signed, Verifier},
};
use stripe_webhook::{Webhook, WebhookError};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// A delivery of about this many bytes, signed now. Each side gets its own copy of the body, as
/// from a framework.
struct Delivery {
    name: &'static str,
    body: Vec<u8>,
    header: String,
    timestamp: String,
}

impl Delivery {
    /// Makes an event of today's API version about this object.
    fn new(name: &'static str, event_type: &str, object: Value) -> Self {
        let event = json!({
            "id": "evt_3S0aBcLkdIwHu7ix1raBm864", "object": "event", "api_version": "2026-09-30.endive", "created": 1_790_000_000,
            "data": { "object": object }, "livemode": false, "pending_webhooks": 1,
            "request": { "id": "req_Kq7Xz1yvW0d5Ta", "idempotency_key": "4f1b5c0e-8f0b-4f5e-9f07-3f5e1f2a7c11" },
            "type": event_type,
        });
        Self::of(name, &event)
    }

    fn of(name: &'static str, event: &Value) -> Self {
        // As Stripe sends it: indented by two spaces.
        let body = serde_json::to_vec_pretty(event).unwrap();
        let timestamp = std::time::UNIX_EPOCH
            .elapsed()
            .unwrap()
            .as_secs()
            .to_string();
        let signature: String = hmac(&timestamp, &body)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let header = format!("t={timestamp},v1={signature},v0={}", "0".repeat(64));
        Self {
            name,
            body,
            header,
            timestamp,
        }
    }

    /// Computes the minimum of a check: one HMAC over the same bytes.
    fn bare_hmac(&self, body: Vec<u8>) -> [u8; 32] {
        hmac(&self.timestamp, &body)
    }

    fn verify(&self, verifier: &Verifier, body: Vec<u8>) -> Signed {
        verifier.verify(&body, self.header.as_bytes()).unwrap()
    }

    fn verify_and_parse(&self, verifier: &Verifier, body: Vec<u8>) -> Event {
        verifier.verify(&body, self.header.as_bytes()).unwrap();
        Event::parse(body).unwrap()
    }

    /// An event that async-stripe refuses costs what its refusal costs: it refuses all disputes.
    fn construct_event(&self, body: Vec<u8>) -> Result<stripe_webhook::Event, WebhookError> {
        let body = std::str::from_utf8(&body).unwrap();
        Webhook::construct_event(body, &self.header, SECRET)
    }
}

fn hmac(timestamp: &str, body: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(timestamp.as_bytes());
    mac.update(b".");
    mac.update(body);
    mac.finalize().into_bytes().into()
}

/// Returns the events of a shop, and shapes that are slow to read.
fn deliveries() -> [Delivery; 5] {
    let event = |json: &str| serde_json::from_str::<Value>(json).unwrap();
    let object = |json: &str| event(json)["data"]["object"].take();
    let succeeded = object(include_str!(
        "../tests/events/payment_intent.succeeded.2026-09-30.endive.json"
    ));
    let mut small = succeeded.clone();
    small["metadata"] = lines(4);
    // The event contains the payment method. Its order has the order lines in the metadata and a
    // shipping address.
    let mut large = object(include_str!(
        "../tests/events/payment_intent.payment_failed.2026-09-30.endive.json"
    ));
    large["metadata"] = lines(35);
    large["shipping"] = json!({
        "address": { "city": "Berlin", "country": "DE", "line1": "Unter den Linden 1", "line2": null, "postal_code": "10117", "state": null },
        "carrier": null, "name": "Jenny Rosen", "phone": "+49301234567", "tracking_number": null,
    });
    // An old endpoint's API version: the PaymentIntent contains its charge.
    let with_charge = event(include_str!(
        "../tests/events/payment_intent.succeeded.2020-08-27.json"
    ));
    let mut long_values = succeeded;
    long_values["metadata"] = (1..=10)
        .map(|key| (format!("note_{key}"), Value::from("Darjeeling ".repeat(45))))
        .collect();
    let dispute = object(include_str!(
        "../tests/events/charge.dispute.created.2026-09-30.endive.json"
    ));
    [
        Delivery::new("2.5 KB", "payment_intent.succeeded", small),
        Delivery::new("7 KB", "payment_intent.payment_failed", large),
        Delivery::of("of 2020", &with_charge),
        Delivery::new("long values", "payment_intent.succeeded", long_values),
        Delivery::new("dispute", "charge.dispute.created", dispute),
    ]
}

/// Returns the lines of an order, as metadata.
fn lines(count: usize) -> Value {
    (1..=count)
        .map(|line| {
            (
                format!("line_{line}"),
                Value::from("2 x Darjeeling First Flush, 250 g, 19.99 EUR"),
            )
        })
        .collect()
}

/// The number of runs of each measurement.
const RUNS: usize = 5;

/// Returns the median times of two functions of the body, which run in turns of some calls each.
fn medians<A, B>(
    body: &[u8],
    one: impl Fn(Vec<u8>) -> A,
    other: impl Fn(Vec<u8>) -> B,
) -> (Duration, Duration) {
    let mut times = (Vec::new(), Vec::new());
    let until = Instant::now() + Duration::from_millis(600);
    while Instant::now() < until {
        times.0.push(time(body, &one));
        times.1.push(time(body, &other));
    }
    (median(times.0), median(times.1))
}

/// Returns the ratio of each run, and the times of the median run.
fn ratios<A, B>(body: &[u8], one: impl Fn(Vec<u8>) -> A, other: impl Fn(Vec<u8>) -> B) -> String {
    let mut runs: Vec<_> = (0..RUNS).map(|_| medians(body, &one, &other)).collect();
    let ratio = |run: &(Duration, Duration)| run.0.as_secs_f64() / run.1.as_secs_f64();
    let all: Vec<_> = runs
        .iter()
        .map(|run| format!("{:.2}", ratio(run)))
        .collect();
    runs.sort_by(|a, b| ratio(a).total_cmp(&ratio(b)));
    let middle = runs[RUNS / 2];
    format!(
        "{:.2} of {} ({:.2?} / {:.2?})",
        ratio(&middle),
        all.join(" "),
        middle.0,
        middle.1
    )
}

fn time<T>(body: &[u8], work: impl Fn(Vec<u8>) -> T) -> Duration {
    const CALLS: usize = 20;
    let bodies = vec![body.to_vec(); CALLS];
    let start = Instant::now();
    for body in bodies {
        black_box(work(black_box(body)));
    }
    start.elapsed() / CALLS as u32
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn main() {
    let verifier = Verifier::new([&WebhookSecret::new(SECRET).unwrap()]);
    let deliveries = deliveries();
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("webhook");
    for delivery in &deliveries {
        let (name, body) = (delivery.name, &delivery.body);
        group.throughput(Throughput::Bytes(body.len() as u64));
        macro_rules! bench {
            ($what:literal, $work:expr) => {
                group.bench_function(BenchmarkId::new($what, name), |bencher| {
                    bencher.iter_batched(|| body.clone(), $work, BatchSize::SmallInput);
                });
            };
        }
        bench!("HMAC-SHA256 alone", |body| delivery.bare_hmac(body));
        bench!("verify", |body| delivery.verify(&verifier, body));
        bench!("verify and parse", |body| delivery
            .verify_and_parse(&verifier, body));
        bench!("async-stripe-webhook", |body| delivery
            .construct_event(body));
    }
    group.finish();
    criterion.final_summary();

    // `cargo test` runs benches once, to check that they work. Then there is nothing to compare.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    for delivery in &deliveries {
        let body = &delivery.body;
        println!("\n{}, {} bytes", delivery.name, body.len());
        let verify = ratios(
            body,
            |body| delivery.verify(&verifier, body),
            |body| delivery.bare_hmac(body),
        );
        println!("  verify / HMAC-SHA256 alone: {verify}");
        let parse = ratios(
            body,
            |body| delivery.verify_and_parse(&verifier, body),
            |body| delivery.construct_event(body),
        );
        println!("  verify + parse / async-stripe's construct_event: {parse}");
        let least = ratios(
            body,
            |body| delivery.bare_hmac(body),
            |body| delivery.construct_event(body),
        );
        println!("  HMAC-SHA256 alone / async-stripe's construct_event: {least}");
    }
}
