//! Tests of the program itself, as a learner runs it: started without any key, queried over HTTP,
//! and stopped by a signal. They need no browser.

use std::{path::Path, process::Command};

use program::{Answer, Program};
use serde_json::{Value, json};
use tempfile::TempDir;

/// The statuses that a framework answers by itself, before a request reaches the shop.
///
/// These are the ones that differ between the frameworks and cannot be configured.
#[derive(Debug, Clone, Copy)]
pub struct Manners {
    /// `POST /`, which only supports GET.
    pub wrong_verb: u16,
    /// A verb that does not exist.
    pub unknown_verb: u16,
    /// `GET /cart/`, which exists only as `/cart`.
    pub trailing_slash: u16,
    /// `GET /orders/%ff`, which is not UTF-8.
    pub path_not_text: u16,
}

/// Defines one test for each behaviour that needs no browser, against the program at this path.
///
/// ```text
/// shop::program_tests!(env!("CARGO_BIN_EXE_shop-axum"), Manners { wrong_verb: 405, … });
/// ```
#[macro_export]
macro_rules! program_tests {
    ($program:expr, $manners:expr) => {
        #[test]
        fn every_route_answers() {
            $crate::testing::program::every_route_answers($program);
        }
        #[test]
        fn the_framework_answers_what_it_answers_by_itself() {
            $crate::testing::program::manners($program, $manners);
        }
        $crate::program_tests! { $program;
            payments_have_a_limit_per_address
            a_purchase_ends_with_one_shipment_and_survives_a_restart
            a_declined_card_ships_nothing_and_a_second_one_pays
            without_keys_and_without_being_told_so_it_does_not_start
            it_closes_while_browsers_keep_their_connections
            what_is_under_way_when_it_is_told_to_close_is_answered
            pressed_twice_it_leaves_at_once
        }
    };
    ($program:expr; $($test:ident)*) => {
        $(
            #[test]
            fn $test() {
                $crate::testing::program::$test($program);
            }
        )*
    };
}

const JSON: (&str, &str) = ("content-type", "application/json");
const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");
const PASSWORD: &str = "correct horse battery";

/// A running shop, whose database is deleted when this value is dropped.
struct Open {
    program: Program,
    folder: TempDir,
}

fn open(path: &str) -> Open {
    let folder = tempfile::tempdir().expect("a folder");
    let program = start(path, folder.path());
    Open { program, folder }
}

fn start(path: &str, folder: &Path) -> Program {
    let mut command = Program::command(path, folder);
    command.envs([
        ("ADMIN_PASSWORD", PASSWORD),
        ("METRICS_TOKEN", "a token for the tests"),
        ("PAYMENTS_PER_MINUTE", "0"),
        ("STRIPE_SANDBOX", "1"),
    ]);
    Program::start(command)
}

/// An address that begins too many payments must wait, and others need not.
///
/// Behind a proxy, the address that the proxy reports counts.
pub fn payments_have_a_limit_per_address(path: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = Program::command(path, folder.path());
    command.envs([
        ("STRIPE_SANDBOX", "1"),
        ("PAYMENTS_PER_MINUTE", "2"),
        ("PROXY_HEADER", "X-Forwarded-For"),
    ]);
    let shop = Program::start(command);
    // Other addresses place the orders, because orders have a limit as well.
    let elsewhere = std::cell::Cell::new(0);
    let pay = |address: &str| {
        elsewhere.set(elsewhere.get() + 1);
        let other = format!("192.0.2.{}", elsewhere.get());
        let headers = [FORM, ("x-forwarded-for", other.as_str())];
        let placed = shop.ask("POST", "/orders", &headers, "mug=1");
        let id = placed.cookie("order").expect("an order").to_owned();
        let forwarded = ("x-forwarded-for", address);
        shop.ask(
            "POST",
            &format!("/create-payment-intent?order={id}"),
            &[JSON, forwarded],
            "{}",
        )
    };
    for _ in 0..2 {
        expect(pay("198.51.100.1, 203.0.113.7"), 200, &[]);
    }
    let refused = expect(pay("198.51.100.2, 203.0.113.7"), 429, &["retry-after"]);
    assert_eq!(refused.json()["code"], "too_many_attempts");
    expect(pay("203.0.113.8"), 200, &[]);
}

