//! What both databases share. `rows`, `upkeep` and `inbox` are compiled once for each database, so
//! they stand in the modules of these.

pub(super) mod statement;
pub(super) mod tables;

use std::time::Duration;

/// How long a write outside of an attempt waits for rows that others have locked. Stripe waits
/// longer for an answer.
pub(super) const PATIENCE: Duration = Duration::from_secs(8);

/// The error of a verdict that touched no row.
pub(super) const UNWRITTEN: &str = "a row of the inbox's own could not be written: does row security, a trigger, or a setting of the handler's keep it from that?";
