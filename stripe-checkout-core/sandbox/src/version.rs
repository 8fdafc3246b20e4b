//! `Stripe-Version`: <https://docs.stripe.com/api/versioning>.
//!
//! The sandbox speaks one version, [`API_VERSION`](stripe_checkout_core::API_VERSION), whatever
//! version a request names. It takes other versions because old SDKs pin theirs, and it repeats the
//! name in the answer as Stripe does. It refuses names that no release of Stripe can have.

use http::HeaderMap;

use super::{api_error::ApiError, response::STRIPE_VERSION};

/// The year of Stripe's first version.
const FIRST_YEAR: u16 = 2011;

/// The first version with a name behind its date: `2024-09-30.acacia`.
const FIRST_NAMED: &str = "2024-09-30";

/// Checks the header of a request.
pub(crate) fn check(headers: &HeaderMap) -> Result<(), ApiError> {
    match headers.get(STRIPE_VERSION) {
        None => Ok(()),
        Some(value) => check_name(&String::from_utf8_lossy(value.as_bytes())),
    }
}

/// Refuses a version that is malformed, and the previews and betas, which change the answers.
pub(crate) fn check_name(version: &str) -> Result<(), ApiError> {
    let (release, betas) = match version.split_once(';') {
        Some((release, betas)) => (release, Some(betas)),
        None => (version, None),
    };
    let (date, name) = match release.split_once('.') {
        Some((date, name)) => (date, Some(name)),
        None => (release, None),
    };
    let is_name =
        |name: &str| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase());
    // Dates in this form are in the order of their letters.
    let is_named = date >= FIRST_NAMED;
    if !is_date(date) || name.is_some() != is_named || !name.is_none_or(is_name) {
        return Err(ApiError::invalid(format!(
            "Invalid Stripe API version: {version}"
        )));
    }
    if betas.is_some() || name == Some("preview") {
        return Err(ApiError::invalid(format!(
            "Invalid Stripe API version: {version}. The sandbox does not implement previews and betas."
        )));
    }
    Ok(())
}

/// `2024-06-20`.
fn is_date(date: &str) -> bool {
    let mut parts = date.split('-');
    let mut part = |length: usize| {
        let part = parts.next()?;
        let digits = part.len() == length && part.bytes().all(|byte| byte.is_ascii_digit());
        part.parse::<u16>().ok().filter(|_| digits)
    };
    let (year, month, day) = (part(4), part(2), part(2));
    parts.next().is_none()
        && year.is_some_and(|year| year >= FIRST_YEAR)
        && month.is_some_and(|month| (1..=12).contains(&month))
        && day.is_some_and(|day| (1..=31).contains(&day))
}
