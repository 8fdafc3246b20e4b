//! The webhook endpoint at Stripe that sends events to the shop: it is created or brought up to
//! date.

use std::fmt;

use serde::Deserialize;
use stripe_checkout_core::{
    API_VERSION, BoxError,
    stripe::{Gateway, IdempotencyKey},
    webhook::EVENT_TYPES,
};

use crate::random;

/// The result of [`subscribe`].
#[derive(Debug, PartialEq, Eq)]
pub enum Subscribed {
    /// The endpoint was created. Stripe shows its signing secret only this once.
    Created {
        /// `whsec_…`.
        secret: String,
    },
    /// An endpoint with this address did not get all required events, or was off. Its secret stays.
    Updated {
        /// The event types that were missing.
        missing: Vec<&'static str>,
        /// Whether it was disabled: Stripe disables an endpoint that fails for days.
        was_off: bool,
    },
    /// An endpoint with this address already gets all required events.
    Unchanged,
}

impl fmt::Display for Subscribed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Created { secret } => write!(
                formatter,
                "The endpoint is made. Stripe tells its signing secret only now:\nSTRIPE_WEBHOOK_SECRET={secret}"
            ),
            Self::Updated { missing, was_off } => {
                formatter.write_str("The endpoint was there")?;
                if *was_off {
                    formatter.write_str(", switched off, and is on again")?;
                }
                if !missing.is_empty() {
                    let missing = missing.join(", ");
                    write!(formatter, ", and gets these events too now: {missing}")?;
                }
                formatter.write_str(". Its signing secret stays.")
            }
            Self::Unchanged => {
                formatter.write_str("The endpoint is there, and gets all events that are needed.")
            }
        }
    }
}

#[derive(Deserialize)]
struct Endpoints {
    data: Vec<Endpoint>,
    has_more: bool,
}

#[derive(Deserialize)]
struct Endpoint {
    id: String,
    url: String,
    status: String,
    enabled_events: Vec<String>,
    secret: Option<String>,
}

/// Makes Stripe send all events that the checkout reads to this address.
///
/// An existing endpoint keeps its other events.
///
/// # Errors
/// Stripe's error, or one on the way to Stripe. You can call it again: it finds an endpoint that
/// was created.
pub async fn subscribe(gateway: &Gateway, url: &str) -> Result<Subscribed, BoxError> {
    let Some(known) = find(gateway, url).await? else {
        let mut form = vec![("url", url), ("api_version", API_VERSION)];
        form.extend(EVENT_TYPES.iter().map(|event| (EVENTS, *event)));
        let made = post(gateway, "/webhook_endpoints", &form).await?;
        let secret = made.secret.ok_or("Stripe told no signing secret")?;
        return Ok(Subscribed::Created { secret });
    };
    let gets = |event: &str| known.enabled_events.iter().any(|known| known == event);
    let missing: Vec<&str> = EVENT_TYPES
        .iter()
        .copied()
        .filter(|event| !gets("*") && !gets(event))
        .collect();
    let was_off = known.status == "disabled";
    if missing.is_empty() && !was_off {
        return Ok(Subscribed::Unchanged);
    }
    let kept = known.enabled_events.iter().map(String::as_str);
    let mut form: Vec<_> = kept
        .chain(missing.iter().copied())
        .map(|event| (EVENTS, event))
        .collect();
    if was_off {
        form.push(("disabled", "false"));
    }
    post(gateway, &format!("/webhook_endpoints/{}", known.id), &form).await?;
    Ok(Subscribed::Updated { missing, was_off })
}

const EVENTS: &str = "enabled_events[]";

async fn find(gateway: &Gateway, url: &str) -> Result<Option<Endpoint>, BoxError> {
    let mut path = "/webhook_endpoints?limit=100".to_owned();
    loop {
        let page: Endpoints = serde_json::from_slice(&gateway.get(&path, None).await?)?;
        let last = page.data.last().map(|endpoint| endpoint.id.clone());
        let known = page.data.into_iter().find(|endpoint| endpoint.url == url);
        match last.filter(|_| page.has_more && known.is_none()) {
            Some(last) => {
                path = format!("/webhook_endpoints?limit=100&starting_after={last}");
            }
            None => return Ok(known),
        }
    }
}

