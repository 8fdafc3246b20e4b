//! Commits and claims that an attempt loses: an inbox in memory whose transactions end as a broken
//! connection ends them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use stripe_checkout_core::fulfillment::{
    BoxFuture, Cause, Changes, Claim, CommitError, Dispatch, EventFilter, EventRecord, EventState,
    Found, FulfillmentStatus, Inbox, InboxExt as _, IntentRecord, Key, Limits, Locked, MemoryInbox,
    NewEvent, OrderKey, PaymentRecord, Row, Scope, Session, Stats, Step, Stepped, Stored, Swap,
    Terms, Transaction, Verdict, Which,
};
use stripe_checkout_core::{InboxError, Mode};

type Inner = <MemoryInbox as Inbox>::Session;

/// How the next transaction ends.
#[derive(Clone, Copy, Default, PartialEq)]
enum Next {
    #[default]
    Works,
    /// The rows are written, and the answer is lost.
    CommitsWithoutAnAnswer,
    /// Nothing is written, and another process claims the event.
    IsClaimedByAnother,
    /// Nothing is written, and the next transaction cannot begin.
    IsLostTwice,
    CannotBegin,
}

#[derive(Clone, Default)]
struct Losing {
    inbox: MemoryInbox,
    next: Arc<Mutex<Next>>,
}

impl Losing {
    fn takes(&self) -> Next {
        std::mem::take(&mut *self.next.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn sets(&self, next: Next) {
        *self.next.lock().unwrap_or_else(PoisonError::into_inner) = next;
    }
}

struct LosingSession {
    inner: Inner,
    all: Losing,
}

struct LosingTransaction<'a> {
    inner: <Inner as Session>::Transaction<'a>,
    all: Losing,
}

impl Session for LosingSession {
    type Connection = ();
    type Transaction<'a> = LosingTransaction<'a>;

    async fn find(
        &mut self,
        scope: &Scope,
        event: &str,
        payments: [Option<&str>; 2],
    ) -> Result<Found, InboxError> {
        self.inner.find(scope, event, payments).await
    }

    async fn receive(
        &mut self,
        event: &NewEvent,
        lease: Option<Duration>,
    ) -> Result<Option<Stored>, InboxError> {
        self.inner.receive(event, lease).await
    }

    async fn claim(
        &mut self,
        scope: &Scope,
        which: Claim<'_>,
        terms: Terms,
    ) -> Result<Option<Stored>, InboxError> {
        self.inner.claim(scope, which, terms).await
    }

    async fn give_back(
        &mut self,
        claimed: &Stored,
        again: Option<Duration>,
    ) -> Result<(), InboxError> {
        self.inner.give_back(claimed, again).await
    }

    async fn begin(
        &mut self,
        event: &EventRecord,
        patience: Duration,
    ) -> Result<Option<(LosingTransaction<'_>, Locked)>, InboxError> {
        let next = self.all.takes();
        if next == Next::CannotBegin {
            return Err(InboxError::Unavailable("the server restarts".into()));
        }
        self.all.sets(next);
        let begun = self.inner.begin(event, patience).await?;
        let all = self.all.clone();
        Ok(begun.map(|(inner, locked)| (LosingTransaction { inner, all }, locked)))
    }

    async fn finish(self) {
        self.inner.finish().await;
    }
}

impl Transaction for LosingTransaction<'_> {
    type Connection = ();

    async fn copies(&mut self, event: &EventRecord) -> Result<Vec<EventState>, InboxError> {
        self.inner.copies(event).await
    }

    async fn protect(&mut self, limit: Duration) -> Result<(), InboxError> {
        self.inner.protect(limit).await
    }

    fn connection(&mut self) -> &mut () {
        self.inner.connection()
    }

    async fn end(&mut self, failed: Option<Cause>) -> Result<(), CommitError> {
        self.inner.end(failed).await
    }

    async fn commit(self, changes: Changes) -> Result<(), CommitError> {
        let event = changes.event.clone();
        match self.all.takes() {
            Next::Works | Next::CannotBegin => return self.inner.commit(changes).await,
            Next::CommitsWithoutAnAnswer => self.inner.commit(changes).await?,
            Next::IsLostTwice => self.all.sets(Next::CannotBegin),
            Next::IsClaimedByAnother => {
                drop(self.inner);
                let mut other = self.all.inbox.session();
                let claim = Claim::IfDue(&event.id);
                let claimed = other.claim(&event.scope, claim, terms(LONG)).await;
                assert!(matches!(claimed, Ok(Some(_))), "{claimed:?}");
            }
        }
        Err(CommitError::Lost("the connection broke".into()))
    }

    async fn rollback(self) -> Result<(), InboxError> {
        self.inner.rollback().await
    }

    async fn was_undone(&mut self, transaction: i64) -> Result<bool, InboxError> {
        self.inner.was_undone(transaction).await
    }
}

impl Inbox for Losing {
    type Connection = ();
    type Session = LosingSession;

    fn limits(&self) -> Limits {
        Limits::DURABLE
    }

    fn identity(&self) -> String {
        self.inbox.identity()
    }

    async fn due_scopes(&self) -> Result<Vec<Scope>, InboxError> {
        self.inbox.due_scopes().await
    }

    fn session(&self) -> LosingSession {
        LosingSession {
            inner: self.inbox.session(),
            all: self.clone(),
        }
    }

