//! Stripe's error bodies.
//!
//! One type covers all of them, because clients distinguish them by `type`, `code` and the status,
//! never by the text.
//!
//! See <https://docs.stripe.com/api/errors>.

use http::StatusCode;
use serde_json::{Map, Value, json};

/// An error that answers a request.
#[derive(Debug, Clone)]
pub(crate) struct ApiError {
    pub(crate) status: StatusCode,
    /// Whether execution had begun. Only then is the answer kept under the idempotency key.
    pub(crate) executed: bool,
    fields: Map<String, Value>,
}

impl ApiError {
    fn new(status: StatusCode, kind: &'static str, message: impl Into<String>) -> Self {
        let mut fields = Map::new();
        fields.insert("type".to_owned(), json!(kind));
        fields.insert("message".to_owned(), json!(message.into()));
        Self {
            status,
            executed: false,
            fields,
        }
    }

    /// 400: the parameters are invalid.
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_request_error", message)
    }

    /// Another status, with the type `invalid_request_error`.
    pub(crate) fn invalid_with_status(status: StatusCode, message: impl Into<String>) -> Self {
        Self::new(status, "invalid_request_error", message)
    }

    /// 404, or 400 if the identifier was in a parameter.
    pub(crate) fn no_such(
        status: StatusCode,
        what: &str,
        id: &str,
        param: impl Into<String>,
    ) -> Self {
        Self::invalid_with_status(status, format!("No such {what}: '{id}'"))
            .code("resource_missing")
            .param(param)
    }

    /// 402: the card was declined. Execution had begun.
    pub(crate) fn card(code: &str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYMENT_REQUIRED, "card_error", message)
            .code(code)
            .executed()
    }

    /// The idempotency key cannot be used for this request.
    pub(crate) fn idempotency(status: StatusCode, message: impl Into<String>) -> Self {
        Self::new(status, "idempotency_error", message)
    }

    /// Stripe itself failed.
    pub(crate) fn api(status: StatusCode, message: impl Into<String>) -> Self {
        Self::new(status, "api_error", message)
    }

    /// Sets `code` and the page that explains it.
    pub(crate) fn code(self, code: &str) -> Self {
        let page = code.replace('_', "-");
        self.with("code", json!(code)).with(
            "doc_url",
            json!(format!("https://stripe.com/docs/error-codes/{page}")),
        )
    }

    /// Names the invalid parameter.
    pub(crate) fn param(self, param: impl Into<String>) -> Self {
        self.with("param", Value::String(param.into()))
    }

    /// Sets any other field.
    pub(crate) fn with(mut self, field: &str, value: Value) -> Self {
        self.fields.insert(field.to_owned(), value);
        self
    }

    /// Marks that execution had begun.
    pub(crate) fn executed(mut self) -> Self {
        self.executed = true;
        self
    }

    /// Returns the error as an object shows it.
    pub(crate) fn fields(self) -> Value {
        Value::Object(self.fields)
    }

    /// Returns the body, with the request's id in the same place as Stripe.
    pub(crate) fn body(&self, request_id: &str) -> Value {
        let mut fields = self.fields.clone();
        fields.insert(
            "request_log_url".to_owned(),
            json!(format!(
                "https://dashboard.stripe.com/test/logs/{request_id}"
            )),
        );
        json!({ "error": fields })
    }
}
