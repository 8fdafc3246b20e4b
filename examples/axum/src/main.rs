//! The shop on axum.

fn main() {}
