//! Stripe's answers: whatever comes back, a call ends with an object that the JSON holds, or with
//! an error that repeats nothing of it.

use std::{
    cell::RefCell,
    error::Error,
    fmt::Debug,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use serde_json::{Value, json};
use stripe_checkout_core::{
    Amount, ApiError, Checkout, Config, Currency, OrderCancellation, PaymentError, Pricing,
    PricingError, PublishableKey, SecretKey, TransportError, Visitor, WebhookSecret,
    fulfillment::{MemoryInbox, on_paid},
    requests::{CustomerRequest, HostedCheckout, IntentParams, PaymentRequest, RefundRequest},
    stripe::{Gateway, IdempotencyKey, Transport, TransportRequest, TransportResponse},
    webhook::{self, CheckoutSession, Payment},
};
use tokio::runtime::Runtime;
use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};

thread_local! {
    static STRIPE: Stripe = Stripe::new().unwrap_or_else(|error| panic!("{error}"));
}

/// Lets Stripe answer a call. The first line holds the call and the status, such as `retrieve 200`.
/// Headers follow, one on each line, then an empty line and the body.
pub fn check(input: &[u8]) {
    let (call, answer) = read(input);
    tracing::subscriber::with_default(PlainLog, || STRIPE.with(|stripe| stripe.call(call, answer)));
}

fn read(input: &[u8]) -> (&str, TransportResponse) {
    let mut rest = input;
    let mut line = || {
        let end = rest.iter().position(|byte| *byte == b'\n');
        let end = end.unwrap_or(rest.len());
        let line = &rest[..end];
        rest = rest.get(end + 1..).unwrap_or_default();
        line
    };
    let first = std::str::from_utf8(line()).unwrap_or_default();
    let (call, status) = first.split_once(' ').unwrap_or((first, ""));
    let mut headers = Vec::new();
    loop {
        let line = line();
        let Some(colon) = line.iter().position(|byte| *byte == b':') else {
            break;
        };
        let name = String::from_utf8_lossy(&line[..colon]).into_owned();
        headers.push((name, line[colon + 1..].to_vec()));
    }
    let answer = TransportResponse {
        status: status.parse().unwrap_or(200),
        headers,
        body: Bytes::copy_from_slice(rest),
    };
    (call, answer)
}

/// Reads every line of the log: no answer of Stripe's may forge one.
struct PlainLog;

impl Subscriber for PlainLog {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, attributes: &Attributes<'_>) -> Id {
        attributes.record(&mut PlainValues);
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, values: &Record<'_>) {
        values.record(&mut PlainValues);
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        event.record(&mut PlainValues);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

struct PlainValues;

impl Visit for PlainValues {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let printed = format!("{value:?}");
        assert!(!printed.contains(char::is_control), "{field}: {printed:?}");
    }
}

/// Gives the same answer to every request.
#[derive(Clone)]
struct Answers(Arc<Mutex<Given>>);

enum Given {
    Answer(TransportResponse),
    TooLarge,
    Stale,
    Broken,
    /// No answer, ever.
    Nothing,
}

impl Transport for Answers {
    async fn send(&self, _: &TransportRequest) -> Result<TransportResponse, TransportError> {
        let answer = match &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            Given::Answer(answer) => Some(Ok(answer.clone())),
            Given::TooLarge => Some(Err(TransportError::AnswerTooLarge {
                status: 200,
                limit: 1,
            })),
            Given::Stale => Some(Err(TransportError::Stale("closed".into()))),
            Given::Broken => Some(Err(TransportError::Broken("reset".into()))),
            Given::Nothing => None,
        };
        match answer {
            Some(answer) => answer,
            None => std::future::pending().await,
        }
    }
}

/// Prices no order: requests are made directly.
struct NoPrices;

impl Pricing for NoPrices {
    type Order = String;

    async fn price(&self, _: String, _: &Visitor) -> Result<PaymentRequest, PricingError> {
        Err(PricingError::refused("no prices"))
    }
}

