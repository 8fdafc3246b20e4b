//! What is done at Stripe under a reference of the caller's own (a refund, a capture, a customer): once, whatever is clicked twice, retried or cut off by a crash.
//!
//! The operation's row is written before Stripe is asked, and the key sent to Stripe is computed from it, as for an order's PaymentIntent. Stripe forgets keys after
//! 24 hours; from then on it is looked first whether an earlier attempt was executed after all. A key is given up for the next one only when Stripe itself says that
//! it can but repeat its answer: as long as some other call may still be sending with the old one, both must send the same.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::intents::hash;
use super::{Checkout, Payments};
use crate::amount::Amount;
use crate::error::{ApiError, InboxError, OperationError};
use crate::fulfillment::{OperationKey, OperationRecord, OperationState};
use crate::intent::{IdempotencyKey, Operation, Unsuccessful, check_reference};

/// How often the row may change under one call before it gives up.
const ROUNDS: usize = 8;

/// How long a key is relied on: Stripe keeps it for at least 24 hours.
const KEY_IS_GOOD_FOR: Duration = Duration::from_secs(23 * 60 * 60);

/// By how much another machine's clock may be ahead.
const CLOCKS_DIFFER_BY: Duration = Duration::from_secs(60 * 60);

/// The way to Stripe of one operation.
pub(super) trait Work: Sync {
    /// What Stripe makes of it.
    type Made: Send;

    /// Asks Stripe for it. Says also whether Stripe only repeated an earlier answer.
    fn send(
        &self,
        key: &IdempotencyKey,
    ) -> impl Future<Output = Result<(Self::Made, bool), Unsuccessful>> + Send;

    /// Looks whether an earlier attempt was executed, when its key can tell no more.
    fn find(&self) -> impl Future<Output = Result<Option<Self::Made>, ApiError>> + Send;

    /// What was made under this id, as it stands now. `None` if it is gone and another one is to be made; never for money: there what is gone is an error.
    fn get(&self, id: &str) -> impl Future<Output = Result<Option<Self::Made>, ApiError>> + Send;

    /// The id under which it is found again.
    fn id(made: &Self::Made) -> &str;
}

/// One operation, as it is asked for.
pub(super) struct Doing<'a> {
    pub(super) checkout: &'a Checkout,
    pub(super) key: OperationKey,
    /// The object at Stripe on which it is done.
    pub(super) subject: Option<String>,
    pub(super) amount: Option<Amount>,
    /// All parameters, always in the same order: another form under the same reference is another operation.
    pub(super) form: String,
}

