//! Reports each attempt of an event to the log and the metrics.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use tracing::{Instrument, Span, field};

use super::BoxFuture;
use super::records::{
    EventRecord, EventState, FulfillmentStatus, IntentRecord, PaymentRecord, Scope,
};
use super::verdict::{Dispatch, Step, Stepped, Verdict};
use crate::error::InboxError;
use crate::telemetry;

/// Runs an event in a span of its own, so that every log line of the handler names the event. It
/// also counts the outcome.
///
/// The handler's result is not yet the outcome: only the inbox knows the outcome, after its commit.
pub(super) struct Watched<'a, C> {
    dispatch: &'a dyn Dispatch<C>,
    /// The span in which it ran, if it ran.
    ran: OnceLock<(Span, Scope)>,
    paid_twice: AtomicBool,
}

impl<'a, C> Watched<'a, C> {
    pub(super) fn new(dispatch: &'a dyn Dispatch<C>) -> Self {
        Self {
            dispatch,
            ran: OnceLock::new(),
            paid_twice: AtomicBool::new(false),
        }
    }

    /// Reports the result of the step.
    pub(super) fn ended(self, step: &Result<Option<Step>, InboxError>) {
        let step = step.as_ref().ok().and_then(Option::as_ref);
        let did = step.map(|step| step.did);
        if let (Some(step), Some(Stepped::Now(state))) = (step, did) {
            match state {
                // This includes an event whose process died each time, and that did not run now.
                EventState::Dead => telemetry::died(&step.event.scope),
                EventState::Mismatch => telemetry::mismatched(&step.event.scope),
                _ => {}
            }
        }
        let Some((span, scope)) = self.ran.into_inner() else {
            return;
        };
        let outcome = match did {
            Some(Stepped::Now(state)) => state.as_str(),
            Some(Stepped::Waiting) => "waiting",
            // Other work ended it while its failure was being written.
            Some(Stepped::Failed | Stepped::Already(_)) => "failed",
            // It ran, and then the inbox was lost.
            None => "unknown",
        };
        span.record("outcome", outcome);
        telemetry::attempted(&scope, outcome);
        if self.paid_twice.into_inner() && did == Some(Stepped::Now(EventState::Done)) {
            telemetry::paid_twice(&scope);
        }
    }
}

impl<C: Send> Dispatch<C> for Watched<'_, C> {
    fn dispatch<'a>(
        &'a self,
        event: &'a EventRecord,
        payment: &'a PaymentRecord,
        intent: Option<&'a IntentRecord>,
        db: &'a mut C,
    ) -> BoxFuture<'a, Verdict> {
        let span = tracing::info_span!(
            "attempt",
            event = event.id,
            event_type = event.event_type,
            payment = event.payment.as_deref(),
            attempt = event.attempts,
            outcome = field::Empty,
        );
        // Set before it runs: an attempt that is cut off counts as run.
        let (span, _) = self.ran.get_or_init(|| (span, event.scope.clone()));
        let before = payment.success;
        Box::pin(async move {
            let work = self.dispatch.dispatch(event, payment, intent, db);
            let verdict = work.instrument(span.clone()).await;
            if let Verdict::Done { payment, .. } = &verdict
                && payment.success == FulfillmentStatus::Duplicate
                && before != FulfillmentStatus::Duplicate
            {
                self.paid_twice.store(true, Ordering::Relaxed);
            }
            verdict
        })
    }
}
