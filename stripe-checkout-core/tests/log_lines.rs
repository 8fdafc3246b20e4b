//! The log: a stranger's text never begins a line of its own and moves no cursor, and money that a
//! person must look at has a line at `ERROR`.

use std::io;
use std::sync::{Arc, Mutex};

use stripe_checkout_core::fulfillment::{Due, FulfillmentHandler, MemoryInbox, PaymentEvent};
use stripe_checkout_core::requests::{CustomerRequest, PaymentRequest};
use stripe_checkout_core::stripe::{Transport, TransportRequest, TransportResponse};
use stripe_checkout_core::testing::{EventBody, PaymentIntent, now, refund, sign};
use stripe_checkout_core::webhook::{Event, Payment};
use stripe_checkout_core::{
    Amount, Body, BoxError, Call, Checkout, Config, Currency, CustomerResolver, GuardError,
    GuardedAction, PaymentGuard, Pricing, PricingError, PublishableKey, Reply, SecretKey,
    TransportError, Visitor, WebhookSecret,
};

const PRICE: Amount = Amount::new(1999, Currency::EUR);
/// Written raw, it would look like a line of the log, and hide the line before it.
const FORGED: &str = "x\r\n2026-01-01 ERROR forged\u{1b}[2K\u{2028}\u{202e}\u{85}";

/// `tracing` may lose a line that is logged for the first time while another test begins to listen.
static ONE_AT_A_TIME: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

#[derive(Clone, Default)]
struct Said(Arc<Mutex<Vec<u8>>>);

impl io::Write for Said {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A merchant whose errors repeat what the visitor sent.
struct Repeats;

#[derive(serde::Deserialize)]
struct Order {
    order: String,
}

impl Pricing for Repeats {
    type Order = Order;

    async fn price(&self, order: Order, _: &Visitor) -> Result<PaymentRequest, PricingError> {
        match order.order.as_str() {
            "free" => Ok(PaymentRequest::new(FORGED, PRICE)),
            "paid" => Err(PricingError::AlreadyPaid {
                reference: FORGED.to_owned(),
            }),
            "guarded" | "unreachable" => Ok(PaymentRequest::new(order.order, PRICE)),
            other => Err(io::Error::other(format!("no order {other}")).into()),
        }
    }
}

impl PaymentGuard for Repeats {
    async fn check(&self, _: &Visitor, attempt: GuardedAction<'_>) -> Result<(), GuardError> {
        match attempt {
            GuardedAction::Payment(request) if request.reference() == "guarded" => {
                Err(io::Error::other(FORGED).into())
            }
            _ => Ok(()),
        }
    }
}

impl CustomerResolver for Repeats {
    async fn customer(&self, visitor: &Visitor) -> Result<Option<CustomerRequest>, PricingError> {
        match visitor.header_str("x-member") {
            Some("unknown") => Err(io::Error::other(FORGED).into()),
            Some(_) => Ok(Some(CustomerRequest::new(FORGED))),
            None => Ok(None),
        }
    }
}

impl FulfillmentHandler for Repeats {
    async fn payment_succeeded(&self, _: &Payment, _: &mut ()) -> Result<(), BoxError> {
        Err(io::Error::other(FORGED).into())
    }

