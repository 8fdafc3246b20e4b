//! The checks of an application with its own webhook route.

use stripe_checkout_core::{
    Amount, Currency, WebhookSecret,
    testing::{self, EventBody, PaymentIntent},
};

use crate::{Answer, Program, ask};

/// Runs the program at this path with a signing secret, and checks its responses and output.
///
/// It sends events as Stripe would, and as a forger would.
///
/// # Panics
/// If any check fails.
pub fn custom_webhook(path: &str) {
    let folder = std::env::temp_dir();
    let without = Program::command(path, &folder).output().expect("it runs");
    let error = String::from_utf8_lossy(&without.stderr);
    assert!(!without.status.success(), "no secret, no webhook");
    assert!(error.contains("STRIPE_WEBHOOK_SECRET"), "{error}");

    let secret = WebhookSecret::new("whsec_of_this_test").expect("a secret");
    let mut command = Program::command(path, &folder);
    command.env("STRIPE_WEBHOOK_SECRET", secret.expose());
    let mut program = Program::start(command);
    let deliver = |program: &Program, signed: &[u8], sent: &[u8]| -> Answer {
        let signature = testing::sign(signed, &secret, testing::now());
        let headers = [
            ("content-type", "application/json"),
            ("stripe-signature", signature.as_str()),
        ];
        ask(program.host(), "POST", "/hooks/stripe", &headers, sent)
    };

    let payment = PaymentIntent::new("pi_1", Amount::new(19_99, Currency::EUR)).status("succeeded");
    let event = EventBody::new("payment_intent.succeeded", payment.object()).id("evt_1");
    let body = event.clone().body();
    let answer = deliver(&program, &body, &body);
    assert_eq!((answer.status, answer.body.as_str()), (200, "thank you"));
    program.wait_for_line("paid: 19.99 EUR (pi_1)");

    // Stripe sends the event again. The program accepts it, and nothing happens.
    let answer = deliver(&program, &body, &body);
    assert_eq!((answer.status, answer.body.as_str()), (200, "seen before"));

    // A forger changes the amount.
    let payment = PaymentIntent::new("pi_2", Amount::new(1, Currency::EUR)).status("succeeded");
    let forged = testing::event("payment_intent.succeeded", payment.object());
    let answer = deliver(&program, &body, &forged);
    refused(&answer, 400);
    let answer = program.ask("POST", "/hooks/stripe", &[], "{}");
    refused(&answer, 400);

    // One byte more than a webhook may have. Its signature does not matter.
    let large = vec![b' '; 1024 * 1024 + 1];
    let answer = deliver(&program, &large, &large);
    refused(&answer, 413);

    // Stripe may send an event that this application does not need. It is acknowledged.
    let other = EventBody::new("product.created", serde_json::json!({"id": "prod_1"})).body();
    let answer = deliver(&program, &other, &other);
    assert_eq!((answer.status, answer.body.as_str()), (200, "thank you"));

    let paid = |line: &&String| line.contains("paid: ");
    assert_eq!(program.lines().iter().filter(paid).count(), 1);
    for line in program.lines() {
        assert!(!line.contains(secret.expose()) && !line.contains("v1="));
    }
}

/// Checks that the program refuses as the ready-made route does.
#[track_caller]
fn refused(answer: &Answer, status: u16) {
    assert_eq!(answer.status, status, "{answer:?}");
    assert!(answer.json()["code"].is_string(), "{answer:?}");
}
