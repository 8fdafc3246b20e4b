//! `/v1/payment_methods`: <https://docs.stripe.com/api/payment_methods>. Creates PaymentMethods,
//! attaches them to a customer and detaches them.

use http::StatusCode;
use serde_json::{Value, json};

use super::{
    super::{
        api_error::ApiError,
        auth::{Caller, Role},
        cards::Behaviour,
        objects::payment_method::{Instrument, PaymentMethod},
        params::Params,
        store::{Cause, Store},
    },
    list::Page,
    payment_method_data::{self, ALLOW_REDISPLAY},
    shared_params::merge_metadata,
};

/// The types of payment methods, as the official SDK lists them. The sandbox has two of them.
const TYPES: &[&str] = &[
    "acss_debit",
    "affirm",
    "afterpay_clearpay",
    "alipay",
    "alma",
    "amazon_pay",
    "au_becs_debit",
    "bacs_debit",
    "bancontact",
    "billie",
    "bizum",
    "blik",
    "boleto",
    "card",
    "cashapp",
    "crypto",
    "custom",
    "customer_balance",
    "eps",
    "fpx",
    "giropay",
    "grabpay",
    "ideal",
    "kakao_pay",
    "klarna",
    "konbini",
    "kr_card",
    "link",
    "mb_way",
    "mobilepay",
    "multibanco",
    "naver_pay",
    "nz_bank_account",
    "oxxo",
    "p24",
    "pay_by_bank",
    "payco",
    "paynow",
    "paypal",
    "paypay",
    "payto",
    "pix",
    "promptpay",
    "revolut_pay",
    "samsung_pay",
    "satispay",
    "scalapay",
    "sepa_debit",
    "sequra",
    "sofort",
    "sunbit",
    "swish",
    "twint",
    "upi",
    "us_bank_account",
    "wechat_pay",
    "zip",
];

impl Store {
    pub(crate) fn create_payment_method(
        &mut self,
        caller: &Caller,
        params: Params,
    ) -> Result<Value, ApiError> {
        let given = payment_method_data::read_itself(params)?;
        let id = self.collect_payment_method(caller, given)?;
        match caller.role {
            Role::Secret => self.rendered_method(caller, &id),
            Role::Publishable => Ok(self.method(caller, &id)?.render_for_browser()),
        }
    }

    pub(crate) fn update_payment_method(
        &mut self,
        caller: &Caller,
        id: &str,
        mut params: Params,
    ) -> Result<Value, ApiError> {
        let metadata = params.metadata()?;
        let allow_redisplay = params.choice("allow_redisplay", ALLOW_REDISPLAY)?;
        let billing_details = payment_method_data::read_new_billing_details(&mut params)?;
        let mut expiry = (None, None);
        if let Some(Some(mut card)) = params.group("card")? {
            expiry = (card.integer("exp_month", 1)?, card.integer("exp_year", 1)?);
            card.finish()?;
            payment_method_data::check_expiry(
                expiry.0.unwrap_or(12),
                expiry.1.unwrap_or_else(payment_method_data::next_year),
            )?;
        }
        params.finish()?;
        let before = self.method(caller, id)?;
        let mut changed = before.clone();
        if changed.customer.is_none() {
            return Err(ApiError::invalid(
                "You must save this PaymentMethod to a customer before you can update it.",
            ));
        }
        if let Some(change) = metadata {
            merge_metadata(&mut changed.metadata, change)?;
        }
        changed.allow_redisplay = allow_redisplay.unwrap_or(changed.allow_redisplay);
        changed.billing_details = billing_details.unwrap_or(changed.billing_details);
        if let Instrument::Card(card) = &mut changed.instrument {
            card.exp_month = expiry.0.unwrap_or(card.exp_month);
            card.exp_year = expiry.1.unwrap_or(card.exp_year);
        }
        let rendered = changed.render();
        if let Some(method) = self.payment_methods.find_mut(id) {
            *method = changed;
        }
        let cause = Cause::request(caller);
        self.emit(&cause, "payment_method.updated", rendered.clone());
        Ok(rendered)
    }

    pub(crate) fn attach_payment_method(
        &mut self,
        caller: &Caller,
        id: &str,
        mut params: Params,
    ) -> Result<Value, ApiError> {
        let customer = params.required_text("customer")?;
        params.finish()?;
        self.must_be_customer(caller, Some(&customer))?;
        if self.method(caller, id).is_err() && payment_method_data::of_name(id)?.is_none() {
            return Err(no_such(id));
        }
        let id = self.attachable(caller, id, &customer)?;
        self.attach(&Cause::request(caller), &id, &customer);
        self.rendered_method(caller, &id)
    }

    pub(crate) fn detach_payment_method(
        &mut self,
        caller: &Caller,
        id: &str,
        params: Params,
    ) -> Result<Value, ApiError> {
        params.finish()?;
        if self.method(caller, id)?.customer.is_none() {
            return Err(ApiError::invalid(
                "The payment method you provided is not attached to a customer so detachment is impossible.",
            ));
        }
        self.detach(&Cause::request(caller), id);
        self.rendered_method(caller, id)
    }

    pub(crate) fn list_payment_methods(
        &mut self,
        caller: &Caller,
        mut params: Params,
    ) -> Result<Value, ApiError> {
        let customer = params.text("customer")?;
        self.must_be_customer(caller, customer.as_deref())?;
        self.page_of_methods(caller, "/v1/payment_methods", customer.as_deref(), params)
    }

