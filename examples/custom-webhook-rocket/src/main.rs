//! A webhook with your own route and responses, on Rocket. The ready-made one is
//! `stripe_checkout_rocket::routes`.
//!
//! ```sh
//! stripe listen --forward-to 127.0.0.1:8000/hooks/stripe # prints the secret: whsec_…
//! STRIPE_WEBHOOK_SECRET=whsec_… cargo run -p custom-webhook-rocket
//! stripe trigger payment_intent.succeeded
//! ```
//!
//! The inbox in memory forgets its events at a restart, and then handles an event again that Stripe
//! repeats. So it refuses live events. For live money you need `SqliteInbox` or `PostgresInbox`,
//! even beside your own store. You also need a unique key on the order, in the transaction in which
//! your handler writes.

use rocket::{State, http::Status, post, routes};
use stripe_checkout_core::fulfillment::{MemoryInbox, Received, on_paid};
use stripe_checkout_core::{BoxError, Checkout, Config, webhook::Payment};
use stripe_checkout_rocket::{CheckoutResponse, VerifiedEvent};

#[rocket::main]
async fn main() -> Result<(), BoxError> {
    let checkout = Checkout::builder(Config::from_env()?)
        .fulfillment(MemoryInbox::new(), on_paid(ship))
        .build()?;
    let rocket = rocket::build()
        .mount("/hooks", routes![webhook])
        .manage(checkout);
    rocket.launch().await?;
    Ok(())
}

/// A request without a genuine event arrives as a `CheckoutResponse` with status 400 or 413.
///
/// With a bare `VerifiedEvent` as the parameter, your catcher would have to answer it.
#[post("/stripe", data = "<event>")]
async fn webhook(
    checkout: &State<Checkout>,
    event: Result<VerifiedEvent, CheckoutResponse>,
) -> Result<(Status, &'static str), CheckoutResponse> {
    let VerifiedEvent(event) = event?;
    Ok(match checkout.receive(event).await {
        Ok(Received::Done(_) | Received::Queued | Received::Ignored) => (Status::Ok, "thank you"),
        Ok(Received::Duplicate(_)) => (Status::Ok, "seen before"),
        // Stripe sends the event again after any status but 2xx, for three days.
        Ok(_) => (Status::InternalServerError, "that failed"),
        Err(_) => (Status::ServiceUnavailable, "not now"),
    })
}

/// Runs once for each payment that succeeds. Yours ships the order.
async fn ship(payment: Payment) -> Result<(), BoxError> {
    println!("paid: {} ({})", payment.amount_received(), payment.id());
    Ok(())
}
