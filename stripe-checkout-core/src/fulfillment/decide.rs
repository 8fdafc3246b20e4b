//! Decides how an event is handled, only from what is stored. It is pure, so that every inbox
//! decides alike and every rule can be tested without an inbox.

use std::collections::BTreeSet;
use std::time::Duration;

use super::payment_event::{PaymentEvent, created};
use super::records::{
    FulfillmentStatus, IntentRecord, IntentState, PaymentRecord, PendingNote, Release, WentBack,
};
use crate::webhook::{
    CheckoutSession, Dispute, DisputeChange, Event, Outcome, Payment, Refund, RefundStatus,
};

/// The way in which an event is handled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Check the amounts, then fulfil.
    Fulfill,
    /// Another PaymentIntent has paid the order.
    Duplicate,
    /// The money has already gone back.
    RefundedBefore,
    /// Give the handler the event that fits the outcome.
    Tell,
    /// Give it to the handler as one of the other events.
    TellAsEvent,
    /// Show a refund to a person: it may stand for money that was never captured.
    Unclear,
    /// Write it down, and do not call the handler: the handler received the same news by another
    /// event.
    WriteDown,
    /// Do not call the handler: the event is out of date, or another event reports the same.
    Superseded,
    /// Its turn has not come: it waits for the success of its payment.
    Wait,
}

/// How long a refund or a dispute waits for a success that this inbox has not received. A refund or
/// a dispute can overtake its success by seconds. After an hour, the missing success was handled
/// before this inbox began to keep records.
const OVERTAKEN: Duration = Duration::from_secs(60 * 60);

