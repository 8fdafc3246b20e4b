//! Kills the shop while it sells, and counts the shipments: see `shop::testing::crash`. The long
//! test takes ten minutes or more for each variant:
//!
//! ```text
//! CRASH=long cargo test -p shop-axum --test crash -- --nocapture
//! ```

shop::crash_tests!(env!("CARGO_BIN_EXE_shop-axum"));
