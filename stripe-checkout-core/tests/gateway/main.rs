//! The gateway over real sockets.

mod calls;
mod log;
mod proxy;
mod server;
mod tls;
