//! PaymentMethods from the data that a form collected, or ready-made ones.

use std::collections::BTreeMap;

use http::StatusCode;
use serde_json::{Value, json};

use super::{
    super::{
        api_error::ApiError,
        auth::{Caller, Role},
        banks::{self, TestAccount},
        cards::{self, Known, TestCard},
        ids,
        objects::payment_method::{Card, Instrument, PaymentMethod},
        params::{MetadataChange, Params},
        store::Store,
    },
    shared_params::{check_email, merge_metadata, read_address},
};

/// Whether the buyer agreed that a payment method is shown to them again.
pub(crate) const ALLOW_REDISPLAY: &[&str] = &["always", "limited", "unspecified"];

/// A card or an account as the buyer entered it, not yet checked.
#[derive(Debug)]
pub(crate) struct Given {
    instrument: InstrumentGiven,
    billing_details: Option<Value>,
    metadata: Option<Option<MetadataChange>>,
    allow_redisplay: &'static str,
}

enum InstrumentGiven {
    Iban(String),
    Token(String),
    Number {
        number: String,
        exp_month: u64,
        exp_year: u64,
        cvc: Option<String>,
    },
}

// Written by hand to hide the number: one that was entered here by mistake could be real.
impl std::fmt::Debug for InstrumentGiven {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[redacted]")
    }
}

/// The payment method of a request.
#[derive(Debug)]
pub(crate) enum Wanted {
    Named(String),
    Given(Given),
}

/// Reads `payment_method` or `payment_method_data`. An empty name unsets it: `Some(None)`.
pub(crate) fn read(params: &mut Params) -> Result<Option<Option<Wanted>>, ApiError> {
    let named = params.setting("payment_method")?;
    let given = match params.group("payment_method_data")?.flatten() {
        Some(data) => Some(read_itself(data)?),
        None => None,
    };
    match (named, given) {
        (Some(_), Some(_)) => Err(ApiError::invalid(
            "You may only specify one of these parameters: payment_method, payment_method_data.",
        )
        .param("payment_method")),
        (None, Some(given)) => Ok(Some(Some(Wanted::Given(given)))),
        (named, None) => Ok(named.map(|name| name.map(Wanted::Named))),
    }
}

/// Reads the parameters of a PaymentMethod, wherever they appear.
pub(crate) fn read_itself(mut data: Params) -> Result<Given, ApiError> {
    let kind = data.required_text("type")?;
    let allow_redisplay = data.choice("allow_redisplay", ALLOW_REDISPLAY)?;
    let billing_details = read_new_billing_details(&mut data)?;
    let metadata = data.metadata()?;
    let instrument = match kind.as_str() {
        "card" => read_card(&mut data)?,
        "sepa_debit" => read_account(&mut data, billing_details.as_ref())?,
        _ => {
            return Err(ApiError::invalid(format!(
                "The payment method type \"{kind}\" is invalid. The sandbox takes cards and SEPA Direct Debit only."
            ))
            .code("payment_method_unactivated")
            .param("payment_method_data[type]"));
        }
    };
    data.finish()?;
    Ok(Given {
        instrument,
        billing_details,
        metadata,
        allow_redisplay: allow_redisplay.unwrap_or("unspecified"),
    })
}

fn read_card(data: &mut Params) -> Result<InstrumentGiven, ApiError> {
    let Some(Some(mut card)) = data.group("card")? else {
        return Err(data.missing("card"));
    };
    let given = match card.text("token")? {
        Some(token) => InstrumentGiven::Token(token),
        None => InstrumentGiven::Number {
            number: card.required_text("number")?,
            exp_month: card.required_integer("exp_month", 0)?,
            exp_year: card.required_integer("exp_year", 0)?,
            cvc: card.setting("cvc")?.flatten(),
        },
    };
    card.finish()?;
    Ok(given)
}

/// Reads a bank account. A debit needs a name and an e-mail address for its announcement.
fn read_account(
    data: &mut Params,
    billing_details: Option<&Value>,
) -> Result<InstrumentGiven, ApiError> {
    let Some(Some(mut account)) = data.group("sepa_debit")? else {
        return Err(data.missing("sepa_debit"));
    };
    let iban = account.required_text("iban")?;
    account.finish()?;
    for needed in ["name", "email"] {
        if billing_details
            .and_then(|details| details.get(needed))
            .is_none_or(Value::is_null)
        {
            return Err(ApiError::invalid(format!(
                "Missing required param: billing_details[{needed}]."
            ))
            .code("parameter_missing")
            .param(format!("billing_details[{needed}]")));
        }
    }
    Ok(InstrumentGiven::Iban(iban))
}

