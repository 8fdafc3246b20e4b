//! Requests to the shop's processes, from any address.

use std::{net::Ipv4Addr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, Response, header::CONTENT_TYPE};
use http_body_util::{BodyExt as _, Full};
use hyper_util::{
    client::legacy::{self, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::Value;
use tokio::time::timeout;

/// The header in which the shop finds a visitor's address.
pub(crate) const PROXY_HEADER: &str = "x-forwarded-for";

/// The wait for an answer. It is longer than every deadline of the shop's.
const PATIENCE: Duration = Duration::from_secs(60);

/// Knows where the shop's processes are. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    http: legacy::Client<HttpConnector, Full<Bytes>>,
    shops: Arc<[String]>,
}

/// An answer that was read whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

impl Client {
    pub(crate) fn new(shops: Vec<String>) -> Self {
        Self {
            http: legacy::Client::builder(TokioExecutor::new()).build_http(),
            shops: shops.into(),
        }
    }

    /// One of the shop's processes, as in `127.0.0.1:3000`.
    pub(crate) fn shop(&self) -> &str {
        let index = fastrand::usize(..self.shops.len().max(1));
        self.shops.get(index).map_or("", String::as_str)
    }

    /// Asks one process of the shop, from this address. Returns `None` if nothing answers.
    pub(crate) async fn get(&self, from: Ipv4Addr, path: &str) -> Option<Answer> {
        let url = format!("http://{}{path}", self.shop());
        let request = Request::get(url).header(PROXY_HEADER, from.to_string());
        self.send(request, Bytes::new()).await
    }

    /// As [`get`](Self::get), with JSON.
    pub(crate) async fn post(
        &self,
        from: Ipv4Addr,
        path: &str,
        body: impl Into<Bytes>,
    ) -> Option<Answer> {
        self.post_with(
            from,
            path,
            &[(CONTENT_TYPE.as_str(), b"application/json")],
            body,
        )
        .await
    }

    /// As [`get`](Self::get), with these headers and this body.
    pub(crate) async fn post_with(
        &self,
        from: Ipv4Addr,
        path: &str,
        headers: &[(&str, &[u8])],
        body: impl Into<Bytes>,
    ) -> Option<Answer> {
        let url = format!("http://{}{path}", self.shop());
        let mut request = Request::post(url).header(PROXY_HEADER, from.to_string());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request, body.into()).await
    }

    /// Posts a form to another server than the shop.
    pub(crate) async fn post_form(&self, url: &str, fields: &[(&str, &str)]) -> Option<Answer> {
        let form = serde_html_form::to_string(fields).ok()?;
        let request = Request::post(url).header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        self.send(request, form.into()).await
    }

    async fn send(&self, request: http::request::Builder, body: Bytes) -> Option<Answer> {
        let request = request.body(Full::new(body)).ok()?;
        let answered = async {
            let response: Response<_> = self.http.request(request).await.ok()?;
            let status = response.status().as_u16();
            let body = response.into_body().collect().await.ok()?.to_bytes();
            Some(Answer { status, body })
        };
        timeout(PATIENCE, answered).await.ok()?
    }
}
