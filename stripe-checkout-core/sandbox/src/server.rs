//! The HTTP server: from a connection to an answer, or to the fault that replaces it.

use std::{
    convert::Infallible,
    fmt,
    future::pending,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::{net::TcpListener, task::JoinSet};

use super::{
    api_error::ApiError,
    auth::{self, Caller, Role},
    browser,
    connection::{Cut, Wire},
    dashboard,
    faults::{self, Fault},
    form::{self, Pairs, Tree},
    host_check, hosted,
    idempotency::{Decision, Key},
    ids,
    requests::LoggedRequest,
    response::{
        IDEMPOTENCY_KEY, IDEMPOTENT_REPLAYED, ORIGINAL_REQUEST, REQUEST_ID, Response,
        STRIPE_VERSION,
    },
    routes,
    shared::Shared,
    stripe_js, three_d_secure, version,
};
use stripe_checkout_core::API_VERSION;

const MAX_BODY: usize = 1024 * 1024;
const STRIPE_CONTEXT: HeaderName = HeaderName::from_static("stripe-context");
const STRIPE_ACCOUNT: HeaderName = HeaderName::from_static("stripe-account");

/// The error that cuts the connection without an answer.
#[derive(Debug)]
struct CutOff;

impl fmt::Display for CutOff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the sandbox was told to cut this connection")
    }
}

impl std::error::Error for CutOff {}

/// Accepts connections until the sandbox is dropped.
pub(crate) async fn run(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // The process has most likely run out of file descriptors, so a retry may work.
                tracing::warn!(%error, "the sandbox could not accept a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let _ = stream.set_nodelay(true);
        shared.store().connections += 1;
        shared.changed();
        let shared = Arc::clone(&shared);
        connections.spawn(async move {
            let cut = Cut::default();
            let wire = Wire::new(stream, cut.clone());
            let service = service_fn(|request| {
                let shared = Arc::clone(&shared);
                let cut = cut.clone();
                async move {
                    let answered = handle(shared, request).await;
                    if answered.is_err() {
                        cut.cut();
                    }
                    answered
                }
            });
            // A client that hangs up needs no log line.
            let _ = http1::Builder::new()
                .serve_connection(TokioIo::new(wire), service)
                .await;
        });
    }
}

async fn handle(
    shared: Arc<Shared>,
    request: Request<Incoming>,
) -> Result<http::Response<Full<Bytes>>, CutOff> {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    let query = parts.uri.query().unwrap_or_default().to_owned();
    if let Err(refusal) = host_check::host(&parts.uri, &parts.headers) {
        discard(body).await;
        return Ok(Response::refusal(&refusal, &ids::id("req")).into_response());
    }
    if dashboard::is_here(&path) {
        // No other origin may use these addresses, so their answers have no CORS headers.
        let allowed = dashboard::check(&parts.method, &path, &parts.headers);
        let body = read_if(allowed, body).await;
        let answer = dashboard::route(&shared, &parts.method, &path, &query, body);
        return Ok(answer.await.into_response());
    }
    let answer = if parts.method == Method::OPTIONS {
        preflight()
    } else if stripe_js::is_here(&path) {
        Response::new(
            StatusCode::OK,
            "text/javascript; charset=utf-8",
            Bytes::from_static(stripe_js::SCRIPT.as_bytes()),
        )
        .header(header::CACHE_CONTROL, "no-cache")
    } else if let Some(id) = path.strip_prefix("/sandbox/3ds/") {
        match read(body).await {
            Ok(body) => three_d_secure::route(&shared, &parts.method, id, &query, &body),
            Err(refusal) => Response::refusal(&refusal, &ids::id("req")),
        }
    } else if let Some(rest) = path.strip_prefix("/sandbox/checkout") {
        match read_if(hosted::check(&parts.method, &parts.headers), body).await {
            Ok(body) => hosted::route(&shared, &parts.method, rest, &body),
            Err(refusal) => Response::refusal(&refusal, &ids::id("req")),
        }
    } else {
        api(&shared, &parts.method, path, query, parts.headers, body).await?
    };
    Ok(with_cors(answer).into_response())
}

