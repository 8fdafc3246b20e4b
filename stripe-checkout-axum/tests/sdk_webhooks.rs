//! Webhooks over HTTP that the official SDKs for Python and Node signed.
//!
//! How to install the SDKs: `tests/sdk-webhooks/README.md`. Without them, these tests print a line
//! and pass.

mod support;

use std::path::Path;
use std::process::Command;

use stripe_checkout_axum::router;
use stripe_checkout_core::fulfillment::MemoryInbox;
use stripe_checkout_core::{Checkout, Config, WebhookSecret};
use support::{Ship, serve};

/// Runs an SDK's script against a separate application. The script fails if a genuine webhook is
/// refused, or if a changed one is accepted.
async fn post(variable: &str, order: &str, command: impl FnOnce(String, &Path) -> Command) {
    let Ok(installed) = std::env::var(variable) else {
        assert!(std::env::var("CI").is_err(), "{variable} is not set");
        println!(
            "skipped: {variable} is not set, so there is no SDK to sign webhooks (tests/sdk-webhooks/README.md)"
        );
        return;
    };
    let secret = WebhookSecret::new("whsec_of_this_test").unwrap();
    let ship = Ship::default();
    let checkout = Checkout::builder(Config::new([secret.clone()]).unwrap())
        .fulfillment(MemoryInbox::new(), ship.clone())
        .build()
        .unwrap();
    let address = serve(router(checkout)).await;

    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sdk-webhooks");
    let mut command = command(installed, &scripts);
    command
        .env("WEBHOOK_URL", format!("http://{address}/webhook"))
        .env("WEBHOOK_SECRET", secret.expose())
        .env("ORDER", order);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap())
        .await
        .unwrap();
    let (said, complained) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{said}{complained}");
    println!("{said}");
    assert_eq!(ship.shipped(), [order]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn python() {
    post("STRIPE_SDK_PYTHON", "python", |python, scripts| {
        let mut command = Command::new(python);
        command.arg(scripts.join("post.py"));
        command
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn node() {
    post("STRIPE_SDK_NODE", "node", |folder, scripts| {
        let mut command = Command::new("node");
        command
            .arg(scripts.join("post.mjs"))
            .env("STRIPE_SDK_NODE", folder);
        command
    })
    .await;
}
