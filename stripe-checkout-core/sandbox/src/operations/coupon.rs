//! `/v1/coupons` and `/v1/promotion_codes`.
//!
//! See <https://docs.stripe.com/api/coupons> and <https://docs.stripe.com/api/promotion_codes>.

use http::StatusCode;
use serde_json::Value;

use super::super::{
    api_error::ApiError,
    auth::Caller,
    ids,
    objects::coupon::{Coupon, Off, PromotionCode},
    params::Params,
    store::Store,
};
use super::shared_params::{self, merge_metadata};
use std::collections::BTreeMap;

/// The codes that exist in every sandbox from the start: the code that the buyer enters, the
/// discount in hundredths of a per cent, and the name.
const READY_MADE: &[(&str, u64, &str)] = &[
    ("SANDBOX10", 1_000, "10 % off"),
    ("SANDBOXFREE", 10_000, "All of it"),
];

impl Store {
    /// Adds the codes that exist in every sandbox.
    pub(crate) fn add_ready_made_codes(&mut self) {
        for (code, points, name) in READY_MADE {
            let coupon = Coupon {
                id: code.to_lowercase(),
                account: None,
                created: ids::now(),
                off: Off::BasisPoints(*points),
                duration: "once",
                duration_in_months: None,
                name: Some((*name).to_owned()),
                max_redemptions: None,
                metadata: BTreeMap::new(),
                times_redeemed: 0,
            };
            self.promotion_codes.insert(PromotionCode {
                id: ids::id("promo"),
                account: None,
                created: ids::now(),
                code: (*code).to_owned(),
                coupon: coupon.id.clone(),
                active: true,
                max_redemptions: None,
                metadata: BTreeMap::new(),
                times_redeemed: 0,
            });
            self.coupons.insert(coupon);
        }
    }

    pub(crate) fn create_coupon(
        &mut self,
        caller: &Caller,
        mut params: Params,
    ) -> Result<Value, ApiError> {
        let id = params.text("id")?.unwrap_or_else(|| ids::random(8));
        let percent = params.text("percent_off")?;
        let amount = params.integer("amount_off", 1)?;
        let currency = shared_params::currency(&mut params)?;
        let durations = &["forever", "once", "repeating"];
        let duration = params.choice("duration", durations)?.unwrap_or("once");
        let duration_in_months = params.integer("duration_in_months", 1)?;
        let name = params.setting_up_to("name", 40)?.flatten();
        let max_redemptions = params.integer("max_redemptions", 1)?;
        let change = params.metadata()?;
        if duration_in_months.is_some() != (duration == "repeating") {
            return Err(ApiError::invalid(
                "`duration_in_months` goes with a `duration` of `repeating`, and with no other.",
            )
            .param("duration_in_months"));
        }
        params.finish()?;
        let off = match (percent, amount, currency) {
            (Some(text), None, _) => Off::BasisPoints(basis_points(&text)?),
            (None, Some(amount), Some(currency)) => Off::Amount(amount, currency),
            (None, Some(_), None) => {
                return Err(
                    ApiError::invalid("Must provide a currency when using amount_off.")
                        .param("currency"),
                );
            }
            _ => {
                return Err(ApiError::invalid(
                    "You must pass either percent_off or amount_off in order to create a coupon.",
                ));
            }
        };
        if self.coupons.get(caller.account.as_deref(), &id).is_some() {
            return Err(ApiError::invalid("Coupon already exists.")
                .code("resource_already_exists")
                .param("id"));
        }
        let mut coupon = Coupon {
            id,
            account: caller.account.clone(),
            created: ids::now(),
            off,
            duration,
            duration_in_months,
            name,
            max_redemptions,
            metadata: BTreeMap::new(),
            times_redeemed: 0,
        };
        if let Some(change) = change {
            merge_metadata(&mut coupon.metadata, change)?;
        }
        let rendered = coupon.render();
        self.coupons.insert(coupon);
        Ok(rendered)
    }

    pub(crate) fn retrieve_coupon(
        &mut self,
        caller: &Caller,
        id: &str,
        params: Params,
    ) -> Result<Value, ApiError> {
        params.finish()?;
        self.coupons
            .get(caller.account.as_deref(), id)
            .map(Coupon::render)
            .ok_or_else(|| ApiError::no_such(StatusCode::NOT_FOUND, "coupon", id, "coupon"))
    }

    pub(crate) fn create_promotion_code(
        &mut self,
        caller: &Caller,
        mut params: Params,
    ) -> Result<Value, ApiError> {
        let Some(Some(mut promotion)) = params.group("promotion")? else {
            return Err(params.missing("promotion"));
        };
        promotion.choice("type", &["coupon"])?;
        let coupon = promotion.required_text("coupon")?;
        promotion.finish()?;
        let code = params
            .text("code")?
            .unwrap_or_else(|| ids::random(8).to_uppercase());
        let active = params.boolean("active")?.unwrap_or(true);
        let max_redemptions = params.integer("max_redemptions", 1)?;
        let change = params.metadata()?;
        params.finish()?;
        let account = caller.account.as_deref();
        if self.coupons.get(account, &coupon).is_none() {
            return Err(ApiError::no_such(
                StatusCode::BAD_REQUEST,
                "coupon",
                &coupon,
                "promotion[coupon]",
            ));
        }
        if active && self.promotion_code(account, &code).is_some() {
            return Err(ApiError::invalid(format!(
                "An active promotion code with `code: {code}` already exists."
            ))
            .param("code"));
        }
        let mut promotion = PromotionCode {
            id: ids::id("promo"),
            account: caller.account.clone(),
            created: ids::now(),
            code,
            coupon,
            active,
            max_redemptions,
            metadata: BTreeMap::new(),
            times_redeemed: 0,
        };
        if let Some(change) = change {
            merge_metadata(&mut promotion.metadata, change)?;
        }
        let rendered = promotion.render();
        self.promotion_codes.insert(promotion);
        Ok(rendered)
    }

    pub(crate) fn retrieve_promotion_code(
        &mut self,
        caller: &Caller,
        id: &str,
        params: Params,
    ) -> Result<Value, ApiError> {
        params.finish()?;
        self.promotion_codes
            .get(caller.account.as_deref(), id)
            .map(PromotionCode::render)
            .ok_or_else(|| {
                ApiError::no_such(
                    StatusCode::NOT_FOUND,
                    "promotion code",
                    id,
                    "promotion_code",
                )
            })
    }

    /// Returns the code that a buyer enters, in upper or lower case, if it can be used.
    pub(crate) fn promotion_code(
        &self,
        account: Option<&str>,
        code: &str,
    ) -> Option<&PromotionCode> {
        self.promotion_codes.newest_first(account).find(|known| {
            known.active && !known.is_used_up() && known.code.eq_ignore_ascii_case(code)
        })
    }
}

/// Reads a percentage like `12.5` as hundredths of a per cent.
fn basis_points(text: &str) -> Result<u64, ApiError> {
    let refused = || {
        ApiError::invalid("Invalid percent_off: must be a number above 0, at most 100, with at most two decimals.")
            .param("percent_off")
    };
    let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
    if decimals.is_empty() || decimals.len() > 2 || !decimals.bytes().all(|b| b.is_ascii_digit()) {
        return Err(refused());
    }
    let whole: u64 = whole.parse().map_err(|_| refused())?;
    let hundredths: u64 = format!("{decimals:0<2}").parse().map_err(|_| refused())?;
    let points = whole.saturating_mul(100).saturating_add(hundredths);
    match points {
        1..=10_000 => Ok(points),
        _ => Err(refused()),
    }
}
