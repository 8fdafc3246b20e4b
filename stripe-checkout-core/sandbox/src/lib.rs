#![doc = include_str!("../README.md")]
//!
//! # What it has
//! - Customers, PaymentMethods (attach, detach, list), SetupIntents and CustomerSessions, so that cards can be saved and charged while the buyer is away.
//! - PaymentIntents (create, retrieve, update, confirm, capture, cancel, list), refunds, disputes, charges, mandates, balance transactions, events;
//!   `expand`; idempotency keys; webhook endpoints (to be created, changed, deleted); connected
//!   accounts by `Stripe-Account`; tokens of cards. Parameters are checked as Stripe checks them.
//!   The sandbox refuses each parameter, value and route that it does not implement.
//! - The [test cards](test_cards), 3-D Secure among them, and [test bank accounts](test_accounts) for SEPA Direct Debit, whose payments are `processing` for as
//!   long as [the banks](Sandbox::banks) are told to take.
//! - Checkout Sessions in payment mode (create, retrieve, list, expire, line items), hosted and embedded, with a page of the sandbox's own; coupons and promotion codes,
//!   of which `SANDBOX10` (10 %) and `SANDBOXFREE` (100 %) are there from the start; ways to ship; a tax of 10 %.
//! - Refunds that are pending or come back, and disputes from the first question to the decision.
//! - `/stripe.js`, a stand-in for Stripe.js with the Payment Element, the classic card Elements and
//!   embedded Checkout. The other Elements are placeholders.
//! - Signed [webhooks](Sandbox::webhook_endpoint), and their [misbehaviour](Sandbox::webhooks).
//! - [Faults](Sandbox::faults) of the API.
//! - [A page of its own](Sandbox::page) that shows all of it live, and does on demand what these functions do; and the program `stripe-sandbox`, for other languages.
//!
//! It listens on this machine only, answers to this machine's own names only, sends webhooks to this machine only, and refuses live keys. It keeps everything in memory until it is dropped.

// The largest of Stripe's objects are one `json!` each.
#![recursion_limit = "256"]
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing
    )
)]

mod api_error;
mod auth;
mod balance;
mod banks;
mod banner;
mod browser;
mod cards;
mod connection;
mod countries;
mod dashboard;
mod delivery;
mod endpoint;
mod error;
mod expand;
mod expandable;
mod faults;
mod form;
mod host_check;
mod hosted;
mod idempotency;
mod ids;
mod manual;
mod objects;
mod operations;
mod params;
mod requests;
mod response;
mod routes;
mod scheduler;
mod server;
mod shared;
mod store;
mod stripe_js;
mod table;
mod three_d_secure;
mod version;

use std::{
    fmt,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use stripe_checkout_core::{Config, PublishableKey, SecretKey, WebhookSecret};
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
    task::JoinSet,
};

pub use self::{
    balance::PaymentBalance,
    banks::{TestAccount, test_accounts},
    cards::{TestCard, test_cards},
    delivery::{DeliveryAttempt, DeliveryResult},
    error::SandboxError,
    faults::Fault,
    requests::LoggedRequest,
};
use self::{
    delivery::Controls, objects::dispute::Decision, operations::Opening, scheduler::BankDelays,
    shared::Shared, store::Store,
};

/// The secret key of every sandbox. It guards nothing: it opens toy money on one's own machine.
pub const SECRET_KEY: &str = "sk_test_sandbox";
/// The publishable key of every sandbox.
pub const PUBLISHABLE_KEY: &str = "pk_test_sandbox";

/// The platform's Connect application, as payments on connected accounts name it.
pub const CONNECT_APPLICATION: &str = "ca_sandbox";

/// Stripe waits for hours between attempts in test mode; here three more follow within a few seconds.
const RETRY_AFTER: [Duration; 3] = [
    Duration::from_millis(500),
    Duration::from_secs(2),
    Duration::from_secs(5),
];

/// How a sandbox is started. See [`Sandbox::builder`].
#[derive(Debug, Clone)]
#[must_use]
pub struct SandboxBuilder {
    address: SocketAddr,
    retry_after: Vec<Duration>,
    any_test_key: bool,
}

impl SandboxBuilder {
    /// Listens here: an address of this machine's own. Port 0 is any free one, which is the default.
    pub fn address(mut self, address: SocketAddr) -> Self {
        self.address = address;
        self
    }

