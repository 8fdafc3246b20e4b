//! The inbox and the handler of a checkout, without their types.

use std::time::SystemTime;

use super::BoxFuture;
use super::engine::{Delivery, Engine, OwnershipRule};
use super::handler::FulfillmentHandler;
use super::inbox::Inbox;
#[cfg(feature = "intent")]
use super::inbox::Session as _;
use super::inbox_ext::InboxExt as _;
#[cfg(feature = "intent")]
use super::operation::{OperationKey, OperationRecord};
use super::records::{EventFilter, EventRecord, Scope, Stats};
#[cfg(feature = "intent")]
use super::records::{IntentRecord, OrderKey};
#[cfg(feature = "intent")]
use super::step::At;
use super::step::Start;
use super::verdict::{Received, Step, Which};
use crate::error::InboxError;

/// An inbox and a handler whose types are gone.
pub(crate) trait Fulfillment: Send + Sync {
    fn survives_restart(&self) -> bool;
    fn accepts_live(&self) -> bool;
    /// Tells one inbox from another.
    fn identity(&self) -> String;
    /// The applications and modes of the inbox that have something due.
    fn due_scopes(&self) -> BoxFuture<'_, Result<Vec<Scope>, InboxError>>;
    /// When the application was born on this inbox. Every other call that moves anything checks
    /// first that the inbox is not that of another Stripe account.
    fn birth<'a>(&'a self, scope: &'a Scope) -> BoxFuture<'a, Result<SystemTime, InboxError>>;
    /// The error of every call, once it is known that the inbox is that of another account.
    #[cfg(feature = "intent")]
    fn refused(&self) -> Option<InboxError>;
    fn deliver<'a>(
        &'a self,
        delivery: Delivery,
        ours: &'a OwnershipRule,
    ) -> BoxFuture<'a, Result<Received, InboxError>>;
    #[cfg(feature = "intent")]
    fn intent<'a>(
        &'a self,
        order: &'a OrderKey,
    ) -> BoxFuture<'a, Result<Option<IntentRecord>, InboxError>>;
    #[cfg(feature = "intent")]
    fn put_intent<'a>(
        &'a self,
        order: &'a OrderKey,
        expected: Option<u64>,
        record: IntentRecord,
    ) -> BoxFuture<'a, Result<bool, InboxError>>;
    #[cfg(feature = "intent")]
    fn intent_of_payment<'a>(
        &'a self,
        scope: &'a Scope,
        payment: &'a str,
    ) -> BoxFuture<'a, Result<Option<(OrderKey, IntentRecord)>, InboxError>>;
    fn events<'a>(
        &'a self,
        filter: &'a EventFilter,
    ) -> BoxFuture<'a, Result<Vec<EventRecord>, InboxError>>;
    #[cfg(feature = "intent")]
    fn event<'a>(
        &'a self,
        scope: &'a Scope,
        event: &'a str,
    ) -> BoxFuture<'a, Result<Option<EventRecord>, InboxError>>;
    /// Runs a stored event if it is due: one that failed has its pause.
    #[cfg(feature = "intent")]
    fn run_if_due<'a>(
        &'a self,
        event: &'a EventRecord,
    ) -> BoxFuture<'a, Result<Received, InboxError>>;
    fn step_due<'a>(&'a self, scope: &'a Scope) -> BoxFuture<'a, Result<bool, InboxError>>;
    fn stats<'a>(&'a self, scope: &'a Scope) -> BoxFuture<'a, Result<Stats, InboxError>>;
    fn prune<'a>(
        &'a self,
        scope: &'a Scope,
        before: SystemTime,
        most: usize,
    ) -> BoxFuture<'a, Result<usize, InboxError>>;
    #[cfg(feature = "intent")]
    fn open_intents<'a>(
        &'a self,
        scope: &'a Scope,
        after: Option<&'a OrderKey>,
        since: SystemTime,
        most: usize,
    ) -> BoxFuture<'a, Result<Vec<(OrderKey, IntentRecord)>, InboxError>>;
    #[cfg(feature = "intent")]
    fn accounts<'a>(
        &'a self,
        scope: &'a Scope,
        after: Option<&'a str>,
        since: SystemTime,
        most: usize,
    ) -> BoxFuture<'a, Result<Vec<String>, InboxError>>;
    #[cfg(feature = "intent")]
    fn operation<'a>(
        &'a self,
        key: &'a OperationKey,
    ) -> BoxFuture<'a, Result<Option<OperationRecord>, InboxError>>;
    #[cfg(feature = "intent")]
    fn put_operation<'a>(
        &'a self,
        key: &'a OperationKey,
        expected: Option<u64>,
        record: OperationRecord,
    ) -> BoxFuture<'a, Result<bool, InboxError>>;
    fn bookmark<'a>(
        &'a self,
        scope: &'a Scope,
        name: &'a str,
    ) -> BoxFuture<'a, Result<Option<String>, InboxError>>;
    fn put_bookmark<'a>(
        &'a self,
        scope: &'a Scope,
        name: &'a str,
        expected: Option<&'a str>,
        value: &'a str,
    ) -> BoxFuture<'a, Result<bool, InboxError>>;
    fn replay<'a>(&'a self, event: &'a EventRecord) -> BoxFuture<'a, Result<Received, InboxError>>;
    fn discard<'a>(&'a self, event: &'a EventRecord) -> BoxFuture<'a, Result<(), InboxError>>;
}

