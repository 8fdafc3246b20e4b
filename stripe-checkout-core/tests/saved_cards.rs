//! Customers and their saved cards, from the core to the sandbox and back to the hooks.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use sqlx::SqlitePool;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use stripe_checkout_core::fulfillment::{
    Due, EventFilter, FulfillmentHandler, Inbox, MemoryInbox, PaymentEvent, SqliteInbox,
};
use stripe_checkout_core::requests::{
    Customer, CustomerRequest, OffSessionCharge, OffSessionOutcome, PaymentRequest,
    SetupFutureUsage, SetupRequest,
};
use stripe_checkout_core::stripe::{
    Gateway, IdempotencyKey, Transport, TransportRequest, TransportResponse,
};
use stripe_checkout_core::webhook::{Event, Payment, PaymentMethod};
use stripe_checkout_core::{
    Amount, BoxError, Checkout, Currency, PaymentError, Pricing, PricingError, TransportError,
    Visitor,
};
use stripe_checkout_sandbox::{Fault, Sandbox};
use tokio::task::JoinSet;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const PRICE: Amount = Amount::new(1999, Currency::EUR);

struct OnePrice;

#[derive(serde::Deserialize)]
struct Nothing {}

impl Pricing for OnePrice {
    type Order = Nothing;

    async fn price(&self, _: Nothing, _: &Visitor) -> Result<PaymentRequest, PricingError> {
        Ok(order("order-1"))
    }
}

fn order(reference: &str) -> PaymentRequest {
    PaymentRequest::new(reference, PRICE)
}

/// The calls of the hooks.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<String>>>);

impl Told {
    fn say(&self, line: String) -> Result<(), BoxError> {
        self.0.lock().unwrap().push(line);
        Ok(())
    }

    fn count(&self) -> BTreeMap<String, usize> {
        let mut count = BTreeMap::new();
        for line in self.0.lock().unwrap().iter() {
            *count.entry(line.clone()).or_default() += 1;
        }
        count
    }
}

impl<C: Send> FulfillmentHandler<C> for Told {
    async fn payment_succeeded(&self, payment: &Payment, _: &mut C) -> Result<(), BoxError> {
        self.say(format!("paid {}", payment.order_id().unwrap_or_default()))
    }

    async fn amount_due(&self, _: &Payment, _: &mut C) -> Result<Due, BoxError> {
        Ok(Due::AsAsked)
    }

    async fn on_event(&self, event: &PaymentEvent<'_>, _: &mut C) -> Result<(), BoxError> {
        match event {
            PaymentEvent::PaymentFailed { failure, .. } => {
                self.say(format!("failed {}", failure.code().unwrap_or_default()))
            }
            PaymentEvent::DuplicatePayment { payment, .. } => {
                self.say(format!("DUPLICATE {}", payment.id()))
            }
            PaymentEvent::SetupSucceeded { setup, .. } => {
                self.say(format!("set up {}", setup.id()))
            }
            PaymentEvent::SetupFailed { setup, failure, .. } => {
                let code = failure.decline_code().unwrap_or_default();
                self.say(format!("setup failed {} {code}", setup.id()))
            }
            PaymentEvent::PaymentMethodAttached { method, .. } => {
                let whose = method.customer().unwrap_or_default();
                self.say(format!("attached {} {whose}", method.id()))
            }
            PaymentEvent::PaymentMethodDetached { method, .. } => {
                let whose = method.former_customer().unwrap_or_default();
                self.say(format!("detached {} {whose}", method.id()))
            }
            _ => Ok(()),
        }
    }
}

struct World {
    sandbox: Sandbox,
    pool: SqlitePool,
    told: Told,
    checkout: Checkout,
    _folder: tempfile::TempDir,
}

impl World {
    async fn new() -> Self {
        let sandbox = Sandbox::start().await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let options = SqliteConnectOptions::new()
            .filename(folder.path().join("shop.db"))
            .create_if_missing(true);
        let pool = SqlitePoolOptions::new()
            .max_connections(4)
            .connect_with(options)
            .await
            .unwrap();
        let inbox = SqliteInbox::new(pool.clone());
        inbox.migrate().await.unwrap();
        let told = Told::default();
        let checkout = built(&sandbox, inbox, &told);
        Self {
            sandbox,
            pool,
            told,
            checkout,
            _folder: folder,
        }
    }

