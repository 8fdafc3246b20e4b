//! This crate against Stripe's own SDKs: see `signature-vectors/README.md`.

use std::time::{Duration, UNIX_EPOCH};

use serde::Deserialize;
use stripe_checkout_core::{WebhookSecret, webhook::Verifier};

#[derive(Deserialize)]
struct Vector {
    name: String,
    header: String,
    /// In hexadecimal digits.
    payload: String,
    secret: String,
    now: u64,
    tolerance: u64,
    python: bool,
    node: bool,
    #[serde(default)]
    bytes_decide: bool,
    accept: bool,
}

fn vectors() -> Vec<Vector> {
    serde_json::from_str(include_str!("signature-vectors/vectors.json")).unwrap()
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

fn accepts(vector: &Vector) -> bool {
    let Ok(secret) = WebhookSecret::new(&*vector.secret) else {
        return false;
    };
    let verifier = Verifier::new([&secret]).tolerance(Duration::from_secs(vector.tolerance));
    let (payload, header) = (unhex(&vector.payload), vector.header.as_bytes());
    let now = UNIX_EPOCH + Duration::from_secs(vector.now);
    match vector.tolerance {
        // How the SDKs say that the age does not matter.
        0 => verifier.verify_ignoring_timestamp(&payload, header),
        _ => verifier.verify_at(&payload, header, now),
    }
    .is_ok()
}

#[test]
fn judges_every_header_as_the_sdks_do() {
    let wrong: Vec<_> = vectors()
        .iter()
        .filter(|vector| accepts(vector) != vector.accept)
        .map(|vector| vector.name.clone())
        .collect();
    assert!(wrong.is_empty(), "judged otherwise: {wrong:#?}");
}

#[test]
fn the_data_follow_its_own_rule() {
    let vectors = vectors();
    for vector in vectors.iter().filter(|vector| !vector.bytes_decide) {
        assert_eq!(
            vector.accept,
            vector.python && vector.node,
            "{}",
            vector.name
        );
    }
    assert!(
        vectors
            .iter()
            .filter(|vector| vector.python == vector.node)
            .count()
            >= 150
    );
    assert!(vectors.iter().filter(|vector| vector.accept).count() >= 60);
}
