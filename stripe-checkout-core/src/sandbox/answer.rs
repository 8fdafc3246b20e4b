//! An answer before it goes out: plain enough to be kept under an idempotency key and given again.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use http_body_util::Full;
use serde_json::Value;

use super::refusal::Refusal;

pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("request-id");
pub(super) const IDEMPOTENT_REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");
pub(super) const ORIGINAL_REQUEST: HeaderName = HeaderName::from_static("original-request");
pub(super) const STRIPE_VERSION: HeaderName = HeaderName::from_static("stripe-version");
pub(super) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Status, headers and body.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    headers: Vec<(HeaderName, HeaderValue)>,
    body: Bytes,
}

impl Answer {
    pub(super) fn new(
        status: StatusCode,
        content_type: &'static str,
        body: impl Into<Bytes>,
    ) -> Self {
        Self {
            status,
            headers: vec![(header::CONTENT_TYPE, HeaderValue::from_static(content_type))],
            body: body.into(),
        }
    }

    /// Stripe indents its JSON.
    pub(super) fn json(status: StatusCode, value: &Value) -> Self {
        Self::new(status, "application/json", format!("{value:#}\n"))
    }

    pub(super) fn refusal(refusal: &Refusal, request_id: &str) -> Self {
        let answer = Self::json(refusal.status, &refusal.body(request_id));
        if refusal.status == StatusCode::UNAUTHORIZED {
            answer.header(header::WWW_AUTHENTICATE, "Basic realm=\"Stripe\"")
        } else {
            answer
        }
    }

    /// Sets a header; a value that cannot stand in one is left out.
    pub(super) fn header(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.retain(|(other, _)| *other != name);
            self.headers.push((name, value));
        }
        self
    }

    /// Whether it is an earlier answer, given again.
    pub(super) fn is_replayed(&self) -> bool {
        self.headers
            .iter()
            .any(|(name, _)| *name == IDEMPOTENT_REPLAYED)
    }

    pub(super) fn into_response(self) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(self.body));
        *response.status_mut() = self.status;
        for (name, value) in self.headers {
            response.headers_mut().append(name, value);
        }
        response
    }
}
