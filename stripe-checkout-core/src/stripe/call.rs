//! One call to Stripe, and the request that it becomes.

use bytes::Bytes;

use super::api_error::{ApiError, unsendable};
use super::form::Post;
use super::id::is_id;
use super::idempotency::IdempotencyKey;
use super::transport::TransportRequest;
use crate::config::API_VERSION;
use crate::secret::SecretKey;

const USER_AGENT: &str = concat!("stripe-checkout/", env!("CARGO_PKG_VERSION"));
const FORM: &str = "application/x-www-form-urlencoded";

/// A path after `/v1` and what belongs to it.
pub(super) struct Call<'a> {
    pub(super) method: &'static str,
    pub(super) path: &'a str,
    query: Option<&'a str>,
    form: Option<&'a str>,
    key: Option<&'a IdempotencyKey>,
    pub(super) account: Option<&'a str>,
}

impl<'a> Call<'a> {
    pub(super) fn get(path: &'a str, query: Option<&'a str>, account: Option<&'a str>) -> Self {
        Self {
            method: "GET",
            path,
            query,
            form: None,
            key: None,
            account,
        }
    }

    pub(super) fn post(
        path: &'a str,
        form: &'a str,
        key: &'a IdempotencyKey,
        account: Option<&'a str>,
    ) -> Self {
        Self {
            method: "POST",
            path,
            query: None,
            form: Some(form),
            key: Some(key),
            account,
        }
    }

    /// A request of [`wire`](super::wire).
    pub(super) fn of(post: &'a Post, key: &'a IdempotencyKey, account: Option<&'a str>) -> Self {
        Self::post(&post.path, &post.form, key, account)
    }

    /// The request that is sent, built once for all tries.
    pub(super) fn request(
        &self,
        api_base: &str,
        secret_key: &SecretKey,
    ) -> Result<TransportRequest, ApiError> {
        let sound = |text: &str| {
            text.bytes()
                .all(|byte| byte.is_ascii_graphic() && byte != b'#')
        };
        let climbs = self.path.split('/').any(|part| part == "..");
        if !self.path.starts_with('/') || climbs || !sound(self.path) || self.path.contains('?') {
            return Err(unsendable("path"));
        }
        let mut url = format!("{api_base}/v1{}", self.path);
        if let Some(query) = self.query.filter(|query| !query.is_empty()) {
            if !sound(query) {
                return Err(unsendable("query"));
            }
            url.push('?');
            url.push_str(query);
        }
        let mut headers = vec![
            ("authorization", format!("Bearer {}", secret_key.expose())),
            ("stripe-version", API_VERSION.to_owned()),
            ("user-agent", USER_AGENT.to_owned()),
            ("accept", "application/json".to_owned()),
        ];
        if let Some(key) = self.key {
            headers.push(("idempotency-key", key.as_str().to_owned()));
        }
        if let Some(account) = self.account {
            if !is_id(account, "acct_") {
                return Err(unsendable("account"));
            }
            headers.push(("stripe-account", account.to_owned()));
        }
        if self.method == "POST" {
            headers.push(("content-type", FORM.to_owned()));
        }
        let body = Bytes::copy_from_slice(self.form.unwrap_or_default().as_bytes());
        Ok(TransportRequest {
            method: self.method,
            url,
            headers,
            body,
        })
    }
}
