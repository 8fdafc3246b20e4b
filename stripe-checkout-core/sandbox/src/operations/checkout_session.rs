//! `/v1/checkout/sessions`: <https://docs.stripe.com/api/checkout/sessions>.

use std::collections::BTreeMap;

use http::StatusCode;
use serde_json::{Map, Value, json};

use super::{
    super::{
        api_error::ApiError,
        auth::Caller,
        form::Node,
        ids,
        objects::{
            checkout_session::{CheckoutSession, Discount, Item, SessionStatus, Shipping},
            payment_intent::Status,
        },
        params::Params,
        store::{Cause, Store},
    },
    coupon::whole_list,
    create::CAPTURE_METHODS,
    list::Page,
    shared_params::{self, Details, merge_metadata},
};
use stripe_checkout_core::Currency;

const MAX_ITEMS: usize = 100;
const MAX_SHIPPING: usize = 5;
/// A session can be paid for a day, and at least for half an hour, in seconds.
const LONGEST: i64 = 24 * 60 * 60;
const SHORTEST: i64 = 30 * 60;
const TAX_BEHAVIORS: &[&str] = &["exclusive", "inclusive", "unspecified"];

/// What Stripe knows and the sandbox does nothing with.
const IGNORED: &[&str] = &[
    "adaptive_pricing",
    "after_expiration",
    "allowed_payment_method_types",
    "branding_settings",
    "consent_collection",
    "currency",
    "custom_fields",
    "custom_text",
    "customer_account",
    "customer_creation",
    "excluded_payment_method_types",
    "integration_identifier",
    "invoice_creation",
    "managed_payments",
    "name_collection",
    "optional_items",
    "origin_context",
    "payment_method_collection",
    "payment_method_configuration",
    "payment_method_data",
    "payment_method_options",
    "payment_method_types",
    "permissions",
    "saved_payment_method_options",
    "tax_id_collection",
    "wallet_options",
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
        let customer_update = CustomerUpdate::read(&mut params)?;
        let change = params.metadata()?;
        let intent_data = params.take_group("payment_intent_data")?;
        let allow_promotion_codes = params.boolean("allow_promotion_codes")?;
        let discounts = params.take_group("discounts")?;
        let automatic_tax = enabled(&mut params, "automatic_tax", &["liability"])?;
        let phone_number = enabled(&mut params, "phone_number_collection", &[])?;
        let countries = match params.group("shipping_address_collection")? {
            Some(Some(mut group)) => {
                let countries = group.list("allowed_countries")?;
                group.finish()?;
                countries.unwrap_or_default()
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
        for name in ["billing_address_collection", "locale", "submit_type"] {
            if let Some(text) = params.text(name)? {
                echo.insert(name.to_owned(), json!(text));
            }
        }
        for unfit in ["subscription_data", "setup_intent_data"] {
            if params.take_group(unfit)?.is_some() {
                return Err(ApiError::invalid(format!(
                    "You can not pass `{unfit}` in `payment` mode."
                ))
                .param(unfit));
            }
        }
        params.accept(IGNORED);
        params.finish()?;

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
        check_intent_data(Params::within(intent_data.clone(), "payment_intent_data"))?;
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

    /// A known customer is taxed by what is saved on the customer: Stripe wants it there, or leave
    /// to save it.
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
        let is_known = customer.address.is_some() || customer.shipping.is_some();
        if is_known || update.address || update.shipping {
            return Ok(());
        }
        Err(ApiError::invalid(
            "Automatic tax calculation in Checkout requires a valid address on the Customer. Add a valid address to the Customer or set either \
             `customer_update[address]` to 'auto' or `customer_update[shipping]` to 'auto' to save the address entered in Checkout to the Customer.",
        )
        .code("customer_tax_location_invalid"))
    }

    /// The lines, all of one currency.
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
            if let Some(price) = line.text("price")? {
                return Err(ApiError::no_such(
                    StatusCode::BAD_REQUEST,
                    "price",
                    &price,
                    format!("{name}[price]"),
                ));
            }
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
            let unit_amount = price.required_integer("unit_amount", 0)?;
            shared_params::check_steps(unit_amount, of)
                .map_err(|refusal| refusal.param(format!("{name}[price_data][unit_amount]")))?;
            let tax_behavior = price.choice("tax_behavior", TAX_BEHAVIORS)?;
            let product = match price.text("product")? {
                Some(product) => {
                    return Err(ApiError::no_such(
                        StatusCode::BAD_REQUEST,
                        "product",
                        &product,
                        format!("{name}[price_data][product]"),
                    ));
                }
                None => price.group("product_data")?,
            };
            let Some(Some(mut product)) = product else {
                return Err(price.missing("product_data"));
            };
            let item = Item {
                id: ids::id("li"),
                price: ids::id("price"),
                product: ids::id("prod"),
                name: product.required_text("name")?,
                description: product.text("description")?,
                unit_amount,
                quantity: line.integer("quantity", 0)?.unwrap_or(1),
                tax_behavior: tax_behavior.unwrap_or("unspecified"),
                metadata: line
                    .metadata()?
                    .flatten()
                    .unwrap_or_default()
                    .into_iter()
                    .filter_map(|(key, value)| Some((key, value?)))
                    .collect(),
            };
            tax_code(&mut product, &format!("{name}[price_data][product_data]"))?;
            product.accept(&["images", "metadata", "tax_details", "unit_label"]);
            product.finish()?;
            price.finish()?;
            line.accept(&["adjustable_quantity", "dynamic_tax_rates", "tax_rates"]);
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

    /// `discounts`: one coupon, or one promotion code.
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
        let Some((_, Node::Group(one))) = given.into_iter().next() else {
            return Ok(None);
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

    /// What a coupon takes off this session.
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

    /// The session, if it is this account's.
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
        expansions: &[String],
    ) -> Result<Value, ApiError> {
        params.finish()?;
        let session = self.session_of(caller, id)?;
        let mut rendered = session.render();
        // It is in a session only for who asks for it.
        if expansions.iter().any(|path| path.starts_with("line_items"))
            && let Some(fields) = rendered.as_object_mut()
        {
            let url = format!("/v1/checkout/sessions/{id}/line_items");
            let items = whole_list(&url, session.render_items());
            fields.insert("line_items".to_owned(), items);
        }
        Ok(rendered)
    }

    pub(crate) fn list_session_items(
        &mut self,
        caller: &Caller,
        id: &str,
        mut params: Params,
    ) -> Result<Value, ApiError> {
        let limit = params.integer("limit", 1)?.unwrap_or(10);
        params.accept(&["starting_after", "ending_before"]);
        params.finish()?;
        let mut items = self.session_of(caller, id)?.render_items();
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let more = items.len() > limit;
        items.truncate(limit);
        let url = format!("/v1/checkout/sessions/{id}/line_items");
        let mut list = whole_list(&url, items);
        if let Some(fields) = list.as_object_mut() {
            fields.insert("has_more".to_owned(), json!(more));
        }
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
        params.accept(&[
            "customer_account",
            "customer_details",
            "payment_link",
            "subscription",
        ]);
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

    /// Nobody can pay it any more, nor its PaymentIntent.
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

    /// Ends the sessions whose time is over.
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

/// What of the buyer's page is saved on the customer.
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

/// A tax code of Stripe's: `txcd_` and eight digits.
fn tax_code(params: &mut Params, within: &str) -> Result<(), ApiError> {
    let Some(code) = params.text("tax_code")? else {
        return Ok(());
    };
    let digits = code.strip_prefix("txcd_").unwrap_or_default();
    match digits.len() == 8 && digits.bytes().all(|byte| byte.is_ascii_digit()) {
        true => Ok(()),
        false => Err(ApiError::no_such(
            StatusCode::BAD_REQUEST,
            "tax code",
            &code,
            format!("{within}[tax_code]"),
        )),
    }
}

/// Where the buyer goes: two addresses with a hosted page, one with an embedded one.
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

/// What the PaymentIntent will be made with, judged before a buyer comes.
fn check_intent_data(mut params: Params) -> Result<(), ApiError> {
    Details::read(&mut params)?;
    params.choice("capture_method", CAPTURE_METHODS)?;
    params.text("on_behalf_of")?;
    params.finish()
}

/// An address that a browser can be sent to.
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

/// A group with a switch.
fn enabled(params: &mut Params, name: &str, ignored: &[&str]) -> Result<bool, ApiError> {
    let Some(Some(mut group)) = params.group(name)? else {
        return Ok(false);
    };
    let enabled = group.boolean("enabled")?.unwrap_or(false);
    group.accept(ignored);
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
        if let Some(rate) = option.text("shipping_rate")? {
            return Err(ApiError::no_such(
                StatusCode::BAD_REQUEST,
                "shipping rate",
                &rate,
                format!("{name}[shipping_rate]"),
            ));
        }
        let Some(Some(mut rate)) = option.group("shipping_rate_data")? else {
            return Err(option.missing("shipping_rate_data"));
        };
        let display_name = rate.required_text("display_name")?;
        rate.choice("type", &["fixed_amount"])?;
        let tax_behavior = rate.choice("tax_behavior", TAX_BEHAVIORS)?;
        let delivery_estimate = rate.echo("delivery_estimate")?.flatten();
        let Some(Some(mut fixed)) = rate.group("fixed_amount")? else {
            return Err(rate.missing("fixed_amount"));
        };
        let amount = fixed.required_integer("amount", 0)?;
        let of = shared_params::currency(&mut fixed)?.ok_or_else(|| fixed.missing("currency"))?;
        shared_params::check_steps(amount, of).map_err(|refusal| {
            refusal.param(format!("{name}[shipping_rate_data][fixed_amount][amount]"))
        })?;
        fixed.accept(&["currency_options"]);
        fixed.finish()?;
        rate.metadata()?;
        tax_code(&mut rate, &format!("{name}[shipping_rate_data]"))?;
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
        };
        options.push((place, shipping));
    }
    options.sort_by_key(|(place, _)| *place);
    Ok(options.into_iter().map(|(_, option)| option).collect())
}
