//! Limits: guesses of a buyer's password, and the purchases of an account.

use std::{net::IpAddr, num::NonZeroU32, time::Duration};

use super::hashing::{HashError, Hashing};
use crate::limit::{self, Limit, PerNetwork};

/// The shortest password that the shop accepts, in characters.
pub(crate) const SHORTEST: usize = 10;

/// An account, and the site from which a visitor tries to enter it.
type Pair = (String, IpAddr);

/// The limits of the accounts. Each process counts for itself.
///
/// A stranger at one address uses up only the tries of that address. A stranger at many addresses
/// also uses up the tries of the account. Browsers that were in the account keep their own tries.
pub(crate) struct Lock {
    hashing: Hashing,
    by_network: PerNetwork,
    by_pair: Limit<Pair>,
    by_account: Limit<String>,
    /// The tries of a browser that was in the account before.
    by_device: Limit<String>,
    purchases: Limit<String>,
}

impl Lock {
    pub(crate) fn new() -> Self {
        Self {
            hashing: Hashing::new(),
            by_network: PerNetwork::new(const { NonZeroU32::new(30).unwrap() }),
            by_pair: Limit::new(const { NonZeroU32::new(5).unwrap() }),
            by_account: Limit::new(const { NonZeroU32::new(60).unwrap() }),
            by_device: Limit::new(const { NonZeroU32::new(5).unwrap() }),
            purchases: Limit::new(const { NonZeroU32::new(10).unwrap() }),
        }
    }

    /// Counts a try to log in or to sign up, for the visitor's network.
    ///
    /// # Errors
    /// How long to wait.
    pub(crate) fn count_visit(&self, from: Option<IpAddr>) -> Result<(), Duration> {
        self.by_network.count(from)
    }

    /// Counts a try for the account: for the browser alone, if it was in the account before.
    ///
    /// Call it before the password is checked, so that many tries at once cannot slip through
    /// together.
    ///
    /// # Errors
    /// How long to wait.
    pub(crate) fn count_try(
        &self,
        email: &str,
        from: Option<IpAddr>,
        device: Option<&str>,
    ) -> Result<(), Duration> {
        if let Some(device) = device {
            return self.by_device.count(&device.to_owned());
        }
        let pair = (email.to_owned(), limit::site(from));
        self.by_pair.count(&pair)?;
        self.by_account.count(&pair.0)
    }

    /// Forgets the tries for the account from this site, after a successful log-in or sign-up.
    pub(crate) fn entered(&self, email: &str, from: Option<IpAddr>) {
        self.by_pair.forget(&(email.to_owned(), limit::site(from)));
    }

    /// Counts a one-click purchase.
    ///
    /// # Errors
    /// How long to wait.
    pub(crate) fn count_purchase(&self, account: &str) -> Result<(), Duration> {
        self.purchases.count(&account.to_owned())
    }

    /// The hash to store.
    pub(crate) async fn hash(&self, password: String) -> Result<String, HashError> {
        self.hashing.hash(password).await
    }

    /// Whether this is the password of the stored hash. Without a hash, the answer takes the same
    /// time.
    pub(crate) async fn opens(
        &self,
        password: String,
        hash: Option<String>,
        known: bool,
    ) -> Result<bool, HashError> {
        self.hashing.opens(password, hash, known).await
    }
}

impl std::fmt::Debug for Lock {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Lock")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADA: &str = "ada@example.com";

    fn at(address: &str) -> Option<IpAddr> {
        Some(address.parse().expect("an address"))
    }

    fn count(lock: &Lock, email: &str, from: Option<IpAddr>) -> Result<(), Duration> {
        lock.count_visit(from)?;
        lock.count_try(email, from, None)
    }

    /// How many tries get through before the first refusal.
    fn tries(lock: &Lock, email: &str, from: Option<IpAddr>) -> usize {
        (0..100)
            .take_while(|_| count(lock, email, from).is_ok())
            .count()
    }

    /// A minute is long, but a machine may be slow: more than these get through only over time.
    fn let_through(count: usize, at_least: usize) {
        assert!((at_least..at_least + 10).contains(&count), "{count}");
    }

    #[test]
    fn guessing_is_slowed_down_for_each_account_and_for_each_address() {
        let lock = Lock::new();
        let here = at("127.0.0.1");
        let_through(tries(&lock, ADA, here), 5);
        let wait = count(&lock, ADA, here).expect_err("no more");
        assert!(wait > Duration::ZERO && wait <= Duration::from_secs(60));
        let others =
            (0..100).take_while(|n| count(&lock, &format!("{n}@example.com"), here).is_ok());
        let_through(others.count(), 30 - 7);
        let_through(tries(&lock, "bob@example.com", at("10.0.0.1")), 5);
        let visits = (0..100).take_while(|_| lock.count_visit(None).is_ok());
        let_through(visits.count(), 30);
        let clicks = (0..100).take_while(|_| lock.count_purchase("1").is_ok());
        let_through(clicks.count(), 10);
    }

    #[test]
    fn a_stranger_at_one_address_does_not_lock_the_owner_out() {
        let lock = Lock::new();
        let_through(tries(&lock, ADA, at("203.0.113.7")), 5);
        assert!(count(&lock, ADA, at("203.0.113.8")).is_ok());
        // All networks of an IPv6 site count as one address here.
        let site = (0..100).filter(|n| {
            let from = at(&format!("2001:db8:1:{n}::1"));
            count(&lock, ADA, from).is_ok()
        });
        let_through(site.count(), 5);
        assert!(count(&lock, ADA, at("2001:db8:2::1")).is_ok());
    }

    #[test]
    fn a_stranger_at_many_addresses_does_not_lock_out_the_owners_browser() {
        let lock = Lock::new();
        let guesses = (0..250).filter(|n| {
            let from = at(&format!("203.0.113.{n}"));
            count(&lock, ADA, from).is_ok()
        });
        let_through(guesses.count(), 60);
        let road = at("192.0.2.1");
        assert!(count(&lock, ADA, road).is_err());
        // Its tries are limited, and they use up no other browser's tries.
        for browser in ["phone", "laptop"] {
            let tries = (0..100).take_while(|_| lock.count_try(ADA, road, Some(browser)).is_ok());
            let_through(tries.count(), 5);
        }
    }

    #[test]
    fn a_password_that_opens_ends_the_count_of_the_tries_before() {
        let lock = Lock::new();
        let home = at("198.51.100.1");
        for _ in 0..20 {
            assert!(count(&lock, ADA, home).is_ok());
            lock.entered(ADA, home);
        }
    }
}
