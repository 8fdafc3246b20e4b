//! Step 3: one order, one payment, whatever is clicked twice. `cargo run -p tutorial --bin 3-one-payment-per-order`

use std::collections::HashMap;
use std::num::NonZeroU8;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::response::{Html, Redirect};
use axum::{Form, Router, extract::Path, extract::State, routing::get, routing::post};
use serde::Deserialize;
use stripe_checkout_core::fulfillment::{MemoryInbox, on_paid};
use stripe_checkout_core::intent::PaymentRequest;
use stripe_checkout_core::{Amount, Checkout, Currency, Pricing, PricingError, Visitor};
use tutorial::Stripe;
use uuid::Uuid;

const TEAPOT: Amount = Amount::new(19_99, Currency::EUR);

#[derive(Clone, Copy, Deserialize)]
struct Cart {
    teapots: NonZeroU8,
}

#[derive(Deserialize)]
struct OrderId {
    order: Uuid,
}

#[derive(Clone, Default)]
struct Orders(Arc<Mutex<HashMap<Uuid, Cart>>>);

impl Orders {
    fn all(&self) -> MutexGuard<'_, HashMap<Uuid, Cart>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pricing for Orders {
    type Order = OrderId;

    /// Asked anew for each page and each press of the button: the same id, and what the order costs by then.
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
        .order_url("/orders/{reference}")
        .pricing(orders.clone())
        .fulfillment(MemoryInbox::new(), on_paid(async |_| Ok(())))
        .build()?;
    let app = Router::new()
        .route("/", get(Html(include_str!("../cart.html"))))
        .route("/orders", post(place))
        .route("/orders/{id}", get(show).post(change))
        .with_state(orders)
        .merge(stripe_checkout_axum::router(checkout.clone()));
    stripe.serve(app, checkout).await
}

async fn place(orders: State<Orders>, cart: Form<Cart>) -> Redirect {
    change(orders, Path(Uuid::new_v4()), cart).await
}

/// The buyer thinks again: the id stays, so the PaymentIntent stays too, and gets the new amount.
async fn change(orders: State<Orders>, Path(id): Path<Uuid>, Form(cart): Form<Cart>) -> Redirect {
    orders.all().insert(id, cart);
    Redirect::to(&format!("/checkout?order={id}"))
}

async fn show(Path(id): Path<Uuid>) -> Html<String> {
    let cart = include_str!("../cart.html");
    Html(cart.replace("/orders", &format!("/orders/{id}")))
}
