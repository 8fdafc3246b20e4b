//! Step 7: step 5's shop with keys, and with all that a shop needs that is open day and night.
//! `cargo run -p tutorial --bin step-7-live`

use std::{future::pending, time::Duration};

use axum::extract::{Path, State};
use axum::response::{Html, Redirect};
use axum::{Form, Router, http::StatusCode, routing::get, routing::post};
use stripe_checkout_core::{Checkout, Config};
use tutorial::{Cart, Database};
use uuid::Uuid;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt().init();
    // Also from .env in this folder. It says which variable is missing or wrong.
    let config = Config::from_dotenv()?;
    let (database, inbox) = Database::open("teapots.db").await?;
    let checkout = Checkout::builder(config)
        .application("tutorial")
        .shop_name("Teapots")
        .order_url("/orders/{reference}")
        .pricing(database.clone())
        .fulfillment(inbox, database.clone())
        .build()?;
    tokio::spawn(checkout.worker().run(pending()));
    tokio::spawn(checkout.reconcile().run(pending()));
    tokio::spawn(watch(checkout.clone()));
    let app = Router::new()
        .route("/", get(Html(include_str!("../cart.html"))))
        .route("/orders", post(place))
        .route("/orders/{id}", get(show))
        .with_state(database)
        .merge(stripe_checkout_axum::router(checkout.clone()));
    let port = std::env::var("PORT").unwrap_or_default();
    let port = if port.is_empty() { 3000 } else { port.parse()? };
    tutorial::serve(port, app, checkout).await
}

/// Once a minute: says what somebody has to look at, and forgets what is done and older than 35 days.
async fn watch(checkout: Checkout) {
    loop {
        if let Err(error) = look(&checkout).await {
            tracing::error!("the inbox cannot be asked: {error:#}");
        }
        tokio::time::sleep(Duration::from_secs(60)).await;
    }
}

async fn look(checkout: &Checkout) -> anyhow::Result<()> {
    for alert in checkout.alerts(Duration::from_secs(15 * 60)).await? {
        tracing::error!("{alert}"); // yours sends a message to somebody's telephone
    }
    checkout.prune().await?;
    Ok(())
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
