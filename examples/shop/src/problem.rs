//! Everything that can be wrong with a request, and the one place that says what is answered.

use std::time::Duration;

use stripe_checkout_core::BoxError;

use crate::cart::CartError;

/// Why a request is not answered as it was meant.
#[derive(Debug)]
#[non_exhaustive]
pub enum Problem {
    /// No such page, order or picture (404).
    NotFound,
    /// The body is not what the route reads (400).
    Malformed,
    /// The API reads JSON only (415).
    NotJson,
    /// The body is larger than [`Visit::BODY_LIMIT`](crate::Visit::BODY_LIMIT) (413).
    TooLarge,
    /// The body did not come within [`Visit::BODY_DEADLINE`](crate::Visit::BODY_DEADLINE) (408).
    TooSlow,
    /// Another site's page sent this (403).
    CrossSite,
    /// The form's token is not this session's (403).
    ForgedForm,
    /// The token is missing or wrong (401).
    Unauthorized,
    /// The card is not one of the buyer's (404).
    UnknownCard,
    /// The cart cannot be ordered (422).
    Cart(CartError),
    /// Too many attempts (429).
    TooMany(Duration),
    /// Too many visitors wait for the same thing (503).
    Busy,
    /// The database, or something else of ours, failed (503). The cause is logged, never shown.
    Unavailable(BoxError),
}

impl Problem {
    /// Status, code for programs, title and sentence for people.
    pub(crate) fn parts(&self) -> (u16, &'static str, &'static str, String) {
        let (status, code, title, message) = match self {
            Self::NotFound => (
                404,
                "not_found",
                "Nothing here",
                "We looked under every stone. The address may have a typing error.",
            ),
            Self::Malformed => (
                400,
                "malformed",
                "That did not work",
                "The request could not be read.",
            ),
            Self::NotJson => (
                415,
                "not_json",
                "That did not work",
                "Send JSON, with the content type application/json.",
            ),
            Self::TooLarge => (
                413,
                "body_too_large",
                "That did not work",
                "The request is too large.",
            ),
            Self::TooSlow => (
                408,
                "body_too_slow",
                "That did not work",
                "The request took too long to arrive.",
            ),
            Self::CrossSite => (
                403,
                "cross_site",
                "That did not work",
                "This can only be done from the shop\u{2019}s own pages.",
            ),
            Self::ForgedForm => (
                403,
                "forged_form",
                "That did not work",
                "The page was too old. Please load it again.",
            ),
            Self::Unauthorized => (
                401,
                "unauthorized",
                "That did not work",
                "Send the token, as Authorization: Bearer.",
            ),
            Self::UnknownCard => (
                404,
                "unknown_card",
                "We do not know this card",
                "It is not among the cards of your account. Perhaps you have removed it. Nothing was charged.",
            ),
            Self::Cart(error) => {
                return (
                    422,
                    "cart_refused",
                    "This cannot be ordered",
                    error.to_string(),
                );
            }
            Self::TooMany(_) => (
                429,
                "too_many_attempts",
                "Please wait",
                "Too many attempts. Please wait a moment and try again.",
            ),
            Self::Busy => (
                503,
                "busy",
                "One moment, please",
                "Many visitors are here at the moment. Please try again in a few seconds.",
            ),
            Self::Unavailable(_) => (
                503,
                "unavailable",
                "One moment, please",
                "Something is wrong on our side. Please try again in a minute.",
            ),
        };
        (status, code, title, message.to_owned())
    }

    pub(crate) fn retry_after(&self) -> Option<u64> {
        match self {
            Self::TooMany(wait) => Some(wait.as_secs().max(1)),
            Self::Busy => Some(5),
            Self::Unavailable(_) => Some(30),
            _ => None,
        }
    }
}

impl From<CartError> for Problem {
    fn from(error: CartError) -> Self {
        Self::Cart(error)
    }
}

/// What the visitor cannot help is one problem, whatever failed.
macro_rules! unavailable {
    ($($error:ty),*) => {
        $(impl From<$error> for Problem {
            fn from(error: $error) -> Self {
                Self::Unavailable(error.into())
            }
        })*
    };
}

unavailable!(
    crate::store::StoreError,
    crate::random::NoRandom,
    stripe_checkout_core::AmountError,
    stripe_checkout_core::InboxError,
    minijinja::Error
);
