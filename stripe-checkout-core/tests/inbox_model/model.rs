//! The promises of the inbox as a small, readable state machine: no database, no clock, no locks.
//!
//! The model follows the promises and the documentation of the trait, not the code of the inboxes.
//! It says nothing about how an inbox stores its data.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use stripe_checkout_core::fulfillment::{EventState, FulfillmentStatus};

/// The number of attempts after which an event is a dead letter: small, so that dead letters occur.
pub(crate) const MAX: u32 = 2;
/// The amount of each payment, in minor units.
pub(crate) const WHOLE: u64 = 1000;
/// The hooks that receive refunds and disputes.
pub(crate) const TAKES_BACK: [&str; 6] = [
    "refund_pending",
    "refund_succeeded",
    "refund_failed",
    "dispute_created",
    "dispute_updated",
    "dispute_closed",
];

/// The amounts of the two refunds, in minor units. Together they refund the whole payment.
pub(crate) const PART: u64 = 300;
pub(crate) const REST: u64 = 700;

/// The payments. The first two are PaymentIntents of one order, and `D` belongs to no order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Pay {
    A,
    B,
    C,
    D,
    /// A PaymentIntent in a Checkout Session.
    S,
    /// Another Checkout Session of the same order, with nothing to pay: the session is the payment.
    F,
    /// A PaymentIntent in a third Checkout Session of that order: the buyer has two pages open.
    T,
    /// A PaymentIntent on a connected account, of an order with the reference of the first one.
    K,
}

/// The connected account.
pub(crate) const ACCOUNT: &str = "acct_1";

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Order {
    Tea,
    Cake,
    /// Buyers pay for it on Stripe's page.
    Pie,
    /// The same reference as tea, on a connected account: it is another order.
    TheirTea,
}

impl Pay {
    pub(crate) const ALL: [Self; 8] = [
        Self::A,
        Self::B,
        Self::C,
        Self::D,
        Self::S,
        Self::F,
        Self::T,
        Self::K,
    ];

    pub(crate) fn id(self) -> String {
        match self {
            Self::F => self.shown(),
            _ => format!("pi_{self:?}"),
        }
    }

    /// Returns the id that the order's page shows: the session's, if there is one.
    pub(crate) fn shown(self) -> String {
        match self.attempt() {
            Some(_) => format!("cs_{self:?}"),
            None => self.id(),
        }
    }

    /// Returns which attempt of its order the session is.
    pub(crate) fn attempt(self) -> Option<u32> {
        match self {
            Self::S => Some(1),
            Self::F => Some(2),
            Self::T => Some(3),
            _ => None,
        }
    }

    /// Returns the connected account of the payment.
    pub(crate) fn account(self) -> Option<&'static str> {
        self.order().and_then(Order::account)
    }

    /// Whether it is a PaymentIntent in a Checkout Session.
    pub(crate) fn is_in_session(self) -> bool {
        matches!(self, Self::S | Self::T)
    }

    pub(crate) fn order(self) -> Option<Order> {
        match self {
            Self::A | Self::B => Some(Order::Tea),
            Self::C => Some(Order::Cake),
            Self::S | Self::F | Self::T => Some(Order::Pie),
            Self::K => Some(Order::TheirTea),
            Self::D => None,
        }
    }
}

impl Order {
    pub(crate) const ALL: [Self; 4] = [Self::Tea, Self::Cake, Self::Pie, Self::TheirTea];

    pub(crate) fn reference(self) -> &'static str {
        match self {
            Self::Tea | Self::TheirTea => "tea",
            Self::Cake => "cake",
            Self::Pie => "pie",
        }
    }

    pub(crate) fn account(self) -> Option<&'static str> {
        (self == Self::TheirTea).then_some(ACCOUNT)
    }
}

/// The kinds of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum What {
    Succeeded,
    Processing,
    Failed,
    RequiresAction,
    Capturable,
    /// The authorisation has grown.
    CapturableMore,
    Canceled,
    /// Two refunds, which together refund the whole payment. The second one is pending first, and
    /// may fail afterwards.
    PartRefunded,
    RestPending,
    RestRefunded,
    RestFailed,
    /// A refund of a payment that was paid before this inbox existed.
    LongAgoRefunded,
    /// The charge reports that all of it was refunded.
    AllRefunded,
    DisputeOpened,
    /// A change of the dispute, which may be any change.
    DisputeUpdated,
    FundsWithdrawn,
    /// As Stripe reports it for a dispute that is won.
    FundsReinstated,
    DisputeWon,
    DisputeLost,
    /// An event about no payment.
    Unrelated,
    /// The events of a Checkout Session: the buyer has paid, or the money is on its way. Then it
    /// arrived, or it did not.
    SessionPaid,
    SessionUnpaid,
    SessionArrived,
    SessionFailed,
    SessionExpired,
    /// There was nothing to pay.
    SessionFree,
}