/// Each of the shop's own routes, and other requests of strangers: every framework gives the same
/// responses, headers included.
pub fn every_route_answers(path: &str) {
    let shop = &open(path).program;
    let home = expect(shop.ask("GET", "/", &[], ""), 200, &[]);
    assert!(home.body.contains("<html"), "{home:?}");
    let head = expect(shop.ask("HEAD", "/", &[], ""), 200, &[]);
    assert_eq!(head.header("content-length"), home.header("content-length"));
    expect(shop.ask("GET", "/cart", &[], ""), 200, &[]);
    expect(shop.ask("HEAD", "/cart", &[], ""), 200, &[]);
    let css = expect(shop.ask("GET", "/static/shop.css", &[], ""), 200, &[]);
    assert_eq!(css.header("content-type"), Some("text/css; charset=utf-8"));
    expect(shop.ask("GET", "/static/none.css", &[], ""), 404, &[]);
    for picture in ["/favicon.ico", "/pictures/mug.svg", "/pictures/logo.svg"] {
        let picture = expect(shop.ask("GET", picture, &[], ""), 200, &[]);
        assert_eq!(picture.header("content-type"), Some("image/svg+xml"));
    }
    expect(shop.ask("GET", "/pictures/car.svg", &[], ""), 404, &[]);

    let added = shop.ask("POST", "/cart", &[FORM], "add=mug");
    let added = expect(added, 303, &["location", "set-cookie"]);
    assert_eq!(added.cookie("cart"), Some("mug-1"));
    let none = shop.ask("POST", "/orders", &[FORM], "");
    expect(none, 303, &["location"]);
    let placed = shop.ask("POST", "/orders", &[FORM], "mug=2");
    // Two cookies, in two headers.
    let placed = expect(placed, 303, &["location", "set-cookie", "set-cookie"]);
    let id = placed.cookie("order").expect("an order");
    assert_eq!(placed.cookie("cart"), Some("mug-2"));
    expect(shop.ask("GET", &format!("/orders/{id}"), &[], ""), 200, &[]);
    expect(shop.ask("GET", "/orders/none", &[], ""), 404, &[]);
    let elsewhere = [FORM, ("origin", "https://evil.example")];
    expect(shop.ask("POST", "/cart", &elsewhere, "add=tea"), 403, &[]);

    let products = expect(shop.ask("GET", "/api/products", &[], ""), 200, &[]);
    assert!(products.json().as_array().is_some_and(|all| all.len() > 1));
    let items = json!({"items": [{"sku": "mug", "quantity": 1}]}).to_string();
    let made = shop.ask("POST", "/api/orders", &[JSON], &items);
    let made = expect(made, 201, &["location"]);
    let location = made.header("location").expect("a location");
    expect(shop.ask("GET", location, &[], ""), 200, &[]);
    expect(shop.ask("GET", "/api/orders/none", &[], ""), 404, &[]);
    expect(shop.ask("POST", "/api/orders", &[JSON], "{"), 400, &[]);
    expect(shop.ask("POST", "/api/orders", &[], &items), 415, &[]);

    back_room(shop);
    account(shop);

    expect(shop.ask("GET", "/metrics", &[], ""), 401, &[]);
    let token = [("authorization", "Bearer a token for the tests")];
    let counts = expect(shop.ask("GET", "/metrics", &token, ""), 200, &[]);
    assert!(
        counts.body.contains("stripe_checkout_events{"),
        "{counts:?}"
    );

    let nowhere = expect(shop.ask("GET", "/nowhere", &[], ""), 404, &[]);
    assert!(nowhere.body.contains("We looked under every stone"));
    expect(shop.ask("HEAD", "/nowhere", &[], ""), 404, &[]);
    expect(shop.ask("POST", "/nowhere", &[], "x"), 404, &[]);
    expect(shop.ask("GET", "/orders/", &[], ""), 404, &[]);

    let field = "add=mug&x=";
    let most = format!(
        "{field}{}",
        "x".repeat(crate::Visit::BODY_LIMIT - field.len())
    );
    let taken = shop.ask("POST", "/cart", &[FORM], &most);
    expect(taken, 303, &["location", "set-cookie"]);
    for (method, path) in [("POST", "/cart"), ("POST", "/api/orders"), ("GET", "/cart")] {
        let large = expect(
            shop.ask(method, path, &[FORM], &(most.clone() + "x")),
            413,
            &[],
        );
        assert!(large.body.contains("The request is too large."));
    }
    odd_headers(shop);

    // The log names routes and no addresses.
    for line in shop.lines() {
        assert!(!line.contains(id), "{line}");
    }
    let log = shop.lines().join("\n");
    assert!(
        log.contains("method=HEAD route=\"/cart\" status=200"),
        "{log}"
    );
    assert!(log.contains("route=\"(none)\" status=404"), "{log}");
}

