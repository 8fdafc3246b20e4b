//! `Stripe-Signature`: the verifier judges each header as both official SDKs do.

use std::{
    fmt::Write,
    time::{Duration, UNIX_EPOCH},
};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use stripe_checkout_core::{WebhookSecret, webhook::Verifier};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const PAYLOAD: &[u8] = br#"{"id":"evt_1","object":"event","type":"payment_intent.succeeded"}"#;
const NOW: u64 = 1_790_000_000;
const TOLERANCE: u64 = 300;
/// The largest number of which JavaScript knows every digit.
const LAST_EXACT: u64 = (1 << 53) - 1;

/// Judges a header. `@` stands for the signature of the first timestamp, `#` for that of the last.
pub fn check(input: &[u8]) {
    let header = with_signatures(input);
    let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
    let secret = secret(SECRET);
    let verifier = Verifier::new([&secret]);
    let verdict = verifier.verify_at(PAYLOAD, &header, at(NOW));

    if let Ok(text) = std::str::from_utf8(&header)
        && text.is_ascii()
    {
        let question = Question {
            header: text,
            payload: PAYLOAD,
            secret: SECRET,
            now: NOW,
            tolerance: TOLERANCE,
        };
        let both = question.python() && question.node(EmptySignature::Skipped);
        let expected = both && question.has_one_time();
        assert_eq!(verdict.is_ok(), expected, "{text:?}: {verdict:?}");
    }

    let ignoring = verifier.verify_ignoring_timestamp(PAYLOAD, &header);
    let Ok(signed) = verdict else {
        return;
    };
    assert_eq!(ignoring, Ok(signed));
    let seconds = signed.timestamp.cast_unsigned();
    let end = seconds + TOLERANCE;
    assert!(verifier.verify_at(PAYLOAD, &header, at(end)).is_ok());
    assert!(verifier.verify_at(PAYLOAD, &header, at(end + 1)).is_err());
    let other = WebhookSecret::new("whsec_other").unwrap_or_else(|_| unreachable!());
    let now = at(NOW);
    let rolled = Verifier::new([&other, &secret]);
    assert_eq!(rolled.verify_at(PAYLOAD, &header, now), Ok(signed));
    let wrong = Verifier::new([&other]);
    assert!(wrong.verify_at(PAYLOAD, &header, now).is_err());
    assert!(verifier.verify_at(&PAYLOAD[1..], &header, now).is_err());
    let none = Verifier::new([]);
    assert!(none.verify_at(PAYLOAD, &header, now).is_err());
    assert!(!format!("{verifier:?}").contains(SECRET));
}

fn secret(text: &str) -> WebhookSecret {
    WebhookSecret::new(text).unwrap_or_else(|error| panic!("{error}"))
}

fn with_signatures(input: &[u8]) -> Vec<u8> {
    if !input.iter().any(|byte| b"@#".contains(byte)) {
        return input.to_vec();
    }
    let text = String::from_utf8_lossy(input);
    let times = || fields(&text).filter(|(name, _)| *name == "t");
    let signed = |time: Option<(&str, Option<&str>)>| {
        let number = time.and_then(|(_, value)| python_int(value?));
        mac(
            SECRET,
            &number.map_or("1".to_owned(), Number::print),
            PAYLOAD,
        )
    };
    let (first, last) = (signed(times().next()), signed(times().last()));
    let mut header = Vec::with_capacity(input.len() + first.len() + last.len());
    for byte in input {
        match byte {
            b'@' => header.extend_from_slice(first.as_bytes()),
            b'#' => header.extend_from_slice(last.as_bytes()),
            byte => header.push(*byte),
        }
    }
    header
}

/// One header, put to a model of an SDK.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// The header, in ASCII.
    pub header: &'a str,
    /// The body.
    pub payload: &'a [u8],
    /// The signing secret.
    pub secret: &'a str,
    /// Seconds since 1970.
    pub now: u64,
    /// Seconds; 0 is for ever.
    pub tolerance: u64,
}

/// What `v1=` without a value does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EmptySignature {
    /// As in the Node SDK: it throws, so that the whole header is refused.
    Throws,
    /// As in this crate: a malformed signature does not spoil a good one.
    Skipped,
}

