//! The shop that the example applications share: everything that is independent of a framework.
//!
//! Each framework's own program has the routing, the state, the responses, the start and the end.
//! It makes a [`Visit`] from a request, calls a method of [`Shop`], and sends the [`Answer`]. Read
//! `catalogue.rs`, `prices.rs` and `fulfil.rs` to see the parts that your own shop needs.

mod abandoned;
mod account;
pub mod admin;
mod answer;
mod back_room;
mod balance;
pub mod cart;
pub mod catalogue;
mod chart;
mod closing;
mod connections;
mod day;
mod db;
mod fulfil;
mod ledger;
mod limit;
mod metrics;
mod money;
mod moving;
mod order;
mod outbox;
mod pages;
mod prices;
mod private_file;
mod problem;
mod proxy;
mod random;
mod request;
mod reversal;
mod settings;
mod shop;
mod start;
mod store;
mod subscription;
#[cfg(feature = "testing")]
pub mod testing;
mod typed;
mod upkeep;
mod visit;

use std::io::{self, IsTerminal as _};

pub use abandoned::{Run as AbandonedRun, cancel as cancel_abandoned};
pub use answer::Answer;
pub use balance::OrderDispute;
pub use closing::GRACE;
pub use connections::{Connection as OpenConnection, Connections, WAIT, listen};
pub use db::{Connection, Either, Pool};
pub use fulfil::Fulfil;
pub use ledger::{Entry, Kind};
pub use limit::PerAddress;
pub use metrics::Metrics;
pub use money::price;
pub use order::{Order, OrderItem, OrderRefund, Shipment, Status};
pub use outbox::{Outbox, work as work_off_outbox};
pub use prices::{OrderPrices, OrderReference};
pub use problem::Problem;
pub use random::NoRandom;
pub use settings::{Password, Settings, SettingsError, Stripe};
pub use shop::{Parts, Shop};
pub use start::{App, StartError, checkout, hosted_page, open};
pub use store::{Notice, OrderSummary, Store, StoreError};
pub use stripe_checkout_core::BoxError;
pub use subscription::{Subscribed, subscribe};
pub use visit::Visit;

/// The shop's name.
pub const NAME: &str = "Crab & Kettle";

/// Writes the log to the standard output: from `info` upwards, or as `RUST_LOG` says. It has
/// colours in a terminal only.
///
/// The log has only records of `tracing`. Some frameworks write the whole address of a request to
/// the older `log`, and Stripe's redirect carries the client secret in the query.
pub fn log() {
    // actix-web reports each malformed request of a stranger as an error.
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| "info,actix_http::h1::dispatcher=off".into());
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(io::stdout().is_terminal())
        .finish();
    // After a second call, the first log stays.
    let _ = tracing::subscriber::set_global_default(log);
}

/// An error and its causes in one line, for the operator of the shop.
pub fn causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// The code in the repository's README, compiled with the documentation's tests.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct RootReadme;
