//! What the routes do.

mod attempt;
mod cancel;
mod capture;
mod checkout_session;
mod confirm;
mod coupon;
mod create;
mod list;
mod payment_method_data;
mod refund;
mod retrieve;
mod session_payment;
mod shared_params;
mod update;
mod webhook_endpoint;

pub(super) use attempt::Attempt;
pub(super) use session_payment::{no_such, shown};
