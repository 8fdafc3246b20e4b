//! The default transport: HTTP/1.1 over rustls, with a pool of connections.
//!
//! The pool is a list on top of hyper's own connection type. It is not hyper-util's client, for two
//! reasons that matter to a payment. That client returns a connection to its pool in a separate
//! task, so the next call may find none idle and open a second one. Here the connection is back
//! before the caller gets the response. And that client cannot tell whether a broken connection was
//! a reused one. That decides whether the next try needs a pause.

use std::ffi::OsString;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, HOST, HeaderValue};
use http::uri::{Authority, Scheme};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::rt::{Read, Write};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::connect::HttpConnector;
use rustls::ClientConfig;
use tokio::time::Instant;
use tower_service::Service;

use super::proxy::Proxy;
use super::roots::Roots;
use super::transport::{Transport, TransportError, TransportRequest, TransportResponse};
use crate::build_error::BuildError;
use crate::error::BoxError;

/// The largest accepted response, in bytes. A PaymentIntent has about 5,000. A page of 100 events
/// can have a few hundred thousand.
const MAX_ANSWER: usize = 4 << 20;
/// How long a connection may stay idle. It is less than load balancers usually allow, so that a
/// connection is rarely found closed.
const MAX_IDLE: Duration = Duration::from_secs(50);
/// How many idle connections are kept. More are opened when more calls run at once, and closed
/// afterwards.
const MAX_KEPT: usize = 32;
/// How long a name look-up and a TCP handshake together may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// How long to wait until hyper has a connection ready again after its response was read. It is
/// ready at once unless the server misbehaves.
const READY_LIMIT: Duration = Duration::from_millis(500);

/// Keeps connections to Stripe and reuses them: a call on a warm connection saves the TCP and the
/// TLS handshake.
///
/// It uses TLS 1.2 and 1.3 by rustls, with Mozilla's root certificates, which come with this crate.
/// Plain `http` addresses work too, for a stand-in for Stripe on loopback.
/// [`Config`](crate::Config) refuses them for any other host, unless you opt in.
///
/// Environment variables:
///
/// - `HTTPS_PROXY` or `https_proxy`, else `ALL_PROXY` or `all_proxy`: the proxy for `https`
///   addresses (with `CONNECT`), like `http://user:password@proxy.example:3128`. Unset: no proxy.
/// - `NO_PROXY` or `no_proxy`: hosts that are reached without the proxy, separated by commas. They
///   can be names with their subdomains, addresses, networks like `10.0.0.0/8`, or `*`. Unset:
///   none.
/// - `SSL_CERT_FILE`: a file of root certificates (PEM) that are trusted too. Unset: Mozilla's
///   only.
///
/// This machine (`localhost`, `127.0.0.0/8`, `[::1]`) and plain `http` addresses are never reached
/// through a proxy. This machine needs none, and over plain `http` a proxy would see the key.
pub struct PooledTransport {
    connector: HttpsConnector<HttpConnector>,
    tls: Arc<ClientConfig>,
    proxy: Option<Proxy>,
    idle: Mutex<Vec<Idle>>,
}

struct Idle {
    scheme: Scheme,
    authority: Authority,
    since: Instant,
    connection: SendRequest<Full<Bytes>>,
}

impl PooledTransport {
    /// Sets up TLS, by the environment variables in the list above. It opens no connection before
    /// the first call.
    ///
    /// # Errors
    /// [`BuildError::Transport`] if TLS cannot be set up, if the address of a proxy is invalid, or
    /// if the file of root certificates cannot be read.
    pub fn new() -> Result<Self, BuildError> {
        Self::from_vars(|name| std::env::var_os(name))
    }

