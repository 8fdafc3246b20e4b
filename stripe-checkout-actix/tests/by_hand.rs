//! Tests of a webhook route that is written by hand, and of the end of a server.

use std::future::pending;
use std::io::Write;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use actix_web::web::{Data, Payload};
use actix_web::{App, HttpRequest, HttpServer, test, web};
use stripe_checkout_actix::{CheckoutResponse, Refusal, VerifiedEvent, routes, verify};
use stripe_checkout_core::fulfillment::{MemoryInbox, on_paid};
use stripe_checkout_core::testing::{EventBody, PaymentIntent, now, sign};
use stripe_checkout_core::{Amount, Checkout, Config, Currency, Reply, WebhookSecret};
use tokio::sync::{Notify, Semaphore, mpsc};

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

async fn extracted(VerifiedEvent(event): VerifiedEvent) -> String {
    event.event_type().to_owned()
}

/// A checkout that is a part of another type.
struct Mine {
    checkout: Checkout,
}

async fn called(
    mine: Data<Mine>,
    request: HttpRequest,
    payload: Payload,
) -> Result<CheckoutResponse, Refusal> {
    let event = verify(&mine.checkout, &request, payload).await?;
    Ok(CheckoutResponse(Reply::from(
        mine.checkout.receive(event).await,
    )))
}

#[tokio::test]
async fn only_genuine_events_reach_a_route_written_by_hand() {
    let shipped = Arc::default();
    let checkout = checkout(&shipped);
    let app = App::new()
        .app_data(Data::new(checkout.clone()))
        .app_data(Data::new(Mine { checkout }))
        .route("/extracted", web::post().to(extracted))
        .route("/called", web::post().to(called));
    let app = test::init_service(app).await;
    let post = async |path: &str, signature: String, body: Vec<u8>| {
        let request = test::TestRequest::post()
            .uri(path)
            .insert_header(("stripe-signature", signature))
            .set_payload(body);
        let response = test::call_service(&app, request.to_request()).await;
        let status = response.status().as_u16();
        let body = test::read_body(response).await;
        (status, String::from_utf8(body.to_vec()).unwrap())
    };
    let body = event();
    let good = sign(&body, &secret(), now());
    for path in ["/extracted", "/called"] {
        let (status, answer) = post(path, "t=1,v1=00".to_owned(), body.clone()).await;
        assert_eq!(status, 400);
        assert!(answer.contains("invalid_webhook"), "{answer}");
        let (status, _) = post(path, good.clone(), vec![b' '; 1024 * 1024 + 1]).await;
        assert_eq!(status, 413);
    }
    let answer = post("/extracted", good.clone(), body.clone()).await;
    assert_eq!(answer, (200, "payment_intent.succeeded".to_owned()));
    assert_eq!(
        shipped.load(Ordering::SeqCst),
        0,
        "the extractor only verifies"
    );
    let answer = post("/called", good, body).await;
    assert_eq!(answer, (200, r#"{"status":"done"}"#.to_owned()));
    assert_eq!(shipped.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn an_application_without_the_checkout_takes_nothing() {
    let app = App::new().route("/extracted", web::post().to(extracted));
    let app = test::init_service(app).await;
    let request = test::TestRequest::post().uri("/extracted").to_request();
    assert_eq!(test::call_service(&app, request).await.status(), 500);
}

/// The worker that received the call has its own runtime, which ends before the work is done.
#[tokio::test(flavor = "multi_thread")]
async fn what_began_ends_although_its_client_and_the_server_are_gone() {
    let (entered, gate) = (Arc::new(Notify::new()), Arc::new(Semaphore::new(0)));
    let shipped = Arc::new(AtomicUsize::new(0));
    let handler = {
        let (entered, gate, shipped) = (entered.clone(), gate.clone(), shipped.clone());
        on_paid(move |_| {
            let (entered, gate, shipped) = (entered.clone(), gate.clone(), shipped.clone());
            async move {
                entered.notify_one();
                gate.acquire().await?.forget();
                shipped.fetch_add(1, Ordering::SeqCst);
                Ok(())
            }
        })
    };
    let checkout = Checkout::builder(Config::new([secret()]).unwrap())
        .fulfillment(MemoryInbox::new(), handler)
        .build()
        .unwrap();
    let served = checkout.clone();
    let (lives, mut gone) = mpsc::channel::<()>(1);
    let server = HttpServer::new(move || {
        // A task of the worker, which is dropped with its runtime.
        let lives = lives.clone();
        actix_web::rt::spawn(async move {
            let _lives = lives;
            pending::<()>().await
        });
        App::new().service(routes(served.clone()))
    });
    let server = server
        .workers(1)
        .disable_signals()
        .bind(("127.0.0.1", 0))
        .unwrap();
    let address = server.addrs()[0];
    let server = server.run();
    let handle = server.handle();
    let server = tokio::spawn(server);

    let body = event();
    let head = format!(
        "POST /webhook HTTP/1.1\r\nHost: x\r\nStripe-Signature: {}\r\nContent-Length: {}\r\n\r\n",
        sign(&body, &secret(), now()),
        body.len()
    );
    let mut client = TcpStream::connect(address).unwrap();
    client.write_all(head.as_bytes()).unwrap();
    client.write_all(&body).unwrap();
    entered.notified().await;
    drop(client);
    handle.stop(false).await;
    server.await.unwrap().unwrap();
    assert_eq!(gone.recv().await, None);
    gate.add_permits(1);
    checkout.drain().await;
    assert_eq!(shipped.load(Ordering::SeqCst), 1);
}
