#![doc = include_str!("../README.md")]
//!
//! # Features
//! - Customers, PaymentMethods (attach, detach, list), SetupIntents and CustomerSessions, so that a
//!   merchant can save cards and charge them while the buyer is away.
//! - PaymentIntents (create, retrieve, update, confirm, capture, cancel, list), refunds, disputes,
//!   charges, mandates, balance transactions, events; `expand`; idempotency keys; webhook endpoints
//!   (create, change, delete); connected accounts by `Stripe-Account`; card tokens. The sandbox
//!   checks parameters as Stripe does. It refuses each parameter, value and route that it does not
//!   implement.
//! - The [test cards](test_cards), with 3-D Secure among them, and [test bank
//!   accounts](test_accounts) for SEPA Direct Debit. Their payments stay `processing` for the time
//!   that you set for [the banks](Sandbox::banks).
//! - Checkout Sessions in payment mode (create, retrieve, list, expire, line items), hosted and
//!   embedded, with the sandbox's own payment page; coupons and promotion codes, of which
//!   `SANDBOX10` (10 %) and `SANDBOXFREE` (100 %) exist from the start; shipping options; a tax of
//!   10 %.
//! - Refunds that are pending or fail, and disputes from the first inquiry to the decision.
//! - `/stripe.js`, a stand-in for Stripe.js with the Payment Element, the classic card Elements and
//!   embedded Checkout. The other Elements are placeholders.
//! - Signed [webhooks](Sandbox::webhook_endpoint), and their [misbehaviour](Sandbox::webhooks).
//! - [Faults](Sandbox::faults) of the API.
//! - [A dashboard](Sandbox::page) that shows all of it live and offers the same actions as these
//!   functions.
//! - The program `stripe-sandbox`, for other languages.
//!
//! The sandbox listens on this machine only and answers only to this machine's own names. It sends
//! webhooks to this machine only and refuses live keys. It keeps everything in memory until it is
//! dropped.

// Each of Stripe's largest objects is one `json!`.
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

/// The secret key of every sandbox. It protects nothing but play money on your own machine.
pub const SECRET_KEY: &str = "sk_test_sandbox";
/// The publishable key of every sandbox.
pub const PUBLISHABLE_KEY: &str = "pk_test_sandbox";

/// The platform's Connect application, as payments on connected accounts name it.
pub const CONNECT_APPLICATION: &str = "ca_sandbox";

/// Stripe waits for hours between attempts in test mode. The sandbox makes three more attempts
/// within a few seconds.
const RETRY_AFTER: [Duration; 3] = [
    Duration::from_millis(500),
    Duration::from_secs(2),
    Duration::from_secs(5),
];

/// Configures a sandbox before it starts. See [`Sandbox::builder`].
#[derive(Debug, Clone)]
#[must_use]
pub struct SandboxBuilder {
    address: SocketAddr,
    retry_after: Vec<Duration>,
    any_test_key: bool,
}

impl SandboxBuilder {
    /// Sets the address to listen on, which must be a loopback address. Port 0, the default, picks
    /// any free port.
    pub fn address(mut self, address: SocketAddr) -> Self {
        self.address = address;
        self
    }

    /// Sets the waits between the attempts to deliver an event.
    ///
    /// There is one more attempt than there are waits. The default is three waits, of 0.5, 2 and 5
    /// seconds. In test mode Stripe itself retries three times over a few hours; in live mode it
    /// retries for three days.
    pub fn retry_after(mut self, waits: impl Into<Vec<Duration>>) -> Self {
        self.retry_after = waits.into();
        self
    }

    /// Accepts every key that looks like a Stripe test key (`sk_test_…`, `rk_test_…`, `pk_test_…`).
    ///
    /// A program can then keep its own keys. All keys open the same account. By default the sandbox
    /// accepts [`SECRET_KEY`] and [`PUBLISHABLE_KEY`] only, so that a test notices a wrong key.
    pub fn accept_any_test_key(mut self) -> Self {
        self.any_test_key = true;
        self
    }

    /// Starts the sandbox on the current runtime.
    ///
    /// # Errors
    /// [`SandboxError::NotLoopback`] for an address that other machines could reach,
    /// [`SandboxError::Listen`] if the port cannot be opened.
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
    // The server, the deliveries and the banks. They end when this is dropped.
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