/// Decides about an event of a payment that is ours; `age` is the event's.
pub(super) fn decide(
    outcome: &Outcome,
    age: Duration,
    payment: &PaymentRecord,
    intent: Option<&IntentRecord>,
) -> Decision {
    let settled = !matches!(
        payment.success,
        FulfillmentStatus::No | FulfillmentStatus::Pending
    );
    let state = |news: &Payment| {
        let present = intent.filter(|intent| is_present(intent, news));
        present.map(|intent| intent.state)
    };
    match outcome {
        Outcome::Succeeded(news) if session_tells_success(news) => Decision::Superseded,
        Outcome::Processing(news) if news.is_told_by_session() => Decision::Superseded,
        // The session's events report that a payment in processing has failed. They do not report a
        // card that is declined on the session's page.
        Outcome::Failed(news, _)
            if news.is_told_by_session()
                && matches!(
                    state(news),
                    Some(IntentState::Processing | IntentState::Canceled)
                ) =>
        {
            Decision::Superseded
        }
        // A session that failed or expired does not become active again.
        Outcome::Processing(news) | Outcome::Failed(news, _)
            if news.session().is_some() && state(news) == Some(IntentState::Canceled) =>
        {
            Decision::Superseded
        }
        // A success that is a dead letter gets another chance when another event object reports it.
        // All other successes were handled.
        Outcome::Succeeded(_) if settled && payment.success != FulfillmentStatus::Dead => {
            Decision::Superseded
        }
        Outcome::Succeeded(paid) => {
            let paid_by = intent.and_then(|intent| intent.paid_by.as_deref());
            if paid_by.is_some_and(|by| by != paid.id()) {
                Decision::Duplicate
            } else if payment.disputed() || went_back(payment, paid, intent) == WentBack::All {
                Decision::RefundedBefore
            } else {
                Decision::Fulfill
            }
        }
        Outcome::Free(_) if settled && payment.success != FulfillmentStatus::Dead => {
            Decision::Superseded
        }
        // There is nothing to refund, and nothing must be delivered twice.
        Outcome::Free(free)
            if intent
                .and_then(|intent| intent.paid_by.as_deref())
                .is_some_and(|by| by != free.id()) =>
        {
            Decision::Superseded
        }
        Outcome::Free(_) => Decision::Fulfill,
        Outcome::Canceled(_) if payment.canceled || settled => Decision::Superseded,
        // This PaymentIntent was replaced, or is being replaced. The order continues with another
        // PaymentIntent, which is not canceled.
        Outcome::Canceled(canceled)
            if intent.is_some_and(|intent| {
                intent.state == IntentState::Creating
                    || (intent.payment.is_some() && !is_present(intent, canceled))
            }) =>
        {
            Decision::Superseded
        }
        // An authorisation may grow. Events of smaller amounts may arrive late.
        Outcome::Capturable(news)
            if payment.canceled
                || settled
                || authorised(payment, news) >= Some(capturable(news)) =>
        {
            Decision::Superseded
        }
        Outcome::Processing(_) | Outcome::Failed(..) | Outcome::RequiresAction(_)
            if payment.capturable || payment.canceled || settled =>
        {
            Decision::Superseded
        }
        // None of these is about a payment. Each SetupIntent and each payment method has a row of
        // its own, and reaches each end once.
        Outcome::SetupSucceeded(_) | Outcome::SetupFailed(..) if settled => Decision::Superseded,
        Outcome::PaymentMethodAttached(_) if settled || payment.canceled => Decision::Superseded,
        Outcome::PaymentMethodDetached(_) if payment.canceled => Decision::Superseded,
        // The end of an authorisation that was never captured: no money came, and none goes back.
        Outcome::Refunded(refund)
            if refund.is_expired_authorisation()
                || (payment.canceled && payment.success == FulfillmentStatus::No) =>
        {
            Decision::TellAsEvent
        }
        Outcome::Refunded(_)
        | Outcome::DisputeOpened(_)
        | Outcome::DisputeUpdated(..)
        | Outcome::DisputeClosed(_)
            if payment.success == FulfillmentStatus::Pending
                || (payment.success == FulfillmentStatus::No && age < OVERTAKEN) =>
        {
            Decision::Wait
        }
        Outcome::Refunded(refund) => match RefundNews::of(refund) {
            _ if payment.stands_for_release(refund) == Release::Yes => Decision::TellAsEvent,
            _ if payment.stands_for_release(refund) == Release::Unclear => Decision::Unclear,
            Some(news) if news.is_old(told_of(payment, refund.id())) => Decision::Superseded,
            Some(_) => Decision::Tell,
            // A status that this version does not know.
            None => Decision::TellAsEvent,
        },
        _ => match outcome.dispute() {
            Some(dispute) if is_old_news(outcome, dispute, told_of(payment, dispute.id())) => {
                Decision::Superseded
            }
            _ => Decision::Tell,
        },
    }
}

/// Whether the news is about the PaymentIntent or the Checkout Session that the order's row has
/// now, or about the PaymentIntent of that session.
pub(crate) fn is_present(row: &IntentRecord, news: &Payment) -> bool {
    let Some(now) = row.payment.as_deref() else {
        return false;
    };
    let session = news.session().map(CheckoutSession::id);
    now == news.id()
        || session == Some(now)
        // The PaymentIntent does not name its session, but it names the attempt.
        || (is_session(now) && session.is_none() && news.session_attempt() == Some(row.attempt))
}

/// Whether this is the id of a Checkout Session.
pub(crate) fn is_session(id: &str) -> bool {
    id.starts_with("cs_")
}

/// Whether the session reports the success of this PaymentIntent, with the amounts taken off and
/// added. No session reports the capture of money that was authorised first.
fn session_tells_success(news: &Payment) -> bool {
    news.is_told_by_session() && !news.captures_manually()
}

/// Whether all the captured money went back.
pub(super) fn went_back(
    known: &PaymentRecord,
    paid: &Payment,
    intent: Option<&IntentRecord>,
) -> WentBack {
    known.went_back(paid.amount_received().minor(), released(paid, intent))
}