impl What {
    pub(crate) const ALL: [Self; 26] = [
        Self::Succeeded,
        Self::Processing,
        Self::Failed,
        Self::RequiresAction,
        Self::Capturable,
        Self::CapturableMore,
        Self::Canceled,
        Self::PartRefunded,
        Self::RestPending,
        Self::RestRefunded,
        Self::RestFailed,
        Self::LongAgoRefunded,
        Self::AllRefunded,
        Self::DisputeOpened,
        Self::DisputeUpdated,
        Self::FundsWithdrawn,
        Self::FundsReinstated,
        Self::DisputeWon,
        Self::DisputeLost,
        Self::Unrelated,
        Self::SessionPaid,
        Self::SessionUnpaid,
        Self::SessionArrived,
        Self::SessionFailed,
        Self::SessionExpired,
        Self::SessionFree,
    ];

    fn is_of_session(self) -> bool {
        matches!(
            self,
            Self::SessionPaid
                | Self::SessionUnpaid
                | Self::SessionArrived
                | Self::SessionFailed
                | Self::SessionExpired
                | Self::SessionFree
        )
    }

    /// Returns the kinds of events that Stripe may send about a payment.
    pub(crate) fn about(pay: Pay) -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(move |what| match pay {
            Pay::S | Pay::T => *what != Self::SessionFree,
            Pay::F => matches!(what, Self::SessionFree | Self::SessionExpired),
            _ => !what.is_of_session(),
        })
    }

    /// Whether the event's content counts before the event's turn comes.
    pub(crate) fn is_noted(self) -> bool {
        matches!(
            self,
            Self::PartRefunded
                | Self::RestPending
                | Self::RestRefunded
                | Self::RestFailed
                | Self::LongAgoRefunded
                | Self::AllRefunded
        ) || self.is_of_dispute()
    }

    /// Returns the refund, dispute or money that several kinds of events share. The money is
    /// authorised or on its way.
    pub(crate) fn subject(self) -> Option<&'static str> {
        match self {
            Self::RestPending | Self::RestRefunded | Self::RestFailed => Some("rest"),
            Self::Capturable | Self::CapturableMore | Self::Succeeded => Some("authorised"),
            Self::SessionUnpaid | Self::SessionFailed | Self::Failed => Some("on its way"),
            what => what.is_of_dispute().then_some("dispute"),
        }
    }

    fn is_of_dispute(self) -> bool {
        matches!(
            self,
            Self::DisputeOpened
                | Self::DisputeUpdated
                | Self::FundsWithdrawn
                | Self::FundsReinstated
                | Self::DisputeWon
                | Self::DisputeLost
        )
    }
}

/// An event object. Stripe makes several for one occurrence, and delivers each of them any number
/// of times.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Event {
    pub(crate) what: What,
    pub(crate) pay: Pay,
    pub(crate) copy: u8,
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.id())
    }
}

impl Event {
    pub(crate) fn id(self) -> String {
        format!("evt_{:?}_{:?}_{}", self.what, self.pay, self.copy)
    }

    /// Returns the event's payment.
    pub(crate) fn payment(self) -> Option<Pay> {
        (self.what != What::Unrelated).then_some(self.pay)
    }

    /// Whether it is the success that refunds wait for.
    pub(crate) fn settles(self) -> bool {
        match self.what {
            What::Succeeded => !self.is_inside() || self.is_manual(),
            What::SessionPaid | What::SessionArrived | What::SessionFree => true,
            _ => false,
        }
    }

    /// Whether this event object says that the money was authorised before its capture.
    pub(crate) fn is_manual(self) -> bool {
        self.pay == Pay::S && self.copy == 0
    }

    /// Whether the event is a PaymentIntent's whose Checkout Session reports the payment's status.
    fn is_inside(self) -> bool {
        self.pay.is_in_session() && !self.what.is_of_session() && !self.what.is_noted()
    }
}

/// How a step goes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Behave {
    Well,
    /// The hook fails, and the pause is over at once.
    Fail,
    /// The hook fails, and the pause is long.
    FailForLong,
    Panic,
    Die {
        when: Moment,
        /// Whether the lease lasts, so that no other process may claim the event. Otherwise the
        /// lease ends at once.
        leased: bool,
    },
    /// The process dies when its work has had to wait this number of times. The test does not know
    /// where that is, but it is one of the moments.
    DieSomewhere(u8),
}

/// When a process dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    /// The process stored the event, if it was new.
    Stored,
    /// The step was requested, and nothing of it was done.
    Asked,
    /// The process counted the attempt, and decided nothing.
    Taken,
    /// The hook wrote, and has not ended.
    InHook,
    /// The hook ended, and the process committed nothing.
    Ran,
    /// The process committed everything, and answered no caller.
    Committed,
}