    /// Returns a builder for a sandbox with other settings.
    pub fn builder() -> SandboxBuilder {
        SandboxBuilder {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            retry_after: RETRY_AFTER.to_vec(),
            any_test_key: false,
        }
    }

    /// Returns the sandbox's address, like `http://127.0.0.1:12111`. Use it as `STRIPE_API_BASE`.
    pub fn url(&self) -> &str {
        &self.shared.url
    }

    /// Returns everything that a checkout needs to use the sandbox.
    ///
    /// That is the keys, the addresses, and the signing secret of the first endpoint to be
    /// registered.
    pub fn config(&self) -> Config {
        self.shared.config.clone()
    }

    /// Returns the address of the sandbox's dashboard, for a browser on this machine.
    ///
    /// It shows payments, events and deliveries live, and has a switch for everything that can go
    /// wrong.
    pub fn page(&self) -> String {
        format!("{}/sandbox", self.shared.url)
    }

    /// Returns a plain text that explains how to connect to the sandbox.
    ///
    /// It names the address, the keys and the dashboard. It has one line each to paste for curl,
    /// for Stripe's Python SDK and for this library.
    pub fn how_to_use(&self) -> String {
        banner::text(&self.shared.config)
    }

    /// Registers a webhook endpoint for every type of event.
    ///
    /// The first endpoint gets the secret that [`config`](Self::config) carries, so that you can
    /// make a configuration before the shop knows its own address. Each further endpoint gets its
    /// own secret, as with Stripe.
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

    /// Gives an endpoint a new signing secret. Returns `None` if no endpoint has this address.
    ///
    /// The old secret stays valid, as it does with Stripe for up to a day. Each signature then has
    /// a `v1` for both secrets.
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