    /// Sets up TLS like [`new`](Self::new), with variables from a source of your own. An empty
    /// variable counts as absent.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn from_vars(variables: impl Fn(&str) -> Option<OsString>) -> Result<Self, BuildError> {
        let variables = |name: &str| variables(name).filter(|value| !value.is_empty());
        let mut roots = Roots::mozilla();
        if let Some(file) = variables("SSL_CERT_FILE") {
            roots
                .add_file(file.as_ref())
                .map_err(BuildError::Transport)?;
        }
        let proxy = Proxy::from_vars(variables).map_err(BuildError::Transport)?;
        Self::with(roots, proxy)
    }

    /// Trusts these root certificates (DER) in addition to Mozilla's.
    ///
    /// Use it for another implementation of Stripe's API with its own certificate, or for a network
    /// whose gateway opens TLS. It reads no variables, so it uses no proxy.
    ///
    /// # Errors
    /// [`BuildError::Transport`] if TLS cannot be set up or a certificate cannot be read.
    pub fn with_root_certificates(
        certificates: impl IntoIterator<Item = impl AsRef<[u8]>>,
    ) -> Result<Self, BuildError> {
        let mut roots = Roots::mozilla();
        for der in certificates {
            roots.add(der.as_ref()).map_err(BuildError::Transport)?;
        }
        Self::with(roots, None)
    }

    fn with(roots: Roots, proxy: Option<Proxy>) -> Result<Self, BuildError> {
        let tls = Arc::new(roots.trusted().map_err(BuildError::Transport)?);
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_keepalive(Some(Duration::from_secs(60)));
        tcp.set_connect_timeout(Some(CONNECT_LIMIT));
        Ok(Self {
            connector: HttpsConnector::from((tcp, tls.clone())),
            tls,
            proxy,
            idle: Mutex::new(Vec::new()),
        })
    }

    /// Takes an idle connection that was open a moment ago, the most recently used first.
    fn take(&self, target: &http::Uri) -> Option<SendRequest<Full<Bytes>>> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|kept| !kept.connection.is_closed() && kept.since.elapsed() < MAX_IDLE);
        let fits = |kept: &Idle| {
            Some(&kept.scheme) == target.scheme() && Some(&kept.authority) == target.authority()
        };
        let found = idle.iter().rposition(fits)?;
        Some(idle.remove(found).connection)
    }

    fn keep(&self, target: &http::Uri, connection: SendRequest<Full<Bytes>>) {
        let (Some(scheme), Some(authority)) = (target.scheme(), target.authority()) else {
            return;
        };
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < MAX_KEPT {
            idle.push(Idle {
                scheme: scheme.clone(),
                authority: authority.clone(),
                since: Instant::now(),
                connection,
            });
        }
    }

    async fn connect(&self, target: http::Uri) -> Result<SendRequest<Full<Bytes>>, TransportError> {
        let direct = self.connector.clone();
        match self
            .proxy
            .as_ref()
            .and_then(|proxy| proxy.on_the_way_to(&target))
        {
            Some(proxy) => {
                let tunnel = proxy.tunnel(direct);
                open(HttpsConnector::from((tunnel, self.tls.clone())), target).await
            }
            None => open(direct, target).await,
        }
    }

    async fn exchange(
        &self,
        target: &http::Uri,
        mut request: http::Request<Full<Bytes>>,
    ) -> Result<TransportResponse, TransportError> {
        loop {
            let (mut connection, kept) = match self.take(target) {
                Some(connection) => (connection, true),
                None => (self.connect(target.clone()).await?, false),
            };
            let answer = match connection.try_send_request(request).await {
                Ok(answer) => answer,
                Err(mut error) => match error.take_message() {
                    // No byte of the request was sent, so this does not count as a try. The list of
                    // kept connections gets shorter each time, so this loop ends.
                    Some(unsent) if kept => {
                        request = unsent;
                        continue;
                    }
                    _ if kept => return Err(TransportError::Stale(error.into_error().into())),
                    _ => return Err(TransportError::Broken(error.into_error().into())),
                },
            };
            let answer = read(answer).await?;
            // A connection that does not become ready again is dropped, and so closed.
            if let Ok(Ok(())) = tokio::time::timeout(READY_LIMIT, connection.ready()).await {
                self.keep(target, connection);
            }
            return Ok(answer);
        }
    }
}

impl Transport for PooledTransport {
    async fn send(&self, request: &TransportRequest) -> Result<TransportResponse, TransportError> {
        let target: http::Uri = request.url.parse().map_err(unsendable)?;
        let host = target
            .authority()
            .ok_or_else(|| TransportError::Request("the address has no host".into()))?;
        let path = target.path_and_query().map_or("/", |path| path.as_str());
        let mut message = http::Request::builder()
            .method(request.method)
            .uri(path)
            .header(HOST, host.as_str());
        for (name, value) in &request.headers {
            let mut value = HeaderValue::from_str(value).map_err(unsendable)?;
            // Code that logs headers on the way then prints "Sensitive".
            value.set_sensitive(*name == AUTHORIZATION.as_str());
            message = message.header(*name, value);
        }
        let message = message
            .body(Full::new(request.body.clone()))
            .map_err(unsendable)?;
        self.exchange(&target, message).await
    }
}

async fn read(
    answer: http::Response<hyper::body::Incoming>,
) -> Result<TransportResponse, TransportError> {
    let (head, body) = answer.into_parts();
    let status = head.status.as_u16();
    let body = match Limited::new(body, MAX_ANSWER).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) if error.is::<LengthLimitError>() => {
            return Err(TransportError::AnswerTooLarge {
                status,
                limit: MAX_ANSWER,
            });
        }
        Err(error) => return Err(TransportError::Broken(error)),
    };
    let headers = head
        .headers
        .iter()
        .map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec()))
        .collect();
    Ok(TransportResponse {
        status,
        headers,
        body,
    })
}

/// Opens a connection that is ready for a request.
async fn open<C>(
    mut connector: C,
    target: http::Uri,
) -> Result<SendRequest<Full<Bytes>>, TransportError>
where
    C: Service<http::Uri, Error = BoxError>,
    C::Response: Read + Write + Send + Unpin + 'static,
{
    std::future::poll_fn(|context| connector.poll_ready(context))
        .await
        .map_err(TransportError::Connect)?;
    let stream = connector
        .call(target)
        .await
        .map_err(TransportError::Connect)?;
    let (mut connection, driver) = http1::handshake(stream).await.map_err(connect)?;
    // The task ends with the connection. The request that waits gets the error.
    tokio::spawn(async move {
        let _ = driver.await;
    });
    connection.ready().await.map_err(connect)?;
    Ok(connection)
}

fn connect(error: hyper::Error) -> TransportError {
    TransportError::Connect(error.into())
}

fn unsendable(error: impl Into<http::Error>) -> TransportError {
    TransportError::Request(error.into().into())
}

impl fmt::Debug for PooledTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let idle = self
            .idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .len();
        f.debug_struct("PooledTransport")
            .field("idle", &idle)
            .finish_non_exhaustive()
    }
}
