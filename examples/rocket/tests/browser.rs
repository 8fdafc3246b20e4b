//! Buys in this shop with a real browser. What is bought, and how, is the same for every example application: see `shop::testing`.

shop::browser_tests!(env!("CARGO_BIN_EXE_shop-rocket"));
