//! Limits for visitors: a number of tries a minute for each key, in bounded memory.
//!
//! A stranger who fills a table pushes out the oldest entries. The others only count from the
//! start again, so a full table locks no visitor out.

use std::{
    hash::Hash,
    net::{IpAddr, Ipv6Addr},
    num::{NonZeroU32, NonZeroUsize},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use governor::{
    Quota, RateLimiter,
    clock::{Clock, DefaultClock},
    nanos::Nanos,
    state::StateStore,
};
use lru::LruCache;
use stripe_checkout_core::{GuardError, GuardedAction, PaymentGuard, Visitor};

use crate::proxy::ProxyHeader;

/// The most keys that one limit remembers.
pub(crate) const REMEMBERED: NonZeroUsize = NonZeroUsize::new(10_000).unwrap();

/// How many times the limit of one IPv6 network (/64) its site (/48) may use.
const NETWORKS_OF_A_SITE: u32 = 4;

/// A limit for each key.
pub(crate) struct Limit<K: Hash + Eq + Clone> {
    limiter: RateLimiter<K, Counts<K>, DefaultClock>,
    counts: Counts<K>,
}

impl<K: Hash + Eq + Clone> Limit<K> {
    /// So many a minute for each key, and no more at once.
    pub(crate) fn new(a_minute: NonZeroU32) -> Self {
        Self::remembering(a_minute, REMEMBERED)
    }

    fn remembering(a_minute: NonZeroU32, most: NonZeroUsize) -> Self {
        let counts = Counts(Arc::new(Mutex::new(LruCache::new(most))));
        let quota = Quota::per_minute(a_minute);
        Self {
            limiter: RateLimiter::new(quota, counts.clone(), DefaultClock::default()),
            counts,
        }
    }

    /// Counts a try.
    ///
    /// # Errors
    /// How long to wait.
    pub(crate) fn count(&self, key: &K) -> Result<(), Duration> {
        self.limiter
            .check_key(key)
            .map_err(|early| early.wait_time_from(self.limiter.clock().now()))
    }

    /// Forgets the tries of a key.
    pub(crate) fn forget(&self, key: &K) {
        lock(&self.counts.0).pop(key);
    }
}

/// What governor keeps for each key. The key that was used the longest ago gives way to a new one.
#[derive(Clone)]
struct Counts<K: Hash + Eq>(Arc<Mutex<LruCache<K, Nanos>>>);

impl<K: Hash + Eq + Clone> StateStore for Counts<K> {
    type Key = K;

    fn measure_and_replace<T, F, E>(&self, key: &K, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let mut counts = lock(&self.0);
        let (answer, count) = decide(counts.get(key).copied())?;
        counts.put(key.clone(), count);
        Ok(answer)
    }
}

// These locks guard values that are whole at every moment: a panic elsewhere does not spoil them.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A limit for each network that visitors come from: an IPv4 address or an IPv6 /64, and a wider
/// limit for the IPv6 /48 around it.
pub(crate) struct PerNetwork {
    networks: Limit<IpAddr>,
    sites: Limit<IpAddr>,
}

impl PerNetwork {
    pub(crate) fn new(a_minute: NonZeroU32) -> Self {
        let of_a_site =
            a_minute.saturating_mul(NonZeroU32::MIN.saturating_add(NETWORKS_OF_A_SITE - 1));
        Self {
            networks: Limit::new(a_minute),
            sites: Limit::new(of_a_site),
        }
    }

    /// Counts a try from this address.
    ///
    /// # Errors
    /// How long to wait.
    pub(crate) fn count(&self, from: Option<IpAddr>) -> Result<(), Duration> {
        self.networks.count(&network(from))?;
        match site(from) {
            site @ IpAddr::V6(_) => self.sites.count(&site),
            IpAddr::V4(_) => Ok(()),
        }
    }

    /// Forgets the tries of this address's network.
    pub(crate) fn forget(&self, from: Option<IpAddr>) {
        self.networks.forget(&network(from));
    }
}

/// The network that counts for a visitor: an IPv4 address or an IPv6 /64. All visitors whose
/// address is not known share one: an unknown address does not open the door.
pub(crate) fn network(address: Option<IpAddr>) -> IpAddr {
    prefix(address, 64)
}

/// The site around a network: an IPv4 address or an IPv6 /48, as providers give it to a customer.
pub(crate) fn site(address: Option<IpAddr>) -> IpAddr {
    prefix(address, 48)
}

fn prefix(address: Option<IpAddr>, bits: u32) -> IpAddr {
    match address.map(|address| address.to_canonical()) {
        Some(IpAddr::V6(address)) => {
            let mask = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
            Ipv6Addr::from_bits(address.to_bits() & mask).into()
        }
        Some(address) => address,
        None => Ipv6Addr::UNSPECIFIED.into(),
    }
}

/// A limit of payments that are begun from one address: a thief who tries stolen cards needs many
/// payments, a buyer needs one.
pub struct PerAddress {
    payments: PerNetwork,
    header: Option<ProxyHeader>,
}

impl std::fmt::Debug for PerAddress {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("PerAddress").finish_non_exhaustive()
    }
}