/// A header that is not UTF-8 counts as missing. A header that is UTF-8 but not ASCII counts as
/// text.
fn odd_headers(shop: &Program) {
    for (cookie, in_the_cart) in [
        (&b"cookie: cart=mug-1; other=\xc3\xbc"[..], true),
        (b"cookie: cart=mug-1; other=\xff", false),
        (b"cookie: cart=mug-1\r\nx-other: \xff\xfe", true),
        (
            b"cookie: cart=mug-1\r\naccept: \xff\r\ncontent-type: \xff",
            true,
        ),
        (b"cookie: cart=\xff", false),
    ] {
        let mut connection = program::Connection::open(shop.host());
        connection.send(b"GET /cart HTTP/1.1\r\nhost: shop\r\nconnection: close\r\n");
        connection.send(cookie);
        connection.send(b"\r\n\r\n");
        let page = expect(connection.answer(false), 200, &[]);
        let said = String::from_utf8_lossy(cookie);
        assert_eq!(
            page.body.contains("€18.00"),
            in_the_cart,
            "{said}: {page:?}"
        );
    }
}

/// Checks each route of a buyer's account, with the forms that its own pages have.
fn account(shop: &Program) {
    let log_in = expect(shop.ask("GET", "/account", &[], ""), 303, &["location"]);
    assert_eq!(log_in.header("location"), Some("/account/login"));
    expect(
        shop.ask("GET", "/account/login", &[], ""),
        200,
        &["set-cookie"],
    );
    let page = expect(
        shop.ask("GET", "/account/new", &[], ""),
        200,
        &["set-cookie"],
    );
    for path in ["/account/login", "/account/new"] {
        expect(
            shop.ask("POST", path, &[FORM], "email=a@b.example"),
            403,
            &[],
        );
    }
    let entry = page.cookie("entry").expect("a cookie");
    let cookie = format!("entry={entry}");
    let form = format!("csrf={entry}&email=ada@example.com&password=a+crab+under+the+pier");
    let headers = [FORM, ("cookie", cookie.as_str())];
    let made = shop.ask("POST", "/account/new", &headers, &form);
    let cookies = ["set-cookie"; 3];
    let made = expect(made, 303, &[&["location"], &cookies[..]].concat());
    let cookie = format!("account={}", made.cookie("account").expect("a cookie"));
    let headers = [FORM, ("cookie", cookie.as_str())];
    let page = expect(shop.ask("GET", "/account", &headers[1..], ""), 200, &[]);
    assert!(page.body.contains("ada@example.com"), "{page:?}");
    let (_, csrf) = page
        .body
        .split_once("name=\"csrf\" value=\"")
        .expect("a token");
    let form = format!("csrf={}", csrf.split('"').next().unwrap_or_default());
    for path in [
        "/account/buy",
        "/account/cards/pm_1/remove",
        "/account/logout",
    ] {
        expect(shop.ask("POST", path, &headers, ""), 403, &[]);
    }
    expect(
        shop.ask("POST", "/account/cards/pm_1/remove", &headers, &form),
        404,
        &[],
    );
    expect(
        shop.ask("POST", "/account/buy", &headers, &form),
        303,
        &["location"],
    );
    let left = shop.ask("POST", "/account/logout", &headers, &form);
    expect(left, 303, &["location", "set-cookie"]);
    expect(
        shop.ask("GET", "/account", &headers[1..], ""),
        303,
        &["location"],
    );

    // The redirect posts the cart's form on to the route that opens Stripe's page.
    let hosted = shop.ask("POST", "/orders", &[FORM], "mug=1&page=hosted");
    let hosted = expect(hosted, 307, &["location", "set-cookie", "set-cookie"]);
    let till = hosted.header("location").expect("a location");
    let opened = shop.ask("POST", till, &[FORM], "mug=1&page=hosted");
    assert_eq!(opened.status, 303, "{opened:?}");
    let page = opened.header("location").unwrap_or_default();
    assert!(page.starts_with("http://127.0.0.1:"), "{opened:?}");
}

