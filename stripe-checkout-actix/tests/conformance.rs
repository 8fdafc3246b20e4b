//! actix-web answers as the core does.

use std::net::SocketAddr;

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::middleware::{Next, from_fn};
use actix_web::web::{Data, PayloadConfig};
use actix_web::{App, Error, HttpMessage, HttpServer, web};
use stripe_checkout_actix::{CheckoutResponse, VerifiedEvent, routes};
use stripe_checkout_core::testing::conformance::{self, Application, Driver, MEMBER_HEADER};
use stripe_checkout_core::{Checkout, Reply};

struct Actix;

impl Driver for Actix {
    async fn start(&self, application: Application) -> SocketAddr {
        let server = HttpServer::new(move || {
            // The core's limit counts, whatever the application says.
            let mut app = App::new()
                .wrap(from_fn(member))
                .app_data(PayloadConfig::new(10))
                .app_data(Data::new(application.by_hand.clone()))
                .route(Application::BY_HAND, web::post().to(by_hand));
            for mount in &application.mounts {
                let routes = routes(mount.checkout.clone());
                app = match mount.prefix {
                    "" => app.service(routes),
                    prefix => app.service(web::scope(prefix).service(routes)),
                };
            }
            app
        });
        let server = server.workers(2).bind(("127.0.0.1", 0)).unwrap();
        let address = server.addrs()[0];
        tokio::spawn(server.run());
        address
    }
}

async fn by_hand(
    checkout: Data<Checkout>,
    VerifiedEvent(event): VerifiedEvent,
) -> CheckoutResponse {
    CheckoutResponse(Reply::from(checkout.receive(event).await))
}

async fn member(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let name = request.headers().get(MEMBER_HEADER);
    if let Some(name) = name.and_then(|name| name.to_str().ok()) {
        let data = Application::visitor_data(name);
        request.extensions_mut().insert(data);
    }
    next.call(request).await
}

#[tokio::test(flavor = "multi_thread")]
async fn actix_web_answers_as_the_core() {
    conformance::run("stripe-checkout-actix", Actix).await;
}

#[tokio::test]
async fn actix_web_answers_itself_as_the_readme_says() {
    let rows = conformance::answers_as_written(include_str!("../README.md"), &Actix).await;
    assert!(rows >= 8, "{rows}");
}

#[tokio::test(flavor = "multi_thread")]
async fn actix_web_withstands_every_attack() {
    conformance::withstand("stripe-checkout-actix", Actix).await;
}
