//! Stripe's objects, with all of Stripe's fields. A client that was generated from Stripe's
//! specification refuses objects without them.

pub(crate) mod balance_transaction;
pub(crate) mod charge;
pub(crate) mod checkout_session;
pub(crate) mod coupon;
pub(crate) mod customer;
pub(crate) mod customer_session;
pub(crate) mod dispute;
pub(crate) mod event;
pub(crate) mod mandate;
pub(crate) mod payment_intent;
pub(crate) mod payment_method;
pub(crate) mod refund;
pub(crate) mod setup_intent;
pub(crate) mod token;