/// The amount in minor units that our own capture was to bring the payment to. The row has it
/// before the call is sent, so it counts only if Stripe accepted the call.
pub(super) fn own_capture(row: &IntentRecord, paid: &Payment) -> Option<u64> {
    row.capture
        .filter(|_| paid.is_captured_by_us() && is_present(row, paid))
}

/// Minor units of this payment that were authorised and not captured. Zero after our own capture:
/// the API version of that call makes no refund of them.
fn released(paid: &Payment, intent: Option<&IntentRecord>) -> u64 {
    let own = intent.and_then(|row| own_capture(row, paid));
    match own {
        Some(_) => 0,
        None => paid
            .amount()
            .minor()
            .saturating_sub(paid.amount_received().minor()),
    }
}

/// The payment's row with the figures of its success.
pub(super) fn with_figures(
    known: &PaymentRecord,
    paid: &Payment,
    intent: Option<&IntentRecord>,
) -> PaymentRecord {
    PaymentRecord {
        received: paid.amount_received().minor(),
        released: released(paid, intent),
        ..known.clone()
    }
}

/// The news of a refund. Each comes once, and no earlier one comes after a later one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RefundNews {
    Pending,
    RequiresAction,
    Succeeded,
    /// Failed, or canceled.
    Failed,
}

impl RefundNews {
    const ALL: [Self; 4] = [
        Self::Pending,
        Self::RequiresAction,
        Self::Succeeded,
        Self::Failed,
    ];

    /// None if the status is unknown.
    pub(super) fn of(refund: &Refund) -> Option<Self> {
        Some(match refund.status()? {
            RefundStatus::Pending => Self::Pending,
            RefundStatus::RequiresAction => Self::RequiresAction,
            RefundStatus::Succeeded => Self::Succeeded,
            RefundStatus::Failed | RefundStatus::Canceled => Self::Failed,
            RefundStatus::Other(_) => return None,
        })
    }

    fn word(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::RequiresAction => "requires_action",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
        }
    }

    /// The order of the news. A refund that succeeded may still fail, when the buyer's bank sends
    /// the money back. Nothing else goes backwards.
    fn rank(self) -> u8 {
        match self {
            Self::Pending | Self::RequiresAction => 0,
            Self::Succeeded => 1,
            Self::Failed => 2,
        }
    }

    fn is_old(self, notified: Option<&BTreeSet<String>>) -> bool {
        let notified =
            |news: &Self| notified.is_some_and(|notified| notified.contains(news.word()));
        notified(&self)
            || Self::ALL
                .iter()
                .any(|news| news.rank() > self.rank() && notified(news))
    }
}

/// The word for an event of a dispute: the same for two event objects of one change, and for no
/// other change. An update may contain any change, so it has no word.
fn dispute_word(outcome: &Outcome, dispute: &Dispute) -> Option<String> {
    let movements = dispute.movements();
    match outcome {
        Outcome::DisputeOpened(_) => Some("opened".to_owned()),
        Outcome::DisputeClosed(_) => Some(format!("closed {}", dispute.status())),
        Outcome::DisputeUpdated(_, DisputeChange::FundsWithdrawn) => {
            Some(format!("withdrawn {movements}"))
        }
        Outcome::DisputeUpdated(_, DisputeChange::FundsReinstated) => {
            Some(format!("reinstated {movements}"))
        }
        _ => None,
    }
}

fn is_old_news(outcome: &Outcome, dispute: &Dispute, notified: Option<&BTreeSet<String>>) -> bool {
    let Some(notified) = notified else {
        return false;
    };
    let closed = || notified.iter().any(|word| word.starts_with("closed "));
    match (outcome, dispute_word(outcome, dispute)) {
        (_, Some(word)) if notified.contains(&word) => true,
        (Outcome::DisputeOpened(_), _) => closed(),
        (Outcome::DisputeUpdated(_, DisputeChange::Updated), _) => {
            closed() && !dispute.status().is_closed()
        }
        _ => false,
    }
}

