//! The shop on actix-web: only the part that is specific to actix-web. The shop itself is in
//! `examples/shop`.

use std::{any::Any, pin::Pin, process::ExitCode, sync::Arc, thread, time::Instant};

use actix_web::{
    Error, FromRequest, HttpRequest, HttpResponse, HttpServer, Responder, Route,
    body::{BoxBody, MessageBody},
    dev::{Extensions, Payload, ServiceRequest, ServiceResponse},
    error::InternalError,
    guard,
    http::{
        StatusCode,
        header::{HeaderName, HeaderValue},
    },
    middleware::{self, Next},
    web::{self, Data, Path, ServiceConfig, post, resource},
};
use shop::{
    Answer, App, BoxError, Connections, GRACE, OpenConnection, Problem, Settings, Shop, StartError,
    WAIT,
};
use tokio::time::timeout;

fn main() -> ExitCode {
    shop::open(run)
}

#[tokio::main]
async fn run(mut settings: Settings) -> Result<(), BoxError> {
    let address = settings.address;
    let listener = shop::listen(address).map_err(StartError::at(address))?;
    let address = listener.local_addr()?;
    settings.address = address;
    let app = App::start(settings).await?;
    let shop = Data::new(app.shop.clone());
    // A connection takes two descriptors: see `take_place`.
    let connections = Connections::of_this_process(2);
    let workers = thread::available_parallelism().map_or(1, usize::from);
    // A quarter more, for connections that had to give way and are still closing.
    let most = connections.most() + connections.most() / 4;
    let server = HttpServer::new(move || {
        actix_web::App::new()
            .wrap(middleware::from_fn(log))
            .configure(|config| routes(config, &shop))
    })
    .workers(workers)
    .client_request_timeout(WAIT)
    .keep_alive(WAIT)
    .max_connections(most.div_ceil(workers))
    .on_connect(move |stream, data| take_place(&connections, stream, data))
    .shutdown_signal(app.told_to_stop())
    .shutdown_timeout(GRACE.as_secs())
    .listen(listener)?
    .run();
    app.open_at(address);
    app.run(server).await
}

/// Gives a connection its place.
///
/// actix-web keeps the socket to itself. So the place has its own descriptor, with which it can
/// shut the socket down.
fn take_place(connections: &Connections, stream: &dyn Any, data: &mut Extensions) {
    #[cfg(unix)]
    if let Some(stream) = stream.downcast_ref::<actix_web::rt::net::TcpStream>() {
        let from = stream.peer_addr().ok().map(|peer| peer.ip());
        match connections.enter_socket(from, stream) {
            Ok(connection) => drop(data.insert(Arc::new(connection))),
            Err(error) => tracing::error!(%error, "a connection has no place"),
        }
    }
    #[cfg(not(unix))]
    let _ = (connections, stream, data);
}

