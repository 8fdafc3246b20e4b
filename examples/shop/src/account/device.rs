//! The cookie by which the shop knows a browser that was in an account before.
//!
//! Strangers cannot make one. So their guesses use up no tries of such a browser, wherever it is.
//! OWASP calls it a device cookie.

use std::time::Duration;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::{admin, random};

/// The cookie's name.
pub(super) const DEVICE: &str = "device";
/// How long a browser keeps it.
pub(super) const LIFETIME: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// The cookie of a browser with this number. The key is the stored hash of the account's password:
/// each process reads it, its salt is secret and random, and a new password ends all cookies.
pub(super) fn cookie(number: &str, password_hash: &str) -> String {
    // A key may have any length.
    let signature = Hmac::<Sha256>::new_from_slice(password_hash.as_bytes()).map(|key| {
        let signed = key.chain_update("device ").chain_update(number);
        random::hex(&signed.finalize().into_bytes())
    });
    format!("{number}.{}", signature.unwrap_or_default())
}

/// The number of the browser, if the shop made this cookie for the account with this hash.
pub(super) fn known<'a>(value: &'a str, password_hash: &str) -> Option<&'a str> {
    let (number, _) = value.split_once('.')?;
    let is_ours = random::is_token(number) && admin::same(value, &cookie(number, password_hash));
    is_ours.then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_cookie_that_was_made_for_this_account_is_known() {
        let number = random::token().expect("random numbers");
        let value = cookie(&number, "a hash");
        assert_eq!(known(&value, "a hash"), Some(number.as_str()));
        assert_eq!(known(&value, "another hash"), None);
        let other = random::token().expect("random numbers");
        let (_, signature) = value.split_once('.').expect("a signature");
        for forged in [
            "",
            ".",
            &number,
            &format!("{number}."),
            &format!("{other}.{signature}"),
            &format!(".{signature}"),
            &format!("{value}0"),
            &value.to_uppercase(),
        ] {
            assert_eq!(known(forged, "a hash"), None, "{forged}");
        }
    }
}
