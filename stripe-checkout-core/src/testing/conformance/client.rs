//! Raw HTTP/1.1, which can also send what no well-behaved client sends.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Longer than any case takes on a busy machine: a case that hangs fails.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// The host of every request, so that both applications receive the same.
pub(super) const HOST: &str = "shop.example";

/// How a body is sent.
#[derive(Debug, Clone, Copy)]
enum Framing {
    /// `Content-Length`, as long as the body.
    Whole,
    /// `Content-Length` with this many bytes too many (or too few); then the client is silent.
    Lying(i64),
    /// Chunks of this size.
    Chunked(usize),
    /// All bytes in one chunk, without a last chunk; then the client is silent.
    Unended,
    /// Three parts with a pause between them.
    Slow,
    /// After the server sent `100 Continue`.
    Expected,
}

/// One request, byte by byte.
#[derive(Debug, Clone)]
pub(super) struct Request {
    method: &'static str,
    target: String,
    version: &'static str,
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
    framing: Framing,
}

impl Request {
    pub(super) fn new(method: &'static str, target: impl Into<String>) -> Self {
        Self {
            method,
            target: target.into(),
            version: "HTTP/1.1",
            headers: Vec::new(),
            body: Vec::new(),
            framing: Framing::Whole,
        }
    }

    pub(super) fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers
            .push((name.to_owned(), value.as_ref().to_vec()));
        self
    }

    pub(super) fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    pub(super) fn old_version(mut self) -> Self {
        self.version = "HTTP/1.0";
        self
    }

    pub(super) fn lying(mut self, difference: i64) -> Self {
        self.framing = Framing::Lying(difference);
        self
    }

    pub(super) fn chunked(mut self, size: usize) -> Self {
        self.framing = Framing::Chunked(size);
        self
    }

    pub(super) fn unended(mut self) -> Self {
        self.framing = Framing::Unended;
        self
    }

    pub(super) fn slow(mut self) -> Self {
        self.framing = Framing::Slow;
        self
    }

    pub(super) fn expected(mut self) -> Self {
        self.framing = Framing::Expected;
        self
    }

    /// The head, for a connection that closes after the response, or stays open.
    pub(super) fn head(&self, close: bool) -> Vec<u8> {
        let mut head = format!(
            "{} {} {}\r\nHost: {HOST}\r\n",
            self.method, self.target, self.version
        )
        .into_bytes();
        if close {
            head.extend_from_slice(b"Connection: close\r\n");
        }
        for (name, value) in &self.headers {
            head.extend_from_slice(name.as_bytes());
            head.extend_from_slice(b": ");
            head.extend_from_slice(value);
            head.extend_from_slice(b"\r\n");
        }
        let length = self.body.len();
        let framing = match self.framing {
            Framing::Chunked(_) | Framing::Unended => "Transfer-Encoding: chunked\r\n".to_owned(),
            Framing::Lying(difference) => {
                format!(
                    "Content-Length: {}\r\n",
                    length.saturating_add_signed(difference as isize)
                )
            }
            Framing::Expected => format!("Content-Length: {length}\r\nExpect: 100-continue\r\n"),
            Framing::Whole if length == 0 && self.method != "POST" => String::new(),
            Framing::Whole | Framing::Slow => format!("Content-Length: {length}\r\n"),
        };
        head.extend_from_slice(framing.as_bytes());
        head.extend_from_slice(b"\r\n");
        head
    }

    /// Head and body, for a connection that stays open.
    pub(super) fn to_keep_alive(&self) -> Vec<u8> {
        let mut bytes = self.head(false);
        bytes.extend_from_slice(&self.body);
        bytes
    }

    /// The body's bytes on the wire, in the parts in which they are sent.
    fn parts(&self) -> Vec<Vec<u8>> {
        match self.framing {
            Framing::Whole | Framing::Lying(_) | Framing::Expected => vec![self.body.clone()],
            Framing::Unended => {
                let mut bytes = format!("{:x}\r\n", self.body.len()).into_bytes();
                bytes.extend_from_slice(&self.body);
                bytes.extend_from_slice(b"\r\n");
                vec![bytes]
            }
            Framing::Slow => self
                .body
                .chunks(self.body.len().div_ceil(3).max(1))
                .map(<[u8]>::to_vec)
                .collect(),
            Framing::Chunked(size) => {
                let mut bytes = Vec::new();
                for chunk in self.body.chunks(size) {
                    bytes.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                    bytes.extend_from_slice(chunk);
                    bytes.extend_from_slice(b"\r\n");
                }
                bytes.extend_from_slice(b"0\r\n\r\n");
                vec![bytes]
            }
        }
    }
}

/// One response. The status is 0 if the server closed the connection without a response.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

impl Answer {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The beginning of the body, for the text of a failure.
    pub(super) fn beginning(&self) -> String {
        self.text().chars().take(300).collect()
    }

    /// The stable code of a problem, or the status word of a success.
    pub(super) fn word(&self, member: &str) -> Option<String> {
        let json: serde_json::Value = serde_json::from_slice(&self.body).ok()?;
        json.get(member)?.as_str().map(str::to_owned)
    }

