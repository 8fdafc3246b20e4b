//! The sandbox's own page, `/sandbox`. It shows payments, their events and the deliveries live, and
//! has a switch for everything that otherwise needs bad luck.
//!
//! The page shows the keys, so it is for browsers on this machine only. Its addresses are for the
//! page alone: see [`host_check`](super::host_check).

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

/// Allows only the sandbox's own files, and no page may frame it.
const POLICY: &str = "default-src 'none'; base-uri 'none'; connect-src 'self'; form-action 'none'; frame-ancestors 'none'; img-src data:; script-src 'self'; style-src 'self'";

/// How long a request for changes stays open: less than the limits of proxies and browsers.
const PATIENCE: Duration = Duration::from_secs(25);

/// Returns whether an address belongs to the page.
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

/// Checks by its head whether a request is allowed. The page and its files are for everyone on this
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
        // A form on another page can send any other content type without a preflight request.
        return Err(ApiError::invalid_with_status(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "This address takes application/json.",
        ));
    }
    Ok(())
}

/// Answers requests for the page, for its files and from its script. For a request that is not
/// allowed, the body is the refusal.
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

/// Returns the current state. It answers at once if the caller does not know this version.
/// Otherwise it answers after a change or after a while.
async fn state(shared: &Shared, after: Option<u64>) -> Response {
    let mut changes = shared.changes.subscribe();
    if let Some(after) = after {
        let news = changes.wait_for(|version| *version != after);
        // Without a change the answer is the same again.
        let _ = tokio::time::timeout(PATIENCE, news).await;
    }
    // Read the version before the store, so that a change between the two counts as new.
    let version = *changes.borrow();
    Response::json(StatusCode::OK, &state::show(shared, version))
}
