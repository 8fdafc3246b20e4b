//! Parameters that several routes have.

use std::{collections::BTreeMap, str::FromStr};

use serde_json::{Value, json};

use super::{
    super::{
        api_error::ApiError,
        auth::{Caller, Role},
        countries,
        objects::{
            charge::DESCRIPTOR_PREFIX,
            checkout_session::step,
            payment_intent::{PaymentIntent, Usages},
        },
        params::{MetadataChange, Params},
    },
    method_options::MethodOptionsChange,
};
use stripe_checkout_core::Currency;

/// Most cards take twelve digits.
const MAX_AMOUNT: u64 = 999_999_999_999;
const MAX_METADATA: usize = 50;

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

/// Stripe's limits for the amount of one payment. The sandbox settles every currency in itself, so
/// the minimum is that of the payment's own currency.
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

/// The fields of an intent that a request can set when it creates, updates or confirms it.
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
    method_options: MethodOptionsChange,
}

impl Details {
    /// Those of creation.
    pub(crate) fn read(caller: &Caller, params: &mut Params) -> Result<Self, ApiError> {
        Ok(Self {
            transfer_data: read_transfer_data(params)?,
            ..Self::read_for_update(caller, params)?
        })
    }

    /// Those of an update.
    pub(crate) fn read_for_update(caller: &Caller, params: &mut Params) -> Result<Self, ApiError> {
        Ok(Self {
            customer: params.setting("customer")?,
            method_options: MethodOptionsChange::read(caller, params)?,
            ..Self::read_described(params)?
        })
    }

    /// Those of a session's `payment_intent_data`.
    pub(crate) fn read_for_session(params: &mut Params) -> Result<Self, ApiError> {
        Ok(Self {
            transfer_data: read_transfer_data(params)?,
            ..Self::read_described(params)?
        })
    }

    /// The few that a confirmation may set too.
    pub(crate) fn read_for_confirmation(
        caller: &Caller,
        params: &mut Params,
    ) -> Result<Self, ApiError> {
        Ok(Self {
            method_options: MethodOptionsChange::read(caller, params)?,
            ..Self::read_common(params)?
        })
    }

    fn read_described(params: &mut Params) -> Result<Self, ApiError> {
        Ok(Self {
            metadata: params.metadata()?,
            description: params.setting_up_to("description", 1000)?,
            statement_descriptor: descriptor(params, "statement_descriptor")?,
            statement_descriptor_suffix: descriptor(params, "statement_descriptor_suffix")?,
            transfer_group: params.setting("transfer_group")?,
            application_fee_amount: params.integer("application_fee_amount", 0)?,
            ..Self::read_common(params)?
        })
    }

    fn read_common(params: &mut Params) -> Result<Self, ApiError> {
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
        let setup_future_usage =
            params.choice_setting("setup_future_usage", &["off_session", "on_session"])?;
        Ok(Self {
            receipt_email,
            shipping,
            setup_future_usage,
            ..Self::default()
        })
    }

    /// Whether a whole statement descriptor is given.
    pub(crate) fn has_descriptor(&self) -> bool {
        matches!(self.statement_descriptor, Some(Some(_)))
    }

    /// The customer that is named.
    pub(crate) fn customer(&self) -> Option<&str> {
        self.customer.as_ref()?.as_deref()
    }

    /// Refuses a fee that no other account pays.
    pub(crate) fn check_fee_target(&self, caller: &Caller) -> Result<(), ApiError> {
        match self.application_fee_amount {
            Some(_) => needs_fee_target(caller, matches!(self.transfer_data, Some(Some(_)))),
            None => Ok(()),
        }
    }

    pub(crate) fn apply(self, caller: &Caller, intent: &mut PaymentIntent) -> Result<(), ApiError> {
        if self.shipping.is_some() {
            if caller.role == Role::Publishable && intent.shipping_is_from_server {
                return Err(ApiError::invalid(
                    "The shipping information on this PaymentIntent was last set with a secret key and therefore cannot be changed with a \
                     publishable key. Please use your secret key instead.",
                )
                .code("payment_intent_invalid_parameter")
                .param("shipping"));
            }
            intent.shipping_is_from_server = caller.role == Role::Secret;
        }
        let usages_before = intent.usages();
        self.method_options.apply(&mut intent.method_options);
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
        if caller.role == Role::Publishable {
            check_usages(usages_before, intent.usages())?;
        }
        set(&mut intent.customer, self.customer);
        set(&mut intent.transfer_group, self.transfer_group);
        set(&mut intent.transfer_data, self.transfer_data);
        set(
            &mut intent.application_fee_amount,
            self.application_fee_amount.map(Some),
        );
        check_descriptor(intent)?;
        check_capture(&intent.payment_method_types, intent.capture_method)?;
        check_fee(caller, intent)
    }
}

