//! A shop on a SQLite inbox, a sandbox, and the lines of the hooks.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use stripe_checkout_core::fulfillment::{
    Due, FulfillmentHandler, Inbox, InboxExt as _, MemoryInbox, OperationKey, OperationKind,
    OperationRecord, PaymentEvent, Received, Scope, SqliteInbox,
};
use stripe_checkout_core::requests::{CaptureMethod, PaymentRequest, RefundRequest};
use stripe_checkout_core::stripe::{Gateway, IdempotencyKey};
use stripe_checkout_core::webhook::{Event, Payment};
use stripe_checkout_core::{
    Amount, BoxError, Checkout, Currency, Mode, Pricing, PricingError, Visitor,
};
use stripe_checkout_sandbox::{Fault, LoggedRequest, Sandbox};

pub(crate) const PRICE: Amount = eur(1999);

pub(crate) const fn eur(minor: u64) -> Amount {
    Amount::new(minor, Currency::EUR)
}

/// The lines of the hooks.
#[derive(Clone, Default)]
pub(crate) struct Diary(Arc<Mutex<Vec<String>>>);

impl Diary {
    fn write(&self, line: String) -> Result<(), BoxError> {
        self.0.lock().unwrap().push(line);
        Ok(())
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    /// Returns the lines since the last call.
    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

impl<C: Send> FulfillmentHandler<C> for Diary {
    async fn payment_succeeded(&self, payment: &Payment, _: &mut C) -> Result<(), BoxError> {
        let order = payment.order_id().unwrap_or("none");
        self.write(format!(
            "paid {order} {}",
            payment.amount_received().minor()
        ))
    }

    async fn amount_due(&self, _: &Payment, _: &mut C) -> Result<Due, BoxError> {
        Ok(Due::AsAsked)
    }

    async fn on_event(&self, event: &PaymentEvent<'_>, _: &mut C) -> Result<(), BoxError> {
        match event {
            PaymentEvent::RefundSucceeded { refund, .. } => {
                let reference = refund.reference().unwrap_or("none");
                self.write(format!("refunded {reference} {}", refund.amount().minor()))
            }
            PaymentEvent::DisputeCreated { dispute, .. } => {
                self.write(format!("dispute opened {}", dispute.amount().minor()))
            }
            PaymentEvent::RequiresCapture { payment, .. } => {
                let order = payment.order_id().unwrap_or("none");
                let amount = payment.amount_capturable().minor();
                self.write(format!("capture {order} {amount}"))
            }
            PaymentEvent::PaymentCanceled { payment, .. } => {
                let order = payment.order_id().unwrap_or("none");
                self.write(format!("canceled {order}"))
            }
            PaymentEvent::Mismatch { mismatch, .. } => self.write(format!("mismatch {mismatch}")),
            PaymentEvent::Other { event, .. } => {
                // The other events of the sandbox do not matter here.
                match event.event_type().starts_with("charge.refund") {
                    true => self.write(format!("event {}", event.event_type())),
                    false => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }
}

pub(crate) struct OnePrice;

#[derive(serde::Deserialize)]
pub(crate) struct Nothing {}

impl Pricing for OnePrice {
    type Order = Nothing;

    async fn price(&self, _: Nothing, _: &Visitor) -> Result<PaymentRequest, PricingError> {
        Ok(PaymentRequest::new("order-1", PRICE))
    }
}

pub(crate) struct World {
    pub(crate) sandbox: Sandbox,
    pub(crate) gateway: Gateway,
    pub(crate) checkout: Checkout,
    pub(crate) diary: Diary,
    pub(crate) inbox: SqliteInbox,
    folder: tempfile::TempDir,
    delivered: Mutex<Vec<String>>,
}

impl World {
    pub(crate) async fn new() -> Self {
        let sandbox = Sandbox::start().await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let diary = Diary::default();
        let inbox = open(&folder).await;
        let checkout = build(&sandbox, inbox.clone(), &diary);
        Self {
            gateway: Gateway::new(&sandbox.config()).unwrap(),
            sandbox,
            checkout,
            diary,
            inbox,
            folder,
            delivered: Mutex::default(),
        }
    }

    /// Starts another process on the same database.
    pub(crate) async fn another(&self) -> Checkout {
        build(&self.sandbox, open(&self.folder).await, &self.diary)
    }

    /// Starts another process, without stored data.
    pub(crate) fn forgetful(&self) -> Checkout {
        build(&self.sandbox, MemoryInbox::new(), &self.diary)
    }

    pub(crate) async fn post(&self, path: &str, form: &str) -> Value {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let key = format!("test-{}", COUNT.fetch_add(1, Ordering::SeqCst));
        let key: IdempotencyKey = key.parse().unwrap();
        let answer = self.gateway.post(path, form, &key, None).await.unwrap();
        serde_json::from_slice(&answer).unwrap()
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        let answer = self.gateway.get(path, None).await.unwrap();
        serde_json::from_slice(&answer).unwrap()
    }

    /// Pays on a connected account, as the buyer.
    pub(crate) async fn confirm_on(&self, account: &str, payment: &str) {
        let form = "payment_method=pm_card_visa&return_url=https://shop.example/";
        let path = format!("/payment_intents/{payment}/confirm");
        let key: IdempotencyKey = format!("confirm-{payment}").parse().unwrap();
        let account = Some(account);
        self.gateway.post(&path, form, &key, account).await.unwrap();
    }

    pub(crate) async fn confirm(&self, payment: &str, card: &str) {
        let form = format!("payment_method={card}&return_url=https://shop.example/");
        self.post(&format!("/payment_intents/{payment}/confirm"), &form)
            .await;
    }

    /// Makes an order that is paid.
    pub(crate) async fn paid(&self, order: &str) -> String {
        let request = PaymentRequest::new(order, PRICE);
        let payment = self.checkout.create_intent(&request).await.unwrap();
        self.confirm(payment.id(), "pm_card_visa").await;
        payment.id().to_owned()
    }

    /// Makes an order whose money is authorised.
    pub(crate) async fn reserved(&self, order: &str) -> String {
        let request = PaymentRequest::new(order, PRICE).capture_method(CaptureMethod::Manual);
        let payment = self.checkout.create_intent(&request).await.unwrap();
        assert!(payment.captures_manually());
        self.confirm(payment.id(), "pm_card_visa").await;
        payment.id().to_owned()
    }

    /// Makes an order whose money is authorised for several captures.
    pub(crate) async fn reserved_for_several_captures(&self, order: &str) -> String {
        self.reserved_with(order, "request_multicapture").await
    }

    /// Makes an order that allows a capture of more than the authorised amount.
    pub(crate) async fn reserved_for_more(&self, order: &str) -> String {
        self.reserved_with(order, "request_overcapture").await
    }

    async fn reserved_with(&self, order: &str, option: &str) -> String {
        let request = PaymentRequest::new(order, PRICE).capture_method(CaptureMethod::Manual);
        let payment = self.checkout.create_intent(&request).await.unwrap();
        let form = format!(
            "payment_method=pm_card_visa&return_url=https://shop.example/&payment_method_options[card][{option}]=if_available"
        );
        let path = format!("/payment_intents/{}/confirm", payment.id());
        self.post(&path, &form).await;
        payment.id().to_owned()
    }

    /// Returns the refunds of a payment: reference and minor units, the oldest first.
    pub(crate) async fn refunds(&self, payment: &str) -> Vec<(String, u64)> {
        self.sandbox.faults().clear();
        let list = self
            .get(&format!("/refunds?payment_intent={payment}&limit=100"))
            .await;
        let mut refunds: Vec<_> = list["data"]
            .as_array()
            .unwrap()
            .iter()
            .map(|refund| {
                let reference = refund["metadata"]["checkout_operation"].as_str();
                (
                    reference.unwrap_or("none").to_owned(),
                    refund["amount"].as_u64().unwrap(),
                )
            })
            .collect();
        refunds.reverse();
        refunds
    }

    /// Returns the requests that asked for a refund.
    pub(crate) fn refunding(&self) -> Vec<LoggedRequest> {
        let mut requests = self.sandbox.requests();
        requests.retain(|request| request.method == "POST" && request.path == "/v1/refunds");
        requests
    }

    /// Makes the fault happen to the requests after the look at Stripe.
    pub(crate) fn fail_after_the_look(&self, count: usize, fault: Fault) {
        let faults = self.sandbox.faults();
        faults.next(1, Fault::Slow(Duration::ZERO));
        faults.next(count, fault);
    }

    /// Delivers Stripe's new events, in this order or the other one.
    pub(crate) async fn deliver(&self) -> Vec<Received> {
        self.deliver_of(None).await
    }

    /// Delivers the new events of a connected account in the same way.
    pub(crate) async fn deliver_of(&self, account: Option<&str>) -> Vec<Received> {
        let list = self.gateway.get("/events?limit=100", account).await;
        let list: Value = serde_json::from_slice(&list.unwrap()).unwrap();
        let mut events: Vec<&Value> = list["data"].as_array().unwrap().iter().collect();
        events.reverse();
        let mut received = Vec::new();
        for event in events {
            let id = event["id"].as_str().unwrap().to_owned();
            if self.delivered.lock().unwrap().contains(&id) {
                continue;
            }
            let event = Event::parse(event.to_string()).unwrap();
            received.push(self.checkout.receive(event).await.unwrap());
            self.delivered.lock().unwrap().push(id);
        }
        received
    }

    pub(crate) async fn operation(
        &self,
        kind: OperationKind,
        reference: &str,
    ) -> Option<OperationRecord> {
        let row = self.inbox.operation(&key(kind, reference)).await;
        row.unwrap()
    }
}

pub(crate) fn key(kind: OperationKind, reference: &str) -> OperationKey {
    OperationKey {
        scope: Scope {
            application: "tea".into(),
            mode: Mode::Test,
        },
        account: None,
        kind,
        reference: reference.into(),
    }
}

pub(crate) fn refund_of(reference: &str, payment: &str, minor: u64) -> RefundRequest {
    RefundRequest::new(reference, payment).amount(eur(minor))
}

fn build<I: Inbox>(sandbox: &Sandbox, inbox: I, diary: &Diary) -> Checkout
where
    Diary: FulfillmentHandler<I::Connection>,
{
    Checkout::builder(sandbox.config())
        .application("tea")
        .pricing(OnePrice)
        .fulfillment(inbox, diary.clone())
        .build()
        .unwrap()
}

async fn open(folder: &tempfile::TempDir) -> SqliteInbox {
    let options = SqliteConnectOptions::new()
        .filename(folder.path().join("shop.db"))
        .create_if_missing(true);
    let pool = SqlitePoolOptions::new().max_connections(8);
    let inbox = SqliteInbox::new(pool.connect_with(options).await.unwrap());
    inbox.migrate().await.unwrap();
    inbox
}
