//! Chapters for the days after the first sale.

#[cfg_attr(
    any(all(feature = "sqlite", feature = "postgres", feature = "intent"), not(doctest)),
    doc = include_str!("../guide/moving.md")
)]
#[cfg_attr(
    not(all(feature = "sqlite", feature = "postgres", feature = "intent")),
    allow(rustdoc::broken_intra_doc_links)
)]
pub mod moving {}