/// Adds the shop's own routes and those of the checkout.
fn routes(config: &mut ServiceConfig, shop: &Data<Shop>) {
    let checkout = stripe_checkout_actix::routes(shop.checkout().clone());
    config
        .service(resource("/").route(get().to(home)))
        .service(
            resource("/cart")
                .route(get().to(cart))
                .route(post().to(change_cart)),
        )
        .service(resource("/orders").route(post().to(place_order)))
        .service(resource("/orders/{id}").route(get().to(order)))
        .service(resource("/pictures/{name}").route(get().to(picture)))
        .service(resource("/static/{name}").route(get().to(asset)))
        .service(resource("/favicon.ico").route(get().to(favicon)))
        .service(resource("/api/products").route(get().to(api_products)))
        .service(resource("/api/orders").route(post().to(api_create_order)))
        .service(resource("/api/orders/{id}").route(get().to(api_order)))
        .service(resource("/admin").route(get().to(admin)))
        .service(
            resource("/admin/login")
                .route(get().to(log_in_page))
                .route(post().to(log_in)),
        )
        .service(resource("/admin/logout").route(post().to(log_out)))
        .service(resource("/admin/days/{day}").route(get().to(day)))
        .service(resource("/admin/payments/{id}").route(get().to(payment)))
        .service(resource("/admin/payments/{id}/refund").route(post().to(refund)))
        .service(resource("/admin/payments/{id}/capture").route(post().to(capture)))
        .service(resource("/admin/orders/{id}/call-off").route(post().to(call_off)))
        .service(resource("/admin/events/{id}/replay").route(post().to(replay)))
        .service(resource("/admin/events/{id}/drop").route(post().to(drop_event)))
        .service(resource("/account").route(get().to(account)))
        .service(
            resource("/account/login")
                .route(get().to(enter_page))
                .route(post().to(enter)),
        )
        .service(
            resource("/account/new")
                .route(get().to(sign_up_page))
                .route(post().to(sign_up)),
        )
        .service(resource("/account/logout").route(post().to(leave)))
        .service(resource("/account/cards/{id}/remove").route(post().to(remove_card)))
        .service(resource("/account/buy").route(post().to(buy)))
        .service(resource("/metrics").route(get().to(metrics)))
        .default_service(web::to(not_found))
        .app_data(shop.clone())
        .service(checkout);
}

/// Accepts GET and HEAD.
fn get() -> Route {
    web::route().guard(guard::Any(guard::Get()).or(guard::Head()))
}

async fn home(shop: Data<Shop>, visit: Visit) -> Page {
    Page(shop.home(&visit.0))
}

async fn cart(shop: Data<Shop>, visit: Visit) -> Page {
    Page(shop.cart(&visit.0).await)
}

async fn change_cart(shop: Data<Shop>, visit: Visit) -> Page {
    Page(shop.change_cart(&visit.0))
}

async fn place_order(shop: Data<Shop>, visit: Visit) -> Page {
    Page(shop.place_order(&visit.0).await)
}

async fn order(shop: Data<Shop>, id: Path<String>, visit: Visit) -> Page {
    Page(shop.order(&visit.0, &id).await)
}

async fn picture(shop: Data<Shop>, name: Path<String>) -> Page {
    Page(shop.picture(&name))
}

async fn asset(shop: Data<Shop>, name: Path<String>) -> Page {
    Page(shop.asset(&name))
}

async fn favicon(shop: Data<Shop>) -> Page {
    Page(shop.picture("logo.svg"))
}

async fn api_products(shop: Data<Shop>) -> Page {
    Page(shop.api_products())
}

async fn api_create_order(shop: Data<Shop>, visit: Visit) -> Page {
    Page(shop.api_create_order(&visit.0).await)
}

async fn api_order(shop: Data<Shop>, id: Path<String>) -> Page {
    Page(shop.api_order(&id).await)
}

async fn admin(shop: Data<Shop>, visit: Visit) -> Page {
    Page(shop.admin(&visit.0).await)
}

async fn log_in_page(shop: Data<Shop>, visit: Visit) -> Page {
    Page(shop.log_in_page(&visit.0).await)
}

async fn log_in(shop: Data<Shop>, visit: Visit) -> Page {
    Page(shop.log_in(&visit.0).await)
}

async fn log_out(shop: Data<Shop>, visit: Visit) -> Page {
    Page(shop.log_out(&visit.0).await)
}

async fn replay(shop: Data<Shop>, id: Path<String>, visit: Visit) -> Page {
    Page(shop.replay(&visit.0, &id).await)
}

async fn payment(shop: Data<Shop>, id: Path<String>, visit: Visit) -> Page {
    Page(shop.payment(&visit.0, &id).await)
}

async fn day(shop: Data<Shop>, day: Path<String>, visit: Visit) -> Page {
    Page(shop.day(&visit.0, &day).await)
}

async fn refund(shop: Data<Shop>, id: Path<String>, visit: Visit) -> Page {
    Page(shop.refund(&visit.0, &id).await)
}

async fn capture(shop: Data<Shop>, id: Path<String>, visit: Visit) -> Page {
    Page(shop.capture(&visit.0, &id).await)
}

