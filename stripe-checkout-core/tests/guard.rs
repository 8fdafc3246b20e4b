//! The guard: each way to a payment asks it before anything else. If the guard cannot decide, the
//! payment is refused.

use stripe_checkout_core::fulfillment::{MemoryInbox, on_paid};
use stripe_checkout_core::requests::{CustomerRequest, HostedCheckout, PaymentRequest};
use stripe_checkout_core::{
    Amount, Body, Call, Checkout, Currency, CustomerResolver, GuardError, GuardedAction,
    PaymentGuard, Pricing, PricingError, Reply, Visitor,
};
use stripe_checkout_sandbox::Sandbox;

/// The routes that begin a payment, or save a card.
const WAYS: [&str; 3] = [
    "/create-payment-intent",
    "/create-checkout-session",
    "/create-setup-intent",
];

struct Teapot;

#[derive(serde::Deserialize)]
struct Nothing {}

impl Pricing for Teapot {
    type Order = Nothing;

    async fn price(&self, _: Nothing, _: &Visitor) -> Result<PaymentRequest, PricingError> {
        Ok(PaymentRequest::new("1", Amount::new(1999, Currency::EUR)))
    }
}

struct Ada;

impl CustomerResolver for Ada {
    async fn customer(&self, _: &Visitor) -> Result<Option<CustomerRequest>, PricingError> {
        Ok(Some(CustomerRequest::new("ada")))
    }
}

#[derive(Clone, Copy)]
enum Door {
    Open,
    Shut,
    Stuck,
}

impl PaymentGuard for Door {
    async fn check(&self, _: &Visitor, _: GuardedAction<'_>) -> Result<(), GuardError> {
        match self {
            Self::Open => Ok(()),
            Self::Shut => Err(GuardError::refused("Not today.")),
            Self::Stuck => std::future::pending().await,
        }
    }
}

fn checkout(sandbox: &Sandbox, door: Door) -> Checkout {
    Checkout::builder(sandbox.config())
        .application("tea")
        .pricing(Teapot)
        .customers(Ada)
        .hosted_checkout(HostedCheckout::new("https://shop.example"))
        .guard(door)
        .fulfillment(MemoryInbox::new(), on_paid(async |_| Ok(())))
        .build()
        .unwrap()
}

async fn post(checkout: &Checkout, path: &str) -> Reply {
    ask(checkout, path, "", "{}").await
}

async fn ask(checkout: &Checkout, path: &str, query: &str, body: &str) -> Reply {
    let endpoints = checkout.endpoints().iter();
    let endpoint = endpoints.rev().find(|known| known.path() == path).unwrap();
    let call = Call::new(endpoint)
        .query(Some(query))
        .header("host", b"shop.example")
        .header("content-type", b"application/json")
        .header("sec-fetch-site", b"same-origin")
        .body(Body::whole(body.as_bytes(), endpoint.body_limit()));
    checkout.handle(call).await
}

#[tokio::test]
async fn whoever_is_refused_has_started_nothing() {
    for path in WAYS {
        let sandbox = Sandbox::start().await.unwrap();
        let reply = post(&checkout(&sandbox, Door::Shut), path).await;
        let text = String::from_utf8_lossy(reply.body()).into_owned();
        assert_eq!(reply.status(), 403, "{path}: {text}");
        assert!(text.contains("Not today."), "{path}: {text}");
        assert_eq!(sandbox.requests().len(), 0, "{path}");
        let reply = post(&checkout(&sandbox, Door::Open), path).await;
        assert_eq!(reply.status(), 200, "{path}");
    }
}

#[tokio::test]
async fn a_guard_that_does_not_answer_lets_nobody_in() {
    for path in WAYS {
        let sandbox = Sandbox::start().await.unwrap();
        let checkout = checkout(&sandbox, Door::Stuck);
        // The call waits for the guard only, so the clock runs to the deadline.
        tokio::time::pause();
        let reply = post(&checkout, path).await;
        tokio::time::resume();
        assert_eq!(reply.status(), 503, "{path}");
        assert_eq!(sandbox.requests().len(), 0, "{path}");
    }
}

/// The routes on which a visitor can cause a request to Stripe, but start no payment.
const LOOK_UPS: [(&str, &str, &str); 7] = [
    (
        "/checkout/status",
        "",
        r#"{"payment_intent":"pi_1","payment_intent_client_secret":"pi_1_secret_1"}"#,
    ),
    (
        "/checkout/status",
        "",
        r#"{"setup_intent":"seti_1","setup_intent_client_secret":"seti_1_secret_1"}"#,
    ),
    ("/checkout/status", "", r#"{"session_id":"cs_1"}"#),
    (
        "/checkout/complete",
        "payment_intent=pi_1&payment_intent_client_secret=pi_1_secret_1",
        "",
    ),
    ("/checkout/complete", "session_id=cs_1", ""),
    (
        "/checkout/setup/complete",
        "setup_intent=seti_1&setup_intent_client_secret=seti_1_secret_1",
        "",
    ),
    ("/checkout/customer-session", "", "{}"),
];

#[tokio::test]
async fn look_ups_and_customer_sessions_pass_the_guard() {
    for (path, query, body) in LOOK_UPS {
        let sandbox = Sandbox::start().await.unwrap();
        let reply = ask(&checkout(&sandbox, Door::Shut), path, query, body).await;
        assert_eq!(reply.status(), 403, "{path} {query}");
        assert_eq!(sandbox.requests().len(), 0, "{path} {query}");
        ask(&checkout(&sandbox, Door::Open), path, query, body).await;
        assert!(!sandbox.requests().is_empty(), "{path} {query}");
    }
}

/// The page asks Stripe only about an order that has a payment.
#[tokio::test]
async fn the_checkout_page_passes_the_guard() {
    let sandbox = Sandbox::start().await.unwrap();
    for (door, status) in [(Door::Shut, 403), (Door::Open, 200)] {
        let reply = ask(&checkout(&sandbox, door), "/checkout", "order=1", "").await;
        let text = String::from_utf8_lossy(reply.body());
        assert_eq!(reply.status(), status, "{text}");
        assert_eq!(text.contains("Not today."), status == 403, "{text}");
    }
}
