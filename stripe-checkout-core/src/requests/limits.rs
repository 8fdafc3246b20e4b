//! What texts of the merchant's must be like.

use super::error::RequestError;

/// The largest length of a reference, in characters.
const MAX_REFERENCE: usize = 200;
/// Longer than any address that mail can be sent to.
const MAX_EMAIL: usize = 320;

/// Whether this can be the reference of an order, or of an operation.
pub(crate) fn check_reference(reference: &str) -> Result<(), RequestError> {
    let fits = (1..=MAX_REFERENCE).contains(&reference.chars().count());
    if !fits || reference.chars().any(char::is_control) {
        return Err(RequestError::Reference);
    }
    Ok(())
}

/// Whether this can be an address at all. Which ones exist is for the mail server to say.
pub(super) fn is_email(address: &str) -> bool {
    let well_formed = address
        .rsplit_once('@')
        .is_some_and(|(name, host)| !name.is_empty() && !host.is_empty() && !name.contains('@'));
    well_formed
        && address.chars().count() <= MAX_EMAIL
        && !address.chars().any(|c| c.is_whitespace() || c.is_control())
}
