//! Every kind of operation, in generated histories: calls of several processes whose requests are
//! released in any order, lost or refused, hours that pass, and backups that are restored.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use sqlx::SqlitePool;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use stripe_checkout_core::fulfillment::SqliteInbox;
use stripe_checkout_core::requests::{
    CancelRequest, CaptureMethod, CaptureRequest, Customer, CustomerRequest, OffSessionCharge,
    OffSessionOutcome, PaymentRequest, RefundRequest,
};
use stripe_checkout_core::stripe::{
    Gateway, IdempotencyKey, PooledTransport, Transport, TransportRequest, TransportResponse,
};
use stripe_checkout_core::{Checkout, PaymentError, TransportError};
use stripe_checkout_sandbox::{Fault, Sandbox};
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinSet;

use crate::world::{Diary, OnePrice, PRICE, eur};

const HOUR: Duration = Duration::from_secs(60 * 60);

/// How many histories there are unless the environment names another number.
const CASES: u64 = 96;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    RefundOfAPart,
    RefundOfAll,
    CaptureOfAPart,
    CaptureOfAll,
    Cancel,
    Charge,
    DeclinedCharge,
    Customer,
}

pub(crate) const KINDS: [Kind; 8] = [
    Kind::RefundOfAPart,
    Kind::RefundOfAll,
    Kind::CaptureOfAPart,
    Kind::CaptureOfAll,
    Kind::Cancel,
    Kind::Charge,
    Kind::DeclinedCharge,
    Kind::Customer,
];

/// The fate of a request that waits at the gate.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fate {
    Pass,
    /// Stripe executes it, and its answer waits at the gate too.
    AnswerWaits,
    /// Stripe refuses it without executing it, and keeps nothing.
    Refused,
    /// It never reaches Stripe.
    Lost,
    /// Stripe executes it, and the answer is lost: as if the process dies here.
    AnswerLost,
    /// Stripe refuses or fails, and keeps that answer for the key.
    Kept(u16),
    /// Stripe executes it, fails at the end, and keeps that answer for the key.
    KeptAfterExecution,
}

/// A request that waits at the gate.
pub(crate) struct Waiting {
    pub(crate) is_post: bool,
    pub(crate) path: String,
    release: oneshot::Sender<Fate>,
}

impl Waiting {
    pub(crate) fn release(self, fate: Fate) {
        let _ = self.release.send(fate);
    }
}

/// Where the requests of all processes wait until one of them is released.
#[derive(Default)]
pub(crate) struct Gate {
    waiting: Mutex<Vec<Waiting>>,
    changed: Notify,
    /// Whether requests pass without waiting.
    is_open: Mutex<bool>,
}

impl Gate {
    async fn pass(&self, is_post: bool, path: &str) -> Fate {
        if *self.is_open.lock().unwrap() {
            return Fate::Pass;
        }
        let (release, released) = oneshot::channel();
        self.waiting.lock().unwrap().push(Waiting {
            is_post,
            path: path.to_owned(),
            release,
        });
        self.changed.notify_one();
        released.await.unwrap_or(Fate::Pass)
    }

    /// The next request that comes to the gate.
    pub(crate) async fn next(&self) -> Waiting {
        loop {
            if let Some(waiting) = self.waiting.lock().unwrap().pop() {
                return waiting;
            }
            self.changed.notified().await;
        }
    }

    pub(crate) fn set_open(&self, is_open: bool) {
        *self.is_open.lock().unwrap() = is_open;
    }
}

#[derive(Clone)]
struct Gated {
    inner: Arc<PooledTransport>,
    sandbox: Arc<Sandbox>,
    gate: Arc<Gate>,
}

impl Transport for Gated {
    async fn send(&self, request: &TransportRequest) -> Result<TransportResponse, TransportError> {
        // Not tried again: the call ends here.
        let cut_off = || TransportError::Request("cut off".into());
        let faults = self.sandbox.faults();
        let path = request.url.split("/v1").last().unwrap_or_default();
        match self.gate.pass(request.method == "POST", path).await {
            Fate::Pass => {}
            Fate::AnswerWaits => {
                let answer = self.inner.send(request).await;
                self.gate.pass(false, path).await;
                return answer;
            }
            Fate::Refused => faults.next(1, Fault::Status(400)),
            Fate::Lost => return Err(cut_off()),
            Fate::AnswerLost => {
                self.inner.send(request).await?;
                return Err(cut_off());
            }
            Fate::Kept(status) => faults.next(1, Fault::StatusAndKeep(status)),
            Fate::KeptAfterExecution => faults.next(1, Fault::StatusAfterExecution(500)),
        }
        self.inner.send(request).await
    }
}

