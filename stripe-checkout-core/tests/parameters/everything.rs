//! Every operation, with every option set, against the sandbox.

use serde_json::Value;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use stripe_checkout_core::fulfillment::{Inbox, MemoryInbox, SqliteInbox, on_paid};
use stripe_checkout_core::requests::{
    CancelReason, CancelRequest, CaptureMethod, CaptureRequest, Customer, CustomerRequest,
    HostedCheckout, IntentParams, Line, OffSessionCharge, PaymentRequest, RefundReason,
    RefundRequest, SetupFutureUsage, SetupRequest, ShippingOption, TaxBehavior,
};
use stripe_checkout_core::stripe::Gateway;
use stripe_checkout_core::webhook::{Event, Payment};
use stripe_checkout_core::{
    Amount, BoxError, Checkout, Currency, Metadata, Pricing, PricingError, Visitor,
};
use stripe_checkout_sandbox::{LoggedRequest, Sandbox};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const ACCOUNT: &str = "acct_1";
const PRICE: Amount = eur(1999);

const fn eur(minor: u64) -> Amount {
    Amount::new(minor, Currency::EUR)
}

struct NoPrices;

#[derive(serde::Deserialize)]
struct Nothing {}

impl Pricing for NoPrices {
    type Order = Nothing;

    async fn price(&self, _: Nothing, _: &Visitor) -> Result<PaymentRequest, PricingError> {
        Err(PricingError::refused("This test names the orders itself."))
    }
}

fn note() -> Metadata {
    Metadata::new().with("note", "tea & cups").unwrap()
}

/// An order with every option.
fn whole(reference: &str, customer: &Customer) -> PaymentRequest {
    PaymentRequest::new(reference, PRICE)
        .line("Tea", 3, eur(1500))
        .line_item(
            Line::new("Book", 1, eur(499))
                .tax_code("txcd_35010000")
                .tax_behavior(TaxBehavior::Inclusive),
        )
        .metadata(note())
        .receipt_email("jane@example.com")
        .description("Tea & cups")
        .statement_descriptor_suffix("O #7")
        .customer(customer.id())
        .setup_future_usage(SetupFutureUsage::OffSession)
        .capture_method(CaptureMethod::Manual)
        .transfer_destination(ACCOUNT)
        .on_behalf_of(ACCOUNT)
        .application_fee_amount(eur(100))
        .reopen()
}

/// Stripe's page with every option.
fn hosted() -> HostedCheckout {
    HostedCheckout::new("https://shop.example")
        .success_url("https://shop.example/thanks?id={CHECKOUT_SESSION_ID}")
        .cancel_url("https://shop.example/orders/{reference}")
        .promotion_codes()
        .automatic_tax()
        .tax_behavior(TaxBehavior::Exclusive)
        .shipping_option("Post", eur(490))
        .offer_shipping(
            ShippingOption::new("By hand", eur(900))
                .tax_code("txcd_92010001")
                .tax_behavior(TaxBehavior::Inclusive),
        )
        .shipping_to(["DE", "AT"])
}

struct World {
    sandbox: Sandbox,
    gateway: Gateway,
    checkout: Checkout,
    // It is deleted when this is dropped.
    _folder: tempfile::TempDir,
}

fn build(sandbox: &Sandbox, inbox: impl Inbox, hosted: HostedCheckout) -> Checkout {
    let ship = async |_: Payment| Ok::<_, BoxError>(());
    Checkout::builder(sandbox.config())
        .application("tea")
        .pricing(NoPrices)
        .hosted_checkout(hosted)
        .statement_descriptor_prefix("SANDBOX")
        .fulfillment(inbox, on_paid(ship))
        .build()
        .unwrap()
}

impl World {
    async fn new() -> Self {
        let sandbox = Sandbox::start().await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let options = SqliteConnectOptions::new()
            .filename(folder.path().join("shop.db"))
            .create_if_missing(true);
        let pool = SqlitePoolOptions::new()
            .connect_with(options)
            .await
            .unwrap();
        let inbox = SqliteInbox::new(pool);
        inbox.migrate().await.unwrap();
        Self {
            gateway: Gateway::new(&sandbox.config()).unwrap(),
            checkout: build(&sandbox, inbox, hosted()),
            sandbox,
            _folder: folder,
        }
    }

