//! The Checkout Session: <https://docs.stripe.com/api/checkout/sessions/object>.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::super::form::Tree;
use stripe_checkout_core::Currency;

/// The sandbox's tax in hundredths of a per cent, the same for all goods and countries.
pub(crate) const TAX: u64 = 10_00;

/// The status of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SessionStatus {
    Open,
    Complete,
    Expired,
}

impl SessionStatus {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Complete => "complete",
            Self::Expired => "expired",
        }
    }
}

/// One line item.
#[derive(Debug, Clone)]
pub(crate) struct Item {
    pub(crate) id: String,
    pub(crate) price: String,
    pub(crate) product: String,
    pub(crate) name: String,
    pub(crate) description: Option<String>,
    pub(crate) unit_amount: u64,
    pub(crate) quantity: u64,
    pub(crate) tax_behavior: &'static str,
    pub(crate) metadata: BTreeMap<String, String>,
    pub(crate) images: Vec<String>,
    pub(crate) product_metadata: BTreeMap<String, String>,
    pub(crate) tax_code: Option<String>,
}

impl Item {
    pub(crate) fn amount(&self) -> u64 {
        self.unit_amount.saturating_mul(self.quantity)
    }
}

/// One shipping option.
#[derive(Debug, Clone)]
pub(crate) struct Shipping {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) amount: u64,
    pub(crate) delivery_estimate: Option<Value>,
    pub(crate) tax_behavior: &'static str,
    pub(crate) metadata: BTreeMap<String, String>,
    pub(crate) tax_code: Option<String>,
}

/// A discount, and the coupon and promotion code that give it.
#[derive(Debug, Clone)]
pub(crate) struct Discount {
    pub(crate) coupon: String,
    pub(crate) promotion_code: Option<String>,
    pub(crate) amount: u64,
}

/// The total that the buyer pays, and its parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) subtotal: u64,
    pub(crate) discount: u64,
    pub(crate) shipping: u64,
    pub(crate) tax: u64,
    pub(crate) total: u64,
}

/// One Checkout Session.
#[derive(Debug, Clone)]
pub(crate) struct CheckoutSession {
    pub(crate) id: String,
    pub(crate) account: Option<String>,
    pub(crate) created: i64,
    pub(crate) expires_at: i64,
    /// The address of the sandbox.
    pub(crate) base: String,
    pub(crate) client_secret: String,
    pub(crate) embedded: bool,
    pub(crate) status: SessionStatus,
    /// Whether the money has arrived.
    pub(crate) paid: bool,
    /// Whether it was completed with money that was authorised but not captured.
    pub(crate) authorised: bool,
    pub(crate) currency: Currency,
    pub(crate) items: Vec<Item>,
    pub(crate) shipping_options: Vec<Shipping>,
    /// The chosen shipping option.
    pub(crate) shipping: Option<usize>,
    pub(crate) discount: Option<Discount>,
    pub(crate) allow_promotion_codes: Option<bool>,
    pub(crate) automatic_tax: bool,
    pub(crate) payment_method_types: Vec<String>,
    /// Whether the request listed the types. Otherwise they are chosen automatically.
    pub(crate) types_are_listed: bool,
    pub(crate) success_url: Option<String>,
    pub(crate) cancel_url: Option<String>,
    pub(crate) return_url: Option<String>,
    pub(crate) redirect_on_completion: &'static str,
    pub(crate) client_reference_id: Option<String>,
    pub(crate) customer: Option<String>,
    pub(crate) customer_email: Option<String>,
    /// Whether the billing address is saved on the customer.
    pub(crate) saves_address: bool,
    /// Whether the shipping address is saved on the customer.
    pub(crate) saves_shipping: bool,
    /// The details that the buyer entered.
    pub(crate) customer_details: Option<Value>,
    pub(crate) shipping_details: Option<Value>,
    pub(crate) countries: Vec<String>,
    pub(crate) phone_number: bool,
    pub(crate) metadata: BTreeMap<String, String>,
    /// `payment_intent_data`.
    pub(crate) intent_data: Tree,
    pub(crate) payment_intent: Option<String>,
    /// Fields that the session only shows again.
    pub(crate) echo: Map<String, Value>,
}

