//! The inbox in memory keeps what every inbox promises.

use std::sync::{Mutex, PoisonError};

use stripe_checkout_core::BoxError;
use stripe_checkout_core::fulfillment::MemoryInbox;
use stripe_checkout_core::testing::inbox::{Subject, run};

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
