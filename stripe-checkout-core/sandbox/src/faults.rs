//! Faults between a merchant and Stripe, on demand.

use std::{collections::VecDeque, time::Duration};

use http::StatusCode;

use super::api_error::ApiError;

/// A fault of a request to the sandbox's API, before its answer or instead of it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// Answers with this status. The sandbox executes nothing and keeps nothing under the
    /// idempotency key, so the same request can succeed a moment later.
    Status(u16),
    /// Answers 403 and names the permission that a restricted key lacks, like `rak_charge_read`.
    /// The sandbox executes nothing.
    Denied(String),
    /// Like [`Status`](Self::Status), with headers such as `Retry-After` or `Stripe-Should-Retry`.
    StatusWith {
        /// The status.
        status: u16,
        /// The names and values of the headers.
        headers: Vec<(String, String)>,
    },
    /// Fails in the middle of the request. The sandbox executes nothing, keeps an answer with this
    /// status under the idempotency key, and replays it for that key. Only another key can succeed.
    StatusAndKeep(u16),
    /// Fails at the end of the request. The sandbox executes the request, keeps an answer with this
    /// status under the idempotency key, and replays it for that key. A client that retries with
    /// another key without looking does the work a second time.
    StatusAfterExecution(u16),
    /// Never answers. The sandbox executes nothing.
    Hang,
    /// Executes the request and never answers. The client cannot know that it was done.
    HangAfterExecution,
    /// Resets the connection (TCP RST). The sandbox executes nothing.
    Reset,
    /// Executes the request and resets the connection. The client cannot know that it was done.
    ResetAfterExecution,
    /// Waits before it executes the request. Until then its idempotency key is in use. The sandbox
    /// executes the request even if the client hangs up meanwhile.
    Slow(Duration),
    /// Answers 200 with a body that is not JSON, as a proxy in between may. The sandbox executes
    /// nothing.
    NotJson,
}

/// Faults that wait for a request, in the order in which they apply.
pub(crate) type Queue = VecDeque<Fault>;

/// Returns the error that Stripe sends when a restricted key lacks a permission.
pub(crate) fn denial(permission: &str) -> ApiError {
    ApiError::invalid_with_status(
        StatusCode::FORBIDDEN,
        format!(
            "The provided key 'rk_test_*****1234' does not have the required permissions for this endpoint. \
             Having the '{permission}' permission would allow this request to continue."
        ),
    )
}

/// Returns the error that Stripe sends with a status.
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
