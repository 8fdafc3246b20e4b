//! Uses of saved payment methods.

/// The later use of a saved payment method.
///
/// Tell the buyer what they agree to: the law regulates the terms of a later charge.
///
/// See Stripe's [`setup_future_usage`][usage].
///
/// [usage]:
/// https://docs.stripe.com/api/payment_intents/create#create_payment_intent-setup_future_usage
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SetupFutureUsage {
    /// Payments while the buyer is present.
    OnSession,
    /// Also charges while the buyer is away.
    ///
    /// The buyer's bank may ask for a confirmation now, so that it need not ask at the charge.
    OffSession,
}

impl SetupFutureUsage {
    /// The value in Stripe's format.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OnSession => "on_session",
            Self::OffSession => "off_session",
        }
    }
}
