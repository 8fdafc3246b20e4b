use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::{Choice, ConstantTimeEq};
use thiserror::Error;

use crate::secret::WebhookSecret;

/// The last second that both of Stripe's SDKs read exactly from its digits. JavaScript's integers
/// are exact up to 2⁵³ − 1 (the year 285,428,751).
const LAST_EXACT_SECOND: u64 = (1 << 53) - 1;

/// The reason why a webhook's signature is refused. The sender sees no difference: each reason gets
/// a 400 with the same generic body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SignatureError {
    /// The `Stripe-Signature` header is missing or empty.
    #[error("the Stripe-Signature header is missing")]
    Missing,
    /// There is more than one `Stripe-Signature` header.
    #[error("there is more than one Stripe-Signature header")]
    Repeated,
    /// The header has no single, well-formed timestamp.
    #[error("the Stripe-Signature header has no valid timestamp")]
    Timestamp,
    /// The header has no signature of the scheme `v1`.
    #[error("the Stripe-Signature header has no v1 signature")]
    NoSignature,
    /// No signature matches the payload and any of the signing secrets.
    #[error(
        "no signature matches the payload: wrong signing secret, or the body was changed on its way"
    )]
    Mismatch,
    /// The signature is valid, but older than the tolerance.
    #[error(
        "the signature is {age_seconds} s old, more than the tolerance of {tolerance_seconds} s: replayed, or this machine's clock is wrong"
    )]
    TooOld {
        /// Seconds between the signature and now.
        age_seconds: u64,
        /// Seconds allowed.
        tolerance_seconds: u64,
    },
}

/// Checks that Stripe signed a webhook with one of your signing secrets, and not long ago.
///
/// It reads the raw bytes of the body and never copies them. It prepares the keys once: keep one
/// verifier for the life of the program. A clone is cheap.
///
/// The verifier judges a header as Stripe's official Python and Node SDKs do where these two agree.
/// Where they disagree, it refuses the header, with two exceptions that bytes alone decide: a
/// malformed `v1` beside a good one, and a body that is not UTF-8. Several timestamps must all be
/// the same number, because each SDK reads another one. The time that a check takes may reveal the
/// length of a secret and which secret matched. It reveals nothing about a signature.
///
/// See <https://docs.stripe.com/webhooks/signature>.
///
/// ```
/// use std::time::{Duration, UNIX_EPOCH};
/// use stripe_checkout_core::{WebhookSecret, webhook::Verifier};
///
/// let verifier = Verifier::new(&[WebhookSecret::new("whsec_test_secret")?]);
/// let body = br#"{"id":"evt_1","object":"event","type":"charge.succeeded"}"#;
/// let header = b"t=1790000000,\
///     v1=fb1351da628b7ca7f267e8704c0afdd0b3491217b0de407e101fc798bb7f4aca";
///
/// let soon = UNIX_EPOCH + Duration::from_secs(1_790_000_002);
/// assert!(verifier.verify_at(body, header, soon).is_ok());
/// assert!(verifier.verify_at(b"{}", header, soon).is_err());
/// # Ok::<(), stripe_checkout_core::ConfigError>(())
/// ```
#[derive(Clone)]
pub struct Verifier {
    keys: Arc<[Hmac<Sha256>]>,
    tolerance: Duration,
}

/// The content of a genuine header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Signed {
    /// The time when Stripe signed this attempt, in seconds since 1970. Stripe signs every attempt
    /// again. So the difference to now is the error of this machine's clock plus the time on the
    /// way. A difference of minutes means that the clock is wrong.
    pub timestamp: i64,
}

impl Verifier {
    /// The largest age of a signature by default, as in Stripe's SDKs: 300 seconds.
    pub const DEFAULT_TOLERANCE: Duration = Duration::from_secs(300);

    /// Creates a verifier that accepts webhooks signed with any of these secrets. While you roll a
    /// secret, pass the old one and the new one.
    ///
    /// Without any secret it refuses everything.
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a WebhookSecret>) -> Self {
        let keys = secrets
            .into_iter()
            // HMAC accepts a key of any length, so this skips no secret. If it did skip one, the
            // signatures of that secret would be refused.
            .filter_map(|secret| Hmac::new_from_slice(secret.expose().as_bytes()).ok())
            .collect();
        Self {
            keys,
            tolerance: Self::DEFAULT_TOLERANCE,
        }
    }

    /// Accepts signatures up to this age.
    ///
    /// In Stripe's SDKs, zero switches the check off. Here it does not: it refuses every timestamp
    /// that lies before the present, even by a fraction of a second. To switch the check off, use
    /// [`verify_ignoring_timestamp`](Self::verify_ignoring_timestamp).
    #[must_use]
    pub fn tolerance(mut self, tolerance: Duration) -> Self {
        self.tolerance = tolerance;
        self
    }

    /// Checks the body, byte for byte as it arrived, against the `Stripe-Signature` header, by this
    /// machine's clock.
    ///
    /// # Errors
    /// See [`SignatureError`]. Return 400 and the same body for each, so that a forger learns
    /// nothing.
    pub fn verify(&self, payload: &[u8], header: &[u8]) -> Result<Signed, SignatureError> {
        self.verify_at(payload, header, SystemTime::now())
    }

    /// Checks like [`verify`](Self::verify), at a given time. A timestamp in the future is
    /// accepted, as in the SDKs: Stripe's clock may be ahead of this machine's.
    ///
    /// # Errors
    /// See [`SignatureError`].
    pub fn verify_at(
        &self,
        payload: &[u8],
        header: &[u8],
        now: SystemTime,
    ) -> Result<Signed, SignatureError> {
        let parsed = self.authenticate(payload, header)?;
        let signed_at = UNIX_EPOCH.checked_add(Duration::from_secs(parsed.seconds));
        let age = signed_at
            .and_then(|signed_at| now.duration_since(signed_at).ok())
            .unwrap_or_default();
        if age > self.tolerance {
            return Err(SignatureError::TooOld {
                age_seconds: age.as_secs(),
                tolerance_seconds: self.tolerance.as_secs(),
            });
        }
        Ok(parsed.signed())
    }

    /// Checks the signature and not its age: for recorded deliveries, or for deliveries that waited
    /// in a queue of your own. On a live endpoint, anyone who once saw a delivery could replay it
    /// forever.
    ///
    /// # Errors
    /// See [`SignatureError`]; never [`TooOld`](SignatureError::TooOld).
    pub fn verify_ignoring_timestamp(
        &self,
        payload: &[u8],
        header: &[u8],
    ) -> Result<Signed, SignatureError> {
        self.authenticate(payload, header)
            .map(|parsed| parsed.signed())
    }

    fn authenticate<'a>(
        &self,
        payload: &[u8],
        header: &'a [u8],
    ) -> Result<Timestamp<'a>, SignatureError> {
        let Header {
            timestamp,
            signatures,
        } = Header::parse(header)?;
        for key in self.keys.iter() {
            let mut mac = key.clone();
            mac.update(timestamp.digits);
            mac.update(b".");
            mac.update(payload);
            let expected = mac.finalize().into_bytes();
            // Every signature is compared, even after a match. So the time depends on the header
            // alone, which its sender knows.
            let matched = signatures
                .iter()
                .fold(Choice::from(0), |matched, signature| {
                    matched | expected.as_slice().ct_eq(signature)
                });
            if matched.into() {
                return Ok(timestamp);
            }
        }
        Err(SignatureError::Mismatch)
    }
}

