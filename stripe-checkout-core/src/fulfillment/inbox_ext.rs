//! Calls that every inbox has, made of its few methods.

use std::time::Duration;

use super::inbox::{Inbox, Key, Row, Session, Swap};
use super::operation::{OperationKey, OperationRecord};
use super::operator;
use super::records::{EventRecord, IntentRecord, NewEvent, OrderKey, PaymentRecord, Scope};
use super::step::{Attempt, Start};
use super::verdict::{Dispatch, Step, Terms, Which};
use crate::error::InboxError;

macro_rules! row {
    ($row:expr, $pattern:pat => $value:expr) => {
        match $row? {
            Some($pattern) => Ok(Some($value)),
            None => Ok(None),
            Some(_) => Err(InboxError::Unavailable("a row of another kind".into())),
        }
    };
}

/// Typed rows and whole steps, for every [`Inbox`].
pub trait InboxExt: Inbox + Sized {
    /// The row of an order.
    fn intent(
        &self,
        order: &OrderKey,
    ) -> impl Future<Output = Result<Option<IntentRecord>, InboxError>> + Send {
        async { row!(self.load(Key::Order(order)).await, Row::Order(row) => row) }
    }

    /// Writes the row of an order if its version is still `expected`, and returns whether it did.
    fn put_intent(
        &self,
        order: &OrderKey,
        expected: Option<u64>,
        record: IntentRecord,
    ) -> impl Future<Output = Result<bool, InboxError>> + Send {
        async move { self.swap(Swap::Order(order, expected, record)).await }
    }

    /// The order to which a payment belongs.
    fn intent_of_payment(
        &self,
        scope: &Scope,
        payment: &str,
    ) -> impl Future<Output = Result<Option<(OrderKey, IntentRecord)>, InboxError>> + Send {
        async {
            row!(self.load(Key::OrderOf(scope, payment)).await, Row::OrderOf(key, row) => (key, row))
        }
    }

    /// All that is known of a payment.
    fn payment(
        &self,
        scope: &Scope,
        payment: &str,
    ) -> impl Future<Output = Result<Option<PaymentRecord>, InboxError>> + Send {
        async { row!(self.load(Key::Payment(scope, payment)).await, Row::Payment(row) => row) }
    }

    /// A stored event.
    fn event(
        &self,
        scope: &Scope,
        event: &str,
    ) -> impl Future<Output = Result<Option<EventRecord>, InboxError>> + Send {
        async { row!(self.load(Key::Event(scope, event)).await, Row::Event(row) => row) }
    }

    /// The row of an operation at Stripe.
    fn operation(
        &self,
        key: &OperationKey,
    ) -> impl Future<Output = Result<Option<OperationRecord>, InboxError>> + Send {
        async { row!(self.load(Key::Operation(key)).await, Row::Operation(row) => row) }
    }

    /// Writes the row of an operation if its version is still `expected`, and returns whether it
    /// did.
    fn put_operation(
        &self,
        key: &OperationKey,
        expected: Option<u64>,
        record: OperationRecord,
    ) -> impl Future<Output = Result<bool, InboxError>> + Send {
        async move { self.swap(Swap::Operation(key, expected, record)).await }
    }

    /// A bookmark.
    fn bookmark(
        &self,
        scope: &Scope,
        name: &str,
    ) -> impl Future<Output = Result<Option<String>, InboxError>> + Send {
        async { row!(self.load(Key::Bookmark(scope, name)).await, Row::Bookmark(row) => row) }
    }

    /// Writes a bookmark if the stored one is still `expected`, and returns whether it did.
    fn put_bookmark(
        &self,
        scope: &Scope,
        name: &str,
        expected: Option<&str>,
        value: &str,
    ) -> impl Future<Output = Result<bool, InboxError>> + Send {
        async move {
            let swap = Swap::Bookmark(scope, name, expected, value);
            self.swap(swap).await
        }
    }

    /// Stores an event unless its id is known, and returns the stored one.
    fn receive(
        &self,
        event: NewEvent,
    ) -> impl Future<Output = Result<EventRecord, InboxError>> + Send {
        async move {
            loop {
                let mut session = self.session();
                if let Some(stored) = session.receive(&event, None).await? {
                    return Ok(stored.record);
                }
                let found = session.find(&event.scope, &event.id, [None; 2]).await?;
                // Otherwise it was pruned in between.
                if let Some(known) = found.event {
                    return Ok(known.record);
                }
            }
        }
    }

    /// Runs the event whose [`Which`] it is, if it is pending. `None` if it is no event's turn.
    fn step(
        &self,
        scope: &Scope,
        turn: Which<'_>,
        terms: Terms,
        dispatch: &dyn Dispatch<Self::Connection>,
    ) -> impl Future<Output = Result<Option<Step>, InboxError>> + Send {
        async move {
            let attempt = Attempt {
                inbox: self,
                scope,
                terms,
                dispatch,
            };
            attempt.run(Start::Which(turn)).await
        }
    }

    /// Makes a pending, dead or mismatched event due at once, with all its attempts before it.
    fn replay(
        &self,
        scope: &Scope,
        event: &str,
        patience: Duration,
    ) -> impl Future<Output = Result<(), InboxError>> + Send {
        operator::replay(self, scope, event, patience)
    }

    /// Discards a pending, dead or mismatched event for good.
    fn discard(
        &self,
        scope: &Scope,
        event: &str,
        patience: Duration,
    ) -> impl Future<Output = Result<(), InboxError>> + Send {
        operator::discard(self, scope, event, patience)
    }
}

impl<I: Inbox> InboxExt for I {}
