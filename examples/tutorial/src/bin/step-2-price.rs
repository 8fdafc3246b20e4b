//! Step 2: the server knows what an order costs. `cargo run -p tutorial --bin step-2-price`

use axum::response::{Html, Redirect};
use axum::{Form, Router, extract::State, routing::get, routing::post};
use stripe_checkout_core::fulfillment::{MemoryInbox, on_paid};
use stripe_checkout_core::requests::PaymentRequest;
use stripe_checkout_core::{Checkout, Metadata, Pricing, PricingError, Visitor};
use tutorial::{Cart, OrderId, Orders, Stripe, teapots};

#[derive(Clone)]
struct Shop {
    orders: Orders,
}

impl Pricing for Shop {
    type Order = OrderId;

    async fn price(&self, asked: OrderId, _: &Visitor) -> Result<PaymentRequest, PricingError> {
        let cart = self.orders.cart(asked.order);
        let cart = cart.ok_or_else(|| PricingError::refused("We do not know this order."))?;
        let price = teapots(cart);
        let price = price.ok_or_else(|| PricingError::refused("We have no such price."))?;
        let quantity = cart.teapots.get();
        Ok(PaymentRequest::new(asked.order, price)
            .line("Teapot", quantity.into(), price)
            .description(format!("{quantity} × teapot"))
            .metadata(Metadata::new().with("teapots", quantity.to_string())?))
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let stripe = Stripe::from_env().await?;
    let orders = Orders::default();
    let shop = Shop { orders };
    let paid = on_paid(async |payment| {
        let teapots = payment.metadata().get("teapots").unwrap_or("no");
        println!("{} for {teapots} teapots", payment.amount_received());
        Ok(())
    });
    let checkout = Checkout::builder(stripe.config())
        .application("tutorial")
        .shop_name("Teapots")
        .pricing(shop.clone())
        .fulfillment(MemoryInbox::new(), paid)
        .build()?;
    let app = Router::new()
        .route("/", get(Html(include_str!("../cart.html"))))
        .route("/orders", post(place))
        .with_state(shop)
        .merge(stripe_checkout_axum::router(checkout.clone()));
    stripe.serve(app, checkout).await
}

async fn place(State(shop): State<Shop>, Form(cart): Form<Cart>) -> Redirect {
    let order = shop.orders.place(cart);
    Redirect::to(&format!("/checkout?order={order}"))
}
