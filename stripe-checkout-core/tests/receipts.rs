//! An e-mail address that Stripe refuses costs the buyer a receipt and not the order.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use stripe_checkout_core::fulfillment::{MemoryInbox, on_paid};
use stripe_checkout_core::requests::{
    CustomerRequest, HostedCheckout, OffSessionCharge, PaymentRequest,
};
use stripe_checkout_core::stripe::Gateway;
use stripe_checkout_core::webhook::Payment;
use stripe_checkout_core::{
    Amount, ApiError, BoxError, Checkout, Currency, PaymentError, Pricing, PricingError, Visitor,
};
use stripe_checkout_sandbox::{Fault, Sandbox};
use tracing::subscriber::DefaultGuard;

const PRICE: Amount = Amount::new(1999, Currency::EUR);
/// An address for us, and none for Stripe, which wants a host with a dot.
const REFUSED: &str = "jane.doe@intranet";
/// No address for anybody.
const NONSENSE: &str = "jane.doe";

struct NoPrices;

#[derive(serde::Deserialize)]
struct Nothing {}

impl Pricing for NoPrices {
    type Order = Nothing;

    async fn price(&self, _: Nothing, _: &Visitor) -> Result<PaymentRequest, PricingError> {
        Err(PricingError::refused("This test names the orders itself."))
    }
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct World {
    sandbox: Sandbox,
    checkout: Checkout,
    stripe: Gateway,
    log: Log,
    _listening: DefaultGuard,
}

impl World {
    async fn new() -> Self {
        let log = Log::default();
        let writer = log.clone();
        // The level that most applications run with.
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::INFO)
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .finish();
        let listening = tracing::subscriber::set_default(subscriber);
        let sandbox = Sandbox::start().await.unwrap();
        let ship = async |_: Payment| Ok::<_, BoxError>(());
        let checkout = Checkout::builder(sandbox.config())
            .application("tea")
            .pricing(NoPrices)
            .hosted_checkout(HostedCheckout::new("https://shop.example"))
            .fulfillment(MemoryInbox::new(), on_paid(ship))
            .build()
            .unwrap();
        let stripe = Gateway::new(&sandbox.config()).unwrap();
        Self {
            sandbox,
            checkout,
            stripe,
            log,
            _listening: listening,
        }
    }

    async fn get(&self, path: &str) -> Value {
        serde_json::from_slice(&self.stripe.get(path, None).await.unwrap()).unwrap()
    }

    /// Runs this call and cuts it off after Stripe executed its second request: the one without
    /// the receipt. Stripe then has one object under this path.
    async fn cut_off<F>(&self, list: &str, call: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        // The first request is for the refused address, so it goes through.
        self.sandbox.faults().next(1, Fault::Slow(Duration::ZERO));
        self.sandbox.faults().next(1, Fault::HangAfterExecution);
        let call = tokio::spawn(call);
        let made = async {
            while self.sandbox.faults().waiting() > 0 {
                tokio::task::yield_now().await;
            }
            while self.count(list).await == 0 {}
        };
        tokio::time::timeout(Duration::from_secs(30), made)
            .await
            .unwrap();
        call.abort();
        assert!(call.await.unwrap_err().is_cancelled());
    }

    /// How many objects there are under this path.
    async fn count(&self, list: &str) -> usize {
        self.get(list).await["data"].as_array().unwrap().len()
    }

    /// The lines since the last call.
    fn logged(&self) -> String {
        let log = std::mem::take(&mut *self.log.0.lock().unwrap());
        let log = String::from_utf8(log).unwrap();
        assert!(!log.contains("jane"), "no personal data: {log}");
        log
    }

    /// The POST requests to this path, with the answers' statuses, since the sandbox was started.
    fn posts(&self, path: &str) -> Vec<u16> {
        let requests = self.sandbox.requests();
        let posts = requests
            .iter()
            .filter(|request| request.method == "POST" && request.path == path);
        posts.filter_map(|request| request.status).collect()
    }
}

