//! What the shop does, whichever database it runs on.

mod account;
mod admin;
mod attacks;
mod common;
mod fulfilment;
mod ledger;
mod money;
mod processes;
mod routes;
