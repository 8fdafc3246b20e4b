//! Coupons and promotion codes.
//!
//! See <https://docs.stripe.com/api/coupons> and <https://docs.stripe.com/api/promotion_codes>.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use stripe_checkout_core::Currency;

/// The size of a discount.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Off {
    /// Hundredths of a per cent.
    BasisPoints(u64),
    Amount(u64, Currency),
}

/// A coupon.
#[derive(Debug, Clone)]
pub(crate) struct Coupon {
    pub(crate) id: String,
    pub(crate) account: Option<String>,
    pub(crate) created: i64,
    pub(crate) off: Off,
    pub(crate) duration: &'static str,
    pub(crate) duration_in_months: Option<u64>,
    pub(crate) name: Option<String>,
    pub(crate) max_redemptions: Option<u64>,
    pub(crate) metadata: BTreeMap<String, String>,
    pub(crate) times_redeemed: u64,
}

impl Coupon {
    /// Returns the discount on this subtotal. It is zero if the coupon is in another currency.
    pub(crate) fn takes_off(&self, subtotal: u64, currency: Currency) -> u64 {
        match self.off {
            Off::BasisPoints(points) => super::checkout_session::share(subtotal, points, currency),
            Off::Amount(amount, of) if of == currency => amount.min(subtotal),
            Off::Amount(..) => 0,
        }
    }

    pub(crate) fn is_used_up(&self) -> bool {
        self.max_redemptions
            .is_some_and(|most| self.times_redeemed >= most)
    }

    pub(crate) fn render(&self) -> Value {
        let (amount_off, currency, percent_off) = match self.off {
            Off::Amount(amount, currency) => (Some(amount), Some(currency.code().to_owned()), None),
            #[allow(clippy::cast_precision_loss)] // At most 10000.
            Off::BasisPoints(points) => (None, None, Some(points as f64 / 100.0)),
        };
        json!({
            "id": self.id,
            "object": "coupon",
            "amount_off": amount_off,
            "created": self.created,
            "currency": currency,
            "duration": self.duration,
            "duration_in_months": self.duration_in_months,
            "livemode": false,
            "max_redemptions": self.max_redemptions,
            "metadata": self.metadata,
            "name": self.name,
            "percent_off": percent_off,
            "redeem_by": null,
            "times_redeemed": self.times_redeemed,
            "valid": !self.is_used_up(),
        })
    }
}

/// The code that a buyer enters to use a coupon.
#[derive(Debug, Clone)]
pub(crate) struct PromotionCode {
    pub(crate) id: String,
    pub(crate) account: Option<String>,
    pub(crate) created: i64,
    pub(crate) code: String,
    pub(crate) coupon: String,
    pub(crate) active: bool,
    pub(crate) max_redemptions: Option<u64>,
    pub(crate) metadata: BTreeMap<String, String>,
    pub(crate) times_redeemed: u64,
}

impl PromotionCode {
    pub(crate) fn is_used_up(&self) -> bool {
        self.max_redemptions
            .is_some_and(|most| self.times_redeemed >= most)
    }

    pub(crate) fn render(&self) -> Value {
        json!({
            "id": self.id,
            "object": "promotion_code",
            "active": self.active && !self.is_used_up(),
            "code": self.code,
            "created": self.created,
            "customer": null,
            "customer_account": null,
            "expires_at": null,
            "livemode": false,
            "max_redemptions": self.max_redemptions,
            "metadata": self.metadata,
            "promotion": { "coupon": self.coupon, "type": "coupon" },
            "restrictions": {
                "first_time_transaction": false,
                "minimum_amount": null,
                "minimum_amount_currency": null,
            },
            "times_redeemed": self.times_redeemed,
        })
    }
}
