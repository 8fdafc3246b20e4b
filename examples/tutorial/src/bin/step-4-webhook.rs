//! Step 4: what happens when an order is paid. `cargo run -p tutorial --bin step-4-webhook`

use axum::extract::{Path, State};
use axum::response::{Html, Redirect};
use axum::{Form, Router, routing::get, routing::post};
use stripe_checkout_core::fulfillment::{Due, FulfillmentHandler, MemoryInbox, PaymentEvent};
use stripe_checkout_core::requests::PaymentRequest;
use stripe_checkout_core::webhook::Payment;
use stripe_checkout_core::{BoxError, Checkout, Pricing, PricingError, Visitor};
use tutorial::{Cart, OrderId, Orders, Stripe, teapots};
use uuid::Uuid;

#[derive(Clone)]
struct Shop {
    orders: Orders,
}

impl FulfillmentHandler for Shop {
    async fn payment_succeeded(&self, payment: &Payment, _: &mut ()) -> Result<(), BoxError> {
        self.note(payment, "shipped".into())
    }

    async fn amount_due(&self, payment: &Payment, _: &mut ()) -> Result<Due, BoxError> {
        let cart = self.orders.cart(order_of(payment)?);
        let price = teapots(cart.ok_or("an unknown order")?).ok_or("no such price")?;
        Ok(Due::Exactly(price))
    }

    async fn on_event(&self, event: &PaymentEvent<'_>, _: &mut ()) -> Result<(), BoxError> {
        match event {
            PaymentEvent::PaymentFailed {
                payment, failure, ..
            } => {
                let why = failure.message_for_buyer();
                self.note(payment, format!("declined: {why}"))
            }
            PaymentEvent::Mismatch {
                payment, mismatch, ..
            } => self.note(payment, format!("not shipped: {mismatch}")),
            _ => Ok(()),
        }
    }
}

fn order_of(payment: &Payment) -> Result<Uuid, BoxError> {
    Ok(payment.order_id().ok_or("no order")?.parse()?)
}

impl Shop {
    /// An error says that it was not done: then it is tried again.
    fn note(&self, payment: &Payment, news: String) -> Result<(), BoxError> {
        match self.orders.note(order_of(payment)?, news) {
            true => Ok(()),
            false => Err("an unknown order".into()),
        }
    }
}

impl Pricing for Shop {
    type Order = OrderId;

    async fn price(&self, asked: OrderId, _: &Visitor) -> Result<PaymentRequest, PricingError> {
        let price = self.orders.cart(asked.order).and_then(teapots);
        let price = price.ok_or_else(|| PricingError::refused("We do not know this order."))?;
        Ok(PaymentRequest::new(asked.order, price))
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
        .fulfillment(MemoryInbox::new(), shop.clone())
        .build()?;
    let app = Router::new()
        .route("/", get(Html(include_str!("../cart.html"))))
        .route("/orders", post(place))
        .route("/orders/{id}", get(show))
        .with_state(shop)
        .merge(stripe_checkout_axum::router(checkout.clone()));
    stripe.serve(app, checkout).await
}

async fn place(State(shop): State<Shop>, Form(cart): Form<Cart>) -> Redirect {
    let order = shop.orders.place(cart);
    Redirect::to(&format!("/checkout?order={order}"))
}

async fn show(State(shop): State<Shop>, Path(id): Path<Uuid>) -> String {
    shop.orders.news(id).join("\n")
}
