//! The errors that several parts of the crate share.
//!
//! Other errors are beside the code that raises them.
//!
//! No error prints a key, a client secret, a signature or a body. A cause from another crate is
//! kept as `source` and never shown in `Display`, because this crate cannot vouch for a
//! dependency's text.

use std::fmt::{self, Write as _};

use thiserror::Error;

/// Any error of the merchant's own code: a handler, a price look-up, an inbox.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A text from outside, for a log: none of its characters begins a line or moves the cursor.
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

/// Whether a character is not a control character, ends no line and keeps the writing direction.
fn is_plain(letter: char) -> bool {
    !letter.is_control()
        && !matches!(letter, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// An error and its causes in one line, for a log.
///
/// The causes tell an operator what to do. They may repeat a stranger's text, so they are
/// [`Escaped`].
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

/// Why a configuration is refused at start. It names the variable, never its value.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The variable is not set.
    #[error("{variable} is not set")]
    Missing {
        /// The name of the variable.
        variable: &'static str,
    },
    /// The value is empty. An empty environment variable counts as absent.
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
    /// The variable contains another kind of key.
    #[error("{variable} holds {found}; it needs {expected}")]
    WrongKind {
        /// The name of the variable.
        variable: &'static str,
        /// The expected kind, with its prefix.
        expected: &'static str,
        /// The kind that was found.
        found: &'static str,
    },
    /// A test key beside a live key.
    #[error(
        "{left} and {right} are of different modes: one is a test key and the other a live key"
    )]
    ModesDiffer {
        /// One variable.
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
    /// A live key, or the page that accepts cards, would use a host other than Stripe's.
    #[error(
        "{variable} leads to another host than Stripe's, with live keys: if that is your own proxy, set STRIPE_ALLOW_OTHER_HOSTS=1"
    )]
    OtherHost {
        /// The name of the variable.
        variable: &'static str,
    },
    /// The `.env` file exists but cannot be read.
    #[error("the file .env cannot be read: {kind}")]
    DotEnv {
        /// The system's reason.
        kind: std::io::ErrorKind,
    },
    /// A line of the `.env` file is not `NAME=value`.
    ///
    /// The error does not show the line, because it may contain a key.
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

/// Why a verified payload is not an event, or an event's object is not of the requested type.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum EventError {
    /// The payload is not JSON, or has no `id` and `type`.
    #[error("the payload is not a Stripe event")]
    NotAnEvent(#[source] BoxError),
    /// The event's object is not of the requested type.
    #[error("the object of this {event_type} event is not a {expected}")]
    UnexpectedObject {
        /// The event's type.
        event_type: String,
        /// The requested type.
        expected: &'static str,
        /// The reason of the mismatch.
        #[source]
        source: BoxError,
    },
}

impl InboxError {
    /// Whether the error only reports other work on the payment, and needs no line in the log.
    pub(crate) fn is_expected(&self) -> bool {
        matches!(self, Self::Busy)
    }
}

/// Why an inbox failed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum InboxError {
    /// The store cannot be reached or returned an error. Nothing was acknowledged.
    #[error("the inbox is unavailable")]
    Unavailable(#[source] BoxError),
    /// The inbox has reached its capacity.
    #[error("the inbox is full: it holds {capacity} entries")]
    Full {
        /// The capacity, in entries.
        capacity: usize,
    },
    /// The event does not exist.
    #[error("there is no such event in the inbox")]
    UnknownEvent,
    /// The event's present state does not allow a replay or a discard.
    #[error("the event is {state}, so this cannot be done to it")]
    WrongState {
        /// The event's state.
        state: &'static str,
    },
    /// Work on the same payment did not end in time.
    #[error("the payment is being worked on")]
    Busy,
    /// A newer version of this crate created the tables. Its rules for them may differ.
    #[error(
        "the inbox's tables have version {found}, and this version of stripe-checkout knows versions up to {known}: update stripe-checkout in this process, or restore the database from before the update"
    )]
    NewerTables {
        /// The version of the tables.
        found: usize,
        /// The version that this crate knows.
        known: usize,
    },
    /// The tables are missing, or an older version of this crate created them.
    #[error(
        "the inbox's tables have version {found} (0 means that there are none), and this version of stripe-checkout needs version {known}: run its migrations, or call migrate()"
    )]
    OlderTables {
        /// The version of the tables, or 0.
        found: usize,
        /// The version that this crate needs.
        known: usize,
    },
    /// A new, empty inbox would stand beside another one, and its schema was not named.
    ///
    /// An empty inbox does not know earlier fulfilments.
    #[error(
        "the schema {schema:?} has no tables of an inbox, but the schema {other:?} of the same database has: to go on with those, name their schema with .schema({other:?}); to make an empty inbox beside them, name its schema with .schema({schema:?})"
    )]
    OtherInbox {
        /// The schema in which the tables would be created.
        schema: String,
        /// The schema that has tables.
        other: String,
    },
    /// The inbox keeps the orders of another Stripe account under this application's name.
    ///
    /// The same reference on another account is another order. So the inbox does nothing until
    /// either the name or the keys change.
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