    /// The waits between the attempts to deliver an event; there is one attempt more than waits. By default three, of 0.5, 2 and 5 seconds. Stripe itself tries
    /// three times in a few hours in test mode, and for three days in live mode.
    pub fn retry_after(mut self, waits: impl Into<Vec<Duration>>) -> Self {
        self.retry_after = waits.into();
        self
    }

    /// Accepts every key that looks like a test key of Stripe's (`sk_test_…`, `rk_test_…`,
    /// `pk_test_…`), so that a program keeps the keys that it has. All keys open the same account.
    /// By default the sandbox accepts [`SECRET_KEY`] and [`PUBLISHABLE_KEY`] only, so that a test
    /// notices a wrong key.
    pub fn accept_any_test_key(mut self) -> Self {
        self.any_test_key = true;
        self
    }

    /// Starts it, on the runtime that this is called in.
    ///
    /// # Errors
    /// [`SandboxError::NotLoopback`] for an address that others could reach, [`SandboxError::Listen`] if the port cannot be opened.
    pub async fn start(self) -> Result<Sandbox, SandboxError> {
        let address = self.address;
        if !address.ip().is_loopback() {
            return Err(SandboxError::NotLoopback { address });
        }
        let listening = async {
            let listener = TcpListener::bind(address).await?;
            let bound = listener.local_addr()?;
            Ok((listener, bound))
        };
        let (listener, bound) = listening
            .await
            .map_err(|source| SandboxError::Listen { address, source })?;
        let url = format!("http://{bound}");

        let first_secret = format!("whsec_{}", ids::random(32));
        let config = Config::new([WebhookSecret::new(first_secret.as_str())?])?
            .with_keys(
                SecretKey::new(SECRET_KEY)?,
                PublishableKey::new(PUBLISHABLE_KEY)?,
            )?
            .with_api_base(&url)?
            .with_stripe_js_url(&format!("{url}/stripe.js"))?;

        let (sender, jobs) = mpsc::unbounded_channel();
        let unfinished = watch::Sender::new(0);
        let store = Store::new(
            url,
            first_secret,
            sender,
            unfinished.clone(),
            self.retry_after,
        );
        let shared = Arc::new(Shared::new(config, self.any_test_key, store, unfinished));
        let mut tasks = JoinSet::new();
        tasks.spawn(server::run(listener, Arc::clone(&shared)));
        tasks.spawn(delivery::run(Arc::clone(&shared), jobs));
        tasks.spawn(scheduler::run(Arc::clone(&shared)));
        Ok(Sandbox {
            shared,
            _tasks: tasks,
        })
    }
}

/// A running sandbox. It stops when it is dropped.
pub struct Sandbox {
    shared: Arc<Shared>,
    // Server, deliveries and banks; they end when this is dropped.
    _tasks: JoinSet<()>,
}

impl fmt::Debug for Sandbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sandbox")
            .field("url", &self.shared.url)
            .finish_non_exhaustive()
    }
}

impl Sandbox {
    /// Starts a sandbox on any free port.
    ///
    /// # Errors
    /// [`SandboxError::Listen`] if no port can be opened.
    pub async fn start() -> Result<Self, SandboxError> {
        Self::builder().start().await
    }

    /// Starts one otherwise.
    pub fn builder() -> SandboxBuilder {
        SandboxBuilder {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            retry_after: RETRY_AFTER.to_vec(),
            any_test_key: false,
        }
    }

    /// Its address, like `http://127.0.0.1:12111`: what `STRIPE_API_BASE` is for Stripe.
    pub fn url(&self) -> &str {
        &self.shared.url
    }

    /// Everything that a checkout needs to use it: its keys, its addresses, and the signing secret of the endpoint that will be registered first.
    pub fn config(&self) -> Config {
        self.shared.config.clone()
    }

    /// Its own page, to be opened in a browser of this machine: payments, events and deliveries, live, and a switch for everything that goes wrong.
    pub fn page(&self) -> String {
        format!("{}/sandbox", self.shared.url)
    }

    /// In plain text: its address, its keys, its page, and a line each to paste for curl, for Stripe's SDK for Python and for this library.
    pub fn how_to_use(&self) -> String {
        banner::text(&self.shared.config)
    }

