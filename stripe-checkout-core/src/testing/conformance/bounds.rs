//! Connections that wait: a server, or the proxy in front of it, must close each of them.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::client::{HOST, PATIENCE};

/// Opens a connection of each kind that sends no more, and waits until the server closes it:
///
/// - `silent`: it sends nothing;
/// - `half a head`;
/// - `idle`: one request was answered;
/// - `half a second head`: one request was answered, and the next one never comes whole;
/// - `a chunk that stops`: in the body of a request to a path that does not exist.
///
/// Returns the kinds that are still open after a minute.
pub async fn still_open(address: SocketAddr) -> Vec<&'static str> {
    let get = format!("GET /nothing HTTP/1.1\r\nHost: {HOST}\r\n");
    let whole = format!("{get}\r\n");
    let second = format!("{whole}{get}");
    let chunk = format!(
        "POST /nothing HTTP/1.1\r\nHost: {HOST}\r\nTransfer-Encoding: chunked\r\n\r\nfff\r\nthe beginning of it"
    );
    let mut running = JoinSet::new();
    for (kind, sends) in [
        ("silent", String::new()),
        ("half a head", get),
        ("idle", whole),
        ("half a second head", second),
        ("a chunk that stops", chunk),
    ] {
        running.spawn(async move {
            let Ok(mut stream) = TcpStream::connect(address).await else {
                return Some("no connection");
            };
            let _ = stream.write_all(sends.as_bytes()).await;
            let mut bytes = Vec::new();
            // A reset is an end, too.
            let end = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut bytes)).await;
            end.is_err().then_some(kind)
        });
    }
    let mut open = Vec::new();
    while let Some(ended) = running.join_next().await {
        open.extend(ended.unwrap_or(Some("a panic")));
    }
    open.sort_unstable();
    open
}
