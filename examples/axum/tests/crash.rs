//! Kills the shop while it sells, and counts what was shipped: see `shop::testing::crash`. All of it, for hours:
//!
//! ```text
//! CRASH=long cargo test -p shop-axum --test crash -- --nocapture --test-threads=1
//! ```

shop::crash_tests!(env!("CARGO_BIN_EXE_shop-axum"));
