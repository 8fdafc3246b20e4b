//! The program itself, asked over HTTP and told to stop. What is asked is the same for every example application: see `shop::testing::program`.

use shop::testing::program::Manners;

shop::program_tests!(
    env!("CARGO_BIN_EXE_shop-axum"),
    Manners {
        wrong_verb: 405,
        unknown_verb: 405,
        trailing_slash: 404,
        path_not_text: 400,
    }
);
