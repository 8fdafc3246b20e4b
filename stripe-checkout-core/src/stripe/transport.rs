//! The way to Stripe: bytes in, bytes out, one try.
//!
//! It is a trait of our own because neither of the two at hand fits. async-stripe's client opens a connection for every call and loses the status and the
//! headers that retries are decided by; an HTTP library's own type would tie every user to that
//! library's version. So the seam is plain bytes: a recording for tests, or a connection that
//! [`PooledTransport`](super::PooledTransport) does not know, is one method.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use thiserror::Error;

use crate::error::BoxError;

/// Sends one request to Stripe once and returns whatever comes back.
///
/// The [`Gateway`](super::Gateway) decides what is sent, how often and for how long: an implementation does not retry, does not follow redirects and treats no
/// status as an error. Dropping the future gives the try up, which is how a try that takes too long ends.
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
    /// Returns a [`TransportError`] where no whole answer came back. Any status that Stripe answers with is an `Ok`.
    fn send(
        &self,
        request: &TransportRequest,
    ) -> impl Future<Output = Result<TransportResponse, TransportError>> + Send;
}

/// Why one try to reach Stripe brought no answer. What a [`Transport`](crate::stripe::Transport)
/// returns.
///
/// The [`Gateway`](crate::stripe::Gateway) writes the text of the causes into its logs (never into
/// an [`ApiError`](crate::ApiError)), so nothing secret may be in them.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TransportError {
    /// There is no connection: name not found, refused, TLS failed. Tried again after a pause.
    #[error("no connection")]
    Connect(#[source] BoxError),
    /// The connection broke before the whole answer was there. Whether Stripe did what was asked is
    /// unknown. Tried again after a pause.
    #[error("the connection broke before the answer was there")]
    Broken(#[source] BoxError),
    /// A kept connection broke before anything was answered: nearly always the server had just
    /// closed it. The first time in a call it is tried again at once.
    #[error("a kept connection was closed by the server")]
    Stale(#[source] BoxError),
    /// The answer is larger than the transport takes. Not tried again.
    #[error("the answer is larger than {limit} bytes")]
    AnswerTooLarge {
        /// The HTTP status of the answer.
        status: u16,
        /// The limit, in bytes.
        limit: usize,
    },
    /// The request cannot be sent as it is: not an address, not a header. Not tried again.
    #[error("the request cannot be sent as it is")]
    Request(#[source] BoxError),
}

/// A request as it goes over the wire. Built once for all tries of a call, which is why neither the key nor the parameters can change between them.
#[non_exhaustive]
#[derive(Clone)]
pub struct TransportRequest {
    /// The HTTP verb: `GET`, `POST` or `DELETE`.
    pub method: &'static str,
    /// The absolute address, with its query.
    pub url: String,
    /// Name (lower-case) and value of each header, the secret key among them.
    pub headers: Vec<(&'static str, String)>,
    /// The form-encoded body; empty where there is none.
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

// The headers hold the secret key and the body a buyer's data, so only their shape is printed; an address can hold data in its query.
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

/// An answer as it came over the wire.
#[derive(Clone, Default)]
pub struct TransportResponse {
    /// The HTTP status.
    pub status: u16,
    /// Name and value of each header. Names are compared without regard to case.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The whole body. That of a PaymentIntent holds the client secret.
    pub body: Bytes,
}

impl TransportResponse {
    /// The value of a header, where there is one and it is text.
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

/// [`Transport`] with its future boxed, so that a [`Gateway`](super::Gateway) has no type parameter.
pub(super) trait AnyTransport: Send + Sync {
    /// One try, given up after `limit`: `None` then.
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
