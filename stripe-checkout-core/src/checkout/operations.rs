//! Calls to Stripe with the caller's own reference: a refund, a capture, a charge, a customer.
//!
//! Each is done only once, even after a retry, a second click, a crash or a restored backup.
//!
//! A call first writes its row. Before every send it searches Stripe for the object that an earlier
//! attempt made, which has the reference in its metadata. Then it sends, with a key that is derived
//! from the row.
//!
//! No clock decides. Two concurrent calls find nothing and send the same key, so Stripe does the
//! work once. The key changes only if the old key can bring nothing else: Stripe repeated a stored
//! failure, it refused the key for other parameters, or the object that it made is gone.

use std::time::SystemTime;

use super::fingerprint::fingerprint;
use super::payment_error::PaymentError;
use super::state::Checkout;
use crate::amount::Amount;
use crate::error::InboxError;
use crate::fulfillment::{OperationKey, OperationKind, OperationRecord, OperationState};
use crate::stripe::{ApiError, IdempotencyKey, Operation, Unsuccessful};

/// How often the row may change during one call before the call fails.
const ROUNDS: usize = 8;

/// How one operation talks to Stripe.
pub(super) trait Work: Sync {
    /// The object that Stripe makes or changes.
    type Made: Send;

    /// Sends the operation to Stripe. Also returns whether Stripe repeated an earlier answer.
    fn send(
        &self,
        key: &IdempotencyKey,
    ) -> impl Future<Output = Result<(Self::Made, bool), Unsuccessful>> + Send;

    /// Searches Stripe for the object of an earlier attempt, by the reference in its metadata.
    ///
    /// # Errors
    /// [`PaymentError::Differs`] if Stripe has the reference with other parameters.
    fn find(&self) -> impl Future<Output = Result<Option<Self::Made>, PaymentError>> + Send;

    /// Retrieves the object with this id.
    ///
    /// `None` if it is gone and another one may be made. Never `None` for money.
    fn get(&self, id: &str) -> impl Future<Output = Result<Option<Self::Made>, ApiError>> + Send;

    /// Returns the id that finds the object again.
    fn id(made: &Self::Made) -> &str;
}

/// One operation, as the caller requests it.
pub(super) struct Doing<'a> {
    pub(super) checkout: &'a Checkout,
    pub(super) key: OperationKey,
    /// The object at Stripe that the operation changes.
    pub(super) subject: Option<String>,
    pub(super) amount: Option<Amount>,
    /// All parameters, always in the same order.
    ///
    /// The same reference with another form is another operation.
    pub(super) form: String,
}

