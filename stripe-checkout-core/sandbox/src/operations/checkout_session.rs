//! `/v1/checkout/sessions`: <https://docs.stripe.com/api/checkout/sessions>.

use std::collections::BTreeMap;

use http::StatusCode;
use serde_json::{Map, Value, json};

use super::{
    super::{
        api_error::ApiError,
        auth::Caller,
        countries,
        form::Node,
        ids,
        objects::{
            checkout_session::{CheckoutSession, Discount, Item, SessionStatus, Shipping},
            payment_intent::Status,
        },
        params::Params,
        store::{Cause, Store},
    },
    create::{CAPTURE_METHODS, checked_types, eligible_types},
    list::{Page, short_list},
    shared_params::{self, Details, merge_metadata, no_descriptor_for_cards},
};
use stripe_checkout_core::Currency;

const MAX_ITEMS: usize = 100;
const MAX_SHIPPING: usize = 5;
/// The longest and the shortest time for which a session can be paid, in seconds: a day and half an
/// hour.
const LONGEST: i64 = 24 * 60 * 60;
const SHORTEST: i64 = 30 * 60;
const TAX_BEHAVIORS: &[&str] = &["exclusive", "inclusive", "unspecified"];

/// The languages of Stripe's page. The sandbox's page is in English only; the session shows the
/// requested language.
const LOCALES: &[&str] = &[
    "auto", "bg", "cs", "da", "de", "el", "en", "en-GB", "es", "es-419", "et", "fi", "fil", "fr",
    "fr-CA", "hi-IN", "hr", "hu", "id", "it", "ja", "ko", "lt", "lv", "ms", "mt", "nb", "nl", "pl",
    "pt", "pt-BR", "ro", "ru", "sk", "sl", "sv", "th", "tr", "vi", "zh", "zh-HK", "zh-TW",
];

