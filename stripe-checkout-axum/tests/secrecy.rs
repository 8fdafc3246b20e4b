//! A whole day of a shop, with logging at TRACE and every value and error printed. No secret may be
//! in the output.
//!
//! The test is a separate program because it listens to the whole process.

use std::{
    error::Error,
    ffi::OsString,
    fmt::{Debug, Write as _},
    future::ready,
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::to_bytes,
    extract::{Request, State},
    middleware::{self, Next},
    response::Response,
};
use serde::Deserialize;
use serde_json::Value;
use stripe_checkout_core::{
    Amount, Body, BoxError, Checkout, Config, Currency, Endpoint, Metadata, Pricing, PricingError,
    PublishableKey, SecretKey, Visitor, WebhookSecret,
    fulfillment::{Due, EventFilter, FulfillmentHandler, MemoryInbox, PaymentEvent},
    requests::PaymentRequest,
    testing,
    webhook::{Event, Outcome, Payment, Verifier},
};
use stripe_checkout_sandbox::{Fault, Sandbox};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

const EMAIL: &str = "jane@hidden.example";
const DESCRIPTION: &str = "hidden words about the order";
const NOTE: &str = "hidden words in the metadata";
const REFUSED_KEY: &str = "sk_test_thatNobodyKnows";
const GOOD: &str = "4242424242424242";
const DECLINED: &str = "4000000000000002";
const THREE_D_SECURE: &str = "4000000000003220";

/// The output of all sources.
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

impl Said {
    fn value(&self, value: &dyn Debug) {
        let text = format!("{value:?}\n{value:#?}\n");
        self.0.lock().unwrap().extend_from_slice(text.as_bytes());
    }

    fn error(&self, error: &(dyn Error + 'static)) {
        let mut text = String::new();
        let mut cause = Some(error);
        while let Some(error) = cause {
            write!(text, "{error}\n{error:?}\n{error:#?}\n").unwrap();
            cause = error.source();
        }
        self.0.lock().unwrap().extend_from_slice(text.as_bytes());
    }

    /// Prints the value or the error, and returns the value.
    fn outcome<T: Debug, E: Error + 'static>(&self, outcome: Result<T, E>) -> Option<T> {
        match &outcome {
            Ok(value) => self.value(value),
            Err(error) => self.error(error),
        }
        outcome.ok()
    }
}

struct Prices;

#[derive(Deserialize)]
struct Order {
    order: String,
}

impl Pricing for Prices {
    type Order = Order;

    async fn price(&self, order: Order, _: &Visitor) -> Result<PaymentRequest, PricingError> {
        match order.order.as_str() {
            "sold-out" => Err(PricingError::refused("It is sold out.")),
            "broken" => Err(io::Error::other("the prices' database is away").into()),
            id => Ok(request(id)),
        }
    }
}

fn request(order: &str) -> PaymentRequest {
    PaymentRequest::new(order, Amount::new(1999, Currency::EUR))
        .line("A thing", 1, Amount::new(1999, Currency::EUR))
        .metadata(Metadata::new().with("note", NOTE).unwrap())
        .receipt_email(EMAIL)
        .description(DESCRIPTION)
}

/// A handler that fails, panics, and then works.
#[derive(Default)]
struct Ship {
    tries: AtomicUsize,
}

impl FulfillmentHandler for Ship {
    async fn payment_succeeded(&self, payment: &Payment, _: &mut ()) -> Result<(), BoxError> {
        tracing::info!(?payment, "shipping");
        if payment.order_id() == Some("never") {
            return Err("nobody knows where this is".into());
        }
        match self.tries.fetch_add(1, Ordering::SeqCst) {
            0 => Err("the printer is out of paper".into()),
            1 => panic!("a bug of the merchant's"),
            _ => Ok(()),
        }
    }

    fn amount_due(
        &self,
        payment: &Payment,
        _: &mut (),
    ) -> impl Future<Output = Result<Due, BoxError>> {
        tracing::trace!(?payment, "due");
        ready(Ok(Due::AsAsked))
    }

