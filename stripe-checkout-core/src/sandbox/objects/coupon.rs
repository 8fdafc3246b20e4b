//! Coupons and promotion codes: <https://docs.stripe.com/api/coupons>, <https://docs.stripe.com/api/promotion_codes>.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::currency::Currency;

/// What is taken off.
#[derive(Debug, Clone, Copy)]
pub(in crate::sandbox) enum Off {
    /// Hundredths of a per cent.
    BasisPoints(u64),
    Amount(u64, Currency),
}

/// A reduction.
#[derive(Debug, Clone)]
pub(in crate::sandbox) struct Coupon {
    pub(in crate::sandbox) id: String,
    pub(in crate::sandbox) account: Option<String>,
    pub(in crate::sandbox) created: i64,
    pub(in crate::sandbox) off: Off,
    pub(in crate::sandbox) duration: &'static str,
    pub(in crate::sandbox) duration_in_months: Option<u64>,
    pub(in crate::sandbox) name: Option<String>,
    pub(in crate::sandbox) max_redemptions: Option<u64>,
    pub(in crate::sandbox) metadata: BTreeMap<String, String>,
    pub(in crate::sandbox) times_redeemed: u64,
}

impl Coupon {
    /// What it takes off so much of this currency; nothing, if it is of another one.
    pub(in crate::sandbox) fn takes_off(&self, subtotal: u64, currency: Currency) -> u64 {
        match self.off {
            Off::BasisPoints(points) => super::checkout_session::share(subtotal, points),
            Off::Amount(amount, of) if of == currency => amount.min(subtotal),
            Off::Amount(..) => 0,
        }
    }

    pub(in crate::sandbox) fn is_used_up(&self) -> bool {
        self.max_redemptions
            .is_some_and(|most| self.times_redeemed >= most)
    }

    pub(in crate::sandbox) fn render(&self) -> Value {
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

/// What a buyer types in for a coupon.
#[derive(Debug, Clone)]
pub(in crate::sandbox) struct PromotionCode {
    pub(in crate::sandbox) id: String,
    pub(in crate::sandbox) account: Option<String>,
    pub(in crate::sandbox) created: i64,
    pub(in crate::sandbox) code: String,
    pub(in crate::sandbox) coupon: String,
    pub(in crate::sandbox) active: bool,
    pub(in crate::sandbox) max_redemptions: Option<u64>,
    pub(in crate::sandbox) metadata: BTreeMap<String, String>,
    pub(in crate::sandbox) times_redeemed: u64,
}

impl PromotionCode {
    pub(in crate::sandbox) fn is_used_up(&self) -> bool {
        self.max_redemptions
            .is_some_and(|most| self.times_redeemed >= most)
    }

    pub(in crate::sandbox) fn render(&self) -> Value {
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
