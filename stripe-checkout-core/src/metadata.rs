//! Metadata: the merchant's own data on a PaymentIntent.
//!
//! It identifies the order of an event. Stripe refuses metadata that breaks its limits, at the
//! moment when a buyer wants to pay. So the limits are checked when the metadata is built.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::de::{Deserialize, Deserializer};
use serde::ser::{Serialize, Serializer};
use thiserror::Error;

/// Why metadata is refused, by Stripe's limits.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum MetadataError {
    /// More than 50 keys.
    #[error("metadata has at most {limit} keys")]
    TooManyKeys {
        /// Stripe's limit, minus the keys that this crate adds.
        limit: usize,
    },
    /// An empty key, or one of more than 40 characters.
    #[error("the metadata key {key:?} must have 1 to 40 characters")]
    KeyLength {
        /// The key, cut to its first 40 characters.
        key: String,
    },
    /// Square brackets are not allowed in keys.
    #[error("the metadata key {key:?} must not contain square brackets")]
    KeyBrackets {
        /// The key.
        key: String,
    },
    /// A value of more than 500 characters.
    #[error("the value of the metadata key {key:?} must have at most 500 characters")]
    ValueLength {
        /// The key whose value is too long.
        key: String,
    },
    /// The value does not have the requested type.
    #[error("the value of the metadata key {key:?} is not a valid {expected}")]
    WrongType {
        /// The key.
        key: String,
        /// The requested type.
        expected: &'static str,
    },
}

/// Keys and values that Stripe stores with an object and returns in every event about it.
///
/// [Stripe's limits](https://docs.stripe.com/api/metadata) apply: at most 50 keys of 1 to 40
/// characters without square brackets, and values of at most 500 characters. Metadata *from* Stripe
/// is accepted as it is. The order of the keys is always the same, so that a repeated request has
/// the same bytes.
///
/// Do not put secrets or personal data into metadata: the Dashboard and its exports show it.
/// `Debug` prints the keys and the order's id only.
///
/// Stripe does not store an empty value: an empty value removes the key.
///
/// ```
/// use stripe_checkout_core::Metadata;
///
/// let metadata = Metadata::new()
///     .with(Metadata::ORDER_ID, "order-1042")?
///     .with("seats", "3")?;
///
/// assert_eq!(metadata.order_id(), Some("order-1042"));
/// assert_eq!(metadata.get_parsed::<u32>("seats")?, Some(3));
/// assert_eq!(metadata.get("colour"), None);
/// # Ok::<(), stripe_checkout_core::MetadataError>(())
/// ```
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Metadata(BTreeMap<String, String>);

impl Metadata {
    /// The key of the merchant's order id.
    pub const ORDER_ID: &'static str = "order_id";
    /// The largest number of keys.
    pub const MAX_KEYS: usize = 50;
    /// The largest length of a key, in characters.
    pub const MAX_KEY_CHARS: usize = 40;
    /// The largest length of a value, in characters.
    pub const MAX_VALUE_CHARS: usize = 500;

    /// Empty metadata.
    pub const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// The same metadata with one more key; an existing key gets the new value.
    ///
    /// # Errors
    /// As [`insert`](Self::insert).
    pub fn with(
        mut self,
        key: impl Into<String>,
        value: impl Into<String>,
    ) -> Result<Self, MetadataError> {
        self.insert(key, value)?;
        Ok(self)
    }

