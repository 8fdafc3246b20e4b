//! Orders that are paid on Stripe's own page. Each is fulfilled once, in spite of late events, lost
//! events, double clicks and changes.

mod authorised;
mod connect;
mod debits;
mod fulfilment;
mod lost;
mod one_open;
mod routes;
mod world;