impl Doing<'_> {
    pub(super) async fn run<W: Work>(&self, work: &W) -> Result<W::Made, PaymentError> {
        for _ in 0..ROUNDS {
            let Some(row) = self.row().await? else {
                self.begin(None).await?;
                continue;
            };
            if row.fingerprint != self.fingerprint() {
                return Err(PaymentError::Differs);
            }
            if let (OperationState::Done, Some(id)) = (row.state, &row.result) {
                if let Some(made) = work.get(id).await? {
                    return Ok(made);
                }
                self.begin(Some(&row)).await?;
            }
            if let Some(made) = work.find().await? {
                self.finish(W::id(&made)).await?;
                return Ok(made);
            }
            // A change since the search may be another key, or the end of the work: search again.
            let Some(row) = self.row().await?.filter(|now| *now == row) else {
                continue;
            };
            match work.send(&self.idempotency_key(&row)).await {
                Ok((made, replayed)) => {
                    self.finish(W::id(&made)).await?;
                    if !replayed {
                        return Ok(made);
                    }
                    // The object may have changed since then.
                    return Ok(work.get(W::id(&made)).await?.unwrap_or(made));
                }
                Err(failed) => {
                    // Stripe may refuse because another process has just done the operation.
                    if is_refusal(&failed.error)
                        && let Ok(Some(made)) = work.find().await
                    {
                        self.finish(W::id(&made)).await?;
                        return Ok(made);
                    }
                    // An earlier call received this refusal too, so this call makes another
                    // attempt.
                    let repeated = failed.replayed && row.state == OperationState::Refused;
                    self.note_failure(&row, &failed).await?;
                    if !repeated {
                        return Err(failed.error.into());
                    }
                }
            }
        }
        Err(PaymentError::InFlight)
    }

    /// Writes the row, or checks that it has the same parameters. Sends nothing.
    pub(super) async fn prepare(&self) -> Result<(), PaymentError> {
        for _ in 0..ROUNDS {
            match self.row().await? {
                Some(row) if row.fingerprint == self.fingerprint() => return Ok(()),
                Some(_) => return Err(PaymentError::Differs),
                None => self.begin(None).await?,
            }
        }
        Err(PaymentError::InFlight)
    }

    async fn row(&self) -> Result<Option<OperationRecord>, InboxError> {
        self.checkout.inner.fulfillment.operation(&self.key).await
    }

    /// Writes that the next attempt begins. If another call was first, its row is as good.
    async fn begin(&self, before: Option<&OperationRecord>) -> Result<(), PaymentError> {
        let next = OperationRecord {
            attempt: before.map_or(1, |row| row.attempt.saturating_add(1)),
            ..self.first()
        };
        self.put(before, next).await?;
        Ok(())
    }

    /// Writes that Stripe did not do the operation. Changes to another key if this one is used up.
    async fn note_failure(
        &self,
        row: &OperationRecord,
        failed: &Unsuccessful,
    ) -> Result<(), PaymentError> {
        let mut next = row.clone();
        if is_refusal(&failed.error) {
            next.state = OperationState::Refused;
        }
        if failed.replayed || matches!(failed.error, ApiError::IdempotencyMismatch { .. }) {
            next.attempt = row.attempt.saturating_add(1);
        }
        if next != *row {
            self.put(Some(row), next).await?;
        }
        Ok(())
    }

    /// Writes that the operation is done, even if another process changed the row meanwhile.
    async fn finish(&self, id: &str) -> Result<(), PaymentError> {
        for _ in 0..ROUNDS {
            let row = self.row().await?;
            if let Some(row) = &row
                && row.state == OperationState::Done
            {
                if row.result.as_deref() != Some(id) {
                    tracing::error!(
                        kind = self.key.kind.as_str(),
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
        Err(PaymentError::InFlight)
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

    /// Returns the operation and its object: Stripe refuses a key that is reused on another path.
    fn name(&self) -> String {
        match &self.subject {
            Some(subject) => format!("{} {subject}", self.key.kind.as_str()),
            None => self.key.kind.as_str().to_owned(),
        }
    }

    fn fingerprint(&self) -> String {
        fingerprint(&format!("{}\n{}", self.name(), self.form))
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
    /// Returns the key of an operation's row, on the account of the API keys or on a connected one.
    pub(super) fn operation_key(
        &self,
        kind: OperationKind,
        reference: &str,
        account: Option<&str>,
    ) -> OperationKey {
        OperationKey {
            scope: self.scope(self.mode()),
            account: account.map(str::to_owned),
            kind,
            reference: reference.to_owned(),
        }
    }

    /// Runs work to its end even if the caller goes away: the result of Stripe must be written
    /// down.
    pub(super) async fn operate<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, PaymentError>> + Send + 'static,
    ) -> Result<T, PaymentError> {
        let task = self.inner.tasks.spawn(work);
        task.await
            .unwrap_or_else(|error| Err(InboxError::Unavailable(error.into()).into()))
    }
}

/// Whether Stripe checked the parameters and refused.
///
/// An API key that is invalid or lacks a permission is not an answer to the operation.
fn is_refusal(error: &ApiError) -> bool {
    matches!(
        error,
        ApiError::Declined { .. } | ApiError::InvalidRequest { .. }
    )
}
