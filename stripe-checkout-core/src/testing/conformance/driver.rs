//! An adapter, as the suite sees it.

use std::net::SocketAddr;

use super::world::Application;

/// An adapter, as the suite starts it.
pub trait Driver {
    /// Serves the application on a loopback port, to the end of the process, and answers its address. What is to be served is told by [`Application`].
    fn start(&self, application: Application) -> impl Future<Output = SocketAddr>;

    /// Names, in lower case, of the headers that the framework adds to every answer.
    fn own_headers(&self) -> &'static [&'static str] {
        &[]
    }

    /// What the framework does to requests before an adapter sees them: in the cases that it touches, another answer is right.
    fn differences(&self) -> &'static [Difference] {
        &[]
    }
}

/// What a framework does to a request, for good or ill, before an adapter sees it. Each is listed in the README of the adapter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Difference {
    /// Headers whose values are not UTF-8 are dropped, as if they had not been sent.
    DropsNonUtf8Headers,
    /// A target that names its host (`GET http://shop.example/checkout`) loses it; the `Host` header counts.
    ForgetsAuthority,
    /// An adapter sees a request only after the first bytes of its body. No deadline bounds them.
    AwaitsFirstBytes,
}
