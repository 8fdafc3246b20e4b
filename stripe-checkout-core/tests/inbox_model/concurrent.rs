//! Several processes receive a few events at once, with workers beside them, hooks that fail, and
//! processes that die. The order is unpredictable, so the test checks the end state, after Stripe
//! has delivered every unacknowledged event again.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use proptest::sample::select;
use stripe_checkout_core::fulfillment::{EventState, Received};
use stripe_checkout_core::{Checkout, InboxError};
use tokio::task::JoinSet;

use crate::model::{Behave, Event, Moment, Order, Pay, TAKES_BACK, What, is_over};
use crate::promises::{Lives, Seen, kept};
use crate::shop::{Process, Stage, body};
use crate::stores::{self, Store};
use crate::{config, runtime};

/// The time limit until all is over: far longer than it takes.
const SOON: Duration = Duration::from_secs(60);

#[derive(Debug, Clone)]
struct Storm {
    /// The events, and how their first attempts go.
    events: BTreeMap<Event, Vec<Behave>>,
    deliveries: Vec<Delivery>,
    /// The processes whose workers run beside the deliveries.
    works: Vec<usize>,
}

#[derive(Clone)]
struct Delivery {
    event: Event,
    process: usize,
    queued: bool,
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let queued = if self.queued { ", queued" } else { "" };
        write!(f, "{:?} to {}{queued}", self.event, self.process)
    }
}

/// The number of processes.
const PROCESSES: usize = 3;

/// Two attempts may fail: the third is the last, and succeeds.
fn attempts(with_death: bool) -> impl Strategy<Value = Vec<Behave>> {
    let dies = select(vec![Moment::Taken, Moment::InHook, Moment::Ran]);
    let dies = dies.prop_map(|when| Behave::Die { when, leased: true });
    let goes_wrong = prop_oneof![
        3 => Just(Behave::Well),
        3 => Just(Behave::Fail),
        1 => Just(Behave::FailForLong),
        1 => Just(Behave::Panic),
        u32::from(with_death) => dies,
    ];
    prop::collection::vec(goes_wrong, 0..3)
}

fn event() -> impl Strategy<Value = Event> {
    let pay = prop_oneof![3 => Just(Pay::A), 2 => Just(Pay::B), 1 => Just(Pay::C)];
    // The refund of a payment of long ago does not wait, so it may overtake its success.
    let what: Vec<_> = What::about(Pay::A)
        .filter(|what| *what != What::LongAgoRefunded)
        .collect();
    let what = prop_oneof![4 => Just(What::Succeeded), 5 => select(what)];
    (what, pay, 0..2_u8).prop_map(|(what, pay, copy)| Event { what, pay, copy })
}

fn storm() -> impl Strategy<Value = Storm> {
    let events = prop::bool::weighted(0.2).prop_flat_map(|with_death| {
        prop::collection::btree_map(event(), attempts(with_death), 1..7)
    });
    let works = prop::collection::vec(0..PROCESSES, 0..4);
    (events, works).prop_flat_map(|(events, works)| {
        let known: Vec<_> = events.keys().copied().collect();
        let delivery = (select(known), 0..PROCESSES, prop::bool::weighted(0.25));
        let delivery = delivery.prop_map(|(event, process, queued)| Delivery {
            event,
            process,
            queued,
        });
        let deliveries = prop::collection::vec(delivery, 1..20);
        deliveries.prop_map(move |deliveries| Storm {
            events: events.clone(),
            deliveries,
            works: works.clone(),
        })
    })
}

impl Storm {
    fn is_deadly(&self) -> bool {
        let mut attempts = self.events.values().flatten();
        attempts.any(|behave| matches!(behave, Behave::Die { .. }))
    }

    /// The limit of attempts. An attempt counts even if another event's attempt kills the process.
    /// So with deaths the number of attempts is unknown.
    fn max_attempts(&self) -> u32 {
        if self.is_deadly() { 100 } else { 3 }
    }
}

/// A process, and its two ways to receive events.
struct Running<S: Store> {
    process: Process<S>,
    inline: Checkout,
    queued: Checkout,
}

impl<S: Store> Running<S> {
    async fn start(stage: &Arc<Stage<S>>, storm: &Storm) -> Self {
        let process = stage.start().await;
        let max = storm.max_attempts();
        Self {
            inline: process.checkout(false, max),
            queued: process.checkout(true, max),
            process,
        }
    }
}

type Answers = Vec<(Event, Result<Received, InboxError>)>;

async fn rages<S: Store>(storm: &Storm) {
    let Some(store) = S::fresh().await else {
        return;
    };
    let stage = Stage::new(store);
    stage.attempts(
        storm
            .events
            .iter()
            .map(|(event, attempts)| (event.id(), attempts.iter().copied().collect()))
            .collect::<HashMap<_, _>>(),
    );
    if storm.is_deadly() {
        // Other processes can soon claim the events of a dead process.
        stage.terms(Duration::from_millis(400), Duration::from_millis(500));
    }
    let mut running = Vec::new();
    for _ in 0..PROCESSES {
        running.push(Running::start(&stage, storm).await);
    }
    let mut answers = all_at_once(storm, &running).await;
    for process in &running {
        process.inline.drain().await;
        process.queued.drain().await;
    }
    let before = Instant::now();
    let mut current = running.pop().unwrap();
    let seen = loop {
        if current.process.is_dead() {
            current = Running::start(&stage, storm).await;
        }
        let seen = Seen::by(&stage, current.process.inbox()).await;
        let left = to_be_delivered_again(storm, &seen);
        if left.is_empty() {
            break seen;
        }
        assert!(
            before.elapsed() < SOON,
            "it does not come to its end: {left:?} of {storm:#?}\n{:#?}",
            seen.lines
        );
        for event in left {
            let received = current.inline.receive(body(event)).await;
            answers.push((event, received));
        }
    };
    if let Err(wrong) = is_well(storm, &stage, &seen, &answers) {
        panic!("{wrong}\nof {storm:#?}\n{:#?}", seen.lines);
    }
}