/// Returns this many hundredths of a per cent of an amount.
///
/// It rounds to the nearest step of the currency.
pub(crate) fn share(amount: u64, basis_points: u64, currency: Currency) -> u64 {
    let step = u128::from(step(currency));
    let exact = u128::from(amount) * u128::from(basis_points);
    let share = (exact + 5_000 * step) / (10_000 * step) * step;
    u64::try_from(share).unwrap_or(u64::MAX)
}

/// Returns Stripe's smallest step in this currency, in minor units.
///
/// ISK and UGX use whole units, and in currencies with three decimals the last digit is zero.
pub(crate) fn step(currency: Currency) -> u64 {
    match currency {
        Currency::ISK | Currency::UGX => 100,
        Currency::BHD | Currency::JOD | Currency::KWD | Currency::OMR | Currency::TND => 10,
        _ => 1,
    }
}

impl CheckoutSession {
    pub(crate) fn totals(&self) -> Totals {
        let items = self.items.iter().map(Item::amount);
        let subtotal = items.fold(0, u64::saturating_add);
        let discount = self.discount.as_ref().map_or(0, |discount| discount.amount);
        let chosen = self.shipping.and_then(|at| self.shipping_options.get(at));
        let shipping = chosen.map_or(0, |option| option.amount);
        let included = self
            .items
            .iter()
            .filter(|item| item.tax_behavior == "inclusive");
        let included = included.map(Item::amount).fold(0, u64::saturating_add);
        let (mut tax, mut added) = (0, 0);
        if self.automatic_tax {
            let inside = |amount: u64| amount - share_without(amount);
            let reduced = |part: u64| part - proportion(discount, part, subtotal);
            let share = |amount| share(amount, TAX, self.currency);
            added = share(reduced(subtotal - included));
            tax = added + inside(reduced(included));
            match chosen {
                Some(option) if option.tax_behavior == "inclusive" => tax += inside(shipping),
                _ => {
                    added += share(shipping);
                    tax += share(shipping);
                }
            }
        }
        Totals {
            subtotal,
            discount,
            shipping,
            tax,
            total: (subtotal - discount)
                .saturating_add(shipping)
                .saturating_add(added),
        }
    }

    /// Returns the page's address.
    pub(crate) fn page(&self) -> String {
        format!("{}/sandbox/checkout/{}", self.base, self.page_name())
    }

    /// Returns the name of the page in its address. The address of an embedded page stays secret.
    pub(crate) fn page_name(&self) -> &str {
        if self.embedded {
            &self.client_secret
        } else {
            &self.id
        }
    }

    /// Returns where the buyer goes after paying.
    pub(crate) fn after(&self) -> Option<String> {
        let address = self.success_url.as_ref().or(self.return_url.as_ref())?;
        Some(address.replace("{CHECKOUT_SESSION_ID}", &self.id))
    }

