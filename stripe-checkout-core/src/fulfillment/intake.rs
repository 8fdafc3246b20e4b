//! Receives an event: finds its owner, and stores it before anything else happens.

use super::decide::{is_session, note, settles};
use super::engine::{Delivery, Engine};
use super::inbox::{Inbox, Session};
use super::inbox_ext::InboxExt as _;
use super::records::{EventState, Found, NewEvent, OrderKey, Scope, Stored};
use super::step::{At, Start};
use super::verdict::{Received, Step};
use super::{FulfillmentHandler, OwnershipRule};
use crate::error::InboxError;
use crate::marks::Marks;
use crate::metadata::Metadata;
use crate::webhook::{CheckoutSession, Event, Outcome, Payment};

impl<I: Inbox, H: FulfillmentHandler<I::Connection>> Engine<I, H> {
    pub(super) async fn deliver(
        &self,
        delivery: Delivery,
        ours: &OwnershipRule,
    ) -> Result<Received, InboxError> {
        let outcome = delivery.event.outcome();
        tracing::Span::current().record("payment", outcome.payment_id());
        let at = match delivery.at_once {
            true => At::Once,
            false => At::Due,
        };
        let ids = ids(&delivery.event, outcome);
        let (scope, id) = (&delivery.scope, delivery.event.id());
        let mut session = self.inbox.session();
        let mut found = session.find(scope, id, ids).await?;
        if let Some(known) = found.event.take() {
            tracing::Span::current().record("payment", known.record.payment.as_deref());
            return self.stored(session, known, at).await;
        }
        if let Outcome::Unreadable(error) = outcome {
            tracing::error!(event = id, event_type = delivery.event.event_type(), error = %crate::error::Chain(error), "genuine, and about a payment, but it cannot be read");
        }
        let order = match self.known_owner(&delivery, outcome, found) {
            Some(order) => order,
            None => {
                if delivery.event.account().is_some() || takes_back(outcome) {
                    // No connection is held during the request to Stripe.
                    session = self.inbox.session();
                }
                self.owner(&delivery, outcome, ours).await?
            }
        };
        let event = &delivery.event;
        let is_ours = order.is_some();
        let new = NewEvent {
            scope: scope.clone(),
            id: event.id().to_owned(),
            event_type: event.event_type().to_owned(),
            payment: outcome.payment_id().map(str::to_owned),
            order: order.flatten(),
            ours: is_ours,
            settles: is_ours && settles(outcome),
            // Also for a payment that is not known as ours yet: a note only ever stops a delivery.
            note: note(outcome),
            body: event.body().to_owned().into(),
            received: delivery.received,
        };
        let lease = (!self.queued).then(|| self.terms().lease);
        loop {
            if let Some(stored) = session.receive(&new, lease).await? {
                if self.queued {
                    return Ok(Received::Queued);
                }
                return self
                    .step(
                        &new.scope,
                        Start::Claimed(session, stored.into(), event.clone()),
                    )
                    .await;
            }
            // It arrived by two ways at once.
            let found = session.find(&new.scope, &new.id, [None; 2]).await?;
            if let Some(known) = found.event {
                return self.stored(session, known, at).await;
            }
        }
    }

    /// Runs a stored event, or leaves it to a worker.
    pub(super) async fn stored(
        &self,
        session: I::Session,
        event: Stored,
        at: At,
    ) -> Result<Received, InboxError> {
        if self.queued {
            return Ok(match event.record.state {
                EventState::Pending => Received::Queued,
                EventState::Dead => Received::Failed,
                state => Received::Duplicate(state),
            });
        }
        let scope = event.record.scope.clone();
        let success = (at == At::Due && event.record.settles).then(|| event.record.clone());
        let start = Start::Found(session, event.into(), at);
        let received = self.step(&scope, start).await?;
        if let (Received::Queued, Some(success)) = (received, success) {
            // The success is not due yet, but other events of its payment may be due.
            self.step_those_who_waited(&Step::not_due(success)).await;
        }
        Ok(received)
    }

