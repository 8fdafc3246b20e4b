//! Code that the steps share. The code that a step introduces is in `src/bin`, and
//! `examples/README.md` explains it.

mod database;
mod log_in;
mod orders;
mod stripe;

pub use self::{
    database::Database,
    log_in::{LogIn, User},
    orders::{Cart, OrderId, Orders, teapots},
    stripe::{Stripe, serve},
};
