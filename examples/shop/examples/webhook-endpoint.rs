//! Subscribes a shop to the events that it needs.
//!
//! `cargo run -p shop --example webhook-endpoint -- https://shop.example/webhook` creates the
//! webhook endpoint at Stripe, or updates the one with this address. It prints the signing secret,
//! which Stripe returns only once.
//!
//! It reads the shop's `STRIPE_SECRET_KEY` and `STRIPE_PUBLISHABLE_KEY` from the environment, or
//! from a `.env` file in the working folder. The signing secret may be missing.

use shop::BoxError;
use stripe_checkout_core::{Config, DotEnv, stripe::Gateway};

const USAGE: &str = "name the address of the shop's webhook, like https://shop.example/webhook";

fn main() -> Result<(), BoxError> {
    shop::log();
    let variables = DotEnv::read()?;
    let url = std::env::args().nth(1).ok_or(USAGE)?;
    let config = Config::from_vars(|name| match name {
        "STRIPE_WEBHOOK_SECRET" => Some("whsec_to_come".into()),
        _ => variables.get(name),
    })?;
    let gateway = Gateway::new(&config)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    println!("{}", runtime.block_on(shop::subscribe(&gateway, &url))?);
    Ok(())
}
