//! Checks of the inbox's promises against its visible state, independent of the model.

use std::collections::BTreeMap;

use stripe_checkout_core::fulfillment::{
    EventFilter, EventRecord, EventState, FulfillmentStatus, Inbox, InboxExt as _, IntentRecord,
    OrderKey, PaymentRecord, Stats,
};

use crate::model::{Event, Order, Pay, TAKES_BACK, is_over};
use crate::shop::Stage;
use crate::stores::Store;

/// The visible state.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen {
    pub(crate) events: BTreeMap<Event, EventRecord>,
    pub(crate) payments: BTreeMap<Pay, PaymentRecord>,
    pub(crate) orders: BTreeMap<Order, IntentRecord>,
    pub(crate) lines: Vec<String>,
    pub(crate) stats: Stats,
}

impl Seen {
    pub(crate) async fn by<S: Store>(stage: &Stage<S>, inbox: &S::Inbox) -> Self {
        let scope = stage.scope();
        let mut filter = EventFilter::default().limit(10_000);
        filter.scope = Some(scope.clone());
        let events = inbox.events(&filter).await.unwrap();
        let events = events
            .into_iter()
            .map(|record| (stage.event(&record.id), record));
        let mut seen = Self {
            events: events.collect(),
            lines: stage.store.lines().await,
            stats: inbox.stats(&scope).await.unwrap(),
            ..Self::default()
        };
        for pay in Pay::ALL {
            if let Some(record) = inbox.payment(&scope, &pay.id()).await.unwrap() {
                seen.payments.insert(pay, record);
            }
        }
        for order in Order::ALL {
            let key = OrderKey {
                scope: scope.clone(),
                account: order.account().map(str::to_owned),
                reference: order.reference().to_owned(),
            };
            if let Some(record) = inbox.intent(&key).await.unwrap() {
                seen.orders.insert(order, record);
            }
        }
        seen
    }

    pub(crate) fn success(&self, pay: Pay) -> FulfillmentStatus {
        self.payments
            .get(&pay)
            .map(|payment| payment.success)
            .unwrap_or_default()
    }

    /// Counts the hooks that completed this event. A mismatch does not count.
    fn done(&self, event: Event) -> usize {
        let of = format!("{} ", event.id());
        let lines = self.lines.iter().filter(|line| line.starts_with(&of));
        lines.filter(|line| !line.contains(" mismatch ")).count()
    }

    /// Returns the hooks of a payment, in order.
    pub(crate) fn hooks(&self, pay: Pay) -> impl Iterator<Item = &str> {
        self.lines.iter().filter_map(move |line| {
            let mut words = line.split(' ').skip(1);
            let (hook, of) = (words.next()?, words.next()?);
            (of == pay.id()).then_some(hook)
        })
    }
}

/// How often each event was done before the inbox pruned it. The same id may arrive again as a new
/// event, for example if the record of its payment is kept.
pub(crate) type Lives = BTreeMap<Event, usize>;

const ENDS: [&str; 4] = [
    "payment_succeeded",
    "free_order",
    "duplicate_payment",
    "refunded_before_fulfillment",
];
const EARLIER: [&str; 4] = [
    "payment_processing",
    "payment_failed",
    "requires_action",
    "requires_capture",
];

