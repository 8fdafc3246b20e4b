//! The program itself, sent events: see `program::custom_webhook`.

#[test]
fn it_takes_what_stripe_signed_and_nothing_else() {
    program::custom_webhook(env!("CARGO_BIN_EXE_custom-webhook-axum"));
}