    async fn amount_due(&self, _: &Payment, _: &mut ()) -> Result<Due, BoxError> {
        Ok(Due::Exactly(PRICE))
    }
}

/// The way to Stripe fails with words of its own.
struct Away;

impl Transport for Away {
    async fn send(&self, _: &TransportRequest) -> Result<TransportResponse, TransportError> {
        Err(TransportError::Request(FORGED.into()))
    }
}

fn shop() -> Checkout {
    let keys = (
        SecretKey::new("sk_test_1").unwrap(),
        PublishableKey::new("pk_test_1").unwrap(),
    );
    let config = Config::new([secret()]).unwrap();
    Checkout::builder(config.with_keys(keys.0, keys.1).unwrap())
        .application("tea")
        .pricing(Repeats)
        .guard(Repeats)
        .customers(Repeats)
        .transport(Away)
        .fulfillment(MemoryInbox::new(), Repeats)
        .build()
        .unwrap()
}

fn secret() -> WebhookSecret {
    WebhookSecret::new("whsec_of_this_test").unwrap()
}

async fn ask(shop: &Checkout, path: &str, headers: &[(&str, &str)], body: &str) -> Reply {
    let endpoints = shop.endpoints().iter();
    let endpoint = endpoints.rev().find(|known| known.path() == path).unwrap();
    let call = Call::new(endpoint)
        .header("content-type", b"application/json")
        .body(Body::whole(body.as_bytes(), endpoint.body_limit()));
    let call = headers.iter().fold(call, |call, (name, value)| {
        call.header(name, value.as_bytes())
    });
    shop.handle(call).await
}

/// Sends all that a stranger can send.
async fn send_everything(shop: &Checkout) {
    const CREATE: &str = "/create-payment-intent";
    let order = |order: &str| serde_json::json!({"order": {"order": order}}).to_string();
    for (name, status) in [
        (FORGED, 503),
        ("free", 422),
        ("paid", 409),
        ("guarded", 503),
        ("unreachable", 503),
    ] {
        let reply = ask(shop, CREATE, &[], &order(name)).await;
        assert_eq!(reply.status(), status, "{name}");
    }
    let ticket = serde_json::json!({
        "payment_intent": FORGED,
        "payment_intent_client_secret": FORGED,
    });
    ask(shop, "/checkout/status", &[], &ticket.to_string()).await;
    let ticket = serde_json::json!({
        "setup_intent": format!("seti_{FORGED}"),
        "setup_intent_client_secret": format!("seti_{FORGED}_secret"),
    });
    ask(shop, "/checkout/status", &[], &ticket.to_string()).await;
    for member in [FORGED, "unknown"] {
        let member = [("x-member", member)];
        ask(shop, "/checkout/customer-session", &member, "{}").await;
        ask(
            shop,
            "/create-setup-intent",
            &member,
            r#"{"reference":"1"}"#,
        )
        .await;
    }
    ask(shop, "/webhook", &[("stripe-signature", FORGED)], FORGED).await;
    // Genuine, with whatever a connected account or a metadata value may bring.
    let intent = PaymentIntent::new(&format!("pi_{FORGED}"), PRICE);
    let intent = intent
        .metadata("order_id", FORGED)
        .metadata("checkout_application", "tea");
    let success = EventBody::new(
        "payment_intent.succeeded",
        intent.status("succeeded").object(),
    );
    let other = EventBody::new(FORGED, serde_json::json!({"object": FORGED}));
    let unreadable = serde_json::json!({"object": "payment_intent", "id": FORGED});
    let unreadable = EventBody::new("payment_intent.succeeded", unreadable);
    for (n, event) in [success, other, unreadable].into_iter().enumerate() {
        let body = event.id(&format!("evt_{n}_{FORGED}")).body();
        let header = sign(&body, &secret(), now());
        let body = String::from_utf8(body).unwrap();
        ask(shop, "/webhook", &[("stripe-signature", &header)], &body).await;
    }
}

#[tokio::test]
async fn no_text_of_a_strangers_begins_a_line_or_moves_the_cursor() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let said = Said::default();
    let writer = said.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let _listening = tracing::subscriber::set_default(subscriber);
    send_everything(&shop()).await;
    let said = String::from_utf8(said.0.lock().unwrap().clone()).unwrap();
    let repeated = said.matches("forged").count();
    assert!(repeated > 10, "{repeated}: {said}");
    for line in said.lines() {
        assert!(!line.starts_with("2026-01-01 ERROR forged"), "{said}");
        let hidden =
            |letter: char| letter.is_control() || ('\u{2028}'..='\u{202e}').contains(&letter);
        assert!(!line.contains(hidden), "{line:?}");
    }
}