impl Store {
    pub(crate) fn create_session(
        &mut self,
        caller: &Caller,
        mut params: Params,
    ) -> Result<Value, ApiError> {
        let mode = params.choice("mode", &["payment", "setup", "subscription"])?;
        if mode != Some("payment") {
            return Err(ApiError::invalid(
                "The sandbox has Checkout Sessions in payment mode only: send `mode=payment`.",
            )
            .param("mode"));
        }
        let modes = &[
            "hosted_page",
            "embedded_page",
            "hosted",
            "embedded",
            "elements",
            "custom",
            "form",
        ];
        let embedded = match params.choice("ui_mode", modes)? {
            None | Some("hosted_page" | "hosted") => false,
            Some("embedded_page" | "embedded") => true,
            Some(_) => {
                return Err(ApiError::invalid(
                    "The sandbox has the ui_modes hosted_page and embedded_page only.",
                )
                .param("ui_mode"));
            }
        };
        let (items, currency) = self.read_items(&mut params)?;
        let shipping_options = read_shipping_options(&mut params, currency)?;
        let success_url = address(&mut params, "success_url")?;
        let cancel_url = address(&mut params, "cancel_url")?;
        let return_url = address(&mut params, "return_url")?;
        let redirects = &["always", "if_required", "never"];
        let redirect = params.choice("redirect_on_completion", redirects)?;
        let client_reference_id = params.setting_up_to("client_reference_id", 200)?.flatten();
        let customer = params.text("customer")?;
        let customer_email = params.text("customer_email")?;
        shared_params::check_email(customer_email.as_deref(), "customer_email")?;
        let customer_update = CustomerUpdate::read(&mut params)?;
        let change = params.metadata()?;
        let intent_data = params.take_group("payment_intent_data")?;
        let allow_promotion_codes = params.boolean("allow_promotion_codes")?;
        let discounts = params.take_group("discounts")?;
        let automatic_tax = enabled(&mut params, "automatic_tax")?;
        let phone_number = enabled(&mut params, "phone_number_collection")?;
        let countries = match params.group("shipping_address_collection")? {
            Some(Some(mut group)) => {
                let countries = group
                    .list("allowed_countries")?
                    .filter(|countries| !countries.is_empty())
                    .ok_or_else(|| group.missing("allowed_countries"))?;
                group.finish()?;
                check_countries(&countries)?;
                countries
            }
            _ => Vec::new(),
        };
        let now = ids::now();
        let expires_at = match params.integer("expires_at", 0)? {
            None => now.saturating_add(LONGEST),
            Some(given) => {
                let given = i64::try_from(given).unwrap_or(i64::MAX);
                if !(now.saturating_add(SHORTEST)..=now.saturating_add(LONGEST)).contains(&given) {
                    return Err(ApiError::invalid(
                        "The `expires_at` timestamp must be between 30 minutes and 24 hours from Checkout Session creation.",
                    )
                    .param("expires_at"));
                }
                given
            }
        };
        let mut echo = Map::new();
        let submit_types = &["auto", "book", "donate", "pay", "subscribe"];
        for (name, choices) in [("locale", LOCALES), ("submit_type", submit_types)] {
            if let Some(word) = params.choice(name, choices)? {
                echo.insert(name.to_owned(), json!(word));
            }
        }
        let listed_types = params.list("payment_method_types")?;
        params.only("billing_address_collection", "auto")?;
        params.only("customer_creation", "if_required")?;
        for switch in ["adaptive_pricing", "invoice_creation", "tax_id_collection"] {
            params.only_disabled(switch)?;
        }
        params.finish()?;

        let payment_method_types = match listed_types {
            None => {
                let capture = intent_data
                    .as_ref()
                    .and_then(|data| data.get("capture_method"));
                let manual = matches!(capture, Some(Node::Text(method)) if method == "manual");
                eligible_types(currency, manual.then_some("manual"))
            }
            Some(types) => {
                set_types(&mut echo, &types);
                checked_types(types, currency)?
            }
        };
        must_have_addresses(embedded, &success_url, &cancel_url, &return_url, redirect)?;
        if customer.is_some() && customer_email.is_some() {
            return Err(ApiError::invalid(
                "You may only specify one of these parameters: customer, customer_email.",
            )
            .param("customer_email"));
        }
        match (&customer, customer_update) {
            (Some(id), update) => {
                let update = update.unwrap_or_default();
                self.must_know_where_to_tax(caller, id, update, automatic_tax, &countries)?;
            }
            (None, Some(_)) => {
                return Err(ApiError::invalid(
                    "`customer_update` can only be used with `customer` or `customer_account`.",
                ));
            }
            (None, None) => {}
        }
        if allow_promotion_codes == Some(true) && discounts.is_some() {
            return Err(ApiError::invalid(
                "You may only specify one of these parameters: allow_promotion_codes, discounts.",
            )
            .param("discounts"));
        }
        let intent_data = intent_data.unwrap_or_default();
        let types_are_listed = echo.contains_key("payment_method_types");
        check_intent_data(
            caller,
            Params::within(intent_data.clone(), "payment_intent_data"),
            &payment_method_types,
        )?;
        if automatic_tax {
            must_say_if_tax_is_included(&items, &shipping_options)?;
        }
        let mut session = CheckoutSession {
            id: format!("cs_test_a1{}", ids::random(56)),
            account: caller.account.clone(),
            created: now,
            expires_at,
            base: self.url.clone(),
            client_secret: String::new(),
            embedded,
            status: SessionStatus::Open,
            paid: false,
            authorised: false,
            currency,
            items,
            shipping: (!shipping_options.is_empty()).then_some(0),
            shipping_options,
            discount: None,
            allow_promotion_codes,
            automatic_tax,
            payment_method_types,
            types_are_listed,
            success_url,
            cancel_url,
            return_url,
            redirect_on_completion: redirect.unwrap_or("always"),
            client_reference_id,
            customer,
            customer_email,
            saves_address: customer_update.is_some_and(|update| update.address),
            saves_shipping: customer_update.is_some_and(|update| update.shipping),
            customer_details: None,
            shipping_details: None,
            countries,
            phone_number,
            metadata: BTreeMap::new(),
            intent_data,
            payment_intent: None,
            echo,
        };
        session.client_secret = format!("{}_secret_{}", session.id, ids::random(60));
        if let Some(change) = change {
            merge_metadata(&mut session.metadata, change)?;
        }
        if let Some(given) = discounts {
            session.discount = self.given_discount(caller, given, &session)?;
        }
        let total = session.totals().total;
        if total > 0 {
            shared_params::check_amount(total, currency)
                .map_err(|refusal| refusal.param("line_items"))?;
        }
        let rendered = session.render();
        self.sessions.insert(session);
        Ok(rendered)
    }

