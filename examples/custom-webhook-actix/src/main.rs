//! A webhook with your own route and responses, on actix-web. The ready-made one is
//! `stripe_checkout_actix::routes`.
//!
//! ```sh
//! stripe listen --forward-to 127.0.0.1:3000/hooks/stripe # prints the secret: whsec_…
//! STRIPE_WEBHOOK_SECRET=whsec_… cargo run -p custom-webhook-actix
//! stripe trigger payment_intent.succeeded
//! ```
//!
//! The inbox in memory forgets its events at a restart, and then handles an event again that Stripe
//! repeats. So it refuses live events. For live money you need `SqliteInbox` or `PostgresInbox`,
//! even beside your own store. You also need a unique key on the order, in the transaction in which
//! your handler writes.

use actix_web::{App, HttpServer, http::StatusCode, post, web::Data};
use stripe_checkout_actix::VerifiedEvent;
use stripe_checkout_core::fulfillment::{MemoryInbox, Received, on_paid};
use stripe_checkout_core::{BoxError, Checkout, Config, webhook::Payment};

#[actix_web::main]
async fn main() -> Result<(), BoxError> {
    let checkout = Checkout::builder(Config::from_env()?)
        .fulfillment(MemoryInbox::new(), on_paid(ship))
        .build()?;
    let checkout = Data::new(checkout);
    let server = HttpServer::new(move || App::new().app_data(checkout.clone()).service(webhook));
    let port = std::env::var("PORT").unwrap_or_default();
    let port = if port.is_empty() { 3000 } else { port.parse()? };
    let listener = std::net::TcpListener::bind(("127.0.0.1", port))?;
    println!("Listening on http://{}", listener.local_addr()?);
    Ok(server.listen(listener)?.run().await?)
}

/// Receives genuine events only. The extractor has answered all other requests with 400 or 413.
#[post("/hooks/stripe")]
async fn webhook(
    checkout: Data<Checkout>,
    VerifiedEvent(event): VerifiedEvent,
) -> (&'static str, StatusCode) {
    match checkout.receive(event).await {
        Ok(Received::Done(_) | Received::Queued | Received::Ignored) => {
            ("thank you", StatusCode::OK)
        }
        Ok(Received::Duplicate(_)) => ("seen before", StatusCode::OK),
        // Stripe sends the event again after any status but 2xx, for three days.
        Ok(_) => ("that failed", StatusCode::INTERNAL_SERVER_ERROR),
        Err(_) => ("not now", StatusCode::SERVICE_UNAVAILABLE),
    }
}

/// Runs once for each payment that succeeds. Yours ships the order.
async fn ship(payment: Payment) -> Result<(), BoxError> {
    println!("paid: {} ({})", payment.amount_received(), payment.id());
    Ok(())
}
