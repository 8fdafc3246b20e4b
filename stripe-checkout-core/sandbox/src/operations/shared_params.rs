//! Parameters that several routes have.

use std::{collections::BTreeMap, str::FromStr};

use serde_json::{Value, json};

use super::super::{
    api_error::ApiError,
    objects::{charge::DESCRIPTOR_PREFIX, checkout_session::step, payment_intent::PaymentIntent},
    params::{MetadataChange, Params},
};
use stripe_checkout_core::Currency;

/// Most cards take twelve digits.
const MAX_AMOUNT: u64 = 999_999_999_999;
const MAX_METADATA: usize = 50;

/// What Stripe knows and the sandbox does nothing with: they change how real money moves, not what a client sees.
pub(crate) const IGNORED: &[&str] = &[
    "allowed_payment_method_types",
    "amount_details",
    "customer_account",
    "excluded_payment_method_types",
    "hooks",
    "mandate",
    "payment_details",
    "payment_method_configuration",
    "payment_method_options",
    "radar_options",
];

pub(crate) fn currency(params: &mut Params) -> Result<Option<Currency>, ApiError> {
    let Some(text) = params.text("currency")? else {
        return Ok(None);
    };
    Currency::from_str(&text)
        .ok()
        .filter(|currency| currency.is_known())
        .map(Some)
        .ok_or_else(|| {
            let known: Vec<&str> = Currency::KNOWN.iter().map(Currency::code).collect();
            ApiError::invalid(format!(
                "Invalid currency: {}. Stripe currently supports these currencies: {}",
                text.to_lowercase(),
                known.join(", ")
            ))
            .param("currency")
        })
}

/// Stripe's limits for what one payment may come to. The sandbox settles every currency in itself, so the minimum is that of the payment's own currency.
pub(crate) fn check_amount(amount: u64, currency: Currency) -> Result<(), ApiError> {
    if amount > MAX_AMOUNT {
        return Err(ApiError::invalid(format!(
            "Amount must be no more than {}",
            written(MAX_AMOUNT, currency)
        ))
        .code("amount_too_large")
        .param("amount"));
    }
    if let Some(minimum) = currency.minimum()
        && amount < minimum.minor()
    {
        return Err(ApiError::invalid(format!(
            "Amount must be at least {}",
            written(minimum.minor(), currency)
        ))
        .code("amount_too_small")
        .param("amount"));
    }
    check_steps(amount, currency)
}

/// Refuses an amount between two steps of its currency.
pub(crate) fn check_steps(amount: u64, currency: Currency) -> Result<(), ApiError> {
    let step = step(currency);
    if !amount.is_multiple_of(step) {
        return Err(ApiError::invalid(format!(
            "Invalid amount: amounts in {} must be a multiple of {step}",
            currency.code()
        ))
        .code("parameter_invalid_integer")
        .param("amount"));
    }
    Ok(())
}

/// `0.50 eur`.
pub(crate) fn written(amount: u64, currency: Currency) -> String {
    format!(
        "{} {}",
        stripe_checkout_core::Amount::new(amount, currency).to_major(),
        currency.code()
    )
}

/// New metadata is added to the old; an empty value takes its key away.
pub(crate) fn merge_metadata(
    metadata: &mut BTreeMap<String, String>,
    change: Option<MetadataChange>,
) -> Result<(), ApiError> {
    let Some(change) = change else {
        metadata.clear();
        return Ok(());
    };
    let mut merged = metadata.clone();
    for (key, value) in change {
        match value {
            Some(value) => merged.insert(key, value),
            None => merged.remove(&key),
        };
    }
    if merged.len() > MAX_METADATA {
        return Err(ApiError::invalid(format!(
            "Metadata can have up to {MAX_METADATA} keys, but you passed in {}.",
            merged.len()
        ))
        .param("metadata"));
    }
    *metadata = merged;
    Ok(())
}

/// What may be set when an intent is made, updated or confirmed.
#[derive(Debug, Default)]
pub(crate) struct Details {
    metadata: Option<Option<MetadataChange>>,
    description: Option<Option<String>>,
    receipt_email: Option<Option<String>>,
    shipping: Option<Option<Value>>,
    statement_descriptor: Option<Option<String>>,
    statement_descriptor_suffix: Option<Option<String>>,
    setup_future_usage: Option<Option<&'static str>>,
    customer: Option<Option<String>>,
    transfer_group: Option<Option<String>>,
    transfer_data: Option<Option<Value>>,
    application_fee_amount: Option<u64>,
}

impl Details {
    /// Those of creation and update.
    pub(crate) fn read(params: &mut Params) -> Result<Self, ApiError> {
        let mut details = Self::read_for_confirmation(params)?;
        details.metadata = params.metadata()?;
        details.description = params.setting_up_to("description", 1000)?;
        details.statement_descriptor = descriptor(params, "statement_descriptor")?;
        details.statement_descriptor_suffix = descriptor(params, "statement_descriptor_suffix")?;
        details.customer = params.setting("customer")?;
        details.transfer_group = params.setting("transfer_group")?;
        details.transfer_data = params.echo("transfer_data")?;
        details.application_fee_amount = params.integer("application_fee_amount", 0)?;
        Ok(details)
    }

