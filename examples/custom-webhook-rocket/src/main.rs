//! A webhook with a route and answers of your own, on Rocket; the ready-made one is `stripe_checkout_rocket::routes`.
//!
//! ```sh
//! stripe listen --forward-to 127.0.0.1:8000/hooks/stripe # prints the secret: whsec_…
//! STRIPE_WEBHOOK_SECRET=whsec_… cargo run -p custom-webhook-rocket
//! stripe trigger payment_intent.succeeded
//! ```
//!
//! The inbox in memory forgets at a restart, and then an event that Stripe repeats is handled
//! again. So it refuses live events. Live money needs `SqliteInbox` or `PostgresInbox`, also beside
//! a store of your own, and a unique key on the order in the transaction in which your handler
//! writes.

use rocket::{State, http::Status, post, routes};
use stripe_checkout_core::fulfillment::{MemoryInbox, Received, on_paid};
use stripe_checkout_core::{BoxError, Checkout, Config, webhook::Payment};
use stripe_checkout_rocket::{Answer, VerifiedEvent};

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

/// What is no genuine event is an answer already: 400, or 413. Taken as a bare `VerifiedEvent` it would be your catcher's to answer.
#[post("/stripe", data = "<event>")]
async fn webhook(
    checkout: &State<Checkout>,
    event: Result<VerifiedEvent, Answer>,
) -> Result<(Status, &'static str), Answer> {
    let VerifiedEvent(event) = event?;
    Ok(match checkout.receive(event).await {
        Ok(Received::Done(_) | Received::Queued | Received::Ignored) => (Status::Ok, "thank you"),
        Ok(Received::Duplicate(_)) => (Status::Ok, "seen before"),
        // Whatever is not 2xx, Stripe sends again, for three days.
        Ok(_) => (Status::InternalServerError, "that failed"),
        Err(_) => (Status::ServiceUnavailable, "not now"),
    })
}

/// Runs once for each payment that succeeds. Yours ships.
async fn ship(payment: Payment) -> Result<(), BoxError> {
    println!("paid: {} ({})", payment.amount_received(), payment.id());
    Ok(())
}
