//! What the shop does, whichever database it runs on.

mod admin;
mod common;
mod fulfilment;
mod processes;
mod routes;
