//! What both databases share. `rows`, `upkeep` and `inbox` are compiled once for each database, so
//! they stand in the modules of these.

pub(super) mod statement;
pub(super) mod tables;
