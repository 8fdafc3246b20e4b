//! The core without any framework: a server, and a look into the route table.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::uri::Authority;
use http::{Response, StatusCode};
use http_body_util::Full;
use hyper::body::{Body as _, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use super::driver::Driver;
use super::world::{Application, MEMBER_HEADER};
use crate::{Body, Call, Checkout, Reply};

/// The core without any framework, as the reference for all others.
#[derive(Debug, Clone, Copy)]
pub struct Reference;

impl Driver for Reference {
    #[allow(clippy::expect_used)] // A machine without a free loopback port runs no tests.
    async fn start(&self, application: Application) -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .expect("a port");
        let address = listener.local_addr().expect("its address");
        let application = Arc::new(application);
        tokio::spawn(async move {
            while let Ok((stream, peer)) = listener.accept().await {
                let application = Arc::clone(&application);
                let service = service_fn(move |request| {
                    let application = Arc::clone(&application);
                    async move { Ok::<_, Infallible>(answer(&application, peer, request).await) }
                });
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        address
    }
}

async fn answer(
    application: &Application,
    peer: SocketAddr,
    request: http::Request<Incoming>,
) -> Response<Full<Bytes>> {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path();
    let signatures = || {
        parts
            .headers
            .get_all(Checkout::SIGNATURE_HEADER)
            .iter()
            .map(|value| value.as_bytes())
    };
    let reply = if path == Application::BY_HAND {
        let checkout = &application.by_hand;
        let body = read(body, checkout.body_limit(), checkout.body_deadline()).await;
        match checkout.verify(body, signatures()) {
            Ok(event) => checkout.receive(event).await.into(),
            Err(error) => Reply::from(error),
        }
    } else {
        let verb = match parts.method.as_str() {
            "HEAD" => "GET",
            verb => verb,
        };
        let found = application.mounts.iter().find_map(|mount| {
            let rest = path.strip_prefix(mount.prefix)?;
            let endpoints = mount.checkout.endpoints().iter();
            let mut fitting = endpoints
                .filter(|endpoint| endpoint.path() == rest && endpoint.method().as_str() == verb);
            Some((&mount.checkout, fitting.next()?))
        });
        let Some((checkout, endpoint)) = found else {
            return respond(404, &[], Bytes::new());
        };
        let member = parts.headers.get(MEMBER_HEADER);
        let member = member.and_then(|value| value.to_str().ok());
        let authority = parts.uri.authority().map(Authority::as_str);
        let mut call = Call::over_http(endpoint, authority)
            .query(parts.uri.query())
            .peer(Some(peer.ip()))
            .visitor_data(member.map(Application::visitor_data));
        for (name, value) in &parts.headers {
            call = call.header(name.as_str(), value.as_bytes());
        }
        let body = read(body, endpoint.body_limit(), endpoint.body_deadline()).await;
        checkout.handle(call.body(body)).await
    };
    let (status, headers, body) = reply.into_parts();
    respond(status, &headers, body)
}

fn respond(status: u16, headers: &[(&str, String)], body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or_default();
    for (name, value) in headers {
        let (Ok(name), Ok(value)) = (http::HeaderName::try_from(*name), value.parse()) else {
            continue;
        };
        response.headers_mut().append(name, value);
    }
    response
}

async fn read(mut incoming: Incoming, limit: usize, deadline: Duration) -> Body {
    Body::read(limit, deadline, |context| {
        let frame = Pin::new(&mut incoming).poll_frame(context);
        frame.map_ok(|frame| frame.into_data().unwrap_or_default())
    })
    .await
}
