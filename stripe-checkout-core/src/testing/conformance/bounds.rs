//! Connections that wait: a server, or the proxy in front of it, must close each of them.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::client::HOST;

/// Longer than the time-outs of the documented servers, also on a busy machine.
const PATIENCE: Duration = Duration::from_secs(25);

/// Opens a connection of each kind that sends no more, and waits until the server closes it:
///
/// - `silent`: it sends nothing;
/// - `half a head`;
/// - `idle`: one request was answered;
/// - `half a second head`: one request was answered, and the next one never comes whole;
/// - `a chunk that stops`: in the body of a request to a path that does not exist.
///
/// Returns the kinds that are still open after 25 s, or that could not be opened.
pub async fn still_open(address: SocketAddr) -> Vec<&'static str> {
    let get = format!("GET /nothing HTTP/1.1\r\nHost: {HOST}\r\n");
    let whole = format!("{get}\r\n");
    let chunk = format!(
        "POST /nothing HTTP/1.1\r\nHost: {HOST}\r\nTransfer-Encoding: chunked\r\n\r\nfff\r\nthe beginning of it"
    );
    let mut running = JoinSet::new();
    for (kind, first, second) in [
        ("silent", "", ""),
        ("half a head", &get, ""),
        ("idle", &whole, ""),
        ("half a second head", &whole, &get),
        ("a chunk that stops", &chunk, ""),
    ] {
        let (first, second) = (first.to_owned(), second.to_owned());
        running.spawn(async move {
            // A server that is not there closes nothing.
            let Ok(mut stream) = TcpStream::connect(address).await else {
                return Some(kind);
            };
            let ends = async {
                stream.write_all(first.as_bytes()).await?;
                let mut bytes = Vec::new();
                if !second.is_empty() {
                    stream.read_buf(&mut bytes).await?;
                    stream.write_all(second.as_bytes()).await?;
                }
                stream.read_to_end(&mut bytes).await
            };
            // A reset is an end, too.
            let ended = tokio::time::timeout(PATIENCE, ends).await;
            ended.is_err().then_some(kind)
        });
    }
    let mut open = Vec::new();
    while let Some(ended) = running.join_next().await {
        open.extend(ended.unwrap_or(Some("a panic")));
    }
    open.sort_unstable();
    open
}
