use proptest::prelude::*;

use super::*;

fn full() -> Metadata {
    (0..Metadata::MAX_KEYS).fold(Metadata::new(), |metadata, index| {
        metadata.with(format!("key{index}"), "x").unwrap()
    })
}

#[test]
fn the_limits_are_stripes() {
    assert_eq!(
        (
            Metadata::MAX_KEYS,
            Metadata::MAX_KEY_CHARS,
            Metadata::MAX_VALUE_CHARS
        ),
        (50, 40, 500)
    );
    assert_eq!(Metadata::ORDER_ID, "order_id");
}

#[test]
fn fifty_keys_and_no_more() {
    let mut metadata = full();
    assert_eq!(metadata.len(), 50);
    assert_eq!(
        metadata.insert("one-more", "x"),
        Err(MetadataError::TooManyKeys { limit: 50 })
    );
    assert_eq!(metadata, full());
    assert_eq!(metadata.insert("key7", "another value"), Ok(()));
    assert_eq!(
        (metadata.len(), metadata.get("key7")),
        (50, Some("another value"))
    );
    assert_eq!(metadata.remove("key7").as_deref(), Some("another value"));
    assert_eq!(metadata.insert("one-more", "x"), Ok(()));
}

#[test]
fn keys_have_one_to_forty_characters() {
    assert_eq!(
        Metadata::new().with("", "x"),
        Err(MetadataError::KeyLength { key: String::new() })
    );
    assert!(Metadata::new().with("k".repeat(40), "x").is_ok());
    // Characters, not bytes; and the error does not repeat a key of any length.
    assert!(Metadata::new().with("é".repeat(40), "x").is_ok());
    assert_eq!(
        Metadata::new().with("é".repeat(41), "x"),
        Err(MetadataError::KeyLength {
            key: "é".repeat(40)
        })
    );
    assert_eq!(
        Metadata::new().with("k".repeat(9000), "x"),
        Err(MetadataError::KeyLength {
            key: "k".repeat(40)
        })
    );
}

#[test]
fn keys_have_no_square_brackets() {
    for key in ["a[b", "a]", "[", "items[0]"] {
        assert_eq!(
            Metadata::new().with(key, "x"),
            Err(MetadataError::KeyBrackets {
                key: key.to_owned()
            })
        );
    }
    assert!(
        Metadata::new()
            .with("a(b){c}", "[brackets in a value]")
            .is_ok()
    );
}

#[test]
fn values_have_at_most_five_hundred_characters() {
    assert!(Metadata::new().with("k", "").is_ok());
    assert!(Metadata::new().with("k", "v".repeat(500)).is_ok());
    assert!(Metadata::new().with("k", "ü".repeat(500)).is_ok());
    assert_eq!(
        Metadata::new().with("k", "v".repeat(501)),
        Err(MetadataError::ValueLength {
            key: "k".to_owned()
        })
    );
}

#[test]
fn an_error_changes_nothing_and_names_no_value() {
    let mut metadata = Metadata::new().with("k", "before").unwrap();
    let error = metadata.insert("k", "canary".repeat(100)).unwrap_err();
    assert_eq!(metadata.get("k"), Some("before"));
    assert!(!format!("{error} {error:?}").contains("canary"));
}

