//! The shop's behaviour, on any database.

mod account;
mod admin;
mod attacks;
mod common;
mod fulfilment;
mod ledger;
mod money;
mod processes;
mod routes;
