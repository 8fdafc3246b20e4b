//! What the routes do.

mod attempt;
mod cancel;
mod capture;
mod confirm;
mod create;
mod list;
mod payment_method_data;
mod refund;
mod retrieve;
mod shared_params;
mod update;
mod webhook_endpoint;

pub(super) use attempt::Attempt;
