//! The setting of a test: the application's program with its own database, a Stripe and a browser.

use std::{
    ffi::OsStr,
    path::Path,
    process::{ExitStatus, Stdio},
    sync::{Arc, Mutex},
};

use serde_json::{Value, json};
use stripe_checkout_core::Config;
use stripe_checkout_sandbox::Sandbox;
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, BufReader},
    process::{Child, Command},
};

use super::{Browser, PATIENCE, StripeOf, Tools, another_stripe::AnotherStripe, http::Http, until};
use crate::{db::on, order::Status, store::Store};

/// Texts that no log may contain: keys, client secrets, signatures, card numbers, and texts that
/// occur only in bodies.
const SECRET: &[&str] = &[
    "sk_test",
    "whsec_",
    "_secret_",
    "v1=",
    "42424242",
    "4242 4242 4242",
    "4000000",
    "client_secret\"",
    "payment_method_data",
    "\"object\":",
];

/// A running shop, and a buyer's browser.
#[derive(Debug)]
pub struct Stage {
    /// The browser.
    pub browser: Browser,
    sandbox: Option<Sandbox>,
    script: Option<AnotherStripe>,
    url: String,
    http: Http,
    program: Mutex<Option<Child>>,
    log: Arc<Mutex<Vec<String>>>,
    // It holds the database.
    folder: TempDir,
}

impl Stage {
    pub(super) async fn set(program: &OsStr, stripe: StripeOf, tools: &Tools) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("shop-")
            .tempdir()
            .expect("a folder");
        let sandbox = match stripe {
            StripeOf::TheProgram => None,
            _ => Some(Sandbox::start().await.expect("a sandbox")),
        };
        let script = match (&sandbox, stripe) {
            (Some(sandbox), StripeOf::TheTestWithAnotherScript) => {
                Some(AnotherStripe::start(sandbox.url()).await)
            }
            _ => None,
        };
        let mut command = Command::new(program);
        // In its own folder, so that it neither reads a developer's `.env` nor uses their database.
        command
            .current_dir(folder.path())
            .env_clear()
            .env("PORT", "0")
            .env("RUST_LOG", "trace")
            .env("NO_COLOR", "1")
            .env("PAYMENTS_PER_MINUTE", "0");
        if let Some(sandbox) = &sandbox {
            command.envs(environment(&sandbox.config()));
        }
        if let Some(script) = &script {
            command.env("STRIPE_JS_URL", script.url());
        }
        let mut program = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", Path::new(program).display()));
        let log = Arc::default();
        keep(program.stdout.take(), &log);
        keep(program.stderr.take(), &log);