fn back_room(shop: &Program) {
    let refused = expect(shop.ask("GET", "/admin", &[], ""), 303, &["location"]);
    assert_eq!(refused.header("location"), Some("/admin/login"));
    let elsewhere = shop.ask("GET", "/admin/payments/pi_1", &[], "");
    expect(elsewhere, 303, &["location"]);
    for post in [
        "/admin/logout",
        "/admin/events/evt_1/replay",
        "/admin/events/evt_1/drop",
    ] {
        expect(shop.ask("POST", post, &[FORM], ""), 303, &["location"]);
    }
    let page = shop.ask("GET", "/admin/login", &[], "");
    let page = expect(page, 200, &["set-cookie"]);
    let forged = shop.ask(
        "POST",
        "/admin/login",
        &[FORM],
        &format!("password={PASSWORD}"),
    );
    expect(forged, 403, &[]);
    let token = page.cookie("login").expect("a token");
    let cookie = format!("login={token}");
    let form = format!("csrf={token}&password={PASSWORD}");
    let inside = shop.ask("POST", "/admin/login", &[FORM, ("cookie", &cookie)], &form);
    let inside = expect(inside, 303, &["location", "set-cookie", "set-cookie"]);

    let session = format!("admin={}", inside.cookie("admin").expect("a session"));
    let session = ("cookie", session.as_str());
    let page = expect(shop.ask("GET", "/admin", &[session], ""), 200, &[]);
    let (_, rest) = page
        .body
        .split_once("name=\"csrf\" value=\"")
        .expect("a token");
    let form = format!("csrf={}", rest.split('"').next().unwrap_or_default());
    for decision in [
        "/admin/events/evt_none/replay",
        "/admin/events/evt_none/drop",
    ] {
        expect(
            shop.ask("POST", decision, &[FORM, session], &form),
            404,
            &[],
        );
    }
    let none = shop.ask("GET", "/admin/payments/pi_none", &[session], "");
    expect(none, 404, &[]);
    let out = shop.ask("POST", "/admin/logout", &[FORM, session], &form);
    expect(out, 303, &["location", "set-cookie"]);
    expect(
        shop.ask("GET", "/admin", &[session], ""),
        303,
        &["location"],
    );

    // The limit counts guesses by connection, not by the address that the headers claim.
    let form = format!("csrf={token}&password=guess");
    let guess = |said: &str| {
        let headers = [
            FORM,
            ("cookie", &cookie),
            ("x-real-ip", said),
            ("x-forwarded-for", said),
        ];
        shop.ask("POST", "/admin/login", &headers, &form)
    };
    let guesses = [
        "192.0.2.1",
        "192.0.2.2",
        "192.0.2.3",
        "192.0.2.4",
        "192.0.2.5",
    ];
    for said in guesses {
        expect(guess(said), 403, &["set-cookie"]);
    }
    expect(guess("192.0.2.6"), 429, &["retry-after"]);
}

/// Returns a response with this status and exactly the shop's own headers and these.
#[track_caller]
fn expect(answer: Answer, status: u16, more: &[&str]) -> Answer {
    assert_eq!(answer.status, status, "{answer:?}");
    let mut headers: Vec<&str> = answer
        .headers
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    headers.retain(|name| *name != "connection");
    headers.sort_unstable();
    let mut expected = [
        "cache-control",
        "content-length",
        "content-security-policy",
        "content-type",
        "date",
        "referrer-policy",
        "x-content-type-options",
        "x-frame-options",
    ]
    .to_vec();
    expected.extend(more);
    expected.sort_unstable();
    assert_eq!(headers, expected, "{answer:?}");
    answer
}

/// Checks what the framework answers by itself.
pub fn manners(path: &str, manners: Manners) {
    let shop = &open(path).program;
    for (method, path, status) in [
        ("POST", "/", manners.wrong_verb),
        ("GET", "/orders", manners.wrong_verb),
        ("DELETE", "/cart", manners.wrong_verb),
        ("OPTIONS", "/cart", manners.wrong_verb),
        ("POST", "/checkout", manners.wrong_verb),
        ("BREW", "/cart", manners.unknown_verb),
        ("GET", "/cart/", manners.trailing_slash),
        ("GET", "/orders/%ff", manners.path_not_text),
    ] {
        let answer = shop.ask(method, path, &[], "");
        assert_eq!(answer.status, status, "{method} {path}: {answer:?}");
        if status == 405 {
            let allowed = answer.header("allow").unwrap_or_default();
            assert!(allowed.contains(if path == "/orders" { "POST" } else { "GET" }));
        }
    }
}