impl Behave {
    fn dies(self, at: Moment) -> bool {
        matches!(self, Self::Die { when, .. } if when == at)
    }
}

/// How the step of the requested event goes, and how the steps of the events go that waited for it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Script {
    pub(crate) this: Behave,
    pub(crate) others: Behave,
}

/// The way by which an event arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Door {
    /// The webhook, which runs the event on the spot.
    Inline,
    /// The webhook of an application that queues.
    Queued,
    /// The reload of a page: it runs an event that is due, and nothing else.
    Page,
}

/// A single step of a sequence.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Happening {
    Deliver {
        event: Event,
        door: Door,
        script: Script,
    },
    /// A worker runs an event that is due.
    Work {
        script: Script,
    },
    Replay {
        event: Event,
        script: Script,
    },
    Discard {
        event: Event,
        others: Behave,
    },
    /// The inbox prunes finished events, about `most` of them.
    Prune {
        most: usize,
    },
    /// The merchant changes the price of an order: to the amount of its payments, or to another
    /// one.
    Price {
        order: Order,
        right: bool,
    },
    /// The buyer opens the page: the order gets this PaymentIntent.
    Ask {
        pay: Pay,
    },
}

impl Happening {
    /// Returns how the requested step goes.
    pub(crate) fn behave(&self) -> Option<Behave> {
        match self {
            Self::Deliver { script, .. } | Self::Work { script } | Self::Replay { script, .. } => {
                Some(script.this)
            }
            _ => None,
        }
    }

    /// Returns the same happening with this behaviour of the requested step.
    pub(crate) fn with(&self, this: Behave) -> Self {
        let mut other = self.clone();
        if let Self::Deliver { script, .. } | Self::Work { script } | Self::Replay { script, .. } =
            &mut other
        {
            script.this = this;
        }
        other
    }

    /// Returns the same happening with this behaviour of the events that waited.
    fn with_others(&self, others: Behave) -> Self {
        let mut other = self.clone();
        if let Self::Deliver { script, .. } | Self::Work { script } | Self::Replay { script, .. } =
            &mut other
        {
            script.others = others;
        }
        other
    }
}

// One line each, so that a person can read the shortest sequence that fails.
impl fmt::Debug for Happening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Deliver {
                event,
                door,
                script,
            } => write!(f, "deliver {event:?} {door:?}, {script:?}"),
            Self::Work { script } => write!(f, "work, {script:?}"),
            Self::Replay { event, script } => write!(f, "replay {event:?}, {script:?}"),
            Self::Discard { event, others } => write!(f, "discard {event:?}, others {others:?}"),
            Self::Prune { most } => write!(f, "prune {most}"),
            Self::Price { order, right } => write!(f, "price of {order:?} is right: {right}"),
            Self::Ask { pay } => write!(f, "ask {pay:?}"),
        }
    }
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "this {:?}, others {:?}", self.this, self.others)
    }
}

impl fmt::Debug for Behave {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Well => f.write_str("well"),
            Self::Fail => f.write_str("fails"),
            Self::FailForLong => f.write_str("fails for long"),
            Self::Panic => f.write_str("panics"),
            Self::Die { when, leased } => {
                let lease = if *leased { " and is leased" } else { "" };
                write!(f, "dies when {when:?}{lease}")
            }
            Self::DieSomewhere(polls) => write!(f, "dies after {polls} waits"),
        }
    }
}

/// The answer to the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    Done(EventState),
    Duplicate(EventState),
    Failed,
    Queued,
    Waiting,
    /// Whether there was work.
    Worked(bool),
    /// The operator's request is not possible.
    Refused,
    /// The work is done, and the answer has no content.
    Quiet,
    /// The process died before it could answer.
    Died,
}

/// The model's record of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) state: EventState,
    pub(crate) attempts: u32,
    /// Since when the event is due. `None` means that it is not due for a long time.
    pub(crate) due: Option<u64>,
    /// The process died during the event, and other processes cannot know it yet.
    pub(crate) leased: bool,
    /// Whether the event has an error.
    pub(crate) erred: bool,
    arrived: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Payment {
    pub(crate) success: FulfillmentStatus,
    pub(crate) capturable: bool,
    pub(crate) canceled: bool,
    pub(crate) disputed: bool,
    /// The outcomes of its dispute that arrived. A closed dispute stays closed, even if other
    /// events arrive late.
    won: bool,
    lost: bool,
    pub(crate) part: u64,
    /// The refunded amount. `None` means that nothing is known about the refund.
    pub(crate) rest: Option<u64>,
    pub(crate) long_ago: u64,
    pub(crate) total: u64,
    /// The events that the handler received of its refunds, its dispute, its authorisation, and the
    /// failure of its session.
    told: BTreeSet<What>,
}

impl Payment {
    pub(crate) fn returned(&self) -> u64 {
        (self.part + self.rest.unwrap_or_default() + self.long_ago).max(self.total)
    }

