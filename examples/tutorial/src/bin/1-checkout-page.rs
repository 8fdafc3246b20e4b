//! Step 1: a page that takes a card. `cargo run -p tutorial --bin 1-checkout-page`

use axum::{Router, response::Redirect, routing::get};
use serde::Deserialize;
use stripe_checkout_core::{
    Amount, Checkout, Currency, Pricing, PricingError, Visitor,
    fulfillment::{MemoryInbox, on_paid},
    intent::PaymentRequest,
};
use tutorial::Stripe;
use uuid::Uuid;

/// All that the browser may say: which order.
#[derive(Deserialize)]
struct OrderId {
    order: Uuid,
}

/// Every order is one teapot. Step 2 has orders of its own.
struct Teapots;

impl Pricing for Teapots {
    type Order = OrderId;

    async fn price(&self, asked: OrderId, _: &Visitor) -> Result<PaymentRequest, PricingError> {
        let price = Amount::new(19_99, Currency::EUR);
        Ok(PaymentRequest::new(asked.order, price).line("Teapot", 1, price))
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let stripe = Stripe::from_env().await?; // keys from .env, or else a sandbox
    let checkout = Checkout::builder(stripe.config())
        .application("tutorial")
        .shop_name("Teapots")
        .pricing(Teapots)
        .fulfillment(
            MemoryInbox::new(),
            on_paid(async |payment| {
                println!("{} was paid", payment.amount_received());
                Ok(())
            }),
        )
        .build()?;
    let app = Router::new()
        .route("/", get(new_order))
        .merge(stripe_checkout_axum::router(checkout.clone()));
    stripe.serve(app, checkout).await
}

async fn new_order() -> Redirect {
    Redirect::to(&format!("/checkout?order={}", Uuid::new_v4()))
}
