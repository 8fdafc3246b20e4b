//! The buyer's actions on a Checkout Session's page, and the effect of the payment on the session.

use http::StatusCode;
use serde_json::{Value, json};

use super::super::{
    api_error::ApiError,
    auth::{Caller, Role},
    form::{Node, Tree},
    ids,
    objects::{
        checkout_session::{CheckoutSession, SessionStatus},
        payment_intent::Status,
    },
    params::Params,
    store::{Cause, Store},
};

impl Store {
    /// Returns a session that can still be paid.
    pub(crate) fn open_session(&mut self, id: &str) -> Result<&mut CheckoutSession, ApiError> {
        self.end_old_sessions();
        let session = self.sessions.find_mut(id).ok_or_else(|| no_such(id))?;
        match session.status {
            SessionStatus::Open => Ok(session),
            status => Err(ApiError::invalid(format!(
                "This Checkout Session is {}: nobody can pay it any more.",
                status.as_str()
            ))),
        }
    }

    /// Applies a promotion code. An empty code removes the applied one.
    pub(crate) fn apply_code(&mut self, id: &str, code: &str) -> Result<(), ApiError> {
        let session = self.open_session(id)?.clone();
        let account = session.account.as_deref();
        if session.allow_promotion_codes != Some(true) {
            return Err(ApiError::invalid(
                "This Checkout Session takes no promotion codes.",
            ));
        }
        let discount = match code.trim() {
            "" => None,
            code => {
                let known = self.promotion_code(account, code);
                let discount = known.and_then(|known| {
                    self.discount(account, &known.coupon, Some(known.id.clone()), &session)
                });
                Some(
                    discount
                        .ok_or_else(|| ApiError::invalid("This code is invalid.").param("code"))?,
                )
            }
        };
        self.open_session(id)?.discount = discount;
        Ok(())
    }

    /// Chooses a shipping option.
    pub(crate) fn choose_shipping(&mut self, id: &str, at: usize) -> Result<(), ApiError> {
        let session = self.open_session(id)?;
        if at >= session.shipping_options.len() {
            return Err(ApiError::invalid("There is no such way to ship.").param("shipping"));
        }
        session.shipping = Some(at);
        Ok(())
    }

    /// Pays the session with the buyer's input. The session then holds the result. If the bank
    /// wants to see the buyer first, this returns the address of the bank's page.
    pub(crate) fn pay_session(
        &mut self,
        id: &str,
        mut form: Tree,
    ) -> Result<Option<String>, ApiError> {
        let session = self.open_session(id)?.clone();
        let mut text = |name: &str| match form.remove(name) {
            Some(Node::Text(text)) if !text.trim().is_empty() => Some(text.trim().to_owned()),
            _ => None,
        };
        let email = text("email").or_else(|| session.customer_email.clone());
        let (name, phone) = (text("name"), text("phone"));
        let address = json!({
            "city": text("city"), "country": text("country"), "line1": text("line1"), "line2": null,
            "postal_code": text("postal_code"), "state": null,
        });
        let Some(email) = email.filter(|email| email.contains('@')) else {
            return Err(ApiError::invalid("Please enter your e-mail address.").param("email"));
        };
        if !session.countries.is_empty() {
            let allowed = address.get("country").and_then(Value::as_str);
            if !allowed.is_some_and(|code| session.countries.iter().any(|known| known == code)) {
                return Err(ApiError::invalid("Please choose a country.").param("country"));
            }
            if name.is_none() || address.get("line1").is_none_or(Value::is_null) {
                return Err(ApiError::invalid("Please enter your name and address.").param("line1"));
            }
        }
        let open = self.open_session(id)?;
        open.customer_details = Some(json!({
            "address": address, "business_name": null, "email": email, "individual_name": null, "name": name, "phone": phone,
            "tax_exempt": "none", "tax_ids": [],
        }));
        if !session.countries.is_empty() {
            open.shipping_details = Some(json!({ "address": address, "name": name }));
        }
        let cause = Cause::outside(session.account.clone());
        if session.totals().total == 0 {
            self.complete_session(&cause, id, false);
            return Ok(None);
        }
        let intent = self.intent_of_session(&session)?;
        let secret = self
            .intents
            .find(&intent)
            .map(|intent| intent.client_secret.clone())
            .unwrap_or_default();
        form.insert("client_secret".to_owned(), Node::Text(secret));
        form.insert("return_url".to_owned(), Node::Text(session.page()));
        if let Some(Node::Group(data)) = form.get_mut("payment_method_data") {
            let mut details = Tree::from([("email".to_owned(), Node::Text(email))]);
            details.extend(name.map(|name| ("name".to_owned(), Node::Text(name))));
            data.insert("billing_details".to_owned(), Node::Group(details));
        }
        let buyer = caller(&session, Role::Publishable);
        self.confirm_intent(&buyer, &intent, Params::new(form))?;
        let action = self.intents.find(&intent).and_then(|intent| {
            let action = intent.next_action.as_ref()?;
            Some(action.pointer("/redirect_to_url/url")?.as_str()?.to_owned())
        });
        Ok(action)
    }

