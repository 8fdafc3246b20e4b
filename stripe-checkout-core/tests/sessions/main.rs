//! Orders that are paid on Stripe's own page: fulfilled once, whatever comes first, is lost, is clicked twice or changes meanwhile.

mod authorised;
mod connect;
mod fulfilment;
mod lost;
mod one_open;
mod routes;
mod world;
