//! A shop, the sandbox, and a buyer with a browser.

use std::sync::{Arc, Mutex};

use serde_json::Value;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use stripe_checkout_core::fulfillment::{
    Due, FulfillmentHandler, Inbox, InboxExt as _, IntentRecord, IntentState, MemoryInbox,
    OrderKey, PaymentEvent, Received, Scope, SqliteInbox,
};
use stripe_checkout_core::requests::{
    CaptureMethod, CustomerRequest, HostedCheckout, PaymentRequest,
};
use stripe_checkout_core::stripe::Gateway;
use stripe_checkout_core::webhook::{CheckoutSession, Event, Payment};
use stripe_checkout_core::{
    Amount, BoxError, BuildError, Checkout, CheckoutBuilder, Currency, CustomerResolver, Mode,
    Pricing, PricingError, Visitor,
};
use stripe_checkout_sandbox::Sandbox;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub(crate) const PRICE: Amount = eur(20_00);
pub(crate) const GOOD: &str = "4242424242424242";
pub(crate) const DECLINED: &str = "4000000000000002";
pub(crate) const DELAYED: &str = "4000000000001000";

pub(crate) const fn eur(minor: u64) -> Amount {
    Amount::new(minor, Currency::EUR)
}

/// A handler that writes a line for each call.
#[derive(Clone)]
pub(crate) struct Shop {
    lines: Arc<Mutex<Vec<String>>>,
    due: Arc<Mutex<Due>>,
}

impl Default for Shop {
    fn default() -> Self {
        Self::due(Due::Exactly(PRICE))
    }
}

impl Shop {
    pub(crate) fn due(due: Due) -> Self {
        Self {
            lines: Arc::default(),
            due: Arc::new(Mutex::new(due)),
        }
    }

    /// Changes the amount due.
    pub(crate) fn costs(&self, due: Due) {
        *self.due.lock().unwrap() = due;
    }

    fn line(&self, what: &str, payment: &Payment) -> Result<(), BoxError> {
        let order = payment.order_id().unwrap_or("?");
        self.lines.lock().unwrap().push(format!("{what} {order}"));
        Ok(())
    }

    /// Returns the lines since the last call.
    pub(crate) fn lines(&self) -> Vec<String> {
        std::mem::take(&mut self.lines.lock().unwrap())
    }
}

impl<C: Send> FulfillmentHandler<C> for Shop {
    async fn payment_succeeded(&self, payment: &Payment, _: &mut C) -> Result<(), BoxError> {
        if payment.is_free() {
            assert!(payment.id().starts_with("cs_") && payment.amount_received().is_zero());
            return self.line("give", payment);
        }
        let what = match payment.session() {
            Some(session) => format!("ship for {} of {}", session.total(), session.subtotal()),
            None => format!("ship for {}", payment.amount_received()),
        };
        self.line(&what, payment)
    }

    async fn amount_due(&self, _: &Payment, _: &mut C) -> Result<Due, BoxError> {
        Ok(*self.due.lock().unwrap())
    }

    async fn on_event(&self, event: &PaymentEvent<'_>, _: &mut C) -> Result<(), BoxError> {
        match event {
            PaymentEvent::PaymentProcessing { payment, .. } => self.line("wait", payment),
            PaymentEvent::PaymentFailed { payment, .. } => self.line("failed", payment),
            PaymentEvent::PaymentCanceled { payment, .. } => self.line("over", payment),
            PaymentEvent::RequiresCapture { payment, .. } => self.line("collect", payment),
            PaymentEvent::DuplicatePayment { payment, .. } => self.line("twice", payment),
            PaymentEvent::Mismatch {
                payment, mismatch, ..
            } => self.line(&format!("mismatch ({mismatch})"), payment),
            PaymentEvent::RefundSucceeded { refund, .. } => {
                let line = format!("refund {}", refund.amount());
                self.lines.lock().unwrap().push(line);
                Ok(())
            }
            PaymentEvent::RefundedBeforeFulfillment { payment, .. } => self.line("keep", payment),
            _ => Ok(()),
        }
    }
}

/// The price of every order. The browser sends the reference.
struct OnePrice;

#[derive(serde::Deserialize)]
struct Order {
    order: String,
}

impl Pricing for OnePrice {
    type Order = Order;

    async fn price(&self, order: Order, _: &Visitor) -> Result<PaymentRequest, PricingError> {
        match order.order.as_str() {
            "none" => Err(PricingError::refused("We do not know this order.")),
            "theirs" => Ok(request("theirs").connected_account("acct_1")),
            _ => Ok(request(&order.order)),
        }
    }
}