    /// Another process of the same shop.
    fn another(&self) -> Checkout {
        built(
            &self.sandbox,
            SqliteInbox::new(self.pool.clone()),
            &self.told,
        )
    }

    async fn user(&self, user: &str) -> Customer {
        self.checkout
            .customer(&CustomerRequest::new(user))
            .await
            .unwrap()
    }

    /// Sends any other request to the sandbox, past the checkout.
    async fn post(&self, path: &str, form: &str) -> Value {
        post(&self.sandbox, path, form).await
    }

    async fn get(&self, path: &str) -> Value {
        let gateway = Gateway::new(&self.sandbox.config()).unwrap();
        serde_json::from_slice(&gateway.get(path, None).await.unwrap()).unwrap()
    }

    async fn attached(&self, customer: &Customer, card: &str) -> String {
        let form = format!("customer={}", customer.id());
        let method = self
            .post(&format!("/payment_methods/{card}/attach"), &form)
            .await;
        method["id"].as_str().unwrap().to_owned()
    }

    async fn charge(
        &self,
        reference: &str,
        customer: &Customer,
        method: &str,
    ) -> Result<OffSessionOutcome, PaymentError> {
        let charge = OffSessionCharge::new(order(reference), customer, method);
        self.checkout.charge_off_session(&charge).await
    }

    /// Returns how often the bank declined.
    async fn declines(&self) -> usize {
        let events = self.get("/events?limit=100&type=charge.failed").await;
        events["data"].as_array().unwrap().len()
    }

    /// Returns how often the bank was asked.
    async fn asked(&self) -> usize {
        let charges = self.get("/charges?limit=100").await;
        charges["data"].as_array().unwrap().len()
    }

    /// Restores a backup from before the order.
    async fn restore(&self) {
        for table in ["operations", "intents", "orders_of_payments"] {
            let delete =
                format!("DELETE FROM stripe_checkout_{table} WHERE reference LIKE 'order%'");
            let delete = sqlx::AssertSqlSafe(delete);
            sqlx::query(delete).execute(&self.pool).await.unwrap();
        }
    }

    /// Returns how many charges took money.
    async fn money_taken(&self) -> usize {
        let charges = self.get("/charges?limit=100").await;
        let charges = charges["data"].as_array().unwrap();
        charges
            .iter()
            .filter(|charge| charge["status"] == "succeeded")
            .count()
    }

    async fn customers(&self) -> usize {
        let customers = self.get("/customers?limit=100").await;
        customers["data"].as_array().unwrap().len()
    }

    /// Delivers each of Stripe's events twice.
    async fn deliver_all(&self) {
        let list = self.get("/events?limit=100").await;
        assert_eq!(list["has_more"], false);
        for event in list["data"].as_array().unwrap().iter().rev() {
            for _ in 0..2 {
                let event = Event::parse(event.to_string()).unwrap();
                self.checkout.receive(event).await.unwrap();
            }
        }
    }

