#![doc = include_str!("../README.md")]
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use actix_web::body::{BodySize, BodyStream, BoxBody, MessageBody};
use actix_web::dev::HttpServiceFactory;
use actix_web::error::PayloadError;
use actix_web::http::StatusCode;
use actix_web::http::header::{
    CONTENT_LENGTH, HeaderName, HeaderValue, TRANSFER_ENCODING, UPGRADE,
};
use actix_web::http::uri::Authority;
use actix_web::{
    FromRequest, HttpMessage, HttpRequest, HttpResponse, Responder, ResponseError, guard, web,
};
pub use stripe_checkout_core;
use stripe_checkout_core::webhook::Event;
use stripe_checkout_core::{Body, Call, Checkout, Endpoint, Method, Reply, VisitorData};

/// All routes of a checkout.
///
/// Use [`App::service`](actix_web::App::service) or, under a prefix,
/// [`Scope::service`](actix_web::Scope::service).
pub fn routes(checkout: Checkout) -> impl HttpServiceFactory {
    let resource = |endpoint: &Endpoint| {
        let filter = match endpoint.method() {
            Method::Post => guard::Any(guard::Post()),
            _ => guard::Any(guard::Get()).or(guard::Head()),
        };
        let (path, checkout, endpoint) = (
            endpoint.path().to_owned(),
            checkout.clone(),
            endpoint.clone(),
        );
        let handler = move |request: HttpRequest, payload: web::Payload| {
            let (checkout, endpoint) = (checkout.clone(), endpoint.clone());
            async move {
                let authority = request.uri().authority().map(Authority::as_str);
                let mut call = Call::over_http(&endpoint, authority)
                    .query(request.uri().query())
                    .peer(request.peer_addr().map(|peer| peer.ip()))
                    .visitor_data(request.extensions().get::<VisitorData>().cloned());
                for (name, value) in request.headers() {
                    call = call.header(name.as_str(), value.as_bytes());
                }
                let (limit, deadline) = (endpoint.body_limit(), endpoint.body_deadline());
                let (body, rest) = read(&request, payload, limit, deadline).await;
                let answer = CheckoutResponse(checkout.handle(call.body(body)).await);
                keeping(answer.response(), rest)
            }
        };
        web::resource(path).route(web::route().guard(filter).to(handler))
    };
    checkout
        .endpoints()
        .iter()
        .map(resource)
        .collect::<Vec<_>>()
}

/// A genuine event, as an extractor for a webhook route that you write yourself.
///
/// The application must hold a [`Checkout`] as [`web::Data`]. If it holds another type, or several
/// checkouts, use [`verify`].
///
/// The response to anything else is that of the ready-made route: 400, 413 for a body above the
/// checkout's limit, or 408 for a body that is too slow.
#[derive(Debug, Clone)]
pub struct VerifiedEvent(pub Event);

impl FromRequest for VerifiedEvent {
    type Error = actix_web::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Self::Error>>>>;

    fn from_request(request: &HttpRequest, payload: &mut actix_web::dev::Payload) -> Self::Future {
        let checkout = web::Data::<Checkout>::from_request(request, payload);
        let (request, payload) = (
            request.clone(),
            web::Payload::from_request(request, payload),
        );
        Box::pin(async move {
            let (checkout, payload) = (checkout.await?, payload.await?);
            Ok(Self(verify(&checkout, &request, payload).await?))
        })
    }
}

/// Reads a request's body and verifies it against its `Stripe-Signature` header.
///
/// It reads up to the checkout's limit and deadline.
///
/// # Errors
/// The response to send: 400, 408 or 413.
pub async fn verify(
    checkout: &Checkout,
    request: &HttpRequest,
    payload: web::Payload,
) -> Result<Event, Refusal> {
    let (limit, deadline) = (checkout.body_limit(), checkout.body_deadline());
    let (body, rest) = read(request, payload, limit, deadline).await;
    let signatures = request.headers().get_all(Checkout::SIGNATURE_HEADER);
    checkout
        .verify(body, signatures.map(HeaderValue::as_bytes))
        .map_err(|error| Refusal {
            answer: CheckoutResponse(error.into()),
            rest: RefCell::new(Some(rest)),
        })
}

