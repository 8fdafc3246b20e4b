//! Who may look into the back room: one password, sessions, and tokens against forged forms.
//!
//! Small enough to read, and complete: the password is compared in constant time, guesses are slowed down (by each process for itself), the session's cookie is
//! nowhere stored in the clear, and every form that changes something carries a token that another site cannot know. Sessions are rows in the database, so
//! that one that was opened in one process holds in all. For more than one person take a log-in crate of your framework.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::{limit, random};

/// How long a session lasts, whatever happens in it.
pub const SESSION: Duration = Duration::from_secs(8 * 60 * 60);

const WRONG_TRIES: u32 = 5;
const WINDOW: Duration = Duration::from_secs(60);
const ADDRESSES: usize = 1024;

type Fingerprint = [u8; 32];

/// Why nobody was let in.
#[derive(Debug, thiserror::Error)]
pub enum LogInError {
    /// The password is wrong.
    #[error("wrong password")]
    Wrong,
    /// Too many wrong passwords from there.
    #[error("too many tries")]
    TooMany {
        /// How long to wait.
        retry_after: Duration,
    },
}

/// The lock on the door.
pub struct Admin {
    password: Fingerprint,
    tries: Mutex<HashMap<IpAddr, Tries>>,
}

struct Tries {
    wrong: u32,
    since: Instant,
}

impl Admin {
    /// Guards with this password.
    pub fn new(password: &str) -> Self {
        Self {
            password: fingerprint(password),
            tries: Mutex::default(),
        }
    }

    /// Checks the password.
    ///
    /// # Errors
    /// [`LogInError`].
    pub fn log_in(
        &self,
        from: Option<IpAddr>,
        password: &str,
        now: Instant,
    ) -> Result<(), LogInError> {
        let from = limit::counted(from);
        // Counted before the password is looked at, so that many tries at once cannot slip through together.
        self.count(from, now)?;
        // Both sides are hashed first: what is compared is always 32 bytes long, so the time tells neither the text nor its length.
        if !bool::from(fingerprint(password).ct_eq(&self.password)) {
            tracing::warn!(%from, "wrong admin password");
            return Err(LogInError::Wrong);
        }
        lock(&self.tries).remove(&from);
        tracing::info!(%from, "admin logged in");
        Ok(())
    }

    /// The id under which the session of this cookie is stored. Who reads the database learns no cookie from it, and how far a guess comes in the table's index
    /// says nothing about any real one.
    pub(crate) fn session_id(&self, cookie: &str) -> String {
        let hash = Sha256::new()
            .chain_update(self.password)
            .chain_update(cookie);
        random::hex(&hash.finalize())
    }

    fn count(&self, from: IpAddr, now: Instant) -> Result<(), LogInError> {
        let mut tries = lock(&self.tries);
        if !tries.contains_key(&from) && tries.len() >= ADDRESSES {
            tries.retain(|_, tries| now.saturating_duration_since(tries.since) < WINDOW);
            if tries.len() >= ADDRESSES {
                return Err(LogInError::TooMany {
                    retry_after: WINDOW,
                });
            }
        }
        let entry = tries.entry(from).or_insert(Tries {
            wrong: 0,
            since: now,
        });
        let age = now.saturating_duration_since(entry.since);
        if age >= WINDOW {
            *entry = Tries {
                wrong: 0,
                since: now,
            };
        } else if entry.wrong >= WRONG_TRIES {
            return Err(LogInError::TooMany {
                retry_after: WINDOW.saturating_sub(age),
            });
        }
        entry.wrong += 1;
        Ok(())
    }
}

impl std::fmt::Debug for Admin {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Admin")
    }
}

/// Whether two tokens are the same, in a time that does not tell how much of them is.
pub fn same(left: &str, right: &str) -> bool {
    !left.is_empty() && bool::from(left.as_bytes().ct_eq(right.as_bytes()))
}

