//! A step's process, and its Stripe.

use std::path::Path;
use std::time::{Duration, Instant};

use program::{Answer, PATIENCE, Program};
use serde_json::{Value, json};
use stripe_checkout_core::{Config, WebhookSecret, testing};
use stripe_checkout_sandbox::Sandbox;
use tempfile::TempDir;

pub(crate) const JSON: (&str, &str) = ("content-type", "application/json");
pub(crate) const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

/// The path of a step's program.
#[macro_export]
macro_rules! step {
    ($name:literal) => {
        env!(concat!("CARGO_BIN_EXE_step-", $name))
    };
}

/// A running step in its own folder, with the test's sandbox.
pub(crate) struct World {
    pub(crate) program: Program,
    pub(crate) sandbox: Sandbox,
    pub(crate) secret: WebhookSecret,
    pub(crate) folder: TempDir,
}

impl World {
    pub(crate) async fn open(path: &str) -> Self {
        let sandbox = Sandbox::start().await.expect("a port");
        let folder = tempfile::tempdir().expect("a folder");
        let program = start(path, folder.path(), &sandbox.config());
        let url = format!("http://{}/webhook", program.host());
        let secret = sandbox.webhook_endpoint(&url).expect("a local address");
        Self {
            program,
            sandbox,
            secret,
            folder,
        }
    }

    /// Starts the program again in the same folder, on another port.
    pub(crate) fn start_again(&mut self, path: &str) {
        self.program = start(path, self.folder.path(), &self.sandbox.config());
    }

    /// Sets the program's new webhook address at Stripe, as you would in the Dashboard.
    pub(crate) fn move_webhook(&self) {
        let stripe = self.sandbox.url().trim_start_matches("http://");
        let key = ("authorization", "Bearer sk_test_sandbox");
        let known = program::ask(stripe, "GET", "/v1/webhook_endpoints", &[key], "").json();
        let id = known["data"][0]["id"].as_str().expect("an endpoint");
        let path = format!("/v1/webhook_endpoints/{id}");
        let url = format!("url=http://{}/webhook", self.program.host());
        let moved = program::ask(stripe, "POST", &path, &[FORM, key], url);
        assert_eq!(moved.status, 200, "{moved:?}");
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.program.ask("GET", path, &[], "")
    }

    pub(crate) fn post(&self, path: &str, form: &str) -> Answer {
        self.program.ask("POST", path, &[FORM], form)
    }

    /// Places an order with the form, and returns the order's id.
    pub(crate) fn order(&self, form: &str) -> String {
        order_in(&self.post("/orders", form))
    }

    /// Sends the request of the page's script after a press of *Pay*.
    pub(crate) fn press(&self, order: &str) -> Answer {
        let order = json!({ "order": order }).to_string();
        self.program
            .ask("POST", "/create-payment-intent", &[JSON], &order)
    }

    /// Pays with this card as Stripe.js does. Returns the PaymentIntent's id.
    pub(crate) fn pay(&self, order: &str, card: &str) -> String {
        let pressed = self.press(order);
        assert_eq!(pressed.status, 200, "{pressed:?}");
        self.confirm(&pressed.json(), card)
    }

    pub(crate) fn confirm(&self, intent: &Value, card: &str) -> String {
        confirm(self.sandbox.url(), "payment_intents", intent, card)
    }

    /// Sends an event as Stripe would, and returns the response's status.
    pub(crate) fn deliver(&self, body: &[u8], timestamp: i64) -> u16 {
        let signature = testing::sign(body, &self.secret, timestamp);
        let headers = [JSON, ("stripe-signature", signature.as_str())];
        program::ask(self.program.host(), "POST", "/webhook", &headers, body).status
    }

    /// Waits until the program has acknowledged every delivery of the sandbox.
    pub(crate) async fn taken(&self) {
        tokio::time::timeout(PATIENCE, self.sandbox.wait_idle())
            .await
            .expect("the webhooks are acknowledged");
        for delivery in self.sandbox.deliveries() {
            assert!(delivery.result.is_acknowledged(), "{delivery:?}");
        }
    }

    /// Returns the number of PaymentIntents.
    pub(crate) fn intents(&self) -> usize {
        let events = self.sandbox.events();
        let made = |(_, kind): &&(String, String)| kind == "payment_intent.created";
        events.iter().filter(made).count()
    }

    /// Counts the printed lines that contain this part, among those read so far.
    pub(crate) fn printed(&self, part: &str) -> usize {
        let lines = self.program.lines();
        lines.iter().filter(|line| line.contains(part)).count()
    }
}

fn start(path: &str, folder: &Path, config: &Config) -> Program {
    let mut command = Program::command(path, folder);
    command.envs(environment(config));
    Program::start(command)
}

/// Confirms an intent with its client secret, as Stripe.js does. Returns the intent's id.
pub(crate) fn confirm(stripe: &str, kind: &str, intent: &Value, card: &str) -> String {
    let secret = intent["clientSecret"].as_str().expect("a secret");
    let (id, _) = secret.split_once("_secret_").expect("a client secret");
    let form = format!(
        "key=pk_test_sandbox&client_secret={secret}&payment_method_data[type]=card&payment_method_data[card][number]={card}\
         &payment_method_data[card][exp_month]=12&payment_method_data[card][exp_year]=2040&payment_method_data[card][cvc]=123\
         &payment_method_data[allow_redisplay]=always&return_url=http://127.0.0.1/checkout/complete&use_stripe_sdk=true"
    );
    let host = stripe.trim_start_matches("http://");
    program::ask(
        host,
        "POST",
        &format!("/v1/{kind}/{id}/confirm"),
        &[FORM],
        form,
    );
    id.to_owned()
}

/// Returns the contents of `.env`.
pub(crate) fn environment(config: &Config) -> [(&'static str, String); 5] {
    let (secret_key, publishable_key) = config.require_keys().expect("keys");
    let [webhook_secret] = config.webhook_secrets() else {
        panic!("one signing secret");
    };
    [
        ("STRIPE_SECRET_KEY", secret_key.expose().to_owned()),
        (
            "STRIPE_PUBLISHABLE_KEY",
            publishable_key.expose().to_owned(),
        ),
        ("STRIPE_WEBHOOK_SECRET", webhook_secret.expose().to_owned()),
        ("STRIPE_API_BASE", config.api_base().to_owned()),
        ("STRIPE_JS_URL", config.stripe_js_url().to_owned()),
    ]
}

/// Returns the order whose page the browser is redirected to.
pub(crate) fn order_in(answer: &Answer) -> String {
    let location = answer.header("location");
    let location = location.unwrap_or_else(|| panic!("sent nowhere: {answer:?}"));
    let (_, order) = location.split_once("/checkout?order=").expect("the page");
    order.to_owned()
}

/// Waits until `holds` returns true.
#[track_caller]
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