/// An order with its PaymentIntent, as the page has it before the buyer presses *Pay*.
struct Purchase<'a> {
    shop: &'a Program,
    id: String,
    secret: String,
    page: Answer,
}

impl<'a> Purchase<'a> {
    fn begin(shop: &'a Program) -> Self {
        let items =
            json!({"items": [{"sku": "mug", "quantity": 2}, {"sku": "tea", "quantity": 1}]});
        let order = shop.ask("POST", "/api/orders", &[JSON], &items.to_string());
        assert_eq!(order.status, 201, "{order:?}");
        let order = order.json();
        let till = order["checkout_url"].as_str().expect("an address");
        let page = shop.ask("GET", till, &[], "");
        assert_eq!(page.status, 200, "{page:?}");
        let id = order["id"].as_str().expect("an id").to_owned();
        let intent = ask_to_pay(shop, &id);
        assert_eq!(intent.status, 200, "{intent:?}");
        let intent = intent.json();
        assert_eq!(
            (&intent["amount"], &intent["currency"]),
            (&json!(4550), &json!("eur"))
        );
        let secret = intent["clientSecret"]
            .as_str()
            .expect("a secret")
            .to_owned();
        Self {
            shop,
            id,
            secret,
            page,
        }
    }

    /// Pays with this card as Stripe.js would, and returns the sandbox's response.
    fn pay(&self, card: &str) -> Value {
        let (payment, _) = self.secret.split_once("_secret_").expect("a secret");
        let script = self.page.attribute("data-stripe-js");
        let sandbox = script.replace("http://", "").replace("/stripe.js", "");
        let form = format!(
            "key={}&client_secret={}&payment_method_data[type]=card&payment_method_data[card][number]={card}\
             &payment_method_data[card][exp_month]=12&payment_method_data[card][exp_year]=2040&payment_method_data[card][cvc]=123\
             &return_url=http://{}/checkout/complete&use_stripe_sdk=true",
            self.page.attribute("data-publishable-key"),
            self.secret,
            self.shop.host()
        );
        let confirm = format!("/v1/payment_intents/{payment}/confirm");
        program::ask(&sandbox, "POST", &confirm, &[FORM], form).json()
    }
}

fn ask_to_pay(shop: &Program, id: &str) -> Answer {
    let order = json!({"order": id}).to_string();
    shop.ask("POST", "/create-payment-intent", &[JSON], &order)
}

fn order(shop: &Program, id: &str) -> Value {
    let order = shop.ask("GET", &format!("/api/orders/{id}"), &[], "");
    assert_eq!(order.status, 200, "{order:?}");
    order.json()
}

fn wait_until_paid(shop: &Program, id: &str) -> Value {
    let end = std::time::Instant::now() + program::PATIENCE;
    loop {
        let order = order(shop, id);
        if order["status"] == "paid" {
            return order;
        }
        assert!(std::time::Instant::now() < end, "{order}");
        std::thread::sleep(super::STEP);
    }
}

/// Buys, restarts the program, and finds everything unchanged.
pub fn a_purchase_ends_with_one_shipment_and_survives_a_restart(path: &str) {
    let Open {
        program: shop,
        folder,
    } = open(path);
    let purchase = Purchase::begin(&shop);
    let id = purchase.id.clone();
    let intent = purchase.pay("4242424242424242");
    assert_eq!(intent["status"], "succeeded", "{intent}");
    let paid = wait_until_paid(&shop, &id);
    assert_eq!(paid["payment_intent"], intent["id"]);
    assert_eq!(
        (&paid["amount"], &paid["currency"]),
        (&json!(4550), &json!("eur"))
    );
    assert_eq!(paid["shipments"].as_array().map(Vec::len), Some(1));

    // A paid order gets no second intent.
    let again = ask_to_pay(&shop, &id);
    assert_eq!(again.status, 409, "{again:?}");

    #[cfg(unix)]
    {
        shop.stop();
        let shop = start(path, folder.path());
        assert_eq!(order(&shop, &id), paid);
        shop.stop();
    }
    drop(folder);
}

/// One PaymentIntent takes two cards.
pub fn a_declined_card_ships_nothing_and_a_second_one_pays(path: &str) {
    let shop = &open(path).program;
    let purchase = Purchase::begin(shop);
    let answer = purchase.pay("4000000000000002");
    assert_eq!(answer["error"]["code"], "card_declined", "{answer}");
    let declined = order(shop, &purchase.id);
    assert_ne!(declined["status"], "paid");
    assert_eq!(declined["shipments"], json!([]));

    assert_eq!(purchase.pay("4242424242424242")["status"], "succeeded");
    let paid = wait_until_paid(shop, &purchase.id);
    assert_eq!(paid["shipments"].as_array().map(Vec::len), Some(1));
}