/// A browser may agree to more than the merchant set, and never to less.
fn check_usages(before: Usages, after: Usages) -> Result<(), ApiError> {
    for ((param, before), (_, after)) in before.into_iter().zip(after) {
        let allowed = before.is_none()
            || before == after
            || (before, after) == (Some("on_session"), Some("off_session"));
        if !allowed {
            return Err(ApiError::invalid(format!(
                "{param} is already set on this PaymentIntent. With a publishable key you can only update it from `on_session` to `off_session`. \
                 Please use your secret key instead."
            ))
            .code("payment_intent_invalid_parameter")
            .param(param));
        }
    }
    Ok(())
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

/// A debit of a bank account cannot be authorised first.
pub(crate) fn check_capture(types: &[String], capture_method: &str) -> Result<(), ApiError> {
    let debits = types.iter().any(|kind| kind == "sepa_debit");
    if debits && capture_method == "manual" {
        return Err(ApiError::invalid(
            "The payment method type sepa_debit does not support a `capture_method` of `manual`.",
        )
        .code("payment_intent_invalid_parameter")
        .param("capture_method"));
    }
    Ok(())
}

/// A card payment takes a suffix only, since February 2024.
fn check_descriptor(intent: &PaymentIntent) -> Result<(), ApiError> {
    let takes_cards = intent
        .payment_method_types
        .iter()
        .any(|kind| kind == "card");
    match intent.statement_descriptor {
        Some(_) if takes_cards => Err(no_descriptor_for_cards("statement_descriptor")),
        _ => Ok(()),
    }
}

/// The refusal of `statement_descriptor` where a card can pay.
pub(crate) fn no_descriptor_for_cards(param: &str) -> ApiError {
    ApiError::invalid(
        "The statement_descriptor parameter is not supported for the payment_method_type `card`. To continue supporting payment_method_type \
         `card`, please pass in `statement_descriptor_suffix` or remove the `statement_descriptor` parameter altogether. Please see \
         https://support.stripe.com/questions/use-of-the-statement-descriptor-parameter-on-paymentintents-for-card-charges for additional details.",
    )
    .code("payment_intent_invalid_parameter")
    .param(param)
}

/// A fee is taken from a payment to another account only, and is no more than the payment.
fn check_fee(caller: &Caller, intent: &PaymentIntent) -> Result<(), ApiError> {
    let Some(fee) = intent.application_fee_amount else {
        return Ok(());
    };
    let refused = |message: &str| Err(ApiError::invalid(message).param("application_fee_amount"));
    needs_fee_target(caller, intent.transfer_data.is_some())?;
    if fee > intent.amount {
        return refused("The application_fee_amount must be less than or equal to the amount.");
    }
    let split = intent
        .transfer_data
        .as_ref()
        .is_some_and(|data| data.get("amount").is_some());
    if split {
        return refused(
            "You may only specify one of these parameters: application_fee_amount, transfer_data[amount].",
        );
    }
    Ok(())
}

/// A fee is taken from a payment on another account, or from one that goes on to another account.
fn needs_fee_target(caller: &Caller, transferred: bool) -> Result<(), ApiError> {
    match caller.account.is_some() || transferred {
        true => Ok(()),
        false => Err(ApiError::invalid(
            "Can only apply an application_fee_amount when the PaymentIntent is attempting a direct payment (using an OAuth key or Stripe-Account \
             header) or destination payment (using `transfer_data[destination]`).",
        )
        .param("application_fee_amount")),
    }
}

/// The business of record: a connected account that exists.
pub(crate) fn on_behalf_of(params: &mut Params) -> Result<Option<String>, ApiError> {
    let account = params.text("on_behalf_of")?;
    match account {
        Some(account) if !account.starts_with("acct_") => Err(ApiError::no_such(
            http::StatusCode::BAD_REQUEST,
            "account",
            &account,
            "on_behalf_of",
        )),
        account => Ok(account),
    }
}

fn read_transfer_data(params: &mut Params) -> Result<Option<Option<Value>>, ApiError> {
    let mut group = match params.group("transfer_data")? {
        Some(Some(group)) => group,
        other => return Ok(other.map(|_| None)),
    };
    let destination = group.required_text("destination")?;
    if !destination.starts_with("acct_") {
        return Err(ApiError::no_such(
            http::StatusCode::BAD_REQUEST,
            "destination",
            &destination,
            "transfer_data[destination]",
        ));
    }
    let mut transfer = json!({ "destination": destination });
    if let (Some(amount), Some(fields)) = (group.integer("amount", 1)?, transfer.as_object_mut()) {
        fields.insert("amount".to_owned(), json!(amount));
    }
    group.finish()?;
    Ok(Some(Some(transfer)))
}

/// Refuses an e-mail address that mail cannot be sent to.
pub(crate) fn check_email(email: Option<&str>, param: &str) -> Result<(), ApiError> {
    match email.is_none_or(looks_like_email) {
        true => Ok(()),
        false => Err(ApiError::invalid(format!(
            "Invalid email address: {}",
            email.unwrap_or_default()
        ))
        .code("email_invalid")
        .param(param)),
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
    let country = group.setting("country")?.flatten();
    if let Some(country) = &country {
        countries::check(country).map_err(|refusal| refusal.param(group.full_name("country")))?;
    }
    let address = json!({
        "city": group.setting("city")?.flatten(),
        "country": country,
        "line1": group.setting("line1")?.flatten(),
        "line2": group.setting("line2")?.flatten(),
        "postal_code": group.setting("postal_code")?.flatten(),
        "state": group.setting("state")?.flatten(),
    });
    group.finish()?;
    Ok(address)
}
