//! What a webhook costs: the check of the signature beside the HMAC that it cannot do without, and check plus envelope beside `async-stripe-webhook`.
//!
//! `cargo bench -p stripe-checkout-core --no-default-features --bench webhook` prints the ratios at the end. The two sides of a ratio are measured in
//! turns of some calls each, so that whatever else the machine does slows both; the medians count.

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
use stripe_webhook::Webhook;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// A delivery of about this many bytes, signed now. Each side gets the body as a framework hands it over: bytes of its own.
struct Delivery {
    name: &'static str,
    body: Vec<u8>,
    header: String,
    timestamp: String,
}

impl Delivery {
    fn new(name: &'static str, event_type: &str, object: Value) -> Self {
        let event = json!({
            "id": "evt_3S0aBcLkdIwHu7ix1raBm864", "object": "event", "api_version": "2026-09-30.endive", "created": 1_790_000_000,
            "data": { "object": object }, "livemode": false, "pending_webhooks": 1,
            "request": { "id": "req_Kq7Xz1yvW0d5Ta", "idempotency_key": "4f1b5c0e-8f0b-4f5e-9f07-3f5e1f2a7c11" },
            "type": event_type,
        });
        // As Stripe sends it: indented by two spaces.
        let body = serde_json::to_vec_pretty(&event).unwrap();
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

    /// What has to be done at the very least: one HMAC over the same bytes.
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

    fn construct_event(&self, body: Vec<u8>) -> stripe_webhook::Event {
        let body = std::str::from_utf8(&body).unwrap();
        Webhook::construct_event(body, &self.header, SECRET).unwrap()
    }
}

fn hmac(timestamp: &str, body: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(timestamp.as_bytes());
    mac.update(b".");
    mac.update(body);
    mac.finalize().into_bytes().into()
}

/// What a shop gets today, in the API version that async-stripe is made for: a payment that succeeded; and one that failed, which brings the payment method along,
/// of an order with its lines in the metadata and an address to ship to.
fn deliveries() -> [Delivery; 2] {
    let succeeded = include_str!("../tests/events/payment_intent.succeeded.2026-09-30.endive.json");
    let failed =
        include_str!("../tests/events/payment_intent.payment_failed.2026-09-30.endive.json");
    let object =
        |event: &str| serde_json::from_str::<Value>(event).unwrap()["data"]["object"].take();
    let (mut small, mut large) = (object(succeeded), object(failed));
    small["metadata"] = lines(4);
    large["metadata"] = lines(35);
    large["shipping"] = json!({
        "address": { "city": "Berlin", "country": "DE", "line1": "Unter den Linden 1", "line2": null, "postal_code": "10117", "state": null },
        "carrier": null, "name": "Jenny Rosen", "phone": "+49301234567", "tracking_number": null,
    });
    [
        Delivery::new("2.5 KB", "payment_intent.succeeded", small),
        Delivery::new("7 KB", "payment_intent.payment_failed", large),
    ]
}

/// The lines of an order, as metadata.
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

/// The median times of two things that are done to the body in turns, some calls each.
fn medians<A, B>(
    body: &[u8],
    one: impl Fn(Vec<u8>) -> A,
    other: impl Fn(Vec<u8>) -> B,
) -> (Duration, Duration) {
    let mut times = (Vec::new(), Vec::new());
    let until = Instant::now() + Duration::from_secs(3);
    while Instant::now() < until {
        times.0.push(time(body, &one));
        times.1.push(time(body, &other));
    }
    (median(times.0), median(times.1))
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

    // `cargo test` runs benches once, to see that they work: nothing to compare then.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    println!(
        "\n{:<8} {:>7} {:>32} {:>52}",
        "event",
        "bytes",
        "verify / HMAC-SHA256 alone",
        "verify + parse / async-stripe's construct_event"
    );
    for delivery in &deliveries {
        let body = &delivery.body;
        let (verify, hmac) = medians(
            body,
            |body| delivery.verify(&verifier, body),
            |body| delivery.bare_hmac(body),
        );
        let (parse, construct) = medians(
            body,
            |body| delivery.verify_and_parse(&verifier, body),
            |body| delivery.construct_event(body),
        );
        let ratio = |one: Duration, other: Duration| {
            format!(
                "{:.2} ({one:.2?} / {other:.2?})",
                one.as_secs_f64() / other.as_secs_f64()
            )
        };
        println!(
            "{:<8} {:>7} {:>32} {:>52}",
            delivery.name,
            body.len(),
            ratio(verify, hmac),
            ratio(parse, construct)
        );
    }
}