/// The response to a request that is not a genuine event.
///
/// It closes the connection if the request's body was not read to its end.
pub struct Refusal {
    answer: CheckoutResponse,
    rest: RefCell<Option<Rest>>,
}

impl Refusal {
    /// The core's reply.
    pub fn reply(&self) -> &Reply {
        &self.answer.0
    }
}

impl ResponseError for Refusal {
    fn status_code(&self) -> StatusCode {
        self.answer.status_code()
    }

    fn error_response(&self) -> HttpResponse {
        let response = self.answer.error_response();
        match self.rest.take() {
            Some(rest) => keeping(response, rest),
            None => response,
        }
    }
}

impl Responder for Refusal {
    type Body = BoxBody;

    fn respond_to(self, _: &HttpRequest) -> HttpResponse {
        self.error_response()
    }
}

impl fmt::Debug for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.answer.fmt(f)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.answer.fmt(f)
    }
}

/// The core's reply as actix-web's response.
#[derive(Debug, Clone)]
pub struct CheckoutResponse(pub Reply);

impl CheckoutResponse {
    fn response(self) -> HttpResponse {
        let (status, headers, body) = self.0.into_parts();
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = HttpResponse::with_body(status, BoxBody::new(body));
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

impl Responder for CheckoutResponse {
    type Body = BoxBody;

    fn respond_to(self, _: &HttpRequest) -> HttpResponse {
        self.response()
    }
}

// With this, `?` in a handler and a failed extractor give exactly this response.
impl ResponseError for CheckoutResponse {
    fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.0.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    fn error_response(&self) -> HttpResponse {
        self.clone().response()
    }
}

impl fmt::Display for CheckoutResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "answered with {}", self.0.status())
    }
}

/// The stream of a request's body.
type Rest = Pin<Box<BodyStream<web::Payload>>>;

/// Reads the whole body up to the limit and the deadline, also above a `PayloadConfig`.
///
/// Returns it with the rest of the stream.
async fn read(
    request: &HttpRequest,
    payload: web::Payload,
    limit: usize,
    deadline: Duration,
) -> (Body, Rest) {
    let mut rest = Box::pin(BodyStream::new(payload));
    let mut left = length_before_upgrade(request);
    let body = Body::read(limit, deadline, |context| {
        if left == Some(0) {
            return Poll::Ready(None);
        }
        match (&mut left, rest.as_mut().poll_next(context)) {
            (None, piece) => piece,
            (Some(_), Poll::Ready(None)) => Poll::Ready(Some(Err(PayloadError::Incomplete(None)))),
            (Some(left), piece) => piece.map_ok(|mut piece| {
                piece.truncate(*left);
                *left = left.saturating_sub(piece.len());
                piece
            }),
        }
    })
    .await;
    (body, rest)
}

/// The length of the body of a request that asks for a WebSocket, which is not available here.
///
/// For actix-web such a body ends with the connection, so the response would wait for the client.
/// The length counts as for any other request (RFC 9110, 7.8). Then actix-web closes the
/// connection.
fn length_before_upgrade(request: &HttpRequest) -> Option<usize> {
    let headers = request.headers();
    let text = |value: &HeaderValue| value.to_str().unwrap_or_default().trim().to_owned();
    let upgrades = headers
        .get_all(UPGRADE)
        .any(|value| text(value).eq_ignore_ascii_case("websocket"));
    (upgrades && !headers.contains_key(TRANSFER_ENCODING)).then(|| {
        let length = headers.get(CONTENT_LENGTH).map(text);
        length
            .and_then(|length| length.parse().ok())
            .unwrap_or_default()
    })
}

/// The response, which keeps the rest of the request's body until it is sent.
///
/// actix-web keeps reading the chunks of a dropped body, however slowly they come and without an
/// end. It closes the connection if the body is still held after the response.
fn keeping(response: HttpResponse, rest: Rest) -> HttpResponse {
    response.map_body(|_, body| BoxBody::new(Keeping { body, _rest: rest }))
}

struct Keeping {
    body: BoxBody,
    _rest: Rest,
}

impl MessageBody for Keeping {
    type Error = <BoxBody as MessageBody>::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<web::Bytes, Self::Error>>> {
        Pin::new(&mut self.body).poll_next(context)
    }
}
