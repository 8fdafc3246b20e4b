#![doc = include_str!("../README.md")]
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};

use actix_web::body::{BodyStream, BoxBody, MessageBody};
use actix_web::dev::HttpServiceFactory;
use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::http::uri::Authority;
use actix_web::{
    FromRequest, HttpMessage, HttpRequest, HttpResponse, Responder, ResponseError, guard, web,
};
pub use stripe_checkout_core;
use stripe_checkout_core::webhook::Event;
use stripe_checkout_core::{Body, Call, Checkout, Endpoint, Method, Reply, VisitorData};

/// All routes of a checkout, for [`App::service`](actix_web::App::service) or, under a prefix, [`Scope::service`](actix_web::Scope::service).
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
                let mut call = Call::new(&endpoint)
                    .query(request.uri().query())
                    .authority(request.uri().authority().map(Authority::as_str))
                    .peer(request.peer_addr().map(|peer| peer.ip()))
                    .visitor_data(request.extensions().get::<VisitorData>().cloned());
                for (name, value) in request.headers() {
                    call = call.header(name.as_str(), value.as_bytes());
                }
                let body = read(payload, endpoint.body_limit()).await;
                Answer(checkout.handle(call.body(body)).await)
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

/// A genuine event, for whoever writes the webhook's route by hand. The application must hold a [`Checkout`] as [`web::Data`]; where it holds another type,
/// or more than one, use [`verify`].
///
/// What is no genuine event is answered as the ready-made route does: 400, or 413 for a body above the checkout's limit.
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

/// Reads a request's body up to the checkout's limit and verifies it against its `Stripe-Signature` header.
///
/// # Errors
/// The answer to give: 400, or 413.
pub async fn verify(
    checkout: &Checkout,
    request: &HttpRequest,
    payload: web::Payload,
) -> Result<Event, Answer> {
    let body = read(payload, checkout.body_limit()).await;
    let signatures = request.headers().get_all(Checkout::SIGNATURE_HEADER);
    checkout
        .verify(body, signatures.map(HeaderValue::as_bytes))
        .map_err(|error| Answer(error.into()))
}

/// The core's reply as actix-web's response.
#[derive(Debug, Clone)]
pub struct Answer(pub Reply);

impl Answer {
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

impl Responder for Answer {
    type Body = BoxBody;

    fn respond_to(self, _: &HttpRequest) -> HttpResponse {
        self.response()
    }
}

// So that `?` in a handler, and a failed extractor, give the very answer.
impl ResponseError for Answer {
    fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.0.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    fn error_response(&self) -> HttpResponse {
        self.clone().response()
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "answered with {}", self.0.status())
    }
}

/// The whole body up to the limit, whatever `PayloadConfig` says.
async fn read(payload: web::Payload, limit: usize) -> Body {
    let (mut incoming, mut body) = (pin!(BodyStream::new(payload)), Body::new(limit));
    while let Some(chunk) = poll_fn(|context| incoming.as_mut().poll_next(context)).await {
        match chunk {
            Ok(chunk) => {
                if !body.push(&chunk) {
                    break;
                }
            }
            Err(_) => {
                body.set_incomplete();
                break;
            }
        }
    }
    body
}
