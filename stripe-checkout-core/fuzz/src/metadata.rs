//! Metadata: from Stripe everything is taken, and from the merchant only what Stripe takes.

use std::collections::BTreeMap;

use serde_json::Value;
use stripe_checkout_core::{Metadata, MetadataError};

/// Reads metadata as JSON, and inserts its keys one by one.
pub fn check(input: &[u8]) {
    let found: Result<Metadata, _> = serde_json::from_slice(input);
    let expected = serde_json::from_slice(input).ok().and_then(taken);
    let Some(expected) = expected else {
        assert!(found.is_err(), "{found:?}");
        return;
    };
    let found = found.unwrap_or_else(|error| panic!("{error}: {expected:?}"));
    assert!(
        found.iter().eq(pairs(&expected)),
        "{found:?}, not {expected:?}"
    );
    assert_eq!(
        (found.len(), found.is_empty()),
        (expected.len(), expected.is_empty())
    );
    let order = expected.get("order_id").filter(|id| !id.is_empty());
    assert_eq!(found.order_id(), order.map(String::as_str));
    roundtrip(&found);

    let mut built = Metadata::new();
    let mut kept = BTreeMap::new();
    for (key, value) in &expected {
        read(&found, key, value);
        let before = built.clone();
        match (built.insert(key, value), flaw(&kept, key, value)) {
            (Ok(()), None) => {
                kept.insert(key.clone(), value.clone());
                assert_eq!(before.clone().with(key, value), Ok(built.clone()));
            }
            (Err(error), Some(flaw)) => {
                let name = |error: &MetadataError| std::mem::discriminant(error);
                assert_eq!(name(&error), name(&flaw), "{key:?}");
                assert_eq!(built, before);
            }
            (found, expected) => panic!("{key:?}: {found:?}, not {expected:?}"),
        }
    }
    assert!(built.len() <= Metadata::MAX_KEYS);
    assert!(built.iter().eq(pairs(&kept)));
    roundtrip(&built);
    for (key, value) in kept {
        assert_eq!(built.remove(&key), Some(value));
        assert_eq!(built.remove(&key), None);
    }
    assert!(built.is_empty());
}

/// The metadata that Stripe's JSON holds; none if it holds something else.
fn taken(value: Value) -> Option<BTreeMap<String, String>> {
    let fields = match value {
        Value::Null => Default::default(),
        Value::Object(fields) => fields,
        _ => return None,
    };
    let kept = fields.into_iter().filter_map(|(key, value)| match value {
        Value::String(text) => Some((key, text)),
        Value::Null => None,
        other => Some((key, other.to_string())),
    });
    Some(kept.collect())
}

fn pairs(map: &BTreeMap<String, String>) -> impl Iterator<Item = (&str, &str)> {
    map.iter().map(|(key, value)| (&**key, &**value))
}

/// Why Stripe would refuse a further key.
fn flaw(kept: &BTreeMap<String, String>, key: &str, value: &str) -> Option<MetadataError> {
    let key_length = key.chars().count();
    if !(1..=40).contains(&key_length) {
        return Some(MetadataError::KeyLength { key: String::new() });
    }
    if key.chars().any(|letter| letter == '[' || letter == ']') {
        return Some(MetadataError::KeyBrackets { key: String::new() });
    }
    if value.chars().count() > 500 {
        return Some(MetadataError::ValueLength { key: String::new() });
    }
    (kept.len() == 50).then_some(MetadataError::TooManyKeys { limit: 50 })
}

fn read(metadata: &Metadata, key: &str, value: &str) {
    assert_eq!(metadata.get(key), Some(value));
    assert_eq!(metadata.get_u64(key).ok().flatten(), value.parse().ok());
    assert_eq!(metadata.get_i64(key).ok().flatten(), value.parse().ok());
    let boolean = match value {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    };
    assert_eq!(metadata.get_bool(key).ok().flatten(), boolean);
    let parsed: Result<Option<f64>, _> = metadata.get_parsed(key);
    assert_eq!(parsed.is_ok(), value.parse::<f64>().is_ok());
    // Values are not for logs.
    let is_long = value.len() > 20 && key != Metadata::ORDER_ID;
    let shown = format!("{metadata:?}");
    let hides = !metadata.iter().any(|(key, _)| key.contains(value));
    let order = metadata.order_id().unwrap_or_default();
    if is_long && hides && !order.contains(value) {
        assert!(!shown.contains(value));
    }
}

fn roundtrip(metadata: &Metadata) {
    let json = serde_json::to_string(metadata).unwrap_or_else(|error| panic!("{error}"));
    let again: Metadata = serde_json::from_str(&json).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(again, *metadata);
}