    /// Whether the handler received this kind of event, or one that comes after it.
    fn was_told(&self, what: What) -> bool {
        let after: &[What] = match what {
            What::RestPending => &[What::RestRefunded, What::RestFailed],
            What::RestRefunded => &[What::RestFailed],
            What::DisputeOpened | What::DisputeUpdated => &[What::DisputeWon, What::DisputeLost],
            What::Capturable => &[What::CapturableMore],
            // Money moves at any time, also after the decision.
            _ => &[],
        };
        // Two updates may each report another change.
        let once = what != What::DisputeUpdated;
        (once && self.told.contains(&what)) || after.iter().any(|after| self.told.contains(after))
    }

    /// Whether its success has ended, in whichever way.
    fn ended(&self) -> bool {
        !matches!(
            self.success,
            FulfillmentStatus::No | FulfillmentStatus::Pending
        )
    }

    fn hear(&mut self, event: Event) {
        if event.settles() && self.success == FulfillmentStatus::No {
            self.success = FulfillmentStatus::Pending;
        }
        match event.what {
            What::PartRefunded => self.part = PART,
            // A refund that failed stays failed, even if other events arrive late.
            What::RestPending | What::RestRefunded => {
                self.rest = Some(self.rest.unwrap_or(REST));
            }
            What::RestFailed => self.rest = Some(0),
            What::LongAgoRefunded => self.long_ago = PART,
            What::AllRefunded => self.total = WHOLE,
            What::DisputeWon | What::FundsReinstated => self.won = true,
            What::DisputeLost => self.lost = true,
            _ => {}
        }
        if event.what.is_of_dispute() {
            self.disputed = self.lost || !self.won;
        }
    }
}

/// How far the order's present payment has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Stands {
    #[default]
    Open,
    Processing,
    Over,
    Paid,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct OrderBook {
    /// The order's present payment.
    pub(crate) present: Option<Pay>,
    /// Whether only its PaymentIntent is known, which does not name its session.
    pub(crate) by_intent: bool,
    pub(crate) stands: Stands,
    pub(crate) paid_by: Option<Pay>,
    /// Whether the order's price differs from the amount of its payments.
    pub(crate) repriced: bool,
}

#[derive(Clone, Default)]
pub(crate) struct Model {
    pub(crate) events: BTreeMap<Event, Known>,
    pub(crate) payments: BTreeMap<Pay, Payment>,
    pub(crate) orders: BTreeMap<Order, OrderBook>,
    /// The committed lines of the hooks, in order.
    pub(crate) effects: Vec<String>,
    clock: u64,
    /// Whether a step had to wait for a lease.
    waits: bool,
}

impl fmt::Debug for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (event, known) in &self.events {
            writeln!(f, "  {event:?}: {known:?}")?;
        }
        writeln!(f, "  {:?}\n  {:?}", self.payments, self.orders)?;
        write!(f, "  {:?}", self.effects)
    }
}

/// Whether a step runs its event now, or only if the event is due.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Which {
    Now,
    IfDue,
}

/// The result of a step.
enum Did {
    NotDue,
    Already(EventState),
    Now(EventState),
    Waits,
    Failed,
    Died,
}

/// The work that an event needs.
enum Todo {
    /// The event is superseded.
    Nothing,
    /// Another event comes first.
    Wait,
    Hook(&'static str),
}

impl Model {
    /// Whether a sequence may include this happening. It may not if the result depends on seconds:
    /// while a lease lasts, another process may be about to run the event, so a caller has to wait.
    pub(crate) fn allows(&self, happening: &Happening) -> bool {
        if let Happening::Ask { pay } = happening {
            return pay.order().is_some_and(|order| {
                let order = self.order(order);
                // Each session is made once, with its own attempt number.
                let next = |attempt| order.present.and_then(Pay::attempt) < Some(attempt);
                order.paid_by.is_none() && pay.attempt().is_none_or(next)
            });
        }
        // A connected account can send anything: its payments are ours only once we have asked for
        // them.
        if let Happening::Deliver { event, .. } = happening
            && event.pay.account().is_some()
            && event.pay.order().map(|order| self.order(order).present) != Some(Some(event.pay))
        {
            return false;
        }
        // A process that may die somewhere may also live.
        let lives = match happening.behave() {
            Some(Behave::DieSomewhere(_)) => Some(happening.with(Behave::Well)),
            _ => None,
        };
        [Some(happening), lives.as_ref()]
            .into_iter()
            .flatten()
            .all(|happening| {
                let mut after = self.clone();
                after.apply(happening);
                !after.waits
            })
    }

