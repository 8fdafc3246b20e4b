//! The sandbox's stand-in for Stripe's own page: the page that the buyer of a Checkout Session
//! sees, and the addresses that the page's script calls.
//!
//! As with Stripe, anyone who knows the address can pay. The address of an embedded page contains
//! its client secret.

use http::{HeaderMap, Method, StatusCode, header};
use serde_json::Value;

use super::{
    api_error::ApiError,
    form::{self, Node, Tree},
    host_check, ids,
    operations::{no_such, shown},
    response::Response,
    shared::Shared,
    store::Store,
};

const PAGE: &str = include_str!("hosted.html");
const SCRIPT: &str = include_str!("hosted.js");
const STYLE: &str = include_str!("hosted.css");

/// Allows only the sandbox's own files. Any shop on this machine may frame an embedded page; no
/// page may frame a hosted one.
const POLICY: &str = "default-src 'none'; base-uri 'none'; form-action 'none'; connect-src 'self'; img-src data:; script-src 'self'; style-src 'self'";

/// Checks by its head whether a request is allowed: only the page itself can pay.
pub(crate) fn check(method: &Method, headers: &HeaderMap) -> Result<(), ApiError> {
    match *method {
        Method::POST => host_check::own_page(headers),
        _ => Ok(()),
    }
}

/// Answers `/sandbox/checkout…`. `rest` is the part after that.
pub(crate) fn route(shared: &Shared, method: &Method, rest: &str, body: &[u8]) -> Response {
    let segments: Vec<&str> = rest.trim_start_matches('/').split('/').collect();
    let result = match (method.as_str(), segments.as_slice()) {
        ("GET", [".js"]) => Ok(asset("text/javascript; charset=utf-8", SCRIPT)),
        ("GET", [".css"]) => Ok(asset("text/css; charset=utf-8", STYLE)),
        ("GET", [name]) => {
            let store = shared.store();
            admitted(&store, name).and_then(|id| page(&store, id))
        }
        ("GET", [name, "state"]) => {
            let mut store = shared.store();
            admitted(&store, name).and_then(|id| state(&mut store, id))
        }
        ("POST", [name, action @ ("code" | "shipping" | "pay")]) => {
            let id = admitted(&shared.store(), name);
            id.and_then(|id| act(shared, id, action, body))
        }
        _ => Err(ApiError::invalid_with_status(
            StatusCode::NOT_FOUND,
            "The sandbox has no such page.",
        )),
    };
    result.unwrap_or_else(|refusal| Response::refusal(&refusal, &ids::id("req")))
}

fn asset(content_type: &'static str, content: &'static str) -> Response {
    Response::new(StatusCode::OK, content_type, content).header(header::CACHE_CONTROL, "no-cache")
}

/// Returns the id of the session that an address names: a hosted session by its id, an embedded one
/// by its whole client secret.
fn admitted<'a>(store: &Store, name: &'a str) -> Result<&'a str, ApiError> {
    let id = name.split_once("_secret_").map_or(name, |(id, _)| id);
    let session = store.sessions.find(id).ok_or_else(|| no_such(id))?;
    if session.page_name() != name {
        return Err(no_such(id));
    }
    Ok(id)
}

fn page(store: &Store, id: &str) -> Result<Response, ApiError> {
    let session = store.sessions.find(id).ok_or_else(|| no_such(id))?;
    let ancestors = if session.embedded { "*" } else { "'none'" };
    let policy = format!("{POLICY}; frame-ancestors {ancestors}");
    Ok(
        Response::new(StatusCode::OK, "text/html; charset=utf-8", PAGE)
            .header(header::CACHE_CONTROL, "no-store")
            .header(header::REFERRER_POLICY, "no-referrer")
            .header(header::CONTENT_SECURITY_POLICY, &policy),
    )
}

fn state(store: &mut Store, id: &str) -> Result<Response, ApiError> {
    store.end_old_sessions();
    let session = store.sessions.find(id).ok_or_else(|| no_such(id))?;
    let intent = session.payment_intent.as_deref();
    let intent = intent.and_then(|intent| store.intents.find(intent));
    let error = intent.and_then(|intent| intent.last_payment_error.as_ref());
    Ok(answer(&shown(session, error)))
}

fn act(shared: &Shared, id: &str, action: &str, body: &[u8]) -> Result<Response, ApiError> {
    let mut params = form::decode(body)?;
    let mut store = shared.store();
    let done = match action {
        "code" => store.apply_code(id, &text(&mut params, "code")),
        "shipping" => {
            let chosen = text(&mut params, "shipping").parse();
            chosen
                .map_err(|_| ApiError::invalid("There is no such way to ship.").param("shipping"))
                .and_then(|chosen| store.choose_shipping(id, chosen))
        }
        _ => match store.pay_session(id, params) {
            Ok(Some(url)) => {
                drop(store);
                shared.changed();
                return Ok(answer(&serde_json::json!({ "action": url })));
            }
            Ok(None) => Ok(()),
            Err(refusal) => Err(refusal),
        },
    };
    let answer = done.and_then(|()| state(&mut store, id));
    drop(store);
    shared.changed();
    answer
}

fn answer(value: &Value) -> Response {
    Response::json(StatusCode::OK, value).header(header::CACHE_CONTROL, "no-store")
}

fn text(params: &mut Tree, name: &str) -> String {
    match params.remove(name) {
        Some(Node::Text(text)) => text,
        _ => String::new(),
    }
}