impl Question<'_> {
    /// Whether the Python SDK accepts the header.
    pub fn python(&self) -> bool {
        let times: Option<Vec<&str>> = self.values("t").collect();
        let signatures: Option<Vec<&str>> = self.values("v1").collect();
        let (Some(times), Some(signatures)) = (times, signatures) else {
            return false;
        };
        let Some(number) = times.first().and_then(|first| python_int(first)) else {
            return false;
        };
        self.is_signed(&number, &signatures) && !self.is_too_old(&number)
    }

    /// Whether the Node SDK accepts the header.
    pub fn node(&self, empty: EmptySignature) -> bool {
        let last = fields(self.header).filter(|(name, _)| *name == "t").last();
        let Some((_, value)) = last else {
            return false;
        };
        let number = value.and_then(node_int).unwrap_or_else(|| Number {
            is_negative: false,
            digits: "NaN".to_owned(),
        });
        let signatures: Option<Vec<&str>> = self.values("v1").collect();
        let Some(signatures) = signatures else {
            return false;
        };
        if empty == EmptySignature::Throws && signatures.contains(&"") {
            return false;
        }
        let is_nothing = number.is_negative && number.digits == "1";
        let number = number.rounded();
        !is_nothing && self.is_signed(&number, &signatures) && !self.is_too_old(&number)
    }

    /// Whether all timestamps are one number, which both SDKs print with the same digits. Of
    /// several ones each SDK looks at another. This crate refuses them unless all are the same.
    fn has_one_time(&self) -> bool {
        let numbers: Option<Vec<Number>> =
            self.values("t").map(|value| plain_int(value?)).collect();
        let mut values = numbers.iter().flatten().map(Number::value);
        let Some(Some(first)) = values.next() else {
            return false;
        };
        numbers.is_some() && first <= LAST_EXACT && values.all(|value| value == Some(first))
    }

    /// The values of the fields of this name; none for a field without `=`.
    fn values(&self, name: &str) -> impl Iterator<Item = Option<&str>> {
        fields(self.header)
            .filter(move |(found, _)| *found == name)
            .map(|(_, value)| value)
    }

    fn is_signed(&self, number: &Number, signatures: &[&str]) -> bool {
        if signatures.is_empty() {
            return false;
        }
        let good = mac(self.secret, &number.clone().print(), self.payload);
        signatures.iter().any(|signature| *signature == good)
    }

    fn is_too_old(&self, number: &Number) -> bool {
        let oldest = self.now.saturating_sub(self.tolerance);
        let is_old = match number.value() {
            Some(value) => number.is_negative || value < oldest,
            None => number.is_negative,
        };
        self.tolerance > 0 && is_old
    }
}

/// Name and value of each field. Both SDKs take the value between the first and the second `=`.
fn fields(header: &str) -> impl Iterator<Item = (&str, Option<&str>)> {
    header.split(',').map(|field| {
        let mut parts = field.split('=');
        (parts.next().unwrap_or_default(), parts.next())
    })
}

/// A whole number of any size.
#[derive(Debug, Clone)]
struct Number {
    is_negative: bool,
    /// Without leading zeros.
    digits: String,
}

impl Number {
    fn new(is_negative: bool, digits: &str) -> Self {
        let digits = digits.trim_start_matches('0');
        Self {
            is_negative: is_negative && !digits.is_empty(),
            digits: if digits.is_empty() { "0" } else { digits }.to_owned(),
        }
    }

    fn print(self) -> String {
        let sign = if self.is_negative { "-" } else { "" };
        sign.to_owned() + &self.digits
    }

    /// As JavaScript prints it, up to where it begins to write exponents.
    fn rounded(self) -> Self {
        let digits = match self.digits.parse::<f64>() {
            // The shortest digits that mean this number, and zeros.
            Ok(value) if value < 1e21 || value.is_nan() => value.to_string(),
            _ => "an exponent".to_owned(),
        };
        Self { digits, ..self }
    }

    fn value(&self) -> Option<u64> {
        self.digits.parse().ok()
    }
}

/// `int(text)` of an ASCII text.
fn python_int(text: &str) -> Option<Number> {
    let is_space = |letter: char| matches!(letter, ' ' | '\t'..='\r' | '\x1c'..='\x1f');
    let text = text.trim_matches(is_space);
    let (is_negative, digits) = sign(text);
    let groups: Vec<&str> = digits.split('_').collect();
    let is_number = |group: &&str| !group.is_empty() && group.bytes().all(|b| b.is_ascii_digit());
    let digits = groups.concat();
    // Python refuses longer ones.
    (groups.iter().all(is_number) && digits.len() <= 4300)
        .then(|| Number::new(is_negative, &digits))
}

/// `parseInt(text, 10)` of an ASCII text; none where it is `NaN`.
fn node_int(text: &str) -> Option<Number> {
    let text = text.trim_start_matches(|letter| matches!(letter, ' ' | '\t'..='\r'));
    let (is_negative, digits) = sign(text);
    let end = digits.find(|letter: char| !letter.is_ascii_digit());
    let digits = &digits[..end.unwrap_or(digits.len())];
    (!digits.is_empty()).then(|| Number::new(is_negative, digits))
}

/// Reads the numbers that both SDKs read alike.
fn plain_int(text: &str) -> Option<Number> {
    let text = text.trim_matches(|letter| matches!(letter, ' ' | '\t'..='\r'));
    let digits = text.strip_prefix('+').unwrap_or(text);
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| Number::new(false, digits))
}

fn sign(text: &str) -> (bool, &str) {
    match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    }
}

fn mac(secret: &str, timestamp: &str, payload: &[u8]) -> String {
    let mut mac =
        Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap_or_else(|error| panic!("{error}"));
    mac.update(timestamp.as_bytes());
    mac.update(b".");
    mac.update(payload);
    let mut hex = String::with_capacity(64);
    for byte in mac.finalize().into_bytes() {
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}
