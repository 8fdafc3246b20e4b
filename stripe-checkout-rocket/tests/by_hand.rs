//! Tests of a webhook route that is written by hand.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rocket::data::{Data, FromData, Outcome};
use rocket::error::ErrorKind;
use rocket::http::{Header, Status};
use rocket::local::asynchronous::Client;
use rocket::{Request, State, catch, catchers, post, routes};
use stripe_checkout_core::fulfillment::{MemoryInbox, on_paid};
use stripe_checkout_core::testing::{EventBody, PaymentIntent, now, sign};
use stripe_checkout_core::webhook::Event;
use stripe_checkout_core::{Amount, Checkout, Config, Currency, Reply, WebhookSecret};
use stripe_checkout_rocket::{CheckoutResponse, VerifiedEvent, verify};

fn secret() -> WebhookSecret {
    WebhookSecret::new("whsec_of_this_test").unwrap()
}

/// Makes a checkout that counts its shipments.
fn checkout(shipped: &Arc<AtomicUsize>) -> Checkout {
    let shipped = Arc::clone(shipped);
    let handler = on_paid(move |_| {
        let shipped = Arc::clone(&shipped);
        async move {
            shipped.fetch_add(1, Ordering::SeqCst);
            Ok(())
        }
    });
    Checkout::builder(Config::new([secret()]).unwrap())
        .fulfillment(MemoryInbox::new(), handler)
        .build()
        .unwrap()
}

fn event() -> Vec<u8> {
    let intent = PaymentIntent::new("pi_1", Amount::new(1999, Currency::EUR));
    let object = intent
        .metadata("order_id", "1")
        .status("succeeded")
        .object();
    EventBody::new("payment_intent.succeeded", object).body()
}

#[post("/extracted", data = "<event>")]
fn extracted(event: VerifiedEvent) -> String {
    event.0.event_type().to_owned()
}

#[catch(default)]
fn own(status: Status, _: &Request<'_>) -> String {
    format!("the shop says {status}")
}

/// A checkout that is a part of another type. A custom guard verifies the event.
struct Mine {
    checkout: Checkout,
}

struct Mined(Event);

#[rocket::async_trait]
impl<'r> FromData<'r> for Mined {
    type Error = CheckoutResponse;

    async fn from_data(request: &'r Request<'_>, data: Data<'r>) -> Outcome<'r, Self> {
        let mine = request.rocket().state::<Mine>().unwrap();
        match verify(&mine.checkout, request, data).await {
            Ok(event) => Outcome::Success(Self(event)),
            Err(answer) => Outcome::Error((Status::new(answer.0.status()), answer)),
        }
    }
}

#[post("/called", data = "<event>")]
async fn called(
    mine: &State<Mine>,
    event: Result<Mined, CheckoutResponse>,
) -> Result<CheckoutResponse, CheckoutResponse> {
    Ok(CheckoutResponse(Reply::from(
        mine.checkout.receive(event?.0).await,
    )))
}

#[tokio::test]
async fn only_genuine_events_reach_a_route_written_by_hand() {
    let shipped = Arc::default();
    let checkout = checkout(&shipped);
    let rocket = rocket::build()
        .manage(checkout.clone())
        .manage(Mine { checkout })
        .register("/", catchers![own])
        .mount("/", routes![extracted, called]);
    let client = Client::untracked(rocket).await.unwrap();
    let post = async |path: &'static str, signature: String, body: Vec<u8>| {
        let header = Header::new("Stripe-Signature", signature);
        let response = client.post(path).header(header).body(body).dispatch().await;
        (
            response.status().code,
            response.into_string().await.unwrap_or_default(),
        )
    };
    let body = event();
    let good = sign(&body, &secret(), now());
    let forged = "t=1,v1=00".to_owned();
    let huge = vec![b' '; 1024 * 1024 + 1];
    let (status, answer) = post("/called", forged.clone(), body.clone()).await;
    assert_eq!(status, 400);
    assert!(answer.contains("invalid_webhook"), "{answer}");
    assert_eq!(post("/called", good.clone(), huge.clone()).await.0, 413);
    // A bare guard returns the same status, and the catcher makes the body.
    let answer = post("/extracted", forged, body.clone()).await;
    assert_eq!(answer, (400, "the shop says 400 Bad Request".to_owned()));
    assert_eq!(post("/extracted", good.clone(), huge).await.0, 413);

    let answer = post("/extracted", good.clone(), body.clone()).await;
    assert_eq!(answer, (200, "payment_intent.succeeded".to_owned()));
    assert_eq!(shipped.load(Ordering::SeqCst), 0, "the guard only verifies");
    let answer = post("/called", good, body).await;
    assert_eq!(answer, (200, r#"{"status":"done"}"#.to_owned()));
    assert_eq!(shipped.load(Ordering::SeqCst), 1);
}

/// As in the README.
#[post("/fallible", data = "<event>")]
fn fallible(event: Result<VerifiedEvent, CheckoutResponse>) -> Result<String, CheckoutResponse> {
    Ok(event?.0.event_type().to_owned())
}

#[tokio::test]
async fn rocket_does_not_launch_without_the_checkout() {
    for routes in [routes![extracted], routes![fallible]] {
        let launch = rocket::build().mount("/", routes).ignite().await;
        let error = launch.map(drop).unwrap_err();
        assert!(
            matches!(error.kind(), ErrorKind::SentinelAborts(_)),
            "{error}"
        );
    }
}
