//! A webhook with your own route and responses, on axum. The ready-made one is
//! `stripe_checkout_axum::router`.
//!
//! ```sh
//! stripe listen --forward-to 127.0.0.1:3000/hooks/stripe # prints the secret: whsec_…
//! STRIPE_WEBHOOK_SECRET=whsec_… cargo run -p custom-webhook-axum
//! stripe trigger payment_intent.succeeded
//! ```
//!
//! The inbox in memory forgets its events at a restart, and then handles an event again that Stripe
//! repeats. So it refuses live events. For live money you need `SqliteInbox` or `PostgresInbox`,
//! even beside your own store. You also need a unique key on the order, in the transaction in which
//! your handler writes.

use axum::{Router, extract::State, http::StatusCode, routing::post};
use stripe_checkout_axum::VerifiedEvent;
use stripe_checkout_core::fulfillment::{MemoryInbox, Received, on_paid};
use stripe_checkout_core::{BoxError, Checkout, Config, webhook::Payment};

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let checkout = Checkout::builder(Config::from_env()?)
        .fulfillment(MemoryInbox::new(), on_paid(ship))
        .build()?;
    let app = Router::new()
        .route("/hooks/stripe", post(webhook))
        .with_state(checkout);
    let port = std::env::var("PORT").unwrap_or_default();
    let port = if port.is_empty() { 3000 } else { port.parse()? };
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
    println!("Listening on http://{}", listener.local_addr()?);
    Ok(axum::serve(listener, app).await?)
}

/// Receives genuine events only. The extractor has answered all other requests with 400 or 413.
async fn webhook(
    State(checkout): State<Checkout>,
    VerifiedEvent(event): VerifiedEvent,
) -> (StatusCode, &'static str) {
    match checkout.receive(event).await {
        Ok(Received::Done(_) | Received::Queued | Received::Ignored) => {
            (StatusCode::OK, "thank you")
        }
        Ok(Received::Duplicate(_)) => (StatusCode::OK, "seen before"),
        // Stripe sends the event again after any status but 2xx, for three days.
        Ok(_) => (StatusCode::INTERNAL_SERVER_ERROR, "that failed"),
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "not now"),
    }
}

/// Runs once for each payment that succeeds. Yours ships the order.
async fn ship(payment: Payment) -> Result<(), BoxError> {
    println!("paid: {} ({})", payment.amount_received(), payment.id());
    Ok(())
}
