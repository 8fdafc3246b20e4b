//! Ids of Stripe's objects.

use super::api_error::{ApiError, missing, unsendable};

/// Ids come from browsers too, and go into a path: nothing may leave it. Stripe's have no hyphens,
/// but another implementation's may be made of UUIDs.
pub(crate) fn is_id(text: &str, prefix: &str) -> bool {
    text.len() > prefix.len()
        && text.len() <= 255
        && text.starts_with(prefix)
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
}

/// Whether this can be an id of this kind: what cannot be one, Stripe need not be asked for.
pub(crate) fn check_id(id: &str, prefix: &str) -> Result<(), ApiError> {
    match is_id(id, prefix) {
        true => Ok(()),
        false => Err(missing("intent")),
    }
}

pub(super) fn check_session_id(id: &str) -> Result<(), ApiError> {
    match is_id(id, "cs_") {
        true => Ok(()),
        false => Err(missing("session")),
    }
}

/// `/customers/cus_1`. Ids may come from a browser: nothing in them can leave its place in the
/// path.
pub(super) fn path_of(kind: &str, id: &str, prefix: &str) -> Result<String, ApiError> {
    if is_id(id, prefix) {
        Ok(format!("/{kind}/{id}"))
    } else {
        Err(unsendable("id"))
    }
}
