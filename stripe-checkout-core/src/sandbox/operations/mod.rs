//! What the routes do.

mod agenda;
mod attempt;
mod cancel;
mod capture;
mod confirm;
mod create;
mod dispute;
mod list;
mod payment_method_data;
mod refund;
mod retrieve;
mod shared_params;
mod update;
mod webhook_endpoint;

pub(super) use attempt::Attempt;
pub(super) use dispute::Opening;
