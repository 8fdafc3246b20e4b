//! One text for both databases: what differs is a word in braces.

use std::sync::Arc;

use sqlx::AssertSqlSafe;

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
    /// Locks a row that nobody else has locked.
    pub(in crate::fulfillment) skip_locked: &'static str,
    /// Sets the limits of a statement that is a transaction of its own.
    pub(in crate::fulfillment) settings: &'static str,
    pub(in crate::fulfillment) from_settings: &'static str,
    /// Whether the statement is a transaction of its own.
    pub(in crate::fulfillment) outside: &'static str,
    /// Columns that tell what must be known of a connection before it writes.
    pub(in crate::fulfillment) of_connection: &'static str,
}

impl Dialect {
    /// The statement for this database. Safe, because nothing from outside is put in but the quoted
    /// schema.
    pub(in crate::fulfillment) fn sql(&self, statement: &'static str) -> AssertSqlSafe<String> {
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
