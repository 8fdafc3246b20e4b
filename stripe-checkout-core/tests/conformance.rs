//! The reference of the adapters' suite, judged by what every case says has to be.

use stripe_checkout_core::testing::conformance::{Reference, run, withstand};

#[tokio::test(flavor = "multi_thread")]
async fn the_core_answers_as_every_adapter_has_to() {
    let cases = run("stripe-checkout-core", Reference).await;
    assert!(cases >= 80, "{cases}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_core_withstands_every_attack() {
    let attacks = withstand("stripe-checkout-core", Reference).await;
    assert!(attacks >= 150, "{attacks}");
}
