//! The sandbox as the buyer, the merchant's Dashboard and the ledger see it: plain HTTP and JSON.
//! And the shop's own way to it, on which calls fail and events are missing.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use stripe_checkout_core::TransportError;
use stripe_checkout_core::stripe::{Transport, TransportRequest, TransportResponse};
use stripe_checkout_sandbox::{SECRET_KEY, Sandbox};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A way to the sandbox on which some events are never listed, as if Stripe had not made them. No
/// listed event names its account: the list belongs to one account anyway.
#[derive(Clone)]
pub(crate) struct Stripe {
    address: String,
    never_made: Arc<Mutex<BTreeSet<String>>>,
    failing: Arc<Mutex<Vec<(String, u16)>>>,
}

struct Answer {
    status: u16,
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
}

impl Stripe {
    pub(crate) fn of(sandbox: &Sandbox) -> Self {
        let address = sandbox.url().strip_prefix("http://").unwrap().to_owned();
        Self {
            address,
            never_made: Arc::default(),
            failing: Arc::default(),
        }
    }

    /// From now on the shop finds this event in no list.
    pub(crate) fn hide(&self, event: &str) {
        self.never_made.lock().unwrap().insert(event.to_owned());
    }

    /// From now on the shop's requests whose path contains one of these texts fail with its status.
    pub(crate) fn fail(&self, failing: impl IntoIterator<Item = (String, u16)>) {
        *self.failing.lock().unwrap() = failing.into_iter().collect();
    }

    async fn ask(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> std::io::Result<Answer> {
        let mut head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Length: {}\r\n",
            self.address,
            body.len()
        );
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        let mut stream = TcpStream::connect(&self.address).await?;
        stream.write_all(head.as_bytes()).await?;
        stream.write_all(body).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        let end = answer.windows(4).position(|four| four == b"\r\n\r\n");
        let end = end.ok_or(std::io::ErrorKind::UnexpectedEof)?;
        let head = String::from_utf8_lossy(&answer[..end]).into_owned();
        let mut lines = head.split("\r\n");
        let status = lines
            .next()
            .and_then(|line| line.split(' ').nth(1)?.parse().ok());
        let headers = lines.filter_map(|line| line.split_once(": "));
        Ok(Answer {
            status: status.ok_or(std::io::ErrorKind::InvalidData)?,
            headers: headers
                .map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec()))
                .collect(),
            body: answer[end + 4..].to_vec(),
        })
    }

    async fn json(&self, method: &str, path: &str, account: Option<&str>, form: &str) -> Value {
        let bearer = format!("Bearer {SECRET_KEY}");
        let mut headers = vec![
            ("Authorization", bearer.as_str()),
            ("Content-Type", "application/x-www-form-urlencoded"),
        ];
        headers.extend(account.map(|account| ("Stripe-Account", account)));
        let answer = self.ask(method, path, &headers, form.as_bytes()).await;
        serde_json::from_slice(&answer.unwrap().body).unwrap()
    }

    pub(crate) async fn get(&self, path: &str, account: Option<&str>) -> Value {
        self.json("GET", &format!("/v1{path}"), account, "").await
    }

    /// All of a list, the oldest first.
    pub(crate) async fn list(&self, path: &str, account: Option<&str>) -> Vec<Value> {
        let joint = if path.contains('?') { '&' } else { '?' };
        let list = self.get(&format!("{path}{joint}limit=100"), account).await;
        assert_eq!(list["has_more"], false, "{path}: {list}");
        let mut all = list["data"].as_array().unwrap().clone();
        all.reverse();
        all
    }

    pub(crate) async fn post(&self, path: &str, account: Option<&str>, form: &str) -> Value {
        self.json("POST", &format!("/v1{path}"), account, form)
            .await
    }

    /// Posts to a page of Stripe's or of a bank, as a browser does.
    pub(crate) async fn browse(&self, path: &str, form: &str) -> Value {
        self.json("POST", &format!("/sandbox{path}"), None, form)
            .await
    }
}

impl Transport for Stripe {
    async fn send(&self, request: &TransportRequest) -> Result<TransportResponse, TransportError> {
        let (_, path) = request.url.split_once(&self.address).unwrap();
        let failing = self.failing.lock().unwrap().clone();
        if let Some((_, status)) = failing.iter().find(|(text, _)| path.contains(text)) {
            let error = json!({ "error": { "type": "api_error", "message": "Not now." } });
            // The gateway does not wait for a second try.
            let never = ("stripe-should-retry".to_owned(), b"false".to_vec());
            return Ok(TransportResponse {
                status: *status,
                headers: vec![never],
                body: error.to_string().into(),
            });
        }
        let headers = request.headers.iter();
        let headers: Vec<(&str, &str)> = headers
            .filter(|(name, _)| !["host", "content-length", "connection"].contains(name))
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        let asked = self
            .ask(request.method, path, &headers, &request.body)
            .await;
        let mut answer = asked.map_err(|error| TransportError::Broken(error.into()))?;
        if path.starts_with("/v1/events") {
            let mut list: Value = serde_json::from_slice(&answer.body).unwrap();
            let hidden = self.never_made.lock().unwrap();
            if let Some(events) = list["data"].as_array_mut() {
                events.retain(|event| !hidden.contains(event["id"].as_str().unwrap()));
                for event in events {
                    event.as_object_mut().unwrap().remove("account");
                }
            }
            answer.body = list.to_string().into_bytes();
        }
        Ok(TransportResponse {
            status: answer.status,
            headers: answer.headers,
            body: answer.body.into(),
        })
    }
}
