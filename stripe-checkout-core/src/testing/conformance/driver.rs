//! An adapter, as the suite sees it.

use std::net::SocketAddr;

use super::world::Application;

/// An adapter, as the suite starts it.
pub trait Driver {
    /// Serves the [`Application`] on a loopback port, until the process ends, and returns the
    /// address.
    fn start(&self, application: Application) -> impl Future<Output = SocketAddr>;

    /// Names, in lower case, of the headers that the framework adds to every answer.
    fn own_headers(&self) -> &'static [&'static str] {
        &[]
    }

    /// The changes that the framework makes to requests before an adapter sees them. In the cases
    /// that a change touches, another answer is right.
    fn differences(&self) -> &'static [Difference] {
        &[]
    }
}

/// A change that a framework makes to a request before an adapter sees it. The README of the
/// adapter lists each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Difference {
    /// Headers whose values are not UTF-8 are dropped, as if they had not been sent.
    DropsNonUtf8Headers,
    /// A target that names its host (`GET http://shop.example/checkout`) loses it. The header
    /// counts.
    ForgetsAuthority,
    /// An adapter sees a request only after the first bytes of its body. No deadline bounds them.
    AwaitsFirstBytes,
}
