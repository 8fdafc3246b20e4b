//! The post: which events arrive when, how often, and which never do.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;
use stripe_checkout_core::fulfillment::{EventFilter, EventState};
use stripe_checkout_core::testing::{now, sign};
use stripe_checkout_core::{Body, Call, Checkout, Config, Group};

use crate::dimensions::{Case, Delivery};
use crate::life::{BOOKED_AFTER, Fault, Life, text};

/// How often refused events are delivered again.
const ROUNDS: usize = 8;

/// More events than a case has.
const MOST: usize = 500;

/// The events that tell how a payment stands.
const TELLING: [&str; 20] = [
    "payment_intent.succeeded",
    "payment_intent.processing",
    "payment_intent.canceled",
    "payment_intent.amount_capturable_updated",
    "payment_intent.requires_action",
    "payment_intent.payment_failed",
    "checkout.session.completed",
    "checkout.session.async_payment_succeeded",
    "checkout.session.async_payment_failed",
    "checkout.session.expired",
    "refund.created",
    "refund.updated",
    "refund.failed",
    "charge.refund.updated",
    "charge.refunded",
    "charge.dispute.created",
    "charge.dispute.updated",
    "charge.dispute.funds_withdrawn",
    "charge.dispute.funds_reinstated",
    "charge.dispute.closed",
];

#[derive(Default)]
pub(crate) struct Post {
    /// The first step in which each event was delivered.
    pub(crate) delivered: BTreeMap<String, usize>,
    /// Events that the webhook never brought.
    pub(crate) lost: Vec<Value>,
    /// Of these, events that no list shows either.
    pub(crate) never_made: bool,
    pub(crate) log: Vec<String>,
    refused: Vec<Value>,
}

impl Post {
    /// Delivers new events, in a case whose events arrive in order.
    pub(crate) async fn as_it_happens(&mut self, life: &Life) -> Result<(), Fault> {
        if !in_order(life) {
            return Ok(());
        }
        for event in events(life).await {
            if !self.delivered.contains_key(text(&event, "id")) {
                self.deliver(life, event).await?;
            }
        }
        Ok(())
    }

    /// Delivers the other events after all has happened, until none is refused.
    pub(crate) async fn at_the_end(&mut self, life: &Life) -> Result<(), Fault> {
        let case = &life.case;
        if case.delivery() == Delivery::Aged {
            life.sandbox.pass_time(Duration::from_secs(2 * 60 * 60));
        }
        // Stripe books what it books late.
        life.sandbox.pass_time(BOOKED_AFTER);
        if case.choose("back first", 3) == 0 {
            life.comes_back().await?;
        }
        let mut all = events(life).await;
        all.retain(|event| !self.delivered.contains_key(text(event, "id")));
        let telling: Vec<usize> = (0..all.len()).filter(|at| tells(life, &all[*at])).collect();
        let four = four_of(case, telling);
        match case.delivery() {
            Delivery::InOrder | Delivery::Aged => {}
            Delivery::Permuted(order) => {
                let order = order.into_iter().filter(|place| *place < four.len());
                let moved: Vec<Value> = order.map(|place| all[four[place]].clone()).collect();
                for (at, event) in four.iter().zip(moved) {
                    all[*at] = event;
                }
            }
            Delivery::Lost(lost) => {
                let places = (0..4).filter(|place| lost >> place & 1 == 1);
                let mut at: Vec<usize> = match four.len() {
                    0 => Vec::new(),
                    some => places.map(|place| four[place % some]).collect(),
                };
                at.sort_unstable();
                at.dedup();
                for at in at.into_iter().rev() {
                    self.lost.push(all.remove(at));
                }
            }
            Delivery::AllLost => self.lost.append(&mut all),
        }
        self.hide_some(life);
        for event in all {
            self.deliver(life, event).await?;
        }
        self.until_quiet(life).await?;
        if case.is_lossy() {
            if case.choose("back last", 2) == 0 {
                life.comes_back().await?;
            }
            if case.choose("failing run", 3) == 0 {
                // A run that finds the half only, or nothing.
                let path = ["/v1/payment_intents", "/v1/checkout/sessions", "/v1/events"];
                let path = path[case.choose("failing path", path.len())];
                life.stripe.fail([(path.to_owned(), 500)]);
                life.shop.next_step();
                let run = life.checkout().reconcile().once().await;
                self.log.push(format!("reconcile without {path}: {run:?}"));
                life.stripe.fail([]);
                // The pause of an event that could not be looked up ends.
                let pending = EventFilter::default().state(EventState::Pending);
                for event in life.checkout().events(pending).await.unwrap() {
                    let again = life.checkout().replay(&event).await;
                    self.log.push(format!("again {}: {again:?}", event.id));
                }
            }
            for _ in 0..2 {
                life.shop.next_step();
                let run = life.checkout().reconcile().once().await;
                let run = run.map_err(|error| format!("not reconciled ({error})"))?;
                self.log.push(format!("reconcile: {run:?}"));
                self.until_quiet(life).await?;
            }
        }
        match self.refused.first() {
            Some(event) => Err(format!("{} is refused for ever", text(event, "type"))),
            None => Ok(()),
        }
    }

