//! `POST /v1/payment_intents`: <https://docs.stripe.com/api/payment_intents/create>.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{
    super::{
        api_error::ApiError,
        auth::Caller,
        ids,
        objects::payment_intent::{MethodOptions, PaymentIntent, Status},
        params::Params,
        store::{Cause, Store},
    },
    Attempt, payment_method_data,
    shared_params::{self, Details},
};
use stripe_checkout_core::Currency;

pub(crate) const CAPTURE_METHODS: &[&str] = &["automatic", "automatic_async", "manual"];

impl Store {
    pub(crate) fn create_intent(
        &mut self,
        caller: &Caller,
        mut params: Params,
    ) -> Result<Value, ApiError> {
        let amount = params.required_integer("amount", 1)?;
        let currency =
            shared_params::currency(&mut params)?.ok_or_else(|| params.missing("currency"))?;
        let listed_types = params.list("payment_method_types")?;
        let automatic = read_automatic(&mut params)?;
        let capture_method = params.choice("capture_method", CAPTURE_METHODS)?;
        let confirmation_method = params.choice("confirmation_method", &["automatic", "manual"])?;
        let details = Details::read(caller, &mut params)?;
        let on_behalf_of = shared_params::on_behalf_of(&mut params)?;
        let wanted = payment_method_data::read(&mut params)?.flatten();
        let confirm = params.boolean("confirm")?.unwrap_or(false);
        let attempt = Attempt::read(caller, &mut params)?;
        params.finish()?;

        let (automatic, payment_method_types) = match (automatic, listed_types) {
            (Some(Some(_)), Some(_)) => {
                return Err(ApiError::invalid(
                    "You may only specify one of these parameters: automatic_payment_methods, payment_method_types.",
                )
                .param("automatic_payment_methods"));
            }
            (_, Some(types)) => (None, checked_types(types, currency)?),
            (Some(None), None) => (None, card_only()),
            (Some(automatic), None) => (automatic, eligible_types(currency, capture_method)),
            (None, None) => (Some("always"), eligible_types(currency, capture_method)),
        };
        shared_params::check_amount(amount, currency)?;
        attempt.needs_confirm(confirm)?;
        let mut intent = PaymentIntent {
            id: ids::id("pi"),
            client_secret: String::new(),
            account: caller.account.clone(),
            created: ids::now(),
            amount,
            amount_capturable: 0,
            amount_received: 0,
            currency,
            status: Status::RequiresPaymentMethod,
            automatic,
            payment_method_types,
            capture_method: capture_method.unwrap_or("automatic_async"),
            confirmation_method: confirmation_method.unwrap_or("automatic"),
            method_options: MethodOptions::default(),
            setup_future_usage: None,
            canceled_at: None,
            cancellation_reason: None,
            metadata: BTreeMap::new(),
            description: None,
            receipt_email: None,
            statement_descriptor: None,
            statement_descriptor_suffix: None,
            customer: None,
            on_behalf_of,
            transfer_group: None,
            transfer_data: None,
            application_fee_amount: None,
            shipping: None,
            shipping_is_from_server: false,
            payment_method: None,
            latest_charge: None,
            last_payment_error: None,
            next_action: None,
            challenge: None,
            authenticated: None,
        };
        intent.client_secret = format!("{}_secret_{}", intent.id, ids::random(25));
        details.apply(caller, &mut intent)?;
        self.must_be_customer(caller, intent.customer.as_deref())?;
        if confirm {
            attempt.check_return_url(caller, &intent)?;
        }

        let method = match wanted {
            Some(wanted) => Some(self.wanted_payment_method(caller, wanted)?),
            None => None,
        };
        if let Some(method) = &method {
            self.must_be_usable(caller, method, intent.customer.as_deref())?;
        }
        if method.is_some() {
            intent.payment_method = method;
            intent.status = Status::RequiresConfirmation;
        }
        if confirm {
            self.must_be_attemptable(caller, &intent, &attempt)?;
        }
        let id = intent.id.clone();
        let created = intent.render();
        self.intents.insert(intent);
        self.emit(&Cause::request(caller), "payment_intent.created", created);
        if confirm {
            self.confirm(caller, &id, attempt)?;
        }
        self.rendered_intent(caller, &id)
    }
}

/// Reads `automatic_payment_methods`. `Some(None)` means that they are switched off.
pub(crate) fn read_automatic(
    params: &mut Params,
) -> Result<Option<Option<&'static str>>, ApiError> {
    let Some(Some(mut group)) = params.group("automatic_payment_methods")? else {
        return Ok(None);
    };
    let enabled = group
        .boolean("enabled")?
        .ok_or_else(|| group.missing("enabled"))?;
    let redirects = group.choice("allow_redirects", &["always", "never"])?;
    group.finish()?;
    Ok(Some(enabled.then(|| redirects.unwrap_or("always"))))
}

impl PaymentIntent {
    /// Updates the payment method types, if Stripe chooses them.
    pub(crate) fn choose_types(&mut self) {
        if self.automatic.is_some() {
            self.payment_method_types = eligible_types(self.currency, Some(self.capture_method));
        }
    }
}

pub(crate) fn card_only() -> Vec<String> {
    vec!["card".to_owned()]
}

/// Returns the types that Stripe offers if the merchant leaves the choice to Stripe.
///
/// A debit of a bank account is possible in euros only, and not if the merchant captures later.
pub(crate) fn eligible_types(currency: Currency, capture_method: Option<&str>) -> Vec<String> {
    let mut types = card_only();
    if currency == Currency::EUR && capture_method != Some("manual") {
        types.push("sepa_debit".to_owned());
    }
    types
}

pub(crate) fn checked_types(
    types: Vec<String>,
    currency: Currency,
) -> Result<Vec<String>, ApiError> {
    let refused = |message: String| {
        Err(ApiError::invalid(message)
            .code("payment_intent_invalid_parameter")
            .param("payment_method_types"))
    };
    let other = types
        .iter()
        .find(|kind| !matches!(kind.as_str(), "card" | "sepa_debit"));
    match other {
        None if types.is_empty() => Ok(card_only()),
        None if currency != Currency::EUR && types.iter().any(|kind| kind == "sepa_debit") => {
            refused(format!(
                "The currency provided ({}) is invalid for one or more payment method types on this PaymentIntent. \
                 Payment method type sepa_debit supports the following currencies: eur.",
                currency.code()
            ))
        }
        None => Ok(types),
        Some(other) => refused(format!(
            "The payment method type \"{other}\" is invalid. The sandbox takes cards and SEPA Direct Debit only."
        )),
    }
}
