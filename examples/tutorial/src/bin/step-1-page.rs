//! Step 1: a page that takes a card. `cargo run -p tutorial --bin step-1-page`

use axum::{Router, response::Redirect, routing::get};
use stripe_checkout_core::fulfillment::{MemoryInbox, on_paid};
use stripe_checkout_core::requests::PaymentRequest;
use stripe_checkout_core::{Amount, Checkout, Currency, Pricing, PricingError, Visitor};
use tutorial::{OrderId, Stripe};
use uuid::Uuid;

/// Every order is one teapot.
struct Teapot;

impl Pricing for Teapot {
    type Order = OrderId;

    async fn price(&self, asked: OrderId, _: &Visitor) -> Result<PaymentRequest, PricingError> {
        let price = Amount::new(19_99, Currency::EUR);
        Ok(PaymentRequest::new(asked.order, price).line("Teapot", 1, price))
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let stripe = Stripe::from_env().await?; // your keys, or a sandbox
    let paid = on_paid(async |payment| {
        println!("{} was paid", payment.amount_received());
        Ok(())
    });
    let checkout = Checkout::builder(stripe.config())
        .application("tutorial")
        .shop_name("Teapots")
        .pricing(Teapot)
        .fulfillment(MemoryInbox::new(), paid)
        .build()?;
    let app = Router::new()
        .route("/", get(new_order))
        .merge(stripe_checkout_axum::router(checkout.clone()));
    stripe.serve(app, checkout).await
}

async fn new_order() -> Redirect {
    Redirect::to(&format!("/checkout?order={}", Uuid::new_v4()))
}
