//! What can go wrong between a merchant and Stripe, on demand.

use std::{collections::VecDeque, time::Duration};

use http::StatusCode;

use super::api_error::ApiError;

/// What happens to a request to the sandbox's API instead of an answer, or before it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// Answers with this status. Nothing is executed and nothing is kept under the idempotency key: the same request can succeed a moment later.
    Status(u16),
    /// Answers 403 and names the permission that a restricted key lacks, like
    /// `rak_charge_read`. Nothing is executed.
    Denied(String),
    /// Like [`Status`](Self::Status), with headers such as `Retry-After` or `Stripe-Should-Retry`.
    StatusWith {
        /// The status.
        status: u16,
        /// Names and values of headers.
        headers: Vec<(String, String)>,
    },
    /// Stripe fails in the middle: nothing is done, and the answer, with this status, is kept under the idempotency key and replayed for it. Only another key
    /// can succeed.
    StatusAndKeep(u16),
    /// Stripe fails at the end: the request is executed, and the answer, with this status, is kept under the idempotency key and replayed for it. Whoever takes another
    /// key without looking does it a second time.
    StatusAfterExecution(u16),
    /// Never answers. Nothing is executed.
    Hang,
    /// Executes the request and never answers: whoever waits cannot know that it was done.
    HangAfterExecution,
    /// Resets the connection (TCP RST). Nothing is executed.
    Reset,
    /// Executes the request and resets the connection: whoever sent it cannot know that it was done.
    ResetAfterExecution,
    /// Waits before the request is executed. Until then its idempotency key is in use. It is executed even if the client hangs up meanwhile.
    Slow(Duration),
    /// Answers 200 with a body that is not JSON, as a proxy in between may. Nothing is executed.
    NotJson,
}

/// Faults that wait for a request, first come first served.
pub(crate) type Queue = VecDeque<Fault>;

/// The body that Stripe sends where a restricted key lacks a permission.
pub(crate) fn denial(permission: &str) -> ApiError {
    ApiError::invalid_with_status(
        StatusCode::FORBIDDEN,
        format!(
            "The provided key 'rk_test_*****1234' does not have the required permissions for this endpoint. \
             Having the '{permission}' permission would allow this request to continue."
        ),
    )
}

/// The body that Stripe sends with a status.
pub(crate) fn refusal(status: u16) -> ApiError {
    let code = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    match status {
        429 => ApiError::invalid_with_status(
            code,
            "Request rate limit exceeded. Learn more about rate limits here https://stripe.com/docs/rate-limits.",
        )
        .code("rate_limit"),
        409 => ApiError::invalid_with_status(
            code,
            "This object cannot be accessed right now because another API request or Stripe process is currently accessing it. \
             If you see this error intermittently, retry the request.",
        )
        .code("lock_timeout"),
        401 => ApiError::invalid_with_status(code, "Invalid API Key provided: sk_test_********"),
        402 => ApiError::card("card_declined", "Your card was declined.")
            .with("decline_code", serde_json::json!("generic_decline")),
        403 => ApiError::invalid_with_status(
            code,
            "The provided key does not have the required permissions for this endpoint.",
        ),
        404 => ApiError::no_such(code, "payment_intent", "pi_fault", "intent"),
        400..=499 => ApiError::invalid_with_status(code, "The sandbox was told to refuse this request."),
        _ => ApiError::api(
            code,
            "Sorry! There was an error while talking to one of our backends. Support has been notified.",
        ),
    }
}