/// Shows the number of secrets, and nothing of their content.
impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier")
            .field("secrets", &self.keys.len())
            .field("tolerance", &self.tolerance)
            .finish_non_exhaustive()
    }
}

/// The relevant parts of a header: its time, and every well-formed signature of the scheme `v1`.
struct Header<'a> {
    timestamp: Timestamp<'a>,
    signatures: Vec<[u8; 32]>,
}

impl<'a> Header<'a> {
    fn parse(header: &'a [u8]) -> Result<Self, SignatureError> {
        let mut timestamp = None;
        let mut signatures = Vec::new();
        let mut signed = false;
        for field in header.split(|byte| *byte == b',') {
            if let Some(value) = field.strip_prefix(b"v1=") {
                signed = true;
                // A malformed signature is skipped, so that it cannot spoil a good one.
                signatures.extend(unhex(first_value(value)));
            } else if let Some(value) = field.strip_prefix(b"t=") {
                let this = Timestamp::parse(first_value(value)).ok_or(SignatureError::Timestamp)?;
                // If two timestamps differ, the SDKs do not agree on which one counts.
                if timestamp.is_some_and(|other| other != this) {
                    return Err(SignatureError::Timestamp);
                }
                timestamp = Some(this);
            } else if field == b"t" {
                return Err(SignatureError::Timestamp);
            } else if field == b"v1" {
                // Without `=`: for this malformed part alone both SDKs refuse the whole header.
                return Err(SignatureError::NoSignature);
            }
        }
        if header.trim_ascii().is_empty() {
            return Err(SignatureError::Missing);
        }
        let timestamp = timestamp.ok_or(SignatureError::Timestamp)?;
        if signed {
            Ok(Self {
                timestamp,
                signatures,
            })
        } else {
            Err(SignatureError::NoSignature)
        }
    }
}

/// The text up to the second `=` of a field. Both SDKs read the text between the first and the
/// second `=`.
fn first_value(value: &[u8]) -> &[u8] {
    value.split(|byte| *byte == b'=').next().unwrap_or_default()
}

/// The header's `t`: the digits as they are signed, and their value.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Timestamp<'a> {
    digits: &'a [u8],
    seconds: u64,
}

impl<'a> Timestamp<'a> {
    /// Reads a timestamp as both SDKs do: they read a number, and sign the printed form of that
    /// number. So white space around it, a plus sign and leading zeros are accepted, but not
    /// signed.
    fn parse(text: &'a [u8]) -> Option<Self> {
        let text = trim(text);
        let digits = text.strip_prefix(b"+").unwrap_or(text);
        if digits.is_empty() {
            return None;
        }
        let mut seconds = 0_u64;
        for digit in digits {
            let value = digit.checked_sub(b'0').filter(|value| *value <= 9)?;
            seconds = seconds.checked_mul(10)?.checked_add(value.into())?;
        }
        if seconds > LAST_EXACT_SECOND {
            return None;
        }
        let zeros = digits
            .iter()
            .take_while(|digit| **digit == b'0')
            .count()
            .min(digits.len() - 1);
        Some(Self {
            digits: digits.get(zeros..)?,
            seconds,
        })
    }

    fn signed(self) -> Signed {
        Signed {
            timestamp: self.seconds.cast_signed(),
        }
    }
}

/// Strips the white space that both SDKs strip from a number. `trim_ascii` would leave the vertical
/// tab.
fn trim(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t'..=b'\r', rest @ ..] | [rest @ .., b' ' | b'\t'..=b'\r'] = text {
        text = rest;
    }
    text
}

/// Decodes 64 lower-case hexadecimal digits. It refuses upper case, as both SDKs do, because they
/// compare texts.
fn unhex(text: &[u8]) -> Option<[u8; 32]> {
    let (pairs, []) = text.as_chunks::<2>() else {
        return None;
    };
    let mut bytes = [0; 32];
    if pairs.len() != bytes.len() {
        return None;
    }
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = nibble(*high)? << 4 | nibble(*low)?;
    }
    Some(bytes)
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}