pub(crate) struct Story {
    kind: Kind,
    pub(crate) sandbox: Arc<Sandbox>,
    pub(crate) gate: Arc<Gate>,
    processes: Vec<Checkout>,
    pool: SqlitePool,
    gateway: Gateway,
    payment: String,
    customer: Option<Customer>,
    method: String,
    random: fastrand::Rng,
    _folder: tempfile::TempDir,
}

impl Story {
    pub(crate) async fn new(seed: u64, kind: Kind) -> Self {
        let sandbox = Arc::new(Sandbox::start().await.unwrap());
        let folder = tempfile::tempdir().unwrap();
        let options = SqliteConnectOptions::new()
            .filename(folder.path().join("shop.db"))
            .create_if_missing(true);
        let pool = SqlitePoolOptions::new().max_connections(8);
        let pool = pool.connect_with(options).await.unwrap();
        let inbox = SqliteInbox::new(pool.clone());
        inbox.migrate().await.unwrap();
        let gate = Arc::new(Gate::default());
        gate.set_open(true);
        let processes = (0..3)
            .map(|_| {
                let gated = Gated {
                    inner: Arc::new(PooledTransport::new().unwrap()),
                    sandbox: Arc::clone(&sandbox),
                    gate: Arc::clone(&gate),
                };
                Checkout::builder(sandbox.config())
                    .application("tea")
                    .pricing(OnePrice)
                    .transport(gated)
                    .fulfillment(inbox.clone(), Diary::default())
                    .build()
                    .unwrap()
            })
            .collect();
        let mut story = Self {
            kind,
            gateway: Gateway::new(&sandbox.config()).unwrap(),
            sandbox,
            gate,
            processes,
            pool,
            payment: String::new(),
            customer: None,
            method: String::new(),
            random: fastrand::Rng::with_seed(seed),
            _folder: folder,
        };
        story.prepare().await;
        story
    }

    /// The payment or the customer that the operation is about.
    async fn prepare(&mut self) {
        let checkout = self.processes[0].clone();
        let request = PaymentRequest::new("order-1", PRICE);
        let request = match self.kind {
            Kind::RefundOfAPart | Kind::RefundOfAll => request,
            Kind::CaptureOfAPart | Kind::CaptureOfAll | Kind::Cancel => {
                request.capture_method(CaptureMethod::Manual)
            }
            Kind::Charge | Kind::DeclinedCharge => {
                let ada = CustomerRequest::new("ada");
                let ada = checkout.customer(&ada).await.unwrap();
                let card = match self.kind {
                    Kind::Charge => "pm_card_visa",
                    _ => "pm_card_chargeCustomerFail",
                };
                let form = format!("customer={}", ada.id());
                let path = format!("/payment_methods/{card}/attach");
                let method = self.post(&path, &form).await;
                self.method = method["id"].as_str().unwrap().to_owned();
                self.customer = Some(ada);
                return;
            }
            Kind::Customer => return,
        };
        let payment = checkout.create_intent(&request).await.unwrap();
        self.payment = payment.id().to_owned();
        let path = format!("/payment_intents/{}/confirm", self.payment);
        let form = "payment_method=pm_card_visa&return_url=https://shop.example/";
        self.post(&path, form).await;
    }

    pub(crate) async fn post(&self, path: &str, form: &str) -> Value {
        let key = format!("test-{:032x}", fastrand::u128(..));
        self.post_with(path, form, &key).await
    }

    pub(crate) async fn post_with(&self, path: &str, form: &str, key: &str) -> Value {
        let key: IdempotencyKey = key.parse().unwrap();
        let answer = self.gateway.post(path, form, &key, None).await.unwrap();
        serde_json::from_slice(&answer).unwrap()
    }

