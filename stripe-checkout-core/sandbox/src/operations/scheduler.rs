//! What banks do in their own time.

use super::super::{scheduler::Due, store::Store};

impl Store {
    /// Does everything whose time has come. Whether there was anything.
    pub(crate) fn do_what_is_due(&mut self) -> bool {
        let mut did = false;
        // What is done may add something that is due at once.
        while let Some(due) = self.agenda.take_due() {
            did = true;
            match due {
                Due::Debit { charge, paid } => self.end_debit(&charge, paid),
                Due::Booking { charge } => {
                    self.book_later(&charge);
                }
                Due::Refund { id, arrived: true } => {
                    self.refund_arrives(&id);
                }
                Due::Refund { id, arrived: false } => {
                    self.refund_comes_back(&id, "unknown");
                }
                Due::Decision { dispute, decision } => {
                    self.decide(&dispute, decision);
                }
                Due::Deadline { dispute } => self.dispute_deadline(&dispute),
            }
        }
        did
    }
}
