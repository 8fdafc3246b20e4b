//! Attacks over raw sockets, each with an honest request that is answered meanwhile.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::client::{self, HOST, PATIENCE, Request};
use super::driver::{Difference, Driver};
use super::exchanges::signed;
use super::site::{Site, report};
use super::world::{self, Application, success};
use crate::Method;

/// How long a body may take here. Honest bodies arrive with their heads.
const DEADLINE: Duration = Duration::from_secs(3);

/// How long a connection is watched on which nothing may come: longer than a body may take, and
/// shorter than any framework waits for a head.
const WATCHED: Duration = Duration::from_secs(4);

/// How many attacks open their connections at once. The system refuses what a listener's queue
/// does not take, and the shortest queue in use holds 128: two connections for each attack fit.
const OPENING: usize = 32;

/// The largest body of every route but the webhook, in bytes.
const SMALL: usize = 16 * 1024;

/// Runs every attack against this driver's application, all at once, and says how many there were.
///
/// # Panics
/// If an attack is not answered as it has to be, or an honest request is not answered meanwhile.
pub async fn withstand(name: &str, driver: impl Driver) -> usize {
    let (application, state) = world::application(DEADLINE);
    let attacks = all(&application);
    let count = attacks.len();
    let site = Site::of(&driver, application, state).await;
    let opening = Arc::new(Semaphore::new(OPENING));
    let mut running = JoinSet::new();
    for (number, attack) in attacks.into_iter().enumerate() {
        let (site, opening) = (site.clone(), Arc::clone(&opening));
        running.spawn(async move {
            let told = attack.run(&site, &opening, number).await;
            told.map_err(|failure| format!("{}: {failure}", attack.name))
        });
    }
    let mut failures = Vec::new();
    while let Some(ended) = running.join_next().await {
        match ended {
            Ok(told) => failures.extend(told.err()),
            Err(error) => failures.push(error.to_string()),
        }
    }
    failures.extend(honest(&site, count).await.err());
    report(name, count, "attacks withstood", &failures);
    count
}

/// A connection of a stranger.
struct Attack {
    name: String,
    sends: Vec<u8>,
    then: Then,
    right: Right,
    /// The right end where the framework does this to requests.
    but: Option<(Difference, Right)>,
}

/// The stranger's next act.
#[derive(Clone, Copy)]
enum Then {
    /// Says no more, and keeps the connection.
    Waits,
    /// Says that nothing more comes.
    Ends,
    /// Sends a byte now and then.
    Drips,
    /// Reads nothing until honest requests were answered.
    ReadsLate,
}

