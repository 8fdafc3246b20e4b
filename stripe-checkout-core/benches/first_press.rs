//! The time that a buyer waits after the first press on *Pay*, with 20 ms to Stripe.
//!
//! The sandbox is behind a TLS proxy. The proxy holds each answer back until 20 ms after its
//! request, and the connection is warm. The bench prints the calls to Stripe of a press on a new
//! order. It also prints the medians of five runs, in round trips of 20 ms. A bare call shows how
//! much time the machine adds.
//!
//! `cargo bench -p stripe-checkout-core --features sqlite --bench first_press`

use std::env;
use std::fs;
use std::process::id;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Deserialize;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use stripe_checkout_core::fulfillment::{Due, FulfillmentHandler, Inbox, MemoryInbox, SqliteInbox};
use stripe_checkout_core::requests::{CustomerRequest, PaymentRequest};
use stripe_checkout_core::stripe::{Gateway, PooledTransport};
use stripe_checkout_core::webhook::Payment;
use stripe_checkout_core::{
    Amount, Body, BoxError, Call, Checkout, Config, Currency, CustomerResolver, Pricing,
    PricingError, Visitor,
};
use stripe_checkout_sandbox::Sandbox;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, rustls};

/// The time from the request to the first byte of the answer.
const ROUND_TRIP: Duration = Duration::from_millis(20);
const RUNS: u32 = 5;
const PRESSES: u32 = 40;

const PRICE: Amount = Amount::new(1999, Currency::EUR);

#[derive(Deserialize)]
struct OrderId {
    order: String,
}

struct Shop;

impl Pricing for Shop {
    type Order = OrderId;

    async fn price(&self, id: OrderId, _: &Visitor) -> Result<PaymentRequest, PricingError> {
        Ok(PaymentRequest::new(id.order, PRICE))
    }
}

impl CustomerResolver for Shop {
    async fn customer(&self, visitor: &Visitor) -> Result<Option<CustomerRequest>, PricingError> {
        let known = visitor.header_str("x-member").map(CustomerRequest::new);
        Ok(known.map(|known| known.email("ada@example.com")))
    }
}

impl<C: Send> FulfillmentHandler<C> for Shop {
    async fn payment_succeeded(&self, _: &Payment, _: &mut C) -> Result<(), BoxError> {
        Ok(())
    }

    async fn amount_due(&self, _: &Payment, _: &mut C) -> Result<Due, BoxError> {
        Ok(Due::Exactly(PRICE))
    }
}

/// Waits until this moment. Tokio's timer is late by up to a millisecond.
async fn hold_until(due: Instant) {
    let early = due - Duration::from_millis(2);
    tokio::time::sleep_until(early.into()).await;
    while Instant::now() < due {
        tokio::task::yield_now().await;
    }
}

/// Starts the proxy: it decrypts, and passes everything on. The first bytes of an answer wait for a
/// round trip.
async fn front(stripe: &Sandbox) -> (String, Vec<u8>) {
    let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let root = own.cert.der().clone();
    let key = own.signing_key.serialize_der().try_into().unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![root.clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(tls));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!(
        "https://localhost:{}",
        listener.local_addr().unwrap().port()
    );
    let behind = stripe.url().trim_start_matches("http://").to_owned();
    tokio::spawn(async move {
        while let Ok((visitor, _)) = listener.accept().await {
            visitor.set_nodelay(true).unwrap();
            let (acceptor, behind) = (acceptor.clone(), behind.clone());
            tokio::spawn(async move {
                let mut visitor = acceptor.accept(visitor).await.unwrap();
                let mut stripe = TcpStream::connect(behind).await.unwrap();
                stripe.set_nodelay(true).unwrap();
                let mut asked = None;
                let (mut request, mut answer) = (vec![0; 65_536], vec![0; 65_536]);
                loop {
                    tokio::select! {
                        read = visitor.read(&mut request) => match read {
                            Ok(1..) => {
                                let length = read.unwrap();
                                stripe.write_all(&request[..length]).await.unwrap();
                                asked = Some(Instant::now() + ROUND_TRIP);
                            }
                            _ => return,
                        },
                        read = stripe.read(&mut answer) => match read {
                            Ok(1..) => {
                                if let Some(due) = asked.take() {
                                    hold_until(due).await;
                                }
                                let length = read.unwrap();
                                visitor.write_all(&answer[..length]).await.unwrap();
                                visitor.flush().await.unwrap();
                            }
                            _ => return,
                        },
                    }
                }
            });
        }
    });
    (url, root.to_vec())
}

