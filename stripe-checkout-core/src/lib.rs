#![doc = include_str!("../README.md")]
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing
    )
)]

mod amount;
mod call;
mod checkout;
mod config;
mod currency;
mod endpoint;
mod error;
mod metadata;
mod reply;
mod secret;

pub mod fulfillment;
#[cfg(feature = "intent")]
pub mod intent;
#[cfg(feature = "checkout")]
mod page;
#[cfg(feature = "intent")]
mod pricing;
#[cfg(feature = "sandbox")]
pub mod sandbox;
#[cfg(feature = "testing")]
pub mod testing;
pub mod webhook;

pub use amount::{Amount, DEFAULT_CAP, Rounding};
pub use config::{API_VERSION, Config, DEFAULT_API_BASE, DEFAULT_STRIPE_JS_URL};
pub use currency::Currency;
pub use error::{
    AmountError, BoxError, ConfigError, CurrencyError, EventError, MetadataError, RequestError,
    SignatureError, VerifyError,
};
pub use metadata::Metadata;
pub use secret::{ClientSecret, Mode, PublishableKey, SecretKey, WebhookSecret};