    async fn on_event(&self, event: &PaymentEvent<'_>, _: &mut ()) -> Result<(), BoxError> {
        match event {
            PaymentEvent::PaymentFailed {
                payment, failure, ..
            } => {
                tracing::info!(?payment, ?failure, "failed");
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

/// Sends a request like a browser or a script, and returns the status and body of the answer.
async fn ask(to: &str, method: &str, path: &str, headers: &str, body: &str) -> (u16, String) {
    let host = to.trim_start_matches("http://");
    let mut stream = TcpStream::connect(host).await.unwrap();
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), body.to_owned())
}

/// The signatures and bodies of the received webhooks.
type Webhooks = Arc<Mutex<Vec<(String, String)>>>;

async fn record(State(webhooks): State<Webhooks>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap();
    if let Some(signature) = parts.headers.get(Checkout::SIGNATURE_HEADER) {
        let webhook = (
            signature.to_str().unwrap().to_owned(),
            String::from_utf8_lossy(&body).into_owned(),
        );
        webhooks.lock().unwrap().push(webhook);
    }
    next.run(Request::from_parts(parts, body.into())).await
}

const JSON: &str = "Content-Type: application/json\r\n";
const FORM: &str = "Content-Type: application/x-www-form-urlencoded\r\n";

/// The shop, the sandbox, and their secrets.
struct Day {
    said: Said,
    sandbox: Sandbox,
    config: Config,
    checkout: Checkout,
    shop: String,
    /// The texts that must not be in the output, each with its description.
    hidden: Vec<(String, &'static str)>,
    webhooks: Webhooks,
}

impl Day {
    async fn begin(said: Said) -> Self {
        let sandbox = Sandbox::builder()
            .retry_after([Duration::from_millis(10); 5])
            .start()
            .await
            .unwrap();
        let config = sandbox.config();
        let checkout = Checkout::builder(config.clone())
            .application("secrecy")
            .shop_name("A shop")
            .pricing(Prices)
            .fulfillment(MemoryInbox::new(), Ship::default())
            .build()
            .unwrap();

        let webhooks = Webhooks::default();
        let app: Router = stripe_checkout_axum::router(checkout.clone())
            .layer(middleware::from_fn_with_state(webhooks.clone(), record));
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0)))
            .await
            .unwrap();
        let shop = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        sandbox
            .webhook_endpoint(&format!("{shop}/webhook"))
            .unwrap();

        let hidden = vec![
            (
                config.secret_key().unwrap().expose().to_owned(),
                "the secret key",
            ),
            (
                config.webhook_secrets()[0].expose().to_owned(),
                "the webhook secret",
            ),
            (REFUSED_KEY.to_owned(), "the key that was refused"),
            (EMAIL.to_owned(), "the buyer's e-mail address"),
            (DESCRIPTION.to_owned(), "a body, by its description"),
            (NOTE.to_owned(), "a body, by its metadata"),
            (GOOD.to_owned(), "a card number"),
            (DECLINED.to_owned(), "a card number"),
            (THREE_D_SECURE.to_owned(), "a card number"),
        ];
        Self {
            said,
            sandbox,
            config,
            checkout,
            shop,
            hidden,
            webhooks,
        }
    }

    /// Presses the button as the buyer. Returns the intent's id and its client secret.
    async fn press(&mut self, order: &str) -> (String, String) {
        let path = format!("/create-payment-intent?order={order}");
        let (status, body) = ask(&self.shop, "POST", &path, JSON, "{}").await;
        assert_eq!(status, 200, "{body}");
        let answer: Value = serde_json::from_str(&body).unwrap();
        let secret = answer["clientSecret"].as_str().unwrap().to_owned();
        self.hidden.push((secret.clone(), "a client secret"));
        let (id, rest) = secret.split_once("_secret_").unwrap();
        self.hidden
            .push((rest.to_owned(), "a part of a client secret"));
        (id.to_owned(), secret)
    }

    /// Confirms the intent, as Stripe.js does.
    async fn confirm(&self, (id, secret): &(String, String), card: &str) -> Value {
        let key = self.config.publishable_key().unwrap().expose();
        let body = format!(
            "key={key}&client_secret={secret}&return_url=http%3A%2F%2Flocalhost%2Fback&payment_method_data[type]=card\
             &payment_method_data[card][number]={card}&payment_method_data[card][exp_month]=12\
             &payment_method_data[card][exp_year]=2034&payment_method_data[card][cvc]=123\
             &payment_method_data[billing_details][email]={EMAIL}&use_stripe_sdk=true"
        );
        let path = format!("/v1/payment_intents/{id}/confirm");
        let (_, answer) = ask(self.sandbox.url(), "POST", &path, FORM, &body).await;
        serde_json::from_str(&answer).unwrap()
    }

