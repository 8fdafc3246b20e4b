//! How long a buyer waits after the first press on *Pay*, with 20 ms to Stripe.
//!
//! The sandbox stands behind a front with TLS that holds each answer back for 20 ms, and the
//! connection is warm. Prints the median of many presses on new orders, in round trips to Stripe.
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
use stripe_checkout_core::stripe::PooledTransport;
use stripe_checkout_core::webhook::Payment;
use stripe_checkout_core::{
    Amount, Body, BoxError, Call, Checkout, Currency, Customers, Pricing, PricingError, Visitor,
};
use stripe_checkout_sandbox::Sandbox;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, rustls};

/// From the request to the first byte of the answer.
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

impl Customers for Shop {
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

/// Decrypts, and passes everything on. The first bytes of an answer wait for a round trip.
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
                let mut asked = false;
                let (mut request, mut answer) = (vec![0; 65_536], vec![0; 65_536]);
                loop {
                    tokio::select! {
                        read = visitor.read(&mut request) => match read {
                            Ok(1..) => {
                                let length = read.unwrap();
                                stripe.write_all(&request[..length]).await.unwrap();
                                asked = true;
                            }
                            _ => return,
                        },
                        read = stripe.read(&mut answer) => match read {
                            Ok(1..) => {
                                if std::mem::take(&mut asked) {
                                    tokio::time::sleep(ROUND_TRIP).await;
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

async fn checkout<I>(stripe: &Sandbox, inbox: I) -> Checkout
where
    I: Inbox,
    Shop: FulfillmentHandler<I::Connection>,
{
    let (url, root) = front(stripe).await;
    Checkout::builder(stripe.config().with_api_base(&url).unwrap())
        .application("tea-shop")
        .transport(PooledTransport::with_root_certificates([root]).unwrap())
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

/// The median of some presses, in round trips.
async fn run(checkout: &Checkout, name: &str, member: Option<&str>) -> f64 {
    let mut times = Vec::new();
    for n in 0..PRESSES {
        times.push(press(checkout, &format!("{name}-{n}"), member).await);
    }
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64() / ROUND_TRIP.as_secs_f64()
}

async fn measure(inbox: &str, checkout: &Checkout) {
    for (who, member) in [("guest", None), ("known customer", Some("user-7"))] {
        // Connects, and makes the customer.
        press(checkout, &format!("{who}-first"), member).await;
        let mut runs = Vec::new();
        for number in 0..RUNS {
            runs.push(run(checkout, &format!("{who}-{number}"), member).await);
        }
        let all: Vec<_> = runs.iter().map(|trips| format!("{trips:.2}")).collect();
        runs.sort_unstable_by(f64::total_cmp);
        let median = runs[runs.len() / 2];
        println!(
            "{inbox:>6}, {who:>14}: {median:.2} round trips ({})",
            all.join(", ")
        );
    }
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let stripe = Sandbox::start().await.unwrap();
    measure("memory", &checkout(&stripe, MemoryInbox::new()).await).await;

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
    measure("SQLite", &checkout(&stripe, inbox).await).await;
    fs::remove_dir_all(&folder).unwrap();
}