/// Reads the billing details of a request, if it has any.
pub(crate) fn read_new_billing_details(data: &mut Params) -> Result<Option<Value>, ApiError> {
    let Some(Some(mut details)) = data.group("billing_details")? else {
        return Ok(None);
    };
    let address = match details.group("address")? {
        Some(Some(address)) => read_address(address)?,
        _ => no_address(),
    };
    let email = details.setting("email")?.flatten();
    check_email(email.as_deref(), &details.full_name("email"))?;
    let value = json!({
        "address": address,
        "email": email,
        "name": details.setting("name")?.flatten(),
        "phone": details.setting("phone")?.flatten(),
        "tax_id": details.setting("tax_id")?.flatten(),
    });
    details.finish()?;
    Ok(Some(value))
}

fn no_address() -> Value {
    json!({ "city": null, "country": null, "line1": null, "line2": null, "postal_code": null, "state": null })
}

fn no_billing_details() -> Value {
    json!({ "address": no_address(), "email": null, "name": null, "phone": null, "tax_id": null })
}

impl Store {
    /// Returns the id of the PaymentMethod that a request wants.
    pub(crate) fn wanted_payment_method(
        &mut self,
        caller: &Caller,
        wanted: Wanted,
    ) -> Result<String, ApiError> {
        match wanted {
            Wanted::Named(name) => self.named_payment_method(caller, &name),
            Wanted::Given(given) => self.collect_payment_method(caller, given),
        }
    }

    /// Makes a PaymentMethod from the entered data, or refuses it.
    pub(crate) fn collect_payment_method(
        &mut self,
        caller: &Caller,
        given: Given,
    ) -> Result<String, ApiError> {
        let mut of_token = None;
        let instrument = match given.instrument {
            InstrumentGiven::Iban(iban) => Instrument::SepaDebit(judge_iban(&iban)?),
            InstrumentGiven::Token(id) => match self.spend_token(caller, &id)? {
                Some(token) => {
                    of_token = Some(token.billing_details);
                    Instrument::Card(token.card)
                }
                None => Instrument::Card(ready_made(card_of_token(&id)?)),
            },
            InstrumentGiven::Number {
                number,
                exp_month,
                exp_year,
                cvc,
            } => Instrument::Card(card_from_number(
                caller,
                &number,
                exp_month,
                exp_year,
                cvc.as_deref(),
            )?),
        };
        let mut metadata = BTreeMap::new();
        if let Some(change) = given.metadata {
            merge_metadata(&mut metadata, change)?;
        }
        let billing_details = given
            .billing_details
            .or(of_token)
            .unwrap_or_else(no_billing_details);
        let id = self.keep_payment_method(caller.account.clone(), instrument, billing_details);
        if let Some(method) = self.payment_methods.find_mut(&id) {
            method.allow_redisplay = given.allow_redisplay;
            method.metadata = metadata;
        }
        Ok(id)
    }

    /// Returns the PaymentMethod that a request names: an existing one, or a new one from a
    /// ready-made card or account.
    pub(crate) fn named_payment_method(
        &mut self,
        caller: &Caller,
        id: &str,
    ) -> Result<String, ApiError> {
        if self
            .payment_methods
            .get(caller.account.as_deref(), id)
            .is_some()
        {
            return Ok(id.to_owned());
        }
        let Some((instrument, billing_details)) = of_name(id)? else {
            return Err(ApiError::no_such(
                StatusCode::BAD_REQUEST,
                "PaymentMethod",
                id,
                "payment_method",
            ));
        };
        Ok(self.keep_payment_method(caller.account.clone(), instrument, billing_details))
    }

    fn keep_payment_method(
        &mut self,
        account: Option<String>,
        instrument: Instrument,
        billing_details: Value,
    ) -> String {
        let id = ids::id("pm");
        self.payment_methods.insert(PaymentMethod {
            id: id.clone(),
            account,
            created: ids::now(),
            instrument,
            billing_details,
            metadata: BTreeMap::new(),
            allow_redisplay: "unspecified",
            customer: None,
            set_up: false,
            spent: false,
        });
        id
    }
}

