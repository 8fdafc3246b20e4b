//! The reconciler beside a small machine: webhooks get lost, calls to Stripe fail, and in the end
//! the handler knows of every payment what Stripe knows, once.
//!
//! Six orders live at the same time: on the own page and on Stripe's, captured at once and later,
//! wholly and in part, on the own account and on a connected one. The machine knows how each of
//! them stands at Stripe. A reconciler whose calls fail for one order still finds all others.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use proptest::prelude::*;
use proptest::sample::select;
use serde_json::Value;
use sqlx::SqlitePool;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use stripe_checkout_core::fulfillment::{Due, FulfillmentHandler, PaymentEvent, SqliteInbox};
use stripe_checkout_core::requests::{
    CancelRequest, CaptureMethod, CaptureRequest, HostedCheckout, PaymentRequest,
};
use stripe_checkout_core::webhook::{Event, Payment};
use stripe_checkout_core::{Amount, BoxError, Checkout, Currency, Pricing, PricingError, Visitor};
use stripe_checkout_sandbox::Sandbox;

use crate::stripe::Stripe;
use crate::{config, runtime};

const ACCOUNT: &str = "acct_1";
const PRICE: Amount = Amount::new(20_00, Currency::EUR);
const PART: Amount = Amount::new(7_00, Currency::EUR);

/// How many runs without a failure find everything.
const CLEAN_RUNS: usize = 3;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Order {
    Own,
    OwnLater,
    Session,
    SessionLater,
    Theirs,
    TheirSession,
}

impl Order {
    const ALL: [Self; 6] = [
        Self::Own,
        Self::OwnLater,
        Self::Session,
        Self::SessionLater,
        Self::Theirs,
        Self::TheirSession,
    ];

    fn is_session(self) -> bool {
        matches!(
            self,
            Self::Session | Self::SessionLater | Self::TheirSession
        )
    }

    fn is_captured_later(self) -> bool {
        matches!(self, Self::OwnLater | Self::SessionLater)
    }

    fn account(self) -> Option<&'static str> {
        matches!(self, Self::Theirs | Self::TheirSession).then_some(ACCOUNT)
    }

    fn reference(self) -> String {
        format!("{self:?}")
    }
}

/// One step of a sequence.
#[derive(Debug, Clone)]
enum Step {
    Begin(Order),
    Pay(Order),
    /// All of it, or a part.
    Capture(Order, bool),
    Cancel(Order),
    /// The webhook of an event that was not delivered yet arrives.
    Deliver(usize),
    /// It never will.
    Lose(usize),
    /// Stripe did not even make the event.
    NeverMade(usize),
    /// The calls for these orders fail, and those for the list of events, each with a status.
    Reconcile {
        without: Vec<(Order, u16)>,
        without_list: Option<u16>,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let order = || select(Order::ALL.to_vec());
    let later = select(vec![Order::OwnLater, Order::SessionLater]);
    // A key that lacks a permission lacks it for every order. So only the list gets a 403.
    let run = (
        prop::collection::vec((order(), select(vec![429, 500])), 0..3),
        prop::option::of(select(vec![403, 429, 500])),
    );
    prop_oneof![
        4 => order().prop_map(Step::Begin),
        6 => order().prop_map(Step::Pay),
        2 => (later, any::<bool>()).prop_map(|(order, all)| Step::Capture(order, all)),
        1 => order().prop_map(Step::Cancel),
        2 => (0..9_usize).prop_map(Step::Deliver),
        3 => (0..9_usize).prop_map(Step::Lose),
        2 => (0..9_usize).prop_map(Step::NeverMade),
        3 => run.prop_map(|(without, without_list)| Step::Reconcile {
            without,
            without_list,
        }),
    ]
}

/// How an order stands at Stripe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stands {
    Open,
    Authorised,
    Paid,
    Over,
}

#[derive(Debug, Clone)]
struct Known {
    stands: Stands,
    /// What the order's row names: a PaymentIntent or a Checkout Session.
    id: String,
    intent: Option<String>,
}