    async fn load(&self, key: Key<'_>) -> Result<Option<Row>, InboxError> {
        self.inbox.load(key).await
    }

    async fn swap(&self, swap: Swap<'_>) -> Result<bool, InboxError> {
        self.inbox.swap(swap).await
    }

    async fn events(&self, filter: &EventFilter) -> Result<Vec<EventRecord>, InboxError> {
        self.inbox.events(filter).await
    }

    async fn open_intents(
        &self,
        scope: &Scope,
        after: Option<&OrderKey>,
        since: SystemTime,
        most: usize,
    ) -> Result<Vec<(OrderKey, IntentRecord)>, InboxError> {
        self.inbox.open_intents(scope, after, since, most).await
    }

    async fn accounts(
        &self,
        scope: &Scope,
        after: Option<&str>,
        since: SystemTime,
        most: usize,
    ) -> Result<Vec<String>, InboxError> {
        self.inbox.accounts(scope, after, since, most).await
    }

    async fn scopes_with_bookmark(&self, name: &str) -> Result<Vec<Scope>, InboxError> {
        self.inbox.scopes_with_bookmark(name).await
    }

    async fn stats(&self, scope: &Scope) -> Result<Stats, InboxError> {
        self.inbox.stats(scope).await
    }

    async fn prune(
        &self,
        scope: &Scope,
        before: SystemTime,
        most: usize,
    ) -> Result<usize, InboxError> {
        self.inbox.prune(scope, before, most).await
    }
}

/// Fulfils the payment, and counts how often.
#[derive(Default)]
struct Fulfils(AtomicUsize);

impl Dispatch<()> for Fulfils {
    fn dispatch<'a>(
        &'a self,
        _: &'a EventRecord,
        payment: &'a PaymentRecord,
        _: Option<&'a IntentRecord>,
        (): &'a mut (),
    ) -> BoxFuture<'a, Verdict> {
        self.0.fetch_add(1, Ordering::SeqCst);
        let mut payment = payment.clone();
        payment.success = FulfillmentStatus::Fulfilled;
        Box::pin(async {
            Verdict::Done {
                payment,
                intent: None,
            }
        })
    }
}

const LONG: Duration = Duration::from_secs(3600);

fn terms(lease: Duration) -> Terms {
    Terms::new(Duration::from_secs(5), lease, 9)
}

fn scope() -> Scope {
    Scope {
        application: "tea".into(),
        mode: Mode::Test,
    }
}

async fn with_an_event() -> Losing {
    let losing = Losing::default();
    let event = NewEvent {
        scope: scope(),
        id: "evt_1".into(),
        event_type: "payment_intent.succeeded".into(),
        payment: Some("pi_1".into()),
        order: None,
        ours: true,
        settles: true,
        note: None,
        body: "{}".into(),
        received: SystemTime::now(),
    };
    losing.inbox.receive(event).await.unwrap();
    losing
}

async fn stepped(losing: &Losing, lease: Duration, fulfils: &Fulfils) -> Stepped {
    let turn = Which::Now("evt_1");
    let step = losing.step(&scope(), turn, terms(lease), fulfils).await;
    let step: Option<Step> = step.unwrap();
    step.unwrap().did
}

async fn stored(losing: &Losing) -> EventRecord {
    losing.event(&scope(), "evt_1").await.unwrap().unwrap()
}

#[tokio::test]
async fn a_commit_whose_answer_is_lost_does_not_run_again() {
    let losing = with_an_event().await;
    let fulfils = Fulfils::default();
    losing.sets(Next::CommitsWithoutAnAnswer);
    let did = stepped(&losing, LONG, &fulfils).await;
    assert_eq!(did, Stepped::Now(EventState::Done));
    let event = stored(&losing).await;
    assert_eq!((event.state, event.last_error), (EventState::Done, None));
    let did = stepped(&losing, LONG, &fulfils).await;
    assert_eq!(did, Stepped::Already(EventState::Done));
    assert_eq!(fulfils.0.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_lost_failure_leaves_the_claim_of_another_process_alone() {
    let losing = with_an_event().await;
    let fulfils = Fulfils::default();
    losing.sets(Next::IsClaimedByAnother);
    let did = stepped(&losing, Duration::ZERO, &fulfils).await;
    assert_eq!(did, Stepped::Failed);
    let event = stored(&losing).await;
    assert_eq!((event.attempts, event.last_error), (2, None));
    let lease_of_the_other = SystemTime::now() + LONG / 2;
    assert!(event.due > lease_of_the_other, "{:?}", event.due);
}

#[tokio::test]
async fn a_failure_that_cannot_be_written_at_first_is_written_later() {
    let losing = with_an_event().await;
    let fulfils = Fulfils::default();
    losing.sets(Next::IsLostTwice);
    let did = stepped(&losing, LONG, &fulfils).await;
    assert_eq!(did, Stepped::Failed);
    let event = stored(&losing).await;
    assert_eq!((event.state, event.attempts), (EventState::Pending, 1));
    assert_eq!(event.last_error.as_deref(), Some("the connection broke"));
    let soon = SystemTime::now() + Duration::from_secs(60);
    assert!(event.due < soon, "{:?}", event.due);
    let did = stepped(&losing, LONG, &fulfils).await;
    assert_eq!(did, Stepped::Now(EventState::Done));
    assert_eq!(fulfils.0.load(Ordering::SeqCst), 2);
}
