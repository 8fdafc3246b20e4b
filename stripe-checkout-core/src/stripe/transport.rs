//! The transport to Stripe: sends bytes, returns bytes, in one try.
//!
//! It is a trait of this crate, because neither of the two existing choices fits. async-stripe's
//! client opens a connection for every call, and loses the status and the headers that decide about
//! retries. An HTTP library's own type would tie every user to the version of that library. So the
//! interface is plain bytes. A recording for tests, or a connection that
//! [`PooledTransport`](super::PooledTransport) does not support, is one method.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use thiserror::Error;

use crate::error::BoxError;

/// Sends one request to Stripe once and returns the response.
///
/// The [`Gateway`](super::Gateway) decides what is sent, how often and for how long. An
/// implementation does not retry, does not follow redirects, and treats no status as an error.
/// Dropping the future abandons the try. That is how a try ends that takes too long.
///
/// ```
/// use stripe_checkout_core::stripe::{Transport, TransportRequest, TransportResponse};
/// use stripe_checkout_core::TransportError;
///
/// /// Answers everything with 503: how does my shop look while Stripe is away?
/// struct Away;
///
/// impl Transport for Away {
///     async fn send(&self, _request: &TransportRequest) -> Result<TransportResponse, TransportError> {
///         Ok(TransportResponse { status: 503, headers: Vec::new(), body: bytes::Bytes::new() })
///     }
/// }
/// ```
pub trait Transport: Send + Sync + 'static {
    /// Sends the request once.
    ///
    /// # Errors
    /// Returns a [`TransportError`] if no complete response arrived. Any status from Stripe is an
    /// `Ok`.
    fn send(
        &self,
        request: &TransportRequest,
    ) -> impl Future<Output = Result<TransportResponse, TransportError>> + Send;
}

/// The reason why one try to reach Stripe brought no response. A
/// [`Transport`](crate::stripe::Transport) returns it.
///
/// The [`Gateway`](crate::stripe::Gateway) writes the text of the causes into its logs (never into
/// an [`ApiError`](crate::ApiError)), so they must contain no secrets.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TransportError {
    /// There is no connection: name not found, refused, TLS failed. Retried after a pause.
    #[error("no connection")]
    Connect(#[source] BoxError),
    /// The connection broke before the whole response arrived. It is unknown whether Stripe did the
    /// operation. Retried after a pause.
    #[error("the connection broke before the answer was there")]
    Broken(#[source] BoxError),
    /// A reused connection broke before any response: nearly always the server had just closed it.
    /// The first time in a call, it is retried at once.
    #[error("a kept connection was closed by the server")]
    Stale(#[source] BoxError),
    /// The response is larger than the transport accepts. Not retried.
    #[error("the answer is larger than {limit} bytes")]
    AnswerTooLarge {
        /// The HTTP status of the response.
        status: u16,
        /// The limit, in bytes.
        limit: usize,
    },
    /// The request cannot be sent as it is: invalid address or invalid header. Not retried.
    #[error("the request cannot be sent as it is")]
    Request(#[source] BoxError),
}

/// A request as it goes over the wire. It is built once for all tries of a call, so neither the key
/// nor the parameters can change between them.
#[non_exhaustive]
#[derive(Clone)]
pub struct TransportRequest {
    /// The HTTP verb: `GET`, `POST` or `DELETE`.
    pub method: &'static str,
    /// The absolute address, with its query.
    pub url: String,
    /// Name (lower-case) and value of each header, the secret key among them.
    pub headers: Vec<(&'static str, String)>,
    /// The form-encoded body; empty if there is none.
    pub body: Bytes,
}

impl TransportRequest {
    /// The value of a header, by its lower-case name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(have, _)| *have == name)
            .map(|(_, value)| value.as_str())
    }
}

// The headers hold the secret key and the body holds a buyer's data, so only their shape is
// printed. An address can hold data in its query.
impl fmt::Debug for TransportRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = self.url.split('?').next().unwrap_or_default();
        let names: Vec<&str> = self.headers.iter().map(|(name, _)| *name).collect();
        f.debug_struct("TransportRequest")
            .field("method", &self.method)
            .field("url", &address)
            .field("headers", &names)
            .field("body", &format_args!("[{} bytes]", self.body.len()))
            .finish()
    }
}

/// A response as it came over the wire.
#[derive(Clone, Default)]
pub struct TransportResponse {
    /// The HTTP status.
    pub status: u16,
    /// Name and value of each header. Names are compared without regard to case.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The whole body. The body of a PaymentIntent holds the client secret.
    pub body: Bytes,
}

impl TransportResponse {
    /// The value of a header, if it is present and is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(have, _)| have.eq_ignore_ascii_case(name))
            .and_then(|(_, value)| std::str::from_utf8(value).ok())
            .map(str::trim)
    }
}

impl fmt::Debug for TransportResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.headers.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("TransportResponse")
            .field("status", &self.status)
            .field("headers", &names)
            .field("body", &format_args!("[{} bytes]", self.body.len()))
            .finish()
    }
}

type Try<'a> =
    Pin<Box<dyn Future<Output = Option<Result<TransportResponse, TransportError>>> + Send + 'a>>;

/// [`Transport`] with its future boxed, so that a [`Gateway`](super::Gateway) has no type
/// parameter.
pub(super) trait AnyTransport: Send + Sync {
    /// Sends once, and returns `None` if there is no result within `limit`.
    fn try_once<'a>(&'a self, request: &'a TransportRequest, limit: Duration) -> Try<'a>;
}

impl<T: Transport> AnyTransport for T {
    fn try_once<'a>(&'a self, request: &'a TransportRequest, limit: Duration) -> Try<'a> {
        Box::pin(async move { tokio::time::timeout(limit, self.send(request)).await.ok() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_found_whatever_their_case() {
        let answer = TransportResponse {
            status: 200,
            headers: vec![
                ("Request-ID".into(), b" req_1 ".to_vec()),
                ("x-bytes".into(), vec![0xff]),
            ],
            body: Bytes::new(),
        };
        assert_eq!(answer.header("request-id"), Some("req_1"));
        assert_eq!(answer.header("x-bytes"), None);
        assert_eq!(answer.header("absent"), None);
    }

    #[test]
    fn debug_shows_no_value() {
        let request = TransportRequest {
            method: "POST",
            url: "https://api.stripe.com/v1/customers?email=a%40b.example".into(),
            headers: vec![("authorization", "Bearer sk_test_hidden".into())],
            body: Bytes::from_static(b"receipt_email=a%40b.example"),
        };
        let answer = TransportResponse {
            status: 200,
            headers: vec![("set-cookie".into(), b"hidden".to_vec())],
            body: Bytes::from_static(b"pi_1_secret_hidden"),
        };
        let printed = format!("{request:?} {request:#?} {answer:?} {answer:#?}");
        assert!(!printed.contains("hidden"), "{printed}");
        assert!(!printed.contains("example"), "{printed}");
        assert!(printed.contains("/v1/customers"), "{printed}");
        assert!(printed.contains("authorization"), "{printed}");
    }
}