impl<I: Inbox, H: FulfillmentHandler<I::Connection>> Fulfillment for Engine<I, H> {
    fn survives_restart(&self) -> bool {
        self.inbox.limits().survives_restart
    }

    fn accepts_live(&self) -> bool {
        self.inbox.limits().accepts_live
    }

    fn identity(&self) -> String {
        self.inbox.identity()
    }

    fn due_scopes(&self) -> BoxFuture<'_, Result<Vec<Scope>, InboxError>> {
        Box::pin(self.inbox.due_scopes())
    }

    fn birth<'a>(&'a self, scope: &'a Scope) -> BoxFuture<'a, Result<SystemTime, InboxError>> {
        Box::pin(self.births.of(&self.inbox, scope))
    }

    #[cfg(feature = "intent")]
    fn refused(&self) -> Option<InboxError> {
        self.births.refused()
    }

    fn deliver<'a>(
        &'a self,
        delivery: Delivery,
        ours: &'a OwnershipRule,
    ) -> BoxFuture<'a, Result<Received, InboxError>> {
        Box::pin(async move {
            self.births.of(&self.inbox, &delivery.scope).await?;
            Engine::deliver(self, delivery, ours).await
        })
    }

    #[cfg(feature = "intent")]
    fn intent<'a>(
        &'a self,
        order: &'a OrderKey,
    ) -> BoxFuture<'a, Result<Option<IntentRecord>, InboxError>> {
        Box::pin(async move {
            self.births.of(&self.inbox, &order.scope).await?;
            self.inbox.intent(order).await
        })
    }

    #[cfg(feature = "intent")]
    fn put_intent<'a>(
        &'a self,
        order: &'a OrderKey,
        expected: Option<u64>,
        record: IntentRecord,
    ) -> BoxFuture<'a, Result<bool, InboxError>> {
        Box::pin(async move {
            self.births.of(&self.inbox, &order.scope).await?;
            self.inbox.put_intent(order, expected, record).await
        })
    }

    #[cfg(feature = "intent")]
    fn intent_of_payment<'a>(
        &'a self,
        scope: &'a Scope,
        payment: &'a str,
    ) -> BoxFuture<'a, Result<Option<(OrderKey, IntentRecord)>, InboxError>> {
        Box::pin(async move {
            self.births.of(&self.inbox, scope).await?;
            self.inbox.intent_of_payment(scope, payment).await
        })
    }

    fn events<'a>(
        &'a self,
        filter: &'a EventFilter,
    ) -> BoxFuture<'a, Result<Vec<EventRecord>, InboxError>> {
        Box::pin(self.inbox.events(filter))
    }

    #[cfg(feature = "intent")]
    fn event<'a>(
        &'a self,
        scope: &'a Scope,
        event: &'a str,
    ) -> BoxFuture<'a, Result<Option<EventRecord>, InboxError>> {
        Box::pin(self.inbox.event(scope, event))
    }

    #[cfg(feature = "intent")]
    fn run_if_due<'a>(
        &'a self,
        event: &'a EventRecord,
    ) -> BoxFuture<'a, Result<Received, InboxError>> {
        Box::pin(async move {
            self.births.of(&self.inbox, &event.scope).await?;
            let mut session = self.inbox.session();
            let found = session.find(&event.scope, &event.id, [None; 2]).await?;
            let found = found.event.ok_or(InboxError::UnknownEvent)?;
            self.stored(session, found, At::Due).await
        })
    }

    fn step_due<'a>(&'a self, scope: &'a Scope) -> BoxFuture<'a, Result<bool, InboxError>> {
        Box::pin(async move {
            self.births.of(&self.inbox, scope).await?;
            Engine::step_due(self, scope).await
        })
    }

    fn stats<'a>(&'a self, scope: &'a Scope) -> BoxFuture<'a, Result<Stats, InboxError>> {
        Box::pin(self.inbox.stats(scope))
    }

    fn prune<'a>(
        &'a self,
        scope: &'a Scope,
        before: SystemTime,
        most: usize,
    ) -> BoxFuture<'a, Result<usize, InboxError>> {
        Box::pin(self.inbox.prune(scope, before, most))
    }

    #[cfg(feature = "intent")]
    fn open_intents<'a>(
        &'a self,
        scope: &'a Scope,
        after: Option<&'a OrderKey>,
        since: SystemTime,
        most: usize,
    ) -> BoxFuture<'a, Result<Vec<(OrderKey, IntentRecord)>, InboxError>> {
        Box::pin(async move {
            self.births.of(&self.inbox, scope).await?;
            self.inbox.open_intents(scope, after, since, most).await
        })
    }

    #[cfg(feature = "intent")]
    fn accounts<'a>(
        &'a self,
        scope: &'a Scope,
        after: Option<&'a str>,
        since: SystemTime,
        most: usize,
    ) -> BoxFuture<'a, Result<Vec<String>, InboxError>> {
        Box::pin(async move {
            self.births.of(&self.inbox, scope).await?;
            self.inbox.accounts(scope, after, since, most).await
        })
    }

    #[cfg(feature = "intent")]
    fn operation<'a>(
        &'a self,
        key: &'a OperationKey,
    ) -> BoxFuture<'a, Result<Option<OperationRecord>, InboxError>> {
        Box::pin(async move {
            self.births.of(&self.inbox, &key.scope).await?;
            self.inbox.operation(key).await
        })
    }

    #[cfg(feature = "intent")]
    fn put_operation<'a>(
        &'a self,
        key: &'a OperationKey,
        expected: Option<u64>,
        record: OperationRecord,
    ) -> BoxFuture<'a, Result<bool, InboxError>> {
        Box::pin(async move {
            self.births.of(&self.inbox, &key.scope).await?;
            self.inbox.put_operation(key, expected, record).await
        })
    }

    fn bookmark<'a>(
        &'a self,
        scope: &'a Scope,
        name: &'a str,
    ) -> BoxFuture<'a, Result<Option<String>, InboxError>> {
        Box::pin(self.inbox.bookmark(scope, name))
    }

    fn put_bookmark<'a>(
        &'a self,
        scope: &'a Scope,
        name: &'a str,
        expected: Option<&'a str>,
        value: &'a str,
    ) -> BoxFuture<'a, Result<bool, InboxError>> {
        Box::pin(self.inbox.put_bookmark(scope, name, expected, value))
    }

    fn replay<'a>(&'a self, event: &'a EventRecord) -> BoxFuture<'a, Result<Received, InboxError>> {
        Box::pin(async move {
            self.births.of(&self.inbox, &event.scope).await?;
            let patience = self.deadline + self.patience;
            self.inbox.replay(&event.scope, &event.id, patience).await?;
            let start = Start::Which(Which::Now(&event.id));
            self.step(&event.scope, start).await
        })
    }

    fn discard<'a>(&'a self, event: &'a EventRecord) -> BoxFuture<'a, Result<(), InboxError>> {
        Box::pin(async move {
            self.births.of(&self.inbox, &event.scope).await?;
            let patience = self.deadline + self.patience;
            self.inbox
                .discard(&event.scope, &event.id, patience)
                .await?;
            self.step_those_who_waited(&Step::discarded(event)).await;
            Ok(())
        })
    }
}
