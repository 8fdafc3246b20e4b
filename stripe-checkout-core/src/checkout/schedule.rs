//! The upkeep of many checkouts: one schedule for all their reconcilers and prunes.

use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tracing::Instrument;

use super::state::Checkout;
use super::tenants::{Member, Tenants};
use super::wake::{Wake, wake};

/// How often each checkout forgets old events.
const PRUNES: Duration = Duration::from_secs(24 * 60 * 60);

/// How often the schedule looks whose turn it is. It asks no database.
const LOOKS: Duration = Duration::from_millis(250);

/// Runs the reconciler and the prune of each tenant. See [`Tenants::upkeep`].
#[derive(Debug)]
#[must_use = "it does nothing before `run` is awaited"]
pub struct Upkeep {
    tenants: Tenants,
    concurrency: usize,
    interval: Duration,
}

impl Tenants {
    /// One schedule for the [reconcilers](Checkout::reconcile) and the [prunes](Checkout::prune) of
    /// all tenants.
    ///
    /// A tenant that is added has its first turn as soon as possible. Later turns are spread over
    /// the interval, so that a thousand tenants do not ask Stripe and the database at once. Each
    /// turn reconciles, and once a day it prunes. A tenant without prices is only pruned, and so is
    /// one whose inbox forgets at a restart.
    pub fn upkeep(&self) -> Upkeep {
        Upkeep {
            tenants: self.clone(),
            concurrency: 4,
            interval: Duration::from_secs(60 * 60),
        }
    }
}

impl Upkeep {
    /// How many tenants have their turn at the same time (default 4, at least 1).
    pub fn concurrency(mut self, tenants: usize) -> Self {
        self.concurrency = tenants.max(1);
        self
    }

    /// How long a tenant pauses between two turns (default 1 hour, at least 1 s). After a turn that
    /// failed the pause is shorter, as for [`Reconciler::interval`](crate::Reconciler::interval).
    pub fn interval(mut self, interval: Duration) -> Self {
        self.interval = interval.max(Duration::from_secs(1));
        self
    }

    /// Works until `stop` ends, and then lets what it runs come to its end.
    pub async fn run(self, stop: impl Future<Output = ()>) {
        let mut stop = pin!(stop);
        let mut running = JoinSet::new();
        let mut schedule = Schedule::new(self.interval);
        let halt = Arc::new(AtomicBool::new(false));
        let mut looks = interval(LOOKS);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            match wake(stop.as_mut(), &mut running, &mut looks).await {
                Wake::Stop => break,
                Wake::Look => schedule.keep(self.tenants.members()),
                Wake::Ended(Ok((id, turn))) => schedule.ended(id, turn),
                Wake::Ended(Err(error)) => {
                    tracing::error!(
                        panicked = error.is_panic(),
                        "the upkeep of a tenant was lost"
                    );
                }
            }
            while running.len() < self.concurrency {
                let Some((member, turn)) = schedule.next(Instant::now()) else {
                    break;
                };
                let Some(checkout) = member.checkout() else {
                    continue;
                };
                let (halt, interval) = (Arc::clone(&halt), self.interval);
                let work = async move { (member.id, turn.run(checkout, interval, &halt).await) };
                running.spawn(work.in_current_span());
            }
        }
        // A turn ends with what it is at.
        halt.store(true, Ordering::Relaxed);
        while running.join_next().await.is_some() {}
    }
}

/// What a tenant's next turn does, and what came of its last one.
#[derive(Debug, Clone, Copy)]
struct Turn {
    /// When it was last pruned.
    pruned: Option<Instant>,
    /// How many turns in a row failed.
    #[cfg(feature = "intent")]
    failures: u32,
    /// The pause after it.
    pause: Duration,
}

impl Turn {
    async fn run(mut self, checkout: Checkout, interval: Duration, halt: &Arc<AtomicBool>) -> Self {
        self.pause = interval;
        #[cfg(feature = "intent")]
        {
            let reconciler = checkout.reconcile().interval(interval);
            if let Some((pause, failures)) = reconciler.turn(halt, self.failures).await {
                self.pause = pause;
                self.failures = failures;
            }
        }
        if halt.load(Ordering::Relaxed) || self.pruned.is_some_and(|at| at.elapsed() < PRUNES) {
            return self;
        }
        match checkout.prune().await {
            Ok(_) => self.pruned = Some(Instant::now()),
            Err(error) => {
                tracing::error!(error = %crate::error::Chain(&error), "the old events of a tenant were not deleted; its next turn tries again");
            }
        }
        self
    }
}

struct Schedule {
    interval: Duration,
    /// When the next of the turns may begin that are spread over the interval.
    again: Instant,
    plans: HashMap<u64, Plan>,
}

struct Plan {
    member: Arc<Member>,
    turn: Turn,
    /// Whether it waits for its place between the others. Its first turn and retries do not.
    is_spread: bool,
    /// When its next turn is due; `None` while it has one.
    due: Option<Instant>,
}