    /// Checks that Stripe can tax a known customer by the address that is saved on the customer.
    ///
    /// The address must be there already, or the session must save it.
    fn must_know_where_to_tax(
        &self,
        caller: &Caller,
        customer: &str,
        update: CustomerUpdate,
        automatic_tax: bool,
        countries: &[String],
    ) -> Result<(), ApiError> {
        let customer = self.customer(caller, customer, StatusCode::BAD_REQUEST, "customer")?;
        if update.shipping && countries.is_empty() {
            return Err(ApiError::invalid(
                "`customer_update[shipping]` can only be set to `auto` when `shipping_address_collection` is set.",
            )
            .param("customer_update[shipping]"));
        }
        if !automatic_tax {
            return Ok(());
        }
        if !countries.is_empty() && !update.shipping {
            return Err(ApiError::invalid(
                "Automatic tax calculation uses fields saved on the Customer. To collect a shipping address with \
                 `automatic_tax` enabled, set `customer_update[shipping]` to 'auto'.",
            ));
        }
        if customer.tax_address().is_some() || update.address || update.shipping {
            return Ok(());
        }
        Err(ApiError::invalid(
            "Automatic tax calculation in Checkout requires a valid address on the Customer. Add a valid address to the Customer or set either \
             `customer_update[address]` to 'auto' or `customer_update[shipping]` to 'auto' to save the address entered in Checkout to the Customer.",
        )
        .code("customer_tax_location_invalid"))
    }

    /// Reads the line items, all in one currency.
    fn read_items(&self, params: &mut Params) -> Result<(Vec<Item>, Currency), ApiError> {
        let Some(lines) = params.take_group("line_items")? else {
            return Err(params.missing("line_items"));
        };
        if lines.len() > MAX_ITEMS {
            return Err(ApiError::invalid(format!(
                "The sandbox, as Stripe, takes at most {MAX_ITEMS} line items."
            ))
            .param("line_items"));
        }
        let mut items: Vec<(usize, Item)> = Vec::new();
        let mut currency = None;
        for (index, line) in lines {
            let name = format!("line_items[{index}]");
            let (Ok(place), Node::Group(line)) = (index.parse::<usize>(), line) else {
                return Err(ApiError::invalid("Invalid array").param("line_items"));
            };
            let mut line = Params::within(line, &name);
            line.refuse("price")?;
            let Some(Some(mut price)) = line.group("price_data")? else {
                return Err(line.missing("price_data"));
            };
            let of =
                shared_params::currency(&mut price)?.ok_or_else(|| price.missing("currency"))?;
            if *currency.get_or_insert(of) != of {
                return Err(ApiError::invalid(
                    "All line items must have the same currency in `payment` mode.",
                )
                .param(format!("{name}[price_data][currency]")));
            }
            price.refuse("unit_amount_decimal")?;
            let unit_amount = price.required_integer("unit_amount", 0)?;
            shared_params::check_steps(unit_amount, of)
                .map_err(|refusal| refusal.param(format!("{name}[price_data][unit_amount]")))?;
            let tax_behavior = price.choice("tax_behavior", TAX_BEHAVIORS)?;
            price.refuse("product")?;
            let Some(Some(mut product)) = price.group("product_data")? else {
                return Err(price.missing("product_data"));
            };
            let within = format!("{name}[price_data][product_data]");
            let item = Item {
                id: ids::id("li"),
                price: ids::id("price"),
                product: ids::id("prod"),
                name: product.required_text("name")?,
                description: product.text("description")?,
                unit_amount,
                quantity: line.integer("quantity", 1)?.ok_or_else(|| {
                    ApiError::invalid(format!("Quantity is required. Add `quantity` to `{name}`"))
                        .param(format!("{name}[quantity]"))
                })?,
                tax_behavior: tax_behavior.unwrap_or("unspecified"),
                metadata: new_metadata(&mut line)?,
                images: images(&mut product, &within)?,
                product_metadata: new_metadata(&mut product)?,
                tax_code: tax_code(&mut product, &within)?,
            };
            product.finish()?;
            price.finish()?;
            line.finish()?;
            items.push((place, item));
        }
        items.sort_by_key(|(place, _)| *place);
        let items: Vec<Item> = items.into_iter().map(|(_, item)| item).collect();
        match currency {
            Some(currency) => Ok((items, currency)),
            None => Err(params.missing("line_items")),
        }
    }

