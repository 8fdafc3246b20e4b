//! The pooled transport over TLS: it connects only to trusted servers, keeps the connection, and
//! sends the key to no other server.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::server::config;
use stripe_checkout_core::ApiError;
use stripe_checkout_core::stripe::{Gateway, PooledTransport};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

const ANSWER: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";

/// The requests that came through TLS, and the opened connections.
#[derive(Default)]
pub(crate) struct Counts {
    pub(crate) requests: AtomicUsize,
    connections: AtomicUsize,
}

/// Starts a TLS server with a self-signed certificate for these names. Returns its port, the
/// certificate and the counts.
pub(crate) async fn serve(names: &[&str]) -> (u16, Vec<u8>, Arc<Counts>) {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let own = rcgen::generate_simple_self_signed(names).unwrap();
    let certificate = own.cert.der().clone();
    let key = own.signing_key.serialize_der().try_into().unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let counts = Arc::new(Counts::default());
    let shared = counts.clone();
    tokio::spawn(async move {
        let acceptor = TlsAcceptor::from(Arc::new(tls));
        while let Ok((stream, _)) = listener.accept().await {
            shared.connections.fetch_add(1, Ordering::SeqCst);
            let (acceptor, shared) = (acceptor.clone(), shared.clone());
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else {
                    return;
                };
                let mut text = Vec::new();
                while let Ok(1..) = stream.read_buf(&mut text).await {
                    if text.ends_with(b"\r\n\r\n") {
                        text.clear();
                        shared.requests.fetch_add(1, Ordering::SeqCst);
                        stream.write_all(ANSWER.as_bytes()).await.unwrap();
                        stream.flush().await.unwrap();
                    }
                }
            });
        }
    });
    (port, certificate.to_vec(), counts)
}

fn gateway(port: u16) -> Gateway {
    Gateway::new(&config(&format!("https://localhost:{port}")))
        .unwrap()
        .max_tries(1)
}

const NOBODY: ApiError = ApiError::Unavailable {
    status: None,
    replayed: false,
    request_id: None,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trusted_server_is_called_on_one_connection() {
    let (port, root, counts) = serve(&["localhost"]).await;
    let gateway = gateway(port).transport(PooledTransport::with_root_certificates([root]).unwrap());
    for _ in 0..10 {
        assert_eq!(gateway.get("/events", None).await.unwrap(), "{}");
    }
    assert_eq!(counts.requests.load(Ordering::SeqCst), 10);
    assert_eq!(counts.connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_stranger_never_sees_the_key() {
    // No known authority signed the certificate.
    let (port, _, counts) = serve(&["localhost"]).await;
    assert_eq!(
        gateway(port).get("/events", None).await.unwrap_err(),
        NOBODY
    );
    assert_eq!(counts.requests.load(Ordering::SeqCst), 0);

    // The certificate is trusted, but for another name.
    let (port, root, counts) = serve(&["api.stripe.example"]).await;
    let gateway = gateway(port).transport(PooledTransport::with_root_certificates([root]).unwrap());
    assert_eq!(gateway.get("/events", None).await.unwrap_err(), NOBODY);
    assert_eq!(counts.requests.load(Ordering::SeqCst), 0);
}

#[test]
fn what_is_no_certificate_is_refused() {
    assert!(PooledTransport::with_root_certificates([b"no certificate"]).is_err());
}
