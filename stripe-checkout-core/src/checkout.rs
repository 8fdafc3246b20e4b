//! One value that holds everything: keys, prices, page, inbox and handler. An adapter turns a
//! request into a [`Call`](crate::Call), hands it to [`Checkout::handle`], and turns the
//! [`Reply`](crate::Reply) back; all that decides anything is behind it, once for every
//! framework.
//!
//! [`state`] defines the value, and every other file adds what it can do. No file here imports this
//! one.

mod alerts;
mod builder;
#[cfg(feature = "intent")]
mod cancel_order;
#[cfg(feature = "intent")]
mod captures;
mod clock;
mod delivery_watch;
#[cfg(feature = "intent")]
mod fingerprint;
mod handle;
#[cfg(feature = "intent")]
mod off_session_charge;
#[cfg(feature = "intent")]
mod open_payment;
#[cfg(feature = "intent")]
mod operations;
#[cfg(feature = "checkout")]
mod page_settings;
#[cfg(feature = "intent")]
mod payment_error;
#[cfg(feature = "intent")]
mod people;
#[cfg(feature = "intent")]
mod receipt;
#[cfg(feature = "intent")]
mod reconcile;
#[cfg(feature = "intent")]
mod refunds;
#[cfg(feature = "intent")]
mod refused_emails;
#[cfg(feature = "intent")]
mod retrieved;
#[cfg(feature = "intent")]
mod returned;
mod routes;
mod schedule;
mod state;
mod tasks;
mod tenants;
mod upkeep;
#[cfg(feature = "intent")]
mod visiting;
mod wake;
mod webhook;
mod worker;

pub use self::alerts::Alert;
pub use self::builder::{CheckoutBuilder, Ownership};
#[cfg(feature = "intent")]
pub use self::cancel_order::OrderCancellation;
#[cfg(feature = "intent")]
pub use self::captures::PaymentTotals;
#[cfg(feature = "intent")]
pub use self::payment_error::PaymentError;
#[cfg(feature = "intent")]
pub use self::reconcile::{
    ReconcileError, ReconcileFailure, ReconcilePart, Reconciled, Reconciler,
};
pub use self::schedule::Upkeep;
pub use self::state::Checkout;
pub use self::tenants::Tenants;
pub use self::webhook::VerifyError;
pub use self::worker::Worker;