/// Writes down what it is told: a hook and an order.
#[derive(Clone, Default)]
struct Diary(Arc<Mutex<Vec<(&'static str, String)>>>);

impl Diary {
    fn write(&self, hook: &'static str, payment: &Payment) -> Result<(), BoxError> {
        let order = payment.order_id().unwrap_or_default().to_owned();
        self.0.lock().unwrap().push((hook, order));
        Ok(())
    }
}

impl<C: Send> FulfillmentHandler<C> for Diary {
    async fn payment_succeeded(&self, payment: &Payment, _: &mut C) -> Result<(), BoxError> {
        self.write("paid", payment)
    }

    async fn amount_due(&self, _: &Payment, _: &mut C) -> Result<Due, BoxError> {
        Ok(Due::AsAsked)
    }

    async fn on_event(&self, event: &PaymentEvent<'_>, _: &mut C) -> Result<(), BoxError> {
        match event {
            PaymentEvent::RequiresCapture { payment, .. } => self.write("authorised", payment),
            PaymentEvent::PaymentCanceled { payment, .. } => self.write("canceled", payment),
            PaymentEvent::DuplicatePayment { payment, .. } => self.write("duplicate", payment),
            PaymentEvent::Mismatch { payment, .. } => self.write("mismatch", payment),
            _ => Ok(()),
        }
    }
}

struct NoPage;

#[derive(serde::Deserialize)]
struct Nothing {}

impl Pricing for NoPage {
    type Order = Nothing;

    async fn price(&self, _: Nothing, _: &Visitor) -> Result<PaymentRequest, PricingError> {
        Err(PricingError::refused("The machine asks `Checkout` itself."))
    }
}

struct Machine {
    sandbox: Sandbox,
    stripe: Stripe,
    checkout: Checkout,
    diary: Diary,
    orders: BTreeMap<Order, Known>,
    /// The events that the webhook brought, or never will bring.
    seen: Vec<String>,
    story: Vec<String>,
    pool: SqlitePool,
    _folder: tempfile::TempDir,
}

impl Machine {
    async fn new() -> Self {
        let sandbox = Sandbox::start().await.unwrap();
        let stripe = Stripe::of(&sandbox);
        let folder = tempfile::tempdir().unwrap();
        let options = SqliteConnectOptions::new()
            .filename(folder.path().join("shop.db"))
            .create_if_missing(true);
        let pool = SqlitePoolOptions::new().max_connections(6);
        let pool = pool.connect_with(options).await.unwrap();
        let inbox = SqliteInbox::new(pool.clone());
        inbox.migrate().await.unwrap();
        let diary = Diary::default();
        let checkout = Checkout::builder(sandbox.config())
            .application("tea")
            .pricing(NoPage)
            .hosted_checkout(HostedCheckout::new("https://shop.example"))
            .transport(stripe.clone())
            .fulfillment(inbox, diary.clone())
            .build()
            .unwrap();
        Self {
            sandbox,
            stripe,
            checkout,
            diary,
            orders: BTreeMap::new(),
            seen: Vec::new(),
            story: Vec::new(),
            pool,
            _folder: folder,
        }
    }

    fn request(order: Order) -> PaymentRequest {
        let request = PaymentRequest::new(order.reference(), PRICE);
        let request = match order.account() {
            Some(account) => request.connected_account(account),
            None => request,
        };
        match order.is_captured_later() {
            true => request.capture_method(CaptureMethod::Manual),
            false => request,
        }
    }

    fn stands(&self, order: Order) -> Option<Stands> {
        self.orders.get(&order).map(|known| known.stands)
    }

    async fn happens(&mut self, step: &Step) {
        self.story.push(format!("{step:?}"));
        match step {
            Step::Begin(order) => self.begin(*order).await,
            Step::Pay(order) if self.stands(*order) == Some(Stands::Open) => {
                self.pay(*order).await;
            }
            Step::Capture(order, all) if self.stands(*order) == Some(Stands::Authorised) => {
                self.capture(*order, *all).await;
            }
            Step::Cancel(order)
                if matches!(self.stands(*order), Some(Stands::Open | Stands::Authorised)) =>
            {
                self.cancel(*order).await;
            }
            Step::Pay(_) | Step::Capture(..) | Step::Cancel(_) => {}
            Step::Deliver(at) => {
                if let Some(event) = self.next_event(*at).await {
                    let event = Event::parse(event.to_string()).unwrap();
                    self.checkout.receive(event).await.unwrap();
                }
            }
            Step::Lose(at) => drop(self.next_event(*at).await),
            Step::NeverMade(at) => {
                if let Some(event) = self.next_event(*at).await {
                    self.stripe.hide(event["id"].as_str().unwrap());
                }
            }
            Step::Reconcile {
                without,
                without_list,
            } => self.reconcile(without, *without_list).await,
        }
    }

    async fn begin(&mut self, order: Order) {
        if self.orders.contains_key(&order) {
            return;
        }
        let request = Self::request(order);
        let (id, intent) = match order.is_session() {
            true => {
                let session = self.checkout.create_session(&request).await.unwrap();
                (session.id().to_owned(), None)
            }
            false => {
                let intent = self.checkout.create_intent(&request).await.unwrap();
                (intent.id().to_owned(), Some(intent.id().to_owned()))
            }
        };
        let stands = Stands::Open;
        self.orders.insert(order, Known { stands, id, intent });
    }

    async fn pay(&mut self, order: Order) {
        let known = self.orders[&order].clone();
        let account = order.account();
        let intent = match &known.intent {
            Some(intent) => {
                let form = "payment_method=pm_card_visa&return_url=https://shop.example/";
                let path = format!("/payment_intents/{intent}/confirm");
                self.stripe.post(&path, account, form).await;
                intent.clone()
            }
            None => {
                let form = "email=jane%40example.com&name=Jane&payment_method_data[type]=card\
                            &payment_method_data[card][number]=4242424242424242\
                            &payment_method_data[card][exp_month]=12\
                            &payment_method_data[card][exp_year]=2040\
                            &payment_method_data[card][cvc]=123";
                let path = format!("/checkout/{}/pay", known.id);
                self.stripe.browse(&path, form).await;
                let path = format!("/checkout/sessions/{}", known.id);
                let session = self.stripe.get(&path, account).await;
                session["payment_intent"].as_str().unwrap().to_owned()
            }
        };
        let path = format!("/payment_intents/{intent}");
        let now = self.stripe.get(&path, account).await;
        let (stands, status) = match order.is_captured_later() {
            true => (Stands::Authorised, "requires_capture"),
            false => (Stands::Paid, "succeeded"),
        };
        assert_eq!(now["status"], status, "{now}");
        let intent = Some(intent);
        self.orders.insert(
            order,
            Known {
                stands,
                intent,
                ..known
            },
        );
    }

    async fn capture(&mut self, order: Order, all: bool) {
        let known = self.orders[&order].clone();
        let reference = format!("shipped {order:?}");
        let request = CaptureRequest::new(reference, known.intent.as_deref().unwrap());
        let request = match all {
            true => request,
            false => request.amount(PART),
        };
        self.checkout.capture(&request).await.unwrap();
        let stands = Stands::Paid;
        self.orders.insert(order, Known { stands, ..known });
    }

    async fn cancel(&mut self, order: Order) {
        let known = self.orders[&order].clone();
        let account = order.account();
        match (known.stands, &known.intent) {
            (Stands::Authorised, Some(intent)) => {
                let request = CancelRequest::new("off", intent);
                self.checkout.cancel_payment(&request).await.unwrap();
            }
            // In the Dashboard: the shop does not know.
            (_, Some(intent)) => {
                let path = format!("/payment_intents/{intent}/cancel");
                self.stripe.post(&path, account, "").await;
            }
            (_, None) => {
                let path = format!("/checkout/sessions/{}/expire", known.id);
                self.stripe.post(&path, account, "").await;
            }
        }
        let stands = Stands::Over;
        self.orders.insert(order, Known { stands, ..known });
    }

    /// One of the events that the webhook did not bring yet.
    async fn next_event(&mut self, at: usize) -> Option<Value> {
        let mut all = self.stripe.list("/events", None).await;
        all.extend(self.stripe.list("/events", Some(ACCOUNT)).await);
        all.retain(|event| !self.seen.iter().any(|id| event["id"] == **id));
        let event = all.into_iter().nth(at)?;
        self.seen.push(event["id"].as_str().unwrap().to_owned());
        Some(event)
    }

    /// Runs the reconciler while some calls fail. It finds every other order.
    async fn reconcile(&mut self, without: &[(Order, u16)], without_list: Option<u16>) {
        let mut failing = Vec::new();
        for (order, status) in without {
            let Some(known) = self.orders.get(order) else {
                continue;
            };
            let ids = [Some(&known.id), known.intent.as_ref()];
            failing.extend(ids.into_iter().flatten().map(|id| (id.clone(), *status)));
        }
        failing.extend(without_list.map(|status| ("/v1/events".to_owned(), status)));
        let fails = !failing.is_empty();
        self.stripe.fail(failing);
        for _ in 0..CLEAN_RUNS {
            // Runs are an hour apart, so the pause of a success that could not be checked is over.
            sqlx::query("UPDATE stripe_checkout_events SET due = 0 WHERE state = 'pending'")
                .execute(&self.pool)
                .await
                .unwrap();
            let run = self.checkout.reconcile().once().await;
            assert!(fails || run.is_ok(), "{run:?}\n{}", self.told());
        }
        self.stripe.fail([]);
        for order in Order::ALL {
            if without.iter().all(|(failing, _)| *failing != order) {
                self.knows(order);
            }
        }
    }

    fn told(&self) -> String {
        let story = self.story.join("\n  ");
        let diary = self.diary.0.lock().unwrap().clone();
        format!("after\n  {story}\n{diary:#?}\n{:#?}", self.orders)
    }

    fn times(&self, hook: &str, order: Order) -> usize {
        let diary = self.diary.0.lock().unwrap();
        let same = |told: &&(&str, String)| told.0 == hook && told.1 == order.reference();
        diary.iter().filter(same).count()
    }

    /// The handler knows of this order what Stripe knows.
    fn knows(&self, order: Order) {
        let Some(known) = self.orders.get(&order) else {
            return;
        };
        let expected = |hook| match (hook, known.stands) {
            ("paid", Stands::Paid) | ("canceled", Stands::Over) => 1,
            ("authorised", Stands::Authorised) => 1,
            _ => 0,
        };
        for hook in ["paid", "canceled", "authorised"] {
            // Authorised it was before, and that may have been told.
            let over = hook == "authorised" && known.stands != Stands::Authorised;
            let times = self.times(hook, order);
            let right = times == expected(hook) || (over && times <= 1);
            assert!(right, "{order:?} {hook}: {times} times\n{}", self.told());
        }
    }

    /// At any time: nothing twice, and nothing that is not so.
    fn is_sound(&self) {
        for order in Order::ALL {
            for hook in ["paid", "canceled", "authorised"] {
                let times = self.times(hook, order);
                assert!(
                    times <= 1,
                    "{order:?} {hook}: {times} times\n{}",
                    self.told()
                );
            }
            let stands = self.stands(order);
            let paid = self.times("paid", order) == 0 || stands == Some(Stands::Paid);
            assert!(paid, "{order:?} is shipped without money\n{}", self.told());
            for hook in ["duplicate", "mismatch"] {
                assert_eq!(
                    self.times(hook, order),
                    0,
                    "{order:?} {hook}\n{}",
                    self.told()
                );
            }
        }
    }
}

async fn run(steps: &[Step]) {
    let mut machine = Machine::new().await;
    machine.sandbox.banks().wait_to_be_told();
    for step in steps {
        machine.happens(step).await;
        machine.is_sound();
    }
    machine.story.push("in the end".to_owned());
    machine.reconcile(&[], None).await;
    machine.is_sound();
}

proptest! {
    #![proptest_config(config(24))]
    #[test]
    fn a_reconciler_whose_calls_fail_finds_the_rest(steps in prop::collection::vec(step(), 1..24)) {
        runtime().block_on(run(&steps));
    }
}

#[test]
fn a_success_that_could_not_be_checked_is_found_after_its_pause() {
    let order = Order::SessionLater;
    for all in [false, true] {
        let steps = [
            Step::Begin(order),
            Step::Pay(order),
            Step::Capture(order, all),
            Step::Reconcile {
                without: vec![(order, 429)],
                without_list: None,
            },
        ];
        runtime().block_on(run(&steps));
    }
}
