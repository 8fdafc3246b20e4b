//! The reconciler finds lost events of connected accounts. An account that fails, a busy one, and
//! many of them keep nothing waiting.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use serde_json::json;
use sqlx::SqlitePool;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use stripe_checkout_core::fulfillment::{
    Due, FulfillmentHandler, InboxExt as _, IntentRecord, IntentState, OrderKey, PaymentEvent,
    RequestState, Scope, SqliteInbox,
};
use stripe_checkout_core::requests::{HostedCheckout, PaymentRequest};
use stripe_checkout_core::stripe::{Transport, TransportRequest, TransportResponse};
use stripe_checkout_core::testing::now;
use stripe_checkout_core::webhook::{EVENT_TYPES, Payment};
use stripe_checkout_core::{
    Amount, BoxError, Checkout, Currency, Mode, Pricing, PricingError, ReconcileError,
    ReconcileFailure, ReconcilePart, Reconciled, TransportError, Visitor,
};
use stripe_checkout_sandbox::Sandbox;

#[allow(dead_code)]
#[path = "combinations/stripe.rs"]
mod stripe;
use stripe::Stripe;

const PRICE: Amount = Amount::new(20_00, Currency::EUR);
const MISSING: &str = "Having the 'rak_event_read' permission would allow this request to continue";
const GONE: &str = "The provided key does not have access to account 'acct_2'.";

struct NoPage;

#[derive(serde::Deserialize)]
struct Nothing {}

impl Pricing for NoPage {
    type Order = Nothing;

    async fn price(&self, _: Nothing, _: &Visitor) -> Result<PaymentRequest, PricingError> {
        Err(PricingError::refused(
            "The tests ask `Checkout` themselves.",
        ))
    }
}

/// Writes down the calls of the handler.
#[derive(Clone, Default)]
struct Diary(Arc<Mutex<Vec<String>>>);

impl Diary {
    fn write(&self, line: String) -> Result<(), BoxError> {
        self.0.lock().unwrap().push(line);
        Ok(())
    }

    /// The lines since the last call.
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl<C: Send> FulfillmentHandler<C> for Diary {
    async fn payment_succeeded(&self, payment: &Payment, _: &mut C) -> Result<(), BoxError> {
        let account = payment.account().unwrap_or("own");
        self.write(format!("paid {} {account}", payment.order_id().unwrap()))
    }

    async fn amount_due(&self, _: &Payment, _: &mut C) -> Result<Due, BoxError> {
        Ok(Due::Exactly(PRICE))
    }

    async fn on_event(&self, event: &PaymentEvent<'_>, _: &mut C) -> Result<(), BoxError> {
        match event {
            PaymentEvent::PaymentFailed { payment, .. } => {
                let account = payment.account().unwrap_or("own");
                self.write(format!(
                    "declined {} {account}",
                    payment.order_id().unwrap()
                ))
            }
            PaymentEvent::RefundSucceeded { refund, .. } => {
                self.write(format!("refunded {}", refund.amount().minor()))
            }
            PaymentEvent::DisputeCreated { dispute, .. } => {
                self.write(format!("disputed {}", dispute.amount().minor()))
            }
            _ => Ok(()),
        }
    }
}

/// A list of events that the shop asked for.
#[derive(Debug, Clone, PartialEq)]
struct Asked {
    account: Option<String>,
    from: u64,
}

/// A way to the sandbox that refuses the lists of some accounts.
#[derive(Clone)]
struct Way {
    stripe: Stripe,
    refuses: Arc<Mutex<BTreeMap<&'static str, u16>>>,
    asked: Arc<Mutex<Vec<Asked>>>,
    requests: Arc<Mutex<u32>>,
}

impl Way {
    /// The lists since the last call.
    fn lists(&self) -> Vec<Asked> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }

