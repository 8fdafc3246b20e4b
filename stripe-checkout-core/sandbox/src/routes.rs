//! The routes of Stripe's API that the sandbox has.

use http::{Method, StatusCode};
use serde_json::Value;

use super::{
    api_error::ApiError,
    auth::{Caller, Role},
    browser, expand,
    form::Tree,
    params::Params,
    store::Store,
};

/// Executes a request whose sender is known.
pub(crate) fn execute(
    store: &mut Store,
    caller: &Caller,
    method: &Method,
    path: &str,
    mut params: Tree,
) -> Result<Value, ApiError> {
    if caller.role == Role::Publishable {
        browser::drop_telemetry(&mut params);
    }
    let mut params = Params::new(params);
    let expansions = params.list("expand")?.unwrap_or_default();
    let segments: Vec<&str> = path.trim_start_matches('/').split('/').collect();

    let for_browsers = matches!(
        (method.as_str(), segments.as_slice()),
        ("GET", ["v1", "payment_intents" | "setup_intents", _])
            | (
                "POST",
                ["v1", "payment_intents" | "setup_intents", _, "confirm"]
            )
            | ("GET" | "POST", ["v1", "elements", "saved_payment_methods"])
            | ("POST", ["v1", "payment_methods" | "tokens"])
    );
    if !for_browsers {
        caller.needs_secret_key()?;
    }

    let mut answer = match (method.as_str(), segments.as_slice()) {
        ("POST", ["v1", "payment_intents"]) => store.create_intent(caller, params),
        ("GET", ["v1", "payment_intents"]) => store.list_intents(caller, params),
        ("GET", ["v1", "payment_intents", id]) => store.retrieve_intent(caller, id, params),
        ("POST", ["v1", "payment_intents", id]) => store.update_intent(caller, id, params),
        ("POST", ["v1", "payment_intents", id, "confirm"]) => {
            store.confirm_intent(caller, id, params)
        }
        ("POST", ["v1", "payment_intents", id, "capture"]) => {
            store.capture_intent(caller, id, params)
        }
        ("POST", ["v1", "payment_intents", id, "cancel"]) => {
            store.cancel_intent(caller, id, params)
        }
        ("POST", ["v1", "checkout", "sessions"]) => store.create_session(caller, params),
        ("GET", ["v1", "checkout", "sessions"]) => store.list_sessions(caller, params),
        ("GET", ["v1", "checkout", "sessions", id]) => {
            store.retrieve_session(caller, id, params, &expansions)
        }
        ("POST", ["v1", "checkout", "sessions", id, "expire"]) => {
            store.expire_session(caller, id, params)
        }
        ("GET", ["v1", "checkout", "sessions", id, "line_items"]) => {
            store.list_session_items(caller, id, params)
        }
        ("POST", ["v1", "coupons"]) => store.create_coupon(caller, params),
        ("GET", ["v1", "coupons", id]) => store.retrieve_coupon(caller, id, params),
        ("POST", ["v1", "promotion_codes"]) => store.create_promotion_code(caller, params),
        ("GET", ["v1", "promotion_codes", id]) => store.retrieve_promotion_code(caller, id, params),
        ("GET", ["v1", "charges"]) => store.list_charges(caller, params),
        ("GET", ["v1", "charges", id]) => store.retrieve_charge(caller, id, params),
        ("GET", ["v1", "payment_methods", id]) => store.retrieve_payment_method(caller, id, params),
        ("POST", ["v1", "payment_methods"]) => store.create_payment_method(caller, params),
        ("GET", ["v1", "payment_methods"]) => store.list_payment_methods(caller, params),
        ("POST", ["v1", "payment_methods", id]) => store.update_payment_method(caller, id, params),
        ("POST", ["v1", "payment_methods", id, "attach"]) => {
            store.attach_payment_method(caller, id, params)
        }
        ("POST", ["v1", "payment_methods", id, "detach"]) => {
            store.detach_payment_method(caller, id, params)
        }
        ("POST", ["v1", "tokens"]) => store.create_token(caller, params),
        ("GET", ["v1", "tokens", id]) => store.retrieve_token(caller, id, params),
        ("POST", ["v1", "setup_intents"]) => store.create_setup_intent(caller, params),
        ("GET", ["v1", "setup_intents"]) => store.list_setup_intents(caller, params),
        ("GET", ["v1", "setup_intents", id]) => store.retrieve_setup_intent(caller, id, params),
        ("POST", ["v1", "setup_intents", id]) => store.update_setup_intent(caller, id, params),
        ("POST", ["v1", "setup_intents", id, "confirm"]) => {
            store.confirm_setup_intent(caller, id, params)
        }
        ("POST", ["v1", "setup_intents", id, "cancel"]) => {
            store.cancel_setup_intent(caller, id, params)
        }
        ("POST", ["v1", "customers"]) => store.create_customer(caller, params),
        ("GET", ["v1", "customers"]) => store.list_customers(caller, params),
        ("GET", ["v1", "customers", "search"]) => store.search_customers(caller, params),
        ("GET", ["v1", "customers", id]) => store.retrieve_customer(caller, id, params),
        ("POST", ["v1", "customers", id]) => store.update_customer(caller, id, params),
        ("DELETE", ["v1", "customers", id]) => store.delete_customer(caller, id, params),
        ("GET", ["v1", "customers", id, "payment_methods"]) => {
            store.list_customer_payment_methods(caller, id, params)
        }
        ("GET", ["v1", "customers", id, "payment_methods", method]) => {
            store.retrieve_customer_payment_method(caller, id, method, params)
        }
        ("POST", ["v1", "customer_sessions"]) => store.create_customer_session(caller, params),
        ("GET", ["v1", "elements", "saved_payment_methods"]) => store.shown_payment_methods(params),
        ("POST", ["v1", "elements", "saved_payment_methods"]) => {
            store.forget_payment_method(caller, params)
        }
        ("POST", ["v1", "refunds"]) => store.create_refund(caller, params),
        ("GET", ["v1", "refunds"]) => store.list_refunds(caller, params),
        ("GET", ["v1", "refunds", id]) => store.retrieve_refund(caller, id, params),
        ("POST", ["v1", "refunds", id]) => store.update_refund(caller, id, params),
        ("POST", ["v1", "refunds", id, "cancel"]) => store.cancel_refund(caller, id, params),
        ("GET", ["v1", "disputes"]) => store.list_disputes(caller, params),
        ("GET", ["v1", "disputes", id]) => store.retrieve_dispute(caller, id, params),
        ("POST", ["v1", "disputes", id]) => store.update_dispute(caller, id, params),
        ("POST", ["v1", "disputes", id, "close"]) => store.close_dispute(caller, id, params),
        ("GET", ["v1", "balance_transactions"]) => store.list_balance_transactions(caller, params),
        ("GET", ["v1", "balance_transactions", id]) => {
            store.retrieve_balance_transaction(caller, id, params)
        }
        ("GET", ["v1", "mandates", id]) => store.retrieve_mandate(caller, id, params),
        ("GET", ["v1", "events"]) => store.list_events(caller, params),
        ("GET", ["v1", "events", id]) => store.retrieve_event(caller, id, params),
        ("POST", ["v1", "webhook_endpoints"]) => store.create_webhook_endpoint(params),
        ("GET", ["v1", "webhook_endpoints"]) => store.list_webhook_endpoints(params),
        ("GET", ["v1", "webhook_endpoints", id]) => store.retrieve_webhook_endpoint(id, params),
        ("POST", ["v1", "webhook_endpoints", id]) => store.update_webhook_endpoint(id, params),
        ("DELETE", ["v1", "webhook_endpoints", id]) => store.delete_webhook_endpoint(id, params),
        _ => Err(ApiError::invalid_with_status(
            StatusCode::NOT_FOUND,
            format!(
                "Unrecognized request URL ({method}: {path}). The sandbox has only a part of Stripe's API: \
                 please see https://stripe.com/docs for the whole."
            ),
        )),
    }?;
    for expansion in expansions {
        expand::expand(store, caller, &mut answer, &expansion)?;
    }
    Ok(answer)
}
