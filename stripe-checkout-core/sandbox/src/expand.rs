//! `expand[]`: <https://docs.stripe.com/api/expanding_objects>.

use serde_json::Value;

use super::{api_error::ApiError, auth::Caller, store::Store};

/// As deep as Stripe goes.
const MAX_DEPTH: usize = 4;

/// Puts the object itself in the place of its id.
pub(crate) fn expand(
    store: &Store,
    caller: &Caller,
    answer: &mut Value,
    path: &str,
) -> Result<(), ApiError> {
    let segments: Vec<&str> = path.split('.').collect();
    if segments.len() > MAX_DEPTH {
        return Err(ApiError::invalid(format!(
            "You cannot expand more than {MAX_DEPTH} levels of a property ({path})."
        ))
        .param("expand"));
    }
    descend(store, caller, answer, &segments).ok_or_else(|| {
        ApiError::invalid(format!("This property cannot be expanded ({path}).")).param("expand")
    })
}

fn descend(store: &Store, caller: &Caller, value: &mut Value, path: &[&str]) -> Option<()> {
    let Some((first, rest)) = path.split_first() else {
        return Some(());
    };
    let field = value.as_object_mut()?.get_mut(*first)?;
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
        Value::Object(_) if field.get("object").is_some() => descend(store, caller, field, rest),
        _ => None,
    }
}
