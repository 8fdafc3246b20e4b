//! The shop on Rocket: only the Rocket-specific part. The shop itself is in `examples/shop`.

use std::{
    future,
    io::Cursor,
    net::SocketAddr,
    process::ExitCode,
    time::{Duration, Instant},
};

use rocket::{
    Build, Config, Orbit, Request, Response, Rocket, State, catch, catchers,
    config::{Ident, LogLevel, Shutdown},
    data::{Data, FromData, ToByteUnit},
    fairing::AdHoc,
    get,
    http::{Method, Status},
    outcome::Outcome,
    post,
    response::Responder,
    routes,
    shield::Shield,
};
use shop::{Answer, App, BoxError, GRACE, Problem, Settings, Shop, StartError};
use tokio::time::timeout;

fn main() -> ExitCode {
    shop::open(run)
}

#[tokio::main]
async fn run(mut settings: Settings) -> Result<(), BoxError> {
    // Rocket 0.5 limits neither connections nor request heads, so a proxy has to.
    settings.require_proxy()?;
    // Rocket binds its address itself, but the shop needs the return address from Stripe's page
    // earlier.
    settings
        .choose_port()
        .map_err(StartError::at(settings.address))?;
    let address = settings.address;
    let app = App::start(settings).await?;
    let opening = app.clone();
    let rocket = routes(rocket::custom(config(address)), app.shop.clone())
        // Rocket binds its address itself.
        .attach(AdHoc::on_liftoff("open", move |rocket| {
            let config = rocket.config();
            opening.open_at(SocketAddr::new(config.address, config.port));
            Box::pin(async {})
        }))
        .attach(AdHoc::on_shutdown("close", |rocket| {
            Box::pin(close(rocket))
        }))
        .ignite()
        .await?;
    let (told, shutdown) = (app.told_to_stop(), rocket.shutdown());
    // Both run in one task. If another task notifies it, Rocket may stop without waiting for
    // anything.
    let server = async {
        let notify = async {
            told.await;
            shutdown.notify();
            future::pending().await
        };
        tokio::select! {
            ended = rocket.launch() => ended.map_err(StartError::at(address)),
            never = notify => never,
        }
    };
    app.run(server).await
}

/// Waits a moment before Rocket shuts down, so that requests and idle connections can end.
///
/// Rocket looks only once whether connections are left, and then waits for its whole grace period.
async fn close(rocket: &Rocket<Orbit>) {
    if let Some(shop) = rocket.state::<Shop>() {
        shop.checkout().drain().await;
    }
    tokio::time::sleep(Duration::from_millis(250)).await;
}

/// Returns all Rocket settings that matter here. Rocket reads no Rocket.toml and no ROCKET_
/// variables.
fn config(address: SocketAddr) -> Config {
    Config {
        address: address.ip(),
        port: address.port(),
        ident: Ident::none(),
        // The shop logs by itself. Rocket's own log contains whole addresses, with the keys and
        // secrets in them. While you add routes, set `Normal` to see which of them collide.
        log_level: LogLevel::Off,
        shutdown: Shutdown {
            ctrlc: false,
            #[cfg(unix)]
            signals: Default::default(),
            grace: GRACE.as_secs() as u32,
            ..Shutdown::default()
        },
        ..Config::default()
    }
}

/// Mounts the shop's own routes and those of the checkout.
fn routes(rocket: Rocket<Build>, shop: Shop) -> Rocket<Build> {
    let checkout = stripe_checkout_rocket::routes(shop.checkout().clone());
    let shop_routes = routes![
        home,
        cart,
        change_cart,
        place_order,
        order,
        picture,
        asset,
        favicon,
        api_products,
        api_create_order,
        api_order,
        admin,
        log_in_page,
        log_in,
        log_out,
        day,
        payment,
        refund,
        capture,
        call_off,
        replay,
        drop_event,
        account,
        enter_page,
        enter,
        sign_up_page,
        sign_up,
        leave,
        remove_card,
        buy,
        metrics,
    ];
    rocket
        .mount("/", shop_routes)
        .register("/", catchers![malformed, not_found, too_large, too_slow])
        .manage(shop)
        .mount("/", checkout)
        // Each response has its own headers already.
        .attach(Shield::new())
        .attach(AdHoc::on_request("begin", |request, _| {
            Box::pin(async move {
                begin(request);
            })
        }))
        .attach(AdHoc::on_response("log", |request, response| {
            Box::pin(async move { log(request, response) })
        }))
}

#[get("/", data = "<visit>")]
async fn home(shop: &State<Shop>, visit: Visit) -> Page {
    Page(shop.home(&visit.0))
}

