#![doc = include_str!("../README.md")]
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::time::Duration;

use axum::Router;
use axum::body::HttpBody;
use axum::extract::{ConnectInfo, FromRef, FromRequest, Request};
use axum::http::uri::Authority;
use axum::http::{Extensions, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, MethodRouter, on};
pub use stripe_checkout_core;
use stripe_checkout_core::webhook::Event;
use stripe_checkout_core::{Body, Call, Checkout, Method, Reply, VisitorData};

/// All routes of a checkout, for any state type.
///
/// Use [`Router::merge`] or, under a prefix, [`Router::nest`].
pub fn router<S: Clone + Send + Sync + 'static>(checkout: Checkout) -> Router<S> {
    checkout
        .endpoints()
        .to_vec()
        .into_iter()
        .fold(Router::new(), |router, endpoint| {
            let filter = match endpoint.method() {
                Method::Post => MethodFilter::POST,
                _ => MethodFilter::GET,
            };
            let (path, checkout) = (endpoint.path().to_owned(), checkout.clone());
            let handler = async move |request: Request| {
                let (parts, body) = request.into_parts();
                let authority = parts.uri.authority().map(Authority::as_str);
                let mut call = Call::over_http(&endpoint, authority)
                    .query(parts.uri.query())
                    .peer(peer(&parts.extensions))
                    .visitor_data(parts.extensions.get::<VisitorData>().cloned());
                for (name, value) in &parts.headers {
                    call = call.header(name.as_str(), value.as_bytes());
                }
                let body = read(body, endpoint.body_limit(), endpoint.body_deadline()).await;
                CheckoutResponse(checkout.handle(call.body(body)).await)
            };
            let route: MethodRouter<S, Infallible> = on(filter, handler);
            router.route(&path, route)
        })
}

/// A genuine event, as an extractor for a webhook route that you write yourself.
///
/// The state must hold a [`Checkout`] (see [`FromRef`]). If it does not, use [`verify`].
///
/// The response to anything else is that of the ready-made route: 400, 413 for a body above the
/// checkout's limit, or 408 for a body that is too slow.
#[derive(Debug, Clone)]
pub struct VerifiedEvent(pub Event);

impl<S: Send + Sync> FromRequest<S> for VerifiedEvent
where
    Checkout: FromRef<S>,
{
    type Rejection = CheckoutResponse;

    async fn from_request(request: Request, state: &S) -> Result<Self, CheckoutResponse> {
        verify(&Checkout::from_ref(state), request).await.map(Self)
    }
}

/// Reads a request's body and verifies it against its `Stripe-Signature` header.
///
/// It reads up to the checkout's limit and deadline.
///
/// # Errors
/// The response to send: 400, 408 or 413.
pub async fn verify(checkout: &Checkout, request: Request) -> Result<Event, CheckoutResponse> {
    let (parts, body) = request.into_parts();
    let body = read(body, checkout.body_limit(), checkout.body_deadline()).await;
    let signatures = parts.headers.get_all(Checkout::SIGNATURE_HEADER);
    let signatures = signatures.iter().map(HeaderValue::as_bytes);
    checkout
        .verify(body, signatures)
        .map_err(|error| CheckoutResponse(error.into()))
}

/// The core's reply as axum's response.
#[derive(Debug, Clone)]
pub struct CheckoutResponse(pub Reply);

impl IntoResponse for CheckoutResponse {
    fn into_response(self) -> Response {
        let (status, headers, body) = self.0.into_parts();
        let mut response = Response::new(axum::body::Body::from(body));
        *response.status_mut() =
            StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        for (name, value) in headers {
            if let Ok(value) = HeaderValue::try_from(value) {
                response
                    .headers_mut()
                    .insert(HeaderName::from_static(name), value);
            }
        }
        response
    }
}

/// The address at the other end of the connection.
///
/// axum knows it if you serve the application with
/// `into_make_service_with_connect_info::<SocketAddr>()`.
fn peer(extensions: &Extensions) -> Option<IpAddr> {
    let ConnectInfo(peer) = extensions.get::<ConnectInfo<SocketAddr>>()?;
    Some(peer.ip())
}

/// Reads the whole body up to the limit and the deadline, also above an outer `DefaultBodyLimit`.
async fn read(mut incoming: axum::body::Body, limit: usize, deadline: Duration) -> Body {
    Body::read(limit, deadline, |context| {
        let frame = Pin::new(&mut incoming).poll_frame(context);
        frame.map_ok(|frame| frame.into_data().unwrap_or_default())
    })
    .await
}
