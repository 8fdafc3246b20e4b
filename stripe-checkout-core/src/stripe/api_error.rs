//! What Stripe, or the way to it, said no to.

use std::time::Duration;

use thiserror::Error;

/// What Stripe, or the way to it, answered. Carries Stripe's request id where there is one, and
/// nothing secret.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ApiError {
    /// The payment method was declined (HTTP 402).
    #[error("declined: {code}{}", .decline_code.as_ref().map(|code| format!(" ({code})")).unwrap_or_default())]
    Declined {
        /// Stripe's error code, like `card_declined`.
        code: String,
        /// The issuer's reason, like `insufficient_funds`.
        decline_code: Option<String>,
        /// Stripe's request id, for its support.
        request_id: Option<String>,
    },
    /// Stripe refused the parameters (HTTP 400, 404 and other 4xx).
    #[error("Stripe refused the request with status {status}{}{}", .code.as_ref().map(|code| format!(", code {code}")).unwrap_or_default(), .param.as_ref().map(|param| format!(", parameter {param}")).unwrap_or_default())]
    InvalidRequest {
        /// The HTTP status.
        status: u16,
        /// Stripe's error code, like `amount_too_small` or `resource_missing`.
        code: Option<String>,
        /// The parameter at fault.
        param: Option<String>,
        /// Stripe's request id.
        request_id: Option<String>,
    },
    /// The secret key is not valid (HTTP 401).
    #[error("Stripe does not accept the secret key")]
    Authentication {
        /// Stripe's request id.
        request_id: Option<String>,
    },
    /// The key may not do this (HTTP 403).
    #[error("{}", permission(.sentence.as_deref(), *.account_is_gone))]
    Permission {
        /// Stripe's sentence that names the permission which a restricted key lacks, like
        /// "Having the 'rak_charge_read' permission would allow this request to continue".
        sentence: Option<String>,
        /// Whether the key has no access to the connected account: it was disconnected, or never
        /// connected.
        account_is_gone: bool,
        /// Stripe's request id.
        request_id: Option<String>,
    },
    /// Too many requests (HTTP 429), still after the retries.
    #[error("Stripe limits the rate of requests")]
    RateLimited {
        /// What `Retry-After` said.
        retry_after: Option<Duration>,
        /// Stripe's request id.
        request_id: Option<String>,
    },
    /// The first request with the same idempotency key, or other work on the object, still runs
    /// (HTTP 409).
    #[error("another request with the same idempotency key is in the way")]
    IdempotencyConflict {
        /// Stripe's request id.
        request_id: Option<String>,
    },
    /// The idempotency key was used before with other parameters (HTTP 400, `idempotency_error`).
    /// The key stays unusable: only another key can succeed.
    #[error("the idempotency key was used before with other parameters")]
    IdempotencyMismatch {
        /// Stripe's request id.
        request_id: Option<String>,
    },
    /// No connection, or a 5xx, still after the retries.
    #[error("Stripe is unavailable{}", .status.map(|status| format!(" (status {status})")).unwrap_or_default())]
    Unavailable {
        /// The HTTP status, if there was an answer.
        status: Option<u16>,
        /// Whether the answer was a stored one (`Idempotent-Replayed`): only another key can
        /// succeed.
        replayed: bool,
        /// Stripe's request id.
        request_id: Option<String>,
    },
    /// The deadline for all tries together is over. Whether Stripe did it is unknown; the same key
    /// will tell.
    #[error("Stripe did not answer in time")]
    Timeout,
    /// The calls that visitors cause are at their bound: see
    /// [`max_visitor_calls`](crate::CheckoutBuilder::max_visitor_calls). This call was not sent.
    /// Earlier calls of the same operation may have been.
    #[error("visitors cause more calls to Stripe than the bound allows")]
    TooManyCalls {
        /// When the visitor may try again.
        retry_after: Duration,
    },
    /// The visitor hung up while the call waited for its turn. This call was not sent.
    #[error("the visitor left before the call was sent")]
    VisitorLeft,
    /// Stripe answered with something that is not what it documents.
    #[error("Stripe's answer could not be read")]
    UnexpectedAnswer {
        /// The HTTP status.
        status: u16,
        /// Stripe's request id.
        request_id: Option<String>,
    },
}

fn permission(sentence: Option<&str>, account_is_gone: bool) -> String {
    match sentence {
        Some(sentence) => format!("the key has no permission for this request: {sentence}"),
        None if account_is_gone => "the key has no access to the connected account".into(),
        None => "the key has no permission for this request".into(),
    }
}

impl ApiError {
    /// Whether a visitor can cause it at will, and nothing is wrong: no line for the log.
    pub(crate) fn is_expected(&self) -> bool {
        matches!(self, Self::TooManyCalls { .. } | Self::VisitorLeft)
    }

    /// Stripe's id of the request, for its support and its Dashboard; `None` where Stripe did not
    /// answer.
    pub fn request_id(&self) -> Option<&str> {
        match self {
            Self::Declined { request_id, .. }
            | Self::InvalidRequest { request_id, .. }
            | Self::Authentication { request_id }
            | Self::Permission { request_id, .. }
            | Self::RateLimited { request_id, .. }
            | Self::IdempotencyConflict { request_id }
            | Self::IdempotencyMismatch { request_id }
            | Self::Unavailable { request_id, .. }
            | Self::UnexpectedAnswer { request_id, .. } => request_id.as_deref(),
            Self::Timeout | Self::TooManyCalls { .. } | Self::VisitorLeft => None,
        }
    }
}

/// Why a call brought nothing, and whether that was only a repeat of what Stripe answered to an
/// earlier one with the same key: then no other answer comes with it.
#[derive(Debug, Clone)]
pub(crate) struct Unsuccessful {
    pub(crate) error: ApiError,
    pub(crate) replayed: bool,
}

impl From<ApiError> for Unsuccessful {
    fn from(error: ApiError) -> Self {
        Self {
            error,
            replayed: false,
        }
    }
}

pub(super) fn missing(param: &str) -> ApiError {
    ApiError::InvalidRequest {
        status: 404,
        code: Some("resource_missing".into()),
        param: Some(param.into()),
        request_id: None,
    }
}

/// The refusal of a parameter that cannot be put into a request.
pub(super) fn unsendable(param: &str) -> ApiError {
    ApiError::InvalidRequest {
        status: 400,
        code: Some("parameter_invalid".into()),
        param: Some(param.into()),
        request_id: None,
    }
}
