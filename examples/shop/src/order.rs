//! An order, and the states that it goes through.

use std::time::{Duration, UNIX_EPOCH};

use serde_json::{Value, json};
use stripe_checkout_core::{Amount, webhook::RefundStatus};

/// Where an order stands. Only the payment's events move it (see `fulfil.rs`), never a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Made, not paid.
    Pending,
    /// The buyer has done their part; the bank takes its time.
    Processing,
    /// The last try failed. The buyer may try again.
    Failed,
    /// Money came that does not fit the order: a person has to look.
    Review,
    /// Authorised: the bank keeps the money for the shop, which takes it when everything is ready.
    Reserved,
    /// Paid. The shipment is written.
    Paid,
    /// The payment was canceled; nothing was taken.
    Canceled,
    /// Paid, and given back in full.
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

    /// Whether the buyer has done their part, so that the same things need not be bought again.
    pub const fn is_bought(self) -> bool {
        matches!(
            self,
            Self::Processing | Self::Review | Self::Reserved | Self::Paid | Self::Refunded
        )
    }

    /// Whether the page may stop asking: what follows (a refund) is not a matter of seconds.
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

/// As much of an order's id as a log may show: enough to find it, too little to open its page.
pub(crate) fn short(id: &str) -> &str {
    id.get(..8).unwrap_or(id)
}

/// An order as the buyer sees it.
#[derive(Debug, Clone)]
pub struct Order {
    /// 128 random bits: who knows the id may see the order.
    pub id: String,
    /// Where it stands.
    pub status: Status,
    /// What it costs, as it was computed when it was made.
    pub total: Amount,
    /// The PaymentIntent that paid it, once there is one.
    pub payment_intent: Option<String>,
    /// Whether something in it is not ready yet: then its money is only reserved until it is.
    pub on_order: bool,
    /// Until when reserved money can be taken, in seconds since 1970, UTC; none if it is not known.
    pub capture_before: Option<i64>,
    /// What was charged by that PaymentIntent: after a part of reserved money was taken, less than the total.
    pub charged: Option<Amount>,
    /// What went back of it, is on its way back, or was to: the oldest first.
    pub refunds: Vec<OrderRefund>,
    /// What was ordered.
    pub items: Vec<OrderItem>,
    /// What left the house: none, or one.
    pub shipments: Vec<Shipment>,
    /// When it was made, in seconds since 1970, UTC.
    pub created: i64,
}

/// One line of an order.
#[derive(Debug, Clone)]
pub struct OrderItem {
    /// The article.
    pub sku: String,
    /// Its name when it was ordered.
    pub name: String,
    /// How many.
    pub quantity: u64,
    /// The price of one when it was ordered.
    pub unit: Amount,
}

/// Money that goes back to the buyer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderRefund {
    /// Its id at Stripe, like `re_…`.
    pub id: String,
    /// How much.
    pub amount: Amount,
    /// Where it stands.
    pub status: RefundStatus,
    /// Why, as whoever made it said.
    pub reason: Option<String>,
    /// Why it failed, as Stripe says.
    pub failure_reason: Option<String>,
    /// When the shop heard of it, in seconds since 1970, UTC; 0 if that was not written down.
    pub created: i64,
}

impl OrderRefund {
    /// What the buyer reads of it.
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
    /// When it was written, in seconds since 1970, UTC.
    pub created: i64,
}

impl Order {
    /// How long ago it was made.
    pub fn age(&self) -> Duration {
        let created = Duration::from_secs(self.created.max(0).unsigned_abs());
        UNIX_EPOCH
            .elapsed()
            .unwrap_or_default()
            .saturating_sub(created)
    }

    /// The body of `GET /api/orders/{id}`. The amount is in minor units, the currency in lower case, as in Stripe's own API.
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