    async fn complete(&self, (id, secret): &(String, String), status: u16) {
        let query = format!("payment_intent={id}&payment_intent_client_secret={secret}");
        let path = format!("/checkout/complete?{query}&redirect_status=succeeded");
        assert_eq!(ask(&self.shop, "GET", &path, "", "").await.0, status);
        let body =
            format!(r#"{{"payment_intent":"{id}","payment_intent_client_secret":"{secret}"}}"#);
        assert_eq!(
            ask(&self.shop, "POST", "/checkout/status", JSON, &body)
                .await
                .0,
            status
        );
    }

    /// Makes a purchase whose fulfilment fails and panics before it succeeds.
    async fn purchase(&mut self) {
        assert_eq!(
            ask(&self.shop, "GET", "/checkout?order=1", "", "").await.0,
            200
        );
        let intent = self.press("1").await;
        let confirmed = self.confirm(&intent, GOOD).await;
        assert_eq!(confirmed["status"], "succeeded", "{confirmed}");
        self.sandbox.wait_idle().await;
        self.complete(&intent, 200).await;
        let (status, _) = ask(
            &self.shop,
            "POST",
            "/create-payment-intent?order=1",
            JSON,
            "{}",
        )
        .await;
        assert_eq!(status, 409, "paid");
    }

    /// Makes a purchase that is never fulfilled: its event stays in the inbox, with its body.
    async fn stuck(&mut self) {
        let intent = self.press("never").await;
        self.confirm(&intent, GOOD).await;
        self.sandbox.wait_idle().await;
        let events = self.checkout.events(EventFilter::default()).await.unwrap();
        assert!(events.iter().any(|event| !event.body.is_empty()));
    }

    async fn declines(&mut self) {
        let intent = self.press("2").await;
        let declined = self.confirm(&intent, DECLINED).await;
        assert_eq!(declined["error"]["code"], "card_declined");
        let asked = self.confirm(&intent, THREE_D_SECURE).await;
        assert_eq!(asked["status"], "requires_action");
        let body = format!("client_secret={}&outcome=fail", intent.1);
        let path = format!("/sandbox/3ds/{}", intent.0);
        assert_eq!(
            ask(self.sandbox.url(), "POST", &path, FORM, &body).await.0,
            200
        );
        self.sandbox.wait_idle().await;
        self.complete(&intent, 200).await;

        // The secret of another payment, made up.
        let wrong = (intent.0, format!("{}x", intent.1));
        self.hidden
            .push((wrong.1.clone(), "a client secret that does not fit"));
        self.complete(&wrong, 404).await;
    }

    /// Sends the requests that the routes refuse.
    async fn refusals(&self) {
        for (path, expected) in [
            ("/checkout", 400),
            ("/checkout?order=sold-out", 422),
            ("/checkout?order=broken", 503),
        ] {
            assert_eq!(
                ask(&self.shop, "GET", path, "", "").await.0,
                expected,
                "{path}"
            );
        }
        let cross_site = format!("{JSON}Sec-Fetch-Site: cross-site\r\n");
        let (status, _) = ask(
            &self.shop,
            "POST",
            "/create-payment-intent?order=3",
            &cross_site,
            "{}",
        )
        .await;
        assert_eq!(status, 403);
        let (status, _) = ask(
            &self.shop,
            "POST",
            "/checkout/status",
            JSON,
            &format!("{{\"{NOTE}\":"),
        )
        .await;
        assert_eq!(status, 400);

        let body = testing::event(
            "payment_intent.succeeded",
            testing::PaymentIntent::new("pi_forged", Amount::new(1, Currency::EUR))
                .metadata("note", NOTE)
                .object(),
        );
        let body = String::from_utf8(body).unwrap();
        let secret = &self.config.webhook_secrets()[0];
        let genuine = testing::sign(body.as_bytes(), secret, testing::now());
        let old = testing::sign(body.as_bytes(), secret, testing::now() - 1_000);
        let not_json = testing::sign(NOTE.as_bytes(), secret, testing::now());
        let large = format!("{NOTE}{}", "x".repeat(2_000_000));
        for (signature, body, expected) in [
            (genuine.replace("v1=", "v1=0"), body.as_str(), 400),
            (genuine, &format!("{body} "), 400),
            (old, &body, 400),
            (not_json, NOTE, 400),
            (format!("t=x{NOTE},v1=zz"), &body, 400),
            ("t=1,v1=00".to_owned(), &large, 413),
        ] {
            let headers = format!("Stripe-Signature: {signature}\r\n");
            let (status, answer) = ask(&self.shop, "POST", "/webhook", &headers, body).await;
            assert_eq!(status, expected, "{answer}");
        }
    }

    /// Makes calls to Stripe fail, with each kind of fault.
    async fn failures(&self) {
        let once = |status| Fault::StatusWith {
            status,
            headers: vec![("Stripe-Should-Retry".to_owned(), "false".to_owned())],
        };
        let statuses = [400, 401, 402, 403, 404, 409, 429, 500, 503].map(once);
        for (number, fault) in statuses.into_iter().chain([Fault::NotJson]).enumerate() {
            self.sandbox.faults().next(1, fault);
            let made = self
                .checkout
                .create_intent(&request(&format!("fault-{number}")))
                .await;
            assert!(self.said.outcome(made).is_none(), "fault {number}");
        }
        // The same over HTTP, where the log contains more.
        self.sandbox.faults().next(1, once(402));
        let (status, _) = ask(
            &self.shop,
            "POST",
            "/create-payment-intent?order=4",
            JSON,
            "{}",
        )
        .await;
        assert_eq!(status, 402);
        self.sandbox.faults().next(1, Fault::Reset);
        assert!(
            self.said
                .outcome(self.checkout.create_intent(&request("reset")).await)
                .is_some(),
            "tried again"
        );

        let config = Config::new(self.config.webhook_secrets().to_vec())
            .unwrap()
            .with_keys(
                SecretKey::new(REFUSED_KEY).unwrap(),
                PublishableKey::new("pk_test_1").unwrap(),
            )
            .unwrap()
            .with_api_base(self.sandbox.url())
            .unwrap();
        let builder = Checkout::builder(config)
            .application("my-shop")
            .pricing(Prices)
            .fulfillment(MemoryInbox::new(), Ship::default());
        self.said.value(&builder);
        let refused = builder.build().unwrap().create_intent(&request("5")).await;
        assert!(self.said.outcome(refused).is_none(), "the key is refused");
    }

    /// Prints every value that can be printed.
    async fn values(&self) {
        let said = &self.said;
        let secret = &self.config.webhook_secrets()[0];
        said.value(&self.config);
        said.value(secret);
        said.value(&self.checkout);
        said.value(&Checkout::builder(self.config.clone()));
        said.value(&self.sandbox);
        said.value(&self.sandbox.requests());
        said.value(&self.sandbox.deliveries());
        said.value(&Verifier::new([secret]));
        said.value(&request("6"));
        said.value(&request("6").intent_params("shop").unwrap());
        said.value(&self.checkout.events(EventFilter::default()).await.unwrap());
        said.outcome(self.checkout.create_intent(&request("7")).await)
            .unwrap();

        for (signature, body) in self.webhooks.lock().unwrap().iter() {
            let limit = self.checkout.body_limit();
            let verified = self
                .checkout
                .verify(Body::whole(body.as_bytes(), limit), [signature.as_bytes()]);
            if let Some(event) = said.outcome(verified) {
                said.value(&Outcome::of(&event));
                // A merchant's own handler may do the same.
                let _ = said.outcome(event.object::<Payment>());
            }
            let _ = said.outcome(Event::parse(body.as_bytes().to_vec()));
        }

        let endpoint = |path: &str| -> Endpoint {
            let found = self
                .checkout
                .endpoints()
                .iter()
                .find(|endpoint| endpoint.path() == path);
            found.unwrap().clone()
        };
        let create = endpoint("/create-payment-intent");
        let call = stripe_checkout_core::Call::new(&create)
            .query(Some(&format!("order=8&email={EMAIL}")))
            .header("content-type", b"application/json")
            .header("cookie", NOTE.as_bytes())
            .body(Body::whole(b"{}", create.body_limit()));
        said.value(&call);
        let reply = self.checkout.handle(call).await;
        said.value(&reply);
        said.value(&stripe_checkout_axum::CheckoutResponse(reply));
    }

    /// Tries the wrong configurations that have a key in the wrong place.
    fn configuration(&self) {
        let key = self.config.secret_key().unwrap().expose();
        let webhook = self.config.webhook_secrets()[0].expose();
        let good = [
            ("STRIPE_SECRET_KEY", key.to_owned()),
            ("STRIPE_PUBLISHABLE_KEY", "pk_test_1".to_owned()),
            ("STRIPE_WEBHOOK_SECRET", webhook.to_owned()),
        ];
        for wrong in [
            ("STRIPE_PUBLISHABLE_KEY", key.to_owned()),
            ("STRIPE_PUBLISHABLE_KEY", "pk_live_1".to_owned()),
            ("STRIPE_SECRET_KEY", webhook.to_owned()),
            ("STRIPE_SECRET_KEY", format!("{key}\u{e9}")),
            ("STRIPE_WEBHOOK_SECRET", key.to_owned()),
            ("STRIPE_WEBHOOK_SECRET", format!("{webhook},")),
            ("STRIPE_API_BASE", format!("https://{key}@api.stripe.com")),
            ("STRIPE_API_BASE", format!("http://{key}.example")),
            ("STRIPE_JS_URL", format!("https://js.stripe.com/?{key}")),
        ] {
            let vars: Vec<_> = good
                .iter()
                .filter(|(name, _)| *name != wrong.0)
                .chain([&wrong])
                .collect();
            let find = |name: &str| {
                vars.iter()
                    .find(|(known, _)| *known == name)
                    .map(|(_, value)| OsString::from(value))
            };
            assert!(
                self.said.outcome(Config::from_vars(find)).is_none(),
                "{} is wrong",
                wrong.0
            );
        }
        self.said.outcome(SecretKey::new(webhook));
        self.said.outcome(PublishableKey::new(key));
        self.said.outcome(WebhookSecret::new(key));
        self.said
            .outcome(Metadata::new().with("note", NOTE.repeat(40)));
        let address = format!("{EMAIL} {EMAIL}");
        self.said
            .outcome(request("9").receipt_email(address).validate(1_000_000));
    }

    /// Checks that the output contains no secret.
    fn judge(mut self) {
        for (signature, _) in self.webhooks.lock().unwrap().iter() {
            for part in signature.split(',') {
                // `t` is no secret, and is part of the error about clocks.
                if let Some(("v0" | "v1", value)) = part.split_once('=')
                    && value.len() > 8
                {
                    self.hidden.push((value.to_owned(), "a signature"));
                }
            }
        }
        assert!(self.hidden.iter().any(|(_, what)| *what == "a signature"));
        for (part, what) in [
            ("_secret_", "some client secret"),
            ("clientSecret", "an answer's body"),
            ("\"object\":", "a body of Stripe's"),
            ("\\\"object\\\":", "a body of Stripe's, escaped"),
        ] {
            self.hidden.push((part.to_owned(), what));
        }

        let said = String::from_utf8_lossy(&self.said.0.lock().unwrap()).into_owned();
        for part in [
            "TRACE",
            "shipping",
            "the printer is out of paper",
            "pi_forged",
        ] {
            assert_eq!(said.contains(part), part != "pi_forged", "{part}");
        }
        let mut found = String::new();
        for line in said.lines() {
            if let Some((_, what)) = self.hidden.iter().find(|(secret, _)| line.contains(secret)) {
                // The secrets are made up, so a developer who searches for the leak may see them.
                let start: String = line.trim().chars().take(300).collect();
                writeln!(found, "{what} in: {start}").unwrap();
            }
        }
        assert!(found.is_empty(), "{found}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_secret_is_ever_said() {
    let said = Said::default();
    let writer = said.clone();
    tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
        .with_span_events(tracing_subscriber::fmt::format::FmtSpan::FULL)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .init();

    let mut day = Day::begin(said).await;
    day.purchase().await;
    day.stuck().await;
    day.declines().await;
    day.refusals().await;
    day.failures().await;
    day.values().await;
    day.configuration();
    day.judge();
}
