//! An answer before it goes out: plain enough to be kept under an idempotency key and given again.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode, header};
use http_body_util::Full;
use serde_json::Value;

use super::api_error::ApiError;

pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("request-id");
pub(crate) const IDEMPOTENT_REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");
pub(crate) const ORIGINAL_REQUEST: HeaderName = HeaderName::from_static("original-request");
pub(crate) const STRIPE_VERSION: HeaderName = HeaderName::from_static("stripe-version");
pub(crate) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Status, headers and body.
#[derive(Debug, Clone)]
pub(crate) struct Response {
    pub(crate) status: StatusCode,
    headers: Vec<(HeaderName, HeaderValue)>,
    body: Bytes,
}

impl Response {
    pub(crate) fn new(
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
    pub(crate) fn json(status: StatusCode, value: &Value) -> Self {
        Self::new(status, "application/json", format!("{value:#}\n"))
    }

    pub(crate) fn refusal(refusal: &ApiError, request_id: &str) -> Self {
        let answer = Self::json(refusal.status, &refusal.body(request_id));
        if refusal.status == StatusCode::UNAUTHORIZED {
            answer.header(header::WWW_AUTHENTICATE, "Basic realm=\"Stripe\"")
        } else {
            answer
        }
    }

    /// Sets a header; a value that cannot stand in one is left out.
    pub(crate) fn header(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.retain(|(other, _)| *other != name);
            self.headers.push((name, value));
        }
        self
    }

    /// Whether it is an earlier answer, given again.
    pub(crate) fn is_replayed(&self) -> bool {
        self.headers
            .iter()
            .any(|(name, _)| *name == IDEMPOTENT_REPLAYED)
    }

    pub(crate) fn into_response(self) -> http::Response<Full<Bytes>> {
        let mut response = http::Response::new(Full::new(self.body));
        *response.status_mut() = self.status;
        for (name, value) in self.headers {
            response.headers_mut().append(name, value);
        }
        response
    }
}