fn order(email: &str) -> PaymentRequest {
    PaymentRequest::new("order-1", PRICE).receipt_email(email)
}

#[tokio::test]
async fn a_payment_goes_on_without_the_receipt_that_stripe_refuses() {
    let world = World::new().await;
    let made = world.checkout.create_intent(&order(REFUSED)).await.unwrap();
    assert_eq!((made.amount(), made.receipt_email()), (PRICE, None));
    let log = world.logged();
    assert!(log.contains("without a receipt"), "{log}");
    assert!(log.contains("order-1") && log.contains("req_"), "{log}");
    assert_eq!(world.posts("/v1/payment_intents"), [400, 200]);

    // The same again is the same payment, and the address is not sent again.
    let again = world.checkout.create_intent(&order(REFUSED)).await.unwrap();
    assert_eq!(again.id(), made.id());
    assert_eq!(world.posts("/v1/payment_intents"), [400, 200]);
    assert_eq!(world.logged(), "");

    // A new price is sent without it too.
    let dearer = PaymentRequest::new("order-1", Amount::new(2999, Currency::EUR));
    let dearer = dearer.receipt_email(REFUSED);
    let updated = world.checkout.create_intent(&dearer).await.unwrap();
    assert_eq!(updated.id(), made.id());
    assert_eq!(updated.amount(), dearer.amount());
    let path = format!("/v1/payment_intents/{}", made.id());
    assert_eq!(world.posts(&path), [400, 200]);

    // A better address is taken.
    let better = dearer.receipt_email("jane.doe@example.com");
    let updated = world.checkout.create_intent(&better).await.unwrap();
    assert_eq!(updated.id(), made.id());
    assert_eq!(updated.receipt_email(), Some("jane.doe@example.com"));
}

#[tokio::test]
async fn nonsense_is_not_even_sent() {
    let world = World::new().await;
    let made = world
        .checkout
        .create_intent(&order(NONSENSE))
        .await
        .unwrap();
    assert_eq!(made.receipt_email(), None);
    assert_eq!(world.posts("/v1/payment_intents"), [200]);
    assert!(world.logged().contains("without a receipt"));
    let again = world
        .checkout
        .create_intent(&order(NONSENSE))
        .await
        .unwrap();
    assert_eq!(again.id(), made.id());
}

#[tokio::test]
async fn only_the_receipt_is_given_up() {
    let world = World::new().await;
    let unknown = order(REFUSED).customer("cus_unknown");
    let error = world.checkout.create_intent(&unknown).await.unwrap_err();
    let PaymentError::Api(ApiError::InvalidRequest { param, .. }) = &error else {
        panic!("{error:?}");
    };
    assert_eq!(param.as_deref(), Some("customer"));
}

#[tokio::test]
async fn two_clicks_at_once_make_one_payment() {
    let world = World::new().await;
    let (one, two) = (order(REFUSED), order(REFUSED));
    let (one, two) = tokio::join!(
        world.checkout.create_intent(&one),
        world.checkout.create_intent(&two)
    );
    assert_eq!(one.unwrap().id(), two.unwrap().id());
    let all = world.get("/payment_intents").await;
    let open = all["data"].as_array().unwrap().iter();
    let open = open.filter(|intent| intent["status"] != "canceled");
    assert_eq!(open.count(), 1, "{all}");
}

#[tokio::test]
async fn a_click_that_is_cut_off_leaves_no_second_payment() {
    let world = World::new().await;
    let checkout = world.checkout.clone();
    let call = async move {
        let _ = checkout.create_intent(&order(REFUSED)).await;
    };
    world.cut_off("/payment_intents", call).await;
    let made = world.checkout.create_intent(&order(REFUSED)).await.unwrap();
    let all = world.get("/payment_intents").await;
    assert_eq!(all["data"].as_array().unwrap().len(), 1, "{all}");
    assert_eq!(all["data"][0]["id"], made.id());
}

