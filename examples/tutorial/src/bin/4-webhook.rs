//! Step 4: what happens when an order is paid. `cargo run -p tutorial --bin 4-webhook`

use std::collections::HashMap;
use std::num::NonZeroU8;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::response::{Html, Redirect};
use axum::{Form, Router, extract::Path, extract::State, routing::get, routing::post};
use serde::Deserialize;
use stripe_checkout_core::fulfillment::{Due, FulfillmentHandler, MemoryInbox, Mismatch};
use stripe_checkout_core::intent::PaymentRequest;
use stripe_checkout_core::webhook::{Failure, Payment};
use stripe_checkout_core::{Amount, BoxError, Checkout, Currency, Pricing, PricingError, Visitor};
use tutorial::Stripe;
use uuid::Uuid;

const TEAPOT: Amount = Amount::new(19_99, Currency::EUR);

#[derive(Clone, Deserialize)]
struct Order {
    teapots: NonZeroU8,
    #[serde(skip)]
    news: Vec<String>,
}

#[derive(Deserialize)]
struct OrderId {
    order: Uuid,
}

#[derive(Clone, Default)]
struct Orders(Arc<Mutex<HashMap<Uuid, Order>>>);

impl Orders {
    fn all(&self) -> MutexGuard<'_, HashMap<Uuid, Order>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
    fn price(&self, id: Uuid) -> Option<Amount> {
        TEAPOT.times(self.all().get(&id)?.teapots.get().into()).ok()
    }
    fn note(&self, payment: &Payment, news: String) -> Result<(), BoxError> {
        let mut orders = self.all();
        let order = orders.get_mut(&id_of(payment)?).ok_or("an unknown order")?;
        order.news.push(news);
        Ok(())
    }
}
