//! The sandbox's own page: what it shows, what it can do, and which callers it refuses.

use std::time::Duration;

use serde_json::{Value, json};
use stripe_checkout_sandbox::{DeliveryResult, PUBLISHABLE_KEY, SECRET_KEY, Sandbox};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    http::{Answer, Client, id},
    receiver::Receiver,
};

const AGREED: &str = "mandate_data[customer_acceptance][type]=offline";

/// A sandbox whose banks wait, and which retries failed deliveries almost at once.
struct Stage {
    sandbox: Sandbox,
    server: Client,
    page: Client,
}

impl Stage {
    async fn start() -> Self {
        let sandbox = Sandbox::builder()
            .retry_after([Duration::from_millis(5)])
            .start()
            .await
            .unwrap();
        sandbox.banks().wait_to_be_told();
        let server = Client::new(&sandbox);
        // As a browser sends the requests of the page's script.
        let page = Client::anonymous(&sandbox)
            .with("Sec-Fetch-Site", "same-origin")
            .with("Origin", sandbox.url())
            .with("Content-Type", "application/json");
        Self {
            sandbox,
            server,
            page,
        }
    }

    async fn state(&self) -> Value {
        let answer = self.page.get("/sandbox/state").await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.json()
    }

    /// Returns an intent as the page shows it.
    async fn shown(&self, intent: &Value) -> Value {
        let state = self.state().await;
        let mut intents = state["intents"].as_array().unwrap().iter();
        intents
            .find(|shown| shown["id"] == intent["id"])
            .unwrap()
            .clone()
    }

    async fn ask(&self, action: Value) -> Answer {
        self.page.post("/sandbox/do", &action.to_string()).await
    }

    /// Does something and returns the message about it.
    async fn act(&self, action: Value) -> String {
        let answer = self.ask(action.clone()).await;
        assert_eq!(answer.status, 200, "{action}: {}", answer.body);
        answer.json()["said"].as_str().unwrap().to_owned()
    }

    /// Returns the status and message of a refused action.
    async fn refused(&self, action: Value) -> (u16, String) {
        let answer = self.ask(action).await;
        let message = answer.json()["error"]["message"]
            .as_str()
            .unwrap()
            .to_owned();
        (answer.status, message)
    }

    async fn paid(&self) -> Value {
        self.server.pay("pm_card_visa").await.json()
    }

    async fn debited(&self) -> Value {
        let debit = format!("pm_sepaDebit_success_de&{AGREED}");
        let intent = self.server.pay(&debit).await.json();
        assert_eq!(intent["status"], "processing");
        intent
    }
}

