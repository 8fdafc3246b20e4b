//! The parameters with which Stripe.js describes itself and the browser. They have no effect on
//! an object, so the sandbox drops them. Stripe takes them with a publishable key.

use super::{
    api_error::ApiError,
    form::{Node, Tree},
    version,
};

/// Stripe.js sends these beside the documented parameters.
const ABOUT_THE_BROWSER: &[&str] = &[
    "_stripe_account",
    "_stripe_version",
    "client_attribution_metadata",
    "client_user_agent",
    "expected_payment_method_type",
    "guid",
    "is_stripe_sdk",
    "muid",
    "pasted_fields",
    "payment_user_agent",
    "referrer",
    "sid",
    "time_on_page",
];

/// Takes the connected account that Stripe.js names in a parameter.
pub(crate) fn account(params: &Tree) -> Option<String> {
    match params.get("_stripe_account") {
        Some(Node::Text(account)) if !account.is_empty() => Some(account.clone()),
        _ => None,
    }
}

/// Drops the parameters with which Stripe.js describes itself. Refuses a version that does not
/// exist.
pub(crate) fn drop_telemetry(params: &mut Tree) -> Result<(), ApiError> {
    if let Some(Node::Text(version)) = params.get("_stripe_version") {
        version::check_name(version)?;
    }
    for name in ABOUT_THE_BROWSER {
        params.remove(*name);
    }
    if let Some(Node::Group(data)) = params.get_mut("payment_method_data") {
        for name in ABOUT_THE_BROWSER {
            data.remove(*name);
        }
    }
    Ok(())
}
