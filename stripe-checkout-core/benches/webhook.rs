//! What a webhook costs: the check of the signature beside the HMAC that it cannot do without, and check plus envelope beside `async-stripe-webhook`.
//!
//! `cargo bench -p stripe-checkout-core --no-default-features --bench webhook` prints the ratios at the end. The two sides of a ratio are measured in turns of one
//! call each, so that whatever else the machine does slows both; the medians count.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use criterion::{BenchmarkId, Criterion, Throughput};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use stripe_checkout_core::{
    WebhookSecret,
    webhook::{Event, Verifier},
};
use stripe_webhook::Webhook;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// A delivery of about this many bytes, signed now.
struct Delivery {
    name: &'static str,
    body: String,
    header: String,
    timestamp: String,
}

impl Delivery {
    fn new(name: &'static str, object: Value) -> Self {
        let event = json!({
            "id": "evt_3S0aBcLkdIwHu7ix1raBm864", "object": "event", "api_version": "2026-09-30.endive", "created": 1_790_000_000,
            "data": { "object": object }, "livemode": false, "pending_webhooks": 1,
            "request": { "id": "req_Kq7Xz1yvW0d5Ta", "idempotency_key": "4f1b5c0e-8f0b-4f5e-9f07-3f5e1f2a7c11" },
            "type": "payment_intent.succeeded",
        });
        // As Stripe sends it: indented by two spaces.
        let body = serde_json::to_string_pretty(&event).unwrap();
        let timestamp = std::time::UNIX_EPOCH
            .elapsed()
            .unwrap()
            .as_secs()
            .to_string();
        let signature: String = hmac(&timestamp, body.as_bytes())
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
    fn bare_hmac(&self) -> [u8; 32] {
        hmac(black_box(&self.timestamp), black_box(self.body.as_bytes()))
    }

    fn verify(&self, verifier: &Verifier) {
        verifier
            .verify(
                black_box(self.body.as_bytes()),
                black_box(self.header.as_bytes()),
            )
            .unwrap();
    }

    fn verify_and_parse(&self, verifier: &Verifier) -> Event {
        self.verify(verifier);
        Event::parse(black_box(self.body.as_bytes())).unwrap()
    }

    fn construct_event(&self) -> stripe_webhook::Event {
        Webhook::construct_event(black_box(&self.body), black_box(&self.header), SECRET).unwrap()
    }
}

fn hmac(timestamp: &str, body: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(timestamp.as_bytes());
    mac.update(b".");
    mac.update(body);
    mac.finalize().into_bytes().into()
}

/// A PaymentIntent as a card payment leaves it; and one with a long order in its metadata, a shipping address, and all options filled in.
fn deliveries() -> [Delivery; 2] {
    let file = include_str!("../tests/events/payment_intent.succeeded.2026-09-30.endive.json");
    let event: Value = serde_json::from_str(file).unwrap();
    let small = event["data"]["object"].clone();
    let mut large = small.clone();
    large["metadata"] = (0..20)
        .map(|line| {
            (
                format!("line_{line}"),
                Value::from("1 × Darjeeling First Flush, 250 g; ".repeat(5)),
            )
        })
        .collect();
    large["shipping"] = json!({
        "address": { "city": "Berlin", "country": "DE", "line1": "Unter den Linden 1", "line2": null, "postal_code": "10117", "state": null },
        "carrier": "DHL", "name": "Jenny Rosen", "phone": "+49 30 1234567", "tracking_number": "00340434161094021501",
    });
    [Delivery::new("2.5 KB", small), Delivery::new("7 KB", large)]
}

/// The median times of two things that are done in turns.
fn medians<A, B>(mut one: impl FnMut() -> A, mut other: impl FnMut() -> B) -> (Duration, Duration) {
    let mut times = (Vec::new(), Vec::new());
    let until = Instant::now() + Duration::from_secs(3);
    while Instant::now() < until {
        times.0.push(time(&mut one));
        times.1.push(time(&mut other));
    }
    (median(times.0), median(times.1))
}

fn time<T>(work: &mut impl FnMut() -> T) -> Duration {
    let start = Instant::now();
    black_box(work());
    start.elapsed()
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
        group.throughput(Throughput::Bytes(delivery.body.len() as u64));
        let id = |what| BenchmarkId::new(what, delivery.name);
        group.bench_function(id("HMAC-SHA256 alone"), |bencher| {
            bencher.iter(|| delivery.bare_hmac())
        });
        group.bench_function(id("verify"), |bencher| {
            bencher.iter(|| delivery.verify(&verifier))
        });
        group.bench_function(id("verify and parse"), |bencher| {
            bencher.iter(|| delivery.verify_and_parse(&verifier))
        });
        group.bench_function(id("async-stripe-webhook"), |bencher| {
            bencher.iter(|| delivery.construct_event())
        });
    }
    group.finish();
    criterion.final_summary();

    // `cargo test` runs benches once, to see that they work: nothing to compare then.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    println!(
        "\n{:<8} {:>7} {:>34} {:>46}",
        "event",
        "bytes",
        "verify / HMAC-SHA256 alone",
        "verify + parse / async-stripe's construct_event"
    );
    for delivery in &deliveries {
        let (verify, hmac) = medians(|| delivery.verify(&verifier), || delivery.bare_hmac());
        let (parse, construct) = medians(
            || delivery.verify_and_parse(&verifier),
            || delivery.construct_event(),
        );
        let ratio = |one: Duration, other: Duration| {
            format!(
                "{:.2} ({one:.1?} / {other:.1?})",
                one.as_secs_f64() / other.as_secs_f64()
            )
        };
        println!(
            "{:<8} {:>7} {:>34} {:>46}",
            delivery.name,
            delivery.body.len(),
            ratio(verify, hmac),
            ratio(parse, construct)
        );
    }
}