    pub(crate) fn render(&self) -> Value {
        let totals = self.totals();
        let open = self.status == SessionStatus::Open;
        let payment_status = match (self.paid, totals.total) {
            (true, _) => "paid",
            (false, 0) => "no_payment_required",
            (false, _) => "unpaid",
        };
        let shipping_cost = self
            .shipping
            .and_then(|at| self.shipping_options.get(at))
            .map(|option| {
                let tax = match (self.automatic_tax, option.tax_behavior) {
                    (true, "inclusive") => option.amount - share_without(option.amount),
                    (true, _) => share(option.amount, TAX, self.currency),
                    _ => 0,
                };
                let added = if option.tax_behavior == "inclusive" {
                    0
                } else {
                    tax
                };
                json!({
                    "amount_subtotal": option.amount,
                    "amount_tax": tax,
                    "amount_total": option.amount + added,
                    "shipping_rate": option.id,
                })
            });
        let discounts: Vec<Value> = self
            .discount
            .iter()
            .map(|discount| match &discount.promotion_code {
                Some(code) => json!({ "coupon": null, "promotion_code": code }),
                None => json!({ "coupon": discount.coupon, "promotion_code": null }),
            })
            .collect();
        let shipping_options: Vec<Value> = self
            .shipping_options
            .iter()
            .map(|option| json!({ "shipping_amount": option.amount, "shipping_rate": option.id }))
            .collect();
        let shipping_address =
            (!self.countries.is_empty()).then(|| json!({ "allowed_countries": self.countries }));
        let collected = self
            .shipping_details
            .as_ref()
            .map(|details| json!({ "business_name": null, "individual_name": null, "shipping_details": details }));
        let details = self.customer_details.clone().or_else(|| {
            let email = self.customer_email.as_ref()?;
            Some(json!({
                "address": null, "business_name": null, "email": email, "individual_name": null, "name": null, "phone": null,
                "tax_exempt": "none", "tax_ids": null,
            }))
        });
        let mut session = json!({
            "id": self.id,
            "object": "checkout.session",
            "adaptive_pricing": { "enabled": false },
            "after_expiration": null,
            "allowed_payment_method_types": null,
            "allow_promotion_codes": self.allow_promotion_codes,
            "amount_subtotal": totals.subtotal,
            "amount_total": totals.total,
            "automatic_tax": {
                "enabled": self.automatic_tax,
                "liability": self.automatic_tax.then(|| json!({ "type": "self" })),
                "provider": self.automatic_tax.then_some("stripe"),
                "status": self.automatic_tax.then_some("complete"),
            },
            "billing_address_collection": null,
            "cancel_url": self.cancel_url,
            "client_reference_id": self.client_reference_id,
            "client_secret": (self.embedded && open).then_some(&self.client_secret),
            "collected_information": collected,
            "consent": null,
            "consent_collection": null,
            "created": self.created,
            "currency": self.currency.code(),
            "currency_conversion": null,
            "custom_fields": [],
            "custom_text": {
                "after_submit": null, "shipping_address": null, "submit": null, "terms_of_service_acceptance": null,
            },
            "customer": self.customer,
            "customer_account": null,
            "customer_creation": self.customer.is_none().then_some("if_required"),
            "customer_details": details,
            "customer_email": self.customer_email,
            "discounts": discounts,
            "expires_at": self.expires_at,
            "integration_identifier": null,
            "invoice": null,
            "invoice_creation": {
                "enabled": false,
                "invoice_data": {
                    "account_tax_ids": null, "custom_fields": null, "description": null, "footer": null, "issuer": null, "metadata": {},
                    "rendering_options": null,
                },
            },
            "livemode": false,
            "managed_payments": null,
            "locale": null,
            "metadata": self.metadata,
            "mode": "payment",
            "origin_context": null,
            "payment_intent": self.payment_intent,
            "payment_link": null,
            "payment_method_collection": "if_required",
            "payment_method_configuration_details": { "id": "pmc_sandbox000000000000000", "parent": null },
            "payment_method_options": { "card": { "request_three_d_secure": "automatic" } },
            "payment_method_types": self.payment_method_types,
            "payment_status": payment_status,
            "permissions": null,
            "phone_number_collection": { "enabled": self.phone_number },
            "recovered_from": null,
            "saved_payment_method_options": null,
            "setup_intent": null,
            "shipping_address_collection": shipping_address,
            "shipping_cost": shipping_cost,
            "shipping_options": shipping_options,
            "status": self.status.as_str(),
            "submit_type": null,
            "subscription": null,
            "success_url": self.success_url,
            "total_details": {
                "amount_discount": totals.discount,
                "amount_shipping": totals.shipping,
                "amount_tax": totals.tax,
            },
            "ui_mode": if self.embedded { "embedded_page" } else { "hosted_page" },
            "url": (open && !self.embedded).then(|| self.page()),
            "wallet_options": null,
        });
        if let Some(fields) = session.as_object_mut() {
            if self.embedded {
                fields.insert(
                    "redirect_on_completion".to_owned(),
                    json!(self.redirect_on_completion),
                );
                fields.insert("return_url".to_owned(), json!(self.return_url));
            }
            fields.extend(self.echo.clone());
        }
        session
    }

    /// Returns the product of a line item, or the rate of a shipping option, with this id.
    pub(crate) fn part(&self, id: &str) -> Option<Value> {
        let product = self.items.iter().find(|item| item.product == id);
        let rate = self.shipping_options.iter().find(|option| option.id == id);
        product
            .map(|item| self.render_product(item))
            .or_else(|| rate.map(|option| self.render_rate(option)))
    }

