//! `Inbox` of both databases: what is no work on one event.

use std::time::SystemTime;

use super::super::inbox::{Inbox, Key, Limits, Row, Swap};
use super::super::later::end_of;
use super::super::records::{EventFilter, EventRecord, IntentRecord, OrderKey, Scope, Stats};
use super::super::sql::PATIENCE;
use super::driver::{Connection, LIMITS};
use super::session::SqlSession;
use super::{Store, rows, upkeep};
use crate::error::InboxError;

impl Inbox for Store {
    type Connection = Connection;
    type Session = SqlSession;

    fn limits(&self) -> Limits {
        LIMITS
    }

    fn identity(&self) -> String {
        self.place()
    }

    fn session(&self) -> SqlSession {
        SqlSession::new(self.clone())
    }

    async fn load(&self, key: Key<'_>) -> Result<Option<Row>, InboxError> {
        let mut held = self.reader().await?;
        let db = &mut *self.read_on(&mut held).await?;
        rows::load(db, &self.dialect, key).await
    }

    async fn swap(&self, swap: Swap<'_>) -> Result<bool, InboxError> {
        let (Swap::Order(_, Some(0), _) | Swap::Operation(_, Some(0), _)) = &swap else {
            return self.swap_now(swap).await;
        };
        // The first version is 1.
        Ok(false)
    }

    async fn events(&self, filter: &EventFilter) -> Result<Vec<EventRecord>, InboxError> {
        let mut held = self.reader().await?;
        let db = &mut *self.read_on(&mut held).await?;
        rows::events(db, &self.dialect, filter).await
    }

    async fn open_intents(
        &self,
        scope: &Scope,
        after: Option<&OrderKey>,
        since: SystemTime,
        most: usize,
    ) -> Result<Vec<(OrderKey, IntentRecord)>, InboxError> {
        let mut held = self.reader().await?;
        let db = &mut *self.read_on(&mut held).await?;
        upkeep::open_intents(db, &self.dialect, scope, after, since, most).await
    }

    async fn accounts(
        &self,
        scope: &Scope,
        after: Option<&str>,
        since: SystemTime,
        most: usize,
    ) -> Result<Vec<String>, InboxError> {
        let mut held = self.reader().await?;
        let db = &mut *self.read_on(&mut held).await?;
        upkeep::accounts(db, &self.dialect, scope, after, since, most).await
    }

    async fn scopes_with_bookmark(&self, name: &str) -> Result<Vec<Scope>, InboxError> {
        let mut held = self.reader().await?;
        let db = &mut *self.read_on(&mut held).await?;
        upkeep::scopes_with_bookmark(db, &self.dialect, name).await
    }

    async fn due_scopes(&self) -> Result<Vec<Scope>, InboxError> {
        let mut held = self.reader().await?;
        let db = &mut *self.read_on(&mut held).await?;
        upkeep::due_scopes(db, &self.dialect).await
    }

    async fn stats(&self, scope: &Scope) -> Result<Stats, InboxError> {
        let mut held = self.reader().await?;
        let db = &mut *self.read_on(&mut held).await?;
        upkeep::stats(db, &self.dialect, scope).await
    }

    async fn prune(
        &self,
        scope: &Scope,
        before: SystemTime,
        most: usize,
    ) -> Result<usize, InboxError> {
        upkeep::prune(self, scope, before, most).await
    }
}

impl Store {
    async fn swap_now(&self, swap: Swap<'_>) -> Result<bool, InboxError> {
        let sql = &self.dialect;
        let mut held = self.hold().await?;
        let mut tx = held.begin(end_of(PATIENCE)).await?;
        let db = tx.db();
        let done = match swap {
            Swap::Order(order, expected, mut row) => {
                let expected = expected.unwrap_or(0);
                row.version = expected + 1;
                rows::put_order(db, sql, order, expected, &row).await?
            }
            Swap::Operation(key, expected, mut row) => {
                let expected = expected.unwrap_or(0);
                row.version = expected + 1;
                rows::put_operation(db, sql, key, expected, &row).await?
            }
            Swap::Bookmark(scope, name, expected, value) => {
                rows::put_bookmark(db, sql, scope, name, expected, value).await?
            }
        };
        match done {
            true => tx.commit().await?,
            false => tx.rollback().await?,
        }
        held.finish().await;
        Ok(done)
    }
}