impl Doing<'_> {
    pub(super) async fn run<W: Work>(&self, work: &W) -> Result<W::Made, OperationError> {
        check_reference(&self.key.reference)?;
        for _ in 0..ROUNDS {
            let row = match self.row().await? {
                Some(row) => row,
                None => {
                    if let Some(made) = self.forgotten(work).await? {
                        self.finish(W::id(&made)).await?;
                        return Ok(made);
                    }
                    self.begin(None).await?;
                    continue;
                }
            };
            if row.fingerprint != self.fingerprint() {
                return Err(OperationError::Differs);
            }
            if let (OperationState::Done, Some(id)) = (row.state, &row.result) {
                match work.get(id).await? {
                    Some(made) => return Ok(made),
                    None => {
                        self.begin(Some(&row)).await?;
                        continue;
                    }
                }
            }
            if is_stale(row.begun) {
                match work.find().await? {
                    Some(made) => {
                        self.finish(W::id(&made)).await?;
                        return Ok(made);
                    }
                    None => {
                        self.begin(Some(&row)).await?;
                        continue;
                    }
                }
            }
            match work.send(&self.idempotency_key(&row)).await {
                Ok((made, replayed)) => {
                    self.finish(W::id(&made)).await?;
                    if !replayed {
                        return Ok(made);
                    }
                    // It may have changed since.
                    return Ok(work.get(W::id(&made)).await?.unwrap_or(made));
                }
                Err(Unsuccessful { error, replayed }) => {
                    let refused = is_refusal(&error);
                    // An answer that Stripe told before, and that was heard before: this call is another attempt.
                    let old_news = replayed && row.state == OperationState::Refused;
                    if replayed || refused {
                        self.note_failure(&row, refused, replayed).await?;
                    }
                    if !old_news {
                        return Err(error.into());
                    }
                }
            }
        }
        Err(OperationError::InFlight)
    }

    async fn row(&self) -> Result<Option<OperationRecord>, InboxError> {
        self.checkout.inner.fulfillment.operation(&self.key).await
    }

    /// What was done before a restart, where a restart forgets.
    async fn forgotten<W: Work>(&self, work: &W) -> Result<Option<W::Made>, OperationError> {
        if self.checkout.inner.fulfillment.survives_restart() {
            return Ok(None);
        }
        Ok(work.find().await?)
    }

    /// Writes down that the next attempt begins. If somebody else was first, that is as good.
    async fn begin(&self, before: Option<&OperationRecord>) -> Result<(), OperationError> {
        let next = OperationRecord {
            attempt: before.map_or(1, |row| row.attempt.saturating_add(1)),
            ..self.first()
        };
        self.put(before, next).await?;
        Ok(())
    }

    /// Writes down that Stripe did not do it, and whether the key is used up.
    async fn note_failure(
        &self,
        row: &OperationRecord,
        refused: bool,
        replayed: bool,
    ) -> Result<(), OperationError> {
        let mut next = OperationRecord {
            state: if refused {
                OperationState::Refused
            } else {
                row.state
            },
            ..row.clone()
        };
        if replayed {
            next.attempt = row.attempt.saturating_add(1);
            next.begun = match refused {
                true => SystemTime::now(),
                // Where Stripe itself failed, it may have been done all the same: look before the next attempt.
                false => UNIX_EPOCH,
            };
        }
        if next != *row {
            self.put(Some(row), next).await?;
        }
        Ok(())
    }

    /// Writes down that it is done, whatever somebody else wrote meanwhile.
    async fn finish(&self, id: &str) -> Result<(), OperationError> {
        for _ in 0..ROUNDS {
            let row = self.row().await?;
            if let Some(row) = &row
                && row.state == OperationState::Done
            {
                if row.result.as_deref() != Some(id) {
                    tracing::error!(
                        kind = self.key.kind,
                        reference = self.key.reference,
                        first = row.result,
                        second = id,
                        "Stripe did the same operation twice: somebody has to look"
                    );
                }
                return Ok(());
            }
            let done = OperationRecord {
                state: OperationState::Done,
                result: Some(id.to_owned()),
                ..row.clone().unwrap_or_else(|| self.first())
            };
            if self.put(row.as_ref(), done).await? {
                return Ok(());
            }
        }
        Err(OperationError::InFlight)
    }

    async fn put(
        &self,
        before: Option<&OperationRecord>,
        next: OperationRecord,
    ) -> Result<bool, InboxError> {
        let expected = before.map(|row| row.version);
        let fulfillment = &self.checkout.inner.fulfillment;
        fulfillment.put_operation(&self.key, expected, next).await
    }

    fn first(&self) -> OperationRecord {
        OperationRecord {
            version: 0,
            attempt: 1,
            fingerprint: self.fingerprint(),
            subject: self.subject.clone(),
            amount: self.amount,
            state: OperationState::Sending,
            result: None,
            begun: SystemTime::now(),
        }
    }

    /// What is done, and to what: Stripe refuses a key that comes back on another path.
    fn name(&self) -> String {
        match &self.subject {
            Some(subject) => format!("{} {subject}", self.key.kind),
            None => self.key.kind.clone(),
        }
    }

    fn fingerprint(&self) -> String {
        hash(&format!("{}\n{}", self.name(), self.form))
    }

    fn idempotency_key(&self, row: &OperationRecord) -> IdempotencyKey {
        let operation = Operation {
            name: &self.name(),
            application: &self.key.scope.application,
            mode: self.key.scope.mode,
            account: self.key.account.as_deref(),
            reference: &self.key.reference,
            attempt: row.attempt,
        };
        IdempotencyKey::derive(&operation, self.form.as_bytes())
    }
}

impl Checkout {
    /// The row's key of an operation on the account of the keys themselves, or on a connected one.
    pub(super) fn operation_key(
        &self,
        kind: &str,
        reference: &str,
        account: Option<&str>,
    ) -> OperationKey {
        OperationKey {
            scope: self.scope(self.mode()),
            account: account.map(str::to_owned),
            kind: kind.to_owned(),
            reference: reference.to_owned(),
        }
    }

    /// What an operation needs besides its row.
    pub(super) fn operator(&self) -> Result<&Payments, OperationError> {
        self.inner
            .payments
            .as_ref()
            .ok_or(OperationError::NoPricing)
    }

    /// Work that is not cut off half-way if whoever asked for it goes away: what Stripe did must be written down.
    pub(super) async fn operate<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, OperationError>> + Send + 'static,
    ) -> Result<T, OperationError> {
        let task = self.inner.tasks.spawn(work);
        task.await
            .unwrap_or_else(|error| Err(InboxError::Unavailable(error.into()).into()))
    }
}

/// Whether Stripe looked at the parameters and said no. A key that is not valid, or may not do this, is no answer to the operation.
fn is_refusal(error: &ApiError) -> bool {
    matches!(
        error,
        ApiError::Declined { .. } | ApiError::InvalidRequest { .. }
    )
}

/// Whether Stripe may have forgotten the key of an attempt that began then. What began in the future began nobody knows when.
fn is_stale(begun: SystemTime) -> bool {
    match SystemTime::now().duration_since(begun) {
        Ok(age) => age >= KEY_IS_GOOD_FOR,
        Err(ahead) => ahead.duration() > CLOCKS_DIFFER_BY,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_relied_on_for_less_than_a_day() {
        let now = SystemTime::now();
        let hour = Duration::from_secs(60 * 60);
        assert!(!is_stale(now));
        assert!(!is_stale(now - 22 * hour));
        assert!(is_stale(now - 23 * hour));
        assert!(!is_stale(now + hour / 2), "a clock that is a little ahead");
        assert!(is_stale(now + 2 * hour), "a clock that was wrong");
        assert!(is_stale(UNIX_EPOCH));
    }
}
