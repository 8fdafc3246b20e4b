//! `POST /v1/customer_sessions`: <https://docs.stripe.com/api/customer_sessions>.
//!
//! Also the requests that the stand-in for Stripe.js sends with a CustomerSession.

use http::StatusCode;
use serde_json::{Value, json};

use super::{
    super::{
        api_error::ApiError,
        auth::Caller,
        ids,
        objects::{
            customer_session::{CustomerSession, Features},
            payment_method::PaymentMethod,
        },
        params::Params,
        store::{Cause, Store},
        table::Row as _,
    },
    payment_method_data::ALLOW_REDISPLAY,
};

const ABLE: &[&str] = &["disabled", "enabled"];
/// The most payment methods that the Payment Element shows.
const MOST_SHOWN: u64 = 10;

impl Store {
    pub(crate) fn create_customer_session(
        &mut self,
        caller: &Caller,
        mut params: Params,
    ) -> Result<Value, ApiError> {
        let customer = params.required_text("customer")?;
        let Some(Some(mut components)) = params.group("components")? else {
            return Err(params.missing("components"));
        };
        let payment_element = read_payment_element(&mut components)?;
        components.finish()?;
        params.finish()?;
        self.must_be_customer(caller, Some(&customer))?;
        let session = CustomerSession {
            id: format!("cuss_secret_{}", ids::random(80)),
            account: caller.account.clone(),
            created: ids::now(),
            customer,
            payment_element,
        };
        let rendered = session.render();
        self.customer_sessions.insert(session);
        Ok(rendered)
    }

    /// Returns the payment methods that the Payment Element shows. Stripe.js asks Stripe at a
    /// different address.
    pub(crate) fn shown_payment_methods(
        &mut self,
        caller: &Caller,
        mut params: Params,
    ) -> Result<Value, ApiError> {
        let secret = params.required_text("client_secret")?;
        params.finish()?;
        let (session, features) = self.admitted_session(caller, &secret)?;
        let shown: Vec<Value> = self
            .payment_methods
            .newest_first(session.account())
            .filter(|method| {
                features.redisplay
                    && method.customer.as_ref() == Some(&session.customer)
                    && features
                        .filters
                        .iter()
                        .any(|wanted| wanted == method.allow_redisplay)
            })
            .take(features.redisplay_limit)
            .map(PaymentMethod::render)
            .collect();
        Ok(json!({ "payment_methods": shown, "features": features.render() }))
    }

    /// Removes a saved payment method for the buyer.
    pub(crate) fn forget_payment_method(
        &mut self,
        caller: &Caller,
        mut params: Params,
    ) -> Result<Value, ApiError> {
        let secret = params.required_text("client_secret")?;
        let method = params.required_text("payment_method")?;
        params.finish()?;
        let (session, features) = self.admitted_session(caller, &secret)?;
        let theirs = self
            .payment_methods
            .get(session.account(), &method)
            .is_some_and(|method| method.customer.as_ref() == Some(&session.customer));
        if !features.remove || !theirs {
            return Err(ApiError::no_such(
                StatusCode::NOT_FOUND,
                "PaymentMethod",
                &method,
                "payment_method",
            ));
        }
        self.detach(&Cause::request(caller), &method);
        Ok(json!({ "id": method, "removed": true }))
    }

    fn admitted_session(
        &self,
        caller: &Caller,
        secret: &str,
    ) -> Result<(CustomerSession, Features), ApiError> {
        self.customer_sessions
            .get(caller.account.as_deref(), secret)
            .filter(|session| !session.is_expired(ids::now()))
            .and_then(|session| Some((session.clone(), session.payment_element.clone()?)))
            .ok_or_else(|| {
                ApiError::invalid("The customer session's client_secret is unknown or has expired.")
                    .param("client_secret")
            })
    }
}

fn read_payment_element(components: &mut Params) -> Result<Option<Features>, ApiError> {
    let Some(Some(mut element)) = components.group("payment_element")? else {
        return Ok(None);
    };
    let enabled = element
        .boolean("enabled")?
        .ok_or_else(|| element.missing("enabled"))?;
    let mut features = Features {
        redisplay: false,
        redisplay_limit: 3,
        filters: vec!["always".to_owned()],
        remove: false,
        save: false,
        save_usage: None,
    };
    if let Some(Some(mut given)) = element.group("features")? {
        let is_on = |given: &mut Params, name: &str| {
            Ok::<_, ApiError>(given.choice(name, ABLE)? == Some("enabled"))
        };
        features.redisplay = is_on(&mut given, "payment_method_redisplay")?;
        features.remove = is_on(&mut given, "payment_method_remove")?;
        features.save = is_on(&mut given, "payment_method_save")?;
        features.save_usage =
            given.choice("payment_method_save_usage", &["off_session", "on_session"])?;
        if let Some(limit) = given.integer("payment_method_redisplay_limit", 1)? {
            if limit > MOST_SHOWN {
                return Err(ApiError::invalid(format!(
                    "This value must be less than or equal to {MOST_SHOWN}."
                ))
                .code("parameter_invalid_integer")
                .param(given.full_name("payment_method_redisplay_limit")));
            }
            features.redisplay_limit = usize::try_from(limit).unwrap_or(usize::MAX);
        }
        if let Some(filters) = given.list("payment_method_allow_redisplay_filters")? {
            if let Some(unknown) = filters
                .iter()
                .find(|filter| !ALLOW_REDISPLAY.contains(&filter.as_str()))
            {
                return Err(ApiError::invalid(format!(
                    "Invalid payment_method_allow_redisplay_filters: {unknown} must be one of always, limited, or unspecified"
                )));
            }
            features.filters = filters;
        }
        given.finish()?;
    }
    element.finish()?;
    Ok(enabled.then_some(features))
}