#[tokio::test]
async fn a_click_that_is_cut_off_leaves_no_second_session() {
    let world = World::new().await;
    let checkout = world.checkout.clone();
    let call = async move {
        let _ = checkout.create_session(&order(REFUSED)).await;
    };
    world.cut_off("/checkout/sessions", call).await;
    let made = world
        .checkout
        .create_session(&order(REFUSED))
        .await
        .unwrap();
    let all = world.get("/checkout/sessions").await;
    assert_eq!(all["data"].as_array().unwrap().len(), 1, "{all}");
    assert_eq!(all["data"][0]["id"], made.id());
}

#[tokio::test]
async fn a_refused_address_replaces_an_earlier_one() {
    let world = World::new().await;
    let good = order("jane.doe@example.com");
    let made = world.checkout.create_intent(&good).await.unwrap();
    assert_eq!(made.receipt_email(), Some("jane.doe@example.com"));
    for bad in [REFUSED, NONSENSE] {
        let updated = world.checkout.create_intent(&order(bad)).await.unwrap();
        assert_eq!(updated.id(), made.id());
        assert_eq!(updated.receipt_email(), None, "{bad}");
        let updated = world.checkout.create_intent(&good).await.unwrap();
        assert_eq!(updated.receipt_email(), made.receipt_email());
    }
    // An order that wants no receipt gets none.
    let none = PaymentRequest::new("order-1", PRICE);
    let updated = world.checkout.create_intent(&none).await.unwrap();
    assert_eq!((updated.id(), updated.receipt_email()), (made.id(), None));
}

#[tokio::test]
async fn a_session_goes_on_without_the_receipt_that_stripe_refuses() {
    for email in [REFUSED, NONSENSE] {
        let world = World::new().await;
        let made = world.checkout.create_session(&order(email)).await.unwrap();
        let session = world
            .get(&format!("/checkout/sessions/{}", made.id()))
            .await;
        assert_eq!(session["customer_email"], Value::Null);
        let log = world.logged();
        assert!(log.contains("without a receipt"), "{log}");
        // The buyer's first tab keeps its session.
        let again = world.checkout.create_session(&order(email)).await.unwrap();
        assert_eq!(again.id(), made.id());
    }
}

#[tokio::test]
async fn a_saved_card_is_charged_without_the_receipt() {
    let world = World::new().await;
    let ada = CustomerRequest::new("ada");
    let ada = world.checkout.customer(&ada).await.unwrap();
    let key = "attach-1".parse().unwrap();
    let form = format!("customer={}", ada.id());
    let card = world
        .stripe
        .post("/payment_methods/pm_card_visa/attach", &form, &key, None)
        .await
        .unwrap();
    let card: Value = serde_json::from_slice(&card).unwrap();
    let charge = OffSessionCharge::new(order(REFUSED), &ada, card["id"].as_str().unwrap());
    let charged = world.checkout.charge_off_session(&charge).await.unwrap();
    assert_eq!(charged.payment().amount_received(), PRICE);
}

#[tokio::test]
async fn a_customer_goes_on_without_the_address_that_stripe_refuses() {
    for email in [REFUSED, NONSENSE] {
        let world = World::new().await;
        let ada = CustomerRequest::new("ada").email(email).name("Ada");
        let made = world.checkout.customer(&ada).await.unwrap();
        assert_eq!((made.email(), made.name()), (None, Some("Ada")));
        let log = world.logged();
        assert!(log.contains("without it") && log.contains("ada"), "{log}");
        // The next visit does not send the address again.
        let path = format!("/v1/customers/{}", made.id());
        let sent = world.posts(&path);
        let again = world.checkout.customer(&ada).await.unwrap();
        assert_eq!(again.id(), made.id());
        assert_eq!(world.posts(&path), sent);
    }
}
