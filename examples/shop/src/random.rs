//! Ids, passwords and tokens that cannot be guessed, straight from the operating system.

use std::fmt::Write as _;

/// The operating system gives no random numbers, and nothing is safe without them.
#[derive(Debug, thiserror::Error)]
#[error("the operating system gave no random numbers")]
pub struct NoRandom(#[source] getrandom::Error);

/// 128 random bits as 32 hexadecimal digits.
///
/// # Errors
/// [`NoRandom`], which does not happen on a machine that works.
pub(crate) fn token() -> Result<String, NoRandom> {
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes).map_err(NoRandom)?;
    Ok(hex(&bytes))
}

/// Whether a text has the form of a [`token`]. Anything else need not be looked up.
pub(crate) fn is_token(text: &str) -> bool {
    text.len() == 32
        && text
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// A password that can be typed: 20 characters, 100 bits. No two characters are easily confused.
///
/// # Errors
/// [`NoRandom`].
pub(crate) fn password() -> Result<String, NoRandom> {
    const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let mut bytes = [0_u8; 20];
    getrandom::fill(&mut bytes).map_err(NoRandom)?;
    // 256 is a multiple of 32, so every character is equally likely.
    Ok(bytes
        .iter()
        .map(|byte| char::from(ALPHABET[usize::from(byte % 32)]))
        .collect())
}

/// Bytes as lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            // Writing into a string cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_have_their_form_and_differ() -> Result<(), NoRandom> {
        let (one, other) = (token()?, token()?);
        assert!(is_token(&one) && is_token(&other));
        assert_ne!(one, other);
        assert_eq!(password()?.len(), 20);
        assert_eq!(hex(&[0, 15, 255]), "000fff");
        for text in [
            "",
            "0",
            "../../etc/passwd",
            "0123456789ABCDEF0123456789ABCDEF",
            "0123456789abcdef0123456789abcdeg",
        ] {
            assert!(!is_token(text), "{text:?}");
        }
        Ok(())
    }
}