        // Every example program prints its address.
        let look = async || {
            assert!(
                program.try_wait().ok().flatten().is_none(),
                "the program ended:\n{}",
                lock(&log).join("\n")
            );
            lock(&log)
                .iter()
                .find_map(|line| Some(line.split_once(" is open: ")?.1.trim().to_owned()))
        };
        let url = until("the program says its address", look).await;
        if let Some(sandbox) = &sandbox {
            sandbox
                .webhook_endpoint(&format!("{url}/webhook"))
                .expect("a local address");
        }
        let browser = Browser::open(tools).await;
        Self {
            browser,
            sandbox,
            script,
            url,
            http: Http::new(),
            program: Mutex::new(Some(program)),
            log,
            folder,
        }
    }

    /// Returns the sandbox of the test.
    ///
    /// # Panics
    /// In a scenario in which the program has its own sandbox.
    pub fn sandbox(&self) -> &Sandbox {
        self.sandbox.as_ref().expect("the sandbox is the program's")
    }

    /// Returns the shop's address with this path.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    /// Orders one mug through the API, and opens the checkout page for it. Returns the order's id.
    pub async fn go_to_the_till(&self) -> String {
        let order = self
            .http
            .post_json(
                &self.url("/api/orders"),
                &json!({"items": [{"sku": "mug", "quantity": 1}]}),
            )
            .await;
        let till = order["checkout_url"].as_str().expect("an address");
        self.browser.goto(&self.url(till)).await;
        order["id"].as_str().expect("an id").to_owned()
    }

    /// Types in a card and presses the button.
    pub async fn pay_with(&self, card: &str) {
        self.type_in(card).await;
        self.browser.click("#submit").await;
    }

    /// Types in a card without pressing the button.
    pub async fn type_in(&self, card: &str) {
        self.browser.see("#submit:enabled").await;
        for (field, text) in [("number", card), ("expiry", "1234"), ("cvc", "123")] {
            self.browser
                .fill(&format!("#Field-{field}Input"), text)
                .await;
        }
    }

    /// Types in a bank account and presses the button.
    pub async fn pay_by_debit(&self, iban: &str) {
        self.browser.see("#submit:enabled").await;
        self.browser.click("#Tab-sepa_debit").await;
        for (field, text) in [
            ("name", "Jenny Rosen"),
            ("email", "jenny@example.com"),
            ("iban", iban),
        ] {
            self.browser
                .fill(&format!("#Field-{field}Input"), text)
                .await;
        }
        self.browser.click("#submit").await;
    }

    /// Logs in to the admin pages, with the password that the program printed when it started.
    pub async fn go_into_the_back_room(&self) {
        let password = lock(&self.log)
            .iter()
            .find_map(|line| line.split_once("Its password:"))
            .and_then(|(_, rest)| rest.split_whitespace().next())
            .expect("a password")
            .to_owned();
        self.browser.goto(&self.url("/admin/login")).await;
        self.browser.fill("#password", &password).await;
        self.browser.click("form.login button").await;
        self.browser.see("#orders").await;
    }

    /// Waits until the shop has acknowledged every webhook.
    pub async fn told(&self) {
        tokio::time::timeout(PATIENCE, self.sandbox().wait_idle())
            .await
            .expect("the webhooks are acknowledged");
    }

    /// Returns the order as the shop's API shows it.
    pub async fn order(&self, id: &str) -> Value {
        self.http
            .get(&self.url(&format!("/api/orders/{id}")), None)
            .await
    }

    /// Waits until the order has this status and the shop has acknowledged every webhook, so that
    /// nothing is outstanding. Returns the order as the shop's API shows it.
    pub async fn order_becomes(&self, id: &str, status: Status) -> Value {
        let look =
            async || Some(self.order(id).await).filter(|order| order["status"] == status.as_str());
        until(&format!("the order becomes {}", status.as_str()), look).await;
        if let Some(sandbox) = &self.sandbox {
            tokio::time::timeout(PATIENCE, sandbox.wait_idle())
                .await
                .expect("the webhooks are acknowledged");
            for delivery in sandbox.deliveries() {
                assert!(
                    delivery.result.is_acknowledged(),
                    "a webhook was refused: {delivery:?}"
                );
            }
        }
        let order = self.order(id).await;
        assert_eq!(
            order["status"],
            status.as_str(),
            "the order did not stay there"
        );
        order
    }

    /// Waits until the order is paid once, by one PaymentIntent, with one parcel.
    pub async fn paid_once(&self, id: &str) -> Value {
        let order = self.order_becomes(id, Status::Paid).await;
        assert_eq!(
            order["shipments"].as_array().map(Vec::len),
            Some(1),
            "one parcel: {order}"
        );
        if self.sandbox.is_some() {
            let intents = self.intents(id).await;
            assert_eq!(intents.len(), 1, "one PaymentIntent: {intents:?}");
            assert_eq!(order["payment_intent"], intents[0]["id"]);
            assert_eq!(order["amount"], intents[0]["amount_received"]);
            assert_eq!(order["currency"], intents[0]["currency"]);
        }
        order
    }

    /// Waits until the order has this status, and checks that the shop has shipped nothing.
    pub async fn not_shipped(&self, id: &str, status: Status) {
        let order = self.order_becomes(id, status).await;
        assert_eq!(order["shipments"], json!([]));
    }

    /// Returns the PaymentIntents of an order, as Stripe's API shows them.
    pub async fn intents(&self, id: &str) -> Vec<Value> {
        let config = self.sandbox().config();
        let key = config.secret_key().expect("a key").expose();
        let list = self
            .http
            .get(
                &format!("{}/v1/payment_intents?limit=100", self.sandbox().url()),
                Some(key),
            )
            .await;
        let intents = list["data"].as_array().cloned().unwrap_or_default();
        intents
            .into_iter()
            .filter(|intent| intent["metadata"]["order_id"] == id)
            .collect()
    }

    /// Confirms an order's PaymentIntent with a card and returns the address of the bank's page.
    ///
    /// It does so as a browser does, but without Stripe.js, so that Stripe sends the buyer to the
    /// bank's page.
    pub async fn sent_to_the_bank(&self, id: &str, card: &str) -> String {
        let intents = self.intents(id).await;
        let intent = &intents[0];
        let config = self.sandbox().config();
        let confirm = format!(
            "{}/v1/payment_intents/{}/confirm",
            self.sandbox().url(),
            intent["id"].as_str().expect("an id")
        );
        let back = self.return_address();
        let fields = [
            ("key", config.publishable_key().expect("a key").expose()),
            (
                "client_secret",
                intent["client_secret"].as_str().expect("a secret"),
            ),
            ("return_url", &back),
            ("payment_method_data[type]", "card"),
            ("payment_method_data[card][number]", card),
            ("payment_method_data[card][exp_month]", "12"),
            ("payment_method_data[card][exp_year]", "2034"),
            ("payment_method_data[card][cvc]", "123"),
        ];
        let confirmed = self.http.post_form(&confirm, &fields).await;
        let page = confirmed["next_action"]["redirect_to_url"]["url"].as_str();
        page.unwrap_or_else(|| panic!("nowhere to go: {}", confirmed["next_action"]))
            .to_owned()
    }

    /// Returns the address to which the page asks Stripe to send the buyer back.
    pub fn return_address(&self) -> String {
        let requests = self.sandbox().requests();
        let confirmations = requests
            .iter()
            .rev()
            .filter(|request| request.path.ends_with("/confirm"));
        confirmations
            .flat_map(|request| url::form_urlencoded::parse(&request.body))
            .find_map(|(name, value)| (name == "return_url").then(|| value.into_owned()))
            .expect("the page confirmed before")
    }

    /// Doubles every quantity of an order without the buyer's knowledge. Returns the new amount in
    /// minor units.
    pub async fn double_the_order(&self, id: &str) -> i64 {
        let store = Store::open(&format!(
            "sqlite://{}",
            self.folder.path().join("shop.db").display()
        ))
        .await
        .expect("the database");
        let pool = store.pool();
        for change in [
            "UPDATE orders SET amount = amount * 2 WHERE id = $1",
            "UPDATE order_items SET quantity = quantity * 2 WHERE order_id = $1",
        ] {
            let changed = on!(
                pool,
                sqlx::query(change)
                    .bind(id)
                    .execute(pool)
                    .await
                    .map(|changed| changed.rows_affected())
            );
            assert_eq!(changed.expect("a change"), 1);
        }
        store.close().await;
        self.order(id).await["amount"].as_i64().expect("an amount")
    }

    /// Counts the POST requests to Stripe's API so far whose path ends with `end`.
    pub fn posts_to(&self, end: &str) -> usize {
        self.sandbox()
            .requests()
            .iter()
            .filter(|request| request.method == "POST" && request.path.ends_with(end))
            .count()
    }

    /// Ends the test, and checks the console, the program's exit status and its log.
    pub(super) async fn end(self) {
        self.browser.check().await;
        let Self {
            browser,
            sandbox,
            script,
            program,
            log,
            ..
        } = self;
        browser.close().await;
        let program = program
            .into_inner()
            .expect("not poisoned")
            .expect("it still runs");
        let status = stop(program).await;
        assert!(
            status.success(),
            "the program ended with {status}:\n{}",
            tail(&log)
        );
        for line in lock(&log).iter() {
            // The message does not repeat the secret, because test output is a log, too.
            let found = SECRET
                .iter()
                .find(|secret| line.contains(**secret) && !is_banner(line));
            let start: String = line.chars().take(100).collect();
            assert!(
                found.is_none(),
                "the program's log has a secret ({found:?}) in a line that begins with {start:?}"
            );
        }
        drop((sandbox, script));
    }

    /// Prints the available information when a scenario has failed.
    pub(super) async fn explain(&self) {
        eprintln!("The browser was {}\n", self.browser.describe().await);
        eprintln!("The shop's log ended with\n{}", tail(&self.log));
        if let Some(sandbox) = &self.sandbox {
            for request in sandbox.requests() {
                eprintln!("Stripe was asked: {request:?}");
            }
            for delivery in sandbox.deliveries() {
                eprintln!("Stripe delivered: {delivery:?}");
            }
        }
    }
}