#[get("/cart", data = "<visit>")]
async fn cart(shop: &State<Shop>, visit: Visit) -> Page {
    Page(shop.cart(&visit.0).await)
}

#[post("/cart", data = "<visit>")]
async fn change_cart(shop: &State<Shop>, visit: Visit) -> Page {
    Page(shop.change_cart(&visit.0))
}

#[post("/orders", data = "<visit>")]
async fn place_order(shop: &State<Shop>, visit: Visit) -> Page {
    Page(shop.place_order(&visit.0).await)
}

#[get("/orders/<id>", data = "<visit>")]
async fn order(shop: &State<Shop>, id: &str, visit: Visit) -> Page {
    Page(shop.order(&visit.0, id).await)
}

#[get("/pictures/<name>")]
async fn picture(shop: &State<Shop>, name: &str) -> Page {
    Page(shop.picture(name))
}

#[get("/static/<name>")]
async fn asset(shop: &State<Shop>, name: &str) -> Page {
    Page(shop.asset(name))
}

#[get("/favicon.ico")]
async fn favicon(shop: &State<Shop>) -> Page {
    Page(shop.picture("logo.svg"))
}

#[get("/api/products")]
async fn api_products(shop: &State<Shop>) -> Page {
    Page(shop.api_products())
}

#[post("/api/orders", data = "<visit>")]
async fn api_create_order(shop: &State<Shop>, visit: Visit) -> Page {
    Page(shop.api_create_order(&visit.0).await)
}

#[get("/api/orders/<id>")]
async fn api_order(shop: &State<Shop>, id: &str) -> Page {
    Page(shop.api_order(id).await)
}

#[get("/admin", data = "<visit>")]
async fn admin(shop: &State<Shop>, visit: Visit) -> Page {
    Page(shop.admin(&visit.0).await)
}

#[get("/admin/login", data = "<visit>")]
async fn log_in_page(shop: &State<Shop>, visit: Visit) -> Page {
    Page(shop.log_in_page(&visit.0).await)
}

#[post("/admin/login", data = "<visit>")]
async fn log_in(shop: &State<Shop>, visit: Visit) -> Page {
    Page(shop.log_in(&visit.0).await)
}

#[post("/admin/logout", data = "<visit>")]
async fn log_out(shop: &State<Shop>, visit: Visit) -> Page {
    Page(shop.log_out(&visit.0).await)
}

#[post("/admin/events/<id>/replay", data = "<visit>")]
async fn replay(shop: &State<Shop>, id: &str, visit: Visit) -> Page {
    Page(shop.replay(&visit.0, id).await)
}

#[get("/admin/payments/<id>", data = "<visit>")]
async fn payment(shop: &State<Shop>, id: &str, visit: Visit) -> Page {
    Page(shop.payment(&visit.0, id).await)
}

#[get("/admin/days/<day>", data = "<visit>")]
async fn day(shop: &State<Shop>, day: &str, visit: Visit) -> Page {
    Page(shop.day(&visit.0, day).await)
}

#[post("/admin/payments/<id>/refund", data = "<visit>")]
async fn refund(shop: &State<Shop>, id: &str, visit: Visit) -> Page {
    Page(shop.refund(&visit.0, id).await)
}

#[post("/admin/payments/<id>/capture", data = "<visit>")]
async fn capture(shop: &State<Shop>, id: &str, visit: Visit) -> Page {
    Page(shop.capture(&visit.0, id).await)
}

#[post("/admin/orders/<id>/call-off", data = "<visit>")]
async fn call_off(shop: &State<Shop>, id: &str, visit: Visit) -> Page {
    Page(shop.call_off(&visit.0, id).await)
}

#[post("/admin/events/<id>/drop", data = "<visit>")]
async fn drop_event(shop: &State<Shop>, id: &str, visit: Visit) -> Page {
    Page(shop.drop_event(&visit.0, id).await)
}

#[get("/account", data = "<visit>")]
async fn account(shop: &State<Shop>, visit: Visit) -> Page {
    Page(shop.account(&visit.0).await)
}

#[get("/account/login", data = "<visit>")]
async fn enter_page(shop: &State<Shop>, visit: Visit) -> Page {
    Page(shop.enter_page(&visit.0).await)
}

#[post("/account/login", data = "<visit>")]
async fn enter(shop: &State<Shop>, visit: Visit) -> Page {
    Page(shop.enter(&visit.0).await)
}

#[get("/account/new", data = "<visit>")]
async fn sign_up_page(shop: &State<Shop>, visit: Visit) -> Page {
    Page(shop.sign_up_page(&visit.0).await)
}