#[test]
fn values_are_read_as_types() {
    let metadata = Metadata::new()
        .with("seats", "3")
        .and_then(|metadata| metadata.with("delta", "-3"))
        .and_then(|metadata| metadata.with("gift", "true"))
        .and_then(|metadata| metadata.with("note", "three"))
        .unwrap();

    assert_eq!(metadata.get_u64("seats"), Ok(Some(3)));
    assert_eq!(metadata.get_i64("delta"), Ok(Some(-3)));
    assert_eq!(metadata.get_bool("gift"), Ok(Some(true)));
    assert_eq!(
        metadata.get_parsed::<std::num::NonZeroU8>("seats"),
        Ok(std::num::NonZeroU8::new(3))
    );
    assert_eq!(
        metadata.get_parsed::<String>("note"),
        Ok(Some("three".to_owned()))
    );

    assert_eq!(metadata.get_u64("missing"), Ok(None));
    assert_eq!(metadata.get_bool("missing"), Ok(None));
    let wrong = |key: &str, expected| MetadataError::WrongType {
        key: key.to_owned(),
        expected,
    };
    assert_eq!(
        metadata.get_u64("delta"),
        Err(wrong("delta", "whole number"))
    );
    assert_eq!(metadata.get_i64("note"), Err(wrong("note", "whole number")));
    assert_eq!(
        metadata.get_bool("seats"),
        Err(wrong("seats", "\"true\" or \"false\""))
    );
    assert_eq!(metadata.get_parsed::<u8>("note"), Err(wrong("note", "u8")));
    assert!(
        !metadata
            .get_u64("note")
            .unwrap_err()
            .to_string()
            .contains("three")
    );
}

#[test]
fn the_order_is_found_by_its_id() {
    let metadata = Metadata::new().with("order_id", "order-1042").unwrap();
    assert_eq!(metadata.order_id(), Some("order-1042"));
    assert_eq!(Metadata::new().order_id(), None);
    assert_eq!(
        Metadata::new().with("order_id", "").unwrap().order_id(),
        None
    );
}

#[test]
fn the_order_of_keys_is_stable() {
    let one = Metadata::new()
        .with("b", "2")
        .unwrap()
        .with("a", "1")
        .unwrap();
    let other = Metadata::new()
        .with("a", "1")
        .unwrap()
        .with("b", "2")
        .unwrap();
    assert_eq!(one, other);
    assert_eq!(one.iter().collect::<Vec<_>>(), [("a", "1"), ("b", "2")]);
    assert_eq!(one.iter().len(), 2);
    assert_eq!(serde_json::to_string(&one).unwrap(), r#"{"a":"1","b":"2"}"#);
}

#[test]
fn debug_shows_the_order_and_no_other_value() {
    let metadata = Metadata::new()
        .with("order_id", "order-1042")
        .unwrap()
        .with("name", "Ada")
        .unwrap();
    assert_eq!(
        format!("{metadata:?}"),
        r#"{"name": "…", "order_id": "order-1042"}"#
    );
}

#[test]
fn what_stripe_sends_is_taken() {
    let read = |json: &str| serde_json::from_str::<Metadata>(json).unwrap();
    assert_eq!(read(r#"{"order_id":"7"}"#).order_id(), Some("7"));
    assert_eq!(read("null"), Metadata::new());
    assert!(read("{}").is_empty());
    let odd = read(r#"{"n":1,"b":true,"gone":null,"o":{"x":[1]}}"#);
    assert_eq!(
        odd.iter().collect::<Vec<_>>(),
        [("b", "true"), ("n", "1"), ("o", r#"{"x":[1]}"#)]
    );

    // Beyond the limits that hold for what is sent.
    let many: BTreeMap<_, _> = (0..60)
        .map(|index| (format!("[{index}]"), "v".repeat(600)))
        .collect();
    assert_eq!(read(&serde_json::to_string(&many).unwrap()).len(), 60);

    for json in ["[]", "\"text\"", "3"] {
        assert!(serde_json::from_str::<Metadata>(json).is_err(), "{json}");
    }
}

proptest! {
    #[test]
    fn what_is_accepted_is_within_the_limits(key in "\\PC{0,60}", value in "\\PC{0,700}") {
        let fits = (1..=40).contains(&key.chars().count()) && !key.contains(['[', ']']) && value.chars().count() <= 500;
        match Metadata::new().with(key.as_str(), value.as_str()) {
            Ok(metadata) => {
                prop_assert!(fits);
                prop_assert_eq!(metadata.get(&key), Some(value.as_str()));
                let json = serde_json::to_string(&metadata).unwrap();
                prop_assert_eq!(serde_json::from_str::<Metadata>(&json).unwrap(), metadata);
            }
            Err(_) => prop_assert!(!fits),
        }
    }
}
