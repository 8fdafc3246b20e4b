//! Access to the admin pages: one password, sessions, and tokens against forged forms.
//!
//! It is small enough to read, and complete. The password is compared in constant time. Each
//! process slows down guesses for itself. The session's cookie is nowhere stored in the clear.
//! Every form that changes something carries a token that another site cannot know. Sessions are
//! rows in the database, so a session that one process opened is valid in all. For more than one
//! person, use a log-in crate of your framework.

use std::{net::IpAddr, num::NonZeroU32, time::Duration};

use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::{
    limit::{self, PerNetwork},
    random,
};

/// How long a session lasts. Activity does not extend it.
pub const SESSION: Duration = Duration::from_secs(8 * 60 * 60);

/// How many tries each network has in a minute.
const TRIES: NonZeroU32 = NonZeroU32::new(5).unwrap();

type Fingerprint = [u8; 32];

/// The reason why a log-in failed.
#[derive(Debug, thiserror::Error)]
pub enum LogInError {
    /// The password is wrong.
    #[error("wrong password")]
    Wrong,
    /// Too many wrong passwords from this network.
    #[error("too many tries")]
    TooMany {
        /// How long to wait.
        retry_after: Duration,
    },
}

/// The log-in of the admin pages.
pub struct Admin {
    password: Fingerprint,
    tries: PerNetwork,
}

impl Admin {
    /// Creates the log-in with this password.
    pub fn new(password: &str) -> Self {
        Self {
            password: fingerprint(password),
            tries: PerNetwork::new(TRIES),
        }
    }

    /// Checks the password.
    ///
    /// # Errors
    /// [`LogInError`].
    pub fn log_in(&self, from: Option<IpAddr>, password: &str) -> Result<(), LogInError> {
        // The try counts before the password is compared. This keeps many tries at once from
        // slipping through together.
        let counted = self.tries.count(from);
        counted.map_err(|retry_after| LogInError::TooMany { retry_after })?;
        let network = limit::network(from);
        // Both sides are hashed first, so the compared values always have 32 bytes. The time then
        // reveals neither the text nor its length.
        if !bool::from(fingerprint(password).ct_eq(&self.password)) {
            tracing::warn!(%network, "wrong admin password");
            return Err(LogInError::Wrong);
        }
        self.tries.forget(from);
        tracing::info!(%network, "admin logged in");
        Ok(())
    }

    /// The id under which the session of this cookie is stored.
    ///
    /// A reader of the database learns no cookie from it. How far a guess matches in the table's
    /// index says nothing about any real cookie.
    pub(crate) fn session_id(&self, cookie: &str) -> String {
        let hash = Sha256::new()
            .chain_update(self.password)
            .chain_update(cookie);
        random::hex(&hash.finalize())
    }
}

impl std::fmt::Debug for Admin {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Admin")
    }
}

/// Whether two tokens are the same. The time does not reveal how much of them is the same.
pub fn same(left: &str, right: &str) -> bool {
    !left.is_empty() && bool::from(left.as_bytes().ct_eq(right.as_bytes()))
}

fn fingerprint(text: &str) -> Fingerprint {
    Sha256::digest(text.as_bytes()).into()
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
        for wrong in ["correct hors", "correct horse ", ""] {
            assert!(matches!(
                admin.log_in(here(), wrong),
                Err(LogInError::Wrong)
            ));
        }
        // A successful log-in resets the count, however often there is one.
        for _ in 0..20 {
            assert!(admin.log_in(here(), "correct horse").is_ok());
        }
    }

    #[test]
    fn a_sessions_id_tells_no_cookie_and_goes_with_the_password() {
        let id = Admin::new("correct horse").session_id("cookie");
        assert_eq!(id.len(), 64);
        assert_eq!(id, Admin::new("correct horse").session_id("cookie"));
        assert_ne!(id, Admin::new("another horse").session_id("cookie"));
        assert_ne!(id, Admin::new("correct horse").session_id("cookie2"));
    }

    /// How many guesses from this address get through before one is refused.
    fn guess(admin: &Admin, from: &str) -> usize {
        let from = Some(from.parse().expect("an address"));
        let guesses =
            (0..20).take_while(|_| matches!(admin.log_in(from, "guess"), Err(LogInError::Wrong)));
        guesses.count()
    }

    fn at(admin: &Admin, from: &str) -> Result<(), LogInError> {
        admin.log_in(from.parse().ok(), "correct horse")
    }

    #[test]
    fn guessing_is_slowed_down_for_the_guesser_only() {
        let admin = Admin::new("correct horse");
        // More than five guesses get through only over time.
        let guesses = guess(&admin, "127.0.0.1");
        assert!((5..10).contains(&guesses), "{guesses}");
        let refused = at(&admin, "127.0.0.1");
        assert!(
            matches!(refused, Err(LogInError::TooMany { retry_after }) if retry_after <= Duration::from_secs(12))
        );
        assert!(at(&admin, "10.0.0.1").is_ok());
    }

    #[test]
    fn an_address_of_ipv4_is_the_same_on_a_socket_for_both() {
        let admin = Admin::new("correct horse");
        guess(&admin, "::ffff:203.0.113.7");
        assert!(at(&admin, "203.0.113.7").is_err());
        assert!(at(&admin, "::ffff:203.0.113.8").is_ok());
    }

    #[test]
    fn a_whole_ipv6_network_is_one_guesser_and_a_site_is_a_few() {
        let admin = Admin::new("correct horse");
        guess(&admin, "2001:db8::1");
        assert!(at(&admin, "2001:db8::ffff").is_err());
        assert!(at(&admin, "2001:db8:0:1::1").is_ok());
        for network in 1..20 {
            guess(&admin, &format!("2001:db8:0:{network}::1"));
        }
        assert!(at(&admin, "2001:db8:0:ff::1").is_err());
        assert!(at(&admin, "2001:db8:1::1").is_ok());
    }

    #[test]
    fn a_stranger_who_fills_the_table_does_not_lock_the_owner_out() {
        let admin = Admin::new("correct horse");
        for host in 0..2 * limit::REMEMBERED.get() as u32 {
            let guess = admin.log_in(Some(IpAddr::from(host.to_be_bytes())), "guess");
            assert!(matches!(guess, Err(LogInError::Wrong)), "{host}");
        }
        assert!(admin.log_in(here(), "correct horse").is_ok());
    }

    #[test]
    fn an_empty_token_is_like_no_other() {
        assert!(same("abc", "abc"));
        assert!(!same("abc", "abd"));
        assert!(!same("abc", "ab"));
        assert!(!same("", ""));
    }
}
