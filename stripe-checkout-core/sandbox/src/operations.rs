//! What the routes do.

mod attempt;
mod cancel;
mod capture;
mod checkout_session;
mod confirm;
mod coupon;
mod create;
mod customer;
mod customer_session;
mod dispute;
mod list;
mod method_options;
mod payment_method;
mod payment_method_data;
mod refund;
mod retrieve;
mod scheduler;
mod session_payment;
mod setup_intent;
mod shared_params;
mod token;
mod update;
mod webhook_endpoint;

pub(crate) use attempt::Attempt;
pub(crate) use dispute::Opening;
pub(crate) use session_payment::{no_such, shown};
