//! Whether the time of a comparison tells where it failed, after the method of
//! [dudect](https://eprint.iacr.org/2016/1123).
//!
//! `cargo bench -p stripe-checkout-core --no-default-features --bench timing` measures a million
//! pairs of each comparison; `-- PAIRS` takes another number. Both classes send the same text and
//! are refused. They differ in the key, the body or the secret that this side holds. In the class
//! `near` all but the last byte match, in the class `far` an early byte differs.
//!
//! The program prints Welch's t for each comparison: for all samples and without the slowest ones.
//! Beside it stands the null comparison of two classes that are both far. A value of |t| below 5
//! shows no difference. The last two lines show what the method sees where a comparison ends
//! early.

use std::{
    hint::black_box,
    time::{Duration, Instant, UNIX_EPOCH},
};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use stripe_checkout_core::{ClientSecret, WebhookSecret, webhook::Verifier};

const PAIRS: usize = 1_000_000;
/// The shares of the samples that count, from the fastest on.
const SHARES: [f64; 4] = [1.0, 0.99, 0.95, 0.9];
const TIMESTAMP: u64 = 1_790_000_000;
const BODY: &[u8; 512] = &[b'x'; 512];
/// The number of short comparisons that one sample measures together.
const REPEATS: usize = 32;
/// The number of different keys, bodies and secrets.
const KINDS: u32 = 16;

/// The texts that a stranger sends, and the values that this side holds. The two of one index match
/// up to the last byte, all others differ much earlier.
///
/// Each class pairs the same texts and values in another way. So neither a place in the memory nor
/// a value can favour a class.
struct Comparison<S, T> {
    name: &'static str,
    sent: Vec<S>,
    held: Vec<T>,
}

impl<S, T> Comparison<S, T> {
    /// Measures both comparisons in turns. `prepare` is not measured.
    fn run<P>(&self, pairs: usize, prepare: impl Fn(&T) -> P, act: impl Fn(&P, &S)) {
        let measure = |sent: &S, held: &T| {
            let prepared = black_box(prepare(held));
            // The second call counts: the first one hides what the preparation left behind.
            act(black_box(&prepared), sent);
            let began = Instant::now();
            act(black_box(&prepared), sent);
            began.elapsed().as_nanos() as f64
        };
        let mut rng = fastrand::Rng::new();
        let mut samples: [Vec<f64>; 4] = Default::default();
        // The first pairs warm the caches and do not count.
        let warm = pairs / 20;
        for pair in 0..pairs + warm {
            let index = rng.usize(..self.sent.len());
            let mut order = [0, 1, 2, 3];
            rng.shuffle(&mut order);
            for class in order {
                let held = &self.held[(index + class) % self.held.len()];
                let nanoseconds = measure(&self.sent[index], held);
                if pair >= warm {
                    samples[class].push(nanoseconds);
                }
            }
        }
        let [near, far, other, again] = &samples;
        println!(
            "{:<42} t = {}   null: {}   median {:.0} ns",
            self.name,
            print(near, far),
            print(other, again),
            quantile(far, 0.5),
        );
    }
}

fn print(one: &[f64], two: &[f64]) -> String {
    let values = SHARES.map(|share| format!("{:+.2}", welch(one, two, share)));
    values.join(" ")
}

/// Welch's t of the samples up to this quantile of both classes together.
fn welch(one: &[f64], two: &[f64], share: f64) -> f64 {
    let both: Vec<f64> = one.iter().chain(two).copied().collect();
    let limit = quantile(&both, share);
    let [one, two] = [one, two].map(|samples| {
        let kept = samples.iter().filter(|sample| **sample <= limit);
        let (mut count, mut mean, mut squares) = (0.0, 0.0, 0.0);
        for sample in kept {
            count += 1.0;
            let before = sample - mean;
            mean += before / count;
            squares += before * (sample - mean);
        }
        (mean, squares / (count - 1.0) / count)
    });
    (one.0 - two.0) / (one.1 + two.1).sqrt()
}