    /// Rarely Stripe fails to make an event. Only those of which another object tells: after a
    /// decline on the own page, the buyer tries again, and the PaymentIntent waits as before.
    fn hide_some(&mut self, life: &Life) {
        if life.case.choose("never made", 2) == 1 {
            return;
        }
        for event in &self.lost {
            let of = text(event, "type");
            if of == "payment_intent.payment_failed" && life.session.is_none() {
                continue;
            }
            if of.starts_with("payment_intent.") || of.starts_with("checkout.session.") {
                life.stripe.hide(text(event, "id"));
                self.never_made = true;
            }
        }
    }

    async fn deliver(&mut self, life: &Life, event: Value) -> Result<(), Fault> {
        let id = text(&event, "id").to_owned();
        let step = life.shop.next_step();
        let copies = match life.case.choose(&format!("copies of {step}"), 6) {
            0 => 2,
            1 => 3,
            _ => 1,
        };
        let config = life.sandbox.config();
        let mut answers = Vec::new();
        for _ in 0..copies {
            answers.push(send(life.checkout(), &config, &event).await);
        }
        if copies == 3 {
            let send = || send(life.checkout(), &config, &event);
            let (one, other) = tokio::join!(send(), send());
            answers.extend([one, other]);
        }
        self.log
            .push(format!("{step}: {} {id} {answers:?}", text(&event, "type")));
        self.delivered.entry(id).or_insert(step);
        if life.queues() && (in_order(life) || life.case.choose("worker", 2) == 0) {
            self.work(life).await?;
        }
        match answers.iter().all(|status| *status == 200) {
            true => Ok(()),
            false
                if answers
                    .iter()
                    .any(|status| !matches!(status, 200 | 500 | 503)) =>
            {
                Err(format!(
                    "{} is answered otherwise ({answers:?})",
                    text(&event, "type")
                ))
            }
            false => {
                self.refused.push(event);
                Ok(())
            }
        }
    }

    /// The worker runs all that is due.
    async fn work(&mut self, life: &Life) -> Result<(), Fault> {
        for _ in 0..MOST {
            match life.checkout().run_due().await {
                Ok(true) => {}
                Ok(false) => return Ok(()),
                Err(error) => return Err(format!("the worker fails ({error})")),
            }
        }
        Err("the worker never ends".to_owned())
    }

    async fn until_quiet(&mut self, life: &Life) -> Result<(), Fault> {
        for _ in 0..ROUNDS {
            if life.queues() {
                life.shop.next_step();
                self.work(life).await?;
            }
            for event in std::mem::take(&mut self.refused) {
                self.deliver(life, event).await?;
            }
        }
        Ok(())
    }
}

/// The events that Stripe has made so far, of all accounts.
pub(crate) async fn events(life: &Life) -> Vec<Value> {
    let mut all = Vec::new();
    for account in life.accounts() {
        all.extend(life.stripe.list("/events", account).await);
    }
    all
}

fn tells(life: &Life, event: &Value) -> bool {
    let object = &event["data"]["object"];
    let is = |of: &Option<String>, id: &str| of.as_deref() == Some(id);
    TELLING.contains(&text(event, "type"))
        && (is(&life.intent, text(object, "id"))
            || is(&life.session, text(object, "id"))
            || is(&life.intent, text(object, "payment_intent")))
}

fn in_order(life: &Life) -> bool {
    life.case.delivery() == Delivery::InOrder
}

/// Four of these, in their order, or all where there are fewer.
fn four_of(case: &Case, mut places: Vec<usize>) -> Vec<usize> {
    while places.len() > 4 {
        let at = case.choose(&format!("four of {}", places.len()), places.len());
        places.remove(at);
    }
    places
}

async fn send(checkout: &Checkout, config: &Config, event: &Value) -> u16 {
    let body = event.to_string().into_bytes();
    let header = sign(&body, &config.webhook_secrets()[0], now());
    let only = checkout.only(Group::Webhook);
    let webhook = &only.endpoints()[0];
    let call = Call::new(webhook)
        .header(Checkout::SIGNATURE_HEADER, header.as_bytes())
        .body(Body::whole(&body, webhook.body_limit()));
    only.handle(call).await.status()
}
