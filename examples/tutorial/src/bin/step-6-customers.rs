//! Step 6: returning buyers, and the cards that they saved.
//! `cargo run -p tutorial --bin step-6-customers`

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::{Form, Router, routing::get, routing::post};
use stripe_checkout_core::fulfillment::{MemoryInbox, on_paid};
use stripe_checkout_core::requests::{CustomerRequest, PaymentRequest};
use stripe_checkout_core::{
    Amount, Checkout, Currency, CustomerResolver, PaymentError, Pricing, PricingError, Visitor,
    VisitorData,
};
use tutorial::{LogIn, OrderId, Stripe, User};
use uuid::Uuid;

struct Users;

impl CustomerResolver for Users {
    async fn customer(&self, visitor: &Visitor) -> Result<Option<CustomerRequest>, PricingError> {
        let user = visitor.data::<User>();
        Ok(user.map(|user| CustomerRequest::new(&user.id)))
    }
}

/// Tells the checkout who asks: by the shop's own session, never by what a browser says.
async fn who(State(log_in): State<LogIn>, mut request: Request, next: Next) -> Response {
    if let Some(user) = log_in.user(request.headers()) {
        request.extensions_mut().insert(VisitorData::new(user));
    }
    next.run(request).await
}

struct Teapot;

impl Pricing for Teapot {
    type Order = OrderId;

    async fn price(&self, asked: OrderId, _: &Visitor) -> Result<PaymentRequest, PricingError> {
        let price = Amount::new(19_99, Currency::EUR);
        Ok(PaymentRequest::new(asked.order, price).line("Teapot", 1, price))
    }
}

#[derive(Clone)]
struct Shop {
    log_in: LogIn,
    checkout: Checkout,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let stripe = Stripe::from_env().await?;
    let checkout = Checkout::builder(stripe.config())
        .application("tutorial")
        .shop_name("Teapots")
        .account_url("/")
        .pricing(Teapot)
        .customers(Users)
        .fulfillment(MemoryInbox::new(), on_paid(async |_| Ok(())))
        .build()?;
    let shop = Shop {
        log_in: LogIn::default(),
        checkout: checkout.clone(),
    };
    let app = Router::new()
        .route("/", get(account))
        .route("/log-in", post(log_in))
        .route("/buy", get(buy))
        .with_state(shop.clone())
        .merge(stripe_checkout_axum::router(checkout.clone()))
        .layer(from_fn_with_state(shop.log_in, who));
    stripe.serve(app, checkout).await
}

async fn account(State(shop): State<Shop>, headers: HeaderMap) -> Result<Html<String>, StatusCode> {
    let Some(user) = shop.log_in.user(&headers) else {
        return Ok(Html(include_str!("../log_in.html").into()));
    };
    let cards = cards(&shop.checkout, &user).await.map_err(|error| {
        tracing::error!(%error, "the saved cards");
        StatusCode::SERVICE_UNAVAILABLE
    })?;
    let page = include_str!("../account.html");
    Ok(Html(page.replace("<!-- cards -->", &cards)))
}

async fn cards(checkout: &Checkout, user: &User) -> Result<String, PaymentError> {
    let customer = checkout.customer(&CustomerRequest::new(&user.id)).await?;
    let methods = checkout.payment_methods(&customer).await?;
    let cards = methods.iter().filter_map(|method| method.card());
    Ok(cards
        .map(|card| format!("<li>{} ending in {}</li>", card.brand(), card.last4()))
        .collect())
}

async fn buy() -> Redirect {
    Redirect::to(&format!("/checkout?order={}", Uuid::new_v4()))
}

async fn log_in(State(shop): State<Shop>, Form(user): Form<User>) -> impl IntoResponse {
    let cookie = shop.log_in.open(user);
    ([(header::SET_COOKIE, cookie)], Redirect::to("/"))
}