    /// The owner of the payment, if the rows name it. `None` if they do not.
    fn known_owner(
        &self,
        delivery: &Delivery,
        outcome: &Outcome,
        found: Found,
    ) -> Option<Option<Option<OrderKey>>> {
        let event = &delivery.event;
        let account = event.account();
        if let Some((order, _)) = found.order {
            // An event of another account is not about our money. But an organisation names the
            // merchant's own account too, and Stripe's ids are unique.
            let own = order.account.is_none() && self.may_name_own(event);
            let same = order.account.as_deref() == account;
            return Some((same || own).then_some(Some(order)));
        }
        // With the order, because its fulfilment must also record that the order is paid.
        let order = || {
            outcome
                .payment()
                .and_then(|payment| order_of(delivery, payment))
        };
        found.is_known.then(|| Some(order()))
    }

    /// Whether the payment is this application's (`None` if not), and its order, if it has one. It
    /// is used when the rows do not name the owner.
    async fn owner(
        &self,
        delivery: &Delivery,
        outcome: &Outcome,
        ours: &OwnershipRule,
    ) -> Result<Option<Option<OrderKey>>, InboxError> {
        let event = &delivery.event;
        let account = event.account();
        let [Some(id), _] = ids(event, outcome) else {
            return Ok(None);
        };
        if account.is_some() {
            let payment = outcome.payment();
            if let Some(order) = self
                .order_of_session(&delivery.scope, id, account, payment)
                .await?
            {
                return Ok(Some(Some(order)));
            }
            if let Some(order) = self
                .forgotten_order(&delivery.scope, id, account, outcome, ours)
                .await?
            {
                return Ok(Some(Some(order)));
            }
        }
        let looked_up = match (self.recheck.lookup(), ours) {
            (_, OwnershipRule::AllPayments) => None,
            (_, OwnershipRule::ByMetadata(_)) if account.is_some() => None,
            (Some(lookup), _) if takes_back(outcome) => {
                let found = lookup.payment(id, account).await;
                found.map_err(InboxError::Unavailable)?
            }
            _ => None,
        };
        let payment = outcome.payment().or(looked_up.as_ref());
        let bare = event.object::<MetadataOnly>().ok();
        let metadata = payment
            .map(Payment::metadata)
            .or(bare.as_ref().map(|bare| &bare.metadata));
        let marks = metadata.and_then(Marks::of);
        let is_marked = |names: &[String]| {
            let application = marks.as_ref().map(|marks| marks.application);
            names.iter().any(|name| application == Some(name.as_str()))
        };
        let is_ours = match ours {
            // A payment method has no mark, and a rule about payments says nothing about a saved
            // card.
            _ if is_a_method(outcome) => account.is_none(),
            OwnershipRule::Custom(_) if is_a_setup(outcome) => account.is_none(),
            OwnershipRule::AllPayments => account.is_none(),
            OwnershipRule::ByMetadata(names) => account.is_none() && is_marked(names),
            OwnershipRule::Custom(rule) => payment.is_some_and(|payment| rule(payment)),
        };
        if !is_ours && self.may_name_own(event) {
            let may_be_ours = match ours {
                OwnershipRule::AllPayments => outcome.payment().is_some(),
                OwnershipRule::ByMetadata(names) => is_marked(names),
                OwnershipRule::Custom(_) => false,
            };
            if may_be_ours {
                tracing::error!(
                    event = event.id(),
                    account,
                    payment = id,
                    "an organisation's event may be about your own account, and the keys do not tell which one that is: it is not acknowledged"
                );
                return Err(InboxError::Unavailable(
                    "the keys do not tell which account of the organisation is your own".into(),
                ));
            }
        }
        Ok(is_ours.then(|| payment.and_then(|payment| order_of(delivery, payment))))
    }

    /// Whether an organisation's event names an account that may be the merchant's own. Keys from
    /// before 2019 do not name the merchant's account, and neither does a setup without keys.
    fn may_name_own(&self, event: &Event) -> bool {
        event.is_named_by_context() && self.config.account().is_none()
    }