    async fn post(&self, path: &str, form: &str) -> Value {
        let key = format!("test-{}", fastrand::u64(..)).parse().unwrap();
        let answer = self.gateway.post(path, form, &key, None).await.unwrap();
        serde_json::from_slice(&answer).unwrap()
    }

    /// Charges a new card of the customer's for this order.
    async fn charge(&self, request: PaymentRequest, customer: &Customer) -> Payment {
        let card = self.card(customer).await;
        let charge = OffSessionCharge::new(request, customer, card).attempt(1);
        self.checkout
            .charge_off_session(&charge)
            .await
            .unwrap()
            .payment()
            .clone()
    }

    async fn card(&self, customer: &Customer) -> String {
        let form = format!("customer={}", customer.id());
        let card = self
            .post("/payment_methods/pm_card_visa/attach", &form)
            .await;
        card["id"].as_str().unwrap().to_owned()
    }
}

/// Every request that the sandbox saw while everything ran.
pub(crate) async fn requests() -> Vec<LoggedRequest> {
    let world = World::new().await;
    let ada = customers(&world).await;
    intents(&world, &ada).await;
    money_back(&world, &ada).await;
    failed_debit(&world, &ada).await;
    reserved(&world, &ada).await;
    sessions(&world, &ada).await;
    second_pages(&world, &ada).await;
    events(&world).await;
    let requests = world.sandbox.requests();
    for path in ["/refunds", "/events", "payment_methods"] {
        let second = |request: &&LoggedRequest| {
            request.path.ends_with(path) && request.query.contains("starting_after=")
        };
        assert!(requests.iter().any(|request| second(&request)), "{path}");
    }
    for request in &requests {
        let status = request.status.unwrap_or_default();
        assert!(
            (200..300).contains(&status) || status == 404,
            "{request:?} {}",
            String::from_utf8_lossy(&request.body)
        );
    }
    requests
}

/// A debit that fails after days: the same attempt reads its charge.
async fn failed_debit(world: &World, ada: &Customer) {
    let form = format!("customer={}", ada.id());
    let path = "/payment_methods/pm_card_sandboxProcessing/attach";
    let method = world.post(path, &form).await;
    let method = method["id"].as_str().unwrap();
    let charge = OffSessionCharge::new(PaymentRequest::new("debit-1", PRICE), ada, method);
    let outcome = world.checkout.charge_off_session(&charge).await.unwrap();
    assert!(world.sandbox.settle(outcome.payment().id(), false));
    world.checkout.charge_off_session(&charge).await.unwrap();
}

async fn customers(world: &World) -> Customer {
    let checkout = &world.checkout;
    let ada = CustomerRequest::new("ada")
        .email("ada@example.com")
        .name("Ada Lovelace");
    let theirs = ada.clone().connected_account(ACCOUNT);
    assert_eq!(
        checkout.customer(&theirs).await.unwrap().account(),
        Some(ACCOUNT)
    );
    let known = checkout.customer(&ada).await.unwrap();
    checkout.customer(&ada).await.unwrap();
    // A shop that forgot looks for her.
    let forgetful = build(&world.sandbox, MemoryInbox::new(), hosted());
    assert_eq!(forgetful.customer(&ada).await.unwrap().id(), known.id());

    checkout.customer_session(&known).await.unwrap();
    let setup = SetupRequest::new("setup-1", &known)
        .usage(SetupFutureUsage::OnSession)
        .metadata(note());
    let setup = checkout.create_setup_intent(&setup).await.unwrap();
    let secret = setup.client_secret().unwrap().expose();
    let found = checkout.retrieve_setup_intent(setup.id(), secret).await;
    assert!(found.unwrap().is_some());

    let card = world.card(&known).await;
    assert_eq!(checkout.payment_methods(&known).await.unwrap().len(), 1);
    checkout.detach(&known, &card).await.unwrap();
    known
}

