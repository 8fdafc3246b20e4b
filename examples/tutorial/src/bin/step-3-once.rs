//! Step 3: one order has one payment, even after a double click.
//! `cargo run -p tutorial --bin step-3-once`

use axum::extract::{Path, State};
use axum::response::{Html, Redirect};
use axum::{Form, Router, http::StatusCode, routing::get, routing::post};
use stripe_checkout_core::fulfillment::{MemoryInbox, on_paid};
use stripe_checkout_core::requests::PaymentRequest;
use stripe_checkout_core::{Checkout, Pricing, PricingError, Visitor};
use tutorial::{Cart, OrderId, Orders, Stripe, teapots};
use uuid::Uuid;

#[derive(Clone)]
struct Shop {
    orders: Orders,
}

impl Pricing for Shop {
    type Order = OrderId;

    /// Runs for each page and for each press of the button. Returns the same reference each time,
    /// with the current price of the order.
    async fn price(&self, asked: OrderId, _: &Visitor) -> Result<PaymentRequest, PricingError> {
        let cart = self.orders.cart(asked.order);
        let cart = cart.ok_or_else(|| PricingError::refused("We do not know this order."))?;
        let price = teapots(cart);
        let price = price.ok_or_else(|| PricingError::refused("We have no such price."))?;
        let quantity = cart.teapots.get().into();
        Ok(PaymentRequest::new(asked.order, price).line("Teapot", quantity, price))
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let stripe = Stripe::from_env().await?;
    let orders = Orders::default();
    let shop = Shop { orders };
    let checkout = Checkout::builder(stripe.config())
        .application("tutorial")
        .shop_name("Teapots")
        .order_url("/orders/{reference}")
        .pricing(shop.clone())
        .fulfillment(MemoryInbox::new(), on_paid(async |_| Ok(())))
        .build()?;
    let app = Router::new()
        .route("/", get(Html(include_str!("../cart.html"))))
        .route("/orders", post(place))
        .route("/orders/{id}", get(show).post(change))
        .with_state(shop)
        .merge(stripe_checkout_axum::router(checkout.clone()));
    stripe.serve(app, checkout).await
}

async fn place(State(shop): State<Shop>, Form(cart): Form<Cart>) -> Redirect {
    let order = shop.orders.place(cart);
    Redirect::to(&format!("/checkout?order={order}"))
}

async fn show(Path(id): Path<Uuid>) -> Html<String> {
    let cart = include_str!("../cart.html");
    Html(cart.replace("/orders", &format!("/orders/{id}")))
}

async fn change(
    State(shop): State<Shop>,
    Path(id): Path<Uuid>,
    Form(cart): Form<Cart>,
) -> Result<Redirect, StatusCode> {
    if !shop.orders.change(id, cart) {
        return Err(StatusCode::NOT_FOUND);
    }
    Ok(Redirect::to(&format!("/checkout?order={id}")))
}
