//! Cases of one request and one response: every row of the route table, good and bad.

use super::client::{Answer, HOST, Request};
use super::driver::Difference;
use super::world::{LIMIT, OTHER_LIMIT, OTHER_SECRET, SECRET, paid, success};
use crate::WebhookSecret;
use crate::testing::{EventBody, now, sign};

/// A request and its expected response.
pub(super) struct Exchange {
    pub(super) name: String,
    pub(super) request: Request,
    right: Right,
    /// The expected response if the framework has this difference.
    but: Option<(Difference, Right)>,
}

#[derive(Clone)]
struct Right {
    status: u16,
    /// A part that the body must contain: a code, a word, a sentence.
    piece: &'static str,
}

impl Exchange {
    /// Returns a description of the error in a response, if there is one.
    pub(super) fn judge(&self, answer: &Answer, differences: &[Difference]) -> Option<String> {
        let right = match &self.but {
            Some((difference, right)) if differences.contains(difference) => right,
            _ => &self.right,
        };
        if answer.status != right.status {
            return Some(format!(
                "{} instead of {}: {}",
                answer.status,
                right.status,
                answer.beginning()
            ));
        }
        if !answer.text().contains(right.piece) {
            return Some(format!("no {:?} in {:?}", right.piece, answer.beginning()));
        }
        // Every response of the core has these headers.
        let sound = answer.header("x-content-type-options") == Some("nosniff")
            && answer
                .header("content-security-policy")
                .is_some_and(|policy| policy.starts_with("default-src 'none'"))
            && answer.header("cache-control").is_some()
            && (!matches!(right.status, 429 | 503) || answer.header("retry-after").is_some());
        (!sound).then(|| format!("headers {:?}", answer.headers))
    }

    pub(super) fn is_touched_by(&self, differences: &[Difference]) -> bool {
        self.but
            .as_ref()
            .is_some_and(|(difference, _)| differences.contains(difference))
    }

    fn but(mut self, difference: Difference, status: u16, piece: &'static str) -> Self {
        self.but = Some((difference, Right { status, piece }));
        self
    }
}

/// All exchanges, in the order in which they are sent.
pub(super) fn all() -> Vec<Exchange> {
    let mut all = page();
    all.extend(assets());
    all.extend(create());
    #[cfg(feature = "sessions")]
    all.extend(sessions());
    all.extend(same_site());
    all.extend(complete_and_status());
    all.extend(customers());
    all.extend(webhook());
    all.extend(limits());
    all.extend(by_hand());
    all.extend(prefixes());
    all
}

fn exchange(name: &str, request: Request, status: u16, piece: &'static str) -> Exchange {
    Exchange {
        name: name.to_owned(),
        request,
        right: Right { status, piece },
        but: None,
    }
}

fn get(target: &str) -> Request {
    Request::new("GET", target)
}

fn json(target: &str, body: impl Into<Vec<u8>>) -> Request {
    Request::new("POST", target)
        .header("Content-Type", "application/json")
        .body(body)
}

const CREATE: &str = "/create-payment-intent";

