//! Serves another implementation of Stripe.js than the sandbox's.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// The script and the page of its iframe, on an origin of their own; until this is dropped.
#[derive(Debug)]
pub(super) struct AnotherStripe {
    address: SocketAddr,
    server: JoinHandle<()>,
}

impl AnotherStripe {
    /// `api` is where the script finds Stripe's API.
    pub(super) async fn start(api: &str) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .expect("a free port");
        let address = listener.local_addr().expect("an address");
        let script = include_str!("another_stripe.js").replace("__API__", api);
        let server = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let script = script.clone();
                // A browser that hangs up has what it wanted.
                tokio::spawn(async move { serve(stream, &script).await.ok() });
            }
        });
        Self { address, server }
    }

    /// What `STRIPE_JS_URL` is set to.
    pub(super) fn url(&self) -> String {
        format!("http://{}/v3/?from=elsewhere", self.address)
    }
}

impl Drop for AnotherStripe {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// Answers one request, as plain as HTTP/1.0 allows, and closes.
async fn serve(stream: TcpStream, script: &str) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut first = String::new();
    stream.read_line(&mut first).await?;
    // All of it is read: what is left unread would break the connection when it is closed.
    let mut line = String::new();
    while stream.read_line(&mut line).await? > 2 {
        line.clear();
    }
    let (kind, body) = if first.contains(" /form ") {
        ("text/html", include_str!("another_stripe.html"))
    } else {
        ("text/javascript", script)
    };
    let answer = format!("HTTP/1.0 200 OK\r\nContent-Type: {kind}\r\n\r\n{body}");
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await
}
