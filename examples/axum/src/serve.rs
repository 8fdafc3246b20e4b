//! Serves with bounds that `axum::serve` does not have: for heads, for idle connections, and for
//! the number of connections.

use std::{convert::Infallible, io, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::{ConnectInfo, Request},
    response::Response,
};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::{GracefulConnection, GracefulShutdown},
};
use shop::{BoxError, Connections, OpenConnection, WAIT};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, oneshot},
};
use tower_service::Service as _;

/// Connections that had to give way and are being closed, at most.
const CLOSING: usize = 64;

/// Serves until it is told to stop; then answers what is under way.
pub(crate) async fn serve(
    listener: TcpListener,
    routes: Router,
    told: impl Future<Output = ()>,
) -> Result<(), BoxError> {
    let connections = Connections::of_this_process(1);
    let places = Arc::new(Semaphore::new(connections.most() + CLOSING));
    let graceful = GracefulShutdown::new();
    let mut told = pin!(told);
    loop {
        let next = async {
            // Where this waits, that many connections are just being closed.
            let place = Arc::clone(&places).acquire_owned().await?;
            Ok::<_, BoxError>((place, listener.accept().await))
        };
        let (place, accepted) = tokio::select! {
            biased;
            () = &mut told => break,
            next = next => next?,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            // The visitor was gone before.
            Err(error) if is_of_the_visitor(&error) => continue,
            Err(error) => {
                tracing::error!(%error, "no connection can be taken; it will be tried again");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let (close, closed) = oneshot::channel();
        let connection = Arc::new(connections.enter(Some(peer.ip()), move || {
            // It may have ended by itself.
            let _ = close.send(());
        }));
        let watcher = graceful.watcher();
        let served = http1(stream, peer, routes.clone(), Arc::clone(&connection));
        tokio::spawn(async move {
            tokio::select! {
                // An error is the visitor's own: it hung up, or sent no HTTP.
                _ = watcher.watch(served) => {}
                Ok(()) = closed => {}
            }
            drop((connection, place));
        });
    }
    drop(listener);
    graceful.shutdown().await;
    Ok(())
}

/// One connection, with a time-out for heads that also ends idle connections.
fn http1(
    stream: TcpStream,
    peer: SocketAddr,
    routes: Router,
    connection: Arc<OpenConnection>,
) -> impl GracefulConnection + Send {
    let service = service_fn(move |request: Request<Incoming>| {
        let (mut routes, connection) = (routes.clone(), Arc::clone(&connection));
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(ConnectInfo(peer));
        async move {
            connection.begin();
            let response: Result<Response, Infallible> = routes.call(request).await;
            connection.end();
            response
        }
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(WAIT)
        .serve_connection(TokioIo::new(stream), service)
}

fn is_of_the_visitor(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
    )
}
