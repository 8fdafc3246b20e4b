#![doc = include_str!("../README.md")]
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::io::Cursor;

use rocket::data::{ByteUnit, Data, FromData};
use rocket::http::{Method as Verb, Status};
use rocket::outcome::Outcome;
use rocket::response::{Responder, Response};
use rocket::route::{self, Handler};
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
        // To Rocket `/checkout/` is `/checkout`, so the one that is rarer is asked first whether it is meant.
        route.rank -= isize::from(path.ends_with('/'));
        route
    };
    checkout.endpoints().iter().map(route).collect()
}

/// One endpoint with its checkout: no managed state that an application could forget, or that two checkouts would fight for.
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
        let mut call = Call::new(&self.endpoint)
            .query(request.uri().query().map(|query| query.as_str()))
            .authority(request.host().map(ToString::to_string).as_deref())
            .peer(request.remote().map(|remote| remote.ip()))
            .visitor_data(request.local_cache(|| None::<VisitorData>).clone());
        for header in request.headers().iter() {
            call = call.header(header.name().as_str(), header.value().as_bytes());
        }
        let body = read(request, data, self.endpoint.body_limit()).await;
        route::Outcome::from(request, Answer(self.checkout.handle(call.body(body)).await))
    }
}

/// A genuine event, for whoever writes the webhook's route by hand: a data guard. Rocket must manage a [`Checkout`], and does not launch without it; where it
/// manages another type, or you have more than one, use [`verify`].
///
/// Take it as `Result<VerifiedEvent, Answer>` to answer what is no genuine event as the ready-made route does: 400, or 413 for a body above the checkout's
/// limit. As a bare `VerifiedEvent` the status is the same, and the body that of your error catcher.
#[derive(Debug, Clone)]
pub struct VerifiedEvent(pub Event);

#[rocket::async_trait]
impl<'r> FromData<'r> for VerifiedEvent {
    type Error = Answer;

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

/// Reads a request's body up to the checkout's limit and verifies it against its `Stripe-Signature` header.
///
/// # Errors
/// The answer to give: 400, or 413.
pub async fn verify(
    checkout: &Checkout,
    request: &Request<'_>,
    data: Data<'_>,
) -> Result<Event, Answer> {
    let body = read(request, data, checkout.body_limit()).await;
    let signatures = request.headers().get(Checkout::SIGNATURE_HEADER);
    checkout
        .verify(body, signatures.map(str::as_bytes))
        .map_err(|error| Answer(error.into()))
}

/// The core's reply as Rocket's response.
#[derive(Debug, Clone)]
pub struct Answer(pub Reply);

impl<'r> Responder<'r, 'static> for Answer {
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

/// The whole body up to the limit, whatever Rocket's own limits say.
async fn read(request: &Request<'_>, data: Data<'_>, limit: usize) -> Body {
    let mut body = Body::new(limit);
    // One byte more than allowed: a body that is too large shows by its size, and one that was cut off at the limit cannot look whole.
    let enough = ByteUnit::from(limit.saturating_add(1));
    match data.open(enough).into_bytes().await {
        Ok(bytes) => {
            body.push(&bytes);
            // Rocket, and any fairing, may have peeked; an error then is forgotten, and what came before it looks whole.
            let length = request.headers().get_one("Content-Length");
            let announced = length.and_then(|length| length.parse().ok());
            if !bytes.is_complete() || announced.is_some_and(|length: usize| length != bytes.len())
            {
                body.set_incomplete();
            }
        }
        Err(_) => body.set_incomplete(),
    }
    body
}