    fn render_product(&self, item: &Item) -> Value {
        json!({
            "id": item.product,
            "object": "product",
            "active": false,
            "created": self.created,
            "default_price": null,
            "description": item.description,
            "images": item.images,
            "livemode": false,
            "marketing_features": [],
            "metadata": item.product_metadata,
            "name": item.name,
            "package_dimensions": null,
            "shippable": null,
            "statement_descriptor": null,
            "tax_code": item.tax_code,
            "type": "service",
            "unit_label": null,
            "updated": self.created,
            "url": null,
        })
    }

    fn render_rate(&self, option: &Shipping) -> Value {
        json!({
            "id": option.id,
            "object": "shipping_rate",
            "active": true,
            "created": self.created,
            "delivery_estimate": option.delivery_estimate,
            "display_name": option.name,
            "fixed_amount": { "amount": option.amount, "currency": self.currency.code() },
            "livemode": false,
            "metadata": option.metadata,
            "tax_behavior": option.tax_behavior,
            "tax_code": option.tax_code,
            "type": "fixed_amount",
        })
    }

    /// Renders the line items for one of Stripe's lists.
    pub(crate) fn render_items(&self) -> Vec<Value> {
        let totals = self.totals();
        // The last line takes the rounding remainder of the discount.
        let mut left = totals.discount;
        let last = self.items.len().saturating_sub(1);
        self.items
            .iter()
            .enumerate()
            .map(|(at, item)| {
                let amount = item.amount();
                let discount = match at == last {
                    true => left,
                    false => proportion(totals.discount, amount, totals.subtotal),
                };
                left = left.saturating_sub(discount);
                let reduced = amount.saturating_sub(discount);
                let tax = match (self.automatic_tax, item.tax_behavior) {
                    (true, "inclusive") => reduced - share_without(reduced),
                    (true, _) => share(reduced, TAX, self.currency),
                    _ => 0,
                };
                let added = if item.tax_behavior == "inclusive" {
                    0
                } else {
                    tax
                };
                json!({
                    "id": item.id,
                    "object": "item",
                    "adjustable_quantity": null,
                    "amount_discount": discount,
                    "amount_subtotal": amount,
                    "amount_tax": tax,
                    "amount_total": reduced + added,
                    "currency": self.currency.code(),
                    "description": item.name,
                    "metadata": item.metadata,
                    "price": {
                        "id": item.price,
                        "object": "price",
                        "active": false,
                        "billing_scheme": "per_unit",
                        "created": self.created,
                        "currency": self.currency.code(),
                        "custom_unit_amount": null,
                        "livemode": false,
                        "lookup_key": null,
                        "metadata": {},
                        "nickname": null,
                        "product": item.product,
                        "recurring": null,
                        "tax_behavior": item.tax_behavior,
                        "tiers_mode": null,
                        "transform_quantity": null,
                        "type": "one_time",
                        "unit_amount": item.unit_amount,
                        "unit_amount_decimal": item.unit_amount.to_string(),
                    },
                    "quantity": item.quantity,
                })
            })
            .collect()
    }
}

/// Returns an amount without the tax that it includes.
fn share_without(amount: u64) -> u64 {
    let whole = u128::from(10_000 + TAX);
    let net = (u128::from(amount) * 10_000 + whole / 2) / whole;
    u64::try_from(net).unwrap_or(u64::MAX)
}

/// Returns the share of `whole` for `part` out of `of`, rounded down.
fn proportion(whole: u64, part: u64, of: u64) -> u64 {
    if of == 0 {
        return 0;
    }
    let part = u128::from(whole) * u128::from(part) / u128::from(of);
    u64::try_from(part).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_rounded_once() {
        assert_eq!(share(1999, 10_00, Currency::EUR), 200);
        assert_eq!(share(1994, 10_00, Currency::EUR), 199);
        assert_eq!(share(u64::MAX, 10_000, Currency::EUR), u64::MAX);
        assert_eq!(share(10_500, 10_00, Currency::ISK), 1_100);
        assert_eq!(share(1_250, 10_00, Currency::KWD), 130);
        assert_eq!(share_without(1100), 1000);
        assert_eq!(proportion(100, 1, 3), 33);
        assert_eq!(proportion(100, 0, 0), 0);
    }
}