fn fingerprint(text: &str) -> Fingerprint {
    Sha256::digest(text.as_bytes()).into()
}

// What these locks guard is whole at every moment, so a panic elsewhere does not spoil it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn here() -> Option<IpAddr> {
        Some(IpAddr::from([127, 0, 0, 1]))
    }

    #[test]
    fn only_the_password_opens() {
        let admin = Admin::new("correct horse");
        let now = Instant::now();
        for wrong in ["correct hors", "correct horse ", ""] {
            assert!(matches!(
                admin.log_in(here(), wrong, now),
                Err(LogInError::Wrong)
            ));
        }
        assert!(admin.log_in(here(), "correct horse", now).is_ok());
    }

    #[test]
    fn a_sessions_id_tells_no_cookie_and_goes_with_the_password() {
        let id = Admin::new("correct horse").session_id("cookie");
        assert_eq!(id.len(), 64);
        assert_eq!(id, Admin::new("correct horse").session_id("cookie"));
        assert_ne!(id, Admin::new("another horse").session_id("cookie"));
        assert_ne!(id, Admin::new("correct horse").session_id("cookie2"));
    }

    #[test]
    fn who_guesses_over_ipv4_is_one_of_many_on_a_socket_for_both() {
        let admin = Admin::new("correct horse");
        let now = Instant::now();
        let at = |address: &str| Some(address.parse().expect("an address"));
        for _ in 0..=WRONG_TRIES {
            let guess = admin.log_in(at("::ffff:203.0.113.7"), "guess", now);
            assert!(guess.is_err());
        }
        assert!(matches!(
            admin.log_in(at("203.0.113.7"), "correct horse", now),
            Err(LogInError::TooMany { .. })
        ));
        let other = admin.log_in(at("::ffff:203.0.113.8"), "correct horse", now);
        assert!(other.is_ok());
    }

    #[test]
    fn guessing_is_slowed_down_for_the_guesser_only() {
        let admin = Admin::new("correct horse");
        let now = Instant::now();
        for _ in 0..WRONG_TRIES {
            assert!(matches!(
                admin.log_in(here(), "guess", now),
                Err(LogInError::Wrong)
            ));
        }
        let refused = admin.log_in(here(), "correct horse", now + Duration::from_secs(1));
        assert!(
            matches!(refused, Err(LogInError::TooMany { retry_after }) if retry_after == Duration::from_secs(59))
        );
        assert!(
            admin
                .log_in(Some(IpAddr::from([10, 0, 0, 1])), "correct horse", now)
                .is_ok()
        );
        assert!(admin.log_in(here(), "correct horse", now + WINDOW).is_ok());
    }

    #[test]
    fn a_whole_ipv6_network_is_one_guesser() {
        let admin = Admin::new("correct horse");
        let now = Instant::now();
        for host in 0..WRONG_TRIES {
            let from = format!("2001:db8::{host}").parse().ok();
            assert!(matches!(
                admin.log_in(from, "guess", now),
                Err(LogInError::Wrong)
            ));
        }
        let refused = admin.log_in("2001:db8::ffff".parse().ok(), "guess", now);
        assert!(matches!(refused, Err(LogInError::TooMany { .. })));
    }

    #[test]
    fn memory_is_bounded() {
        let admin = Admin::new("correct horse");
        let now = Instant::now();
        for host in 0..2 * ADDRESSES as u32 {
            let _ = admin.log_in(Some(IpAddr::from(host.to_be_bytes())), "guess", now);
        }
        assert_eq!(lock(&admin.tries).len(), ADDRESSES);
        // Once the minute is over there is room again.
        assert!(admin.log_in(here(), "correct horse", now + WINDOW).is_ok());
    }

    #[test]
    fn an_empty_token_is_like_no_other() {
        assert!(same("abc", "abc"));
        assert!(!same("abc", "abd"));
        assert!(!same("abc", "ab"));
        assert!(!same("", ""));
    }
}