/// The page's own request for an order.
fn order(reference: &str) -> Request {
    json(CREATE, format!(r#"{{"order":{{"order":"{reference}"}}}}"#))
}

#[rustfmt::skip] // A table.
fn page() -> Vec<Exchange> {
    let page = |query: &str| get(&format!("/checkout?{query}"));
    let mut all = vec![
        exchange("the page", page("order=tea"), 200, "payment-element"),
        exchange("HEAD of the page", Request::new("HEAD", "/checkout?order=tea"), 200, ""),
        exchange("the page by HTTP/1.0", page("order=tea").old_version(), 200, "payment-element"),
        exchange("the page, asked for with a body", page("order=tea").body("stray"), 200, "payment-element"),
        exchange("the page under its whole address", get(&format!("http://{HOST}/checkout?order=tea")), 200, "payment-element"),
        exchange("the page with header names in any case", page("order=members").header("x-MEMBER", "ada"), 200, "payment-element"),
        exchange("the page with headers that are no text", page("order=tea").header("Cookie", b"\xff\xfe").header("X-Odd", b"\xc3("), 200, "payment-element"),
        exchange("no order", get("/checkout"), 400, "could not be read"),
        exchange("an empty query", get("/checkout?"), 400, "could not be read"),
        exchange("an order without its member", page("item=tea"), 400, "could not be read"),
        exchange("an order twice", page("order=tea&order=milk"), 400, "could not be read"),
        exchange("an order refused", page("order=sold-out"), 422, "Sold out, sorry."),
        exchange("an order for members, a stranger", page("order=members"), 422, "Members only."),
        exchange("an order for members, another member", page("order=members").header("X-Member", "bob"), 422, "Members only."),
        exchange("an order for members, a member", page("order=members").header("X-Member", "ada"), 200, "payment-element"),
        exchange("an order that is paid", page("order=paid"), 409, "orders&#x2f;paid"),
        exchange("an order whose payment is on its way", page("order=on-its-way"), 409, "orders&#x2f;on-its-way"),
        exchange("an order above the cap", page("order=millions"), 422, "order_not_payable"),
        exchange("an order that is authorised first", page("order=made-to-order"), 200, "data-capture-method=\"manual\" data-setup-future-usage=\"\""),
        exchange("an order that saves the card", page("order=kept"), 200, "data-capture-method=\"automatic\" data-setup-future-usage=\"off_session\""),
        exchange("prices are not available", page("order=database-down"), 503, "not available"),
        exchange("prices that panic", page("order=bug"), 500, "internal_error"),
        exchange("a trailing slash", get("/checkout/?order=tea%20pot"), 308, ""),
        exchange("a trailing slash without an order", get("/checkout/"), 308, ""),
    ];
    // The core decodes every query once.
    for (query, status, piece) in [
        ("order=a%20b", 200, "payment-element"),
        ("order=a+b", 200, "payment-element"),
        ("order=a%2Bb", 200, "payment-element"),
        ("order=a%26order%3Db", 200, "payment-element"),
        ("order=%E8%8C%B6", 200, "payment-element"),
        ("order=%e8%8c%b6", 200, "payment-element"),
        ("order=a/../b?c", 200, "payment-element"),
        ("order=a%2F..%2Fb", 200, "payment-element"),
        ("order=%2525", 200, "payment-element"),
        ("order=%3Cscript%3Ealert(1)%3C/script%3E", 200, "payment-element"),
        ("order=tea&unknown=1&=&", 200, "payment-element"),
        ("&&order=tea&", 200, "payment-element"),
        ("order=a;b=c", 200, "payment-element"),
        ("order=a|b^c{d}", 200, "payment-element"),
        ("order=it's", 200, "payment-element"),
        ("order=%", 200, "payment-element"),
        ("order=%zz", 200, "payment-element"),
        ("order=%ff%fe", 200, "payment-element"),
        ("order=a%00b", 422, "order_not_payable"),
        ("order=", 422, "order_not_payable"),
        ("order", 422, "order_not_payable"),
        ("ORDER=tea", 400, "could not be read"),
        ("%6Frder=tea", 200, "payment-element"),
        ("order[]=tea", 400, "could not be read"),
    ] {
        all.push(exchange(&format!("the query {query}"), page(query), status, piece));
    }
    let long = "x".repeat(3000);
    all.push(exchange("a reference that is too long", page(&format!("order={long}")), 422, "order_not_payable"));
    all.push(exchange("a long query", page(&format!("order=tea&long={long}")), 200, "payment-element"));
    all
}

#[rustfmt::skip] // A table.
fn assets() -> Vec<Exchange> {
    let mut all = Vec::new();
    for (file, piece) in [
        ("checkout.js", "confirmPayment"),
        ("complete.js", "status"),
        ("old-browser.js", "old-browser"),
        ("checkout.css", "{"),
    ] {
        let path = format!("/checkout/{file}");
        all.push(exchange(file, get(&path), 200, piece));
        all.push(exchange(&format!("HEAD of {file}"), Request::new("HEAD", &path), 200, ""));
        all.push(exchange(&format!("{file}, as any is known"), get(&path).header("If-None-Match", "*"), 304, ""));
        all.push(exchange(&format!("{file}, as another is known"), get(&path).header("If-None-Match", "\"0\", W/\"1\""), 200, piece));
    }
    all.push(exchange("a file with a query", get("/checkout/checkout.css?v=1"), 200, "{"));
    all
}

#[rustfmt::skip] // A table.
fn create() -> Vec<Exchange> {
    let typed = |content_type: &str| {
        Request::new("POST", CREATE)
            .header("Content-Type", content_type)
            .body(r#"{"order":{"order":"tea"}}"#)
    };
    vec![
        exchange("a payment", order("tea"), 200, r#""clientSecret":"pi_tea_secret_test","amount":1999,"currency":"eur""#),
        exchange("the same payment again", order("tea"), 200, "pi_tea_secret_test"),
        exchange("a payment for the query's order", json(&format!("{CREATE}?order=coffee"), "{}"), 200, "pi_coffee_secret_test"),
        exchange("a payment for the query's order, not the body's", json(&format!("{CREATE}?order=coffee"), r#"{"order":{"order":"tea"}}"#), 200, "pi_coffee_secret_test"),
        exchange("a payment that is authorised first", order("made-to-order"), 200, r#""currency":"eur","captureMethod":"manual"}"#),
        exchange("a payment that saves the card", order("kept"), 200, r#""captureMethod":"automatic","setupFutureUsage":"off_session"}"#),
        exchange("a payment in chunks", order("chunks").chunked(3), 200, "pi_chunks_secret_test"),
        exchange("a payment, slowly", order("slow").slow(), 200, "pi_slow_secret_test"),
        exchange("a payment after 100 Continue", order("patient").expected(), 200, "pi_patient_secret_test"),
        exchange("a payment by HTTP/1.0", order("old").old_version(), 200, "pi_old_secret_test"),
        exchange("a payment by a member", order("members").header("X-Member", "ada"), 200, "pi_members_secret_test"),
        exchange("a payment by a stranger", order("members"), 422, "Members only."),
        exchange("no body", json(CREATE, ""), 400, "invalid_order"),
        exchange("no JSON", json(CREATE, "{"), 400, "invalid_order"),
        exchange("JSON that is no object", json(CREATE, "[]"), 400, "invalid_order"),
        exchange("an order that is none", json(CREATE, r#"{"order":7}"#), 400, "invalid_order"),
        exchange("JSON in a wrong encoding", json(CREATE, &b"{\"order\":{\"order\":\"\xff\"}}"[..]), 400, "invalid_order"),
        exchange("JSON nested too deeply", json(CREATE, format!("{}{}", "[".repeat(2000), "]".repeat(2000))), 400, "invalid_order"),
        exchange("less body than there is", order("tea").lying(-1), 400, "invalid_order"),
        exchange("JSON with a charset", typed("Application/JSON; charset=utf-8"), 200, "pi_tea_secret_test"),
        exchange("text", typed("text/plain"), 415, "not_json"),
        exchange("a form", typed("application/x-www-form-urlencoded"), 415, "not_json"),
        exchange("two types", typed("application/json").header("Content-Type", "text/plain"), 415, "not_json"),
        exchange("no type", Request::new("POST", CREATE).body("{}"), 415, "not_json"),
        exchange("a type that is no text", Request::new("POST", CREATE).header("Content-Type", b"\xff"), 415, "not_json"),
        exchange("a body that is too large", json(CREATE, vec![b' '; LIMIT + 1]), 413, "body_too_large"),
        exchange("refused", order("sold-out"), 422, "Sold out, sorry."),
        exchange("refused by the guard", order("banned"), 403, "Please contact the shop."),
        exchange("too many by the guard", order("too-often"), 429, "too_many_attempts"),
        exchange("a guard that cannot tell", order("guard-down"), 503, "\"unavailable\""),
        exchange("a guard that asks for the address", order("from-here"), 200, "pi_from-here_secret_test"),
        exchange("above the cap", order("millions"), 422, "order_not_payable"),
        exchange("declined", order("declined"), 402, "declined"),
        exchange("paid already", order("paid"), 409, "order_paid"),
        exchange("on its way already", order("on-its-way"), 409, "payment_processing"),
        exchange("in flight", order("conflict"), 409, "in_flight"),
        exchange("too many", order("limited"), 429, "rate_limited"),
        exchange("Stripe refuses the amount", order("too-small"), 502, "payment_refused"),
        exchange("Stripe refuses the key", order("wrong-key"), 502, "payment_refused"),
        exchange("Stripe forbids it", order("forbidden"), 502, "payment_refused"),
        exchange("Stripe answers nonsense", order("nonsense"), 502, "payment_refused"),
        exchange("Stripe is broken", order("broken"), 503, "payment_unavailable"),
        exchange("Stripe cannot be reached", order("unreachable"), 503, "payment_unavailable"),
        exchange("no prices", order("database-down"), 503, "pricing_unavailable"),
        exchange("a panic", order("bug"), 500, "internal_error"),
    ]
}

#[cfg(feature = "sessions")]
#[rustfmt::skip] // A table.
fn sessions() -> Vec<Exchange> {
    const SESSION: &str = "/create-checkout-session";
    const OTHER: &str = "/shop/de/create-checkout-session";
    let page = |target: &str, body: &str| Request::new("POST", target).header("Content-Type", "application/x-www-form-urlencoded").body(body.to_owned());
    let form = |body: &str| page(SESSION, body);
    let order = |reference: &str| json(SESSION, format!(r#"{{"order":{{"order":"{reference}"}}}}"#));
    let complete = |query: &str| get(&format!("/checkout/complete?{query}"));
    let status = |body: &str| json("/checkout/status", body);
    vec![
        exchange("a session", order("session"), 200, r#"{"url":"https://checkout.stripe.com/c/pay/cs_session#fid"}"#),
        exchange("the same session again", order("session"), 200, "cs_session#fid"),
        exchange("a session for a form", form("order=session"), 303, ""),
        exchange("a session for a form with a charset", form("order=session").header("Sec-Fetch-Site", "same-origin"), 303, ""),
        exchange("a session for a form in chunks", form("order=session").chunked(2), 303, ""),
        exchange("a session for the query's order", page(&format!("{SESSION}?order=session"), ""), 303, ""),
        exchange("a session in a frame", json(OTHER, r#"{"order":{"order":"session"}}"#), 200, r#"{"clientSecret":"cs_session_secret_test"}"#),
        exchange("a form for a session in a frame", page(OTHER, "order=session"), 415, "Send JSON"),
        exchange("a session by a stranger", form("order=members"), 422, "Members only."),
        exchange("a session for no order", form(""), 400, "could not be read"),
        exchange("a session for no JSON", json(SESSION, "{"), 400, "invalid_order"),
        exchange("a session for text", Request::new("POST", SESSION).header("Content-Type", "text/plain").body("order=session"), 415, "not_json"),
        exchange("a session from elsewhere", form("order=session").header("Sec-Fetch-Site", "cross-site"), 403, "own page"),
        exchange("a session whose form is too large", page(SESSION, &"x".repeat(LIMIT + 1)), 413, "too large"),
        exchange("a session refused", form("order=sold-out"), 422, "Sold out, sorry."),
        exchange("a session refused by the guard", order("banned"), 403, "Please contact the shop."),
        exchange("a session declined", order("declined"), 402, "declined"),
        exchange("a session in flight", form("order=conflict"), 409, "try again"),
        exchange("a session, and Stripe is broken", form("order=broken"), 503, "reached"),
        exchange("a session, and Stripe answers nonsense", order("nonsense"), 502, "payment_refused"),
        exchange("a session that will be paid", order("succeeded-there"), 409, "order_paid"),
        exchange("complete of a session", complete("session_id=cs_session"), 200, "data-state=\"requires_payment_method\""),
        exchange("complete of a session that is paid", complete("session_id=cs_succeeded-there"), 200, "data-state=\"succeeded\""),
        exchange("complete of a session that is none", complete("session_id=..%2Fevents"), 404, "complete.js"),
        exchange("complete of an empty session", complete("session_id="), 404, "complete.js"),
        exchange("the status of a session", status(r#"{"session_id":"cs_succeeded-there"}"#), 200, r#"{"status":"succeeded"}"#),
        exchange("the status of a session that is none", status(r#"{"session_id":"pi_tea"}"#), 404, "unknown_payment"),
        exchange("the status of a session that is no text", status(r#"{"session_id":7}"#), 400, "invalid_request"),
    ]
}

#[rustfmt::skip] // A table.
fn same_site() -> Vec<Exchange> {
    let mut all = Vec::new();
    for (header, value, status) in [
        ("Sec-Fetch-Site", "same-origin", 200),
        ("Sec-Fetch-Site", "same-site", 403),
        ("Sec-Fetch-Site", "cross-site", 403),
        ("Sec-Fetch-Site", "none", 403),
        ("Sec-Fetch-Site", "", 403),
        ("Origin", "http://shop.example", 200),
        ("Origin", "https://SHOP.example", 200),
        ("Origin", "https://shop.example:8443", 403),
        ("Origin", "https://evil.example", 403),
        ("Origin", "https://shop.example.evil.example", 403),
        ("Origin", "null", 403),
        ("Origin", "", 403),
    ] {
        let piece = if status == 200 {
            "clientSecret"
        } else {
            "cross_site"
        };
        all.push(exchange(&format!("{header}: {value}"), order("tea").header(header, value), status, piece));
    }
    let odd = |header: &str| order("tea").header(header, b"\xff\xfe");
    let drops = Difference::DropsNonUtf8Headers;
    let elsewhere = format!("http://other.example{CREATE}");
    let asked =
        |origin: &str| json(&elsewhere, r#"{"order":{"order":"tea"}}"#).header("Origin", origin);
    let forgets = Difference::ForgetsAuthority;
    all.extend([
        exchange("a Sec-Fetch-Site that is no text", odd("Sec-Fetch-Site"), 403, "cross_site").but(drops, 200, "clientSecret"),
        exchange("an Origin that is no text", odd("Origin"), 403, "cross_site").but(drops, 200, "clientSecret"),
        exchange("two origins", order("tea").header("Origin", "http://shop.example").header("Origin", "http://shop.example"), 403, "cross_site"),
        exchange("an allowed origin from elsewhere", order("tea").header("Origin", "http://shop.example").header("Sec-Fetch-Site", "cross-site"), 403, "cross_site"),
        exchange("the origin of the target", asked("http://other.example"), 200, "clientSecret").but(forgets, 403, "cross_site"),
        exchange("the origin of the header beside a target", asked("http://shop.example"), 403, "cross_site").but(forgets, 200, "clientSecret"),
        exchange("a status from elsewhere", json("/checkout/status", "{}").header("Sec-Fetch-Site", "cross-site"), 403, "cross_site"),
    ]);
    all
}

#[rustfmt::skip] // A table.
fn complete_and_status() -> Vec<Exchange> {
    let complete = |query: &str| get(&format!("/checkout/complete?{query}"));
    let status = |body: &str| json("/checkout/status", body);
    vec![
        exchange("complete without a payment", get("/checkout/complete"), 400, "could not be read"),
        exchange("complete with half of it", complete("payment_intent_client_secret=x"), 400, "could not be read"),
        exchange("complete after the script took the secret away", complete("payment_intent=pi_x&redirect_status=succeeded"), 200, "complete.js"),
        exchange("complete of a payment that nobody knows", complete("payment_intent=pi_nobody&payment_intent_client_secret=pi_nobody_secret_test"), 404, "complete.js"),
        exchange("complete with the wrong secret", complete("payment_intent=pi_tea&payment_intent_client_secret=pi_tea_secret_guess"), 404, "complete.js"),
        exchange("complete with an id that is none", complete("payment_intent=..%2Fcharges&payment_intent_client_secret=x"), 404, "complete.js"),
        exchange("complete of a payment that waits", complete("payment_intent=pi_tea&payment_intent_client_secret=pi_tea_secret_test&redirect_pm_type=card&checkout_query=order%3Dtea"), 200, "..&#x2f;checkout?order=tea"),
        exchange("complete with what only Stripe adds", complete("payment_intent=pi_tea&payment_intent_client_secret=pi_tea_secret_test&redirect_pm_type=card&source_type=card"), 200, "href=\"\" hidden"),
        exchange("complete after the script took the secret away and left the way back", complete("payment_intent=pi_x&checkout_query=order%3Dtea"), 200, "..&#x2f;checkout?order=tea"),
        exchange("complete with a way back that leads elsewhere", complete("payment_intent=pi_x&checkout_query=%2F%2Fevil.example"), 200, "..&#x2f;checkout?&#x2f;&#x2f;evil.example"),
        exchange("HEAD of complete", Request::new("HEAD", "/checkout/complete?payment_intent=pi_x"), 200, ""),
        exchange("status of a payment that waits", status(r#"{"payment_intent":"pi_tea","payment_intent_client_secret":"pi_tea_secret_test"}"#), 200, r#"{"status":"requires_payment_method"}"#),
        exchange("status with the wrong secret", status(r#"{"payment_intent":"pi_tea","payment_intent_client_secret":"pi_tea_secret_guess"}"#), 404, "unknown_payment"),
        exchange("status of a payment that nobody knows", status(r#"{"payment_intent":"pi_nobody","payment_intent_client_secret":"x"}"#), 404, "unknown_payment"),
        exchange("status of nothing", status("{}"), 400, "invalid_request"),
        exchange("status without JSON", status("payment_intent=pi_tea"), 400, "invalid_request"),
        exchange("status as text", Request::new("POST", "/checkout/status").header("Content-Type", "text/plain").body("{}"), 415, "not_json"),
        exchange("status with too large a body", json("/checkout/status", vec![b' '; LIMIT + 1]), 413, "body_too_large"),
    ]
}

#[rustfmt::skip] // A table.
fn customers() -> Vec<Exchange> {
    const SETUP: &str = "/create-setup-intent";
    const SESSION: &str = "/checkout/customer-session";
    let by = |name: &str, request: Request| request.header("X-Member", name);
    let page = || get("/checkout/setup");
    let setup = |body: &str| json(SETUP, body);
    let complete = |query: &str| get(&format!("/checkout/setup/complete?{query}"));
    let back = |name: &str| complete(&format!("setup_intent=seti_{name}&setup_intent_client_secret=seti_{name}_secret_test&redirect_status=x"));
    let status = |name: &str, secret: &str| json("/checkout/status", format!(r#"{{"setup_intent":"seti_{name}","setup_intent_client_secret":"{secret}"}}"#));
    let mut all = vec![
        exchange("the page to save a card, a guest", page(), 403, "Please sign in"),
        exchange("the page to save a card, nobody", by("nobody", page()), 403, "Please sign in"),
        exchange("the page to save a card, a member", by("ada", page()), 200, "payment-element"),
        exchange("HEAD of the page to save a card", by("ada", Request::new("HEAD", "/checkout/setup")), 200, ""),
        exchange("the page to save a card with a query", by("ada", get("/checkout/setup?x=%ff&y")), 200, "payment-element"),
        exchange("the page to save a card, a member who is blocked", by("blocked", page()), 422, "Your account is blocked."),
        exchange("the page to save a card, members unknown", by("members-down", page()), 503, "cannot tell who you are"),
        exchange("the page to save a card, a panic", by("member-bug", page()), 500, "internal_error"),
        exchange("a wish to save a card", by("ada", setup("{}")), 200, r#"{"clientSecret":"seti_ada_secret_test"}"#),
        exchange("a wish with a name", by("ada", setup(r#"{"reference":"wish-1"}"#)), 200, "seti_ada_secret_test"),
        exchange("a wish with an empty name", by("ada", setup(r#"{"reference":""}"#)), 400, "invalid_request"),
        exchange("a wish with a name too long", by("ada", setup(&format!(r#"{{"reference":"{}"}}"#, "x".repeat(201)))), 400, "invalid_request"),
        exchange("a wish with a name that is none", by("ada", setup(r#"{"reference":7}"#)), 400, "invalid_request"),
        exchange("a wish for somebody else", by("ada", setup(r#"{"customer":"cus_bob","user":"bob"}"#)), 200, "seti_ada_secret_test"),
        exchange("a guest's wish", setup("{}"), 403, "not_signed_in"),
        exchange("a wish without JSON", by("ada", setup("")), 400, "invalid_request"),
        exchange("a wish as text", by("ada", Request::new("POST", SETUP).header("Content-Type", "text/plain").body("{}")), 415, "not_json"),
        exchange("a wish as a form", by("ada", Request::new("POST", SETUP).header("Content-Type", "application/x-www-form-urlencoded").body("")), 415, "not_json"),
        exchange("a wish from elsewhere", by("ada", setup("{}").header("Sec-Fetch-Site", "cross-site")), 403, "cross_site"),
        exchange("a wish that is too large", by("ada", json(SETUP, vec![b' '; LIMIT + 1])), 413, "body_too_large"),
        exchange("a wish that the guard refuses", by("banned", setup("{}")), 403, "visitor_refused"),
        exchange("a wish that is declined", by("declined", setup("{}")), 402, "declined"),
        exchange("a wish of a member unknown", by("members-down", setup("{}")), 503, "unavailable"),
        exchange("a wish, and Stripe forbids customers", by("forbidden", setup("{}")), 502, "payment_refused"),
        exchange("a wish, and Stripe is broken", by("broken", setup("{}")), 503, "payment_unavailable"),
        exchange("a payment, and Stripe is broken for this customer", by("broken", order("broken-customer")), 503, "payment_unavailable"),
        exchange("a payment of a member unknown", by("members-down", order("unknown-member")), 503, "unavailable"),
        exchange("a member's saved cards", by("ada", json(SESSION, "{}")), 200, r#"{"customerSessionClientSecret":"cuss_secret_ada"}"#),
        exchange("a member's saved cards, where paying saves one", by("ada", json(SESSION, r#"{"setupFutureUsage":"off_session"}"#)), 200, r#"{"customerSessionClientSecret":"cuss_secret_ada_unsaid"}"#),
        exchange("saved cards without JSON", by("ada", json(SESSION, "")), 400, "invalid_request"),
        exchange("a guest's saved cards", json(SESSION, "{}"), 200, r#"{"customerSessionClientSecret":null}"#),
        exchange("saved cards, asked for from elsewhere", by("ada", json(SESSION, "{}").header("Sec-Fetch-Site", "cross-site")), 403, "cross_site"),
        exchange("saved cards, asked for by a form", by("ada", Request::new("POST", SESSION).header("Content-Type", "text/plain").body("{}")), 415, "not_json"),
        exchange("saved cards of a member unknown", by("members-down", json(SESSION, "{}")), 503, "unavailable"),
        exchange("a card without an intent", get("/checkout/setup/complete"), 400, "could not be read"),
        exchange("a card with half of it", complete("setup_intent_client_secret=x"), 400, "could not be read"),
        exchange("a card after the script took the secret away", complete("setup_intent=seti_x&redirect_status=succeeded"), 200, "Looking up your card"),
        exchange("a card that nobody knows", back("stranger"), 404, "complete.js"),
        exchange("a card with the wrong secret", complete("setup_intent=seti_ada&setup_intent_client_secret=seti_ada_secret_guess"), 404, "complete.js"),
        exchange("a card with another's secret", complete("setup_intent=seti_ada&setup_intent_client_secret=seti_bob_secret_test"), 404, "complete.js"),
        exchange("a card with an id that is none", complete("setup_intent=..%2Fcharges&setup_intent_client_secret=..%2Fcharges"), 404, "complete.js"),
        exchange("HEAD of a card", Request::new("HEAD", "/checkout/setup/complete?setup_intent=seti_x"), 200, ""),
        exchange("the status of a card", status("unlucky", "seti_unlucky_secret_test"), 200, r#""status":"requires_payment_method","message":"#),
        exchange("the status of a card that is saved", status("lucky", "seti_lucky_secret_test"), 200, r#"{"status":"succeeded"}"#),
        exchange("the status of a card with the wrong secret", status("lucky", "seti_lucky_secret_guess"), 404, "unknown_payment"),
        exchange("the status of a card that nobody knows", status("stranger", "seti_stranger_secret_test"), 404, "unknown_payment"),
    ];
    for (name, state) in [
        ("lucky", "succeeded"),
        ("slow", "processing"),
        ("unlucky", "requires_payment_method"),
        ("canceled", "canceled"),
    ] {
        let shown = match state {
            "succeeded" => r#"data-state="succeeded""#,
            "processing" => r#"data-state="processing""#,
            "canceled" => r#"data-state="canceled""#,
            _ => r#"data-state="requires_payment_method""#,
        };
        all.push(exchange(&format!("a card that comes back {state}"), back(name), 200, shown));
    }
    all
}

/// A body with the signature of this secret at this time.
pub(super) fn signed_at(path: &str, body: Vec<u8>, secret: &str, time: i64) -> Request {
    Request::new("POST", path)
        .header("Stripe-Signature", signature(&body, secret, time))
        .body(body)
}

pub(super) fn signed(path: &str, body: Vec<u8>) -> Request {
    signed_at(path, body, SECRET, now())
}

#[allow(clippy::expect_used)] // Constants.
fn signature(body: &[u8], secret: &str, time: i64) -> String {
    sign(body, &WebhookSecret::new(secret).expect("a secret"), time)
}

#[rustfmt::skip] // A table.
fn webhook() -> Vec<Exchange> {
    let event = |id: &str| signed("/webhook", success(&format!("evt_{id}"), id));
    let bare = |id: &str| Request::new("POST", "/webhook").body(success(&format!("evt_{id}"), id));
    let good = |id: &str| signature(&success(&format!("evt_{id}"), id), SECRET, now());
    let with = |id: &str, headers: &[(&str, &[u8])]| {
        headers.iter().fold(bare(id), |request, (name, value)| {
            request.header(name, value)
        })
    };
    let refused = |name: &str, request: Request| exchange(name, request, 400, "invalid_webhook");
    let other = |id: &str, event_type: &str, object: serde_json::Value| {
        signed("/webhook", EventBody::new(event_type, object).id(id).body())
    };
    let drops = Difference::DropsNonUtf8Headers;
    vec![
        exchange("an event", event("w1"), 200, r#"{"status":"done"}"#),
        exchange("the same event again", event("w1"), 200, r#"{"status":"done"}"#),
        exchange("another event of the same success", signed("/webhook", paid("evt_w1b", "pi_w1", "w1").body()), 200, r#"{"status":"superseded"}"#),
        exchange("a second payment of the same order", signed("/webhook", paid("evt_w1c", "pi_w1c", "w1").body()), 200, "status"),
        exchange("an event of no concern", other("evt_w2", "customer.created", serde_json::json!({"id": "cus_1", "object": "customer"})), 200, r#"{"status":"done"}"#),
        exchange("somebody else's payment", signed("/webhook", EventBody::new("payment_intent.succeeded", crate::testing::PaymentIntent::new("pi_theirs", super::world::PRICE).status("succeeded").object()).id("evt_w3").body()), 200, "done"),
        exchange("a live event at a test configuration", signed("/webhook", paid("evt_w4", "pi_w4", "w4").with("livemode", true).body()), 500, "handler_failed"),
        exchange("an event in chunks", event("w5").chunked(100), 200, "done"),
        exchange("an event in one chunk", event("w6").chunked(1 << 20), 200, "done"),
        exchange("an event, slowly", event("w7").slow(), 200, "done"),
        exchange("an event after 100 Continue", event("w8").expected(), 200, "done"),
        exchange("an event with a type of its own", event("w9").header("Content-Type", "application/json; charset=utf-8"), 200, "done"),
        exchange("an event that says it is compressed", event("w10").header("Content-Encoding", "gzip"), 200, "done"),
        exchange("an event from another site", event("w11").header("Origin", "https://evil.example").header("Sec-Fetch-Site", "cross-site"), 200, "done"),
        exchange("an event with a query", signed("/webhook?x=%ff", success("evt_w12", "w12")), 200, "done"),
        exchange("an event by HTTP/1.0", event("w13").old_version(), 200, "done"),
        exchange("a signature's name in any case", with("w14", &[("sTRIPE-sIGNATURE", good("w14").as_bytes())]), 200, "done"),
        exchange("a signature with spaces around it", with("w15", &[("Stripe-Signature", format!("  {}  ", good("w15")).as_bytes())]), 200, "done"),
        exchange("what the header says twice", with("w17", &[("Stripe-Signature", format!("{0},{0}", good("w17")).as_bytes())]), 200, "done"),
        exchange("a signature of a clock that is fast", signed_at("/webhook", success("evt_w18", "w18"), SECRET, now() + 3600), 200, "done"),
        exchange("other headers that are no text", event("w16").header("X-Odd", b"\xff").header("Cookie", b"\xf0"), 200, "done"),
        refused("no signature", bare("r1")),
        refused("no signature and no body", Request::new("POST", "/webhook")),
        refused("an empty signature", with("r1", &[("Stripe-Signature", b"")])),
        refused("a signature that is none", with("r1", &[("Stripe-Signature", b"t=1,v1=00")])),
        refused("a signature that is no text", with("r1", &[("Stripe-Signature", b"t=1,v1=\xff\xfe")])),
        refused("the signature twice", with("r1", &[("Stripe-Signature", good("r1").as_bytes()), ("stripe-signature", good("r1").as_bytes())])),
        refused("a second signature that is none", with("r1", &[("Stripe-Signature", good("r1").as_bytes()), ("Stripe-Signature", b"t=1")])),
        refused("a second signature that is no text", with("r2", &[("Stripe-Signature", good("r2").as_bytes()), ("Stripe-Signature", b"\xff")])).but(drops, 200, "done"),
        refused("a signature that is very long", with("r1", &[("Stripe-Signature", "v1=0,".repeat(1000).as_bytes())])),
        refused("another secret's signature", signed_at("/webhook", success("evt_r1", "r1"), OTHER_SECRET, now())),
        refused("a signature of an hour ago", signed_at("/webhook", success("evt_r1", "r1"), SECRET, now() - 3600)),
        refused("a body that was changed", event("r1").body(success("evt_r1", "r0"))),
        refused("a body with one byte more", event("r1").body([success("evt_r1", "r1"), b" ".to_vec()].concat())),
        refused("less of the body than was signed", event("r1").lying(-1)),
        refused("signed, and no JSON", signed("/webhook", b"order=tea".to_vec())),
        refused("signed, and no event", signed("/webhook", b"{}".to_vec())),
        refused("signed, and empty", signed("/webhook", Vec::new())),
    ]
}

/// An event whose body has this many bytes.
fn padded(id: &str, length: usize) -> Vec<u8> {
    let mut body = success(&format!("evt_{id}"), id);
    body.resize(length, b' ');
    body
}

#[rustfmt::skip] // A table.
fn limits() -> Vec<Exchange> {
    let event = |id: &str, length: usize| signed("/webhook", padded(id, length));
    let too_large = |name: &str, request: Request| exchange(name, request, 413, "body_too_large");
    let other = |id: &str, length: usize| {
        signed_at("/shop/de/stripe/events", padded(id, length), OTHER_SECRET, now())
    };
    vec![
        exchange("a body below the limit", event("l1", LIMIT - 1), 200, "done"),
        exchange("a body of the limit", event("l2", LIMIT), 200, "done"),
        too_large("a body above the limit", event("l3", LIMIT + 1)),
        exchange("300 KB", event("l4", 300_000), 200, "done"),
        exchange("300 KB in chunks", event("l5", 300_000).chunked(7000), 200, "done"),
        exchange("a body of the limit in chunks", event("l6", LIMIT).chunked(65_536), 200, "done"),
        too_large("a body above the limit in chunks", event("l7", LIMIT + 1).chunked(65_536)),
        too_large("10 MB", event("l8", 10_000_000)),
        too_large("10 MB in chunks", event("l9", 10_000_000).chunked(65_536)),
        too_large("10 MB without a signature", Request::new("POST", "/webhook").body(vec![b' '; 10_000_000])),
        exchange("10 MB where they are allowed", other("l10", 10_000_000), 200, "done"),
        exchange("a body of another limit", other("l11", OTHER_LIMIT), 200, "done"),
        too_large("a body above another limit", other("l12", OTHER_LIMIT + 1)),
    ]
}

#[rustfmt::skip] // A table.
fn by_hand() -> Vec<Exchange> {
    let path = super::world::Application::BY_HAND;
    let body = || success("evt_h1", "h1");
    vec![
        exchange("by hand: an event", signed(path, body()), 200, r#"{"status":"done"}"#),
        exchange("by hand: the same event again", signed("/webhook", body()), 200, r#"{"status":"done"}"#),
        exchange("by hand: an event in chunks", signed(path, success("evt_h2", "h2")).chunked(50), 200, "done"),
        exchange("by hand: 300 KB", signed(path, padded("h3", 300_000)), 200, "done"),
        exchange("by hand: no signature", Request::new("POST", path).body(body()), 400, "invalid_webhook"),
        exchange("by hand: a forged one", signed_at(path, body(), OTHER_SECRET, now()), 400, "invalid_webhook"),
        exchange("by hand: the signature twice", signed(path, body()).header("Stripe-Signature", signature(&body(), SECRET, now())), 400, "invalid_webhook"),
        exchange("by hand: signed, and no event", signed(path, b"[]".to_vec()), 400, "invalid_webhook"),
        exchange("by hand: a body above the limit", signed(path, padded("h4", LIMIT + 1)), 413, "body_too_large"),
        exchange("by hand: a handler that fails", signed(path, success("evt_h5", "fails-h5")), 500, "handler_failed"),
    ]
}

#[rustfmt::skip] // A table.
fn prefixes() -> Vec<Exchange> {
    let shop = "/shop/de";
    let event = |path: &str, id: &str, secret: &str| {
        signed_at(path, paid(&format!("evt_{id}"), &format!("pi_{id}"), id).body(), secret, now()) }; vec![exchange(
            "under a prefix: the page",
            get(&format!("{shop}/checkout?order=tea")),
            200,
            "Another shop",
        ),
        exchange("under a prefix: a trailing slash", get(&format!("{shop}/checkout/?order=tea")), 308, ""),
        exchange("under a prefix: a file", get(&format!("{shop}/checkout/checkout.js")), 200, "confirmPayment"),
        exchange("under a prefix: a payment", json(&format!("{shop}{CREATE}"), r#"{"order":{"order":"cake"}}"#), 200, "pi_cake_secret_test"),
        exchange("under a prefix: a status", json(&format!("{shop}/checkout/status"), r#"{"payment_intent":"pi_cake","payment_intent_client_secret":"pi_cake_secret_test"}"#), 200, "requires_payment_method"),
        exchange("under a prefix: another's payment", json(&format!("{shop}/checkout/status"), r#"{"payment_intent":"pi_tea","payment_intent_client_secret":"pi_tea_secret_test"}"#), 404, "unknown_payment"),
        exchange("under a prefix: an event", event("/shop/de/stripe/events", "p1", OTHER_SECRET), 200, "done"),
        exchange("under a prefix: another's event", event("/shop/de/stripe/events", "p2", SECRET), 400, "invalid_webhook"),
        exchange("under the root: another's event", event("/webhook", "p3", OTHER_SECRET), 400, "invalid_webhook"),
        exchange("one group alone: an event", event("/hooks/webhook", "p4", SECRET), 200, "done"),
        exchange("one group alone: the same event again", event("/webhook", "p4", SECRET), 200, "done"),
    ]
}