    /// Returns the possible states after the process died somewhere in the middle.
    pub(crate) fn after_death(&self, happening: &Happening) -> Vec<Self> {
        let mut all = Vec::new();
        if matches!(happening, Happening::Deliver { event, .. } if !self.events.contains_key(event))
        {
            all.push(self.clone());
        }
        let moments = [
            Moment::Asked,
            Moment::Stored,
            Moment::Taken,
            Moment::Committed,
        ];
        let leased = false;
        let dies = moments.map(|when| Behave::Die { when, leased });
        let well = happening.with(Behave::Well);
        // The process may also have died during an event that waited, as its script says or not.
        let waiting = dies.map(|others| well.with_others(others));
        let this = dies.map(|this| happening.with(this));
        for dying in this.iter().chain([&well]).chain(&waiting) {
            let mut after = self.clone();
            if after.apply(dying) == Answer::Died {
                all.push(after);
            }
        }
        all.extend(self.after_claim_of_spent(happening));
        all
    }

    /// Returns the state if the process claimed an event that had no attempts left, and died before
    /// it marked the event as a dead letter.
    fn after_claim_of_spent(&self, happening: &Happening) -> Option<Self> {
        let event = match happening {
            Happening::Deliver { event, .. } => *event,
            Happening::Work { .. } => *self.due().first()?,
            _ => return None,
        };
        let mut after = self.clone();
        let now = after.tick();
        let known = after.events.get_mut(&event)?;
        let is_spent = known.state == EventState::Pending && known.attempts >= MAX;
        known.due = Some(now);
        is_spent.then_some(after)
    }

    pub(crate) fn apply(&mut self, happening: &Happening) -> Answer {
        match *happening {
            Happening::Deliver {
                event,
                door,
                script,
            } => self.deliver(event, door, script),
            Happening::Work { script } => self.work(script),
            Happening::Replay { event, script } => self.replay(event, script),
            Happening::Discard { event, others } => self.discard(event, others),
            Happening::Prune { .. } => {
                self.events.retain(|_, known| !is_over(known.state));
                Answer::Quiet
            }
            Happening::Price { order, right } => {
                self.orders.entry(order).or_default().repriced = !right;
                Answer::Quiet
            }
            Happening::Ask { pay } => {
                if let Some(order) = pay.order() {
                    let order = self.orders.entry(order).or_default();
                    (order.present, order.stands) = (Some(pay), Stands::Open);
                }
                Answer::Quiet
            }
        }
    }

    /// Deletes an event that the real inbox pruned.
    pub(crate) fn forget(&mut self, event: Event) {
        self.events.remove(&event);
    }

    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    fn payment(&self, event: Event) -> Payment {
        let payment = event.payment().and_then(|pay| self.payments.get(&pay));
        payment.cloned().unwrap_or_default()
    }

    fn order(&self, order: Order) -> OrderBook {
        self.orders.get(&order).cloned().unwrap_or_default()
    }

    fn deliver(&mut self, event: Event, door: Door, script: Script) -> Answer {
        if !self.events.contains_key(&event) {
            let now = self.tick();
            let new = Known {
                state: EventState::Pending,
                attempts: 0,
                due: Some(now),
                leased: false,
                erred: false,
                arrived: now,
            };
            self.events.insert(event, new);
            if let Some(pay) = event.payment() {
                self.payments.entry(pay).or_default().hear(event);
            }
            if script.this.dies(Moment::Stored) {
                return Answer::Died;
            }
        }
        let turn = match door {
            Door::Inline => Which::Now,
            Door::Page => Which::IfDue,
            Door::Queued => {
                return match self.events[&event].state {
                    EventState::Pending => Answer::Queued,
                    EventState::Dead => Answer::Failed,
                    state => Answer::Duplicate(state),
                };
            }
        };
        self.step_and_those_who_waited(event, turn, script)
    }

    fn step_and_those_who_waited(&mut self, event: Event, turn: Which, script: Script) -> Answer {
        let did = self.step(event, turn, script.this);
        if matches!(did, Did::Died) || self.those_who_waited(event, script.others) {
            return Answer::Died;
        }
        match did {
            Did::NotDue => Answer::Queued,
            // A dead letter stays a failure.
            Did::Failed | Did::Already(EventState::Dead) | Did::Now(EventState::Dead) => {
                Answer::Failed
            }
            Did::Already(state) => Answer::Duplicate(state),
            Did::Now(state) => Answer::Done(state),
            Did::Waits => Answer::Waiting,
            Did::Died => Answer::Died,
        }
    }

    /// Returns the due events, the one that has been due longest first.
    pub(crate) fn due(&self) -> Vec<Event> {
        let pending = self
            .events
            .iter()
            .filter(|(_, known)| known.state == EventState::Pending);
        let mut due: Vec<_> = pending
            .filter_map(|(event, known)| Some((known.due?, *event)))
            .collect();
        due.sort();
        due.into_iter().map(|(_, event)| event).collect()
    }