    /// Reads `discounts`: one coupon, or one promotion code.
    fn given_discount(
        &self,
        caller: &Caller,
        given: super::super::form::Tree,
        session: &CheckoutSession,
    ) -> Result<Option<Discount>, ApiError> {
        if given.len() > 1 {
            return Err(
                ApiError::invalid("You may only specify up to 1 discount.").param("discounts")
            );
        }
        let one = match given.into_iter().next() {
            None => return Ok(None),
            Some((index, Node::Group(one))) if index.parse::<usize>().is_ok() => one,
            Some(_) => return Err(ApiError::invalid("Invalid array").param("discounts")),
        };
        let mut one = Params::within(one, "discounts[0]");
        let account = caller.account.as_deref();
        let coupon = one.text("coupon")?;
        let promotion_code = one.text("promotion_code")?;
        one.finish()?;
        let coupon = match (&coupon, &promotion_code) {
            (Some(coupon), None) => coupon.clone(),
            (None, Some(code)) => {
                let known = self.promotion_codes.get(account, code);
                let known = known.filter(|known| known.active && !known.is_used_up());
                let param = "discounts[0][promotion_code]";
                known.map(|known| known.coupon.clone()).ok_or_else(|| {
                    ApiError::no_such(StatusCode::BAD_REQUEST, "promotion code", code, param)
                })?
            }
            _ => {
                return Err(ApiError::invalid(
                    "You must specify one of these parameters: coupon, promotion_code.",
                )
                .param("discounts[0]"));
            }
        };
        self.discount(account, &coupon, promotion_code, session)
            .map(Some)
            .ok_or_else(|| {
                let param = "discounts[0][coupon]";
                ApiError::no_such(StatusCode::BAD_REQUEST, "coupon", &coupon, param)
            })
    }

    /// Returns the discount of a coupon on this session.
    pub(crate) fn discount(
        &self,
        account: Option<&str>,
        coupon: &str,
        promotion_code: Option<String>,
        session: &CheckoutSession,
    ) -> Option<Discount> {
        let coupon = self.coupons.get(account, coupon)?;
        let subtotal = session.totals().subtotal;
        let amount = coupon.takes_off(subtotal, session.currency);
        (amount > 0 && !coupon.is_used_up()).then(|| Discount {
            coupon: coupon.id.clone(),
            promotion_code,
            amount,
        })
    }

    /// Returns the session, if it belongs to this account.
    fn session_of(&self, caller: &Caller, id: &str) -> Result<&CheckoutSession, ApiError> {
        self.sessions
            .get(caller.account.as_deref(), id)
            .ok_or_else(|| {
                ApiError::no_such(StatusCode::NOT_FOUND, "checkout.session", id, "session")
            })
    }

    pub(crate) fn retrieve_session(
        &mut self,
        caller: &Caller,
        id: &str,
        params: Params,
    ) -> Result<Value, ApiError> {
        params.finish()?;
        Ok(self.session_of(caller, id)?.render())
    }

    pub(crate) fn list_session_items(
        &mut self,
        caller: &Caller,
        id: &str,
        mut params: Params,
    ) -> Result<Value, ApiError> {
        let items = self.session_of(caller, id)?.render_items();
        let url = format!("/v1/checkout/sessions/{id}/line_items");
        let list = short_list(&mut params, &url, "item", items)?;
        params.finish()?;
        Ok(list)
    }

    pub(crate) fn list_sessions(
        &mut self,
        caller: &Caller,
        mut params: Params,
    ) -> Result<Value, ApiError> {
        let page = Page::read(&mut params)?;
        let intent = params.text("payment_intent")?;
        let customer = params.text("customer")?;
        let status = params.choice("status", &["open", "complete", "expired"])?;
        params.finish()?;
        page.render(
            "/v1/checkout/sessions",
            "checkout.session",
            caller,
            &self.sessions,
            |session| {
                (intent.is_none() || session.payment_intent == intent)
                    && (customer.is_none() || session.customer == customer)
                    && status.is_none_or(|status| session.status.as_str() == status)
            },
            CheckoutSession::render,
        )
    }

