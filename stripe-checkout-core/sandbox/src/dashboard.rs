//! The sandbox's own page, `/sandbox`: what is paid, which events that made, how they travel, live, with a switch for everything that otherwise needs bad luck.
//!
//! It shows the keys, so it is for this machine's own browser, and its addresses are for that page alone: see [`host_check`](super::host_check).

mod actions;
mod state;

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, header};

use super::{
    api_error::ApiError,
    form::{self, Node},
    host_check, ids,
    response::Response,
    shared::Shared,
    store::event_body,
};

const PAGE: &str = include_str!("dashboard/dashboard.html");
const SCRIPT: &str = include_str!("dashboard/dashboard.js");
const STYLE: &str = include_str!("dashboard/dashboard.css");

/// Nothing but the sandbox's own files, and in nobody's frame.
const POLICY: &str = "default-src 'none'; base-uri 'none'; connect-src 'self'; form-action 'none'; frame-ancestors 'none'; img-src data:; script-src 'self'; style-src 'self'";

/// For so long a question for news stays open: less than what proxies and browsers bear.
const PATIENCE: Duration = Duration::from_secs(25);

/// Whether an address is one of the page's.
pub(crate) fn is_here(path: &str) -> bool {
    matches!(
        path,
        "/sandbox"
            | "/sandbox/dashboard.js"
            | "/sandbox/dashboard.css"
            | "/sandbox/state"
            | "/sandbox/do"
    ) || path.starts_with("/sandbox/event/")
}

/// Whether a request may ask this, by its head: the page and its files are for everyone on this
/// machine, the rest is for the page alone.
pub(crate) fn check(method: &Method, path: &str, headers: &HeaderMap) -> Result<(), ApiError> {
    if matches!(
        path,
        "/sandbox" | "/sandbox/dashboard.js" | "/sandbox/dashboard.css"
    ) {
        return Ok(());
    }
    host_check::own_page(headers)?;
    let json = headers.get(header::CONTENT_TYPE).is_some_and(|value| {
        let kind = value.as_bytes().split(|byte| *byte == b';').next();
        kind.is_some_and(|kind| kind.trim_ascii().eq_ignore_ascii_case(b"application/json"))
    });
    if *method == Method::POST && !json {
        // A form of another page could send anything else without asking the browser's leave.
        return Err(ApiError::invalid_with_status(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "This address takes application/json.",
        ));
    }
    Ok(())
}

/// Answers the page, its files and its script. For a request that may not ask this, the body is
/// the refusal.
pub(crate) async fn route(
    shared: &Shared,
    method: &Method,
    path: &str,
    query: &str,
    body: Result<Bytes, ApiError>,
) -> Response {
    let result = match (method.as_str(), path) {
        ("GET", "/sandbox") => Ok(file("text/html; charset=utf-8", PAGE)),
        ("GET", "/sandbox/dashboard.js") => Ok(file("text/javascript; charset=utf-8", SCRIPT)),
        ("GET", "/sandbox/dashboard.css") => Ok(file("text/css; charset=utf-8", STYLE)),
        _ => match body {
            Ok(body) => ask(shared, method, path, query, &body).await,
            Err(refusal) => Err(refusal),
        },
    };
    result
        .unwrap_or_else(|refusal| Response::refusal(&refusal, &ids::id("req")))
        .header(header::CONTENT_SECURITY_POLICY, POLICY)
        .header(header::REFERRER_POLICY, "no-referrer")
        .header(header::X_CONTENT_TYPE_OPTIONS, "nosniff")
        .header(header::CACHE_CONTROL, "no-store")
        .header(
            http::HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        )
}

fn file(content_type: &'static str, content: &'static str) -> Response {
    Response::new(StatusCode::OK, content_type, content)
}

async fn ask(
    shared: &Shared,
    method: &Method,
    path: &str,
    query: &str,
    body: &[u8],
) -> Result<Response, ApiError> {
    match (method.as_str(), path) {
        ("GET", "/sandbox/state") => {
            let after = match form::decode(query.as_bytes())?.remove("after") {
                Some(Node::Text(after)) => Some(after.parse().map_err(|_| {
                    ApiError::invalid("`after` is the `version` of an earlier answer.")
                })?),
                _ => None,
            };
            Ok(state(shared, after).await)
        }
        ("POST", "/sandbox/do") => {
            let said = actions::execute(&mut shared.store(), body);
            shared.changed();
            Ok(Response::json(
                StatusCode::OK,
                &serde_json::json!({ "said": said? }),
            ))
        }
        ("GET", _) if let Some(id) = path.strip_prefix("/sandbox/event/") => {
            let store = shared.store();
            let event = store
                .events
                .find(id)
                .ok_or_else(|| ApiError::no_such(StatusCode::NOT_FOUND, "event", id, "id"))?;
            Ok(Response::new(
                StatusCode::OK,
                "application/json",
                event_body(event),
            ))
        }
        _ => Err(ApiError::invalid_with_status(
            StatusCode::METHOD_NOT_ALLOWED,
            "This address does not take this method.",
        )),
    }
}

/// How everything stands: at once to who does not know yet, otherwise when something happens, or after a while.
async fn state(shared: &Shared, after: Option<u64>) -> Response {
    let mut changes = shared.changes.subscribe();
    if let Some(after) = after {
        let news = changes.wait_for(|version| *version != after);
        // Without news the answer is the same again.
        let _ = tokio::time::timeout(PATIENCE, news).await;
    }
    // Before the look at the store: what happens between the two is news once more.
    let version = *changes.borrow();
    Response::json(StatusCode::OK, &state::show(shared, version))
}
