//! Idempotency keys: <https://docs.stripe.com/api/idempotent_requests>.
//!
//! A repeated request gets the first answer of its key. The same key with other parameters is an
//! error. While the first request still runs, a second one with its key does not start. The sandbox
//! forgets a key after a day; Stripe keeps it for at least that long.

use std::collections::HashMap;

use http::StatusCode;

use super::{api_error::ApiError, form::Tree, ids, response::Response};

/// The longest allowed key, in characters.
const MAX_LENGTH: usize = 255;

/// How long a key is known, in seconds.
const KEPT: i64 = 24 * 60 * 60;

/// The identity of a key: each connected account has its own keys.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub(crate) account: Option<String>,
    pub(crate) key: String,
}

#[derive(Debug)]
struct Entry {
    path: String,
    params: Tree,
    /// Seconds since 1970.
    created: i64,
    /// `None` while the first request runs.
    answer: Option<Response>,
}

/// How to handle a request.
#[derive(Debug)]
pub(crate) enum Decision {
    /// It is the first with its key, and the key is now in use.
    Execute,
    /// Replays the answer of the first request.
    Replay(Response),
}

/// All keys that are in use.
#[derive(Debug, Default)]
pub(crate) struct Idempotency(HashMap<Key, Entry>);

impl Idempotency {
    /// Decides how to handle a request, and registers the key if the request is the first with it.
    pub(crate) fn begin(
        &mut self,
        key: &Key,
        path: &str,
        params: &Tree,
    ) -> Result<Decision, ApiError> {
        if key.key.is_empty() {
            return Err(ApiError::invalid(
                "Idempotency Key must be a non-empty string.",
            ));
        }
        if key.key.chars().count() > MAX_LENGTH {
            return Err(ApiError::invalid(format!(
                "Idempotency Key must be at most {MAX_LENGTH} characters."
            )));
        }
        let forgotten = ids::now().saturating_sub(KEPT);
        // A key whose first request still runs is never forgotten.
        self.0
            .retain(|_, entry| entry.answer.is_none() || entry.created > forgotten);
        let Some(entry) = self.0.get(key) else {
            self.0.insert(
                key.clone(),
                Entry {
                    path: path.to_owned(),
                    params: params.clone(),
                    created: ids::now(),
                    answer: None,
                },
            );
            return Ok(Decision::Execute);
        };
        if entry.path != path {
            return Err(ApiError::idempotency(
                StatusCode::BAD_REQUEST,
                format!(
                    "Keys for idempotent requests can only be used for the same endpoint they were first used for ('{path}' vs '{}'). \
                     Try using a key other than '{}' if you meant to execute a different request.",
                    entry.path, key.key
                ),
            ));
        }
        if entry.params != *params {
            return Err(ApiError::idempotency(
                StatusCode::BAD_REQUEST,
                format!(
                    "Keys for idempotent requests can only be used with the same parameters they were first used with. \
                     Try using a key other than '{}' if you meant to execute a different request.",
                    key.key
                ),
            ));
        }
        entry.answer.clone().map(Decision::Replay).ok_or_else(|| {
            ApiError::idempotency(
                StatusCode::CONFLICT,
                format!(
                    "There is currently another in-progress request using this Idempotent Key (that probably means you submitted twice, \
                     and the other request is still going through): {}. Please try again later.",
                    key.key
                ),
            )
            .code("idempotency_key_in_use")
        })
    }

    /// Makes every key older.
    pub(crate) fn age(&mut self, seconds: i64) {
        for entry in self.0.values_mut() {
            entry.created = entry.created.saturating_sub(seconds);
        }
    }

    /// Keeps the answer of the first request, or frees the key if nothing was executed.
    pub(crate) fn end(&mut self, key: &Key, answer: Option<Response>) {
        match answer {
            Some(answer) => {
                if let Some(entry) = self.0.get_mut(key) {
                    entry.answer = Some(answer);
                }
            }
            None => {
                self.0.remove(key);
            }
        }
    }
}
