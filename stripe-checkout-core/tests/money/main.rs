//! Refunds, authorisations, captures and releases against the sandbox, with all its faults. Every
//! call has its own reference.

mod captures;
mod connect;
mod expire;
mod generated;
mod hooks;
mod interleaved;
mod refunds;
mod totals;
mod world;
