//! Strangers against the program itself, the same for every example application: see
//! `shop::testing::attacks`.

shop::attack_tests!(env!("CARGO_BIN_EXE_shop-rocket"));

#[test]
fn behind_nginx_strangers_keep_nobody_out() {
    shop::testing::attacks::behind_nginx_strangers_keep_nobody_out(
        env!("CARGO_BIN_EXE_shop-rocket"),
        include_str!("../nginx.conf"),
        include_str!("../README.md"),
    );
}

#[test]
fn behind_nginx_a_network_is_one_visitor() {
    shop::testing::attacks::behind_nginx_a_network_is_one_visitor(
        env!("CARGO_BIN_EXE_shop-rocket"),
        include_str!("../nginx.conf"),
        include_str!("../../../stripe-checkout-rocket/README.md"),
    );
}

#[test]
fn live_keys_without_a_proxy_do_not_start() {
    shop::testing::attacks::live_keys_without_a_proxy_do_not_start(env!(
        "CARGO_BIN_EXE_shop-rocket"
    ));
}
