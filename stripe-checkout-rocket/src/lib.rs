#![doc = include_str!("../README.md")]
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::io::Cursor;
use std::pin::Pin;
use std::task::{Poll, ready};
use std::time::Duration;

use rocket::data::{ByteUnit, Data, FromData};
use rocket::http::{Method as Verb, Status};
use rocket::outcome::Outcome;
use rocket::response::{Responder, Response};
use rocket::route::{self, Handler};
use rocket::tokio::io::{AsyncRead, ReadBuf};
use rocket::{Ignite, Request, Rocket, Route, Sentinel};
pub use stripe_checkout_core;
use stripe_checkout_core::webhook::Event;
use stripe_checkout_core::{Body, Call, Checkout, Endpoint, Method, Reply, VisitorData};

/// All routes of a checkout, for [`Rocket::mount`] under any prefix.
pub fn routes(checkout: Checkout) -> Vec<Route> {
    let route = |endpoint: &Endpoint| {
        let verb = match endpoint.method() {
            Method::Post => Verb::Post,
            _ => Verb::Get,
        };
        let (checkout, endpoint) = (checkout.clone(), endpoint.clone());
        let path = endpoint.path().to_owned();
        let mut route = Route::new(verb, &path, Mounted { checkout, endpoint });
        // For Rocket, `/checkout/` is `/checkout`. So the rarer path is tried first.
        route.rank -= isize::from(path.ends_with('/'));
        route
    };
    checkout.endpoints().iter().map(route).collect()
}

/// One endpoint with its checkout.
///
/// It needs no managed state, which an application could forget, or two checkouts would share.
#[derive(Clone)]
struct Mounted {
    checkout: Checkout,
    endpoint: Endpoint,
}

#[rocket::async_trait]
impl Handler for Mounted {
    async fn handle<'r>(&self, request: &'r Request<'_>, data: Data<'r>) -> route::Outcome<'r> {
        if !request.uri().path().ends_with(self.endpoint.path()) {
            return route::Outcome::forward(data, Status::NotFound);
        }
        let authority = request.host().map(ToString::to_string);
        let mut call = Call::over_http(&self.endpoint, authority.as_deref())
            .query(request.uri().query().map(|query| query.as_str()))
            .peer(request.remote().map(|remote| remote.ip()))
            .visitor_data(request.local_cache(|| None::<VisitorData>).clone());
        for header in request.headers().iter() {
            call = call.header(header.name().as_str(), header.value().as_bytes());
        }
        let (limit, deadline) = (self.endpoint.body_limit(), self.endpoint.body_deadline());
        let body = read(request, data, limit, deadline).await;
        route::Outcome::from(
            request,
            CheckoutResponse(self.checkout.handle(call.body(body)).await),
        )
    }
}

/// A genuine event, as a data guard for a webhook route that you write yourself.
///
/// Rocket must manage a [`Checkout`], and does not launch without it. If it manages another type,
/// or you have several checkouts, use [`verify`].
///
/// Use `Result<VerifiedEvent, CheckoutResponse>` to respond to anything else as the ready-made
/// route does: with 400, with 413 for a body above the checkout's limit, or with 408 for a body
/// that is too slow. With a bare `VerifiedEvent`, the status is the same, and your error catcher
/// provides the body.
#[derive(Debug, Clone)]
pub struct VerifiedEvent(pub Event);

#[rocket::async_trait]
impl<'r> FromData<'r> for VerifiedEvent {
    type Error = CheckoutResponse;

    async fn from_data(
        request: &'r Request<'_>,
        data: Data<'r>,
    ) -> rocket::data::Outcome<'r, Self> {
        let Some(checkout) = request.rocket().state::<Checkout>() else {
            return Outcome::Forward((data, Status::InternalServerError));
        };
        match verify(checkout, request, data).await {
            Ok(event) => Outcome::Success(Self(event)),
            Err(answer) => Outcome::Error((Status::new(answer.0.status()), answer)),
        }
    }
}

impl Sentinel for VerifiedEvent {
    fn abort(rocket: &Rocket<Ignite>) -> bool {
        rocket.state::<Checkout>().is_none()
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
    request: &Request<'_>,
    data: Data<'_>,
) -> Result<Event, CheckoutResponse> {
    let (limit, deadline) = (checkout.body_limit(), checkout.body_deadline());
    let body = read(request, data, limit, deadline).await;
    let signatures = request.headers().get(Checkout::SIGNATURE_HEADER);
    checkout
        .verify(body, signatures.map(str::as_bytes))
        .map_err(|error| CheckoutResponse(error.into()))
}

/// The core's reply as Rocket's response.
#[derive(Debug, Clone)]
pub struct CheckoutResponse(pub Reply);

impl<'r> Responder<'r, 'static> for CheckoutResponse {
    fn respond_to(self, _: &'r Request<'_>) -> rocket::response::Result<'static> {
        let (status, headers, body) = self.0.into_parts();
        let mut response = Response::build();
        response
            .status(Status::new(status))
            .sized_body(body.len(), Cursor::new(body));
        for (name, value) in headers {
            response.raw_header(name, value);
        }
        response.ok()
    }
}

/// The bytes of a body that Rocket reads before it calls a route: the length of `_method=delete`.
const PEEKED: usize = 14;

/// Reads the whole body up to the limit and the deadline, also above Rocket's own limits.
async fn read(request: &Request<'_>, data: Data<'_>, limit: usize, deadline: Duration) -> Body {
    // Rocket peeks before it calls a route. If a shorter piece is not the end, an error cut it off,
    // and Rocket forgets that error.
    let ended = data.peek_complete();
    // One byte more than allowed: a body that is too large shows by its size, and a body that was
    // cut off at the limit cannot look complete.
    let mut incoming = data.open(ByteUnit::from(limit.saturating_add(1)));
    let is_cut_off = !ended && incoming.hint() < PEEKED.min(limit);
    let mut room = [0; 4096];
    let mut arrived = 0;
    let mut body = Body::read(limit, deadline, |context| {
        let mut piece = ReadBuf::new(&mut room);
        let read = ready!(Pin::new(&mut incoming).poll_read(context, &mut piece));
        arrived += piece.filled().len();
        Poll::Ready(match read {
            Ok(()) if piece.filled().is_empty() => None,
            read => Some(read.map(|()| piece.filled().to_vec())),
        })
    })
    .await;
    // A fairing may have peeked further.
    let length = request.headers().get_one("Content-Length");
    let announced = length.and_then(|length| length.parse().ok());
    if is_cut_off || announced.is_some_and(|announced: usize| announced != arrived) {
        body.set_incomplete();
    }
    body
}