/// The program names each invalid setting.
pub fn without_keys_and_without_being_told_so_it_does_not_start(path: &str) {
    let open = open(path);
    let taken = open.program.host().rsplit(':').next().unwrap_or_default();
    let sandbox = ("STRIPE_SANDBOX", "1");
    for (vars, said) in [
        (
            vec![("STRIPE_SANDBOX", "0")],
            "STRIPE_SECRET_KEY is not set",
        ),
        (
            vec![("STRIPE_SECRET_KEY", "sk_test_123")],
            "STRIPE_WEBHOOK_SECRET is not set",
        ),
        (
            vec![sandbox, ("DATABASE_URL", "postgres://elsewhere")],
            "DATABASE_URL",
        ),
        (vec![sandbox, ("PORT", "many")], "PORT must be"),
        (vec![sandbox, ("PORT", taken)], "(BIND_ADDRESS, PORT): "),
        (vec![sandbox, ("BIND_ADDRESS", "192.0.2.1")], "192.0.2.1"),
    ] {
        // The shop ignores Rocket's own variables and file.
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("Rocket.toml"), "[default").expect("a file");
        let mut command: Command = Program::command(path, folder.path());
        command
            .env("PORT", "0")
            .env("ROCKET_PORT", "none")
            .envs(vars);
        let output = command.output().expect("it runs");
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(error.contains(said), "{said:?} is missing in {error}");
        assert!(
            error.contains("The shop cannot open: ") && !error.contains("panicked"),
            "{error}"
        );
    }
}

/// No number of idle connections keeps the program from ending.
pub fn it_closes_while_browsers_keep_their_connections(path: &str) {
    #[cfg(unix)]
    {
        let mut shop = open(path);
        let mut connections: Vec<_> = (0..8)
            .map(|_| program::Connection::open(shop.program.host()))
            .collect();
        for connection in &mut connections[1..] {
            connection.send(b"GET /favicon.ico HTTP/1.1\r\nhost: shop\r\n\r\n");
            assert_eq!(connection.answer(false).status, 200);
        }
        shop.program.signal("TERM");
        let (status, took) = shop.program.wait();
        assert!(status.success(), "{status}");
        assert!(took < crate::GRACE / 2, "{took:?}");
        assert!(connections.iter_mut().all(program::Connection::is_closed));
    }
    #[cfg(not(unix))]
    let _ = path;
}

/// A request that began before the signal still gets its response.
pub fn what_is_under_way_when_it_is_told_to_close_is_answered(path: &str) {
    #[cfg(unix)]
    for signal in ["TERM", "INT"] {
        let mut shop = open(path);
        let mut connection = under_way(&shop.program);
        shop.program.signal(signal);
        shop.program.wait_for_line("Closing.");
        connection.send(b"mug");
        let answer = connection.answer(false);
        assert_eq!((answer.status, answer.cookie("cart")), (303, Some("mug-1")));
        let (status, _) = shop.program.wait();
        assert!(status.success(), "{signal}: {status}");
    }
    #[cfg(not(unix))]
    let _ = path;
}

/// A second signal ends the program without waiting for open requests.
pub fn pressed_twice_it_leaves_at_once(path: &str) {
    #[cfg(unix)]
    {
        let mut shop = open(path);
        let _connection = under_way(&shop.program);
        shop.program.signal("INT");
        shop.program.wait_for_line("Closing.");
        shop.program.signal("INT");
        let (status, took) = shop.program.wait();
        assert_eq!(status.code(), Some(1));
        assert!(took < crate::GRACE / 2, "{took:?}");
    }
    #[cfg(not(unix))]
    let _ = path;
}

/// Opens a request whose body the program has read only in part.
#[cfg(unix)]
fn under_way(shop: &Program) -> program::Connection {
    let mut connection = program::Connection::open(shop.host());
    connection.send(
        b"POST /cart HTTP/1.1\r\nhost: shop\r\ncontent-length: 7\r\nexpect: 100-continue\r\n\r\n",
    );
    // The program asks for the body.
    assert_eq!(connection.answer(false).status, 100);
    connection.send(b"add=");
    connection
}
