//! The shop on axum: only what is axum's own. What the shop does stands in `examples/shop`.

use std::{
    net::{IpAddr, SocketAddr},
    process::ExitCode,
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::{ConnectInfo, FromRequest, MatchedPath, Path, Request, State},
    http::{HeaderName, HeaderValue, StatusCode},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use shop::{Answer, App, Problem, Settings, Shop};
use tokio::{net::TcpListener, signal};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// How long requests that are under way may take once the shop is told to close.
const GRACE: Duration = Duration::from_secs(20);

fn main() -> ExitCode {
    // Before the runtime, because `.env` becomes part of the environment, and that must not change under other threads.
    let opened = Settings::from_env()
        .map_err(BoxError::from)
        .and_then(|settings| {
            shop::log();
            run(settings)
        });
    match opened {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("The shop cannot open: {}.", shop::causes(&*error));
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn run(settings: Settings) -> Result<(), BoxError> {
    let address = settings.address;
    let listener = TcpListener::bind(address)
        .await
        .map_err(|error| format!("{address} (BIND_ADDRESS, PORT): {error}"))?;
    let app = App::start(settings, listener.local_addr()?).await?;
    let routes = routes(app.shop.clone()).into_make_service_with_connect_info::<SocketAddr>();
    println!("{}", app.banner());

    let (told, mut closing) = tokio::sync::watch::channel(());
    let server = axum::serve(listener, routes).with_graceful_shutdown(async move {
        told_to_stop().await;
        drop(told);
    });
    tokio::select! {
        ended = server => ended?,
        // A browser that keeps its connection busy must not keep the shop from closing.
        () = async { let _ = closing.changed().await; tokio::time::sleep(GRACE).await } => {}
    }
    app.stop().await;
    Ok(())
}

/// The shop's own routes, and those of the checkout beside them.
fn routes(shop: Shop) -> Router {
    let checkout = stripe_checkout_axum::router(shop.checkout().clone());
    Router::new()
        .route(
            "/",
            get(async |State(shop): State<Shop>, visit: Visit| Page(shop.home(&visit.0))),
        )
        .route(
            "/cart",
            get(async |State(shop): State<Shop>, visit: Visit| Page(shop.cart(&visit.0)))
                .post(change_cart),
        )
        .route("/orders", post(place_order))
        .route("/orders/{id}", get(order))
        .route("/pictures/{name}", get(picture))
        .route("/static/{name}", get(asset))
        .route(
            "/favicon.ico",
            get(async |State(shop): State<Shop>| Page(shop.picture("logo.svg"))),
        )
        .route(
            "/api/products",
            get(async |State(shop): State<Shop>| Page(shop.api_products())),
        )
        .route("/api/orders", post(api_create_order))
        .route("/api/orders/{id}", get(api_order))
        .route("/admin", get(admin))
        .route("/admin/login", get(log_in_page).post(log_in))
        .route("/admin/logout", post(log_out))
        .route("/admin/events/{id}/replay", post(replay))
        .fallback(async |State(shop): State<Shop>| Page(shop.problem(Problem::NotFound)))
        .with_state(shop)
        .merge(checkout)
        .layer(middleware::from_fn(log))
}

async fn change_cart(State(shop): State<Shop>, visit: Visit) -> Page {
    Page(shop.change_cart(&visit.0))
}

async fn place_order(State(shop): State<Shop>, visit: Visit) -> Page {
    Page(shop.place_order(&visit.0).await)
}

async fn order(State(shop): State<Shop>, Path(id): Path<String>, visit: Visit) -> Page {
    Page(shop.order(&visit.0, &id).await)
}

async fn picture(State(shop): State<Shop>, Path(name): Path<String>) -> Page {
    Page(shop.picture(&name))
}

async fn asset(State(shop): State<Shop>, Path(name): Path<String>) -> Page {
    Page(shop.asset(&name))
}

async fn api_create_order(State(shop): State<Shop>, visit: Visit) -> Page {
    Page(shop.api_create_order(&visit.0).await)
}

async fn api_order(State(shop): State<Shop>, Path(id): Path<String>) -> Page {
    Page(shop.api_order(&id).await)
}

async fn admin(State(shop): State<Shop>, visit: Visit) -> Page {
    Page(shop.admin(&visit.0).await)
}

async fn log_in_page(State(shop): State<Shop>, visit: Visit) -> Page {
    Page(shop.log_in_page(&visit.0))
}

async fn log_in(State(shop): State<Shop>, visit: Visit) -> Page {
    Page(shop.log_in(&visit.0))
}

async fn log_out(State(shop): State<Shop>, visit: Visit) -> Page {
    Page(shop.log_out(&visit.0))
}

async fn replay(State(shop): State<Shop>, Path(id): Path<String>, visit: Visit) -> Page {
    Page(shop.replay(&visit.0, &id).await)
}

/// A request, as the shop wants it.
struct Visit(shop::Visit);

impl FromRequest<Shop> for Visit {
    type Rejection = Page;

    async fn from_request(request: Request, shop: &Shop) -> Result<Self, Page> {
        let (parts, body) = request.into_parts();
        let body = axum::body::to_bytes(body, shop::Visit::BODY_LIMIT)
            .await
            .map_err(|_| Page(shop.problem(Problem::TooLarge)))?;
        let header = |name: &str| {
            parts
                .headers
                .get(name)
                .and_then(|value| value.to_str().ok())
                .map(str::to_owned)
        };
        let peer: Option<IpAddr> = parts
            .extensions
            .get::<ConnectInfo<SocketAddr>>()
            .map(|peer| peer.0.ip());
        Ok(Self(shop::Visit::new(header, peer, body.into())))
    }
}

/// An answer, as axum sends it.
struct Page(Answer);

impl IntoResponse for Page {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(self.0.body));
        *response.status_mut() =
            StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        for (name, value) in self.0.headers {
            if let Ok(value) = HeaderValue::try_from(value) {
                // Appended, not replaced: a page may set two cookies.
                response
                    .headers_mut()
                    .append(HeaderName::from_static(name), value);
            }
        }
        response
    }
}

/// One line for each request. The route instead of the address: an order's id is a key, and Stripe's redirect carries the client secret in the query.
async fn log(route: Option<MatchedPath>, request: Request, next: Next) -> Response {
    let method = request.method().clone();
    let begin = std::time::Instant::now();
    let response = next.run(request).await;
    let route = route.as_ref().map_or("(none)", MatchedPath::as_str);
    tracing::info!(%method, route, status = response.status().as_u16(), ms = begin.elapsed().as_millis(), "request");
    response
}

/// Ctrl-C, or what `kill`, systemd and Docker send.
async fn told_to_stop() {
    let interrupt = async {
        if signal::ctrl_c().await.is_err() {
            // Without the signal there is nothing to wait for; the shop stays open until it is killed.
            std::future::pending::<()>().await;
        }
    };
    #[cfg(unix)]
    let terminate = async {
        match signal::unix::signal(signal::unix::SignalKind::terminate()) {
            Ok(mut signal) => drop(signal.recv().await),
            Err(_) => std::future::pending().await,
        }
    };
    #[cfg(not(unix))]
    let terminate = std::future::pending::<()>();
    tokio::select! {
        () = interrupt => {}
        () = terminate => {}
    }
    println!("Closing. Press Ctrl-C again to leave at once.");
    tokio::spawn(async {
        if signal::ctrl_c().await.is_ok() {
            std::process::exit(1);
        }
    });
}
