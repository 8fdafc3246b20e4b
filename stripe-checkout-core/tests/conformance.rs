//! The reference of the adapters' suite, judged by what every case says has to be.

use stripe_checkout_core::testing::conformance::{Reference, run};

#[tokio::test(flavor = "multi_thread")]
async fn the_core_answers_as_every_adapter_has_to() {
    let cases = run("stripe-checkout-core", Reference).await;
    assert!(cases >= 80, "{cases}");
}
