//! The response that a framework sends, and the only mapping from errors to status and body.
//!
//! A problem has a sentence for the buyer and a stable code. The details go to the log, once, from
//! here.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;

use crate::error::InboxError;
use crate::fulfillment::Received;
#[cfg(feature = "intent")]
use crate::guard::GuardError;
#[cfg(feature = "intent")]
use crate::pricing::PricingError;
#[cfg(feature = "intent")]
use crate::stripe::ApiError;

/// One HTTP response, as an adapter sends it.
#[derive(Clone)]
pub struct Reply {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Bytes,
}

// Written by hand, because a body or the address of a redirect may contain a client secret.
impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reply")
            .field("status", &self.status)
            .field("body_len", &self.body.len())
            .finish_non_exhaustive()
    }
}

/// The policy of a response that is not a page: it runs and loads nothing, and no page may frame
/// it.
const NOTHING: &str = "default-src 'none'; frame-ancestors 'none'";

impl Reply {
    /// The HTTP status.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The headers: names in lower case, values in visible ASCII.
    ///
    /// The framework sets `content-length`.
    pub fn headers(&self) -> &[(&'static str, String)] {
        &self.headers
    }

    /// Returns the first header of this name, which must be in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, value)| value.as_str())
    }

    /// The body.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// Splits the response into status, headers and body.
    pub fn into_parts(self) -> (u16, Vec<(&'static str, String)>, Bytes) {
        (self.status, self.headers, self.body)
    }

    fn new(status: u16, content_type: &str, policy: &str, cache: &str, body: Bytes) -> Self {
        let headers = vec![
            ("content-type", content_type.to_owned()),
            ("cache-control", cache.to_owned()),
            ("content-security-policy", policy.to_owned()),
            ("referrer-policy", "no-referrer".to_owned()),
            ("x-content-type-options", "nosniff".to_owned()),
            ("x-frame-options", "DENY".to_owned()),
        ];
        Self {
            status,
            headers,
            body,
        }
    }

    pub(crate) fn json(status: u16, body: &impl Serialize) -> Self {
        // All bodies are structs of texts and numbers, so their serialisation cannot fail.
        let body = serde_json::to_vec(body).unwrap_or_default();
        Self::new(status, "application/json", NOTHING, "no-store", body.into())
    }

    #[cfg(feature = "checkout")]
    pub(crate) fn html(status: u16, policy: &str, html: String) -> Self {
        Self::new(
            status,
            "text/html; charset=utf-8",
            policy,
            "no-store",
            html.into(),
        )
    }

    /// A file that never changes within one version of the crate.
    ///
    /// It is cacheable. A client that already has it gets 304.
    #[cfg(feature = "checkout")]
    pub(crate) fn asset(
        content_type: &str,
        content: &'static str,
        if_none_match: Option<&str>,
    ) -> Self {
        use sha2::{Digest, Sha256};
        let hash = Sha256::digest(content.as_bytes());
        let etag = hash
            .iter()
            .take(12)
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>();
        let etag = format!("\"{etag}\"");
        let known = if_none_match.is_some_and(|known| {
            known.split(',').any(|tag| matches!(tag.trim().trim_start_matches("W/"), tag if tag == etag || tag == "*"))
        });
        let (status, body) = if known {
            (304, Bytes::new())
        } else {
            (200, Bytes::from_static(content.as_bytes()))
        };
        // The name has no hash in it, so caches must check again after a while.
        let mut reply = Self::new(status, content_type, NOTHING, "public, max-age=300", body);
        reply.headers.push(("etag", etag));
        reply
    }

    #[cfg(feature = "checkout")]
    pub(crate) fn redirect(location: String) -> Self {
        let mut reply = Self::new(
            308,
            "text/plain; charset=utf-8",
            NOTHING,
            "no-store",
            Bytes::new(),
        );
        reply.headers.push(("location", location));
        reply
    }

    /// Redirects to another page after a form was posted.
    #[cfg(feature = "sessions")]
    pub(crate) fn see_other(location: &str) -> Self {
        let mut reply = Self::new(
            303,
            "text/plain; charset=utf-8",
            NOTHING,
            "no-store",
            Bytes::new(),
        );
        reply.headers.push(("location", location.to_owned()));
        reply
    }

    /// Closes the connection if asked: the rest of a slow body is not worth waiting for (RFC 9110,
    /// 15.5.9).
    fn closing_if(mut self, closes: bool) -> Self {
        if closes {
            self.headers.push(("connection", "close".to_owned()));
        }
        self
    }

    pub(crate) fn with_retry_after(mut self, retry_after: Option<Duration>) -> Self {
        if let Some(wait) = retry_after {
            self.headers
                .push(("retry-after", wait.as_secs().max(1).to_string()));
        }
        self
    }
}

/// An error, with the details that the browser or Stripe may see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) status: u16,
    pub(crate) code: &'static str,
    pub(crate) message: String,
    pub(crate) retry_after: Option<Duration>,
    /// The order's reference, if the problem page should link to the order.
    pub(crate) reference: Option<String>,
}

