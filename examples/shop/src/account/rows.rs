//! Accounts in the database, and the sessions of their browsers.

use std::time::Duration;

use crate::{
    db::{now, on},
    random,
    store::{OrderSummary, Store, StoreError},
};

/// A buyer who is logged in.
pub(crate) struct Buyer {
    /// The account's id. It never changes, and Stripe's customer belongs to it.
    pub(crate) account: String,
    /// The e-mail address.
    pub(crate) email: String,
    /// The token for the forms of this session.
    pub(crate) csrf: String,
}

impl Store {
    /// Creates an account and returns its id; `None` if an account with this address exists.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn create_account(
        &self,
        email: String,
        password: String,
    ) -> Result<Option<String>, StoreError> {
        let (pool, id) = (self.pool().clone(), random::token()?);
        self.to_the_end(async move {
            let made = on!(
                pool,
                sqlx::query(
                    "INSERT INTO accounts (id, email, password, created_at) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
                )
                .bind(&id)
                .bind(email)
                .bind(password)
                .bind(now())
                .execute(pool)
                .await?
                .rows_affected()
            );
            Ok((made == 1).then_some(id))
        })
        .await
    }

    /// The account with this address: its id and its password's hash.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn account(
        &self,
        email: String,
    ) -> Result<Option<(String, String)>, StoreError> {
        let pool = self.pool().clone();
        self.to_the_end(async move {
            Ok(on!(
                pool,
                sqlx::query_as("SELECT id, password FROM accounts WHERE email = $1")
                    .bind(email)
                    .fetch_optional(pool)
                    .await?
            ))
        })
        .await
    }

    /// Opens a session for `lifetime`, and deletes the sessions that have ended.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn let_in(
        &self,
        id: String,
        account: String,
        csrf: String,
        lifetime: Duration,
    ) -> Result<(), StoreError> {
        let pool = self.pool().clone();
        self.to_the_end(async move {
            let ends = now().saturating_add_unsigned(lifetime.as_secs());
            on!(pool, {
                sqlx::query("DELETE FROM account_sessions WHERE ends_at <= $1")
                    .bind(now())
                    .execute(pool)
                    .await?;
                sqlx::query("INSERT INTO account_sessions (id, account_id, csrf, ends_at) VALUES ($1, $2, $3, $4)")
                    .bind(id)
                    .bind(account)
                    .bind(csrf)
                    .bind(ends)
                    .execute(pool)
                    .await?;
            });
            Ok(())
        })
        .await
    }

    /// The buyer of this session, if the session has not ended.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn buyer(&self, session: String) -> Result<Option<Buyer>, StoreError> {
        let pool = self.pool().clone();
        self.to_the_end(async move {
            let row: Option<(String, String, String)> = on!(
                pool,
                sqlx::query_as(
                    "SELECT accounts.id, email, csrf FROM account_sessions JOIN accounts ON accounts.id = account_id
                     WHERE account_sessions.id = $1 AND ends_at > $2",
                )
                .bind(session)
                .bind(now())
                .fetch_optional(pool)
                .await?
            );
            Ok(row.map(|(account, email, csrf)| Buyer {
                account,
                email,
                csrf,
            }))
        })
        .await
    }

    /// Ends a session.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn let_out(&self, session: String) -> Result<(), StoreError> {
        let pool = self.pool().clone();
        self.to_the_end(async move {
            on!(
                pool,
                sqlx::query("DELETE FROM account_sessions WHERE id = $1")
                    .bind(session)
                    .execute(pool)
                    .await
                    .map(drop)
            )?;
            Ok(())
        })
        .await
    }

    /// The newest orders of an account.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn orders_of(
        &self,
        account: &str,
        limit: u32,
    ) -> Result<Vec<OrderSummary>, StoreError> {
        self.summaries(Some(account.to_owned()), limit).await
    }
}
