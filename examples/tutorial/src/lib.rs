//! What the steps share. What a step is about stands in `src/bin`, and is explained in `examples/README.md`.

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
