//! Starts the program itself, sends it HTTP requests, and stops it with a signal. Every example
//! application passes the same tests: see `shop::testing::program`.

use shop::testing::program::Manners;

shop::program_tests!(
    env!("CARGO_BIN_EXE_shop-actix"),
    Manners {
        wrong_verb: 405,
        unknown_verb: 405,
        trailing_slash: 404,
        path_not_text: 404,
    }
);