    pub(crate) fn expire_session(
        &mut self,
        caller: &Caller,
        id: &str,
        params: Params,
    ) -> Result<Value, ApiError> {
        params.finish()?;
        let status = self.session_of(caller, id)?.status;
        if status != SessionStatus::Open {
            return Err(ApiError::invalid(format!(
                "Only Checkout Sessions with a status in [\"open\"] can be expired. This Checkout Session has a status of `{}`.",
                status.as_str()
            ))
            .executed());
        }
        self.end_session(&Cause::request(caller), id);
        Ok(self.session_of(caller, id)?.render())
    }

    /// Expires a session, and cancels its PaymentIntent. Neither can be paid any more.
    pub(crate) fn end_session(&mut self, cause: &Cause, id: &str) {
        let Some(session) = self.sessions.find_mut(id) else {
            return;
        };
        session.status = SessionStatus::Expired;
        let rendered = session.render();
        if let Some(intent) = session.payment_intent.clone()
            && let Some(mut changed) = self.intents.find(&intent).cloned()
            && !matches!(changed.status, Status::Succeeded | Status::Canceled)
        {
            changed.status = Status::Canceled;
            changed.canceled_at = Some(ids::now());
            changed.cancellation_reason = Some("expired");
            self.replace(changed);
            self.emit_intent(cause, "payment_intent.canceled", &intent);
        }
        self.emit(cause, "checkout.session.expired", rendered);
    }

    /// Expires the sessions whose time is over.
    pub(crate) fn end_old_sessions(&mut self) {
        let now = ids::now();
        let old: Vec<(String, Option<String>)> = self
            .sessions
            .iter()
            .filter(|session| session.status == SessionStatus::Open && session.expires_at <= now)
            .map(|session| (session.id.clone(), session.account.clone()))
            .collect();
        for (id, account) in old {
            self.end_session(&Cause::outside(account), &id);
        }
    }
}

/// The parts of the buyer's input that are saved on the customer.
#[derive(Debug, Clone, Copy, Default)]
struct CustomerUpdate {
    address: bool,
    shipping: bool,
}

impl CustomerUpdate {
    fn read(params: &mut Params) -> Result<Option<Self>, ApiError> {
        let Some(Some(mut group)) = params.group("customer_update")? else {
            return Ok(None);
        };
        let mut saves = |name| {
            let choice = group.choice(name, &["auto", "never"])?;
            Ok::<_, ApiError>(choice == Some("auto"))
        };
        let update = Self {
            address: saves("address")?,
            shipping: saves("shipping")?,
        };
        if saves("name")? {
            return Err(ApiError::invalid(
                "The sandbox does not save the name: leave `customer_update[name]` out.",
            )
            .param("customer_update[name]"));
        }
        group.finish()?;
        Ok(Some(update))
    }
}

/// Reads one of Stripe's tax codes: `txcd_` and eight digits.
fn tax_code(params: &mut Params, within: &str) -> Result<Option<String>, ApiError> {
    let Some(code) = params.text("tax_code")? else {
        return Ok(None);
    };
    let digits = code.strip_prefix("txcd_").unwrap_or_default();
    match digits.len() == 8 && digits.bytes().all(|byte| byte.is_ascii_digit()) {
        true => Ok(Some(code)),
        false => Err(ApiError::no_such(
            StatusCode::BAD_REQUEST,
            "tax code",
            &code,
            format!("{within}[tax_code]"),
        )),
    }
}

/// Checks where the buyer goes: a hosted page needs `success_url` and may have `cancel_url`.
///
/// An embedded page needs `return_url`, unless `redirect_on_completion` is `never`.
fn must_have_addresses(
    embedded: bool,
    success_url: &Option<String>,
    cancel_url: &Option<String>,
    return_url: &Option<String>,
    redirect: Option<&str>,
) -> Result<(), ApiError> {
    let unfit = |name: &str, mode: &str| {
        Err(ApiError::invalid(format!(
            "`{name}` is not a valid parameter when `ui_mode` is set to `{mode}`."
        ))
        .param(name))
    };
    match embedded {
        true if success_url.is_some() => unfit("success_url", "embedded_page"),
        true if cancel_url.is_some() => unfit("cancel_url", "embedded_page"),
        true if return_url.is_none() && redirect != Some("never") => Err(ApiError::invalid(
            "Missing required param: return_url, when `ui_mode` is `embedded_page`.",
        )
        .code("parameter_missing")
        .param("return_url")),
        false if return_url.is_some() => unfit("return_url", "hosted_page"),
        false if redirect.is_some() => unfit("redirect_on_completion", "hosted_page"),
        false if success_url.is_none() => {
            Err(ApiError::invalid("Missing required param: success_url.")
                .code("parameter_missing")
                .param("success_url"))
        }
        _ => Ok(()),
    }
}

