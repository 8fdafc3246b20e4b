//! The shop's own side: the contents of an order and its price. The orders of steps 2 to 4 are in
//! memory. Those of step 5 are in `database.rs`.

use std::collections::HashMap;
use std::num::NonZeroU8;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Deserialize;
use stripe_checkout_core::{Amount, Currency};
use uuid::Uuid;

/// The order as the browser sends it: how many teapots, and in which currency. The server ignores
/// everything else.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct Cart {
    /// At least one, at most 255.
    pub teapots: NonZeroU8,
    /// A currency in which the shop has a price.
    pub currency: Currency,
}

/// The payment request as the browser sends it: which order to pay.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct OrderId {
    /// A random id, so that a buyer cannot find another buyer's order by counting.
    pub order: Uuid,
}

/// What so many teapots cost; `None` where the shop has no price in this currency.
pub fn teapots(cart: Cart) -> Option<Amount> {
    let one = match cart.currency {
        Currency::EUR => Amount::new(19_99, Currency::EUR), // 19.99 EUR: two decimals
        Currency::JPY => Amount::new(3_200, Currency::JPY), // 3200 JPY: none
        Currency::KWD => Amount::new(6_500, Currency::KWD), // 6.500 KWD: three
        _ => return None,
    };
    one.times(cart.teapots.get().into()).ok()
}

/// An order, and what has happened to it.
#[derive(Debug, Clone)]
struct Order {
    cart: Cart,
    news: Vec<String>,
}

/// All orders, in memory until the program ends.
#[derive(Debug, Clone, Default)]
pub struct Orders(Arc<Mutex<HashMap<Uuid, Order>>>);

impl Orders {
    /// Places a new order and returns its id.
    pub fn place(&self, cart: Cart) -> Uuid {
        let (id, news) = (Uuid::new_v4(), Vec::new());
        self.all().insert(id, Order { cart, news });
        id
    }

    /// Returns the contents of an order.
    pub fn cart(&self, id: Uuid) -> Option<Cart> {
        Some(self.all().get(&id)?.cart)
    }

    /// Changes the contents of an order. Returns `false` if there is no such order.
    pub fn change(&self, id: Uuid, cart: Cart) -> bool {
        let mut all = self.all();
        let order = all.get_mut(&id);
        order.map(|order| order.cart = cart).is_some()
    }

    /// Records what happened to an order. Returns `false` if there is no such order.
    pub fn note(&self, id: Uuid, news: String) -> bool {
        println!("order {id}: {news}");
        let mut all = self.all();
        let order = all.get_mut(&id);
        order.map(|order| order.news.push(news)).is_some()
    }

    /// Returns what happened to an order, one line for each event.
    pub fn news(&self, id: Uuid) -> Vec<String> {
        let all = self.all();
        all.get(&id)
            .map(|order| order.news.clone())
            .unwrap_or_default()
    }

    fn all(&self) -> MutexGuard<'_, HashMap<Uuid, Order>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