impl Problem {
    pub(crate) fn new(status: u16, code: &'static str, message: &str) -> Self {
        Self {
            status,
            code,
            message: message.to_owned(),
            retry_after: None,
            reference: None,
        }
    }

    fn later(mut self, seconds: u64) -> Self {
        self.retry_after = Some(Duration::from_secs(seconds));
        self
    }

    pub(crate) fn json(&self) -> Reply {
        #[derive(Serialize)]
        struct Body<'a> {
            error: &'a str,
            code: &'a str,
        }
        Reply::json(
            self.status,
            &Body {
                error: &self.message,
                code: self.code,
            },
        )
        .with_retry_after(self.retry_after)
        .closing_if(self.status == 408)
    }

    pub(crate) fn internal() -> Self {
        Self::new(
            500,
            "internal_error",
            "Something went wrong on our side. You were not charged twice; please try again.",
        )
    }

    pub(crate) fn too_large() -> Self {
        Self::new(413, "body_too_large", "The request is too large.")
    }

    pub(crate) fn incomplete() -> Self {
        Self::new(400, "body_incomplete", "The request did not arrive whole.")
    }

    /// The answer to a body that does not arrive in time.
    ///
    /// It is JSON on the routes of pages too, because no browser sends a body so slowly.
    pub(crate) fn too_slow() -> Self {
        Self::new(408, "body_too_slow", "The request did not arrive in time.")
    }

    pub(crate) fn long_query() -> Self {
        Self::new(414, "query_too_long", "The address is too long.")
    }

    pub(crate) fn wrong_host() -> Self {
        Self::new(
            400,
            "invalid_host",
            "The request must name its host exactly once.",
        )
    }

    /// The same answer for every webhook that fails its check: a forger does not learn why.
    pub(crate) fn bad_webhook() -> Self {
        Self::new(
            400,
            "invalid_webhook",
            "The signature or the payload is not valid.",
        )
    }
}

#[cfg(feature = "intent")]
impl Problem {
    pub(crate) fn unreadable_order() -> Self {
        Self::new(
            400,
            "invalid_order",
            "This order could not be read. Please go back to the shop and try again.",
        )
    }

    pub(crate) fn malformed() -> Self {
        Self::new(400, "invalid_request", "The request could not be read.")
    }

    pub(crate) fn not_json() -> Self {
        Self::new(
            415,
            "not_json",
            "Send JSON, with the content type application/json.",
        )
    }

    pub(crate) fn cross_site() -> Self {
        Self::new(
            403,
            "cross_site",
            "Payments can only be started from this site's own page.",
        )
    }

    pub(crate) fn unknown_visitor() -> Self {
        Self::new(
            503,
            "unavailable",
            "The shop cannot tell who you are at the moment. Please try again in a minute.",
        )
        .later(30)
    }

    pub(crate) fn not_signed_in() -> Self {
        Self::new(
            403,
            "not_signed_in",
            "Please sign in to the shop first. Cards are saved with your account.",
        )
    }

    pub(crate) fn already_paid() -> Self {
        Self::new(
            409,
            "order_paid",
            "This order has already been paid. You do not need to pay again.",
        )
    }

    pub(crate) fn processing() -> Self {
        Self::new(
            409,
            "payment_processing",
            "A payment for this order is being processed. You do not need to pay again.",
        )
    }

    pub(crate) fn in_flight() -> Self {
        Self::new(
            409,
            "in_flight",
            "This order is being prepared for payment. Please try again in a moment.",
        )
        .later(1)
    }

    pub(crate) fn unknown_payment() -> Self {
        Self::new(404, "unknown_payment", "We do not know this payment.")
    }
}

