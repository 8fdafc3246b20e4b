//! A client that shares no code with the tested code: bytes over TCP, one connection for each
//! request.

use std::io;

use serde_json::Value;
use stripe_checkout_sandbox::{PUBLISHABLE_KEY, SECRET_KEY, Sandbox};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

#[derive(Debug, Clone)]
pub(crate) struct Client {
    address: String,
    headers: Vec<(String, String)>,
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: String,
}

impl Client {
    /// Makes a client with the merchant's secret key.
    pub(crate) fn new(sandbox: &Sandbox) -> Self {
        Self::anonymous(sandbox).with("Authorization", &format!("Bearer {SECRET_KEY}"))
    }

    /// Makes a client with the publishable key, as in a browser.
    pub(crate) fn browser(sandbox: &Sandbox) -> Self {
        Self::anonymous(sandbox).with("Authorization", &format!("Bearer {PUBLISHABLE_KEY}"))
    }

    pub(crate) fn anonymous(sandbox: &Sandbox) -> Self {
        Self {
            address: sandbox.url().strip_prefix("http://").unwrap().to_owned(),
            headers: Vec::new(),
        }
    }

    /// Returns the same client with one more header.
    pub(crate) fn with(&self, name: &str, value: &str) -> Self {
        let mut client = self.clone();
        client.headers.push((name.to_owned(), value.to_owned()));
        client
    }

    pub(crate) fn with_key(&self, key: &str) -> Self {
        self.with("Idempotency-Key", key)
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, "").await.unwrap()
    }

    pub(crate) async fn post(&self, path: &str, body: &str) -> Answer {
        self.send("POST", path, body).await.unwrap()
    }

    /// Creates an intent of 19.99 euros, with these additional parameters.
    pub(crate) async fn create(&self, more: &str) -> Value {
        let answer = self
            .post(
                "/v1/payment_intents",
                &format!("amount=1999&currency=eur&{more}"),
            )
            .await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.json()
    }

    /// Creates an intent and confirms it at once with this card.
    pub(crate) async fn pay(&self, payment_method: &str) -> Answer {
        self.post(
            "/v1/payment_intents",
            &format!("amount=1999&currency=eur&confirm=true&payment_method={payment_method}&return_url=https://shop.example/complete"),
        )
        .await
    }

    pub(crate) async fn send(&self, method: &str, path: &str, body: &str) -> io::Result<Answer> {
        let mut stream = self.open(method, path, body).await?;
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).await?;
        let text = String::from_utf8(bytes).unwrap();
        let (head, body) = text
            .split_once("\r\n\r\n")
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        Ok(Answer {
            status: head.split(' ').nth(1).unwrap().parse().unwrap(),
            head: head.to_owned(),
            body: body.to_owned(),
        })
    }

    /// Sends the request and does not read the answer.
    pub(crate) async fn open(&self, method: &str, path: &str, body: &str) -> io::Result<TcpStream> {
        let mut head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Length: {}\r\n",
            self.address,
            body.len()
        );
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        head.push_str(body);
        let mut stream = TcpStream::connect(&self.address).await?;
        stream.write_all(head.as_bytes()).await?;
        Ok(stream)
    }
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(": ")?;
            found.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    /// Returns the error's `type` and `code`.
    pub(crate) fn error(&self) -> (String, String) {
        let json = self.json();
        let field = |name: &str| json["error"][name].as_str().unwrap_or_default().to_owned();
        (field("type"), field("code"))
    }
}

pub(crate) fn id(object: &Value) -> &str {
    object["id"].as_str().unwrap()
}

/// Returns the types of the events about an intent and its charges, oldest first.
pub(crate) async fn events_of(client: &Client, intent: &str) -> Vec<String> {
    let list = client.get("/v1/events?limit=100").await.json();
    let mut types: Vec<String> = list["data"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|event| {
            let object = &event["data"]["object"];
            object["id"] == intent || object["payment_intent"] == intent
        })
        .map(|event| event["type"].as_str().unwrap().to_owned())
        .collect();
    types.reverse();
    types
}
