//! Whether the time of a comparison tells where it failed, after the method of
//! [dudect](https://eprint.iacr.org/2016/1123).
//!
//! `cargo bench -p stripe-checkout-core --no-default-features --bench timing` measures a million
//! pairs of each comparison; `-- PAIRS` takes another number. Both classes send the same text and
//! are refused. They differ in what this side holds. In the class `near` all but the last byte
//! match, in the class `far` the first byte differs.
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

/// Two classes, as what this side holds.
struct Comparison<T> {
    name: &'static str,
    near: T,
    far: T,
    /// A second class that is far.
    other: T,
}

impl<T> Comparison<T> {
    /// Measures both comparisons in turns. `prepare` is not measured.
    fn run<P>(&self, pairs: usize, prepare: impl Fn(&T) -> P, act: impl Fn(&P)) {
        let measure = |held: &T| {
            let prepared = black_box(prepare(held));
            // The second call counts: the first one hides what the preparation left behind.
            act(black_box(&prepared));
            let began = Instant::now();
            act(black_box(&prepared));
            began.elapsed().as_nanos() as f64
        };
        let mut rng = fastrand::Rng::new();
        let mut samples: [Vec<f64>; 4] = Default::default();
        // The first pairs warm the caches and do not count.
        let warm = pairs / 20;
        for pair in 0..pairs + warm {
            let mut order = [
                (0, &self.near),
                (1, &self.far),
                (2, &self.other),
                (3, &self.far),
            ];
            rng.shuffle(&mut order);
            for (class, held) in order {
                let nanoseconds = measure(held);
                if pair >= warm {
                    samples[class].push(nanoseconds);
                }
            }
        }
        let [near, far, other, again] = &samples;
        println!(
            "{:<45} t = {}   null: {}   median {:.0} ns",
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

/// Something whose signature differs in the first byte.
fn far_from<T>(near: [u8; 32], make: impl Fn(u32) -> T, sign: impl Fn(&T) -> [u8; 32]) -> [T; 2] {
    let mut found = (1..).map(make).filter(|made| sign(made)[0] != near[0]);
    [found.next().unwrap(), found.next().unwrap()]
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

    let near = secret(0);
    let header = almost(&near, BODY);
    let header = header.as_bytes();
    let refused = |verifier: &Verifier, body: &[u8]| {
        assert!(verifier.verify_at(body, header, now).is_err());
    };
    let [far, other] = far_from(mac(&near, BODY), secret, |secret| mac(secret, BODY));
    let keys = Comparison {
        name: "verifier, another key",
        near,
        far,
        other,
    };
    // A copy, so that each class stands at the same place in the memory.
    let prepare = |secret: &WebhookSecret| Verifier::new([&secret.clone()]);
    keys.run(pairs, prepare, |verifier| refused(verifier, BODY));

    let body = |number: u32| {
        let mut body = *BODY;
        body[..4].copy_from_slice(&number.to_be_bytes());
        body
    };
    let signed = |body: &[u8; 512]| mac(&keys.near, body);
    let [far, other] = far_from(signed(BODY), body, signed);
    let bodies = Comparison {
        name: "verifier, another body",
        near: *BODY,
        far,
        other,
    };
    let verifier = Verifier::new([&keys.near]);
    bodies.run(pairs, |body| body.to_vec(), |body| refused(&verifier, body));

    let presented = "pi_3MtwBwLkdIwHu7ix28a3tqPa_secret_YrKJUKribcBjcG8HVhfZluoGH";
    let with = |at: usize, letter: &str| {
        let mut text = presented.to_owned();
        text.replace_range(at..=at, letter);
        text
    };
    let secrets = Comparison {
        name: "client secret",
        near: with(presented.len() - 1, "X"),
        far: with(0, "X"),
        other: with(0, "Y"),
    };
    let prepare = |text: &String| ClientSecret::new(text.as_str());
    secrets.run(pairs, prepare, |secret| {
        for _ in 0..REPEATS {
            assert!(!black_box(secret).matches(black_box(presented)));
        }
    });

    let leaks = Comparison {
        name: "client secret, if it ended early",
        ..secrets
    };
    leaks.run(pairs, String::clone, |secret| {
        for _ in 0..REPEATS {
            let equal = early_exit(
                black_box(secret).as_bytes(),
                black_box(presented).as_bytes(),
            );
            assert!(!equal);
        }
    });
    let leaks = Comparison {
        name: "verifier, another key, if it ended early",
        ..keys
    };
    let mut sent = mac(&leaks.near, BODY);
    sent[31] ^= 1;
    leaks.run(pairs, Clone::clone, |secret| {
        assert!(!early_exit(&mac(secret, BODY), black_box(&sent)));
    });
}
