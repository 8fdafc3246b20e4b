//! The rate of the webhook route with a `MemoryInbox`, beside a bare axum handler that reads the
//! same body and answers "ok": new events, and duplicates of finished ones.
//!
//! `cargo bench -p stripe-checkout-axum --bench webhook_route` prints the ratio of each run and
//! their median. One client with 16 connections sends requests that were signed before the clock
//! starts. Both sides share the machine with the client, and take turns.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::Bytes;
use axum::routing::post;
use serde_json::{Value, json};
use stripe_checkout_core::fulfillment::{MemoryInbox, on_paid};
use stripe_checkout_core::testing::{EventBody, PaymentIntent, sign};
use stripe_checkout_core::{Amount, Checkout, Config, Currency, WebhookSecret};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};

const RUNS: usize = 5;
const CONNECTIONS: usize = 16;
/// The number of requests that a run sends to each side.
const REQUESTS: usize = 16_000;

fn main() {
    // `cargo test` runs benches once, to check that they work.
    let is_bench = std::env::args().any(|argument| argument == "--bench");
    let requests = if is_bench { REQUESTS } else { CONNECTIONS };
    let secret = WebhookSecret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
    let server = Builder::new_multi_thread().enable_all().build().unwrap();
    let bare = serve(&server, bare());
    let news: Vec<_> = (0..requests).map(|n| request(n, &secret)).collect();
    let (mut of_new, mut of_duplicates) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        // Each turn has a new inbox: an inbox has a limit, and all events are new to it.
        let route = serve(&server, route(&secret));
        let (new, hand) = (rate(route, &news), rate(bare, &news));
        of_new.push((new, hand));
        let (again, hand) = (rate(route, &news), rate(bare, &news));
        of_duplicates.push((again, hand));
    }
    for (name, runs) in [("new events", of_new), ("duplicates", of_duplicates)] {
        let mut ratios: Vec<_> = runs.iter().map(|(route, bare)| route / bare).collect();
        println!("{name}:");
        for ((route, bare), ratio) in runs.iter().zip(&ratios) {
            println!("  route {route:.0}/s, bare handler {bare:.0}/s: {ratio:.2}");
        }
        ratios.sort_by(f64::total_cmp);
        println!("  median {:.2}", ratios[RUNS / 2]);
    }
}

fn bare() -> Router {
    Router::new().route("/webhook", post(async |_: Bytes| "ok"))
}

fn route(secret: &WebhookSecret) -> Router {
    let checkout = Checkout::builder(Config::new([secret.clone()]).unwrap())
        .fulfillment(MemoryInbox::new(), on_paid(async |_| Ok(())))
        .build()
        .unwrap();
    stripe_checkout_axum::router(checkout)
}

/// Serves the router for the rest of the process.
fn serve(runtime: &Runtime, router: Router) -> SocketAddr {
    let _inside = runtime.enter();
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    runtime.spawn(async move { axum::serve(listener, router).await });
    address
}

/// A signed delivery of a success of 2.5 KB, as it goes over the wire.
fn request(number: usize, secret: &WebhookSecret) -> Vec<u8> {
    let amount = Amount::new(1999, Currency::EUR);
    let mut intent = PaymentIntent::new(&format!("pi_{number}"), amount)
        .status("succeeded")
        .object();
    intent["metadata"] = (1..=4)
        .map(|line| {
            let text = Value::from("2 x Darjeeling First Flush, 250 g, 19.99 EUR");
            (format!("line_{line}"), text)
        })
        .collect();
    intent["metadata"]["order_id"] = json!(number.to_string());
    let event: Value =
        serde_json::from_slice(&EventBody::new("payment_intent.succeeded", intent).body()).unwrap();
    let body = serde_json::to_vec_pretty(&event).unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let signature = sign(&body, secret, now.as_secs().try_into().unwrap());
    let head = format!(
        "POST /webhook HTTP/1.1\r\nhost: shop.example\r\nuser-agent: Stripe/1.0 (+https://stripe.com/docs/webhooks)\r\naccept: */*; q=0.5, application/xml\r\ncache-control: no-cache\r\ncontent-type: application/json; charset=utf-8\r\nstripe-signature: {signature}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    [head.into_bytes(), body].concat()
}

/// Sends all requests over some connections, and returns the answers per second.
fn rate(address: SocketAddr, requests: &[Vec<u8>]) -> f64 {
    let took = thread::scope(|scope| {
        let client = scope.spawn(|| {
            let runtime = Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(send(address, requests))
        });
        client.join().unwrap()
    });
    requests.len() as f64 / took.as_secs_f64()
}

async fn send(address: SocketAddr, requests: &[Vec<u8>]) -> Duration {
    let mut connections = Vec::new();
    for _ in 0..CONNECTIONS {
        connections.push(TcpStream::connect(address).await.unwrap());
    }
    let start = Instant::now();
    let share = requests.len().div_ceil(CONNECTIONS);
    let shares = connections.into_iter().zip(requests.chunks(share));
    let mut clients: Vec<_> = shares
        .map(|(stream, requests)| Box::pin(client(stream, requests)))
        .collect();
    std::future::poll_fn(|context| {
        clients.retain_mut(|client| client.as_mut().poll(context).is_pending());
        match clients.is_empty() {
            true => std::task::Poll::Ready(()),
            false => std::task::Poll::Pending,
        }
    })
    .await;
    start.elapsed()
}

/// Sends one request after the other. Each answer of the servers comes in one piece.
async fn client(mut stream: TcpStream, requests: &[Vec<u8>]) {
    let mut answer = [0; 4096];
    for request in requests {
        stream.write_all(request).await.unwrap();
        let length = stream.read(&mut answer).await.unwrap();
        assert!(answer[..length].starts_with(b"HTTP/1.1 200"), "not 200");
    }
}
