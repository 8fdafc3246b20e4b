//! The events of the benches: about 2.5 KB each, as Stripe sends them for a payment that succeeded.
//! Each has its own payment and order.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use stripe_checkout_core::fulfillment::{
    Due, FulfillmentHandler, Inbox, InboxExt as _, NewEvent, OrderKey, Scope, Terms,
};
use stripe_checkout_core::testing::{now, sign};
use stripe_checkout_core::webhook::{Event, Payment};
use stripe_checkout_core::{
    Body, BoxError, Checkout, CheckoutBuilder, Config, Mode, Ownership, PublishableKey, SecretKey,
    WebhookSecret,
};

const SUCCEEDED: &str =
    include_str!("../../tests/events/payment_intent.succeeded.2026-09-30.endive.json");

/// The number of the next event. All events of this process have different numbers.
static MADE: AtomicU64 = AtomicU64::new(0);

pub(crate) fn scope() -> Scope {
    Scope {
        application: "shop".into(),
        mode: Mode::Test,
    }
}

pub(crate) fn event_id(number: u64) -> String {
    format!("evt_3S0aBcLkdIwHu7ix{number:08}")
}

/// Returns the number of the next event, and its body.
pub(crate) fn body() -> (u64, Vec<u8>) {
    let number = MADE.fetch_add(1, Ordering::Relaxed);
    let lines: String = (1..=4)
        .map(|line| {
            format!("\"line_{line}\": \"2 x Darjeeling First Flush, 250 g, 19.99 EUR\",\n        ")
        })
        .collect();
    let body = SUCCEEDED
        .replace("evt_1S0008LkdIwHu7ixraBm864M", &event_id(number))
        .replace(
            "pi_3S0aBcLkdIwHu7ix1VKx9xQz",
            &format!("pi_3S0aBcLkdIwHu7ix{number:08}"),
        )
        .replace(
            "\"order_id\": \"6735\",",
            &format!("{lines}\"order_id\": \"order-{number:08}\","),
        )
        .replace(
            "\"created\": 1790000000",
            &format!("\"created\": {}", now()),
        );
    (number, body.into_bytes())
}

/// Returns the next event, as the inbox stores it.
pub(crate) fn new_event() -> NewEvent {
    let (number, body) = body();
    NewEvent {
        scope: scope(),
        id: event_id(number),
        event_type: "payment_intent.succeeded".into(),
        payment: Some(format!("pi_3S0aBcLkdIwHu7ix{number:08}")),
        order: Some(OrderKey {
            scope: scope(),
            account: None,
            reference: format!("order-{number:08}"),
        }),
        ours: true,
        settles: true,
        note: None,
        body: body.into(),
        received: SystemTime::now(),
    }
}

/// Stores this number of events.
pub(crate) async fn store<I: Inbox>(inbox: &I, events: usize) {
    for _ in 0..events {
        inbox.receive(new_event()).await.unwrap();
    }
}

fn secret() -> WebhookSecret {
    WebhookSecret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap()
}

/// Builds an application that receives only payments, with the keys of one mode.
pub(crate) fn checkout<I, H>(
    inbox: I,
    handler: H,
    more: impl FnOnce(CheckoutBuilder) -> CheckoutBuilder,
) -> Checkout
where
    I: Inbox,
    H: FulfillmentHandler<I::Connection>,
{
    let config = Config::new([secret()])
        .unwrap()
        .with_keys(
            SecretKey::new("sk_test_of_this_bench").unwrap(),
            PublishableKey::new("pk_test_of_this_bench").unwrap(),
        )
        .unwrap();
    let builder = Checkout::builder(config)
        .application(scope().application)
        .ownership(Ownership::AllPayments)
        .fulfillment(inbox, handler);
    more(builder).build().unwrap()
}

/// Returns a signed event, verified by this checkout.
pub(crate) fn delivered(checkout: &Checkout) -> Event {
    let (_, body) = body();
    let header = sign(&body, &secret(), now());
    let body = Body::whole(&body, checkout.body_limit());
    checkout.verify(body, [header.as_bytes()]).unwrap()
}

/// A handler that does nothing.
#[derive(Clone, Copy)]
pub(crate) struct Nothing;

impl<C: Send> FulfillmentHandler<C> for Nothing {
    async fn payment_succeeded(&self, _: &Payment, _: &mut C) -> Result<(), BoxError> {
        Ok(())
    }

    async fn amount_due(&self, payment: &Payment, _: &mut C) -> Result<Due, BoxError> {
        Ok(Due::Exactly(payment.amount()))
    }
}

pub(crate) fn terms() -> Terms {
    Terms::new(Duration::from_secs(8), Duration::from_secs(33), 20)
}
