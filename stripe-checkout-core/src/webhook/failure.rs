use serde::Deserialize;

use super::json::Lenient;

/// The reason why an attempt to pay failed.
///
/// See <https://docs.stripe.com/error-codes> and <https://docs.stripe.com/declines/codes>.
///
/// ```
/// use stripe_checkout_core::webhook::Failure;
///
/// let failure = Failure::new(Some("card_declined".into()), Some("insufficient_funds".into()));
/// assert_eq!(failure.message_for_buyer(), "Your card has insufficient funds. Please use another payment method.");
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "Object")]
pub struct Failure {
    code: Option<String>,
    decline_code: Option<String>,
}

impl Failure {
    /// Creates a failure from Stripe's error code and the issuer's decline code.
    pub fn new(code: Option<String>, decline_code: Option<String>) -> Self {
        Self { code, decline_code }
    }

    /// Stripe's error code, like `card_declined`.
    pub fn code(&self) -> Option<&str> {
        self.code.as_deref()
    }

    /// The issuer's reason, like `insufficient_funds`. Do not show it to the buyer: it may say that
    /// the card was reported stolen.
    pub fn decline_code(&self) -> Option<&str> {
        self.decline_code.as_deref()
    }

    /// Returns a sentence that the buyer may read and act on.
    ///
    /// Some reasons get the same general sentence, as Stripe asks for: those that the buyer cannot
    /// fix, and those that a thief must not learn (`fraudulent`, `lost_card`, `stolen_card`, …).
    pub fn message_for_buyer(&self) -> &'static str {
        self.decline_code()
            .and_then(sentence)
            .or_else(|| self.code().and_then(sentence))
            .unwrap_or(DECLINED)
    }
}

const DECLINED: &str = "Your payment was declined. Please use another payment method.";

fn sentence(code: &str) -> Option<&'static str> {
    Some(match code {
        "insufficient_funds" => {
            "Your card has insufficient funds. Please use another payment method."
        }
        "expired_card" => "Your card has expired. Please use another card.",
        "incorrect_cvc" | "invalid_cvc" => {
            "Your card's security code is incorrect. Please check it and try again."
        }
        "incorrect_number" | "invalid_number" => {
            "Your card number is incorrect. Please check it and try again."
        }
        "invalid_expiry_month" | "invalid_expiry_year" => {
            "Your card's expiration date is incorrect. Please check it and try again."
        }
        "incorrect_address" | "incorrect_zip" | "postal_code_invalid" => {
            "Your billing address does not match your card. Please check it and try again."
        }
        "authentication_required"
        | "authentication_not_handled"
        | "payment_intent_authentication_failure"
        | "setup_intent_authentication_failure" => {
            "Your payment could not be authenticated. Please try again, or use another payment method."
        }
        "approve_with_id"
        | "issuer_not_available"
        | "processing_error"
        | "reenter_transaction"
        | "try_again_later" => {
            "Your payment could not be processed just now. Please try again in a moment."
        }
        "card_velocity_exceeded" | "withdrawal_count_limit_exceeded" => {
            "Your card's limit is exceeded. Please use another payment method."
        }
        "card_not_supported"
        | "currency_not_supported"
        | "not_permitted"
        | "service_not_allowed"
        | "transaction_not_allowed" => {
            "Your card does not support this purchase. Please use another payment method."
        }
        "duplicate_transaction" => {
            "A payment of the same amount was made a moment ago. Please check whether it is yours before you try again."
        }
        "live_mode_test_card" | "testmode_decline" => {
            "Test cards and real cards cannot be mixed. Please use another card."
        }
        "payment_intent_payment_attempt_expired" | "payment_method_customer_decline" => {
            "Your payment was not completed. Please try again, or use another payment method."
        }
        _ => return None,
    })
}

#[derive(Deserialize)]
struct Object {
    #[serde(default)]
    code: Lenient<String>,
    #[serde(default)]
    decline_code: Lenient<String>,
}

impl From<Object> for Failure {
    fn from(object: Object) -> Self {
        Self::new(object.code.ok(), object.decline_code.ok())
    }
}