    /// How the response differs from the reference's in the parts that the core determines.
    pub(super) fn differs(&self, expected: &Self, own_headers: &[&str]) -> Option<String> {
        if self.status != expected.status {
            return Some(format!("status {}, not {}", self.status, expected.status));
        }
        // The transport determines these. The length is checked when a response is read.
        const TRANSPORT: [&str; 5] = [
            "connection",
            "content-length",
            "date",
            "keep-alive",
            "transfer-encoding",
        ];
        let of_the_core = |answer: &Self| {
            let mut headers: Vec<_> = answer
                .headers
                .iter()
                .filter(|(name, _)| {
                    !TRANSPORT.contains(&name.as_str()) && !own_headers.contains(&name.as_str())
                })
                .cloned()
                .collect();
            headers.sort();
            headers
        };
        let (ours, theirs) = (of_the_core(self), of_the_core(expected));
        if ours != theirs {
            return Some(format!("headers {ours:?}, not {theirs:?}"));
        }
        (self.body != expected.body).then(|| {
            format!(
                "body {:?}, not {:?}",
                self.beginning(),
                expected.beginning()
            )
        })
    }
}

/// Sends a request on its own connection and reads the response to its end.
pub(super) async fn send(address: SocketAddr, request: &Request) -> Answer {
    let exchange = async {
        let stream = TcpStream::connect(address)
            .await
            .unwrap_or_else(|error| refused(&error));
        let (mut reading, mut writing) = stream.into_split();
        let mut bytes = Vec::new();
        let _ = writing.write_all(&request.head(true)).await;
        if matches!(request.framing, Framing::Expected) {
            while !bytes.ends_with(b"\r\n\r\n") {
                if reading.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
                    break;
                }
            }
        }
        // Writes and reads at the same time: a server may respond, and close, before it has read
        // everything.
        let write = async {
            for (number, part) in request.parts().iter().enumerate() {
                if number > 0 {
                    // The test needs the pause itself, not anything that happens during it.
                    tokio::time::sleep(Duration::from_millis(30)).await;
                }
                if writing.write_all(part).await.is_err() {
                    break;
                }
            }
            if matches!(request.framing, Framing::Lying(_) | Framing::Unended) {
                let _ = writing.shutdown().await;
            }
            writing
        };
        let (_writing, _) = tokio::join!(write, reading.read_to_end(&mut bytes));
        read(&bytes, request)
    };
    tokio::time::timeout(PATIENCE, exchange)
        .await
        .unwrap_or_else(|_| hangs(request))
}

/// Reads the next response of a connection that stays open, without waiting for its end.
pub(super) async fn read_one(stream: &mut TcpStream, request: &Request) -> Answer {
    let mut bytes = Vec::new();
    let whole = |bytes: &[u8]| {
        let Some((head, body)) = split(bytes) else {
            return false;
        };
        let length = head
            .lines()
            .filter_map(|line| {
                line.to_ascii_lowercase()
                    .strip_prefix("content-length: ")
                    .and_then(|length| length.parse::<usize>().ok())
            })
            .next();
        length.is_some_and(|length| body.len() >= length)
    };
    while !whole(&bytes) {
        match tokio::time::timeout(PATIENCE, stream.read_buf(&mut bytes)).await {
            Ok(Ok(1..)) => {}
            _ => break,
        }
    }
    read(&bytes, request)
}

#[allow(clippy::panic)]
fn refused(error: &std::io::Error) -> TcpStream {
    panic!("the application takes no connection: {error}")
}

#[allow(clippy::panic)]
fn hangs(request: &Request) -> Answer {
    panic!("no answer to {} {}", request.method, request.target)
}

pub(super) fn split(bytes: &[u8]) -> Option<(String, &[u8])> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let (head, body) = bytes.split_at_checked(end)?;
    Some((String::from_utf8_lossy(head).into_owned(), body.get(4..)?))
}

/// Parses a response from all received bytes.
fn read(bytes: &[u8], request: &Request) -> Answer {
    let Some((head, body)) = split(bytes) else {
        return Answer::default();
    };
    let mut lines = head.split("\r\n");
    let status = lines
        .next()
        .and_then(|line| line.split(' ').nth(1))
        .and_then(|status| status.parse().ok())
        .unwrap_or(0);
    if status == 100 {
        return read(body, request);
    }
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let mut answer = Answer {
        status,
        headers,
        body: Vec::new(),
    };
    let chunked = answer
        .header("transfer-encoding")
        .is_some_and(|encoding| encoding.eq_ignore_ascii_case("chunked"));
    answer.body = if chunked {
        unchunked(body)
    } else {
        body.to_vec()
    };
    let length = answer
        .header("content-length")
        .and_then(|length| length.parse().ok());
    if request.method == "HEAD" || answer.status == 304 {
        assert!(
            answer.body.is_empty(),
            "an answer that has no body has {:?}",
            answer.text()
        );
    } else if let Some(length) = length {
        if matches!(request.framing, Framing::Lying(_)) {
            // The server may take the rest of the body for another request, and respond to it.
            answer.body.truncate(length);
        }
        assert_eq!(length, answer.body.len(), "the content-length is not true");
    }
    answer
}

fn unchunked(mut rest: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(end) = rest.windows(2).position(|window| window == b"\r\n") {
        let (size, after) = rest.split_at(end);
        let size = std::str::from_utf8(size)
            .ok()
            .and_then(|size| usize::from_str_radix(size, 16).ok())
            .unwrap_or(0);
        let (Some(chunk), Some(next)) = (after.get(2..2 + size), after.get(4 + size..)) else {
            break;
        };
        body.extend_from_slice(chunk);
        rest = next;
    }
    body
}
