//! How a buyer's password is hashed: Argon2id, in memory that is reused, a few at a time.
//!
//! A hash takes 19 MiB and a core for a moment. A visitor who hangs up does not end it, so the
//! permit to hash belongs to the work and not to the request.

use std::sync::{Arc, Mutex};

use argon2::{
    Algorithm, Argon2, Block, Params, Version,
    password_hash::{self, phc},
};
use subtle::ConstantTimeEq as _;
use tokio::sync::Semaphore;

use crate::limit::lock;

/// So many passwords are hashed at once.
const AT_ONCE: usize = 2;
/// So many more wait for their turn. The next one is told to come back.
const WAITING: usize = 32;
/// So many more may come from browsers that were in the account before. Strangers cannot take these
/// places.
const KNOWN: usize = 16;

/// The hash of a random password: an unknown address takes as long as a known one.
const NOBODY: &str = "$argon2id$v=19$m=19456,t=2,p=1$ySs0lSUFQ0+p2cZ3dA7WGQ$YQQDOQdyxk2gNhjZL8g6ZJ1gCkZTz1KQ2cjlxCjn1Mw";

/// No password could be looked at, and it is not the buyer's fault.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HashError {
    #[error("too many passwords wait to be hashed")]
    Busy,
    #[error("a password could not be hashed")]
    Hash(#[from] argon2::Error),
    #[error("a password could not be hashed")]
    Make(#[from] password_hash::Error),
    #[error("a stored password is no hash")]
    Stored(#[from] phc::Error),
    #[error("the work was cut off")]
    CutOff(#[from] tokio::task::JoinError),
}

/// Hashes passwords.
pub(crate) struct Hashing {
    queue: Arc<Semaphore>,
    known: Arc<Semaphore>,
    turns: Arc<Semaphore>,
    /// What no work uses at the moment: at most one for each turn.
    memory: Arc<Mutex<Vec<Vec<Block>>>>,
}

impl Hashing {
    pub(crate) fn new() -> Self {
        Self {
            queue: Arc::new(Semaphore::new(AT_ONCE + WAITING)),
            known: Arc::new(Semaphore::new(KNOWN)),
            turns: Arc::new(Semaphore::new(AT_ONCE)),
            memory: Arc::default(),
        }
    }

    /// The hash to store.
    ///
    /// # Errors
    /// [`HashError`].
    pub(crate) async fn hash(&self, password: String) -> Result<String, HashError> {
        self.work(&self.queue, move |memory| {
            let params = Params::default();
            let salt = phc::Salt::generate();
            let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params.clone());
            let mut out = [0; Params::DEFAULT_OUTPUT_LEN];
            argon2.hash_password_into_with_memory(
                password.as_bytes(),
                &salt,
                &mut out,
                blocks(memory, &params),
            )?;
            let hash = phc::PasswordHash {
                algorithm: Algorithm::Argon2id.ident(),
                version: Some(Version::V0x13.into()),
                params: phc::ParamsString::try_from(&params)?,
                salt: Some(salt),
                hash: Some(phc::Output::new(&out)?),
            };
            Ok(hash.to_string())
        })
        .await
    }

    /// Whether it is the password of this stored hash. Without a hash it takes as long to say no.
    /// A browser that is `known` has a place where strangers have none.
    ///
    /// # Errors
    /// [`HashError`].
    pub(crate) async fn opens(
        &self,
        password: String,
        hash: Option<String>,
        known: bool,
    ) -> Result<bool, HashError> {
        let places = if known { &self.known } else { &self.queue };
        self.work(places, move |memory| {
            let known = phc::PasswordHash::new(hash.as_deref().unwrap_or(NOBODY))?;
            let (Some(salt), Some(expected)) = (known.salt, known.hash) else {
                return Err(phc::Error::MissingField.into());
            };
            let algorithm = Algorithm::try_from(known.algorithm.as_str())?;
            let version = known
                .version
                .map_or(Ok(Version::V0x13), Version::try_from)?;
            let params = Params::try_from(&known)?;
            let argon2 = Argon2::new(algorithm, version, params.clone());
            let mut out = vec![0; expected.len()];
            argon2.hash_password_into_with_memory(
                password.as_bytes(),
                &salt,
                &mut out,
                blocks(memory, &params),
            )?;
            let same = bool::from(out.as_slice().ct_eq(expected.as_bytes()));
            Ok(same && hash.is_some())
        })
        .await
    }

    /// Does this off the threads that answer others, when its turn comes. A visitor who hangs up
    /// before that gives the place in the queue back, and nothing is done.
    async fn work<T: Send + 'static>(
        &self,
        places: &Arc<Semaphore>,
        work: impl FnOnce(&mut Vec<Block>) -> Result<T, HashError> + Send + 'static,
    ) -> Result<T, HashError> {
        let place = Arc::clone(places).try_acquire_owned();
        let place = place.map_err(|_| HashError::Busy)?;
        let turn = Arc::clone(&self.turns).acquire_owned().await;
        let turn = turn.map_err(|_| HashError::Busy)?;
        let memory = Arc::clone(&self.memory);
        let done = tokio::task::spawn_blocking(move || {
            let mut blocks = lock(&memory).pop().unwrap_or_default();
            let done = work(&mut blocks);
            lock(&memory).push(blocks);
            drop((turn, place));
            done
        });
        done.await?
    }
}

/// As much of the memory as these costs need.
fn blocks<'a>(memory: &'a mut Vec<Block>, params: &Params) -> &'a mut [Block] {
    memory.resize(memory.len().max(params.block_count()), Block::new());
    memory
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_password_opens_and_no_two_hashes_are_alike() -> Result<(), HashError> {
        let hashing = Hashing::new();
        let password = || "correct horse".to_owned();
        let one = hashing.hash(password()).await?;
        let other = hashing.hash(password()).await?;
        assert_ne!(one, other);
        assert!(one.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{one}");
        assert!(hashing.opens(password(), Some(one.clone()), false).await?);
        assert!(
            !hashing
                .opens("correct hors".to_owned(), Some(one), false)
                .await?
        );
        Ok(())
    }

    #[tokio::test]
    async fn the_library_itself_agrees() -> Result<(), HashError> {
        use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
        let hashing = Hashing::new();
        let password = "correct horse";
        let ours = hashing.hash(password.to_owned()).await?;
        let theirs: phc::PasswordHash = Argon2::default().hash_password(password.as_bytes())?;
        assert_eq!(
            Argon2::default().verify_password(password.as_bytes(), ours.as_str()),
            Ok(())
        );
        let theirs = Some(theirs.to_string());
        assert!(hashing.opens(password.to_owned(), theirs, false).await?);
        Ok(())
    }

    #[tokio::test]
    async fn an_unknown_address_costs_as_much_as_a_known_one() -> Result<(), HashError> {
        let hashing = Hashing::new();
        assert!(
            !hashing
                .opens("correct horse".to_owned(), None, false)
                .await?
        );
        let like = hashing.hash("x".to_owned()).await?;
        let costs = |hash: &str| hash.split('$').nth(3).map(str::to_owned);
        assert_eq!(costs(NOBODY), costs(&like));
        Ok(())
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn visitors_who_hang_up_do_not_start_more_work_at_once() {
        use std::sync::atomic::{AtomicUsize, Ordering};
        let hashing = Arc::new(Hashing::new());
        let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (release, released) = tokio::sync::watch::channel(false);
        for n in 0..50 {
            let (started, highest) = (Arc::clone(&running), Arc::clone(&most));
            let released = released.clone();
            let work = move |_: &mut Vec<Block>| {
                let now = started.fetch_add(1, Ordering::SeqCst) + 1;
                highest.fetch_max(now, Ordering::SeqCst);
                while !*released.borrow() {
                    std::thread::yield_now();
                }
                started.fetch_sub(1, Ordering::SeqCst);
                Ok(())
            };
            let places = hashing.queue.available_permits();
            let asking = Arc::clone(&hashing);
            let visitor = tokio::spawn(async move { asking.work(&asking.queue, work).await });
            while hashing.queue.available_permits() == places
                || running.load(Ordering::SeqCst) < AT_ONCE.min(n + 1)
            {
                tokio::task::yield_now().await;
            }
            visitor.abort();
            assert!(visitor.await.is_err());
        }
        release.send_replace(true);
        // The work that began is finished, and every permit is back.
        while hashing.queue.available_permits() < AT_ONCE + WAITING {
            tokio::task::yield_now().await;
        }
        assert!(most.load(Ordering::SeqCst) <= AT_ONCE, "{most:?}");
        assert!(lock(&hashing.memory).len() <= AT_ONCE);
    }

    #[tokio::test]
    async fn a_full_queue_refuses_at_once() {
        let hashing = Arc::new(Hashing::new());
        let (release, released) = std::sync::mpsc::channel::<()>();
        let released = Arc::new(Mutex::new(released));
        let started: Vec<_> = (0..AT_ONCE + WAITING)
            .map(|_| {
                let (hashing, released) = (Arc::clone(&hashing), Arc::clone(&released));
                tokio::spawn(async move {
                    let work = move |_: &mut Vec<Block>| {
                        let _ = lock(&released).recv();
                        Ok(())
                    };
                    hashing.work(&hashing.queue, work).await
                })
            })
            .collect();
        while hashing.queue.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        let refused = hashing.opens("correct horse".to_owned(), None, false).await;
        assert!(matches!(refused, Err(HashError::Busy)), "{refused:?}");
        // A browser that was in before has a place, and waits for its turn.
        let known = Arc::clone(&hashing);
        let known = tokio::spawn(async move {
            let password = "correct horse".to_owned();
            known.opens(password, None, true).await
        });
        while hashing.known.available_permits() == KNOWN {
            tokio::task::yield_now().await;
        }
        drop(release);
        let known = known.await;
        assert!(matches!(known, Ok(Ok(false))), "{known:?}");
        for work in started {
            assert!(work.await.is_ok_and(|done| done.is_ok()));
        }
        let opens = hashing.opens("correct horse".to_owned(), None, false).await;
        assert!(matches!(opens, Ok(false)), "{opens:?}");
    }
}