/// For routes that you write by hand: the response of the webhook route.
impl From<Result<Received, InboxError>> for Reply {
    fn from(received: Result<Received, InboxError>) -> Self {
        #[derive(Serialize)]
        struct Body<'a> {
            status: &'a str,
        }
        match received {
            Ok(Received::Done(state) | Received::Duplicate(state)) => Self::json(
                200,
                &Body {
                    status: state.as_str(),
                },
            ),
            Ok(Received::Queued) => Self::json(200, &Body { status: "queued" }),
            Ok(Received::Ignored) => Self::json(200, &Body { status: "ignored" }),
            Ok(Received::Failed) => Problem::new(
                500,
                "handler_failed",
                "The event was not handled. Deliver it again.",
            )
            .json(),
            Ok(Received::Waiting) => Problem::new(
                503,
                "waiting",
                "Another event must come first. Deliver this one again.",
            )
            .later(30)
            .json(),
            Err(error) => {
                if error.is_expected() {
                    tracing::debug!(%error, "an event was not taken in");
                } else {
                    tracing::error!(error = %crate::error::Chain(&error), "an event was not taken in");
                }
                Problem::from(&error).json()
            }
        }
    }
}

impl From<&InboxError> for Problem {
    fn from(error: &InboxError) -> Self {
        match error {
            InboxError::Busy => Self::new(
                503,
                "busy",
                "This payment is being worked on. Please try again.",
            )
            .later(2),
            InboxError::Unavailable(_)
            | InboxError::Full { .. }
            | InboxError::NewerTables { .. }
            | InboxError::OlderTables { .. }
            | InboxError::OtherInbox { .. }
            | InboxError::OtherAccount { .. } => Self::new(
                503,
                "unavailable",
                "We cannot take this in at the moment. Please try again.",
            )
            .later(30),
            InboxError::UnknownEvent | InboxError::WrongState { .. } => Self::internal(),
        }
    }
}

#[cfg(feature = "intent")]
impl From<&PricingError> for Problem {
    fn from(error: &PricingError) -> Self {
        match error {
            PricingError::Refused { message, code } => Self::new(422, code, message),
            PricingError::AlreadyPaid { reference } => Self {
                reference: Some(reference.clone()),
                ..Self::already_paid()
            },
            PricingError::Processing { reference } => Self {
                reference: Some(reference.clone()),
                ..Self::processing()
            },
            PricingError::Unavailable(_) => Self::new(
                503,
                "pricing_unavailable",
                "Prices are not available at the moment. Please try again in a minute.",
            )
            .later(30),
        }
    }
}

#[cfg(feature = "intent")]
impl From<&GuardError> for Problem {
    fn from(error: &GuardError) -> Self {
        match error {
            GuardError::Refused { message, code } => Self::new(403, code, message),
            GuardError::TooMany { retry_after } => Self {
                retry_after: Some(*retry_after),
                ..Self::new(
                    429,
                    "too_many_attempts",
                    "Too many attempts. Please wait a moment and try again.",
                )
            },
            GuardError::Unavailable(_) => Self::new(
                503,
                "unavailable",
                "Payments cannot be started at the moment. Please try again in a minute.",
            )
            .later(30),
        }
    }
}

/// How long to wait if Stripe does not say it.
#[cfg(feature = "intent")]
const FIVE: Duration = Duration::from_secs(5);

#[cfg(feature = "intent")]
fn rate_limited(wait: Duration) -> Problem {
    Problem::new(
        429,
        "rate_limited",
        "Too many people are paying at this moment. Please try again shortly.",
    )
    .later(wait.as_secs().max(1))
}

#[cfg(feature = "intent")]
impl From<&ApiError> for Problem {
    fn from(error: &ApiError) -> Self {
        const REFUSED: &str = "The payment could not be started. Please contact the shop.";
        const UNAVAILABLE: &str = "The payment service cannot be reached at the moment. Please try again; you will not be charged twice.";
        match error {
            ApiError::Declined { .. } => Self::new(
                402,
                "declined",
                "The payment was declined. Please try another way to pay.",
            ),
            ApiError::RateLimited { retry_after, .. } => rate_limited(retry_after.unwrap_or(FIVE)),
            ApiError::TooManyCalls { retry_after } => rate_limited(*retry_after),
            // The visitor has left and does not read it.
            ApiError::VisitorLeft => rate_limited(FIVE),
            ApiError::IdempotencyConflict { .. } | ApiError::IdempotencyMismatch { .. } => {
                Self::in_flight()
            }
            ApiError::InvalidRequest { .. }
            | ApiError::Authentication { .. }
            | ApiError::Permission { .. }
            | ApiError::UnexpectedAnswer { .. } => Self::new(502, "payment_refused", REFUSED),
            ApiError::Unavailable { .. } | ApiError::Timeout => {
                Self::new(503, "payment_unavailable", UNAVAILABLE).later(5)
            }
        }
    }
}
