//! The routes of Stripe's API that the sandbox has.

use http::{Method, StatusCode};
use serde_json::Value;

use super::{
    api_error::ApiError,
    auth::{Caller, Role},
    browser, expand, expandable,
    form::Tree,
    params::Params,
    store::Store,
};

type Handler = fn(&mut Store, &Caller, Ids<'_>, Params) -> Result<Value, ApiError>;

/// The names in a path, in their order.
#[derive(Debug, Clone, Copy, Default)]
struct Ids<'a> {
    first: &'a str,
    second: &'a str,
}

struct Route {
    method: &'static str,
    /// `{}` stands for a name.
    path: &'static str,
    /// Whether a publishable key is enough.
    for_browsers: bool,
    handler: Handler,
}

const fn route(method: &'static str, path: &'static str, handler: Handler) -> Route {
    Route {
        method,
        path,
        for_browsers: false,
        handler,
    }
}

const fn for_browsers(method: &'static str, path: &'static str, handler: Handler) -> Route {
    Route {
        for_browsers: true,
        ..route(method, path, handler)
    }
}

#[rustfmt::skip]
const ROUTES: &[Route] = &[
    route("POST", "/v1/payment_intents", |store, caller, _, params| store.create_intent(caller, params)),
    route("GET", "/v1/payment_intents", |store, caller, _, params| store.list_intents(caller, params)),
    for_browsers("GET", "/v1/payment_intents/{}", |store, caller, ids, params| store.retrieve_intent(caller, ids.first, params)),
    route("POST", "/v1/payment_intents/{}", |store, caller, ids, params| store.update_intent(caller, ids.first, params)),
    for_browsers("POST", "/v1/payment_intents/{}/confirm", |store, caller, ids, params| store.confirm_intent(caller, ids.first, params)),
    route("POST", "/v1/payment_intents/{}/capture", |store, caller, ids, params| store.capture_intent(caller, ids.first, params)),
    route("POST", "/v1/payment_intents/{}/cancel", |store, caller, ids, params| store.cancel_intent(caller, ids.first, params)),
    route("POST", "/v1/checkout/sessions", |store, caller, _, params| store.create_session(caller, params)),
    route("GET", "/v1/checkout/sessions", |store, caller, _, params| store.list_sessions(caller, params)),
    route("GET", "/v1/checkout/sessions/{}", |store, caller, ids, params| store.retrieve_session(caller, ids.first, params)),
    route("POST", "/v1/checkout/sessions/{}/expire", |store, caller, ids, params| store.expire_session(caller, ids.first, params)),
    route("GET", "/v1/checkout/sessions/{}/line_items", |store, caller, ids, params| store.list_session_items(caller, ids.first, params)),
    route("POST", "/v1/coupons", |store, caller, _, params| store.create_coupon(caller, params)),
    route("GET", "/v1/coupons/{}", |store, caller, ids, params| store.retrieve_coupon(caller, ids.first, params)),
    route("POST", "/v1/promotion_codes", |store, caller, _, params| store.create_promotion_code(caller, params)),
    route("GET", "/v1/promotion_codes/{}", |store, caller, ids, params| store.retrieve_promotion_code(caller, ids.first, params)),
    route("GET", "/v1/charges", |store, caller, _, params| store.list_charges(caller, params)),
    route("GET", "/v1/charges/{}", |store, caller, ids, params| store.retrieve_charge(caller, ids.first, params)),
    route("GET", "/v1/payment_methods/{}", |store, caller, ids, params| store.retrieve_payment_method(caller, ids.first, params)),
    for_browsers("POST", "/v1/payment_methods", |store, caller, _, params| store.create_payment_method(caller, params)),
    route("GET", "/v1/payment_methods", |store, caller, _, params| store.list_payment_methods(caller, params)),
    route("POST", "/v1/payment_methods/{}", |store, caller, ids, params| store.update_payment_method(caller, ids.first, params)),
    route("POST", "/v1/payment_methods/{}/attach", |store, caller, ids, params| store.attach_payment_method(caller, ids.first, params)),
    route("POST", "/v1/payment_methods/{}/detach", |store, caller, ids, params| store.detach_payment_method(caller, ids.first, params)),
    for_browsers("POST", "/v1/tokens", |store, caller, _, params| store.create_token(caller, params)),
    route("GET", "/v1/tokens/{}", |store, caller, ids, params| store.retrieve_token(caller, ids.first, params)),
    route("POST", "/v1/setup_intents", |store, caller, _, params| store.create_setup_intent(caller, params)),
    route("GET", "/v1/setup_intents", |store, caller, _, params| store.list_setup_intents(caller, params)),
    for_browsers("GET", "/v1/setup_intents/{}", |store, caller, ids, params| store.retrieve_setup_intent(caller, ids.first, params)),
    route("POST", "/v1/setup_intents/{}", |store, caller, ids, params| store.update_setup_intent(caller, ids.first, params)),
    for_browsers("POST", "/v1/setup_intents/{}/confirm", |store, caller, ids, params| store.confirm_setup_intent(caller, ids.first, params)),
    route("POST", "/v1/setup_intents/{}/cancel", |store, caller, ids, params| store.cancel_setup_intent(caller, ids.first, params)),
    route("POST", "/v1/customers", |store, caller, _, params| store.create_customer(caller, params)),
    route("GET", "/v1/customers", |store, caller, _, params| store.list_customers(caller, params)),
    route("GET", "/v1/customers/search", |store, caller, _, params| store.search_customers(caller, params)),
    route("GET", "/v1/customers/{}", |store, caller, ids, params| store.retrieve_customer(caller, ids.first, params)),
    route("POST", "/v1/customers/{}", |store, caller, ids, params| store.update_customer(caller, ids.first, params)),
    route("DELETE", "/v1/customers/{}", |store, caller, ids, params| store.delete_customer(caller, ids.first, params)),
    route("GET", "/v1/customers/{}/payment_methods", |store, caller, ids, params| store.list_customer_payment_methods(caller, ids.first, params)),
    route("GET", "/v1/customers/{}/payment_methods/{}", |store, caller, ids, params| store.retrieve_customer_payment_method(caller, ids.first, ids.second, params)),
    route("POST", "/v1/customer_sessions", |store, caller, _, params| store.create_customer_session(caller, params)),
    for_browsers("GET", "/v1/elements/saved_payment_methods", |store, caller, _, params| store.shown_payment_methods(caller, params)),
    for_browsers("POST", "/v1/elements/saved_payment_methods", |store, caller, _, params| store.forget_payment_method(caller, params)),
    route("POST", "/v1/refunds", |store, caller, _, params| store.create_refund(caller, params)),
    route("GET", "/v1/refunds", |store, caller, _, params| store.list_refunds(caller, params)),
    route("GET", "/v1/refunds/{}", |store, caller, ids, params| store.retrieve_refund(caller, ids.first, params)),
    route("POST", "/v1/refunds/{}", |store, caller, ids, params| store.update_refund(caller, ids.first, params)),
    route("POST", "/v1/refunds/{}/cancel", |store, caller, ids, params| store.cancel_refund(caller, ids.first, params)),
    route("GET", "/v1/disputes", |store, caller, _, params| store.list_disputes(caller, params)),
    route("GET", "/v1/disputes/{}", |store, caller, ids, params| store.retrieve_dispute(caller, ids.first, params)),
    route("POST", "/v1/disputes/{}", |store, caller, ids, params| store.update_dispute(caller, ids.first, params)),
    route("POST", "/v1/disputes/{}/close", |store, caller, ids, params| store.close_dispute(caller, ids.first, params)),
    route("GET", "/v1/balance_transactions", |store, caller, _, params| store.list_balance_transactions(caller, params)),
    route("GET", "/v1/balance_transactions/{}", |store, caller, ids, params| store.retrieve_balance_transaction(caller, ids.first, params)),
    route("GET", "/v1/mandates/{}", |store, caller, ids, params| store.retrieve_mandate(caller, ids.first, params)),
    route("GET", "/v1/events", |store, caller, _, params| store.list_events(caller, params)),
    route("GET", "/v1/events/{}", |store, caller, ids, params| store.retrieve_event(caller, ids.first, params)),
    route("POST", "/v1/webhook_endpoints", |store, _, _, params| store.create_webhook_endpoint(params)),
    route("GET", "/v1/webhook_endpoints", |store, _, _, params| store.list_webhook_endpoints(params)),
    route("GET", "/v1/webhook_endpoints/{}", |store, _, ids, params| store.retrieve_webhook_endpoint(ids.first, params)),
    route("POST", "/v1/webhook_endpoints/{}", |store, _, ids, params| store.update_webhook_endpoint(ids.first, params)),
    route("DELETE", "/v1/webhook_endpoints/{}", |store, _, ids, params| store.delete_webhook_endpoint(ids.first, params)),
];