    /// Returns the PaymentIntent for the total that the buyer sees now. The first attempt to pay
    /// creates it; each further attempt updates its amount.
    fn intent_of_session(&mut self, session: &CheckoutSession) -> Result<String, ApiError> {
        let total = session.totals().total;
        if let Some(id) = &session.payment_intent {
            if let Some(intent) = self.intents.find_mut(id) {
                intent.amount = total;
            }
            return Ok(id.clone());
        }
        let mut params = session.intent_data.clone();
        let mut set = |name: &str, value: String| {
            params.insert(name.to_owned(), Node::Text(value));
        };
        set("amount", total.to_string());
        set("currency", session.currency.code().to_owned());
        if let Some(customer) = &session.customer {
            set("customer", customer.clone());
        }
        let (name, group) = match session.types_are_listed {
            true => {
                let types = session.payment_method_types.iter().enumerate();
                let types = types.map(|(at, kind)| (at.to_string(), Node::Text(kind.clone())));
                ("payment_method_types", types.collect())
            }
            false => {
                let enabled = ("enabled".to_owned(), Node::Text("true".to_owned()));
                ("automatic_payment_methods", Tree::from([enabled]))
            }
        };
        params.insert(name.to_owned(), Node::Group(group));
        let merchant = caller(session, Role::Secret);
        let made = self.create_intent(&merchant, Params::new(params))?;
        let id = made
            .get("id")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned();
        if let Some(session) = self.sessions.find_mut(&session.id) {
            session.payment_intent = Some(id.clone());
        }
        Ok(id)
    }

    /// Returns the session of a PaymentIntent.
    pub(crate) fn session_of_intent(&self, intent: &str) -> Option<&CheckoutSession> {
        let of = |session: &&CheckoutSession| session.payment_intent.as_deref() == Some(intent);
        self.sessions.iter().find(of)
    }

    /// Updates a session after its PaymentIntent has changed.
    pub(crate) fn session_follows(&mut self, cause: &Cause, intent: &str) {
        let Some(status) = self.intents.find(intent).map(|intent| intent.status) else {
            return;
        };
        let Some(session) = self.session_of_intent(intent) else {
            return;
        };
        let id = session.id.clone();
        match (session.status, status) {
            (SessionStatus::Open, Status::Succeeded) => self.complete_session(cause, &id, true),
            (SessionStatus::Open, Status::Processing | Status::RequiresCapture) => {
                self.complete_session(cause, &id, false);
            }
            (SessionStatus::Complete, Status::Succeeded) if !session.paid => {
                let delayed = !session.authorised;
                if let Some(session) = self.sessions.find_mut(&id) {
                    session.paid = true;
                }
                // The session sends no event when money that was authorised is captured.
                if delayed {
                    self.emit_session(cause, "checkout.session.async_payment_succeeded", &id);
                }
            }
            (SessionStatus::Complete, Status::RequiresPaymentMethod) if !session.paid => {
                self.emit_session(cause, "checkout.session.async_payment_failed", &id);
            }
            _ => {}
        }
    }

