//! Everything that the sandbox remembers, behind one lock. Each request holds the lock only while
//! it does its work.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use bytes::Bytes;
use serde_json::Value;
use tokio::sync::{mpsc, watch};

use super::{
    auth::Caller,
    delivery::{Controls, DeliveryAttempt, Job},
    endpoint::Endpoint,
    faults,
    idempotency::Idempotency,
    ids,
    objects::{
        balance_transaction::BalanceTransaction,
        charge::Charge,
        checkout_session::CheckoutSession,
        coupon::{Coupon, PromotionCode},
        customer::Customer,
        customer_session::CustomerSession,
        dispute::Dispute,
        event::Event,
        mandate::Mandate,
        payment_intent::PaymentIntent,
        payment_method::PaymentMethod,
        refund::Refund,
        setup_intent::SetupIntent,
        token::Token,
    },
    requests::RequestLog,
    scheduler::{Agenda, BankDelays},
    table::Table,
};
use stripe_checkout_core::API_VERSION;

/// How long Stripe keeps an event, in seconds: 30 days.
const EVENTS_KEPT: i64 = 30 * 24 * 60 * 60;

/// The cause of an event.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cause {
    pub(crate) account: Option<String>,
    pub(crate) request_id: Option<String>,
    pub(crate) idempotency_key: Option<String>,
}

impl Cause {
    /// An API request as the cause.
    pub(crate) fn request(caller: &Caller) -> Self {
        Self {
            account: caller.account.clone(),
            request_id: Some(caller.request_id.clone()),
            idempotency_key: caller.idempotency_key.clone(),
        }
    }

    /// A cause other than an API request.
    pub(crate) fn outside(account: Option<String>) -> Self {
        Self {
            account,
            ..Self::default()
        }
    }
}

/// The objects, and the planned treatment of requests and deliveries.
#[derive(Debug)]
pub(crate) struct Store {
    /// The sandbox's own address.
    pub(crate) url: String,
    pub(crate) intents: Table<PaymentIntent>,
    pub(crate) charges: Table<Charge>,
    pub(crate) payment_methods: Table<PaymentMethod>,
    pub(crate) tokens: Table<Token>,
    pub(crate) mandates: Table<Mandate>,
    pub(crate) refunds: Table<Refund>,
    pub(crate) customers: Table<Customer>,
    pub(crate) customer_sessions: Table<CustomerSession>,
    pub(crate) setup_intents: Table<SetupIntent>,
    pub(crate) disputes: Table<Dispute>,
    pub(crate) balance_transactions: Table<BalanceTransaction>,
    pub(crate) events: Table<Event>,
    pub(crate) agenda: Agenda,
    pub(crate) patience: BankDelays,
    pub(crate) sessions: Table<CheckoutSession>,
    pub(crate) coupons: Table<Coupon>,
    pub(crate) promotion_codes: Table<PromotionCode>,
    pub(crate) idempotency: Idempotency,
    pub(crate) faults: faults::Queue,
    pub(crate) endpoints: Vec<Endpoint>,
    /// The signing secret for the first endpoint to be registered.
    pub(crate) first_secret: Option<String>,
    pub(crate) controls: Controls,
    pub(crate) requests: RequestLog,
    pub(crate) attempts: Vec<DeliveryAttempt>,
    pub(crate) connections: usize,
    /// For each event, the deliveries that are neither acknowledged nor given up.
    pub(crate) on_their_way: HashMap<String, usize>,
    jobs: mpsc::UnboundedSender<Job>,
    unfinished: watch::Sender<usize>,
}

impl Store {
    pub(crate) fn new(
        url: String,
        first_secret: String,
        jobs: mpsc::UnboundedSender<Job>,
        unfinished: watch::Sender<usize>,
        retry_after: Vec<Duration>,
    ) -> Self {
        let mut store = Self {
            url,
            intents: Table::default(),
            charges: Table::default(),
            payment_methods: Table::default(),
            tokens: Table::default(),
            mandates: Table::default(),
            refunds: Table::default(),
            customers: Table::default(),
            customer_sessions: Table::default(),
            setup_intents: Table::default(),
            disputes: Table::default(),
            balance_transactions: Table::default(),
            events: Table::default(),
            agenda: Agenda::default(),
            patience: BankDelays::default(),
            sessions: Table::default(),
            coupons: Table::default(),
            promotion_codes: Table::default(),
            idempotency: Idempotency::default(),
            faults: VecDeque::new(),
            endpoints: Vec::new(),
            first_secret: Some(first_secret),
            controls: Controls::new(retry_after),
            requests: RequestLog::default(),
            attempts: Vec::new(),
            connections: 0,
            on_their_way: HashMap::new(),
            jobs,
            unfinished,
        };
        store.add_ready_made_codes();
        store
    }

    /// Makes an event of the object in its current state. Sends it to every endpoint that wants it.
    pub(crate) fn emit(&mut self, cause: &Cause, event_type: &'static str, object: Value) {
        self.emit_change(cause, event_type, object, None);
    }