/// Checks the parameters of the future PaymentIntent before a buyer comes.
fn check_intent_data(
    caller: &Caller,
    mut params: Params,
    types: &[String],
) -> Result<(), ApiError> {
    let details = Details::read_for_session(&mut params)?;
    let capture_method = params.choice("capture_method", CAPTURE_METHODS)?;
    shared_params::on_behalf_of(&mut params)
        .map_err(|refusal| refusal.param("payment_intent_data[on_behalf_of]"))?;
    params.finish()?;
    shared_params::check_capture(types, capture_method.unwrap_or_default())
        .map_err(|refusal| refusal.param("payment_intent_data[capture_method]"))?;
    details
        .check_fee_target(caller)
        .map_err(|refusal| refusal.param("payment_intent_data[application_fee_amount]"))?;
    if details.has_descriptor() && types.iter().any(|kind| kind == "card") {
        return Err(no_descriptor_for_cards(
            "payment_intent_data[statement_descriptor]",
        ));
    }
    Ok(())
}

/// Checks that line items and shipping options have a `tax_behavior`: the sandbox's account has no
/// default.
fn must_say_if_tax_is_included(items: &[Item], options: &[Shipping]) -> Result<(), ApiError> {
    let unspecified = |(name, behavior): (&String, &str)| {
        (behavior == "unspecified").then(|| {
            ApiError::invalid(format!(
                "The price `{name}` does not have a `tax_behavior` set which is required for automatic tax computation. Please visit \
                 https://stripe.com/docs/tax/products-prices-tax-categories-tax-behavior#tax-behavior for more information."
            ))
            .param("automatic_tax[enabled]")
        })
    };
    let prices = items.iter().map(|item| (&item.price, item.tax_behavior));
    let rates = options
        .iter()
        .map(|option| (&option.id, option.tax_behavior));
    match prices.chain(rates).find_map(unspecified) {
        Some(refusal) => Err(refusal),
        None => Ok(()),
    }
}

/// Reads the pictures of a product: up to eight addresses.
fn images(product: &mut Params, within: &str) -> Result<Vec<String>, ApiError> {
    let images = product.list("images")?.unwrap_or_default();
    let is_address = |image: &String| {
        image.starts_with("https://") || image.starts_with("http://") || image.starts_with("data:")
    };
    match images.len() <= 8 && images.iter().all(is_address) {
        true => Ok(images),
        false => Err(
            ApiError::invalid("Invalid images: up to 8 URLs can be given.")
                .param(format!("{within}[images]")),
        ),
    }
}

fn check_countries(countries: &[String]) -> Result<(), ApiError> {
    let unknown = countries
        .iter()
        .enumerate()
        .find(|(_, code)| !countries::can_be_shipped_to(code));
    match unknown {
        None => Ok(()),
        Some((place, code)) => Err(ApiError::invalid(format!(
            "Invalid shipping_address_collection[allowed_countries][{place}]: {code} is not a country code"
        ))
        .param(format!(
            "shipping_address_collection[allowed_countries][{place}]"
        ))),
    }
}

fn set_types(echo: &mut Map<String, Value>, types: &[String]) {
    echo.insert("payment_method_types".to_owned(), json!(types));
    echo.insert(
        "payment_method_configuration_details".to_owned(),
        Value::Null,
    );
}

/// Reads the metadata of a new object.
fn new_metadata(params: &mut Params) -> Result<BTreeMap<String, String>, ApiError> {
    let mut metadata = BTreeMap::new();
    if let Some(change) = params.metadata()? {
        merge_metadata(&mut metadata, change)?;
    }
    Ok(metadata)
}