fn told_of<'a>(payment: &'a PaymentRecord, id: &str) -> Option<&'a BTreeSet<String>> {
    payment.notified.get(id)
}

/// The word before the minor units of an authorised amount, under the payment's own id.
const AUTHORISED: &str = "authorised ";

fn capturable(payment: &Payment) -> u64 {
    payment.amount_capturable().minor()
}

/// The largest amount, in minor units, that the handler received as authorised.
fn authorised(row: &PaymentRecord, payment: &Payment) -> Option<u64> {
    let words = told_of(row, payment.id()).into_iter().flatten();
    let amounts = words.filter_map(|word| word.strip_prefix(AUTHORISED)?.parse().ok());
    amounts.max()
}

/// The id of the object whose news the handler received, and the word for that news.
fn notified(outcome: &Outcome) -> Option<(&str, String)> {
    match outcome {
        Outcome::Refunded(refund) => {
            let news = RefundNews::of(refund)?;
            return Some((refund.id(), news.word().to_owned()));
        }
        Outcome::Capturable(payment) => {
            let word = format!("{AUTHORISED}{}", capturable(payment));
            return Some((payment.id(), word));
        }
        _ => {}
    }
    let dispute = outcome.dispute()?;
    Some((dispute.id(), dispute_word(outcome, dispute)?))
}

/// The event that the handler receives.
pub(crate) fn payment_event<'a>(
    decision: Decision,
    outcome: &'a Outcome,
    event: &'a Event,
) -> PaymentEvent<'a> {
    let created = created(event);
    match (decision, outcome) {
        (Decision::Duplicate, Outcome::Succeeded(payment)) => {
            PaymentEvent::DuplicatePayment { payment, created }
        }
        (Decision::RefundedBefore, Outcome::Succeeded(payment)) => {
            PaymentEvent::RefundedBeforeFulfillment { payment, created }
        }
        (_, Outcome::Processing(payment)) => PaymentEvent::PaymentProcessing { payment, created },
        (_, Outcome::Failed(payment, failure)) => PaymentEvent::PaymentFailed {
            payment,
            failure,
            created,
        },
        (_, Outcome::Canceled(payment)) => PaymentEvent::PaymentCanceled { payment, created },
        (_, Outcome::Capturable(payment)) => PaymentEvent::RequiresCapture { payment, created },
        (_, Outcome::RequiresAction(payment)) => PaymentEvent::RequiresAction { payment, created },
        (_, Outcome::SetupSucceeded(setup)) => PaymentEvent::SetupSucceeded { setup, created },
        (_, Outcome::SetupFailed(setup, failure)) => PaymentEvent::SetupFailed {
            setup,
            failure,
            created,
        },
        (_, Outcome::PaymentMethodAttached(method)) => {
            PaymentEvent::PaymentMethodAttached { method, created }
        }
        (_, Outcome::PaymentMethodDetached(method)) => {
            PaymentEvent::PaymentMethodDetached { method, created }
        }
        (Decision::Tell, Outcome::Refunded(refund)) => match RefundNews::of(refund) {
            Some(RefundNews::Succeeded) => PaymentEvent::RefundSucceeded { refund, created },
            Some(RefundNews::Failed) => PaymentEvent::RefundFailed { refund, created },
            _ => PaymentEvent::RefundPending { refund, created },
        },
        (_, Outcome::DisputeOpened(dispute)) => PaymentEvent::DisputeCreated { dispute, created },
        (_, Outcome::DisputeUpdated(dispute, change)) => PaymentEvent::DisputeUpdated {
            dispute,
            change: *change,
            created,
        },
        (_, Outcome::DisputeClosed(dispute)) => PaymentEvent::DisputeClosed { dispute, created },
        _ => PaymentEvent::Other { event, created },
    }
}

