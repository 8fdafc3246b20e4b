//! The price of an order. It comes from the order's row, whatever the browser sends.

use std::time::Duration;

use serde::Deserialize;
use stripe_checkout_core::{
    AmountError, Pricing, PricingError, Visitor,
    requests::{CaptureMethod, PaymentRequest},
};

use crate::{
    NAME,
    order::{Order, Status},
    store::Store,
};

/// Stripe keeps idempotency keys for at least 24 hours; one hour is left as a margin.
const STRIPE_REMEMBERS: Duration = Duration::from_secs(23 * 60 * 60);

/// The prices of orders that exist already.
///
/// The checkout asks when it shows the page, and again when the buyer presses *Pay*.
#[derive(Debug, Clone)]
pub struct OrderPrices {
    store: Store,
}

/// Everything that the browser may send.
#[derive(Debug, Deserialize)]
pub struct OrderReference {
    /// The order's id.
    pub order: String,
}

impl OrderPrices {
    /// The prices of the orders in this store.
    pub fn new(store: Store) -> Self {
        Self { store }
    }
}

impl Pricing for OrderPrices {
    type Order = OrderReference;

    async fn price(
        &self,
        reference: OrderReference,
        _: &Visitor,
    ) -> Result<PaymentRequest, PricingError> {
        let order = self.store.order(&reference.order).await?;
        let order = order.ok_or_else(|| {
            PricingError::refused("We do not know this order. Please go back to your cart.")
        })?;
        match order.status {
            // The intent of a failed order is still open. The buyer tries again with another card.
            Status::Pending | Status::Failed => {}
            // The checkout asks Stripe for the payment's status. After a restart, Stripe finds the
            // payment by its idempotency key, for a day. After that, only the order's row knows a
            // debit that takes longer.
            Status::Processing if order.age() < STRIPE_REMEMBERS => {}
            Status::Processing | Status::Reserved => {
                return Err(PricingError::Processing {
                    reference: order.id,
                });
            }
            Status::Paid | Status::Refunded => {
                return Err(PricingError::AlreadyPaid {
                    reference: order.id,
                });
            }
            Status::Review => {
                return Err(PricingError::refused(
                    "We are checking a payment for this order. Please do not pay again.",
                ));
            }
            Status::Canceled => {
                return Err(PricingError::refused(
                    "This order was canceled. Please order again.",
                ));
            }
        }
        Ok(request(&order)?)
    }
}

/// The payment request for an order, whichever way the buyer pays.
pub(crate) fn request(order: &Order) -> Result<PaymentRequest, AmountError> {
    let mut request = PaymentRequest::new(&order.id, order.total)
        .description(format!("{NAME}, order {}", &order.id[..8]));
    if order.on_order {
        request = request.capture_method(CaptureMethod::Manual);
    }
    for item in &order.items {
        request = request.line(&item.name, item.quantity, item.unit.times(item.quantity)?);
    }
    Ok(request)
}