#[post("/account/new", data = "<visit>")]
async fn sign_up(shop: &State<Shop>, visit: Visit) -> Page {
    Page(shop.sign_up(&visit.0).await)
}

#[post("/account/logout", data = "<visit>")]
async fn leave(shop: &State<Shop>, visit: Visit) -> Page {
    Page(shop.leave(&visit.0).await)
}

#[post("/account/buy", data = "<visit>")]
async fn buy(shop: &State<Shop>, visit: Visit) -> Page {
    Page(shop.buy(&visit.0).await)
}

#[post("/account/cards/<id>/remove", data = "<visit>")]
async fn remove_card(shop: &State<Shop>, id: &str, visit: Visit) -> Page {
    Page(shop.remove_card(&visit.0, id).await)
}

#[get("/metrics", data = "<visit>")]
async fn metrics(shop: &State<Shop>, visit: Visit) -> Page {
    Page(shop.metrics(&visit.0))
}

#[catch(404)]
fn not_found(request: &Request<'_>) -> Option<Page> {
    let shop = request.rocket().state::<Shop>()?;
    Some(Page(shop.problem(Problem::NotFound)))
}

#[catch(400)]
fn malformed(request: &Request<'_>) -> Option<Page> {
    let shop = request.rocket().state::<Shop>()?;
    Some(Page(shop.problem(Problem::Malformed)))
}

#[catch(413)]
fn too_large(request: &Request<'_>) -> Option<Page> {
    let shop = request.rocket().state::<Shop>()?;
    Some(Page(shop.problem(Problem::TooLarge)))
}

#[catch(408)]
fn too_slow(request: &Request<'_>) -> Option<Page> {
    let shop = request.rocket().state::<Shop>()?;
    Some(Page(shop.problem(Problem::TooSlow)))
}

/// How many bytes of a body Rocket reads before it calls a route: the length of `_method=delete`.
const PEEKED: usize = 14;

/// A request in the form that the shop needs.
struct Visit(shop::Visit);

#[rocket::async_trait]
impl<'r> FromData<'r> for Visit {
    type Error = ();

    async fn from_data(
        request: &'r Request<'_>,
        data: Data<'r>,
    ) -> rocket::data::Outcome<'r, Self> {
        // Rocket has already read the first bytes, and does not report an error among them.
        let ended = data.peek_complete();
        let body = data.open(shop::Visit::BODY_LIMIT.bytes());
        if !ended && body.hint() < PEEKED {
            return Outcome::Error((Status::BadRequest, ()));
        }
        let body = match timeout(shop::Visit::BODY_DEADLINE, body.into_bytes()).await {
            Ok(Ok(body)) if body.is_complete() => body.into_inner(),
            Ok(Ok(_)) => return Outcome::Error((Status::PayloadTooLarge, ())),
            Ok(Err(_)) => return Outcome::Error((Status::BadRequest, ())),
            Err(_) => return Outcome::Error((Status::RequestTimeout, ())),
        };
        let header = |name: &str| request.headers().get_one(name).map(str::as_bytes);
        let last = |name: &str| request.headers().get(name).last().map(str::as_bytes);
        let peer = request.remote().map(|peer| peer.ip());
        let shop = request.rocket().state::<Shop>();
        let address = shop.and_then(|shop| shop.visitors_address(peer, last));
        Outcome::Success(Self(shop::Visit::new(header, address, body)))
    }
}

/// A response of the shop, as Rocket sends it.
struct Page(Answer);

impl<'r> Responder<'r, 'static> for Page {
    fn respond_to(self, _: &'r Request<'_>) -> rocket::response::Result<'static> {
        let mut response = Response::build();
        response
            .status(Status::new(self.0.status))
            .sized_body(self.0.body.len(), Cursor::new(self.0.body));
        for (name, value) in self.0.headers {
            // Added and not replaced, because a page may set two cookies.
            response.raw_header_adjoin(name, value);
        }
        response.ok()
    }
}

/// Returns the start of a request and its method, which Rocket changes to answer HEAD.
fn begin<'r>(request: &'r Request<'_>) -> &'r (Instant, Method) {
    request.local_cache(|| (Instant::now(), request.method()))
}

/// Logs one line for each request.
///
/// It names the route and not the address: an order's id is a key, and Stripe's redirect has the
/// client secret in its query.
fn log(request: &Request<'_>, response: &Response<'_>) {
    let (begin, method) = begin(request);
    let route = request.route().map_or("(none)", |route| route.uri.as_str());
    let status = response.status().code;
    tracing::info!(%method, route, status, ms = begin.elapsed().as_millis(), "request");
}