/// The right end of an attack.
#[derive(Clone, Copy)]
enum Right {
    /// As many answers, with this status and this piece in each body.
    Answers(usize, u16, &'static str),
    /// The same, and the server closes the connection by itself.
    Closes(usize, u16, &'static str),
    /// One refusal at most. Which one is the framework's affair.
    Refuses,
    /// Nothing within the time of a body: the framework still waits. Its own time-out may end the
    /// connection later.
    Waits,
}

impl Attack {
    async fn run(&self, site: &Site, opening: &Semaphore, number: usize) -> Result<(), String> {
        let place = opening.acquire().await.map_err(|error| error.to_string())?;
        let stream = connect(site.address).await?;
        let (mut reading, mut writing) = stream.into_split();
        let read = async {
            let mut bytes = Vec::new();
            match self.right(site) {
                Right::Waits => {
                    let began = Instant::now();
                    let ends = reading.read_to_end(&mut bytes);
                    let ended = tokio::time::timeout(WATCHED, ends).await;
                    still_waits(&bytes, ended.is_ok().then(|| began.elapsed()))
                }
                Right::Answers(times, status, piece) => {
                    while answers(&bytes).len() < times
                        && matches!(reading.read_buf(&mut bytes).await, Ok(1..))
                    {
                    }
                    same(&bytes, times, status, piece)
                }
                Right::Closes(times, status, piece) => {
                    // A reset after the answer is an end, too.
                    let ended = reading.read_to_end(&mut bytes).await;
                    same(&bytes, times, status, piece).map_err(|failure| {
                        format!("{failure}: {} bytes, and then {ended:?}", bytes.len())
                    })
                }
                Right::Refuses => {
                    let _ = reading.read_to_end(&mut bytes).await;
                    refused(&bytes)
                }
            }
        };
        // Read and written at the same time: the server may answer before it has read everything.
        let write = async {
            let _ = writing.write_all(&self.sends).await;
            let honest = honest(site, number).await;
            // Connections are accepted in their order, so this attack's was accepted as well.
            drop(place);
            honest?;
            self.go_on(&mut writing).await;
            Ok::<_, String>(())
        };
        let both = async {
            if matches!(self.then, Then::ReadsLate) {
                let written = write.await;
                return (read.await, written);
            }
            tokio::join!(read, write)
        };
        let ended = tokio::time::timeout(PATIENCE, both).await;
        let (read, written) = ended.map_err(|_| "the connection never ended")?;
        written.and(read)
    }

    /// Ends once there is no more to do.
    async fn go_on(&self, writing: &mut OwnedWriteHalf) {
        match self.then {
            Then::Waits | Then::ReadsLate => {}
            Then::Ends => {
                let _ = writing.shutdown().await;
            }
            Then::Drips => {
                while writing.write_all(b"x").await.is_ok() {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }

    fn right(&self, site: &Site) -> Right {
        match self.but {
            Some((difference, right)) if site.differences.contains(&difference) => right,
            _ => self.right,
        }
    }

    fn then(mut self, then: Then) -> Self {
        self.then = then;
        self
    }

    fn but(mut self, difference: Difference, right: Right) -> Self {
        self.but = Some((difference, right));
        self
    }
}

async fn connect(address: SocketAddr) -> Result<TcpStream, String> {
    let stream = TcpStream::connect(address).await;
    stream.map_err(|error| error.to_string())
}

/// A buyer and Stripe come meanwhile.
async fn honest(site: &Site, number: usize) -> Result<(), String> {
    let order = format!("honest-{number}");
    let event = signed("/webhook", success(&format!("evt_{order}"), &order));
    let page = Request::new("GET", format!("/checkout?order={order}"));
    for request in [page, event] {
        let answer = client::send(site.address, &request).await;
        if answer.status != 200 {
            return Err(format!("an honest request: {}", answer.status));
        }
    }
    match site.state.shipped(&order) {
        1 => Ok(()),
        times => Err(format!("an honest order was shipped {times} times")),
    }
}

/// The status and the body of each answer that is there in full.
fn answers(mut bytes: &[u8]) -> Vec<(u16, String)> {
    let mut all = Vec::new();
    while let Some((head, rest)) = client::split(bytes) {
        let words = head.split(' ').nth(1);
        let status = words.and_then(|status| status.parse().ok()).unwrap_or(0);
        let length = head.lines().find_map(|line| {
            let line = line.to_ascii_lowercase();
            line.strip_prefix("content-length:")?.trim().parse().ok()
        });
        let Some((body, rest)) = rest.split_at_checked(length.unwrap_or(0)) else {
            break;
        };
        if status != 100 {
            all.push((status, String::from_utf8_lossy(body).into_owned()));
        }
        bytes = rest;
    }
    all
}

fn same(bytes: &[u8], times: usize, status: u16, piece: &str) -> Result<(), String> {
    let answers = answers(bytes);
    let right = |(found, body): &(u16, String)| *found == status && body.contains(piece);
    if answers.len() == times && answers.iter().all(right) {
        return Ok(());
    }
    let found = described(&answers);
    Err(format!("{found}, not {times} × {status} {piece:?}"))
}

/// The number of answers, and the beginnings of the first ones.
fn described(answers: &[(u16, String)]) -> String {
    let beginning = |(status, body): &(u16, String)| {
        let body: String = body.chars().take(100).collect();
        format!("{status} {body:?}")
    };
    let first: Vec<_> = answers.iter().take(3).map(beginning).collect();
    format!("{} answers: {}", answers.len(), first.join(", "))
}

/// Judges a connection that waits, or that ended after this time.
fn still_waits(bytes: &[u8], ended: Option<Duration>) -> Result<(), String> {
    let answers = answers(bytes);
    match ended {
        // A busy machine watches for longer, and the framework's own time-out comes first.
        Some(after) if after > DEADLINE => refused(bytes),
        Some(after) => Err(format!("ended after {after:?}: {}", described(&answers))),
        None if answers.is_empty() => Ok(()),
        None => Err(described(&answers)),
    }
}

fn refused(bytes: &[u8]) -> Result<(), String> {
    match answers(bytes).as_slice() {
        [] | [(400..=499 | 501 | 505, _)] => Ok(()),
        others => Err(described(others)),
    }
}

fn attack(name: impl Into<String>, sends: impl Into<Vec<u8>>, right: Right) -> Attack {
    Attack {
        name: name.into(),
        sends: sends.into(),
        then: Then::Waits,
        right,
        but: None,
    }
}

const ONCE: fn(u16, &'static str) -> Right = |status, piece| Right::Answers(1, status, piece);
const LAST: fn(u16, &'static str) -> Right = |status, piece| Right::Closes(1, status, piece);

/// The head of a POST of JSON with these further lines, and the beginning of its body.
fn post(path: &str, lines: &str, body: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: application/json\r\n{lines}\r\n\r\n{body}"
    )
}

const STATUS: &str = "/checkout/status";
const CHUNKED: &str = "Transfer-Encoding: chunked";

fn all(application: &Application) -> Vec<Attack> {
    let mut all = slow(application);
    all.extend(half_and_broken());
    all.extend(large(application));
    all.extend(hosts());
    all.extend(odd_json());
    all.extend(queries());
    all.extend(upgrades());
    all.extend(pipelines());
    all.extend(heads());
    all.extend(lengths());
    all
}

/// Every route that reads a body.
fn reading(application: &Application) -> Vec<String> {
    let mounts = application.mounts.iter();
    let ready = mounts.flat_map(|mount| {
        let endpoints = mount.checkout.endpoints().iter();
        let posts = endpoints.filter(|endpoint| endpoint.method() == Method::Post);
        posts.map(|endpoint| format!("{}{}", mount.prefix, endpoint.path()))
    });
    ready.chain([Application::BY_HAND.to_owned()]).collect()
}

fn slow(application: &Application) -> Vec<Attack> {
    let mut all = Vec::new();
    let right = LAST(408, "\"body_too_slow\"");
    let begun = "{\"order\": {\"order\": \"t";
    for path in reading(application) {
        let announced = |length: usize| format!("Content-Length: {length}");
        let silent = Difference::AwaitsFirstBytes;
        all.extend([
            attack(
                format!("{path}: a body that stops"),
                post(&path, &announced(1000), begun),
                right,
            ),
            attack(
                format!("{path}: a body that drips"),
                post(&path, &announced(SMALL - 1), begun),
                right,
            )
            .then(Then::Drips),
            attack(
                format!("{path}: a body that never begins"),
                post(&path, &announced(1000), ""),
                right,
            )
            .but(silent, Right::Waits),
            attack(
                format!("{path}: chunks that stop"),
                post(&path, CHUNKED, &format!("{:x}\r\n{begun}\r\n", begun.len())),
                right,
            ),
            attack(
                format!("{path}: a chunk that stops"),
                post(&path, CHUNKED, &format!("fff\r\n{begun}")),
                right,
            ),
        ]);
    }
    let page = "GET /checkout?order=tea HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 100";
    let expect = post(STATUS, "Content-Length: 100\r\nExpect: 100-continue", "");
    all.extend([
        attack(
            "a page whose request has a body that stops",
            format!("{page}\r\n\r\n{begun}"),
            right,
        ),
        attack("a body that never comes after 100 Continue", expect, right)
            .but(Difference::AwaitsFirstBytes, Right::Waits),
    ]);
    all
}

fn half_and_broken() -> Vec<Attack> {
    let mut all = Vec::new();
    let begun = "{\"order\": {\"order\": \"t";
    for path in [
        STATUS,
        "/create-payment-intent",
        "/webhook",
        Application::BY_HAND,
    ] {
        let half = post(path, "Content-Length: 1000", begun);
        all.push(attack(format!("{path}: half a body"), half, Right::Refuses).then(Then::Ends));
        for (what, chunks) in [
            ("a size that is no number", "zz\r\n{}\r\n0\r\n\r\n"),
            ("an endless size", "fffffffffffffffffff\r\n{}"),
            ("a negative size", "-2\r\n{}\r\n0\r\n\r\n"),
            ("more than its size", "2\r\n{}{}\r\n0\r\n\r\n"),
        ] {
            let broken = format!("{:x}\r\n{begun}\r\n{chunks}", begun.len());
            for (place, body) in [("first", chunks), ("second", &broken)] {
                all.push(attack(
                    format!("{path}: a {place} chunk with {what}"),
                    post(path, CHUNKED, body),
                    LAST(400, "\"body_incomplete\""),
                ));
            }
        }
    }
    all
}

fn large(application: &Application) -> Vec<Attack> {
    let mut all = Vec::new();
    let right = ONCE(413, "\"body_too_large\"");
    let spaces = |length| " ".repeat(length);
    let webhooks = ["/webhook", "/stripe/events", Application::BY_HAND];
    for path in reading(application) {
        if webhooks.iter().any(|webhook| path.ends_with(webhook)) {
            continue;
        }
        let whole = |length: usize| {
            let lines = format!("Content-Length: {length}");
            post(&path, &lines, &spaces(length))
        };
        let length = format!("{:x}", SMALL + 1);
        all.extend([
            attack(
                format!("{path}: 16 KiB"),
                whole(SMALL),
                ONCE(400, "invalid_"),
            ),
            attack(
                format!("{path}: 16 KiB and a byte"),
                whole(SMALL + 1),
                right,
            ),
            attack(format!("{path}: 1 MB"), whole(1_000_000), right),
            attack(
                format!("{path}: more than 16 KiB in a chunk"),
                post(
                    &path,
                    CHUNKED,
                    &format!("{length}\r\n{}", spaces(SMALL + 1)),
                ),
                right,
            ),
            attack(
                format!("{path}: 4 GB, of which 20 KB come"),
                post(&path, "Content-Length: 4000000000", &spaces(20_000)),
                right,
            ),
        ]);
    }
    all
}

fn hosts() -> Vec<Attack> {
    let mut all = Vec::new();
    let body = "Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";
    for (line, rest) in [
        ("GET /checkout?order=tea", "\r\n"),
        ("GET /checkout/checkout.js", "\r\n"),
        ("POST /checkout/status", body),
        ("POST /webhook", body),
    ] {
        for (what, version, hosts) in [
            ("no host", "1.1", ""),
            ("no host in HTTP/1.0", "1.0", ""),
            (
                "one host twice",
                "1.1",
                "Host: shop.example\r\nHost: shop.example\r\n",
            ),
            (
                "two hosts",
                "1.1",
                "Host: shop.example\r\nX: y\r\nhost: evil.example\r\n",
            ),
        ] {
            let bytes = format!("{line} HTTP/{version}\r\n{hosts}{rest}");
            all.push(attack(format!("{line}: {what}"), bytes, ONCE(400, "")));
        }
    }
    all
}

fn odd_json() -> Vec<Attack> {
    let nested = |open: &str, close: &str| {
        let times = (SMALL - 100) / (open.len() + close.len());
        format!("{}1{}", open.repeat(times), close.repeat(times))
    };
    let many = |piece: &str| piece.repeat((SMALL - 200) / piece.len());
    let ask = r#""payment_intent":"pi_x","payment_intent_client_secret":"x""#;
    let bad = (400, "\"invalid_request\"");
    let unknown = (404, "\"unknown_payment\"");
    let cases = [
        ("arrays in arrays", nested("[", "]"), bad),
        ("objects in objects", nested("{\"a\":", "}"), bad),
        ("the same member twice", format!("{{{ask},{ask}}}"), bad),
        (
            "a member of many names",
            format!("{{{}{ask}}}", many("\"a\":1,")),
            unknown,
        ),
        (
            "a long array beside it",
            format!("{{\"a\":[{}1],{ask}}}", many("1,")),
            unknown,
        ),
        (
            "a long text beside it",
            format!("{{\"a\":\"{}\",{ask}}}", many("\\u0041")),
            unknown,
        ),
        (
            "a long number beside it",
            format!("{{\"a\":{},{ask}}}", many("9")),
            unknown,
        ),
        (
            "a huge exponent beside it",
            format!("{{\"a\":1e999999999,{ask}}}"),
            unknown,
        ),
        (
            "half a surrogate",
            r#"{"payment_intent":"\ud800"}"#.to_owned(),
            bad,
        ),
        (
            "a member that is no text beside another",
            r#"{"session_id":"cs_x","setup_intent":[7]}"#.to_owned(),
            bad,
        ),
        (
            "a member that is no text",
            r#"{"session_id":[[[[7]]]]}"#.to_owned(),
            bad,
        ),
        (
            "members that are null",
            r#"{"session_id":null,"setup_intent":null}"#.to_owned(),
            bad,
        ),
        ("an array of objects", format!("[{}{{}}]", many("{},")), bad),
        (
            "text after the end",
            format!("{{{ask}}}{}", many(" {}")),
            bad,
        ),
        ("a NUL", "\0".to_owned(), bad),
    ];
    cases
        .into_iter()
        .map(|(what, body, (status, piece))| {
            let length = format!("Content-Length: {}", body.len());
            attack(
                format!("a status with {what}"),
                post(STATUS, &length, &body),
                ONCE(status, piece),
            )
        })
        .collect()
}

fn upgrades() -> Vec<Attack> {
    let asks = "Connection: Upgrade\r\nUpgrade: WebSocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==";
    let page = |lines: &str| {
        format!("GET /checkout?order=tea HTTP/1.1\r\nHost: {HOST}\r\n{lines}\r\n\r\n")
    };
    let event = |order: &str| {
        let event = signed("/webhook", success(&format!("evt_{order}"), order));
        let event = event.header("Connection", "Upgrade");
        event.header("Upgrade", "websocket").to_keep_alive()
    };
    let hidden = [event("upgrade-2"), event("upgrade-3")].concat();
    let body = r#"{"session_id":7}"#;
    let with_body = |length: usize| format!("{asks}\r\nContent-Length: {length}");
    vec![
        attack(
            "a page as a WebSocket",
            page(asks),
            ONCE(200, "payment-element"),
        ),
        attack(
            "a page as a WebSocket of HTTP/1.0",
            page(asks).replace("HTTP/1.1", "HTTP/1.0"),
            ONCE(200, "payment-element"),
        ),
        attack(
            "a page as HTTP/2 without TLS",
            page(
                "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__",
            ),
            ONCE(200, "payment-element"),
        ),
        attack(
            "an event as a WebSocket",
            event("upgrade-1"),
            ONCE(200, "\"done\""),
        ),
        attack(
            "a status as a WebSocket",
            post(STATUS, &with_body(body.len()), body),
            ONCE(400, "\"invalid_request\""),
        ),
        attack(
            "a status as a WebSocket without a length",
            post(STATUS, asks, ""),
            ONCE(400, "\"invalid_request\""),
        ),
        attack(
            "a WebSocket's body that stops",
            post(STATUS, &with_body(1000), &" ".repeat(20)),
            LAST(408, "\"body_too_slow\""),
        ),
        attack(
            "a WebSocket's body of 20 KB",
            post(STATUS, &with_body(20_000), &" ".repeat(20_000)),
            ONCE(413, "\"body_too_large\""),
        ),
        attack(
            "half a WebSocket's body",
            post(STATUS, &with_body(1000), &" ".repeat(20)),
            Right::Refuses,
        )
        .then(Then::Ends),
        attack(
            "chunks of a WebSocket",
            post(
                STATUS,
                &format!("{asks}\r\n{CHUNKED}"),
                "10\r\n{\"session_id\":7}\r\n0\r\n\r\n",
            ),
            ONCE(400, "\"invalid_request\""),
        ),
        // The second one may be answered, too, but never as a part of the first.
        attack(
            "two events as WebSockets on one connection",
            hidden,
            ONCE(200, "\"done\""),
        ),
    ]
}

fn queries() -> Vec<Attack> {
    let get =
        |path: &str, query: &str| format!("GET {path}?{query} HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
    let many = "a&".repeat(SMALL / 2);
    let mut all = Vec::new();
    for path in [
        "/checkout",
        "/checkout/",
        "/checkout/complete",
        "/checkout/checkout.js",
    ] {
        all.push(attack(
            format!("{path}: a query of more than 16 KiB"),
            get(path, &format!("{many}a")),
            ONCE(414, "\"query_too_long\""),
        ));
    }
    all.push(attack(
        "a query of 16 KiB",
        get("/checkout", &many),
        ONCE(400, "could not be read"),
    ));
    all
}

fn pipelines() -> Vec<Attack> {
    let css = format!("GET /checkout/checkout.css HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
    let bad = post(STATUS, "Content-Length: 2", "{}");
    let last = css.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n");
    vec![
        attack(
            "50 requests at once",
            css.repeat(50),
            Right::Answers(50, 200, "{"),
        ),
        attack(
            "50 bad requests at once",
            bad.repeat(50),
            Right::Answers(50, 400, "\"invalid_request\""),
        ),
        attack(
            "1,000 requests whose answers are read late",
            css.repeat(999) + &last,
            Right::Closes(1000, 200, "{"),
        )
        .then(Then::ReadsLate),
    ]
}

fn heads() -> Vec<Attack> {
    let get = "GET /checkout?order=tea HTTP/1.1\r\nHost: shop.example";
    let mut all = Vec::new();
    for (what, head) in [
        ("bytes that are no HTTP", "\0\u{1}\u{2}\r\n\r\n".to_owned()),
        (
            "the beginning of TLS",
            "\u{16}\u{3}\u{1}\0\u{5}\u{1}\0\0\u{1}\r\n\r\n".to_owned(),
        ),
        (
            "HTTP/2 at once",
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(),
        ),
        ("a line without a target", "GET\r\n\r\n".to_owned()),
        (
            "a version that does not exist",
            "GET /checkout HTTP/9.9\r\n\r\n".to_owned(),
        ),
        (
            "a target without a slash",
            "GET checkout HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        ),
        (
            "a space in the target",
            "GET /check out HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        ),
        (
            "a method that does not exist",
            "BREW /checkout HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        ),
        (
            "a tunnel",
            "CONNECT shop.example:443 HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        ),
        (
            "a trace",
            "TRACE /checkout HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        ),
        (
            "a line without a colon",
            format!("{get}\r\nnonsense\r\n\r\n"),
        ),
        ("a name with a space", format!("{get}\r\nX : y\r\n\r\n")),
        (
            "a line that goes on",
            format!("{get}\r\nX: y\r\n z\r\n\r\n"),
        ),
        ("a NUL in a value", format!("{get}\r\nX: y\0z\r\n\r\n")),
        ("a bare CR in a value", format!("{get}\r\nX: y\rz\r\n\r\n")),
        (
            "500 lines",
            format!("{get}\r\n{}\r\n", "X: y\r\n".repeat(500)),
        ),
        (
            "a line of 1 MB",
            format!("{get}\r\nX: {}\r\n\r\n", "y".repeat(1_000_000)),
        ),
        (
            "a target of 1 MB",
            format!("GET /{} HTTP/1.1\r\n\r\n", "y".repeat(1_000_000)),
        ),
    ] {
        all.push(attack(format!("a head with {what}"), head, Right::Refuses).then(Then::Ends));
    }
    for (what, beginning) in [
        ("a silent connection", ""),
        ("half a line", "GET /chec"),
        ("half a head", get),
    ] {
        all.push(attack(what, beginning, Right::Waits));
    }
    all
}

/// Two lengths of one body, by which a proxy and a server might disagree about where it ends.
fn lengths() -> Vec<Attack> {
    let hidden = format!("GET /checkout/checkout.css HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
    let ended = format!("0\r\n\r\n{hidden}");
    let mut all = Vec::new();
    for (what, lines, body) in [
        (
            "a length and chunks",
            "Content-Length: 4\r\nTransfer-Encoding: chunked",
            &ended,
        ),
        (
            "chunks and a length",
            "Transfer-Encoding: chunked\r\nContent-Length: 4",
            &ended,
        ),
        (
            "two lengths",
            "Content-Length: 4\r\nContent-Length: 44",
            &hidden,
        ),
        ("two lengths in one line", "Content-Length: 4, 44", &hidden),
        ("a negative length", "Content-Length: -1", &hidden),
        ("a length with a sign", "Content-Length: +4", &hidden),
        (
            "a length that is too long",
            "Content-Length: 99999999999999999999999",
            &hidden,
        ),
        ("an unknown encoding", "Transfer-Encoding: xchunked", &ended),
        (
            "chunks that are not the last",
            "Transfer-Encoding: chunked, identity",
            &ended,
        ),
        (
            "chunks with a vertical tab",
            "Transfer-Encoding:\u{b}chunked",
            &ended,
        ),
    ] {
        let bytes = post("/webhook", lines, body);
        all.push(attack(what, bytes, Right::Refuses).then(Then::Ends));
    }
    all
}
