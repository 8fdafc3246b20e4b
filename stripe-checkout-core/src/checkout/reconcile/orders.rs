//! The orders that may still be paid: looks at each one's payment at Stripe.
//!
//! A run goes on where the last one stopped, and ends at the last order. The next run begins again
//! at the first. So an order whose look-up fails, or a rate limit, keeps no other order waiting for
//! long.

use std::sync::Arc;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;
use tracing::Instrument;

use super::report::{ReconcileError, ReconcilePart};
use super::{
    BEFORE_BIRTH, Look, NO_ANSWERS, REACH, Run, is_no_answer, look, lost, now, seconds, time,
};
use crate::error::InboxError;
use crate::fulfillment::{IntentRecord, OrderKey};
use crate::stripe::ApiError;

/// How many payments Stripe is asked for at the same time: its rate limit is for the shop first.
const AT_ONCE: usize = 4;

/// How many orders are read at a time.
const PAGE: usize = 100;

/// The name of the note that says at which order the run stopped.
const BOOKMARK: &str = "orders";

/// The order that was looked at last. `null` in the note is the beginning.
#[derive(Serialize, Deserialize)]
struct Place {
    account: Option<String>,
    reference: String,
}

/// How far a page of orders was looked at.
struct Walked {
    /// How many of them need no other look in this round.
    passed: usize,
    /// Whether nothing more is asked in this run.
    ends: bool,
}

impl Run {
    /// Looks at the orders that may still be paid, from where the last run stopped to the last one.
    pub(super) async fn look_at_orders(&mut self, birth: SystemTime) -> Result<(), ReconcileError> {
        let since = self.orders_since(birth);
        let fulfillment = Arc::clone(&self.checkout.inner.fulfillment);
        let mut note = fulfillment.bookmark(&self.scope, BOOKMARK).await?;
        let mut after = match self.begins_anew() {
            true => None,
            false => self.read_place(note.as_deref()),
        };
        let mut first = true;
        while !self.is_stopped() {
            let page = fulfillment.open_intents(&self.scope, after.as_ref(), since, PAGE);
            let page = page.await?;
            let full = page.len() >= PAGE;
            let orders: Vec<_> = page.iter().map(|(order, _)| order.clone()).collect();
            let walked = self.look_at(page, first).await;
            first &= walked.passed == 0;
            let last = walked.passed.checked_sub(1);
            after = last.and_then(|last| orders.get(last).cloned()).or(after);
            if !walked.ends && !full {
                if note.is_some() {
                    self.mark_orders(&mut note, None).await?;
                }
                break;
            }
            self.mark_orders(&mut note, after.as_ref()).await?;
            if walked.ends {
                break;
            }
        }
        Ok(())
    }

    /// Since when an order must have been changed. Rows that are older than the birth were copied
    /// from another inbox.
    fn orders_since(&self, birth: SystemTime) -> SystemTime {
        let oldest = now().saturating_sub(REACH.as_secs());
        let birth = seconds(birth);
        // A birth in the future was written by a clock that was wrong.
        let bound = match birth <= now() {
            true => birth.saturating_sub(BEFORE_BIRTH.as_secs()),
            false => 0,
        };
        let since = self.since.as_ref().map(|since| since.time);
        let bound = bound.min(since.unwrap_or(bound));
        time(bound.max(oldest))
    }

    async fn look_at(&mut self, orders: Vec<(OrderKey, IntentRecord)>, first: bool) -> Walked {
        let mut orders = orders.into_iter().enumerate();
        let mut running = JoinSet::new();
        let (mut passed, mut ends, mut in_a_row) = (0, false, 0);
        // The first order that Stripe's rate limit kept from being looked at.
        let mut limited: Option<usize> = None;
        loop {
            // Those that run come to their end, also if one of them finds Stripe or the inbox gone.
            while running.len() < AT_ONCE && !ends && !self.is_stopped() {
                let Some((index, (order, row))) = orders.next() else {
                    break;
                };
                if !self.may_ask() {
                    ends = true;
                    break;
                }
                passed = index + 1;
                let checkout = self.checkout.clone();
                let looking = async move {
                    let looked = look(&checkout, order.clone(), row).await;
                    (index, order, looked)
                };
                running.spawn(looking.in_current_span());
            }
            let (index, order, looked) = match running.join_next().await {
                None => break,
                Some(Ok(ended)) => ended,
                Some(Err(error)) => {
                    self.report.intents += 1;
                    self.fail(ReconcilePart::Orders, None, None, lost(error));
                    continue;
                }
            };
            self.report.intents += 1;
            let error = match looked {
                Ok(look) => {
                    in_a_row = 0;
                    self.count_look(look);
                    continue;
                }
                Err(error) => error,
            };
            match &error {
                ReconcileError::Api(ApiError::RateLimited { .. }) => {
                    limited = Some(limited.map_or(index, |other| other.min(index)));
                    ends = true;
                }
                // No other order fares better with this key.
                ReconcileError::Api(ApiError::Authentication { .. }) => ends = true,
                _ => {}
            }
            in_a_row = if is_no_answer(&error) {
                in_a_row + 1
            } else {
                0
            };
            ends |= in_a_row >= NO_ANSWERS;
            let account = order.account.as_deref();
            self.fail(
                ReconcilePart::Orders,
                account,
                Some(&order.reference),
                error,
            );
        }
        if let Some(limited) = limited {
            // The first order of a run is passed even so: it must not keep those behind it waiting.
            passed = limited.max(usize::from(first));
        }
        ends |= self.is_stopped();
        Walked { passed, ends }
    }

    fn count_look(&mut self, look: Look) {
        match look {
            Look::FulfillmentStatus(taken) => {
                self.report.settled += 1;
                self.count(taken);
            }
            Look::Changed => self.report.changed += 1,
            Look::Unknown => self.report.unknown += 1,
            Look::Same => {}
        }
    }

    fn read_place(&self, note: Option<&str>) -> Option<OrderKey> {
        let place: Option<Place> = match serde_json::from_str(note?) {
            Ok(place) => place,
            Err(error) => {
                tracing::warn!(error = %crate::error::Chain(&error), "the note of the order that was looked at last cannot be read: the run begins at the first one");
                None
            }
        };
        let Place { account, reference } = place?;
        Some(OrderKey {
            scope: self.scope.clone(),
            account,
            reference,
        })
    }

    async fn mark_orders(
        &self,
        note: &mut Option<String>,
        last: Option<&OrderKey>,
    ) -> Result<(), InboxError> {
        let place = last.map(|order| Place {
            account: order.account.clone(),
            reference: order.reference.clone(),
        });
        let text =
            serde_json::to_string(&place).map_err(|error| InboxError::Unavailable(error.into()))?;
        *note = self.put_bookmark(BOOKMARK, note.as_deref(), text).await?;
        Ok(())
    }
}