async fn call_off(shop: Data<Shop>, id: Path<String>, visit: Visit) -> Page {
    Page(shop.call_off(&visit.0, &id).await)
}

async fn drop_event(shop: Data<Shop>, id: Path<String>, visit: Visit) -> Page {
    Page(shop.drop_event(&visit.0, &id).await)
}

async fn account(shop: Data<Shop>, visit: Visit) -> Page {
    Page(shop.account(&visit.0).await)
}

async fn enter_page(shop: Data<Shop>, visit: Visit) -> Page {
    Page(shop.enter_page(&visit.0).await)
}

async fn enter(shop: Data<Shop>, visit: Visit) -> Page {
    Page(shop.enter(&visit.0).await)
}

async fn sign_up_page(shop: Data<Shop>, visit: Visit) -> Page {
    Page(shop.sign_up_page(&visit.0).await)
}

async fn sign_up(shop: Data<Shop>, visit: Visit) -> Page {
    Page(shop.sign_up(&visit.0).await)
}

async fn leave(shop: Data<Shop>, visit: Visit) -> Page {
    Page(shop.leave(&visit.0).await)
}

async fn buy(shop: Data<Shop>, visit: Visit) -> Page {
    Page(shop.buy(&visit.0).await)
}

async fn remove_card(shop: Data<Shop>, id: Path<String>, visit: Visit) -> Page {
    Page(shop.remove_card(&visit.0, &id).await)
}

async fn metrics(shop: Data<Shop>, visit: Visit) -> Page {
    Page(shop.metrics(&visit.0))
}

async fn not_found(shop: Data<Shop>) -> Page {
    Page(shop.problem(Problem::NotFound))
}

/// A request in the form that the shop needs.
struct Visit(shop::Visit);

impl FromRequest for Visit {
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Error>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let shop = Data::<Shop>::extract(request);
        let (request, payload) = (
            request.clone(),
            web::Payload::from_request(request, payload),
        );
        Box::pin(async move {
            let (shop, payload) = (shop.await?, payload.await?);
            let body = payload.to_bytes_limited(shop::Visit::BODY_LIMIT);
            let problem = match timeout(shop::Visit::BODY_DEADLINE, body).await {
                Ok(Ok(Ok(body))) => Ok(body),
                Ok(Ok(Err(_))) => Err(Problem::Malformed),
                Ok(Err(_)) => Err(Problem::TooLarge),
                Err(_) => Err(Problem::TooSlow),
            };
            let body = problem.map_err(|problem| {
                let page = Page(shop.problem(problem)).respond_to(&request);
                InternalError::from_response("no body", page)
            })?;
            let header = |name: &str| request.headers().get(name).map(HeaderValue::as_bytes);
            let last = |name: &str| {
                let mut all = request.headers().get_all(name);
                all.next_back().map(HeaderValue::as_bytes)
            };
            let peer = request.peer_addr().map(|peer| peer.ip());
            let address = shop.visitors_address(peer, last);
            Ok(Self(shop::Visit::new(header, address, body.into())))
        })
    }
}

/// A response of the shop, as actix-web sends it.
struct Page(Answer);

impl Responder for Page {
    type Body = BoxBody;

    fn respond_to(self, _: &HttpRequest) -> HttpResponse {
        let status =
            StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = HttpResponse::with_body(status, BoxBody::new(self.0.body));
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
async fn log(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let (begin, method) = (Instant::now(), request.method().clone());
    let connection = request.conn_data::<Arc<OpenConnection>>().cloned();
    if let Some(connection) = &connection {
        connection.begin();
    }
    let response = next.call(request).await;
    if let Some(connection) = connection {
        connection.end();
    }
    let response = response?;
    let route = response.request().match_pattern();
    let route = route.as_deref().unwrap_or("(none)");
    let status = response.status().as_u16();
    tracing::info!(%method, route, status, ms = begin.elapsed().as_millis(), "request");
    Ok(response)
}
