//! The e-mail addresses of customers that Stripe refused.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use super::fingerprint::fingerprint;

/// The customers' addresses that Stripe refused since the start of the process, as hashes. A visit
/// does not send such an address again.
#[derive(Default)]
pub(super) struct RefusedEmails(Mutex<VecDeque<String>>);

impl RefusedEmails {
    /// More than these are not remembered: the oldest goes.
    const MOST: usize = 256;

    pub(super) fn has(&self, email: Option<&str>) -> bool {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        email.is_some_and(|email| !known.is_empty() && known.contains(&fingerprint(email)))
    }

    pub(super) fn add(&self, email: Option<&str>) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= Self::MOST {
            known.pop_front();
        }
        known.extend(email.map(fingerprint));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_refused_addresses_are_remembered() {
        let refused = RefusedEmails::default();
        let email = |n: usize| format!("jane-{n}@intranet");
        for n in 0..=RefusedEmails::MOST {
            assert!(!refused.has(Some(&email(n))));
            refused.add(Some(&email(n)));
            assert!(refused.has(Some(&email(n))));
        }
        assert!(!refused.has(Some(&email(0))) && refused.has(Some(&email(1))));
        refused.add(None);
        assert!(!refused.has(None));
    }
}
