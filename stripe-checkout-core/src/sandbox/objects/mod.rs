//! Stripe's objects, with every field that Stripe's own have: a client that was generated from Stripe's specification refuses anything less.

pub(super) mod balance_transaction;
pub(super) mod charge;
pub(super) mod checkout_session;
pub(super) mod coupon;
pub(super) mod customer;
pub(super) mod customer_session;
pub(super) mod dispute;
pub(super) mod event;
pub(super) mod mandate;
pub(super) mod payment_intent;
pub(super) mod payment_method;
pub(super) mod refund;
pub(super) mod setup_intent;