/// A resolver that takes every visitor for this user.
struct Known(&'static str);

impl CustomerResolver for Known {
    async fn customer(&self, _: &Visitor) -> Result<Option<CustomerRequest>, PricingError> {
        Ok(Some(CustomerRequest::new(self.0).email("jane@example.com")))
    }
}

pub(crate) fn request(reference: &str) -> PaymentRequest {
    PaymentRequest::new(reference, PRICE)
        .line("Tea", 3, eur(15_00))
        .line("Cup", 1, eur(5_00))
        .receipt_email("jane@example.com")
}

pub(crate) fn hosted() -> HostedCheckout {
    HostedCheckout::new("https://shop.example")
        .cancel_url("https://shop.example/orders/{reference}")
        .promotion_codes()
}

pub(crate) struct World {
    pub(crate) sandbox: Sandbox,
    pub(crate) shop: Shop,
    pub(crate) checkout: Checkout,
    pub(crate) stripe: Gateway,
    folder: tempfile::TempDir,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(hosted(), Shop::default()).await
    }

    pub(crate) async fn with(hosted: HostedCheckout, shop: Shop) -> Self {
        let sandbox = Sandbox::start().await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let stripe = Gateway::new(&sandbox.config()).unwrap();
        let builder = builder(&sandbox, hosted);
        let inbox = sqlite(&folder).await;
        let checkout = builder.fulfillment(inbox, shop.clone()).build().unwrap();
        Self {
            sandbox,
            shop,
            checkout,
            stripe,
            folder,
        }
    }

    /// Starts another process on the same database, with this hosted checkout.
    pub(crate) async fn process(&self, hosted: HostedCheckout) -> Checkout {
        let inbox = sqlite(&self.folder).await;
        let builder = builder(&self.sandbox, hosted);
        builder
            .fulfillment(inbox, self.shop.clone())
            .build()
            .unwrap()
    }

    /// Starts another process on the same database, with these hooks and one attempt per event.
    pub(crate) async fn with_one_attempt(
        &self,
        handler: impl FulfillmentHandler<sqlx::SqliteConnection>,
    ) -> Checkout {
        let inbox = sqlite(&self.folder).await;
        let builder = builder(&self.sandbox, hosted()).max_attempts(1);
        builder.fulfillment(inbox, handler).build().unwrap()
    }

    /// Starts another process, which takes every visitor for this user.
    pub(crate) async fn visited_by(&self, user: &'static str) -> Checkout {
        let inbox = sqlite(&self.folder).await;
        let builder = builder(&self.sandbox, hosted()).customers(Known(user));
        builder
            .fulfillment(inbox, self.shop.clone())
            .build()
            .unwrap()
    }

    pub(crate) fn try_build(&self, hosted: HostedCheckout) -> Result<Checkout, BuildError> {
        let builder = builder(&self.sandbox, hosted);
        builder
            .fulfillment(MemoryInbox::new(), self.shop.clone())
            .build()
    }

    /// Starts a shop that knows no earlier data.
    pub(crate) fn newcomer(&self, shop: &Shop) -> Checkout {
        let builder = builder(&self.sandbox, hosted());
        builder
            .fulfillment(MemoryInbox::new(), shop.clone())
            .build()
            .unwrap()
    }

    /// Starts a process with its own inbox, which knows only that this session is open for order 1.
    pub(crate) async fn knowing_session(
        &self,
        inbox: impl Inbox,
        shop: &Shop,
        account: Option<&str>,
        session: &str,
    ) -> Checkout {
        let order = order_key("1", account);
        let row = open_row(1, session);
        assert!(inbox.put_intent(&order, None, row).await.unwrap());
        let builder = builder(&self.sandbox, hosted()).max_declines(2);
        builder.fulfillment(inbox, shop.clone()).build().unwrap()
    }

    /// Starts a shop that knows no earlier data, and has this Connect application.
    pub(crate) fn forgetful(&self, shop: &Shop, application: Option<&str>) -> Checkout {
        let builder = builder(&self.sandbox, hosted());
        let builder = match application {
            Some(id) => builder.connect_application(id),
            None => builder,
        };
        builder
            .fulfillment(MemoryInbox::new(), shop.clone())
            .build()
            .unwrap()
    }

    /// Starts a shop that has only its own page.
    pub(crate) fn without_sessions(&self, shop: &Shop) -> Checkout {
        Checkout::builder(self.sandbox.config())
            .application("tea")
            .pricing(OnePrice)
            .fulfillment(MemoryInbox::new(), shop.clone())
            .build()
            .unwrap()
    }

    pub(crate) async fn open(&self, reference: &str) -> CheckoutSession {
        let session = self.checkout.create_session(&request(reference)).await;
        session.unwrap()
    }

    /// Opens a session whose money is only authorised.
    pub(crate) async fn open_manual(&self, reference: &str) -> CheckoutSession {
        let request = request(reference).capture_method(CaptureMethod::Manual);
        self.checkout.create_session(&request).await.unwrap()
    }

    /// Posts a form on the page of a session, as the buyer's browser.
    pub(crate) async fn on_page(&self, session: &str, action: &str, form: &str) -> Value {
        let path = format!("/sandbox/checkout/{session}/{action}");
        post(&self.sandbox, &path, form).await
    }

    pub(crate) async fn pay(&self, session: &str, card: &str) -> Value {
        let form = format!(
            "email=jane%40example.com&name=Jane&payment_method_data[type]=card&payment_method_data[card][number]={card}\
             &payment_method_data[card][exp_month]=12&payment_method_data[card][exp_year]=2040&payment_method_data[card][cvc]=123"
        );
        self.on_page(session, "pay", &form).await
    }

    /// Returns Stripe's events so far, the oldest first.
    pub(crate) async fn events(&self) -> Vec<Event> {
        self.events_of(None).await
    }

    pub(crate) async fn events_of(&self, account: Option<&str>) -> Vec<Event> {
        let list = self.get_of(account, "/events?limit=100").await;
        let events = list["data"].as_array().unwrap().iter().rev();
        events
            .map(|event| Event::parse(event.to_string()).unwrap())
            .collect()
    }

    /// Delivers all events again.
    pub(crate) async fn deliver(&self) -> Vec<String> {
        self.deliver_of(None).await
    }

    /// Delivers all events of a connected account again.
    pub(crate) async fn deliver_of(&self, account: Option<&str>) -> Vec<String> {
        for event in self.events_of(account).await {
            let received = self.checkout.receive(event).await.unwrap();
            let wrong = matches!(received, Received::Failed);
            assert!(!wrong, "{received:?}");
        }
        self.shop.lines()
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        self.get_of(None, path).await
    }

    pub(crate) async fn get_of(&self, account: Option<&str>, path: &str) -> Value {
        let answer = self.stripe.get(path, account).await.unwrap();
        serde_json::from_slice(&answer).unwrap()
    }

    pub(crate) async fn post(&self, path: &str, form: &str) -> Value {
        self.post_of(None, path, form).await
    }

    pub(crate) async fn post_of(&self, account: Option<&str>, path: &str, form: &str) -> Value {
        let key = format!("key-{}", fastrand::u64(..)).parse().unwrap();
        let answer = self.stripe.post(path, form, &key, account).await.unwrap();
        serde_json::from_slice(&answer).unwrap()
    }

    /// Returns the sessions at Stripe that are in this state.
    pub(crate) async fn sessions(&self, status: &str) -> Vec<String> {
        let list = self
            .get(&format!("/checkout/sessions?limit=100&status={status}"))
            .await;
        let sessions = list["data"].as_array().unwrap().iter();
        sessions
            .map(|session| session["id"].as_str().unwrap().to_owned())
            .collect()
    }

    /// Stores that this session is open for the order.
    pub(crate) async fn put_open(&self, reference: &str, session: &str) {
        let (order, row) = (order_key(reference, None), open_row(9, session));
        let inbox = sqlite(&self.folder).await;
        assert!(inbox.put_intent(&order, None, row).await.unwrap());
    }

    pub(crate) async fn intent_of(&self, session: &str) -> String {
        self.intent_on(None, session).await
    }

    pub(crate) async fn intent_on(&self, account: Option<&str>, session: &str) -> String {
        let path = format!("/checkout/sessions/{session}");
        let session = self.get_of(account, &path).await;
        session["payment_intent"].as_str().unwrap().to_owned()
    }
}