impl Schedule {
    fn new(interval: Duration) -> Self {
        Self {
            interval,
            again: Instant::now(),
            plans: HashMap::new(),
        }
    }

    /// Drops the plans of tenants that left, and makes those of new ones.
    fn keep(&mut self, members: Vec<Arc<Member>>) {
        let ids: HashSet<_> = members.iter().map(|member| member.id).collect();
        self.plans.retain(|id, _| ids.contains(id));
        for member in members {
            self.plans.entry(member.id).or_insert_with(|| Plan {
                member,
                turn: Turn {
                    pruned: None,
                    #[cfg(feature = "intent")]
                    failures: 0,
                    pause: Duration::ZERO,
                },
                is_spread: false,
                due: Some(Instant::now()),
            });
        }
    }

    /// The tenant that has been due for the longest time.
    fn next(&mut self, now: Instant) -> Option<(Arc<Member>, Turn)> {
        let (spread, again) = (self.spread(), self.again);
        let plans = self.plans.values_mut();
        let due = plans.filter(|plan| {
            let due = plan.due.is_some_and(|due| due <= now);
            due && (!plan.is_spread || again <= now)
        });
        let plan = due.min_by_key(|plan| plan.due)?;
        if plan.is_spread {
            // A look that came late is made up for, but no more than one interval of looks.
            let late = now.checked_sub(LOOKS).unwrap_or(now);
            self.again = again.max(late) + spread;
        }
        plan.due = None;
        Some((Arc::clone(&plan.member), plan.turn))
    }

    fn ended(&mut self, id: u64, turn: Turn) {
        if let Some(plan) = self.plans.get_mut(&id) {
            plan.due = Some(Instant::now() + turn.pause);
            plan.turn = turn;
            plan.is_spread = turn.pause >= self.interval;
        }
    }

    /// The pause between two turns. All turns together take a little less than the interval.
    fn spread(&self) -> Duration {
        let tenants = u32::try_from(self.plans.len()).unwrap_or(u32::MAX);
        self.interval.mul_f64(0.9) / tenants.max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::fulfillment::{Due, FulfillmentHandler, MemoryInbox};
    use crate::secret::WebhookSecret;
    use crate::webhook::Payment;
    use crate::{BoxError, Ownership};

    const HOUR: Duration = Duration::from_secs(60 * 60);

    struct Nothing;

    impl FulfillmentHandler for Nothing {
        async fn payment_succeeded(&self, _: &Payment, (): &mut ()) -> Result<(), BoxError> {
            Ok(())
        }

        async fn amount_due(&self, _: &Payment, (): &mut ()) -> Result<Due, BoxError> {
            Ok(Due::AsAsked)
        }
    }

    /// How many turns begin now. Each ends at once, and the next one is due after the pause.
    fn turns(schedule: &mut Schedule, pause: Duration) -> usize {
        let begun: Vec<_> = std::iter::from_fn(|| schedule.next(Instant::now())).collect();
        for (member, turn) in &begun {
            schedule.ended(member.id, Turn { pause, ..*turn });
        }
        begun.len()
    }

    #[tokio::test(start_paused = true)]
    async fn later_turns_are_spread_over_the_interval_and_retries_are_not() {
        let secret = WebhookSecret::new("whsec_of_this_test").unwrap();
        let checkout = |number: u32| {
            let builder = Checkout::builder(Config::new([secret.clone()]).unwrap());
            let builder = builder.application(format!("tenant-{number}"));
            builder
                .ownership(Ownership::AllPayments)
                .fulfillment(MemoryInbox::new(), Nothing)
                .build()
                .unwrap()
        };
        let mut shops: Vec<_> = (0..100).map(checkout).collect();
        let tenants = Tenants::new();
        for shop in &shops {
            tenants.add(shop);
        }
        let mut schedule = Schedule::new(HOUR);
        schedule.keep(tenants.members());
        assert_eq!(turns(&mut schedule, HOUR), 100, "first turns come at once");
        assert_eq!(turns(&mut schedule, HOUR), 0);
        tokio::time::advance(HOUR).await;
        let began = Instant::now();
        let (mut each, mut all) = (0, 0);
        while all < 100 {
            let now = turns(&mut schedule, HOUR);
            each = each.max(now);
            all += now;
            tokio::time::advance(LOOKS).await;
        }
        assert_eq!(each, 1, "and then one after the other");
        let took = began.elapsed();
        assert!(took > HOUR.mul_f64(0.8) && took < HOUR, "{took:?}");
        // A turn that failed is repeated soon and waits for no place.
        for member in tenants.members() {
            let turn = Turn {
                pruned: None,
                #[cfg(feature = "intent")]
                failures: 1,
                pause: LOOKS,
            };
            schedule.ended(member.id, turn);
        }
        tokio::time::advance(LOOKS).await;
        assert_eq!(turns(&mut schedule, HOUR), 100);
        // A tenant that leaves has no plan any more.
        shops.truncate(10);
        schedule.keep(tenants.members());
        assert_eq!(schedule.plans.len(), 10);
    }
}
