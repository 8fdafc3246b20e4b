//! Uses of saved payment methods.

/// What a payment method that is saved will be used for. Say to the buyer what you ask for: the
/// terms of a later charge are a matter of the law.
///
/// See
/// [`setup_future_usage`](https://docs.stripe.com/api/payment_intents/create#create_payment_intent-setup_future_usage).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SetupFutureUsage {
    /// Payments that the buyer is there for.
    OnSession,
    /// Also charges while the buyer is away. The buyer's bank may want to be asked now, so that it
    /// need not be asked then.
    OffSession,
}

impl SetupFutureUsage {
    /// As Stripe writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OnSession => "on_session",
            Self::OffSession => "off_session",
        }
    }
}