    /// The order of a PaymentIntent that was made in a Checkout Session on a connected account.
    ///
    /// Until the session is complete, the order's row has the session only. A connected account can
    /// write any metadata itself, so the marks only say which row to look at. Stripe says in which
    /// session the PaymentIntent was made, and that must be a session of this application.
    async fn order_of_session(
        &self,
        scope: &Scope,
        id: &str,
        account: Option<&str>,
        payment: Option<&Payment>,
    ) -> Result<Option<OrderKey>, InboxError> {
        let named = match payment {
            Some(payment) if payment.session().is_some() => return Ok(None),
            Some(payment) => {
                let marks = payment.order_id().zip(payment.session_attempt());
                let Some((reference, attempt)) = marks else {
                    return Ok(None);
                };
                let order = OrderKey {
                    scope: scope.clone(),
                    account: account.map(str::to_owned),
                    reference: reference.to_owned(),
                };
                let Some(row) = self.inbox.intent(&order).await? else {
                    return Ok(None);
                };
                let open = row.payment.as_deref().is_some_and(is_session);
                Some((order, open && row.attempt == attempt))
            }
            // A refund or a dispute has no marks. Without Stripe's page there is no session, and
            // the key may not be allowed to look for one.
            None if !self.has_sessions => return Ok(None),
            None => None,
        };
        let Some(lookup) = self.recheck.lookup() else {
            return Ok(named.and_then(|(order, is_open)| is_open.then_some(order)));
        };
        let session = lookup.session(id, account).await;
        let Some(session) = session.map_err(InboxError::Unavailable)? else {
            return Ok(None);
        };
        let known = self.inbox.intent_of_payment(scope, session.id()).await?;
        Ok(known
            .map(|(order, _)| order)
            .filter(|order| order.account.as_deref() == account))
    }

    /// The order of a payment on a connected account that an inbox in memory forgot at a restart.
    ///
    /// Stripe records in a PaymentIntent which Connect application made it. The connected account
    /// cannot choose that, so the marks of such a PaymentIntent are this application's own.
    async fn forgotten_order(
        &self,
        scope: &Scope,
        id: &str,
        account: Option<&str>,
        outcome: &Outcome,
        ours: &OwnershipRule,
    ) -> Result<Option<OrderKey>, InboxError> {
        let (Some(lookup), Some(connect), OwnershipRule::ByMetadata(names)) =
            (self.recheck.lookup(), &self.connect_application, ours)
        else {
            return Ok(None);
        };
        let is_marked = |payment: &Payment| {
            let marks = Marks::of(payment.metadata());
            marks.is_some_and(|marks| names.iter().any(|name| name == marks.application))
        };
        let may_be_ours = match outcome.payment() {
            Some(payment) => is_marked(payment),
            None => takes_back(outcome),
        };
        if self.inbox.limits().survives_restart || !may_be_ours {
            return Ok(None);
        }
        let found = lookup.payment(id, account).await;
        let found = found
            .map_err(InboxError::Unavailable)?
            .filter(|found| found.application() == Some(connect.as_str()) && is_marked(found));
        Ok(found.and_then(|found| {
            Some(OrderKey {
                scope: scope.clone(),
                account: account.map(str::to_owned),
                reference: found.order_id()?.to_owned(),
            })
        }))
    }
}

/// The payment of an event, and its Checkout Session. Before a buyer pays, the order knows the
/// session only.
fn ids<'a>(event: &'a Event, outcome: &'a Outcome) -> [Option<&'a str>; 2] {
    let unreadable = matches!(outcome, Outcome::Unreadable(_)).then(|| event.object_id());
    let id = outcome.payment_id().or(unreadable.flatten());
    let session = outcome.payment().and_then(Payment::session);
    let session = session.map(CheckoutSession::id);
    [
        id,
        session.filter(|known| id.is_some() && Some(*known) != id),
    ]
}

fn order_of(delivery: &Delivery, payment: &Payment) -> Option<OrderKey> {
    payment.order_id().map(|reference| OrderKey {
        scope: delivery.scope.clone(),
        account: delivery.event.account().map(str::to_owned),
        reference: reference.to_owned(),
    })
}

fn is_a_method(outcome: &Outcome) -> bool {
    matches!(
        outcome,
        Outcome::PaymentMethodAttached(_) | Outcome::PaymentMethodDetached(_)
    )
}

fn is_a_setup(outcome: &Outcome) -> bool {
    matches!(
        outcome,
        Outcome::SetupSucceeded(_) | Outcome::SetupFailed(..)
    )
}

/// Whether the event takes a payment back, and does not say whose it was.
fn takes_back(outcome: &Outcome) -> bool {
    matches!(
        outcome,
        Outcome::Refunded(_) | Outcome::ChargeRefundUpdated(_) | Outcome::ChargeRefunded(_)
    ) || outcome.dispute().is_some()
}

/// The metadata of an object that is not read in any other way.
#[derive(serde::Deserialize)]
struct MetadataOnly {
    #[serde(default)]
    metadata: Metadata,
}
