//! Buys in this shop with a real browser. Every example application passes the same tests: see
//! `shop::testing`.

shop::browser_tests!(env!("CARGO_BIN_EXE_shop-rocket"));