/// Returns the ready-made card or account with this name. Refuses a card that only Stripe has.
pub(crate) fn of_name(name: &str) -> Result<Option<(Instrument, Value)>, ApiError> {
    match cards::by_payment_method(name) {
        Some(Known::Simulated(card)) => Ok(Some((
            Instrument::Card(ready_made(card)),
            no_billing_details(),
        ))),
        Some(Known::Listed) => Err(ApiError::invalid(format!(
            "No such PaymentMethod: '{name}'. {NOT_SIMULATED}"
        ))
        .code("resource_missing")
        .param("payment_method")),
        None => Ok(banks::by_payment_method(name)
            .map(|account| (Instrument::SepaDebit(account), of_a_test_buyer()))),
    }
}

/// Returns the card with this number. Like Stripe, it accepts numbers from browsers only.
pub(crate) fn card_from_number(
    caller: &Caller,
    number: &str,
    exp_month: u64,
    exp_year: u64,
    cvc: Option<&str>,
) -> Result<Card, ApiError> {
    if caller.role == Role::Secret {
        return Err(ApiError::invalid_with_status(
            StatusCode::PAYMENT_REQUIRED,
            "Sending credit card numbers directly to the Stripe API is generally unsafe. We suggest you use test tokens that map to the \
             test card you are using, see https://stripe.com/docs/testing.",
        ));
    }
    let test = judge(number, exp_month, exp_year, cvc)?;
    Ok(Card {
        test,
        exp_month,
        exp_year: if exp_year < 100 {
            exp_year + 2000
        } else {
            exp_year
        },
        has_cvc: cvc.is_some(),
    })
}

fn ready_made(test: &'static TestCard) -> Card {
    Card {
        test,
        exp_month: 12,
        exp_year: next_year(),
        has_cvc: true,
    }
}

/// Returns the owner of the ready-made accounts.
fn of_a_test_buyer() -> Value {
    let mut details = no_billing_details();
    if let Some(fields) = details.as_object_mut() {
        fields.insert("name".to_owned(), json!("Jenny Rosen"));
        fields.insert("email".to_owned(), json!("jenny@example.com"));
    }
    details
}

/// The end of each answer to a card that the sandbox does not simulate.
const NOT_SIMULATED: &str = "The sandbox does not simulate this card. \
     Its documentation lists the cards that it does.";

/// Refuses an IBAN that a form should have refused.
fn judge_iban(iban: &str) -> Result<&'static TestAccount, ApiError> {
    let refused = |message: &str| {
        ApiError::invalid(message)
            .code("invalid_bank_account_iban")
            .param("sepa_debit[iban]")
    };
    let iban: String = iban
        .chars()
        .filter(|character| !character.is_whitespace())
        .collect();
    if !banks::has_valid_check_digits(&iban) {
        return Err(refused("The IBAN you entered is invalid."));
    }
    banks::by_iban(&iban).ok_or_else(|| {
        refused(
            "You cannot use a live bank account number when making debits in test mode. Instead, use a test IBAN from \
             https://stripe.com/docs/testing.",
        )
    })
}

fn card_of_token(token: &str) -> Result<&'static TestCard, ApiError> {
    let param = "payment_method_data[card][token]";
    let known = token
        .strip_prefix("tok_")
        .and_then(|name| cards::by_payment_method(&format!("pm_card_{name}")));
    match known {
        Some(Known::Simulated(card)) => Ok(card),
        Some(Known::Listed) => Err(ApiError::invalid(format!(
            "No such token: '{token}'. {NOT_SIMULATED}"
        ))
        .code("resource_missing")
        .param(param)),
        None => Err(ApiError::no_such(
            StatusCode::BAD_REQUEST,
            "token",
            token,
            param,
        )),
    }
}