    fn complete_session(&mut self, cause: &Cause, id: &str, paid: bool) {
        let Some(session) = self.sessions.find_mut(id) else {
            return;
        };
        session.status = SessionStatus::Complete;
        session.paid = paid;
        let (discount, intent) = (session.discount.clone(), session.payment_intent.clone());
        if let Some(discount) = discount {
            if let Some(coupon) = self.coupons.find_mut(&discount.coupon) {
                coupon.times_redeemed += 1;
            }
            if let Some(code) = discount.promotion_code.as_deref()
                && let Some(code) = self.promotion_codes.find_mut(code)
            {
                code.times_redeemed += 1;
            }
        }
        let authorised = intent
            .and_then(|intent| self.intents.find(&intent))
            .is_some_and(|intent| intent.status == Status::RequiresCapture);
        if let Some(session) = self.sessions.find_mut(id) {
            session.authorised = authorised;
        }
        self.update_customer_of_session(id);
        self.emit_session(cause, "checkout.session.completed", id);
    }

    /// `customer_update`: saves the addresses that the buyer entered on the customer.
    fn update_customer_of_session(&mut self, id: &str) {
        let Some(session) = self.sessions.find(id) else {
            return;
        };
        let entered = |details: &Option<Value>| details.as_ref()?.get("address").cloned();
        let address = session
            .saves_address
            .then(|| entered(&session.customer_details))
            .flatten();
        let shipping = session.shipping_details.clone();
        let shipping = shipping.filter(|_| session.saves_shipping);
        let customer = session.customer.clone();
        if let Some(customer) = customer.and_then(|id| self.customers.find_mut(&id)) {
            customer.address = address.or(customer.address.take());
            customer.shipping = shipping.or(customer.shipping.take());
        }
    }

    fn emit_session(&mut self, cause: &Cause, event_type: &'static str, id: &str) {
        if let Some(object) = self.sessions.find(id).map(CheckoutSession::render) {
            self.emit(cause, event_type, object);
        }
    }
}

fn caller(session: &CheckoutSession, role: Role) -> Caller {
    Caller {
        role,
        account: session.account.clone(),
        request_id: ids::id("req"),
        idempotency_key: None,
    }
}

pub(crate) fn no_such(id: &str) -> ApiError {
    ApiError::no_such(StatusCode::NOT_FOUND, "checkout.session", id, "session")
}

/// Returns the data that the page shows.
pub(crate) fn shown(session: &CheckoutSession, last_error: Option<&Value>) -> Value {
    let totals = session.totals();
    let decimals = session.currency.decimals();
    json!({
        "status": session.status.as_str(),
        "paid": session.paid,
        "currency": session.currency.code(),
        "decimals": decimals,
        "items": session.items.iter().map(|item| json!({
            "name": item.name, "description": item.description, "quantity": item.quantity, "amount": item.amount(), "unit": item.unit_amount,
        })).collect::<Vec<_>>(),
        "subtotal": totals.subtotal,
        "discount": totals.discount,
        "shipping": totals.shipping,
        "tax": totals.tax,
        "taxed": session.automatic_tax,
        "total": totals.total,
        "shipping_options": session.shipping_options.iter().map(|option| json!({
            "name": option.name, "amount": option.amount, "estimate": option.delivery_estimate,
        })).collect::<Vec<_>>(),
        "shipping_chosen": session.shipping,
        "codes": session.allow_promotion_codes == Some(true),
        "email": session.customer_email,
        "countries": session.countries,
        "phone": session.phone_number,
        "cancel_url": session.cancel_url,
        "after": (session.status == SessionStatus::Complete).then(|| session.after()).flatten(),
        "embedded": session.embedded,
        "redirect": session.redirect_on_completion,
        "last_error": last_error.and_then(|error| error.get("message")?.as_str()),
    })
}