/// Checks the promises that hold at any time.
pub(crate) fn kept(seen: &Seen, lives: &Lives, max: u32) -> Result<(), String> {
    for (event, record) in &seen.events {
        let id = event.id();
        let state = record.state;
        let done = seen.done(*event) - lives.get(event).copied().unwrap_or_default();
        let expected = usize::from(state == EventState::Done);
        check(done == expected, || {
            format!("1, one event, one effect: {id} is {state:?}, and did its work {done} times")
        })?;
        check(record.attempts <= max, || {
            format!(
                "5, after the last attempt a dead letter: {id} had {}",
                record.attempts
            )
        })?;
        check(
            state != EventState::Dead || (record.attempts == max && record.last_error.is_some()),
            || format!("5, dead after the last attempt, and known why: {record:?}"),
        )?;
        let over = is_over(state) || state == EventState::Discarded;
        check(over == record.body.is_empty(), || {
            format!("what may run again keeps its body, and nothing else does: {record:?}")
        })?;
    }
    for pay in Pay::ALL {
        let count = |names: &[&str]| seen.hooks(pay).filter(|hook| names.contains(hook)).count();
        let ends = count(&ENDS);
        check(ends <= 1, || {
            format!("2, one payment, one success: {} had {ends}", pay.id())
        })?;
        let canceled = count(&["payment_canceled"]);
        check(canceled <= 1, || {
            format!("2, canceled once: {} was {canceled} times", pay.id())
        })?;
        let hooks: Vec<_> = seen.hooks(pay).collect();
        let end = hooks
            .iter()
            .position(|hook| ENDS.contains(hook) || *hook == "payment_canceled");
        let late = end.map(|end| &hooks[end..]).unwrap_or_default();
        check(!late.iter().any(|hook| EARLIER.contains(hook)), || {
            format!("3, no going back: {hooks:?} of {}", pay.id())
        })?;
        let settled = match hooks.iter().find(|hook| ENDS.contains(hook)) {
            Some(&"payment_succeeded" | &"free_order") => Some(FulfillmentStatus::Fulfilled),
            Some(&"duplicate_payment") => Some(FulfillmentStatus::Duplicate),
            Some(_) => Some(FulfillmentStatus::Refunded),
            None => None,
        };
        check(
            settled.is_none_or(|settled| settled == seen.success(pay)),
            || {
                let success = seen.success(pay);
                format!(
                    "7, the mark of a success stays: {} is {success:?} after {hooks:?}",
                    pay.id()
                )
            },
        )?;
    }
    for order in Order::ALL {
        let paid = Pay::ALL
            .into_iter()
            .filter(|pay| pay.order() == Some(order));
        let delivered = ["payment_succeeded", "free_order"];
        let paid = paid.filter(|pay| seen.hooks(*pay).any(|hook| delivered.contains(&hook)));
        let paid = paid.count();
        check(paid <= 1, || {
            format!("2, one order, one payment: {order:?} was fulfilled {paid} times")
        })?;
    }
    Ok(())
}

/// Checks the promises that hold between an earlier and a later state. `gone_back` returns whether
/// all of a payment was known to be refunded before.
pub(crate) fn kept_since(
    before: &Seen,
    after: &Seen,
    forgotten: bool,
    gone_back: impl Fn(Pay) -> bool,
) -> Result<(), String> {
    check(after.lines.starts_with(&before.lines), || {
        format!(
            "1, what was done stays done: {:?} after {:?}",
            after.lines, before.lines
        )
    })?;
    for (event, record) in &before.events {
        let id = event.id();
        let state = after.events.get(event).map(|record| record.state);
        match state {
            None => check(forgotten && is_over(record.state), || {
                format!(
                    "7, only what is over is forgotten: {id} was {:?}",
                    record.state
                )
            })?,
            Some(state) => check(
                record.state == state
                    || !(is_over(record.state) || record.state == EventState::Discarded),
                || {
                    format!(
                        "what is over stays so: {id} was {:?}, is {state:?}",
                        record.state
                    )
                },
            )?,
        }
    }
    for pay in Pay::ALL {
        let (was, is) = (before.success(pay), after.success(pay));
        let for_good = matches!(
            was,
            FulfillmentStatus::Fulfilled
                | FulfillmentStatus::Duplicate
                | FulfillmentStatus::Refunded
                | FulfillmentStatus::GivenUp
        );
        check(!for_good || was == is, || {
            format!(
                "7, marks are kept for good: {} was {was:?}, is {is:?}",
                pay.id()
            )
        })?;
        let new = after.hooks(pay).skip(before.hooks(pay).count());
        let new: Vec<_> = new.collect();
        check(
            !new.contains(&"payment_succeeded") || !gone_back(pay),
            || format!("3, what went back is not delivered: {} was", pay.id()),
        )?;
        let takes_back = new.iter().any(|hook| TAKES_BACK.contains(hook));
        check(!takes_back || is != FulfillmentStatus::Pending, || {
            format!(
                "3, no overtaking: {new:?} of {} before its success",
                pay.id()
            )
        })?;
    }
    Ok(())
}

fn check(right: bool, what: impl FnOnce() -> String) -> Result<(), String> {
    match right {
        true => Ok(()),
        false => Err(what()),
    }
}
