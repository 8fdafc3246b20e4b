//! The buyer's bank: a page with two buttons, and the address to which the stand-in for Stripe.js posts the buyer's choice.

use http::{Method, StatusCode, header};
use serde_json::Value;

use super::{
    answer::Answer,
    form::{self, Node, Tree},
    ids,
    objects::payment_intent::{PaymentIntent, Status},
    refusal::Refusal,
    shared::Shared,
    store::Cause,
};
use crate::amount::Amount;

const PAGE: &str = include_str!("three_d_secure.html");

/// `/sandbox/3ds/{payment_intent}`.
pub(super) fn route(
    shared: &Shared,
    method: &Method,
    id: &str,
    query: &str,
    body: &[u8],
) -> Answer {
    let result = match *method {
        Method::GET => show(shared, id, query),
        Method::POST => answer(shared, id, body),
        _ => Err(Refusal::invalid_with_status(
            StatusCode::METHOD_NOT_ALLOWED,
            "This address takes GET and POST.",
        )),
    };
    result.unwrap_or_else(|refusal| Answer::refusal(&refusal, &ids::id("req")))
}

fn show(shared: &Shared, id: &str, query: &str) -> Result<Answer, Refusal> {
    let source = text(form::decode(query.as_bytes())?, "source").unwrap_or_default();
    let store = shared.store();
    let intent = store.intents.find(id).ok_or_else(|| no_such(id))?;
    let challenge = intent
        .challenge
        .as_ref()
        .filter(|challenge| challenge.id == source)
        .ok_or_else(|| no_such(id))?;
    let amount = Amount::new(intent.amount, intent.currency).to_string();
    let page = PAGE
        .replace("{{source}}", &escaped(&challenge.id))
        .replace("{{amount}}", &escaped(&amount));
    Ok(
        Answer::new(StatusCode::OK, "text/html; charset=utf-8", page)
            .header(header::CACHE_CONTROL, "no-store")
            .header(header::REFERRER_POLICY, "no-referrer"),
    )
}

fn answer(shared: &Shared, id: &str, body: &[u8]) -> Result<Answer, Refusal> {
    let params = form::decode(body)?;
    let passed = match text(params.clone(), "outcome").as_deref() {
        Some("succeed") => true,
        Some("fail") => false,
        _ => {
            return Err(
                Refusal::invalid("Invalid outcome: must be one of succeed or fail")
                    .param("outcome"),
            );
        }
    };
    let client_secret = text(params.clone(), "client_secret");
    let source = text(params, "source");
    let mut store = shared.store();
    let intent = store.intents.find(id).ok_or_else(|| no_such(id))?;
    let challenge = intent.challenge.clone();
    let by_script = client_secret.is_some_and(|secret| secret == intent.client_secret);
    let by_page = challenge
        .as_ref()
        .is_some_and(|challenge| source.is_some_and(|source| source == challenge.id));
    if !by_script && !by_page {
        return Err(no_such(id));
    }
    let Some(challenge) = challenge else {
        return Err(Refusal::invalid(format!(
            "This PaymentIntent waits for no authentication: it has a status of {}.",
            intent.status.as_str()
        ))
        .code("payment_intent_unexpected_state"));
    };
    let cause = Cause::outside(intent.account.clone());
    store.answer_challenge(&cause, id, passed);
    let intent = store.intents.find(id).ok_or_else(|| no_such(id))?;
    let answer = match challenge.return_url.filter(|_| by_page) {
        Some(return_url) => Answer::new(StatusCode::SEE_OTHER, "text/plain", "")
            .header(header::LOCATION, &returning(&return_url, intent))
            .header(header::REFERRER_POLICY, "no-referrer"),
        None => Answer::json(StatusCode::OK, &seen_by_browser(intent)),
    };
    drop(store);
    shared.changed();
    Ok(answer)
}

fn seen_by_browser(intent: &PaymentIntent) -> Value {
    intent.render_for_browser()
}

/// The return address with what Stripe adds to it, in front of a fragment if it has one.
fn returning(return_url: &str, intent: &PaymentIntent) -> String {
    let (address, fragment) = match return_url.split_once('#') {
        Some((address, fragment)) => (address, format!("#{fragment}")),
        None => (return_url, String::new()),
    };
    let joint = if address.contains('?') { '&' } else { '?' };
    let status = match intent.status {
        Status::Succeeded | Status::RequiresCapture => "succeeded",
        Status::Processing => "pending",
        _ => "failed",
    };
    // Ids and secrets are letters, digits and underscores: nothing to encode.
    format!(
        "{address}{joint}payment_intent={}&payment_intent_client_secret={}&redirect_status={status}{fragment}",
        intent.id, intent.client_secret
    )
}

fn no_such(id: &str) -> Refusal {
    Refusal::no_such(StatusCode::NOT_FOUND, "payment_intent", id, "intent")
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
