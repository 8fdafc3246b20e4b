//! Chapters for the days after the first sale.

/// Moving an inbox, and restoring a backup.
// Its examples need both databases.
#[cfg_attr(
    any(
        all(feature = "sqlite", feature = "postgres", feature = "intent"),
        not(doctest)
    ),
    doc = include_str!("../guide/moving.md")
)]
pub mod moving {}