async fn intents(world: &World, ada: &Customer) {
    let checkout = &world.checkout;
    let request = whole("order-1", ada);
    let made = checkout.create_intent(&request).await.unwrap();
    let secret = made.client_secret().unwrap().expose().to_owned();
    let found = checkout.retrieve_intent(made.id(), &secret).await.unwrap();
    assert!(found.is_some());
    let dearer = whole("order-1", ada).line("Cup", 1, eur(500));
    let dearer = PaymentRequest::new("order-1", eur(2499))
        .customer(ada.id())
        .setup_future_usage(SetupFutureUsage::OffSession)
        .capture_method(CaptureMethod::Manual)
        .transfer_destination(ACCOUNT)
        .on_behalf_of(ACCOUNT)
        .application_fee_amount(eur(200))
        .receipt_email("ada@example.com")
        .description("More")
        .statement_descriptor_suffix("O #8")
        .metadata(
            note()
                .with("lines", dearer.lines().len().to_string())
                .unwrap(),
        );
    let updated = checkout.create_intent(&dearer).await.unwrap();
    assert_eq!((updated.id(), updated.amount()), (made.id(), eur(2499)));
    checkout.cancel_order("order-1").await.unwrap();
    // On a connected account.
    let direct = PaymentRequest::new("order-2", PRICE)
        .connected_account(ACCOUNT)
        .application_fee_amount(eur(100));
    checkout.create_intent(&direct).await.unwrap();
    // By the gateway alone.
    let params = IntentParams::new(PRICE).metadata(note());
    let key = "by-hand".parse().unwrap();
    let gateway = &world.gateway;
    let made = gateway.create_intent(&params, &key, None).await.unwrap();
    gateway.retrieve_intent(made.id(), None).await.unwrap();
}

async fn money_back(world: &World, ada: &Customer) {
    let checkout = &world.checkout;
    let order = PaymentRequest::new("order-3", PRICE)
        .transfer_destination(ACCOUNT)
        .application_fee_amount(eur(100));
    let paid = world.charge(order, ada).await;
    let part = RefundRequest::new("refund-1", paid.id())
        .amount(eur(500))
        .reason(RefundReason::RequestedByCustomer)
        .metadata(note())
        .reverse_transfer()
        .refund_application_fee();
    checkout.refund(&part).await.unwrap();
    // Once more is the same one, looked up.
    checkout.refund(&part).await.unwrap();
    for (reference, reason) in [
        ("refund-2", RefundReason::Duplicate),
        ("refund-3", RefundReason::Fraudulent),
    ] {
        let part = RefundRequest::new(reference, paid.id()).amount(eur(100));
        checkout.refund(&part.reason(reason)).await.unwrap();
    }
    checkout
        .refund(&RefundRequest::new("refund-4", paid.id()))
        .await
        .unwrap();
    let other = world
        .charge(PaymentRequest::new("order-4", PRICE), ada)
        .await;
    world.sandbox.dispute(other.id());
    checkout.totals(other.id()).await.unwrap();
    // A shop that forgot looks for a refund of this reference first.
    let forgetful = build(&world.sandbox, MemoryInbox::new(), hosted());
    forgetful.refund(&part).await.unwrap();
    // On a connected account, of which this checkout knows nothing.
    let direct = direct(world, "order-12", false).await;
    let back = RefundRequest::new("refund-5", direct).connected_account(ACCOUNT);
    checkout.refund(&back).await.unwrap();
}

/// A payment on a connected account, made by others.
async fn direct(world: &World, reference: &str, reserve: bool) -> String {
    let capture = if reserve { "manual" } else { "automatic" };
    let form = format!(
        "amount=1999&currency=eur&confirm=true&payment_method=pm_card_visa&capture_method={capture}\
         &return_url=https://shop.example&automatic_payment_methods[enabled]=true"
    );
    let key = reference.parse().unwrap();
    let made = world
        .gateway
        .post("/payment_intents", &form, &key, Some(ACCOUNT));
    let made: Value = serde_json::from_slice(&made.await.unwrap()).unwrap();
    made["id"].as_str().unwrap().to_owned()
}