/// Executes a request whose sender is known.
pub(crate) fn execute(
    store: &mut Store,
    caller: &Caller,
    method: &Method,
    path: &str,
    mut params: Tree,
) -> Result<Value, ApiError> {
    let Some((route, ids)) = find(method, path) else {
        return Err(ApiError::invalid_with_status(
            StatusCode::NOT_FOUND,
            format!(
                "Unrecognized request URL ({method}: {path}). The sandbox has only a part of Stripe's API: \
                 please see https://stripe.com/docs for the whole."
            ),
        ));
    };
    if !route.for_browsers {
        caller.needs_secret_key()?;
    }
    if caller.role == Role::Publishable {
        browser::drop_telemetry(&mut params)?;
    }
    let mut params = Params::new(params);
    let expansions = params.list("expand")?.unwrap_or_default();
    for expansion in &expansions {
        expandable::check(caller, method, route.path, expansion)?;
    }
    let mut answer = (route.handler)(store, caller, ids, params)?;
    for expansion in expansions {
        expand::expand(store, caller, &mut answer, &expansion)?;
    }
    Ok(answer)
}

fn find<'a>(method: &Method, path: &'a str) -> Option<(&'static Route, Ids<'a>)> {
    ROUTES
        .iter()
        .filter(|route| route.method == method.as_str())
        .find_map(|route| Some((route, names(route.path, path)?)))
}