    /// Answers the bank as the buyer.
    async fn bank(&self, intent: &str, client_secret: &str) {
        // This is not a part of Stripe's API, so the request does not use its client.
        let address = self.sandbox.url().trim_start_matches("http://").to_owned();
        let form = format!("outcome=succeed&client_secret={client_secret}");
        let request = format!(
            "POST /sandbox/3ds/{intent} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{form}",
            form.len()
        );
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
}

async fn post(sandbox: &Sandbox, path: &str, form: &str) -> Value {
    let gateway = Gateway::new(&sandbox.config()).unwrap();
    let key: IdempotencyKey = format!("test-{:032x}", fastrand::u128(..)).parse().unwrap();
    serde_json::from_slice(&gateway.post(path, form, &key, None).await.unwrap()).unwrap()
}

fn built<I: Inbox>(sandbox: &Sandbox, inbox: I, told: &Told) -> Checkout
where
    I::Connection: Send,
{
    Checkout::builder(sandbox.config())
        .application("tea")
        .pricing(OnePrice)
        .fulfillment(inbox, told.clone())
        .build()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_user_is_one_customer_however_many_ask_at_once() {
    let world = World::new().await;
    let other = world.another();
    let mut askers = JoinSet::new();
    for n in 0..40 {
        let checkout = if n % 2 == 0 {
            world.checkout.clone()
        } else {
            other.clone()
        };
        askers.spawn(async move {
            let request = CustomerRequest::new(if n % 4 < 2 { "ada" } else { "bob" });
            let customer = checkout.customer(&request).await.unwrap();
            (request.user().to_owned(), customer.id().to_owned())
        });
    }
    let found: std::collections::BTreeSet<_> = askers.join_all().await.into_iter().collect();
    assert_eq!(found.len(), 2, "{found:?}");
    assert_eq!(world.customers().await, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_answer_makes_no_second_customer() {
    let world = World::new().await;
    for fault in [Fault::ResetAfterExecution, Fault::Reset, Fault::Status(503)] {
        world.sandbox.faults().next(4, fault);
        let asked = world.checkout.customer(&CustomerRequest::new("ada")).await;
        assert!(matches!(asked, Err(PaymentError::Api(_))), "{asked:?}");
        world.sandbox.faults().clear();
    }
    let ada = world.user("ada").await;
    assert_eq!(world.user("ada").await.id(), ada.id());
    assert_eq!(world.customers().await, 1);
    // A failure that Stripe keeps is not the final answer.
    world.sandbox.faults().next(1, Fault::StatusAndKeep(500));
    let bob = world.checkout.customer(&CustomerRequest::new("bob")).await;
    let bob = match bob {
        Ok(bob) => bob,
        Err(_) => world.user("bob").await,
    };
    assert_ne!(bob.id(), ada.id());
    assert_eq!(world.customers().await, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_day_stripe_is_searched_first() {
    let world = World::new().await;
    world.sandbox.faults().next(4, Fault::ResetAfterExecution);
    let asked = world.checkout.customer(&CustomerRequest::new("ada")).await;
    assert!(asked.is_err());
    world.sandbox.faults().clear();
    // Stripe forgets the key.
    world
        .sandbox
        .pass_time(Duration::from_secs(2 * 24 * 60 * 60));
    world.user("ada").await;
    assert_eq!(world.customers().await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_memory_that_forgets_finds_the_customer_again() {
    let sandbox = Sandbox::start().await.unwrap();
    let mut found = Vec::new();
    for _ in 0..2 {
        let checkout = built(&sandbox, MemoryInbox::new(), &Told::default());
        let ada = CustomerRequest::new("it's ada\\");
        found.push(checkout.customer(&ada).await.unwrap().id().to_owned());
    }
    assert_eq!(found[0], found[1]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_known_of_a_user_is_kept_up_to_date_and_what_was_deleted_is_made_anew() {
    let world = World::new().await;
    let ada = CustomerRequest::new("ada").email("ada@example.com");
    let first = world.checkout.customer(&ada).await.unwrap();
    assert_eq!(first.email(), Some("ada@example.com"));
    let before = world.sandbox.requests().len();
    world.checkout.customer(&ada).await.unwrap();
    let asked = &world.sandbox.requests()[before..];
    assert_eq!(asked.len(), 1, "nothing new is nothing to send: {asked:?}");
    let moved = world
        .checkout
        .customer(&ada.clone().email("ada@example.org").name("Ada"))
        .await
        .unwrap();
    assert_eq!(moved.id(), first.id());
    assert_eq!(
        (moved.email(), moved.name()),
        (Some("ada@example.org"), Some("Ada"))
    );
    let stored = world.get(&format!("/customers/{}", first.id())).await;
    assert_eq!(stored["email"], "ada@example.org");
    assert_eq!(
        stored["metadata"],
        json!({ "checkout_application": "tea", "checkout_user": "ada" })
    );

    // The merchant deletes the customer in the Dashboard.
    delete(&world.sandbox, &format!("/v1/customers/{}", first.id())).await;
    let second = world.checkout.customer(&ada).await.unwrap();
    assert_ne!(second.id(), first.id());
    assert_eq!(world.user("ada").await.id(), second.id());
}

async fn delete(sandbox: &Sandbox, path: &str) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let address = sandbox.url().trim_start_matches("http://").to_owned();
    let mut stream = tokio::net::TcpStream::connect(&address).await.unwrap();
    let request = format!(
        "DELETE {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nAuthorization: Bearer sk_test_sandbox\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_customers_card_is_neither_charged_nor_detached() {
    let world = World::new().await;
    let (ada, bob) = (world.user("ada").await, world.user("bob").await);
    let adas = world.attached(&ada, "pm_card_visa").await;
    let bobs = world.attached(&bob, "pm_card_visa").await;
    let nobodys = world
        .post("/payment_methods", "type=card&card[token]=tok_visa")
        .await;
    let nobodys = nobodys["id"].as_str().unwrap();
    for (method, why) in [
        (adas.as_str(), "Ada's"),
        (nobodys, "nobody's"),
        ("pm_nothing", "none"),
        ("pm_card_visa", "a ready-made one"),
        ("", "no id"),
        ("../customers", "no id"),
        ("pm_1/detach", "no id"),
        ("pm_1?x=y", "no id"),
    ] {
        let charged = world.charge("order-1", &bob, method).await;
        assert!(
            matches!(charged, Err(PaymentError::NotTheirs)),
            "{why}: {charged:?}"
        );
        let detached = world.checkout.detach(&bob, method).await;
        assert!(
            matches!(detached, Err(PaymentError::NotTheirs)),
            "{why}: {detached:?}"
        );
    }
    assert_eq!(world.money_taken().await, 0);
    let still = world.checkout.payment_methods(&ada).await.unwrap();
    assert_eq!(
        still.iter().map(PaymentMethod::id).collect::<Vec<_>>(),
        [&adas]
    );
    let still = world.checkout.payment_methods(&bob).await.unwrap();
    assert_eq!(
        still.iter().map(PaymentMethod::id).collect::<Vec<_>>(),
        [&bobs]
    );
    // Stripe got no intent for a charge that is not possible.
    let intents = world.get("/payment_intents").await;
    assert_eq!(intents["data"], json!([]));

    let detached = world.checkout.detach(&ada, &adas).await.unwrap();
    assert_eq!(detached.customer(), None);
    let again = world.checkout.detach(&ada, &adas).await;
    assert!(matches!(again, Err(PaymentError::NotTheirs)), "{again:?}");
    let charged = world.charge("order-1", &ada, &adas).await;
    assert!(
        matches!(charged, Err(PaymentError::NotTheirs)),
        "{charged:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_cards_are_all_listed() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    for _ in 0..103 {
        world.attached(&ada, "pm_card_visa").await;
    }
    let all = world.checkout.payment_methods(&ada).await.unwrap();
    let different: std::collections::HashSet<_> = all.iter().map(PaymentMethod::id).collect();
    assert_eq!((all.len(), different.len()), (103, 103));
    assert_eq!(all[0].card().unwrap().last4(), "4242");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_is_charged_once_however_often_and_by_how_many_it_is_asked() {
    let world = World::new().await;
    let other = world.another();
    let ada = world.user("ada").await;
    let method = world.attached(&ada, "pm_card_visa").await;
    let mut askers = JoinSet::new();
    for n in 0..12 {
        let checkout = if n % 2 == 0 {
            world.checkout.clone()
        } else {
            other.clone()
        };
        let charge = OffSessionCharge::new(order("order-1"), &ada, &method);
        askers.spawn(async move { checkout.charge_off_session(&charge).await });
    }
    let mut paid = std::collections::BTreeSet::new();
    for outcome in askers.join_all().await {
        match outcome {
            Ok(OffSessionOutcome::Succeeded(payment)) => {
                paid.insert(payment.id().to_owned());
            }
            // Stripe works on the same request at this moment: the caller has to ask again.
            Err(PaymentError::InFlight | PaymentError::Api(_)) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(paid.len(), 1, "{paid:?}");
    assert_eq!(world.money_taken().await, 1);
    // The order stays paid without the card, and with another attempt.
    world.checkout.detach(&ada, &method).await.unwrap();
    let again = OffSessionCharge::new(order("order-1"), &ada, &method).attempt(2);
    let again = world.checkout.charge_off_session(&again).await.unwrap();
    assert!(matches!(&again, OffSessionOutcome::Succeeded(payment) if paid.contains(payment.id())));
    assert_eq!(world.money_taken().await, 1);
    world.deliver_all().await;
    assert_eq!(world.told.count()["paid order-1"], 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_charge_whose_answer_is_lost_is_one_charge() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let method = world.attached(&ada, "pm_card_visa").await;
    for (n, fault) in [
        Fault::ResetAfterExecution,
        Fault::Reset,
        Fault::Status(500),
        Fault::StatusAndKeep(500),
    ]
    .into_iter()
    .enumerate()
    {
        let reference = format!("order-{n}");
        let mut charged = None;
        // The fault hits the n-th request of the call, and then the test repeats the call. A
        // connection may break at any of the requests.
        for healthy in 0..5 {
            for _ in 0..healthy {
                world.sandbox.faults().next(1, Fault::Slow(Duration::ZERO));
            }
            world.sandbox.faults().next(4, fault.clone());
            let outcome = world.charge(&reference, &ada, &method).await;
            world.sandbox.faults().clear();
            if let Ok(OffSessionOutcome::Succeeded(payment)) = outcome {
                charged = Some(payment.id().to_owned());
            }
        }
        let outcome = world.charge(&reference, &ada, &method).await.unwrap();
        let OffSessionOutcome::Succeeded(payment) = outcome else {
            panic!("{fault:?}: {outcome:?}");
        };
        assert!(charged.is_none_or(|charged| charged == payment.id()));
        assert_eq!(world.money_taken().await, n + 1, "{fault:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_buyer_whose_bank_wants_to_ask_comes_back_to_the_same_intent() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let method = world.attached(&ada, "pm_card_authenticationRequired").await;
    let outcome = world.charge("order-1", &ada, &method).await.unwrap();
    let OffSessionOutcome::AuthenticationRequired(waiting) = outcome else {
        panic!("{outcome:?}");
    };
    // The same call again returns the same answer, and makes no second intent.
    let again = world.charge("order-1", &ada, &method).await.unwrap();
    assert!(
        matches!(&again, OffSessionOutcome::AuthenticationRequired(same) if same.id() == waiting.id())
    );

    world.deliver_all().await;

    // The page, with the merchant's own parameters of the order, for the customer who is signed in.
    for request in [
        order("order-1").customer(ada.id()),
        order("order-1").customer(ada.id()).description("Tea"),
    ] {
        let page = world.checkout.create_intent(&request).await.unwrap();
        assert_eq!(page.id(), waiting.id());
    }
    // The buyer confirms with the saved card, and answers their bank.
    let form = format!("payment_method={method}&return_url=https://shop.example/");
    let path = format!("/payment_intents/{}/confirm", waiting.id());
    let asked = world.post(&path, &form).await;
    assert_eq!(asked["status"], "requires_action");
    world
        .bank(waiting.id(), asked["client_secret"].as_str().unwrap())
        .await;
    let paid = world.charge("order-1", &ada, &method).await.unwrap();
    assert!(matches!(&paid, OffSessionOutcome::Succeeded(payment) if payment.id() == waiting.id()));
    assert_eq!(world.money_taken().await, 1);
    world.deliver_all().await;
    let told = world.told.count();
    assert_eq!(
        (told["paid order-1"], told["failed authentication_required"]),
        (1, 1),
        "{told:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_declined_charge_is_repeated_only_when_it_is_asked_anew() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let bad = world.attached(&ada, "pm_card_chargeCustomerFail").await;
    let declined = |outcome: &OffSessionOutcome| match outcome {
        OffSessionOutcome::Declined(payment, failure) => {
            assert_eq!(failure.decline_code(), Some("generic_decline"));
            payment.id().to_owned()
        }
        other => panic!("{other:?}"),
    };
    let failures = async || {
        let charges = world.get("/charges?limit=100").await;
        charges["data"].as_array().unwrap().len()
    };
    let first = declined(&world.charge("order-1", &ada, &bad).await.unwrap());
    let again = declined(&world.charge("order-1", &ada, &bad).await.unwrap());
    assert_eq!((first.clone(), failures().await), (again, 1));
    let anew = OffSessionCharge::new(order("order-1"), &ada, &bad).attempt(2);
    declined(&world.checkout.charge_off_session(&anew).await.unwrap());
    assert_eq!(failures().await, 2);
    // Another card of the customer, on the same intent.
    let good = world.attached(&ada, "pm_card_visa").await;
    let paid = world.charge("order-1", &ada, &good).await.unwrap();
    assert!(matches!(&paid, OffSessionOutcome::Succeeded(payment) if payment.id() == first));
    // The first call again returns that the order is paid.
    let late = world.charge("order-1", &ada, &bad).await.unwrap();
    assert!(matches!(late, OffSessionOutcome::Succeeded(_)));
    assert_eq!(world.money_taken().await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_declined_attempt_is_told_again_after_a_day_a_backup_and_without_the_card() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let bad = world.attached(&ada, "pm_card_chargeCustomerFail").await;
    let is_declined = |outcome: Result<OffSessionOutcome, PaymentError>| match outcome {
        Ok(OffSessionOutcome::Declined(_, failure)) => {
            assert_eq!(failure.decline_code(), Some("generic_decline"));
        }
        other => panic!("{other:?}"),
    };
    is_declined(world.charge("order-1", &ada, &bad).await);
    world.sandbox.pass_time(DAY * 2);
    is_declined(
        world
            .another()
            .charge_off_session(&OffSessionCharge::new(order("order-1"), &ada, &bad))
            .await,
    );
    world.restore().await;
    is_declined(world.charge("order-1", &ada, &bad).await);
    // More charges of the customer than one page of the list holds.
    let other = format!(
        "amount=100&currency=eur&customer={}&payment_method={}&confirm=true&return_url=https://shop.example/",
        ada.id(),
        world.attached(&ada, "pm_card_visa").await
    );
    for _ in 0..101 {
        world.post("/payment_intents", &other).await;
    }
    world.restore().await;
    is_declined(world.charge("order-1", &ada, &bad).await);
    world.checkout.detach(&ada, &bad).await.unwrap();
    is_declined(world.charge("order-1", &ada, &bad).await);
    world.restore().await;
    is_declined(world.charge("order-1", &ada, &bad).await);
    assert_eq!(world.declines().await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_debit_that_failed_days_later_is_told_and_not_taken_again() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let method = world.attached(&ada, "pm_card_sandboxProcessing").await;
    let first = world.charge("order-1", &ada, &method).await.unwrap();
    assert!(matches!(first, OffSessionOutcome::Processing(_)));
    assert!(world.sandbox.settle(first.payment().id(), false));
    world.sandbox.pass_time(DAY * 2);
    for _ in 0..2 {
        let again = world.charge("order-1", &ada, &method).await.unwrap();
        assert!(
            matches!(again, OffSessionOutcome::Declined(..)),
            "{again:?}"
        );
    }
    assert_eq!(world.asked().await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restored_backup_charges_nobody_a_second_time() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let method = world.attached(&ada, "pm_card_visa").await;
    let first = world.charge("order-1", &ada, &method).await.unwrap();
    world.sandbox.pass_time(DAY * 2);
    for attempt in [1, 2] {
        world.restore().await;
        let again = OffSessionCharge::new(order("order-1"), &ada, &method).attempt(attempt);
        let again = world.another().charge_off_session(&again).await.unwrap();
        assert!(matches!(again, OffSessionOutcome::Succeeded(_)));
        assert_eq!(again.payment().id(), first.payment().id());
    }
    assert_eq!(world.asked().await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_charge_under_any_former_name_is_found_after_a_restored_backup() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let method = world.attached(&ada, "pm_card_visa").await;
    let named = |names: &[&str]| {
        let (now, former) = names.split_last().unwrap();
        let builder = Checkout::builder(world.sandbox.config()).application(*now);
        let builder = former
            .iter()
            .fold(builder, |builder, name| builder.former_application(*name));
        let inbox = SqliteInbox::new(world.pool.clone());
        let builder = builder.pricing(OnePrice);
        builder
            .fulfillment(inbox, world.told.clone())
            .build()
            .unwrap()
    };
    let charge = OffSessionCharge::new(order("order-1"), &ada, &method);
    let first = named(&["tea", "tea-shop"])
        .charge_off_session(&charge)
        .await
        .unwrap();
    world.restore().await;
    let renamed = named(&["tea", "tea-shop", "tea-room"]);
    let again = renamed.charge_off_session(&charge).await.unwrap();
    assert_eq!(again.payment().id(), first.payment().id());
    assert_eq!(world.money_taken().await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payment_on_its_way_is_told_and_not_made_twice() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let method = world.attached(&ada, "pm_card_sandboxProcessing").await;
    for _ in 0..2 {
        let outcome = world.charge("order-1", &ada, &method).await.unwrap();
        assert!(
            matches!(outcome, OffSessionOutcome::Processing(_)),
            "{outcome:?}"
        );
    }
    let intents = world.get("/payment_intents").await;
    let intent = intents["data"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!(intents["data"].as_array().unwrap().len(), 1);
    assert!(world.sandbox.settle(&intent, true));
    let outcome = world.charge("order-1", &ada, &method).await.unwrap();
    assert!(
        matches!(outcome, OffSessionOutcome::Succeeded(_)),
        "{outcome:?}"
    );
    // The handler was called before any webhook came.
    assert_eq!(world.told.count()["paid order-1"], 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_intent_follows_its_customer_or_is_replaced() {
    let world = World::new().await;
    let (ada, bob) = (world.user("ada").await, world.user("bob").await);
    let make = |request: PaymentRequest| {
        let checkout = world.checkout.clone();
        async move { checkout.create_intent(&request).await.unwrap() }
    };
    let saving = SetupFutureUsage::OffSession;
    let guest = make(order("order-1")).await;
    let adas = make(order("order-1").customer(ada.id())).await;
    assert_eq!(adas.id(), guest.id(), "who logs in keeps the intent");
    assert_eq!(adas.customer(), Some(ada.id()));
    let bobs = make(order("order-1").customer(bob.id())).await;
    assert_ne!(bobs.id(), adas.id(), "another customer gets another intent");
    assert_eq!(bobs.customer(), Some(bob.id()));
    let guest = make(order("order-1")).await;
    assert_ne!(guest.id(), bobs.id(), "a guest gets another intent");
    assert_eq!(guest.customer(), None);
    let left = world.get(&format!("/payment_intents/{}", bobs.id())).await;
    assert_eq!(left["status"], "canceled");
    let again = make(order("order-1")).await;
    assert_eq!(again.id(), guest.id(), "and keeps it");
    let bobs = make(order("order-1").customer(bob.id())).await;
    assert_eq!(bobs.id(), guest.id());

    let saves = make(
        order("order-1")
            .customer(bob.id())
            .setup_future_usage(saving),
    )
    .await;
    assert_eq!(saves.id(), bobs.id());
    assert!(saves.saves_payment_method());
    let not = make(order("order-1").customer(bob.id())).await;
    assert!(
        !not.saves_payment_method(),
        "what was not agreed to any more is not done"
    );
    let saves = make(
        order("order-1")
            .customer(bob.id())
            .setup_future_usage(saving),
    )
    .await;
    let stranger = make(order("order-1").setup_future_usage(saving)).await;
    assert_ne!(
        stranger.id(),
        saves.id(),
        "nobody saves a card for somebody else"
    );
    assert_eq!(stranger.customer(), None);

    let intents = world.get("/payment_intents?limit=100").await;
    let open = intents["data"].as_array().unwrap().iter();
    let open = open.filter(|intent| intent["status"] != "canceled").count();
    assert_eq!(open, 1, "one open intent per order");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_card_is_set_up_and_every_hook_runs_once() {
    let world = World::new().await;
    world.sandbox.webhooks().double_events(1000);
    let ada = world.user("ada").await;
    let request = SetupRequest::new("wish-1", &ada);
    let setup = world.checkout.create_setup_intent(&request).await.unwrap();
    let again = world.checkout.create_setup_intent(&request).await.unwrap();
    assert_eq!(again.id(), setup.id());
    let other = SetupRequest::new("wish-2", &ada).usage(SetupFutureUsage::OnSession);
    let other = world.checkout.create_setup_intent(&other).await.unwrap();
    assert_ne!(other.id(), setup.id());
    assert_eq!(
        (setup.usage(), other.usage()),
        (Some("off_session"), Some("on_session"))
    );
    assert_eq!(setup.customer(), Some(ada.id()));
    let secret = setup.client_secret().unwrap();

    // The buyer first tries a card that is declined, then a good one.
    let path = format!("/setup_intents/{}/confirm", setup.id());
    let gateway = Gateway::new(&world.sandbox.config()).unwrap();
    let key: IdempotencyKey = "bad-card".parse().unwrap();
    let bad = "payment_method=pm_card_chargeDeclined&return_url=https://shop.example/";
    assert!(gateway.post(&path, bad, &key, None).await.is_err());
    let good = world
        .post(
            &path,
            "payment_method=pm_card_visa&return_url=https://shop.example/",
        )
        .await;
    let method = good["payment_method"].as_str().unwrap();
    let back = world
        .checkout
        .retrieve_setup_intent(setup.id(), secret.expose())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (back.status().as_str(), back.payment_method()),
        ("succeeded", Some(method))
    );
    for (id, wrong) in [
        (setup.id(), "seti_x_secret_y".to_owned()),
        (setup.id(), format!("{}_secret_guess", setup.id())),
        (other.id(), secret.expose().to_owned()),
        ("seti_nothing", "seti_nothing_secret_x".to_owned()),
        ("../customers", "../customers".to_owned()),
        ("", String::new()),
    ] {
        let found = world.checkout.retrieve_setup_intent(id, &wrong).await;
        assert!(matches!(found, Ok(None)), "{id} {wrong}: {found:?}");
    }
    world.checkout.detach(&ada, method).await.unwrap();

    world.deliver_all().await;
    let told = world.told.count();
    let expected: BTreeMap<String, usize> = [
        (format!("set up {}", setup.id()), 1),
        // Two event objects of one failure look like two failures.
        (format!("setup failed {} generic_decline", setup.id()), 2),
        (format!("attached {method} {}", ada.id()), 1),
        (format!("detached {method} {}", ada.id()), 1),
    ]
    .into();
    assert_eq!(told, expected);
    let kept = world.checkout.events(EventFilter::default()).await.unwrap();
    let kept = kept
        .iter()
        .find(|event| event.event_type == "setup_intent.succeeded");
    let kept = std::str::from_utf8(&kept.unwrap().body).unwrap().to_owned();
    assert!(
        !kept.contains(secret.expose()),
        "no client secret is stored"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_customer_session_is_of_one_customer() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let secret = world.checkout.customer_session(&ada).await.unwrap();
    assert!(secret.expose().starts_with("cuss_secret_"));
    assert!(!format!("{secret:?}").contains("cuss_secret_"));
}

/// A Stripe that returns any requested payment method, and says that it belongs to another
/// customer.
#[derive(Clone, Default)]
struct Liar(Arc<Mutex<Vec<String>>>);

impl Transport for Liar {
    async fn send(&self, request: &TransportRequest) -> Result<TransportResponse, TransportError> {
        self.0
            .lock()
            .unwrap()
            .push(format!("{} {}", request.method, request.url));
        let body = match request.url.contains("/payment_methods/") {
            true => {
                json!({ "id": "pm_1", "object": "payment_method", "type": "card", "customer": "cus_bob" })
            }
            false => {
                json!({ "id": "cus_ada", "object": "customer", "data": [], "has_more": false })
            }
        };
        Ok(TransportResponse {
            status: 200,
            headers: Vec::new(),
            body: body.to_string().into(),
        })
    }
}

#[tokio::test]
async fn whose_a_card_is_is_read_and_not_only_asked() {
    let sandbox = Sandbox::start().await.unwrap();
    let stripe = Liar::default();
    let checkout = Checkout::builder(sandbox.config())
        .application("tea")
        .pricing(OnePrice)
        .transport(stripe.clone())
        .fulfillment(MemoryInbox::new(), Told::default())
        .build()
        .unwrap();
    let ada = checkout
        .customer(&CustomerRequest::new("ada"))
        .await
        .unwrap();
    stripe.0.lock().unwrap().clear();
    let charge = OffSessionCharge::new(order("order-1"), &ada, "pm_1");
    let charged = checkout.charge_off_session(&charge).await;
    assert!(
        matches!(charged, Err(PaymentError::NotTheirs)),
        "{charged:?}"
    );
    let detached = checkout.detach(&ada, "pm_1").await;
    assert!(
        matches!(detached, Err(PaymentError::NotTheirs)),
        "{detached:?}"
    );
    let asked = stripe.0.lock().unwrap().clone();
    assert!(
        asked.iter().all(|asked| asked.starts_with("GET ")),
        "{asked:?}"
    );
}
