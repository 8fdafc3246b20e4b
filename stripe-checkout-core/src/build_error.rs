//! Why a checkout, its page or its way to Stripe is not built.

use thiserror::Error;

use crate::error::{BoxError, ConfigError};

/// Why a checkout cannot be built: found at start, so that it fails closed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The configuration is not complete for what is asked.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// No handler and no inbox were given.
    #[error("a checkout needs .fulfillment(inbox, handler): without it a paid order would be lost")]
    NoFulfillment,
    /// No name: two shops on one Stripe account whose orders count from one would share their
    /// PaymentIntents, and two applications on one database their events.
    #[error(
        "a checkout with prices, or with an inbox in a database, needs .application(\"a name\") that no other application of the same Stripe account or database has"
    )]
    NoApplication,
    /// Only who takes payments has customers.
    #[error("a checkout with .customers(…) needs .pricing(…) too")]
    CustomersWithoutPricing,
    /// The memory inbox forgets at a restart, which live money does not forgive.
    #[error(
        "MemoryInbox forgets everything at a restart, so it is refused with live keys: use SqliteInbox or PostgresInbox, also beside a store of your own, and a unique key on the order in the transaction in which your handler writes"
    )]
    MemoryInLiveMode,
    /// The name of the Connect application cannot be one.
    #[error("the id of a Connect application begins with ca_")]
    ConnectApplication,
    /// After a restart only Stripe knows the payments on connected accounts, and asking it
    /// needs a key.
    #[error(
        "MemoryInbox forgets payments on connected accounts at a restart, and without .pricing(…) there is no key to look them up: use a database's inbox"
    )]
    MemoryWithConnectedAccounts,
    /// A queued event is acknowledged before its handler runs, so it must survive a restart.
    #[error(
        "MemoryInbox forgets everything at a restart, so events cannot be queued in it: use a database's inbox"
    )]
    MemoryQueued,
    /// The webhook's path does not begin with a slash, has empty or dot segments, a query or
    /// other unusual characters, or is that of another route.
    #[error(
        "the path {path:?} must begin with '/', hold only letters, digits and - _ . / without empty or dot segments, and not be one of the checkout's other paths"
    )]
    Path {
        /// The path.
        path: String,
    },
    /// No account can have this prefix of statement descriptors.
    #[cfg(feature = "intent")]
    #[error(
        "a statement descriptor prefix has 2 to 10 ASCII characters, at least one letter, and none of < > \\ ' \" *"
    )]
    StatementDescriptorPrefix,
    /// What a [`HostedCheckout`](crate::requests::HostedCheckout) says cannot be sent to Stripe.
    #[cfg(feature = "sessions")]
    #[error("the hosted checkout cannot be: {flaw}")]
    HostedCheckout {
        /// The flaw, in a few words.
        flaw: &'static str,
    },
    /// A template of the merchant's does not compile.
    #[error("the template {name} does not compile")]
    Template {
        /// Its name.
        name: String,
        /// The template engine's message.
        #[source]
        source: BoxError,
    },
    /// The TLS or HTTP client could not be set up.
    #[error("the HTTP client could not be set up")]
    Transport(#[source] BoxError),
}