/// Answers a request to Stripe's API.
async fn api(
    shared: &Arc<Shared>,
    method: &Method,
    path: String,
    query: String,
    headers: HeaderMap,
    body: Incoming,
) -> Result<Response, CutOff> {
    let request_id = ids::id("req");
    let head = Head::check(shared, method, &query, &headers);
    let body = match &head {
        Ok(_) => read(body).await,
        Err(_) => {
            discard(body).await;
            Ok(Bytes::new())
        }
    };
    // A copy, because the received bytes are part of a larger buffer.
    let remembered = Bytes::copy_from_slice(body.as_deref().unwrap_or_default());
    let keyed = head.and_then(|head| Keyed::check(shared, head, method, &headers, body));
    let fault = {
        let mut store = shared.store();
        store.requests.push(LoggedRequest {
            method: method.to_string(),
            path: path.clone(),
            query,
            idempotency_key: text(&headers, &IDEMPOTENCY_KEY),
            stripe_version: text(&headers, &STRIPE_VERSION),
            account: text(&headers, &STRIPE_ACCOUNT),
            body: remembered,
            request_id: request_id.clone(),
            status: None,
            replayed: false,
            received: Instant::now(),
            answered: None,
        });
        // Faults apply only to the merchant's requests, not to those of strangers.
        match keyed {
            Ok(_) => store.faults.pop_front(),
            Err(_) => None,
        }
    };
    shared.changed();

    let answer = match fault.clone() {
        Some(Fault::Denied(permission)) => {
            Response::refusal(&faults::denial(&permission), &request_id)
        }
        Some(Fault::Status(status)) => Response::refusal(&faults::refusal(status), &request_id),
        Some(Fault::StatusWith { status, headers }) => {
            let mut answer = Response::refusal(&faults::refusal(status), &request_id);
            for (name, value) in headers {
                if let Ok(name) = HeaderName::try_from(name) {
                    answer = answer.header(name, &value);
                }
            }
            answer
        }
        Some(Fault::NotJson) => Response::new(
            StatusCode::OK,
            "text/html",
            "<html><body>Not what you asked for.</body></html>",
        ),
        Some(Fault::Hang) => forever().await,
        Some(Fault::Reset) => return Err(CutOff),
        _ => {
            let request = ApiRequest {
                method: method.clone(),
                path,
                headers: headers.clone(),
                request_id: request_id.clone(),
            };
            // A separate task, because Stripe finishes a request even if the client no longer
            // waits.
            let work = tokio::spawn(execute(Arc::clone(shared), keyed, request, fault.clone()));
            let answer = work.await.unwrap_or_else(|_| {
                let refusal = ApiError::api(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "The sandbox failed. This is a bug in it.",
                );
                Response::refusal(&refusal, &request_id)
            });
            match fault {
                Some(Fault::HangAfterExecution) => forever().await,
                Some(Fault::ResetAfterExecution) => return Err(CutOff),
                _ => answer,
            }
        }
    };

    let version = text(&headers, &STRIPE_VERSION);
    let answer = answer
        .header(REQUEST_ID, &request_id)
        .header(STRIPE_VERSION, version.as_deref().unwrap_or(API_VERSION));
    shared
        .store()
        .requests
        .answered(&request_id, answer.status.as_u16(), answer.is_replayed());
    shared.changed();
    Ok(answer)
}

async fn forever() -> Response {
    let never: Infallible = pending().await;
    match never {}
}

/// The parts of a request's head that decide whether its body is read.
struct Head {
    /// The query's parameters, without the key.
    query: Pairs,
    /// The role of the key; `None` if only the body can contain it.
    role: Option<Role>,
}

impl Head {
    fn check(
        shared: &Shared,
        method: &Method,
        query: &str,
        headers: &HeaderMap,
    ) -> Result<Self, ApiError> {
        let mut query = form::pairs(query.as_bytes())?;
        let role = auth::role_of_head(shared.keys(), headers, &mut query)?;
        if role.is_none() && *method != Method::POST {
            return Err(auth::no_key());
        }
        Ok(Self { query, role })
    }
}

/// A request with a known key. The brackets in its parameters are not resolved yet.
struct Keyed {
    role: Role,
    query: Pairs,
    body: Result<Pairs, ApiError>,
}

impl Keyed {
    fn check(
        shared: &Shared,
        head: Head,
        method: &Method,
        headers: &HeaderMap,
        body: Result<Bytes, ApiError>,
    ) -> Result<Self, ApiError> {
        let mut body = match *method {
            Method::POST => body.and_then(|bytes| posted(headers, &bytes)),
            _ => Ok(Pairs::new()),
        };
        let key = body.as_mut().ok().and_then(auth::take_key);
        let role = match (head.role, key) {
            (Some(role), _) => role,
            (None, Some(key)) => auth::judge(shared.keys(), headers, &key)?,
            (None, None) => return Err(body.err().unwrap_or_else(auth::no_key)),
        };
        Ok(Self {
            role,
            query: head.query,
            body,
        })
    }
}

/// Reads the parameters in the body of a POST.
fn posted(headers: &HeaderMap, body: &[u8]) -> Result<Pairs, ApiError> {
    let content_type = text(headers, &header::CONTENT_TYPE).unwrap_or_default();
    if !body.is_empty() && content_type.starts_with("application/json") {
        return Err(ApiError::invalid(
            "Invalid request (check that your POST content type is application/x-www-form-urlencoded). \
             If you have any questions, we can help at https://support.stripe.com/.",
        ));
    }
    form::pairs(body)
}

struct ApiRequest {
    method: Method,
    path: String,
    headers: HeaderMap,
    request_id: String,
}

