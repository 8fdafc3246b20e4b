//! A minimal HTTP client for the shop and the sandbox.

use std::time::Duration;

use http_body_util::{BodyExt as _, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::Value;
use tokio::time::timeout;

/// A client for JSON over plain HTTP.
#[derive(Debug, Clone)]
pub(super) struct Http(Client<HttpConnector, Full<bytes::Bytes>>);

impl Http {
    pub(super) fn new() -> Self {
        Self(Client::builder(TokioExecutor::new()).build_http())
    }

    /// Sends a GET request and returns the JSON of its response, which must be successful.
    pub(super) async fn get(&self, url: &str, bearer: Option<&str>) -> Value {
        let request = http::Request::get(url);
        let request = match bearer {
            Some(key) => request.header("authorization", format!("Bearer {key}")),
            None => request,
        };
        self.send(request, String::new()).await
    }

    /// Posts JSON.
    pub(super) async fn post_json(&self, url: &str, body: &Value) -> Value {
        self.send(
            http::Request::post(url).header("content-type", "application/json"),
            body.to_string(),
        )
        .await
    }

    /// Posts a form.
    pub(super) async fn post_form(&self, url: &str, fields: &[(&str, &str)]) -> Value {
        let body = serde_html_form::to_string(fields).expect("pairs of text");
        self.send(
            http::Request::post(url).header("content-type", "application/x-www-form-urlencoded"),
            body,
        )
        .await
    }

    /// Posts to a host that may be down. Returns the status and the JSON of a response that arrives
    /// in time. The JSON is null if the body is not JSON.
    pub(super) async fn try_post(
        &self,
        url: &str,
        content_type: &str,
        body: String,
        patience: Duration,
    ) -> Option<(u16, Value)> {
        let request = http::Request::post(url)
            .header("content-type", content_type)
            .body(Full::from(body))
            .expect("a request");
        let answer = async {
            let response = self.0.request(request).await.ok()?;
            let status = response.status().as_u16();
            let body = response.into_body().collect().await.ok()?.to_bytes();
            Some((status, serde_json::from_slice(&body).unwrap_or_default()))
        };
        timeout(patience, answer).await.ok()?
    }

    async fn send(&self, request: http::request::Builder, body: String) -> Value {
        let request = request.body(Full::from(body)).expect("a request");
        let what = format!("{} {}", request.method(), request.uri().path());
        let response = self
            .0
            .request(request)
            .await
            .unwrap_or_else(|error| panic!("{what}: {error}"));
        let status = response.status();
        let body = response
            .into_body()
            .collect()
            .await
            .expect("a whole answer")
            .to_bytes();
        assert!(status.is_success(), "{what}: {status}");
        serde_json::from_slice(&body).unwrap_or_else(|error| panic!("{what}: {error}"))
    }
}
