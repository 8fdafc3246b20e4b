//! Starts the program itself, sends it HTTP requests, and stops it with a signal. Every example
//! application passes the same tests: see `shop::testing::program`.

use shop::testing::program::Manners;

shop::program_tests!(
    env!("CARGO_BIN_EXE_shop-rocket"),
    Manners {
        wrong_verb: 404,
        unknown_verb: 400,
        trailing_slash: 200,
        path_not_text: 404,
    }
);
