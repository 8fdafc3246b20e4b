//! Step 2: the server knows what an order costs. `cargo run -p tutorial --bin 2-create-payment-intent`

use std::{
    collections::HashMap,
    num::NonZeroU8,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use axum::response::{Html, Redirect};
use axum::{Form, Router, extract::State, routing::get, routing::post};
use serde::Deserialize;
use stripe_checkout_core::{
    Amount, Checkout, Currency, Pricing, PricingError, Visitor,
    fulfillment::{MemoryInbox, on_paid},
    intent::PaymentRequest,
};
use tutorial::Stripe;
use uuid::Uuid;

const TEAPOT: Amount = Amount::new(19_99, Currency::EUR);

/// What the browser may say when it orders: how many. Whatever else it sends is not even read.
#[derive(Clone, Copy, Deserialize)]
struct Cart {
    teapots: NonZeroU8,
}

/// What it may say when it pays: which order.
#[derive(Deserialize)]
struct OrderId {
    order: Uuid,
}

/// Yours are rows in a database: see step 7.
#[derive(Clone, Default)]
struct Orders(Arc<Mutex<HashMap<Uuid, Cart>>>);

impl Orders {
    fn all(&self) -> MutexGuard<'_, HashMap<Uuid, Cart>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pricing for Orders {
    type Order = OrderId;

    async fn price(&self, asked: OrderId, _: &Visitor) -> Result<PaymentRequest, PricingError> {
        let cart = self.all().get(&asked.order).copied();
        let cart = cart.ok_or_else(|| PricingError::refused("We do not know this order."))?;
        let teapots = u64::from(cart.teapots.get());
        let price = TEAPOT.times(teapots)?;
        Ok(PaymentRequest::new(asked.order, price).line("Teapot", teapots, price))
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let (stripe, orders) = (Stripe::from_env().await?, Orders::default());
    let checkout = Checkout::builder(stripe.config())
        .application("tutorial")
        .shop_name("Teapots")
        .pricing(orders.clone())
        .fulfillment(MemoryInbox::new(), on_paid(async |_| Ok(())))
        .build()?;
    let app = Router::new()
        .route("/", get(Html(include_str!("../cart.html"))))
        .route("/orders", post(place))
        .with_state(orders)
        .merge(stripe_checkout_axum::router(checkout.clone()));
    stripe.serve(app, checkout).await
}

async fn place(State(orders): State<Orders>, Form(cart): Form<Cart>) -> Redirect {
    let id = Uuid::new_v4();
    orders.all().insert(id, cart);
    Redirect::to(&format!("/checkout?order={id}"))
}
