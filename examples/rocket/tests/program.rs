//! The program itself, asked over HTTP and told to stop. What is asked is the same for every example application: see `shop::testing::program`.

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
