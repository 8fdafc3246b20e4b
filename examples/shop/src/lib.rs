//! The shop that the example applications share.