    /// Registers a webhook endpoint for every type of event. The first one gets the secret that [`config`](Self::config) carries, so that a configuration can be
    /// made before the shop knows its own address; each further one gets a secret of its own, as with Stripe.
    ///
    /// # Errors
    /// [`SandboxError::EndpointNotLocal`] for anything but plain `http` to this machine.
    pub fn webhook_endpoint(&self, url: &str) -> Result<WebhookSecret, SandboxError> {
        self.webhook_endpoint_for(url, ["*"])
    }

    /// Registers a webhook endpoint for some types of events only.
    ///
    /// # Errors
    /// As [`webhook_endpoint`](Self::webhook_endpoint).
    pub fn webhook_endpoint_for<'a>(
        &self,
        url: &str,
        event_types: impl IntoIterator<Item = &'a str>,
    ) -> Result<WebhookSecret, SandboxError> {
        let event_types = event_types.into_iter().map(str::to_owned).collect();
        let secret = self.shared.store().listen(url, event_types);
        self.shared.changed();
        let secret = secret.ok_or_else(|| SandboxError::EndpointNotLocal {
            url: url.to_owned(),
        })?;
        Ok(WebhookSecret::new(secret)?)
    }

    /// Gives an endpoint a new signing secret. The old one stays valid beside it, as with Stripe for up to a day, so each signature has a `v1` for both.
    /// `None` if no endpoint has this address.
    pub fn roll_webhook_secret(&self, url: &str) -> Option<WebhookSecret> {
        let secret = WebhookSecret::new(format!("whsec_{}", ids::random(32))).ok()?;
        let mut store = self.shared.store();
        let endpoint = store
            .endpoints
            .iter_mut()
            .find(|endpoint| endpoint.address == url)?;
        endpoint.secrets.insert(0, secret.expose().to_owned());
        Some(secret)
    }

    /// What goes wrong with requests to the API.
    pub fn faults(&self) -> Faults<'_> {
        Faults { sandbox: self }
    }

    /// How webhooks are delivered.
    pub fn webhooks(&self) -> Webhooks<'_> {
        Webhooks { sandbox: self }
    }

    /// Every attempt to deliver an event so far, in the order in which they ended (the last ten thousand, if there were more).
    pub fn deliveries(&self) -> Vec<DeliveryAttempt> {
        self.shared.store().attempts.clone()
    }

    /// The attempts that [`deliveries`](Self::deliveries) gives, which it then forgets: who asks again and again can count more of them than are remembered.
    pub fn take_deliveries(&self) -> Vec<DeliveryAttempt> {
        std::mem::take(&mut self.shared.store().attempts)
    }

    /// Every request to the API so far, in the order in which they came. Of many it returns the
    /// last: at most ten thousand, and at most 64 MiB of them. A request without a valid key stands
    /// here without its body.
    pub fn requests(&self) -> Vec<LoggedRequest> {
        self.shared.store().requests.all()
    }

    /// The number of TCP connections accepted so far.
    pub fn connections(&self) -> usize {
        self.shared.store().connections
    }

    /// The events made so far, oldest first: id and type.
    pub fn events(&self) -> Vec<(String, String)> {
        self.shared
            .store()
            .events
            .iter()
            .map(|event| (event.id.clone(), event.event_type.to_owned()))
            .collect()
    }

    /// Delivers an event again to every endpoint that wants its type, as the Dashboard's "resend" does. `false` if there is no such event.
    pub fn redeliver(&self, event_id: &str) -> bool {
        self.duplicate(event_id, 1)
    }

    /// Delivers an event again so many times, all at the same time. `false` if there is no such event.
    pub fn duplicate(&self, event_id: &str, times: usize) -> bool {
        let done = self.shared.store().redeliver(event_id, times);
        self.shared.changed();
        done
    }

    /// Ends a payment that is `processing`, with success or with a failure. `false` if the intent is not processing.
    pub fn settle(&self, payment_intent: &str, paid: bool) -> bool {
        let done = self.shared.store().settle(payment_intent, paid);
        self.shared.changed();
        done
    }

    /// How long the buyers' banks take for what takes days in life.
    pub fn banks(&self) -> Banks<'_> {
        Banks { sandbox: self }
    }

    /// Has the buyer's bank dispute the payment of an intent. `false` if there is nothing to dispute.
    pub fn dispute(&self, payment_intent: &str) -> bool {
        self.open_dispute(payment_intent, Opening::Chargeback("fraudulent"))
    }

    /// Has the buyer's bank ask about the payment of an intent, which moves no money yet. `false` if there is nothing to ask about.
    pub fn inquire(&self, payment_intent: &str) -> bool {
        self.open_dispute(payment_intent, Opening::Inquiry)
    }

    fn open_dispute(&self, payment_intent: &str, opening: Opening) -> bool {
        let done = self.shared.store().dispute_payment(payment_intent, opening);
        self.shared.changed();
        done
    }

    /// Closes the dispute of a payment, won or lost; an inquiry is closed either way. `false` if none is open.
    pub fn decide_dispute(&self, payment_intent: &str, won: bool) -> bool {
        let decision = if won { Decision::Won } else { Decision::Lost };
        self.decide(payment_intent, decision)
    }

    /// Makes a dispute of an inquiry: the money is withdrawn. `false` if no inquiry is open.
    pub fn escalate_inquiry(&self, payment_intent: &str) -> bool {
        self.decide(payment_intent, Decision::Escalated)
    }

    fn decide(&self, payment_intent: &str, decision: Decision) -> bool {
        let done = self.shared.store().decide_payment(payment_intent, decision);
        self.shared.changed();
        done
    }

    /// Gives money back, in minor units, as the merchant does in the Dashboard: all that is left if no amount is named. The refund's id, or `None` if Stripe would
    /// refuse it: nothing was paid, or less is left.
    pub fn refund(&self, payment_intent: &str, amount: Option<u64>) -> Option<String> {
        let refund = self.shared.store().refund_payment(payment_intent, amount);
        self.shared.changed();
        refund.ok()
    }

    /// Has a pending refund arrive, or a pending or succeeded one come back. `false` if there is no such refund in such a state.
    pub fn settle_refund(&self, refund: &str, arrives: bool) -> bool {
        let done = self.shared.store().settle_refund(refund, arrives);
        self.shared.changed();
        done
    }

    /// What became of a payment's money, in minor units of its currency. `None` if there is no such intent.
    pub fn balance(&self, payment_intent: &str) -> Option<PaymentBalance> {
        self.shared.store().balance_of(payment_intent)
    }

    /// Makes everything that happened so far older by this much, in whole seconds, as if so much time had passed. Events older than 30 days are then unknown,
    /// as with Stripe, and idempotency keys are forgotten after 24 hours. What banks do in that time they have done when this returns. What is on its way to an endpoint
    /// stays as it is.
    pub fn pass_time(&self, time: Duration) {
        let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
        let mut store = self.shared.store();
        store.age(seconds);
        store.agenda.pass(time);
        store.do_what_is_due();
        drop(store);
        self.shared.changed();
    }

    /// Waits until every delivery is acknowledged or given up.
    pub async fn wait_idle(&self) {
        let mut unfinished = self.shared.unfinished.subscribe();
        // The sender lives as long as `self`, so this ends only when the condition holds.
        let _ = unfinished.wait_for(|count| *count == 0).await;
    }

    /// Waits until the condition holds. It is judged again after every request, answer and delivery.
    pub async fn wait_for(&self, mut condition: impl FnMut(&Self) -> bool) {
        let mut changes = self.shared.changes.subscribe();
        while !condition(self) {
            if changes.changed().await.is_err() {
                return;
            }
        }
    }
}

