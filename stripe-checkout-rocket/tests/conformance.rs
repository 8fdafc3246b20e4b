//! Rocket answers as the core does.

use std::net::SocketAddr;

use rocket::data::Limits;
use rocket::fairing::AdHoc;
use rocket::{Config, State, post, routes};
use stripe_checkout_core::testing::conformance::{
    self, Application, Difference, Driver, MEMBER_HEADER,
};
use stripe_checkout_core::{Checkout, Reply, VisitorData};
use stripe_checkout_rocket::{CheckoutResponse, VerifiedEvent};
use tokio::sync::oneshot;

struct Rocket;

impl Driver for Rocket {
    async fn start(&self, application: Application) -> SocketAddr {
        let config = Config {
            port: 0,
            log_level: rocket::config::LogLevel::Off,
            // The core's limit counts, whatever the application says.
            limits: Limits::new(),
            ..Config::release_default()
        };
        let member = AdHoc::on_request("member", |request, _| {
            Box::pin(async move {
                let name = request.headers().get_one(MEMBER_HEADER);
                let data: Option<VisitorData> = name.map(Application::visitor_data);
                request.local_cache(|| data);
            })
        });
        let (started, address) = oneshot::channel();
        let liftoff = AdHoc::on_liftoff("address", |rocket| {
            let address = SocketAddr::new(rocket.config().address, rocket.config().port);
            Box::pin(async move { started.send(address).unwrap() })
        });
        let mut rocket = rocket::custom(config)
            .attach(member)
            .attach(liftoff)
            .manage(application.by_hand)
            .mount("/", routes![by_hand]);
        for mount in application.mounts {
            let base = if mount.prefix.is_empty() {
                "/"
            } else {
                mount.prefix
            };
            rocket = rocket.mount(base, stripe_checkout_rocket::routes(mount.checkout));
        }
        tokio::spawn(rocket.launch());
        address.await.unwrap()
    }

    fn own_headers(&self) -> &'static [&'static str] {
        &["permissions-policy", "server"]
    }

    fn differences(&self) -> &'static [Difference] {
        &[
            Difference::DropsNonUtf8Headers,
            Difference::ForgetsAuthority,
            Difference::AwaitsFirstBytes,
        ]
    }
}

#[post("/by-hand", data = "<event>")]
async fn by_hand(
    checkout: &State<Checkout>,
    event: Result<VerifiedEvent, CheckoutResponse>,
) -> Result<CheckoutResponse, CheckoutResponse> {
    let VerifiedEvent(event) = event?;
    Ok(CheckoutResponse(Reply::from(checkout.receive(event).await)))
}

#[tokio::test(flavor = "multi_thread")]
async fn rocket_answers_as_the_core() {
    conformance::run("stripe-checkout-rocket", Rocket).await;
}

#[tokio::test]
async fn rocket_answers_itself_as_the_readme_says() {
    let rows = conformance::answers_as_written(include_str!("../README.md"), &Rocket).await;
    assert!(rows >= 8, "{rows}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rocket_withstands_every_attack() {
    conformance::withstand("stripe-checkout-rocket", Rocket).await;
}
