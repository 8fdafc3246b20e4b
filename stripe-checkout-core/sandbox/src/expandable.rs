//! The fields that `expand[]` may name. A request is judged by them before it does anything.

use http::Method;

use super::{
    api_error::ApiError,
    auth::{Caller, Role},
};

/// As deep as Stripe goes.
const MAX_DEPTH: usize = 4;

/// The content of a field that can be expanded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    One(&'static str),
    List(&'static str),
}

use Found::{List, One};

/// Objects in which the sandbox expands nothing.
const LEAF: &str = "";

/// An object, the path of a field in it, and what the field holds.
#[rustfmt::skip]
const FIELDS: &[(&str, &str, Found)] = &[
    ("payment_intent", "application", One(LEAF)),
    ("payment_intent", "customer", One("customer")),
    ("payment_intent", "latest_charge", One("charge")),
    ("payment_intent", "payment_method", One("payment_method")),
    ("payment_intent", "review", One(LEAF)),
    ("charge", "application", One(LEAF)),
    ("charge", "application_fee", One(LEAF)),
    ("charge", "balance_transaction", One("balance_transaction")),
    ("charge", "customer", One("customer")),
    ("charge", "failure_balance_transaction", One("balance_transaction")),
    ("charge", "payment_intent", One("payment_intent")),
    ("charge", "refunds", List("refund")),
    ("charge", "review", One(LEAF)),
    ("charge", "source_transfer", One(LEAF)),
    ("customer", "default_source", One(LEAF)),
    ("customer", "invoice_settings.default_payment_method", One("payment_method")),
    ("customer", "sources", List(LEAF)),
    ("customer", "subscriptions", List(LEAF)),
    ("customer", "tax", One(LEAF)),
    ("customer", "tax_ids", List(LEAF)),
    ("customer", "test_clock", One(LEAF)),
    ("payment_method", "customer", One("customer")),
    ("setup_intent", "application", One(LEAF)),
    ("setup_intent", "customer", One("customer")),
    ("setup_intent", "mandate", One("mandate")),
    ("setup_intent", "payment_method", One("payment_method")),
    ("setup_intent", "single_use_mandate", One("mandate")),
    ("refund", "balance_transaction", One("balance_transaction")),
    ("refund", "charge", One("charge")),
    ("refund", "customer", One("customer")),
    ("refund", "failure_balance_transaction", One("balance_transaction")),
    ("refund", "payment_intent", One("payment_intent")),
    ("refund", "payment_method", One("payment_method")),
    ("refund", "source_transfer_reversal", One(LEAF)),
    ("dispute", "charge", One("charge")),
    ("dispute", "payment_intent", One("payment_intent")),
    // A charge, a refund or a dispute: the rest of the path tells which.
    ("balance_transaction", "source", One("charge")),
    ("balance_transaction", "source", One("refund")),
    ("balance_transaction", "source", One("dispute")),
    ("mandate", "payment_method", One("payment_method")),
    ("promotion_code", "customer", One("customer")),
    ("customer_session", "customer", One("customer")),
    ("checkout.session", "customer", One("customer")),
    ("checkout.session", "discounts.promotion_code", One("promotion_code")),
    ("checkout.session", "invoice", One(LEAF)),
    ("checkout.session", "line_items", List("item")),
    ("checkout.session", "payment_intent", One("payment_intent")),
    ("checkout.session", "payment_link", One(LEAF)),
    ("checkout.session", "setup_intent", One("setup_intent")),
    ("checkout.session", "shipping_cost.shipping_rate", One(LEAF)),
    ("checkout.session", "shipping_options.shipping_rate", One(LEAF)),
    ("checkout.session", "subscription", One(LEAF)),
    ("item", "price", One("price")),
    ("price", "product", One(LEAF)),
];

/// The names of collections in a path, and the objects in them.
const COLLECTIONS: &[(&str, &str)] = &[
    ("payment_intents", "payment_intent"),
    ("setup_intents", "setup_intent"),
    ("sessions", "checkout.session"),
    ("line_items", "item"),
    ("promotion_codes", "promotion_code"),
    ("charges", "charge"),
    ("payment_methods", "payment_method"),
    ("customers", "customer"),
    ("customer_sessions", "customer_session"),
    ("refunds", "refund"),
    ("disputes", "dispute"),
    ("balance_transactions", "balance_transaction"),
    ("mandates", "mandate"),
];

/// Refuses a path that no answer of this route can have.
pub(crate) fn check(
    caller: &Caller,
    method: &Method,
    route: &str,
    path: &str,
) -> Result<(), ApiError> {
    let segments: Vec<&str> = path.split('.').collect();
    if segments.len() > MAX_DEPTH {
        return Err(ApiError::invalid(format!(
            "You cannot expand more than {MAX_DEPTH} levels of a property ({path})."
        ))
        .param("expand"));
    }
    // A browser does not see the other fields.
    let seen = caller.role == Role::Secret || path == "payment_method";
    if seen && answer_of(method, route).is_some_and(|answer| leads_on(answer, &segments)) {
        Ok(())
    } else {
        Err(refusal(path))
    }
}

pub(crate) fn refusal(path: &str) -> ApiError {
    ApiError::invalid(format!("This property cannot be expanded ({path}).")).param("expand")
}

/// The object or list that a route answers with.
fn answer_of(method: &Method, route: &str) -> Option<Found> {
    let (_, object) = route.split('/').rev().find_map(|segment| {
        COLLECTIONS
            .iter()
            .find(|(collection, _)| *collection == segment)
    })?;
    Some(if method == Method::GET && !route.ends_with("{}") {
        List(object)
    } else {
        One(object)
    })
}

fn leads_on(from: Found, path: &[&str]) -> bool {
    let object = match (from, path) {
        (List(object), ["data", rest @ ..]) if !rest.is_empty() => {
            return leads_on(One(object), rest);
        }
        (List(_), _) => return false,
        (One(object), _) => object,
    };
    FIELDS
        .iter()
        .filter(|(known, _, _)| *known == object)
        .any(|(_, field, found)| {
            let field: Vec<&str> = field.split('.').collect();
            path.strip_prefix(&field[..])
                .is_some_and(|rest| rest.is_empty() || leads_on(*found, rest))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_judged_without_an_answer() {
        let one = "/v1/payment_intents/{}/confirm";
        for (method, route, path, allowed) in [
            (Method::POST, one, "latest_charge", true),
            (Method::POST, one, "latest_charge.refunds.data.charge", true),
            (Method::POST, one, "latest_charge.nonsense", false),
            (Method::POST, one, "data.latest_charge", false),
            (Method::POST, one, "amount", false),
            (Method::POST, one, "", false),
            (
                Method::GET,
                "/v1/payment_intents",
                "data.latest_charge",
                true,
            ),
            (Method::GET, "/v1/payment_intents", "latest_charge", false),
            (Method::GET, "/v1/payment_intents", "data", false),
            (Method::POST, "/v1/payment_intents", "latest_charge", true),
            (
                Method::GET,
                "/v1/balance_transactions/{}",
                "source.refunds",
                true,
            ),
            (
                Method::GET,
                "/v1/balance_transactions/{}",
                "source.amount",
                false,
            ),
            (Method::GET, "/v1/events/{}", "data.object", false),
        ] {
            let found = answer_of(&method, route);
            let path: Vec<&str> = path.split('.').collect();
            let led = found.is_some_and(|answer| leads_on(answer, &path));
            assert_eq!(led, allowed, "{method} {route} {path:?}");
        }
    }
}
