//! One text for both databases: what differs is a word in braces.

use std::sync::Arc;

use sqlx::database::HasStatementCache;
use sqlx::query::{Query, QueryAs, QueryScalar};
use sqlx::{AssertSqlSafe, Database, FromRow};

/// Fills in what differs between databases.
#[derive(Clone)]
pub(in crate::fulfillment) struct Dialect {
    /// Stands before the name of each table.
    pub(in crate::fulfillment) prefix: Arc<str>,
    /// The time when the statement began, in microseconds since 1970. An index can be searched
    /// for it.
    pub(in crate::fulfillment) now: &'static str,
    /// The time now, also after a statement waited.
    pub(in crate::fulfillment) clock: &'static str,
    /// Locks a row that is free.
    pub(in crate::fulfillment) skip_locked: &'static str,
    /// Begins a statement that is a transaction of its own, with its limits.
    pub(in crate::fulfillment) settings: &'static str,
    pub(in crate::fulfillment) from_settings: &'static str,
    /// Ends such a statement.
    pub(in crate::fulfillment) end: &'static str,
    /// Whether the statement is a transaction of its own.
    pub(in crate::fulfillment) outside: &'static str,
    /// Whether the database keeps a prepared statement for the next use. Behind a transaction
    /// pooler the next use may be on another connection of the server.
    pub(in crate::fulfillment) keeps_statements: bool,
    /// Columns that tell what must be known of a connection before it writes.
    pub(in crate::fulfillment) of_connection: &'static str,
}

impl Dialect {
    /// A statement with parameters. All statements of the SQL inboxes are made here and below.
    pub(in crate::fulfillment) fn query<DB: Database + HasStatementCache>(
        &self,
        statement: &'static str,
    ) -> Query<'static, DB, DB::Arguments> {
        sqlx::query(self.sql(statement)).persistent(self.keeps_statements)
    }

    /// As [`query`](Self::query), for rows of several columns.
    pub(in crate::fulfillment) fn query_as<DB: Database + HasStatementCache, T>(
        &self,
        statement: &'static str,
    ) -> QueryAs<'static, DB, T, DB::Arguments>
    where
        T: for<'r> FromRow<'r, DB::Row>,
    {
        sqlx::query_as(self.sql(statement)).persistent(self.keeps_statements)
    }

    /// As [`query`](Self::query), for one column.
    pub(in crate::fulfillment) fn scalar<DB: Database + HasStatementCache, T>(
        &self,
        statement: &'static str,
    ) -> QueryScalar<'static, DB, T, DB::Arguments>
    where
        (T,): for<'r> FromRow<'r, DB::Row>,
    {
        sqlx::query_scalar(self.sql(statement)).persistent(self.keeps_statements)
    }

    /// The statement for this database. Safe, because nothing from outside is put in but the quoted
    /// schema.
    fn sql(&self, statement: &'static str) -> AssertSqlSafe<String> {
        let mut sql = String::with_capacity(statement.len() + 256);
        let mut rest = statement;
        while let Some((before, after)) = rest.split_once('{') {
            sql.push_str(before);
            let Some((word, after)) = after.split_once('}') else {
                break;
            };
            sql.push_str(match word {
                "now" => self.now,
                "clock" => self.clock,
                "skip locked" => self.skip_locked,
                "settings" => self.settings,
                "from settings" => self.from_settings,
                "end" => self.end,
                "outside" => self.outside,
                "of connection" => self.of_connection,
                _ => &self.prefix,
            });
            rest = after;
        }
        sql.push_str(rest);
        AssertSqlSafe(sql)
    }
}
