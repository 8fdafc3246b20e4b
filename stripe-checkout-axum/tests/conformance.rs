//! axum answers as the core does.

use std::net::SocketAddr;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use axum::routing::post;
use stripe_checkout_axum::{CheckoutResponse, VerifiedEvent, router};
use stripe_checkout_core::testing::conformance::{self, Application, Driver, MEMBER_HEADER};
use stripe_checkout_core::{Checkout, Reply};
use tokio::net::TcpListener;

struct Axum;

impl Driver for Axum {
    async fn start(&self, application: Application) -> SocketAddr {
        let mut app = Router::new()
            .route(Application::BY_HAND, post(by_hand))
            .with_state(application.by_hand);
        for mount in application.mounts {
            app = match mount.prefix {
                "" => app.merge(router(mount.checkout)),
                prefix => app.nest(prefix, router(mount.checkout)),
            };
        }
        // The core's limit counts, whatever an outer layer says.
        let app = app.layer(from_fn(member)).layer(DefaultBodyLimit::max(10));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = app.into_make_service_with_connect_info::<SocketAddr>();
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        address
    }
}

async fn by_hand(
    State(checkout): State<Checkout>,
    VerifiedEvent(event): VerifiedEvent,
) -> CheckoutResponse {
    CheckoutResponse(Reply::from(checkout.receive(event).await))
}

async fn member(mut request: Request, next: Next) -> Response {
    let name = request.headers().get(MEMBER_HEADER);
    if let Some(name) = name.and_then(|name| name.to_str().ok()) {
        let data = Application::visitor_data(name);
        request.extensions_mut().insert(data);
    }
    next.run(request).await
}

#[tokio::test(flavor = "multi_thread")]
async fn axum_answers_as_the_core() {
    conformance::run("stripe-checkout-axum", Axum).await;
}

#[tokio::test]
async fn axum_answers_itself_as_the_readme_says() {
    let rows = conformance::answers_as_written(include_str!("../README.md"), &Axum).await;
    assert!(rows >= 8, "{rows}");
}

#[tokio::test(flavor = "multi_thread")]
async fn axum_withstands_every_attack() {
    conformance::withstand("stripe-checkout-axum", Axum).await;
}