/// What goes wrong with requests to the API. See [`Sandbox::faults`].
#[derive(Debug, Clone, Copy)]
pub struct Faults<'a> {
    sandbox: &'a Sandbox,
}

impl Faults<'_> {
    /// Has the fault happen to the next `count` requests under `/v1`, after those that wait already.
    pub fn next(&self, count: usize, fault: Fault) {
        let mut store = self.sandbox.shared.store();
        store.faults.extend(std::iter::repeat_n(fault, count));
    }

    /// Forgets the faults that still wait.
    pub fn clear(&self) {
        self.sandbox.shared.store().faults.clear();
    }

    /// How many faults still wait for a request.
    pub fn waiting(&self) -> usize {
        self.sandbox.shared.store().faults.len()
    }
}

/// How long the buyers' banks take. See [`Sandbox::banks`]. What is set here holds for what begins afterwards; [`Sandbox::pass_time`] shortens every wait.
#[derive(Debug, Clone, Copy)]
pub struct Banks<'a> {
    sandbox: &'a Sandbox,
}

impl Banks<'_> {
    /// A debit of a bank account settles or fails after this time; 10 seconds by default.
    pub fn settle_debits_after(&self, wait: Duration) {
        self.set(|patience| patience.debit = Some(wait));
    }

    /// Shows the balance transaction of a captured payment after this time; 5 seconds by default.
    /// The event `charge.updated` tells of it. This delay is for the `capture_method`
    /// `automatic_async` only, which is Stripe's default.
    pub fn book_payments_after(&self, wait: Duration) {
        self.set(|patience| patience.booking = Some(wait));
    }

    /// A refund that is pending, or will come back, does so after this time; 5 seconds by default.
    pub fn settle_refunds_after(&self, wait: Duration) {
        self.set(|patience| patience.refund = Some(wait));
    }

    /// A dispute is decided this long after evidence that says how; 5 seconds by default.
    pub fn decide_disputes_after(&self, wait: Duration) {
        self.set(|patience| patience.decision = Some(wait));
    }

    /// Nothing ends by itself: every debit waits for [`Sandbox::settle`], every refund for [`Sandbox::settle_refund`], every dispute for
    /// [`Sandbox::decide_dispute`], or for its deadline. No late balance transaction appears.
    pub fn wait_to_be_told(&self) {
        self.set(|patience| *patience = BankDelays::FOR_EVER);
    }

    fn set(&self, change: impl FnOnce(&mut BankDelays)) {
        change(&mut self.sandbox.shared.store().patience);
        self.sandbox.shared.changed();
    }
}