    /// Like [`emit`](Self::emit), with the former values of the changed fields.
    pub(crate) fn emit_change(
        &mut self,
        cause: &Cause,
        event_type: &'static str,
        object: Value,
        previous_attributes: Option<Value>,
    ) {
        for _ in 0..self.controls.events_for_next_change() {
            let waiting: Vec<String> = self
                .endpoints
                .iter()
                .filter(|endpoint| endpoint.wants(event_type, cause.account.as_deref()))
                .map(|endpoint| endpoint.id.clone())
                .collect();
            let event = Event {
                id: ids::id("evt"),
                account: cause.account.clone(),
                created: ids::now(),
                event_type,
                object: object.clone(),
                previous_attributes: previous_attributes.clone(),
                request_id: cause.request_id.clone(),
                idempotency_key: cause.idempotency_key.clone(),
                sent_to: waiting.clone(),
                waiting: waiting.clone(),
            };
            let jobs: Vec<Job> = waiting
                .into_iter()
                .map(|endpoint| Job::new(&event, endpoint, &self.controls))
                .collect();
            self.events.insert(event);
            self.enqueue(jobs);
        }
    }

    /// Makes everything so far older. Like Stripe, it keeps only the events of the last 30 days.
    pub(crate) fn age(&mut self, seconds: i64) {
        self.intents.age(seconds);
        self.charges.age(seconds);
        self.payment_methods.age(seconds);
        self.tokens.age(seconds);
        self.mandates.age(seconds);
        self.refunds.age(seconds);
        self.customers.age(seconds);
        self.customer_sessions.age(seconds);
        self.setup_intents.age(seconds);
        self.disputes.age(seconds);
        self.balance_transactions.age(seconds);
        self.events.age(seconds);
        self.idempotency.age(seconds);
        self.sessions.age(seconds);
        self.sessions.each(|session| {
            session.expires_at = session.expires_at.saturating_sub(seconds);
        });
        self.end_old_sessions();
        self.events
            .forget_before(ids::now().saturating_sub(EVENTS_KEPT));
    }

    /// Notes that the endpoint has acknowledged the event.
    pub(crate) fn acknowledge(&mut self, event: &str, endpoint: &str) {
        if let Some(event) = self.events.find_mut(event) {
            event.waiting.retain(|waiting| waiting != endpoint);
        }
    }

    /// Hands deliveries to the dispatcher. They count as unfinished from now on.
    pub(crate) fn enqueue(&mut self, jobs: Vec<Job>) {
        for job in jobs {
            self.under_way(&job.event);
            if let Err(unsent) = self.jobs.send(job) {
                // The sandbox is being dropped.
                self.arrived(&unsent.0.event);
            }
        }
    }

    /// Counts one more unfinished delivery of this event.
    pub(crate) fn under_way(&mut self, event: &str) {
        *self.on_their_way.entry(event.to_owned()).or_default() += 1;
        self.unfinished.send_modify(|count| *count += 1);
    }

    /// Counts one delivery of this event as acknowledged or given up.
    pub(crate) fn arrived(&mut self, event: &str) {
        if let Some(count) = self.on_their_way.get_mut(event) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.on_their_way.remove(event);
            }
        }
        self.unfinished
            .send_modify(|count| *count = count.saturating_sub(1));
    }

    /// Returns the object with this id, of any kind, for `expand`.
    pub(crate) fn object(&self, caller: &Caller, id: &str) -> Option<Value> {
        let account = caller.account.as_deref();
        let (prefix, _) = id.split_once('_')?;
        match prefix {
            "pi" => self
                .intents
                .get(account, id)
                .map(|intent| caller.render(intent)),
            "ch" | "py" => self.charges.get(account, id).map(Charge::render),
            "pm" => self
                .payment_methods
                .get(account, id)
                .map(PaymentMethod::render),
            "mandate" => self.mandates.get(account, id).map(Mandate::render),
            "re" | "pyr" => self.refunds.get(account, id).map(Refund::render),
            "du" => self
                .disputes
                .get(account, id)
                .map(|dispute| self.rendered_dispute(dispute)),
            "cus" => self.customers.get(account, id).map(Customer::render),
            "seti" => self
                .setup_intents
                .get(account, id)
                .map(|intent| caller.render_setup(intent)),
            "cs" => self.sessions.get(account, id).map(CheckoutSession::render),
            "prod" | "shr" => self
                .sessions
                .newest_first(account)
                .find_map(|session| session.part(id)),
            "promo" => self
                .promotion_codes
                .get(account, id)
                .map(PromotionCode::render),
            "txn" => self
                .balance_transactions
                .get(account, id)
                .map(BalanceTransaction::render),
            _ => None,
        }
    }
}

/// Returns the bytes that are sent for an event. Stripe indents the JSON, and every attempt sends
/// the same bytes.
pub(crate) fn event_body(event: &Event) -> Bytes {
    Bytes::from(format!("{:#}\n", event.render(API_VERSION)))
}
