//! Money that goes back, is reserved, is captured or let go: every call with a reference of its own, against the sandbox, with everything that can go wrong on the way.

mod captures;
mod connect;
mod expire;
mod hooks;
mod refunds;
mod totals;
mod world;
