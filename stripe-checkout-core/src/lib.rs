// The README covers all features. Without `intent`, its examples do not compile, and some of the
// items that it names do not exist.
#![cfg_attr(any(feature = "intent", not(doctest)), doc = include_str!("../README.md"))]
#![cfg_attr(not(feature = "checkout"), allow(rustdoc::broken_intra_doc_links))]
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing
    )
)]

#[cfg(any(feature = "checkout", feature = "sessions"))]
mod address;
mod amount;
mod build_error;
mod call;
mod checkout;
mod config;
mod currency;
#[cfg(feature = "intent")]
mod customers;
mod endpoint;
mod error;
mod marks;
mod metadata;
mod quiet;
mod reply;
mod secret;
mod telemetry;

pub mod fulfillment;
#[cfg(feature = "intent")]
mod guard;
pub mod guide;
#[cfg(feature = "checkout")]
mod page;
#[cfg(feature = "intent")]
mod pricing;
#[cfg(feature = "intent")]
pub mod requests;
#[cfg(feature = "intent")]
pub mod stripe;
#[cfg(feature = "testing")]
pub mod testing;
pub mod webhook;

pub use amount::{Amount, AmountError, DEFAULT_CAP, Rounding};
pub use build_error::BuildError;
pub use call::{Body, Call, Visitor, VisitorData};
pub use checkout::{
    Alert, Checkout, CheckoutBuilder, Ownership, Tenants, Upkeep, VerifyError, Worker,
};
#[cfg(feature = "intent")]
pub use checkout::{
    OrderCancellation, PaymentError, PaymentTotals, ReconcileError, ReconcileFailure,
    ReconcilePart, Reconciled, Reconciler,
};
#[cfg(feature = "dotenv")]
pub use config::DotEnv;
pub use config::{API_VERSION, Config, DEFAULT_API_BASE, DEFAULT_STRIPE_JS_URL};
pub use currency::{Currency, CurrencyError};
#[cfg(feature = "intent")]
pub use customers::CustomerResolver;
pub use endpoint::{Endpoint, Group, Method};
pub use error::*;
#[cfg(feature = "intent")]
pub use guard::{GuardError, GuardedAction, PaymentGuard};
pub use metadata::{Metadata, MetadataError};
#[cfg(feature = "intent")]
pub use pricing::{ClientAmount, OrderRef, Pricing, PricingError};
pub use reply::Reply;
#[cfg(feature = "intent")]
pub use requests::RequestError;
pub use secret::{ClientSecret, Mode, PublishableKey, SecretKey, WebhookSecret};
#[cfg(feature = "intent")]
pub use stripe::{ApiError, TransportError};
pub use webhook::signature::SignatureError;