/// Looks at nothing but what it must.
#[derive(Clone, Copy)]
struct LooksAway {
    due: Due,
    fails: bool,
}

impl FulfillmentHandler for LooksAway {
    async fn payment_succeeded(&self, _: &Payment, _: &mut ()) -> Result<(), BoxError> {
        Ok(())
    }

    async fn amount_due(&self, _: &Payment, _: &mut ()) -> Result<Due, BoxError> {
        Ok(self.due)
    }

    async fn on_event(&self, _: &PaymentEvent<'_>, _: &mut ()) -> Result<(), BoxError> {
        match self.fails {
            true => Err("no time".into()),
            false => Ok(()),
        }
    }
}

fn success(event: &str, payment: &str) -> Event {
    let intent = PaymentIntent::new(payment, PRICE)
        .asked_by("tea")
        .metadata("order_id", "order-1")
        .status("succeeded");
    let body = EventBody::new("payment_intent.succeeded", intent.object());
    Event::parse(body.id(event).body()).unwrap()
}

/// The lines at `ERROR` after these events came to this handler.
async fn errors(handler: LooksAway, events: impl IntoIterator<Item = Event>) -> Vec<String> {
    let _alone = ONE_AT_A_TIME.lock().await;
    let said = Said::default();
    let writer = said.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::ERROR)
        .with_ansi(false)
        .without_time()
        .with_target(false)
        .with_writer(move || writer.clone())
        .finish();
    let _listening = tracing::subscriber::set_default(subscriber);
    let checkout = Checkout::builder(Config::new([secret()]).unwrap())
        .application("tea")
        .fulfillment(MemoryInbox::new(), handler)
        .build()
        .unwrap();
    for event in events {
        checkout.receive(event).await.unwrap();
    }
    let said = String::from_utf8(said.0.lock().unwrap().clone()).unwrap();
    said.lines().map(|line| line.trim().to_owned()).collect()
}

const DUPLICATE: &str = "ERROR a second payment of an order that is already paid: nothing was fulfilled, refund it \
    event=\"evt_2\" payment=\"pi_2\" order=\"order-1\" amount=19.99 EUR received=19.99 EUR";

#[tokio::test]
async fn money_that_a_person_must_look_at_has_one_line_whatever_the_handler_does() {
    let handler = LooksAway {
        due: Due::AsAsked,
        fails: false,
    };
    let twice = [success("evt_1", "pi_1"), success("evt_2", "pi_2")];
    assert_eq!(errors(handler, twice).await, [DUPLICATE]);

    let wrong = LooksAway {
        due: Due::Exactly(Amount::new(2500, Currency::EUR)),
        ..handler
    };
    assert_eq!(
        errors(wrong, [success("evt_1", "pi_1")]).await,
        [
            "ERROR the payment does not fit its order: nothing was fulfilled \
            event=\"evt_1\" payment=\"pi_1\" order=\"order-1\" amount=19.99 EUR received=19.99 EUR \
            reason=the order costs 25.00 EUR, the payment is for 19.99 EUR"
        ]
    );

    let back = EventBody::new("refund.created", refund("re_1", "pi_1", PRICE));
    let back = Event::parse(back.id("evt_0").body()).unwrap();
    assert_eq!(
        errors(handler, [back, success("evt_1", "pi_1")]).await,
        [
            "ERROR the payment was refunded or disputed before it was fulfilled: nothing was fulfilled \
            event=\"evt_1\" payment=\"pi_1\" order=\"order-1\" amount=19.99 EUR received=19.99 EUR"
        ]
    );
}

#[tokio::test]
async fn the_line_is_there_although_the_handler_fails() {
    let handler = LooksAway {
        due: Due::AsAsked,
        fails: true,
    };
    let twice = [success("evt_1", "pi_1"), success("evt_2", "pi_2")];
    let lines = errors(handler, twice).await;
    assert_eq!(lines[0], DUPLICATE);
    assert!(lines[1].starts_with("ERROR fulfilment failed"), "{lines:?}");
    assert_eq!(lines.len(), 2);
}