    /// Controls how requests to the API fail.
    pub fn faults(&self) -> Faults<'_> {
        Faults { sandbox: self }
    }

    /// Controls how the sandbox delivers webhooks.
    pub fn webhooks(&self) -> Webhooks<'_> {
        Webhooks { sandbox: self }
    }

    /// Returns every attempt to deliver an event so far, in the order in which the attempts ended.
    ///
    /// It remembers at most the last ten thousand. At that limit it drops the oldest thousand.
    pub fn deliveries(&self) -> Vec<DeliveryAttempt> {
        self.shared.store().attempts.clone()
    }

    /// Returns the attempts that [`deliveries`](Self::deliveries) returns, and then forgets them.
    ///
    /// With repeated calls you can count more attempts than the sandbox remembers.
    pub fn take_deliveries(&self) -> Vec<DeliveryAttempt> {
        std::mem::take(&mut self.shared.store().attempts)
    }

    /// Returns every request to the API so far, in the order in which the requests arrived.
    ///
    /// It remembers the last ten thousand requests, and at most 64 MiB of them. A request without a
    /// valid key appears without its body.
    pub fn requests(&self) -> Vec<LoggedRequest> {
        self.shared.store().requests.all()
    }

    /// Returns the number of TCP connections accepted so far.
    pub fn connections(&self) -> usize {
        self.shared.store().connections
    }

    /// Returns the id and type of each event so far, oldest first.
    pub fn events(&self) -> Vec<(String, String)> {
        self.shared
            .store()
            .events
            .iter()
            .map(|event| (event.id.clone(), event.event_type.to_owned()))
            .collect()
    }

    /// Delivers an event again to every endpoint that wants its type. Returns `false` if there is
    /// no such event.
    ///
    /// It works like "resend" in Stripe's Dashboard.
    pub fn redeliver(&self, event_id: &str) -> bool {
        self.duplicate(event_id, 1)
    }

    /// Delivers an event again `times` times, all at the same time. Returns `false` if there is no
    /// such event.
    pub fn duplicate(&self, event_id: &str, times: usize) -> bool {
        let done = self.shared.store().redeliver(event_id, times);
        self.shared.changed();
        done
    }

    /// Ends a payment that is `processing`, with success or with a failure. Returns `false` if the
    /// intent is not processing.
    pub fn settle(&self, payment_intent: &str, paid: bool) -> bool {
        let done = self.shared.store().settle(payment_intent, paid);
        self.shared.changed();
        done
    }

    /// Controls how long the buyers' banks take for work that takes days in reality.
    pub fn banks(&self) -> Banks<'_> {
        Banks { sandbox: self }
    }

    /// Makes the buyer's bank dispute the payment of an intent. Returns `false` if there is nothing
    /// to dispute.
    pub fn dispute(&self, payment_intent: &str) -> bool {
        self.open_dispute(payment_intent, Opening::Chargeback("fraudulent"))
    }

    /// Makes the buyer's bank open an inquiry about the payment of an intent. No money moves yet.
    ///
    /// Returns `false` if there is nothing to inquire about.
    pub fn inquire(&self, payment_intent: &str) -> bool {
        self.open_dispute(payment_intent, Opening::Inquiry)
    }

    fn open_dispute(&self, payment_intent: &str, opening: Opening) -> bool {
        let done = self.shared.store().dispute_payment(payment_intent, opening);
        self.shared.changed();
        done
    }

    /// Closes the dispute of a payment as won or lost. An inquiry is closed either way. Returns
    /// `false` if none is open.
    pub fn decide_dispute(&self, payment_intent: &str, won: bool) -> bool {
        let decision = if won { Decision::Won } else { Decision::Lost };
        self.decide(payment_intent, decision)
    }

    /// Escalates an inquiry to a dispute, which withdraws the money. Returns `false` if no inquiry
    /// is open.
    pub fn escalate_inquiry(&self, payment_intent: &str) -> bool {
        self.decide(payment_intent, Decision::Escalated)
    }

    fn decide(&self, payment_intent: &str, decision: Decision) -> bool {
        let done = self.shared.store().decide_payment(payment_intent, decision);
        self.shared.changed();
        done
    }

    /// Refunds a payment, as the merchant does in Stripe's Dashboard, and returns the refund's id.
    ///
    /// The amount is in minor units; `None` refunds everything that is left. Returns `None` if
    /// Stripe would refuse the refund because nothing was paid or less is left.
    pub fn refund(&self, payment_intent: &str, amount: Option<u64>) -> Option<String> {
        let refund = self.shared.store().refund_payment(payment_intent, amount);
        self.shared.changed();
        refund.ok()
    }

    /// Makes a pending refund succeed, or makes a pending or succeeded refund fail. Returns `false`
    /// if there is no such refund in such a state.
    pub fn settle_refund(&self, refund: &str, arrives: bool) -> bool {
        let done = self.shared.store().settle_refund(refund, arrives);
        self.shared.changed();
        done
    }

    /// Returns where a payment's money is now, in minor units of its currency. Returns `None` if
    /// there is no such intent.
    pub fn balance(&self, payment_intent: &str) -> Option<PaymentBalance> {
        self.shared.store().balance_of(payment_intent)
    }

    /// Makes everything so far older by this much, in whole seconds, as if that time had passed.
    ///
    /// As with Stripe, events older than 30 days are then unknown. Idempotency keys are forgotten
    /// after 24 hours. When this function returns, the banks have done everything that was due in
    /// that time. Deliveries that are on their way to an endpoint stay as they are.
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

    /// Waits until the condition holds. It checks the condition after every request, answer and
    /// delivery.
    pub async fn wait_for(&self, mut condition: impl FnMut(&Self) -> bool) {
        let mut changes = self.shared.changes.subscribe();
        while !condition(self) {
            if changes.changed().await.is_err() {
                return;
            }
        }
    }
}

/// Controls how requests to the API fail. See [`Sandbox::faults`].
#[derive(Debug, Clone, Copy)]
pub struct Faults<'a> {
    sandbox: &'a Sandbox,
}

impl Faults<'_> {
    /// Applies the fault to the next `count` requests under `/v1`. Faults that already wait come
    /// first.
    pub fn next(&self, count: usize, fault: Fault) {
        let mut store = self.sandbox.shared.store();
        store.faults.extend(std::iter::repeat_n(fault, count));
    }

    /// Removes the faults that still wait.
    pub fn clear(&self) {
        self.sandbox.shared.store().faults.clear();
    }

    /// Returns how many faults still wait for a request.
    pub fn waiting(&self) -> usize {
        self.sandbox.shared.store().faults.len()
    }
}

/// Controls how long the buyers' banks take. See [`Sandbox::banks`].
///
/// A new value applies to work that begins afterwards. [`Sandbox::pass_time`] shortens every wait.
#[derive(Debug, Clone, Copy)]
pub struct Banks<'a> {
    sandbox: &'a Sandbox,
}

