//! What each fuzz target asserts. Each function takes one input, of any bytes, and panics if a
//! property does not hold.
//!
//! The expected results come from independent models: Stripe's SDKs for signatures,
//! `serde_json::Value` for JSON, whole numbers for amounts, and a slow parser for forms. See
//! `README.md`.

/// Checks one input.
pub type Check = fn(&[u8]);

/// Every target by its name, which is also that of its folder in `corpus`.
pub const TARGETS: &[(&str, Check)] = &[
    ("signature_header", signature::check),
    ("event_json", event::check),
    ("order_query_and_json", order::check),
    ("amount_in_major_units", amount::check),
    ("metadata_json", metadata::check),
    ("nested_form", form::check),
    ("answer_of_stripe", answer::check),
];

pub mod amount;
pub mod answer;
pub mod event;
pub mod form;
pub mod metadata;
pub mod order;
pub mod signature;

/// The sandbox's own parser. It is private there.
#[path = "../../sandbox/src/form.rs"]
#[allow(dead_code)]
mod sandbox_form;

/// The sandbox's errors, which its parser returns.
#[path = "../../sandbox/src/api_error.rs"]
#[allow(dead_code)]
mod api_error;
