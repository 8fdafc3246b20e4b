//! The inbox in memory keeps the promises of every inbox. The engine and the worker keep theirs
//! over an inbox that survives a restart.

use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use stripe_checkout_core::fulfillment::{
    EventFilter, EventRecord, Inbox, IntentRecord, Key, Limits, MemoryInbox, OrderKey, Row, Scope,
    Stats, Swap,
};
use stripe_checkout_core::testing::inbox::{Subject, run};
use stripe_checkout_core::{BoxError, InboxError};

#[derive(Default)]
struct Memory {
    inbox: MemoryInbox,
    written: Mutex<Vec<String>>,
}

impl Subject for Memory {
    type Inbox = MemoryInbox;

    async fn open(&self) -> MemoryInbox {
        self.inbox.clone()
    }

    async fn write(&self, (): &mut (), line: &str) -> Result<(), BoxError> {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        written.push(line.to_owned());
        Ok(())
    }

    async fn written(&self) -> Result<Vec<String>, BoxError> {
        let written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(written.clone())
    }

    fn transactional(&self) -> bool {
        false
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn memory_keeps_every_promise_that_memory_can_keep() {
    let cases = run("MemoryInbox", async || Memory::default()).await;
    assert!(cases >= 90, "{cases}");
}

/// The same memory for several processes. It tests the features of a durable inbox (the queue, the
/// restart) without a database.
struct Outlives(MemoryInbox);

impl Inbox for Outlives {
    type Connection = ();
    type Session = <MemoryInbox as Inbox>::Session;

    fn limits(&self) -> Limits {
        Limits::DURABLE
    }

    fn identity(&self) -> String {
        self.0.identity()
    }

    async fn due_scopes(&self) -> Result<Vec<Scope>, InboxError> {
        self.0.due_scopes().await
    }

    fn session(&self) -> Self::Session {
        self.0.session()
    }

    async fn load(&self, key: Key<'_>) -> Result<Option<Row>, InboxError> {
        self.0.load(key).await
    }

    async fn swap(&self, swap: Swap<'_>) -> Result<bool, InboxError> {
        self.0.swap(swap).await
    }

    async fn events(&self, filter: &EventFilter) -> Result<Vec<EventRecord>, InboxError> {
        self.0.events(filter).await
    }

    async fn open_intents(
        &self,
        scope: &Scope,
        after: Option<&OrderKey>,
        since: SystemTime,
        most: usize,
    ) -> Result<Vec<(OrderKey, IntentRecord)>, InboxError> {
        self.0.open_intents(scope, after, since, most).await
    }

    async fn accounts(
        &self,
        scope: &Scope,
        after: Option<&str>,
        since: SystemTime,
        most: usize,
    ) -> Result<Vec<String>, InboxError> {
        self.0.accounts(scope, after, since, most).await
    }

    async fn scopes_with_bookmark(&self, name: &str) -> Result<Vec<Scope>, InboxError> {
        self.0.scopes_with_bookmark(name).await
    }

    async fn stats(&self, scope: &Scope) -> Result<Stats, InboxError> {
        self.0.stats(scope).await
    }

    async fn prune(
        &self,
        scope: &Scope,
        before: SystemTime,
        most: usize,
    ) -> Result<usize, InboxError> {
        self.0.prune(scope, before, most).await
    }
}

#[derive(Default)]
struct Outliving(Memory);

impl Subject for Outliving {
    type Inbox = Outlives;

    async fn open(&self) -> Outlives {
        Outlives(self.0.open().await)
    }

    async fn write(&self, db: &mut (), line: &str) -> Result<(), BoxError> {
        self.0.write(db, line).await
    }

    async fn written(&self) -> Result<Vec<String>, BoxError> {
        self.0.written().await
    }

    fn transactional(&self) -> bool {
        false
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_outlives_its_process_can_be_queued() {
    run("MemoryInbox that outlives", async || Outliving::default()).await;
}