/// A checkout, for the calls that only it makes.
struct Shop {
    checkout: Checkout,
    /// The number of orders and operations so far.
    count: u32,
}

impl Shop {
    /// The number of calls to one shop. A new one follows, so that the memory stays small.
    const MOST: u32 = 500;

    fn new(answers: &Answers) -> Result<Self, Box<dyn Error>> {
        let checkout = Checkout::builder(config()?)
            .application("fuzz")
            .pricing(NoPrices)
            .hosted_checkout(HostedCheckout::new("https://shop.example"))
            .transport(answers.clone())
            .max_declines(1)
            .fulfillment(MemoryInbox::new(), on_paid(async |_| Ok(())))
            .build()?;
        Ok(Self { checkout, count: 0 })
    }

    async fn call(&mut self, call: &str, answer: &TransportResponse) {
        self.count += 1;
        // A look-up of this call is not answered from the memory of an earlier one.
        tokio::time::advance(Duration::from_secs(2)).await;
        let name = format!("fuzz-{}", self.count);
        let amount = Amount::new(1999, Currency::EUR);
        let request = PaymentRequest::new(&name, amount);
        match call {
            "order" => ended(self.checkout.create_intent(&request).await, answer),
            "switch" => {
                // Stripe's page follows ours: the open payment is closed first.
                ended(self.checkout.create_intent(&request).await, answer);
                ended(self.checkout.create_session(&request).await, answer);
            }
            "expire-order" => {
                ended(self.checkout.create_intent(&request).await, answer);
                match self.checkout.cancel_order(&name).await {
                    Ok(OrderCancellation::NothingOpen) => {}
                    expired => ended(expired, answer),
                }
            }
            "declined" => {
                // The shop takes one attempt to pay, so that the open payment is canceled.
                let made = self.checkout.create_intent(&request).await;
                if let Ok(payment) = &made {
                    let event = declined(payment.id(), &name);
                    let event =
                        webhook::Event::parse(event).unwrap_or_else(|error| panic!("{error}"));
                    let received = self.checkout.receive(event).await;
                    assert!(received.is_ok(), "{received:?}");
                }
                ended(made, answer);
            }
            "back" => {
                let found = self.checkout.retrieve_intent("pi_1", "pi_1_secret_x").await;
                if let Some(found) = found.transpose() {
                    ended(found, answer);
                }
            }
            "totals" => ended(self.checkout.totals("pi_1").await, answer),
            "hosted" => ended(self.checkout.create_session(&request).await, answer),
            "returned" => {
                let found = self.checkout.retrieve_session("cs_1").await;
                if let Some(found) = found.transpose() {
                    ended(found, answer);
                }
            }
            "refund" => {
                let refund = RefundRequest::new(&name, "pi_1").amount(amount);
                let refunded = self.checkout.refund(&refund).await;
                if let (Ok(refund), Some(json)) = (&refunded, json(answer)) {
                    assert_eq!(json["id"], refund.id());
                }
                ended(refunded, answer);
            }
            _ => {
                let customer = CustomerRequest::new(&name);
                ended(self.checkout.customer(&customer).await, answer);
            }
        }
    }
}

/// The event of a declined attempt to pay this order.
fn declined(payment: &str, order: &str) -> String {
    let object = json!({
        "id": payment,
        "object": "payment_intent",
        "amount": 1999,
        "currency": "eur",
        "status": "requires_payment_method",
        "last_payment_error": {"code": "card_declined"},
        "metadata": {
            "order_id": order,
            "checkout_application": "fuzz",
            "checkout_amount": "1999",
            "checkout_currency": "eur",
        },
    });
    let event = json!({
        "id": format!("evt_{order}"),
        "object": "event",
        "type": "payment_intent.payment_failed",
        "created": 1_790_000_000,
        "livemode": false,
        "data": {"object": object},
    });
    event.to_string()
}

