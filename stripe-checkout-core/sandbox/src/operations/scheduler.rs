//! Actions that the banks take on their own.

use super::super::{scheduler::Due, store::Store};

impl Store {
    /// Does everything that is due. Returns whether there was anything.
    pub(crate) fn do_what_is_due(&mut self) -> bool {
        let mut did = false;
        // An action may add another one that is due at once.
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
