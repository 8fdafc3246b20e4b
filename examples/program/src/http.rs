//! A minimal HTTP client. It needs no library, and sends requests that a library would refuse to
//! send.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
};

use serde_json::Value;

use crate::PATIENCE;

/// A complete response.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers, with names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
}

impl Answer {
    /// Returns the first header of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(known, _)| known == name);
        found.next().map(|(_, value)| value.as_str())
    }

    /// Returns the body as JSON.
    ///
    /// # Panics
    /// If the body is not JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Returns the value of a cookie that the response sets.
    pub fn cookie(&self, name: &str) -> Option<&str> {
        let cookies = self
            .headers
            .iter()
            .filter(|(known, _)| known == "set-cookie");
        cookies
            .filter_map(|(_, value)| value.split(';').next()?.split_once('='))
            .find(|(known, _)| *known == name)
            .map(|(_, value)| value)
    }

    /// Returns the value of an attribute in the page.
    ///
    /// # Panics
    /// If the page has no such attribute.
    pub fn attribute(&self, name: &str) -> String {
        let (_, rest) = self
            .body
            .split_once(&format!("{name}=\""))
            .unwrap_or_else(|| panic!("{name} is not there: {self:?}"));
        let value = rest.split('"').next().unwrap_or_default();
        value.replace("&#x2f;", "/")
    }
}

/// A connection that stays open for several requests, or for a part of one.
#[derive(Debug)]
pub struct Connection(BufReader<TcpStream>);

impl Connection {
    /// Connects.
    ///
    /// # Panics
    /// If nothing listens there. Every other method panics if the other side does not answer.
    pub fn open(host: &str) -> Self {
        let stream = TcpStream::connect(host).expect("somebody listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
        Self(BufReader::new(stream))
    }

    /// Sends any bytes.
    pub fn send(&mut self, bytes: &[u8]) {
        self.0.get_mut().write_all(bytes).expect("it is sent");
    }

    /// Reads a response. The response to a `HEAD` request has no body.
    pub fn answer(&mut self, head: bool) -> Answer {
        let mut lines = std::iter::from_fn(|| {
            let mut line = String::new();
            self.0.read_line(&mut line).expect("an answer");
            Some(line.trim_end().to_owned()).filter(|line| !line.is_empty())
        });
        let first = lines.next().expect("an answer");
        let status = first.split(' ').nth(1).and_then(|code| code.parse().ok());
        let headers = lines
            .filter_map(|line| {
                let (name, value) = line.split_once(':')?;
                Some((name.to_ascii_lowercase(), value.trim().to_owned()))
            })
            .collect();
        let mut answer = Answer {
            status: status.unwrap_or_else(|| panic!("no answer: {first}")),
            headers,
            body: String::new(),
        };
        let interim = answer.status < 200;
        if !head && !interim {
            let length = answer.header("content-length").and_then(|l| l.parse().ok());
            let mut body = vec![0; length.unwrap_or_else(|| panic!("no length: {answer:?}"))];
            self.0.read_exact(&mut body).expect("a whole body");
            answer.body = String::from_utf8(body).expect("text");
        }
        answer
    }

    /// Whether the other side has closed the connection without sending anything more.
    pub fn is_closed(&mut self) -> bool {
        matches!(self.0.read(&mut [0]), Ok(0))
    }
}

/// Sends one request on its own connection.
///
/// # Panics
/// If there is no response.
pub fn ask(
    host: &str,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: impl AsRef<[u8]>,
) -> Answer {
    let body = body.as_ref();
    let mut head = format!(
        "{method} {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\ncontent-length: {}\r\n",
        body.len()
    );
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    let mut connection = Connection::open(host);
    connection.send(&[head.as_bytes(), b"\r\n", body].concat());
    let answer = connection.answer(method == "HEAD");
    assert!(connection.is_closed(), "more than one answer: {answer:?}");
    answer
}