async fn post(gateway: &Gateway, path: &str, form: &[(&str, &str)]) -> Result<Endpoint, BoxError> {
    // This key is for this run only: the next run finds the endpoint that this one created.
    let key: IdempotencyKey = random::token()?.parse()?;
    let form = serde_html_form::to_string(form)?;
    let answer = gateway.post(path, &form, &key, None).await?;
    Ok(serde_json::from_slice(&answer)?)
}

#[cfg(test)]
mod tests {
    use stripe_checkout_sandbox::Sandbox;

    use super::*;

    const URL: &str = "http://127.0.0.1:3000/webhook";

    #[tokio::test]
    async fn an_endpoint_is_made_once_and_then_brought_up_to_date() {
        let sandbox = Sandbox::start().await.expect("a port");
        let gateway = Gateway::new(&sandbox.config()).expect("keys");
        // Other endpoints exist before.
        for port in 1..=3 {
            let url = format!("http://127.0.0.1:{port}/webhook");
            sandbox.webhook_endpoint(&url).expect("a local address");
        }
        let made = subscribe(&gateway, URL).await.expect("an endpoint");
        let Subscribed::Created { secret } = &made else {
            panic!("{made:?}");
        };
        assert!(secret.starts_with("whsec_"));
        assert!(made.to_string().contains(secret.as_str()));
        let again = subscribe(&gateway, URL).await.expect("the same endpoint");
        assert_eq!(again, Subscribed::Unchanged);
    }

    #[tokio::test]
    async fn an_endpoint_that_stripe_switched_off_is_on_again() {
        let sandbox = Sandbox::start().await.expect("a port");
        let gateway = Gateway::new(&sandbox.config()).expect("keys");
        subscribe(&gateway, URL).await.expect("an endpoint");
        let known = find(&gateway, URL).await.expect("a list").expect("it");
        let path = format!("/webhook_endpoints/{}", known.id);
        let off = post(&gateway, &path, &[("disabled", "true")]).await;
        assert_eq!(off.expect("the endpoint").status, "disabled");
        let updated = subscribe(&gateway, URL).await.expect("the endpoint");
        assert_eq!(
            updated,
            Subscribed::Updated {
                missing: Vec::new(),
                was_off: true
            }
        );
        assert!(updated.to_string().contains("is on again"), "{updated}");
        let known = find(&gateway, URL).await.expect("a list").expect("it");
        assert_eq!(known.status, "enabled");
        assert_eq!(known.enabled_events.len(), EVENT_TYPES.len());
        let again = subscribe(&gateway, URL).await.expect("the endpoint");
        assert_eq!(again, Subscribed::Unchanged);
    }

    #[tokio::test]
    async fn what_an_endpoint_gets_besides_it_goes_on_to_get() {
        let sandbox = Sandbox::start().await.expect("a port");
        let gateway = Gateway::new(&sandbox.config()).expect("keys");
        let (first, rest) = EVENT_TYPES.split_first().expect("some");
        sandbox
            .webhook_endpoint_for(URL, ["customer.created", first])
            .expect("a local address");
        let updated = subscribe(&gateway, URL).await.expect("the endpoint");
        assert_eq!(
            updated,
            Subscribed::Updated {
                missing: rest.to_vec(),
                was_off: false
            }
        );
        let known = find(&gateway, URL).await.expect("a list").expect("it");
        assert!(
            known
                .enabled_events
                .iter()
                .any(|event| event == "customer.created")
        );
        assert_eq!(known.enabled_events.len(), EVENT_TYPES.len() + 1);
        let again = subscribe(&gateway, URL).await.expect("the endpoint");
        assert_eq!(again, Subscribed::Unchanged);
    }
}