    fn work(&mut self, script: Script) -> Answer {
        let Some(event) = self.due().first().copied() else {
            return match script.this.dies(Moment::Asked) {
                true => Answer::Died,
                false => Answer::Worked(false),
            };
        };
        let did = self.step(event, Which::Now, script.this);
        let died = match did {
            Did::Died => true,
            Did::Now(_) => self.those_who_waited(event, script.others),
            _ => false,
        };
        match died {
            true => Answer::Died,
            false => Answer::Worked(true),
        }
    }

    fn replay(&mut self, event: Event, script: Script) -> Answer {
        let now = self.tick();
        let Some(known) = self.events.get_mut(&event) else {
            return Answer::Refused;
        };
        if is_over(known.state) || known.state == EventState::Discarded {
            return Answer::Refused;
        }
        let (waited, did_not_fit) = (
            known.state == EventState::Pending,
            known.state == EventState::Mismatch,
        );
        known.state = EventState::Pending;
        known.attempts = 0;
        known.due = Some(now);
        known.leased = false;
        let payment = self.payments.entry(event.pay).or_default();
        if event.settles() {
            if !waited
                && matches!(
                    payment.success,
                    FulfillmentStatus::Dead | FulfillmentStatus::Mismatch
                )
            {
                payment.success = FulfillmentStatus::Pending;
            }
        } else if did_not_fit {
            payment.success = FulfillmentStatus::No;
        }
        self.step_and_those_who_waited(event, Which::Now, script)
    }

    fn discard(&mut self, event: Event, others: Behave) -> Answer {
        let Some(known) = self.events.get_mut(&event) else {
            return Answer::Refused;
        };
        if is_over(known.state) || known.state == EventState::Discarded {
            return Answer::Refused;
        }
        known.state = EventState::Discarded;
        known.leased = false;
        if event.settles() {
            // The other events of the payment's success that may still run.
            let open: Vec<_> = self
                .events
                .iter()
                .filter(|(other, known)| {
                    other.settles()
                        && other.pay == event.pay
                        && !is_over(known.state)
                        && known.state != EventState::Discarded
                })
                .map(|(_, known)| known.state)
                .collect();
            let payment = self.payments.entry(event.pay).or_default();
            let undecided = matches!(
                payment.success,
                FulfillmentStatus::No
                    | FulfillmentStatus::Pending
                    | FulfillmentStatus::Dead
                    | FulfillmentStatus::Mismatch
            );
            if open.is_empty() && undecided {
                payment.success = FulfillmentStatus::GivenUp;
            } else if payment.success == FulfillmentStatus::Pending
                && !open.contains(&EventState::Pending)
            {
                // No event is pending: all that remain need an operator.
                payment.success = match open.contains(&EventState::Dead) {
                    true => FulfillmentStatus::Dead,
                    false => FulfillmentStatus::Mismatch,
                };
            }
        }
        match self.those_who_waited(event, others) {
            true => Answer::Died,
            false => Answer::Quiet,
        }
    }

    /// Runs the waiting events of the payment after its success, the oldest first. Events that
    /// failed keep their pause. Returns whether the process died.
    fn those_who_waited(&mut self, success: Event, behave: Behave) -> bool {
        if !success.settles() {
            return false;
        }
        let mut waiting: Vec<_> = self
            .events
            .iter()
            .filter(|(event, known)| {
                event.payment() == Some(success.pay)
                    && !event.settles()
                    && known.state == EventState::Pending
            })
            .map(|(event, known)| (known.arrived, *event, known.erred))
            .collect();
        waiting.sort();
        for (_, event, erred) in waiting {
            let turn = if erred { Which::IfDue } else { Which::Now };
            if matches!(self.step(event, turn, behave), Did::Died) {
                return true;
            }
        }
        false
    }

