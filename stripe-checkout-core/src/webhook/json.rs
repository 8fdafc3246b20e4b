//! Reads Stripe's JSON: strictly where it decides about money, leniently elsewhere, and without
//! showing values anywhere.

use std::{fmt, marker::PhantomData, ops::Range};

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, Visitor, value::MapAccessDeserializer},
};
use serde_json::{error::Category, value::RawValue};

use crate::error::{BoxError, EventError};

/// An enum of Stripe's, to which Stripe may add values at any time.
macro_rules! open_enum {
    ($(#[$docs:meta])* $name:ident { $($(#[$variant_docs:meta])* $variant:ident = $text:literal $(| $former:literal)*,)* }) => {
        $(#[$docs])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum $name {
            $($(#[$variant_docs])* $variant,)*
            /// A value that this version of the crate does not know.
            Other(String),
        }

        impl $name {
            /// The value in Stripe's spelling.
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $text,)*
                    Self::Other(text) => text,
                }
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                match text.as_str() {
                    $($text $(| $former)* => Self::$variant,)*
                    _ => Self::Other(text),
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer).map(Self::from)
            }
        }
    };
}
pub(super) use open_enum;

/// A JSON object. serde alone would also read a struct from an array, field by field, without any
/// names to check.
pub(super) struct Named<T>(pub(super) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Named<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Fields<T> {
            type Value = Named<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<Self::Value, A::Error> {
                T::deserialize(MapAccessDeserializer::new(fields)).map(Named)
            }
        }

        deserializer.deserialize_map(Fields(PhantomData))
    }
}

/// A number of minor units. Stripe's integers are signed 64-bit numbers, and so are the integers of
/// the databases that store it.
#[derive(Clone, Copy, Deserialize)]
#[serde(try_from = "u64")]
pub(super) struct Minor(pub(super) u64);

impl TryFrom<u64> for Minor {
    type Error = &'static str;

    fn try_from(minor: u64) -> Result<Self, Self::Error> {
        i64::try_from(minor)
            .map(|_| Self(minor))
            .map_err(|_| "an amount that no API of Stripe's can hold")
    }
}

/// A value that is useful, but no reason to refuse a genuine object. If it is missing, null, or of
/// an unexpected type, there is no value.
#[derive(Default)]
pub(super) enum Lenient<T> {
    Is(T),
    #[default]
    IsNot,
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Lenient<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Value<T> {
            Is(T),
            IsNot(IgnoredAny),
        }
        // Most absent fields are null, and building an error for them takes time.
        Ok(match Option::deserialize(deserializer)? {
            Some(Value::Is(value)) => Self::Is(value),
            Some(Value::IsNot(_)) | None => Self::IsNot,
        })
    }
}

impl<T> Lenient<T> {
    pub(super) fn ok(self) -> Option<T> {
        match self {
            Self::Is(value) => Some(value),
            Self::IsNot => None,
        }
    }
}

/// A reference to another object: its id, or the whole object if the request expanded it.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum Reference {
    Id(String),
    Expanded { id: String },
}

impl Reference {
    pub(super) fn id(self) -> Option<String> {
        let (Self::Id(id) | Self::Expanded { id }) = self;
        Some(id).filter(|id| !id.is_empty())
    }
}

impl Lenient<Reference> {
    pub(super) fn id(self) -> Option<String> {
        self.ok().and_then(Reference::id)
    }
}

/// The value if it is of that type.
pub(super) fn lenient<'a, T: Deserialize<'a>>(json: &'a RawValue) -> Option<T> {
    serde_json::from_str(json.get()).ok()
}

pub(super) fn not_an_event(error: serde_json::Error) -> EventError {
    EventError::NotAnEvent(describe(&error))
}

/// Describes what is wrong and where. serde_json's own message quotes the value, which may be a
/// client secret or an e-mail address.
pub(crate) fn describe(error: &serde_json::Error) -> BoxError {
    let message = error.to_string();
    // These names come from our types, not from the text.
    let names_a_field =
        message.starts_with("missing field `") || message.starts_with("duplicate field `");
    let what = match error.classify() {
        Category::Data if names_a_field => return message.into(),
        Category::Data => "a value of an unexpected type",
        Category::Syntax => "not JSON",
        Category::Eof => "JSON that ends too early",
        Category::Io => "unreadable",
    };
    format!("{what} at line {} column {}", error.line(), error.column()).into()
}

/// Replaces the text behind every name `client_secret` with `null`. The result is valid JSON.
/// Spaces fill the rest of the place, so that everything else stays where it was.
pub(super) fn hide_client_secrets(mut json: String) -> String {
    if !json.contains(CLIENT_SECRET) {
        return json;
    }
    for place in client_secrets(&json) {
        let width = place.len();
        // A text of one character is no secret, and `null` does not fit into its place.
        let hidden = if width < "null".len() { "\"\"" } else { "null" };
        json.replace_range(place, &format!("{hidden:<width$}"));
    }
    json
}

/// The name with its quotes.
const CLIENT_SECRET: &str = "\"client_secret\"";

/// The positions of the texts behind the names `client_secret`, with their quotes.
fn client_secrets(json: &str) -> Vec<Range<usize>> {
    let mut places = Vec::new();
    for (at, name) in json.match_indices(CLIENT_SECRET) {
        let (before, behind) = (json.get(..at), json.get(at + name.len()..));
        // A quote inside a text has a backslash before it.
        let is_inside = before.is_some_and(|before| before.ends_with('\\'));
        // Without a colon behind it, the text is a value itself.
        let value = behind.and_then(|behind| behind.trim_start().strip_prefix(':'));
        let Some(value) = value.map(str::trim_start).filter(|_| !is_inside) else {
            continue;
        };
        if let Some(secret) = value.strip_prefix('"') {
            let (_, rest) = split_string(secret);
            places.push(json.len() - value.len()..json.len() - rest.len());
        }
    }
    places
}

/// The inside of a JSON string, and the text behind its closing quote. The opening quote is already
/// consumed.
fn split_string(json: &str) -> (&str, &str) {
    let mut escaped = false;
    let closing = json.bytes().position(|byte| {
        let closes = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        closes
    });
    closing
        .and_then(|closing| Some((json.get(..closing)?, json.get(closing + 1..)?)))
        .unwrap_or((json, ""))
}
