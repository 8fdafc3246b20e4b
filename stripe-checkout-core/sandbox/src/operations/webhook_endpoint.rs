//! `/v1/webhook_endpoints`: <https://docs.stripe.com/api/webhook_endpoints>.
//!
//! A shop in any language can register itself, as it would with Stripe.

use http::StatusCode;
use serde_json::{Value, json};

use super::{
    super::{
        api_error::ApiError,
        endpoint::{self, Accounts, Endpoint},
        ids,
        params::Params,
        store::Store,
    },
    list::short_list,
    shared_params::merge_metadata,
};
use stripe_checkout_core::API_VERSION;

/// Every event type of Stripe, as named in the parameter types of its Python SDK.
const EVENT_TYPES: &str = include_str!("../event_types.txt");

impl Store {
    /// Stores a new endpoint and returns its secret. The first endpoint gets the secret from the
    /// sandbox's configuration.
    pub(crate) fn register(&mut self, mut endpoint: Endpoint) -> String {
        let secret = self
            .first_secret
            .take()
            .unwrap_or_else(|| format!("whsec_{}", ids::random(32)));
        endpoint.secrets.push(secret.clone());
        self.endpoints.push(endpoint);
        secret
    }

    pub(crate) fn create_webhook_endpoint(
        &mut self,
        mut params: Params,
    ) -> Result<Value, ApiError> {
        let address = params.required_text("url")?;
        let enabled_events =
            read_events(&mut params)?.ok_or_else(|| params.missing("enabled_events"))?;
        params.only("api_version", API_VERSION)?;
        let connect = params.boolean("connect")?.unwrap_or(false);
        let description = params.setting_up_to("description", 5000)?.flatten();
        let change = params.metadata()?;
        params.finish()?;
        let url = endpoint::parse(&address).ok_or_else(invalid_url)?;
        let mut endpoint = Endpoint::new(url, address, enabled_events);
        endpoint.description = description;
        endpoint.accounts = if connect {
            Accounts::Connected
        } else {
            Accounts::Own
        };
        if let Some(change) = change {
            merge_metadata(&mut endpoint.metadata, change)?;
        }
        let mut rendered = endpoint.render();
        let secret = self.register(endpoint);
        // Only the answer to the creation contains the secret.
        if let Some(fields) = rendered.as_object_mut() {
            fields.insert("secret".to_owned(), json!(secret));
        }
        Ok(rendered)
    }

    pub(crate) fn list_webhook_endpoints(&mut self, mut params: Params) -> Result<Value, ApiError> {
        let data: Vec<Value> = self.endpoints.iter().rev().map(Endpoint::render).collect();
        let list = short_list(
            &mut params,
            "/v1/webhook_endpoints",
            "webhook endpoint",
            data,
        )?;
        params.finish()?;
        Ok(list)
    }

    pub(crate) fn retrieve_webhook_endpoint(
        &mut self,
        id: &str,
        params: Params,
    ) -> Result<Value, ApiError> {
        params.finish()?;
        self.endpoints
            .iter()
            .find(|endpoint| endpoint.id == id)
            .map(Endpoint::render)
            .ok_or_else(|| no_such(id))
    }

    /// Updates the fields that the request names. The secret never changes.
    pub(crate) fn update_webhook_endpoint(
        &mut self,
        id: &str,
        mut params: Params,
    ) -> Result<Value, ApiError> {
        let address = params.text("url")?;
        let enabled_events = read_events(&mut params)?;
        let disabled = params.boolean("disabled")?;
        let description = params.setting_up_to("description", 5000)?;
        let change = params.metadata()?;
        params.finish()?;
        let url = match &address {
            Some(address) => Some(endpoint::parse(address).ok_or_else(invalid_url)?),
            None => None,
        };
        let endpoint = self
            .endpoints
            .iter_mut()
            .find(|endpoint| endpoint.id == id)
            .ok_or_else(|| no_such(id))?;
        if let Some(change) = change {
            merge_metadata(&mut endpoint.metadata, change)?;
        }
        if let (Some(url), Some(address)) = (url, address) {
            endpoint.url = url;
            endpoint.address = address;
        }
        endpoint.enabled_events = enabled_events.unwrap_or_else(|| endpoint.enabled_events.clone());
        endpoint.description = description.unwrap_or_else(|| endpoint.description.clone());
        endpoint.disabled = disabled.unwrap_or(endpoint.disabled);
        Ok(endpoint.render())
    }

    pub(crate) fn delete_webhook_endpoint(
        &mut self,
        id: &str,
        params: Params,
    ) -> Result<Value, ApiError> {
        params.finish()?;
        let before = self.endpoints.len();
        self.endpoints.retain(|endpoint| endpoint.id != id);
        if self.endpoints.len() == before {
            return Err(no_such(id));
        }
        Ok(json!({ "id": id, "object": "webhook_endpoint", "deleted": true }))
    }
}

/// Reads the event types that an endpoint asks for. Like Stripe, it refuses unknown types.
fn read_events(params: &mut Params) -> Result<Option<Vec<String>>, ApiError> {
    let events = params
        .list("enabled_events")?
        .filter(|events| !events.is_empty());
    let unknown = events
        .iter()
        .flatten()
        .enumerate()
        .find(|(_, name)| *name != "*" && !EVENT_TYPES.lines().any(|known| known == *name));
    match unknown {
        None => Ok(events),
        Some((place, name)) => {
            let full = format!("enabled_events[{place}]");
            Err(ApiError::invalid(format!(
                "Invalid {full}: {name} is not an event type of Stripe"
            ))
            .param(full))
        }
    }
}

fn invalid_url() -> ApiError {
    ApiError::invalid(
        "Invalid URL: the sandbox sends webhooks only to this machine, by plain http.",
    )
    .code("url_invalid")
    .param("url")
}

fn no_such(id: &str) -> ApiError {
    ApiError::no_such(
        StatusCode::NOT_FOUND,
        "webhook endpoint",
        id,
        "webhook_endpoint",
    )
}
