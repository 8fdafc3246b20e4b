//! Why a sandbox does not start.

use stripe_checkout_core::ConfigError;

/// Why the sandbox did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SandboxError {
    /// The port could not be opened.
    #[error("the sandbox could not listen on {address}")]
    Listen {
        /// The address.
        address: std::net::SocketAddr,
        /// The system's answer.
        #[source]
        source: std::io::Error,
    },
    /// The address is not one of this machine's own.
    #[error("the sandbox listens on loopback only, not on {address}")]
    NotLoopback {
        /// The address.
        address: std::net::SocketAddr,
    },
    /// The address of a webhook endpoint is not plain http to this machine.
    #[error("the sandbox sends webhooks only to this machine by plain http, not to {url:?}")]
    EndpointNotLocal {
        /// The address.
        url: String,
    },
    /// The sandbox's own configuration could not be made.
    #[error(transparent)]
    Config(#[from] ConfigError),
}
