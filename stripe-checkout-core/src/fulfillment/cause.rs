//! Where a handler failed, read from the type of its error and never from its text.

use std::error::Error;

use super::verdict::Cause;

/// Looks through the error and its sources for an error of the database.
pub(super) fn of(error: &(dyn Error + 'static)) -> Cause {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(cause) = of_database(error) {
            return cause;
        }
        next = error.source();
    }
    Cause::Handler
}

#[cfg(any(feature = "sqlite", feature = "postgres"))]
fn of_database(error: &(dyn Error + 'static)) -> Option<Cause> {
    match error.downcast_ref::<sqlx::Error>()? {
        sqlx::Error::PoolTimedOut => Some(Cause::LockedOut),
        #[cfg(feature = "sqlite")]
        sqlx::Error::Database(error) => of_sqlite(&**error),
        _ => None,
    }
}

#[cfg(not(any(feature = "sqlite", feature = "postgres")))]
fn of_database(_: &(dyn Error + 'static)) -> Option<Cause> {
    None
}

/// See <https://www.sqlite.org/rescode.html>: the low byte is the primary code.
#[cfg(feature = "sqlite")]
fn of_sqlite(error: &dyn sqlx::error::DatabaseError) -> Option<Cause> {
    const BUSY: u32 = 5;
    const LOCKED: u32 = 6;
    const NOMEM: u32 = 7;
    const INTERRUPT: u32 = 9;
    const IOERR: u32 = 10;
    const FULL: u32 = 13;
    let code = error.try_downcast_ref::<sqlx::sqlite::SqliteError>()?;
    let code: u32 = sqlx::error::DatabaseError::code(code)?.parse().ok()?;
    match code & 0xff {
        BUSY | LOCKED => Some(Cause::LockedOut),
        // After these, SQLite may have undone the whole transaction.
        NOMEM | INTERRUPT | IOERR | FULL => Some(Cause::Database),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::BoxError;

    #[test]
    fn the_text_of_an_error_is_not_its_cause() {
        for text in [
            "the warehouse did not end within its slot",
            "error returned from database: (code: 13) database or disk is full",
            "database is locked",
            "pool timed out while waiting for an open connection",
            "the handler panicked",
        ] {
            let error: BoxError = text.into();
            assert_eq!(of(&*error), Cause::Handler, "{text}");
        }
    }

    #[cfg(feature = "sqlite")]
    #[test]
    fn the_cause_is_found_behind_the_merchants_own_errors() {
        #[derive(Debug, thiserror::Error)]
        #[error("no stock")]
        struct Wrapped(#[source] BoxError);
        let inner: BoxError = Box::new(Wrapped(Box::new(sqlx::Error::PoolTimedOut)));
        assert_eq!(of(&Wrapped(inner)), Cause::LockedOut);
    }
}
