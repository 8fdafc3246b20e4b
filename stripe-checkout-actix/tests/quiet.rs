//! The README's directive keeps a stranger's malformed requests out of the log.

use std::io::Write;
use std::sync::{Arc, Mutex};

use actix_web::{App, HttpServer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::layer;
use tracing_subscriber::prelude::*;
use tracing_subscriber::{EnvFilter, registry};

const README: &str = include_str!("../README.md");

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_directive_of_the_readme_silences_malformed_requests() {
    let (_, rest) = README.split_once("`info,").unwrap();
    let directive = format!("info,{}", rest.split_once('`').unwrap().0);
    let (usual, quiet) = (Log::default(), Log::default());
    let (to_usual, to_quiet) = (usual.clone(), quiet.clone());
    let usual_layer = layer().with_writer(move || to_usual.clone());
    let quiet_layer = layer().with_writer(move || to_quiet.clone());
    registry()
        .with(usual_layer.with_filter(LevelFilter::INFO))
        .with(quiet_layer.with_filter(EnvFilter::new(directive)))
        .init();

    let server = HttpServer::new(App::new).workers(1);
    let server = server.bind(("127.0.0.1", 0)).unwrap();
    let address = server.addrs()[0];
    tokio::spawn(server.run());
    for malformed in [
        "nonsense\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(malformed.as_bytes()).await.unwrap();
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes).await;
    }
    tracing::info!("the last line");
    assert!(usual.text().contains("stream error"), "{}", usual.text());
    assert!(quiet.text().contains("the last line"));
    assert!(!quiet.text().contains("ERROR"), "{}", quiet.text());
}
