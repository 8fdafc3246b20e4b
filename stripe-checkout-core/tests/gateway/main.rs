//! The gateway over real sockets.

mod calls;
mod server;
mod tls;