    fn step(&mut self, event: Event, turn: Which, behave: Behave) -> Did {
        let now = self.tick();
        if behave.dies(Moment::Asked) {
            return Did::Died;
        }
        let known = self.events[&event];
        if known.state != EventState::Pending {
            return Did::Already(known.state);
        }
        if turn == Which::IfDue && known.due.is_none() {
            return Did::NotDue;
        }
        self.waits |= known.leased;
        if known.attempts >= MAX {
            // The process died during each attempt.
            self.bury(event);
            return self.committed(behave, Did::Now(EventState::Dead));
        }
        let todo = self.todo(event);
        let dies = match behave {
            // This moment is one of several: `after_death` tries the others.
            Behave::DieSomewhere(_) => Some(false),
            Behave::Die { when, leased } => match (when, &todo) {
                (Moment::Taken | Moment::Ran, _) | (Moment::InHook, Todo::Hook(_)) => Some(leased),
                _ => None,
            },
            _ => None,
        };
        let Some(known) = self.events.get_mut(&event) else {
            return Did::NotDue;
        };
        known.leased = false;
        if let Some(leased) = dies {
            known.attempts += 1;
            known.due = (!leased).then_some(now);
            known.leased = leased;
            return Did::Died;
        }
        let hook = match todo {
            // An event that did not run had no attempt.
            Todo::Wait => {
                known.due = Some(now);
                return self.committed(behave, Did::Waits);
            }
            Todo::Nothing => {
                known.state = EventState::Superseded;
                return self.committed(behave, Did::Now(EventState::Superseded));
            }
            Todo::Hook(hook) => hook,
        };
        known.attempts += 1;
        if matches!(behave, Behave::Fail | Behave::FailForLong | Behave::Panic) {
            known.erred = true;
            if known.attempts >= MAX {
                self.bury(event);
                return Did::Now(EventState::Dead);
            }
            known.due = (behave != Behave::FailForLong).then_some(now);
            return Did::Failed;
        }
        let state = match hook {
            "mismatch" => EventState::Mismatch,
            _ => EventState::Done,
        };
        known.state = state;
        known.erred |= state == EventState::Mismatch;
        self.effects.push(line(event, hook));
        self.remember(event, hook);
        self.committed(behave, Did::Now(state))
    }

    fn committed(&self, behave: Behave, did: Did) -> Did {
        match behave.dies(Moment::Committed) {
            true => Did::Died,
            false => did,
        }
    }

    fn bury(&mut self, event: Event) {
        if let Some(known) = self.events.get_mut(&event) {
            known.state = EventState::Dead;
            known.erred = true;
            known.leased = false;
        }
        // If another event object of the same success is pending, that one is the next chance.
        // Waiting events wait for it.
        let next_chance = self.events.iter().any(|(other, known)| {
            other.settles() && other.pay == event.pay && known.state == EventState::Pending
        });
        if event.settles() && !next_chance {
            let payment = self.payments.entry(event.pay).or_default();
            if matches!(
                payment.success,
                FulfillmentStatus::No | FulfillmentStatus::Pending
            ) {
                payment.success = FulfillmentStatus::Dead;
            }
        }
    }

    /// Returns the work that the promises require for an event now.
    fn todo(&self, event: Event) -> Todo {
        let payment = self.payment(event);
        let order = event
            .payment()
            .and_then(Pay::order)
            .map(|order| self.order(order))
            .unwrap_or_default();
        let over = payment.ended() || payment.canceled;
        let stands = Some(order.stands).filter(|_| order.present == Some(event.pay));
        match event.what {
            // The session reports it, unless the money was authorised first.
            What::Succeeded if event.is_inside() && !event.is_manual() => Todo::Nothing,
            What::Processing if event.is_inside() => Todo::Nothing,
            // A session does not report a declined card. So this failure counts until the session
            // is processing or over.
            What::Failed
                if event.is_inside()
                    && matches!(stands, Some(Stands::Processing | Stands::Over)) =>
            {
                Todo::Nothing
            }
            // The handler received the failure of the session: that is its end, and it counts as
            // one failure.
            What::Failed | What::SessionUnpaid | What::SessionFailed
                if payment.told.contains(&What::SessionFailed) =>
            {
                Todo::Nothing
            }
            // A session that is over does not come back to life.
            What::SessionUnpaid | What::SessionFailed if stands == Some(Stands::Over) => {
                Todo::Nothing
            }
            What::SessionFree if payment.ended() && payment.success != FulfillmentStatus::Dead => {
                Todo::Nothing
            }
            // There is nothing to refund, and nothing may be delivered twice.
            What::SessionFree if order.paid_by.is_some_and(|by| by != event.pay) => Todo::Nothing,
            What::SessionFree if order.repriced => Todo::Hook("mismatch"),
            What::SessionFree => Todo::Hook("free_order"),
            // One payment, one success. A dead letter that arrives again gets another chance.
            What::Succeeded | What::SessionPaid | What::SessionArrived
                if payment.ended() && payment.success != FulfillmentStatus::Dead =>
            {
                Todo::Nothing
            }
            // One order, one payment.
            What::Succeeded | What::SessionPaid | What::SessionArrived
                if order.paid_by.is_some_and(|by| by != event.pay) =>
            {
                Todo::Hook("duplicate_payment")
            }
            What::Succeeded | What::SessionPaid | What::SessionArrived
                if payment.disputed || payment.returned() >= WHOLE =>
            {
                Todo::Hook("refunded_before_fulfillment")
            }
            What::Succeeded | What::SessionPaid | What::SessionArrived if order.repriced => {
                Todo::Hook("mismatch")
            }
            What::Succeeded | What::SessionPaid | What::SessionArrived => {
                Todo::Hook("payment_succeeded")
            }
            // A payment that was replaced does not cancel its order.
            What::Canceled | What::SessionExpired
                if over || order.present.is_some_and(|pay| pay != event.pay) =>
            {
                Todo::Nothing
            }
            What::Canceled | What::SessionExpired => Todo::Hook("payment_canceled"),
            // The handler receives each larger amount once.
            What::Capturable | What::CapturableMore if over || payment.was_told(event.what) => {
                Todo::Nothing
            }
            // The status never goes back.
            What::Processing
            | What::Failed
            | What::RequiresAction
            | What::SessionUnpaid
            | What::SessionFailed
                if over || payment.capturable =>
            {
                Todo::Nothing
            }
            What::Capturable | What::CapturableMore => Todo::Hook("requires_capture"),
            What::Processing | What::SessionUnpaid => Todo::Hook("payment_processing"),
            What::Failed | What::SessionFailed => Todo::Hook("payment_failed"),
            What::RequiresAction => Todo::Hook("requires_action"),
            // The canceled payment had no success, so there is nothing to refund.
            What::PartRefunded
            | What::RestPending
            | What::RestRefunded
            | What::RestFailed
            | What::LongAgoRefunded
                if payment.canceled && payment.success == FulfillmentStatus::No =>
            {
                Todo::Hook("other")
            }
            // A refund or dispute does not overtake its success. The success of long ago will not
            // arrive any more.
            what if what.is_noted()
                && what != What::AllRefunded
                && (payment.success == FulfillmentStatus::Pending
                    || (payment.success == FulfillmentStatus::No
                        && what != What::LongAgoRefunded)) =>
            {
                Todo::Wait
            }
            // The handler receives each once, and not after a later one.
            what if payment.was_told(what) => Todo::Nothing,
            What::PartRefunded | What::RestRefunded | What::LongAgoRefunded => {
                Todo::Hook("refund_succeeded")
            }
            What::RestPending => Todo::Hook("refund_pending"),
            What::RestFailed => Todo::Hook("refund_failed"),
            What::DisputeOpened => Todo::Hook("dispute_created"),
            What::DisputeUpdated | What::FundsWithdrawn | What::FundsReinstated => {
                Todo::Hook("dispute_updated")
            }
            What::DisputeWon | What::DisputeLost => Todo::Hook("dispute_closed"),
            What::AllRefunded | What::Unrelated => Todo::Hook("other"),
        }
    }