/// How webhooks are delivered. See [`Sandbox::webhooks`]. What is set here holds from the next event on.
#[derive(Debug, Clone, Copy)]
pub struct Webhooks<'a> {
    sandbox: &'a Sandbox,
}

impl Webhooks<'_> {
    /// Delivers every event this many times more than once, all at the same time. 0 stops that.
    pub fn duplicate(&self, times: usize) {
        self.set(|controls| controls.copies = times);
    }

    /// Gathers the events of this much time and delivers them to each endpoint one after another, in a random order that is never their own. Zero stops that.
    pub fn shuffle(&self, window: Duration) {
        self.set(|controls| controls.shuffle = (!window.is_zero()).then_some(window));
    }

    /// Waits this long before the first attempt.
    pub fn delay(&self, wait: Duration) {
        self.set(|controls| controls.delay = wait);
    }

    /// The waits between attempts, as in [`SandboxBuilder::retry_after`].
    pub fn retry_after(&self, waits: impl Into<Vec<Duration>>) {
        self.set(|controls| controls.retry_after = waits.into());
    }

    /// How long an endpoint may take to answer; 20 seconds by default.
    pub fn timeout(&self, timeout: Duration) {
        self.set(|controls| controls.timeout = timeout);
    }

    /// Makes two event objects, with two ids, for each of the next `changes` changes: rarely Stripe does that.
    pub fn double_events(&self, changes: usize) {
        self.set(|controls| controls.doubled = changes);
    }

    /// Makes no event object for each of the next `changes` changes: then only a list of the objects tells. Rarely Stripe fails that way.
    pub fn lose_events(&self, changes: usize) {
        self.set(|controls| controls.lost = changes);
    }
    /// Has each of the next `attempts` attempts fail on the way: the endpoint never sees them. They are tried again like any other.
    pub fn lose_deliveries(&self, attempts: usize) {
        self.set(|controls| controls.deliveries_to_lose = attempts);
    }

    /// Has each of the next `attempts` attempts reach its endpoint, and loses the answer: the endpoint did its work and is asked again. Where
    /// [`lose_deliveries`](Self::lose_deliveries) is set too, that comes first.
    pub fn lose_answers(&self, attempts: usize) {
        self.set(|controls| controls.answers_to_lose = attempts);
    }

    fn set(&self, change: impl FnOnce(&mut Controls)) {
        change(&mut self.sandbox.shared.store().controls);
        self.sandbox.shared.changed();
    }
}