#[tokio::test]
async fn the_page_is_whole_and_brings_nothing_of_anybody_elses() {
    let stage = Stage::start().await;
    // As if a user types the address in or follows a link from another page. The page holds no data
    // yet.
    for site in ["none", "cross-site"] {
        let browser = Client::anonymous(&stage.sandbox).with("Sec-Fetch-Site", site);
        let page = browser.get("/sandbox").await;
        assert_eq!(page.status, 200);
        assert_eq!(
            page.header("content-type"),
            Some("text/html; charset=utf-8")
        );
        for secret in [SECRET_KEY, "whsec_"] {
            assert!(!page.body.contains(secret), "{secret}");
        }
    }
    let page = stage.page.get("/sandbox").await;
    assert_eq!(
        stage.sandbox.page(),
        format!("{}/sandbox", stage.sandbox.url())
    );
    for (path, kind) in [
        ("/sandbox/dashboard.css", "text/css; charset=utf-8"),
        ("/sandbox/dashboard.js", "text/javascript; charset=utf-8"),
    ] {
        assert!(page.body.contains(&format!("\"{path}\"")), "{path}");
        let file = stage.page.get(path).await;
        assert_eq!(
            (file.status, file.header("content-type")),
            (200, Some(kind))
        );
        assert_eq!(file.header("x-content-type-options"), Some("nosniff"));
        assert!(!file.body.contains("https://"), "{path}");
    }
    let policy = page.header("content-security-policy").unwrap();
    for rule in [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "connect-src 'self'",
        "frame-ancestors 'none'",
        "form-action 'none'",
        "base-uri 'none'",
    ] {
        assert!(policy.split("; ").any(|found| found == rule), "{policy}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
    for inline in ["<style", " style=", " onclick=", "https://"] {
        assert!(!page.body.contains(inline), "{inline}");
    }
    assert!(page.body.contains("<html lang=\"en\">"));
}

#[tokio::test]
async fn a_name_that_was_bent_to_this_machine_is_refused_everywhere() {
    let stage = Stage::start().await;
    let address = stage.sandbox.url().strip_prefix("http://").unwrap();
    let port = address.rsplit_once(':').unwrap().1;
    for (path, authorised) in [
        ("/sandbox", 200),
        ("/sandbox/state", 200),
        ("/sandbox/dashboard.js", 200),
        ("/stripe.js", 200),
        ("/v1/events", 200),
    ] {
        for (host, status) in [
            (address.to_owned(), authorised),
            (format!("localhost:{port}"), authorised),
            (format!("rebound.example:{port}"), 403),
            ("rebound.example".to_owned(), 403),
            (format!("127.0.0.1.rebound.example:{port}"), 403),
        ] {
            let request = format!(
                "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nAuthorization: Bearer {SECRET_KEY}\r\n\r\n"
            );
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            assert!(
                answer.starts_with(&format!("HTTP/1.1 {status} ")),
                "{path} at {host}: {answer}"
            );
            assert_eq!(
                answer.contains("whsec_"),
                status == 200 && path == "/sandbox/state"
            );
        }
    }
    // The sandbox does not even log the refused requests.
    assert_eq!(stage.sandbox.requests().len(), 2);
}

#[tokio::test]
async fn other_pages_may_neither_see_nor_do_anything() {
    let stage = Stage::start().await;
    let debit = stage.debited().await;
    let (event, _) = stage.sandbox.events()[0].clone();
    let settle = json!({ "do": "settle", "intent": id(&debit), "paid": true }).to_string();
    let anyone = Client::anonymous(&stage.sandbox).with("Content-Type", "application/json");
    let shop = "http://127.0.0.1:3000";
    for other in [
        anyone.with("Origin", shop),
        anyone.with("Origin", "https://evil.example"),
        anyone.with("Origin", "null"),
        anyone.with("Sec-Fetch-Site", "same-site"),
        anyone.with("Sec-Fetch-Site", "cross-site"),
        anyone
            .with("Origin", stage.sandbox.url())
            .with("Sec-Fetch-Site", "cross-site"),
    ] {
        for (method, path) in [
            ("GET", "/sandbox/state".to_owned()),
            ("GET", format!("/sandbox/event/{event}")),
            ("POST", "/sandbox/do".to_owned()),
            // A browser sends this preflight request first.
            ("OPTIONS", "/sandbox/do".to_owned()),
        ] {
            let answer = other.send(method, &path, &settle).await.unwrap();
            assert_eq!(answer.status, 403, "{method} {path} of {other:?}");
            assert_eq!(answer.header("access-control-allow-origin"), None);
            assert!(!answer.body.contains("whsec_") && !answer.body.contains(id(&debit)));
        }
    }
    // The answers to the page itself do not allow another page to read them either.
    for path in ["/sandbox", "/sandbox/state", "/sandbox/dashboard.js"] {
        let answer = stage.page.get(path).await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("access-control-allow-origin"), None, "{path}");
        let policy = answer.header("cross-origin-resource-policy");
        assert_eq!(policy, Some("same-origin"), "{path}");
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{path}");
    }
    // A form can send these without a preflight request.
    for kind in [
        "application/x-www-form-urlencoded",
        "text/plain",
        "text/plain; application/json",
        "multipart/form-data",
    ] {
        let form = Client::anonymous(&stage.sandbox).with("Content-Type", kind);
        assert_eq!(
            form.post("/sandbox/do", &settle).await.status,
            415,
            "{kind}"
        );
    }
    let untold = Client::anonymous(&stage.sandbox);
    assert_eq!(untold.post("/sandbox/do", &settle).await.status, 415);
    for (method, path) in [
        ("GET", "/sandbox/do"),
        ("POST", "/sandbox/state"),
        ("PUT", "/sandbox"),
    ] {
        assert_eq!(
            stage.page.send(method, path, "").await.unwrap().status,
            405,
            "{method} {path}"
        );
    }
    assert_eq!(stage.shown(&debit).await["status"], "processing");

    // A program that is not a browser does not say where its request comes from.
    let program = anyone.with("Content-Type", "application/json; charset=utf-8");
    assert_eq!(program.get("/sandbox/state").await.status, 200);
    let once =
        Client::anonymous(&stage.sandbox).with("Content-Type", "Application/JSON; charset=utf-8");
    assert_eq!(once.post("/sandbox/do", &settle).await.status, 200);
    assert_eq!(stage.shown(&debit).await["status"], "succeeded");
}

#[tokio::test]
async fn everything_is_shown() {
    let stage = Stage::start().await;
    let fresh = stage.state().await;
    assert_eq!(
        fresh["keys"],
        json!({ "secret": SECRET_KEY, "publishable": PUBLISHABLE_KEY })
    );
    assert_eq!(fresh["url"], stage.sandbox.url());
    let first_secret = fresh["next_secret"].as_str().unwrap().to_owned();
    for part in [
        stage.sandbox.url(),
        SECRET_KEY,
        PUBLISHABLE_KEY,
        &first_secret,
        "/sandbox\n",
    ] {
        assert!(stage.sandbox.how_to_use().contains(part), "{part}");
    }
    for line in fresh["lines"].as_array().unwrap() {
        assert!(
            stage
                .sandbox
                .how_to_use()
                .contains(line[1].as_str().unwrap())
        );
    }

    let receiver = Receiver::start(|_| 200).await;
    stage.sandbox.webhook_endpoint(&receiver.url).unwrap();
    let client = &stage.server;
    let declined =
        client.pay("pm_card_chargeDeclined").await.json()["error"]["payment_intent"].clone();
    let paid = client
        .pay("pm_card_visa&metadata[order_id]=7&description=A+teapot")
        .await
        .json();
    let debited = stage.debited().await;
    let abroad = client.with("Stripe-Account", "acct_7").create("").await;
    let session = client
        .post(
            "/v1/checkout/sessions",
            "mode=payment&success_url=https://shop.example/&line_items[0][quantity]=2&line_items[0][price_data][currency]=jpy\
             &line_items[0][price_data][unit_amount]=700&line_items[0][price_data][product_data][name]=Cup",
        )
        .await
        .json();
    stage.sandbox.wait_idle().await;

    let state = stage.state().await;
    assert_eq!(state["count"]["intents"], 4);
    assert_eq!(state["next_secret"], json!(null));
    let endpoint = &state["endpoints"][0];
    assert_eq!(
        (&endpoint["url"], &endpoint["secret"], &endpoint["all"]),
        (&json!(receiver.url), &json!(first_secret), &json!(true))
    );
    // The newest intent comes first.
    let ids: Vec<&Value> = state["intents"]
        .as_array()
        .unwrap()
        .iter()
        .map(|intent| &intent["id"])
        .collect();
    assert_eq!(
        ids,
        [&abroad["id"], &debited["id"], &paid["id"], &declined["id"]]
    );
    let shown = stage.shown(&paid).await;
    assert_eq!(
        (
            &shown["amount"],
            &shown["status"],
            &shown["method"],
            &shown["left"],
            &shown["description"],
            &shown["metadata"]
        ),
        (
            &json!("19.99 EUR"),
            &json!("succeeded"),
            &json!("visa •••• 4242"),
            &json!("19.99"),
            &json!("A teapot"),
            &json!({ "order_id": "7" })
        )
    );
    assert_eq!(
        shown["can"],
        json!({ "settle": false, "dispute": true, "decide": false, "escalate": false })
    );
    let shown = stage.shown(&declined).await;
    assert_eq!(
        (&shown["error"], &shown["left"]),
        (&json!("Your card was declined."), &json!(null))
    );
    assert_eq!(shown["can"]["dispute"], false);
    let shown = stage.shown(&debited).await;
    assert_eq!(
        (&shown["method"], &shown["can"]["settle"]),
        (&json!("sepa debit •••• 3000"), &json!(true))
    );
    assert_eq!(stage.shown(&abroad).await["account"], "acct_7");
    let shown = &state["sessions"][0];
    assert_eq!(
        (
            &shown["id"],
            &shown["amount"],
            &shown["status"],
            &shown["page"]
        ),
        (
            &session["id"],
            &json!("1400 JPY"),
            &json!("open"),
            &session["url"]
        )
    );

    // Each event, newest first, with its delivery to the endpoint.
    let events = state["events"].as_array().unwrap();
    let listed: Vec<(String, String)> = stage.sandbox.events();
    assert_eq!(events.len(), listed.len());
    for (event, (id, kind)) in events.iter().rev().zip(&listed) {
        assert_eq!(
            (
                event["id"].as_str().unwrap(),
                event["type"].as_str().unwrap()
            ),
            (&**id, &**kind)
        );
        assert_eq!(event["stands"], "delivered", "{kind}");
        let attempt = &event["attempts"][0];
        assert_eq!(
            (&attempt["result"], &attempt["endpoint"]),
            (&json!("answered 200"), &json!(receiver.url))
        );
    }
    let (id, _) = &listed[0];
    let json = stage.page.get(&format!("/sandbox/event/{id}")).await.json();
    assert_eq!(json, client.get(&format!("/v1/events/{id}")).await.json());
    assert_eq!(stage.page.get("/sandbox/event/evt_none").await.status, 404);
    assert_eq!(stage.page.get("/sandbox/state?after=x").await.status, 400);
}

#[tokio::test]
async fn what_is_not_delivered_is_shown_too() {
    let stage = Stage::start().await;
    stage.server.create("").await;
    assert_eq!(
        stage.state().await["events"][0]["stands"],
        "nobody listened"
    );

    // An endpoint that was registered too late receives the event once it is delivered again.
    let (early, _) = stage.sandbox.events()[0].clone();
    let receiver = Receiver::start(|nth| if nth < 2 { 500 } else { 200 }).await;
    stage.sandbox.webhook_endpoint(&receiver.url).unwrap();
    for stands in ["given up", "delivered"] {
        stage.sandbox.redeliver(&early);
        stage.sandbox.wait_idle().await;
        // The status stays, although the attempts are forgotten.
        stage.sandbox.take_deliveries();
        assert_eq!(stage.state().await["events"][0]["stands"], stands);
    }
    stage.sandbox.redeliver(&early);
    stage.sandbox.wait_idle().await;
    assert_eq!(receiver.ids().len(), 4);
    let list = stage.server.get("/v1/webhook_endpoints").await.json();
    let path = format!("/v1/webhook_endpoints/{}", id(&list["data"][0]));
    assert_eq!(
        stage.server.send("DELETE", &path, "").await.unwrap().status,
        200
    );

    let receiver = Receiver::start(|_| 500).await;
    stage.sandbox.webhook_endpoint(&receiver.url).unwrap();
    stage.server.create("").await;
    stage.sandbox.wait_idle().await;
    let event = stage.state().await["events"][0].clone();
    assert_eq!(event["stands"], "given up");
    let results: Vec<&Value> = event["attempts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|attempt| &attempt["result"])
        .collect();
    assert_eq!(results, ["answered 500", "answered 500"]);

    // If an event has many attempts, the page shows the last ones.
    let name = event["id"].as_str().unwrap();
    stage.sandbox.duplicate(name, 12);
    stage.sandbox.wait_idle().await;
    let event = stage.state().await["events"][0].clone();
    assert_eq!(
        (
            event["attempts"].as_array().unwrap().len(),
            &event["earlier"]
        ),
        (20, &json!(6))
    );
}

/// A connection that stays open, as a browser's does. A new connection would itself be a change.
struct Kept(TcpStream);

impl Kept {
    async fn open(sandbox: &Sandbox) -> Self {
        let address = sandbox.url().strip_prefix("http://").unwrap();
        Self(TcpStream::connect(address).await.unwrap())
    }

    async fn ask(&mut self, path: &str) {
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        self.0.write_all(request.as_bytes()).await.unwrap();
    }

    async fn answer(&mut self) -> String {
        let (mut text, mut chunk) = (String::new(), [0; 4096]);
        loop {
            let read = self.0.read(&mut chunk).await.unwrap();
            assert_ne!(read, 0, "{text}");
            text.push_str(std::str::from_utf8(&chunk[..read]).unwrap());
            let Some((head, body)) = text.split_once("\r\n\r\n") else {
                continue;
            };
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "));
            if body.len() == length.unwrap().parse::<usize>().unwrap() {
                return body.to_owned();
            }
        }
    }

    async fn get(&mut self, path: &str) -> String {
        self.ask(path).await;
        self.answer().await
    }

    async fn state(&mut self, after: &Value) -> Value {
        serde_json::from_str(&self.get(&format!("/sandbox/state?after={after}")).await).unwrap()
    }
}

#[tokio::test]
async fn news_come_when_they_happen() {
    let stage = Stage::start().await;
    let mut page = Kept::open(&stage.sandbox).await;
    let mut other = Kept::open(&stage.sandbox).await;
    other.get("/sandbox/dashboard.css").await;
    let now: Value = serde_json::from_str(&page.get("/sandbox/state").await).unwrap();

    page.ask(&format!("/sandbox/state?after={}", now["version"]))
        .await;
    // Once these are answered, the sandbox has the question above and has no news for it.
    for _ in 0..5 {
        other.get("/sandbox/dashboard.css").await;
    }
    stage.sandbox.webhooks().duplicate(3);
    let news: Value = serde_json::from_str(&page.answer().await).unwrap();
    assert_eq!(news["webhooks"]["copies"], 3);
    assert_ne!(news["version"], now["version"]);

    // A page that knows no version, or one from before a restart, gets an answer at once.
    let version = news["version"].as_u64().unwrap();
    for unknown in [version - 1, version + 1000] {
        assert_eq!(page.state(&json!(unknown)).await["version"], version);
    }
}

// The clock is paused, and jumps when every task waits.
#[tokio::test(start_paused = true)]
async fn without_news_the_same_is_told_again_after_a_while() {
    let stage = Stage::start().await;
    let mut page = Kept::open(&stage.sandbox).await;
    let now: Value = serde_json::from_str(&page.get("/sandbox/state").await).unwrap();
    let again = page.state(&now["version"]);
    let again = tokio::time::timeout(Duration::from_secs(120), again).await;
    assert_eq!(again.expect("an answer, though nothing happened"), now);
}

#[tokio::test]
async fn an_event_is_delivered_again_and_twice_at_once() {
    let stage = Stage::start().await;
    let receiver = Receiver::start(|_| 200).await;
    stage.sandbox.webhook_endpoint(&receiver.url).unwrap();
    stage.server.create("").await;
    stage.sandbox.wait_idle().await;
    let event = receiver.ids().remove(0);
    for (times, expected) in [(1, 2), (2, 4)] {
        stage
            .act(json!({ "do": "redeliver", "event": event, "times": times }))
            .await;
        stage.sandbox.wait_idle().await;
        assert_eq!(receiver.ids(), vec![event.clone(); expected]);
    }
    assert!(stage.sandbox.duplicate(&event, 3));
    assert!(!stage.sandbox.duplicate("evt_none", 3));
    stage.sandbox.wait_idle().await;
    assert_eq!(receiver.ids().len(), 7);

    for times in [0, 21] {
        assert_eq!(
            stage
                .refused(json!({ "do": "redeliver", "event": event, "times": times }))
                .await
                .0,
            400
        );
    }
    let unknown = json!({ "do": "redeliver", "event": "evt_none", "times": 1 });
    assert_eq!(
        stage.refused(unknown).await,
        (404, "No such event: 'evt_none'".to_owned())
    );
}

#[tokio::test]
async fn attempts_and_answers_are_lost() {
    let stage = Stage::start().await;
    let receiver = Receiver::start(|_| 200).await;
    stage.sandbox.webhook_endpoint(&receiver.url).unwrap();
    let results = || -> Vec<DeliveryResult> {
        stage
            .sandbox
            .take_deliveries()
            .into_iter()
            .map(|attempt| attempt.result)
            .collect()
    };
    let answered = DeliveryResult::Answered(200);

    // The receiver never sees the first attempt.
    stage
        .act(json!({ "do": "webhooks", "lose_deliveries": 1 }))
        .await;
    assert_eq!(stage.state().await["webhooks"]["lose_deliveries"], 1);
    stage.server.create("").await;
    stage.sandbox.wait_idle().await;
    assert_eq!(results(), [DeliveryResult::Failed, answered.clone()]);
    assert_eq!(receiver.ids().len(), 1);
    assert_eq!(stage.state().await["webhooks"]["lose_deliveries"], 0);

    // The receiver sees both attempts and has answered both.
    stage
        .act(json!({ "do": "webhooks", "lose_answers": 1 }))
        .await;
    stage.server.create("").await;
    stage.sandbox.wait_idle().await;
    assert_eq!(results(), [DeliveryResult::Failed, answered.clone()]);
    let seen = receiver.ids();
    assert_eq!((seen.len(), &seen[1]), (3, &seen[2]));

    // The same through the API of the crate, with both at once. The first attempt is lost on the
    // way, the answer to the second is lost on the way back, and then the sandbox gives the event
    // up.
    stage.sandbox.webhooks().lose_answers(1);
    stage.sandbox.webhooks().lose_deliveries(1);
    stage.server.create("").await;
    stage.sandbox.wait_idle().await;
    assert_eq!(results(), [DeliveryResult::Failed, DeliveryResult::Failed]);
    assert_eq!(receiver.ids().len(), 4);
    let event = stage.state().await["events"][0].clone();
    assert_eq!(event["stands"], "given up");
    assert!(stage.sandbox.redeliver(event["id"].as_str().unwrap()));
    stage.sandbox.wait_idle().await;
    assert_eq!(stage.state().await["events"][0]["stands"], "delivered");
}

#[tokio::test]
async fn events_are_copied_delayed_and_out_of_order() {
    let stage = Stage::start().await;
    let receiver = Receiver::start(|_| 200).await;
    let listening = json!({ "do": "listen", "url": receiver.url });
    stage.act(listening).await;
    stage.act(json!({ "do": "webhooks", "copies": 2 })).await;
    stage.server.create("").await;
    stage.sandbox.wait_idle().await;
    assert_eq!(receiver.ids().len(), 3);

    // A setting that the action does not name stays.
    stage.act(json!({ "do": "webhooks", "copies": 0 })).await;
    stage.act(json!({ "do": "webhooks", "shuffle": 50 })).await;
    let before = receiver.ids().len();
    stage.paid().await;
    stage.sandbox.wait_idle().await;
    let made: Vec<String> = stage
        .sandbox
        .events()
        .into_iter()
        .skip(1)
        .map(|(id, _)| id)
        .collect();
    let seen = receiver.ids().split_off(before);
    assert_eq!(seen.len(), 3);
    assert_ne!(seen, made);

    stage
        .act(json!({ "do": "webhooks", "shuffle": 0, "delay": 600_000 }))
        .await;
    assert_eq!(
        stage.state().await["webhooks"],
        json!({ "copies": 0, "delay": 600_000, "shuffle": 0, "lose_deliveries": 0, "lose_answers": 0 })
    );
    stage.server.create("").await;
    let state = stage.state().await;
    assert_eq!(
        (&state["events"][0]["stands"], &state["on_their_way"]),
        (&json!("on its way"), &json!(1))
    );
    assert_eq!(receiver.ids().len(), before + 3);

    for wrong in [
        json!({ "do": "webhooks", "copies": 21 }),
        json!({ "do": "webhooks", "copies": -1 }),
        json!({ "do": "webhooks", "delay": 600_001 }),
        json!({ "do": "webhooks", "shuffle": 600_001 }),
        json!({ "do": "webhooks", "lose_deliveries": 1_001 }),
        json!({ "do": "webhooks", "lose_answers": 1_001, "lose_deliveries": 0 }),
        json!({ "do": "webhooks", "lose_events": 1 }),
        json!({ "do": "listen", "url": "http://shop.example/webhook" }),
        json!({ "do": "listen", "url": "https://127.0.0.1/webhook" }),
        json!({ "do": "explode" }),
        json!({ "do": "settle", "paid": true }),
        json!([]),
    ] {
        let (status, message) = stage.refused(wrong.clone()).await;
        assert_eq!(status, 400, "{wrong}");
        assert!(!message.is_empty());
    }
    assert_eq!(stage.page.post("/sandbox/do", "{").await.status, 400);
    let large = format!("{{\"do\":\"{}\"}}", "x".repeat(1024 * 1024));
    assert_eq!(stage.page.post("/sandbox/do", &large).await.status, 413);
}

#[tokio::test]
async fn a_debit_settles_or_fails_when_it_is_told() {
    let stage = Stage::start().await;
    assert_eq!(stage.state().await["banks_wait"], true);
    for (paid, status, event) in [
        (true, "succeeded", "payment_intent.succeeded"),
        (
            false,
            "requires_payment_method",
            "payment_intent.payment_failed",
        ),
    ] {
        let debit = stage.debited().await;
        let settle = json!({ "do": "settle", "intent": id(&debit), "paid": paid });
        stage.act(settle.clone()).await;
        assert_eq!(stage.shown(&debit).await["status"], status);
        assert_eq!(stage.sandbox.events().pop().unwrap().1, event);
        assert_eq!(
            stage.refused(settle).await,
            (409, "This payment is not processing.".to_owned())
        );
    }
    stage.act(json!({ "do": "banks", "wait": false })).await;
    assert_eq!(stage.state().await["banks_wait"], false);
    let debit = stage.debited().await;
    stage.sandbox.pass_time(Duration::from_secs(10));
    assert_eq!(stage.shown(&debit).await["status"], "succeeded");
    stage.act(json!({ "do": "banks", "wait": true })).await;
    let debit = stage.debited().await;
    stage.sandbox.pass_time(Duration::from_secs(1_000_000));
    assert_eq!(stage.shown(&debit).await["status"], "processing");
}

#[tokio::test]
async fn money_is_given_back() {
    let stage = Stage::start().await;
    let paid = stage.paid().await;
    let refund = |amount: Value| json!({ "do": "refund", "intent": id(&paid), "amount": amount });
    stage.act(refund(json!("5.00"))).await;
    let shown = stage.shown(&paid).await;
    assert_eq!(
        (&shown["left"], &shown["refunds"][0]["amount"]),
        (&json!("14.99"), &json!("5.00 EUR"))
    );
    assert_eq!(stage.sandbox.events().pop().unwrap().1, "refund.created");
    for (wrong, says) in [
        ("15.00", "greater than unrefunded amount"),
        ("0", "greater than or equal to 1"),
        ("-1", "This is no amount"),
        ("1.999", "This is no amount"),
        ("all", "This is no amount"),
    ] {
        let (status, message) = stage.refused(refund(json!(wrong))).await;
        assert_eq!(status, 400, "{wrong}");
        assert!(message.contains(says), "{wrong}: {message}");
    }
    // Refunds everything that is left.
    stage.act(refund(json!(null))).await;
    assert_eq!(stage.shown(&paid).await["left"], json!(null));
    assert_eq!(stage.refused(refund(json!(null))).await.0, 400);
    let unknown = json!({ "do": "refund", "intent": "pi_none" });
    assert_eq!(stage.refused(unknown).await.0, 404);

    // Actions on the page also work for a connected account.
    let abroad = stage
        .server
        .with("Stripe-Account", "acct_7")
        .pay("pm_card_visa")
        .await
        .json();
    let refund = stage.sandbox.refund(id(&abroad), Some(999)).unwrap();
    assert_eq!(stage.sandbox.refund(id(&abroad), Some(1001)), None);
    assert_eq!(stage.sandbox.refund("pi_none", None), None);
    let shown = stage.shown(&abroad).await;
    assert_eq!(
        (&shown["refunds"][0]["id"], &shown["left"]),
        (&json!(refund), &json!("10.00"))
    );
    assert_eq!(stage.sandbox.balance(id(&abroad)).unwrap().refunded, 999);
}

#[tokio::test]
async fn a_refund_arrives_or_comes_back() {
    let stage = Stage::start().await;
    let paid = stage.server.pay("pm_card_pendingRefund").await.json();
    stage
        .act(json!({ "do": "refund", "intent": id(&paid), "amount": "1.00" }))
        .await;
    let refund = stage.shown(&paid).await["refunds"][0].clone();
    assert_eq!(
        (
            &refund["status"],
            &refund["pending"],
            &refund["can_come_back"]
        ),
        (&json!("pending"), &json!(true), &json!(true))
    );
    let settle = |arrives: bool| json!({ "do": "settle_refund", "refund": refund["id"], "arrives": arrives });
    for (arrives, status, can) in [(true, "succeeded", true), (false, "failed", false)] {
        stage.act(settle(arrives)).await;
        let refund = stage.shown(&paid).await["refunds"][0].clone();
        assert_eq!(
            (
                &refund["status"],
                &refund["pending"],
                &refund["can_come_back"]
            ),
            (&json!(status), &json!(false), &json!(can))
        );
    }
    for arrives in [true, false] {
        assert_eq!(
            stage.refused(settle(arrives)).await,
            (409, "This refund does not wait for that.".to_owned())
        );
    }
    assert_eq!(stage.shown(&paid).await["left"], "19.99");
}

#[tokio::test]
async fn a_dispute_begins_and_ends() {
    let stage = Stage::start().await;
    for (decision, status) in [("won", "won"), ("lost", "lost")] {
        let paid = stage.paid().await;
        let dispute = json!({ "do": "dispute", "intent": id(&paid), "inquiry": false });
        stage.act(dispute.clone()).await;
        assert_eq!(stage.refused(dispute).await.0, 409);
        let shown = stage.shown(&paid).await;
        assert_eq!(
            (
                &shown["dispute"]["status"],
                &shown["dispute"]["amount"],
                &shown["left"]
            ),
            (&json!("needs_response"), &json!("19.99 EUR"), &json!(null))
        );
        assert_eq!(
            shown["can"],
            json!({ "settle": false, "dispute": false, "decide": true, "escalate": false })
        );
        assert!(shown["dispute"]["due_by"].is_i64());
        let decide = json!({ "do": "decide", "intent": id(&paid), "decision": decision });
        stage.act(decide.clone()).await;
        let shown = stage.shown(&paid).await;
        assert_eq!(
            (&shown["dispute"]["status"], &shown["dispute"]["due_by"]),
            (&json!(status), &json!(null))
        );
        assert_eq!(shown["can"]["decide"], false);
        assert_eq!(
            stage.refused(decide).await,
            (409, "No dispute of this payment waits for that.".to_owned())
        );
    }

    let paid = stage.paid().await;
    stage
        .act(json!({ "do": "dispute", "intent": id(&paid), "inquiry": true }))
        .await;
    let shown = stage.shown(&paid).await;
    assert_eq!(
        (&shown["dispute"]["status"], &shown["left"]),
        (&json!("warning_needs_response"), &json!("19.99"))
    );
    assert_eq!(shown["can"]["escalate"], true);
    stage
        .act(json!({ "do": "decide", "intent": id(&paid), "decision": "escalated" }))
        .await;
    let shown = stage.shown(&paid).await;
    assert_eq!(
        (&shown["dispute"]["status"], &shown["left"]),
        (&json!("needs_response"), &json!(null))
    );
    assert_eq!(shown["can"]["escalate"], false);
    let again = json!({ "do": "decide", "intent": id(&paid), "decision": "escalated" });
    assert_eq!(stage.refused(again).await.0, 409);
    for nothing in [
        json!({ "do": "dispute", "intent": "pi_none", "inquiry": false }),
        json!({ "do": "dispute", "intent": id(&stage.server.create("").await), "inquiry": false }),
    ] {
        assert_eq!(stage.refused(nothing).await.0, 409);
    }
}