async fn transport(stripe: &Sandbox) -> (Config, PooledTransport) {
    let (url, root) = front(stripe).await;
    (
        stripe.config().with_api_base(&url).unwrap(),
        PooledTransport::with_root_certificates([root]).unwrap(),
    )
}

async fn checkout<I>(stripe: &Sandbox, inbox: I) -> Checkout
where
    I: Inbox,
    Shop: FulfillmentHandler<I::Connection>,
{
    let (config, transport) = transport(stripe).await;
    Checkout::builder(config)
        .application("tea-shop")
        .transport(transport)
        .max_visitor_calls_per_second(100)
        .pricing(Shop)
        .customers(Shop)
        .fulfillment(inbox, Shop)
        .build()
        .unwrap()
}

async fn press(checkout: &Checkout, order: &str, member: Option<&str>) -> Duration {
    let endpoints = checkout.endpoints();
    let endpoint = endpoints
        .iter()
        .find(|endpoint| endpoint.path() == "/create-payment-intent")
        .unwrap();
    let body = format!(r#"{{"order":"{order}"}}"#);
    let mut call = Call::new(endpoint)
        .header("content-type", b"application/json")
        .header("sec-fetch-site", b"same-origin")
        .body(Body::whole(body.as_bytes(), endpoint.body_limit()));
    if let Some(member) = member {
        call = call.header("x-member", member.as_bytes());
    }
    let began = Instant::now();
    let reply = checkout.handle(call).await;
    let took = began.elapsed();
    assert_eq!(
        reply.status(),
        200,
        "{}",
        String::from_utf8_lossy(reply.body())
    );
    took
}

/// Prints the medians of the runs of a function that returns its duration.
async fn measure<F>(name: &str, stripe: &Sandbox, once: impl Fn(String) -> F)
where
    F: Future<Output = Duration>,
{
    // This call connects, and makes the customer.
    once(format!("{name} first")).await;
    let (mut runs, before) = (Vec::new(), stripe.requests().len());
    for run in 0..RUNS {
        let mut times = Vec::new();
        for press in 0..PRESSES {
            times.push(once(format!("{name} {run} {press}")).await);
        }
        times.sort_unstable();
        runs.push(times[times.len() / 2].as_secs_f64() / ROUND_TRIP.as_secs_f64());
    }
    let calls = (stripe.requests().len() - before) as f64 / f64::from(RUNS * PRESSES);
    let all: Vec<_> = runs.iter().map(|trips| format!("{trips:.2}")).collect();
    runs.sort_unstable_by(f64::total_cmp);
    let median = runs[runs.len() / 2];
    println!(
        "{name:<24} {calls:.2} calls, {median:.2} round trips ({})",
        all.join(", ")
    );
}

async fn presses(inbox: &str, stripe: &Sandbox, checkout: &Checkout) {
    let guest = |order: String| async move { press(checkout, &order, None).await };
    measure(&format!("guest, {inbox}"), stripe, guest).await;
    let known = |order: String| async move { press(checkout, &order, Some("user-7")).await };
    measure(&format!("known customer, {inbox}"), stripe, known).await;
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let stripe = Sandbox::start().await.unwrap();
    let (config, transport) = transport(&stripe).await;
    let gateway = &Gateway::with_transport(&config, transport).unwrap();
    let bare = |_| async move {
        let began = Instant::now();
        gateway.get("/events?limit=1", None).await.unwrap();
        began.elapsed()
    };
    measure("bare call", &stripe, bare).await;
    let memory = checkout(&stripe, MemoryInbox::new()).await;
    presses("memory", &stripe, &memory).await;

    let folder = env::temp_dir().join(format!("stripe-checkout-first-press-{}", id()));
    fs::create_dir_all(&folder).unwrap();
    let options = SqliteConnectOptions::new()
        .filename(folder.join("shop.db"))
        .create_if_missing(true);
    let pool = SqlitePoolOptions::new()
        .max_connections(4)
        .connect_with(options)
        .await
        .unwrap();
    let inbox = SqliteInbox::new(pool);
    inbox.migrate().await.unwrap();
    let stripe = Sandbox::start().await.unwrap();
    presses("SQLite", &stripe, &checkout(&stripe, inbox).await).await;
    fs::remove_dir_all(&folder).unwrap();
}
