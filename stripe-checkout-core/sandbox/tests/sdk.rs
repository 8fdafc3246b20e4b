//! The sandbox, tested by independent clients: the official SDKs for Python and Node, the official
//! React wrapper in Chromium, and the types of Stripe.js.
//!
//! To install them, see `tests/sdk/README.md`. Without them these tests print a note and pass.

use std::{ffi::OsString, path::PathBuf, process::Command, time::Duration};

use stripe_checkout_sandbox::Sandbox;

/// Returns the path of an SDK, if it is installed. CI always has it.
fn installed(variable: &str) -> Option<OsString> {
    let installed = std::env::var_os(variable);
    if installed.is_none() {
        assert!(std::env::var("CI").is_err(), "{variable} is not set");
        println!("skipped: {variable} is not set, so there is no SDK to ask (tests/sdk/README.md)");
    }
    installed
}

/// Runs an SDK's script against its own sandbox. The script gets the sandbox's address and keys,
/// and fails if anything differs from what the SDK expects.
async fn ask(variable: &str, script: &str, command: impl FnOnce(OsString, PathBuf) -> Command) {
    let Some(installed) = installed(variable) else {
        return;
    };
    let sandbox = Sandbox::builder()
        .retry_after([Duration::from_millis(10)])
        .start()
        .await
        .unwrap();
    // Work that takes days in reality must end soon, but not before the answer to the request that
    // started it.
    let soon = Duration::from_millis(10);
    sandbox.banks().book_payments_after(soon);
    sandbox.banks().settle_debits_after(soon);
    sandbox.banks().settle_refunds_after(soon);
    sandbox.banks().decide_disputes_after(soon);
    let config = sandbox.config();
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/sdk");
    let mut command = command(installed, folder.join(script));
    command
        .env("SANDBOX_URL", sandbox.url())
        .env("SANDBOX_SECRET_KEY", config.secret_key().unwrap().expose())
        .env(
            "SANDBOX_PUBLISHABLE_KEY",
            config.publishable_key().unwrap().expose(),
        );
    let output = tokio::task::spawn_blocking(move || command.output().unwrap())
        .await
        .unwrap();
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    println!("{}", String::from_utf8_lossy(&output.stdout));
}

async fn ask_python(script: &str) {
    ask("STRIPE_SDK_PYTHON", script, |python, script| {
        let mut command = Command::new(python);
        command.arg(script);
        command
    })
    .await;
}

async fn ask_node(script: &str) {
    ask("STRIPE_SDK_NODE", script, |folder, script| {
        let mut command = Command::new("node");
        command.arg(script).env("STRIPE_SDK_NODE", folder);
        command
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn python() {
    ask_python("ask.py").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn python_parameters() {
    ask_python("parameters.py").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn node() {
    ask_node("ask.mjs").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn python_cards() {
    ask_python("cards.py").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn node_cards() {
    ask_node("cards.mjs").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn python_sessions() {
    ask_python("sessions.py").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn node_sessions() {
    ask_node("sessions.mjs").await;
}

/// Stripe's React wrapper in Chromium.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn react_wrapper() {
    ask_node("react.mjs").await;
}

/// The published types of Stripe.js.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn types_of_stripe_js() {
    ask_node("types.mjs").await;
}

/// The card Element and the methods that accept it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn classic_elements() {
    ask_node("classic.mjs").await;
}

/// The calls that Stripe.js refuses by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn integration_errors() {
    ask_node("refusals.mjs").await;
}

/// A Flask shop with a card Element. The script starts the shop with the Python SDK.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flask_shop() {
    if installed("STRIPE_SDK_PYTHON").is_some() {
        ask_node("flask.mjs").await;
    }
}