    async fn list(&self, path: &str) -> Vec<Value> {
        let answer = self.gateway.get(path, None).await.unwrap();
        let list: Value = serde_json::from_slice(&answer).unwrap();
        assert_eq!(list["has_more"], false);
        list["data"].as_array().unwrap().clone()
    }

    /// One call of one process. Gives the id of what was made.
    pub(crate) fn call(
        &self,
        process: usize,
    ) -> impl Future<Output = Result<String, PaymentError>> + Send + 'static {
        let checkout = self.processes[process].clone();
        let (kind, payment, method) = (self.kind, self.payment.clone(), self.method.clone());
        let customer = self.customer.clone();
        async move {
            let id = match kind {
                Kind::RefundOfAPart => {
                    let request = RefundRequest::new("once", payment).amount(eur(300));
                    checkout.refund(&request).await?.id().to_owned()
                }
                Kind::RefundOfAll => {
                    let request = RefundRequest::new("once", payment);
                    checkout.refund(&request).await?.id().to_owned()
                }
                Kind::CaptureOfAPart => {
                    let request = CaptureRequest::new("once", payment).amount(eur(300));
                    checkout.capture(&request).await?.id().to_owned()
                }
                Kind::CaptureOfAll => {
                    let request = CaptureRequest::new("once", payment);
                    checkout.capture(&request).await?.id().to_owned()
                }
                Kind::Cancel => {
                    let request = CancelRequest::new("once", payment);
                    checkout.cancel_payment(&request).await?.id().to_owned()
                }
                Kind::Customer => {
                    let request = CustomerRequest::new("ada");
                    checkout.customer(&request).await?.id().to_owned()
                }
                Kind::Charge | Kind::DeclinedCharge => {
                    let order = PaymentRequest::new("order-1", PRICE);
                    let charge = OffSessionCharge::new(order, &customer.unwrap(), method);
                    match checkout.charge_off_session(&charge).await {
                        Ok(OffSessionOutcome::Succeeded(payment)) if kind == Kind::Charge => {
                            payment.id().to_owned()
                        }
                        Ok(OffSessionOutcome::Declined(payment, _))
                            if kind == Kind::DeclinedCharge =>
                        {
                            payment.id().to_owned()
                        }
                        Ok(outcome) => panic!("{outcome:?}"),
                        Err(PaymentError::Api(error)) => return Err(error.into()),
                        Err(PaymentError::InFlight) => return Err(PaymentError::InFlight),
                        Err(error) => panic!("{error:?}"),
                    }
                }
            };
            Ok(id)
        }
    }

    fn fate(&mut self, is_post: bool) -> Fate {
        match (is_post, self.random.u8(0..100)) {
            (_, 0..60) => Fate::Pass,
            (_, 60..70) => Fate::Lost,
            (false, _) => Fate::Pass,
            (true, 70..85) => Fate::AnswerLost,
            (true, 85..90) => Fate::KeptAfterExecution,
            (true, 90..95) => Fate::Kept(500),
            (true, _) => Fate::Kept(400),
        }
    }

    /// Several processes call at once, and their requests are released one by one.
    async fn round(&mut self) -> Vec<Result<String, PaymentError>> {
        self.gate.set_open(false);
        let callers = self.random.usize(1..=3);
        let mut running = JoinSet::new();
        for process in 0..callers {
            // After an error a process asks again, also while the others are on their way.
            let calls = [self.call(process), self.call(process), self.call(process)];
            running.spawn(async move {
                let mut last = Err(PaymentError::InFlight);
                for call in calls {
                    last = call.await;
                    if last.is_ok() {
                        break;
                    }
                }
                last
            });
        }
        let mut ended = Vec::new();
        while !running.is_empty() {
            // Every call has ended or waits at the gate: then one request is chosen.
            let all_wait = self.gate.waiting.lock().unwrap().len() == running.len();
            if !all_wait {
                tokio::select! {
                    one = running.join_next() => ended.extend(one.map(Result::unwrap)),
                    () = self.gate.changed.notified() => {}
                }
                continue;
            }
            let chosen = {
                let mut waiting = self.gate.waiting.lock().unwrap();
                let chosen = self.random.usize(0..waiting.len());
                waiting.swap_remove(chosen)
            };
            let fate = self.fate(chosen.is_post);
            chosen.release(fate);
        }
        self.gate.set_open(true);
        self.sandbox.faults().clear();
        ended
    }

    /// Restores a backup: of a time before the operation, or before it was done.
    async fn restore(&mut self) {
        let statements: &[&str] = match self.random.u8(0..4) {
            0 => &["DELETE FROM stripe_checkout_operations WHERE kind <> 'customer' OR ?1"],
            1 => &[
                "UPDATE stripe_checkout_operations SET state = 'sending', attempt = 1, \
                   result = NULL WHERE kind <> 'customer' OR ?1",
            ],
            2 if !self.method.is_empty() => &[
                "DELETE FROM stripe_checkout_operations WHERE kind <> 'customer' OR ?1",
                "DELETE FROM stripe_checkout_intents WHERE 1 OR ?1",
                "DELETE FROM stripe_checkout_orders_of_payments WHERE 1 OR ?1",
            ],
            _ => &[],
        };
        for statement in statements {
            let query = sqlx::query(*statement).bind(self.kind == Kind::Customer);
            query.execute(&self.pool).await.unwrap();
        }
    }

    async fn tell(mut self) {
        let mut ids = std::collections::BTreeSet::new();
        for _ in 0..self.random.u8(1..=4) {
            for ended in self.round().await {
                ids.extend(ended.ok());
            }
            self.restore().await;
            let hours = [0, 1, 23, 25, 49][self.random.usize(0..5)];
            self.sandbox.pass_time(HOUR * hours);
        }
        // All is well now: a call gets an answer.
        let mut answer = self.call(0).await;
        for _ in 0..4 {
            if answer.is_err() {
                answer = self.call(0).await;
            }
        }
        ids.insert(answer.unwrap());
        assert_eq!(ids.len(), 1, "one result for every call: {ids:?}");
        self.is_done_once().await;
    }

    /// Asks Stripe's own books.
    pub(crate) async fn is_done_once(&self) {
        let payment = &self.payment;
        let count = async |event: &str| {
            let path = format!("/events?limit=100&type={event}");
            self.list(&path).await.len()
        };
        match self.kind {
            Kind::RefundOfAPart | Kind::RefundOfAll => {
                let path = format!("/refunds?payment_intent={payment}");
                let refunds = self.list(&path).await;
                let amounts: Vec<_> = refunds
                    .iter()
                    .map(|refund| refund["amount"].as_u64().unwrap())
                    .collect();
                let all = self.kind == Kind::RefundOfAll;
                assert_eq!(amounts, [if all { PRICE.minor() } else { 300 }]);
            }
            Kind::CaptureOfAPart | Kind::CaptureOfAll => {
                let all = self.kind == Kind::CaptureOfAll;
                let balance = self.sandbox.balance(payment).unwrap();
                assert_eq!(balance.charged, if all { PRICE.minor() } else { 300 });
                assert_eq!(count("charge.captured").await, 1);
            }
            Kind::Cancel => assert_eq!(count("payment_intent.canceled").await, 1),
            Kind::Charge | Kind::DeclinedCharge => {
                let charges = self.list("/charges?limit=100").await;
                let status = match self.kind {
                    Kind::Charge => "succeeded",
                    _ => "failed",
                };
                let all: Vec<_> = charges.iter().map(|charge| &charge["status"]).collect();
                assert_eq!(all, [status], "the bank was asked once");
            }
            Kind::Customer => {
                assert_eq!(self.list("/customers?limit=100").await.len(), 1);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_operation_is_done_once_in_every_generated_history() {
    let number = |name: &str| {
        let value = std::env::var(name).ok();
        value.map(|value| value.parse::<u64>().unwrap())
    };
    let first = number("OPERATIONS_SEED").unwrap_or(0);
    let cases = number("OPERATIONS_CASES").unwrap_or(CASES);
    for seed in first..first + cases {
        let kind = KINDS[usize::try_from(seed).unwrap() % KINDS.len()];
        let story = tokio::spawn(async move { Story::new(seed, kind).await.tell().await });
        assert!(story.await.is_ok(), "OPERATIONS_SEED={seed}: {kind:?}");
    }
}
