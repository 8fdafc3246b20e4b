//! Step 5: orders, shipments and events in one database.
//! `cargo run -p tutorial --bin step-5-database`

use std::future::pending;

use axum::extract::{Path, State};
use axum::response::{Html, Redirect};
use axum::{Form, Router, http::StatusCode, routing::get, routing::post};
use stripe_checkout_core::Checkout;
use tutorial::{Cart, Database, Stripe};
use uuid::Uuid;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let stripe = Stripe::from_env().await?;
    let (database, inbox) = Database::open("teapots.db").await?;
    let checkout = Checkout::builder(stripe.config())
        .application("tutorial")
        .shop_name("Teapots")
        .order_url("/orders/{reference}")
        .pricing(database.clone())
        .fulfillment(inbox, database.clone())
        .build()?;
    tokio::spawn(checkout.worker().run(pending())); // tries again what failed
    tokio::spawn(checkout.reconcile().run(pending())); // asks Stripe for what never came
    let app = Router::new()
        .route("/", get(Html(include_str!("../cart.html"))))
        .route("/orders", post(place))
        .route("/orders/{id}", get(show))
        .with_state(database)
        .merge(stripe_checkout_axum::router(checkout.clone()));
    stripe.serve(app, checkout).await
}

async fn place(
    State(database): State<Database>,
    Form(cart): Form<Cart>,
) -> Result<Redirect, StatusCode> {
    let order = database.place(cart).await.map_err(sorry)?;
    Ok(Redirect::to(&format!("/checkout?order={order}")))
}

async fn show(
    State(database): State<Database>,
    Path(id): Path<Uuid>,
) -> Result<String, StatusCode> {
    let status = database.status(id).await.map_err(sorry)?;
    status.ok_or(StatusCode::NOT_FOUND)
}

fn sorry(error: sqlx::Error) -> StatusCode {
    tracing::error!(%error, "the database");
    StatusCode::SERVICE_UNAVAILABLE
}
