//! The shop on axum: only the part that is specific to axum. The shop itself is in `examples/shop`.

mod serve;

use std::{error::Error as _, net::SocketAddr, process::ExitCode, time::Instant};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{ConnectInfo, FromRequest, MatchedPath, Path, Request, State},
    http::{HeaderName, HeaderValue, StatusCode},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use http_body_util::LengthLimitError;
use shop::{Answer, App, BoxError, Problem, Settings, Shop, StartError};
use tokio::{net::TcpListener, time::timeout};

fn main() -> ExitCode {
    shop::open(run)
}

#[tokio::main]
async fn run(mut settings: Settings) -> Result<(), BoxError> {
    let address = settings.address;
    let listener = shop::listen(address).map_err(StartError::at(address))?;
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from_std(listener)?;
    let address = listener.local_addr()?;
    settings.address = address;
    let app = App::start(settings).await?;
    let server = serve::serve(listener, routes(app.shop.clone()), app.told_to_stop());
    app.open_at(address);
    app.run(server).await
}

/// Returns the shop's own routes and those of the checkout.
fn routes(shop: Shop) -> Router {
    let checkout = stripe_checkout_axum::router(shop.checkout().clone());
    Router::new()
        .route("/", get(home))
        .route("/cart", get(cart).post(change_cart))
        .route("/orders", post(place_order))
        .route("/orders/{id}", get(order))
        .route("/pictures/{name}", get(picture))
        .route("/static/{name}", get(asset))
        .route("/favicon.ico", get(favicon))
        .route("/api/products", get(api_products))
        .route("/api/orders", post(api_create_order))
        .route("/api/orders/{id}", get(api_order))
        .route("/admin", get(admin))
        .route("/admin/login", get(log_in_page).post(log_in))
        .route("/admin/logout", post(log_out))
        .route("/admin/days/{day}", get(day))
        .route("/admin/payments/{id}", get(payment))
        .route("/admin/payments/{id}/refund", post(refund))
        .route("/admin/payments/{id}/capture", post(capture))
        .route("/admin/orders/{id}/call-off", post(call_off))
        .route("/admin/events/{id}/replay", post(replay))
        .route("/admin/events/{id}/drop", post(drop_event))
        .route("/account", get(account))
        .route("/account/login", get(enter_page).post(enter))
        .route("/account/new", get(sign_up_page).post(sign_up))
        .route("/account/logout", post(leave))
        .route("/account/cards/{id}/remove", post(remove_card))
        .route("/account/buy", post(buy))
        .route("/metrics", get(metrics))
        .fallback(not_found)
        .with_state(shop)
        .merge(checkout)
        .layer(middleware::from_fn(log))
}

async fn home(State(shop): State<Shop>, visit: Visit) -> Page {
    Page(shop.home(&visit.0))
}