fn quantile(samples: &[f64], share: f64) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[((sorted.len() - 1) as f64 * share) as usize]
}

fn mac(secret: &WebhookSecret, body: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes()).unwrap();
    mac.update(TIMESTAMP.to_string().as_bytes());
    mac.update(b".");
    mac.update(body);
    mac.finalize().into_bytes().into()
}

/// The header whose signature differs from the good one in its last byte.
fn almost(secret: &WebhookSecret, body: &[u8]) -> String {
    let mut signature = mac(secret, body);
    signature[31] ^= 1;
    let hex: String = signature.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("t={TIMESTAMP},v1={hex}")
}

fn secret(number: u32) -> WebhookSecret {
    WebhookSecret::new(format!("whsec_{number:032}")).unwrap()
}

fn early_exit(one: &[u8], two: &[u8]) -> bool {
    one.len() == two.len() && one.iter().zip(two).all(|(one, two)| black_box(one) == two)
}

fn main() {
    // cargo adds `--bench`.
    let given = std::env::args()
        .skip(1)
        .find_map(|argument| argument.parse().ok());
    let pairs = given.unwrap_or(PAIRS);
    let now = UNIX_EPOCH + Duration::from_secs(TIMESTAMP);
    let shares = SHARES
        .map(|share| format!("{:.0} %", share * 100.0))
        .join(", ");
    println!("{pairs} pairs; t of the fastest {shares} of the samples");

    let keys = Comparison {
        name: "verifier, another key",
        sent: (0..KINDS).map(|kind| almost(&secret(kind), BODY)).collect(),
        held: (0..KINDS).map(secret).collect(),
    };
    // A copy, so that each class stands at the same place in the memory.
    let prepare = |secret: &WebhookSecret| Verifier::new([&secret.clone()]);
    keys.run(pairs, prepare, |verifier, header| {
        assert!(verifier.verify_at(BODY, header.as_bytes(), now).is_err());
    });

    let body = |kind: u32| {
        let mut body = *BODY;
        body[..4].copy_from_slice(&kind.to_be_bytes());
        body
    };
    let one = secret(0);
    let bodies = Comparison {
        name: "verifier, another body",
        sent: (0..KINDS).map(|kind| almost(&one, &body(kind))).collect(),
        held: (0..KINDS).map(body).collect(),
    };
    let verifier = Verifier::new([&one]);
    bodies.run(
        pairs,
        |body| body.to_vec(),
        |body, header| {
            assert!(verifier.verify_at(body, header.as_bytes(), now).is_err());
        },
    );

    let text = |kind: u32, last: char| {
        let first = char::from_u32(u32::from('a') + kind).unwrap();
        format!("{first}i_3MtwBwLkdIwHu7ix28a3tqPa_secret_YrKJUKribcBjcG8HVhfZluoG{last}")
    };
    let secrets = Comparison {
        name: "client secret",
        sent: (0..KINDS).map(|kind| text(kind, 'H')).collect(),
        held: (0..KINDS).map(|kind| text(kind, 'X')).collect(),
    };
    let prepare = |text: &String| ClientSecret::new(text.as_str());
    secrets.run(pairs, prepare, |secret, presented| {
        for _ in 0..REPEATS {
            assert!(!black_box(secret).matches(black_box(presented)));
        }
    });

    let leaks = Comparison {
        name: "client secret, if it ended early",
        ..secrets
    };
    leaks.run(pairs, String::clone, |secret, presented| {
        for _ in 0..REPEATS {
            let (one, two) = (black_box(secret), black_box(presented));
            assert!(!early_exit(one.as_bytes(), two.as_bytes()));
        }
    });
    let signed = |secret: &WebhookSecret| {
        let mut signature = mac(secret, BODY);
        signature[31] ^= 1;
        signature
    };
    let leaks = Comparison {
        name: "verifier, another key, if it ended early",
        sent: keys.held.iter().map(signed).collect(),
        held: keys.held,
    };
    leaks.run(pairs, Clone::clone, |secret, signature| {
        assert!(!early_exit(&mac(secret, BODY), black_box(signature)));
    });
}