impl PerAddress {
    /// Allows `a_minute` payments a minute, and no more at once. With a header, the address that
    /// the proxy writes there counts instead of the connection's.
    pub fn new(a_minute: NonZeroU32, header: Option<String>) -> Self {
        Self {
            payments: PerNetwork::new(a_minute),
            header: header.map(ProxyHeader::new),
        }
    }

    fn count(&self, address: Option<IpAddr>) -> Result<(), GuardError> {
        let counted = self.payments.count(address);
        counted.map_err(|retry_after| GuardError::TooMany { retry_after })
    }
}

impl PaymentGuard for PerAddress {
    async fn check(&self, visitor: &Visitor, action: GuardedAction<'_>) -> Result<(), GuardError> {
        match action {
            // Neither starts a payment, and the return page looks again and again.
            GuardedAction::LookUp | GuardedAction::CustomerSession => Ok(()),
            _ => self.count(ProxyHeader::of_visitor(self.header.as_ref(), visitor)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: NonZeroU32 = NonZeroU32::new(2).unwrap();

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    /// So few that none is given back while a test runs.
    fn two_a_minute() -> PerAddress {
        PerAddress::new(TWO, None)
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
    async fn visitors_without_a_known_address_share_one_limit() {
        let limit = two_a_minute();
        let mut seen = Vec::new();
        for _ in 0..3 {
            let answer = limit
                .check(&Visitor::default(), GuardedAction::SaveCard)
                .await;
            seen.push(refused(answer));
        }
        assert_eq!(seen, [false, false, true]);
    }

    #[test]
    fn a_full_table_evicts_the_oldest_entry_and_locks_nobody_out() {
        let limit = Limit::remembering(TWO, NonZeroUsize::new(3).expect("three"));
        for key in ["a", "b", "a", "b"] {
            assert!(limit.count(&key).is_ok(), "{key}");
        }
        assert!(limit.count(&"a").is_err() && limit.count(&"b").is_err());
        // "a" is the oldest entry: a stranger's keys push it out, and it counts from the start.
        for key in ["x", "y"] {
            assert!(limit.count(&key).is_ok(), "{key}");
        }
        assert!(limit.count(&"b").is_err(), "b was used since");
        assert!(limit.count(&"a").is_ok());
        for key in 0..1000 {
            let key: &str = format!("{key}").leak();
            assert!(limit.count(&key).is_ok(), "{key}");
        }
        assert_eq!(lock(&limit.counts.0).len(), 3);
    }

    #[test]
    fn a_key_that_is_forgotten_starts_again() {
        let limit = Limit::new(TWO);
        assert!(limit.count(&1).is_ok() && limit.count(&1).is_ok());
        let wait = limit.count(&1).expect_err("no more");
        assert!(wait > Duration::ZERO && wait <= Duration::from_secs(30));
        limit.forget(&1);
        assert!(limit.count(&1).is_ok());
    }

    #[test]
    fn a_network_is_one_visitor_and_so_is_a_site_of_many_networks() {
        for (one, other, networks, sites) in [
            ("203.0.113.7", "203.0.113.8", false, false),
            ("203.0.113.7", "::ffff:203.0.113.7", true, true),
            ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", true, true),
            ("2001:db8:1:2::1", "2001:db8:1:3::1", false, true),
            ("2001:db8:1:2::1", "2001:db8:2:2::1", false, false),
        ] {
            let (one, other) = (Some(address(one)), Some(address(other)));
            assert_eq!(
                network(one) == network(other),
                networks,
                "{one:?} {other:?}"
            );
            assert_eq!(site(one) == site(other), sites, "{one:?} {other:?}");
        }
        let limit = PerNetwork::new(TWO);
        let tries = (0..100).filter(|n| {
            let from = address(&format!("2001:db8:1:{n}::1"));
            limit.count(Some(from)).is_ok()
        });
        // Eight, and perhaps one more where the machine is slow.
        let tries = tries.count();
        assert!((8..=10).contains(&tries), "{tries}");
        assert!(limit.count(Some(address("2001:db8:2::1"))).is_ok());
    }
}