async fn all_at_once<S: Store>(storm: &Storm, running: &[Running<S>]) -> Answers {
    let mut tasks = JoinSet::new();
    for delivery in &storm.deliveries {
        let event = delivery.event;
        let process = &running[delivery.process];
        let checkout = match delivery.queued {
            true => process.queued.clone(),
            false => process.inline.clone(),
        };
        tasks.spawn(async move {
            let received = checkout.receive(body(event)).await;
            Some((event, received))
        });
    }
    for process in &storm.works {
        let checkout = running[*process].inline.clone();
        tasks.spawn(async move {
            for _ in 0..5 {
                // If the database is busy, the worker looks again later.
                let _ = checkout.run_due().await;
            }
            None
        });
    }
    let mut answers = Vec::new();
    while let Some(done) = tasks.join_next().await {
        answers.extend(done.unwrap());
    }
    answers
}

/// Returns the events that Stripe delivers again: never delivered, or not over. Exception: a refund
/// or dispute that waits for a success that never comes.
fn to_be_delivered_again(storm: &Storm, seen: &Seen) -> Vec<Event> {
    let state = |event: &Event| seen.events.get(event).map(|record| record.state);
    let left = storm.events.keys().filter(|event| {
        let waits = state(event) == Some(EventState::Pending)
            && event.what.is_noted()
            && event.what != What::AllRefunded;
        let hopeless = !has_success(storm, event.pay);
        let over = state(event).is_some_and(is_over);
        !(over || waits && hopeless)
    });
    left.copied().collect()
}

fn has_success(storm: &Storm, pay: Pay) -> bool {
    let mut events = storm.events.keys();
    events.any(|event| event.what == What::Succeeded && event.pay == pay)
}

fn is_well<S: Store>(
    storm: &Storm,
    stage: &Stage<S>,
    seen: &Seen,
    answers: &Answers,
) -> Result<(), String> {
    kept(seen, &Lives::new(), storm.max_attempts())?;
    let complaints = stage.complaints();
    check(complaints.is_empty(), || format!("{complaints:?}"))?;
    for (event, record) in &seen.events {
        let attempted = stage.attempted(*event);
        // If processes die, some die between the two counts.
        let right = storm.is_deadly() || i64::from(record.attempts) == attempted;
        check(right, || {
            format!("5, attempts are counted: {attempted} of {record:?}")
        })?;
    }
    for (event, answer) in answers {
        if let Ok(Received::Done(told) | Received::Duplicate(told)) = answer {
            let state = seen.events.get(event).map(|record| record.state);
            check(state == Some(*told), || {
                format!("4, acknowledged is done: {event:?} was {told:?}, is {state:?}")
            })?;
        }
    }
    for pay in Pay::ALL {
        let hooks: Vec<_> = seen.hooks(pay).collect();
        let end = hooks.iter().position(|hook| is_end(hook));
        check(end.is_some() == has_success(storm, pay), || {
            format!("1, nothing is lost: {pay:?} had {hooks:?}")
        })?;
        let back = hooks.iter().position(|hook| TAKES_BACK.contains(hook));
        check(
            back.is_none_or(|back| end.is_some_and(|end| end < back)),
            || format!("3, no overtaking: {pay:?} had {hooks:?}"),
        )?;
    }
    for order in Order::ALL {
        let pays = Pay::ALL
            .into_iter()
            .filter(|pay| pay.order() == Some(order));
        let paid = pays.clone().any(|pay| has_success(storm, pay));
        let dealt_with = pays.flat_map(|pay| seen.hooks(pay));
        let dealt_with = dealt_with.filter(|hook| is_end(hook) && *hook != "duplicate_payment");
        let dealt_with = dealt_with.count();
        check(dealt_with == usize::from(paid), || {
            format!("2, one order, one payment: {order:?} was paid {dealt_with} times")
        })?;
    }
    Ok(())
}

fn is_end(hook: &str) -> bool {
    [
        "payment_succeeded",
        "duplicate_payment",
        "refunded_before_fulfillment",
    ]
    .contains(&hook)
}

fn check(right: bool, what: impl FnOnce() -> String) -> Result<(), String> {
    match right {
        true => Ok(()),
        false => Err(what()),
    }
}

proptest! {
    #![proptest_config(config(64))]
    #[test]
    fn memory_comes_to_a_good_end(storm in storm()) {
        runtime().block_on(rages::<stores::Memory>(&storm));
    }
}

#[cfg(feature = "sqlite")]
proptest! {
    #![proptest_config(config(16))]
    #[test]
    fn sqlite_comes_to_a_good_end(storm in storm()) {
        runtime().block_on(rages::<stores::Sqlite>(&storm));
    }
}

#[cfg(feature = "postgres")]
proptest! {
    #![proptest_config(config(12))]
    #[test]
    fn postgres_comes_to_a_good_end(storm in storm()) {
        runtime().block_on(rages::<stores::Postgres>(&storm));
    }
}
