//! A Stripe sandbox for several shops at once.
//!
//! `cargo run -p shop --example sandbox -- 3000 3001` prints the variables for the environment of
//! the shops. It delivers its webhooks to the shops on these ports in turns, as a load balancer
//! would.
//!
//! A single shop needs none of this: without keys it starts a sandbox by itself.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::atomic::{AtomicUsize, Ordering},
};

use shop::BoxError;
use stripe_checkout_sandbox::Sandbox;
use tokio::net::{TcpListener, TcpStream};

const USAGE: &str = "name the ports of the shops, like 3000 3001";

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let ports = std::env::args().skip(1).map(|port| port.parse());
    let shops: Vec<u16> = ports.collect::<Result<_, _>>().map_err(|_| USAGE)?;
    if shops.is_empty() {
        return Err(USAGE.into());
    }
    let sandbox = Sandbox::builder()
        .address(SocketAddr::from((Ipv4Addr::LOCALHOST, 12111)))
        .start()
        .await?;
    // One endpoint, as at Stripe. A second one would double every event.
    let balancer = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    sandbox.webhook_endpoint(&format!("http://{}/webhook", balancer.local_addr()?))?;
    let config = sandbox.config();
    let (secret_key, publishable_key) = (config.secret_key(), config.publishable_key());
    for (name, value) in [
        ("STRIPE_SECRET_KEY", secret_key.map(|key| key.expose())),
        (
            "STRIPE_PUBLISHABLE_KEY",
            publishable_key.map(|key| key.expose()),
        ),
        (
            "STRIPE_WEBHOOK_SECRET",
            config.webhook_secrets().first().map(|key| key.expose()),
        ),
        ("STRIPE_API_BASE", Some(config.api_base())),
        ("STRIPE_JS_URL", Some(config.stripe_js_url())),
    ] {
        println!("export {name}={}", value.unwrap_or_default());
    }
    let next = AtomicUsize::new(0);
    loop {
        let (mut from, _) = balancer.accept().await?;
        let first = next.fetch_add(1, Ordering::Relaxed);
        let shops = shops.clone();
        tokio::spawn(async move {
            // Skips a shop that is closed.
            for turn in 0..shops.len() {
                let port = shops[(first + turn) % shops.len()];
                if let Ok(mut to) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await {
                    let _ = tokio::io::copy_bidirectional(&mut from, &mut to).await;
                    break;
                }
            }
        });
    }
}