pub(crate) fn order_key(reference: &str, account: Option<&str>) -> OrderKey {
    OrderKey {
        scope: Scope {
            application: "tea".into(),
            mode: Mode::Test,
        },
        account: account.map(str::to_owned),
        reference: reference.into(),
    }
}

fn open_row(attempt: u32, session: &str) -> IntentRecord {
    IntentRecord {
        version: 0,
        attempt,
        fingerprint: "f".into(),
        request: stripe_checkout_core::fulfillment::RequestState::Sent,
        capture: None,
        asked: PRICE,
        payment: Some(session.into()),
        secret_hash: None,
        state: IntentState::Open,
        paid_by: None,
        declines: 0,
    }
}

fn builder(sandbox: &Sandbox, hosted: HostedCheckout) -> CheckoutBuilder {
    Checkout::builder(sandbox.config())
        .application("tea")
        .pricing(OnePrice)
        .hosted_checkout(hosted)
}

pub(crate) async fn sqlite(folder: &tempfile::TempDir) -> SqliteInbox {
    let options = SqliteConnectOptions::new()
        .filename(folder.path().join("shop.db"))
        .create_if_missing(true);
    let pool = SqlitePoolOptions::new().max_connections(4);
    let inbox = SqliteInbox::new(pool.connect_with(options).await.unwrap());
    inbox.migrate().await.unwrap();
    inbox
}

/// Posts a form as a browser does.
async fn post(sandbox: &Sandbox, path: &str, form: &str) -> Value {
    let address = sandbox.url().strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{form}",
        form.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    serde_json::from_str(body).unwrap()
}
