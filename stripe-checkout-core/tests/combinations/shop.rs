//! The shop: it writes down each call of its handler, and when it came.

use std::sync::{Arc, Mutex};

use stripe_checkout_core::fulfillment::{
    Due, FulfillmentHandler, MemoryInbox, PaymentEvent, PostgresInbox, SqliteInbox,
};
use stripe_checkout_core::requests::{HostedCheckout, PaymentRequest, TaxBehavior};
use stripe_checkout_core::webhook::{DisputeChange, Payment};
use stripe_checkout_core::{Amount, BoxError, Checkout, Currency, Pricing, PricingError, Visitor};
use stripe_checkout_sandbox::{CONNECT_APPLICATION, Sandbox};

use crate::dimensions::{Account, Case, Extra, Page, Price, Store};
use crate::stripe::Stripe;

pub(crate) const PRICE: u64 = 20_00;

pub(crate) const fn eur(minor: u64) -> Amount {
    Amount::new(minor, Currency::EUR)
}

/// One call of the handler.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) call: &'static str,
    /// The payment, the refund or the dispute.
    pub(crate) id: String,
    pub(crate) amount: u64,
    /// The order and the account, of calls that are about a payment.
    pub(crate) order: Option<(String, Option<String>)>,
    /// In which step of the case.
    pub(crate) step: usize,
}

#[derive(Clone)]
pub(crate) struct Shop {
    told: Arc<Mutex<Vec<Told>>>,
    step: Arc<Mutex<usize>>,
    due: Due,
}

impl Shop {
    pub(crate) fn new(case: &Case) -> Self {
        Self {
            told: Arc::default(),
            step: Arc::default(),
            due: match case.price() {
                Price::Exactly => Due::Exactly(eur(PRICE)),
                Price::AsAsked => Due::AsAsked,
                Price::Changed => Due::Exactly(eur(PRICE + 5_00)),
            },
        }
    }

    /// Begins another step, and gives its number.
    pub(crate) fn next_step(&self) -> usize {
        let mut step = self.step.lock().unwrap();
        *step += 1;
        *step
    }

    pub(crate) fn told(&self) -> Vec<Told> {
        self.told.lock().unwrap().clone()
    }

    fn write(
        &self,
        call: &'static str,
        id: &str,
        amount: Amount,
        order: Option<(String, Option<String>)>,
    ) -> Result<(), BoxError> {
        let told = Told {
            call,
            id: id.to_owned(),
            amount: amount.minor(),
            order,
            step: *self.step.lock().unwrap(),
        };
        self.told.lock().unwrap().push(told);
        Ok(())
    }

    fn payment(&self, call: &'static str, payment: &Payment) -> Result<(), BoxError> {
        let order = payment.order_id().unwrap_or_default().to_owned();
        let order = (order, payment.account().map(str::to_owned));
        self.write(call, payment.id(), payment.amount_received(), Some(order))
    }
}

impl<C: Send> FulfillmentHandler<C> for Shop {
    async fn payment_succeeded(&self, payment: &Payment, _: &mut C) -> Result<(), BoxError> {
        let call = match payment.is_free() {
            true => "free_order",
            false => "payment_succeeded",
        };
        self.payment(call, payment)
    }

    async fn amount_due(&self, _: &Payment, _: &mut C) -> Result<Due, BoxError> {
        Ok(self.due)
    }

    async fn on_event(&self, event: &PaymentEvent<'_>, _: &mut C) -> Result<(), BoxError> {
        let call = event.as_str();
        match event {
            PaymentEvent::PaymentProcessing { payment, .. }
            | PaymentEvent::PaymentFailed { payment, .. }
            | PaymentEvent::PaymentCanceled { payment, .. }
            | PaymentEvent::RequiresAction { payment, .. }
            | PaymentEvent::RequiresCapture { payment, .. }
            | PaymentEvent::DuplicatePayment { payment, .. }
            | PaymentEvent::Mismatch { payment, .. }
            | PaymentEvent::RefundedBeforeFulfillment { payment, .. } => {
                self.payment(call, payment)
            }
            PaymentEvent::RefundPending { refund, .. }
            | PaymentEvent::RefundSucceeded { refund, .. }
            | PaymentEvent::RefundFailed { refund, .. } => {
                self.write(call, refund.id(), refund.amount(), None)
            }
            PaymentEvent::DisputeUpdated {
                dispute,
                change: DisputeChange::FundsWithdrawn,
                ..
            } => self.write("dispute_withdrawn", dispute.id(), dispute.amount(), None),
            PaymentEvent::DisputeCreated { dispute, .. }
            | PaymentEvent::DisputeUpdated { dispute, .. }
            | PaymentEvent::DisputeClosed { dispute, .. } => {
                self.write(call, dispute.id(), dispute.amount(), None)
            }
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
        Err(PricingError::refused("The cases ask `Checkout` itself."))
    }
}

fn hosted(case: &Case) -> HostedCheckout {
    let hosted = HostedCheckout::new("https://shop.example").promotion_codes();
    let hosted = match case.page() {
        Page::Embedded => hosted.embedded(),
        _ => hosted,
    };
    match case.extra() {
        Extra::None => hosted,
        Extra::Shipping => hosted.shipping_option("Courier", eur(4_90)),
        Extra::Tax => hosted.automatic_tax().tax_behavior(TaxBehavior::Exclusive),
    }
}

/// Where inboxes in PostgreSQL are: one schema for all cases, which have names of their own.
pub(crate) struct Databases {
    pub(crate) postgres: Option<sqlx::PgPool>,
}

/// A checkout, and what must live as long as it.
pub(crate) struct Open {
    pub(crate) checkout: Checkout,
    _folder: Option<tempfile::TempDir>,
}

pub(crate) async fn open(
    case: &Case,
    name: &str,
    sandbox: &Sandbox,
    stripe: &Stripe,
    shop: &Shop,
    databases: &Databases,
) -> Open {
    let builder = Checkout::builder(sandbox.config())
        .application(name)
        .pricing(NoPage)
        .hosted_checkout(hosted(case))
        .max_attempts(60)
        .transport(stripe.clone());
    let builder = match case.account() {
        Account::Direct => builder.connect_application(CONNECT_APPLICATION),
        _ => builder,
    };
    let builder = match case.queues() {
        true => builder.queued(),
        false => builder,
    };
    let shop = shop.clone();
    let (builder, folder) = match (case.store(), &databases.postgres) {
        (Store::Postgres, Some(pool)) => {
            let inbox = PostgresInbox::new(pool.clone());
            (builder.fulfillment(inbox, shop), None)
        }
        // Without a server, which a line has said, SQLite keeps the case.
        (Store::Sqlite | Store::Postgres, _) => {
            let folder = tempfile::tempdir().unwrap();
            let options = sqlx::sqlite::SqliteConnectOptions::new()
                .filename(folder.path().join("shop.db"))
                .create_if_missing(true);
            let pool = sqlx::sqlite::SqlitePoolOptions::new().max_connections(3);
            let inbox = SqliteInbox::new(pool.connect_with(options).await.unwrap());
            inbox.migrate().await.unwrap();
            (builder.fulfillment(inbox, shop), Some(folder))
        }
        (Store::Memory, _) => (builder.fulfillment(MemoryInbox::new(), shop), None),
    };
    Open {
        checkout: builder.build().unwrap(),
        _folder: folder,
    }
}