/// Reads how long a shipping option takes, at least and at most.
fn read_delivery_estimate(rate: &mut Params) -> Result<Option<Value>, ApiError> {
    let Some(Some(mut estimate)) = rate.group("delivery_estimate")? else {
        return Ok(None);
    };
    let mut bounds = Map::new();
    for name in ["maximum", "minimum"] {
        let bound = match estimate.group(name)? {
            Some(Some(mut bound)) => {
                let units = &["business_day", "day", "hour", "month", "week"];
                let unit = bound
                    .choice("unit", units)?
                    .ok_or_else(|| bound.missing("unit"))?;
                let value = bound.required_integer("value", 1)?;
                bound.finish()?;
                json!({ "unit": unit, "value": value })
            }
            _ => Value::Null,
        };
        bounds.insert(name.to_owned(), bound);
    }
    estimate.finish()?;
    Ok(Some(Value::Object(bounds)))
}

/// Reads an address to which a browser can be sent.
fn address(params: &mut Params, name: &str) -> Result<Option<String>, ApiError> {
    let Some(url) = params.text(name)? else {
        return Ok(None);
    };
    let fits = (url.starts_with("https://") || url.starts_with("http://"))
        && url.bytes().all(|byte| byte.is_ascii_graphic())
        && url.len() <= 5000;
    match fits {
        true => Ok(Some(url)),
        false => Err(ApiError::invalid(
            "Not a valid URL, or it has no explicit scheme (such as https).",
        )
        .code("url_invalid")
        .param(name)),
    }
}

/// Reads a group with the switch `enabled`.
fn enabled(params: &mut Params, name: &str) -> Result<bool, ApiError> {
    let Some(Some(mut group)) = params.group(name)? else {
        return Ok(false);
    };
    let enabled = group
        .boolean("enabled")?
        .ok_or_else(|| group.missing("enabled"))?;
    group.finish()?;
    Ok(enabled)
}

fn read_shipping_options(
    params: &mut Params,
    currency: Currency,
) -> Result<Vec<Shipping>, ApiError> {
    let Some(given) = params.take_group("shipping_options")? else {
        return Ok(Vec::new());
    };
    if given.len() > MAX_SHIPPING {
        return Err(ApiError::invalid(format!(
            "You may only specify up to {MAX_SHIPPING} shipping options."
        ))
        .param("shipping_options"));
    }
    let mut options: Vec<(usize, Shipping)> = Vec::new();
    for (index, option) in given {
        let name = format!("shipping_options[{index}]");
        let (Ok(place), Node::Group(option)) = (index.parse::<usize>(), option) else {
            return Err(ApiError::invalid("Invalid array").param("shipping_options"));
        };
        let mut option = Params::within(option, &name);
        option.refuse("shipping_rate")?;
        let Some(Some(mut rate)) = option.group("shipping_rate_data")? else {
            return Err(option.missing("shipping_rate_data"));
        };
        let display_name = rate.required_text("display_name")?;
        rate.choice("type", &["fixed_amount"])?;
        let tax_behavior = rate.choice("tax_behavior", TAX_BEHAVIORS)?;
        let delivery_estimate = read_delivery_estimate(&mut rate)?;
        let Some(Some(mut fixed)) = rate.group("fixed_amount")? else {
            return Err(rate.missing("fixed_amount"));
        };
        let amount = fixed.required_integer("amount", 0)?;
        let of = shared_params::currency(&mut fixed)?.ok_or_else(|| fixed.missing("currency"))?;
        shared_params::check_steps(amount, of).map_err(|refusal| {
            refusal.param(format!("{name}[shipping_rate_data][fixed_amount][amount]"))
        })?;
        fixed.finish()?;
        let metadata = new_metadata(&mut rate)?;
        let tax_code = tax_code(&mut rate, &format!("{name}[shipping_rate_data]"))?;
        rate.finish()?;
        option.finish()?;
        if of != currency {
            return Err(ApiError::invalid(format!(
                "The shipping rate must have the currency of the line items ({}).",
                currency.code()
            ))
            .param(name));
        }
        let shipping = Shipping {
            id: ids::id("shr"),
            name: display_name,
            amount,
            delivery_estimate,
            tax_behavior: tax_behavior.unwrap_or("unspecified"),
            metadata,
            tax_code,
        };
        options.push((place, shipping));
    }
    options.sort_by_key(|(place, _)| *place);
    Ok(options.into_iter().map(|(_, option)| option).collect())
}
