//! Strangers against the program itself, the same for every example application: see
//! `shop::testing::attacks`.

shop::attack_tests!(env!("CARGO_BIN_EXE_shop-actix"));

shop::attack_tests! { env!("CARGO_BIN_EXE_shop-actix");
    strangers_who_hold_connections_keep_nobody_out
    connections_that_say_nothing_are_closed
}
