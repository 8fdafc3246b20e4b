//! The connected accounts: receives the list of events of each one that has an order.
//!
//! A direct charge belongs to its connected account, so the list of the own account does not show
//! its events. A run goes on after the account where the last one stopped, and ends at the last
//! account. The next run begins again at the first.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::report::{ReconcileError, ReconcilePart};
use super::{NO_ANSWERS, Run, is_no_answer, now, time};
use crate::error::InboxError;
use crate::stripe::ApiError;

/// For how long after the last change of an order its account is asked. Buyers dispute a payment
/// up to four months later, and merchants refund it up to half a year later.
const REVERSIBLE: Duration = Duration::from_secs(180 * 24 * 60 * 60);

/// How many accounts are read at a time.
const PAGE: usize = 100;

/// The name of the note that says after which account the next run goes on. An empty note is the
/// beginning.
const BOOKMARK: &str = "accounts";

/// How the list of one account came out.
enum Listed {
    /// It needs no other look in this round.
    Over,
    /// Stripe or the inbox did not answer.
    NoAnswer,
    /// The run asks nothing more.
    Ends,
}

impl Run {
    /// Whether any connected account has an order.
    pub(super) async fn has_accounts(&self) -> Result<bool, InboxError> {
        let fulfillment = &self.checkout.inner.fulfillment;
        let first = fulfillment.accounts(&self.scope, None, accounts_since(), 1);
        Ok(!first.await?.is_empty())
    }

    /// Receives the lists of events of the connected accounts, one after the other.
    pub(super) async fn list_accounts(&mut self, birth: SystemTime) -> Result<(), ReconcileError> {
        let since = accounts_since();
        let fulfillment = Arc::clone(&self.checkout.inner.fulfillment);
        let mut note = fulfillment.bookmark(&self.scope, BOOKMARK).await?;
        let mut after = note
            .clone()
            .filter(|account| !account.is_empty() && !self.begins_anew());
        // The last account of which Stripe told something.
        let mut reached = after.clone();
        // As long as it is true, an account that ends the run is passed even so: it must not keep
        // those behind it waiting.
        let mut first = true;
        let mut in_a_row = 0;
        loop {
            let page = fulfillment.accounts(&self.scope, after.as_deref(), since, PAGE);
            let page = page.await?;
            if page.is_empty() {
                return Ok(self.mark_accounts(&mut note, None).await?);
            }
            for account in page {
                if self.is_stopped() {
                    return Ok(self.mark_accounts(&mut note, reached).await?);
                }
                let listed = self.list_account(birth, &account).await;
                in_a_row = match listed {
                    Listed::NoAnswer => in_a_row + 1,
                    _ => 0,
                };
                let over = matches!(listed, Listed::Over);
                let ends = matches!(listed, Listed::Ends) || in_a_row >= NO_ANSWERS;
                after = Some(account);
                if over || (ends && first && !self.is_stopped()) {
                    first = false;
                    reached.clone_from(&after);
                }
                if ends {
                    return Ok(self.mark_accounts(&mut note, reached).await?);
                }
            }
            self.mark_accounts(&mut note, reached.clone()).await?;
        }
    }

    async fn list_account(&mut self, birth: SystemTime, account: &str) -> Listed {
        let error = match self.list_events(birth, Some(account)).await {
            Ok(true) => {
                self.report.accounts += 1;
                return Listed::Over;
            }
            Ok(false) => return Listed::Ends,
            Err(error) => error,
        };
        tracing::warn!(account, error = %crate::error::Chain(&error), "the events of a connected account could not be listed");
        let listed = match &error {
            ReconcileError::Api(ApiError::Permission {
                account_is_gone: true,
                ..
            }) => {
                self.report.unknown += 1;
                return Listed::Over;
            }
            // No other account fares better with this key, or now.
            ReconcileError::Api(ApiError::Authentication { .. } | ApiError::RateLimited { .. }) => {
                Listed::Ends
            }
            error if is_no_answer(error) => Listed::NoAnswer,
            _ => Listed::Over,
        };
        self.fail(ReconcilePart::AccountEvents, Some(account), None, error);
        listed
    }

    async fn mark_accounts(
        &self,
        note: &mut Option<String>,
        reached: Option<String>,
    ) -> Result<(), InboxError> {
        let reached = reached.unwrap_or_default();
        if note.as_deref().unwrap_or_default() != reached {
            *note = self
                .put_bookmark(BOOKMARK, note.as_deref(), reached)
                .await?;
        }
        Ok(())
    }
}

/// Since when an order of an account must have been changed.
fn accounts_since() -> SystemTime {
    time(now().saturating_sub(REVERSIBLE.as_secs()))
}
