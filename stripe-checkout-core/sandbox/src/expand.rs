//! `expand[]`: <https://docs.stripe.com/api/expanding_objects>.

use serde_json::{Map, Value, json};

use super::{api_error::ApiError, auth::Caller, expandable, objects::refund::Refund, store::Store};

/// Puts the object itself in the place of its id. Or adds a field that an object has only when a
/// request asks for it.
pub(crate) fn expand(
    store: &Store,
    caller: &Caller,
    answer: &mut Value,
    path: &str,
) -> Result<(), ApiError> {
    let segments: Vec<&str> = path.split('.').collect();
    // The request has done its work by now: its key keeps the answer.
    descend(store, caller, answer, &segments).ok_or_else(|| expandable::refusal(path).executed())
}

fn descend(store: &Store, caller: &Caller, value: &mut Value, path: &[&str]) -> Option<()> {
    let Some((first, rest)) = path.split_first() else {
        return Some(());
    };
    let object = value.as_object_mut()?;
    if !object.contains_key(*first) {
        let added = included(store, object, first)?;
        object.insert((*first).to_owned(), added);
        if rest.is_empty() {
            return Some(());
        }
    }
    let field = object.get_mut(*first)?;
    match field {
        // Nothing is there to expand, in this object.
        Value::Null => Some(()),
        Value::String(id) => {
            *field = store.object(caller, id)?;
            descend(store, caller, field, rest)
        }
        Value::Array(items) if !rest.is_empty() => items
            .iter_mut()
            .try_for_each(|item| descend(store, caller, item, rest)),
        Value::Object(_) if !rest.is_empty() || field.get("object").is_some() => {
            descend(store, caller, field, rest)
        }
        _ => None,
    }
}

/// A field that Stripe adds to an object only when a request asks for it.
fn included(store: &Store, object: &Map<String, Value>, field: &str) -> Option<Value> {
    let id = object.get("id")?.as_str()?;
    let list = |name: &str, data: Vec<Value>| json!({ "object": "list", "data": data, "has_more": false, "url": name });
    match (object.get("object")?.as_str()?, field) {
        ("charge", "refunds") => {
            let refunds = store
                .refunds
                .newest()
                .filter(|refund| refund.charge == id)
                .map(Refund::render)
                .collect();
            Some(list(&format!("/v1/charges/{id}/refunds"), refunds))
        }
        ("checkout.session", "line_items") => {
            let items = store.sessions.find(id)?.render_items();
            Some(list(
                &format!("/v1/checkout/sessions/{id}/line_items"),
                items,
            ))
        }
        ("customer", "tax") => Some(store.customers.find(id)?.render_tax()),
        ("customer", "sources" | "subscriptions" | "tax_ids") => {
            Some(list(&format!("/v1/customers/{id}/{field}"), Vec::new()))
        }
        _ => None,
    }
}