    /// Updates the model after this hook ran.
    fn remember(&mut self, event: Event, hook: &str) {
        let Some(pay) = event.payment() else {
            return;
        };
        let payment = self.payments.entry(pay).or_default();
        match hook {
            "payment_succeeded" | "free_order" => payment.success = FulfillmentStatus::Fulfilled,
            "duplicate_payment" => payment.success = FulfillmentStatus::Duplicate,
            "refunded_before_fulfillment" => payment.success = FulfillmentStatus::Refunded,
            "mismatch" => payment.success = FulfillmentStatus::Mismatch,
            "payment_canceled" => payment.canceled = true,
            "requires_capture" => {
                payment.capturable = true;
                payment.told.insert(event.what);
            }
            "payment_failed" if event.what == What::SessionFailed => {
                payment.told.insert(event.what);
            }
            hook if TAKES_BACK.contains(&hook) => {
                payment.told.insert(event.what);
            }
            _ => {}
        }
        let Some(order) = pay.order() else {
            return;
        };
        let order = self.orders.entry(order).or_default();
        match hook {
            // A mismatch does not change the order until an operator decides. A refund or dispute
            // does not name its order.
            "mismatch" | "other" => return,
            hook if TAKES_BACK.contains(&hook) => return,
            "payment_succeeded" | "free_order" | "refunded_before_fulfillment" => {
                order.paid_by = Some(pay);
                order.stands = Stands::Paid;
                order.by_intent |= order.present.is_none() && event.is_inside();
                order.present.get_or_insert(pay);
                return;
            }
            _ => {}
        }
        // A PaymentIntent does not name its session: the order knows the session already, or not at
        // all.
        if !event.is_inside() {
            order.present.get_or_insert(pay);
        }
        if order.present != Some(pay) || order.stands == Stands::Paid {
            return;
        }
        order.stands = match hook {
            "payment_processing" | "requires_capture" => Stands::Processing,
            "payment_failed" if event.what == What::SessionFailed => Stands::Over,
            "payment_failed" | "requires_action" => Stands::Open,
            "payment_canceled" => Stands::Over,
            _ => order.stands,
        };
    }
}

/// Whether the event is finished for good, so that the inbox may prune it.
pub(crate) fn is_over(state: EventState) -> bool {
    matches!(state, EventState::Done | EventState::Superseded)
}

/// Returns the line that a hook writes.
pub(crate) fn line(event: Event, hook: &str) -> String {
    match event.payment() {
        Some(pay) => format!("{} {hook} {}", event.id(), pay.id()),
        None => format!("{} {hook}", event.id()),
    }
}
