//! What was asked of the sandbox: tests read here what a client really sent.

use std::time::Instant;

/// One request to the sandbox's API.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LoggedRequest {
    /// The verb, upper-case.
    pub method: String,
    /// The path, without the query.
    pub path: String,
    /// The query as it came; empty where there is none.
    pub query: String,
    /// `Idempotency-Key`.
    pub idempotency_key: Option<String>,
    /// `Stripe-Version` as the client sent it.
    pub stripe_version: Option<String>,
    /// `Stripe-Account`.
    pub account: Option<String>,
    /// The body as it came: with whatever the client put there.
    pub body: bytes::Bytes,
    /// The id that the answer carries in `Request-Id`.
    pub request_id: String,
    /// The status of the answer; `None` while there is none, and for ever where a fault kept it back.
    pub status: Option<u16>,
    /// Whether the answer was an earlier one of the same idempotency key.
    pub replayed: bool,
    /// When the request was there.
    pub received: Instant,
    /// When its answer was ready; `None` while there is none.
    pub answered: Option<Instant>,
}

// By hand, without the query and the body: client secrets and buyers' addresses are in them.
impl std::fmt::Debug for LoggedRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LoggedRequest")
            .field("method", &self.method)
            .field("path", &self.path)
            .field("idempotency_key", &self.idempotency_key)
            .field("request_id", &self.request_id)
            .field("status", &self.status)
            .field("replayed", &self.replayed)
            .finish_non_exhaustive()
    }
}
