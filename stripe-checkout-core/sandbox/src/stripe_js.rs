//! The stand-in for Stripe.js: the Payment Element, the classic Elements for a card, and Embedded
//! Checkout. See <https://docs.stripe.com/js>.
//!
//! It keeps to a strict Content-Security-Policy as Stripe.js does: no inline style or script. It
//! talks only to the sandbox that it came from. Where Stripe.js puts a frame, this puts its fields
//! into the page: there is nothing here to protect, and a learner can look at it.

/// The paths of Stripe.js at `https://js.stripe.com`: a test can answer that host with the sandbox.
/// The releases have names; the older one is `v3`.
const PATHS: &[&str] = &[
    "/stripe.js",
    "/v3",
    "/v3/",
    "/v3/stripe.js",
    "/acacia/stripe.js",
    "/basil/stripe.js",
    "/clover/stripe.js",
    "/dahlia/stripe.js",
    "/endive/stripe.js",
];

/// Whether the script is at this path.
pub(crate) fn is_here(path: &str) -> bool {
    PATHS.contains(&path)
}

/// One script of the files. A class stands after the class that it extends.
pub(crate) const SCRIPT: &str = concat!(
    "// A stand-in for Stripe.js, served by a sandbox: no real money moves.\n",
    "(() => {\n\"use strict\";\n\n",
    include_str!("stripe_js/release.js"),
    include_str!("stripe_js/options.js"),
    include_str!("stripe_js/test_details.js"),
    include_str!("stripe_js/appearance.js"),
    include_str!("stripe_js/numbers.js"),
    include_str!("stripe_js/fields.js"),
    include_str!("stripe_js/requests.js"),
    include_str!("stripe_js/saved_methods.js"),
    include_str!("stripe_js/element.js"),
    include_str!("stripe_js/billing_fields.js"),
    include_str!("stripe_js/payment_element.js"),
    include_str!("stripe_js/input_elements.js"),
    include_str!("stripe_js/placeholders.js"),
    include_str!("stripe_js/elements.js"),
    include_str!("stripe_js/three_d_secure.js"),
    include_str!("stripe_js/embedded_checkout.js"),
    include_str!("stripe_js/method_params.js"),
    include_str!("stripe_js/results.js"),
    include_str!("stripe_js/stripe.js"),
    "})();\n",
);
