//! The errors that several parts of the crate share. The others stand beside the code that raises
//! them.
//!
//! No error prints a key, a client secret, a signature or a body; a cause from another
//! crate is kept as `source` and never shown in `Display`, because what a dependency prints is not ours to vouch for.

use std::fmt::{self, Write as _};

use thiserror::Error;

/// Any error of the merchant's own code: a handler, a price look-up, an inbox.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A text from outside, for a log: no character of it begins a line or moves the cursor.
pub(crate) struct Escaped<'a>(pub(crate) &'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .chars()
            .try_for_each(|letter| match is_plain(letter) {
                true => f.write_char(letter),
                false => write!(f, "{}", letter.escape_default()),
            })
    }
}

/// Neither a control character, nor one that ends a line or turns the direction of writing.
fn is_plain(letter: char) -> bool {
    !letter.is_control()
        && !matches!(letter, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// An error and its causes in one line, for a log: the causes tell an operator what to do. They may
/// repeat what a stranger sent, so they are [`Escaped`].
pub(crate) struct Chain<'a>(pub(crate) &'a (dyn std::error::Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut before = self.0.to_string();
        Escaped(&before).fmt(f)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            let text = error.to_string();
            // Some errors repeat their cause, or end with it.
            if !before.ends_with(&text) {
                write!(f, ": {}", Escaped(&text))?;
                before = text;
            }
            cause = error.source();
        }
        Ok(())
    }
}

/// Why a configuration is refused, at start. Names the variable, never its value.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The variable is not set.
    #[error("{variable} is not set")]
    Missing {
        /// The name of the variable.
        variable: &'static str,
    },
    /// The value is empty. Of the environment's variables an empty one counts as absent.
    #[error("{variable} is empty")]
    Empty {
        /// The name of the variable.
        variable: &'static str,
    },
    /// The value is not UTF-8, or has white space or control characters inside.
    #[error("{variable} contains characters that cannot be part of it")]
    Malformed {
        /// The name of the variable.
        variable: &'static str,
    },
    /// Another kind of key stands where this one belongs.
    #[error("{variable} holds {found}; it needs {expected}")]
    WrongKind {
        /// The name of the variable.
        variable: &'static str,
        /// What belongs there, with its prefix.
        expected: &'static str,
        /// What stands there.
        found: &'static str,
    },
    /// A test key beside a live key.
    #[error(
        "{left} and {right} are of different modes: one is a test key and the other a live key"
    )]
    ModesDiffer {
        /// The one variable.
        left: &'static str,
        /// The other variable.
        right: &'static str,
    },
    /// Keys would travel unencrypted.
    #[error(
        "{variable} must be https: plain http is allowed only to this machine (localhost, 127.0.0.0/8, [::1]); with test keys, STRIPE_ALLOW_PLAIN_HTTP=1 allows it for STRIPE_API_BASE"
    )]
    PlainHttp {
        /// The name of the variable.
        variable: &'static str,
    },
    /// A live key, or the page that takes cards, would go to another host than Stripe's.
    #[error(
        "{variable} leads to another host than Stripe's, with live keys: if that is your own proxy, set STRIPE_ALLOW_OTHER_HOSTS=1"
    )]
    OtherHost {
        /// The name of the variable.
        variable: &'static str,
    },
    /// There is a `.env` file that cannot be read.
    #[error("the file .env cannot be read: {kind}")]
    DotEnv {
        /// The system's reason.
        kind: std::io::ErrorKind,
    },
    /// A line of the `.env` file is not `NAME=value`. The error does not show it: it may be a key.
    #[error("a line of the file .env is not NAME=value")]
    DotEnvLine,
    /// The value of a switch is neither `1` nor `0`.
    #[error("{variable} must be 1 or 0")]
    NotASwitch {
        /// The name of the variable.
        variable: &'static str,
    },
    /// The value is not an absolute http(s) address.
    #[error("{variable} is not an http or https address without user name, query or fragment")]
    NotAnAddress {
        /// The name of the variable.
        variable: &'static str,
    },
}

/// Why a verified payload is not an event, or an event's object not of the type that was asked for.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum EventError {
    /// The payload is not JSON, or has no `id` and `type`.
    #[error("the payload is not a Stripe event")]
    NotAnEvent(#[source] BoxError),
    /// The event's object is not of the type that was asked for.
    #[error("the object of this {event_type} event is not a {expected}")]
    UnexpectedObject {
        /// The event's type.
        event_type: String,
        /// The type that was asked for.
        expected: &'static str,
        /// What did not fit.
        #[source]
        source: BoxError,
    },
}

impl InboxError {
    /// Whether it only says that other work on the payment goes on: no line for the log.
    pub(crate) fn is_expected(&self) -> bool {
        matches!(self, Self::Busy)
    }
}

/// What went wrong inside an inbox.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum InboxError {
    /// The store cannot be reached or answered with an error. Nothing was acknowledged.
    #[error("the inbox is unavailable")]
    Unavailable(#[source] BoxError),
    /// The inbox holds as much as it may.
    #[error("the inbox is full: it holds {capacity} entries")]
    Full {
        /// The capacity, in entries.
        capacity: usize,
    },
    /// There is no such event.
    #[error("there is no such event in the inbox")]
    UnknownEvent,
    /// The event cannot be replayed or dropped in its present state.
    #[error("the event is {state}, so this cannot be done to it")]
    WrongState {
        /// The event's state.
        state: &'static str,
    },
    /// Work on the same payment did not end in time.
    #[error("the payment is being worked on")]
    Busy,
    /// A newer version of this crate made the tables. It may read and write them by other rules.
    #[error(
        "the inbox's tables have version {found}, and this version of stripe-checkout knows versions up to {known}: update stripe-checkout in this process, or restore the database from before the update"
    )]
    NewerTables {
        /// The version of the tables.
        found: usize,
        /// The version that this crate knows.
        known: usize,
    },
    /// The tables are missing, or an older version of this crate made them.
    #[error(
        "the inbox's tables have version {found} (0 means that there are none), and this version of stripe-checkout needs version {known}: run its migrations, or call migrate()"
    )]
    OlderTables {
        /// The version of the tables, or 0.
        found: usize,
        /// The version that this crate needs.
        known: usize,
    },
    /// A new, empty inbox would stand beside another one, and its schema was not named. An empty
    /// inbox does not know earlier fulfilments.
    #[error(
        "the schema {schema:?} has no tables of an inbox, but the schema {other:?} of the same database has: to go on with those, name their schema with .schema({other:?}); to make an empty inbox beside them, name its schema with .schema({schema:?})"
    )]
    OtherInbox {
        /// The schema in which the tables would be made.
        schema: String,
        /// The schema that has tables.
        other: String,
    },
    /// The inbox keeps the orders of another Stripe account under this application's name. The same
    /// reference on another account is another order, so nothing is done until one of the two
    /// changes.
    #[error(
        "the application {application:?} belongs to the Stripe account {known}, and these keys are of {given}: use the keys of {known}, or give this application a new name with .application(…) and no .former_application(…)"
    )]
    OtherAccount {
        /// The application's name in the inbox.
        application: String,
        /// The account that the inbox knows.
        known: String,
        /// The account of the keys.
        given: String,
    },
}
