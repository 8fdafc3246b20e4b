//! How guessing a buyer's password is slowed down, and how many purchases an account makes.

use std::{net::IpAddr, num::NonZeroU32, sync::Mutex, time::Duration};

use lru::LruCache;

use super::hashing::{HashError, Hashing};
use crate::limit::{self, Limit, PerNetwork};

/// The shortest password that is taken, in characters.
pub(crate) const SHORTEST: usize = 10;

/// An account, and the site that a visitor tries to enter it from.
type Pair = (String, IpAddr);

/// The door of the accounts. What is counted each process counts for itself.
///
/// A stranger at one address uses up only the tries of that address. A stranger at many addresses
/// also uses up the tries of the account, but not for its owner, at an address that was in before.
pub(crate) struct Lock {
    hashing: Hashing,
    by_network: PerNetwork,
    by_pair: Limit<Pair>,
    by_account: Limit<String>,
    /// From where accounts were entered before.
    known: Mutex<LruCache<Pair, ()>>,
    purchases: Limit<String>,
}

impl Lock {
    pub(crate) fn new() -> Self {
        Self {
            hashing: Hashing::new(),
            by_network: PerNetwork::new(const { NonZeroU32::new(30).unwrap() }),
            by_pair: Limit::new(const { NonZeroU32::new(5).unwrap() }),
            by_account: Limit::new(const { NonZeroU32::new(60).unwrap() }),
            known: Mutex::new(LruCache::new(limit::REMEMBERED)),
            purchases: Limit::new(const { NonZeroU32::new(10).unwrap() }),
        }
    }

    /// Counts a try to get in, or to get an account: before the password is looked at, so that many at once cannot slip through together.
    /// What is no address of an account is counted for where it came from alone.
    ///
    /// # Errors
    /// How long to wait.
    pub(crate) fn count_try(
        &self,
        email: Option<&str>,
        from: Option<IpAddr>,
    ) -> Result<(), Duration> {
        self.by_network.count(from)?;
        let Some(email) = email else { return Ok(()) };
        let pair = (email.to_owned(), limit::site(from));
        self.by_pair.count(&pair)?;
        if limit::lock(&self.known).get(&pair).is_some() {
            return Ok(());
        }
        self.by_account.count(&pair.0)
    }

    /// Remembers from where an account was entered.
    pub(crate) fn entered(&self, email: &str, from: Option<IpAddr>) {
        let pair = (email.to_owned(), limit::site(from));
        self.by_pair.forget(&pair);
        limit::lock(&self.known).put(pair, ());
    }

    /// Counts a purchase with one click.
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

    /// Whether it is the password of this stored hash; without one it takes the same time to say no.
    pub(crate) async fn opens(
        &self,
        password: String,
        hash: Option<String>,
    ) -> Result<bool, HashError> {
        self.hashing.opens(password, hash).await
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

    /// How many tries come through before the first refusal, and how long that one waits.
    fn tries(lock: &Lock, email: Option<&str>, from: Option<IpAddr>) -> usize {
        let tries = (0..100).take_while(|_| lock.count_try(email, from).is_ok());
        tries.count()
    }

    /// A minute is long, but a machine may be slow: more than these come through only with time.
    fn let_through(count: usize, at_least: usize) {
        assert!((at_least..at_least + 10).contains(&count), "{count}");
    }

    #[test]
    fn guessing_is_slowed_down_for_each_account_and_for_each_address() {
        let lock = Lock::new();
        let here = at("127.0.0.1");
        let_through(tries(&lock, Some(ADA), here), 5);
        let wait = lock.count_try(Some(ADA), here).expect_err("no more");
        assert!(wait > Duration::ZERO && wait <= Duration::from_secs(60));
        let others = (0..100).take_while(|n| {
            lock.count_try(Some(&format!("{n}@example.com")), here)
                .is_ok()
        });
        let_through(others.count(), 30 - 7);
        let_through(tries(&lock, Some("bob@example.com"), at("10.0.0.1")), 5);
        let_through(tries(&lock, None, None), 30);
        let clicks = (0..100).take_while(|_| lock.count_purchase("1").is_ok());
        let_through(clicks.count(), 10);
    }

    #[test]
    fn a_stranger_at_one_address_does_not_lock_the_owner_out() {
        let lock = Lock::new();
        let_through(tries(&lock, Some(ADA), at("203.0.113.7")), 5);
        assert!(lock.count_try(Some(ADA), at("203.0.113.8")).is_ok());
        // A whole site of IPv6 networks is one address in this.
        let site = (0..100).filter(|n| {
            let from = at(&format!("2001:db8:1:{n}::1"));
            lock.count_try(Some(ADA), from).is_ok()
        });
        let_through(site.count(), 5);
        assert!(lock.count_try(Some(ADA), at("2001:db8:2::1")).is_ok());
    }

    #[test]
    fn a_stranger_at_many_addresses_locks_only_strangers_out() {
        let lock = Lock::new();
        let home = at("198.51.100.1");
        assert!(lock.count_try(Some(ADA), home).is_ok());
        lock.entered(ADA, home);
        let guesses = (0..250).filter(|n| {
            let from = at(&format!("203.0.113.{n}"));
            lock.count_try(Some(ADA), from).is_ok()
        });
        let_through(guesses.count(), 59);
        assert!(lock.count_try(Some(ADA), at("192.0.2.1")).is_err());
        assert!(lock.count_try(Some(ADA), home).is_ok());
    }

    #[test]
    fn a_password_that_opens_ends_the_count_of_the_tries_before() {
        let lock = Lock::new();
        let home = at("198.51.100.1");
        for _ in 0..20 {
            assert!(lock.count_try(Some(ADA), home).is_ok());
            lock.entered(ADA, home);
        }
    }
}
