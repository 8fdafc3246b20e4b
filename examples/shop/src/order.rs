//! An order, and the states that it goes through.

use std::time::{Duration, UNIX_EPOCH};

use serde_json::{Value, json};
use stripe_checkout_core::{Amount, webhook::RefundStatus};

/// The status of an order. The payment's events change it (see `fulfil.rs`).
///
/// The shop itself only cancels orders: at the merchant's request, or if they stay unpaid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Created, not paid.
    Pending,
    /// The buyer has done their part; the bank has not confirmed the payment yet.
    Processing,
    /// The last attempt failed. The buyer may try again.
    Failed,
    /// A person has to look: a mismatch, or a refund or dispute before anything was shipped.
    Review,
    /// Authorised: the bank holds the money until the shop captures it, when everything is ready.
    Reserved,
    /// Paid. The shipment is recorded.
    Paid,
    /// The payment was canceled; nothing was charged.
    Canceled,
    /// Paid, and refunded in full.
    Refunded,
}

impl Status {
    const ALL: [Self; 8] = [
        Self::Pending,
        Self::Processing,
        Self::Failed,
        Self::Review,
        Self::Reserved,
        Self::Paid,
        Self::Canceled,
        Self::Refunded,
    ];

    /// The word in the database and in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Processing => "processing",
            Self::Failed => "failed",
            Self::Review => "review",
            Self::Reserved => "reserved",
            Self::Paid => "paid",
            Self::Canceled => "canceled",
            Self::Refunded => "refunded",
        }
    }

    /// Reads the word from the database.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == word)
    }

    /// Whether the buyer can still pay.
    pub const fn can_be_paid(self) -> bool {
        matches!(self, Self::Pending | Self::Failed)
    }

    /// Whether the buyer has done their part, so that they need not buy the same things again.
    pub const fn is_bought(self) -> bool {
        matches!(
            self,
            Self::Processing | Self::Review | Self::Reserved | Self::Paid | Self::Refunded
        )
    }

    /// Whether the page may stop asking: what follows (a refund) takes longer than seconds.
    pub const fn is_settled(self) -> bool {
        matches!(self, Self::Paid | Self::Canceled | Self::Refunded)
    }

    /// The heading for the buyer.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Pending => "Waiting for your payment",
            Self::Processing => "Your payment is on its way",
            Self::Failed => "The payment did not go through",
            Self::Review => "We are checking your payment",
            Self::Reserved => "Reserved for you. Thank you!",
            Self::Paid => "Paid. Thank you!",
            Self::Canceled => "Order canceled",
            Self::Refunded => "Refunded",
        }
    }

    /// One sentence for the buyer.
    pub const fn explanation(self) -> &'static str {
        match self {
            Self::Pending => "As soon as it arrives, this page says so by itself.",
            Self::Processing => {
                "Your bank has not confirmed it yet. A bank debit takes some days. This page changes by itself when the bank does; you may also close it, and need not pay again."
            }
            Self::Failed => {
                "Nothing was charged. You can try again, with the same card or another."
            }
            Self::Review => {
                "Something about it needs a person\u{2019}s look. You need not do anything; please do not pay again."
            }
            Self::Reserved => {
                "Nothing is charged yet: your bank keeps the money for us, and we take it when everything is ready to leave. Until then nothing is shipped."
            }
            Self::Paid => "We are packing your things now.",
            Self::Canceled => "Nothing was charged.",
            Self::Refunded => "Your money is on its way back to you.",
        }
    }
}

/// The part of an order's id that a log may show: enough to find it, too little to open its page.
pub(crate) fn short(id: &str) -> &str {
    id.get(..8).unwrap_or(id)
}

/// An order as the buyer sees it.
#[derive(Debug, Clone)]
pub struct Order {
    /// The id, 128 random bits: anyone who knows it may see the order.
    pub id: String,
    /// Its status.
    pub status: Status,
    /// The total, as it was computed when the order was created.
    pub total: Amount,
    /// The PaymentIntent that pays it, once there is one.
    pub payment_intent: Option<String>,
    /// Whether something in it is made to order. Its money is then only authorised until it is
    /// ready.
    pub on_order: bool,
    /// Until when the authorised money can be captured, in seconds since 1970, UTC.
    ///
    /// 0 if Stripe does not say; `None` if the time is not known.
    pub capture_before: Option<i64>,
    /// The amount that the PaymentIntent charged. It is less than the total after a partial
    /// capture.
    pub charged: Option<Amount>,
    /// The refunds, the oldest first: those that arrived, are on their way, or did not arrive.
    pub refunds: Vec<OrderRefund>,
    /// The ordered articles.
    pub items: Vec<OrderItem>,
    /// The shipments: none, or one.
    pub shipments: Vec<Shipment>,
    /// When it was created, in seconds since 1970, UTC.
    pub created: i64,
}

/// One line of an order.
#[derive(Debug, Clone)]
pub struct OrderItem {
    /// The article.
    pub sku: String,
    /// Its name when it was ordered.
    pub name: String,
    /// The quantity.
    pub quantity: u64,
    /// The price of one when it was ordered.
    pub unit: Amount,
}

/// Money that goes back to the buyer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderRefund {
    /// Its id at Stripe, like `re_…`.
    pub id: String,
    /// The refunded amount.
    pub amount: Amount,
    /// Its status.
    pub status: RefundStatus,
    /// The reason that was given when the refund was created.
    pub reason: Option<String>,
    /// The reason of a failure, as Stripe gives it.
    pub failure_reason: Option<String>,
    /// When the shop recorded it, in seconds since 1970, UTC; 0 if the time was not recorded.
    pub created: i64,
}

impl OrderRefund {
    /// The text for the buyer.
    pub fn for_buyer(&self) -> &'static str {
        match self.status {
            RefundStatus::Succeeded => "Went back to you",
            RefundStatus::RequiresAction => {
                "Waits for you: look at the e-mail from our payment provider"
            }
            RefundStatus::Failed | RefundStatus::Canceled => {
                "Could not be given back this way; we will find another one"
            }
            _ => "On its way back to you",
        }
    }
}

/// A parcel.
#[derive(Debug, Clone)]
pub struct Shipment {
    /// Its number.
    pub id: i64,
    /// When it was recorded, in seconds since 1970, UTC.
    pub created: i64,
}

impl Order {
    /// How long ago it was created.
    pub fn age(&self) -> Duration {
        let created = Duration::from_secs(self.created.max(0).unsigned_abs());
        UNIX_EPOCH
            .elapsed()
            .unwrap_or_default()
            .saturating_sub(created)
    }

    /// The body of `GET /api/orders/{id}`.
    ///
    /// The amount is in minor units, and the currency in lower case, as in Stripe's own API.
    pub fn to_json(&self) -> Value {
        let shipments: Vec<Value> = self
            .shipments
            .iter()
            .map(|shipment| json!({"id": shipment.id, "created": shipment.created}))
            .collect();
        json!({
            "id": self.id,
            "status": self.status.as_str(),
            "amount": self.total.minor(),
            "currency": self.total.currency().code(),
            "payment_intent": self.payment_intent,
            "shipments": shipments,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_survives_the_database() {
        for status in Status::ALL {
            assert_eq!(Status::parse(status.as_str()), Some(status));
            assert!(!(status.can_be_paid() && status.is_settled()));
        }
        assert_eq!(Status::parse("Paid"), None);
    }
}