/// The names in a path that fits. `search` is no name: Stripe has a search of some objects.
fn names<'a>(pattern: &str, path: &'a str) -> Option<Ids<'a>> {
    let mut ids = Ids::default();
    let mut segments = path.split('/');
    for wanted in pattern.split('/') {
        let segment = segments.next()?;
        match wanted {
            "{}" if segment.is_empty() || segment == "search" => return None,
            "{}" if ids.first.is_empty() => ids.first = segment,
            "{}" => ids.second = segment,
            _ if wanted == segment => {}
            _ => return None,
        }
    }
    segments.next().is_none().then_some(ids)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_is_found_by_its_method_and_its_whole_path() {
        let found = |method: Method, path: &'static str| {
            find(&method, path).map(|(route, ids)| (route.path, ids.first, ids.second))
        };
        assert_eq!(
            found(Method::GET, "/v1/customers/cus_1/payment_methods/pm_1"),
            Some(("/v1/customers/{}/payment_methods/{}", "cus_1", "pm_1"))
        );
        assert_eq!(
            found(Method::GET, "/v1/customers/search"),
            Some(("/v1/customers/search", "", ""))
        );
        for (method, path) in [
            (Method::GET, "/v1/payment_intents/search"),
            (Method::POST, "/v1/payment_intents/search"),
            (Method::DELETE, "/v1/payment_intents/pi_1"),
            (Method::GET, "/v1/payment_intents/"),
            (Method::GET, "/v1/payment_intents/pi_1/"),
            (Method::GET, "/v1/payment_intents/pi_1/capture"),
            (Method::GET, "/v2/payment_intents"),
            (Method::GET, "/"),
        ] {
            assert_eq!(found(method.clone(), path), None, "{method} {path}");
        }
    }
}
