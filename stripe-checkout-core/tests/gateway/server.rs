//! A server on loopback that answers, breaks and hangs as the test says, byte by byte. It can send
//! bytes that no well-behaved HTTP library sends.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use stripe_checkout_core::{Config, PublishableKey, SecretKey, WebhookSecret};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// The key that the tests look for where it must not be.
pub(crate) const SECRET_KEY: &str = "sk_test_51HiddenSecretKey";

/// The server's reaction to one request.
#[derive(Debug, Clone)]
pub(crate) enum Act {
    /// An answer: the status, further headers (each line ends in `\r\n`), and the body.
    Answer(u16, &'static str, String),
    /// As `Answer`, and then the server closes the connection without notice.
    AnswerAndClose(u16, &'static str, String),
    /// Exactly these bytes, and then the server closes the connection.
    Raw(String),
    /// The server reads the request, and closes the connection.
    Close,
    /// No answer, ever.
    Hang,
}

/// One request as it arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    /// The number of the connection, from one.
    pub(crate) connection: usize,
    /// The request line and the headers.
    pub(crate) head: String,
    /// The body.
    pub(crate) body: String,
}

impl Seen {
    /// Returns the value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (have, value) = line.split_once(':')?;
            have.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

#[derive(Default)]
struct State {
    acts: VecDeque<Act>,
    seen: Vec<Seen>,
    connections: usize,
}

/// A running server, which stops when it is dropped.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    state: Arc<Mutex<State>>,
    task: tokio::task::JoinHandle<()>,
}

impl Server {
    /// Plays the acts in order, and the last one for every remaining request.
    pub(crate) async fn start(acts: impl IntoIterator<Item = Act>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State {
            acts: acts.into_iter().collect(),
            ..State::default()
        }));
        let shared = state.clone();
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let number = {
                    let mut state = shared.lock().unwrap();
                    state.connections += 1;
                    state.connections
                };
                connections.spawn(serve(stream, number, shared.clone()));
            }
        });
        Self {
            address,
            state,
            task,
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Returns a configuration with this server as Stripe.
    pub(crate) fn config(&self) -> Config {
        config(&self.url())
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.state.lock().unwrap().seen.clone()
    }

    pub(crate) fn connections(&self) -> usize {
        self.state.lock().unwrap().connections
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub(crate) fn config(api_base: &str) -> Config {
    Config::new([WebhookSecret::new("whsec_hidden").unwrap()])
        .unwrap()
        .with_keys(
            SecretKey::new(SECRET_KEY).unwrap(),
            PublishableKey::new("pk_test_51Public").unwrap(),
        )
        .unwrap()
        .with_api_base(api_base)
        .unwrap()
}

async fn serve(mut stream: TcpStream, connection: usize, state: Arc<Mutex<State>>) {
    let mut buffer = Vec::new();
    while let Some((head, body)) = read(&mut stream, &mut buffer).await {
        let act = {
            let mut state = state.lock().unwrap();
            state.seen.push(Seen {
                connection,
                head,
                body,
            });
            if state.acts.len() > 1 {
                state.acts.pop_front().unwrap()
            } else {
                state.acts[0].clone()
            }
        };
        let text = |status, headers, body: String| {
            format!(
                "HTTP/1.1 {status} X\r\nContent-Length: {}\r\n{headers}\r\n{body}",
                body.len()
            )
        };
        match act {
            Act::Answer(status, headers, body) => {
                stream
                    .write_all(text(status, headers, body).as_bytes())
                    .await
                    .unwrap();
            }
            Act::AnswerAndClose(status, headers, body) => {
                stream
                    .write_all(text(status, headers, body).as_bytes())
                    .await
                    .unwrap();
                return;
            }
            Act::Raw(bytes) => {
                let _ = stream.write_all(bytes.as_bytes()).await;
                return;
            }
            Act::Close => return,
            Act::Hang => std::future::pending().await,
        }
    }
}

async fn read(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<(String, String)> {
    let find = |buffer: &[u8]| buffer.windows(4).position(|four| four == b"\r\n\r\n");
    let end = loop {
        if let Some(end) = find(buffer) {
            break end + 4;
        }
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(buffer[..end].to_vec()).unwrap();
    let length = head
        .lines()
        .find_map(|line| {
            line.to_ascii_lowercase()
                .strip_prefix("content-length:")?
                .trim()
                .parse()
                .ok()
        })
        .unwrap_or(0);
    while buffer.len() < end + length {
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
    let body = String::from_utf8(buffer[end..end + length].to_vec()).unwrap();
    buffer.drain(..end + length);
    Some((head, body))
}