    pub(crate) fn list_customer_payment_methods(
        &mut self,
        caller: &Caller,
        customer: &str,
        params: Params,
    ) -> Result<Value, ApiError> {
        self.customer(caller, customer, StatusCode::NOT_FOUND, "customer")?;
        let url = format!("/v1/customers/{customer}/payment_methods");
        self.page_of_methods(caller, &url, Some(customer), params)
    }

    pub(crate) fn retrieve_customer_payment_method(
        &mut self,
        caller: &Caller,
        customer: &str,
        id: &str,
        params: Params,
    ) -> Result<Value, ApiError> {
        params.finish()?;
        self.customer(caller, customer, StatusCode::NOT_FOUND, "customer")?;
        let method = self.method(caller, id)?;
        if method.customer.as_deref() != Some(customer) {
            return Err(no_such(id));
        }
        Ok(method.render())
    }

    fn page_of_methods(
        &self,
        caller: &Caller,
        url: &str,
        customer: Option<&str>,
        mut params: Params,
    ) -> Result<Value, ApiError> {
        let page = Page::read_place(&mut params)?;
        let kind = params.choice("type", TYPES)?;
        let allow_redisplay = params.choice("allow_redisplay", ALLOW_REDISPLAY)?;
        params.finish()?;
        page.render(
            url,
            "PaymentMethod",
            caller,
            &self.payment_methods,
            |method| {
                // Without a customer, Stripe lists only methods of its own Treasury. The sandbox
                // has none.
                customer.is_some()
                    && method.customer.as_deref() == customer
                    && kind.is_none_or(|kind| kind == method.kind())
                    && allow_redisplay.is_none_or(|wanted| wanted == method.allow_redisplay)
            },
            PaymentMethod::render,
        )
    }

    pub(crate) fn method(&self, caller: &Caller, id: &str) -> Result<&PaymentMethod, ApiError> {
        self.payment_methods
            .get(caller.account.as_deref(), id)
            .ok_or_else(|| no_such(id))
    }

    pub(crate) fn rendered_method(&self, caller: &Caller, id: &str) -> Result<Value, ApiError> {
        Ok(self.method(caller, id)?.render())
    }

    /// Returns the id of the payment method with this name if it can be attached to this customer.
    pub(crate) fn attachable(
        &mut self,
        caller: &Caller,
        name: &str,
        customer: &str,
    ) -> Result<String, ApiError> {
        let id = self.named_payment_method(caller, name)?;
        self.must_be_usable(caller, &id, Some(customer))?;
        let method = self.method(caller, &id)?;
        // Attaching asks the bank whether the card exists.
        if let Some(Behaviour::Decline(decline)) = method.card_behaviour() {
            return Err(ApiError::card(decline.code, decline.message)
                .with("decline_code", json!(decline.decline_code)));
        }
        Ok(id)
    }

    /// Refuses a payment method that belongs to another customer or cannot be used again.
    pub(crate) fn must_be_usable(
        &self,
        caller: &Caller,
        id: &str,
        customer: Option<&str>,
    ) -> Result<(), ApiError> {
        self.method(caller, id)?.must_be_usable(customer)
    }

    /// Attaches it, unless it is already attached.
    pub(crate) fn attach(&mut self, cause: &Cause, id: &str, customer: &str) {
        let Some(method) = self
            .payment_methods
            .find_mut(id)
            .filter(|method| method.customer.is_none())
        else {
            return;
        };
        method.customer = Some(customer.to_owned());
        let object = method.render();
        self.emit(cause, "payment_method.attached", object);
    }

    pub(crate) fn detach(&mut self, cause: &Cause, id: &str) {
        let Some(method) = self.payment_methods.find_mut(id) else {
            return;
        };
        let Some(customer) = method.customer.take() else {
            return;
        };
        method.spent = true;
        let object = method.render();
        let previous = json!({ "customer": customer });
        if let Some(customer) = self.customers.find_mut(&customer)
            && customer.default_payment_method.as_deref() == Some(id)
        {
            customer.default_payment_method = None;
        }
        self.emit_change(cause, "payment_method.detached", object, Some(previous));
    }
}

impl PaymentMethod {
    /// Refuses a payment method that another customer owns, or that is spent or detached.
    pub(crate) fn must_be_usable(&self, customer: Option<&str>) -> Result<(), ApiError> {
        if self.spent {
            return Err(ApiError::invalid(
                "The provided PaymentMethod was previously used with a PaymentIntent without Customer attachment, shared with a connected account \
                 without Customer attachment, or was detached from a Customer. It may not be used again. To use a PaymentMethod multiple times, you \
                 must attach it to a Customer first.",
            )
            .param("payment_method"));
        }
        match (&self.customer, customer) {
            (None, _) => Ok(()),
            (Some(owner), Some(customer)) if owner == customer => Ok(()),
            (Some(_), Some(_)) => Err(ApiError::invalid(format!(
                "The customer does not have a payment method with the ID {}. The payment method must be attached to the customer.",
                self.id
            ))
            .param("payment_method")),
            (Some(_), None) => Err(ApiError::invalid(format!(
                "The PaymentMethod you provided ({}) is attached to a customer, so for security purposes you must provide the customer in the request.",
                self.id
            ))
            .param("customer")),
        }
    }
}

fn no_such(id: &str) -> ApiError {
    ApiError::no_such(StatusCode::NOT_FOUND, "PaymentMethod", id, "payment_method")
}
