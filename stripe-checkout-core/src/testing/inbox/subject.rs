//! The inbox that the suite tries.

use crate::error::BoxError;
use crate::fulfillment::Inbox;

/// An empty store, the inbox on it, and an append-only table beside it in which hooks write.
///
/// It is dropped when its case is over.
pub trait Subject: Send + Sync + 'static {
    /// The inbox.
    type Inbox: Inbox;

    /// Another handle on the same store, as another process would have it. The store has its
    /// tables.
    fn open(&self) -> impl Future<Output = Self::Inbox> + Send;

    /// Appends a line to the table, in the inbox's own transaction. Where there is none, at once.
    fn write(
        &self,
        db: &mut <Self::Inbox as Inbox>::Connection,
        line: &str,
    ) -> impl Future<Output = Result<(), BoxError>> + Send;

    /// The lines that anybody can see, in the order in which they were written.
    fn written(&self) -> impl Future<Output = Result<Vec<String>, BoxError>> + Send;

    /// Whether what a failing hook wrote goes.
    fn transactional(&self) -> bool {
        true
    }

    /// Whether a hook that runs keeps all others from writing, as in SQLite. Then other payments
    /// wait too, and so do events that come.
    fn one_writer(&self) -> bool {
        false
    }
}
