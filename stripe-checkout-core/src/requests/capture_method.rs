/// When Stripe collects the money of a payment.
///
/// See <https://docs.stripe.com/api/payment_intents/create#create_payment_intent-capture_method>.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum CaptureMethod {
    /// As soon as the buyer pays.
    #[default]
    Automatic,
    /// When you capture the payment: until then the amount is only authorised.
    Manual,
}
