//! The rows of operations at Stripe.

use sqlx::PgConnection;

use super::rows::{Tables, get, read_count, text};
use super::transaction::busy_or;
use crate::error::InboxError;
use crate::fulfillment::operation::{OperationKey, OperationRecord};
use crate::fulfillment::stored::{
    mode, number, operation_state, read_amount, read_number, read_operation_state, read_time, time,
};

impl Tables {
    pub(super) async fn operation(
        &self,
        conn: &mut PgConnection,
        key: &OperationKey,
    ) -> Result<Option<OperationRecord>, InboxError> {
        let sql = "SELECT version, attempt, fingerprint, subject, amount, currency, state, result, begun FROM {}operations \
            WHERE application = $1 AND mode = $2 AND account = $3 AND kind = $4 AND reference = $5";
        let row = sqlx::query(self.sql(sql))
            .bind(text(&key.scope.application))
            .bind(mode(key.scope.mode))
            .bind(text(key.account.as_deref().unwrap_or_default()))
            .bind(key.kind.as_str())
            .bind(text(&key.reference))
            .fetch_optional(conn)
            .await
            .map_err(busy_or)?;
        let Some(row) = row else {
            return Ok(None);
        };
        Ok(Some(OperationRecord {
            version: read_number(get(&row, "version")?),
            attempt: read_count(&row, "attempt")?,
            fingerprint: get(&row, "fingerprint")?,
            subject: get(&row, "subject")?,
            amount: read_amount(get(&row, "amount")?, get(&row, "currency")?)?,
            state: read_operation_state(get(&row, "state")?)?,
            result: get(&row, "result")?,
            begun: read_time(get(&row, "begun")?),
        }))
    }

    /// Writes a row if the stored one has this version, or if it is the first and there is none. Says whether it did.
    pub(super) async fn put_operation(
        &self,
        conn: &mut PgConnection,
        key: &OperationKey,
        expected: Option<u64>,
        record: &OperationRecord,
    ) -> Result<bool, sqlx::Error> {
        let sql = match expected {
            None => {
                "INSERT INTO {}operations (application, mode, account, kind, reference, version, attempt, fingerprint, subject, amount, currency, state, result, begun) \
                VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) ON CONFLICT DO NOTHING"
            }
            Some(_) => {
                "UPDATE {}operations SET version = $6, attempt = $7, fingerprint = $8, subject = $9, amount = $10, currency = $11, state = $12, result = $13, begun = $14 \
                WHERE application = $1 AND mode = $2 AND account = $3 AND kind = $4 AND reference = $5 AND version = $15"
            }
        };
        let query = sqlx::query(self.sql(sql))
            .bind(text(&key.scope.application))
            .bind(mode(key.scope.mode))
            .bind(text(key.account.as_deref().unwrap_or_default()))
            .bind(key.kind.as_str())
            .bind(text(&key.reference))
            .bind(number(record.version))
            .bind(i64::from(record.attempt))
            .bind(text(&record.fingerprint))
            .bind(record.subject.as_deref().map(text))
            .bind(record.amount.map(|amount| number(amount.minor())))
            .bind(
                record
                    .amount
                    .map(|amount| amount.currency().code().to_owned()),
            )
            .bind(operation_state(record.state))
            .bind(record.result.as_deref().map(text))
            .bind(time(record.begun));
        let query = match expected {
            None => query,
            Some(version) => query.bind(number(version)),
        };
        let done = query.execute(conn).await?;
        Ok(done.rows_affected() == 1)
    }
}
