//! Where a visitor is: at the other end of the connection, or where the proxy in front says.

use std::{
    net::{IpAddr, Ipv6Addr, SocketAddr},
    num::NonZeroU32,
};

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use stripe_checkout_core::Visitor;

/// The header in which a proxy writes the visitor's address (`PROXY_HEADER`).
pub(crate) struct ProxyHeader {
    name: String,
    warnings: DefaultDirectRateLimiter,
}

impl ProxyHeader {
    pub(crate) fn new(name: String) -> Self {
        Self {
            name,
            warnings: RateLimiter::direct(Quota::per_minute(NonZeroU32::MIN)),
        }
    }

    /// The visitor's address: without a header, that of the peer. `last` gives the last header of a
    /// name: the proxy adds what it saw at the end, and a visitor may make up the rest.
    ///
    /// A missing or unreadable header gives no address, and a warning at most once a minute.
    pub(crate) fn address<'a>(
        header: Option<&Self>,
        peer: Option<IpAddr>,
        last: impl Fn(&str) -> Option<&'a [u8]>,
    ) -> Option<IpAddr> {
        let Some(header) = header else { return peer };
        let told = last(&header.name).and_then(written_by_proxy);
        if told.is_none() && header.warnings.check().is_ok() {
            tracing::warn!(
                header = header.name,
                "the proxy's header (PROXY_HEADER) is missing or has no address at its end: such visitors share one limit"
            );
        }
        told
    }

    /// The same for a visitor of the checkout's routes.
    pub(crate) fn of_visitor(header: Option<&Self>, visitor: &Visitor) -> Option<IpAddr> {
        let last = |name: &str| visitor.headers(name).last();
        Self::address(header, visitor.peer(), last)
    }
}

impl std::fmt::Debug for ProxyHeader {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_tuple("ProxyHeader")
            .field(&self.name)
            .finish()
    }
}

/// Reads the last address. Some proxies write a port behind it, or brackets around IPv6.
fn written_by_proxy(header: &[u8]) -> Option<IpAddr> {
    let last = str::from_utf8(header).ok()?.rsplit(',').next()?.trim();
    if let Ok(address) = last.parse() {
        return Some(address);
    }
    if let Ok(with_port) = last.parse::<SocketAddr>() {
        return Some(with_port.ip());
    }
    let bare = last.strip_prefix('[')?.strip_suffix(']')?;
    bare.parse::<Ipv6Addr>().ok().map(IpAddr::V6)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn only_what_the_proxy_adds_counts() {
        for (header, found) in [
            ("203.0.113.7", Some("203.0.113.7")),
            ("10.0.0.1, 203.0.113.7", Some("203.0.113.7")),
            ("made up,2001:db8::7", Some("2001:db8::7")),
            ("203.0.113.7:56789", Some("203.0.113.7")),
            ("10.0.0.1:1, 203.0.113.7:443", Some("203.0.113.7")),
            ("[2001:db8::7]:56789", Some("2001:db8::7")),
            ("[2001:db8::7]", Some("2001:db8::7")),
            ("203.0.113.7, unknown", None),
            ("203.0.113.7:", None),
            ("203.0.113.7:99999", None),
            ("[203.0.113.7]", None),
            ("[2001:db8::7", None),
            ("", None),
        ] {
            assert_eq!(
                written_by_proxy(header.as_bytes()),
                found.map(address),
                "{header}"
            );
        }
        assert_eq!(written_by_proxy(b"\xff"), None);
    }

    #[test]
    fn behind_a_proxy_the_connection_tells_nothing() {
        let peer = Some(address("10.0.0.1"));
        let told = |name: &str| (name == "x-real-ip").then_some(b"203.0.113.7".as_slice());
        let found = |header: Option<&str>| {
            let header = header.map(|name| ProxyHeader::new(name.to_owned()));
            ProxyHeader::address(header.as_ref(), peer, told)
        };
        assert_eq!(found(None), peer);
        assert_eq!(found(Some("x-real-ip")), Some(address("203.0.113.7")));
        assert_eq!(found(Some("x-forwarded-for")), None);
    }
}