    /// Adds a key, or replaces its value. On an error nothing changes.
    ///
    /// # Errors
    /// [`KeyLength`](MetadataError::KeyLength), [`KeyBrackets`](MetadataError::KeyBrackets),
    /// [`ValueLength`](MetadataError::ValueLength) and [`TooManyKeys`](MetadataError::TooManyKeys).
    pub fn insert(
        &mut self,
        key: impl Into<String>,
        value: impl Into<String>,
    ) -> Result<(), MetadataError> {
        let (key, value) = (key.into(), value.into());
        if key.is_empty() || longer_than(&key, Self::MAX_KEY_CHARS) {
            return Err(MetadataError::KeyLength {
                key: key.chars().take(Self::MAX_KEY_CHARS).collect(),
            });
        }
        if key.contains(['[', ']']) {
            return Err(MetadataError::KeyBrackets { key });
        }
        if longer_than(&value, Self::MAX_VALUE_CHARS) {
            return Err(MetadataError::ValueLength { key });
        }
        if self.0.len() >= Self::MAX_KEYS && !self.0.contains_key(&key) {
            return Err(MetadataError::TooManyKeys {
                limit: Self::MAX_KEYS,
            });
        }
        self.0.insert(key, value);
        Ok(())
    }

    /// Removes a key and returns its value.
    pub fn remove(&mut self, key: &str) -> Option<String> {
        self.0.remove(key)
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    /// The value of a key, parsed as any type: a number, a UUID, your own id type.
    ///
    /// # Errors
    /// [`WrongType`](MetadataError::WrongType) if the key exists but its value does not parse.
    pub fn get_parsed<T: FromStr>(&self, key: &str) -> Result<Option<T>, MetadataError> {
        self.parsed(key, std::any::type_name::<T>())
    }

    /// The value of a key as a whole number, zero or more.
    ///
    /// # Errors
    /// [`WrongType`](MetadataError::WrongType).
    pub fn get_u64(&self, key: &str) -> Result<Option<u64>, MetadataError> {
        self.parsed(key, "whole number")
    }

    /// The value of a key as a whole number with or without a sign.
    ///
    /// # Errors
    /// [`WrongType`](MetadataError::WrongType).
    pub fn get_i64(&self, key: &str) -> Result<Option<i64>, MetadataError> {
        self.parsed(key, "whole number")
    }

    /// The value of a key as a boolean, written `true` or `false`.
    ///
    /// # Errors
    /// [`WrongType`](MetadataError::WrongType) for anything else.
    pub fn get_bool(&self, key: &str) -> Result<Option<bool>, MetadataError> {
        self.parsed(key, "\"true\" or \"false\"")
    }

    /// The id of the merchant's order.
    ///
    /// It is the value of [`ORDER_ID`](Self::ORDER_ID), unless that is empty.
    pub fn order_id(&self) -> Option<&str> {
        self.get(Self::ORDER_ID).filter(|id| !id.is_empty())
    }

    /// The keys with their values, sorted by key.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> + Clone {
        self.0
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// The number of keys.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are no keys.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn parsed<T: FromStr>(
        &self,
        key: &str,
        expected: &'static str,
    ) -> Result<Option<T>, MetadataError> {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        value
            .parse()
            .map(Some)
            .map_err(|_| MetadataError::WrongType {
                key: key.to_owned(),
                expected,
            })
    }
}

/// Whether a text is longer than the limit. Stripe counts characters, not bytes.
fn longer_than(text: &str, limit: usize) -> bool {
    text.chars().nth(limit).is_some()
}

// Values may be personal data, and developers print whole payments while debugging.
impl fmt::Debug for Metadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |key, value| if key == Self::ORDER_ID { value } else { "…" };
        f.debug_map()
            .entries(self.iter().map(|(key, value)| (key, shown(key, value))))
            .finish()
    }
}

impl Serialize for Metadata {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

/// Accepts anything that Stripe sent: metadata must never be the reason to lose a genuine event.
///
/// `null` is empty metadata. A value that is not a string, which Stripe does not send, is kept as
/// its JSON.
impl<'de> Deserialize<'de> for Metadata {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let sent = Option::<BTreeMap<String, serde_json::Value>>::deserialize(deserializer)?
            .unwrap_or_default();
        let kept = sent.into_iter().filter_map(|(key, value)| match value {
            serde_json::Value::String(text) => Some((key, text)),
            serde_json::Value::Null => None,
            other => Some((key, other.to_string())),
        });
        Ok(Self(kept.collect()))
    }
}

#[cfg(test)]
mod tests;
