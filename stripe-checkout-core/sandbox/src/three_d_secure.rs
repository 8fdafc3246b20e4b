//! The buyer's bank: a page with two buttons, and the address to which the stand-in for Stripe.js
//! posts the buyer's choice.

use http::{Method, StatusCode, header};
use serde_json::Value;

use super::{
    api_error::ApiError,
    form::{self, Node, Tree},
    ids,
    objects::{
        payment_intent::{Challenge, PaymentIntent, Status},
        setup_intent::SetupIntent,
    },
    response::Response,
    shared::Shared,
    store::{Cause, Store},
};
use stripe_checkout_core::Amount;

const PAGE: &str = include_str!("three_d_secure.html");

/// Answers `/sandbox/3ds/{intent}`.
pub(crate) fn route(
    shared: &Shared,
    method: &Method,
    id: &str,
    query: &str,
    body: &[u8],
) -> Response {
    let result = match *method {
        Method::GET => show(shared, id, query),
        Method::POST => answer(shared, id, body),
        _ => Err(ApiError::invalid_with_status(
            StatusCode::METHOD_NOT_ALLOWED,
            "This address takes GET and POST.",
        )),
    };
    result.unwrap_or_else(|refusal| Response::refusal(&refusal, &ids::id("req")))
}

/// An intent that waits for the buyer's bank: a PaymentIntent or a SetupIntent.
struct Waiting {
    client_secret: String,
    account: Option<String>,
    challenge: Option<Challenge>,
    status: Status,
    /// The amount to pay, or `None` if a card is only saved.
    amount: Option<Amount>,
}

impl Waiting {
    fn find(store: &Store, id: &str) -> Option<Self> {
        if let Some(intent) = store.setup_intents.find(id) {
            return Some(Self {
                client_secret: intent.client_secret.clone(),
                account: intent.account.clone(),
                challenge: intent.challenge.clone(),
                status: intent.status,
                amount: None,
            });
        }
        let intent = store.intents.find(id)?;
        Some(Self {
            client_secret: intent.client_secret.clone(),
            account: intent.account.clone(),
            challenge: intent.challenge.clone(),
            status: intent.status,
            amount: Some(Amount::new(intent.amount, intent.currency)),
        })
    }

    /// Returns Stripe's name for the object, as addresses and error codes use it.
    fn name(&self) -> &'static str {
        match self.amount {
            Some(_) => "payment_intent",
            None => "setup_intent",
        }
    }
}

fn show(shared: &Shared, id: &str, query: &str) -> Result<Response, ApiError> {
    let source = text(form::decode(query.as_bytes())?, "source").unwrap_or_default();
    let store = shared.store();
    let waiting = Waiting::find(&store, id).ok_or_else(|| no_such(id))?;
    let challenge = waiting
        .challenge
        .as_ref()
        .filter(|challenge| challenge.id == source)
        .ok_or_else(|| no_such(id))?;
    let question = match waiting.amount {
        Some(amount) => format!(
            "whether the payment of <strong>{}</strong> is yours",
            escaped(&amount.to_string())
        ),
        None => "whether your card may be saved here".to_owned(),
    };
    let page = PAGE
        .replace("{{source}}", &escaped(&challenge.id))
        .replace("{{question}}", &question);
    Ok(
        Response::new(StatusCode::OK, "text/html; charset=utf-8", page)
            .header(header::CACHE_CONTROL, "no-store")
            .header(header::REFERRER_POLICY, "no-referrer"),
    )
}

fn answer(shared: &Shared, id: &str, body: &[u8]) -> Result<Response, ApiError> {
    let params = form::decode(body)?;
    let passed = match text(params.clone(), "outcome").as_deref() {
        Some("succeed") => true,
        Some("fail") => false,
        _ => {
            return Err(
                ApiError::invalid("Invalid outcome: must be one of succeed or fail")
                    .param("outcome"),
            );
        }
    };
    let client_secret = text(params.clone(), "client_secret");
    let source = text(params, "source");
    let mut store = shared.store();
    let waiting = Waiting::find(&store, id).ok_or_else(|| no_such(id))?;
    let by_script = client_secret.is_some_and(|secret| secret == waiting.client_secret);
    let by_page = waiting
        .challenge
        .as_ref()
        .is_some_and(|challenge| source.is_some_and(|source| source == challenge.id));
    if !by_script && !by_page {
        return Err(no_such(id));
    }
    let Some(challenge) = &waiting.challenge else {
        return Err(ApiError::invalid(format!(
            "This intent waits for no authentication: it has a status of {}.",
            waiting.status.as_str()
        ))
        .code(&format!("{}_unexpected_state", waiting.name())));
    };
    let cause = Cause::outside(waiting.account.clone());
    match waiting.amount {
        Some(_) => store.answer_challenge(&cause, id, passed),
        None => store.answer_setup_challenge(&cause, id, passed),
    }
    let now = Waiting::find(&store, id).ok_or_else(|| no_such(id))?;
    let answer = match challenge.return_url.as_ref().filter(|_| by_page) {
        Some(return_url) => Response::new(StatusCode::SEE_OTHER, "text/plain", "")
            .header(header::LOCATION, &returning(return_url, id, &now))
            .header(header::REFERRER_POLICY, "no-referrer"),
        None => Response::json(StatusCode::OK, &seen_by_browser(&store, id)?),
    };
    drop(store);
    shared.changed();
    Ok(answer)
}

fn seen_by_browser(store: &Store, id: &str) -> Result<Value, ApiError> {
    let setup = store
        .setup_intents
        .find(id)
        .map(SetupIntent::render_for_browser);
    let payment = || {
        store
            .intents
            .find(id)
            .map(PaymentIntent::render_for_browser)
    };
    setup.or_else(payment).ok_or_else(|| no_such(id))
}

/// Returns the return address with the parameters that Stripe adds. They go before a fragment if
/// the address has one.
fn returning(return_url: &str, id: &str, now: &Waiting) -> String {
    let (address, fragment) = match return_url.split_once('#') {
        Some((address, fragment)) => (address, format!("#{fragment}")),
        None => (return_url, String::new()),
    };
    let joint = if address.contains('?') { '&' } else { '?' };
    let status = match now.status {
        Status::Succeeded | Status::RequiresCapture | Status::RequiresConfirmation => "succeeded",
        Status::Processing => "pending",
        _ => "failed",
    };
    // Ids and secrets contain only letters, digits and underscores, so they need no encoding.
    format!(
        "{address}{joint}{name}={id}&{name}_client_secret={}&redirect_status={status}{fragment}",
        now.client_secret,
        name = now.name(),
    )
}

fn no_such(id: &str) -> ApiError {
    ApiError::no_such(StatusCode::NOT_FOUND, "payment_intent", id, "intent")
}

fn text(mut params: Tree, name: &str) -> Option<String> {
    match params.remove(name) {
        Some(Node::Text(text)) => Some(text),
        _ => None,
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}
