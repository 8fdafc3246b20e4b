//! Kills the shop while it sells, and counts what was shipped: see `shop::testing::crash`. The long one, of ten minutes and more for each variant:
//!
//! ```text
//! CRASH=long cargo test -p shop-axum --test crash -- --nocapture
//! ```

shop::crash_tests!(env!("CARGO_BIN_EXE_shop-axum"));