/// Refuses card data that a card form should have refused.
fn judge(
    number: &str,
    exp_month: u64,
    exp_year: u64,
    cvc: Option<&str>,
) -> Result<&'static TestCard, ApiError> {
    let digits: String = number
        .chars()
        .filter(|character| !matches!(character, ' ' | '-'))
        .collect();
    if !cards::has_valid_check_digit(&digits) {
        return Err(
            ApiError::card("incorrect_number", "Your card number is incorrect.").param("number"),
        );
    }
    let card = match cards::by_number(&digits) {
        Some(Known::Simulated(card)) => card,
        Some(Known::Listed) => {
            return Err(ApiError::card(
                "card_declined",
                format!("Your card was declined. {NOT_SIMULATED}"),
            ));
        }
        None => {
            return Err(ApiError::card(
                "card_declined",
                "Your card was declined. Your request was in test mode, but used a non test card. \
                 For a list of valid test cards, visit: https://stripe.com/docs/testing.",
            )
            .with("decline_code", json!("test_mode_live_card")));
        }
    };
    check_expiry(exp_month, exp_year)?;
    let cvc_length = if card.brand == "amex" { 4 } else { 3 };
    if let Some(cvc) = cvc
        && (cvc.len() != cvc_length || !cvc.bytes().all(|byte| byte.is_ascii_digit()))
    {
        return Err(
            ApiError::card("invalid_cvc", "Your card's security code is invalid.").param("cvc"),
        );
    }
    Ok(card)
}

/// Refuses an expired card, and a date that no card has.
pub(crate) fn check_expiry(exp_month: u64, exp_year: u64) -> Result<(), ApiError> {
    if !(1..=12).contains(&exp_month) {
        return Err(ApiError::card(
            "invalid_expiry_month",
            "Your card's expiration month is invalid.",
        )
        .param("exp_month"));
    }
    let (year, month) = this_month();
    let full_year = if exp_year < 100 {
        exp_year + 2000
    } else {
        exp_year
    };
    if full_year < year || full_year > year + 50 {
        return Err(ApiError::card(
            "invalid_expiry_year",
            "Your card's expiration year is invalid.",
        )
        .param("exp_year"));
    }
    if full_year == year && exp_month < month {
        return Err(ApiError::card(
            "invalid_expiry_month",
            "Your card's expiration month is invalid.",
        )
        .param("exp_month"));
    }
    Ok(())
}

pub(crate) fn next_year() -> u64 {
    this_month().0 + 1
}

/// Returns the current year and month (UTC). Months count from 1.
fn this_month() -> (u64, u64) {
    month_of(u64::try_from(ids::now()).unwrap_or(0))
}

fn month_of(seconds: u64) -> (u64, u64) {
    let mut days = seconds / 86_400;
    let mut year = 1970;
    loop {
        let leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
        let length = if leap { 366 } else { 365 };
        if days >= length {
            days -= length;
            year += 1;
            continue;
        }
        let february = if leap { 29 } else { 28 };
        let mut month = 1;
        for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
            if days < length {
                break;
            }
            days -= length;
            month += 1;
        }
        return (year, month);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months() {
        // Made with `date -u -d 2024-02-29 +%s` and the like.
        for (seconds, expected) in [
            (0, (1970, 1)),
            (951_782_400, (2000, 2)),
            (1_709_164_800, (2024, 2)),
            (1_709_251_200, (2024, 3)),
            (1_735_603_200, (2024, 12)),
            (1_735_689_600, (2025, 1)),
            (4_107_542_399, (2100, 2)),
            (4_107_542_400, (2100, 3)),
        ] {
            assert_eq!(month_of(seconds), expected, "{seconds}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_card() {
        let year = next_year();
        for (number, month, year, cvc, code) in [
            ("4242 4242 4242 4241", 12, year, "123", "incorrect_number"),
            ("4111 1111 1111 1111", 12, year, "123", "card_declined"),
            ("4242424242424242", 13, year, "123", "invalid_expiry_month"),
            ("4242424242424242", 12, 2020, "123", "invalid_expiry_year"),
            ("4242424242424242", 12, 20, "123", "invalid_expiry_year"),
            ("4242424242424242", 12, year, "12", "invalid_cvc"),
            ("4242424242424242", 12, year, "1x3", "invalid_cvc"),
            ("378282246310005", 12, year, "123", "invalid_cvc"),
        ] {
            let refusal = judge(number, month, year, Some(cvc)).unwrap_err();
            assert_eq!(refusal.status, 402);
            assert_eq!(refusal.body("req_1")["error"]["code"], code, "{number}");
        }
        assert!(judge("4242-4242-4242-4242", 12, year, None).is_ok());
        assert!(judge("378282246310005", 1, year % 100, Some("1234")).is_ok());
    }
}
