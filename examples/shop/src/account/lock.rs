//! How a buyer's password is kept and checked, and how guessing is slowed down.

use std::{net::IpAddr, num::NonZeroU32, time::Duration};

use argon2::{
    Argon2,
    password_hash::{self, PasswordHasher as _, PasswordVerifier as _, phc::PasswordHash},
};
use governor::{
    Quota, RateLimiter,
    clock::{Clock, DefaultClock},
    state::keyed::DefaultKeyedStateStore,
};
use tokio::sync::Semaphore;

use crate::limit;

/// The shortest password that is taken, in characters.
pub(crate) const SHORTEST: usize = 10;

/// A hash takes 19 MiB and a core for a moment: who sends many passwords at once makes others wait, and not the machine.
const AT_ONCE: usize = 2;
/// When so many are remembered, those that may do all again are forgotten.
const REMEMBERED: usize = 10_000;

/// What nobody's password is the hash of: an address that is not known takes as long as one that is.
const NOBODY: &str = "$argon2id$v=19$m=19456,t=2,p=1$ySs0lSUFQ0+p2cZ3dA7WGQ$YQQDOQdyxk2gNhjZL8g6ZJ1gCkZTz1KQ2cjlxCjn1Mw";

/// Tries of one kind, so many a minute for each of those who try.
type Limit = RateLimiter<String, DefaultKeyedStateStore<String>, DefaultClock>;

/// The door of the accounts. What is counted each process counts for itself.
pub(crate) struct Lock {
    hashing: Semaphore,
    by_account: Limit,
    by_address: Limit,
    purchases: Limit,
}

/// No password could be looked at, and it is not the buyer's fault.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LockError {
    #[error("a password could not be hashed")]
    Hash(#[from] password_hash::Error),
    #[error("a stored password is no hash")]
    Stored(#[from] argon2::password_hash::phc::Error),
    #[error("the work was cut off")]
    CutOff(#[from] tokio::task::JoinError),
}

impl Lock {
    pub(crate) fn new() -> Self {
        let limit = |a_minute| RateLimiter::keyed(Quota::per_minute(a_minute));
        Self {
            hashing: Semaphore::new(AT_ONCE),
            by_account: limit(const { NonZeroU32::new(5).unwrap() }),
            by_address: limit(const { NonZeroU32::new(30).unwrap() }),
            purchases: limit(const { NonZeroU32::new(10).unwrap() }),
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
        count(&self.by_address, limit::counted(from).to_string())?;
        match email {
            Some(email) => count(&self.by_account, email.to_owned()),
            None => Ok(()),
        }
    }

    /// Counts a purchase with one click.
    ///
    /// # Errors
    /// How long to wait.
    pub(crate) fn count_purchase(&self, account: &str) -> Result<(), Duration> {
        count(&self.purchases, account.to_owned())
    }

    /// The hash to store.
    pub(crate) async fn hash(&self, password: String) -> Result<String, LockError> {
        self.work(move || {
            let hash: PasswordHash = Argon2::default().hash_password(password.as_bytes())?;
            Ok(hash.to_string())
        })
        .await
    }

    /// Whether it is the password of this stored hash; without one it takes the same time to say no.
    pub(crate) async fn opens(
        &self,
        password: String,
        hash: Option<String>,
    ) -> Result<bool, LockError> {
        self.work(move || {
            let known = PasswordHash::new(hash.as_deref().unwrap_or(NOBODY))?;
            match Argon2::default().verify_password(password.as_bytes(), &known) {
                Ok(()) => Ok(hash.is_some()),
                Err(password_hash::Error::PasswordInvalid) => Ok(false),
                Err(error) => Err(error.into()),
            }
        })
        .await
    }

    /// Off the threads that answer others.
    async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, LockError> + Send + 'static,
    ) -> Result<T, LockError> {
        // It is never closed.
        let _turn = self.hashing.acquire().await;
        tokio::task::spawn_blocking(work).await?
    }
}

impl std::fmt::Debug for Lock {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Lock")
    }
}

fn count(limit: &Limit, who: String) -> Result<(), Duration> {
    if limit.len() > REMEMBERED {
        limit.retain_recent();
    }
    limit
        .check_key(&who)
        .map_err(|early| early.wait_time_from(limit.clock().now()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_password_opens_and_no_two_hashes_are_alike() -> Result<(), LockError> {
        let lock = Lock::new();
        let password = || "correct horse".to_owned();
        let (one, other) = (lock.hash(password()).await?, lock.hash(password()).await?);
        assert_ne!(one, other);
        assert!(one.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{one}");
        assert!(lock.opens(password(), Some(one.clone())).await?);
        assert!(!lock.opens("correct hors".to_owned(), Some(one)).await?);
        Ok(())
    }

    #[tokio::test]
    async fn an_address_that_is_not_known_is_looked_at_as_well() -> Result<(), LockError> {
        let lock = Lock::new();
        assert!(!lock.opens("correct horse".to_owned(), None).await?);
        let hash = PasswordHash::new(NOBODY)?;
        let like = PasswordHash::new(&lock.hash("x".to_owned()).await?)?.to_string();
        let costs = |hash: &str| hash.split('$').nth(3).map(str::to_owned);
        assert_eq!(costs(&hash.to_string()), costs(&like));
        Ok(())
    }

    #[test]
    fn guessing_is_slowed_down_for_each_account_and_for_each_address() {
        let lock = Lock::new();
        let here = Some(IpAddr::from([127, 0, 0, 1]));
        // A minute is long, but a machine may be slow: more than a few come through only with time.
        let let_through = |count: usize, at_least: usize| {
            assert!((at_least..at_least + 10).contains(&count), "{count}");
        };
        let tries = |email: &str, from| {
            let tries = (0..100).take_while(|_| lock.count_try(Some(email), from).is_ok());
            tries.count()
        };
        let_through(tries("ada@example.com", here), 5);
        let wait = lock
            .count_try(Some("ada@example.com"), None)
            .expect_err("no more");
        assert!(wait > Duration::ZERO && wait <= Duration::from_secs(60));
        let others = (0..100).take_while(|n| {
            lock.count_try(Some(&format!("{n}@example.com")), here)
                .is_ok()
        });
        let_through(others.count(), 30 - 6);
        let_through(
            tries("bob@example.com", Some(IpAddr::from([10, 0, 0, 1]))),
            5,
        );
        let nothing = (0..100).take_while(|_| lock.count_try(None, None).is_ok());
        let_through(nothing.count(), 29);
        let clicks = (0..100).take_while(|_| lock.count_purchase("1").is_ok());
        let_through(clicks.count(), 10);
    }
}