/// The payment's row after the event was handled.
pub(super) fn payment_after(
    outcome: &Outcome,
    decision: Decision,
    before: &PaymentRecord,
) -> PaymentRecord {
    let mut after = before.clone();
    match (outcome, decision) {
        (_, Decision::Fulfill) => after.success = FulfillmentStatus::Fulfilled,
        (_, Decision::Duplicate) => after.success = FulfillmentStatus::Duplicate,
        (_, Decision::RefundedBefore) => after.success = FulfillmentStatus::Refunded,
        (Outcome::SetupSucceeded(_) | Outcome::PaymentMethodAttached(_), _) => {
            after.success = FulfillmentStatus::Fulfilled;
        }
        (Outcome::Canceled(_) | Outcome::PaymentMethodDetached(_), _) => after.canceled = true,
        (_, Decision::Tell) => {
            after.capturable |= matches!(outcome, Outcome::Capturable(_));
            if let Some((id, word)) = notified(outcome) {
                after
                    .notified
                    .entry(id.to_owned())
                    .or_default()
                    .insert(word);
            }
        }
        _ => {}
    }
    after
}

/// The order's row after the event was handled. News of an earlier PaymentIntent does not touch the
/// present one, with one exception: the earlier one may have paid the order.
pub(super) fn intent_after(
    outcome: &Outcome,
    decision: Decision,
    before: &IntentRecord,
) -> Option<IntentRecord> {
    let mut after = before.clone();
    let present = match outcome.payment() {
        Some(news) => is_present(before, news),
        None => before.payment.as_deref() == outcome.payment_id(),
    };
    let paid = before.state == IntentState::Paid;
    // A failure of an earlier PaymentIntent counts too: the limit protects the order.
    if matches!(outcome, Outcome::Failed(..)) && decision != Decision::WriteDown {
        after.declines = after.declines.saturating_add(1);
    }
    match outcome {
        Outcome::Succeeded(payment) | Outcome::Free(payment)
            if matches!(decision, Decision::Fulfill | Decision::RefundedBefore) =>
        {
            after.state = IntentState::Paid;
            after.paid_by = Some(payment.id().to_owned());
        }
        _ if !present || paid => {}
        Outcome::Processing(_) | Outcome::Capturable(_) => after.state = IntentState::Processing,
        // The session is over: the buyer needs another one.
        Outcome::Failed(payment, _) if payment.session().is_some() => {
            after.state = IntentState::Canceled;
        }
        // Late news does not reopen a PaymentIntent that is being replaced.
        Outcome::Failed(..) | Outcome::RequiresAction(_)
            if before.state != IntentState::Creating =>
        {
            after.state = IntentState::Open;
        }
        Outcome::Canceled(_) => after.state = IntentState::Canceled,
        _ => {}
    }
    (after != *before).then_some(after)
}

/// The facts of an event that must be known before its turn comes.
pub(super) fn note(outcome: &Outcome) -> Option<PendingNote> {
    match outcome {
        Outcome::Refunded(refund) | Outcome::ChargeRefundUpdated(refund) => {
            (!refund.is_expired_authorisation()).then(|| note_refund(refund))
        }
        Outcome::ChargeRefunded(charge) => {
            Some(PendingNote::RefundedTotal(charge.amount_refunded().minor()))
        }
        _ => outcome.dispute().map(|dispute| PendingNote::Dispute {
            id: dispute.id().to_owned(),
            status: dispute.status().clone(),
        }),
    }
}

fn note_refund(refund: &Refund) -> PendingNote {
    let failed = matches!(
        refund.status(),
        Some(RefundStatus::Failed | RefundStatus::Canceled)
    );
    let amount = if failed { 0 } else { refund.amount().minor() };
    PendingNote::Refund {
        id: refund.id().to_owned(),
        amount,
    }
}

/// Whether the outcome is the success that refunds and disputes of the same payment wait for.
pub(super) fn settles(outcome: &Outcome) -> bool {
    outcome
        .settled()
        .is_some_and(|payment| !session_tells_success(payment))
}