async fn cart(State(shop): State<Shop>, visit: Visit) -> Page {
    Page(shop.cart(&visit.0).await)
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

async fn favicon(State(shop): State<Shop>) -> Page {
    Page(shop.picture("logo.svg"))
}

async fn api_products(State(shop): State<Shop>) -> Page {
    Page(shop.api_products())
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
    Page(shop.log_in_page(&visit.0).await)
}

async fn log_in(State(shop): State<Shop>, visit: Visit) -> Page {
    Page(shop.log_in(&visit.0).await)
}

async fn log_out(State(shop): State<Shop>, visit: Visit) -> Page {
    Page(shop.log_out(&visit.0).await)
}

async fn replay(State(shop): State<Shop>, Path(id): Path<String>, visit: Visit) -> Page {
    Page(shop.replay(&visit.0, &id).await)
}

async fn payment(State(shop): State<Shop>, Path(id): Path<String>, visit: Visit) -> Page {
    Page(shop.payment(&visit.0, &id).await)
}

async fn day(State(shop): State<Shop>, Path(day): Path<String>, visit: Visit) -> Page {
    Page(shop.day(&visit.0, &day).await)
}

async fn refund(State(shop): State<Shop>, Path(id): Path<String>, visit: Visit) -> Page {
    Page(shop.refund(&visit.0, &id).await)
}

async fn capture(State(shop): State<Shop>, Path(id): Path<String>, visit: Visit) -> Page {
    Page(shop.capture(&visit.0, &id).await)
}

async fn call_off(State(shop): State<Shop>, Path(id): Path<String>, visit: Visit) -> Page {
    Page(shop.call_off(&visit.0, &id).await)
}

async fn drop_event(State(shop): State<Shop>, Path(id): Path<String>, visit: Visit) -> Page {
    Page(shop.drop_event(&visit.0, &id).await)
}

async fn account(State(shop): State<Shop>, visit: Visit) -> Page {
    Page(shop.account(&visit.0).await)
}

async fn enter_page(State(shop): State<Shop>, visit: Visit) -> Page {
    Page(shop.enter_page(&visit.0).await)
}

async fn enter(State(shop): State<Shop>, visit: Visit) -> Page {
    Page(shop.enter(&visit.0).await)
}

async fn sign_up_page(State(shop): State<Shop>, visit: Visit) -> Page {
    Page(shop.sign_up_page(&visit.0).await)
}

async fn sign_up(State(shop): State<Shop>, visit: Visit) -> Page {
    Page(shop.sign_up(&visit.0).await)
}

async fn leave(State(shop): State<Shop>, visit: Visit) -> Page {
    Page(shop.leave(&visit.0).await)
}

async fn buy(State(shop): State<Shop>, visit: Visit) -> Page {
    Page(shop.buy(&visit.0).await)
}

async fn remove_card(State(shop): State<Shop>, Path(id): Path<String>, visit: Visit) -> Page {
    Page(shop.remove_card(&visit.0, &id).await)
}

async fn metrics(State(shop): State<Shop>, visit: Visit) -> Page {
    Page(shop.metrics(&visit.0))
}

async fn not_found(State(shop): State<Shop>) -> Page {
    Page(shop.problem(Problem::NotFound))
}

/// A request in the form that the shop needs.
struct Visit(shop::Visit);

impl FromRequest<Shop> for Visit {
    type Rejection = Page;

    async fn from_request(request: Request, shop: &Shop) -> Result<Self, Page> {
        let (parts, body) = request.into_parts();
        let body = timeout(
            shop::Visit::BODY_DEADLINE,
            to_bytes(body, shop::Visit::BODY_LIMIT),
        );
        let body = match body.await {
            Ok(Ok(body)) => body,
            Ok(Err(error)) => {
                let too_large = error
                    .source()
                    .is_some_and(|cause| cause.is::<LengthLimitError>());
                let problem = match too_large {
                    true => Problem::TooLarge,
                    false => Problem::Malformed,
                };
                return Err(Page(shop.problem(problem)));
            }
            Err(_) => return Err(Page(shop.problem(Problem::TooSlow))),
        };
        let header = |name: &str| parts.headers.get(name).map(HeaderValue::as_bytes);
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>();
        let last = |name: &str| {
            let mut all = parts.headers.get_all(name).iter();
            all.next_back().map(HeaderValue::as_bytes)
        };
        let address = shop.visitors_address(peer.map(|peer| peer.0.ip()), last);
        Ok(Self(shop::Visit::new(header, address, body.into())))
    }
}

/// A response of the shop, as axum sends it.
struct Page(Answer);

impl IntoResponse for Page {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(self.0.body));
        *response.status_mut() =
            StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        for (name, value) in self.0.headers {
            if let Ok(value) = HeaderValue::try_from(value) {
                // Appended and not replaced, because a page may set two cookies.
                response
                    .headers_mut()
                    .append(HeaderName::from_static(name), value);
            }
        }
        response
    }
}

/// Logs one line for each request.
///
/// It names the route and not the address: an order's id is a key, and Stripe's redirect has the
/// client secret in its query.
async fn log(route: Option<MatchedPath>, request: Request, next: Next) -> Response {
    let (begin, method) = (Instant::now(), request.method().clone());
    let response = next.run(request).await;
    let route = route.as_ref().map_or("(none)", MatchedPath::as_str);
    let status = response.status().as_u16();
    tracing::info!(%method, route, status, ms = begin.elapsed().as_millis(), "request");
    response
}