/// Returns the configuration as a merchant would set it in the environment.
fn environment(config: &Config) -> [(&'static str, String); 5] {
    let secrets: Vec<&str> = config
        .webhook_secrets()
        .iter()
        .map(|secret| secret.expose())
        .collect();
    [
        (
            "STRIPE_SECRET_KEY",
            config.secret_key().expect("a key").expose().to_owned(),
        ),
        (
            "STRIPE_PUBLISHABLE_KEY",
            config.publishable_key().expect("a key").expose().to_owned(),
        ),
        ("STRIPE_WEBHOOK_SECRET", secrets.join(",")),
        ("STRIPE_API_BASE", config.api_base().to_owned()),
        ("STRIPE_JS_URL", config.stripe_js_url().to_owned()),
    ]
}

/// Whether a line belongs to the start banner. The test cards that a shop with its own sandbox
/// prints there are no secret.
fn is_banner(line: &str) -> bool {
    line.starts_with("    4")
}

/// Asks the program to end, as a service manager does, and waits until it has ended.
async fn stop(mut program: Child) -> ExitStatus {
    if let Some(id) = program.id() {
        let asked = Command::new("kill")
            .args(["-s", "TERM", &id.to_string()])
            .status()
            .await
            .expect("kill");
        assert!(asked.success(), "the program ended before it was told to");
    }
    let ended = tokio::time::timeout(PATIENCE, program.wait()).await;
    ended
        .expect("the program ends when it is told to")
        .expect("a status")
}

fn keep(stream: Option<impl AsyncRead + Unpin + Send + 'static>, log: &Arc<Mutex<Vec<String>>>) {
    let (mut lines, log) = (
        BufReader::new(stream.expect("piped")).lines(),
        Arc::clone(log),
    );
    tokio::spawn(async move {
        while let Ok(Some(line)) = lines.next_line().await {
            lock(&log).push(line);
        }
    });
}

fn lock(log: &Mutex<Vec<String>>) -> std::sync::MutexGuard<'_, Vec<String>> {
    log.lock().expect("not poisoned")
}

/// Returns the end of the program's own output, without the traces of its dependencies.
fn tail(log: &Mutex<Vec<String>>) -> String {
    let log = lock(log);
    let said: Vec<&str> = log
        .iter()
        .map(String::as_str)
        .filter(|line| !line.contains("TRACE") && !line.contains("DEBUG"))
        .collect();
    said[said.len().saturating_sub(40)..].join("\n")
}
