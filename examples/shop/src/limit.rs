//! Who presses *Pay* too often is told to wait: a thief who tries stolen cards needs many payments, a buyer needs one.

use std::{
    net::{IpAddr, Ipv6Addr},
    num::NonZeroU32,
};

use governor::{
    Quota, RateLimiter,
    clock::{Clock, DefaultClock},
    state::keyed::DefaultKeyedStateStore,
};
use stripe_checkout_core::{Attempt, Guard, GuardError, Visitor};

/// A limit of payments that are begun from one address.
pub struct PerAddress {
    limiter: RateLimiter<IpAddr, DefaultKeyedStateStore<IpAddr>, DefaultClock>,
    /// In which header a proxy writes the visitor's address.
    header: Option<String>,
}

/// When so many addresses are remembered, those that may do all again are forgotten.
const REMEMBERED: usize = 10_000;

impl std::fmt::Debug for PerAddress {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("PerAddress").finish_non_exhaustive()
    }
}

impl PerAddress {
    /// So many a minute, and no more at once. With a header, the address that the proxy writes there counts instead of the connection's.
    pub fn new(a_minute: NonZeroU32, header: Option<String>) -> Self {
        Self {
            limiter: RateLimiter::keyed(Quota::per_minute(a_minute)),
            header,
        }
    }

    fn address(&self, visitor: &Visitor) -> Option<IpAddr> {
        address(self.header.as_deref(), visitor.peer(), |name| {
            visitor.headers(name).last()
        })
    }

    fn count(&self, address: Option<IpAddr>) -> Result<(), GuardError> {
        let address = counted(address);
        if self.limiter.len() > REMEMBERED {
            self.limiter.retain_recent();
        }
        self.limiter.check_key(&address).map_err(|early| {
            let now = self.limiter.clock().now();
            GuardError::TooMany {
                retry_after: early.wait_time_from(now),
            }
        })
    }
}

/// The proxy adds what it saw at the end; what stands before that the visitor may have made up.
fn told_by_proxy(header: &[u8]) -> Option<IpAddr> {
    let last = str::from_utf8(header).ok()?.rsplit(',').next()?;
    last.trim().parse().ok()
}

/// Where a visitor is: at the other end of the connection, or, with a proxy's header, where that says. `last` gives the last header of a name.
pub(crate) fn address<'a>(
    header: Option<&str>,
    peer: Option<IpAddr>,
    last: impl Fn(&str) -> Option<&'a [u8]>,
) -> Option<IpAddr> {
    match header {
        Some(header) => last(header).and_then(told_by_proxy),
        None => peer,
    }
}

/// What is counted for a visitor. An address that nobody knows is one address: it does not open the door.
pub(crate) fn counted(address: Option<IpAddr>) -> IpAddr {
    address.map_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED), one_visitor)
}

/// One visitor has one IPv4 address, or a whole network of IPv6.
fn one_visitor(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            const NETWORK: u128 = !0 << 64;
            Ipv6Addr::from_bits(address.to_bits() & NETWORK).into()
        }
        address => address,
    }
}

impl Guard for PerAddress {
    async fn admit(&self, visitor: &Visitor, attempt: Attempt<'_>) -> Result<(), GuardError> {
        match attempt {
            // Neither starts a payment, and the return page looks again and again.
            Attempt::LookUp | Attempt::CustomerSession => Ok(()),
            _ => self.count(self.address(visitor)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    /// So few that none is given back while a test runs.
    fn two_a_minute() -> PerAddress {
        PerAddress::new(NonZeroU32::new(2).expect("two"), None)
    }

    fn refused(answer: Result<(), GuardError>) -> bool {
        match answer {
            Ok(()) => false,
            Err(GuardError::TooMany { retry_after }) => {
                assert!(!retry_after.is_zero());
                assert!(retry_after.as_secs() <= 30, "{retry_after:?}");
                true
            }
            Err(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn each_address_has_its_own_limit() {
        let limit = two_a_minute();
        let (one, other) = (address("203.0.113.7"), address("203.0.113.8"));
        let mut seen = Vec::new();
        for who in [one, one, one, other, one, other, other] {
            seen.push(refused(limit.count(Some(who))));
        }
        assert_eq!(seen, [false, false, true, false, true, false, true]);
    }

    #[tokio::test]
    async fn all_whom_nobody_knows_share_one_limit() {
        let limit = two_a_minute();
        let mut seen = Vec::new();
        for _ in 0..3 {
            let answer = limit.admit(&Visitor::default(), Attempt::SaveCard).await;
            seen.push(refused(answer));
        }
        assert_eq!(seen, [false, false, true]);
    }

    #[test]
    fn only_what_the_proxy_adds_counts() {
        for (header, found) in [
            ("203.0.113.7", Some("203.0.113.7")),
            ("10.0.0.1, 203.0.113.7", Some("203.0.113.7")),
            ("made up,2001:db8::7", Some("2001:db8::7")),
            ("203.0.113.7, unknown", None),
            ("", None),
        ] {
            assert_eq!(
                told_by_proxy(header.as_bytes()),
                found.map(address),
                "{header}"
            );
        }
        assert_eq!(told_by_proxy(b"\xff"), None);
    }

    #[test]
    fn behind_a_proxy_the_connection_tells_nothing() {
        let peer = Some(address("10.0.0.1"));
        let told = |name: &str| (name == "x-real-ip").then_some(b"203.0.113.7".as_slice());
        let found = |header| super::address(header, peer, told);
        assert_eq!(found(None), peer);
        assert_eq!(found(Some("x-real-ip")), Some(address("203.0.113.7")));
        assert_eq!(found(Some("x-forwarded-for")), None);
    }

    #[test]
    fn a_network_is_one_visitor() {
        for (one, other, same) in [
            ("203.0.113.7", "203.0.113.8", false),
            ("203.0.113.7", "::ffff:203.0.113.7", true),
            ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", true),
            ("2001:db8:1:2::1", "2001:db8:1:3::1", false),
        ] {
            let is_same = one_visitor(address(one)) == one_visitor(address(other));
            assert_eq!(is_same, same, "{one} {other}");
        }
    }
}
