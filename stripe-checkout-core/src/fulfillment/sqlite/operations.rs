//! The rows of operations at Stripe.

use sqlx::{Row, SqliteConnection};

use super::super::operation::{OperationKey, OperationRecord};
use super::super::stored::{
    mode, number, operation_state, read_amount, read_number, read_operation_state, read_time, time,
};
use super::rows::failed;
use crate::error::InboxError;

pub(super) async fn read(
    db: &mut SqliteConnection,
    key: &OperationKey,
) -> Result<Option<OperationRecord>, InboxError> {
    let row = sqlx::query(
        "SELECT version, attempt, fingerprint, subject, amount, currency, state, result, begun FROM stripe_checkout_operations \
         WHERE application = ?1 AND mode = ?2 AND account = ?3 AND kind = ?4 AND reference = ?5",
    )
    .bind(&key.scope.application)
    .bind(mode(key.scope.mode))
    .bind(key.account.as_deref().unwrap_or_default())
    .bind(key.kind.as_str())
    .bind(&key.reference)
    .fetch_optional(db)
    .await
    .map_err(failed)?;
    let Some(row) = row else {
        return Ok(None);
    };
    Ok(Some(OperationRecord {
        version: read_number(row.try_get("version").map_err(failed)?),
        attempt: row.try_get("attempt").map_err(failed)?,
        fingerprint: row.try_get("fingerprint").map_err(failed)?,
        subject: row.try_get("subject").map_err(failed)?,
        amount: read_amount(
            row.try_get("amount").map_err(failed)?,
            row.try_get("currency").map_err(failed)?,
        )?,
        state: read_operation_state(row.try_get("state").map_err(failed)?)?,
        result: row.try_get("result").map_err(failed)?,
        begun: read_time(row.try_get("begun").map_err(failed)?),
    }))
}

/// Writes a row with the version that it has, if the stored one is the version before it, or if it is the first and there is none.
pub(super) async fn write(
    db: &mut SqliteConnection,
    key: &OperationKey,
    record: &OperationRecord,
    expected: Option<u64>,
) -> Result<bool, InboxError> {
    let query = match expected {
        None => sqlx::query(
            "INSERT INTO stripe_checkout_operations \
             (application, mode, account, kind, reference, version, attempt, fingerprint, subject, amount, currency, state, result, begun) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14) ON CONFLICT DO NOTHING",
        ),
        Some(_) => sqlx::query(
            "UPDATE stripe_checkout_operations SET version = ?6, attempt = ?7, fingerprint = ?8, subject = ?9, amount = ?10, currency = ?11, \
             state = ?12, result = ?13, begun = ?14 \
             WHERE application = ?1 AND mode = ?2 AND account = ?3 AND kind = ?4 AND reference = ?5 AND version = ?15",
        ),
    };
    let query = query
        .bind(&key.scope.application)
        .bind(mode(key.scope.mode))
        .bind(key.account.as_deref().unwrap_or_default())
        .bind(key.kind.as_str())
        .bind(&key.reference)
        .bind(number(record.version))
        .bind(record.attempt)
        .bind(&record.fingerprint)
        .bind(&record.subject)
        .bind(record.amount.map(|amount| number(amount.minor())))
        .bind(
            record
                .amount
                .map(|amount| amount.currency().code().to_owned()),
        )
        .bind(operation_state(record.state))
        .bind(&record.result)
        .bind(time(record.begun));
    let query = match expected {
        None => query,
        Some(version) => query.bind(number(version)),
    };
    let done = query.execute(db).await.map_err(failed)?;
    Ok(done.rows_affected() == 1)
}
