//! Tests of a webhook route that is written by hand, and of types that an application defines.

mod support;

use axum::extract::{FromRef, Request};
use axum::routing::post;
use axum::{Extension, Router};
use stripe_checkout_axum::{CheckoutResponse, VerifiedEvent, router, verify};
use stripe_checkout_core::fulfillment::MemoryInbox;
use stripe_checkout_core::testing::{EventBody, PaymentIntent, now, sign};
use stripe_checkout_core::{Checkout, Config, Reply, WebhookSecret};
use support::{PRICE, Ship, send, serve};

fn secret() -> WebhookSecret {
    WebhookSecret::new("whsec_of_this_test").unwrap()
}

fn checkout(ship: &Ship) -> Checkout {
    Checkout::builder(Config::new([secret()]).unwrap())
        .fulfillment(MemoryInbox::new(), ship.clone())
        .build()
        .unwrap()
}

fn event() -> Vec<u8> {
    let intent = PaymentIntent::new("pi_1", PRICE).metadata("order_id", "order-1");
    let object = intent.status("succeeded").object();
    EventBody::new("payment_intent.succeeded", object).body()
}

#[derive(Clone)]
struct Own {
    checkout: Checkout,
}

impl FromRef<Own> for Checkout {
    fn from_ref(state: &Own) -> Self {
        state.checkout.clone()
    }
}

#[tokio::test]
async fn only_genuine_events_reach_a_route_written_by_hand() {
    let ship = Ship::default();
    let state = Own {
        checkout: checkout(&ship),
    };
    let extracted = async |VerifiedEvent(event): VerifiedEvent| event.event_type().to_owned();
    let by_call = async |Extension(checkout): Extension<Checkout>, request: Request| {
        let event = verify(&checkout, request).await?;
        Ok::<_, CheckoutResponse>(CheckoutResponse(Reply::from(checkout.receive(event).await)))
    };
    let app = Router::new()
        .route("/extracted", post(extracted))
        .route("/called", post(by_call))
        .layer(Extension(state.checkout.clone()))
        .with_state(state);
    let address = serve(app).await;
    let body = event();
    let good = sign(&body, &secret(), now());
    let headers = [("stripe-signature", good.as_bytes())];
    for path in ["/extracted", "/called"] {
        let forged = [("stripe-signature", &b"t=1,v1=00"[..])];
        let forged = send(address, "POST", path, &forged, &body).await;
        assert_eq!(
            (forged.status, forged.json()["code"].as_str()),
            (400, Some("invalid_webhook"))
        );
        let huge = vec![b' '; 1024 * 1024 + 1];
        let huge = send(address, "POST", path, &headers, &huge).await;
        assert_eq!(huge.status, 413);
    }
    let answer = send(address, "POST", "/extracted", &headers, &body).await;
    assert_eq!(
        (answer.status, answer.body.as_str()),
        (200, "payment_intent.succeeded")
    );
    assert!(ship.shipped().is_empty(), "the extractor only verifies");
    let answer = send(address, "POST", "/called", &headers, &body).await;
    assert_eq!(
        (answer.status, answer.body.as_str()),
        (200, r#"{"status":"done"}"#)
    );
    assert_eq!(ship.shipped(), ["order-1"]);
}

#[tokio::test]
async fn the_routes_go_into_a_router_of_any_state() {
    #[derive(Clone)]
    struct Mine;
    let app: Router = Router::new()
        .nest("/shop", router(checkout(&Ship::default())))
        .merge(router(checkout(&Ship::default())))
        .with_state(Mine);
    let address = serve(app).await;
    for path in ["/webhook", "/shop/webhook"] {
        let answer = send(address, "POST", path, &[], b"").await;
        assert_eq!(answer.status, 400, "{path}");
    }
}