    fn refuse<const N: usize>(&self, accounts: [(&'static str, u16); N]) {
        *self.refuses.lock().unwrap() = accounts.into();
    }
}

impl Transport for Way {
    async fn send(&self, request: &TransportRequest) -> Result<TransportResponse, TransportError> {
        *self.requests.lock().unwrap() += 1;
        let account = request
            .headers
            .iter()
            .find(|(name, _)| *name == "stripe-account");
        let account = account.map(|(_, account)| account.clone());
        if let Some((_, query)) = request.url.split_once("/v1/events?") {
            let query: Vec<(String, String)> = serde_html_form::from_str(query).unwrap();
            let from = query
                .iter()
                .find(|(name, _)| name == "created[gte]")
                .unwrap();
            let from = from.1.parse().unwrap();
            let refused = self.refuses.lock().unwrap();
            let status = refused.get(account.as_deref().unwrap_or("own")).copied();
            self.asked.lock().unwrap().push(Asked { account, from });
            if let Some(status) = status {
                let error = match status {
                    // This one is gone.
                    410 => json!({ "code": "account_invalid", "message": GONE }),
                    _ => json!({ "message": format!("No. {MISSING}.") }),
                };
                return Ok(TransportResponse {
                    status: if status == 410 { 403 } else { status },
                    headers: vec![("Stripe-Should-Retry".to_owned(), "false".into())],
                    body: json!({ "error": error }).to_string().into(),
                });
            }
        }
        self.stripe.send(request).await
    }
}

/// A platform whose webhooks go nowhere.
struct World {
    sandbox: Sandbox,
    way: Way,
    checkout: Checkout,
    inbox: SqliteInbox,
    diary: Diary,
    _folder: tempfile::TempDir,
}

impl World {
    async fn new() -> Self {
        let sandbox = Sandbox::start().await.unwrap();
        let way = Way {
            stripe: Stripe::of(&sandbox),
            refuses: Arc::default(),
            asked: Arc::default(),
            requests: Arc::default(),
        };
        let folder = tempfile::tempdir().unwrap();
        let pool = pool(&folder).await;
        let inbox = SqliteInbox::new(pool);
        inbox.migrate().await.unwrap();
        let diary = Diary::default();
        let checkout = Checkout::builder(sandbox.config())
            .application("tea")
            .pricing(NoPage)
            .hosted_checkout(HostedCheckout::new("https://shop.example"))
            .transport(way.clone())
            .fulfillment(inbox.clone(), diary.clone())
            .build()
            .unwrap();
        Self {
            sandbox,
            way,
            checkout,
            inbox,
            diary,
            _folder: folder,
        }
    }

    /// An order on a connected account that its buyer pays, on the own page or on Stripe's, with
    /// these cards, one after the other. Returns its PaymentIntent.
    async fn pays(&self, order: &str, account: &str, own_page: bool, cards: &[&str]) -> String {
        let request = PaymentRequest::new(order, PRICE).connected_account(account);
        let way = &self.way.stripe;
        if own_page {
            let made = self.checkout.create_intent(&request).await.unwrap();
            for card in cards {
                let path = format!("/payment_intents/{}/confirm", made.id());
                let form = format!("payment_method={card}&return_url=https://shop.example/");
                way.post(&path, Some(account), &form).await;
            }
            return made.id().to_owned();
        }
        let made = self.checkout.create_session(&request).await.unwrap();
        for card in cards {
            let number = match *card {
                "pm_card_visa" => "4242424242424242",
                _ => "4000000000000002",
            };
            let form = format!(
                "email=jane%40example.com&name=Jane&payment_method_data[type]=card\
                 &payment_method_data[card][number]={number}\
                 &payment_method_data[card][exp_month]=12\
                 &payment_method_data[card][exp_year]=2040&payment_method_data[card][cvc]=123"
            );
            way.browse(&format!("/checkout/{}/pay", made.id()), &form)
                .await;
        }
        let path = format!("/checkout/sessions/{}", made.id());
        let session = way.get(&path, Some(account)).await;
        session["payment_intent"].as_str().unwrap().to_owned()
    }

    async fn paid(&self, order: &str, account: &str) -> String {
        self.pays(order, account, true, &["pm_card_visa"]).await
    }

    async fn reconcile(&self) -> Reconciled {
        self.checkout.reconcile().once().await.unwrap()
    }

    /// The report and the failures of a run that failed in part.
    async fn fails(&self) -> (Reconciled, Vec<ReconcileFailure>) {
        match self.checkout.reconcile().once().await {
            Err(ReconcileError::Incomplete {
                report, failures, ..
            }) => (*report, failures),
            other => panic!("{other:?}"),
        }
    }

    /// An order of this account that is paid.
    async fn put_paid(&self, account: &str) {
        let order = OrderKey {
            scope: scope(),
            account: Some(account.to_owned()),
            reference: "order".to_owned(),
        };
        let row = IntentRecord {
            version: 0,
            attempt: 1,
            fingerprint: String::new(),
            request: RequestState::Sent,
            asked: PRICE,
            payment: Some(format!("pi_of_{account}")),
            secret_hash: None,
            state: IntentState::Paid,
            paid_by: None,
            declines: 0,
            capture: None,
        };
        assert!(self.inbox.put_intent(&order, None, row).await.unwrap());
    }

    /// The accounts whose lists were asked for since the last call, each once.
    fn listed(&self) -> Vec<String> {
        let asked = self.way.lists();
        let mut accounts: Vec<_> = asked
            .into_iter()
            .filter_map(|asked| asked.account)
            .collect();
        accounts.dedup();
        accounts
    }
}

async fn pool(folder: &tempfile::TempDir) -> SqlitePool {
    let options = SqliteConnectOptions::new()
        .filename(folder.path().join("shop.db"))
        .create_if_missing(true);
    let pool = SqlitePoolOptions::new().max_connections(4);
    pool.connect_with(options).await.unwrap()
}

fn scope() -> Scope {
    Scope {
        application: "tea".into(),
        mode: Mode::Test,
    }
}

fn names(count: usize) -> Vec<String> {
    (0..count)
        .map(|number| format!("acct_{number:03}"))
        .collect()
}

#[tokio::test]
async fn lost_declines_refunds_and_disputes_of_a_connected_account_are_found() {
    for own_page in [true, false] {
        let world = World::new().await;
        let declined = ["pm_card_chargeDeclined"];
        world.pays("tried", "acct_1", own_page, &declined).await;
        let both = ["pm_card_chargeDeclined", "pm_card_visa"];
        let payment = world.pays("paid", "acct_1", own_page, &both).await;
        let disputed = world
            .pays("late", "acct_2", own_page, &["pm_card_visa"])
            .await;
        let report = world.reconcile().await;
        assert_eq!(report.accounts, 2);
        let mut told = world.diary.take();
        let place = |line| told.iter().position(|told| told == line);
        assert!(
            place("declined paid acct_1") < place("paid paid acct_1"),
            "{told:?}"
        );
        told.sort();
        let all = [
            "declined paid acct_1",
            "declined tried acct_1",
            "paid late acct_2",
            "paid paid acct_1",
        ];
        assert_eq!(told, all, "{own_page}");

        // The orders are paid, so no run looks at them any more.
        world.sandbox.refund(&payment, Some(5_00)).unwrap();
        assert!(world.sandbox.dispute(&disputed));
        world.reconcile().await;
        let mut told = world.diary.take();
        told.sort();
        assert_eq!(told, ["disputed 2000", "refunded 500"], "{own_page}");

        let report = world.reconcile().await;
        assert_eq!((report.new, report.run, report.failed), (0, 0, 0));
        assert_eq!(world.diary.take(), [""; 0]);
    }
}

#[tokio::test]
async fn an_account_that_fails_or_is_gone_keeps_no_other_waiting() {
    let world = World::new().await;
    let mut payments = Vec::new();
    for account in ["acct_1", "acct_2", "acct_3"] {
        payments.push(world.paid("order", account).await);
    }
    world.reconcile().await;
    world.diary.take();
    for payment in payments {
        world.sandbox.refund(&payment, None).unwrap();
    }
    for (status, sentence) in [
        (403, MISSING),
        (500, "Stripe is unavailable (status 500)"),
        (400, "Stripe refused the request with status 400"),
    ] {
        world.way.refuse([("acct_1", status), ("acct_2", 410)]);
        let (report, failures) = world.fails().await;
        assert_eq!((report.accounts, report.unknown), (1, 1));
        let [failure] = &failures[..] else {
            panic!("{failures:?}");
        };
        assert_eq!(
            (failure.part, failure.count),
            (ReconcilePart::AccountEvents, 1)
        );
        assert_eq!(failure.account.as_deref(), Some("acct_1"));
        let text = failure.to_string();
        assert!(text.contains("acct_1") && text.contains(sentence), "{text}");
    }
    assert_eq!(world.diary.take(), ["refunded 2000"]);
    // An account that is gone is no failure.
    world.way.refuse([("acct_2", 410)]);
    assert_eq!(world.reconcile().await.unknown, 1);
    assert_eq!(world.diary.take(), ["refunded 2000"]);
}

#[tokio::test]
async fn the_account_of_an_order_that_fails_is_in_the_report() {
    let world = World::new().await;
    let open = PaymentRequest::new("open", PRICE).connected_account("acct_1");
    world.checkout.create_intent(&open).await.unwrap();
    let path = "/v1/payment_intents/".to_owned();
    world.way.stripe.fail([(path, 500)]);
    let (_, failures) = world.fails().await;
    let failure = failures
        .iter()
        .find(|failure| failure.part == ReconcilePart::Orders);
    let failure = failure.unwrap();
    assert_eq!(failure.account.as_deref(), Some("acct_1"));
    assert_eq!(failure.order.as_deref(), Some("open"));
}

#[tokio::test]
async fn many_accounts_share_the_requests_of_a_run_with_the_rest() {
    let world = World::new().await;
    let accounts = names(60);
    for account in &accounts {
        world.put_paid(account).await;
    }
    let open = PaymentRequest::new("open", PRICE);
    world.checkout.create_intent(&open).await.unwrap();
    let mut listed = Vec::new();
    let mut limited = true;
    for run in 0..3 {
        assert!(limited, "{run}");
        *world.way.requests.lock().unwrap() = 0;
        let reconciler = world.checkout.reconcile().max_requests(100);
        let report = reconciler.once().await.unwrap();
        limited = report.limited;
        assert!(*world.way.requests.lock().unwrap() <= 100);
        assert_eq!(report.intents, 1, "an own order waits for the accounts");
        let asked = world.way.lists();
        let own = asked.iter().filter(|asked| asked.account.is_none()).count();
        assert_eq!(own, EVENT_TYPES.len().div_ceil(20));
        let theirs = asked.into_iter().filter_map(|asked| asked.account);
        let theirs: BTreeSet<_> = theirs.collect();
        listed.extend(theirs);
    }
    assert!(!limited);
    let once: BTreeSet<_> = listed.iter().cloned().collect();
    assert_eq!(once.into_iter().collect::<Vec<_>>(), accounts);
    // A run that ends between the two lists of an account begins again at this account.
    assert!(listed.len() <= accounts.len() + 2, "{listed:?}");
    world
        .checkout
        .reconcile()
        .max_requests(100)
        .once()
        .await
        .unwrap();
    assert_eq!(world.listed().first(), accounts.first());
}

#[tokio::test]
async fn an_account_at_its_rate_limit_keeps_none_behind_it_waiting_for_long() {
    let world = World::new().await;
    for account in names(5) {
        world.put_paid(&account).await;
    }
    world.way.refuse([("acct_000", 429), ("acct_003", 429)]);
    let mut told = Vec::new();
    for _ in 0..4 {
        let ended = world.checkout.reconcile().once().await;
        told.push((ended.is_ok(), world.listed()));
    }
    let run = |ok, accounts: &[&str]| (ok, accounts.iter().map(ToString::to_string).collect());
    assert_eq!(
        told,
        [
            run(false, &["acct_000"]),
            run(false, &["acct_001", "acct_002", "acct_003"]),
            // It was the last one of a run, so it gets another run of its own.
            run(false, &["acct_003"]),
            run(true, &["acct_004"]),
        ]
    );
}

#[tokio::test]
async fn accounts_that_do_not_answer_end_the_part_and_are_asked_again() {
    let world = World::new().await;
    for account in names(12) {
        world.put_paid(&account).await;
    }
    world.way.refuse([
        ("acct_001", 500),
        ("acct_002", 500),
        ("acct_003", 500),
        ("acct_004", 500),
        ("acct_005", 500),
        ("acct_006", 500),
        ("acct_007", 500),
        ("acct_008", 500),
    ]);
    let (report, failures) = world.fails().await;
    assert_eq!((report.accounts, failures[0].count), (1, 8));
    assert_eq!(world.listed(), names(9));
    world.way.refuse([]);
    assert_eq!(world.reconcile().await.accounts, 11);
    assert_eq!(world.listed(), names(12)[1..]);
}

#[tokio::test]
async fn each_account_has_a_bookmark_of_its_own_and_begins_at_the_birth_without_one() {
    let world = World::new().await;
    for account in ["acct_1", "acct_2"] {
        world.put_paid(account).await;
    }
    let later = u64::try_from(now()).unwrap() + 2 * 60 * 60;
    let note = json!({ "created": later }).to_string();
    let scope = scope();
    let put = world
        .inbox
        .put_bookmark(&scope, "events acct_1", None, &note);
    assert!(put.await.unwrap());
    world.reconcile().await;
    let begins: BTreeMap<_, _> = world
        .way
        .lists()
        .into_iter()
        .map(|asked| (asked.account, asked.from))
        .collect();
    let of = |account: &str| begins[&Some(account.to_owned())];
    assert_eq!(of("acct_1"), later - 60 * 60);
    assert_eq!(of("acct_2"), begins[&None]);
    assert!(of("acct_2") < of("acct_1"));
}