    /// The few that a confirmation may set too.
    pub(crate) fn read_for_confirmation(params: &mut Params) -> Result<Self, ApiError> {
        let receipt_email = params.setting_up_to("receipt_email", 800)?;
        if let Some(Some(email)) = &receipt_email
            && !looks_like_email(email)
        {
            return Err(ApiError::invalid(format!("Invalid email address: {email}"))
                .code("email_invalid")
                .param("receipt_email"));
        }
        let shipping = match params.group("shipping")? {
            None => None,
            Some(None) => Some(None),
            Some(Some(group)) => Some(Some(read_shipping(group)?)),
        };
        // An empty one unsets it.
        let setup_future_usage = match params.is_text("setup_future_usage") {
            true if params.is_empty_text("setup_future_usage") => {
                params.accept(&["setup_future_usage"]);
                Some(None)
            }
            _ => params
                .choice("setup_future_usage", &["off_session", "on_session"])?
                .map(Some),
        };
        Ok(Self {
            receipt_email,
            shipping,
            setup_future_usage,
            ..Self::default()
        })
    }

    /// The customer that is named.
    pub(crate) fn customer(&self) -> Option<&str> {
        self.customer.as_ref()?.as_deref()
    }

    pub(crate) fn apply(self, intent: &mut PaymentIntent) -> Result<(), ApiError> {
        if let Some(change) = self.metadata {
            merge_metadata(&mut intent.metadata, change)?;
        }
        set(&mut intent.description, self.description);
        set(&mut intent.receipt_email, self.receipt_email);
        set(&mut intent.shipping, self.shipping);
        set(&mut intent.statement_descriptor, self.statement_descriptor);
        set(
            &mut intent.statement_descriptor_suffix,
            self.statement_descriptor_suffix,
        );
        set(&mut intent.setup_future_usage, self.setup_future_usage);
        set(&mut intent.customer, self.customer);
        set(&mut intent.transfer_group, self.transfer_group);
        set(&mut intent.transfer_data, self.transfer_data);
        set(
            &mut intent.application_fee_amount,
            self.application_fee_amount.map(Some),
        );
        Ok(())
    }
}

fn set<T>(field: &mut Option<T>, given: Option<Option<T>>) {
    if let Some(value) = given {
        *field = value;
    }
}

/// An address that mail can be sent to: ASCII, a host with a dot, and no empty part.
pub(crate) fn looks_like_email(text: &str) -> bool {
    let parts_are_whole = |text: &str| text.split('.').all(|part| !part.is_empty());
    text.bytes().all(|byte| byte.is_ascii_graphic())
        && text.split_once('@').is_some_and(|(user, host)| {
            parts_are_whole(user)
                && parts_are_whole(host)
                && host.contains('.')
                && !host.contains('@')
        })
}

/// Stripe's rules for the whole line of the bank statement. A suffix follows the account's prefix
/// and `* `, and has a letter of its own.
fn descriptor(params: &mut Params, name: &str) -> Result<Option<Option<String>>, ApiError> {
    let given = params.setting(name)?;
    let Some(Some(text)) = &given else {
        return Ok(given);
    };
    let before = match name {
        "statement_descriptor_suffix" => DESCRIPTOR_PREFIX.len() + "* ".len(),
        _ => 0,
    };
    let length = before + text.chars().count();
    let fault = if length > 22 {
        Some("must be at most 22 characters, with the account's prefix")
    } else if length < 5 {
        Some("must be at least 5 characters, with the account's prefix")
    } else if text.contains(['<', '>', '\\', '\'', '"', '*']) {
        Some("must not contain any of < > \\ ' \" *")
    } else if !text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        Some("must contain only Latin characters")
    } else if !text.bytes().any(|byte| byte.is_ascii_alphabetic()) {
        Some("must contain at least one letter")
    } else {
        None
    };
    match fault {
        None => Ok(given),
        Some(fault) => Err(
            ApiError::invalid(format!("The statement descriptor {fault}."))
                .code("invalid_statement_descriptor")
                .param(name),
        ),
    }
}

fn read_shipping(mut group: Params) -> Result<Value, ApiError> {
    let name = group.required_text("name")?;
    let address = match group.group("address")? {
        Some(Some(address)) => read_address(address)?,
        _ => return Err(group.missing("address")),
    };
    let shipping = json!({
        "address": address,
        "carrier": group.setting("carrier")?.flatten(),
        "name": name,
        "phone": group.setting("phone")?.flatten(),
        "tracking_number": group.setting("tracking_number")?.flatten(),
    });
    group.finish()?;
    Ok(shipping)
}

pub(crate) fn read_address(mut group: Params) -> Result<Value, ApiError> {
    let address = json!({
        "city": group.setting("city")?.flatten(),
        "country": group.setting("country")?.flatten(),
        "line1": group.setting("line1")?.flatten(),
        "line2": group.setting("line2")?.flatten(),
        "postal_code": group.setting("postal_code")?.flatten(),
        "state": group.setting("state")?.flatten(),
    });
    group.finish()?;
    Ok(address)
}