impl Banks<'_> {
    /// Sets how long a debit of a bank account takes to settle or fail. The default is 10 seconds.
    pub fn settle_debits_after(&self, wait: Duration) {
        self.set(|patience| patience.debit = Some(wait));
    }

    /// Sets how long a captured payment has no balance transaction. The default is 5 seconds.
    ///
    /// The event `charge.updated` then reports the balance transaction. This delay applies to the
    /// `capture_method` `automatic_async` only, which is Stripe's default.
    pub fn book_payments_after(&self, wait: Duration) {
        self.set(|patience| patience.booking = Some(wait));
    }

    /// Sets how long a refund takes that is pending or will fail. The default is 5 seconds.
    pub fn settle_refunds_after(&self, wait: Duration) {
        self.set(|patience| patience.refund = Some(wait));
    }

    /// Sets how long a dispute takes to be decided after evidence that names the decision. The
    /// default is 5 seconds.
    pub fn decide_disputes_after(&self, wait: Duration) {
        self.set(|patience| patience.decision = Some(wait));
    }

    /// Keeps everything open until you end it. No late balance transaction appears.
    ///
    /// Every debit waits for [`Sandbox::settle`] and every refund for [`Sandbox::settle_refund`].
    /// Every dispute waits for [`Sandbox::decide_dispute`] or for its deadline.
    pub fn wait_to_be_told(&self) {
        self.set(|patience| *patience = BankDelays::FOR_EVER);
    }

    fn set(&self, change: impl FnOnce(&mut BankDelays)) {
        change(&mut self.sandbox.shared.store().patience);
        self.sandbox.shared.changed();
    }
}

/// Controls how the sandbox delivers webhooks. See [`Sandbox::webhooks`].
///
/// [`duplicate`](Self::duplicate), [`shuffle`](Self::shuffle) and [`delay`](Self::delay) apply from
/// the next event or redelivery on. [`retry_after`](Self::retry_after) and
/// [`timeout`](Self::timeout) apply from the next attempt on.
#[derive(Debug, Clone, Copy)]
pub struct Webhooks<'a> {
    sandbox: &'a Sandbox,
}

impl Webhooks<'_> {
    /// Delivers every event this many additional times, all at the same time. 0 stops that.
    pub fn duplicate(&self, times: usize) {
        self.set(|controls| controls.copies = times);
    }

    /// Delivers the events of this much time in a random order, which is never the original one.
    ///
    /// It collects the events and delivers them to each endpoint one after another. Zero stops
    /// that.
    pub fn shuffle(&self, window: Duration) {
        self.set(|controls| controls.shuffle = (!window.is_zero()).then_some(window));
    }

    /// Waits this long before the first attempt.
    pub fn delay(&self, wait: Duration) {
        self.set(|controls| controls.delay = wait);
    }

    /// Sets the waits between attempts, as in [`SandboxBuilder::retry_after`].
    pub fn retry_after(&self, waits: impl Into<Vec<Duration>>) {
        self.set(|controls| controls.retry_after = waits.into());
    }

    /// Sets how long an endpoint may take to answer. The default is 20 seconds.
    pub fn timeout(&self, timeout: Duration) {
        self.set(|controls| controls.timeout = timeout);
    }

    /// Makes two event objects, with two ids, for each of the next `changes` changes. Stripe rarely
    /// does that.
    pub fn double_events(&self, changes: usize) {
        self.set(|controls| controls.doubled = changes);
    }

    /// Makes no event object for each of the next `changes` changes. Only a list of the objects
    /// then shows the change. Stripe rarely fails that way.
    pub fn lose_events(&self, changes: usize) {
        self.set(|controls| controls.lost = changes);
    }
    /// Makes each of the next `attempts` attempts fail on the way, so the endpoint never sees them.
    /// The sandbox retries them like any other failed attempt.
    pub fn lose_deliveries(&self, attempts: usize) {
        self.set(|controls| controls.deliveries_to_lose = attempts);
    }

    /// Delivers each of the next `attempts` attempts to its endpoint, but loses the answer. The
    /// endpoint has done its work and receives the event again.
    ///
    /// If [`lose_deliveries`](Self::lose_deliveries) is set too, it applies first.
    pub fn lose_answers(&self, attempts: usize) {
        self.set(|controls| controls.answers_to_lose = attempts);
    }

    fn set(&self, change: impl FnOnce(&mut Controls)) {
        change(&mut self.sandbox.shared.store().controls);
        self.sandbox.shared.changed();
    }
}