fn ended<T>(result: Result<T, PaymentError>, answer: &TransportResponse) {
    match result {
        Ok(_) => assert!(is_good(answer)),
        Err(PaymentError::Api(error)) => check_text(&error),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

fn config() -> Result<Config, Box<dyn Error>> {
    let secret_key = SecretKey::new("sk_test_fuzz")?;
    let publishable_key = PublishableKey::new("pk_test_fuzz")?;
    let config = Config::new([WebhookSecret::new("whsec_fuzz")?])?;
    Ok(config.with_keys(secret_key, publishable_key)?)
}

struct Stripe {
    shop: RefCell<Option<Shop>>,
    answers: Answers,
    gateway: Gateway,
    runtime: Runtime,
    key: IdempotencyKey,
    params: IntentParams,
}

impl Stripe {
    fn new() -> Result<Self, Box<dyn Error>> {
        let answers = Answers(Arc::new(Mutex::new(Given::Nothing)));
        let gateway = Gateway::new(&config()?)?
            .transport(answers.clone())
            .max_tries(2);
        Ok(Self {
            shop: RefCell::default(),
            gateway: gateway.deadline(Duration::from_secs(5)),
            answers,
            // Pauses between tries take no time.
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .start_paused(true)
                .build()?,
            key: "fuzz".parse()?,
            params: IntentParams::new(Amount::new(1999, Currency::EUR)),
        })
    }

    fn call(&self, call: &str, answer: TransportResponse) {
        let given = match call {
            "large" => Given::TooLarge,
            "stale" => Given::Stale,
            "broken" => Given::Broken,
            "hang" => Given::Nothing,
            _ => Given::Answer(answer.clone()),
        };
        *self
            .answers
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = given;
        let (gateway, key) = (&self.gateway, &self.key);
        let account = Some("acct_1");
        self.runtime.block_on(async {
            match call {
                "retrieve" => payment(gateway.retrieve_intent("pi_1", None).await, &answer, None),
                "create" => {
                    let made = gateway.create_intent(&self.params, key, account).await;
                    payment(made, &answer, account);
                }
                "update" => {
                    let updated = gateway.update_intent("pi_1", &self.params, key, None);
                    payment(updated.await, &answer, None);
                }
                "cancel" => {
                    let canceled = gateway.cancel_intent("pi_1", key, account);
                    payment(canceled.await, &answer, account);
                }
                "session" => session(gateway.retrieve_session("cs_1", None).await, &answer),
                "expire" => session(gateway.expire_session("cs_1", key, None).await, &answer),
                "post" => {
                    let posted = gateway.post("/refunds", "amount=1", key, None);
                    body(posted.await, &answer);
                }
                "get" => body(gateway.get("/events?limit=1", account).await, &answer),
                "large" | "stale" | "broken" | "hang" => {
                    let found = gateway.get("/events", None).await;
                    match (call, found) {
                        ("large", Err(ApiError::UnexpectedAnswer { .. }))
                        | ("hang", Err(ApiError::Timeout))
                        | ("stale" | "broken", Err(ApiError::Unavailable { .. })) => {}
                        (_, found) => panic!("{call}: {found:?}"),
                    }
                    assert!(!format!("{gateway:?}").contains("sk_test"));
                }
                "order" | "hosted" | "switch" | "expire-order" | "declined" | "returned"
                | "back" | "refund" | "totals" | "customer" => {
                    let kept = self
                        .shop
                        .take()
                        .map_or_else(|| Shop::new(&self.answers), Ok);
                    let mut shop = kept.unwrap_or_else(|error| panic!("{error}"));
                    shop.call(call, &answer).await;
                    self.shop.replace((shop.count < Shop::MOST).then_some(shop));
                }
                // An id or a path from a browser.
                other => {
                    if let Err(error) = gateway.retrieve_intent(other, None).await {
                        check_text(&error);
                    }
                    if let Err(error) = gateway.retrieve_session(other, None).await {
                        check_text(&error);
                    }
                    if let Err(error) = gateway.get(other, Some(other)).await {
                        check_text(&error);
                    }
                }
            }
        });
    }
}

fn is_good(answer: &TransportResponse) -> bool {
    (200..300).contains(&answer.status)
}

fn json(answer: &TransportResponse) -> Option<Value> {
    serde_json::from_slice(&answer.body).ok()
}

fn payment(found: Result<Payment, ApiError>, answer: &TransportResponse, account: Option<&str>) {
    let payment = match found {
        Ok(payment) => payment,
        Err(error) => return check_error(&error, answer, "payment_intent"),
    };
    assert!(is_good(answer));
    assert_eq!(payment.account(), account);
    let Some(json) = json(answer) else {
        return;
    };
    assert_eq!(
        (&json["id"], &json["object"]),
        (&payment.id().into(), &"payment_intent".into())
    );
    assert_eq!(json["amount"].as_u64(), Some(payment.amount().minor()));
    let received = match json["amount_received"].as_u64() {
        None if json["status"] == "succeeded" => json["amount"].as_u64(),
        received => received.or(Some(0)),
    };
    assert_eq!(received, Some(payment.amount_received().minor()));
    let livemode = json["livemode"].as_bool().unwrap_or_default();
    assert_eq!(payment.livemode(), livemode);
}

fn session(found: Result<CheckoutSession, ApiError>, answer: &TransportResponse) {
    let session = match found {
        Ok(session) => session,
        Err(error) => return check_error(&error, answer, "checkout.session"),
    };
    assert!(is_good(answer));
    let Some(json) = json(answer) else {
        return;
    };
    assert_eq!(
        (&json["id"], &json["object"]),
        (&session.id().into(), &"checkout.session".into())
    );
    assert_eq!(json["payment_status"], session.payment_status().as_str());
    assert_eq!(
        json["amount_total"].as_u64().unwrap_or_default(),
        session.total().minor()
    );
}

fn body(found: Result<Bytes, ApiError>, answer: &TransportResponse) {
    match found {
        Ok(body) => assert!(is_good(answer) && body == answer.body),
        Err(error) => check_error(&error, answer, ""),
    }
}

/// The error is the one that the status means.
fn check_error(error: &ApiError, answer: &TransportResponse, object: &str) {
    check_text(error);
    let status = answer.status;
    match error {
        ApiError::IdempotencyConflict { .. } | ApiError::IdempotencyMismatch { .. } => {
            assert!(!is_good(answer));
        }
        ApiError::Authentication { .. } => assert_eq!(status, 401),
        ApiError::Declined { .. } => assert_eq!(status, 402),
        ApiError::Permission { .. } => assert_eq!(status, 403),
        ApiError::RateLimited { .. } => assert_eq!(status, 429),
        ApiError::Unavailable { .. } => assert!(status == 424 || status >= 500),
        ApiError::InvalidRequest { .. } => {
            assert!((400..500).contains(&status) || !answer.body.is_empty());
        }
        ApiError::UnexpectedAnswer { .. } => {
            assert!(status < 400);
            if let Some(json) = json(answer).filter(|_| is_good(answer)) {
                let is_right = json["object"] == object
                    && json["amount"].is_u64()
                    && json["currency"] == "eur"
                    && json["id"] == "pi_1"
                    && json["status"] == "succeeded"
                    && json.as_object().is_some_and(|fields| fields.len() == 5);
                assert!(!is_right, "{json}");
            }
        }
        other => panic!("{other:?} after {status}"),
    }
}

/// Nothing that could forge a line of a log.
fn check_text(error: &ApiError) {
    let printed = format!("{error} {error:?}");
    let is_plain = |letter: char| letter.is_ascii_graphic() || letter == ' ';
    assert!(
        printed.chars().all(is_plain) && printed.len() < 1500,
        "{printed:?}"
    );
}