/// Checks and executes a request, under its idempotency key if it has one.
async fn execute(
    shared: Arc<Shared>,
    keyed: Result<Keyed, ApiError>,
    request: ApiRequest,
    fault: Option<Fault>,
) -> Response {
    let refused = |refusal: &ApiError| Response::refusal(refusal, &request.request_id);
    let (caller, params) = match admit(keyed, &request) {
        Ok(admitted) => admitted,
        Err(refusal) => return refused(&refusal),
    };
    // Only POST changes anything, so the key counts only there.
    let key = caller
        .idempotency_key
        .clone()
        .filter(|_| request.method == Method::POST)
        .map(|key| Key {
            account: caller.account.clone(),
            key,
        });
    if let Some(key) = &key {
        let decision = shared
            .store()
            .idempotency
            .begin(key, &request.path, &params);
        match decision {
            Ok(Decision::Execute) => {}
            Ok(Decision::Replay(answer)) => {
                return answer.header(IDEMPOTENT_REPLAYED, "true");
            }
            Err(refusal) => return refused(&refusal),
        }
    }
    if let Some(Fault::Slow(wait)) = fault {
        tokio::time::sleep(wait).await;
    }

    let mut store = shared.store();
    let result = match &fault {
        Some(Fault::StatusAndKeep(status)) => Err(faults::refusal(*status).executed()),
        _ => routes::execute(&mut store, &caller, &request.method, &request.path, params),
    };
    let result = match (fault, result) {
        (Some(Fault::StatusAfterExecution(status)), Ok(_)) => {
            Err(faults::refusal(status).executed())
        }
        (_, result) => result,
    };
    let (answer, executed) = match result {
        Ok(value) => (Response::json(StatusCode::OK, &value), true),
        Err(refusal) => (refused(&refusal), refusal.executed),
    };
    let Some(key) = key else {
        return answer;
    };
    let answer = answer
        .header(IDEMPOTENCY_KEY, &key.key)
        .header(ORIGINAL_REQUEST, &request.request_id);
    store
        .idempotency
        .end(&key, executed.then(|| answer.clone()));
    answer
}

/// Returns the sender and the parameters.
fn admit(keyed: Result<Keyed, ApiError>, request: &ApiRequest) -> Result<(Caller, Tree), ApiError> {
    let Keyed { role, query, body } = keyed?;
    let mut params = form::tree(query)?;
    params.append(&mut form::tree(body?)?);
    version::check(&request.headers)?;
    if text(&request.headers, &STRIPE_CONTEXT).is_some_and(|context| !context.is_empty()) {
        return Err(ApiError::invalid(
            "The sandbox does not implement the header Stripe-Context: name the account in Stripe-Account.",
        ));
    }
    let account = text(&request.headers, &STRIPE_ACCOUNT)
        .or_else(|| browser::account(&params).filter(|_| role == Role::Publishable));
    if let Some(account) = account
        .as_ref()
        .filter(|account| !account.starts_with("acct_"))
    {
        return Err(ApiError::invalid_with_status(
            StatusCode::FORBIDDEN,
            format!(
                "The provided key does not have access to account '{account}' (or that account does not exist). \
                 Application access may have been revoked."
            ),
        )
        .code("account_invalid"));
    }
    let caller = Caller {
        role,
        account,
        request_id: request.request_id.clone(),
        idempotency_key: text(&request.headers, &IDEMPOTENCY_KEY),
    };
    Ok((caller, params))
}

/// Reads the body of a request that is allowed. Otherwise discards it and returns the refusal.
async fn read_if(allowed: Result<(), ApiError>, body: Incoming) -> Result<Bytes, ApiError> {
    match allowed {
        Ok(()) => read(body).await,
        Err(refusal) => {
            discard(body).await;
            Err(refusal)
        }
    }
}

/// Receives the body of a refused request and keeps nothing of it. Otherwise the connection would
/// end before a client that still sends has read the answer.
async fn discard(body: Incoming) {
    let mut body = Limited::new(body, MAX_BODY);
    while let Some(Ok(_)) = body.frame().await {}
}

async fn read(body: Incoming) -> Result<Bytes, ApiError> {
    match Limited::new(body, MAX_BODY).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(ApiError::invalid_with_status(
            StatusCode::PAYLOAD_TOO_LARGE,
            "The request's body is too large.",
        )),
        Err(_) => Err(ApiError::invalid(
            "The request's body did not arrive whole.",
        )),
    }
}

fn text(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}

/// Lets pages of other origins use the API, as Stripe does. The publishable key and the client
/// secret protect it.
fn with_cors(answer: Response) -> Response {
    answer
        .header(header::ACCESS_CONTROL_ALLOW_ORIGIN, "*")
        .header(
            header::ACCESS_CONTROL_EXPOSE_HEADERS,
            "Request-Id, Stripe-Version",
        )
}

fn preflight() -> Response {
    Response::new(StatusCode::OK, "application/json", json!({}).to_string())
        .header(
            header::ACCESS_CONTROL_ALLOW_METHODS,
            "GET, POST, DELETE, OPTIONS",
        )
        .header(
            header::ACCESS_CONTROL_ALLOW_HEADERS,
            "Authorization, Content-Type, Idempotency-Key, Stripe-Account, Stripe-Version",
        )
        .header(header::ACCESS_CONTROL_MAX_AGE, "300")
}
