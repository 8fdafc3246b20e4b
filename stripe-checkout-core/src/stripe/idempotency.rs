//! The idempotency key: it makes a repeated request the same operation.
//!
//! Stripe remembers a POST by its key for at least 24 hours, and answers a second one with the
//! result of the first. So a key must be the same for every repeat of one operation, and different
//! for everything else: another order, another attempt, other parameters (which Stripe would refuse
//! under the same key), another application on the same account. A random key has none of these
//! properties after a crash. This key is computed from the operation.
//!
//! See Stripe's [idempotent requests](https://docs.stripe.com/api/idempotent_requests).

use std::fmt;
use std::fmt::Write as _;
use std::str::FromStr;

use sha2::{Digest, Sha256};

use crate::requests::RequestError;
use crate::secret::Mode;

/// The operation that an [`IdempotencyKey`] identifies.
///
/// Two operations have the same key exactly when all fields here, and the parameters, are the same.
#[derive(Debug, Clone, Copy)]
pub struct Operation<'a> {
    /// The operation and its object: `create`, `update pi_123`, `cancel pi_123`. Stripe refuses a
    /// key that comes back on another path.
    pub name: &'a str,
    /// The merchant's application. Two applications may share a Stripe account and number their
    /// orders from one.
    pub application: &'a str,
    /// Test or live.
    pub mode: Mode,
    /// The connected account of the operation, if it is not the merchant's own account.
    pub account: Option<&'a str>,
    /// The merchant's own reference of the operation: the order's id for a payment, the refund's
    /// own id for a refund.
    pub reference: &'a str,
    /// The number of the attempt, stored with the order. It rises when the old key can only return
    /// an old failure: after a 4xx, after a terminal PaymentIntent, after a replayed 500.
    pub attempt: u32,
}

/// The value of the header `Idempotency-Key`: 1 to 255 visible ASCII characters.
///
/// ```
/// use stripe_checkout_core::Mode;
/// use stripe_checkout_core::stripe::{IdempotencyKey, Operation};
///
/// let operation = Operation {
///     name: "create",
///     application: "tea-shop",
///     mode: Mode::Test,
///     account: None,
///     reference: "order-1042",
///     attempt: 1,
/// };
/// let key = IdempotencyKey::derive(&operation, b"amount=1999&currency=eur");
///
/// assert_eq!(key, IdempotencyKey::derive(&operation, b"amount=1999&currency=eur"));
/// assert_ne!(key, IdempotencyKey::derive(&operation, b"amount=2999&currency=eur"));
/// assert_ne!(key, IdempotencyKey::derive(&Operation { attempt: 2, ..operation }, b"amount=1999&currency=eur"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct IdempotencyKey(String);

impl IdempotencyKey {
    /// Computes the key of an operation and its form-encoded parameters.
    ///
    /// The parameters must have a fixed order, so that the same parameters give the same bytes. The
    /// key is a SHA-256, so nothing of the input can be read from it.
    pub fn derive(operation: &Operation<'_>, parameters: &[u8]) -> Self {
        let mut hash = Sha256::new();
        let mut field = |bytes: &[u8]| {
            // The length comes first, so that no field can run into the next one.
            hash.update((bytes.len() as u64).to_be_bytes());
            hash.update(bytes);
        };
        field(b"stripe-checkout/1");
        field(operation.name.as_bytes());
        field(operation.application.as_bytes());
        field(if operation.mode.is_live() {
            b"live"
        } else {
            b"test"
        });
        match operation.account {
            Some(account) => {
                field(b"account");
                field(account.as_bytes());
            }
            None => field(b"own"),
        }
        field(operation.reference.as_bytes());
        field(&operation.attempt.to_be_bytes());
        field(parameters);

        let mut text = String::from("sc1_");
        for byte in hash.finalize() {
            // Writing to a `String` cannot fail.
            let _ = write!(text, "{byte:02x}");
        }
        Self(text)
    }

    /// A unique key, for an operation that may be done twice.
    pub(crate) fn once() -> Self {
        Self(format!("sc1_once_{:032x}", fastrand::u128(..)))
    }

    /// The text that is sent.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Takes a key of your own. It must be unique to the operation, be stored before it is sent, and
/// hold no personal data.
impl FromStr for IdempotencyKey {
    type Err = RequestError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fits =
            (1..=255).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        if fits {
            Ok(Self(text.to_owned()))
        } else {
            Err(RequestError::IdempotencyKey)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    const OPERATION: Operation<'static> = Operation {
        name: "create",
        application: "tea-shop",
        mode: Mode::Test,
        account: None,
        reference: "order-1",
        attempt: 1,
    };

    #[test]
    fn it_never_changes() {
        // Stored orders outlive an upgrade. With another value here, a buyer in the middle of
        // paying would get a second PaymentIntent.
        assert_eq!(
            IdempotencyKey::derive(&OPERATION, b"amount=1999&currency=eur").as_str(),
            "sc1_080c64e1db3f3ec2972b21893ce2f804a11a4e936397ec43b593da3b1c5ec3b2"
        );
    }

    #[test]
    fn everything_in_it_counts_and_nothing_runs_together() {
        let p: &[u8] = b"amount=1";
        let keys = [
            (OPERATION, p),
            (OPERATION, b"amount=2"),
            (OPERATION, b""),
            (
                Operation {
                    name: "update",
                    ..OPERATION
                },
                p,
            ),
            (
                Operation {
                    application: "tea-sho",
                    reference: "porder-1",
                    ..OPERATION
                },
                p,
            ),
            (
                Operation {
                    application: "tea-shopo",
                    reference: "rder-1",
                    ..OPERATION
                },
                p,
            ),
            (
                Operation {
                    mode: Mode::Live,
                    ..OPERATION
                },
                p,
            ),
            (
                Operation {
                    account: Some("acct_1"),
                    ..OPERATION
                },
                p,
            ),
            (
                Operation {
                    account: Some(""),
                    ..OPERATION
                },
                p,
            ),
            (
                Operation {
                    account: Some("order-1"),
                    reference: "",
                    ..OPERATION
                },
                p,
            ),
            (
                Operation {
                    account: Some("own"),
                    ..OPERATION
                },
                p,
            ),
            (
                Operation {
                    reference: "order-2",
                    ..OPERATION
                },
                p,
            ),
            (
                Operation {
                    attempt: 2,
                    ..OPERATION
                },
                p,
            ),
            (
                Operation {
                    attempt: 256,
                    ..OPERATION
                },
                p,
            ),
        ];
        let distinct: HashSet<_> = keys
            .iter()
            .map(|(o, p)| IdempotencyKey::derive(o, p))
            .collect();
        assert_eq!(distinct.len(), keys.len());
    }

    #[test]
    fn it_is_a_key_that_stripe_takes_and_that_tells_nothing() {
        let operation = Operation {
            reference: "jane@example.com",
            ..OPERATION
        };
        let key = IdempotencyKey::derive(&operation, &vec![b'x'; 100_000]);
        assert!(key.as_str().len() <= 255);
        assert!(!key.as_str().contains("jane"));
        assert_eq!(key.as_str().parse(), Ok(key.clone()));
    }

    #[test]
    fn a_key_of_the_callers_own_must_fit_a_header() {
        for bad in ["", "a b", "a\nb", "ä", &"x".repeat(256)] {
            assert_eq!(
                bad.parse::<IdempotencyKey>(),
                Err(RequestError::IdempotencyKey),
                "{bad:?}"
            );
        }
        assert!("x".repeat(255).parse::<IdempotencyKey>().is_ok());
    }
}