async fn reserved(world: &World, ada: &Customer) {
    let checkout = &world.checkout;
    let order =
        |reference| PaymentRequest::new(reference, PRICE).capture_method(CaptureMethod::Manual);
    let part = world.charge(order("order-5"), ada).await;
    let request = CaptureRequest::new("capture-1", part.id()).amount(eur(1500));
    checkout.capture(&request).await.unwrap();
    let all = world.charge(order("order-6"), ada).await;
    checkout
        .capture(&CaptureRequest::new("capture-2", all.id()))
        .await
        .unwrap();
    for (reference, reason) in [
        ("order-7", CancelReason::RequestedByCustomer),
        ("order-8", CancelReason::Abandoned),
        ("order-9", CancelReason::Duplicate),
        ("order-10", CancelReason::Fraudulent),
    ] {
        let held = world.charge(order(reference), ada).await;
        let request = CancelRequest::new(format!("cancel-{reference}"), held.id()).reason(reason);
        checkout.cancel_payment(&request).await.unwrap();
    }
    // On a connected account, of which this checkout knows nothing.
    let held = direct(world, "order-11", true).await;
    let request = CaptureRequest::new("capture-11", held).connected_account(ACCOUNT);
    checkout.capture(&request).await.unwrap();
    let held = direct(world, "order-13", true).await;
    let request = CancelRequest::new("cancel-13", held).connected_account(ACCOUNT);
    checkout.cancel_payment(&request).await.unwrap();
}

async fn sessions(world: &World, ada: &Customer) {
    let checkout = &world.checkout;
    let known = checkout
        .create_session(&whole("session-1", ada))
        .await
        .unwrap();
    checkout
        .retrieve_session(known.id())
        .await
        .unwrap()
        .unwrap();
    checkout.cancel_order("session-1").await.unwrap();
    let guest = PaymentRequest::new("session-2", PRICE).receipt_email("jane@example.com");
    checkout.create_session(&guest).await.unwrap();
    let direct = PaymentRequest::new("session-3", PRICE).connected_account(ACCOUNT);
    checkout.create_session(&direct).await.unwrap();
    let frame = build(&world.sandbox, MemoryInbox::new(), hosted().embedded());
    frame
        .create_session(&whole("session-4", ada))
        .await
        .unwrap();
}

/// More refunds and cards than one page of a list has. The refunds also make more events than one
/// page has.
async fn second_pages(world: &World, ada: &Customer) {
    let paid = world
        .charge(PaymentRequest::new("order-5", PRICE), ada)
        .await;
    for _ in 0..101 {
        let part = format!("payment_intent={}&amount=1", paid.id());
        world.post("/refunds", &part).await;
        world.card(ada).await;
    }
    let totals = world.checkout.totals(paid.id()).await.unwrap();
    assert_eq!(totals.refunded, eur(101));
    let cards = world.checkout.payment_methods(ada).await.unwrap();
    assert!(cards.len() > 100);
}

/// The requests of the reconciler, and of an inbox that has to look a session up.
async fn events(world: &World) {
    world.checkout.reconcile().once().await.unwrap();
    let plain = HostedCheckout::new("https://shop.example");
    let shop = build(&world.sandbox, MemoryInbox::new(), plain);
    let order = PaymentRequest::new("session-5", PRICE).capture_method(CaptureMethod::Manual);
    let session = shop.create_session(&order).await.unwrap();
    let card = "payment_method_data[type]=card&payment_method_data[card][number]=4242424242424242\
        &payment_method_data[card][exp_month]=12&payment_method_data[card][exp_year]=2040\
        &payment_method_data[card][cvc]=123&email=jane@example.com";
    on_page(&world.sandbox, session.id(), card).await;
    let held = shop.retrieve_session(session.id()).await.unwrap().unwrap();
    let capture = CaptureRequest::new("capture-3", held.id());
    shop.capture(&capture).await.unwrap();
    let list = world.gateway.get("/events?limit=100", None).await.unwrap();
    let list: Value = serde_json::from_slice(&list).unwrap();
    for event in list["data"].as_array().unwrap().iter().rev() {
        shop.receive(Event::parse(event.to_string()).unwrap())
            .await
            .unwrap();
    }
}

/// The buyer presses the button on the page of a session.
async fn on_page(sandbox: &Sandbox, session: &str, form: &str) {
    let address = sandbox.url().trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!(
        "POST /sandbox/checkout/{session}/pay HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{form}",
        form.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.contains(r#""status": "complete""#), "{answer}");
}
